//! Large fragments: one file holds all chunks of one (upload, slot) and appears atomically.
//!
//! A fragment grows under a temporary name, is completed by its sidecar (cross-checksums, Merkle tree
//! over stripes, manifest, footer), synced, and renamed. A reader therefore finds a whole fragment or
//! none. Names are made of hashes and numbers, never of bytes a user chose:
//!
//! ```text
//! fragments/tmp/<upload>.<slot>.<counter>.{chunks,fpcc,leaves}   unfinished, removed at start
//! fragments/<first byte>/<upload>.<slot>                        whole
//! ```
//! The bytes of the file are drawn in [`mod@format`].
//!
//! Invariant: whatever [`FragmentStore::open_fragment`] returns was complete and synced once.
//! Bounds: a writer holds [`side::BUFFER_BYTES`] twice plus one block; a reader one small block per
//! tree level; both whatever the size of the fragment.
//! Not here: whether the chunks are right; the node verifies before it appends, readers verify again.

pub mod format;
mod keys;
mod reader;
pub mod side;
mod writer;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use avid_types::limits::{CHUNK_BYTES_MAX, CHUNK_OVERHEAD_BYTES_MAX};
use avid_types::{Digest, Slot, UploadId};

use crate::disk::{Disk, OpenMode};
use crate::number::len_of;

pub use keys::FragmentKeys;
pub use reader::FragmentReader;
pub use writer::FragmentWriter;

/// Hash of an inner node of the stripe tree from its two children (`avid_coding` defines it).
pub type NodeHash = fn(&Digest, &Digest) -> Digest;

/// Names one fragment at one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FragmentKey {
    /// Run of the write protocol.
    pub upload: UploadId,
    /// Row of the code.
    pub slot: Slot,
}

impl fmt::Display for FragmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.upload, self.slot)
    }
}

impl FragmentKey {
    /// The key in a file name; none for any other name.
    fn parse(name: &str) -> Option<Self> {
        let (upload, slot) = name.split_once('.')?;
        let key = Self { upload: upload.parse().ok()?, slot: Slot(slot.parse().ok()?) };
        (key.to_string() == name).then_some(key)
    }
}

/// Sizes that hold for every stripe of a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentShape {
    /// Bytes of every chunk but the last: the object's L.
    pub chunk_bytes: u32,
    /// Bytes of one stripe's cross-checksum.
    pub fpcc_bytes: u32,
}

impl FragmentShape {
    fn check(self) -> Result<(), FragmentError> {
        let chunk = 1..=CHUNK_BYTES_MAX;
        let fits = chunk.contains(&self.chunk_bytes)
            && (1..=CHUNK_OVERHEAD_BYTES_MAX).contains(&len_of(self.fpcc_bytes));
        if fits { Ok(()) } else { Err(FragmentError::Shape(self)) }
    }
}

/// What a whole fragment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentInfo {
    /// Which fragment.
    pub key: FragmentKey,
    /// Sizes per stripe.
    pub shape: FragmentShape,
    /// Number of stripes, hence of chunks.
    pub stripes: u64,
    /// Bytes of the last chunk; 0 if there are no stripes.
    pub last_chunk_bytes: u32,
    /// Bytes of all chunks together.
    pub chunk_bytes_total: u64,
    /// Bytes of the manifest.
    pub manifest_bytes: u32,
    /// Bytes of the file.
    pub file_bytes: u64,
}

impl FragmentInfo {
    /// Bytes of the chunk of a stripe; 0 past the end.
    #[must_use]
    pub fn chunk_len(&self, stripe: u64) -> usize {
        match stripe.checked_add(1) {
            Some(next) if next < self.stripes => len_of(self.shape.chunk_bytes),
            Some(next) if next == self.stripes => len_of(self.last_chunk_bytes),
            Some(_) | None => 0,
        }
    }

    /// Where the chunk of a stripe lies in the file.
    #[must_use]
    pub fn chunk_offset(&self, stripe: u64) -> u64 {
        stripe.saturating_mul(u64::from(self.shape.chunk_bytes))
    }
}

/// Why a fragment could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum FragmentError {
    /// The disk failed.
    #[error("fragment: {action} {path}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
    /// There is no such fragment.
    #[error("no fragment {0}")]
    NotFound(FragmentKey),
    /// The stored metadata is not what was written.
    #[error("fragment {key} is damaged: {reason}")]
    Damaged {
        /// Which fragment.
        key: FragmentKey,
        /// What is wrong.
        reason: &'static str,
    },
    /// The file was written by a build whose format this one does not read.
    #[error("fragment {key} has format version {version}, which this build does not read")]
    Version {
        /// Which fragment.
        key: FragmentKey,
        /// Version found.
        version: u32,
    },
    /// Sizes beyond the limits.
    #[error("fragment shape {0:?} is beyond the limits")]
    Shape(FragmentShape),
    /// A chunk of the wrong length: empty, longer than the full length, or after the short last one.
    #[error("chunk of stripe {stripe} has {len} bytes, at most {max} fit here")]
    ChunkLength {
        /// Its stripe.
        stripe: u64,
        /// Its length.
        len: usize,
        /// Longest that fits: 0 after a short chunk.
        max: usize,
    },
    /// Some other part has the wrong length.
    #[error("{what} has {len} bytes, expected {expected}")]
    Length {
        /// Which part.
        what: &'static str,
        /// Its length.
        len: usize,
        /// Length expected, or longest allowed.
        expected: usize,
    },
    /// A stripe past the end.
    #[error("stripe {stripe} of a fragment with {stripes}")]
    NoStripe {
        /// Stripe asked for.
        stripe: u64,
        /// Stripes there are.
        stripes: u64,
    },
}

impl FragmentError {
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }
}

/// All fragments of one node; clones share it.
#[derive(Debug, Clone)]
pub struct FragmentStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    node_hash: NodeHash,
    next_temporary: AtomicU64,
}

impl FragmentStore {
    /// Opens the directory and removes what unfinished writers left; returns how many files that were.
    ///
    /// # Errors
    ///
    /// [`FragmentError::Io`].
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        node_hash: NodeHash,
    ) -> Result<(Self, u64), FragmentError> {
        let shared =
            Shared { disk, dir: dir.to_path_buf(), node_hash, next_temporary: AtomicU64::new(0) };
        let temporaries = shared.temporary_dir();
        let io = |action| FragmentError::io(action, &temporaries);
        shared.disk.create_dir_all(&temporaries).map_err(io("create"))?;
        let mut removed = 0;
        for name in shared.disk.list(&temporaries).map_err(io("list"))? {
            let path = temporaries.join(name);
            shared.disk.remove(&path).map_err(FragmentError::io("remove", &path))?;
            removed += 1;
        }
        Ok((Self { shared: Arc::new(shared) }, removed))
    }

    /// Begins a fragment; nothing is visible before [`FragmentWriter::finish`].
    ///
    /// # Errors
    ///
    /// [`FragmentError::Shape`] or [`FragmentError::Io`].
    pub fn create(
        &self,
        key: FragmentKey,
        shape: FragmentShape,
    ) -> Result<FragmentWriter, FragmentError> {
        shape.check()?;
        FragmentWriter::create(Arc::clone(&self.shared), key, shape)
    }

    /// Opens a whole fragment; its metadata is checked, its chunks are not.
    ///
    /// # Errors
    ///
    /// [`FragmentError::NotFound`], [`FragmentError::Damaged`], [`FragmentError::Version`] or
    /// [`FragmentError::Io`].
    pub fn open_fragment(&self, key: FragmentKey) -> Result<FragmentReader, FragmentError> {
        let path = self.shared.final_path(key);
        match self.shared.disk.open(&path, OpenMode::Read) {
            Ok(file) => FragmentReader::open(file, path, key),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(FragmentError::NotFound(key))
            }
            Err(error) => Err(FragmentError::io("open", &path)(error)),
        }
    }

    /// Removes a fragment durably; returns whether it was there. Open readers keep reading it.
    ///
    /// # Errors
    ///
    /// [`FragmentError::Io`].
    pub fn remove(&self, key: FragmentKey) -> Result<bool, FragmentError> {
        let dir = self.shared.shard_dir(first_byte(key));
        let was_there = self.unlink(key)?;
        if was_there {
            self.shared.disk.sync_dir(&dir).map_err(FragmentError::io("sync", &dir))?;
        }
        Ok(was_there)
    }

    /// Removes a fragment, not durably yet; returns whether it was there.
    fn unlink(&self, key: FragmentKey) -> Result<bool, FragmentError> {
        let path = self.shared.final_path(key);
        match self.shared.disk.remove(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(FragmentError::io("remove", &path)(error)),
        }
    }

    /// Keys of all whole fragments whose upload id starts with this byte, ascending.
    ///
    /// Files with foreign names are left out.
    ///
    /// # Errors
    ///
    /// [`FragmentError::Io`].
    pub fn list_shard(&self, first_byte: u8) -> Result<Vec<FragmentKey>, FragmentError> {
        let dir = self.shared.shard_dir(first_byte);
        let names = match self.shared.disk.list(&dir) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(FragmentError::io("list", &dir)(error)),
        };
        let keys = names.iter().filter_map(|name| FragmentKey::parse(name));
        let mut keys: Vec<FragmentKey> =
            keys.filter(|key| self::first_byte(*key) == first_byte).collect();
        keys.sort_unstable();
        Ok(keys)
    }

    /// Keys of all whole fragments, ascending. With millions of them prefer [`FragmentStore::keys`],
    /// which holds 1/256 at a time.
    ///
    /// # Errors
    ///
    /// [`FragmentError::Io`].
    pub fn list(&self) -> Result<Vec<FragmentKey>, FragmentError> {
        self.keys().collect()
    }
}

impl Shared {
    fn temporary_dir(&self) -> PathBuf {
        self.dir.join("tmp")
    }

    fn shard_dir(&self, first_byte: u8) -> PathBuf {
        self.dir.join(format!("{first_byte:02x}"))
    }

    fn final_path(&self, key: FragmentKey) -> PathBuf {
        self.shard_dir(first_byte(key)).join(key.to_string())
    }

    /// A temporary name no other writer of this process has; older ones were removed at start.
    fn temporary_path(&self, key: FragmentKey) -> PathBuf {
        let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        self.temporary_dir().join(format!("{key}.{number}.chunks"))
    }
}

fn first_byte(key: FragmentKey) -> u8 {
    let [first, ..] = key.upload.0;
    first
}

#[cfg(test)]
mod tests;
