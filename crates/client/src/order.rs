//! The owner's orders: CANCEL and DELETE.
//!
//! Spec: docs/protocol.md ABORT-1, DELETE-1.
//! Invariant: success is reported only with a quorum of verified votes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use avid_protocol::certificate::QuorumCert;
use avid_protocol::object::{ObjectId, OrderKind, OwnerOrder};
use avid_protocol::statement::StatementKind;
use avid_protocol::verify::{VerifiedVote, VerifyError};
use avid_protocol::wire::{Message, RefusalCode};
use avid_types::{Generation, NodeId, ObjectName, Slot, UploadId};

use crate::client::{Asking, ObjectRef, Shared};
use crate::fault::{NodeFailure, joined, name_of};
use crate::head::{self, HeadView};
use crate::pool::locked;
use crate::session::NodeError;

/// Why an order does not stand.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// Nothing under this id.
    #[error("no such object")]
    NotFound,
    /// Nothing unfinished under this id.
    #[error("this id has no unfinished dispersal")]
    NothingUnfinished,
    /// The dispersal has gone too far to be cancelled.
    #[error("the dispersal is past the point where it can be cancelled; finish it, or remove it")]
    TooLate,
    /// Too few nodes acknowledged.
    #[error(
        "{acknowledged} nodes acknowledged, {needed} are needed; \
         repeat the command when more nodes run ({})",
        joined(failures)
    )]
    NotEnoughNodes {
        /// Verified acknowledgements.
        acknowledged: usize,
        /// Acknowledgements needed.
        needed: usize,
        /// What the others said.
        failures: Vec<NodeFailure>,
    },
}

/// A deletion that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoveReport {
    /// The life of the name that ended.
    pub generation: Generation,
    /// Nodes that signed for the tombstone.
    pub acknowledged: usize,
    /// Nodes there are.
    pub n: usize,
    /// It had been deleted before this call.
    pub already_deleted: bool,
}

/// A dispersal that was ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CancelReport {
    /// The life of the name that ended.
    pub generation: Generation,
    /// Nodes that signed ABORT.
    pub aborted: usize,
}

pub(crate) async fn remove(
    shared: &Arc<Shared>,
    name: &ObjectName,
) -> Result<RemoveReport, OrderError> {
    let object = ObjectRef { owner: shared.key.public(), name: name.clone() };
    let view = complete_head(shared, &object).await?;
    let committed = view.commits.last_key_value().map(|(generation, _)| *generation);
    let pending = view.newest_pending().map(|open| open.open.object.generation);
    let deleted = view.deleted.as_ref().map(|(generation, _)| *generation);
    let generation = committed.max(pending).max(deleted).ok_or(OrderError::NotFound)?;
    let votes = order(shared, &object, generation, OrderKind::Delete).await;
    let needed = shared.config.params.delete_quorum();
    if votes.good.len() < needed {
        return Err(votes.not_enough(shared, needed));
    }
    Ok(RemoveReport {
        generation,
        acknowledged: votes.good.len(),
        n: shared.config.params.n(),
        already_deleted: deleted == Some(generation),
    })
}

pub(crate) async fn cancel(
    shared: &Arc<Shared>,
    name: &ObjectName,
) -> Result<CancelReport, OrderError> {
    let object = ObjectRef { owner: shared.key.public(), name: name.clone() };
    let view = complete_head(shared, &object).await?;
    let open = view.newest_pending().ok_or(OrderError::NothingUnfinished)?;
    let generation = open.open.object.generation;
    let cert = abort(shared, &object, generation).await?;
    Ok(CancelReport { generation, aborted: cert.entries.len() })
}

/// Ends one generation without a commit; the certificate lets the next one open.
///
/// Rule: ABORT-1.
pub(crate) async fn abort(
    shared: &Arc<Shared>,
    object: &ObjectRef,
    generation: Generation,
) -> Result<QuorumCert, OrderError> {
    let votes = order(shared, object, generation, OrderKind::Cancel).await;
    let needed = shared.config.params.answer_quorum();
    if votes.good.len() >= needed {
        let signed = votes.good.iter().map(|(slot, vote)| (*slot, vote.signed().clone())).collect();
        if let Some(cert) = head::abort_cert(shared, &signed) {
            return Ok(cert);
        }
    }
    if votes.refused(RefusalCode::AlreadyReady) > shared.config.params.f() {
        return Err(OrderError::TooLate);
    }
    Err(votes.not_enough(shared, needed))
}

async fn complete_head(shared: &Arc<Shared>, object: &ObjectRef) -> Result<HeadView, OrderError> {
    let view = head::head(shared, object, Asking::UntilEnough).await;
    if view.complete {
        return Ok(view);
    }
    let needed = shared.config.params.answer_quorum();
    Err(OrderError::NotEnoughNodes { acknowledged: view.answered, needed, failures: view.failures })
}

/// What the nodes of one upload said to an order.
struct Votes {
    good: BTreeMap<Slot, VerifiedVote>,
    failed: BTreeMap<NodeId, NodeError>,
}

impl Votes {
    fn refused(&self, code: RefusalCode) -> usize {
        self.failed.values().filter(|error| error.refusal() == Some(code)).count()
    }

    fn not_enough(self, shared: &Shared, needed: usize) -> OrderError {
        let failure_of =
            |(node, error)| NodeFailure { node, name: name_of(&shared.config, node), error };
        OrderError::NotEnoughNodes {
            acknowledged: self.good.len(),
            needed,
            failures: self.failed.into_iter().map(failure_of).collect(),
        }
    }
}

async fn order(
    shared: &Arc<Shared>,
    object: &ObjectRef,
    generation: Generation,
    kind: OrderKind,
) -> Votes {
    let id = ObjectId { owner: object.owner, name: object.name.clone(), generation };
    let upload = id.upload(&shared.config);
    let params = shared.config.params;
    let (expected, needed) = match kind {
        OrderKind::Cancel => (StatementKind::Abort, params.answer_quorum()),
        OrderKind::Delete => (StatementKind::Deleted, params.delete_quorum()),
    };
    let order = OwnerOrder::sign(&shared.config, kind, id, &shared.key);
    let slots: BTreeMap<NodeId, Slot> =
        shared.nodes_of(upload).into_iter().map(|(slot, node)| (node, slot)).collect();
    let nodes: BTreeSet<NodeId> = slots.keys().copied().collect();
    let enough =
        |has: &dyn Fn(&NodeId) -> bool| nodes.iter().filter(|node| has(node)).count() >= needed;
    let asked = nodes.iter().copied();
    let answers = shared.ask_all(asked, Message::Order(order), enough, Asking::UntilAll).await;
    let mut votes = Votes { good: BTreeMap::new(), failed: BTreeMap::new() };
    for (node, answer) in answers {
        match answer.and_then(|message| checked(shared, message, upload, expected)) {
            Ok(vote) if slots.get(&node) == Some(&vote.statement().slot) => {
                votes.good.insert(vote.statement().slot, vote);
            }
            Ok(_other_slot) => {
                votes.failed.insert(node, VerifyError::Mismatch.into());
            }
            Err(error) => {
                votes.failed.insert(node, error);
            }
        }
    }
    votes
}

fn checked(
    shared: &Shared,
    message: Message,
    upload: UploadId,
    expected: StatementKind,
) -> Result<VerifiedVote, NodeError> {
    let Message::Vote { vote, .. } = message else {
        return Err(NodeError::Unexpected { kind: message.kind() });
    };
    if vote.statement.kind != expected || vote.statement.upload != upload {
        return Err(VerifyError::Mismatch.into());
    }
    Ok(locked(&shared.verifier).vote(*vote)?)
}
