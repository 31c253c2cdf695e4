//! `avid verify ID`: reads every fragment on every node and checks each chunk.

use avid_client::{SlotHealth, SlotReport, VerifyReport};
use avid_types::PublicKey;
use serde::Serialize;

use crate::app::Context;
use crate::commands::failure;
use crate::commands::session::Session;
use crate::error::{CliError, Kind};
use crate::progress::Bar;

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
struct Verified<'a> {
    id: &'a str,
    bytes: u64,
    generation: avid_types::Generation,
    stripes: u64,
    good: usize,
    needed: usize,
    n: usize,
    fragments: Vec<Fragment<'a>>,
    seconds: f64,
}

#[derive(Serialize)]
struct Fragment<'a> {
    slot: avid_types::Slot,
    node: &'a str,
    state: &'static str,
    bad_stripes: u64,
    detail: Option<String>,
}

/// Verifies.
///
/// # Errors
///
/// [`CliError`]: of kind `integrity` if a fragment is corrupt or missing, `unavailable` if a node
/// could not be asked. The result is shown before.
pub(crate) async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let session = Session::open(context)?;
    let object = session.object(&args.id, args.owner)?;
    let bar = Bar::new(&context.output, "verifying");
    let verified = session.client.verify(&object, &bar).await;
    bar.finish();
    let report = verified.map_err(|error| failure::verify(&error))?;
    let fragments: Vec<_> = report.slots.iter().map(fragment).collect();
    let verdict = verdict(&report, &fragments);
    let shown = Verified {
        id: &args.id,
        bytes: report.object_bytes,
        generation: report.generation,
        stripes: report.stripes,
        good: report.good(),
        needed: report.needed,
        n: report.slots.len(),
        fragments,
        seconds: report.elapsed.as_secs_f64(),
    };
    let text = text(&shown);
    if let Err(error) = verdict {
        // One JSON object: the error carries what was found.
        if context.output.is_json() {
            let mut value = error.to_json();
            if let (Some(fields), Ok(found)) = (value.as_object_mut(), serde_json::to_value(&shown))
            {
                fields.insert("verified".to_owned(), found);
            }
            context.output.result(&value, "")?;
            return Err(error.already_shown());
        }
        context.output.result(&shown, &text)?;
        return Err(error);
    }
    context.output.result(&shown, &text)
}

fn fragment(report: &SlotReport) -> Fragment<'_> {
    let (state, bad_stripes, detail) = match &report.health {
        SlotHealth::Good => ("good", 0, None),
        SlotHealth::Missing => ("missing", 0, None),
        SlotHealth::Corrupt { stripes, first } => {
            let named = first.iter().map(|(stripe, kind)| format!("stripe {stripe}: {kind}"));
            ("corrupt", *stripes, Some(named.collect::<Vec<_>>().join(", ")))
        }
        SlotHealth::Unreachable { error, .. } => ("unreachable", 0, Some(error.to_string())),
    };
    Fragment { slot: report.slot, node: &report.name, state, bad_stripes, detail }
}

fn verdict(report: &VerifyReport, fragments: &[Fragment<'_>]) -> Result<(), CliError> {
    let (good, needed, n) = (report.good(), report.needed, report.slots.len());
    if good == n {
        return Ok(());
    }
    let is_bad = fragments.iter().any(|fragment| matches!(fragment.state, "corrupt" | "missing"));
    let kind = if is_bad { Kind::Integrity } else { Kind::Unavailable };
    let error = CliError::new(kind, format!("{good} of {n} fragments are good"));
    if good < needed {
        return Err(error.hint(format!("{needed} are needed: bring more nodes back")));
    }
    Err(error
        .safe(format!("the object is readable: {needed} good fragments suffice"))
        .hint("repeat its `avid disperse` to fill what is missing"))
}

fn text(shown: &Verified<'_>) -> String {
    let mut text = String::new();
    for fragment in &shown.fragments {
        text += &format!("slot {:<3} {:<12} {}", fragment.slot, fragment.node, fragment.state);
        if let Some(detail) = &fragment.detail {
            text += &format!(" ({detail})");
        }
        text.push('\n');
    }
    text += &format!(
        "{}: {}/{} fragments good, {} needed",
        shown.id, shown.good, shown.n, shown.needed
    );
    text
}
