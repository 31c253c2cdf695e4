//! The client: what all operations share, and their entry points.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use avid_coding::StripeCoder;
use avid_net::Host;
use avid_protocol::verify::Verifier;
use avid_protocol::wire::Message;
use avid_types::{ClusterConfig, NodeId, Nonce, ObjectName, PublicKey, SigningKey};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::config::{ClientConfig, Timeouts};
use crate::disperse::{self, DisperseError, DisperseOptions, DisperseReport};
use crate::list::{self, ListError, ListResult};
use crate::order::{self, CancelReport, OrderError, RemoveReport};
use crate::patience::Patience;
use crate::pool::Pool;
use crate::progress::Progress;
use crate::retrieve::{self, RetrieveError, RetrieveReport};
use crate::session::NodeError;
use crate::sink::Sink;
use crate::source::Source;
use crate::stat::{self, NodeStatus, ObjectStatus, StatError};
use crate::verify::{self, VerifyObjectError, VerifyReport};

/// An object as users name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectRef {
    /// Whose object.
    pub owner: PublicKey,
    /// Its name.
    pub name: ObjectName,
}

/// What every operation needs.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) host: Host,
    pub(crate) config: Arc<ClusterConfig>,
    pub(crate) key: SigningKey,
    pub(crate) coder: Arc<StripeCoder>,
    pub(crate) pool: Pool,
    /// Proofs are verified one at a time; no chunk ever waits for this.
    pub(crate) verifier: Mutex<Verifier>,
    pub(crate) timeouts: Timeouts,
}

/// A client of one cluster. Cheap to clone; operations may run side by side.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
}

impl Client {
    /// A client that has connected to nobody yet.
    #[must_use]
    pub fn new(config: ClientConfig) -> Self {
        let coder = Arc::new(StripeCoder::new(config.cluster.params, config.cluster.suite));
        let shared = Shared {
            pool: Pool::new(&config),
            verifier: Mutex::new(Verifier::new(Arc::clone(&config.cluster))),
            host: config.host,
            config: config.cluster,
            key: config.key,
            coder,
            timeouts: config.timeouts,
        };
        Self { shared: Arc::new(shared) }
    }

    /// The key that owns what this client writes.
    #[must_use]
    pub fn owner(&self) -> PublicKey {
        self.shared.key.public()
    }

    /// This client's own object of a name.
    #[must_use]
    pub fn own(&self, name: &ObjectName) -> ObjectRef {
        ObjectRef { owner: self.owner(), name: name.clone() }
    }

    /// Writes an object. Returns once it is committed and either placed on all n nodes or the
    /// placement timeout has passed; `placed` says which fragments are.
    ///
    /// # Errors
    ///
    /// [`DisperseError`]: not committed as far as this client knows; repeating the call resumes.
    pub async fn disperse(
        &self,
        name: &ObjectName,
        source: Source,
        options: &DisperseOptions,
        progress: &dyn Progress,
    ) -> Result<DisperseReport, DisperseError> {
        Box::pin(disperse::disperse(&self.shared, name, source, options, progress)).await
    }

    /// Reads an object or a range of it. The sink receives verified bytes, in order.
    ///
    /// # Errors
    ///
    /// [`RetrieveError`] with the number of bytes the sink received before.
    pub async fn retrieve(
        &self,
        object: &ObjectRef,
        range: Option<Range<u64>>,
        sink: &mut dyn Sink,
        progress: &dyn Progress,
    ) -> Result<RetrieveReport, RetrieveError> {
        Box::pin(retrieve::retrieve(&self.shared, object, range, sink, progress)).await
    }

    /// Reads every fragment of an object on every node and checks each chunk.
    ///
    /// # Errors
    ///
    /// [`VerifyObjectError`] if the object itself is not known.
    pub async fn verify(
        &self,
        object: &ObjectRef,
        progress: &dyn Progress,
    ) -> Result<VerifyReport, VerifyObjectError> {
        Box::pin(verify::verify(&self.shared, object, progress)).await
    }

    /// What the nodes say of an object just now.
    ///
    /// # Errors
    ///
    /// [`StatError`] if no nonce can be drawn.
    pub async fn stat(&self, object: &ObjectRef) -> Result<ObjectStatus, StatError> {
        Box::pin(stat::stat(&self.shared, object)).await
    }

    /// One page of an owner's objects, ordered by name.
    ///
    /// # Errors
    ///
    /// [`ListError`] if no node answers.
    pub async fn list(
        &self,
        owner: PublicKey,
        prefix: &str,
        after: Option<&ObjectName>,
        limit: u16,
    ) -> Result<ListResult, ListError> {
        Box::pin(list::list(&self.shared, owner, prefix, after, limit)).await
    }

    /// Deletes this client's object of that name, committed or not.
    ///
    /// # Errors
    ///
    /// [`OrderError`]; repeating the call is safe.
    pub async fn remove(&self, name: &ObjectName) -> Result<RemoveReport, OrderError> {
        Box::pin(order::remove(&self.shared, name)).await
    }

    /// Ends this client's unfinished dispersal of that name.
    ///
    /// # Errors
    ///
    /// [`OrderError`]; repeating the call is safe.
    pub async fn cancel(&self, name: &ObjectName) -> Result<CancelReport, OrderError> {
        Box::pin(order::cancel(&self.shared, name)).await
    }

    /// What every node says of itself.
    pub async fn status(&self) -> Vec<NodeStatus> {
        Box::pin(stat::status(&self.shared)).await
    }
}

/// Whom to ask again, and for whom to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asking {
    /// Nobody is asked again: reads fail fast.
    Once,
    /// Nodes that may take part soon are asked again until enough answered.
    UntilEnough,
    /// The same, and the first answer of everybody else is awaited.
    UntilAll,
}

/// Answers of nodes to one question.
pub(crate) type Answers = BTreeMap<NodeId, Result<Message, NodeError>>;

impl Shared {
    /// Puts one question to many nodes at once.
    ///
    /// `enough` tells whether the nodes with a property would be enough. Once those that answered
    /// are, the others get a grace, or with [`Asking::UntilAll`] the time for a whole answer.
    pub(crate) async fn ask_all(
        self: &Arc<Self>,
        nodes: impl Iterator<Item = NodeId>,
        message: Message,
        enough: impl Fn(&dyn Fn(&NodeId) -> bool) -> bool,
        asking: Asking,
    ) -> Answers {
        let message = Arc::new(message);
        let patience = Patience::start(&self.timeouts);
        let asked: BTreeSet<NodeId> = nodes.collect();
        let mut calls = JoinSet::new();
        for node in &asked {
            self.ask(&mut calls, *node, &message, None);
        }
        let limit = self.timeouts.dial.connect + self.timeouts.answer;
        let mut deadline = Instant::now() + limit;
        let mut is_enough = false;
        let mut answers = Answers::new();
        while let Ok(Some(joined)) = tokio::time::timeout_at(deadline, calls.join_next()).await {
            let Ok((node, answer)) = joined else {
                continue; // A panic in a task of ours; the node counts as silent below.
            };
            let pause = answer.as_ref().err().and_then(|error| patience.pause(error));
            answers.insert(node, answer);
            if !is_enough && enough(&|node| answers.get(node).is_some_and(Result::is_ok)) {
                is_enough = true;
                if asking != Asking::UntilAll {
                    deadline = deadline.min(Instant::now() + self.timeouts.answer_grace);
                }
            }
            if is_enough && answers.len() == asked.len() {
                break; // What is still under way are repetitions.
            }
            if let Some(pause) = pause.filter(|_| asking != Asking::Once && !is_enough) {
                // Whoever is silent so far may still answer.
                let may_help = |node: &NodeId| {
                    let answer = answers.get(node).and_then(|answer| answer.as_ref().err());
                    answer.is_none_or(|error| patience.pause(error).is_some())
                };
                if enough(&may_help) {
                    self.ask(&mut calls, node, &message, Some(pause));
                    deadline = deadline.max(Instant::now() + pause + limit);
                }
            }
        }
        let waited = if is_enough { self.timeouts.answer_grace } else { limit };
        for node in asked {
            answers
                .entry(node)
                .or_insert(Err(NodeError::Silent { doing: "answering", limit: waited }));
        }
        answers
    }

    fn ask(
        self: &Arc<Self>,
        calls: &mut JoinSet<(NodeId, Result<Message, NodeError>)>,
        node: NodeId,
        message: &Arc<Message>,
        pause: Option<Duration>,
    ) {
        let (shared, message) = (Arc::clone(self), Arc::clone(message));
        calls.spawn(async move {
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
                shared.pool.forget_failure(node);
            }
            (node, shared.pool.call(node, &message).await)
        });
    }

    /// Whether every group has n - f nodes with a property.
    pub(crate) fn quorum_of(&self, has: impl Fn(&NodeId) -> bool) -> bool {
        let needed = self.config.params.answer_quorum();
        self.config
            .groups
            .iter()
            .all(|group| group.iter().filter(|node| has(node)).count() >= needed)
    }

    /// Every member.
    pub(crate) fn members(&self) -> impl Iterator<Item = NodeId> + use<> {
        self.config.nodes().map(|(node, _)| node).collect::<Vec<_>>().into_iter()
    }

    /// The nodes of one upload, in slot order.
    pub(crate) fn nodes_of(&self, upload: avid_types::UploadId) -> Vec<(avid_types::Slot, NodeId)> {
        let config = &self.config;
        let pair = |slot| config.node_at(upload, slot).map(|node| (slot, node));
        config.params.slots().filter_map(pair).collect()
    }

    pub(crate) fn nonce(&self) -> std::io::Result<Nonce> {
        let mut bytes = [0; Nonce::BYTES];
        self.host.random(&mut bytes)?;
        Ok(Nonce(bytes))
    }

    /// This machine's clock, used for proposals only: nodes decide by cluster time (TIME-1).
    pub(crate) fn local_time(&self) -> avid_types::Timestamp {
        self.host.wall_clock()
    }
}
