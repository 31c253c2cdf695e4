//! Lying nodes: what a Byzantine member of the cluster can do, as reusable adversaries.
//!
//! A lying node is a production node whose frames pass through a [`Tap`] that holds its keys, or
//! a [`impostor::Impostor`]: a program of ours that holds them and speaks for itself. None of them
//! may do what the model forbids everybody: forge a signature of an honest key, or read what is
//! said between two honest hosts.
//!
//! | adversary | does | does not |
//! |---|---|---|
//! | [`votes::Equivocator`] | signs other contents for some peers or for all | vote for others |
//! | [`votes::Parrot`] | votes for whatever its accomplices hear of, without a fragment | forge echoes |
//! | [`votes::Forger`] | spoils the certificates it passes on | sign for others |
//! | [`votes::Flood`] | says everything many times over | say anything new |
//! | [`chunks::WrongChunks`] | serves flipped, cut, stale, foreign, misplaced chunks | change votes |
//! | [`chunks::Poisoner`] | echoes and serves what a lying writer prepared for it | |
//! | [`service::Withhold`] | keeps its fragments to itself | refuse anything else |
//! | [`service::Selective`] | serves some hosts and no others | lie to those it serves |
//! | [`service::Silent`] | shakes hands and says nothing | |
//! | [`clock::LyingClock`] | signs wrong readings, boots and positions | touch votes |
//! | [`answers::LyingAnswers`] | hides, invents and tears HEAD, LIST, STAT and STATUS answers | |
//! | [`random::RandomLiar`] | draws any of these moves, frame by frame | |
//! | [`impostor::Impostor`] | opens sockets of its own: floods, drips, replays | |
//!
//! [`collusion::Gang`] is what several of them know together. [`turn`] makes a node a liar.
//!
//! Spec: docs/protocol.md section 6, scenarios 17 to 22.
//! Not here: lying clients, faulty disks, the network between honest hosts
//! ([`frames`] drops, repeats and reorders whole frames, never changing one).

pub mod answers;
pub mod chunks;
pub mod clock;
pub mod collusion;
pub mod frames;
pub mod impostor;
pub mod random;
pub mod service;
pub mod votes;

use std::sync::{Arc, Mutex};

use avid_protocol::certificate::QuorumCert;
use avid_protocol::clock::{Heartbeat, SignedHeartbeat};
use avid_protocol::statement::Statement;
use avid_protocol::vote::{SignedVote, sign_statements};
use avid_protocol::wire::{FRAME_VERSION, HeadAnswer, ListEntry, Message, News, Pulled, kind};
use avid_types::{ClusterConfig, NodeId, Slot, UploadId};

use crate::network::HostId;
use crate::tap::{Frame, Tap, Way};
use crate::world::{World, host_of, vote_key};

pub use random::{liar_from_bytes, random_liar};

/// A tap that the scenario keeps a hand on.
pub type Shared<T> = Arc<Mutex<T>>;

/// Shares an adversary between the network and the scenario.
pub fn shared<T>(adversary: T) -> Shared<T> {
    Arc::new(Mutex::new(adversary))
}

/// Makes a node a liar: nothing is expected of it, and what it sends passes through `tap`.
pub fn turn(world: &World, node: NodeId, tap: Arc<Mutex<dyn Tap>>) {
    world.checker.set_dishonest(node);
    world.network.tap(host_of(node), tap);
}

/// A member with its keys.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The cluster it is a member of.
    pub config: Arc<ClusterConfig>,
    /// Which member.
    pub node: NodeId,
}

impl Identity {
    /// A member of a simulated world.
    #[must_use]
    pub fn of(world: &World, node: NodeId) -> Self {
        Self { config: Arc::clone(&world.config), node }
    }

    /// The machine it runs on.
    #[must_use]
    pub fn host(&self) -> HostId {
        host_of(self.node)
    }

    /// Its slot of an upload.
    #[must_use]
    pub fn slot(&self, upload: UploadId) -> Option<Slot> {
        self.config.slot_of(upload, self.node)
    }

    /// Its signature of any statement it likes.
    ///
    /// # Panics
    ///
    /// Never: one statement gives one vote.
    #[must_use]
    pub fn sign(&self, statement: Statement) -> SignedVote {
        let votes = sign_statements(&self.config, &vote_key(self.node), &[statement]);
        votes.into_iter().next().expect("one statement gives one vote")
    }

    /// Its signature of any heartbeat it likes.
    #[must_use]
    pub fn beat(&self, heartbeat: Heartbeat) -> SignedHeartbeat {
        heartbeat.sign(&self.config, &vote_key(self.node))
    }
}

/// The message of a frame; none for chunks and for what does not decode.
#[must_use]
pub fn message_of(frame: &Frame) -> Option<Message> {
    if frame.kind == kind::CHUNK || frame.kind == kind::FRAG {
        return None;
    }
    Message::from_body(frame.kind, frame.version, &frame.body).ok()
}

/// The frame of a message.
#[must_use]
pub fn frame_of(message: &Message) -> Frame {
    Frame { kind: message.kind(), version: FRAME_VERSION, body: message.to_body() }
}

/// Visits the votes that a node makes itself.
fn each_vote(message: &mut Message, mut visit: impl FnMut(&mut SignedVote)) {
    match message {
        Message::Vote { vote, .. } => visit(vote),
        Message::News { news: News::Votes { votes, .. }, .. } => votes.iter_mut().for_each(visit),
        Message::HeadAnswer(answer) => {
            if let Some(vote) = answer.aborted.as_mut().and_then(|head| head.vote.as_mut()) {
                visit(vote);
            }
        }
        _ => {}
    }
}

/// Visits the certificates that a node passes on.
fn each_cert(message: &mut Message, mut visit: impl FnMut(&mut QuorumCert)) {
    match message {
        Message::Vote { echo_cert: Some(cert), .. }
        | Message::News { news: News::Votes { echo_cert: Some(cert), .. }, .. }
        | Message::News { news: News::Aborted(cert), .. } => visit(cert),
        Message::Pulled { pulled: Pulled::Committed(proof), .. } => {
            visit(&mut proof.echo);
            visit(&mut proof.ready);
        }
        Message::HeadAnswer(answer) => each_cert_of_head(answer, visit),
        Message::ListAnswer(page) => {
            for entry in &mut page.entries {
                if let ListEntry::Committed(proof) = entry {
                    visit(&mut proof.echo);
                    visit(&mut proof.ready);
                }
            }
        }
        _ => {}
    }
}

fn each_cert_of_head(answer: &mut HeadAnswer, mut visit: impl FnMut(&mut QuorumCert)) {
    if let Some(proof) = &mut answer.committed {
        visit(&mut proof.echo);
        visit(&mut proof.ready);
    }
    if let Some(cert) = answer.aborted.as_mut().and_then(|head| head.cert.as_mut()) {
        visit(cert);
    }
}

/// Several taps, one behind the other.
#[derive(Debug)]
pub struct Chain(pub Vec<Arc<Mutex<dyn Tap>>>);

impl Tap for Chain {
    fn on_frame(&mut self, way: Way, frame: Frame, wire: &mut Vec<Frame>) {
        let mut frames = vec![frame];
        for tap in &self.0 {
            let mut tap = tap.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let mut next = Vec::new();
            for frame in frames {
                tap.on_frame(way, frame, &mut next);
            }
            frames = next;
        }
        wire.append(&mut frames);
    }
}
