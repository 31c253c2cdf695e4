//! Everything that was ever said, said again where it does not belong: scenario 40.

use std::sync::Arc;
use std::time::Duration;

use avid_types::{ClusterConfig, Epoch, GroupId, NodeId};
use sim::checker::Checker;
use sim::liar_node::frames::{Recorder, recorder};
use sim::liar_node::impostor::replay;
use sim::world::{Shape, World, cluster_config};

use crate::setup::{content, expect_read, name, pass, place};

const SHAPE: Shape = Shape { m: 3, n: 5, chunk_bytes: 4096 };

/// A life with everything in it, recorded.
async fn record(world: &World, seed: u64, names: &[String]) -> Recorder {
    let tape = recorder();
    world.network.tap_all(tape.clone());
    for (number, text) in (0..).zip(names) {
        let written = content(seed + number, SHAPE);
        place(world, 1, text, &written).await;
        expect_read(world, text, &written).await;
        let client = world.client(1).client;
        client.stat(&client.own(&name(text))).await.unwrap();
    }
    let client = world.client(1).client;
    client.list(client.owner(), "", None, 10).await.unwrap();
    client.remove(&name(&names[0])).await.unwrap();
    place(world, 1, &names[0], &content(seed + 100, SHAPE)).await;
    world.network.untap();
    let mut tape = tape.lock().unwrap();
    std::mem::take(&mut *tape)
}

/// What changes when a node's state changes.
fn state(world: &World) -> [u64; 3] {
    let counts = world.trace.counts();
    ["record", "sign", "drop fragment"].map(|what| counts.get(what).copied().unwrap_or(0))
}

fn files(world: &World) -> usize {
    world.nodes().into_iter().map(|node| crate::setup::fragments(world, node).len()).sum()
}

/// A world of another configuration with the same keys.
async fn other_world(seed: u64, config: ClusterConfig) -> World {
    let machines = u8::try_from(config.members.len()).unwrap();
    let mut world = World::new(seed, Shape { n: machines, ..SHAPE }, false);
    world.config = Arc::new(config);
    world.checker = Checker::new(Arc::clone(&world.config), world.trace.clone());
    for node in world.nodes() {
        world.start(node).await.unwrap();
    }
    assert!(world.all_vote(Duration::from_secs(60)).await);
    world
}

fn replayed_into(seed: u64, config: impl Fn(ClusterConfig) -> ClusterConfig, names: &[String]) {
    let tape = sim::runtime::run(seed, async {
        let world = World::started(seed, SHAPE, false).await;
        record(&world, seed, names).await
    });
    assert!(tape.frames.len() > 200, "{} frames", tape.frames.len());
    sim::runtime::run(seed + 1, async {
        let world = other_world(seed + 1, config(cluster_config(SHAPE, 7))).await;
        let before = (state(&world), files(&world));
        let let_in = replay(&world, &tape).await;
        pass(Duration::from_secs(30)).await;
        assert!(let_in > 0, "nobody listened");
        assert_eq!((state(&world), files(&world)), before, "a replay changed something");
        assert_eq!(world.checker.violation(), None);
        // It is no use to anybody, and harms nobody: the same names can be written here.
        let written = content(seed, SHAPE);
        place(&world, 1, &names[0], &written).await;
        expect_read(&world, &names[0], &written).await;
        assert_eq!(world.checker.violation(), None);
    });
}

fn two_names() -> Vec<String> {
    vec!["a".to_owned(), "b".to_owned()]
}

/// Spec: docs/protocol.md section 6 (40), SIGN-1: another cluster with the same keys.
#[test]
fn a_recording_changes_nothing_in_another_cluster() {
    let other = |_| cluster_config(SHAPE, 8);
    replayed_into(4000, other, &two_names());
}

/// Spec: docs/protocol.md section 6 (40), SIGN-1: another epoch of the same cluster.
#[test]
fn a_recording_changes_nothing_in_another_epoch() {
    let other = |config| ClusterConfig { epoch: Epoch(1), ..config };
    replayed_into(4010, other, &two_names());
}

/// Spec: docs/protocol.md section 6 (40), SIGN-1, GROUP-1: another placement group of the cluster.
#[test]
fn a_recording_changes_nothing_in_another_placement_group() {
    // Ten members in two groups; the recorded ones are the second group there.
    let grouped = |config: ClusterConfig| {
        let ten = cluster_config(Shape { n: 10, ..SHAPE }, 7);
        let group = |first: u16| (first..first + 5).map(NodeId).collect();
        ClusterConfig { members: ten.members, groups: vec![group(5), group(0)], ..config }
    };
    let there = grouped(cluster_config(SHAPE, 7));
    // Names whose every generation written lives in the other group there.
    let owner = sim::world::client_key(1).public();
    let is_elsewhere = |text: &String| {
        (0..2).all(|generation| {
            let generation = avid_types::Generation(generation);
            let object = avid_protocol::object::ObjectId { owner, name: name(text), generation };
            there.placement(object.upload(&there)).group != GroupId(0)
        })
    };
    let names: Vec<String> =
        (0..).map(|number| format!("n{number}")).filter(is_elsewhere).take(2).collect();
    replayed_into(4020, grouped, &names);
}

/// Spec: docs/protocol.md section 6 (40), section 5.3: what is settled stays as it is when all of it
/// is said once more, a deletion and a life after it included.
#[test]
fn a_recording_changes_nothing_where_it_was_made() {
    let seed = 4030;
    sim::runtime::run(seed, async {
        let world = World::started(seed, SHAPE, false).await;
        let tape = record(&world, seed, &two_names()).await;
        pass(Duration::from_secs(10)).await;
        let [records, _, dropped] = state(&world);
        let kept = files(&world);
        let let_in = replay(&world, &tape).await;
        pass(Duration::from_secs(30)).await;
        assert!(let_in > 0, "nobody listened");
        // Old promises are signed again for whoever asks; nothing new is recorded.
        let [records_after, _, dropped_after] = state(&world);
        assert_eq!((records_after, files(&world)), (records, kept));
        assert!(dropped_after >= dropped);
        expect_read(&world, "a", &content(seed + 100, SHAPE)).await;
        expect_read(&world, "b", &content(seed + 1, SHAPE)).await;
        assert_eq!(world.checker.violation(), None);
    });
}
