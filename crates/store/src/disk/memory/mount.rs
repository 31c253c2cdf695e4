//! A disk in memory as one process holds it.
//!
//! A killed process cannot write any more, even while what is left of its tasks still runs: once the
//! mount is gone, every call through it and through files opened by it fails and changes nothing.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard};

use super::MemoryDisk;
use super::state::{Caller, State};
use crate::disk::{Disk, DiskFile, OpenMode, check_path};

/// One life of one process on a [`MemoryDisk`]; clones are the same life.
#[derive(Debug, Clone)]
pub struct MountedDisk {
    disk: MemoryDisk,
    caller: Caller,
}

impl MountedDisk {
    pub(super) fn new(disk: MemoryDisk, caller: Caller) -> Self {
        Self { disk, caller }
    }

    /// Kills the process: from now on all of its calls fail. The cache survives, so what it wrote
    /// is seen by the next mount and is durable no more than before.
    pub fn unmount(&self) {
        self.disk.lock().unmount(self.caller.mount);
    }

    /// Whether calls still reach the disk: neither unmounted nor overtaken by a crash.
    #[must_use]
    pub fn is_mounted(&self) -> bool {
        self.disk.lock().is_mounted(self.caller.mount)
    }

    /// The disk underneath.
    #[must_use]
    pub fn disk(&self) -> &MemoryDisk {
        &self.disk
    }

    /// Number of this mount, as in [`Operation::mount`](super::Operation::mount).
    #[must_use]
    pub fn number(&self) -> u64 {
        self.caller.mount
    }
}

impl Disk for MountedDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        check_path(dir)?;
        self.disk.lock().create_dir_all(self.caller, dir)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        check_path(path)?;
        let mut state = self.disk.lock();
        state.check(self.caller)?;
        let id = match (mode, state.find(path)) {
            (OpenMode::Read | OpenMode::ReadWrite, Err(error)) => return Err(error),
            (OpenMode::CreateNew, Ok(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            (OpenMode::CreateNew | OpenMode::Create, Err(_)) => state.create(self.caller, path)?,
            (OpenMode::Read | OpenMode::ReadWrite | OpenMode::Create, Ok(id)) => {
                state.open(self.caller, path, id)?
            }
        };
        state.hold(self.caller);
        drop(state);
        Ok(Arc::new(MemoryFile {
            disk: self.disk.clone(),
            caller: self.caller,
            path: path.to_path_buf(),
            id,
            is_writable: mode != OpenMode::Read,
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        check_path(from)?;
        check_path(to)?;
        self.disk.lock().rename(self.caller, from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        check_path(path)?;
        self.disk.lock().remove(self.caller, path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        check_path(dir)?;
        self.disk.lock().list(self.caller, dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        check_path(dir)?;
        self.disk.lock().sync_dir(self.caller, dir)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let state = self.disk.lock();
        state.check(self.caller)?;
        Ok(state.free_bytes())
    }
}

/// An open file; it stays readable after its name is gone.
#[derive(Debug)]
struct MemoryFile {
    disk: MemoryDisk,
    caller: Caller,
    path: PathBuf,
    id: u64,
    is_writable: bool,
}

impl MemoryFile {
    fn who(&self) -> (Caller, &Path, u64) {
        (self.caller, &self.path, self.id)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.disk.lock()
    }

    fn check_writable(&self) -> io::Result<()> {
        if self.is_writable { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }
}

impl DiskFile for MemoryFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.state().read_at(self.who(), offset, out)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.check_writable()?;
        self.state().write_at(self.who(), offset, bytes)
    }

    fn len(&self) -> io::Result<u64> {
        let mut state = self.state();
        state.check(self.caller)?;
        Ok(state.inode(self.id).len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check_writable()?;
        self.state().set_len(self.who(), len)
    }

    fn sync(&self) -> io::Result<()> {
        self.state().sync(self.who())
    }
}
