//! The memory of signatures: what it holds, for how long, and what it spares.
//!
//! Spec: docs/protocol.md SIGN-2.

use avid_types::{ClusterId, Epoch, MemberConfig, Params, PublicKey, SigningKey, Suite, Timestamp};

use super::*;
use crate::vote::sign_statements;

fn key(node: u8) -> SigningKey {
    SigningKey::from_seed([node; 32])
}

/// 1-of-2, node i votes with key i.
fn verifier() -> Verifier {
    let member = |node: u8| MemberConfig {
        name: format!("node{node}"),
        vote_key: key(node).public(),
        transport_key: key(100 + node).public(),
        address: "host:1".to_owned(),
        zone: String::new(),
    };
    let config = ClusterConfig {
        cluster: ClusterId([1; 16]),
        epoch: Epoch(0),
        params: Params::with_most_liars(1, 2).unwrap(),
        suite: Suite::default(),
        chunk_bytes: 4096,
        members: vec![member(0), member(1)],
        groups: vec![vec![NodeId(0), NodeId(1)]],
        operators: vec![PublicKey([9; 32])],
    };
    Verifier::new(Arc::new(config))
}

/// Statement `number` of node 0, which holds slot 0 of the upload of zeros.
fn vote(verifier: &Verifier, number: u64) -> SignedVote {
    let bare = Statement::about_upload(StatementKind::Echo, UploadId::ZERO, Slot(0));
    let statement = Statement { expiry: Timestamp(number), ..bare };
    sign_statements(verifier.config(), &key(0), &[statement]).remove(0)
}

fn key_of(verifier: &Verifier, vote: &SignedVote) -> Key {
    let root = vote.attestation.root(verifier.config(), &vote.statement);
    (NodeId(0), root, vote.attestation.signature)
}

#[test]
fn a_signature_is_remembered_once_and_a_bad_one_never() {
    let mut verifier = verifier();
    let good = vote(&verifier, 1);
    for _ in 0..3 {
        verifier.vote(good.clone()).unwrap();
    }
    assert_eq!(verifier.young, BTreeSet::from([key_of(&verifier, &good)]));
    let mut bad = good;
    bad.attestation.signature.0[5] ^= 1;
    assert_eq!(verifier.vote(bad), Err(VerifyError::Signature(NodeId(0))));
    assert_eq!((verifier.young.len(), verifier.old.len()), (1, 0));
}

/// What stands in either generation is not computed again: seen by putting a wrong one there.
#[test]
fn a_remembered_signature_is_believed_in_both_generations() {
    let mut forged = vote(&verifier(), 1);
    forged.attestation.signature = Signature([7; 64]);
    let mut young = verifier();
    young.young.insert(key_of(&young, &forged));
    young.vote(forged.clone()).unwrap();
    let mut old = verifier();
    old.old.insert(key_of(&old, &forged));
    old.vote(forged.clone()).unwrap();
    assert_eq!(old.young.len(), 0);
    assert!(verifier().vote(forged).is_err());
}

#[test]
fn the_memory_holds_two_generations_and_forgets_the_older() {
    let mut verifier = verifier();
    let (first, second) = (vote(&verifier, 1), vote(&verifier, 2));
    let filler = |generation: u8| {
        (0_u32..).map(move |number| {
            let mut root = [generation; 32];
            root[..4].copy_from_slice(&number.to_le_bytes());
            (NodeId(1), Digest(root), Signature([0; 64]))
        })
    };
    verifier.young.extend(filler(1).take(REMEMBERED - 1));
    verifier.vote(first.clone()).unwrap();
    assert_eq!((verifier.young.len(), verifier.old.len()), (REMEMBERED, 0));
    verifier.vote(second.clone()).unwrap();
    assert_eq!((verifier.young.len(), verifier.old.len()), (1, REMEMBERED));
    verifier.young.extend(filler(2).take(REMEMBERED - 1));
    verifier.vote(vote(&verifier, 3)).unwrap();
    assert_eq!((verifier.young.len(), verifier.old.len()), (1, REMEMBERED));
    assert!(!verifier.old.contains(&key_of(&verifier, &first)), "two generations ago");
    assert!(verifier.old.contains(&key_of(&verifier, &second)));
}
