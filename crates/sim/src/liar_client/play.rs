//! What a liar says to whom, as data: written down first, performed by [`perform`].
//!
//! ```text
//! adversary ─► Plan { node 0: [open, chunk, chunk, seal, listen], node 3: [...] }
//!                                      │ perform: one connection per node, all at once
//!                                      ▼
//!              Heard { node 0: votes, refusal, ... }
//! ```
//! Adversaries are functions from an object to a plan; what distinguishes them is visible in one
//! place, a plan prints, and a random client changes plans rather than protocols.
//!
//! Bounds: a conversation ends after its plays, and each listening after its time.

use std::collections::BTreeMap;
use std::time::Duration;

use avid_net::{Connection, within};
use avid_protocol::statement::StatementKind;
use avid_protocol::vote::SignedVote;
use avid_protocol::wire::{ChunkPrefix, FRAME_VERSION, Message, Opened, RefusalCode, kind};
use avid_types::{ClusterConfig, NodeId, Slot, StripeIndex};
use tokio::time::{Instant, sleep, timeout_at};

use super::LiarClient;
use super::forged::Forged;

/// Silence of a node that reads nothing before a liar gives a write up.
const WRITE_PATIENCE: Duration = Duration::from_secs(90);

/// How long to wait for an answer to OPEN.
const OPENED: Duration = Duration::from_secs(5);

/// One thing a liar does on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Play {
    /// Sends a control message.
    Say(Box<Message>),
    /// Sends a chunk; stripe, stated length, cross-checksum and bytes need not fit. Left out once
    /// the node has said that its fragment is complete.
    Chunk {
        /// Stated stripe.
        stripe: u64,
        /// Stated length.
        length: u32,
        /// Bytes where the cross-checksum stands.
        fpcc: Vec<u8>,
        /// Bytes of the chunk.
        bytes: Vec<u8>,
    },
    /// Sends any frame.
    Raw {
        /// Type byte.
        kind: u8,
        /// Version byte.
        version: u8,
        /// Body.
        body: Vec<u8>,
    },
    /// Takes what is answered: up to an answer that ends something (OPENED, HOLD, a refusal, any
    /// answer that is no vote), or until nothing comes for this long.
    Listen(Duration),
    /// Says nothing for this long.
    Rest(Duration),
}

/// What a liar says to each node; an entry per connection, several per node are allowed.
pub type Plan = Vec<(NodeId, Vec<Play>)>;

/// What one connection brought.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// Votes, in order.
    pub votes: Vec<SignedVote>,
    /// Answer to OPEN or FILL.
    pub opened: Option<Opened>,
    /// The first refusal.
    pub refused: Option<(RefusalCode, String)>,
    /// Fragment frames received.
    pub frags: Vec<Vec<u8>>,
    /// Any other answer.
    pub others: Vec<Message>,
    /// The node could not be reached or ended the connection.
    pub is_closed: bool,
}

impl Heard {
    /// Whether the node voted so.
    #[must_use]
    pub fn has_voted(&self, kind: StatementKind) -> bool {
        self.votes.iter().any(|vote| vote.statement.kind == kind)
    }

    /// Why the node refused, if it did.
    #[must_use]
    pub fn refusal(&self) -> Option<RefusalCode> {
        self.refused.as_ref().map(|(code, _)| *code)
    }
}

/// Plays that disperse an object to one node as an honest client would, up to `stripes` stripes
/// and without SEAL.
#[must_use]
pub fn opening(forged: &Forged, slot: Slot, stripes: usize) -> Vec<Play> {
    let open = Box::new(forged.open.clone());
    let say = Play::Say(Box::new(Message::Open { open, predecessor: None }));
    let mut plays = vec![say, Play::Listen(OPENED)];
    plays.extend((0..stripes.min(forged.stripes.len())).map(|stripe| chunk(forged, stripe, slot)));
    plays
}

/// The play that sends one chunk of an object as it is.
#[must_use]
pub fn chunk(forged: &Forged, stripe: usize, slot: Slot) -> Play {
    let found = forged.stripes.get(stripe);
    let bytes = found.and_then(|s| s.chunks.get(slot.index())).cloned().unwrap_or_default();
    Play::Chunk {
        stripe: u64::try_from(stripe).unwrap_or(u64::MAX),
        length: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
        fpcc: found.map(|stripe| stripe.fpcc.clone()).unwrap_or_default(),
        bytes,
    }
}

/// The play that seals.
#[must_use]
pub fn seal(forged: &Forged) -> Play {
    let manifest = Box::new(forged.manifest.clone());
    Play::Say(Box::new(Message::Seal { manifest, seal: forged.seal }))
}

/// OPEN, every chunk of the node's slot, SEAL, and the votes.
#[must_use]
pub fn whole(config: &ClusterConfig, forged: &Forged, node: NodeId, listen: Duration) -> Vec<Play> {
    let slot = config.slot_of(forged.upload(), node).unwrap_or_default();
    let mut plays = opening(forged, slot, usize::MAX);
    plays.extend([seal(forged), Play::Listen(listen)]);
    plays
}

/// A whole dispersal of an object to some nodes.
#[must_use]
pub fn dispersal(
    config: &ClusterConfig,
    forged: &Forged,
    nodes: impl IntoIterator<Item = NodeId>,
    listen: Duration,
) -> Plan {
    nodes.into_iter().map(|node| (node, whole(config, forged, node, listen))).collect()
}

/// Performs a plan, all its connections at once; answers in the order of its entries.
pub async fn perform(liar: &LiarClient, plan: Plan) -> Vec<(NodeId, Heard)> {
    let mut tasks = tokio::task::JoinSet::new();
    for (number, (node, plays)) in plan.into_iter().enumerate() {
        let dialling = liar.clone();
        tasks.spawn(async move {
            let heard = match dialling.dial(node).await {
                Some(mut connection) => converse(&mut connection, plays).await,
                None => Heard { is_closed: true, ..Heard::default() },
            };
            (number, node, heard)
        });
    }
    let mut all = BTreeMap::new();
    while let Some(done) = tasks.join_next().await {
        let (number, node, heard) = done.expect("a conversation does not panic");
        all.insert(number, (node, heard));
    }
    all.into_values().collect()
}

/// Performs the plays of one connection.
pub async fn converse(connection: &mut Connection, plays: Vec<Play>) -> Heard {
    let mut heard = Heard::default();
    for play in plays {
        match play {
            Play::Listen(limit) => listen(connection, &mut heard, limit).await,
            Play::Rest(time) => {
                drop(connection.writer().flush().await);
                sleep(time).await;
            }
            Play::Say(message) => {
                send(connection, message.kind(), FRAME_VERSION, &[&message.to_body()]).await;
            }
            Play::Chunk { .. } if heard.opened.is_some_and(|opened| opened.complete) => {}
            Play::Chunk { stripe, length, fpcc, bytes } => {
                let prefix = ChunkPrefix { stripe: StripeIndex(stripe), chunk_bytes: length };
                let parts = [prefix.to_bytes(&fpcc), bytes];
                send(connection, kind::CHUNK, FRAME_VERSION, &[&parts[0], &parts[1]]).await;
            }
            Play::Raw { kind, version, body } => send(connection, kind, version, &[&body]).await,
        }
    }
    drop(connection.writer().flush().await);
    heard
}

/// A node that refused closes while frames are on their way: what it said is heard later.
async fn send(connection: &mut Connection, kind: u8, version: u8, parts: &[&[u8]]) {
    let write = connection.writer().write_frame(kind, version, parts);
    drop(within(WRITE_PATIENCE, "lying", write).await);
}

async fn listen(connection: &mut Connection, heard: &mut Heard, limit: Duration) {
    drop(within(WRITE_PATIENCE, "lying", connection.writer().flush()).await);
    loop {
        let next = connection.reader().next_header();
        let Ok(header) = timeout_at(Instant::now() + limit, next).await else { return };
        let Ok(Some(header)) = header else {
            heard.is_closed = true;
            return;
        };
        let mut body = vec![0; header.body_bytes];
        if connection.reader().read_exact(&mut body).await.is_err() {
            heard.is_closed = true;
            return;
        }
        if header.kind == kind::FRAG {
            heard.frags.push(body);
            continue;
        }
        let Ok(message) = Message::from_body(header.kind, header.version, &body) else { continue };
        let is_over = match message {
            Message::Vote { vote, .. } => {
                let is_hold = vote.statement.kind == StatementKind::Hold;
                heard.votes.push(*vote);
                is_hold
            }
            Message::Opened(opened) => {
                heard.opened = Some(opened);
                true
            }
            Message::Refused(refused) => {
                heard.refused.get_or_insert((refused.code, refused.message));
                true
            }
            other => {
                heard.others.push(other);
                true
            }
        };
        if is_over {
            return;
        }
    }
}
