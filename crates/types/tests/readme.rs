//! The README's survival table is what the code computes.
//!
//! Spec: docs/protocol.md PARAMS-1.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::fmt::Write;

use avid_types::Params;

const README: &str = include_str!("../../../README.md");

fn survival_table() -> String {
    let mut table = String::from(
        "| m-of-n | stored per byte | liars (f) | down while writing | lost right after commit | lost once placed |\n\
         |---|---|---|---|---|---|\n",
    );
    let shapes = [(3, 5), (2, 4), (4, 6), (4, 7), (4, 8), (8, 12), (4, 10), (10, 16), (2, 3)];
    for (m, n) in shapes {
        let params = Params::with_most_liars(m, n).unwrap();
        let liars = match params.f() {
            0 => "0 (no liar tolerated)".to_owned(),
            f => f.to_string(),
        };
        writeln!(
            table,
            "| {m}-of-{n} | {:.2} | {liars} | {} | {} | {} |",
            f64::from(n) / f64::from(m),
            params.down_during_write(),
            params.losses_at_commit(),
            params.losses_when_placed(),
        )
        .unwrap();
    }
    table
}

#[test]
fn the_table_in_the_readme_is_computed() {
    let start = README.find("readme.rs -->\n").unwrap() + "readme.rs -->\n".len();
    let end = README.find("<!-- end of survival-table -->").unwrap();
    assert_eq!(README.get(start..end).unwrap(), survival_table());
}

/// The thresholds in docs/protocol.md are those of the golden file, which the unit tests compute.
#[test]
fn the_thresholds_in_the_protocol_page_are_computed() {
    let page = include_str!("../../../docs/protocol.md");
    assert!(page.contains(include_str!("../testdata/thresholds.txt")));
}
