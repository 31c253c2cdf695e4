//! Objects through five real processes: what goes in comes out, and names behave.

use crate::support::{Cluster, bytes, expect_code, stderr, stdout};
use serde_json::Value;

/// Object bytes of one stripe of the test clusters: m chunks of 4 KiB.
const STRIPE: usize = 3 * 4096;

#[test]
fn objects_of_every_edge_round_trip() {
    let cluster = Cluster::start(3, 5);
    let sizes = [
        0,
        1,
        2,
        3,
        4,
        4095,
        4096,
        4097,
        3 * 4095,
        STRIPE - 1,
        STRIPE,
        STRIPE + 1,
        2 * STRIPE - 1,
        2 * STRIPE,
        2 * STRIPE + 1,
        20 * STRIPE + 5,
    ];
    for size in sizes {
        let id = format!("size/{size}");
        let content = bytes(size, 7);
        cluster.put(&id, &content);
        assert!(cluster.get(&id) == content, "{size} bytes");
    }
    let zeros = [bytes(100, 1), vec![0; STRIPE]].concat();
    cluster.put("trailing zeros", &zeros);
    assert!(cluster.get("trailing zeros") == zeros);
    let listed = stdout(&cluster.client(["ls", "size/"]));
    assert_eq!(listed.lines().count(), sizes.len(), "{listed}");
    assert_eq!(stdout(&cluster.client(["ls", "trailing"])), "trailing zeros\n");
}

#[test]
fn larger_shapes_round_trip_and_lose_what_they_may() {
    for (m, n) in [(4, 6), (2, 4), (8, 12), (10, 16)] {
        let mut cluster = Cluster::start(m, n);
        let stripe = usize::from(m) * 4096;
        let sizes =
            [0, 1, usize::from(m) - 1, 4097, stripe - 1, stripe, stripe + 1, 3 * stripe + 7];
        for size in sizes {
            cluster.put(&size.to_string(), &bytes(size, 11));
        }
        // n - m losses: every further read decodes.
        for node in 0..usize::from(n - m) {
            cluster.kill(node);
        }
        for size in sizes {
            assert!(cluster.get(&size.to_string()) == bytes(size, 11), "{m}-of-{n}, {size} bytes");
        }
    }
}

#[test]
fn files_names_ranges_and_deletion() {
    let cluster = Cluster::start(2, 4);
    let content = bytes(100_000, 3);
    std::fs::write(cluster.path("photo.raw"), &content).unwrap();
    let output = cluster.client(["disperse", "photo.raw", "--require", "placed"]);
    expect_code(&output, 0);
    assert_eq!(stdout(&output), "committed: photo.raw (97.6 KiB)\nplaced: 4/4\n");

    // The same content again is idempotent, other content is refused.
    let again = cluster.client(["--json", "disperse", "photo.raw"]);
    expect_code(&again, 0);
    let again: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!((&again["already_stored"], &again["placed"]), (&true.into(), &4.into()));
    let other = cluster.client_with(["--json", "disperse", "-", "--id", "photo.raw"], b"other");
    expect_code(&other, 7);
    let other: Value = serde_json::from_slice(&other.stdout).unwrap();
    assert_eq!(other["error"]["kind"], "conflict");

    // Into a file, under the id's own name only if nothing is there, and replaced if asked.
    expect_code(&cluster.client(["retrieve", "photo.raw"]), 2);
    std::fs::write(cluster.path("copy"), b"before").unwrap();
    expect_code(&cluster.client(["retrieve", "photo.raw", "--out", "copy"]), 0);
    assert!(std::fs::read(cluster.path("copy")).unwrap() == content);
    let strange = "a/../b c/ü";
    cluster.put(strange, b"strange");
    expect_code(&cluster.client(["retrieve", strange]), 0);
    assert_eq!(std::fs::read(cluster.path("ü")).unwrap(), b"strange");

    // Ranges include both ends and are cut at the object's end.
    for (range, expected) in [
        ("0-0", 0..1),
        ("8191-8192", 8191..8193),
        ("99999-", 99_999..100_000),
        ("5-200000", 5..100_000),
    ] {
        let part = cluster.client(["retrieve", "photo.raw", "--out", "-", "--range", range]);
        expect_code(&part, 0);
        assert!(part.stdout == content[expected], "{range}");
    }
    expect_code(&cluster.client(["retrieve", "photo.raw", "--out", "-", "--range", "100001-"]), 2);

    let stat = cluster.client(["--json", "stat", "photo.raw"]);
    let stat: Value = serde_json::from_slice(&stat.stdout).unwrap();
    assert_eq!((&stat["state"], &stat["bytes"]), (&"committed".into(), &100_000.into()));

    expect_code(&cluster.client(["rm", "photo.raw"]), 0);
    expect_code(&cluster.client(["retrieve", "photo.raw", "--out", "-"]), 3);
    expect_code(&cluster.client(["stat", "photo.raw"]), 3);
    expect_code(&cluster.client(["retrieve", "never", "--out", "-"]), 3);
    expect_code(&cluster.client(["rm", "never"]), 3);
    expect_code(&cluster.client(["cancel", "never"]), 3);
    assert_eq!(stdout(&cluster.client(["ls"])), format!("{strange}\n"));
    // A new life of the name.
    cluster.put("photo.raw", b"second");
    assert_eq!(cluster.get("photo.raw"), b"second");
}

#[test]
fn the_command_lines_of_the_seed_work() {
    let cluster = Cluster::start(3, 5);
    let client = cluster.path("client");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_avid"), &client).unwrap();
    let content = bytes(50_000, 9);
    std::fs::write(cluster.path("demo.bin"), &content).unwrap();
    let run = |words: &[&str]| {
        let mut command = crate::support::command(&client);
        command.env("AVID_CLUSTER", cluster.path("cluster.json"));
        command.env("AVID_KEY", cluster.path("client.key"));
        command.current_dir(cluster.dir.path()).args(words).output().unwrap()
    };
    let peers = cluster.peers();
    let shape = ["-peers", &peers, "-m", "3", "-n", "5"];
    let disperse = ["-mode", "disperse", "-file", "demo.bin", "-id", "demo"];
    expect_code(&run(&[&disperse[..], &shape].concat()), 0);
    let retrieve = ["-mode", "retrieve", "-file", "out.bin", "-id", "demo"];
    expect_code(&run(&[&retrieve[..], &shape].concat()), 0);
    assert!(std::fs::read(cluster.path("out.bin")).unwrap() == content);
    // What does not agree with the pinned configuration is named.
    let stranger = peers.replacen("127.0.0.1", "server1", 1);
    let first = stranger.split(',').next().unwrap().to_owned();
    let four = peers.rsplit_once(',').unwrap();
    let table = [
        (vec!["-m", "4"], "-m is 4, the pinned configuration has 3".to_owned()),
        (vec!["-n", "6"], "-n is 6, the pinned configuration has 5".to_owned()),
        (vec!["-peers", &stranger], format!("peer {first} of -peers is no member")),
        (vec!["-peers", four.0], format!("-peers lacks {}", four.1)),
    ];
    for (flags, reason) in table {
        let output = run(&[&retrieve[..], &flags].concat());
        expect_code(&output, 2);
        assert!(stderr(&output).contains(&reason), "{reason}: {}", stderr(&output));
        assert!(stderr(&output).contains("`avid cluster show`"), "{}", stderr(&output));
    }
}

#[test]
fn strangers_are_turned_away() {
    let cluster = Cluster::start(3, 5);
    let other = Cluster::start(2, 3);
    cluster.put("mine", b"mine");
    // A key without a grant, and a key of another cluster.
    let (client, foreign) = (cluster.path("stranger.key"), other.path("client.key"));
    expect_code(
        &crate::support::run([
            "keygen".as_ref(),
            "client".as_ref(),
            "--out".as_ref(),
            client.as_os_str(),
        ]),
        0,
    );
    let advice = [(&client, "`avid grant --operator-key"), (&foreign, "help: ")];
    for (key, help) in advice {
        let output = cluster
            .command()
            .arg("--key")
            .arg(key)
            .args(["retrieve", "mine", "--out", "-"])
            .output();
        let output = output.unwrap();
        expect_code(&output, 6);
        assert!(output.stdout.is_empty());
        assert!(stderr(&output).contains(help), "{}", stderr(&output));
    }
    // A reader with a grant reads another's object, and may not write.
    let public = crate::support::run([
        "keygen".as_ref(),
        "client".as_ref(),
        "--out".as_ref(),
        cluster.path("r.key").as_os_str(),
    ]);
    assert_eq!(stdout(&public).trim().len(), 64);
    let granted =
        cluster.client(["grant", "--operator-key", "operator.key", "--read-only", "r.key"]);
    expect_code(&granted, 0);
    let listing: Value = serde_json::from_slice(&cluster.client(["--json", "ls"]).stdout).unwrap();
    let owner = listing["owner"].as_str().unwrap();
    let read =
        cluster.client(["--key", "r.key", "retrieve", "mine", "--owner", owner, "--out", "-"]);
    expect_code(&read, 0);
    assert_eq!(read.stdout, b"mine");
    let write = cluster.client_with(["--key", "r.key", "disperse", "-", "--id", "x"], b"x");
    expect_code(&write, 6);
    // Another cluster's file that leads to the same addresses.
    let twin = cluster.path("twin").to_str().unwrap().to_owned();
    let port = cluster.peers().split([':', ',']).nth(1).unwrap().to_owned();
    let made = crate::support::run(["init", "--nodes", "5", "--dir", &twin, "--base-port", &port]);
    expect_code(&made, 0);
    let (file, key) = (format!("{twin}/cluster.json"), format!("{twin}/client.key"));
    let output =
        crate::support::run(["--cluster", &file, "--key", &key, "retrieve", "mine", "--out", "-"]);
    expect_code(&output, 6);
    assert_eq!(cluster.get("mine"), b"mine");
}
