//! What the nodes know of a name, every claim verified.
//!
//! Spec: docs/protocol.md READ-1, FRESH-1, ID-1.
//! Invariant: a commit in a [`HeadView`] is proved, whoever showed it; one proof is enough.
//! Bounds: one answer per node.
//! Not here: what follows from it (`disperse::plan`, `retrieve`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use avid_protocol::certificate::{CommitProof, QuorumCert};
use avid_protocol::object::{ObjectId, OrderKind, OwnerOrder, SignedOpen, upload_id};
use avid_protocol::statement::StatementKind;
use avid_protocol::verify::{VerifiedCommit, VerifyError};
use avid_protocol::vote::SignedVote;
use avid_protocol::wire::{AbortedHead, HeadAnswer, Message};
use avid_types::{Generation, NodeId, Slot, UploadId};

use crate::client::{Asking, ObjectRef, Shared};
use crate::fault::{NodeFailure, name_of};
use crate::pool::locked;
use crate::session::NodeError;

/// Verified knowledge of one name.
#[derive(Debug)]
pub(crate) struct HeadView {
    object: ObjectRef,
    /// f + 1.
    witnesses: usize,
    /// Proved commits, and which nodes showed them.
    pub(crate) commits: BTreeMap<Generation, (VerifiedCommit, BTreeSet<NodeId>)>,
    /// The highest proved deletion.
    pub(crate) deleted: Option<(Generation, OwnerOrder)>,
    /// Announcements of unfinished dispersals, and how many nodes showed each.
    pub(crate) pending: Vec<(SignedOpen, usize)>,
    /// Single votes to abort.
    pub(crate) aborts: BTreeMap<Generation, BTreeMap<Slot, SignedVote>>,
    /// Certificates of aborts.
    pub(crate) aborted: BTreeMap<Generation, QuorumCert>,
    /// n - f nodes of every group answered.
    pub(crate) complete: bool,
    /// Who did not answer, or not usefully.
    pub(crate) failures: Vec<NodeFailure>,
    /// How many answered.
    pub(crate) answered: usize,
}

/// Asks every node for a name.
pub(crate) async fn head(shared: &Arc<Shared>, object: &ObjectRef, asking: Asking) -> HeadView {
    let message = Message::Head { owner: object.owner, name: object.name.clone() };
    let enough = |has: &dyn Fn(&NodeId) -> bool| shared.quorum_of(has);
    let answers = shared.ask_all(shared.members(), message, enough, asking).await;
    let mut view = HeadView::empty(object.clone(), shared.config.params.honest_witness());
    let mut answered = BTreeSet::new();
    for (node, answer) in answers {
        let taken = match answer {
            Ok(Message::HeadAnswer(head)) => view.take(shared, node, *head),
            Ok(other) => Err(NodeError::Unexpected { kind: other.kind() }),
            Err(error) => Err(error),
        };
        match taken {
            Ok(()) => {
                answered.insert(node);
            }
            Err(error) => view.fail(shared, node, error),
        }
    }
    view.answered = answered.len();
    view.complete = shared.quorum_of(|node| answered.contains(node));
    view.certify_aborts(shared);
    view
}

impl HeadView {
    fn empty(object: ObjectRef, witnesses: usize) -> Self {
        Self {
            object,
            witnesses,
            commits: BTreeMap::new(),
            deleted: None,
            pending: Vec::new(),
            aborts: BTreeMap::new(),
            aborted: BTreeMap::new(),
            complete: false,
            failures: Vec::new(),
            answered: 0,
        }
    }

    fn fail(&mut self, shared: &Shared, node: NodeId, error: NodeError) {
        tracing::debug!(%node, %error, "head failed");
        self.failures.push(NodeFailure { node, name: name_of(&shared.config, node), error });
    }

    /// The highest proved commit.
    pub(crate) fn newest_commit(&self) -> Option<&VerifiedCommit> {
        self.commits.last_key_value().map(|(_, (commit, _))| commit)
    }

    /// Nodes that showed a commit of a generation: they have delivered it.
    pub(crate) fn holders(&self, generation: Generation) -> BTreeSet<NodeId> {
        self.commits.get(&generation).map(|(_, nodes)| nodes.clone()).unwrap_or_default()
    }

    /// The announcement that most nodes showed for the highest generation begun.
    pub(crate) fn newest_pending(&self) -> Option<&SignedOpen> {
        let key = |(open, count): &&(SignedOpen, usize)| {
            (open.open.object.generation, *count, open.open.expiry)
        };
        self.pending.iter().max_by_key(key).map(|(open, _)| open)
    }

    /// Whether more nodes than may lie have voted to abort a generation.
    pub(crate) fn begun_aborts(&self, generation: Generation) -> bool {
        self.aborts.get(&generation).is_some_and(|votes| votes.len() >= self.witnesses)
    }

    /// One false part makes the whole answer worthless; what was proved before stays.
    fn take(&mut self, shared: &Shared, node: NodeId, head: HeadAnswer) -> Result<(), NodeError> {
        if let Some(proof) = head.committed {
            self.take_commit(shared, node, *proof)?;
        }
        if let Some(order) = head.deleted {
            self.take_deleted(shared, order)?;
        }
        if let Some(open) = head.pending {
            self.take_pending(shared, open)?;
        }
        if let Some(aborted) = head.aborted {
            self.take_aborted(shared, aborted)?;
        }
        Ok(())
    }

    fn check_object(&self, object: &ObjectId) -> Result<(), NodeError> {
        if object.owner != self.object.owner || object.name != self.object.name {
            return Err(VerifyError::Mismatch.into());
        }
        Ok(())
    }

    fn take_commit(
        &mut self,
        shared: &Shared,
        node: NodeId,
        proof: CommitProof,
    ) -> Result<(), NodeError> {
        self.check_object(&proof.seal.manifest.object)?;
        let generation = proof.seal.manifest.object.generation;
        if let Some((known, nodes)) = self.commits.get_mut(&generation)
            && *known.proof() == proof
        {
            nodes.insert(node);
            return Ok(());
        }
        let commit = locked(&shared.verifier).commit(proof)?;
        let entry = self.commits.entry(generation);
        entry.or_insert_with(|| (commit, BTreeSet::new())).1.insert(node);
        Ok(())
    }

    fn take_deleted(&mut self, shared: &Shared, order: OwnerOrder) -> Result<(), NodeError> {
        self.check_object(&order.object)?;
        if order.kind != OrderKind::Delete {
            return Err(VerifyError::Mismatch.into());
        }
        let generation = order.object.generation;
        let verified = order.verify(&shared.config).map_err(VerifyError::Object)?;
        if self.deleted.as_ref().is_none_or(|(known, _)| *known < generation) {
            self.deleted = Some((generation, verified.order().clone()));
        }
        Ok(())
    }

    fn take_pending(&mut self, shared: &Shared, open: SignedOpen) -> Result<(), NodeError> {
        self.check_object(&open.open.object)?;
        if let Some((_, count)) = self.pending.iter_mut().find(|(known, _)| *known == open) {
            *count += 1;
            return Ok(());
        }
        let verified = open.verify(&shared.config).map_err(VerifyError::Object)?;
        self.pending.push((verified.signed().clone(), 1));
        Ok(())
    }

    fn take_aborted(&mut self, shared: &Shared, aborted: AbortedHead) -> Result<(), NodeError> {
        let upload = self.upload(shared, aborted.generation);
        if let Some(cert) = aborted.cert {
            if cert.upload != upload {
                return Err(VerifyError::Mismatch.into());
            }
            let verified = locked(&shared.verifier).abort_cert(cert)?;
            self.aborted.insert(aborted.generation, verified.cert().clone());
        }
        if let Some(vote) = aborted.vote {
            let statement = vote.statement;
            if statement.kind != StatementKind::Abort || statement.upload != upload {
                return Err(VerifyError::Mismatch.into());
            }
            let verified = locked(&shared.verifier).vote(vote)?;
            let votes = self.aborts.entry(aborted.generation).or_default();
            votes.insert(statement.slot, verified.signed().clone());
        }
        Ok(())
    }

    pub(crate) fn upload(&self, shared: &Shared, generation: Generation) -> UploadId {
        upload_id(&shared.config, &self.object.owner, &self.object.name, generation)
    }

    /// Bundles single votes where there are enough of them.
    fn certify_aborts(&mut self, shared: &Shared) {
        let needed = shared.config.params.answer_quorum();
        for (generation, votes) in &self.aborts {
            if let Some(cert) = abort_cert(shared, votes).filter(|_| votes.len() >= needed) {
                self.aborted.entry(*generation).or_insert(cert);
            }
        }
    }
}

/// The certificate of verified votes to abort one upload.
pub(crate) fn abort_cert(
    shared: &Shared,
    votes: &BTreeMap<Slot, SignedVote>,
) -> Option<QuorumCert> {
    let first = votes.values().next()?;
    Some(QuorumCert::of_votes(shared.config.epoch, &first.statement, votes.values()))
}
