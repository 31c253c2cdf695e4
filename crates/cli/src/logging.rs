//! Diagnostics on stderr: text on a terminal, JSON lines elsewhere.
//!
//! `AVID_LOG` outranks `-v`; clients are silent below warnings, nodes speak at info.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::error::CliError;

/// Who writes diagnostics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A command that ends by itself.
    Client,
    /// A node that runs for months.
    Node,
}

/// Starts diagnostics for this process.
///
/// # Errors
///
/// [`CliError`] if `AVID_LOG` is not a filter.
pub(crate) fn start(role: Role, verbosity: u8, filter: Option<&str>) -> Result<(), CliError> {
    let level = match (role, verbosity) {
        (Role::Client, 0) => "error",
        (Role::Client, 1) => "warn",
        (Role::Client, 2) | (Role::Node, 0) => "info",
        (Role::Client, 3) | (Role::Node, 1) => "debug",
        (Role::Client | Role::Node, _) => "trace",
    };
    let filter = EnvFilter::try_new(filter.unwrap_or(level)).map_err(|error| {
        CliError::usage(format!("AVID_LOG is not a filter: {error}"))
            .hint("for example AVID_LOG=info,avid_node=debug")
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        builder.init();
    } else {
        builder.json().init();
    }
    Ok(())
}
