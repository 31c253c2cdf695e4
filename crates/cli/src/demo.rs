//! `avid demo`: what this store is for, shown in one minute on one machine.
//!
//! ```text
//! act 0  write a random file, placed n/n, read it back
//! act 1  kill n - m nodes; the file still comes back
//! act 2  corrupt a fragment on one node's disk, let another node lie; it still comes back, and
//!        both are named
//! act 3  n - m + 1 bad nodes: the read fails with a clear error and leaves no file
//! ```
//! Every act begins with healthy nodes and a fully placed object. The nodes are real processes, the
//! corruption is real, and the liar ([`liar`]) exists only in here. Exit code 0 means that all of
//! it held.
//!
//! Not here: starting and killing processes ([`crate::local`]).

mod acts;
mod liar;
mod stage;

use std::path::PathBuf;

use serde::Serialize;

use crate::app::Context;
use crate::demo::acts::Act;
pub(crate) use crate::demo::acts::{mb_per_s, ratio};
use crate::demo::stage::{Peak, Stage};
use crate::error::{CliError, Kind};
use crate::output::human_bytes;

/// Size, shape and place.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Size of the random file.
    #[arg(long, default_value = "100MiB", value_name = "SIZE", value_parser = crate::args::parse_bytes)]
    pub(crate) size: u64,
    /// Nodes to start; an alias of -n.
    #[arg(long, conflicts_with = "n")]
    nodes: Option<u8>,
    /// Fragments that rebuild the file.
    #[arg(short, default_value_t = 3)]
    pub(crate) m: u8,
    /// Fragments in all, hence nodes.
    #[arg(short, default_value_t = 5)]
    n: u8,
    /// Where to work; about 2 + n/m times the size is needed [default: the temporary directory].
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Leave keys, data and files behind to look at.
    #[arg(long)]
    pub(crate) keep: bool,
}

impl Args {
    /// Nodes and fragments.
    pub(crate) fn n(&self) -> u8 {
        self.nodes.unwrap_or(self.n)
    }
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
struct Summary {
    shape: String,
    object_bytes: u64,
    write_mb_per_s: f64,
    read_mb_per_s: f64,
    stored_bytes_per_object_byte: f64,
    peak_memory: Vec<Peak>,
    acts: Vec<Act>,
    durability: &'static str,
    kept: Option<PathBuf>,
}

/// Plays all acts.
///
/// # Errors
///
/// [`CliError`] naming the first thing that did not hold.
pub(crate) async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    if args.size == 0 {
        return Err(CliError::usage(
            "--size must be at least 1: nothing can be corrupted in nothing",
        ));
    }
    let mut stage = Stage::set(context, &args)?;
    let played = Box::pin(acts::play(&mut stage)).await;
    stage.note_peaks();
    let struck = stage.strike().await;
    let kept = stage.leave(args.keep || played.is_err() && args.dir.is_some());
    if let Some(kept) = &kept {
        context.output.note(&format!("kept: {}", kept.display()));
    }
    let measured = played?;
    struck?;
    let summary = Summary {
        shape: stage.shape(),
        object_bytes: args.size,
        write_mb_per_s: measured.write_mb_per_s,
        read_mb_per_s: measured.read_mb_per_s,
        stored_bytes_per_object_byte: measured.stored_bytes_per_object_byte,
        peak_memory: stage.peaks(),
        acts: measured.acts,
        durability: "strict: everything is synced before it is acknowledged",
        kept,
    };
    context.output.result(&summary, &table(&summary))
}

/// Something the demo promises did not hold.
pub(crate) fn not_held(message: impl Into<String>) -> CliError {
    CliError::new(Kind::Other, format!("the demo did not hold: {}", message.into()))
        .hint("run it again with --keep and look at nodeN/log in the directory it prints")
}

fn table(summary: &Summary) -> String {
    let mut text = format!(
        "\n{}, {} object, all on this machine\n\
         write                      {:>8.0} MB/s (durable on every node)\n\
         read                       {:>8.0} MB/s (every chunk verified, file synced)\n\
         stored per object byte     {:>8.2} bytes\n\
         peak memory\n",
        summary.shape,
        human_bytes(summary.object_bytes),
        summary.write_mb_per_s,
        summary.read_mb_per_s,
        summary.stored_bytes_per_object_byte,
    );
    for peak in &summary.peak_memory {
        let bytes = peak.bytes.map_or_else(|| "n/a".to_owned(), human_bytes);
        text += &format!("  {:<24} {bytes:>9}\n", peak.process);
    }
    text += "\nAll of it held, and nothing is left running.";
    text
}
