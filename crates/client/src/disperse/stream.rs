//! One pass over the source: an encoder thread, n senders, and the count of who is still with us.
//!
//! Bounds: [`WINDOW_BYTES_MAX`], and never fewer than two stripes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use avid_net::host::{Work, work};
use avid_protocol::certificate::Predecessor;
use avid_protocol::object::{SealBundle, SignedOpen};
use avid_types::limits::WRITER_WINDOW_STRIPES;
use avid_types::{NodeId, Slot};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::buffer::BufferPool;
use crate::client::Shared;
use crate::disperse::encode::{Encoded, Encoder, Lane, LaneState};
use crate::disperse::error::DisperseError;
use crate::disperse::lag::LagPolicy;
use crate::disperse::sender::{Sender, SlotEvent};
use crate::fault::{FaultKind, NodeFailure, name_of};
use crate::patience::is_not_ready;
use crate::progress::Progress;
use crate::session::NodeError;
use crate::source::OpenSource;

/// Bytes of coded stripes between encoder and sockets.
pub(super) const WINDOW_BYTES_MAX: usize = 64 << 20;
/// How often progress is told.
const TICK: Duration = Duration::from_millis(50);

/// What is written, to whom.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) open: SignedOpen,
    pub(super) predecessor: Option<Predecessor>,
    /// The source can be read again, so a node may be believed to have its beginning.
    pub(super) may_skip: bool,
}

/// A write under way. Dropping it ends its tasks.
#[derive(Debug)]
pub(super) struct Streaming {
    pub(super) shared: Arc<Shared>,
    pub(super) events: mpsc::UnboundedReceiver<SlotEvent>,
    /// Why each failed slot failed.
    pub(super) failed: BTreeMap<Slot, NodeError>,
    pub(super) nodes: BTreeMap<Slot, NodeId>,
    pub(super) seal: watch::Sender<Option<Arc<SealBundle>>>,
    /// Votes that came before anybody asked for them; there are none before SEAL.
    encoding: Work<Result<Encoded, DisperseError>>,
    done: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    _senders: JoinSet<()>,
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

impl Streaming {
    /// Starts all tasks.
    pub(super) fn start(shared: &Arc<Shared>, target: &Arc<Target>, source: OpenSource) -> Self {
        let object_bytes_max = target.open.open.object_bytes_max;
        let upload = target.open.open.object.upload(&shared.config);
        let (report, events) = mpsc::unbounded_channel();
        let (seal, sealed) = watch::channel(None);
        let params = shared.config.params;
        let spare = Arc::new(AtomicUsize::new(params.n() - params.echo_quorum()));
        let mut senders = JoinSet::new();
        let mut lanes = Vec::new();
        let mut nodes = BTreeMap::new();
        for (slot, node) in shared.nodes_of(upload) {
            let (queue, stripes) = mpsc::unbounded_channel();
            let state = Arc::new(LaneState::default());
            lanes.push(Lane { slot, queue, state: Arc::clone(&state) });
            nodes.insert(slot, node);
            let sender = Sender {
                shared: Arc::clone(shared),
                target: Arc::clone(target),
                slot,
                node,
                queue: stripes,
                seal: sealed.clone(),
                state,
                events: report.clone(),
                spare: Arc::clone(&spare),
                has_spare: false,
                not_yet: None,
            };
            senders.spawn(sender.run());
        }
        let (done, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let encoder = encoder(shared, lanes, object_bytes_max, (&done, &stop));
        let encoding = work(&shared.host, encoder.run(source));
        let shared = Arc::clone(shared);
        let failed = BTreeMap::new();
        Self { shared, events, failed, nodes, seal, encoding, done, stop, _senders: senders }
    }

    /// Waits until the source is coded; ends early once too few slots are left.
    pub(super) async fn run(&mut self, progress: &dyn Progress) -> Result<Encoded, DisperseError> {
        let mut told = 0;
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                biased;
                encoded = &mut self.encoding => {
                    tell(progress, &self.done, &mut told);
                    return encoded.unwrap_or_else(|e| Err(DisperseError::Encoder(e.to_string())));
                }
                Some(event) = self.events.recv() => {
                    if let SlotEvent::Failed(slot, error) = event {
                        self.on_failed(slot, error)?;
                    }
                }
                _ = tick.tick() => tell(progress, &self.done, &mut told),
            }
        }
    }

    /// Notes a failure; an error once the echo quorum is out of reach.
    pub(super) fn on_failed(&mut self, slot: Slot, error: NodeError) -> Result<(), DisperseError> {
        tracing::debug!(%slot, %error, "slot failed");
        self.failed.insert(slot, error);
        let params = self.shared.config.params;
        let able = params.n() - self.failed.len();
        if able >= params.echo_quorum() {
            return Ok(());
        }
        Err(self.out_of_reach(able))
    }

    pub(super) fn failures(&self) -> Vec<NodeFailure> {
        let failure_of = |(slot, error): (&Slot, &NodeError)| {
            let node = *self.nodes.get(slot)?;
            Some(NodeFailure {
                node,
                name: name_of(&self.shared.config, node),
                error: error.clone(),
            })
        };
        self.failed.iter().filter_map(failure_of).collect()
    }

    /// Too few slots are left for an echo quorum.
    pub(super) fn no_quorum(&self) -> DisperseError {
        self.out_of_reach(self.shared.config.params.n() - self.failed.len())
    }

    fn out_of_reach(&self, able: usize) -> DisperseError {
        let is_other = |error: &NodeError| FaultKind::from(error) == FaultKind::OtherContent;
        let needed = self.shared.config.params.echo_quorum();
        let failures = self.failures();
        if self.failed.values().any(is_other) {
            return DisperseError::OtherUnfinished;
        }
        let is_refusal = |error: &&NodeError| error.refusal().is_some() && !is_not_ready(error);
        let refused = self.failed.values().filter(is_refusal).count();
        if refused * 2 > self.failed.len() {
            return DisperseError::Refused { failures };
        }
        DisperseError::NotEnoughNodes { able, needed, failures }
    }
}

fn tell(progress: &dyn Progress, done: &AtomicU64, told: &mut u64) {
    let now = done.load(Ordering::Acquire);
    if now > *told {
        progress.advance(now - *told);
        *told = now;
    }
}

fn encoder(
    shared: &Shared,
    lanes: Vec<Lane>,
    object_bytes_max: u64,
    (done, stop): (&Arc<AtomicU64>, &Arc<AtomicBool>),
) -> Encoder {
    let params = shared.config.params;
    let chunk_bytes = usize::try_from(shared.config.chunk_bytes).unwrap_or(usize::MAX);
    let stripe_bytes = chunk_bytes.saturating_mul(params.n());
    let window = (WINDOW_BYTES_MAX / stripe_bytes.max(1)).clamp(2, WRITER_WINDOW_STRIPES);
    Encoder {
        coder: Arc::clone(&shared.coder),
        chunk_bytes,
        object_bytes_max,
        buffers: BufferPool::new(stripe_bytes, window),
        lanes,
        lag: LagPolicy::new(params.echo_quorum(), shared.timeouts),
        done: Arc::clone(done),
        stop: Arc::clone(stop),
    }
}

/// Codes a source without sending it: its length and root, to compare with what is stored.
pub(super) async fn digest(
    shared: &Shared,
    source: OpenSource,
    object_bytes_max: u64,
    progress: &dyn Progress,
) -> Result<Encoded, DisperseError> {
    let (done, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
    let encoder = encoder(shared, Vec::new(), object_bytes_max, (&done, &stop));
    let mut encoding = work(&shared.host, encoder.run(source));
    let mut told = 0;
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            biased;
            encoded = &mut encoding => {
                tell(progress, &done, &mut told);
                return encoded.unwrap_or_else(|e| Err(DisperseError::Encoder(e.to_string())));
            }
            _ = tick.tick() => tell(progress, &done, &mut told),
        }
    }
}
