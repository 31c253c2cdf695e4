//! One slot's side of a write: OPEN, chunks, SEAL, votes.
//!
//! Spec: docs/protocol.md WRITE-1, WIRE-1.
//! Bounds: the stripes in its queue, which share the write's buffers.
//! Not here: what the votes lead to (`settle`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use avid_protocol::object::SealBundle;
use avid_protocol::statement::StatementKind;
use avid_protocol::vote::SignedVote;
use avid_protocol::wire::{FRAME_VERSION, Message, Opened, kind};
use avid_types::{Digest, NodeId, Slot};
use tokio::sync::{mpsc, watch};

use crate::client::Shared;
use crate::disperse::encode::{LaneState, Stripe};
use crate::disperse::stream::Target;
use crate::patience::{Patience, is_not_listening, is_not_ready};
use crate::session::{NodeError, Session};

/// What a sender reports.
#[derive(Debug)]
pub(super) enum SlotEvent {
    /// A vote, unverified.
    Vote(Slot, Box<SignedVote>),
    /// All votes were sent.
    Finished(Slot),
    /// The slot takes no further part.
    Failed(Slot, NodeError),
}

/// One slot of one write.
pub(super) struct Sender {
    pub(super) shared: Arc<Shared>,
    pub(super) target: Arc<Target>,
    pub(super) slot: Slot,
    pub(super) node: NodeId,
    pub(super) queue: mpsc::UnboundedReceiver<Arc<Stripe>>,
    pub(super) seal: watch::Receiver<Option<Arc<SealBundle>>>,
    pub(super) state: Arc<LaneState>,
    pub(super) events: mpsc::UnboundedSender<SlotEvent>,
    /// Slots that may still fail without putting the echo quorum out of reach.
    pub(super) spare: Arc<AtomicUsize>,
    /// This slot is one of those.
    pub(super) has_spare: bool,
    /// Why this slot is not open yet.
    pub(super) not_yet: Option<NodeError>,
}

/// Stripes the node has already, and the root they must have.
struct Kept {
    stripes: u64,
    root: Digest,
    complete: bool,
}

impl Sender {
    /// Runs to the end; the last event is `Finished` or `Failed`.
    pub(super) async fn run(mut self) {
        let state = Arc::clone(&self.state);
        let result = tokio::select! {
            biased;
            () = state.late.notified() => Err(NodeError::Late),
            result = self.send_fragment() => result,
        };
        // The others went on while it was not ready: its own words say more.
        let result = match self.not_yet.take() {
            Some(reason) => result.map_err(|_late| reason),
            None => result,
        };
        let event = match result {
            Ok(()) => SlotEvent::Finished(self.slot),
            Err(error) => {
                self.take_spare();
                SlotEvent::Failed(self.slot, error)
            }
        };
        self.report(event);
    }

    /// Nobody listens any more only when the whole write is over.
    fn report(&self, event: SlotEvent) {
        if self.events.send(event).is_err() {
            tracing::trace!(slot = %self.slot, "the write is over");
        }
    }

    async fn send_fragment(&mut self) -> Result<(), NodeError> {
        let (mut session, opened) = self.open_patiently().await?;
        let may_skip = self.target.may_skip || opened.complete;
        let kept = Kept {
            stripes: if may_skip { opened.stripes } else { 0 },
            root: opened.prefix_root,
            complete: opened.complete,
        };
        match self.stream(&mut session, &kept).await {
            Ok(()) => {}
            Err(error @ NodeError::Link(_)) => return Err(session.farewell(error).await),
            Err(error) => return Err(error),
        }
        match self.seal(&mut session).await {
            Ok(()) => {
                self.shared.pool.put(self.node, session);
                Ok(())
            }
            // Once everything was sent, a node that restarts has it all: it only votes again.
            Err(error) if error.is_absence() || is_not_ready(&error) => {
                self.vote_again(error).await
            }
            Err(error) => Err(error),
        }
    }

    /// Opens; asks again while the node may still become ready.
    ///
    /// A node that refuses connections is waited for only if the write cannot do without it: any
    /// other is filled after the commit.
    async fn open_patiently(&mut self) -> Result<(Session, Opened), NodeError> {
        let patience = Patience::start(&self.shared.timeouts);
        loop {
            let error = match self.open().await {
                Ok(opened) => {
                    self.not_yet = None;
                    return Ok(opened);
                }
                Err(error) => error,
            };
            self.not_yet = None;
            let Some(pause) = patience.pause(&error) else {
                return Err(error);
            };
            if is_not_listening(&error) && self.take_spare() {
                return Err(error);
            }
            tracing::debug!(slot = %self.slot, %error, "not open yet");
            self.not_yet = Some(error);
            tokio::time::sleep(pause).await;
            self.shared.pool.forget_failure(self.node);
        }
    }

    /// Whether the write can do without this slot too; once so, always so.
    fn take_spare(&mut self) -> bool {
        let taken = |left: usize| left.checked_sub(1);
        self.has_spare = self.has_spare
            || self.spare.fetch_update(Ordering::AcqRel, Ordering::Acquire, taken).is_ok();
        self.has_spare
    }

    async fn open(&self) -> Result<(Session, Opened), NodeError> {
        let message = Message::Open {
            open: Box::new(self.target.open.clone()),
            predecessor: self.target.predecessor.clone(),
        };
        loop {
            let mut session = self.shared.pool.get(self.node).await?;
            match session.call(&message, self.shared.timeouts.answer).await {
                Ok(Message::Opened(opened)) => return Ok((session, opened)),
                Ok(other) => return Err(NodeError::Unexpected { kind: other.kind() }),
                Err(error) if session.reused && error.is_stale() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends every stripe the node lacks, until the encoder has no more.
    async fn stream(&mut self, session: &mut Session, kept: &Kept) -> Result<(), NodeError> {
        let mut seen = 0;
        while let Some(stripe) = self.next_stripe(session).await? {
            seen = stripe.index.0.saturating_add(1);
            if kept.complete || stripe.index.0 < kept.stripes {
                if !kept.complete && seen == kept.stripes && stripe.root != kept.root {
                    return Err(NodeError::OtherPrefix);
                }
            } else {
                let parts = [stripe.prefix.as_slice(), stripe.chunk(self.slot)];
                session.writer.write_frame(kind::CHUNK, FRAME_VERSION, &parts).await?;
            }
            self.state.sent.store(seen, Ordering::Release);
        }
        if kept.stripes > seen && !kept.complete {
            return Err(NodeError::OtherPrefix);
        }
        Ok(())
    }

    /// The next stripe; meanwhile hears whether the node refuses.
    async fn next_stripe(
        &mut self,
        session: &mut Session,
    ) -> Result<Option<Arc<Stripe>>, NodeError> {
        if let Ok(stripe) = self.queue.try_recv() {
            return Ok(Some(stripe));
        }
        // Small frames wait for company; while we wait, they go.
        session.writer.flush().await?;
        tokio::select! {
            biased;
            stripe = self.queue.recv() => Ok(stripe),
            header = session.reader.next_header() => match header? {
                None => Err(NodeError::Closed),
                Some(header) => {
                    let message = session.body_of(header).await?;
                    Err(NodeError::Unexpected { kind: message.kind() })
                }
            },
        }
    }

    async fn sealed(&mut self) -> Result<Arc<SealBundle>, NodeError> {
        let sealed = self.seal.wait_for(Option::is_some).await.ok().and_then(|seal| seal.clone());
        sealed.ok_or(NodeError::Late)
    }

    /// Sends SEAL and passes on every vote up to the last, HOLD.
    async fn seal(&mut self, session: &mut Session) -> Result<(), NodeError> {
        let bundle = self.sealed().await?;
        let manifest = Box::new(bundle.manifest.clone());
        session.send(&Message::Seal { manifest, seal: bundle.seal }).await?;
        for _ in 0..VOTES_MAX {
            let answer = session.receive("voting", self.shared.timeouts.votes).await?;
            let Message::Vote { vote, .. } = answer else {
                return Err(NodeError::Unexpected { kind: answer.kind() });
            };
            let is_last = vote.statement.kind == StatementKind::Hold;
            self.report(SlotEvent::Vote(self.slot, vote));
            if is_last {
                return Ok(());
            }
        }
        Err(NodeError::Unexpected { kind: kind::VOTE })
    }

    async fn vote_again(&mut self, failed: NodeError) -> Result<(), NodeError> {
        let Ok((mut session, opened)) = self.open_patiently().await else {
            return Err(failed);
        };
        if !opened.complete {
            return Err(failed);
        }
        self.seal(&mut session).await?;
        self.shared.pool.put(self.node, session);
        Ok(())
    }
}

/// Votes one node may send after SEAL: each of four kinds, and once more after a change.
const VOTES_MAX: usize = 16;
