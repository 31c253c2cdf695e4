//! Worlds whose disks are watched, and small questions that all scenarios share.

use std::collections::BTreeSet;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use avid_protocol::statement::StatementKind;
use avid_protocol::vote::SignedVote;
use avid_protocol::wire::{Message, News};
use avid_store::disk::memory::{
    CrashChoice, DiskAdversary, MemoryDisk, Operation, OperationKind, Verdict,
};
use avid_types::{ClusterConfig, NodeId, ObjectName, UploadId};
use sim::alarms;
use sim::liar_node::message_of;
use sim::random::Random;
use sim::tap::{Frame, Tap, Way};
use sim::world::{Shape, World, host_of};

/// How often a power cut that is due is looked for.
const LOOK: Duration = Duration::from_millis(5);
/// How long a healthy cluster may take to vote again.
pub(crate) const RECOVERY: Duration = Duration::from_secs(60);

/// Whether the full product was asked for.
pub(crate) fn is_big() -> bool {
    std::env::var("AVID_TEST_BIG").is_ok_and(|value| value == "yes")
}

pub(crate) fn shape(m: u8, n: u8) -> Shape {
    Shape { m, n, chunk_bytes: 4096 }
}

/// Bytes nobody else wrote: two stripes, the second one short.
pub(crate) fn content(world: &World, number: u64) -> Vec<u8> {
    let stripe = world.config.params.m() * 4096;
    Random::new(world.seed, &format!("content {number}")).bytes(stripe + 777)
}

pub(crate) fn name(text: &str) -> ObjectName {
    ObjectName::new(text).unwrap()
}

/// Lets virtual time pass.
pub(crate) async fn pass(time: Duration) {
    drop(tokio::time::timeout(time, std::future::pending::<()>()).await);
}

/// Runs a scenario on a healthy cluster; fails on a violation and on a panic anywhere in it.
pub(crate) fn scenario<T>(
    seed: u64,
    shape: Shape,
    what: &str,
    play: impl AsyncFnOnce(&mut World) -> T,
) -> T {
    sim::runtime::run(seed, async {
        let guard = alarms::catch();
        let mut world = World::started(seed, shape, true).await;
        let result = play(&mut world).await;
        let lines = world.trace.lines();
        let panics: Vec<_> = alarms::take().into_iter().filter(|alarm| alarm.is_panic).collect();
        drop(guard);
        assert_eq!(world.checker.violation(), None, "{what}, seed {seed}: {lines:#?}");
        assert!(panics.is_empty(), "{what}, seed {seed}: {panics:#?}");
        result
    })
}

/// What a disk that loses its power means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Its node dies; unsynced changes go so.
    Node(CrashChoice),
    /// Every node of the site dies with it.
    Site(CrashChoice),
}

impl Cut {
    pub(crate) fn choice(self) -> CrashChoice {
        let (Self::Node(choice) | Self::Site(choice)) = self;
        choice
    }

    fn strike(self, world: &mut World) {
        let nodes = world.nodes();
        let is_down = |node: &NodeId| world.disk(*node).is_down();
        let down: Vec<_> = nodes.iter().copied().filter(is_down).collect();
        let dying = match self {
            Self::Node(_) => down,
            Self::Site(_) if down.is_empty() => down,
            Self::Site(_) => nodes,
        };
        for node in dying {
            world.kill(node, self.choice());
            world.disk(node).crash(self.choice());
        }
    }
}

/// Waits for `work`; meanwhile nodes whose disks lose their power die.
pub(crate) async fn with_power_cuts<T>(
    world: &mut World,
    cut: Cut,
    work: impl Future<Output = T>,
) -> T {
    tokio::pin!(work);
    let mut look = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            result = &mut work => return result,
            _ = look.tick() => cut.strike(world),
        }
    }
}

/// Files of an upload on a node's disk, finished or not.
pub(crate) fn files_of(world: &World, node: NodeId, upload: UploadId) -> Vec<PathBuf> {
    let hex = upload.to_string();
    let mut files = world.files(node);
    files.retain(|path| path.to_string_lossy().contains(&hex));
    files
}

/// Names of finished fragments on a node's disk.
pub(crate) fn fragments(world: &World, node: NodeId) -> Vec<PathBuf> {
    let mut files = world.files(node);
    files.retain(|path| is_fragment(path));
    files
}

pub(crate) fn is_fragment(path: &std::path::Path) -> bool {
    path.starts_with("fragments") && !path.starts_with("fragments/tmp")
}

/// Asserts that a node's word is kept: whenever it first says in a life that it holds a fragment,
/// the fragment would survive a power cut at that moment.
///
/// Rules: ECHO-1, HOLD-1; section 6 (23).
#[derive(Debug)]
pub(crate) struct Notary {
    config: Arc<ClusterConfig>,
    node: NodeId,
    disk: MemoryDisk,
    said: BTreeSet<(StatementKind, UploadId)>,
    /// Claims that were looked into.
    pub(crate) claims: usize,
    /// Claims without a durable fragment.
    pub(crate) empty: Vec<String>,
}

impl Notary {
    /// Watches everything a node sends.
    pub(crate) fn watch(world: &World, node: NodeId) -> Arc<Mutex<Self>> {
        let notary = Arc::new(Mutex::new(Self {
            config: Arc::clone(&world.config),
            node,
            disk: world.disk(node),
            said: BTreeSet::new(),
            claims: 0,
            empty: Vec::new(),
        }));
        let tap: Arc<Mutex<dyn Tap>> = Arc::<Mutex<Self>>::clone(&notary);
        world.network.tap(host_of(node), tap);
        notary
    }

    /// The node lives again and must stand by its word anew.
    pub(crate) fn new_life(&mut self) {
        self.said.clear();
    }

    fn look_into(&mut self, votes: &[&SignedVote]) {
        let aborts = votes.iter().any(|vote| vote.statement.kind == StatementKind::Abort);
        for vote in votes {
            let statement = vote.statement;
            let claims = match statement.kind {
                StatementKind::Hold | StatementKind::HoldNow => true,
                // An ECHO stays on record when its fragment was given up with an ABORT.
                StatementKind::Echo => !aborts,
                _ => false,
            };
            let slot = self.config.slot_of(statement.upload, self.node);
            if !claims || slot != Some(statement.slot) {
                continue;
            }
            if self.said.insert((statement.kind, statement.upload)) {
                self.claims += 1;
                if !self.is_durable(statement.upload) {
                    self.empty.push(format!("{} for {}", statement.kind, statement.upload));
                }
            }
        }
    }

    fn is_durable(&self, upload: UploadId) -> bool {
        let after_power_cut = self.disk.duplicate();
        after_power_cut.crash(CrashChoice::DropAll);
        let hex = upload.to_string();
        let files = after_power_cut.files();
        let mut fragments = files.iter().filter(|(path, _)| is_fragment(path));
        fragments.any(|(path, _)| path.to_string_lossy().contains(&hex))
    }
}

impl Tap for Notary {
    fn on_frame(&mut self, _: Way, frame: Frame, wire: &mut Vec<Frame>) {
        match message_of(&frame) {
            Some(Message::Vote { vote, .. }) => self.look_into(&[&vote]),
            Some(Message::News { news: News::Votes { votes, .. }, .. }) => {
                self.look_into(&votes.iter().collect::<Vec<_>>());
            }
            _ => {}
        }
        wire.push(frame);
    }
}

/// Changes of stored state as they happen: what each one is.
#[derive(Debug, Default)]
pub(crate) struct Recorder(Arc<Mutex<Vec<Change>>>);

/// One change of stored state.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) kind: OperationKind,
    /// Where it ends up.
    pub(crate) path: PathBuf,
}

impl Recorder {
    /// Records a disk from now on.
    pub(crate) fn of(disk: &MemoryDisk) -> Arc<Mutex<Vec<Change>>> {
        let recorder = Self::default();
        let changes = Arc::clone(&recorder.0);
        disk.set_adversary(Some(Box::new(recorder)));
        changes
    }
}

impl DiskAdversary for Recorder {
    fn at(&mut self, operation: &Operation<'_>) -> Verdict {
        if operation.kind.is_change() {
            let path = operation.target.unwrap_or(operation.path).to_path_buf();
            self.0.lock().unwrap().push(Change { kind: operation.kind, path });
        }
        Verdict::Go
    }
}

/// Prints what was covered: figures of docs/TESTING.md.
#[expect(clippy::print_stdout, reason = "shown with --nocapture")]
pub(crate) fn report(
    what: &str,
    shape: Shape,
    points: u64,
    runs: u64,
    started: std::time::Instant,
) {
    let Shape { m, n, .. } = shape;
    let seconds = started.elapsed().as_secs_f32();
    println!("{what} in {m}-of-{n}: {points} points, {runs} runs, {seconds:.1} s");
}
