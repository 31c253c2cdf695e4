//! The operator's word: signed configurations and grants.
//!
//! A reader pins a configuration; everything else it believes follows from signatures of keys in
//! it. A client is admitted by a grant that an operator signed; nodes hold no list of clients.
//!
//! Spec: docs/protocol.md OPER-1, GRANT-1.
//! Not here: key files (`cli`), handshakes (`net`).

use avid_types::{
    ClusterConfig, DecodeError, Decoder, Encoder, PublicKey, Signature, SigningKey, Timestamp,
};

const GRANT_FORMAT: u8 = 1;

fn config_message(config: &ClusterConfig) -> Vec<u8> {
    let mut e = Encoder::new();
    e.u8(18);
    e.bytes(b"avidfp/operator/v1");
    config.digest().encode(&mut e);
    e.into_vec()
}

/// Signs a configuration as its operator.
#[must_use]
pub fn sign_config(config: &ClusterConfig, operator: &SigningKey) -> Signature {
    operator.sign(&config_message(config))
}

/// Whether one of the configuration's own operators signed it.
///
/// At genesis this proves integrity, not authority: trust comes from pinning the file.
#[must_use]
pub fn config_signed(config: &ClusterConfig, signature: &Signature) -> bool {
    let message = config_message(config);
    config.operators.iter().any(|operator| operator.verifies(&message, signature))
}

/// What a client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Rights {
    /// Read any object.
    pub read: bool,
    /// Write objects under its own key, and delete them.
    pub write: bool,
}

/// An operator admits a client key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Grant {
    /// The client's key.
    pub client: PublicKey,
    /// What it may do.
    pub rights: Rights,
    /// Cluster time after which the grant is void; zero for never.
    pub not_after: Timestamp,
}

/// A grant with its operator's signature, not yet checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SignedGrant {
    /// What is granted.
    pub grant: Grant,
    /// Operator's signature over cluster and grant.
    pub signature: Signature,
}

/// Why a grant is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// Made for another key.
    #[error("the grant names another client key")]
    OtherClient,
    /// No operator of this cluster signed it.
    #[error("no operator of this cluster signed the grant")]
    Signature,
    /// Past its end.
    #[error("the grant ended")]
    Ended,
}

impl Grant {
    fn message(&self, config: &ClusterConfig) -> Vec<u8> {
        let mut e = Encoder::new();
        e.u8(15);
        e.bytes(b"avidfp/grant/v1");
        config.cluster.encode(&mut e);
        self.encode(&mut e);
        e.into_vec()
    }

    fn encode(&self, e: &mut Encoder) {
        e.u8(GRANT_FORMAT);
        self.client.encode(e);
        e.u8(u8::from(self.rights.read) | u8::from(self.rights.write) << 1);
        self.not_after.encode(e);
    }

    /// Signs the grant.
    #[must_use]
    pub fn sign(self, config: &ClusterConfig, operator: &SigningKey) -> SignedGrant {
        SignedGrant { grant: self, signature: operator.sign(&self.message(config)) }
    }
}

impl SignedGrant {
    /// Appends grant and signature.
    pub fn encode(&self, e: &mut Encoder) {
        self.grant.encode(e);
        self.signature.encode(e);
    }

    /// Reads grant and signature.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if malformed.
    pub fn decode(d: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let found = d.u8()?;
        if found != GRANT_FORMAT {
            return Err(DecodeError::Version { what: "grant", found, newest: GRANT_FORMAT });
        }
        let client = PublicKey::decode(d)?;
        let bits = d.u8()?;
        if bits > 0b11 {
            return Err(DecodeError::Invalid { what: "rights", value: u64::from(bits) });
        }
        let rights = Rights { read: bits & 1 != 0, write: bits & 2 != 0 };
        let grant = Grant { client, rights, not_after: Timestamp::decode(d)? };
        Ok(Self { grant, signature: Signature::decode(d)? })
    }

    /// Checks that an operator gave this grant to `client` and that it has not ended.
    ///
    /// # Errors
    ///
    /// [`GrantError`].
    pub fn verify(
        &self,
        config: &ClusterConfig,
        client: &PublicKey,
        cluster_time: Timestamp,
    ) -> Result<Rights, GrantError> {
        if self.grant.client != *client {
            return Err(GrantError::OtherClient);
        }
        let message = self.grant.message(config);
        if !config.operators.iter().any(|key| key.verifies(&message, &self.signature)) {
            return Err(GrantError::Signature);
        }
        if self.grant.not_after != Timestamp::ZERO && self.grant.not_after <= cluster_time {
            return Err(GrantError::Ended);
        }
        Ok(self.grant.rights)
    }
}
