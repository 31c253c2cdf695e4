//! Where the bytes of an object lie: stripes of m chunks, the last one short.
//!
//! ```text
//! object   |-- stripe 0: m*L bytes --|-- stripe 1 --| ... |-- last --|
//! stripe   | chunk 0: L | chunk 1: L | ... | chunk m-1 |  n-m parity chunks
//! last     L_last = ceil(rest / m); the tail of its data chunks is zero padding
//! ```
//! An object of 0 bytes has no stripes.
//!
//! Rule: STRIPE-1 (docs/protocol.md). All arithmetic is exact for lengths up to `OBJECT_BYTES_MAX`.

use crate::id::StripeIndex;
use crate::limits::{CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, CHUNK_BYTES_STEP, OBJECT_BYTES_MAX};
use crate::params::Params;

/// Why a length and a chunk size do not describe an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StripeLayoutError {
    /// Chunk size outside its range or not a multiple of the step.
    #[error(
        "chunk size {0} is not a multiple of {CHUNK_BYTES_STEP} between {CHUNK_BYTES_MIN} and {CHUNK_BYTES_MAX} bytes"
    )]
    ChunkBytes(u32),
    /// Object too long.
    #[error("object of {0} bytes exceeds the limit of {OBJECT_BYTES_MAX}")]
    ObjectBytes(u64),
}

/// Stripe arithmetic of one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StripeLayout {
    m: u64,
    chunk_bytes: u32,
    object_bytes: u64,
}

impl StripeLayout {
    /// Checks a chunk size by itself.
    ///
    /// # Errors
    ///
    /// [`StripeLayoutError::ChunkBytes`].
    pub fn check_chunk_bytes(chunk_bytes: u32) -> Result<(), StripeLayoutError> {
        let in_range = (CHUNK_BYTES_MIN..=CHUNK_BYTES_MAX).contains(&chunk_bytes);
        if in_range && chunk_bytes.is_multiple_of(CHUNK_BYTES_STEP) {
            return Ok(());
        }
        Err(StripeLayoutError::ChunkBytes(chunk_bytes))
    }

    /// Layout of an object of `object_bytes` in chunks of `chunk_bytes`.
    ///
    /// # Errors
    ///
    /// [`StripeLayoutError`] if either is out of range.
    pub fn new(
        params: Params,
        chunk_bytes: u32,
        object_bytes: u64,
    ) -> Result<Self, StripeLayoutError> {
        Self::check_chunk_bytes(chunk_bytes)?;
        if object_bytes > OBJECT_BYTES_MAX {
            return Err(StripeLayoutError::ObjectBytes(object_bytes));
        }
        Ok(Self { m: u64::from(params.m_byte()), chunk_bytes, object_bytes })
    }

    /// Object length in bytes.
    #[must_use]
    pub fn object_bytes(&self) -> u64 {
        self.object_bytes
    }

    /// Object bytes of a full stripe: m * L.
    #[must_use]
    pub fn stripe_bytes(&self) -> u64 {
        self.m * u64::from(self.chunk_bytes)
    }

    /// Number of stripes; 0 for the empty object.
    #[must_use]
    pub fn stripes(&self) -> u64 {
        self.object_bytes.div_ceil(self.stripe_bytes())
    }

    /// Object bytes in stripe `s`, 0 past the end.
    #[must_use]
    pub fn data_bytes(&self, stripe: StripeIndex) -> u64 {
        let start = stripe.0.saturating_mul(self.stripe_bytes());
        self.object_bytes.saturating_sub(start).min(self.stripe_bytes())
    }

    /// Chunk length in stripe `s`: L, or ceil(rest / m) in the last, 0 past the end.
    #[must_use]
    pub fn chunk_bytes(&self, stripe: StripeIndex) -> u32 {
        let chunk = self.data_bytes(stripe).div_ceil(self.m);
        u32::try_from(chunk).unwrap_or(self.chunk_bytes)
    }

    /// The chunk length L of every stripe but the last.
    #[must_use]
    pub fn full_chunk_bytes(&self) -> u32 {
        self.chunk_bytes
    }

    /// Offset of stripe `s`'s chunk within a fragment.
    #[must_use]
    pub fn fragment_offset(&self, stripe: StripeIndex) -> u64 {
        stripe.0.saturating_mul(u64::from(self.chunk_bytes))
    }

    /// Bytes of one fragment: all chunks of one slot.
    #[must_use]
    pub fn fragment_bytes(&self) -> u64 {
        let Some(last) = self.stripes().checked_sub(1) else {
            return 0;
        };
        self.fragment_offset(StripeIndex(last)) + u64::from(self.chunk_bytes(StripeIndex(last)))
    }

    /// The stripe that holds object byte `offset`.
    #[must_use]
    pub fn stripe_of(&self, offset: u64) -> StripeIndex {
        StripeIndex(offset / self.stripe_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(object_bytes: u64) -> StripeLayout {
        StripeLayout::new(Params::with_most_liars(3, 5).unwrap(), 4096, object_bytes).unwrap()
    }

    /// Rule: STRIPE-1.
    #[test]
    fn edges_of_a_stripe() {
        let stripe = 3 * 4096;
        assert_eq!(layout(0).stripes(), 0);
        assert_eq!(layout(0).fragment_bytes(), 0);
        assert_eq!(layout(1).stripes(), 1);
        assert_eq!(layout(1).chunk_bytes(StripeIndex(0)), 1);
        assert_eq!(layout(stripe - 1).chunk_bytes(StripeIndex(0)), 4096);
        assert_eq!(layout(stripe).stripes(), 1);
        assert_eq!(layout(stripe + 1).stripes(), 2);
        assert_eq!(layout(stripe + 1).chunk_bytes(StripeIndex(1)), 1);
        assert_eq!(layout(stripe + 1).fragment_bytes(), 4097);
        assert_eq!(layout(stripe + 1).chunk_bytes(StripeIndex(2)), 0);
    }

    #[test]
    fn stripes_add_up_to_the_object() {
        for len in (0..100_000).step_by(37) {
            let l = layout(len);
            let sum: u64 = (0..l.stripes()).map(|s| l.data_bytes(StripeIndex(s))).sum();
            assert_eq!(sum, len);
        }
    }
}
