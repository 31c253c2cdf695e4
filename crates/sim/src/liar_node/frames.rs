//! What a network may do to whole frames, and recordings of what crossed it.
//!
//! Links are TCP, which neither loses nor reorders; a middle box, or a bug of ours, might. Frames
//! between honest hosts are dropped, repeated and reordered here, and never changed.

use std::collections::BTreeMap;

use super::{Shared, shared};
use crate::network::HostId;
use crate::random::Random;
use crate::tap::{Frame, Tap, Way};

/// Hosts from this number on are not nodes.
const CLIENTS: u16 = 1000;

/// How often which fault strikes, in frames of a million.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Dropped.
    pub loss: u32,
    /// Sent twice.
    pub repeat: u32,
    /// Sent after the next frame of the same direction; lost if there is none.
    pub reorder: u32,
    /// Whether conversations with clients suffer too, or links between nodes only.
    pub clients: bool,
}

/// Drops, repeats and reorders whole frames.
#[derive(Debug)]
pub struct FrameNetwork {
    random: Random,
    rates: Rates,
    held: BTreeMap<(u64, HostId), Frame>,
    /// Frames struck, by fault: lost, repeated, reordered.
    pub struck: [u64; 3],
}

/// A network that mistreats frames; belongs behind everything that is sent.
#[must_use]
pub fn frame_network(seed: u64, rates: Rates) -> Shared<FrameNetwork> {
    let random = Random::new(seed, "frames");
    shared(FrameNetwork { random, rates, held: BTreeMap::new(), struck: [0; 3] })
}

impl FrameNetwork {
    /// Strikes as often as this from now on; [`Rates::default`] heals.
    pub fn set_rates(&mut self, rates: Rates) {
        self.rates = rates;
    }
}

impl Tap for FrameNetwork {
    fn on_frame(&mut self, way: Way, frame: Frame, wire: &mut Vec<Frame>) {
        let is_link = way.from.0 < CLIENTS && way.to.0 < CLIENTS;
        if !is_link && !self.rates.clients {
            return wire.push(frame);
        }
        let place = (way.connection, way.from);
        let [lost, repeated, reordered] = &mut self.struck;
        if self.random.chance(self.rates.loss) {
            *lost += 1;
        } else if self.random.chance(self.rates.repeat) {
            *repeated += 1;
            wire.extend([frame.clone(), frame]);
        } else if self.random.chance(self.rates.reorder) && !self.held.contains_key(&place) {
            *reordered += 1;
            self.held.insert(place, frame);
            return;
        } else {
            wire.push(frame);
        }
        wire.extend(self.held.remove(&place));
    }
}

/// Every frame that was sent, with where it went.
#[derive(Debug, Default)]
pub struct Recorder {
    /// In the order of sending.
    pub frames: Vec<(Way, Frame)>,
}

/// Records everything that is sent and changes nothing.
#[must_use]
pub fn recorder() -> Shared<Recorder> {
    shared(Recorder::default())
}

impl Tap for Recorder {
    fn on_frame(&mut self, way: Way, frame: Frame, wire: &mut Vec<Frame>) {
        self.frames.push((way, frame.clone()));
        wire.push(frame);
    }
}

impl Recorder {
    /// What one host said to another on each connection, in order.
    #[must_use]
    pub fn conversations(&self) -> Vec<(Way, Vec<Frame>)> {
        let mut conversations: BTreeMap<Way, Vec<Frame>> = BTreeMap::new();
        for (way, frame) in &self.frames {
            conversations.entry(*way).or_default().push(frame.clone());
        }
        let mut conversations: Vec<_> = conversations.into_iter().collect();
        conversations.sort_by_key(|(way, _)| way.connection);
        conversations
    }
}
