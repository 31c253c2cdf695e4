//! `avid bench`: writes and reads through real node processes, beside `cp` and `scp` of the same
//! file, in one interleaved run.
//!
//! ```text
//! round r: disperse │ retrieve to a file │ retrieve to /dev/null │ cp + fsync │ scp over loopback
//! ```
//! Every round measures each of them once, so that a machine that changes its mind (other users,
//! warm caches, a hot processor) changes all alike; medians are shown. Ours are durable: a dispersal
//! counts once all n nodes hold their synced fragment, a retrieval once its file is synced.
//!
//! Kernel micro-benchmarks (encode, decode, fingerprint, hash) are in the `avid-coding` crate:
//! `cargo bench -p avid-coding`.
//!
//! Not here: the measuring itself ([`measure`]), the sshd of our own ([`scp`]).

mod measure;
mod scp;

use std::path::PathBuf;

use serde::Serialize;

use crate::app::Context;
use crate::bench::measure::{Bench, Round};
use crate::error::CliError;
use crate::output::human_bytes;

/// Size, shape and place.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Size of the random file.
    #[arg(long, default_value = "1GiB", value_name = "SIZE", value_parser = crate::args::parse_bytes)]
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
    /// How often everything is measured.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) rounds: u8,
    /// Chunk length, bytes [default: 256KiB].
    #[arg(long, value_name = "SIZE", value_parser = crate::args::parse_bytes)]
    pub(crate) chunk_bytes: Option<u64>,
    /// Where to work; about 3 + n/m times the size is needed [default: the temporary directory].
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

impl Args {
    /// Nodes and fragments.
    pub(crate) fn n(&self) -> u8 {
        self.nodes.unwrap_or(self.n)
    }
}

/// Everything that was measured.
#[derive(Clone, Debug, Serialize)]
struct Summary {
    shape: String,
    object_bytes: u64,
    chunk_bytes: u32,
    rounds: Vec<Round>,
    median: Median,
    stored_bytes_per_object_byte: f64,
    scp: Option<String>,
    scp_not_measured: Option<String>,
    durability: &'static str,
}

/// Medians over the rounds.
#[derive(Clone, Debug, Serialize)]
struct Median {
    disperse_mb_per_s: Option<f64>,
    retrieve_file_mb_per_s: Option<f64>,
    retrieve_null_mb_per_s: Option<f64>,
    cp_mb_per_s: Option<f64>,
    scp_mb_per_s: Option<f64>,
    disperse_client_cpu_s_per_gib: Option<f64>,
    disperse_nodes_cpu_s_per_gib: Option<f64>,
    retrieve_client_cpu_s_per_gib: Option<f64>,
    retrieve_nodes_cpu_s_per_gib: Option<f64>,
    scp_over_disperse: Option<f64>,
    scp_over_retrieve: Option<f64>,
    cp_over_disperse: Option<f64>,
    cp_over_retrieve: Option<f64>,
}

/// Runs the benchmark.
///
/// # Errors
///
/// [`CliError`] if the cluster cannot be started or an operation fails.
pub(crate) async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    if args.size == 0 {
        return Err(CliError::usage("--size must be at least 1"));
    }
    let mut bench = Bench::set(context, &args)?;
    let measured = Box::pin(bench.run(args.rounds)).await;
    let stopped = bench.strike().await;
    let rounds = measured?;
    stopped?;
    let summary = Summary {
        shape: bench.shape(),
        object_bytes: args.size,
        chunk_bytes: bench.chunk_bytes(),
        median: Median::of(&rounds),
        rounds,
        stored_bytes_per_object_byte: bench.stored_bytes_per_object_byte(),
        scp: bench.scp_cipher(),
        scp_not_measured: bench.scp_missing(),
        durability: "strict: synced on every node before it is acknowledged",
    };
    context.output.result(&summary, &table(&summary))
}

impl Median {
    fn of(rounds: &[Round]) -> Self {
        let over = |value: fn(&Round) -> Option<f64>| median(rounds.iter().filter_map(value));
        // How many times as long the other takes: above 1 we are faster.
        let quotient = |ours: Option<f64>, theirs: Option<f64>| Some(ours? / theirs?);
        let disperse = over(|round| Some(round.disperse.mb_per_s));
        let retrieve = over(|round| Some(round.retrieve_file.mb_per_s));
        let cp = over(|round| Some(round.cp_mb_per_s));
        let scp = over(|round| round.scp_mb_per_s);
        Self {
            disperse_mb_per_s: disperse,
            retrieve_file_mb_per_s: retrieve,
            retrieve_null_mb_per_s: over(|round| Some(round.retrieve_null.mb_per_s)),
            cp_mb_per_s: cp,
            scp_mb_per_s: scp,
            disperse_client_cpu_s_per_gib: over(|round| round.disperse.client_cpu_s_per_gib),
            disperse_nodes_cpu_s_per_gib: over(|round| round.disperse.nodes_cpu_s_per_gib()),
            retrieve_client_cpu_s_per_gib: over(|round| round.retrieve_file.client_cpu_s_per_gib),
            retrieve_nodes_cpu_s_per_gib: over(|round| round.retrieve_file.nodes_cpu_s_per_gib()),
            scp_over_disperse: quotient(disperse, scp),
            scp_over_retrieve: quotient(retrieve, scp),
            cp_over_disperse: quotient(disperse, cp),
            cp_over_retrieve: quotient(retrieve, cp),
        }
    }
}

/// The middle value, or the mean of the two in the middle.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let upper = values.len() / 2;
    let lower = values.len().checked_sub(1)? / 2;
    Some(f64::midpoint(*values.get(lower)?, *values.get(upper)?))
}

fn table(summary: &Summary) -> String {
    let median = &summary.median;
    let number = |value: Option<f64>, digits: usize| {
        value.map_or_else(|| "n/a".to_owned(), |value| format!("{value:.digits$}"))
    };
    let mut text = format!(
        "{}, {} object, chunks of {}, {} rounds, medians; {}\n\n\
         {:<26} {:>8} {:>14} {:>14} {:>8} {:>8}\n",
        summary.shape,
        human_bytes(summary.object_bytes),
        human_bytes(u64::from(summary.chunk_bytes)),
        summary.rounds.len(),
        summary.durability,
        "",
        "MB/s",
        "client s/GiB",
        "nodes s/GiB",
        "vs scp",
        "vs cp",
    );
    let mut row = |name: &str, values: [Option<f64>; 5]| {
        let [rate, client, nodes, scp, cp] = values;
        text += &format!(
            "{name:<26} {:>8} {:>14} {:>14} {:>8} {:>8}\n",
            number(rate, 0),
            number(client, 2),
            number(nodes, 2),
            number(scp, 2),
            number(cp, 2),
        );
    };
    row(
        "disperse, placed n/n",
        [
            median.disperse_mb_per_s,
            median.disperse_client_cpu_s_per_gib,
            median.disperse_nodes_cpu_s_per_gib,
            median.scp_over_disperse,
            median.cp_over_disperse,
        ],
    );
    row(
        "retrieve, file + fsync",
        [
            median.retrieve_file_mb_per_s,
            median.retrieve_client_cpu_s_per_gib,
            median.retrieve_nodes_cpu_s_per_gib,
            median.scp_over_retrieve,
            median.cp_over_retrieve,
        ],
    );
    row("retrieve, /dev/null", [median.retrieve_null_mb_per_s, None, None, None, None]);
    row("cp + fsync", [median.cp_mb_per_s, None, None, None, None]);
    row("scp over loopback", [median.scp_mb_per_s, None, None, None, None]);
    text += &per_process(summary);
    text += &format!("stored per object byte: {:.2}\n", summary.stored_bytes_per_object_byte);
    if let Some(cipher) = &summary.scp {
        text += &format!("scp: cipher {cipher}\n");
    }
    if let Some(missing) = &summary.scp_not_measured {
        text += &format!("scp: not measured, {missing}\n");
    }
    text += "vs: times as fast as; above 1 is faster.";
    text
}

/// Processor time of each node in the last round.
fn per_process(summary: &Summary) -> String {
    let Some(last) = summary.rounds.last() else {
        return String::new();
    };
    let mut text = "\nprocessor s/GiB by node, last round (write, read):\n".to_owned();
    for (write, read) in last.disperse.nodes.iter().zip(&last.retrieve_file.nodes) {
        let shown = |value: Option<f64>| {
            value.map_or_else(|| "n/a".to_owned(), |value| format!("{value:.2}"))
        };
        text += &format!(
            "  {:<10} {:>6} {:>6}\n",
            write.name,
            shown(write.cpu_s_per_gib),
            shown(read.cpu_s_per_gib)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), Some(2.5));
        assert_eq!(median(std::iter::empty()), None);
    }
}
