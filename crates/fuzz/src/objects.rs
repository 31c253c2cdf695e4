//! What owners, nodes and operators sign, and what a node keeps of it: each decoder by itself.

use avid_protocol::authority::SignedGrant;
use avid_protocol::certificate::{CommitProof, Predecessor, QuorumCert};
use avid_protocol::clock::SignedHeartbeat;
use avid_protocol::object::{Manifest, OwnerOrder, SealBundle, SignedOpen};
use avid_protocol::record::UploadRecord;
use avid_protocol::vote::SignedVote;

use crate::check::{self, canonical};
use crate::golden::{self, encoded};

/// An owner's OPEN with its signature.
pub fn target_open(bytes: &[u8]) {
    canonical(bytes, SignedOpen::decode, SignedOpen::encode).iter().for_each(check::open);
}

/// A manifest: its commitment names exactly the bytes it was read from.
pub fn target_manifest(bytes: &[u8]) {
    canonical(bytes, Manifest::decode, Manifest::encode).iter().for_each(check::manifest);
}

/// OPEN, manifest and the owner's SEAL.
pub fn target_seal(bytes: &[u8]) {
    canonical(bytes, SealBundle::decode, SealBundle::encode).iter().for_each(check::seal);
}

/// An owner's CANCEL or DELETE.
pub fn target_order(bytes: &[u8]) {
    canonical(bytes, OwnerOrder::decode, OwnerOrder::encode).iter().for_each(check::order);
}

/// A node's vote with its attestation.
pub fn target_vote(bytes: &[u8]) {
    canonical(bytes, SignedVote::decode, SignedVote::encode).iter().for_each(check::vote);
}

/// A quorum of votes.
pub fn target_certificate(bytes: &[u8]) {
    canonical(bytes, QuorumCert::decode, QuorumCert::encode).iter().for_each(check::cert);
}

/// Seal, echo certificate and ready certificate.
pub fn target_commit_proof(bytes: &[u8]) {
    canonical(bytes, CommitProof::decode, CommitProof::encode).iter().for_each(check::proof);
}

/// How the generation before ended.
pub fn target_predecessor(bytes: &[u8]) {
    canonical(bytes, Predecessor::decode, Predecessor::encode).iter().for_each(check::predecessor);
}

/// An operator's admission of a client.
pub fn target_grant(bytes: &[u8]) {
    canonical(bytes, SignedGrant::decode, SignedGrant::encode);
}

/// A node's signed clock, boot counter and position.
pub fn target_heartbeat(bytes: &[u8]) {
    canonical(bytes, SignedHeartbeat::decode, SignedHeartbeat::encode);
}

/// What a node keeps of an upload for ever.
pub fn target_upload_record(bytes: &[u8]) {
    let Ok(record) = UploadRecord::from_bytes(bytes) else {
        return;
    };
    assert!(record.to_bytes() == bytes, "an upload record is written as other bytes");
    check::record(&record);
}

pub(crate) fn open_seeds() -> Vec<Vec<u8>> {
    encoded(&golden::parts().opens, SignedOpen::encode)
}

pub(crate) fn manifest_seeds() -> Vec<Vec<u8>> {
    encoded(&golden::parts().manifests, Manifest::encode)
}

pub(crate) fn seal_seeds() -> Vec<Vec<u8>> {
    encoded(&golden::parts().seals, SealBundle::encode)
}

pub(crate) fn order_seeds() -> Vec<Vec<u8>> {
    encoded(&golden::parts().orders, OwnerOrder::encode)
}

pub(crate) fn vote_seeds() -> Vec<Vec<u8>> {
    let mut seeds = encoded(&golden::parts().votes, SignedVote::encode);
    seeds.extend(golden::forms("vote "));
    seeds
}

pub(crate) fn certificate_seeds() -> Vec<Vec<u8>> {
    encoded(&golden::parts().certs, QuorumCert::encode)
}

pub(crate) fn commit_proof_seeds() -> Vec<Vec<u8>> {
    encoded(&golden::parts().proofs, CommitProof::encode)
}

pub(crate) fn predecessor_seeds() -> Vec<Vec<u8>> {
    encoded(&golden::parts().predecessors, Predecessor::encode)
}

pub(crate) fn grant_seeds() -> Vec<Vec<u8>> {
    golden::forms("grant")
}

pub(crate) fn heartbeat_seeds() -> Vec<Vec<u8>> {
    encoded(&golden::parts().heartbeats, SignedHeartbeat::encode)
}
