//! Settings of one node, for `serve --config FILE` and `server -config FILE`.
//!
//! Local to one machine: nothing here is agreed with others, and nothing agreed is here. Relative
//! paths start at the file's directory. Unknown fields are refused.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{FileKind, Secrecy, load, parent};
use crate::error::CliError;

/// What `serve` also takes as flags; a flag outranks the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NodeSettings {
    /// The pinned cluster file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cluster: Option<PathBuf>,
    /// The node's key file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<PathBuf>,
    /// Where fragments and the journal live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<PathBuf>,
    /// Addresses to listen on; none for the node's address in the cluster file.
    #[serde(default)]
    pub(crate) listen: Vec<String>,
}

impl FileKind for NodeSettings {
    const FORMAT: &'static str = "avid-node-settings";
    const VERSION: u64 = 1;
    const WHAT: &'static str = "node settings file";
    const SECRECY: Secrecy = Secrecy::Public;
    const MADE_BY: &'static str = "your editor (docs/formats.md, \"Key and cluster files\")";
}

impl NodeSettings {
    /// Reads a settings file and makes its paths independent of the working directory.
    ///
    /// # Errors
    ///
    /// [`CliError`] if it is unusable.
    pub(crate) fn load(path: &Path) -> Result<Self, CliError> {
        let mut settings = load::<Self>(path)?.value;
        let directory = parent(path);
        for entry in [&mut settings.cluster, &mut settings.key, &mut settings.data] {
            *entry = entry.take().map(|relative| directory.join(relative));
        }
        Ok(settings)
    }
}
