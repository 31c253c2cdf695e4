//! `avid grant`: an operator admits a client's key.

use std::path::{Path, PathBuf};
use std::time::Duration;

use avid_protocol::authority::{Grant, Rights, SignedGrant};
use avid_types::{PublicKey, Timestamp};
use serde::Serialize;

use crate::app::Context;
use crate::commands::session::moment_in;
use crate::error::CliError;
use crate::files::client_key::{ClientKey, GrantFile};
use crate::files::cluster_file::load_cluster;
use crate::files::operator_key::OperatorKey;
use crate::files::{create, load, replace, to_text};

/// Whom to admit to what.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The client: its public key (64 hexadecimal characters) or its key file, which then receives
    /// the grant.
    client: String,
    /// An operator of the cluster.
    #[arg(long, value_name = "FILE")]
    operator_key: PathBuf,
    /// Allow reading only.
    #[arg(long)]
    read_only: bool,
    /// Ends the grant after this time from now, for example 90d.
    #[arg(long, value_name = "DURATION", value_parser = crate::args::parse_duration)]
    not_after: Option<Duration>,
    /// Where the grant for a public key goes [default: stdout]; the client keeps it as
    /// KEYFILE.grant.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Serialize)]
struct Granted {
    grant: Grant,
    file: PathBuf,
}

/// Signs the grant.
///
/// # Errors
///
/// [`CliError`] if the operator key is not one of the cluster's, or a file is unusable.
pub(crate) fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let (_, config) = load_cluster(&context.paths.cluster()?)?;
    let operator = load::<OperatorKey>(&args.operator_key)?;
    if let Some(warning) = &operator.warning {
        context.output.warn(warning);
    }
    let operator = operator.value.seed.key();
    if !config.operators.contains(&operator.public()) {
        return Err(CliError::new(
            crate::error::Kind::Denied,
            format!(
                "{} is not an operator of cluster {}",
                args.operator_key.display(),
                config.cluster
            ),
        )
        .hint("use the operator key the cluster file was signed with (`avid cluster show`)"));
    }
    let rights = Rights { read: true, write: !args.read_only };
    let not_after = args.not_after.map_or(Ok(Timestamp::ZERO), moment_in)?;
    let sign = |client| Grant { client, rights, not_after }.sign(&config, &operator);
    if let Ok(client) = args.client.parse::<PublicKey>() {
        return hand_out(context, args.out, sign(client));
    }
    if args.out.is_some() {
        return Err(CliError::usage(
            "--out goes with a public key; a key file receives the grant itself",
        ));
    }
    write_into(context, Path::new(&args.client), sign)
}

fn hand_out(context: &Context, out: Option<PathBuf>, grant: SignedGrant) -> Result<(), CliError> {
    let file = GrantFile { grant };
    let Some(out) = out else {
        return context.output.write(&to_text(&file)?);
    };
    create(&out, &file)?;
    let text = format!("grant: {} (the client keeps it as KEYFILE.grant)", out.display());
    context.output.result(&Granted { grant: grant.grant, file: out }, &text)
}

fn write_into(
    context: &Context,
    path: &Path,
    sign: impl FnOnce(PublicKey) -> SignedGrant,
) -> Result<(), CliError> {
    if !path.exists() {
        return Err(CliError::usage(format!(
            "\"{}\" is neither a public key nor a file",
            path.display()
        ))
        .hint("`avid keygen client` prints the public key: 64 hexadecimal characters"));
    }
    let mut client = load::<ClientKey>(path)?.value;
    let grant = sign(client.seed.key().public());
    client.grant = Some(grant);
    replace(path, &client)?;
    let text = format!("granted: {}", path.display());
    context.output.result(&Granted { grant: grant.grant, file: path.to_owned() }, &text)
}
