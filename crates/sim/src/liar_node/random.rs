//! A liar that draws its moves, from a seed or from the bytes of a fuzzer.
//!
//! Both draw from the same moves, so that an input a fuzzer found says as much as a seed. Bytes
//! that have run out mean honesty: the shorter an input, the fewer lies.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use avid_protocol::wire::{Message, RefusalCode, kind};
use avid_types::Commitment;

use super::answers::{AnswerLie, LyingAnswers};
use super::chunks::{ChunkLie, Frag, lie_about};
use super::clock::{LyingClock, TEN_YEARS_MS};
use super::votes::{Forgery, equivocate};
use super::{Identity, each_cert, frame_of, message_of, shared};
use crate::random::Random;
use crate::tap::{Frame, Tap, Way};

/// Frames sent before, kept to be sent again.
const REMEMBERED: usize = 32;

/// Where choices come from.
pub trait Choices: Send + Sync + Debug {
    /// A number below `end`; 0, which is always the honest choice, if nothing is left to draw from.
    fn below(&mut self, end: u64) -> u64;
}

impl Choices for Random {
    fn below(&mut self, end: u64) -> u64 {
        Self::below(self, end)
    }
}

/// Choices of a fuzzer: two bytes each.
#[derive(Clone, Debug)]
pub struct Bytes(VecDeque<u8>);

impl Bytes {
    /// Draws from these bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.iter().copied().collect())
    }
}

impl Choices for Bytes {
    fn below(&mut self, end: u64) -> u64 {
        let (Some(low), Some(high)) = (self.0.pop_front(), self.0.pop_front()) else { return 0 };
        u64::from(u16::from_le_bytes([low, high])).checked_rem(end).unwrap_or(0)
    }
}

/// A liar whose every move follows from a seed.
#[must_use]
pub fn random_liar(me: Identity, seed: u64) -> Arc<Mutex<dyn Tap>> {
    let mut random = Random::new(seed, &format!("liar {}", me.node));
    // Some liars lie all the time and are soon ignored; those that lie rarely are believed.
    let rate = [4, 32, 256].get(random.index(3)).copied().unwrap_or(32);
    shared(RandomLiar::new(me, rate, Box::new(random)))
}

/// A liar whose every move follows from a fuzzer's bytes.
#[must_use]
pub fn liar_from_bytes(me: Identity, bytes: &[u8]) -> Arc<Mutex<dyn Tap>> {
    shared(RandomLiar::new(me, 2, Box::new(Bytes::new(bytes))))
}

/// Lies with one frame of so many, in any way there is.
///
/// May: drop, repeat, garble, change, sign and replay whatever it sends. May not: forge a
/// signature of another, or speak when an honest node would say nothing at all.
#[derive(Debug)]
pub struct RandomLiar {
    me: Identity,
    choices: Box<dyn Choices>,
    /// One frame of so many is a lie.
    rate: u64,
    sent: VecDeque<Frame>,
    /// Lies told.
    pub lies: u64,
}

impl RandomLiar {
    /// A liar that lies with one frame of `rate`.
    #[must_use]
    pub fn new(me: Identity, rate: u64, choices: Box<dyn Choices>) -> Self {
        Self { me, choices, rate: rate.max(1), sent: VecDeque::new(), lies: 0 }
    }

    fn remember(&mut self, frame: &Frame) {
        if self.sent.len() == REMEMBERED {
            self.sent.pop_front();
        }
        self.sent.push_back(frame.clone());
    }

    /// One frame, lied about in one of the ways that fit any frame.
    fn mistreat(&mut self, mut frame: Frame, wire: &mut Vec<Frame>) {
        match self.choices.below(6) {
            0 => {}
            1 => {
                let times = self.choices.below(50) + 2;
                wire.extend(std::iter::repeat_n(frame, usize::try_from(times).unwrap_or(2)));
            }
            2 => {
                super::chunks::flip(&mut frame.body, self.choices.below(1 << 20));
                wire.push(frame);
            }
            3 => {
                let kept = self.choices.below(frame.body.len() as u64 + 1);
                frame.body.truncate(usize::try_from(kept).unwrap_or(0));
                wire.push(frame);
            }
            4 => {
                frame.kind = u8::try_from(self.choices.below(0x70)).unwrap_or(0);
                wire.push(frame);
            }
            _ => {
                let old = self.choices.below(self.sent.len() as u64);
                let old = usize::try_from(old).ok().and_then(|old| self.sent.get(old)).cloned();
                wire.extend(old);
                wire.push(frame);
            }
        }
    }

    fn chunk(&mut self, frag: Frag) -> Frame {
        let bit = self.choices.below(1 << 16);
        let lie = match self.choices.below(7) {
            0 => ChunkLie::Flip(bit),
            1 => ChunkLie::Cut(usize::try_from(bit).unwrap_or(1).max(1)),
            2 => ChunkLie::Zero,
            3 => ChunkLie::Stale,
            4 => ChunkLie::Foreign,
            5 => ChunkLie::Misplaced,
            _ => ChunkLie::FlipProof(bit),
        };
        let remembered: Vec<Frag> = self.sent.iter().filter_map(Frag::of).collect();
        let other = self.choices.below(remembered.len() as u64);
        let other = usize::try_from(other).ok().and_then(|other| remembered.get(other));
        lie_about(frag, lie, other).to_frame()
    }

    fn heartbeat(&mut self, frame: Frame, way: Way, wire: &mut Vec<Frame>) {
        let offset = [0, TEN_YEARS_MS, -TEN_YEARS_MS, 60_000, -60_000];
        let pick = usize::try_from(self.choices.below(5)).unwrap_or(0);
        let small = i64::try_from(self.choices.below(5)).unwrap_or(0) - 2;
        let mut clock = LyingClock::new(self.me.clone(), offset.get(pick).copied().unwrap_or(0))
            .with_memory(small, small * 100);
        clock.on_frame(way, frame, wire);
    }

    fn answer(&mut self, message: Message) -> Frame {
        let lie = match self.choices.below(10) {
            0 => AnswerLie::Hide,
            1 => AnswerLie::Stale,
            2 => AnswerLie::Invent,
            3 => AnswerLie::Tear,
            4 => AnswerLie::OldClaim,
            5 => AnswerLie::Complete,
            6 => AnswerLie::TooManyStripes,
            7 => AnswerLie::Noise,
            8 => AnswerLie::Refuse(RefusalCode::Pending),
            _ => AnswerLie::Refuse(RefusalCode::OtherContent),
        };
        frame_of(&LyingAnswers::new(self.me.clone(), lie).told(message))
    }

    /// A message with its votes or certificates lied about; none if it has neither.
    fn votes(&mut self, message: &Message) -> Option<Frame> {
        let mut lie = message.clone();
        let forgery = usize::try_from(self.choices.below(8)).unwrap_or(0);
        let forgery = Forgery::ALL.get(forgery).copied().unwrap_or(Forgery::Signature);
        if self.choices.below(2) == 0 {
            let other = Commitment([u8::try_from(self.choices.below(3)).unwrap_or(0) + 1; 32]);
            equivocate(&self.me, &mut lie, Some(other));
        } else {
            each_cert(&mut lie, |cert| forgery.spoil(cert));
        }
        (lie != *message).then(|| frame_of(&lie))
    }
}

impl Tap for RandomLiar {
    fn on_frame(&mut self, way: Way, frame: Frame, wire: &mut Vec<Frame>) {
        let is_lie = self.choices.below(self.rate) == self.rate - 1;
        self.remember(&frame);
        if !is_lie {
            return wire.push(frame);
        }
        self.lies += 1;
        if self.choices.below(3) == 0 {
            return self.mistreat(frame, wire);
        }
        if let Some(frag) = Frag::of(&frame) {
            return wire.push(self.chunk(frag));
        }
        if frame.kind == kind::HEARTBEAT {
            return self.heartbeat(frame, way, wire);
        }
        let Some(message) = message_of(&frame) else { return self.mistreat(frame, wire) };
        match self.votes(&message) {
            Some(lie) => wire.push(lie),
            None if way.opened_by_sender => self.mistreat(frame, wire),
            None => wire.push(self.answer(message)),
        }
    }
}
