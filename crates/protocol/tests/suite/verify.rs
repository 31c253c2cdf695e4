//! Verification: every way in which a vote, a certificate or an owner's word can be wrong.

use avid_protocol::authority::{GrantError, config_signed, sign_config};
use avid_protocol::certificate::{CommitProof, Predecessor, QuorumCert};
use avid_protocol::object::{Manifest, ObjectError, OrderKind, SealBundle};
use avid_protocol::statement::{Statement, StatementKind};
use avid_protocol::verify::{Verifier, VerifyError};
use avid_protocol::vote::{SignedVote, sign_statements};
use avid_types::limits::BATCH_STATEMENTS_MAX;
use avid_types::{
    ClusterId, Epoch, NodeId, Nonce, PublicKey, Signature, SigningKey, Slot, Timestamp,
};

use crate::samples::{KINDS, grant, spoiled, statement};
use crate::world::{EXPIRY, NOW, World, promise};

fn world_and_content() -> (World, SealBundle, Verifier) {
    let world = World::new(3, 5);
    let content = world.bundle(0xa);
    let verifier = world.verifier();
    (world, content, verifier)
}

// Rule: SIGN-1. No two statements share bytes, whichever field differs.
#[test]
fn every_field_of_a_statement_is_signed() {
    let (world, a, mut verifier) = world_and_content();
    let vote = world.vote(StatementKind::HoldNow, &a, 2);
    verifier.vote(vote.clone()).unwrap();
    let original = vote.statement;
    let upload = world.object("other", 0).upload(&world.config);
    let changed = [
        Statement { kind: StatementKind::Echo, ..original },
        Statement { upload, ..original },
        Statement { commitment: promise(&world.bundle(0xb)).commitment, ..original },
        Statement { slot: Slot(3), ..original },
        Statement { expiry: Timestamp(EXPIRY.0 + 1), ..original },
        Statement { nonce: Nonce([1; 16]), ..original },
    ];
    for statement in changed {
        let forged = SignedVote { statement, attestation: vote.attestation.clone() };
        assert!(matches!(verifier.vote(forged), Err(VerifyError::Signature(_))), "{statement:?}");
    }
}

// Rule: SIGN-1. An ECHO is not a READY, nor anything else of another kind.
#[test]
fn a_signature_of_one_kind_is_none_of_another() {
    let (world, a, mut verifier) = world_and_content();
    for from in KINDS {
        for to in KINDS.into_iter().filter(|to| *to != from) {
            let signed = world.sign(&statement(&world, &a, from));
            let mut replayed = statement(&world, &a, to);
            replayed.slot = signed.statement.slot;
            let vote = SignedVote { statement: replayed, attestation: signed.attestation };
            assert!(matches!(verifier.vote(vote), Err(VerifyError::Signature(_))));
        }
    }
}

// Rule: SIGN-1. Only HOLD-NOW has a nonce; only kinds about a content have one.
#[test]
fn a_vote_with_a_field_that_its_kind_does_not_have_is_refused() {
    let (world, a, mut verifier) = world_and_content();
    for kind in KINDS {
        let good = statement(&world, &a, kind);
        verifier.vote(world.sign(&good)).unwrap();
        let bare = good.commitment == avid_types::Commitment::ZERO;
        let changes = [
            (bare, Statement { commitment: promise(&a).commitment, ..good }),
            (bare, Statement { expiry: EXPIRY, ..good }),
            (kind != StatementKind::HoldNow, Statement { nonce: Nonce([1; 16]), ..good }),
        ];
        for (refused, changed) in changes {
            let found = verifier.vote(world.sign(&changed));
            assert_eq!(found.is_err(), refused, "{changed:?}");
            assert!(found.is_ok() || found == Err(VerifyError::NotCanonical(kind)));
        }
    }
}

// Rule: SIGN-1. The signer is the node at the slot, and nobody else.
#[test]
fn a_vote_of_node_2_is_no_vote_of_node_3() {
    let (world, a, mut verifier) = world_and_content();
    let claimed = world.statement(StatementKind::Echo, &a, 3);
    let key = world.key_at(claimed.upload, Slot(2));
    let forged = sign_statements(&world.config, key, &[claimed]).remove(0);
    assert!(matches!(verifier.vote(forged), Err(VerifyError::Signature(_))));
}

// Rule: TALLY-1, GROUP-1.
#[test]
fn a_slot_outside_the_group_has_no_signer() {
    let (world, a, mut verifier) = world_and_content();
    for slot in [5, 255] {
        let mut vote = world.vote(StatementKind::Echo, &a, 0);
        vote.statement.slot = Slot(slot);
        assert_eq!(verifier.vote(vote), Err(VerifyError::NoSuchSlot(Slot(slot))));
    }
}

// Rule: SIGN-2. Statements of a batch verify each by itself, up to the largest batch.
#[test]
fn votes_of_a_batch_verify_by_their_paths_and_by_no_others() {
    let (world, a, mut verifier) = world_and_content();
    let upload = a.open.open.object.upload(&world.config);
    let key = world.key_at(upload, Slot(1));
    let of = |number: u64| Statement {
        expiry: Timestamp(number),
        ..world.statement(StatementKind::Echo, &a, 1)
    };
    for count in [1, 2, 3, 5, 8, BATCH_STATEMENTS_MAX, BATCH_STATEMENTS_MAX + 1] {
        let statements: Vec<Statement> = (0_u64..).take(count).map(of).collect();
        let votes = sign_statements(&world.config, key, &statements);
        assert_eq!(votes.len(), count);
        for (vote, statement) in votes.iter().zip(&statements) {
            assert_eq!(vote.statement, *statement);
        }
        for vote in votes.iter().step_by(count.div_ceil(40)) {
            verifier.vote(vote.clone()).unwrap();
        }
        verifier.vote(votes[count - 1].clone()).unwrap();
        if count > 1 {
            let mut swapped = votes[0].clone();
            swapped.attestation = votes[1].attestation.clone();
            assert!(matches!(verifier.vote(swapped), Err(VerifyError::Signature(_))));
        }
    }
}

// Rule: SIGN-2. The memory holds signatures that verified, never roots.
#[test]
fn the_memory_of_signatures_accepts_no_other_signature_and_no_other_node() {
    let (world, a, mut verifier) = world_and_content();
    let good = world.vote(StatementKind::Echo, &a, 2);
    for _ in 0..3 {
        verifier.vote(good.clone()).unwrap();
        let mut bad = good.clone();
        bad.attestation.signature = spoiled(good.attestation.signature);
        assert!(matches!(verifier.vote(bad), Err(VerifyError::Signature(_))));
        let mut zero = good.clone();
        zero.attestation.signature = Signature([0; 64]);
        assert!(matches!(verifier.vote(zero), Err(VerifyError::Signature(_))));
    }
    // Another valid signature of the same root is accepted because it verifies, not because the
    // root is known: the same nodes' keys under another order of members.
    let mut other = (*world.config).clone();
    other.members.swap(0, 1);
    let mut elsewhere = Verifier::new(other.into());
    let votes: Vec<SignedVote> =
        (0..5).map(|slot| world.vote(StatementKind::Echo, &a, slot)).collect();
    let moved = votes.into_iter().filter(|vote| elsewhere.vote(vote.clone()).is_err()).count();
    assert_eq!(moved, 2);
}

// Rule: SIGN-2. The memory is bounded and forgetting costs only time.
#[test]
fn a_full_memory_still_verifies_right() {
    let (world, a, mut verifier) = world_and_content();
    let upload = a.open.open.object.upload(&world.config);
    let key = world.key_at(upload, Slot(0));
    let first = world.vote(StatementKind::Echo, &a, 0);
    verifier.vote(first.clone()).unwrap();
    // More than two generations would take seconds of signing; the bound itself is a constant.
    for number in 0..2000 {
        let expiry = Timestamp(number);
        let statement = Statement { expiry, ..first.statement };
        let vote = sign_statements(&world.config, key, &[statement]).remove(0);
        verifier.vote(vote).unwrap();
    }
    verifier.vote(first).unwrap();
}

// Rule: ECHO-1, READ-1.
#[test]
fn certificates_need_distinct_existing_signers_and_enough_of_them() {
    let (world, a, mut verifier) = world_and_content();
    let cert = |slots: &[u8]| world.cert(StatementKind::Echo, &a, slots);
    for slots in [&[0, 1, 2, 3][..], &[4, 2, 1, 0], &[0, 1, 2, 3, 4]] {
        verifier.echo_cert(cert(slots)).unwrap();
    }
    let quorum = |found| Err(VerifyError::Quorum { needed: 4, found });
    assert_eq!(verifier.echo_cert(cert(&[])), quorum(0));
    assert_eq!(verifier.echo_cert(cert(&[0, 1, 2])), quorum(3));
    assert_eq!(verifier.echo_cert(cert(&[0, 1, 2, 2])), quorum(3), "a repeated slot");
    assert_eq!(verifier.echo_cert(cert(&[0, 1, 2, 3, 3])), quorum(4), "repeated beyond need");
    let mut outside = cert(&[0, 1, 2, 3]);
    outside.entries[3].0 = Slot(5);
    assert_eq!(verifier.echo_cert(outside), quorum(3));
    let mut forged = cert(&[0, 1, 2, 3]);
    forged.entries[1].1.signature = spoiled(forged.entries[1].1.signature);
    assert!(matches!(verifier.echo_cert(forged), Err(VerifyError::Signature(_))));
    let mut swapped = cert(&[0, 1, 2, 3]);
    swapped.entries[0].0 = Slot(1);
    swapped.entries[1].0 = Slot(0);
    assert!(matches!(verifier.echo_cert(swapped), Err(VerifyError::Signature(_))));
}

// Rule: SIGN-1, ECHO-1. A certificate is of one content, one epoch and one kind.
#[test]
fn certificates_do_not_mix_contents_kinds_or_epochs() {
    let (world, a, mut verifier) = world_and_content();
    let b = world.bundle(0xb);
    let mut mixed = world.cert(StatementKind::Echo, &a, &[0, 1, 2]);
    mixed.entries.extend(world.cert(StatementKind::Echo, &b, &[3]).entries);
    assert!(matches!(verifier.echo_cert(mixed), Err(VerifyError::Signature(_))));

    let mut other_epoch = world.cert(StatementKind::Echo, &a, &[0, 1, 2, 3]);
    other_epoch.epoch = Epoch(1);
    assert_eq!(verifier.echo_cert(other_epoch), Err(VerifyError::Mismatch));

    let readies = world.cert(StatementKind::Ready, &a, &[0, 1, 2, 3]);
    let expected = StatementKind::Echo;
    let found = StatementKind::Ready;
    assert_eq!(verifier.echo_cert(readies), Err(VerifyError::Kind { expected, found }));

    // Nor is an abort certificate about a content.
    let mut about = world.abort_cert(&a);
    about.commitment = promise(&a).commitment;
    assert!(verifier.abort_cert(about).is_err());
    verifier.abort_cert(world.abort_cert(&a)).unwrap();
}

// Rule: READ-1, COMMIT-1.
#[test]
fn a_commit_proof_is_refused_if_any_part_is_about_something_else() {
    let (world, a, mut verifier) = world_and_content();
    let b = world.bundle(0xb);
    let (good, other) = (world.proof(&a), world.proof(&b));
    verifier.commit(good.clone()).unwrap();
    let mismatched = [
        CommitProof { seal: b.clone(), ..good.clone() },
        CommitProof { echo: other.echo.clone(), ..good.clone() },
        CommitProof { ready: other.ready.clone(), ..good.clone() },
    ];
    for proof in mismatched {
        assert_eq!(verifier.commit(proof), Err(VerifyError::Mismatch));
    }
    // Another expiry is another OPEN.
    let later = world.open(world.object("photo", 0), Timestamp(EXPIRY.0 + 1));
    let later = later.sign(&world.config, &world.owner);
    let seal = SealBundle::sign(&world.config, later, a.manifest.clone(), &world.owner);
    let proof = CommitProof { seal, ..good.clone() };
    assert_eq!(verifier.commit(proof), Err(VerifyError::Mismatch));
    // Certificates in each other's place, and one that is one signer short.
    let mut swapped = good.clone();
    std::mem::swap(&mut swapped.echo, &mut swapped.ready);
    assert!(verifier.commit(swapped).is_err());
    let short = |part: fn(&mut CommitProof) -> &mut QuorumCert| {
        let mut proof = good.clone();
        part(&mut proof).entries.pop();
        proof
    };
    for proof in [short(|proof| &mut proof.echo), short(|proof| &mut proof.ready)] {
        assert!(matches!(verifier.commit(proof), Err(VerifyError::Quorum { .. })));
    }
}

// Rule: READ-1. The owner's signature binds: another owner's seal of the same bytes is nobody's.
#[test]
fn a_commit_proof_with_another_owners_seal_is_refused() {
    let (world, a, mut verifier) = world_and_content();
    let thief = SigningKey::from_seed([0x66; 32]);
    let proof = world.proof(&a);
    let mut resealed = proof.clone();
    resealed.seal = SealBundle::sign(&world.config, a.open.clone(), a.manifest.clone(), &thief);
    assert!(matches!(
        verifier.commit(resealed),
        Err(VerifyError::Object(ObjectError::Signature(_)))
    ));
    let object = world.object_of(&thief, "photo", 0);
    let open = world.open(object.clone(), EXPIRY).sign(&world.config, &thief);
    let manifest = Manifest { object, ..a.manifest.clone() };
    let seal = SealBundle::sign(&world.config, open, manifest, &thief);
    assert_eq!(verifier.commit(CommitProof { seal, ..proof }), Err(VerifyError::Mismatch));
}

// Rule: COMMITMENT-1. Scenario 8: every number follows from the others.
#[test]
fn a_manifest_that_contradicts_itself_its_open_or_the_cluster_is_refused() {
    let (world, a, _) = world_and_content();
    let good = a.manifest.clone();
    let foreign = World::new(4, 6);
    type Change = fn(&mut Manifest, &World);
    let changes: [(&str, Change); 10] = [
        ("a stripe too many", |m, _| m.stripes += 1),
        ("a stripe missing", |m, _| m.stripes -= 1),
        ("no stripes", |m, _| m.stripes = 0),
        ("longer than its stripes", |m, _| m.object_bytes += 4096 * 3),
        ("longer than announced", |m, _| m.object_bytes = (1 << 20) + 1),
        ("endless", |m, _| m.object_bytes = u64::MAX),
        ("another shape", |m, other| m.params = other.params()),
        ("another chunk size", |m, _| m.chunk_bytes = 8192),
        ("chunks of no bytes", |m, _| m.chunk_bytes = 0),
        ("another object", |m, other| m.object = other.object("other", 0)),
    ];
    for (what, change) in changes {
        let mut manifest = good.clone();
        change(&mut manifest, &foreign);
        let bundle = SealBundle::sign(&world.config, a.open.clone(), manifest, &world.owner);
        assert!(bundle.verify(&world.config).is_err(), "{what}");
    }
    let mut unsigned = a.clone();
    unsigned.manifest.root.0[0] ^= 1;
    assert!(matches!(unsigned.verify(&world.config), Err(ObjectError::Signature(_))));
    let mut spoiled_open = a.clone();
    spoiled_open.open.open.expiry = Timestamp(EXPIRY.0 + 1);
    assert!(matches!(spoiled_open.verify(&world.config), Err(ObjectError::Signature(_))));
    world.seal(&a);
}

// Rule: COMMITMENT-1, ID-1. Each field of a manifest changes C; each part of an id changes u.
#[test]
fn commitment_and_upload_id_bind_every_part() {
    let (world, a, _) = world_and_content();
    let thief = SigningKey::from_seed([0x66; 32]);
    let foreign = World::of(3, 5, ClusterId([0xc2; 16]), Epoch(0), 1);
    let ids = [
        world.object("photo", 0).upload(&world.config),
        world.object("photo", 1).upload(&world.config),
        world.object("photo2", 0).upload(&world.config),
        world.object_of(&thief, "photo", 0).upload(&world.config),
        world.object("photo", 0).upload(&foreign.config),
    ];
    let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len());

    let bytes = a.manifest.to_bytes();
    let mut commitments = std::collections::BTreeSet::from([a.manifest.commitment()]);
    let mut readable = 1;
    for position in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[position] ^= 1;
        if let Ok(other) = Manifest::decode(&mut avid_types::Decoder::new(&changed)) {
            commitments.insert(other.commitment());
            readable += 1;
        }
    }
    assert_eq!(commitments.len(), readable);
}

fn predecessor_of_photo_1(world: &World, proof: Option<Predecessor>) -> Result<(), VerifyError> {
    world.verifier().predecessor(EXPIRY, &world.object("photo", 1), proof)
}

/// The commit of an object that expired one tick before `EXPIRY`.
fn expired(world: &World, name: &str) -> Box<CommitProof> {
    let mut manifest = world.manifest(world.object(name, 0), 0xa);
    manifest.expires_at = Timestamp(EXPIRY.0 - 1);
    let open = world.signed_open(world.object(name, 0));
    let seal = SealBundle::sign(&world.config, open, manifest, &world.owner);
    Box::new(world.proof(&seal))
}

// Rule: ID-1.
#[test]
fn a_generation_opens_after_proof_that_the_one_before_ended() {
    let (world, a, mut verifier) = world_and_content();
    let delete = world.order(OrderKind::Delete, world.object("photo", 0));
    let proofs = [
        Predecessor::Aborted(world.abort_cert(&a)),
        Predecessor::Deleted(delete),
        Predecessor::Expired(expired(&world, "photo")),
    ];
    for proof in proofs {
        assert_eq!(predecessor_of_photo_1(&world, Some(proof)), Ok(()));
    }
    assert!(matches!(predecessor_of_photo_1(&world, None), Err(VerifyError::Predecessor(_))));
    // The first generation follows nothing.
    verifier.predecessor(NOW, &world.object("photo", 0), None).unwrap();
}

// Rule: ID-1.
#[test]
fn the_end_of_another_upload_opens_nothing() {
    let (world, _, _) = world_and_content();
    let delete = |object| Predecessor::Deleted(world.order(OrderKind::Delete, object));
    let cancel = world.order(OrderKind::Cancel, world.object("photo", 0));
    let bundle = |name, generation| world.bundle_of(world.object(name, generation), 0xa);
    let proofs = [
        Predecessor::Aborted(world.abort_cert(&bundle("other", 0))),
        Predecessor::Aborted(world.abort_cert(&bundle("photo", 1))),
        delete(world.object("photo", 1)),
        delete(world.object("photo", 2)),
        delete(world.object("other", 0)),
        delete(world.object_of(&world.operator, "photo", 0)),
        Predecessor::Deleted(cancel),
        Predecessor::Expired(expired(&world, "other")),
    ];
    for proof in proofs {
        let found = predecessor_of_photo_1(&world, Some(proof.clone()));
        assert_eq!(found, Err(VerifyError::Mismatch), "{proof:?}");
    }
}

// Rule: ID-1, TIME-1.
#[test]
fn a_false_proof_of_an_end_opens_nothing() {
    let (world, a, mut verifier) = world_and_content();
    let check = |proof| predecessor_of_photo_1(&world, Some(proof));
    let never = Predecessor::Expired(Box::new(world.proof(&a)));
    assert!(matches!(check(never), Err(VerifyError::Predecessor(_))), "it never expires");
    let early = Some(Predecessor::Expired(expired(&world, "photo")));
    let next = world.object("photo", 1);
    let found = verifier.predecessor(Timestamp(EXPIRY.0 - 2), &next, early.clone());
    assert!(matches!(found, Err(VerifyError::Predecessor(_))), "not yet expired");
    let found = verifier.predecessor(Timestamp(EXPIRY.0 - 1), &next, early);
    assert_eq!(found, Ok(()), "expired just now");
    let mut forged = world.order(OrderKind::Delete, world.object("photo", 0));
    forged.signature = spoiled(forged.signature);
    let found = check(Predecessor::Deleted(forged));
    assert!(matches!(found, Err(VerifyError::Object(ObjectError::Signature(_)))));
    let mut few = world.abort_cert(&a);
    few.entries.pop();
    assert!(matches!(check(Predecessor::Aborted(few)), Err(VerifyError::Quorum { .. })));
    let echoes = world.cert(StatementKind::Echo, &a, &[0, 1, 2, 3]);
    assert!(matches!(check(Predecessor::Aborted(echoes)), Err(VerifyError::Kind { .. })));
    let mut unproven = expired(&world, "photo");
    unproven.ready.entries.pop();
    let found = check(Predecessor::Expired(unproven));
    assert!(matches!(found, Err(VerifyError::Quorum { .. })));
}

/// The identity as a key of small order, canonical and not, and a point that is none.
fn odd_points() -> Vec<[u8; 32]> {
    let mut identity = [0; 32];
    identity[0] = 1;
    let mut identity_with_sign = identity;
    identity_with_sign[31] = 0x80;
    let mut identity_beyond_p = [0xff; 32];
    identity_beyond_p[0] = 0xee;
    identity_beyond_p[31] = 0x7f;
    let order_four = [0; 32];
    vec![identity, identity_with_sign, identity_beyond_p, order_four, [0xff; 32]]
}

// Rule: SIGN-2. Scenario 13: whether asked once or again, alone or in a certificate, one answer.
#[test]
fn odd_points_get_the_same_answer_however_often_they_are_asked() {
    let (world, a, _) = world_and_content();
    let upload = a.open.open.object.upload(&world.config);
    let mut accepted = 0;
    for key in odd_points() {
        for r in odd_points() {
            let mut config = (*world.config).clone();
            let node = config.node_at(upload, Slot(2)).unwrap();
            config.members[node.index()].vote_key = PublicKey(key);
            let mut vote = world.vote(StatementKind::Echo, &a, 2);
            let mut signature = [0; 64];
            signature[..32].copy_from_slice(&r);
            vote.attestation.signature = Signature(signature);
            let config = std::sync::Arc::new(config);
            let mut verifier = Verifier::new(config.clone());
            let answer = verifier.vote(vote.clone()).is_ok();
            accepted += usize::from(answer);
            for _ in 0..3 {
                assert_eq!(verifier.vote(vote.clone()).is_ok(), answer, "asked again");
            }
            let mut cert = world.cert(StatementKind::Echo, &a, &[0, 1, 2, 3]);
            cert.entries[2].1 = vote.attestation.clone();
            assert_eq!(verifier.echo_cert(cert.clone()).is_ok(), answer, "known");
            let mut stranger = Verifier::new(config);
            assert_eq!(stranger.echo_cert(cert).is_ok(), answer, "unknown, in a certificate");
        }
    }
    // ZIP-215 accepts small-order keys and encodings beyond p: the answers above are not all no.
    assert!(accepted > 0);
}

// Rule: OPER-1, GRANT-1.
#[test]
fn configurations_and_grants_are_the_operators_word_only() {
    let world = World::new(3, 5);
    let client = world.owner.public();
    let signature = sign_config(&world.config, &world.operator);
    assert!(config_signed(&world.config, &signature));
    assert!(!config_signed(&world.config, &sign_config(&world.config, &world.owner)));
    let mut changed = (*world.config).clone();
    changed.members[0].address = "elsewhere:1".into();
    assert!(!config_signed(&changed, &signature));

    let good = grant(&world);
    let rights = good.verify(&world.config, &client, Timestamp(76)).unwrap();
    assert_eq!((rights.read, rights.write), (true, false));
    let ended = good.verify(&world.config, &client, Timestamp(77));
    assert_eq!(ended, Err(GrantError::Ended));
    let stolen = good.verify(&world.config, &world.operator.public(), NOW);
    assert_eq!(stolen, Err(GrantError::OtherClient));
    let mut more = good;
    more.grant.rights.write = true;
    assert_eq!(more.verify(&world.config, &client, NOW), Err(GrantError::Signature));
    let foreign = World::of(3, 5, ClusterId([0xc2; 16]), Epoch(0), 1);
    assert_eq!(good.verify(&foreign.config, &client, NOW), Err(GrantError::Signature));
    let mut for_ever = good.grant;
    for_ever.not_after = Timestamp::ZERO;
    let for_ever = for_ever.sign(&world.config, &world.operator);
    for_ever.verify(&world.config, &client, Timestamp(u64::MAX)).unwrap();
}

// Rule: PLACE-1, GROUP-1. Votes follow the rotation: slot k is not always node k.
#[test]
fn the_signer_of_a_slot_rotates_with_the_upload() {
    let world = World::new(3, 5);
    let mut first_nodes = std::collections::BTreeSet::new();
    for number in 0..40 {
        let a = world.bundle_of(world.object(&format!("photo{number}"), 0), 0xa);
        let vote = world.vote(StatementKind::Echo, &a, 0);
        let signer = world.verifier().vote(vote).unwrap().signer();
        first_nodes.insert(signer);
    }
    assert_eq!(first_nodes.into_iter().collect::<Vec<_>>(), (0..5).map(NodeId).collect::<Vec<_>>());
}
