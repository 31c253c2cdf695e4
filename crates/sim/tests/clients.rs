//! Lying clients against the production node and client.
//!
//! One module per theme; every test names its scenario. An honest client writes and reads all the
//! while, and must be able to go on. All runs are in virtual time and follow from their seeds.
//!
//! Spec: docs/protocol.md section 6, scenarios 1 to 9, 11, 15, 16, and the attacks by clients of
//! sections 1.7 and 5.3.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "in a test a panic is the report"
)]

#[path = "clients/contents.rs"]
mod contents;
#[path = "clients/endings.rs"]
mod endings;
#[path = "clients/limits.rs"]
mod limits;
#[path = "clients/points.rs"]
mod points;
#[path = "clients/random.rs"]
mod random;
#[path = "clients/setup.rs"]
mod setup;
#[path = "clients/sizes.rs"]
mod sizes;
#[path = "clients/strangers.rs"]
mod strangers;
