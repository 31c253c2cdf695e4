//! Bytes of a fragment file.
//!
//! ```text
//! 0                chunk 0 | chunk 1 | ... | last chunk     each chunk_bytes, the last 1..=chunk_bytes
//! sidecar_offset   fpcc 0 | fpcc 1 | ...                    stripes * fpcc_bytes
//! tree_offset      level 0: stripes leaves of 32 bytes      the digests the caller appended
//!                  level 1: ceil(stripes / 2) nodes         an odd last node is promoted unchanged
//!                  ...
//!                  top: 1 node, the root                    no levels if there are no stripes
//! manifest_offset  manifest                                 manifest_bytes
//! footer_offset    footer, 128 bytes, ends the file
//!
//! footer
//!   0  magic "AVIDFRG\0"    8
//!   8  version = 1          u32     12  slot                 u32
//!  16  upload id            32
//!  48  stripes              u64
//!  56  chunk_bytes          u32     60  last_chunk_bytes     u32
//!  64  fpcc_bytes           u32     68  manifest_bytes       u32
//!  72  sidecar_offset       u64     80  tree_offset          u64
//!  88  manifest_offset      u64     96  footer_offset        u64
//! 104  crc32c of the sidecar (sidecar_offset..footer_offset) u32
//! 108  crc32c of the manifest                                u32
//! 112  zeros                12
//! 124  crc32c of 0..124     u32
//! ```
//! Little-endian. Chunks carry no checksum of their own: cross-checksums say what they must be.
//!
//! Invariant: a decoded footer describes regions that are contiguous and end at the end of the file.
//! Bounds: every size is checked against the length of the file before anything is read by it.

use avid_types::limits::CONTROL_FRAME_BYTES_MAX;
use avid_types::{DecodeError, Decoder, Digest, Encoder, Slot, UploadId};

use super::{FragmentInfo, FragmentKey, FragmentShape};
use crate::number::{len_of, to_u64};

/// Bytes of the footer.
pub const FOOTER_BYTES: usize = 128;
/// Longest manifest.
pub const MANIFEST_BYTES_MAX: usize = CONTROL_FRAME_BYTES_MAX;
/// Format version this build writes, and the newest it reads.
pub const VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"AVIDFRG\0";
/// Footer bytes the last checksum covers.
const SEALED_BYTES: usize = FOOTER_BYTES - 4;

/// The footer of a fragment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) key: FragmentKey,
    pub(super) shape: FragmentShape,
    pub(super) stripes: u64,
    pub(super) last_chunk_bytes: u32,
    pub(super) manifest_bytes: u32,
    pub(super) sidecar_crc: u32,
    pub(super) manifest_crc: u32,
}

/// Where the regions of a file begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Regions {
    pub(super) sidecar: u64,
    pub(super) tree: u64,
    pub(super) manifest: u64,
    pub(super) footer: u64,
}

/// Why bytes are not a footer of this build.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FooterError {
    Damaged(&'static str),
    Version(u32),
}

impl From<DecodeError> for FooterError {
    fn from(_: DecodeError) -> Self {
        Self::Damaged("footer is short")
    }
}

impl Footer {
    /// Where everything lies; none if the sizes overflow.
    pub(super) fn regions(&self) -> Option<Regions> {
        let full = self.stripes.saturating_sub(1).checked_mul(u64::from(self.shape.chunk_bytes))?;
        let sidecar = full.checked_add(u64::from(self.last_chunk_bytes))?;
        let fpccs = self.stripes.checked_mul(u64::from(self.shape.fpcc_bytes))?;
        let tree = sidecar.checked_add(fpccs)?;
        let nodes = tree_nodes(self.stripes)?.checked_mul(to_u64(Digest::BYTES))?;
        let manifest = tree.checked_add(nodes)?;
        let footer = manifest.checked_add(u64::from(self.manifest_bytes))?;
        Some(Regions { sidecar, tree, manifest, footer })
    }

    /// The facts for the caller; none if the sizes overflow.
    pub(super) fn info(&self) -> Option<FragmentInfo> {
        let regions = self.regions()?;
        Some(FragmentInfo {
            key: self.key,
            shape: self.shape,
            stripes: self.stripes,
            last_chunk_bytes: self.last_chunk_bytes,
            chunk_bytes_total: regions.sidecar,
            manifest_bytes: self.manifest_bytes,
            file_bytes: regions.footer.checked_add(to_u64(FOOTER_BYTES))?,
        })
    }

    /// The footer's bytes; none if the sizes overflow.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let regions = self.regions()?;
        let mut encoder = Encoder::with_capacity(FOOTER_BYTES);
        encoder.bytes(&MAGIC);
        encoder.u32(VERSION);
        encoder.u32(u32::from(self.key.slot.0));
        encoder.bytes(self.key.upload.as_bytes());
        encoder.u64(self.stripes);
        encoder.u32(self.shape.chunk_bytes);
        encoder.u32(self.last_chunk_bytes);
        encoder.u32(self.shape.fpcc_bytes);
        encoder.u32(self.manifest_bytes);
        encoder.u64(regions.sidecar);
        encoder.u64(regions.tree);
        encoder.u64(regions.manifest);
        encoder.u64(regions.footer);
        encoder.u32(self.sidecar_crc);
        encoder.u32(self.manifest_crc);
        encoder.bytes(&[0; 12]);
        encoder.u32(crc32c::crc32c(encoder.as_slice()));
        Some(encoder.into_vec())
    }

    /// Reads the last bytes of a file of `file_bytes` and checks them against that length.
    pub(super) fn decode(
        bytes: &[u8; FOOTER_BYTES],
        file_bytes: u64,
    ) -> Result<(Self, Regions), FooterError> {
        let mut decoder = Decoder::new(bytes);
        if decoder.array::<8>()? != MAGIC {
            return Err(FooterError::Damaged("footer has no magic"));
        }
        let version = decoder.u32()?;
        let sealed = Decoder::new(bytes).bytes(SEALED_BYTES)?;
        let mut tail = Decoder::new(bytes);
        tail.bytes(SEALED_BYTES)?;
        if tail.u32()? != crc32c::crc32c(sealed) {
            return Err(FooterError::Damaged("footer checksum differs"));
        }
        if version != VERSION {
            return Err(FooterError::Version(version));
        }
        let slot = u8::try_from(decoder.u32()?);
        let slot = slot.map_err(|_| FooterError::Damaged("slot is out of range"))?;
        let upload = UploadId::decode(&mut decoder)?;
        let stripes = decoder.u64()?;
        let chunk_bytes = decoder.u32()?;
        let last_chunk_bytes = decoder.u32()?;
        let fpcc_bytes = decoder.u32()?;
        let manifest_bytes = decoder.u32()?;
        let stated = Regions {
            sidecar: decoder.u64()?,
            tree: decoder.u64()?,
            manifest: decoder.u64()?,
            footer: decoder.u64()?,
        };
        let footer = Self {
            key: FragmentKey { upload, slot: Slot(slot) },
            shape: FragmentShape { chunk_bytes, fpcc_bytes },
            stripes,
            last_chunk_bytes,
            manifest_bytes,
            sidecar_crc: decoder.u32()?,
            manifest_crc: decoder.u32()?,
        };
        footer.check(stated, file_bytes)?;
        Ok((footer, stated))
    }

    fn check(&self, stated: Regions, file_bytes: u64) -> Result<(), FooterError> {
        if self.shape.check().is_err() || len_of(self.manifest_bytes) > MANIFEST_BYTES_MAX {
            return Err(FooterError::Damaged("sizes are beyond the limits"));
        }
        let last = if self.stripes == 0 { 0..=0 } else { 1..=self.shape.chunk_bytes };
        if !last.contains(&self.last_chunk_bytes) {
            return Err(FooterError::Damaged("last chunk has an impossible length"));
        }
        let end = stated.footer.checked_add(to_u64(FOOTER_BYTES));
        if self.regions() != Some(stated) || end != Some(file_bytes) {
            return Err(FooterError::Damaged("sizes do not add up to the length of the file"));
        }
        Ok(())
    }
}

/// Nodes of a tree over `leaves`, all levels together; none if that overflows.
fn tree_nodes(leaves: u64) -> Option<u64> {
    levels(leaves).try_fold(0_u64, u64::checked_add)
}

/// Nodes per level, from the leaves to the root; nothing for an empty tree.
pub(super) fn levels(leaves: u64) -> impl Iterator<Item = u64> {
    let first = (leaves > 0).then_some(leaves);
    std::iter::successors(first, |nodes| (*nodes > 1).then(|| nodes.div_ceil(2)))
}
