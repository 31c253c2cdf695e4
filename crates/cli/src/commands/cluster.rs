//! `avid cluster show|export`: the pinned configuration, for people and for the next machine.

use clap::Subcommand;
use serde::Serialize;

use crate::app::Context;
use crate::error::CliError;
use crate::files::cluster_file::{ClusterFile, load_cluster};
use crate::files::to_text;

/// What to do with it.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Print it for people.
    Show,
    /// Print the verified file, for a reader to pin.
    Export,
}

#[derive(Serialize)]
struct Shown<'a> {
    digest: avid_types::Digest,
    #[serde(flatten)]
    file: &'a ClusterFile,
}

/// Shows or exports.
///
/// # Errors
///
/// [`CliError`] if the file is unusable.
pub(crate) fn run(context: &Context, args: &ClusterCommand) -> Result<(), CliError> {
    let (file, config) = load_cluster(&context.paths.cluster()?)?;
    match args {
        ClusterCommand::Export => context.output.write(&to_text(&file)?),
        ClusterCommand::Show => {
            let mut text = format!("cluster   {}\n", config.cluster);
            if let Some(note) = &file.note {
                text += &format!("note      {note}\n");
            }
            text += &format!(
                "digest    {}\nshape     {}\nchunks    {} bytes, {:?}, {:?}, {:?}\n",
                config.digest(),
                config.params,
                config.chunk_bytes,
                config.suite.code,
                config.suite.fingerprint,
                config.suite.hash,
            );
            for operator in &config.operators {
                text += &format!("operator  {operator}\n");
            }
            for (id, member) in config.nodes() {
                let zone = if member.zone.is_empty() {
                    String::new()
                } else {
                    format!("  zone {}", member.zone)
                };
                text += &format!("node {id:<4} {}  {}{zone}\n", member.name, member.address);
            }
            context.output.result(&Shown { digest: config.digest(), file: &file }, &text)
        }
    }
}
