//! The command as a developer runs it, on a small made-up workspace.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

#[test]
fn a_clean_workspace_passes_with_a_table_and_says_what_it_skipped() {
    let workspace = workspace(&[("crates/types/src/lib.rs", "//! Doc.\n")]);
    let output = check(workspace.path(), &["tidy", "spec"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("skipped: docs/protocol.md does not exist yet"), "{text}");
    assert!(text.lines().any(|line| line.starts_with("tidy     ok ")), "{text}");
    assert!(text.lines().any(|line| line.starts_with("spec     skipped ")), "{text}");
}

#[test]
fn a_finding_fails_the_command_and_later_stages_still_run() {
    let workspace = workspace(&[
        ("crates/types/src/lib.rs", "//! Rule: READY-1.\nfn a() {} \n"),
        ("docs/protocol.md", "- **READY-1.** Say so once.\n"),
    ]);
    let output = check(workspace.path(), &["tidy", "spec"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("error: crates/types/src/lib.rs:2: white space"), "{text}");
    assert!(text.contains("error: READY-1 is cited by no test"), "{text}");
    assert!(text.lines().any(|line| line.starts_with("tidy     FAILED ")), "{text}");
    assert!(text.lines().any(|line| line.starts_with("spec     FAILED ")), "{text}");
}

#[test]
fn the_arrows_are_read_from_the_manifests() {
    let member = |name: &str, more: &str| {
        format!("[package]\nname = \"{name}\"\nedition = \"2024\"\nlicense = \"MIT\"\n{more}")
    };
    let types = member("avid-types", "[dependencies]\navid-coding = { path = \"../coding\" }\n");
    let coding = member("avid-coding", "");
    let workspace = workspace(&[
        ("crates/types/Cargo.toml", &types),
        ("crates/types/clippy.toml", ""),
        ("crates/types/src/lib.rs", "//! Doc.\n"),
        ("crates/coding/Cargo.toml", &coding),
        ("crates/coding/clippy.toml", ""),
        ("crates/coding/src/lib.rs", "//! Doc.\n"),
    ]);
    let output = check(workspace.path(), &["layers", "deps"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("error: avid-types must not use avid-coding"), "{text}");
    assert!(text.lines().any(|line| line.starts_with("deps     ok ")), "{text}");
}

#[test]
fn a_wrong_command_line_is_refused_with_the_usage() {
    let workspace = workspace(&[]);
    let output = check(workspace.path(), &["--fast"]);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("unknown stage \"--fast\"") && text.contains("usage:"), "{text}");
}

fn check(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask"))
        .arg("check")
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap()
}

fn workspace(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let manifest = ("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"crates/*\"]\n");
    for (path, text) in files.iter().chain([&manifest]) {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    directory
}
