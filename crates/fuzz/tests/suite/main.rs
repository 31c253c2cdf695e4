//! Every target under mutation, with its memory counted.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "in a test a panic is the report"
)]

mod counting;
mod mutation;
mod properties;

#[global_allocator]
static COUNTED: counting::Counting = counting::Counting;
