//! What a client is told, and how patient it is.
//!
//! Not here: files and environment (`cli`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use avid_net::{DialTimeouts, Host};
use avid_protocol::authority::SignedGrant;
use avid_types::{ClusterConfig, NodeId, SigningKey};

/// Everything a client needs to know.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The pinned configuration: all trust starts here.
    pub cluster: Arc<ClusterConfig>,
    /// The client's key; objects it writes belong to it.
    pub key: SigningKey,
    /// The operator's permission, shown to every node.
    pub grant: Option<SignedGrant>,
    /// Addresses to use in place of the configured ones.
    pub addresses: BTreeMap<NodeId, String>,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// Time, randomness, threads and network.
    pub host: Host,
}

/// How long to wait for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Connecting and shaking hands.
    pub dial: DialTimeouts,
    /// One answer to one small question: above [`avid_types::limits::PENDING_WAIT_MAX`] and a sync.
    pub answer: Duration,
    /// Further wait for the last nodes once enough have answered: a wide-area round trip.
    pub answer_grace: Duration,
    /// How long a write asks nodes again that answer but cannot take part yet: a node that was
    /// just started knows cluster time after a few exchanges with its peers.
    pub not_ready: Duration,
    /// How long a write dials nodes again that refuse connections, if it cannot do without them: a
    /// node that is just being started listens sooner, and users do not wait for one that is down.
    pub not_listening: Duration,
    /// How long a failed dial is remembered: long enough for one operation's many questions.
    pub down_memory: Duration,
    /// Silence after which a node that owes us bytes, or reads none, is given up.
    pub stall: Duration,
    /// Silence after which a node that holds up a write is left behind if E others keep up.
    pub lag_grace: Duration,
    /// Waiting for one slow node in all before it is left behind: filling it later costs a read.
    pub lag_total: Duration,
    /// Its share of a write's time, percent, that must be lost as well.
    pub lag_percent: u32,
    /// Least silence of a slot, while output waits for it, before another slot is asked too.
    pub hedge: Duration,
    /// Silence of all nodes after SEAL: syncs of large fragments and several rounds of votes.
    pub votes: Duration,
    /// How long an idle connection is reused: well below the node's own limit.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            dial: DialTimeouts::default(),
            answer: Duration::from_secs(10),
            answer_grace: Duration::from_millis(100),
            not_ready: Duration::from_secs(10),
            not_listening: Duration::from_secs(2),
            down_memory: Duration::from_secs(2),
            stall: Duration::from_secs(30),
            lag_grace: Duration::from_secs(1),
            lag_total: Duration::from_secs(5),
            lag_percent: 10,
            hedge: Duration::from_millis(300),
            votes: Duration::from_secs(60),
            idle: Duration::from_secs(20),
        }
    }
}
