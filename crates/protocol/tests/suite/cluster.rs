//! n machines, a bag of messages, and what a test may do with them.
//!
//! Nodes are numbered 1 to n, as in section 6 of the specification; node k holds slot k - 1. A
//! liar has no machine: the test speaks for it. Messages lie in the bag until the test delivers,
//! drops or delays them, so that a scenario is a list of sentences.

use std::collections::{BTreeMap, BTreeSet};

use avid_protocol::certificate::{CommitProof, QuorumCert};
use avid_protocol::fault::{Fault, conflict};
use avid_protocol::object::{OwnerOrder, SealBundle};
use avid_protocol::record::{Phase, UploadRecord};
use avid_protocol::server::{Input, Output, Refusal, ServerUpload, Step};
use avid_protocol::statement::{Statement, StatementKind};
use avid_protocol::verify::{VerifiedVote, Verifier, VerifyError};
use avid_protocol::vote::{SignedVote, sign_statements};
use avid_types::{Commitment, Slot, Timestamp, UploadId};

use crate::world::{NOW, World, promise};

/// What one node says to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Letter {
    Vote(SignedVote),
    Ready(SignedVote, QuorumCert),
    Commit(Box<CommitProof>),
    AbortCert(QuorumCert),
    Order(OwnerOrder),
    Seal(Box<SealBundle>),
    /// Please send the description of this content.
    Ask(Commitment),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) letter: Letter,
}

#[derive(Debug, Clone)]
struct Node {
    machine: ServerUpload,
    /// What a restart finds.
    durable: UploadRecord,
}

/// What must never happen, and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Violation {
    /// I1.
    TwoContents(Commitment, Commitment),
    /// I2.
    TooFewHolders { commitment: Commitment, holders: usize },
    /// ABORT-2.
    CommittedAndAborted(Commitment),
    /// I4.
    NodeContradictsItself(Box<(Statement, Statement)>),
}

#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) world: World,
    pub(crate) upload: UploadId,
    pub(crate) now: Timestamp,
    pub(crate) bag: Vec<Envelope>,
    nodes: BTreeMap<usize, Node>,
    verifier: Verifier,
    /// Every statement of honest nodes that left them.
    said: BTreeSet<Statement>,
    /// Signed answers to the client.
    pub(crate) answers: Vec<VerifiedVote>,
    pub(crate) faults: Vec<(usize, Fault)>,
    pub(crate) refusals: Vec<(usize, Refusal)>,
    pub(crate) rejected: Vec<(usize, VerifyError)>,
    pub(crate) alarms: usize,
    /// Ever delivered at an honest node.
    delivered: BTreeSet<Commitment>,
    abort_certs: usize,
    deleted: bool,
}

impl Cluster {
    /// m-of-n, everybody honest but `liars`, about generation 0 of "photo".
    pub(crate) fn new(m: u8, n: u8, liars: &[usize]) -> Self {
        let world = World::new(m, n);
        let upload = world.object("photo", 0).upload(&world.config);
        let mut cluster = Self {
            verifier: world.verifier(),
            world,
            upload,
            now: NOW,
            bag: Vec::new(),
            nodes: BTreeMap::new(),
            said: BTreeSet::new(),
            answers: Vec::new(),
            faults: Vec::new(),
            refusals: Vec::new(),
            rejected: Vec::new(),
            alarms: 0,
            delivered: BTreeSet::new(),
            abort_certs: 0,
            deleted: false,
        };
        for node in (1..=usize::from(n)).filter(|node| !liars.contains(node)) {
            let machine = cluster.machine(node, UploadRecord::default());
            cluster.nodes.insert(node, Node { machine, durable: UploadRecord::default() });
        }
        cluster
    }

    fn machine(&self, node: usize, record: UploadRecord) -> ServerUpload {
        let config = &self.world.config;
        let id = config.node_at(self.upload, slot(node)).unwrap();
        ServerUpload::new(config.clone(), id, self.upload, record).unwrap()
    }

    pub(crate) fn everyone(&self) -> std::ops::RangeInclusive<usize> {
        1..=self.world.params().n()
    }

    pub(crate) fn honest(&self) -> Vec<usize> {
        self.nodes.keys().copied().collect()
    }

    pub(crate) fn liars(&self) -> Vec<usize> {
        self.everyone().filter(|node| !self.nodes.contains_key(node)).collect()
    }

    // What happens.

    /// The owner's fragments of `content` reach these nodes and are verified there.
    pub(crate) fn store(&mut self, content: &SealBundle, at: impl IntoIterator<Item = usize>) {
        let seal = self.world.seal(content);
        for node in at {
            self.step(node, Input::Stored(seal.clone()));
        }
    }

    /// The owner's announcement reaches these nodes.
    pub(crate) fn open(&mut self, content: &SealBundle, at: impl IntoIterator<Item = usize>) {
        let open = content.open.clone().verify(&self.world.config).unwrap();
        for node in at {
            self.step(node, Input::Open(open.clone()));
        }
    }

    /// The owner's CANCEL or DELETE reaches these nodes.
    pub(crate) fn order(&mut self, order: &OwnerOrder, at: impl IntoIterator<Item = usize>) {
        for node in at {
            self.send(0, node, Letter::Order(order.clone()));
            let last = self.bag.len() - 1;
            self.deliver(last);
        }
    }

    /// Cluster time passes at these nodes.
    pub(crate) fn tick(&mut self, now: Timestamp, at: impl IntoIterator<Item = usize>) {
        self.now = now;
        for node in at {
            self.step(node, Input::Tick);
        }
    }

    /// The node loses everything but its journal and says again what it promised.
    pub(crate) fn restart(&mut self, node: usize) {
        let Some(durable) = self.nodes.get(&node).map(|node| node.durable.clone()) else {
            return;
        };
        let bytes = durable.to_bytes();
        let machine = self.machine(node, UploadRecord::from_bytes(&bytes).unwrap());
        let promised = machine.promised();
        self.nodes.insert(node, Node { machine, durable });
        self.say(node, &promised);
    }

    /// The node loses its journal as well: what AMNESIA-1 is there to prevent.
    pub(crate) fn forget(&mut self, node: usize) {
        let machine = self.machine(node, UploadRecord::default());
        self.nodes.insert(node, Node { machine, durable: UploadRecord::default() });
    }

    /// Everybody says again what it promised: links re-send until acknowledged (LINK-1).
    pub(crate) fn say_again(&mut self) {
        for node in self.honest() {
            let promised = self.nodes[&node].machine.promised();
            self.say(node, &promised);
            self.spread(node);
        }
    }

    pub(crate) fn lose_fragment(&mut self, node: usize) {
        self.step(node, Input::FragmentLost);
    }

    // What liars say.

    pub(crate) fn forge(&self, node: usize, kind: StatementKind, content: &SealBundle) -> Letter {
        Letter::Vote(self.world.vote(kind, content, slot(node).0))
    }

    /// A READY of a liar with an echo certificate of these nodes, liars' echoes included.
    ///
    /// `None` unless every honest node among them has echoed: signatures cannot be invented.
    pub(crate) fn forge_ready(
        &self,
        node: usize,
        content: &SealBundle,
        echoes: &[usize],
    ) -> Option<Letter> {
        let real = echoes.iter().all(|echo| {
            let statement = self.world.statement(StatementKind::Echo, content, slot(*echo).0);
            !self.nodes.contains_key(echo) || self.said.contains(&statement)
        });
        let slots: Vec<u8> = echoes.iter().map(|echo| slot(*echo).0).collect();
        let cert = self.world.cert(StatementKind::Echo, content, &slots);
        let vote = self.world.vote(StatementKind::Ready, content, slot(node).0);
        real.then_some(Letter::Ready(vote, cert))
    }

    /// Everybody who could be named in an echo certificate for this content now.
    pub(crate) fn echoers(&self, content: &SealBundle) -> Vec<usize> {
        self.could_say(StatementKind::Echo, content)
    }

    fn could_say(&self, kind: StatementKind, content: &SealBundle) -> Vec<usize> {
        let said = |node: &usize| {
            !self.nodes.contains_key(node)
                || self.said.contains(&self.world.statement(kind, content, slot(*node).0))
        };
        self.everyone().filter(said).collect()
    }

    pub(crate) fn send(&mut self, from: usize, to: usize, letter: Letter) {
        self.bag.push(Envelope { from, to, letter });
    }

    pub(crate) fn send_to(
        &mut self,
        from: usize,
        to: impl IntoIterator<Item = usize>,
        letter: &Letter,
    ) {
        for to in to {
            self.send(from, to, letter.clone());
        }
    }

    // What the network does.

    /// Delivers everything, and what that leads to, in order.
    pub(crate) fn deliver_everything(&mut self) {
        self.deliver_where(|_| true);
    }

    /// Delivers what matches, and what that leads to; the rest stays in the bag.
    pub(crate) fn deliver_where(&mut self, matches: impl Fn(&Envelope) -> bool) {
        while let Some(next) = self.bag.iter().position(&matches) {
            self.deliver(next);
        }
    }

    /// Delivers inside each part only; the rest stays in the bag.
    pub(crate) fn deliver_within(&mut self, parts: &[&[usize]]) {
        let together = |a, b| parts.iter().any(|part| part.contains(&a) && part.contains(&b));
        self.deliver_where(|envelope| together(envelope.from, envelope.to));
    }

    /// Loses what matches.
    pub(crate) fn lose_where(&mut self, matches: impl Fn(&Envelope) -> bool) {
        self.bag.retain(|envelope| !matches(envelope));
    }

    /// Delivers one message: checks it as a node would, then steps.
    pub(crate) fn deliver(&mut self, position: usize) {
        let Envelope { from, to, letter } = self.bag.remove(position);
        if !self.nodes.contains_key(&to) {
            return;
        }
        match self.verify(letter) {
            Ok(Some(input)) => self.step(to, input),
            Ok(None) => {}
            Err(Answer::Bad(error)) => self.rejected.push((from, error)),
            Err(Answer::Asked(commitment)) => self.answer(to, from, commitment),
        }
    }

    fn verify(&mut self, letter: Letter) -> Result<Option<Input>, Answer> {
        Ok(Some(match letter {
            Letter::Vote(vote) => Input::Vote(self.verifier.vote(vote)?),
            Letter::Ready(vote, cert) => {
                Input::Ready(self.verifier.vote(vote)?, self.verifier.echo_cert(cert)?)
            }
            Letter::Commit(proof) => Input::Commit(Box::new(self.verifier.commit(*proof)?)),
            Letter::AbortCert(cert) => Input::AbortCert(self.verifier.abort_cert(cert)?),
            Letter::Order(order) => match order.verify(&self.world.config) {
                Ok(order) => Input::Order(order),
                Err(_) => return Ok(None),
            },
            Letter::Seal(bundle) => match bundle.verify(&self.world.config) {
                Ok(seal) => Input::Seal(seal),
                Err(_) => return Ok(None),
            },
            Letter::Ask(commitment) => return Err(Answer::Asked(commitment)),
        }))
    }

    fn answer(&mut self, node: usize, asker: usize, commitment: Commitment) {
        let record = self.nodes[&node].machine.record();
        let known = record.seal.clone().filter(|s| s.manifest.commitment() == commitment);
        if let Phase::Committed(proof) = &record.phase {
            let letter = Letter::Commit(proof.clone());
            self.send(node, asker, letter);
        } else if let Some(bundle) = known {
            self.send(node, asker, Letter::Seal(Box::new(bundle)));
        }
    }

    /// One input at one node; what it may say is said at once, what it must keep is kept first.
    pub(crate) fn step(&mut self, node: usize, input: Input) {
        let now = self.now;
        let Some(state) = self.nodes.get_mut(&node) else {
            return;
        };
        let Step { persist, sign, outputs, faults } = state.machine.step(now, input);
        if let Some(record) = persist {
            state.durable = record;
        }
        assert_eq!(&state.durable, state.machine.record(), "a change was not persisted");
        self.faults.extend(faults.into_iter().map(|fault| (node, fault)));
        for output in outputs {
            self.on_output(node, &output);
        }
        self.say(node, &sign);
    }

    fn on_output(&mut self, node: usize, output: &Output) {
        match *output {
            Output::Refused(refusal) => self.refusals.push((node, refusal)),
            Output::NeedSeal(commitment) => {
                let peers: Vec<usize> = self.everyone().filter(|peer| *peer != node).collect();
                self.send_to(node, peers, &Letter::Ask(commitment));
            }
            Output::Committed(commitment) => {
                self.delivered.insert(commitment);
                self.spread(node);
            }
            Output::Aborted => {
                self.abort_certs += 1;
                self.spread(node);
            }
            Output::Deleted => {
                self.deleted = true;
                self.spread(node);
            }
            Output::DropFragment => {
                let record = self.nodes[&node].machine.record();
                assert_eq!(record.fragment, None, "a kept fragment was dropped");
            }
            Output::FaultBoundExceeded => self.alarms += 1,
        }
    }

    /// Sends the certificate that replaces this node's votes, if there is one (COMMIT-1).
    fn spread(&mut self, node: usize) {
        let letter = match &self.nodes[&node].machine.record().phase {
            Phase::Committed(proof) => Letter::Commit(proof.clone()),
            Phase::Deleted(order) => Letter::Order(order.clone()),
            Phase::Aborted { cert: Some(cert), .. } => Letter::AbortCert(cert.clone()),
            Phase::Aborted { cert: None, .. }
            | Phase::Idle
            | Phase::Echoed(_)
            | Phase::Ready { .. } => return,
        };
        let peers: Vec<usize> = self.everyone().filter(|peer| *peer != node).collect();
        self.send_to(node, peers, &letter);
    }

    /// Signs, tells everybody, and takes its own votes back as inputs.
    fn say(&mut self, node: usize, statements: &[Statement]) {
        let key = self.world.key_at(self.upload, slot(node));
        let votes = sign_statements(&self.world.config, key, statements);
        for vote in votes {
            let statement = vote.statement;
            assert_eq!(statement.slot, slot(node), "a node speaks for itself");
            self.said.insert(statement);
            let verified = self.verifier.vote(vote.clone()).expect("own votes verify");
            let letter = match statement.kind {
                StatementKind::Echo | StatementKind::Abort => Letter::Vote(vote),
                StatementKind::Ready => Letter::Ready(vote, self.echo_cert_of(node)),
                StatementKind::Hold
                | StatementKind::Delivered
                | StatementKind::Deleted
                | StatementKind::HoldNow => {
                    self.answers.push(verified);
                    continue;
                }
                StatementKind::Seal | StatementKind::Cancel | StatementKind::Delete => {
                    panic!("a node signed as an owner")
                }
            };
            let peers: Vec<usize> = self.everyone().filter(|peer| *peer != node).collect();
            self.send_to(node, peers, &letter);
            self.step(node, Input::Vote(verified));
        }
    }

    fn echo_cert_of(&self, node: usize) -> QuorumCert {
        match &self.nodes[&node].machine.record().phase {
            Phase::Ready { echo_cert, .. } => echo_cert.clone(),
            Phase::Committed(proof) => proof.echo.clone(),
            Phase::Idle | Phase::Echoed(_) | Phase::Aborted { .. } | Phase::Deleted(_) => {
                panic!("READY without an echo certificate")
            }
        }
    }

    // What is true.

    pub(crate) fn record(&self, node: usize) -> &UploadRecord {
        self.nodes[&node].machine.record()
    }

    pub(crate) fn phase(&self, node: usize) -> &'static str {
        self.record(node).phase.name()
    }

    pub(crate) fn phases(&self) -> Vec<&'static str> {
        self.honest().into_iter().map(|node| self.phase(node)).collect()
    }

    pub(crate) fn committed_to(&self, content: &SealBundle) -> Vec<usize> {
        let commitment = promise(content).commitment;
        let is = |node: &usize| {
            matches!(&self.record(*node).phase,
                Phase::Committed(proof) if proof.echo.commitment == commitment)
        };
        self.honest().into_iter().filter(is).collect()
    }

    pub(crate) fn holders(&self, commitment: Commitment) -> usize {
        self.nodes.values().filter(|n| n.machine.record().fragment == Some(commitment)).count()
    }

    pub(crate) fn has_said(&self, node: usize, kind: StatementKind, content: &SealBundle) -> bool {
        self.said.contains(&self.world.statement(kind, content, slot(node).0))
    }

    /// Whether READYs and ECHOs for a commit proof exist, if every liar signs whatever helps.
    pub(crate) fn could_commit(&self, content: &SealBundle) -> bool {
        let params = self.world.params();
        self.could_say(StatementKind::Ready, content).len() >= params.deliver_quorum()
            && self.could_say(StatementKind::Echo, content).len() >= params.echo_quorum()
    }

    /// Whether an abort certificate exists, if every liar signs.
    pub(crate) fn could_abort(&self, content: &SealBundle) -> bool {
        let aborts = self.could_say(StatementKind::Abort, content).len();
        aborts >= self.world.params().answer_quorum()
    }

    /// Every breach of the invariants, taking liars to have signed whatever hurts most.
    pub(crate) fn violations(&self, contents: &[&SealBundle]) -> Vec<Violation> {
        let mut found = Vec::new();
        let mut delivered = self.delivered.iter();
        if let (Some(a), Some(b)) = (delivered.next(), delivered.next()) {
            found.push(Violation::TwoContents(*a, *b));
        }
        for commitment in &self.delivered {
            let holders = self.holders(*commitment);
            if !self.deleted && holders < self.world.params().m() {
                found.push(Violation::TooFewHolders { commitment: *commitment, holders });
            }
        }
        for content in contents {
            if self.could_commit(content) && self.could_abort(content) {
                found.push(Violation::CommittedAndAborted(promise(content).commitment));
            }
        }
        found.extend(self.contradictions());
        found
    }

    fn contradictions(&self) -> impl Iterator<Item = Violation> + '_ {
        let pairs = self.said.iter().flat_map(|a| self.said.iter().map(move |b| (a, b)));
        pairs
            .filter(|(a, b)| a < b && conflict(a, b))
            .map(|(a, b)| Violation::NodeContradictsItself(Box::new((*a, *b))))
    }

    #[track_caller]
    pub(crate) fn assert_sound(&self, contents: &[&SealBundle]) {
        assert_eq!(self.violations(contents), []);
    }
}

enum Answer {
    Bad(VerifyError),
    Asked(Commitment),
}

impl From<VerifyError> for Answer {
    fn from(error: VerifyError) -> Self {
        Self::Bad(error)
    }
}

/// The slot of a node's number in a scenario.
pub(crate) fn slot(node: usize) -> Slot {
    Slot(u8::try_from(node - 1).unwrap())
}
