//! Votes of nodes: one signature over all statements of one journal sync.
//!
//! ```text
//! statements of one sync   s0   s1   s2   s3   s4        leaf = H(tag || 139 bytes)
//!                            \  /     \  /     |
//!                             x        x       |          odd node promoted
//!                              \______/        |
//!                                  \__________/
//!                                     root     -> Ed25519("avidfp/votes/v1" || cluster || root)
//! ```
//! A vote is a statement, the signature of its batch and the Merkle path between the two.
//!
//! Spec: docs/protocol.md SIGN-2.
//! Bounds: a path has at most `BATCH_PATH_MAX` siblings.
//! Not here: which statements a node may make (`server`).

use avid_coding::merkle::{self, MerklePath, TreeKind};
use avid_types::limits::{BATCH_PATH_MAX, BATCH_STATEMENTS_MAX};
use avid_types::{
    ClusterConfig, Commitment, DecodeError, Decoder, Digest, Encoder, NodeId, Nonce, Signature,
    SigningKey, Slot, Timestamp, UploadId,
};

use crate::statement::{Statement, StatementKind};

/// The bytes a node signs for a batch of statements.
#[must_use]
pub fn batch_message(config: &ClusterConfig, root: &Digest) -> Vec<u8> {
    let mut e = Encoder::with_capacity(64);
    e.u8(15);
    e.bytes(b"avidfp/votes/v1");
    config.cluster.encode(&mut e);
    root.encode(&mut e);
    e.into_vec()
}

/// Proof that a statement is in a batch that its node signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attestation {
    /// Signature over [`batch_message`].
    pub signature: Signature,
    /// From the statement's leaf to the signed root.
    pub path: MerklePath,
}

impl Attestation {
    /// The signed root that this path leads to from a statement.
    #[must_use]
    pub fn root(&self, config: &ClusterConfig, statement: &Statement) -> Digest {
        self.path.root_of(TreeKind::Statements, statement.leaf(config))
    }

    /// Appends signature and path.
    pub fn encode(&self, e: &mut Encoder) {
        self.signature.encode(e);
        self.path.encode(e);
    }

    /// Reads signature and path.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if malformed or too long.
    pub fn decode(d: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self { signature: Signature::decode(d)?, path: MerklePath::decode(d, BATCH_PATH_MAX)? })
    }
}

/// A statement of a node with its attestation, not yet checked.
///
/// The signer is not named: it is the node at the statement's slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedVote {
    /// What is said.
    pub statement: Statement,
    /// Why to believe that the node said it.
    pub attestation: Attestation,
}

impl SignedVote {
    /// The node that must have signed.
    #[must_use]
    pub fn signer(&self, config: &ClusterConfig) -> Option<NodeId> {
        config.node_at(self.statement.upload, self.statement.slot)
    }

    /// Appends the variable parts of the statement and the attestation.
    pub fn encode(&self, e: &mut Encoder) {
        e.u8(self.statement.kind.to_byte());
        self.statement.upload.encode(e);
        self.statement.commitment.encode(e);
        self.statement.slot.encode(e);
        self.statement.expiry.encode(e);
        self.statement.nonce.encode(e);
        self.attestation.encode(e);
    }

    /// Reads a vote.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if malformed, or if the kind is an owner's.
    pub fn decode(d: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let kind = StatementKind::from_byte(d.u8()?)?;
        if kind >= StatementKind::Seal {
            return Err(DecodeError::Invalid { what: "vote", value: u64::from(kind.to_byte()) });
        }
        Ok(Self {
            statement: Statement {
                kind,
                upload: UploadId::decode(d)?,
                commitment: Commitment::decode(d)?,
                slot: Slot::decode(d)?,
                expiry: Timestamp::decode(d)?,
                nonce: Nonce::decode(d)?,
            },
            attestation: Attestation::decode(d)?,
        })
    }
}

/// Signs any number of statements, at most `BATCH_STATEMENTS_MAX` under one signature.
///
/// The caller made every promise among them durable before calling. Cost: one signature
/// per batch and two hashes per statement.
///
/// Rule: SIGN-2.
#[must_use]
pub fn sign_statements(
    config: &ClusterConfig,
    key: &SigningKey,
    statements: &[Statement],
) -> Vec<SignedVote> {
    let mut votes = Vec::with_capacity(statements.len());
    for batch in statements.chunks(BATCH_STATEMENTS_MAX) {
        let leaves: Vec<Digest> = batch.iter().map(|statement| statement.leaf(config)).collect();
        let paths = merkle::paths_of(TreeKind::Statements, &leaves);
        let (Some(leaf), Some(path)) = (leaves.first(), paths.first()) else {
            continue;
        };
        let root = path.root_of(TreeKind::Statements, *leaf);
        let signature = key.sign(&batch_message(config, &root));
        for (statement, path) in batch.iter().zip(paths) {
            let attestation = Attestation { signature, path };
            votes.push(SignedVote { statement: *statement, attestation });
        }
    }
    votes
}
