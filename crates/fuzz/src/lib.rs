//! Fuzz targets: one function per decoder that a peer or a disk can reach.
//!
//! ```text
//! golden files, small worlds ──► seeds ──► mutated by proptest (CI)         ──► TARGETS[i].run
//!                                  └─────► mutated by libFuzzer (out of band) ──►      │
//!                             counting allocator of the test binary  ◄── peak ◄────────┘
//! ```
//! A target takes any bytes and returns; it panics when a claim about its decoder breaks:
//!
//! 1. no bytes make the decoder panic;
//! 2. what it accepts it would write again, byte for byte, where the format is canonical;
//! 3. what it accepts keeps the limits of `avid_types::limits`;
//! 4. its memory stays below [`Target::bound`], whatever the lengths inside say. The library only
//!    states the bound: the test binary and the fuzzer's own binary count.
//!
//! Formats with checksums get help: the targets of journal and fragment files repair checksums when
//! the first byte asks for it, since random changes would otherwise never get past them. An attacker
//! at the disk can do the same.
//!
//! Spec: docs/formats.md; docs/protocol.md WIRE-1.
//! Not here: the files of the command line (`cli::files`, tested there), conversations (`node`).

mod check;
mod config;
mod entry;
mod golden;
mod handshake;
mod objects;
mod store;
mod targets;
mod verify;
mod wire;

pub use config::{target_cluster_config, target_json};
pub use entry::{target_index_key, target_index_upload, target_journal_record};
pub use handshake::{
    target_accept, target_handshake_initiator, target_handshake_responder, target_hello,
    target_refusal,
};
pub use objects::{
    target_certificate, target_commit_proof, target_grant, target_heartbeat, target_manifest,
    target_open, target_order, target_predecessor, target_seal, target_upload_record, target_vote,
};
pub use store::{target_fragment, target_fragment_names, target_journal, target_store_identity};
pub use targets::{Bound, TARGETS, Target, find};
pub use verify::target_verify;
pub use wire::{
    target_chunk_prefix, target_cross_checksum, target_frag_prefix, target_frame_header,
    target_frame_stream, target_merkle_path, target_message,
};
