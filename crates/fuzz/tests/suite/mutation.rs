//! Changes that turn a valid encoding into one that an attacker might send.

use proptest::prelude::{Just, Strategy, any, prop, prop_oneof};
use proptest::sample::Index;

/// Values that lengths, counts and flags are compared with.
pub(crate) const EDGES: [u64; 14] = [
    0,
    1,
    2,
    0x7f,
    0xff,
    0x100,
    0x7fff,
    0xffff,
    0x1_0000,
    0x10_0000,
    0x7fff_ffff,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    u64::MAX,
];

/// One change of some bytes.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// Some bits of one byte flip.
    Flip(Index, u8),
    /// A little-endian number of 1, 2, 4 or 8 bytes takes an edge value.
    Number(Index, usize, u64),
    /// The end is missing.
    Cut(Index),
    /// Bytes are added at a place.
    Insert(Index, Vec<u8>),
    /// Bytes are missing at a place.
    Remove(Index, usize),
    /// A stretch stands at another place, too.
    Copy(Index, Index, usize),
    /// The rest is that of another valid encoding.
    Splice(Index, Index),
}

pub(crate) fn change() -> impl Strategy<Value = Change> {
    let place = any::<Index>;
    let width = prop::sample::select(vec![1, 2, 4, 8]);
    let edge = prop_oneof![prop::sample::select(EDGES.to_vec()), any::<u64>()];
    prop_oneof![
        4 => (place(), 1_u8..).prop_map(|(at, bits)| Change::Flip(at, bits)),
        4 => (place(), width, edge).prop_map(|(at, width, edge)| Change::Number(at, width, edge)),
        1 => place().prop_map(Change::Cut),
        1 => (place(), prop::collection::vec(any::<u8>(), 1..80))
            .prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        1 => (place(), 1_usize..80).prop_map(|(at, len)| Change::Remove(at, len)),
        1 => (place(), place(), prop_oneof![Just(8_usize), 1_usize..200])
            .prop_map(|(from, to, len)| Change::Copy(from, to, len)),
        1 => (place(), place()).prop_map(|(other, at)| Change::Splice(other, at)),
    ]
}

impl Change {
    /// Changes the bytes; `seeds` are the other valid encodings.
    pub(crate) fn apply(&self, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let len = bytes.len();
        match self {
            Self::Flip(..) | Self::Number(..) | Self::Copy(..) if len == 0 => {}
            Self::Flip(at, bits) => bytes[at.index(len)] ^= bits,
            Self::Number(at, width, edge) => put_number(bytes, at.index(len), *width, *edge),
            Self::Cut(at) => bytes.truncate(at.index(len + 1)),
            Self::Insert(at, added) => {
                let at = at.index(len + 1);
                bytes.splice(at..at, added.iter().copied());
            }
            Self::Remove(at, count) => {
                let at = at.index(len + 1);
                bytes.drain(at..(at + count).min(len));
            }
            Self::Copy(from, to, count) => {
                let from = from.index(len);
                let copied = bytes[from..(from + count).min(len)].to_vec();
                let to = to.index(len);
                bytes.splice(to..to, copied);
            }
            Self::Splice(other, at) => {
                let other = &seeds[other.index(seeds.len())];
                let at = at.index(len.min(other.len()) + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[at..]);
            }
        }
    }
}

/// Overwrites a little-endian number, as far as there are bytes.
pub(crate) fn put_number(bytes: &mut [u8], at: usize, width: usize, value: u64) {
    let end = (at + width).min(bytes.len());
    bytes[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
}
