//! Five real nodes in one process, real sockets and files, a client of raw frames.
//!
//! Spec: docs/protocol.md ECHO-1, READY-1, COMMIT-1, DELETE-1, HOLD-1, READ-2, LINK-1, AMNESIA-1.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "in a test a panic is the report"
)]

mod support;

use avid_protocol::certificate::Predecessor;
use avid_protocol::object::{OrderKind, OwnerOrder};
use avid_protocol::statement::StatementKind;
use avid_protocol::verify::Verifier;
use avid_protocol::wire::{Message, RefusalCode};
use avid_types::{Generation, NodeId, StripeIndex, Timestamp};

use crate::support::{CHUNK, Cluster, disperse_to, eventually, key, pattern, wipe};

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_dispersed_and_survives_a_restart_of_all_nodes() {
    let mut cluster = Cluster::start(3, 5).await;
    let object = cluster.object("a/../b", &pattern(100_000));
    let votes = disperse_to(&cluster, &object, 0..5, None).await;
    for (node, kinds) in votes {
        assert!(kinds.contains(&StatementKind::Delivered), "node {node}: {kinds:?}");
    }
    for node in 0..5 {
        cluster.stop_node(NodeId(node)).await;
    }
    for node in 0..5 {
        cluster.start_node(NodeId(node)).await;
    }
    let id = &object.bundle.manifest.object;
    let mut verifier = Verifier::new(cluster.config.clone());
    for node in 0..5 {
        let mut client = cluster.client(NodeId(node)).await;
        let proof = client.head(id).await.committed.expect("committed");
        assert_eq!(verifier.commit(*proof).unwrap().seal().bundle(), &object.bundle);
        let chunks = client.fragment(&object).await.unwrap();
        let slot = cluster.config.slot_of(object.upload, NodeId(node)).unwrap();
        for (stripe, chunk) in chunks.iter().enumerate() {
            assert_eq!(chunk, &object.stripes[stripe].1[slot.index()]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_and_tiny_objects_and_every_edge_of_a_stripe_commit() {
    let cluster = Cluster::start(3, 5).await;
    let stripe = 3 * usize::try_from(CHUNK).unwrap();
    for bytes in [0, 1, 2, stripe - 1, stripe, stripe + 1, 2 * stripe] {
        let object = cluster.object(&format!("edge {bytes}"), &pattern(bytes));
        let votes = disperse_to(&cluster, &object, 0..5, None).await;
        assert_eq!(votes.len(), 5);
        let mut client = cluster.client(NodeId(0)).await;
        assert!(client.fragment(&object).await.is_ok(), "{bytes} bytes");
    }
}

/// COMMIT-1, LINK-1, HOLD-1: a node that missed the write learns of it and takes a late fill.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_node_delivers_and_is_filled() {
    let mut cluster = Cluster::start(3, 5).await;
    cluster.stop_node(NodeId(2)).await;
    let object = cluster.object("late", &pattern(50_000));
    disperse_to(&cluster, &object, [0, 1, 3, 4], None).await;
    cluster.start_node(NodeId(2)).await;
    let id = object.bundle.manifest.object.clone();
    eventually("node 2 delivers", || async {
        cluster.client(NodeId(2)).await.head(&id).await.committed.is_some()
    })
    .await;
    let mut client = cluster.client(NodeId(2)).await;
    assert_eq!(client.fragment(&object).await, Err(RefusalCode::NotFound));
    let proof = client.head(&id).await.committed.unwrap();
    assert!(matches!(client.ask(&Message::Fill(proof)).await, Message::Opened(_)));
    client.chunks(&object, 0, object.layout.stripes()).await;
    client.connection.writer().flush().await.unwrap();
    assert_eq!(client.votes().await, [StatementKind::Delivered, StatementKind::Hold]);
    assert!(client.fragment(&object).await.is_ok());
}

/// DELETE-1 and ID-1: a tombstone at a quorum reaches everybody; the next life of the name opens.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_object_is_gone_everywhere_and_its_name_lives_again() {
    let cluster = Cluster::start(3, 5).await;
    let object = cluster.object("mortal", &pattern(20_000));
    disperse_to(&cluster, &object, 0..5, None).await;
    let id = object.bundle.manifest.object.clone();
    let order = OwnerOrder::sign(&cluster.config, OrderKind::Delete, id.clone(), &cluster.owner);
    for node in 0..3 {
        let answer = cluster.client(NodeId(node)).await.ask(&Message::Order(order.clone())).await;
        let Message::Vote { vote, .. } = answer else { panic!("{answer:?}") };
        assert_eq!(vote.statement.kind, StatementKind::Deleted);
    }
    for node in 0..5 {
        eventually("the tombstone arrives", || async {
            let mut client = cluster.client(NodeId(node)).await;
            client.fragment(&object).await == Err(RefusalCode::Deleted)
        })
        .await;
    }
    let again = cluster.object_in("mortal", &pattern(30_000), Generation(1));
    let mut client = cluster.client(NodeId(0)).await;
    client
        .send(&Message::Open { open: Box::new(again.bundle.open.clone()), predecessor: None })
        .await;
    assert_eq!(client.refusal().await, RefusalCode::Predecessor);
    disperse_to(&cluster, &again, 0..5, Some(Predecessor::Deleted(order))).await;
    assert!(cluster.client(NodeId(4)).await.fragment(&again).await.is_ok());
}

/// ECHO-1: a chunk with a wrong hash, or off the codeword with the right hash, is refused.
#[tokio::test(flavor = "multi_thread")]
async fn chunks_that_do_not_verify_are_refused() {
    let cluster = Cluster::start(3, 5).await;
    let object = cluster.object("bad", &pattern(20_000));
    let (fpcc, chunks) = &object.stripes[0];
    let slot = cluster.config.slot_of(object.upload, NodeId(1)).unwrap();
    let mut flipped = chunks[slot.index()].clone();
    flipped[17] ^= 1;
    // The digest of the flipped chunk in its place: the hash fits, the fingerprint cannot.
    let mut rehashed = fpcc.as_bytes().to_vec();
    let at = 32 * slot.index();
    rehashed[at..at + 32].copy_from_slice(avid_coding::digest::chunk_digest(&flipped).as_bytes());
    for fpcc in [fpcc.as_bytes(), &rehashed] {
        let mut client = cluster.client(NodeId(1)).await;
        let opened = client.open(&object.bundle.open, None).await;
        assert!(matches!(opened, Message::Opened(_)), "{opened:?}");
        client.chunk(StripeIndex(0), fpcc, &flipped).await;
        client.seal(&object).await;
        assert_eq!(client.refusal().await, RefusalCode::Unverifiable);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_content_is_refused_and_the_same_content_is_idempotent() {
    let cluster = Cluster::start(3, 5).await;
    let object = cluster.object("once", &pattern(20_000));
    disperse_to(&cluster, &object, 0..5, None).await;
    disperse_to(&cluster, &object, 0..5, None).await;
    let other = cluster.object("once", &pattern(20_001));
    let mut client = cluster.client(NodeId(3)).await;
    client.disperse(&other, None).await;
    assert_eq!(client.refusal().await, RefusalCode::OtherContent);
    assert!(cluster.client(NodeId(3)).await.fragment(&object).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_stream_goes_on_where_it_stopped() {
    let cluster = Cluster::start(3, 5).await;
    let object = cluster.object("resumed", &pattern(100_000));
    let mut client = cluster.client(NodeId(0)).await;
    assert!(matches!(client.open(&object.bundle.open, None).await, Message::Opened(_)));
    client.chunks(&object, 0, 5).await;
    client.connection.writer().flush().await.unwrap();
    drop(client);
    eventually("five stripes are kept", || async {
        let mut client = cluster.client(NodeId(0)).await;
        match client.open(&object.bundle.open, None).await {
            Message::Opened(opened) => opened.stripes == 5,
            Message::Refused(refused) if refused.code == RefusalCode::Busy => false,
            other => panic!("{other:?}"),
        }
    })
    .await;
    disperse_to(&cluster, &object, 1..5, None).await;
    eventually("the first stream is parked", || async {
        let mut client = cluster.client(NodeId(0)).await;
        let answer = client.open(&object.bundle.open, None).await;
        let Message::Opened(opened) = answer else { return false };
        client.chunks(&object, opened.stripes, object.layout.stripes()).await;
        client.seal(&object).await;
        client.votes().await.contains(&StatementKind::Hold)
    })
    .await;
}

/// AMNESIA-1: a wiped node serves and takes fills, and never votes again.
#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_node_does_not_vote() {
    let mut cluster = Cluster::start(3, 5).await;
    let object = cluster.object("before", &pattern(10_000));
    disperse_to(&cluster, &object, 0..5, None).await;
    // In its first boot already: the wiped disk starts at boot one again, as peers remember.
    cluster.stop_node(NodeId(1)).await;
    wipe(&cluster.data_dir(NodeId(1)));
    cluster.start_node(NodeId(1)).await;
    eventually("node 1 learns that it forgot", || async {
        let status = cluster.client(NodeId(1)).await.status().await;
        let reason = status["not_voting_because"].as_str().unwrap_or_default().to_owned();
        reason.contains("has forgotten votes")
    })
    .await;
    let after = cluster.object("after", &pattern(10_000));
    let mut client = cluster.client(NodeId(1)).await;
    client
        .send(&Message::Open { open: Box::new(after.bundle.open.clone()), predecessor: None })
        .await;
    assert_eq!(client.refusal().await, RefusalCode::Unavailable);
    let id = object.bundle.manifest.object.clone();
    eventually("it hears of old commits", || async {
        cluster.client(NodeId(1)).await.head(&id).await.committed.is_some()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_and_foreign_owners_are_refused() {
    let cluster = Cluster::start(3, 5).await;
    let stranger = key(9, 9);
    let refused = cluster.dial(NodeId(0), &stranger, false).await.unwrap_err().to_string();
    assert!(refused.contains("has no grant"), "{refused}");
    // Admitted, but not the owner of the object it brings.
    let object = cluster.object("mine", &pattern(1000));
    let mut client = cluster.client_as(NodeId(0), &stranger).await;
    client
        .send(&Message::Open { open: Box::new(object.bundle.open.clone()), predecessor: None })
        .await;
    assert_eq!(client.refusal().await, RefusalCode::NotAllowed);
}

/// ABORT-1: the owner's CANCEL ends a dispersal nobody is ready for; its generation is dead.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_dispersal_is_aborted() {
    let cluster = Cluster::start(3, 5).await;
    let object = cluster.object("cancelled", &pattern(10_000));
    // Two echoes only: no quorum.
    let mut clients = Vec::new();
    for node in 0..2 {
        let mut client = cluster.client(NodeId(node)).await;
        client.disperse(&object, None).await;
        let answer = client.receive().await;
        assert!(matches!(answer, Message::Vote { .. }), "{answer:?}");
        clients.push(client);
    }
    let id = object.bundle.manifest.object.clone();
    let order = OwnerOrder::sign(&cluster.config, OrderKind::Cancel, id.clone(), &cluster.owner);
    for node in 0..5 {
        let answer = cluster.client(NodeId(node)).await.ask(&Message::Order(order.clone())).await;
        let Message::Vote { vote, .. } = answer else { panic!("{answer:?}") };
        assert_eq!(vote.statement.kind, StatementKind::Abort);
        assert_eq!(vote.statement.expiry, Timestamp::ZERO);
    }
    eventually("an abort certificate forms", || async {
        let head = cluster.client(NodeId(0)).await.head(&id).await;
        head.aborted.is_some_and(|aborted| aborted.cert.is_some())
    })
    .await;
    let mut client = cluster.client(NodeId(4)).await;
    client
        .send(&Message::Open { open: Box::new(object.bundle.open.clone()), predecessor: None })
        .await;
    assert_eq!(client.refusal().await, RefusalCode::Aborted);
    let cert = cluster.client(NodeId(0)).await.head(&id).await.aborted.unwrap().cert.unwrap();
    let next = cluster.object_in("cancelled", &pattern(11_000), Generation(1));
    disperse_to(&cluster, &next, 0..5, Some(Predecessor::Aborted(cert))).await;
}
