//! What is signed, byte by byte.
//!
//! ```text
//! offset  bytes  field
//!      0      1  length of the domain tag (19)
//!      1     19  "avidfp/statement/v1"
//!     20      1  mode, 'P'
//!     21     16  cluster
//!     37      8  epoch
//!     45      4  placement group
//!     49      1  kind
//!     50     32  upload u
//!     82     32  commitment C, zero where the kind has none
//!    114      1  slot, zero where the kind has none
//!    115      8  expiry of the OPEN, zero where the kind has none
//!    123     16  nonce, zero unless the statement answers a question
//!    139         end
//! ```
//! All integers little-endian. Nodes sign the Merkle root of the statements of one journal sync
//! (`vote`); owners sign the bytes of one statement directly.
//!
//! Spec: docs/protocol.md SIGN-1, SIGN-2, HOLD-1, ABORT-1.
//! Invariant: no signature covers anything the receiver re-serialised from a looser form.
//! Not here: who may sign what (`verify`), objects' descriptions (`object`).

use avid_types::{
    ClusterConfig, Commitment, DecodeError, Digest, Encoder, Nonce, PublicKey, Signature,
    SigningKey, Slot, Timestamp, UploadId,
};

const DOMAIN: &[u8] = b"avidfp/statement/v1";
/// Peers agree by votes; a log-ordered mode has another byte, so that neither replays the other.
const MODE_PEERS_VOTE: u8 = b'P';
/// Size of every statement.
pub const STATEMENT_BYTES: usize = 139;

/// What a statement says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum StatementKind {
    /// Node: I verified my fragment of C and synced it (also called STORED).
    Echo = 1,
    /// Node: E nodes echoed C.
    Ready = 2,
    /// Node: I will never be ready for u unless shown a commit certificate.
    Abort = 3,
    /// Node: I hold my fragment of the committed C; never part of an echo certificate.
    Hold = 4,
    /// Node: 2f + 1 nodes are ready for C and I keep the certificate.
    Delivered = 5,
    /// Node: I keep the owner's tombstone of u.
    Deleted = 6,
    /// Node: asked just now, I claim to hold my fragment of C.
    HoldNow = 7,
    /// Owner: C is the whole object of u.
    Seal = 16,
    /// Owner: u should end without a commit.
    Cancel = 17,
    /// Owner: u is deleted, whatever its state.
    Delete = 18,
}

impl StatementKind {
    /// The byte in formats.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        match self {
            Self::Echo => 1,
            Self::Ready => 2,
            Self::Abort => 3,
            Self::Hold => 4,
            Self::Delivered => 5,
            Self::Deleted => 6,
            Self::HoldNow => 7,
            Self::Seal => 16,
            Self::Cancel => 17,
            Self::Delete => 18,
        }
    }

    /// Reads the byte.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Invalid`] for a kind this build does not know.
    pub const fn from_byte(byte: u8) -> Result<Self, DecodeError> {
        Ok(match byte {
            1 => Self::Echo,
            2 => Self::Ready,
            3 => Self::Abort,
            4 => Self::Hold,
            5 => Self::Delivered,
            6 => Self::Deleted,
            7 => Self::HoldNow,
            16 => Self::Seal,
            17 => Self::Cancel,
            18 => Self::Delete,
            _ => return Err(DecodeError::Invalid { what: "statement kind", value: byte as u64 }),
        })
    }
}

impl std::fmt::Display for StatementKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Echo => "echo",
            Self::Ready => "ready",
            Self::Abort => "abort",
            Self::Hold => "hold",
            Self::Delivered => "delivered",
            Self::Deleted => "deleted",
            Self::HoldNow => "hold-now",
            Self::Seal => "seal",
            Self::Cancel => "cancel",
            Self::Delete => "delete",
        })
    }
}

/// One statement without the parts that the cluster configuration fixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Statement {
    /// What it says.
    pub kind: StatementKind,
    /// About which upload.
    pub upload: UploadId,
    /// About which object description; zero for ABORT, CANCEL, DELETE and DELETED.
    pub commitment: Commitment,
    /// The signer's slot; zero for owners.
    pub slot: Slot,
    /// Expiry of the OPEN; zero for ABORT, CANCEL, DELETE and DELETED.
    pub expiry: Timestamp,
    /// Zero except for [`StatementKind::HoldNow`].
    pub nonce: Nonce,
}

impl Statement {
    /// A statement about an upload alone: ABORT, CANCEL, DELETE, DELETED.
    #[must_use]
    pub fn about_upload(kind: StatementKind, upload: UploadId, slot: Slot) -> Self {
        Self {
            kind,
            upload,
            commitment: Commitment::ZERO,
            slot,
            expiry: Timestamp::ZERO,
            nonce: Nonce::ZERO,
        }
    }

    /// Whether every field that its kind does not have is zero.
    ///
    /// Certificates carry only the fields that their kind has: a vote with more in it would be
    /// counted by one node and then verify for nobody else.
    ///
    /// Rule: SIGN-1.
    #[must_use]
    pub fn is_canonical(&self) -> bool {
        let has_content = match self.kind {
            StatementKind::Echo
            | StatementKind::Ready
            | StatementKind::Hold
            | StatementKind::Delivered
            | StatementKind::HoldNow
            | StatementKind::Seal => true,
            StatementKind::Abort
            | StatementKind::Deleted
            | StatementKind::Cancel
            | StatementKind::Delete => false,
        };
        let no_content = self.commitment == Commitment::ZERO && self.expiry == Timestamp::ZERO;
        let no_nonce = self.nonce == Nonce::ZERO;
        (has_content || no_content) && (no_nonce || self.kind == StatementKind::HoldNow)
    }

    /// The canonical bytes under a cluster configuration.
    ///
    /// Rule: SIGN-1.
    #[must_use]
    pub fn to_bytes(&self, config: &ClusterConfig) -> Vec<u8> {
        let mut e = Encoder::with_capacity(STATEMENT_BYTES);
        e.u8(19);
        e.bytes(DOMAIN);
        e.u8(MODE_PEERS_VOTE);
        config.cluster.encode(&mut e);
        config.epoch.encode(&mut e);
        config.placement(self.upload).group.encode(&mut e);
        e.u8(self.kind.to_byte());
        self.upload.encode(&mut e);
        self.commitment.encode(&mut e);
        self.slot.encode(&mut e);
        self.expiry.encode(&mut e);
        self.nonce.encode(&mut e);
        e.into_vec()
    }

    /// Leaf of this statement in the tree of one journal sync.
    ///
    /// Rule: SIGN-2.
    #[must_use]
    pub fn leaf(&self, config: &ClusterConfig) -> Digest {
        avid_coding::merkle::statement_leaf(&self.to_bytes(config))
    }

    /// The owner's signature of this statement.
    #[must_use]
    pub fn sign_as_owner(&self, config: &ClusterConfig, key: &SigningKey) -> Signature {
        key.sign(&self.to_bytes(config))
    }

    /// Whether `owner` signed this statement.
    #[must_use]
    pub fn signed_by_owner(
        &self,
        config: &ClusterConfig,
        owner: &PublicKey,
        signature: &Signature,
    ) -> bool {
        owner.verifies(&self.to_bytes(config), signature)
    }
}
