//! The Horner step with GFNI on 512-bit vectors: one instruction multiplies 64 lanes.
//!
//! Multiplication by a constant is linear over GF(2), so it is an 8 x 8 bit matrix, and
//! `vgf2p8affineqb` applies one to every byte, whatever the field polynomial. A block takes K * K
//! of them and half as many three-way XORs; the planes stay in registers.

#![expect(unsafe_code, reason = "vector instructions, behind run-time detection; twin: portable")]
#![expect(clippy::indexing_slicing, reason = "constant indexes into arrays of K entries")]

use std::arch::x86_64::{
    __m512i, _mm512_gf2p8affine_epi64_epi8, _mm512_loadu_si512, _mm512_set1_epi64,
    _mm512_setzero_si512, _mm512_storeu_si512, _mm512_ternarylogic_epi64,
};

use super::{LANES, Matrix, Planes};
use crate::gf;

/// Truth table of the XOR of three inputs.
const XOR3: i32 = 0x96;

/// Bit matrices of the multiplications by every constant.
const AFFINE: &[i64; 256] = &affine_of_all();

pub(super) fn is_available() -> bool {
    std::arch::is_x86_feature_detected!("avx512f") && std::arch::is_x86_feature_detected!("gfni")
}

/// Bit matrices of the factors. Invariant: exists only where [`is_available`].
#[derive(Debug)]
pub(super) struct Tables<const K: usize> {
    factors: Box<[[i64; K]; K]>,
}

impl<const K: usize> Tables<K> {
    pub(super) fn new(matrix: &Matrix<K>) -> Option<Self> {
        is_available().then(|| Self {
            factors: Box::new(matrix.map(|row| row.map(|factor| AFFINE[usize::from(factor)]))),
        })
    }

    pub(super) fn run(&self, planes: &mut Planes<K>, blocks: &[Planes<K>]) {
        // SAFETY: `new` has confirmed every feature that `run` enables.
        unsafe { run(&self.factors, planes, blocks) }
    }
}

#[target_feature(enable = "avx512f,gfni")]
fn run<const K: usize>(factors: &[[i64; K]; K], planes: &mut Planes<K>, blocks: &[Planes<K>]) {
    let mut sums = [_mm512_setzero_si512(); K];
    for (sum, plane) in sums.iter_mut().zip(&*planes) {
        *sum = load(plane);
    }
    for block in blocks {
        let mut next = [_mm512_setzero_si512(); K];
        for i in 0..K {
            let mut sum = load(&block[i]);
            for pair in 0..K / 2 {
                let (j, k) = (2 * pair, 2 * pair + 1);
                let left = multiply(sums[j], factors[i][j]);
                let right = multiply(sums[k], factors[i][k]);
                sum = _mm512_ternarylogic_epi64::<XOR3>(sum, left, right);
            }
            next[i] = sum;
        }
        sums = next;
    }
    for (plane, sum) in planes.iter_mut().zip(sums) {
        store(plane, sum);
    }
}

#[target_feature(enable = "avx512f,gfni")]
#[inline]
fn multiply(plane: __m512i, factor: i64) -> __m512i {
    _mm512_gf2p8affine_epi64_epi8::<0>(plane, _mm512_set1_epi64(factor))
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load(plane: &[u8; LANES]) -> __m512i {
    // SAFETY: the reference is to 64 readable bytes, and the load needs no alignment.
    unsafe { _mm512_loadu_si512(plane.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn store(plane: &mut [u8; LANES], value: __m512i) {
    // SAFETY: the reference is to 64 writable bytes, and the store needs no alignment.
    unsafe { _mm512_storeu_si512(plane.as_mut_ptr().cast(), value) }
}

const fn affine_of_all() -> [i64; 256] {
    let mut table = [0; 256];
    let mut factor = 0;
    while factor < 256 {
        table[factor] = affine(&gf::PRODUCTS[factor]);
        factor += 1;
    }
    table
}

/// The matrix whose products are `products`: byte 7 - b of the word holds output bit b, and its
/// bit a says whether input bit a contributes, that is, bit b of the product with 2^a.
const fn affine(products: &[u8; 256]) -> i64 {
    let mut rows = [0_u8; 8];
    let mut a = 0;
    while a < 8 {
        let mut b = 0;
        while b < 8 {
            rows[7 - b] |= ((products[1 << a] >> b) & 1) << a;
            b += 1;
        }
        a += 1;
    }
    i64::from_le_bytes(rows)
}
