//! Listing: the union of the nodes' pages, every entry proved.
//!
//! Each node says up to which name its page is complete. An object committed by honest nodes is in
//! the page of at least one honest node of any n - f, so the union is complete up to the
//! (n - f)-th largest of those names: f liars that stop early cannot hold the listing back while
//! all others answer.
//!
//! Spec: docs/protocol.md FRESH-1.
//! Bounds: one page per node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use avid_protocol::object::OrderKind;
use avid_protocol::verify::VerifyError;
use avid_protocol::wire::{ListEntry, ListPage, Message};
use avid_types::limits::LIST_PAGE_MAX;
use avid_types::{Commitment, Generation, NodeId, ObjectName, PublicKey, Timestamp, UploadId};

use crate::client::{Asking, Shared};
use crate::fault::{NodeFailure, joined, name_of};
use crate::pool::locked;
use crate::session::NodeError;

/// Why there is no listing.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// Nobody answered.
    #[error("no node answered ({})", joined(failures))]
    Unavailable {
        /// What each said.
        failures: Vec<NodeFailure>,
    },
}

/// A committed object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedObject {
    /// The name.
    pub name: ObjectName,
    /// The life of the name.
    pub generation: Generation,
    /// The upload.
    pub upload: UploadId,
    /// The commitment.
    pub commitment: Commitment,
    /// Length.
    pub object_bytes: u64,
    /// Cluster time after which it may go; zero for never.
    pub expires_at: Timestamp,
}

/// One page.
#[derive(Clone, Debug)]
pub struct ListResult {
    /// Objects, ordered by name.
    pub objects: Vec<ListedObject>,
    /// Where the next page begins; `None` if this one reaches the end.
    pub next: Option<ObjectName>,
    /// n - f nodes of every group answered; otherwise objects may be missing.
    pub complete: bool,
    /// Nodes that gave no useful answer.
    pub failures: Vec<NodeFailure>,
}

/// What was asked.
struct Question<'a> {
    owner: PublicKey,
    prefix: &'a str,
    after: Option<&'a ObjectName>,
}

#[derive(Default)]
struct Union {
    objects: BTreeMap<ObjectName, ListedObject>,
    deleted: BTreeMap<ObjectName, Generation>,
    reach: BTreeMap<NodeId, Option<ObjectName>>,
}

pub(crate) async fn list(
    shared: &Arc<Shared>,
    owner: PublicKey,
    prefix: &str,
    after: Option<&ObjectName>,
    limit: u16,
) -> Result<ListResult, ListError> {
    let limit = usize::from(limit).clamp(1, LIST_PAGE_MAX);
    let message = Message::List {
        owner,
        prefix: prefix.to_owned(),
        after: after.cloned(),
        limit: u16::try_from(limit).unwrap_or(u16::MAX),
    };
    let enough = |has: &dyn Fn(&NodeId) -> bool| shared.quorum_of(has);
    let answers = shared.ask_all(shared.members(), message, enough, Asking::Once).await;
    let question = Question { owner, prefix, after };
    let (mut union, mut failures) = (Union::default(), Vec::new());
    for (node, answer) in answers {
        let taken = answer.and_then(|message| {
            let Message::ListAnswer(page) = message else {
                return Err(NodeError::Unexpected { kind: message.kind() });
            };
            union.take(shared, &question, node, page)
        });
        if let Err(error) = taken {
            failures.push(NodeFailure { node, name: name_of(&shared.config, node), error });
        }
    }
    if union.reach.is_empty() {
        return Err(ListError::Unavailable { failures });
    }
    let complete = shared.quorum_of(|node| union.reach.contains_key(node));
    let (objects, next) = union.page(shared, limit);
    Ok(ListResult { objects, next, complete, failures })
}

impl Union {
    fn take(
        &mut self,
        shared: &Shared,
        question: &Question<'_>,
        node: NodeId,
        page: ListPage,
    ) -> Result<(), NodeError> {
        // A page that ends before it begins would send the listing back for ever.
        if let (Some(end), Some(after)) = (&page.complete_to, question.after)
            && end <= after
        {
            return Err(VerifyError::Mismatch.into());
        }
        for entry in page.entries {
            match entry {
                ListEntry::Committed(proof) => {
                    let id = &proof.seal.manifest.object;
                    question.check(&id.owner, &id.name)?;
                    if self.is_known(&id.name, id.generation) {
                        continue;
                    }
                    let commit = locked(&shared.verifier).commit(*proof)?;
                    let manifest = commit.seal().manifest();
                    let listed = ListedObject {
                        name: manifest.object.name.clone(),
                        generation: manifest.object.generation,
                        upload: commit.upload(),
                        commitment: commit.commitment(),
                        object_bytes: manifest.object_bytes,
                        expires_at: manifest.expires_at,
                    };
                    self.objects.insert(listed.name.clone(), listed);
                }
                ListEntry::Deleted(order) => {
                    question.check(&order.object.owner, &order.object.name)?;
                    if order.kind != OrderKind::Delete {
                        return Err(VerifyError::Mismatch.into());
                    }
                    let order = order.verify(&shared.config).map_err(VerifyError::Object)?;
                    let id = &order.order().object;
                    let known = self.deleted.entry(id.name.clone()).or_insert(id.generation);
                    *known = id.generation.max(*known);
                }
            }
        }
        self.reach.insert(node, page.complete_to);
        Ok(())
    }

    /// A verified entry of this generation or a later one is there.
    fn is_known(&self, name: &ObjectName, generation: Generation) -> bool {
        self.objects.get(name).is_some_and(|known| known.generation >= generation)
    }

    /// What the union is complete for, and where to go on.
    fn page(mut self, shared: &Shared, limit: usize) -> (Vec<ListedObject>, Option<ObjectName>) {
        let reach = self.complete_to(shared);
        let deleted = &self.deleted;
        self.objects.retain(|name, object| {
            let is_deleted = deleted.get(name).is_some_and(|last| *last >= object.generation);
            let is_within = reach.as_ref().is_none_or(|reach| name <= reach);
            !is_deleted && is_within
        });
        let more = self.objects.len() > limit;
        let objects: Vec<ListedObject> = self.objects.into_values().take(limit).collect();
        let next = if more { objects.last().map(|last| last.name.clone()) } else { reach };
        (objects, next)
    }

    /// `None` means the end. Per group the (n - f)-th largest reach, over all groups the smallest.
    fn complete_to(&self, shared: &Shared) -> Option<ObjectName> {
        let needed = shared.config.params.answer_quorum();
        let mut smallest = None;
        for group in &shared.config.groups {
            let group: BTreeSet<_> = group.iter().collect();
            let of_group = self.reach.iter().filter(|(node, _)| group.contains(node));
            let mut ends: Vec<&ObjectName> =
                of_group.clone().filter_map(|(_, r)| r.as_ref()).collect();
            let unbounded = of_group.filter(|(_, reach)| reach.is_none()).count();
            if unbounded >= needed || ends.is_empty() {
                continue;
            }
            // Largest first; those without an end come before all of them.
            ends.sort_unstable_by(|a, b| b.cmp(a));
            let position = needed - unbounded - 1;
            let reach = ends.get(position).or_else(|| ends.last()).copied().cloned();
            smallest = match (smallest, reach) {
                (Some(known), Some(reach)) => Some(std::cmp::min::<ObjectName>(known, reach)),
                (known, reach) => known.or(reach),
            };
        }
        smallest
    }
}

impl Question<'_> {
    fn check(&self, owner: &PublicKey, name: &ObjectName) -> Result<(), NodeError> {
        let is_after = self.after.is_none_or(|after| name > after);
        if *owner == self.owner && name.as_str().starts_with(self.prefix) && is_after {
            return Ok(());
        }
        Err(VerifyError::Mismatch.into())
    }
}
