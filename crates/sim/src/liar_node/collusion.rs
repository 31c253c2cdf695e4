//! What several liars know together.
//!
//! A gang knows every vote that was sent to one of its members and can sign for each of them. It
//! never sees what honest hosts say to each other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use avid_protocol::certificate::QuorumCert;
use avid_protocol::statement::{Statement, StatementKind};
use avid_protocol::vote::SignedVote;
use avid_types::{ClusterConfig, Commitment, NodeId, Slot, Timestamp, UploadId};

use super::{Identity, each_cert, each_vote, message_of};
use crate::tap::{Frame, Tap, Way};
use crate::world::host_of;

/// A content that somebody may vote for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Content {
    /// The upload.
    pub upload: UploadId,
    /// What is said to be its content.
    pub commitment: Commitment,
    /// The expiry that votes name.
    pub expiry: Timestamp,
}

impl Content {
    /// A statement about it.
    #[must_use]
    pub fn statement(&self, kind: StatementKind, slot: Slot) -> Statement {
        Statement {
            commitment: self.commitment,
            expiry: self.expiry,
            ..Statement::about_upload(kind, self.upload, slot)
        }
    }
}

/// Liars that share what they know; clones are the same gang.
#[derive(Clone, Debug)]
pub struct Gang(Arc<Mutex<Known>>);

#[derive(Debug)]
struct Known {
    config: Arc<ClusterConfig>,
    members: BTreeSet<NodeId>,
    echoes: BTreeMap<Content, BTreeMap<Slot, SignedVote>>,
}

impl Gang {
    /// A gang of these members.
    pub fn new(config: &Arc<ClusterConfig>, members: impl IntoIterator<Item = NodeId>) -> Self {
        Self(Arc::new(Mutex::new(Known {
            config: Arc::clone(config),
            members: members.into_iter().collect(),
            echoes: BTreeMap::new(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its members.
    #[must_use]
    pub fn members(&self) -> BTreeSet<NodeId> {
        self.lock().members.clone()
    }

    /// Hears of a content, as from a lying writer.
    pub fn learn(&self, content: Content) {
        self.lock().echoes.entry(content).or_default();
    }

    /// Takes every vote out of a frame that a member sent or received.
    pub fn hear(&self, frame: &Frame) {
        let Some(mut message) = message_of(frame) else { return };
        let mut known = self.lock();
        each_vote(&mut message, |vote| known.take(vote));
        each_cert(&mut message, |cert| cert.votes().for_each(|vote| known.take(&vote)));
    }

    /// Hears what is sent to members; belongs behind everything that is sent.
    #[must_use]
    pub fn ear(&self) -> Ear {
        Ear(self.clone())
    }

    /// Every content it knows of.
    #[must_use]
    pub fn promises(&self) -> Vec<Content> {
        self.lock().echoes.keys().copied().collect()
    }

    /// All echoes it has or can sign itself, as a certificate, however many they are.
    #[must_use]
    pub fn echoes(&self, content: &Content) -> QuorumCert {
        let known = self.lock();
        let mut votes = known.echoes.get(content).cloned().unwrap_or_default();
        for member in &known.members {
            let me = Identity { config: Arc::clone(&known.config), node: *member };
            if let Some(slot) = me.slot(content.upload) {
                let statement = content.statement(StatementKind::Echo, slot);
                votes.entry(slot).or_insert_with(|| me.sign(statement));
            }
        }
        let statement = content.statement(StatementKind::Echo, Slot(0));
        QuorumCert::of_votes(known.config.epoch, &statement, votes.values())
    }

    /// An echo certificate, if honest echoes and the members' own are enough for one.
    #[must_use]
    pub fn echo_cert(&self, content: &Content) -> Option<QuorumCert> {
        let quorum = self.lock().config.params.echo_quorum();
        Some(self.echoes(content)).filter(|cert| cert.entries.len() >= quorum)
    }
}

impl Known {
    fn take(&mut self, vote: &SignedVote) {
        let said = vote.statement;
        let content =
            Content { upload: said.upload, commitment: said.commitment, expiry: said.expiry };
        match said.kind {
            StatementKind::Echo => {
                self.echoes.entry(content).or_default().insert(said.slot, vote.clone());
            }
            StatementKind::Ready => drop(self.echoes.entry(content).or_default()),
            _ => {}
        }
    }
}

/// Hears for a gang what is sent to its members, and changes nothing.
#[derive(Debug)]
pub struct Ear(Gang);

impl Tap for Ear {
    fn on_frame(&mut self, way: Way, frame: Frame, wire: &mut Vec<Frame>) {
        let is_for_us = self.0.lock().members.iter().any(|member| host_of(*member) == way.to);
        if is_for_us {
            self.0.hear(&frame);
        }
        wire.push(frame);
    }
}
