//! `avid retrieve`: verified bytes into a file, or to stdout as they are verified.
//!
//! A file appears whole or not at all: bytes go to a temporary file beside it, are synced, and the
//! name is given last. Stdout, a pipe or a device gets each stripe once it is verified; should a
//! later one fail, the error says how many bytes are good.

use std::fs::{File, Permissions};
use std::io;
use std::ops::Range;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use avid_client::{
    Client, FileSink, NodeFault, ObjectRef, Progress, RetrieveError, RetrieveErrorKind,
    RetrieveReport, SystemHost,
};
use avid_types::PublicKey;
use serde::Serialize;
use tempfile::TempPath;

use crate::app::Context;
use crate::commands::failure;
use crate::commands::session::Session;
use crate::compat::Expected;
use crate::error::CliError;
use crate::files::{parent, sync_parent};
use crate::output::human_bytes;
use crate::progress::Bar;

/// What to get, and where to.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The object.
    pub(crate) id: String,
    /// The file to write; - for stdout. An existing file is replaced once everything is verified
    /// [default: the last part of the id, which must not exist yet].
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Whose object [default: your own].
    #[arg(long, value_name = "PUBLIC_KEY")]
    owner: Option<PublicKey>,
    /// First and last byte, from 0, both included; without the last, or with one past it, up to
    /// the end.
    #[arg(long, value_name = "A-B", value_parser = parse_range)]
    range: Option<ByteRange>,
    /// What the seed's command line says of the cluster.
    #[arg(skip)]
    pub(crate) expected: Expected,
}

impl Args {
    /// As the seed's `client -mode retrieve` has it.
    #[must_use]
    pub(crate) fn to_file(id: String, out: PathBuf, expected: Expected) -> Self {
        Self { id, out: Some(out), owner: None, range: None, expected }
    }
}

/// Bytes from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByteRange {
    first: u64,
    last: Option<u64>,
}

impl ByteRange {
    fn to_range(self) -> Range<u64> {
        self.first..self.last.map_or(u64::MAX, |last| last.saturating_add(1))
    }
}

fn parse_range(text: &str) -> Result<ByteRange, String> {
    let wrong = || format!("\"{text}\" is not a range; write 0-499, or 500- for the rest");
    let (first, last) = text.split_once('-').ok_or_else(wrong)?;
    let first: u64 = first.parse().map_err(|_| wrong())?;
    let last = match last {
        "" => None,
        last => Some(last.parse().map_err(|_| wrong())?),
    };
    if last.is_some_and(|last| last < first) {
        return Err(format!("the range {text} ends before it begins"));
    }
    Ok(ByteRange { first, last })
}

#[derive(Serialize)]
struct Retrieved<'a> {
    id: &'a str,
    owner: PublicKey,
    file: Option<&'a Path>,
    object_bytes: u64,
    bytes: u64,
    generation: avid_types::Generation,
    complete_head: bool,
    seconds: f64,
    faults: &'a [NodeFault],
    unreachable: Vec<String>,
}

/// Gets the object.
///
/// # Errors
///
/// [`CliError`]; a file was not touched then, stdout has the good bytes the error tells.
pub(crate) async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let out = match &args.out {
        Some(out) => out.clone(),
        None => derived_name(&args.id)?,
    };
    let session = Session::expecting(context, &args.expected)?;
    let object = session.object(&args.id, args.owner)?;
    let range = args.range.map(ByteRange::to_range);
    let bar = Bar::new(&context.output, "retrieving");
    let wanted = Wanted { object, range };
    let retrieved = match Destination::of(&out)? {
        Destination::File(path) => to_file(&session.client, &wanted, &path, &bar).await,
        Destination::Stream(file) => to_stream(&session.client, &wanted, file, &out, &bar).await,
    };
    bar.finish();
    let report = retrieved?;
    let is_stdout = out == Path::new("-");
    let shown = Retrieved {
        id: &args.id,
        owner: wanted.object.owner,
        file: (!is_stdout).then_some(out.as_path()),
        object_bytes: report.object_bytes,
        bytes: report.bytes,
        generation: report.generation,
        complete_head: report.complete_head,
        seconds: report.elapsed.as_secs_f64(),
        faults: &report.faults,
        unreachable: report.unreachable.iter().map(|node| session.name(*node)).collect(),
    };
    for fault in &report.faults {
        context.output.warn(&fault.to_string());
    }
    let text = format!("retrieved: {} ({})", args.id, human_bytes(report.bytes));
    if is_stdout {
        return context.output.result_beside(&shown, &text);
    }
    context.output.result(&shown, &text)
}

/// The last part of an id, as the name of a new file in this directory.
fn derived_name(id: &str) -> Result<PathBuf, CliError> {
    let name = id.rsplit('/').next().unwrap_or_default();
    if matches!(name, "" | "." | ".." | "-") {
        return Err(CliError::usage(format!("no file name can be derived from \"{id}\""))
            .hint("give --out FILE, or --out - for stdout"));
    }
    let path = PathBuf::from(name);
    if path.symlink_metadata().is_ok() {
        return Err(CliError::usage(format!("{name} exists already"))
            .hint(format!("give --out {name} to replace it")));
    }
    Ok(path)
}

/// An object or a part of it.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// The object.
    pub(crate) object: ObjectRef,
    /// Which bytes; all of them if `None`.
    pub(crate) range: Option<Range<u64>>,
}

/// Where the bytes go.
enum Destination {
    /// A file that appears when all is verified.
    File(PathBuf),
    /// Stdout, a pipe or a device: it cannot be replaced by a file of the same name.
    Stream(File),
}

impl Destination {
    fn of(out: &Path) -> Result<Self, CliError> {
        if out == Path::new("-") {
            let stdout = io::stdout().as_fd().try_clone_to_owned();
            let stdout = stdout.map_err(|source| CliError::file("use", out, &source))?;
            return Ok(Self::Stream(File::from(stdout)));
        }
        // Behind a symbolic link, the file it leads to is replaced and not the link.
        let target = std::fs::canonicalize(out).unwrap_or_else(|_| out.to_owned());
        match std::fs::metadata(&target) {
            Ok(metadata) if metadata.is_dir() => {
                Err(CliError::usage(format!("{} is a directory", out.display()))
                    .hint("name a file in it"))
            }
            Ok(metadata) if !metadata.is_file() => File::options()
                .write(true)
                .open(&target)
                .map(Self::Stream)
                .map_err(|source| CliError::file("open", out, &source)),
            Ok(_) | Err(_) => Ok(Self::File(target)),
        }
    }
}

/// Gets an object into a file, which appears once everything is verified and synced.
///
/// # Errors
///
/// [`CliError`]; an existing file is untouched then, and nothing is left beside it.
pub(crate) async fn to_file(
    client: &Client,
    wanted: &Wanted,
    path: &Path,
    progress: &dyn Progress,
) -> Result<RetrieveReport, CliError> {
    let untouched =
        |error: CliError| error.safe(format!("{} was not written or changed", path.display()));
    let (file, temporary) = temporary_beside(path).map_err(untouched)?;
    let mut sink = FileSink::new(&SystemHost::shared(), file);
    let report = within_object(client, wanted, &mut sink, progress).await;
    let report = report.map_err(|error| untouched(failure::retrieve(&error, path)))?;
    let written = sink.finish().await;
    let on_io = |source: io::Error| untouched(CliError::file("write", path, &source));
    let file = written.map_err(on_io)?;
    let synced = tokio::task::spawn_blocking(move || file.sync_all()).await;
    synced.map_err(io::Error::other).and_then(|synced| synced).map_err(on_io)?;
    temporary.persist(path).map_err(|error| on_io(error.error))?;
    sync_parent(path)?;
    Ok(report)
}

/// Retrieves; a range that goes past the object's end is cut there, as everywhere on the web.
async fn within_object(
    client: &Client,
    wanted: &Wanted,
    sink: &mut FileSink,
    progress: &dyn Progress,
) -> Result<RetrieveReport, RetrieveError> {
    let result = client.retrieve(&wanted.object, wanted.range.clone(), sink, progress).await;
    match result {
        // Nothing was written yet: ranges are looked at first.
        Err(RetrieveError {
            kind: RetrieveErrorKind::Range { range, object_bytes },
            bytes_good: 0,
        }) if range.start < object_bytes && range.end > object_bytes => {
            let cut = Some(range.start..object_bytes);
            client.retrieve(&wanted.object, cut, sink, progress).await
        }
        result => result,
    }
}

/// A temporary file in the directory of `path`, with the mode `path` has or would get.
fn temporary_beside(path: &Path) -> Result<(File, TempPath), CliError> {
    let directory = parent(path);
    let existing = std::fs::metadata(path).ok().map(|metadata| metadata.permissions());
    // The process's umask takes from this what it takes from any new file.
    let mode = Permissions::from_mode(0o666);
    let temporary = tempfile::Builder::new()
        .prefix(".avid-retrieve-")
        .permissions(mode)
        .tempfile_in(&directory)
        .map_err(|source| CliError::file("write in", &directory, &source))?;
    if let Some(permissions) = existing {
        let set = temporary.as_file().set_permissions(permissions);
        set.map_err(|source| CliError::file("set the mode of", path, &source))?;
    }
    Ok(temporary.into_parts())
}

/// Gets an object into a stream, each stripe once it is verified.
async fn to_stream(
    client: &Client,
    wanted: &Wanted,
    stream: File,
    out: &Path,
    progress: &dyn Progress,
) -> Result<RetrieveReport, CliError> {
    let mut sink = FileSink::new(&SystemHost::shared(), stream);
    let report = within_object(client, wanted, &mut sink, progress).await;
    // Also after an error: what was verified is written before we say how much it was.
    let written = sink.finish().await;
    let report = report.map_err(|error| {
        let good = error.bytes_good;
        failure::retrieve(&error, out)
            .safe(format!("the first {good} bytes written were verified; nothing follows them"))
    })?;
    written.map_err(|source| {
        if source.kind() == io::ErrorKind::BrokenPipe {
            return CliError::local("the reader of the output closed it before the end");
        }
        CliError::file("write", out, &source)
    })?;
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn ranges_include_both_ends() {
        assert_eq!(parse_range("0-499").unwrap().to_range(), 0..500);
        assert_eq!(parse_range("500-").unwrap().to_range(), 500..u64::MAX);
        for wrong in ["", "5", "-5", "9-5", "a-b", "1-2-3"] {
            assert!(parse_range(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_file_name_is_derived_without_leaving_the_directory() {
        assert_eq!(derived_name("backup/2026/a.tar").unwrap(), PathBuf::from("a.tar"));
        for id in ["..", "a/..", "a/", "/", "-"] {
            assert_eq!(derived_name(id).unwrap_err().kind, Kind::Usage, "{id}");
        }
        assert!(derived_name("Cargo.toml").is_err(), "an existing file is not replaced unasked");
    }
}
