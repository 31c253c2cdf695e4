//! Worlds, contents and small questions that all scenarios share.

use std::collections::BTreeSet;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use avid_client::{
    DisperseError, DisperseOptions, DisperseReport, RetrieveError, RetrieveErrorKind,
    RetrieveReport, Silent as NoProgress, SlotHealth,
};
use avid_types::{NodeId, ObjectName, Params, Slot, UploadId};
use sim::random::Random;
use sim::tap::Tap;
use sim::world::{Shape, World, host_of};

/// Section 1.5: the profiles every threshold is shown for.
pub(super) const PROFILES: [(u8, u8); 6] = [(3, 5), (4, 6), (2, 4), (4, 7), (8, 12), (10, 16)];

pub(super) fn shape(m: u8, n: u8) -> Shape {
    Shape { m, n, chunk_bytes: 4096 }
}

pub(super) fn params(world: &World) -> Params {
    world.config.params
}

/// Runs a scenario on a healthy cluster and asserts that nothing was violated.
pub(super) fn scenario<T, F: Future<Output = (World, T)>>(
    seed: u64,
    shape: Shape,
    play: impl FnOnce(World) -> F,
) -> T {
    let (violation, lines, result) = sim::runtime::run(seed, async move {
        let (world, result) = play(World::started(seed, shape, true).await).await;
        (world.checker.violation(), world.trace.lines(), result)
    });
    assert_eq!(violation, None, "seed {seed}, {shape:?}: {lines:#?}");
    result
}

/// As [`scenario`], beyond the bound of liars: returns what was violated.
pub(super) fn beyond<T, F: Future<Output = (World, T)>>(
    seed: u64,
    shape: Shape,
    play: impl FnOnce(World) -> F,
) -> (Option<String>, T) {
    sim::runtime::run(seed, async move {
        let world = World::started(seed, shape, true).await;
        world.checker.expect_bound_exceeded();
        let (world, result) = play(world).await;
        (world.checker.violation(), result)
    })
}

/// Bytes nobody else wrote: a few stripes with a short last one.
pub(super) fn content(seed: u64, shape: Shape) -> Vec<u8> {
    let stripe = u64::from(shape.chunk_bytes) * u64::from(shape.m);
    let mut random = Random::new(seed, "content");
    random.bytes(usize::try_from(2 * stripe + 777).unwrap())
}

/// Lets virtual time pass.
pub(super) async fn pass(time: Duration) {
    drop(tokio::time::timeout(time, std::future::pending::<()>()).await);
}

/// How to write without waiting for nodes that are away.
pub(super) fn briefly() -> DisperseOptions {
    DisperseOptions { placement_timeout: Duration::from_secs(1), ..DisperseOptions::default() }
}

/// Writes and expects every fragment to be placed.
pub(super) async fn place(world: &World, client: u16, name: &str, bytes: &[u8]) -> DisperseReport {
    let report = world.client(client).put(name, bytes).await.unwrap();
    assert_eq!(report.placed.len(), params(world).n(), "{:?}", report.faults);
    report
}

/// Reads with a client that has met nobody yet, so that it has no opinion of any node.
pub(super) async fn read(
    world: &World,
    name: &str,
    written: &[u8],
) -> Result<(Vec<u8>, RetrieveReport), RetrieveError> {
    world.client(1).get(name, &[written.to_vec()]).await
}

/// Reads and expects the bytes.
pub(super) async fn expect_read(world: &World, name: &str, written: &[u8]) -> RetrieveReport {
    match read(world, name, written).await {
        Ok((bytes, report)) => {
            assert!(bytes == written, "{name}: other bytes");
            report
        }
        Err(error) => panic!("{name}: {error}\n{:#?}", world.trace.lines()),
    }
}

/// Reads and expects the clean failure of an object with too few fragments; returns how many good
/// ones there were.
pub(super) async fn expect_unavailable(world: &World, name: &str, written: &[u8]) -> usize {
    let Err(error) = read(world, name, written).await else { panic!("{name} was readable") };
    let RetrieveErrorKind::TooFewChunks { good, needed, .. } = error.kind else {
        panic!("{name}: {error}");
    };
    assert_eq!((error.bytes_good, needed), (0, params(world).m()), "nothing came before");
    good
}

/// Expects a write to fail for want of nodes, with nothing committed anywhere.
pub(super) fn expect_blocked(world: &World, result: Result<DisperseReport, DisperseError>) {
    match result {
        Err(DisperseError::NotEnoughNodes { able, needed, .. }) => {
            assert!(able < needed);
            assert!([params(world).echo_quorum(), params(world).answer_quorum()].contains(&needed));
        }
        Err(DisperseError::NotCommitted { .. }) => {}
        other => panic!("not blocked: {other:?}"),
    }
    assert_eq!(world.checker.committed_uploads(), 0, "no partial commit");
}

pub(super) fn node_of(world: &World, upload: UploadId, slot: u8) -> NodeId {
    world.config.node_at(upload, Slot(slot)).unwrap()
}

pub(super) fn last_nodes(world: &World, count: usize) -> Vec<NodeId> {
    let nodes = world.nodes();
    nodes[nodes.len() - count..].to_vec()
}

pub(super) fn name(text: &str) -> ObjectName {
    ObjectName::new(text).unwrap()
}

/// What an audit says of each node's fragment, as (good, missing, corrupt, unreachable).
pub(super) async fn audit(world: &World, text: &str) -> [BTreeSet<NodeId>; 4] {
    let client = world.client(1).client;
    let report = client.verify(&client.own(&name(text)), &NoProgress).await.unwrap();
    let mut found: [BTreeSet<NodeId>; 4] = Default::default();
    for slot in report.slots {
        let place = match slot.health {
            SlotHealth::Good => 0,
            SlotHealth::Missing => 1,
            SlotHealth::Corrupt { .. } => 2,
            SlotHealth::Unreachable { .. } => 3,
        };
        found[place].insert(slot.node);
    }
    found
}

/// The files of fragments on a node's disk, finished ones only.
pub(super) fn fragments(world: &World, node: NodeId) -> Vec<PathBuf> {
    let is_whole = |path: &PathBuf| {
        let text = path.to_string_lossy();
        text.contains("fragments") && !text.contains("tmp")
    };
    world.files(node).into_iter().filter(is_whole).collect()
}

/// Puts a tap behind a node without calling it a liar: what it does breaks no promise to others.
pub(super) fn tap<T: Tap + 'static>(world: &World, node: NodeId, adversary: T) -> Arc<Mutex<T>> {
    let shared = sim::liar_node::shared(adversary);
    let tap: Arc<Mutex<dyn Tap>> = Arc::<Mutex<T>>::clone(&shared);
    world.network.tap(host_of(node), tap);
    shared
}

/// Makes a node a liar.
pub(super) fn lie<T: Tap + 'static>(world: &World, node: NodeId, adversary: T) -> Arc<Mutex<T>> {
    world.checker.set_dishonest(node);
    tap(world, node, adversary)
}

/// All ways to take `size` of `entries`.
pub(super) fn subsets<T: Copy>(entries: &[T], size: usize) -> Vec<Vec<T>> {
    if size == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (place, first) in entries.iter().enumerate() {
        for mut rest in subsets(&entries[place + 1..], size - 1) {
            rest.insert(0, *first);
            all.push(rest);
        }
    }
    all
}

/// Some ways to take `size` of `entries`: all of them for groups of up to 7.
pub(super) fn some_subsets(
    seed: u64,
    entries: &[NodeId],
    size: usize,
    most: usize,
) -> Vec<Vec<NodeId>> {
    if entries.len() <= 7 {
        return subsets(entries, size);
    }
    let mut random = Random::new(seed, "subsets");
    let draw = |_| {
        let mut left = entries.to_vec();
        (0..size).map(|_| left.swap_remove(random.index(left.len()))).collect()
    };
    (0..most).map(draw).collect()
}
