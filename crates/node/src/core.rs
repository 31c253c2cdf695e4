//! The synchronous owner of a node's machines: events in, effects out.
//!
//! It routes each event to the machine of its upload, keeps a bounded number of machines in
//! memory, and says what to write to the journal, what may be signed afterwards and what to tell
//! whom. The shell makes it durable, signs, and brings the signed votes back as events. A
//! simulator runs this very type on virtual time and disks.
//!
//! Spec: docs/protocol.md AMNESIA-1, LINK-1, TIME-1, ABORT-1.
//! Invariant: no statement is handed out for signing without the record that promises it.
//! Bounds: `RESIDENT_UPLOADS_MAX` machines and those of one round, `OPEN_UPLOADS_MAX` of them undecided by this node.
//! Not here: signature checks (before), files and sockets (`shell`).

pub(crate) mod entry;
pub(crate) mod memory;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use avid_protocol::clock::{ClusterClock, Heartbeat, SignedHeartbeat};
use avid_protocol::fault::Fault;
use avid_protocol::object::{OrderKind, VerifiedOpen, VerifiedOrder, VerifiedSeal};
use avid_protocol::record::{Phase, UploadRecord};
use avid_protocol::server::{Input, Output, Refusal, ServerUpload, Step};
use avid_protocol::statement::{Statement, StatementKind};
use avid_protocol::verify::{VerifiedCert, VerifiedCommit, VerifiedVote};
use avid_protocol::vote::SignedVote;
use avid_types::canary::{self, Canary};
use avid_types::limits::{
    ENDED_UPLOADS_PER_OWNER_MAX, OPEN_UPLOADS_MAX, OPEN_UPLOADS_PER_OWNER_MAX, RESIDENT_UPLOADS_MAX,
};
use avid_types::{ClusterConfig, NodeId, Nonce, PublicKey, Timestamp, UploadId};

use crate::core::entry::{Entry, object_of};
use crate::core::memory::Memory;

/// First pause before an undecided upload is announced to all peers again.
const ANNOUNCE_AGAIN_MIN: Duration = Duration::from_secs(1);
/// Longest pause: an upload in limbo costs each peer one message in this time.
const ANNOUNCE_AGAIN_MAX: Duration = Duration::from_secs(60);
/// The same once this node aborted: nothing waits for it any more but the certificate.
const ANNOUNCE_ABORTED_AGAIN_MAX: Duration = Duration::from_secs(3600);

/// Reads records that are not in memory. The answer is durable state.
pub trait Records {
    /// Position and record of an upload.
    ///
    /// # Errors
    ///
    /// Text of what the disk said; the node halts.
    fn load(&self, upload: UploadId) -> Result<Option<(u64, UploadRecord)>, String>;

    /// Ended uploads of an owner that are on record.
    ///
    /// # Errors
    ///
    /// As [`Records::load`].
    fn ended(&self, owner: &PublicKey) -> Result<u64, String>;
}

/// What happened. Everything in it was verified.
#[derive(Debug)]
pub enum Event {
    /// An owner announces a dispersal to this node.
    Open(VerifiedOpen),
    /// A fragment is durable on this node's disk.
    Stored(Box<VerifiedSeal>),
    /// A peer knows the description.
    Seal(Box<VerifiedSeal>),
    /// Votes of one peer, or of this node once durable; READY comes with its certificate.
    Votes(Vec<VerifiedVote>, Option<VerifiedCert>),
    /// A commit proof.
    Commit(Box<VerifiedCommit>),
    /// An abort certificate.
    AbortCert(Box<VerifiedCert>),
    /// An owner's CANCEL or DELETE.
    Order(Box<VerifiedOrder>),
    /// A fragment is missing or damaged.
    FragmentLost(UploadId),
    /// A peer's heartbeat; its signature is checked.
    Heartbeat(SignedHeartbeat),
    /// A peer answered our handshake and told what it remembers of us; with the first and the
    /// latest heartbeat that this process signed.
    Remembered(NodeId, Option<SignedHeartbeat>, Option<(Heartbeat, Heartbeat)>),
    /// Time passed, by the local clock.
    Tick(Timestamp),
}

/// What to do, in this order.
#[derive(Debug, Default)]
#[must_use = "dropped effects are lost votes"]
pub struct Effects {
    /// Append to the journal, sync, apply to the index.
    pub(crate) entries: Vec<Entry>,
    /// Then sign and bring back as [`Event::Votes`].
    pub sign: Vec<Statement>,
    /// The request behind the event is refused.
    pub refused: Option<Denial>,
    /// Remove the fragment of these uploads.
    pub drop_fragments: Vec<UploadId>,
    /// Decided for good.
    pub settled: Vec<UploadId>,
    /// Misbehaviour of peers.
    pub faults: Vec<Fault>,
    /// More than f nodes lie about this upload.
    pub bound_exceeded: Vec<UploadId>,
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// By the upload's machine.
    #[error(transparent)]
    Protocol(#[from] Refusal),
    /// This node is not in the upload's group.
    #[error("this node holds no slot of the upload")]
    NotInGroup,
    /// Too many dispersals are open.
    #[error("{0} dispersals are open, more are not taken; retry later or finish some")]
    TooManyOpen(usize),
    /// Too many ended uploads of the owner are on record.
    #[error("{0} ended uploads of this owner are on record for ever, more are not taken here")]
    TooManyEnded(u64),
    /// The node may not vote now.
    #[error("{0}")]
    NotVoting(String),
}

#[derive(Debug)]
struct Resident {
    machine: ServerUpload,
    /// Of the last record; none before the first.
    position: Option<u64>,
    own: BTreeMap<StatementKind, SignedVote>,
    announce_at: Timestamp,
    announce_after: Duration,
    /// In whose quota it counts while undecided.
    owner: Option<PublicKey>,
}

/// All machines of one node.
#[derive(Debug)]
pub struct Core {
    config: Arc<ClusterConfig>,
    node: NodeId,
    clock: ClusterClock,
    persisted_time: Timestamp,
    memory: Memory,
    resident: BTreeMap<UploadId, Resident>,
    /// Resident uploads, oldest use first; entries may repeat.
    used: VecDeque<UploadId>,
    open_by_owner: BTreeMap<PublicKey, usize>,
    /// Ended uploads by owner, as far as this round changed them.
    ended: BTreeMap<PublicKey, u64>,
    now: Timestamp,
}

impl Core {
    /// A core that starts from durable state: boot counter, journal position, cluster time and
    /// the heartbeats it remembers.
    #[must_use]
    pub fn new(
        config: Arc<ClusterConfig>,
        node: NodeId,
        boot: u64,
        position: u64,
        clock: ClusterClock,
    ) -> Self {
        let memory = Memory::new(&config, node, boot, position);
        let persisted_time = clock.time();
        Self {
            config,
            node,
            clock,
            persisted_time,
            memory,
            resident: BTreeMap::new(),
            used: VecDeque::new(),
            open_by_owner: BTreeMap::new(),
            ended: BTreeMap::new(),
            now: Timestamp::ZERO,
        }
    }

    /// Cluster time.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        self.clock.time()
    }

    /// What this node remembers of a member.
    #[must_use]
    pub fn remembered(&self, node: NodeId) -> Option<&SignedHeartbeat> {
        self.clock.remembered(node)
    }

    /// Whether this node may vote, and if not, why.
    ///
    /// # Errors
    ///
    /// A sentence for people.
    pub fn may_vote(&self) -> Result<(), String> {
        self.memory.may_vote()
    }

    /// Uploads in memory, and how many of them are known here and undecided.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let undecided = |r: &&Resident| {
            let record = r.machine.record();
            !record.phase.is_settled() && *record != UploadRecord::default()
        };
        (self.resident.len(), self.resident.values().filter(undecided).count())
    }

    /// Uploads in memory that are undecided.
    pub(crate) fn undecided(&self) -> Vec<UploadId> {
        let undecided = |r: &Resident| !r.machine.record().phase.is_settled();
        self.resident.iter().filter(|(_, r)| undecided(r)).map(|(upload, _)| *upload).collect()
    }

    /// Takes one event.
    ///
    /// # Errors
    ///
    /// Text of what the disk said; the node halts.
    pub fn handle(&mut self, records: &dyn Records, event: Event) -> Result<Effects, String> {
        let mut effects = Effects::default();
        match event {
            Event::Heartbeat(heartbeat) => self.on_heartbeat(heartbeat, &mut effects),
            Event::Remembered(peer, heartbeat, lived) => {
                self.memory.answered(peer, heartbeat, lived);
            }
            Event::Tick(now) => self.on_tick(records, now, &mut effects)?,
            Event::Open(open) => {
                self.on_open(records, open, &mut effects)?;
            }
            Event::Votes(votes, cert) => {
                self.on_votes(records, votes, cert.as_ref(), &mut effects)?;
            }
            Event::Stored(seal) => {
                let upload = seal.upload();
                let is_vote = !self.is_committed(records, upload)?;
                if is_vote && self.denied(&mut effects) {
                    let kept = self.resident(records, upload)?;
                    if kept.is_none_or(|r| r.machine.record().fragment.is_none()) {
                        effects.drop_fragments.push(upload);
                    }
                } else {
                    self.step(records, upload, Input::Stored(*seal), &mut effects)?;
                }
            }
            Event::Seal(seal) => {
                self.step(records, seal.upload(), Input::Seal(*seal), &mut effects)?;
            }
            Event::Commit(commit) => {
                self.step(records, commit.upload(), Input::Commit(commit), &mut effects)?;
            }
            Event::AbortCert(cert) => {
                let upload = cert.cert().upload;
                self.step(records, upload, Input::AbortCert(*cert), &mut effects)?;
            }
            Event::Order(order) => self.on_order(records, *order, &mut effects)?,
            Event::FragmentLost(upload) => {
                self.step(records, upload, Input::FragmentLost, &mut effects)?;
            }
        }
        if self.may_vote().is_err() {
            effects.sign.retain(|statement| !is_vote(statement.kind));
        }
        self.keep_clock(&mut effects);
        Ok(effects)
    }

    /// Whether the node may not vote; says so in the effects.
    fn denied(&self, effects: &mut Effects) -> bool {
        match self.may_vote() {
            Ok(()) => false,
            Err(reason) => {
                effects.refused = Some(Denial::NotVoting(reason));
                true
            }
        }
    }

    fn is_committed(&mut self, records: &dyn Records, upload: UploadId) -> Result<bool, String> {
        let resident = self.resident(records, upload)?;
        Ok(resident.is_some_and(|r| matches!(r.machine.record().phase, Phase::Committed(_))))
    }

    fn on_open(
        &mut self,
        records: &dyn Records,
        open: VerifiedOpen,
        effects: &mut Effects,
    ) -> Result<(), String> {
        let upload = open.upload();
        if !self.has_room(records, upload, open.open().object.owner, effects)? {
            return Ok(());
        }
        if self.denied(effects) {
            self.uncount(upload);
        } else {
            self.step(records, upload, Input::Open(open), effects)?;
        }
        // An OPEN promises nothing: it is kept in memory until a vote needs it.
        effects.entries.retain(|entry| !matches!(entry, Entry::Upload(..)));
        Ok(())
    }

    /// Whether one more undecided upload fits the quotas; known ones always do.
    fn has_room(
        &mut self,
        records: &dyn Records,
        upload: UploadId,
        owner: PublicKey,
        effects: &mut Effects,
    ) -> Result<bool, String> {
        let undecided: usize = self.open_by_owner.values().sum();
        if !self.has_record_room(records, upload, owner, effects)? {
            return Ok(false);
        }
        let of_owner = self.open_by_owner.get(&owner).copied().unwrap_or(0);
        let Some(resident) = self.resident(records, upload)? else {
            effects.refused = Some(Denial::NotInGroup);
            return Ok(false);
        };
        if resident.machine.record() != &UploadRecord::default() {
            return Ok(true);
        }
        if of_owner >= OPEN_UPLOADS_PER_OWNER_MAX || undecided >= OPEN_UPLOADS_MAX {
            effects.refused = Some(Denial::TooManyOpen(of_owner.max(undecided)));
            return Ok(false);
        }
        let before = resident.owner.replace(owner);
        self.count_open(before, Some(owner));
        Ok(true)
    }

    /// Takes a request that left nothing out of its owner's quota.
    fn uncount(&mut self, upload: UploadId) {
        let Some(resident) = self.resident.get_mut(&upload) else {
            return;
        };
        if *resident.machine.record() == UploadRecord::default() {
            let owner = resident.owner.take();
            self.count_open(owner, None);
        }
    }

    /// Whether the owner may leave one more ended upload on record; known ones always do.
    fn has_record_room(
        &mut self,
        records: &dyn Records,
        upload: UploadId,
        owner: PublicKey,
        effects: &mut Effects,
    ) -> Result<bool, String> {
        let ended = self.ended_by(records, &owner)?;
        let Some(resident) = self.resident(records, upload)? else {
            effects.refused = Some(Denial::NotInGroup);
            return Ok(false);
        };
        let is_known = resident.machine.record() != &UploadRecord::default();
        if is_known || ended < ENDED_UPLOADS_PER_OWNER_MAX {
            return Ok(true);
        }
        effects.refused = Some(Denial::TooManyEnded(ended));
        Ok(false)
    }

    fn on_order(
        &mut self,
        records: &dyn Records,
        order: VerifiedOrder,
        effects: &mut Effects,
    ) -> Result<(), String> {
        let upload = order.upload();
        let owner = order.order().object.owner;
        if order.kind() == OrderKind::Cancel && self.denied(effects) {
            return Ok(());
        }
        // What is known here can always be ended; the unknown needs room on record.
        let has_room = match order.kind() {
            OrderKind::Cancel => self.has_room(records, upload, owner, effects)?,
            OrderKind::Delete => self.has_record_room(records, upload, owner, effects)?,
        };
        if !has_room {
            return Ok(());
        }
        self.step(records, upload, Input::Order(order), effects)
    }

    fn on_votes(
        &mut self,
        records: &dyn Records,
        votes: Vec<VerifiedVote>,
        cert: Option<&VerifiedCert>,
        effects: &mut Effects,
    ) -> Result<(), String> {
        if self.may_vote().is_err() {
            return Ok(()); // Peers announce undecided uploads again.
        }
        for vote in votes {
            let upload = vote.statement().upload;
            if vote.signer() == self.node
                && let Some(resident) = self.resident(records, upload)?
            {
                resident.own.insert(vote.statement().kind, vote.signed().clone());
            }
            let is_ready = vote.statement().kind == StatementKind::Ready;
            let input = match (cert, is_ready) {
                (Some(cert), true) => Input::Ready(vote, cert.clone()),
                _ => Input::Vote(vote),
            };
            self.step(records, upload, input, effects)?;
        }
        Ok(())
    }

    fn step(
        &mut self,
        records: &dyn Records,
        upload: UploadId,
        input: Input,
        effects: &mut Effects,
    ) -> Result<(), String> {
        let time = self.clock.time();
        let now = self.now;
        let Some(resident) = self.resident(records, upload)? else {
            effects.refused = Some(Denial::NotInGroup);
            return Ok(());
        };
        let before = resident.owner;
        let was_ended = is_ended(resident.machine.record());
        let step = resident.machine.step(time, input);
        let record = resident.machine.record();
        // A refused request leaves nothing, and nothing counts in a quota.
        let counts = is_open(record) && *record != UploadRecord::default();
        let after = owner_of_open(record).or(before).filter(|_| counts);
        resident.owner = after;
        if step.persist.is_some() {
            resident.announce_after = ANNOUNCE_AGAIN_MIN;
            resident.announce_at = now.plus(ANNOUNCE_AGAIN_MIN);
        }
        let ended = is_ended(record).then(|| object_of(record).map(|o| o.owner).or(before));
        if before != after {
            self.count_open(before, after);
        }
        collect(upload, step, effects);
        if let (false, Some(Some(owner))) = (was_ended, ended) {
            self.count_ended(records, owner, effects)?;
        }
        Ok(())
    }

    /// Rule: ABORT-2: what an owner left behind counts in its quota.
    fn ended_by(&self, records: &dyn Records, owner: &PublicKey) -> Result<u64, String> {
        match self.ended.get(owner) {
            Some(count) => Ok(*count),
            None => records.ended(owner),
        }
    }

    fn count_ended(
        &mut self,
        records: &dyn Records,
        owner: PublicKey,
        effects: &mut Effects,
    ) -> Result<(), String> {
        let count = self.ended_by(records, &owner)?.saturating_add(1);
        self.ended.insert(owner, count);
        effects.entries.push(Entry::Ended(owner, count));
        Ok(())
    }

    fn count_open(&mut self, before: Option<PublicKey>, after: Option<PublicKey>) {
        if let Some(owner) = before
            && let Some(count) = self.open_by_owner.get_mut(&owner)
        {
            *count -= 1;
            if *count == 0 {
                self.open_by_owner.remove(&owner);
            }
        }
        if let Some(owner) = after {
            *self.open_by_owner.entry(owner).or_default() += 1;
        }
    }

    /// The machine of an upload, read back if it is not in memory; none outside its group.
    fn resident(
        &mut self,
        records: &dyn Records,
        upload: UploadId,
    ) -> Result<Option<&mut Resident>, String> {
        if !self.resident.contains_key(&upload) {
            let (position, record) = match records.load(upload)? {
                Some((position, record)) => (Some(position), record),
                None => (None, UploadRecord::default()),
            };
            let is_aborted = matches!(record.phase, Phase::Aborted { .. });
            let forgets = is_aborted && canary::sings(Canary::ForgetAborts);
            let record = if forgets { UploadRecord::default() } else { record };
            let owner = owner_of_open(&record);
            let config = Arc::clone(&self.config);
            let Some(machine) = ServerUpload::new(config, self.node, upload, record) else {
                return Ok(None);
            };
            self.count_open(None, owner);
            let resident = Resident {
                machine,
                position,
                own: BTreeMap::new(),
                announce_at: self.now.plus(ANNOUNCE_AGAIN_MIN),
                announce_after: ANNOUNCE_AGAIN_MIN,
                owner,
            };
            self.resident.insert(upload, resident);
            self.used.push_back(upload);
        }
        Ok(self.resident.get_mut(&upload))
    }

    /// Evicts settled machines first, then those without a promise; their peers announce again.
    ///
    /// Only between rounds: what a round decided must be in the index before it leaves memory,
    /// or an older record would be read back and the decision undone.
    pub(crate) fn make_room(&mut self) {
        self.ended.clear();
        let mut looked_at = 0;
        while self.resident.len() >= RESIDENT_UPLOADS_MAX && looked_at < RESIDENT_UPLOADS_MAX {
            looked_at += 1;
            let Some(oldest) = self.used.pop_front() else {
                return;
            };
            let Some(resident) = self.resident.get(&oldest) else {
                continue;
            };
            let record = resident.machine.record();
            let idle = record.phase == Phase::Idle;
            // Of an aborted upload others keep the votes, and show the certificate once there is one.
            if !is_open(record) || (idle && record.open.is_none()) {
                self.forget(oldest);
            } else {
                self.used.push_back(oldest);
            }
        }
    }

    fn forget(&mut self, upload: UploadId) {
        if let Some(resident) = self.resident.remove(&upload) {
            self.count_open(resident.owner, None);
        }
    }

    fn on_heartbeat(&mut self, heartbeat: SignedHeartbeat, effects: &mut Effects) {
        let node = heartbeat.heartbeat.node;
        let before = self.clock.remembered(node).map(|known| known.heartbeat);
        self.clock.observe(heartbeat);
        // What is kept never falls: a restored disk would otherwise erase the memory of its past.
        if before.is_some_and(|known| !heartbeat.heartbeat.supersedes(&known)) {
            return;
        }
        let booted = before.is_none_or(|known| known.boot < heartbeat.heartbeat.boot);
        let moved = self.memory.worth_keeping(&heartbeat.heartbeat);
        if node != self.node && (booted || moved) {
            self.memory.kept(&heartbeat.heartbeat);
            effects.entries.push(Entry::Heartbeat(heartbeat));
        }
    }

    fn on_tick(
        &mut self,
        records: &dyn Records,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), String> {
        self.now = self.now.max(now);
        let time = self.clock.time();
        let voting = self.may_vote().is_ok();
        let (mut expired, mut closed) = (Vec::new(), Vec::new());
        for (upload, resident) in &mut self.resident {
            let record = resident.machine.record();
            if record.phase.is_settled() || !voting {
                continue;
            }
            let step = resident.machine.step(time, Input::Tick);
            if is_ended(resident.machine.record()) && step.persist.is_some() {
                let owner = resident.owner.take();
                expired.extend(owner.or(object_of(resident.machine.record()).map(|o| o.owner)));
                closed.extend(owner);
            }
            collect(*upload, step, effects);
            if resident.position.is_some() && now >= resident.announce_at {
                let open = is_open(resident.machine.record());
                let longest = if open { ANNOUNCE_AGAIN_MAX } else { ANNOUNCE_ABORTED_AGAIN_MAX };
                resident.announce_after = (resident.announce_after * 2).min(longest);
                resident.announce_at = now.plus(resident.announce_after);
                let record = Box::new(resident.machine.record().clone());
                effects.entries.push(Entry::Upload(*upload, record));
            }
        }
        for owner in closed {
            self.count_open(Some(owner), None);
        }
        for owner in expired {
            self.count_ended(records, owner, effects)?;
        }
        Ok(())
    }

    /// Cluster time goes to disk with whatever else does.
    fn keep_clock(&mut self, effects: &mut Effects) {
        let time = self.clock.time();
        if !effects.entries.is_empty() && time > self.persisted_time {
            self.persisted_time = time;
            effects.entries.push(Entry::Clock(time));
        }
    }

    /// Notes at which position a record was written.
    ///
    /// Returns the position of the record it replaces, if there was one.
    pub(crate) fn written(&mut self, upload: UploadId, position: u64) -> Option<u64> {
        let resident = self.resident.get_mut(&upload)?;
        let before = resident.position.replace(position);
        before.filter(|before| *before != position)
    }

    /// Which member this is.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Record, position and own votes of an upload, and the statements still to be signed for it.
    pub(crate) fn view(
        &mut self,
        records: &dyn Records,
        upload: UploadId,
    ) -> Result<Option<View<'_>>, String> {
        let voting = self.may_vote().is_ok();
        let Some(resident) = self.resident(records, upload)? else {
            return Ok(None);
        };
        let missing = resident
            .machine
            .promised()
            .into_iter()
            .filter(|statement| voting || !is_vote(statement.kind))
            .filter(|statement| {
                resident.own.get(&statement.kind).map(|v| v.statement) != Some(*statement)
            })
            .collect();
        Ok(Some(View {
            machine: &resident.machine,
            position: resident.position,
            own: &mut resident.own,
            missing,
        }))
    }

    /// The claim to hold a fragment now.
    pub(crate) fn hold_now(
        &mut self,
        records: &dyn Records,
        upload: UploadId,
        nonce: Nonce,
    ) -> Result<Option<Statement>, String> {
        Ok(self.resident(records, upload)?.and_then(|r| r.machine.hold_now(nonce)))
    }
}

/// One upload as the shell sees it.
#[derive(Debug)]
pub(crate) struct View<'a> {
    pub(crate) machine: &'a ServerUpload,
    pub(crate) position: Option<u64>,
    pub(crate) own: &'a mut BTreeMap<StatementKind, SignedVote>,
    pub(crate) missing: Vec<Statement>,
}

fn collect(upload: UploadId, step: Step, effects: &mut Effects) {
    if let Some(record) = step.persist {
        effects.entries.push(Entry::Upload(upload, Box::new(record)));
    }
    effects.sign.extend(step.sign);
    effects.faults.extend(step.faults);
    for output in step.outputs {
        match output {
            Output::Refused(refusal) => effects.refused = Some(Denial::Protocol(refusal)),
            Output::NeedSeal(_) => {} // Whoever knows it commits and says so.
            Output::Committed(_) | Output::Aborted | Output::Deleted => {
                effects.settled.push(upload);
            }
            Output::DropFragment => effects.drop_fragments.push(upload),
            Output::FaultBoundExceeded => effects.bound_exceeded.push(upload),
        }
    }
}

/// Whether a statement decides something, and so needs the memory of every earlier one (AMNESIA-1).
/// What a certificate already proves may be said by anybody who keeps it.
fn is_vote(kind: StatementKind) -> bool {
    matches!(kind, StatementKind::Echo | StatementKind::Ready | StatementKind::Abort)
}

/// Whether an upload ended without an object and stays on record.
fn is_ended(record: &UploadRecord) -> bool {
    match record.phase {
        Phase::Aborted { .. } | Phase::Deleted(_) => true,
        Phase::Idle | Phase::Echoed(_) | Phase::Ready { .. } | Phase::Committed(_) => false,
    }
}

/// Whether this node may still vote for a content. An upload it aborted counts among the ended ones,
/// whether or not a certificate ever forms.
fn is_open(record: &UploadRecord) -> bool {
    !record.phase.is_settled() && !is_ended(record)
}

/// The owner in whose quota an open upload counts.
fn owner_of_open(record: &UploadRecord) -> Option<PublicKey> {
    if !is_open(record) {
        return None;
    }
    object_of(record).map(|object| object.owner)
}
