//! One constant matrix applied again and again to 64 lanes: the inner loop of the fingerprint.
//!
//! A block of 64 * K bytes holds 64 elements of an extension of degree K, one per lane, stored
//! as K planes of 64 bytes: byte `64 * k + j` is coefficient k of lane j. Multiplying every lane
//! by a constant is then a K x K matrix over the field applied to the planes, which is exactly
//! what an erasure kernel does to K chunks of 64 bytes.
//!
//! Invariant: all kernels give the same planes; [`Kernel::Portable`] is the scalar twin. Tables of
//! a vector kernel exist only on a processor that has its instructions.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod gfni;
mod portable;

/// Lanes of a block.
pub const LANES: usize = 64;

/// K planes of one byte per lane.
pub type Planes<const K: usize> = [[u8; LANES]; K];

/// Factors between planes: `matrix[i][j]` leads from plane j to plane i.
pub type Matrix<const K: usize> = [[u8; K]; K];

/// Halvings that fold 64 lanes into one.
const FOLDS: usize = 6;

/// An implementation of the Horner step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// Table lookups, any processor: the scalar twin.
    Portable,
    /// Products by nibble tables in byte shuffles, 32 lanes at once.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Products as 8 x 8 bit matrices, 64 lanes at once.
    #[cfg(target_arch = "x86_64")]
    Gfni,
}

impl Kernel {
    /// The fastest kernel of this processor. Detection is cached by the standard library.
    #[must_use]
    pub fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        if gfni::is_available() {
            return Self::Gfni;
        } else if avx2::is_available() {
            return Self::Avx2;
        }
        Self::Portable
    }

    /// Every kernel of this processor, slowest first.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let all = [
            Self::Portable,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2,
            #[cfg(target_arch = "x86_64")]
            Self::Gfni,
        ];
        all.into_iter().filter(|kernel| kernel.is_available()).collect()
    }

    /// Whether this processor has the instructions.
    #[must_use]
    pub fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => avx2::is_available(),
            #[cfg(target_arch = "x86_64")]
            Self::Gfni => gfni::is_available(),
        }
    }

    /// Name for reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "AVX2",
            #[cfg(target_arch = "x86_64")]
            Self::Gfni => "AVX-512 and GFNI",
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
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Tables<K>),
    #[cfg(target_arch = "x86_64")]
    Gfni(gfni::Tables<K>),
}

impl<const K: usize> Horner<K> {
    /// Prepares a matrix. A kernel that this processor lacks is replaced by its scalar twin.
    #[must_use]
    pub fn new(kernel: Kernel, matrix: &Matrix<K>) -> Self {
        let tables = match kernel {
            Kernel::Portable => None,
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => avx2::Tables::new(matrix).map(Tables::Avx2),
            #[cfg(target_arch = "x86_64")]
            Kernel::Gfni => gfni::Tables::new(matrix).map(Tables::Gfni),
        };
        Self { tables: tables.unwrap_or_else(|| Tables::Portable(portable::prepare(matrix))) }
    }

    /// For each whole block of `data` in turn: `planes = matrix * planes + block`.
    ///
    /// Bytes after the last whole block are ignored.
    pub fn run(&self, planes: &mut Planes<K>, data: &[u8]) {
        let (rows, _) = data.as_chunks::<LANES>();
        let (blocks, _) = rows.as_chunks::<K>();
        match &self.tables {
            Tables::Portable(tables) => portable::run(tables, planes, blocks),
            #[cfg(target_arch = "x86_64")]
            Tables::Avx2(tables) => tables.run(planes, blocks),
            #[cfg(target_arch = "x86_64")]
            Tables::Gfni(tables) => tables.run(planes, blocks),
        }
    }
}

/// Prepared to compute the sum over lanes j of `lane[j] * s^j`.
#[derive(Debug)]
pub struct Fold<const K: usize> {
    powers: Powers<K>,
}

#[derive(Debug)]
enum Powers<const K: usize> {
    /// Lane by lane: tables would cost more than the products.
    Scalar(Box<[Matrix<K>; FOLDS]>),
    /// All lanes in one Horner step, of which the lower half counts.
    Vector(Box<[Horner<K>; FOLDS]>),
}

impl<const K: usize> Fold<K> {
    /// Prepares the matrices of s^32, s^16, s^8, s^4, s^2 and s.
    #[must_use]
    pub fn new(kernel: Kernel, powers: [Matrix<K>; FOLDS]) -> Self {
        let powers = if kernel == Kernel::Portable || !kernel.is_available() {
            Powers::Scalar(Box::new(powers))
        } else {
            Powers::Vector(Box::new(powers.map(|matrix| Horner::new(kernel, &matrix))))
        };
        Self { powers }
    }

    /// Halves the lanes until one is left: `lane[j] += s^h * lane[j + h]` for h = 32, 16, .., 1.
    #[must_use]
    pub fn apply(&self, planes: &Planes<K>) -> [u8; K] {
        match &self.powers {
            Powers::Scalar(powers) => portable::fold(planes, powers.as_slice()),
            Powers::Vector(steps) => {
                let mut sums = *planes;
                let mut half = LANES;
                for step in steps.iter() {
                    half /= 2;
                    let mut upper = sums;
                    for plane in &mut upper {
                        plane.copy_within(half..2 * half, 0);
                    }
                    step.run(&mut upper, sums.as_flattened());
                    sums = upper;
                }
                sums.map(|[first, ..]| first)
            }
        }
    }
}
