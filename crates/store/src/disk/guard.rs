//! A disk that refuses everything after one sync has failed.
//!
//! After a failed sync the operating system may have dropped the pages and report success the next
//! time, so no later answer of the disk can be believed. The guard makes the failure final for all
//! users of one store at once, including the embedded database: they see [`Poisoned`] until the
//! process restarts and recovers from what is really there.
//!
//! Invariant: once poisoned, no call reaches the inner disk.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Disk, DiskFile, OpenMode};

/// A sync failed earlier: nothing this store says can be trusted until the process restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an earlier sync failed, the store is poisoned until restart")]
pub struct Poisoned;

/// Whether an error says that the disk is poisoned, here or anywhere in its chain of sources.
#[must_use]
pub fn is_poisoned(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(current) = next {
        if current.is::<Poisoned>() {
            return true;
        }
        let inner = current.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if inner.is_some_and(|inner| inner.is::<Poisoned>()) {
            return true;
        }
        next = current.source();
    }
    false
}

/// The guard around a disk.
#[derive(Debug, Clone)]
pub struct GuardedDisk {
    inner: Arc<dyn Disk>,
    flag: Flag,
}

impl GuardedDisk {
    /// Wraps a disk that is believed so far.
    #[must_use]
    pub fn new(inner: Arc<dyn Disk>) -> Self {
        Self { inner, flag: Flag::default() }
    }

    /// Whether a sync has failed.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.flag.0.load(Ordering::Acquire)
    }
}

impl Disk for GuardedDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.flag.check()?;
        self.inner.create_dir_all(dir)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        self.flag.check()?;
        let inner = self.inner.open(path, mode)?;
        Ok(Arc::new(GuardedFile { inner, flag: self.flag.clone() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.flag.check()?;
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.flag.check()?;
        self.inner.remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.flag.check()?;
        self.inner.list(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.flag.check()?;
        self.flag.watch(self.inner.sync_dir(dir))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.flag.check()?;
        self.inner.free_bytes()
    }
}

#[derive(Debug)]
struct GuardedFile {
    inner: Arc<dyn DiskFile>,
    flag: Flag,
}

impl DiskFile for GuardedFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.flag.check()?;
        self.inner.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.flag.check()?;
        self.inner.write_at(offset, bytes)
    }

    fn len(&self) -> io::Result<u64> {
        self.flag.check()?;
        self.inner.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.flag.check()?;
        self.inner.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.flag.check()?;
        self.flag.watch(self.inner.sync())
    }

    fn start_writeback(&self, offset: u64, len: u64) {
        self.inner.start_writeback(offset, len);
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.inner.descriptor()
    }
}

#[derive(Debug, Clone, Default)]
struct Flag(Arc<AtomicBool>);

impl Flag {
    fn check(&self) -> io::Result<()> {
        if self.0.load(Ordering::Acquire) { Err(io::Error::other(Poisoned)) } else { Ok(()) }
    }

    fn watch(&self, result: io::Result<()>) -> io::Result<()> {
        if result.is_err() {
            self.0.store(true, Ordering::Release);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::memory::{Fault, MemoryDisk};

    #[test]
    fn everything_is_refused_after_a_failed_sync() {
        let memory = MemoryDisk::new();
        let disk = GuardedDisk::new(Arc::new(memory.clone()));
        let file = disk.open(Path::new("f"), OpenMode::CreateNew).unwrap();
        file.write_at(0, b"x").unwrap();
        memory.fail_at(memory.operations(), Fault::Error(io::ErrorKind::Other));
        assert!(!is_poisoned(&file.sync().unwrap_err()));
        let error = file.sync().unwrap_err();
        assert!(is_poisoned(&error), "{error}");
        assert!(is_poisoned(&disk.list(Path::new("")).unwrap_err()));
        assert!(disk.is_poisoned());
    }

    #[test]
    fn a_failed_write_is_not_final() {
        let memory = MemoryDisk::new();
        let disk = GuardedDisk::new(Arc::new(memory.clone()));
        let file = disk.open(Path::new("f"), OpenMode::CreateNew).unwrap();
        memory.fail_at(memory.operations(), Fault::Error(io::ErrorKind::StorageFull));
        file.write_at(0, b"x").unwrap_err();
        file.write_at(0, b"x").unwrap();
        file.sync().unwrap();
    }
}
