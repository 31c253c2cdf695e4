//! A program of ours with the keys of a member or client, on a machine of its own.
//!
//! It speaks raw frames: what a tap cannot do, since a tap only changes what a production node
//! says. It opens as many sockets as it likes, sends what it likes, as slowly as it likes.
//!
//! May: prove the keys it holds and send any bytes. May not: sign for others.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::task::{Context, Poll};
use std::time::Duration;

use avid_net::host::{Acceptor, Boxed};
use avid_net::{
    Connection, DialError, DialTarget, DialTimeouts, Host, HostParts, Local, Role, Stream, dial,
};
use avid_protocol::clock::Heartbeat;
use avid_protocol::wire::Message;
use avid_types::{ClusterConfig, Encoder, NodeId, SigningKey, Timestamp};
use tokio::io::AsyncWrite;
use tokio::time::{Instant, Sleep};

use super::frames::Recorder;
use super::{Identity, frame_of};
use crate::host::SimHost;
use crate::network::HostId;
use crate::random::Random;
use crate::tap::Frame;
use crate::world::{World, client_key, grant, host_of, transport_key};

/// Host numbers of impostors begin here.
const IMPOSTORS: u16 = 2000;

/// Somebody with keys, a machine and no scruples.
#[derive(Debug)]
pub struct Impostor {
    config: Arc<ClusterConfig>,
    host: Host,
    key: SigningKey,
    role: Role,
    payload: Vec<u8>,
}

impl Impostor {
    /// Holds the keys of a member; the member's own process may run beside it.
    #[must_use]
    pub fn member(world: &World, node: NodeId) -> Self {
        let heartbeat = Heartbeat { node, reading: Timestamp(1), boot: 0, position: 0 };
        let signed = Identity::of(world, node).beat(heartbeat);
        let mut payload = Encoder::new();
        payload.bytes(&[0; 16]);
        signed.encode(&mut payload);
        Self {
            config: Arc::clone(&world.config),
            host: machine(world, HostId(IMPOSTORS + node.0)),
            key: transport_key(node),
            role: Role::Node,
            payload: payload.into_vec(),
        }
    }

    /// Holds the keys of a client with the operator's grant for this world.
    #[must_use]
    pub fn client(world: &World, number: u16) -> Self {
        let key = client_key(number);
        let mut payload = Encoder::new();
        grant(&world.config, &key).encode(&mut payload);
        Self {
            config: Arc::clone(&world.config),
            host: machine(world, HostId(IMPOSTORS + 1000 + number)),
            key,
            role: Role::Client,
            payload: payload.into_vec(),
        }
    }

    /// Sends byte by byte from now on, with this pause between two of them.
    ///
    /// The network's taps see whole frames, so that the other end sees a silence and then the frame.
    #[must_use]
    pub fn dripping(mut self, pause: Duration) -> Self {
        self.host = Arc::new(DripHost { host: self.host, pause });
        self
    }

    /// Connects to a node and shakes hands.
    ///
    /// # Errors
    ///
    /// Why the node does not let it in.
    pub async fn connect(&self, to: NodeId) -> Result<Connection, DialError> {
        let local = Local {
            key: self.key.clone(),
            role: self.role,
            cluster: self.config.cluster,
            epoch: self.config.epoch,
            config: self.config.digest(),
            payload: self.payload.clone(),
        };
        let target = DialTarget {
            addresses: vec![host_of(to).address().to_string()],
            key: transport_key(to).public(),
        };
        dial(&self.host, &target, &local, DialTimeouts::default()).await
    }

    /// Sends frames on a socket of their own and closes it; whether the node took all of them.
    ///
    /// Answers are read and thrown away, so that neither side waits for the other.
    pub async fn say(&self, to: NodeId, frames: &[Frame]) -> bool {
        let Ok(connection) = self.connect(to).await else { return false };
        let (_, mut reader, mut writer) = connection.split();
        let listening = async {
            while let Ok(Some(_)) = reader.next_header().await {
                if reader.skip().await.is_err() {
                    break;
                }
            }
        };
        let talking = async {
            for frame in frames {
                writer.write_frame(frame.kind, frame.version, &[&frame.body]).await.ok()?;
                writer.flush().await.ok()?;
            }
            // What was sent last still has to be taken.
            tokio::time::sleep(Duration::from_secs(1)).await;
            writer.close().await.ok()
        };
        tokio::select! {
            taken = talking => taken.is_some(),
            () = listening => false,
        }
    }

    /// Sends messages on a socket of their own.
    pub async fn tell(&self, to: NodeId, messages: &[Message]) -> bool {
        let frames: Vec<Frame> = messages.iter().map(frame_of).collect();
        self.say(to, &frames).await
    }
}

/// A machine that is no member's.
fn machine(world: &World, id: HostId) -> Host {
    let start = Instant::now() - Duration::from_millis(world.trace.millis());
    let random = Random::new(world.seed, &format!("impostor {}", id.0));
    Arc::new(SimHost::new(id, world.network.clone(), start, Arc::<AtomicI64>::default(), random))
}

/// Who said a recorded frame, as far as keys go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaker {
    Member(NodeId),
    Client(u16),
}

/// Sends everything that was recorded to the same members of a world, as whoever said it there.
///
/// Every conversation is replayed on a socket of its own, with the keys of its speaker: the most
/// that an attacker can do who has recorded everything and then stolen every key but uses none of
/// them to sign. Frames of answers are sent as well, to the node that had been asked.
/// Returns the conversations that a node let in.
pub async fn replay(world: &World, recorded: &Recorder) -> usize {
    let mut let_in = 0;
    for (way, frames) in recorded.conversations() {
        let speaker = match way.from.0 {
            client @ 1000.. => Speaker::Client(client - 1000),
            node => Speaker::Member(NodeId(node)),
        };
        let to = if way.to.0 < 1000 { NodeId(way.to.0) } else { NodeId(0) };
        if !world.nodes().contains(&to) || speaker == Speaker::Member(to) {
            continue;
        }
        let impostor = match speaker {
            Speaker::Member(node) => Impostor::member(world, node),
            Speaker::Client(number) => Impostor::client(world, number),
        };
        // Message by message, since the first that a node refuses ends the connection.
        let_in += usize::from(impostor.say(to, &frames).await);
        for frame in frames {
            impostor.say(to, &[frame]).await;
        }
    }
    let_in
}

/// A host whose connections send byte by byte.
#[derive(Debug)]
struct DripHost {
    host: Host,
    pause: Duration,
}

impl HostParts for DripHost {
    fn wall_clock(&self) -> Timestamp {
        self.host.wall_clock()
    }

    fn random(&self, bytes: &mut [u8]) -> io::Result<()> {
        self.host.random(bytes)
    }

    fn start_thread(&self, name: &'static str, work: Boxed<'static, ()>) -> io::Result<()> {
        self.host.start_thread(name, work)
    }

    fn start_work(&self, work: Boxed<'static, ()>) {
        self.host.start_work(work);
    }

    fn resolve<'a>(&'a self, name: &'a str) -> Boxed<'a, io::Result<Vec<SocketAddr>>> {
        self.host.resolve(name)
    }

    fn connect(&self, address: SocketAddr) -> Boxed<'_, io::Result<Stream>> {
        Box::pin(async move {
            match self.host.connect(address).await? {
                Stream::Carried(receive, inner) => {
                    let drip = Drip { inner, pause: self.pause, next: None };
                    Ok(Stream::Carried(receive, Box::new(drip)))
                }
                stream @ Stream::Tcp(_) => Ok(stream),
            }
        })
    }

    fn listen(&self, address: SocketAddr) -> io::Result<Box<dyn Acceptor>> {
        self.host.listen(address)
    }
}

/// Takes one byte at a time.
#[derive(Debug)]
struct Drip<W> {
    inner: W,
    pause: Duration,
    next: Option<Pin<Box<Sleep>>>,
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Drip<W> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Some(next) = &mut this.next {
            if next.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            this.next = None;
        }
        let one = bytes.get(..1).unwrap_or_default();
        let written = Pin::new(&mut this.inner).poll_write(context, one);
        if written.is_ready() {
            this.next = Some(Box::pin(tokio::time::sleep(this.pause)));
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }
}
