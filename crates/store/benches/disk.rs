//! Speed of the disk paths: `cargo bench -p avid-store [DIRECTORY]`.
//!
//! Figures depend on the disk that holds the directory, by default the build's target directory.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark reports and stops")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use avid_store::journal::JournalConfig;
use avid_store::{
    AlignedBuffer, FragmentKey, FragmentShape, FragmentStore, Journal, RealDisk, StoreId,
};
use avid_types::{Digest, Slot, UploadId};

const CHUNK_BYTES: u32 = 256 << 10;
const STRIPES: u64 = 2048;
const SYNCS: u32 = 2000;

fn main() {
    let parent = std::env::args().nth(1).filter(|argument| !argument.starts_with('-'));
    let parent = parent.map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    let dir = tempfile::tempdir_in(parent).unwrap();
    let disk = Arc::new(RealDisk::open(dir.path()).unwrap());
    journal(&disk, 1);
    journal(&disk, 16);
    for _ in 0..3 {
        fragment(&disk);
    }
}

/// Appends of 4 KiB, `batch` of them per sync.
fn journal(disk: &Arc<RealDisk>, batch: u32) {
    let config = JournalConfig {
        dir: PathBuf::from(format!("journal{batch}")),
        store: StoreId([1; 16]),
        segment_bytes: avid_store::journal::SEGMENT_BYTES_DEFAULT,
    };
    let journal = Journal::create(disk.clone(), config).unwrap();
    let record = [7; 4096];
    let start = Instant::now();
    for _ in 0..SYNCS {
        for _ in 0..batch {
            journal.append(&record).unwrap();
        }
        journal.sync().unwrap();
    }
    let seconds = start.elapsed().as_secs_f64();
    let (syncs, records) = (f64::from(SYNCS) / seconds, f64::from(SYNCS * batch) / seconds);
    println!("journal, {batch} x 4 KiB per sync: {syncs:.0} syncs/s, {records:.0} records/s");
}

/// One fragment of 512 MiB, durable at the end, read back from the page cache.
fn fragment(disk: &Arc<RealDisk>) {
    let (store, _) = FragmentStore::open(disk.clone(), Path::new("fragments"), node_hash).unwrap();
    let key = FragmentKey { upload: UploadId([1; 32]), slot: Slot(0) };
    let shape = FragmentShape { chunk_bytes: CHUNK_BYTES, fpcc_bytes: 208 };
    let mut chunk = AlignedBuffer::new(256 << 10);
    assert!(chunk.set_len(256 << 10));
    chunk.as_mut_slice().fill(7);
    let start = Instant::now();
    let mut writer = store.create(key, shape).unwrap();
    for _ in 0..STRIPES {
        writer.append(chunk.as_slice(), &[1; 208], Digest::ZERO).unwrap();
    }
    let streamed = start.elapsed().as_secs_f64();
    let info = writer.finish(b"manifest").unwrap();
    let seconds = start.elapsed().as_secs_f64();
    let megabytes = f64::from(u32::try_from(info.chunk_bytes_total >> 20).unwrap()) * 1.048_576;
    let reader = store.open_fragment(key).unwrap();
    let start = Instant::now();
    let mut fpcc = [0; 208];
    for stripe in 0..STRIPES {
        reader.read_chunk(stripe, chunk.as_mut_slice()).unwrap();
        reader.read_fpcc(stripe, &mut fpcc).unwrap();
        assert!(!reader.read_path(stripe).unwrap().is_empty());
    }
    let read = start.elapsed().as_secs_f64();
    store.remove(key).unwrap();
    println!(
        "fragment of {megabytes:.0} MB: write {:.0} MB/s durable ({:.0} streaming), read {:.0} MB/s",
        megabytes / seconds,
        megabytes / streamed,
        megabytes / read
    );
}

fn node_hash(left: &Digest, right: &Digest) -> Digest {
    Digest::of(&[&[1], left.as_bytes(), right.as_bytes()])
}
