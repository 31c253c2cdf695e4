//! The protocol against liars, lost messages and broken bytes.
//!
//! One binary, so that the cluster of pure machines in `cluster` is compiled once. Nothing here
//! opens a socket or reads a clock: a run is a function of its seed.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "in a test a panic is the report"
)]

mod attacks;
mod cluster;
mod codec;
mod edges;
mod ends;
mod exhaustive;
mod golden;
mod random;
mod samples;
mod server;
mod verify;
mod world;
