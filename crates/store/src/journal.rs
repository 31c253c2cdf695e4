//! The journal: one append-only log of opaque records, synced in batches.
//!
//! Votes are written here and synced before they leave the node, many per sync. Records have
//! positions 0, 1, 2, ... for ever; peers' cursors point at them (LINK-1). The log is cut into segment
//! files so that its old end can be dropped.
//!
//! ```text
//! append, append, append -> sync: one write, one fdatasync -> durable_position moves
//! ```
//! **Torn or rotten?** A batch is written only after the sync of the batch before it returned, and
//! every batch names its own offset. Therefore, at open:
//! - damage with a valid batch header anywhere after it, or in a segment that has a successor, lies
//!   in bytes that were synced: rot. The journal is [`JournalError::Damaged`], it may have forgotten
//!   votes, and the node must not vote with it (AMNESIA-1).
//! - damage with nothing valid after it is the batch whose sync never returned: it is cut off whole.
//!
//! This cannot tell apart rot of exactly the last batch, a last write that the disk never made, a lost
//! name of the newest segment: the journal then ends earlier, in order and without a gap. The index
//! notices if a checkpoint or a clean end came after; else the peers do, by our position (AMNESIA-1).
//!
//! An open writes the last batch again and syncs it and the directory: its writer may have died before.
//!
//! Spec: docs/protocol.md LINK-1, AMNESIA-1.
//! Invariant: records below [`Journal::durable_position`] survive any crash; no position is used twice
//! for records that were synced.
//! Bounds: [`BATCH_BODY_BYTES_MAX`] in memory between syncs, [`RECORD_BYTES_MAX`] per record.
//! Not here: what records mean, when the old end may go (`node`).

mod format;
mod replay;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use avid_types::canary::{self, Canary};

use crate::disk::{Disk, DiskFile, OpenMode};
use crate::number::to_u64;
use crate::store::StoreId;

pub use format::{BATCH_BODY_BYTES_MAX, RECORD_BYTES_MAX};
use format::{BATCH_HEADER_LEN, BatchHeader, SECTOR_BYTES, SECTOR_LEN};

/// Length at which a segment is closed and the next one begun.
pub const SEGMENT_BYTES_DEFAULT: u64 = 64 << 20;
/// Distance of remembered places inside a segment, for reading from a position.
const MARK_BYTES: u64 = 256 << 10;

/// Why the journal could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk failed.
    #[error("journal: {action} {path}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
    /// Synced bytes are gone or changed: this journal may have forgotten votes.
    #[error(
        "journal is damaged: {reason} in {path} at offset {offset}; \
         this node must not vote again under its identity"
    )]
    Damaged {
        /// The segment file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// The segment was written by a build whose format this one does not read.
    #[error("{path} has journal format version {version}, which this build does not read")]
    Version {
        /// The segment file.
        path: PathBuf,
        /// Version found.
        version: u32,
    },
    /// A record is too long.
    #[error("record has {len} bytes, limit {max}")]
    RecordTooLong {
        /// Its length.
        len: usize,
        /// Longest allowed.
        max: usize,
    },
    /// Too much was appended since the last sync: sync, then append again.
    #[error("{bytes} bytes wait for a sync, limit {max}")]
    BatchFull {
        /// Bytes waiting.
        bytes: usize,
        /// Most that may wait.
        max: usize,
    },
    /// A position below the retained tail was asked for.
    #[error("record {position} was released, the journal starts at {first}")]
    Released {
        /// Position asked for.
        position: u64,
        /// First position kept.
        first: u64,
    },
}

impl JournalError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }

    fn damaged(path: &Path, offset: u64, reason: &'static str) -> Self {
        Self::Damaged { path: path.to_path_buf(), offset, reason }
    }
}

/// Where a journal lives and how it is cut.
#[derive(Debug, Clone)]
pub struct JournalConfig {
    /// Directory of the segments.
    pub dir: PathBuf,
    /// Identity written into every segment.
    pub store: StoreId,
    /// Length at which a segment is closed: [`SEGMENT_BYTES_DEFAULT`].
    pub segment_bytes: u64,
}

/// The journal; all methods take `&self`, appends never wait for the disk.
#[derive(Debug)]
pub struct Journal {
    disk: Arc<dyn Disk>,
    config: JournalConfig,
    /// Locked before `pending` where both are held.
    writer: Mutex<Writer>,
    pending: Mutex<Batch>,
    segments: Mutex<Vec<Segment>>,
    durable: AtomicU64,
}

/// Frames that wait for a sync.
#[derive(Debug, Default)]
struct Batch {
    first_position: u64,
    records: u32,
    /// Room for the batch header, then frames; empty if there are none.
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct Writer {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    /// End of the last synced batch; a multiple of the sector.
    end: u64,
    /// A batch whose write failed: written again first, at the same place.
    unwritten: Option<Batch>,
}

/// What is needed to read a segment.
#[derive(Debug, Clone)]
struct Segment {
    first_position: u64,
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    /// End of the synced batches.
    end: u64,
    /// (position, offset) of some batch starts, ascending, about every [`MARK_BYTES`].
    marks: Vec<(u64, u64)>,
}

impl Segment {
    fn mark(&mut self, position: u64, offset: u64) {
        let far = self.marks.last().is_none_or(|(_, last)| offset >= last + MARK_BYTES);
        if far {
            self.marks.push((position, offset));
        }
    }

    /// Offset of the nearest remembered batch that starts at or below `position`.
    fn offset_near(&self, position: u64) -> u64 {
        let below = self.marks.partition_point(|(first, _)| *first <= position);
        let mark = below.checked_sub(1).and_then(|index| self.marks.get(index));
        mark.map_or(SECTOR_BYTES, |(_, offset)| *offset)
    }
}

impl Journal {
    /// Makes an empty journal that starts at position 0, or completes one whose creation was cut short.
    ///
    /// # Errors
    ///
    /// [`JournalError::Damaged`] if the directory already holds records, else [`JournalError::Io`].
    pub fn create(disk: Arc<dyn Disk>, config: JournalConfig) -> Result<Self, JournalError> {
        let dir = &config.dir;
        disk.create_dir_all(dir).map_err(JournalError::io("create", dir))?;
        for name in disk.list(dir).map_err(JournalError::io("list", dir))? {
            let path = dir.join(&name);
            let file = disk.open(&path, OpenMode::Read).map_err(JournalError::io("open", &path))?;
            let len = file.len().map_err(JournalError::io("measure", &path))?;
            if len > SECTOR_BYTES {
                return Err(JournalError::damaged(&path, 0, "records without a store identity"));
            }
            disk.remove(&path).map_err(JournalError::io("remove", &path))?;
            disk.sync_dir(dir).map_err(JournalError::io("sync", dir))?;
        }
        let segment = create_segment(&*disk, &config, 0)?;
        Ok(Self::assemble(disk, config, vec![segment.clone()], &segment, 0))
    }

    /// Opens a journal and hands every retained record, in order, to `replay`.
    ///
    /// Everything handed over is durable when this returns.
    ///
    /// # Errors
    ///
    /// [`JournalError::Damaged`] if synced records are missing or changed, [`JournalError::Version`],
    /// or [`JournalError::Io`].
    pub fn open(
        disk: Arc<dyn Disk>,
        config: JournalConfig,
        replay: &mut dyn FnMut(u64, &[u8]),
    ) -> Result<Self, JournalError> {
        let mut recovered = replay::recover(&*disk, &config, replay)?;
        let next = recovered.next_position;
        let last = match recovered.last_segment() {
            Some(segment) => segment,
            None => {
                let segment = create_segment(&*disk, &config, next)?;
                recovered.segments.push(segment.clone());
                segment
            }
        };
        Ok(Self::assemble(disk, config, recovered.segments, &last, next))
    }

    fn assemble(
        disk: Arc<dyn Disk>,
        config: JournalConfig,
        segments: Vec<Segment>,
        last: &Segment,
        next_position: u64,
    ) -> Self {
        let writer = Writer {
            file: last.file.clone(),
            path: last.path.clone(),
            end: last.end,
            unwritten: None,
        };
        Self {
            disk,
            config,
            writer: Mutex::new(writer),
            pending: Mutex::new(Batch { first_position: next_position, ..Batch::default() }),
            segments: Mutex::new(segments),
            durable: AtomicU64::new(next_position),
        }
    }

    /// Adds a record to the next batch and returns its position. Nothing is promised before
    /// [`Journal::sync`] returns.
    ///
    /// # Errors
    ///
    /// [`JournalError::RecordTooLong`] or [`JournalError::BatchFull`]; nothing is appended.
    pub fn append(&self, record: &[u8]) -> Result<u64, JournalError> {
        if record.len() > RECORD_BYTES_MAX {
            return Err(JournalError::RecordTooLong { len: record.len(), max: RECORD_BYTES_MAX });
        }
        let mut batch = lock(&self.pending);
        let body = batch.bytes.len().saturating_sub(BATCH_HEADER_LEN);
        if body + format::frame_len(record) > BATCH_BODY_BYTES_MAX {
            return Err(JournalError::BatchFull { bytes: body, max: BATCH_BODY_BYTES_MAX });
        }
        if batch.bytes.is_empty() {
            batch.bytes.resize(BATCH_HEADER_LEN, 0);
        }
        let position = batch.next_position();
        format::encode_frame(&mut batch.bytes, position, record);
        batch.records += 1;
        Ok(position)
    }

    /// Makes everything appended before this call durable: one write, one sync.
    ///
    /// Returns [`Journal::durable_position`]. Without new records it costs nothing.
    ///
    /// # Errors
    ///
    /// [`JournalError::Io`]. After a failed write (a full disk) the records stay and the next call
    /// tries again; after a failed sync the guard refuses everything.
    pub fn sync(&self) -> Result<u64, JournalError> {
        let mut writer = lock(&self.writer);
        if let Some(batch) = writer.unwritten.take() {
            self.write_batch(&mut writer, batch)?;
        }
        let batch = {
            let mut pending = lock(&self.pending);
            let next = Batch { first_position: pending.next_position(), ..Batch::default() };
            std::mem::replace(&mut *pending, next)
        };
        if batch.records > 0 {
            self.write_batch(&mut writer, batch)?;
        }
        Ok(self.durable_position())
    }

    /// Position the next record will get.
    #[must_use]
    pub fn next_position(&self) -> u64 {
        lock(&self.pending).next_position()
    }

    /// Records below this position survive any crash.
    #[must_use]
    pub fn durable_position(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// The oldest position still kept.
    #[must_use]
    pub fn first_position(&self) -> u64 {
        lock(&self.segments).first().map_or(0, |segment| segment.first_position)
    }

    /// Drops whole segments that hold only records below `position`; the newest segment stays.
    ///
    /// # Errors
    ///
    /// [`JournalError::Io`]; what could not be removed is tried again by the next call.
    pub fn release_before(&self, position: u64) -> Result<(), JournalError> {
        // The writer's lock keeps two releases apart.
        let _writer = lock(&self.writer);
        loop {
            let oldest = {
                let segments = lock(&self.segments);
                match (segments.first(), segments.get(1)) {
                    (Some(oldest), Some(next)) if next.first_position <= position => oldest.clone(),
                    (Some(_) | None, _) => return Ok(()),
                }
            };
            match self.disk.remove(&oldest.path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(JournalError::io("remove", &oldest.path)(error)),
            }
            // Each removal is durable before the next, so that no crash leaves a gap.
            let dir = &self.config.dir;
            self.disk.sync_dir(dir).map_err(JournalError::io("sync", dir))?;
            lock(&self.segments).remove(0);
        }
    }

    /// Reads durable records from `position` on: at least one if there is one, then as many whole
    /// ones as fit `bytes_max`.
    ///
    /// # Errors
    ///
    /// [`JournalError::Released`] below [`Journal::first_position`], [`JournalError::Damaged`] if the
    /// bytes changed since they were written, or [`JournalError::Io`].
    pub fn read_from(
        &self,
        position: u64,
        bytes_max: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, JournalError> {
        let mut found = Vec::new();
        let mut bytes = 0;
        let mut next = position;
        while let Some(segment) = self.segment_of(next)? {
            let start = segment.offset_near(next);
            let mut full = false;
            let end = replay::visit_batches(&segment, self.config.store, start, |records| {
                for (at, record) in records {
                    if *at < next || full {
                        continue;
                    }
                    full = !found.is_empty() && bytes + record.len() > bytes_max;
                    if !full {
                        bytes += record.len();
                        found.push((*at, record.to_vec()));
                    }
                }
                !full
            })?;
            if full || end <= next {
                break;
            }
            next = end;
        }
        Ok(found)
    }

    /// The segment that holds `position`, as far as it is durable.
    fn segment_of(&self, position: u64) -> Result<Option<Segment>, JournalError> {
        if position >= self.durable_position() {
            return Ok(None);
        }
        let segments = lock(&self.segments);
        let first = segments.first().map_or(0, |segment| segment.first_position);
        let below = segments.partition_point(|segment| segment.first_position <= position);
        match below.checked_sub(1).and_then(|index| segments.get(index)) {
            Some(segment) => Ok(Some(segment.clone())),
            None => Err(JournalError::Released { position, first }),
        }
    }

    /// Writes and syncs one batch; keeps it in `unwritten` if the disk refused the write.
    fn write_batch(&self, writer: &mut Writer, mut batch: Batch) -> Result<(), JournalError> {
        let result = self.place_batch(writer, &mut batch);
        match result {
            Ok(()) => Ok(()),
            Err(error) => {
                writer.unwritten = Some(batch);
                Err(error)
            }
        }
    }

    fn place_batch(&self, writer: &mut Writer, batch: &mut Batch) -> Result<(), JournalError> {
        let body = batch.body_bytes();
        let span = (to_u64(BATCH_HEADER_LEN) + u64::from(body)).next_multiple_of(SECTOR_BYTES);
        let full = writer.end > SECTOR_BYTES && writer.end + span > self.config.segment_bytes;
        if full {
            self.rotate(writer, batch.first_position)?;
        }
        let header = BatchHeader {
            first_position: batch.first_position,
            records: batch.records,
            body_bytes: body,
        };
        let header = header.encode(self.config.store, writer.end);
        if let Some(room) = batch.bytes.get_mut(..BATCH_HEADER_LEN) {
            room.copy_from_slice(&header);
        }
        batch.bytes.resize(batch.bytes.len().next_multiple_of(SECTOR_LEN), 0);
        let written = writer.file.write_at(writer.end, &batch.bytes);
        batch.bytes.truncate(BATCH_HEADER_LEN + crate::number::len_of(body));
        written.map_err(JournalError::io("write", &writer.path))?;
        if !canary::sings(Canary::VoteBeforeSync) {
            writer.file.sync().map_err(JournalError::io("sync", &writer.path))?;
        }
        if let Some(segment) = lock(&self.segments).last_mut() {
            segment.mark(batch.first_position, writer.end);
            segment.end = writer.end + span;
        }
        writer.end += span;
        self.durable.store(batch.next_position(), Ordering::Release);
        Ok(())
    }

    /// Closes the current segment and begins the one that starts at `first_position`.
    fn rotate(&self, writer: &mut Writer, first_position: u64) -> Result<(), JournalError> {
        // An earlier write may have failed half-way: nothing may stand behind the last synced batch
        // once the segment has a successor.
        let len = writer.file.len().map_err(JournalError::io("measure", &writer.path))?;
        if len != writer.end {
            writer.file.set_len(writer.end).map_err(JournalError::io("cut", &writer.path))?;
            writer.file.sync().map_err(JournalError::io("sync", &writer.path))?;
        }
        let segment = create_segment(&*self.disk, &self.config, first_position)?;
        writer.file = segment.file.clone();
        writer.path = segment.path.clone();
        writer.end = segment.end;
        lock(&self.segments).push(segment);
        Ok(())
    }
}

impl Batch {
    fn next_position(&self) -> u64 {
        self.first_position.saturating_add(u64::from(self.records))
    }

    fn body_bytes(&self) -> u32 {
        u32::try_from(self.bytes.len().saturating_sub(BATCH_HEADER_LEN)).unwrap_or(u32::MAX)
    }
}

/// Makes a segment file whose header and name are durable.
fn create_segment(
    disk: &dyn Disk,
    config: &JournalConfig,
    first_position: u64,
) -> Result<Segment, JournalError> {
    let path = config.dir.join(format::segment_name(first_position));
    // A failed earlier attempt may have left the file; nothing was ever written behind its header.
    let file = disk.open(&path, OpenMode::Create).map_err(JournalError::io("create", &path))?;
    let header = format::encode_segment_header(config.store, first_position);
    file.write_at(0, &header).map_err(JournalError::io("write", &path))?;
    file.sync().map_err(JournalError::io("sync", &path))?;
    disk.sync_dir(&config.dir).map_err(JournalError::io("sync", &config.dir))?;
    Ok(Segment { first_position, file, path, end: SECTOR_BYTES, marks: Vec::new() })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
