//! Configuration: the canonical bytes that an operator signs, and values that stand in JSON files.

use avid_protocol::authority::SignedGrant;
use avid_types::limits::{ADDRESS_BYTES_MAX, CLUSTER_NODES_MAX, LABEL_BYTES_MAX};
use avid_types::{
    ClusterConfig, ClusterId, Digest, Epoch, MemberConfig, NodeId, ObjectName, PublicKey,
    Signature, Suite, UploadId,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{check, golden};

/// The canonical bytes of a cluster configuration.
pub fn target_cluster_config(bytes: &[u8]) {
    let Ok(config) = ClusterConfig::from_bytes(bytes) else {
        return;
    };
    assert!(config.to_bytes() == bytes, "a configuration is written as other bytes");
    assert!(config.check().is_ok(), "a configuration that breaks a rule was read");
    check::params(config.params);
    assert!((2..=CLUSTER_NODES_MAX).contains(&config.members.len()), "number of members");
    for (node, member) in config.nodes() {
        assert!((1..=LABEL_BYTES_MAX).contains(&member.name.len()), "name of {node}");
        assert!((1..=ADDRESS_BYTES_MAX).contains(&member.address.len()), "address of {node}");
        assert!(config.member(node) == Some(member), "member {node}");
    }
    let upload = UploadId(config.digest().0);
    for slot in config.params.slots() {
        let node = config.node_at(upload, slot);
        assert!(node.is_some(), "a slot without a node");
        let back = node.and_then(|node| config.slot_of(upload, node));
        assert!(back == Some(slot), "slot and node are not each other's");
    }
}

/// JSON as the command line reads it: text, any value, then the values that have types of ours.
pub fn target_json(bytes: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else {
        return;
    };
    for value in value.as_object().into_iter().flat_map(|fields| fields.values()) {
        typed(value);
    }
    typed(&value);
}

fn typed(value: &Value) {
    round_trip::<ClusterId>(value);
    round_trip::<Digest>(value);
    round_trip::<PublicKey>(value);
    round_trip::<Signature>(value);
    round_trip::<Epoch>(value);
    round_trip::<Suite>(value);
    round_trip::<Vec<Vec<NodeId>>>(value);
    round_trip::<Vec<MemberConfig>>(value);
    round_trip::<SignedGrant>(value);
    round_trip::<ObjectName>(value).iter().for_each(check::name);
}

/// What is read from JSON is the same after it was written and read again.
fn round_trip<T: Serialize + DeserializeOwned + PartialEq>(value: &Value) -> Option<T> {
    let read = T::deserialize(value).ok()?;
    let written = serde_json::to_value(&read).ok();
    let again = written.and_then(|written| serde_json::from_value::<T>(written).ok());
    assert!(again.as_ref() == Some(&read), "a value changes when it is written");
    Some(read)
}

pub(crate) fn cluster_config_seeds() -> Vec<Vec<u8>> {
    let config = golden::config();
    let mut named = config.clone();
    named.members.iter_mut().for_each(|member| member.zone = "ä zone".to_owned());
    vec![config.to_bytes(), named.to_bytes()]
}

pub(crate) fn json_seeds() -> Vec<Vec<u8>> {
    let texts = serde_json::Deserializer::from_str(golden::FILES).into_iter::<Value>();
    let mut seeds: Vec<Vec<u8>> =
        texts.filter_map(Result::ok).map(|value| value.to_string().into_bytes()).collect();
    let grant = golden::forms("grant");
    let grants = grant
        .iter()
        .filter_map(|bytes| SignedGrant::decode(&mut avid_types::Decoder::new(bytes)).ok());
    seeds.extend(grants.filter_map(|grant| serde_json::to_vec(&grant).ok()));
    seeds.push(br#"{"name":"ph\u00f6to","epoch":3}"#.to_vec());
    seeds
}
