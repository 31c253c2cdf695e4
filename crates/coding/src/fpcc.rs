//! The fingerprinted cross-checksum of one stripe.
//!
//! ```text
//! cc[0] | cc[1] | .. | cc[n-1] | fp[0] | .. | fp[m-1]      32 bytes each | 16 or 8 bytes each
//! ```
//! These canonical bytes are what travels, is stored and is hashed; shape and suite come from the
//! context that authenticates them, they are not repeated inside.
//!
//! Spec: docs/protocol.md sections 1.2 and 2.5.
//! Invariant: the bytes have the length of the shape they were read for.
//! Bounds: 255 * 32 + 254 * 16 bytes.
//! Not here: whether a chunk agrees with it (`stripe_coder`).

use std::sync::Arc;

use avid_types::{Digest, Params, Slot, Suite};

/// Bytes are not a cross-checksum of the expected shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cross-checksum has {got} bytes, its shape needs {expected}")]
pub struct FpccError {
    /// Bytes of the shape.
    pub expected: usize,
    /// Bytes given.
    pub got: usize,
}

/// Digests of the n chunks and fingerprints of the m data chunks of one stripe. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Fpcc {
    bytes: Arc<[u8]>,
    digest_bytes: usize,
    fingerprint_bytes: usize,
}

impl Fpcc {
    /// Bytes of a cross-checksum of this shape: 32 n + 16 m, or 32 n + 8 m with 64-bit values.
    #[must_use]
    pub fn bytes_of(params: Params, suite: Suite) -> usize {
        Digest::BYTES * params.n() + suite.fingerprint.bytes() * params.m()
    }

    /// Takes canonical bytes of a known shape.
    ///
    /// # Errors
    ///
    /// [`FpccError`] if the length is not the shape's.
    pub fn from_bytes(params: Params, suite: Suite, bytes: &[u8]) -> Result<Self, FpccError> {
        let expected = Self::bytes_of(params, suite);
        if bytes.len() != expected {
            return Err(FpccError { expected, got: bytes.len() });
        }
        Ok(Self {
            bytes: Arc::from(bytes),
            digest_bytes: Digest::BYTES * params.n(),
            fingerprint_bytes: suite.fingerprint.bytes(),
        })
    }

    /// Whether this was read for a shape and suite.
    #[must_use]
    pub fn has_shape(&self, params: Params, suite: Suite) -> bool {
        self.bytes.len() == Self::bytes_of(params, suite)
            && self.digest_bytes == Digest::BYTES * params.n()
            && self.fingerprint_bytes == suite.fingerprint.bytes()
    }

    /// The canonical bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Digest of the chunk of a slot, or `None` if the shape has no such slot.
    #[must_use]
    pub fn cc(&self, slot: Slot) -> Option<Digest> {
        let (digests, _) = self.all_cc().as_chunks::<{ Digest::BYTES }>();
        digests.get(slot.index()).copied().map(Digest)
    }

    /// Fingerprint of the chunk of a data slot, or `None` for any other slot.
    #[must_use]
    pub fn fp(&self, slot: Slot) -> Option<&[u8]> {
        self.fingerprints().nth(slot.index())
    }

    /// The n digests, concatenated.
    #[must_use]
    pub fn all_cc(&self) -> &[u8] {
        self.bytes.get(..self.digest_bytes).unwrap_or_default()
    }

    /// The m fingerprints in order of their slots.
    pub fn fingerprints(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.get(self.digest_bytes..).unwrap_or_default().chunks_exact(self.fingerprint_bytes)
    }

    /// fpd: the digest that names this cross-checksum together with the stripe's chunk length.
    ///
    /// `params` and `suite` are those the bytes were read for; with others the digest names nothing.
    #[must_use]
    pub fn digest(&self, params: Params, suite: Suite, chunk_bytes: u32) -> Digest {
        let shape = [suite.to_byte(), params.m_byte(), params.n_byte()];
        Digest::of(&[b"avidfp/fpcc/v1", &shape, &chunk_bytes.to_le_bytes(), &self.bytes])
    }
}

impl std::fmt::Debug for Fpcc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fpcc")
            .field("slots", &(self.digest_bytes / Digest::BYTES))
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_lie_where_the_picture_says() {
        let params = Params::validate(2, 4, 1).unwrap();
        let suite = Suite::default();
        let bytes: Vec<u8> = (0..160).collect();
        let fpcc = Fpcc::from_bytes(params, suite, &bytes).unwrap();
        assert_eq!(fpcc.cc(Slot(3)).unwrap().0, bytes[96..128]);
        assert_eq!(fpcc.cc(Slot(4)), None);
        assert_eq!(fpcc.fp(Slot(0)), Some(&bytes[128..144]));
        assert_eq!(fpcc.fp(Slot(1)), Some(&bytes[144..160]));
        assert_eq!(fpcc.fp(Slot(2)), None);
        assert_eq!(fpcc.as_bytes(), bytes);
    }

    #[test]
    fn shapes_of_equal_length_are_told_apart() {
        let (suite, wide) = (Suite::default(), Params::with_most_liars(1, 6).unwrap());
        let fpcc = Fpcc::from_bytes(wide, suite, &[0; 208]).unwrap();
        assert!(fpcc.has_shape(wide, suite));
        let default = Params::with_most_liars(3, 5).unwrap();
        assert_eq!(Fpcc::bytes_of(default, suite), 208);
        assert!(!fpcc.has_shape(default, suite));
    }

    #[test]
    fn another_length_is_refused() {
        let params = Params::validate(2, 4, 1).unwrap();
        for got in [0, 159, 161] {
            let error = Fpcc::from_bytes(params, Suite::default(), &vec![0; got]).unwrap_err();
            assert_eq!(error, FpccError { expected: 160, got });
        }
    }

    #[test]
    fn the_digest_covers_shape_suite_and_length() {
        let suite = Suite::default();
        let params = Params::validate(2, 4, 1).unwrap();
        let fpcc = Fpcc::from_bytes(params, suite, &[7; 160]).unwrap();
        let other = Suite { fingerprint: avid_types::FingerprintKind::Fp64, ..suite };
        let digest = fpcc.digest(params, suite, 4096);
        assert_ne!(digest, fpcc.digest(params, suite, 4097));
        assert_ne!(digest, fpcc.digest(params, other, 4096));
        assert_ne!(digest, fpcc.digest(Params::validate(1, 4, 1).unwrap(), suite, 4096));
    }

    #[test]
    fn debug_output_has_the_shape_and_not_the_bytes() {
        let params = Params::validate(2, 4, 1).unwrap();
        let fpcc = Fpcc::from_bytes(params, Suite::default(), &[7; 160]).unwrap();
        assert_eq!(format!("{fpcc:?}"), "Fpcc { slots: 4, bytes: 160, .. }");
    }
}
