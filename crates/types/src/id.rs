//! Identifiers as distinct types, so that a slot is never mistaken for a node.
//!
//! Each is a fixed number of bytes with one canonical encoding (little-endian integers, raw byte
//! strings) and prints as hexadecimal or as a plain number.
//!
//! Not here: how an upload id is derived (`protocol::statement`), who a node is (`cluster`).

use std::fmt;
use std::str::FromStr;

use crate::encode::{DecodeError, Decoder, Encoder};

/// Text was not the hexadecimal form of a fixed-size identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} hexadecimal characters")]
pub struct ParseIdError {
    /// Characters the identifier has.
    pub expected: usize,
}

macro_rules! byte_id {
    ($(#[$doc:meta])* $name:ident, $bytes:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $bytes]);

        impl $name {
            /// Size of the identifier in bytes.
            pub const BYTES: usize = $bytes;
            /// The identifier of all zero bytes.
            pub const ZERO: Self = Self([0; $bytes]);

            /// The raw bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }

            /// Appends the raw bytes.
            pub fn encode(&self, encoder: &mut Encoder) {
                encoder.bytes(&self.0);
            }

            /// Reads the raw bytes.
            ///
            /// # Errors
            ///
            /// [`DecodeError`] if the input ends early.
            pub fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
                Ok(Self(decoder.array()?))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let mut bytes = [0; $bytes];
                hex::decode_to_slice(text, &mut bytes)
                    .map_err(|_| ParseIdError { expected: 2 * $bytes })?;
                Ok(Self(bytes))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $int:ty, $put:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash,
            serde::Serialize, serde::Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $int);

        impl $name {
            /// Appends the number, little-endian.
            pub fn encode(self, encoder: &mut Encoder) {
                encoder.$put(self.0);
            }

            /// Reads the number.
            ///
            /// # Errors
            ///
            /// [`DecodeError`] if the input ends early.
            pub fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
                Ok(Self(decoder.$put()?))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

pub(crate) use byte_id;

byte_id!(
    /// A cryptographic hash value (SHA-256, 32 bytes).
    Digest, 32
);
byte_id!(
    /// Object commitment C: the digest of the canonical manifest (rule COMMITMENT-1).
    Commitment, 32
);
byte_id!(
    /// One run of the write protocol, u: owner, name and generation hashed (rule ID-1).
    UploadId, 32
);
byte_id!(
    /// Names one cluster for ever; drawn at random at genesis.
    ClusterId, 16
);
byte_id!(
    /// A value used once: handshakes and fresh placement questions.
    Nonce, 16
);
number_id!(
    /// Number of an agreed configuration, 0 at genesis.
    Epoch, u64, u64
);
number_id!(
    /// Placement group: an ordered list of n nodes.
    GroupId, u32, u32
);
number_id!(
    /// Which life of a name: 0 first, higher after deletion, abort or expiry.
    Generation, u64, u64
);
number_id!(
    /// Generator row of the code, 0..n; rows below m hold data, the others parity.
    Slot, u8, u8
);
number_id!(
    /// Position of a stripe in its object, from 0.
    StripeIndex, u64, u64
);

impl Slot {
    /// The slot as an index into arrays of n entries.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl Digest {
    /// SHA-256 of the concatenated parts.
    #[must_use]
    pub fn of(parts: &[&[u8]]) -> Self {
        use sha2::Digest as _;
        let mut hasher = sha2::Sha256::new();
        for part in parts {
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// NIST's one-block and empty messages for SHA-256.
    #[test]
    fn a_digest_is_sha_256_of_the_concatenated_parts() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::of(&[b"abc"]).to_string(), abc);
        assert_eq!(Digest::of(&[b"a", b"", b"bc"]), Digest::of(&[b"abc"]));
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(&[]).to_string(), empty);
    }

    #[test]
    fn the_printed_form_is_read_back_and_nothing_else_is() {
        let id = ClusterId(std::array::from_fn(|i| u8::try_from(i * 16).unwrap()));
        let text = "00102030405060708090a0b0c0d0e0f0";
        assert_eq!(id.to_string(), text);
        assert_eq!(format!("{id:?}"), format!("ClusterId({text})"));
        assert_eq!(text.parse(), Ok(id));
        for wrong in ["", &text[1..], &format!("{text}00"), &text.replace('a', "g")] {
            assert_eq!(wrong.parse::<ClusterId>(), Err(ParseIdError { expected: 32 }), "{wrong}");
        }
    }

    #[test]
    fn canonical_bytes_are_raw_or_little_endian() {
        let mut e = Encoder::new();
        Nonce([7; 16]).encode(&mut e);
        GroupId(0x0102_0304).encode(&mut e);
        Generation(5).encode(&mut e);
        Slot(6).encode(&mut e);
        let bytes = e.into_vec();
        assert_eq!(bytes, [&[7; 16][..], &[4, 3, 2, 1, 5, 0, 0, 0, 0, 0, 0, 0, 6]].concat());
        let mut d = Decoder::new(&bytes);
        assert_eq!(Nonce::decode(&mut d), Ok(Nonce([7; 16])));
        assert_eq!(GroupId::decode(&mut d), Ok(GroupId(0x0102_0304)));
        assert_eq!(Generation::decode(&mut d), Ok(Generation(5)));
        assert_eq!(Slot::decode(&mut d), Ok(Slot(6)));
        assert_eq!(d.finish(), Ok(()));
        assert_eq!([Slot(0), Slot(6), Slot(254)].map(Slot::index), [0, 6, 254]);
    }
}
