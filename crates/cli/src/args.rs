//! The command line: global flags, the list of commands, and values with units.
//!
//! Not here: the flags of one command (its file in [`crate::commands`]), the seed's single-dash
//! command lines ([`crate::compat`]).

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};

use crate::{bench, commands, demo};

/// A Byzantine-fault-tolerant object store: any m of n nodes give your file back, and nodes that
/// lie are found out.
#[derive(Debug, Parser)]
#[command(
    name = "avid",
    version,
    propagate_version = true,
    after_help = "To see it work: avid demo. To play with it: avid dev.\n\
                  Exit codes: 0 done, 1 other, 2 usage, 3 not found, 4 integrity, 5 unavailable, \
                  6 denied, 7 conflict, 8 local, 9 committed but not placed, 130 interrupted."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags every command takes.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Globals {
    /// One JSON object on stdout, errors included.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Only results, warnings and errors.
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// More diagnostics on stderr; repeat for more.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Colour in messages; NO_COLOR in the environment switches it off too.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub(crate) color: ColorChoice,
    /// The pinned cluster file [default: AVID_CLUSTER, then /etc/avid/cluster.json].
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) cluster: Option<PathBuf>,
    /// The key file [default: AVID_KEY, then /etc/avid/client.key or /etc/avid/node.key].
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
}

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Store a file (or stdin) as fragments on n nodes.
    Disperse(commands::disperse::Args),
    /// Get an object back, verified, from any m honest nodes.
    Retrieve(commands::retrieve::Args),
    /// Say what is known of one object.
    Stat(commands::stat::Args),
    /// List objects.
    Ls(commands::ls::Args),
    /// Delete an object: signed by its owner, for good.
    Rm(commands::rm::Args),
    /// Give up a dispersal that was begun and not committed.
    Cancel(commands::cancel::Args),
    /// Re-check an object's fragments on all nodes.
    Verify(commands::verify::Args),
    /// Ask every node how it is.
    Status(commands::status::Args),
    /// Run one node.
    Serve(commands::serve::Args),
    /// Make keys: for a node, a client or an operator.
    #[command(subcommand)]
    Keygen(commands::keygen::Keygen),
    /// Make and sign a cluster file from join requests.
    Init(commands::init::Args),
    /// Admit a client's key to a cluster.
    Grant(commands::grant::Args),
    /// Show or export the pinned cluster file.
    #[command(subcommand)]
    Cluster(commands::cluster::ClusterCommand),
    /// Back up or restore an owner's key.
    #[command(subcommand)]
    Key(commands::key::KeyCommand),
    /// Run a local cluster to play with, until Ctrl-C.
    Dev(commands::dev::Args),
    /// Show what this store is for: five processes, crashes, corruption, a liar.
    Demo(demo::Args),
    /// Measure against cp and scp on this machine.
    Bench(bench::Args),
    /// Print completions for a shell.
    Completions(commands::completions::Args),
}

/// Reads `1048576`, `64KiB`, `100MiB`, `1GiB`, `2TiB`, or decimal `kB`, `MB`, `GB`, `TB`.
///
/// # Errors
///
/// What is wrong, for the command line.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 10] = [
        ("", 1),
        ("B", 1),
        ("kB", 1000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
    ];
    let (number, unit) = split_unit(text);
    let number: u64 = number.parse().map_err(|_| format!("\"{text}\" is not a size"))?;
    let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(format!("\"{unit}\" is not a unit; use KiB, MiB, GiB, TiB, kB, MB, GB or TB"));
    };
    number.checked_mul(*factor).ok_or_else(|| format!("\"{text}\" is too large"))
}

/// Reads `500ms`, `30s`, `5m`, `2h` or `7d`.
///
/// # Errors
///
/// What is wrong, for the command line.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split_unit(text);
    let number: u64 = number.parse().map_err(|_| format!("\"{text}\" is not a duration"))?;
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err("a duration has a unit: ms, s, m, h or d".to_owned()),
    };
    let total = number.checked_mul(milliseconds);
    total.map(Duration::from_millis).ok_or_else(|| format!("\"{text}\" is too long"))
}

fn split_unit(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn sizes_and_durations_have_units() {
        assert_eq!(parse_bytes("100MiB"), Ok(100 << 20));
        assert_eq!(parse_bytes("1 GiB"), Ok(1 << 30));
        assert_eq!(parse_bytes("5"), Ok(5));
        assert!(parse_bytes("5 gib").is_err());
        assert!(parse_bytes("99999999TiB").is_err());
        assert_eq!(parse_duration("30s"), Ok(Duration::from_secs(30)));
        assert!(parse_duration("30").is_err());
    }
}
