//! A join request: what a machine tells the operator about itself, with proof of both its keys.
//!
//! Invariant: a [`JoinRequest`] that passed [`JoinRequest::verify`] was made by the holder of
//! both secret keys, so nobody can register a key of somebody else.

use avid_types::{Encoder, MemberConfig, PublicKey, Signature};
use serde::{Deserialize, Serialize};

use super::node_key::NodeKey;
use super::{FileKind, Secrecy};

/// The public half of a [`NodeKey`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JoinRequest {
    /// A name for people, unique in the cluster.
    pub(crate) name: String,
    /// Host and port where others reach it.
    pub(crate) address: String,
    /// Failure domain.
    #[serde(default)]
    pub(crate) zone: String,
    /// Signs votes.
    pub(crate) vote_key: PublicKey,
    /// Signs handshakes.
    pub(crate) transport_key: PublicKey,
    /// The vote key's signature of everything above.
    pub(crate) vote_signature: Signature,
    /// The transport key's signature of everything above.
    pub(crate) transport_signature: Signature,
}

impl FileKind for JoinRequest {
    const FORMAT: &'static str = "avid-join-request";
    const VERSION: u64 = 1;
    const WHAT: &'static str = "join request";
    const SECRECY: Secrecy = Secrecy::Public;
    const MADE_BY: &'static str = "`avid keygen node`";
}

impl JoinRequest {
    /// The request of a node, signed by both its keys.
    #[must_use]
    pub(crate) fn sign(node: &NodeKey) -> Self {
        let (vote, transport) = (node.vote_seed.key(), node.transport_seed.key());
        let mut request = Self {
            name: node.name.clone(),
            address: node.address.clone(),
            zone: node.zone.clone(),
            vote_key: vote.public(),
            transport_key: transport.public(),
            vote_signature: Signature::ZERO,
            transport_signature: Signature::ZERO,
        };
        let message = request.message();
        request.vote_signature = vote.sign(&message);
        request.transport_signature = transport.sign(&message);
        request
    }

    /// The member this request asks to become, if both signatures verify.
    #[must_use]
    pub(crate) fn verify(&self) -> Option<MemberConfig> {
        let message = self.message();
        let is_proved = self.vote_key.verifies(&message, &self.vote_signature)
            && self.transport_key.verifies(&message, &self.transport_signature);
        is_proved.then(|| MemberConfig {
            name: self.name.clone(),
            vote_key: self.vote_key,
            transport_key: self.transport_key,
            address: self.address.clone(),
            zone: self.zone.clone(),
        })
    }

    fn message(&self) -> Vec<u8> {
        let mut e = Encoder::new();
        e.u8(14);
        e.bytes(b"avidfp/join/v1");
        for text in [&self.name, &self.address, &self.zone] {
            e.long_bytes(text.as_bytes());
        }
        self.vote_key.encode(&mut e);
        self.transport_key.encode(&mut e);
        e.into_vec()
    }
}
