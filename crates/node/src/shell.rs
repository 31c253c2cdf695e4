//! Starts and stops the parts of a node and wires them together.
//!
//! Not here: what is decided (`core`), one module per part below.

mod client;
mod engine;
mod getfrag;
mod ingest;
mod lookup;
mod pace;
mod peer_in;
mod peer_out;
mod peers;
mod status;
mod sweep;
mod write;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use avid_coding::merkle::{self, TreeKind};
use avid_coding::stripe_coder::StripeCoder;
use avid_net::host::{thread, work};
use avid_net::{
    self as net, Connection, Hello, Host, Listener, ListenerLimits, Local, Refusal, Role, Stop,
    StopHandle, Work,
};
use avid_protocol::authority::SignedGrant;
use avid_protocol::clock::{Heartbeat, SignedHeartbeat};
use avid_protocol::verify::Verifier;
use avid_protocol::wire::{FRAME_VERSION, Message, RefusalCode};
use avid_store::{Disk, RealDisk, Store, StoreConfig, StoreId};
use avid_types::{ClusterConfig, Decoder, Digest, NodeId, PublicKey, SigningKey, Timestamp};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use crate::core::Event;
use crate::error::NodeError;
use crate::fact::Observe;
use crate::shell::engine::{Command, Engine};
use crate::shell::ingest::Ingests;
use crate::shell::peers::PeerBook;

/// Commands waiting for the engine: one batch and the next.
const COMMANDS_MAX: usize = 1024;
/// GETFRAG answers at once; with dispersals they stay below tokio's 512 blocking threads.
const READERS_MAX: usize = 128;
/// Whole fragments checked at once.
const CHECKERS_MAX: usize = 2;
/// Connections of one client key: fewer than [`READERS_MAX`], so that none takes all of them.
const CLIENT_CONNECTIONS_MAX: usize = 96;
/// Links of one peer: the present one, and an old one until it is noticed as dead.
const PEER_LINKS_MAX: usize = 2;
/// How often machines look at cluster time and announce undecided uploads again.
const TICK: Duration = Duration::from_millis(500);
/// How often this node tells its clock, boot and position.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How long a clean stop waits for operations under way.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// What a node is started with.
#[derive(Debug)]
pub struct NodeConfig {
    /// Where everything durable lives; [`open_data_dir`] opens a directory.
    pub disk: Arc<dyn Disk>,
    /// Time, randomness, threads and network.
    pub host: Host,
    /// Looks at what the node does.
    pub observer: Option<Arc<dyn Observe>>,
    /// `host:port` each; nothing else is listened on.
    pub listen: Vec<String>,
    /// The agreed configuration.
    pub cluster: Arc<ClusterConfig>,
    /// Which member this is.
    pub node: NodeId,
    /// Signs votes.
    pub vote_key: SigningKey,
    /// Signs handshakes.
    pub transport_key: SigningKey,
}

/// What every part of a node shares.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) host: Host,
    pub(crate) cluster: Arc<ClusterConfig>,
    pub(crate) node: NodeId,
    pub(crate) vote_key: SigningKey,
    pub(crate) transport_key: SigningKey,
    pub(crate) store: Arc<Store>,
    pub(crate) coder: StripeCoder,
    pub(crate) verifier: Mutex<Verifier>,
    pub(crate) peers: Mutex<PeerBook>,
    pub(crate) ingests: Ingests,
    pub(crate) commands: mpsc::Sender<Command>,
    /// Highest journal position whose votes are signed.
    pub(crate) published: watch::Receiver<u64>,
    pub(crate) time: watch::Receiver<Timestamp>,
    pub(crate) links: Mutex<Vec<(NodeId, watch::Receiver<avid_net::LinkStatus>)>>,
    pub(crate) stop: Stop,
    /// GETFRAG answers under way; each holds a worker thread.
    pub(crate) readers: Semaphore,
    /// Whole fragments being checked for FILL.
    pub(crate) checkers: Semaphore,
    lived: Mutex<Option<(Heartbeat, Heartbeat)>>,
}

impl Shared {
    /// Runs a check that needs signatures; no lock is held across an await.
    pub(crate) fn verify<T>(&self, check: impl FnOnce(&mut Verifier) -> T) -> T {
        check(&mut self.verifier.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn cluster_time(&self) -> Timestamp {
        *self.time.borrow()
    }

    /// This node's heartbeat at the moment, signed. Readings never go back within a process.
    pub(crate) fn heartbeat(&self) -> SignedHeartbeat {
        let mut lived = self.lived.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = lived.map_or(Timestamp::ZERO, |(_, latest)| latest.reading);
        let heartbeat = Heartbeat {
            node: self.node,
            reading: self.host.wall_clock().max(latest),
            boot: boot_of(&self.store),
            position: self.store.journal().durable_position(),
        };
        *lived = Some((lived.map_or(heartbeat, |(first, _)| first), heartbeat));
        heartbeat.sign(&self.cluster, &self.vote_key)
    }

    /// First and latest heartbeat that this process signed (AMNESIA-1).
    pub(crate) fn lived(&self) -> Option<(Heartbeat, Heartbeat)> {
        *self.lived.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What peers know this data directory by; the store's own id stays here, since it guards
    /// the journal's batches against forged bytes inside records.
    pub(crate) fn store_name(&self) -> [u8; 16] {
        name_of(&self.store)
    }

    fn local(&self, payload: Vec<u8>) -> Local {
        Local {
            key: self.transport_key.clone(),
            role: Role::Node,
            cluster: self.cluster.cluster,
            epoch: self.cluster.epoch,
            config: self.cluster.digest(),
            payload,
        }
    }

    fn admit(&self, hello: &Hello) -> Result<Vec<u8>, Refusal> {
        let denied = |text: &str| Refusal::new(net::RefusalCode::NotAdmitted, text);
        if self.stop.is_stopped() {
            return Err(Refusal::new(net::RefusalCode::ShuttingDown, "this node is stopping"));
        }
        match hello.role {
            Role::Node => {
                let node = self
                    .cluster
                    .node_of_transport_key(&hello.key)
                    .ok_or_else(|| denied("this key is no member's transport key"))?;
                let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
                peers.welcome(node, &hello.payload).ok_or_else(|| denied("malformed peer hello"))
            }
            Role::Client => {
                let grant = decode_grant(&hello.payload).ok_or_else(|| {
                    denied("this client key has no grant; ask an operator for one (avid grant)")
                })?;
                grant
                    .verify(&self.cluster, &hello.key, self.cluster_time())
                    .map_err(|error| denied(&error.to_string()))?;
                Ok(Vec::new())
            }
        }
    }
}

fn name_of(store: &Store) -> [u8; 16] {
    let digest = Digest::of(&[b"avidfp/store-name/v1", &store.id().0]);
    let (name, _) = digest.0.split_at(16);
    name.try_into().unwrap_or_default()
}

/// What a heartbeat says of this boot of this store.
fn boot_of(store: &Store) -> u64 {
    Heartbeat::boot_of(name_of(store), store.boot())
}

pub(crate) fn decode_grant(payload: &[u8]) -> Option<SignedGrant> {
    let mut d = Decoder::new(payload);
    let grant = SignedGrant::decode(&mut d).ok()?;
    d.finish().ok()?;
    Some(grant)
}

fn stripe_node(left: &Digest, right: &Digest) -> Digest {
    merkle::node(TreeKind::Stripes, left, right)
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    shared: Arc<Shared>,
    stop: StopHandle,
    addresses: Vec<SocketAddr>,
    tasks: JoinSet<()>,
    engine: Work<Result<(), NodeError>>,
    halted: watch::Receiver<bool>,
}

impl Node {
    /// Opens the store, listens and joins the peers. Must run within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`NodeError`]; nothing is left running then.
    pub async fn start(config: NodeConfig) -> Result<Self, NodeError> {
        check_identity(&config)?;
        let addresses = resolve(&config.host, &config.listen).await?;
        let listener = Listener::bind(&config.host, &addresses, listener_limits(&config.cluster))?;
        let (disk, mut id) = (Arc::clone(&config.disk), [0; 16]);
        config.host.random(&mut id).map_err(|_| NodeError::Random)?;
        let opened = work(&config.host, async move { open_store(disk, StoreId(id)) }).await;
        let (store, position) = opened.map_err(|_| NodeError::Ended("opening the store"))??;
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let (stop, stopped) = StopHandle::new();
        let peers = PeerBook::load(&config.cluster, &store).map_err(NodeError::Record)?;
        let (engine, published, time) = Engine::new(&config, Arc::clone(&store), position, &peers)?;
        let shared = Arc::new(Shared {
            host: config.host,
            coder: StripeCoder::new(config.cluster.params, config.cluster.suite),
            verifier: Mutex::new(Verifier::new(Arc::clone(&config.cluster))),
            cluster: config.cluster,
            node: config.node,
            vote_key: config.vote_key,
            transport_key: config.transport_key,
            store,
            peers: Mutex::new(peers),
            ingests: Ingests::default(),
            commands,
            published,
            time,
            links: Mutex::new(Vec::new()),
            stop: stopped,
            readers: Semaphore::new(READERS_MAX),
            checkers: Semaphore::new(CHECKERS_MAX),
            lived: Mutex::new(None),
        });
        let (halt, halted) = watch::channel(false);
        let engine_shared = Arc::clone(&shared);
        let running = async move {
            let result = engine.run(&engine_shared, inbox).await;
            halt.send_replace(true);
            result
        };
        let engine = thread(&shared.host, "engine", running)
            .map_err(|_| NodeError::Ended("starting the engine thread"))?;
        let addresses = listener.addresses();
        let mut tasks = JoinSet::new();
        spawn_parts(&shared, listener, &mut tasks);
        Ok(Self { shared, stop, addresses, tasks, engine, halted })
    }

    /// The addresses in use; a port given as 0 shows the one the system chose.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.clone()
    }

    /// Resolves when the node has halted by itself and must be restarted. Cancel-safe.
    pub async fn halted(&mut self) {
        // An error means that the engine is gone, which is a halt too.
        drop(self.halted.wait_for(|halted| *halted).await);
    }

    /// Stops cleanly: no new work, operations under way get a few seconds, then a checkpoint.
    ///
    /// # Errors
    ///
    /// What made the node halt, if it had.
    pub async fn stop(mut self) -> Result<(), NodeError> {
        self.stop.stop();
        let finish = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_GRACE, finish).await.is_err() {
            tracing::info!("operations under way are abandoned; clients resume them elsewhere");
            self.tasks.shutdown().await;
        }
        drop(self.shared.commands.send(Command::Stop).await);
        self.engine.await.unwrap_or(Err(NodeError::Ended("the engine thread")))
    }
}

fn check_identity(config: &NodeConfig) -> Result<(), NodeError> {
    let member = config.cluster.member(config.node).ok_or(NodeError::NoSuchMember(config.node))?;
    if member.vote_key != config.vote_key.public() {
        return Err(NodeError::WrongKey("vote"));
    }
    if member.transport_key != config.transport_key.public() {
        return Err(NodeError::WrongKey("transport"));
    }
    Ok(())
}

async fn resolve(host: &Host, listen: &[String]) -> Result<Vec<SocketAddr>, NodeError> {
    let mut addresses = Vec::new();
    for address in listen {
        let error = |source| NodeError::Resolve { address: address.clone(), source };
        addresses.extend(host.resolve(address).await.map_err(error)?);
    }
    Ok(addresses)
}

fn listener_limits(cluster: &ClusterConfig) -> ListenerLimits {
    ListenerLimits {
        nodes_max: 2 * PEER_LINKS_MAX * cluster.members.len(),
        ..ListenerLimits::default()
    }
}

/// Opens a directory as the disk of a node; makes it if absent.
///
/// # Errors
///
/// [`NodeError::DataDir`].
pub async fn open_data_dir(host: &Host, path: &Path) -> Result<Arc<dyn Disk>, NodeError> {
    let error = |source| NodeError::DataDir { path: path.to_path_buf(), source };
    let opened = path.to_path_buf();
    let disk = work(host, async move { RealDisk::open(&opened) }).await;
    let disk = disk.map_err(|stopped| error(std::io::Error::other(stopped)))?;
    Ok(Arc::new(disk.map_err(error)?))
}

fn open_store(disk: Arc<dyn Disk>, id: StoreId) -> Result<(Arc<Store>, u64), NodeError> {
    let store_config = StoreConfig::new(id, stripe_node);
    let mut damaged = None;
    let opened = Store::open(disk, &store_config, &mut |position, bytes| {
        match crate::core::entry::Entry::from_bytes(bytes) {
            Ok(entry) => entry.index_writes(position),
            Err(error) => {
                damaged = Some(format!("journal position {position}: {error}"));
                Vec::new()
            }
        }
    });
    let (store, recovery) = opened?;
    if let Some(damage) = damaged {
        return Err(NodeError::Record(damage));
    }
    // Records that were just made say nothing about fragments that were here before them.
    let unclaimed_removed = if recovery.created { 0 } else { sweep::sweep(&store)? };
    tracing::info!(
        boot = recovery.boot,
        created = recovery.created,
        replayed = recovery.replayed,
        position = recovery.journal_position,
        temporaries_removed = recovery.temporaries_removed,
        unclaimed_removed,
        "store opened"
    );
    Ok((Arc::new(store), recovery.journal_position))
}

fn spawn_parts(shared: &Arc<Shared>, listener: Listener, tasks: &mut JoinSet<()>) {
    let (sender, connections) = mpsc::channel(64);
    let stop = shared.stop.clone();
    let (local, admit) = (Arc::clone(shared), Arc::clone(shared));
    tasks.spawn(listener.run(
        stop,
        move || local.local(Vec::new()),
        move |hello: &Hello| admit.admit(hello),
        sender,
    ));
    tasks.spawn(serve_connections(Arc::clone(shared), connections));
    tasks.spawn(tick(Arc::clone(shared)));
    for (peer, member) in shared.cluster.nodes() {
        if peer != shared.node {
            tasks.spawn(peer_out::run(Arc::clone(shared), peer, member.clone()));
        }
    }
}

/// Gives each connection its own task; on a stop they end by themselves or with their owner.
///
/// No key has more than its share of the places: a peer's new link ends its oldest, and a client
/// beyond its share is turned away.
async fn serve_connections(shared: Arc<Shared>, mut connections: mpsc::Receiver<Connection>) {
    let mut tasks = JoinSet::new();
    let mut of_key: BTreeMap<PublicKey, VecDeque<AbortHandle>> = BTreeMap::new();
    loop {
        tokio::select! {
            () = shared.stop.stopped() => break,
            Some(_) = tasks.join_next(), if !tasks.is_empty() => {
                of_key.retain(|_, handles| {
                    handles.retain(|handle| !handle.is_finished());
                    !handles.is_empty()
                });
            }
            connection = connections.recv() => {
                let Some(connection) = connection else { break };
                let handles = of_key.entry(connection.peer().key()).or_default();
                let share = match connection.peer().role() {
                    Role::Node => PEER_LINKS_MAX,
                    Role::Client => CLIENT_CONNECTIONS_MAX,
                };
                if handles.len() >= share && connection.peer().role() == Role::Client {
                    tasks.spawn(turn_away(connection));
                    continue;
                }
                if handles.len() >= share && let Some(oldest) = handles.pop_front() {
                    oldest.abort();
                }
                handles.push_back(tasks.spawn(serve(Arc::clone(&shared), connection)));
            }
        }
    }
    while tasks.join_next().await.is_some() {}
}

/// Tells a client that it has its share of connections.
async fn turn_away(mut connection: Connection) {
    let text = "this key has as many connections as a node gives one client; use fewer at once";
    let refused = Message::refused(RefusalCode::Busy, text);
    let body = refused.to_body();
    let parts = [body.as_slice()];
    let writer = connection.writer();
    let send = async {
        writer.write_frame(refused.kind(), FRAME_VERSION, &parts).await?;
        writer.close().await
    };
    drop(avid_net::within(STOP_GRACE, "turning a client away", send).await);
}

async fn serve(shared: Arc<Shared>, connection: Connection) {
    let role = connection.peer().role();
    let address = connection.peer().address;
    let result = match role {
        Role::Node => peer_in::serve(&shared, connection).await,
        Role::Client => client::serve(&shared, connection).await,
    };
    if let Err(error) = result {
        tracing::debug!(?address, ?role, %error, "connection ended");
    }
}

async fn tick(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(TICK);
    let started = tokio::time::Instant::now();
    let base = shared.host.wall_clock();
    let mut heartbeat_due = started;
    loop {
        tokio::select! {
            () = shared.stop.stopped() => return,
            now = ticks.tick() => {
                if now >= heartbeat_due {
                    heartbeat_due = now + HEARTBEAT;
                    let heartbeat = Event::Heartbeat(shared.heartbeat());
                    drop(shared.commands.send(Command::Event(heartbeat, None)).await);
                }
                shared.ingests.forget_expired(shared.cluster_time());
                // Pauses must not follow the wall clock when it is set.
                let tick = Event::Tick(base.plus(now.saturating_duration_since(started)));
                if shared.commands.send(Command::Event(tick, None)).await.is_err() {
                    return;
                }
            }
        }
    }
}
