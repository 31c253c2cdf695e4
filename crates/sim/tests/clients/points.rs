//! Scenarios 6 and 7: the evaluation point, who chooses it and what searching for one yields.

use std::time::Duration;

use avid_coding::digest::chunk_digests;
use avid_coding::fingerprint::point_seed;
use avid_protocol::statement::StatementKind;
use avid_protocol::wire::RefusalCode;
use avid_types::{Params, Slot, Suite};
use sim::liar_client::adversaries::VOTES;
use sim::liar_client::forged::Forged;
use sim::liar_client::play::dispersal;
use sim::random::Random;

use super::setup::{content, refused, scenario, voted};

/// Spec: docs/protocol.md section 6 (6) and 2.2. A client that uses a point of its own passes with
/// anything at a verifier that believes it, and nowhere here: no message has a place for a point.
#[test]
fn a_point_that_the_client_chose_is_used_by_nobody() {
    scenario([61, 62], async |world, liar| {
        let mut object =
            liar.object("own point", &content(world.seed, 4 * 4096), Duration::from_secs(30));
        let before = object.stripes[0].chunks.clone();
        let own = object.poison_at_own_point(0, Slot(4));
        assert_ne!(object.stripes[0].chunks, before);
        // At its point the false chunk has the fingerprint of the true one: every slot passes.
        let value = |chunk: &[u8]| own.evaluate(chunk).as_bytes().to_vec();
        assert_eq!(value(&object.stripes[0].chunks[4]), value(&before[4]));

        let heard = liar.perform(dispersal(&world.config, &object, world.nodes(), VOTES)).await;
        assert_eq!(refused(&heard).len(), 5);
        assert!(refused(&heard).iter().all(|(_, code)| *code == RefusalCode::Unverifiable));
        assert_eq!(voted(&heard, StatementKind::Echo), []);
        assert_eq!(world.checker.committed(object.upload()), None);
    });
}

/// Spec: docs/protocol.md section 6 (6). Every byte of every digest, and every parameter, moves
/// the point; a digest that were left out could be chosen last.
#[test]
fn every_byte_of_every_digest_and_every_parameter_moves_the_point() {
    let mut random = Random::new(6, "digests");
    for (m, n) in [(3, 5), (2, 4), (10, 16)] {
        let params = Params::with_most_liars(m, n).unwrap();
        let digests = random.bytes(32 * usize::from(n));
        let seed = point_seed(params, Suite::default(), 4096, &digests);
        let mut seen = std::collections::BTreeSet::from([seed.0]);
        for index in 0..digests.len() {
            let mut changed = digests.clone();
            changed[index] ^= 1 << random.below(8);
            assert!(seen.insert(point_seed(params, Suite::default(), 4096, &changed).0));
        }
        assert!(seen.insert(point_seed(params, Suite::default(), 4095, &digests).0));
        let other = Params::with_most_liars(m, n + 1).unwrap();
        assert!(seen.insert(point_seed(other, Suite::default(), 4096, &digests).0));
    }
}

/// Spec: docs/protocol.md section 6 (6). Changing any digest of a good stripe, even of a slot that
/// is not looked at, makes every chunk inconsistent: its point has moved under the fingerprints.
#[test]
fn a_digest_changed_in_any_slot_is_seen_at_every_other_slot() {
    scenario([63], async |world, liar| {
        let object = liar.object("digests", &content(63, 12_288), Duration::from_secs(30));
        let params = world.config.params;
        for slot in params.slots() {
            let mut changed: Forged = object.clone();
            changed.stripes[0].fpcc[slot.index() * 32 + 7] ^= 4;
            changed.root_again();
            let consistent = params.slots().filter(|slot| changed.is_consistent(0, *slot));
            assert_eq!(consistent.count(), 0, "digest of slot {slot}");
        }
    });
}

/// GF(2^8) as in section 2.4, and a toy K = GF(2^8)[y] / (y² + y + c) of 16 bits, on which the
/// search of section 2.2 takes a second instead of an age.
mod toy {
    pub(super) fn mul8(mut a: u8, mut b: u8) -> u8 {
        let mut product = 0;
        while b != 0 {
            if b & 1 == 1 {
                product ^= a;
            }
            a = if a & 0x80 == 0 { a << 1 } else { a << 1 ^ 0x1d };
            b >>= 1;
        }
        product
    }

    /// A constant for which y² + y + c has no root, so that K is a field.
    pub(super) fn constant() -> u8 {
        let has_root = |c: u8| (0..=255).any(|y| mul8(y, y) ^ y == c);
        (1..=255).find(|c| !has_root(*c)).unwrap()
    }

    pub(super) fn mul(a: [u8; 2], b: [u8; 2], c: u8) -> [u8; 2] {
        let high = mul8(a[1], b[1]);
        let cross = mul8(a[0], b[1]) ^ mul8(a[1], b[0]);
        [mul8(a[0], b[0]) ^ mul8(high, c), cross ^ high]
    }

    pub(super) fn add(a: [u8; 2], b: [u8; 2]) -> [u8; 2] {
        [a[0] ^ b[0], a[1] ^ b[1]]
    }

    /// Coefficients of the polynomial whose roots are a GF(2)-subspace of 2^dimension elements:
    /// the coefficient of x^(2^i) at i.
    pub(super) fn subspace(dimension: u32, c: u8) -> Vec<[u8; 2]> {
        let mut polynomial = vec![[1, 0]];
        for index in 0..dimension {
            // L(x) becomes L(x)² + L(v) L(x), which has v among its roots as well.
            let value = evaluate(&polynomial, (1_u16 << index).to_le_bytes(), c);
            let mut next = vec![[0, 0]; polynomial.len() + 1];
            for (power, coefficient) in polynomial.iter().enumerate() {
                next[power + 1] = add(next[power + 1], mul(*coefficient, *coefficient, c));
                next[power] = add(next[power], mul(value, *coefficient, c));
            }
            polynomial = next;
        }
        polynomial
    }

    /// The polynomial at a point.
    pub(super) fn evaluate(polynomial: &[[u8; 2]], mut point: [u8; 2], c: u8) -> [u8; 2] {
        let mut sum = [0, 0];
        for coefficient in polynomial {
            sum = add(sum, mul(*coefficient, point, c));
            point = mul(point, point, c);
        }
        sum
    }
}

/// Searches for a content whose point is a root of one of the syndromes: the best offline attack
/// of section 2.2. Returns how many of the tries would have passed a node.
fn grind(seed: u64, tries: u32, syndromes: &[Vec<[u8; 2]>]) -> u32 {
    let (params, suite) = (Params::with_most_liars(3, 5).unwrap(), Suite::default());
    let c = toy::constant();
    let mut random = Random::new(seed, "grinding");
    let chunks: Vec<Vec<u8>> = (0..5).map(|_| random.bytes(130)).collect();
    let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
    let mut digests: Vec<u8> = chunk_digests(&chunks).iter().flat_map(|digest| digest.0).collect();
    let mut passed = 0;
    for attempt in 0..tries {
        // Another last word of the message: another digest of one chunk, another point.
        digests[..4].copy_from_slice(&attempt.to_le_bytes());
        let point = point_seed(params, suite, 130, &digests).0;
        let point = [point[0], point[1]];
        let is_root = |syndrome: &Vec<[u8; 2]>| toy::evaluate(syndrome, point, c) == [0, 0];
        passed += u32::from(syndromes.iter().any(is_root));
    }
    passed
}

/// Spec: docs/protocol.md section 6 (7) and 2.3: whatever is ground, at most
/// q · C(n, m+1) · ε of q tries pass, with ε = degree / |K|.
///
/// Syndromes of distinct roots in several (m+1)-subsets add up, so the factor C(n, m+1) is needed;
/// the search reaches the bound of one subset, so that bound is tight.
#[test]
fn grinding_a_toy_field_passes_as_often_as_the_theorem_allows_and_no_more() {
    const TRIES: u32 = 1 << 16;
    let (c, field) = (toy::constant(), 65_536.0_f64);
    for dimension in [4_u32, 6, 8] {
        let degree = f64::from(1_u32 << dimension);
        let epsilon = degree / field;
        let one = toy::subspace(dimension, c);
        let roots = (0..=u16::MAX).filter(|x| toy::evaluate(&one, x.to_le_bytes(), c) == [0, 0]);
        assert_eq!(roots.count(), 1 << dimension, "the syndrome splits completely");
        let tries = f64::from(TRIES);
        let (expected, deviation) = (tries * epsilon, (tries * epsilon).sqrt());
        let passed = f64::from(grind(u64::from(dimension), TRIES, std::slice::from_ref(&one)));
        assert!(passed <= expected + 5.0 * deviation, "{passed} of {expected} expected");
        assert!(passed >= expected - 5.0 * deviation, "the attack works: {passed} of {expected}");

        // Two poisoned parity slots: their syndromes fill all C(5, 4) = 5 subsets.
        let other: Vec<[u8; 2]> = shifted(&one);
        let both = f64::from(grind(u64::from(dimension), TRIES, &[one, other]));
        assert!(both >= 2.0 * (expected - 5.0 * deviation), "{both} of {expected} each");
        let is_separable = expected > 10.0 * deviation;
        assert!(both > expected + 5.0 * deviation || !is_separable, "one subset allows {both}");
        let bound = 5.0 * expected;
        assert!(both <= bound + 5.0 * bound.sqrt(), "{both} of at most {bound}");
    }
}

/// The polynomial whose roots are those of another, multiplied by y: another subspace.
fn shifted(polynomial: &[[u8; 2]]) -> Vec<[u8; 2]> {
    let c = toy::constant();
    // L(x / y) has the coefficient of x^(2^i) divided by y^(2^i).
    let y = [0, 1];
    let inverse = (1..=u16::MAX).map(u16::to_le_bytes);
    let mut power = inverse.into_iter().find(|x| toy::mul(*x, y, c) == [1, 0]).unwrap();
    let mut result = Vec::new();
    for coefficient in polynomial {
        result.push(toy::mul(*coefficient, power, c));
        power = toy::mul(power, power, c);
    }
    result
}
