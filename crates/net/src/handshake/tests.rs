//! Who gets in and who does not.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf, split};

use super::*;
use crate::error::LinkError;

type Halves = (ReadHalf<DuplexStream>, WriteHalf<DuplexStream>);
type Shaken = Result<Connection<ReadHalf<DuplexStream>, WriteHalf<DuplexStream>>, HandshakeError>;

fn local(seed: u8, role: Role) -> Local {
    Local {
        key: SigningKey::from_seed([seed; 32]),
        role,
        cluster: ClusterId([1; 16]),
        epoch: Epoch(3),
        config: Digest([4; 32]),
        payload: vec![seed; 5],
    }
}

fn pipe() -> (Halves, Halves) {
    let (near, far) = tokio::io::duplex(1 << 18);
    (split(near), split(far))
}

fn admit_all(_: &Hello) -> Result<Vec<u8>, Refusal> {
    Ok(b"welcome".to_vec())
}

/// Both sides with fixed nonces; the initiator expects the responder's real key.
async fn shake(initiator: &Local, responder: &Local) -> (Shaken, Shaken) {
    let (near, far) = pipe();
    let expected = responder.key.public();
    tokio::join!(
        initiate(near, initiator, HelloNonce([1; 32]), expected),
        respond(far, responder, HelloNonce([2; 32]), &admit_all),
    )
}

#[tokio::test]
async fn both_sides_learn_who_the_other_is() {
    for role in [Role::Node, Role::Client] {
        let (client, node) = (local(1, role), local(2, Role::Node));
        let (near, far) = shake(&client, &node).await;
        let (near, far) = (near.unwrap(), far.unwrap());
        assert_eq!(near.peer().key(), node.key.public());
        assert_eq!(near.peer().accepted, b"welcome");
        assert_eq!(near.peer().hello.payload, node.payload);
        assert_eq!(far.peer().key(), client.key.public());
        assert_eq!(far.peer().role(), role);
        assert_eq!(far.peer().hello.payload, client.payload);
        assert_eq!(far.peer().frame_version, FRAME_VERSION_NEWEST);
    }
}

#[tokio::test]
async fn a_foreign_cluster_is_named_on_both_sides() {
    let client = Local { cluster: ClusterId([9; 16]), ..local(1, Role::Client) };
    let (near, far) = shake(&client, &local(2, Role::Node)).await;
    let near = near.unwrap_err();
    assert!(
        matches!(near, HandshakeError::ForeignCluster { ours, theirs }
            if ours == ClusterId([9; 16]) && theirs == ClusterId([1; 16])),
        "{near}"
    );
    let far = far.unwrap_err();
    assert!(matches!(far, HandshakeError::ForeignCluster { .. }), "{far}");
    assert_eq!(far.refusal().unwrap().code, RefusalCode::ForeignCluster);
}

#[tokio::test]
async fn another_configuration_or_epoch_is_named() {
    let other_digest = Local { config: Digest([5; 32]), ..local(1, Role::Node) };
    let other_epoch = Local { epoch: Epoch(4), ..local(1, Role::Node) };
    for client in [other_digest, other_epoch] {
        let (near, far) = shake(&client, &local(2, Role::Node)).await;
        for error in [near.unwrap_err(), far.unwrap_err()] {
            assert!(matches!(error, HandshakeError::OtherConfiguration { .. }), "{error}");
            assert_eq!(error.retry(), crate::error::Retry::AfterChange);
        }
    }
}

#[tokio::test]
async fn a_node_with_another_key_is_refused_by_who_dialled_it() {
    let (near, far) = pipe();
    let expected = SigningKey::from_seed([7; 32]).public();
    let (client, node) = (local(1, Role::Client), local(2, Role::Node));
    let (near, far) = tokio::join!(
        initiate(near, &client, HelloNonce([1; 32]), expected),
        respond(far, &node, HelloNonce([2; 32]), &admit_all),
    );
    let near = near.unwrap_err();
    assert!(
        matches!(near, HandshakeError::WrongKey { expected: wanted, found }
            if wanted == expected && found == node.key.public()),
        "{near}"
    );
    let far = far.unwrap_err();
    assert!(
        matches!(&far, HandshakeError::Refused(refusal) if refusal.code == RefusalCode::WrongKey),
        "{far}"
    );
}

#[tokio::test]
async fn a_client_cannot_pose_as_a_node_it_dialled_us_for() {
    let (near, far) = shake(&local(1, Role::Node), &local(2, Role::Client)).await;
    let near = near.unwrap_err();
    assert!(matches!(near, HandshakeError::WrongRole { .. }), "{near}");
    assert!(far.is_err());
}

#[tokio::test]
async fn the_reason_of_a_refusal_reaches_the_client() {
    let (near, far) = pipe();
    let (client, node) = (local(1, Role::Client), local(2, Role::Node));
    let refuse = |hello: &Hello| -> Result<Vec<u8>, Refusal> {
        assert_eq!(hello.payload, [1; 5]);
        Err(Refusal::new(RefusalCode::NotAdmitted, "grant ended yesterday"))
    };
    let (near, far) = tokio::join!(
        initiate(near, &client, HelloNonce([1; 32]), node.key.public()),
        respond(far, &node, HelloNonce([2; 32]), &refuse),
    );
    assert!(matches!(far.unwrap_err(), HandshakeError::NotAdmitted(_)));
    assert_eq!(near.unwrap_err().to_string(), "peer refused the connection: grant ended yesterday");
}

#[tokio::test]
async fn our_own_key_coming_back_is_refused() {
    let node = local(2, Role::Node);
    let (near, far) = shake(&node, &node).await;
    for error in [near.unwrap_err(), far.unwrap_err()] {
        assert!(matches!(error, HandshakeError::OwnKey { .. }), "{error}");
    }
}

/// A frame of the handshake as raw bytes.
fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 2).unwrap().to_le_bytes();
    [length.as_slice(), &[kind, HANDSHAKE_VERSION], body].concat()
}

/// Answers the responder with `auth` made from both hello bodies, under `claimed`'s key.
async fn respond_to_auth(
    claimed: &Local,
    auth: impl Fn(&[u8], &[u8]) -> Vec<u8>,
) -> HandshakeError {
    // Both halves stay until the end: a vanished peer would be another error.
    let ((_read, mut write), far) = pipe();
    let node = local(2, Role::Node);
    let ours = hello_of(claimed, HelloNonce([1; 32])).unwrap().to_bytes();
    let theirs = hello_of(&node, HelloNonce([2; 32])).unwrap().to_bytes();
    let attacker = async {
        write.write_all(&frame(KIND_HELLO, &ours)).await.unwrap();
        write.write_all(&frame(KIND_AUTH, &auth(&ours, &theirs))).await.unwrap();
        write.write_all(&frame(KIND_ACCEPT, &message::encode_accept(&[]))).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let (result, ()) = tokio::join!(respond(far, &node, HelloNonce([2; 32]), &admit_all), attacker);
    result.unwrap_err()
}

#[tokio::test]
async fn an_auth_from_an_earlier_handshake_is_refused() {
    let client = local(1, Role::Client);
    let error = respond_to_auth(&client, |ours, _| {
        let node = local(2, Role::Node);
        let earlier = hello_of(&node, HelloNonce([77; 32])).unwrap().to_bytes();
        client.key.sign(&signed_bytes(Side::Initiator, ours, &earlier)).0.to_vec()
    })
    .await;
    assert!(matches!(error, HandshakeError::BadSignature { key } if key == client.key.public()));
}

#[tokio::test]
async fn an_auth_for_the_other_direction_is_refused() {
    let client = local(1, Role::Client);
    let error = respond_to_auth(&client, |ours, theirs| {
        client.key.sign(&signed_bytes(Side::Responder, ours, theirs)).0.to_vec()
    })
    .await;
    assert!(matches!(error, HandshakeError::BadSignature { .. }), "{error}");
}

#[tokio::test]
async fn an_auth_under_a_key_the_peer_does_not_hold_is_refused() {
    let member = local(3, Role::Node);
    let error = respond_to_auth(&member, |ours, theirs| {
        let thief = SigningKey::from_seed([66; 32]);
        thief.sign(&signed_bytes(Side::Initiator, ours, theirs)).0.to_vec()
    })
    .await;
    assert!(matches!(error, HandshakeError::BadSignature { .. }), "{error}");
}

#[tokio::test]
async fn a_node_that_cannot_prove_its_key_is_refused_by_who_dialled_it() {
    let (near, (mut far_read, mut far_write)) = pipe();
    let (client, node) = (local(1, Role::Client), local(2, Role::Node));
    let impostor = async {
        let hello = hello_of(&node, HelloNonce([2; 32])).unwrap().to_bytes();
        far_write.write_all(&frame(KIND_HELLO, &hello)).await.unwrap();
        far_write.write_all(&frame(KIND_AUTH, &[0; 64])).await.unwrap();
        far_write.shutdown().await.unwrap();
        far_read.read_to_end(&mut Vec::new()).await.unwrap()
    };
    let (result, _) =
        tokio::join!(initiate(near, &client, HelloNonce([1; 32]), node.key.public()), impostor);
    let error = result.unwrap_err();
    assert!(matches!(error, HandshakeError::BadSignature { .. }), "{error}");
}

async fn respond_to_bytes(bytes: &[u8]) -> HandshakeError {
    let (near, far) = pipe();
    let (_read, mut write) = near;
    let node = local(2, Role::Node);
    let attacker = async {
        write.write_all(bytes).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let (result, ()) = tokio::join!(respond(far, &node, HelloNonce([2; 32]), &admit_all), attacker);
    result.unwrap_err()
}

#[tokio::test]
async fn bytes_of_other_protocols_are_refused() {
    let error = respond_to_bytes(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(matches!(error, HandshakeError::Link(LinkError::FrameTooLong { .. })), "{error}");
    let error = respond_to_bytes(&frame(KIND_HELLO, b"SSH-2.0-something")).await;
    assert!(matches!(error, HandshakeError::OtherProtocol), "{error}");
    let error = respond_to_bytes(&frame(99, b"")).await;
    assert!(matches!(error, HandshakeError::Unexpected { expected: KIND_HELLO, found: 99 }));
    let error = respond_to_bytes(&[1, 0, 0, 0, 1]).await;
    assert!(matches!(error, HandshakeError::Link(_)), "{error}");
    let error = respond_to_bytes(b"").await;
    assert!(matches!(error, HandshakeError::Closed), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_drips_its_hello_runs_into_the_deadline() {
    let (near, far) = pipe();
    let (_read, mut write) = near;
    let node = local(2, Role::Node);
    let hello = hello_of(&local(1, Role::Client), HelloNonce([1; 32])).unwrap().to_bytes();
    let drip = async {
        for byte in frame(KIND_HELLO, &hello) {
            write.write_all(&[byte]).await.unwrap();
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        std::future::pending::<()>().await;
    };
    let limit = Duration::from_secs(10);
    tokio::select! {
        result = within(limit, respond(far, &node, HelloNonce([2; 32]), &admit_all)) => {
            let error = result.unwrap_err();
            assert!(matches!(error, HandshakeError::Timeout { .. }), "{error}");
        }
        () = drip => unreachable!("the drip never ends"),
    }
}

#[test]
fn versions_agree_on_the_newest_common_one() {
    let hello = |seed: u8, min, max| Hello {
        frame_version_min: min,
        frame_version_max: max,
        ..hello_of(&local(seed, Role::Node), HelloNonce([seed; 32])).unwrap()
    };
    assert_eq!(check_hello(&hello(1, 1, 3), &hello(2, 2, 5)).unwrap(), 3);
    let error = check_hello(&hello(1, 1, 2), &hello(2, 3, 5)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "we speak frame versions 1-2, the peer 3-5; upgrade the older side"
    );
}

#[test]
fn a_payload_above_the_limit_never_leaves() {
    let payload = vec![0; HANDSHAKE_PAYLOAD_BYTES_MAX + 1];
    let local = Local { payload, ..local(1, Role::Node) };
    let error = hello_of(&local, HelloNonce([1; 32])).unwrap_err();
    assert!(matches!(error, HandshakeError::PayloadTooLong { .. }), "{error}");
}
