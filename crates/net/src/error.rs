//! What goes wrong on a connection, with what was expected, what was found, and what to do.
//!
//! Spec: docs/protocol.md section 5.3.
//! Not here: errors of resolving and connecting ([`mod@crate::dial`]), of binding ([`crate::listener`]).

use std::io;
use std::time::Duration;

use avid_types::{ClusterId, DecodeError, Digest, Epoch, PublicKey};

use crate::handshake::{Refusal, RefusalCode, Role};

/// Whether the same attempt may succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The cause may pass by itself.
    Later,
    /// Somebody has to change a file or a flag first.
    AfterChange,
}

/// A frame could not be moved.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The socket failed.
    #[error("connection failed while {doing}")]
    Io {
        /// What was going on.
        doing: &'static str,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The peer closed in the middle of a frame.
    #[error("peer closed the connection {missing} bytes before the end of a frame")]
    ClosedInFrame {
        /// Bytes that were announced and did not come.
        missing: usize,
    },
    /// A frame's length does not even cover its type and version.
    #[error("frame length is {length}, at least 2 is required; the peer speaks another protocol")]
    FrameTooShort {
        /// The length found.
        length: usize,
    },
    /// A frame is longer than the phase of the connection allows.
    #[error("frame body has {body_bytes} bytes, limit {max}")]
    FrameTooLong {
        /// Length of the body.
        body_bytes: usize,
        /// Longest allowed now.
        max: usize,
    },
    /// A type that only the handshake uses, after the handshake.
    #[error("frame has type {kind}, which only the handshake uses")]
    ReservedKind {
        /// The type found.
        kind: u8,
    },
    /// A control frame is longer than control frames may be.
    #[error("control frame has a body of {body_bytes} bytes, limit {max}")]
    ControlTooLong {
        /// Length of the body.
        body_bytes: usize,
        /// Longest allowed.
        max: usize,
    },
    /// The next frame was asked for before the body of the current one was used up.
    #[error("{left} bytes of the current frame are still unread")]
    BodyUnread {
        /// Bytes not yet taken.
        left: usize,
    },
    /// More bytes were asked for than the body has.
    #[error("{asked} bytes were asked of a frame that has {left} left")]
    BodyTooShort {
        /// Bytes asked for.
        asked: usize,
        /// Bytes there are.
        left: usize,
    },
    /// An earlier error or cancellation left this half between frames.
    #[error("connection was broken by an earlier failure")]
    Broken,
    /// The peer was silent for too long.
    #[error("peer was silent for {} s while {doing}", limit.as_secs_f32())]
    Silent {
        /// What was going on.
        doing: &'static str,
        /// How long we waited.
        limit: Duration,
    },
}

impl LinkError {
    pub(crate) fn receiving(source: io::Error) -> Self {
        Self::Io { doing: "receiving", source }
    }

    pub(crate) fn sending(source: io::Error) -> Self {
        Self::Io { doing: "sending", source }
    }
}

/// Two processes did not come to know each other.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The connection failed underneath.
    #[error("connection failed during the handshake")]
    Link(#[from] LinkError),
    /// The peer closed without an answer.
    #[error("peer closed the connection during the handshake; look at its log for the reason")]
    Closed,
    /// The handshake took too long.
    #[error("handshake did not finish within {} s; is the address a node's?", limit.as_secs_f32())]
    Timeout {
        /// How long we waited.
        limit: Duration,
    },
    /// The operating system gave no random bytes.
    #[error("no random bytes for the handshake: {0}")]
    Random(std::io::Error),
    /// The first bytes are not ours.
    #[error("peer speaks another protocol; check the address and port")]
    OtherProtocol,
    /// A message of the handshake is malformed.
    #[error("handshake message is malformed")]
    Malformed(#[from] DecodeError),
    /// Another message was due.
    #[error("peer sent a frame of type {found} where type {expected} was due")]
    Unexpected {
        /// Type that was due.
        expected: u8,
        /// Type found.
        found: u8,
    },
    /// No common version of application frames.
    #[error(
        "we speak frame versions {}-{}, the peer {}-{}; upgrade the older side",
        ours.0, ours.1, theirs.0, theirs.1
    )]
    Version {
        /// Oldest and newest version here.
        ours: (u8, u8),
        /// Oldest and newest version there.
        theirs: (u8, u8),
    },
    /// The peer belongs to another cluster.
    #[error(
        "foreign cluster: we belong to {ours}, the peer to {theirs}; \
         check the address, or use the configuration exported by that cluster"
    )]
    ForeignCluster {
        /// Our cluster.
        ours: ClusterId,
        /// The peer's.
        theirs: ClusterId,
    },
    /// The peer has another configuration of the same cluster.
    #[error(
        "other configuration: ours is epoch {} ({}), the peer's epoch {} ({}); \
         export the current configuration from the cluster and give it to both sides",
        ours.0, ours.1, theirs.0, theirs.1
    )]
    OtherConfiguration {
        /// Our epoch and configuration digest.
        ours: (Epoch, Digest),
        /// The peer's.
        theirs: (Epoch, Digest),
    },
    /// The peer is not the node we dialled.
    #[error(
        "wrong key: expected node {expected}, found {found}; \
         check the address, or that the node runs with its own key file"
    )]
    WrongKey {
        /// Transport key of the node that was dialled.
        expected: PublicKey,
        /// Key of the process that answered.
        found: PublicKey,
    },
    /// The peer takes part as something it cannot be on this connection.
    #[error("peer answered as a {found}, expected a {expected}; check the address")]
    WrongRole {
        /// Role that was due.
        expected: Role,
        /// Role found.
        found: Role,
    },
    /// The peer shows our own key.
    #[error(
        "peer shows our own key {key}: this process dialled itself, our message was reflected, \
         or two processes share a key file; give each its own key"
    )]
    OwnKey {
        /// The key on both sides.
        key: PublicKey,
    },
    /// The peer does not hold the key it shows.
    #[error("peer did not prove its key {key}; it has no right to it, or something alters bytes")]
    BadSignature {
        /// The key shown.
        key: PublicKey,
    },
    /// The peer refused us.
    #[error("peer refused the connection: {0}")]
    Refused(Refusal),
    /// We refused the peer.
    #[error("peer was not admitted: {0}")]
    NotAdmitted(Refusal),
    /// A payload of ours exceeds its limit.
    #[error("handshake payload has {bytes} bytes, limit {max}; shorten it")]
    PayloadTooLong {
        /// Its length.
        bytes: usize,
        /// Longest allowed.
        max: usize,
    },
}

impl HandshakeError {
    /// Whether the same attempt may succeed without a change of keys, files or flags.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Link(_) | Self::Closed | Self::Timeout { .. } | Self::Random(_) => Retry::Later,
            Self::Refused(refusal) => refusal.code.retry(),
            Self::OtherProtocol
            | Self::Malformed(_)
            | Self::Unexpected { .. }
            | Self::Version { .. }
            | Self::ForeignCluster { .. }
            | Self::OtherConfiguration { .. }
            | Self::WrongKey { .. }
            | Self::WrongRole { .. }
            | Self::OwnKey { .. }
            | Self::BadSignature { .. }
            | Self::NotAdmitted(_)
            | Self::PayloadTooLong { .. } => Retry::AfterChange,
        }
    }

    /// What we tell the peer, if telling makes sense.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        let code = match self {
            Self::NotAdmitted(refusal) => return Some(refusal.clone()),
            Self::Link(_)
            | Self::Closed
            | Self::Timeout { .. }
            | Self::Random(_)
            | Self::OtherProtocol
            | Self::Refused(_)
            | Self::PayloadTooLong { .. } => return None,
            Self::Malformed(_) | Self::Unexpected { .. } => RefusalCode::Malformed,
            Self::Version { .. } => RefusalCode::Version,
            Self::ForeignCluster { .. } => RefusalCode::ForeignCluster,
            Self::OtherConfiguration { .. } => RefusalCode::OtherConfiguration,
            Self::WrongKey { .. }
            | Self::WrongRole { .. }
            | Self::OwnKey { .. }
            | Self::BadSignature { .. } => RefusalCode::WrongKey,
        };
        // Our sentences speak of "the peer", which is the reader of this one: it gets the fact.
        Some(Refusal::new(code, code.sentence()))
    }
}
