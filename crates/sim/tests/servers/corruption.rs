//! Fragments that are wrong, missing or somebody else's: scenarios 17, 18, 20, 28 and 29.

use std::collections::BTreeSet;
use std::time::Duration;

use avid_client::FaultKind;
use avid_protocol::object::ObjectId;
use avid_protocol::wire::{Message, RefusalCode};
use avid_types::{Digest, Generation};
use sim::liar_client::play::{Play, chunk};
use sim::liar_client::{LiarClient, Surroundings};
use sim::liar_node::chunks::{ChunkLie, WrongChunks};
use sim::liar_node::service::{Excuse, Silent, Withhold};
use sim::world::Shape;

use crate::setup::{
    PROFILES, audit, content, expect_read, expect_unavailable, fragments, name, node_of, params,
    place, scenario, shape, some_subsets, tap,
};

/// What a reader says of each lie.
const LIES: [(ChunkLie, FaultKind); 8] = [
    (ChunkLie::Flip(12_345), FaultKind::Hash),
    (ChunkLie::Zero, FaultKind::Hash),
    (ChunkLie::Stale, FaultKind::Hash),
    (ChunkLie::Cut(1), FaultKind::Length),
    (ChunkLie::Foreign, FaultKind::Path),
    (ChunkLie::FlipProof(77), FaultKind::Path),
    (ChunkLie::FlipProof(1700), FaultKind::Path),
    (ChunkLie::Misplaced, FaultKind::Malformed),
];

/// Spec: docs/protocol.md section 6 (17), READ-1, READ-3.
#[test]
fn one_server_with_any_wrong_chunk_is_named_and_the_read_succeeds() {
    for (seed, (wrong, kind)) in (1700..).zip(LIES) {
        let shape = Shape::default();
        scenario(seed, shape, |world| async move {
            let written = content(seed, shape);
            let report = place(&world, 1, "a", &written).await;
            // The reader asks slot 0 first, whatever it holds.
            let liar = node_of(&world, report.upload, 0);
            let told = tap(&world, liar, WrongChunks::new(wrong));
            let report = expect_read(&world, "a", &written).await;
            // The short chunk of the last stripe may show another flaw as well.
            assert!(report.faults.iter().all(|fault| fault.node == liar), "{:?}", report.faults);
            assert!(report.faults.iter().any(|fault| fault.kind == kind), "{:?}", report.faults);
            assert!(told.lock().unwrap().lies > 0, "{wrong:?} was never told");
            (world, ())
        });
    }
}

/// Spec: docs/protocol.md section 6 (17), ID-1: the name lived before with other content.
#[test]
fn a_server_that_serves_the_generation_before_is_named_and_the_read_succeeds() {
    for (seed, wrong) in [(1720, ChunkLie::Stale), (1721, ChunkLie::Foreign)] {
        let shape = Shape::default();
        scenario(seed, shape, |world| async move {
            let (before, after) = (content(seed, shape), content(seed + 1, shape));
            let first = place(&world, 1, "a", &before).await;
            let taps: Vec<_> = world
                .nodes()
                .into_iter()
                .map(|node| tap(&world, node, WrongChunks::later()))
                .collect();
            expect_read(&world, "a", &before).await;
            world.client(1).client.remove(&name("a")).await.unwrap();
            let second = place(&world, 1, "a", &after).await;
            assert_eq!((first.generation.0, second.generation.0), (0, 1));
            let liar = node_of(&world, second.upload, 0);
            let place_of_liar = world.nodes().iter().position(|node| *node == liar).unwrap();
            taps[place_of_liar].lock().unwrap().tell(wrong);
            let report = expect_read(&world, "a", &after).await;
            let named: BTreeSet<_> = report.faults.iter().map(|fault| fault.node).collect();
            assert_eq!(named, BTreeSet::from([liar]), "{:?}", report.faults);
            assert!(taps[place_of_liar].lock().unwrap().lies > 0);
            (world, ())
        });
    }
}

/// Spec: docs/protocol.md section 6 (18), section 1.5 column "after full dispersal".
///
/// Every subset of nodes for groups of up to 7, random ones beyond.
#[test]
fn n_minus_m_bad_servers_are_survived_and_one_more_makes_the_object_unavailable() {
    for (m, n) in PROFILES {
        let seed = 1800 + u64::from(n);
        let shape = shape(m, n);
        scenario(seed, shape, |world| async move {
            let written = content(seed, shape);
            place(&world, 1, "a", &written).await;
            let survived = params(&world).losses_when_placed();
            for bad in some_subsets(seed, &world.nodes(), survived, 12) {
                corrupt(&world, &bad);
                expect_read(&world, "a", &written).await;
                world.network.untap();
            }
            for bad in some_subsets(seed, &world.nodes(), survived + 1, 12) {
                corrupt(&world, &bad);
                let good = expect_unavailable(&world, "a", &written).await;
                assert!(good < usize::from(m));
                world.network.untap();
            }
            (world, ())
        });
    }
}

/// Every way in which a fragment can be worthless, one after the other.
fn corrupt(world: &sim::world::World, bad: &[avid_types::NodeId]) {
    for (number, node) in bad.iter().enumerate() {
        match number % 5 {
            0 => drop(tap(world, *node, WrongChunks::new(ChunkLie::Flip(4099)))),
            1 => drop(tap(world, *node, Withhold::new(Excuse::Refusal(RefusalCode::NotFound)))),
            2 => drop(tap(world, *node, WrongChunks::new(ChunkLie::Zero))),
            3 => drop(tap(world, *node, Silent::default())),
            _ => drop(tap(world, *node, WrongChunks::new(ChunkLie::Misplaced))),
        }
    }
}

/// Spec: docs/protocol.md section 6 (18), READ-3: a slot with faults stays the last resort.
#[test]
fn servers_that_keep_back_every_other_chunk_do_not_stop_a_read() {
    for (m, n) in PROFILES {
        let seed = 1850 + u64::from(n);
        let shape = shape(m, n);
        scenario(seed, shape, |world| async move {
            let written = content(seed, shape);
            place(&world, 1, "a", &written).await;
            for bad in some_subsets(seed, &world.nodes(), params(&world).losses_when_placed(), 3) {
                for node in bad {
                    tap(&world, node, Withhold::new(Excuse::Gaps));
                }
                expect_read(&world, "a", &written).await;
                world.network.untap();
            }
            (world, ())
        });
    }
}

/// Spec: docs/protocol.md section 6 (28), HOLD-1, REPAIR-2.
///
/// The repair of this build is the client's: it rebuilds a slot from the others and fills it. One
/// node repairing itself from others comes with a later issue.
#[test]
fn a_lying_helper_does_not_reach_the_repaired_fragment() {
    let lies = [ChunkLie::Flip(9), ChunkLie::Foreign, ChunkLie::Stale, ChunkLie::Cut(100)];
    for (seed, wrong) in (2800..).zip(lies) {
        let shape = Shape::default();
        scenario(seed, shape, |world| async move {
            let written = content(seed, shape);
            let report = place(&world, 1, "a", &written).await;
            let (helper, patient) =
                (node_of(&world, report.upload, 0), node_of(&world, report.upload, 4));
            let disk = world.disk(patient);
            let path = fragments(&world, patient).pop().unwrap();
            let original = disk.content(&path).unwrap();
            disk.corrupt(&path, |bytes| bytes[5000..5100].fill(0)).unwrap();
            let told = tap(&world, helper, WrongChunks::new(wrong));

            let repaired = world.client(1).put("a", &written).await.unwrap();
            assert!(repaired.already_stored);
            assert_eq!(repaired.placed.len(), 5, "{:?}", repaired.faults);
            assert!(told.lock().unwrap().lies > 0, "the helper was never asked");
            assert!(disk.content(&path).unwrap() == original, "the repaired fragment differs");
            world.network.untap();
            assert_eq!(audit(&world, "a").await[0].len(), 5);
            (world, ())
        });
    }
}

/// Spec: docs/protocol.md section 6 (29), HOLD-1, COMMIT-1: what does not lead to C is refused.
///
/// The repair of this build is a client's FILL; here a lying client brings it.
#[test]
fn a_fill_with_forged_cross_checksums_or_a_forged_manifest_is_refused() {
    let (seed, shape) = (2900, Shape::default());
    scenario(seed, shape, |world| async move {
        let written = content(seed, shape);
        let report = place(&world, 1, "a", &written).await;
        let patient = node_of(&world, report.upload, 4);
        let disk = world.disk(patient);
        let path = fragments(&world, patient).pop().unwrap();
        let original = disk.content(&path).unwrap();
        disk.corrupt(&path, |bytes| bytes[5000..5100].fill(0)).unwrap();

        let liar = LiarClient::new(&Surroundings::of(&world), 7);
        let owner = world.client(1).client.owner();
        let object = ObjectId { owner, name: name("a"), generation: Generation(0) };
        let proof = liar.proof_of(&object).await.unwrap();
        let mut other_root = proof.clone();
        other_root.seal.manifest.root = Digest([7; 32]);
        let mut other_length = proof.clone();
        other_length.seal.manifest.object_bytes -= 1;
        for forged in [other_root, other_length] {
            let heard = liar.ask(patient, Message::Fill(Box::new(forged))).await;
            assert!(heard.refused.is_some() && heard.opened.is_none(), "{heard:?}");
        }

        // Chunks that fit their cross-checksums, which do not lead to the root: all of them, and a
        // beginning that is left behind for the next repair to trip over.
        let forged = liar.object("b", &content(seed + 1, shape), Duration::from_secs(600));
        let all = forged.stripes.len();
        for stripes in [all, 1] {
            let fill = Play::Say(Box::new(Message::Fill(Box::new(proof.clone()))));
            let slot = avid_types::Slot(4);
            let chunks = (0..stripes).map(|stripe| chunk(&forged, stripe, slot));
            // A listener leaves after OPENED, so it listens twice.
            let listen = || Play::Listen(Duration::from_secs(3));
            let plays = [fill, listen()].into_iter().chain(chunks).chain([listen()]).collect();
            let heard = liar.perform(vec![(patient, plays)]).await.remove(0).1;
            assert!(heard.opened.is_some(), "the node did not want it: {heard:?}");
            let refused = (stripes == all).then_some(RefusalCode::Unverifiable);
            assert_eq!(heard.refusal(), refused, "{heard:?}");
            assert!(heard.votes.is_empty(), "{heard:?}");
        }

        assert!(!audit(&world, "a").await[0].contains(&patient), "the forgery was stored");
        let repaired = world.client(1).put("a", &written).await.unwrap();
        assert_eq!(repaired.placed.len(), 5, "{:?}", repaired.faults);
        assert!(disk.content(&path).unwrap() == original, "the repaired fragment differs");
        (world, ())
    });
}

/// Spec: docs/protocol.md section 6 (28): with too few honest helpers nothing is stored.
#[test]
fn a_repair_from_too_few_honest_helpers_stores_nothing() {
    let (seed, shape) = (2810, Shape::default());
    scenario(seed, shape, |world| async move {
        let written = content(seed, shape);
        let report = place(&world, 1, "a", &written).await;
        let patient = node_of(&world, report.upload, 4);
        let path = fragments(&world, patient).pop().unwrap();
        world.disk(patient).corrupt(&path, |bytes| bytes[5000..5100].fill(0)).unwrap();
        for slot in 0..2 {
            tap(&world, node_of(&world, report.upload, slot), WrongChunks::new(ChunkLie::Flip(1)));
        }
        let repaired = world.client(1).put("a", &written).await.unwrap();
        assert!(repaired.placed.len() < 5, "{repaired:?}");
        let good = audit(&world, "a").await[0].clone();
        assert!(!good.contains(&patient), "a fragment out of lies was stored");
        (world, ())
    });
}

/// Spec: docs/protocol.md section 6 (20), section 1.4: a holder that holds nothing counts as a liar.
#[test]
fn a_disk_that_lost_the_fragment_after_the_vote_is_flagged_by_an_audit() {
    for (m, n) in PROFILES {
        let seed = 2000 + u64::from(n);
        let shape = shape(m, n);
        scenario(seed, shape, |world| async move {
            let written = content(seed, shape);
            place(&world, 1, "a", &written).await;
            let lost = crate::setup::last_nodes(&world, params(&world).f());
            for node in &lost {
                let path = fragments(&world, *node).pop().unwrap();
                avid_store::Disk::remove(&world.disk(*node), &path).unwrap();
            }
            let [good, missing, corrupt, _] = audit(&world, "a").await;
            assert_eq!(good.len(), params(&world).n() - lost.len());
            assert!(lost.iter().all(|node| missing.contains(node) || corrupt.contains(node)));
            expect_read(&world, "a", &written).await;
            (world, ())
        });
    }
}
