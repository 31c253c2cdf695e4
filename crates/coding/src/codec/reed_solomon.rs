//! Systematic Reed-Solomon with Cauchy parity: any m of n chunks rebuild the stripe.
//!
//! The generator, slots i in 0..n and data slots j in 0..m as field elements:
//!
//! ```text
//! G[i][j] = 1 if i = j, else 0     for i < m      (identity: data chunks are the data)
//! G[i][j] = 1 / (i XOR j)          for i >= m     (Cauchy: XOR is the field's subtraction)
//! ```
//! For i >= m > j the difference is never zero. Every square submatrix of a Cauchy matrix is
//! regular, and a set of m rows of G is regular exactly when the square submatrix of its parity
//! rows at the missing data columns is; so the code is MDS for every 1 <= m < n <= 255.
//! Equal to the Cauchy generator of ISA-L. Rule: CODE-1.

use avid_types::{Params, Slot};

use super::{Codec, EncodeError, RebuildError, RepairPlan, SubChunk};
use crate::gf::{LinearMap, add_scaled, inverse, invert};

/// The default code.
#[derive(Debug, Clone)]
pub struct ReedSolomon {
    m: usize,
    generator: Vec<Vec<u8>>,
    parity: LinearMap,
}

impl ReedSolomon {
    /// The code of a shape.
    #[must_use]
    pub fn new(params: Params) -> Self {
        let (m, n) = (params.m_byte(), params.n_byte());
        let generator: Vec<Vec<u8>> =
            (0..n).map(|i| (0..m).map(|j| coefficient(i, j, m)).collect()).collect();
        let parity = LinearMap::from_fn(m..n, 0..m, |i, j| coefficient(i, j, m));
        Self { m: params.m(), generator, parity }
    }

    fn row(&self, slot: Slot) -> &[u8] {
        self.generator.get(slot.index()).map_or(&[], Vec::as_slice)
    }

    /// Distinct existing slots, ascending.
    fn check_slots(&self, slots: &[Slot]) -> Result<Vec<Slot>, RebuildError> {
        let mut sorted = slots.to_vec();
        sorted.sort_unstable();
        if let Some(slot) = sorted.iter().find(|slot| slot.index() >= self.slots()) {
            return Err(RebuildError::UnknownSlot(*slot));
        }
        match sorted.array_windows().find(|[slot, next]| slot == next) {
            Some([slot, _]) => Err(RebuildError::DuplicateSlot(*slot)),
            None => Ok(sorted),
        }
    }

    /// Coefficients over `reads` of every data chunk that is not among them, by data slot.
    ///
    /// With D the missing data slots and P the parity slots read, parity p in P says
    /// `sum over D of G[p][d] x_d = x_p + sum over read data a of G[p][a] x_a`.
    fn solve(&self, reads: &[Slot]) -> Result<Vec<(usize, Vec<u8>)>, RebuildError> {
        let missing: Vec<usize> =
            (0..self.m).filter(|j| !reads.iter().any(|slot| slot.index() == *j)).collect();
        let parity: Vec<Slot> = reads.iter().copied().filter(|s| s.index() >= self.m).collect();
        let pick = |row: &[u8], columns: &[usize]| -> Vec<u8> {
            columns.iter().filter_map(|j| row.get(*j).copied()).collect()
        };
        let square: Vec<Vec<u8>> = parity.iter().map(|p| pick(self.row(*p), &missing)).collect();
        let too_few = RebuildError::TooFewChunks { available: reads.len(), needed: self.m };
        let inverted = invert(&square).ok_or(too_few)?;
        // Row p of the right-hand side, over the reads: itself, and its share of the data read.
        let sides: Vec<Vec<u8>> = parity
            .iter()
            .map(|p| reads.iter().map(|read| self.share(*p, *read)).collect())
            .collect();
        let solutions = inverted.iter().map(|factors| combine(factors, &sides, reads.len()));
        Ok(missing.into_iter().zip(solutions).collect())
    }

    fn share(&self, parity: Slot, read: Slot) -> u8 {
        match self.row(parity).get(read.index()) {
            Some(coefficient) => *coefficient,
            None => u8::from(read == parity),
        }
    }

    /// Coefficients over `reads` of the chunk of any slot.
    fn row_over(&self, slot: Slot, reads: &[Slot], solved: &[(usize, Vec<u8>)]) -> Vec<u8> {
        if reads.contains(&slot) {
            return reads.iter().map(|read| u8::from(*read == slot)).collect();
        }
        let row = self.row(slot);
        let column = |j: usize| row.get(j).copied().unwrap_or(0);
        let mut sum: Vec<u8> = reads.iter().map(|read| column(read.index())).collect();
        for (missing, coefficients) in solved {
            add_scaled(&mut sum, column(*missing), coefficients);
        }
        sum
    }
}

impl Codec for ReedSolomon {
    fn slots(&self) -> usize {
        self.generator.len()
    }

    fn data_slots(&self) -> usize {
        self.m
    }

    fn any_subset(&self) -> usize {
        self.m
    }

    fn sub_chunks(&self) -> usize {
        1
    }

    fn generator_row(&self, sub_chunk: SubChunk) -> Option<&[u8]> {
        let row = self.generator.get(sub_chunk.slot.index())?;
        (sub_chunk.part == 0).then_some(row.as_slice())
    }

    fn encode(&self, data: &[&[u8]], parity: &mut [&mut [u8]]) -> Result<(), EncodeError> {
        Ok(self.parity.apply(data, parity)?)
    }

    fn repair_plan(&self, available: &[Slot], wanted: &[Slot]) -> Result<RepairPlan, RebuildError> {
        self.check_slots(wanted)?;
        let mut reads = self.check_slots(available)?;
        if reads.len() < self.m {
            return Err(RebuildError::TooFewChunks { available: reads.len(), needed: self.m });
        }
        reads.truncate(self.m);
        let solved = self.solve(&reads)?;
        let rows: Vec<Vec<u8>> =
            wanted.iter().map(|slot| self.row_over(*slot, &reads, &solved)).collect();
        let whole = |slot: &Slot| SubChunk { slot: *slot, part: 0 };
        RepairPlan::new(
            reads.iter().map(whole).collect(),
            wanted.iter().map(whole).collect(),
            &rows,
        )
    }
}

/// G[i][j] for a code with m data slots.
fn coefficient(i: u8, j: u8, m: u8) -> u8 {
    if i < m { u8::from(i == j) } else { inverse(i ^ j).unwrap_or(0) }
}

/// The sum of `factors[k] * rows[k]`, `length` coefficients.
fn combine(factors: &[u8], rows: &[Vec<u8>], length: usize) -> Vec<u8> {
    let mut sum = vec![0; length];
    for (factor, row) in factors.iter().zip(rows) {
        add_scaled(&mut sum, *factor, row);
    }
    sum
}

#[cfg(test)]
mod tests;
