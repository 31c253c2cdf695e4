//! When a write stops waiting for a slow node.
//!
//! Pure: the encoder tells how long it has been waiting for a buffer and how far each slot is.
//! A slot that alone holds up a write is left behind after a grace without any progress, or once
//! the waiting has cost too much in all, provided E others have sent everything they were given.
//!
//! Spec: docs/protocol.md section 2.5.
//! Invariant: never leaves behind a slot that keeps up.

use std::collections::BTreeMap;
use std::time::Duration;

use avid_types::Slot;

use crate::config::Timeouts;

/// How far one live slot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) slot: Slot,
    pub(super) sent: u64,
}

#[derive(Debug, Default)]
struct Lag {
    sent: u64,
    silent: Duration,
    blocked: Duration,
}

/// Adds up who kept us waiting.
#[derive(Debug)]
pub(super) struct LagPolicy {
    quorum: usize,
    timeouts: Timeouts,
    lags: BTreeMap<Slot, Lag>,
}

impl LagPolicy {
    pub(super) fn new(quorum: usize, timeouts: Timeouts) -> Self {
        Self { quorum, timeouts, lags: BTreeMap::new() }
    }

    /// The encoder waited for `waited` more, `elapsed` after the start, with `produced` stripes
    /// given to every slot. Returns the slots to leave behind.
    pub(super) fn waited(
        &mut self,
        waited: Duration,
        elapsed: Duration,
        produced: u64,
        standings: &[Standing],
    ) -> Vec<Slot> {
        let keeping_up = standings.iter().filter(|s| s.sent >= produced).count();
        let mut late = Vec::new();
        for standing in standings.iter().filter(|s| s.sent < produced) {
            let lag = self.lags.entry(standing.slot).or_default();
            let is_moving = standing.sent > lag.sent;
            lag.sent = standing.sent;
            lag.silent = if is_moving { Duration::ZERO } else { lag.silent + waited };
            if lag.silent >= self.timeouts.stall {
                late.push(standing.slot);
                continue;
            }
            if keeping_up < self.quorum {
                continue;
            }
            lag.blocked += waited;
            let share = elapsed * self.timeouts.lag_percent / 100;
            let is_costly = lag.blocked >= self.timeouts.lag_total.max(share);
            if lag.silent >= self.timeouts.lag_grace || is_costly {
                late.push(standing.slot);
            }
        }
        late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(100);

    fn standings(sent: [u64; 5]) -> Vec<Standing> {
        (0u8..).map(Slot).zip(sent).map(|(slot, sent)| Standing { slot, sent }).collect()
    }

    fn ticks_until_late(sent: impl Fn(u64) -> [u64; 5], ticks: u64) -> Option<(u64, Vec<Slot>)> {
        let mut policy = LagPolicy::new(4, Timeouts::default());
        (1..=ticks).find_map(|tick| {
            let elapsed = TICK * u32::try_from(tick).unwrap();
            let late = policy.waited(TICK, elapsed, 1000, &standings(sent(tick)));
            (!late.is_empty()).then_some((tick, late))
        })
    }

    #[test]
    fn a_silent_slot_is_left_behind_after_the_grace() {
        let late = ticks_until_late(|_| [1000, 1000, 1000, 1000, 3], 100);
        // The first tick sees its progress from 0 to 3.
        assert_eq!(late, Some((11, vec![Slot(4)])));
    }

    #[test]
    fn a_slow_slot_is_left_behind_once_it_cost_too_much() {
        let late = ticks_until_late(|tick| [1000, 1000, 1000, 1000, tick], 100);
        assert_eq!(late, Some((50, vec![Slot(4)])));
    }

    #[test]
    fn without_a_quorum_that_keeps_up_everybody_waits_until_the_stall_limit() {
        let late = ticks_until_late(|_| [1000, 1000, 1000, 3, 3], 1000);
        assert_eq!(late, Some((301, vec![Slot(3), Slot(4)])));
        assert_eq!(ticks_until_late(|tick| [1000, 1000, 1000, tick, tick], 900), None);
    }

    #[test]
    fn whoever_keeps_up_is_never_late() {
        assert_eq!(ticks_until_late(|_| [1000; 5], 1000), None);
    }
}
