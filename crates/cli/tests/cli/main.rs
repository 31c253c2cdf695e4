//! The built binary, from outside: files, arguments, exit codes, and clusters of real processes.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "in a test a panic is the report"
)]

mod bad_input;
mod cluster_faults;
mod cluster_objects;
mod support;
