//! One stripe from end to end: encode, digest and fingerprint it, check its chunks, rebuild them.
//!
//! Writers call [`StripeCoder::encode`], nodes and readers [`StripeCoder::check_chunk`] or its
//! pooled forms, readers and repair [`StripeCoder::rebuild`]. A value holds the generator and its
//! tables, nothing of any stripe: share one per cluster in an `Arc`.
//!
//! Spec: docs/protocol.md sections 1.2, 2.4 and 2.5.
//! Bounds: no memory beyond the arguments, 32 bytes per 16 KiB hashed and a few KiB per point.
//! Not here: where a chunk's length comes from (`types::StripeLayout`): compare it first.

use avid_types::canary::{self, Canary};
use avid_types::limits::CHUNK_BYTES_MAX;
use avid_types::{CodeKind, Digest, Params, Slot, Suite};

use crate::codec::{Codec, EncodeError, RebuildError, ReedSolomon, SubChunk};
use crate::digest::chunk_digests;
use crate::fingerprint::{self, Fingerprint};
use crate::fpcc::Fpcc;
use crate::gf::{ShapeError, add_scaled};

/// Why a chunk is not consistent with its cross-checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChunkFault {
    /// The code or the cross-checksum has no such slot.
    #[error("no such slot")]
    Slot,
    /// Empty, or longer than any chunk may be.
    #[error("chunk length is out of range")]
    Length,
    /// The digest is not `cc[slot]`.
    #[error("chunk does not have the digest of the cross-checksum")]
    Hash,
    /// The fingerprint is not the generator row applied to `fp`: the *writer* lied.
    #[error("chunk is not on the codeword of the cross-checksum")]
    Fingerprint,
}

/// Codes, digests and fingerprints of stripes of one shape and suite.
#[derive(Debug)]
pub struct StripeCoder {
    params: Params,
    suite: Suite,
    codec: Box<dyn Codec>,
}

impl StripeCoder {
    /// The coder of a shape and suite.
    #[must_use]
    pub fn new(params: Params, suite: Suite) -> Self {
        let codec = match suite.code {
            CodeKind::ReedSolomon => Box::new(ReedSolomon::new(params)),
        };
        Self { params, suite, codec }
    }

    /// The shape.
    #[must_use]
    pub fn params(&self) -> Params {
        self.params
    }

    /// The suite.
    #[must_use]
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// The erasure code.
    #[must_use]
    pub fn codec(&self) -> &dyn Codec {
        self.codec.as_ref()
    }

    /// Fills the parity chunks of one stripe and returns its cross-checksum.
    ///
    /// `data`: m chunks of one length from 1 to [`CHUNK_BYTES_MAX`]; `parity`: n - m buffers of the
    /// same length, overwritten.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if counts or lengths do not fit; `parity` is then untouched.
    pub fn encode(&self, data: &[&[u8]], parity: &mut [&mut [u8]]) -> Result<Fpcc, EncodeError> {
        let bytes = data.first().map_or(0, |chunk| chunk.len());
        let chunk_bytes = chunk_length(bytes).ok_or(EncodeError::ChunkBytes { bytes })?;
        self.codec.encode(data, parity)?;
        let chunks: Vec<&[u8]> =
            data.iter().copied().chain(parity.iter().map(|chunk| &**chunk)).collect();
        let mut fpcc = Vec::with_capacity(Fpcc::bytes_of(self.params, self.suite));
        for digest in chunk_digests(&chunks) {
            fpcc.extend_from_slice(digest.as_bytes());
        }
        let fingerprint = self.fingerprint_at(chunk_bytes, &fpcc);
        for chunk in data {
            fpcc.extend_from_slice(fingerprint.evaluate(chunk).as_bytes());
        }
        Fpcc::from_bytes(self.params, self.suite, &fpcc)
            .map_err(|error| ShapeError::Count { expected: error.expected, got: error.got }.into())
    }

    /// Checks one chunk: digest *and* fingerprint (docs/protocol.md section 1.2).
    ///
    /// The caller has compared the chunk's length with the stripe's and knows that `fpcc` is
    /// authentic, or is about to commit to it.
    ///
    /// # Errors
    ///
    /// [`ChunkFault`] with the first check that fails.
    pub fn check_chunk(&self, slot: Slot, chunk: &[u8], fpcc: &Fpcc) -> Result<(), ChunkFault> {
        self.check_all(&[(slot, chunk, fpcc)]).pop().unwrap_or(Err(ChunkFault::Slot))
    }

    /// Checks several chunks of one stripe, hashing them together. One result per chunk, in order.
    #[must_use]
    pub fn check_chunks(
        &self,
        chunks: &[(Slot, &[u8])],
        fpcc: &Fpcc,
    ) -> Vec<Result<(), ChunkFault>> {
        let checks: Vec<_> = chunks.iter().map(|(slot, chunk)| (*slot, *chunk, fpcc)).collect();
        self.check_all(&checks)
    }

    /// Checks the chunks of one slot over several stripes, hashing them together.
    #[must_use]
    pub fn check_slot_chunks(
        &self,
        slot: Slot,
        chunks: &[(&[u8], &Fpcc)],
    ) -> Vec<Result<(), ChunkFault>> {
        let checks: Vec<_> = chunks.iter().map(|(chunk, fpcc)| (slot, *chunk, *fpcc)).collect();
        self.check_all(&checks)
    }

    /// Rebuilds the chunks of the wanted slots from at least m verified chunks of one stripe.
    ///
    /// The result is *not* verified: compare its digest with `cc[slot]` before storing it.
    ///
    /// Rule: REPAIR-2. Cost: m field multiplications per byte and wanted slot. To rebuild many
    /// stripes from the same slots, make one [`Codec::repair_plan`] and use it for all of them.
    ///
    /// # Errors
    ///
    /// [`RebuildError::TooFewChunks`] with how many are needed: ask other slots and call again.
    /// Others if slots repeat or do not exist or lengths differ; `wanted` is then untouched.
    pub fn rebuild(
        &self,
        available: &[(Slot, &[u8])],
        wanted: &mut [(Slot, &mut [u8])],
    ) -> Result<(), RebuildError> {
        let slots: Vec<Slot> = available.iter().map(|(slot, _)| *slot).collect();
        let wanted_slots: Vec<Slot> = wanted.iter().map(|(slot, _)| *slot).collect();
        let plan = self.codec.repair_plan(&slots, &wanted_slots)?;
        let parts = self.codec.sub_chunks();
        let mut inputs = Vec::with_capacity(plan.reads().len());
        for read in plan.reads() {
            let chunk = available.iter().find(|(slot, _)| *slot == read.slot);
            let (_, chunk) = chunk.ok_or(RebuildError::UnknownSlot(read.slot))?;
            inputs.extend(chunk.chunks_exact((chunk.len() / parts).max(1)).nth(read.part));
        }
        let mut outputs = Vec::with_capacity(plan.wanted().len());
        for (_, chunk) in wanted {
            let part_bytes = (chunk.len() / parts).max(1);
            outputs.extend(chunk.chunks_exact_mut(part_bytes));
        }
        plan.rebuild(&inputs, &mut outputs)
    }

    /// Every check of this type ends here: shapes, then digests in a pool, then fingerprints.
    fn check_all(&self, checks: &[(Slot, &[u8], &Fpcc)]) -> Vec<Result<(), ChunkFault>> {
        let lengths: Vec<Result<u32, ChunkFault>> =
            checks.iter().map(|(slot, chunk, fpcc)| self.check_shape(*slot, chunk, fpcc)).collect();
        let sound = checks.iter().zip(&lengths).filter(|(_, length)| length.is_ok());
        let chunks: Vec<&[u8]> = sound.map(|((_, chunk, _), _)| *chunk).collect();
        let mut digests = chunk_digests(&chunks).into_iter();
        let mut point: Option<Point<'_>> = None;
        let mut results = Vec::with_capacity(checks.len());
        for ((slot, chunk, fpcc), length) in checks.iter().zip(lengths) {
            results.push(length.and_then(|chunk_bytes| {
                if digests.next() != fpcc.cc(*slot) {
                    return Err(ChunkFault::Hash);
                }
                let point = match point.take_if(|p| p.serves(fpcc, chunk_bytes)) {
                    Some(same) => point.insert(same),
                    None => point.insert(self.point_of(fpcc, chunk_bytes)),
                };
                self.check_fingerprint(*slot, chunk, fpcc, point.fingerprint.as_ref())
            }));
        }
        results
    }

    fn check_shape(&self, slot: Slot, chunk: &[u8], fpcc: &Fpcc) -> Result<u32, ChunkFault> {
        if !self.params.has_slot(slot) || !fpcc.has_shape(self.params, self.suite) {
            return Err(ChunkFault::Slot);
        }
        chunk_length(chunk.len()).ok_or(ChunkFault::Length)
    }

    fn check_fingerprint(
        &self,
        slot: Slot,
        chunk: &[u8],
        fpcc: &Fpcc,
        fingerprint: &dyn Fingerprint,
    ) -> Result<(), ChunkFault> {
        let row = self.codec.generator_row(SubChunk { slot, part: 0 }).ok_or(ChunkFault::Slot)?;
        let mut expected = vec![0; self.suite.fingerprint.bytes()];
        for (coefficient, value) in row.iter().zip(fpcc.fingerprints()) {
            if *coefficient != 0 {
                add_scaled(&mut expected, *coefficient, value);
            }
        }
        if fingerprint.evaluate(chunk).as_bytes() == expected {
            return Ok(());
        }
        Err(ChunkFault::Fingerprint)
    }

    fn point_of<'a>(&self, fpcc: &'a Fpcc, chunk_bytes: u32) -> Point<'a> {
        let fingerprint = self.fingerprint_at(chunk_bytes, fpcc.all_cc());
        Point { fpcc, chunk_bytes, fingerprint }
    }

    fn fingerprint_at(&self, chunk_bytes: u32, digests: &[u8]) -> Box<dyn Fingerprint> {
        let digests = match digests.first_chunk::<{ Digest::BYTES }>() {
            Some(first) if canary::sings(Canary::ClientChosenPoint) => first,
            _ => digests,
        };
        let seed: Digest = fingerprint::point_seed(self.params, self.suite, chunk_bytes, digests);
        fingerprint::at_seed(self.suite.fingerprint, &seed)
    }
}

/// The point of the stripe that was checked last: chunks of one stripe share it.
struct Point<'a> {
    fpcc: &'a Fpcc,
    chunk_bytes: u32,
    fingerprint: Box<dyn Fingerprint>,
}

impl Point<'_> {
    fn serves(&self, fpcc: &Fpcc, chunk_bytes: u32) -> bool {
        std::ptr::eq(self.fpcc, fpcc) && self.chunk_bytes == chunk_bytes
    }
}

fn chunk_length(bytes: usize) -> Option<u32> {
    u32::try_from(bytes).ok().filter(|bytes| (1..=CHUNK_BYTES_MAX).contains(bytes))
}

#[cfg(test)]
mod tests;
