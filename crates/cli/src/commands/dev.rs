//! `avid dev`: a local cluster of real processes to play with, until Ctrl-C.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::app::{Context, interruption};
use crate::commands::init::ClusterPlan;
use crate::error::{CliError, Kind};
use crate::files::parent;
use crate::local::LocalCluster;

/// How often we look whether a node ended by itself.
const LOOK: Duration = Duration::from_millis(500);

/// Shape and place.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Nodes to start; an alias of -n.
    #[arg(long, conflicts_with = "n")]
    nodes: Option<u8>,
    /// Fragments that rebuild an object.
    #[arg(short, default_value_t = 3)]
    m: u8,
    /// Fragments in all, hence nodes.
    #[arg(short, default_value_t = 5)]
    n: u8,
    /// Where keys and data live; a directory made earlier is used again
    /// [default: a temporary one, removed at the end].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Serialize)]
struct Running {
    cluster: PathBuf,
    key: PathBuf,
    nodes: Vec<RunningNode>,
}

#[derive(Serialize)]
struct RunningNode {
    name: String,
    address: String,
    pid: Option<u32>,
}

/// Runs the cluster.
///
/// # Errors
///
/// [`CliError`] if it cannot start or a node ends by itself.
pub(crate) async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let mut interrupted = Box::pin(interruption()?);
    let n = args.nodes.unwrap_or(args.n);
    let temporary = match args.dir {
        Some(_) => None,
        None => Some(tempfile::Builder::new().prefix("avid-dev-").tempdir().map_err(|source| {
            CliError::file("make a directory in", &std::env::temp_dir(), &source)
        })?),
    };
    let dir = args.dir.as_deref().or(temporary.as_ref().map(tempfile::TempDir::path));
    let dir = absolute(dir.unwrap_or_else(|| Path::new(".")))?;
    let mut cluster = if dir.join("cluster.json").exists() {
        reopen(&dir, args.m, n)?
    } else {
        LocalCluster::create(&dir, &ClusterPlan::of_shape(args.m, n))?
    };
    tokio::select! {
        started = cluster.start_all() => started?,
        _ = &mut interrupted => return cluster.stop_all().await,
    }
    show(context, &cluster)?;
    let ended = loop {
        tokio::select! {
            _ = &mut interrupted => break None,
            () = tokio::time::sleep(LOOK) => {}
        }
        if let Some(ended) = cluster.ended() {
            break Some(ended);
        }
    };
    context.output.note("stopping the nodes");
    let stopped = cluster.stop_all().await;
    match ended {
        None => stopped,
        Some((node, status)) => {
            let name = cluster.name(node);
            let log = parent(&cluster.data_dir(node)).join("log");
            Err(CliError::new(Kind::Other, format!("{name} ended by itself: {status}"))
                .hint(format!("its diagnostics are in {}", log.display())))
        }
    }
}

fn absolute(dir: &Path) -> Result<PathBuf, CliError> {
    std::path::absolute(dir).map_err(|source| CliError::file("use", dir, &source))
}

fn reopen(dir: &Path, m: u8, n: u8) -> Result<LocalCluster, CliError> {
    let cluster = LocalCluster::open(dir)?;
    let params = cluster.config().params;
    if (params.m_byte(), params.n_byte()) == (m, n) {
        return Ok(cluster);
    }
    Err(CliError::usage(format!(
        "{} holds a {}-of-{} cluster, not {m}-of-{n}",
        dir.display(),
        params.m(),
        params.n()
    ))
    .hint("give its -m and -n, or another --dir"))
}

fn show(context: &Context, cluster: &LocalCluster) -> Result<(), CliError> {
    let nodes = cluster.config().nodes().map(|(id, member)| RunningNode {
        name: member.name.clone(),
        address: member.address.clone(),
        pid: cluster.pid(id),
    });
    let running = Running {
        cluster: cluster.cluster_path(),
        key: cluster.client_key_path(),
        nodes: nodes.collect(),
    };
    let mut text = format!("A {} cluster is running.\n\n", cluster.config().params);
    for node in &running.nodes {
        let pid = node.pid.map_or_else(|| "n/a".to_owned(), |pid| pid.to_string());
        text += &format!("  {}  {}  pid {pid}\n", node.name, node.address);
    }
    text += &format!(
        "\nIn another terminal:\n\n  export AVID_CLUSTER={} AVID_KEY={}\n  \
         avid disperse FILE --id NAME\n  avid retrieve NAME --out COPY\n  avid status\n\n\
         Ctrl-C stops the nodes.\n",
        running.cluster.display(),
        running.key.display()
    );
    context.output.result(&running, &text)
}
