//! An append-only byte log in bounded memory that spills to a temporary file.
//!
//! A writer keeps cross-checksums and leaves here until it knows that the chunks are complete. Small
//! fragments never touch the file.
//!
//! Invariant: `len` bytes are readable, the first `spilled` of them from the file.
//! Bounds: [`BUFFER_BYTES`] plus the longest single append.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::{Disk, DiskFile, OpenMode};
use crate::number::{to_u64, to_usize};

/// Bytes held in memory before they spill.
pub const BUFFER_BYTES: usize = 128 << 10;

/// The log.
#[derive(Debug)]
pub(super) struct SideLog {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: Option<Arc<dyn DiskFile>>,
    spilled: u64,
    buffer: Vec<u8>,
}

impl SideLog {
    pub(super) fn new(disk: Arc<dyn Disk>, path: PathBuf) -> Self {
        Self { disk, path, file: None, spilled: 0, buffer: Vec::new() }
    }

    pub(super) fn len(&self) -> u64 {
        self.spilled + to_u64(self.buffer.len())
    }

    /// Makes room for `bytes` more, spilling if they would not fit in memory.
    pub(super) fn reserve(&mut self, bytes: usize) -> io::Result<()> {
        if self.buffer.len() + bytes <= BUFFER_BYTES || self.buffer.is_empty() {
            return Ok(());
        }
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(self.disk.open(&self.path, OpenMode::CreateNew)?),
        };
        file.write_at(self.spilled, &self.buffer)?;
        self.spilled += to_u64(self.buffer.len());
        self.buffer.clear();
        Ok(())
    }

    /// Appends after a [`SideLog::reserve`] of at least as much.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Forgets everything from `len` on.
    pub(super) fn truncate(&mut self, len: u64) {
        match len.checked_sub(self.spilled) {
            Some(rest) => self.buffer.truncate(to_usize(rest)),
            None => {
                // The file keeps stale bytes past `spilled`; the next spill overwrites them.
                self.buffer.clear();
                self.spilled = len;
            }
        }
    }

    /// Fills `out` from `offset`.
    pub(super) fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let in_file = to_usize(self.spilled.saturating_sub(offset)).min(out.len());
        let (from_file, from_memory) = out.split_at_mut(in_file);
        if !from_file.is_empty() {
            let file = self.file.as_ref().ok_or(io::ErrorKind::UnexpectedEof)?;
            file.read_at(offset, from_file)?;
        }
        let start = to_usize(offset.saturating_sub(self.spilled));
        let end = start.saturating_add(from_memory.len());
        let found = self.buffer.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        from_memory.copy_from_slice(found);
        Ok(())
    }
}

impl Drop for SideLog {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // Left behind, it is removed at the next start.
            let _ = self.disk.remove(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::memory::MemoryDisk;

    #[test]
    fn reads_across_file_and_memory_and_after_truncation() {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let mut log = SideLog::new(disk, PathBuf::from("side"));
        let mut model = Vec::new();
        for round in 0..40_u32 {
            let bytes = vec![u8::try_from(round).unwrap(); 10_000];
            log.reserve(bytes.len()).unwrap();
            log.push(&bytes);
            model.extend_from_slice(&bytes);
            if round % 7 == 6 {
                let keep = model.len() / 2 + 3;
                log.truncate(to_u64(keep));
                model.truncate(keep);
            }
            assert_eq!(log.len(), to_u64(model.len()));
            let mut out = vec![0; model.len()];
            log.read(0, &mut out).unwrap();
            assert!(out == model, "round {round}");
        }
        assert!(log.file.is_some(), "must have spilled");
        assert!(log.read(log.len(), &mut [0]).is_err());
    }
}
