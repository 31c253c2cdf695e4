//! The operating system as a host, with a tap behind everything the process sends.
//!
//! ```text
//! node ──► frames ──► [ cutter ─► tap ] ──► TCP ──► the others
//! node ◄──────────── [ ear: first HELLO ] ◄── TCP ◄── the others
//! ```
//! With it a lying node runs as a real process among real processes: the same adversaries, the
//! same production node in front of them, real sockets, files and time. The ear reads along until
//! the peer has said who it is, so that a tap knows to whom a frame goes, as in the simulation.
//!
//! Bounds: `STEP_BYTES` and one frame wait at a tap; a slow peer blocks the sender, as TCP does.
//! Not here: virtual time and network ([`crate::host`]), what a liar does ([`crate::tap::Tap`]).

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};

use avid_net::handshake::message::{KIND_HELLO, decode_hello};
use avid_net::host::{Acceptor, Boxed};
use avid_net::stream::{ReadHalf, WriteHalf};
use avid_net::{Host, HostParts, KIND_HANDSHAKE_MIN, Stream, SystemHost};
use avid_types::{ClusterConfig, NodeId, PublicKey, Timestamp};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::network::HostId;
use crate::tap::{Cutter, Frame, Tap, Way};

/// Most bytes taken from the sender before they are on the wire.
const STEP_BYTES: usize = 64 << 10;
/// Bytes after which an ear that heard no HELLO gives up.
const HELLO_BYTES_MAX: usize = avid_net::frame::HANDSHAKE_FRAME_BYTES_MAX;
/// Clients are numbered from here, in the order in which they come.
const CLIENTS: u16 = 1000;
/// A peer that sent something else than a HELLO.
const STRANGER: HostId = HostId(u16::MAX);

/// The host of a process that lies.
#[derive(Debug)]
pub struct TappedHost {
    system: Host,
    wiretap: Arc<Wiretap>,
}

/// What all connections of the process share.
#[derive(Debug)]
struct Wiretap {
    own: HostId,
    tap: Arc<Mutex<dyn Tap>>,
    hosts: Mutex<BTreeMap<PublicKey, HostId>>,
    connections: AtomicU64,
}

impl TappedHost {
    /// The host of a member of a cluster.
    #[must_use]
    pub fn new(config: &ClusterConfig, own: NodeId, tap: Arc<Mutex<dyn Tap>>) -> Self {
        let members = config.nodes().map(|(node, member)| (member.transport_key, HostId(node.0)));
        let wiretap = Wiretap {
            own: HostId(own.0),
            tap,
            hosts: Mutex::new(members.collect()),
            connections: AtomicU64::new(0),
        };
        Self { system: SystemHost::shared(), wiretap: Arc::new(wiretap) }
    }
}

impl Wiretap {
    /// Puts the tap behind one connection.
    fn attach(self: &Arc<Self>, stream: Stream, opened_here: bool) -> Stream {
        let (read, write) = stream.split();
        let line = Arc::new(Line {
            wiretap: Arc::clone(self),
            peer: OnceLock::new(),
            opened_here,
            connection: self.connections.fetch_add(1, Ordering::Relaxed),
        });
        let ear = Ear { inner: read, line: Arc::clone(&line), heard: Some(Heard::default()) };
        let mouth = Mouth {
            inner: write,
            line,
            cutter: Cutter::default(),
            wire: Vec::new(),
            sent: 0,
            accepted: 0,
        };
        Stream::Carried(Box::new(ear), Box::new(mouth))
    }

    /// The host that holds a key; clients get the next number.
    fn host_of(&self, key: PublicKey) -> HostId {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let next = hosts.values().max().map_or(CLIENTS, |last| last.0.saturating_add(1));
        *hosts.entry(key).or_insert(HostId(next.max(CLIENTS)))
    }
}

/// One connection.
#[derive(Debug)]
struct Line {
    wiretap: Arc<Wiretap>,
    peer: OnceLock<HostId>,
    opened_here: bool,
    connection: u64,
}

impl Line {
    fn way(&self) -> Way {
        Way {
            from: self.wiretap.own,
            to: self.peer.get().copied().unwrap_or(STRANGER),
            opened_by_sender: self.opened_here,
            connection: self.connection,
        }
    }
}

/// What the peer said before its HELLO was complete.
#[derive(Debug, Default)]
struct Heard {
    cutter: Cutter,
    bytes: usize,
}

/// The receiving half, which listens for the peer's name and changes nothing.
#[derive(Debug)]
struct Ear {
    inner: ReadHalf,
    line: Arc<Line>,
    heard: Option<Heard>,
}

impl Ear {
    fn hear(&mut self, bytes: &[u8]) {
        let Some(heard) = &mut self.heard else { return };
        heard.bytes += bytes.len();
        let hello = heard.cutter.push(bytes).into_iter().next();
        let is_over = hello.is_some() || heard.bytes > HELLO_BYTES_MAX;
        let hello = hello.filter(|frame| frame.kind == KIND_HELLO);
        if let Some(Ok(hello)) = hello.map(|frame| decode_hello(&frame.body)) {
            // Whether it holds that key is proved before anything is tapped.
            let _first = self.line.peer.set(self.line.wiretap.host_of(hello.key));
        }
        if is_over {
            self.heard = None;
        }
    }
}

impl AsyncRead for Ear {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(context, buffer))?;
        this.hear(buffer.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

/// The sending half. A write returns when what the tap made of it is on the wire.
///
/// A caller that gives up a write must not write again, as `FrameWriter` guarantees.
#[derive(Debug)]
struct Mouth {
    inner: WriteHalf,
    line: Arc<Line>,
    cutter: Cutter,
    /// What the tap made of the bytes accepted last.
    wire: Vec<u8>,
    /// Bytes of `wire` that are sent.
    sent: usize,
    /// Bytes of the caller that are in `wire` and that it has not been told of.
    accepted: usize,
}

impl Mouth {
    fn take(&mut self, bytes: &[u8]) {
        let way = self.line.way();
        let mut frames: Vec<Frame> = Vec::new();
        for frame in self.cutter.push(bytes) {
            if frame.kind >= KIND_HANDSHAKE_MIN {
                frames.push(frame);
            } else {
                let tap = &self.line.wiretap.tap;
                let mut tap = tap.lock().unwrap_or_else(PoisonError::into_inner);
                tap.on_frame(way, frame, &mut frames);
            }
        }
        self.wire = frames.iter().flat_map(Frame::to_bytes).collect();
        (self.sent, self.accepted) = (0, bytes.len());
    }

    fn poll_drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.wire.get(self.sent..).filter(|rest| !rest.is_empty()) {
            let sent = ready!(Pin::new(&mut self.inner).poll_write(context, rest))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += sent;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Mouth {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.accepted == 0 {
            this.take(bytes.get(..bytes.len().min(STEP_BYTES)).unwrap_or_default());
        }
        ready!(this.poll_drain(context))?;
        Poll::Ready(Ok(std::mem::take(&mut this.accepted)))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }
}

impl HostParts for TappedHost {
    fn wall_clock(&self) -> Timestamp {
        self.system.wall_clock()
    }

    fn random(&self, bytes: &mut [u8]) -> io::Result<()> {
        self.system.random(bytes)
    }

    fn start_thread(&self, name: &'static str, work: Boxed<'static, ()>) -> io::Result<()> {
        self.system.start_thread(name, work)
    }

    fn start_work(&self, work: Boxed<'static, ()>) {
        self.system.start_work(work);
    }

    fn resolve<'a>(&'a self, name: &'a str) -> Boxed<'a, io::Result<Vec<SocketAddr>>> {
        self.system.resolve(name)
    }

    fn connect(&self, address: SocketAddr) -> Boxed<'_, io::Result<Stream>> {
        Box::pin(async move { Ok(self.wiretap.attach(self.system.connect(address).await?, true)) })
    }

    fn listen(&self, address: SocketAddr) -> io::Result<Box<dyn Acceptor>> {
        let inner = self.system.listen(address)?;
        Ok(Box::new(TappedAcceptor { inner, wiretap: Arc::clone(&self.wiretap) }))
    }
}

#[derive(Debug)]
struct TappedAcceptor {
    inner: Box<dyn Acceptor>,
    wiretap: Arc<Wiretap>,
}

impl Acceptor for TappedAcceptor {
    fn local_address(&self) -> io::Result<SocketAddr> {
        self.inner.local_address()
    }

    fn accept(&self) -> Boxed<'_, io::Result<(Stream, SocketAddr)>> {
        Box::pin(async move {
            let (stream, address) = self.inner.accept().await?;
            Ok((self.wiretap.attach(stream, false), address))
        })
    }
}

#[cfg(test)]
mod tests {
    use avid_net::connection::{Connection, FrameWriter};
    use avid_net::handshake::{Hello, HelloNonce, Local, Refusal, Role, initiate, respond};
    use avid_types::{Digest, SigningKey};

    use super::*;
    use crate::world::{Shape, client_key, cluster_config, transport_key};

    /// Sends every frame, and the same backwards.
    #[derive(Debug, Default)]
    struct Doubler(Vec<Way>);

    impl Tap for Doubler {
        fn on_frame(&mut self, way: Way, frame: Frame, wire: &mut Vec<Frame>) {
            self.0.push(way);
            let body = frame.body.iter().rev().copied().collect();
            wire.extend([frame.clone(), Frame { body, ..frame }]);
        }
    }

    fn local(config: &ClusterConfig, key: SigningKey, role: Role) -> Local {
        let (cluster, epoch) = (config.cluster, config.epoch);
        Local { key, role, cluster, epoch, config: Digest([1; 32]), payload: Vec::new() }
    }

    async fn say(writer: &mut FrameWriter<WriteHalf>, body: &[u8]) {
        writer.write_frame(0x33, 1, &[body]).await.unwrap();
        writer.flush().await.unwrap();
    }

    async fn hear(connection: &mut Connection, bytes: usize) -> Vec<u8> {
        let reader = connection.reader();
        let header = reader.next_header().await.unwrap().unwrap();
        assert_eq!((header.kind, header.body_bytes), (0x33, bytes));
        let mut body = vec![0; bytes];
        reader.read_exact(&mut body).await.unwrap();
        body
    }

    #[tokio::test]
    async fn a_tap_on_tcp_sees_all_that_is_sent_and_to_whom() {
        let config = cluster_config(Shape::default(), 7);
        let tap: Arc<Mutex<Doubler>> = Arc::default();
        let shared: Arc<Mutex<dyn Tap>> = tap.clone();
        let host = TappedHost::new(&config, NodeId(2), shared);
        let listener = host.listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_address().unwrap();
        let node = local(&config, transport_key(NodeId(2)), Role::Node);
        let served = async {
            let (stream, _) = listener.accept().await.unwrap();
            let admit = |_: &Hello| Ok::<_, Refusal>(Vec::new());
            respond(stream.split(), &node, HelloNonce([1; 32]), &admit).await.unwrap()
        };
        let client = local(&config, client_key(1), Role::Client);
        let dialled = async {
            let stream = SystemHost.connect(address).await.unwrap();
            let expected = transport_key(NodeId(2)).public();
            initiate(stream.split(), &client, HelloNonce([2; 32]), expected).await.unwrap()
        };
        let (mut here, mut there) = tokio::join!(served, dialled);
        // More than one step, more than a socket buffer: the ends must take turns.
        let long: Vec<u8> = (0..3_000_000u32).map(|number| number.to_le_bytes()[1]).collect();
        let sending = async {
            say(here.writer(), b"abc").await;
            say(here.writer(), &long).await;
        };
        let receiving = async {
            assert_eq!(hear(&mut there, 3).await, b"abc");
            assert_eq!(hear(&mut there, 3).await, b"cba");
            assert!(hear(&mut there, long.len()).await == long);
            let back = hear(&mut there, long.len()).await;
            assert!(back.iter().rev().eq(&long));
        };
        tokio::join!(sending, receiving);
        let way =
            Way { from: HostId(2), to: HostId(CLIENTS), opened_by_sender: false, connection: 0 };
        assert_eq!(tap.lock().unwrap().0, [way, way]);
    }
}
