//! From verified chunks to the sink: no copy where the data chunks are all there.

use std::ops::Range;
use std::sync::Arc;

use avid_coding::StripeCoder;
use avid_protocol::verify::VerifiedCommit;
use avid_types::{Slot, StripeLayout};
use bytes::Bytes;

use crate::buffer::BufferPool;
use crate::client::Shared;
use crate::progress::Progress;
use crate::retrieve::engine::{Consumer, VerifiedStripe};
use crate::retrieve::error::RetrieveErrorKind;
use crate::sink::Sink;

/// Rebuilt chunks kept for reuse.
const SPARE_BUFFERS: usize = 32;

/// Cuts stripes to the range and writes them.
pub(super) struct Output<'a> {
    coder: Arc<StripeCoder>,
    layout: StripeLayout,
    range: Range<u64>,
    sink: &'a mut dyn Sink,
    progress: &'a dyn Progress,
    spare: Arc<BufferPool>,
    written: u64,
}

impl<'a> Output<'a> {
    pub(super) fn new(
        shared: &Shared,
        commit: &VerifiedCommit,
        range: Range<u64>,
        sink: &'a mut dyn Sink,
        progress: &'a dyn Progress,
    ) -> Self {
        let chunk_bytes = usize::try_from(shared.config.chunk_bytes).unwrap_or(usize::MAX);
        Self {
            coder: Arc::clone(&shared.coder),
            layout: commit.seal().layout(),
            range,
            sink,
            progress,
            spare: BufferPool::new(chunk_bytes, SPARE_BUFFERS),
            written: 0,
        }
    }

    /// Bytes the sink took.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Adds the data chunks that did not arrive.
    fn rebuild(&self, stripe: &mut VerifiedStripe) -> Result<(), RetrieveErrorKind> {
        let params = self.coder.params();
        let chunk_bytes = self.layout.chunk_bytes(stripe.index);
        let length = usize::try_from(chunk_bytes).unwrap_or(usize::MAX);
        let missing = params.slots().filter(|slot| params.is_data(*slot));
        let missing = missing.filter(|slot| !stripe.chunks.contains_key(slot));
        let mut rebuilt: Vec<_> = missing.map(|slot| (slot, self.spare.take())).collect();
        if rebuilt.is_empty() {
            return Ok(());
        }
        let available: Vec<(Slot, &[u8])> =
            stripe.chunks.iter().map(|(slot, chunk)| (*slot, chunk.as_ref())).collect();
        let mut wanted: Vec<(Slot, &mut [u8])> =
            rebuilt.iter_mut().map(|(slot, buffer)| (*slot, buffer.prepare(length))).collect();
        self.coder
            .rebuild(&available, &mut wanted)
            .map_err(|error| RetrieveErrorKind::Decoder(error.to_string()))?;
        stripe.chunks.extend(rebuilt);
        Ok(())
    }
}

impl Consumer for Output<'_> {
    type Error = RetrieveErrorKind;

    async fn consume(&mut self, mut stripe: VerifiedStripe) -> Result<(), RetrieveErrorKind> {
        self.rebuild(&mut stripe)?;
        let params = self.coder.params();
        let chunk_bytes = u64::from(self.layout.chunk_bytes(stripe.index));
        let start = stripe.index.0.saturating_mul(self.layout.stripe_bytes());
        let end = start.saturating_add(self.layout.data_bytes(stripe.index));
        for (slot, chunk) in stripe.chunks {
            if !params.is_data(slot) {
                continue;
            }
            let chunk_start = start.saturating_add(u64::from(slot.0).saturating_mul(chunk_bytes));
            let chunk_end = chunk_start.saturating_add(chunk_bytes).min(end);
            let from = chunk_start.max(self.range.start);
            let to = chunk_end.min(self.range.end);
            if from >= to {
                continue;
            }
            let inside = |offset: u64| usize::try_from(offset - chunk_start).unwrap_or(usize::MAX);
            let piece = Bytes::from_owner(chunk).slice(inside(from)..inside(to));
            self.sink.write_all(piece).await.map_err(RetrieveErrorKind::Sink)?;
            self.written = self.written.saturating_add(to - from);
            self.progress.advance(to - from);
        }
        Ok(())
    }
}
