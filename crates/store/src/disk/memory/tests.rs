//! Claims about the disk in memory, each by its test's name.

use std::collections::BTreeSet;

use super::inode::SECTOR_BYTES;
use super::*;
use crate::number::to_u64;

fn content(disk: &MemoryDisk, path: &str) -> Option<Vec<u8>> {
    disk.content(Path::new(path)).ok()
}

/// A disk with the file `a`, whose name and content `one` are durable.
fn with_file() -> (MemoryDisk, Arc<dyn DiskFile>) {
    let disk = MemoryDisk::new();
    let file = disk.open(Path::new("a"), OpenMode::CreateNew).unwrap();
    file.write_at(0, b"one").unwrap();
    file.sync().unwrap();
    disk.sync_dir(Path::new("")).unwrap();
    (disk, file)
}

type Seen = Vec<(OperationKind, PathBuf, u64, Vec<u8>)>;

/// Gives one verdict to the operations of one kind, and remembers all of them.
#[derive(Debug)]
struct Script {
    kind: OperationKind,
    verdict: Verdict,
    seen: Arc<Mutex<Seen>>,
}

impl DiskAdversary for Script {
    fn at(&mut self, operation: &Operation<'_>) -> Verdict {
        let Operation { kind, path, number, bytes, .. } = *operation;
        self.seen.lock().unwrap().push((kind, path.to_path_buf(), number, bytes.to_vec()));
        if kind == self.kind { self.verdict } else { Verdict::Go }
    }
}

fn script(disk: &MemoryDisk, kind: OperationKind, verdict: Verdict) {
    disk.set_adversary(Some(Box::new(Script { kind, verdict, seen: Arc::default() })));
}

#[test]
fn unsynced_bytes_and_names_are_lost() {
    let (disk, file) = with_file();
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
        let (disk, _) = with_file();
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
fn a_later_write_may_survive_an_earlier_one() {
    let reordered = (0..64).any(|seed| {
        let (disk, file) = with_file();
        file.write_at(0, b"two").unwrap();
        file.write_at(100, b"three").unwrap();
        disk.crash(CrashChoice::Tear(seed));
        let bytes = content(&disk, "a").unwrap();
        bytes.starts_with(b"one") && bytes.ends_with(b"three")
    });
    assert!(reordered);
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

#[test]
fn a_killed_process_changes_nothing_any_more_and_its_cache_survives() {
    let disk = MemoryDisk::new();
    let life = disk.mount();
    let file = life.open(Path::new("a"), OpenMode::CreateNew).unwrap();
    file.sync().unwrap();
    life.sync_dir(Path::new("")).unwrap();
    file.write_at(0, b"unsynced").unwrap();
    assert!(life.is_mounted());
    life.unmount();
    assert!(!life.is_mounted());
    let before = disk.operations();
    assert!(file.write_at(0, b"too late").is_err());
    assert!(file.sync().is_err());
    assert!(file.read_at(0, &mut [0]).is_err());
    assert!(life.remove(Path::new("a")).is_err());
    assert!(life.create_dir_all(Path::new("d")).is_err());
    assert_eq!(disk.operations(), before);
    let next = disk.mount();
    let file = next.open(Path::new("a"), OpenMode::Read).unwrap();
    assert_eq!(file.len().unwrap(), 8, "a kill loses no cache");
    disk.crash(CrashChoice::DropAll);
    assert!(!next.is_mounted());
    assert!(next.open(Path::new("a"), OpenMode::Read).is_err());
    assert_eq!(content(&disk, "a").unwrap(), b"", "and makes nothing durable");
}

#[test]
fn the_death_of_one_mount_leaves_the_other_alone() {
    let disk = MemoryDisk::new();
    let (first, second) = (disk.mount(), disk.mount());
    let file = second.open(Path::new("a"), OpenMode::CreateNew).unwrap();
    first.unmount();
    file.write_at(0, b"x").unwrap();
    assert!(second.is_mounted());
}

#[test]
fn a_copy_goes_its_own_way_and_can_be_put_back() {
    let (disk, file) = with_file();
    file.write_at(0, b"two").unwrap();
    let copy = disk.duplicate();
    let twin = copy.mount().open(Path::new("a"), OpenMode::ReadWrite).unwrap();
    twin.write_at(0, b"six").unwrap();
    assert_eq!(content(&disk, "a").unwrap(), b"two");
    let life = disk.mount();
    disk.restore(&copy);
    assert!(!life.is_mounted());
    assert!(file.len().is_err());
    assert_eq!(content(&disk, "a").unwrap(), b"six");
    disk.crash(CrashChoice::DropAll);
    assert_eq!(content(&disk, "a").unwrap(), b"one", "unsynced in the copy, unsynced here");
    disk.restore(&MemoryDisk::new());
    assert!(disk.files().is_empty());
}

#[test]
fn the_adversary_sees_every_operation_in_order_with_its_bytes() {
    let disk = MemoryDisk::new();
    let seen = Arc::default();
    let kind = OperationKind::List;
    let script = Script { kind, verdict: Verdict::Go, seen: Arc::clone(&seen) };
    disk.set_adversary(Some(Box::new(script)));
    let path = PathBuf::from("d/a");
    disk.create_dir_all(Path::new("d")).unwrap();
    let file = disk.open(&path, OpenMode::CreateNew).unwrap();
    file.write_at(0, b"one").unwrap();
    file.read_at(0, &mut [0; 3]).unwrap();
    file.sync().unwrap();
    disk.crash(CrashChoice::DropAll);
    disk.open(&path, OpenMode::Read).unwrap_err();
    disk.list(Path::new("d")).unwrap();
    let expected = [
        (OperationKind::CreateDir, PathBuf::from("d"), 0, vec![]),
        (OperationKind::Create, path.clone(), 1, vec![]),
        (OperationKind::Write, path.clone(), 2, b"one".to_vec()),
        (OperationKind::Read, path.clone(), 3, vec![]),
        (OperationKind::Sync, path, 3, vec![]),
        (OperationKind::List, PathBuf::from("d"), 4, vec![]),
    ];
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[test]
fn a_lost_write_is_seen_until_the_cache_goes() {
    for crashes in [false, true] {
        let (disk, file) = with_file();
        script(&disk, OperationKind::Write, Verdict::Lose);
        file.write_at(2, b"two").unwrap();
        file.sync().unwrap();
        assert_eq!(content(&disk, "a").unwrap(), b"ontwo");
        if crashes {
            disk.crash(CrashChoice::KeepAll)
        } else {
            disk.drop_caches()
        }
        assert_eq!(content(&disk, "a").unwrap(), b"one\0\0", "the length is not lost");
    }
}

#[test]
fn a_misdirected_write_lands_elsewhere_in_the_file() {
    let (disk, file) = with_file();
    script(&disk, OperationKind::Write, Verdict::Misdirect { offset: 1 });
    file.write_at(3, b"two").unwrap();
    file.sync().unwrap();
    assert_eq!(content(&disk, "a").unwrap(), b"onetwo");
    disk.crash(CrashChoice::DropAll);
    assert_eq!(content(&disk, "a").unwrap(), b"otwo\0\0");
    let (disk, file) = with_file();
    script(&disk, OperationKind::Write, Verdict::Misdirect { offset: 2 });
    file.write_at(0, b"two").unwrap();
    file.sync().unwrap();
    disk.drop_caches();
    assert_eq!(content(&disk, "a").unwrap(), b"ont", "never beyond the end");
}

#[test]
fn a_bit_flips_on_the_way_in_on_the_way_out_or_at_rest() {
    let (disk, file) = with_file();
    script(&disk, OperationKind::Write, Verdict::FlipBit { bit: 24 });
    file.write_at(0, b"two").unwrap();
    file.sync().unwrap();
    assert_eq!(content(&disk, "a").unwrap(), b"two");
    disk.drop_caches();
    assert_eq!(content(&disk, "a").unwrap(), b"uwo");
    script(&disk, OperationKind::Read, Verdict::FlipBit { bit: 9 });
    let mut out = [0; 3];
    file.read_at(0, &mut out).unwrap();
    assert_eq!(&out, b"uuo");
    assert_eq!(content(&disk, "a").unwrap(), b"uwo");
    disk.flip_bit(Path::new("a"), 24).unwrap();
    disk.crash(CrashChoice::DropAll);
    assert_eq!(content(&disk, "a").unwrap(), b"two");
}

#[test]
fn rot_in_unsynced_bytes_leaves_them_unsynced() {
    let (disk, file) = with_file();
    file.write_at(0, b"two").unwrap();
    disk.flip_bit(Path::new("a"), 0).unwrap();
    assert_eq!(content(&disk, "a").unwrap(), b"uwo");
    disk.crash(CrashChoice::DropAll);
    assert_eq!(content(&disk, "a").unwrap(), b"nne");
}

#[test]
fn a_failed_sync_loses_the_bytes_for_ever_though_readers_see_them() {
    let (disk, file) = with_file();
    file.write_at(0, b"two").unwrap();
    script(&disk, OperationKind::Sync, Verdict::Fail(io::ErrorKind::Other));
    file.sync().unwrap_err();
    disk.set_adversary(None);
    file.write_at(3, b"!").unwrap();
    file.sync().unwrap();
    assert_eq!(content(&disk, "a").unwrap(), b"two!");
    disk.crash(CrashChoice::KeepAll);
    assert_eq!(content(&disk, "a").unwrap(), b"one!", "a later sync writes only later changes");
}

#[test]
fn a_sync_that_lies_makes_nothing_durable() {
    let (disk, file) = with_file();
    script(&disk, OperationKind::Sync, Verdict::Lose);
    file.write_at(0, b"two").unwrap();
    file.sync().unwrap();
    disk.crash(CrashChoice::DropAll);
    assert_eq!(content(&disk, "a").unwrap(), b"one");
}

#[test]
fn an_operation_that_fails_halfway_has_happened_in_part() {
    let (disk, file) = with_file();
    let kind = io::ErrorKind::Other;
    script(&disk, OperationKind::Write, Verdict::FailHalfway(kind));
    file.write_at(0, b"XXYY").unwrap_err();
    assert_eq!(content(&disk, "a").unwrap(), b"XXe");
    script(&disk, OperationKind::Rename, Verdict::FailHalfway(kind));
    disk.rename(Path::new("a"), Path::new("b")).unwrap_err();
    assert_eq!(content(&disk, "b").unwrap(), b"XXe");
    script(&disk, OperationKind::Sync, Verdict::FailHalfway(kind));
    file.write_at(0, b"__").unwrap();
    file.sync().unwrap_err();
    disk.sync_dir(Path::new("")).unwrap();
    disk.crash(CrashChoice::KeepAll);
    assert_eq!(content(&disk, "b").unwrap(), b"XXe", "the older of two writes");
}

#[test]
fn a_lost_name_is_gone_after_a_crash_whatever_was_synced() {
    let (disk, _) = with_file();
    script(&disk, OperationKind::Create, Verdict::Lose);
    disk.open(Path::new("b"), OpenMode::CreateNew).unwrap().sync().unwrap();
    disk.sync_dir(Path::new("")).unwrap();
    assert!(content(&disk, "b").is_some());
    disk.crash(CrashChoice::KeepAll);
    assert_eq!(content(&disk, "b"), None);
    script(&disk, OperationKind::Remove, Verdict::Lose);
    disk.remove(Path::new("a")).unwrap();
    disk.sync_dir(Path::new("")).unwrap();
    assert_eq!(content(&disk, "a"), None);
    disk.drop_caches();
    assert_eq!(content(&disk, "a").unwrap(), b"one");
}

#[test]
fn reads_opens_and_lists_fail_as_told_and_count_nothing() {
    let (disk, file) = with_file();
    let before = disk.operations();
    let error = io::ErrorKind::InvalidData;
    script(&disk, OperationKind::Read, Verdict::Fail(error));
    assert_eq!(file.read_at(0, &mut [0]).unwrap_err().kind(), error);
    script(&disk, OperationKind::Open, Verdict::Fail(error));
    assert_eq!(disk.open(Path::new("a"), OpenMode::Read).unwrap_err().kind(), error);
    script(&disk, OperationKind::List, Verdict::Fail(error));
    assert_eq!(disk.list(Path::new("")).unwrap_err().kind(), error);
    assert_eq!(disk.operations(), before);
}

#[test]
fn space_is_taken_by_blocks_and_comes_back() {
    const BLOCK: usize = 4096;
    let (disk, file) = with_file();
    disk.set_free_bytes(to_u64(2 * BLOCK));
    file.write_at(3, &[1; BLOCK - 3]).unwrap();
    assert_eq!(disk.free_bytes().unwrap(), to_u64(2 * BLOCK), "the block was taken already");
    file.set_len(to_u64(100 * BLOCK)).unwrap();
    assert_eq!(disk.free_bytes().unwrap(), to_u64(2 * BLOCK), "holes are free");
    file.write_at(to_u64(50 * BLOCK), &[1; 2 * BLOCK]).unwrap();
    assert_eq!(disk.free_bytes().unwrap(), 0);
    let full = file.write_at(0, &[1; BLOCK + 1]).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    file.write_at(0, &[2; BLOCK]).unwrap();
    file.set_len(to_u64(51 * BLOCK)).unwrap();
    assert_eq!(disk.free_bytes().unwrap(), to_u64(BLOCK), "a cut gives space back");
    disk.remove(Path::new("a")).unwrap();
    assert_eq!(disk.free_bytes().unwrap(), to_u64(3 * BLOCK), "a removal gives space back");
    disk.set_free_bytes(None);
    assert_eq!(disk.free_bytes().unwrap(), u64::MAX);
}

#[test]
fn files_are_listed_with_their_lengths() {
    let (disk, _) = with_file();
    disk.create_dir_all(Path::new("d/e")).unwrap();
    disk.open(Path::new("d/e/f"), OpenMode::CreateNew).unwrap();
    assert_eq!(disk.files(), [(PathBuf::from("a"), 3), (PathBuf::from("d/e/f"), 0)]);
}
