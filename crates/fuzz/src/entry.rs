//! Journal records and index values of a node: what its disk hands back.

use std::ops::RangeInclusive;

use avid_node::fuzzing;
use avid_store::index::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use avid_store::{IndexWrite, Table};

use crate::{check, golden};

/// Tags of journal records: docs/formats.md.
const TAGS: RangeInclusive<u8> = 1..=4;
const TAG_UPLOAD: u8 = 1;
/// A position at which the record of a target stands.
const POSITION: u64 = 0x0102_0304_0506;

/// A record of the journal, and what it puts into the index.
pub fn target_journal_record(bytes: &[u8]) {
    let Some(written) = fuzzing::journal_record(bytes) else {
        return;
    };
    assert!(written == bytes, "a journal record is written as other bytes");
    assert!(bytes.first().is_some_and(|tag| TAGS.contains(tag)), "an unknown record was read");
    let writes = fuzzing::index_writes(POSITION, bytes).unwrap_or_default();
    assert!(!writes.is_empty(), "a record without effect");
    writes.iter().for_each(check_write);
}

fn check_write(write: &IndexWrite) {
    assert!((1..=KEY_BYTES_MAX).contains(&write.key.len()), "length of an index key");
    let value = write.value.as_deref().unwrap_or_default();
    assert!(value.len() <= VALUE_BYTES_MAX, "length of an index value");
    match write.table {
        Table::Uploads => {
            let read = fuzzing::index_upload(value);
            assert!(read.is_some_and(|(position, _)| position == POSITION), "unreadable upload");
        }
        Table::Sequence => {
            assert!(fuzzing::sequence_of(&write.key) == Some(POSITION), "unreadable position");
        }
        Table::Names => {
            let name = fuzzing::name_of_key(&write.key);
            assert!(name.is_some_and(|name| !name.is_empty()), "unreadable name");
        }
        Table::Peers | Table::Meta => {}
    }
}

/// A value of the index's table of uploads: position and record.
pub fn target_index_upload(bytes: &[u8]) {
    if let Some((position, record)) = fuzzing::index_upload(bytes) {
        let written = [position.to_le_bytes().as_slice(), &record.to_bytes()].concat();
        assert!(written == bytes, "an index value is written as other bytes");
        check::record(&record);
    }
}

/// Keys of the index, read back: positions and names.
pub fn target_index_key(bytes: &[u8]) {
    assert!(fuzzing::sequence_of(bytes).is_some() == (bytes.len() == 8), "key of a position");
    if let Some(name) = fuzzing::name_of_key(bytes) {
        assert!(bytes.len() == 32 + name.len() + 9, "key of a name");
    }
}

pub(crate) fn journal_record_seeds() -> Vec<Vec<u8>> {
    let upload = |record: &Vec<u8>| [&[TAG_UPLOAD], [0x77; 32].as_slice(), record].concat();
    let mut seeds: Vec<Vec<u8>> = golden::records().iter().map(upload).collect();
    seeds.push([2, 1, 2, 3, 4, 5, 6, 7, 8].to_vec());
    let heartbeats = crate::objects::heartbeat_seeds();
    seeds.extend(heartbeats.iter().map(|bytes| [&[3], bytes.as_slice()].concat()));
    seeds.push([&[4], [0x66; 32].as_slice(), &7_u64.to_le_bytes()].concat());
    seeds
}

pub(crate) fn index_upload_seeds() -> Vec<Vec<u8>> {
    let value = |record: &Vec<u8>| [POSITION.to_le_bytes().as_slice(), record].concat();
    golden::records().iter().map(value).collect()
}

pub(crate) fn index_key_seeds() -> Vec<Vec<u8>> {
    let name = [[0x66; 32].as_slice(), "phöto".as_bytes(), &[0], &[0; 8]].concat();
    vec![POSITION.to_le_bytes().to_vec(), name]
}
