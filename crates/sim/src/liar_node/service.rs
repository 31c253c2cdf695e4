//! Nodes that do not do what they are asked.

use std::collections::BTreeSet;

use avid_protocol::wire::{Message, RefusalCode, kind};

use super::frame_of;
use crate::network::HostId;
use crate::tap::{Frame, Tap, Way};

/// Shakes hands and says nothing more.
///
/// May: take everything it is sent, and store it. May not: answer anybody.
#[derive(Debug, Default)]
pub struct Silent {
    /// Frames kept back.
    pub lies: u64,
}

impl Tap for Silent {
    fn on_frame(&mut self, _: Way, _: Frame, _: &mut Vec<Frame>) {
        self.lies += 1;
    }
}

/// How a fragment is kept back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excuse {
    /// Nothing comes.
    Silence,
    /// A refusal comes in place of every chunk.
    Refusal(RefusalCode),
    /// Only every other chunk comes.
    Gaps,
}

/// Votes like an honest node and keeps its fragments to itself.
///
/// May: keep chunks back or refuse them. May not: change a chunk, a vote or any other answer.
#[derive(Debug)]
pub struct Withhold {
    excuse: Excuse,
    /// Chunks kept back.
    pub lies: u64,
    seen: u64,
}

impl Withhold {
    /// Keeps every fragment back in this way.
    #[must_use]
    pub fn new(excuse: Excuse) -> Self {
        Self { excuse, lies: 0, seen: 0 }
    }
}

impl Tap for Withhold {
    fn on_frame(&mut self, _: Way, frame: Frame, wire: &mut Vec<Frame>) {
        if frame.kind != kind::FRAG {
            return wire.push(frame);
        }
        self.seen += 1;
        match self.excuse {
            Excuse::Silence => {}
            Excuse::Refusal(code) => {
                wire.push(frame_of(&Message::refused(code, "not today")));
            }
            Excuse::Gaps if self.seen % 2 == 1 => return wire.push(frame),
            Excuse::Gaps => {}
        }
        self.lies += 1;
    }
}

/// Serves some hosts honestly and says nothing to all others.
///
/// May: choose whom to serve. May not: lie to those it serves.
#[derive(Debug)]
pub struct Selective {
    served: BTreeSet<HostId>,
    /// Frames kept from the others.
    pub lies: u64,
}

impl Selective {
    /// Serves these hosts only.
    pub fn new(served: impl IntoIterator<Item = HostId>) -> Self {
        Self { served: served.into_iter().collect(), lies: 0 }
    }
}

impl Tap for Selective {
    fn on_frame(&mut self, way: Way, frame: Frame, wire: &mut Vec<Frame>) {
        if self.served.contains(&way.to) {
            wire.push(frame);
        } else {
            self.lies += 1;
        }
    }
}
