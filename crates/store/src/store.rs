//! One node's storage as a whole: identity, journal, index and fragments that belong together.
//!
//! ```text
//! vote:       append -> sync -> (leaves the node)            journal
//! effect:     apply(writes, applied_before), lazy            index, behind the journal
//! now & then: checkpoint = journal sync, then index durable with `applied_before`
//! start:      index as of the last checkpoint + replay of the records after it = index up to date
//! ```
//! Files of a data directory: `store` (identity), `journal/`, `index.redb`, `fragments/`.
//!
//! Each open increments the boot counter durably; with the journal position it is what peers remember
//! of this node, so that a wiped or restored directory is recognised.
//!
//! Spec: docs/protocol.md AMNESIA-1, LINK-1.
//! Invariant: the durable index never contains the effect of a record that is not durable itself.
//! Bounds: lazy index commits up to [`LAZY_BYTES_MAX`], then a checkpoint happens by itself.
//! Not here: what records and keys mean, when the journal's old end may go (`node`).

mod identity;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::disk::Disk;
use crate::disk::guard::GuardedDisk;
use crate::fragment::{FragmentError, FragmentStore, NodeHash};
use crate::index::{Durability, Index, IndexError, IndexWrite};
use crate::journal::{Journal, JournalConfig, JournalError, SEGMENT_BYTES_DEFAULT};

/// What lazy index commits may hold before a checkpoint: what a start replays at most, about.
pub const LAZY_BYTES_MAX: u64 = 32 << 20;
/// Memory for index pages unless told otherwise.
pub const INDEX_CACHE_BYTES_DEFAULT: usize = 64 << 20;
/// Index writes gathered during replay before they are applied.
const REPLAY_WRITES_MAX: usize = 4096;

const JOURNAL_DIR: &str = "journal";
const FRAGMENT_DIR: &str = "fragments";
const INDEX_NAME: &str = "index.redb";
const OWN_ID: &str = "id";
const OWN_BOOT: &str = "boot";
const OWN_CHECKPOINT: &str = "checkpoint";
/// Absent in stores of older builds.
const OWN_APPLIED: &str = "applied";

/// Names one data directory for ever; drawn at random when it is made, told to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreId(pub [u8; 16]);

/// What a store is opened with.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Identity if the store has to be made; random.
    pub new_id: StoreId,
    /// Hash of inner nodes of stripe trees.
    pub node_hash: NodeHash,
    /// Memory for index pages.
    pub index_cache_bytes: usize,
    /// Length at which a journal segment is closed.
    pub segment_bytes: u64,
}

impl StoreConfig {
    /// The default sizes.
    #[must_use]
    pub fn new(new_id: StoreId, node_hash: NodeHash) -> Self {
        Self {
            new_id,
            node_hash,
            index_cache_bytes: INDEX_CACHE_BYTES_DEFAULT,
            segment_bytes: SEGMENT_BYTES_DEFAULT,
        }
    }
}

/// What an open found and did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Whether the store was made by this open.
    pub created: bool,
    /// How often the store was opened, this time included (AMNESIA-1).
    pub boot: u64,
    /// Records handed to the caller.
    pub replayed: u64,
    /// Position after the last durable record (AMNESIA-1).
    pub journal_position: u64,
    /// Files of unfinished fragments that were removed.
    pub temporaries_removed: u64,
}

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A sync failed earlier; the process must restart.
    #[error("an earlier sync failed, the store is poisoned until restart")]
    Poisoned,
    /// The disk failed.
    #[error("store")]
    Disk(#[from] io::Error),
    /// The journal failed or is damaged.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The index failed or is damaged.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The fragment directory failed.
    #[error(transparent)]
    Fragment(#[from] FragmentError),
    /// Parts of the data directory are missing or do not belong together.
    #[error("store is damaged: {0}; this node must not vote again under its identity")]
    Damaged(&'static str),
    /// The directory was made by a build whose format this one does not read.
    #[error("store has format version {0}, which this build does not read")]
    Version(u32),
}

impl StoreError {
    /// Whether votes may have been forgotten: the node halts and demands a new identity (AMNESIA-1).
    #[must_use]
    pub fn is_amnesia(&self) -> bool {
        match self {
            Self::Damaged(_) | Self::Journal(JournalError::Damaged { .. }) => true,
            Self::Index(error) => error.is_damage(),
            Self::Poisoned
            | Self::Disk(_)
            | Self::Journal(_)
            | Self::Fragment(_)
            | Self::Version(_) => false,
        }
    }
}

/// Journal, index and fragments of one node; shared by its threads.
#[derive(Debug)]
pub struct Store {
    disk: Arc<GuardedDisk>,
    id: StoreId,
    boot: u64,
    journal: Journal,
    index: Index,
    fragments: FragmentStore,
    /// All records below this are contained in the index; held while the index is written.
    applied: Mutex<u64>,
}

impl Store {
    /// Opens the store on a disk, making it if there is none, and brings the index up to date.
    ///
    /// `replay` turns each record the index may not contain yet into index writes; it is called in
    /// journal order, possibly for records that were applied before: writes are plain puts and removes,
    /// so repeating them all in order ends in the same state. What was replayed is durable on return.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`]; with [`StoreError::is_amnesia`] the node must not vote again.
    pub fn open(
        disk: Arc<dyn Disk>,
        config: &StoreConfig,
        replay: &mut dyn FnMut(u64, &[u8]) -> Vec<IndexWrite>,
    ) -> Result<(Self, Recovery), StoreError> {
        let disk = Arc::new(GuardedDisk::new(disk));
        let shared: Arc<dyn Disk> = disk.clone();
        let found = identity::read(&*shared)?;
        let (id, index, journal, replayed) = match found {
            None => Self::make(&shared, config)?,
            Some(id) => Self::recover(&shared, config, id, replay)?,
        };
        let boot = own_number(&index, OWN_BOOT)?.saturating_add(1);
        let applied = journal.durable_position();
        let own = [(OWN_BOOT, number(boot)), (OWN_CHECKPOINT, number(applied))];
        index.commit(&[], &own, Durability::Checkpoint)?;
        let fragment_dir = Path::new(FRAGMENT_DIR);
        let (fragments, temporaries_removed) =
            FragmentStore::open(shared, fragment_dir, config.node_hash)?;
        let recovery = Recovery {
            created: found.is_none(),
            boot,
            replayed,
            journal_position: applied,
            temporaries_removed,
        };
        let applied = Mutex::new(applied);
        Ok((Self { disk, id, boot, journal, index, fragments, applied }, recovery))
    }

    /// Makes an empty store; the identity file comes last.
    fn make(
        disk: &Arc<dyn Disk>,
        config: &StoreConfig,
    ) -> Result<(StoreId, Index, Journal, u64), StoreError> {
        let id = config.new_id;
        let journal = Journal::create(Arc::clone(disk), journal_config(config, id))?;
        match disk.remove(Path::new(INDEX_NAME)) {
            Ok(()) => disk.sync_dir(Path::new(""))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        let index = Index::open(&**disk, Path::new(INDEX_NAME), config.index_cache_bytes)?;
        let own = [(OWN_ID, id.0.to_vec()), (OWN_BOOT, number(0)), (OWN_CHECKPOINT, number(0))];
        index.commit(&[], &own, Durability::Checkpoint)?;
        identity::write(&**disk, id)?;
        Ok((id, index, journal, 0))
    }

    /// Opens an existing store: everything must be there and belong to it.
    fn recover(
        disk: &Arc<dyn Disk>,
        config: &StoreConfig,
        id: StoreId,
        replay: &mut dyn FnMut(u64, &[u8]) -> Vec<IndexWrite>,
    ) -> Result<(StoreId, Index, Journal, u64), StoreError> {
        let index_path = PathBuf::from(INDEX_NAME);
        // A process killed at the end of a creation may never have synced the identity's name.
        disk.sync_dir(Path::new(""))?;
        if !disk.list(Path::new(""))?.iter().any(|name| name == INDEX_NAME) {
            return Err(StoreError::Damaged("index file is missing"));
        }
        let index = Index::open(&**disk, &index_path, config.index_cache_bytes)?;
        if index.own(OWN_ID)?.as_deref() != Some(id.0.as_slice()) {
            return Err(StoreError::Damaged("index belongs to another store"));
        }
        let checkpoint = own_number(&index, OWN_CHECKPOINT)?;
        let mut apply = Replay { index: &index, writes: Vec::new(), failed: None };
        let mut replayed = 0;
        let journal = Journal::open(
            Arc::clone(disk),
            journal_config(config, id),
            &mut |position, record| {
                if position >= checkpoint {
                    replayed += 1;
                    apply.add(replay(position, record));
                }
            },
        )?;
        apply.flush();
        if let Some(error) = apply.failed {
            return Err(error.into());
        }
        let applied = index.own(OWN_APPLIED)?.map_or(Ok(0), parse_number)?;
        if journal.durable_position() < checkpoint.max(applied) {
            return Err(StoreError::Damaged("journal ends before what the index contains"));
        }
        if journal.first_position() > checkpoint {
            return Err(StoreError::Damaged("journal starts after the last checkpoint"));
        }
        Ok((id, index, journal, replayed))
    }

    /// Identity of the data directory.
    #[must_use]
    pub fn id(&self) -> StoreId {
        self.id
    }

    /// How often this store was opened, this time included (AMNESIA-1).
    #[must_use]
    pub fn boot(&self) -> u64 {
        self.boot
    }

    /// Adds a record to the journal and returns its position; durable only after [`Store::sync`].
    ///
    /// # Errors
    ///
    /// [`StoreError::Poisoned`] or [`StoreError::Journal`].
    pub fn append(&self, record: &[u8]) -> Result<u64, StoreError> {
        self.check()?;
        Ok(self.journal.append(record)?)
    }

    /// Makes everything appended so far durable; returns the position after it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Poisoned`] or [`StoreError::Journal`].
    pub fn sync(&self) -> Result<u64, StoreError> {
        self.check()?;
        Ok(self.journal.sync()?)
    }

    /// Makes index writes visible, without a sync of their own.
    ///
    /// `applied_before`: with these writes the index contains all records below this position.
    /// Pass 0 for writes that come from no record. When lazy commits have grown to
    /// [`LAZY_BYTES_MAX`], this call is a checkpoint.
    ///
    /// # Errors
    ///
    /// [`StoreError::Poisoned`], [`StoreError::Journal`] or [`StoreError::Index`].
    pub fn apply(&self, writes: &[IndexWrite], applied_before: u64) -> Result<(), StoreError> {
        self.check()?;
        let mut applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        let contained = applied_before.max(*applied);
        // A clean end makes lazy commits durable, too: then the next open knows that the journal
        // reached this far.
        let own = [(OWN_APPLIED, number(contained))];
        self.index.commit(writes, &own, Durability::Lazy)?;
        *applied = contained;
        if self.index.lazy_bytes() >= LAZY_BYTES_MAX {
            self.make_checkpoint(*applied)?;
        }
        Ok(())
    }

    /// Makes the index durable, and with it how far the journal is contained in it; then drops whole
    /// journal segments that are below both that position and `keep_from`.
    ///
    /// `keep_from`: the oldest position a peer's cursor still needs (LINK-1).
    ///
    /// # Errors
    ///
    /// [`StoreError::Poisoned`], [`StoreError::Journal`] or [`StoreError::Index`].
    pub fn checkpoint(&self, keep_from: u64) -> Result<(), StoreError> {
        self.check()?;
        let applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        let contained = self.make_checkpoint(*applied)?;
        Ok(self.journal.release_before(contained.min(keep_from))?)
    }

    fn make_checkpoint(&self, applied: u64) -> Result<u64, StoreError> {
        // First the records, then their effects: never the other way round.
        let durable = self.journal.sync()?;
        let contained = applied.min(durable);
        let own = [(OWN_CHECKPOINT, number(contained))];
        self.index.commit(&[], &own, Durability::Checkpoint)?;
        Ok(contained)
    }

    /// The journal, for positions and for reading behind a peer's cursor.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The index, for reading. Writes go through [`Store::apply`].
    #[must_use]
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// The fragments.
    #[must_use]
    pub fn fragments(&self) -> &FragmentStore {
        &self.fragments
    }

    /// Bytes this process may still write.
    ///
    /// # Errors
    ///
    /// [`StoreError::Poisoned`] or [`StoreError::Disk`].
    pub fn free_bytes(&self) -> Result<u64, StoreError> {
        self.check()?;
        Ok(self.disk.free_bytes()?)
    }

    /// Whether a sync has failed: the process must restart and recover.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.disk.is_poisoned()
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.disk.is_poisoned() { Err(StoreError::Poisoned) } else { Ok(()) }
    }
}

/// Applies what replay yields in batches; the first failure stops it.
struct Replay<'a> {
    index: &'a Index,
    writes: Vec<IndexWrite>,
    failed: Option<IndexError>,
}

impl Replay<'_> {
    fn add(&mut self, mut writes: Vec<IndexWrite>) {
        self.writes.append(&mut writes);
        if self.writes.len() >= REPLAY_WRITES_MAX {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.failed.is_none() && !self.writes.is_empty() {
            self.failed = self.index.apply(&self.writes, Durability::Lazy).err();
        }
        self.writes.clear();
    }
}

fn journal_config(config: &StoreConfig, store: StoreId) -> JournalConfig {
    let dir = PathBuf::from(JOURNAL_DIR);
    JournalConfig { dir, store, segment_bytes: config.segment_bytes }
}

fn number(value: u64) -> Vec<u8> {
    value.to_le_bytes().to_vec()
}

fn own_number(index: &Index, key: &'static str) -> Result<u64, StoreError> {
    parse_number(index.own(key)?.ok_or(StoreError::Damaged("index lacks a number of its own"))?)
}

fn parse_number(bytes: Vec<u8>) -> Result<u64, StoreError> {
    let bytes = <[u8; 8]>::try_from(bytes);
    let bytes = bytes.map_err(|_| StoreError::Damaged("index has a number of the wrong size"))?;
    Ok(u64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests;
