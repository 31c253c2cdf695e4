//! Disks that fail to read, lie about writes and rot: the store refuses, or what it shows is true.
//!
//! What no single store can notice is the loss of its newest batch: a batch that is unreadable with
//! nothing valid behind it looks like one whose sync never returned. Other nodes' memory of the
//! journal position notices it (AMNESIA-1).
//!
//! Spec: docs/protocol.md AMNESIA-1, scenario 30.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use avid_store::StoreError;
use avid_store::disk::memory::{
    CrashChoice, DiskAdversary, MemoryDisk, Operation, OperationKind, Verdict,
};

use crate::world::{BATCH, World, fragment_is_true, open};

/// Gives a verdict to one operation: the one with this number among those it counts.
#[derive(Debug)]
struct Once {
    counts: fn(&Operation<'_>) -> bool,
    at: u64,
    verdict: Verdict,
    seen: Arc<AtomicU64>,
}

impl DiskAdversary for Once {
    fn at(&mut self, operation: &Operation<'_>) -> Verdict {
        if !(self.counts)(operation) {
            return Verdict::Go;
        }
        let number = self.seen.fetch_add(1, Ordering::Relaxed);
        if number == self.at { self.verdict } else { Verdict::Go }
    }
}

/// Runs `script` once for each operation that counts, with that one meeting `verdict`.
fn for_each(
    counts: fn(&Operation<'_>) -> bool,
    verdict: impl Fn(u64) -> Verdict,
    mut script: impl FnMut(u64, Box<dyn DiskAdversary>),
) {
    for at in 0.. {
        let seen = Arc::new(AtomicU64::new(0));
        let verdict = verdict(at);
        script(at, Box::new(Once { counts, at, verdict, seen: Arc::clone(&seen) }));
        if seen.load(Ordering::Relaxed) <= at {
            assert!(at > 5, "only {at} operations were tried");
            return;
        }
    }
}

/// The script's disk after a power cut, and what was promised on it.
fn after_power_cut() -> (MemoryDisk, World) {
    let disk = MemoryDisk::new();
    let mut world = World::default();
    world.run(&disk).unwrap();
    disk.crash(CrashChoice::DropAll);
    (disk, world)
}

/// Checks a disk that was damaged; the error if the store refuses to open.
///
/// The refusal names damage, and what is shown otherwise lacks the newest batch at most.
fn refusal(disk: &MemoryDisk, world: &World, case: &str) -> Option<StoreError> {
    match world.check_damaged(disk, case) {
        Ok(end) => assert!(end + BATCH >= world.synced, "{case}: ends at {end}"),
        Err(error) => {
            assert!(error.is_amnesia(), "{case}: {error:?}");
            return Some(error);
        }
    }
    None
}

fn segments(disk: &MemoryDisk) -> Vec<PathBuf> {
    let files = disk.files().into_iter().map(|(path, _)| path);
    files.filter(|path| path.starts_with("journal")).collect()
}

fn flip_in(disk: &MemoryDisk, path: &Path, byte: u64) {
    disk.flip_bit(path, 8 * byte).unwrap();
}

#[test]
fn a_read_that_fails_while_opening_is_an_error_that_forgets_nothing() {
    let (image, world) = after_power_cut();
    for_each(
        |operation| !operation.kind.is_change(),
        |_| Verdict::Fail(io::ErrorKind::Other),
        |at, adversary| {
            let disk = image.duplicate();
            disk.set_adversary(Some(adversary));
            let mut world = world.clone();
            match open(&disk) {
                Ok((_, recovery)) => world.boot = recovery.boot,
                Err(error) => assert!(!error.is_amnesia(), "read {at}: {error:?}"),
            }
            disk.set_adversary(None);
            world.check(&disk, &format!("read {at}"));
        },
    );
}

/// Pages of the index are checked once, at open; a bit that flips on a later way from the disk is the
/// one thing here that the database alone may or may not notice.
#[test]
fn a_read_of_journal_or_identity_that_is_wrong_is_refused_or_costs_the_last_batch_at_most() {
    let (image, world) = after_power_cut();
    for flip in [0, 77, 321, 4095, 20_001] {
        for_each(
            |operation| {
                operation.kind == OperationKind::Read && operation.path != Path::new("index.redb")
            },
            |at| Verdict::FlipBit { bit: flip * (at + 1) },
            |at, adversary| {
                let disk = image.duplicate();
                disk.set_adversary(Some(adversary));
                refusal(&disk, &world, &format!("read {at}, flip {flip}"));
            },
        );
    }
}

/// Runs the script once for each write, with that one spoilt, and then cuts the power.
fn spoil_each_write(verdict: impl Fn(u64) -> Verdict) {
    let mut refused = 0;
    for_each(
        |operation| operation.kind == OperationKind::Write,
        verdict,
        |at, adversary| {
            let disk = MemoryDisk::new();
            disk.set_adversary(Some(adversary));
            let mut world = World::default();
            world.run(&disk).unwrap();
            disk.crash(CrashChoice::DropAll);
            let refusal = refusal(&disk, &world, &format!("write {at}"));
            refused += u64::from(refusal.is_some());
        },
    );
    assert!(refused > 5, "only {refused} were noticed");
}

#[test]
fn a_lost_write_is_refused_or_costs_the_last_batch_at_most() {
    spoil_each_write(|_| Verdict::Lose);
}

#[test]
fn a_misdirected_write_is_refused_or_costs_the_last_batch_at_most() {
    spoil_each_write(|at| Verdict::Misdirect { offset: 4096 * (at % 7) });
}

#[test]
fn a_spoilt_write_is_refused_or_costs_the_last_batch_at_most() {
    spoil_each_write(|at| Verdict::FlipBit { bit: at * 977 });
}

#[test]
fn rot_anywhere_is_refused_or_costs_the_last_batch_at_most() {
    let (image, world) = after_power_cut();
    for (path, len) in image.files() {
        let step = usize::try_from(len * 8 / 400 + 1).unwrap();
        for bit in (0..len * 8).step_by(step) {
            let disk = image.duplicate();
            disk.flip_bit(&path, bit).unwrap();
            refusal(&disk, &world, &format!("{} bit {bit}", path.display()));
        }
    }
}

// Scenario 30: the node halts and says that it must not vote again.
#[test]
fn rot_in_identity_segment_header_or_an_older_batch_halts_the_node() {
    let (image, world) = after_power_cut();
    let segments = segments(&image);
    let [older, newest] = segments.as_slice() else { panic!("{segments:?}") };
    let cases = [
        (Path::new("store"), 20),
        (older.as_path(), 0),
        (newest.as_path(), 33),
        (older.as_path(), 4096 + 8),
        (older.as_path(), 4096 + 3000),
        // The last batch of a segment that has a successor.
        (older.as_path(), 3 * 4096 + 60),
    ];
    for (path, byte) in cases {
        let disk = image.duplicate();
        flip_in(&disk, path, byte);
        let case = format!("{} byte {byte}", path.display());
        let error = refusal(&disk, &world, &case).unwrap_or_else(|| panic!("{case}: opened"));
        assert!(error.to_string().contains("must not vote again"), "{case}: {error}");
    }
}

/// The index knows how far the journal reached when the store was last closed or checkpointed.
#[test]
fn rot_in_the_newest_batch_halts_a_node_that_was_stopped_properly() {
    let (image, world) = after_power_cut();
    let newest = segments(&image).pop().unwrap();
    flip_in(&image, &newest, 4096 + 60);
    let error = refusal(&image, &world, "stopped").unwrap();
    assert!(matches!(error, StoreError::Damaged("journal ends before what the index contains")));
}

/// What one store cannot know: it shows less, and its peers' memory stops it (AMNESIA-1).
#[test]
fn rot_in_the_newest_batch_of_a_killed_node_costs_that_batch_and_shows_in_the_position() {
    let disk = MemoryDisk::new();
    let mut world = World::default();
    world.run(&disk).unwrap();
    // The last change is the end of the store's life, the database's; the batch is synced before.
    let last = world.go_on_until_killed(&disk, 7);
    let newest = segments(&disk).pop().unwrap();
    disk.crash(CrashChoice::DropAll);
    flip_in(&disk, &newest, last + 60);
    let end = world.check_damaged(&disk, "killed").unwrap();
    assert_eq!(end + BATCH, world.synced);
}

#[test]
fn rot_in_a_live_page_of_the_index_halts_the_node() {
    let (image, world) = after_power_cut();
    let path = Path::new("index.redb");
    let bytes = image.content(path).unwrap();
    // Every copy of the leaf that names the store, one of which counts.
    let copies = bytes.windows(16).enumerate().filter(|(_, found)| *found == [5; 16]);
    let mut refused = 0;
    for (byte, _) in copies {
        let disk = image.duplicate();
        flip_in(&disk, path, u64::try_from(byte).unwrap());
        refused += u64::from(refusal(&disk, &world, &format!("byte {byte}")).is_some());
    }
    assert!(refused > 0);
}

#[test]
fn an_index_that_was_cut_halts_the_node() {
    let (image, world) = after_power_cut();
    let path = Path::new("index.redb");
    let (_, len) = image.files().into_iter().find(|(found, _)| found == path).unwrap();
    for left in [1, 100, len / 2, len - 1] {
        let disk = image.duplicate();
        disk.corrupt(path, |bytes| bytes.truncate(usize::try_from(left).unwrap())).unwrap();
        refusal(&disk, &world, &format!("{left} bytes left")).unwrap();
    }
}

#[test]
fn rot_anywhere_in_a_fragment_is_found_when_it_is_read() {
    let (image, _) = after_power_cut();
    let (path, len) =
        image.files().into_iter().find(|(path, _)| path.starts_with("fragments")).unwrap();
    assert_eq!(fragment_is_true(&image), Some(true));
    for byte in (0..len).step_by(61) {
        let disk = image.duplicate();
        flip_in(&disk, &path, byte);
        assert_ne!(fragment_is_true(&disk), Some(true), "byte {byte}");
    }
}

#[test]
fn a_name_that_never_reached_the_disk_is_refused_or_costs_what_is_in_the_file() {
    for_each(
        |operation| {
            matches!(operation.kind, OperationKind::Create | OperationKind::Rename)
                && !operation.path.starts_with("fragments")
        },
        |_| Verdict::Lose,
        |at, adversary| {
            let disk = MemoryDisk::new();
            disk.set_adversary(Some(adversary));
            let mut world = World::default();
            world.run(&disk).unwrap();
            disk.crash(CrashChoice::DropAll);
            // A store that lost its identity as well as everything else looks new.
            let _ = world.check_damaged(&disk, &format!("name {at}"));
        },
    );
}
