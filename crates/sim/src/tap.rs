//! Frames on their way: seen, changed, dropped, repeated or added.
//!
//! A tap sits at the sending end of a connection. It sees every frame after the handshake, with
//! the two ends named, and puts on the wire what it likes. A tap of a lying node holds that node's
//! keys; a tap of the network holds none.

use std::fmt::Debug;

use avid_net::frame::HEADER_BYTES;

use crate::network::HostId;

/// One frame as it crosses the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Type of the message; those of the handshake are not tapped.
    pub kind: u8,
    /// Version of its encoding.
    pub version: u8,
    /// Its body.
    pub body: Vec<u8>,
}

impl Frame {
    /// The bytes on the wire.
    ///
    /// # Panics
    ///
    /// If the body is longer than a length can tell.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.body.len() + 2).expect("bodies are short here");
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend_from_slice(&[self.kind, self.version]);
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// The direction in which a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// Who sends it.
    pub from: HostId,
    /// Who is to receive it.
    pub to: HostId,
    /// Whether the sender had opened the connection: its requests, rather than its answers.
    pub opened_by_sender: bool,
    /// Which connection, counted from the start of the run.
    pub connection: u64,
}

/// Changes frames on their way.
pub trait Tap: Send + Sync + Debug {
    /// Takes one frame and appends what goes on the wire in its place.
    fn on_frame(&mut self, way: Way, frame: Frame, wire: &mut Vec<Frame>);
}

/// Cuts a stream of bytes into frames.
#[derive(Debug, Default)]
pub struct Cutter {
    bytes: Vec<u8>,
}

impl Cutter {
    /// Adds bytes and returns the frames that are complete.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Frame> {
        self.bytes.extend_from_slice(bytes);
        let mut frames = Vec::new();
        let mut start = 0;
        while let Some(header) = self.bytes.get(start..start + HEADER_BYTES) {
            let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
            let end = start + 4 + usize::try_from(length).expect("32 bits");
            let (kind, version) = (header[4], header[5]);
            let Some(body) = self.bytes.get(start + HEADER_BYTES..end.max(start + HEADER_BYTES))
            else {
                break;
            };
            frames.push(Frame { kind, version, body: body.to_vec() });
            start = end.max(start + HEADER_BYTES);
        }
        self.bytes.drain(..start);
        frames
    }
}
