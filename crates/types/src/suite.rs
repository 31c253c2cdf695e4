//! Which code, fingerprint and hash a cluster uses, as one byte.
//!
//! ```text
//! bit 7 6 5 | 4 3 2 | 1           | 0
//!  reserved | code  | fingerprint | hash
//! ```
//! Rule: SUITE-1. Later codes and hashes take the free values; a build refuses those it lacks.

use crate::encode::DecodeError;

/// The erasure code.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum CodeKind {
    /// Systematic Reed-Solomon over GF(2^8)/0x11D, Cauchy parity: any m of n chunks suffice.
    ReedSolomon,
}

/// The homomorphic fingerprint.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum FingerprintKind {
    /// 128-bit field; the default.
    Fp128,
    /// 64-bit field; weaker against a writer who searches offline (see `coding::fingerprint`).
    Fp64,
}

impl FingerprintKind {
    /// Bytes of one fingerprint.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::Fp128 => 16,
            Self::Fp64 => 8,
        }
    }
}

/// The hash of chunks and trees.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum HashKind {
    /// SHA-256 with a tree of 16 KiB leaves per chunk.
    Sha256,
}

/// Code, fingerprint and hash together.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct Suite {
    /// The erasure code.
    pub code: CodeKind,
    /// The homomorphic fingerprint.
    pub fingerprint: FingerprintKind,
    /// The hash.
    pub hash: HashKind,
}

impl Default for Suite {
    fn default() -> Self {
        Self {
            code: CodeKind::ReedSolomon,
            fingerprint: FingerprintKind::Fp128,
            hash: HashKind::Sha256,
        }
    }
}

impl Suite {
    /// The byte that names the suite in every signed and stored format.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        match (self.code, self.fingerprint, self.hash) {
            (CodeKind::ReedSolomon, FingerprintKind::Fp128, HashKind::Sha256) => 0,
            (CodeKind::ReedSolomon, FingerprintKind::Fp64, HashKind::Sha256) => 0b10,
        }
    }

    /// Reads the byte.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Invalid`] if this build lacks the suite.
    pub const fn from_byte(byte: u8) -> Result<Self, DecodeError> {
        let fingerprint = match byte {
            0 => FingerprintKind::Fp128,
            0b10 => FingerprintKind::Fp64,
            _ => return Err(DecodeError::Invalid { what: "suite", value: byte as u64 }),
        };
        Ok(Self { code: CodeKind::ReedSolomon, fingerprint, hash: HashKind::Sha256 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rule: SUITE-1.
    #[test]
    fn the_two_suites_of_this_build_are_bytes_0_and_2_and_every_other_byte_is_refused() {
        let short = Suite { fingerprint: FingerprintKind::Fp64, ..Suite::default() };
        assert_eq!([Suite::default().to_byte(), short.to_byte()], [0, 0b10]);
        for byte in 0..=u8::MAX {
            let expected = match byte {
                0 => Ok(Suite::default()),
                0b10 => Ok(short),
                _ => Err(DecodeError::Invalid { what: "suite", value: u64::from(byte) }),
            };
            assert_eq!(Suite::from_byte(byte), expected);
        }
    }

    #[test]
    fn fingerprints_have_16_or_8_bytes() {
        assert_eq!(FingerprintKind::Fp128.bytes(), 16);
        assert_eq!(FingerprintKind::Fp64.bytes(), 8);
    }
}
