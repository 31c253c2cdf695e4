//! Nodes that are killed and come back, again and again, while somebody writes and reads.
//!
//! `cluster_crashes` stops the world and looks at what is left. Here nothing waits: nodes recover
//! while others die, reads and writes run through it, and some nodes are killed while they start.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use crate::random::{Random, seed};
use crate::support::{Cluster, User, avid, bytes, expect_code, stderr};

/// Kills of one run, unless the environment asks for more.
const ROUNDS: u64 = 40;
/// Longest time between two kills.
const MOMENT_MAX_MICROS: u64 = 400_000;
/// Exit codes of `avid`: not found, fragments are bad or missing, too few nodes answer.
const NOT_FOUND: i32 = 3;
const UNAVAILABLE: i32 = 5;

/// An object that was written, or tried to be.
struct Object {
    id: String,
    content: Vec<u8>,
    acknowledged: bool,
}

/// What the client saw.
#[derive(Default)]
struct Seen {
    objects: Vec<Object>,
    reads: u64,
    reads_failed: u64,
}

/// Tells the client to stop, also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Writes small objects and reads earlier ones until it is told to stop.
fn write_and_read(user: &User, mut random: Random, stop: &AtomicBool, done: &Sender<()>) -> Seen {
    let mut seen = Seen::default();
    while !stop.load(Ordering::SeqCst) {
        if seen.objects.is_empty() || random.below(3) == 0 {
            seen.objects.push(write(user, &mut random, seen.objects.len()));
        } else {
            let pick = random.below(u64::try_from(seen.objects.len()).unwrap());
            let object = &seen.objects[usize::try_from(pick).unwrap()];
            seen.reads += 1;
            seen.reads_failed += u64::from(!read(user, object));
        }
        // Nobody counts any more once the last round is over.
        let _counted = done.send(());
    }
    seen
}

fn write(user: &User, random: &mut Random, number: usize) -> Object {
    let bound = [1, 4_096, 30_000, 100_000][usize::try_from(random.below(4)).unwrap()];
    let length = usize::try_from(random.below(bound + 1)).unwrap();
    let (id, content) = (format!("object {number}"), bytes(length, random.below(1 << 40)));
    let command = ["disperse", "-", "--placement-timeout", "100ms", "--id", &id];
    let output = user.client_with(command, &content);
    let acknowledged = output.status.success();
    if !acknowledged {
        expect_code(&output, UNAVAILABLE);
    }
    Object { id, content, acknowledged }
}

/// Whether it could be read. What came out is right in any case, as far as it goes.
#[track_caller]
fn read(user: &User, object: &Object) -> bool {
    let output = user.client(["retrieve", &object.id, "--out", "-"]);
    let (id, said) = (&object.id, stderr(&output));
    assert!(object.content.starts_with(&output.stdout), "{id}: wrong bytes: {said}");
    match output.status.code() {
        Some(0) => {
            assert_eq!(output.stdout.len(), object.content.len(), "{id} ended early: {said}");
            true
        }
        Some(NOT_FOUND) if !object.acknowledged => false,
        _ => {
            expect_code(&output, UNAVAILABLE);
            false
        }
    }
}

/// What dies in one round.
#[derive(Debug, PartialEq, Eq)]
enum Strike {
    /// One node, which comes back at once.
    One,
    /// One node, and once more while it starts.
    Twice,
    /// f + 1 nodes: no write can commit meanwhile.
    Two,
    /// All nodes at the same moment.
    All,
}

impl Strike {
    fn draw(random: &mut Random) -> Self {
        match random.below(10) {
            0 => Self::All,
            1 => Self::Two,
            2 | 3 => Self::Twice,
            _ => Self::One,
        }
    }

    fn victims(&self, random: &mut Random) -> Vec<usize> {
        let first = usize::try_from(random.below(5)).unwrap();
        match self {
            Self::One | Self::Twice => vec![first],
            Self::Two => vec![first, (first + 2) % 5],
            Self::All => (0..5).collect(),
        }
    }
}

/// Kills nodes and starts them again; fails if one does not start.
fn strike(cluster: &mut Cluster, random: &mut Random, done: &Receiver<()>) -> Strike {
    let strike = Strike::draw(random);
    let victims = strike.victims(random);
    if strike == Strike::All {
        cluster.strike_all();
    }
    for node in &victims {
        cluster.kill(*node);
    }
    if strike != Strike::All && random.below(2) == 0 {
        await_moment(random, done);
    }
    for node in victims {
        if strike == Strike::Twice {
            let mut child = cluster.spawn_node(node, avid());
            let moment = Instant::now() + Duration::from_micros(random.below(30_000));
            while Instant::now() < moment {
                std::thread::yield_now();
            }
            child.kill().unwrap();
            child.wait().unwrap();
        }
        cluster.start_node(node);
    }
    strike
}

/// Waits for a few operations of the client, or for some time: both are moments.
fn await_moment(random: &mut Random, done: &Receiver<()>) {
    let operations = random.below(8);
    let deadline = Instant::now() + Duration::from_micros(random.below(MOMENT_MAX_MICROS));
    for _ in 0..operations {
        if done.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_err() {
            return;
        }
    }
}

/// Claim: SIGKILL at any moment, of any number of nodes, costs no acknowledged object, never
/// changes a byte, and leaves a data directory that its node starts from.
///
/// Rule: ECHO-1, COMMIT-1, READ-1.
#[test]
fn acknowledged_objects_survive_nodes_that_are_killed_in_a_loop() {
    let seed = seed();
    eprintln!("AVID_TEST_SEED={seed} repeats this run");
    let rounds = std::env::var("AVID_TEST_KILLS").ok().map(|text| text.parse().unwrap());
    let rounds = rounds.unwrap_or(ROUNDS);
    let mut random = Random::new(seed);
    let mut cluster = Cluster::start(3, 5);
    let user = &cluster.user();
    let stopped = &AtomicBool::new(false);
    let (mut strikes, mut began) = ([0; 4], Instant::now());
    let seen = std::thread::scope(|scope| {
        let (send, done) = channel();
        let choices = Random::new(random.below(u64::MAX));
        let client = scope.spawn(move || write_and_read(user, choices, stopped, &send));
        let stop = Stop(stopped);
        for _ in 0..rounds {
            await_moment(&mut random, &done);
            if client.is_finished() {
                break;
            }
            match strike(&mut cluster, &mut random, &done) {
                Strike::One => strikes[0] += 1,
                Strike::Twice => strikes[1] += 1,
                Strike::Two => strikes[2] += 1,
                Strike::All => strikes[3] += 1,
            }
        }
        drop(stop);
        client.join().unwrap()
    });
    let killing = began.elapsed();
    began = Instant::now();
    cluster.wait_for(5);
    let acknowledged = seen.objects.iter().filter(|object| object.acknowledged).count();
    for object in &seen.objects {
        if !read(user, object) {
            assert!(!object.acknowledged, "seed {seed}: {} is lost", object.id);
            // Nothing left of it stands in the way of the same command.
            cluster.put(&object.id, &object.content);
            assert!(read(user, object), "seed {seed}: {}", object.id);
        }
    }
    eprintln!(
        "{rounds} rounds in {killing:?}: {strikes:?} of one node, one twice, two, all; {acknowledged} \
         of {} writes acknowledged, {} of {} reads failed; checked in {:?}",
        seen.objects.len(),
        seen.reads_failed,
        seen.reads,
        began.elapsed()
    );
}
