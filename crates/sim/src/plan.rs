//! What a run does: who is bad in which way, and which action happens when.
//!
//! A plan is made from a seed and a scenario and holds no randomness of its own, so that a failing
//! one can be shrunk by leaving actions out and replayed with what is left.
//!
//! The budget: at most f nodes are bad (liars, lying or wiped disks, clocks years away, twins).
//! Every other node is honest and may still be killed, paused, cut off, slowed down, and given a
//! disk that fails or is full. Any number of clients lie.

use anyhow::Context as _;
use avid_types::{NodeId, Params};
use serde::{Deserialize, Serialize};

use crate::disk_faults::DiskRates;
use crate::random::Random;
use crate::world::Shape;

/// What kind of trouble a run is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// Nothing goes wrong: the baseline.
    Calm,
    /// Processes are killed, paused and restarted; power is cut.
    Crashes,
    /// Delays, cuts, resets, slow hosts, lost and repeated frames.
    Network,
    /// Disks fail, fill up, rot and lie.
    Disks,
    /// f nodes lie.
    Liars,
    /// Clients lie.
    Clients,
    /// Clocks jump.
    Clocks,
    /// All of it.
    Everything,
}

impl Scenario {
    /// All scenarios.
    pub const ALL: [Self; 8] = [
        Self::Calm,
        Self::Crashes,
        Self::Network,
        Self::Disks,
        Self::Liars,
        Self::Clients,
        Self::Clocks,
        Self::Everything,
    ];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Crashes => "crashes",
            Self::Network => "network",
            Self::Disks => "disks",
            Self::Liars => "liars",
            Self::Clients => "clients",
            Self::Clocks => "clocks",
            Self::Everything => "everything",
        }
    }

    /// The scenario of a seed in a swarm over all of them.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        let index = usize::try_from(seed % 16).unwrap_or(0);
        Self::ALL.get(index).copied().unwrap_or(Self::Everything)
    }

    fn has(self, other: Self) -> bool {
        self == other || (self == Self::Everything && other != Self::Calm)
    }
}

/// In which way a node is bad: nothing is expected of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Badness {
    /// Its frames pass through a liar that holds its keys.
    Liar(u64),
    /// Its disk loses, misplaces and spoils synced writes.
    LyingDisk,
    /// It comes back with an empty disk.
    Wiped,
    /// It comes back with a copy of its disk of an earlier time.
    OldDisk,
    /// Its clock is years away.
    Clock(i64),
}

/// One thing that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// A client writes; the content follows from length and seed.
    Put {
        /// Which client.
        client: u16,
        /// Which of its names.
        name: u8,
        /// Bytes.
        len: u32,
        /// Which content.
        content: u64,
    },
    /// A client reads its own name.
    Get {
        /// Which client.
        client: u16,
        /// Which of its names.
        name: u8,
    },
    /// A client deletes its own name.
    Remove {
        /// Which client.
        client: u16,
        /// Which of its names.
        name: u8,
    },
    /// A client reads every fragment of its name.
    Verify {
        /// Which client.
        client: u16,
        /// Which of its names.
        name: u8,
    },
    /// A client lists its names.
    List {
        /// Which client.
        client: u16,
    },
    /// A process dies; the page cache survives.
    Kill(u16),
    /// The power goes; unsynced changes are torn by the seed.
    PowerCut(u16, u64),
    /// A process is started, if it is down.
    Start(u16),
    /// A process stands still for so many milliseconds.
    Pause(u16, u64),
    /// Nothing passes from one node to another.
    Cut(u16, u16),
    /// All cuts end.
    Heal,
    /// The connections between two nodes end.
    Reset(u16, u16),
    /// Everything a node sends is slow: bytes per second.
    Slow(u16, u64),
    /// A machine's clock is set: milliseconds from true time.
    Skew(u16, i64),
    /// A disk fails at these rates from now on.
    Disk(u16, DiskRates),
    /// A disk has this much room left; none: enough.
    Room(u16, Option<u64>),
    /// Lying clients work on the cluster for so many milliseconds.
    LiarClient(u64, u64),
    /// A bad node's copy is kept, to come back with it later.
    KeepImage(u16),
    /// A bad node restarts with an empty disk, or with the copy that was kept.
    ChangeDisk(u16),
    /// A bad node's fragment files rot: one bit of each, by the seed.
    Rot(u16, u64),
}

/// A whole run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Seeds network, hosts and runtime.
    pub seed: u64,
    /// What it is about.
    pub scenario: Scenario,
    /// Fragments needed.
    pub m: u8,
    /// Fragments in all.
    pub n: u8,
    /// Nodes of which nothing is expected.
    pub bad: Vec<(u16, Badness)>,
    /// Frames are lost, repeated and reordered on the network.
    pub lossy_frames: bool,
    /// What happens when: milliseconds of virtual time, ascending.
    pub actions: Vec<(u64, Action)>,
}

/// Virtual time in which actions happen.
const SPAN_MS: u64 = 20_000;
/// Clients that write.
const CLIENTS: u64 = 3;
/// Names each of them uses.
const NAMES: u64 = 3;

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn new(seed: u64, scenario: Scenario) -> Self {
        let mut random = Random::new(seed, "plan");
        let shapes = [(3, 5), (3, 5), (3, 5), (2, 4), (4, 6)];
        let (m, n) = random.pick(&shapes).copied().unwrap_or((3, 5));
        let params = Params::with_most_liars(m, n).expect("shapes above are valid");
        let mut plan = Self {
            seed,
            scenario,
            m,
            n,
            bad: bad_nodes(scenario, params, &mut random),
            lossy_frames: scenario.has(Scenario::Network) && random.chance(300_000),
            actions: Vec::new(),
        };
        plan.add_work(&mut random);
        plan.add_badness(&mut random);
        if scenario.has(Scenario::Crashes) {
            plan.add_crashes(&mut random);
        }
        if scenario.has(Scenario::Network) {
            plan.add_network(&mut random);
        }
        if scenario.has(Scenario::Disks) {
            plan.add_disks(&mut random);
        }
        if scenario.has(Scenario::Clocks) {
            plan.add_clocks(&mut random);
        }
        if scenario.has(Scenario::Clients) {
            for _ in 0..random.between(1, 3) {
                let action = Action::LiarClient(random.seed(), random.between(500, 8_000));
                plan.at(&mut random, action);
            }
        }
        plan.actions.sort_by_key(|(at, _)| *at);
        plan
    }

    /// The cluster's shape.
    #[must_use]
    pub fn shape(&self) -> Shape {
        Shape { m: self.m, n: self.n, ..Shape::default() }
    }

    /// The plan with only the actions of these numbers.
    #[must_use]
    pub fn keeping(&self, numbers: &[usize]) -> Self {
        let kept = numbers.iter().filter_map(|number| self.actions.get(*number).copied());
        Self { actions: kept.collect(), ..self.clone() }
    }

    fn at(&mut self, random: &mut Random, action: Action) {
        let when = random.below(SPAN_MS);
        self.actions.push((when, action));
    }

    fn any_node(&self, random: &mut Random) -> u16 {
        u16::try_from(random.below(u64::from(self.n))).expect("few nodes")
    }

    fn good_node(&self, random: &mut Random) -> u16 {
        loop {
            let node = self.any_node(random);
            if self.bad.iter().all(|(bad, _)| *bad != node) {
                return node;
            }
        }
    }

    fn add_work(&mut self, random: &mut Random) {
        let chunk = u64::from(Shape::default().chunk_bytes);
        let stripe = chunk * u64::from(self.m);
        for _ in 0..random.between(6, 16) {
            let client = u16::try_from(random.between(1, CLIENTS)).expect("few clients");
            let name = u8::try_from(random.below(NAMES)).expect("few names");
            let len = match random.below(6) {
                0 => random.below(3),
                1 => stripe * random.between(1, 3) - 1 + random.below(3),
                _ => random.below(stripe * 6),
            };
            let len = u32::try_from(len).expect("short objects");
            // Few contents, so that the same one is written again and writers race.
            let content = random.below(3);
            self.at(random, Action::Put { client, name, len, content });
        }
        for _ in 0..random.between(4, 12) {
            let client = u16::try_from(random.between(1, CLIENTS)).expect("few clients");
            let name = u8::try_from(random.below(NAMES)).expect("few names");
            let action = match random.below(8) {
                0 => Action::Remove { client, name },
                1 => Action::Verify { client, name },
                2 => Action::List { client },
                _ => Action::Get { client, name },
            };
            self.at(random, action);
        }
    }

    fn add_badness(&mut self, random: &mut Random) {
        for (node, badness) in self.bad.clone() {
            match badness {
                Badness::Liar(_) => {}
                Badness::LyingDisk => {
                    let rates = DiskRates {
                        lost: 20_000,
                        misdirected: 10_000,
                        flipped: 10_000,
                        ..DiskRates::default()
                    };
                    self.actions.push((0, Action::Disk(node, rates)));
                    let action = Action::PowerCut(node, random.seed());
                    self.at(random, action);
                    if random.chance(500_000) {
                        let action = Action::Rot(node, random.seed());
                        self.at(random, action);
                    }
                }
                Badness::Wiped | Badness::OldDisk => {
                    let first = random.below(SPAN_MS / 2);
                    self.actions.push((first, Action::KeepImage(node)));
                    let second = first + random.between(1, SPAN_MS / 2);
                    self.actions.push((second, Action::ChangeDisk(node)));
                }
                Badness::Clock(offset) => self.actions.push((0, Action::Skew(node, offset))),
            }
        }
    }

    fn add_crashes(&mut self, random: &mut Random) {
        for _ in 0..random.between(2, 10) {
            let node = self.any_node(random);
            let when = random.below(SPAN_MS);
            let action = match random.below(4) {
                0 => Action::Pause(node, random.between(10, 5_000)),
                1 => Action::Kill(node),
                _ => Action::PowerCut(node, random.seed()),
            };
            self.actions.push((when, action));
            self.actions.push((when + random.between(1, 6_000), Action::Start(node)));
        }
        if random.chance(200_000) {
            // All at once: what was acknowledged must be there afterwards.
            let when = random.below(SPAN_MS);
            for node in 0..u16::from(self.n) {
                self.actions.push((when, Action::PowerCut(node, random.seed())));
                self.actions.push((when + random.between(1, 1_000), Action::Start(node)));
            }
        }
    }

    fn add_network(&mut self, random: &mut Random) {
        for _ in 0..random.between(2, 8) {
            let (one, other) = (self.any_node(random), self.any_node(random));
            let when = random.below(SPAN_MS);
            match random.below(5) {
                0 => self.actions.push((when, Action::Reset(one, other))),
                1 => {
                    let rate = random.between(2_000, 2_000_000);
                    self.actions.push((when, Action::Slow(one, rate)));
                }
                2 => self.partition(random, when),
                _ => self.actions.push((when, Action::Cut(one, other))),
            }
            let healed = when + random.between(10, 8_000);
            self.actions.push((healed, Action::Heal));
        }
    }

    /// A side that cannot talk to the rest, in both directions.
    fn partition(&mut self, random: &mut Random, when: u64) {
        let side: Vec<bool> = (0..self.n).map(|_| random.chance(400_000)).collect();
        for (one, is_one) in (0u16..).zip(&side) {
            for (other, is_other) in (0u16..).zip(&side) {
                if is_one != is_other {
                    self.actions.push((when, Action::Cut(one, other)));
                }
            }
        }
    }

    fn add_disks(&mut self, random: &mut Random) {
        for _ in 0..random.between(1, 4) {
            let node = self.good_node(random);
            let when = random.below(SPAN_MS);
            if random.chance(300_000) {
                let room = random.below(64 << 10);
                self.actions.push((when, Action::Room(node, Some(room))));
                let later = when + random.between(10, 6_000);
                self.actions.push((later, Action::Room(node, None)));
                self.actions.push((later + 100, Action::Start(node)));
                continue;
            }
            let rates = DiskRates {
                read_error: u32::try_from(random.below(5_000)).expect("small"),
                write_error: u32::try_from(random.below(5_000)).expect("small"),
                sync_error: u32::try_from(random.below(20_000)).expect("small"),
                ..DiskRates::default()
            };
            self.actions.push((when, Action::Disk(node, rates)));
            let later = when + random.between(10, 8_000);
            self.actions.push((later, Action::Disk(node, DiskRates::default())));
            self.actions.push((later + 100, Action::Start(node)));
        }
    }

    fn add_clocks(&mut self, random: &mut Random) {
        for _ in 0..random.between(1, 6) {
            let node = self.good_node(random);
            let offset = i64::try_from(random.below(4_000)).expect("small") - 2_000;
            self.at(random, Action::Skew(node, offset));
        }
    }
}

fn bad_nodes(scenario: Scenario, params: Params, random: &mut Random) -> Vec<(u16, Badness)> {
    let wants =
        [(Scenario::Liars, 0), (Scenario::Disks, 1), (Scenario::Crashes, 2), (Scenario::Clocks, 3)];
    let kinds: Vec<u8> =
        wants.iter().filter(|(kind, _)| scenario.has(*kind)).map(|(_, kind)| *kind).collect();
    let mut bad = Vec::new();
    for _ in 0..params.f() {
        let Some(kind) = random.pick(&kinds).copied() else { break };
        let node = u16::try_from(random.below(params.n() as u64)).expect("few nodes");
        if bad.iter().any(|(other, _)| *other == node) {
            continue;
        }
        let ten_years = 10 * 365 * 86_400_000;
        let badness = match kind {
            0 => Badness::Liar(random.seed()),
            1 => Badness::LyingDisk,
            2 if random.chance(500_000) => Badness::Wiped,
            2 => Badness::OldDisk,
            _ if random.chance(500_000) => Badness::Clock(ten_years),
            _ => Badness::Clock(-ten_years),
        };
        bad.push((node, badness));
    }
    bad
}

/// The plans of a list: `SEED SCENARIO` a line, `#` begins a comment.
///
/// # Errors
///
/// A line that is neither.
pub fn listed(text: &str) -> anyhow::Result<Vec<Plan>> {
    let mut plans = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let (seed, scenario) = line.split_once(' ').context("a line is SEED SCENARIO")?;
        let scenario = <Scenario as clap::ValueEnum>::from_str(scenario.trim(), false);
        let scenario = scenario.map_err(anyhow::Error::msg)?;
        plans.push(Plan::new(seed.parse().context("a seed is a number")?, scenario));
    }
    Ok(plans)
}

/// The content of a put.
#[must_use]
pub fn content(len: u32, content: u64) -> Vec<u8> {
    Random::new(content, "content").bytes(usize::try_from(len).expect("32 bits"))
}

/// A node by its number.
#[must_use]
pub fn node(number: u16) -> NodeId {
    NodeId(number)
}
