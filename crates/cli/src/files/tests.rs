//! Every kind of file: what is written is read again, and what is wrong is refused.

use std::os::unix::fs::PermissionsExt as _;

use super::client_key::ClientKey;
use super::cluster_file::{ClusterFile, load_cluster};
use super::node_key::NodeKey;
use super::operator_key::OperatorKey;
use super::seed::Seed;
use super::settings::NodeSettings;
use super::*;
use crate::commands::init::{ClusterPlan, plan_config};

fn node(i: u8) -> NodeKey {
    NodeKey {
        name: format!("node{i}"),
        address: format!("127.0.0.1:{}", 7100 + u16::from(i)),
        zone: String::new(),
        vote_seed: Seed::from_hex(&hex::encode([i; 32])).unwrap(),
        transport_seed: Seed::from_hex(&hex::encode([100 + i; 32])).unwrap(),
    }
}

fn cluster() -> ClusterFile {
    let operator = Seed::from_hex(&hex::encode([200; 32])).unwrap().key();
    let members = (1..=5).map(|i| node(i).join_request().verify().unwrap()).collect();
    let plan = ClusterPlan { m: 3, n: None, f: None, chunk_bytes: 4096, suite: Default::default() };
    let config = plan_config(&plan, members, avid_types::ClusterId([9; 16]), &operator).unwrap();
    ClusterFile::sign(&config, &operator)
}

#[test]
fn every_kind_round_trips() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    create(&at("node"), &node(1)).unwrap();
    assert_eq!(load::<NodeKey>(&at("node")).unwrap().value, node(1));
    create(&at("join"), &node(1).join_request()).unwrap();
    let join = load::<join::JoinRequest>(&at("join")).unwrap().value;
    assert_eq!(join.verify().unwrap().name, "node1");
    create(&at("cluster"), &cluster()).unwrap();
    assert_eq!(load_cluster(&at("cluster")).unwrap().0, cluster());
    let operator = OperatorKey { seed: Seed::draw().unwrap() };
    create(&at("operator"), &operator).unwrap();
    assert_eq!(load::<OperatorKey>(&at("operator")).unwrap().value, operator);
}

#[test]
fn the_texts_are_frozen() {
    let texts = [
        to_text(&node(1)).unwrap(),
        to_text(&node(1).join_request()).unwrap(),
        to_text(&cluster()).unwrap(),
    ];
    let golden = include_str!("../../testdata/files-v1.txt");
    assert_eq!(texts.concat(), golden);
}

#[test]
fn a_secret_is_private_and_an_open_one_warns() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("client.key");
    create(&path, &ClientKey { seed: Seed::draw().unwrap(), grant: None }).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(load::<ClientKey>(&path).unwrap().warning.is_none());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let warning = load::<ClientKey>(&path).unwrap().warning.unwrap();
    assert!(warning.contains("chmod 600"), "{warning}");
}

#[test]
fn an_existing_file_is_never_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("node.key");
    create(&path, &node(1)).unwrap();
    assert_eq!(create(&path, &node(2)).unwrap_err().kind, Kind::Local);
    assert_eq!(load::<NodeKey>(&path).unwrap().value, node(1));
}

#[test]
fn wrong_files_are_refused_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let join = to_text(&node(1).join_request()).unwrap();
    let table = [
        ("", "not JSON"),
        ("[]", "not an object"),
        ("{}", "no \"format\""),
        ("port: 50051\npeers: [a, b]\n", "not JSON"),
        (&join, "of format \"avid-join-request\""),
        (r#"{"format":"avid-node-key"}"#, "no \"version\""),
        (r#"{"format":"avid-node-key","version":7}"#, "version 7"),
        (r#"{"format":"avid-node-key","version":1}"#, "missing field `name`"),
        (r#"{"format":"avid-node-key","version":1,"colour":1}"#, "unknown field `colour`"),
    ];
    for (text, reason) in table {
        std::fs::write(&path, text).unwrap();
        let error = load::<NodeKey>(&path).unwrap_err();
        assert!(error.message.contains(reason), "{text}: {error}");
        assert_eq!(error.kind, Kind::Usage);
    }
}

#[test]
fn a_broken_secret_is_not_quoted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let secret = "ab".repeat(31);
    let text = format!(r#"{{"format":"avid-client-key","version":1,"seed":"{secret}"}}"#);
    std::fs::write(&path, text).unwrap();
    let error = load::<ClientKey>(&path).unwrap_err().to_string();
    assert!(!error.contains("abab"), "{error}");
}

#[test]
fn a_changed_cluster_file_does_not_verify() {
    let mut file = cluster();
    file.note = Some("a remark".to_owned());
    assert!(file.verify().is_ok(), "a note is not signed");
    let mut moved = cluster();
    moved.members[0].address = "192.0.2.1:7101".to_owned();
    assert_eq!(moved.verify().unwrap_err().kind, Kind::Integrity);
    let mut impossible = cluster();
    impossible.f = 2;
    assert_eq!(impossible.verify().unwrap_err().kind, Kind::Usage);
}

#[test]
fn a_join_request_proves_both_keys() {
    let mut request = node(1).join_request();
    request.transport_key = node(2).join_request().transport_key;
    assert!(request.verify().is_none());
    let mut request = node(1).join_request();
    request.zone = "elsewhere".to_owned();
    assert!(request.verify().is_none());
}

#[test]
fn settings_start_at_their_own_directory() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("server1.json");
    let text = r#"{"format":"avid-node-settings","version":1,"data":"data","key":"/k"}"#;
    std::fs::write(&path, text).unwrap();
    let settings = NodeSettings::load(&path).unwrap();
    assert_eq!(settings.data, Some(directory.path().join("data")));
    assert_eq!(settings.key, Some(PathBuf::from("/k")));
}
