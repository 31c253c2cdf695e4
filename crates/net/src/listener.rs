//! Accepting connections: bounded in number, each under a deadline until it is authenticated.
//!
//! ```text
//! accept ──► place for a handshake? ──► handshake ──► place for its role? ──► channel
//!               │ no: REFUSE                             │ no: REFUSE
//! ```
//!
//! Places are counted apart for handshakes, nodes and clients, so that strangers who never finish
//! a handshake take no client's place, and clients never a node's.
//!
//! Spec: docs/protocol.md section 5.3.
//! Bounds: [`ListenerLimits`]; [`REFUSALS_MAX`] refusals under way, beyond which we just hang up.
//! Not here: which key is a member ([`Admit`]), one link per peer (`node`).

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use avid_types::limits::{CLUSTER_NODES_MAX, CONNECTIONS_MAX, HANDSHAKE_TIMEOUT};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::connection::Connection;
use crate::error::HandshakeError;
use crate::handshake::{self, Admit, Hello, HelloNonce, Local, Refusal, RefusalCode, Role};
use crate::host::{Acceptor, Host};
use crate::stop::Stop;
use crate::stream::Stream;

/// Refusals of unheard peers under way at once.
pub const REFUSALS_MAX: usize = 16;
/// Pause after an accept failed for want of a resource, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How many connections there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerLimits {
    /// Peers that have not proved a key yet.
    pub handshakes_max: usize,
    /// Clients.
    pub clients_max: usize,
    /// Nodes: one link per member, and one more while an old one is being noticed as dead.
    pub nodes_max: usize,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self {
            handshakes_max: 256,
            clients_max: CONNECTIONS_MAX,
            nodes_max: 2 * CLUSTER_NODES_MAX,
            handshake_timeout: HANDSHAKE_TIMEOUT,
        }
    }
}

/// An address could not be listened on.
#[derive(Debug)]
pub struct BindError {
    /// The address as it was given.
    pub address: SocketAddr,
    /// What the operating system said.
    pub source: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on {}: ", self.address)?;
        let kind = self.source.kind();
        if kind == io::ErrorKind::AddrInUse {
            return f.write_str(
                "another process is using this address; stop it (`ss -ltnp` names it) \
                 or choose another port with --listen",
            );
        }
        if kind == io::ErrorKind::AddrNotAvailable {
            return f.write_str(
                "this machine has no such address (`ip address` lists them); \
                 choose one it has with --listen",
            );
        }
        if kind == io::ErrorKind::PermissionDenied {
            return f.write_str(
                "permission denied; ports below 1024 need a privilege, choose a higher one \
                 with --listen",
            );
        }
        f.write_str("the operating system refuses it; check the address")
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Sockets that are bound and not yet served.
#[derive(Debug)]
pub struct Listener {
    host: Host,
    sockets: Vec<Box<dyn Acceptor>>,
    limits: ListenerLimits,
}

/// What one accept loop and its handshakes share.
struct Door<L, A> {
    host: Host,
    local: L,
    admit: A,
    limits: ListenerLimits,
    handshakes: Arc<Semaphore>,
    clients: Arc<Semaphore>,
    nodes: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    connections: mpsc::Sender<Connection>,
}

impl Listener {
    /// Binds exactly the given addresses. `[::]` does not include IPv4: list both to have both.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`BindError`] for the first address that cannot be had; none is kept then.
    pub fn bind(
        host: &Host,
        addresses: &[SocketAddr],
        limits: ListenerLimits,
    ) -> Result<Self, BindError> {
        let mut sockets = Vec::with_capacity(addresses.len());
        for &address in addresses {
            sockets.push(host.listen(address).map_err(|source| BindError { address, source })?);
        }
        Ok(Self { host: Arc::clone(host), sockets, limits })
    }

    /// The addresses in use; a port given as 0 shows the one the system chose.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().filter_map(|socket| socket.local_address().ok()).collect()
    }

    /// Accepts until `stop`, or until nobody receives `connections` any more.
    ///
    /// `local` says what we are at the time of each handshake. A connection keeps its place until
    /// its reader is dropped. On a stop, handshakes under way are dropped.
    pub async fn run<L, A>(
        self,
        stop: Stop,
        local: L,
        admit: A,
        connections: mpsc::Sender<Connection>,
    ) where
        L: Fn() -> Local + Send + Sync + 'static,
        A: Admit + 'static,
    {
        let limits = self.limits;
        let door = Arc::new(Door {
            host: self.host,
            local,
            admit,
            limits,
            handshakes: Arc::new(Semaphore::new(limits.handshakes_max)),
            clients: Arc::new(Semaphore::new(limits.clients_max)),
            nodes: Arc::new(Semaphore::new(limits.nodes_max)),
            refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
            connections: connections.clone(),
        });
        let mut loops = JoinSet::new();
        for socket in self.sockets {
            loops.spawn(Arc::clone(&door).accept_loop(socket));
        }
        tokio::select! {
            () = stop.stopped() => {}
            () = connections.closed() => {}
        }
        loops.shutdown().await;
    }
}

impl<L, A> Door<L, A>
where
    L: Fn() -> Local + Send + Sync + 'static,
    A: Admit + 'static,
{
    /// Owns the handshakes it starts: they end with it.
    async fn accept_loop(self: Arc<Self>, socket: Box<dyn Acceptor>) {
        let mut tasks = JoinSet::new();
        loop {
            while tasks.try_join_next().is_some() {}
            match socket.accept().await {
                Ok((stream, address)) => {
                    self.start(&mut tasks, stream, address);
                }
                Err(error) => {
                    // Out of descriptors or memory, or the peer is gone already: both pass.
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn start(self: &Arc<Self>, tasks: &mut JoinSet<()>, stream: Stream, address: SocketAddr) {
        if let Ok(place) = Arc::clone(&self.handshakes).try_acquire_owned() {
            tasks.spawn(Arc::clone(self).enter(stream, address, place));
        } else if let Ok(place) = Arc::clone(&self.refusals).try_acquire_owned() {
            tasks.spawn(async move {
                handshake::refuse_unheard(stream.split(), &too_many()).await;
                drop(place);
            });
        }
    }

    async fn enter(
        self: Arc<Self>,
        stream: Stream,
        address: SocketAddr,
        handshake_place: OwnedSemaphorePermit,
    ) {
        match self.shake_hands(stream).await {
            Ok((mut connection, place)) => {
                connection.hold(place);
                let connection = handshake::with_address(connection, Some(address));
                // The receiver is bounded; a full channel keeps the place for the handshake.
                drop(self.connections.send(connection).await);
            }
            Err(error) => tracing::debug!(%address, %error, "handshake failed"),
        }
        drop(handshake_place);
    }

    async fn shake_hands(
        &self,
        stream: Stream,
    ) -> Result<(Connection, OwnedSemaphorePermit), HandshakeError> {
        let local = (self.local)();
        let nonce = HelloNonce::draw(&self.host)?;
        let place = std::sync::Mutex::new(None);
        let admit = |hello: &Hello| {
            let taken = self.take_place(hello.role)?;
            let answer = self.admit.admit(hello)?;
            if let Ok(mut place) = place.lock() {
                *place = Some(taken);
            }
            Ok(answer)
        };
        let exchange = handshake::respond(stream.split(), &local, nonce, &admit);
        let connection = handshake::within(self.limits.handshake_timeout, exchange).await?;
        match place.into_inner() {
            Ok(Some(place)) => Ok((connection, place)),
            // Not reachable: a connection exists only after `admit` stored its place.
            Ok(None) | Err(_) => Err(HandshakeError::Closed),
        }
    }

    fn take_place(&self, role: Role) -> Result<OwnedSemaphorePermit, Refusal> {
        let places = match role {
            Role::Node => &self.nodes,
            Role::Client => &self.clients,
        };
        Arc::clone(places).try_acquire_owned().map_err(|_full| too_many())
    }
}

fn too_many() -> Refusal {
    let code = RefusalCode::TooManyConnections;
    Refusal::new(code, code.sentence())
}
