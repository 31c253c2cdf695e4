//! A disk without room: what was promised stays, what was refused can be tried again, and removing
//! makes room.

use avid_store::disk::memory::{CrashChoice, MemoryDisk};
use avid_store::{Disk, StoreError};

use crate::world::{World, open, remove_fragment, write_fragment};

/// At every amount of room, from none to enough.
#[test]
fn a_store_that_runs_full_anywhere_keeps_its_promises_and_goes_on_with_room() {
    let disk = MemoryDisk::new();
    World::default().run(&disk).unwrap();
    let needed: u64 = disk.files().iter().map(|(_, len)| len).sum();
    let mut refused = 0;
    for room in (0..needed).step_by(4096) {
        let disk = MemoryDisk::new();
        disk.set_free_bytes(room);
        let mut world = World::default();
        refused += u64::from(world.run(&disk).is_err());
        disk.set_free_bytes(None);
        let case = format!("room for {room} of {needed}");
        world.go_on(&disk, 10..11).unwrap_or_else(|error| panic!("{case}: {error:?}"));
        disk.crash(CrashChoice::Tear(room));
        world.check(&disk, &case);
    }
    assert!(refused > 10, "only {refused} ran out of room");
}

#[test]
fn a_removed_fragment_makes_room_for_another() {
    let disk = MemoryDisk::new();
    let (store, _) = open(&disk).unwrap();
    write_fragment(&store).unwrap();
    disk.set_free_bytes(4096);
    let full = write_fragment(&store).unwrap_err();
    assert!(matches!(full, StoreError::Fragment(_)), "{full:?}");
    assert!(!store.is_poisoned());
    assert_eq!(disk.free_bytes().unwrap(), 4096, "a refused fragment leaves nothing");
    remove_fragment(&store);
    write_fragment(&store).unwrap();
}
