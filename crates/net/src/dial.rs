//! Connecting to a node: resolve, try every address, shake hands.
//!
//! Addresses are hints; the expected key decides. A name that resolves to several addresses, or a
//! target with several names, is tried in order until one of them proves that key.
//!
//! Spec: docs/protocol.md section 5.3.
//! Bounds: [`ADDRESSES_TRIED_MAX`] attempts, each under [`DialTimeouts`].
//! Not here: trying again later ([`crate::link`]).

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use avid_types::PublicKey;
use avid_types::limits::HANDSHAKE_TIMEOUT;

use crate::connection::Connection;
use crate::error::{HandshakeError, Retry};
use crate::handshake::{self, HelloNonce, Local};
use crate::host::Host;

/// Addresses tried by one call: a name with more is a mistake or an attack on our patience.
pub const ADDRESSES_TRIED_MAX: usize = 16;

/// A node to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialTarget {
    /// `host:port` each, tried in order.
    pub addresses: Vec<String>,
    /// The transport key it must prove.
    pub key: PublicKey,
}

/// How long one attempt may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DialTimeouts {
    /// Until a name is resolved, or an address has answered.
    pub connect: Duration,
    /// Until both sides know each other.
    pub handshake: Duration,
}

impl Default for DialTimeouts {
    /// Five seconds outlast two lost SYN packets (1 s, then 2 s); the handshake has its limit.
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), handshake: HANDSHAKE_TIMEOUT }
    }
}

/// No address led to the node.
#[derive(Debug, thiserror::Error)]
pub struct DialError {
    /// Every address tried, with what happened; empty if there was none to try.
    pub attempts: Vec<Attempt>,
}

/// One address that did not lead to the node.
#[derive(Debug)]
pub struct Attempt {
    /// The address as configured, with the address it resolved to where they differ.
    pub address: String,
    /// What happened.
    pub error: AttemptError,
}

/// What happened at one address.
#[derive(Debug, thiserror::Error)]
pub enum AttemptError {
    /// The name has no address.
    #[error("name does not resolve ({0}); check the spelling and the resolver")]
    Resolve(io::Error),
    /// Nobody answered.
    #[error("cannot connect ({0}); is the node running and the port open?")]
    Connect(io::Error),
    /// Nobody answered in time.
    #[error("no answer within {} s; is the host up and the port open?", .0.as_secs_f32())]
    Timeout(Duration),
    /// Somebody answered, and is not the node we want or does not want us.
    #[error(transparent)]
    Handshake(HandshakeError),
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.attempts.is_empty() {
            return f.write_str("no address to connect to; add one to the configuration");
        }
        for (index, attempt) in self.attempts.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{}: {}", attempt.address, attempt.error)?;
            let mut source = std::error::Error::source(&attempt.error);
            while let Some(cause) = source {
                write!(f, ": {cause}")?;
                source = cause.source();
            }
        }
        Ok(())
    }
}

impl DialError {
    /// Whether trying again may help: yes, unless every attempt needs a change first.
    #[must_use]
    pub fn retry(&self) -> Retry {
        let is_later = |attempt: &Attempt| match &attempt.error {
            AttemptError::Resolve(_) | AttemptError::Connect(_) | AttemptError::Timeout(_) => true,
            AttemptError::Handshake(error) => error.retry() == Retry::Later,
        };
        if self.attempts.iter().any(is_later) { Retry::Later } else { Retry::AfterChange }
    }
}

/// Connects to a node and proves both keys.
///
/// # Errors
///
/// [`DialError`] with one entry per address tried.
pub async fn dial(
    host: &Host,
    target: &DialTarget,
    local: &Local,
    timeouts: DialTimeouts,
) -> Result<Connection, DialError> {
    let mut attempts = Vec::new();
    for name in &target.addresses {
        let addresses = match resolve(host, name, timeouts.connect).await {
            Ok(addresses) => addresses,
            Err(error) => {
                attempts.push(Attempt { address: name.clone(), error });
                continue;
            }
        };
        for address in addresses {
            if attempts.len() >= ADDRESSES_TRIED_MAX {
                return Err(DialError { attempts });
            }
            match dial_address(host, address, target.key, (local, timeouts)).await {
                Ok(connection) => return Ok(connection),
                Err(error) => attempts.push(Attempt { address: shown(name, address), error }),
            }
        }
    }
    Err(DialError { attempts })
}

async fn resolve(
    host: &Host,
    name: &str,
    limit: Duration,
) -> Result<Vec<SocketAddr>, AttemptError> {
    let lookup = tokio::time::timeout(limit, host.resolve(name));
    let found = lookup.await.map_err(|_elapsed| AttemptError::Timeout(limit))?;
    let mut addresses = found.map_err(AttemptError::Resolve)?;
    addresses.truncate(ADDRESSES_TRIED_MAX);
    if addresses.is_empty() {
        return Err(AttemptError::Resolve(io::ErrorKind::NotFound.into()));
    }
    Ok(addresses)
}

async fn dial_address(
    host: &Host,
    address: SocketAddr,
    key: PublicKey,
    (local, timeouts): (&Local, DialTimeouts),
) -> Result<Connection, AttemptError> {
    let connect = tokio::time::timeout(timeouts.connect, host.connect(address));
    let stream = connect.await.map_err(|_elapsed| AttemptError::Timeout(timeouts.connect))?;
    let stream = stream.map_err(AttemptError::Connect)?;
    let nonce = HelloNonce::draw(host).map_err(AttemptError::Handshake)?;
    let exchange = handshake::initiate(stream.split(), local, nonce, key);
    let connection =
        handshake::within(timeouts.handshake, exchange).await.map_err(AttemptError::Handshake)?;
    Ok(handshake::with_address(connection, Some(address)))
}

fn shown(name: &str, address: SocketAddr) -> String {
    let resolved = address.to_string();
    if name == resolved { resolved } else { format!("{name} ({resolved})") }
}
