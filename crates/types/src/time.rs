//! Time as a value that somebody else read from a clock.

use std::fmt;
use std::time::Duration;

use crate::encode::{DecodeError, Decoder, Encoder};

/// Milliseconds since 1970-01-01 UTC.
///
/// Cluster time and expiries are of this type; pure code receives it and never asks for it.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The beginning of time; also stands for "never expires" where a field says so.
    pub const ZERO: Self = Self(0);

    /// This moment plus a duration, saturating.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long after `earlier` this moment is, zero if it is not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Appends eight bytes, little-endian.
    pub fn encode(self, encoder: &mut Encoder) {
        encoder.u64(self.0);
    }

    /// Reads eight bytes.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the input ends early.
    pub fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        decoder.u64().map(Self)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}
