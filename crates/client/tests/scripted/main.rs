//! The client through real frames, against scripted peers in one process.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "in a test a panic is the report"
)]

mod common;
mod patience;
mod pipelines;
