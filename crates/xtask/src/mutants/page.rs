//! The page for people: figures between two marks, and a reason for each survivor.

use std::fmt::Write as _;

use anyhow::{Context, Result};

const BEGIN: &str = "<!-- figures: written by cargo xtask mutants -->\n";
const END: &str = "<!-- end of figures -->\n";

/// How the mutants of one crate fared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// All that cargo-mutants proposes.
    pub(super) listed: usize,
    /// A test failed.
    pub(super) caught: usize,
    /// Tests did not end.
    pub(super) timeout: usize,
    /// They do not compile.
    pub(super) unviable: usize,
    /// No test failed.
    pub(super) survived: usize,
}

impl Counts {
    fn untried(self) -> usize {
        self.listed - self.caught - self.timeout - self.unviable - self.survived
    }

    /// Caught per cent of those that compile and were tried, in tenths, rounded down.
    fn caught_per_mille(self) -> usize {
        let caught = self.caught + self.timeout;
        (1000 * caught).checked_div(caught + self.survived).unwrap_or(0)
    }

    fn plus(self, other: Self) -> Self {
        Self {
            listed: self.listed + other.listed,
            caught: self.caught + other.caught,
            timeout: self.timeout + other.timeout,
            unviable: self.unviable + other.unviable,
            survived: self.survived + other.survived,
        }
    }
}

/// A row per crate and one for all.
pub(super) fn table(rows: &[(&str, Counts)]) -> String {
    let mut text = String::from(
        "| crate | mutants | caught | timeout | survived | unviable | not tried | caught of the viable |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    let all = rows.iter().fold(Counts::default(), |all, (_, counts)| all.plus(*counts));
    for (name, c) in rows.iter().copied().chain([("all", all)]) {
        let share = c.caught_per_mille();
        writeln!(
            text,
            "| {name} | {} | {} | {} | {} | {} | {} | {}.{} % |",
            c.listed,
            c.caught,
            c.timeout,
            c.survived,
            c.unviable,
            c.untried(),
            share / 10,
            share % 10,
        )
        .ok();
    }
    text
}

/// The page with other figures between its marks.
///
/// # Errors
///
/// The marks are missing.
pub(super) fn with_figures(page: &str, figures: &str) -> Result<String> {
    let (before, rest) = page.split_once(BEGIN).context("the page has no mark for figures")?;
    let (_, after) = rest.split_once(END).context("the page has no mark after the figures")?;
    Ok(format!("{before}{BEGIN}{figures}{END}{after}"))
}

/// A mutant as the page names it: without line and column, which move.
fn without_place(mutant: &str) -> String {
    let mut parts = mutant.splitn(4, ':');
    let file = parts.next().unwrap_or_default();
    let what = parts.nth(2).unwrap_or_default();
    format!("{}:{what}", file.trim_start_matches("crates/").replace("/src/", "/"))
}

/// Survivors that the page does not name between backticks.
pub(super) fn unexplained<'a>(page: &str, survivors: &'a [String]) -> Vec<&'a String> {
    let is_named = |mutant: &str| page.contains(&format!("`{}`", without_place(mutant)));
    survivors.iter().filter(|mutant| !is_named(mutant)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_a_catch_and_the_unviable_do_not_count() {
        let types = Counts { listed: 12, caught: 6, timeout: 1, unviable: 2, survived: 1 };
        let coding = Counts { listed: 3, caught: 2, survived: 1, ..Counts::default() };
        let expected = "\
            | crate | mutants | caught | timeout | survived | unviable | not tried | caught of the viable |\n\
            |---|---|---|---|---|---|---|---|\n\
            | types | 12 | 6 | 1 | 1 | 2 | 2 | 87.5 % |\n\
            | coding | 3 | 2 | 0 | 1 | 0 | 0 | 66.6 % |\n\
            | all | 15 | 8 | 1 | 2 | 2 | 2 | 81.8 % |\n";
        assert_eq!(table(&[("types", types), ("coding", coding)]), expected);
        assert!(table(&[("none", Counts::default())]).contains("| 0.0 % |"));
    }

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let page = format!("a\n{BEGIN}old\n{END}b\n");
        assert_eq!(with_figures(&page, "new\n").unwrap(), format!("a\n{BEGIN}new\n{END}b\n"));
        assert!(with_figures("a\n", "new\n").is_err());
        assert!(with_figures(BEGIN, "new\n").is_err());
    }

    #[test]
    fn a_survivor_is_explained_where_its_mutation_stands_in_backticks() {
        let page = "`types/key.rs: replace PublicKey::bytes -> usize with 1`: a reason\n";
        let known =
            "crates/types/src/key.rs:7:9: replace PublicKey::bytes -> usize with 1".to_owned();
        let new =
            "crates/types/src/key.rs:9:9: replace PublicKey::bytes -> usize with 0".to_owned();
        assert_eq!(unexplained(page, &[known, new.clone()]), [&new]);
    }
}
