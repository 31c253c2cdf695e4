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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_differences_stay_within_the_type() {
        let second = Duration::from_secs(1);
        assert_eq!(Timestamp(7).plus(second), Timestamp(1007));
        assert_eq!(Timestamp(u64::MAX - 5).plus(second), Timestamp(u64::MAX));
        assert_eq!(Timestamp(7).plus(Duration::MAX), Timestamp(u64::MAX));
        assert_eq!(Timestamp(1007).since(Timestamp(7)), second);
        assert_eq!(Timestamp(7).since(Timestamp(1007)), Duration::ZERO);
    }

    #[test]
    fn a_moment_is_eight_bytes_and_prints_as_seconds() {
        let mut e = Encoder::new();
        Timestamp(0x0102).encode(&mut e);
        assert_eq!(e.as_slice(), [2, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Timestamp::decode(&mut Decoder::new(e.as_slice())), Ok(Timestamp(0x0102)));
        assert!(Timestamp::decode(&mut Decoder::new(&[0; 7])).is_err());
        assert_eq!(Timestamp(12_034).to_string(), "12.034");
    }
}
