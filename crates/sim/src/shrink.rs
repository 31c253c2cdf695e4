//! Looks for the fewest actions with which a plan still fails.
//!
//! Delta debugging: leave out halves, then quarters, and so on, for as long as the rest fails.
//! Any violation counts, since a smaller scenario often shows the same defect as another.

use crate::plan::Plan;
use crate::swarm;

/// Numbers of the actions that are left, with the plan; nothing if the plan does not fail.
#[must_use]
pub fn shrink(plan: &Plan) -> Option<(Vec<usize>, Plan)> {
    let fails = |kept: &[usize]| swarm::run(&plan.keeping(kept), false).violation.is_some();
    let mut kept: Vec<usize> = (0..plan.actions.len()).collect();
    if !fails(&kept) {
        return None;
    }
    let mut parts = 2;
    while kept.len() > 1 && parts <= kept.len() {
        let size = kept.len().div_ceil(parts);
        let without = |start: usize| -> Vec<usize> {
            let end = (start + size).min(kept.len());
            kept.iter()
                .enumerate()
                .filter(|(i, _)| *i < start || *i >= end)
                .map(|(_, k)| *k)
                .collect()
        };
        let smaller = (0..kept.len()).step_by(size).map(without).find(|rest| fails(rest));
        match smaller {
            Some(rest) => {
                kept = rest;
                parts = 2.max(parts - 1);
            }
            None if parts == kept.len() => break,
            None => parts = (parts * 2).min(kept.len()),
        }
    }
    let smaller = plan.keeping(&kept);
    Some((kept, smaller))
}
