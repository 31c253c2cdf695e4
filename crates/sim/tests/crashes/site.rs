//! Scenario 23 at the whole site: every node loses its power at once.

use std::time::Instant;

use avid_store::disk::memory::{CrashChoice, Fault};
use sim::world::World;

use crate::every_change::CHOICES;
use crate::operations::Operation;
use crate::setup::{Cut, RECOVERY, is_big, report, scenario, shape};

const SEED: u64 = 2350;

/// Changes since `before` at the node that makes the most.
fn most_changes(world: &World, before: &[u64]) -> u64 {
    let now = operations(world).into_iter();
    now.zip(before).map(|(now, before)| now - before).max().unwrap()
}

fn operations(world: &World) -> Vec<u64> {
    world.nodes().iter().map(|node| world.disk(*node).operations()).collect()
}

/// Cuts every disk off at its own change `at` of the operation; `cut` says whether the first one
/// that gets there takes the others with it. Returns whether the user was told of success.
fn crash(operation: Operation, at: u64, cut: Cut) -> bool {
    let what = format!("{operation:?}, all nodes at change {at}, {cut:?}");
    scenario(SEED, shape(3, 5), &what, async |world| {
        let prepared = operation.prepare(world).await;
        for node in world.nodes() {
            let disk = world.disk(node);
            disk.fail_at(disk.operations() + at, Fault::Crash);
        }
        let result = operation.run(world, cut).await;
        for node in world.nodes() {
            world.kill(node, cut.choice());
            world.disk(node).crash(cut.choice());
        }
        for node in world.nodes() {
            world.start(node).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        }
        assert!(world.all_vote(RECOVERY).await, "{what}: the nodes do not vote again");
        if result.is_ok() {
            operation.check_told(world, &prepared, &what).await;
        }
        operation.check(world, &prepared, &what).await;
        result.is_ok()
    })
}

fn crash_everywhere(operation: Operation) {
    let started = Instant::now();
    let points = scenario(SEED, shape(3, 5), "healthy", async |world| {
        operation.prepare(world).await;
        let before = operations(world);
        operation.run(world, Cut::Node(CrashChoice::KeepAll)).await.unwrap();
        most_changes(world, &before)
    });
    let (mut runs, mut told) = (0, 0);
    for (at, turn) in (0..points).zip((0..CHOICES.len()).cycle()) {
        let choices = if is_big() { &CHOICES[..] } else { &CHOICES[turn..=turn] };
        for choice in choices {
            let both = [Cut::Site(*choice), Cut::Node(*choice)];
            let cuts = if is_big() { &both[..] } else { &both[turn % 2..=turn % 2] };
            for cut in cuts {
                told += u64::from(crash(operation, at, *cut));
                runs += 1;
            }
        }
    }
    assert!(told < runs, "no crash was noticed by a user");
    report(&format!("site: {operation:?}"), shape(3, 5), points, runs, started);
}

/// Spec: docs/protocol.md section 6 (23): what was acknowledged stands, what was not is resumed.
#[test]
fn a_power_failure_of_the_site_at_any_change_of_a_dispersal() {
    crash_everywhere(Operation::Disperse);
}

/// Spec: docs/protocol.md section 6 (23), DELETE-1.
#[test]
fn a_power_failure_of_the_site_at_any_change_of_a_deletion() {
    crash_everywhere(Operation::Delete);
}

/// Spec: docs/protocol.md section 6 (23), ABORT-1.
#[test]
fn a_power_failure_of_the_site_at_any_change_of_a_cancellation() {
    crash_everywhere(Operation::Cancel);
}
