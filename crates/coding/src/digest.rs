//! SHA-256 trees over chunks, with many leaves hashed at once.
//!
//! ```text
//! chunk    | piece 0: 16 KiB | piece 1 | .. | last: 1..16 KiB |       (an empty chunk: one empty piece)
//! leaf     = SHA-256(piece || "avidfp/chunk-lf1")
//! node     = SHA-256(left || right || "avidfp/chunk-nd1")             an odd node moves up unchanged
//! ```
//! One SHA-256 stream leaves a processor half idle; independent leaves fill it. The tags that
//! separate leaves from nodes stand at the *end*, so that 64-byte blocks of the input line up
//! with blocks of the hash and are read where they lie. A suffix separates as well as a prefix:
//! inputs that end in different tags differ.
//!
//! Spec: docs/protocol.md section 2.5.
//! Invariant: every kernel gives the bytes of the `sha2` crate.
//! Bounds: 32 bytes per 16 KiB of input, twice while a level is hashed.

#[cfg(target_arch = "x86_64")]
mod sha_ni;

use avid_types::Digest;
use avid_types::limits::LEAF_BYTES;

/// Ends the input of a leaf.
const LEAF_TAG: &[u8; TAG_BYTES] = b"avidfp/chunk-lf1";
/// Ends the input of an inner node.
const NODE_TAG: &[u8; TAG_BYTES] = b"avidfp/chunk-nd1";
const TAG_BYTES: usize = 16;

/// An implementation of SHA-256 over many inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashKernel {
    /// One stream at a time by the `sha2` crate: the scalar twin.
    OneStream,
    /// Two interleaved streams of SHA instructions.
    #[cfg(target_arch = "x86_64")]
    ShaNiPair,
}

impl HashKernel {
    /// The fastest kernel of this processor. Detection is cached by the standard library.
    #[must_use]
    pub fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        if sha_ni::is_available() {
            return Self::ShaNiPair;
        }
        Self::OneStream
    }

    /// Every kernel of this processor, slowest first.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let best = Self::best();
        if best == Self::OneStream { vec![best] } else { vec![Self::OneStream, best] }
    }

    /// Name for reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OneStream => "sha2 crate, one stream",
            #[cfg(target_arch = "x86_64")]
            Self::ShaNiPair => "SHA-NI, two streams",
        }
    }

    /// SHA-256 of `piece || tag` for every piece, in order.
    fn hash_tagged(self, pieces: &[&[u8]], tag: &[u8; TAG_BYTES]) -> Vec<Digest> {
        match self {
            Self::OneStream => pieces.iter().map(|piece| Digest::of(&[piece, tag])).collect(),
            #[cfg(target_arch = "x86_64")]
            Self::ShaNiPair => in_pairs(pieces, tag),
        }
    }
}

/// The digest of one chunk: the root of its tree.
#[must_use]
pub fn chunk_digest(chunk: &[u8]) -> Digest {
    root_of(leaf_digests(chunk), HashKernel::best())
}

/// The digests of several chunks, their leaves hashed together.
#[must_use]
pub fn chunk_digests(chunks: &[&[u8]]) -> Vec<Digest> {
    chunk_digests_with(HashKernel::best(), chunks)
}

/// The digests of several chunks, computed by a chosen kernel.
#[must_use]
pub fn chunk_digests_with(kernel: HashKernel, chunks: &[&[u8]]) -> Vec<Digest> {
    let pieces: Vec<&[u8]> = chunks.iter().flat_map(|chunk| pieces(chunk)).collect();
    let mut leaves = kernel.hash_tagged(&pieces, LEAF_TAG).into_iter();
    let mut trees: Vec<Vec<Digest>> =
        chunks.iter().map(|chunk| leaves.by_ref().take(piece_count(chunk)).collect()).collect();
    while trees.iter().any(|level| level.len() > 1) {
        raise(&mut trees, kernel);
    }
    trees.into_iter().filter_map(|level| level.first().copied()).collect()
}

/// The leaves of one chunk's tree: what scrub and repair compare 16 KiB at a time.
#[must_use]
pub fn leaf_digests(chunk: &[u8]) -> Vec<Digest> {
    let pieces: Vec<&[u8]> = pieces(chunk).collect();
    HashKernel::best().hash_tagged(&pieces, LEAF_TAG)
}

fn root_of(leaves: Vec<Digest>, kernel: HashKernel) -> Digest {
    let mut trees = [leaves];
    while trees.iter().any(|level| level.len() > 1) {
        raise(&mut trees, kernel);
    }
    let [level] = trees;
    level.first().copied().unwrap_or(Digest::ZERO)
}

/// Replaces the level of every tree by the one above it, all nodes hashed together.
fn raise(trees: &mut [Vec<Digest>], kernel: HashKernel) {
    let mut inputs = Vec::new();
    for level in trees.iter() {
        let (pairs, _) = level.as_chunks::<2>();
        inputs.extend(pairs.iter().map(|[left, right]| [left.0, right.0]));
    }
    let pieces: Vec<&[u8]> = inputs.iter().map(|pair| pair.as_flattened()).collect();
    let mut nodes = kernel.hash_tagged(&pieces, NODE_TAG).into_iter();
    for level in trees {
        let promoted = level.last().copied().filter(|_| level.len() % 2 == 1);
        let pairs = level.len() / 2;
        level.clear();
        level.extend(nodes.by_ref().take(pairs).chain(promoted));
    }
}

/// The pieces of a chunk; one empty piece for the empty chunk.
fn pieces(chunk: &[u8]) -> impl Iterator<Item = &[u8]> {
    let empty = chunk.is_empty().then_some(chunk);
    chunk.chunks(LEAF_BYTES).chain(empty)
}

fn piece_count(chunk: &[u8]) -> usize {
    chunk.len().div_ceil(LEAF_BYTES).max(1)
}

/// Hashes pieces two at a time. Pieces of equal length are brought together first.
#[cfg(target_arch = "x86_64")]
fn in_pairs(pieces: &[&[u8]], tag: &[u8; TAG_BYTES]) -> Vec<Digest> {
    let mut digests = vec![Digest::ZERO; pieces.len()];
    let mut waiting: Vec<(&[u8], &mut Digest)> =
        pieces.iter().copied().zip(digests.iter_mut()).collect();
    waiting.sort_by_key(|(piece, _)| piece.len());
    let mut waiting = waiting.into_iter().peekable();
    while let Some((piece, digest)) = waiting.next() {
        match waiting.next_if(|(other, _)| other.len() == piece.len()) {
            Some((other, other_digest)) => {
                [*digest, *other_digest] = sha_ni::hash_pair([piece, other], tag).map(Digest);
            }
            None => *digest = Digest::of(&[piece, tag]),
        }
    }
    digests
}

#[cfg(test)]
mod tests;
