//! The writer's side of one dispersal: who holds what, and is the object committed?
//!
//! The writer streams to n nodes at once and hears their votes. It knows the object is committed
//! when D nodes signed DELIVERED for its own commitment, and placed when all n signed ECHO or HOLD.
//! It gives up only when so many nodes failed that no echo quorum can form.
//!
//! Spec: docs/protocol.md WRITE-1, COMMIT-1, HOLD-1 (PODC'07 section 4).
//! Invariant: `Committed` is reported at most once, and never for another commitment.
//! Bounds: four sets of n slots.
//! Not here: encoding and sockets (`client`).

use std::collections::{BTreeMap, BTreeSet};

use avid_types::canary::{self, Canary};
use avid_types::{Commitment, Params, Slot, UploadId};

use crate::statement::StatementKind;
use crate::verify::VerifiedVote;

/// What happened at the slots.
#[derive(Debug, Clone)]
pub enum WriterInput {
    /// A node's signed vote.
    Vote(VerifiedVote),
    /// A node cannot take its fragment any more: refused, unreachable, late.
    Failed(Slot),
    /// A failed node is back.
    Recovered(Slot),
}

/// What became true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriterOutput {
    /// D nodes delivered the object: it is committed.
    Committed,
    /// All n fragments are placed.
    Placed,
    /// So many nodes failed that no echo quorum can form without them.
    OutOfReach {
        /// Nodes still able to echo.
        able: usize,
        /// The echo quorum.
        needed: usize,
    },
}

/// One dispersal as its writer sees it.
#[derive(Debug, Clone)]
pub struct Writer {
    params: Params,
    upload: UploadId,
    commitment: Commitment,
    echoed: BTreeSet<Slot>,
    held: BTreeSet<Slot>,
    delivered: BTreeSet<Slot>,
    failed: BTreeSet<Slot>,
    other: BTreeMap<Slot, Commitment>,
    committed: bool,
    placed: bool,
}

impl Writer {
    /// A writer that has sealed `commitment`.
    #[must_use]
    pub fn new(params: Params, upload: UploadId, commitment: Commitment) -> Self {
        Self {
            params,
            upload,
            commitment,
            echoed: BTreeSet::new(),
            held: BTreeSet::new(),
            delivered: BTreeSet::new(),
            failed: BTreeSet::new(),
            other: BTreeMap::new(),
            committed: false,
            placed: false,
        }
    }

    /// Slots whose node signed that it holds its fragment.
    #[must_use]
    pub fn placed(&self) -> BTreeSet<Slot> {
        if canary::sings(Canary::SkipHoldCheck) {
            return self.params.slots().filter(|slot| !self.failed.contains(slot)).collect();
        }
        self.echoed.union(&self.held).copied().collect()
    }

    /// Slots nobody is known to hold.
    pub fn missing(&self) -> impl Iterator<Item = Slot> {
        let placed = self.placed();
        self.params.slots().filter(move |slot| !placed.contains(slot))
    }

    /// Whether D nodes delivered.
    #[must_use]
    pub fn is_committed(&self) -> bool {
        self.committed
    }

    /// Slots that echoed another commitment for this upload, which the owner must have signed.
    #[must_use]
    pub fn other_contents(&self) -> &BTreeMap<Slot, Commitment> {
        &self.other
    }

    /// Takes one input; the outputs became true now.
    pub fn step(&mut self, input: &WriterInput) -> Vec<WriterOutput> {
        match input {
            WriterInput::Vote(vote) => self.on_vote(vote),
            WriterInput::Failed(slot) => {
                if self.params.has_slot(*slot) {
                    self.failed.insert(*slot);
                }
            }
            WriterInput::Recovered(slot) => {
                self.failed.remove(slot);
            }
        }
        self.news()
    }

    fn on_vote(&mut self, vote: &VerifiedVote) {
        let statement = vote.statement();
        if statement.upload != self.upload {
            return;
        }
        let slot = statement.slot;
        if statement.commitment != self.commitment {
            if statement.kind == StatementKind::Echo {
                self.other.insert(slot, statement.commitment);
            }
            return;
        }
        match statement.kind {
            StatementKind::Echo => {
                self.echoed.insert(slot);
            }
            StatementKind::Hold => {
                self.held.insert(slot);
            }
            StatementKind::Delivered => {
                self.delivered.insert(slot);
            }
            StatementKind::Ready
            | StatementKind::Abort
            | StatementKind::Deleted
            | StatementKind::HoldNow
            | StatementKind::Seal
            | StatementKind::Cancel
            | StatementKind::Delete => {}
        }
    }

    fn news(&mut self) -> Vec<WriterOutput> {
        let mut news = Vec::new();
        if !self.committed && self.delivered.len() >= self.params.deliver_quorum() {
            self.committed = true;
            news.push(WriterOutput::Committed);
        }
        if !self.placed && self.committed && self.placed().len() == self.params.n() {
            self.placed = true;
            news.push(WriterOutput::Placed);
        }
        // A node that echoed may fail and its vote still counts.
        let lost = self.failed.iter().filter(|slot| !self.echoed.contains(slot)).count();
        let able = self.params.n() - lost;
        let needed = self.params.echo_quorum();
        if !self.committed && able < needed {
            news.push(WriterOutput::OutOfReach { able, needed });
        }
        news
    }
}
