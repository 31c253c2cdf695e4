//! Nodes that say nothing, too little or too late: scenarios 19, 33, 35 and the thresholds for them.

use std::time::Duration;

use avid_client::Timeouts;
use avid_protocol::statement::StatementKind;
use sim::liar_client::play::{Heard, dispersal};
use sim::liar_client::{LiarClient, Surroundings};
use sim::liar_node::service::{Selective, Silent};
use sim::network::Delay;
use sim::world::{Shape, World, host_of};

use avid_store::disk::memory::CrashChoice;
use avid_types::NodeId;

use crate::setup::{
    PROFILES, audit, briefly, content, expect_blocked, expect_read, expect_unavailable, last_nodes,
    node_of, params, pass, place, scenario, shape, some_subsets, tap,
};

/// How a node is silent.
#[derive(Clone, Copy, Debug)]
enum Silence {
    /// Its process is gone.
    Dead,
    /// Its process is stopped; connections stay open.
    Paused,
    /// It takes everything and answers nothing.
    Mute,
    /// Nothing reaches it or comes from it.
    Cut,
}

const SILENCES: [Silence; 4] = [Silence::Dead, Silence::Paused, Silence::Mute, Silence::Cut];

impl Silence {
    fn fall(self, world: &mut World, node: NodeId) {
        match self {
            Self::Dead => world.kill(node, CrashChoice::KeepAll),
            Self::Paused => world.pause(node, true),
            Self::Mute => drop(tap(world, node, Silent::default())),
            Self::Cut => cut_off(world, node),
        }
    }
}

fn cut_off(world: &World, node: NodeId) {
    let clients = [1000, 1001, 1002, 1999].map(sim::network::HostId);
    let nodes = world.nodes().into_iter().map(host_of);
    for other in nodes.chain(clients).filter(|other| *other != host_of(node)) {
        world.network.cut(host_of(node), other);
        world.network.cut(other, host_of(node));
    }
}

/// Spec: docs/protocol.md section 1.5 column "silent nodes tolerated while writing": the votes.
///
/// A writer that knows which generation is free needs no answer of a silent node.
#[test]
fn votes_commit_with_n_minus_e_silent_nodes_and_do_not_with_one_more() {
    for (m, n) in PROFILES {
        for more in [0, 1] {
            let (seed, shape) = (3320 + 2 * u64::from(n) + more as u64, shape(m, n));
            scenario(seed, shape, |mut world| async move {
                let written = content(seed, shape);
                let silent = last_nodes(&world, params(&world).silent_during_write() + more);
                for node in &silent {
                    Silence::Dead.fall(&mut world, *node);
                }
                let writer = LiarClient::new(&Surroundings::of(&world), 7);
                let object = writer.object("a", &written, Duration::from_secs(3600));
                let nodes = world.nodes().into_iter().filter(|node| !silent.contains(node));
                let votes = Duration::from_secs(20);
                let heard = writer.perform(dispersal(&world.config, &object, nodes, votes)).await;
                let delivered =
                    |(_, heard): &&(NodeId, Heard)| heard.has_voted(StatementKind::Delivered);
                let delivered = heard.iter().filter(delivered).count();
                let expected = if more == 0 { params(&world).echo_quorum() } else { 0 };
                assert_eq!(delivered, expected, "{m}-of-{n}");
                assert_eq!(world.checker.committed_uploads(), usize::from(more == 0));
                (world, ())
            });
        }
    }
}

/// Spec: docs/protocol.md section 6 (33), section 1.5 column "f safe+live".
#[test]
fn writes_commit_with_f_silent_nodes_and_block_with_one_more() {
    for (m, n) in PROFILES {
        for (seed, silence) in (3300 + 10 * u64::from(n)..).zip(SILENCES) {
            let shape = shape(m, n);
            scenario(seed, shape, |mut world| async move {
                let written = content(seed, shape);
                let most = params(&world).down_during_write();
                for node in last_nodes(&world, most) {
                    silence.fall(&mut world, node);
                }
                let report = world.client(1).put_with("a", &written, &briefly()).await;
                let report = report.unwrap_or_else(|error| panic!("{silence:?}: {error}"));
                assert_eq!(report.placed.len(), usize::from(n) - most, "{silence:?}");
                expect_read(&world, "a", &written).await;
                (world, ())
            });
            scenario(seed, shape, |mut world| async move {
                let written = content(seed, shape);
                for node in last_nodes(&world, params(&world).down_during_write() + 1) {
                    silence.fall(&mut world, node);
                }
                let result = world.client(1).put_with("a", &written, &briefly()).await;
                expect_blocked(&world, result);
                pass(Duration::from_secs(60)).await;
                assert_eq!(world.checker.committed_uploads(), 0, "no late commit either");
                (world, ())
            });
        }
    }
}

/// Spec: docs/protocol.md section 6 (33): what was blocked goes on once enough nodes speak.
#[test]
fn a_blocked_write_resumes_when_a_node_comes_back() {
    for (m, n) in PROFILES {
        let (seed, shape) = (3390 + u64::from(n), shape(m, n));
        scenario(seed, shape, |mut world| async move {
            let written = content(seed, shape);
            let silent = last_nodes(&world, params(&world).down_during_write() + 1);
            for node in &silent {
                Silence::Dead.fall(&mut world, *node);
            }
            let blocked = world.client(1).put_with("a", &written, &briefly()).await;
            expect_blocked(&world, blocked);
            for node in &silent {
                world.start(*node).await.unwrap();
            }
            assert!(world.all_vote(Duration::from_secs(60)).await);
            place(&world, 1, "a", &written).await;
            expect_read(&world, "a", &written).await;
            (world, ())
        });
    }
}

/// Spec: docs/protocol.md section 6 (33), section 1.5 column "after full dispersal".
///
/// One more than n - m silent nodes: the read fails and says so. Mode P needs no metadata nodes.
#[test]
fn placed_objects_are_read_with_n_minus_m_silent_nodes_and_not_with_one_more() {
    for (m, n) in PROFILES {
        for (seed, silence) in (3500 + 10 * u64::from(n)..).zip(SILENCES) {
            let shape = shape(m, n);
            scenario(seed, shape, |mut world| async move {
                let written = content(seed, shape);
                place(&world, 1, "a", &written).await;
                let silent = last_nodes(&world, params(&world).losses_when_placed() + 1);
                let (one_more, silent) = silent.split_first().unwrap();
                for node in silent {
                    silence.fall(&mut world, *node);
                }
                expect_read(&world, "a", &written).await;
                silence.fall(&mut world, *one_more);
                expect_unavailable(&world, "a", &written).await;
                (world, ())
            });
        }
    }
}

/// Spec: docs/protocol.md section 6 (19), section 1.5 column "survivable by reads at commit".
#[test]
fn a_commit_at_exactly_e_survives_e_minus_m_losses_and_after_repair_n_minus_m() {
    for (m, n) in PROFILES {
        let (seed, shape) = (1900 + u64::from(n), shape(m, n));
        scenario(seed, shape, |mut world| async move {
            let written = content(seed, shape);
            let unreached = last_nodes(&world, params(&world).silent_during_write());
            for node in &unreached {
                world.kill(*node, CrashChoice::KeepAll);
            }
            let writer = LiarClient::new(&Surroundings::of(&world), 1);
            let object = writer.object("a", &written, Duration::from_secs(3600));
            let reached = world.nodes().into_iter().filter(|node| !unreached.contains(node));
            let votes = Duration::from_secs(20);
            let heard = writer.perform(dispersal(&world.config, &object, reached, votes)).await;
            assert_eq!(heard.len(), params(&world).echo_quorum());
            assert!(heard.iter().all(|(_, heard)| heard.has_voted(StatementKind::Hold)));

            let holders: Vec<NodeId> =
                world.nodes().into_iter().filter(|node| !unreached.contains(node)).collect();
            let survived = params(&world).losses_at_commit();
            for lost in some_subsets(seed, &holders, survived, 4) {
                mute(&world, &lost);
                expect_read(&world, "a", &written).await;
                world.network.untap();
            }
            for lost in some_subsets(seed, &holders, survived + 1, 4) {
                mute(&world, &lost);
                expect_unavailable(&world, "a", &written).await;
                world.network.untap();
            }

            for node in &unreached {
                world.start(*node).await.unwrap();
            }
            assert!(world.all_vote(Duration::from_secs(60)).await);
            let repaired = place(&world, 1, "a", &written).await;
            assert!(repaired.already_stored);
            for lost in some_subsets(seed, &world.nodes(), params(&world).losses_when_placed(), 4) {
                mute(&world, &lost);
                expect_read(&world, "a", &written).await;
                world.network.untap();
            }
            (world, ())
        });
    }
}

fn mute(world: &World, nodes: &[NodeId]) {
    for node in nodes {
        tap(world, *node, Silent::default());
    }
}

/// Spec: docs/protocol.md section 6 (17), (33): a node may serve some and not others.
#[test]
fn nodes_that_serve_only_some_hosts_hinder_nobody() {
    for (m, n) in PROFILES {
        let (seed, shape) = (3700 + u64::from(n), shape(m, n));
        scenario(seed, shape, |world| async move {
            let written = content(seed, shape);
            let liars = last_nodes(&world, params(&world).f());
            let favourites = [world.nodes()[0], world.nodes()[1]].map(host_of);
            for liar in &liars {
                crate::setup::lie(&world, *liar, Selective::new(favourites));
            }
            let report = world.client(1).put_with("a", &written, &briefly()).await.unwrap();
            assert!(report.placed.len() >= params(&world).echo_quorum());
            expect_read(&world, "a", &written).await;
            (world, ())
        });
    }
}

/// Spec: docs/protocol.md section 6 (35): one node at 1 % of the others' bandwidth.
#[test]
fn a_slow_node_costs_a_long_write_less_than_a_tenth_and_is_filled_later() {
    let shape = Shape { chunk_bytes: 64 << 10, ..Shape::default() };
    let elapsed = |seed: u64, slow: bool| {
        scenario(seed, shape, |world| async move {
            let fast = Delay { rate: 24 << 10, ..Delay::LAN };
            world.network.set_delay(fast);
            let victim = world.nodes()[4];
            if slow {
                slow_down(&world, victim, fast.rate / 100);
            }
            let written = sim::random::Random::new(seed, "content").bytes(12 << 20);
            let started = tokio::time::Instant::now();
            let report = world.client_with(1, Timeouts::default());
            let report = report.put_with("a", &written, &briefly()).await.unwrap();
            let elapsed = started.elapsed();
            assert_eq!(report.placed.len(), if slow { 4 } else { 5 }, "{:?}", report.faults);
            if slow {
                // The slow link is replaced; what was still on it is lost with it.
                world.network.reset(sim::network::HostId(1001), host_of(victim));
                world.network.clear_delays();
                world.network.set_delay(Delay::LAN);
                let filled = place(&world, 1, "a", &written).await;
                assert!(filled.already_stored);
                assert_eq!(audit(&world, "a").await[0].len(), 5);
                assert!(node_of(&world, filled.upload, 0).0 < 5);
            }
            (world, elapsed)
        })
    };
    let (healthy, slow) = (elapsed(3501, false), elapsed(3501, true));
    assert!(healthy > Duration::from_secs(30), "{healthy:?} is too short to tell");
    assert!(slow < healthy.mul_f64(1.1), "healthy {healthy:?}, with a slow node {slow:?}");
}

fn slow_down(world: &World, node: NodeId, rate: u64) {
    let slow = Delay { rate, ..Delay::LAN };
    let nodes = world.nodes().into_iter().map(host_of);
    for other in nodes.chain([sim::network::HostId(1001)]) {
        world.network.set_delay_of(other, host_of(node), slow);
        world.network.set_delay_of(host_of(node), other, slow);
    }
}
