//! Linear erasure codes as data: a generator, an encoder, and plans to rebuild what is lost.
//!
//! A code takes m data chunks to n chunks, one per slot. Each chunk is `sub_chunks` equal parts
//! (one for Reed-Solomon, several for regenerating codes), and every sub-chunk is a linear
//! combination of the data's sub-chunks over the field of [`crate::gf`]: the generator row.
//!
//! Repair is a *plan*: which sub-chunks of which slots to read, and the matrix that takes them to
//! the lost ones. Codes differ in how they choose the plan (any m chunks, a local group, a part of
//! each of d helpers); executing it is the same for all, and it does not need the code any more.
//!
//! ```text
//! repair_plan(available, wanted) --> reads: [(slot, sub-chunk)], matrix --> rebuild(bytes read)
//! ```
//!
//! Rule: CODE-1, REPAIR-2 (docs/protocol.md section 2.1). Not here: whether bytes read are genuine
//! (`stripe_coder::StripeCoder::check_chunk`): verify before rebuilding, and again after.

mod reed_solomon;

use avid_types::Slot;

pub use reed_solomon::ReedSolomon;

use crate::gf::{LinearMap, ShapeError};

/// Chunks do not have the shape of the code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Wrong number of data or parity chunks, or chunks of different lengths.
    #[error("chunks do not fit the code: {0}")]
    Shape(#[from] ShapeError),
    /// Empty, longer than the limit, or not divisible into sub-chunks.
    #[error("chunks of {bytes} bytes cannot be coded")]
    ChunkBytes {
        /// Length of a chunk.
        bytes: usize,
    },
}

/// Lost chunks cannot be rebuilt from what was offered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RebuildError {
    /// More slots are needed.
    #[error("{available} chunks are too few, {needed} rebuild a stripe")]
    TooFewChunks {
        /// Distinct slots offered.
        available: usize,
        /// Slots needed.
        needed: usize,
    },
    /// A slot the code does not have.
    #[error("the code has no slot {0}")]
    UnknownSlot(Slot),
    /// A slot was named twice.
    #[error("slot {0} is named twice")]
    DuplicateSlot(Slot),
    /// Wrong number of byte strings, or byte strings of different lengths.
    #[error("chunks do not fit the plan: {0}")]
    Shape(#[from] ShapeError),
}

/// One sub-chunk of one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SubChunk {
    /// The slot.
    pub slot: Slot,
    /// Which part of its chunk, from 0.
    pub part: usize,
}

/// A linear code. Slots below [`Codec::data_slots`] hold the data unchanged.
pub trait Codec: std::fmt::Debug + Send + Sync {
    /// Chunks in all: n.
    fn slots(&self) -> usize;

    /// Data chunks: m.
    fn data_slots(&self) -> usize;

    /// m*: the least number such that *every* set of so many slots rebuilds the stripe.
    ///
    /// Thresholds of the protocol are computed from it. Equals m exactly for MDS codes.
    fn any_subset(&self) -> usize;

    /// Equal parts of a chunk that the code treats as symbols. A chunk's length is a multiple.
    fn sub_chunks(&self) -> usize;

    /// Coefficients of one sub-chunk over all data sub-chunks: entry `slot * sub_chunks + part`.
    ///
    /// `None` if the code has no such sub-chunk.
    fn generator_row(&self, sub_chunk: SubChunk) -> Option<&[u8]>;

    /// Computes the parity chunks of `data`; all chunks have one length. Overwrites `parity`.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if counts or lengths do not fit; `parity` is then untouched.
    fn encode(&self, data: &[&[u8]], parity: &mut [&mut [u8]]) -> Result<(), EncodeError>;

    /// Plans how to rebuild the chunks of `wanted` from (some of) the slots `available`.
    ///
    /// A wanted slot may be available, it is then copied.
    ///
    /// # Errors
    ///
    /// [`RebuildError`] if the slots do not suffice, do not exist or repeat.
    fn repair_plan(&self, available: &[Slot], wanted: &[Slot]) -> Result<RepairPlan, RebuildError>;
}

/// What to read and how to combine it. Serves any number of stripes with the same slots.
#[derive(Debug, Clone)]
pub struct RepairPlan {
    reads: Vec<SubChunk>,
    wanted: Vec<SubChunk>,
    map: LinearMap,
}

impl RepairPlan {
    /// A plan from its parts: row i of `rows` takes the reads to `wanted[i]`.
    ///
    /// # Errors
    ///
    /// [`RebuildError::Shape`] if the matrix is not `wanted` x `reads`.
    pub fn new(
        reads: Vec<SubChunk>,
        wanted: Vec<SubChunk>,
        rows: &[Vec<u8>],
    ) -> Result<Self, RebuildError> {
        if rows.len() != wanted.len() {
            return Err(ShapeError::Count { expected: wanted.len(), got: rows.len() }.into());
        }
        let map = LinearMap::new(reads.len(), rows)?;
        Ok(Self { reads, wanted, map })
    }

    /// Sub-chunks to read, in the order [`RepairPlan::rebuild`] takes them.
    #[must_use]
    pub fn reads(&self) -> &[SubChunk] {
        &self.reads
    }

    /// Sub-chunks that result, in the order [`RepairPlan::rebuild`] fills them.
    #[must_use]
    pub fn wanted(&self) -> &[SubChunk] {
        &self.wanted
    }

    /// Combines what was read; all byte strings have one length. Overwrites `outputs`.
    ///
    /// The result is *not* verified: compare its digest with `cc[slot]` before storing it.
    ///
    /// Cost: `reads` x `wanted` field multiplications per byte, no allocation.
    ///
    /// # Errors
    ///
    /// [`RebuildError::Shape`] if counts or lengths do not fit; `outputs` are then untouched.
    pub fn rebuild(&self, inputs: &[&[u8]], outputs: &mut [&mut [u8]]) -> Result<(), RebuildError> {
        Ok(self.map.apply(inputs, outputs)?)
    }
}
