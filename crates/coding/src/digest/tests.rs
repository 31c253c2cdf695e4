//! Every hash kernel equals the definition, for every tail length.
//!
//! Spec: docs/protocol.md FPCC-1, SUITE-1.

use super::*;

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| u8::try_from((i * 7 + i / 251) % 256).unwrap()).collect()
}

/// The tree written down as it is defined, one hash at a time.
fn by_definition(chunk: &[u8]) -> Digest {
    let mut level: Vec<Digest> = if chunk.is_empty() {
        vec![Digest::of(&[b"", LEAF_TAG])]
    } else {
        chunk.chunks(LEAF_BYTES).map(|piece| Digest::of(&[piece, LEAF_TAG])).collect()
    };
    while level.len() > 1 {
        level = level
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => Digest::of(&[&left.0, &right.0, NODE_TAG]),
                odd => odd[0],
            })
            .collect();
    }
    level[0]
}

const LENGTHS: [usize; 17] = [
    0, 1, 15, 16, 63, 64, 1023, 1024, 1025, 16_383, 16_384, 16_385, 32_768, 49_152, 80_000,
    262_144, 262_145,
];

/// The tests below say "every": here is what that is, so that it is never nothing.
#[test]
fn the_scalar_twin_comes_first_and_the_best_kernel_last_each_by_its_own_name() {
    let kernels = HashKernel::available();
    assert_eq!(kernels.first(), Some(&HashKernel::OneStream));
    assert_eq!(kernels.last(), Some(&HashKernel::best()));
    assert_eq!(HashKernel::OneStream.name(), "sha2 crate, one stream");
    let names: std::collections::BTreeSet<&str> = kernels.iter().map(|k| k.name()).collect();
    assert_eq!(names.len(), kernels.len());
    #[cfg(target_arch = "x86_64")]
    assert_eq!(kernels.contains(&HashKernel::ShaNiPair), sha_ni::is_available());
}

#[test]
fn every_kernel_equals_the_definition() {
    for kernel in HashKernel::available() {
        for length in LENGTHS {
            let chunk = pattern(length);
            let digests = chunk_digests_with(kernel, &[&chunk, &chunk[..length / 2], &chunk]);
            let expected = by_definition(&chunk);
            assert_eq!(digests[0], expected, "{kernel:?} {length}");
            assert_eq!(digests[1], by_definition(&chunk[..length / 2]), "{kernel:?} {length}");
            assert_eq!(digests[2], expected, "{kernel:?} {length}");
        }
    }
}

/// Every length of the tail: one or two final blocks, tag across their border.
#[test]
fn every_kernel_equals_the_scalar_twin_at_every_tail() {
    let bytes = pattern(600);
    for kernel in HashKernel::available() {
        for length in 0..300 {
            let pieces = [&bytes[..length], &bytes[300..300 + length], &bytes[1..1 + length]];
            let twin = HashKernel::OneStream.hash_tagged(&pieces, LEAF_TAG);
            assert_eq!(kernel.hash_tagged(&pieces, LEAF_TAG), twin, "{kernel:?} {length}");
        }
    }
}

#[test]
fn one_chunk_alone_equals_the_pool() {
    for length in LENGTHS {
        let chunk = pattern(length);
        assert_eq!(chunk_digests(&[&chunk]), vec![chunk_digest(&chunk)]);
    }
    assert_eq!(chunk_digests(&[]), vec![]);
}

#[test]
fn leaves_cover_sixteen_kibibytes_each() {
    let chunk = pattern(40_000);
    let leaves = leaf_digests(&chunk);
    assert_eq!(leaves.len(), 3);
    assert_eq!(leaves[1], Digest::of(&[&chunk[16_384..32_768], b"avidfp/chunk-lf1"]));
}

#[test]
fn a_node_is_not_the_leaf_of_its_children() {
    let chunk = pattern(32_768);
    let leaves = leaf_digests(&chunk);
    let forged = [leaves[0].0, leaves[1].0].concat();
    assert_ne!(chunk_digest(&forged), chunk_digest(&chunk));
}
