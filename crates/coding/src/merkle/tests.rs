//! Roots, paths and their canonical form.

use super::*;

fn leaves(count: u64) -> Vec<Digest> {
    (0..count).map(|s| stripe_leaf(StripeIndex(s), 4096, &Digest([9; 32]))).collect()
}

fn root_by_levels(kind: TreeKind, leaves: &[Digest]) -> Digest {
    let mut level = leaves.to_vec();
    while level.len() > 1 {
        level = level
            .chunks(2)
            .map(|pair| if pair.len() == 2 { node(kind, &pair[0], &pair[1]) } else { pair[0] })
            .collect();
    }
    level.first().copied().unwrap_or(empty_root(kind))
}

fn build(kind: TreeKind, leaves: &[Digest]) -> MerkleBuilder {
    let mut builder = MerkleBuilder::new(kind);
    for leaf in leaves {
        builder.push(*leaf);
    }
    builder
}

#[test]
fn incremental_root_equals_the_tree_at_every_count() {
    let all = leaves(130);
    let mut builder = MerkleBuilder::new(TreeKind::Stripes);
    assert_eq!(builder.root(), Digest::of(&[b"avidfp/stripe-empty/v1"]));
    for (count, leaf) in (1..).zip(&all) {
        builder.push(*leaf);
        assert_eq!(builder.count(), u64::try_from(count).unwrap());
        assert_eq!(builder.root(), root_by_levels(TreeKind::Stripes, &all[..count]), "{count}");
    }
}

#[test]
fn kinds_never_meet() {
    let all = leaves(3);
    let roots = [TreeKind::Stripes, TreeKind::Statements].map(|kind| build(kind, &all).root());
    assert_ne!(roots[0], roots[1]);
    assert_ne!(empty_root(TreeKind::Stripes), empty_root(TreeKind::Statements));
    assert_ne!(statement_leaf(b""), empty_root(TreeKind::Statements));
}

#[test]
fn every_path_leads_to_the_root_and_only_from_its_own_place() {
    for count in 1..=33 {
        let all = leaves(count);
        let root = build(TreeKind::Stripes, &all).root();
        for (index, path) in (0..).zip(paths_of(TreeKind::Stripes, &all)) {
            let leaf = all[usize::try_from(index).unwrap()];
            let holds = |i, leaf| check_stripe_path(&root, count, StripeIndex(i), leaf, &path);
            assert!(holds(index, leaf), "{index} of {count}");
            for other in (0..count + 2).filter(|other| *other != index) {
                assert!(!holds(other, leaf), "leaf {index} passes as {other} of {count}");
            }
            assert!(!holds(index, Digest::ZERO));
        }
    }
}

#[test]
fn paths_read_from_stored_levels_equal_those_of_the_tree() {
    for count in 1..=40 {
        let all = leaves(count);
        let mut stored = vec![all.clone()];
        while stored.last().unwrap().len() > 1 {
            let above = stored.last().unwrap().chunks(2);
            let above = above.map(|pair| match pair {
                [l, r] => node(TreeKind::Stripes, l, r),
                odd => odd[0],
            });
            let above = above.collect();
            stored.push(above);
        }
        let lengths: Vec<u64> = stored.iter().map(|l| u64::try_from(l.len()).unwrap()).collect();
        assert_eq!(levels(count), lengths);
        for (index, expected) in (0..).zip(paths_of(TreeKind::Stripes, &all)) {
            let mut path = MerklePath::default();
            for step in path_positions(count, index).unwrap() {
                path.push(step.side, stored[step.level][usize::try_from(step.index).unwrap()]);
            }
            assert_eq!(path, expected, "{index} of {count}");
        }
    }
    assert_eq!(levels(0), Vec::<u64>::new());
    assert_eq!(path_positions(5, 5), None);
    assert_eq!(path_positions(u64::MAX, 0).unwrap().len(), 64);
}

#[test]
fn a_path_with_another_shape_is_refused() {
    let all = leaves(5);
    let root = build(TreeKind::Stripes, &all).root();
    let good = paths_of(TreeKind::Stripes, &all)[1].clone();
    let check = |path| check_stripe_path(&root, 5, StripeIndex(1), all[1], &path);
    assert!(check(good.clone()));
    assert!(!check(MerklePath { sides: good.sides ^ 2, ..good.clone() }));
    let mut longer = good.clone();
    longer.push(Side::Right, Digest::ZERO);
    assert!(!check(longer));
    let mut shorter = good;
    shorter.siblings.pop();
    assert!(!check(shorter));
}

#[test]
fn encoding_round_trips_and_is_canonical() {
    let all = leaves(11);
    for path in paths_of(TreeKind::Statements, &all) {
        let mut encoder = Encoder::new();
        path.encode(&mut encoder);
        let bytes = encoder.into_vec();
        let count = path.siblings.len();
        assert_eq!(bytes.len(), 9 + 32 * count);
        let mut decoder = Decoder::new(&bytes);
        assert_eq!(MerklePath::decode(&mut decoder, 4).unwrap(), path);
        decoder.finish().unwrap();
        let too_long = MerklePath::decode(&mut Decoder::new(&bytes), count - 1);
        assert!(matches!(too_long, Err(DecodeError::TooLong { .. })));
        let mut stray = bytes.clone();
        stray[8] = 0x80;
        let stray = MerklePath::decode(&mut Decoder::new(&stray), 12);
        assert!(matches!(stray, Err(DecodeError::Invalid { .. })));
        let cut = MerklePath::decode(&mut Decoder::new(&bytes[..bytes.len() - 1]), 12);
        assert!(matches!(cut, Err(DecodeError::Truncated { .. })));
    }
    let full = [255; 9 + 32 * 255];
    assert!(MerklePath::decode(&mut Decoder::new(&full), usize::MAX).is_err());
}

/// Frozen; computed by an independent program.
#[test]
fn known_roots_of_statements() {
    let roots: Vec<String> = [0_u8, 1, 2, 3, 7]
        .iter()
        .map(|count| {
            let leaves: Vec<Digest> = (0..*count).map(|i| statement_leaf(&[i, i])).collect();
            build(TreeKind::Statements, &leaves).root().to_string()
        })
        .collect();
    assert_eq!(roots.join("\n") + "\n", include_str!("../../testdata/statement_roots.txt"));
}
