//! The core alone, event by event: what one liar, one restored disk or one full memory may not do.
//!
//! Spec: docs/protocol.md AMNESIA-1, ABORT-1, ABORT-3, COMMIT-1, LINK-1.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "in a test a panic is the report"
)]

use std::cell::Cell;
use std::sync::Arc;

use avid_node::core::{Core, Denial, Effects, Event, Records};
use avid_protocol::certificate::{CommitProof, QuorumCert};
use avid_protocol::clock::{ClusterClock, Heartbeat};
use avid_protocol::object::{
    Manifest, ObjectId, Open, OrderKind, OwnerOrder, SealBundle, VerifiedOpen,
};
use avid_protocol::record::{Phase, Promise, UploadRecord};
use avid_protocol::server::Refusal;
use avid_protocol::statement::{Statement, StatementKind};
use avid_protocol::verify::{VerifiedVote, Verifier};
use avid_protocol::vote::{SignedVote, sign_statements};
use avid_types::limits::{
    ENDED_UPLOADS_PER_OWNER_MAX, OPEN_UPLOADS_MAX, OPEN_UPLOADS_PER_OWNER_MAX, RESIDENT_UPLOADS_MAX,
};
use avid_types::{
    ClusterConfig, ClusterId, Digest, Epoch, Generation, MemberConfig, NodeId, ObjectName, Params,
    PublicKey, SigningKey, StripeLayout, Suite, Timestamp, UploadId,
};

const NODES: u16 = 5;
const NOW: Timestamp = Timestamp(1_000_000);
const EXPIRY: Timestamp = Timestamp(2_000_000);
/// What every member's heartbeats carry until a test says otherwise.
const BOOT: u64 = 5;
const POSITION: u64 = 100;

/// The disk of node 0: at most one record, which no test rewrites, and how often it was read.
#[derive(Default)]
struct Disk {
    record: Option<(UploadId, UploadRecord)>,
    reads: Cell<usize>,
    /// Ended uploads of every owner.
    ended: u64,
}

impl Records for Disk {
    fn load(&self, upload: UploadId) -> Result<Option<(u64, UploadRecord)>, String> {
        let Some((_, record)) = self.record.as_ref().filter(|(known, _)| *known == upload) else {
            return Ok(None);
        };
        self.reads.set(self.reads.get() + 1);
        Ok(Some((10, record.clone())))
    }

    fn ended(&self, _owner: &PublicKey) -> Result<u64, String> {
        Ok(self.ended)
    }
}

fn key(tag: u8, number: u16) -> SigningKey {
    let mut seed = [tag; 32];
    seed[..2].copy_from_slice(&number.to_le_bytes());
    SigningKey::from_seed(seed)
}

fn config() -> Arc<ClusterConfig> {
    let members = (0..NODES).map(|i| MemberConfig {
        name: format!("node{i}"),
        vote_key: key(1, i).public(),
        transport_key: key(2, i).public(),
        address: format!("127.0.0.1:{}", 1000 + i),
        zone: String::new(),
    });
    Arc::new(ClusterConfig {
        cluster: ClusterId([7; 16]),
        epoch: Epoch(0),
        params: Params::with_most_liars(3, 5).unwrap(),
        suite: Suite::default(),
        chunk_bytes: 4096,
        members: members.collect(),
        groups: vec![(0..NODES).map(NodeId).collect()],
        operators: vec![key(3, 0).public()],
    })
}

/// Node 0 of 3-of-5, f = 1, and the keys of everybody else.
struct Bench {
    config: Arc<ClusterConfig>,
    disk: Disk,
    core: Core,
    verifier: Verifier,
    owner: SigningKey,
}

impl Bench {
    /// A node that heard everybody and may vote.
    fn new() -> Self {
        let config = config();
        let clock = ClusterClock::new(&config, Timestamp::ZERO);
        let core = Core::new(Arc::clone(&config), NodeId(0), 1, 0, clock);
        let verifier = Verifier::new(Arc::clone(&config));
        let mut bench = Self { config, disk: Disk::default(), core, verifier, owner: key(4, 0) };
        for peer in 1..NODES {
            let _ = bench.handle(Event::Remembered(NodeId(peer), None, None));
        }
        bench.everybody_reads(NOW);
        bench.core.may_vote().unwrap();
        assert_eq!(bench.core.time(), NOW);
        bench
    }

    fn handle(&mut self, event: Event) -> Effects {
        self.core.handle(&self.disk, event).unwrap()
    }

    fn heartbeat(&mut self, node: u16, reading: Timestamp, boot: u64, position: u64) -> Effects {
        let heartbeat = Heartbeat { node: NodeId(node), reading, boot, position };
        self.handle(Event::Heartbeat(heartbeat.sign(&self.config, &key(1, node))))
    }

    /// Cluster time becomes `reading`.
    fn everybody_reads(&mut self, reading: Timestamp) {
        for node in 0..NODES {
            let _ = self.heartbeat(node, reading, BOOT, POSITION);
        }
    }

    fn object(&self, name: &str) -> ObjectId {
        ObjectId {
            owner: self.owner.public(),
            name: ObjectName::new(name).unwrap(),
            generation: Generation(0),
        }
    }

    fn announcement(&self, name: &str, expiry: Timestamp) -> VerifiedOpen {
        let open = Open {
            object: self.object(name),
            params: self.config.params,
            suite: self.config.suite,
            chunk_bytes: self.config.chunk_bytes,
            object_bytes_max: 10,
            expiry,
        };
        open.sign(&self.config, &self.owner).verify(&self.config).unwrap()
    }

    fn open(&mut self, name: &str, expiry: Timestamp) -> Option<Denial> {
        let open = self.announcement(name, expiry);
        self.handle(Event::Open(open)).refused
    }

    fn abort_statement(&self, upload: UploadId, node: u16) -> Statement {
        let slot = self.config.slot_of(upload, NodeId(node)).unwrap();
        Statement::about_upload(StatementKind::Abort, upload, slot)
    }

    /// ABORTs of one member for these uploads arrive.
    fn aborts(&mut self, node: u16, uploads: &[UploadId]) -> Effects {
        let statements: Vec<_> =
            uploads.iter().map(|upload| self.abort_statement(*upload, node)).collect();
        let votes = sign_statements(&self.config, &key(1, node), &statements);
        let votes = votes.into_iter().map(|vote| self.verified(vote)).collect();
        self.handle(Event::Votes(votes, None))
    }

    fn verified(&mut self, vote: SignedVote) -> VerifiedVote {
        self.verifier.vote(vote).unwrap()
    }
}

/// Ids of uploads that nobody announced.
fn invented(count: usize) -> Vec<UploadId> {
    let id = |number: usize| {
        let mut bytes = [9; 32];
        bytes[..8].copy_from_slice(&u64::try_from(number).unwrap().to_le_bytes());
        UploadId(bytes)
    };
    (0..count).map(id).collect()
}

/// An object of no bytes, echoed and committed by the others, as seen by node 0 that echoed it.
struct Committed {
    upload: UploadId,
    record_before: UploadRecord,
    proof: CommitProof,
    echo: SignedVote,
}

fn committed(bench: &Bench, name: &str) -> Committed {
    let config = &bench.config;
    let open = bench.announcement(name, EXPIRY);
    let upload = open.upload();
    let layout = StripeLayout::new(config.params, config.chunk_bytes, 0).unwrap();
    let manifest = Manifest {
        object: bench.object(name),
        params: config.params,
        suite: config.suite,
        chunk_bytes: config.chunk_bytes,
        object_bytes: 0,
        stripes: layout.stripes(),
        root: Digest([0; 32]),
        expires_at: Timestamp::ZERO,
    };
    let promise = Promise { commitment: manifest.commitment(), expiry: EXPIRY };
    let seal = SealBundle::sign(config, open.signed().clone(), manifest, &bench.owner);
    let statement = |kind, node: u16| Statement {
        commitment: promise.commitment,
        expiry: promise.expiry,
        ..Statement::about_upload(kind, upload, config.slot_of(upload, NodeId(node)).unwrap())
    };
    let vote = |kind, node: u16| {
        sign_statements(config, &key(1, node), &[statement(kind, node)]).remove(0)
    };
    let cert = |kind, votes: &[SignedVote]| {
        QuorumCert::of_votes(config.epoch, &statement(kind, 0), votes.iter())
    };
    let echoes: Vec<_> = (0..4).map(|node| vote(StatementKind::Echo, node)).collect();
    let readies: Vec<_> = (1..4).map(|node| vote(StatementKind::Ready, node)).collect();
    Committed {
        upload,
        record_before: UploadRecord {
            open: Some(open.signed().clone()),
            seal: Some(seal.clone()),
            phase: Phase::Echoed(promise),
            fragment: Some(promise.commitment),
        },
        proof: CommitProof {
            seal,
            echo: cert(StatementKind::Echo, &echoes),
            ready: cert(StatementKind::Ready, &readies),
        },
        echo: echoes[1].clone(),
    }
}

// Rule: AMNESIA-1. What a restored member shows must not erase what is remembered of its past.
#[test]
fn a_heartbeat_of_a_lower_boot_is_not_persisted() {
    let mut bench = Bench::new();
    let much_later = NOW.plus(std::time::Duration::from_secs(3600));
    let restored = bench.heartbeat(1, much_later, BOOT - 2, 7);
    assert!(!format!("{restored:?}").contains("Heartbeat("), "{restored:?}");
    let known = bench.core.remembered(NodeId(1)).unwrap().heartbeat;
    assert_eq!((known.boot, known.position), (BOOT, POSITION));

    let restarted = bench.heartbeat(1, much_later, BOOT + 1, POSITION);
    assert!(format!("{restarted:?}").contains("Heartbeat("), "a higher boot is: {restarted:?}");
}

// Rule: LINK-1. Votes about uploads that nobody announced take no place of those that were.
#[test]
fn votes_of_one_liar_for_invented_uploads_do_not_block_an_open() {
    let mut bench = Bench::new();
    let _ = bench.aborts(1, &invented(OPEN_UPLOADS_MAX));
    assert!(bench.core.counts().0 >= OPEN_UPLOADS_MAX, "they are in memory");
    assert_eq!(bench.open("honest", EXPIRY), None);
}

// Rule: TIME-1. A request that is refused counts in no quota, one that is taken does.
#[test]
fn refused_opens_leave_the_owners_quota_free() {
    let mut bench = Bench::new();
    for number in 0..OPEN_UPLOADS_PER_OWNER_MAX {
        let refused = bench.open(&format!("expired {number}"), NOW);
        assert_eq!(refused, Some(Denial::Protocol(Refusal::Expired)));
    }
    for number in 0..OPEN_UPLOADS_PER_OWNER_MAX {
        assert_eq!(bench.open(&format!("good {number}"), EXPIRY), None);
    }
    let refused = bench.open("one too many", EXPIRY);
    assert_eq!(refused, Some(Denial::TooManyOpen(OPEN_UPLOADS_PER_OWNER_MAX)));
}

// Rule: ABORT-1, ABORT-2. Others may never have heard of an upload that expired here: then no abort
// certificate ever forms, and the owner's quota must come back all the same.
#[test]
fn an_upload_that_expired_here_alone_leaves_the_quota_of_open_ones() {
    let mut bench = Bench::new();
    for number in 0..OPEN_UPLOADS_PER_OWNER_MAX {
        assert_eq!(bench.open(&format!("alone {number}"), EXPIRY), None);
    }
    assert!(bench.open("one too many", EXPIRY).is_some());
    bench.everybody_reads(EXPIRY.plus(std::time::Duration::from_secs(1)));
    let expired = bench.handle(Event::Tick(Timestamp(5_000_000_000)));
    assert_eq!(expired.sign.len(), OPEN_UPLOADS_PER_OWNER_MAX, "an ABORT each");
    let later = EXPIRY.plus(std::time::Duration::from_secs(60));
    assert_eq!(bench.open("room again", later), None);
}

// Rule: AMNESIA-1. A member on an empty disk may run for long, start again and again and fill a longer
// journal than it lost: what is remembered of its first store stays.
#[test]
fn a_member_that_lost_its_store_never_outgrows_the_memory_of_it() {
    let mut bench = Bench::new();
    let (first, second) = (Heartbeat::boot_of([1; 16], 1), Heartbeat::boot_of([2; 16], 9));
    let much_later = NOW.plus(std::time::Duration::from_secs(3600));
    let _ = bench.heartbeat(3, NOW, first, 5);
    let ignored = bench.heartbeat(3, much_later, second, 700);
    assert!(!format!("{ignored:?}").contains("Heartbeat("), "{ignored:?}");
    let known = *bench.core.remembered(NodeId(3)).unwrap();
    assert_eq!((known.heartbeat.boot, known.heartbeat.position), (first, 5));

    // The member itself, told so.
    let clock = ClusterClock::new(&bench.config, NOW);
    let mut member = Core::new(Arc::clone(&bench.config), NodeId(3), second, 700, clock);
    for peer in [0, 1, 2, 4] {
        let told = (peer == 1).then_some(known);
        let _ = member.handle(&bench.disk, Event::Remembered(NodeId(peer), told, None)).unwrap();
    }
    let refused = member.may_vote().unwrap_err();
    assert!(refused.contains("boot 1 of another store"), "{refused}");
    assert!(Heartbeat { boot: 1, ..known.heartbeat }.boots() == 1, "stores of before say nothing");
}

// Rule: AMNESIA-1. A certificate ends the upload for a node that forgot its votes as well; an ABORT of
// its own could contradict the READY that it forgot.
#[test]
fn a_node_that_forgot_its_votes_takes_an_abort_certificate_and_signs_nothing() {
    let mut bench = Bench::new();
    let past = Heartbeat { node: NodeId(0), reading: NOW, boot: 5, position: 9 };
    let past = past.sign(&bench.config, &key(1, 0));
    let _ = bench.handle(Event::Remembered(NodeId(1), Some(past), None));
    assert!(bench.core.may_vote().is_err());

    let upload = bench.announcement("ended without it", EXPIRY).upload();
    let votes: Vec<_> = (1..5)
        .map(|node| {
            let statement = bench.abort_statement(upload, node);
            sign_statements(&bench.config, &key(1, node), &[statement]).remove(0)
        })
        .collect();
    let statement = bench.abort_statement(upload, 1);
    let cert = QuorumCert::of_votes(bench.config.epoch, &statement, votes.iter());
    let cert = Box::new(bench.verifier.abort_cert(cert).unwrap());
    let ended = bench.handle(Event::AbortCert(cert));
    assert_eq!((ended.settled, ended.sign), (vec![upload], vec![]));
}

// Rule: ABORT-3. f + 1 members contain an honest one; f may all lie, however often they say it.
#[test]
fn a_node_that_knows_nothing_aborts_with_two_others_and_not_with_one() {
    let mut bench = Bench::new();
    let upload = bench.announcement("forgotten here", EXPIRY).upload();
    for _ in 0..3 {
        assert_eq!(bench.aborts(1, &[upload]).sign, []);
    }
    let second = bench.aborts(2, &[upload]);
    assert_eq!(second.sign, [bench.abort_statement(upload, 0)]);
    assert_eq!(second.settled, [], "four of five end it, not two");
}

// Rule: COMMIT-1, ABORT-1. The index follows a round; until then only memory knows what was decided.
#[test]
fn within_one_round_a_full_memory_does_not_undo_a_commit() {
    let mut bench = Bench::new();
    let Committed { upload, record_before, proof, echo } = committed(&bench, "photo");
    bench.disk.record = Some((upload, record_before));
    let proof = Box::new(bench.verifier.commit(proof).unwrap());
    let decided = bench.handle(Event::Commit(proof.clone()));
    assert_eq!(decided.settled, [upload]);

    let _ = bench.aborts(2, &invented(RESIDENT_UPLOADS_MAX + 1));
    assert!(bench.core.counts().0 > RESIDENT_UPLOADS_MAX, "nothing is evicted inside a round");
    let echo = bench.verified(echo);
    let _ = bench.handle(Event::Votes(vec![echo], None));
    assert_eq!(bench.disk.reads.get(), 1, "the older record was read back");

    bench.everybody_reads(EXPIRY.plus(std::time::Duration::from_secs(1)));
    let later = bench.handle(Event::Tick(Timestamp(5_000_000_000)));
    assert_eq!(later.sign, [], "an ABORT after the commit");
    assert!(!format!("{later:?}").contains("Echoed("), "the older record was written again");
    let cancel =
        OwnerOrder::sign(&bench.config, OrderKind::Cancel, bench.object("photo"), &bench.owner);
    let cancel = Box::new(cancel.verify(&bench.config).unwrap());
    let refused = bench.handle(Event::Order(cancel)).refused;
    assert_eq!(refused, Some(Denial::Protocol(Refusal::AlreadyReady)));
    let again = bench.handle(Event::Commit(proof));
    let kinds: Vec<_> = again.sign.iter().map(|statement| statement.kind).collect();
    assert_eq!(kinds, [StatementKind::Delivered, StatementKind::Hold]);
    assert_eq!(again.settled, [], "it is committed already");
}

/// ABORT-2: what an owner left on record for ever counts in its quota.
#[test]
fn an_owner_that_left_too_many_ended_uploads_opens_no_more() {
    let mut bench = Bench::new();
    bench.disk.ended = ENDED_UPLOADS_PER_OWNER_MAX - 1;
    assert_eq!(bench.open("the last", EXPIRY), None);
    bench.disk.ended = ENDED_UPLOADS_PER_OWNER_MAX;
    let refused = bench.open("one too many", EXPIRY);
    assert_eq!(refused, Some(Denial::TooManyEnded(ENDED_UPLOADS_PER_OWNER_MAX)));
}
