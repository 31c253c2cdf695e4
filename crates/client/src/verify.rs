//! Re-checking an object: every chunk of every fragment, read from every node.
//!
//! Spec: docs/protocol.md READ-1, section 1.2.
//! Bounds: two runs of chunks per node.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use avid_protocol::reader::Run;
use avid_protocol::verify::VerifiedCommit;
use avid_protocol::wire::RefusalCode;
use avid_types::{Generation, NodeId, Slot, StripeIndex};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::buffer::BufferPool;
use crate::client::{Asking, ObjectRef, Shared};
use crate::fault::{FaultKind, name_of};
use crate::head;
use crate::progress::Progress;
use crate::retrieve::{Lane, LaneEvent, RetrieveErrorKind, newest};
use crate::session::NodeError;

/// Stripes of one request.
const RUN_STRIPES: u64 = 8;
/// Bad stripes that are named; all are counted.
const NAMED_MAX: usize = 8;

/// Why an object could not be verified at all.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct VerifyObjectError(#[from] pub RetrieveErrorKind);

/// The state of one fragment.
#[derive(Clone, Debug)]
pub enum SlotHealth {
    /// Every chunk is good.
    Good,
    /// The node does not have it.
    Missing,
    /// Some chunks are bad.
    Corrupt {
        /// How many.
        stripes: u64,
        /// The first ones, with what is wrong.
        first: Vec<(StripeIndex, FaultKind)>,
    },
    /// The node could not be asked to the end.
    Unreachable {
        /// Chunks that were good before.
        good: u64,
        /// What happened.
        error: NodeError,
    },
}

/// One fragment and who should hold it.
#[derive(Clone, Debug)]
pub struct SlotReport {
    /// Which fragment.
    pub slot: Slot,
    /// Whose.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// How it is.
    pub health: SlotHealth,
}

/// All fragments of an object.
#[derive(Clone, Debug)]
pub struct VerifyReport {
    /// Length of the object.
    pub object_bytes: u64,
    /// The life of the name.
    pub generation: Generation,
    /// Stripes of each fragment.
    pub stripes: u64,
    /// One per slot.
    pub slots: Vec<SlotReport>,
    /// Good fragments that are needed.
    pub needed: usize,
    /// Time taken.
    pub elapsed: Duration,
}

impl VerifyReport {
    /// Fragments without a flaw.
    #[must_use]
    pub fn good(&self) -> usize {
        self.slots.iter().filter(|slot| matches!(slot.health, SlotHealth::Good)).count()
    }
}

pub(crate) async fn verify(
    shared: &Arc<Shared>,
    object: &ObjectRef,
    progress: &dyn Progress,
) -> Result<VerifyReport, VerifyObjectError> {
    let started = Instant::now();
    let view = head::head(shared, object, Asking::Once).await;
    let commit = Arc::new(newest(&view)?.clone());
    let manifest = commit.seal().manifest();
    let delivered = view.holders(manifest.object.generation);
    let holders = shared.nodes_of(commit.upload());
    let fragment_bytes = commit.seal().layout().fragment_bytes();
    let n = u64::try_from(holders.len()).unwrap_or(u64::MAX);
    progress.total(Some(fragment_bytes.saturating_mul(n)));
    let (advance, mut advanced) = mpsc::unbounded_channel();
    let mut audits = JoinSet::new();
    for (slot, node) in holders {
        let audit = Audit::start(shared, &commit, (slot, node), &delivered);
        audits.spawn(audit.run(advance.clone()));
    }
    drop(advance);
    let mut slots = Vec::new();
    loop {
        tokio::select! {
            Some(bytes) = advanced.recv() => progress.advance(bytes),
            joined = audits.join_next() => match joined {
                Some(Ok(report)) => slots.push(report),
                Some(Err(error)) => tracing::error!(%error, "an audit task failed"),
                None => break,
            },
        }
    }
    slots.sort_by_key(|report: &SlotReport| report.slot);
    Ok(VerifyReport {
        object_bytes: manifest.object_bytes,
        generation: manifest.object.generation,
        stripes: manifest.stripes,
        slots,
        needed: shared.config.params.m(),
        elapsed: started.elapsed(),
    })
}

/// Reads one fragment from end to end.
struct Audit {
    shared: Arc<Shared>,
    report: SlotReport,
    commit: Arc<VerifiedCommit>,
    requests: mpsc::UnboundedSender<Run>,
    events: mpsc::UnboundedReceiver<LaneEvent>,
    _lane: JoinSet<()>,
}

impl Audit {
    fn start(
        shared: &Arc<Shared>,
        commit: &Arc<VerifiedCommit>,
        (slot, node): (Slot, NodeId),
        delivered: &BTreeSet<NodeId>,
    ) -> Self {
        let (requests, queue) = mpsc::unbounded_channel();
        let (report, events) = mpsc::unbounded_channel();
        let chunk_bytes = usize::try_from(shared.config.chunk_bytes).unwrap_or(usize::MAX);
        let lane = Lane {
            shared: Arc::clone(shared),
            commit: Arc::clone(commit),
            slot,
            node,
            needs_proof: !delivered.contains(&node),
            requests: queue,
            events: report,
            buffers: BufferPool::new(chunk_bytes, 2),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(lane.run());
        let name = name_of(&shared.config, node);
        let report = SlotReport { slot, node, name, health: SlotHealth::Good };
        let (shared, commit) = (Arc::clone(shared), Arc::clone(commit));
        Self { shared, report, commit, requests, events, _lane: tasks }
    }

    async fn run(mut self, advance: mpsc::UnboundedSender<u64>) -> SlotReport {
        let layout = self.commit.seal().layout();
        if layout.stripes() == 0 {
            // No chunk to read; that the node is there and has delivered is all there is to see.
            if let Err(error) = self.shared.pool.get(self.report.node).await {
                self.report.health = SlotHealth::Unreachable { good: 0, error };
            }
            return self.report;
        }
        let (mut asked, mut seen, mut good) = (0, 0, 0);
        let (mut bad, mut first) = (0_u64, Vec::new());
        while seen < layout.stripes() {
            // The next run is asked for while this one arrives.
            while asked < layout.stripes() && asked - seen <= RUN_STRIPES {
                let count = RUN_STRIPES.min(layout.stripes() - asked);
                let run = Run { first: StripeIndex(asked), count };
                asked += count;
                if self.requests.send(run).is_err() {
                    break; // The lane's last event says why.
                }
            }
            let stripe = match self.events.recv().await {
                Some(LaneEvent::Verified(_, stripe, _)) => {
                    good += 1;
                    stripe
                }
                Some(LaneEvent::Faulty(_, stripe, kind)) => {
                    bad += 1;
                    if first.len() < NAMED_MAX {
                        first.push((stripe, kind));
                    }
                    stripe
                }
                Some(LaneEvent::Lost(_, error)) => {
                    self.report.health = lost(error, good, bad, first);
                    return self.report;
                }
                None => {
                    self.report.health = lost(NodeError::Closed, good, bad, first);
                    return self.report;
                }
            };
            seen += 1;
            if advance.send(u64::from(layout.chunk_bytes(stripe))).is_err() {
                break;
            }
        }
        if bad > 0 {
            self.report.health = SlotHealth::Corrupt { stripes: bad, first };
        }
        self.report
    }
}

fn lost(error: NodeError, good: u64, bad: u64, first: Vec<(StripeIndex, FaultKind)>) -> SlotHealth {
    if error.refusal() == Some(RefusalCode::NotFound) {
        return SlotHealth::Missing;
    }
    if bad > 0 {
        return SlotHealth::Corrupt { stripes: bad, first };
    }
    SlotHealth::Unreachable { good, error }
}
