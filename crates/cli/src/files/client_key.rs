//! A client's secret, and the grant that admits it to a cluster.
//!
//! The grant stands in the key file, or beside it in `KEYFILE.grant`: an operator who never sees
//! the secret sends the second, an operator who made the key writes the first.

use std::path::{Path, PathBuf};

use avid_protocol::authority::SignedGrant;
use serde::{Deserialize, Serialize};

use super::seed::Seed;
use super::{FileKind, Loaded, Secrecy, load};
use crate::error::CliError;

/// The key file of a client: owner of its objects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClientKey {
    /// Seed of the key.
    pub(crate) seed: Seed,
    /// Admits the key to a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) grant: Option<SignedGrant>,
}

impl FileKind for ClientKey {
    const FORMAT: &'static str = "avid-client-key";
    const VERSION: u64 = 1;
    const WHAT: &'static str = "client key";
    const SECRECY: Secrecy = Secrecy::Secret;
    const MADE_BY: &'static str = "`avid keygen client`";
}

/// A grant on its way from the operator to the client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrantFile {
    /// The grant.
    pub(crate) grant: SignedGrant,
}

impl FileKind for GrantFile {
    const FORMAT: &'static str = "avid-grant";
    const VERSION: u64 = 1;
    const WHAT: &'static str = "grant";
    const SECRECY: Secrecy = Secrecy::Public;
    const MADE_BY: &'static str = "`avid grant`";
}

/// Where the grant of a key file is looked for: the same name with `.grant` after it.
#[must_use]
pub(crate) fn grant_path(key: &Path) -> PathBuf {
    let mut name = key.as_os_str().to_owned();
    name.push(".grant");
    PathBuf::from(name)
}

/// Reads a client key with its grant, from the file itself or from beside it.
///
/// # Errors
///
/// [`CliError`] if either file is unusable.
pub(crate) fn load_with_grant(path: &Path) -> Result<Loaded<ClientKey>, CliError> {
    let mut loaded = load::<ClientKey>(path)?;
    let beside = grant_path(path);
    if loaded.value.grant.is_none() && beside.exists() {
        loaded.value.grant = Some(load::<GrantFile>(&beside)?.value.grant);
    }
    Ok(loaded)
}
