//! `avid keygen node|client|operator`: draws keys on the machine that will use them.

use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;

use crate::app::Context;
use crate::error::CliError;
use crate::files::client_key::ClientKey;
use crate::files::node_key::NodeKey;
use crate::files::operator_key::OperatorKey;
use crate::files::seed::Seed;
use crate::files::{create, to_text};

/// For whom.
#[derive(Debug, Subcommand)]
pub(crate) enum Keygen {
    /// A node's key file; its public join request goes to stdout or a file.
    Node {
        /// A name for people, unique in the cluster.
        #[arg(long)]
        name: String,
        /// HOST:PORT where clients and other nodes reach it.
        #[arg(long)]
        address: String,
        /// Failure domain, for example a rack.
        #[arg(long, default_value = "")]
        zone: String,
        /// Where the secret goes; must not exist.
        #[arg(long, value_name = "FILE", default_value = "node.key")]
        out: PathBuf,
        /// Where the join request goes [default: stdout].
        #[arg(long, value_name = "FILE")]
        request: Option<PathBuf>,
    },
    /// A client's key file: it will own the objects written with it.
    Client {
        /// Where the secret goes; must not exist.
        #[arg(long, value_name = "FILE", default_value = "client.key")]
        out: PathBuf,
    },
    /// An operator's key file: it signs the cluster file and grants.
    Operator {
        /// Where the secret goes; must not exist.
        #[arg(long, value_name = "FILE", default_value = "operator.key")]
        out: PathBuf,
    },
}

#[derive(Serialize)]
struct Made {
    file: PathBuf,
    public_key: avid_types::PublicKey,
}

/// Draws and writes the keys.
///
/// # Errors
///
/// [`CliError`] if a file exists or cannot be written.
pub(crate) fn run(context: &Context, args: Keygen) -> Result<(), CliError> {
    match args {
        Keygen::Node { name, address, zone, out, request } => {
            let node = NodeKey::draw(&name, &address, &zone)?;
            create(&out, &node)?;
            context.output.note(&format!("node key: {} (secret, stays here)", out.display()));
            let Some(request) = request else {
                return context.output.write(&to_text(&node.join_request())?);
            };
            create(&request, &node.join_request())?;
            let public_key = node.transport_seed.key().public();
            let text = format!("join request: {} (send it to the operator)", request.display());
            context.output.result(&Made { file: request, public_key }, &text)
        }
        Keygen::Client { out } => {
            let seed = Seed::draw()?;
            let public_key = seed.key().public();
            create(&out, &ClientKey { seed, grant: None })?;
            context.output.note(
                "Back it up with `avid key backup`: without this key its objects stay readable \
                 for ever and can never be deleted.",
            );
            let text = format!("{public_key}");
            context.output.result(&Made { file: out, public_key }, &text)
        }
        Keygen::Operator { out } => {
            let seed = Seed::draw()?;
            let public_key = seed.key().public();
            create(&out, &OperatorKey { seed })?;
            context.output.note("Keep it off the nodes: no running process needs it.");
            let text = format!("{public_key}");
            context.output.result(&Made { file: out, public_key }, &text)
        }
    }
}
