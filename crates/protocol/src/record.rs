//! What one node keeps of one upload for ever: its promises and how it ended.
//!
//! The whole record is written to the journal at each change; the last one wins at replay.
//!
//! Spec: docs/protocol.md ABORT-2, DELETE-1, COMMIT-1. Drawn in docs/formats.md.
//! Invariant: a record never forgets a promise that a later vote could contradict.

use avid_types::{Commitment, DecodeError, Decoder, Encoder, Timestamp};

use crate::certificate::{CommitProof, QuorumCert};
use crate::object::{OwnerOrder, SealBundle, SignedOpen};

const FORMAT: u8 = 1;

/// The content a vote names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Promise {
    /// Commitment C.
    pub commitment: Commitment,
    /// Expiry of the OPEN.
    pub expiry: Timestamp,
}

impl Promise {
    fn encode(&self, e: &mut Encoder) {
        self.commitment.encode(e);
        self.expiry.encode(e);
    }

    fn decode(d: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self { commitment: Commitment::decode(d)?, expiry: Timestamp::decode(d)? })
    }
}

/// How far an upload got at this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing is promised.
    Idle,
    /// ECHO is promised.
    Echoed(Promise),
    /// READY is promised, on the word of an echo certificate.
    Ready {
        /// What was echoed before, if anything.
        echoed: Option<Promise>,
        /// What is ready.
        promise: Promise,
        /// Why.
        echo_cert: QuorumCert,
    },
    /// ABORT is promised; never READY after it.
    Aborted {
        /// What was echoed before, if anything.
        echoed: Option<Promise>,
        /// Once n - f nodes aborted.
        cert: Option<QuorumCert>,
    },
    /// Delivered: the commit proof replaces all votes.
    Committed(Box<CommitProof>),
    /// The owner's tombstone; final.
    Deleted(OwnerOrder),
}

impl Phase {
    /// A word for people and metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Idle => "open",
            Self::Echoed(_) => "echoed",
            Self::Ready { .. } => "ready",
            Self::Aborted { .. } => "aborted",
            Self::Committed(_) => "committed",
            Self::Deleted(_) => "deleted",
        }
    }

    /// Whether no vote can change it any more.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        match self {
            Self::Committed(_) | Self::Deleted(_) | Self::Aborted { cert: Some(_), .. } => true,
            Self::Idle | Self::Echoed(_) | Self::Ready { .. } | Self::Aborted { .. } => false,
        }
    }
}

/// The durable state of one upload at one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadRecord {
    /// The owner's announcement, if it was seen.
    pub open: Option<SignedOpen>,
    /// The owner's description, if it was seen and not yet part of a commit proof.
    pub seal: Option<SealBundle>,
    /// How far it got.
    pub phase: Phase,
    /// The content whose fragment is on disk, verified.
    pub fragment: Option<Commitment>,
}

impl Default for UploadRecord {
    fn default() -> Self {
        Self { open: None, seal: None, phase: Phase::Idle, fragment: None }
    }
}

impl UploadRecord {
    /// Canonical bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut e = Encoder::with_capacity(1024);
        e.u8(FORMAT);
        e.option(self.open.as_ref(), |e, open| open.encode(e));
        e.option(self.seal.as_ref(), |e, seal| seal.encode(e));
        e.option(self.fragment.as_ref(), |e, fragment| fragment.encode(e));
        encode_phase(&mut e, &self.phase);
        e.into_vec()
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if malformed: the disk lied or a newer version wrote it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut d = Decoder::new(bytes);
        let found = d.u8()?;
        if found != FORMAT {
            return Err(DecodeError::Version { what: "upload record", found, newest: FORMAT });
        }
        let open = d.option("open", SignedOpen::decode)?;
        let seal = d.option("seal", SealBundle::decode)?;
        let fragment = d.option("fragment", Commitment::decode)?;
        let phase = decode_phase(&mut d)?;
        d.finish()?;
        Ok(Self { open, seal, phase, fragment })
    }
}

fn encode_phase(e: &mut Encoder, phase: &Phase) {
    match phase {
        Phase::Idle => e.u8(0),
        Phase::Echoed(promise) => {
            e.u8(1);
            promise.encode(e);
        }
        Phase::Ready { echoed, promise, echo_cert } => {
            e.u8(2);
            e.option(echoed.as_ref(), |e, promise| promise.encode(e));
            promise.encode(e);
            echo_cert.encode(e);
        }
        Phase::Aborted { echoed, cert } => {
            e.u8(3);
            e.option(echoed.as_ref(), |e, promise| promise.encode(e));
            e.option(cert.as_ref(), |e, cert| cert.encode(e));
        }
        Phase::Committed(proof) => {
            e.u8(4);
            proof.encode(e);
        }
        Phase::Deleted(order) => {
            e.u8(5);
            order.encode(e);
        }
    }
}

fn decode_phase(d: &mut Decoder<'_>) -> Result<Phase, DecodeError> {
    Ok(match d.u8()? {
        0 => Phase::Idle,
        1 => Phase::Echoed(Promise::decode(d)?),
        2 => Phase::Ready {
            echoed: d.option("echoed", Promise::decode)?,
            promise: Promise::decode(d)?,
            echo_cert: QuorumCert::decode(d)?,
        },
        3 => Phase::Aborted {
            echoed: d.option("echoed", Promise::decode)?,
            cert: d.option("abort certificate", QuorumCert::decode)?,
        },
        4 => Phase::Committed(Box::new(CommitProof::decode(d)?)),
        5 => Phase::Deleted(OwnerOrder::decode(d)?),
        value => return Err(DecodeError::Invalid { what: "phase", value: u64::from(value) }),
    })
}
