//! Claims about the journal, each by its test's name.

use proptest::prelude::*;

use super::*;
use crate::disk::guard::GuardedDisk;
use crate::disk::memory::{CrashChoice, Fault, MemoryDisk};
use crate::number::to_usize;

type Records = Vec<(u64, Vec<u8>)>;

fn config(segment_bytes: u64) -> JournalConfig {
    JournalConfig { dir: PathBuf::from("j"), store: StoreId([1; 16]), segment_bytes }
}

fn create(disk: &MemoryDisk, segment_bytes: u64) -> Journal {
    Journal::create(Arc::new(disk.clone()), config(segment_bytes)).unwrap()
}

fn open(disk: &MemoryDisk) -> Result<(Journal, Records), JournalError> {
    let mut records = Vec::new();
    let mut replay = |position, record: &[u8]| records.push((position, record.to_vec()));
    let journal = Journal::open(Arc::new(disk.clone()), config(64 << 10), &mut replay)?;
    Ok((journal, records))
}

/// A journal with `batches` batches of two records each, of about `bytes` bytes.
fn filled(batches: u8, bytes: usize, segment_bytes: u64) -> (MemoryDisk, Records) {
    let disk = MemoryDisk::new();
    let journal = create(&disk, segment_bytes);
    let mut records = Vec::new();
    for batch in 0..batches {
        for number in 0..2 {
            let record = vec![batch * 2 + number; bytes];
            records.push((journal.append(&record).unwrap(), record));
        }
        journal.sync().unwrap();
    }
    (disk, records)
}

fn segments(disk: &MemoryDisk) -> Vec<PathBuf> {
    let mut names = disk.list(Path::new("j")).unwrap();
    names.sort();
    names.into_iter().map(|name| Path::new("j").join(name)).collect()
}

fn damaged_at(result: Result<(Journal, Records), JournalError>) -> (PathBuf, u64) {
    match result {
        Err(JournalError::Damaged { path, offset, .. }) => (path, offset),
        other => panic!("must be damaged, is {other:?}"),
    }
}

#[test]
fn synced_records_come_back_in_order_over_many_segments() {
    let (disk, records) = filled(20, 3000, 32 << 10);
    assert!(segments(&disk).len() > 3);
    disk.crash(CrashChoice::DropAll);
    let (journal, replayed) = open(&disk).unwrap();
    assert!(replayed == records);
    assert_eq!(journal.next_position(), 40);
    assert_eq!(journal.append(b"x").unwrap(), 40);
}

#[test]
fn unsynced_records_are_gone_and_promised_nothing() {
    let (disk, records) = filled(1, 10, 64 << 10);
    let (journal, _) = open(&disk).unwrap();
    journal.append(b"lost").unwrap();
    assert_eq!(journal.durable_position(), 2);
    assert_eq!(journal.next_position(), 3);
    disk.crash(CrashChoice::DropAll);
    assert!(open(&disk).unwrap().1 == records);
}

#[test]
fn a_sync_without_records_touches_no_disk() {
    let (disk, _) = filled(1, 10, 64 << 10);
    let (journal, _) = open(&disk).unwrap();
    let before = disk.operations();
    assert_eq!(journal.sync().unwrap(), 2);
    assert_eq!(disk.operations(), before);
}

#[test]
fn a_batch_is_one_write_and_one_sync() {
    let (disk, _) = filled(1, 10, 64 << 10);
    let (journal, _) = open(&disk).unwrap();
    let before = disk.operations();
    for _ in 0..100 {
        journal.append(b"vote").unwrap();
    }
    journal.sync().unwrap();
    assert_eq!(disk.operations(), before + 2);
}

#[test]
fn a_torn_last_batch_is_cut_wherever_it_is_torn() {
    let (disk, records) = filled(3, 5000, 64 << 10);
    let path = segments(&disk).pop().unwrap();
    let len = to_usize(disk.open(&path, OpenMode::Read).unwrap().len().unwrap());
    let batch = (len - 4096) / 3;
    // The padding after the last frame says nothing, so only cuts inside the frames tear.
    for cut in [0, 1, 39, 40, 41, 5000, 5056, 5057, 10_071].map(|at| len - batch + at) {
        let (disk, _) = filled(3, 5000, 64 << 10);
        disk.corrupt(&path, |bytes| bytes.truncate(cut)).unwrap();
        let (journal, replayed) = open(&disk).unwrap();
        assert!(replayed == records[..4], "cut at {cut}");
        assert_eq!(journal.append(b"new").unwrap(), 4);
        journal.sync().unwrap();
        assert_eq!(open(&disk).unwrap().1.len(), 5, "cut at {cut}");
    }
}

#[test]
fn rot_before_the_last_batch_is_never_mistaken_for_a_torn_end() {
    let (disk, _) = filled(3, 5000, 64 << 10);
    let path = segments(&disk).pop().unwrap();
    let len = to_usize(disk.open(&path, OpenMode::Read).unwrap().len().unwrap());
    let batch = (len - 4096) / 3;
    for (index, place) in [4096, 4096 + 30, 4096 + 60, 4096 + batch + 9000].into_iter().enumerate()
    {
        let (disk, _) = filled(3, 5000, 64 << 10);
        disk.corrupt(&path, |bytes| bytes[place] ^= 1).unwrap();
        let expected = if index < 3 { 4096 } else { 4096 + batch };
        assert_eq!(damaged_at(open(&disk)), (path.clone(), to_u64(expected)));
    }
}

#[test]
fn rot_in_a_segment_with_a_successor_is_damage_even_in_its_last_batch() {
    let (disk, _) = filled(20, 3000, 32 << 10);
    let path = segments(&disk).remove(1);
    disk.corrupt(&path, |bytes| {
        let last = bytes.len() - 4096;
        bytes[last] ^= 1;
        bytes.truncate(last + 100);
    })
    .unwrap();
    assert_eq!(damaged_at(open(&disk)).0, path);
}

#[test]
fn a_missing_segment_is_damage() {
    for missing in 0..3 {
        let (disk, _) = filled(20, 3000, 32 << 10);
        let paths = segments(&disk);
        disk.remove(&paths[missing]).unwrap();
        match missing {
            // Like a released one: the store knows from its checkpoint that it should be there.
            0 => assert!(open(&disk).unwrap().0.first_position() > 0),
            _ => assert_eq!(damaged_at(open(&disk)).0, paths[missing + 1]),
        }
    }
    let (disk, _) = filled(1, 10, 32 << 10);
    disk.remove(&segments(&disk)[0]).unwrap();
    damaged_at(open(&disk));
}

#[test]
fn a_segment_of_another_store_or_another_position_is_damage() {
    let (disk, _) = filled(1, 10, 32 << 10);
    let path = segments(&disk).remove(0);
    disk.corrupt(&path, |bytes| {
        let header = format::encode_segment_header(StoreId([2; 16]), 0);
        bytes[..4096].copy_from_slice(&header);
    })
    .unwrap();
    damaged_at(open(&disk));
    let (disk, _) = filled(1, 10, 32 << 10);
    disk.rename(&path, &Path::new("j").join(format::segment_name(7))).unwrap();
    damaged_at(open(&disk));
}

#[test]
fn a_record_that_imitates_a_batch_does_not_turn_a_torn_end_into_damage() {
    let disk = MemoryDisk::new();
    let journal = create(&disk, 1 << 20);
    let forged = BatchHeader { first_position: 1, records: 1, body_bytes: 20 };
    // The forger knows every offset, but not the store id.
    let mut record = vec![0; 4096 - 40 - 16];
    record.extend(forged.encode(StoreId([0; 16]), 8192));
    journal.append(&record).unwrap();
    journal.sync().unwrap();
    drop(journal);
    disk.corrupt(&segments(&disk)[0], |bytes| bytes[4096] ^= 1).unwrap();
    assert!(open(&disk).unwrap().1.is_empty());
}

#[test]
fn a_new_segment_whose_header_was_lost_is_made_again() {
    let (disk, records) = filled(20, 3000, 32 << 10);
    let next = Path::new("j").join(format::segment_name(40));
    disk.open(&next, OpenMode::CreateNew).unwrap().write_at(0, &[3; 100]).unwrap();
    let (journal, replayed) = open(&disk).unwrap();
    assert!(replayed == records);
    journal.append(b"x").unwrap();
    journal.sync().unwrap();
    assert_eq!(open(&disk).unwrap().1.len(), 41);
}

#[test]
fn released_segments_are_gone_and_the_rest_stays() {
    let (disk, records) = filled(20, 3000, 32 << 10);
    let (journal, _) = open(&disk).unwrap();
    let before = segments(&disk).len();
    journal.release_before(25).unwrap();
    let first = journal.first_position();
    assert!(first > 0 && first <= 25);
    assert!(segments(&disk).len() < before);
    assert!(matches!(journal.read_from(0, 1), Err(JournalError::Released { position: 0, .. })));
    journal.release_before(u64::MAX).unwrap();
    assert_eq!(segments(&disk).len(), 1, "the newest segment stays");
    drop(journal);
    disk.crash(CrashChoice::DropAll);
    let (journal, replayed) = open(&disk).unwrap();
    assert!(replayed == records[to_usize(journal.first_position())..]);
    assert_eq!(journal.next_position(), 40);
}

#[test]
fn reading_from_any_position_gives_the_same_records_as_replay() {
    let (disk, records) = filled(20, 3000, 32 << 10);
    let (journal, _) = open(&disk).unwrap();
    journal.append(b"not durable yet").unwrap();
    for position in 0..=40 {
        let start = to_usize(position);
        assert!(journal.read_from(position, usize::MAX).unwrap() == records[start..]);
        let few = journal.read_from(position, 7000).unwrap();
        assert!(few == records[start..(start + 2).min(40)], "from {position}");
        assert_eq!(journal.read_from(position, 0).unwrap().len(), usize::from(start < 40));
    }
}

#[test]
fn limits_hold_and_refuse_without_a_trace() {
    let disk = MemoryDisk::new();
    let journal = create(&disk, 1 << 30);
    let long = vec![0; RECORD_BYTES_MAX + 1];
    assert!(matches!(journal.append(&long), Err(JournalError::RecordTooLong { .. })));
    let mut count = 0;
    while journal.append(&long[1..]).is_ok() {
        count += 1;
    }
    assert_eq!(count, 15, "sixteen frames with headers exceed the batch");
    assert!(matches!(journal.append(&long[1..]), Err(JournalError::BatchFull { .. })));
    assert_eq!(journal.sync().unwrap(), 15);
    assert_eq!(journal.append(b"").unwrap(), 15);
    journal.sync().unwrap();
    assert_eq!(open(&disk).unwrap().1.len(), 16);
}

#[test]
fn a_full_disk_delays_records_and_loses_none() {
    let (disk, _) = filled(7, 3000, 64 << 10);
    let (journal, _) = open(&disk).unwrap();
    for round in 0..6_u64 {
        journal.append(&[7; 5000]).unwrap();
        // The write, then whatever comes first when a segment is begun.
        disk.fail_at(disk.operations(), Fault::Error(io::ErrorKind::StorageFull));
        assert!(matches!(journal.sync(), Err(JournalError::Io { .. })));
        assert_eq!(journal.durable_position(), 14 + 2 * round);
        journal.append(b"meanwhile").unwrap();
        assert_eq!(journal.sync().unwrap(), 16 + 2 * round);
    }
    disk.crash(CrashChoice::DropAll);
    assert_eq!(open(&disk).unwrap().1.len(), 26);
}

#[test]
fn after_a_failed_sync_nothing_succeeds() {
    let disk = MemoryDisk::new();
    let guarded = Arc::new(GuardedDisk::new(Arc::new(disk.clone())));
    let journal = Journal::create(guarded, config(64 << 10)).unwrap();
    journal.append(b"vote").unwrap();
    disk.fail_at(disk.operations() + 1, Fault::Error(io::ErrorKind::Other));
    journal.sync().unwrap_err();
    assert_eq!(journal.durable_position(), 0);
    let again = journal.sync().unwrap_err();
    assert!(crate::disk::guard::is_poisoned(&again), "{again:?}");
}

#[test]
fn recovery_makes_an_unsynced_but_whole_batch_durable_before_it_is_replayed_as_such() {
    let disk = MemoryDisk::new();
    let journal = create(&disk, 64 << 10);
    journal.append(b"vote").unwrap();
    // The write succeeds, the process dies before the sync; the page cache survives the process.
    disk.fail_at(disk.operations() + 1, Fault::Error(io::ErrorKind::Other));
    journal.sync().unwrap_err();
    assert_eq!(open(&disk).unwrap().1.len(), 1);
    disk.crash(CrashChoice::DropAll);
    assert_eq!(open(&disk).unwrap().1.len(), 1);
}

proptest! {
    /// Whatever happens to a segment's bytes: a prefix of the records, or an error that says so.
    #[test]
    fn corruption_gives_an_error_or_a_prefix(
        flips in prop::collection::vec((0_usize..60_000, 1_u8..), 1..6),
        cut in prop::option::of(0_usize..60_000),
        segment in 0_usize..4,
    ) {
        let (disk, records) = filled(10, 3000, 32 << 10);
        let paths = segments(&disk);
        disk.corrupt(&paths[segment % paths.len()], |bytes| {
            if let Some(cut) = cut {
                bytes.truncate(cut);
            }
            for (at, flip) in &flips {
                if let Some(byte) = bytes.get_mut(*at) {
                    *byte ^= flip;
                }
            }
        }).unwrap();
        match open(&disk) {
            Ok((_, replayed)) => {
                prop_assert!(replayed == records[..replayed.len()]);
                prop_assert!(replayed.len() >= records.len() - 2, "only the last batch may go");
            }
            Err(JournalError::Damaged { .. }) => {}
            Err(other) => prop_assert!(false, "unexpected {other:?}"),
        }
    }

    #[test]
    fn a_body_of_any_bytes_decodes_or_does_not(
        body in prop::collection::vec(any::<u8>(), 0..200),
        records in 0_u32..5,
    ) {
        let header = BatchHeader { first_position: u64::MAX - 1, records, body_bytes: 0 };
        if let Some(found) = format::decode_body(&header, &body) {
            prop_assert_eq!(found.len(), usize::try_from(records).unwrap());
        }
        prop_assert!(BatchHeader::decode(&body, StoreId([1; 16]), 0).is_none());
    }
}
