//! Certificates: quorums of signed, equal statements.
//!
//! | certificate | made of | proves |
//! |---|---|---|
//! | echo | E ECHOs equal in all but slot | E - f honest nodes hold verified fragments of C |
//! | commit | an echo certificate and D READYs | every honest node will deliver C |
//! | abort | n - f ABORTs | no commit certificate can ever form, with at most f liars |
//!
//! Spec: docs/protocol.md READ-1, ECHO-1, READY-1, ABORT-2, SIGN-1.
//! Invariant: no `Verified…` value exists without its quorum of distinct slots.
//! Not here: signature checks themselves (`verify`), counting as votes arrive (`tally`).

use avid_types::limits::GROUP_NODES_MAX;
use avid_types::{
    Commitment, DecodeError, Decoder, Encoder, Epoch, Nonce, Params, Slot, Timestamp, UploadId,
};

use crate::object::{OwnerOrder, SealBundle};
use crate::statement::{Statement, StatementKind};
use crate::vote::{Attestation, SignedVote};

/// Equal statements of several slots, not yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumCert {
    /// What they say.
    pub kind: StatementKind,
    /// The epoch whose members signed.
    pub epoch: Epoch,
    /// About which upload.
    pub upload: UploadId,
    /// About which description.
    pub commitment: Commitment,
    /// Expiry of the OPEN.
    pub expiry: Timestamp,
    /// Who says so.
    pub entries: Vec<(Slot, Attestation)>,
}

impl QuorumCert {
    /// Bundles votes that are equal in everything but slot.
    #[must_use]
    pub fn of_votes<'a>(
        epoch: Epoch,
        statement: &Statement,
        votes: impl Iterator<Item = &'a SignedVote>,
    ) -> Self {
        Self {
            kind: statement.kind,
            epoch,
            upload: statement.upload,
            commitment: statement.commitment,
            expiry: statement.expiry,
            entries: votes.map(|vote| (vote.statement.slot, vote.attestation.clone())).collect(),
        }
    }

    /// The votes it is made of.
    pub fn votes(&self) -> impl Iterator<Item = SignedVote> + '_ {
        self.entries.iter().map(|(slot, attestation)| SignedVote {
            statement: self.statement(*slot),
            attestation: attestation.clone(),
        })
    }

    /// The statement of one slot.
    #[must_use]
    pub fn statement(&self, slot: Slot) -> Statement {
        Statement {
            kind: self.kind,
            upload: self.upload,
            commitment: self.commitment,
            slot,
            expiry: self.expiry,
            nonce: Nonce::ZERO,
        }
    }

    /// Distinct existing slots among the entries; a repeated slot counts once.
    #[must_use]
    pub fn distinct_slots(&self, params: Params) -> usize {
        let slots: std::collections::BTreeSet<Slot> =
            self.entries.iter().map(|(slot, _)| *slot).filter(|s| params.has_slot(*s)).collect();
        slots.len()
    }

    /// Appends the certificate.
    pub fn encode(&self, e: &mut Encoder) {
        e.u8(self.kind.to_byte());
        self.epoch.encode(e);
        self.upload.encode(e);
        self.commitment.encode(e);
        self.expiry.encode(e);
        e.list(&self.entries, |e, (slot, attestation)| {
            slot.encode(e);
            attestation.encode(e);
        });
    }

    /// Reads a certificate.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if malformed or larger than a group.
    pub fn decode(d: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            kind: StatementKind::from_byte(d.u8()?)?,
            epoch: Epoch::decode(d)?,
            upload: UploadId::decode(d)?,
            commitment: Commitment::decode(d)?,
            expiry: Timestamp::decode(d)?,
            entries: d.list("certificate", GROUP_NODES_MAX, |d| {
                Ok((Slot::decode(d)?, Attestation::decode(d)?))
            })?,
        })
    }
}

/// Everything a stranger needs to believe that an object is committed, not yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitProof {
    /// The owner's word.
    pub seal: SealBundle,
    /// E nodes hold fragments.
    pub echo: QuorumCert,
    /// D nodes are ready.
    pub ready: QuorumCert,
}

impl CommitProof {
    /// Appends seal, echo and ready certificates.
    pub fn encode(&self, e: &mut Encoder) {
        self.seal.encode(e);
        self.echo.encode(e);
        self.ready.encode(e);
    }

    /// Reads seal, echo and ready certificates.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if malformed.
    pub fn decode(d: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            seal: SealBundle::decode(d)?,
            echo: QuorumCert::decode(d)?,
            ready: QuorumCert::decode(d)?,
        })
    }
}

/// Why generation g + 1 of a name may open: how generation g ended. Not yet checked.
///
/// Rule: ID-1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Predecessor {
    /// It was aborted.
    Aborted(QuorumCert),
    /// Its owner deleted it.
    Deleted(OwnerOrder),
    /// It was committed and its expiry is past in cluster time.
    Expired(Box<CommitProof>),
}

impl Predecessor {
    /// Appends a tag and the proof.
    pub fn encode(&self, e: &mut Encoder) {
        match self {
            Self::Aborted(cert) => {
                e.u8(1);
                cert.encode(e);
            }
            Self::Deleted(order) => {
                e.u8(2);
                order.encode(e);
            }
            Self::Expired(proof) => {
                e.u8(3);
                proof.encode(e);
            }
        }
    }

    /// Reads a tag and the proof.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if malformed.
    pub fn decode(d: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        match d.u8()? {
            1 => QuorumCert::decode(d).map(Self::Aborted),
            2 => OwnerOrder::decode(d).map(Self::Deleted),
            3 => CommitProof::decode(d).map(Box::new).map(Self::Expired),
            value => Err(DecodeError::Invalid { what: "predecessor", value: u64::from(value) }),
        }
    }
}
