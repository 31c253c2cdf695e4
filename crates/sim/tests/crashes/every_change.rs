//! Scenario 23: one node loses its power at each change of stored state in turn.

use std::time::Instant;

use avid_store::disk::memory::{CrashChoice, Fault};
use sim::world::Shape;

use crate::operations::{Operation, VICTIM};
use crate::setup::{Cut, Notary, RECOVERY, is_big, report, scenario, shape};

/// What becomes of what was not synced.
pub(crate) const CHOICES: [CrashChoice; 5] = [
    CrashChoice::DropAll,
    CrashChoice::Tear(1),
    CrashChoice::KeepAll,
    CrashChoice::Tear(2),
    CrashChoice::Tear(3),
];

/// From so many crash points on, each one meets one choice instead of two.
const LONG: u64 = 30;

#[derive(Clone, Copy, Debug)]
struct Case {
    seed: u64,
    shape: Shape,
    operation: Operation,
}

impl Case {
    /// Changes that the victim's disk makes in the operation.
    fn crash_points(self) -> u64 {
        scenario(self.seed, self.shape, "healthy", async |world| {
            self.operation.prepare(world).await;
            let before = world.disk(VICTIM).operations();
            let result = self.operation.run(world, Cut::Node(CrashChoice::KeepAll)).await;
            assert_eq!(result, Ok(()), "{self:?} on a healthy cluster");
            world.disk(VICTIM).operations() - before
        })
    }

    /// One run with the power cut at change `at` of the operation.
    fn crash(self, at: u64, choice: CrashChoice) {
        let Shape { m, n, .. } = self.shape;
        let what = format!("{:?} in {m}-of-{n}, change {at}, {choice:?}", self.operation);
        scenario(self.seed, self.shape, &what, async |world| {
            let prepared = self.operation.prepare(world).await;
            let notary = Notary::watch(world, VICTIM);
            let disk = world.disk(VICTIM);
            let fatal = disk.operations() + at;
            disk.fail_at(fatal, Fault::Crash);
            let result = self.operation.run(world, Cut::Node(choice)).await;
            assert!(disk.operations() > fatal && !world.is_up(VICTIM), "{what}: no crash");
            // One node less is within the bound: the user notices nothing.
            assert_eq!(result, Ok(()), "{what}");
            self.operation.check_told(world, &prepared, &what).await;
            notary.lock().unwrap().new_life();
            world.start(VICTIM).await.unwrap_or_else(|error| panic!("{what}: {error}"));
            assert!(world.all_vote(RECOVERY).await, "{what}: the node does not vote again");
            self.operation.check(world, &prepared, &what).await;
            let notary = notary.lock().unwrap();
            assert!(notary.claims > 0, "{what}: the node claims nothing");
            assert!(notary.empty.is_empty(), "{what}: {:?} without a fragment", notary.empty);
        });
    }

    fn crash_everywhere(self) {
        let started = Instant::now();
        let points = self.crash_points();
        assert!(points > 3, "{self:?}: only {points} changes");
        let mut runs = 0;
        for (at, turn) in (0..points).zip((0..CHOICES.len()).cycle()) {
            let in_turn = [CHOICES[turn], CHOICES[(turn + 2) % CHOICES.len()]];
            let choices = match points {
                _ if is_big() => &CHOICES[..],
                0..LONG => &in_turn[..],
                _ => &in_turn[..1],
            };
            for choice in choices {
                self.crash(at, *choice);
                runs += 1;
            }
        }
        report(&format!("{:?}", self.operation), self.shape, points, runs, started);
    }
}

fn crash_everywhere(operation: Operation) {
    Case { seed: 2300, shape: shape(3, 5), operation }.crash_everywhere();
    Case { seed: 2301, shape: shape(2, 4), operation }.crash_everywhere();
}

/// Spec: docs/protocol.md section 6 (23), ECHO-1, READY-1, COMMIT-1.
#[test]
fn a_crash_at_any_change_of_a_dispersal_costs_one_fragment_until_the_next_put() {
    crash_everywhere(Operation::Disperse);
}

/// Spec: docs/protocol.md section 6 (23), HOLD-1.
#[test]
fn a_crash_at_any_change_of_a_fill_costs_one_fragment_until_the_next_put() {
    crash_everywhere(Operation::Fill);
}

/// Spec: docs/protocol.md section 6 (23), DELETE-1.
#[test]
fn a_crash_at_any_change_of_a_deletion_ends_in_the_tombstone_and_no_fragment() {
    crash_everywhere(Operation::Delete);
}

/// Spec: docs/protocol.md section 6 (23), ABORT-1, ABORT-2.
#[test]
fn a_crash_at_any_change_of_a_cancellation_ends_in_no_fragment_and_a_free_name() {
    crash_everywhere(Operation::Cancel);
}

/// Spec: docs/protocol.md section 6 (9) and (23), ABORT-1, TIME-1.
#[test]
fn a_crash_at_any_change_of_an_expiry_ends_in_no_fragment_and_a_free_name() {
    crash_everywhere(Operation::Expiry);
}

/// Spec: docs/protocol.md section 6 (23), AMNESIA-1: the crash strikes the recovery from a crash.
#[test]
fn a_crash_at_any_change_of_a_recovery_is_recovered_from() {
    crash_everywhere(Operation::Recovery);
}

/// Spec: docs/protocol.md section 6 (23): the last checkpoint is interrupted.
#[test]
fn a_crash_at_any_change_of_a_clean_stop_is_recovered_from() {
    crash_everywhere(Operation::Shutdown);
}
