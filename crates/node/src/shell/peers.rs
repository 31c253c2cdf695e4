//! What this node has processed of each peer's changes, and the payloads of handshakes.
//!
//! ```text
//! peer hello    store name 16 | signed heartbeat
//! peer welcome  cursor u64 | 0, or 1 and the heartbeat remembered of the dialling node
//! ```
//! The cursor belongs to the receiver: everything the peer changed below it is settled here and
//! durable. Undecided uploads hold it back; the peer announces them again at new positions.
//!
//! Spec: docs/protocol.md LINK-1, AMNESIA-1.
//! Bounds: per peer `UNSETTLED_MAX` uploads; beyond, the cursor stays until some are settled.

use std::collections::BTreeMap;

use avid_protocol::clock::SignedHeartbeat;
use avid_store::{IndexWrite, Store, Table};
use avid_types::{ClusterConfig, Decoder, Encoder, NodeId, Timestamp, UploadId};

use crate::core::entry::{CLOCK_KEY, peer_key};

/// Undecided uploads remembered per peer.
const UNSETTLED_MAX: usize = 16_384;

#[derive(Debug, Clone, Default)]
struct Cursor {
    store: [u8; 16],
    processed: u64,
    unsettled: BTreeMap<UploadId, u64>,
    saved: u64,
}

impl Cursor {
    fn durable(&self) -> u64 {
        let oldest = self.unsettled.values().min();
        oldest.map_or(self.processed, |oldest| (*oldest).min(self.processed))
    }
}

/// Cursors and remembered heartbeats, as the handshake needs them.
#[derive(Debug, Default)]
pub(crate) struct PeerBook {
    cursors: BTreeMap<NodeId, Cursor>,
    remembered: BTreeMap<NodeId, SignedHeartbeat>,
    pub(crate) time: Timestamp,
}

impl PeerBook {
    pub(crate) fn load(cluster: &ClusterConfig, store: &Store) -> Result<Self, String> {
        let mut book = Self::default();
        let read = |table, key: &[u8]| store.index().get(table, key).map_err(|e| e.to_string());
        for (node, _) in cluster.nodes() {
            if let Some(bytes) = read(Table::Peers, &peer_key(0, node))? {
                let mut d = Decoder::new(&bytes);
                let heartbeat = SignedHeartbeat::decode(&mut d).map_err(|e| e.to_string())?;
                book.remembered.insert(node, heartbeat);
            }
            if let Some(bytes) = read(Table::Peers, &peer_key(1, node))? {
                let mut d = Decoder::new(&bytes);
                let store = d.array().map_err(|e| e.to_string())?;
                let processed = d.u64().map_err(|e| e.to_string())?;
                let cursor = Cursor { store, processed, saved: processed, ..Cursor::default() };
                book.cursors.insert(node, cursor);
            }
        }
        if let Some(bytes) = read(Table::Meta, CLOCK_KEY)? {
            book.time = Timestamp(Decoder::new(&bytes).u64().map_err(|e| e.to_string())?);
        }
        Ok(book)
    }

    pub(crate) fn remembered(&self) -> impl Iterator<Item = &SignedHeartbeat> {
        self.remembered.values()
    }

    /// Keeps the highest heartbeat of a member, of the first store it was heard on.
    ///
    /// Rule: AMNESIA-1.
    pub(crate) fn remember(&mut self, signed: SignedHeartbeat) {
        let heard = signed.heartbeat;
        let known = self.remembered.get(&heard.node);
        if known.is_none_or(|known| heard.supersedes(&known.heartbeat)) {
            self.remembered.insert(heard.node, signed);
        }
    }

    /// The answer to a peer's hello; none if the hello is malformed.
    pub(crate) fn welcome(&self, node: NodeId, hello: &[u8]) -> Option<Vec<u8>> {
        let hello = PeerHello::decode(hello)?;
        let cursor = self.cursors.get(&node).filter(|cursor| cursor.store == hello.store);
        let mut e = Encoder::new();
        e.u64(cursor.map_or(0, |cursor| cursor.processed));
        e.option(self.remembered.get(&node), |e, heartbeat| heartbeat.encode(e));
        Some(e.into_vec())
    }

    /// Begins a link: a peer with another store starts from nothing.
    pub(crate) fn begin(&mut self, node: NodeId, store: [u8; 16]) {
        let cursor = self.cursors.entry(node).or_default();
        if cursor.store != store {
            *cursor = Cursor { store, ..Cursor::default() };
        }
    }

    /// Notes that a change was processed here, and whether its upload is settled here.
    ///
    /// False if too many uploads are unsettled: the cursor stays and the change must come again.
    #[must_use]
    pub(crate) fn processed(
        &mut self,
        node: NodeId,
        position: u64,
        upload: UploadId,
        settled: bool,
    ) -> bool {
        let Some(cursor) = self.cursors.get_mut(&node) else {
            return false;
        };
        if settled {
            cursor.unsettled.remove(&upload);
        } else if cursor.unsettled.len() < UNSETTLED_MAX || cursor.unsettled.contains_key(&upload) {
            cursor.unsettled.insert(upload, position);
        } else {
            return false;
        }
        cursor.processed = cursor.processed.max(position.saturating_add(1));
        true
    }

    /// Notes that an upload is settled here, whoever announced it.
    pub(crate) fn settled(&mut self, upload: UploadId) {
        for cursor in self.cursors.values_mut() {
            cursor.unsettled.remove(&upload);
        }
    }

    /// Cursors that moved since they were last saved, as index writes.
    pub(crate) fn save(&mut self) -> Vec<IndexWrite> {
        let mut writes = Vec::new();
        for (node, cursor) in &mut self.cursors {
            let durable = cursor.durable();
            if durable > cursor.saved {
                cursor.saved = durable;
                let mut e = Encoder::new();
                e.bytes(&cursor.store);
                e.u64(durable);
                writes.push(IndexWrite::put(Table::Peers, peer_key(1, *node), e.into_vec()));
            }
        }
        writes
    }
}

/// What a dialling node says of itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PeerHello {
    pub(crate) store: [u8; 16],
    pub(crate) heartbeat: SignedHeartbeat,
}

impl PeerHello {
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let mut e = Encoder::new();
        e.bytes(&self.store);
        self.heartbeat.encode(&mut e);
        e.into_vec()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut d = Decoder::new(bytes);
        let store = d.array().ok()?;
        let heartbeat = SignedHeartbeat::decode(&mut d).ok()?;
        d.finish().ok()?;
        Some(Self { store, heartbeat })
    }
}

/// What the dialled node answers: where to start, and what it remembers of us.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PeerWelcome {
    pub(crate) cursor: u64,
    pub(crate) remembered: Option<SignedHeartbeat>,
}

impl PeerWelcome {
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut d = Decoder::new(bytes);
        let cursor = d.u64().ok()?;
        let remembered = d.option("remembered", SignedHeartbeat::decode).ok()?;
        d.finish().ok()?;
        Some(Self { cursor, remembered })
    }
}

#[cfg(test)]
mod tests {
    use avid_protocol::clock::Heartbeat;
    use avid_types::SigningKey;

    use super::*;

    /// Rule: AMNESIA-1.
    #[test]
    fn the_highest_heartbeat_of_the_first_store_is_told_back() {
        let (first, second) = (Heartbeat::boot_of([1; 16], 1), Heartbeat::boot_of([9; 16], 1));
        let signature = SigningKey::from_seed([1; 32]).sign(b"");
        let mut book = PeerBook::default();
        let mut hear = |boot, position| {
            let heartbeat = Heartbeat { node: NodeId(3), reading: Timestamp(5), boot, position };
            book.remember(SignedHeartbeat { heartbeat, signature });
            let known = book.remembered().next().unwrap().heartbeat;
            (known.boot, known.position)
        };
        assert_eq!(hear(first, 7), (first, 7));
        assert_eq!(hear(first, 6), (first, 7), "an older one");
        assert_eq!(hear(second, 90), (first, 7), "one of another store");
        assert_eq!(hear(first + 1, 0), (first + 1, 0), "the next boot");
    }
}
