//! One constant matrix applied again and again to 64 lanes: the inner loop of the fingerprint.
//!
//! A block of 64 * K bytes holds 64 elements of an extension of degree K, one per lane, stored
//! as K planes of 64 bytes: byte `64 * k + j` is coefficient k of lane j. Multiplying every lane
//! by a constant is then a K x K matrix over the field applied to the planes, which is exactly
//! what an erasure kernel does to K chunks of 64 bytes.
//!
//! Invariant: all kernels give the same planes; [`Kernel::Portable`] is the definition's twin.

mod portable;

/// Lanes of a block.
pub const LANES: usize = 64;

/// An implementation of the Horner step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// Table lookups, any processor.
    Portable,
}

impl Kernel {
    /// The fastest kernel of this processor. Detection is cached by the standard library.
    #[must_use]
    pub fn best() -> Self {
        Self::Portable
    }

    /// Every kernel of this processor, slowest first.
    #[must_use]
    pub fn available() -> Vec<Self> {
        vec![Self::Portable]
    }

    /// Name for reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
        }
    }
}

/// A K x K matrix prepared for the Horner step.
#[derive(Debug)]
pub struct Horner<const K: usize> {
    tables: Tables<K>,
}

#[derive(Debug)]
enum Tables<const K: usize> {
    Portable(Box<portable::Tables<K>>),
}

impl<const K: usize> Horner<K> {
    /// Prepares `matrix[i][j]`: the factor from plane j to plane i.
    #[must_use]
    pub fn new(kernel: Kernel, matrix: &[[u8; K]; K]) -> Self {
        let tables = match kernel {
            Kernel::Portable => Tables::Portable(portable::prepare(matrix)),
        };
        Self { tables }
    }

    /// For each whole block of `data` in turn: `planes = matrix * planes + block`.
    ///
    /// Bytes after the last whole block are ignored.
    pub fn run(&self, planes: &mut [[u8; LANES]; K], data: &[u8]) {
        match &self.tables {
            Tables::Portable(tables) => portable::run(tables, planes, data),
        }
    }
}

/// The sum over lanes j of `lane[j] * s^j`, where `powers[t]` is the matrix of s^(32 / 2^t).
#[must_use]
pub fn fold<const K: usize>(
    kernel: Kernel,
    planes: &[[u8; LANES]; K],
    powers: &[[[u8; K]; K]; 6],
) -> [u8; K] {
    match kernel {
        Kernel::Portable => portable::fold(planes, powers),
    }
}
