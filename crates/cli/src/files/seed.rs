//! Secret key material: drawn from the operating system, kept as hexadecimal in files.

use avid_types::SigningKey;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::error::{CliError, Kind};

/// The 32 bytes an Ed25519 key is made from. Never printed, wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Seed(Zeroizing<[u8; 32]>);

impl Seed {
    /// Draws a new seed.
    ///
    /// # Errors
    ///
    /// [`CliError`] if the operating system has no randomness.
    pub(crate) fn draw() -> Result<Self, CliError> {
        let mut bytes = Zeroizing::new([0; 32]);
        fill_random(bytes.as_mut_slice())?;
        Ok(Self(bytes))
    }

    /// The key of this seed.
    #[must_use]
    pub(crate) fn key(&self) -> SigningKey {
        SigningKey::from_seed(*self.0)
    }

    /// The secret as 64 hexadecimal characters.
    #[must_use]
    pub(crate) fn to_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(*self.0))
    }

    /// Reads 64 hexadecimal characters.
    #[must_use]
    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text, bytes.as_mut_slice()).ok()?;
        Some(Self(bytes))
    }
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed(secret)")
    }
}

impl Serialize for Seed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_hex())
    }
}

impl<'de> Deserialize<'de> for Seed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        // The text is not quoted in the error: it may be most of a secret.
        Self::from_hex(&text).ok_or_else(|| {
            serde::de::Error::custom("a secret seed has 64 hexadecimal characters, this one not")
        })
    }
}

/// Fills a buffer from the operating system's generator.
///
/// # Errors
///
/// [`CliError`] if it has none.
pub(crate) fn fill_random(bytes: &mut [u8]) -> Result<(), CliError> {
    getrandom::fill(bytes).map_err(|error| {
        CliError::new(Kind::Local, format!("the operating system has no randomness: {error}"))
    })
}
