//! What all handles of one disk in memory share, and how an operation is carried out on it.
//!
//! Every operation is checked (is there power, does the caller still live), counted, put to the
//! armed fault and the adversary, and only then done.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use super::adversary::{DiskAdversary, Fate, Operation, OperationKind, Verdict, flip};
use super::inode::Inode;
use super::names::{NameChange, Names};
use super::{CrashChoice, Fault, Random};
use crate::number::{to_u64, to_usize};

/// Who calls: a mount, in the life of the disk it was made in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller {
    /// 0 for the disk itself, which is never fenced.
    pub(super) mount: u64,
    /// Crashes before the handle was made.
    pub(super) generation: u64,
}

#[derive(Debug, Default)]
pub(super) struct State {
    inodes: BTreeMap<u64, Inode>,
    names: Names,
    directories: BTreeSet<PathBuf>,
    next_inode: u64,
    pub(super) generation: u64,
    pub(super) operations: u64,
    pub(super) fault: Option<(u64, Fault)>,
    pub(super) adversary: Option<Box<dyn DiskAdversary>>,
    pub(super) down: bool,
    /// Bytes of all files together may not exceed this.
    capacity: Option<u64>,
    mounts: BTreeSet<u64>,
    next_mount: u64,
    /// Whether files may be open that belong to no mount.
    is_held: bool,
}

impl State {
    /// The same files, bytes, unsynced changes and capacity; nobody mounts it and nothing is armed.
    pub(super) fn duplicate(&self) -> Self {
        Self {
            inodes: self.inodes.clone(),
            names: self.names.clone(),
            directories: self.directories.clone(),
            next_inode: self.next_inode,
            capacity: self.capacity,
            ..Self::default()
        }
    }

    /// Takes the content of `other`; counters go on, and whoever held this disk is dead.
    pub(super) fn restore(&mut self, other: Self) {
        self.inodes = other.inodes;
        self.names = other.names;
        self.directories = other.directories;
        self.next_inode = other.next_inode;
        self.revive();
    }

    pub(super) fn mount(&mut self) -> u64 {
        self.next_mount += 1;
        self.mounts.insert(self.next_mount);
        self.next_mount
    }

    pub(super) fn unmount(&mut self, mount: u64) {
        self.mounts.remove(&mount);
        self.drop_nameless();
    }

    /// Notes that the caller gets a handle.
    pub(super) fn hold(&mut self, caller: Caller) {
        self.is_held |= caller.mount == 0;
    }

    pub(super) fn is_mounted(&self, mount: u64) -> bool {
        self.mounts.contains(&mount)
    }

    pub(super) fn crash(&mut self, choice: CrashChoice) {
        let mut random = Random::new(choice);
        for inode in self.inodes.values_mut() {
            inode.crash(choice, &mut random);
        }
        self.names.crash(choice, &mut random);
        self.revive();
    }

    fn revive(&mut self) {
        self.down = false;
        self.fault = None;
        self.generation += 1;
        self.mounts.clear();
        self.is_held = false;
        self.drop_nameless();
    }

    pub(super) fn drop_caches(&mut self) {
        self.inodes.values_mut().for_each(Inode::drop_cache);
        self.names.drop_cache();
    }

    /// Frees files without a name once no handle can be open.
    fn drop_nameless(&mut self) {
        if self.mounts.is_empty() && !self.is_held {
            let named = self.names.inodes();
            self.inodes.retain(|id, _| named.contains(id));
        }
    }

    pub(super) fn set_free_bytes(&mut self, bytes: Option<u64>) {
        self.capacity = bytes.map(|bytes| self.bytes_taken().saturating_add(bytes));
    }

    pub(super) fn free_bytes(&self) -> u64 {
        self.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.bytes_taken()))
    }

    fn bytes_taken(&self) -> u64 {
        self.names.iter().filter_map(|(_, id)| self.inodes.get(&id)).map(Inode::bytes_taken).sum()
    }

    pub(super) fn files(&self) -> Vec<(PathBuf, u64)> {
        let len = |id| self.inodes.get(&id).map_or(0, Inode::len);
        self.names.iter().map(|(path, id)| (path.clone(), len(id))).collect()
    }

    /// The file behind a name, out of the adversary's sight.
    pub(super) fn file_mut(&mut self, path: &Path) -> io::Result<&mut Inode> {
        let id = self.find(path)?;
        Ok(self.inode(id))
    }

    pub(super) fn check(&self, caller: Caller) -> io::Result<()> {
        if self.down {
            return Err(io::Error::other("disk is down"));
        }
        if self.generation != caller.generation {
            return Err(io::Error::other("handle from before the crash"));
        }
        if caller.mount != 0 && !self.mounts.contains(&caller.mount) {
            return Err(io::Error::other("disk was unmounted"));
        }
        Ok(())
    }

    /// Checks and counts one operation and asks what becomes of it.
    fn ask(&mut self, caller: Caller, mut operation: Operation<'_>) -> io::Result<Verdict> {
        self.check(caller)?;
        operation.number = self.operations;
        operation.mount = caller.mount;
        if operation.kind.is_change() {
            self.operations += 1;
        }
        let armed =
            self.fault.filter(|(at, _)| operation.kind.is_change() && *at == operation.number);
        let mut verdict = match armed {
            Some((_, Fault::Crash)) => Verdict::Crash,
            Some((_, Fault::Error(kind))) => Verdict::Fail(kind),
            None => Verdict::Go,
        };
        if let Some(adversary) = &mut self.adversary {
            let answer = adversary.at(&operation);
            if verdict == Verdict::Go {
                verdict = answer;
            }
        }
        if verdict == Verdict::Crash {
            self.down = true;
            self.check(caller)?;
        }
        Ok(verdict)
    }

    pub(super) fn create_dir_all(&mut self, caller: Caller, dir: &Path) -> io::Result<()> {
        if self.directories.contains(dir) {
            return self.check(caller);
        }
        let fate = self.ask(caller, plain(OperationKind::CreateDir, dir))?.fate();
        if let Fate::Fails(kind) = fate {
            return Err(kind.into());
        }
        for ancestor in dir.ancestors() {
            self.directories.insert(ancestor.to_path_buf());
        }
        outcome(fate)
    }

    /// The file at `path`, which the caller found.
    pub(super) fn open(&mut self, caller: Caller, path: &Path, id: u64) -> io::Result<u64> {
        outcome(self.ask(caller, plain(OperationKind::Open, path))?.fate())?;
        Ok(id)
    }

    pub(super) fn create(&mut self, caller: Caller, path: &Path) -> io::Result<u64> {
        let fate = self.ask(caller, plain(OperationKind::Create, path))?.fate();
        self.check_parent(path)?;
        let inode = self.next_inode;
        self.next_inode += 1;
        self.change_names(fate, NameChange::Create { path: path.to_path_buf(), inode })?;
        self.inodes.insert(inode, Inode::default());
        Ok(inode)
    }

    pub(super) fn rename(&mut self, caller: Caller, from: &Path, to: &Path) -> io::Result<()> {
        let operation = Operation { target: Some(to), ..plain(OperationKind::Rename, from) };
        let fate = self.ask(caller, operation)?.fate();
        let inode = self.find(from)?;
        self.check_parent(to)?;
        let (from, to) = (from.to_path_buf(), to.to_path_buf());
        self.change_names(fate, NameChange::Rename { from, to, inode })
    }

    pub(super) fn remove(&mut self, caller: Caller, path: &Path) -> io::Result<()> {
        let fate = self.ask(caller, plain(OperationKind::Remove, path))?.fate();
        self.find(path)?;
        self.change_names(fate, NameChange::Remove { path: path.to_path_buf() })
    }

    fn change_names(&mut self, fate: Fate, change: NameChange) -> io::Result<()> {
        match fate {
            Fate::Happens | Fate::HappensAndFails(_) => self.names.change(change),
            Fate::Lost => self.names.lose(&change),
            Fate::Fails(_) => {}
        }
        outcome(fate)
    }

    pub(super) fn list(&mut self, caller: Caller, dir: &Path) -> io::Result<Vec<String>> {
        outcome(self.ask(caller, plain(OperationKind::List, dir))?.fate())?;
        self.check_directory(dir)?;
        let inside = self.names.iter().filter(|(path, _)| path.parent() == Some(dir));
        Ok(inside.filter_map(|(path, _)| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    pub(super) fn sync_dir(&mut self, caller: Caller, dir: &Path) -> io::Result<()> {
        let fate = self.ask(caller, plain(OperationKind::SyncDir, dir))?.fate();
        self.check_directory(dir)?;
        match fate {
            Fate::Happens => self.names.sync(dir),
            Fate::Lost | Fate::Fails(_) => {}
            Fate::HappensAndFails(_) => self.names.sync_halfway(dir),
        }
        outcome(fate)
    }

    pub(super) fn read_at(
        &mut self,
        (caller, path, id): (Caller, &Path, u64),
        offset: u64,
        out: &mut [u8],
    ) -> io::Result<()> {
        let len = to_u64(out.len());
        let operation = Operation { offset, len, ..plain(OperationKind::Read, path) };
        let verdict = self.ask(caller, operation)?;
        outcome(verdict.fate())?;
        self.inode(id).read(offset, out)?;
        if let Verdict::FlipBit { bit } = verdict {
            flip(out, bit);
        }
        Ok(())
    }

    pub(super) fn write_at(
        &mut self,
        (caller, path, id): (Caller, &Path, u64),
        offset: u64,
        bytes: &[u8],
    ) -> io::Result<()> {
        let len = to_u64(bytes.len());
        let operation = Operation { offset, len, bytes, ..plain(OperationKind::Write, path) };
        let verdict = self.ask(caller, operation)?;
        if self.capacity.is_some()
            && self.inode(id).bytes_to_take(to_usize(offset), bytes.len()) > self.free_bytes()
        {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.inode(id).write(to_usize(offset), bytes, verdict)
    }

    pub(super) fn set_len(
        &mut self,
        (caller, path, id): (Caller, &Path, u64),
        len: u64,
    ) -> io::Result<()> {
        let operation = Operation { len, ..plain(OperationKind::SetLen, path) };
        let fate = self.ask(caller, operation)?.fate();
        match fate {
            Fate::Happens | Fate::HappensAndFails(_) => self.inode(id).set_len(to_usize(len)),
            Fate::Lost => self.inode(id).lose_set_len(to_usize(len)),
            Fate::Fails(_) => {}
        }
        outcome(fate)
    }

    pub(super) fn sync(&mut self, (caller, path, id): (Caller, &Path, u64)) -> io::Result<()> {
        let fate = self.ask(caller, plain(OperationKind::Sync, path))?.fate();
        match fate {
            Fate::Happens => self.inode(id).sync(),
            Fate::Lost => {}
            Fate::Fails(_) => self.inode(id).fail_sync(false),
            Fate::HappensAndFails(_) => self.inode(id).fail_sync(true),
        }
        outcome(fate)
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<u64> {
        self.names.find(path).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn inode(&mut self, id: u64) -> &mut Inode {
        self.inodes.entry(id).or_default()
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

fn plain(kind: OperationKind, path: &Path) -> Operation<'_> {
    Operation { number: 0, mount: 0, kind, path, target: None, offset: 0, len: 0, bytes: &[] }
}

fn outcome(fate: Fate) -> io::Result<()> {
    match fate {
        Fate::Happens | Fate::Lost => Ok(()),
        Fate::Fails(kind) | Fate::HappensAndFails(kind) => Err(kind.into()),
    }
}
