//! What the nodes say just now: of one object, and of themselves.
//!
//! Spec: docs/protocol.md FRESH-1: claims answered to a fresh nonce, of which f may be lies.

use std::sync::Arc;

use avid_protocol::statement::StatementKind;
use avid_protocol::verify::{VerifiedCommit, VerifyError};
use avid_protocol::wire::Message;
use avid_types::{
    Commitment, Generation, NodeId, Nonce, ObjectName, Params, PublicKey, Slot, Timestamp, UploadId,
};

use crate::client::{Asking, ObjectRef, Shared};
use crate::fault::{NodeFailure, name_of};
use crate::head::{self, HeadView};
use crate::pool::locked;
use crate::session::NodeError;

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum StatError {
    /// The operating system gave no random bytes.
    #[error("no random bytes for a fresh question: {0}")]
    Random(std::io::Error),
}

/// The state of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectState {
    /// Proved by a commit certificate.
    Committed,
    /// Its owner deleted it.
    Deleted,
    /// A dispersal was begun and has neither been committed nor ended.
    Unfinished,
    /// n - f nodes know nothing of it.
    NotFound,
    /// Too few nodes answered to say.
    Unknown,
}

/// What one holder claims.
#[derive(Clone, Debug)]
pub struct SlotClaim {
    /// Which fragment.
    pub slot: Slot,
    /// Whose.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// It signed just now that it holds the fragment; a claim.
    pub holds: bool,
    /// Why not.
    pub error: Option<NodeError>,
}

/// What is known of an object.
#[derive(Clone, Debug)]
pub struct ObjectStatus {
    /// The owner.
    pub owner: PublicKey,
    /// The name.
    pub name: ObjectName,
    /// Its state.
    pub state: ObjectState,
    /// The life of the name.
    pub generation: Option<Generation>,
    /// The upload.
    pub upload: Option<UploadId>,
    /// The commitment.
    pub commitment: Option<Commitment>,
    /// Length.
    pub object_bytes: Option<u64>,
    /// Stripes.
    pub stripes: Option<u64>,
    /// Cluster time after which it may go.
    pub expires_at: Option<Timestamp>,
    /// Shape of its group; `f` of the claims may be lies.
    pub params: Params,
    /// One per slot of a committed object.
    pub claims: Vec<SlotClaim>,
    /// n - f nodes answered.
    pub complete: bool,
    /// Nodes that gave no useful answer.
    pub failures: Vec<NodeFailure>,
}

impl ObjectStatus {
    /// Slots claimed to be held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.claims.iter().filter(|claim| claim.holds).count()
    }
}

/// What one node says of itself.
#[derive(Clone, Debug)]
pub struct NodeStatus {
    /// Which node.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// JSON text of its own making; nothing may be decided by it.
    pub status: Result<String, NodeError>,
}

pub(crate) async fn stat(
    shared: &Arc<Shared>,
    object: &ObjectRef,
) -> Result<ObjectStatus, StatError> {
    let view = head::head(shared, object, Asking::Once).await;
    let mut status = ObjectStatus {
        owner: object.owner,
        name: object.name.clone(),
        state: ObjectState::Unknown,
        generation: None,
        upload: None,
        commitment: None,
        object_bytes: None,
        stripes: None,
        expires_at: None,
        params: shared.config.params,
        claims: Vec::new(),
        complete: view.complete,
        failures: view.failures.clone(),
    };
    describe(&mut status, &view);
    if let (ObjectState::Committed, Some(commit)) = (status.state, view.newest_commit()) {
        status.claims = claims(shared, commit).await?;
    }
    Ok(status)
}

fn describe(status: &mut ObjectStatus, view: &HeadView) {
    let deleted = view.deleted.as_ref().map(|(generation, _)| *generation);
    let committed = view.newest_commit();
    let pending = view.newest_pending().map(|open| open.open.object.generation);
    if let Some(commit) = committed {
        let manifest = commit.seal().manifest();
        status.upload = Some(commit.upload());
        status.commitment = Some(commit.commitment());
        status.object_bytes = Some(manifest.object_bytes);
        status.stripes = Some(manifest.stripes);
        status.expires_at = Some(manifest.expires_at);
    }
    let generation = committed.map(|commit| commit.seal().manifest().object.generation);
    status.generation = generation.max(deleted).max(pending);
    status.state = if generation.is_some() && generation > deleted {
        status.generation = generation;
        ObjectState::Committed
    } else if !view.complete {
        ObjectState::Unknown
    } else if pending.is_some() && pending > deleted {
        ObjectState::Unfinished
    } else if deleted.is_some() {
        ObjectState::Deleted
    } else {
        ObjectState::NotFound
    };
}

async fn claims(
    shared: &Arc<Shared>,
    commit: &VerifiedCommit,
) -> Result<Vec<SlotClaim>, StatError> {
    let nonce = shared.nonce().map_err(StatError::Random)?;
    let holders = shared.nodes_of(commit.upload());
    let message = Message::Stat { upload: commit.upload(), nonce };
    let nodes = holders.iter().map(|(_, node)| *node);
    let mut answers = shared.ask_all(nodes, message, |_| false, Asking::Once).await;
    let mut claims = Vec::with_capacity(holders.len());
    for (slot, node) in holders {
        let answer = answers.remove(&node).unwrap_or(Err(NodeError::Closed));
        let checked =
            answer.and_then(|message| check_claim(shared, message, commit, (slot, nonce)));
        let name = name_of(&shared.config, node);
        claims.push(SlotClaim { slot, node, name, holds: checked.is_ok(), error: checked.err() });
    }
    Ok(claims)
}

fn check_claim(
    shared: &Shared,
    message: Message,
    commit: &VerifiedCommit,
    (slot, nonce): (Slot, Nonce),
) -> Result<(), NodeError> {
    let Message::Vote { vote, .. } = message else {
        return Err(NodeError::Unexpected { kind: message.kind() });
    };
    let said = vote.statement;
    let found = (said.kind, said.upload, said.commitment, said.slot, said.nonce);
    let expected = (StatementKind::HoldNow, commit.upload(), commit.commitment(), slot, nonce);
    if found != expected {
        return Err(VerifyError::Mismatch.into());
    }
    locked(&shared.verifier).vote(*vote)?;
    Ok(())
}

pub(crate) async fn status(shared: &Arc<Shared>) -> Vec<NodeStatus> {
    let answers = shared.ask_all(shared.members(), Message::Status, |_| false, Asking::Once).await;
    let status_of = |(node, answer): (NodeId, Result<Message, NodeError>)| NodeStatus {
        node,
        name: name_of(&shared.config, node),
        status: answer.and_then(|message| {
            let Message::StatusAnswer(text) = message else {
                return Err(NodeError::Unexpected { kind: message.kind() });
            };
            Ok(text)
        }),
    };
    answers.into_iter().map(status_of).collect()
}
