//! What must hold after every step, whatever the adversary does within its budget.
//!
//! The checker hears of every durable record and every signature of every honest node at the
//! moment it happens, and of every answer a client got. It keeps the first violation; a scenario
//! that goes on after one is only making noise.
//!
//! | check | from |
//! |---|---|
//! | one commitment per upload at honest nodes | I1 |
//! | a commit has at least m honest holders | I2 |
//! | every read is the committed bytes, readers agree | I3 |
//! | no honest node signs two statements that conflict, restarts included | I4 |
//! | a committed fragment goes only for a tombstone | I6 |
//! | never both commit and abort certificate | ABORT-1 |
//! | a node whose disk forgets signs no conflict, one that forgot all no promise | AMNESIA-1 |
//! | what a client is told to be placed was held | HOLD-1 |
//! | no honest node is accused | EVID-1 |
//! | the bound of liars is not exceeded | section 1.4 |
//!
//! Spec: docs/protocol.md section 6, invariants I1 to I4, I6, I7.
//! Not here: memory and disk bounds ([`crate::world`] samples them), liveness (scenarios).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use avid_node::{Fact, Observe};
use avid_protocol::fault::{Fault, FaultKind, conflict};
use avid_protocol::record::{Phase, UploadRecord};
use avid_protocol::statement::{Statement, StatementKind};
use avid_protocol::vote::SignedVote;
use avid_types::{ClusterConfig, Commitment, NodeId, Slot, UploadId};

use crate::trace::Trace;

/// Watches one run; clones share it.
#[derive(Clone, Debug)]
pub struct Checker(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    config: Arc<ClusterConfig>,
    trace: Trace,
    /// Nodes that lie, or whose disk lost what had been synced.
    dishonest: BTreeSet<NodeId>,
    /// Nodes among them that must not contradict themselves all the same.
    forgetful: BTreeSet<NodeId>,
    /// Nodes that came back with an empty disk.
    wiped: BTreeSet<NodeId>,
    /// Whether frames are forged on the network: then suspicions may fall on anybody.
    forged_frames: bool,
    uploads: BTreeMap<UploadId, Upload>,
    signed: BTreeMap<(NodeId, UploadId), BTreeSet<Statement>>,
    reads: BTreeMap<(String, u64), Vec<u8>>,
    violation: Option<String>,
    expect_bound_exceeded: bool,
}

#[derive(Debug, Default)]
struct Upload {
    committed: BTreeMap<NodeId, Commitment>,
    ever_committed: Option<Commitment>,
    aborted_by_cert: bool,
    holders: BTreeMap<NodeId, Commitment>,
    ever_held: BTreeSet<NodeId>,
    /// Nodes that promised never to become ready.
    aborted: BTreeSet<NodeId>,
    /// Nodes that hold the owner's tombstone.
    deleted: BTreeSet<NodeId>,
}

impl Checker {
    /// A checker for one cluster.
    #[must_use]
    pub fn new(config: Arc<ClusterConfig>, trace: Trace) -> Self {
        Self(Arc::new(Mutex::new(State {
            config,
            trace,
            dishonest: BTreeSet::new(),
            forgetful: BTreeSet::new(),
            wiped: BTreeSet::new(),
            forged_frames: false,
            uploads: BTreeMap::new(),
            signed: BTreeMap::new(),
            reads: BTreeMap::new(),
            violation: None,
            expect_bound_exceeded: false,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on nothing is expected of this node.
    pub fn set_dishonest(&self, node: NodeId) {
        self.lock().dishonest.insert(node);
    }

    /// From now on nothing is expected of this node but that it contradicts no vote of its own:
    /// its disk forgets, its peers do not.
    pub fn set_forgetful(&self, node: NodeId) {
        let mut state = self.lock();
        state.dishonest.insert(node);
        state.forgetful.insert(node);
    }

    /// A node that was heard of begins anew with an empty disk: it must not vote any more.
    pub fn set_wiped(&self, node: NodeId) {
        self.lock().wiped.insert(node);
    }

    /// Whether a node is held to its duties.
    #[must_use]
    pub fn is_honest(&self, node: NodeId) -> bool {
        !self.lock().dishonest.contains(&node)
    }

    /// Frames may be forged on the network from now on.
    pub fn set_forged_frames(&self) {
        self.lock().forged_frames = true;
    }

    /// The scenario goes beyond the bound on purpose: alarms about it are right.
    pub fn expect_bound_exceeded(&self) {
        self.lock().expect_bound_exceeded = true;
    }

    /// The first violation, if there was one.
    #[must_use]
    pub fn violation(&self) -> Option<String> {
        self.lock().violation.clone()
    }

    /// Notes a violation.
    pub fn violate(&self, what: impl Into<String>) {
        self.lock().violate(what.into());
    }

    /// Honest nodes at which an upload is committed, if it ever was at any.
    #[must_use]
    pub fn committed(&self, upload: UploadId) -> Option<(Commitment, usize)> {
        let state = self.lock();
        let found = state.uploads.get(&upload)?;
        found.ever_committed.map(|commitment| (commitment, found.committed.len()))
    }

    /// Uploads that were committed at an honest node and have no tombstone.
    #[must_use]
    pub fn committed_uploads(&self) -> usize {
        let state = self.lock();
        state.uploads.values().filter(|u| u.ever_committed.is_some()).count()
    }

    /// Uploads whose fragment an honest node has on record.
    #[must_use]
    pub fn held(&self, node: NodeId) -> BTreeSet<UploadId> {
        let state = self.lock();
        let holds = |(upload, known): (&UploadId, &Upload)| {
            known.holders.contains_key(&node).then_some(*upload)
        };
        state.uploads.iter().filter_map(holds).collect()
    }

    /// A client was told that these slots hold their fragments (HOLD-1).
    pub fn on_placed(&self, upload: UploadId, slots: &[Slot]) {
        let mut state = self.lock();
        let config = Arc::clone(&state.config);
        for node in slots.iter().filter_map(|slot| config.node_at(upload, *slot)) {
            let has_held = state.uploads.get(&upload).is_some_and(|u| u.ever_held.contains(&node));
            if state.is_honest(node) && !has_held {
                state.violate(format!(
                    "HOLD-1: {upload} is said to be placed at node {node}, which never had it"
                ));
            }
        }
    }

    /// A client read a generation of an object: all reads must agree (I3).
    pub fn on_read(&self, object: &str, generation: u64, bytes: &[u8], allowed: &[Vec<u8>]) {
        let mut state = self.lock();
        state.trace.event("read", generation, bytes);
        if !allowed.iter().any(|content| content == bytes) {
            state.violate(format!("I3: a read of {object} returned bytes that nobody wrote"));
        }
        let key = (object.to_owned(), generation);
        let before = state.reads.entry(key).or_insert_with(|| bytes.to_vec());
        if before != bytes {
            state.violate(format!("I3: two reads of {object} generation {generation} differ"));
        }
    }
}

impl Observe for Checker {
    fn on_fact(&self, node: NodeId, fact: Fact<'_>) {
        let mut state = self.lock();
        match fact {
            Fact::Recorded(upload, record) => state.on_record(node, upload, record),
            Fact::Signed(vote) => state.on_signed(node, vote),
            Fact::Fault(fault) => state.on_fault(node, fault),
            Fact::BoundExceeded(upload) => {
                state.trace.event("bound exceeded", u64::from(node.0), upload.as_bytes());
                if !state.expect_bound_exceeded {
                    state.violate(format!("two contents of {upload} are certified (node {node})"));
                }
            }
            Fact::FragmentDropped(key) => state.on_dropped(node, key.upload),
            _ => {}
        }
    }
}

impl State {
    fn violate(&mut self, what: String) {
        let honest: Vec<_> = self.config.nodes().map(|(node, _)| node).collect();
        self.trace.say("violation", honest.len() as u64, || what.clone());
        self.violation.get_or_insert(what);
    }

    fn is_honest(&self, node: NodeId) -> bool {
        !self.dishonest.contains(&node)
    }

    fn on_record(&mut self, node: NodeId, upload: UploadId, record: &UploadRecord) {
        self.trace.event("record", u64::from(node.0), &record.to_bytes());
        if !self.is_honest(node) {
            return;
        }
        let state = self.uploads.entry(upload).or_default();
        match record.fragment {
            Some(commitment) => {
                state.holders.insert(node, commitment);
                state.ever_held.insert(node);
            }
            None => drop(state.holders.remove(&node)),
        }
        match &record.phase {
            Phase::Committed(proof) => {
                let commitment = proof.seal.manifest.commitment();
                self.on_commit(node, upload, commitment);
            }
            Phase::Aborted { cert: Some(_), .. } => {
                state.aborted_by_cert = true;
                state.aborted.insert(node);
                if state.ever_committed.is_some() {
                    self.violate(format!("ABORT-1: {upload} is both committed and aborted"));
                }
            }
            Phase::Deleted(_) => {
                state.committed.remove(&node);
                state.deleted.insert(node);
            }
            Phase::Idle | Phase::Echoed(_) | Phase::Ready { .. } | Phase::Aborted { .. } => {
                let is_aborted = matches!(record.phase, Phase::Aborted { .. });
                if is_aborted {
                    state.aborted.insert(node);
                } else if state.aborted.contains(&node) {
                    self.violate(format!("I4: node {node} forgot its ABORT of {upload}"));
                    return;
                }
                if state.committed.contains_key(&node) {
                    self.violate(format!("I4: node {node} forgot the commit of {upload}"));
                }
            }
        }
    }

    fn on_commit(&mut self, node: NodeId, upload: UploadId, commitment: Commitment) {
        let m = self.config.params.m();
        let state = self.uploads.entry(upload).or_default();
        let first = *state.ever_committed.get_or_insert(commitment);
        let holders = state.holders.values().filter(|held| **held == commitment).count();
        let is_new = state.committed.insert(node, commitment).is_none();
        let (is_deleted, aborted) = (!state.deleted.is_empty(), state.aborted_by_cert);
        if first != commitment {
            self.violate(format!("I1: {upload} is committed as {first} and as {commitment}"));
        }
        if aborted {
            self.violate(format!("ABORT-1: {upload} is both aborted and committed"));
        }
        if is_new && !is_deleted && holders < m {
            self.violate(format!(
                "I2: {upload} is committed at node {node} with {holders} honest holders, {m} needed"
            ));
        }
    }

    fn on_signed(&mut self, node: NodeId, vote: &SignedVote) {
        let statement = vote.statement;
        self.trace.event("sign", u64::from(node.0), &statement.upload.0);
        let kind = statement.kind;
        let is_promise =
            matches!(kind, StatementKind::Echo | StatementKind::Ready | StatementKind::Abort);
        if is_promise && self.wiped.contains(&node) {
            let upload = statement.upload;
            self.violate(format!(
                "AMNESIA-1: node {node} signed {kind} for {upload} after its disk was wiped"
            ));
        }
        if !self.is_honest(node) && !self.forgetful.contains(&node) {
            return;
        }
        let before = self.signed.entry((node, statement.upload)).or_default();
        let contradicted = before.iter().find(|earlier| conflict(earlier, &statement)).copied();
        before.insert(statement);
        if let Some(earlier) = contradicted {
            self.violate(format!(
                "I4: node {node} signed {} and {} for {}",
                earlier.kind, statement.kind, statement.upload
            ));
        }
    }

    fn on_fault(&mut self, by: NodeId, fault: &Fault) {
        self.trace.event("fault", u64::from(fault.node.0), &[]);
        if !self.is_honest(by) || !self.is_honest(fault.node) {
            return;
        }
        let is_proof = matches!(fault.kind, FaultKind::ConflictingVotes(_));
        if is_proof || !self.forged_frames {
            let (node, kind) = (fault.node, &fault.kind);
            self.violate(format!("EVID-1: honest node {by} accuses honest node {node}: {kind}"));
        }
    }

    fn on_dropped(&mut self, node: NodeId, upload: UploadId) {
        self.trace.event("drop fragment", u64::from(node.0), upload.as_bytes());
        let is_held = self.uploads.get(&upload).is_some_and(|state| {
            // A tombstone that a crash cut short of its sync may survive it unheard of; others have it.
            state.deleted.is_empty()
                && state.committed.contains_key(&node)
                && state.holders.contains_key(&node)
        });
        if self.is_honest(node) && is_held {
            self.violate(format!("I6: node {node} dropped the committed fragment of {upload}"));
        }
    }
}
