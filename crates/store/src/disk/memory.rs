//! A disk in memory that can crash, tear writes, lie and fail, for tests and simulators.
//!
//! Each file keeps what a sync made durable beside what readers see; each change of a name is a log
//! entry until its directory is synced. [`MemoryDisk::crash`] throws the unsynced away, wholly or in
//! part, as a real power cut may. Changes are counted, so that a test can run a script once, then
//! again for every k with a crash or an error at change k ([`MemoryDisk::fail_at`]). For anything
//! else a [`DiskAdversary`] is asked at every operation.
//!
//! | what happens | how |
//! |---|---|
//! | a process is killed | [`MountedDisk::unmount`]: its calls fail, the cache stays |
//! | the power goes | [`MemoryDisk::crash`]: every mount dies, the unsynced goes as chosen |
//! | a write is lost, misdirected or spoilt, a sync lies | [`Verdict`] |
//! | a read, write or sync fails | [`Verdict`], [`Fault::Error`] |
//! | rot | [`MemoryDisk::flip_bit`], [`MemoryDisk::corrupt`] |
//! | the disk is full | [`MemoryDisk::set_free_bytes`] |
//! | an old disk, a copied disk, an empty disk | [`MemoryDisk::duplicate`], [`MemoryDisk::restore`] |
//!
//! Nothing is random but what [`CrashChoice::Tear`] and the adversary draw from their seeds.
//!
//! Invariant: handles opened before a crash or an unmount fail afterwards, like those of a dead
//! process.
//! Bounds: memory of the test; not for production.
//! Not here: directories' own durability; a directory is durable once made.

mod adversary;
mod inode;
mod mount;
mod names;
mod state;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, DiskFile, OpenMode};

pub use adversary::{DiskAdversary, Operation, OperationKind, Verdict};
pub use mount::MountedDisk;
use state::{Caller, State};

/// What becomes of unsynced changes at a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashChoice {
    /// All unsynced changes are lost.
    DropAll,
    /// All unsynced changes happened after all.
    KeepAll,
    /// Each change is lost, kept or (a write) kept sector by sector, as the seed decides. Changes of
    /// different files and places are independent, so a later one may survive an earlier one.
    Tear(u64),
}

/// What happens at the chosen change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The change happens no more and every later call fails, until [`MemoryDisk::crash`].
    Crash,
    /// This one change fails with this kind of error; a sync that fails loses the unsynced bytes.
    Error(io::ErrorKind),
}

/// A disk in memory; clones share it.
///
/// As a [`Disk`] it serves whoever holds it and outlives crashes; a process is given a
/// [`MemoryDisk::mount`] of its own.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
}

impl MemoryDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The disk for one life of one process; it ends with [`MountedDisk::unmount`] or a crash.
    #[must_use]
    pub fn mount(&self) -> MountedDisk {
        let mut state = self.lock();
        let caller = Caller { mount: state.mount(), generation: state.generation };
        drop(state);
        MountedDisk::new(self.clone(), caller)
    }

    /// Changes attempted so far: opens that make a file, writes, length changes, syncs, renames,
    /// removals and new directories. Reads do not count.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Arms a fault for the change that has number `operation`, counted from 0.
    pub fn fail_at(&self, operation: u64, fault: Fault) {
        self.lock().fault = Some((operation, fault));
    }

    /// Asks `adversary` about every operation from now on, across crashes; none: all succeed.
    ///
    /// It sees every operation, and is overruled where [`MemoryDisk::fail_at`] strikes.
    pub fn set_adversary(&self, adversary: Option<Box<dyn DiskAdversary>>) {
        self.lock().adversary = adversary;
    }

    /// Whether a [`Fault::Crash`] or [`Verdict::Crash`] has struck.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.lock().down
    }

    /// Cuts the power and comes back: unsynced changes go as `choice` says, mounts and handles die.
    pub fn crash(&self, choice: CrashChoice) {
        self.lock().crash(choice);
    }

    /// Shows readers what the disk holds: lost, misdirected and spoilt writes come to light.
    pub fn drop_caches(&self) {
        self.lock().drop_caches();
    }

    /// A second disk with the same content, unsynced changes included: an image to go back to, or
    /// the copy a second process with the same identity is started from. No fault is armed on it.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        let state = self.lock().duplicate();
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Replaces the content by that of `image`; mounts and handles die, adversary, count of
    /// operations and size of this disk stay. A new disk as image is a wiped one.
    pub fn restore(&self, image: &Self) {
        let image = image.lock().duplicate();
        self.lock().restore(image);
    }

    /// Every file, by path, with its length.
    #[must_use]
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        self.lock().files()
    }

    /// All bytes of a file as readers see them, without an operation.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such file.
    pub fn content(&self, path: &Path) -> io::Result<Vec<u8>> {
        Ok(self.lock().file_mut(path)?.content().to_vec())
    }

    /// Changes stored bytes of a file behind everyone's back: rot, or an attacker at the disk.
    /// Unsynced bytes of the file are durable afterwards.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such file.
    pub fn corrupt(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        self.lock().file_mut(path)?.corrupt(change);
        Ok(())
    }

    /// Flips one bit of a file at rest, counted from its first byte, modulo its length. What was
    /// unsynced stays so.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such file.
    pub fn flip_bit(&self, path: &Path, bit: u64) -> io::Result<()> {
        self.lock().file_mut(path)?.flip_bit(bit);
        Ok(())
    }

    /// Leaves room for `bytes` more than is stored now; none: for everything. Writes beyond fail with
    /// `StorageFull`. Space is taken in blocks of 4 KiB by what is written, not by holes, and comes
    /// back when a file is cut, removed or replaced, open or not.
    pub fn set_free_bytes(&self, bytes: impl Into<Option<u64>>) {
        self.lock().set_free_bytes(bytes.into());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever holds the disk itself, as of now.
    fn anyone(&self) -> MountedDisk {
        let generation = self.lock().generation;
        MountedDisk::new(self.clone(), Caller { mount: 0, generation })
    }
}

impl Disk for MemoryDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.anyone().create_dir_all(dir)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        self.anyone().open(path, mode)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.anyone().rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.anyone().remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.anyone().list(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.anyone().sync_dir(dir)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.anyone().free_bytes()
    }
}

/// SplitMix64: enough to choose what a crash loses.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn new(choice: CrashChoice) -> Self {
        match choice {
            CrashChoice::DropAll | CrashChoice::KeepAll => Self(0),
            CrashChoice::Tear(seed) => Self(seed),
        }
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests;
