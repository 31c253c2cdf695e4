//! Checks signatures and turns messages into types that say so.
//!
//! Every certificate holder verifies the same batch signatures again and again (five READYs carry
//! the same four ECHOs), so signatures that verified once are remembered, bounded, by node, root
//! and signature bytes.
//!
//! Spec: docs/protocol.md SIGN-1, SIGN-2, READ-1, ECHO-1, READY-1, ABORT-2, ID-1.
//! Invariant: `Verified…` values are built here and nowhere else.
//! Bounds: the memory holds at most 2 × `REMEMBERED` signatures.
//! Not here: what a verified vote leads to (`server`, `writer`, `reader`).

use std::collections::BTreeSet;
use std::sync::Arc;

use avid_types::canary::{self, Canary};
use avid_types::{ClusterConfig, Commitment, Digest, NodeId, Signature, Slot, Timestamp, UploadId};

use crate::certificate::{CommitProof, Predecessor, QuorumCert};
use crate::object::{ObjectError, ObjectId, OrderKind, VerifiedSeal};
use crate::statement::{Statement, StatementKind};
use crate::vote::{SignedVote, batch_message};

/// Signatures per generation of the memory: certificates of thousands of uploads under way.
const REMEMBERED: usize = 8192;

/// Why a vote or certificate is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The statement names a slot outside the group.
    #[error("slot {0} does not exist in this group")]
    NoSuchSlot(Slot),
    /// The statement has fields that its kind does not have.
    #[error("{0} has a field that its kind does not have")]
    NotCanonical(StatementKind),
    /// The node's signature does not verify.
    #[error("signature of node {0} does not verify")]
    Signature(NodeId),
    /// A certificate of other statements than expected.
    #[error("certificate is of {found} statements, expected {expected}")]
    Kind {
        /// Expected.
        expected: StatementKind,
        /// Found.
        found: StatementKind,
    },
    /// Too few distinct signers.
    #[error("certificate has {found} distinct signers, needs {needed}")]
    Quorum {
        /// Needed.
        needed: usize,
        /// Found.
        found: usize,
    },
    /// The certificate is about something else.
    #[error("certificate does not match the upload, commitment, expiry or epoch")]
    Mismatch,
    /// An owner's message inside is bad.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// The previous generation has not ended as claimed.
    #[error("the previous generation of this id has not ended: {0}")]
    Predecessor(&'static str),
}

/// A vote whose node signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedVote {
    vote: SignedVote,
    signer: NodeId,
}

impl VerifiedVote {
    /// The statement.
    #[must_use]
    pub fn statement(&self) -> &Statement {
        &self.vote.statement
    }

    /// Who signed.
    #[must_use]
    pub fn signer(&self) -> NodeId {
        self.signer
    }

    /// With the attestation, for others.
    #[must_use]
    pub fn signed(&self) -> &SignedVote {
        &self.vote
    }
}

/// A certificate with its quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCert {
    cert: QuorumCert,
}

impl VerifiedCert {
    /// The certificate.
    #[must_use]
    pub fn cert(&self) -> &QuorumCert {
        &self.cert
    }
}

/// A commit proof whose every part verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCommit {
    seal: VerifiedSeal,
    proof: CommitProof,
}

impl VerifiedCommit {
    /// The owner's description.
    #[must_use]
    pub fn seal(&self) -> &VerifiedSeal {
        &self.seal
    }

    /// The upload.
    #[must_use]
    pub fn upload(&self) -> UploadId {
        self.seal.upload()
    }

    /// The commitment.
    #[must_use]
    pub fn commitment(&self) -> Commitment {
        self.seal.commitment()
    }

    /// Everything, for others.
    #[must_use]
    pub fn proof(&self) -> &CommitProof {
        &self.proof
    }
}

type Key = (NodeId, Digest, Signature);

/// Verifies against one cluster configuration.
#[derive(Debug)]
pub struct Verifier {
    config: Arc<ClusterConfig>,
    young: BTreeSet<Key>,
    old: BTreeSet<Key>,
}

impl Verifier {
    /// A verifier that remembers nothing yet.
    #[must_use]
    pub fn new(config: Arc<ClusterConfig>) -> Self {
        Self { config, young: BTreeSet::new(), old: BTreeSet::new() }
    }

    /// The configuration it checks against.
    #[must_use]
    pub fn config(&self) -> &Arc<ClusterConfig> {
        &self.config
    }

    /// Checks that the statement is canonical and that the node at its slot signed it.
    ///
    /// # Errors
    ///
    /// [`VerifyError`].
    pub fn vote(&mut self, vote: SignedVote) -> Result<VerifiedVote, VerifyError> {
        let slot = vote.statement.slot;
        if !vote.statement.is_canonical() {
            return Err(VerifyError::NotCanonical(vote.statement.kind));
        }
        let signer = vote.signer(&self.config).ok_or(VerifyError::NoSuchSlot(slot))?;
        let root = vote.attestation.root(&self.config, &vote.statement);
        if self.batch_signed(signer, root, vote.attestation.signature) {
            return Ok(VerifiedVote { vote, signer });
        }
        Err(VerifyError::Signature(signer))
    }

    fn batch_signed(&mut self, signer: NodeId, root: Digest, signature: Signature) -> bool {
        let key = (signer, root, signature);
        if self.young.contains(&key) || self.old.contains(&key) {
            return true;
        }
        let Some(member) = self.config.member(signer) else {
            return false;
        };
        if !member.vote_key.verifies(&batch_message(&self.config, &root), &signature) {
            return false;
        }
        if self.young.len() >= REMEMBERED {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key);
        true
    }

    /// Checks a certificate of `kind` and that it has `needed` distinct signers.
    ///
    /// # Errors
    ///
    /// [`VerifyError`]; one bad entry refuses the whole certificate.
    pub fn cert(
        &mut self,
        cert: QuorumCert,
        kind: StatementKind,
        needed: usize,
    ) -> Result<VerifiedCert, VerifyError> {
        if cert.kind != kind {
            return Err(VerifyError::Kind { expected: kind, found: cert.kind });
        }
        if cert.epoch != self.config.epoch {
            return Err(VerifyError::Mismatch);
        }
        let found = cert.distinct_slots(self.config.params);
        if found < needed || found != cert.entries.len() {
            return Err(VerifyError::Quorum { needed, found });
        }
        for vote in cert.votes() {
            self.vote(vote)?;
        }
        Ok(VerifiedCert { cert })
    }

    /// Checks an echo certificate.
    ///
    /// # Errors
    ///
    /// [`VerifyError`].
    pub fn echo_cert(&mut self, cert: QuorumCert) -> Result<VerifiedCert, VerifyError> {
        let mut needed = self.config.params.echo_quorum();
        if canary::sings(Canary::ReadyWithoutCertificate) {
            needed = 0;
        }
        self.cert(cert, StatementKind::Echo, needed)
    }

    /// Checks an abort certificate.
    ///
    /// # Errors
    ///
    /// [`VerifyError`].
    pub fn abort_cert(&mut self, cert: QuorumCert) -> Result<VerifiedCert, VerifyError> {
        let needed = self.config.params.answer_quorum();
        self.cert(cert, StatementKind::Abort, needed)
    }

    /// Checks a commit proof: owner's signatures, echo certificate, READYs, all about one C.
    ///
    /// Rule: READ-1.
    ///
    /// # Errors
    ///
    /// [`VerifyError`].
    pub fn commit(&mut self, proof: CommitProof) -> Result<VerifiedCommit, VerifyError> {
        let seal = proof.seal.clone().verify(&self.config)?;
        for cert in [&proof.echo, &proof.ready] {
            let about = (cert.upload, cert.commitment, cert.expiry);
            if about != (seal.upload(), seal.commitment(), seal.expiry()) {
                return Err(VerifyError::Mismatch);
            }
        }
        self.echo_cert(proof.echo.clone())?;
        let needed = self.config.params.deliver_quorum();
        self.cert(proof.ready.clone(), StatementKind::Ready, needed)?;
        Ok(VerifiedCommit { seal, proof })
    }

    /// Checks that the generation before `object` has ended. Generation 0 has none before it.
    ///
    /// Rule: ID-1.
    ///
    /// # Errors
    ///
    /// [`VerifyError::Predecessor`] or the flaw in the proof.
    pub fn predecessor(
        &mut self,
        cluster_time: Timestamp,
        object: &ObjectId,
        proof: Option<Predecessor>,
    ) -> Result<(), VerifyError> {
        let Some(before) = object.generation.0.checked_sub(1) else {
            return Ok(());
        };
        let previous = ObjectId { generation: avid_types::Generation(before), ..object.clone() };
        let upload = previous.upload(&self.config);
        match proof {
            None if canary::sings(Canary::NoPredecessor) => Ok(()),
            None => Err(VerifyError::Predecessor("no proof was shown")),
            Some(Predecessor::Aborted(cert)) => {
                if cert.upload != upload {
                    return Err(VerifyError::Mismatch);
                }
                self.abort_cert(cert).map(|_| ())
            }
            Some(Predecessor::Deleted(order)) => {
                if order.object != previous || order.kind != OrderKind::Delete {
                    return Err(VerifyError::Mismatch);
                }
                order.verify(&self.config)?;
                Ok(())
            }
            Some(Predecessor::Expired(proof)) => {
                let commit = self.commit(*proof)?;
                let expires_at = commit.seal().manifest().expires_at;
                if commit.upload() != upload {
                    return Err(VerifyError::Mismatch);
                }
                if expires_at == Timestamp::ZERO || expires_at > cluster_time {
                    return Err(VerifyError::Predecessor("the committed object has not expired"));
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests;
