//! The arrows between our crates, as a table that refuses every other arrow.
//!
//! ```text
//! types ◄─ coding ◄─ protocol ◄─ node, client ◄─ cli
//!   ▲         ▲                    │
//!   └─ net    └─ store ◄───────────┘       meta, gateway, sim: rows for crates to come
//! ```
//! Nobody uses `fuzz`.
//!
//! Pure crates (types, coding, protocol, meta) also stay free of everything that reads a clock,
//! draws randomness, opens a file or starts a task; a stricter `clippy.toml` beside them bans the
//! same in the standard library. Dependencies of tests are free.

use crate::metadata::Package;
use crate::{Metadata, Report, Workspace};

/// A crate and what it may use of ours.
struct Layer {
    name: &'static str,
    uses: &'static [&'static str],
    pure: bool,
}

const LAYERS: [Layer; 14] = [
    Layer { name: "types", uses: &[], pure: true },
    Layer { name: "coding", uses: &["types"], pure: true },
    Layer { name: "protocol", uses: &["types", "coding"], pure: true },
    Layer { name: "meta", uses: &["types", "coding", "protocol"], pure: true },
    Layer { name: "store", uses: &["types", "coding"], pure: false },
    Layer { name: "net", uses: &["types"], pure: false },
    Layer {
        name: "node",
        uses: &["types", "coding", "protocol", "meta", "store", "net"],
        pure: false,
    },
    Layer { name: "client", uses: &["types", "coding", "protocol", "meta", "net"], pure: false },
    Layer { name: "gateway", uses: &["types", "client"], pure: false },
    Layer {
        name: "cli",
        uses: &["types", "coding", "protocol", "meta", "store", "net", "node", "client", "gateway"],
        pure: false,
    },
    Layer {
        name: "sim",
        uses: &[
            "types", "coding", "protocol", "meta", "store", "net", "node", "client", "gateway",
            "cli",
        ],
        pure: false,
    },
    Layer { name: "explore", uses: &[], pure: false },
    Layer {
        name: "fuzz",
        uses: &["types", "coding", "protocol", "meta", "store", "net", "node"],
        pure: false,
    },
    Layer { name: "xtask", uses: &[], pure: false },
];

/// Crates that would bring a clock, a disk, a task or randomness into a pure crate.
const IMPURE: [&str; 5] = ["tokio", "rustix", "redb", "getrandom", "tracing"];

/// Prefix of our package names.
const PREFIX: &str = "avid-";

/// Checks the arrows between crates and the pure crates' lint settings.
#[must_use]
pub fn check(metadata: &Metadata, workspace: &Workspace) -> Report {
    let mut report = Report::default();
    for package in metadata.members() {
        let name = short_name(&package.name);
        match LAYERS.iter().find(|layer| layer.name == name) {
            Some(layer) => check_arrows(package, layer, &mut report),
            None => report.error(format!(
                "{} has no row in the layers table (crates/xtask/src/layers.rs): \
                 say what it may use",
                package.name
            )),
        }
        if is_pure(name) {
            check_clippy(name, workspace, &mut report);
        }
    }
    report
}

/// Whether a crate must stay free of effects.
#[must_use]
pub fn is_pure(short_name: &str) -> bool {
    LAYERS.iter().any(|layer| layer.pure && layer.name == short_name)
}

/// The name as the table has it.
#[must_use]
pub fn short_name(package: &str) -> &str {
    package.strip_prefix(PREFIX).unwrap_or(package)
}

fn check_arrows(package: &Package, layer: &Layer, report: &mut Report) {
    for used in package.shipped_dependencies() {
        let ours = used.starts_with(PREFIX) || ["xtask", "sim"].contains(&used);
        if ours && !layer.uses.contains(&short_name(used)) {
            report.error(format!(
                "{} must not use {used}: {} may use {:?}",
                package.name, layer.name, layer.uses
            ));
        }
        if layer.pure && IMPURE.contains(&used) {
            report.error(format!("{} is pure and must not use {used}", package.name));
        }
    }
}

/// The nearest clippy.toml wins and files do not merge, so the strict one repeats the root's.
fn check_clippy(name: &str, workspace: &Workspace, report: &mut Report) {
    let path = format!("crates/{name}/clippy.toml");
    let Some(strict) = workspace.text(&path) else {
        report.error(format!("{path} is missing: pure crates ban clocks, files and threads"));
        return;
    };
    let common = workspace.text("clippy.toml").unwrap_or_default();
    for line in common.lines().filter(|line| !line.trim().is_empty()) {
        if !strict.lines().any(|own| own == line) {
            report.error(format!("{path} lacks \"{line}\", which the root clippy.toml has"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::fixture;

    fn errors(crates: &[(&str, &[&str])]) -> Vec<String> {
        let clippy = ["types", "coding", "protocol"]
            .map(|name| (format!("crates/{name}/clippy.toml"), String::new()));
        check(&fixture::workspace(crates), &Workspace::new(clippy)).errors
    }

    #[test]
    fn arrows_of_the_table_pass() {
        assert!(
            errors(&[
                ("avid-types", &["hex"]),
                ("avid-coding", &["avid-types"]),
                ("avid-node", &["avid-store", "avid-net", "tokio"]),
                ("xtask", &["anyhow"]),
            ])
            .is_empty()
        );
    }

    #[test]
    fn an_arrow_outside_the_table_is_refused() {
        assert_eq!(
            errors(&[("avid-coding", &["avid-types", "avid-protocol"])]),
            ["avid-coding must not use avid-protocol: coding may use [\"types\"]"]
        );
        assert_eq!(errors(&[("xtask", &["avid-types"])]).len(), 1);
        assert_eq!(errors(&[("avid-cli", &["avid-sim"])]).len(), 1);
        assert_eq!(errors(&[("avid-cli", &["sim"])]).len(), 1);
    }

    #[test]
    fn a_test_may_use_what_the_crate_may_not() {
        let mut metadata = fixture::workspace(&[("avid-net", &[])]);
        metadata.packages[0].dependencies.push(fixture::dependency("avid-node", Some("dev")));
        assert_eq!(check(&metadata, &Workspace::default()), Report::default());
        metadata.packages[0].dependencies.push(fixture::dependency("avid-node", Some("build")));
        assert_eq!(check(&metadata, &Workspace::default()).errors.len(), 1);
    }

    #[test]
    fn an_unknown_crate_is_refused() {
        assert!(errors(&[("avid-helpers", &[])])[0].contains("no row in the layers table"));
    }

    #[test]
    fn effects_are_refused_in_pure_crates_only() {
        assert_eq!(
            errors(&[("avid-protocol", &["tokio"]), ("avid-net", &["tokio"])]),
            ["avid-protocol is pure and must not use tokio"]
        );
    }

    #[test]
    fn strict_clippy_settings_repeat_the_common_ones() {
        let root = ("clippy.toml".to_owned(), "a = 1\nb = 2\n".to_owned());
        let strict = ("crates/types/clippy.toml".to_owned(), "a = 1\nc = 3\n".to_owned());
        let metadata = fixture::workspace(&[("avid-types", &[])]);
        let report = check(&metadata, &Workspace::new([root, strict]));
        assert_eq!(
            report.errors,
            ["crates/types/clippy.toml lacks \"b = 2\", which the root clippy.toml has"]
        );
        let report = check(&metadata, &Workspace::default());
        assert!(report.errors[0].contains("is missing"));
    }

    #[test]
    fn the_table_only_names_its_own_rows_and_has_no_cycle() {
        for (position, layer) in LAYERS.iter().enumerate() {
            for used in layer.uses {
                let target = LAYERS.iter().position(|other| other.name == *used);
                assert!(target.is_some_and(|target| target < position), "{} {used}", layer.name);
            }
        }
    }
}
