//! Keys, configuration and signed messages of the explored cluster: 2-of-4, from fixed seeds.
//!
//! Everything a node is told was signed by production code and passed the production checks.
//! Certificates are always made of the votes of the first seats, whoever did sign in a run: which
//! quorum it was changes no transition, and the cluster decides whether there was one.

use std::sync::Arc;

use avid_protocol::certificate::{CommitProof, Predecessor, QuorumCert};
use avid_protocol::object::{
    Manifest, ObjectId, Open, OrderKind, OwnerOrder, SealBundle, VerifiedSeal,
};
use avid_protocol::record::Promise;
use avid_protocol::record::UploadRecord;
use avid_protocol::server::{Input, ServerUpload};
use avid_protocol::statement::{Statement, StatementKind};
use avid_protocol::verify::{VerifiedVote, Verifier};
use avid_protocol::vote::{SignedVote, sign_statements};
use avid_types::{
    ClusterConfig, ClusterId, Commitment, Digest, Epoch, Generation, MemberConfig, NodeId,
    ObjectName, Params, SigningKey, Slot, StripeLayout, Suite, Timestamp, UploadId,
};

use crate::event::{Contents, Ended, NODES};

const CHUNK_BYTES: u32 = 4096;
const FIRST_EXPIRY: Timestamp = Timestamp(2_000_000);
const SECOND_EXPIRY: Timestamp = Timestamp(3_000_000);
/// Cluster time before both expiries, between them, and after them.
const TIMES: [Timestamp; 3] = [Timestamp(1_000_000), Timestamp(2_000_001), Timestamp(3_000_001)];

/// The cluster, its owner, and what the owner sealed.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) config: Arc<ClusterConfig>,
    keys: Vec<SigningKey>,
    owner: SigningKey,
    bundles: Vec<SealBundle>,
    next: SealBundle,
}

fn key(role: u8, number: u8) -> SigningKey {
    let mut seed = [role; 32];
    seed[0] = number;
    SigningKey::from_seed(seed)
}

fn seat(slot: usize) -> Slot {
    Slot(u8::try_from(slot).unwrap())
}

impl World {
    pub(crate) fn new(contents: Contents) -> Self {
        let (config, keys) = configuration();
        let owner = key(3, 0);
        let sealed = match contents {
            Contents::One => vec![(0xa, FIRST_EXPIRY, Timestamp::ZERO)],
            Contents::Expiring => vec![(0xa, FIRST_EXPIRY, FIRST_EXPIRY)],
            Contents::Two => {
                vec![(0xa, FIRST_EXPIRY, Timestamp::ZERO), (0xb, FIRST_EXPIRY, Timestamp::ZERO)]
            }
            Contents::Reopened => {
                vec![(0xa, FIRST_EXPIRY, Timestamp::ZERO), (0xa, SECOND_EXPIRY, Timestamp::ZERO)]
            }
        };
        let seal = |generation, (root, expiry, expires_at)| {
            let object = object(&owner, generation);
            seal(&config, &owner, object, root, expiry, expires_at)
        };
        let bundles = sealed.into_iter().map(|content| seal(0, content)).collect();
        let next = seal(1, (0xc, Timestamp(4_000_000), Timestamp::ZERO));
        Self { config: Arc::new(config), keys, owner, bundles, next }
    }

    pub(crate) fn params(&self) -> Params {
        self.config.params
    }

    pub(crate) fn time(&self, level: u8) -> Timestamp {
        TIMES[usize::from(level)]
    }

    fn verifier(&self) -> Verifier {
        Verifier::new(Arc::clone(&self.config))
    }

    fn upload(&self) -> UploadId {
        object(&self.owner, 0).upload(&self.config)
    }

    /// The machine of the node in a seat, from what it kept.
    pub(crate) fn machine(&self, slot: usize, record: UploadRecord) -> ServerUpload {
        let node = self.node(slot);
        ServerUpload::new(Arc::clone(&self.config), node, self.upload(), record).unwrap()
    }

    pub(crate) fn node(&self, slot: usize) -> NodeId {
        self.config.node_at(self.upload(), seat(slot)).unwrap()
    }

    pub(crate) fn promise(&self, content: usize) -> Promise {
        let bundle = &self.bundles[content];
        Promise { commitment: bundle.manifest.commitment(), expiry: bundle.open.open.expiry }
    }

    /// Which content a statement or record names.
    pub(crate) fn content_of(&self, promise: Promise) -> usize {
        let mut contents = 0..self.bundles.len();
        contents.find(|content| self.promise(*content) == promise).unwrap()
    }

    /// The first content with these bytes: contents that differ in expiry alone share fragments.
    pub(crate) fn bytes_of(&self, commitment: Commitment) -> usize {
        let mut contents = 0..self.bundles.len();
        contents.find(|content| self.promise(*content).commitment == commitment).unwrap()
    }

    // What the owner says.

    pub(crate) fn open(&self, content: usize) -> Input {
        Input::Open(self.bundles[content].open.clone().verify(&self.config).unwrap())
    }

    pub(crate) fn seal(&self, content: usize) -> VerifiedSeal {
        self.bundles[content].clone().verify(&self.config).unwrap()
    }

    fn signed_order(&self, kind: OrderKind) -> OwnerOrder {
        OwnerOrder::sign(&self.config, kind, object(&self.owner, 0), &self.owner)
    }

    pub(crate) fn order(&self, kind: OrderKind) -> Input {
        Input::Order(self.signed_order(kind).verify(&self.config).unwrap())
    }

    // What nodes say.

    fn statement(&self, kind: StatementKind, content: usize, slot: usize) -> Statement {
        let bare = Statement::about_upload(kind, self.upload(), seat(slot));
        if kind == StatementKind::Abort {
            return bare;
        }
        let Promise { commitment, expiry } = self.promise(content);
        Statement { commitment, expiry, ..bare }
    }

    fn signed(&self, kind: StatementKind, content: usize, slot: usize) -> SignedVote {
        let statement = self.statement(kind, content, slot);
        let key = &self.keys[self.node(slot).index()];
        sign_statements(&self.config, key, &[statement]).remove(0)
    }

    pub(crate) fn vote(&self, kind: StatementKind, content: usize, slot: usize) -> VerifiedVote {
        self.verifier().vote(self.signed(kind, content, slot)).unwrap()
    }

    fn cert(&self, kind: StatementKind, content: usize, quorum: usize) -> QuorumCert {
        let votes: Vec<SignedVote> =
            (0..quorum).map(|slot| self.signed(kind, content, slot)).collect();
        QuorumCert::of_votes(self.config.epoch, &self.statement(kind, content, 0), votes.iter())
    }

    fn echo_cert(&self, content: usize) -> QuorumCert {
        self.cert(StatementKind::Echo, content, self.params().echo_quorum())
    }

    fn signed_abort_cert(&self) -> QuorumCert {
        self.cert(StatementKind::Abort, 0, self.params().answer_quorum())
    }

    fn proof(&self, content: usize) -> CommitProof {
        CommitProof {
            seal: self.bundles[content].clone(),
            echo: self.echo_cert(content),
            ready: self.cert(StatementKind::Ready, content, self.params().deliver_quorum()),
        }
    }

    pub(crate) fn ready(&self, content: usize, slot: usize) -> Input {
        let cert = self.verifier().echo_cert(self.echo_cert(content)).unwrap();
        Input::Ready(self.vote(StatementKind::Ready, content, slot), cert)
    }

    pub(crate) fn commit(&self, content: usize) -> Input {
        Input::Commit(Box::new(self.verifier().commit(self.proof(content)).unwrap()))
    }

    pub(crate) fn abort_cert(&self) -> Input {
        Input::AbortCert(self.verifier().abort_cert(self.signed_abort_cert()).unwrap())
    }

    /// Whether a node in this seat, shown this proof at this time, echoes the next generation.
    ///
    /// Rule: ID-1.
    pub(crate) fn echoes_next(&self, slot: usize, level: u8, ended: Ended) -> bool {
        let proof = match ended {
            Ended::Aborted => Some(Predecessor::Aborted(self.signed_abort_cert())),
            Ended::Deleted => Some(Predecessor::Deleted(self.signed_order(OrderKind::Delete))),
            Ended::Expired => Some(Predecessor::Expired(Box::new(self.proof(0)))),
            Ended::Unproved => None,
        };
        let object = &self.next.manifest.object;
        let time = self.time(level);
        self.verifier().predecessor(time, object, proof).is_ok() && self.stores_next(slot, time)
    }

    /// Whether a node without that gate would echo it.
    pub(crate) fn stores_next(&self, slot: usize, time: Timestamp) -> bool {
        let upload = self.next.manifest.object.upload(&self.config);
        let node = self.node(slot);
        let config = Arc::clone(&self.config);
        let mut machine = ServerUpload::new(config, node, upload, UploadRecord::default()).unwrap();
        let seal = self.next.clone().verify(&self.config).unwrap();
        let step = machine.step(time, Input::Stored(seal));
        step.sign.iter().any(|statement| statement.kind == StatementKind::Echo)
    }
}

fn configuration() -> (ClusterConfig, Vec<SigningKey>) {
    let numbers = 0..u8::try_from(NODES).unwrap();
    let keys: Vec<SigningKey> = numbers.clone().map(|number| key(1, number)).collect();
    let members = numbers.zip(&keys).map(|(number, vote_key)| MemberConfig {
        name: format!("node{number}"),
        vote_key: vote_key.public(),
        transport_key: key(2, number).public(),
        address: format!("node{number}.example:7400"),
        zone: format!("zone{number}"),
    });
    let config = ClusterConfig {
        cluster: ClusterId([0xc1; 16]),
        epoch: Epoch(0),
        params: Params::validate(2, 4, 1).unwrap(),
        suite: Suite::default(),
        chunk_bytes: CHUNK_BYTES,
        members: members.collect(),
        groups: vec![(0..4).map(NodeId).collect()],
        operators: vec![key(4, 0).public()],
    };
    config.check().unwrap();
    (config, keys)
}

fn object(owner: &SigningKey, generation: u64) -> ObjectId {
    ObjectId {
        owner: owner.public(),
        name: ObjectName::new("photo").unwrap(),
        generation: Generation(generation),
    }
}

/// A sealed object of three stripes; `root` stands for the bytes.
fn seal(
    config: &ClusterConfig,
    owner: &SigningKey,
    object: ObjectId,
    root: u8,
    expiry: Timestamp,
    expires_at: Timestamp,
) -> SealBundle {
    let object_bytes = 2 * u64::from(CHUNK_BYTES) * u64::from(config.params.m_byte()) + 1;
    let open = Open {
        object: object.clone(),
        params: config.params,
        suite: config.suite,
        chunk_bytes: CHUNK_BYTES,
        object_bytes_max: 1 << 20,
        expiry,
    };
    let manifest = Manifest {
        object,
        params: config.params,
        suite: config.suite,
        chunk_bytes: CHUNK_BYTES,
        object_bytes,
        stripes: StripeLayout::new(config.params, CHUNK_BYTES, object_bytes).unwrap().stripes(),
        root: Digest([root; 32]),
        expires_at,
    };
    SealBundle::sign(config, open.sign(config, owner), manifest, owner)
}
