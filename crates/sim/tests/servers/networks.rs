//! Partitions, asynchrony and races: scenarios 31, 32, 36 and 42.

use std::collections::BTreeSet;
use std::time::Duration;

use avid_client::{DisperseOptions, RetrieveErrorKind, Silent as NoProgress};
use avid_types::NodeId;
use sim::liar_node::frames::{Rates, frame_network};
use sim::liar_node::{Identity, random_liar, turn};
use sim::network::{Delay, HostId};
use sim::random::Random;
use sim::world::{Shape, World, host_of};

use crate::setup::{
    briefly, content, expect_blocked, expect_read, name, pass, place, read, scenario, shape,
};

/// The machine of client 1.
const CLIENT: HostId = HostId(1001);

/// Cuts nodes into groups that hear nothing of each other; the client belongs to the first.
fn partition(world: &World, groups: &[&[u16]], client: bool) {
    for (place, group) in groups.iter().enumerate() {
        for node in *group {
            let others = groups.iter().enumerate().filter(|(other, _)| *other != place);
            let others = others.flat_map(|(_, other)| other.iter().copied().map(HostId));
            let client = (client && place > 0).then_some(CLIENT);
            for other in others.chain(client) {
                world.network.cut(HostId(*node), other);
                world.network.cut(other, HostId(*node));
            }
        }
    }
}

/// Spec: docs/protocol.md section 6 (31): at 3-of-5 a commit needs four, so neither side has one.
#[test]
fn a_partition_into_three_and_two_commits_nowhere_and_after_healing_once() {
    for (seed, majority) in [(3100, true), (3101, false)] {
        let shape = Shape::default();
        scenario(seed, shape, |world| async move {
            let written = content(seed, shape);
            let groups: [&[u16]; 2] =
                if majority { [&[0, 1, 2], &[3, 4]] } else { [&[3, 4], &[0, 1, 2]] };
            partition(&world, &groups, true);
            let result = world.client(1).put_with("a", &written, &briefly()).await;
            expect_blocked(&world, result);
            pass(Duration::from_secs(40)).await;
            assert_eq!(world.checker.committed_uploads(), 0);

            world.network.heal();
            assert!(world.all_vote(Duration::from_secs(60)).await);
            place(&world, 1, "a", &written).await;
            expect_read(&world, "a", &written).await;
            assert_eq!(world.checker.committed_uploads(), 1, "exactly one outcome");
            (world, ())
        });
    }
}

/// Spec: docs/protocol.md section 6 (31): the nodes are apart while the client reaches all of them.
#[test]
fn votes_that_could_not_cross_a_partition_commit_by_themselves_after_it() {
    let splits: [&[&[u16]]; 2] = [&[&[0, 1, 2], &[3, 4]], &[&[0, 1], &[2, 3], &[4]]];
    for (seed, groups) in (3110..).zip(splits) {
        let shape = Shape::default();
        scenario(seed, shape, |world| async move {
            let written = content(seed, shape);
            partition(&world, groups, false);
            let result = world.client(1).put_with("a", &written, &briefly()).await;
            expect_blocked(&world, result);

            world.network.heal();
            pass(Duration::from_secs(90)).await;
            assert_eq!(world.checker.committed_uploads(), 1, "without the client's help");
            expect_read(&world, "a", &written).await;
            (world, ())
        });
    }
}

/// Spec: docs/protocol.md section 6 (31): 2|2|1 makes no progress and no damage.
#[test]
fn a_partition_into_two_two_and_one_harms_nothing_that_is_stored() {
    let (seed, shape) = (3120, Shape::default());
    scenario(seed, shape, |world| async move {
        let (before, during) = (content(seed, shape), content(seed + 1, shape));
        place(&world, 1, "before", &before).await;
        partition(&world, &[&[0, 1], &[2, 3], &[4]], true);
        let result = world.client(1).put_with("during", &during, &briefly()).await;
        assert!(result.is_err(), "{result:?}");
        assert!(read(&world, "before", &before).await.is_err(), "two fragments are too few");
        assert_eq!(world.checker.committed_uploads(), 1);

        world.network.heal();
        assert!(world.all_vote(Duration::from_secs(60)).await);
        expect_read(&world, "before", &before).await;
        place(&world, 1, "during", &during).await;
        expect_read(&world, "during", &during).await;
        (world, ())
    });
}

/// Spec: docs/protocol.md section 6 (31): one direction only is enough to keep a node out, and not
/// enough to confuse it.
#[test]
fn a_node_that_hears_and_is_not_heard_does_not_stop_a_write() {
    for deaf in [true, false] {
        let (seed, shape) = (3130 + u64::from(deaf), Shape::default());
        scenario(seed, shape, |world| async move {
            let written = content(seed, shape);
            let half = host_of(world.nodes()[2]);
            for other in world.nodes().into_iter().map(host_of).chain([CLIENT]) {
                let (from, to) = if deaf { (other, half) } else { (half, other) };
                world.network.cut(from, to);
            }
            let report = world.client(1).put_with("a", &written, &briefly()).await.unwrap();
            assert_eq!(report.placed.len(), 4);
            expect_read(&world, "a", &written).await;
            world.network.heal();
            assert!(world.all_vote(Duration::from_secs(60)).await);
            place(&world, 1, "a", &written).await;
            (world, ())
        });
    }
}

/// Spec: docs/protocol.md section 6 (32), LINK-1: delays, tails, cuts, resets, frames lost, repeated
/// and reordered; safe throughout, and live once delivered.
#[test]
fn whatever_the_network_does_is_safe_and_everything_ends_once_it_heals() {
    let mut struck = [0; 3];
    let mut committed_in_the_storm = 0;
    for seed in 3200..3212 {
        let shape = if seed % 2 == 0 { shape(3, 5) } else { shape(2, 4) };
        let (of_run, early) = scenario(seed, shape, |world| async move {
            let storm = frame_network(seed, storm_of(seed));
            world.network.tap_all(storm.clone());
            world.network.set_delay(Delay {
                max: Duration::from_millis(200),
                tail_per_million: 20_000,
                tail: Duration::from_secs(20),
                ..Delay::LAN
            });
            let written: Vec<Vec<u8>> = (0..3).map(|k| content(seed * 10 + k, shape)).collect();
            let writing = async {
                for (number, bytes) in written.iter().enumerate() {
                    drop(world.client(1).put_with(&format!("o{number}"), bytes, &briefly()).await);
                }
            };
            tokio::join!(writing, flap(&world, seed));
            let early = world.checker.committed_uploads();

            storm.lock().unwrap().set_rates(Rates::default());
            world.network.heal();
            world.network.set_delay(Delay::LAN);
            reset_everything(&world);
            assert!(world.all_vote(Duration::from_secs(120)).await, "the cluster recovers");
            for (number, bytes) in written.iter().enumerate() {
                let text = format!("o{number}");
                place(&world, 1, &text, bytes).await;
                expect_read(&world, &text, bytes).await;
            }
            let struck = storm.lock().unwrap().struck;
            (world, (struck, early))
        });
        struck.iter_mut().zip(of_run).for_each(|(all, run)| *all += run);
        committed_in_the_storm += early;
    }
    assert!(struck.iter().all(|count| *count > 20), "the storm was none: {struck:?}");
    assert!(committed_in_the_storm > 0, "nothing ever went through");
}

fn storm_of(seed: u64) -> Rates {
    let rate = 30_000 + 30_000 * u32::try_from(seed % 4).unwrap();
    Rates { loss: rate, repeat: rate, reorder: rate, clients: seed.is_multiple_of(3) }
}

/// Cuts and heals ways and resets connections for a while.
async fn flap(world: &World, seed: u64) {
    let mut random = Random::new(seed, "flapping");
    let mut hosts: Vec<HostId> = world.nodes().into_iter().map(host_of).collect();
    hosts.push(CLIENT);
    for _ in 0..20 {
        pass(Duration::from_millis(random.between(10, 4000))).await;
        let (Some(from), Some(to)) = (random.pick(&hosts).copied(), random.pick(&hosts).copied())
        else {
            continue;
        };
        match random.below(4) {
            0 => world.network.heal(),
            1 => world.network.reset(from, to),
            _ if from != to => world.network.cut(from, to),
            _ => {}
        }
    }
}

/// As a middle box that is restarted: frames that were lost on a link are sent again on the next.
fn reset_everything(world: &World) {
    for one in world.nodes() {
        for other in world.nodes().into_iter().filter(|other| *other > one) {
            world.network.reset(host_of(one), host_of(other));
        }
    }
}

/// Spec: docs/protocol.md section 6 (36), READ-1, DELETE-1, ID-1: the Mode P half.
///
/// A name is deleted and written again while a slow reader is under way: it gets the bytes of one
/// generation, or an error after a true beginning of it.
#[test]
fn a_reader_in_flight_gets_one_generation_or_an_error_and_never_a_mixture() {
    let mut outcomes = BTreeSet::new();
    for seed in 3600..3612 {
        let shape = Shape::default();
        let outcome = scenario(seed, shape, |world| async move {
            let stripes = |seed: u64| Random::new(seed, "content").bytes(40 * 3 * 4096 + 5);
            let (old, new) = (stripes(seed), stripes(seed + 1));
            place(&world, 1, "a", &old).await;
            let slow = Delay { rate: 200 << 10, ..Delay::LAN };
            for node in world.nodes() {
                world.network.set_delay_of(host_of(node), HostId(1002), slow);
            }
            let reading = async {
                // Another machine, the same owner.
                let reader = world.client_on(2, 1, Default::default()).client;
                let mut bytes = Vec::new();
                let object = reader.own(&name("a"));
                let result = reader.retrieve(&object, None, &mut bytes, &NoProgress).await;
                (bytes, result)
            };
            let changing = async {
                let moment = Random::new(seed, "moment").between(1, 900);
                pass(Duration::from_millis(moment)).await;
                let client = world.client(1);
                client.client.remove(&name("a")).await.unwrap();
                client.put_with("a", &new, &briefly()).await.unwrap();
            };
            let ((bytes, result), ()) = tokio::join!(reading, changing);
            let outcome = match result {
                Ok(_) => {
                    assert!(bytes == old || bytes == new, "a mixture");
                    if bytes == old { "old" } else { "new" }
                }
                Err(error) => {
                    let good = usize::try_from(error.bytes_good).unwrap();
                    assert!(bytes.len() >= good);
                    let is_beginning = old.starts_with(&bytes) || new.starts_with(&bytes);
                    assert!(is_beginning, "{error}: a mixture came before the error");
                    match error.kind {
                        RetrieveErrorKind::TooFewChunks { .. } => "gone on the way",
                        RetrieveErrorKind::Deleted { .. } => "deleted",
                        other => panic!("{other}"),
                    }
                }
            };
            (world, outcome)
        });
        outcomes.insert(outcome);
    }
    assert!(outcomes.len() > 1, "the race was always won by the same: {outcomes:?}");
}

/// Spec: docs/protocol.md section 6 (42), ABORT-1, ABORT-2, COMMIT-1: the checker would see a commit
/// beside an abort certificate.
///
/// Random interleavings; all of them, for a small cluster, are walked through elsewhere. The owner
/// cancels its own write at a moment of the seed, over a network with long tails, and for every
/// other seed one node lies at random.
#[test]
fn a_cancel_that_races_a_commit_ends_in_one_of_the_two() {
    let (mut commits, mut aborts) = (0, 0);
    for seed in 4200..4230 {
        let shape = shape(2, 4);
        let is_committed = scenario(seed, shape, |world| async move {
            let mut random = Random::new(seed, "race");
            if seed % 2 == 0 {
                let liar = NodeId(u16::try_from(random.below(4)).unwrap());
                turn(&world, liar, random_liar(Identity::of(&world, liar), seed));
            }
            world.network.set_delay(Delay {
                max: Duration::from_millis(30),
                tail_per_million: 50_000,
                tail: Duration::from_millis(400),
                ..Delay::LAN
            });
            let written = content(seed, shape);
            let moment = Duration::from_millis(random.between(40, 600));
            let writing = async {
                let options = DisperseOptions { lifetime: Duration::from_secs(300), ..briefly() };
                drop(world.client(1).put_with("a", &written, &options).await);
            };
            let cancelling = async {
                pass(moment).await;
                // Another machine with the owner's key.
                let other = world.client_on(2, 1, Default::default());
                drop(other.client.cancel(&name("a")).await);
            };
            tokio::join!(writing, cancelling);
            // Past the expiry whatever is undecided is aborted.
            pass(Duration::from_secs(400)).await;
            let is_committed = world.checker.committed_uploads() > 0;
            if is_committed {
                expect_read(&world, "a", &written).await;
            }
            (world, is_committed)
        });
        if is_committed {
            commits += 1;
        } else {
            aborts += 1;
        }
    }
    assert!(commits > 2 && aborts > 2, "{commits} commits, {aborts} aborts: no race");
}

/// Spec: docs/protocol.md LINK-1, the peer that was down for long while much was decided: nothing
/// was queued for it, and it learns all of it by itself, from its own cursors, on its return.
#[test]
fn a_peer_that_was_down_learns_every_decision_by_itself_when_it_returns() {
    let (seed, shape) = (3300, Shape::default());
    scenario(seed, shape, |mut world| async move {
        let (away, written) = (NodeId(4), content(seed, shape));
        world.stop(away).await.unwrap();
        let (client, mut uploads) = (world.client(1), Vec::new());
        for number in 0..150 {
            let named = format!("object {number}");
            let report = client.put_with(&named, &written, &briefly()).await.unwrap();
            if number % 3 == 0 {
                client.client.remove(&name(&named)).await.unwrap();
            } else {
                uploads.push(report.upload);
            }
            pass(Duration::from_secs(2)).await;
        }
        let at = |world: &World, upload| world.checker.committed(upload).map(|(_, nodes)| nodes);
        assert!(uploads.iter().all(|upload| at(&world, *upload) == Some(4)));

        world.start(away).await.unwrap();
        pass(Duration::from_secs(30)).await;
        let known = uploads.iter().filter(|upload| at(&world, **upload) == Some(5)).count();
        assert_eq!(known, uploads.len(), "of the objects committed while it was down");
        (world, ())
    });
}
