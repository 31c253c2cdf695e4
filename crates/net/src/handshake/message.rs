//! Messages of the handshake as bytes, and the bytes its signatures cover.
//!
//! ```text
//! type 0xf0 HELLO, 0xf1 AUTH, 0xf2 ACCEPT, 0xf3 REFUSE, version 1 each
//!
//! HELLO   magic "AVIDFP1\n" 8 │ oldest u8 │ newest u8 │ role u8 │ cluster 16 │ epoch u64
//!         │ config 32 │ key 32 │ nonce 32 │ payload length u32 │ payload
//! AUTH    signature 64
//! ACCEPT  payload length u32 │ payload
//! REFUSE  code u8 │ text length u16 │ text, UTF-8
//! signed  tag length u16 │ "avidfp/handshake/v1" │ side u8 │ length u32 │ initiator's HELLO
//!         │ length u32 │ responder's HELLO
//! ```
//!
//! All integers are little-endian. Pure: golden bytes are in `testdata/handshake.txt`.
//!
//! Spec: docs/protocol.md SIGN-1 (domain tags), section 5.1.
//! Invariant: decoding any bytes never panics and allocates no more than their length.
//! Not here: who sends what when ([`crate::handshake`]).

use std::fmt;

use avid_types::limits::LABEL_BYTES_MAX;
use avid_types::{ClusterId, DecodeError, Decoder, Digest, Encoder, Epoch, PublicKey};

use crate::error::{HandshakeError, Retry};
use crate::frame::HANDSHAKE_PAYLOAD_BYTES_MAX;
use crate::host::Host;

/// Frame type of HELLO.
pub const KIND_HELLO: u8 = 0xf0;
/// Frame type of AUTH.
pub const KIND_AUTH: u8 = 0xf1;
/// Frame type of ACCEPT.
pub const KIND_ACCEPT: u8 = 0xf2;
/// Frame type of REFUSE.
pub const KIND_REFUSE: u8 = 0xf3;
/// Version byte of all frames of the handshake.
pub const HANDSHAKE_VERSION: u8 = 1;

/// First bytes of a HELLO: name and generation of the protocol.
pub const MAGIC: [u8; 8] = *b"AVIDFP1\n";
/// Domain tag of the signatures.
const DOMAIN: &[u8] = b"avidfp/handshake/v1";
/// Bytes of a HELLO without its payload.
const HELLO_FIXED_BYTES: usize = 8 + 3 + 16 + 8 + 32 + 32 + 32 + 4;

/// What a process takes part as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A member, identified by its transport key.
    Node,
    /// A client, identified by its own key.
    Client,
}

/// Which end of the connection a signer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The end that connected.
    Initiator,
    /// The end that was connected to.
    Responder,
}

/// 32 random bytes that make every handshake a different one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HelloNonce(pub [u8; 32]);

impl HelloNonce {
    /// Draws a nonce.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::Random`] if it has none to give.
    pub fn draw(host: &Host) -> Result<Self, HandshakeError> {
        let mut bytes = [0; 32];
        host.random(&mut bytes).map_err(HandshakeError::Random)?;
        Ok(Self(bytes))
    }
}

/// What one side says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Oldest version of application frames it speaks.
    pub frame_version_min: u8,
    /// Newest version of application frames it speaks.
    pub frame_version_max: u8,
    /// What it takes part as.
    pub role: Role,
    /// Its cluster.
    pub cluster: ClusterId,
    /// The epoch of its configuration.
    pub epoch: Epoch,
    /// Digest of its configuration.
    pub config: Digest,
    /// The key it will prove.
    pub key: PublicKey,
    /// What makes its half of the handshake unique.
    pub nonce: HelloNonce,
    /// Bytes for the owner of the other side.
    pub payload: Vec<u8>,
}

/// Why a connection is refused, as a number for programs and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The kind of reason.
    pub code: RefusalCode,
    /// One sentence, at most 256 bytes, without control characters.
    pub text: String,
}

/// Kinds of reasons for a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalCode {
    /// The other side belongs to another cluster.
    ForeignCluster,
    /// Epoch or configuration differ.
    OtherConfiguration,
    /// The key is not the expected one, or was not proved.
    WrongKey,
    /// The key is proved, and may not enter.
    NotAdmitted,
    /// No common version.
    Version,
    /// Every place is taken.
    TooManyConnections,
    /// The process is about to end.
    ShuttingDown,
    /// A message was malformed or out of turn.
    Malformed,
    /// A reason newer than this build.
    Unknown(u8),
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Node => "node",
            Self::Client => "client",
        })
    }
}

impl Hello {
    /// The canonical bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut encoder = Encoder::with_capacity(HELLO_FIXED_BYTES + self.payload.len());
        encoder.bytes(&MAGIC);
        encoder.u8(self.frame_version_min);
        encoder.u8(self.frame_version_max);
        encoder.u8(match self.role {
            Role::Node => 1,
            Role::Client => 2,
        });
        self.cluster.encode(&mut encoder);
        self.epoch.encode(&mut encoder);
        self.config.encode(&mut encoder);
        self.key.encode(&mut encoder);
        encoder.bytes(&self.nonce.0);
        encoder.long_bytes(&self.payload);
        encoder.into_vec()
    }
}

/// Reads a HELLO.
///
/// # Errors
///
/// [`HandshakeError::OtherProtocol`] if the magic is missing, else [`HandshakeError::Malformed`].
pub fn decode_hello(bytes: &[u8]) -> Result<Hello, HandshakeError> {
    let mut decoder = Decoder::new(bytes);
    if decoder.array()? != MAGIC {
        return Err(HandshakeError::OtherProtocol);
    }
    let frame_version_min = decoder.u8()?;
    let frame_version_max = decoder.u8()?;
    let role = match decoder.u8()? {
        1 => Role::Node,
        2 => Role::Client,
        value => {
            return Err(DecodeError::Invalid { what: "role", value: u64::from(value) }.into());
        }
    };
    let hello = Hello {
        frame_version_min,
        frame_version_max,
        role,
        cluster: ClusterId::decode(&mut decoder)?,
        epoch: Epoch::decode(&mut decoder)?,
        config: Digest::decode(&mut decoder)?,
        key: PublicKey::decode(&mut decoder)?,
        nonce: HelloNonce(decoder.array()?),
        payload: decoder.long_bytes("hello payload", HANDSHAKE_PAYLOAD_BYTES_MAX)?.to_vec(),
    };
    decoder.finish()?;
    Ok(hello)
}

/// The bytes that `side` signs, given both HELLO bodies as they crossed the wire.
#[must_use]
pub fn signed_bytes(side: Side, initiator_hello: &[u8], responder_hello: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::with_capacity(64 + initiator_hello.len() + responder_hello.len());
    encoder.short_bytes(DOMAIN);
    encoder.u8(match side {
        Side::Initiator => 1,
        Side::Responder => 2,
    });
    encoder.long_bytes(initiator_hello);
    encoder.long_bytes(responder_hello);
    encoder.into_vec()
}

/// The body of an ACCEPT.
#[must_use]
pub fn encode_accept(payload: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::with_capacity(4 + payload.len());
    encoder.long_bytes(payload);
    encoder.into_vec()
}

/// Reads the payload of an ACCEPT.
///
/// # Errors
///
/// [`DecodeError`] if malformed or longer than a handshake payload may be.
pub fn decode_accept(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut decoder = Decoder::new(bytes);
    let payload = decoder.long_bytes("accept payload", HANDSHAKE_PAYLOAD_BYTES_MAX)?.to_vec();
    decoder.finish()?;
    Ok(payload)
}

/// Checks the version byte of a frame of the handshake.
///
/// # Errors
///
/// [`DecodeError::Version`] for any but [`HANDSHAKE_VERSION`].
pub fn check_version(found: u8) -> Result<(), DecodeError> {
    if found == HANDSHAKE_VERSION {
        return Ok(());
    }
    Err(DecodeError::Version { what: "handshake message", found, newest: HANDSHAKE_VERSION })
}

impl Refusal {
    /// A refusal; text beyond 256 bytes is cut, control characters become spaces.
    #[must_use]
    pub fn new(code: RefusalCode, text: &str) -> Self {
        let mut clean = String::new();
        for character in text.chars() {
            let character = if character.is_control() { ' ' } else { character };
            if clean.len() + character.len_utf8() > LABEL_BYTES_MAX {
                break;
            }
            clean.push(character);
        }
        Self { code, text: clean }
    }

    /// The body of a REFUSE.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let Self { code, text } = Self::new(self.code, &self.text);
        let mut encoder = Encoder::with_capacity(3 + text.len());
        encoder.u8(code.number());
        encoder.short_bytes(text.as_bytes());
        encoder.into_vec()
    }

    /// Reads the body of a REFUSE. Text that a terminal would obey is made harmless.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if malformed.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::new(bytes);
        let code = RefusalCode::of_number(decoder.u8()?);
        let text = decoder.short_bytes("refusal text", LABEL_BYTES_MAX)?;
        decoder.finish()?;
        Ok(Self::new(code, &String::from_utf8_lossy(text)))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl RefusalCode {
    /// The reason as a sentence for the side that is refused.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::ForeignCluster => {
                "you belong to another cluster; check the address or your configuration file"
            }
            Self::OtherConfiguration => {
                "your configuration or epoch differs; get the current configuration"
            }
            Self::WrongKey => "your key is not the expected one or was not proved; check key files",
            Self::NotAdmitted => "your key may not enter; ask the operator to admit it",
            Self::Version => "no common frame version; upgrade the older side",
            Self::TooManyConnections => "every connection is taken; try again later",
            Self::ShuttingDown => "shutting down; try again later",
            Self::Malformed => {
                "a handshake message was malformed; are both sides the same release?"
            }
            Self::Unknown(_) => "refused for a reason this release does not know",
        }
    }

    /// Whether the same attempt may succeed later.
    #[must_use]
    pub fn retry(self) -> Retry {
        match self {
            Self::TooManyConnections | Self::ShuttingDown => Retry::Later,
            Self::ForeignCluster
            | Self::OtherConfiguration
            | Self::WrongKey
            | Self::NotAdmitted
            | Self::Version
            | Self::Malformed
            | Self::Unknown(_) => Retry::AfterChange,
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::ForeignCluster => 1,
            Self::OtherConfiguration => 2,
            Self::WrongKey => 3,
            Self::NotAdmitted => 4,
            Self::Version => 5,
            Self::TooManyConnections => 6,
            Self::ShuttingDown => 7,
            Self::Malformed => 8,
            Self::Unknown(number) => number,
        }
    }

    fn of_number(number: u8) -> Self {
        match number {
            1 => Self::ForeignCluster,
            2 => Self::OtherConfiguration,
            3 => Self::WrongKey,
            4 => Self::NotAdmitted,
            5 => Self::Version,
            6 => Self::TooManyConnections,
            7 => Self::ShuttingDown,
            8 => Self::Malformed,
            number => Self::Unknown(number),
        }
    }
}

#[cfg(test)]
mod tests;
