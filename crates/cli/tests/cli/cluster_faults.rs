//! Crashes, corruption and interruption of five real processes.

use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::process::Stdio;

use crate::support::{Cluster, bytes, eventually, expect_code, stderr};
use serde_json::Value;

#[test]
fn an_acknowledged_object_survives_the_death_of_all_nodes() {
    let mut cluster = Cluster::start(3, 5);
    let content = bytes(300_000, 5);
    cluster.put("kept", &content);
    for node in 0..5 {
        cluster.kill(node);
    }
    let output = cluster.client(["--json", "retrieve", "kept", "--out", "copy"]);
    expect_code(&output, 5);
    assert!(!cluster.path("copy").exists());
    let left = std::fs::read_dir(cluster.dir.path()).unwrap();
    let is_temporary = |name: &str| name.starts_with(".avid-retrieve-");
    assert!(
        !left.into_iter().any(|entry| is_temporary(entry.unwrap().file_name().to_str().unwrap()))
    );
    cluster.start_all();
    assert!(cluster.get("kept") == content);
    // n - m killed: reads go on. Writes need E = 4 of 5.
    cluster.kill(1);
    cluster.kill(3);
    assert!(cluster.get("kept") == content);
    let refused = cluster.client_with(["disperse", "-", "--id", "new"], b"new");
    expect_code(&refused, 5);
}

#[test]
fn a_late_node_is_filled() {
    let mut cluster = Cluster::start(3, 5);
    cluster.kill(2);
    let content = bytes(100_000, 8);
    std::fs::write(cluster.path("file"), &content).unwrap();
    let short =
        cluster.client(["disperse", "file", "--require", "placed", "--placement-timeout", "100ms"]);
    expect_code(&short, 9);
    // Four at most: on a busy machine another one may be late too.
    assert!(stderr(&short).contains("/5, and --require placed"), "{}", stderr(&short));
    assert!(cluster.get("file") == content, "it is committed all the same");
    cluster.start_node(2);
    cluster.wait_for(5);
    expect_code(&cluster.client(["disperse", "file", "--require", "placed"]), 0);
    expect_code(&cluster.client(["verify", "file"]), 0);
}

#[test]
fn corruption_is_found_named_and_survived() {
    let cluster = Cluster::start(3, 5);
    let content = bytes(200_000, 6);
    cluster.put("object", &content);
    expect_code(&cluster.client(["verify", "object"]), 0);
    for fragment in cluster.fragments(3) {
        let file = std::fs::File::options().read(true).write(true).open(fragment).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, 5000).unwrap();
        file.write_all_at(&[byte[0] ^ 0x40], 5000).unwrap();
        file.sync_all().unwrap();
    }
    let verified = cluster.client(["--json", "verify", "object"]);
    expect_code(&verified, 4);
    let verified: Value = serde_json::from_slice(&verified.stdout).unwrap();
    let fragments = verified["verified"]["fragments"].as_array().unwrap();
    let bad: Vec<_> = fragments.iter().filter(|fragment| fragment["state"] != "good").collect();
    assert_eq!(bad.len(), 1, "{verified}");
    assert_eq!((&bad[0]["node"], &bad[0]["state"]), (&"node4".into(), &"corrupt".into()));
    assert_eq!(bad[0]["bad_stripes"], 1);
    assert!(cluster.get("object") == content);
}

#[test]
fn an_interrupted_dispersal_resumes_or_is_cancelled() {
    let cluster = Cluster::start(3, 5);
    let content = bytes(3 << 20, 4);
    let (mut child, mut stdin) = cluster.disperse_begun("half");
    stdin.write_all(&content[..2 << 20]).unwrap();
    let is_begun = |id: &str| cluster.state(id).as_deref() == Some("unfinished");
    eventually("the dispersal is known", || is_begun("half"));
    child.kill().unwrap();
    child.wait().unwrap();
    drop(stdin);
    expect_code(&cluster.client(["retrieve", "half", "--out", "-"]), 3);
    cluster.put("half", &content);
    assert!(cluster.get("half") == content);

    let (mut child, mut stdin) = cluster.disperse_begun("other");
    stdin.write_all(&content[..1 << 20]).unwrap();
    eventually("the other is known", || is_begun("other"));
    child.kill().unwrap();
    child.wait().unwrap();
    expect_code(&cluster.client(["cancel", "other"]), 0);
    cluster.put("other", b"something else");
    assert_eq!(cluster.get("other"), b"something else");
}

#[test]
fn sigterm_amid_a_dispersal_is_a_clean_exit() {
    let mut cluster = Cluster::start(3, 5);
    let content = bytes(3 << 20, 12);
    // One of five: the dispersal under way goes on without it.
    let (mut child, mut stdin) = cluster.disperse_begun("one");
    stdin.write_all(&content[..1 << 20]).unwrap();
    eventually("it is known", || cluster.state("one").as_deref() == Some("unfinished"));
    assert_eq!(cluster.terminate(2), Some(0));
    stdin.write_all(&content[1 << 20..]).unwrap();
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(cluster.get("one") == content);
    cluster.start_node(2);
    cluster.wait_for(5);
    // All five: the client fails and says so, and the same command finishes it later.
    let (mut child, mut stdin) = cluster.disperse_begun("all");
    stdin.write_all(&content[..2 << 20]).unwrap();
    eventually("it is known", || cluster.state("all").as_deref() == Some("unfinished"));
    for node in 0..5 {
        assert_eq!(cluster.terminate(node), Some(0));
    }
    // The client may have stopped reading.
    drop(stdin.write_all(&content[2 << 20..]));
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(5));
    cluster.start_all();
    assert_ne!(cluster.state("all").as_deref(), Some("committed"));
    expect_code(&cluster.client(["retrieve", "all", "--out", "-"]), 3);
    cluster.put("all", &content);
    assert!(cluster.get("all") == content);
}

#[test]
fn a_node_stops_cleanly_and_its_port_is_its_own() {
    let mut cluster = Cluster::start(2, 3);
    let directory = cluster.path("node1");
    let serve = |data: &str| {
        let mut command = crate::support::avid();
        command.arg("serve").arg("--cluster").arg(cluster.path("cluster.json"));
        command
            .arg("--key")
            .arg(directory.join("node.key"))
            .arg("--data")
            .arg(directory.join(data));
        command.stdin(Stdio::null()).output().unwrap()
    };
    let taken = serve("elsewhere");
    expect_code(&taken, 8);
    assert!(stderr(&taken).contains("another process is using this address"), "{}", stderr(&taken));
    assert!(stderr(&taken).contains(cluster.peers().split(',').next().unwrap()), "it names it");
    assert_eq!(cluster.stop(0), Some(0));
    let status = cluster.client(["--json", "status"]);
    expect_code(&status, 0);
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["nodes"][0]["reachable"], false);
    cluster.start_node(0);
    cluster.wait_for(3);
}
