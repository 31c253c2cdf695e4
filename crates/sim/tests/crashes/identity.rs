//! Scenario 30 and AMNESIA-1: disks that are empty, old, or in two machines at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use avid_client::{Client, ClientConfig, DisperseOptions, Silent, Source, Timeouts};
use avid_net::Host;
use avid_node::{Node, NodeConfig};
use avid_store::disk::memory::{CrashChoice, MemoryDisk};
use bytes::Bytes;
use sim::host::SimHost;
use sim::network::HostId;
use sim::random::Random;
use sim::world::{World, client_key, grant, transport_key, vote_key};

use crate::operations::{VICTIM, place};
use crate::setup::{content, name, pass, scenario, shape};

/// The machine of the second process of a node.
const TWIN: HostId = HostId(600);

async fn status(world: &World) -> serde_json::Value {
    let statuses = world.client(3).client.status().await;
    let status = statuses.into_iter().find(|status| status.node == VICTIM).unwrap();
    serde_json::from_str(&status.status.unwrap()).unwrap()
}

/// The victim is up, says that it forgot votes, and serves what it has.
async fn check_amnesiac(world: &mut World, objects: &[(&str, Vec<u8>)]) {
    pass(Duration::from_secs(30)).await;
    let status = status(world).await;
    assert_eq!(status["voting"], false, "{status}");
    let why = status["not_voting_because"].as_str().unwrap();
    assert!(why.contains("forgotten votes"), "{why}");
    // Writes need four votes of five and get them from the others; fills are taken.
    let new = content(world, 9);
    let report = world.client(1).put("new", &new).await.unwrap();
    assert!(report.placed.len() >= 4, "{:?}", report.placed);
    place(world, "new", &new, "with an amnesiac").await;
    for (text, bytes) in objects {
        place(world, text, bytes, "filled").await;
    }
    let others = world.nodes().into_iter().filter(|node| *node != VICTIM);
    for node in others.take(2).collect::<Vec<_>>() {
        world.kill(node, CrashChoice::DropAll);
    }
    for (text, bytes) in objects.iter().chain([&("new", new)]) {
        let (read, _) = world.client(1).get(text, std::slice::from_ref(bytes)).await.unwrap();
        assert!(read == *bytes, "{text}: served by the amnesiac and two others");
    }
}

/// Spec: docs/protocol.md AMNESIA-1, section 6 (30).
#[test]
fn a_node_with_an_empty_disk_does_not_vote_and_can_be_filled_and_read() {
    for seed in 3050..3053 {
        scenario(seed, shape(3, 5), "empty disk", async |world| {
            let old = content(world, 1);
            place(world, "old", &old, "before").await;
            pass(Duration::from_secs(15)).await;
            world.checker.set_dishonest(VICTIM);
            world.replace_disk(VICTIM, MemoryDisk::new());
            world.start(VICTIM).await.unwrap();
            check_amnesiac(world, &[("old", old)]).await;
        });
    }
}

/// Spec: docs/protocol.md AMNESIA-1, section 6 (30).
#[test]
fn a_node_with_an_old_copy_of_its_disk_does_not_vote_and_serves_what_it_has() {
    for seed in 3060..3063 {
        scenario(seed, shape(3, 5), "old disk", async |world| {
            let (old, later) = (content(world, 1), content(world, 2));
            place(world, "old", &old, "before").await;
            let image = world.disk(VICTIM).duplicate();
            place(world, "later", &later, "after the copy").await;
            pass(Duration::from_secs(15)).await;
            world.checker.set_dishonest(VICTIM);
            world.kill(VICTIM, CrashChoice::KeepAll);
            world.disk(VICTIM).restore(&image);
            world.start(VICTIM).await.unwrap();
            check_amnesiac(world, &[("old", old), ("later", later)]).await;
        });
    }
}

/// A second process with the victim's keys, on a copy of its disk, in another machine.
async fn start_twin(world: &World) -> (Arc<SimHost>, Node) {
    let disk = world.disk(VICTIM).duplicate();
    let host = Arc::new(host_of(world, TWIN));
    let as_host: Host = host.clone();
    let config = NodeConfig {
        disk: Arc::new(disk.mount()),
        host: as_host,
        observer: Some(Arc::new(world.checker.clone())),
        listen: vec![TWIN.address().to_string()],
        cluster: Arc::clone(&world.config),
        node: VICTIM,
        vote_key: vote_key(VICTIM),
        transport_key: transport_key(VICTIM),
    };
    (host, Node::start(config).await.unwrap())
}

fn host_of(world: &World, id: HostId) -> SimHost {
    let random = Random::new(world.seed, &format!("machine {id:?}"));
    let elapsed = Duration::from_millis(world.trace.millis());
    let start = tokio::time::Instant::now() - elapsed;
    SimHost::new(id, world.network.clone(), start, Arc::default(), random)
}

/// The same owner on another machine, who finds the twin where the node should be.
fn misled_client(world: &World) -> Client {
    let key = client_key(1);
    Client::new(ClientConfig {
        cluster: Arc::clone(&world.config),
        grant: Some(grant(&world.config, &key)),
        key,
        addresses: BTreeMap::from([(VICTIM, TWIN.address().to_string())]),
        timeouts: Timeouts::default(),
        host: Arc::new(host_of(world, HostId(1700))),
    })
}

/// Spec: docs/protocol.md AMNESIA-1, section 6 (30): the two may vote differently, as one liar can,
/// and one liar is within the bound.
#[test]
fn two_processes_with_one_identity_never_lead_to_two_commits() {
    for seed in 3070..3078 {
        scenario(seed, shape(3, 5), "twin", async |world| {
            let old = content(world, 1);
            place(world, "old", &old, "before").await;
            world.checker.set_dishonest(VICTIM);
            let (_host, _twin) = start_twin(world).await;
            pass(Duration::from_millis(seed % 4 * 700)).await;
            let (client, misled) = (world.client(1), misled_client(world));
            for number in 0..4 {
                let text = format!("raced {number}");
                let contents = [content(world, 10 + number), content(world, 20 + number)];
                let other = Source::bytes(Bytes::copy_from_slice(&contents[1]));
                let (named, options) = (name(&text), options());
                let (first, second) = tokio::join!(
                    client.put_with(&text, &contents[0], &options),
                    misled.disperse(&named, other, &options, &Silent),
                );
                if let (Ok(first), Ok(second)) = (&first, &second) {
                    let same =
                        (first.upload, first.commitment) == (second.upload, second.commitment);
                    let apart = first.generation != second.generation;
                    assert!(same || apart, "seed {seed}: two commits of {text}");
                }
                if first.is_ok() || second.is_ok() {
                    client.get(&text, &contents).await.unwrap();
                }
            }
            client.get("old", &[old]).await.unwrap();
        });
    }
}

/// Spec: docs/protocol.md AMNESIA-1: whoever of the two starts again is found out.
#[test]
fn a_node_whose_twin_has_lived_longer_does_not_vote_after_a_restart() {
    scenario(3080, shape(3, 5), "twin lived longer", async |world| {
        place(world, "old", &content(world, 1), "before").await;
        world.checker.set_dishonest(VICTIM);
        let (host, twin) = start_twin(world).await;
        pass(Duration::from_secs(30)).await;
        place(world, "later", &content(world, 2), "with a twin").await;
        host.kill();
        drop(twin);
        world.kill(VICTIM, CrashChoice::DropAll);
        world.start(VICTIM).await.unwrap();
        pass(Duration::from_secs(30)).await;
        let status = status(world).await;
        assert_eq!(status["voting"], false, "{status}");
    });
}

fn options() -> DisperseOptions {
    DisperseOptions { placement_timeout: Duration::from_secs(1), ..DisperseOptions::default() }
}
