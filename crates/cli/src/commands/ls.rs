//! `avid ls [PREFIX]`: objects of one owner, page by page.

use avid_client::{ListResult, ListedObject};
use avid_types::limits::LIST_PAGE_MAX;
use avid_types::{ObjectName, PublicKey, Timestamp};
use serde::Serialize;

use crate::app::Context;
use crate::commands::failure;
use crate::commands::session::{Session, object_name};
use crate::error::CliError;

/// Which objects.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only ids that begin with this.
    #[arg(default_value = "")]
    prefix: String,
    /// Whose objects [default: your own].
    #[arg(long, value_name = "PUBLIC_KEY")]
    owner: Option<PublicKey>,
    /// Only ids after this one.
    #[arg(long, value_name = "ID")]
    after: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,
    /// Sizes and generations too.
    #[arg(short, long)]
    long: bool,
}

#[derive(Serialize)]
struct Listing {
    owner: PublicKey,
    objects: Vec<Entry>,
    /// Where the next listing continues (`--after`), if this one stopped at its limit.
    next: Option<ObjectName>,
    complete: bool,
}

#[derive(Serialize)]
struct Entry {
    id: ObjectName,
    bytes: u64,
    generation: avid_types::Generation,
    upload: avid_types::UploadId,
    commitment: avid_types::Commitment,
    expires_at_ms: Option<Timestamp>,
}

impl From<ListedObject> for Entry {
    fn from(object: ListedObject) -> Self {
        Self {
            id: object.name,
            bytes: object.object_bytes,
            generation: object.generation,
            upload: object.upload,
            commitment: object.commitment,
            expires_at_ms: Some(object.expires_at).filter(|at| *at != Timestamp::ZERO),
        }
    }
}

/// Lists.
///
/// # Errors
///
/// [`CliError`] if no node answers.
pub(crate) async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let session = Session::open(context)?;
    let owner = args.owner.unwrap_or_else(|| session.client.owner());
    let mut after = args.after.as_deref().map(object_name).transpose()?;
    let mut left = args.limit.unwrap_or(usize::MAX);
    let mut listing = Listing { owner, objects: Vec::new(), next: None, complete: true };
    while left > 0 {
        let limit = u16::try_from(left.min(LIST_PAGE_MAX)).unwrap_or(u16::MAX);
        let page = session.client.list(owner, &args.prefix, after.as_ref(), limit).await;
        let page = page.map_err(|error| failure::list(&error))?;
        left = left.saturating_sub(page.objects.len());
        after.clone_from(&page.next);
        show_page(context, args.long, &page)?;
        listing.complete &= page.complete;
        listing.next.clone_from(&page.next);
        if context.output.is_json() {
            listing.objects.extend(page.objects.into_iter().map(Entry::from));
        }
        if page.next.is_none() {
            break;
        }
    }
    if !listing.complete {
        context.output.warn("fewer than n - f nodes answered: objects may be missing");
    }
    context.output.result(&listing, "")
}

/// Text leaves page by page, so that a listing of any length needs no memory.
fn show_page(context: &Context, long: bool, page: &ListResult) -> Result<(), CliError> {
    if context.output.is_json() || page.objects.is_empty() {
        return Ok(());
    }
    let mut text = String::new();
    for object in &page.objects {
        if long {
            text += &format!("{:>16}  gen {}  ", object.object_bytes, object.generation);
        }
        text += object.name.as_str();
        text.push('\n');
    }
    context.output.write(&text)
}
