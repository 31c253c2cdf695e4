//! Reading one whole fragment: any stripe at any time, with its cross-checksum and Merkle path.
//!
//! Invariant: every offset was checked against the length of the file when it was opened.
//! Bounds: one block of [`CACHE_NODES`] digests per tree level, made on first use.
//! Not here: verification against a commitment; whoever uses a chunk does that.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use avid_types::Digest;

use super::format::{FOOTER_BYTES, Footer, FooterError, Regions, levels};
use super::{FragmentError, FragmentInfo, FragmentKey};
use crate::disk::DiskFile;
use crate::number::{len_of, to_u64, to_usize};

/// Digests of one level that are kept for the next path: one page of them.
const CACHE_NODES: u64 = 128;
/// Block in which the sidecar is summed.
const BLOCK_BYTES: u64 = 256 << 10;

/// A whole fragment, open for reading; may be shared by threads.
#[derive(Debug)]
pub struct FragmentReader {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    footer: Footer,
    regions: Regions,
    info: FragmentInfo,
    cache: Mutex<Vec<CachedBlock>>,
}

/// Some consecutive digests of one level.
#[derive(Debug, Clone, Default)]
struct CachedBlock {
    first: u64,
    digests: Vec<Digest>,
}

impl FragmentReader {
    pub(super) fn open(
        file: Arc<dyn DiskFile>,
        path: PathBuf,
        key: FragmentKey,
    ) -> Result<Self, FragmentError> {
        let damaged = |reason| FragmentError::Damaged { key, reason };
        let file_bytes = file.len().map_err(FragmentError::io("measure", &path))?;
        let footer_offset = file_bytes.checked_sub(to_u64(FOOTER_BYTES));
        let footer_offset = footer_offset.ok_or(damaged("file is shorter than a footer"))?;
        let mut bytes = [0; FOOTER_BYTES];
        let read = file.read_at(footer_offset, &mut bytes);
        read.map_err(FragmentError::io("read", &path))?;
        let (footer, regions) =
            Footer::decode(&bytes, file_bytes).map_err(|error| match error {
                FooterError::Damaged(reason) => damaged(reason),
                FooterError::Version(version) => FragmentError::Version { key, version },
            })?;
        if footer.key != key {
            return Err(damaged("file holds another fragment"));
        }
        let info = footer.info().ok_or(damaged("sizes overflow"))?;
        let cache = Mutex::new(vec![CachedBlock::default(); levels(footer.stripes).count()]);
        Ok(Self { file, path, footer, regions, info, cache })
    }

    /// Sizes and counts.
    #[must_use]
    pub fn info(&self) -> &FragmentInfo {
        &self.info
    }

    /// Bytes of the chunk of a stripe; 0 past the end.
    #[must_use]
    pub fn chunk_len(&self, stripe: u64) -> usize {
        self.info.chunk_len(stripe)
    }

    /// The open file, for a kernel copy of [`FragmentInfo::chunk_offset`] and length to a socket.
    #[must_use]
    pub fn file(&self) -> &Arc<dyn DiskFile> {
        &self.file
    }

    /// Reads the manifest and checks its checksum.
    ///
    /// # Errors
    ///
    /// [`FragmentError::Damaged`] or [`FragmentError::Io`].
    pub fn manifest(&self) -> Result<Vec<u8>, FragmentError> {
        let mut bytes = vec![0; len_of(self.footer.manifest_bytes)];
        self.read(self.regions.manifest, &mut bytes)?;
        if crc32c::crc32c(&bytes) != self.footer.manifest_crc {
            return Err(self.damaged("manifest checksum differs"));
        }
        Ok(bytes)
    }

    /// Reads the chunk of a stripe; `out` has exactly [`FragmentReader::chunk_len`] bytes.
    ///
    /// # Errors
    ///
    /// [`FragmentError::NoStripe`], [`FragmentError::Length`] or [`FragmentError::Io`].
    pub fn read_chunk(&self, stripe: u64, out: &mut [u8]) -> Result<(), FragmentError> {
        self.check_stripe(stripe)?;
        check_len("chunk buffer", out, self.chunk_len(stripe))?;
        self.read(self.info.chunk_offset(stripe), out)
    }

    /// Reads the cross-checksum of a stripe; `out` has exactly the shape's `fpcc_bytes`.
    ///
    /// # Errors
    ///
    /// [`FragmentError::NoStripe`], [`FragmentError::Length`] or [`FragmentError::Io`].
    pub fn read_fpcc(&self, stripe: u64, out: &mut [u8]) -> Result<(), FragmentError> {
        self.check_stripe(stripe)?;
        let fpcc_bytes = self.info.shape.fpcc_bytes;
        check_len("cross-checksum buffer", out, len_of(fpcc_bytes))?;
        self.read(self.regions.sidecar + stripe * u64::from(fpcc_bytes), out)
    }

    /// Reads the Merkle path of a stripe: the siblings from the leaf's up to below the root.
    ///
    /// A level on which the node has no sibling (it is promoted) adds nothing.
    ///
    /// # Errors
    ///
    /// [`FragmentError::NoStripe`] or [`FragmentError::Io`].
    pub fn read_path(&self, stripe: u64) -> Result<Vec<Digest>, FragmentError> {
        self.check_stripe(stripe)?;
        let mut siblings = Vec::new();
        let mut level_offset = self.regions.tree;
        let mut index = stripe;
        for (level, nodes) in levels(self.info.stripes).enumerate() {
            let sibling = index ^ 1;
            if sibling < nodes {
                siblings.push(self.node(level, level_offset, nodes, sibling)?);
            }
            level_offset += nodes * to_u64(Digest::BYTES);
            index /= 2;
        }
        Ok(siblings)
    }

    /// Reads the root of the stripe tree; none if there are no stripes.
    ///
    /// # Errors
    ///
    /// [`FragmentError::Io`].
    pub fn root(&self) -> Result<Option<Digest>, FragmentError> {
        if self.info.stripes == 0 {
            return Ok(None);
        }
        let mut bytes = [0; Digest::BYTES];
        self.read(self.regions.manifest - to_u64(Digest::BYTES), &mut bytes)?;
        Ok(Some(Digest(bytes)))
    }

    /// Reads the leaf of a stripe: the digest that was appended with its chunk.
    ///
    /// # Errors
    ///
    /// [`FragmentError::NoStripe`] or [`FragmentError::Io`].
    pub fn read_leaf(&self, stripe: u64) -> Result<Digest, FragmentError> {
        self.check_stripe(stripe)?;
        self.node(0, self.regions.tree, self.info.stripes, stripe)
    }

    /// Sums the whole sidecar and compares: for scrubbing. Reads all of it.
    ///
    /// # Errors
    ///
    /// [`FragmentError::Damaged`] or [`FragmentError::Io`].
    pub fn check_sidecar(&self) -> Result<(), FragmentError> {
        let mut crc = 0;
        let mut offset = self.regions.sidecar;
        let mut buffer = Vec::new();
        while offset < self.regions.footer {
            let len = (self.regions.footer - offset).min(BLOCK_BYTES);
            buffer.resize(to_usize(len), 0);
            self.read(offset, &mut buffer)?;
            crc = crc32c::crc32c_append(crc, &buffer);
            offset += len;
        }
        if crc == self.footer.sidecar_crc {
            return Ok(());
        }
        Err(self.damaged("sidecar checksum differs"))
    }

    /// One digest of a level, from the cached block or from the file.
    fn node(
        &self,
        level: usize,
        level_offset: u64,
        nodes: u64,
        index: u64,
    ) -> Result<Digest, FragmentError> {
        let first = index - index % CACHE_NODES;
        let place = to_usize(index - first);
        {
            let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
            let block = cache.get(level).filter(|block| block.first == first);
            if let Some(digest) = block.and_then(|block| block.digests.get(place)) {
                return Ok(*digest);
            }
        }
        let count = (nodes - first).min(CACHE_NODES);
        let mut bytes = vec![0; to_usize(count) * Digest::BYTES];
        self.read(level_offset + first * to_u64(Digest::BYTES), &mut bytes)?;
        let chunks = bytes.as_chunks::<{ Digest::BYTES }>().0;
        let digests: Vec<Digest> = chunks.iter().map(|digest| Digest(*digest)).collect();
        let found = digests.get(place).copied();
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(block) = cache.get_mut(level) {
            *block = CachedBlock { first, digests };
        }
        found.ok_or(FragmentError::NoStripe { stripe: index, stripes: nodes })
    }

    fn check_stripe(&self, stripe: u64) -> Result<(), FragmentError> {
        if stripe < self.info.stripes {
            return Ok(());
        }
        Err(FragmentError::NoStripe { stripe, stripes: self.info.stripes })
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), FragmentError> {
        self.file.read_at(offset, out).map_err(FragmentError::io("read", &self.path))
    }

    fn damaged(&self, reason: &'static str) -> FragmentError {
        FragmentError::Damaged { key: self.info.key, reason }
    }
}

fn check_len(what: &'static str, out: &[u8], expected: usize) -> Result<(), FragmentError> {
    if out.len() == expected {
        return Ok(());
    }
    Err(FragmentError::Length { what, len: out.len(), expected })
}
