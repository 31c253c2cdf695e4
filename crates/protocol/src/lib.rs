//! The AVID-FP protocol: statements, certificates, wire messages and the pure machines of writer,
//! node and reader.
//!
//! Nothing here reads a clock, draws randomness, opens a socket or a file. A machine takes an
//! input and returns what should happen; the node, the client and the simulator run the same
//! machines with their own shells.
//!
//! Spec: docs/protocol.md.
//! Not here: bytes of objects (`coding`), durability (`store`), connections (`net`).

pub mod authority;
pub mod certificate;
pub mod clock;
pub mod fault;
pub mod object;
pub mod reader;
pub mod record;
pub mod server;
pub mod statement;
pub mod tally;
pub mod verify;
pub mod vote;
pub mod wire;
pub mod writer;
