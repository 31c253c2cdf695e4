//! Checks at their edges: the last value that passes and the first that does not.
//!
//! The scenarios reach most of these only from one side. Words that people read are here as well.

use avid_protocol::authority::{Grant, Rights, SignedGrant};
use avid_protocol::clock::{ClusterClock, Heartbeat};
use avid_protocol::fault::FaultKind;
use avid_protocol::object::{ObjectError, Open, SealBundle, StatementKindName};
use avid_protocol::reader::{Reader, ReaderInput, ReaderOutput, Run};
use avid_protocol::record::Phase;
use avid_protocol::server::Refusal;
use avid_protocol::statement::StatementKind;
use avid_protocol::tally::Tally;
use avid_protocol::verify::VerifyError;
use avid_protocol::wire::RefusalCode;
use avid_types::{
    DecodeError, Decoder, FingerprintKind, NodeId, Params, Slot, StripeIndex, StripeLayoutError,
    Suite, Timestamp,
};

use crate::samples::{encoded, records, spoiled};
use crate::world::{World, promise};

// Rule: GRANT-1. Reading and writing are granted apart; bits of rights to come are refused.
#[test]
fn rights_are_two_bits_of_their_own() {
    let world = World::new(3, 5);
    let client = world.owner.public();
    for (read, write) in [(false, false), (true, false), (false, true), (true, true)] {
        let rights = Rights { read, write };
        let grant = Grant { client, rights, not_after: Timestamp::ZERO };
        let signed = grant.sign(&world.config, &world.operator);
        let bytes = encoded(|e| signed.encode(e));
        assert_eq!(bytes[33], u8::from(read) + 2 * u8::from(write));
        assert_eq!(SignedGrant::decode(&mut Decoder::new(&bytes)), Ok(signed));
        assert_eq!(signed.verify(&world.config, &client, Timestamp(1)), Ok(rights));
        for bit in 2..8 {
            let mut more = bytes.clone();
            more[33] |= 1 << bit;
            let refused = DecodeError::Invalid { what: "rights", value: u64::from(more[33]) };
            assert_eq!(SignedGrant::decode(&mut Decoder::new(&more)), Err(refused));
        }
    }
}

// Rule: AMNESIA-1. By boot, then position, then reading.
#[test]
fn a_heartbeat_gives_way_to_a_newer_one_and_not_to_one_of_its_age() {
    let world = World::new(3, 5);
    let mut clock = ClusterClock::new(&world.config, Timestamp::ZERO);
    for (boot, position, reading) in [(1, 5, 50), (1, 5, 51), (1, 6, 40), (2, 0, 30)] {
        let heartbeat = Heartbeat { node: NodeId(1), reading: Timestamp(reading), boot, position };
        let signed = heartbeat.sign(&world.config, &world.keys[1]);
        assert_eq!(heartbeat.age(), (boot, position, Timestamp(reading)));
        clock.observe(signed);
        assert_eq!(clock.remembered(NodeId(1)), Some(&signed));
        let mut twin = signed;
        twin.signature = spoiled(signed.signature);
        clock.observe(twin);
        assert_eq!(clock.remembered(NodeId(1)), Some(&signed), "the first of its age stays");
    }
}

// Rule: COMMITMENT-1, SUITE-1. The owner signed it, and yet it is not for this cluster.
#[test]
fn an_open_for_another_shape_suite_or_chunk_size_is_refused() {
    let world = World::new(3, 5);
    type Change = fn(&mut Open);
    let changes: [(&str, Change); 4] = [
        ("m, n or f", |open| open.params = Params::validate(3, 5, 0).unwrap()),
        ("m, n or f", |open| open.params = Params::with_most_liars(4, 6).unwrap()),
        ("suite", |open| {
            open.suite = Suite { fingerprint: FingerprintKind::Fp64, ..open.suite };
        }),
        ("chunk size", |open| open.chunk_bytes = 8192),
    ];
    for (what, change) in changes {
        let mut open = world.open(world.object("photo", 0), crate::world::EXPIRY);
        change(&mut open);
        let signed = open.sign(&world.config, &world.owner);
        assert_eq!(signed.verify(&world.config), Err(ObjectError::Params { what }));
    }
}

// Rule: COMMITMENT-1.
#[test]
fn an_object_is_as_long_as_announced_and_not_one_byte_longer() {
    let world = World::new(3, 5);
    let manifest = world.manifest(world.object("photo", 0), 0xa);
    let len = manifest.object_bytes;
    for (max, expected) in [
        (len + 1, Ok(())),
        (len, Ok(())),
        (len - 1, Err(ObjectError::TooLong { len, max: len - 1 })),
    ] {
        let mut open = world.open(world.object("photo", 0), crate::world::EXPIRY);
        open.object_bytes_max = max;
        let open = open.sign(&world.config, &world.owner);
        let bundle = SealBundle::sign(&world.config, open, manifest.clone(), &world.owner);
        assert_eq!(bundle.verify(&world.config).map(|_| ()), expected);
    }
    let mut endless = world.open(world.object("photo", 0), crate::world::EXPIRY);
    endless.object_bytes_max = u64::MAX;
    let refused = endless.sign(&world.config, &world.owner).verify(&world.config);
    let expected = ObjectError::Layout(StripeLayoutError::ObjectBytes(u64::MAX));
    assert_eq!(refused, Err(expected));
}

// Rule: EVID-1. Operators read these; the words name what was signed.
#[test]
fn faults_and_refusals_name_the_statement() {
    let world = World::new(3, 5);
    let a = world.bundle(0xa);
    let votes = (world.vote(StatementKind::Ready, &a, 2), world.vote(StatementKind::Abort, &a, 2));
    let both = FaultKind::ConflictingVotes(Box::new(votes)).to_string();
    assert_eq!(both, "signed both ready and abort for one upload");
    let lie = FaultKind::Unverifiable(VerifyError::Signature(NodeId(3))).to_string();
    assert_eq!(lie, "sent an unverifiable statement: signature of node 3 does not verify");
    let bare = FaultKind::ReadyWithoutEchoes.to_string();
    assert_eq!(bare, "sent ready without an echo certificate");
    let open = ObjectError::Signature(StatementKindName::Open).to_string();
    assert_eq!(open, "the owner's signature of the open does not verify");
    let delete = StatementKindName::Statement(StatementKind::Delete);
    let delete = ObjectError::Signature(delete).to_string();
    assert_eq!(delete, "the owner's signature of the delete does not verify");
}

/// A reader of 3-of-5 from the first stripe.
fn reader(stripes: u64, run_stripes: u64) -> Reader {
    let params = Params::with_most_liars(3, 5).unwrap();
    let lost = std::collections::BTreeSet::new();
    Reader::new(params, StripeIndex(0), StripeIndex(stripes), run_stripes, lost)
}

/// What is asked of whom: slot, first stripe, count.
fn requests(outputs: &[ReaderOutput]) -> Vec<(u8, u64, u64)> {
    let request = |output: &ReaderOutput| match output {
        ReaderOutput::Request { slot, run: Run { first, count }, .. } => {
            Some((slot.0, first.0, *count))
        }
        ReaderOutput::Decode { .. } | ReaderOutput::Unavailable { .. } => None,
    };
    outputs.iter().filter_map(request).collect()
}

// Rule: READ-3. What a reader holds is bounded by two runs, however long the object is.
#[test]
fn two_runs_are_under_way_and_the_third_waits_for_the_first() {
    let mut reader = reader(100, 8);
    let started = requests(&reader.step(ReaderInput::Start));
    assert_eq!(started, [(0, 0, 8), (1, 0, 8), (2, 0, 8), (0, 8, 8), (1, 8, 8), (2, 8, 8)]);
    for stripe in 0..8 {
        for slot in 0..3 {
            let input = ReaderInput::Verified(Slot(slot), StripeIndex(stripe));
            let outputs = reader.step(input);
            let expected: &[_] = match (slot, stripe) {
                (2, 7) => &[(0, 16, 8), (1, 16, 8), (2, 16, 8)],
                _ => &[],
            };
            assert_eq!(requests(&outputs), expected, "slot {slot}, stripe {stripe}");
        }
    }
    assert!(!reader.is_done());
}

// Rule: READ-3. A stream that works is kept: a fault moves one stream, not all.
#[test]
fn after_a_fault_the_next_run_goes_to_the_streaming_slots_and_one_other() {
    let mut reader = reader(3, 1);
    reader.step(ReaderInput::Start);
    let replaced = reader.step(ReaderInput::Faulty(Slot(0), StripeIndex(0)));
    assert_eq!(requests(&replaced), [(3, 0, 1)]);
    assert_eq!(reader.faults().clone().into_iter().collect::<Vec<_>>(), [(Slot(0), 1)]);
    let mut asked = Vec::new();
    for slot in [1, 2, 3] {
        let verified = ReaderInput::Verified(Slot(slot), StripeIndex(0));
        asked.extend(requests(&reader.step(verified)));
    }
    assert_eq!(asked, [(1, 2, 1), (2, 2, 1), (3, 2, 1)]);
    let twice = reader.step(ReaderInput::Faulty(Slot(0), StripeIndex(1)));
    assert_eq!(requests(&twice), [(3, 1, 1)]);
    assert_eq!(reader.faults()[&Slot(0)], 2);
}

// Rule: READ-3. A slot is replaced once for a stripe, whatever else becomes of it.
#[test]
fn a_late_slot_that_turns_out_faulty_or_lost_is_not_replaced_again() {
    for then in [ReaderInput::Faulty(Slot(0), StripeIndex(0)), ReaderInput::Lost(Slot(0))] {
        let mut reader = reader(1, 1);
        reader.step(ReaderInput::Start);
        let late = reader.step(ReaderInput::Late(Slot(0), StripeIndex(0)));
        assert_eq!(requests(&late), [(3, 0, 1)]);
        assert_eq!(reader.step(then), []);
    }
}

// Rule: READ-3. What is late may still come: with it enough are good, without it too few.
#[test]
fn a_reader_gives_up_when_good_owed_and_late_together_are_too_few() {
    let mut reader = reader(1, 1);
    reader.step(ReaderInput::Start);
    let stripe = StripeIndex(0);
    for slot in [0, 1, 2] {
        reader.step(ReaderInput::Late(Slot(slot), stripe));
    }
    // Asked: 3 and 4. Late: 0, 1 and 2, one of which is enough beside them.
    assert_eq!(reader.step(ReaderInput::Lost(Slot(0))), []);
    assert_eq!(reader.step(ReaderInput::Verified(Slot(3), stripe)), []);
    assert_eq!(reader.step(ReaderInput::Faulty(Slot(1), stripe)), []);
    let short = reader.step(ReaderInput::Faulty(Slot(2), stripe));
    assert_eq!(short, [ReaderOutput::Unavailable { stripe, good: 1 }]);
    assert_eq!(reader.step(ReaderInput::Verified(Slot(4), stripe)), [], "nothing follows");
}

// Rule: ABORT-2, COMMIT-1, DELETE-1. What is settled ignores votes; the words are for people.
#[test]
fn phases_are_settled_by_a_proof_a_certificate_or_a_tombstone_only() {
    for (name, record) in records(&World::new(3, 5)) {
        let (word, settled) = match &record.phase {
            Phase::Idle => ("open", false),
            Phase::Echoed(_) => ("echoed", false),
            Phase::Ready { .. } => ("ready", false),
            Phase::Aborted { cert, .. } => ("aborted", cert.is_some()),
            Phase::Committed(_) => ("committed", true),
            Phase::Deleted(_) => ("deleted", true),
        };
        assert_eq!((record.phase.name(), record.phase.is_settled()), (word, settled), "{name}");
    }
}

// Rule: TALLY-1. One vote per node and kind, the first; a certificate replaces them all.
#[test]
fn a_tally_counts_each_node_once_per_kind_until_it_is_cleared() {
    let world = World::new(3, 5);
    let (a, b) = (world.bundle(0xa), world.bundle(0xb));
    let mut verifier = world.verifier();
    let mut tally = Tally::default();
    let kinds = [StatementKind::Echo, StatementKind::Ready];
    for kind in kinds {
        for slot in [1, 2, 1] {
            let vote = verifier.vote(world.vote(kind, &a, slot)).unwrap();
            assert_eq!(tally.count(&vote), None);
        }
        let other = verifier.vote(world.vote(kind, &b, 1)).unwrap();
        assert!(matches!(tally.count(&other).unwrap().kind, FaultKind::ConflictingVotes(_)));
        assert_eq!(tally.of_kind(kind).count(), 2);
        assert_eq!(tally.equal(kind, promise(&a)).count(), 2);
        assert_eq!(tally.equal(kind, promise(&b)).count(), 0);
    }
    tally.clear();
    assert_eq!(kinds.map(|kind| tally.of_kind(kind).count()), [0, 0]);
}

// Rule: WIRE-1. Programs act on the code; each refusal of the machine has its own or a wider one.
#[test]
fn refusals_of_the_machine_have_codes() {
    for (refusal, code) in [
        (Refusal::OtherContent, RefusalCode::OtherContent),
        (Refusal::Aborted, RefusalCode::Aborted),
        (Refusal::Deleted, RefusalCode::Deleted),
        (Refusal::Expired, RefusalCode::Expired),
        (Refusal::TooFarAhead, RefusalCode::Expired),
        (Refusal::NoClusterTime, RefusalCode::Unavailable),
        (Refusal::AlreadyReady, RefusalCode::AlreadyReady),
    ] {
        assert_eq!(RefusalCode::from(refusal), code);
    }
}
