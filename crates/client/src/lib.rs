//! The public client: disperse, retrieve, list, delete and verify objects.
//!
//! ```text
//! disperse:  source ─► encode worker ─► one sender per slot ─► votes ─► committed ─► fill the rest
//! retrieve:  heads ─► commit proof ─► one lane per slot ─► check ─► ordered stripes ─► sink
//! ```
//! The client believes nothing but signatures and digests that lead to the pinned configuration:
//! whatever nodes answer, a sink receives the bytes its owner sealed or an error.
//!
//! Spec: docs/protocol.md READ-1, READ-2, READ-3, WRITE-1, COMMIT-1, HOLD-1, ID-1, FRESH-1.
//! Invariant: no byte reaches a [`Sink`] before hash and fingerprint were checked.
//! Bounds: a window of stripes per operation, whatever the object's size.
//! Not here: quorums (`types`), decisions (`protocol`), frames (`net`), files and flags (`cli`).

mod buffer;
mod client;
mod config;
mod disperse;
mod fault;
mod fill;
mod head;
mod list;
mod order;
mod patience;
mod pool;
mod progress;
mod retrieve;
mod session;
mod sink;
mod source;
mod stat;
mod verify;

pub use avid_net::{Host, SystemHost};
pub use client::{Client, ObjectRef};
pub use config::{ClientConfig, Timeouts};
pub use disperse::{DisperseError, DisperseOptions, DisperseReport};
pub use fault::{FaultKind, NodeFailure, NodeFault};
pub use list::{ListError, ListResult, ListedObject};
pub use order::{CancelReport, OrderError, RemoveReport};
pub use progress::{Progress, Silent};
pub use retrieve::{RetrieveError, RetrieveErrorKind, RetrieveReport};
pub use session::NodeError;
pub use sink::{FileSink, Sink, SinkFuture, WriterSink};
pub use source::{Source, SourceError};
pub use stat::{NodeStatus, ObjectState, ObjectStatus, SlotClaim, StatError};
pub use verify::{SlotHealth, SlotReport, VerifyObjectError, VerifyReport};
