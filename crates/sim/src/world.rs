//! A cluster on virtual machines: start, kill, restart, cut, corrupt; and clients that use it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use avid_client::{
    Client, ClientConfig, DisperseError, DisperseOptions, DisperseReport, NodeStatus, ObjectRef,
    RetrieveError, RetrieveReport, Silent, Source, Timeouts,
};
use avid_net::Host;
use avid_node::{Node, NodeConfig, NodeError};
use avid_protocol::authority::{Grant, Rights, SignedGrant};
use avid_store::disk::memory::{CrashChoice, MemoryDisk};
use avid_types::{
    ClusterConfig, ClusterId, Epoch, MemberConfig, NodeId, ObjectName, Params, SigningKey, Suite,
    Timestamp,
};
use bytes::Bytes;
use tokio::time::Instant;

use crate::checker::Checker;
use crate::host::SimHost;
use crate::network::{HostId, Network};
use crate::random::Random;
use crate::trace::Trace;

/// Host numbers of clients begin here.
const CLIENTS: u16 = 1000;

/// What cluster to simulate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Fragments needed.
    pub m: u8,
    /// Fragments in all.
    pub n: u8,
    /// Chunk length, bytes: small, so that objects of a few KiB have several stripes.
    pub chunk_bytes: u32,
}

impl Default for Shape {
    fn default() -> Self {
        Self { m: 3, n: 5, chunk_bytes: 4096 }
    }
}

/// A key of a purpose and number: the same in every run, so that recordings can be replayed.
#[must_use]
pub fn key(purpose: u8, number: u16) -> SigningKey {
    let mut seed = [purpose; 32];
    let [first, second, ..] = &mut seed;
    [*first, *second] = number.to_le_bytes();
    SigningKey::from_seed(seed)
}

/// Signs votes of a node.
#[must_use]
pub fn vote_key(node: NodeId) -> SigningKey {
    key(1, node.0)
}

/// Proves who a node is.
#[must_use]
pub fn transport_key(node: NodeId) -> SigningKey {
    key(2, node.0)
}

/// The key of a client.
#[must_use]
pub fn client_key(client: u16) -> SigningKey {
    key(4, client)
}

/// The operator's permission for a client.
#[must_use]
pub fn grant(config: &ClusterConfig, client: &SigningKey) -> SignedGrant {
    let rights = Rights { read: true, write: true };
    let grant = Grant { client: client.public(), rights, not_after: Timestamp::ZERO };
    grant.sign(config, &key(3, 0))
}

/// The host a node runs on.
#[must_use]
pub fn host_of(node: NodeId) -> HostId {
    HostId(node.0)
}

/// The configuration of a simulated cluster; `cluster` tells clusters apart.
///
/// # Panics
///
/// If the shape is impossible.
#[must_use]
pub fn cluster_config(shape: Shape, cluster: u8) -> ClusterConfig {
    let members = (0..u16::from(shape.n)).map(NodeId).map(|node| MemberConfig {
        name: format!("node{node}"),
        vote_key: vote_key(node).public(),
        transport_key: transport_key(node).public(),
        address: host_of(node).address().to_string(),
        zone: String::new(),
    });
    let config = ClusterConfig {
        cluster: ClusterId([cluster; 16]),
        epoch: Epoch(0),
        params: Params::with_most_liars(shape.m, shape.n).expect("shapes of scenarios are valid"),
        suite: Suite::default(),
        chunk_bytes: shape.chunk_bytes,
        members: members.collect(),
        groups: vec![(0..u16::from(shape.n)).map(NodeId).collect()],
        operators: vec![key(3, 0).public()],
    };
    config.check().expect("shapes of scenarios are valid");
    config
}

/// One machine: its disk and clock outlive its processes.
#[derive(Debug)]
struct Machine {
    disk: MemoryDisk,
    clock_offset_ms: Arc<AtomicI64>,
    process: Option<Process>,
    lives: u64,
}

#[derive(Debug)]
struct Process {
    host: Arc<SimHost>,
    node: Node,
}

/// A simulated cluster with everything around it.
#[derive(Debug)]
pub struct World {
    /// The seed of the run.
    pub seed: u64,
    /// What happened.
    pub trace: Trace,
    /// Between all hosts.
    pub network: Network,
    /// The agreed configuration.
    pub config: Arc<ClusterConfig>,
    /// Watches all honest nodes.
    pub checker: Checker,
    start: Instant,
    machines: BTreeMap<NodeId, Machine>,
}

impl World {
    /// Machines with empty disks, nothing started.
    #[must_use]
    pub fn new(seed: u64, shape: Shape, keep_lines: bool) -> Self {
        let trace = Trace::new(keep_lines);
        let config = Arc::new(cluster_config(shape, 7));
        let machine = |(node, _)| {
            let machine = Machine {
                disk: MemoryDisk::new(),
                clock_offset_ms: Arc::default(),
                process: None,
                lives: 0,
            };
            (node, machine)
        };
        Self {
            seed,
            network: Network::new(seed, trace.clone()),
            checker: Checker::new(Arc::clone(&config), trace.clone()),
            trace,
            start: Instant::now(),
            machines: config.nodes().map(machine).collect(),
            config,
        }
    }

    /// A cluster of which every node runs and may vote.
    ///
    /// # Panics
    ///
    /// If a healthy cluster does not come up within a minute.
    pub async fn started(seed: u64, shape: Shape, keep_lines: bool) -> Self {
        let mut world = Self::new(seed, shape, keep_lines);
        for node in world.nodes() {
            world.start(node).await.expect("a healthy node starts");
        }
        assert!(world.all_vote(Duration::from_secs(60)).await, "a healthy cluster votes");
        world
    }

    /// All members.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeId> {
        self.machines.keys().copied().collect()
    }

    /// Whether a node's process runs.
    #[must_use]
    pub fn is_up(&self, node: NodeId) -> bool {
        self.machines.get(&node).is_some_and(|machine| machine.process.is_some())
    }

    fn machine(&mut self, node: NodeId) -> &mut Machine {
        self.machines.get_mut(&node).expect("scenarios name members")
    }

    /// The disk of a machine.
    #[must_use]
    pub fn disk(&self, node: NodeId) -> MemoryDisk {
        self.machines.get(&node).expect("scenarios name members").disk.clone()
    }

    /// Starts a node's process; an earlier one is killed first.
    ///
    /// # Errors
    ///
    /// Why it does not start.
    pub async fn start(&mut self, node: NodeId) -> Result<(), NodeError> {
        self.kill(node, CrashChoice::KeepAll);
        let (seed, network, start) = (self.seed, self.network.clone(), self.start);
        let (config, checker) = (Arc::clone(&self.config), self.checker.clone());
        let machine = self.machine(node);
        machine.lives += 1;
        let random = Random::new(seed, &format!("node {node} life {}", machine.lives));
        let clock = Arc::clone(&machine.clock_offset_ms);
        let host = Arc::new(SimHost::new(host_of(node), network, start, clock, random));
        let as_host: Host = host.clone();
        let node_config = NodeConfig {
            disk: Arc::new(machine.disk.mount()),
            host: as_host,
            observer: Some(Arc::new(checker)),
            listen: vec![host_of(node).address().to_string()],
            cluster: config,
            node,
            vote_key: vote_key(node),
            transport_key: transport_key(node),
        };
        self.trace.say("start", u64::from(node.0), || format!("node {node}"));
        match Node::start(node_config).await {
            Ok(running) => {
                self.machine(node).process = Some(Process { host, node: running });
                Ok(())
            }
            Err(error) => {
                host.kill();
                self.machine(node).disk.crash(CrashChoice::KeepAll);
                Err(error)
            }
        }
    }

    /// Kills a node's process at once; unsynced changes of its disk go as `choice` says.
    pub fn kill(&mut self, node: NodeId, choice: CrashChoice) {
        let machine = self.machine(node);
        let Some(Process { host, node: running }) = machine.process.take() else { return };
        host.kill();
        drop(running);
        machine.disk.crash(choice);
        self.trace.say("kill", u64::from(node.0), || format!("node {node}, {choice:?}"));
    }

    /// Stops a node cleanly.
    ///
    /// # Errors
    ///
    /// What made it halt, if it had.
    pub async fn stop(&mut self, node: NodeId) -> Result<(), NodeError> {
        self.trace.say("stop", u64::from(node.0), || format!("node {node}"));
        let Some(Process { host, node: running }) = self.machine(node).process.take() else {
            return Ok(());
        };
        let stopped = running.stop().await;
        host.kill();
        self.machine(node).disk.crash(CrashChoice::KeepAll);
        stopped
    }

    /// Stops a process in its tracks, or lets it go on.
    pub fn pause(&mut self, node: NodeId, paused: bool) {
        self.trace.say("pause", u64::from(node.0), || format!("node {node}: {paused}"));
        if let Some(process) = &self.machine(node).process {
            process.host.pause(paused);
        }
    }

    /// Sets a machine's clock apart from true time.
    pub fn skew(&mut self, node: NodeId, offset_ms: i64) {
        self.trace.say("skew", u64::from(node.0), || format!("node {node}: {offset_ms} ms"));
        self.machine(node).clock_offset_ms.store(offset_ms, Ordering::SeqCst);
    }

    /// Gives a machine another disk, as after a loss or a restore of an old copy.
    pub fn replace_disk(&mut self, node: NodeId, disk: MemoryDisk) {
        self.kill(node, CrashChoice::KeepAll);
        self.machine(node).disk = disk;
    }

    /// Whether a node has halted by itself.
    pub async fn has_halted(&mut self, node: NodeId) -> bool {
        let Some(process) = &mut self.machine(node).process else { return false };
        let limit = Duration::from_micros(1);
        tokio::time::timeout(limit, process.node.halted()).await.is_ok()
    }

    /// A client of the production code, with a host of its own.
    #[must_use]
    pub fn client(&self, number: u16) -> SimClient {
        self.client_with(number, Timeouts::default())
    }

    /// As [`World::client`], with other patience.
    #[must_use]
    pub fn client_with(&self, number: u16, timeouts: Timeouts) -> SimClient {
        self.client_on(number, number, timeouts)
    }

    /// A client with the key `number` on the machine `machine`.
    #[must_use]
    pub fn client_on(&self, machine: u16, number: u16, timeouts: Timeouts) -> SimClient {
        let random = Random::new(self.seed, &format!("client {number} on {machine}"));
        let id = HostId(CLIENTS + machine);
        let host: Host =
            Arc::new(SimHost::new(id, self.network.clone(), self.start, Arc::default(), random));
        let key = client_key(number);
        let client = Client::new(ClientConfig {
            cluster: Arc::clone(&self.config),
            grant: Some(grant(&self.config, &key)),
            key,
            addresses: BTreeMap::new(),
            timeouts,
            host,
        });
        SimClient { client, number, checker: self.checker.clone(), trace: self.trace.clone() }
    }

    /// Members that are held to their duties.
    #[must_use]
    pub fn honest(&self) -> Vec<NodeId> {
        self.nodes().into_iter().filter(|node| self.checker.is_honest(*node)).collect()
    }

    /// Waits until every running node may vote; false after `limit`.
    pub async fn all_vote(&self, limit: Duration) -> bool {
        let up = self.nodes().into_iter().filter(|node| self.is_up(*node)).collect();
        self.vote(up, limit).await
    }

    /// Waits until every honest node may vote; false after `limit`.
    pub async fn honest_vote(&self, limit: Duration) -> bool {
        self.vote(self.honest(), limit).await
    }

    async fn vote(&self, nodes: Vec<NodeId>, limit: Duration) -> bool {
        let client = self.client(999);
        let deadline = Instant::now() + limit;
        let mut pause = tokio::time::interval(Duration::from_millis(100));
        while Instant::now() < deadline {
            pause.tick().await;
            let statuses = client.client.status().await;
            let asked = statuses.iter().filter(|status| nodes.contains(&status.node));
            if asked.filter(|status| is_voting(status)).count() == nodes.len() {
                return true;
            }
        }
        false
    }

    /// Files below a directory of a machine's disk.
    #[must_use]
    pub fn files(&self, node: NodeId) -> Vec<PathBuf> {
        self.disk(node).files().into_iter().map(|(path, _)| path).collect()
    }
}

/// Whether a node says that it may vote and knows cluster time.
fn is_voting(status: &NodeStatus) -> bool {
    let Ok(text) = &status.status else { return false };
    let Ok(json) = serde_json::from_str::<serde_json::Value>(text) else { return false };
    json["voting"] == true && json["cluster_time_ms"].as_u64() > Some(0)
}

/// A client of the production code whose answers are checked.
#[derive(Clone, Debug)]
pub struct SimClient {
    /// The production client.
    pub client: Client,
    /// Its number among clients.
    pub number: u16,
    checker: Checker,
    trace: Trace,
}

impl SimClient {
    /// Writes bytes under a name.
    ///
    /// # Errors
    ///
    /// As the production client.
    ///
    /// # Panics
    ///
    /// If the name is not valid.
    pub async fn put(&self, name: &str, bytes: &[u8]) -> Result<DisperseReport, DisperseError> {
        self.put_with(name, bytes, &DisperseOptions::default()).await
    }

    /// Writes bytes under a name with options.
    ///
    /// # Errors
    ///
    /// As the production client.
    ///
    /// # Panics
    ///
    /// If the name is not valid.
    pub async fn put_with(
        &self,
        name: &str,
        bytes: &[u8],
        options: &DisperseOptions,
    ) -> Result<DisperseReport, DisperseError> {
        let named = ObjectName::new(name).expect("scenarios use valid names");
        let source = Source::bytes(Bytes::copy_from_slice(bytes));
        let result = self.client.disperse(&named, source, options, &Silent).await;
        self.trace.say("put", u64::from(self.number), || match &result {
            Ok(report) => format!("{name}: {} placed", report.placed.len()),
            Err(error) => format!("{name}: {error}"),
        });
        result
    }

    /// Reads an object of this client; what it returns must be one of `allowed`.
    ///
    /// # Errors
    ///
    /// As the production client.
    ///
    /// # Panics
    ///
    /// If the name is not valid.
    pub async fn get(
        &self,
        name: &str,
        allowed: &[Vec<u8>],
    ) -> Result<(Vec<u8>, RetrieveReport), RetrieveError> {
        let named = ObjectName::new(name).expect("scenarios use valid names");
        self.get_of(&self.client.own(&named), allowed).await
    }

    /// Reads anybody's object; what it returns must be one of `allowed`.
    ///
    /// # Errors
    ///
    /// As the production client.
    pub async fn get_of(
        &self,
        object: &ObjectRef,
        allowed: &[Vec<u8>],
    ) -> Result<(Vec<u8>, RetrieveReport), RetrieveError> {
        let mut bytes = Vec::new();
        let result = self.client.retrieve(object, None, &mut bytes, &Silent).await;
        self.trace.say("get", u64::from(self.number), || match &result {
            Ok(report) => format!("{}: {} bytes", object.name, report.bytes),
            Err(error) => format!("{}: {error}", object.name),
        });
        let report = result?;
        let named = format!("{}/{}", object.owner, object.name);
        self.checker.on_read(&named, report.generation.0, &bytes, allowed);
        Ok((bytes, report))
    }
}
