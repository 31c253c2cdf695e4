//! Lying clients: a key and a grant as anybody may have, and no manners.
//!
//! A liar dials nodes through a simulated host of its own, as production clients do, and then says
//! what it likes to whom it likes. [`forged`] makes its objects, [`play`] performs what it says,
//! [`adversaries`] are the named lies, [`moves`] the random ones.
//!
//! May: sign anything with its own key, present its own grant, read what its grant lets it read and
//! replay it, send any frames in any order to any nodes on as many connections as nodes accept,
//! stop at any moment, know everything that is public.
//! May not: sign as a node, the operator or another client; find collisions; see other clients'
//! frames unless a [`Recorder`] gives them to it.
//!
//! Spec: docs/protocol.md sections 5.3 and 6 (1 to 16).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use avid_net::{Connection, DialTarget, DialTimeouts, Host, Local, Role, dial};
use avid_protocol::certificate::CommitProof;
use avid_protocol::object::ObjectId;
use avid_protocol::wire::{HeadAnswer, Message};
use avid_types::{
    ClusterConfig, Encoder, Generation, NodeId, ObjectName, PublicKey, SigningKey, Timestamp,
};
use tokio::time::Instant;

use crate::host::{BEGIN, SimHost};
use crate::network::{HostId, Network};
use crate::random::Random;
use crate::tap::{Frame, Tap, Way};
use crate::trace::Trace;
use crate::world::{World, client_key, grant};

pub mod adversaries;
pub mod choices;
pub mod forged;
pub mod misbehave;
pub mod moves;
pub mod play;

use forged::{Forged, Named};
use play::{Heard, Plan, Play};

/// Host numbers of liars begin here, above those of honest clients.
const LIARS: u16 = 5000;
/// How long a liar waits for an answer to one question.
const ANSWER: Duration = Duration::from_secs(5);

/// What a liar needs of a world: handles only, so that it can run beside everything else.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The seed of the run.
    pub seed: u64,
    /// The agreed configuration.
    pub config: Arc<ClusterConfig>,
    /// Between all hosts.
    pub network: Network,
    /// What happened.
    pub trace: Trace,
    start: Instant,
}

impl Surroundings {
    /// Those of a world.
    #[must_use]
    pub fn of(world: &World) -> Self {
        Self {
            seed: world.seed,
            config: Arc::clone(&world.config),
            network: world.network.clone(),
            trace: world.trace.clone(),
            start: Instant::now() - Duration::from_millis(world.trace.millis()),
        }
    }

    /// True time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        BEGIN.plus(self.start.elapsed())
    }
}

/// A client that says what it likes; clones share host and key.
#[derive(Clone, Debug)]
pub struct LiarClient {
    around: Surroundings,
    host: Host,
    number: u16,
    key: SigningKey,
}

impl LiarClient {
    /// A liar with the key and the grant of a client number.
    #[must_use]
    pub fn new(around: &Surroundings, number: u16) -> Self {
        let random = Random::new(around.seed, &format!("liar {number}"));
        let id = HostId(LIARS + number);
        let network = around.network.clone();
        let host = Arc::new(SimHost::new(id, network, around.start, Arc::default(), random));
        Self { around: around.clone(), host, number, key: client_key(number) }
    }

    /// The agreed configuration.
    #[must_use]
    pub fn config(&self) -> &ClusterConfig {
        &self.around.config
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// The machine it runs on.
    #[must_use]
    pub fn host_id(&self) -> HostId {
        HostId(LIARS + self.number)
    }

    /// True time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.around.now()
    }

    /// All members.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeId> {
        self.config().nodes().map(|(node, _)| node).collect()
    }

    /// An object of its own, honest until changed, that may be aborted after `lifetime`.
    #[must_use]
    pub fn object(&self, name: &str, content: &[u8], lifetime: Duration) -> Forged {
        let expiry = self.now().plus(lifetime);
        let named = Named { name, generation: Generation(0), expiry };
        Forged::honest(self.config(), &self.key, &named, content)
    }

    /// An authenticated connection to a node, or nothing.
    pub async fn dial(&self, node: NodeId) -> Option<Connection> {
        let config = self.config();
        let member = config.member(node)?;
        let mut payload = Encoder::new();
        grant(config, &self.key).encode(&mut payload);
        let local = Local {
            key: self.key.clone(),
            role: Role::Client,
            cluster: config.cluster,
            epoch: config.epoch,
            config: config.digest(),
            payload: payload.into_vec(),
        };
        let target =
            DialTarget { addresses: vec![member.address.clone()], key: member.transport_key };
        dial(&self.host, &target, &local, DialTimeouts::default()).await.ok()
    }

    /// Performs a plan, all its connections at once.
    pub async fn perform(&self, plan: Plan) -> Vec<(NodeId, Heard)> {
        self.around.trace.event("lie", u64::from(self.number), &[]);
        play::perform(self, plan).await
    }

    /// Says one thing to one node and takes the answer.
    pub async fn ask(&self, node: NodeId, message: Message) -> Heard {
        let plays = vec![Play::Say(Box::new(message)), Play::Listen(ANSWER)];
        let heard = self.perform(vec![(node, plays)]).await;
        heard.into_iter().next().map(|(_, heard)| heard).unwrap_or_default()
    }

    /// What a node says of anybody's name.
    pub async fn head(
        &self,
        node: NodeId,
        owner: PublicKey,
        name: &ObjectName,
    ) -> Option<HeadAnswer> {
        let asked = Play::Say(Box::new(Message::Head { owner, name: name.clone() }));
        // Nodes wait for their own vote before they answer about an abort.
        let plays = vec![asked, Play::Listen(Duration::from_millis(2500))];
        let heard = self.perform(vec![(node, plays)]).await.into_iter().next()?.1;
        heard.others.into_iter().find_map(|message| match message {
            Message::HeadAnswer(answer) => Some(*answer),
            _ => None,
        })
    }

    /// The commit proof of anybody's object: it is public to readers.
    pub async fn proof_of(&self, object: &ObjectId) -> Option<CommitProof> {
        for node in self.nodes() {
            let answer = self.head(node, object.owner, &object.name).await;
            if let Some(proof) = answer.and_then(|answer| answer.committed) {
                return Some(*proof);
            }
        }
        None
    }
}

/// Keeps what a host sends, for somebody who replays it.
///
/// May: see every frame behind the handshake, as a proxy that ends the encryption would.
/// May not: change any.
#[derive(Clone, Debug, Default)]
pub struct Recorder(Arc<Mutex<Vec<(Way, Frame)>>>);

impl Recorder {
    /// Frames sent to a node so far, as plays.
    #[must_use]
    pub fn plays_to(&self, to: HostId) -> Vec<Play> {
        let frames = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = frames.iter().filter(|(way, _)| way.to == to && way.opened_by_sender);
        let raw = |(_, frame): &(Way, Frame)| Play::Raw {
            kind: frame.kind,
            version: frame.version,
            body: frame.body.clone(),
        };
        sent.map(raw).collect()
    }
}

impl Tap for Recorder {
    fn on_frame(&mut self, way: Way, frame: Frame, wire: &mut Vec<Frame>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((way, frame.clone()));
        wire.push(frame);
    }
}
