//! Disks that stop, fill up, rot or come back old, under the production node and client.
//!
//! Crash points are enumerated, not drawn: an operation runs once on a healthy cluster to count the
//! changes of stored state it makes at a node, and then once for each of them with the power cut
//! there. What happened until then repeats to the byte, since every run follows from its seed.
//!
//! `AVID_TEST_BIG=yes` runs the full product of crash points, kinds of crash and shapes; else each
//! crash point meets one kind of crash in turn.
//!
//! Spec: docs/protocol.md section 6, scenarios 23 and 30; AMNESIA-1.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "in a test a panic is the report"
)]

#[path = "crashes/every_change.rs"]
mod every_change;
#[path = "crashes/failing.rs"]
mod failing;
#[path = "crashes/identity.rs"]
mod identity;
#[path = "crashes/operations.rs"]
mod operations;
#[path = "crashes/orphan.rs"]
mod orphan;
#[path = "crashes/rot.rs"]
mod rot;
#[path = "crashes/setup.rs"]
mod setup;
#[path = "crashes/site.rs"]
mod site;
