//! Claims about the index, each by its test's name.

use super::*;
use crate::disk::memory::{CrashChoice, Fault, MemoryDisk};

const PATH: &str = "index.redb";

fn open(disk: &MemoryDisk) -> Result<Index, IndexError> {
    Index::open(disk, Path::new(PATH), 1 << 20)
}

fn put(key: &str, value: &str) -> IndexWrite {
    IndexWrite::put(Table::Names, key, value)
}

fn keys(index: &Index, from: Bound<&[u8]>, to: Bound<&[u8]>, limit: usize) -> Vec<String> {
    let entries = index.scan(Table::Names, from, to, limit).unwrap();
    entries.into_iter().map(|(key, _)| String::from_utf8(key).unwrap()).collect()
}

#[test]
fn writes_are_visible_at_once_and_in_order() {
    let index = open(&MemoryDisk::new()).unwrap();
    assert_eq!(index.get(Table::Names, b"a").unwrap(), None);
    let writes =
        [put("a", "1"), put("a", "2"), put("b", "3"), IndexWrite::remove(Table::Names, "b")];
    index.apply(&writes, Durability::Lazy).unwrap();
    assert_eq!(index.get(Table::Names, b"a").unwrap().unwrap(), b"2");
    assert_eq!(index.get(Table::Names, b"b").unwrap(), None);
    for table in Table::ALL.into_iter().filter(|table| *table != Table::Names) {
        assert_eq!(index.get(table, b"a").unwrap(), None);
    }
}

#[test]
fn scans_respect_bounds_and_limit() {
    let index = open(&MemoryDisk::new()).unwrap();
    assert!(keys(&index, Bound::Unbounded, Bound::Unbounded, 9).is_empty());
    let writes = ["a", "b", "c", "d"].map(|key| put(key, ""));
    index.apply(&writes, Durability::Lazy).unwrap();
    let (b, d): (&[u8], &[u8]) = (b"b", b"d");
    assert_eq!(keys(&index, Bound::Unbounded, Bound::Unbounded, 9), ["a", "b", "c", "d"]);
    assert_eq!(keys(&index, Bound::Excluded(b), Bound::Unbounded, 1), ["c"]);
    assert_eq!(keys(&index, Bound::Included(b), Bound::Excluded(d), 9), ["b", "c"]);
    assert_eq!(keys(&index, Bound::Excluded(b), Bound::Included(d), 9), ["c", "d"]);
    assert!(keys(&index, Bound::Included(d), Bound::Included(b), 9).is_empty());
    assert!(keys(&index, Bound::Excluded(b), Bound::Excluded(b), 9).is_empty());
    assert!(keys(&index, Bound::Unbounded, Bound::Unbounded, 0).is_empty());
}

#[test]
fn limits_refuse_the_whole_batch() {
    let index = open(&MemoryDisk::new()).unwrap();
    let long_key = IndexWrite::put(Table::Names, vec![0; KEY_BYTES_MAX + 1], "");
    let long_value = IndexWrite::put(Table::Names, "v", vec![0; VALUE_BYTES_MAX + 1]);
    for long in [long_key, long_value] {
        let refused = index.apply(&[put("a", "1"), long], Durability::Lazy);
        assert!(matches!(refused, Err(IndexError::TooLong { .. })));
        assert_eq!(index.get(Table::Names, b"a").unwrap(), None);
    }
}

#[test]
fn lazy_commits_sync_nothing_and_are_counted_until_a_checkpoint() {
    let disk = MemoryDisk::new();
    let index = open(&disk).unwrap();
    index.apply(&[put("a", "1")], Durability::Checkpoint).unwrap();
    assert_eq!(index.lazy_bytes(), 0);
    let before = disk.operations();
    for number in 0..20 {
        index.apply(&[put(&format!("{number}"), "x")], Durability::Lazy).unwrap();
    }
    assert_eq!(disk.operations(), before, "a lazy commit must stay in memory");
    assert!(index.lazy_bytes() >= 20 * COMMIT_BYTES);
    index.apply(&[], Durability::Checkpoint).unwrap();
    assert_eq!(index.lazy_bytes(), 0);
}

/// Commits 0..24, every fourth a checkpoint; returns (commits attempted, commits checkpointed).
fn script(disk: &MemoryDisk) -> (u32, u32) {
    let (mut attempted, mut durable) = (0, 0);
    let Ok(index) = open(disk) else { return (0, 0) };
    for commit in 0..24_u32 {
        let is_checkpoint = commit % 4 == 3;
        let durability = if is_checkpoint { Durability::Checkpoint } else { Durability::Lazy };
        let writes = [
            IndexWrite::put(Table::Meta, "count", commit.to_le_bytes()),
            IndexWrite::put(Table::Uploads, commit.to_le_bytes(), vec![7; 3000]),
        ];
        attempted = commit + 1;
        if index.apply(&writes, durability).is_err() {
            break;
        }
        if is_checkpoint {
            durable = attempted;
        }
    }
    (attempted, durable)
}

#[test]
fn a_crash_after_any_change_leaves_some_commit_at_least_the_last_checkpoint() {
    let disk = MemoryDisk::new();
    assert_eq!(script(&disk), (24, 24));
    for at in 0..disk.operations() {
        for choice in [CrashChoice::DropAll, CrashChoice::KeepAll, CrashChoice::Tear(at)] {
            let disk = MemoryDisk::new();
            disk.fail_at(at, Fault::Crash);
            let (attempted, durable) = script(&disk);
            disk.crash(choice);
            // Before the first checkpoint there may be no database yet; the store makes it anew then.
            let index = match open(&disk) {
                Ok(index) => index,
                Err(error) => {
                    assert_eq!(durable, 0, "change {at}, {choice:?}: {error:?}");
                    continue;
                }
            };
            let count = index.get(Table::Meta, b"count").unwrap();
            let commits =
                count.map_or(0, |bytes| u32::from_le_bytes(bytes.try_into().unwrap()) + 1);
            assert!(durable <= commits && commits <= attempted, "change {at}, {choice:?}");
            let all = index.scan(Table::Uploads, Bound::Unbounded, Bound::Unbounded, 99).unwrap();
            assert_eq!(u32::try_from(all.len()).unwrap(), commits, "change {at}, {choice:?}");
            assert!(all.iter().all(|(_, value)| *value == [7; 3000]));
        }
    }
}

#[test]
fn a_file_that_is_no_database_is_an_error() {
    let disk = MemoryDisk::new();
    let file = disk.open(Path::new(PATH), OpenMode::CreateNew).unwrap();
    file.write_at(0, &[0x55; 10_000]).unwrap();
    assert!(matches!(open(&disk), Err(IndexError::Recover(_))));
}

/// Spec: docs/protocol.md section 6 (30): what a disk spoils is an error, never a panic.
#[test]
fn pages_that_rot_under_an_open_index_are_an_error_and_the_last_word() {
    let disk = MemoryDisk::new();
    let index = open(&disk).unwrap();
    let value = "v".repeat(1 << 10);
    let writes: Vec<_> = (0..4000).map(|i| put(&format!("{i:05}"), &value)).collect();
    index.apply(&writes, Durability::Checkpoint).unwrap();
    disk.corrupt(Path::new(PATH), |bytes| bytes[4096..].fill(0)).unwrap();
    let scan = index.scan(Table::Names, Bound::Unbounded, Bound::Unbounded, 5000);
    assert!(scan.unwrap_err().is_damage());
    assert!(index.get(Table::Names, b"00000").unwrap_err().is_damage());
    assert!(index.apply(&[put("a", "b")], Durability::Lazy).unwrap_err().is_damage());
}
