//! Counts votes of one upload: one per node and kind, the first one wins.
//!
//! Spec: docs/protocol.md TALLY-1, EVID-1.
//! Invariant: a slot is counted once per kind, whatever arrives and over however many links.
//! Bounds: n votes of each of three kinds.

use std::collections::BTreeMap;

use avid_types::Slot;
use avid_types::canary::{self, Canary};

use crate::fault::{Fault, FaultKind, conflict};
use crate::record::Promise;
use crate::statement::StatementKind;
use crate::verify::VerifiedVote;
use crate::vote::SignedVote;

/// Votes received for one upload.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    votes: BTreeMap<StatementKind, BTreeMap<Slot, SignedVote>>,
}

impl Tally {
    /// Counts a vote unless its slot already has one of this kind.
    ///
    /// Returns evidence if the vote excludes one that the same node signed before; the
    /// conflicting vote is not counted.
    pub fn count(&mut self, vote: &VerifiedVote) -> Option<Fault> {
        let statement = vote.statement();
        for of_kind in self.votes.values() {
            let Some(known) = of_kind.get(&statement.slot) else {
                continue;
            };
            if conflict(&known.statement, statement) {
                let votes = Box::new((known.clone(), vote.signed().clone()));
                return Some(Fault {
                    node: vote.signer(),
                    kind: FaultKind::ConflictingVotes(votes),
                });
            }
        }
        let of_kind = self.votes.entry(statement.kind).or_default();
        let mut place = statement.slot;
        if canary::sings(Canary::VotesBySocket) {
            place = Slot(u8::try_from(of_kind.len()).unwrap_or(place.0));
        }
        of_kind.entry(place).or_insert_with(|| vote.signed().clone());
        None
    }

    /// The votes of a kind for one promise.
    pub fn equal(
        &self,
        kind: StatementKind,
        promise: Promise,
    ) -> impl Iterator<Item = &SignedVote> {
        self.votes.get(&kind).into_iter().flat_map(BTreeMap::values).filter(move |vote| {
            (vote.statement.commitment, vote.statement.expiry)
                == (promise.commitment, promise.expiry)
        })
    }

    /// All votes of a kind.
    pub fn of_kind(&self, kind: StatementKind) -> impl Iterator<Item = &SignedVote> {
        self.votes.get(&kind).into_iter().flat_map(BTreeMap::values)
    }

    /// Forgets everything: a certificate replaced the votes.
    pub fn clear(&mut self) {
        self.votes.clear();
    }
}
