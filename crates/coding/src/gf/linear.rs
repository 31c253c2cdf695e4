//! A matrix over the field, prepared to be applied to long byte strings.
//!
//! Encoding, rebuilding and regenerating are all the same operation: each output is a linear
//! combination of the inputs. The kernels are `rusty_erasure`'s (GFNI, AVX2, SSSE3, NEON or
//! scalar, chosen at run time); lengths are checked here, so that its assertions cannot fire.
//!
//! Invariant: `coefficients.len() == inputs * outputs`.

use rusty_erasure::kernel::Kernels;

/// Inputs or outputs do not have the shape of the matrix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// Wrong number of byte strings.
    #[error("{got} byte strings where the matrix has {expected}")]
    Count {
        /// Rows or columns of the matrix.
        expected: usize,
        /// Byte strings given.
        got: usize,
    },
    /// Byte strings of different lengths.
    #[error("byte string {index} has {got} bytes, the first one {expected}")]
    Length {
        /// Which: inputs first, then outputs.
        index: usize,
        /// Length of the first.
        expected: usize,
        /// Its length.
        got: usize,
    },
}

/// A constant matrix: `output[i] = sum over j of coefficient[i][j] * input[j]`.
#[derive(Clone)]
pub struct LinearMap {
    inputs: usize,
    outputs: usize,
    coefficients: Vec<u8>,
    tables: Vec<u8>,
    kernels: Kernels,
}

impl LinearMap {
    /// Prepares a matrix given as rows of `inputs` coefficients.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Count`] if a row has another number of coefficients.
    pub fn new(inputs: usize, rows: &[Vec<u8>]) -> Result<Self, ShapeError> {
        Self::with_kernels(inputs, rows, rusty_erasure::best_kernels())
    }

    fn with_kernels(inputs: usize, rows: &[Vec<u8>], kernels: Kernels) -> Result<Self, ShapeError> {
        if let Some(row) = rows.iter().find(|row| row.len() != inputs) {
            return Err(ShapeError::Count { expected: inputs, got: row.len() });
        }
        Ok(Self::prepare(inputs, rows.len(), rows.concat(), kernels))
    }

    /// Prepares the matrix with the entry `coefficient(i, j)` for output i and input j.
    #[must_use]
    pub fn from_fn(
        outputs: std::ops::Range<u8>,
        inputs: std::ops::Range<u8>,
        coefficient: impl Fn(u8, u8) -> u8,
    ) -> Self {
        let mut entries = Vec::with_capacity(outputs.len() * inputs.len());
        for i in outputs.clone() {
            entries.extend(inputs.clone().map(|j| coefficient(i, j)));
        }
        Self::prepare(inputs.len(), outputs.len(), entries, rusty_erasure::best_kernels())
    }

    fn prepare(inputs: usize, outputs: usize, coefficients: Vec<u8>, kernels: Kernels) -> Self {
        let tables = (kernels.init)(&coefficients);
        Self { inputs, outputs, coefficients, tables, kernels }
    }

    /// Name of the kernel that run-time detection selects.
    #[must_use]
    pub fn kernel_name() -> &'static str {
        rusty_erasure::best_kernels().name
    }

    /// Columns: byte strings in.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Rows: byte strings out.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Coefficients of one output, or `None` beyond the last.
    #[must_use]
    pub fn row(&self, output: usize) -> Option<&[u8]> {
        let start = output.checked_mul(self.inputs)?;
        (output < self.outputs).then(|| self.coefficients.get(start..start + self.inputs))?
    }

    /// Computes every output; all byte strings have one length. Overwrites the outputs.
    ///
    /// # Errors
    ///
    /// [`ShapeError`] if counts or lengths differ from the matrix or from each other; the outputs
    /// are then untouched.
    pub fn apply(&self, inputs: &[&[u8]], outputs: &mut [&mut [u8]]) -> Result<(), ShapeError> {
        check_count(self.inputs, inputs.len())?;
        check_count(self.outputs, outputs.len())?;
        let expected = inputs.first().map_or(0, |input| input.len());
        let lengths = inputs.iter().map(|s| s.len()).chain(outputs.iter().map(|s| s.len()));
        for (index, got) in lengths.enumerate() {
            if got != expected {
                return Err(ShapeError::Length { index, expected, got });
            }
        }
        if expected > 0 && self.outputs > 0 {
            (self.kernels.encode)(&self.tables, inputs, outputs);
        }
        Ok(())
    }
}

impl std::fmt::Debug for LinearMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LinearMap")
            .field("inputs", &self.inputs)
            .field("outputs", &self.outputs)
            .field("kernel", &self.kernels.name)
            .finish_non_exhaustive()
    }
}

fn check_count(expected: usize, got: usize) -> Result<(), ShapeError> {
    if expected == got {
        return Ok(());
    }
    Err(ShapeError::Count { expected, got })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gf::add_scaled;

    #[test]
    fn every_kernel_equals_the_definition() {
        for length in [1, 15, 16, 31, 33, 64, 65, 127, 1024, 1031] {
            let inputs: Vec<Vec<u8>> = (0..7_usize)
                .map(|j| {
                    (0..length).map(|k| ((k * 31 + j * 97) % 251).try_into().unwrap()).collect()
                })
                .collect();
            let rows: Vec<Vec<u8>> = (0..9_u8)
                .map(|i| (0..7).map(|j| i.wrapping_mul(59) ^ (j * 37)).collect())
                .collect();
            let mut expected = vec![vec![0; length]; 9];
            for (sum, row) in expected.iter_mut().zip(&rows) {
                for (factor, input) in row.iter().zip(&inputs) {
                    add_scaled(sum, *factor, input);
                }
            }
            let slices: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
            for name in ["scalar", "ssse3", "avx2", "gfni", "neon", "auto"] {
                let Some(kernels) = rusty_erasure::kernels_named(name) else { continue };
                let map = LinearMap::with_kernels(7, &rows, kernels).unwrap();
                let mut outputs = vec![vec![0xEE; length]; 9];
                let mut views: Vec<&mut [u8]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
                map.apply(&slices, &mut views).unwrap();
                assert_eq!(outputs, expected, "kernel {name}, length {length}");
            }
        }
    }

    #[test]
    fn wrong_shapes_are_refused_and_leave_outputs_alone() {
        let map = LinearMap::new(2, &[vec![1, 2]]).unwrap();
        let mut out = [7; 4];
        let count = map.apply(&[&[0; 4]], &mut [&mut out]);
        assert_eq!(count, Err(ShapeError::Count { expected: 2, got: 1 }));
        let length = map.apply(&[&[0; 4], &[0; 5]], &mut [&mut out]);
        assert_eq!(length, Err(ShapeError::Length { index: 1, expected: 4, got: 5 }));
        assert_eq!(out, [7; 4]);
        assert!(LinearMap::new(2, &[vec![1]]).is_err());
        assert_eq!(map.row(0), Some([1, 2].as_slice()));
        assert_eq!(map.row(1), None);
    }
}
