//! Rebuilding with a code of several sub-chunks, which no suite has yet but the seam promises.
//!
//! Spec: docs/protocol.md CODE-1, REPAIR-2.

use super::*;
use crate::codec::RepairPlan;

/// 1-of-2 with two sub-chunks: the second slot holds the halves of the first, exchanged.
#[derive(Debug)]
struct Exchanged;

impl Codec for Exchanged {
    fn slots(&self) -> usize {
        2
    }

    fn data_slots(&self) -> usize {
        1
    }

    fn any_subset(&self) -> usize {
        1
    }

    fn sub_chunks(&self) -> usize {
        2
    }

    fn generator_row(&self, sub_chunk: SubChunk) -> Option<&[u8]> {
        match (sub_chunk.slot.0, sub_chunk.part) {
            (0, 0) | (1, 1) => Some(&[1, 0]),
            (0, 1) | (1, 0) => Some(&[0, 1]),
            _ => None,
        }
    }

    fn encode(&self, data: &[&[u8]], parity: &mut [&mut [u8]]) -> Result<(), EncodeError> {
        let (left, right) = data[0].split_at(data[0].len() / 2);
        parity[0].copy_from_slice(&[right, left].concat());
        Ok(())
    }

    fn repair_plan(&self, available: &[Slot], wanted: &[Slot]) -> Result<RepairPlan, RebuildError> {
        let of = |slot: Slot, part| SubChunk { slot, part };
        let reads = vec![of(available[0], 1), of(available[0], 0)];
        let results = vec![of(wanted[0], 0), of(wanted[0], 1)];
        RepairPlan::new(reads, results, &[vec![1, 0], vec![0, 1]])
    }
}

#[test]
fn a_chunk_is_read_and_filled_by_the_sub_chunks_of_the_plan() {
    let params = Params::with_most_liars(1, 2).unwrap();
    let coder = StripeCoder { params, suite: Suite::default(), codec: Box::new(Exchanged) };
    let data: Vec<u8> = (0..10).collect();
    let mut parity = vec![0; 10];
    coder.encode(&[&data], &mut [&mut parity]).unwrap();
    assert_eq!(parity, [5, 6, 7, 8, 9, 0, 1, 2, 3, 4]);
    let mut rebuilt = vec![0xEE; 10];
    coder.rebuild(&[(Slot(1), &parity)], &mut [(Slot(0), &mut rebuilt)]).unwrap();
    assert_eq!(rebuilt, data);
}
