//! Full disks: of one node, and of a reader.

use std::process::{Command, Stdio};

use crate::support::{Cluster, avid, bytes, command, eventually, expect_code, stderr};
use serde_json::Value;

/// The node keeps 64 MiB free; the rest holds a few fragments.
const DISK: &str = "size=96m";
const OBJECTS_MAX: usize = 8;
/// Becomes `avid serve` with a small disk of its own below the data directory, which is the last
/// argument. The mount lives in this process's name space and ends with it.
const SCRIPT: &str = r#"for data; do :; done
mkdir -p "$data" && mount -t tmpfs -o "$AVID_TEST_DISK" tmpfs "$data" && exec "$0" "$@""#;

/// `unshare` with flags that let it mount here; `None` if nothing does.
fn mounter() -> Option<Command> {
    let directory = tempfile::tempdir().unwrap();
    for flags in ["-rm", "-m"] {
        let unshare = || {
            let mut unshare = command("unshare".as_ref());
            unshare.arg(flags);
            unshare
        };
        let probe = unshare()
            .args(["mount", "-t", "tmpfs", "tmpfs"])
            .arg(directory.path())
            .stdin(Stdio::null())
            .output();
        if probe.is_ok_and(|probe| probe.status.success()) {
            return Some(unshare());
        }
    }
    None
}

#[test]
fn a_full_node_refuses_fragments_and_does_the_rest() {
    let Some(mut program) = mounter() else {
        eprintln!("NOT TESTED: a node with a full disk; this system lets nobody mount a tmpfs");
        return;
    };
    let mut cluster = Cluster::make(3, 5, "64KiB");
    for node in 1..5 {
        cluster.start_node(node);
    }
    program.env("AVID_TEST_DISK", DISK).args(["sh", "-c", SCRIPT]).arg(avid().get_program());
    cluster.start_node_under(0, program);
    cluster.wait_for(5);
    let content = bytes(24 << 20, 21);
    // Every object leaves 8 MiB on each node, until node1 has no room.
    let disperse = |id: &str| {
        let give_up = ["--json", "disperse", "-", "--id", id, "--placement-timeout", "200ms"];
        let output = cluster.client_with(give_up, &content);
        expect_code(&output, 0);
        let placed: Value = serde_json::from_slice(&output.stdout).unwrap();
        (placed["placed"].as_u64().unwrap(), stderr(&output))
    };
    let ids: Vec<_> = (0..OBJECTS_MAX).map(|object| format!("object {object}")).collect();
    let is_refused = |said: &str| said.contains("node1") && said.contains("67108864 bytes free");
    let full = ids.iter().position(|id| is_refused(&disperse(id).1)).unwrap();
    assert!(full >= 2, "{full} objects fitted");
    let (placed, said) = disperse("one more");
    assert!(placed < 5 && is_refused(&said), "{placed}/5: {said}");
    // What it holds is read, also where it is needed, and deletions reach it.
    expect_code(&cluster.client(["verify", &ids[0]]), 0);
    assert!(cluster.get("one more") == content);
    let held = || {
        let root = format!("/proc/{}/root", cluster.pid(0));
        cluster.fragments_seen_from(root.as_ref(), 0).len()
    };
    assert_eq!(held(), full, "the full disk holds what fitted");
    for id in &ids[..2] {
        expect_code(&cluster.client(["rm", id]), 0);
        expect_code(&cluster.client(["retrieve", id, "--out", "-"]), 3);
    }
    eventually("the deletions reach the full disk", || held() == full - 2);
    // With room again, the same command fills it.
    cluster.put("one more", &content);
    expect_code(&cluster.client(["verify", "one more"]), 0);
    cluster.wait_for(5);
}

#[test]
fn a_reader_without_room_says_what_to_do() {
    let cluster = Cluster::start(2, 3);
    cluster.put("object", &bytes(100_000, 22));
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output =
        cluster.command().args(["retrieve", "object", "--out", "-"]).stdout(full).output().unwrap();
    expect_code(&output, 8);
    let said = stderr(&output);
    assert!(said.contains("No space left") && said.contains("free some space"), "{said}");
}

#[test]
fn a_reader_of_the_output_may_leave() {
    let cluster = Cluster::start(2, 3);
    cluster.put("object", &bytes(8 << 20, 23));
    let mut child = cluster
        .command()
        .args(["retrieve", "object", "--out", "-"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    expect_code(&output, 8);
    assert!(stderr(&output).contains("closed it before the end"), "{}", stderr(&output));
}
