//! From SEAL to the commit, and from the commit to n placed fragments.
//!
//! Spec: docs/protocol.md COMMIT-1, HOLD-1.
//! Invariant: only verified votes reach the writer machine.
//! Not here: what votes mean (`protocol::writer`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use avid_protocol::object::SealBundle;
use avid_protocol::verify::VerifiedCommit;
use avid_protocol::vote::SignedVote;
use avid_protocol::writer::{Writer, WriterInput, WriterOutput};
use avid_types::{Commitment, Generation, NodeId, Slot, UploadId};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::{Asking, ObjectRef, Shared};
use crate::disperse::DisperseOptions;
use crate::disperse::error::DisperseError;
use crate::disperse::sender::SlotEvent;
use crate::disperse::stream::Streaming;
use crate::fill;
use crate::head;
use crate::patience::is_not_ready;
use crate::pool::locked;
use crate::progress::Progress;
use crate::session::NodeError;

/// Pause between attempts to fill a node that is away.
const FILL_RETRY: Duration = Duration::from_millis(500);

/// A committed object and what happened on the way.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) upload: UploadId,
    pub(super) commitment: Commitment,
    pub(super) generation: Generation,
    pub(super) object_bytes: u64,
    pub(super) placed: BTreeSet<Slot>,
    pub(super) failures: Vec<(NodeId, NodeError)>,
}

/// Seals, counts votes until the commit, then places what is missing.
pub(super) async fn settle(
    shared: &Arc<Shared>,
    mut streaming: Streaming,
    seal: SealBundle,
    options: &DisperseOptions,
    progress: &dyn Progress,
) -> Result<Settled, DisperseError> {
    let manifest = &seal.manifest;
    let upload = manifest.object.upload(&shared.config);
    let commitment = manifest.commitment();
    let mut settled = Settled {
        upload,
        commitment,
        generation: manifest.object.generation,
        object_bytes: manifest.object_bytes,
        placed: BTreeSet::new(),
        failures: Vec::new(),
    };
    let object = ObjectRef { owner: manifest.object.owner, name: manifest.object.name.clone() };
    let mut writer = Writer::new(shared.config.params, upload, commitment);
    streaming.seal.send_replace(Some(Arc::new(seal)));
    let mut working = working(&streaming);
    commit(&mut streaming, &mut writer, &mut working).await?;
    progress.note("committed");
    let deadline = Instant::now() + options.placement_timeout;
    await_placement(&mut streaming, &mut writer, &mut working, deadline).await;
    settled.placed = writer.placed();
    settled.failures = streaming.failures().into_iter().map(|f| (f.node, f.error)).collect();
    if settled.placed.len() < shared.config.params.n() {
        progress.note("placing the missing fragments");
        let filling = place_rest(shared, &object, &mut settled);
        // What is not placed in time is reported as such: the commit stands.
        drop(tokio::time::timeout_at(deadline, filling).await);
    }
    Ok(settled)
}

/// Slots whose sender is still at work.
fn working(streaming: &Streaming) -> BTreeSet<Slot> {
    let failed = &streaming.failed;
    streaming.nodes.keys().filter(|slot| !failed.contains_key(slot)).copied().collect()
}

async fn commit(
    streaming: &mut Streaming,
    writer: &mut Writer,
    working: &mut BTreeSet<Slot>,
) -> Result<(), DisperseError> {
    let patience = streaming.shared.timeouts.votes;
    for slot in streaming.failed.keys() {
        writer.step(&WriterInput::Failed(*slot));
    }
    while !writer.is_committed() {
        let event = tokio::time::timeout(patience, streaming.events.recv()).await;
        let Ok(Some(event)) = event else {
            let failures = streaming.failures();
            return Err(DisperseError::NotCommitted { waited_s: patience.as_secs(), failures });
        };
        for output in on_event(streaming, writer, working, event) {
            if let WriterOutput::OutOfReach { .. } = output {
                return Err(streaming.no_quorum());
            }
        }
        if working.is_empty() && !writer.is_committed() {
            let failures = streaming.failures();
            return Err(DisperseError::NotCommitted { waited_s: 0, failures });
        }
    }
    Ok(())
}

/// Hears the senders that are still at work.
async fn await_placement(
    streaming: &mut Streaming,
    writer: &mut Writer,
    working: &mut BTreeSet<Slot>,
    deadline: Instant,
) {
    while !working.is_empty() {
        match tokio::time::timeout_at(deadline, streaming.events.recv()).await {
            Ok(Some(event)) => drop(on_event(streaming, writer, working, event)),
            Ok(None) | Err(_) => return,
        }
    }
}

fn on_event(
    streaming: &mut Streaming,
    writer: &mut Writer,
    working: &mut BTreeSet<Slot>,
    event: SlotEvent,
) -> Vec<WriterOutput> {
    match event {
        SlotEvent::Finished(slot) => {
            working.remove(&slot);
            Vec::new()
        }
        SlotEvent::Failed(slot, error) => {
            working.remove(&slot);
            streaming.failed.insert(slot, error);
            writer.step(&WriterInput::Failed(slot))
        }
        SlotEvent::Vote(slot, vote) => match checked(&streaming.shared, slot, *vote) {
            Ok(input) => writer.step(&input),
            Err(error) => {
                streaming.failed.insert(slot, error);
                writer.step(&WriterInput::Failed(slot))
            }
        },
    }
}

/// A node votes for its own slot, with its own signature.
fn checked(shared: &Shared, slot: Slot, vote: SignedVote) -> Result<WriterInput, NodeError> {
    if vote.statement.slot != slot {
        return Err(avid_protocol::verify::VerifyError::Mismatch.into());
    }
    Ok(WriterInput::Vote(locked(&shared.verifier).vote(vote)?))
}

/// Places the fragments of an object that was committed before.
pub(super) async fn place(
    shared: &Arc<Shared>,
    commit: VerifiedCommit,
    failures: BTreeMap<NodeId, NodeError>,
    options: &DisperseOptions,
) -> Settled {
    let manifest = commit.seal().manifest();
    let mut settled = Settled {
        upload: commit.upload(),
        commitment: commit.commitment(),
        generation: manifest.object.generation,
        object_bytes: manifest.object_bytes,
        placed: BTreeSet::new(),
        failures: failures.into_iter().collect(),
    };
    let filling = fill_all(shared, &commit, &mut settled);
    drop(tokio::time::timeout(options.placement_timeout, filling).await);
    settled
}

async fn place_rest(shared: &Arc<Shared>, object: &ObjectRef, settled: &mut Settled) {
    loop {
        let view = head::head(shared, object, Asking::Once).await;
        if let Some((commit, _)) = view.commits.get(&settled.generation) {
            return fill_all(shared, commit, settled).await;
        }
        tokio::time::sleep(FILL_RETRY).await;
    }
}

/// Fills every slot not known to be placed, all at once, again and again.
async fn fill_all(shared: &Arc<Shared>, commit: &VerifiedCommit, settled: &mut Settled) {
    let commit = Arc::new(commit.clone());
    let mut fills = JoinSet::new();
    for (slot, node) in shared.nodes_of(commit.upload()) {
        if settled.placed.contains(&slot) {
            continue;
        }
        let (shared, commit) = (Arc::clone(shared), Arc::clone(&commit));
        fills.spawn(async move {
            loop {
                match Box::pin(fill::fill(&shared, &commit, slot, node)).await {
                    Ok(()) => return (slot, node, Ok(())),
                    Err(error) if error.is_absence() || is_not_ready(&error) => {
                        tracing::debug!(%slot, %error, "not filled yet");
                        tokio::time::sleep(FILL_RETRY).await;
                    }
                    Err(error) => return (slot, node, Err(error)),
                }
            }
        });
    }
    while let Some(joined) = fills.join_next().await {
        let Ok((slot, node, filled)) = joined else {
            continue;
        };
        match filled {
            Ok(()) => {
                settled.placed.insert(slot);
            }
            Err(error) => settled.failures.push((node, error)),
        }
    }
}
