//! Questions that durable state answers: records, names, listings.
//!
//! The index holds only what is synced, so these answers need no round through the engine.
//!
//! Spec: docs/protocol.md FRESH-1, ID-1.
//! Bounds: `GENERATIONS_MAX` generations of a name and `PAGE_BYTES_MAX` bytes of a page.

use std::collections::VecDeque;
use std::ops::Bound;

use avid_protocol::record::{Phase, UploadRecord};
use avid_protocol::wire::{AbortedHead, HeadAnswer, ListEntry, ListPage};
use avid_store::{Store, Table};
use avid_types::limits::{CONTROL_FRAME_BYTES_MAX, LIST_PAGE_MAX};
use avid_types::{Encoder, Generation, ObjectName, PublicKey, UploadId};

use crate::core::entry::{self, name_of_key, name_prefix, object_of};

/// Generations of one name that are looked at, the latest: at most a few can be undecided.
const GENERATIONS_MAX: usize = 64;
/// Keys read at once.
const SCAN: usize = 1024;
/// A page ends when its entries reach this size.
const PAGE_BYTES_MAX: usize = CONTROL_FRAME_BYTES_MAX / 2;

pub(crate) fn record(store: &Store, upload: UploadId) -> Result<Option<UploadRecord>, String> {
    let bytes = store.index().get(Table::Uploads, upload.as_bytes()).map_err(|e| e.to_string())?;
    let Some(bytes) = bytes else {
        return Ok(None);
    };
    let (_, record) = entry::decode_upload(&bytes).map_err(|e| e.to_string())?;
    Ok(Some(record))
}

pub(crate) fn is_settled(store: &Store, upload: UploadId) -> bool {
    record(store, upload).ok().flatten().is_some_and(|record| record.phase.is_settled())
}

/// Records of the latest generations of a name, ascending.
fn generations(
    store: &Store,
    owner: &PublicKey,
    name: &str,
) -> Result<Vec<(Generation, UploadRecord)>, String> {
    let mut from = name_prefix(owner, name);
    let to = [from.as_slice(), &[0xff; 9]].concat();
    let mut latest = VecDeque::new();
    loop {
        let bounds = (Bound::Included(from.as_slice()), Bound::Excluded(to.as_slice()));
        let found = store.index().scan(Table::Names, bounds.0, bounds.1, SCAN);
        let found = found.map_err(|error| error.to_string())?;
        let is_last = found.len() < SCAN;
        for (key, value) in found {
            from = [key.as_slice(), &[0]].concat();
            latest.extend(value.try_into().map(UploadId));
            while latest.len() > GENERATIONS_MAX {
                latest.pop_front();
            }
        }
        if is_last {
            break;
        }
    }
    let mut records = Vec::new();
    for upload in latest {
        if let Some(record) = record(store, upload)?
            && let Some(object) = object_of(&record)
        {
            records.push((object.generation, record));
        }
    }
    Ok(records)
}

/// What this node knows of a name, and the upload of the highest aborted generation.
pub(crate) fn head(
    store: &Store,
    owner: &PublicKey,
    name: &ObjectName,
) -> Result<(HeadAnswer, Option<avid_protocol::object::ObjectId>), String> {
    let mut answer = HeadAnswer::default();
    let mut aborted_object = None;
    for (generation, record) in generations(store, owner, name.as_str())? {
        let object = object_of(&record).cloned();
        match record.phase {
            Phase::Committed(proof) => answer.committed = Some(proof),
            Phase::Deleted(order) => answer.deleted = Some(order),
            Phase::Idle | Phase::Echoed(_) | Phase::Ready { .. } => answer.pending = record.open,
            Phase::Aborted { cert, .. } => {
                answer.aborted = Some(AbortedHead { generation, vote: None, cert });
                aborted_object = object;
            }
        }
    }
    Ok((answer, aborted_object))
}

/// One page of an owner's names, ordered; one entry per name, of its highest settled generation.
pub(crate) fn list(
    store: &Store,
    owner: &PublicKey,
    prefix: &str,
    after: Option<&ObjectName>,
    limit: usize,
) -> Result<ListPage, String> {
    let limit = limit.clamp(1, LIST_PAGE_MAX);
    let start = [owner.as_bytes().as_slice(), prefix.as_bytes()].concat();
    let mut from = match after {
        // All generations of `after` sort below this.
        Some(name) => [name_prefix(owner, name.as_str()).as_slice(), &[0xff; 9]].concat(),
        None => start.clone(),
    };
    from = from.max(start.clone());
    let mut page = ListPage { entries: Vec::new(), complete_to: None };
    let mut bytes = 0;
    loop {
        let found = store
            .index()
            .scan(Table::Names, Bound::Included(&from), Bound::Unbounded, 1)
            .map_err(|error| error.to_string())?;
        let Some((key, _)) = found.into_iter().next().filter(|(key, _)| key.starts_with(&start))
        else {
            page.complete_to = None;
            return Ok(page);
        };
        let name = name_of_key(&key).ok_or("a name key is malformed")?.to_owned();
        if let Some(entry) = highest(generations(store, owner, &name)?) {
            bytes += entry_bytes(&entry);
            page.entries.push(entry);
        }
        page.complete_to = ObjectName::new(&name).ok();
        if page.entries.len() >= limit || bytes >= PAGE_BYTES_MAX {
            return Ok(page);
        }
        from = [name_prefix(owner, &name).as_slice(), &[0xff; 9]].concat();
    }
}

fn highest(records: Vec<(Generation, UploadRecord)>) -> Option<ListEntry> {
    records.into_iter().rev().find_map(|(_, record)| match record.phase {
        Phase::Committed(proof) => Some(ListEntry::Committed(proof)),
        Phase::Deleted(order) => Some(ListEntry::Deleted(order)),
        Phase::Idle | Phase::Echoed(_) | Phase::Ready { .. } | Phase::Aborted { .. } => None,
    })
}

fn entry_bytes(entry: &ListEntry) -> usize {
    let mut e = Encoder::new();
    match entry {
        ListEntry::Committed(proof) => proof.encode(&mut e),
        ListEntry::Deleted(order) => order.encode(&mut e),
    }
    e.as_slice().len()
}
