//! Models of minutes: more of what may happen, at once.
//!
//! They run when asked for, and say so when not:
//!
//! ```text
//! AVID_TEST_BIG=yes cargo test -p avid-explore --test suite -- --nocapture --test-threads=1 large
//! ```

use crate::event::{Contents, Ended, Scope};
use crate::models::{ABORTS, BOTH, explore};
use crate::system::Reachable;

fn explore_if_asked(what: &str, scope: Scope, reachable: &[&[Reachable]]) {
    if std::env::var("AVID_TEST_BIG").is_ok_and(|value| value == "yes") {
        explore(what, scope, reachable);
    } else {
        println!("NOT TESTED: {what}: set AVID_TEST_BIG=yes");
    }
}

// Rule: ID-1, ABORT-2, DELETE-1, TIME-1. All ways in which a generation may end, at once.
#[test]
fn generations_with_everything() {
    let contents = Contents::Expiring;
    let scope =
        Scope { contents, cancel: true, delete: true, next_generation: true, ..Scope::BARE };
    let next = [Ended::Aborted, Ended::Deleted, Ended::Expired].map(Reachable::Next);
    explore_if_asked("generations, everything", scope, &[&ABORTS, &next]);
}

// Rule: READY-1, ABORT-2. Scenarios 1, 14 and 42 together.
#[test]
fn two_contents_and_cancel() {
    let scope = Scope { contents: Contents::Two, cancel: true, ..Scope::BARE };
    explore_if_asked("two contents, CANCEL", scope, &[&ABORTS, &BOTH[1..2]]);
}

// Rule: DELETE-1, HOLD-1, ABORT-1, TIME-1.
#[test]
fn one_content_with_everything() {
    let scope = Scope { cancel: true, expiry: true, delete: true, losses: true, ..Scope::BARE };
    let deleted = [Reachable::Delete, Reachable::CommittedAndDeleted];
    explore_if_asked("one content, everything", scope, &[&ABORTS, &deleted]);
}
