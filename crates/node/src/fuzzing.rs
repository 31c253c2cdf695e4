//! The decoders of stored bytes, for the fuzz targets; no part of the crate's contract.

use avid_protocol::record::UploadRecord;
use avid_store::IndexWrite;

use crate::core::entry::{self, Entry};

/// Reads a journal record and writes it again.
#[must_use]
pub fn journal_record(bytes: &[u8]) -> Option<Vec<u8>> {
    Entry::from_bytes(bytes).ok().map(|entry| entry.to_bytes())
}

/// What a journal record at a position puts into the index.
#[must_use]
pub fn index_writes(position: u64, bytes: &[u8]) -> Option<Vec<IndexWrite>> {
    Entry::from_bytes(bytes).ok().map(|entry| entry.index_writes(position))
}

/// Reads a value of the index's table of uploads.
#[must_use]
pub fn index_upload(bytes: &[u8]) -> Option<(u64, UploadRecord)> {
    entry::decode_upload(bytes).ok()
}

/// The position in a key of the table of the journal's order.
#[must_use]
pub fn sequence_of(key: &[u8]) -> Option<u64> {
    entry::sequence_of(key)
}

/// The name in a key of the table of names.
#[must_use]
pub fn name_of_key(key: &[u8]) -> Option<&str> {
    entry::name_of_key(key)
}
