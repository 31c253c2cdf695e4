//! `cargo xtask mutants`: would a test notice if this line were wrong?
//!
//! cargo-mutants changes one place of the production code at a time and runs the tests of the
//! crate; a change that no test notices survives. What stands around it here: each crate answers
//! for itself with its own tests, the fast ones of one binary first and all of them for survivors,
//! the list is cut into shards, and outcomes are kept, so that a run goes on where another stopped.
//!
//! ```text
//! target/mutants/<package>/outcomes.tsv    outcome, digest of the file, digest of the tests, mutant
//! target/mutants/<package>/running.tsv     the digests while cargo-mutants runs
//! target/mutants/<package>/mutants.out     its own output, taken into outcomes.tsv at the next start
//! docs/mutants.md                          the table between the two marks, and why survivors live
//! ```
//! An outcome holds while the production part of its file is the same; a survivor's also only
//! while the crate's tests are. So new tests run the survivors again and nothing else; after
//! tests were removed or weakened, run without `--resume`.
//!
//! Bounds: a mutant's tests are killed after five times the time of the unmutated ones, but not
//! before `minimum_test_timeout` of `.cargo/mutants.toml`.

mod outcomes;
mod page;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};

use outcomes::{Digests, Found, Outcome, file_of};
use page::Counts;

const USAGE: &str = "\
usage: cargo xtask mutants [--crate X]... [--shard k/n] [--resume] [-- CARGO-MUTANTS-OPTION...]

  --crate X    types, protocol or coding; all three if none is named
  --shard k/n  only every n-th mutant, beginning with the k-th (from 0)
  --resume     keep outcomes of earlier runs that still hold
  --           the rest goes to cargo-mutants, for example --jobs 2 or --in-place";

const PAGE: &str = "docs/mutants.md";

/// One crate under test.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    name: &'static str,
    package: &'static str,
    directory: &'static str,
    /// Chooses the one test binary that every mutant meets; its survivors meet all of the crate's.
    first: &'static str,
    /// Tests in it that take most of the time and are left to the second pass.
    slow: &'static [&'static str],
}

const TARGETS: [Target; 3] = [
    Target {
        name: "types",
        package: "avid-types",
        directory: "crates/types",
        first: "--cargo-arg=--lib",
        slow: &[],
    },
    Target {
        name: "protocol",
        package: "avid-protocol",
        directory: "crates/protocol",
        first: "--cargo-arg=--test=suite",
        slow: &[
            "exhaustive::",
            "random::",
            "a_full_memory_still_verifies_right",
            "every_retrieval_ends_done_or_unavailable",
            "f_liars_push_cluster_time",
            "out_of_reach_exactly_when_too_many_failed",
            "random_bytes_never_panic",
        ],
    },
    Target {
        name: "coding",
        package: "avid-coding",
        directory: "crates/coding",
        first: "--cargo-arg=--lib",
        slow: &["samples_of_large_shapes_rebuild"],
    },
];

/// Runs the command; the exit code says whether every survivor is explained in the page.
pub(crate) fn main(arguments: &[String]) -> ExitCode {
    let plan = match Plan::parse(arguments) {
        Ok(plan) => plan,
        Err(message) => {
            eprintln!("error: {message}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match plan.run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    targets: Vec<&'static Target>,
    shard: Shard,
    resume: bool,
    options: Vec<String>,
}

/// Every `of`-th mutant, beginning with `index`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shard {
    index: usize,
    of: usize,
}

impl Shard {
    fn parse(text: &str) -> Option<Self> {
        let (index, of) = text.split_once('/')?;
        let shard = Self { index: index.parse().ok()?, of: of.parse().ok()? };
        (shard.index < shard.of).then_some(shard)
    }

    fn of<T: Clone>(self, all: &[T]) -> Vec<T> {
        all.iter().skip(self.index).step_by(self.of).cloned().collect()
    }
}

impl Plan {
    fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut plan = Self {
            targets: Vec::new(),
            shard: Shard { index: 0, of: 1 },
            resume: false,
            options: Vec::new(),
        };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--resume" => plan.resume = true,
                "--shard" => {
                    let shard = words.next().and_then(|text| Shard::parse(text));
                    plan.shard = shard.ok_or("--shard needs k/n with k < n")?;
                }
                "--crate" => {
                    let name = words.next().ok_or("--crate needs a name")?;
                    let target = TARGETS.iter().find(|target| target.name == name);
                    plan.targets.push(target.ok_or_else(|| format!("unknown crate {name:?}"))?);
                }
                "--" => plan.options = words.by_ref().cloned().collect(),
                _ => return Err(format!("unknown word {word:?}")),
            }
        }
        if plan.targets.is_empty() {
            plan.targets = TARGETS.iter().collect();
        }
        Ok(plan)
    }

    /// Runs what is asked for, then reports on all three crates; whether each survivor is explained.
    fn run(&self) -> Result<bool> {
        let here = std::env::current_dir().context("cannot tell the current directory")?;
        let root = xtask::workspace::find_root(&here)?;
        for target in &self.targets {
            Run::load(&root, target)?.run(self)?;
        }
        let (mut rows, mut survivors) = (Vec::new(), Vec::new());
        for target in &TARGETS {
            let run = Run::load(&root, target)?;
            rows.push((target.name, run.counts()));
            survivors.extend(run.with_outcome(&[Outcome::Missed, Outcome::Survived]));
        }
        let table = page::table(&rows);
        println!("\n{table}");
        let figures = format!("Sources of commit `{}`.\n\n{table}", revision(&root)?);
        let path = root.join(PAGE);
        let old = fs::read_to_string(&path).with_context(|| format!("cannot read {PAGE}"))?;
        let text = page::with_figures(&old, &figures)?;
        fs::write(&path, &text).with_context(|| format!("cannot write {PAGE}"))?;
        let open = page::unexplained(&text, &survivors);
        for mutant in &open {
            println!("survives, not explained in {PAGE}: {mutant}");
        }
        Ok(open.is_empty())
    }
}

/// The mutants of one crate and what is known of them.
struct Run<'a> {
    root: &'a Path,
    target: &'static Target,
    directory: PathBuf,
    listed: Vec<String>,
    digests: Digests,
    found: BTreeMap<String, Found>,
}

impl<'a> Run<'a> {
    fn load(root: &'a Path, target: &'static Target) -> Result<Self> {
        let directory = root.join("target/mutants").join(target.package);
        fs::create_dir_all(&directory).context("cannot make a directory below target")?;
        let listed = list(root, target)?;
        let digests = Digests::read(root, target.directory)?;
        let mut run = Self { root, target, directory, listed, digests, found: BTreeMap::new() };
        run.found = run.kept();
        Ok(run)
    }

    /// What is on file and still holds.
    fn kept(&self) -> BTreeMap<String, Found> {
        let mut found = outcomes::parse_outcomes(&self.read("outcomes.tsv"));
        found.retain(|mutant, found| found.holds(&self.digests, file_of(mutant)));
        found
    }

    fn run(&mut self, plan: &Plan) -> Result<()> {
        if !plan.resume {
            self.write("outcomes.tsv", "")?;
            self.write("running.tsv", "")?;
        }
        self.take_in()?;
        let mine = plan.shard.of(&self.listed);
        let skip: Vec<&str> = self.target.slow.iter().flat_map(|name| ["--skip", name]).collect();
        let unknown: Vec<String> =
            mine.iter().filter(|mutant| !self.found.contains_key(*mutant)).cloned().collect();
        let first = [self.target.first, "--", "--"];
        self.pass(&unknown, &plan.options, &[&first[..], &skip].concat(), Outcome::Missed)?;
        let mut missed = self.with_outcome(&[Outcome::Missed]);
        missed.retain(|mutant| mine.contains(mutant));
        self.pass(&missed, &plan.options, &["--cargo-arg=--tests"], Outcome::Survived)
    }

    /// Runs cargo-mutants over some of the listed mutants. What it does not catch becomes `missed`.
    fn pass(
        &mut self,
        mutants: &[String],
        options: &[String],
        tests: &[&str],
        missed: Outcome,
    ) -> Result<()> {
        if mutants.is_empty() {
            return Ok(());
        }
        let others = self.listed.iter().filter(|mutant| !mutants.contains(mutant));
        let others: String = others.map(|mutant| format!("{mutant}\n")).collect();
        let out = self.directory.join("mutants.out");
        if out.exists() {
            fs::remove_dir_all(&out).context("cannot remove mutants.out")?;
        }
        fs::create_dir_all(&out).context("cannot make mutants.out")?;
        // The one way to name single mutants: it leaves out those it finds here.
        self.write("mutants.out/previously_caught.txt", &others)?;
        self.write("running.tsv", &outcomes::render_running(missed, &self.digests))?;
        println!("{}: {} mutants", self.target.package, mutants.len());
        let status = Command::new("cargo")
            .args(["mutants", "--iterate", "--package", self.target.package, "--output"])
            .arg(&self.directory)
            .args(options)
            .args(tests)
            .current_dir(self.root)
            .status()
            .context("cannot run cargo mutants; install it with cargo install cargo-mutants")?;
        self.take_in()?;
        // 2: some mutants were missed. 3: some tests timed out. Neither is a failure of the run.
        let finished = matches!(status.code(), Some(0 | 2 | 3));
        ensure!(finished, "cargo mutants stopped with {status}; --resume goes on from here");
        Ok(())
    }

    /// Takes in what cargo-mutants wrote, also that of a run that was interrupted.
    fn take_in(&mut self) -> Result<()> {
        let mut found = self.kept();
        if let Some((missed, digests)) = outcomes::parse_running(&self.read("running.tsv")) {
            for (list, outcome) in [
                ("caught", Outcome::Caught),
                ("timeout", Outcome::Timeout),
                ("unviable", Outcome::Unviable),
                ("missed", missed),
            ] {
                for mutant in self.read(&format!("mutants.out/{list}.txt")).lines() {
                    let Some(file) = digests.files.get(file_of(mutant)) else { continue };
                    let (file, tests) = (file.clone(), digests.tests.clone());
                    found.insert(mutant.to_owned(), Found { outcome, file, tests });
                }
            }
        }
        self.write("outcomes.tsv", &outcomes::render_outcomes(&found))?;
        self.write("running.tsv", "")?;
        self.found = self.kept();
        Ok(())
    }

    /// The text of a file of the state, empty if it is not there.
    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.directory.join(name)).unwrap_or_default()
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.directory.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    fn with_outcome(&self, outcomes: &[Outcome]) -> Vec<String> {
        let is_one = |mutant: &&String| {
            self.found.get(*mutant).is_some_and(|found| outcomes.contains(&found.outcome))
        };
        self.listed.iter().filter(is_one).cloned().collect()
    }

    fn counts(&self) -> Counts {
        let count = |outcomes: &[Outcome]| self.with_outcome(outcomes).len();
        Counts {
            listed: self.listed.len(),
            caught: count(&[Outcome::Caught]),
            timeout: count(&[Outcome::Timeout]),
            unviable: count(&[Outcome::Unviable]),
            survived: count(&[Outcome::Missed, Outcome::Survived]),
        }
    }
}

/// Every mutant of a crate, in the order of cargo-mutants.
fn list(root: &Path, target: &Target) -> Result<Vec<String>> {
    let output = Command::new("cargo")
        .args(["mutants", "--list", "--package", target.package])
        .current_dir(root)
        .output()
        .context("cannot run cargo mutants; install it with cargo install cargo-mutants")?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cargo mutants --list failed: {complaint}");
    let text = String::from_utf8(output.stdout).context("cargo mutants did not print UTF-8")?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// The commit of the sources, and whether they differ from it.
fn revision(root: &Path) -> Result<String> {
    let git = |arguments: &[&str]| -> Result<String> {
        let output = Command::new("git").args(arguments).current_dir(root).output();
        let output = output.context("cannot run git")?;
        ensure!(output.status.success(), "git {arguments:?} failed");
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let directories = TARGETS.iter().map(|target| target.directory);
    let status: Vec<&str> =
        ["status", "--porcelain", "--"].into_iter().chain(directories).collect();
    let changed = if git(&status)?.is_empty() { "" } else { ", changed" };
    Ok(format!("{commit}{changed}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(line: &str) -> Result<Plan, String> {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        Plan::parse(&words)
    }

    #[test]
    fn all_three_crates_are_run_unless_some_are_named() {
        let names = |plan: Plan| plan.targets.iter().map(|target| target.name).collect::<Vec<_>>();
        assert_eq!(names(plan("").unwrap()), ["types", "protocol", "coding"]);
        assert_eq!(names(plan("--crate coding --crate types").unwrap()), ["coding", "types"]);
    }

    #[test]
    fn options_of_cargo_mutants_follow_two_dashes() {
        let plan = plan("--resume --shard 1/4 -- --jobs 2 --resume").unwrap();
        assert!(plan.resume);
        assert_eq!(plan.shard, Shard { index: 1, of: 4 });
        assert_eq!(plan.options, ["--jobs", "2", "--resume"]);
    }

    #[test]
    fn shards_are_disjoint_and_together_everything() {
        let all: Vec<u32> = (0..11).collect();
        let mut seen: Vec<u32> = (0..4).flat_map(|index| Shard { index, of: 4 }.of(&all)).collect();
        seen.sort_unstable();
        assert_eq!(seen, all);
        assert_eq!(Shard { index: 3, of: 4 }.of(&all), [3, 7]);
    }

    #[test]
    fn unknown_words_crates_and_shards_are_refused() {
        for line in ["--all", "--crate", "--crate net", "--shard", "--shard 4/4", "--shard 1", "x"]
        {
            assert!(plan(line).is_err(), "{line}");
        }
    }
}
