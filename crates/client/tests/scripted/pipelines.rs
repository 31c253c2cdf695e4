//! Writing and reading through real frames, against scripted peers: sizes, liars, losses, resuming.

use std::io::Cursor;
use std::time::Duration;

use crate::common::{Bent, CHUNK, World, bytes_of, name, soon};
use avid_client::{
    DisperseError, DisperseOptions, DisperseReport, FaultKind, ObjectState, RetrieveError,
    RetrieveErrorKind, RetrieveReport, Silent, SlotHealth, Source,
};

const STRIPE: usize = 3 * CHUNK;

async fn put(world: &World, id: &str, bytes: &[u8]) -> Result<DisperseReport, DisperseError> {
    let source = Source::reader(Box::new(Cursor::new(bytes.to_vec())));
    put_from(world, id, source, DisperseOptions::default()).await
}

async fn put_from(
    world: &World,
    id: &str,
    source: Source,
    options: DisperseOptions,
) -> Result<DisperseReport, DisperseError> {
    soon(world.client().disperse(&name(id), source, &options, &Silent)).await
}

async fn get(world: &World, id: &str) -> Result<(Vec<u8>, RetrieveReport), RetrieveError> {
    let mut bytes = Vec::new();
    let object = world.object(id);
    let report = soon(world.client().retrieve(&object, None, &mut bytes, &Silent)).await?;
    Ok((bytes, report))
}

#[tokio::test]
async fn every_size_around_a_stripe_comes_back() {
    let world = World::start(3, 5);
    for size in [0, 1, 2, CHUNK, STRIPE - 1, STRIPE, STRIPE + 1, 2 * STRIPE, 40 * STRIPE + 17] {
        let (id, bytes) = (format!("size {size}"), bytes_of(size));
        let report = put(&world, &id, &bytes).await.unwrap();
        assert_eq!(report.placed.len(), 5, "{size}");
        assert!(report.faults.is_empty(), "{:?}", report.faults);
        assert_eq!(report.object_bytes, u64::try_from(size).unwrap());
        let (found, report) = get(&world, &id).await.unwrap();
        assert!(found == bytes, "{size}");
        assert!(report.complete_head && report.faults.is_empty());
    }
}

#[tokio::test]
async fn trailing_zeros_and_other_shapes_come_back() {
    for (m, n) in [(2, 4), (4, 6), (8, 12), (1, 2)] {
        let world = World::start(m, n);
        let mut bytes = bytes_of(usize::from(m) * CHUNK + 5);
        bytes.extend([0; 100]);
        put(&world, "x", &bytes).await.unwrap();
        assert!(get(&world, "x").await.unwrap().0 == bytes, "{m}-of-{n}");
    }
}

#[tokio::test]
async fn ranges_are_exact_and_beyond_the_end_is_an_error_that_says_the_length() {
    let world = World::start(3, 5);
    let bytes = bytes_of(5 * STRIPE + 100);
    put(&world, "x", &bytes).await.unwrap();
    let (client, object) = (world.client(), world.object("x"));
    let length = bytes.len();
    let edges = [0, 1, CHUNK, STRIPE - 1, STRIPE, STRIPE + 1, 3 * STRIPE + 7, length - 1, length];
    for start in edges {
        for end in edges.into_iter().filter(|end| *end >= start) {
            let range = u64::try_from(start).unwrap()..u64::try_from(end).unwrap();
            let mut found = Vec::new();
            soon(client.retrieve(&object, Some(range), &mut found, &Silent)).await.unwrap();
            assert!(found == bytes[start..end], "{start}..{end}");
        }
    }
    let beyond = Some(0..u64::try_from(length + 1).unwrap());
    let error = soon(client.retrieve(&object, beyond, &mut Vec::new(), &Silent)).await.unwrap_err();
    assert!(error.to_string().contains(&format!("has {length} bytes")), "{error}");
}

/// A liar holds a data slot: reads must notice, blame it and still succeed.
async fn read_with_one_liar(bent: Bent, expected: Option<FaultKind>) {
    let world = World::start(3, 5);
    let bytes = bytes_of(20 * STRIPE + 17);
    put(&world, "x", &bytes).await.unwrap();
    let liar = world.node_at("x", 1);
    world.bend(liar, bent);
    let (found, report) = get(&world, "x").await.unwrap_or_else(|e| panic!("{bent:?}: {e}"));
    assert!(found == bytes, "{bent:?}: wrong bytes");
    match expected {
        Some(kind) => {
            assert!(report.faults.iter().all(|f| f.node == liar), "{bent:?}: {:?}", report.faults);
            let kinds: Vec<_> = report.faults.iter().map(|fault| fault.kind).collect();
            assert!(kinds.contains(&kind), "{bent:?}: {kinds:?}");
        }
        None => assert!(report.faults.is_empty(), "{bent:?}: {:?}", report.faults),
    }
}

#[tokio::test]
async fn no_misbehaviour_of_one_node_spoils_a_read() {
    for (bent, expected) in [
        (Bent::Flip, Some(FaultKind::Hash)),
        (Bent::OtherFpcc, Some(FaultKind::Path)),
        (Bent::ForgedPath, Some(FaultKind::Path)),
        (Bent::OtherStripe, Some(FaultKind::Path)),
        (Bent::WrongNumber, Some(FaultKind::Malformed)),
        (Bent::Short, Some(FaultKind::Length)),
        (Bent::BadLengths, Some(FaultKind::Malformed)),
        (Bent::Twice, Some(FaultKind::Malformed)),
        (Bent::Stall, Some(FaultKind::Late)),
        (Bent::Cut, Some(FaultKind::Malformed)),
        (Bent::Refuse, Some(FaultKind::Missing)),
        (Bent::Pending, None),
        (Bent::Damaged, Some(FaultKind::Damaged)),
        (Bent::FalseProof, Some(FaultKind::Malformed)),
    ] {
        read_with_one_liar(bent, expected).await;
    }
}

#[tokio::test]
async fn n_minus_m_bad_holders_are_survived_and_one_more_is_an_error_with_names() {
    let world = World::start(3, 5);
    let bytes = bytes_of(30 * STRIPE + 1);
    put(&world, "x", &bytes).await.unwrap();
    world.bend(world.node_at("x", 0), Bent::Flip);
    world.bend(world.node_at("x", 2), Bent::Stall);
    assert!(get(&world, "x").await.unwrap().0 == bytes);
    world.down(world.node_at("x", 3));
    let error = get(&world, "x").await.unwrap_err();
    assert_eq!(error.bytes_good, 0);
    let RetrieveErrorKind::TooFewChunks { good, needed, faults, unreachable, .. } = &error.kind
    else {
        panic!("{error}");
    };
    assert!(*good < *needed);
    assert!(faults.iter().any(|fault| fault.node == world.node_at("x", 0)), "{faults:?}");
    assert!(unreachable.iter().any(|f| f.node == world.node_at("x", 3)), "{unreachable:?}");
}

#[tokio::test]
async fn two_stalled_holders_do_not_hold_up_a_read() {
    let world = World::start(3, 5);
    let bytes = bytes_of(30 * STRIPE + 1);
    put(&world, "x", &bytes).await.unwrap();
    world.bend(world.node_at("x", 0), Bent::Stall);
    world.bend(world.node_at("x", 1), Bent::Stall);
    let (found, report) = get(&world, "x").await.unwrap();
    assert!(found == bytes);
    assert!(report.elapsed < Duration::from_secs(10), "{:?}", report.elapsed);
}

#[tokio::test]
async fn one_proof_beats_silence_and_without_any_proof_nothing_is_claimed() {
    let world = World::start(3, 5);
    put(&world, "x", &bytes_of(100)).await.unwrap();
    let missing = get(&world, "y").await.unwrap_err();
    assert!(matches!(missing.kind, RetrieveErrorKind::NotFound { unfinished: false }));
    for slot in [3, 4] {
        world.down(world.node_at("x", slot));
    }
    let (found, report) = get(&world, "x").await.unwrap();
    assert!(found == bytes_of(100) && !report.complete_head);
    assert_eq!(report.unreachable.len(), 2);
    let unknown = get(&world, "y").await.unwrap_err();
    assert!(matches!(unknown.kind, RetrieveErrorKind::Unavailable { .. }), "{unknown}");
}

#[tokio::test]
async fn a_write_commits_without_one_node_and_fills_it_when_it_is_back() {
    let world = World::start(3, 5);
    let absent = world.node_at("x", 2);
    world.down(absent);
    let bytes = bytes_of(9 * STRIPE + 5);
    let options =
        DisperseOptions { placement_timeout: Duration::from_millis(300), ..Default::default() };
    let source = Source::reader(Box::new(Cursor::new(bytes.clone())));
    let report = put_from(&world, "x", source, options).await.unwrap();
    assert_eq!(report.placed.len(), 4);
    assert!(report.faults.iter().any(|fault| fault.node == absent), "{:?}", report.faults);
    world.up(absent);
    let report = put(&world, "x", &bytes).await.unwrap();
    assert!(report.already_stored);
    assert_eq!(report.placed.len(), 5, "{:?}", report.faults);
    assert_eq!(world.chunks_received(absent), 10, "filled from the others' chunks");
    assert!(get(&world, "x").await.unwrap().0 == bytes);
}

#[tokio::test]
async fn too_few_nodes_are_named_before_anything_is_sent() {
    let world = World::start(3, 5);
    for slot in [1, 2] {
        world.down(world.node_at("x", slot));
    }
    let error = put(&world, "x", &bytes_of(10)).await.unwrap_err();
    let DisperseError::NotEnoughNodes { able: 3, needed: 4, failures } = &error else {
        panic!("{error}");
    };
    assert_eq!(failures.len(), 2);
    assert!(error.to_string().contains("is the node running"), "{error}");
}

#[tokio::test]
async fn a_deaf_node_is_left_behind_and_filled_later() {
    let world = World::start(3, 5);
    let deaf = world.node_at("x", 4);
    world.bend(deaf, Bent::DeafAfterOpen);
    // More than the sockets' buffers and the window together.
    let bytes = bytes_of(2000 * STRIPE);
    let source = Source::reader(Box::new(Cursor::new(bytes.clone())));
    let options =
        DisperseOptions { placement_timeout: Duration::from_secs(20), ..Default::default() };
    let report = put_from(&world, "x", source, options).await.unwrap();
    assert_eq!(report.placed.len(), 5);
    assert!(report.faults.iter().any(|f| f.node == deaf && f.kind == FaultKind::Late));
}

#[tokio::test]
async fn votes_signed_by_another_key_are_not_counted() {
    let world = World::start(3, 5);
    let liar = world.node_at("x", 0);
    world.bend(liar, Bent::FalseVotes);
    let options =
        DisperseOptions { placement_timeout: Duration::from_millis(300), ..Default::default() };
    let source = Source::reader(Box::new(Cursor::new(bytes_of(STRIPE))));
    let result = put_from(&world, "x", source, options).await;
    // The scripted peers put the false votes into certificates, so the proof they show is void;
    // the writer itself counts four honest DELIVERED.
    let report = result.unwrap();
    assert_eq!(report.placed.len(), 4);
    assert!(report.faults.iter().any(|f| f.node == liar && f.kind == FaultKind::Malformed));
}

#[tokio::test]
async fn the_same_content_again_is_success_and_other_content_is_refused() {
    let world = World::start(3, 5);
    let bytes = bytes_of(3 * STRIPE + 9);
    put(&world, "x", &bytes).await.unwrap();
    let again = put(&world, "x", &bytes).await.unwrap();
    assert!(again.already_stored);
    assert_eq!(again.placed.len(), 5);
    for other in [bytes_of(3 * STRIPE + 8), bytes_of(3 * STRIPE + 10), vec![1; bytes.len()]] {
        let error = put(&world, "x", &other).await.unwrap_err();
        assert!(matches!(error, DisperseError::OtherContent { .. }), "{error}");
    }
    assert!(get(&world, "x").await.unwrap().0 == bytes);
}

fn file_of(bytes: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    file
}

#[tokio::test]
async fn an_interrupted_write_of_the_same_file_sends_only_the_rest() {
    let world = World::start(3, 5);
    let bytes = bytes_of(10 * STRIPE);
    let file = file_of(&bytes);
    put_from(&world, "x", Source::file(file.path()), DisperseOptions::default()).await.unwrap();
    world.interrupt("x", 7);
    let node = world.node_at("x", 0);
    let before = world.chunks_received(node);
    let source = Source::file(file.path());
    let report = put_from(&world, "x", source, DisperseOptions::default()).await.unwrap();
    assert!(!report.already_stored && report.generation.0 == 0);
    assert_eq!(world.chunks_received(node) - before, 3);
    assert!(get(&world, "x").await.unwrap().0 == bytes);
}

#[tokio::test]
async fn an_interrupted_write_of_other_content_is_replaced_from_the_first_stripe() {
    let world = World::start(3, 5);
    let first = file_of(&bytes_of(10 * STRIPE));
    put_from(&world, "x", Source::file(first.path()), DisperseOptions::default()).await.unwrap();
    world.interrupt("x", 7);
    let mut bytes = bytes_of(9 * STRIPE);
    bytes[0] ^= 1;
    let second = file_of(&bytes);
    let source = Source::file(second.path());
    put_from(&world, "x", source, DisperseOptions::default()).await.unwrap();
    assert!(get(&world, "x").await.unwrap().0 == bytes);
}

/// A pipe cannot be read again if what nodes keep turns out to be other content.
#[tokio::test]
async fn a_pipe_resumes_under_the_same_announcement_and_sends_everything() {
    for changed in [false, true] {
        let world = World::start(3, 5);
        let mut bytes = bytes_of(10 * STRIPE);
        put(&world, "x", &bytes).await.unwrap();
        world.interrupt("x", 7);
        bytes[0] ^= u8::from(changed);
        let node = world.node_at("x", 0);
        let before = world.chunks_received(node);
        let report = put(&world, "x", &bytes).await.unwrap();
        assert_eq!((report.generation.0, report.placed.len()), (0, 5), "{:?}", report.faults);
        assert_eq!(world.chunks_received(node) - before, 10);
        assert!(get(&world, "x").await.unwrap().0 == bytes);
    }
}

#[tokio::test]
async fn one_stalled_holder_costs_a_read_a_few_hedges_and_not_one_per_run() {
    let world = World::start(3, 5);
    let bytes = bytes_of(400 * STRIPE);
    put(&world, "x", &bytes).await.unwrap();
    world.bend(world.node_at("x", 0), Bent::Stall);
    let (found, report) = get(&world, "x").await.unwrap();
    assert!(found == bytes);
    // 50 runs; the hedge delay of these tests is 0.1 s.
    assert!(report.elapsed < Duration::from_secs(2), "{:?}", report.elapsed);
}

#[tokio::test]
async fn cancelling_an_unfinished_write_opens_the_next_generation() {
    let world = World::start(3, 5);
    put(&world, "x", &bytes_of(STRIPE)).await.unwrap();
    world.interrupt("x", 1);
    let options = DisperseOptions { cancel_unfinished: true, ..Default::default() };
    let source = Source::reader(Box::new(Cursor::new(b"new".to_vec())));
    let report = put_from(&world, "x", source, options).await.unwrap();
    assert_eq!(report.generation.0, 1);
    assert_eq!(get(&world, "x").await.unwrap().0, b"new");
}

#[tokio::test]
async fn a_removed_id_is_deleted_and_can_be_written_again() {
    let world = World::start(3, 5);
    put(&world, "x", b"old").await.unwrap();
    let client = world.client();
    let removed = soon(client.remove(&name("x"))).await.unwrap();
    assert_eq!((removed.generation.0, removed.acknowledged), (0, 5));
    let error = get(&world, "x").await.unwrap_err();
    assert!(matches!(error.kind, RetrieveErrorKind::Deleted { .. }), "{error}");
    assert_eq!(soon(client.stat(&world.object("x"))).await.unwrap().state, ObjectState::Deleted);
    let report = put(&world, "x", b"new").await.unwrap();
    assert_eq!(report.generation.0, 1);
    assert_eq!(get(&world, "x").await.unwrap().0, b"new");
}

#[tokio::test]
async fn stat_list_and_verify_tell_good_from_missing_from_corrupt() {
    let world = World::start(3, 5);
    for id in ["a/1", "a/2", "b"] {
        put(&world, id, &bytes_of(4 * STRIPE + 1)).await.unwrap();
    }
    world.forget("a/1", 3);
    let (missing, corrupt) = (world.node_at("a/1", 3), world.node_at("a/1", 1));
    world.bend(corrupt, Bent::Flip);
    let client = world.client();
    let object = world.object("a/1");
    let status = soon(client.stat(&object)).await.unwrap();
    assert_eq!((status.state, status.held()), (ObjectState::Committed, 4));
    let report = soon(client.verify(&object, &Silent)).await.unwrap();
    assert_eq!(report.good(), 3);
    for slot in &report.slots {
        match &slot.health {
            SlotHealth::Missing => assert_eq!(slot.node, missing),
            SlotHealth::Corrupt { stripes, first } => {
                assert_eq!((slot.node, *stripes), (corrupt, 5));
                assert_eq!(first[0].1, FaultKind::Hash);
            }
            SlotHealth::Good => assert!(slot.node != missing && slot.node != corrupt),
            SlotHealth::Unreachable { error, .. } => panic!("{error}"),
        }
    }
    let page = soon(client.list(client.owner(), "a/", None, 100)).await.unwrap();
    let names: Vec<_> = page.objects.iter().map(|object| object.name.as_str()).collect();
    assert_eq!((names, page.complete), (vec!["a/1", "a/2"], true));
    let page = soon(client.list(client.owner(), "a/", None, 1)).await.unwrap();
    assert_eq!(page.next, Some(name("a/1")));
}

#[tokio::test]
async fn a_source_that_cannot_be_read_is_named() {
    let world = World::start(3, 5);
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    for (path, expected) in [(directory.path(), "is a directory"), (&missing, "cannot open")] {
        let source = Source::file(path);
        let error = put_from(&world, "x", source, DisperseOptions::default()).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let error = get(&world, "x").await.unwrap_err();
    assert!(matches!(error.kind, RetrieveErrorKind::NotFound { .. }));
}
