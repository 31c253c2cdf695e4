//! Liars at random, by seed and by a fuzzer's bytes, beside honest traffic.

use std::time::Duration;

use avid_protocol::object::ObjectId;
use avid_types::{Generation, ObjectName};
use sim::liar_client::choices::Choices;
use sim::liar_client::misbehave::misbehave;
use sim::liar_client::moves::RandomLiar;
use sim::liar_client::{LiarClient, Surroundings};
use sim::random::Random;
use sim::world::{Shape, World, client_key};

use super::setup::{BYSTANDER, Bystander, pass, scenario};

fn victims() -> Vec<ObjectId> {
    let name = |number| ObjectName::new(&format!("honest {number}")).unwrap();
    let owner = client_key(BYSTANDER).public();
    (0..3).map(|number| ObjectId { owner, name: name(number), generation: Generation(0) }).collect()
}

/// One run of the swarm's entry point; returns the hash of its trace and the moves made.
fn run(seed: u64) -> ([u8; 32], std::collections::BTreeMap<&'static str, u64>) {
    sim::runtime::run(seed, async {
        let world = World::started(seed, Shape::default(), false).await;
        let bystander = Bystander::start(&world);
        let around = Surroundings::of(&world);
        let liars = vec![60, 61, 62];
        let time = Duration::from_secs(60);
        let mischief = tokio::spawn(misbehave(around, seed, liars, victims(), time)).await.unwrap();
        assert!(bystander.stop().await >= 2);
        pass(Duration::from_secs(120)).await;
        // Whatever of the liars' objects can be read is one of the contents they sealed, twice.
        let reader = world.client(2);
        for (object, contents) in mischief.objects.iter().chain(&mischief.objects) {
            drop(reader.get_of(object, contents).await);
        }
        assert_eq!(world.checker.violation(), None, "seed {seed}: {:?}", mischief.moves);
        (world.trace.hash(), mischief.moves)
    })
}

/// Spec: docs/protocol.md section 6, invariants I1 to I4 and I6 under random lying clients.
#[test]
fn random_liars_break_nothing_and_hold_up_nobody() {
    let mut moves = std::collections::BTreeMap::<&str, u64>::new();
    for seed in 1000..1006 {
        for (name, count) in run(seed).1 {
            *moves.entry(name).or_default() += count;
        }
    }
    assert_eq!(moves.len(), 18, "every kind of move was made: {moves:?}");
}

/// A seed is a run: what a liar does, and all that follows from it, repeats to the byte.
#[test]
fn the_same_seed_lies_the_same() {
    assert_eq!(run(1010), run(1010));
    assert_ne!(run(1010).0, run(1011).0);
}

/// The same moves, chosen by bytes as a fuzzer would: short, long, all alike and at random.
#[test]
fn a_fuzzers_bytes_drive_the_same_moves() {
    let mut random = Random::new(1020, "fuzzer");
    let mut inputs = vec![Vec::new(), vec![0; 40], vec![0xff; 200]];
    inputs.extend((1..12).map(|number| random.bytes(30 * number)));
    for bytes in inputs {
        scenario([1020], async |world, liar| {
            let liar: LiarClient = liar.clone();
            let mut random = RandomLiar::new(liar, victims());
            let mut choices = Choices::of_bytes(&bytes);
            while !choices.is_exhausted() {
                random.step(&mut choices).await;
            }
            let reader = world.client(2);
            let owner = random.liar.key().public();
            for (name, contents) in &random.contents {
                let name = ObjectName::new(name).unwrap();
                drop(reader.get_of(&avid_client::ObjectRef { owner, name }, contents).await);
            }
        });
    }
}
