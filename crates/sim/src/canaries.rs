//! Which part of the suite catches which deliberate bug, and within how many seeds.
//!
//! A canary that is not caught says that a checker is blind or an adversary too tame. The table is
//! a promise: the test `canaries` runs all of it.
//!
//! | caught by | how it is run |
//! |---|---|
//! | the swarm | seeds 0, 1, 2 … of one scenario, here, until one reports a violation |
//! | a script | made for the bug, where chance meets it too rarely; it has to report a violation |
//! | a named test | the test's binary, with [`VARIABLE`] set; it has to fail |
//!
//! Spec: docs/TESTING.md, "Canaries".
//! Not here: the bugs ([`avid_types::canary`]).

mod scripts;

use std::process::Command;

use avid_types::canary::{Canary, VARIABLE, release};

use crate::plan::{Plan, Scenario};
use crate::swarm;

/// What has to catch a canary.
#[derive(Clone, Copy, Debug)]
pub enum Catcher {
    /// The swarm, within so many seeds of a scenario.
    Swarm(Scenario, u64),
    /// A script for this bug alone.
    Script(&'static str, fn() -> Option<String>),
    /// A test of this crate: its binary and its path there.
    Test(&'static str, &'static str),
}

/// Every canary, and what has to catch it.
pub const CANARIES: [(Canary, Catcher); 17] = [
    (
        Canary::HashOnlyReads,
        Catcher::Test(
            "clients",
            "contents::a_reader_rejects_by_its_fingerprint_what_an_accomplice_of_the_writer_serves",
        ),
    ),
    (
        Canary::HashOnlyWrites,
        Catcher::Test(
            "clients",
            "contents::a_poisoned_slot_is_refused_by_its_node_and_any_three_of_the_others_read_the_same",
        ),
    ),
    (Canary::TrustOneCrossChecksum, Catcher::Swarm(Scenario::Liars, 60)),
    (
        Canary::ClientChosenPoint,
        Catcher::Test(
            "clients",
            "points::a_digest_changed_in_any_slot_is_seen_at_every_other_slot",
        ),
    ),
    (Canary::VotesBySocket, Catcher::Swarm(Scenario::Clients, 10)),
    (Canary::EchoWithoutFragment, Catcher::Swarm(Scenario::Clients, 10)),
    (
        Canary::NoAmplification,
        Catcher::Script("echo_for_one_node_only", scripts::echo_for_one_node_only),
    ),
    (Canary::ReadyWithoutCertificate, Catcher::Swarm(Scenario::Everything, 40)),
    (Canary::EchoQuorumTooSmall, Catcher::Swarm(Scenario::Everything, 20)),
    (
        Canary::CommitBelowQuorum,
        Catcher::Script("ready_here_abort_there", scripts::ready_here_abort_there),
    ),
    (Canary::VoteBeforeSync, Catcher::Swarm(Scenario::Crashes, 10)),
    (
        Canary::ForgetAborts,
        Catcher::Script("abort_restart_ask_again", scripts::abort_restart_ask_again),
    ),
    (Canary::NoAmnesiaCheck, Catcher::Swarm(Scenario::Crashes, 60)),
    (Canary::OrdersByAnyone, Catcher::Swarm(Scenario::Clients, 20)),
    (Canary::FastestClock, Catcher::Swarm(Scenario::Clocks, 10)),
    (
        Canary::NoPredecessor,
        Catcher::Test("clients", "limits::announcements_that_lie_are_refused_and_leave_nothing"),
    ),
    (Canary::SkipHoldCheck, Catcher::Script("paused_while_written", scripts::paused_while_written)),
];

/// How a canary was caught.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caught {
    /// The seed, if the swarm did.
    pub seed: Option<u64>,
    /// The promise that was seen broken.
    pub violation: String,
}

/// What has to catch a canary.
#[must_use]
pub fn catcher_of(canary: Canary) -> Option<Catcher> {
    CANARIES.iter().find(|(known, _)| *known == canary).map(|(_, catcher)| *catcher)
}

/// Releases a canary and lets its catcher look for it; nothing if it gets away.
#[must_use]
pub fn hunt(canary: Canary, catcher: Catcher) -> Option<Caught> {
    match catcher {
        Catcher::Swarm(scenario, seeds) => (0..seeds).find_map(|seed| {
            release(Some(canary));
            let outcome = swarm::run(&Plan::new(seed, scenario), false);
            release(None);
            outcome.violation.map(|violation| Caught { seed: Some(seed), violation })
        }),
        Catcher::Script(_, script) => {
            release(Some(canary));
            let violation = script();
            release(None);
            violation.map(|violation| Caught { seed: None, violation })
        }
        Catcher::Test(file, name) => fails(canary, file, name),
    }
}

/// The command that runs a named test with a canary.
#[must_use]
pub fn test_command(canary: Canary, file: &str, name: &str) -> String {
    let profile = if cfg!(debug_assertions) { "" } else { "--release " };
    format!(
        "{VARIABLE}={} cargo test {profile}-p sim --features canary --test {file} -- --exact {name}",
        canary.name()
    )
}

/// Runs one test with a canary: caught if exactly this test ran and failed.
fn fails(canary: Canary, file: &str, name: &str) -> Option<Caught> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["test", "--quiet", "-p", "sim", "--features", "canary", "--test", file]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output =
        command.args(["--", "--exact", name]).env(VARIABLE, canary.name()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let failed = text.contains("test result: FAILED. 0 passed; 1 failed");
    let is_message = |line: &&str| line.contains("violation") || line.contains("assert");
    let violation = text.lines().find(is_message).unwrap_or("the test fails").to_owned();
    failed.then_some(Caught { seed: None, violation })
}
