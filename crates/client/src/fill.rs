//! Bringing a committed object's fragment to a node that lacks it, from the other fragments.
//!
//! The object is not needed: m verified chunks of each stripe give the missing one, and its digest
//! must be the one in the cross-checksum. This works for objects that came from a pipe.
//!
//! Spec: docs/protocol.md HOLD-1, REPAIR-2.
//! Bounds: the window of one read and one chunk.

use std::collections::BTreeSet;
use std::sync::Arc;

use avid_coding::StripeCoder;
use avid_protocol::statement::StatementKind;
use avid_protocol::verify::{VerifiedCommit, VerifyError};
use avid_protocol::wire::{ChunkPrefix, FRAME_VERSION, Message, kind};
use avid_types::limits::PENDING_WAIT_MAX;
use avid_types::{NodeId, Slot, StripeIndex, StripeLayout};

use crate::buffer::{Buffer, BufferPool};
use crate::client::Shared;
use crate::pool::locked;
use crate::retrieve::engine::{Consumer, Engine, Job, StreamError, VerifiedStripe};
use crate::session::{NodeError, Session};

/// Votes a node may send after a fill: DELIVERED, HOLD, and a repetition of older ones.
const VOTES_MAX: usize = 16;

/// Fills one slot and waits for the node's signed word that it holds its fragment.
pub(crate) async fn fill(
    shared: &Arc<Shared>,
    commit: &Arc<VerifiedCommit>,
    slot: Slot,
    node: NodeId,
) -> Result<(), NodeError> {
    let message = Message::Fill(Box::new(commit.proof().clone()));
    let (mut session, complete) = loop {
        let mut session = shared.pool.get(node).await?;
        match session.call(&message, shared.timeouts.answer + PENDING_WAIT_MAX).await {
            Ok(Message::Opened(opened)) => break (session, opened.complete),
            Ok(other) => return Err(NodeError::Unexpected { kind: other.kind() }),
            Err(error) if session.reused && error.is_stale() => {}
            Err(error) => return Err(error),
        }
    };
    if !complete {
        send_chunks(shared, commit, slot, &mut session).await?;
    }
    let placed = await_hold(shared, commit, slot, &mut session).await?;
    if placed {
        shared.pool.put(node, session);
        return Ok(());
    }
    Err(NodeError::Unexpected { kind: kind::VOTE })
}

async fn send_chunks(
    shared: &Arc<Shared>,
    commit: &Arc<VerifiedCommit>,
    slot: Slot,
    session: &mut Session,
) -> Result<(), NodeError> {
    let layout = commit.seal().layout();
    let job = Job {
        commit: Arc::clone(commit),
        first: StripeIndex(0),
        end: StripeIndex(layout.stripes()),
        lost: BTreeSet::from([slot]),
        delivered: BTreeSet::new(),
    };
    let chunk_bytes = usize::try_from(shared.config.chunk_bytes).unwrap_or(usize::MAX);
    let mut refill = Refill {
        coder: Arc::clone(&shared.coder),
        layout,
        slot,
        spare: BufferPool::new(chunk_bytes, 1),
        session,
    };
    let mut engine = Engine::new(shared, job);
    match engine.run(&mut refill).await {
        Ok(()) => {}
        Err(StreamError::Consumer(error)) => return Err(session.farewell(error).await),
        // The others are away for now: the same as this node being away, try again.
        Err(StreamError::Unavailable { stripe, good }) => {
            tracing::debug!(%stripe, good, %slot, "too few chunks to fill from");
            let limit = shared.timeouts.stall;
            return Err(NodeError::Silent { doing: "waiting for others' chunks", limit });
        }
    }
    Ok(session.writer.flush().await?)
}

/// Hears votes up to HOLD; whether one of them was this slot's word for this commitment.
async fn await_hold(
    shared: &Shared,
    commit: &VerifiedCommit,
    slot: Slot,
    session: &mut Session,
) -> Result<bool, NodeError> {
    for _ in 0..VOTES_MAX {
        let answer = session.receive("voting", shared.timeouts.votes).await?;
        let Message::Vote { vote, .. } = answer else {
            return Err(NodeError::Unexpected { kind: answer.kind() });
        };
        let statement = vote.statement;
        if statement.kind != StatementKind::Hold {
            continue;
        }
        let about = (statement.upload, statement.commitment, statement.slot);
        if about != (commit.upload(), commit.commitment(), slot) {
            return Err(VerifyError::Mismatch.into());
        }
        locked(&shared.verifier).vote(*vote)?;
        return Ok(true);
    }
    Ok(false)
}

/// Rebuilds one slot's chunk of every stripe and sends it.
struct Refill<'a> {
    coder: Arc<StripeCoder>,
    layout: StripeLayout,
    slot: Slot,
    spare: Arc<BufferPool>,
    session: &'a mut Session,
}

impl Refill<'_> {
    fn rebuild(&self, stripe: &VerifiedStripe) -> Option<Buffer> {
        let chunk_bytes = usize::try_from(self.layout.chunk_bytes(stripe.index)).ok()?;
        let mut rebuilt = self.spare.take();
        let available: Vec<(Slot, &[u8])> =
            stripe.chunks.iter().map(|(slot, chunk)| (*slot, chunk.as_ref())).collect();
        let mut wanted = [(self.slot, rebuilt.prepare(chunk_bytes))];
        self.coder.rebuild(&available, &mut wanted).ok()?;
        self.coder.check_chunk(self.slot, rebuilt.as_ref(), &stripe.fpcc).ok()?;
        Some(rebuilt)
    }
}

impl Consumer for Refill<'_> {
    type Error = NodeError;

    async fn consume(&mut self, stripe: VerifiedStripe) -> Result<(), NodeError> {
        // Verified chunks lie on one codeword, so this fails only if the writer found a collision.
        let Some(rebuilt) = self.rebuild(&stripe) else {
            return Err(VerifyError::Mismatch.into());
        };
        let chunk_bytes = self.layout.chunk_bytes(stripe.index);
        let prefix = ChunkPrefix { stripe: stripe.index, chunk_bytes };
        let prefix = prefix.to_bytes(stripe.fpcc.as_bytes());
        let parts = [prefix.as_slice(), rebuilt.as_ref()];
        let writing = self.session.writer.write_frame(kind::CHUNK, FRAME_VERSION, &parts);
        Ok(writing.await?)
    }
}
