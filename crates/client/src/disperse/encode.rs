//! The encode worker: reads stripes, codes them, hands them to the senders.
//!
//! ```text
//! one buffer:  | data 0 | data 1 | .. | data m-1 | parity m | .. | parity n-1 |
//!                chunk_bytes each; data is the stripe's bytes as read, zero padded
//! ```
//! Runs beside the tasks that send. A stripe shorter than m × L ends the object; one of exactly that
//! length may be the last, and then the next read finds nothing.
//!
//! Spec: docs/protocol.md sections 1.2 and 2.5.
//! Bounds: the buffers of one pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use avid_coding::merkle::stripe_leaf;
use avid_coding::{MerkleBuilder, StripeCoder, TreeKind};
use avid_protocol::wire::ChunkPrefix;
use avid_types::{Digest, Slot, StripeIndex};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::buffer::{Buffer, BufferPool};
use crate::disperse::error::DisperseError;
use crate::disperse::lag::{LagPolicy, Standing};
use crate::source::{OpenSource, SourceError};

/// How often a waiting encoder looks who keeps it waiting.
const TICK: Duration = Duration::from_millis(20);

/// One coded stripe, shared by its n senders.
#[derive(Debug)]
pub(super) struct Stripe {
    pub(super) index: StripeIndex,
    /// Stripe, length and cross-checksum as they stand before every chunk.
    pub(super) prefix: Vec<u8>,
    /// Root over the stripes up to this one.
    pub(super) root: Digest,
    chunk_bytes: usize,
    buffer: Buffer,
}

impl Stripe {
    /// The chunk of a slot.
    pub(super) fn chunk(&self, slot: Slot) -> &[u8] {
        let start = slot.index() * self.chunk_bytes;
        self.buffer.as_ref().get(start..start + self.chunk_bytes).unwrap_or_default()
    }
}

/// The encoder's view of one sender.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) slot: Slot,
    pub(super) queue: mpsc::UnboundedSender<Arc<Stripe>>,
    pub(super) state: Arc<LaneState>,
}

/// What sender and encoder tell each other.
#[derive(Debug, Default)]
pub(super) struct LaneState {
    /// Stripes the sender is done with.
    pub(super) sent: AtomicU64,
    /// Tells the sender that it was left behind.
    pub(super) late: Notify,
}

/// What the whole object turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Encoded {
    pub(crate) object_bytes: u64,
    pub(crate) stripes: u64,
    pub(crate) root: Digest,
}

/// Everything the worker needs.
#[derive(Debug)]
pub(super) struct Encoder {
    pub(super) coder: Arc<StripeCoder>,
    pub(super) chunk_bytes: usize,
    pub(super) object_bytes_max: u64,
    pub(super) buffers: Arc<BufferPool>,
    pub(super) lanes: Vec<Lane>,
    pub(super) lag: LagPolicy,
    /// Object bytes coded so far.
    pub(super) done: Arc<AtomicU64>,
    /// The write has failed meanwhile.
    pub(super) stop: Arc<AtomicBool>,
}

impl Encoder {
    /// Codes the whole source. Computes for long and reads files: work that may block.
    pub(super) async fn run(mut self, mut source: OpenSource) -> Result<Encoded, DisperseError> {
        let started = Instant::now();
        let mut tree = MerkleBuilder::new(TreeKind::Stripes);
        let stripe_bytes = self.chunk_bytes * self.coder.params().m();
        let mut object_bytes: u64 = 0;
        loop {
            let mut buffer = self.wait_for_buffer(started, tree.count()).await?;
            let all = buffer.prepare(self.chunk_bytes * self.coder.params().n());
            let filled = source.fill(all.get_mut(..stripe_bytes).unwrap_or_default()).await?;
            object_bytes = object_bytes.saturating_add(u64::try_from(filled).unwrap_or(u64::MAX));
            if object_bytes > self.object_bytes_max {
                return Err(SourceError::TooLong { max: self.object_bytes_max }.into());
            }
            if filled == 0 {
                break;
            }
            let stripe = Arc::new(self.encode(buffer, filled, &mut tree)?);
            // A sender that is gone has dropped its end.
            self.lanes.retain(|lane| lane.queue.send(Arc::clone(&stripe)).is_ok());
            self.done.store(object_bytes, Ordering::Release);
            if filled < stripe_bytes {
                break;
            }
        }
        source.finish()?;
        Ok(Encoded { object_bytes, stripes: tree.count(), root: tree.root() })
    }

    async fn wait_for_buffer(
        &mut self,
        started: Instant,
        produced: u64,
    ) -> Result<Buffer, DisperseError> {
        loop {
            if self.stop.load(Ordering::Acquire) {
                return Err(DisperseError::Encoder("the write failed".to_owned()));
            }
            if let Some(buffer) = self.buffers.take_within(TICK).await {
                return Ok(buffer);
            }
            let standings: Vec<Standing> = self
                .lanes
                .iter()
                .filter(|lane| !lane.queue.is_closed())
                .map(|lane| Standing {
                    slot: lane.slot,
                    sent: lane.state.sent.load(Ordering::Acquire),
                })
                .collect();
            let late = self.lag.waited(TICK, started.elapsed(), produced, &standings);
            for lane in self.lanes.iter().filter(|lane| late.contains(&lane.slot)) {
                lane.state.late.notify_one();
            }
        }
    }

    fn encode(
        &self,
        mut buffer: Buffer,
        filled: usize,
        tree: &mut MerkleBuilder,
    ) -> Result<Stripe, DisperseError> {
        let (params, suite) = (self.coder.params(), self.coder.suite());
        let chunk_bytes = filled.div_ceil(params.m());
        let data_bytes = chunk_bytes * params.m();
        let all = buffer.prepare(chunk_bytes * params.n());
        all.get_mut(filled..data_bytes).unwrap_or_default().fill(0);
        let (data, parity) = all.split_at_mut(data_bytes);
        let data: Vec<&[u8]> = data.chunks_exact(chunk_bytes).collect();
        let mut parity: Vec<&mut [u8]> = parity.chunks_exact_mut(chunk_bytes).collect();
        let bug = |error: &dyn std::fmt::Display| DisperseError::Encoder(error.to_string());
        let fpcc = self.coder.encode(&data, &mut parity).map_err(|error| bug(&error))?;
        let index = StripeIndex(tree.count());
        let length = u32::try_from(chunk_bytes).map_err(|error| bug(&error))?;
        tree.push(stripe_leaf(index, length, &fpcc.digest(params, suite, length)));
        let prefix = ChunkPrefix { stripe: index, chunk_bytes: length }.to_bytes(fpcc.as_bytes());
        Ok(Stripe { index, prefix, root: tree.root(), chunk_bytes, buffer })
    }
}
