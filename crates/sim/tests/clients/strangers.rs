//! Attacks on what others own: replays, forged certificates and orders, streams held open.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use avid_protocol::object::ObjectId;
use avid_protocol::wire::{Message, RefusalCode, kind};
use avid_types::limits::CLIENT_IDLE_MAX;
use avid_types::{Generation, NodeId, ObjectName};
use sim::liar_client::adversaries::{CertificateForger, Dripper, OrderForger, PROOF_LIES, VOTES};
use sim::liar_client::play::{Heard, Play, dispersal};
use sim::liar_client::{LiarClient, Recorder, Surroundings};
use sim::network::HostId;
use sim::world::{World, client_key, host_of};

use super::setup::{LIAR, content, eventually, nodes, pass, refused, scenario, voted};

/// An honest client whose objects are attacked.
const VICTIM: u16 = 3;
/// The machine of the victim; machines of clients have the numbers from 1000 on.
const VICTIM_MACHINE: HostId = HostId(1000 + VICTIM);

fn victim_of(name: &str, generation: u64) -> ObjectId {
    ObjectId {
        owner: client_key(VICTIM).public(),
        name: ObjectName::new(name).unwrap(),
        generation: Generation(generation),
    }
}

/// Sends everything that was recorded to the node it was sent to, whole and frame by frame; what
/// each frame alone was answered, by its type.
async fn replay(world: &World, by: &LiarClient, recorder: &Recorder) -> Vec<(u8, Heard)> {
    let mut answers = Vec::new();
    for node in world.nodes() {
        let frames = recorder.plays_to(host_of(node));
        let mut whole = frames.clone();
        whole.push(Play::Listen(VOTES));
        by.perform(vec![(node, whole)]).await;
        for frame in frames {
            let Play::Raw { kind, .. } = frame else { continue };
            let plays = vec![frame, Play::Listen(Duration::from_millis(500))];
            let heard = by.perform(vec![(node, plays)]).await.remove(0).1;
            answers.push((kind, heard));
        }
    }
    answers
}

/// Spec: docs/protocol.md section 5.3. The liar replays, frame by frame and in one stream, all
/// that an honest client said: its announcement is not the liar's to make, and the rest is nothing.
#[test]
fn frames_of_another_client_do_nothing_under_the_liars_key() {
    scenario([201], async |world, liar| {
        let recorder = Recorder::default();
        world.network.tap(VICTIM_MACHINE, Arc::new(Mutex::new(recorder.clone())));
        let victim = world.client(VICTIM);
        let bytes = content(201, 20_000);
        victim.put("mine", &bytes).await.unwrap();
        victim.put("gone", &bytes).await.unwrap();
        victim.client.remove(&ObjectName::new("gone").unwrap()).await.unwrap();
        let upload = victim_of("mine", 0).upload(&world.config);
        let before = world.checker.committed(upload);

        let answers = replay(world, liar, &recorder).await;
        for owned in [kind::OPEN, kind::ORDER] {
            let of_kind = answers.iter().filter(|(kind, _)| *kind == owned);
            let codes: Vec<_> = of_kind.map(|(_, heard)| heard.refusal()).collect();
            assert!(codes.len() >= 5, "one at each node: {codes:?}");
            assert!(codes.iter().all(|code| *code == Some(RefusalCode::NotAllowed)), "{codes:?}");
        }
        assert_eq!(world.checker.committed(upload), before);
        victim.get("mine", &[bytes]).await.unwrap();
        let gone = victim.get("gone", &[]).await.unwrap_err();
        assert!(gone.to_string().contains("deleted"), "{gone}");
    });
}

/// Rule: DELETE-1, ID-1. The owner's own old frames, replayed under its own key after it deleted
/// and rewrote the name, touch the old life only.
#[test]
fn an_owners_old_frames_do_nothing_to_a_later_life_of_its_name() {
    scenario([202], async |world, _| {
        let recorder = Recorder::default();
        world.network.tap(VICTIM_MACHINE, Arc::new(Mutex::new(recorder.clone())));
        let victim = world.client(VICTIM);
        let name = ObjectName::new("rewritten").unwrap();
        let (old, new) = (content(1, 20_000), content(2, 15_000));
        victim.put("rewritten", &old).await.unwrap();
        victim.client.remove(&name).await.unwrap();
        world.network.untap();
        assert_eq!(victim.put("rewritten", &new).await.unwrap().generation.0, 1);

        let thief = LiarClient::new(&Surroundings::of(world), VICTIM);
        assert!(replay(world, &thief, &recorder).await.len() >= 30, "something was replayed");
        let (_, report) = victim.get("rewritten", &[new]).await.unwrap();
        assert_eq!(report.generation.0, 1);
    });
}

/// Rules: READ-1, COMMIT-1, ID-1, SIGN-1. Every rearrangement of genuine proofs, shown at every
/// door that takes one, is refused and commits nothing.
#[test]
fn forged_proofs_open_no_door() {
    scenario([203], async |world, liar| {
        let victim = world.client(VICTIM);
        let bytes = content(203, 20_000);
        victim.put("mine", &bytes).await.unwrap();
        let genuine = liar.proof_of(&victim_of("mine", 0)).await.unwrap();
        let own = liar.object("false", &content(204, 20_000), Duration::from_secs(60));
        let echo_quorum = world.config.params.echo_quorum();
        let forger = CertificateForger { genuine, own, echo_quorum };
        for lie in PROOF_LIES {
            assert_ne!(forger.forge(lie), forger.genuine, "{lie:?}");
        }
        for node in nodes([0, 3]) {
            let heard = liar.perform(forger.plan(node)).await;
            assert_eq!(heard.len(), 4 * PROOF_LIES.len() + 1);
            for (number, (_, heard)) in heard.iter().enumerate() {
                let is_read = number % 4 == 2 && number < 4 * PROOF_LIES.len();
                let lie = PROOF_LIES.get(number / 4);
                // A read of what is committed needs no proof; whatever is shown is not looked at.
                let is_served = is_read && !heard.frags.is_empty();
                assert!(is_served || heard.refusal().is_some(), "{lie:?}, door {}", number % 4);
                assert!(heard.votes.is_empty(), "{lie:?}, door {}", number % 4);
            }
        }
        assert_eq!(world.checker.committed(forger.own.upload()), None);
        victim.get("mine", &[bytes]).await.unwrap();
    });
}

/// Rules: DELETE-1, ABORT-1: orders are the owner's. Signed by another key in its name they are
/// refused; for the same name of the liar's own they are about another upload.
#[test]
fn nobody_cancels_or_deletes_what_another_key_owns() {
    scenario([205], async |world, liar| {
        let victim = world.client(VICTIM);
        let bytes = content(205, 20_000);
        victim.put("mine", &bytes).await.unwrap();
        let heard = liar.perform(OrderForger { victim: victim_of("mine", 0) }.plan(liar)).await;
        let codes = refused(&heard);
        let denied = codes.iter().filter(|(_, code)| *code == RefusalCode::NotAllowed);
        assert_eq!(denied.count(), 2 * 5, "CANCEL and DELETE at five nodes: {codes:?}");
        let (_, report) = victim.get("mine", std::slice::from_ref(&bytes)).await.unwrap();
        assert!(report.complete_head);
        let object = victim.client.own(&ObjectName::new("mine").unwrap());
        assert_eq!(victim.client.stat(&object).await.unwrap().held(), 5);
    });
}

/// Rule: ABORT-1 [one liar asking for aborts right after OPEN would kill every write]: orders of a
/// stranger while the owner's dispersal is under way change nothing.
#[test]
fn a_stranger_cannot_end_a_dispersal_under_way() {
    scenario(206..210, async |world, liar| {
        let victim = world.client(VICTIM);
        let bytes = content(206, 200_000);
        let attack = async {
            for _ in 0..5 {
                let victim = victim_of("under way", 0);
                liar.perform(OrderForger { victim }.plan(liar)).await;
            }
        };
        let (report, ()) = tokio::join!(victim.put("under way", &bytes), attack);
        assert_eq!(report.unwrap().placed.len(), 5);
        victim.get("under way", &[bytes]).await.unwrap();
    });
}

/// Rule: HOLD-1, FPCC-1. FILL takes chunks from anybody who may read: only the committed ones.
#[test]
fn a_fill_with_other_chunks_is_refused_and_the_owner_can_still_fill() {
    scenario([210], async |world, liar| {
        let owner = LiarClient::new(&Surroundings::of(world), VICTIM);
        let bytes = content(210, 30_000);
        let object = owner.object("partly placed", &bytes, Duration::from_secs(60));
        owner.perform(dispersal(&world.config, &object, nodes([0, 1, 2, 3]), VOTES)).await;
        let proof = Box::new(liar.proof_of(&victim_of("partly placed", 0)).await.unwrap());

        let other = liar.object("other", &content(211, 30_000), Duration::from_secs(60));
        let upload = object.upload();
        let slot = world.config.slot_of(upload, NodeId(4)).unwrap();
        let mut plays = vec![Play::Say(Box::new(Message::Fill(proof))), Play::Listen(VOTES)];
        plays.extend((0..3).map(|stripe| sim::liar_client::play::chunk(&other, stripe, slot)));
        plays.push(Play::Listen(VOTES));
        let heard = liar.perform(vec![(NodeId(4), plays)]).await;
        assert_eq!(refused(&heard), [(NodeId(4), RefusalCode::Unverifiable)]);

        let filled = world.client(VICTIM).put("partly placed", &bytes).await.unwrap();
        assert_eq!(filled.placed.len(), 5, "{:?}", filled.faults);
    });
}

/// Section 5.3, slow-loris: streams that drip hold their own places only, and end.
#[test]
fn streams_that_drip_end_and_hold_nobody_up() {
    scenario([212], async |world, liar| {
        let object = liar.object("dripped", &content(212, 100_000), Duration::from_secs(60));
        let open = Message::Open { open: Box::new(object.open.clone()), predecessor: None };
        let rest = CLIENT_IDLE_MAX + Duration::from_secs(1);
        let dripper = Dripper { begins: open, object, rest };
        let plan = world.nodes().into_iter().flat_map(|node| dripper.plan(liar, node)).collect();
        let heard = liar.perform(plan).await;
        assert!(heard.iter().all(|(_, heard)| heard.is_closed && heard.votes.is_empty()));
        assert_eq!(voted(&heard, avid_protocol::statement::StatementKind::Echo), []);
        eventually("nothing of it is left", Duration::from_secs(90), async || {
            let left =
                |node: &NodeId| super::setup::fragments_of(world, *node, dripper.object.upload());
            world.nodes().iter().map(left).sum::<usize>() == 0
        })
        .await;
        assert_eq!(world.checker.committed(dripper.object.upload()), None);
        let owner = world.client(LIAR);
        pass(Duration::from_secs(5)).await;
        owner.put("another", &[1; 5000]).await.unwrap();
    });
}

/// Section 5.3, slow-loris: whoever may read may FILL, and one FILL of an upload runs at a time. A
/// stream that drips must not keep the owner from placing its fragment.
#[test]
fn a_fill_that_drips_does_not_keep_the_owner_from_filling() {
    scenario([213], async |world, liar| {
        let owner = LiarClient::new(&Surroundings::of(world), VICTIM);
        let bytes = content(213, 60_000);
        let object = owner.object("partly placed", &bytes, Duration::from_secs(60));
        owner.perform(dispersal(&world.config, &object, nodes([0, 1, 2, 3]), VOTES)).await;
        let proof = Box::new(liar.proof_of(&victim_of("partly placed", 0)).await.unwrap());
        let rest = CLIENT_IDLE_MAX - Duration::from_secs(5);
        let dripper = Dripper { begins: Message::Fill(proof), object, rest };
        let drips = async {
            drop(liar.perform(dripper.plan(liar, NodeId(4))).await);
        };
        let fills = async {
            pass(Duration::from_secs(1)).await;
            world.client(VICTIM).put("partly placed", &bytes).await
        };
        let (filled, ()) = tokio::join!(fills, drips);
        let filled = filled.unwrap();
        assert_eq!(filled.placed.len(), 5, "{:?}", filled.faults);
    });
}
