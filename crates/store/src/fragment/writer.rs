//! Writing one fragment: chunks as they arrive, the sidecar at the end, then one atomic rename.
//!
//! Chunks go straight from the caller's slice to the file. Write-back is started every few MiB, so
//! that the sync at the end finds little left to do.
//!
//! Invariant: chunks, cross-checksums and leaves always count the same number of stripes, also after
//! an append that failed.
//! Bounds: as stated in the parent.

use std::path::PathBuf;
use std::sync::Arc;

use avid_types::Digest;

use super::format::{Footer, MANIFEST_BYTES_MAX, levels};
use super::side::SideLog;
use super::{FragmentError, FragmentInfo, FragmentKey, FragmentShape, NodeHash, Shared};
use crate::disk::{DiskFile, OpenMode};
use crate::number::{len_of, to_u64, to_usize};

/// Write-back of chunks is started whenever this many bytes have gathered.
const WRITEBACK_BYTES: u64 = 8 << 20;
/// Sidecar regions are written, and levels read back, in blocks of this size.
const BLOCK_BYTES: usize = 64 << 10;

/// A fragment under construction; dropping it unfinished removes all of it.
#[derive(Debug)]
pub struct FragmentWriter {
    shared: Arc<Shared>,
    key: FragmentKey,
    shape: FragmentShape,
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    /// Removed on drop until it has its final name.
    is_temporary: bool,
    stripes: u64,
    last_chunk_bytes: u32,
    writeback_from: u64,
    fpccs: SideLog,
    leaves: SideLog,
}

impl FragmentWriter {
    pub(super) fn create(
        shared: Arc<Shared>,
        key: FragmentKey,
        shape: FragmentShape,
    ) -> Result<Self, FragmentError> {
        let path = shared.temporary_path(key);
        let file = shared.disk.open(&path, OpenMode::CreateNew);
        let file = file.map_err(FragmentError::io("create", &path))?;
        let fpccs = SideLog::new(Arc::clone(&shared.disk), path.with_extension("fpcc"));
        let leaves = SideLog::new(Arc::clone(&shared.disk), path.with_extension("leaves"));
        Ok(Self {
            shared,
            key,
            shape,
            file,
            path,
            is_temporary: true,
            stripes: 0,
            last_chunk_bytes: 0,
            writeback_from: 0,
            fpccs,
            leaves,
        })
    }

    /// Which fragment this will be.
    #[must_use]
    pub fn key(&self) -> FragmentKey {
        self.key
    }

    /// Stripes appended so far, hence the stripe the next chunk belongs to.
    #[must_use]
    pub fn stripes(&self) -> u64 {
        self.stripes
    }

    /// Bytes of chunks appended so far.
    #[must_use]
    pub fn chunk_bytes_total(&self) -> u64 {
        let full = self.stripes.saturating_sub(1) * u64::from(self.shape.chunk_bytes);
        full + u64::from(self.last_chunk_bytes)
    }

    /// Adds the chunk of the next stripe with its cross-checksum and its leaf of the stripe tree.
    ///
    /// `chunk`: full length, or shorter for the last stripe of the object. Page-aligned memory of a
    /// multiple of the page size is written fastest.
    ///
    /// # Errors
    ///
    /// [`FragmentError::ChunkLength`], [`FragmentError::Length`] of the cross-checksum, or
    /// [`FragmentError::Io`]; the stripe is not counted and may be appended again.
    pub fn append(&mut self, chunk: &[u8], fpcc: &[u8], leaf: Digest) -> Result<(), FragmentError> {
        let chunk_bytes = self.check_append(chunk, fpcc)?;
        self.fpccs.reserve(fpcc.len()).map_err(FragmentError::io("spill", &self.path))?;
        self.leaves.reserve(Digest::BYTES).map_err(FragmentError::io("spill", &self.path))?;
        let offset = self.stripes * u64::from(self.shape.chunk_bytes);
        let written = self.file.write_at(offset, chunk);
        written.map_err(FragmentError::io("write", &self.path))?;
        self.fpccs.push(fpcc);
        self.leaves.push(leaf.as_bytes());
        self.stripes += 1;
        self.last_chunk_bytes = chunk_bytes;
        let end = offset + u64::from(chunk_bytes);
        if end - self.writeback_from >= WRITEBACK_BYTES {
            self.file.start_writeback(self.writeback_from, end - self.writeback_from);
            self.writeback_from = end;
        }
        Ok(())
    }

    fn check_append(&self, chunk: &[u8], fpcc: &[u8]) -> Result<u32, FragmentError> {
        let is_ended = self.stripes > 0 && self.last_chunk_bytes < self.shape.chunk_bytes;
        let max = if is_ended { 0 } else { self.shape.chunk_bytes };
        let chunk_bytes = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
        if chunk_bytes == 0 || chunk_bytes > max {
            return Err(FragmentError::ChunkLength {
                stripe: self.stripes,
                len: chunk.len(),
                max: len_of(max),
            });
        }
        let expected = len_of(self.shape.fpcc_bytes);
        if fpcc.len() != expected {
            let what = "cross-checksum";
            return Err(FragmentError::Length { what, len: fpcc.len(), expected });
        }
        Ok(chunk_bytes)
    }

    /// Hands the leaves appended so far, in order, to `visit`: to restart a Merkle builder.
    ///
    /// # Errors
    ///
    /// [`FragmentError::Io`].
    pub fn visit_leaves(&self, mut visit: impl FnMut(Digest)) -> Result<(), FragmentError> {
        visit_blocks(self.leaves.len(), |offset, block| {
            let read = self.leaves.read(offset, block);
            read.map_err(FragmentError::io("read", &self.path))?;
            digests(block).for_each(&mut visit);
            Ok(())
        })
    }

    /// Keeps the first `stripes` stripes and forgets the others; more than there are changes nothing.
    pub fn truncate(&mut self, stripes: u64) {
        if stripes >= self.stripes {
            return;
        }
        // Every chunk but the last is full. Bytes past the end are overwritten or cut at finish.
        self.stripes = stripes;
        self.last_chunk_bytes = if stripes == 0 { 0 } else { self.shape.chunk_bytes };
        self.fpccs.truncate(stripes * u64::from(self.shape.fpcc_bytes));
        self.leaves.truncate(stripes * to_u64(Digest::BYTES));
        self.writeback_from = self.writeback_from.min(self.chunk_bytes_total());
    }

    /// Completes the fragment: sidecar, sync, rename, directory sync. It is durable on return.
    ///
    /// A fragment that already has this key is replaced as one change.
    ///
    /// # Errors
    ///
    /// [`FragmentError::Length`] of the manifest or [`FragmentError::Io`]; nothing became visible
    /// unless only the sync of the directory failed, which poisons the store.
    pub fn finish(mut self, manifest: &[u8]) -> Result<FragmentInfo, FragmentError> {
        let info = self.seal(manifest)?;
        let to = self.shared.final_path(self.key);
        let dir = self.shared.shard_dir(super::first_byte(self.key));
        let disk = &self.shared.disk;
        disk.create_dir_all(&dir).map_err(FragmentError::io("create", &dir))?;
        disk.rename(&self.path, &to).map_err(FragmentError::io("rename", &to))?;
        self.is_temporary = false;
        disk.sync_dir(&dir).map_err(FragmentError::io("sync", &dir))?;
        Ok(info)
    }

    /// Writes the sidecar behind the chunks and syncs the file.
    fn seal(&self, manifest: &[u8]) -> Result<FragmentInfo, FragmentError> {
        let too_long = FragmentError::Length {
            what: "manifest",
            len: manifest.len(),
            expected: MANIFEST_BYTES_MAX,
        };
        if manifest.len() > MANIFEST_BYTES_MAX {
            return Err(too_long);
        }
        let manifest_bytes = u32::try_from(manifest.len()).map_err(|_| too_long)?;
        let mut region = RegionWriter::new(self, self.chunk_bytes_total());
        self.copy_side(&self.fpccs, &mut region)?;
        let mut level_offset = region.end();
        self.copy_side(&self.leaves, &mut region)?;
        for nodes in levels(self.stripes) {
            if nodes > 1 {
                level_offset = region.write_parents(level_offset, nodes, self.shared.node_hash)?;
            }
        }
        region.push(manifest)?;
        region.flush()?;
        let footer = Footer {
            key: self.key,
            shape: self.shape,
            stripes: self.stripes,
            last_chunk_bytes: self.last_chunk_bytes,
            manifest_bytes,
            sidecar_crc: region.crc,
            manifest_crc: crc32c::crc32c(manifest),
        };
        let (Some(info), Some(bytes)) = (footer.info(), footer.encode()) else {
            return Err(FragmentError::Shape(self.shape));
        };
        region.push(&bytes)?;
        region.flush()?;
        // After a truncation longer content may still stand behind the footer.
        let io = |action| FragmentError::io(action, &self.path);
        if self.file.len().map_err(io("measure"))? != info.file_bytes {
            self.file.set_len(info.file_bytes).map_err(io("cut"))?;
        }
        self.file.sync().map_err(io("sync"))?;
        Ok(info)
    }

    fn copy_side(&self, log: &SideLog, region: &mut RegionWriter<'_>) -> Result<(), FragmentError> {
        visit_blocks(log.len(), |offset, block| {
            log.read(offset, block).map_err(FragmentError::io("read", &self.path))?;
            region.push(block)
        })
    }
}

impl Drop for FragmentWriter {
    fn drop(&mut self) {
        if self.is_temporary {
            // Left behind, it is removed at the next start.
            let _ = self.shared.disk.remove(&self.path);
        }
    }
}

/// Appends to the sidecar in blocks and sums it up.
#[derive(Debug)]
struct RegionWriter<'a> {
    writer: &'a FragmentWriter,
    /// Where the buffer goes.
    offset: u64,
    buffer: Vec<u8>,
    crc: u32,
}

impl<'a> RegionWriter<'a> {
    fn new(writer: &'a FragmentWriter, offset: u64) -> Self {
        Self { writer, offset, buffer: Vec::new(), crc: 0 }
    }

    fn end(&self) -> u64 {
        self.offset + to_u64(self.buffer.len())
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), FragmentError> {
        for part in bytes.chunks(BLOCK_BYTES) {
            self.buffer.extend_from_slice(part);
            if self.buffer.len() >= BLOCK_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), FragmentError> {
        let written = self.writer.file.write_at(self.offset, &self.buffer);
        written.map_err(FragmentError::io("write", &self.writer.path))?;
        self.crc = crc32c::crc32c_append(self.crc, &self.buffer);
        self.offset = self.end();
        self.buffer.clear();
        Ok(())
    }

    /// Appends the parents of the level of `nodes` digests at `level_offset`; returns where they begin.
    fn write_parents(
        &mut self,
        level_offset: u64,
        nodes: u64,
        node_hash: NodeHash,
    ) -> Result<u64, FragmentError> {
        self.flush()?;
        let parents_offset = self.end();
        let FragmentWriter { file, path, .. } = self.writer;
        // A block is an even number of digests, so that no pair spans two blocks.
        visit_blocks(nodes * to_u64(Digest::BYTES), |offset, block| {
            let read = file.read_at(level_offset + offset, block);
            read.map_err(FragmentError::io("read", path))?;
            let mut children = digests(block);
            while let Some(left) = children.next() {
                let parent = match children.next() {
                    Some(right) => node_hash(&left, &right),
                    None => left,
                };
                self.push(parent.as_bytes())?;
            }
            Ok(())
        })?;
        Ok(parents_offset)
    }
}

/// Calls `visit` with the offset and a buffer for each block of a region of `len` bytes.
fn visit_blocks(
    len: u64,
    mut visit: impl FnMut(u64, &mut [u8]) -> Result<(), FragmentError>,
) -> Result<(), FragmentError> {
    let mut buffer = vec![0; to_usize(len).min(BLOCK_BYTES)];
    let mut offset = 0;
    while offset < len {
        let part = to_usize(len - offset).min(BLOCK_BYTES);
        visit(offset, buffer.get_mut(..part).unwrap_or_default())?;
        offset += to_u64(part);
    }
    Ok(())
}

fn digests(block: &[u8]) -> impl Iterator<Item = Digest> {
    block.as_chunks::<{ Digest::BYTES }>().0.iter().map(|bytes| Digest(*bytes))
}
