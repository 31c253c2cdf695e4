//! Claims about the whole store, each by its test's name.

use std::ops::Bound;

use avid_types::{Digest, Slot, UploadId};

use super::*;
use crate::disk::RealDisk;
use crate::disk::memory::{CrashChoice, Fault, MemoryDisk};
use crate::fragment::{FragmentKey, FragmentShape};
use crate::index::Table;

fn node_hash(left: &Digest, right: &Digest) -> Digest {
    Digest::of(&[&[1], left.as_bytes(), right.as_bytes()])
}

fn config() -> StoreConfig {
    StoreConfig { segment_bytes: 16 << 10, ..StoreConfig::new(StoreId([9; 16]), node_hash) }
}

/// A record is its own key in the index; the value is the position.
fn write_of(position: u64, record: &[u8]) -> Vec<IndexWrite> {
    vec![IndexWrite::put(Table::Uploads, record, position.to_le_bytes())]
}

fn open(disk: Arc<dyn Disk>) -> Result<(Store, Recovery), StoreError> {
    Store::open(disk, &config(), &mut write_of)
}

#[test]
fn a_store_comes_back_with_everything_synced() {
    let dir = tempfile::tempdir().unwrap();
    let key = FragmentKey { upload: UploadId([3; 32]), slot: Slot(2) };
    {
        let (store, recovery) = open(Arc::new(RealDisk::open(dir.path()).unwrap())).unwrap();
        assert!(recovery.created);
        assert_eq!(recovery.boot, 1);
        for number in 0..100_u8 {
            let position = store.append(&[number]).unwrap();
            assert_eq!(position, u64::from(number));
        }
        assert_eq!(store.sync().unwrap(), 100);
        store.apply(&write_of(0, &[0]), 1).unwrap();
        store.checkpoint(u64::MAX).unwrap();
        let shape = FragmentShape { chunk_bytes: 8, fpcc_bytes: 4 };
        let mut writer = store.fragments().create(key, shape).unwrap();
        writer.append(&[7; 8], &[1; 4], Digest::of(&[b"leaf"])).unwrap();
        writer.finish(b"manifest").unwrap();
    }
    let (store, recovery) = open(Arc::new(RealDisk::open(dir.path()).unwrap())).unwrap();
    assert_eq!(
        recovery,
        Recovery {
            created: false,
            boot: 2,
            replayed: 99,
            journal_position: 100,
            temporaries_removed: 0
        }
    );
    let all = store.index().scan(Table::Uploads, Bound::Unbounded, Bound::Unbounded, 1000);
    assert_eq!(all.unwrap().len(), 100);
    assert_eq!(store.fragments().list().unwrap(), [key]);
}

#[test]
fn a_failed_sync_is_final() {
    let memory = MemoryDisk::new();
    let (store, _) = open(Arc::new(memory.clone())).unwrap();
    store.append(b"vote").unwrap();
    // The change after the next (a write) is the sync.
    memory.fail_at(memory.operations() + 1, Fault::Error(io::ErrorKind::Other));
    assert!(matches!(store.sync(), Err(StoreError::Journal(_))));
    assert!(store.is_poisoned());
    assert!(matches!(store.sync(), Err(StoreError::Poisoned)));
    assert!(matches!(store.append(b"x"), Err(StoreError::Poisoned)));
    assert!(matches!(store.apply(&[], 0), Err(StoreError::Poisoned)));
    assert!(matches!(store.free_bytes(), Err(StoreError::Poisoned)));
    drop(store);
    memory.crash(CrashChoice::DropAll);
    let (_, recovery) = open(Arc::new(memory)).unwrap();
    assert_eq!(recovery.journal_position, 0);
}

#[test]
fn the_durable_index_is_never_ahead_of_the_journal() {
    for at in 0.. {
        let memory = MemoryDisk::new();
        let (store, _) = open(Arc::new(memory.clone())).unwrap();
        store.append(b"vote").unwrap();
        // Applied before it was synced: the checkpoint has to sync it first.
        store.apply(&write_of(0, b"vote"), 1).unwrap();
        memory.fail_at(memory.operations() + at, Fault::Crash);
        let checkpointed = store.checkpoint(u64::MAX).is_ok();
        drop(store);
        memory.crash(CrashChoice::DropAll);
        let (store, recovery) = open(Arc::new(memory)).unwrap();
        let is_applied = store.index().get(Table::Uploads, b"vote").unwrap().is_some();
        assert_eq!(is_applied, recovery.journal_position == 1, "change {at}");
        if checkpointed {
            assert!(is_applied);
            return;
        }
    }
}
