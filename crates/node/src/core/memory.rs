//! Whether this node remembers everything it ever promised.
//!
//! A wiped, restored or cloned disk forgets votes, and a node that forgot its votes is a liar
//! without knowing. Peers keep the highest boot counter and journal position each member signed
//! and tell it back in the handshake. A node votes only after n - f members, itself included,
//! have answered and none of them remembers more than the node does.
//!
//! Spec: docs/protocol.md AMNESIA-1.
//! Bounds: one entry per member.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use avid_protocol::clock::{Heartbeat, SignedHeartbeat};
use avid_types::canary::{self, Canary};
use avid_types::{ClusterConfig, NodeId, Timestamp};

/// A peer's position goes to disk at most this often while it does not restart.
const KEEP_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Memory {
    node: NodeId,
    boot: u64,
    position: u64,
    needed: usize,
    answered: BTreeSet<NodeId>,
    forgotten: Option<(NodeId, Heartbeat)>,
    kept_at: BTreeMap<NodeId, Timestamp>,
}

impl Memory {
    pub(crate) fn new(config: &ClusterConfig, node: NodeId, boot: u64, position: u64) -> Self {
        Self {
            node,
            boot,
            position,
            needed: config.params.answer_quorum(),
            answered: BTreeSet::from([node]),
            forgotten: None,
            kept_at: BTreeMap::new(),
        }
    }

    /// A peer told what it remembers of us; the caller checked that we signed it.
    ///
    /// `lived`: first and latest heartbeat that this process signed, if it signed any.
    pub(crate) fn answered(
        &mut self,
        peer: NodeId,
        remembered: Option<SignedHeartbeat>,
        lived: Option<(Heartbeat, Heartbeat)>,
    ) {
        if let Some(theirs) = remembered.map(|signed| signed.heartbeat)
            && theirs.node == self.node
            && self.is_ahead(&theirs, lived)
        {
            self.forgotten = Some((peer, theirs));
        }
        self.answered.insert(peer);
    }

    /// Whether a heartbeat was signed by a life of this node that its disk does not know.
    fn is_ahead(&self, theirs: &Heartbeat, lived: Option<(Heartbeat, Heartbeat)>) -> bool {
        let ours = Heartbeat { boot: self.boot, ..*theirs };
        if theirs.is_of_other_store(&ours) {
            return true;
        }
        match theirs.boot.cmp(&self.boot) {
            Ordering::Greater => true,
            Ordering::Less => theirs.position > self.position,
            // The same boot number is ours only within the lifetime of this process.
            Ordering::Equal => lived.is_none_or(|(first, latest)| {
                theirs.reading < first.reading
                    || (theirs.position, theirs.reading) > (latest.position, latest.reading)
            }),
        }
    }

    pub(crate) fn may_vote(&self) -> Result<(), String> {
        if canary::sings(Canary::NoAmnesiaCheck) {
            return Ok(());
        }
        if let Some((peer, theirs)) = &self.forgotten {
            let ours = Heartbeat { boot: self.boot, position: self.position, ..*theirs };
            let store = if theirs.is_of_other_store(&ours) { " of another store" } else { "" };
            return Err(format!(
                "this node has forgotten votes: node {peer} remembers its boot {}{store} at journal \
                 position {}, its disk is at boot {} and position {}; it serves reads but must be \
                 replaced under a new identity",
                theirs.boots(),
                theirs.position,
                ours.boots(),
                ours.position
            ));
        }
        if self.answered.len() < self.needed {
            return Err(format!(
                "starting: {} of {} members (itself included) confirmed that it forgot no votes; \
                 retry when more nodes are up",
                self.answered.len(),
                self.needed
            ));
        }
        Ok(())
    }

    pub(crate) fn worth_keeping(&self, heartbeat: &Heartbeat) -> bool {
        self.kept_at
            .get(&heartbeat.node)
            .is_none_or(|kept| heartbeat.reading.since(*kept) >= KEEP_EVERY)
    }

    pub(crate) fn kept(&mut self, heartbeat: &Heartbeat) {
        self.kept_at.insert(heartbeat.node, heartbeat.reading);
    }
}
