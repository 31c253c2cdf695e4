//! The Horner step by table lookups: one 16-byte entry per coefficient byte.

#![expect(
    clippy::indexing_slicing,
    reason = "bytes index tables of 256 entries and constants index arrays of their own length"
)]

use super::{LANES, Matrix, Planes};
use crate::gf;

/// `entry[k][b]`: the image of an element whose coefficient k is b, as K little-endian bytes.
pub(super) type Tables<const K: usize> = [[u128; 256]; K];

pub(super) fn prepare<const K: usize>(matrix: &Matrix<K>) -> Box<Tables<K>> {
    let mut tables = Box::new([[0; 256]; K]);
    for (k, table) in tables.iter_mut().enumerate() {
        for bit in 0..8 {
            let image = pack::<K>(&std::array::from_fn(|i| gf::mul(matrix[i][k], 1 << bit)));
            let half = 1 << bit;
            for low in 0..half {
                table[half + low] = table[low] ^ image;
            }
        }
    }
    tables
}

pub(super) fn run<const K: usize>(
    tables: &Tables<K>,
    planes: &mut Planes<K>,
    blocks: &[Planes<K>],
) {
    let mut lanes = to_lanes(planes);
    for block in blocks {
        for (lane, added) in lanes.iter_mut().zip(to_lanes(block)) {
            let mut image = pack(&added);
            for (table, byte) in tables.iter().zip(*lane) {
                image ^= table[usize::from(byte)];
            }
            *lane = unpack(image);
        }
    }
    for (k, plane) in planes.iter_mut().enumerate() {
        for (byte, lane) in plane.iter_mut().zip(&lanes) {
            *byte = lane[k];
        }
    }
}

pub(super) fn fold<const K: usize>(planes: &Planes<K>, powers: &[Matrix<K>]) -> [u8; K] {
    let mut lanes = to_lanes(planes);
    let mut half = LANES;
    for matrix in powers {
        half /= 2;
        let (low, high) = lanes.split_at_mut(half);
        for (sum, lane) in low.iter_mut().zip(high) {
            for (byte, row) in sum.iter_mut().zip(matrix) {
                *byte = row.iter().zip(&*lane).fold(*byte, |sum, (a, b)| sum ^ gf::mul(*a, *b));
            }
        }
    }
    lanes[0]
}

/// Elements of the lanes of one block.
fn to_lanes<const K: usize>(block: &Planes<K>) -> [[u8; K]; LANES] {
    let mut lanes = [[0; K]; LANES];
    for (k, plane) in block.iter().enumerate() {
        for (lane, byte) in lanes.iter_mut().zip(plane) {
            lane[k] = *byte;
        }
    }
    lanes
}

fn pack<const K: usize>(element: &[u8; K]) -> u128 {
    let mut bytes = [0; 16];
    for (byte, coefficient) in bytes.iter_mut().zip(element) {
        *byte = *coefficient;
    }
    u128::from_le_bytes(bytes)
}

fn unpack<const K: usize>(image: u128) -> [u8; K] {
    let bytes = image.to_le_bytes();
    std::array::from_fn(|k| bytes[k])
}
