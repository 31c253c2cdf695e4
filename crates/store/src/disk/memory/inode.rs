//! One file of a disk in memory: what readers see, what the disk holds, and what is between.
//!
//! ```text
//! current = durable + pending      unless a write was lost, misdirected or spoilt, or a sync failed:
//!                                  then only the cache shows what the writer wrote
//! ```
//! Invariant: `durable` changes only by a sync, a crash, or rot.

use std::io;

use super::adversary::{Verdict, flip};
use super::{CrashChoice, Random};
use crate::number::{to_u64, to_usize};

/// Unit in which a torn write keeps or loses bytes.
pub(super) const SECTOR_BYTES: usize = 512;
/// Unit in which space is taken; holes take none.
const BLOCK_BYTES: usize = 4096;

#[derive(Debug, Default, Clone)]
pub(super) struct Inode {
    current: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
    /// Whether `current` may differ from what `durable` and `pending` make.
    is_stale: bool,
    /// Blocks that were written, of what readers see.
    allocated: Vec<bool>,
}

impl Inode {
    pub(super) fn len(&self) -> u64 {
        to_u64(self.current.len())
    }

    /// What readers see.
    pub(super) fn content(&self) -> &[u8] {
        &self.current
    }

    pub(super) fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let start = to_usize(offset);
        let found = start.checked_add(out.len()).and_then(|end| self.current.get(start..end));
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    /// Writes for readers as asked, and for the disk as the verdict says.
    pub(super) fn write(
        &mut self,
        offset: usize,
        bytes: &[u8],
        verdict: Verdict,
    ) -> io::Result<()> {
        let (bytes, outcome) = match verdict {
            Verdict::Fail(kind) => return Err(kind.into()),
            Verdict::FailHalfway(kind) => {
                (bytes.get(..bytes.len() / 2).unwrap_or_default(), Err(kind.into()))
            }
            Verdict::Go
            | Verdict::Crash
            | Verdict::Lose
            | Verdict::Misdirect { .. }
            | Verdict::FlipBit { .. } => (bytes, Ok(())),
        };
        put(&mut self.current, offset, bytes);
        self.allocate(offset, bytes.len());
        let whole = |offset, bytes: &[u8]| Change::Write { offset, bytes: bytes.to_vec() };
        let grown = Change::Grow(offset.saturating_add(bytes.len()));
        match verdict {
            Verdict::Go | Verdict::Crash | Verdict::Fail(_) | Verdict::FailHalfway(_) => {
                self.pending.push(whole(offset, bytes));
            }
            Verdict::Lose => {
                self.pending.push(grown);
                self.is_stale = true;
            }
            Verdict::Misdirect { offset: elsewhere } => {
                let room = to_usize(self.len().saturating_sub(elsewhere)).min(bytes.len());
                let landed = bytes.get(..room).unwrap_or_default();
                self.pending.push(grown);
                self.pending.push(whole(to_usize(elsewhere), landed));
                self.is_stale = true;
            }
            Verdict::FlipBit { bit } => {
                let mut spoilt = bytes.to_vec();
                flip(&mut spoilt, bit);
                self.pending.push(whole(offset, &spoilt));
                self.is_stale = true;
            }
        }
        outcome
    }

    pub(super) fn set_len(&mut self, len: usize) {
        self.current.resize(len, 0);
        self.allocated.truncate(len.div_ceil(BLOCK_BYTES));
        self.pending.push(Change::SetLen(len));
    }

    /// As [`Inode::set_len`] for readers; the disk never hears of it.
    pub(super) fn lose_set_len(&mut self, len: usize) {
        self.set_len(len);
        self.pending.pop();
        self.is_stale = true;
    }

    pub(super) fn sync(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            change.apply(&mut self.durable);
        }
    }

    /// A sync that failed: what was not written by then never will be.
    pub(super) fn fail_sync(&mut self, is_halfway: bool) {
        let written = if is_halfway { self.pending.len().div_ceil(2) } else { 0 };
        for change in self.pending.drain(..).take(written) {
            change.apply(&mut self.durable);
        }
        self.is_stale = true;
    }

    pub(super) fn crash(&mut self, choice: CrashChoice, random: &mut Random) {
        let was_clean = self.pending.is_empty() && !self.is_stale;
        for change in std::mem::take(&mut self.pending) {
            match choice {
                CrashChoice::DropAll => {}
                CrashChoice::KeepAll => change.apply(&mut self.durable),
                CrashChoice::Tear(_) => change.tear(&mut self.durable, random),
            }
        }
        if !was_clean {
            self.reread();
        }
    }

    /// Forgets what only the cache knew.
    pub(super) fn drop_cache(&mut self) {
        if self.is_stale {
            self.reread();
        }
    }

    fn reread(&mut self) {
        self.current.clone_from(&self.durable);
        for change in &self.pending {
            change.apply(&mut self.current);
        }
        self.allocated.resize(self.current.len().div_ceil(BLOCK_BYTES), true);
        self.is_stale = false;
    }

    /// Changes the stored bytes; what was unsynced is durable afterwards.
    pub(super) fn corrupt(&mut self, change: impl FnOnce(&mut Vec<u8>)) {
        change(&mut self.current);
        self.durable.clone_from(&self.current);
        self.pending.clear();
        self.is_stale = false;
        self.allocated.resize(self.current.len().div_ceil(BLOCK_BYTES), true);
    }

    /// Flips one bit wherever it is kept; unsynced bytes stay unsynced.
    pub(super) fn flip_bit(&mut self, bit: u64) {
        let bits = self.len().saturating_mul(8);
        let Some(bit) = bit.checked_rem(bits) else {
            return;
        };
        flip(&mut self.current, bit);
        if bit / 8 < to_u64(self.durable.len()) {
            flip(&mut self.durable, bit);
        }
    }

    /// Bytes of the blocks this file takes.
    pub(super) fn bytes_taken(&self) -> u64 {
        let blocks = self.allocated.iter().filter(|is_taken| **is_taken).count();
        to_u64(blocks.saturating_mul(BLOCK_BYTES))
    }

    /// Bytes of the blocks a write would take beyond those the file has.
    pub(super) fn bytes_to_take(&self, offset: usize, len: usize) -> u64 {
        let missing = |block: &usize| !self.allocated.get(*block).copied().unwrap_or(false);
        to_u64(blocks(offset, len).filter(missing).count().saturating_mul(BLOCK_BYTES))
    }

    fn allocate(&mut self, offset: usize, len: usize) {
        let range = blocks(offset, len);
        if self.allocated.len() < range.end {
            self.allocated.resize(range.end, false);
        }
        if let Some(blocks) = self.allocated.get_mut(range) {
            blocks.fill(true);
        }
    }
}

fn blocks(offset: usize, len: usize) -> std::ops::Range<usize> {
    let end = offset.saturating_add(len).div_ceil(BLOCK_BYTES);
    if len == 0 { end..end } else { offset / BLOCK_BYTES..end }
}

#[derive(Debug, Clone)]
enum Change {
    Write {
        offset: usize,
        bytes: Vec<u8>,
    },
    SetLen(usize),
    /// The file is at least this long: what a lost write leaves of itself.
    Grow(usize),
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => put(content, *offset, bytes),
            Self::SetLen(len) => content.resize(*len, 0),
            Self::Grow(len) => content.resize(content.len().max(*len), 0),
        }
    }

    /// Applies all, nothing or some sectors.
    fn tear(&self, content: &mut Vec<u8>, random: &mut Random) {
        match (random.next() % 3, self) {
            (0, _) => {}
            (1, change) | (_, change @ (Self::SetLen(_) | Self::Grow(_))) => change.apply(content),
            (_, Self::Write { offset, bytes }) => {
                for (sector, part) in bytes.chunks(SECTOR_BYTES).enumerate() {
                    if random.next().is_multiple_of(2) {
                        put(content, offset + sector * SECTOR_BYTES, part);
                    }
                }
            }
        }
    }
}

fn put(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let end = offset.saturating_add(bytes.len());
    if content.len() < end {
        content.resize(end, 0);
    }
    if let Some(target) = content.get_mut(offset..end) {
        target.copy_from_slice(bytes);
    }
}
