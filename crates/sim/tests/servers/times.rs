//! Clocks that lie and clocks that are wrong: scenario 34, the Mode P half.

use std::time::Duration;

use avid_client::{DisperseOptions, RetrieveErrorKind};
use avid_protocol::statement::StatementKind;
use avid_types::Timestamp;
use sim::host::BEGIN;
use sim::liar_client::play::{opening, seal};
use sim::liar_client::{LiarClient, Surroundings};
use sim::liar_node::Identity;
use sim::liar_node::clock::{LyingClock, TEN_YEARS_MS};
use sim::world::World;

use crate::setup::{
    PROFILES, briefly, content, expect_read, last_nodes, lie, name, params, pass, read, scenario,
    shape,
};

/// How far honest clocks are apart, milliseconds.
const DELTA_MS: i64 = 30_000;

fn now(world: &World) -> Timestamp {
    BEGIN.plus(Duration::from_millis(world.trace.millis()))
}

/// Cluster time at every node that answers, milliseconds from true time.
async fn offsets(world: &World) -> Vec<i64> {
    let statuses = world.client(1).client.status().await;
    let texts = statuses.into_iter().filter_map(|status| status.status.ok());
    let offset = |text: String| {
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let time = json["cluster_time_ms"].as_i64().unwrap();
        time - i64::try_from(now(world).0).unwrap()
    };
    texts.map(offset).collect()
}

/// f clocks are wrong by ten years, the others apart by DELTA: in which way decides the seed.
fn set_clocks(world: &mut World, seed: u64) {
    let nodes = world.nodes();
    for (number, node) in (0_i64..).zip(&nodes) {
        let half = if number % 2 == 0 { DELTA_MS } else { -DELTA_MS };
        world.skew(*node, half);
    }
    for (number, node) in last_nodes(world, params(world).f()).into_iter().enumerate() {
        let offset =
            if (number as u64 + seed).is_multiple_of(2) { TEN_YEARS_MS } else { -TEN_YEARS_MS };
        if seed % 4 < 2 {
            world.checker.set_dishonest(node);
            world.skew(node, offset);
        } else {
            lie(world, node, LyingClock::new(Identity::of(world, node), offset));
        }
    }
}

/// Spec: docs/protocol.md section 6 (34), TIME-1: cluster time stays within the honest clocks.
#[test]
fn cluster_time_stays_within_the_honest_clocks_whatever_f_others_say() {
    for (m, n) in PROFILES {
        for seed in 3400..3404 {
            scenario(seed, shape(m, n), |mut world| async move {
                set_clocks(&mut world, seed);
                for _ in 0..4 {
                    pass(Duration::from_secs(10)).await;
                    for offset in offsets(&world).await {
                        // Heartbeats are up to two seconds old, and clocks that were set back stand.
                        let range = -DELTA_MS - 10_000..=DELTA_MS + 100;
                        assert!(range.contains(&offset), "{m}-of-{n}, seed {seed}: {offset} ms");
                    }
                }
                (world, ())
            });
        }
    }
}

/// Spec: docs/protocol.md section 6 (34), TIME-1, ABORT-1: nothing expires before its time, and
/// everything soon after it.
#[test]
fn nothing_expires_early_and_everything_in_time() {
    for (m, n) in PROFILES {
        // Heartbeats of large groups cost a signature each: two ways of lying are enough for them.
        for seed in (3410..3414).step_by(if n > 7 { 2 } else { 1 }) {
            let shape = shape(m, n);
            scenario(seed, shape, |mut world| async move {
                set_clocks(&mut world, seed);
                pass(Duration::from_secs(5)).await;
                let written = content(seed, shape);
                let life = Duration::from_secs(200);
                let expires_at = now(&world).plus(life);
                let options = DisperseOptions { expires_at, ..briefly() };
                world.client(1).put_with("a", &written, &options).await.unwrap();
                world.client(1).put_with("for ever", &written, &briefly()).await.unwrap();
                begin(&world, life).await;

                // Until the fastest honest clock is there, nothing goes.
                pass(life - Duration::from_secs(30 + 15)).await;
                expect_read(&world, "a", &written).await;
                assert!(!is_aborted(&world).await, "aborted early");

                // Once the slowest honest clock is there, and was heard of, all of it goes.
                pass(Duration::from_secs(15 + 60 + 20)).await;
                let gone = read(&world, "a", &written).await.unwrap_err();
                let expired = matches!(gone.kind, RetrieveErrorKind::TooFewChunks { .. });
                assert!(expired, "{gone}");
                assert!(is_aborted(&world).await, "the unfinished dispersal is still there");
                expect_read(&world, "for ever", &written).await;
                (world, ())
            });
        }
    }
}

/// Whether the node that holds the unfinished dispersal has voted to abort it.
async fn is_aborted(world: &World) -> bool {
    let asker = LiarClient::new(&Surroundings::of(world), 7);
    let owner = asker.key().public();
    let head = asker.head(world.nodes()[0], owner, &name("unfinished")).await.unwrap();
    head.aborted.is_some()
}

/// Leaves a dispersal unfinished at one node, echoed.
async fn begin(world: &World, lifetime: Duration) {
    let writer = LiarClient::new(&Surroundings::of(world), 7);
    let object = writer.object("unfinished", &[7; 5000], lifetime);
    let node = world.nodes()[0];
    let slot = world.config.slot_of(object.upload(), node).unwrap();
    let mut plays = opening(&object, slot, usize::MAX);
    plays.push(seal(&object));
    plays.push(sim::liar_client::play::Play::Listen(Duration::from_secs(2)));
    let heard = writer.perform(vec![(node, plays)]).await;
    assert!(heard[0].1.has_voted(StatementKind::Echo), "{heard:?}");
}
