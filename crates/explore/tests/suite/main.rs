//! Exhaustive exploration: the production machine of a node in a cluster of four.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "in a test a panic is the report"
)]
#![expect(clippy::print_stdout, reason = "sizes and attacks are what is read of a run")]

mod automaton;
mod canaries;
mod event;
mod large;
mod models;
mod node;
mod system;
mod world;
