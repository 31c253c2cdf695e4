//! Authenticated links: frames, handshake and bounded connections.
//!
//! Everything two processes of a cluster say to each other travels in frames on one TCP
//! connection, after a handshake in which both sides prove their transport or client key and
//! agree on cluster, epoch and configuration. This crate moves bytes and says who sent them; it
//! decides nothing about objects or votes.
//!
//! ```text
//! dial / link ──► Stream ──► handshake ──► Connection ──► FrameReader + FrameWriter
//! listener    ──►                │
//!                                └─ Admit: the owner of the listener decides who may enter
//! ```
//!
//! Spec: docs/protocol.md AMNESIA-1 (the payloads of the handshake), section 5.1 (frames), 5.3.
//! Bounds: [`listener::ListenerLimits`] connections, one frame per connection.
//! Not here: what a frame means (`protocol`), who is admitted (`node`), resending (`node`).

pub mod connection;
pub mod dial;
pub mod error;
pub mod frame;
pub mod handshake;
pub mod host;
pub mod link;
pub mod listener;
pub mod stop;
pub mod stream;

pub use connection::{Connection, FrameReader, FrameWriter, Peer, within};
pub use dial::{Attempt, AttemptError, DialError, DialTarget, DialTimeouts, dial};
pub use error::{HandshakeError, LinkError, Retry};
pub use frame::{FRAME_VERSION_NEWEST, FRAME_VERSION_OLDEST, FrameHeader, KIND_HANDSHAKE_MIN};
pub use handshake::{Admit, Hello, HelloNonce, Local, Refusal, RefusalCode, Role};
pub use host::{Host, HostParts, SystemHost, Work, WorkStopped};
pub use link::{Backoff, LinkState, LinkStatus, PeerLink};
pub use listener::{BindError, Listener, ListenerLimits};
pub use stop::{Stop, StopHandle};
pub use stream::Stream;
