//! Page-aligned buffers of fixed capacity, and a bounded pool of them.
//!
//! A chunk is read from the socket into one of these and written to disk from it: aligned memory is
//! what direct I/O needs, and a pool keeps the data path free of allocations.
//!
//! Bounds: a pool never owns more than `count` buffers of `capacity` bytes; who finds it empty waits.

use std::sync::{Arc, Mutex, PoisonError};

/// Alignment of buffers, offsets and lengths that direct I/O accepts everywhere.
pub const ALIGNMENT: usize = 4096;

/// A fixed-capacity buffer whose first byte lies on a page boundary.
pub struct AlignedBuffer {
    /// Larger than the capacity by one alignment; never grows, so `start` stays aligned.
    memory: Box<[u8]>,
    start: usize,
    capacity: usize,
    len: usize,
}

impl AlignedBuffer {
    /// A buffer of zeros with `capacity` bytes, rounded up to the alignment, and length 0.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.next_multiple_of(ALIGNMENT);
        let memory = vec![0; capacity + ALIGNMENT].into_boxed_slice();
        let start = memory.as_ptr().align_offset(ALIGNMENT);
        // The contract of `align_offset` allows it to give up; then the buffer is merely unaligned.
        let start = if start <= ALIGNMENT { start } else { 0 };
        Self { memory, start, capacity, len: 0 }
    }

    /// Bytes the buffer can hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes in use.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no bytes are in use.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Sets how many bytes are in use; bytes that come into use keep whatever they held before.
    ///
    /// Returns whether `len` fits the capacity; if not, nothing changes.
    #[must_use = "a length beyond the capacity is refused"]
    pub fn set_len(&mut self, len: usize) -> bool {
        if len > self.capacity {
            return false;
        }
        self.len = len;
        true
    }

    /// The bytes in use.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.memory.get(self.start..self.start + self.len).unwrap_or_default()
    }

    /// The bytes in use, to fill.
    #[must_use]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        self.memory.get_mut(self.start..self.start + self.len).unwrap_or_default()
    }
}

impl std::fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AlignedBuffer")
            .field("len", &self.len)
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

/// A bounded set of buffers, made on first use and kept; clones share it.
#[derive(Debug, Clone)]
pub struct BufferPool {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    free: Vec<AlignedBuffer>,
    /// Buffers that may still be made.
    unmade: usize,
    capacity: usize,
}

impl BufferPool {
    /// A pool of at most `count` buffers of `capacity` bytes each.
    #[must_use]
    pub fn new(count: usize, capacity: usize) -> Self {
        let shared = Shared { free: Vec::new(), unmade: count, capacity };
        Self { shared: Arc::new(Mutex::new(shared)) }
    }

    /// Takes a buffer of length 0, or nothing if all are in use.
    #[must_use]
    pub fn take(&self) -> Option<PooledBuffer> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let buffer = match shared.free.pop() {
            Some(buffer) => buffer,
            None => {
                shared.unmade = shared.unmade.checked_sub(1)?;
                AlignedBuffer::new(shared.capacity)
            }
        };
        Some(PooledBuffer { buffer: Some(buffer), pool: self.clone() })
    }
}

/// A buffer that returns to its pool when dropped.
#[derive(Debug)]
pub struct PooledBuffer {
    /// Present until drop.
    buffer: Option<AlignedBuffer>,
    pool: BufferPool,
}

impl PooledBuffer {
    /// As [`AlignedBuffer::set_len`].
    #[must_use = "a length beyond the capacity is refused"]
    pub fn set_len(&mut self, len: usize) -> bool {
        self.buffer.as_mut().is_some_and(|buffer| buffer.set_len(len))
    }
}

impl std::ops::Deref for PooledBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.buffer.as_ref().map_or(&[], AlignedBuffer::as_slice)
    }
}

impl std::ops::DerefMut for PooledBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.buffer.as_mut().map(AlignedBuffer::as_mut_slice).unwrap_or_default()
    }
}

impl AsRef<[u8]> for PooledBuffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        if let Some(mut buffer) = self.buffer.take() {
            buffer.len = 0;
            self.pool.shared.lock().unwrap_or_else(PoisonError::into_inner).free.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_and_keep_their_capacity() {
        for capacity in [1, 4096, 5000, 1 << 20] {
            let mut buffer = AlignedBuffer::new(capacity);
            assert_eq!(buffer.as_slice().as_ptr().align_offset(ALIGNMENT), 0);
            assert!(buffer.set_len(capacity));
            assert_eq!(buffer.as_mut_slice().len(), capacity);
            assert!(!buffer.set_len(buffer.capacity() + 1));
            assert_eq!(buffer.len(), capacity);
        }
    }

    #[test]
    fn a_pool_lends_its_count_and_no_more() {
        let pool = BufferPool::new(2, 10);
        let mut first = pool.take().unwrap();
        assert!(first.set_len(10));
        first.fill(7);
        let _second = pool.take().unwrap();
        assert!(pool.take().is_none());
        drop(first);
        assert!(pool.take().unwrap().is_empty());
    }
}
