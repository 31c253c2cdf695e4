//! One round of the benchmark, operation by operation.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use avid_client::{Client, DisperseOptions, Silent, Source};
use avid_types::limits::CHUNK_BYTES_DEFAULT;
use serde::Serialize;
use tempfile::TempDir;

use super::Args;
use super::scp::Scp;
use crate::app::Context;
use crate::commands::failure;
use crate::commands::init::ClusterPlan;
use crate::commands::retrieve::{Wanted, to_file};
use crate::commands::session::object_name;
use crate::error::{CliError, Kind};
use crate::files::seed::fill_random;
use crate::local::{LocalCluster, usage};
use crate::output::Output;

/// How long fragments may take to be placed.
const PLACEMENT_WAIT_MAX: Duration = Duration::from_secs(120);
/// Bytes drawn and written at a time.
const PIECE_BYTES: usize = 1 << 20;

/// One operation of one round.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Operation {
    /// Megabytes (10^6) per second.
    pub(crate) mb_per_s: f64,
    /// Wall clock, seconds.
    pub(crate) seconds: f64,
    /// Processor time of this process.
    pub(crate) client_cpu_s_per_gib: Option<f64>,
    /// Processor time of each node.
    pub(crate) nodes: Vec<NodeCpu>,
}

/// Processor time of one node during an operation.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct NodeCpu {
    /// Which node.
    pub(crate) name: String,
    /// Seconds per GiB of the object.
    pub(crate) cpu_s_per_gib: Option<f64>,
}

impl Operation {
    /// All nodes together.
    #[must_use]
    pub(crate) fn nodes_cpu_s_per_gib(&self) -> Option<f64> {
        self.nodes.iter().map(|node| node.cpu_s_per_gib).sum()
    }
}

/// Everything once.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Round {
    /// Until committed and placed n/n.
    pub(crate) disperse: Operation,
    /// Until the file is synced.
    pub(crate) retrieve_file: Operation,
    /// Verified bytes into /dev/null.
    pub(crate) retrieve_null: Operation,
    /// A copy, until synced.
    pub(crate) cp_mb_per_s: f64,
    /// A copy over ssh and loopback; not synced, as scp does it.
    pub(crate) scp_mb_per_s: Option<f64>,
}

/// A cluster and a file to measure with.
#[derive(Debug)]
pub(crate) struct Bench {
    dir: TempDir,
    cluster: LocalCluster,
    client: Client,
    object_bytes: u64,
    output: Output,
    scp: Result<Scp, String>,
    stored_bytes: u64,
}

impl Bench {
    /// Makes keys, configuration and directory. Starts nothing.
    ///
    /// # Errors
    ///
    /// [`CliError`] if the shape is impossible or the directory cannot be used.
    pub(crate) fn set(context: &Context, args: &Args) -> Result<Self, CliError> {
        let parent = args.dir.clone().unwrap_or_else(std::env::temp_dir);
        let on_io = |source| CliError::file("make a directory in", &parent, &source);
        std::fs::create_dir_all(&parent).map_err(on_io)?;
        let parent = std::path::absolute(&parent).map_err(on_io)?;
        let dir =
            tempfile::Builder::new().prefix("avid-bench-").tempdir_in(parent).map_err(on_io)?;
        let chunk_bytes = u32::try_from(args.chunk_bytes.unwrap_or(CHUNK_BYTES_DEFAULT.into()))
            .map_err(|_| CliError::usage("--chunk-bytes is too large"))?;
        let plan = ClusterPlan { chunk_bytes, ..ClusterPlan::of_shape(args.m, args.n()) };
        let cluster = LocalCluster::create(&dir.path().join("cluster"), &plan)?;
        let client = cluster.client()?;
        Ok(Self {
            dir,
            cluster,
            client,
            object_bytes: args.size,
            output: context.output,
            scp: Err("no round was run".to_owned()),
            stored_bytes: 0,
        })
    }

    /// Shape of the cluster in words.
    pub(crate) fn shape(&self) -> String {
        self.cluster.config().params.to_string()
    }

    /// Length of a full chunk.
    pub(crate) fn chunk_bytes(&self) -> u32 {
        self.cluster.config().chunk_bytes
    }

    /// The cipher scp used.
    pub(crate) fn scp_cipher(&self) -> Option<String> {
        self.scp.as_ref().ok().map(|scp| scp.cipher().to_owned())
    }

    /// Why scp was not measured.
    pub(crate) fn scp_missing(&self) -> Option<String> {
        self.scp.as_ref().err().cloned()
    }

    /// On the disks of all nodes together.
    pub(crate) fn stored_bytes_per_object_byte(&self) -> f64 {
        crate::demo::ratio(self.stored_bytes, self.object_bytes)
    }

    /// Runs all rounds.
    ///
    /// # Errors
    ///
    /// [`CliError`] if an operation fails.
    pub(crate) async fn run(&mut self, rounds: u8) -> Result<Vec<Round>, CliError> {
        let original = self.dir.path().join("original.bin");
        self.output.note("generating the file and starting the nodes");
        write_random(&original, self.object_bytes)?;
        self.scp = Scp::start(&self.dir.path().join("ssh")).await;
        self.cluster.start_all().await?;
        let mut measured = Vec::new();
        for round in 1..=rounds {
            self.output.note(&format!("round {round} of {rounds}"));
            measured.push(self.round(round, &original).await?);
        }
        Ok(measured)
    }

    /// Stops every node.
    ///
    /// # Errors
    ///
    /// [`CliError`] if one had to be killed.
    pub(crate) async fn strike(&mut self) -> Result<(), CliError> {
        self.cluster.stop_all().await
    }

    async fn round(&mut self, round: u8, original: &Path) -> Result<Round, CliError> {
        let name = object_name(&format!("bench-{round}"))?;
        let copy = self.dir.path().join("copy.bin");
        let options =
            DisperseOptions { placement_timeout: PLACEMENT_WAIT_MAX, ..DisperseOptions::default() };
        let meter = self.meter();
        let written = self.client.disperse(&name, Source::file(original), &options, &Silent).await;
        let disperse = self.read(&meter);
        let report = written.map_err(|error| failure::disperse(&error))?;
        if report.placed.len() < report.n {
            let text = format!("only {}/{} fragments were placed", report.placed.len(), report.n);
            return Err(CliError::new(Kind::NotPlaced, text));
        }
        let fragments = |node| usage::disk_bytes(&self.cluster.data_dir(node).join("fragments"));
        self.stored_bytes = self.cluster.ids().map(fragments).sum();
        let wanted = Wanted { object: self.client.own(&name), range: None };
        let meter = self.meter();
        to_file(&self.client, &wanted, &copy, &Silent).await?;
        let retrieve_file = self.read(&meter);
        remove(&copy)?;
        let meter = self.meter();
        self.to_null(&wanted).await?;
        let retrieve_null = self.read(&meter);
        let started = Instant::now();
        copy_and_sync(original.to_owned(), copy.clone()).await?;
        let cp_mb_per_s = crate::demo::mb_per_s(self.object_bytes, started.elapsed());
        remove(&copy)?;
        let scp_mb_per_s = self.scp(original, &copy).await?;
        let removed = self.client.remove(&name).await;
        removed.map_err(|error| failure::order(&error))?;
        Ok(Round { disperse, retrieve_file, retrieve_null, cp_mb_per_s, scp_mb_per_s })
    }

    async fn scp(&self, original: &Path, copy: &Path) -> Result<Option<f64>, CliError> {
        let Ok(scp) = &self.scp else {
            return Ok(None);
        };
        let started = Instant::now();
        scp.copy(original, copy).await?;
        let rate = crate::demo::mb_per_s(self.object_bytes, started.elapsed());
        remove(copy)?;
        Ok(Some(rate))
    }

    async fn to_null(&self, wanted: &Wanted) -> Result<(), CliError> {
        let null = Path::new("/dev/null");
        let file = std::fs::File::options().write(true).open(null);
        let file = file.map_err(|source| CliError::file("open", null, &source))?;
        let mut sink = avid_client::FileSink::new(&avid_client::SystemHost::shared(), file);
        let read = self.client.retrieve(&wanted.object, None, &mut sink, &Silent).await;
        read.map_err(|error| failure::retrieve(&error, null))?;
        let written = sink.finish().await;
        written.map(drop).map_err(|source| CliError::file("write", null, &source))
    }

    fn meter(&self) -> Meter {
        let nodes =
            self.cluster.ids().map(|node| self.cluster.pid(node).and_then(usage::processor_time));
        Meter {
            nodes: nodes.collect(),
            client: usage::processor_time(std::process::id()),
            started: Instant::now(),
        }
    }

    fn read(&self, before: &Meter) -> Operation {
        let elapsed = before.started.elapsed();
        let after = self.meter();
        let per_gib = |before: Option<Duration>, after: Option<Duration>| {
            let used = after?.saturating_sub(before?);
            Some(used.as_secs_f64() / crate::demo::ratio(self.object_bytes, 1 << 30).max(1e-9))
        };
        let pairs = self.cluster.ids().zip(before.nodes.iter().zip(&after.nodes));
        let node = |(id, (before, after)): (_, (&Option<Duration>, &Option<Duration>))| NodeCpu {
            name: self.cluster.name(id),
            cpu_s_per_gib: per_gib(*before, *after),
        };
        Operation {
            mb_per_s: crate::demo::mb_per_s(self.object_bytes, elapsed),
            seconds: elapsed.as_secs_f64(),
            client_cpu_s_per_gib: per_gib(before.client, after.client),
            nodes: pairs.map(node).collect(),
        }
    }
}

/// Processor times at one moment.
struct Meter {
    nodes: Vec<Option<Duration>>,
    client: Option<Duration>,
    started: Instant,
}

fn write_random(path: &Path, bytes: u64) -> Result<(), CliError> {
    use std::io::Write as _;
    let on_io = |source| CliError::file("write", path, &source);
    let mut file = std::fs::File::create(path).map_err(on_io)?;
    let (mut piece, mut left) = (vec![0; PIECE_BYTES], bytes);
    while left > 0 {
        let next = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE_BYTES);
        piece.truncate(next);
        fill_random(&mut piece)?;
        file.write_all(&piece).map_err(on_io)?;
        left -= u64::try_from(next).unwrap_or(left);
    }
    file.sync_all().map_err(on_io)
}

async fn copy_and_sync(from: PathBuf, to: PathBuf) -> Result<(), CliError> {
    let target = to.clone();
    let copied = tokio::task::spawn_blocking(move || {
        std::fs::copy(&from, &target)?;
        std::fs::File::open(&target)?.sync_all()
    });
    let copied = copied.await.map_err(std::io::Error::other).and_then(|copied| copied);
    copied.map_err(|source| CliError::file("copy to", &to, &source))
}

fn remove(path: &Path) -> Result<(), CliError> {
    std::fs::remove_file(path).map_err(|source| CliError::file("remove", path, &source))
}
