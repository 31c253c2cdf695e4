//! `avid cancel ID`: gives up a dispersal that was begun and not committed.

use serde::Serialize;

use crate::app::Context;
use crate::commands::failure;
use crate::commands::session::{Session, object_name};
use crate::error::CliError;

/// Which dispersal.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The object it was to become.
    id: String,
}

#[derive(Serialize)]
struct Cancelled<'a> {
    id: &'a str,
    generation: avid_types::Generation,
    aborted: usize,
}

/// Cancels.
///
/// # Errors
///
/// [`CliError`] if nothing is unfinished or it has gone too far.
pub(crate) async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let name = object_name(&args.id)?;
    let session = Session::open(context)?;
    let report = session.client.cancel(&name).await.map_err(|error| failure::order(&error))?;
    let (generation, aborted) = (report.generation, report.aborted);
    let cancelled = Cancelled { id: &args.id, generation, aborted };
    let text = format!("cancelled: {} (generation {generation}); the id is free again", args.id);
    context.output.result(&cancelled, &text)
}
