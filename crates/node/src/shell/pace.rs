//! How fast a stream comes in. One below the least pace yields to another of its upload.
//!
//! Whoever may read may FILL and one stream of an upload runs at a time, so that a stream which
//! drips would keep the owner out for as long as it liked. A slow stream that nobody else asks for
//! goes on.
//!
//! Spec: docs/protocol.md section 5.3 (slow-loris).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// Time a stream has before its pace counts: a few round trips over any link we know.
const GRACE: Duration = Duration::from_secs(2);
/// Least pace, bytes per second: what a line of 128 kbit/s carries.
const BYTES_PER_SECOND_MIN: u64 = 16 << 10;

/// The pace of one stream.
#[derive(Debug)]
pub(crate) struct Pace {
    started: Instant,
    bytes: AtomicU64,
    way: Notify,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), bytes: AtomicU64::new(0), way: Notify::new() }
    }

    /// Notes bytes that came in.
    pub(crate) fn add(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Whether the stream is slower than any should be.
    pub(crate) fn is_slow(&self) -> bool {
        let bytes = self.bytes.load(Ordering::Relaxed);
        let allowed =
            GRACE + Duration::from_millis(bytes.saturating_mul(1000) / BYTES_PER_SECOND_MIN);
        self.started.elapsed() > allowed
    }

    /// Tells the stream that somebody else wants its place.
    pub(crate) fn claim(&self) {
        self.way.notify_one();
    }

    /// Until somebody else wants the place. Cancel-safe.
    pub(crate) async fn claimed(&self) {
        self.way.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stream_is_slow_once_it_is_behind_the_least_pace() {
        let pace = Pace::new();
        assert!(!pace.is_slow(), "it has just begun");
        pace.add(16 << 10);
        tokio::time::advance(GRACE + Duration::from_secs(1)).await;
        assert!(!pace.is_slow(), "exactly at the pace");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(pace.is_slow());
        pace.add(16 << 10);
        assert!(!pace.is_slow(), "it caught up");
    }
}
