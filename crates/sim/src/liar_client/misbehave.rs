//! Liars beside honest traffic: what a swarm starts as a task of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use avid_client::ObjectRef;
use avid_protocol::object::ObjectId;
use avid_types::ObjectName;
use tokio::time::{Instant, sleep};

use super::choices::Choices;
use super::moves::RandomLiar;
use super::{LiarClient, Surroundings};
use crate::random::Random;

/// Least and most pause between two moves, milliseconds.
const PAUSE_MS: (u64, u64) = (1, 2000);

/// What liars did.
#[derive(Clone, Debug, Default)]
pub struct Mischief {
    /// Moves, by kind.
    pub moves: BTreeMap<&'static str, u64>,
    /// Every object they may have committed, with every content a read of it may return.
    pub objects: Vec<(ObjectRef, Vec<Vec<u8>>)>,
}

/// Runs random liars for a while, one after the other's pause and all at once.
///
/// `liars`: client numbers of their keys; give them numbers that no honest client has. `victims`:
/// honest objects that they attack. Runs as a task beside anything else: it holds handles only.
pub async fn misbehave(
    around: Surroundings,
    seed: u64,
    liars: Vec<u16>,
    victims: Vec<ObjectId>,
    duration: Duration,
) -> Mischief {
    let mut tasks = tokio::task::JoinSet::new();
    for number in liars {
        let liar = RandomLiar::new(LiarClient::new(&around, number), victims.clone());
        tasks.spawn(one(liar, seed, duration));
    }
    let mut mischief = Mischief::default();
    while let Some(done) = tasks.join_next().await {
        let liar = done.expect("a liar does not panic");
        for (name, count) in &liar.moves {
            *mischief.moves.entry(name).or_default() += count;
        }
        let owner = liar.liar.key().public();
        for (name, contents) in liar.contents {
            let name = ObjectName::new(&name).expect("liars use valid names");
            mischief.objects.push((ObjectRef { owner, name }, contents));
        }
    }
    mischief
        .objects
        .sort_by(|(one, _), (other, _)| (one.owner, &one.name).cmp(&(other.owner, &other.name)));
    mischief
}

async fn one(mut liar: RandomLiar, seed: u64, duration: Duration) -> RandomLiar {
    let purpose = format!("moves of liar {}", liar.liar.number);
    let (mut choices, mut pauses) =
        (Choices::of_seed(seed, &purpose), Random::new(seed, &format!("pauses: {purpose}")));
    let until = Instant::now() + duration;
    while Instant::now() < until {
        liar.step(&mut choices).await;
        sleep(Duration::from_millis(pauses.between(PAUSE_MS.0, PAUSE_MS.1))).await;
    }
    liar
}
