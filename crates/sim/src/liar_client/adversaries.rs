//! The named lies. Each type says what it may and may not do; each is a function to a [`Plan`].
//!
//! | adversary | scenario |
//! |---|---|
//! | [`Equivocator`] | 1, 2 |
//! | [`Forged::poison`] and its kin, sent by [`play::dispersal`](super::play::dispersal) | 3 to 6 |
//! | [`SizeLiar`] | 8 |
//! | [`Quitter`] | 9 |
//! | [`OpenLiar`], [`Opener`] | 11 |
//! | [`WrongSlot`] | 15 |
//! | [`Racer`] | two writers of one key |
//! | [`CertificateForger`], [`OrderForger`], [`Dripper`] | sections 1.7 and 5.3 |
//!
//! All of them hold one client key and its grant, and nothing else.
//!
//! Spec: docs/protocol.md section 6.

use std::time::Duration;

use avid_protocol::certificate::{CommitProof, Predecessor, QuorumCert};
use avid_protocol::object::{ObjectId, OrderKind, OwnerOrder, SealBundle};
use avid_protocol::statement::StatementKind;
use avid_protocol::wire::Message;
use avid_types::limits::OBJECT_BYTES_MAX;
use avid_types::{
    Digest, Epoch, FingerprintKind, Generation, NodeId, ObjectName, Params, PublicKey, Slot,
    StripeIndex, Suite, Timestamp,
};

use super::LiarClient;
use super::forged::Forged;
use super::play::{Plan, Play, chunk, opening, seal, whole};
use crate::random::Random;

/// How long adversaries wait for votes.
pub const VOTES: Duration = Duration::from_secs(3);

/// Disperses different contents of one name to different nodes.
///
/// May: send either content, or both one after the other, to any node, all validly signed.
/// May not: make a node hold two fragments of one upload.
#[derive(Clone, Debug)]
pub struct Equivocator {
    /// One content.
    pub a: Forged,
    /// The other.
    pub b: Forged,
    /// Who gets the one.
    pub a_to: Vec<NodeId>,
    /// Who gets the other.
    pub b_to: Vec<NodeId>,
}

impl Equivocator {
    /// Two contents under one name.
    #[must_use]
    pub fn of(liar: &LiarClient, name: &str, a_to: &[NodeId], b_to: &[NodeId]) -> Self {
        let lifetime = Duration::from_secs(30);
        Self {
            a: liar.object(name, &[0xaa; 20_000], lifetime),
            b: liar.object(name, &[0xbb; 20_000], lifetime),
            a_to: a_to.to_vec(),
            b_to: b_to.to_vec(),
        }
    }

    /// One connection to each node.
    #[must_use]
    pub fn plan(&self, liar: &LiarClient) -> Plan {
        let to = |forged, nodes: &[NodeId]| -> Plan {
            let nodes = nodes.iter();
            nodes.map(|node| (*node, whole(liar.config(), forged, *node, VOTES))).collect()
        };
        let mut plan = to(&self.a, &self.a_to);
        plan.extend(to(&self.b, &self.b_to));
        plan
    }
}

/// Stops half-way and never comes back.
///
/// May: stop after any frame, at each node after another one, with or without a word.
/// May not: do anything afterwards.
#[derive(Clone, Debug)]
pub struct Quitter {
    /// What it disperses.
    pub object: Forged,
    /// Nodes that get everything and SEAL.
    pub sealed: Vec<NodeId>,
    /// Nodes that get this many stripes and no SEAL.
    pub begun: Vec<(NodeId, usize)>,
}

impl Quitter {
    /// One connection to each node it talks to.
    #[must_use]
    pub fn plan(&self, liar: &LiarClient) -> Plan {
        let upload = self.object.upload();
        let sealed = self
            .sealed
            .iter()
            .map(|node| (*node, whole(liar.config(), &self.object, *node, VOTES)));
        let begun = self.begun.iter().map(|(node, stripes)| {
            let slot = liar.config().slot_of(upload, *node).unwrap_or_default();
            (*node, opening(&self.object, slot, *stripes))
        });
        sealed.chain(begun).collect()
    }
}

/// Races itself: several writers of one name at once, with the same content or with others.
///
/// May: run any number of complete dispersals of one upload at the same time.
/// May not: coordinate the nodes' order.
#[derive(Clone, Debug)]
pub struct Racer {
    /// What each writer writes; all of one name.
    pub objects: Vec<Forged>,
}

impl Racer {
    /// One connection per writer and node.
    #[must_use]
    pub fn plan(&self, liar: &LiarClient) -> Plan {
        let mut plan = Plan::new();
        for (writer, object) in self.objects.iter().enumerate() {
            let mut nodes = liar.nodes();
            // Each writer reaches another node first.
            let count = nodes.len();
            nodes.rotate_left(writer % count);
            plan.extend(
                nodes.into_iter().map(|node| (node, whole(liar.config(), object, node, VOTES))),
            );
        }
        plan
    }
}

/// How a description or a stream lies about sizes, counts and order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeLie {
    /// The manifest's length has fewer bytes in the last stripe.
    ShorterLength,
    /// The manifest's length has more bytes in the last stripe.
    LongerLength,
    /// The manifest's stripe count does not follow from its length.
    StripeCount,
    /// Length and count agree on one stripe more than was sent.
    OneMore,
    /// Length and count agree on one stripe fewer than was sent.
    OneFewer,
    /// The last stripe is not sent.
    MissingStripe,
    /// A stripe is sent twice, the second time under the next index.
    DuplicatedStripe,
    /// A stripe index is sent twice.
    RepeatedIndex,
    /// Two stripes are sent in the wrong order, under their own indices.
    ReorderedStripes,
    /// Two stripes change places: each is good, the root is that of the right order.
    SwappedStripes,
    /// The last stripe is sent and rooted as a full one where the length says a short one.
    LastChunkFull,
    /// A chunk frame states another length than it has.
    StatedLength,
    /// A chunk is longer than any of the cluster.
    LongChunk,
    /// A chunk has no bytes.
    EmptyChunk,
    /// A frame carries a cross-checksum of another size, 900 KB of it.
    GiantFpcc,
    /// A frame is shorter than a cross-checksum.
    ShortFpcc,
    /// The manifest's root is another.
    OtherRoot,
    /// The manifest describes 64 TiB, consistently, of which a few stripes came.
    Bomb,
    /// The manifest is longer than any object may be.
    Oversize,
    /// The manifest is longer than the OPEN announced.
    LongerThanAnnounced,
    /// The manifest has chunks of one byte.
    TinyChunks,
    /// The manifest is of another shape.
    OtherShape,
    /// The manifest is of another object.
    OtherName,
}

/// All of them.
pub const SIZE_LIES: [SizeLie; 23] = [
    SizeLie::ShorterLength,
    SizeLie::LongerLength,
    SizeLie::StripeCount,
    SizeLie::OneMore,
    SizeLie::OneFewer,
    SizeLie::MissingStripe,
    SizeLie::DuplicatedStripe,
    SizeLie::RepeatedIndex,
    SizeLie::ReorderedStripes,
    SizeLie::SwappedStripes,
    SizeLie::LastChunkFull,
    SizeLie::StatedLength,
    SizeLie::LongChunk,
    SizeLie::EmptyChunk,
    SizeLie::GiantFpcc,
    SizeLie::ShortFpcc,
    SizeLie::OtherRoot,
    SizeLie::Bomb,
    SizeLie::Oversize,
    SizeLie::LongerThanAnnounced,
    SizeLie::TinyChunks,
    SizeLie::OtherShape,
    SizeLie::OtherName,
];

/// Sends good chunks under sizes, counts or an order that lie; everything else is consistent.
///
/// May: state any number anywhere and sign it.
/// May not: change a chunk, so that no node can object before it compares the numbers.
#[derive(Clone, Debug)]
pub struct SizeLiar {
    /// The object; it has at least three stripes, the last of them short.
    pub object: Forged,
    /// The lie.
    pub lie: SizeLie,
}

impl SizeLiar {
    /// An object and a lie about it.
    #[must_use]
    pub fn of(liar: &LiarClient, name: &str, lie: SizeLie) -> Self {
        let config = liar.config();
        let stripe = usize::try_from(config.chunk_bytes).unwrap_or(0) * config.params.m();
        // No stripe is like another: otherwise one in the place of another were no lie.
        let content = Random::new(0, "content of a size liar").bytes(3 * stripe + stripe / 2);
        let mut object = liar.object(name, &content, Duration::from_secs(30));
        lie_in_manifest(&mut object, lie);
        Self { object, lie }
    }

    /// The lie told to every node.
    #[must_use]
    pub fn plan(&self, liar: &LiarClient) -> Plan {
        let upload = self.object.upload();
        let tell = |node| {
            let slot = liar.config().slot_of(upload, node).unwrap_or_default();
            (node, self.plays(slot))
        };
        liar.nodes().into_iter().map(tell).collect()
    }

    fn plays(&self, slot: Slot) -> Vec<Play> {
        let mut plays = opening(&self.object, slot, usize::MAX);
        let first = plays.len() - self.object.stripes.len();
        lie_in_stream(&mut plays, first, self.lie);
        plays.extend([seal(&self.object), Play::Listen(VOTES)]);
        plays
    }
}

fn lie_in_manifest(object: &mut Forged, lie: SizeLie) {
    let stripe_bytes =
        u64::from(object.manifest.chunk_bytes) * u64::from(object.manifest.params.m_byte());
    let manifest = &mut object.manifest;
    match lie {
        SizeLie::ShorterLength => manifest.object_bytes -= 7,
        SizeLie::LongerLength => manifest.object_bytes += 7,
        SizeLie::StripeCount => manifest.stripes += 1,
        SizeLie::OneMore => {
            manifest.stripes += 1;
            manifest.object_bytes += stripe_bytes;
        }
        SizeLie::OneFewer => {
            manifest.stripes -= 1;
            manifest.object_bytes -= stripe_bytes;
        }
        SizeLie::OtherRoot => manifest.root = Digest::of(&[b"another root"]),
        SizeLie::Bomb => {
            object.open.open.object_bytes_max = OBJECT_BYTES_MAX;
            manifest.object_bytes = OBJECT_BYTES_MAX;
            manifest.stripes = OBJECT_BYTES_MAX.div_ceil(stripe_bytes);
        }
        SizeLie::Oversize => {
            manifest.object_bytes = OBJECT_BYTES_MAX + 1;
            manifest.stripes = manifest.object_bytes.div_ceil(stripe_bytes);
        }
        SizeLie::LongerThanAnnounced => {
            object.open.open.object_bytes_max = manifest.object_bytes - 1;
        }
        SizeLie::TinyChunks => {
            manifest.chunk_bytes = 1;
            manifest.stripes = manifest.object_bytes.div_ceil(u64::from(manifest.params.m_byte()));
        }
        SizeLie::OtherShape => {
            manifest.params = Params::with_most_liars(2, 4).expect("a valid shape");
        }
        SizeLie::OtherName => {
            manifest.object.name = ObjectName::new("another name").expect("a valid name");
        }
        SizeLie::LastChunkFull => {
            let (Some(first), Some(last)) =
                (object.stripes.first().cloned(), object.stripes.last_mut())
            else {
                return;
            };
            *last = first;
            object.root_again();
        }
        SizeLie::MissingStripe
        | SizeLie::DuplicatedStripe
        | SizeLie::RepeatedIndex
        | SizeLie::ReorderedStripes
        | SizeLie::SwappedStripes
        | SizeLie::StatedLength
        | SizeLie::LongChunk
        | SizeLie::EmptyChunk
        | SizeLie::GiantFpcc
        | SizeLie::ShortFpcc => {}
    }
    object.open_again();
}

/// Lies in the chunk plays, which begin at `first`.
fn lie_in_stream(plays: &mut Vec<Play>, first: usize, lie: SizeLie) {
    let last = plays.len() - 1;
    match lie {
        SizeLie::MissingStripe => drop(plays.pop()),
        SizeLie::DuplicatedStripe => {
            let mut again = plays[first].clone();
            if let Play::Chunk { stripe, .. } = &mut again {
                *stripe = 1;
            }
            plays[first + 1] = again;
        }
        SizeLie::RepeatedIndex => plays.insert(first + 1, plays[first].clone()),
        SizeLie::ReorderedStripes => plays.swap(first, first + 1),
        SizeLie::SwappedStripes => {
            plays.swap(first, first + 1);
            for (index, play) in plays.iter_mut().skip(first).enumerate() {
                if let Play::Chunk { stripe, .. } = play {
                    *stripe = u64::try_from(index).unwrap_or(u64::MAX);
                }
            }
        }
        SizeLie::StatedLength => edit_chunk(&mut plays[first], |length, _, _| *length -= 1),
        SizeLie::LongChunk => edit_chunk(&mut plays[first], |length, _, bytes| {
            bytes.extend_from_slice(&[0; 1024]);
            *length += 1024;
        }),
        SizeLie::EmptyChunk => edit_chunk(&mut plays[last], |length, _, bytes| {
            bytes.clear();
            *length = 0;
        }),
        SizeLie::GiantFpcc => edit_chunk(&mut plays[first], |_, fpcc, _| fpcc.resize(900_000, 7)),
        SizeLie::ShortFpcc => edit_chunk(&mut plays[first], |length, fpcc, bytes| {
            fpcc.truncate(16);
            bytes.clear();
            *length = 1;
        }),
        SizeLie::ShorterLength
        | SizeLie::LongerLength
        | SizeLie::StripeCount
        | SizeLie::OneMore
        | SizeLie::OneFewer
        | SizeLie::LastChunkFull
        | SizeLie::OtherRoot
        | SizeLie::Bomb
        | SizeLie::Oversize
        | SizeLie::LongerThanAnnounced
        | SizeLie::TinyChunks
        | SizeLie::OtherShape
        | SizeLie::OtherName => {}
    }
}

fn edit_chunk(play: &mut Play, edit: impl FnOnce(&mut u32, &mut Vec<u8>, &mut Vec<u8>)) {
    if let Play::Chunk { length, fpcc, bytes, .. } = play {
        edit(length, fpcc, bytes);
    }
}

/// Sends each node a good chunk of the next slot, with its cross-checksum.
///
/// May: send any slot's chunk to any node.
/// May not: change a byte of chunk or cross-checksum.
#[derive(Clone, Debug)]
pub struct WrongSlot {
    /// The object.
    pub object: Forged,
}

impl WrongSlot {
    /// One connection to each node.
    #[must_use]
    pub fn plan(&self, liar: &LiarClient) -> Plan {
        let (config, upload) = (liar.config(), self.object.upload());
        let tell = |node| {
            let slot = config.slot_of(upload, node).unwrap_or_default();
            let next = Slot((slot.0 + 1) % config.params.n_byte());
            let mut plays = opening(&self.object, slot, 0);
            plays.extend((0..self.object.stripes.len()).map(|s| chunk(&self.object, s, next)));
            plays.extend([seal(&self.object), Play::Listen(VOTES)]);
            (node, plays)
        };
        liar.nodes().into_iter().map(tell).collect()
    }
}

/// How an announcement lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenLie {
    /// Chunks of one byte.
    TinyChunks,
    /// Chunks of 4 GiB.
    HugeChunks,
    /// One fragment more is needed than the cluster says.
    OtherM,
    /// Another number of nodes.
    OtherN,
    /// Another suite.
    OtherSuite,
    /// More bytes than any object may have.
    HugeObject,
    /// Already expired.
    Past,
    /// Expires in a thousand years.
    FarFuture,
    /// Signed over another cluster's id space: the signature does not verify.
    BadSignature,
    /// A later generation without a proof that the one before ended.
    NoPredecessor,
    /// Somebody else's name, signed with the liar's key.
    OtherOwner(PublicKey),
}

/// Opens with a lie: everything is refused before anything is kept.
///
/// May: announce anything, signed with its own key.
/// May not: sign for another owner.
#[derive(Clone, Copy, Debug)]
pub struct OpenLiar {
    /// The lie.
    pub lie: OpenLie,
}

impl OpenLiar {
    /// The OPEN alone, to every node.
    #[must_use]
    pub fn plan(&self, liar: &LiarClient, name: &str) -> Plan {
        let mut object = liar.object(name, &[1; 100], Duration::from_secs(60));
        let open = &mut object.open.open;
        match self.lie {
            OpenLie::TinyChunks => open.chunk_bytes = 1,
            OpenLie::HugeChunks => open.chunk_bytes = u32::MAX,
            OpenLie::OtherM => {
                open.params = Params::with_most_liars(2, 5).expect("a valid shape");
            }
            OpenLie::OtherN => {
                open.params = Params::with_most_liars(3, 7).expect("a valid shape");
            }
            OpenLie::OtherSuite => {
                open.suite = Suite { fingerprint: FingerprintKind::Fp64, ..open.suite };
            }
            OpenLie::HugeObject => open.object_bytes_max = u64::MAX,
            OpenLie::Past => open.expiry = Timestamp(1),
            OpenLie::FarFuture => {
                open.expiry = open.expiry.plus(Duration::from_secs(1000 * 365 * 86_400));
            }
            OpenLie::BadSignature | OpenLie::NoPredecessor => {}
            OpenLie::OtherOwner(owner) => open.object.owner = owner,
        }
        if self.lie == OpenLie::NoPredecessor {
            open.object.generation = Generation(1);
        }
        object.open_again();
        if self.lie == OpenLie::BadSignature {
            object.open.open.object_bytes_max -= 1;
        }
        let nodes = liar.nodes().into_iter();
        nodes.map(|node| (node, opening(&object, Slot(0), 0))).collect()
    }
}

/// Announces many dispersals and sends nothing of them.
///
/// May: open any number of names.
/// May not: have more than its grant's one key.
#[derive(Clone, Copy, Debug)]
pub struct Opener {
    /// How many.
    pub opens: u32,
    /// Until when nodes may not abort them.
    pub lifetime: Duration,
}

impl Opener {
    /// One connection per OPEN, to one node, from number `from` on.
    #[must_use]
    pub fn plan(&self, liar: &LiarClient, node: NodeId, from: u32) -> Plan {
        let open = |number| {
            let object = liar.object(&format!("flood {number}"), &[], self.lifetime);
            (node, opening(&object, Slot(0), 0))
        };
        (from..from + self.opens).map(open).collect()
    }
}

/// How a commit proof lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofLie {
    /// The liar's own description under another object's certificates.
    OwnSeal,
    /// The liar's own description, and certificates that say they are about it.
    OwnContent,
    /// One ECHO fewer than the quorum.
    FewEchoes,
    /// One ECHO fewer, and another one twice.
    RepeatedEcho,
    /// One signature of another slot.
    OtherSlot,
    /// The ECHOs of the proof shown as READYs.
    EchoesAsReadies,
    /// A later epoch.
    OtherEpoch,
    /// No votes at all.
    Empty,
    /// A bit of a signature.
    FlippedBit,
}

/// All of them.
pub const PROOF_LIES: [ProofLie; 9] = [
    ProofLie::OwnSeal,
    ProofLie::OwnContent,
    ProofLie::FewEchoes,
    ProofLie::RepeatedEcho,
    ProofLie::OtherSlot,
    ProofLie::EchoesAsReadies,
    ProofLie::OtherEpoch,
    ProofLie::Empty,
    ProofLie::FlippedBit,
];

/// Shows forged commit proofs wherever one is taken: COMMIT, FILL, GETFRAG, OPEN.
///
/// May: rearrange every part of genuine proofs, which are public, and sign as an owner.
/// May not: sign as a node.
#[derive(Clone, Debug)]
pub struct CertificateForger {
    /// A genuine proof of somebody's object.
    pub genuine: CommitProof,
    /// An object of the liar that nobody committed.
    pub own: Forged,
    /// ECHOs that a proof needs.
    pub echo_quorum: usize,
}

impl CertificateForger {
    /// The proof with a lie in it.
    #[must_use]
    pub fn forge(&self, lie: ProofLie) -> CommitProof {
        let mut proof = self.genuine.clone();
        let own = SealBundle {
            open: self.own.open.clone(),
            manifest: self.own.manifest.clone(),
            seal: self.own.seal,
        };
        let few = self.echo_quorum.saturating_sub(1);
        match lie {
            ProofLie::OwnSeal => proof.seal = own,
            ProofLie::OwnContent => {
                proof.seal = own;
                for cert in [&mut proof.echo, &mut proof.ready] {
                    cert.upload = self.own.upload();
                    cert.commitment = self.own.manifest.commitment();
                    cert.expiry = self.own.open.open.expiry;
                }
            }
            ProofLie::FewEchoes => proof.echo.entries.truncate(few),
            ProofLie::RepeatedEcho => {
                proof.echo.entries.truncate(few);
                proof.echo.entries.extend(proof.echo.entries.first().cloned());
            }
            ProofLie::OtherSlot => {
                for entry in proof.echo.entries.iter_mut().take(1) {
                    entry.0 = Slot(entry.0.0 + 1);
                }
            }
            ProofLie::EchoesAsReadies => {
                proof.ready = QuorumCert { kind: StatementKind::Ready, ..proof.echo.clone() };
            }
            ProofLie::OtherEpoch => {
                proof.echo.epoch = Epoch(proof.echo.epoch.0 + 1);
                proof.ready.epoch = proof.echo.epoch;
            }
            ProofLie::Empty => {
                proof.echo.entries.clear();
                proof.ready.entries.clear();
            }
            ProofLie::FlippedBit => {
                for (_, attestation) in proof.ready.entries.iter_mut().take(1) {
                    attestation.signature.0[5] ^= 1;
                }
            }
        }
        proof
    }

    /// Every lie to one node, by every door.
    #[must_use]
    pub fn plan(&self, node: NodeId) -> Plan {
        let mut plan = Plan::new();
        for lie in PROOF_LIES {
            let proof = Box::new(self.forge(lie));
            let upload = proof.echo.upload;
            let frag = Message::GetFrag {
                upload,
                first: StripeIndex(0),
                count: 1,
                proof: Some(proof.clone()),
            };
            let next = self.next_generation(Predecessor::Expired(proof.clone()));
            for message in [Message::Commit(proof.clone()), Message::Fill(proof), frag, next] {
                plan.push((node, vec![Play::Say(Box::new(message)), Play::Listen(VOTES)]));
            }
        }
        let aborted = QuorumCert { kind: StatementKind::Abort, ..self.genuine.echo.clone() };
        let next = self.next_generation(Predecessor::Aborted(aborted));
        plan.push((node, vec![Play::Say(Box::new(next)), Play::Listen(VOTES)]));
        plan
    }

    /// OPEN of the generation after the liar's own object.
    fn next_generation(&self, predecessor: Predecessor) -> Message {
        let mut next = self.own.clone();
        next.open.open.object.generation = Generation(1);
        next.open_again();
        Message::Open { open: Box::new(next.open), predecessor: Some(predecessor) }
    }
}

/// Cancels and deletes what is not its own.
///
/// May: sign orders with its own key, and replay the owner's old ones.
/// May not: sign with the owner's key.
#[derive(Clone, Debug)]
pub struct OrderForger {
    /// Whose object.
    pub victim: ObjectId,
}

impl OrderForger {
    /// Orders to every node: in the victim's name, and under the same name as its own.
    #[must_use]
    pub fn plan(&self, liar: &LiarClient) -> Plan {
        let own = ObjectId { owner: liar.key().public(), ..self.victim.clone() };
        let mut plan = Plan::new();
        for node in liar.nodes() {
            for kind in [OrderKind::Cancel, OrderKind::Delete] {
                for object in [&self.victim, &own] {
                    let order = OwnerOrder::sign(liar.config(), kind, object.clone(), liar.key());
                    let say = Play::Say(Box::new(Message::Order(order)));
                    plan.push((node, vec![say, Play::Listen(VOTES)]));
                }
            }
        }
        plan
    }
}

/// Sends so slowly that it just counts as alive, and holds a stream that others want.
///
/// May: rest up to the idle limit between any two frames, begin again for ever.
/// May not: hold more streams than it has connections.
#[derive(Clone, Debug)]
pub struct Dripper {
    /// What begins the conversation: an OPEN of its own, or a FILL of anybody's object.
    pub begins: Message,
    /// Whose stripes are dripped.
    pub object: Forged,
    /// Rest before each frame.
    pub rest: Duration,
}

impl Dripper {
    /// One stream to one node.
    #[must_use]
    pub fn plan(&self, liar: &LiarClient, node: NodeId) -> Plan {
        let slot = liar.config().slot_of(self.object.upload(), node).unwrap_or_default();
        let mut plays = vec![Play::Say(Box::new(self.begins.clone())), Play::Listen(VOTES)];
        for stripe in 0..self.object.stripes.len() {
            plays.extend([Play::Rest(self.rest), chunk(&self.object, stripe, slot)]);
        }
        plays.push(Play::Listen(VOTES));
        vec![(node, plays)]
    }
}
