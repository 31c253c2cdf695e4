//! Lying votes and certificates: scenarios 20, 21 and 22, and what the bounds of section 1.5 say.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use avid_protocol::statement::StatementKind;
use avid_protocol::wire::{Message, News};
use avid_types::{NodeId, UploadId};
use sim::liar_client::forged::Forged;
use sim::liar_client::play::dispersal;
use sim::liar_client::{LiarClient, Surroundings};
use sim::liar_node::collusion::{Content, Gang};
use sim::liar_node::impostor::Impostor;
use sim::liar_node::votes::{Audience, Boldness, Equivocator, Flood, Forger, Forgery, Parrot};
use sim::liar_node::{Chain, Identity};
use sim::tap::Tap;
use sim::world::{Shape, World, host_of};

use avid_store::disk::memory::CrashChoice;

use crate::setup::{
    PROFILES, beyond, briefly, content, expect_blocked, expect_read, last_nodes, lie, params, pass,
    scenario, shape,
};

/// Long enough for votes to be announced again a few times.
const VOTES: Duration = Duration::from_secs(20);

fn count(world: &World, what: &str) -> u64 {
    world.trace.counts().get(what).copied().unwrap_or(0)
}

/// A gang that hears what is sent to its members.
fn gang(world: &World, members: &[NodeId]) -> Gang {
    let gang = Gang::new(&world.config, members.iter().copied());
    world.network.tap_all(sim::liar_node::shared(gang.ear()));
    gang
}

fn parrots(world: &World, members: &[NodeId], boldness: Boldness) -> Gang {
    let gang = gang(world, members);
    for member in members {
        let me = Identity::of(world, *member);
        lie(world, *member, Parrot::new(me, gang.clone(), boldness));
    }
    gang
}

/// Spec: docs/protocol.md section 6 (21), READY-1, HOLD-1: two contents signed is proof.
#[test]
fn a_node_that_tells_everybody_two_contents_is_convicted_and_the_write_commits() {
    for (m, n) in PROFILES {
        let (seed, shape) = (2100 + u64::from(n), shape(m, n));
        scenario(seed, shape, |world| async move {
            let written = content(seed, shape);
            let liar = last_nodes(&world, 1)[0];
            let everybody = world.nodes().into_iter().map(host_of);
            let me = Identity::of(&world, liar);
            let told = lie(&world, liar, Equivocator::new(me, everybody, Audience::Both, None));
            world.client(1).put_with("a", &written, &briefly()).await.unwrap();
            expect_read(&world, "a", &written).await;
            assert!(told.lock().unwrap().lies > 0);
            assert!(count(&world, "fault") > 0, "nobody noticed");
            (world, ())
        });
    }
}

/// Spec: docs/protocol.md section 6 (21): other votes for some peers stop nothing, up to f liars.
#[test]
fn f_nodes_that_tell_each_half_another_content_stop_no_write() {
    for (m, n) in PROFILES {
        let (seed, shape) = (2120 + u64::from(n), shape(m, n));
        scenario(seed, shape, |world| async move {
            let written = content(seed, shape);
            for liar in last_nodes(&world, params(&world).f()) {
                let half = world.nodes().into_iter().take(usize::from(n) / 2).map(host_of);
                let me = Identity::of(&world, liar);
                lie(&world, liar, Equivocator::new(me, half, Audience::Split, None));
            }
            world.client(1).put_with("a", &written, &briefly()).await.unwrap();
            expect_read(&world, "a", &written).await;
            (world, ())
        });
    }
}

/// Spec: docs/protocol.md section 6 (21), section 1.8 (4): one vote per node, however often and
/// from however many sockets.
///
/// One node too few is up for a commit; the liar among the rest repeats itself. The control is the
/// same with one more honest node.
#[test]
fn a_thousand_votes_of_one_node_count_once() {
    for (m, n) in PROFILES {
        for control in [false, true] {
            let (seed, shape) = (2140 + u64::from(n), shape(m, n));
            scenario(seed, shape, |mut world| async move {
                let written = content(seed, shape);
                let down = params(&world).down_during_write() + usize::from(!control);
                let down = last_nodes(&world, down);
                for node in &down {
                    world.kill(*node, CrashChoice::KeepAll);
                }
                let liar = world.nodes()[0];
                let gang = gang(&world, &[liar]);
                let told = lie(&world, liar, Flood::new(1000));
                let result = world.client(1).put_with("a", &written, &briefly()).await;
                if control {
                    result.unwrap();
                    assert!(told.lock().unwrap().lies > 0, "it never flooded");
                    return (world, ());
                }
                expect_blocked(&world, result);
                shout(&world, liar, &gang, &down).await;
                assert_eq!(world.checker.committed_uploads(), 0);
                (world, ())
            });
        }
    }
}

/// Says every vote that could be missing to every node, from a new socket each time.
async fn shout(world: &World, liar: NodeId, gang: &Gang, down: &[NodeId]) {
    let impostor = Impostor::member(world, liar);
    for content in gang.promises() {
        let slot = world.config.slot_of(content.upload, liar).unwrap();
        let vote = Identity::of(world, liar).sign(content.statement(StatementKind::Echo, slot));
        let news = News::Votes { votes: vec![vote], echo_cert: None };
        let message = Message::News { position: 1, upload: content.upload, news };
        for node in world.nodes().into_iter().filter(|node| *node != liar && !down.contains(node)) {
            for _ in 0..20 {
                impostor.tell(node, std::slice::from_ref(&message)).await;
            }
        }
    }
}

/// Spec: docs/protocol.md READ-1, READY-1, COMMIT-1: a certificate with a flaw is worth nothing and
/// hinders nothing while f nodes pass such on.
#[test]
fn forged_certificates_of_f_nodes_change_nothing() {
    for forgery in Forgery::ALL {
        for (m, n) in [(3, 5), (2, 4), (8, 12)] {
            let (seed, shape) = (2160 + u64::from(n), shape(m, n));
            scenario(seed, shape, |world| async move {
                let written = content(seed, shape);
                let mut told = Vec::new();
                for liar in last_nodes(&world, params(&world).f()) {
                    told.push(lie(&world, liar, Forger::new(forgery)));
                }
                world.client(1).put_with("a", &written, &briefly()).await.unwrap();
                let report = expect_read(&world, "a", &written).await;
                assert!(told.iter().all(|told| told.lock().unwrap().lies > 0), "{forgery:?}");
                assert!(report.faults.len() <= told.len(), "{:?}", report.faults);
                (world, ())
            });
        }
    }
}

/// Spec: docs/protocol.md section 6 (20), section 1.4: with f echoes for nothing, m honest nodes hold
/// the object still, and an audit names who does not.
///
/// The liars never get a chunk: they vote for what they hear of. n - E others are down.
#[test]
fn f_votes_without_a_fragment_leave_a_committed_object_readable() {
    for (m, n) in PROFILES {
        let (seed, shape) = (2000 + u64::from(n), shape(m, n));
        scenario(seed, shape, |mut world| async move {
            let written = content(seed, shape);
            for node in last_nodes(&world, params(&world).silent_during_write()) {
                world.kill(node, CrashChoice::KeepAll);
            }
            let liars: Vec<NodeId> = world.nodes()[..params(&world).f()].to_vec();
            parrots(&world, &liars, Boldness::Certified);
            starve(&world, &liars);
            let upload = write_around(&world, &written, &liars).await;
            let (_, committed) = world.checker.committed(upload).expect("committed");
            assert_eq!(committed, params(&world).echo_quorum() - liars.len(), "honest nodes");
            feed(&world);
            expect_read_of_liar(&world, &written).await;
            let good = audit_of_liar(&world).await;
            assert!(liars.iter().all(|liar| !good.contains(liar)), "an audit flags them");
            assert!(good.len() >= usize::from(m));
            (world, ())
        });
    }
}

/// Spec: docs/protocol.md section 6 (22), section 1.5 column "survivable at commit", section 1.6.
///
/// One beyond the bound: E - m + 1 echoes for nothing make a commit that m - 1 honest nodes hold.
/// It is unreadable, it says so, and its content is still the only one.
#[test]
fn one_vote_without_a_fragment_too_many_makes_a_commit_that_nobody_can_read() {
    for (m, n) in PROFILES {
        let (seed, shape) = (2200 + u64::from(n), shape(m, n));
        let (violation, ()) = beyond(seed, shape, |mut world| async move {
            let written = content(seed, shape);
            for node in last_nodes(&world, params(&world).silent_during_write()) {
                world.kill(node, CrashChoice::KeepAll);
            }
            let liars: Vec<NodeId> = world.nodes()[..=params(&world).losses_at_commit()].to_vec();
            parrots(&world, &liars, Boldness::Certified);
            starve(&world, &liars);
            let upload = write_around(&world, &written, &liars).await;
            assert!(world.checker.committed(upload).is_some(), "committed all the same");
            feed(&world);
            let client = world.client(7);
            let Err(error) = client.get("a", &[written]).await else { panic!("readable") };
            assert_eq!(error.bytes_good, 0, "{error}");
            (world, ())
        });
        let violation = violation.expect("the checker sees a commit with too few holders");
        assert!(violation.starts_with("I2"), "{violation}");
        assert!(violation.contains(&format!("with {} honest holders", m - 1)), "{violation}");
    }
}

/// No client reaches these nodes: they hear of an upload from their peers only.
fn starve(world: &World, nodes: &[NodeId]) {
    for node in nodes {
        for client in [1001, 1007, 5007].map(sim::network::HostId) {
            world.network.cut(client, host_of(*node));
            world.network.cut(host_of(*node), client);
        }
    }
}

fn feed(world: &World) {
    world.network.heal();
}

/// A writer that gives its chunks to whoever is up and no liar, and waits for the votes.
async fn write_around(world: &World, written: &[u8], liars: &[NodeId]) -> UploadId {
    let writer = LiarClient::new(&Surroundings::of(world), 7);
    let object = writer.object("a", written, Duration::from_secs(3600));
    let nodes = world.nodes().into_iter().filter(|node| !liars.contains(node));
    writer.perform(dispersal(&world.config, &object, nodes, VOTES)).await;
    object.upload()
}

async fn expect_read_of_liar(world: &World, written: &[u8]) {
    let (bytes, _) = world.client(7).get("a", &[written.to_vec()]).await.unwrap();
    assert!(bytes == written);
}

async fn audit_of_liar(world: &World) -> BTreeSet<NodeId> {
    let client = world.client(7).client;
    let object = client.own(&crate::setup::name("a"));
    let report = client.verify(&object, &avid_client::Silent).await.unwrap();
    let is_good =
        |slot: &&avid_client::SlotReport| matches!(slot.health, avid_client::SlotHealth::Good);
    report.slots.iter().filter(is_good).map(|slot| slot.node).collect()
}

/// Spec: docs/protocol.md section 6 (22), READY-1: a READY needs its echo certificate.
///
/// All but one of the echoes are there, and more than f liars say READY: with plain READYs, the
/// paper's, f + 1 of them would make every honest node amplify and deliver without m fragments.
#[test]
fn readies_without_echoes_deliver_nothing_however_many_say_so() {
    for boldness in [Boldness::ReadyWithoutEchoes, Boldness::ReadyWithFewEchoes] {
        for (m, n) in PROFILES {
            let (seed, shape) = (2230 + u64::from(n), shape(m, n));
            scenario(seed, shape, |world| async move {
                let written = content(seed, shape);
                let p = params(&world);
                // With few echoes the gang signs its own; then one honest echo is missing.
                let liars: Vec<NodeId> = world.nodes()[..p.f() + 1].to_vec();
                let honest = p.echo_quorum() - 1 - liars.len();
                parrots(&world, &liars, boldness);
                let writer = LiarClient::new(&Surroundings::of(&world), 7);
                let object = writer.object("a", &written, Duration::from_secs(3600));
                let nodes = world.nodes()[liars.len()..][..honest].to_vec();
                let heard = writer.perform(dispersal(&world.config, &object, nodes, VOTES)).await;
                assert!(heard.iter().all(|(_, heard)| heard.has_voted(StatementKind::Echo)));
                assert!(heard.iter().all(|(_, heard)| !heard.has_voted(StatementKind::Ready)));
                assert_eq!(world.checker.committed(object.upload()), None);
                (world, ())
            });
        }
    }
}

/// Spec: docs/protocol.md ABORT-1: one node that aborts everything at once stops no write.
#[test]
fn f_nodes_that_abort_everything_stop_no_write() {
    for (m, n) in PROFILES {
        let (seed, shape) = (2260 + u64::from(n), shape(m, n));
        scenario(seed, shape, |world| async move {
            let written = content(seed, shape);
            let liars = last_nodes(&world, params(&world).f());
            parrots(&world, &liars, Boldness::Abort);
            world.client(1).put_with("a", &written, &briefly()).await.unwrap();
            expect_read(&world, "a", &written).await;
            (world, ())
        });
    }
}

/// Two contents of one upload, each given to half of the honest nodes by their owner, with `liars`
/// that vote for whatever each half wants to hear. Returns how many contents were committed by
/// honest nodes before the halves could speak to each other.
async fn split_brain(world: &World, seed: u64, liars: usize) -> usize {
    let shape = Shape { m: world.config.params.m_byte(), n: 0, chunk_bytes: 4096 };
    let nodes = world.nodes();
    let (liars, honest) = nodes.split_at(liars);
    let (left, right) = honest.split_at(honest.len() / 2);
    let writer = LiarClient::new(&Surroundings::of(world), 7);
    let lifetime = Duration::from_secs(3600);
    let one = writer.object("a", &content(seed, shape), lifetime);
    let other = same_open(writer.object("a", &content(seed + 1, shape), lifetime), &one);
    let gang = gang(world, liars);
    let contents = [&one, &other].map(content_of);
    contents.iter().for_each(|content| gang.learn(*content));
    for liar in liars {
        let parrot = Parrot::new(Identity::of(world, *liar), gang.clone(), Boldness::Certified)
            .only(contents[0].commitment, left.iter().copied().map(host_of))
            .only(contents[1].commitment, right.iter().copied().map(host_of))
            .only(contents[0].commitment, liars.iter().copied().map(host_of));
        lie(world, *liar, parrot);
    }
    for (a, b) in left.iter().flat_map(|a| right.iter().map(move |b| (*a, *b))) {
        world.network.cut(host_of(a), host_of(b));
        world.network.cut(host_of(b), host_of(a));
    }
    let mut plan = dispersal(&world.config, &one, left.iter().copied(), VOTES);
    plan.extend(dispersal(&world.config, &other, right.iter().copied(), VOTES));
    let heard = writer.perform(plan).await;
    let delivered = |half: &[NodeId]| {
        let of_half = heard.iter().filter(|(node, _)| half.contains(node));
        of_half.into_iter().any(|(_, heard)| heard.has_voted(StatementKind::Delivered))
    };
    let certified = usize::from(delivered(left)) + usize::from(delivered(right));
    world.network.heal();
    pass(VOTES).await;
    certified
}

/// Both contents under one announcement, so that only their SEALs differ.
fn same_open(mut object: Forged, as_of: &Forged) -> Forged {
    object.open = as_of.open.clone();
    object.seal_again();
    object
}

fn content_of(object: &Forged) -> Content {
    Content {
        upload: object.upload(),
        commitment: object.manifest.commitment(),
        expiry: object.open.open.expiry,
    }
}

/// Spec: docs/protocol.md section 6 (1), (14), (22), section 1.5 column "Byz for uniqueness".
///
/// Up to 2E - n - 1 liars with a lying owner: at most one content is committed, though with more
/// than E - m of them it may be one that m honest nodes do not hold.
#[test]
fn two_contents_are_never_both_certified_by_2e_minus_n_minus_1_liars() {
    for (m, n) in PROFILES {
        let (seed, shape) = (2280 + u64::from(n), shape(m, n));
        let (violation, certified) = beyond(seed, shape, |world| async move {
            let liars = params(&world).liars_for_uniqueness();
            let certified = split_brain(&world, seed, liars).await;
            assert_eq!(count(&world, "bound exceeded"), 0);
            (world, certified)
        });
        assert!(certified <= 1, "{m}-of-{n}");
        let is_documented = violation.as_ref().is_none_or(|text| text.starts_with("I2"));
        assert!(is_documented, "{m}-of-{n}: {violation:?}");
    }
}

/// Spec: docs/protocol.md section 1.5: one liar more, and both contents are committed, which a node
/// notices as soon as it is shown the other proof.
#[test]
fn one_liar_more_certifies_two_contents_and_a_node_shown_both_raises_the_alarm() {
    for (m, n) in PROFILES {
        let (seed, shape) = (2280 + u64::from(n), shape(m, n));
        let (violation, (certified, alarms)) = beyond(seed, shape, |world| async move {
            let liars = params(&world).liars_for_uniqueness() + 1;
            let certified = split_brain(&world, seed, liars).await;
            show_one_half_to_the_other(&world, liars).await;
            let alarms = count(&world, "bound exceeded");
            (world, (certified, alarms))
        });
        assert_eq!(certified, 2, "{m}-of-{n}");
        let violation = violation.expect("the checker sees two contents");
        assert!(violation.starts_with("I1") || violation.starts_with("I2"), "{violation}");
        assert!(alarms > 0, "{m}-of-{n}: no alarm");
    }
}

/// Committed nodes tell each other only that they are; somebody has to bring a proof across.
async fn show_one_half_to_the_other(world: &World, liars: usize) {
    let client = LiarClient::new(&Surroundings::of(world), 7);
    let owner = client.key().public();
    let (first, last) = (world.nodes()[liars], last_nodes(world, 1)[0]);
    let head = client.head(first, owner, &crate::setup::name("a")).await.unwrap();
    client.ask(last, Message::Commit(head.committed.expect("the first half is committed"))).await;
}

/// Spec: docs/protocol.md section 1.5: up to f liars that do everything at once, chosen by the seed.
#[test]
fn f_liars_that_echo_forge_and_flood_together_stop_nothing() {
    for (m, n) in PROFILES {
        let (seed, shape) = (2290 + u64::from(n), shape(m, n));
        scenario(seed, shape, |world| async move {
            let written = content(seed, shape);
            let liars = last_nodes(&world, params(&world).f());
            let gang = gang(&world, &liars);
            for liar in &liars {
                let me = || Identity::of(&world, *liar);
                let victims = world.nodes().into_iter().skip(1).map(host_of);
                let links: Vec<Arc<Mutex<dyn Tap>>> = vec![
                    sim::liar_node::shared(Parrot::new(me(), gang.clone(), Boldness::Certified)),
                    sim::liar_node::shared(Equivocator::new(me(), victims, Audience::Both, None)),
                    sim::liar_node::shared(Forger::new(Forgery::Duplicate)),
                    sim::liar_node::shared(Flood::new(10)),
                ];
                lie(&world, *liar, Chain(links));
            }
            world.client(1).put_with("a", &written, &briefly()).await.unwrap();
            expect_read(&world, "a", &written).await;
            (world, ())
        });
    }
}
