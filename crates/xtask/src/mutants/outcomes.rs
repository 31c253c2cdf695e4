//! What became of each mutant, and the sources for which that was found.
//!
//! Not here: running anything (`mutants`), the page for people (`page`).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;

/// What became of one mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A test failed.
    Caught,
    /// Tests did not end; counts as caught.
    Timeout,
    /// It does not compile.
    Unviable,
    /// No fast test failed; the slow ones are still to come.
    Missed,
    /// No test failed.
    Survived,
}

impl Outcome {
    const ALL: [Self; 5] =
        [Self::Caught, Self::Timeout, Self::Unviable, Self::Missed, Self::Survived];

    fn name(self) -> &'static str {
        match self {
            Self::Caught => "caught",
            Self::Timeout => "timeout",
            Self::Unviable => "unviable",
            Self::Missed => "missed",
            Self::Survived => "survived",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.name() == name)
    }

    /// Whether more tests could change it.
    fn depends_on_tests(self) -> bool {
        matches!(self, Self::Missed | Self::Survived)
    }
}

/// An outcome and what it was found for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) outcome: Outcome,
    /// Digest of the production part of the mutated file.
    pub(super) file: String,
    /// Digest of everything below the crate.
    pub(super) tests: String,
}

impl Found {
    pub(super) fn holds(&self, digests: &Digests, file: &str) -> bool {
        digests.files.get(file) == Some(&self.file)
            && (!self.outcome.depends_on_tests() || self.tests == digests.tests)
    }
}

/// Digests of a crate's sources.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Digests {
    pub(super) files: BTreeMap<String, String>,
    pub(super) tests: String,
}

impl Digests {
    /// Of the texts of a crate, by path from the root of the workspace.
    pub(super) fn of<'a>(texts: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut digests = Self::default();
        let mut all = String::new();
        for (path, text) in texts {
            digests.files.insert(path.to_owned(), digest(production(text)));
            write!(all, "{path}\0{text}\0").ok();
        }
        digests.tests = digest(&all);
        digests
    }

    /// Reads the sources below one directory of the workspace.
    ///
    /// # Errors
    ///
    /// The workspace cannot be read.
    pub(super) fn read(root: &Path, directory: &str) -> Result<Self> {
        let workspace = xtask::Workspace::load(root)?;
        let inside = |path: &str| path.starts_with(&format!("{directory}/"));
        let files = workspace.files.iter().filter(|file| inside(&file.path));
        Ok(Self::of(files.map(|file| (file.path.as_str(), file.text.as_str()))))
    }
}

/// The part of a file that is not tests, which stand last.
fn production(text: &str) -> &str {
    text.split_once("\n#[cfg(test)]\nmod tests").map_or(text, |(production, _)| production)
}

/// FNV-1a: tells changes apart, and nobody here wants a collision.
fn digest(text: &str) -> String {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", text.bytes().fold(0xcbf2_9ce4_8422_2325, step))
}

/// The file that a mutant changes; its name is "path:line:column: what".
pub(super) fn file_of(mutant: &str) -> &str {
    mutant.split_once(':').map_or(mutant, |(file, _)| file)
}

/// One line per mutant, fields separated by tabs.
pub(super) fn render_outcomes(found: &BTreeMap<String, Found>) -> String {
    let line = |(mutant, found): (&String, &Found)| {
        format!("{}\t{}\t{}\t{mutant}\n", found.outcome.name(), found.file, found.tests)
    };
    found.iter().map(line).collect()
}

/// Reads [`render_outcomes`]; lines that are none are left out.
pub(super) fn parse_outcomes(text: &str) -> BTreeMap<String, Found> {
    let parse = |line: &str| {
        let mut fields = line.splitn(4, '\t').map(str::to_owned);
        let outcome = Outcome::named(&fields.next()?)?;
        let (file, tests, mutant) = (fields.next()?, fields.next()?, fields.next()?);
        Some((mutant, Found { outcome, file, tests }))
    };
    text.lines().filter_map(parse).collect()
}

/// What a run of cargo-mutants was started with: the meaning of "missed", then digests.
pub(super) fn render_running(missed: Outcome, digests: &Digests) -> String {
    let mut text = format!("{}\t{}\n", missed.name(), digests.tests);
    for (file, digest) in &digests.files {
        writeln!(text, "{digest}\t{file}").ok();
    }
    text
}

/// Reads [`render_running`].
pub(super) fn parse_running(text: &str) -> Option<(Outcome, Digests)> {
    let mut lines = text.lines();
    let (missed, tests) = lines.next()?.split_once('\t')?;
    let file =
        |line: &str| line.split_once('\t').map(|(digest, file)| (file.into(), digest.into()));
    let files = lines.filter_map(file).collect();
    Some((Outcome::named(missed)?, Digests { files, tests: tests.to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "fn a() {}\n\n#[cfg(test)]\nmod tests {}\n";
    const MUTANT: &str = "a/src/lib.rs:1:1: replace a with ()";

    fn digests(text: &str, test: &str) -> Digests {
        Digests::of([("a/src/lib.rs", text), ("a/tests/all.rs", test)].into_iter())
    }

    fn found(outcome: Outcome) -> Found {
        let Digests { files, tests } = digests(TEXT, "");
        Found { outcome, file: files["a/src/lib.rs"].clone(), tests }
    }

    #[test]
    fn a_catch_holds_until_the_production_part_of_its_file_changes() {
        let caught = found(Outcome::Caught);
        let file = file_of(MUTANT);
        assert!(caught.holds(&digests(TEXT, ""), file));
        assert!(caught.holds(&digests(&TEXT.replace("tests {}", "tests { }"), ""), file));
        assert!(caught.holds(&digests(TEXT, "new"), file));
        assert!(!caught.holds(&digests(&TEXT.replace("fn a", "fn b"), ""), file));
        assert!(!caught.holds(&Digests::default(), file), "the file is gone");
    }

    #[test]
    fn a_survivor_meets_every_new_test() {
        for outcome in [Outcome::Missed, Outcome::Survived] {
            let survivor = found(outcome);
            assert!(survivor.holds(&digests(TEXT, ""), file_of(MUTANT)));
            assert!(!survivor.holds(&digests(TEXT, "new"), file_of(MUTANT)));
        }
    }

    #[test]
    fn outcomes_are_read_back() {
        let all: BTreeMap<String, Found> = (0..)
            .zip(Outcome::ALL)
            .map(|(line, outcome)| (format!("a/src/lib.rs:{line}:1: a\tb"), found(outcome)))
            .collect();
        assert_eq!(parse_outcomes(&render_outcomes(&all)), all);
        assert_eq!(parse_outcomes("nonsense\n\ncaught\tx\n"), BTreeMap::new());
    }

    #[test]
    fn what_a_run_was_started_with_is_read_back() {
        let digests = digests(TEXT, "test");
        let text = render_running(Outcome::Survived, &digests);
        assert_eq!(parse_running(&text), Some((Outcome::Survived, digests)));
        assert_eq!(parse_running(""), None);
    }

    /// The published test vector of FNV-1a, 64 bits.
    #[test]
    fn digests_are_fnv_1a() {
        assert_eq!(digest("foobar"), "85944171f73967e8");
    }
}
