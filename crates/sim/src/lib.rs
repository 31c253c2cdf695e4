//! Deterministic simulator: the production node, client and store on virtual time, network and
//! disks, under faults, lying nodes and lying clients.
//!
//! ```text
//!  seed ─► scenario ─► world ─► node 0 … node n-1, clients   (production code)
//!                        │            │ host      │ disk
//!                        │         network     MemoryDisk    (virtual, with faults)
//!                        └─► checker ◄─ facts and results, after every step
//! ```
//! Nothing in the tested code knows that it is simulated: it gets its time, randomness, threads
//! and network from a [`host::SimHost`] and its disk from a memory disk, where production has the
//! operating system. Liars are honest nodes whose frames pass through a [`tap::Tap`] that holds
//! their keys, and clients that speak raw frames.
//!
//! Spec: docs/protocol.md; docs/TESTING.md says which fault is injected how.
//! Not here: anything production uses. Nobody depends on this crate.

pub mod alarms;
#[cfg(feature = "canary")]
pub mod canaries;
pub mod checker;
pub mod disk_faults;
pub mod host;
pub mod liar_client;
pub mod liar_node;
pub mod network;
pub mod plan;
pub mod random;
pub mod runtime;
pub mod shrink;
pub mod swarm;
pub mod tap;
pub mod tapped_host;
pub mod trace;
pub mod world;

#[cfg(not(any(tokio_unstable, doc)))]
compile_error!(
    "the simulator needs --cfg tokio_unstable, which .cargo/config.toml sets; RUSTFLAGS in the \
     environment replaces it: unset RUSTFLAGS or add the flag to it"
);
