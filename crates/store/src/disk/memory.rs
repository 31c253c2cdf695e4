//! A disk in memory that can crash, tear writes and fail, for tests.
//!
//! Each file keeps what a sync made durable beside what readers see; each directory change is a
//! log entry until its directory is synced. [`MemoryDisk::crash`] throws the unsynced away, wholly
//! or in part, as a real power cut may. Changes are counted, so that a test can run a script once,
//! then again for every k with a crash or an error at change k.
//!
//! Invariant: handles opened before a crash fail afterwards, like those of a dead process.
//! Bounds: memory of the test; not for production.
//! Not here: directories' own durability; a directory is durable once made.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, DiskFile, OpenMode, check_path};
use crate::number::{to_u64, to_usize};

/// Unit in which a torn write keeps or loses bytes.
const SECTOR_BYTES: usize = 512;

/// What becomes of unsynced changes at a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashChoice {
    /// All unsynced changes are lost.
    DropAll,
    /// All unsynced changes happened after all.
    KeepAll,
    /// Each change is lost, kept or (a write) kept sector by sector, as the seed decides.
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

    /// Changes attempted so far: opens that may create, writes, length changes, syncs, renames,
    /// removals and new directories. Reads do not count.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Arms a fault for the change that has number `operation`, counted from 0.
    pub fn fail_at(&self, operation: u64, fault: Fault) {
        self.lock().fault = Some((operation, fault));
    }

    /// Whether an armed [`Fault::Crash`] has struck.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.lock().down
    }

    /// Cuts the power and comes back: unsynced changes go as `choice` says, old handles die.
    pub fn crash(&self, choice: CrashChoice) {
        let mut state = self.lock();
        let mut random = Random(match choice {
            CrashChoice::DropAll | CrashChoice::KeepAll => 0,
            CrashChoice::Tear(seed) => seed,
        });
        for inode in state.inodes.values_mut() {
            inode.crash(choice, &mut random);
        }
        let changes = std::mem::take(&mut state.changes);
        for change in changes {
            if keeps(choice, &mut random) {
                change.apply(&mut state.durable_names);
            }
        }
        state.names = state.durable_names.clone();
        state.down = false;
        state.fault = None;
        state.generation += 1;
        let linked: BTreeSet<u64> = state.names.values().copied().collect();
        state.inodes.retain(|id, _| linked.contains(id));
    }

    /// Changes stored bytes of a file behind everyone's back: rot, or an attacker at the disk.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such file.
    pub fn corrupt(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let mut state = self.lock();
        let id = state.find(path)?;
        let inode = state.inode(id)?;
        change(&mut inode.current);
        inode.durable = inode.current.clone();
        inode.pending.clear();
        Ok(())
    }

    /// Limits the bytes that may still be written; further writes fail with `StorageFull`.
    pub fn set_free_bytes(&self, bytes: u64) {
        self.lock().free_bytes = Some(bytes);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for MemoryDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        check_path(dir)?;
        let mut state = self.lock();
        if state.directories.contains(dir) {
            return state.check_up();
        }
        state.change()?;
        for ancestor in dir.ancestors() {
            state.directories.insert(ancestor.to_path_buf());
        }
        Ok(())
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        check_path(path)?;
        let mut state = self.lock();
        state.check_up()?;
        let found = state.names.get(path).copied();
        let id = match (mode, found) {
            (OpenMode::Read | OpenMode::ReadWrite, None) => {
                return Err(io::ErrorKind::NotFound.into());
            }
            (OpenMode::CreateNew, Some(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            (OpenMode::CreateNew | OpenMode::Create, None) => state.create(path)?,
            (OpenMode::Read | OpenMode::ReadWrite | OpenMode::Create, Some(id)) => id,
        };
        Ok(Arc::new(MemoryFile {
            disk: self.clone(),
            id,
            generation: state.generation,
            writable: mode != OpenMode::Read,
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        check_path(from)?;
        check_path(to)?;
        let mut state = self.lock();
        state.change()?;
        let inode = state.find(from)?;
        state.check_parent(to)?;
        state.log(NameChange::Rename { from: from.to_path_buf(), to: to.to_path_buf(), inode });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        check_path(path)?;
        let mut state = self.lock();
        state.change()?;
        state.find(path)?;
        state.log(NameChange::Remove { path: path.to_path_buf() });
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        check_path(dir)?;
        let state = self.lock();
        state.check_up()?;
        state.check_directory(dir)?;
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        check_path(dir)?;
        let mut state = self.lock();
        state.change()?;
        state.check_directory(dir)?;
        let changes = std::mem::take(&mut state.changes);
        for change in changes {
            if change.touches(dir) {
                change.apply(&mut state.durable_names);
            } else {
                state.changes.push(change);
            }
        }
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let state = self.lock();
        state.check_up()?;
        Ok(state.free_bytes.unwrap_or(u64::MAX))
    }
}

#[derive(Debug)]
struct MemoryFile {
    disk: MemoryDisk,
    id: u64,
    generation: u64,
    writable: bool,
}

impl MemoryFile {
    /// The state of the disk, if this handle outlived no crash.
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.lock();
        state.check_up()?;
        if state.generation != self.generation {
            return Err(io::Error::other("handle from before the crash"));
        }
        Ok(state)
    }

    fn change(&self, bytes: u64) -> io::Result<MutexGuard<'_, State>> {
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut state = self.state()?;
        state.change()?;
        state.spend(bytes)?;
        Ok(state)
    }
}

impl DiskFile for MemoryFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.state()?;
        let inode = state.inode(self.id)?;
        let start = to_usize(offset);
        let found = start.checked_add(out.len()).and_then(|end| inode.current.get(start..end));
        let Some(found) = found else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        out.copy_from_slice(found);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.change(to_u64(bytes.len()))?;
        let change = Change::Write { offset: to_usize(offset), bytes: bytes.to_vec() };
        state.inode(self.id)?.log(change);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(to_u64(self.state()?.inode(self.id)?.current.len()))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.change(0)?;
        state.inode(self.id)?.log(Change::SetLen(to_usize(len)));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state()?;
        let outcome = state.change();
        if outcome.is_err() {
            if !state.down {
                // The kernel marked the pages clean: no later sync writes them.
                state.inode(self.id)?.pending.clear();
            }
            return outcome;
        }
        let inode = state.inode(self.id)?;
        inode.durable = inode.current.clone();
        inode.pending.clear();
        Ok(())
    }
}

#[derive(Debug, Default)]
struct State {
    inodes: BTreeMap<u64, Inode>,
    /// What readers see.
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    /// Name changes whose directory was not synced yet, in order.
    changes: Vec<NameChange>,
    directories: BTreeSet<PathBuf>,
    next_inode: u64,
    generation: u64,
    operations: u64,
    fault: Option<(u64, Fault)>,
    down: bool,
    free_bytes: Option<u64>,
}

impl State {
    fn check_up(&self) -> io::Result<()> {
        if self.down { Err(io::Error::other("disk is down")) } else { Ok(()) }
    }

    /// Counts one change and lets an armed fault strike.
    fn change(&mut self) -> io::Result<()> {
        self.check_up()?;
        let number = self.operations;
        self.operations += 1;
        match self.fault {
            Some((at, fault)) if at == number => match fault {
                Fault::Crash => {
                    self.down = true;
                    self.check_up()
                }
                Fault::Error(kind) => Err(kind.into()),
            },
            Some(_) | None => Ok(()),
        }
    }

    fn spend(&mut self, bytes: u64) -> io::Result<()> {
        let Some(free) = self.free_bytes else {
            return Ok(());
        };
        let Some(left) = free.checked_sub(bytes) else {
            return Err(io::ErrorKind::StorageFull.into());
        };
        self.free_bytes = Some(left);
        Ok(())
    }

    fn find(&self, path: &Path) -> io::Result<u64> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn inode(&mut self, id: u64) -> io::Result<&mut Inode> {
        Ok(self.inodes.entry(id).or_default())
    }

    fn create(&mut self, path: &Path) -> io::Result<u64> {
        self.change()?;
        self.check_parent(path)?;
        let inode = self.next_inode;
        self.next_inode += 1;
        self.inodes.insert(inode, Inode::default());
        self.log(NameChange::Create { path: path.to_path_buf(), inode });
        Ok(inode)
    }

    fn log(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.changes.push(change);
    }

    fn check_parent(&self, path: &Path) -> io::Result<()> {
        self.check_directory(path.parent().unwrap_or_else(|| Path::new("")))
    }

    fn check_directory(&self, dir: &Path) -> io::Result<()> {
        if dir.as_os_str().is_empty() || self.directories.contains(dir) {
            return Ok(());
        }
        Err(io::ErrorKind::NotFound.into())
    }
}

#[derive(Debug)]
enum NameChange {
    Create { path: PathBuf, inode: u64 },
    Remove { path: PathBuf },
    Rename { from: PathBuf, to: PathBuf, inode: u64 },
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Create { path, inode } => {
                names.insert(path.clone(), *inode);
            }
            Self::Remove { path } => {
                names.remove(path);
            }
            Self::Rename { from, to, inode } => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
        }
    }

    fn touches(&self, dir: &Path) -> bool {
        match self {
            Self::Create { path, .. } | Self::Remove { path } => path.parent() == Some(dir),
            Self::Rename { from, to, .. } => from.parent() == Some(dir) || to.parent() == Some(dir),
        }
    }
}

#[derive(Debug, Default)]
struct Inode {
    current: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

impl Inode {
    fn log(&mut self, change: Change) {
        change.apply(&mut self.current);
        self.pending.push(change);
    }

    fn crash(&mut self, choice: CrashChoice, random: &mut Random) {
        for change in std::mem::take(&mut self.pending) {
            match choice {
                CrashChoice::DropAll => {}
                CrashChoice::KeepAll => change.apply(&mut self.durable),
                CrashChoice::Tear(_) => change.tear(&mut self.durable, random),
            }
        }
        self.current = self.durable.clone();
    }
}

#[derive(Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => put(content, *offset, bytes),
            Self::SetLen(len) => content.resize(*len, 0),
        }
    }

    /// Applies all, nothing or some sectors.
    fn tear(&self, content: &mut Vec<u8>, random: &mut Random) {
        match (random.next() % 3, self) {
            (0, _) => {}
            (1, change) => change.apply(content),
            (_, Self::SetLen(len)) => content.resize(*len, 0),
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
    let end = offset.saturating_add(bytes.len());
    if content.len() < end {
        content.resize(end, 0);
    }
    if let Some(target) = content.get_mut(offset..end) {
        target.copy_from_slice(bytes);
    }
}

fn keeps(choice: CrashChoice, random: &mut Random) -> bool {
    match choice {
        CrashChoice::DropAll => false,
        CrashChoice::KeepAll => true,
        CrashChoice::Tear(_) => random.next().is_multiple_of(2),
    }
}

/// SplitMix64: enough to choose what a crash loses.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(disk: &MemoryDisk, path: &str) -> Option<Vec<u8>> {
        let file = disk.open(Path::new(path), OpenMode::Read).ok()?;
        let mut bytes = vec![0; to_usize(file.len().unwrap())];
        file.read_at(0, &mut bytes).unwrap();
        Some(bytes)
    }

    #[test]
    fn unsynced_bytes_and_names_are_lost() {
        let disk = MemoryDisk::new();
        let file = disk.open(Path::new("a"), OpenMode::CreateNew).unwrap();
        file.write_at(0, b"one").unwrap();
        file.sync().unwrap();
        disk.sync_dir(Path::new("")).unwrap();
        file.write_at(0, b"two").unwrap();
        disk.open(Path::new("b"), OpenMode::CreateNew).unwrap();
        disk.crash(CrashChoice::DropAll);
        assert_eq!(content(&disk, "a").unwrap(), b"one");
        assert_eq!(content(&disk, "b"), None);
        assert!(file.len().is_err(), "handle must die");
    }

    #[test]
    fn a_rename_is_old_or_new_but_never_neither() {
        for seed in 0..64 {
            let disk = MemoryDisk::new();
            let file = disk.open(Path::new("a"), OpenMode::CreateNew).unwrap();
            file.sync().unwrap();
            disk.sync_dir(Path::new("")).unwrap();
            disk.rename(Path::new("a"), Path::new("b")).unwrap();
            disk.crash(CrashChoice::Tear(seed));
            assert_eq!(disk.list(Path::new("")).unwrap().len(), 1);
        }
    }

    #[test]
    fn tearing_keeps_some_sectors_of_some_writes() {
        let mut outcomes = BTreeSet::new();
        for seed in 0..64 {
            let disk = MemoryDisk::new();
            let file = disk.open(Path::new("a"), OpenMode::CreateNew).unwrap();
            disk.sync_dir(Path::new("")).unwrap();
            file.write_at(0, &[7; 4 * SECTOR_BYTES]).unwrap();
            disk.crash(CrashChoice::Tear(seed));
            outcomes.insert(content(&disk, "a").unwrap());
        }
        assert!(outcomes.len() > 8, "only {} outcomes", outcomes.len());
    }

    #[test]
    fn a_crash_at_change_k_stops_everything_until_the_power_returns() {
        let disk = MemoryDisk::new();
        disk.fail_at(1, Fault::Crash);
        let file = disk.open(Path::new("a"), OpenMode::CreateNew).unwrap();
        assert!(file.write_at(0, b"x").is_err());
        assert!(disk.is_down());
        assert!(disk.list(Path::new("")).is_err());
        disk.crash(CrashChoice::KeepAll);
        assert_eq!(content(&disk, "a").unwrap(), b"");
    }
}
