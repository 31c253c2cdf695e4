//! Connections to every node: dialled on demand, reused when idle, failures remembered briefly.
//!
//! Invariant: an idle connection has no request under way.
//! Bounds: [`IDLE_MAX`] idle connections per node.
//! Not here: what is said on them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use avid_net::{DialError, DialTarget, Host, Local, Role, dial};
use avid_types::{Encoder, NodeId};
use tokio::time::Instant;

use crate::config::{ClientConfig, Timeouts};
use crate::session::{NodeError, Session};

/// Idle connections kept per node: one stream, one for retries, two for questions.
const IDLE_MAX: usize = 4;

#[derive(Debug)]
pub(crate) struct Pool {
    host: Host,
    local: Local,
    timeouts: Timeouts,
    nodes: BTreeMap<NodeId, NodePool>,
}

#[derive(Debug)]
struct NodePool {
    target: DialTarget,
    idle: Mutex<Vec<(Instant, Session)>>,
    down: Mutex<Option<(Instant, Arc<DialError>)>>,
}

impl Pool {
    pub(crate) fn new(config: &ClientConfig) -> Self {
        let mut payload = Encoder::new();
        if let Some(grant) = &config.grant {
            grant.encode(&mut payload);
        }
        let local = Local {
            key: config.key.clone(),
            role: Role::Client,
            cluster: config.cluster.cluster,
            epoch: config.cluster.epoch,
            config: config.cluster.digest(),
            payload: payload.into_vec(),
        };
        let pool_of = |(id, member): (NodeId, &avid_types::MemberConfig)| {
            let address = config.addresses.get(&id).unwrap_or(&member.address).clone();
            let target = DialTarget { addresses: vec![address], key: member.transport_key };
            (id, NodePool { target, idle: Mutex::default(), down: Mutex::default() })
        };
        let nodes = config.cluster.nodes().map(pool_of).collect();
        Self { host: Arc::clone(&config.host), local, timeouts: config.timeouts, nodes }
    }

    /// A connection that nobody else uses.
    pub(crate) async fn get(&self, node: NodeId) -> Result<Session, NodeError> {
        let Some(pool) = self.nodes.get(&node) else {
            let nowhere = DialError { attempts: Vec::new() };
            return Err(NodeError::Unreachable(Arc::new(nowhere)));
        };
        if let Some(session) = pool.take_idle(self.timeouts.idle) {
            return Ok(session);
        }
        if let Some(error) = pool.recent_failure(self.timeouts.down_memory) {
            return Err(NodeError::Unreachable(error));
        }
        match dial(&self.host, &pool.target, &self.local, self.timeouts.dial).await {
            Ok(connection) => {
                *locked(&pool.down) = None;
                Ok(Session::new(connection))
            }
            Err(error) => {
                let error = Arc::new(error);
                *locked(&pool.down) = Some((Instant::now(), Arc::clone(&error)));
                Err(NodeError::Unreachable(error))
            }
        }
    }

    /// Forgets that a node did not answer: the next question dials it again.
    pub(crate) fn forget_failure(&self, node: NodeId) {
        if let Some(pool) = self.nodes.get(&node) {
            *locked(&pool.down) = None;
        }
    }

    /// Takes back a connection on which every answer was read.
    pub(crate) fn put(&self, node: NodeId, mut session: Session) {
        let Some(pool) = self.nodes.get(&node) else {
            return;
        };
        let mut idle = locked(&pool.idle);
        if idle.len() < IDLE_MAX {
            session.reused = true;
            idle.push((Instant::now(), session));
        }
    }

    /// Asks one question on a pooled connection; dials anew if that one had been closed.
    pub(crate) async fn call(
        &self,
        node: NodeId,
        message: &avid_protocol::wire::Message,
    ) -> Result<avid_protocol::wire::Message, NodeError> {
        loop {
            let mut session = self.get(node).await?;
            match session.call(message, self.timeouts.answer).await {
                Ok(answer) => {
                    self.put(node, session);
                    return Ok(answer);
                }
                // Each round uses up one idle connection, so this ends with a fresh one.
                Err(error) if session.reused && error.is_stale() => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl NodePool {
    fn take_idle(&self, age_max: Duration) -> Option<Session> {
        let mut idle = locked(&self.idle);
        idle.retain(|(since, _)| since.elapsed() < age_max);
        idle.pop().map(|(_, session)| session)
    }

    fn recent_failure(&self, age_max: Duration) -> Option<Arc<DialError>> {
        let down = locked(&self.down);
        let (since, error) = down.as_ref()?;
        (since.elapsed() < age_max).then(|| Arc::clone(error))
    }
}

/// What a panicking holder left behind is still a valid list or option.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
