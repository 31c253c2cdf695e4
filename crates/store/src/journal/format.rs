//! Bytes of a journal segment.
//!
//! ```text
//! segment header, alone in the first 4,096 bytes
//!   0  magic "AVIDWAL\0"    8
//!   8  version = 1          u32     12  zero                u32
//!  16  store id             16
//!  32  first position       u64     number of the segment's first record
//!  40  crc32c of 0..40      u32     44  zeros to 4,096
//!
//! batch = what one sync made durable, starts at a multiple of 4,096
//!   0  magic "AVIDBAT\0"    8
//!   8  own offset in file   u64     also the end of everything synced before it
//!  16  first position       u64
//!  24  records              u32     28  body bytes          u32
//!  32  crc32c of (store id, 0..32)  u32    36  zero         u32
//!  40  body: frames back to back, then zeros to a multiple of 4,096
//!
//! frame
//!   0  length               u32      4  crc32c of (position, bytes)  u32
//!   8  position             u64     16  bytes
//! ```
//! All integers are little-endian. A batch header answers for the store id, which no peer learns,
//! so that bytes chosen by a peer inside a record cannot pass for a batch.
//!
//! Invariant: decoding any bytes yields a value or `None`, never a panic.
//! Bounds: [`BATCH_BODY_BYTES_MAX`] is checked before a body is read.

use avid_types::{Decoder, Encoder};

use crate::number::{len_of, to_u64};
use crate::store::StoreId;

/// Longest record.
pub const RECORD_BYTES_MAX: usize = 1 << 20;
/// Most bytes of frames between two syncs: what a replay holds in memory at once.
pub const BATCH_BODY_BYTES_MAX: usize = 16 << 20;
/// Batches start on their own sector, so that no write touches one that holds synced bytes.
pub(super) const SECTOR_BYTES: u64 = 4096;
pub(super) const SECTOR_LEN: usize = 4096;
pub(super) const BATCH_HEADER_LEN: usize = 40;
const FRAME_HEADER_LEN: usize = 16;
const SEGMENT_MAGIC: [u8; 8] = *b"AVIDWAL\0";
const BATCH_MAGIC: [u8; 8] = *b"AVIDBAT\0";
const VERSION: u32 = 1;

/// Name of the segment whose first record has this position.
pub(super) fn segment_name(first_position: u64) -> String {
    format!("{first_position:016x}.wal")
}

/// The position in a segment's name; none for any other name.
pub(super) fn parse_segment_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".wal")?;
    let position = u64::from_str_radix(digits, 16).ok()?;
    (segment_name(position) == name).then_some(position)
}

/// The first sector of a segment.
pub(super) fn encode_segment_header(store: StoreId, first_position: u64) -> Vec<u8> {
    let mut encoder = Encoder::with_capacity(SECTOR_LEN);
    encoder.bytes(&SEGMENT_MAGIC);
    encoder.u32(VERSION);
    encoder.u32(0);
    encoder.bytes(&store.0);
    encoder.u64(first_position);
    encoder.u32(crc32c::crc32c(encoder.as_slice()));
    let mut bytes = encoder.into_vec();
    bytes.resize(SECTOR_LEN, 0);
    bytes
}

/// What a segment's header says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) version: u32,
    pub(super) store: StoreId,
    pub(super) first_position: u64,
}

impl SegmentHeader {
    /// Reads a header; none if magic or checksum are wrong.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut decoder = Decoder::new(bytes);
        let magic = decoder.array::<8>().ok()?;
        let version = decoder.u32().ok()?;
        decoder.u32().ok()?;
        let store = StoreId(decoder.array().ok()?);
        let first_position = decoder.u64().ok()?;
        let crc = decoder.u32().ok()?;
        let intact = magic == SEGMENT_MAGIC && crc == crc32c::crc32c(bytes.get(..40)?);
        intact.then_some(Self { version, store, first_position })
    }

    /// Whether this build reads the version.
    pub(super) fn is_readable(&self) -> bool {
        self.version == VERSION
    }
}

/// What a batch's header says, already checked against its own place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchHeader {
    pub(super) first_position: u64,
    pub(super) records: u32,
    pub(super) body_bytes: u32,
}

impl BatchHeader {
    /// Appends the header for a batch at `offset`.
    pub(super) fn encode(&self, store: StoreId, offset: u64) -> Vec<u8> {
        let mut encoder = Encoder::with_capacity(BATCH_HEADER_LEN);
        encoder.bytes(&BATCH_MAGIC);
        encoder.u64(offset);
        encoder.u64(self.first_position);
        encoder.u32(self.records);
        encoder.u32(self.body_bytes);
        encoder.u32(keyed_crc(store, encoder.as_slice()));
        encoder.u32(0);
        encoder.into_vec()
    }

    /// Reads a header found at `offset`; none if anything about it is wrong.
    pub(super) fn decode(bytes: &[u8], store: StoreId, offset: u64) -> Option<Self> {
        let mut decoder = Decoder::new(bytes);
        let magic = decoder.array::<8>().ok()?;
        let own_offset = decoder.u64().ok()?;
        let header = Self {
            first_position: decoder.u64().ok()?,
            records: decoder.u32().ok()?,
            body_bytes: decoder.u32().ok()?,
        };
        let crc = decoder.u32().ok()?;
        let intact = magic == BATCH_MAGIC
            && own_offset == offset
            && header.records > 0
            && len_of(header.body_bytes) <= BATCH_BODY_BYTES_MAX
            && crc == keyed_crc(store, bytes.get(..32)?);
        intact.then_some(header)
    }

    /// Bytes from this batch's start to where the next may start.
    pub(super) fn span(&self) -> u64 {
        let bytes = to_u64(BATCH_HEADER_LEN) + u64::from(self.body_bytes);
        bytes.next_multiple_of(SECTOR_BYTES)
    }
}

fn keyed_crc(store: StoreId, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&store.0), bytes)
}

fn frame_crc(position: u64, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&position.to_le_bytes()), bytes)
}

/// Bytes of the frame of a record.
pub(super) fn frame_len(record: &[u8]) -> usize {
    FRAME_HEADER_LEN + record.len()
}

/// Appends one frame. The record's length was checked against [`RECORD_BYTES_MAX`].
pub(super) fn encode_frame(body: &mut Vec<u8>, position: u64, record: &[u8]) {
    let length = u32::try_from(record.len()).unwrap_or(u32::MAX);
    body.extend_from_slice(&length.to_le_bytes());
    body.extend_from_slice(&frame_crc(position, record).to_le_bytes());
    body.extend_from_slice(&position.to_le_bytes());
    body.extend_from_slice(record);
}

/// Splits a body into records; none unless every frame is whole, in order and intact.
pub(super) fn decode_body<'a>(
    header: &BatchHeader,
    body: &'a [u8],
) -> Option<Vec<(u64, &'a [u8])>> {
    let mut decoder = Decoder::new(body);
    let mut records = Vec::new();
    for index in 0..u64::from(header.records) {
        let length = len_of(decoder.u32().ok()?);
        let crc = decoder.u32().ok()?;
        let position = decoder.u64().ok()?;
        let record = decoder.bytes(length).ok()?;
        let expected = header.first_position.checked_add(index)?;
        let intact = position == expected
            && length <= RECORD_BYTES_MAX
            && crc == frame_crc(position, record);
        if !intact {
            return None;
        }
        records.push((position, record));
    }
    decoder.finish().ok()?;
    Some(records)
}
