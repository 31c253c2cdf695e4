//! Every adversary, f of them at a time, against a life of writing, reading, listing and deleting.
//!
//! The claim is always the same: what f nodes do stops nothing and changes no answer.

use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use avid_client::RetrieveErrorKind;
use avid_protocol::wire::RefusalCode;
use avid_types::NodeId;
use avid_types::limits::CLIENT_IDLE_MAX;
use sim::liar_client::play::{Play, opening};
use sim::liar_client::{LiarClient, Surroundings};
use sim::liar_node::answers::{AnswerLie, LyingAnswers};
use sim::liar_node::clock::{LyingClock, TEN_YEARS_MS};
use sim::liar_node::impostor::Impostor;
use sim::liar_node::random::{Bytes, RandomLiar};
use sim::liar_node::service::{Excuse, Silent, Withhold};
use sim::liar_node::{Identity, liar_from_bytes, random_liar, turn};
use sim::random::Random;
use sim::tap::Tap;
use sim::world::{Shape, World};
use tokio::time::Instant;

use crate::setup::{briefly, content, last_nodes, name, params, scenario, shape};

/// Two writes, reads, a listing, a claim of holders, a deletion and a write after it.
async fn live(world: &World, seed: u64, shape: Shape) {
    let (first, second) = (content(seed, shape), content(seed + 1, shape));
    let client = world.client(1);
    client.put_with("a", &first, &briefly()).await.unwrap();
    client.put_with("b", &second, &briefly()).await.unwrap();
    for (text, written) in [("a", &first), ("b", &second)] {
        let (bytes, report) =
            world.client(1).get(text, std::slice::from_ref(written)).await.unwrap();
        assert!(bytes == *written);
        assert_eq!(report.generation.0, 0);
    }
    let owner = client.client.owner();
    let listed = world.client(1).client.list(owner, "", None, 100).await.unwrap();
    assert!(listed.complete, "{:?}", listed.failures);
    let names: Vec<_> = listed.objects.iter().map(|object| object.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    let stat = client.client.stat(&client.client.own(&name("a"))).await.unwrap();
    let holding = stat.claims.iter().filter(|claim| claim.holds).count();
    assert!(holding >= params(world).echo_quorum() - params(world).f(), "{:?}", stat.claims);

    let removed = client.client.remove(&name("a")).await.unwrap();
    assert!(removed.acknowledged >= params(world).delete_quorum());
    let gone = world.client(1).get("a", &[]).await.unwrap_err();
    assert!(matches!(gone.kind, RetrieveErrorKind::Deleted { .. }), "{gone}");
    let again = world.client(1).put_with("a", &second, &briefly()).await.unwrap();
    assert_eq!(again.generation.0, 1);
    let (bytes, _) = world.client(1).get("a", std::slice::from_ref(&second)).await.unwrap();
    assert!(bytes == second);
}

/// Shapes in which every adversary is tried: the default one, the smallest, and one with two liars.
const SHAPES: [(u8, u8); 3] = [(3, 5), (2, 4), (8, 12)];

fn with_liars(first_seed: u64, make: impl Fn(&World, NodeId) -> Arc<Mutex<dyn Tap>>) {
    for (m, n) in SHAPES {
        let (seed, shape) = (first_seed + u64::from(n), shape(m, n));
        let make = &make;
        scenario(seed, shape, |world| async move {
            for liar in last_nodes(&world, params(&world).f()) {
                turn(&world, liar, make(&world, liar));
            }
            live(&world, seed, shape).await;
            (world, ())
        });
    }
}

fn shared<T: Tap + 'static>(tap: T) -> Arc<Mutex<dyn Tap>> {
    sim::liar_node::shared(tap)
}

/// The control: without a liar the same life goes the same way.
#[test]
fn honest_nodes_live_so() {
    for (m, n) in SHAPES {
        let (seed, shape) = (5000 + u64::from(n), shape(m, n));
        scenario(seed, shape, |world| async move {
            live(&world, seed, shape).await;
            (world, ())
        });
    }
}

/// Spec: docs/protocol.md section 6 (33).
#[test]
fn silent_nodes_stop_nothing() {
    with_liars(5020, |_, _| shared(Silent::default()));
}

/// Spec: docs/protocol.md section 6 (17).
#[test]
fn nodes_that_keep_their_fragments_stop_nothing() {
    for (number, excuse) in [Excuse::Silence, Excuse::Refusal(RefusalCode::Pending), Excuse::Gaps]
        .into_iter()
        .enumerate()
    {
        with_liars(5040 + 20 * number as u64, |_, _| shared(Withhold::new(excuse)));
    }
}

/// Spec: docs/protocol.md FRESH-1, READ-1: answers are proved or they count for nothing.
#[test]
fn nodes_that_hide_invent_and_tear_answers_stop_nothing() {
    let lies = [
        AnswerLie::Hide,
        AnswerLie::Stale,
        AnswerLie::Invent,
        AnswerLie::Tear,
        AnswerLie::OldClaim,
        AnswerLie::Complete,
        AnswerLie::TooManyStripes,
        AnswerLie::Noise,
        AnswerLie::Refuse(RefusalCode::NotFound),
        AnswerLie::Refuse(RefusalCode::OtherContent),
        AnswerLie::Refuse(RefusalCode::Busy),
        AnswerLie::Refuse(RefusalCode::Pending),
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        with_liars(5100 + 20 * number as u64, |world, node| {
            shared(LyingAnswers::new(Identity::of(world, node), lie))
        });
    }
}

/// Spec: docs/protocol.md TIME-1, AMNESIA-1.
#[test]
fn nodes_whose_heartbeats_lie_stop_nothing() {
    for (number, offset) in [TEN_YEARS_MS, -TEN_YEARS_MS, 60_000].into_iter().enumerate() {
        for (more, (boots, positions)) in
            [(0, 0), (5, 0), (-1, -1000), (0, 1 << 40)].into_iter().enumerate()
        {
            with_liars(5400 + 20 * (4 * number + more) as u64, |world, node| {
                let me = Identity::of(world, node);
                shared(LyingClock::new(me, offset).with_memory(boots, positions))
            });
        }
    }
}

/// Spec: docs/protocol.md section 1.1: up to f nodes do whatever a seed says.
#[test]
fn nodes_that_lie_at_random_stop_nothing() {
    for seed in 0..12 {
        with_liars(6000 + 20 * seed, |world, node| {
            random_liar(Identity::of(world, node), 6000 + 20 * seed)
        });
    }
}

/// Spec: docs/protocol.md section 1.1: up to f nodes do whatever a fuzzer says.
#[test]
fn nodes_that_lie_as_a_fuzzer_says_stop_nothing() {
    for seed in 0..8 {
        let mut random = Random::new(seed, "fuzzer");
        let length = random.index(4000);
        let bytes = random.bytes(length);
        with_liars(7000 + 20 * seed, |world, node| {
            liar_from_bytes(Identity::of(world, node), &bytes)
        });
    }
}

/// A fuzzer's input that has run out is honesty: the run is the same to the byte.
#[test]
fn no_bytes_are_no_lies() {
    let hash = |tapped: bool| {
        let shape = Shape::default();
        scenario(7777, shape, |world| async move {
            if tapped {
                let me = Identity::of(&world, world.nodes()[4]);
                let host = me.host();
                let liar = RandomLiar::new(me, 2, Box::new(Bytes::new(&[])));
                world.network.tap(host, sim::liar_node::shared(liar));
            }
            live(&world, 7777, shape).await;
            let hash = world.trace.hash();
            (world, hash)
        })
    };
    assert_eq!(hash(true), hash(false));
}

/// Spec: docs/protocol.md section 5.3: whoever does not end its handshake, or drips its chunks, is cut
/// off, and keeps nobody else from being served.
#[test]
fn connections_that_drip_are_ended_and_hinder_nobody() {
    let (seed, shape) = (7800, Shape::default());
    scenario(seed, shape, |world| async move {
        let target = world.nodes()[0];
        let handshakes = futures((20..40).map(|number| shake_slowly(&world, number, target)));
        let uploads = futures((40..60).map(|number| upload_slowly(&world, number, target)));
        tokio::join!(handshakes, uploads, live(&world, seed, shape));
        (world, ())
    });
}

async fn shake_slowly(world: &World, number: u16, target: NodeId) {
    let started = Instant::now();
    let slow = Impostor::client(world, number).dripping(Duration::from_secs(1));
    assert!(slow.connect(target).await.is_err(), "a handshake of minutes was taken");
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
}

/// One chunk in most of a minute, and then a rest that is too long.
async fn upload_slowly(world: &World, number: u16, target: NodeId) {
    let slow = LiarClient::new(&Surroundings::of(world), number);
    let object = slow.object("slow", &content(u64::from(number), Shape::default()), LIFE);
    let slot = world.config.slot_of(object.upload(), target).unwrap();
    let mut plays = Vec::new();
    for play in opening(&object, slot, usize::MAX) {
        plays.extend([play, Play::Rest(CLIENT_IDLE_MAX - Duration::from_secs(10))]);
    }
    plays.extend([Play::Rest(CLIENT_IDLE_MAX), Play::Listen(Duration::from_secs(1))]);
    let heard = slow.perform(vec![(target, plays)]).await.remove(0).1;
    assert!(heard.opened.is_some() && heard.is_closed, "{heard:?}");
    assert!(heard.votes.is_empty());
}

/// How long slow writers say that they will take.
const LIFE: Duration = Duration::from_secs(3600);

/// Runs all of them at once.
async fn futures<F: Future<Output = ()>>(all: impl Iterator<Item = F>) {
    let mut all: Vec<_> = all.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        all.retain_mut(|one| one.as_mut().poll(context).is_pending());
        if all.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
