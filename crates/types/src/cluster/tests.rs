//! Every rule of a configuration at its edge, its bytes, and where uploads live.
//!
//! Spec: docs/protocol.md GROUP-1, PLACE-1.

use super::*;
use crate::suite::FingerprintKind;

/// n - 2 of n, node i named "node" and i.
fn sample(n: u8) -> ClusterConfig {
    let member = |i: u8| MemberConfig {
        name: format!("node{i}"),
        vote_key: PublicKey([i; 32]),
        transport_key: PublicKey([100 + i; 32]),
        address: format!("127.0.0.1:{}", 9000 + u16::from(i)),
        zone: String::new(),
    };
    ClusterConfig {
        cluster: ClusterId([9; 16]),
        epoch: Epoch(0),
        params: Params::with_most_liars(n - 2, n).unwrap(),
        suite: Suite::default(),
        chunk_bytes: 4096,
        members: (0..n).map(member).collect(),
        groups: vec![(0..u16::from(n)).map(NodeId).collect()],
        operators: vec![PublicKey([200; 32])],
    }
}

/// The sample after one change.
fn changed(change: impl FnOnce(&mut ClusterConfig)) -> ClusterConfig {
    let mut config = sample(5);
    change(&mut config);
    config
}

#[test]
fn canonical_bytes_round_trip_and_refuse_changes() {
    let config = sample(5);
    let bytes = config.to_bytes();
    assert_eq!(ClusterConfig::from_bytes(&bytes), Ok(config));
    for cut in 0..bytes.len() {
        assert!(ClusterConfig::from_bytes(&bytes[..cut]).is_err());
    }
    let mut longer = bytes;
    longer.push(0);
    assert!(ClusterConfig::from_bytes(&longer).is_err());
}

/// Drawn in docs/formats.md 3.
#[test]
fn canonical_bytes_are_those_of_the_drawing_and_the_digest_is_theirs() {
    let config = changed(|config| {
        config.epoch = Epoch(0x0102);
        config.members[1].zone = "east".to_owned();
    });
    let mut drawn = vec![1];
    drawn.extend([9; 16]);
    drawn.extend([2, 1, 0, 0, 0, 0, 0, 0]);
    drawn.extend([3, 5, 1, 0]);
    drawn.extend([0, 0x10, 0, 0]);
    drawn.extend([5, 0]);
    for i in 0..5_u8 {
        drawn.extend([5, 0]);
        drawn.extend(format!("node{i}").bytes());
        drawn.extend([i; 32]);
        drawn.extend([100 + i; 32]);
        drawn.extend([14, 0]);
        drawn.extend(format!("127.0.0.1:900{i}").bytes());
        let zone: &[u8] = if i == 1 { b"\x04\0east" } else { b"\0\0" };
        drawn.extend(zone);
    }
    drawn.extend([1, 0, 5, 0]);
    drawn.extend([0, 0, 1, 0, 2, 0, 3, 0, 4, 0]);
    drawn.extend([1, 0]);
    drawn.extend([200; 32]);
    assert_eq!(config.to_bytes(), drawn);
    assert_eq!(config.digest(), Digest::of(&[b"avidfp/cluster/v1", &drawn]));
}

#[test]
fn bytes_of_another_version_or_against_a_rule_are_refused() {
    let mut bytes = sample(5).to_bytes();
    bytes[0] = 2;
    let version = DecodeError::Version { what: "cluster configuration", found: 2, newest: 1 };
    assert_eq!(ClusterConfig::from_bytes(&bytes), Err(version));
    let twins = changed(|config| config.members[1].name = "node0".to_owned()).to_bytes();
    let refused = DecodeError::Invalid { what: "cluster configuration", value: 0 };
    assert_eq!(ClusterConfig::from_bytes(&twins), Err(refused));
    let mut not_text = sample(5).to_bytes();
    let name = not_text.windows(5).position(|window| window == b"node0").unwrap();
    not_text[name] = 0xff;
    let refused = DecodeError::Invalid { what: "member name", value: 0 };
    assert_eq!(ClusterConfig::from_bytes(&not_text), Err(refused));
}

#[test]
fn slots_and_nodes_are_inverse_for_every_rotation() {
    let config = sample(5);
    for first in 0..=255u8 {
        let upload = UploadId([first; 32]);
        for slot in config.params.slots() {
            let node = config.node_at(upload, slot).unwrap();
            assert_eq!(config.slot_of(upload, node), Some(slot));
        }
        assert_eq!(config.node_at(upload, Slot(5)), None);
        assert_eq!(config.slot_of(upload, NodeId(5)), None);
    }
}

/// Rule: PLACE-1. Groups beyond the first are refused today; where their uploads live is fixed.
#[test]
fn the_first_word_rotates_and_the_second_chooses_the_group() {
    let config = changed(|config| {
        let group = |first: u16| (first..first + 5).map(NodeId).collect();
        config.groups = vec![group(0), group(10), group(20)];
    });
    let mut upload = UploadId::ZERO;
    upload.0[..8].copy_from_slice(&(0x0100_0000_0000_0007_u64).to_le_bytes());
    upload.0[8..16].copy_from_slice(&(0x0200_0000_0000_0008_u64).to_le_bytes());
    upload.0[16..].fill(0xff);
    // 2^56 + 7 = 3 (mod 5), 2^57 + 8 = 1 (mod 3).
    assert_eq!(config.placement(upload), Placement { group: GroupId(1), rotation: 3 });
    let nodes: Vec<_> = config.params.slots().map(|slot| config.node_at(upload, slot)).collect();
    assert_eq!(nodes, [13, 14, 10, 11, 12].map(|node| Some(NodeId(node))));
    for (slot, node) in config.params.slots().zip(nodes) {
        assert_eq!(config.slot_of(upload, node.unwrap()), Some(slot));
    }
    assert_eq!(config.slot_of(upload, NodeId(0)), None, "a member of another group");
    assert_eq!(config.group(GroupId(1)).unwrap()[0], NodeId(10));
    assert_eq!(config.group(GroupId(3)), None);
}

#[test]
fn members_are_found_by_number_and_by_transport_key() {
    let config = sample(5);
    assert_eq!(config.member(NodeId(3)).unwrap().name, "node3");
    assert_eq!(config.member(NodeId(5)), None);
    assert_eq!(config.node_of_transport_key(&PublicKey([103; 32])), Some(NodeId(3)));
    assert_eq!(config.node_of_transport_key(&PublicKey([3; 32])), None, "a vote key");
    assert_eq!(NodeId(259).index(), 259);
    assert_eq!(NodeId(259).to_string(), "259");
}

#[test]
fn a_cross_checksum_has_a_digest_per_node_and_a_fingerprint_per_data_slot() {
    assert_eq!(sample(5).fpcc_bytes(), 5 * 32 + 3 * 16);
    let short = changed(|config| config.suite.fingerprint = FingerprintKind::Fp64);
    assert_eq!(short.fpcc_bytes(), 5 * 32 + 3 * 8);
}

#[test]
fn shared_keys_and_names_are_refused() {
    let config = changed(|c| c.members[1].vote_key = c.members[3].transport_key);
    assert!(matches!(config.check(), Err(ConfigError::Duplicate { what: "key", .. })));
    let config = changed(|c| c.members[1].vote_key = c.members[1].transport_key);
    let itself = ConfigError::Duplicate { first: NodeId(1), second: NodeId(1), what: "key" };
    assert_eq!(config.check(), Err(itself));
    let config = changed(|c| c.members[1].name = "node0".into());
    let twins = ConfigError::Duplicate { first: NodeId(0), second: NodeId(1), what: "name" };
    assert_eq!(config.check(), Err(twins));
}

#[test]
fn texts_of_a_member_are_taken_up_to_their_limit_and_not_beyond() {
    type Field = fn(&mut MemberConfig) -> &mut String;
    let fields: [(&'static str, Field, usize); 3] = [
        ("name", |member| &mut member.name, LABEL_BYTES_MAX),
        ("address", |member| &mut member.address, ADDRESS_BYTES_MAX),
        ("zone", |member| &mut member.zone, LABEL_BYTES_MAX),
    ];
    for (what, field, max) in fields {
        let with = |text: &str| changed(|c| text.clone_into(field(&mut c.members[2]))).check();
        let refused = Err(ConfigError::Member { member: NodeId(2), what });
        assert_eq!(with(&"x".repeat(max)), Ok(()), "{what} at its limit");
        assert_eq!(with(&"x".repeat(max + 1)), refused, "{what} beyond its limit");
        assert_eq!(with("a\tb"), refused, "a control character in {what}");
        let empty = if what == "zone" { Ok(()) } else { refused };
        assert_eq!(with(""), empty, "empty {what}");
    }
}

/// Rule: GROUP-1.
#[test]
fn a_group_that_is_not_n_distinct_existing_members_is_refused() {
    let refused = Err(ConfigError::Group(GroupId(0), 5));
    assert_eq!(changed(|c| c.groups[0][4] = NodeId(0)).check(), refused, "twice the same");
    assert_eq!(changed(|c| c.groups[0][4] = NodeId(5)).check(), refused, "no such member");
    assert_eq!(changed(|c| c.groups[0].truncate(4)).check(), refused, "one too few");
    assert_eq!(changed(|c| c.groups[0].push(NodeId(0))).check(), refused, "one too many");
    assert_eq!(changed(|c| c.groups[0].reverse()).check(), Ok(()), "any order is a group");
}

#[test]
fn only_one_group_of_all_members_is_supported() {
    let count = |groups, members| Err(ConfigError::GroupCount { groups, members, n: 5 });
    assert_eq!(changed(|c| c.groups.push(c.groups[0].clone())).check(), count(2, 5));
    assert_eq!(changed(|c| c.groups.clear()).check(), count(0, 5));
    assert_eq!(changed(|c| c.members.truncate(4)).check(), count(1, 4));
}

#[test]
fn counts_of_members_and_operators_and_the_chunk_size_have_bounds() {
    let alone = changed(|config| config.members.truncate(1));
    assert_eq!(alone.check(), Err(ConfigError::MemberCount(1)));
    let crowd = changed(|config| config.members.resize(4097, config.members[0].clone()));
    assert_eq!(crowd.check(), Err(ConfigError::MemberCount(4097)));
    for (count, expected) in [
        (0, Err(ConfigError::OperatorCount(0))),
        (16, Ok(())),
        (17, Err(ConfigError::OperatorCount(17))),
    ] {
        let config = changed(|config| config.operators = vec![PublicKey([200; 32]); count]);
        assert_eq!(config.check(), expected);
    }
    let odd = changed(|config| config.chunk_bytes = 4097);
    assert!(matches!(odd.check(), Err(ConfigError::ChunkBytes(_))));
}
