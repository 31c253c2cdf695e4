//! Walking all whole fragments, and removing those nobody claims.
//!
//! A crash between the rename of a fragment and the record that speaks of it leaves a file without an
//! owner. Only the caller knows the records, so it says which fragments it keeps.
//!
//! Bounds: the keys of one shard, 1/256 of all.
//! Not here: unfinished fragments; [`FragmentStore::open`](super::FragmentStore::open) removes them.

use std::iter::FusedIterator;
use std::ops::RangeInclusive;
use std::vec;

use super::{FragmentError, FragmentKey, FragmentStore, first_byte};

/// Keys of all whole fragments, ascending; each shard as it is when the walk reaches it.
#[derive(Debug)]
pub struct FragmentKeys {
    store: FragmentStore,
    shards: RangeInclusive<u8>,
    keys: vec::IntoIter<FragmentKey>,
}

impl Iterator for FragmentKeys {
    type Item = Result<FragmentKey, FragmentError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(key) = self.keys.next() {
                return Some(Ok(key));
            }
            match self.store.list_shard(self.shards.next()?) {
                Ok(keys) => self.keys = keys.into_iter(),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl FusedIterator for FragmentKeys {}

impl FragmentStore {
    /// Walks the keys of all whole fragments without holding them all.
    ///
    /// A shard that cannot be listed is one error; the walk goes on behind it.
    #[must_use]
    pub fn keys(&self) -> FragmentKeys {
        FragmentKeys { store: self.clone(), shards: 0..=u8::MAX, keys: Vec::new().into_iter() }
    }

    /// Removes every whole fragment that `keep` does not claim, durably; returns how many.
    ///
    /// For the start of a node, before it takes fragments: one that was just finished and is not
    /// recorded yet would look unclaimed. One sync per directory that lost a file.
    ///
    /// # Errors
    ///
    /// What `keep` says, at once, or [`FragmentError::Io`]; what was removed by then stays so.
    pub fn sweep<E: From<FragmentError>>(
        &self,
        mut keep: impl FnMut(FragmentKey) -> Result<bool, E>,
    ) -> Result<u64, E> {
        let mut removed = 0;
        for shard in 0..=u8::MAX {
            let mut unclaimed = Vec::new();
            for key in self.list_shard(shard)? {
                if !keep(key)? {
                    unclaimed.push(key);
                }
            }
            removed += self.remove_all(shard, &unclaimed)?;
        }
        Ok(removed)
    }

    fn remove_all(&self, shard: u8, keys: &[FragmentKey]) -> Result<u64, FragmentError> {
        let mut removed = 0;
        for key in keys {
            debug_assert_eq!(first_byte(*key), shard, "a shard lists its own keys only");
            removed += u64::from(self.unlink(*key)?);
        }
        if removed > 0 {
            let dir = self.shared.shard_dir(shard);
            self.shared.disk.sync_dir(&dir).map_err(FragmentError::io("sync", &dir))?;
        }
        Ok(removed)
    }
}
