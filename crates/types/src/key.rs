//! Ed25519 keys and signatures under the ZIP-215 rules.
//!
//! ZIP-215 makes single and batch verification agree on every input, so that two nodes never
//! disagree about a certificate. No other Ed25519 verifier may be used anywhere in this store.
//!
//! Spec: docs/protocol.md SIGN-1.
//! Not here: what is signed (`protocol::statement`, `net::handshake`), key files (`cli`).

use std::fmt;

use zeroize::Zeroizing;

use crate::encode::{DecodeError, Decoder, Encoder};
use crate::id::ParseIdError;
use crate::id::byte_id;
use std::str::FromStr;

byte_id!(
    /// An Ed25519 public key: a node's vote or transport key, an owner or an operator.
    PublicKey, 32
);
byte_id!(
    /// An Ed25519 signature.
    Signature, 64
);

impl PublicKey {
    /// Whether `signature` is this key's signature of `message` under ZIP-215.
    ///
    /// Cost: about 44 µs; see `protocol::verify` for batches.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &Signature) -> bool {
        let Ok(key) = ed25519_zebra::VerificationKey::try_from(self.0) else {
            return false;
        };
        key.verify(&ed25519_zebra::Signature::from_bytes(&signature.0), message).is_ok()
    }
}

/// An Ed25519 secret key. Never printed; its bytes are wiped when dropped.
#[derive(Clone)]
pub struct SigningKey {
    seed: Zeroizing<[u8; 32]>,
    key: ed25519_zebra::SigningKey,
}

impl SigningKey {
    /// The key of a 32-byte seed. The seed comes from the operating system's generator.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self { seed: Zeroizing::new(seed), key: ed25519_zebra::SigningKey::from(seed) }
    }

    /// The seed, for the key file.
    #[must_use]
    pub fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(ed25519_zebra::VerificationKeyBytes::from(&self.key).into())
    }

    /// Signs a message. Cost: about 28 µs.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.key.sign(message).to_bytes())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(of {})", self.public())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_and_verifies() {
        let key = SigningKey::from_seed([7; 32]);
        let signature = key.sign(b"stored");
        assert!(key.public().verifies(b"stored", &signature));
        assert!(!key.public().verifies(b"storeD", &signature));
        assert!(!SigningKey::from_seed([8; 32]).public().verifies(b"stored", &signature));
    }

    #[test]
    fn a_public_key_that_is_no_point_verifies_nothing() {
        assert!(!PublicKey([0xff; 32]).verifies(b"", &Signature([0; 64])));
    }

    #[test]
    fn debug_output_has_no_secret() {
        let key = SigningKey::from_seed([7; 32]);
        assert!(!format!("{key:?}").contains(&hex::encode([7u8; 8])));
    }

    /// RFC 8032, section 7.1, test 1.
    #[test]
    fn keys_and_signatures_are_those_of_the_standard() {
        let mut seed = [0; 32];
        let text = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        hex::decode_to_slice(text, &mut seed).unwrap();
        let key = SigningKey::from_seed(seed);
        assert_eq!(key.seed(), &seed);
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        assert_eq!(key.public().to_string(), public);
        let signature = "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155\
                         5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b";
        assert_eq!(key.sign(b"").to_string(), signature);
        assert_eq!(format!("{key:?}"), format!("SigningKey(of {public})"));
    }
}
