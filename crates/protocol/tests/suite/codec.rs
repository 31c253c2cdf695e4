//! Decoding: what was encoded comes back, and nothing else is accepted or can hurt.

use std::collections::BTreeSet;

use avid_protocol::authority::SignedGrant;
use avid_protocol::certificate::{CommitProof, QuorumCert};
use avid_protocol::object::{Manifest, SealBundle, SignedOpen};
use avid_protocol::record::UploadRecord;
use avid_protocol::vote::SignedVote;
use avid_protocol::wire::{ChunkPrefix, FRAME_VERSION, FragPrefix, Message, RefusalCode, Refused};
use avid_types::limits::{BATCH_PATH_MAX, CHUNK_BYTES_MAX, LABEL_BYTES_MAX, LIST_PAGE_MAX};
use avid_types::{DecodeError, Decoder, StripeIndex};
use proptest::prelude::{ProptestConfig, any, prop, prop_assert_eq, proptest};

use crate::samples::{
    REFUSALS, batch, chunk_prefix, encoded, frag_prefix, grant, messages, records,
};
use crate::world::World;

/// Round trip, every cut, a byte too many.
#[track_caller]
fn assert_exact<T: PartialEq + std::fmt::Debug>(
    name: &str,
    value: &T,
    bytes: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, DecodeError>,
) {
    assert_eq!(decode(bytes).as_ref(), Ok(value), "{name}");
    for cut in 0..bytes.len() {
        assert!(decode(&bytes[..cut]).is_err(), "{name} cut at {cut} was accepted");
    }
    let longer = [bytes, &[0]].concat();
    assert_eq!(decode(&longer), Err(DecodeError::TrailingBytes { extra: 1 }), "{name}");
}

fn whole<T>(
    decode: impl Fn(&mut Decoder<'_>) -> Result<T, DecodeError>,
) -> impl Fn(&[u8]) -> Result<T, DecodeError> {
    move |bytes: &[u8]| {
        let mut d = Decoder::new(bytes);
        let value = decode(&mut d)?;
        d.finish().map(|()| value)
    }
}

// Rule: WIRE-1.
#[test]
fn every_message_round_trips_and_no_cut_or_longer_one_is_accepted() {
    let mut kinds = BTreeSet::new();
    for (name, message) in messages(&World::new(3, 5)) {
        let kind = message.kind();
        kinds.insert(kind);
        let decode = |bytes: &[u8]| Message::from_body(kind, FRAME_VERSION, bytes);
        assert_exact(&name, &message, &message.to_body(), decode);
    }
    let all = [
        0x01, 0x02, 0x04, 0x05, 0x06, 0x07, 0x09, 0x0a, 0x0b, 0x0c, 0x21, 0x22, 0x23, 0x25, 0x27,
        0x2f, 0x41, 0x42, 0x43, 0x44,
    ];
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), all, "a sample of every kind");
    for kind in (0..=255).filter(|kind| !all.contains(kind)) {
        for body in [&[][..], &[0; 200]] {
            assert!(Message::from_body(kind, FRAME_VERSION, body).is_err(), "{kind:#x}");
        }
    }
}

// Rule: WIRE-1. A frame of another version is refused by its version, not by its content.
#[test]
fn other_frame_versions_are_refused() {
    for version in [0, 2, 255] {
        let refused = Message::from_body(0x0b, version, &[]);
        let expected = DecodeError::Version { what: "frame", found: version, newest: 1 };
        assert_eq!(refused, Err(expected));
    }
}

// Rule: ABORT-2.
#[test]
fn every_record_round_trips_and_no_cut_or_longer_one_is_accepted() {
    for (name, record) in records(&World::new(3, 5)) {
        assert_exact(&name, &record, &record.to_bytes(), UploadRecord::from_bytes);
        let mut newer = record.to_bytes();
        newer[0] = 2;
        assert!(matches!(
            UploadRecord::from_bytes(&newer),
            Err(DecodeError::Version { found: 2, newest: 1, .. })
        ));
    }
}

#[test]
fn every_stored_type_round_trips_and_no_cut_or_longer_one_is_accepted() {
    let world = World::new(3, 5);
    let a = world.bundle(0xa);
    let (open, manifest) = (&a.open, &a.manifest);
    assert_exact("open", open, &encoded(|e| open.encode(e)), whole(SignedOpen::decode));
    assert_exact("manifest", manifest, &manifest.to_bytes(), whole(Manifest::decode));
    assert_exact("bundle", &a, &encoded(|e| a.encode(e)), whole(SealBundle::decode));
    let proof = world.proof(&a);
    assert_exact("proof", &proof, &encoded(|e| proof.encode(e)), whole(CommitProof::decode));
    let cert = world.abort_cert(&a);
    assert_exact("cert", &cert, &encoded(|e| cert.encode(e)), whole(QuorumCert::decode));
    let grant = grant(&world);
    assert_exact("grant", &grant, &encoded(|e| grant.encode(e)), whole(SignedGrant::decode));
    for vote in batch(&world, &a) {
        assert_exact("vote", &vote, &encoded(|e| vote.encode(e)), whole(SignedVote::decode));
    }
}

#[test]
fn chunk_and_fragment_prefixes_round_trip_and_bound_their_lengths() {
    let world = World::new(3, 5);
    let bytes = chunk_prefix(&world);
    let mut d = Decoder::new(&bytes);
    let prefix = ChunkPrefix::decode(&mut d).unwrap();
    assert_eq!((prefix.stripe, prefix.chunk_bytes), (StripeIndex(9), 4096));
    assert_eq!(d.remaining(), world.config.fpcc_bytes());
    for chunk_bytes in [1, CHUNK_BYTES_MAX] {
        let edge = ChunkPrefix { chunk_bytes, ..prefix };
        assert_eq!(ChunkPrefix::decode(&mut Decoder::new(&edge.to_bytes(&[]))), Ok(edge));
    }
    for chunk_bytes in [0, CHUNK_BYTES_MAX + 1, u32::MAX] {
        let bytes = ChunkPrefix { chunk_bytes, ..prefix }.to_bytes(&[]);
        assert!(ChunkPrefix::decode(&mut Decoder::new(&bytes)).is_err(), "{chunk_bytes}");
    }

    let frag = frag_prefix(&world);
    let bytes = frag.to_bytes();
    let (fixed, variable) = bytes.split_at(FragPrefix::FIXED_BYTES);
    let (chunk, length) = FragPrefix::decode_fixed(fixed).unwrap();
    assert_eq!((chunk, length), (prefix, variable.len()));
    let fpcc_bytes = world.config.fpcc_bytes();
    let decode = |bytes: &[u8]| FragPrefix::decode_variable(chunk, fpcc_bytes, bytes);
    assert_exact("frag", &frag, variable, decode);
    assert!(FragPrefix::decode_fixed(&fixed[1..]).is_err());
}

#[test]
fn lists_and_paths_beyond_their_limits_are_refused_before_they_are_read() {
    let world = World::new(3, 5);
    let vote = &batch(&world, &world.bundle(0xa))[0];
    let mut bytes = encoded(|e| vote.encode(e));
    let path_length = bytes.len() - 1 - 8 - 32 * vote.attestation.path.siblings.len();
    bytes[path_length] = u8::try_from(BATCH_PATH_MAX).unwrap() + 1;
    assert!(matches!(
        whole(SignedVote::decode)(&bytes),
        Err(DecodeError::TooLong { what: "merkle path", len: 13, max: 12 })
    ));

    let too_many = u16::try_from(LIST_PAGE_MAX + 1).unwrap().to_le_bytes();
    let page = Message::from_body(0x25, FRAME_VERSION, &too_many);
    assert!(matches!(page, Err(DecodeError::TooLong { what: "listing", .. })));
    let text = Message::from_body(0x27, FRAME_VERSION, &u32::MAX.to_le_bytes());
    assert!(matches!(text, Err(DecodeError::TooLong { what: "status", .. })));
}

#[test]
fn the_text_of_a_refusal_is_cut_between_characters() {
    let wide = "\u{20ac}".repeat(100);
    for (text, kept) in [
        ("\u{fc}".repeat(200), 256),
        (format!("x{}", "\u{fc}".repeat(200)), 255),
        (wide.clone(), 255),
        (format!("x{wide}"), 256),
        (format!("xy{wide}"), 254),
        ("x".repeat(1000), LABEL_BYTES_MAX),
        ("disk is full".to_owned(), 12),
        (String::new(), 0),
    ] {
        for code in REFUSALS {
            let message = Message::refused(code, &text);
            assert_eq!(message, Message::Refused(Refused { code, message: text[..kept].into() }));
            let body = message.to_body();
            assert!(body.len() <= 3 + LABEL_BYTES_MAX);
            assert_eq!(Message::from_body(0x2f, FRAME_VERSION, &body), Ok(message));
        }
    }
    let codes: BTreeSet<RefusalCode> = REFUSALS.into();
    assert_eq!(codes.len(), REFUSALS.len());
    for code in [0, 16, 255] {
        assert!(Message::from_body(0x2f, FRAME_VERSION, &[code, 0, 0]).is_err());
    }
}

// One value has one encoding: a decoder that accepts a changed byte must mean another value.
#[test]
fn a_changed_byte_is_refused_or_means_something_else() {
    let world = World::new(2, 4);
    for (name, message) in messages(&world) {
        let body = message.to_body();
        for position in 0..body.len() {
            let mut changed = body.clone();
            changed[position] ^= 0x80;
            if let Ok(other) = Message::from_body(message.kind(), FRAME_VERSION, &changed) {
                assert_eq!(other.to_body(), changed, "{name} at {position}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    // Rule: WIRE-1. Whatever decodes encodes to the same bytes; nothing panics.
    #[test]
    fn random_bytes_never_panic(
        kind in any::<u8>(),
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        small in prop::collection::vec(0_u8..4, 0..600),
    ) {
        for body in [&bytes, &small] {
            for kind in [kind, kind & 0x4f] {
                if let Ok(message) = Message::from_body(kind, FRAME_VERSION, body) {
                    prop_assert_eq!(&message.to_body(), body);
                }
            }
            if let Ok(record) = UploadRecord::from_bytes(body) {
                prop_assert_eq!(&record.to_bytes(), body);
            }
            let _ = whole(SignedGrant::decode)(body);
            let _ = FragPrefix::decode_fixed(body);
        }
    }
}
