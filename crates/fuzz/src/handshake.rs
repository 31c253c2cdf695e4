//! The handshake: its messages one by one, and whole conversations from either side.
//!
//! Our side draws fixed nonces here, so that a recorded conversation of the peer stays valid and
//! mutation starts from one that gets all the way in.

use avid_net::frame::{FrameCap, HANDSHAKE_PAYLOAD_BYTES_MAX};
use avid_net::handshake::message::{
    HANDSHAKE_VERSION, KIND_ACCEPT, KIND_AUTH, KIND_HELLO, KIND_REFUSE, Side, decode_accept,
    decode_hello, encode_accept, signed_bytes,
};
use avid_net::handshake::{hello_of, initiate, respond};
use avid_net::{
    Connection, FrameHeader, FrameReader, HandshakeError, Hello, HelloNonce, Local, Peer, Refusal,
    RefusalCode, Role,
};
use avid_protocol::authority::SignedGrant;
use avid_types::limits::LABEL_BYTES_MAX;
use avid_types::{ClusterId, Decoder, Digest, Epoch, SigningKey};
use tokio::io::{AsyncReadExt as _, Sink, sink};

use crate::golden;

/// A HELLO.
pub fn target_hello(bytes: &[u8]) {
    if let Ok(hello) = decode_hello(bytes) {
        assert!(hello.to_bytes() == bytes, "a HELLO is written as other bytes");
        assert!(hello.payload.len() <= HANDSHAKE_PAYLOAD_BYTES_MAX, "length of a payload");
    }
}

/// An ACCEPT.
pub fn target_accept(bytes: &[u8]) {
    if let Ok(payload) = decode_accept(bytes) {
        assert!(encode_accept(&payload) == bytes, "an ACCEPT is written as other bytes");
        assert!(payload.len() <= HANDSHAKE_PAYLOAD_BYTES_MAX, "length of a payload");
    }
}

/// A REFUSE: not canonical, since its text is cleaned; what it was cleaned to stays as it is.
pub fn target_refusal(bytes: &[u8]) {
    if let Ok(refusal) = Refusal::from_bytes(bytes) {
        assert!(refusal.text.len() <= LABEL_BYTES_MAX, "length of a refusal");
        assert!(!refusal.text.chars().any(char::is_control), "control character in a refusal");
        let again = Refusal::from_bytes(&refusal.to_bytes());
        assert!(again == Ok(refusal), "a cleaned refusal changes again");
    }
}

/// Everything a peer sends to the side that was connected to.
pub fn target_handshake_responder(bytes: &[u8]) {
    if let Ok(connection) = responder(bytes) {
        let peer = connection.peer();
        check_peer(peer, &us());
        assert!(is_admitted(&peer.hello), "a peer entered that was not admitted");
        assert!([Role::Client, Role::Node].map(said_by).contains(&peer.hello.to_bytes()), "forged");
    }
}

/// Everything a node sends to the side that connected to it.
pub fn target_handshake_initiator(bytes: &[u8]) {
    let expected = peer(Role::Node).key.public();
    let us = us();
    let dialled = block_on(initiate((bytes, sink()), &us, OUR_NONCE, expected));
    if let Ok(connection) = dialled {
        check_peer(connection.peer(), &us);
        assert!(connection.peer().hello.to_bytes() == said_by(Role::Node), "forged");
    }
}

fn check_peer(peer: &Peer, local: &Local) {
    let hello = &peer.hello;
    let theirs = (hello.cluster, hello.epoch, hello.config);
    assert!(theirs == (local.cluster, local.epoch, local.config), "a peer of another cluster");
    assert!(hello.key != local.key.public(), "our own key came back");
    let versions = hello.frame_version_min..=hello.frame_version_max;
    assert!(versions.contains(&peer.frame_version), "a version the peer does not speak");
    assert!(hello.payload.len() <= HANDSHAKE_PAYLOAD_BYTES_MAX, "length of a payload");
    assert!(peer.accepted.len() <= HANDSHAKE_PAYLOAD_BYTES_MAX, "length of a payload");
}

fn responder(bytes: &[u8]) -> Result<Connection<&[u8], Sink>, HandshakeError> {
    block_on(respond((bytes, sink()), &us(), OUR_NONCE, &admit))
}

/// Runs the handshake with a valid peer, then hands over the reader, whose next bytes are `stream`.
pub(crate) fn with_open_reader(
    stream: &[u8],
    read: impl FnOnce(FrameReader<tokio::io::Chain<&[u8], &[u8]>>),
) {
    let before = transcript();
    let halves = (before.as_slice().chain(stream), sink());
    let connection = block_on(respond(halves, &us(), OUR_NONCE, &admit));
    assert!(connection.is_ok(), "a valid peer was refused");
    if let Ok(connection) = connection {
        let (_, reader, _) = connection.split();
        read(reader);
    }
}

/// Deadlines need a runtime's clock, though no input makes us wait.
#[expect(clippy::expect_used, reason = "without a runtime there is no handshake to test")]
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().build().expect("a runtime without I/O").block_on(future)
}

/// What the node admits: other nodes, and clients that bring a well-formed grant.
fn admit(hello: &Hello) -> Result<Vec<u8>, Refusal> {
    if is_admitted(hello) {
        return Ok(b"welcome".to_vec());
    }
    Err(Refusal::new(RefusalCode::NotAdmitted, "no grant"))
}

fn is_admitted(hello: &Hello) -> bool {
    let mut decoder = Decoder::new(&hello.payload);
    hello.role == Role::Node
        || SignedGrant::decode(&mut decoder).is_ok() && decoder.finish().is_ok()
}

const OUR_NONCE: HelloNonce = HelloNonce([0x11; 32]);
const THEIR_NONCE: HelloNonce = HelloNonce([0x22; 32]);

fn us() -> Local {
    local(7, Role::Node, b"position".to_vec())
}

fn peer(role: Role) -> Local {
    let payload = match role {
        Role::Node => b"store and heartbeat".to_vec(),
        Role::Client => golden::forms("grant").concat(),
    };
    local(8, role, payload)
}

fn local(seed: u8, role: Role, payload: Vec<u8>) -> Local {
    Local {
        key: SigningKey::from_seed([seed; 32]),
        role,
        cluster: ClusterId([0x33; 16]),
        epoch: Epoch(4),
        config: Digest([0x55; 32]),
        payload,
    }
}

/// What a peer sends when it connects to us.
pub(crate) fn transcript() -> Vec<u8> {
    conversation(Role::Client, Side::Initiator)
}

fn conversation(role: Role, side: Side) -> Vec<u8> {
    let them = peer(role);
    let (ours, theirs) = (hello_bytes(&us(), OUR_NONCE), said_by(role));
    let signed = match side {
        Side::Initiator => signed_bytes(side, &theirs, &ours),
        Side::Responder => signed_bytes(side, &ours, &theirs),
    };
    let signature = them.key.sign(&signed);
    [
        frame(KIND_HELLO, &theirs),
        frame(KIND_AUTH, &signature.0),
        frame(KIND_ACCEPT, &encode_accept(&[])),
    ]
    .concat()
}

/// The only HELLO that the peer signed in this role: its key is in no other input.
fn said_by(role: Role) -> Vec<u8> {
    hello_bytes(&peer(role), THEIR_NONCE)
}

fn hello_bytes(local: &Local, nonce: HelloNonce) -> Vec<u8> {
    hello_of(local, nonce).map(|hello| hello.to_bytes()).unwrap_or_default()
}

fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let header = FrameHeader { kind, version: HANDSHAKE_VERSION, body_bytes: body.len() };
    let header = header.encode(FrameCap::Handshake).unwrap_or_default();
    [header.as_slice(), body].concat()
}

fn refusal() -> Vec<u8> {
    frame(KIND_REFUSE, &golden::handshake("refuse").concat())
}

pub(crate) fn hello_seeds() -> Vec<Vec<u8>> {
    golden::handshake("hello")
}

pub(crate) fn accept_seeds() -> Vec<Vec<u8>> {
    golden::handshake("accept")
}

pub(crate) fn refusal_seeds() -> Vec<Vec<u8>> {
    golden::handshake("refuse")
}

pub(crate) fn responder_seeds() -> Vec<Vec<u8>> {
    let [client, node] = [Role::Client, Role::Node].map(|role| conversation(role, Side::Initiator));
    vec![client, node, refusal()]
}

pub(crate) fn initiator_seeds() -> Vec<Vec<u8>> {
    vec![conversation(Role::Node, Side::Responder), refusal()]
}

#[cfg(test)]
mod tests {
    use super::*;

    // Mutation of a conversation that fails at its first message would test only that message.
    #[test]
    fn the_recorded_conversations_get_in() {
        let key = peer(Role::Node).key.public();
        for role in [Role::Client, Role::Node] {
            let dialling = conversation(role, Side::Initiator);
            assert_eq!(responder(&dialling).unwrap().peer().key(), key);
        }
        let dialled = conversation(Role::Node, Side::Responder);
        let connection = block_on(initiate((dialled.as_slice(), sink()), &us(), OUR_NONCE, key));
        assert!(connection.is_ok());
    }
}
