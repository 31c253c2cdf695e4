//! Files of the data directory, on a disk in memory: journal segments, fragments, the identity.
//!
//! Checksums stop random changes before the code behind them runs. A first byte with
//! [`REPAIR`] set asks the target to make them right after mutation, as an attacker at the disk
//! would; offsets below are those of docs/formats.md, written down here a second time on purpose.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use avid_store::disk::memory::MemoryDisk;
use avid_store::fragment::format::{FOOTER_BYTES, MANIFEST_BYTES_MAX};
use avid_store::journal::{JournalConfig, RECORD_BYTES_MAX};
use avid_store::store::StoreConfig;
use avid_store::{
    Disk, FragmentError, FragmentKey, FragmentReader, FragmentShape, FragmentStore, Journal,
    JournalError, OpenMode, Store, StoreError, StoreId,
};
use avid_types::limits::{CHUNK_BYTES_MAX, CHUNK_OVERHEAD_BYTES_MAX, STRIPE_PATH_MAX};
use avid_types::{Digest, Slot, UploadId};

use crate::golden;

/// In the first byte: make checksums right.
const REPAIR: u8 = 1;
/// In the first byte, for journals: what follows is two segments, the first of this many sectors.
const SPLIT: u8 = 2;

const SECTOR: usize = 4096;
const BATCH_MAGIC: &[u8] = b"AVIDBAT\0";
const BATCH_HEADER: usize = 40;
const FRAME_HEADER: usize = 16;
const STORE: StoreId = StoreId([0x5d; 16]);

type Records = Vec<(u64, Vec<u8>)>;

/// A journal's segments: mode, sectors of the first segment, bytes of the segments.
///
/// Recovery either refuses, or hands over records at consecutive positions, and then a second
/// recovery hands over the same ones, and new records are added behind them.
pub fn target_journal(bytes: &[u8]) {
    let Some((&[mode, sectors], segments)) = bytes.split_first_chunk() else {
        return;
    };
    let cut = usize::from(sectors) * SECTOR;
    let (first, second) = match segments.split_at_checked(cut) {
        Some((first, second)) if mode & SPLIT != 0 => (first, Some(second)),
        Some(_) | None => (segments, None),
    };
    let disk = MemoryDisk::new();
    for segment in [Some(first), second].into_iter().flatten() {
        let mut segment = segment.to_vec();
        if mode & REPAIR != 0 {
            repair_segment(&mut segment);
        }
        let name = format!("{:016x}.wal", number::<8>(&segment, 32));
        put_file(&disk, &Path::new(JOURNAL).join(name), &segment);
    }
    let Ok((journal, records)) = recover(&disk) else {
        return;
    };
    check_journal(&journal, &records);
    drop(journal);
    grow(&disk, records);
}

const JOURNAL: &str = "journal";

fn recover(disk: &MemoryDisk) -> Result<(Journal, Records), JournalError> {
    let mut records = Vec::new();
    let mut replay = |position, record: &[u8]| records.push((position, record.to_vec()));
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let dir = PathBuf::from(JOURNAL);
    let config = JournalConfig { dir, store: STORE, segment_bytes: 4 * 4096 };
    let journal = Journal::open(disk, config, &mut replay)?;
    Ok((journal, records))
}

fn check_journal(journal: &Journal, records: &Records) {
    let first = journal.first_position();
    for (position, (found, record)) in (first..).zip(records) {
        assert!(*found == position, "records are out of order");
        assert!(record.len() <= RECORD_BYTES_MAX, "length of a record");
    }
    assert!(journal.next_position() == journal.durable_position(), "records nobody appended");
    let read = journal.read_from(first, usize::MAX);
    assert!(read.is_ok_and(|read| read == *records), "reading differs from replay");
}

/// Recovers again, appends, and recovers once more.
fn grow(disk: &MemoryDisk, mut records: Records) {
    let again = recover(disk).ok();
    assert!(again.as_ref().is_some_and(|(_, found)| *found == records), "recovery is not stable");
    let Some((journal, _)) = again else { return };
    let position = journal.next_position();
    // The last position of all is out of reach: a record a nanosecond for 580 years.
    if position >= u64::MAX - 1 {
        return;
    }
    assert!(journal.append(b"next").ok() == Some(position), "position of the next record");
    assert!(journal.sync().ok() == Some(position + 1), "position after the next record");
    drop(journal);
    records.push((position, b"next".to_vec()));
    assert!(recover(disk).is_ok_and(|(_, found)| found == records), "an appended record is lost");
}

/// A fragment file: mode, then the file.
///
/// Opening either refuses, or every offset lies in the file and every part can be read.
pub fn target_fragment(bytes: &[u8]) {
    let Some((mode, file)) = bytes.split_first() else {
        return;
    };
    let mut file = file.to_vec();
    if mode & REPAIR != 0 {
        repair_fragment(&mut file);
    }
    let disk = MemoryDisk::new();
    let key = footer_key(&file);
    let shard = format!("{:02x}", key.upload.0.first().copied().unwrap_or(0));
    put_file(&disk, &Path::new("fragments").join(shard).join(key.to_string()), &file);
    let Some(store) = fragment_store(&disk) else { return };
    match store.open_fragment(key) {
        Ok(reader) => check_fragment(&reader, key, file.len()),
        Err(FragmentError::Damaged { .. } | FragmentError::Version { .. }) => {}
        Err(_) => assert!(file.is_empty(), "a fragment is damaged, or of another version"),
    }
}

fn check_fragment(reader: &FragmentReader, key: FragmentKey, file_bytes: usize) {
    let info = *reader.info();
    let (chunk, fpcc) = (info.shape.chunk_bytes, len(info.shape.fpcc_bytes));
    assert!(info.key == key && info.file_bytes == file_bytes as u64, "another file");
    assert!((1..=CHUNK_BYTES_MAX).contains(&chunk), "chunk size");
    assert!((1..=CHUNK_OVERHEAD_BYTES_MAX).contains(&fpcc), "cross-checksum size");
    assert!(len(info.manifest_bytes) <= MANIFEST_BYTES_MAX, "manifest size");
    let readable = |error| matches!(error, FragmentError::Damaged { .. });
    assert!(reader.manifest().map_or_else(readable, |m| m.len() == len(info.manifest_bytes)));
    assert!(reader.check_sidecar().map_or_else(readable, |()| true), "sidecar out of the file");
    let root = reader.root();
    assert!(root.is_ok_and(|root| root.is_some() == (info.stripes > 0)), "root of the tree");
    let last = info.stripes.saturating_sub(1);
    let mut stripes = vec![0, 1, 2, 127, 128, last / 2, last];
    stripes.retain(|stripe| *stripe < info.stripes);
    for stripe in stripes {
        check_stripe(reader, stripe, fpcc);
    }
    let end = info.chunk_offset(last) + reader.chunk_len(last) as u64;
    assert!(end == info.chunk_bytes_total, "chunks do not add up");
    assert!(matches!(reader.read_leaf(info.stripes), Err(FragmentError::NoStripe { .. })));
}

fn check_stripe(reader: &FragmentReader, stripe: u64, fpcc_bytes: usize) {
    let mut chunk = vec![0; reader.chunk_len(stripe)];
    assert!(!chunk.is_empty() && reader.read_chunk(stripe, &mut chunk).is_ok(), "chunk");
    let mut fpcc = vec![0; fpcc_bytes];
    assert!(reader.read_fpcc(stripe, &mut fpcc).is_ok(), "cross-checksum out of the file");
    let path = reader.read_path(stripe);
    assert!(path.is_ok_and(|path| path.len() <= STRIPE_PATH_MAX), "path out of the file");
    assert!(reader.read_leaf(stripe).is_ok(), "leaf out of the file");
}

/// Names of files in the directory of fragments, one per line.
pub fn target_fragment_names(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let disk = MemoryDisk::new();
    for name in text.lines().take(64) {
        let shard = name.get(..2).filter(|shard| shard.chars().all(char::is_alphanumeric));
        let dir = Path::new("fragments").join(shard.unwrap_or("00"));
        if !name.contains('/') && disk.create_dir_all(&dir).is_ok() {
            drop(disk.open(&dir.join(name), OpenMode::Create));
        }
    }
    let keys = fragment_store(&disk).and_then(|store| store.list().ok()).unwrap_or_default();
    for key in keys {
        let name = key.to_string();
        assert!(text.lines().any(|line| line == name), "a fragment that nobody stored");
    }
}

/// The identity file, alone: whatever it says, a store with nothing else is not opened.
pub fn target_store_identity(bytes: &[u8]) {
    let mut file = bytes.to_vec();
    if let Some((_, body)) = bytes.split_first().filter(|(mode, _)| *mode & REPAIR != 0) {
        file = body.to_vec();
        seal(&mut file, 0, 32);
    }
    let disk = MemoryDisk::new();
    put_file(&disk, Path::new("store"), &file);
    let config = StoreConfig::new(STORE, node_hash);
    let opened = Store::open(Arc::new(disk), &config, &mut |_, _| Vec::new());
    let refused = matches!(opened, Err(StoreError::Damaged(_) | StoreError::Version(_)));
    assert!(refused, "a store was made of an identity file");
}

fn node_hash(left: &Digest, right: &Digest) -> Digest {
    Digest::of(&[left.as_bytes(), right.as_bytes()])
}

fn fragment_store(disk: &MemoryDisk) -> Option<FragmentStore> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Some(FragmentStore::open(disk, Path::new("fragments"), node_hash).ok()?.0)
}

fn put_file(disk: &MemoryDisk, path: &Path, bytes: &[u8]) {
    let dir = path.parent().unwrap_or_else(|| Path::new(""));
    let file = disk.create_dir_all(dir).and_then(|()| disk.open(path, OpenMode::Create));
    let written = file.and_then(|file| {
        file.set_len(0)?;
        file.write_at(0, bytes)?;
        file.sync()
    });
    assert!(written.and_then(|()| disk.sync_dir(dir)).is_ok(), "a disk in memory fails");
}

fn file_bytes(disk: &MemoryDisk, path: &Path) -> Vec<u8> {
    let read = disk.open(path, OpenMode::Read).and_then(|file| {
        let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(0)];
        file.read_at(0, &mut bytes)?;
        Ok(bytes)
    });
    read.unwrap_or_default()
}

fn len(bytes: u32) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// The little-endian number of `N` bytes at an offset; 0 past the end.
fn number<const N: usize>(bytes: &[u8], at: usize) -> u64 {
    let digits = bytes.get(at..).and_then(|rest| rest.first_chunk::<N>());
    digits
        .iter()
        .flat_map(|digits| digits.iter().rev())
        .fold(0, |n, byte| n << 8 | u64::from(*byte))
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    let target = at.checked_add(value.len()).and_then(|end| bytes.get_mut(at..end));
    target.into_iter().for_each(|target| target.copy_from_slice(value));
}

/// Writes at `end` the checksum of the bytes from `start` to there.
fn seal(bytes: &mut [u8], start: usize, end: usize) {
    let crc = bytes.get(start..end).map(crc32c::crc32c);
    crc.into_iter().for_each(|crc| put(bytes, end, &crc.to_le_bytes()));
}

/// Makes header, batches and frames of a segment claim this store and carry right checksums.
fn repair_segment(segment: &mut [u8]) {
    put(segment, 16, &STORE.0);
    seal(segment, 0, 40);
    for start in (SECTOR..segment.len()).step_by(SECTOR) {
        if segment.get(start..start + 8) != Some(BATCH_MAGIC) {
            continue;
        }
        put(segment, start + 8, &(start as u64).to_le_bytes());
        let header = segment.get(start..start + 32).unwrap_or_default();
        let crc = crc32c::crc32c_append(crc32c::crc32c(&STORE.0), header);
        put(segment, start + 32, &crc.to_le_bytes());
        repair_frames(segment, start);
    }
}

fn repair_frames(segment: &mut [u8], start: usize) {
    let mut frame = start + BATCH_HEADER;
    let body = usize::try_from(number::<4>(segment, start + 28)).unwrap_or(0);
    let end = frame.saturating_add(body).min(segment.len());
    while frame + FRAME_HEADER <= end {
        let length = usize::try_from(number::<4>(segment, frame)).unwrap_or(0);
        let next = frame + FRAME_HEADER + length;
        let Some(record) = segment.get(frame + 8..next) else {
            return;
        };
        let crc = crc32c::crc32c(record);
        put(segment, frame + 4, &crc.to_le_bytes());
        frame = next;
    }
}

/// Makes the checksums of a fragment file right, wherever its footer says the parts are.
fn repair_fragment(file: &mut [u8]) {
    let Some(footer) = file.len().checked_sub(FOOTER_BYTES) else {
        return;
    };
    let place = |at| usize::try_from(number::<8>(file, footer + at)).unwrap_or(usize::MAX);
    let [sidecar, manifest, end] = [72, 88, 96].map(place);
    for (from, at) in [(sidecar, 104), (manifest, 108)] {
        let crc = file.get(from..end).map(crc32c::crc32c);
        crc.into_iter().for_each(|crc| put(file, footer + at, &crc.to_le_bytes()));
    }
    seal(file, footer, footer + FOOTER_BYTES - 4);
}

/// The key that a footer names, so that the file lies where it belongs.
fn footer_key(file: &[u8]) -> FragmentKey {
    let footer = file.len().saturating_sub(FOOTER_BYTES);
    let upload = file.get(footer + 16..).and_then(|rest| rest.first_chunk::<32>());
    let slot = u8::try_from(number::<1>(file, footer + 12)).unwrap_or(0);
    FragmentKey { upload: UploadId(upload.copied().unwrap_or_default()), slot: Slot(slot) }
}

/// Journals of one and of two segments, with short, long and empty records.
pub(crate) fn journal_seeds() -> Vec<Vec<u8>> {
    let disk = MemoryDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let dir = PathBuf::from(JOURNAL);
    let config = JournalConfig { dir, store: STORE, segment_bytes: 4 * 4096 };
    let Ok(journal) = Journal::create(shared, config) else { return Vec::new() };
    for record in golden::records().iter().chain([&Vec::new(), &vec![7; 5000]]) {
        let synced = journal.append(record).and_then(|_| journal.append(b"short"));
        assert!(synced.and_then(|_| journal.sync()).is_ok(), "a disk in memory fails");
    }
    let mut names = disk.list(Path::new(JOURNAL)).unwrap_or_default();
    names.sort_unstable();
    let segments: Vec<Vec<u8>> =
        names.iter().map(|name| file_bytes(&disk, &Path::new(JOURNAL).join(name))).collect();
    let mut seeds = Vec::new();
    for mode in [0, REPAIR] {
        seeds.extend(segments.iter().map(|segment| [&[mode, 0], segment.as_slice()].concat()));
        for pair in segments.windows(2) {
            let sectors = pair.first().map_or(0, |first| first.len() / SECTOR);
            let head = [mode | SPLIT, u8::try_from(sectors).unwrap_or(u8::MAX)];
            seeds.push([head.as_slice(), &pair.concat()].concat());
        }
    }
    seeds
}

/// Fragments without, with one and with several stripes.
pub(crate) fn fragment_seeds() -> Vec<Vec<u8>> {
    let disk = MemoryDisk::new();
    let Some(store) = fragment_store(&disk) else { return Vec::new() };
    let key = FragmentKey { upload: UploadId([0xab; 32]), slot: Slot(3) };
    let shape = FragmentShape { chunk_bytes: 64, fpcc_bytes: 48 };
    let path = Path::new("fragments/ab").join(key.to_string());
    let manifest = golden::forms("manifest").concat();
    let mut seeds = Vec::new();
    for stripes in [0_u8, 1, 5] {
        let Ok(mut writer) = store.create(key, shape) else { continue };
        for stripe in 0..stripes {
            let bytes = if stripe + 1 == stripes { 17 } else { 64 };
            let leaf = Digest([stripe; 32]);
            let appended = writer.append(&vec![stripe; bytes], &[stripe; 48], leaf);
            assert!(appended.is_ok(), "a disk in memory fails");
        }
        assert!(writer.finish(&manifest).is_ok(), "a disk in memory fails");
        let file = file_bytes(&disk, &path);
        seeds.extend([0, REPAIR].map(|mode| [&[mode], file.as_slice()].concat()));
    }
    seeds
}

pub(crate) fn fragment_name_seeds() -> Vec<Vec<u8>> {
    let names = [0, 7, 255]
        .map(|slot| FragmentKey { upload: UploadId([slot; 32]), slot: Slot(slot) }.to_string());
    vec![names.join("\n").into_bytes(), b"00\nstore.new\n..\n".to_vec()]
}

pub(crate) fn store_identity_seeds() -> Vec<Vec<u8>> {
    let mut file = [b"AVIDSTO\0".as_slice(), &[1, 0, 0, 0, 0, 0, 0, 0], &STORE.0, &[0; 4]].concat();
    seal(&mut file, 0, 32);
    vec![[&[REPAIR], file.as_slice()].concat(), file]
}

#[cfg(test)]
mod tests {
    use super::*;

    // Mutation of a file that is refused at once would test only its first check.
    #[test]
    fn the_stored_samples_are_readable_and_repair_makes_changed_ones_readable() {
        for seed in journal_seeds() {
            let (_, segment) = seed.split_first_chunk::<2>().unwrap();
            let mut changed = segment.to_vec();
            changed[SECTOR + BATCH_HEADER + 4] ^= 1; // The checksum of the first frame.
            for (bytes, repaired) in [(segment, false), (&changed, false), (&changed, true)] {
                let mut bytes = bytes.to_vec();
                if repaired {
                    repair_segment(&mut bytes);
                }
                let disk = MemoryDisk::new();
                let name = format!("{:016x}.wal", number::<8>(&bytes, 32));
                put_file(&disk, &Path::new(JOURNAL).join(name), &bytes);
                let whole = bytes == segment || repaired;
                if seed[0] & SPLIT == 0 {
                    assert_eq!(recover(&disk).is_ok_and(|(_, r)| !r.is_empty()), whole);
                }
            }
        }
    }
}
