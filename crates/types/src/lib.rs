//! Identifiers, parameters, limits, time and canonical encoding of the AVID-FP object store.
//!
//! The vocabulary every other crate speaks. Nothing here performs I/O, reads a clock or draws
//! randomness; values are built from bytes that somebody else obtained.
//!
//! Spec: docs/protocol.md PARAMS-1, ID-1, SIGN-1.
//! Not here: quorum *decisions* (`protocol`), coding of bytes (`coding`), files and sockets.

pub mod canary;
pub mod cluster;
pub mod encode;
pub mod id;
pub mod key;
pub mod limits;
pub mod name;
pub mod params;
pub mod stripes;
pub mod suite;
pub mod time;

pub use cluster::{ClusterConfig, ConfigError, MemberConfig, NodeId, Placement};
pub use encode::{DecodeError, Decoder, Encoder};
pub use id::{
    ClusterId, Commitment, Digest, Epoch, Generation, GroupId, Nonce, Slot, StripeIndex, UploadId,
};
pub use key::{PublicKey, Signature, SigningKey};
pub use name::{NameError, ObjectName};
pub use params::{Params, ParamsError};
pub use stripes::{StripeLayout, StripeLayoutError};
pub use suite::{CodeKind, FingerprintKind, HashKind, Suite};
pub use time::Timestamp;
