//! Real clusters with members that lie: one of five, which is tolerated, and two, which is not.

use crate::evil::evil;
use crate::support::{Cluster, bytes, expect_code, stderr};
use serde_json::Value;

/// The member that lies.
const LIAR: usize = 4;
/// Objects of one test: the liar's slot differs from one to the next.
const OBJECTS: u64 = 5;
/// 13 stripes, the last one short.
const OBJECT_BYTES: usize = 150_000;

/// Time for the last fragments, where the liar leaves every write without one.
const IMPATIENT: &str = "300ms";
/// The same where all five can be placed, on a busy machine too.
const PATIENT: &str = "10s";

/// Four honest nodes and one that lies in this way; `voting` of them say that they may vote.
fn start(behaviour: &str, seed: u64, voting: usize) -> Cluster {
    let mut cluster = Cluster::make_with_liars(3, 5, &[LIAR]);
    for node in 0..LIAR {
        cluster.start_node(node);
    }
    cluster.start_node_under(LIAR, evil(behaviour, seed));
    cluster.wait_for(voting);
    cluster
}

fn id(object: u64) -> String {
    format!("object {object}")
}

fn content(object: u64) -> Vec<u8> {
    bytes(OBJECT_BYTES, 1000 + object)
}

/// Writes with four honest nodes and one liar commit, whatever the liar does.
#[track_caller]
fn write_all(cluster: &Cluster, patience: &str) {
    for object in 0..OBJECTS {
        let write = ["disperse", "-", "--placement-timeout", patience, "--id", &id(object)];
        expect_code(&cluster.client_with(write, &content(object)), 0);
    }
}

/// Reads give exact bytes and accuse no honest node; returns what each named.
#[track_caller]
fn read_all(cluster: &Cluster) -> Vec<Vec<Value>> {
    let mut faults = Vec::new();
    for object in 0..OBJECTS {
        let copy = cluster.path("copy");
        let output = cluster.client(["--json", "retrieve", &id(object), "--out", "copy"]);
        expect_code(&output, 0);
        assert!(std::fs::read(&copy).unwrap() == content(object), "{}", id(object));
        std::fs::remove_file(copy).unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let named = report["faults"].as_array().unwrap();
        only_the_liar(named);
        faults.push(named.clone());
    }
    faults
}

/// The liar's fragment of every object, as `avid verify` shows it.
#[track_caller]
fn verify_all(cluster: &Cluster) -> Vec<Value> {
    (0..OBJECTS).map(|object| verify(cluster, &id(object))).collect()
}

#[track_caller]
fn verify(cluster: &Cluster, id: &str) -> Value {
    let output = cluster.client(["--json", "verify", id]);
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    let shown = if shown["verified"].is_null() { &shown } else { &shown["verified"] };
    let mut of_the_liar = Value::Null;
    for fragment in shown["fragments"].as_array().unwrap() {
        if fragment["node"] == "node5" {
            of_the_liar = fragment.clone();
        } else {
            // An honest node may be late, never wrong.
            let state = fragment["state"].as_str().unwrap();
            assert!(matches!(state, "good" | "missing"), "an honest node is accused: {shown}");
        }
    }
    of_the_liar
}

/// Every fragment of the liar is in this state, and whoever had to read it said so, in one of
/// these words. Readers ask the m data slots first.
#[track_caller]
fn found_out(cluster: &Cluster, state: &str, kinds: &[&str]) {
    let faults = read_all(cluster);
    for (fragment, faults) in verify_all(cluster).iter().zip(&faults) {
        assert_eq!(fragment["state"], state, "{fragment}");
        let is_named = faults.iter().any(|fault| {
            fault["name"] == "node5" && kinds.contains(&fault["kind"].as_str().unwrap())
        });
        let was_asked = fragment["slot"].as_u64().unwrap() < 3;
        assert!(is_named || !was_asked, "{fragment}: {faults:?}");
    }
}

/// Nobody but the liar is named, unless for being late.
#[track_caller]
fn only_the_liar(faults: &[Value]) {
    for fault in faults {
        let is_late = matches!(fault["kind"].as_str(), Some("late" | "missing"));
        assert!(fault["name"] == "node5" || is_late, "an honest node is accused: {fault}");
    }
}

/// Claim: wrong chunks cost a reader nothing but time, and say who sent them.
///
/// Rule: READ-1, FPCC-1.
#[test]
fn flipped_chunks_are_read_around_and_their_node_is_named() {
    let cluster = start("flipped-chunks", 0, 5);
    write_all(&cluster, PATIENT);
    found_out(&cluster, "corrupt", &["hash"]);
}

/// Claim: chunks of other stripes and objects, true where they belong, are refused here.
///
/// Rule: READ-1, COMMITMENT-1.
#[test]
fn foreign_chunks_are_read_around_and_their_node_is_named() {
    let cluster = start("foreign-chunks", 0, 5);
    write_all(&cluster, PATIENT);
    found_out(&cluster, "corrupt", &["path", "length", "hash"]);
}

/// Claim: a node that votes for a fragment and then says that it has none is found out.
///
/// Rule: HOLD-1, READ-1.
#[test]
fn a_node_that_withholds_its_fragments_is_named() {
    let cluster = start("withheld-chunks", 0, 5);
    write_all(&cluster, PATIENT);
    found_out(&cluster, "missing", &["missing"]);
}

/// Claim: four honest votes of five commit; the silent voter's fragment is good all the same.
///
/// Rule: ECHO-1, COMMIT-1.
#[test]
fn writes_commit_without_the_votes_of_one_node() {
    let cluster = start("dropped-votes", 0, 5);
    write_all(&cluster, IMPATIENT);
    read_all(&cluster);
    all_good(&cluster);
    let write = ["--json", "disperse", "-", "--placement-timeout", IMPATIENT, "--id", "counted"];
    let output = cluster.client_with(write, b"counted");
    expect_code(&output, 0);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    // On a busy machine another one may be late too.
    assert!(report["placed"].as_u64().unwrap() <= 4, "{report}");
}

/// Claim: lies about votes, certificates, names and clocks neither hinder one honest operation nor
/// have an honest node accused.
///
/// Rule: TALLY-1, SIGN-2, COMMIT-1, TIME-1, LINK-1, DELETE-1.
#[test]
fn lies_beside_the_chunks_hinder_nothing() {
    let lies = ["equivocal-votes", "forged-certificates", "hidden-objects", "lying-clock", "flood"];
    for behaviour in lies {
        eprintln!("{behaviour}");
        let cluster = start(behaviour, 0, 5);
        write_all(&cluster, PATIENT);
        all_good(&cluster);
        read_and_delete(&cluster);
    }
}

/// Claim: a member that refuses every question is as good as one that is down.
///
/// Rule: ECHO-1, READ-1, DELETE-1.
#[test]
fn a_node_that_refuses_everything_hinders_nothing() {
    let cluster = start("refusals", 0, 4);
    write_all(&cluster, IMPATIENT);
    for fragment in verify_all(&cluster) {
        assert_ne!(fragment["state"], "good");
    }
    read_and_delete(&cluster);
}

/// The liar keeps what it was given.
#[track_caller]
fn all_good(cluster: &Cluster) {
    for fragment in verify_all(cluster) {
        assert_eq!(fragment["state"], "good", "{fragment}");
    }
}

/// Reads everything, deletes one object, and finds it gone.
#[track_caller]
fn read_and_delete(cluster: &Cluster) {
    read_all(cluster);
    expect_code(&cluster.client(["rm", &id(0)]), 0);
    expect_code(&cluster.client(["retrieve", &id(0), "--out", "-"]), 3);
}

/// Claim: whatever one node sends, the others serve.
///
/// Rule: WIRE-1, READ-1, COMMIT-1.
#[test]
fn random_lies_of_one_node_are_survived() {
    let seed = crate::random::seed();
    eprintln!("AVID_TEST_SEED={seed} repeats these lies");
    for seed in seed..seed.saturating_add(3) {
        let cluster = start("random", seed, 4);
        write_all(&cluster, IMPATIENT);
        read_all(&cluster);
        verify_all(&cluster);
    }
}

/// Claim: two liars of five are one too many to write with, and n - m to read from.
///
/// Two that refuse: no write commits, it says so with its exit code, and the same command succeeds
/// once both are honest. Two that serve wrong chunks: reads are exact as long as the three others
/// answer; without one of them the read fails, and not one wrong byte comes out.
///
/// Rule: ECHO-1, READ-1.
#[test]
fn two_liars_of_five_cost_availability_and_never_bytes() {
    let mut cluster = Cluster::make_with_liars(3, 5, &[3, 4]);
    for node in 0..3 {
        cluster.start_node(node);
    }
    for node in [3, 4] {
        cluster.start_node_under(node, evil("refusals", 0));
    }
    cluster.wait_for(3);
    let refused = cluster.client_with(["disperse", "-", "--id", "object"], &content(0));
    expect_code(&refused, 5);
    // Nothing there takes n - f answers, too.
    expect_code(&cluster.client(["retrieve", "object", "--out", "-"]), 5);
    for node in [3, 4] {
        cluster.kill(node);
        cluster.start_node_under(node, evil("flipped-chunks", 0));
    }
    cluster.wait_for(5);
    cluster.put("object", &content(0));
    assert!(cluster.get("object") == content(0));
    let verified = cluster.client(["verify", "object"]);
    expect_code(&verified, 4);
    assert!(stderr(&verified).contains("3 of 5 fragments are good"), "{}", stderr(&verified));

    cluster.kill(0);
    let failed = cluster.client(["retrieve", "object", "--out", "copy"]);
    expect_code(&failed, 4);
    let said = stderr(&failed);
    assert!(said.contains("node4") && said.contains("node5"), "{said}");
    assert!(!cluster.path("copy").exists());
    let piped = cluster.client(["retrieve", "object", "--out", "-"]);
    expect_code(&piped, 4);
    assert!(content(0).starts_with(&piped.stdout), "wrong bytes came out");
    cluster.start_node(0);
    cluster.wait_for(5);
    assert!(cluster.get("object") == content(0));
}
