//! `sim`: runs seeds until one of them breaks a promise, replays a seed, shrinks a failing one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;

use clap::Parser;
use sim::plan::{Plan, Scenario};
use sim::swarm::{self, Outcome};

/// Runs the production node, client and store under faults and liars, on virtual time.
#[derive(Debug, Parser)]
struct Args {
    /// Run this many seeds, one after the other.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Run this one seed and say what happened.
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// What the runs are about [default: follows from the seed].
    #[arg(long)]
    scenario: Option<Scenario>,
    /// Stop after so many seconds of real time, however many seeds are left.
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
    /// With --seed: keep only the actions of these numbers.
    #[arg(long, value_delimiter = ',', requires = "seed")]
    keep: Option<Vec<usize>>,
    /// With --seed: look for the fewest actions that still fail.
    #[arg(long, requires = "seed")]
    shrink: bool,
    /// Begin at a seed nobody has run: milliseconds since 1970, times a thousand.
    #[arg(long, conflicts_with_all = ["seed", "from"])]
    fresh: bool,
    /// Run the seeds of a file instead: `SEED SCENARIO` a line, `#` begins a comment.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "from", "fresh"])]
    list: Option<PathBuf>,
    /// Runs at once, each on its own thread.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Run every seed twice and compare the traces.
    #[arg(long)]
    twice: bool,
    /// Release a deliberate bug, or `all` of them in turn: succeeds if it is caught.
    #[cfg(feature = "canary")]
    #[arg(long, value_name = "NAME")]
    canary: Option<String>,
    /// One line of JSON at the end instead of a table.
    #[arg(long)]
    json: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    #[cfg(feature = "canary")]
    if let Some(name) = &args.canary {
        return canaries::main(&args, name);
    }
    match args.seed {
        Some(seed) => Ok(one(&args, seed)),
        None => many(&args),
    }
}

fn plan_of(args: &Args, seed: u64) -> Plan {
    Plan::new(seed, args.scenario.unwrap_or_else(|| Scenario::of_seed(seed)))
}

fn one(args: &Args, seed: u64) -> ExitCode {
    let mut plan = plan_of(args, seed);
    if let Some(keep) = &args.keep {
        plan = plan.keeping(keep);
    }
    if args.shrink {
        let Some((kept, smaller)) = sim::shrink::shrink(&plan) else {
            println!("seed {seed} does not fail: nothing to shrink");
            return ExitCode::FAILURE;
        };
        plan = smaller;
        let numbers: Vec<String> = kept.iter().map(usize::to_string).collect();
        println!("fails with {} actions; replay it with", kept.len());
        println!("    {} --keep {}", command(&plan), numbers.join(","));
    }
    for (number, (at, action)) in plan.actions.iter().enumerate() {
        println!("{number:>4} at {at:>6} ms: {action:?}");
    }
    println!("bad nodes: {:?}", plan.bad);
    let outcome = swarm::run(&plan, true);
    for line in &outcome.lines {
        println!("{line}");
    }
    println!("trace {}", hex(&outcome.hash));
    match outcome.violation {
        None => {
            println!("every promise held");
            ExitCode::SUCCESS
        }
        Some(violation) => {
            println!("VIOLATION: {violation}");
            ExitCode::FAILURE
        }
    }
}

/// The command that runs a plan's seed again.
fn command(plan: &Plan) -> String {
    let (seed, scenario) = (plan.seed, plan.scenario.name());
    format!("cargo run --release -p sim -- --seed {seed} --scenario {scenario}")
}

#[derive(Debug, Default)]
struct Totals {
    runs: u64,
    millis: u64,
    committed: u64,
    counts: BTreeMap<&'static str, u64>,
}

impl Totals {
    fn add(&mut self, outcome: &Outcome) {
        self.runs += 1;
        self.millis += outcome.millis;
        self.committed += outcome.committed as u64;
        for (what, count) in &outcome.counts {
            *self.counts.entry(what).or_default() += count;
        }
    }

    fn print(&self, elapsed: Duration, json: bool) {
        let seconds = elapsed.as_secs_f64().max(0.001);
        let per_second = self.runs as f64 / seconds;
        if json {
            let counts = serde_json::to_value(&self.counts).unwrap_or_default();
            let line = serde_json::json!({
                "seeds": self.runs, "seconds": seconds, "seeds_per_second": per_second,
                "simulated_ms": self.millis, "objects_committed": self.committed,
                "events": counts,
            });
            return println!("{line}");
        }
        let simulated = Duration::from_millis(self.millis).as_secs();
        println!("{} seeds in {seconds:.1} s: {per_second:.1} seeds per second", self.runs);
        println!("{simulated} s simulated, {:.0} times real time", simulated as f64 / seconds);
        println!("{} objects committed", self.committed);
        for (what, count) in &self.counts {
            println!("{count:>12}  {what}");
        }
    }
}

/// Hunts deliberate bugs instead of unknown ones.
#[cfg(feature = "canary")]
mod canaries {
    use std::process::ExitCode;
    use std::time::Instant;

    use anyhow::Context as _;
    use avid_types::canary::{Canary, release};
    use sim::canaries::{Catcher, catcher_of, hunt};

    use super::{Args, one};

    pub(super) fn main(args: &Args, name: &str) -> anyhow::Result<ExitCode> {
        if name == "all" {
            let escaped = Canary::ALL.into_iter().filter(|canary| !is_caught(args, *canary));
            return Ok(if escaped.count() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        let canary = Canary::named(name).with_context(|| {
            let names: Vec<&str> = Canary::ALL.iter().map(|canary| canary.name()).collect();
            format!("there is no canary {name}; there are all, {}", names.join(", "))
        })?;
        if let Some(seed) = args.seed {
            release(Some(canary));
            return Ok(one(args, seed));
        }
        Ok(if is_caught(args, canary) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn is_caught(args: &Args, canary: Canary) -> bool {
        let swarm = args.scenario.map(|scenario| Catcher::Swarm(scenario, args.seeds));
        let Some(catcher) = swarm.or_else(|| catcher_of(canary)) else {
            println!("{:<26} has nobody to catch it", canary.name());
            return false;
        };
        let begin = Instant::now();
        let caught = hunt(canary, catcher);
        let seconds = begin.elapsed().as_secs_f64();
        let by = match catcher {
            Catcher::Swarm(scenario, seeds) => format!("{} {seeds}", scenario.name()),
            Catcher::Script(name, _) => format!("script {name}"),
            Catcher::Test(file, name) => format!("{file} {name}"),
        };
        match &caught {
            Some(caught) => {
                let seed = caught.seed.map(|seed| format!(" at seed {seed}")).unwrap_or_default();
                let violation = &caught.violation;
                println!("{:<26} {seconds:>5.1} s  {by}{seed}: {violation}", canary.name());
            }
            None => println!("{:<26} {seconds:>5.1} s  {by}: NOT CAUGHT", canary.name()),
        }
        caught.is_some()
    }
}

/// Every plan there is to run, in order.
fn plans(args: &Args) -> anyhow::Result<Box<dyn Iterator<Item = Plan> + Send + '_>> {
    if let Some(path) = &args.list {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the list of seeds {}", path.display()))?;
        return Ok(Box::new(sim::plan::listed(&text)?.into_iter()));
    }
    let from = if args.fresh {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(0).saturating_mul(1_000)
    } else {
        args.from
    };
    let seeds = from..from.saturating_add(args.seeds);
    Ok(Box::new(seeds.map(|seed| plan_of(args, seed))))
}

/// What all threads work on.
struct Swarm<'a> {
    args: &'a Args,
    begin: Instant,
    plans: Mutex<Box<dyn Iterator<Item = Plan> + Send + 'a>>,
    totals: Mutex<Totals>,
    /// The first run that failed, and how.
    failed: Mutex<Option<(Plan, String)>>,
    stop: AtomicBool,
}

impl Swarm<'_> {
    fn work(&self) {
        let limit = self.args.seconds.map(Duration::from_secs);
        while !self.stop.load(Ordering::SeqCst) {
            if limit.is_some_and(|limit| self.begin.elapsed() >= limit) {
                return;
            }
            let Some(plan) = self.plans.lock().expect("no thread panics").next() else { return };
            if let Some(what) = self.run(&plan) {
                self.stop.store(true, Ordering::SeqCst);
                self.failed.lock().expect("no thread panics").get_or_insert((plan, what));
            }
        }
    }

    fn run(&self, plan: &Plan) -> Option<String> {
        let outcome = swarm::run(plan, false);
        self.totals.lock().expect("no thread panics").add(&outcome);
        let again = self.args.twice.then(|| swarm::run(plan, false).hash);
        if again.is_some_and(|hash| hash != outcome.hash) {
            return Some("one seed gave two traces: the simulator is not deterministic".to_owned());
        }
        outcome.violation
    }
}

fn many(args: &Args) -> anyhow::Result<ExitCode> {
    let swarm = Swarm {
        args,
        begin: Instant::now(),
        plans: Mutex::new(plans(args)?),
        totals: Mutex::default(),
        failed: Mutex::default(),
        stop: AtomicBool::new(false),
    };
    std::thread::scope(|threads| {
        for _ in 0..args.jobs.max(1) {
            threads.spawn(|| swarm.work());
        }
    });
    let totals = swarm.totals.lock().expect("no thread panics");
    totals.print(swarm.begin.elapsed(), args.json);
    let failed = swarm.failed.lock().expect("no thread panics");
    let Some((plan, what)) = failed.as_ref() else {
        if !args.json {
            println!("every promise held");
        }
        return Ok(ExitCode::SUCCESS);
    };
    println!("VIOLATION in seed {}: {what}", plan.seed);
    println!("replay it with");
    println!("    {}", command(plan));
    println!("and look for a smaller one with --shrink");
    Ok(ExitCode::FAILURE)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
