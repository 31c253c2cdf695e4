//! Real sockets on loopback: dialing, listening, refusals, reconnecting.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "in a test a panic is the report"
)]

use std::net::SocketAddr;
use std::time::Duration;

use avid_net::{
    Connection, DialTarget, DialTimeouts, Hello, LinkError, LinkState, Listener, ListenerLimits,
    Local, PeerLink, Refusal, RefusalCode, Retry, Role, Stop, StopHandle, SystemHost, dial,
};
use avid_types::{ClusterId, Digest, Epoch, SigningKey};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

const CHUNK_BYTES: usize = 256 << 10;

#[tokio::test]
async fn a_client_and_a_node_exchange_frames() {
    soon(async {
        let mut node = Node::start(ListenerLimits::default());
        let mut client = node.dial(&local(1, Role::Client)).await.unwrap();
        let mut served = node.accepted().await;
        assert_eq!(served.peer().key(), key(1).public());
        assert_eq!(served.peer().hello.payload, b"payload of 1");
        assert_eq!(client.peer().accepted, b"welcome");

        let chunk = vec![5; CHUNK_BYTES];
        let sending = async {
            let writer = client.writer();
            writer.write_frame(20, 1, &[b"vote"]).await.unwrap();
            writer.write_frame(21, 1, &[b"prefix", &chunk]).await.unwrap();
            writer.write_frame(22, 1, &[]).await.unwrap();
            writer.close().await.unwrap();
        };
        let receiving = async {
            let reader = served.reader();
            assert_eq!(reader.next_header().await.unwrap().unwrap().kind, 20);
            assert_eq!(reader.read_body().await.unwrap(), b"vote");
            assert_eq!(reader.next_header().await.unwrap().unwrap().kind, 21);
            let (mut prefix, mut body) = ([0; 6], vec![0; CHUNK_BYTES]);
            reader.read_exact(&mut prefix).await.unwrap();
            reader.read_exact(&mut body).await.unwrap();
            assert!(prefix == *b"prefix" && body == chunk);
            assert_eq!(reader.next_header().await.unwrap().unwrap().body_bytes, 0);
            assert!(reader.next_header().await.unwrap().is_none());
        };
        tokio::join!(sending, receiving);
    })
    .await;
}

#[tokio::test]
async fn two_nodes_know_each_other() {
    soon(async {
        let mut node = Node::start(ListenerLimits::default());
        let near = node.dial(&local(3, Role::Node)).await.unwrap();
        let far = node.accepted().await;
        assert_eq!((near.peer().role(), far.peer().role()), (Role::Node, Role::Node));
        assert_eq!(far.peer().key(), key(3).public());
    })
    .await;
}

#[tokio::test]
async fn refusals_say_what_is_wrong_and_what_to_do() {
    soon(async {
        let node = Node::start(ListenerLimits::default());
        let foreign = Local { cluster: ClusterId([9; 16]), ..local(1, Role::Client) };
        let error = node.dial(&foreign).await.unwrap_err();
        assert_eq!(error.retry(), Retry::AfterChange);
        assert_mentions(&error, &["foreign cluster", &"09".repeat(16), &"01".repeat(16), "check"]);

        let outdated = Local { epoch: Epoch(1), ..local(1, Role::Client) };
        let error = node.dial(&outdated).await.unwrap_err();
        assert_mentions(&error, &["other configuration", "epoch 1", "epoch 3"]);

        let target = DialTarget { key: key(8).public(), ..node.target() };
        let error =
            dial(&SystemHost::shared(), &target, &local(1, Role::Client), DialTimeouts::default())
                .await;
        let (wanted, found) = (key(8).public().to_string(), key(NODE).public().to_string());
        assert_mentions(&error.unwrap_err(), &["wrong key", &wanted, &found, "key file"]);

        let error = node.dial(&local(BANNED, Role::Client)).await.unwrap_err();
        assert_mentions(&error, &["refused", "this key was revoked"]);
    })
    .await;
}

#[tokio::test]
async fn clients_beyond_the_bound_are_told_and_the_place_comes_back() {
    soon(async {
        let limits = ListenerLimits { clients_max: 1, ..ListenerLimits::default() };
        let mut node = Node::start(limits);
        let _first = node.dial(&local(1, Role::Client)).await.unwrap();
        let served = node.accepted().await;
        let error = node.dial(&local(2, Role::Client)).await.unwrap_err();
        assert_mentions(&error, &["every connection is taken"]);
        assert_eq!(error.retry(), Retry::Later);
        // A node has its own places.
        node.dial(&local(3, Role::Node)).await.unwrap();
        drop(served);
        node.dial(&local(2, Role::Client)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn strangers_beyond_the_bound_are_told_before_they_speak() {
    soon(async {
        let limits = ListenerLimits { handshakes_max: 0, ..ListenerLimits::default() };
        let node = Node::start(limits);
        let error = node.dial(&local(1, Role::Client)).await.unwrap_err();
        assert_mentions(&error, &["every connection is taken"]);
    })
    .await;
}

#[tokio::test]
async fn a_silent_stranger_is_hung_up_on() {
    soon(async {
        let handshake_timeout = Duration::from_millis(50);
        let node = Node::start(ListenerLimits { handshake_timeout, ..ListenerLimits::default() });
        let mut stranger = TcpStream::connect(node.address).await.unwrap();
        stranger.write_all(&[40, 0]).await.unwrap();
        assert_eq!(stranger.read(&mut [0; 64]).await.unwrap(), 0);
    })
    .await;
}

#[tokio::test]
async fn garbage_ends_the_connection_and_nothing_else() {
    soon(async {
        let mut node = Node::start(ListenerLimits::default());
        let mut stranger = TcpStream::connect(node.address).await.unwrap();
        stranger.write_all(&[0xff; 64]).await.unwrap();
        // The end may be a reset, since our bytes are unread.
        let received = stranger.read(&mut [0; 64]).await;
        assert!(matches!(received, Ok(0) | Err(_)), "{received:?}");
        node.dial(&local(1, Role::Client)).await.unwrap();
        node.accepted().await;
    })
    .await;
}

#[tokio::test]
async fn a_listener_has_the_addresses_it_was_given_and_no_other() {
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener =
        Listener::bind(&SystemHost::shared(), &[any_port, any_port], ListenerLimits::default())
            .unwrap();
    let addresses = listener.addresses();
    assert_eq!(addresses.len(), 2);
    assert!(addresses.iter().all(|address| address.ip() == any_port.ip()));
    let error = Listener::bind(&SystemHost::shared(), &[addresses[0]], ListenerLimits::default())
        .unwrap_err();
    assert_mentions(&error, &[&addresses[0].to_string(), "another process", "choose another port"]);
    let other_ip = SocketAddr::from(([127, 0, 0, 2], addresses[0].port()));
    assert!(TcpStream::connect(other_ip).await.is_err());
}

#[tokio::test]
async fn every_address_is_tried_and_each_failure_is_named() {
    soon(async {
        let mut node = Node::start(ListenerLimits::default());
        let closed = closed_port();
        let mut target = node.target();
        target.addresses.insert(0, closed.to_string());
        target.addresses.insert(0, "name-without-port".to_owned());
        let client = local(1, Role::Client);
        let connection =
            dial(&SystemHost::shared(), &target, &client, DialTimeouts::default()).await.unwrap();
        assert_eq!(connection.peer().address, Some(node.address));
        node.accepted().await;

        target.addresses.pop();
        let error = dial(&SystemHost::shared(), &target, &client, DialTimeouts::default())
            .await
            .unwrap_err();
        let closed = closed.to_string();
        assert_mentions(&error, &["name-without-port", "resolve", &closed, "node running"]);
        target.addresses.clear();
        let error = dial(&SystemHost::shared(), &target, &client, DialTimeouts::default())
            .await
            .unwrap_err();
        assert_mentions(&error, &["no address"]);
    })
    .await;
}

#[tokio::test]
async fn a_link_comes_back_after_its_connection_ends_and_stops_when_told() {
    soon(async {
        let mut node = Node::start(ListenerLimits::default());
        let link = PeerLink::new(SystemHost::shared(), node.target(), DialTimeouts::default());
        let mut status = link.status();
        let (handle, stop) = StopHandle::new();
        let serve = |mut connection: Connection| async move {
            while connection.reader().next_header().await?.is_some() {
                connection.reader().skip().await?;
            }
            Ok::<(), LinkError>(())
        };
        let running = tokio::spawn(link.run(stop, || local(3, Role::Node), || 0, serve));
        for _ in 0..3 {
            drop(node.accepted().await);
        }
        let _held = node.accepted().await;
        let connected = status.wait_for(|now| now.state == LinkState::Connected).await;
        assert_eq!(connected.unwrap().last_error, None);
        handle.stop();
        running.await.unwrap();
        assert_eq!(status.borrow().state, LinkState::Stopped);
    })
    .await;
}

#[tokio::test]
async fn a_link_without_a_peer_shows_why() {
    soon(async {
        let addresses = vec![closed_port().to_string()];
        let target = DialTarget { addresses, key: key(NODE).public() };
        let link = PeerLink::new(SystemHost::shared(), target, DialTimeouts::default());
        let mut status = link.status();
        let (handle, stop) = StopHandle::new();
        let serve = |_: Connection| async { Ok::<(), LinkError>(()) };
        let running = tokio::spawn(link.run(stop, || local(3, Role::Node), || 0, serve));
        let failed = status.wait_for(|now| now.failures >= 2).await.unwrap().clone();
        assert!(failed.last_error.unwrap().contains("cannot connect"));
        drop(handle);
        running.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_stopped_listener_is_gone() {
    soon(async {
        let mut node = Node::start(ListenerLimits::default());
        let _client = node.dial(&local(1, Role::Client)).await.unwrap();
        node.accepted().await;
        node.handle.stop();
        node.running.await.unwrap();
        assert!(TcpStream::connect(node.address).await.is_err());
    })
    .await;
}

/// Seed of the listening node's key.
const NODE: u8 = 200;
/// Seed of a key that the node refuses.
const BANNED: u8 = 66;

struct Node {
    address: SocketAddr,
    connections: mpsc::Receiver<Connection>,
    handle: StopHandle,
    running: tokio::task::JoinHandle<()>,
}

impl Node {
    fn start(limits: ListenerLimits) -> Self {
        let listener =
            Listener::bind(&SystemHost::shared(), &[SocketAddr::from(([127, 0, 0, 1], 0))], limits)
                .unwrap();
        let address = listener.addresses()[0];
        let (handle, stop): (StopHandle, Stop) = StopHandle::new();
        let (sender, connections) = mpsc::channel(4);
        let run = listener.run(stop, || local(NODE, Role::Node), admit, sender);
        Self { address, connections, handle, running: tokio::spawn(run) }
    }

    fn target(&self) -> DialTarget {
        DialTarget { addresses: vec![self.address.to_string()], key: key(NODE).public() }
    }

    async fn dial(&self, local: &Local) -> Result<Connection, avid_net::DialError> {
        dial(&SystemHost::shared(), &self.target(), local, DialTimeouts::default()).await
    }

    async fn accepted(&mut self) -> Connection {
        self.connections.recv().await.unwrap()
    }
}

fn admit(hello: &Hello) -> Result<Vec<u8>, Refusal> {
    if hello.key == key(BANNED).public() {
        return Err(Refusal::new(RefusalCode::NotAdmitted, "this key was revoked"));
    }
    Ok(b"welcome".to_vec())
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed([seed; 32])
}

fn local(seed: u8, role: Role) -> Local {
    Local {
        key: key(seed),
        role,
        cluster: ClusterId([1; 16]),
        epoch: Epoch(3),
        config: Digest([4; 32]),
        payload: format!("payload of {seed}").into_bytes(),
    }
}

/// A port that was free a moment ago.
fn closed_port() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn soon<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), test).await.unwrap()
}

fn assert_mentions(error: &dyn std::error::Error, words: &[&str]) {
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text:?}");
    }
}
