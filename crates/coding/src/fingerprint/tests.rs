//! Known answers, irreducibility of the moduli, and the homomorphism.
//!
//! Spec: docs/protocol.md FPCC-1, SUITE-1.

use super::*;

fn hex<const N: usize>(text: &str) -> [u8; N] {
    std::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
}

fn counting<const N: usize>(first: u8) -> [u8; N] {
    std::array::from_fn(|i| first + u8::try_from(i).unwrap())
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| u8::try_from((7 * i + 3) % 256).unwrap()).collect()
}

/// The sum of X[t][j] R^(T-1-t) S^j, term by term.
fn by_definition<const K: usize>(
    chunk: &[u8],
    r: &Element<K>,
    s: &Element<K>,
    modulus: tower::Modulus,
) -> Element<K> {
    let mut sum = [0; K];
    for superblock in chunk.chunks(LANES * K) {
        let mut lanes = [0; K];
        for j in (0..LANES).rev() {
            let element: Element<K> =
                std::array::from_fn(|k| superblock.get(LANES * k + j).copied().unwrap_or(0));
            lanes = tower::apply(&tower::matrix_of(s, modulus), &lanes);
            lanes = std::array::from_fn(|k| lanes[k] ^ element[k]);
        }
        sum = tower::apply(&tower::matrix_of(r, modulus), &sum);
        sum = std::array::from_fn(|k| sum[k] ^ lanes[k]);
    }
    sum
}

#[test]
fn there_is_a_kernel_to_test_and_the_best_is_among_them() {
    assert_eq!(Kernel::available().first(), Some(&Kernel::Portable));
    assert!(Kernel::available().contains(&Kernel::best()));
}

#[test]
fn a_value_prints_its_construction_and_its_bytes() {
    let chunk = [0xa5];
    let long = Fp128::at([0; 16], [0; 16]).evaluate(&chunk);
    assert_eq!(format!("{long:?}"), "Fp128(a5000000000000000000000000000000)");
    let short = Fp64::at([0; 8], [0; 8]).evaluate(&chunk);
    assert_eq!(format!("{short:?}"), "Fp64(a500000000000000)");
}

#[test]
fn known_answers_of_the_specification() {
    let (r, s) = (counting::<16>(0x00), counting::<16>(0x10));
    let product = tower::apply(&tower::matrix_of(&r, tower::FP128), &s);
    assert_eq!(product, hex("d70516d32d709f71bd34be2500e036f1"));
    let mut second_lane = vec![0; 66];
    second_lane[65] = 1;
    for kernel in Kernel::available() {
        let fp = Fp128::with_kernel(kernel, r, s);
        let value = |chunk: &[u8]| fp.evaluate(chunk).as_bytes().to_vec();
        assert_eq!(value(&pattern(2500)), hex::<16>("c65120430dfe1a50bd777927c7f739e8"));
        assert_eq!(value(&[1]), hex::<16>("01000000000000000000000000000000"));
        assert_eq!(value(&second_lane), hex::<16>("3e100e12130b15161718191a1b1c1d1e"));
        assert_eq!(value(&[]), [0; 16]);
    }
}

#[test]
fn known_answers_of_the_64_bit_variant() {
    let (r, s) = (counting::<8>(0x00), counting::<8>(0x08));
    let mut second_lane = vec![0; 66];
    second_lane[65] = 1;
    for kernel in Kernel::available() {
        let fp = Fp64::with_kernel(kernel, r, s);
        let value = |chunk: &[u8]| fp.evaluate(chunk).as_bytes().to_vec();
        assert_eq!(value(&pattern(2500)), hex::<8>(FP64_PATTERN));
        assert_eq!(value(&[1]), hex::<8>("0100000000000000"));
        // y * S: the carry 0f folds back as 9 * 0f = 77 to y^0, and as 0f to y^1 and y^3.
        assert_eq!(value(&second_lane), hex::<8>("770709050b0c0d0e"));
    }
}

/// Frozen; computed by an independent program from the definition.
const FP64_PATTERN: &str = "b64ceab3f8d6ccaf";

#[test]
fn every_kernel_equals_the_definition() {
    let (r, s) = (hex("9f3c0102a4b5ee1077c1d2e3f40516a8"), hex("60b1c2d3e4f5061728394a5b6c7d8e9f"));
    let (r64, s64) = (hex("9f3c0102a4b5ee10"), hex("60b1c2d3e4f50617"));
    for length in [0, 1, 15, 16, 63, 64, 65, 511, 512, 513, 1023, 1024, 1025, 4096, 16_385] {
        let chunk = pattern(length);
        let expected = by_definition::<16>(&chunk, &r, &s, tower::FP128);
        let expected64 = by_definition::<8>(&chunk, &r64, &s64, tower::FP64);
        for kernel in Kernel::available() {
            let fp = Fp128::with_kernel(kernel, r, s).evaluate(&chunk);
            assert_eq!(fp.as_bytes(), expected, "{kernel:?}, {length} bytes");
            let fp = Fp64::with_kernel(kernel, r64, s64).evaluate(&chunk);
            assert_eq!(fp.as_bytes(), expected64, "{kernel:?}, {length} bytes");
        }
    }
}

#[test]
fn the_point_depends_on_every_input() {
    let suite = Suite::default();
    let params = Params::validate(3, 5, 1).unwrap();
    let digests = [0x5A; 160];
    let seed = point_seed(params, suite, 4096, &digests);
    for bit in 0..160 * 8 {
        let mut other = digests;
        other[bit / 8] ^= 1 << (bit % 8);
        assert_ne!(point_seed(params, suite, 4096, &other), seed, "bit {bit}");
    }
    assert_ne!(point_seed(params, suite, 4095, &digests), seed);
    assert_ne!(point_seed(Params::validate(2, 5, 1).unwrap(), suite, 4096, &digests), seed);
    let fp64 = Suite { fingerprint: FingerprintKind::Fp64, ..suite };
    assert_ne!(point_seed(params, fp64, 4096, &digests), seed);
}

#[test]
fn the_point_is_the_halves_of_the_seed() {
    let seed = Digest(counting(0));
    let chunk = pattern(3000);
    let fp128 = at_seed(FingerprintKind::Fp128, &seed).evaluate(&chunk);
    assert_eq!(fp128, Fp128::at(counting(0), counting(16)).evaluate(&chunk));
    let fp64 = at_seed(FingerprintKind::Fp64, &seed).evaluate(&chunk);
    assert_eq!(fp64, Fp64::at(counting(0), counting(8)).evaluate(&chunk));
}
