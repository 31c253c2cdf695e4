//! Nodes that cannot take part yet, against scripted peers: writes wait for them, within limits.

use std::io::Cursor;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::common::{CHUNK, World, bytes_of, name, soon};
use avid_client::{
    Client, DisperseError, DisperseOptions, DisperseReport, FaultKind, OrderError,
    RetrieveErrorKind, Silent, Source, Timeouts,
};
use avid_protocol::wire::{RefusalCode, kind};

/// Longer than [`soon`] allows: whoever waits this long fails.
const FOREVER: Duration = Duration::from_secs(3600);
const ALWAYS: u32 = u32::MAX;

fn client(world: &World, not_ready: Duration, not_listening: Duration) -> Client {
    world.client_with(Timeouts { not_ready, not_listening, ..Timeouts::default() })
}

fn patient(world: &World) -> Client {
    client(world, FOREVER, FOREVER)
}

async fn put(client: &Client, bytes: &[u8]) -> Result<DisperseReport, DisperseError> {
    let source = Source::reader(Box::new(Cursor::new(bytes.to_vec())));
    let options = DisperseOptions { placement_timeout: FOREVER, ..DisperseOptions::default() };
    soon(client.disperse(&name("x"), source, &options, &Silent)).await
}

fn all_refuse(world: &Arc<World>, kind: u8, code: RefusalCode, times: u32) {
    for node in world.nodes() {
        world.refuse(node, kind, code, times);
    }
}

#[tokio::test]
async fn a_write_waits_until_nodes_can_vote() {
    for code in [RefusalCode::Unavailable, RefusalCode::Busy] {
        for kind in [kind::HEAD, kind::OPEN] {
            let world = World::start(3, 5);
            all_refuse(&world, kind, code, 2);
            let report = put(&patient(&world), &bytes_of(20 * CHUNK)).await.unwrap();
            assert_eq!(report.placed.len(), 5, "{:?}", report.faults);
            for node in world.nodes() {
                // The fourth HEAD to be answered ends the asking.
                let refused = world.refused(node);
                assert!(refused == 2 || (kind == kind::HEAD && refused > 0), "{node}: {refused}");
            }
        }
    }
}

#[tokio::test]
async fn a_write_that_waited_in_vain_says_what_the_nodes_said() {
    let world = World::start(3, 5);
    for slot in [1, 4] {
        world.refuse(world.node_at("x", slot), kind::OPEN, RefusalCode::Unavailable, ALWAYS);
    }
    let limit = Duration::from_millis(200);
    let started = Instant::now();
    let error = put(&client(&world, limit, limit), &bytes_of(10)).await.unwrap_err();
    assert!(started.elapsed() >= limit);
    let DisperseError::NotEnoughNodes { able: 3, needed: 4, failures } = &error else {
        panic!("{error}");
    };
    assert_eq!(failures.len(), 2);
    assert!(error.to_string().contains("(Unavailable): scripted: not yet"), "{error}");
    assert!(world.refused(world.node_at("x", 1)) > 1);
}

#[tokio::test]
async fn what_waiting_cannot_mend_is_not_waited_for() {
    for kind in [kind::HEAD, kind::OPEN] {
        let world = World::start(3, 5);
        all_refuse(&world, kind, RefusalCode::NotAllowed, ALWAYS);
        world.refuse(world.node_at("x", 0), kind, RefusalCode::Unavailable, ALWAYS);
        let error = put(&patient(&world), &bytes_of(10)).await.unwrap_err();
        assert!(error.to_string().contains("NotAllowed"), "{error}");
        assert_eq!(world.refused(world.node_at("x", 1)), 1);
    }
}

#[tokio::test]
async fn one_node_that_never_votes_does_not_hold_up_the_others() {
    let world = World::start(3, 5);
    let mute = world.node_at("x", 2);
    world.refuse(mute, kind::OPEN, RefusalCode::Unavailable, ALWAYS);
    // More than the window: the encoder runs into the stripes that wait for the mute node.
    let timeouts = Timeouts { lag_grace: Duration::from_millis(100), ..Timeouts::default() };
    let client = world.client_with(Timeouts { not_ready: FOREVER, ..timeouts });
    let report = put(&client, &bytes_of(60 * 3 * CHUNK)).await.unwrap();
    assert_eq!(report.placed.len(), 5, "filled after the commit");
    let fault = report.faults.iter().find(|fault| fault.node == mute).unwrap();
    assert_eq!(fault.kind, FaultKind::Refused, "{fault}");
    assert!(fault.detail.contains("scripted: not yet"), "{fault}");
}

#[tokio::test]
async fn a_write_waits_for_nodes_that_are_just_being_started() {
    let world = World::start(3, 5);
    let late = [world.node_at("x", 0), world.node_at("x", 3)];
    for node in late {
        world.down_until_up(node);
    }
    let client = patient(&world);
    let bytes = bytes_of(20 * CHUNK);
    let starting = async {
        world.asked().await;
        late.into_iter().for_each(|node| world.up(node));
    };
    let (report, ()) = tokio::join!(put(&client, &bytes), starting);
    assert_eq!(report.unwrap().placed.len(), 5);
}

#[tokio::test]
async fn a_read_of_a_cluster_that_is_down_fails_fast() {
    let world = World::start(3, 5);
    world.nodes().into_iter().for_each(|node| world.down_until_up(node));
    let started = Instant::now();
    let client = patient(&world);
    let object = world.object("x");
    let error = soon(client.retrieve(&object, None, &mut Vec::new(), &Silent)).await.unwrap_err();
    assert!(matches!(error.kind, RetrieveErrorKind::Unavailable { .. }), "{error}");
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

#[tokio::test]
async fn orders_wait_until_enough_nodes_can_sign() {
    let world = World::start(3, 5);
    put(&patient(&world), &bytes_of(10)).await.unwrap();
    world.interrupt("x", 0);
    all_refuse(&world, kind::ORDER, RefusalCode::Unavailable, 2);
    let report = soon(patient(&world).cancel(&name("x"))).await.unwrap();
    assert!(report.aborted >= 4);

    let world = World::start(3, 5);
    put(&patient(&world), &bytes_of(10)).await.unwrap();
    all_refuse(&world, kind::ORDER, RefusalCode::Busy, 2);
    let report = soon(patient(&world).remove(&name("x"))).await.unwrap();
    assert!(report.acknowledged >= world.config.params.delete_quorum());

    all_refuse(&world, kind::ORDER, RefusalCode::Busy, ALWAYS);
    let impatient = client(&world, Duration::from_millis(100), Duration::ZERO);
    let error = soon(impatient.remove(&name("x"))).await.unwrap_err();
    let OrderError::NotEnoughNodes { acknowledged: 0, failures, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(failures.len(), 5);
    assert!(error.to_string().contains("(Busy): scripted: not yet"), "{error}");
}

#[tokio::test]
async fn a_fill_waits_until_the_node_takes_it() {
    let world = World::start(3, 5);
    let bytes = bytes_of(20 * CHUNK);
    put(&patient(&world), &bytes).await.unwrap();
    world.forget("x", 2);
    let node = world.node_at("x", 2);
    world.refuse(node, kind::FILL, RefusalCode::Unavailable, 1);
    let report = put(&patient(&world), &bytes).await.unwrap();
    assert!(report.already_stored);
    assert_eq!((report.placed.len(), world.refused(node)), (5, 1));
}
