//! What stands before the bulk bytes of CHUNK and FRAG frames.
//!
//! Spec: docs/protocol.md WIRE-1. Drawn in docs/formats.md.
//! Bounds: a prefix is a few hundred bytes; the chunk behind it at most `CHUNK_BYTES_MAX`.

use avid_coding::merkle::MerklePath;
use avid_types::limits::{CHUNK_BYTES_MAX, STRIPE_PATH_MAX};
use avid_types::{DecodeError, Decoder, Encoder, StripeIndex};

/// What stands before the bytes of a CHUNK frame.
///
/// ```text
/// stripe u64 | chunk length u32 | cross-checksum (fixed by the configuration) | chunk bytes
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkPrefix {
    /// Which stripe.
    pub stripe: StripeIndex,
    /// Bytes of the chunk.
    pub chunk_bytes: u32,
}

impl ChunkPrefix {
    /// Bytes before the cross-checksum.
    pub const BYTES: usize = 12;

    /// The prefix and the cross-checksum as they stand before the chunk.
    #[must_use]
    pub fn to_bytes(self, fpcc: &[u8]) -> Vec<u8> {
        let mut e = Encoder::with_capacity(Self::BYTES + fpcc.len());
        self.stripe.encode(&mut e);
        e.u32(self.chunk_bytes);
        e.bytes(fpcc);
        e.into_vec()
    }

    /// Reads the prefix; the cross-checksum and `chunk_bytes` bytes follow.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the length is zero or beyond the largest chunk.
    pub fn decode(d: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let prefix = Self { stripe: StripeIndex::decode(d)?, chunk_bytes: d.u32()? };
        if prefix.chunk_bytes == 0 || prefix.chunk_bytes > CHUNK_BYTES_MAX {
            let value = u64::from(prefix.chunk_bytes);
            return Err(DecodeError::Invalid { what: "chunk length", value });
        }
        Ok(prefix)
    }
}

/// What stands before the bytes of a FRAG frame.
///
/// ```text
/// stripe u64 | chunk length u32 | prefix length u16 | cross-checksum | Merkle path | chunk bytes
/// ```
/// The prefix length counts cross-checksum and path, so that the chunk's place is known early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FragPrefix {
    /// Stripe and length.
    pub chunk: ChunkPrefix,
    /// Canonical cross-checksum bytes.
    pub fpcc: Vec<u8>,
    /// From the stripe's leaf to the manifest's root.
    pub path: MerklePath,
}

impl FragPrefix {
    /// Bytes before the cross-checksum.
    pub const FIXED_BYTES: usize = ChunkPrefix::BYTES + 2;

    /// Everything before the chunk.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut variable = Encoder::with_capacity(self.fpcc.len() + 512);
        variable.bytes(&self.fpcc);
        self.path.encode(&mut variable);
        let mut e = Encoder::with_capacity(Self::FIXED_BYTES + variable.as_slice().len());
        self.chunk.stripe.encode(&mut e);
        e.u32(self.chunk.chunk_bytes);
        e.short_bytes(variable.as_slice());
        e.into_vec()
    }

    /// Reads the fixed part: stripe, chunk length and the bytes still before the chunk.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if a length is out of range.
    pub fn decode_fixed(bytes: &[u8]) -> Result<(ChunkPrefix, usize), DecodeError> {
        let mut d = Decoder::new(bytes);
        let chunk = ChunkPrefix::decode(&mut d)?;
        let variable = usize::from(d.u16()?);
        d.finish()?;
        Ok((chunk, variable))
    }

    /// Reads the variable part of a frame whose fixed part was read.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if malformed.
    pub fn decode_variable(
        chunk: ChunkPrefix,
        fpcc_bytes: usize,
        bytes: &[u8],
    ) -> Result<Self, DecodeError> {
        let mut d = Decoder::new(bytes);
        let fpcc = d.bytes(fpcc_bytes)?.to_vec();
        let path = MerklePath::decode(&mut d, STRIPE_PATH_MAX)?;
        d.finish()?;
        Ok(Self { chunk, fpcc, path })
    }
}
