//! Exhaustive exploration: the production machine of a node in a cluster of four.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "in a test a panic is the report"
)]

mod automaton;
mod canaries;
mod event;
mod models;
mod node;
mod system;
mod world;
