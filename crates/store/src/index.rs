//! The index: ordered tables of byte keys in an embedded database (redb) on the [`Disk`] seam.
//!
//! It answers questions fast; it promises nothing by itself. A lazy commit costs no sync: after a crash
//! the tables are as of the last checkpoint, and the journal's replay brings them up to date.
//!
//! ```text
//! apply(Lazy)  apply(Lazy)  apply(Checkpoint) | apply(Lazy)  -- crash --> as of |
//! ```
//! Every page carries a checksum in its parent, and an open walks them all: the database itself looks at
//! them only after it was not closed, and a page that rotted since would be believed, or bring it down.
//!
//! Invariant: a crash at any point leaves the tables as of some commit, at least the last checkpoint.
//! Bounds: [`KEY_BYTES_MAX`], [`VALUE_BYTES_MAX`]; lazy commits hold memory until the next checkpoint,
//! so the owner makes one when [`Index::lazy_bytes`] says so ([`Store`](crate::Store) does).
//! Cost: an open reads the whole file.
//! Not here: what keys and values mean; rot of pages after the open that
//! still make sense, which the next open finds.

use std::io;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use redb::{Database, ReadableDatabase, TableDefinition, TableError};

use crate::disk::{Disk, DiskFile, OpenMode};
use crate::number::to_u64;

/// Longest key.
pub const KEY_BYTES_MAX: usize = 4 << 10;
/// Longest value.
pub const VALUE_BYTES_MAX: usize = 4 << 20;
/// What a lazy commit costs beside its keys and values, roughly: the pages it copies.
const COMMIT_BYTES: u64 = 16 << 10;

type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// The store's own facts, out of reach of its user.
const OWN_TABLE: Definition = TableDefinition::new("store");

/// The tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// State of each upload.
    Uploads,
    /// What each name stands for.
    Names,
    /// Facts in journal order.
    Sequence,
    /// What is known of each peer.
    Peers,
    /// Everything else, under fixed keys.
    Meta,
}

impl Table {
    /// All tables.
    pub const ALL: [Self; 5] =
        [Self::Uploads, Self::Names, Self::Sequence, Self::Peers, Self::Meta];

    const fn definition(self) -> Definition {
        match self {
            Self::Uploads => TableDefinition::new("uploads"),
            Self::Names => TableDefinition::new("names"),
            Self::Sequence => TableDefinition::new("sequence"),
            Self::Peers => TableDefinition::new("peers"),
            Self::Meta => TableDefinition::new("meta"),
        }
    }
}

/// One change: a value to put, or a key to remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexWrite {
    /// In which table.
    pub table: Table,
    /// Under which key.
    pub key: Vec<u8>,
    /// The new value; none removes the key.
    pub value: Option<Vec<u8>>,
}

impl IndexWrite {
    /// A value to put.
    #[must_use]
    pub fn put(table: Table, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self { table, key: key.into(), value: Some(value.into()) }
    }

    /// A key to remove.
    #[must_use]
    pub fn remove(table: Table, key: impl Into<Vec<u8>>) -> Self {
        Self { table, key: key.into(), value: None }
    }

    fn bytes(&self) -> u64 {
        to_u64(self.key.len() + self.value.as_ref().map_or(0, Vec::len))
    }
}

/// Whether a commit is on disk when it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Visible at once, durable with the next checkpoint; a crash before loses it.
    Lazy,
    /// This commit and all before it are durable on return.
    Checkpoint,
}

/// Why the index could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The file could not be opened or made.
    #[error("index: open {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
    /// The database could not be opened: the file is not one, or is damaged.
    #[error("index: recover the database")]
    Recover(#[source] Box<redb::DatabaseError>),
    /// Pages are not what was written, or make no sense.
    #[error("index {path} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How it showed.
        reason: &'static str,
    },
    /// The database failed, from the disk or from damage.
    #[error("index: database")]
    Database(#[source] Box<redb::Error>),
    /// A key or value is too long.
    #[error("{what} has {len} bytes, limit {max}")]
    TooLong {
        /// Key or value.
        what: &'static str,
        /// Its length.
        len: usize,
        /// Longest allowed.
        max: usize,
    },
}

impl IndexError {
    /// Whether stored bytes are gone or changed, as opposed to a disk that fails to read them.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. } => true,
            Self::Recover(error) => is_damaged_file(error),
            Self::Database(error) => matches!(**error, redb::Error::Corrupted(_)),
            Self::Open { .. } | Self::TooLong { .. } => false,
        }
    }
}

fn is_damaged_file(error: &redb::DatabaseError) -> bool {
    let redb::DatabaseError::Storage(error) = error else {
        return false;
    };
    if let redb::StorageError::Io(error) = error {
        // No magic, or a file that was cut.
        return [io::ErrorKind::InvalidData, io::ErrorKind::UnexpectedEof].contains(&error.kind());
    }
    matches!(error, redb::StorageError::Corrupted(_))
}

fn database(error: impl Into<redb::Error>) -> IndexError {
    IndexError::Database(Box::new(error.into()))
}

/// Keys and values of one scan, in key order.
pub type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// The tables of one node.
#[derive(Debug)]
pub struct Index {
    database: Database,
    path: PathBuf,
    is_broken: AtomicBool,
    lazy_bytes: AtomicU64,
}

impl Index {
    /// Opens the database in `path` and checks every page, or makes an empty one if there is no such
    /// file.
    ///
    /// `cache_bytes`: memory for pages, clean and not yet written together.
    ///
    /// # Errors
    ///
    /// [`IndexError::Open`], [`IndexError::Recover`], [`IndexError::Damaged`] or
    /// [`IndexError::Database`].
    pub fn open(disk: &dyn Disk, path: &Path, cache_bytes: usize) -> Result<Self, IndexError> {
        let open = |source| IndexError::Open { path: path.to_path_buf(), source };
        let file = disk.open(path, OpenMode::Create).map_err(open)?;
        let is_new = file.is_empty().map_err(open)?;
        let damaged = |reason| IndexError::Damaged { path: path.to_path_buf(), reason };
        // The database trusts what it reads while it opens, and panics on what cannot be.
        let opened =
            catch_unwind(AssertUnwindSafe(|| open_database(Backend { file }, cache_bytes)));
        let (database, is_intact) = opened.map_err(|_| damaged("a page makes no sense"))??;
        if !is_intact {
            return Err(damaged("pages are not what was written"));
        }
        if is_new {
            disk.sync_dir(path.parent().unwrap_or_else(|| Path::new(""))).map_err(open)?;
        }
        let path = path.to_path_buf();
        let is_broken = AtomicBool::new(false);
        Ok(Self { database, path, is_broken, lazy_bytes: AtomicU64::new(0) })
    }

    /// The value of a key.
    ///
    /// # Errors
    ///
    /// [`IndexError::Database`].
    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        self.get_in(table.definition(), key)
    }

    /// Up to `limit` entries with keys between the bounds, in key order.
    ///
    /// # Errors
    ///
    /// [`IndexError::Database`].
    pub fn scan(
        &self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        limit: usize,
    ) -> Result<Entries, IndexError> {
        if is_empty_range(from, to) {
            return Ok(Vec::new());
        }
        self.guarded(|| self.scan_pages(table, (from, to), limit))
    }

    fn scan_pages(
        &self,
        table: Table,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
        limit: usize,
    ) -> Result<Entries, IndexError> {
        let mut found = Vec::new();
        let read = self.database.begin_read().map_err(database)?;
        let table = match read.open_table(table.definition()) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(found),
            Err(error) => return Err(database(error)),
        };
        for entry in table.range::<&[u8]>(bounds).map_err(database)?.take(limit) {
            let (key, value) = entry.map_err(database)?;
            found.push((key.value().to_vec(), value.value().to_vec()));
        }
        Ok(found)
    }

    /// Makes all changes visible as one, in order.
    ///
    /// # Errors
    ///
    /// [`IndexError::TooLong`] or [`IndexError::Database`]; nothing is changed.
    pub fn apply(&self, writes: &[IndexWrite], durability: Durability) -> Result<(), IndexError> {
        self.commit(writes, &[], durability)
    }

    /// Roughly what lazy commits since the last checkpoint hold on to.
    #[must_use]
    pub fn lazy_bytes(&self) -> u64 {
        self.lazy_bytes.load(Ordering::Relaxed)
    }

    /// As [`Index::apply`], with facts of the store itself in the same commit.
    pub(crate) fn commit(
        &self,
        writes: &[IndexWrite],
        own: &[(&'static str, Vec<u8>)],
        durability: Durability,
    ) -> Result<(), IndexError> {
        writes.iter().try_for_each(check_write)?;
        self.guarded(|| self.commit_pages(writes, own, durability))
    }

    fn commit_pages(
        &self,
        writes: &[IndexWrite],
        own: &[(&'static str, Vec<u8>)],
        durability: Durability,
    ) -> Result<(), IndexError> {
        let mut transaction = self.database.begin_write().map_err(database)?;
        match durability {
            Durability::Lazy => {
                let none = redb::Durability::None;
                transaction.set_durability(none).map_err(database)?;
            }
            // Saves what an open after a crash needs, so that it need not walk the whole database.
            Durability::Checkpoint => transaction.set_quick_repair(true),
        }
        for table in Table::ALL {
            let mut changes = writes.iter().filter(|write| write.table == table).peekable();
            if changes.peek().is_none() {
                continue;
            }
            let mut open = transaction.open_table(table.definition()).map_err(database)?;
            for write in changes {
                let key = write.key.as_slice();
                match &write.value {
                    Some(value) => drop(open.insert(key, value.as_slice()).map_err(database)?),
                    None => drop(open.remove(key).map_err(database)?),
                }
            }
        }
        if !own.is_empty() {
            let mut open = transaction.open_table(OWN_TABLE).map_err(database)?;
            for (key, value) in own {
                open.insert(key.as_bytes(), value.as_slice()).map_err(database)?;
            }
        }
        transaction.commit().map_err(database)?;
        match durability {
            Durability::Lazy => {
                let bytes = writes.iter().map(IndexWrite::bytes).sum::<u64>() + COMMIT_BYTES;
                self.lazy_bytes.fetch_add(bytes, Ordering::Relaxed);
            }
            Durability::Checkpoint => self.lazy_bytes.store(0, Ordering::Relaxed),
        }
        Ok(())
    }

    /// Runs a call of the database, which panics on pages that cannot be; none succeeds after that.
    fn guarded<T>(&self, call: impl FnOnce() -> Result<T, IndexError>) -> Result<T, IndexError> {
        let damaged = |reason| IndexError::Damaged { path: self.path.clone(), reason };
        if self.is_broken.load(Ordering::Acquire) {
            return Err(damaged("a page made no sense before"));
        }
        catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| {
            self.is_broken.store(true, Ordering::Release);
            Err(damaged("a page makes no sense"))
        })
    }

    /// A fact of the store itself.
    pub(crate) fn own(&self, key: &'static str) -> Result<Option<Vec<u8>>, IndexError> {
        self.get_in(OWN_TABLE, key.as_bytes())
    }

    fn get_in(&self, table: Definition, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        self.guarded(|| self.get_page(table, key))
    }

    fn get_page(&self, table: Definition, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        let read = self.database.begin_read().map_err(database)?;
        let table = match read.open_table(table) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(database(error)),
        };
        let value = table.get(key).map_err(database)?;
        Ok(value.map(|value| value.value().to_vec()))
    }
}

/// Opens the database and says whether all of it is what was written.
fn open_database(backend: Backend, cache_bytes: usize) -> Result<(Database, bool), IndexError> {
    let recover = |error| IndexError::Recover(Box::new(error));
    let mut builder = redb::Builder::new();
    builder.set_cache_size(cache_bytes);
    let mut database = builder.create_with_backend(backend).map_err(recover)?;
    let is_intact = database.check_integrity().map_err(recover)?;
    Ok((database, is_intact))
}

fn check_write(write: &IndexWrite) -> Result<(), IndexError> {
    let check = |what, len, max| {
        if len > max { Err(IndexError::TooLong { what, len, max }) } else { Ok(()) }
    };
    check("index key", write.key.len(), KEY_BYTES_MAX)?;
    check("index value", write.value.as_ref().map_or(0, Vec::len), VALUE_BYTES_MAX)
}

/// Whether no key can lie between the bounds; redb must not be asked then.
fn is_empty_range(from: Bound<&[u8]>, to: Bound<&[u8]>) -> bool {
    match (from, to) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Excluded(to))
        | (Bound::Excluded(from), Bound::Included(to)) => from >= to,
    }
}

/// The database's view of its file.
#[derive(Debug)]
struct Backend {
    file: Arc<dyn DiskFile>,
}

impl redb::StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_at(offset, data)
    }
}

#[cfg(test)]
mod tests;
