//! Control messages between clients and nodes and among nodes, one frame each.
//!
//! A frame's type byte is the message's kind. Chunk and fragment frames carry bulk bytes behind a
//! small prefix and are described by [`ChunkPrefix`] and [`FragPrefix`]; everything else is a
//! [`Message`].
//!
//! | kind | message | from → to |
//! |---|---|---|
//! | 0x01 | HEAD | client → node |
//! | 0x02 | OPEN | client → node |
//! | 0x03 | CHUNK | client → node |
//! | 0x04 | SEAL | client → node |
//! | 0x05 | GETFRAG | client → node |
//! | 0x06 | COMMIT | anyone → node |
//! | 0x07 | ORDER (cancel, delete) | anyone → node |
//! | 0x09 | LIST | client → node |
//! | 0x0a | STAT | client → node |
//! | 0x0b | STATUS | client → node |
//! | 0x0c | FILL | client → node |
//! | 0x21 | HEAD answer | node → client |
//! | 0x22 | OPENED | node → client |
//! | 0x23 | VOTE | node → anyone |
//! | 0x24 | FRAG | node → client |
//! | 0x25 | LIST answer | node → client |
//! | 0x27 | STATUS answer | node → client |
//! | 0x2f | REFUSED | node → client |
//! | 0x41 | NEWS | node → node |
//! | 0x42 | HEARTBEAT | node → node |
//! | 0x43 | PULL | node → node |
//! | 0x44 | PULLED | node → node |
//!
//! Spec: docs/protocol.md WIRE-1. Drawn in docs/formats.md, frozen in testdata.
//! Invariant: decoding any bytes returns a message or an error.
//! Bounds: a message fits a control frame; lists are limited in `types::limits`.

mod bulk;
mod refusal;

pub use bulk::{ChunkPrefix, FragPrefix};
pub use refusal::RefusalCode;

use avid_types::limits::{CONTROL_FRAME_BYTES_MAX, LABEL_BYTES_MAX, LIST_PAGE_MAX, NAME_BYTES_MAX};
use avid_types::{
    DecodeError, Decoder, Digest, Encoder, Generation, Nonce, ObjectName, PublicKey, Signature,
    StripeIndex, UploadId,
};

use crate::certificate::{CommitProof, Predecessor, QuorumCert};
use crate::clock::SignedHeartbeat;
use crate::object::{Manifest, OwnerOrder, SealBundle, SignedOpen};
use crate::vote::SignedVote;

/// Version of every frame this build writes.
pub const FRAME_VERSION: u8 = 1;

/// Frame types.
pub mod kind {
    /// Client asks for the state of a name.
    pub const HEAD: u8 = 0x01;
    /// Owner announces a dispersal.
    pub const OPEN: u8 = 0x02;
    /// One chunk with its cross-checksum.
    pub const CHUNK: u8 = 0x03;
    /// Owner seals the dispersal.
    pub const SEAL: u8 = 0x04;
    /// Reader asks for chunks.
    pub const GETFRAG: u8 = 0x05;
    /// Somebody shows a commit proof.
    pub const COMMIT: u8 = 0x06;
    /// Somebody shows an owner's CANCEL or DELETE.
    pub const ORDER: u8 = 0x07;
    /// Client asks for a page of names.
    pub const LIST: u8 = 0x09;
    /// Client asks for a fresh claim to hold a fragment.
    pub const STAT: u8 = 0x0a;
    /// Client asks how the node is.
    pub const STATUS: u8 = 0x0b;
    /// Client brings a committed object's fragment to a node that lacks it.
    pub const FILL: u8 = 0x0c;
    /// Answer to HEAD.
    pub const HEAD_ANSWER: u8 = 0x21;
    /// Answer to OPEN and FILL.
    pub const OPENED: u8 = 0x22;
    /// A vote of the answering node.
    pub const VOTE: u8 = 0x23;
    /// One chunk with cross-checksum and Merkle path.
    pub const FRAG: u8 = 0x24;
    /// Answer to LIST.
    pub const LIST_ANSWER: u8 = 0x25;
    /// Answer to STATUS.
    pub const STATUS_ANSWER: u8 = 0x27;
    /// The request is refused.
    pub const REFUSED: u8 = 0x2f;
    /// State of one upload at the sender.
    pub const NEWS: u8 = 0x41;
    /// Clock, boot counter and journal position of the sender.
    pub const HEARTBEAT: u8 = 0x42;
    /// Receiver of NEWS asks for the whole proof.
    pub const PULL: u8 = 0x43;
    /// Answer to PULL.
    pub const PULLED: u8 = 0x44;
}

/// A refusal on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// For programs.
    pub code: RefusalCode,
    /// For people, at most `LABEL_BYTES_MAX` bytes; longer text is cut.
    pub message: String,
}

/// What a node knows of a name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeadAnswer {
    /// Highest committed generation.
    pub committed: Option<Box<CommitProof>>,
    /// Highest deleted generation.
    pub deleted: Option<OwnerOrder>,
    /// Highest generation begun and not ended: its announcement.
    pub pending: Option<SignedOpen>,
    /// This node's ABORT of the highest aborted generation, or the whole certificate.
    pub aborted: Option<AbortedHead>,
}

/// How far the abort of a generation got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbortedHead {
    /// Which generation.
    pub generation: Generation,
    /// This node's vote, unless the certificate is here.
    pub vote: Option<SignedVote>,
    /// n - f votes.
    pub cert: Option<QuorumCert>,
}

/// Answer to OPEN and FILL: where the stream of chunks should start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// Stripes already verified and kept from an interrupted stream.
    pub stripes: u64,
    /// Merkle root over those stripes, for the client to compare with its own.
    pub prefix_root: Digest,
    /// The fragment is complete; only the votes are sent again.
    pub complete: bool,
}

/// One entry of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListEntry {
    /// A committed object.
    Committed(Box<CommitProof>),
    /// A tombstone, which outranks the commit.
    Deleted(OwnerOrder),
}

/// A page of a listing, ordered by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPage {
    /// Entries with names after the requested one, complete up to `complete_to`.
    pub entries: Vec<ListEntry>,
    /// Last name this page is complete for; `None` if it reaches the end.
    pub complete_to: Option<ObjectName>,
}

/// What one node tells another about an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// Votes while undecided; a READY brings its echo certificate.
    Votes {
        /// This node's votes.
        votes: Vec<SignedVote>,
        /// Present with a READY.
        echo_cert: Option<QuorumCert>,
    },
    /// Committed here; ask by PULL if you have not delivered.
    Committed,
    /// Aborted, with the certificate.
    Aborted(QuorumCert),
    /// The owner's tombstone.
    Deleted(OwnerOrder),
}

/// Answer to PULL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pulled {
    /// The whole proof.
    Committed(Box<CommitProof>),
    /// Only the description is known.
    Sealed(Box<SealBundle>),
    /// Nothing that would help.
    Nothing,
}

/// A control message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// See [`kind::HEAD`].
    Head {
        /// Whose name.
        owner: PublicKey,
        /// The name.
        name: ObjectName,
    },
    /// See [`kind::OPEN`].
    Open {
        /// The announcement.
        open: Box<SignedOpen>,
        /// How the generation before ended; for generation 0 nothing.
        predecessor: Option<Predecessor>,
    },
    /// See [`kind::SEAL`].
    Seal {
        /// The description.
        manifest: Box<Manifest>,
        /// Owner's signature.
        seal: Signature,
    },
    /// See [`kind::GETFRAG`].
    GetFrag {
        /// Whose fragment.
        upload: UploadId,
        /// First stripe.
        first: StripeIndex,
        /// How many stripes.
        count: u64,
        /// Delivers at a node that only echoed (READ-2).
        proof: Option<Box<CommitProof>>,
    },
    /// See [`kind::COMMIT`].
    Commit(Box<CommitProof>),
    /// See [`kind::ORDER`].
    Order(OwnerOrder),
    /// See [`kind::LIST`].
    List {
        /// Whose names.
        owner: PublicKey,
        /// Names begin with this.
        prefix: String,
        /// Only names after this one.
        after: Option<ObjectName>,
        /// Entries wanted.
        limit: u16,
    },
    /// See [`kind::STAT`].
    Stat {
        /// Which upload.
        upload: UploadId,
        /// Fresh, so that the answer cannot be an old one.
        nonce: Nonce,
    },
    /// See [`kind::STATUS`].
    Status,
    /// See [`kind::FILL`].
    Fill(Box<CommitProof>),
    /// See [`kind::HEAD_ANSWER`].
    HeadAnswer(Box<HeadAnswer>),
    /// See [`kind::OPENED`].
    Opened(Opened),
    /// See [`kind::VOTE`].
    Vote {
        /// The vote.
        vote: Box<SignedVote>,
        /// Present with a READY.
        echo_cert: Option<QuorumCert>,
    },
    /// See [`kind::LIST_ANSWER`].
    ListAnswer(ListPage),
    /// See [`kind::STATUS_ANSWER`]: JSON text for people and programs; nothing is decided by it.
    StatusAnswer(String),
    /// See [`kind::REFUSED`].
    Refused(Refused),
    /// See [`kind::NEWS`].
    News {
        /// Position in the sender's journal.
        position: u64,
        /// Which upload.
        upload: UploadId,
        /// Its state.
        news: News,
    },
    /// See [`kind::HEARTBEAT`].
    Heartbeat(SignedHeartbeat),
    /// See [`kind::PULL`].
    Pull(UploadId),
    /// See [`kind::PULLED`].
    Pulled {
        /// Which upload.
        upload: UploadId,
        /// What is known.
        pulled: Pulled,
    },
}

impl Message {
    /// A refusal, its text cut to the limit.
    #[must_use]
    pub fn refused(code: RefusalCode, message: &str) -> Self {
        let mut end = message.len().min(LABEL_BYTES_MAX);
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        let message = message.get(..end).unwrap_or_default().to_owned();
        Self::Refused(Refused { code, message })
    }

    /// The frame's type byte.
    #[must_use]
    pub fn kind(&self) -> u8 {
        match self {
            Self::Head { .. } => kind::HEAD,
            Self::Open { .. } => kind::OPEN,
            Self::Seal { .. } => kind::SEAL,
            Self::GetFrag { .. } => kind::GETFRAG,
            Self::Commit(_) => kind::COMMIT,
            Self::Order(_) => kind::ORDER,
            Self::List { .. } => kind::LIST,
            Self::Stat { .. } => kind::STAT,
            Self::Status => kind::STATUS,
            Self::Fill(_) => kind::FILL,
            Self::HeadAnswer(_) => kind::HEAD_ANSWER,
            Self::Opened(_) => kind::OPENED,
            Self::Vote { .. } => kind::VOTE,
            Self::ListAnswer(_) => kind::LIST_ANSWER,
            Self::StatusAnswer(_) => kind::STATUS_ANSWER,
            Self::Refused(_) => kind::REFUSED,
            Self::News { .. } => kind::NEWS,
            Self::Heartbeat(_) => kind::HEARTBEAT,
            Self::Pull(_) => kind::PULL,
            Self::Pulled { .. } => kind::PULLED,
        }
    }

    /// The frame's body.
    #[must_use]
    pub fn to_body(&self) -> Vec<u8> {
        let mut e = Encoder::with_capacity(256);
        match self {
            Self::Head { owner, name } => {
                owner.encode(&mut e);
                name.encode(&mut e);
            }
            Self::Open { open, predecessor } => {
                open.encode(&mut e);
                e.option(predecessor.as_ref(), |e, predecessor| predecessor.encode(e));
            }
            Self::Seal { manifest, seal } => {
                manifest.encode(&mut e);
                seal.encode(&mut e);
            }
            Self::GetFrag { upload, first, count, proof } => {
                upload.encode(&mut e);
                first.encode(&mut e);
                e.u64(*count);
                e.option(proof.as_ref(), |e, proof| proof.encode(e));
            }
            Self::Commit(proof) | Self::Fill(proof) => proof.encode(&mut e),
            Self::Order(order) => order.encode(&mut e),
            Self::List { owner, prefix, after, limit } => {
                owner.encode(&mut e);
                e.short_bytes(prefix.as_bytes());
                e.option(after.as_ref(), |e, name| name.encode(e));
                e.u16(*limit);
            }
            Self::Stat { upload, nonce } => {
                upload.encode(&mut e);
                nonce.encode(&mut e);
            }
            Self::Status => {}
            Self::HeadAnswer(answer) => encode_head(&mut e, answer),
            Self::Opened(opened) => {
                e.u64(opened.stripes);
                opened.prefix_root.encode(&mut e);
                e.u8(u8::from(opened.complete));
            }
            Self::Vote { vote, echo_cert } => {
                vote.encode(&mut e);
                e.option(echo_cert.as_ref(), |e, cert| cert.encode(e));
            }
            Self::ListAnswer(page) => encode_page(&mut e, page),
            Self::StatusAnswer(text) => e.long_bytes(text.as_bytes()),
            Self::Refused(refused) => {
                e.u8(refused.code.to_byte());
                e.short_bytes(refused.message.as_bytes());
            }
            Self::News { position, upload, news } => {
                e.u64(*position);
                upload.encode(&mut e);
                encode_news(&mut e, news);
            }
            Self::Heartbeat(heartbeat) => heartbeat.encode(&mut e),
            Self::Pull(upload) => upload.encode(&mut e),
            Self::Pulled { upload, pulled } => {
                upload.encode(&mut e);
                encode_pulled(&mut e, pulled);
            }
        }
        e.into_vec()
    }

    /// Reads a frame's body.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if malformed, of another version or of an unknown kind.
    pub fn from_body(frame_kind: u8, version: u8, body: &[u8]) -> Result<Self, DecodeError> {
        if version != FRAME_VERSION {
            return Err(DecodeError::Version {
                what: "frame",
                found: version,
                newest: FRAME_VERSION,
            });
        }
        let mut d = Decoder::new(body);
        let message = match frame_kind {
            0x00..=0x1f => decode_request(frame_kind, &mut d)?,
            0x20..=0x3f => decode_answer(frame_kind, &mut d)?,
            _ => decode_peer(frame_kind, &mut d)?,
        };
        d.finish()?;
        Ok(message)
    }
}

fn unknown_kind(value: u8) -> DecodeError {
    DecodeError::Invalid { what: "frame type", value: u64::from(value) }
}

fn boxed<T>(result: Result<T, DecodeError>) -> Result<Box<T>, DecodeError> {
    result.map(Box::new)
}

fn decode_request(frame_kind: u8, d: &mut Decoder<'_>) -> Result<Message, DecodeError> {
    Ok(match frame_kind {
        kind::HEAD => Message::Head { owner: PublicKey::decode(d)?, name: ObjectName::decode(d)? },
        kind::OPEN => Message::Open {
            open: boxed(SignedOpen::decode(d))?,
            predecessor: d.option("predecessor", Predecessor::decode)?,
        },
        kind::SEAL => {
            Message::Seal { manifest: boxed(Manifest::decode(d))?, seal: Signature::decode(d)? }
        }
        kind::GETFRAG => Message::GetFrag {
            upload: UploadId::decode(d)?,
            first: StripeIndex::decode(d)?,
            count: d.u64()?,
            proof: d.option("commit proof", |d| boxed(CommitProof::decode(d)))?,
        },
        kind::COMMIT => Message::Commit(boxed(CommitProof::decode(d))?),
        kind::FILL => Message::Fill(boxed(CommitProof::decode(d))?),
        kind::ORDER => Message::Order(OwnerOrder::decode(d)?),
        kind::LIST => Message::List {
            owner: PublicKey::decode(d)?,
            prefix: decode_text(d.short_bytes("prefix", NAME_BYTES_MAX)?, "prefix")?,
            after: d.option("after", ObjectName::decode)?,
            limit: d.u16()?,
        },
        kind::STAT => Message::Stat { upload: UploadId::decode(d)?, nonce: Nonce::decode(d)? },
        kind::STATUS => Message::Status,
        _ => return Err(unknown_kind(frame_kind)),
    })
}

fn decode_answer(frame_kind: u8, d: &mut Decoder<'_>) -> Result<Message, DecodeError> {
    Ok(match frame_kind {
        kind::HEAD_ANSWER => Message::HeadAnswer(boxed(decode_head(d))?),
        kind::OPENED => Message::Opened(Opened {
            stripes: d.u64()?,
            prefix_root: Digest::decode(d)?,
            complete: decode_flag(d, "complete")?,
        }),
        kind::VOTE => Message::Vote {
            vote: boxed(SignedVote::decode(d))?,
            echo_cert: d.option("echo certificate", QuorumCert::decode)?,
        },
        kind::LIST_ANSWER => Message::ListAnswer(decode_page(d)?),
        kind::STATUS_ANSWER => {
            let bytes = d.long_bytes("status", CONTROL_FRAME_BYTES_MAX)?;
            Message::StatusAnswer(decode_text(bytes, "status")?)
        }
        kind::REFUSED => Message::Refused(Refused {
            code: RefusalCode::from_byte(d.u8()?)?,
            message: decode_text(d.short_bytes("refusal", LABEL_BYTES_MAX)?, "refusal")?,
        }),
        _ => return Err(unknown_kind(frame_kind)),
    })
}

fn decode_peer(frame_kind: u8, d: &mut Decoder<'_>) -> Result<Message, DecodeError> {
    Ok(match frame_kind {
        kind::NEWS => Message::News {
            position: d.u64()?,
            upload: UploadId::decode(d)?,
            news: decode_news(d)?,
        },
        kind::HEARTBEAT => Message::Heartbeat(SignedHeartbeat::decode(d)?),
        kind::PULL => Message::Pull(UploadId::decode(d)?),
        kind::PULLED => Message::Pulled { upload: UploadId::decode(d)?, pulled: decode_pulled(d)? },
        _ => return Err(unknown_kind(frame_kind)),
    })
}

fn decode_flag(d: &mut Decoder<'_>, what: &'static str) -> Result<bool, DecodeError> {
    match d.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        value => Err(DecodeError::Invalid { what, value: u64::from(value) }),
    }
}

fn decode_text(bytes: &[u8], what: &'static str) -> Result<String, DecodeError> {
    std::str::from_utf8(bytes)
        .map(str::to_owned)
        .map_err(|_| DecodeError::Invalid { what, value: 0 })
}

fn encode_head(e: &mut Encoder, answer: &HeadAnswer) {
    e.option(answer.committed.as_ref(), |e, proof| proof.encode(e));
    e.option(answer.deleted.as_ref(), |e, order| order.encode(e));
    e.option(answer.pending.as_ref(), |e, open| open.encode(e));
    e.option(answer.aborted.as_ref(), |e, aborted| {
        aborted.generation.encode(e);
        e.option(aborted.vote.as_ref(), |e, vote| vote.encode(e));
        e.option(aborted.cert.as_ref(), |e, cert| cert.encode(e));
    });
}

fn decode_head(d: &mut Decoder<'_>) -> Result<HeadAnswer, DecodeError> {
    Ok(HeadAnswer {
        committed: d.option("committed", |d| boxed(CommitProof::decode(d)))?,
        deleted: d.option("deleted", OwnerOrder::decode)?,
        pending: d.option("pending", SignedOpen::decode)?,
        aborted: d.option("aborted", |d| {
            Ok(AbortedHead {
                generation: Generation::decode(d)?,
                vote: d.option("abort", SignedVote::decode)?,
                cert: d.option("abort certificate", QuorumCert::decode)?,
            })
        })?,
    })
}

fn encode_page(e: &mut Encoder, page: &ListPage) {
    e.list(&page.entries, |e, entry| match entry {
        ListEntry::Committed(proof) => {
            e.u8(1);
            proof.encode(e);
        }
        ListEntry::Deleted(order) => {
            e.u8(2);
            order.encode(e);
        }
    });
    e.option(page.complete_to.as_ref(), |e, name| name.encode(e));
}

fn decode_page(d: &mut Decoder<'_>) -> Result<ListPage, DecodeError> {
    let entries = d.list("listing", LIST_PAGE_MAX, |d| match d.u8()? {
        1 => boxed(CommitProof::decode(d)).map(ListEntry::Committed),
        2 => OwnerOrder::decode(d).map(ListEntry::Deleted),
        value => Err(DecodeError::Invalid { what: "listing entry", value: u64::from(value) }),
    })?;
    Ok(ListPage { entries, complete_to: d.option("complete to", ObjectName::decode)? })
}

/// Votes of one node about one upload: echo, ready or abort, and what follows a commit.
const NEWS_VOTES_MAX: usize = 4;

fn encode_news(e: &mut Encoder, news: &News) {
    match news {
        News::Votes { votes, echo_cert } => {
            e.u8(1);
            e.list(votes, |e, vote| vote.encode(e));
            e.option(echo_cert.as_ref(), |e, cert| cert.encode(e));
        }
        News::Committed => e.u8(2),
        News::Aborted(cert) => {
            e.u8(3);
            cert.encode(e);
        }
        News::Deleted(order) => {
            e.u8(4);
            order.encode(e);
        }
    }
}

fn decode_news(d: &mut Decoder<'_>) -> Result<News, DecodeError> {
    Ok(match d.u8()? {
        1 => News::Votes {
            votes: d.list("votes", NEWS_VOTES_MAX, SignedVote::decode)?,
            echo_cert: d.option("echo certificate", QuorumCert::decode)?,
        },
        2 => News::Committed,
        3 => News::Aborted(QuorumCert::decode(d)?),
        4 => News::Deleted(OwnerOrder::decode(d)?),
        value => return Err(DecodeError::Invalid { what: "news", value: u64::from(value) }),
    })
}

fn encode_pulled(e: &mut Encoder, pulled: &Pulled) {
    match pulled {
        Pulled::Nothing => e.u8(0),
        Pulled::Committed(proof) => {
            e.u8(1);
            proof.encode(e);
        }
        Pulled::Sealed(seal) => {
            e.u8(2);
            seal.encode(e);
        }
    }
}

fn decode_pulled(d: &mut Decoder<'_>) -> Result<Pulled, DecodeError> {
    Ok(match d.u8()? {
        0 => Pulled::Nothing,
        1 => Pulled::Committed(boxed(CommitProof::decode(d))?),
        2 => Pulled::Sealed(boxed(SealBundle::decode(d))?),
        value => return Err(DecodeError::Invalid { what: "pulled", value: u64::from(value) }),
    })
}
