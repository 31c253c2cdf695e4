//! The names of a disk in memory: what readers see and what survives.
//!
//! Each change of a name is one entry that is old or new until its directory is synced; a rename is
//! one entry, so that a file never has neither name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{CrashChoice, Random};

#[derive(Debug, Default, Clone)]
pub(super) struct Names {
    /// What readers see.
    current: BTreeMap<PathBuf, u64>,
    durable: BTreeMap<PathBuf, u64>,
    /// Changes whose directory was not synced yet, in order.
    pending: Vec<NameChange>,
}

impl Names {
    pub(super) fn find(&self, path: &Path) -> Option<u64> {
        self.current.get(path).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&PathBuf, u64)> {
        self.current.iter().map(|(path, inode)| (path, *inode))
    }

    pub(super) fn change(&mut self, change: NameChange) {
        change.apply(&mut self.current);
        self.pending.push(change);
    }

    /// As [`Names::change`] for readers; the disk never hears of it.
    pub(super) fn lose(&mut self, change: &NameChange) {
        change.apply(&mut self.current);
    }

    pub(super) fn sync(&mut self, dir: &Path) {
        for change in std::mem::take(&mut self.pending) {
            if change.touches(dir) {
                change.apply(&mut self.durable);
            } else {
                self.pending.push(change);
            }
        }
    }

    /// A sync that failed halfway: the older half of the directory's changes is durable, the others
    /// stay open. A file system whose metadata cannot be written stops; it does not forget in silence.
    pub(super) fn sync_halfway(&mut self, dir: &Path) {
        let touching = self.pending.iter().filter(|change| change.touches(dir)).count();
        let mut left = touching.div_ceil(2);
        for change in std::mem::take(&mut self.pending) {
            if left > 0 && change.touches(dir) {
                left -= 1;
                change.apply(&mut self.durable);
            } else {
                self.pending.push(change);
            }
        }
    }

    pub(super) fn crash(&mut self, choice: CrashChoice, random: &mut Random) {
        for change in std::mem::take(&mut self.pending) {
            let is_kept = match choice {
                CrashChoice::DropAll => false,
                CrashChoice::KeepAll => true,
                CrashChoice::Tear(_) => random.next().is_multiple_of(2),
            };
            if is_kept {
                change.apply(&mut self.durable);
            }
        }
        self.current.clone_from(&self.durable);
    }

    /// Forgets what only the cache knew.
    pub(super) fn drop_cache(&mut self) {
        self.current.clone_from(&self.durable);
        for change in &self.pending {
            change.apply(&mut self.current);
        }
    }

    /// Every file that has a name, or may have one after a crash.
    pub(super) fn inodes(&self) -> BTreeSet<u64> {
        let pending = self.pending.iter().filter_map(NameChange::inode);
        self.current.values().chain(self.durable.values()).copied().chain(pending).collect()
    }
}

#[derive(Debug, Clone)]
pub(super) enum NameChange {
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

    fn inode(&self) -> Option<u64> {
        match self {
            Self::Create { inode, .. } | Self::Rename { inode, .. } => Some(*inode),
            Self::Remove { .. } => None,
        }
    }
}
