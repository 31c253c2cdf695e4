//! Frozen bytes of the handshake, and decoding of anything.

use avid_types::SigningKey;
use proptest::prelude::{ProptestConfig, any, prop, proptest};

use super::*;

fn hello(seed: u8, role: Role) -> Hello {
    Hello {
        frame_version_min: 1,
        frame_version_max: 1,
        role,
        cluster: ClusterId([0x11; 16]),
        epoch: Epoch(2),
        config: Digest([0x33; 32]),
        key: SigningKey::from_seed([seed; 32]).public(),
        nonce: HelloNonce([seed ^ 0xff; 32]),
        payload: vec![seed; usize::from(seed)],
    }
}

fn golden() -> String {
    let initiator = hello(5, Role::Client).to_bytes();
    let responder = hello(6, Role::Node).to_bytes();
    let mut lines = vec![
        format!("hello initiator {}", hex::encode(&initiator)),
        format!("hello responder {}", hex::encode(&responder)),
    ];
    for (name, side, seed) in [("initiator", Side::Initiator, 5), ("responder", Side::Responder, 6)]
    {
        let signed = signed_bytes(side, &initiator, &responder);
        lines.push(format!("signed {name} {}", hex::encode(&signed)));
        let signature = SigningKey::from_seed([seed; 32]).sign(&signed);
        lines.push(format!("auth {name} {signature}"));
    }
    lines.push(format!("accept {}", hex::encode(encode_accept(b"welcome"))));
    let refusal = Refusal::new(RefusalCode::TooManyConnections, "every place is taken");
    lines.push(format!("refuse {}", hex::encode(refusal.to_bytes())));
    lines.join("\n") + "\n"
}

#[test]
fn bytes_are_frozen() {
    let found = golden();
    assert_eq!(found, include_str!("../../../testdata/handshake.txt"), "found:\n{found}");
}

#[test]
fn a_hello_decodes_to_itself() {
    for role in [Role::Node, Role::Client] {
        let hello = hello(7, role);
        assert_eq!(decode_hello(&hello.to_bytes()).unwrap(), hello);
    }
}

#[test]
fn every_cut_of_a_hello_is_refused() {
    let bytes = hello(7, Role::Node).to_bytes();
    for cut in 0..bytes.len() {
        assert!(decode_hello(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    let longer = [bytes, vec![0]].concat();
    let error = decode_hello(&longer).unwrap_err();
    assert!(
        matches!(error, HandshakeError::Malformed(DecodeError::TrailingBytes { extra: 1 })),
        "{error}"
    );
}

#[test]
fn a_payload_above_its_limit_is_refused_by_its_length() {
    let mut bytes = hello(0, Role::Node).to_bytes();
    let at = bytes.len() - 4;
    bytes[at..].copy_from_slice(&0x0001_0001u32.to_le_bytes());
    let error = decode_hello(&bytes).unwrap_err();
    assert!(
        matches!(error, HandshakeError::Malformed(DecodeError::TooLong { len: 65_537, .. })),
        "{error}"
    );
}

#[test]
fn the_largest_hello_fits_in_a_handshake_frame() {
    let bytes = Hello { payload: vec![0; HANDSHAKE_PAYLOAD_BYTES_MAX], ..hello(1, Role::Node) };
    let longest = crate::frame::HANDSHAKE_FRAME_BYTES_MAX - crate::frame::HEADER_BYTES;
    assert!(bytes.to_bytes().len() <= longest);
}

#[test]
fn other_first_bytes_are_another_protocol() {
    let error = decode_hello(b"GET / HTTP/1.1\r\n\r\n").unwrap_err();
    assert!(matches!(error, HandshakeError::OtherProtocol), "{error}");
}

#[test]
fn the_sides_sign_different_bytes() {
    let (a, b) = (b"one".as_slice(), b"two".as_slice());
    assert_ne!(signed_bytes(Side::Initiator, a, b), signed_bytes(Side::Responder, a, b));
    assert_ne!(signed_bytes(Side::Initiator, a, b), signed_bytes(Side::Initiator, b, a));
    // Bytes cannot move from one hello to the other.
    assert_ne!(
        signed_bytes(Side::Initiator, b"ab", b"c"),
        signed_bytes(Side::Initiator, b"a", b"bc")
    );
}

#[test]
fn a_refusal_cannot_drive_a_terminal_or_exceed_its_length() {
    let hostile = format!("\u{1b}[2Jgone{}", "é".repeat(300));
    let refusal = Refusal::new(RefusalCode::NotAdmitted, &hostile);
    assert!(refusal.text.len() <= LABEL_BYTES_MAX && !refusal.text.contains('\u{1b}'));
    assert_eq!(Refusal::from_bytes(&refusal.to_bytes()).unwrap(), refusal);
    let raw = Refusal::from_bytes(&[200, 4, 0, 0x1b, b'[', 0xff, b'm']).unwrap();
    assert_eq!(raw.code, RefusalCode::Unknown(200));
    assert!(raw.text.chars().all(|character| !character.is_control()));
}

#[test]
fn refusal_codes_keep_their_numbers() {
    for number in 0..=u8::MAX {
        assert_eq!(RefusalCode::of_number(number).number(), number);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn no_bytes_make_a_decoder_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        has_magic in any::<bool>(),
    ) {
        let bytes = if has_magic { [MAGIC.as_slice(), &bytes].concat() } else { bytes };
        if let Ok(hello) = decode_hello(&bytes) {
            assert_eq!(hello.to_bytes(), bytes);
        }
        if let Ok(payload) = decode_accept(&bytes) {
            assert_eq!(encode_accept(&payload), bytes);
        }
        drop(Refusal::from_bytes(&bytes));
    }
}

#[test]
fn frame_types_are_frozen_and_in_the_reserved_range() {
    let kinds = [KIND_HELLO, KIND_AUTH, KIND_ACCEPT, KIND_REFUSE];
    assert_eq!(kinds, [0xf0, 0xf1, 0xf2, 0xf3]);
    assert!(kinds.iter().all(|kind| *kind >= crate::frame::KIND_HANDSHAKE_MIN));
}
