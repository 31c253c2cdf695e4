//! Removes the fragments that no record claims, at the start of a node.
//!
//! A fragment is renamed into place before the record that speaks of it, and removed after the record
//! that gives it up. A crash in between leaves a file that nobody would ever serve, count or remove.
//! Its bytes are not lost to anybody: nothing was promised about it, and the owner's next attempt or
//! a late fill brings it again.
//!
//! Spec: docs/protocol.md ECHO-1, ABORT-2, DELETE-1.
//! Invariant: a fragment that a record claims is never touched; a record that cannot be read claims
//! everything, since the node does not start then. So do records that are all new: a store made
//! beside old fragments leaves them alone until fills replace them.
//! Bounds: the keys of one directory of fragments; one record at a time.
//! Not here: unfinished fragments; the store removes them when it opens.

use avid_store::{FragmentError, FragmentKey, Store, StoreError};

use crate::error::NodeError;
use crate::shell::lookup;

impl From<FragmentError> for NodeError {
    fn from(error: FragmentError) -> Self {
        Self::Store(StoreError::Fragment(error))
    }
}

/// Removes every fragment that the records of this node do not claim; returns how many.
///
/// Before any fragment is taken: one that was just finished is not on record yet. A directory that
/// cannot be listed or cleaned costs space and no promise, so the node starts all the same.
///
/// # Errors
///
/// [`NodeError::Record`] if a record cannot be read, [`NodeError::Store`] if a sync failed.
pub(super) fn sweep(store: &Store) -> Result<u64, NodeError> {
    match store.fragments().sweep(|key| is_claimed(store, key)) {
        Err(NodeError::Store(StoreError::Fragment(error))) if !store.is_poisoned() => {
            tracing::warn!(%error, "unclaimed fragments stay until the next start");
            Ok(0)
        }
        swept => swept,
    }
}

/// Whether the upload's record says that this node keeps its fragment.
fn is_claimed(store: &Store, key: FragmentKey) -> Result<bool, NodeError> {
    let record = lookup::record(store, key.upload).map_err(NodeError::Record)?;
    Ok(record.is_some_and(|record| record.fragment.is_some()))
}
