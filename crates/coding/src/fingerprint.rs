//! Homomorphic fingerprints: what stops a writer from telling two stories at once.
//!
//! A fingerprint is a short value phi(chunk) with phi(x + y) = phi(x) + phi(y) and
//! phi(a x) = a phi(x) for every a of the *code's* field. So the fingerprint of a parity chunk is
//! the generator row applied to the fingerprints of the data chunks, and a node that holds one
//! chunk can check that it belongs to the one codeword whose m data fingerprints everybody sees.
//!
//! # Construction
//!
//! K = F\[y\] / p(y), an extension of the code's field F = GF(2^8)/0x11D; an element is `degree`
//! bytes, byte k the coefficient of y^k. A chunk, padded with virtual zeros to T superblocks of
//! 64 * degree bytes, is 64 lanes of T elements: `X[t][j]` has coefficient k = byte
//! `64 * degree * t + 64 * k + j`.
//!
//! ```text
//! A[j] = sum over t of X[t][j] * R^(T-1-t)        phi = sum over j of A[j] * S^j
//!
//!        degree  p(y)                   superblock  domain tag        two contents collide with
//! Fp128  16      y^16 + y^5 + y^2 + 2   1024 B      avidfp/fp128/v1   (T + 62) / 2^128
//! Fp64   8       y^8 + y^3 + y + 9      512 B       avidfp/fp64/v1    (T + 62) / 2^64
//! ```
//! phi is linear over F by construction: bytes *are* F-coefficients, F acts on each alone. The
//! monomials R^(T-1-t) S^j are distinct and of total degree at most (T-1) + 63, whence the bound
//! by Schwartz and Zippel. Both polynomials are irreducible (Rabin's test, run in the tests).
//!
//! # Where the point comes from
//!
//! (R, S) = SHA-256(tag || suite || m || n || L_s || cc\[0\] || .. || cc\[n-1\]) split in half (for
//! `Fp64`, R is the first 8 bytes and S the next 8). The point depends on the digests of *all* n
//! chunks: whoever knows it before a chunk is frozen solves one linear equation and passes.
//!
//! # Binding theorem (docs/protocol.md section 2.3)
//!
//! Let H be collision resistant, q the number of points a writer tries, and e the bound above.
//! **Two different objects decode from one cross-checksum with probability at most
//! q * C(n, m+1) * e + Adv(H).**
//!
//! *Proof.* Unless H is broken, cc determines every chunk d_i that can ever be shown, before the
//! point is known. For a set T of m+1 slots let h_T be the one parity check (up to scale) of the
//! MDS code restricted to T and s_T = sum over i in T of h_i d_i its syndrome. If s_T is not zero,
//! phi(s_T) = 0 for at most a fraction e of the points; so with the stated probability no such
//! accident happens for any T at any of the q points. Then let I be a set of consistent slots:
//! phi(d_i) = (G fp)_i for i in I, so phi(s_T) = sum of h_i (G fp)_i = 0 for every T inside I,
//! because G fp is a codeword. Hence s_T = 0 for every T inside I: all chunks of I lie on *one*
//! codeword, and any m of them decode to the same object. For codes that are not MDS, count the
//! circuits of the code's matroid in place of C(n, m+1). QED
//!
//! An honest writer does not rely on phi at all, its digests bind every chunk. And phi is public
//! once cc is: it is never a MAC and never enough without the digest.
//!
//! # Fp64 is weaker, and why that matters
//!
//! The writer chooses how often to try (q). Its best search takes contents whose parity is off by
//! a polynomial with as many roots as it has degree, and repeats until the point is a root: about
//! 2^64 / T tries of a few hash compressions. A 256 KiB chunk (T = 512) leaves 2^55 tries, the
//! largest chunk (4 MiB) 2^51: within reach of a determined owner of hardware. Such a writer can
//! make readers of *its own* object disagree; it can harm nobody else's. `Fp128` leaves more than
//! 2^100 at every shape of docs/protocol.md 2.5 and is the default.
//!
//! Spec: docs/protocol.md sections 2.1 to 2.4.

mod tower;

use avid_types::{Digest, FingerprintKind, Params, Suite};

use crate::gf::{Fold, Horner, Kernel, LANES};
use tower::Element;

/// A fingerprint at one point.
pub trait Fingerprint: std::fmt::Debug + Send + Sync {
    /// Which construction.
    fn kind(&self) -> FingerprintKind;

    /// The fingerprint of a chunk of any length.
    fn evaluate(&self, chunk: &[u8]) -> FingerprintValue;
}

/// The value of a fingerprint: 16 or 8 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FingerprintValue {
    bytes: [u8; 16],
    kind: FingerprintKind,
}

impl FingerprintValue {
    fn new(kind: FingerprintKind, coefficients: &[u8]) -> Self {
        let mut bytes = [0; 16];
        for (byte, coefficient) in bytes.iter_mut().zip(coefficients) {
            *byte = *coefficient;
        }
        Self { bytes, kind }
    }

    /// The coefficients, lowest first.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.kind.bytes()).unwrap_or(&self.bytes)
    }
}

impl std::fmt::Debug for FingerprintValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}(", self.kind)?;
        for byte in self.as_bytes() {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}

/// The 128-bit fingerprint, the default: 16-byte values, bound (T + 62) / 2^128.
#[derive(Debug)]
pub struct Fp128 {
    evaluator: Evaluator<16>,
}

impl Fp128 {
    /// The fingerprint at the point (R, S).
    #[must_use]
    pub fn at(r: [u8; 16], s: [u8; 16]) -> Self {
        Self::with_kernel(Kernel::best(), r, s)
    }

    /// The fingerprint at (R, S), computed by a chosen kernel.
    #[must_use]
    pub fn with_kernel(kernel: Kernel, r: [u8; 16], s: [u8; 16]) -> Self {
        Self { evaluator: Evaluator::new(kernel, &r, &s, tower::FP128) }
    }
}

impl Fingerprint for Fp128 {
    fn kind(&self) -> FingerprintKind {
        FingerprintKind::Fp128
    }

    fn evaluate(&self, chunk: &[u8]) -> FingerprintValue {
        FingerprintValue::new(self.kind(), &self.evaluator.evaluate(chunk))
    }
}

/// The 64-bit fingerprint: 8-byte values, bound (T + 62) / 2^64. Weaker, see the module.
#[derive(Debug)]
pub struct Fp64 {
    evaluator: Evaluator<8>,
}

impl Fp64 {
    /// The fingerprint at the point (R, S).
    #[must_use]
    pub fn at(r: [u8; 8], s: [u8; 8]) -> Self {
        Self::with_kernel(Kernel::best(), r, s)
    }

    /// The fingerprint at (R, S), computed by a chosen kernel.
    #[must_use]
    pub fn with_kernel(kernel: Kernel, r: [u8; 8], s: [u8; 8]) -> Self {
        Self { evaluator: Evaluator::new(kernel, &r, &s, tower::FP64) }
    }
}

impl Fingerprint for Fp64 {
    fn kind(&self) -> FingerprintKind {
        FingerprintKind::Fp64
    }

    fn evaluate(&self, chunk: &[u8]) -> FingerprintValue {
        FingerprintValue::new(self.kind(), &self.evaluator.evaluate(chunk))
    }
}

/// The seed of a stripe's point: everything that was frozen before the point became known.
///
/// `digests`: the n concatenated digests of the chunks, 32 bytes each.
#[must_use]
pub fn point_seed(params: Params, suite: Suite, chunk_bytes: u32, digests: &[u8]) -> Digest {
    let shape = [suite.to_byte(), params.m_byte(), params.n_byte()];
    Digest::of(&[domain(suite.fingerprint), &shape, &chunk_bytes.to_le_bytes(), digests])
}

/// The fingerprint of a kind at the point given by a seed: R and S are its first bytes.
#[must_use]
pub fn at_seed(kind: FingerprintKind, seed: &Digest) -> Box<dyn Fingerprint> {
    match kind {
        FingerprintKind::Fp128 => {
            let (r, s) = split::<16>(seed);
            Box::new(Fp128::at(r, s))
        }
        FingerprintKind::Fp64 => {
            let (r, s) = split::<8>(seed);
            Box::new(Fp64::at(r, s))
        }
    }
}

fn domain(kind: FingerprintKind) -> &'static [u8] {
    match kind {
        FingerprintKind::Fp128 => b"avidfp/fp128/v1",
        FingerprintKind::Fp64 => b"avidfp/fp64/v1",
    }
}

fn split<const K: usize>(seed: &Digest) -> ([u8; K], [u8; K]) {
    let mut bytes = seed.0.iter().copied();
    let r = std::array::from_fn(|_| bytes.next().unwrap_or(0));
    let s = std::array::from_fn(|_| bytes.next().unwrap_or(0));
    (r, s)
}

/// The construction for one extension degree.
#[derive(Debug)]
struct Evaluator<const K: usize> {
    step: Horner<K>,
    fold: Fold<K>,
}

impl<const K: usize> Evaluator<K> {
    fn new(kernel: Kernel, r: &Element<K>, s: &Element<K>, modulus: tower::Modulus) -> Self {
        let mut powers = [[[0; K]; K]; 6];
        let mut power = *s;
        for matrix in powers.iter_mut().rev() {
            *matrix = tower::matrix_of(&power, modulus);
            power = tower::apply(matrix, &power);
        }
        let step = Horner::new(kernel, &tower::matrix_of(r, modulus));
        Self { step, fold: Fold::new(kernel, powers) }
    }

    fn evaluate(&self, chunk: &[u8]) -> Element<K> {
        let mut planes = [[0; LANES]; K];
        self.step.run(&mut planes, chunk);
        let rest = chunk.chunks_exact(LANES * K).remainder();
        if !rest.is_empty() {
            let mut last = [[0; LANES]; K];
            for (byte, value) in last.as_flattened_mut().iter_mut().zip(rest) {
                *byte = *value;
            }
            self.step.run(&mut planes, last.as_flattened());
        }
        self.fold.apply(&planes)
    }
}

#[cfg(test)]
mod tests;
