//! The machine's own invariants: a step that broke one would stop the node, not the cluster.
//!
//! No input breaks them, so the records before and after a step are made up here.
//!
//! Spec: docs/protocol.md ECHO-1, ABORT-1, DELETE-1.

use avid_types::{
    ClusterId, Epoch, Generation, MemberConfig, ObjectName, Params, PublicKey, Signature, Suite,
};

use super::*;
use crate::object::{ObjectId, OwnerOrder};

fn config() -> ClusterConfig {
    let member = |node: u8| MemberConfig {
        name: format!("node{node}"),
        vote_key: PublicKey([node; 32]),
        transport_key: PublicKey([100 + node; 32]),
        address: "host:1".to_owned(),
        zone: String::new(),
    };
    ClusterConfig {
        cluster: ClusterId([1; 16]),
        epoch: Epoch(0),
        params: Params::with_most_liars(1, 2).unwrap(),
        suite: Suite::default(),
        chunk_bytes: 4096,
        members: vec![member(0), member(1)],
        groups: vec![vec![NodeId(0), NodeId(1)]],
        operators: vec![PublicKey([9; 32])],
    }
}

fn record(phase: Phase) -> UploadRecord {
    UploadRecord { phase, ..UploadRecord::default() }
}

fn promise(content: u8) -> Promise {
    Promise { commitment: Commitment([content; 32]), expiry: Timestamp(1) }
}

fn ready(echoed: Option<Promise>) -> UploadRecord {
    let config = config();
    let statement = Statement::about_upload(StatementKind::Echo, UploadId::ZERO, Slot(0));
    let echo_cert = QuorumCert::of_votes(config.epoch, &statement, std::iter::empty());
    record(Phase::Ready { echoed, promise: promise(1), echo_cert })
}

fn aborted(echoed: Option<Promise>) -> UploadRecord {
    record(Phase::Aborted { echoed, cert: None })
}

fn deleted() -> UploadRecord {
    let name = ObjectName::new("photo").unwrap();
    let object = ObjectId { owner: PublicKey([3; 32]), name, generation: Generation(0) };
    let signature = Signature([0; 64]);
    record(Phase::Deleted(OwnerOrder { kind: OrderKind::Delete, object, signature }))
}

/// What the check after a step from `before` to `after` says.
fn check(before: &UploadRecord, after: UploadRecord) {
    let config = Arc::new(config());
    let machine = ServerUpload::new(config, NodeId(0), UploadId::ZERO, after).unwrap();
    machine.check_invariants(before);
}

#[test]
fn the_steps_of_the_picture_break_nothing() {
    let echoed = record(Phase::Echoed(promise(1)));
    check(&record(Phase::Idle), echoed.clone());
    check(&echoed, ready(Some(promise(1))));
    check(&echoed, aborted(Some(promise(1))));
    check(&aborted(None), deleted());
    check(&deleted(), deleted());
}

#[test]
#[should_panic(expected = "an echo was replaced")]
fn an_echo_that_changed_is_a_bug_of_ours() {
    check(&record(Phase::Echoed(promise(1))), aborted(Some(promise(2))));
}

#[test]
#[should_panic(expected = "aborted after ready")]
fn an_abort_after_ready_is_a_bug_of_ours() {
    check(&ready(None), aborted(None));
}

#[test]
#[should_panic(expected = "ready after abort")]
fn a_ready_after_abort_is_a_bug_of_ours() {
    check(&aborted(None), ready(None));
}

#[test]
#[should_panic(expected = "a tombstone was removed")]
fn a_tombstone_that_vanished_is_a_bug_of_ours() {
    check(&deleted(), record(Phase::Idle));
}
