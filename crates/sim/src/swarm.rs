//! Runs a plan: the trouble, then the liveness phase, and what came of it.
//!
//! ```text
//! start ─► actions at their times, operations beside them ─► faults end ─► liveness phase
//!                 └── checker after every record, signature and answer ──┘
//! ```
//! In the liveness phase the network is whole, disks work and every process runs; liars go on
//! lying, since a cluster must live with f of them. Then every operation has to end, every object
//! that was acknowledged has to come back exactly, and whoever writes it again has to see its
//! fragments on all honest nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use avid_client::{DisperseError, DisperseOptions, RetrieveErrorKind, Silent, Timeouts};
use avid_protocol::object::ObjectId;
use avid_store::disk::memory::{CrashChoice, MemoryDisk};
use avid_types::{Generation, NodeId, ObjectName};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::alarms;
use crate::disk_faults::{DiskRates, FaultyDisk};
use crate::liar_client::Surroundings;
use crate::liar_client::misbehave::misbehave;
use crate::liar_node::chunks::{ChunkLie, WrongChunks};
use crate::liar_node::collusion::Gang;
use crate::liar_node::frames::{Rates, frame_network};
use crate::liar_node::service::Selective;
use crate::liar_node::votes::{Boldness, Parrot};
use crate::liar_node::{Chain, Identity, random_liar, shared};
use crate::network::Delay;
use crate::plan::{Action, Badness, Plan, content, node};
use crate::random::Random;
use crate::tap::Tap;
use crate::world::{SimClient, World, client_key, host_of};

/// Virtual time after the faults within which nodes must vote again.
const VOTE_WITHIN: Duration = Duration::from_secs(120);
/// Virtual time within which every operation must end.
const END_WITHIN: Duration = Duration::from_secs(600);

/// How often halted nodes are looked for.
const SUPERVISE: Duration = Duration::from_secs(2);

/// What came of one run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The first promise that was broken.
    pub violation: Option<String>,
    /// Hash over everything that happened.
    pub hash: [u8; 32],
    /// Events by kind.
    pub counts: BTreeMap<&'static str, u64>,
    /// Virtual time, milliseconds.
    pub millis: u64,
    /// Uploads that were committed.
    pub committed: usize,
    /// What happened, for people, if asked for.
    pub lines: Vec<String>,
}

/// What clients tried and were told.
#[derive(Debug, Default)]
struct Ledger {
    /// Every content ever tried under a name: client and name.
    tried: BTreeMap<(u16, u8), Vec<Vec<u8>>>,
    /// Content that was acknowledged and not touched by a removal since it was.
    acknowledged: BTreeMap<(u16, u8), Vec<u8>>,
    /// Names that were removed, or may have been.
    removed: BTreeSet<(u16, u8)>,
}

/// What an operation under way will tell.
#[derive(Debug)]
enum Done {
    Put((u16, u8), Vec<u8>, Result<(), String>),
    /// A name that had been acknowledged was not found.
    Missing((u16, u8)),
    Other,
}

/// Runs a plan to its end.
#[must_use]
pub fn run(plan: &Plan, keep_lines: bool) -> Outcome {
    let guard = alarms::catch();
    let outcome = crate::runtime::run(plan.seed, Run::whole(plan, keep_lines));
    drop(guard);
    outcome
}

struct Run<'a> {
    plan: &'a Plan,
    world: World,
    ledger: Ledger,
    operations: JoinSet<Done>,
    clients: BTreeMap<u16, SimClient>,
    images: BTreeMap<u16, MemoryDisk>,
    /// When stopped processes go on.
    paused: BTreeMap<NodeId, Instant>,
}

impl Run<'_> {
    async fn whole(plan: &Plan, keep_lines: bool) -> Outcome {
        let world = World::started(plan.seed, plan.shape(), keep_lines).await;
        let mut run = Run {
            plan,
            world,
            ledger: Ledger::default(),
            operations: JoinSet::new(),
            clients: BTreeMap::new(),
            images: BTreeMap::new(),
            paused: BTreeMap::new(),
        };
        run.set_up();
        run.trouble().await;
        if run.world.checker.violation().is_none() {
            run.faults_end().await;
            run.liveness().await;
        }
        run.outcome()
    }

    fn set_up(&mut self) {
        for (number, badness) in &self.plan.bad {
            self.world.checker.set_dishonest(node(*number));
            match badness {
                Badness::Liar(seed) => {
                    let liar = swarm_liar(&self.world, node(*number), *seed);
                    self.world.network.tap(host_of(node(*number)), liar);
                }
                // Another store is never forgotten. A copy of seconds ago may be, since peers hear of
                // a node's position every two seconds: AMNESIA-1 makes that rare, and f bears it.
                Badness::Wiped => self.world.checker.set_forgetful(node(*number)),
                Badness::OldDisk | Badness::LyingDisk | Badness::Clock(_) => {}
            }
        }
        if self.plan.lossy_frames {
            let rates = Rates { loss: 3_000, repeat: 3_000, reorder: 3_000, clients: true };
            self.world.network.tap_all(frame_network(self.plan.seed, rates));
        }
    }

    /// Honest clients' names, for liars to attack.
    fn victims(&self) -> Vec<ObjectId> {
        let object = |client: u16, name: u8| ObjectId {
            owner: client_key(client).public(),
            name: ObjectName::new(&text(name)).expect("valid"),
            generation: Generation(0),
        };
        self.ledger.tried.keys().map(|(client, name)| object(*client, *name)).collect()
    }

    async fn trouble(&mut self) {
        let begin = Instant::now();
        for (at, action) in self.plan.actions.clone() {
            let when = begin + Duration::from_millis(at);
            self.run_until(when).await;
            if self.world.checker.violation().is_some() {
                return;
            }
            self.act(action).await;
        }
        self.run_until(Instant::now() + Duration::from_millis(500)).await;
    }

    /// Lets operations go on until an instant, and stopped processes when they are due.
    async fn run_until(&mut self, when: Instant) {
        loop {
            let due = self.paused.values().min().copied().filter(|due| *due < when);
            let next = due.unwrap_or(when);
            tokio::select! {
                biased;
                Some(done) = self.operations.join_next(), if !self.operations.is_empty() => {
                    self.on_done(done.expect("operations do not panic"));
                }
                () = tokio::time::sleep_until(next) => {
                    if due.is_none() {
                        return;
                    }
                    self.unpause(next);
                }
            }
        }
    }

    fn unpause(&mut self, now: Instant) {
        let due: Vec<_> =
            self.paused.iter().filter(|(_, due)| **due <= now).map(|(node, _)| *node).collect();
        for node in due {
            self.paused.remove(&node);
            self.world.pause(node, false);
        }
    }

    fn on_done(&mut self, done: Done) {
        let (name, bytes, result) = match done {
            Done::Put(name, bytes, result) => (name, bytes, result),
            Done::Missing(name) if !self.ledger.removed.contains(&name) => {
                let what = format!("I3: acknowledged name {name:?} was said not to exist");
                return self.world.checker.violate(what);
            }
            Done::Missing(_) | Done::Other => return,
        };
        if result.is_ok() && !self.ledger.removed.contains(&name) {
            let before = self.ledger.acknowledged.insert(name, bytes.clone());
            if before.is_some_and(|before| before != bytes) {
                self.world.checker.violate(format!(
                    "ID-1: two contents of name {name:?} were acknowledged and none was removed"
                ));
            }
        }
    }

    fn client(&mut self, number: u16) -> SimClient {
        let world = &self.world;
        self.clients.entry(number).or_insert_with(|| world.client(number)).clone()
    }

    async fn act(&mut self, action: Action) {
        self.world.trace.say("action", 0, || format!("{action:?}"));
        match action {
            Action::Put { client, name, len, content } => self.put((client, name), len, content),
            Action::Get { client, name } => self.get((client, name)),
            Action::Remove { client, name } => self.remove((client, name)),
            Action::Verify { client, name } => self.verify((client, name)),
            Action::List { client } => {
                let client = self.client(client);
                self.operations.spawn(async move {
                    drop(client.client.list(client.client.owner(), "", None, 100).await);
                    Done::Other
                });
            }
            Action::LiarClient(seed, millis) => {
                let (around, victims) = (Surroundings::of(&self.world), self.victims());
                let time = Duration::from_millis(millis);
                self.operations.spawn(async move {
                    drop(misbehave(around, seed, vec![100, 101], victims, time).await);
                    Done::Other
                });
            }
            _ => self.harm(action).await,
        }
    }

    async fn harm(&mut self, action: Action) {
        let world = &mut self.world;
        match action {
            Action::Kill(number) => world.kill(node(number), CrashChoice::KeepAll),
            Action::PowerCut(number, seed) => world.kill(node(number), CrashChoice::Tear(seed)),
            Action::Start(number) => self.start(node(number)).await,
            Action::Pause(number, millis) => {
                world.pause(node(number), true);
                let due = Instant::now() + Duration::from_millis(millis);
                self.paused.insert(node(number), due);
            }
            Action::Cut(from, to) => world.network.cut(host_of(node(from)), host_of(node(to))),
            Action::Heal => world.network.heal(),
            Action::Reset(one, other) => {
                world.network.reset(host_of(node(one)), host_of(node(other)));
            }
            Action::Slow(number, rate) => {
                for to in world.nodes() {
                    let delay = Delay { rate, ..Delay::LAN };
                    world.network.set_delay_of(host_of(node(number)), host_of(to), delay);
                }
            }
            Action::Skew(number, offset) => world.skew(node(number), offset),
            Action::Disk(number, rates) => self.disk(number, rates),
            Action::Room(number, room) => world.disk(node(number)).set_free_bytes(room),
            Action::KeepImage(number) => {
                let image = world.disk(node(number)).duplicate();
                self.images.insert(number, image);
            }
            Action::ChangeDisk(number) => self.change_disk(number).await,
            Action::Rot(number, seed) => self.rot(number, seed),
            Action::Put { .. }
            | Action::Get { .. }
            | Action::Remove { .. }
            | Action::Verify { .. }
            | Action::List { .. }
            | Action::LiarClient(..) => {}
        }
    }

    /// Starts a node that is down or has halted.
    async fn start(&mut self, node: NodeId) {
        if self.world.is_up(node) && !self.world.has_halted(node).await {
            return;
        }
        self.paused.remove(&node);
        if let Err(error) = self.world.start(node).await {
            self.world.trace.say("not started", u64::from(node.0), || error.to_string());
        }
    }

    fn disk(&mut self, number: u16, rates: DiskRates) {
        let random = Random::new(self.plan.seed, &format!("disk {number}"));
        let trace = self.world.trace.clone();
        let disk = FaultyDisk::new(rates, random, trace, u64::from(number));
        self.world.disk(node(number)).set_adversary(Some(Box::new(disk)));
    }

    async fn change_disk(&mut self, number: u16) {
        let is_old = self.plan.bad.contains(&(number, Badness::OldDisk));
        let image = self.images.remove(&number).filter(|_| is_old).unwrap_or_default();
        if self.plan.bad.contains(&(number, Badness::Wiped)) {
            self.world.checker.set_wiped(node(number));
        }
        self.world.replace_disk(node(number), image);
        self.start(node(number)).await;
    }

    fn rot(&mut self, number: u16, seed: u64) {
        let mut random = Random::new(seed, "rot");
        let disk = self.world.disk(node(number));
        for (path, len) in disk.files() {
            if path.starts_with("fragments") && len > 0 {
                // A file that vanished meanwhile has nothing to rot.
                drop(disk.flip_bit(&path, random.below(len * 8)));
            }
        }
    }

    fn put(&mut self, name: (u16, u8), len: u32, number: u64) {
        let bytes = content(len, number);
        self.ledger.tried.entry(name).or_default().push(bytes.clone());
        let (client, checker) = (self.client(name.0), self.world.checker.clone());
        self.operations.spawn(async move {
            let result = client.put(&text(name.1), &bytes).await;
            if let Ok(report) = &result {
                checker.on_placed(report.upload, &report.placed);
            }
            Done::Put(name, bytes, result.map(drop).map_err(|error| error.to_string()))
        });
    }

    fn get(&mut self, name: (u16, u8)) {
        let allowed = self.ledger.tried.get(&name).cloned().unwrap_or_default();
        let acknowledged = self.ledger.acknowledged.contains_key(&name);
        let client = self.client(name.0);
        self.operations.spawn(async move {
            let result = client.get(&text(name.1), &allowed).await;
            if let Err(error) = result
                && acknowledged
                && matches!(error.kind, RetrieveErrorKind::NotFound { .. })
            {
                return Done::Missing(name);
            }
            Done::Other
        });
    }

    fn remove(&mut self, name: (u16, u8)) {
        self.ledger.acknowledged.remove(&name);
        self.ledger.removed.insert(name);
        let client = self.client(name.0);
        self.operations.spawn(async move {
            drop(client.remove(&text(name.1)).await);
            Done::Other
        });
    }

    fn verify(&mut self, name: (u16, u8)) {
        let client = self.client(name.0);
        self.operations.spawn(async move {
            drop(client.verify(&text(name.1)).await);
            Done::Other
        });
    }

    async fn faults_end(&mut self) {
        self.world.trace.say("faults end", 0, String::new);
        self.world.network.heal();
        self.world.network.clear_delays();
        self.world.network.untap_network();
        self.unpause(Instant::now() + END_WITHIN);
        for node in self.world.nodes() {
            let disk = self.world.disk(node);
            disk.set_free_bytes(None);
            let is_lying = self.plan.bad.contains(&(node.0, Badness::LyingDisk));
            if !is_lying {
                self.disk(node.0, DiskRates::default());
            }
            self.start(node).await;
            if !self.world.is_up(node) && self.world.checker.is_honest(node) {
                let error = self.world.start(node).await.err().map(|error| error.to_string());
                self.world
                    .checker
                    .violate(format!("liveness: honest node {node} does not start: {error:?}"));
            }
        }
    }

    async fn liveness(&mut self) {
        let deadline = Instant::now() + END_WITHIN;
        while !self.operations.is_empty() {
            self.run_until(Instant::now() + SUPERVISE).await;
            self.supervise().await;
            if Instant::now() >= deadline {
                let left = self.operations.len();
                return self.world.checker.violate(format!(
                    "liveness: {left} operations did not end within {END_WITHIN:?}"
                ));
            }
        }
        let deadline = Instant::now() + VOTE_WITHIN;
        while !self.world.honest_vote(SUPERVISE).await {
            self.supervise().await;
            if Instant::now() >= deadline {
                return self.world.checker.violate("liveness: an honest node does not vote again");
            }
        }
        for (name, bytes) in self.ledger.acknowledged.clone() {
            self.comes_back(name, &bytes).await;
        }
        for (name, tried) in self.ledger.tried.clone() {
            self.can_be_ended(name, &tried).await;
        }
        self.bounds().await;
    }

    /// I7: after a restart a disk holds exactly the fragments that its node has on record.
    async fn bounds(&mut self) {
        for node in self.world.honest() {
            if let Err(error) = self.world.stop(node).await {
                let what = format!("I7: honest node {node} does not stop cleanly: {error}");
                return self.world.checker.violate(what);
            }
            self.start(node).await;
            let held = self.world.checker.held(node);
            let (mut stored, mut temporary) = (BTreeSet::new(), 0);
            for path in self.world.files(node) {
                if path.starts_with("fragments/tmp") {
                    temporary += 1;
                } else if path.starts_with("fragments") {
                    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                    stored.insert(name.split('.').next().unwrap_or_default().to_owned());
                }
            }
            let held: BTreeSet<String> = held.iter().map(ToString::to_string).collect();
            if stored != held || temporary > 0 {
                self.world.checker.violate(format!(
                    "I7: node {node} has {} fragments on record, {} on disk and {temporary} \
                     temporary files after a restart",
                    held.len(),
                    stored.len()
                ));
            }
        }
    }

    /// Starts honest nodes that halted, as whatever runs a node in production does.
    async fn supervise(&mut self) {
        for node in self.world.honest() {
            if self.world.has_halted(node).await {
                self.start(node).await;
            }
        }
    }

    /// An acknowledged object is there, exactly, and can be placed again.
    async fn comes_back(&mut self, name: (u16, u8), bytes: &[u8]) {
        let client = self.world.client_on(500 + name.0, name.0, Timeouts::default());
        let allowed = self.ledger.tried.get(&name).cloned().unwrap_or_default();
        match client.get(&text(name.1), &allowed).await {
            Ok((read, _)) if read == bytes => {}
            Ok(_) => self.world.checker.violate(format!(
                "I3: name {name:?} does not hold the content that was acknowledged"
            )),
            Err(error) => self
                .world
                .checker
                .violate(format!("liveness: acknowledged name {name:?} is not read: {error}")),
        }
        match client.put(&text(name.1), bytes).await {
            Ok(report) => {
                let placed = report.placed.len();
                let honest = self.world.honest().len();
                if placed < honest {
                    self.world.checker.violate(format!(
                        "liveness: name {name:?} is placed on {placed} of {honest} honest nodes"
                    ));
                }
            }
            Err(error) => self
                .world
                .checker
                .violate(format!("liveness: name {name:?} cannot be placed again: {error}")),
        }
    }

    /// Whatever became of a name, its owner can finish, end or delete it.
    async fn can_be_ended(&mut self, name: (u16, u8), tried: &[Vec<u8>]) {
        let client = self.world.client_on(500 + name.0, name.0, Timeouts::default());
        let Some(bytes) = tried.last().filter(|_| !self.ledger.acknowledged.contains_key(&name))
        else {
            return;
        };
        let options = DisperseOptions { cancel_unfinished: true, ..DisperseOptions::default() };
        match client.put_with(&text(name.1), bytes, &options).await {
            Ok(_) | Err(DisperseError::OtherContent { .. }) => {}
            Err(error) => {
                self.world.checker.violate(format!("liveness: name {name:?} is stuck: {error}"))
            }
        }
    }

    fn outcome(self) -> Outcome {
        // A disk that fails is for people to look at; anything else is ours.
        let disks_fail = self.plan.actions.iter().any(|(_, action)| {
            matches!(action, Action::Disk(..) | Action::Room(..) | Action::Rot(..))
        });
        for alarm in alarms::take() {
            if alarm.is_panic || !disks_fail {
                self.world.checker.violate(alarm.text);
            }
        }
        Outcome {
            violation: self.world.checker.violation(),
            hash: self.world.trace.hash(),
            counts: self.world.trace.counts(),
            millis: self.world.trace.millis(),
            committed: self.world.checker.committed_uploads(),
            lines: self.world.trace.lines(),
        }
    }
}

/// A liar: random in every frame, false in every chunk, or a parrot that votes for whatever it
/// hears of, towards all or some.
fn swarm_liar(world: &World, node: NodeId, seed: u64) -> Arc<Mutex<dyn Tap>> {
    let me = Identity::of(world, node);
    let mut random = Random::new(seed, "kind of liar");
    match random.below(4) {
        0 => {
            let bit = random.below(1 << 16);
            let lies = [ChunkLie::Foreign, ChunkLie::Stale, ChunkLie::Flip(bit), ChunkLie::Zero];
            shared(WrongChunks::new(random.pick(&lies).copied().unwrap_or(ChunkLie::Zero)))
        }
        1 => parrot(world, me, &mut random),
        _ => random_liar(me, seed),
    }
}

fn parrot(world: &World, me: Identity, random: &mut Random) -> Arc<Mutex<dyn Tap>> {
    let boldness = [
        Boldness::Certified,
        Boldness::ReadyWithoutEchoes,
        Boldness::ReadyWithFewEchoes,
        Boldness::Abort,
    ];
    let boldness = random.pick(&boldness).copied().unwrap_or(Boldness::Certified);
    let gang = Gang::new(&world.config, [me.node]);
    // Frames that go astray take the place of this ear: then it hears only what it says itself.
    world.network.tap_all(shared(gang.ear()));
    let parrot = shared(Parrot::new(me, gang, boldness));
    if random.chance(500_000) {
        return parrot;
    }
    let served = world.nodes().into_iter().filter(|_| random.chance(500_000));
    let served: Vec<_> = served.map(host_of).collect();
    shared(Chain(vec![parrot, shared(Selective::new(served))]))
}

fn text(name: u8) -> String {
    format!("name-{name}")
}

/// Operations without progress bars.
impl SimClient {
    async fn remove(&self, name: &str) -> Result<(), String> {
        let named = avid_types::ObjectName::new(name).expect("valid");
        let result = self.client.remove(&named).await;
        result.map(drop).map_err(|error| error.to_string())
    }

    async fn verify(&self, name: &str) -> Result<(), String> {
        let named = avid_types::ObjectName::new(name).expect("valid");
        let object = self.client.own(&named);
        let result = self.client.verify(&object, &Silent).await;
        result.map(drop).map_err(|error| error.to_string())
    }
}
