//! The frame: the unit that crosses a connection.
//!
//! ```text
//! offset  0        4      5         6
//!         ┌────────┬──────┬─────────┬──────────────────────┐
//!         │ length │ type │ version │ body                 │
//!         │ u32 LE │ u8   │ u8      │ length - 2 bytes     │
//!         └────────┴──────┴─────────┴──────────────────────┘
//! length counts what follows it: type, version and body.
//! ```
//!
//! Types from [`KIND_HANDSHAKE_MIN`] up belong to the handshake and never appear after it. The
//! length is compared with the cap of the connection's phase before anything is allocated or read.
//!
//! Spec: docs/protocol.md section 5.1.
//! Bounds: [`FrameCap`].
//! Not here: bodies of the handshake ([`crate::handshake`]), of everything else (`protocol`).

use avid_types::limits::FRAME_BYTES_MAX;

use crate::error::LinkError;

/// Oldest version of application frames this build speaks.
pub const FRAME_VERSION_OLDEST: u8 = 1;
/// Newest version of application frames this build speaks.
pub const FRAME_VERSION_NEWEST: u8 = 1;
/// Smallest type of a frame of the handshake; everything else uses types below it.
pub const KIND_HANDSHAKE_MIN: u8 = 0xf0;
/// Bytes before the body: length, type, version.
pub const HEADER_BYTES: usize = 6;
/// Longest opaque payload of a handshake message, bytes: a grant, a cursor, a revocation list.
pub const HANDSHAKE_PAYLOAD_BYTES_MAX: usize = 64 << 10;
/// Longest frame before a peer has proved who it is: one payload and a page of fixed fields.
pub const HANDSHAKE_FRAME_BYTES_MAX: usize = (4 << 10) + HANDSHAKE_PAYLOAD_BYTES_MAX;

/// Bytes that the length field counts beside the body: type and version.
const COUNTED_BYTES: usize = 2;

/// What stands before a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Type of the message.
    pub kind: u8,
    /// Version of its encoding.
    pub version: u8,
    /// Length of the body.
    pub body_bytes: usize,
}

/// Longest frame a connection accepts in its present phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameCap {
    /// The peer is not authenticated yet.
    Handshake,
    /// The handshake has finished.
    Open,
}

impl FrameCap {
    /// Longest frame, header included.
    #[must_use]
    pub const fn frame_bytes_max(self) -> usize {
        match self {
            Self::Handshake => HANDSHAKE_FRAME_BYTES_MAX,
            Self::Open => FRAME_BYTES_MAX,
        }
    }

    fn check_kind(self, kind: u8) -> Result<(), LinkError> {
        if self == Self::Open && kind >= KIND_HANDSHAKE_MIN {
            return Err(LinkError::ReservedKind { kind });
        }
        Ok(())
    }
}

impl FrameHeader {
    /// Reads a header and checks its length against the cap.
    ///
    /// # Errors
    ///
    /// [`LinkError::FrameTooShort`] if the length does not cover type and version,
    /// [`LinkError::FrameTooLong`] if it exceeds the cap, [`LinkError::ReservedKind`] if the type
    /// belongs to a handshake that is over.
    pub fn decode(bytes: [u8; HEADER_BYTES], cap: FrameCap) -> Result<Self, LinkError> {
        let [l0, l1, l2, l3, kind, version] = bytes;
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some(body_bytes) = length.checked_sub(COUNTED_BYTES) else {
            return Err(LinkError::FrameTooShort { length });
        };
        let max = cap.frame_bytes_max();
        if body_bytes > max - HEADER_BYTES {
            return Err(LinkError::FrameTooLong { body_bytes, max: max - HEADER_BYTES });
        }
        cap.check_kind(kind)?;
        Ok(Self { kind, version, body_bytes })
    }

    /// The six bytes that announce this frame.
    ///
    /// # Errors
    ///
    /// [`LinkError::FrameTooLong`] if the body exceeds the cap: the peer would refuse it;
    /// [`LinkError::ReservedKind`] likewise.
    pub fn encode(self, cap: FrameCap) -> Result<[u8; HEADER_BYTES], LinkError> {
        cap.check_kind(self.kind)?;
        let max = cap.frame_bytes_max() - HEADER_BYTES;
        let too_long = LinkError::FrameTooLong { body_bytes: self.body_bytes, max };
        if self.body_bytes > max {
            return Err(too_long);
        }
        let Ok(length) = u32::try_from(self.body_bytes + COUNTED_BYTES) else {
            return Err(too_long);
        };
        let [l0, l1, l2, l3] = length.to_le_bytes();
        Ok([l0, l1, l2, l3, self.kind, self.version])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_bytes_are_frozen() {
        let header = FrameHeader { kind: 0x21, version: 1, body_bytes: 0x0102 };
        let bytes = header.encode(FrameCap::Open).unwrap();
        assert_eq!(bytes, [0x04, 0x01, 0, 0, 0x21, 1]);
        assert_eq!(FrameHeader::decode(bytes, FrameCap::Open).unwrap(), header);
    }

    #[test]
    fn each_phase_accepts_exactly_its_cap() {
        for cap in [FrameCap::Handshake, FrameCap::Open] {
            let longest = cap.frame_bytes_max() - HEADER_BYTES;
            let at = |body_bytes| FrameHeader { kind: 20, version: 1, body_bytes };
            let bytes = at(longest).encode(cap).unwrap();
            assert_eq!(FrameHeader::decode(bytes, cap).unwrap().body_bytes, longest);
            assert!(at(longest + 1).encode(cap).is_err());
            let over = u32::try_from(longest + 3).unwrap().to_le_bytes();
            let found = FrameHeader::decode([over[0], over[1], over[2], over[3], 20, 1], cap);
            assert!(matches!(found, Err(LinkError::FrameTooLong { .. })), "{found:?}");
        }
    }

    #[test]
    fn types_of_the_handshake_end_with_it() {
        let bytes = [2, 0, 0, 0, KIND_HANDSHAKE_MIN, 1];
        assert!(FrameHeader::decode(bytes, FrameCap::Handshake).is_ok());
        let found = FrameHeader::decode(bytes, FrameCap::Open);
        assert!(
            matches!(found, Err(LinkError::ReservedKind { kind: KIND_HANDSHAKE_MIN })),
            "{found:?}"
        );
        let header = FrameHeader { kind: KIND_HANDSHAKE_MIN, version: 1, body_bytes: 0 };
        assert!(header.encode(FrameCap::Open).is_err());
    }

    #[test]
    fn a_length_without_type_and_version_is_refused() {
        for length in [0u8, 1] {
            let found = FrameHeader::decode([length, 0, 0, 0, 1, 1], FrameCap::Open);
            assert!(matches!(found, Err(LinkError::FrameTooShort { .. })), "{found:?}");
        }
    }
}
