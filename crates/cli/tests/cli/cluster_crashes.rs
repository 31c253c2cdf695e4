//! Power failures at random moments: all nodes at once, again and again.

use std::sync::mpsc;
use std::time::Duration;

use crate::random::{Random, seed};
use crate::support::{Cluster, bytes, expect_code, stderr};

const ROUNDS: u64 = 10;
/// More than one round ever writes: the failure ends it.
const OBJECTS_MAX: u64 = 400;
/// Longest time from the acknowledgement that a round waits for to its failure.
const MOMENT_MAX_MICROS: u64 = 150_000;

/// An object somebody tried to store.
struct Tried {
    id: String,
    content: Vec<u8>,
    acknowledged: bool,
}

impl Tried {
    fn new(random: &mut Random, id: String) -> Self {
        // Mostly small, so that every phase of a dispersal is hit; sometimes of many stripes.
        let bound = [1, 4_096, 30_000, 200_000, 800_000][usize::try_from(random.below(5)).unwrap()];
        let length = usize::try_from(random.below(bound + 1)).unwrap();
        Self { id, content: bytes(length, random.below(1 << 40)), acknowledged: false }
    }
}

/// Writes objects one after the other until the first failure; all nodes die meanwhile.
fn write_until_power_fails(cluster: &Cluster, random: &mut Random, round: u64) -> Vec<Tried> {
    let (acknowledge, acknowledgements) = mpsc::channel();
    let wait_for = random.below(4);
    let moment = Duration::from_micros(random.below(MOMENT_MAX_MICROS));
    let command = ["disperse", "-", "--placement-timeout", "100ms", "--id"];
    let mut random = Random::new(random.below(u64::MAX));
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || {
            let mut tried = Vec::new();
            for number in 0..OBJECTS_MAX {
                let mut object = Tried::new(&mut random, format!("round {round}/{number}"));
                let output = cluster
                    .client_with(command.iter().chain([&object.id.as_str()]), &object.content);
                object.acknowledged = output.status.success();
                let failed = !object.acknowledged;
                if failed {
                    let code = output.status.code();
                    assert!(matches!(code, Some(5)), "{code:?}: {}", stderr(&output));
                }
                tried.push(object);
                // Nobody listens once the power has failed.
                let _heard = acknowledge.send(());
                if failed {
                    return tried;
                }
            }
            panic!("{OBJECTS_MAX} objects were written and no node died");
        });
        for _ in 0..wait_for {
            acknowledgements.recv().unwrap();
        }
        // Either the time passes or one more object was acknowledged: both are moments.
        let _either = acknowledgements.recv_timeout(moment);
        cluster.strike_all();
        writer.join().unwrap()
    })
}

#[test]
fn whatever_was_acknowledged_survives_power_failures_at_random_moments() {
    let seed = seed();
    eprintln!("AVID_TEST_SEED={seed} repeats this run");
    let mut random = Random::new(seed);
    let mut cluster = Cluster::start(3, 5);
    let (mut all, mut reread) = (Vec::new(), 0);
    for round in 0..ROUNDS {
        let tried = write_until_power_fails(&cluster, &mut random, round);
        cluster.kill_all();
        cluster.start_all();
        for object in tried {
            let output = cluster.client(["retrieve", &object.id, "--out", "-"]);
            let found = output.status.code();
            if object.acknowledged || found == Some(0) {
                expect_code(&output, 0);
                assert!(output.stdout == object.content, "seed {seed}: {}", object.id);
            } else {
                assert_eq!(found, Some(3), "seed {seed}: {}", stderr(&output));
                // Nothing left of it stands in the way of the same command.
                cluster.put(&object.id, &object.content);
                assert!(cluster.get(&object.id) == object.content, "seed {seed}: {}", object.id);
                reread += 1;
            }
            all.push(object);
        }
    }
    // Later failures took nothing that earlier ones left.
    for object in &all {
        assert!(cluster.get(&object.id) == object.content, "seed {seed}: {}", object.id);
    }
    let acknowledged = all.iter().filter(|object| object.acknowledged).count();
    assert_eq!(all.len() - acknowledged, usize::try_from(ROUNDS).unwrap());
    eprintln!(
        "{ROUNDS} power failures: {acknowledged} objects acknowledged before, {reread} of those in \
         flight not committed"
    );
}
