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

    /// Rule: STRIPE-1.
    #[test]
    fn a_byte_lies_in_the_stripe_and_the_fragment_where_the_picture_says() {
        let stripe = 3 * 4096;
        let l = layout(2 * stripe + 7);
        assert_eq!([l.object_bytes(), l.stripe_bytes()], [2 * stripe + 7, stripe]);
        assert_eq!(l.full_chunk_bytes(), 4096);
        assert_eq!(l.chunk_bytes(StripeIndex(2)), 3);
        for (offset, index) in [(0, 0), (stripe - 1, 0), (stripe, 1), (2 * stripe + 6, 2)] {
            assert_eq!(l.stripe_of(offset), StripeIndex(index), "byte {offset}");
        }
        assert_eq!(l.fragment_offset(StripeIndex(2)), 2 * 4096);
        assert_eq!(l.fragment_bytes(), 2 * 4096 + 3);
        assert_eq!(l.data_bytes(StripeIndex(u64::MAX)), 0, "far past the end");
    }

    #[test]
    fn chunk_sizes_are_multiples_of_the_step_within_their_range() {
        for good in [4096, 5120, 4 << 20] {
            assert_eq!(StripeLayout::check_chunk_bytes(good), Ok(()));
        }
        for bad in [0, 1024, 4096 - 1024, 4097, (4 << 20) + 1024] {
            let refused = Err(StripeLayoutError::ChunkBytes(bad));
            assert_eq!(StripeLayout::check_chunk_bytes(bad), refused);
        }
    }

    #[test]
    fn the_longest_object_has_a_layout_and_a_longer_one_has_none() {
        let params = Params::with_most_liars(1, 2).unwrap();
        let longest = StripeLayout::new(params, 4096, OBJECT_BYTES_MAX).unwrap();
        assert_eq!(longest.stripes(), 1 << 34);
        assert_eq!(longest.fragment_bytes(), OBJECT_BYTES_MAX);
        let longer = StripeLayout::new(params, 4096, OBJECT_BYTES_MAX + 1);
        assert_eq!(longer, Err(StripeLayoutError::ObjectBytes(OBJECT_BYTES_MAX + 1)));
    }
}
