//! A client's connection: one conversation at a time, in order.
//!
//! ```text
//! HEAD, LIST, STAT, STATUS, ORDER, COMMIT   one answer each
//! GETFRAG                                   chunks, or a refusal
//! OPEN CHUNK* SEAL                          votes until HOLD
//! FILL CHUNK*                               votes until HOLD
//! ```
//! TCP's window is the credit: a client that does not read is not read from.
//!
//! Spec: docs/protocol.md WIRE-1, READ-2, FRESH-1, WRITE-1.
//! Bounds: one request in memory; streams as in `ingest` and `getfrag`.

use std::sync::Arc;
use std::time::Duration;

use avid_net::{Connection, FrameHeader, FrameReader, FrameWriter, LinkError};
use avid_protocol::authority::Rights;
use avid_protocol::certificate::CommitProof;
use avid_protocol::object::{OwnerOrder, SignedOpen};
use avid_protocol::statement::StatementKind;
use avid_protocol::verify::VerifiedCommit;
use avid_protocol::wire::{FRAME_VERSION, Message, RefusalCode, kind};
use avid_store::FragmentKey;
use avid_types::canary::{self, Canary};
use avid_types::limits::{CLIENT_IDLE_MAX, PENDING_WAIT_MAX};
use avid_types::{Nonce, ObjectName, PublicKey, StripeIndex, Timestamp, UploadId};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::core::{Denial, Event};
use crate::shell::engine::{Command, OwnVote};
use crate::shell::ingest::IngestError;
use crate::shell::{Shared, decode_grant, getfrag, lookup, status};

/// How long a connection may rest between two requests.
const REST_MAX: Duration = Duration::from_secs(600);
/// Votes waiting for a client: echo, ready, delivered, hold, and repeats.
const VOTES_MAX: usize = 16;

/// How a request ended, for the log line.
enum Outcome {
    Done(u64),
    Refused(RefusalCode),
}

/// A request refused: told to the client, then the connection goes on or ends.
pub(super) type Answered = Result<Result<u64, IngestError>, LinkError>;

pub(crate) async fn serve(shared: &Arc<Shared>, connection: Connection) -> Result<(), LinkError> {
    let (peer, reader, writer) = connection.split();
    let Some(grant) = decode_grant(&peer.hello.payload) else {
        return Ok(());
    };
    let mut session = Session {
        shared: Arc::clone(shared),
        client: peer.key(),
        rights: grant.grant.rights,
        ends: grant.grant.not_after,
        reader,
        writer,
        going_on: true,
    };
    session.run().await
}

pub(super) struct Session {
    pub(super) shared: Arc<Shared>,
    pub(super) client: PublicKey,
    pub(super) rights: Rights,
    ends: Timestamp,
    pub(super) reader: FrameReader,
    pub(super) writer: FrameWriter,
    pub(super) going_on: bool,
}

impl Session {
    async fn run(&mut self) -> Result<(), LinkError> {
        while self.going_on {
            let header = tokio::select! {
                () = self.shared.stop.stopped() => return Ok(()),
                header = avid_net::within(REST_MAX, "waiting for a request", self.reader.next_header()) => header?,
            };
            let Some(header) = header else {
                return Ok(());
            };
            self.request(header).await?;
        }
        self.writer.close().await
    }

    async fn request(&mut self, header: FrameHeader) -> Result<(), LinkError> {
        let started = Instant::now();
        if header.kind == kind::CHUNK {
            // A stream that was refused while chunks were on their way.
            return self.reader.skip().await;
        }
        let read = self.reader.read_body();
        let body = avid_net::within(CLIENT_IDLE_MAX, "reading a request", read).await?;
        let outcome = match Message::from_body(header.kind, header.version, &body) {
            Ok(message) => self.handle(message).await?,
            Err(error) => Err(bad_request(format!("malformed request: {error}"))),
        };
        let outcome = match outcome {
            Ok(bytes) => Outcome::Done(bytes),
            Err(refusal) => {
                let code = refusal.code;
                self.send(&Message::refused(code, &refusal.message)).await?;
                Outcome::Refused(code)
            }
        };
        avid_net::within(CLIENT_IDLE_MAX, "answering", self.writer.flush()).await?;
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let operation = operation_name(header.kind);
        match outcome {
            Outcome::Done(bytes) => {
                tracing::info!(operation, bytes, duration_us = micros, outcome = "ok", "request");
            }
            Outcome::Refused(code) => {
                tracing::info!(operation, duration_us = micros, outcome = ?code, "request");
            }
        }
        Ok(())
    }

    async fn handle(&mut self, message: Message) -> Answered {
        if self.ends != Timestamp::ZERO && self.ends <= self.shared.cluster_time() {
            return refuse(RefusalCode::NotAllowed, "this client's grant has ended");
        }
        match message {
            Message::Head { owner, name } => self.head(&owner, &name).await,
            Message::List { owner, prefix, after, limit } => {
                self.list(&owner, &prefix, after.as_ref(), limit).await
            }
            Message::Status => {
                let text = status::json(&self.shared).await;
                self.done(&Message::StatusAnswer(text)).await
            }
            Message::Stat { upload, nonce } => self.stat(upload, nonce).await,
            Message::GetFrag { upload, first, count, proof } => {
                self.get_frag(upload, first, count, proof).await
            }
            Message::Commit(proof) => match self.commit(*proof).await {
                Ok(upload) => self.one_vote(upload, StatementKind::Delivered).await,
                Err(refusal) => Ok(Err(refusal)),
            },
            Message::Order(order) => self.order(order).await,
            Message::Open { open, predecessor } => self.disperse(*open, predecessor).await,
            Message::Fill(proof) => self.fill(*proof).await,
            // SEAL without OPEN, answers, and what only peers send.
            Message::Seal { .. }
            | Message::HeadAnswer(_)
            | Message::Opened(_)
            | Message::Vote { .. }
            | Message::ListAnswer(_)
            | Message::StatusAnswer(_)
            | Message::Refused(_)
            | Message::News { .. }
            | Message::Heartbeat(_)
            | Message::Pull(_)
            | Message::Pulled { .. } => {
                refuse(RefusalCode::BadRequest, "this message is no request here")
            }
        }
    }

    pub(super) async fn send(&mut self, message: &Message) -> Result<(), LinkError> {
        let body = message.to_body();
        let parts = [body.as_slice()];
        let write = self.writer.write_frame(message.kind(), FRAME_VERSION, &parts);
        avid_net::within(CLIENT_IDLE_MAX, "answering", write).await
    }

    async fn done(&mut self, message: &Message) -> Answered {
        self.send(message).await?;
        Ok(Ok(0))
    }

    fn may_read(&self) -> Result<(), IngestError> {
        allowed(self.rights.read, "this client's grant does not allow reading")
    }

    pub(super) async fn event(&self, event: Event) -> Result<(), IngestError> {
        let (answer, done) = oneshot::channel();
        drop(self.shared.commands.send(Command::Event(event, Some(answer))).await);
        match done.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(denial)) => Err(denied(&denial)),
            Err(_) => Err(stopping()),
        }
    }

    async fn head(&mut self, owner: &PublicKey, name: &ObjectName) -> Answered {
        if let Err(refusal) = self.may_read() {
            return Ok(Err(refusal));
        }
        let (mut answer, aborted) = match lookup::head(&self.shared.store, owner, name) {
            Ok(found) => found,
            Err(error) => return refuse(RefusalCode::Unavailable, &error),
        };
        if let (Some(head), Some(object)) = (&mut answer.aborted, aborted)
            && head.cert.is_none()
        {
            let upload = object.upload(&self.shared.cluster);
            head.vote = self.vote_of(upload, StatementKind::Abort).await.map(|own| own.vote);
        }
        let under_way = self.shared.ingests.open_of(owner, name);
        let generation = |open: &SignedOpen| open.open.object.generation;
        answer.pending = answer.pending.into_iter().chain(under_way).max_by_key(generation);
        self.done(&Message::HeadAnswer(Box::new(answer))).await
    }

    async fn list(
        &mut self,
        owner: &PublicKey,
        prefix: &str,
        after: Option<&ObjectName>,
        limit: u16,
    ) -> Answered {
        if let Err(refusal) = self.may_read() {
            return Ok(Err(refusal));
        }
        match lookup::list(&self.shared.store, owner, prefix, after, usize::from(limit)) {
            Ok(page) => self.done(&Message::ListAnswer(page)).await,
            Err(error) => refuse(RefusalCode::Unavailable, &error),
        }
    }

    async fn stat(&mut self, upload: UploadId, nonce: Nonce) -> Answered {
        if let Err(refusal) = self.may_read() {
            return Ok(Err(refusal));
        }
        let record = lookup::record(&self.shared.store, upload).ok().flatten();
        if let Some((code, text)) = getfrag::refusal(record.as_ref(), self.shared.cluster_time()) {
            return refuse(code, text);
        }
        let Some(slot) = self.shared.cluster.slot_of(upload, self.shared.node) else {
            return refuse(RefusalCode::NotFound, "this node is not in the upload's group");
        };
        let key = FragmentKey { upload, slot };
        if let Err(error) = self.shared.store.fragments().open_fragment(key) {
            if getfrag::is_lost(&error) {
                drop(self.event(Event::FragmentLost(upload)).await);
            }
            return refuse(RefusalCode::Damaged, &error.to_string());
        }
        let (answer, vote) = oneshot::channel();
        drop(self.shared.commands.send(Command::HoldNow(upload, nonce, answer)).await);
        match vote.await {
            Ok(Some(vote)) => {
                self.done(&Message::Vote { vote: Box::new(vote), echo_cert: None }).await
            }
            Ok(None) => refuse(RefusalCode::NotFound, "this node does not hold its fragment"),
            Err(_) => Ok(Err(stopping())),
        }
    }

    async fn get_frag(
        &mut self,
        upload: UploadId,
        first: StripeIndex,
        count: u64,
        proof: Option<Box<CommitProof>>,
    ) -> Answered {
        if let Err(refusal) = self.may_read() {
            return Ok(Err(refusal));
        }
        let Some(slot) = self.shared.cluster.slot_of(upload, self.shared.node) else {
            return refuse(RefusalCode::NotFound, "this node is not in the upload's group");
        };
        let mut record = lookup::record(&self.shared.store, upload).ok().flatten();
        let undecided = record.as_ref().is_none_or(|record| !record.phase.is_settled());
        if undecided {
            match proof {
                Some(proof) => {
                    if let Err(refusal) = self.commit(*proof).await {
                        return Ok(Err(refusal));
                    }
                }
                None if record.is_some() => self.wait_for_commit(upload).await,
                None => {}
            }
            record = lookup::record(&self.shared.store, upload).ok().flatten();
        }
        if let Some((code, text)) = getfrag::refusal(record.as_ref(), self.shared.cluster_time()) {
            return refuse(code, text);
        }
        let key = FragmentKey { upload, slot };
        Ok(Ok(getfrag::send(&self.shared, &mut self.writer, key, first, count).await?))
    }

    /// Rule: READ-2: an undelivered upload answers `Pending` after a bounded wait.
    async fn wait_for_commit(&self, upload: UploadId) {
        let mut votes = self.watch(upload).await;
        let delivered = async {
            while let Some(own) = votes.recv().await {
                if own.vote.statement.kind == StatementKind::Delivered {
                    return;
                }
            }
        };
        drop(tokio::time::timeout(PENDING_WAIT_MAX, delivered).await);
    }

    async fn commit(&self, proof: CommitProof) -> Result<UploadId, IngestError> {
        let commit = self.verified_commit(proof)?;
        let upload = commit.upload();
        self.event(Event::Commit(Box::new(commit))).await?;
        Ok(upload)
    }

    pub(super) fn verified_commit(
        &self,
        proof: CommitProof,
    ) -> Result<VerifiedCommit, IngestError> {
        self.shared
            .verify(|verifier| verifier.commit(proof))
            .map_err(|error| bad_request(format!("commit proof: {error}")))
    }

    async fn order(&mut self, order: OwnerOrder) -> Answered {
        let is_owner = order.object.owner == self.client || canary::sings(Canary::OrdersByAnyone);
        let owns = self.rights.write && is_owner;
        if let Err(refusal) = allowed(owns, "objects are deleted by their owner's key only") {
            return Ok(Err(refusal));
        }
        let verified = match order.verify(&self.shared.cluster) {
            Ok(order) => order,
            Err(error) => return refuse(RefusalCode::BadRequest, &error.to_string()),
        };
        let kind = match verified.kind() {
            avid_protocol::object::OrderKind::Cancel => StatementKind::Abort,
            avid_protocol::object::OrderKind::Delete => StatementKind::Deleted,
        };
        let upload = verified.upload();
        if let Err(refusal) = self.event(Event::Order(Box::new(verified))).await {
            return Ok(Err(refusal));
        }
        self.one_vote(upload, kind).await
    }

    pub(super) async fn watch(&self, upload: UploadId) -> mpsc::Receiver<OwnVote> {
        let (sender, votes) = mpsc::channel(VOTES_MAX);
        drop(self.shared.commands.send(Command::Watch(upload, sender)).await);
        votes
    }

    async fn vote_of(&self, upload: UploadId, kind: StatementKind) -> Option<OwnVote> {
        let mut votes = self.watch(upload).await;
        let wanted = async {
            while let Some(own) = votes.recv().await {
                if own.vote.statement.kind == kind {
                    return Some(own);
                }
            }
            None
        };
        tokio::time::timeout(PENDING_WAIT_MAX, wanted).await.ok().flatten()
    }

    async fn one_vote(&mut self, upload: UploadId, kind: StatementKind) -> Answered {
        match self.vote_of(upload, kind).await {
            Some(OwnVote { vote, echo_cert }) => {
                self.done(&Message::Vote { vote: Box::new(vote), echo_cert }).await
            }
            None => refuse(RefusalCode::Unavailable, "this node has not voted; retry"),
        }
    }
}

fn refuse(code: RefusalCode, text: &str) -> Answered {
    Ok(Err(IngestError { code, message: text.to_owned() }))
}

pub(super) fn bad_request(text: impl Into<String>) -> IngestError {
    IngestError { code: RefusalCode::BadRequest, message: text.into() }
}

pub(super) fn stopping() -> IngestError {
    IngestError { code: RefusalCode::Unavailable, message: "this node is stopping".into() }
}

pub(super) fn allowed(is_allowed: bool, text: &str) -> Result<(), IngestError> {
    if is_allowed {
        return Ok(());
    }
    Err(IngestError { code: RefusalCode::NotAllowed, message: text.to_owned() })
}

pub(super) fn denied(denial: &Denial) -> IngestError {
    let code = match denial {
        Denial::Protocol(refusal) => (*refusal).into(),
        Denial::NotInGroup => RefusalCode::BadRequest,
        Denial::TooManyOpen(_) | Denial::TooManyEnded(_) => RefusalCode::Busy,
        Denial::NotVoting(_) => RefusalCode::Unavailable,
    };
    IngestError { code, message: denial.to_string() }
}

fn operation_name(frame_kind: u8) -> &'static str {
    match frame_kind {
        kind::HEAD => "head",
        kind::LIST => "list",
        kind::STAT => "stat",
        kind::STATUS => "status",
        kind::GETFRAG => "getfrag",
        kind::COMMIT => "commit",
        kind::ORDER => "order",
        kind::OPEN => "disperse",
        kind::FILL => "fill",
        _ => "unknown",
    }
}
