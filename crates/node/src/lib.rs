//! One storage node: the synchronous core that owns the machines and the shell that runs its
//! effects.
//!
//! ```text
//!  clients ──► client connections ──► ingest workers ──► fragment files
//!                     │  ▲                  │
//!                     ▼  │ votes            ▼ "stored"
//!  peers ◄──► links ──► engine thread: Core ─► journal sync ─► sign ─► publish
//! ```
//! One thread owns all decisions: it takes what has gathered, steps the machines, makes one
//! journal sync, signs once, and only then answers and publishes. Bytes of objects never pass
//! through it.
//!
//! Spec: docs/protocol.md (rules of Mode P), docs/formats.md.
//! Bounds: every queue and map is named in `avid_types::limits` or beside its use.
//! Not here: protocol decisions (`avid_protocol`), files (`avid_store`), frames (`avid_net`).

pub mod core;
mod error;
pub mod fact;
#[doc(hidden)]
pub mod fuzzing;
mod shell;

pub use error::NodeError;
pub use fact::{Fact, Observe};
pub use shell::{Node, NodeConfig, open_data_dir};
