//! The Horner step with AVX2: products by two 16-entry tables, one per nibble, in byte shuffles.
//!
//! A product is `low[x & 15] ^ high[x >> 4]`, and a byte shuffle looks up 32 lanes at once. Two rows
//! of the matrix share the loads of a plane's nibbles.

#![expect(unsafe_code, reason = "vector instructions, behind run-time detection; twin: portable")]
#![expect(clippy::indexing_slicing, reason = "constant indexes into arrays of K entries")]

use std::arch::x86_64::{
    __m256i, _mm_loadu_si128, _mm256_and_si256, _mm256_broadcastsi128_si256, _mm256_loadu_si256,
    _mm256_set1_epi8, _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_srli_epi64,
    _mm256_storeu_si256, _mm256_xor_si256,
};

use super::{LANES, Matrix, Planes};
use crate::gf;

/// Vectors of one plane.
const HALVES: usize = 2;
/// Rows that share the loads of a plane.
const ROWS: usize = 2;

pub(super) fn is_available() -> bool {
    std::arch::is_x86_feature_detected!("avx2")
}

/// Products of one factor with the sixteen low and the sixteen high nibbles.
type Nibbles = [[u8; 16]; 2];

/// Nibble tables of the factors. Invariant: exists only where [`is_available`].
#[derive(Debug)]
pub(super) struct Tables<const K: usize> {
    factors: Box<[[Nibbles; K]; K]>,
}

impl<const K: usize> Tables<K> {
    pub(super) fn new(matrix: &Matrix<K>) -> Option<Self> {
        is_available().then(|| Self { factors: Box::new(matrix.map(|row| row.map(nibbles))) })
    }

    pub(super) fn run(&self, planes: &mut Planes<K>, blocks: &[Planes<K>]) {
        // SAFETY: `new` has confirmed the feature that `run` enables.
        unsafe { run(&self.factors, planes, blocks) }
    }
}

fn nibbles(factor: u8) -> Nibbles {
    let products = gf::products_of(factor);
    [std::array::from_fn(|x| products[x]), std::array::from_fn(|x| products[x << 4])]
}

#[target_feature(enable = "avx2")]
fn run<const K: usize>(factors: &[[Nibbles; K]; K], planes: &mut Planes<K>, blocks: &[Planes<K>]) {
    let mask = _mm256_set1_epi8(0x0F);
    for block in blocks {
        let mut low = [[_mm256_setzero_si256(); HALVES]; K];
        let mut high = low;
        for j in 0..K {
            for h in 0..HALVES {
                let plane = load(&planes[j].as_chunks::<32>().0[h]);
                low[j][h] = _mm256_and_si256(plane, mask);
                high[j][h] = _mm256_and_si256(_mm256_srli_epi64::<4>(plane), mask);
            }
        }
        for pair in 0..K / ROWS {
            let mut sums = [[_mm256_setzero_si256(); HALVES]; ROWS];
            for j in 0..K {
                for r in 0..ROWS {
                    let [low_table, high_table] = &factors[ROWS * pair + r][j];
                    let (low_table, high_table) = (broadcast(low_table), broadcast(high_table));
                    for h in 0..HALVES {
                        let product = _mm256_xor_si256(
                            _mm256_shuffle_epi8(low_table, low[j][h]),
                            _mm256_shuffle_epi8(high_table, high[j][h]),
                        );
                        sums[r][h] = _mm256_xor_si256(sums[r][h], product);
                    }
                }
            }
            for (r, halves) in sums.into_iter().enumerate() {
                let i = ROWS * pair + r;
                for (h, sum) in halves.into_iter().enumerate() {
                    let added = load(&block[i].as_chunks::<32>().0[h]);
                    let sum = _mm256_xor_si256(sum, added);
                    store(&mut planes[i].as_chunks_mut::<32>().0[h], sum);
                }
            }
        }
    }
}

#[target_feature(enable = "avx2")]
#[inline]
fn load(bytes: &[u8; LANES / HALVES]) -> __m256i {
    // SAFETY: the reference is to 32 readable bytes, and the load needs no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn broadcast(table: &[u8; 16]) -> __m256i {
    // SAFETY: the reference is to 16 readable bytes, and the load needs no alignment.
    _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(table.as_ptr().cast()) })
}

#[target_feature(enable = "avx2")]
#[inline]
fn store(bytes: &mut [u8; LANES / HALVES], value: __m256i) {
    // SAFETY: the reference is to 32 writable bytes, and the store needs no alignment.
    unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), value) }
}
