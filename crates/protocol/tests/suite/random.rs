//! Random schedules: any order, any loss and repetition, any crash, liars that vote as they like.
//!
//! Then the faults end, everything said is delivered, and every node must agree. The same runs
//! with one liar more, or with nodes that forget, must find a violation: the checkers can see.

use avid_protocol::object::{OrderKind, SealBundle};
use avid_protocol::statement::StatementKind;
use avid_types::Timestamp;
use proptest::prelude::{ProptestConfig, any, prop, prop_assert_eq, proptest};

use crate::cluster::{Cluster, Letter, Violation};
use crate::world::{EXPIRY, NOW};

const SHAPES: [(u8, u8); 5] = [(2, 4), (3, 5), (4, 6), (4, 7), (8, 12)];

/// Draws from a seed; splitmix64, so that a seed names a schedule for ever.
#[derive(Debug, Clone)]
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    fn pick<T: Copy>(&mut self, items: &[T]) -> Option<T> {
        items.get(self.below(items.len())).copied()
    }
}

struct Run {
    cluster: Cluster,
    draw: Draw,
    contents: [SealBundle; 2],
    /// Nodes lose their journal when they crash.
    amnesia: bool,
}

impl Run {
    fn new(shape: (u8, u8), extra_liars: usize, seed: u64) -> Self {
        let (m, n) = shape;
        let f = Cluster::new(m, n, &[]).world.params().f();
        let n = usize::from(n);
        let mut draw = Draw(seed);
        let first = draw.below(n);
        let liars: Vec<usize> = (0..f + extra_liars).map(|k| (first + k) % n + 1).collect();
        let cluster = Cluster::new(m, u8::try_from(n).unwrap(), &liars);
        let contents = [0xa, 0xb].map(|root| cluster.world.bundle(root));
        Self { cluster, draw, contents, amnesia: false }
    }

    fn violations(&self) -> Vec<Violation> {
        self.cluster.violations(&[&self.contents[0], &self.contents[1]])
    }

    /// One event of an asynchronous network, a careless owner or a liar.
    fn event(&mut self) {
        let honest = self.cluster.honest();
        let node = self.draw.pick(&honest).unwrap();
        let content = self.contents[usize::from(self.draw.one_in(4))].clone();
        match self.draw.below(100) {
            0..=14 => self.cluster.store(&content, [node]),
            15..=17 => self.cluster.open(&content, [node]),
            18..=24 => self.lie(&content),
            25..=26 => self.crash(node),
            27 => self.cancel(node),
            28 => {
                let now = if self.draw.one_in(8) { EXPIRY.0 + 1 } else { NOW.0 };
                self.cluster.tick(Timestamp(now.max(self.cluster.now.0)), [node]);
            }
            29..=31 => self.repeat(),
            32..=33 => self.lose(),
            _ => {
                if !self.cluster.bag.is_empty() {
                    let position = self.draw.below(self.cluster.bag.len());
                    self.cluster.deliver(position);
                }
            }
        }
    }

    fn crash(&mut self, node: usize) {
        if self.amnesia {
            self.cluster.forget(node);
        } else {
            self.cluster.restart(node);
        }
    }

    fn cancel(&mut self, node: usize) {
        if self.draw.one_in(3) {
            let object = self.cluster.world.object("photo", 0);
            let order = self.cluster.world.order(OrderKind::Cancel, object);
            self.cluster.order(&order, [node]);
        }
    }

    fn repeat(&mut self) {
        let position = self.draw.below(self.cluster.bag.len());
        if let Some(envelope) = self.cluster.bag.get(position).cloned() {
            self.cluster.bag.push(envelope);
        }
    }

    fn lose(&mut self) {
        if !self.cluster.bag.is_empty() {
            let position = self.draw.below(self.cluster.bag.len());
            self.cluster.bag.swap_remove(position);
        }
    }

    fn lie(&mut self, content: &SealBundle) {
        let (liars, honest) = (self.cluster.liars(), self.cluster.honest());
        let Some(liar) = self.draw.pick(&liars) else {
            return;
        };
        let to = self.draw.pick(&honest).unwrap();
        let letter = match self.draw.below(7) {
            0..=2 => Some(self.cluster.forge(liar, StatementKind::Echo, content)),
            3 => Some(self.cluster.forge(liar, StatementKind::Abort, content)),
            4 => Some(self.cluster.forge(liar, StatementKind::Ready, content)),
            _ => {
                let quorum = self.cluster.world.params().echo_quorum();
                let echoers = self.cluster.echoers(content);
                let enough = echoers.get(..quorum);
                enough.and_then(|echoers| self.cluster.forge_ready(liar, content, echoers))
            }
        };
        if let Some(letter) = letter {
            self.cluster.send(liar, to, letter);
        }
    }

    /// Everything said is delivered, said again and delivered again.
    fn settle(&mut self) {
        for _ in 0..3 {
            self.cluster.say_again();
            self.cluster.deliver_everything();
        }
    }
}

fn sound_run(shape: (u8, u8), seed: u64, events: usize) -> Run {
    let mut run = Run::new(shape, 0, seed);
    for event in 0..events {
        run.event();
        if event % 32 == 0 {
            assert_eq!(run.violations(), [], "{shape:?} seed {seed:#x} event {event}");
        }
    }
    run.settle();
    assert_eq!(run.violations(), [], "{shape:?} seed {seed:#x}");
    assert_eq!(run.cluster.alarms, 0);
    assert!(run.cluster.rejected.is_empty(), "everybody signs what verifies, {seed:#x}");
    let liars = run.cluster.liars();
    for (_, fault) in &run.cluster.faults {
        let upload = run.cluster.upload;
        let blamed = run.cluster.world.config.slot_of(upload, fault.node).unwrap();
        assert!(liars.contains(&(usize::from(blamed.0) + 1)), "an honest node was framed");
    }
    // Totality: one honest node delivered means that all did.
    let committed = run.contents.each_ref().map(|content| run.cluster.committed_to(content));
    let [a, b] = committed.map(|nodes| nodes.len());
    let honest = run.cluster.honest().len();
    assert!([(0, 0), (honest, 0), (0, honest)].contains(&(a, b)), "{seed:#x}: {a} and {b}");
    run
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    // Rule: ECHO-1, READY-1, COMMIT-1, ABORT-1, ABORT-2, TALLY-1, EVID-1. Scenario 32.
    #[test]
    fn any_schedule_with_f_liars_is_sound_and_ends_alike(
        shape in prop::sample::select(SHAPES.as_slice()),
        seed in any::<u64>(),
        events in 50_usize..300,
    ) {
        sound_run(shape, seed, events);
    }

    // Rule: COMMIT-1. Liveness: with the owner honest and f liars silent, everybody commits.
    #[test]
    fn an_honest_owner_commits_whatever_the_order(
        shape in prop::sample::select(SHAPES.as_slice()),
        seed in any::<u64>(),
    ) {
        let mut run = Run::new(shape, 0, seed);
        let a = run.contents[0].clone();
        let mut waiting = run.cluster.honest();
        while !waiting.is_empty() || !run.cluster.bag.is_empty() {
            if !waiting.is_empty() && run.draw.one_in(3) {
                let position = run.draw.below(waiting.len());
                let node = waiting.swap_remove(position);
                run.cluster.store(&a, [node]);
            } else if !run.cluster.bag.is_empty() {
                let position = run.draw.below(run.cluster.bag.len());
                run.cluster.deliver(position);
            }
        }
        prop_assert_eq!(run.cluster.committed_to(&a), run.cluster.honest());
        prop_assert_eq!(run.violations(), []);
    }
}

#[test]
fn the_schedules_reach_every_end() {
    let mut ends = [0_usize; 3];
    for seed in 0..60 {
        let run = sound_run((3, 5), seed, 200);
        let committed: usize =
            run.contents.each_ref().map(|c| run.cluster.committed_to(c).len()).iter().sum();
        let aborted = run.cluster.phases().contains(&"aborted");
        ends[if committed > 0 { 0 } else { 1 + usize::from(aborted) }] += 1;
    }
    assert!(ends.iter().all(|count| *count > 0), "commits, neither, aborts: {ends:?}");
}

fn some_seed_violates(shape: (u8, u8), extra_liars: usize, amnesia: bool) -> bool {
    let bad = |seed: &u64| {
        let mut run = Run::new(shape, extra_liars, *seed);
        run.amnesia = amnesia;
        for _ in 0..250 {
            run.event();
        }
        let delivered_wrongly = |violation: &Violation| match violation {
            Violation::TwoContents(..) | Violation::TooFewHolders { .. } => true,
            Violation::NodeContradictsItself(_) => amnesia,
            Violation::CommittedAndAborted(_) => false,
        };
        run.violations().iter().any(delivered_wrongly)
    };
    (0..2000_u64).any(|seed| bad(&seed))
}

// Rule: ECHO-1. The canary: with f + 1 liars the checkers see what they are there for.
#[test]
fn one_liar_too_many_is_seen() {
    for shape in [(2, 4), (3, 5), (4, 6)] {
        assert!(some_seed_violates(shape, 1, false), "{shape:?}: the checkers are blind");
    }
}

// Rule: AMNESIA-1, ABORT-2. The second canary: nodes that forget their journal contradict
// themselves.
#[test]
fn nodes_that_forget_are_seen() {
    assert!(some_seed_violates((3, 5), 0, true), "the checkers are blind");
}

// Rule: EVID-1. Letters of liars alone never change an honest node's promise.
#[test]
fn liars_alone_decide_nothing() {
    for seed in 0..40 {
        let mut run = Run::new((4, 7), 0, seed);
        let content = run.contents[0].clone();
        for _ in 0..60 {
            run.lie(&content);
        }
        run.cluster.deliver_everything();
        assert!(run.cluster.phases().iter().all(|phase| *phase == "open"));
        assert!(run.cluster.bag.iter().all(|e| matches!(e.letter, Letter::Vote(_))));
    }
}
