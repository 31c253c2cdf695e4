//! The demo holds, names who misbehaved, and leaves nothing behind.

use crate::support::{expect_code, run, stdout};
use serde_json::Value;

/// Command lines of the processes on this machine that mention a path.
fn processes_of(path: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        // A process may end while we look.
        let Ok(line) = std::fs::read(entry.path().join("cmdline")) else { continue };
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(path) {
            found.push(line);
        }
    }
    found
}

/// Which nodes act 2 made bad: the corrupt one and the liar.
fn culprits(title: &str) -> [&str; 2] {
    let rest = title.strip_prefix("Act 2: one bit flips in ").unwrap();
    let (corrupt, rest) = rest.split_once("'s fragment on disk; ").unwrap();
    [corrupt, rest.strip_suffix(" lies about every chunk").unwrap()]
}

fn demo(shape: &[&str], title: &str) {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().to_str().unwrap();
    let plain = ["demo", "--size", "2MiB", "--dir", dir];
    let output = run(plain.iter().chain(shape));
    expect_code(&output, 0);
    let text = stdout(&output);
    assert!(text.contains(title), "{text}");
    let accused: Vec<_> = text.lines().filter(|line| line.contains("found out: ")).collect();
    assert_eq!(accused.len(), 2, "{text}");
    let title = text.lines().find(|line| line.starts_with("Act 2: ")).unwrap();
    for name in culprits(title) {
        assert!(accused.iter().any(|line| line.contains(&format!("({name})"))), "{name}: {text}");
    }
    assert_eq!(processes_of(dir), Vec::<String>::new());
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "the stage is removed");

    let output = run(["--json"].iter().chain(&plain).chain(shape));
    expect_code(&output, 0);
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    let acts = summary["acts"].as_array().unwrap();
    assert_eq!(acts.len(), 4, "{summary}");
    let [corrupt, liar] = culprits(acts[2]["title"].as_str().unwrap());
    let outcome = format!("the same bytes came back, and {corrupt} and {liar} found out");
    assert_eq!(acts[2]["outcome"], outcome.as_str(), "{summary}");
    assert!(acts[3]["outcome"].as_str().unwrap().contains("left no file"), "{summary}");
    assert_eq!(summary["object_bytes"], 2 << 20);
    assert_eq!(processes_of(dir), Vec::<String>::new());
}

#[test]
fn the_demo_of_3_of_5_holds() {
    demo(&[], "over 5 node processes, 3-of-5 (1 liar tolerated)");
}

#[test]
fn the_demo_of_4_of_6_holds() {
    demo(&["-m", "4", "-n", "6"], "over 6 node processes, 4-of-6 (1 liar tolerated)");
}

#[test]
fn the_demo_of_2_of_4_holds() {
    demo(&["-m", "2", "--nodes", "4"], "over 4 node processes, 2-of-4 (1 liar tolerated)");
}
