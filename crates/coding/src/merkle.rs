//! Hash trees over stripes and over statements.
//!
//! ```text
//! level 2            root
//! level 1      n01         l2        the last node of an odd level moves up unchanged
//! level 0   l0    l1       l2
//! ```
//! The two kinds use different tags everywhere, so that no node of one is a node of the other:
//!
//! | kind | leaf | node | root of no leaves |
//! |---|---|---|---|
//! | stripes | H("avidfp/stripe-leaf/v1" \|\| s u64le \|\| L_s u32le \|\| fpd_s) | H("avidfp/stripe-node/v1" \|\| l \|\| r) | H("avidfp/stripe-empty/v1") |
//! | statements | H("avidfp/statement-leaf/v1" \|\| bytes) | H("avidfp/statement-node/v1" \|\| l \|\| r) | H("avidfp/statement-empty/v1") |
//!
//! A promoted node makes leaf counts ambiguous to the tree alone: the count is bound elsewhere
//! (the manifest), and [`check_stripe_path`] demands the one shape of path that index and count
//! allow.
//!
//! Spec: docs/protocol.md section 2.5; rule SIGN-2 for statements.
//! Bounds: a builder holds one digest per level, a path at most 64 siblings.

use avid_types::{DecodeError, Decoder, Digest, Encoder, StripeIndex};

/// What the leaves of a tree are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreeKind {
    /// The stripes of one object.
    Stripes,
    /// The statements under one signature.
    Statements,
}

impl TreeKind {
    fn node_tag(self) -> &'static [u8] {
        match self {
            Self::Stripes => b"avidfp/stripe-node/v1",
            Self::Statements => b"avidfp/statement-node/v1",
        }
    }

    fn empty_tag(self) -> &'static [u8] {
        match self {
            Self::Stripes => b"avidfp/stripe-empty/v1",
            Self::Statements => b"avidfp/statement-empty/v1",
        }
    }
}

/// On which side of its sibling a sibling lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The sibling is the left child.
    Left,
    /// The sibling is the right child.
    Right,
}

/// One sibling on the way from a leaf to the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathStep {
    /// Level of the sibling, leaves are level 0.
    pub level: usize,
    /// Its position in that level.
    pub index: u64,
    /// Its side.
    pub side: Side,
}

/// Leaf of stripe `stripe` whose chunks have `chunk_bytes` and whose cross-checksum digest is `fpd`.
#[must_use]
pub fn stripe_leaf(stripe: StripeIndex, chunk_bytes: u32, fpd: &Digest) -> Digest {
    Digest::of(&[
        b"avidfp/stripe-leaf/v1",
        &stripe.0.to_le_bytes(),
        &chunk_bytes.to_le_bytes(),
        fpd.as_bytes(),
    ])
}

/// Leaf of a statement's canonical bytes.
#[must_use]
pub fn statement_leaf(statement: &[u8]) -> Digest {
    Digest::of(&[b"avidfp/statement-leaf/v1", statement])
}

/// The node above two nodes.
#[must_use]
pub fn node(kind: TreeKind, left: &Digest, right: &Digest) -> Digest {
    Digest::of(&[kind.node_tag(), left.as_bytes(), right.as_bytes()])
}

/// The root of a tree without leaves.
#[must_use]
pub fn empty_root(kind: TreeKind) -> Digest {
    Digest::of(&[kind.empty_tag()])
}

/// Computes a root from leaves as they come.
///
/// Invariant: `peaks[k]` is the root of a full subtree of 2^k leaves exactly when bit k of `count`
/// is set; higher ones lie further left.
#[derive(Debug, Clone)]
pub struct MerkleBuilder {
    kind: TreeKind,
    count: u64,
    peaks: Vec<Option<Digest>>,
}

impl MerkleBuilder {
    /// A tree without leaves.
    #[must_use]
    pub fn new(kind: TreeKind) -> Self {
        Self { kind, count: 0, peaks: Vec::new() }
    }

    /// Appends a leaf.
    pub fn push(&mut self, leaf: Digest) {
        self.count += 1;
        let mut carry = leaf;
        for peak in &mut self.peaks {
            let Some(left) = peak.take() else {
                *peak = Some(carry);
                return;
            };
            carry = node(self.kind, &left, &carry);
        }
        self.peaks.push(Some(carry));
    }

    /// Leaves so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The root over the leaves so far; more may follow.
    #[must_use]
    pub fn root(&self) -> Digest {
        let mut peaks = self.peaks.iter().flatten();
        let Some(lowest) = peaks.next() else {
            return empty_root(self.kind);
        };
        peaks.fold(*lowest, |right, left| node(self.kind, left, &right))
    }
}

/// The siblings from a leaf to the root, lowest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MerklePath {
    /// Bit k is set if sibling k lies on the left.
    pub sides: u64,
    /// The siblings.
    pub siblings: Vec<Digest>,
}

impl MerklePath {
    /// The root that this path gives a leaf.
    #[must_use]
    pub fn root_of(&self, kind: TreeKind, leaf: Digest) -> Digest {
        let mut sides = self.sides;
        let mut root = leaf;
        for sibling in &self.siblings {
            let is_left = sides & 1 == 1;
            root = if is_left { node(kind, sibling, &root) } else { node(kind, &root, sibling) };
            sides >>= 1;
        }
        root
    }

    /// Adds a sibling above the present ones.
    pub fn push(&mut self, side: Side, sibling: Digest) {
        let shift = u32::try_from(self.siblings.len()).unwrap_or(u32::MAX);
        match side {
            Side::Left => self.sides |= 1_u64.checked_shl(shift).unwrap_or(0),
            Side::Right => {}
        }
        self.siblings.push(sibling);
    }

    /// Appends count, sides and siblings.
    ///
    /// A path of this library has at most 64 siblings; more is a bug of ours.
    pub fn encode(&self, encoder: &mut Encoder) {
        let count = u8::try_from(self.siblings.len()).unwrap_or(u8::MAX);
        assert_eq!(usize::from(count), self.siblings.len(), "path exceeds 255 siblings");
        encoder.u8(count);
        encoder.u64(self.sides);
        for sibling in &self.siblings {
            sibling.encode(encoder);
        }
    }

    /// Reads a path of at most `max` siblings (and never more than 64).
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if it is longer, ends early, or names sides beyond its siblings.
    pub fn decode(decoder: &mut Decoder<'_>, max: usize) -> Result<Self, DecodeError> {
        let max = max.min(64);
        let len = usize::from(decoder.u8()?);
        if len > max {
            return Err(DecodeError::TooLong { what: "merkle path", len, max });
        }
        let sides = decoder.u64()?;
        let beyond = u32::try_from(len).ok().and_then(|len| sides.checked_shr(len)).unwrap_or(0);
        if beyond != 0 {
            return Err(DecodeError::Invalid { what: "merkle path sides", value: sides });
        }
        let mut siblings = Vec::with_capacity(len);
        for _ in 0..len {
            siblings.push(Digest::decode(decoder)?);
        }
        Ok(Self { sides, siblings })
    }
}

/// Nodes of each level of a tree stored level by level: leaves first, the root last.
///
/// A promoted node appears again in the level above. Empty for a tree without leaves.
#[must_use]
pub fn levels(count: u64) -> Vec<u64> {
    let mut levels = Vec::new();
    let mut nodes = count;
    while nodes > 1 {
        levels.push(nodes);
        nodes = nodes.div_ceil(2);
    }
    levels.extend((nodes == 1).then_some(1));
    levels
}

/// Where the siblings of a leaf lie in a tree stored level by level, lowest first.
///
/// `None` if the tree has no such leaf.
#[must_use]
pub fn path_positions(count: u64, index: u64) -> Option<Vec<PathStep>> {
    if index >= count {
        return None;
    }
    let mut steps = Vec::new();
    let mut position = index;
    for (level, nodes) in levels(count).into_iter().enumerate() {
        let sibling = position ^ 1;
        let side = if sibling < position { Side::Left } else { Side::Right };
        if sibling < nodes {
            steps.push(PathStep { level, index: sibling, side });
        }
        position /= 2;
    }
    Some(steps)
}

/// The paths of all leaves of a small tree, in order.
#[must_use]
pub fn paths_of(kind: TreeKind, leaves: &[Digest]) -> Vec<MerklePath> {
    let mut paths = vec![MerklePath::default(); leaves.len()];
    let mut level = leaves.to_vec();
    let mut span = 1;
    while level.len() > 1 {
        for (leaf, path) in paths.iter_mut().enumerate() {
            let position = leaf / span;
            let side = if position % 2 == 1 { Side::Left } else { Side::Right };
            if let Some(sibling) = level.get(position ^ 1) {
                path.push(side, *sibling);
            }
        }
        level = level
            .chunks(2)
            .filter_map(|pair| match pair {
                [left, right] => Some(node(kind, left, right)),
                promoted => promoted.first().copied(),
            })
            .collect();
        span *= 2;
    }
    paths
}

/// Whether `leaf` is stripe `index` of the `count` stripes under `root`.
///
/// The path must have exactly the siblings, on exactly the sides, that position and count imply.
#[must_use]
pub fn check_stripe_path(
    root: &Digest,
    count: u64,
    index: StripeIndex,
    leaf: Digest,
    path: &MerklePath,
) -> bool {
    let Some(steps) = path_positions(count, index.0) else {
        return false;
    };
    let mut shape = 0;
    for (bit, step) in steps.iter().enumerate() {
        shape |= u64::from(step.side == Side::Left) << bit;
    }
    steps.len() == path.siblings.len()
        && shape == path.sides
        && path.root_of(TreeKind::Stripes, leaf) == *root
}

#[cfg(test)]
mod tests;
