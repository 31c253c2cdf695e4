//! Drives the reader machine: verified stripes of one object, in order.
//!
//! ```text
//! reader machine ─requests─► lane per slot (and one for retries) ─chunks─► engine ─► consumer
//! ```
//! Spec: docs/protocol.md READ-1, READ-3.
//! Invariant: stripes reach the consumer in order, each with m verified chunks.
//! Bounds: chunks of the stripes within [`Engine::window`] of the output.
//! Not here: which slot to ask (`protocol::reader`), checking (`lane`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use avid_coding::Fpcc;
use avid_protocol::reader::{Reader, ReaderInput, ReaderOutput, Run};
use avid_protocol::verify::VerifiedCommit;
use avid_types::limits::READER_WINDOW_STRIPES;
use avid_types::{NodeId, Slot, StripeIndex};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::buffer::{Buffer, BufferPool};
use crate::client::Shared;
use crate::fault::{FaultBook, FaultKind};
use crate::retrieve::lane::{Lane, LaneEvent, VerifiedChunk};
use crate::session::NodeError;

/// Bytes of chunks under way of one read.
const WINDOW_BYTES_MAX: usize = 64 << 20;
/// Stripes between engine and consumer: one being written, one ready.
const OUTPUT_QUEUE: usize = 2;
/// How often the engine looks whether somebody keeps the output waiting.
const TICK: Duration = Duration::from_millis(50);
/// Times the hedge delay after which a silent slot is given up while others can replace it.
const LOST_AFTER_HEDGES: u32 = 6;
/// Times a slot may be late in a row before it is given up: each time, the output waits.
const LATES_MAX: u32 = 3;
/// How long lanes that have nothing to do may take to give their connections back.
const FAREWELL: Duration = Duration::from_millis(20);

/// One stripe with its m verified chunks.
#[derive(Debug)]
pub(crate) struct VerifiedStripe {
    pub(crate) index: StripeIndex,
    pub(crate) fpcc: Fpcc,
    pub(crate) chunks: BTreeMap<Slot, Buffer>,
}

/// Takes verified stripes in order.
pub(crate) trait Consumer: Send {
    /// Why it cannot go on.
    type Error: Send;

    /// Takes the next stripe.
    fn consume(
        &mut self,
        stripe: VerifiedStripe,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// Why a stream of stripes ended early.
#[derive(Debug)]
pub(crate) enum StreamError<E> {
    /// Fewer than m good chunks of a stripe exist within reach.
    Unavailable {
        /// Which stripe.
        stripe: StripeIndex,
        /// Good chunks found.
        good: usize,
    },
    /// The consumer failed.
    Consumer(E),
}

/// Which stripes to read from whom.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) commit: Arc<VerifiedCommit>,
    /// First stripe and the one after the last.
    pub(crate) first: StripeIndex,
    pub(crate) end: StripeIndex,
    /// Slots never to ask.
    pub(crate) lost: BTreeSet<Slot>,
    /// Nodes known to have delivered; others get the proof with the first request.
    pub(crate) delivered: BTreeSet<NodeId>,
}

/// One read under way.
pub(crate) struct Engine {
    shared: Arc<Shared>,
    job: Job,
    reader: Reader,
    run_stripes: u64,
    lanes: BTreeMap<(Slot, bool), mpsc::UnboundedSender<Run>>,
    tasks: JoinSet<()>,
    report: mpsc::UnboundedSender<LaneEvent>,
    events: mpsc::UnboundedReceiver<LaneEvent>,
    buffers: Arc<BufferPool>,
    nodes: BTreeMap<Slot, NodeId>,
    /// Requests beyond the window: they wait for the output.
    deferred: VecDeque<(Slot, Run)>,
    /// Chunks of stripes that are not complete.
    held: BTreeMap<u64, BTreeMap<Slot, VerifiedChunk>>,
    /// Complete stripes that wait for an earlier one.
    ready: BTreeMap<u64, VerifiedStripe>,
    /// Who owes which stripe, and whether it was called late.
    owed: BTreeMap<(Slot, u64), bool>,
    /// How often a slot was late since its last chunk in time.
    lates: BTreeMap<Slot, u32>,
    next: u64,
    last_output: Instant,
    pace: Pace,
    lost: BTreeSet<Slot>,
    pub(crate) faults: FaultBook,
    pub(crate) unreachable: BTreeMap<NodeId, NodeError>,
}

impl Engine {
    pub(crate) fn new(shared: &Arc<Shared>, job: Job) -> Self {
        let params = shared.config.params;
        let chunk_bytes = usize::try_from(shared.config.chunk_bytes).unwrap_or(usize::MAX);
        let stripe_bytes = chunk_bytes.saturating_mul(params.n());
        let window = WINDOW_BYTES_MAX / stripe_bytes.saturating_mul(WINDOW_RUNS).max(1);
        let run = window.clamp(1, READER_WINDOW_STRIPES);
        let run_stripes = u64::try_from(run).unwrap_or(1);
        let (report, events) = mpsc::unbounded_channel();
        let buffers = BufferPool::new(chunk_bytes, run * WINDOW_RUNS * params.n());
        Self {
            reader: Reader::new(params, job.first, job.end, run_stripes, job.lost.clone()),
            run_stripes,
            lanes: BTreeMap::new(),
            tasks: JoinSet::new(),
            report,
            events,
            buffers,
            nodes: shared.nodes_of(job.commit.upload()).into_iter().collect(),
            deferred: VecDeque::new(),
            held: BTreeMap::new(),
            ready: BTreeMap::new(),
            owed: BTreeMap::new(),
            lates: BTreeMap::new(),
            next: job.first.0,
            last_output: Instant::now(),
            pace: Pace::new(shared.timeouts.hedge),
            lost: job.lost.clone(),
            faults: FaultBook::default(),
            unreachable: BTreeMap::new(),
            shared: Arc::clone(shared),
            job,
        }
    }

    /// Reads everything; the consumer works while the next stripes arrive.
    pub(crate) async fn run<C: Consumer>(
        &mut self,
        consumer: &mut C,
    ) -> Result<(), StreamError<C::Error>> {
        let (output, mut stripes) = mpsc::channel(OUTPUT_QUEUE);
        let consuming = async move {
            while let Some(stripe) = stripes.recv().await {
                consumer.consume(stripe).await?;
            }
            Ok(())
        };
        let (produced, consumed) = tokio::join!(self.produce(output), consuming);
        self.lanes.clear();
        let farewell = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(FAREWELL, farewell).await.is_err() {
            tracing::debug!("connections with unread answers are dropped");
        }
        consumed.map_err(StreamError::Consumer)?;
        produced.map_err(|(stripe, good)| StreamError::Unavailable { stripe, good })
    }

    async fn produce(
        &mut self,
        output: mpsc::Sender<VerifiedStripe>,
    ) -> Result<(), (StripeIndex, usize)> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.step(ReaderInput::Start)?;
        while self.next < self.job.end.0 {
            tokio::select! {
                biased;
                Some(event) = self.events.recv() => self.on_event(event)?,
                _ = tick.tick() => self.on_tick()?,
                () = output.closed() => return Ok(()),
            }
            while let Some(stripe) = self.ready.remove(&self.next) {
                self.next += 1;
                self.pace.note(self.last_output.elapsed());
                if output.send(stripe).await.is_err() {
                    return Ok(()); // The consumer failed and says why itself.
                }
                self.last_output = Instant::now();
                self.send_deferred();
            }
        }
        Ok(())
    }

    fn on_event(&mut self, event: LaneEvent) -> Result<(), (StripeIndex, usize)> {
        match event {
            LaneEvent::Verified(slot, stripe, chunk) => {
                if self.owed.remove(&(slot, stripe.0)) == Some(false) {
                    self.lates.remove(&slot);
                }
                let is_done = stripe.0 < self.next || self.ready.contains_key(&stripe.0);
                if is_done {
                    return Ok(());
                }
                self.held.entry(stripe.0).or_default().insert(slot, chunk);
                self.step(ReaderInput::Verified(slot, stripe))
            }
            LaneEvent::Faulty(slot, stripe, kind) => {
                self.owed.remove(&(slot, stripe.0));
                if let Some(node) = self.nodes.get(&slot) {
                    tracing::debug!(%node, %slot, %stripe, %kind, "bad chunk");
                    self.faults.chunk(*node, kind, stripe);
                }
                self.step(ReaderInput::Faulty(slot, stripe))
            }
            LaneEvent::Lost(slot, error) => self.lose(slot, error),
        }
    }

    fn lose(&mut self, slot: Slot, error: NodeError) -> Result<(), (StripeIndex, usize)> {
        if let Some(node) = self.nodes.get(&slot) {
            tracing::debug!(%node, %slot, %error, "slot lost");
            if !error.is_absence() || FaultKind::from(&error) == FaultKind::Late {
                self.faults.node(*node, &error);
            }
            if error.is_absence() {
                self.unreachable.insert(*node, error);
            }
        }
        self.lanes.remove(&(slot, false));
        self.lanes.remove(&(slot, true));
        self.owed.retain(|(owing, _), _| *owing != slot);
        self.deferred.retain(|(owing, _)| *owing != slot);
        self.lost.insert(slot);
        self.step(ReaderInput::Lost(slot))
    }

    fn step(&mut self, input: ReaderInput) -> Result<(), (StripeIndex, usize)> {
        for output in self.reader.step(input) {
            match output {
                ReaderOutput::Request { slot, run, retry } => self.request(slot, run, retry),
                ReaderOutput::Decode { stripe, slots } => self.complete(stripe, &slots),
                ReaderOutput::Unavailable { stripe, good } => return Err((stripe, good)),
            }
        }
        Ok(())
    }

    /// The machine knows when a stripe is complete, not when it was consumed: runs far ahead of
    /// the output wait here, so that a slow consumer bounds what is in memory.
    fn request(&mut self, slot: Slot, run: Run, retry: bool) {
        let end = run.first.0.saturating_add(run.count);
        if !retry && end > self.next.saturating_add(self.window()) {
            self.deferred.push_back((slot, run));
            return;
        }
        self.send(slot, run, retry);
    }

    fn window(&self) -> u64 {
        self.run_stripes.saturating_mul(u64::try_from(WINDOW_RUNS).unwrap_or(1))
    }

    fn send_deferred(&mut self) {
        let limit = self.next.saturating_add(self.window());
        while let Some((slot, run)) = self.deferred.pop_front() {
            if run.first.0.saturating_add(run.count) > limit {
                self.deferred.push_front((slot, run));
                return;
            }
            self.send(slot, run, false);
        }
    }

    fn send(&mut self, slot: Slot, run: Run, retry: bool) {
        for stripe in run.first.0..run.first.0.saturating_add(run.count) {
            self.owed.insert((slot, stripe), false);
        }
        if !self.lanes.contains_key(&(slot, retry)) {
            self.start_lane(slot, retry);
        }
        // A lane that ended has reported its loss; the machine will replace what it owes.
        if let Some(lane) = self.lanes.get(&(slot, retry))
            && lane.send(run).is_err()
        {
            tracing::trace!(%slot, "lane has ended");
        }
    }

    fn start_lane(&mut self, slot: Slot, retry: bool) {
        let Some(node) = self.nodes.get(&slot).copied() else {
            return;
        };
        let (queue, requests) = mpsc::unbounded_channel();
        let lane = Lane {
            shared: Arc::clone(&self.shared),
            commit: Arc::clone(&self.job.commit),
            slot,
            node,
            needs_proof: !self.job.delivered.contains(&node),
            requests,
            events: self.report.clone(),
            buffers: Arc::clone(&self.buffers),
        };
        self.tasks.spawn(lane.run());
        self.lanes.insert((slot, retry), queue);
    }

    fn complete(&mut self, stripe: StripeIndex, slots: &[Slot]) {
        let Some(mut held) = self.held.remove(&stripe.0) else {
            return;
        };
        held.retain(|slot, _| slots.contains(slot));
        let Some(fpcc) = held.values().next().map(|chunk| chunk.fpcc.clone()) else {
            return;
        };
        let chunks = held.into_iter().map(|(slot, chunk)| (slot, chunk.bytes)).collect();
        self.ready.insert(stripe.0, VerifiedStripe { index: stripe, fpcc, chunks });
    }

    /// Hedges: whoever keeps the output waiting is passed over, then given up.
    fn on_tick(&mut self) -> Result<(), (StripeIndex, usize)> {
        let waited = self.last_output.elapsed();
        let patience = self.pace.patience();
        if waited < patience {
            return Ok(());
        }
        let next = self.next;
        let holding: BTreeSet<Slot> =
            self.owed.keys().filter(|(_, stripe)| *stripe == next).map(|(slot, _)| *slot).collect();
        self.call_late(&holding)?;
        let is_long = waited >= patience * LOST_AFTER_HEDGES;
        for slot in holding {
            let is_usual = self.lates.get(&slot).is_some_and(|lates| *lates >= LATES_MAX);
            if !is_long && !is_usual {
                continue;
            }
            let params = self.shared.config.params;
            if params.n() - self.lost.len() > params.m() {
                self.lose(slot, NodeError::Silent { doing: "serving chunks", limit: waited })?;
                // Its replacement gets as long as it had.
                self.last_output = Instant::now();
                return Ok(());
            }
        }
        Ok(())
    }

    /// Everything that slots owe which hold up the output is late: others are asked for it.
    fn call_late(&mut self, holding: &BTreeSet<Slot>) -> Result<(), (StripeIndex, usize)> {
        let mut newly = Vec::new();
        for ((slot, stripe), is_late) in &mut self.owed {
            if holding.contains(slot) && !*is_late {
                *is_late = true;
                newly.push((*slot, StripeIndex(*stripe)));
            }
        }
        for (slot, stripe) in newly {
            if stripe.0 == self.next {
                let lates = self.lates.entry(slot).or_default();
                *lates = lates.saturating_add(1);
                if let Some(node) = self.nodes.get(&slot) {
                    self.faults.chunk(*node, FaultKind::Late, stripe);
                }
            }
            self.step(ReaderInput::Late(slot, stripe))?;
        }
        Ok(())
    }
}

/// Runs of stripes that may be under way: one consumed, one arriving, one requested.
const WINDOW_RUNS: usize = 3;
/// Gaps between outputs that are remembered.
const GAPS: usize = 31;
/// Nobody is waited for longer before another is asked: a slot that is always a little less
/// late than unusual would otherwise raise what is usual without end.
const PATIENCE_MAX: Duration = Duration::from_secs(2);
/// How many times the usual gap is unusual.
const GAP_FACTOR: u32 = 4;

/// How fast output usually comes.
struct Pace {
    least: Duration,
    gaps: VecDeque<Duration>,
}

impl Pace {
    fn new(least: Duration) -> Self {
        Self { least, gaps: VecDeque::with_capacity(GAPS) }
    }

    fn note(&mut self, gap: Duration) {
        if self.gaps.len() == GAPS {
            self.gaps.pop_front();
        }
        self.gaps.push_back(gap);
    }

    /// After how long somebody counts as late.
    fn patience(&self) -> Duration {
        let mut gaps: Vec<Duration> = self.gaps.iter().copied().collect();
        gaps.sort_unstable();
        let median = gaps.get(gaps.len() / 2).copied().unwrap_or_default();
        (median * GAP_FACTOR).clamp(self.least, PATIENCE_MAX.max(self.least))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_that_is_always_a_little_late_does_not_stretch_patience_without_end() {
        let least = Duration::from_millis(300);
        let mut pace = Pace::new(least);
        assert_eq!(pace.patience(), least);
        for _ in 0..1000 {
            let gap = pace.patience();
            pace.note(gap);
        }
        assert_eq!(pace.patience(), PATIENCE_MAX);
    }
}
