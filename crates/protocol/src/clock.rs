//! Cluster time and the memory of who restarted: heartbeats of nodes.
//!
//! Each node signs its clock, its boot counter and its journal position every few seconds.
//! Cluster time at a node is the (f + 1)-th largest of the latest readings of all members: at
//! least one honest clock has reached it, so f liars cannot push it ahead; and it needs no
//! clock for safety, only for expiries.
//!
//! Spec: docs/protocol.md TIME-1, AMNESIA-1.
//! Invariant: cluster time never decreases and never exceeds the clocks of all honest members.
//! Bounds: one heartbeat per member.

use std::collections::BTreeMap;

use avid_types::canary::{self, Canary};
use avid_types::{
    ClusterConfig, DecodeError, Decoder, Encoder, NodeId, Signature, SigningKey, Timestamp,
};

/// A node's clock, boot counter and journal position at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Who.
    pub node: NodeId,
    /// Its clock.
    pub reading: Timestamp,
    /// Which store it runs on (32 bits that no other store has, or 0 for one that does not say) and
    /// how often it has started on it (32 bits).
    pub boot: u64,
    /// Next position of its journal.
    pub position: u64,
}

/// A heartbeat with its node's signature, not yet checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedHeartbeat {
    /// What is said.
    pub heartbeat: Heartbeat,
    /// Vote key's signature over [`Heartbeat::signed_bytes`].
    pub signature: Signature,
}

impl Heartbeat {
    /// The bytes a node signs.
    #[must_use]
    pub fn signed_bytes(&self, config: &ClusterConfig) -> Vec<u8> {
        let mut e = Encoder::with_capacity(80);
        e.u8(19);
        e.bytes(b"avidfp/heartbeat/v1");
        config.cluster.encode(&mut e);
        config.epoch.encode(&mut e);
        self.encode(&mut e);
        e.into_vec()
    }

    /// Signs with the node's vote key.
    #[must_use]
    pub fn sign(self, config: &ClusterConfig, key: &SigningKey) -> SignedHeartbeat {
        SignedHeartbeat { heartbeat: self, signature: key.sign(&self.signed_bytes(config)) }
    }

    /// A boot number from a store's name and the count of its boots.
    #[must_use]
    pub fn boot_of(store_name: [u8; 16], boots: u64) -> u64 {
        let [a, b, c, d, ..] = store_name;
        let store = u64::from(u32::from_le_bytes([a, b, c, d]).max(1));
        store << 32 | boots.min(u64::from(u32::MAX))
    }

    /// Boots of its store up to this one.
    #[must_use]
    pub fn boots(&self) -> u64 {
        self.boot & u64::from(u32::MAX)
    }

    /// Whether two heartbeats of one node come from different stores: a disk was lost or swapped, and
    /// with it every vote on it.
    ///
    /// Rule: AMNESIA-1.
    #[must_use]
    pub fn is_of_other_store(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.boot >> 32, other.boot >> 32);
        ours != 0 && theirs != 0 && ours != theirs
    }

    /// Whether this heartbeat takes the place of the one known of its node: it is newer, and of the
    /// same store. A member that lost its disk would otherwise erase the memory of what it forgot.
    ///
    /// Rule: AMNESIA-1.
    #[must_use]
    pub fn supersedes(&self, known: &Self) -> bool {
        known.age() < self.age() && !known.is_of_other_store(self)
    }

    /// What orders the heartbeats of one node: boot, then position, then reading.
    #[must_use]
    pub fn age(&self) -> (u64, u64, Timestamp) {
        (self.boot, self.position, self.reading)
    }

    fn encode(&self, e: &mut Encoder) {
        e.u16(self.node.0);
        self.reading.encode(e);
        e.u64(self.boot);
        e.u64(self.position);
    }
}

impl SignedHeartbeat {
    /// Whether the named node signed it.
    #[must_use]
    pub fn verifies(&self, config: &ClusterConfig) -> bool {
        let Some(member) = config.member(self.heartbeat.node) else {
            return false;
        };
        member.vote_key.verifies(&self.heartbeat.signed_bytes(config), &self.signature)
    }

    /// Appends heartbeat and signature.
    pub fn encode(&self, e: &mut Encoder) {
        self.heartbeat.encode(e);
        self.signature.encode(e);
    }

    /// Reads heartbeat and signature.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if malformed.
    pub fn decode(d: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            heartbeat: Heartbeat {
                node: NodeId(d.u16()?),
                reading: Timestamp::decode(d)?,
                boot: d.u64()?,
                position: d.u64()?,
            },
            signature: Signature::decode(d)?,
        })
    }
}

/// The latest heartbeat of each member and the time they agree on.
#[derive(Debug, Clone)]
pub struct ClusterClock {
    witnesses: usize,
    time: Timestamp,
    latest: BTreeMap<NodeId, SignedHeartbeat>,
}

impl ClusterClock {
    /// A clock that starts at the persisted time.
    #[must_use]
    pub fn new(config: &ClusterConfig, persisted: Timestamp) -> Self {
        let mut witnesses = config.params.honest_witness();
        if canary::sings(Canary::FastestClock) {
            witnesses = 1;
        }
        Self { witnesses, time: persisted, latest: BTreeMap::new() }
    }

    /// Cluster time; [`Timestamp::ZERO`] until f + 1 members were heard for the first time.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// The latest heartbeat of a member.
    #[must_use]
    pub fn remembered(&self, node: NodeId) -> Option<&SignedHeartbeat> {
        self.latest.get(&node)
    }

    /// Every remembered heartbeat.
    pub fn all(&self) -> impl Iterator<Item = &SignedHeartbeat> {
        self.latest.values()
    }

    /// Takes a heartbeat whose signature the caller has checked.
    ///
    /// Keeps it if it supersedes the one known.
    /// Returns the new cluster time if it advanced.
    ///
    /// Rule: TIME-1, AMNESIA-1.
    pub fn observe(&mut self, signed: SignedHeartbeat) -> Option<Timestamp> {
        let known = self.latest.get(&signed.heartbeat.node);
        if known.is_none_or(|known| signed.heartbeat.supersedes(&known.heartbeat)) {
            self.latest.insert(signed.heartbeat.node, signed);
        }
        let mut readings: Vec<Timestamp> =
            self.latest.values().map(|known| known.heartbeat.reading).collect();
        readings.sort_unstable_by(|a, b| b.cmp(a));
        let agreed = *readings.get(self.witnesses - 1)?;
        if agreed <= self.time {
            return None;
        }
        self.time = agreed;
        Some(agreed)
    }
}
