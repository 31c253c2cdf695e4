//! Nodes that serve other bytes than they were given.
//!
//! ```text
//! FRAG   stripe u64 | chunk length u32 | prefix length u16 | cross-checksum | path | chunk
//! ```

use std::collections::{BTreeMap, VecDeque};

use avid_protocol::statement::{Statement, StatementKind};
use avid_protocol::wire::{ChunkPrefix, FRAME_VERSION, FragPrefix, Message, News, kind};
use avid_types::{Commitment, StripeIndex, Timestamp, UploadId};

use super::{Identity, Shared, frame_of, message_of};
use crate::tap::{Frame, Tap, Way};

/// Runs of chunks asked for, oldest first: upload, first stripe, count; by connection.
type Asked = BTreeMap<u64, VecDeque<(UploadId, StripeIndex, u64)>>;

/// Chunks served before, kept to be served again.
const REMEMBERED: usize = 64;

/// A FRAG body, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frag {
    /// Which stripe it says it is of.
    pub stripe: StripeIndex,
    /// Cross-checksum and path.
    pub proof: Vec<u8>,
    /// The chunk.
    pub chunk: Vec<u8>,
}

impl Frag {
    /// Takes a frame apart; none if it is no FRAG.
    #[must_use]
    pub fn of(frame: &Frame) -> Option<Self> {
        let fixed = frame.body.get(..FragPrefix::FIXED_BYTES)?;
        if frame.kind != kind::FRAG {
            return None;
        }
        let (prefix, proof_bytes) = FragPrefix::decode_fixed(fixed).ok()?;
        let rest = frame.body.get(FragPrefix::FIXED_BYTES..)?;
        let (proof, chunk) = rest.split_at_checked(proof_bytes)?;
        Some(Self { stripe: prefix.stripe, proof: proof.to_vec(), chunk: chunk.to_vec() })
    }

    /// The frame, with lengths that fit.
    ///
    /// # Panics
    ///
    /// If a part is longer than a frame can say.
    #[must_use]
    pub fn to_frame(&self) -> Frame {
        let chunk_bytes = u32::try_from(self.chunk.len()).expect("chunks are short here");
        let proof_bytes = u16::try_from(self.proof.len()).expect("proofs are short here");
        let prefix = ChunkPrefix { stripe: self.stripe, chunk_bytes };
        let mut body = prefix.to_bytes(&proof_bytes.to_le_bytes());
        body.extend_from_slice(&self.proof);
        body.extend_from_slice(&self.chunk);
        Frame { kind: kind::FRAG, version: FRAME_VERSION, body }
    }
}

/// What is wrong with a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkLie {
    /// One bit is flipped, counted modulo the chunk's length.
    Flip(u64),
    /// The last bytes are missing, and the lengths say so.
    Cut(usize),
    /// Every byte is zero.
    Zero,
    /// The chunk of another stripe or object, behind this stripe's true proof.
    Stale,
    /// Proof and chunk of another stripe or object, both true there.
    Foreign,
    /// The chunk is right and says that it is of the next stripe.
    Misplaced,
    /// One bit of cross-checksum or path is flipped.
    FlipProof(u64),
}

/// Serves wrong chunks and is otherwise honest.
///
/// May: put any bytes into a FRAG, those of other stripes and objects it holds included. May not:
/// change a vote, a certificate or a refusal.
#[derive(Debug)]
pub struct WrongChunks {
    lie: ChunkLie,
    remembered: VecDeque<Frag>,
    /// Chunks changed.
    pub lies: u64,
}

impl WrongChunks {
    /// Tells this lie with every chunk.
    #[must_use]
    pub fn new(lie: ChunkLie) -> Self {
        Self { lie, remembered: VecDeque::new(), lies: 0 }
    }

    /// Serves an object and keeps what it served, without a lie, until the lie is told by
    /// [`WrongChunks::tell`]: how a node comes by stale fragments.
    #[must_use]
    pub fn later() -> Self {
        Self::new(ChunkLie::Flip(u64::MAX))
    }

    /// Tells another lie from now on.
    pub fn tell(&mut self, lie: ChunkLie) {
        self.lie = lie;
    }
}

impl Tap for WrongChunks {
    fn on_frame(&mut self, _: Way, frame: Frame, wire: &mut Vec<Frame>) {
        let Some(frag) = Frag::of(&frame) else { return wire.push(frame) };
        if self.remembered.len() == REMEMBERED {
            self.remembered.pop_front();
        }
        self.remembered.push_back(frag.clone());
        let other = self.remembered.iter().find(|kept| kept.chunk != frag.chunk);
        let wrong = lie_about(frag.clone(), self.lie, other);
        self.lies += u64::from(wrong != frag);
        wire.push(wrong.to_frame());
    }
}

/// A chunk with a lie; without another chunk to lie with, the truth.
#[must_use]
pub fn lie_about(mut frag: Frag, lie: ChunkLie, other: Option<&Frag>) -> Frag {
    match lie {
        ChunkLie::Flip(u64::MAX) => {}
        ChunkLie::Flip(bit) => flip(&mut frag.chunk, bit),
        ChunkLie::FlipProof(bit) => flip(&mut frag.proof, bit),
        ChunkLie::Cut(bytes) => {
            let kept = frag.chunk.len().saturating_sub(bytes).max(1);
            frag.chunk.truncate(kept);
        }
        ChunkLie::Zero => frag.chunk.fill(0),
        ChunkLie::Misplaced => frag.stripe = StripeIndex(frag.stripe.0.wrapping_add(1)),
        ChunkLie::Stale => {
            if let Some(other) = other {
                frag.chunk.clone_from(&other.chunk);
            }
        }
        ChunkLie::Foreign => {
            if let Some(other) = other {
                frag.chunk.clone_from(&other.chunk);
                frag.proof.clone_from(&other.proof);
            }
        }
    }
    frag
}

/// Flips one bit, counted modulo the length.
pub fn flip(bytes: &mut [u8], bit: u64) {
    let bits = (bytes.len() as u64).saturating_mul(8);
    let Some(bit) = bit.checked_rem(bits) else { return };
    let position = usize::try_from(bit / 8).expect("below a length");
    if let Some(byte) = bytes.get_mut(position) {
        *byte ^= 1 << (bit % 8);
    }
}

/// What a lying writer prepared for a lying node, by upload: a slot whose digests are of garbage.
///
/// The chunks have the digests that the cross-checksums name and are on no codeword, so an honest
/// node refuses them and only an accomplice can serve them.
#[derive(Clone, Debug)]
pub struct Poison {
    /// The commitment of the poisoned object.
    pub commitment: Commitment,
    /// The expiry that votes name.
    pub expiry: Timestamp,
    /// By stripe, with proofs that lead to the object's root.
    pub frags: BTreeMap<StripeIndex, Frag>,
}

/// Poisoned uploads, shared between a lying writer and its node.
pub type PoisonBook = BTreeMap<UploadId, Poison>;

/// The accomplice of a lying writer: votes for the poisoned object and serves the garbage.
///
/// May: sign whatever it likes, and put the prepared chunks where an answer of its own goes. May
/// not: forge digests; the garbage has the digests because its writer put them there.
#[derive(Debug)]
pub struct Poisoner {
    me: Identity,
    book: Shared<PoisonBook>,
    /// Requests for chunks that this node heard, by connection: what its refusals answer.
    asked: Shared<Asked>,
    /// Poisoned chunks served.
    pub lies: u64,
}

impl Poisoner {
    /// A node that knows what its writer prepared.
    #[must_use]
    pub fn new(me: Identity, book: Shared<PoisonBook>) -> Self {
        Self { me, book, asked: super::shared(BTreeMap::new()), lies: 0 }
    }

    /// Hears what this node is asked; belongs behind everything that is sent, since a tap sees
    /// only what its own host sends.
    #[must_use]
    pub fn ear(&self) -> Ear {
        let (book, asked) = (Shared::clone(&self.book), Shared::clone(&self.asked));
        Ear { me: self.me.clone(), book, asked }
    }

    /// ECHOs of every poisoned upload, for a peer.
    fn echoes(&self) -> Vec<Frame> {
        let book = self.book.lock().expect("no adversary panics");
        let echo = |(upload, poison): (&UploadId, &Poison)| {
            let slot = self.me.slot(*upload)?;
            let statement = Statement {
                commitment: poison.commitment,
                expiry: poison.expiry,
                ..Statement::about_upload(StatementKind::Echo, *upload, slot)
            };
            let votes = vec![self.me.sign(statement)];
            let news = News::Votes { votes, echo_cert: None };
            Some(frame_of(&Message::News { position: 0, upload: *upload, news }))
        };
        book.iter().filter_map(echo).collect()
    }

    /// The chunks that the refused request asked for.
    fn served(&self, way: Way) -> Vec<Frame> {
        let mut asked = self.asked.lock().expect("no adversary panics");
        let next = asked.get_mut(&way.connection).and_then(VecDeque::pop_front);
        let Some((upload, first, count)) = next else { return Vec::new() };
        let book = self.book.lock().expect("no adversary panics");
        let Some(poison) = book.get(&upload) else { return Vec::new() };
        let wanted = (first.0..first.0.saturating_add(count)).map(StripeIndex);
        wanted.filter_map(|stripe| poison.frags.get(&stripe)).map(Frag::to_frame).collect()
    }
}

impl Tap for Poisoner {
    fn on_frame(&mut self, way: Way, frame: Frame, wire: &mut Vec<Frame>) {
        if frame.kind == kind::HEARTBEAT && way.opened_by_sender {
            wire.push(frame);
            return wire.extend(self.echoes());
        }
        if frame.kind == kind::REFUSED {
            let poisoned = self.served(way);
            if !poisoned.is_empty() {
                self.lies += poisoned.len() as u64;
                return wire.extend(poisoned);
            }
        }
        wire.push(frame);
    }
}

/// What one lying node is asked. It hears only what is sent to that node.
#[derive(Debug)]
pub struct Ear {
    me: Identity,
    book: Shared<PoisonBook>,
    asked: Shared<Asked>,
}

impl Tap for Ear {
    fn on_frame(&mut self, way: Way, frame: Frame, wire: &mut Vec<Frame>) {
        if way.to == self.me.host()
            && frame.kind == kind::GETFRAG
            && let Some(Message::GetFrag { upload, first, count, .. }) = message_of(&frame)
            && self.book.lock().expect("no adversary panics").contains_key(&upload)
        {
            let mut asked = self.asked.lock().expect("no adversary panics");
            asked.entry(way.connection).or_default().push_back((upload, first, count));
        }
        wire.push(frame);
    }
}
