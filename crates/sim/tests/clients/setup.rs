//! Worlds with a liar in them and an honest client beside it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use avid_protocol::statement::StatementKind;
use avid_protocol::wire::RefusalCode;
use avid_types::{NodeId, UploadId};
use sim::liar_client::play::Heard;
use sim::liar_client::{LiarClient, Surroundings};
use sim::random::Random;
use sim::world::{Shape, SimClient, World};
use tokio::task::JoinHandle;

/// Client number of the liar.
pub(super) const LIAR: u16 = 9;
/// Client number of the honest client beside it.
pub(super) const BYSTANDER: u16 = 1;

/// Runs a scenario on a healthy 3-of-5 cluster for each seed, with an honest client that writes
/// and reads from before it until after it, and asserts that nothing was violated.
pub(super) fn scenario(
    seeds: impl IntoIterator<Item = u64>,
    play: impl AsyncFn(&mut World, &LiarClient),
) {
    for seed in seeds {
        sim::runtime::run(seed, async {
            let mut world = World::started(seed, Shape::default(), true).await;
            let liar = LiarClient::new(&Surroundings::of(&world), LIAR);
            let bystander = Bystander::start(&world);
            play(&mut world, &liar).await;
            let written = bystander.stop().await;
            assert!(written > 0, "seed {seed}: the bystander wrote nothing");
            let violation = world.checker.violation();
            assert_eq!(violation, None, "seed {seed}: {:#?}", world.trace.lines());
        });
    }
}

/// An honest client at work: writes an object, reads it, and at the end reads all of them again.
pub(super) struct Bystander {
    work: JoinHandle<usize>,
    is_over: Arc<AtomicBool>,
}

impl Bystander {
    pub(super) fn start(world: &World) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let client = world.client(BYSTANDER);
        let work = tokio::spawn(stand_by(client, world.seed, Arc::clone(&is_over)));
        Self { work, is_over }
    }

    /// How many objects it wrote and read twice.
    pub(super) async fn stop(self) -> usize {
        self.is_over.store(true, Ordering::SeqCst);
        self.work.await.unwrap()
    }
}

async fn stand_by(client: SimClient, seed: u64, is_over: Arc<AtomicBool>) -> usize {
    let mut random = Random::new(seed, "bystander");
    let mut written = Vec::new();
    loop {
        let name = format!("honest {}", written.len());
        let len = usize::try_from(random.between(0, 30_000)).unwrap();
        let bytes = random.bytes(len);
        client.put(&name, &bytes).await.unwrap();
        client.get(&name, std::slice::from_ref(&bytes)).await.unwrap();
        written.push((name, bytes));
        if is_over.load(Ordering::SeqCst) {
            break;
        }
        pass(Duration::from_secs(random.between(1, 10))).await;
    }
    for (name, bytes) in &written {
        client.get(name, std::slice::from_ref(bytes)).await.unwrap();
    }
    written.len()
}

/// Lets virtual time pass.
pub(super) async fn pass(time: Duration) {
    drop(tokio::time::timeout(time, std::future::pending::<()>()).await);
}

/// Waits until something holds.
pub(super) async fn eventually(what: &str, limit: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + limit;
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        pass(Duration::from_millis(200)).await;
    }
}

/// Bytes of an object that no test wrote before.
pub(super) fn content(seed: u64, len: usize) -> Vec<u8> {
    Random::new(seed, "content").bytes(len)
}

/// Nodes by number.
pub(super) fn nodes(numbers: impl IntoIterator<Item = u16>) -> Vec<NodeId> {
    numbers.into_iter().map(NodeId).collect()
}

/// The node of each slot of an upload, in order of slots.
pub(super) fn by_slot(world: &World, upload: UploadId) -> Vec<NodeId> {
    let slots = world.config.params.slots();
    slots.map(|slot| world.config.node_at(upload, slot).unwrap()).collect()
}

/// Nodes that voted so.
pub(super) fn voted(heard: &[(NodeId, Heard)], kind: StatementKind) -> Vec<NodeId> {
    let voted = heard.iter().filter(|(_, heard)| heard.has_voted(kind));
    voted.map(|(node, _)| *node).collect()
}

/// Nodes that refused, with their codes.
pub(super) fn refused(heard: &[(NodeId, Heard)]) -> Vec<(NodeId, RefusalCode)> {
    heard.iter().filter_map(|(node, heard)| Some((*node, heard.refusal()?))).collect()
}

/// Fragments of an upload on a node's disk, finished or not.
pub(super) fn fragments_of(world: &World, node: NodeId, upload: UploadId) -> usize {
    let hex = upload.to_string();
    let files = world.files(node);
    files.iter().filter(|path| path.to_string_lossy().contains(&hex)).count()
}

/// Bytes of fragments on a node's disk, finished or not: everything but journal and index.
pub(super) fn fragment_bytes(world: &World, node: NodeId) -> u64 {
    let files = world.disk(node).files();
    let is_fragment = |path: &Path| path.to_string_lossy().contains("frag");
    files.iter().filter(|(path, _)| is_fragment(path)).map(|(_, bytes)| bytes).sum()
}

/// One number of a node's status.
pub(super) async fn status(world: &World, node: NodeId, field: &str) -> u64 {
    let statuses = world.client(999).client.status().await;
    let status = statuses.into_iter().find(|status| status.node == node).unwrap();
    let json: serde_json::Value = serde_json::from_str(&status.status.unwrap()).unwrap();
    json[field].as_u64().unwrap()
}
