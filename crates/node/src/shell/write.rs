//! The write conversations: a fragment from its owner, or a late fill from anybody.
//!
//! ```text
//! OPEN ─► OPENED{where to go on} ─► CHUNK* ─► SEAL ─► fragment durable ─► votes until HOLD
//! FILL ─► OPENED ─► CHUNK* to the last stripe of the proof ─► the same
//! ```
//! The engine is asked before anything on disk is replaced and told after it is durable.
//!
//! Spec: docs/protocol.md WRITE-1, ECHO-1, HOLD-1, ID-1.
//! Bounds: as in `ingest`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use avid_net::host::work;
use avid_net::{FrameHeader, LinkError};
use avid_protocol::certificate::{CommitProof, Predecessor};
use avid_protocol::object::{Manifest, SealBundle, SignedOpen, VerifiedOpen, VerifiedSeal};
use avid_protocol::record::Phase;
use avid_protocol::statement::StatementKind;
use avid_protocol::wire::{Message, Opened, RefusalCode, kind};
use avid_store::FragmentKey;
use avid_types::limits::CLIENT_IDLE_MAX;
use avid_types::{Digest, Signature, Slot, UploadId};
use tokio::sync::oneshot;

use crate::core::Event;
use crate::shell::client::{Answered, Session, allowed, bad_request, denied, stopping};
use crate::shell::engine::{Command, OwnVote};
use crate::shell::ingest::{IngestError, Partial, Stream, Ticket};
use crate::shell::pace::Pace;
use crate::shell::{Shared, getfrag, lookup};

/// How long a client may wait for votes before it must ask again.
const VOTES_WAIT_MAX: Duration = Duration::from_secs(600);

impl Session {
    pub(super) async fn disperse(
        &mut self,
        open: SignedOpen,
        predecessor: Option<Predecessor>,
    ) -> Answered {
        let verified = match self.verify_open(open, predecessor) {
            Ok(verified) => verified,
            Err(refusal) => return self.end(refusal),
        };
        let upload = verified.upload();
        let signed = verified.signed().clone();
        let Some(slot) = self.shared.cluster.slot_of(upload, self.shared.node) else {
            return self.end(bad_request("this node is not in the upload's group"));
        };
        if let Err(refusal) = self.event(Event::Open(verified)).await {
            return self.end(refusal);
        }
        let kept = lookup::record(&self.shared.store, upload).ok().flatten();
        let complete = kept.as_ref().is_some_and(|record| record.fragment.is_some());
        if complete {
            self.send_opened(Opened { stripes: 0, prefix_root: Digest::ZERO, complete }).await?;
            return self.seal_known(signed).await;
        }
        let shared = Arc::clone(&self.shared);
        let mut ticket = match shared.ingests.take(upload, Some(signed.clone())) {
            Ok(ticket) => ticket,
            Err(refusal) => return self.end(refusal),
        };
        let partial = match begin(&shared, &mut ticket, upload, slot) {
            Ok(partial) => partial,
            Err(refusal) => return self.end(refusal),
        };
        self.send_opened(partial.opened()).await?;
        let pace = Arc::clone(&ticket.pace);
        let mut stream = Stream::start(&shared, slot, partial, &pace);
        let sealed = unless_claimed(&pace, self.chunks_until_seal(&mut stream)).await;
        let (partial, written) = stream.end().await;
        ticket.partial = partial;
        let (manifest, seal) = match (written, sealed?) {
            (Err(refusal), _) | (Ok(()), Err(refusal)) => return self.end(refusal),
            (Ok(()), Ok(sealed)) => sealed,
        };
        let bundle = SealBundle { open: signed, manifest, seal };
        self.keep(ticket, bundle).await
    }

    fn verify_open(
        &self,
        open: SignedOpen,
        predecessor: Option<Predecessor>,
    ) -> Result<VerifiedOpen, IngestError> {
        allowed(self.rights.write, "this client's grant does not allow writing")?;
        let object = open.open.object.clone();
        allowed(object.owner == self.client, "objects are dispersed by their owner's key only")?;
        let verified =
            open.verify(&self.shared.cluster).map_err(|error| bad_request(error.to_string()))?;
        let time = self.shared.cluster_time();
        self.shared.verify(|verifier| verifier.predecessor(time, &object, predecessor)).map_err(
            |error| IngestError { code: RefusalCode::Predecessor, message: error.to_string() },
        )?;
        Ok(verified)
    }

    async fn send_opened(&mut self, opened: Opened) -> Result<(), LinkError> {
        self.send(&Message::Opened(opened)).await?;
        self.writer.flush().await
    }

    /// Ends the connection with a refusal: chunks may be on their way.
    fn end(&mut self, refusal: IngestError) -> Answered {
        self.going_on = false;
        Ok(Err(refusal))
    }

    /// The fragment is here already: the owner's SEAL must describe the same content.
    async fn seal_known(&mut self, open: SignedOpen) -> Answered {
        let (manifest, seal) = match self.read_seal().await? {
            Ok(sealed) => sealed,
            Err(refusal) => return self.end(refusal),
        };
        let bundle = SealBundle { open, manifest, seal };
        let seal = match bundle.verify(&self.shared.cluster) {
            Ok(seal) => seal,
            Err(error) => return self.end(bad_request(error.to_string())),
        };
        let upload = seal.upload();
        let slot = self.shared.cluster.slot_of(upload, self.shared.node).unwrap_or_default();
        let key = FragmentKey { upload, slot };
        if let Err(error) = self.shared.store.fragments().open_fragment(key) {
            if getfrag::is_lost(&error) {
                drop(self.event(Event::FragmentLost(upload)).await);
            }
            let code = RefusalCode::Damaged;
            return self.end(IngestError { code, message: error.to_string() });
        }
        self.stored(seal, None).await
    }

    async fn read_seal(&mut self) -> Result<Result<(Manifest, Signature), IngestError>, LinkError> {
        let next = self.reader.next_header();
        let header = avid_net::within(CLIENT_IDLE_MAX, "waiting for SEAL", next).await?;
        let Some(header) = header else {
            return Ok(Err(bad_request("the stream ended before SEAL")));
        };
        let body = self.reader.read_body().await?;
        Ok(decode_seal(header, &body))
    }

    async fn chunks_until_seal(
        &mut self,
        stream: &mut Stream,
    ) -> Result<Result<(Manifest, Signature), IngestError>, LinkError> {
        loop {
            if stream.is_refused() {
                return Ok(Err(bad_request("a chunk was refused")));
            }
            let next = self.reader.next_header();
            let header = avid_net::within(CLIENT_IDLE_MAX, "waiting for a chunk", next).await?;
            let Some(header) = header else {
                return Ok(Err(bad_request("the stream ended before SEAL")));
            };
            if header.kind == kind::CHUNK {
                if let Err(refusal) = stream.chunk(&mut self.reader).await? {
                    return Ok(Err(refusal));
                }
                continue;
            }
            let body = self.reader.read_body().await?;
            return Ok(decode_seal(header, &body));
        }
    }

    /// Finishes a fragment whose chunks are all here, and votes.
    async fn keep(&mut self, mut ticket: Ticket<'_>, bundle: SealBundle) -> Answered {
        let seal = match bundle.verify(&self.shared.cluster) {
            Ok(seal) => seal,
            Err(error) => return self.end(bad_request(error.to_string())),
        };
        // Asked before anything on disk is replaced.
        if let Err(refusal) = self.accepts(&seal).await {
            return self.end(refusal);
        }
        let Some(partial) = ticket.partial.take() else {
            return self.end(stopping());
        };
        let description = seal.clone();
        let finished = work(&self.shared.host, async move { partial.finish(&description) }).await;
        match finished {
            Ok(Ok(())) => {}
            Ok(Err(refusal)) => return self.end(refusal),
            Err(_) => return self.end(stopping()),
        }
        self.stored(seal, Some(ticket)).await
    }

    async fn accepts(&self, seal: &VerifiedSeal) -> Result<(), IngestError> {
        let (answer, done) = oneshot::channel();
        drop(self.shared.commands.send(Command::Accepts(Box::new(seal.clone()), answer)).await);
        match done.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(denial)) => Err(denied(&denial)),
            Err(_) => Err(stopping()),
        }
    }

    /// Tells the engine of a durable fragment. The ticket is held until the engine has taken it,
    /// so that no other stream replaces the file in between.
    async fn stored(&mut self, seal: VerifiedSeal, ticket: Option<Ticket<'_>>) -> Answered {
        let upload = seal.upload();
        let bytes = seal.layout().fragment_bytes();
        let taken = self.event(Event::Stored(Box::new(seal))).await;
        drop(ticket);
        if let Err(refusal) = taken {
            return self.end(refusal);
        }
        self.votes_until_hold(upload).await?;
        Ok(Ok(bytes))
    }

    async fn votes_until_hold(&mut self, upload: UploadId) -> Result<(), LinkError> {
        let mut votes = self.watch(upload).await;
        let mut told = BTreeSet::new();
        let deadline = tokio::time::Instant::now() + VOTES_WAIT_MAX;
        loop {
            let own = tokio::select! {
                own = votes.recv() => own,
                header = self.reader.next_header() => {
                    // Gone, or talking out of turn: either way this conversation is over.
                    self.going_on = false;
                    return header.map(drop);
                }
                () = tokio::time::sleep_until(deadline) => None,
                () = self.shared.stop.stopped() => None,
            };
            let Some(OwnVote { vote, echo_cert }) = own else {
                self.going_on = false;
                return Ok(());
            };
            let kind = vote.statement.kind;
            if told.insert(kind) {
                self.send(&Message::Vote { vote: Box::new(vote), echo_cert }).await?;
                self.writer.flush().await?;
            }
            if kind == StatementKind::Hold {
                return Ok(());
            }
        }
    }

    pub(super) async fn fill(&mut self, proof: CommitProof) -> Answered {
        if let Err(refusal) = allowed(self.rights.read, "this client's grant does not allow this") {
            return self.end(refusal);
        }
        let commit = match self.verified_commit(proof) {
            Ok(commit) => commit,
            Err(refusal) => return self.end(refusal),
        };
        let (seal, upload) = (commit.seal().clone(), commit.upload());
        let Some(slot) = self.shared.cluster.slot_of(upload, self.shared.node) else {
            return self.end(bad_request("this node is not in the upload's group"));
        };
        if let Err(refusal) = self.event(Event::Commit(Box::new(commit))).await {
            return self.end(refusal);
        }
        if self.holds_whole(upload, slot).await {
            self.send_opened(Opened { stripes: 0, prefix_root: Digest::ZERO, complete: true })
                .await?;
            self.votes_until_hold(upload).await?;
            return Ok(Ok(0));
        }
        self.take_fill(seal, slot).await
    }

    async fn take_fill(&mut self, seal: VerifiedSeal, slot: Slot) -> Answered {
        let shared = Arc::clone(&self.shared);
        let upload = seal.upload();
        let mut ticket = match shared.ingests.take(upload, Some(seal.open().signed().clone())) {
            Ok(ticket) => ticket,
            Err(refusal) => return self.end(refusal),
        };
        let partial = match begin(&shared, &mut ticket, upload, slot) {
            Ok(partial) => partial,
            Err(refusal) => return self.end(refusal),
        };
        self.send_opened(partial.opened()).await?;
        let pace = Arc::clone(&ticket.pace);
        let mut stream = Stream::start(&shared, slot, partial, &pace);
        let stripes = seal.layout().stripes();
        let received = unless_claimed(&pace, self.chunks_until(&mut stream, stripes)).await;
        let (partial, written) = stream.end().await;
        ticket.partial = partial;
        if let (Err(refusal), _) | (Ok(()), Err(refusal)) = (written, received?) {
            return self.end(refusal);
        }
        let bundle = seal.bundle().clone();
        self.keep(ticket, bundle).await
    }

    async fn chunks_until(
        &mut self,
        stream: &mut Stream,
        stripes: u64,
    ) -> Result<Result<(), IngestError>, LinkError> {
        while stream.next() < stripes {
            let next = self.reader.next_header();
            let header = avid_net::within(CLIENT_IDLE_MAX, "waiting for a chunk", next).await?;
            let Some(header) = header.filter(|header| header.kind == kind::CHUNK) else {
                return Ok(Err(bad_request("the stream ended before the last stripe")));
            };
            tracing::trace!(body_bytes = header.body_bytes, "chunk");
            if let Err(refusal) = stream.chunk(&mut self.reader).await? {
                return Ok(Err(refusal));
            }
        }
        Ok(Ok(()))
    }

    /// Whether the committed fragment is on disk and every chunk of it is good.
    async fn holds_whole(&self, upload: UploadId, slot: Slot) -> bool {
        let record = lookup::record(&self.shared.store, upload).ok().flatten();
        let claims = record.is_some_and(|record| {
            record.fragment.is_some() && matches!(record.phase, Phase::Committed(_))
        });
        if !claims {
            return false;
        }
        // Reads and hashes a whole fragment: few at a time, whoever asks.
        let _place = self.shared.checkers.acquire().await;
        let shared = Arc::clone(&self.shared);
        let check =
            work(&self.shared.host, async move { getfrag::is_whole(&shared, upload, slot) });
        // What cannot be read now is neither whole nor lost.
        let Ok(Ok(whole)) = check.await else {
            return false;
        };
        if !whole {
            tracing::warn!(%upload, "fragment is damaged and will be replaced");
            drop(self.event(Event::FragmentLost(upload)).await);
        }
        whole
    }
}

/// What a stream brings, unless it is slow and somebody else wants its place; the connection ends
/// then, since a frame may have been read in part.
async fn unless_claimed<T>(
    pace: &Pace,
    receiving: impl Future<Output = Result<Result<T, IngestError>, LinkError>>,
) -> Result<Result<T, IngestError>, LinkError> {
    tokio::select! {
        biased;
        () = pace.claimed() => {
            let text = "this stream was too slow and another one of its upload goes first";
            Ok(Err(IngestError::new(RefusalCode::Busy, text)))
        }
        received = receiving => received,
    }
}

fn begin(
    shared: &Shared,
    ticket: &mut Ticket<'_>,
    upload: UploadId,
    slot: Slot,
) -> Result<Partial, IngestError> {
    match ticket.partial.take() {
        Some(partial) => Ok(partial),
        None => Partial::new(shared, upload, slot),
    }
}

fn decode_seal(header: FrameHeader, body: &[u8]) -> Result<(Manifest, Signature), IngestError> {
    match Message::from_body(header.kind, header.version, body) {
        Ok(Message::Seal { manifest, seal }) => Ok((*manifest, seal)),
        Ok(_) => Err(bad_request("expected CHUNK or SEAL")),
        Err(error) => Err(bad_request(format!("malformed SEAL: {error}"))),
    }
}
