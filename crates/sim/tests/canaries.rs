//! Every deliberate bug is caught by what has to catch it, and by nothing that is not there.
//!
//! Spec: docs/TESTING.md, "Canaries".

use avid_types::canary::{Canary, release};
use sim::canaries::{CANARIES, Catcher, catcher_of, hunt};
use sim::plan::Plan;
use sim::swarm;

/// A canary that gets away says that a checker is blind. Where the swarm caught one, the same seed
/// without the bug holds: it was the bug that was seen.
#[test]
fn every_canary_is_caught_within_its_seeds() {
    let mut escaped = Vec::new();
    for canary in Canary::ALL {
        let catcher = catcher_of(canary).expect("every canary has a catcher");
        let Some(caught) = hunt(canary, catcher) else {
            escaped.push(canary.name());
            continue;
        };
        if let (Catcher::Swarm(scenario, _), Some(seed)) = (catcher, caught.seed) {
            let outcome = swarm::run(&Plan::new(seed, scenario), false);
            assert_eq!(outcome.violation, None, "--seed {seed} --scenario {}", scenario.name());
        }
        if let Catcher::Script(name, script) = catcher {
            assert_eq!(script(), None, "{name}");
        }
    }
    assert_eq!(escaped, Vec::<&str>::new(), "nobody caught these");
}

/// A canary is one line of the table.
#[test]
fn the_table_names_every_canary_once() {
    release(None);
    for canary in Canary::ALL {
        let lines = CANARIES.iter().filter(|(known, _)| *known == canary).count();
        assert_eq!(lines, 1, "{}", canary.name());
    }
}
