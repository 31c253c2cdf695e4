//! What the journal's records and the index's tables hold.
//!
//! ```text
//! journal record   tag u8 | body
//!   1 upload       upload 32 | upload record (protocol::record)
//!   2 clock        cluster time u64
//!   3 heartbeat    signed heartbeat of a peer (AMNESIA-1)
//!   4 ended        owner 32 | number of its ended uploads u64 (ABORT-2)
//!
//! index Uploads    upload 32                            -> position u64 le | upload record
//!       Sequence   position u64 be                      -> upload 32
//!       Names      owner 32 | name | 0 | generation be  -> upload 32
//!       Peers      0 | node u16 be                      -> signed heartbeat
//!                  1 | node u16 be                      -> store name 16 | cursor u64 le
//!       Meta       "clock"                              -> cluster time u64 le
//!                  "open" | upload 32                   -> (present while undecided)
//!                  "ended" | owner 32                   -> number of its ended uploads u64 le
//! ```
//! A Sequence entry counts only if the upload's own position equals it; older entries are left
//! behind by a replay and skipped. Names hold no control characters, so the zero byte ends them
//! and the order of keys is the order of names.
//!
//! Spec: docs/protocol.md LINK-1, AMNESIA-1, TIME-1.

use avid_protocol::clock::SignedHeartbeat;
use avid_protocol::object::ObjectId;
use avid_protocol::record::{Phase, UploadRecord};
use avid_store::{IndexWrite, Table};
use avid_types::{DecodeError, Decoder, Encoder, NodeId, PublicKey, Timestamp, UploadId};

/// Key of the persisted cluster time.
pub(crate) const CLOCK_KEY: &[u8] = b"clock";
/// Prefix of the keys of undecided uploads.
pub(crate) const OPEN_PREFIX: &[u8] = b"open";

/// One journal record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    Upload(UploadId, Box<UploadRecord>),
    Clock(Timestamp),
    Heartbeat(SignedHeartbeat),
    Ended(PublicKey, u64),
}

impl Entry {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut e = Encoder::with_capacity(512);
        match self {
            Self::Upload(upload, record) => {
                e.u8(1);
                upload.encode(&mut e);
                e.bytes(&record.to_bytes());
            }
            Self::Clock(time) => {
                e.u8(2);
                time.encode(&mut e);
            }
            Self::Heartbeat(heartbeat) => {
                e.u8(3);
                heartbeat.encode(&mut e);
            }
            Self::Ended(owner, count) => {
                e.u8(4);
                owner.encode(&mut e);
                e.u64(*count);
            }
        }
        e.into_vec()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut d = Decoder::new(bytes);
        let entry = match d.u8()? {
            1 => {
                let upload = UploadId::decode(&mut d)?;
                let record = d.bytes(d.remaining())?;
                Self::Upload(upload, Box::new(UploadRecord::from_bytes(record)?))
            }
            2 => Self::Clock(Timestamp::decode(&mut d)?),
            3 => Self::Heartbeat(SignedHeartbeat::decode(&mut d)?),
            4 => Self::Ended(PublicKey::decode(&mut d)?, d.u64()?),
            value => {
                return Err(DecodeError::Invalid { what: "journal record", value: value.into() });
            }
        };
        d.finish()?;
        Ok(entry)
    }

    /// The index after this record, written at `position`.
    pub(crate) fn index_writes(&self, position: u64) -> Vec<IndexWrite> {
        match self {
            Self::Upload(upload, record) => upload_writes(position, *upload, record),
            Self::Clock(time) => {
                vec![IndexWrite::put(Table::Meta, CLOCK_KEY, time.0.to_le_bytes())]
            }
            Self::Heartbeat(heartbeat) => {
                let mut e = Encoder::new();
                heartbeat.encode(&mut e);
                let key = peer_key(0, heartbeat.heartbeat.node);
                vec![IndexWrite::put(Table::Peers, key, e.into_vec())]
            }
            Self::Ended(owner, count) => {
                vec![IndexWrite::put(Table::Meta, ended_key(owner), count.to_le_bytes())]
            }
        }
    }
}

fn upload_writes(position: u64, upload: UploadId, record: &UploadRecord) -> Vec<IndexWrite> {
    let mut value = position.to_le_bytes().to_vec();
    value.extend_from_slice(&record.to_bytes());
    let mut writes = vec![
        IndexWrite::put(Table::Uploads, upload.0, value),
        IndexWrite::put(Table::Sequence, sequence_key(position), upload.0),
    ];
    if let Some(object) = object_of(record) {
        writes.push(IndexWrite::put(Table::Names, name_key(object), upload.0));
    }
    let open_key = open_key(upload);
    writes.push(if record.phase.is_settled() {
        IndexWrite::remove(Table::Meta, open_key)
    } else {
        IndexWrite::put(Table::Meta, open_key, Vec::new())
    });
    writes
}

/// Position and record as stored in the Uploads table.
pub(crate) fn decode_upload(bytes: &[u8]) -> Result<(u64, UploadRecord), DecodeError> {
    let mut d = Decoder::new(bytes);
    let position = d.u64()?;
    Ok((position, UploadRecord::from_bytes(d.bytes(d.remaining())?)?))
}

/// The object a record is about, as far as it is known.
pub(crate) fn object_of(record: &UploadRecord) -> Option<&ObjectId> {
    match &record.phase {
        Phase::Committed(proof) => Some(&proof.seal.manifest.object),
        Phase::Deleted(order) => Some(&order.object),
        Phase::Idle | Phase::Echoed(_) | Phase::Ready { .. } | Phase::Aborted { .. } => {
            record.open.as_ref().map(|signed| &signed.open.object)
        }
    }
}

pub(crate) fn ended_key(owner: &PublicKey) -> Vec<u8> {
    [b"ended".as_slice(), owner.as_bytes()].concat()
}

pub(crate) fn open_key(upload: UploadId) -> Vec<u8> {
    [OPEN_PREFIX, upload.as_bytes()].concat()
}

#[expect(clippy::big_endian_bytes, reason = "keys sort as numbers")]
pub(crate) fn sequence_key(position: u64) -> [u8; 8] {
    position.to_be_bytes()
}

pub(crate) fn sequence_of(key: &[u8]) -> Option<u64> {
    key.try_into().ok().map(u64::from_be_bytes)
}

#[expect(clippy::big_endian_bytes, reason = "keys sort as numbers")]
pub(crate) fn peer_key(kind: u8, node: NodeId) -> Vec<u8> {
    let [high, low] = node.0.to_be_bytes();
    vec![kind, high, low]
}

/// Prefix of all generations of a name.
pub(crate) fn name_prefix(owner: &PublicKey, name: &str) -> Vec<u8> {
    [owner.as_bytes().as_slice(), name.as_bytes(), &[0]].concat()
}

#[expect(clippy::big_endian_bytes, reason = "keys sort as numbers")]
fn name_key(object: &ObjectId) -> Vec<u8> {
    let mut key = name_prefix(&object.owner, object.name.as_str());
    key.extend_from_slice(&object.generation.0.to_be_bytes());
    key
}

/// The name in a key of the Names table.
pub(crate) fn name_of_key(key: &[u8]) -> Option<&str> {
    let rest = key.get(PublicKey::BYTES..)?;
    let name = rest.get(..rest.len().checked_sub(9)?)?;
    std::str::from_utf8(name).ok()
}
