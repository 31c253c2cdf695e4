//! Scenario 23: disks that fill up or fail to sync, at each change of a dispersal in turn.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use avid_store::disk::memory::{
    CrashChoice, DiskAdversary, Fault, Operation as DiskOperation, OperationKind, Verdict,
};
use sim::world::{Shape, World};

use crate::operations::{Operation, VICTIM};
use crate::setup::{Change, Cut, Notary, RECOVERY, Recorder, pass, report, scenario, shape};

const SEED: u64 = 2370;
const OPERATION: Operation = Operation::Disperse;

/// A disk that is full from one change on: nothing grows, everything else goes on.
#[derive(Debug)]
struct FullFrom(u64);

impl DiskAdversary for FullFrom {
    fn at(&mut self, operation: &DiskOperation<'_>) -> Verdict {
        let grows = match operation.kind {
            OperationKind::CreateDir
            | OperationKind::Create
            | OperationKind::Write
            | OperationKind::SetLen => true,
            OperationKind::Sync
            | OperationKind::Rename
            | OperationKind::Remove
            | OperationKind::SyncDir
            | OperationKind::Open
            | OperationKind::Read
            | OperationKind::List => false,
        };
        if grows && operation.number >= self.0 {
            return Verdict::Fail(ErrorKind::StorageFull);
        }
        Verdict::Go
    }
}

fn changes(shape: Shape) -> Vec<Change> {
    scenario(SEED, shape, "healthy", async |world| {
        OPERATION.prepare(world).await;
        let changes = Recorder::of(&world.disk(VICTIM));
        OPERATION.run(world, Cut::Node(CrashChoice::KeepAll)).await.unwrap();
        world.disk(VICTIM).set_adversary(None);
        let changes = changes.lock().unwrap();
        changes.clone()
    })
}

/// One dispersal while the victim's disk fails as `arm` says, then what must hold.
fn fail(shape: Shape, what: &str, arm: impl Fn(&World, u64), must_halt: bool) {
    scenario(SEED, shape, what, async |world| {
        let prepared = OPERATION.prepare(world).await;
        let notary = Notary::watch(world, VICTIM);
        arm(world, world.disk(VICTIM).operations());
        let result = OPERATION.run(world, Cut::Node(CrashChoice::DropAll)).await;
        assert_eq!(result, Ok(()), "{what}: one node less is within the bound");
        OPERATION.check_told(world, &prepared, what).await;
        // Peers' heartbeats are recorded now and then: a store that cannot go on is found out.
        pass(Duration::from_secs(20)).await;
        let has_halted = world.has_halted(VICTIM).await;
        assert!(has_halted || !must_halt, "{what}: a failed sync is final, and the node goes on");
        world.disk(VICTIM).set_adversary(None);
        if has_halted {
            notary.lock().unwrap().new_life();
            world.kill(VICTIM, CrashChoice::DropAll);
            world.start(VICTIM).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        }
        assert!(world.all_vote(RECOVERY).await, "{what}: the node does not vote again");
        OPERATION.check(world, &prepared, what).await;
        let notary = notary.lock().unwrap();
        assert!(notary.empty.is_empty(), "{what}: {:?} without a fragment", notary.empty);
    });
}

/// Spec: docs/protocol.md section 6 (23): no STORED without a durable fragment.
#[test]
fn a_disk_that_is_full_from_any_change_on_costs_one_fragment_until_there_is_room() {
    for shape in [shape(3, 5), shape(2, 4)] {
        let (started, count) = (Instant::now(), changes(shape).len() as u64);
        for at in 0..count {
            let arm = |world: &World, base: u64| {
                world.disk(VICTIM).set_adversary(Some(Box::new(FullFrom(base + at))));
            };
            fail(shape, &format!("full from change {at} on"), arm, false);
        }
        report("disk full: Disperse", shape, count, count, started);
    }
}

/// Spec: docs/protocol.md section 6 (23): the failure passes before anybody looks.
#[test]
fn a_single_change_for_which_there_is_no_room_costs_one_fragment_until_the_next_put() {
    let (started, shape) = (Instant::now(), shape(3, 5));
    let changes = changes(shape);
    for (at, change) in (0..).zip(&changes) {
        let arm = |world: &World, base: u64| {
            let fault = Fault::Error(ErrorKind::StorageFull);
            world.disk(VICTIM).fail_at(base + at, fault);
        };
        fail(shape, &format!("no room for change {at}, {change:?}"), arm, is_sync(change.kind));
    }
    let count = changes.len() as u64;
    report("no room once: Disperse", shape, count, count, started);
}

/// Spec: docs/protocol.md section 6 (23): a failed sync is final, and nothing is promised on it.
#[test]
fn a_sync_that_fails_halts_the_node_and_costs_one_fragment_until_the_next_put() {
    for shape in [shape(3, 5), shape(2, 4)] {
        let (started, mut count) = (Instant::now(), 0);
        for (at, change) in (0..).zip(changes(shape)) {
            if is_sync(change.kind) {
                let arm = |world: &World, base: u64| {
                    world.disk(VICTIM).fail_at(base + at, Fault::Error(ErrorKind::Other));
                };
                fail(shape, &format!("failed sync at change {at}, {change:?}"), arm, true);
                count += 1;
            }
        }
        assert!(count > 3, "only {count} syncs");
        report("failed sync: Disperse", shape, count, count, started);
    }
}

fn is_sync(kind: OperationKind) -> bool {
    matches!(kind, OperationKind::Sync | OperationKind::SyncDir)
}
