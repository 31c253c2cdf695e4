//! The table of all targets.

use crate::{config, entry, golden, handshake, objects, store, verify, wire};

/// One decoder under test.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: that of its binary and of its corpus.
    pub name: &'static str,
    /// Decodes the bytes and checks what comes out; panics where a claim breaks.
    pub run: fn(&[u8]),
    /// Valid inputs, and some at the edges of limits, to start mutation from.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Most memory one run may hold at once.
    pub bound: Bound,
}

/// A bound on memory, linear in the length of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Bytes whatever the input.
    pub fixed: usize,
    /// Bytes for each byte of input.
    pub per_byte: usize,
}

impl Bound {
    /// Most bytes for an input of this length.
    #[must_use]
    pub fn of(self, input_bytes: usize) -> usize {
        self.fixed + self.per_byte * input_bytes
    }
}

/// Values of a few kilobytes: three copies while they are written again, and what a list reserves
/// before its items are read (a certificate of 255 entries: 27 KiB).
const SMALL: Bound = Bound { fixed: 32 << 10, per_byte: 8 };
/// A list of `CLUSTER_NODES_MAX` members is reserved before its items are read.
const MEMBERS: Bound = Bound { fixed: 640 << 10, per_byte: 8 };
/// Every value of JSON is a node of a tree: 32 bytes for the two of `0,`, in vectors that double.
const JSON: Bound = Bound { fixed: 64 << 10, per_byte: 128 };
/// A body is read into a buffer of the length its header states, at most a control frame's; the
/// reader's own buffer; the runtime that keeps the deadlines.
const STREAM: Bound = Bound { fixed: (1 << 20) + (192 << 10), per_byte: 8 };
/// As [`STREAM`], with frames of the handshake instead of control frames.
const HANDSHAKE: Bound = Bound { fixed: 256 << 10, per_byte: 8 };
/// The block in which a batch is searched; the disk in memory keeps three copies of a file, the
/// target the records.
const JOURNAL: Bound = Bound { fixed: (1 << 20) + (256 << 10), per_byte: 24 };
/// Two blocks of 256 KiB at most; the disk in memory keeps three copies of a file.
const FRAGMENT: Bound = Bound { fixed: 256 << 10, per_byte: 16 };
/// Directories of names on a disk in memory.
const NAMES: Bound = Bound { fixed: 64 << 10, per_byte: 64 };
/// Golden values are read to compare with whatever verified.
const VERIFY: Bound = Bound { fixed: 128 << 10, per_byte: 16 };

type Seeds = fn() -> Vec<Vec<u8>>;

const fn target(name: &'static str, run: fn(&[u8]), seeds: Seeds, bound: Bound) -> Target {
    Target { name, run, seeds, bound }
}

/// Every target, by layer.
pub const TARGETS: &[Target] = &[
    target("frame_header", wire::target_frame_header, wire::frame_header_seeds, SMALL),
    target("frame_stream", wire::target_frame_stream, wire::frame_stream_seeds, STREAM),
    target("hello", handshake::target_hello, handshake::hello_seeds, SMALL),
    target("accept", handshake::target_accept, handshake::accept_seeds, SMALL),
    target("refusal", handshake::target_refusal, handshake::refusal_seeds, SMALL),
    target(
        "handshake_responder",
        handshake::target_handshake_responder,
        handshake::responder_seeds,
        HANDSHAKE,
    ),
    target(
        "handshake_initiator",
        handshake::target_handshake_initiator,
        handshake::initiator_seeds,
        HANDSHAKE,
    ),
    target("message", wire::target_message, golden::message_bytes, SMALL),
    target("verify", verify::target_verify, golden::message_bytes, VERIFY),
    target("chunk_prefix", wire::target_chunk_prefix, wire::chunk_prefix_seeds, SMALL),
    target("frag_prefix", wire::target_frag_prefix, wire::frag_prefix_seeds, SMALL),
    target("cross_checksum", wire::target_cross_checksum, wire::cross_checksum_seeds, SMALL),
    target("merkle_path", wire::target_merkle_path, wire::merkle_path_seeds, SMALL),
    target("open", objects::target_open, objects::open_seeds, SMALL),
    target("manifest", objects::target_manifest, objects::manifest_seeds, SMALL),
    target("seal", objects::target_seal, objects::seal_seeds, SMALL),
    target("order", objects::target_order, objects::order_seeds, SMALL),
    target("vote", objects::target_vote, objects::vote_seeds, SMALL),
    target("certificate", objects::target_certificate, objects::certificate_seeds, SMALL),
    target("commit_proof", objects::target_commit_proof, objects::commit_proof_seeds, SMALL),
    target("predecessor", objects::target_predecessor, objects::predecessor_seeds, SMALL),
    target("grant", objects::target_grant, objects::grant_seeds, SMALL),
    target("heartbeat", objects::target_heartbeat, objects::heartbeat_seeds, SMALL),
    target("upload_record", objects::target_upload_record, golden::records, SMALL),
    target("journal", store::target_journal, store::journal_seeds, JOURNAL),
    target("fragment", store::target_fragment, store::fragment_seeds, FRAGMENT),
    target("fragment_names", store::target_fragment_names, store::fragment_name_seeds, NAMES),
    target("store_identity", store::target_store_identity, store::store_identity_seeds, FRAGMENT),
    target("journal_record", entry::target_journal_record, entry::journal_record_seeds, SMALL),
    target("index_upload", entry::target_index_upload, entry::index_upload_seeds, SMALL),
    target("index_key", entry::target_index_key, entry::index_key_seeds, SMALL),
    target("cluster_config", config::target_cluster_config, config::cluster_config_seeds, MEMBERS),
    target("json", config::target_json, config::json_seeds, JSON),
];

/// The target of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
