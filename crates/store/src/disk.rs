//! The seam between the store and whatever keeps its bytes.
//!
//! Every change of stored state is one call here, so that a simulator or a test can stop the world
//! after any of them, lose what was not synced, and fail what it likes. Paths are relative to the
//! root of the disk and contain only plain names.
//!
//! What a crash may do: writes and length changes of a file are lost, kept or torn in any
//! combination until [`DiskFile::sync`] returns; names made, moved or removed in a directory are
//! old or new until [`Disk::sync_dir`] returns, a rename being one change. Nothing else is assumed.
//!
//! Invariant: a call that failed may have happened in part; only a sync that returned is a promise.
//! Not here: retry. A failed sync is final ([`guard`]).

pub mod guard;
pub mod memory;
mod real;

use std::fmt::Debug;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

pub use real::RealDisk;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// The file exists and is only read.
    Read,
    /// The file exists and is read and written.
    ReadWrite,
    /// The file does not exist; it is made, empty.
    CreateNew,
    /// The file is made empty if it does not exist, and is read and written.
    Create,
}

/// One open file; all offsets are absolute and nothing depends on a cursor.
pub trait DiskFile: Send + Sync + Debug {
    /// Fills `out` from `offset`.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` if the file ends before `out` is full.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`; the file grows as needed, gaps read as zero.
    ///
    /// # Errors
    ///
    /// As the disk reports; part of `bytes` may have been written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Length of the file in bytes.
    ///
    /// # Errors
    ///
    /// As the disk reports.
    fn len(&self) -> io::Result<u64>;

    /// Cuts the file or extends it with zeros.
    ///
    /// # Errors
    ///
    /// As the disk reports.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes content and length of the file durable.
    ///
    /// # Errors
    ///
    /// As the disk reports; final, the file's unsynced content is unknown from then on.
    fn sync(&self) -> io::Result<()>;

    /// Hints that the range will be synced soon and not be read soon. Promises nothing.
    fn start_writeback(&self, offset: u64, len: u64) {
        let _ = (offset, len);
    }

    /// The file descriptor, for a kernel copy to a socket; none on disks that are not files.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Whether the file has no bytes.
    ///
    /// # Errors
    ///
    /// As [`DiskFile::len`].
    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|len| len == 0)
    }
}

/// A tree of directories and files.
pub trait Disk: Send + Sync + Debug + 'static {
    /// Makes a directory and its ancestors where missing; durable when this returns.
    ///
    /// # Errors
    ///
    /// As the disk reports.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Opens a file. A file made by this is durable only after [`Disk::sync_dir`] of its directory.
    ///
    /// # Errors
    ///
    /// `NotFound` or `AlreadyExists` by mode, else as the disk reports.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;

    /// Moves a file, replacing what stood at `to`, as one change.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no file at `from`, else as the disk reports.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Open handles keep reading it.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such file, else as the disk reports.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Names of the files in a directory, in no particular order; directories are left out.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such directory, else as the disk reports.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    ///
    /// As the disk reports; final, like a failed [`DiskFile::sync`].
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Bytes this process may still write.
    ///
    /// # Errors
    ///
    /// As the disk reports.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// Checks that a path is relative and made of plain names only.
///
/// # Errors
///
/// `InvalidInput` otherwise: nothing outside the root of a disk is ever touched.
pub(crate) fn check_path(path: &Path) -> io::Result<()> {
    let plain =
        path.components().all(|component| matches!(component, std::path::Component::Normal(_)));
    if plain {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "path is not relative to the disk root"))
}
