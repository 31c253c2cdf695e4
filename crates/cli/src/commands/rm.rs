//! `avid rm ID`: deletion, signed by the owner, for good.

use serde::Serialize;

use crate::app::Context;
use crate::commands::failure;
use crate::commands::session::{Session, object_name};
use crate::error::CliError;

/// Which object.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The object; only its owner can delete it.
    id: String,
}

#[derive(Serialize)]
struct Removed<'a> {
    id: &'a str,
    generation: avid_types::Generation,
    acknowledged: usize,
    n: usize,
    already_deleted: bool,
}

/// Deletes.
///
/// # Errors
///
/// [`CliError`] if there is no such object or too few nodes signed for its deletion.
pub(crate) async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let name = object_name(&args.id)?;
    let session = Session::open(context)?;
    let report = session.client.remove(&name).await.map_err(|error| failure::order(&error))?;
    let removed = Removed {
        id: &args.id,
        generation: report.generation,
        acknowledged: report.acknowledged,
        n: report.n,
        already_deleted: report.already_deleted,
    };
    let state = if report.already_deleted { "already deleted" } else { "deleted" };
    let text =
        format!("{state}: {} (tombstone on {}/{} nodes)", args.id, report.acknowledged, report.n);
    context.output.result(&removed, &text)
}
