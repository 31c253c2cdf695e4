//! Misbehaviour of peers, as values.
//!
//! Spec: docs/protocol.md EVID-1. Only conflicting signed statements are transferable evidence;
//! everything else is suspicion, since bit rot and lies look alike.

use avid_types::NodeId;

use crate::statement::{Statement, StatementKind};
use crate::verify::VerifyError;
use crate::vote::SignedVote;

/// A peer did what no correct node does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which peer.
    pub node: NodeId,
    /// What it did.
    pub kind: FaultKind,
}

/// What a peer did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultKind {
    /// It signed two statements that exclude each other: proof for anybody.
    ConflictingVotes(Box<(SignedVote, SignedVote)>),
    /// It sent a vote or certificate that does not verify.
    Unverifiable(VerifyError),
    /// It sent a READY without a valid echo certificate for the same commitment.
    ReadyWithoutEchoes,
}

impl std::fmt::Display for FaultKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ConflictingVotes(votes) => write!(
                f,
                "signed both {} and {} for one upload",
                votes.0.statement.kind, votes.1.statement.kind
            ),
            Self::Unverifiable(error) => write!(f, "sent an unverifiable statement: {error}"),
            Self::ReadyWithoutEchoes => f.write_str("sent ready without an echo certificate"),
        }
    }
}

/// Whether one node may not have signed both statements.
///
/// Rule: HOLD-1: two ECHOs or two READYs with different C, or READY and ABORT, for one upload.
#[must_use]
pub fn conflict(a: &Statement, b: &Statement) -> bool {
    if (a.upload, a.slot) != (b.upload, b.slot) {
        return false;
    }
    match (a.kind, b.kind) {
        (StatementKind::Echo, StatementKind::Echo)
        | (StatementKind::Ready, StatementKind::Ready) => a.commitment != b.commitment,
        (StatementKind::Ready, StatementKind::Abort)
        | (StatementKind::Abort, StatementKind::Ready) => true,
        _ => false,
    }
}
