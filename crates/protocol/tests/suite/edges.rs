//! Checks at their edges: the last value that passes and the first that does not.
//!
//! The scenarios reach most of these only from one side. Words that people read are here as well.

use avid_protocol::authority::{Grant, Rights, SignedGrant};
use avid_protocol::clock::{ClusterClock, Heartbeat};
use avid_protocol::fault::FaultKind;
use avid_protocol::object::{ObjectError, Open, SealBundle, StatementKindName};
use avid_protocol::statement::StatementKind;
use avid_protocol::verify::VerifyError;
use avid_types::{
    DecodeError, Decoder, FingerprintKind, NodeId, Params, StripeLayoutError, Suite, Timestamp,
};

use crate::samples::{encoded, spoiled};
use crate::world::World;

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
