//! Buffers that go round: a dropped one returns to its pool.
//!
//! Invariant: `out` buffers are in use; at most `keep` idle ones are kept.
//! Bounds: whoever takes a buffer bounds how many are out: [`BufferPool::take_within`] waits,
//! [`BufferPool::take`] serves callers whose requests are bounded already.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

use crate::pool::locked;

/// Buffers of one length, reused without being cleared.
#[derive(Debug)]
pub(crate) struct BufferPool {
    length: usize,
    keep: usize,
    state: Mutex<State>,
    returned: Notify,
}

#[derive(Debug, Default)]
struct State {
    free: Vec<Vec<u8>>,
    out: usize,
}

impl BufferPool {
    pub(crate) fn new(length: usize, keep: usize) -> Arc<Self> {
        Arc::new(Self { length, keep, state: Mutex::default(), returned: Notify::new() })
    }

    /// A buffer whose bytes are whatever its last user left.
    pub(crate) fn take(self: &Arc<Self>) -> Buffer {
        let mut state = locked(&self.state);
        state.out += 1;
        let free = state.free.pop();
        drop(state);
        self.buffer(free)
    }

    /// A buffer once fewer than `keep` are out; `None` after `limit`. One caller at a time.
    pub(crate) async fn take_within(self: &Arc<Self>, limit: Duration) -> Option<Buffer> {
        let wait = async {
            loop {
                if let Some(buffer) = self.try_take() {
                    return buffer;
                }
                // A return between the look and the wait leaves a permit behind.
                self.returned.notified().await;
            }
        };
        tokio::time::timeout(limit, wait).await.ok()
    }

    fn try_take(self: &Arc<Self>) -> Option<Buffer> {
        let mut state = locked(&self.state);
        if state.out >= self.keep {
            return None;
        }
        state.out += 1;
        let free = state.free.pop();
        drop(state);
        Some(self.buffer(free))
    }

    fn buffer(self: &Arc<Self>, free: Option<Vec<u8>>) -> Buffer {
        let bytes = free.unwrap_or_else(|| vec![0; self.length]);
        Buffer { bytes, used: 0, pool: Arc::clone(self) }
    }
}

/// A buffer of a pool; `used` bytes of it mean something.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    used: usize,
    pool: Arc<BufferPool>,
}

impl Buffer {
    /// The first `length` bytes, at most the pool's length, to be overwritten.
    pub(crate) fn prepare(&mut self, length: usize) -> &mut [u8] {
        self.used = length.min(self.bytes.len());
        self.bytes.get_mut(..self.used).unwrap_or_default()
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.used).unwrap_or_default()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        let mut state = locked(&self.pool.state);
        state.out -= 1;
        if state.free.len() < self.pool.keep {
            state.free.push(bytes);
        }
        drop(state);
        self.pool.returned.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_full_pool_waits_for_a_returned_buffer() {
        let pool = BufferPool::new(8, 1);
        let mut first = pool.take_within(Duration::ZERO).await.unwrap();
        first.prepare(3).copy_from_slice(b"abc");
        assert_eq!(first.as_ref(), b"abc");
        assert!(pool.take_within(Duration::ZERO).await.is_none());
        drop(first);
        let mut second = pool.take_within(Duration::ZERO).await.unwrap();
        assert_eq!(second.prepare(9).len(), 8, "never longer than the pool's buffers");
    }
}
