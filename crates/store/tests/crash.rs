//! Stops the world after every change of stored state, loses or tears what was not synced, and checks
//! that the store kept what it promised and shows nothing half-done (docs/protocol.md scenario 23).
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "in a test a panic is the report"
)]

use std::io;
use std::ops::Bound;
use std::sync::Arc;

use avid_store::disk::memory::{CrashChoice, Fault, MemoryDisk};
use avid_store::{
    FragmentKey, FragmentShape, IndexWrite, Recovery, Store, StoreConfig, StoreError, StoreId,
    Table,
};
use avid_types::{Digest, Slot, UploadId};

const CHOICES: [CrashChoice; 6] = [
    CrashChoice::DropAll,
    CrashChoice::KeepAll,
    CrashChoice::Tear(1),
    CrashChoice::Tear(2),
    CrashChoice::Tear(3),
    CrashChoice::Tear(4),
];
const SHAPE: FragmentShape = FragmentShape { chunk_bytes: 5000, fpcc_bytes: 100 };
const KEY: FragmentKey = FragmentKey { upload: UploadId([0xab; 32]), slot: Slot(4) };

#[test]
fn a_crash_after_any_change_loses_no_promise_and_shows_nothing_half_done() {
    let changes = script_changes();
    for at in 0..changes {
        for choice in CHOICES {
            let disk = MemoryDisk::new();
            let mut world = World::default();
            disk.fail_at(at, Fault::Crash);
            // The database hides what fails while it is closed.
            let _ = world.run(&disk);
            assert!(disk.is_down(), "change {at} of {changes} must have struck");
            disk.crash(choice);
            world.check(&disk, &format!("change {at}, {choice:?}"));
        }
    }
}

#[test]
fn a_second_crash_during_recovery_changes_nothing() {
    let changes = script_changes();
    for at in (0..changes).step_by(9) {
        for second in 0..60 {
            let disk = MemoryDisk::new();
            let mut world = World::default();
            disk.fail_at(at, Fault::Crash);
            let _ = world.run(&disk);
            assert!(disk.is_down());
            disk.crash(CrashChoice::Tear(at));
            disk.fail_at(disk.operations() + second, Fault::Crash);
            let reopened = open(&disk).map(|(_, recovery)| recovery.boot);
            if let Ok(boot) = reopened {
                world.boot = boot;
            }
            disk.crash(CrashChoice::Tear(second));
            world.check(&disk, &format!("change {at}, then {second}"));
        }
    }
}

#[test]
fn an_error_at_any_change_loses_no_promise() {
    let changes = script_changes();
    for at in 0..changes {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::Other] {
            let disk = MemoryDisk::new();
            let mut world = World::default();
            disk.fail_at(at, Fault::Error(kind));
            // Some errors are survived: a temporary file that could not be removed, for one.
            let _ = world.run(&disk);
            disk.crash(CrashChoice::Tear(at));
            world.check(&disk, &format!("change {at}, {kind:?}"));
        }
    }
}

/// What the store has promised so far, and what it may or may not have done.
#[derive(Debug, Default)]
struct World {
    boot: u64,
    /// Records appended, by position.
    appended: Vec<Vec<u8>>,
    /// Records below this were synced.
    synced: u64,
    fragment: Fragment,
}

#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum Fragment {
    #[default]
    Absent,
    Whole,
    Either,
}

impl World {
    fn run(&mut self, disk: &MemoryDisk) -> Result<(), StoreError> {
        let (store, recovery) = open(disk)?;
        self.boot = recovery.boot;
        for round in 0..6_u8 {
            self.vote(&store, round)?;
            match round {
                1 | 4 => {
                    self.fragment = Fragment::Either;
                    write_fragment(&store)?;
                    self.fragment = Fragment::Whole;
                }
                2 => store.checkpoint(5)?,
                3 => {
                    self.fragment = Fragment::Either;
                    store.fragments().remove(KEY)?;
                    self.fragment = Fragment::Absent;
                }
                5 => store.checkpoint(u64::MAX)?,
                _ => {}
            }
        }
        drop(store);
        let (store, recovery) = open(disk)?;
        self.boot = recovery.boot;
        self.vote(&store, 6)
    }

    fn vote(&mut self, store: &Store, round: u8) -> Result<(), StoreError> {
        let first = self.appended.len();
        for number in 0..3_u8 {
            let record = [vec![round, number], vec![round; 1700 * usize::from(number)]].concat();
            self.appended.push(record.clone());
            store.append(&record)?;
        }
        self.synced = store.sync()?;
        assert_eq!(self.synced, self.records());
        for (position, record) in (0_u64..).zip(&self.appended).skip(first) {
            store.apply(&effect(position, record), position + 1)?;
        }
        Ok(())
    }

    fn records(&self) -> u64 {
        u64::try_from(self.appended.len()).unwrap()
    }

    fn check(&self, disk: &MemoryDisk, case: &str) {
        let (store, recovery) = open(disk).unwrap_or_else(|error| panic!("{case}: {error:?}"));
        assert!(recovery.boot > self.boot, "{case}: boot {} again", self.boot);
        let end = recovery.journal_position;
        assert!(self.synced <= end && end <= self.records(), "{case}: ends at {end}");
        self.check_index(&store, end, case);
        let first = store.journal().first_position();
        let kept = store.journal().read_from(first, usize::MAX).unwrap();
        assert_eq!(kept.len(), index(end - first), "{case}");
        for (position, record) in kept {
            assert!(record == self.appended[index(position)], "{case}: record {position}");
        }
        self.check_fragment(&store, case);
        assert_eq!(store.append(b"next").unwrap(), end, "{case}");
        store.sync().unwrap();
        drop(store);
        disk.crash(CrashChoice::DropAll);
        let (store, again) = open(disk).unwrap_or_else(|error| panic!("{case}: {error:?}"));
        assert_eq!(again.journal_position, end + 1, "{case}");
        assert_eq!(store.index().get(Table::Uploads, b"next").unwrap().unwrap(), end.to_le_bytes());
    }

    fn check_index(&self, store: &Store, end: u64, case: &str) {
        let all = store.index().scan(Table::Uploads, Bound::Unbounded, Bound::Unbounded, 1000);
        let all = all.unwrap();
        assert_eq!(all.len(), index(end), "{case}: entries");
        for (key, value) in all {
            let position = u64::from_le_bytes(value.try_into().unwrap());
            let record = &self.appended[index(position)];
            assert_eq!(key, record[..2], "{case}: position {position}");
        }
    }

    fn check_fragment(&self, store: &Store, case: &str) {
        let listed = store.fragments().list().unwrap();
        match self.fragment {
            Fragment::Absent => assert!(listed.is_empty(), "{case}"),
            Fragment::Whole => assert_eq!(listed, [KEY], "{case}"),
            Fragment::Either => assert!(listed.is_empty() || listed == [KEY], "{case}"),
        }
        for key in listed {
            let reader = store.fragments().open_fragment(key).unwrap();
            assert_eq!(reader.manifest().unwrap(), b"the manifest", "{case}");
            reader.check_sidecar().unwrap();
            for stripe in 0..3 {
                let mut chunk = vec![0; reader.chunk_len(stripe)];
                reader.read_chunk(stripe, &mut chunk).unwrap();
                assert!(chunk == chunk_of(stripe), "{case}: stripe {stripe}");
            }
        }
    }
}

fn index(position: u64) -> usize {
    usize::try_from(position).unwrap()
}

fn script_changes() -> u64 {
    let disk = MemoryDisk::new();
    World::default().run(&disk).unwrap();
    disk.operations()
}

fn open(disk: &MemoryDisk) -> Result<(Store, Recovery), StoreError> {
    let config =
        StoreConfig { segment_bytes: 24 << 10, ..StoreConfig::new(StoreId([5; 16]), node_hash) };
    Store::open(Arc::new(disk.clone()), &config, &mut effect)
}

fn effect(position: u64, record: &[u8]) -> Vec<IndexWrite> {
    let key = &record[..record.len().min(if record == b"next" { 4 } else { 2 })];
    vec![IndexWrite::put(Table::Uploads, key, position.to_le_bytes())]
}

fn write_fragment(store: &Store) -> Result<(), StoreError> {
    let mut writer = store.fragments().create(KEY, SHAPE)?;
    for stripe in 0..3_u64 {
        let leaf = Digest::of(&[&stripe.to_le_bytes()]);
        writer.append(&chunk_of(stripe), &[1; 100], leaf)?;
    }
    writer.finish(b"the manifest")?;
    Ok(())
}

fn chunk_of(stripe: u64) -> Vec<u8> {
    vec![stripe.to_le_bytes()[0] + 1; if stripe == 2 { 77 } else { 5000 }]
}

fn node_hash(left: &Digest, right: &Digest) -> Digest {
    Digest::of(&[&[1], left.as_bytes(), right.as_bytes()])
}
