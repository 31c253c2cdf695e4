//! Every limit, in one place, with the reason beside it.
//!
//! A limit holds for hostile input: decoders and queues check it before they allocate.

use std::time::Duration;

/// Longest object name, bytes of UTF-8: the S3 key limit, so that a gateway maps one to one.
pub const NAME_BYTES_MAX: usize = 1024;
/// Nodes in a placement group: a slot is one byte and the code lives in GF(2^8).
pub const GROUP_NODES_MAX: usize = 255;
/// Nodes in a cluster: a configuration stays below one control frame.
pub const CLUSTER_NODES_MAX: usize = 4096;
/// Placement groups of a cluster.
pub const GROUPS_MAX: usize = 4096;
/// Smallest chunk, bytes: below it the 16-byte fingerprints stop being small beside the data.
pub const CHUNK_BYTES_MIN: u32 = 4 << 10;
/// Largest chunk, bytes: a stripe of 255 chunks still fits in memory.
pub const CHUNK_BYTES_MAX: u32 = 4 << 20;
/// A chunk is a multiple of this: one superblock of the fingerprint.
pub const CHUNK_BYTES_STEP: u32 = 1 << 10;
/// Default chunk, bytes: five of them stay in a 2 MiB second-level cache from encoder to socket.
pub const CHUNK_BYTES_DEFAULT: u32 = 256 << 10;
/// Leaf of the hash tree over one chunk, bytes: sixteen leaves fill the lanes of one AVX-512 hash.
pub const LEAF_BYTES: usize = 16 << 10;
/// Longest object, bytes: 64 TiB, so that stripe arithmetic in `u64` cannot overflow anywhere.
pub const OBJECT_BYTES_MAX: u64 = 64 << 40;
/// Levels of a Merkle tree over stripes: 2^40 stripes exceed the largest object of smallest chunks.
pub const STRIPE_PATH_MAX: usize = 40;
/// Statements under one signature, hence levels of a vote's Merkle path.
pub const BATCH_STATEMENTS_MAX: usize = 4096;
/// Levels of the Merkle path of a vote: log2 of [`BATCH_STATEMENTS_MAX`].
pub const BATCH_PATH_MAX: usize = 12;
/// Largest frame that carries no chunk, bytes: a page of a listing, a certificate of 255 nodes.
pub const CONTROL_FRAME_BYTES_MAX: usize = 1 << 20;
/// Room for what stands beside the data in a chunk frame: cross-checksum and Merkle path.
pub const CHUNK_OVERHEAD_BYTES_MAX: usize = 16 << 10;
/// Largest frame of all, bytes.
pub const FRAME_BYTES_MAX: usize = CHUNK_BYTES_MAX as usize + CHUNK_OVERHEAD_BYTES_MAX;
/// Longest network address in a configuration, bytes: a DNS name and a port.
pub const ADDRESS_BYTES_MAX: usize = 262;
/// Longest node name, zone or message, bytes.
pub const LABEL_BYTES_MAX: usize = 256;
/// Entries of one page of a listing: about 2 KiB each with certificate, below a control frame.
pub const LIST_PAGE_MAX: usize = 128;
/// Dispersals one owner may have open at one node (protocol.md section 5.3, lurking writes).
pub const OPEN_UPLOADS_PER_OWNER_MAX: usize = 64;
/// Ended uploads (aborted or deleted) one owner may leave on record at one node, for ever: about
/// 300 bytes each. Beyond, nothing new opens; what is stored can always be deleted.
pub const ENDED_UPLOADS_PER_OWNER_MAX: u64 = 1 << 20;
/// How far ahead of cluster time an object may expire, at most: a hundred years.
pub const OBJECT_LIFETIME_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// Dispersals open at one node in all.
pub const OPEN_UPLOADS_MAX: usize = 4096;
/// Uploads whose machine a node keeps in memory; others are read back from the index.
pub const RESIDENT_UPLOADS_MAX: usize = 16_384;
/// Connections a node serves at once.
pub const CONNECTIONS_MAX: usize = 1024;
/// Chunks between socket and disk of one dispersal stream.
pub const CHUNKS_IN_FLIGHT_MAX: usize = 4;
/// Stripes the writer may be ahead of a node before that node counts as late.
pub const WRITER_WINDOW_STRIPES: usize = 16;
/// Stripes the reader requests ahead of its output.
pub const READER_WINDOW_STRIPES: usize = 8;
/// How long an OPEN may promise: a client asks for at most this.
pub const OPEN_LIFETIME_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long an OPEN promises unless told otherwise.
pub const OPEN_LIFETIME_DEFAULT: Duration = Duration::from_secs(24 * 3600);
/// How long a handshake may take: three round trips over any link we know.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connected client may be silent inside an operation (slow-drip).
pub const CLIENT_IDLE_MAX: Duration = Duration::from_secs(60);
/// How long a node waits for an undelivered upload before it answers `Pending` (READ-2).
pub const PENDING_WAIT_MAX: Duration = Duration::from_secs(2);

const _: () = assert!(CHUNK_BYTES_MIN.is_multiple_of(CHUNK_BYTES_STEP));
const _: () = assert!(CHUNK_BYTES_MAX.is_multiple_of(CHUNK_BYTES_STEP));
const _: () = assert!(BATCH_STATEMENTS_MAX == 1 << BATCH_PATH_MAX);
const _: () = assert!(CONTROL_FRAME_BYTES_MAX <= FRAME_BYTES_MAX);
const _: () = assert!(CHUNK_OVERHEAD_BYTES_MAX >= 48 * GROUP_NODES_MAX + 33 * STRIPE_PATH_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    /// Builds meet on the wire and on disks: a limit that moves refuses what another build wrote.
    #[test]
    fn limits_that_other_builds_rely_on_do_not_move() {
        assert_eq!([CHUNK_BYTES_MIN, CHUNK_BYTES_STEP], [4096, 1024]);
        assert_eq!([CHUNK_BYTES_DEFAULT, CHUNK_BYTES_MAX], [262_144, 4_194_304]);
        assert_eq!(OBJECT_BYTES_MAX, 70_368_744_177_664);
        assert_eq!(LEAF_BYTES, 16_384);
        assert_eq!([CONTROL_FRAME_BYTES_MAX, CHUNK_OVERHEAD_BYTES_MAX], [1_048_576, 16_384]);
        assert_eq!(FRAME_BYTES_MAX, 4_210_688);
        assert_eq!(ENDED_UPLOADS_PER_OWNER_MAX, 1_048_576);
    }

    /// The arithmetic that `OBJECT_BYTES_MAX` and `STRIPE_PATH_MAX` promise.
    #[test]
    fn the_longest_object_in_the_smallest_chunks_has_a_path_within_bounds() {
        let stripes = OBJECT_BYTES_MAX / u64::from(CHUNK_BYTES_MIN);
        assert!(stripes <= 1 << STRIPE_PATH_MAX);
        assert!(OBJECT_BYTES_MAX.checked_mul(255).is_some());
    }

    /// Rule: TIME-1. A day, a week, a hundred years of 365 days.
    #[test]
    fn lifetimes_are_whole_days() {
        const DAY: Duration = Duration::from_hours(24);
        assert_eq!(OPEN_LIFETIME_DEFAULT, DAY);
        assert_eq!(OPEN_LIFETIME_MAX, DAY * 7);
        assert_eq!(OBJECT_LIFETIME_MAX, DAY * 36_500);
    }
}
