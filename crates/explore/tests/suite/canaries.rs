//! Rules broken on purpose: each must give a counterexample, or the checkers are blind.
//!
//! Each canary breaks one rule in the smallest model that needs it and names the property that
//! falls. The explorer goes breadth first here, so that what it prints is a shortest attack.

use stateright::{Checker, HasDiscoveries, Model, Path};

use crate::event::{Broken, Contents, Scope};
use crate::system::{
    Action, COMMIT_XOR_ABORT, ENOUGH_HOLDERS, GENERATIONS, NOBODY_FRAMED, ONE_CONTENT, State,
    System, VOTES_AGREE,
};

fn falls(property: &'static str, scope: Scope) {
    let attack = attack(&System::new(scope, &[]), property);
    println!("{property} falls:\n{attack}");
}

/// A shortest path to a state in which a property does not hold; fails if there is none.
pub(crate) fn attack(system: &System, property: &'static str) -> Path<State, Action> {
    let wanted = HasDiscoveries::AnyOf([property].into());
    let checker = system.clone().checker().finish_when(wanted).spawn_bfs().join();
    checker.assert_any_discovery(property)
}

// Rule: READY-1. Scenario 22: bare READYs of a liar commit an object that nobody holds.
#[test]
fn readies_without_echo_certificates_commit_what_nobody_holds() {
    falls(ENOUGH_HOLDERS, Scope { broken: Broken::ReadyWithoutEchoes, ..Scope::BARE });
}

// Rule: PARAMS-1.
#[test]
fn one_echo_less_than_the_quorum_commits_what_too_few_hold() {
    falls(ENOUGH_HOLDERS, Scope { broken: Broken::EchoQuorum, ..Scope::BARE });
}

// Rule: PARAMS-1, ECHO-1.
#[test]
fn one_echo_less_than_the_quorum_certifies_two_contents() {
    let contents = Contents::Two;
    falls(ONE_CONTENT, Scope { contents, broken: Broken::EchoQuorum, ..Scope::BARE });
}

// Rule: ABORT-2.
#[test]
fn one_abort_less_than_the_quorum_ends_what_commits() {
    falls(COMMIT_XOR_ABORT, Scope { cancel: true, broken: Broken::AbortQuorum, ..Scope::BARE });
}

// Rule: PARAMS-1. One liar more than the bound.
#[test]
fn two_liars_of_four_commit_and_abort() {
    falls(COMMIT_XOR_ABORT, Scope { cancel: true, liars: 2, ..Scope::BARE });
}

// Rule: AMNESIA-1.
#[test]
fn a_node_that_forgot_its_journal_contradicts_itself() {
    falls(VOTES_AGREE, Scope { cancel: true, broken: Broken::Amnesia, ..Scope::BARE });
}

// Rule: READY-1, EVID-1.
#[test]
fn honest_readies_without_their_certificates_are_taken_for_lies() {
    falls(NOBODY_FRAMED, Scope { broken: Broken::BareReady, ..Scope::BARE });
}

// Rule: ID-1.
#[test]
fn a_generation_that_opens_without_proof_is_noticed() {
    let (next_generation, broken) = (true, Broken::OpenGeneration);
    falls(GENERATIONS, Scope { next_generation, broken, ..Scope::BARE });
}
