//! A lying node: the adversarial shell of the demo.
//!
//! It sits at the address of one node of the cluster the demo has just made, proves that node's own
//! transport key, passes every conversation on to the real process behind it, and flips one bit in
//! each chunk that comes back. Nothing else in the program can build one: the constructor takes a
//! [`DemoCluster`], which only the demo makes, in a directory of its own with fresh keys; no flag,
//! variable or configuration of a served node leads here.
//!
//! It may: change any byte of any answer. It does: change the last byte of every chunk, and leave
//! signatures, proofs and cross-checksums alone, which is the hardest to notice without hashes.
//!
//! Bounds: one frame per direction and connection.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use avid_net::{
    Connection, DialTarget, DialTimeouts, FrameReader, FrameWriter, Hello, LinkError, Listener,
    ListenerLimits, Local, Refusal, RefusalCode, Role, StopHandle, SystemHost, dial,
};
use avid_protocol::wire::kind;
use avid_types::{Encoder, NodeId, PublicKey};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use crate::demo::stage::DemoCluster;
use crate::error::{CliError, Kind};

/// Connections waiting to be served.
const WAITING_MAX: usize = 16;

/// A running liar; it ends when dropped.
#[derive(Debug)]
pub(crate) struct Liar {
    stop: StopHandle,
    tasks: [JoinHandle<()>; 2],
    lies: Arc<AtomicU64>,
}

/// What its connections share.
#[derive(Debug)]
struct Mask {
    /// How we enter at the real node: as the demo's own client.
    client: Local,
    /// The real node.
    target: DialTarget,
    lies: Arc<AtomicU64>,
}

impl Liar {
    /// Takes the place of a stopped node whose real process listens on `real_port`.
    ///
    /// # Errors
    ///
    /// [`CliError`] if the node's address cannot be listened on.
    pub(crate) fn start(
        cluster: &DemoCluster,
        node: NodeId,
        real_port: u16,
    ) -> Result<Self, CliError> {
        let (config, secret) = (cluster.config(), cluster.node_key(node)?);
        let address = secret.address.parse::<SocketAddr>();
        let address = address.map_err(|_| CliError::new(Kind::Other, "no loopback address"))?;
        let listener = Listener::bind(&SystemHost::shared(), &[address], ListenerLimits::default())
            .map_err(|error| CliError::local(crate::error::chain(&error)))?;
        let local = |key, role, payload| Local {
            key,
            role,
            cluster: config.cluster,
            epoch: config.epoch,
            config: config.digest(),
            payload,
        };
        let transport = secret.transport_seed.key();
        let mut grant = Encoder::new();
        if let Some(signed) = &cluster.client_key().grant {
            signed.encode(&mut grant);
        }
        let lies = Arc::new(AtomicU64::new(0));
        let mask = Mask {
            client: local(cluster.client_key().seed.key(), Role::Client, grant.into_vec()),
            target: DialTarget {
                addresses: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, real_port)).to_string()],
                key: transport.public(),
            },
            lies: Arc::clone(&lies),
        };
        let known = cluster.client_key().seed.key().public();
        let face = local(transport, Role::Node, Vec::new());
        let (stop, stopped) = StopHandle::new();
        let (sender, connections) = mpsc::channel(WAITING_MAX);
        let listening = listener.run(
            stopped,
            move || face.clone(),
            move |hello: &Hello| admit(hello, known),
            sender,
        );
        let tasks = [tokio::spawn(listening), tokio::spawn(serve(Arc::new(mask), connections))];
        Ok(Self { stop, tasks, lies })
    }

    /// Chunks changed so far.
    #[must_use]
    pub(crate) fn lies(&self) -> u64 {
        self.lies.load(Ordering::Relaxed)
    }

    /// Gives the address back.
    pub(crate) async fn stop(mut self) {
        self.stop.stop();
        for task in &mut self.tasks {
            task.abort();
            // Cancelled on purpose; only that it has ended matters.
            drop(task.await);
        }
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Only the demo's own client is lied to; other nodes wait until the real one is back.
fn admit(hello: &Hello, known: PublicKey) -> Result<Vec<u8>, Refusal> {
    if hello.role == Role::Client && hello.key == known {
        return Ok(Vec::new());
    }
    let code = RefusalCode::ShuttingDown;
    Err(Refusal::new(code, code.sentence()))
}

async fn serve(mask: Arc<Mask>, mut connections: mpsc::Receiver<Connection>) {
    let mut tasks = JoinSet::new();
    while let Some(connection) = connections.recv().await {
        while tasks.try_join_next().is_some() {}
        let mask = Arc::clone(&mask);
        tasks.spawn(async move {
            if let Err(error) = relay(&mask, connection).await {
                tracing::debug!(%error, "a conversation of the liar ended");
            }
        });
    }
}

async fn relay(mask: &Mask, victim: Connection) -> Result<(), LinkError> {
    let Ok(real) =
        dial(&SystemHost::shared(), &mask.target, &mask.client, DialTimeouts::default()).await
    else {
        return Ok(());
    };
    let (_, mut questions, mut lies) = victim.split();
    let (_, mut truths, mut onward) = real.split();
    tokio::select! {
        ended = pass_on(&mut questions, &mut onward, |_kind, _body| {}) => ended,
        ended = pass_on(&mut truths, &mut lies, |frame, body| mask.lie(frame, body)) => ended,
    }
}

/// Copies frames from one side to the other until one of them ends.
async fn pass_on(
    from: &mut FrameReader,
    to: &mut FrameWriter,
    change: impl Fn(u8, &mut [u8]),
) -> Result<(), LinkError> {
    while let Some(header) = from.next_header().await? {
        let mut body = vec![0; header.body_bytes];
        from.read_exact(&mut body).await?;
        change(header.kind, &mut body);
        to.write_frame(header.kind, header.version, &[&body]).await?;
        to.flush().await?;
    }
    to.close().await
}

impl Mask {
    fn lie(&self, frame: u8, body: &mut [u8]) {
        if frame != kind::FRAG {
            return;
        }
        // The chunk stands last in a FRAG frame.
        if let Some(last) = body.last_mut() {
            *last ^= 1;
            self.lies.fetch_add(1, Ordering::Relaxed);
        }
    }
}
