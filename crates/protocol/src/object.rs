//! What an owner says about an object: OPEN, manifest, SEAL, CANCEL, DELETE.
//!
//! A name lives in generations; each generation is one upload id. The manifest describes the
//! bytes; its digest C, the commitment, is what nodes vote on and readers trust.
//!
//! ```text
//! u = SHA-256("avidfp/id/v1" || cluster || owner key || generation u64 || len u16 || name)
//! C = SHA-256("avidfp/manifest/v1" || canonical manifest)
//! ```
//!
//! Spec: docs/protocol.md ID-1, COMMITMENT-1, SIGN-1, DELETE-1, TIME-1.
//! Invariant: a `Verified…` value passed every check that needs no state of the checker.
//! Not here: votes of nodes (`vote`), quorums (`certificate`).

use avid_types::canary::{self, Canary};
use avid_types::{
    ClusterConfig, Commitment, DecodeError, Decoder, Digest, Encoder, Generation, ObjectName,
    Params, PublicKey, Signature, SigningKey, Slot, StripeLayout, StripeLayoutError, Suite,
    Timestamp, UploadId,
};

use crate::statement::{Statement, StatementKind};

const FORMAT: u8 = 1;

/// Derives the upload id of one generation of an owner's name.
///
/// Rule: ID-1.
#[must_use]
pub fn upload_id(
    config: &ClusterConfig,
    owner: &PublicKey,
    name: &ObjectName,
    generation: Generation,
) -> UploadId {
    let mut e = Encoder::new();
    e.bytes(b"avidfp/id/v1");
    config.cluster.encode(&mut e);
    owner.encode(&mut e);
    generation.encode(&mut e);
    name.encode(&mut e);
    UploadId(Digest::of(&[e.as_slice()]).0)
}

/// Whose object, called what, in which life.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectId {
    /// The owner's key; ids of different owners never collide.
    pub owner: PublicKey,
    /// The name.
    pub name: ObjectName,
    /// The life of the name.
    pub generation: Generation,
}

impl ObjectId {
    /// The upload id of this generation.
    #[must_use]
    pub fn upload(&self, config: &ClusterConfig) -> UploadId {
        upload_id(config, &self.owner, &self.name, self.generation)
    }

    /// Appends owner, generation, name.
    pub fn encode(&self, e: &mut Encoder) {
        self.owner.encode(e);
        self.generation.encode(e);
        self.name.encode(e);
    }

    /// Reads owner, generation, name.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if malformed.
    pub fn decode(d: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            owner: PublicKey::decode(d)?,
            generation: Generation::decode(d)?,
            name: ObjectName::decode(d)?,
        })
    }
}

/// Why an owner's message is refused before any state is looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// Signature does not verify.
    #[error("the owner's signature of the {0} does not verify")]
    Signature(StatementKindName),
    /// Parameters differ from the cluster's.
    #[error("{what} differs from the cluster configuration")]
    Params {
        /// Which one.
        what: &'static str,
    },
    /// Sizes contradict each other.
    #[error("manifest says {found} stripes, {expected} follow from its length")]
    Stripes {
        /// Stripes that follow from length and chunk size.
        expected: u64,
        /// Stripes the manifest says.
        found: u64,
    },
    /// The manifest names another object than the OPEN.
    #[error("manifest and open name different objects")]
    OtherObject,
    /// The object is longer than the OPEN announced.
    #[error("object of {len} bytes exceeds the {max} announced")]
    TooLong {
        /// Manifest length.
        len: u64,
        /// Length announced in the OPEN.
        max: u64,
    },
    /// Length or chunk size out of range.
    #[error(transparent)]
    Layout(#[from] StripeLayoutError),
}

/// Printable name of an owner's message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatementKindName {
    /// The OPEN.
    Open,
    /// One of the owner's fixed-size statements.
    Statement(StatementKind),
}

impl std::fmt::Display for StatementKindName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Open => f.write_str("open"),
            Self::Statement(kind) => kind.fmt(f),
        }
    }
}

/// The owner's announcement of a dispersal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// Which object.
    pub object: ObjectId,
    /// Shape of the group the owner believes in.
    pub params: Params,
    /// Code, fingerprint and hash.
    pub suite: Suite,
    /// Chunk length L, bytes.
    pub chunk_bytes: u32,
    /// The object will not be longer.
    pub object_bytes_max: u64,
    /// Cluster time after which nodes may abort the dispersal.
    pub expiry: Timestamp,
}

/// An OPEN with its owner's signature, not yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedOpen {
    /// What is announced.
    pub open: Open,
    /// Owner's signature over [`Open::signed_bytes`].
    pub signature: Signature,
}

impl Open {
    /// The bytes the owner signs.
    ///
    /// Rule: SIGN-1.
    #[must_use]
    pub fn signed_bytes(&self, config: &ClusterConfig) -> Vec<u8> {
        let mut e = Encoder::new();
        e.u8(14);
        e.bytes(b"avidfp/open/v1");
        e.u8(b'P');
        config.cluster.encode(&mut e);
        config.epoch.encode(&mut e);
        config.placement(self.object.upload(config)).group.encode(&mut e);
        self.encode(&mut e);
        e.into_vec()
    }

    /// Signs the announcement.
    #[must_use]
    pub fn sign(self, config: &ClusterConfig, owner: &SigningKey) -> SignedOpen {
        let signature = owner.sign(&self.signed_bytes(config));
        SignedOpen { open: self, signature }
    }

    fn encode(&self, e: &mut Encoder) {
        e.u8(FORMAT);
        self.object.encode(e);
        self.params.encode(e);
        e.u8(self.suite.to_byte());
        e.u32(self.chunk_bytes);
        e.u64(self.object_bytes_max);
        self.expiry.encode(e);
    }

    fn decode(d: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        decode_format(d, "open")?;
        Ok(Self {
            object: ObjectId::decode(d)?,
            params: Params::decode(d)?,
            suite: Suite::from_byte(d.u8()?)?,
            chunk_bytes: d.u32()?,
            object_bytes_max: d.u64()?,
            expiry: Timestamp::decode(d)?,
        })
    }
}

impl SignedOpen {
    /// Appends announcement and signature.
    pub fn encode(&self, e: &mut Encoder) {
        self.open.encode(e);
        self.signature.encode(e);
    }

    /// Reads announcement and signature.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if malformed.
    pub fn decode(d: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self { open: Open::decode(d)?, signature: Signature::decode(d)? })
    }

    /// Checks parameters against the configuration, then the signature.
    ///
    /// # Errors
    ///
    /// [`ObjectError`] with the first check that fails.
    pub fn verify(self, config: &ClusterConfig) -> Result<VerifiedOpen, ObjectError> {
        let open = &self.open;
        check_params(config, open.params, open.suite, open.chunk_bytes)?;
        StripeLayout::new(open.params, open.chunk_bytes, open.object_bytes_max)?;
        if !open.object.owner.verifies(&open.signed_bytes(config), &self.signature) {
            return Err(ObjectError::Signature(StatementKindName::Open));
        }
        Ok(VerifiedOpen { upload: open.object.upload(config), signed: self })
    }
}

fn check_params(
    config: &ClusterConfig,
    params: Params,
    suite: Suite,
    chunk_bytes: u32,
) -> Result<(), ObjectError> {
    if params != config.params {
        return Err(ObjectError::Params { what: "m, n or f" });
    }
    if suite != config.suite {
        return Err(ObjectError::Params { what: "suite" });
    }
    if chunk_bytes != config.chunk_bytes {
        return Err(ObjectError::Params { what: "chunk size" });
    }
    Ok(())
}

/// An OPEN whose owner signed it for this cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedOpen {
    upload: UploadId,
    signed: SignedOpen,
}

impl VerifiedOpen {
    /// The upload it opens.
    #[must_use]
    pub fn upload(&self) -> UploadId {
        self.upload
    }

    /// What is announced.
    #[must_use]
    pub fn open(&self) -> &Open {
        &self.signed.open
    }

    /// With the signature, for others.
    #[must_use]
    pub fn signed(&self) -> &SignedOpen {
        &self.signed
    }
}

/// Description of an object; its digest is the commitment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Which object.
    pub object: ObjectId,
    /// Shape of the group.
    pub params: Params,
    /// Code, fingerprint and hash.
    pub suite: Suite,
    /// Chunk length L, bytes.
    pub chunk_bytes: u32,
    /// Object length, bytes.
    pub object_bytes: u64,
    /// Number of stripes.
    pub stripes: u64,
    /// Merkle root over the stripes' cross-checksums.
    pub root: Digest,
    /// Cluster time after which the object may go; zero for never.
    pub expires_at: Timestamp,
}

impl Manifest {
    /// The canonical bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut e = Encoder::new();
        self.encode(&mut e);
        e.into_vec()
    }

    /// The commitment C.
    ///
    /// Rule: COMMITMENT-1.
    #[must_use]
    pub fn commitment(&self) -> Commitment {
        Commitment(Digest::of(&[b"avidfp/manifest/v1", &self.to_bytes()]).0)
    }

    /// Stripe arithmetic of the object.
    ///
    /// # Errors
    ///
    /// [`ObjectError`] if length, chunk size and stripe count contradict each other.
    pub fn layout(&self) -> Result<StripeLayout, ObjectError> {
        let layout = StripeLayout::new(self.params, self.chunk_bytes, self.object_bytes)?;
        if layout.stripes() != self.stripes {
            return Err(ObjectError::Stripes { expected: layout.stripes(), found: self.stripes });
        }
        Ok(layout)
    }

    /// Appends the canonical bytes.
    pub fn encode(&self, e: &mut Encoder) {
        e.u8(FORMAT);
        self.object.encode(e);
        self.params.encode(e);
        e.u8(self.suite.to_byte());
        e.u32(self.chunk_bytes);
        e.u64(self.object_bytes);
        e.u64(self.stripes);
        self.root.encode(e);
        self.expires_at.encode(e);
    }

    /// Reads the canonical bytes.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if malformed.
    pub fn decode(d: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        decode_format(d, "manifest")?;
        Ok(Self {
            object: ObjectId::decode(d)?,
            params: Params::decode(d)?,
            suite: Suite::from_byte(d.u8()?)?,
            chunk_bytes: d.u32()?,
            object_bytes: d.u64()?,
            stripes: d.u64()?,
            root: Digest::decode(d)?,
            expires_at: Timestamp::decode(d)?,
        })
    }
}

fn decode_format(d: &mut Decoder<'_>, what: &'static str) -> Result<(), DecodeError> {
    match d.u8()? {
        FORMAT => Ok(()),
        found => Err(DecodeError::Version { what, found, newest: FORMAT }),
    }
}

/// OPEN, manifest and the owner's signature of SEAL, not yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealBundle {
    /// The announcement the votes refer to by its expiry.
    pub open: SignedOpen,
    /// The description.
    pub manifest: Manifest,
    /// Owner's signature of SEAL(u, C, expiry).
    pub seal: Signature,
}

impl SealBundle {
    /// Signs SEAL for a manifest.
    #[must_use]
    pub fn sign(
        config: &ClusterConfig,
        open: SignedOpen,
        manifest: Manifest,
        owner: &SigningKey,
    ) -> Self {
        let seal = seal_statement(config, &open.open, &manifest).sign_as_owner(config, owner);
        Self { open, manifest, seal }
    }

    /// Appends open, manifest, seal.
    pub fn encode(&self, e: &mut Encoder) {
        self.open.encode(e);
        self.manifest.encode(e);
        self.seal.encode(e);
    }

    /// Reads open, manifest, seal.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if malformed.
    pub fn decode(d: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            open: SignedOpen::decode(d)?,
            manifest: Manifest::decode(d)?,
            seal: Signature::decode(d)?,
        })
    }

    /// Checks both signatures and that every number follows from the others.
    ///
    /// # Errors
    ///
    /// [`ObjectError`] with the first check that fails.
    pub fn verify(self, config: &ClusterConfig) -> Result<VerifiedSeal, ObjectError> {
        let open = self.open.clone().verify(config)?;
        let manifest = &self.manifest;
        if manifest.object != open.open().object {
            return Err(ObjectError::OtherObject);
        }
        check_params(config, manifest.params, manifest.suite, manifest.chunk_bytes)?;
        let max = open.open().object_bytes_max;
        if manifest.object_bytes > max {
            return Err(ObjectError::TooLong { len: manifest.object_bytes, max });
        }
        let layout = manifest.layout()?;
        let statement = seal_statement(config, open.open(), manifest);
        if !statement.signed_by_owner(config, &manifest.object.owner, &self.seal) {
            return Err(ObjectError::Signature(StatementKindName::Statement(StatementKind::Seal)));
        }
        Ok(VerifiedSeal { open, commitment: statement.commitment, layout, bundle: self })
    }
}

fn seal_statement(config: &ClusterConfig, open: &Open, manifest: &Manifest) -> Statement {
    Statement {
        commitment: manifest.commitment(),
        expiry: open.expiry,
        ..Statement::about_upload(StatementKind::Seal, open.object.upload(config), Slot(0))
    }
}

/// A sealed description that its owner signed for this cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedSeal {
    open: VerifiedOpen,
    commitment: Commitment,
    layout: StripeLayout,
    bundle: SealBundle,
}

impl VerifiedSeal {
    /// The upload.
    #[must_use]
    pub fn upload(&self) -> UploadId {
        self.open.upload()
    }

    /// The commitment C.
    #[must_use]
    pub fn commitment(&self) -> Commitment {
        self.commitment
    }

    /// Expiry of the OPEN, part of every vote.
    #[must_use]
    pub fn expiry(&self) -> Timestamp {
        self.open.open().expiry
    }

    /// The announcement.
    #[must_use]
    pub fn open(&self) -> &VerifiedOpen {
        &self.open
    }

    /// The description.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.bundle.manifest
    }

    /// Stripe arithmetic of the object.
    #[must_use]
    pub fn layout(&self) -> StripeLayout {
        self.layout
    }

    /// With the signatures, for others.
    #[must_use]
    pub fn bundle(&self) -> &SealBundle {
        &self.bundle
    }
}

/// The owner's signed CANCEL or DELETE of one generation, not yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerOrder {
    /// CANCEL or DELETE.
    pub kind: OrderKind,
    /// Which object.
    pub object: ObjectId,
    /// Owner's signature of the statement.
    pub signature: Signature,
}

/// What an owner may order about an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OrderKind {
    /// End it without a commit, if nobody is ready yet.
    Cancel,
    /// Delete it, whatever its state; final.
    Delete,
}

impl OrderKind {
    fn statement(self) -> StatementKind {
        match self {
            Self::Cancel => StatementKind::Cancel,
            Self::Delete => StatementKind::Delete,
        }
    }
}

impl OwnerOrder {
    /// Signs an order.
    #[must_use]
    pub fn sign(
        config: &ClusterConfig,
        kind: OrderKind,
        object: ObjectId,
        owner: &SigningKey,
    ) -> Self {
        let statement = Statement::about_upload(kind.statement(), object.upload(config), Slot(0));
        let signature = statement.sign_as_owner(config, owner);
        Self { kind, object, signature }
    }

    /// Appends kind, object, signature.
    pub fn encode(&self, e: &mut Encoder) {
        e.u8(self.kind.statement().to_byte());
        self.object.encode(e);
        self.signature.encode(e);
    }

    /// Reads kind, object, signature.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if malformed.
    pub fn decode(d: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let byte = d.u8()?;
        let kind = if byte == StatementKind::Cancel.to_byte() {
            OrderKind::Cancel
        } else if byte == StatementKind::Delete.to_byte() {
            OrderKind::Delete
        } else {
            return Err(DecodeError::Invalid { what: "owner order", value: u64::from(byte) });
        };
        Ok(Self { kind, object: ObjectId::decode(d)?, signature: Signature::decode(d)? })
    }

    /// Checks the owner's signature.
    ///
    /// # Errors
    ///
    /// [`ObjectError::Signature`].
    pub fn verify(self, config: &ClusterConfig) -> Result<VerifiedOrder, ObjectError> {
        let upload = self.object.upload(config);
        let statement = Statement::about_upload(self.kind.statement(), upload, Slot(0));
        let is_owners = statement.signed_by_owner(config, &self.object.owner, &self.signature);
        if !is_owners && !canary::sings(Canary::OrdersByAnyone) {
            return Err(ObjectError::Signature(StatementKindName::Statement(
                self.kind.statement(),
            )));
        }
        Ok(VerifiedOrder { upload, order: self })
    }
}

/// An order its owner signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedOrder {
    upload: UploadId,
    order: OwnerOrder,
}

impl VerifiedOrder {
    /// The upload it ends.
    #[must_use]
    pub fn upload(&self) -> UploadId {
        self.upload
    }

    /// CANCEL or DELETE.
    #[must_use]
    pub fn kind(&self) -> OrderKind {
        self.order.kind
    }

    /// With the signature, for others.
    #[must_use]
    pub fn order(&self) -> &OwnerOrder {
        &self.order
    }
}
