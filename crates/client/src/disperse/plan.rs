//! Which generation to write, and how it may begin.
//!
//! Spec: docs/protocol.md ID-1, ABORT-1.
//! Not here: asking (`head`), whether nodes agree (they check the predecessor themselves).

use std::collections::BTreeMap;

use avid_protocol::certificate::Predecessor;
use avid_protocol::object::SignedOpen;
use avid_protocol::verify::VerifiedCommit;
use avid_types::{Generation, Timestamp};

use crate::head::HeadView;

/// What to do first.
#[derive(Debug)]
pub(super) enum Plan {
    /// Committed already: compare.
    Stored(Box<VerifiedCommit>),
    /// Write a generation.
    Write {
        /// Which.
        generation: Generation,
        /// How the one before ended.
        predecessor: Option<Box<Predecessor>>,
        /// The announcement to resume under.
        resume: Option<Box<SignedOpen>>,
    },
    /// End a generation first, then look again.
    Cancel(Generation),
}

/// Decides by verified knowledge and the local clock.
pub(super) fn plan(view: &HeadView, now: Timestamp, cancel_unfinished: bool) -> Plan {
    let mut ended = ended(view, now);
    if let Some(commit) = view.newest_commit() {
        let generation = commit.seal().manifest().object.generation;
        let is_over = ended.last_key_value().is_some_and(|(last, _)| *last >= generation);
        if !is_over {
            return Plan::Stored(Box::new(commit.clone()));
        }
    }
    let last = ended.pop_last();
    let candidate =
        last.as_ref().map_or(Generation(0), |(last, _)| Generation(last.0.saturating_add(1)));
    let predecessor = last.map(|(_, predecessor)| Box::new(predecessor));
    if let Some(open) = view.newest_pending() {
        let generation = open.open.object.generation;
        if generation >= candidate {
            if cancel_unfinished || open.open.expiry <= now {
                return Plan::Cancel(generation);
            }
            let predecessor = predecessor.filter(|_| generation == candidate);
            return Plan::Write { generation, predecessor, resume: Some(Box::new(open.clone())) };
        }
    }
    // An abort that somebody began and did not finish: liars alone do not get us here.
    if let Some((generation, _)) = view.aborts.last_key_value()
        && *generation >= candidate
        && view.begun_aborts(*generation)
    {
        return Plan::Cancel(*generation);
    }
    Plan::Write { generation: candidate, predecessor, resume: None }
}

/// Generations that ended, with the proof for the next one.
fn ended(view: &HeadView, now: Timestamp) -> BTreeMap<Generation, Predecessor> {
    let mut ended = BTreeMap::new();
    for (generation, (commit, _)) in &view.commits {
        let expires_at = commit.seal().manifest().expires_at;
        if expires_at != Timestamp::ZERO && expires_at < now {
            let proof = Box::new(commit.proof().clone());
            ended.insert(*generation, Predecessor::Expired(proof));
        }
    }
    for (generation, cert) in &view.aborted {
        ended.insert(*generation, Predecessor::Aborted(cert.clone()));
    }
    if let Some((generation, order)) = &view.deleted {
        ended.insert(*generation, Predecessor::Deleted(order.clone()));
    }
    ended
}
