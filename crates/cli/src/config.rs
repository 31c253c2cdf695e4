//! Settings of one run: flags first, then the environment, then /etc/avid.
//!
//! The only module that reads environment variables:
//!
//! | variable | stands for |
//! |---|---|
//! | `AVID_CLUSTER` | `--cluster`: the pinned cluster file |
//! | `AVID_KEY` | `--key`: the key file |
//! | `AVID_LOG` | filter of diagnostics, as in `info,avid_node=debug` |
//! | `NO_COLOR` | `--color never`, if set and not empty |
//!
//! A variable that is set to nothing counts as not set.
//!
//! Not here: what the files contain ([`crate::files`]).

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::error::CliError;

/// The pinned cluster file where nothing else is said.
pub(crate) const CLUSTER_PATH_DEFAULT: &str = "/etc/avid/cluster.json";
/// A client's key file where nothing else is said.
pub(crate) const CLIENT_KEY_PATH_DEFAULT: &str = "/etc/avid/client.key";
/// A node's key file where nothing else is said.
pub(crate) const NODE_KEY_PATH_DEFAULT: &str = "/etc/avid/node.key";
/// A node's data where nothing else is said.
pub(crate) const DATA_PATH_DEFAULT: &str = "/var/lib/avid";

/// What the environment says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Environment {
    /// `AVID_CLUSTER`.
    pub(crate) cluster: Option<PathBuf>,
    /// `AVID_KEY`.
    pub(crate) key: Option<PathBuf>,
    /// `AVID_LOG`.
    pub(crate) log: Option<String>,
    /// `NO_COLOR`.
    pub(crate) no_color: bool,
}

impl Environment {
    /// Reads the variables of this process.
    #[must_use]
    pub(crate) fn read() -> Self {
        let variable =
            |name: &str| -> Option<OsString> { std::env::var_os(name).filter(|v| !v.is_empty()) };
        Self {
            cluster: variable("AVID_CLUSTER").map(PathBuf::from),
            key: variable("AVID_KEY").map(PathBuf::from),
            log: variable("AVID_LOG").and_then(|value| value.into_string().ok()),
            no_color: variable("NO_COLOR").is_some(),
        }
    }
}

/// Which files this run uses, and where each choice came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Paths {
    /// `--cluster`.
    pub(crate) cluster_flag: Option<PathBuf>,
    /// `--key`.
    pub(crate) key_flag: Option<PathBuf>,
    /// The environment.
    pub(crate) environment: Environment,
}

impl Paths {
    /// The cluster file: flag, `AVID_CLUSTER`, /etc/avid.
    ///
    /// # Errors
    ///
    /// [`CliError`] if nothing is said and the default does not exist.
    pub(crate) fn cluster(&self) -> Result<PathBuf, CliError> {
        let said = self.cluster_flag.as_ref().or(self.environment.cluster.as_ref());
        choose(said, CLUSTER_PATH_DEFAULT, "cluster file", "--cluster FILE or AVID_CLUSTER")
            .map_err(|error| error.hint("`avid dev` starts a cluster to play with and prints both"))
    }

    /// The client's key file: flag, `AVID_KEY`, /etc/avid.
    ///
    /// # Errors
    ///
    /// [`CliError`] if nothing is said and the default does not exist.
    pub(crate) fn client_key(&self) -> Result<PathBuf, CliError> {
        let said = self.key_flag.as_ref().or(self.environment.key.as_ref());
        choose(said, CLIENT_KEY_PATH_DEFAULT, "client key", "--key FILE or AVID_KEY")
            .map_err(|error| error.hint("`avid keygen client --out client.key` makes one"))
    }

    /// The node's key file: flag, `AVID_KEY`, /etc/avid.
    ///
    /// # Errors
    ///
    /// [`CliError`] if nothing is said and the default does not exist.
    pub(crate) fn node_key(&self) -> Result<PathBuf, CliError> {
        let said = self.key_flag.as_ref().or(self.environment.key.as_ref());
        choose(said, NODE_KEY_PATH_DEFAULT, "node key", "--key FILE or AVID_KEY")
            .map_err(|error| error.hint("`avid keygen node --out node.key` makes one"))
    }
}

fn choose(
    said: Option<&PathBuf>,
    default: &str,
    what: &str,
    how: &str,
) -> Result<PathBuf, CliError> {
    if let Some(path) = said {
        return Ok(path.clone());
    }
    let default = Path::new(default);
    if default.exists() {
        return Ok(default.to_owned());
    }
    Err(CliError::usage(format!(
        "no {what}: give {how}; {} does not exist either",
        default.display()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_outranks_the_environment() {
        let environment = Environment { cluster: Some("env".into()), ..Environment::default() };
        let paths = Paths { environment, ..Paths::default() };
        assert_eq!(paths.cluster().unwrap(), PathBuf::from("env"));
        let paths = Paths { cluster_flag: Some("flag".into()), ..paths };
        assert_eq!(paths.cluster().unwrap(), PathBuf::from("flag"));
    }
}
