//! A cluster of real node processes on this machine, for `dev`, `demo` and `bench`.
//!
//! Each node is this program again, as `avid serve`, on a loopback port with its own directory.
//! Its stdin is a pipe from here: when this process ends, however it ends, the pipe closes and the
//! node stops, so nothing is left running.
//!
//! Invariant: a process in `child` is killed when the [`LocalCluster`] is dropped.
//! Bounds: n processes; [`READY_WAIT_MAX`] until a node says it is ready.
//! Not here: what is done with the cluster; figures about processes ([`usage`]).

pub(crate) mod usage;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use avid_client::{Client, NodeStatus};
use avid_types::{ClusterConfig, NodeId};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::commands::init::{ClusterPlan, make_development_cluster};
use crate::commands::session;
use crate::error::{CliError, Kind};
use crate::files::client_key::{ClientKey, load_with_grant};
use crate::files::load;
use crate::files::node_key::NodeKey;
use crate::files::seed::fill_random;

/// How long a node may take to say that it is ready: recovery of a small store on a slow disk.
const READY_WAIT_MAX: Duration = Duration::from_secs(60);
/// How long a node may take to stop before it is killed.
const STOP_WAIT_MAX: Duration = Duration::from_secs(20);
/// How often we ask whether nodes are well.
const POLL: Duration = Duration::from_millis(50);
/// Ports tried for local nodes: below the range from which outgoing connections are numbered.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Nodes on loopback ports, started and killed at will.
#[derive(Debug)]
pub(crate) struct LocalCluster {
    dir: PathBuf,
    config: Arc<ClusterConfig>,
    client: ClientKey,
    nodes: Vec<LocalNode>,
}

#[derive(Debug, Default)]
struct LocalNode {
    child: Option<Child>,
    /// Where the process listens if not at the node's address.
    moved_to: Option<u16>,
}

impl LocalCluster {
    /// Makes keys and directories in `dir`, which should be empty. Starts nothing.
    ///
    /// # Errors
    ///
    /// [`CliError`] if the shape is impossible or `dir` cannot be used.
    pub(crate) fn create(dir: &Path, plan: &ClusterPlan) -> Result<Self, CliError> {
        let nodes = usize::from(plan.n.unwrap_or(0));
        let config = make_development_cluster(dir, plan, &free_ports(nodes)?)?;
        let client = load_with_grant(&dir.join("client.key"))?.value;
        Ok(Self::new(dir, config, client))
    }

    /// A cluster made earlier in `dir`.
    ///
    /// # Errors
    ///
    /// [`CliError`] if its files are unusable.
    pub(crate) fn open(dir: &Path) -> Result<Self, CliError> {
        let (_, config) = crate::files::cluster_file::load_cluster(&dir.join("cluster.json"))?;
        let client = load_with_grant(&dir.join("client.key"))?.value;
        Ok(Self::new(dir, config, client))
    }

    fn new(dir: &Path, config: ClusterConfig, client: ClientKey) -> Self {
        let nodes = config.members.iter().map(|_| LocalNode::default()).collect();
        Self { dir: dir.to_owned(), config: Arc::new(config), client, nodes }
    }

    /// What the nodes agree on.
    #[must_use]
    pub(crate) fn config(&self) -> &Arc<ClusterConfig> {
        &self.config
    }

    /// The pinned cluster file.
    #[must_use]
    pub(crate) fn cluster_path(&self) -> PathBuf {
        self.dir.join("cluster.json")
    }

    /// The key of a client that may do everything.
    #[must_use]
    pub(crate) fn client_key_path(&self) -> PathBuf {
        self.dir.join("client.key")
    }

    /// A client of this cluster.
    ///
    /// # Errors
    ///
    /// [`CliError`] if the client refuses its own configuration.
    pub(crate) fn client(&self) -> Result<Client, CliError> {
        session::client_of(Arc::clone(&self.config), &self.client, BTreeMap::new())
    }

    /// Name of a node.
    #[must_use]
    pub(crate) fn name(&self, node: NodeId) -> String {
        self.config.member(node).map_or_else(|| node.to_string(), |member| member.name.clone())
    }

    /// Where a node keeps its data.
    #[must_use]
    pub(crate) fn data_dir(&self, node: NodeId) -> PathBuf {
        self.dir.join(self.name(node)).join("data")
    }

    /// The secret of a node; this process made it.
    ///
    /// # Errors
    ///
    /// [`CliError`] if the file is gone.
    pub(crate) fn node_key(&self, node: NodeId) -> Result<NodeKey, CliError> {
        Ok(load::<NodeKey>(&self.dir.join(self.name(node)).join("node.key"))?.value)
    }

    /// The process of a node, if it runs.
    #[must_use]
    pub(crate) fn pid(&self, node: NodeId) -> Option<u32> {
        self.nodes.get(node.index())?.child.as_ref()?.id()
    }

    /// All nodes.
    pub(crate) fn ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        let members = u16::try_from(self.config.members.len()).unwrap_or(u16::MAX);
        (0..members).map(NodeId)
    }

    /// Starts every node and waits until all are ready.
    ///
    /// # Errors
    ///
    /// [`CliError`] with the end of a node's diagnostics if it does not start.
    pub(crate) async fn start_all(&mut self) -> Result<(), CliError> {
        for node in self.ids() {
            self.start(node).await?;
        }
        self.wait_until_voting().await
    }

    /// Waits until every node votes and is linked to all others.
    ///
    /// A node that has just started votes once the others confirmed that it forgot nothing, and
    /// once enough clocks are known.
    ///
    /// # Errors
    ///
    /// [`CliError`] with what the last node waits for, if that takes too long.
    pub(crate) async fn wait_until_voting(&self) -> Result<(), CliError> {
        let client = self.client()?;
        let deadline = Instant::now() + READY_WAIT_MAX;
        loop {
            let answers = client.status().await;
            let Some(waiting) = answers.iter().find_map(obstacle) else {
                return Ok(());
            };
            if Instant::now() > deadline {
                return Err(CliError::new(Kind::Unavailable, waiting));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Starts a node at its own address and waits until it is ready.
    ///
    /// # Errors
    ///
    /// [`CliError`] with the end of its diagnostics if it does not start.
    pub(crate) async fn start(&mut self, node: NodeId) -> Result<(), CliError> {
        self.start_at(node, None).await
    }

    /// Starts a node on another port than the cluster believes; the port is returned.
    ///
    /// # Errors
    ///
    /// [`CliError`] if it does not start.
    pub(crate) async fn start_elsewhere(&mut self, node: NodeId) -> Result<u16, CliError> {
        let port = *free_ports(1)?.first().ok_or_else(no_ports)?;
        self.start_at(node, Some(port)).await?;
        Ok(port)
    }

    async fn start_at(&mut self, node: NodeId, port: Option<u16>) -> Result<(), CliError> {
        let directory = self.dir.join(self.name(node));
        let log = directory.join("log");
        let on_io = |source: std::io::Error| CliError::file("start a node in", &directory, &source);
        let diagnostics = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(|source| CliError::file("open", &log, &source))?;
        let program = std::env::current_exe().map_err(on_io)?;
        let mut command = Command::new(program);
        command
            .arg("serve")
            .arg("--exit-with-stdin")
            .arg("--cluster")
            .arg(self.cluster_path())
            .arg("--key")
            .arg(directory.join("node.key"))
            .arg("--data")
            .arg(self.data_dir(node))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(diagnostics)
            // Ctrl-C is for the parent; it stops the nodes itself.
            .process_group(0)
            .kill_on_drop(true);
        if let Some(port) = port {
            command.arg("--listen").arg(format!("127.0.0.1:{port}"));
        }
        let mut child = command.spawn().map_err(on_io)?;
        let is_ready = says_ready(&mut child).await;
        let slot = self.nodes.get_mut(node.index()).ok_or_else(no_ports)?;
        slot.child = Some(child);
        slot.moved_to = port;
        if is_ready {
            return Ok(());
        }
        self.kill(node).await?;
        Err(CliError::local(format!("{} did not start: {}", self.name(node), last_line(&log)))
            .hint(format!("its diagnostics are in {}", log.display())))
    }

    /// Kills a node with SIGKILL, as a power failure would, and waits until it is gone.
    ///
    /// # Errors
    ///
    /// [`CliError`] if the operating system refuses.
    pub(crate) async fn kill(&mut self, node: NodeId) -> Result<(), CliError> {
        let child = self.nodes.get_mut(node.index()).and_then(|slot| slot.child.take());
        let Some(mut child) = child else {
            return Ok(());
        };
        child.kill().await.map_err(|error| {
            CliError::new(Kind::Other, format!("cannot kill {}: {error}", self.name(node)))
        })
    }

    /// Stops a node as its operator would (SIGTERM) and waits until it is gone.
    ///
    /// # Errors
    ///
    /// [`CliError`] if it had to be killed or ended with an error.
    pub(crate) async fn stop(&mut self, node: NodeId) -> Result<(), CliError> {
        let child = self.nodes.get_mut(node.index()).and_then(|slot| slot.child.take());
        let Some(mut child) = child else {
            return Ok(());
        };
        terminate(&child);
        let name = self.name(node);
        match tokio::time::timeout(STOP_WAIT_MAX, child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(CliError::new(
                Kind::Other,
                format!("{name} ended with {status} when asked to stop"),
            )),
            Ok(Err(error)) => {
                Err(CliError::new(Kind::Other, format!("cannot wait for {name}: {error}")))
            }
            Err(_elapsed) => {
                drop(child.kill().await);
                let limit = STOP_WAIT_MAX.as_secs();
                Err(CliError::new(
                    Kind::Other,
                    format!("{name} did not stop within {limit} s and was killed"),
                ))
            }
        }
    }

    /// Stops every node; tries all even if one fails.
    ///
    /// # Errors
    ///
    /// The first [`CliError`].
    pub(crate) async fn stop_all(&mut self) -> Result<(), CliError> {
        for slot in &self.nodes {
            if let Some(child) = &slot.child {
                terminate(child);
            }
        }
        let mut result = Ok(());
        for node in self.ids() {
            let stopped = self.stop(node).await;
            result = result.and(stopped);
        }
        result
    }

    /// A node that ended by itself, with how.
    pub(crate) fn ended(&mut self) -> Option<(NodeId, String)> {
        for (id, slot) in (0u16..).map(NodeId).zip(&mut self.nodes) {
            let status = slot.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            if let Some(status) = status {
                return Some((id, status.to_string()));
            }
        }
        None
    }

    /// Whether a node listens elsewhere than at its address.
    #[must_use]
    pub(crate) fn is_moved(&self, node: NodeId) -> bool {
        self.nodes.get(node.index()).is_some_and(|slot| slot.moved_to.is_some())
    }
}

/// What keeps a node from taking part, if anything does.
fn obstacle(answer: &NodeStatus) -> Option<String> {
    let text = match &answer.status {
        Ok(text) => text,
        Err(error) => return Some(format!("{}: {error}", answer.name)),
    };
    let status: serde_json::Value = serde_json::from_str(text).ok()?;
    let said = |value: &serde_json::Value, field: &str| {
        value.get(field).map(ToString::to_string).unwrap_or_default()
    };
    if status.get("voting") != Some(&serde_json::Value::Bool(true)) {
        let reason = said(&status, "not_voting_because");
        return Some(format!("{} does not vote: {reason}", answer.name));
    }
    let peers = status.get("peers")?.as_array()?;
    let apart = peers.iter().find(|peer| said(peer, "state") != "\"connected\"")?;
    let (peer, error) = (said(apart, "name"), said(apart, "last_error"));
    Some(format!("{} has no link to {peer}: {error}", answer.name))
}

/// Best effort: a process that is gone already needs no signal.
fn terminate(child: &Child) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
        let _gone = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}

/// Whether a node said that it is ready before it ended or the time was up.
async fn says_ready(child: &mut Child) -> bool {
    let Some(stdout) = child.stdout.take() else {
        return false;
    };
    let mut lines = BufReader::new(stdout).lines();
    let first = tokio::time::timeout(READY_WAIT_MAX, lines.next_line()).await;
    matches!(first, Ok(Ok(Some(_))))
}

fn last_line(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let line = text.lines().rev().find(|line| !line.trim().is_empty());
    line.map_or_else(|| "it said nothing".to_owned(), str::to_owned)
}

fn no_ports() -> CliError {
    CliError::local("no free port on 127.0.0.1")
}

/// Ports of 127.0.0.1 that nobody uses at this moment.
///
/// # Errors
///
/// [`CliError`] if there are too few.
pub(crate) fn free_ports(count: usize) -> Result<Vec<u16>, CliError> {
    let mut random = [0; 2];
    fill_random(&mut random)?;
    let span = PORTS.end - PORTS.start;
    let first = PORTS.start + u16::from_le_bytes(random) % span;
    // Held until all are found, so that none is found twice.
    let mut held = Vec::with_capacity(count);
    for port in (first..PORTS.end).chain(PORTS.start..first) {
        if held.len() == count {
            break;
        }
        if let Ok(socket) = TcpListener::bind(("127.0.0.1", port)) {
            held.push((port, socket));
        }
    }
    if held.len() < count {
        return Err(no_ports());
    }
    Ok(held.into_iter().map(|(port, _socket)| port).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_differ() {
        let ports: std::collections::BTreeSet<_> = free_ports(16).unwrap().into_iter().collect();
        assert_eq!(ports.len(), 16);
    }
}
