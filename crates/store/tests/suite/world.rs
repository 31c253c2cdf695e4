//! A script of a store's life, what the store promised on the way, and the checks that it kept it.

use std::ops::Bound;
use std::sync::Arc;

use avid_store::disk::memory::MemoryDisk;
use avid_store::{
    Disk, FragmentError, FragmentKey, FragmentReader, FragmentShape, IndexWrite, Recovery, Store,
    StoreConfig, StoreError, StoreId, Table,
};
use avid_types::{Digest, Slot, UploadId};

const SHAPE: FragmentShape = FragmentShape { chunk_bytes: 5000, fpcc_bytes: 100 };
const KEY: FragmentKey = FragmentKey { upload: UploadId([0xab; 32]), slot: Slot(4) };
const STRIPES: u64 = 3;
/// Records of one batch.
pub(crate) const BATCH: u64 = 3;

/// What the store has promised so far, and what it may or may not have done.
#[derive(Debug, Default, Clone)]
pub(crate) struct World {
    pub(crate) boot: u64,
    /// Records appended, by position.
    appended: Vec<Vec<u8>>,
    /// Records below this were synced.
    pub(crate) synced: u64,
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
    /// The whole script: every operation of a store, and a restart.
    pub(crate) fn run(&mut self, disk: &MemoryDisk) -> Result<(), StoreError> {
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
        self.go_on(disk, 6..7)
    }

    /// A further life of the store on the disk: a batch of records per round.
    pub(crate) fn go_on(
        &mut self,
        disk: &MemoryDisk,
        rounds: std::ops::Range<u8>,
    ) -> Result<(), StoreError> {
        let (store, recovery) = open(disk)?;
        self.boot = recovery.boot;
        // What was never promised may be there or not: from here on it is one or the other.
        self.appended.truncate(index(recovery.journal_position));
        rounds.into_iter().try_for_each(|round| self.vote(&store, round))
    }

    /// A further life that ends by a kill; returns where its last batch stands in the newest segment.
    pub(crate) fn go_on_until_killed(&mut self, disk: &MemoryDisk, round: u8) -> u64 {
        let life = disk.mount();
        let (store, recovery) = open_on(Arc::new(life.clone())).unwrap();
        self.boot = recovery.boot;
        let newest = |disk: &MemoryDisk| {
            disk.files().into_iter().rfind(|(path, _)| path.starts_with("journal"))
        };
        let (path, len) = newest(disk).unwrap();
        self.vote(&store, round).unwrap();
        life.unmount();
        let (path_after, _) = newest(disk).unwrap();
        if path == path_after { len } else { 4096 }
    }

    fn vote(&mut self, store: &Store, round: u8) -> Result<(), StoreError> {
        let first = self.appended.len();
        for number in 0..BATCH {
            let number = u8::try_from(number).unwrap();
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

    /// Every promise was kept, and the store works on, over another crash.
    pub(crate) fn check(&self, disk: &MemoryDisk, case: &str) {
        let (store, recovery) = open(disk).unwrap_or_else(|error| panic!("{case}: {error:?}"));
        assert!(recovery.boot > self.boot, "{case}: boot {} again", self.boot);
        let end = recovery.journal_position;
        assert!(self.synced <= end && end <= self.records(), "{case}: ends at {end}");
        self.check_contents(&store, end, case);
        self.check_fragment(&store, case);
        assert_eq!(store.append(b"next").unwrap(), end, "{case}");
        store.sync().unwrap();
        drop(store);
        disk.crash(avid_store::disk::memory::CrashChoice::DropAll);
        let (store, again) = open(disk).unwrap_or_else(|error| panic!("{case}: {error:?}"));
        assert_eq!(again.journal_position, end + 1, "{case}");
        assert_eq!(store.index().get(Table::Uploads, b"next").unwrap().unwrap(), end.to_le_bytes());
    }

    /// After damage the store refuses, or what it shows is true; returns where its journal ends.
    pub(crate) fn check_damaged(&self, disk: &MemoryDisk, case: &str) -> Result<u64, StoreError> {
        let opened = open(disk);
        disk.set_adversary(None);
        let (store, recovery) = opened?;
        let end = recovery.journal_position;
        assert!(end <= self.records(), "{case}: ends at {end}");
        self.check_contents(&store, end, case);
        if let Ok(reader) = store.fragments().open_fragment(KEY) {
            // Chunks are verified by whoever reads them, against their leaves.
            let _ = read_fragment(&reader);
        }
        Ok(end)
    }

    /// Journal and index hold the first `end` records, as appended, and nothing else.
    fn check_contents(&self, store: &Store, end: u64, case: &str) {
        let all = store.index().scan(Table::Uploads, Bound::Unbounded, Bound::Unbounded, 1000);
        let all = all.unwrap_or_else(|error| panic!("{case}: {error:?}"));
        assert_eq!(all.len(), index(end), "{case}: entries");
        for (key, value) in all {
            let position = u64::from_le_bytes(value.try_into().unwrap());
            let record = &self.appended[index(position)];
            assert_eq!(key, record[..2], "{case}: position {position}");
        }
        let first = store.journal().first_position();
        let kept = store.journal().read_from(first, usize::MAX).unwrap();
        assert_eq!(kept.len(), index(end - first), "{case}");
        for (position, record) in kept {
            assert!(record == self.appended[index(position)], "{case}: record {position}");
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
            let is_true =
                read_fragment(&reader).unwrap_or_else(|error| panic!("{case}: {error:?}"));
            assert!(is_true, "{case}: a chunk is not what was written");
        }
    }
}

/// Reads everything of the fragment; whether every chunk is the one its leaf says.
///
/// Whatever is read without an error, chunks apart, must be what was written.
fn read_fragment(reader: &FragmentReader) -> Result<bool, FragmentError> {
    assert_eq!(reader.info().stripes, STRIPES);
    assert_eq!(reader.manifest()?, b"the manifest");
    reader.check_sidecar()?;
    let mut is_true = true;
    for stripe in 0..STRIPES {
        assert_eq!(reader.read_leaf(stripe)?, leaf_of(&chunk_of(stripe)));
        let mut chunk = vec![0; reader.chunk_len(stripe)];
        reader.read_chunk(stripe, &mut chunk)?;
        is_true &= leaf_of(&chunk) == reader.read_leaf(stripe)?;
    }
    Ok(is_true)
}

/// How the fragment of the script reads: `None` if it cannot be opened or read.
pub(crate) fn fragment_is_true(disk: &MemoryDisk) -> Option<bool> {
    let (store, _) = open(disk).unwrap();
    let reader = store.fragments().open_fragment(KEY).ok()?;
    read_fragment(&reader).ok()
}

fn index(position: u64) -> usize {
    usize::try_from(position).unwrap()
}

/// Opens the store in a process of its own.
pub(crate) fn open(disk: &MemoryDisk) -> Result<(Store, Recovery), StoreError> {
    open_on(Arc::new(disk.mount()))
}

fn open_on(life: Arc<dyn Disk>) -> Result<(Store, Recovery), StoreError> {
    let config =
        StoreConfig { segment_bytes: 24 << 10, ..StoreConfig::new(StoreId([5; 16]), node_hash) };
    Store::open(life, &config, &mut effect)
}

fn effect(position: u64, record: &[u8]) -> Vec<IndexWrite> {
    let key = &record[..record.len().min(if record == b"next" { 4 } else { 2 })];
    vec![IndexWrite::put(Table::Uploads, key, position.to_le_bytes())]
}

pub(crate) fn write_fragment(store: &Store) -> Result<(), StoreError> {
    let mut writer = store.fragments().create(KEY, SHAPE)?;
    for stripe in 0..STRIPES {
        let chunk = chunk_of(stripe);
        writer.append(&chunk, &[1; 100], leaf_of(&chunk))?;
    }
    writer.finish(b"the manifest")?;
    Ok(())
}

pub(crate) fn remove_fragment(store: &Store) {
    assert!(store.fragments().remove(KEY).unwrap());
}

fn chunk_of(stripe: u64) -> Vec<u8> {
    vec![stripe.to_le_bytes()[0] + 1; if stripe == 2 { 77 } else { 5000 }]
}

fn leaf_of(chunk: &[u8]) -> Digest {
    Digest::of(&[&[0], chunk])
}

fn node_hash(left: &Digest, right: &Digest) -> Digest {
    Digest::of(&[&[1], left.as_bytes(), right.as_bytes()])
}
