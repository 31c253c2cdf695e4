//! `avid disperse`: stores a file or stdin.

use std::path::{Path, PathBuf};
use std::time::Duration;

use avid_client::{Client, DisperseOptions, DisperseReport, NodeFault, Source};
use avid_types::{ObjectName, Timestamp};
use clap::ValueEnum;
use serde::Serialize;

use crate::app::Context;
use crate::commands::failure;
use crate::commands::session::{Session, moment_in, object_name};
use crate::compat::Expected;
use crate::error::{CliError, Kind};
use crate::output::human_bytes;
use crate::progress::Bar;

/// How long fragments are placed after the commit unless told otherwise: a node that restarts.
const PLACEMENT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// The same where all n are demanded: a machine that restarts.
const PLACEMENT_TIMEOUT_REQUIRED: Duration = Duration::from_secs(120);

/// What to store, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file; - for stdin.
    pub(crate) file: PathBuf,
    /// Names the object; 1 to 1024 bytes of UTF-8, any characters but control characters
    /// [default: the file's name; stdin has none, so it needs --id].
    #[arg(long)]
    pub(crate) id: Option<String>,
    /// Fail (exit code 9) unless this is reached; the object is committed all the same.
    #[arg(long, value_enum)]
    require: Option<Require>,
    /// How long to go on placing fragments after the commit
    /// [default: 10s, with --require placed 120s].
    #[arg(long, value_name = "DURATION", value_parser = crate::args::parse_duration)]
    placement_timeout: Option<Duration>,
    /// The object may go after this time from now, for example 30d [default: never].
    #[arg(long, value_name = "DURATION", value_parser = crate::args::parse_duration)]
    expires_in: Option<Duration>,
    /// End an unfinished dispersal of other content under this id first.
    #[arg(long)]
    cancel_unfinished: bool,
    /// What the seed's command line says of the cluster.
    #[arg(skip)]
    pub(crate) expected: Expected,
}

/// What must be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Require {
    /// All n fragments are placed.
    Placed,
}

impl Args {
    /// As the seed's `client -mode disperse` has it.
    #[must_use]
    pub(crate) fn of_file(file: PathBuf, id: String, expected: Expected) -> Self {
        Self {
            file,
            id: Some(id),
            require: None,
            placement_timeout: None,
            expires_in: None,
            cancel_unfinished: false,
            expected,
        }
    }

    fn options(&self) -> Result<DisperseOptions, CliError> {
        let patience = match self.require {
            Some(Require::Placed) => PLACEMENT_TIMEOUT_REQUIRED,
            None => PLACEMENT_TIMEOUT_DEFAULT,
        };
        Ok(DisperseOptions {
            placement_timeout: self.placement_timeout.unwrap_or(patience),
            expires_at: self.expires_in.map_or(Ok(Timestamp::ZERO), moment_in)?,
            cancel_unfinished: self.cancel_unfinished,
            ..DisperseOptions::default()
        })
    }
}

#[derive(Serialize)]
struct Dispersed<'a> {
    id: &'a ObjectName,
    owner: avid_types::PublicKey,
    upload: avid_types::UploadId,
    commitment: avid_types::Commitment,
    generation: avid_types::Generation,
    bytes: u64,
    committed: bool,
    placed: usize,
    n: usize,
    already_stored: bool,
    seconds: f64,
    faults: &'a [NodeFault],
}

/// Stores the object.
///
/// # Errors
///
/// [`CliError`]; of kind `not-placed` if it is committed and `--require` was not reached.
pub(crate) async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let is_stdin = args.file == Path::new("-");
    let id = match &args.id {
        Some(id) => object_name(id)?,
        None if is_stdin => {
            return Err(CliError::usage("stdin has no name to derive an id from")
                .hint("give --id; an id derived from the content would need the content twice"));
        }
        None => object_name(&derived_id(&args.file)?)?,
    };
    let session = Session::expecting(context, &args.expected)?;
    let source = if is_stdin {
        Source::reader(Box::new(tokio::io::stdin()))
    } else {
        check_readable(&args.file)?;
        Source::file(&args.file)
    };
    let bar = Bar::new(&context.output, "dispersing");
    let dispersed = session.client.disperse(&id, source, &args.options()?, &bar).await;
    bar.finish();
    let report = dispersed.map_err(|error| failure::disperse(&error))?;
    show(context, &session.client, &id, &report)?;
    let placed = report.placed.len();
    if args.require == Some(Require::Placed) && placed < report.n {
        return Err(CliError::new(
            Kind::NotPlaced,
            format!("placed {placed}/{}, and --require placed asks for all", report.n),
        )
        .safe("the object is committed and readable")
        .hint("repeat the command once every node runs: it fills what is missing"));
    }
    Ok(())
}

/// The file's own name. Ids are only names: no file is ever called after one.
fn derived_id(file: &Path) -> Result<String, CliError> {
    let name = file.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned).ok_or_else(|| {
        CliError::usage(format!("no id can be derived from {}", file.display()))
            .hint("give --id NAME")
    })
}

/// Says early, before any node is asked, that a file cannot be read.
fn check_readable(file: &Path) -> Result<(), CliError> {
    let opened = std::fs::File::open(file).and_then(|file| file.metadata());
    let metadata = opened.map_err(|source| CliError::file("read", file, &source))?;
    if metadata.is_dir() {
        return Err(CliError::usage(format!("{} is a directory", file.display()))
            .hint("name a file; `tar c DIR | avid disperse - --id NAME` stores a directory"));
    }
    Ok(())
}

fn show(
    context: &Context,
    client: &Client,
    id: &ObjectName,
    report: &DisperseReport,
) -> Result<(), CliError> {
    let placed = report.placed.len();
    let dispersed = Dispersed {
        id,
        owner: client.owner(),
        upload: report.upload,
        commitment: report.commitment,
        generation: report.generation,
        bytes: report.object_bytes,
        committed: true,
        placed,
        n: report.n,
        already_stored: report.already_stored,
        seconds: report.elapsed.as_secs_f64(),
        faults: &report.faults,
    };
    for fault in &report.faults {
        context.output.warn(&fault.to_string());
    }
    let state = if report.already_stored { "already stored" } else { "committed" };
    let text = format!(
        "{state}: {id} ({})\nplaced: {placed}/{}",
        human_bytes(report.object_bytes),
        report.n
    );
    context.output.result(&dispersed, &text)
}
