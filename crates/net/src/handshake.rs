//! The handshake: both sides name cluster, epoch and configuration, and prove a key.
//!
//! ```text
//! initiator                              responder
//!    │ HELLO {nonce, key, payload, …} ──────► │   checks magic and shape
//!    │ ◄────── HELLO {nonce, key, payload, …} │   then compares cluster, configuration, versions
//!    │ ◄─────────────────── AUTH {signature}  │
//!    │   compares, checks key and signature   │
//!    │ AUTH {signature}, ACCEPT {} ─────────► │   checks the signature, asks Admit
//!    │ ◄───────────────── ACCEPT {payload}    │
//! instead of any message: REFUSE {code, text}, then the sender closes
//! ```
//!
//! A signature covers both hellos and the role of its signer, so it fits this connection and this
//! direction only: replay fails on the nonces, reflection on the role (and on our own key coming
//! back). The payloads are opaque here: a node puts its boot counter and journal position there
//! (AMNESIA-1), a client its grant. [`Admit`] sees them only after the key is proved.
//!
//! In plain mode nothing binds later frames to the handshake against someone who alters packets:
//! everything that counts carries its own signature (SIGN-1). Under TLS the same messages run inside.
//!
//! Spec: docs/protocol.md AMNESIA-1, section 5.3.
//! Bounds: two frames of [`HANDSHAKE_FRAME_BYTES_MAX`](crate::frame::HANDSHAKE_FRAME_BYTES_MAX)
//! per connection, [`HANDSHAKE_TIMEOUT`](avid_types::limits::HANDSHAKE_TIMEOUT) in all.
//! Not here: which keys are members, what a grant allows (`node`), encodings ([`message`]).

pub mod message;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use avid_types::{ClusterId, Digest, Epoch, PublicKey, Signature, SigningKey};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::connection::{Connection, FrameReader, FrameWriter, Peer};
use crate::error::HandshakeError;
use crate::frame::{FRAME_VERSION_NEWEST, FRAME_VERSION_OLDEST, HANDSHAKE_PAYLOAD_BYTES_MAX};
use crate::handshake::message::{
    HANDSHAKE_VERSION, KIND_ACCEPT, KIND_AUTH, KIND_HELLO, KIND_REFUSE, signed_bytes,
};
pub use crate::handshake::message::{Hello, HelloNonce, Refusal, RefusalCode, Role, Side};

/// What we say of ourselves, and the key that proves it.
#[derive(Clone, Debug)]
pub struct Local {
    /// Transport key of a node, or a client's key.
    pub key: SigningKey,
    /// What we take part as.
    pub role: Role,
    /// Our cluster.
    pub cluster: ClusterId,
    /// The epoch of our configuration.
    pub epoch: Epoch,
    /// Digest of our configuration.
    pub config: Digest,
    /// Opaque bytes for the peer.
    pub payload: Vec<u8>,
}

/// Decides which proved peers may enter.
pub trait Admit: Send + Sync {
    /// Answers with the bytes that go back to the peer, or with why it stays out.
    ///
    /// Key, cluster and configuration of `hello` are checked; its payload is whatever the holder
    /// of that key wrote. Called between two messages: it must not block.
    ///
    /// # Errors
    ///
    /// A [`Refusal`], which is sent to the peer.
    fn admit(&self, hello: &Hello) -> Result<Vec<u8>, Refusal>;
}

impl<F> Admit for F
where
    F: Fn(&Hello) -> Result<Vec<u8>, Refusal> + Send + Sync,
{
    fn admit(&self, hello: &Hello) -> Result<Vec<u8>, Refusal> {
        self(hello)
    }
}

/// Bytes read from a refused peer so that the reset of a closed socket does not eat our answer.
const DRAIN_BYTES_MAX: usize = 128 << 10;
/// Time for a refused peer to read the answer.
pub(crate) const REFUSAL_LINGER: Duration = Duration::from_millis(500);

/// Runs the handshake as the side that connected.
///
/// `expected` is the transport key of the node that was dialled.
///
/// # Errors
///
/// [`HandshakeError`]; the connection is closed then, and the peer told why where that makes sense.
pub async fn initiate<R, W>(
    halves: (R, W),
    local: &Local,
    nonce: HelloNonce,
    expected: PublicKey,
) -> Result<Connection<R, W>, HandshakeError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut wire = Wire::new(halves);
    match wire.initiate(local, nonce, expected).await {
        Ok(peer) => Ok(wire.into_connection(peer)),
        Err(error) => Err(wire.refuse(error).await),
    }
}

/// Runs the handshake as the side that was connected to.
///
/// # Errors
///
/// [`HandshakeError`]; the connection is closed then, and the peer told why where that makes sense.
pub async fn respond<R, W>(
    halves: (R, W),
    local: &Local,
    nonce: HelloNonce,
    admit: &(impl Admit + ?Sized),
) -> Result<Connection<R, W>, HandshakeError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut wire = Wire::new(halves);
    match wire.respond(local, nonce, admit).await {
        Ok(peer) => Ok(wire.into_connection(peer)),
        Err(error) => Err(wire.refuse(error).await),
    }
}

/// Runs a handshake under a deadline.
///
/// # Errors
///
/// [`HandshakeError::Timeout`] after `limit`, otherwise what the handshake returned.
pub async fn within<C>(
    limit: Duration,
    handshake: impl Future<Output = Result<C, HandshakeError>>,
) -> Result<C, HandshakeError> {
    match tokio::time::timeout(limit, handshake).await {
        Ok(result) => result,
        Err(_elapsed) => Err(HandshakeError::Timeout { limit }),
    }
}

/// Compares the hellos; returns the version of application frames both sides speak.
///
/// # Errors
///
/// The first difference, with both values.
pub fn check_hello(ours: &Hello, theirs: &Hello) -> Result<u8, HandshakeError> {
    if ours.cluster != theirs.cluster {
        return Err(HandshakeError::ForeignCluster { ours: ours.cluster, theirs: theirs.cluster });
    }
    if (ours.epoch, ours.config) != (theirs.epoch, theirs.config) {
        return Err(HandshakeError::OtherConfiguration {
            ours: (ours.epoch, ours.config),
            theirs: (theirs.epoch, theirs.config),
        });
    }
    if ours.key == theirs.key || ours.nonce == theirs.nonce {
        return Err(HandshakeError::OwnKey { key: ours.key });
    }
    let newest_common = ours.frame_version_max.min(theirs.frame_version_max);
    if newest_common < ours.frame_version_min.max(theirs.frame_version_min) {
        return Err(HandshakeError::Version {
            ours: (ours.frame_version_min, ours.frame_version_max),
            theirs: (theirs.frame_version_min, theirs.frame_version_max),
        });
    }
    Ok(newest_common)
}

/// What we say of ourselves on one connection.
///
/// # Errors
///
/// [`HandshakeError::PayloadTooLong`].
pub fn hello_of(local: &Local, nonce: HelloNonce) -> Result<Hello, HandshakeError> {
    check_payload(&local.payload)?;
    Ok(Hello {
        frame_version_min: FRAME_VERSION_OLDEST,
        frame_version_max: FRAME_VERSION_NEWEST,
        role: local.role,
        cluster: local.cluster,
        epoch: local.epoch,
        config: local.config,
        key: local.key.public(),
        nonce,
        payload: local.payload.clone(),
    })
}

/// Tells a peer that it is refused before it said anything, then closes.
pub(crate) async fn refuse_unheard<R, W>(halves: (R, W), refusal: &Refusal)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    Wire::new(halves).send_refusal(refusal).await;
}

fn check_payload(payload: &[u8]) -> Result<(), HandshakeError> {
    if payload.len() > HANDSHAKE_PAYLOAD_BYTES_MAX {
        let (bytes, max) = (payload.len(), HANDSHAKE_PAYLOAD_BYTES_MAX);
        return Err(HandshakeError::PayloadTooLong { bytes, max });
    }
    Ok(())
}

/// Both directions while the handshake runs.
struct Wire<R, W> {
    reader: FrameReader<R>,
    writer: FrameWriter<W>,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Wire<R, W> {
    fn new((read, write): (R, W)) -> Self {
        Self { reader: FrameReader::new(read), writer: FrameWriter::new(write) }
    }

    fn into_connection(mut self, peer: Peer) -> Connection<R, W> {
        self.reader.open();
        self.writer.open();
        Connection::new(peer, self.reader, self.writer)
    }

    async fn initiate(
        &mut self,
        local: &Local,
        nonce: HelloNonce,
        expected: PublicKey,
    ) -> Result<Peer, HandshakeError> {
        let ours = hello_of(local, nonce)?;
        let our_bytes = ours.to_bytes();
        self.send(KIND_HELLO, &our_bytes).await?;
        self.writer.flush().await?;
        let their_bytes = self.receive(KIND_HELLO).await?;
        let theirs = message::decode_hello(&their_bytes)?;
        let frame_version = check_hello(&ours, &theirs)?;
        if theirs.role != Role::Node {
            return Err(HandshakeError::WrongRole { expected: Role::Node, found: theirs.role });
        }
        if theirs.key != expected {
            return Err(HandshakeError::WrongKey { expected, found: theirs.key });
        }
        let signed = |side| signed_bytes(side, &our_bytes, &their_bytes);
        self.receive_auth(theirs.key, &signed(Side::Responder)).await?;
        self.send(KIND_AUTH, &local.key.sign(&signed(Side::Initiator)).0).await?;
        self.send(KIND_ACCEPT, &message::encode_accept(&[])).await?;
        self.writer.flush().await?;
        let accepted = message::decode_accept(&self.receive(KIND_ACCEPT).await?)?;
        Ok(Peer { hello: theirs, accepted, frame_version, address: None })
    }

    async fn respond(
        &mut self,
        local: &Local,
        nonce: HelloNonce,
        admit: &(impl Admit + ?Sized),
    ) -> Result<Peer, HandshakeError> {
        let ours = hello_of(local, nonce)?;
        let our_bytes = ours.to_bytes();
        let their_bytes = self.receive(KIND_HELLO).await?;
        let theirs = message::decode_hello(&their_bytes)?;
        // Our hello goes out even to a peer we shall refuse: it then sees both values itself.
        self.send(KIND_HELLO, &our_bytes).await?;
        let frame_version = check_hello(&ours, &theirs)?;
        let signed = |side| signed_bytes(side, &their_bytes, &our_bytes);
        self.send(KIND_AUTH, &local.key.sign(&signed(Side::Responder)).0).await?;
        self.writer.flush().await?;
        self.receive_auth(theirs.key, &signed(Side::Initiator)).await?;
        let accepted = message::decode_accept(&self.receive(KIND_ACCEPT).await?)?;
        let answer = admit.admit(&theirs).map_err(HandshakeError::NotAdmitted)?;
        check_payload(&answer)?;
        self.send(KIND_ACCEPT, &message::encode_accept(&answer)).await?;
        self.writer.flush().await?;
        Ok(Peer { hello: theirs, accepted, frame_version, address: None })
    }

    async fn send(&mut self, kind: u8, body: &[u8]) -> Result<(), HandshakeError> {
        Ok(self.writer.write_frame(kind, HANDSHAKE_VERSION, &[body]).await?)
    }

    /// The body of the next frame, which must be of `expected` type or a refusal.
    async fn receive(&mut self, expected: u8) -> Result<Vec<u8>, HandshakeError> {
        let Some(header) = self.reader.next_header().await? else {
            return Err(HandshakeError::Closed);
        };
        if header.kind != expected && header.kind != KIND_REFUSE {
            return Err(HandshakeError::Unexpected { expected, found: header.kind });
        }
        message::check_version(header.version)?;
        let body = self.reader.read_body().await?;
        if header.kind == KIND_REFUSE {
            return Err(HandshakeError::Refused(Refusal::from_bytes(&body)?));
        }
        Ok(body)
    }

    async fn receive_auth(&mut self, key: PublicKey, signed: &[u8]) -> Result<(), HandshakeError> {
        let body = self.receive(KIND_AUTH).await?;
        let mut decoder = avid_types::Decoder::new(&body);
        let signature = Signature::decode(&mut decoder)?;
        decoder.finish()?;
        if key.verifies(signed, &signature) {
            return Ok(());
        }
        Err(HandshakeError::BadSignature { key })
    }

    /// Tells the peer why, as far as it can be told, and returns the error.
    async fn refuse(mut self, error: HandshakeError) -> HandshakeError {
        if let Some(refusal) = error.refusal() {
            self.send_refusal(&refusal).await;
        }
        error
    }

    /// Sends a refusal and waits a little for the peer to close, so that it can read it.
    ///
    /// Best effort: a peer that cannot be told loses nothing but the reason.
    async fn send_refusal(&mut self, refusal: &Refusal) {
        let farewell = async {
            self.send(KIND_REFUSE, &refusal.to_bytes()).await?;
            self.writer.close().await?;
            self.reader.drain(DRAIN_BYTES_MAX).await;
            Ok::<(), HandshakeError>(())
        };
        match tokio::time::timeout(REFUSAL_LINGER, farewell).await {
            Ok(Ok(())) | Err(_) => {}
            Ok(Err(error)) => tracing::debug!(%error, "refusal was not sent"),
        }
    }
}

/// Adds where the peer is connected from.
pub(crate) fn with_address<R, W>(
    connection: Connection<R, W>,
    address: Option<SocketAddr>,
) -> Connection<R, W> {
    let (peer, reader, writer) = connection.split();
    Connection::new(Peer { address, ..peer }, reader, writer)
}

#[cfg(test)]
mod tests;
