//! Reading a journal back: which records count, where it ends, and whether it was damaged.
//!
//! The rule that tells a torn end from rot is in the parent's documentation; this file carries it out.
//!
//! Spec: docs/protocol.md AMNESIA-1.
//! Bounds: one batch in memory, [`BATCH_BODY_BYTES_MAX`](super::BATCH_BODY_BYTES_MAX).
//! Not here: writing, except for what recovery itself must make durable.

use std::path::Path;

use super::format::{self, BATCH_HEADER_LEN, BatchHeader, SECTOR_BYTES, SECTOR_LEN, SegmentHeader};
use super::{JournalConfig, JournalError, Segment};
use crate::disk::{Disk, OpenMode};
use crate::number::{len_of, to_u64, to_usize};
use crate::store::StoreId;

/// Batch headers are searched in steps of this many bytes.
const SEARCH_BYTES: usize = 1 << 20;

/// What recovery found.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) segments: Vec<Segment>,
    pub(super) next_position: u64,
    /// The newest segment never got its header: it was removed and must be made again.
    headless: bool,
}

impl Recovered {
    /// The segment to append to, unless a new one is due.
    pub(super) fn last_segment(&self) -> Option<Segment> {
        if self.headless { None } else { self.segments.last().cloned() }
    }
}

/// Replays all segments and makes the end of the journal clean and durable.
pub(super) fn recover(
    disk: &dyn Disk,
    config: &JournalConfig,
    replay: &mut dyn FnMut(u64, &[u8]),
) -> Result<Recovered, JournalError> {
    let mut segments = open_segments(disk, config)?;
    let headless = drop_headless(disk, config, &mut segments)?;
    let Some(first) = segments.first() else {
        return Err(JournalError::damaged(&config.dir, 0, "all segments are missing"));
    };
    let mut next_position = first.first_position;
    let newest = segments.len() - 1;
    for (index, segment) in segments.iter_mut().enumerate() {
        check_header(segment, config.store)?;
        if segment.first_position != next_position {
            return Err(JournalError::damaged(&segment.path, 0, "records before this are missing"));
        }
        let has_successor = index < newest || headless;
        next_position = replay_segment(segment, config.store, has_successor, replay)?;
    }
    // A process killed while it made the newest segment may never have synced its name; without this
    // a later power cut takes the file, and with it all that is synced into it from now on.
    disk.sync_dir(&config.dir).map_err(JournalError::io("sync", &config.dir))?;
    Ok(Recovered { segments, next_position, headless })
}

/// Opens every segment file, oldest first.
fn open_segments(disk: &dyn Disk, config: &JournalConfig) -> Result<Vec<Segment>, JournalError> {
    let dir = &config.dir;
    let mut segments = Vec::new();
    for name in disk.list(dir).map_err(JournalError::io("list", dir))? {
        let path = dir.join(&name);
        let Some(first_position) = format::parse_segment_name(&name) else {
            return Err(JournalError::damaged(&path, 0, "foreign file in the journal directory"));
        };
        let file =
            disk.open(&path, OpenMode::ReadWrite).map_err(JournalError::io("open", &path))?;
        let end = file.len().map_err(JournalError::io("measure", &path))?;
        segments.push(Segment { first_position, file, path, end, marks: Vec::new() });
    }
    segments.sort_by_key(|segment| segment.first_position);
    Ok(segments)
}

/// Removes the newest segment if it is one whose creation a crash cut short.
fn drop_headless(
    disk: &dyn Disk,
    config: &JournalConfig,
    segments: &mut Vec<Segment>,
) -> Result<bool, JournalError> {
    let Some(newest) = segments.last() else {
        return Ok(false);
    };
    let unfinished = newest.end <= SECTOR_BYTES && read_header(newest)?.is_none();
    if !unfinished || segments.len() == 1 {
        return Ok(false);
    }
    disk.remove(&newest.path).map_err(JournalError::io("remove", &newest.path))?;
    disk.sync_dir(&config.dir).map_err(JournalError::io("sync", &config.dir))?;
    segments.pop();
    Ok(true)
}

fn read_header(segment: &Segment) -> Result<Option<SegmentHeader>, JournalError> {
    if segment.end < SECTOR_BYTES {
        return Ok(None);
    }
    let mut bytes = [0; SECTOR_LEN];
    let read = segment.file.read_at(0, &mut bytes);
    read.map_err(JournalError::io("read", &segment.path))?;
    Ok(SegmentHeader::decode(&bytes))
}

fn check_header(segment: &Segment, store: StoreId) -> Result<(), JournalError> {
    let Some(header) = read_header(segment)? else {
        return Err(JournalError::damaged(&segment.path, 0, "segment header is unreadable"));
    };
    if !header.is_readable() {
        let path = segment.path.clone();
        return Err(JournalError::Version { path, version: header.version });
    }
    if header.store != store {
        return Err(JournalError::damaged(&segment.path, 0, "segment belongs to another store"));
    }
    if header.first_position != segment.first_position {
        return Err(JournalError::damaged(&segment.path, 0, "segment carries another's name"));
    }
    Ok(())
}

/// Replays one segment and returns the position after its last record.
fn replay_segment(
    segment: &mut Segment,
    store: StoreId,
    has_successor: bool,
    replay: &mut dyn FnMut(u64, &[u8]),
) -> Result<u64, JournalError> {
    let file_end = segment.end;
    let mut position = segment.first_position;
    let mut offset = SECTOR_BYTES;
    let mut last_batch = None;
    let mut body = Vec::new();
    while offset < file_end {
        let Some(header) = read_batch(segment, store, offset, &mut body)? else {
            if has_successor || is_batch_after(segment, store, offset)? {
                return Err(JournalError::damaged(&segment.path, offset, "batch is unreadable"));
            }
            break;
        };
        if header.first_position != position {
            return Err(JournalError::damaged(&segment.path, offset, "records are missing"));
        }
        for (at, record) in format::decode_body(&header, &body).unwrap_or_default() {
            replay(at, record);
        }
        segment.mark(position, offset);
        position = position.saturating_add(u64::from(header.records));
        last_batch = Some((offset, header));
        offset += header.span();
    }
    segment.end = offset;
    if !has_successor {
        settle(segment, store, offset < file_end, last_batch, &mut body)?;
    }
    Ok(position)
}

/// Cuts what a torn batch left and makes the last good batch, or the header, durable for certain.
fn settle(
    segment: &Segment,
    store: StoreId,
    torn: bool,
    last_batch: Option<(u64, BatchHeader)>,
    body: &mut Vec<u8>,
) -> Result<(), JournalError> {
    if torn {
        let cut = segment.file.set_len(segment.end);
        cut.map_err(JournalError::io("cut", &segment.path))?;
        tracing::info!(path = %segment.path.display(), offset = segment.end, "torn batch cut");
    }
    // What was read may sit in the page cache only, even marked clean if a sync of the previous
    // process failed; writing it again makes the sync below mean something. Whatever stands before
    // it was followed by a sync that returned.
    let again = match last_batch {
        None => Some((0, format::encode_segment_header(store, segment.first_position))),
        Some((offset, header)) => read_batch(segment, store, offset, body)?.map(|_| {
            let mut bytes = header.encode(store, offset);
            bytes.append(body);
            bytes.resize(to_usize(header.span()), 0);
            (offset, bytes)
        }),
    };
    if let Some((offset, bytes)) = again {
        let written = segment.file.write_at(offset, &bytes);
        written.map_err(JournalError::io("write", &segment.path))?;
    }
    segment.file.sync().map_err(JournalError::io("sync", &segment.path))
}

/// Reads the batch at `offset` into `body`; none unless all of it is there and intact.
fn read_batch(
    segment: &Segment,
    store: StoreId,
    offset: u64,
    body: &mut Vec<u8>,
) -> Result<Option<BatchHeader>, JournalError> {
    let header_end = offset.saturating_add(to_u64(BATCH_HEADER_LEN));
    if header_end > segment.end {
        return Ok(None);
    }
    let mut bytes = [0; BATCH_HEADER_LEN];
    let read = segment.file.read_at(offset, &mut bytes);
    read.map_err(JournalError::io("read", &segment.path))?;
    let Some(header) = BatchHeader::decode(&bytes, store, offset) else {
        return Ok(None);
    };
    if header_end.saturating_add(u64::from(header.body_bytes)) > segment.end {
        return Ok(None);
    }
    body.clear();
    body.resize(len_of(header.body_bytes), 0);
    let read = segment.file.read_at(header_end, body);
    read.map_err(JournalError::io("read", &segment.path))?;
    Ok(format::decode_body(&header, body).is_some().then_some(header))
}

/// Whether a valid batch header stands anywhere after the sector at `damaged`.
fn is_batch_after(segment: &Segment, store: StoreId, damaged: u64) -> Result<bool, JournalError> {
    let mut offset = damaged.saturating_add(SECTOR_BYTES);
    let mut buffer = vec![0; SEARCH_BYTES];
    while offset < segment.end {
        let len = to_usize(segment.end - offset).min(SEARCH_BYTES);
        let block = buffer.get_mut(..len).unwrap_or_default();
        let read = segment.file.read_at(offset, block);
        read.map_err(JournalError::io("read", &segment.path))?;
        for sector in block.chunks(SECTOR_LEN) {
            if BatchHeader::decode(sector, store, offset).is_some() {
                return Ok(true);
            }
            offset += to_u64(sector.len());
        }
    }
    Ok(false)
}

/// Hands the durable batches of a segment from `offset` on to `visit` until it says stop, and
/// returns the position after the last batch handed over.
pub(super) fn visit_batches(
    segment: &Segment,
    store: StoreId,
    mut offset: u64,
    mut visit: impl FnMut(&[(u64, &[u8])]) -> bool,
) -> Result<u64, JournalError> {
    let mut position = 0;
    let mut body = Vec::new();
    while offset < segment.end {
        let Some(header) = read_batch(segment, store, offset, &mut body)? else {
            return Err(damaged_since(&segment.path, offset));
        };
        position = header.first_position.saturating_add(u64::from(header.records));
        let records = format::decode_body(&header, &body).unwrap_or_default();
        if !visit(&records) {
            break;
        }
        offset += header.span();
    }
    Ok(position)
}

fn damaged_since(path: &Path, offset: u64) -> JournalError {
    JournalError::damaged(path, offset, "batch changed since it was written")
}
