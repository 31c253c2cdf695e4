//! A node's secret: who it is and both keys it signs with.

use avid_types::limits::{ADDRESS_BYTES_MAX, LABEL_BYTES_MAX};
use serde::{Deserialize, Serialize};

use super::join::JoinRequest;
use super::seed::Seed;
use super::{FileKind, Secrecy};
use crate::error::CliError;

/// The key file of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NodeKey {
    /// A name for people, unique in the cluster.
    pub(crate) name: String,
    /// Host and port where others reach it.
    pub(crate) address: String,
    /// Failure domain.
    #[serde(default)]
    pub(crate) zone: String,
    /// Seed of the key that signs votes.
    pub(crate) vote_seed: Seed,
    /// Seed of the key that signs handshakes.
    pub(crate) transport_seed: Seed,
}

impl FileKind for NodeKey {
    const FORMAT: &'static str = "avid-node-key";
    const VERSION: u64 = 1;
    const WHAT: &'static str = "node key";
    const SECRECY: Secrecy = Secrecy::Secret;
    const MADE_BY: &'static str = "`avid keygen node`";
}

impl NodeKey {
    /// Draws the keys of a new node.
    ///
    /// # Errors
    ///
    /// [`CliError`] if name, address or zone could not stand in a configuration.
    pub(crate) fn draw(name: &str, address: &str, zone: &str) -> Result<Self, CliError> {
        check_label("name", name, LABEL_BYTES_MAX)?;
        check_label("address", address, ADDRESS_BYTES_MAX)?;
        check_address(address)?;
        if !zone.is_empty() {
            check_label("zone", zone, LABEL_BYTES_MAX)?;
        }
        Ok(Self {
            name: name.to_owned(),
            address: address.to_owned(),
            zone: zone.to_owned(),
            vote_seed: Seed::draw()?,
            transport_seed: Seed::draw()?,
        })
    }

    /// What an operator needs to make this node a member; contains no secret.
    #[must_use]
    pub(crate) fn join_request(&self) -> JoinRequest {
        JoinRequest::sign(self)
    }
}

fn check_label(what: &str, text: &str, max: usize) -> Result<(), CliError> {
    if text.is_empty() || text.len() > max || text.chars().any(char::is_control) {
        return Err(CliError::usage(format!(
            "a node's {what} has 1 to {max} bytes and no control characters"
        )));
    }
    Ok(())
}

/// `host:port`; the host is resolved when it is dialed.
pub(crate) fn check_address(address: &str) -> Result<(), CliError> {
    let is_valid = address
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|p| p != 0));
    if is_valid {
        return Ok(());
    }
    Err(CliError::usage(format!("\"{address}\" is not an address"))
        .hint("write host:port, for example node1.example.net:7101 or [2001:db8::1]:7101"))
}
