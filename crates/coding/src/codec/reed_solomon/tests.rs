//! Rule CODE-1, REPAIR-2: the generator is the documented one, and any m chunks rebuild any other.
//!
//! Spec: docs/protocol.md CODE-1, REPAIR-2.

use super::*;

fn code(m: u8, n: u8) -> ReedSolomon {
    ReedSolomon::new(Params::with_most_liars(m, n).unwrap())
}

fn row(code: &ReedSolomon, i: u8) -> Vec<u8> {
    code.generator_row(SubChunk { slot: Slot(i), part: 0 }).unwrap().to_vec()
}

fn stripe(code: &ReedSolomon, bytes: usize) -> Vec<Vec<u8>> {
    let (m, n) = (code.data_slots(), code.slots());
    let byte = |j: usize, k: usize| u8::try_from((j * 89 + k * 7 + k * k / 13 + 1) % 256).unwrap();
    let mut chunks: Vec<Vec<u8>> = (0..n)
        .map(|j| (0..bytes).map(|k| if j < m { byte(j, k) } else { 0xEE }).collect())
        .collect();
    let (data, parity) = chunks.split_at_mut(m);
    let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    let mut parity: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
    code.encode(&data, &mut parity).unwrap();
    chunks
}

/// Rebuilds every slot from exactly these and compares with what was encoded.
fn rebuilds_all(code: &ReedSolomon, chunks: &[Vec<u8>], from: &[usize]) {
    let slot = |i: usize| Slot(u8::try_from(i).unwrap());
    let available: Vec<Slot> = from.iter().map(|i| slot(*i)).collect();
    let wanted: Vec<Slot> = (0..chunks.len()).map(slot).collect();
    let plan = code.repair_plan(&available, &wanted).unwrap();
    let inputs: Vec<&[u8]> =
        plan.reads().iter().map(|read| chunks[read.slot.index()].as_slice()).collect();
    let mut rebuilt = vec![vec![0; chunks[0].len()]; chunks.len()];
    let mut outputs: Vec<&mut [u8]> = rebuilt.iter_mut().map(Vec::as_mut_slice).collect();
    plan.rebuild(&inputs, &mut outputs).unwrap();
    assert_eq!(rebuilt, chunks, "{}-of-{} from {from:?}", code.data_slots(), code.slots());
}

#[test]
fn the_shape_of_the_code_is_that_of_the_group_and_any_m_suffice() {
    let code = code(3, 5);
    let shape = [code.slots(), code.data_slots(), code.any_subset(), code.sub_chunks()];
    assert_eq!(shape, [5, 3, 3, 1]);
    for (slot, part) in [(5, 0), (255, 0), (0, 1)] {
        assert_eq!(code.generator_row(SubChunk { slot: Slot(slot), part }), None);
    }
}

#[test]
fn generator_rows_are_frozen() {
    let three_of_five = code(3, 5);
    let rows: Vec<Vec<u8>> = (0..5).map(|i| row(&three_of_five, i)).collect();
    // 1/3 = f4, 1/2 = 8e, 1/1 = 01; 1/4 = 47, 1/5 = a7, 1/6 = 7a.
    let expected = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0xF4, 0x8E, 0x01], [0x47, 0xA7, 0x7A]];
    assert_eq!(rows, expected);
    assert_eq!(row(&code(4, 6), 5), [0xA7, 0x47, 0xBA, 0x7A]);
    assert_eq!(row(&code(1, 2), 1), [0x01]);
    assert_eq!(three_of_five.generator_row(SubChunk { slot: Slot(5), part: 0 }), None);
    assert_eq!(three_of_five.generator_row(SubChunk { slot: Slot(0), part: 1 }), None);
}

#[test]
fn generator_is_the_formula_and_equals_the_cauchy_matrix_of_isa_l() {
    for (m, n) in [(1, 2), (3, 5), (10, 16), (254, 255), (1, 255), (127, 255)] {
        let code = code(m, n);
        let library = rusty_erasure::Matrix::cauchy(usize::from(m), usize::from(n - m)).unwrap();
        let all: Vec<u8> = (0..n).flat_map(|i| row(&code, i)).collect();
        assert_eq!(all, library.as_bytes());
        for i in m..n {
            for (j, coefficient) in (0..m).zip(row(&code, i)) {
                assert_eq!(crate::gf::mul(coefficient, i ^ j), 1);
            }
        }
    }
}

#[test]
fn parity_is_the_generator_applied_to_the_data() {
    for (m, n) in [(1, 2), (3, 5), (8, 12), (254, 255)] {
        let code = code(m, n);
        let chunks = stripe(&code, 67);
        for i in 0..n {
            let rows: Vec<Vec<u8>> = chunks[..usize::from(m)].to_vec();
            assert_eq!(combine(&row(&code, i), &rows, 67), chunks[usize::from(i)]);
        }
    }
}

/// MDS, exhaustively: every m of n chunks, every shape to n = 7.
#[test]
fn any_m_chunks_rebuild_every_slot_up_to_seven() {
    for n in 2..=7_u8 {
        for m in 1..n {
            let code = code(m, n);
            let chunks = stripe(&code, 37);
            for mask in 0..1_u32 << n {
                let from: Vec<usize> = (0..usize::from(n)).filter(|i| mask >> i & 1 == 1).collect();
                if from.len() >= usize::from(m) {
                    rebuilds_all(&code, &chunks, &from);
                }
            }
        }
    }
}

#[test]
fn samples_of_large_shapes_rebuild() {
    for (m, n) in [(8_u8, 12_u8), (10, 16), (254, 255), (100, 255), (1, 255), (40, 64)] {
        let code = code(m, n);
        let chunks = stripe(&code, 19);
        let (m, n) = (usize::from(m), usize::from(n));
        for seed in [1, 2, 7] {
            // Multiplication by a unit modulo the prime 257 is a permutation.
            let mut from: Vec<usize> = (0..n).collect();
            from.sort_unstable_by_key(|i| (i + 1) * (3 * seed + 97) % 257);
            from.truncate(m);
            rebuilds_all(&code, &chunks, &from);
        }
        let last: Vec<usize> = (n - m..n).collect();
        rebuilds_all(&code, &chunks, &last);
    }
}

#[test]
fn bad_slots_are_refused_by_name() {
    let code = code(3, 5);
    let plan = |available: &[u8], wanted: &[u8]| {
        let slots = |s: &[u8]| s.iter().copied().map(Slot).collect::<Vec<_>>();
        code.repair_plan(&slots(available), &slots(wanted)).map(|plan| plan.reads().len())
    };
    assert_eq!(plan(&[0, 4], &[1]), Err(RebuildError::TooFewChunks { available: 2, needed: 3 }));
    assert_eq!(plan(&[0, 4, 0], &[1]), Err(RebuildError::DuplicateSlot(Slot(0))));
    assert_eq!(plan(&[0, 4, 5], &[1]), Err(RebuildError::UnknownSlot(Slot(5))));
    assert_eq!(plan(&[0, 4, 3], &[255]), Err(RebuildError::UnknownSlot(Slot(255))));
    assert_eq!(plan(&[0, 4, 3], &[1, 1]), Err(RebuildError::DuplicateSlot(Slot(1))));
    assert_eq!(plan(&[4, 3, 2, 1, 0], &[1]), Ok(3));
}

/// Rule: REPAIR-2. What to read is the first m slots in order, what results is what was asked.
#[test]
fn a_plan_says_what_it_reads_and_what_results() {
    let plan = code(3, 5).repair_plan(&[4, 2, 0, 3].map(Slot), &[4, 1].map(Slot)).unwrap();
    let whole = |slot| SubChunk { slot: Slot(slot), part: 0 };
    assert_eq!(plan.reads(), [0, 2, 3].map(whole));
    assert_eq!(plan.wanted(), [4, 1].map(whole));
    let too_few_rows =
        RepairPlan::new(plan.reads().to_vec(), plan.wanted().to_vec(), &[vec![1; 3]]);
    assert!(matches!(too_few_rows, Err(RebuildError::Shape(_))));
}
