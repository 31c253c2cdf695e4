//! Fragments that a crash leaves between their rename and their record.

use avid_store::disk::memory::{CrashChoice, Fault, OperationKind};
use avid_types::NodeId;
use sim::world::World;

use crate::operations::{Operation, VICTIM, place};
use crate::setup::{
    Cut, RECOVERY, Recorder, content, fragments, is_fragment, name, scenario, shape,
};

const SEED: u64 = 2390;

/// The change of a node's disk, counted from the begin of a dispersal, that comes right after its
/// fragment is durable under its final name; nothing tells of it yet.
fn after_rename(node: NodeId) -> u64 {
    scenario(SEED, shape(3, 5), "healthy", async |world| {
        let changes = Recorder::of(&world.disk(node));
        world.client(1).put("new", &content(world, 2)).await.unwrap();
        let changes = changes.lock().unwrap();
        let is_rename = |kind| kind == OperationKind::Rename;
        let renamed = changes.iter().position(|c| is_rename(c.kind) && is_fragment(&c.path));
        let renamed = renamed.expect("a dispersal renames a fragment into place");
        let after = &changes[renamed + 1..];
        let synced = after.iter().position(|c| c.kind == OperationKind::SyncDir).unwrap();
        (renamed + 1 + synced + 1) as u64
    })
}

fn cut_off(world: &World, node: NodeId, at: u64) {
    let disk = world.disk(node);
    disk.fail_at(disk.operations() + at, Fault::Crash);
}

/// Spec: docs/protocol.md section 6 (23), ECHO-1: the object is committed without this node.
#[test]
fn a_fragment_without_a_record_is_gone_after_a_restart_and_the_next_put_brings_it_again() {
    let at = after_rename(VICTIM);
    scenario(SEED, shape(3, 5), "orphan at one node", async |world| {
        let bytes = content(world, 2);
        cut_off(world, VICTIM, at);
        let cut = Cut::Node(CrashChoice::DropAll);
        Operation::Disperse.run(world, cut).await.unwrap();
        assert_eq!(fragments(world, VICTIM).len(), 1, "the crash left an orphan");
        world.start(VICTIM).await.unwrap();
        assert_eq!(fragments(world, VICTIM).len(), 0, "the orphan is swept at the start");
        assert!(world.all_vote(RECOVERY).await);
        place(world, "new", &bytes, "filled").await;
        world.kill(VICTIM, CrashChoice::DropAll);
        world.start(VICTIM).await.unwrap();
        assert_eq!(fragments(world, VICTIM).len(), 1, "a recorded fragment stays");
    });
}

/// Spec: docs/protocol.md section 6 (23), WRITE-1: nobody has a record, so nothing was promised.
#[test]
fn a_site_of_fragments_without_records_is_swept_and_the_dispersal_begins_again() {
    let points: Vec<_> = (0..5).map(NodeId).map(|node| (node, after_rename(node))).collect();
    scenario(SEED, shape(3, 5), "orphans everywhere", async |world| {
        let bytes = content(world, 2);
        for (node, at) in &points {
            cut_off(world, *node, *at);
        }
        let told = Operation::Disperse.run(world, Cut::Node(CrashChoice::DropAll)).await;
        assert!(told.is_err(), "nothing can be acknowledged");
        for node in world.nodes() {
            assert_eq!(fragments(world, node).len(), 1, "the crash left an orphan at {node}");
        }
        for node in world.nodes() {
            world.start(node).await.unwrap();
            assert_eq!(fragments(world, node).len(), 0, "the orphan at {node} is swept");
        }
        assert!(world.all_vote(RECOVERY).await);
        place(world, "new", &bytes, "resumed").await;
    });
}

/// Spec: docs/protocol.md section 6 (23), DELETE-1: the tombstone is durable, the file is still there.
#[test]
fn a_fragment_that_outlived_its_tombstone_is_gone_after_a_restart() {
    let removed = scenario(SEED, shape(3, 5), "healthy", async |world| {
        place(world, "new", &content(world, 2), "before").await;
        let changes = Recorder::of(&world.disk(VICTIM));
        world.client(1).client.remove(&name("new")).await.unwrap();
        let changes = changes.lock().unwrap();
        let removed = changes.iter().position(|c| c.kind == OperationKind::Remove);
        removed.expect("a deletion removes the file") as u64
    });
    scenario(SEED, shape(3, 5), "tombstone", async |world| {
        place(world, "new", &content(world, 2), "before").await;
        cut_off(world, VICTIM, removed);
        let cut = Cut::Node(CrashChoice::DropAll);
        Operation::Delete.run(world, cut).await.unwrap();
        assert_eq!(fragments(world, VICTIM).len(), 1, "the crash left the file");
        world.start(VICTIM).await.unwrap();
        assert_eq!(fragments(world, VICTIM).len(), 0, "and the start removes it");
    });
}
