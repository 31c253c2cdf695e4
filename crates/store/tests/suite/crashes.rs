//! Stops the world after every change of stored state, loses or tears what was not synced, and checks
//! that the store kept what it promised and shows nothing half-done.
//!
//! Spec: docs/protocol.md scenario 23.

use std::io;
use std::sync::{Arc, Mutex};

use avid_store::FragmentError;
use avid_store::disk::memory::{CrashChoice, DiskAdversary, Fault, MemoryDisk, Operation, Verdict};

use crate::world::{World, fragment_is_true, open, write_fragment};

const TEARS: u64 = 8;

/// All ways to lose what was not synced that are tried after every crash.
fn choices() -> impl Iterator<Item = CrashChoice> {
    [CrashChoice::DropAll, CrashChoice::KeepAll]
        .into_iter()
        .chain((1..=TEARS).map(CrashChoice::Tear))
}

/// Changes the whole script makes.
fn script_changes() -> u64 {
    let disk = MemoryDisk::new();
    World::default().run(&disk).unwrap();
    disk.operations()
}

/// The disk at the moment the power goes at change `at`, and what was promised by then.
fn stopped_at(at: u64) -> (MemoryDisk, World) {
    let disk = MemoryDisk::new();
    let mut world = World::default();
    disk.fail_at(at, Fault::Crash);
    // The database hides what fails while it is closed.
    let _ = world.run(&disk);
    assert!(disk.is_down(), "change {at} must have struck");
    (disk, world)
}

#[test]
fn a_crash_after_any_change_loses_no_promise_and_shows_nothing_half_done() {
    let changes = script_changes();
    for at in 0..changes {
        let (stopped, world) = stopped_at(at);
        for choice in choices() {
            let disk = stopped.duplicate();
            disk.crash(choice);
            world.check(&disk, &format!("change {at} of {changes}, {choice:?}"));
        }
    }
}

#[test]
fn a_process_killed_after_any_change_finds_everything_and_then_survives_a_power_cut() {
    for at in 0..script_changes() {
        let (stopped, mut world) = stopped_at(at);
        // A copy of the disk with its cache, and nobody on it: the process alone has died.
        let disk = stopped.duplicate();
        world.go_on(&disk, 10..12).unwrap();
        for choice in [CrashChoice::DropAll, CrashChoice::Tear(at)] {
            let disk = disk.duplicate();
            disk.crash(choice);
            world.check(&disk, &format!("change {at}, {choice:?}"));
        }
    }
}

/// Every change of the recovery is a place to crash again, until a recovery gets through.
#[test]
fn a_crash_at_any_change_of_a_recovery_changes_nothing() {
    for at in (0..script_changes()).step_by(7) {
        let (stopped, world) = stopped_at(at);
        stopped.crash(CrashChoice::Tear(at));
        for second in 0.. {
            let disk = stopped.duplicate();
            let mut world = world.clone();
            disk.fail_at(second, Fault::Crash);
            let reopened = open(&disk).map(|(_, recovery)| recovery.boot);
            let is_through = !disk.is_down();
            if let Ok(boot) = reopened {
                world.boot = boot;
            }
            disk.crash(CrashChoice::Tear(second));
            world.check(&disk, &format!("change {at}, then {second}"));
            if is_through {
                break;
            }
        }
    }
}

#[test]
fn an_error_at_any_change_loses_no_promise() {
    for at in 0..script_changes() {
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

/// A failed sync ends the process, not the kernel: what is in the cache only must not be believed.
#[test]
fn an_error_at_any_change_a_restart_and_a_later_power_cut_lose_no_promise() {
    for at in 0..script_changes() {
        let disk = MemoryDisk::new();
        let mut world = World::default();
        disk.fail_at(at, Fault::Error(io::ErrorKind::Other));
        let _ = world.run(&disk);
        let case = format!("change {at}");
        world.go_on(&disk, 10..12).unwrap_or_else(|error| panic!("{case}: {error:?}"));
        disk.crash(CrashChoice::DropAll);
        world.check(&disk, &case);
    }
}

/// A crash between the rename and whatever the caller records leaves a whole fragment without an
/// owner: a sweep finds it, and a crash amid the sweep leaves one whole or none.
#[test]
fn a_fragment_nobody_recorded_is_swept_whatever_happens_on_the_way() {
    for at in 0.. {
        let disk = MemoryDisk::new();
        let (store, _) = open(&disk).unwrap();
        write_fragment(&store).unwrap();
        drop(store);
        disk.crash(CrashChoice::DropAll);
        let (store, _) = open(&disk).unwrap();
        disk.fail_at(disk.operations() + at, Fault::Crash);
        let swept = store.fragments().sweep(|_| Ok::<_, FragmentError>(false));
        let is_through = swept.is_ok();
        drop(store);
        disk.crash(CrashChoice::Tear(at));
        let left = fragment_is_true(&disk);
        assert!(left == Some(true) || left.is_none(), "change {at}");
        if is_through {
            assert_eq!(swept.unwrap(), 1);
            assert_eq!(left, None);
            return;
        }
    }
}

/// A run is a function of its script: the simulator's traces depend on it.
#[test]
fn the_same_script_makes_the_same_operations() {
    let traces = [0, 1].map(|_| {
        let disk = MemoryDisk::new();
        let trace = Arc::new(Mutex::new(Vec::new()));
        disk.set_adversary(Some(Box::new(Trace(Arc::clone(&trace)))));
        World::default().run(&disk).unwrap();
        trace.lock().unwrap().clone()
    });
    assert!(traces[0].len() > 100);
    assert!(traces[0] == traces[1]);
}

/// Remembers every operation, with its bytes.
#[derive(Debug)]
struct Trace(Arc<Mutex<Vec<String>>>);

impl DiskAdversary for Trace {
    fn at(&mut self, operation: &Operation<'_>) -> Verdict {
        self.0.lock().unwrap().push(format!("{operation:?}"));
        Verdict::Go
    }
}
