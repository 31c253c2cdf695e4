//! `avid serve`: runs one node until SIGTERM or SIGINT.
//!
//! Prints one line on stdout once it can be used, so that a supervisor or a script knows; everything
//! else is diagnostics on stderr.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use avid_net::SystemHost;
use avid_node::{Node, NodeConfig, NodeError, open_data_dir};
use avid_types::{ClusterConfig, NodeId};
use serde::Serialize;
use tokio::io::AsyncReadExt as _;

use crate::app::{Context, interruption};
use crate::commands::failure;
use crate::compat::Expected;
use crate::config::DATA_PATH_DEFAULT;
use crate::error::{CliError, Kind};
use crate::files::cluster_file::load_cluster;
use crate::files::load;
use crate::files::node_key::{NodeKey, check_address};
use crate::files::settings::NodeSettings;

/// Which node, and where.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Where fragments and the journal live [default: /var/lib/avid].
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// HOST:PORT to listen on; repeat for more [default: the node's address in the cluster file].
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Vec<String>,
    /// A settings file with cluster, key, data and listen; flags outrank it.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Stop when stdin ends: for a parent process that must not leave nodes behind.
    #[arg(long, hide_short_help = true)]
    pub(crate) exit_with_stdin: bool,
    /// What the seed's command line says of the cluster.
    #[arg(skip)]
    pub(crate) expected: Expected,
}

#[derive(Serialize)]
struct Ready<'a> {
    node: &'a str,
    ready: Vec<std::net::SocketAddr>,
}

/// Runs the node.
///
/// # Errors
///
/// [`CliError`] if it cannot start or had to halt.
pub(crate) async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let interrupted = interruption()?;
    let exit_with_stdin = args.exit_with_stdin;
    let (config, data_dir) = settle(context, args).await?;
    let cluster = Arc::clone(&config.cluster);
    let id = config.node;
    let mut node = Node::start(config).await.map_err(|error| failure::node(&error, &data_dir))?;
    announce(context, &cluster, id, &node)?;
    let reason = tokio::select! {
        signal = interrupted => signal,
        () = stdin_ended(), if exit_with_stdin => "the end of stdin",
        () = node.halted() => "a failure",
    };
    tracing::info!(reason, "stopping");
    node.stop().await.map_err(|error| halted(&error, &data_dir))?;
    tracing::info!("stopped");
    Ok(())
}

fn halted(error: &NodeError, data_dir: &Path) -> CliError {
    failure::node(error, data_dir)
        .safe("everything this node acknowledged is on disk")
        .hint("start it again; if it halts again, look at the disk")
}

/// Everything a node needs, from flags, settings file, environment and defaults.
async fn settle(context: &Context, args: Args) -> Result<(NodeConfig, PathBuf), CliError> {
    let settings = match &args.config {
        Some(path) => NodeSettings::load(path)?,
        None => NodeSettings::default(),
    };
    let paths = &context.paths;
    let cluster_path = match (&paths.cluster_flag, settings.cluster) {
        (None, Some(path)) => path,
        (Some(_) | None, _) => paths.cluster()?,
    };
    let key_path = match (&paths.key_flag, settings.key) {
        (None, Some(path)) => path,
        (Some(_) | None, _) => paths.node_key()?,
    };
    let (_, cluster) = load_cluster(&cluster_path)?;
    args.expected.check(&cluster)?;
    let key = load::<NodeKey>(&key_path)?;
    if let Some(warning) = &key.warning {
        context.output.warn(warning);
    }
    let node = member_of(&cluster, &key.value, &key_path)?;
    let listen = [args.listen, settings.listen].into_iter().find(|listen| !listen.is_empty());
    let listen = match (listen, cluster.member(node)) {
        (Some(listen), _) => listen,
        (None, Some(member)) => vec![member.address.clone()],
        (None, None) => Vec::new(),
    };
    for address in &listen {
        check_address(address)?;
    }
    let data_dir = args.data.or(settings.data).unwrap_or_else(|| PathBuf::from(DATA_PATH_DEFAULT));
    let host = SystemHost::shared();
    let disk = open_data_dir(&host, &data_dir).await;
    let config = NodeConfig {
        disk: disk.map_err(|error| failure::node(&error, &data_dir))?,
        host,
        observer: None,
        listen,
        cluster: Arc::new(cluster),
        node,
        vote_key: key.value.vote_seed.key(),
        transport_key: key.value.transport_seed.key(),
    };
    Ok((config, data_dir))
}

/// Which member of the cluster a key belongs to.
fn member_of(cluster: &ClusterConfig, key: &NodeKey, path: &Path) -> Result<NodeId, CliError> {
    let transport_key = key.transport_seed.key().public();
    let found = cluster.node_of_transport_key(&transport_key).filter(|node| {
        let member = cluster.member(*node);
        member.is_some_and(|member| member.vote_key == key.vote_seed.key().public())
    });
    found.ok_or_else(|| {
        CliError::new(
            Kind::Denied,
            format!(
                "the key in {} ({}) is no member of cluster {}",
                path.display(),
                key.name,
                cluster.cluster
            ),
        )
        .hint("use the key file whose join request went into `avid init`, or the right --cluster")
    })
}

fn announce(
    context: &Context,
    cluster: &ClusterConfig,
    id: NodeId,
    node: &Node,
) -> Result<(), CliError> {
    let name = cluster.member(id).map_or("", |member| member.name.as_str());
    let addresses = node.addresses();
    let shown: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    let text = format!("{name} is ready on {}", shown.join(", "));
    context.output.result(&Ready { node: name, ready: addresses }, &text)
}

/// Resolves when stdin ends or breaks. Whatever arrives there is discarded.
async fn stdin_ended() {
    let mut stdin = tokio::io::stdin();
    let mut discarded = [0; 256];
    while stdin.read(&mut discarded).await.is_ok_and(|bytes| bytes > 0) {}
}
