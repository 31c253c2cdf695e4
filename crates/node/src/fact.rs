//! What a node did, as it happens: for metrics, and for checkers that watch every step.
//!
//! Facts are told by the engine, in order, after they became durable and before anybody outside
//! hears of them. An observer only looks: nothing it does changes what the node does.
//!
//! Bounds: an observer must not block; it runs on the engine's thread.

use std::fmt::Debug;

use avid_protocol::fault::Fault;
use avid_protocol::record::UploadRecord;
use avid_protocol::vote::SignedVote;
use avid_store::FragmentKey;
use avid_types::{NodeId, UploadId};

/// Something a node did.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Fact<'a> {
    /// The record of an upload is durable.
    Recorded(UploadId, &'a UploadRecord),
    /// A vote was signed; what it promises is durable.
    Signed(&'a SignedVote),
    /// A fragment was given up.
    FragmentDropped(FragmentKey),
    /// A peer or client misbehaved provably.
    Fault(&'a Fault),
    /// Two contents of one upload are certified: more than f nodes lie.
    BoundExceeded(UploadId),
}

/// Looks at what a node does.
pub trait Observe: Send + Sync + Debug + 'static {
    /// `node` did this.
    fn on_fact(&self, node: NodeId, fact: Fact<'_>);
}
