//! A directory of the operating system as a [`Disk`].
//!
//! Opening takes an exclusive lock on a lock file, held until the value and all its clones of the
//! root are gone: two processes never share one directory, and a kill releases it.
//!
//! Not here: what the files mean.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Advice, FlockOperation};

use super::{Disk, DiskFile, OpenMode, check_path};

/// Name of the lock file in the data directory.
const LOCK_NAME: &str = "lock";

/// A data directory of the operating system, locked for this process.
#[derive(Debug)]
pub struct RealDisk {
    root: PathBuf,
    /// Holds the lock; the kernel drops it with the last descriptor.
    _lock: File,
}

impl RealDisk {
    /// Makes the directory if needed and locks it.
    ///
    /// # Errors
    ///
    /// `ResourceBusy` with "data directory is in use by another process" if it is locked, else as
    /// the operating system reports.
    pub fn open(root: &Path) -> io::Result<Self> {
        create_dir_durably(root)?;
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(root.join(LOCK_NAME))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { root: root.to_path_buf(), _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                "data directory is in use by another process",
            )),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The data directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        check_path(path)?;
        Ok(self.root.join(path))
    }
}

impl Disk for RealDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        create_dir_durably(&self.resolve(dir)?)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.resolve(path)?;
        let mut options = OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => {}
            OpenMode::ReadWrite => {
                options.write(true);
            }
            OpenMode::CreateNew => {
                options.write(true).create_new(true);
            }
            OpenMode::Create => {
                options.write(true).create(true).truncate(false);
            }
        }
        Ok(Arc::new(RealFile { file: options.open(path)? }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(self.resolve(from)?, self.resolve(to)?)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(self.resolve(path)?)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.resolve(dir)?)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                continue;
            }
            // All our names are ASCII; a foreign one that is not UTF-8 can only be skipped.
            if let Ok(name) = entry.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(self.resolve(dir)?)?.sync_all()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.root)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

#[derive(Debug)]
struct RealFile {
    file: File,
}

impl DiskFile for RealFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.metadata().map(|metadata| metadata.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn start_writeback(&self, offset: u64, len: u64) {
        // On Linux this advice starts asynchronous write-out of dirty pages and drops clean ones.
        let Some(len) = std::num::NonZeroU64::new(len) else {
            return;
        };
        // A hint that is not taken costs time at the sync, nothing else.
        let _ = rustix::fs::fadvise(&self.file, offset, Some(len), Advice::DontNeed);
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }
}

/// Makes a directory and its missing ancestors, and syncs every parent that changed.
fn create_dir_durably(dir: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = dir
        .ancestors()
        .take_while(|ancestor| !ancestor.as_os_str().is_empty() && !ancestor.is_dir())
        .collect();
    for directory in missing.into_iter().rev() {
        match fs::create_dir(directory) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_directory_serves_one_disk_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("a/b");
        let first = RealDisk::open(&root).unwrap();
        let refused = RealDisk::open(&root).unwrap_err();
        assert_eq!(refused.to_string(), "data directory is in use by another process");
        drop(first);
        RealDisk::open(&root).unwrap();
    }

    #[test]
    fn paths_cannot_leave_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(dir.path()).unwrap();
        for path in ["../x", "/etc/passwd", "a/../../x", "."] {
            let error = disk.open(Path::new(path), OpenMode::Read).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{path}");
        }
    }

    #[test]
    fn files_are_made_written_moved_listed_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(dir.path()).unwrap();
        disk.create_dir_all(Path::new("d/e")).unwrap();
        let file = disk.open(Path::new("d/one"), OpenMode::CreateNew).unwrap();
        file.write_at(3, b"abc").unwrap();
        file.start_writeback(0, 6);
        file.sync().unwrap();
        let again = disk.open(Path::new("d/one"), OpenMode::CreateNew).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        disk.rename(Path::new("d/one"), Path::new("d/two")).unwrap();
        disk.sync_dir(Path::new("d")).unwrap();
        assert_eq!(disk.list(Path::new("d")).unwrap(), ["two"]);
        let mut out = [9; 6];
        let file = disk.open(Path::new("d/two"), OpenMode::Read).unwrap();
        file.read_at(0, &mut out).unwrap();
        assert_eq!(&out, b"\0\0\0abc");
        let short = file.read_at(1, &mut out).unwrap_err();
        assert_eq!(short.kind(), io::ErrorKind::UnexpectedEof);
        disk.remove(Path::new("d/two")).unwrap();
        assert!(disk.list(Path::new("d")).unwrap().is_empty());
        assert!(disk.free_bytes().unwrap() > 0);
    }
}
