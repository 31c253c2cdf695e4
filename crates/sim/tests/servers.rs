//! Lying and failing nodes, networks and clocks against the production node and client.
//!
//! One module per theme; every test names its scenario. All runs are in virtual time and follow
//! from their seeds: a test that fails once fails always.
//!
//! Spec: docs/protocol.md section 6, scenarios 17 to 22, 28, 29, 31 to 36, 40, 42; section 1.5.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "in a test a panic is the report"
)]

#[path = "servers/adversaries.rs"]
mod adversaries;
#[path = "servers/corruption.rs"]
mod corruption;
#[path = "servers/networks.rs"]
mod networks;
#[path = "servers/replay.rs"]
mod replay;
#[path = "servers/setup.rs"]
mod setup;
#[path = "servers/silence.rs"]
mod silence;
#[path = "servers/times.rs"]
mod times;
#[path = "servers/votes.rs"]
mod votes;
