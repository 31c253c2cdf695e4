//! The storage node's side of one upload.
//!
//! ```text
//!            Stored            E echoes | READY with echo certificate
//!   Idle ───────────▶ Echoed ─────────────────────────────▶ Ready
//!    │ │                │ │                                   │ D readies and the seal
//!    │ └── CANCEL, expiry ┴──▶ Aborted ── commit proof ──▶ Committed
//!    └───────────────── owner's DELETE, from anywhere ──▶ Deleted
//! ```
//! The machine decides; it never sees a byte of an object. Each step says what must be durable,
//! which statements may then be signed, and what became true. A signed vote of this node comes
//! back as an input like everybody else's, so nothing is counted before it is durable.
//!
//! Spec: docs/protocol.md ECHO-1, READY-1, COMMIT-1, ABORT-1, ABORT-2, ABORT-3, DELETE-1, HOLD-1, TALLY-1
//! (PODC'07 section 4).
//! Invariant: at most one commitment is ever echoed, and one ready; never READY after ABORT nor
//! ABORT after READY.
//! Bounds: one record, n votes of three kinds, one echo certificate.
//! Not here: signature checks (`verify`), hashing and files (`node`), other uploads (`node::core`).

use std::sync::Arc;

use avid_types::canary::{self, Canary};
use avid_types::{ClusterConfig, Commitment, NodeId, Nonce, Slot, Timestamp, UploadId, limits};

use crate::certificate::{CommitProof, QuorumCert};
use crate::fault::{Fault, FaultKind};
use crate::object::{OrderKind, SealBundle, VerifiedOpen, VerifiedOrder, VerifiedSeal};
use crate::record::{Phase, Promise, UploadRecord};
use crate::statement::{Statement, StatementKind};
use crate::tally::Tally;
use crate::verify::{VerifiedCert, VerifiedCommit, VerifiedVote};

/// Why a node does not do what a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// This id already stands for other content.
    #[error("other content was already stored or begun under this id")]
    OtherContent,
    /// The upload was aborted.
    #[error("this dispersal was aborted; begin the next generation")]
    Aborted,
    /// The owner deleted it.
    #[error("the owner deleted this object")]
    Deleted,
    /// Expiry of the OPEN or of the object is past in cluster time.
    #[error("the expiry is past in cluster time")]
    Expired,
    /// Expiry of the OPEN or of the object is farther away than allowed.
    #[error("the expiry is farther ahead of cluster time than allowed; check the client's clock")]
    TooFarAhead,
    /// Too few clocks were heard.
    #[error("cluster time is not known yet; retry in a few seconds")]
    NoClusterTime,
    /// Nodes are already ready, so the dispersal can only complete or be deleted.
    #[error(
        "this dispersal is already past the point where it can be cancelled; delete it instead"
    )]
    AlreadyReady,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// The owner announces the dispersal.
    Open(VerifiedOpen),
    /// This node's fragment of the sealed object is verified and durable.
    Stored(VerifiedSeal),
    /// The owner's description, learned from a peer.
    Seal(VerifiedSeal),
    /// An ECHO or ABORT, of a peer or of this node itself once durable.
    Vote(VerifiedVote),
    /// A READY with the echo certificate it carries.
    Ready(VerifiedVote, VerifiedCert),
    /// A commit proof, from anybody.
    Commit(Box<VerifiedCommit>),
    /// An abort certificate, from anybody.
    AbortCert(VerifiedCert),
    /// The owner's CANCEL or DELETE.
    Order(VerifiedOrder),
    /// The fragment turned out to be missing or damaged.
    FragmentLost,
    /// Cluster time may have advanced.
    Tick,
}

/// What became true; the caller acts on it after `persist` is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// The request is refused; nothing changed.
    Refused(Refusal),
    /// D READYs stand for this content but its description is unknown: ask peers for it.
    NeedSeal(Commitment),
    /// The object is committed; its fragment is kept if it is here.
    Committed(Commitment),
    /// No commit can form any more.
    Aborted,
    /// The tombstone is kept.
    Deleted,
    /// The fragment on disk belongs to nothing any more.
    DropFragment,
    /// Two contents of one upload are certified: more than f nodes lie.
    FaultBoundExceeded,
}

/// Result of a step.
#[must_use = "a dropped step is a lost vote"]
#[derive(Debug, Clone, Default)]
pub struct Step {
    /// Durable before anything below happens.
    pub persist: Option<UploadRecord>,
    /// Statements this node may sign once `persist` is durable.
    pub sign: Vec<Statement>,
    /// Facts for the caller.
    pub outputs: Vec<Output>,
    /// Provable misbehaviour of peers.
    pub faults: Vec<Fault>,
}

impl Step {
    fn refuse(refusal: Refusal) -> Self {
        Self { outputs: vec![Output::Refused(refusal)], ..Self::default() }
    }
}

/// One upload at one node.
#[derive(Debug, Clone)]
pub struct ServerUpload {
    config: Arc<ClusterConfig>,
    upload: UploadId,
    slot: Slot,
    record: UploadRecord,
    tally: Tally,
    /// What D nodes are ready for, and why, while its description is unknown here.
    unsealed: Option<(Promise, QuorumCert)>,
}

impl ServerUpload {
    /// The machine of an upload whose group this node is in, from what it kept.
    ///
    /// `None` if `node` holds no slot of `upload`.
    #[must_use]
    pub fn new(
        config: Arc<ClusterConfig>,
        node: NodeId,
        upload: UploadId,
        record: UploadRecord,
    ) -> Option<Self> {
        let slot = config.slot_of(upload, node)?;
        Some(Self { config, upload, slot, record, tally: Tally::default(), unsealed: None })
    }

    /// What is kept.
    #[must_use]
    pub fn record(&self) -> &UploadRecord {
        &self.record
    }

    /// This node's slot.
    #[must_use]
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// Statements that follow from the durable promises; safe to sign again at any time.
    #[must_use]
    pub fn promised(&self) -> Vec<Statement> {
        let vote = |kind, promise: Promise| self.vote(kind, promise);
        match &self.record.phase {
            Phase::Idle => Vec::new(),
            Phase::Echoed(promise) => vec![vote(StatementKind::Echo, *promise)],
            Phase::Ready { echoed, promise, .. } => {
                let echo = echoed.map(|echoed| vote(StatementKind::Echo, echoed));
                echo.into_iter().chain([vote(StatementKind::Ready, *promise)]).collect()
            }
            Phase::Aborted { echoed, .. } => {
                let echo = echoed.map(|echoed| vote(StatementKind::Echo, echoed));
                let abort = Statement::about_upload(StatementKind::Abort, self.upload, self.slot);
                echo.into_iter().chain([abort]).collect()
            }
            Phase::Committed(proof) => self.after_commit(proof),
            Phase::Deleted(_) => {
                vec![Statement::about_upload(StatementKind::Deleted, self.upload, self.slot)]
            }
        }
    }

    fn after_commit(&self, proof: &CommitProof) -> Vec<Statement> {
        let promise = Promise { commitment: proof.echo.commitment, expiry: proof.echo.expiry };
        let mut statements = vec![self.vote(StatementKind::Delivered, promise)];
        if self.record.fragment == Some(promise.commitment) {
            statements.push(self.vote(StatementKind::Hold, promise));
        }
        statements
    }

    /// The claim to hold the committed fragment, in answer to a fresh question.
    ///
    /// Rule: FRESH-1.
    #[must_use]
    pub fn hold_now(&self, nonce: Nonce) -> Option<Statement> {
        let Phase::Committed(proof) = &self.record.phase else {
            return None;
        };
        let promise = Promise { commitment: proof.echo.commitment, expiry: proof.echo.expiry };
        if self.record.fragment != Some(promise.commitment) {
            return None;
        }
        Some(Statement { nonce, ..self.vote(StatementKind::HoldNow, promise) })
    }

    /// Takes one input at a cluster time.
    pub fn step(&mut self, cluster_time: Timestamp, input: Input) -> Step {
        let before = self.record.clone();
        let mut step = match input {
            Input::Open(open) => self.on_open(cluster_time, &open),
            Input::Stored(seal) => self.on_stored(cluster_time, &seal),
            Input::Seal(seal) => self.on_seal(&seal),
            Input::Vote(vote) => self.on_vote(&vote),
            Input::Ready(vote, cert) => self.on_ready(&vote, &cert),
            Input::Commit(commit) => self.on_commit(&commit),
            Input::AbortCert(cert) => self.on_abort_cert(&cert),
            Input::Order(order) => self.on_order(&order),
            Input::FragmentLost => self.on_fragment_lost(),
            Input::Tick => self.on_tick(cluster_time),
        };
        if self.record != before {
            step.persist = Some(self.record.clone());
        }
        self.check_invariants(&before);
        step
    }

    fn on_open(&mut self, cluster_time: Timestamp, open: &VerifiedOpen) -> Step {
        if let Some(refusal) = self.refuse_if_ended() {
            return Step::refuse(refusal);
        }
        let expiry = open.open().expiry;
        if cluster_time == Timestamp::ZERO {
            return Step::refuse(Refusal::NoClusterTime);
        }
        if expiry <= cluster_time {
            return Step::refuse(Refusal::Expired);
        }
        // Clients' clocks may run ahead of cluster time, which trails the slowest f + 1 nodes.
        if expiry > cluster_time.plus(limits::OPEN_LIFETIME_MAX * 2) {
            return Step::refuse(Refusal::TooFarAhead);
        }
        // Before a promise the owner may announce anew; after it the votes name the first OPEN.
        if self.record.phase == Phase::Idle {
            self.record.open = Some(open.signed().clone());
        }
        Step::default()
    }

    fn refuse_if_ended(&self) -> Option<Refusal> {
        match &self.record.phase {
            Phase::Idle | Phase::Echoed(_) | Phase::Ready { .. } | Phase::Committed(_) => None,
            Phase::Aborted { .. } => Some(Refusal::Aborted),
            Phase::Deleted(_) => Some(Refusal::Deleted),
        }
    }

    /// Whether a fragment of this description may take the place on disk.
    ///
    /// Asked before a finished fragment replaces anything; [`Input::Stored`] decides again.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if the upload ended or stands for other content.
    pub fn accepts(&self, cluster_time: Timestamp, seal: &VerifiedSeal) -> Result<(), Refusal> {
        let promise = Promise { commitment: seal.commitment(), expiry: seal.expiry() };
        let expires_at = seal.manifest().expires_at;
        if expires_at != Timestamp::ZERO && expires_at <= cluster_time {
            return Err(Refusal::Expired);
        }
        if expires_at > cluster_time.plus(limits::OBJECT_LIFETIME_MAX) {
            return Err(Refusal::TooFarAhead);
        }
        match &self.record.phase {
            Phase::Idle if promise.expiry <= cluster_time => Err(Refusal::Expired),
            Phase::Idle => Ok(()),
            Phase::Echoed(known) | Phase::Ready { promise: known, .. } if *known == promise => {
                Ok(())
            }
            Phase::Committed(proof) if proof.echo.commitment == promise.commitment => Ok(()),
            Phase::Echoed(_) | Phase::Ready { .. } | Phase::Committed(_) => {
                Err(Refusal::OtherContent)
            }
            Phase::Aborted { .. } => Err(Refusal::Aborted),
            Phase::Deleted(_) => Err(Refusal::Deleted),
        }
    }

    fn on_stored(&mut self, cluster_time: Timestamp, seal: &VerifiedSeal) -> Step {
        if let Err(refusal) = self.accepts(cluster_time, seal) {
            return self.reject_fragment(refusal);
        }
        let promise = Promise { commitment: seal.commitment(), expiry: seal.expiry() };
        match self.record.phase.clone() {
            Phase::Idle => {
                self.keep(seal);
                self.record.phase = Phase::Echoed(promise);
                Step { sign: vec![self.vote(StatementKind::Echo, promise)], ..Step::default() }
            }
            Phase::Ready { .. } => {
                self.keep(seal);
                let step = Step { sign: self.promised(), ..Step::default() };
                self.deliver_if_ready(step)
            }
            Phase::Echoed(_) | Phase::Committed(_) => {
                self.record.fragment = Some(promise.commitment);
                Step { sign: self.promised(), ..Step::default() }
            }
            Phase::Aborted { .. } | Phase::Deleted(_) => Step::default(),
        }
    }

    /// Refuses a fragment that was already written; the one kept before, if any, is untouched.
    fn reject_fragment(&self, refusal: Refusal) -> Step {
        let mut step = Step::refuse(refusal);
        if self.record.fragment.is_none() {
            step.outputs.push(Output::DropFragment);
        }
        step
    }

    fn keep(&mut self, seal: &VerifiedSeal) {
        self.record.open = Some(seal.open().signed().clone());
        self.record.seal = Some(seal.bundle().clone());
        self.record.fragment = Some(seal.commitment());
    }

    fn on_seal(&mut self, seal: &VerifiedSeal) -> Step {
        let awaited = match &self.record.phase {
            Phase::Ready { promise, echo_cert, .. } => Some((*promise, echo_cert.clone())),
            // A node that aborted delivers too, and has the echo certificate from a peer's READY.
            Phase::Aborted { .. } => self.unsealed.clone(),
            Phase::Idle | Phase::Echoed(_) | Phase::Committed(_) | Phase::Deleted(_) => None,
        };
        let Some((promise, echo)) = awaited else {
            return Step::default();
        };
        if promise.commitment != seal.commitment() || promise.expiry != seal.expiry() {
            return Step::default();
        }
        self.record.open = Some(seal.open().signed().clone());
        self.record.seal = Some(seal.bundle().clone());
        self.deliver_with(promise, &echo, Step::default())
    }

    fn on_vote(&mut self, vote: &VerifiedVote) -> Step {
        if vote.statement().upload != self.upload || self.record.phase.is_settled() {
            return Step::default();
        }
        match vote.statement().kind {
            StatementKind::Echo => {
                let promise = promise_of(vote.statement());
                let mut step = self.counted(vote, |machine| machine.ready_if_echoed(promise));
                if canary::sings(Canary::EchoWithoutFragment) && self.record.phase == Phase::Idle {
                    self.record.phase = Phase::Echoed(promise);
                    step.sign.push(self.vote(StatementKind::Echo, promise));
                }
                step
            }
            StatementKind::Abort => self.counted(vote, Self::end_if_aborted),
            StatementKind::Ready if vote.statement().slot == self.slot => {
                self.counted(vote, |machine| machine.deliver_if_ready(Step::default()))
            }
            StatementKind::Ready => {
                let fault = Fault { node: vote.signer(), kind: FaultKind::ReadyWithoutEchoes };
                Step { faults: vec![fault], ..Step::default() }
            }
            // Answers to clients, never counted here; owners' statements are no votes.
            StatementKind::Hold
            | StatementKind::Delivered
            | StatementKind::Deleted
            | StatementKind::HoldNow
            | StatementKind::Seal
            | StatementKind::Cancel
            | StatementKind::Delete => Step::default(),
        }
    }

    fn counted(&mut self, vote: &VerifiedVote, then: impl FnOnce(&mut Self) -> Step) -> Step {
        match self.tally.count(vote) {
            Some(fault) => Step { faults: vec![fault], ..Step::default() },
            None => then(self),
        }
    }

    fn ready_if_echoed(&mut self, promise: Promise) -> Step {
        let echoes = self.tally.equal(StatementKind::Echo, promise);
        let quorum = self.config.params.echo_quorum();
        let cert = QuorumCert::of_votes(
            self.config.epoch,
            &self.vote(StatementKind::Echo, promise),
            echoes.take(quorum),
        );
        if cert.entries.len() < quorum {
            return Step::default();
        }
        self.become_ready(promise, cert)
    }

    fn become_ready(&mut self, promise: Promise, echo_cert: QuorumCert) -> Step {
        let echoed = match &self.record.phase {
            Phase::Idle => None,
            Phase::Echoed(echoed) => Some(*echoed),
            Phase::Ready { .. }
            | Phase::Aborted { .. }
            | Phase::Committed(_)
            | Phase::Deleted(_) => {
                return Step::default();
            }
        };
        self.record.phase = Phase::Ready { echoed, promise, echo_cert };
        Step { sign: vec![self.vote(StatementKind::Ready, promise)], ..Step::default() }
    }

    fn on_ready(&mut self, vote: &VerifiedVote, cert: &VerifiedCert) -> Step {
        if vote.statement().upload != self.upload || self.record.phase.is_settled() {
            return Step::default();
        }
        let promise = promise_of(vote.statement());
        let echo = cert.cert();
        let matches = echo.kind == StatementKind::Echo
            && (echo.upload, echo.commitment, echo.expiry)
                == (self.upload, promise.commitment, promise.expiry);
        if !matches || vote.statement().kind != StatementKind::Ready {
            let fault = Fault { node: vote.signer(), kind: FaultKind::ReadyWithoutEchoes };
            return Step { faults: vec![fault], ..Step::default() };
        }
        self.counted(vote, |machine| {
            let step = match canary::sings(Canary::NoAmplification) {
                true => Step::default(),
                false => machine.become_ready(promise, echo.clone()),
            };
            machine.deliver_with(promise, echo, step)
        })
    }

    /// Delivers what this node is ready for, if D nodes are.
    fn deliver_if_ready(&mut self, step: Step) -> Step {
        let Phase::Ready { promise, echo_cert, .. } = self.record.phase.clone() else {
            return step;
        };
        self.deliver_with(promise, &echo_cert, step)
    }

    /// Rule: COMMIT-1. Also reached by a node that aborted: D READYs outrank its promise.
    fn deliver_with(&mut self, promise: Promise, echo: &QuorumCert, mut step: Step) -> Step {
        let quorum = self.config.params.deliver_quorum();
        let readies = self.tally.equal(StatementKind::Ready, promise);
        let statement = self.vote(StatementKind::Ready, promise);
        let ready = QuorumCert::of_votes(self.config.epoch, &statement, readies.take(quorum));
        if ready.entries.len() < quorum {
            return step;
        }
        let known = self.known_seal(promise);
        let Some(seal) = known else {
            self.unsealed = Some((promise, echo.clone()));
            step.outputs.push(Output::NeedSeal(promise.commitment));
            return step;
        };
        let proof = CommitProof { seal, echo: echo.clone(), ready };
        self.commit(proof, step)
    }

    fn known_seal(&self, promise: Promise) -> Option<SealBundle> {
        let seal = self.record.seal.as_ref()?;
        let same = seal.manifest.commitment() == promise.commitment
            && seal.open.open.expiry == promise.expiry;
        same.then(|| seal.clone())
    }

    fn commit(&mut self, proof: CommitProof, mut step: Step) -> Step {
        let commitment = proof.echo.commitment;
        if self.record.fragment.is_some_and(|held| held != commitment) {
            self.record.fragment = None;
            step.outputs.push(Output::DropFragment);
        }
        step.sign.retain(|statement| statement.kind == StatementKind::Ready);
        step.outputs.push(Output::Committed(commitment));
        self.record.open = None;
        self.record.seal = None;
        self.record.phase = Phase::Committed(Box::new(proof));
        self.unsealed = None;
        self.tally.clear();
        step.sign.extend(self.promised());
        step
    }

    fn on_commit(&mut self, commit: &VerifiedCommit) -> Step {
        if commit.upload() != self.upload {
            return Step::default();
        }
        match &self.record.phase {
            Phase::Deleted(_) => Step::refuse(Refusal::Deleted),
            Phase::Committed(known) if known.echo.commitment == commit.commitment() => {
                Step { sign: self.promised(), ..Step::default() }
            }
            Phase::Committed(_) => {
                Step { outputs: vec![Output::FaultBoundExceeded], ..Step::default() }
            }
            Phase::Idle | Phase::Echoed(_) | Phase::Ready { .. } | Phase::Aborted { .. } => {
                let proof = commit.proof().clone();
                self.commit(proof, Step::default())
            }
        }
    }

    /// Rule: ABORT-2, ABORT-3: n - f ABORTs end the upload; f + 1 of them contain an honest one,
    /// whose reason is reason enough.
    fn end_if_aborted(&mut self) -> Step {
        let quorum = self.config.params.answer_quorum();
        let statement = Statement::about_upload(StatementKind::Abort, self.upload, self.slot);
        let aborts = self.tally.of_kind(StatementKind::Abort);
        let cert = QuorumCert::of_votes(self.config.epoch, &statement, aborts.take(quorum));
        if cert.entries.len() >= quorum {
            return self.end_aborted(cert);
        }
        if cert.entries.len() < self.config.params.honest_witness() {
            return Step::default();
        }
        match &self.record.phase {
            Phase::Idle => self.abort(None),
            Phase::Echoed(echoed) => {
                let echoed = *echoed;
                self.abort(Some(echoed))
            }
            Phase::Ready { .. }
            | Phase::Aborted { .. }
            | Phase::Committed(_)
            | Phase::Deleted(_) => Step::default(),
        }
    }

    fn on_abort_cert(&mut self, cert: &VerifiedCert) -> Step {
        let cert = cert.cert();
        if cert.upload != self.upload || cert.kind != StatementKind::Abort {
            return Step::default();
        }
        self.end_aborted(cert.clone())
    }

    /// Rule: ABORT-2. The record stays; the fragment may go.
    fn end_aborted(&mut self, cert: QuorumCert) -> Step {
        let echoed = match &self.record.phase {
            Phase::Idle => None,
            Phase::Echoed(echoed) => Some(*echoed),
            Phase::Aborted { echoed, cert: None } => *echoed,
            // One certificate is enough: a second one is no news for anybody.
            Phase::Aborted { cert: Some(_), .. } => return Step::default(),
            // With at most f liars this node's READY and the certificate may coexist, and the
            // READY can never become part of a commit; it stays on record.
            Phase::Ready { .. } | Phase::Committed(_) | Phase::Deleted(_) => {
                return Step::default();
            }
        };
        self.record.phase = Phase::Aborted { echoed, cert: Some(cert) };
        self.record.seal = None;
        let mut step = Step { outputs: vec![Output::Aborted], ..Step::default() };
        if self.record.fragment.take().is_some() {
            step.outputs.push(Output::DropFragment);
        }
        step
    }

    fn on_order(&mut self, order: &VerifiedOrder) -> Step {
        if order.upload() != self.upload {
            return Step::default();
        }
        match order.kind() {
            OrderKind::Cancel => self.on_cancel(),
            OrderKind::Delete => self.on_delete(order),
        }
    }

    fn on_cancel(&mut self) -> Step {
        match &self.record.phase {
            Phase::Idle => self.abort(None),
            Phase::Echoed(echoed) => {
                let echoed = *echoed;
                self.abort(Some(echoed))
            }
            Phase::Aborted { .. } => Step { sign: self.promised(), ..Step::default() },
            Phase::Ready { .. } | Phase::Committed(_) => Step::refuse(Refusal::AlreadyReady),
            Phase::Deleted(_) => Step::refuse(Refusal::Deleted),
        }
    }

    /// Rule: ABORT-1.
    fn abort(&mut self, echoed: Option<Promise>) -> Step {
        self.record.phase = Phase::Aborted { echoed, cert: None };
        let statement = Statement::about_upload(StatementKind::Abort, self.upload, self.slot);
        Step { sign: vec![statement], ..Step::default() }
    }

    /// Rule: DELETE-1.
    fn on_delete(&mut self, order: &VerifiedOrder) -> Step {
        if matches!(self.record.phase, Phase::Deleted(_)) {
            // Again, since a crash may have come between tombstone and removal.
            let outputs = vec![Output::DropFragment];
            return Step { sign: self.promised(), outputs, ..Step::default() };
        }
        self.record = UploadRecord {
            phase: Phase::Deleted(order.order().clone()),
            ..UploadRecord::default()
        };
        self.unsealed = None;
        self.tally.clear();
        Step {
            sign: self.promised(),
            outputs: vec![Output::Deleted, Output::DropFragment],
            ..Step::default()
        }
    }

    fn on_fragment_lost(&mut self) -> Step {
        self.record.fragment = None;
        Step::default()
    }

    fn on_tick(&mut self, cluster_time: Timestamp) -> Step {
        let echoed = match &self.record.phase {
            Phase::Idle => None,
            Phase::Echoed(echoed) => Some(*echoed),
            Phase::Ready { .. }
            | Phase::Aborted { .. }
            | Phase::Committed(_)
            | Phase::Deleted(_) => return Step::default(),
        };
        let announced = self.record.open.as_ref().map(|signed| signed.open.expiry);
        let Some(expiry) = echoed.map(|promise| promise.expiry).or(announced) else {
            return Step::default();
        };
        if cluster_time <= expiry {
            return Step::default();
        }
        self.abort(echoed)
    }

    fn vote(&self, kind: StatementKind, promise: Promise) -> Statement {
        Statement {
            commitment: promise.commitment,
            expiry: promise.expiry,
            ..Statement::about_upload(kind, self.upload, self.slot)
        }
    }

    /// Facts that this machine establishes by itself; a breach is our bug.
    fn check_invariants(&self, before: &UploadRecord) {
        let echoed = |phase: &Phase| match phase {
            Phase::Echoed(promise) => Some(*promise),
            Phase::Ready { echoed, .. } | Phase::Aborted { echoed, .. } => *echoed,
            Phase::Idle | Phase::Committed(_) | Phase::Deleted(_) => None,
        };
        if let (Some(old), Some(new)) = (echoed(&before.phase), echoed(&self.record.phase)) {
            assert_eq!(old, new, "an echo was replaced");
        }
        let was_ready = matches!(before.phase, Phase::Ready { .. });
        let is_aborted = matches!(self.record.phase, Phase::Aborted { .. });
        assert!(!(was_ready && is_aborted), "aborted after ready");
        let was_aborted = matches!(before.phase, Phase::Aborted { .. });
        let is_ready = matches!(self.record.phase, Phase::Ready { .. });
        assert!(!(was_aborted && is_ready), "ready after abort");
        let was_deleted = matches!(before.phase, Phase::Deleted(_));
        let is_deleted = matches!(self.record.phase, Phase::Deleted(_));
        assert!(!was_deleted || is_deleted, "a tombstone was removed");
    }
}

fn promise_of(statement: &Statement) -> Promise {
    Promise { commitment: statement.commitment, expiry: statement.expiry }
}

#[cfg(test)]
mod tests;
