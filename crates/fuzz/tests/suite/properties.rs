//! No bytes make a target panic or hold more memory than it states.

use std::collections::BTreeSet;

use avid_fuzz::{TARGETS, Target, find};
use proptest::prelude::{ProptestConfig, any, prop};
use proptest::test_runner::{TestCaseError, TestRunner};

use crate::counting::peak_of;
use crate::mutation::{change, put_number};

/// Runs a target and holds it to its bound.
#[track_caller]
fn run(target: &Target, bytes: &[u8]) {
    let peak = peak_of(|| (target.run)(bytes));
    let bound = target.bound.of(bytes.len());
    let name = target.name;
    assert!(peak <= bound, "{name} held {peak} bytes for {} of input, bound {bound}", bytes.len());
}

/// Places of a seed that a sweep visits: every one of a short seed, evenly spread ones of a long one.
fn places(len: usize, most: usize) -> impl Iterator<Item = usize> {
    (0..len).step_by(len.div_ceil(most).max(1))
}

const CASES: u32 = 1_500;
/// Places per seed at which a number is enlarged or the seed is cut.
const PLACES_MAX: usize = 96;

fn check(name: &str) {
    let target = find(name).unwrap();
    let seeds = (target.seeds)();
    assert!(!seeds.is_empty(), "{name} has no seeds");
    seeds.iter().for_each(|seed| run(target, seed));
    sweep_cuts(target, &seeds);
    sweep_numbers(target, &seeds);
    random_and_mutated(target, &seeds);
}

/// Ends that are missing.
fn sweep_cuts(target: &Target, seeds: &[Vec<u8>]) {
    for seed in seeds {
        for cut in places(seed.len(), PLACES_MAX) {
            run(target, &seed[..cut]);
        }
    }
}

/// Lengths and counts that promise more than follows: wherever they stand, this hits them.
fn sweep_numbers(target: &Target, seeds: &[Vec<u8>]) {
    for seed in seeds {
        for at in places(seed.len(), PLACES_MAX) {
            for (width, value) in [(1, 0xff), (2, 0xffff), (4, 0x000f_ffff), (4, u64::MAX)] {
                let mut bytes = seed.clone();
                put_number(&mut bytes, at, width, value);
                run(target, &bytes);
            }
        }
    }
}

fn random_and_mutated(target: &Target, seeds: &[Vec<u8>]) {
    let config =
        ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() };
    let inputs = (
        prop::collection::vec(any::<u8>(), 0..400),
        any::<prop::sample::Index>(),
        prop::collection::vec(change(), 1..6),
    );
    let outcome = TestRunner::new(config).run(&inputs, |(random, seed, changes)| {
        run(target, &random);
        let mut bytes = seeds[seed.index(seeds.len())].clone();
        changes.iter().for_each(|change| change.apply(&mut bytes, seeds));
        run(target, &bytes);
        Ok::<(), TestCaseError>(())
    });
    if let Err(failure) = outcome {
        panic!("{}: {failure}", target.name);
    }
}

/// One test per target, so that they run side by side and a failure names its target.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                check(stringify!($name));
            }
        )*

        const TESTED: &[&str] = &[$(stringify!($name)),*];
    };
}

tests!(
    frame_header,
    frame_stream,
    hello,
    accept,
    refusal,
    handshake_responder,
    handshake_initiator,
    message,
    verify,
    chunk_prefix,
    frag_prefix,
    cross_checksum,
    merkle_path,
    open,
    manifest,
    seal,
    order,
    vote,
    certificate,
    commit_proof,
    predecessor,
    grant,
    heartbeat,
    upload_record,
    journal,
    fragment,
    fragment_names,
    store_identity,
    journal_record,
    index_upload,
    index_key,
    cluster_config,
    json,
);

#[test]
fn every_target_of_the_table_is_tested_and_has_a_binary_for_the_fuzzer() {
    let names: BTreeSet<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(names, TESTED.iter().copied().collect());
    assert_eq!(names.len(), TARGETS.len(), "a name stands twice");
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz");
    let manifest = std::fs::read_to_string(format!("{root}/Cargo.toml")).unwrap();
    for name in &names {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} has no [[bin]]");
        let binary = std::fs::read_to_string(format!("{root}/fuzz_targets/{name}.rs")).unwrap();
        assert!(binary.contains(&format!("\"{name}\"")), "{name}.rs runs another target");
    }
    assert_eq!(std::fs::read_dir(format!("{root}/fuzz_targets")).unwrap().count(), names.len());
}

/// A decoder that believes the length it reads: what the bounds are there to catch.
fn credulous(bytes: &[u8]) {
    if let Some((length, _)) = bytes.split_first_chunk::<4>() {
        drop(Vec::<u8>::with_capacity(u32::from_le_bytes(*length) as usize));
    }
}

#[test]
#[should_panic(expected = "bound")]
fn a_decoder_that_believes_a_length_breaks_its_bound() {
    let target = Target { run: credulous, ..*find("hello").unwrap() };
    run(&target, &(1_u32 << 20).to_le_bytes());
}

#[test]
fn memory_is_counted_at_its_highest() {
    let peak = peak_of(|| {
        drop(vec![1_u8; 1000]);
        let mut grown = vec![1_u8; 2000];
        grown.reserve_exact(3000);
    });
    assert_eq!(peak, 2000 + 5000, "old and new are held while a vector grows");
}
