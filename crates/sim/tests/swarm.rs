//! The simulator repeats itself, finds what it should, and seeds that once failed hold.

use std::process::Command;

use sim::plan::{Action, Plan, Scenario, listed};
use sim::{shrink, swarm};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The same seed gives the same trace, whatever ran before it in the process.
#[test]
fn a_seed_gives_one_trace() {
    for scenario in Scenario::ALL {
        let plan = Plan::new(5, scenario);
        let first = swarm::run(&plan, false);
        let other = swarm::run(&Plan::new(6, scenario), false);
        let again = swarm::run(&plan, false);
        assert_eq!(hex(&first.hash), hex(&again.hash), "{}", scenario.name());
        assert_ne!(hex(&first.hash), hex(&other.hash), "{}", scenario.name());
    }
}

/// Another process and this one agree on the trace of a seed.
#[test]
fn processes_agree_on_a_trace() {
    let plan = Plan::new(11, Scenario::Everything);
    let here = hex(&swarm::run(&plan, true).hash);
    for _ in 0..2 {
        let output = Command::new(env!("CARGO_BIN_EXE_sim"))
            .args(["--seed", "11", "--scenario", "everything"])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(&format!("trace {here}")), "{text}");
    }
}

/// Seeds that once broke a promise.
#[test]
fn listed_seeds_hold() {
    let list = include_str!("../seeds.txt");
    let plans = listed(list).unwrap();
    assert!(!plans.is_empty());
    for plan in plans {
        let outcome = swarm::run(&plan, false);
        let (seed, scenario) = (plan.seed, plan.scenario.name());
        assert_eq!(outcome.violation, None, "--seed {seed} --scenario {scenario}");
    }
}

/// A few seeds of each kind, the same ones always; fresh ones have a command of their own.
#[test]
fn the_first_seeds_of_each_scenario_hold() {
    for scenario in Scenario::ALL {
        for seed in 0..4 {
            let outcome = swarm::run(&Plan::new(seed, scenario), false);
            let name = scenario.name();
            assert_eq!(outcome.violation, None, "--seed {seed} --scenario {name}");
        }
    }
}

/// Without a budget the checkers must see something: all nodes wiped at once lose the objects.
#[test]
fn one_fault_too_many_is_seen() {
    let mut plan = Plan::new(1, Scenario::Calm);
    let last = plan.actions.last().unwrap().0;
    for node in 0..u16::from(plan.n) {
        plan.actions.push((last + 1_000, Action::ChangeDisk(node)));
    }
    let outcome = swarm::run(&plan, false);
    let violation = outcome.violation.expect("wiped disks are noticed");
    assert!(violation.contains("liveness"), "{violation}");
    let (kept, smaller) = shrink::shrink(&plan).unwrap();
    assert!(kept.len() < plan.actions.len() && !smaller.actions.is_empty());
    assert!(swarm::run(&smaller, false).violation.is_some());
}
