//! Developer commands: `cargo xtask check`.
//!
//! Runs every stage even after one failed, so that one run shows everything, and ends with a table
//! of results and times. The cheap stages come first; tests and simulator come last.
//!
//! Not here: the checks themselves (the library beside this file).
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a developer command talks to the terminal"
)]

mod mutants;

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use xtask::{Metadata, Report, Workspace, deps, layers, spec, tidy, workspace};

const USAGE: &str = "\
usage: cargo xtask check [--quick] [STAGE...]
       cargo xtask mutants ...   (see docs/mutants.md)

stages, in this order: fmt tidy layers spec deps clippy doc test sim
  --quick   leaves out doc and sim, and of test everything but unit tests
  STAGE     runs only the stages named";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("mutants", rest)) =
        arguments.split_first().map(|(word, rest)| (word.as_str(), rest))
    {
        return mutants::main(rest);
    }
    let plan = match Plan::parse(&arguments) {
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Fmt,
    Tidy,
    Layers,
    Spec,
    Deps,
    Clippy,
    Doc,
    Test,
    Sim,
}

impl Stage {
    const ALL: [Self; 9] = [
        Self::Fmt,
        Self::Tidy,
        Self::Layers,
        Self::Spec,
        Self::Deps,
        Self::Clippy,
        Self::Doc,
        Self::Test,
        Self::Sim,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Fmt => "fmt",
            Self::Tidy => "tidy",
            Self::Layers => "layers",
            Self::Spec => "spec",
            Self::Deps => "deps",
            Self::Clippy => "clippy",
            Self::Doc => "doc",
            Self::Test => "test",
            Self::Sim => "sim",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Passed,
    Failed,
    Skipped,
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Self::Passed => "ok",
            Self::Failed => "FAILED",
            Self::Skipped => "skipped",
        }
    }

    fn of(success: bool) -> Self {
        if success { Self::Passed } else { Self::Failed }
    }
}

/// One line of the closing table.
struct Row {
    stage: Stage,
    verdict: Verdict,
    time: Duration,
}

/// What the command line asks for.
#[derive(Debug)]
struct Plan {
    quick: bool,
    stages: Vec<Stage>,
}

impl Plan {
    fn parse(arguments: &[String]) -> Result<Self, String> {
        let Some((command, rest)) = arguments.split_first() else {
            return Err("no command given".to_owned());
        };
        if command != "check" {
            return Err(format!("unknown command {command:?}"));
        }
        let mut plan = Self { quick: false, stages: Vec::new() };
        for argument in rest {
            if argument == "--quick" {
                plan.quick = true;
                continue;
            }
            let stage = Stage::ALL.into_iter().find(|stage| stage.name() == argument);
            plan.stages.push(stage.ok_or_else(|| format!("unknown stage {argument:?}"))?);
        }
        if plan.stages.is_empty() {
            plan.stages = Stage::ALL.to_vec();
            plan.stages.retain(|stage| !plan.quick || !matches!(stage, Stage::Doc | Stage::Sim));
        }
        Ok(plan)
    }

    /// Runs the stages; whether all of them passed.
    fn run(&self) -> Result<bool> {
        let here = std::env::current_dir().context("cannot tell the current directory")?;
        let root = workspace::find_root(&here)?;
        let cargo = std::env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from);
        let runner = Runner { quick: self.quick, root, cargo };
        let mut rows = Vec::new();
        for stage in &self.stages {
            println!("== {}", stage.name());
            let start = Instant::now();
            let verdict = runner.run(*stage).unwrap_or_else(|error| {
                eprintln!("error: {error:#}");
                Verdict::Failed
            });
            rows.push(Row { stage: *stage, verdict, time: start.elapsed() });
        }
        print_table(&rows);
        Ok(rows.iter().all(|row| row.verdict != Verdict::Failed))
    }
}

/// Runs stages in one workspace.
struct Runner {
    quick: bool,
    root: PathBuf,
    cargo: PathBuf,
}

impl Runner {
    fn run(&self, stage: Stage) -> Result<Verdict> {
        match stage {
            Stage::Fmt => self.cargo("fmt --all --check", &[]),
            Stage::Tidy => Ok(show(&tidy::check(&self.workspace()?))),
            Stage::Layers => Ok(show(&layers::check(&self.metadata()?, &self.workspace()?))),
            Stage::Spec => Ok(show(&spec::check(&self.workspace()?))),
            Stage::Deps => Ok(show(&deps::check(&self.metadata()?))),
            Stage::Clippy => self.cargo("clippy --workspace --all-targets -- -D warnings", &[]),
            Stage::Doc => {
                self.cargo("doc --workspace --no-deps", &[("RUSTDOCFLAGS", "-D warnings")])
            }
            Stage::Test if self.quick => self.cargo("test --workspace --lib --bins", &[]),
            Stage::Test => self.cargo("test --workspace", &[]),
            // Seeds that nobody has run, for about two minutes; those that once failed are tests.
            Stage::Sim => {
                let quiet = [("RUST_BACKTRACE", "0")];
                let fresh = "run -p sim -- --fresh --seeds 1000000 --seconds 120 --jobs 2";
                let canaries = "test -p sim --features canary --test canaries";
                let held = self.cargo(fresh, &quiet)?;
                let caught = self.cargo(canaries, &quiet)?;
                Ok(Verdict::of([held, caught] == [Verdict::Passed; 2]))
            }
        }
    }

    fn workspace(&self) -> Result<Workspace> {
        Workspace::load(&self.root)
    }

    fn metadata(&self) -> Result<Metadata> {
        Metadata::load(&self.cargo, &self.root)
    }

    /// Runs cargo with its output going to ours.
    fn cargo(&self, arguments: &str, environment: &[(&str, &str)]) -> Result<Verdict> {
        println!("cargo {arguments}");
        let status = Command::new(&self.cargo)
            .args(arguments.split(' '))
            .envs(environment.iter().copied())
            .current_dir(&self.root)
            .status()
            .with_context(|| format!("cannot run cargo {arguments}"))?;
        Ok(Verdict::of(status.success()))
    }
}

fn show(report: &Report) -> Verdict {
    for warning in &report.warnings {
        println!("warning: {warning}");
    }
    for error in &report.errors {
        println!("error: {error}");
    }
    if let Some(reason) = &report.skipped {
        println!("skipped: {reason}");
        return Verdict::Skipped;
    }
    Verdict::of(report.errors.is_empty())
}

fn print_table(rows: &[Row]) {
    println!("\n{:<8} {:<8} {:>8}", "stage", "result", "seconds");
    for row in rows {
        let (stage, verdict) = (row.stage.name(), row.verdict.name());
        println!("{stage:<8} {verdict:<8} {:>8.1}", row.time.as_secs_f64());
    }
    let total: Duration = rows.iter().map(|row| row.time).sum();
    println!("{:<8} {:<8} {:>8.1}", "total", "", total.as_secs_f64());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stages(arguments: &str) -> Result<Vec<Stage>, String> {
        let arguments: Vec<_> = arguments.split_whitespace().map(str::to_owned).collect();
        Plan::parse(&arguments).map(|plan| plan.stages)
    }

    #[test]
    fn a_check_runs_every_stage_and_ends_with_the_simulator() {
        assert_eq!(stages("check").unwrap(), Stage::ALL);
        assert_eq!(stages("check").unwrap().last(), Some(&Stage::Sim));
    }

    #[test]
    fn a_quick_check_leaves_out_documentation_and_simulator() {
        let quick = stages("check --quick").unwrap();
        assert_eq!(quick.len(), Stage::ALL.len() - 2);
        assert!(!quick.contains(&Stage::Doc) && !quick.contains(&Stage::Sim));
    }

    #[test]
    fn named_stages_run_alone() {
        assert_eq!(stages("check spec tidy").unwrap(), [Stage::Spec, Stage::Tidy]);
    }

    #[test]
    fn unknown_words_are_refused() {
        for arguments in ["", "test", "check --fast", "check tidyy"] {
            assert!(stages(arguments).is_err(), "{arguments}");
        }
    }
}
