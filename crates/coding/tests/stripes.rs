//! Stripes from end to end: homomorphism, checks, rebuilds and frozen answers.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "in a test a panic is the report"
)]

use avid_coding::merkle::stripe_leaf;
use avid_coding::{
    ChunkFault, EncodeError, Fpcc, MerkleBuilder, RebuildError, StripeCoder, SubChunk, TreeKind,
    chunk_digest,
};
use avid_types::{FingerprintKind, Params, Slot, StripeIndex, Suite};
use proptest::prelude::*;

const SHAPES: [(u8, u8); 8] =
    [(3, 5), (4, 6), (2, 4), (8, 12), (10, 16), (1, 2), (4, 7), (254, 255)];
const EDGES: [usize; 10] = [1, 15, 16, 1023, 1024, 1025, 16_383, 16_384, 16_385, 256 << 10];
const KINDS: [FingerprintKind; 2] = [FingerprintKind::Fp128, FingerprintKind::Fp64];

struct Stripe {
    coder: StripeCoder,
    chunks: Vec<Vec<u8>>,
    fpcc: Fpcc,
}

fn coder(m: u8, n: u8, fingerprint: FingerprintKind) -> StripeCoder {
    let suite = Suite { fingerprint, ..Suite::default() };
    StripeCoder::new(Params::with_most_liars(m, n).unwrap(), suite)
}

/// Bytes that look random and depend on the seed.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..bytes).map(|_| next()).collect()
}

fn stripe(coder: StripeCoder, bytes: usize, seed: u64) -> Stripe {
    let params = coder.params();
    let data: Vec<Vec<u8>> = (seed..).map(|s| noise(s, bytes)).take(params.m()).collect();
    let mut parity = vec![vec![0xEE; bytes]; params.parity()];
    let views: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    let mut outputs: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
    let fpcc = coder.encode(&views, &mut outputs).unwrap();
    Stripe { coder, chunks: [data, parity].concat(), fpcc }
}

impl Stripe {
    fn pairs(&self) -> Vec<(Slot, &[u8])> {
        self.coder.params().slots().zip(self.chunks.iter().map(Vec::as_slice)).collect()
    }

    /// The fingerprints of *all* n chunks at the stripe's point.
    fn fingerprints(&self) -> Vec<Vec<u8>> {
        let (params, suite) = (self.coder.params(), self.coder.suite());
        let bytes = u32::try_from(self.chunks[0].len()).unwrap();
        let seed = avid_coding::fingerprint::point_seed(params, suite, bytes, self.fpcc.all_cc());
        let at = avid_coding::fingerprint::at_seed(suite.fingerprint, &seed);
        self.chunks.iter().map(|chunk| at.evaluate(chunk).as_bytes().to_vec()).collect()
    }

    fn check_homomorphism(&self) {
        let all = self.fingerprints();
        for (slot, own) in self.coder.params().slots().zip(&all) {
            let row = self.coder.codec().generator_row(SubChunk { slot, part: 0 }).unwrap();
            let mut applied = vec![0; own.len()];
            for (coefficient, value) in row.iter().zip(&all) {
                avid_coding::gf::add_scaled(&mut applied, *coefficient, value);
            }
            assert_eq!(&applied, own, "{} slot {slot}", self.coder.params());
        }
    }

    /// A cross-checksum with one byte changed.
    fn mutated(&self, at: usize, xor: u8) -> Fpcc {
        let mut bytes = self.fpcc.as_bytes().to_vec();
        bytes[at] ^= xor;
        Fpcc::from_bytes(self.coder.params(), self.coder.suite(), &bytes).unwrap()
    }
}

#[test]
fn parity_fingerprints_are_the_generator_row_of_the_data_fingerprints() {
    for (m, n) in SHAPES {
        for kind in KINDS {
            stripe(coder(m, n, kind), 2000, u64::from(m)).check_homomorphism();
        }
    }
}

#[test]
fn genuine_chunks_pass_at_every_edge_length() {
    for bytes in EDGES {
        for kind in KINDS {
            let stripe = stripe(coder(3, 5, kind), bytes, 1);
            stripe.check_homomorphism();
            let pairs = stripe.pairs();
            assert_eq!(stripe.coder.check_chunks(&pairs, &stripe.fpcc), vec![Ok(()); 5]);
            for (slot, chunk) in pairs {
                assert_eq!(stripe.coder.check_chunk(slot, chunk, &stripe.fpcc), Ok(()));
                assert_eq!(stripe.fpcc.cc(slot), Some(chunk_digest(chunk)));
            }
        }
    }
}

#[test]
fn all_shapes_check_their_own_chunks() {
    for (m, n) in SHAPES {
        let stripe = stripe(coder(m, n, FingerprintKind::Fp128), 5000, 3);
        let results = stripe.coder.check_chunks(&stripe.pairs(), &stripe.fpcc);
        assert!(results.iter().all(Result::is_ok), "{m}-of-{n}");
    }
}

/// A writer that lies consistently in hashes: digests of what it sends, but not one codeword.
/// Only the fingerprint catches it.
#[test]
fn a_chunk_off_the_codeword_with_a_matching_digest_fails_by_its_fingerprint() {
    for kind in KINDS {
        let honest = stripe(coder(3, 5, kind), 4096, 7);
        for bit in [0, 7, 8 * 1024, 8 * 4096 - 1] {
            for slot in 0..5_usize {
                let mut chunks = honest.chunks.clone();
                chunks[slot][bit / 8] ^= 1 << (bit % 8);
                // The cross-checksum of the lie: its own digests, the best fingerprints there are.
                let mut bytes: Vec<u8> =
                    chunks.iter().flat_map(|chunk| chunk_digest(chunk).0).collect();
                let (params, suite) = (honest.coder.params(), honest.coder.suite());
                let draft = [bytes.clone(), vec![0; 3 * kind.bytes()]].concat();
                let fpcc = Fpcc::from_bytes(params, suite, &draft).unwrap();
                let lie = Stripe { coder: coder(3, 5, kind), chunks, fpcc };
                bytes.extend(lie.fingerprints()[..3].concat());
                let fpcc = Fpcc::from_bytes(params, suite, &bytes).unwrap();
                let results = lie.coder.check_chunks(&lie.pairs(), &fpcc);
                let faults: Vec<_> = results.iter().filter(|r| r.is_err()).collect();
                assert!(!faults.is_empty(), "{kind:?} slot {slot} bit {bit}");
                assert!(faults.iter().all(|r| **r == Err(ChunkFault::Fingerprint)));
            }
        }
    }
}

#[test]
fn wrong_slot_length_and_shape_are_named() {
    let stripe = stripe(coder(3, 5, FingerprintKind::Fp128), 4096, 9);
    let check = |slot, chunk: &[u8]| stripe.coder.check_chunk(Slot(slot), chunk, &stripe.fpcc);
    assert_eq!(check(5, &stripe.chunks[0]), Err(ChunkFault::Slot));
    assert_eq!(check(0, &[]), Err(ChunkFault::Length));
    assert_eq!(check(0, &vec![0; (4 << 20) + 1]), Err(ChunkFault::Length));
    assert_eq!(check(0, &stripe.chunks[0][..4095]), Err(ChunkFault::Hash));
    assert_eq!(check(1, &stripe.chunks[0]), Err(ChunkFault::Hash));
    let foreign = coder(2, 4, FingerprintKind::Fp128);
    let fault = foreign.check_chunk(Slot(0), &stripe.chunks[0], &stripe.fpcc);
    assert_eq!(fault, Err(ChunkFault::Slot));
}

#[test]
fn one_bad_chunk_in_a_pool_spoils_no_other() {
    let stripe = stripe(coder(4, 6, FingerprintKind::Fp128), 20_000, 11);
    let mut bad = stripe.chunks[2].clone();
    bad[19_999] ^= 0x80;
    let mut pairs = stripe.pairs();
    pairs[2].1 = &bad;
    pairs.insert(1, (Slot(200), &bad));
    let expected =
        [Ok(()), Err(ChunkFault::Slot), Ok(()), Err(ChunkFault::Hash), Ok(()), Ok(()), Ok(())];
    assert_eq!(stripe.coder.check_chunks(&pairs, &stripe.fpcc), expected);
}

#[test]
fn one_slot_over_several_stripes_is_checked_against_each_own_checksum() {
    let stripes: Vec<Stripe> = (0..4)
        .map(|s| {
            stripe(coder(3, 5, FingerprintKind::Fp128), if s == 3 { 777 } else { 8192 }, 50 + s)
        })
        .collect();
    let mut checks: Vec<(&[u8], &Fpcc)> =
        stripes.iter().map(|s| (s.chunks[4].as_slice(), &s.fpcc)).collect();
    let results = stripes[0].coder.check_slot_chunks(Slot(4), &checks);
    assert_eq!(results, vec![Ok(()); 4]);
    checks.swap(0, 1);
    let swapped: Vec<_> = vec![(checks[0].0, checks[1].1), (checks[1].0, checks[0].1)];
    let results = stripes[0].coder.check_slot_chunks(Slot(4), &swapped);
    assert_eq!(results, vec![Err(ChunkFault::Hash); 2]);
}

/// Rule: FPCC-1. A writer names chunks of two lengths in one cross-checksum; pooled or alone, each
/// chunk gets one verdict.
#[test]
fn each_chunk_of_a_pool_is_checked_at_the_point_of_its_own_length() {
    let coder = coder(1, 2, FingerprintKind::Fp128);
    let (params, suite) = (coder.params(), coder.suite());
    let (long, short) = (noise(1, 4096), noise(2, 2048));
    let digests = [chunk_digest(&long).0, chunk_digest(&short).0].concat();
    // The parity row of 1-of-2 is 1: what is stated for the data is expected of the parity.
    let seed = avid_coding::fingerprint::point_seed(params, suite, 2048, &digests);
    let stated = avid_coding::fingerprint::at_seed(suite.fingerprint, &seed).evaluate(&short);
    let bytes = [&digests, stated.as_bytes()].concat();
    let fpcc = Fpcc::from_bytes(params, suite, &bytes).unwrap();
    let pool = [(Slot(0), long.as_slice()), (Slot(1), short.as_slice())];
    let expected = [Err(ChunkFault::Fingerprint), Ok(())];
    assert_eq!(coder.check_chunks(&pool, &fpcc), expected);
    assert_eq!(pool.map(|(slot, chunk)| coder.check_chunk(slot, chunk, &fpcc)), expected);
}

#[test]
fn every_lost_subset_up_to_seven_is_rebuilt() {
    for n in 2..=7_u8 {
        for m in 1..n {
            let stripe = stripe(coder(m, n, FingerprintKind::Fp128), 130, u64::from(n));
            for lost in 1..1_u32 << n {
                let (gone, kept): (Vec<_>, Vec<_>) =
                    stripe.pairs().into_iter().partition(|(slot, _)| lost >> slot.0 & 1 == 1);
                let mut buffers = vec![vec![0; 130]; gone.len()];
                let mut wanted: Vec<(Slot, &mut [u8])> =
                    gone.iter().zip(&mut buffers).map(|((s, _), b)| (*s, &mut b[..])).collect();
                let result = stripe.coder.rebuild(&kept, &mut wanted);
                if kept.len() < usize::from(m) {
                    let (available, needed) = (kept.len(), usize::from(m));
                    assert_eq!(result, Err(RebuildError::TooFewChunks { available, needed }));
                    continue;
                }
                result.unwrap();
                for ((slot, original), rebuilt) in gone.iter().zip(&buffers) {
                    assert_eq!(original, rebuilt, "{m}-of-{n} lost {lost:b} slot {slot}");
                }
            }
        }
    }
}

#[test]
fn encode_refuses_bad_shapes_and_touches_nothing() {
    let coder = coder(2, 4, FingerprintKind::Fp128);
    let mut parity = [[9_u8; 8]; 2];
    let mut encode = |data: &[&[u8]]| {
        let [a, b] = &mut parity;
        coder.encode(data, &mut [a, b]).unwrap_err()
    };
    let no_length = EncodeError::ChunkBytes { bytes: 0 };
    assert!(matches!(encode(&[&[1; 8]]), EncodeError::Shape(_)));
    assert!(matches!(encode(&[&[1; 8], &[1; 7]]), EncodeError::Shape(_)));
    assert!(matches!(encode(&[&[1; 7], &[1; 7]]), EncodeError::Shape(_)));
    assert_eq!(encode(&[&[], &[]]), no_length);
    assert_eq!(encode(&[]), no_length);
    assert_eq!(parity, [[9; 8]; 2]);
}

#[test]
fn rebuild_refuses_bad_shapes_and_touches_nothing() {
    let coder = coder(2, 4, FingerprintKind::Fp128);
    let mut out = [9; 8];
    let mut rebuild = |first: &[u8], second: &[u8]| {
        coder.rebuild(&[(Slot(0), first), (Slot(1), second)], &mut [(Slot(2), &mut out)])
    };
    assert!(matches!(rebuild(&[1; 8], &[1; 7]), Err(RebuildError::Shape(_))));
    assert!(matches!(rebuild(&[1; 7], &[1; 7]), Err(RebuildError::Shape(_))));
    assert!(matches!(rebuild(&[], &[]), Err(RebuildError::Shape(_))));
    assert_eq!(out, [9; 8]);
}

/// Digests, fingerprints, cross-checksum digest and root of a fixed object, frozen.
#[test]
fn known_answers() {
    let mut text = String::new();
    for (m, n, bytes) in [(3, 5, 4096), (3, 5, 40_000), (1, 2, 1), (10, 16, 1024)] {
        for kind in KINDS {
            let stripe = stripe(coder(m, n, kind), bytes, 42);
            let (params, suite) = (stripe.coder.params(), stripe.coder.suite());
            let length = u32::try_from(bytes).unwrap();
            let fpd = stripe.fpcc.digest(params, suite, length);
            let seed =
                avid_coding::fingerprint::point_seed(params, suite, length, stripe.fpcc.all_cc());
            let last = Slot(n - 1);
            let fp: String =
                stripe.fpcc.fp(Slot(0)).unwrap().iter().map(|b| format!("{b:02x}")).collect();
            let mut builder = MerkleBuilder::new(TreeKind::Stripes);
            for s in 0..3 {
                builder.push(stripe_leaf(StripeIndex(s), length, &fpd));
            }
            text += &format!(
                "{m}-of-{n} {bytes} bytes {kind:?}\n  cc[0] {}\n  cc[{last}] {}\n  seed {seed}\n  \
                 fp[0] {fp}\n  fpd {fpd}\n  root of 3 {}\n",
                stripe.fpcc.cc(Slot(0)).unwrap(),
                stripe.fpcc.cc(last).unwrap(),
                builder.root(),
            );
        }
    }
    assert_eq!(text, include_str!("../testdata/stripes.txt"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn homomorphism_holds_for_any_shape_and_length(
        m in 1_u8..40, parity in 1_u8..20, bytes in 1_usize..5000, seed: u64, fp64: bool,
    ) {
        let kind = if fp64 { FingerprintKind::Fp64 } else { FingerprintKind::Fp128 };
        let stripe = stripe(coder(m, m + parity, kind), bytes, seed >> 8);
        stripe.check_homomorphism();
        let results = stripe.coder.check_chunks(&stripe.pairs(), &stripe.fpcc);
        prop_assert!(results.iter().all(Result::is_ok));
    }

    #[test]
    fn one_flipped_bit_fails(
        slot in 0_usize..5, bytes in 1_usize..40_000, position: prop::sample::Index, seed: u64,
    ) {
        let stripe = stripe(coder(3, 5, FingerprintKind::Fp128), bytes, seed >> 8);
        let mut chunk = stripe.chunks[slot].clone();
        let bit = position.index(8 * bytes);
        chunk[bit / 8] ^= 1 << (bit % 8);
        let slot = Slot(u8::try_from(slot).unwrap());
        prop_assert_eq!(stripe.coder.check_chunk(slot, &chunk, &stripe.fpcc), Err(ChunkFault::Hash));
    }

    /// Any change to any digest moves the point: genuine chunks of *other* slots fail.
    #[test]
    fn a_changed_digest_moves_the_point(
        at in 0_usize..160, xor in 1_u8.., seed: u64, fp64: bool,
    ) {
        let kind = if fp64 { FingerprintKind::Fp64 } else { FingerprintKind::Fp128 };
        let stripe = stripe(coder(3, 5, kind), 2048, seed >> 8);
        let mutated = stripe.mutated(at, xor);
        for (slot, result) in stripe.coder.check_chunks(&stripe.pairs(), &mutated).iter().enumerate() {
            let expected = if slot == at / 32 { ChunkFault::Hash } else { ChunkFault::Fingerprint };
            prop_assert_eq!(*result, Err(expected));
        }
    }

    #[test]
    fn a_changed_data_fingerprint_fails_its_slot_and_all_parity(
        at in 0_usize..48, xor in 1_u8.., seed: u64,
    ) {
        let stripe = stripe(coder(3, 5, FingerprintKind::Fp128), 2048, seed >> 8);
        let mutated = stripe.mutated(160 + at, xor);
        for (slot, result) in stripe.coder.check_chunks(&stripe.pairs(), &mutated).iter().enumerate() {
            let touched = slot == at / 16 || slot >= 3;
            prop_assert_eq!(*result == Err(ChunkFault::Fingerprint), touched);
        }
    }

    #[test]
    fn random_losses_of_random_shapes_are_rebuilt(
        m in 1_u8..30, parity in 1_u8..30, bytes in 1_usize..300, seed: u64,
    ) {
        let stripe = stripe(coder(m, m + parity, FingerprintKind::Fp128), bytes, seed >> 8);
        let mut kept = stripe.pairs();
        let order = noise(seed, kept.len());
        kept.sort_by_key(|(slot, _)| order[slot.index()]);
        let gone = kept.split_off(usize::from(m));
        let mut buffers = vec![vec![0; bytes]; gone.len()];
        let mut wanted: Vec<(Slot, &mut [u8])> =
            gone.iter().zip(&mut buffers).map(|((s, _), b)| (*s, &mut b[..])).collect();
        stripe.coder.rebuild(&kept, &mut wanted).unwrap();
        for ((slot, original), rebuilt) in gone.iter().zip(&buffers) {
            prop_assert_eq!(original, rebuilt, "slot {}", slot);
        }
    }
}
