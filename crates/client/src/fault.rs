//! Which node did what, in words for people and kinds for programs.
//!
//! Spec: docs/protocol.md EVID-1: a bad chunk is suspicion, not proof; bit rot and lies look alike.

use std::collections::BTreeMap;

use avid_coding::ChunkFault;
use avid_types::{ClusterConfig, NodeId, StripeIndex};

use crate::session::NodeError;

/// What was wrong with what a node sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// A chunk does not have its digest.
    Hash,
    /// A chunk is not on the codeword: its writer lied and this node with it.
    Fingerprint,
    /// A cross-checksum does not lead to the object's root.
    Path,
    /// A chunk or frame of the wrong length or stripe.
    Length,
    /// The node says itself that its fragment is damaged.
    Damaged,
    /// The node does not have the fragment.
    Missing,
    /// The node refused.
    Refused,
    /// Its answer is no valid message, or its signature does not verify.
    Malformed,
    /// It kept others waiting.
    Late,
    /// Nobody reached it.
    Unreachable,
    /// It keeps other content under this upload.
    OtherContent,
}

impl std::fmt::Display for FaultKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Hash => "chunk does not have its digest",
            Self::Fingerprint => "chunk is not on the codeword",
            Self::Path => "cross-checksum does not belong to the object",
            Self::Length => "chunk has the wrong length or place",
            Self::Damaged => "says its fragment is damaged",
            Self::Missing => "does not have its fragment",
            Self::Refused => "refused",
            Self::Malformed => "sent what does not verify",
            Self::Late => "too slow",
            Self::Unreachable => "unreachable",
            Self::OtherContent => "keeps other content",
        })
    }
}

impl From<ChunkFault> for FaultKind {
    fn from(fault: ChunkFault) -> Self {
        match fault {
            ChunkFault::Slot | ChunkFault::Length => Self::Length,
            ChunkFault::Hash => Self::Hash,
            ChunkFault::Fingerprint => Self::Fingerprint,
        }
    }
}

impl From<&NodeError> for FaultKind {
    fn from(error: &NodeError) -> Self {
        use avid_protocol::wire::RefusalCode;
        match error {
            NodeError::Unreachable(_) | NodeError::Link(_) | NodeError::Closed => Self::Unreachable,
            NodeError::Silent { .. } | NodeError::Late => Self::Late,
            NodeError::Refused { code, .. } if *code == RefusalCode::Damaged => Self::Damaged,
            NodeError::Refused { code, .. } if *code == RefusalCode::NotFound => Self::Missing,
            NodeError::Refused { code, .. } if *code == RefusalCode::OtherContent => {
                Self::OtherContent
            }
            NodeError::Refused { .. } => Self::Refused,
            NodeError::Malformed(_) | NodeError::Unexpected { .. } | NodeError::Unverifiable(_) => {
                Self::Malformed
            }
            NodeError::OtherPrefix => Self::OtherContent,
        }
    }
}

/// One kind of fault of one node during one operation.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct NodeFault {
    /// Which node.
    pub node: NodeId,
    /// Its name in the configuration.
    pub name: String,
    /// What was wrong.
    pub kind: FaultKind,
    /// Chunks concerned; zero if it was no chunk.
    pub stripes: u64,
    /// The first of them.
    pub first: Option<StripeIndex>,
    /// The reason in full, where there is more to say.
    pub detail: String,
}

impl std::fmt::Display for NodeFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "node {} ({}): {}", self.node, self.name, self.kind)?;
        if let Some(first) = self.first {
            write!(f, ", {} chunks from stripe {first}", self.stripes)?;
        }
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        Ok(())
    }
}

/// Why one node is missing from an operation.
#[derive(Clone, Debug)]
pub struct NodeFailure {
    /// Which node.
    pub node: NodeId,
    /// Its name in the configuration.
    pub name: String,
    /// What happened.
    pub error: NodeError,
}

impl std::fmt::Display for NodeFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "node {} ({}): {}", self.node, self.name, self.error)
    }
}

/// One line of all failures.
pub(crate) fn joined(failures: &[NodeFailure]) -> String {
    failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

pub(crate) fn name_of(config: &ClusterConfig, node: NodeId) -> String {
    config.member(node).map(|member| member.name.clone()).unwrap_or_default()
}

/// Collects faults: one entry per node and kind.
#[derive(Debug, Default)]
pub(crate) struct FaultBook {
    entries: BTreeMap<(NodeId, FaultKind), (u64, Option<StripeIndex>, String)>,
}

impl FaultBook {
    pub(crate) fn chunk(&mut self, node: NodeId, kind: FaultKind, stripe: StripeIndex) {
        let entry = self.entries.entry((node, kind)).or_default();
        entry.0 = entry.0.saturating_add(1);
        entry.1 = Some(entry.1.map_or(stripe, |first| first.min(stripe)));
    }

    pub(crate) fn node(&mut self, node: NodeId, error: &NodeError) {
        let entry = self.entries.entry((node, FaultKind::from(error))).or_default();
        entry.2 = error.to_string();
    }

    pub(crate) fn report(&self, config: &ClusterConfig) -> Vec<NodeFault> {
        let fault_of = |((node, kind), (stripes, first, detail)): (
            &(NodeId, FaultKind),
            &(u64, Option<StripeIndex>, String),
        )| NodeFault {
            node: *node,
            name: name_of(config, *node),
            kind: *kind,
            stripes: *stripes,
            first: *first,
            detail: detail.clone(),
        };
        self.entries.iter().map(fault_of).collect()
    }
}
