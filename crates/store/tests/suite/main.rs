//! Faults of disks against the store: crashes at every change, errors, lies and rot.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "in a test a panic is the report"
)]

mod crashes;
mod damage;
mod full;
mod world;
