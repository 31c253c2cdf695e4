//! `avid stat ID`: what is known of one object.

use avid_client::{ObjectState, ObjectStatus, SlotClaim};
use avid_types::{PublicKey, Timestamp};
use serde::Serialize;

use crate::app::Context;
use crate::commands::failure;
use crate::commands::session::Session;
use crate::error::{CliError, Kind};
use crate::output::human_bytes;

/// Which object.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The object.
    id: String,
    /// Whose object [default: your own].
    #[arg(long, value_name = "PUBLIC_KEY")]
    owner: Option<PublicKey>,
}

#[derive(Serialize)]
struct Stat<'a> {
    id: &'a str,
    owner: PublicKey,
    state: &'static str,
    generation: Option<avid_types::Generation>,
    upload: Option<avid_types::UploadId>,
    commitment: Option<avid_types::Commitment>,
    bytes: Option<u64>,
    stripes: Option<u64>,
    expires_at_ms: Option<Timestamp>,
    shape: String,
    complete: bool,
    fragments: Vec<Fragment<'a>>,
    failures: Vec<String>,
}

#[derive(Serialize)]
struct Fragment<'a> {
    slot: avid_types::Slot,
    node: &'a str,
    held: bool,
    error: Option<String>,
}

/// Asks the nodes.
///
/// # Errors
///
/// [`CliError`] of kind `not-found` or `unavailable` if there is nothing to say.
pub(crate) async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let session = Session::open(context)?;
    let object = session.object(&args.id, args.owner)?;
    let status = session.client.stat(&object).await.map_err(|error| failure::stat(&error))?;
    match status.state {
        ObjectState::Committed | ObjectState::Unfinished => show(context, &args.id, &status),
        ObjectState::Deleted => {
            Err(CliError::new(Kind::NotFound, format!("{} was deleted by its owner", args.id)))
        }
        ObjectState::NotFound => Err(CliError::new(Kind::NotFound, "no such object")
            .hint("`avid ls` lists your objects; --owner KEY looks at another's")),
        ObjectState::Unknown => Err(failure::nodes_failed(
            format!("too few nodes answered to say anything ({})", failures(&status).join("; ")),
            &status.failures,
        )),
    }
}

fn failures(status: &ObjectStatus) -> Vec<String> {
    status.failures.iter().map(ToString::to_string).collect()
}

fn state_name(state: ObjectState) -> &'static str {
    match state {
        ObjectState::Committed => "committed",
        ObjectState::Deleted => "deleted",
        ObjectState::Unfinished => "unfinished",
        ObjectState::NotFound => "not found",
        ObjectState::Unknown => "unknown",
    }
}

fn fragment(claim: &SlotClaim) -> Fragment<'_> {
    Fragment {
        slot: claim.slot,
        node: &claim.name,
        held: claim.holds,
        error: claim.error.as_ref().map(ToString::to_string),
    }
}

fn show(context: &Context, id: &str, status: &ObjectStatus) -> Result<(), CliError> {
    let stat = Stat {
        id,
        owner: status.owner,
        state: state_name(status.state),
        generation: status.generation,
        upload: status.upload,
        commitment: status.commitment,
        bytes: status.object_bytes,
        stripes: status.stripes,
        expires_at_ms: status.expires_at.filter(|at| *at != Timestamp::ZERO),
        shape: status.params.to_string(),
        complete: status.complete,
        fragments: status.claims.iter().map(fragment).collect(),
        failures: failures(status),
    };
    context.output.result(&stat, &text(&stat, status))
}

fn text(stat: &Stat<'_>, status: &ObjectStatus) -> String {
    let mut text = format!(
        "id          {}\nowner       {}\nstate       {}\n",
        stat.id, stat.owner, stat.state
    );
    if let Some(generation) = stat.generation {
        text += &format!("generation  {generation}\n");
    }
    if let (Some(bytes), Some(stripes)) = (stat.bytes, stat.stripes) {
        text += &format!("size        {bytes} bytes ({}), {stripes} stripes\n", human_bytes(bytes));
    }
    if let Some(commitment) = stat.commitment {
        text += &format!("commitment  {commitment}\n");
    }
    if let Some(at) = stat.expires_at_ms {
        text += &format!("expires at  {at} (seconds since 1970, cluster time)\n");
    }
    text += &format!("shape       {}\n", stat.shape);
    if !status.complete {
        text += "incomplete  fewer than n - f nodes answered: a newer generation may exist\n";
    }
    if !stat.fragments.is_empty() {
        let (held, n) = (status.held(), stat.fragments.len());
        text += &format!("held        {held}/{n} (claims; `avid verify` reads every fragment)\n");
    }
    for fragment in &stat.fragments {
        let state = fragment.error.as_deref().unwrap_or("held");
        text += &format!("  slot {:<3} {:<12} {state}\n", fragment.slot, fragment.node);
    }
    text
}
