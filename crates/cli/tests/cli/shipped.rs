//! What the shipped program is made of, and what it is not.

use std::process::Command;

use serde_json::Value;

fn metadata(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked"])
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    crate::support::expect_code(&output, 0);
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Ids of everything that `root` is built from, tests apart.
fn closure<'a>(metadata: &'a Value, root: &'a str) -> Vec<&'a str> {
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(id) = found.get(next) {
        let node = nodes.iter().find(|node| node["id"] == **id).unwrap();
        for dependency in node["deps"].as_array().unwrap() {
            let mut kinds = dependency["dep_kinds"].as_array().unwrap().iter();
            let id = dependency["pkg"].as_str().unwrap();
            if kinds.any(|kind| kind["kind"] != "dev") && !found.contains(&id) {
                found.push(id);
            }
        }
        next += 1;
    }
    found
}

fn package<'a>(metadata: &'a Value, name: &str) -> &'a Value {
    let packages = metadata["packages"].as_array().unwrap();
    packages.iter().find(|package| package["name"] == name).unwrap()
}

/// Claim: no liar and no simulator is in the shipped program, whatever features are asked for.
#[test]
fn the_shipped_program_contains_no_adversary() {
    let metadata = metadata(&["--all-features"]);
    let avid = package(&metadata, "avid-cli")["id"].as_str().unwrap();
    let sim = package(&metadata, "sim")["id"].as_str().unwrap();
    let built_from = closure(&metadata, avid);
    assert!(!built_from.contains(&sim), "avid is built from the simulator");
    let ours = metadata["workspace_members"].as_array().unwrap();
    for member in ours.iter().filter(|id| built_from.contains(&id.as_str().unwrap())) {
        let packages = metadata["packages"].as_array().unwrap();
        let package = packages.iter().find(|package| package["id"] == *member).unwrap();
        let features: Vec<_> = package["features"].as_object().unwrap().keys().collect();
        // The deliberate bugs of the simulator: see the claim about them below.
        let known: &[&str] = if package["name"] == "avid-types" { &["canary"] } else { &[] };
        assert_eq!(features, known, "features of {}", package["name"]);
    }
    assert!(built_from.len() > ours.len(), "the dependencies were not found");
}

/// Claim: the lying member is built only by who asks for it by name.
#[test]
fn the_lying_member_is_built_only_on_demand() {
    let metadata = metadata(&["--no-deps"]);
    let sim = package(&metadata, "sim");
    let targets = sim["targets"].as_array().unwrap();
    let evil = targets.iter().find(|target| target["name"] == "evil").unwrap();
    assert_eq!(evil["required-features"], serde_json::json!(["evil"]));
    assert!(sim["features"]["default"].is_null(), "{}", sim["features"]);
}

/// Claim: deliberate bugs are built only by the simulator's feature; with them `avid` is no program.
#[test]
fn deliberate_bugs_are_built_only_on_demand() {
    let metadata = metadata(&[]);
    let types = package(&metadata, "avid-types");
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let resolved = nodes.iter().find(|node| node["id"] == types["id"]).unwrap();
    assert_eq!(resolved["features"], serde_json::json!([]), "built without being asked for");
    for package in metadata["packages"].as_array().unwrap() {
        let asks = package["features"].to_string().contains("avid-types/canary");
        assert_eq!(asks, package["name"] == "sim", "{}", package["name"]);
        for dependency in package["dependencies"].as_array().unwrap() {
            let is_types = dependency["name"] == "avid-types";
            assert!(!is_types || dependency["features"] == serde_json::json!([]));
        }
    }
    let main = include_str!("../../src/main.rs");
    assert!(main.contains("assert!(!avid_types::canary::IS_BUILT"), "avid builds with them");
}
