//! One stream of fragments from one node: requests go out, checked chunks come back in order.
//!
//! Every chunk is checked here, on the task of its connection: path, hash and fingerprint. Only
//! what passed leaves this module as a [`VerifiedChunk`].
//!
//! Spec: docs/protocol.md READ-1, READ-2, section 1.2.
//! Bounds: one chunk, and the runs that were requested.
//! Not here: what to request (`protocol::reader`).

use std::collections::VecDeque;
use std::sync::Arc;

use avid_coding::merkle::{check_stripe_path, stripe_leaf};
use avid_coding::{ChunkFault, Fpcc};
use avid_net::FrameHeader;
use avid_protocol::reader::Run;
use avid_protocol::verify::VerifiedCommit;
use avid_protocol::wire::{ChunkPrefix, FRAME_VERSION, FragPrefix, Message, RefusalCode, kind};
use avid_types::canary::{self, Canary};
use avid_types::limits::{CHUNK_OVERHEAD_BYTES_MAX, CONTROL_FRAME_BYTES_MAX};
use avid_types::{DecodeError, NodeId, Slot, StripeIndex};
use tokio::sync::mpsc;

use crate::buffer::{Buffer, BufferPool};
use crate::client::Shared;
use crate::fault::FaultKind;
use crate::session::{NodeError, Session};

/// A chunk that leads to the object's root, has its digest and lies on the codeword.
#[derive(Debug)]
pub(crate) struct VerifiedChunk {
    pub(crate) fpcc: Fpcc,
    pub(crate) bytes: Buffer,
}

/// What became of requested stripes.
#[derive(Debug)]
pub(crate) enum LaneEvent {
    /// A good chunk.
    Verified(Slot, StripeIndex, VerifiedChunk),
    /// A bad one.
    Faulty(Slot, StripeIndex, FaultKind),
    /// Nothing more will come from this slot.
    Lost(Slot, NodeError),
}

/// The reading end of one connection.
pub(crate) struct Lane {
    pub(crate) shared: Arc<Shared>,
    pub(crate) commit: Arc<VerifiedCommit>,
    pub(crate) slot: Slot,
    pub(crate) node: NodeId,
    /// The node has not shown the commit proof: it gets it with the first request (READ-2).
    pub(crate) needs_proof: bool,
    pub(crate) requests: mpsc::UnboundedReceiver<Run>,
    pub(crate) events: mpsc::UnboundedSender<LaneEvent>,
    pub(crate) buffers: Arc<BufferPool>,
}

/// Stripes that one GETFRAG still owes.
#[derive(Clone, Copy, Debug)]
struct Owed {
    next: u64,
    end: u64,
    with_proof: bool,
}

impl Lane {
    /// Serves requests until there are no more.
    pub(crate) async fn run(mut self) {
        if let Err(error) = self.serve().await {
            self.report(LaneEvent::Lost(self.slot, error));
        }
    }

    /// Nobody listens any more only when the operation is over.
    fn report(&self, event: LaneEvent) {
        if self.events.send(event).is_err() {
            tracing::trace!(slot = %self.slot, "the read is over");
        }
    }

    async fn serve(&mut self) -> Result<(), NodeError> {
        let mut owed = VecDeque::new();
        // Connect only when there is something to ask.
        match self.requests.recv().await {
            Some(run) => owed.push_back(self.owed(run)),
            None => return Ok(()),
        }
        loop {
            let mut session = self.shared.pool.get(self.node).await?;
            let reused = session.reused;
            match self.converse(&mut session, &mut owed).await {
                Ok(true) => {
                    self.shared.pool.put(self.node, session);
                    return Ok(());
                }
                Ok(false) => return Ok(()),
                Err(error) if reused && session.reused && error.is_stale() => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn owed(&mut self, run: Run) -> Owed {
        let with_proof = std::mem::take(&mut self.needs_proof);
        Owed { next: run.first.0, end: run.first.0.saturating_add(run.count), with_proof }
    }

    async fn ask(&self, session: &mut Session, owed: Owed) -> Result<(), NodeError> {
        let proof = owed.with_proof.then(|| Box::new(self.commit.proof().clone()));
        let message = Message::GetFrag {
            upload: self.commit.upload(),
            first: StripeIndex(owed.next),
            count: owed.end - owed.next,
            proof,
        };
        session.send(&message).await
    }

    /// Asks and reads until no requests can come; `true` if the connection is between answers.
    async fn converse(
        &mut self,
        session: &mut Session,
        owed: &mut VecDeque<Owed>,
    ) -> Result<bool, NodeError> {
        for request in owed.iter() {
            self.ask(session, *request).await?;
        }
        let limit = self.shared.timeouts.stall;
        loop {
            tokio::select! {
                biased;
                request = self.requests.recv() => {
                    let Some(run) = request else {
                        return Ok(owed.is_empty());
                    };
                    let request = self.owed(run);
                    owed.push_back(request);
                    self.ask(session, request).await?;
                }
                header = tokio::time::timeout(limit, session.reader.next_header()),
                    if !owed.is_empty() =>
                {
                    let silent = NodeError::Silent { doing: "serving chunks", limit };
                    let header = header.map_err(|_elapsed| silent.clone())??;
                    let header = header.ok_or(NodeError::Closed)?;
                    session.reused = false;
                    let reading = self.on_frame(session, header, owed);
                    tokio::time::timeout(limit, reading).await.map_err(|_elapsed| silent)??;
                }
            }
        }
    }

    async fn on_frame(
        &mut self,
        session: &mut Session,
        header: FrameHeader,
        owed: &mut VecDeque<Owed>,
    ) -> Result<(), NodeError> {
        let Some(mut request) = owed.pop_front() else {
            return Err(NodeError::Unexpected { kind: header.kind });
        };
        if header.kind == kind::FRAG && header.version == FRAME_VERSION {
            self.read_chunk(session, StripeIndex(request.next)).await?;
            request.next += 1;
            if request.next < request.end {
                owed.push_front(request);
            }
            return Ok(());
        }
        match session.body_of(header).await {
            Ok(message) => Err(NodeError::Unexpected { kind: message.kind() }),
            Err(error) => self.on_refused(session, request, owed, error).await,
        }
    }

    /// A refusal ends one answer; some say how to go on.
    async fn on_refused(
        &self,
        session: &mut Session,
        mut request: Owed,
        owed: &mut VecDeque<Owed>,
        error: NodeError,
    ) -> Result<(), NodeError> {
        let code = error.refusal();
        if code == Some(RefusalCode::Pending) && !request.with_proof {
            request.with_proof = true;
        } else if code == Some(RefusalCode::Damaged) {
            let stripe = StripeIndex(request.next);
            self.report(LaneEvent::Faulty(self.slot, stripe, FaultKind::Damaged));
            request.next += 1;
            if request.next >= request.end {
                return Ok(());
            }
        } else {
            return Err(error);
        }
        owed.push_back(request);
        self.ask(session, request).await
    }

    /// Reads one FRAG body and reports what it was worth.
    ///
    /// A frame out of step ends the connection: nothing after it can be trusted to be in place.
    async fn read_chunk(
        &self,
        session: &mut Session,
        stripe: StripeIndex,
    ) -> Result<(), NodeError> {
        let reader = &mut session.reader;
        let mut fixed = [0; FragPrefix::FIXED_BYTES];
        if reader.body_left() < fixed.len() {
            return Err(DecodeError::Truncated { missing: fixed.len() - reader.body_left() }.into());
        }
        reader.read_exact(&mut fixed).await?;
        let (chunk, variable_bytes) = FragPrefix::decode_fixed(&fixed)?;
        let chunk_bytes = usize::try_from(chunk.chunk_bytes).unwrap_or(usize::MAX);
        let fits = reader.body_left() == variable_bytes.saturating_add(chunk_bytes);
        if !fits || variable_bytes > CHUNK_OVERHEAD_BYTES_MAX || chunk.stripe != stripe {
            return Err(NodeError::Unexpected { kind: kind::FRAG });
        }
        let mut variable = vec![0; variable_bytes];
        reader.read_exact(&mut variable).await?;
        if chunk.chunk_bytes != self.commit.seal().layout().chunk_bytes(stripe) {
            reader.skip().await?;
            self.report(LaneEvent::Faulty(self.slot, stripe, FaultKind::Length));
            return Ok(());
        }
        let mut bytes = self.buffers.take();
        reader.read_exact(bytes.prepare(chunk_bytes)).await?;
        self.report(match self.check(chunk, &variable, bytes.as_ref()) {
            Ok(fpcc) => LaneEvent::Verified(self.slot, stripe, VerifiedChunk { fpcc, bytes }),
            Err(kind) => LaneEvent::Faulty(self.slot, stripe, kind),
        });
        Ok(())
    }

    /// The cross-checksum leads to the root, and the chunk agrees with it in hash and fingerprint.
    fn check(&self, chunk: ChunkPrefix, variable: &[u8], bytes: &[u8]) -> Result<Fpcc, FaultKind> {
        let config = &self.shared.config;
        let (params, suite) = (config.params, config.suite);
        let prefix = FragPrefix::decode_variable(chunk, config.fpcc_bytes(), variable)
            .map_err(|_malformed| FaultKind::Path)?;
        let fpcc = Fpcc::from_bytes(params, suite, &prefix.fpcc).map_err(|_| FaultKind::Path)?;
        let fpd = fpcc.digest(params, suite, chunk.chunk_bytes);
        let leaf = stripe_leaf(chunk.stripe, chunk.chunk_bytes, &fpd);
        let manifest = self.commit.seal().manifest();
        let (root, count) = (&manifest.root, manifest.stripes);
        let leads_to_root = check_stripe_path(root, count, chunk.stripe, leaf, &prefix.path);
        if !leads_to_root && !canary::sings(Canary::TrustOneCrossChecksum) {
            return Err(FaultKind::Path);
        }
        match self.shared.coder.check_chunk(self.slot, bytes, &fpcc) {
            Err(ChunkFault::Fingerprint) if canary::sings(Canary::HashOnlyReads) => {}
            checked => checked?,
        }
        Ok(fpcc)
    }
}

const _: () = assert!(CHUNK_OVERHEAD_BYTES_MAX <= CONTROL_FRAME_BYTES_MAX);
