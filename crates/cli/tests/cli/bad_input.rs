//! Bad input gets a message that says what is wrong, and the exit code of its kind.

use crate::support::{expect_code, run, stderr, stdout};
use serde_json::Value;

#[test]
fn what_cannot_be_meant_is_refused_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    expect_code(&run(["init", "--nodes", "5", "--dir", &at("c")]), 0);
    let (cluster, key) = (at("c/cluster.json"), at("c/client.key"));
    let given = ["--cluster", cluster.as_str(), "--key", key.as_str()];
    let operator = at("c/operator.key");
    let nothing = at("nothing");
    let table: &[(&[&str], i32, &str)] = &[
        (&["disperse", "--colour", "x"], 2, "--colour"),
        (&["frobnicate"], 2, "frobnicate"),
        (&["init", "--nodes", "5", "-m", "5", "--dir", &nothing], 2, "n = 5 must exceed m = 5"),
        (
            &["init", "--nodes", "5", "-m", "3", "-f", "2", "--dir", &nothing],
            2,
            "the most is f = 1",
        ),
        (&["init", "--nodes", "5", "-n", "6", "--dir", &nothing], 2, "-n is 6, but there are 5"),
        (
            &["init", "--nodes", "5", "--chunk-bytes", "5000", "--dir", &nothing],
            2,
            "chunk size 5000",
        ),
        (&["init", "--join", &key, "--operator-key", &operator], 2, "not a usable join request"),
        (&["init", "--nodes", "5", "--dir", &at("c")], 8, "cannot create"),
        (&["disperse", &nothing], 8, "cannot read"),
        (&["disperse", "-"], 2, "give --id"),
        (&["disperse", &key, "--id", "a\u{7}b"], 2, "control characters"),
        (&["disperse", &key, "--id", ""], 2, "at least one character"),
        (&["retrieve", "x", "--range", "9-1"], 2, "ends before it begins"),
        (&["serve", "--key", &key], 2, "avid-client-key"),
        (&["--cluster", &key, "ls"], 2, "not a usable cluster file"),
        (&["--cluster", &nothing, "ls"], 8, "cannot read the cluster file"),
        (&["--key", &operator, "ls"], 2, "avid-operator-key"),
        (&["demo", "--size", "0"], 2, "--size must be at least 1"),
        (&["demo", "--size", "1parsec"], 2, "not a unit"),
    ];
    for (arguments, code, reason) in table {
        // Later flags win nowhere: a command that names its own files gets no others.
        let has = |flag: &str| arguments.contains(&flag);
        let rest = given.chunks(2).filter(|pair| !has(pair[0]) && !has("init")).flatten();
        let output = run(arguments.iter().chain(rest));
        expect_code(&output, *code);
        assert!(stderr(&output).contains(reason), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn what_to_do_next_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    for cluster in ["c", "other"] {
        // Ports nobody listens on.
        expect_code(&run(["init", "--nodes", "5", "--dir", &at(cluster), "--base-port", "19"]), 0);
    }
    let (cluster, key) = (at("c/cluster.json"), at("c/client.key"));
    let (folder, below_a_file) = (at("c"), format!("{cluster}/file"));
    let foreign = at("other/node1/node.key");
    let table: &[(&[&str], i32, &str, &str)] = &[
        (&["ls", "--colour", "x"], 2, "unexpected argument '--colour'", "Usage: avid ls"),
        (&["disperse", &folder], 2, "is a directory", "name a file"),
        (&["disperse", &at("nothing")], 8, "No such file", "check the path"),
        (&["disperse", &below_a_file], 8, "Not a directory", &cluster),
        (&["disperse", &cluster], 5, "node1", "is the node running and the port open?"),
        (&["disperse", &cluster], 5, "0 nodes took part, 4 are needed", "repeat the command"),
        (&["ls"], 5, "no node answered", "`avid status` shows every node"),
        (
            &["serve", "--data", &at("data"), "--key", &foreign],
            6,
            "is no member of",
            "the right --",
        ),
        (
            &["serve", "--data", "/proc/none", "--key", &at("c/node1/node.key")],
            8,
            "/proc/none",
            "--data DIR",
        ),
        (
            &["serve", "--listen", "here", "--key", &at("c/node1/node.key")],
            2,
            "\"here\"",
            "host:port",
        ),
        (&["init", "--nodes", "5", "-n", "6", "--dir", &at("d")], 2, "-n is 6", "one join request"),
    ];
    for (arguments, code, wrong, advice) in table {
        let given = [("--cluster", &cluster), ("--key", &key)];
        let lacks = |flag: &str| !arguments.contains(&flag) && arguments[0] != "init";
        let rest = given
            .iter()
            .filter(|(flag, _)| lacks(flag))
            .flat_map(|(flag, file)| [flag, file.as_str()]);
        let output = run(arguments.iter().copied().chain(rest));
        expect_code(&output, *code);
        let said = stderr(&output);
        assert!(said.contains(wrong) && said.contains(advice), "{arguments:?}: {said}");
    }
}

#[test]
fn nobody_home_is_unavailable_for_programs_too() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("c");
    expect_code(
        &run(["init", "--nodes", "5", "--base-port", "19", "--dir", dir.to_str().unwrap()]),
        0,
    );
    let cluster = dir.join("cluster.json");
    let key = dir.join("client.key");
    let given = ["--json", "--cluster", cluster.to_str().unwrap(), "--key", key.to_str().unwrap()];
    let out = directory.path().join("out");
    for command in
        [vec!["ls"], vec!["retrieve", "x", "--out", out.to_str().unwrap()], vec!["rm", "x"]]
    {
        let output = run(given.iter().chain(&command));
        expect_code(&output, 5);
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(value["error"]["kind"], "unavailable", "{value}");
        assert_eq!(value["error"]["code"], 5);
        assert!(value["error"]["hint"].is_string());
    }
    assert!(!out.exists());
}

#[test]
fn errors_of_the_command_line_are_json_if_asked() {
    let output = run(["--json", "frobnicate"]);
    expect_code(&output, 2);
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["error"]["kind"], "usage");
}

#[test]
fn keys_are_made_granted_backed_up_and_restored() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let mut joins = Vec::new();
    for number in 1..=5 {
        let (key, join) = (at(&format!("{number}.key")), at(&format!("{number}.join")));
        let (name, address) = (format!("node{number}"), format!("node{number}.example.net:7101"));
        let keygen = [
            "keygen",
            "node",
            "--name",
            &name,
            "--address",
            &address,
            "--out",
            &key,
            "--request",
            &join,
        ];
        expect_code(&run(keygen), 0);
        joins.push(join);
    }
    expect_code(&run(["keygen", "operator", "--out", &at("op.key")]), 0);
    let (cluster, operator, client) = (at("cluster.json"), at("op.key"), at("client.key"));
    let mut init: Vec<&str> = vec![
        "init",
        "-m",
        "3",
        "-n",
        "5",
        "--operator-key",
        &operator,
        "--out",
        &cluster,
        "--join",
    ];
    init.extend(joins.iter().map(String::as_str));
    expect_code(&run(&init), 0);
    let exported = run(["--cluster", &cluster, "cluster", "export"]);
    assert_eq!(stdout(&exported), std::fs::read_to_string(&cluster).unwrap());
    let public = stdout(&run(["keygen", "client", "--out", &client]));
    let grant = at("client.key.grant");
    expect_code(
        &run([
            "--cluster",
            &cluster,
            "grant",
            "--operator-key",
            &operator,
            public.trim(),
            "--out",
            &grant,
        ]),
        0,
    );
    let backup = run(["--key", &client, "key", "backup"]);
    expect_code(&backup, 0);
    assert!(stderr(&backup).contains("never be deleted"));
    std::fs::write(at("paper"), &backup.stdout).unwrap();
    let restored = run(["key", "restore", &at("paper"), "--out", &at("again.key")]);
    expect_code(&restored, 0);
    assert_eq!(stdout(&restored), public);
    // An operator of nothing grants nothing.
    expect_code(&run(["keygen", "operator", "--out", &at("other.key")]), 0);
    let other = at("other.key");
    let refused = run(["--cluster", &cluster, "grant", "--operator-key", &other, public.trim()]);
    expect_code(&refused, 6);
}

#[test]
fn a_shell_gets_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let output = run(["completions", shell]);
        expect_code(&output, 0);
        assert!(stdout(&output).contains("disperse"), "{shell}");
    }
}
