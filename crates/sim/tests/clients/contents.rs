//! Scenarios 1 to 5 and 15: what a cross-checksum says and what the chunks are.

use std::time::Duration;

use avid_client::{DisperseError, FaultKind};
use avid_coding::fpcc::Fpcc;
use avid_coding::merkle::{MerklePath, TreeKind, paths_of};
use avid_coding::stripe_coder::StripeCoder;
use avid_protocol::statement::StatementKind;
use avid_protocol::wire::RefusalCode;
use avid_types::{NodeId, Slot, StripeIndex};
use sim::liar_client::LiarClient;
use sim::liar_client::adversaries::{Equivocator, VOTES, WrongSlot};
use sim::liar_client::forged::Forged;
use sim::liar_client::play::dispersal;
use sim::liar_node::chunks::{Frag, Poison, PoisonBook, Poisoner};
use sim::liar_node::votes::{self, Audience};
use sim::liar_node::{Identity, shared, turn};
use sim::world::{World, host_of};

use super::setup::{
    by_slot, content, eventually, fragments_of, nodes, pass, refused, scenario, voted,
};

const LIFETIME: Duration = Duration::from_secs(30);

/// Spec: docs/protocol.md section 6 (1). Rules: TALLY-1, ABORT-1, ABORT-2.
#[test]
fn two_contents_at_three_and_two_nodes_deliver_neither_and_free_their_space_at_the_expiry() {
    scenario([11, 12], async |world, liar| {
        let lie = Equivocator::of(liar, "two faced", &nodes([0, 1, 2]), &nodes([3, 4]));
        let upload = lie.a.upload();
        assert_eq!(upload, lie.b.upload());
        let heard = liar.perform(lie.plan(liar)).await;
        assert_eq!(voted(&heard, StatementKind::Echo).len(), 5);
        assert_eq!(voted(&heard, StatementKind::Ready), []);
        assert_eq!(world.checker.committed(upload), None);
        assert!(world.nodes().iter().all(|node| fragments_of(world, *node, upload) > 0));

        pass(LIFETIME).await;
        eventually("every node frees the space", LIFETIME, async || {
            world.nodes().iter().all(|node| fragments_of(world, *node, upload) == 0)
        })
        .await;
        assert_eq!(world.checker.committed(upload), None);
        // The name is not burnt: its owner writes it in its next life.
        let owner = world.client(super::setup::LIAR);
        let bytes = content(world.seed, 9000);
        assert_eq!(owner.put("two faced", &bytes).await.unwrap().generation.0, 1);
        owner.get("two faced", &[bytes]).await.unwrap();
    });
}

/// Spec: docs/protocol.md section 6 (1), with node 4 lying: it signs ECHO of both contents.
#[test]
fn a_node_that_echoes_both_contents_lets_only_the_one_with_the_quorum_deliver() {
    scenario([13], async |world, liar| {
        let lie = Equivocator::of(liar, "two faced", &nodes([0, 1, 2]), &nodes([3, 4]));
        let (upload, a) = (lie.a.upload(), lie.a.manifest.commitment());
        let (me, hear_a) = (Identity::of(world, NodeId(4)), nodes([0, 1, 2]).into_iter());
        let two_faced = votes::Equivocator::new(me, hear_a.map(host_of), Audience::Split, Some(a));
        turn(world, NodeId(4), shared(two_faced));

        let heard = liar.perform(lie.plan(liar)).await;
        assert_eq!(voted(&heard, StatementKind::Echo).len(), 5);
        eventually("A delivers at the four honest nodes", LIFETIME, async || {
            world.checker.committed(upload).is_some_and(|(_, nodes)| nodes >= 4)
        })
        .await;
        assert_eq!(world.checker.committed(upload).unwrap().0, a);
        let owner = world.client(super::setup::LIAR);
        owner.get("two faced", &[lie.a.content]).await.unwrap();
    });
}

/// Spec: docs/protocol.md section 6 (2). Rules: COMMIT-1, HOLD-1.
#[test]
fn a_content_at_four_nodes_delivers_at_all_five_and_replaces_the_other_one_at_the_fifth() {
    scenario([21, 22], async |world, liar| {
        let lie = Equivocator::of(liar, "two faced", &nodes([0, 1, 2, 3]), &nodes([4]));
        let (upload, a) = (lie.a.upload(), lie.a.manifest.commitment());
        liar.perform(lie.plan(liar)).await;
        eventually("A delivers everywhere", LIFETIME, async || {
            world.checker.committed(upload) == Some((a, 5))
        })
        .await;
        let owner = world.client(super::setup::LIAR);
        owner.get("two faced", std::slice::from_ref(&lie.a.content)).await.unwrap();
        // Late fill: the node that had echoed B takes its fragment of A and contradicts nothing.
        let filled = owner.put("two faced", &lie.a.content).await.unwrap();
        assert!(filled.already_stored);
        assert_eq!(filled.placed.len(), 5, "{:?}", filled.faults);
        let refused = owner.put("two faced", &lie.b.content).await.unwrap_err();
        assert!(matches!(refused, DisperseError::OtherContent { .. }), "{refused}");
    });
}

/// Spec: docs/protocol.md section 6 (3). Rule: FPCC-1.
#[test]
fn a_poisoned_slot_is_refused_by_its_node_and_any_three_of_the_others_read_the_same() {
    scenario(31..36, async |world, liar| {
        let slot = Slot(u8::try_from(world.seed - 31).unwrap());
        let mut object = liar.object("poisoned", &content(world.seed, 30_000), LIFETIME);
        object.poison(1, slot);
        let slots = by_slot(world, object.upload());
        let heard = liar.perform(dispersal(&world.config, &object, world.nodes(), VOTES)).await;
        assert_eq!(refused(&heard), [(slots[slot.index()], RefusalCode::Unverifiable)]);
        assert_eq!(voted(&heard, StatementKind::Hold).len(), 4);
        eventually("the refusing node delivers as well", LIFETIME, async || {
            world.checker.committed(object.upload()).is_some_and(|(_, nodes)| nodes == 5)
        })
        .await;
        read_with_each_good_node_away(world, &object, slots[slot.index()]).await;
    });
}

/// What the refusing node had taken before it refused goes at the expiry.
async fn read_with_each_good_node_away(world: &mut World, object: &Forged, refusing: NodeId) {
    let owner = world.client(super::setup::LIAR);
    for away in world.nodes() {
        world.pause(away, true);
        let read = owner.get("poisoned", std::slice::from_ref(&object.content)).await;
        let (_, report) = read.unwrap();
        let suspects: Vec<_> = report.faults.iter().map(|fault| fault.kind).collect();
        assert!(!suspects.contains(&FaultKind::Fingerprint), "{suspects:?} without {away}");
        world.pause(away, false);
        pass(Duration::from_secs(40)).await;
    }
    assert_eq!(fragments_of(world, refusing, object.upload()), 0);
}

/// Spec: docs/protocol.md section 6 (3): the fingerprint is that of the false chunk, so that its
/// node is content, and every parity node sees no codeword.
#[test]
fn a_false_data_chunk_with_its_own_fingerprint_is_refused_by_every_parity_node() {
    scenario([36], async |world, liar| {
        let mut object = liar.object("poisoned", &content(36, 30_000), LIFETIME);
        object.poison_with_its_fingerprint(2, Slot(1));
        let slots = by_slot(world, object.upload());
        let heard = liar.perform(dispersal(&world.config, &object, world.nodes(), VOTES)).await;
        let mut refusing: Vec<NodeId> = refused(&heard).iter().map(|(node, _)| *node).collect();
        let mut parity = slots[3..].to_vec();
        refusing.sort();
        parity.sort();
        assert_eq!(refusing, parity);
        assert_eq!(voted(&heard, StatementKind::Echo).len(), 3);
        assert_eq!(voted(&heard, StatementKind::Ready), []);
        assert_eq!(world.checker.committed(object.upload()), None);
    });
}

/// Spec: docs/protocol.md section 6 (4) and 1.2: the poisoned slot belongs to an accomplice that
/// echoes it and later serves it. One honest node, of a data slot, is left out: the commit needs
/// the accomplice's echo, and the reader asks it for its chunks.
///
/// The poisoned chunk has the digest that the cross-checksum names: a reader that checked hashes
/// only would take it and return other bytes.
#[test]
fn a_reader_rejects_by_its_fingerprint_what_an_accomplice_of_the_writer_serves() {
    for poisoned in [Slot(0), Slot(2), Slot(3)] {
        scenario([40 + u64::from(poisoned.0)], async |world, liar| {
            let mut object = liar.object("colluding", &content(world.seed, 30_000), LIFETIME);
            for stripe in 0..object.stripes.len() {
                object.poison(stripe, poisoned);
            }
            let slots = by_slot(world, object.upload());
            let accomplice = slots[poisoned.index()];
            let left_out = slots[1];
            assert_hash_alone_would_be_fooled(world, &object, poisoned, left_out);
            collude(world, &object, poisoned, accomplice);

            let honest = world.nodes().into_iter().filter(|n| ![accomplice, left_out].contains(n));
            let heard = liar.perform(dispersal(&world.config, &object, honest, VOTES)).await;
            assert_eq!(voted(&heard, StatementKind::Hold).len(), 3, "the liar's echo counted");
            let upload = object.upload();
            eventually("the node that was left out delivers", LIFETIME, async || {
                world.checker.committed(upload).is_some_and(|(_, nodes)| nodes >= 4)
            })
            .await;
            let reader = world.client(super::setup::BYSTANDER);
            let of = avid_client::ObjectRef {
                owner: liar.key().public(),
                name: object.manifest.object.name.clone(),
            };
            let (_, report) = reader.get_of(&of, &[object.content.clone()]).await.unwrap();
            let by_phi = report.faults.iter().filter(|f| f.kind == FaultKind::Fingerprint);
            let accused: Vec<NodeId> = by_phi.map(|fault| fault.node).collect();
            assert_eq!(accused, [accomplice], "{:?}", report.faults);
        });
    }
}

/// Makes the node of the poisoned slot an accomplice.
fn collude(world: &World, object: &Forged, poisoned: Slot, accomplice: NodeId) {
    let paths = paths_of(TreeKind::Stripes, &object.leaves());
    let frag = |(index, path): (usize, &MerklePath)| {
        let stripe = StripeIndex(u64::try_from(index).unwrap());
        let forged = &object.stripes[index];
        let chunk = forged.chunks[poisoned.index()].clone();
        let mut proof = avid_types::Encoder::new();
        proof.bytes(&forged.fpcc);
        path.encode(&mut proof);
        (stripe, Frag { stripe, proof: proof.into_vec(), chunk })
    };
    let frags = paths.iter().enumerate().map(frag).collect();
    let (commitment, expiry) = (object.manifest.commitment(), object.open.open.expiry);
    let poison = Poison { commitment, expiry, frags };
    let book = shared(PoisonBook::from([(object.upload(), poison)]));
    let poisoner = Poisoner::new(Identity::of(world, accomplice), book);
    world.network.tap_all(shared(poisoner.ear()));
    turn(world, accomplice, shared(poisoner));
}

/// The attack is real: the digest is right, and decoding with the chunk gives other bytes.
fn assert_hash_alone_would_be_fooled(world: &World, object: &Forged, poisoned: Slot, out: NodeId) {
    let (params, suite) = (world.config.params, world.config.suite);
    let coder = StripeCoder::new(params, suite);
    let stripe = &object.stripes[0];
    let fpcc = Fpcc::from_bytes(params, suite, &stripe.fpcc).unwrap();
    let chunk = &stripe.chunks[poisoned.index()];
    assert_eq!(fpcc.cc(poisoned), Some(avid_coding::chunk_digest(chunk)));
    let lost = world.config.slot_of(object.upload(), out).unwrap();
    let with_it = [poisoned].into_iter().chain(params.slots().filter(|slot| *slot != poisoned));
    let slots: Vec<Slot> = with_it.filter(|slot| *slot != lost).take(params.m()).collect();
    let chunks: Vec<(Slot, &[u8])> =
        slots.iter().map(|slot| (*slot, stripe.chunks[slot.index()].as_slice())).collect();
    let mut decoded = vec![0; chunk.len()];
    coder.rebuild(&chunks, &mut [(lost, decoded.as_mut_slice())]).unwrap();
    assert_ne!(decoded, stripe.chunks[lost.index()]);
}

/// Spec: docs/protocol.md section 6 (5). Rule: FPCC-1.
#[test]
fn one_altered_fingerprint_byte_is_refused_by_its_slot_and_all_parity_and_nothing_commits() {
    scenario(51..54, async |world, liar| {
        let data = Slot(u8::try_from(world.seed - 51).unwrap());
        let mut object = liar.object("altered", &content(world.seed, 30_000), LIFETIME);
        object.alter_fingerprint(0, data, usize::try_from(world.seed * 5).unwrap());
        let slots = by_slot(world, object.upload());
        let heard = liar.perform(dispersal(&world.config, &object, world.nodes(), VOTES)).await;
        let mut expected = vec![slots[data.index()], slots[3], slots[4]];
        let mut refusing: Vec<NodeId> = refused(&heard).iter().map(|(node, _)| *node).collect();
        expected.sort();
        refusing.sort();
        assert_eq!(refusing, expected);
        assert!(refused(&heard).iter().all(|(_, code)| *code == RefusalCode::Unverifiable));
        let params = world.config.params;
        assert!(refusing.len() > params.n() - params.echo_quorum());
        assert_never_commits(world, &object, liar).await;
    });
}

/// Spec: docs/protocol.md section 6 (15). Rule: FPCC-1: the slot is bound through cc[slot].
#[test]
fn a_chunk_that_is_good_for_another_slot_is_refused_everywhere() {
    scenario([151], async |world, liar| {
        let lie = WrongSlot { object: liar.object("rotated", &content(151, 30_000), LIFETIME) };
        let heard = liar.perform(lie.plan(liar)).await;
        assert_eq!(refused(&heard).len(), 5);
        assert!(refused(&heard).iter().all(|(_, code)| *code == RefusalCode::Unverifiable));
        assert_never_commits(world, &lie.object, liar).await;
    });
}

/// Nothing commits, and after the expiry nothing of it is left.
async fn assert_never_commits(world: &World, object: &Forged, liar: &LiarClient) {
    let upload = object.upload();
    assert_eq!(world.checker.committed(upload), None);
    pass(object.open.open.expiry.since(liar.now())).await;
    eventually("every node frees the space", LIFETIME, async || {
        world.nodes().iter().all(|node| fragments_of(world, *node, upload) == 0)
    })
    .await;
    assert_eq!(world.checker.committed(upload), None);
}
