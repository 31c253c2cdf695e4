//! The pinned configuration: what members and clients agree on, readable, signed by an operator.
//!
//! The signature is over the canonical bytes of the configuration and not over the JSON text, so
//! the file may be reformatted; any change of a value breaks it.
//!
//! Spec: docs/protocol.md OPER-1.
//! Invariant: a [`ClusterConfig`] from [`load_cluster`] passed `check()` and is signed by one of
//! its own operators. At genesis that proves integrity; trust comes from pinning this file.

use std::path::Path;

use avid_protocol::authority::{config_signed, sign_config};
use avid_types::{
    ClusterConfig, ClusterId, Epoch, MemberConfig, NodeId, Params, PublicKey, Signature,
    SigningKey, Suite,
};
use serde::{Deserialize, Serialize};

use super::{FileKind, Secrecy, load};
use crate::error::{CliError, Kind};

/// The file, field by field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClusterFile {
    /// A remark for people; not signed, no effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
    /// Names the cluster for ever.
    pub(crate) cluster: ClusterId,
    /// Number of this configuration.
    pub(crate) epoch: Epoch,
    /// Fragments that rebuild an object.
    pub(crate) m: u8,
    /// Fragments in all.
    pub(crate) n: u8,
    /// Liars tolerated.
    pub(crate) f: u8,
    /// Code, fingerprint and hash.
    pub(crate) suite: Suite,
    /// Chunk length, bytes.
    pub(crate) chunk_bytes: u32,
    /// All nodes.
    pub(crate) members: Vec<MemberConfig>,
    /// Placement groups: positions in `members`.
    pub(crate) groups: Vec<Vec<NodeId>>,
    /// Keys that sign configurations and grants.
    pub(crate) operators: Vec<PublicKey>,
    /// Of one of the operators, over the canonical bytes.
    pub(crate) signature: Signature,
}

impl FileKind for ClusterFile {
    const FORMAT: &'static str = "avid-cluster";
    const VERSION: u64 = 1;
    const WHAT: &'static str = "cluster file";
    const SECRECY: Secrecy = Secrecy::Public;
    const MADE_BY: &'static str = "`avid init`, on the operator's machine,";
}

impl ClusterFile {
    /// Signs a configuration.
    #[must_use]
    pub(crate) fn sign(config: &ClusterConfig, operator: &SigningKey) -> Self {
        Self {
            note: None,
            cluster: config.cluster,
            epoch: config.epoch,
            m: config.params.m_byte(),
            n: config.params.n_byte(),
            f: config.params.f_byte(),
            suite: config.suite,
            chunk_bytes: config.chunk_bytes,
            members: config.members.clone(),
            groups: config.groups.clone(),
            operators: config.operators.clone(),
            signature: sign_config(config, operator),
        }
    }

    /// The configuration, checked and with its signature verified.
    ///
    /// # Errors
    ///
    /// [`CliError`] naming the rule it breaks.
    pub(crate) fn verify(&self) -> Result<ClusterConfig, CliError> {
        let config = self.config()?;
        if config_signed(&config, &self.signature) {
            return Ok(config);
        }
        Err(CliError::new(
            Kind::Integrity,
            "the signature of the cluster file does not verify: a value was changed after the \
             operator signed it",
        )
        .hint("get the file again from the operator; do not edit it"))
    }

    fn config(&self) -> Result<ClusterConfig, CliError> {
        let unusable = |why: String| {
            CliError::usage(format!("the cluster file breaks a rule: {why}"))
                .hint("get the file again from the operator")
        };
        let params = Params::validate(self.m, self.n, self.f);
        let config = ClusterConfig {
            cluster: self.cluster,
            epoch: self.epoch,
            params: params.map_err(|error| unusable(error.to_string()))?,
            suite: self.suite,
            chunk_bytes: self.chunk_bytes,
            members: self.members.clone(),
            groups: self.groups.clone(),
            operators: self.operators.clone(),
        };
        config.check().map_err(|error| unusable(error.to_string()))?;
        Ok(config)
    }
}

/// Reads and verifies a cluster file.
///
/// # Errors
///
/// [`CliError`] naming the file and what is wrong with it.
pub(crate) fn load_cluster(path: &Path) -> Result<(ClusterFile, ClusterConfig), CliError> {
    let file = load::<ClusterFile>(path)?.value;
    let config = file.verify().map_err(|error| CliError {
        message: format!("{}: {}", path.display(), error.message),
        ..error
    })?;
    Ok((file, config))
}
