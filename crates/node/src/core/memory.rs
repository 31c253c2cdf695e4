//! Whether this node remembers everything it ever promised.
//!
//! A wiped, restored or cloned disk forgets votes, and a node that forgot its votes is a liar
//! without knowing. Peers keep the highest boot counter and journal position each member signed
//! and tell it back in the handshake. A node votes only after n - f members, itself included,
//! have answered and none of them remembers more than the node does.
//!
//! Spec: docs/protocol.md AMNESIA-1.
//! Bounds: one entry per member.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use avid_protocol::clock::{Heartbeat, SignedHeartbeat};
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
    pub(crate) fn answered(&mut self, peer: NodeId, remembered: Option<SignedHeartbeat>) {
        if let Some(signed) = remembered {
            let theirs = signed.heartbeat;
            let is_ours = theirs.node == self.node;
            // Positions of this very boot may be ahead of the one we started with.
            let ahead = theirs.boot > self.boot
                || (theirs.boot < self.boot && theirs.position > self.position);
            if is_ours && ahead {
                self.forgotten = Some((peer, theirs));
            }
        }
        self.answered.insert(peer);
    }

    pub(crate) fn may_vote(&self) -> Result<(), String> {
        if let Some((peer, theirs)) = &self.forgotten {
            return Err(format!(
                "this node has forgotten votes: node {peer} remembers its boot {} at journal \
                 position {}, its disk is at boot {} and position {}; it serves reads but must be \
                 replaced under a new identity",
                theirs.boot, theirs.position, self.boot, self.position
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
