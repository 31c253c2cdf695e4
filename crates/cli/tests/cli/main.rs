//! The built binary, from outside: files, arguments, exit codes, and clusters of real processes.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "in a test a panic is the report; figures and seeds go to stderr"
)]

mod bad_input;
mod cluster_crashes;
mod cluster_disk;
mod cluster_evil;
mod cluster_faults;
mod cluster_kill_loop;
mod cluster_large;
mod cluster_objects;
mod demo;
mod evil;
mod random;
mod shipped;
mod support;
