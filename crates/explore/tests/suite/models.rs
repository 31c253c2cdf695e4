//! What is explored, model by model. Every property of [`crate::system`] is checked in each.
//!
//! A model is 2-of-4 with three honest nodes and one liar, whatever the network does and with
//! restarts at any moment. Models differ in what else may happen, since everything at once is too
//! much for a test of seconds; models of minutes are in [`crate::large`]. With `--nocapture` each
//! prints its size. All of a model's states are visited, or the test fails.
//!
//! What is bounded: one upload at four nodes, at most two contents, one or two expiries, and of the
//! next generation only whether a node echoes it. Nothing else is: restarts, repetitions and
//! delays have no number.

use std::time::Instant;

use stateright::{Checker, Expectation, Model};

use crate::automaton::Automaton;
use crate::canaries::attack;
use crate::event::{Contents, Ended, Scope};
use crate::system::{Reachable, System};
use crate::world::World;

pub(crate) const ABORTS: [Reachable; 4] =
    [Reachable::Commit(0), Reachable::Amplified, Reachable::Abort, Reachable::AbortedAndDelivered];
pub(crate) const BOTH: [Reachable; 3] =
    [Reachable::Commit(0), Reachable::Commit(1), Reachable::Amplified];

/// Visits every state; fails with a shortest attack, or if something cannot be reached.
pub(crate) fn explore(what: &str, scope: Scope, reachable: &[&[Reachable]]) {
    let start = Instant::now();
    let system = System::new(scope, &reachable.concat());
    let ((full, small), built) = (system.sizes, start.elapsed());
    let checker = system.by_symmetry().checker().spawn_bfs().join();
    let (states, steps) = (checker.unique_state_count(), checker.state_count());
    let (depth, walked) = (checker.max_depth(), start.elapsed() - built);
    println!(
        "{what}: a node has {full} states ({small} that differ), the cluster {states} with \
         {steps} transitions, depth {depth}; {built:.1?} + {walked:.1?}",
    );
    let found = checker.discoveries();
    let properties = system.properties();
    let mut broken = properties.iter().filter(|property| {
        property.expectation == Expectation::Always && found.contains_key(property.name)
    });
    if let Some(property) = broken.next() {
        panic!("{} falls:\n{}", property.name, attack(&system, property.name));
    }
    checker.assert_properties();
}

// Rule: READY-1, COMMIT-1, ABORT-1, ABORT-2. Scenario 42.
#[test]
fn one_content_and_cancel() {
    let scope = Scope { cancel: true, ..Scope::BARE };
    explore("one content, CANCEL", scope, &[&ABORTS]);
}

// Rule: ABORT-1, ABORT-3, TIME-1. Scenario 42.
#[test]
fn one_content_that_may_expire() {
    let scope = Scope { expiry: true, ..Scope::BARE };
    explore("one content, expiry", scope, &[&ABORTS]);
}

// Rule: ECHO-1, READY-1, TALLY-1. Scenarios 1, 2 and 14.
#[test]
fn two_contents() {
    let scope = Scope { contents: Contents::Two, ..Scope::BARE };
    explore("two contents", scope, &[&BOTH]);
}

// Rule: ECHO-1, TALLY-1, SIGN-1. The same bytes under two OPENs: votes differ in expiry alone.
#[test]
fn one_content_under_two_opens() {
    let scope = Scope { contents: Contents::Reopened, ..Scope::BARE };
    explore("two OPENs", scope, &[&BOTH]);
}

// Rule: DELETE-1, HOLD-1, COMMIT-1.
#[test]
fn one_content_and_delete() {
    let scope = Scope { cancel: true, delete: true, ..Scope::BARE };
    let deleted = [Reachable::Delete, Reachable::CommittedAndDeleted];
    explore("one content, CANCEL, DELETE", scope, &[&ABORTS, &deleted]);
}

// Rule: DELETE-1, HOLD-1. A disk that loses fragments loses no promise.
#[test]
fn one_content_delete_and_lost_fragments() {
    let scope = Scope { delete: true, losses: true, ..Scope::BARE };
    let deleted = [Reachable::Commit(0), Reachable::Delete, Reachable::CommittedAndDeleted];
    explore("one content, DELETE, lost fragments", scope, &[&deleted]);
}

// Rule: ID-1, ABORT-2.
#[test]
fn the_next_generation_after_an_abort() {
    let scope = Scope { cancel: true, next_generation: true, ..Scope::BARE };
    explore("generations, CANCEL", scope, &[&ABORTS, &[Reachable::Next(Ended::Aborted)]]);
}

// Rule: ID-1, DELETE-1.
#[test]
fn the_next_generation_after_a_delete() {
    let scope = Scope { delete: true, next_generation: true, ..Scope::BARE };
    let next = [Reachable::Commit(0), Reachable::Delete, Reachable::Next(Ended::Deleted)];
    explore("generations, DELETE", scope, &[&next]);
}

// Rule: ID-1, TIME-1.
#[test]
fn the_next_generation_after_an_expiry() {
    let scope = Scope { contents: Contents::Expiring, next_generation: true, ..Scope::BARE };
    let next = [Reachable::Commit(0), Reachable::Next(Ended::Expired)];
    explore("generations, expiry", scope, &[&next]);
}

// Rule: PLACE-1. What the explorer's reduction by symmetry stands on.
#[test]
fn the_machine_treats_all_slots_alike() {
    let scope = Scope { cancel: true, ..Scope::BARE };
    let world = World::new(scope.contents);
    let (first, _) = Automaton::of(&world, &scope, 0);
    for slot in 1..scope.honest() {
        assert!(Automaton::of(&world, &scope, slot).0 == first, "slot {slot} differs");
    }
}
