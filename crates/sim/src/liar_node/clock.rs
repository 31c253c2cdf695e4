//! Nodes whose heartbeats lie.

use avid_protocol::clock::Heartbeat;
use avid_protocol::wire::Message;
use avid_types::Timestamp;

use super::{Identity, frame_of, message_of};
use crate::tap::{Frame, Tap, Way};

/// Ten years, milliseconds.
pub const TEN_YEARS_MS: i64 = 10 * 365 * 24 * 3600 * 1000;

/// Signs heartbeats with another reading, boot counter or position than its own.
///
/// May: sign any heartbeat of its own. May not: touch votes, or the heartbeats of others. What its
/// handshakes say stays true; a clock that is wrong throughout is [`crate::world::World::skew`].
#[derive(Debug)]
pub struct LyingClock {
    me: Identity,
    /// Added to readings, milliseconds.
    pub offset_ms: i64,
    /// Added to the boot counter.
    pub boots: i64,
    /// Added to the journal position.
    pub positions: i64,
    /// Heartbeats changed.
    pub lies: u64,
}

impl LyingClock {
    /// A clock that is off by this much.
    #[must_use]
    pub fn new(me: Identity, offset_ms: i64) -> Self {
        Self { me, offset_ms, boots: 0, positions: 0, lies: 0 }
    }

    /// A node that counts its boots and its journal wrongly as well.
    #[must_use]
    pub fn with_memory(self, boots: i64, positions: i64) -> Self {
        Self { boots, positions, ..self }
    }

    fn lie(&self, told: Heartbeat) -> Heartbeat {
        Heartbeat {
            reading: Timestamp(told.reading.0.saturating_add_signed(self.offset_ms)),
            boot: told.boot.saturating_add_signed(self.boots),
            position: told.position.saturating_add_signed(self.positions),
            ..told
        }
    }
}

impl Tap for LyingClock {
    fn on_frame(&mut self, _: Way, frame: Frame, wire: &mut Vec<Frame>) {
        let Some(Message::Heartbeat(signed)) = message_of(&frame) else {
            return wire.push(frame);
        };
        let lie = self.lie(signed.heartbeat);
        self.lies += u64::from(lie != signed.heartbeat);
        wire.push(frame_of(&Message::Heartbeat(self.me.beat(lie))));
    }
}
