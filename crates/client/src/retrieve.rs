//! Reading one object or a range of it.
//!
//! Spec: docs/protocol.md READ-1, READ-2, READ-3, FRESH-1.
//! Invariant: the sink receives a prefix of the requested bytes, verified; an error says how long.
//! Bounds: [`engine`]'s window.
//! Not here: temporary files and renaming (`cli`).

pub(crate) mod engine;
mod error;
mod lane;
mod output;

pub(crate) use lane::{Lane, LaneEvent};

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use avid_protocol::verify::VerifiedCommit;
use avid_types::{Generation, NodeId, Slot, StripeIndex};
use tokio::time::Instant;

use crate::client::{Asking, ObjectRef, Shared};
use crate::fault::{FaultBook, NodeFailure, NodeFault, name_of};
use crate::head::{self, HeadView};
use crate::progress::Progress;
use crate::retrieve::engine::{Engine, Job, StreamError};
use crate::retrieve::output::Output;
use crate::session::NodeError;
use crate::sink::Sink;

pub use crate::retrieve::error::{RetrieveError, RetrieveErrorKind};

/// What was read, and who misbehaved.
#[derive(Clone, Debug)]
pub struct RetrieveReport {
    /// Length of the whole object.
    pub object_bytes: u64,
    /// Bytes the sink received.
    pub bytes: u64,
    /// The life of the name that was read.
    pub generation: Generation,
    /// n - f nodes said which generation is newest; otherwise a newer one may exist.
    pub complete_head: bool,
    /// Nodes that sent something wrong.
    pub faults: Vec<NodeFault>,
    /// Nodes that could not be asked.
    pub unreachable: Vec<NodeId>,
    /// Time taken.
    pub elapsed: Duration,
}

pub(crate) async fn retrieve(
    shared: &Arc<Shared>,
    object: &ObjectRef,
    range: Option<Range<u64>>,
    sink: &mut dyn Sink,
    progress: &dyn Progress,
) -> Result<RetrieveReport, RetrieveError> {
    let started = Instant::now();
    let view = head::head(shared, object, Asking::Once).await;
    let commit = Arc::new(newest(&view).map_err(RetrieveError::before)?.clone());
    let object_bytes = commit.seal().layout().object_bytes();
    let range = checked(range, object_bytes).map_err(RetrieveError::before)?;
    progress.total(Some(range.end - range.start));
    let job = job(shared, &view, &commit, &range);
    let mut engine = Engine::new(shared, job);
    let mut output = Output::new(shared, &commit, range, sink, progress);
    let result = engine.run(&mut output).await;
    let bytes = output.written();
    let mut unreachable = engine.unreachable;
    unreachable.extend(absent(&view.failures));
    let faults = faults(shared, &view, &engine.faults);
    if let Err(error) = result {
        let kind = match error {
            StreamError::Consumer(kind) => kind,
            StreamError::Unavailable { stripe, good } => RetrieveErrorKind::TooFewChunks {
                stripe,
                good,
                needed: shared.config.params.m(),
                faults,
                unreachable: failures(shared, unreachable),
            },
        };
        return Err(RetrieveError { kind, bytes_good: bytes });
    }
    Ok(RetrieveReport {
        object_bytes,
        bytes,
        generation: commit.seal().manifest().object.generation,
        complete_head: view.complete,
        faults,
        unreachable: unreachable.into_keys().collect(),
        elapsed: started.elapsed(),
    })
}

/// The object as it is now, if enough is known to say so.
///
/// Rule: READ-1 (one certificate beats any number of other answers), FRESH-1.
pub(crate) fn newest(view: &HeadView) -> Result<&VerifiedCommit, RetrieveErrorKind> {
    let unavailable = || RetrieveErrorKind::Unavailable {
        answered: view.answered,
        failures: view.failures.clone(),
    };
    let commit = view.newest_commit();
    let deleted = view.deleted.as_ref().map(|(generation, _)| *generation);
    match (commit, deleted) {
        (Some(commit), deleted)
            if deleted.is_none_or(|g| g < commit.seal().manifest().object.generation) =>
        {
            Ok(commit)
        }
        (_, _) if !view.complete => Err(unavailable()),
        (_, Some(generation)) => Err(RetrieveErrorKind::Deleted { generation }),
        (_, None) => Err(RetrieveErrorKind::NotFound { unfinished: !view.pending.is_empty() }),
    }
}

fn checked(range: Option<Range<u64>>, object_bytes: u64) -> Result<Range<u64>, RetrieveErrorKind> {
    let Some(range) = range else {
        return Ok(0..object_bytes);
    };
    if range.start > range.end || range.end > object_bytes {
        return Err(RetrieveErrorKind::Range { range, object_bytes });
    }
    Ok(range)
}

fn job(shared: &Shared, view: &HeadView, commit: &Arc<VerifiedCommit>, range: &Range<u64>) -> Job {
    let layout = commit.seal().layout();
    let first = layout.stripe_of(range.start);
    let end = match range.end.checked_sub(1) {
        Some(last) if !range.is_empty() => StripeIndex(layout.stripe_of(last).0 + 1),
        Some(_) | None => first,
    };
    Job {
        commit: Arc::clone(commit),
        first,
        end,
        lost: lost(shared, view, commit),
        delivered: view.holders(commit.seal().manifest().object.generation),
    }
}

/// Slots whose nodes did not even answer HEAD, as long as m others did.
fn lost(shared: &Shared, view: &HeadView, commit: &VerifiedCommit) -> BTreeSet<Slot> {
    let is_down =
        |node: &NodeId| view.failures.iter().any(|f| f.node == *node && is_down(&f.error));
    let nodes = shared.nodes_of(commit.upload());
    let down: BTreeSet<Slot> =
        nodes.iter().filter(|(_, node)| is_down(node)).map(|(slot, _)| *slot).collect();
    let params = shared.config.params;
    if params.n() - down.len() >= params.m() { down } else { BTreeSet::new() }
}

/// Nobody is there; mere slowness is left to the hedging.
fn is_down(error: &NodeError) -> bool {
    match error {
        NodeError::Unreachable(_) => true,
        NodeError::Link(_)
        | NodeError::Closed
        | NodeError::Silent { .. }
        | NodeError::Late
        | NodeError::Refused { .. }
        | NodeError::Malformed(_)
        | NodeError::Unexpected { .. }
        | NodeError::Unverifiable(_)
        | NodeError::OtherPrefix => false,
    }
}

fn absent(failures: &[NodeFailure]) -> BTreeMap<NodeId, NodeError> {
    let absent = failures.iter().filter(|failure| failure.error.is_absence());
    absent.map(|failure| (failure.node, failure.error.clone())).collect()
}

fn failures(shared: &Shared, errors: BTreeMap<NodeId, NodeError>) -> Vec<NodeFailure> {
    let failure_of =
        |(node, error)| NodeFailure { node, name: name_of(&shared.config, node), error };
    errors.into_iter().map(failure_of).collect()
}

fn faults(shared: &Shared, view: &HeadView, chunks: &FaultBook) -> Vec<NodeFault> {
    let mut heads = FaultBook::default();
    for failure in view.failures.iter().filter(|failure| !failure.error.is_absence()) {
        heads.node(failure.node, &failure.error);
    }
    let mut faults = heads.report(&shared.config);
    faults.extend(chunks.report(&shared.config));
    faults
}
