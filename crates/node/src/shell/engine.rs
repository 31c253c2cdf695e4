//! The thread that owns the core: gathers, steps, syncs once, signs once, then answers.
//!
//! ```text
//! commands ─► step machines ─► journal append ─► sync ─► index ─► sign ─► own votes back in
//!                                                                  └──► answers, votes, links
//! ```
//! While one sync runs, commands gather; the next round takes them all. So many objects share a
//! sync and a signature, and nothing is told to anybody before it is durable.
//!
//! Spec: docs/protocol.md SIGN-2, LINK-1.
//! Invariant: an answer or vote leaves only after the records behind it are synced.
//! Bounds: `BATCH_MAX` commands per round; `WATCHERS_MAX` watchers of one upload.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, PoisonError};

use avid_protocol::certificate::QuorumCert;
use avid_protocol::clock::ClusterClock;
use avid_protocol::object::VerifiedSeal;
use avid_protocol::record::{Phase, UploadRecord};
use avid_protocol::statement::{Statement, StatementKind};
use avid_protocol::vote::{SignedVote, sign_statements};
use avid_protocol::wire::News;
use avid_store::{FragmentKey, IndexWrite, Store, Table};
use avid_types::{
    ClusterConfig, Decoder, NodeId, Nonce, PublicKey, SigningKey, Timestamp, UploadId,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::core::entry::{self, Entry, OPEN_PREFIX, sequence_key, sequence_of};
use crate::core::{Core, Denial, Effects, Event, Records};
use crate::error::NodeError;
use crate::fact::{Fact, Observe};
use crate::shell::peers::PeerBook;
use crate::shell::{NodeConfig, Shared, boot_of};

/// Commands per round: more would delay the first of them.
const BATCH_MAX: usize = 512;
/// Watchers of one upload: its writer, a retry of it, and fills.
const WATCHERS_MAX: usize = 16;
/// Rounds of own votes leading to further promises: echo, ready, delivered, and one to see none.
const OWN_ROUNDS_MAX: usize = 8;
/// Journal bytes after which the index is made durable: one segment is kept, older ones go.
const CHECKPOINT_BYTES: usize = 64 << 20;
/// Undecided uploads read back at start.
const REOPENED_MAX: usize = avid_types::limits::OPEN_UPLOADS_MAX;

/// A vote of this node, with what a READY must carry.
#[derive(Debug, Clone)]
pub(crate) struct OwnVote {
    pub(crate) vote: SignedVote,
    pub(crate) echo_cert: Option<QuorumCert>,
}

/// One page of changes for a peer.
#[derive(Debug, Default)]
pub(crate) struct NewsPage {
    pub(crate) news: Vec<(u64, UploadId, News)>,
    /// Everything below this position is in this or an earlier page.
    pub(crate) next: u64,
}

/// Counts for `status`.
#[derive(Debug, Clone)]
pub(crate) struct EngineStatus {
    pub(crate) may_vote: Result<(), String>,
    pub(crate) resident: usize,
    pub(crate) undecided: usize,
    pub(crate) faults: BTreeMap<NodeId, u64>,
}

type Answer = oneshot::Sender<Result<(), Denial>>;

/// What the rest of the node asks the engine.
#[derive(Debug)]
pub(crate) enum Command {
    /// Take an event; answered once its effects are durable.
    Event(Event, Option<Answer>),
    /// Send this node's votes of an upload, those there are and those to come.
    Watch(UploadId, mpsc::Sender<OwnVote>),
    /// Would a fragment of this description be kept? (`ServerUpload::accepts`)
    Accepts(Box<VerifiedSeal>, Answer),
    /// Changes from a position on.
    News(u64, usize, oneshot::Sender<NewsPage>),
    /// The signed claim to hold a fragment now.
    HoldNow(UploadId, Nonce, oneshot::Sender<Option<SignedVote>>),
    /// Counts.
    Status(oneshot::Sender<EngineStatus>),
    /// Finish what is queued and end.
    Stop,
}

struct IndexRecords<'a>(&'a Store);

impl Records for IndexRecords<'_> {
    fn load(&self, upload: UploadId) -> Result<Option<(u64, UploadRecord)>, String> {
        let bytes = self.0.index().get(Table::Uploads, upload.as_bytes());
        let Some(bytes) = bytes.map_err(|error| error.to_string())? else {
            return Ok(None);
        };
        entry::decode_upload(&bytes).map(Some).map_err(|error| error.to_string())
    }

    fn ended(&self, owner: &PublicKey) -> Result<u64, String> {
        let bytes = self.0.index().get(Table::Meta, &entry::ended_key(owner));
        let Some(bytes) = bytes.map_err(|error| error.to_string())? else {
            return Ok(0);
        };
        Decoder::new(&bytes).u64().map_err(|error| error.to_string())
    }
}

/// State of the engine thread.
#[derive(Debug)]
pub(crate) struct Engine {
    core: Core,
    store: Arc<Store>,
    cluster: Arc<ClusterConfig>,
    vote_key: SigningKey,
    watchers: BTreeMap<UploadId, Vec<mpsc::Sender<OwnVote>>>,
    faults: BTreeMap<NodeId, u64>,
    observer: Option<Arc<dyn Observe>>,
    published: watch::Sender<u64>,
    time: watch::Sender<Timestamp>,
    /// Whether this node votes; its votes of earlier boots count once it does.
    voting: bool,
    /// Journal bytes since the last checkpoint.
    unchecked_bytes: usize,
}

/// What one round leads to, in order.
#[derive(Debug, Default)]
struct Round {
    entries: Vec<Entry>,
    sign: Vec<Statement>,
    answers: Vec<(Answer, Result<(), Denial>)>,
    drop_fragments: Vec<UploadId>,
    settled: Vec<UploadId>,
}

type Started = (Engine, watch::Receiver<u64>, watch::Receiver<Timestamp>);

impl Engine {
    pub(crate) fn new(
        config: &NodeConfig,
        store: Arc<Store>,
        position: u64,
        peers: &PeerBook,
    ) -> Result<Started, NodeError> {
        let mut clock = ClusterClock::new(&config.cluster, peers.time);
        for heartbeat in peers.remembered() {
            clock.observe(*heartbeat);
        }
        let (published, published_rx) = watch::channel(position);
        let (time, time_rx) = watch::channel(clock.time());
        let core =
            Core::new(Arc::clone(&config.cluster), config.node, boot_of(&store), position, clock);
        let mut engine = Self {
            core,
            store,
            cluster: Arc::clone(&config.cluster),
            vote_key: config.vote_key.clone(),
            watchers: BTreeMap::new(),
            faults: BTreeMap::new(),
            observer: config.observer.clone(),
            published,
            time,
            voting: false,
            unchecked_bytes: 0,
        };
        engine.reopen().map_err(NodeError::Record)?;
        Ok((engine, published_rx, time_rx))
    }

    /// Brings undecided uploads back into memory, so that they are announced and can expire.
    fn reopen(&mut self) -> Result<(), String> {
        let end = [OPEN_PREFIX, &[0xff; 33]].concat();
        let (from, to) = (Bound::Included(OPEN_PREFIX), Bound::Excluded(end.as_slice()));
        let found = self.store.index().scan(Table::Meta, from, to, REOPENED_MAX);
        for (key, _) in found.map_err(|error| error.to_string())? {
            let Some(upload) = key.get(OPEN_PREFIX.len()..).and_then(|u| u.try_into().ok()) else {
                continue;
            };
            let store = Arc::clone(&self.store);
            self.core.view(&IndexRecords(&store), UploadId(upload))?;
        }
        Ok(())
    }

    pub(crate) async fn run(
        mut self,
        shared: &Shared,
        mut inbox: mpsc::Receiver<Command>,
    ) -> Result<(), NodeError> {
        let mut batch = Vec::new();
        let mut going_on = true;
        while going_on {
            if inbox.recv_many(&mut batch, BATCH_MAX).await == 0 {
                break;
            }
            going_on = self.round(shared, &mut batch)?;
        }
        self.store.checkpoint(u64::MAX)?;
        Ok(())
    }

    fn round(&mut self, shared: &Shared, batch: &mut Vec<Command>) -> Result<bool, NodeError> {
        self.core.make_room();
        let mut round = Round::default();
        let mut questions = Vec::new();
        let mut going_on = true;
        for command in batch.drain(..) {
            match command {
                Command::Event(event, answer) => self.take(event, answer, &mut round)?,
                Command::Stop => going_on = false,
                Command::Watch(..)
                | Command::Accepts(..)
                | Command::News(..)
                | Command::HoldNow(..)
                | Command::Status(_) => questions.push(command),
            }
        }
        self.recount(shared, &mut round)?;
        self.make_durable(shared, &mut round)?;
        self.checkpoint_if_due()?;
        for (answer, result) in round.answers {
            drop(answer.send(result));
        }
        self.time.send_if_modified(|time| std::mem::replace(time, self.core.time()) != *time);
        for question in questions {
            self.answer(question).map_err(NodeError::Record)?;
        }
        Ok(going_on)
    }

    /// Counts this node's own earlier votes once it may vote again.
    fn recount(&mut self, shared: &Shared, round: &mut Round) -> Result<(), NodeError> {
        if self.voting || self.core.may_vote().is_err() {
            return Ok(());
        }
        self.voting = true;
        for upload in self.core.undecided() {
            let (votes, _) = self.own_votes(upload).map_err(NodeError::Record)?;
            self.bring_back(shared, votes, round)?;
        }
        Ok(())
    }

    fn bring_back(
        &mut self,
        shared: &Shared,
        votes: Vec<SignedVote>,
        round: &mut Round,
    ) -> Result<(), NodeError> {
        for vote in votes {
            match shared.verify(|verifier| verifier.vote(vote)) {
                Ok(vote) => self.take(Event::Votes(vec![vote], None), None, round)?,
                Err(error) => tracing::error!(%error, "own vote does not verify"),
            }
        }
        Ok(())
    }

    /// Drops journal segments that the index contains.
    fn checkpoint_if_due(&mut self) -> Result<(), NodeError> {
        if self.unchecked_bytes >= CHECKPOINT_BYTES {
            self.unchecked_bytes = 0;
            self.store.checkpoint(u64::MAX)?;
        }
        Ok(())
    }

    fn take(
        &mut self,
        event: Event,
        answer: Option<Answer>,
        round: &mut Round,
    ) -> Result<(), NodeError> {
        let store = Arc::clone(&self.store);
        let effects = self.core.handle(&IndexRecords(&store), event).map_err(NodeError::Record)?;
        let result = effects.refused.clone().map_or(Ok(()), Err);
        self.gather(effects, round);
        if let Some(answer) = answer {
            round.answers.push((answer, result));
        }
        Ok(())
    }

    fn gather(&mut self, effects: Effects, round: &mut Round) {
        round.entries.extend(effects.entries);
        round.sign.extend(effects.sign);
        round.drop_fragments.extend(effects.drop_fragments);
        round.settled.extend(effects.settled);
        for fault in effects.faults {
            tracing::warn!(node = %fault.node, fault = %fault.kind, "peer misbehaved");
            *self.faults.entry(fault.node).or_default() += 1;
            self.tell(Fact::Fault(&fault));
        }
        for upload in effects.bound_exceeded {
            tracing::error!(%upload, "two contents of one upload are certified: more than f nodes lie");
            self.tell(Fact::BoundExceeded(upload));
        }
    }

    /// Journal, index, signatures; own votes may lead to further promises, which follow at once.
    fn make_durable(&mut self, shared: &Shared, round: &mut Round) -> Result<(), NodeError> {
        for _ in 0..OWN_ROUNDS_MAX {
            let entries = std::mem::take(&mut round.entries);
            let statements = std::mem::take(&mut round.sign);
            if entries.is_empty() && statements.is_empty() {
                break;
            }
            self.write(shared, &entries)?;
            let votes = self.sign(&statements);
            for vote in &votes {
                self.tell_watchers(vote);
            }
            self.bring_back(shared, votes, round)?;
        }
        self.publish();
        self.drop_fragments(std::mem::take(&mut round.drop_fragments));
        let mut peers = shared.peers.lock().unwrap_or_else(PoisonError::into_inner);
        for upload in std::mem::take(&mut round.settled) {
            peers.settled(upload);
        }
        Ok(())
    }

    fn write(&mut self, shared: &Shared, entries: &[Entry]) -> Result<(), NodeError> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut positions = Vec::with_capacity(entries.len());
        for entry in entries {
            let bytes = entry.to_bytes();
            self.unchecked_bytes += bytes.len();
            positions.push(self.store.append(&bytes)?);
        }
        self.store.sync()?;
        let mut writes = Vec::new();
        for (entry, position) in entries.iter().zip(&positions) {
            writes.extend(self.index_writes(entry, *position));
            if let Entry::Upload(upload, record) = entry {
                self.tell(Fact::Recorded(*upload, record));
            }
            if let Entry::Heartbeat(heartbeat) = entry {
                let mut peers = shared.peers.lock().unwrap_or_else(PoisonError::into_inner);
                peers.remember(*heartbeat);
            }
        }
        let cursors = shared.peers.lock().unwrap_or_else(PoisonError::into_inner).save();
        writes.extend(cursors);
        let applied = positions.last().map_or(0, |last| last + 1);
        self.store.apply(&writes, applied)?;
        Ok(())
    }

    fn index_writes(&mut self, entry: &Entry, position: u64) -> Vec<IndexWrite> {
        let mut writes = entry.index_writes(position);
        if let Entry::Upload(upload, _) = entry
            && let Some(before) = self.core.written(*upload, position)
        {
            writes.push(IndexWrite::remove(Table::Sequence, sequence_key(before)));
        }
        writes
    }

    fn sign(&self, statements: &[Statement]) -> Vec<SignedVote> {
        let mut distinct = Vec::with_capacity(statements.len());
        for statement in statements {
            if !distinct.contains(statement) {
                distinct.push(*statement);
            }
        }
        let votes = sign_statements(&self.cluster, &self.vote_key, &distinct);
        for vote in &votes {
            self.tell(Fact::Signed(vote));
        }
        votes
    }

    fn tell(&self, fact: Fact<'_>) {
        if let Some(observer) = &self.observer {
            observer.on_fact(self.core.node(), fact);
        }
    }

    fn tell_watchers(&mut self, vote: &SignedVote) {
        let upload = vote.statement.upload;
        let Some(watchers) = self.watchers.get(&upload) else {
            return;
        };
        let store = Arc::clone(&self.store);
        let view = self.core.view(&IndexRecords(&store), upload);
        let record = view.ok().flatten().map(|view| view.machine.record().clone());
        let own = own_vote(vote.clone(), record.as_ref());
        for watcher in watchers {
            // A watcher that does not keep up asks again.
            drop(watcher.try_send(own.clone()));
        }
        self.watchers.retain(|_, watchers| {
            watchers.retain(|watcher| !watcher.is_closed());
            !watchers.is_empty()
        });
    }

    /// Everything synced so far is signed: links may tell it.
    fn publish(&self) {
        let durable = self.store.journal().durable_position();
        self.published.send_if_modified(|published| {
            let moved = *published < durable;
            *published = durable;
            moved
        });
    }

    fn drop_fragments(&self, uploads: Vec<UploadId>) {
        for upload in uploads {
            let Some(slot) = self.cluster.slot_of(upload, self.core.node()) else {
                continue;
            };
            let key = FragmentKey { upload, slot };
            if let Err(error) = self.store.fragments().remove(key) {
                tracing::warn!(%upload, %error, "fragment could not be removed");
            }
            self.tell(Fact::FragmentDropped(key));
        }
    }

    fn answer(&mut self, question: Command) -> Result<(), String> {
        match question {
            Command::Watch(upload, watcher) => self.watch(upload, watcher)?,
            Command::Accepts(seal, answer) => drop(answer.send(self.accepts(&seal)?)),
            Command::News(from, limit, answer) => drop(answer.send(self.news(from, limit)?)),
            Command::HoldNow(upload, nonce, answer) => {
                let store = Arc::clone(&self.store);
                let claim = self.core.hold_now(&IndexRecords(&store), upload, nonce)?;
                drop(answer.send(claim.and_then(|claim| self.sign(&[claim]).pop())));
            }
            Command::Status(answer) => {
                let (resident, undecided) = self.core.counts();
                let may_vote = self.core.may_vote();
                let faults = self.faults.clone();
                drop(answer.send(EngineStatus { may_vote, resident, undecided, faults }));
            }
            Command::Event(..) | Command::Stop => {}
        }
        Ok(())
    }

    fn accepts(&mut self, seal: &VerifiedSeal) -> Result<Result<(), Denial>, String> {
        let time = self.core.time();
        let store = Arc::clone(&self.store);
        let Some(view) = self.core.view(&IndexRecords(&store), seal.upload())? else {
            return Ok(Err(Denial::NotInGroup));
        };
        Ok(view.machine.accepts(time, seal).map_err(Denial::Protocol))
    }

    fn watch(&mut self, upload: UploadId, watcher: mpsc::Sender<OwnVote>) -> Result<(), String> {
        let (votes, record) = self.own_votes(upload)?;
        for vote in votes {
            drop(watcher.try_send(own_vote(vote, record.as_ref())));
        }
        let watchers = self.watchers.entry(upload).or_default();
        watchers.retain(|watcher| !watcher.is_closed());
        if watchers.len() < WATCHERS_MAX {
            watchers.push(watcher);
        }
        Ok(())
    }

    /// Every vote that follows from the durable record; what memory lacks is signed again.
    fn own_votes(
        &mut self,
        upload: UploadId,
    ) -> Result<(Vec<SignedVote>, Option<UploadRecord>), String> {
        let (store, node) = (Arc::clone(&self.store), self.core.node());
        let Some(view) = self.core.view(&IndexRecords(&store), upload)? else {
            return Ok((Vec::new(), None));
        };
        for vote in sign_statements(&self.cluster, &self.vote_key, &view.missing) {
            if let Some(observer) = &self.observer {
                observer.on_fact(node, Fact::Signed(&vote));
            }
            view.own.insert(vote.statement.kind, vote);
        }
        let promised = view.machine.promised();
        let votes = promised.iter().filter_map(|s| view.own.get(&s.kind).cloned()).collect();
        Ok((votes, Some(view.machine.record().clone())))
    }

    fn news(&mut self, from: u64, limit: usize) -> Result<NewsPage, String> {
        let first = sequence_key(from);
        let bounds = (Bound::Included(first.as_slice()), Bound::Unbounded);
        let found = self.store.index().scan(Table::Sequence, bounds.0, bounds.1, limit);
        let found = found.map_err(|error| error.to_string())?;
        let mut page = NewsPage { news: Vec::new(), next: from };
        if found.len() < limit {
            page.next = (*self.published.borrow()).max(from);
        }
        for (key, value) in found {
            let Some(position) = sequence_of(&key) else {
                continue;
            };
            page.next = page.next.max(position + 1);
            let Ok(upload) = value.try_into().map(UploadId) else {
                continue;
            };
            let store = Arc::clone(&self.store);
            let view = self.core.view(&IndexRecords(&store), upload)?;
            if view.is_none_or(|view| view.position != Some(position)) {
                continue; // An older life of this entry, left by a replay.
            }
            let (votes, record) = self.own_votes(upload)?;
            if let Some(news) = record.and_then(|record| news_of(votes, &record)) {
                page.news.push((position, upload, news));
            }
        }
        Ok(page)
    }
}

fn own_vote(vote: SignedVote, record: Option<&UploadRecord>) -> OwnVote {
    let is_ready = vote.statement.kind == StatementKind::Ready;
    let echo_cert = match record.map(|record| &record.phase) {
        Some(Phase::Ready { echo_cert, .. }) if is_ready => Some(echo_cert.clone()),
        Some(Phase::Committed(proof)) if is_ready => Some(proof.echo.clone()),
        _ => None,
    };
    OwnVote { vote, echo_cert }
}

/// The state of an upload as peers need it.
fn news_of(votes: Vec<SignedVote>, record: &UploadRecord) -> Option<News> {
    match &record.phase {
        Phase::Idle => None,
        Phase::Echoed(_) | Phase::Aborted { cert: None, .. } => {
            Some(News::Votes { votes, echo_cert: None })
        }
        Phase::Ready { echo_cert, .. } => {
            Some(News::Votes { votes, echo_cert: Some(echo_cert.clone()) })
        }
        Phase::Aborted { cert: Some(cert), .. } => Some(News::Aborted(cert.clone())),
        Phase::Committed(_) => Some(News::Committed),
        Phase::Deleted(order) => Some(News::Deleted(order.clone())),
    }
}
