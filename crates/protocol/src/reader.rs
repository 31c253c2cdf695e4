//! The reader's side of one retrieval: which slots to ask for which stripes.
//!
//! ```text
//!             runs of stripes, pipelined         one stripe, when a chunk was bad or late
//! m active slots ─────────────────▶   others ─────────────────────────────────▶
//! ```
//! The reader streams runs of stripes from m slots, data slots first. A slot whose chunk fails
//! its check, or that breaks off, is replaced for the stripes it owes; a slot with faults is
//! avoided but stays the last resort, so that an object with one rotten chunk in every fragment
//! is still readable. When no untried slot is left for a stripe, the object is unavailable.
//!
//! Spec: docs/protocol.md READ-1, READ-3.
//! Invariant: a stripe is handed out for decoding only with m slots that were verified for it;
//! nothing follows `Unavailable`.
//! Bounds: state for the stripes between the oldest unfinished and the newest requested one.
//! Not here: checking chunks (`coding`), decoding and sockets (`client`).

use std::collections::{BTreeMap, BTreeSet};

use avid_types::{Params, Slot, StripeIndex};

/// Stripes of one request to one slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Run {
    /// First stripe.
    pub first: StripeIndex,
    /// How many.
    pub count: u64,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReaderInput {
    /// Begin.
    Start,
    /// A chunk passed hash and fingerprint.
    Verified(Slot, StripeIndex),
    /// A chunk failed its check.
    Faulty(Slot, StripeIndex),
    /// A slot does not answer any more; what it owes will not come.
    Lost(Slot),
    /// A slot is slow with a stripe the output waits for: ask another as well.
    Late(Slot, StripeIndex),
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReaderOutput {
    /// Ask a slot for a run; chunks arrive in order.
    Request {
        /// Whom to ask.
        slot: Slot,
        /// For what.
        run: Run,
        /// Whether this replaces a chunk that failed elsewhere: use a connection of its own,
        /// since the slot's stream may be waiting for the very stripe this one unblocks.
        retry: bool,
    },
    /// A stripe has its m verified chunks.
    Decode {
        /// Which stripe.
        stripe: StripeIndex,
        /// From which slots.
        slots: Vec<Slot>,
    },
    /// Every slot was tried and too few good chunks exist.
    Unavailable {
        /// For which stripe.
        stripe: StripeIndex,
        /// Good chunks found.
        good: usize,
    },
}

#[derive(Debug, Clone, Default)]
struct StripeState {
    good: BTreeSet<Slot>,
    owed: BTreeSet<Slot>,
    /// Owed too long to be waited for; what still comes counts.
    late: BTreeSet<Slot>,
    tried: BTreeSet<Slot>,
}

/// One retrieval of the stripes `[first, end)`.
#[derive(Debug, Clone)]
pub struct Reader {
    params: Params,
    run_stripes: u64,
    end: u64,
    next_run: u64,
    stripes: BTreeMap<u64, StripeState>,
    active: BTreeSet<Slot>,
    faults: BTreeMap<Slot, u64>,
    lost: BTreeSet<Slot>,
    failed: bool,
}

impl Reader {
    /// A reader of stripes `first..end` in runs of `run_stripes`, from slots in `lost` never.
    #[must_use]
    pub fn new(
        params: Params,
        first: StripeIndex,
        end: StripeIndex,
        run_stripes: u64,
        lost: BTreeSet<Slot>,
    ) -> Self {
        Self {
            params,
            run_stripes: run_stripes.max(1),
            end: end.0,
            next_run: first.0,
            stripes: BTreeMap::new(),
            active: BTreeSet::new(),
            faults: BTreeMap::new(),
            lost,
            failed: false,
        }
    }

    /// Chunks each slot failed to serve correctly.
    #[must_use]
    pub fn faults(&self) -> &BTreeMap<Slot, u64> {
        &self.faults
    }

    /// Whether every stripe was handed out.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.next_run >= self.end && self.stripes.is_empty()
    }

    /// Takes one input.
    pub fn step(&mut self, input: ReaderInput) -> Vec<ReaderOutput> {
        let mut outputs = Vec::new();
        if self.failed {
            return outputs;
        }
        match input {
            ReaderInput::Start => {}
            ReaderInput::Verified(slot, stripe) => self.on_verified(slot, stripe, &mut outputs),
            ReaderInput::Faulty(slot, stripe) => {
                let faults = self.faults.entry(slot).or_default();
                *faults = faults.saturating_add(1);
                self.active.remove(&slot);
                self.replace(slot, stripe.0, &mut outputs);
            }
            ReaderInput::Lost(slot) => self.on_lost(slot, &mut outputs),
            ReaderInput::Late(slot, stripe) => self.on_late(slot, stripe, &mut outputs),
        }
        self.request_runs(&mut outputs);
        outputs
    }

    fn on_verified(&mut self, slot: Slot, stripe: StripeIndex, outputs: &mut Vec<ReaderOutput>) {
        let Some(state) = self.stripes.get_mut(&stripe.0) else {
            return; // A late answer to a stripe that is done.
        };
        state.owed.remove(&slot);
        state.late.remove(&slot);
        state.good.insert(slot);
        if state.good.len() < self.params.m() {
            return;
        }
        let slots = state.good.iter().copied().collect();
        self.stripes.remove(&stripe.0);
        outputs.push(ReaderOutput::Decode { stripe, slots });
    }

    fn on_late(&mut self, slot: Slot, stripe: StripeIndex, outputs: &mut Vec<ReaderOutput>) {
        self.active.remove(&slot);
        if let Some(state) = self.stripes.get_mut(&stripe.0)
            && state.owed.remove(&slot)
        {
            state.late.insert(slot);
            self.ask_another(stripe.0, outputs);
        }
    }

    fn on_lost(&mut self, slot: Slot, outputs: &mut Vec<ReaderOutput>) {
        self.lost.insert(slot);
        self.active.remove(&slot);
        let owes = |state: &StripeState| state.owed.contains(&slot) || state.late.contains(&slot);
        let owing: Vec<u64> =
            self.stripes.iter().filter(|(_, state)| owes(state)).map(|(k, _)| *k).collect();
        for stripe in owing {
            self.replace(slot, stripe, outputs);
        }
    }

    fn replace(&mut self, slot: Slot, stripe: u64, outputs: &mut Vec<ReaderOutput>) {
        if let Some(state) = self.stripes.get_mut(&stripe) {
            state.owed.remove(&slot);
            state.late.remove(&slot);
            self.ask_another(stripe, outputs);
        }
    }

    /// Asks an untried slot for one stripe if too few chunks are good or on their way.
    fn ask_another(&mut self, stripe: u64, outputs: &mut Vec<ReaderOutput>) {
        let Some(state) = self.stripes.get(&stripe).filter(|_| !self.failed) else {
            return;
        };
        if state.good.len() + state.owed.len() >= self.params.m() {
            return;
        }
        let tried = state.tried.clone();
        let Some(slot) = self.preferred().into_iter().find(|slot| !tried.contains(slot)) else {
            self.give_up_if_short(stripe, outputs);
            return;
        };
        if let Some(state) = self.stripes.get_mut(&stripe) {
            state.tried.insert(slot);
            state.owed.insert(slot);
        }
        let run = Run { first: StripeIndex(stripe), count: 1 };
        outputs.push(ReaderOutput::Request { slot, run, retry: true });
    }

    fn give_up_if_short(&mut self, stripe: u64, outputs: &mut Vec<ReaderOutput>) {
        let Some(state) = self.stripes.get(&stripe) else {
            return;
        };
        if state.good.len() + state.owed.len() + state.late.len() >= self.params.m() {
            return;
        }
        self.failed = true;
        let good = state.good.len();
        outputs.push(ReaderOutput::Unavailable { stripe: StripeIndex(stripe), good });
    }

    /// Slots in the order to ask them: streaming ones, then data, parity, then the faulty.
    fn preferred(&self) -> Vec<Slot> {
        let mut slots: Vec<Slot> =
            self.params.slots().filter(|slot| !self.lost.contains(slot)).collect();
        slots.sort_by_key(|slot| {
            let faults = self.faults.get(slot).copied().unwrap_or(0);
            (faults, !self.active.contains(slot), slot.0)
        });
        slots
    }

    fn request_runs(&mut self, outputs: &mut Vec<ReaderOutput>) {
        // One run is being read while the next is on its way: no round trip between runs.
        while !self.failed && self.next_run < self.end && self.open_stripes() <= self.run_stripes {
            let first = self.next_run;
            let count = self.run_stripes.min(self.end - first);
            let slots: Vec<Slot> = self.preferred().into_iter().take(self.params.m()).collect();
            if slots.len() < self.params.m() {
                self.failed = true;
                let good = slots.len();
                outputs.push(ReaderOutput::Unavailable { stripe: StripeIndex(first), good });
                return;
            }
            self.active = slots.iter().copied().collect();
            for stripe in first..first + count {
                let state = StripeState {
                    owed: self.active.clone(),
                    tried: self.active.clone(),
                    ..StripeState::default()
                };
                self.stripes.insert(stripe, state);
            }
            let run = Run { first: StripeIndex(first), count };
            for slot in slots {
                outputs.push(ReaderOutput::Request { slot, run, retry: false });
            }
            self.next_run = first + count;
        }
    }

    fn open_stripes(&self) -> u64 {
        u64::try_from(self.stripes.len()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// READ-3: every slot that is late with a stripe is replaced, and what it still sends counts.
    #[test]
    fn two_late_slots_are_both_replaced() {
        let params = Params::with_most_liars(3, 5).unwrap();
        let stripe = StripeIndex(0);
        let mut reader = Reader::new(params, stripe, StripeIndex(1), 8, BTreeSet::new());
        assert_eq!(reader.step(ReaderInput::Start).len(), 3);
        let mut asked = Vec::new();
        for late in [Slot(0), Slot(1), Slot(2)] {
            for output in reader.step(ReaderInput::Late(late, stripe)) {
                let ReaderOutput::Request { slot, retry: true, .. } = output else {
                    panic!("{output:?}");
                };
                asked.push(slot);
            }
        }
        assert_eq!(asked, [Slot(3), Slot(4)]);
        reader.step(ReaderInput::Verified(Slot(3), stripe));
        reader.step(ReaderInput::Verified(Slot(4), stripe));
        let outputs = reader.step(ReaderInput::Verified(Slot(2), stripe));
        assert!(matches!(outputs.as_slice(), [ReaderOutput::Decode { .. }]), "{outputs:?}");
    }
}
