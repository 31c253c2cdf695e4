//! Scenario 9 and races: clients that stop half-way, and clients that race themselves.

use std::time::Duration;

use avid_protocol::statement::StatementKind;
use avid_types::NodeId;
use sim::liar_client::LiarClient;
use sim::liar_client::adversaries::{Quitter, Racer};
use sim::liar_client::forged::Forged;
use sim::world::World;

use super::setup::{
    LIAR, content, eventually, fragment_bytes, fragments_of, nodes, pass, scenario, status, voted,
};

const LIFETIME: Duration = Duration::from_secs(30);

fn interrupted(liar: &LiarClient, world: &World) -> Forged {
    liar.object("interrupted", &content(world.seed, 60_000), LIFETIME)
}

/// After the expiry nothing of an upload is left at any node, and its name can be written again.
async fn assert_freed(world: &World, object: &Forged) {
    pass(LIFETIME).await;
    eventually("every node frees the space", LIFETIME, async || {
        world.nodes().iter().all(|node| fragments_of(world, *node, object.upload()) == 0)
    })
    .await;
    assert_eq!(world.checker.committed(object.upload()), None);
    let owner = world.client(LIAR);
    let bytes = content(world.seed + 1, 5000);
    owner.put("interrupted", &bytes).await.unwrap();
    owner.get("interrupted", &[bytes]).await.unwrap();
}

/// Spec: docs/protocol.md section 6 (9), Mode P: the client stops amid its stripes.
#[test]
fn streams_that_stop_amid_the_stripes_leave_nothing_behind_after_their_expiry() {
    scenario([91, 92], async |world, liar| {
        let object = interrupted(liar, world);
        let begun = world.nodes().into_iter().zip([1, 2, 3, 4, 0]).collect();
        let quitter = Quitter { object, sealed: Vec::new(), begun };
        liar.perform(quitter.plan(liar)).await;
        eventually("the stripes are on disk", LIFETIME, async || {
            let upload = quitter.object.upload();
            (0..4).all(|node| fragments_of(world, NodeId(node), upload) > 0)
        })
        .await;
        assert_freed(world, &quitter.object).await;
    });
}

/// Spec: docs/protocol.md section 6 (9), Mode P: the client stops after SEAL to three nodes, one
/// fewer than the echo quorum; another one has half of its stripes. Rules: ABORT-1, ABORT-2.
#[test]
fn a_seal_at_three_nodes_ends_aborted_and_frees_its_space_after_the_expiry() {
    scenario([93, 94], async |world, liar| {
        let object = interrupted(liar, world);
        let (sealed, begun) = (nodes([0, 2, 4]), vec![(NodeId(1), 2)]);
        let quitter = Quitter { object, sealed, begun };
        let heard = liar.perform(quitter.plan(liar)).await;
        assert_eq!(voted(&heard, StatementKind::Echo).len(), 3);
        assert_eq!(voted(&heard, StatementKind::Ready), []);
        assert_freed(world, &quitter.object).await;
    });
}

/// Spec: docs/protocol.md section 6 (9): with one SEAL more the object outlives its client.
#[test]
fn a_seal_at_four_nodes_commits_without_its_client() {
    scenario([95], async |world, liar| {
        let object = interrupted(liar, world);
        let upload = object.upload();
        let quitter = Quitter { object, sealed: nodes([0, 1, 2, 4]), begun: Vec::new() };
        liar.perform(quitter.plan(liar)).await;
        eventually("all nodes deliver", LIFETIME, async || {
            world.checker.committed(upload).is_some_and(|(_, nodes)| nodes == 5)
        })
        .await;
        pass(LIFETIME * 2).await;
        let owner = world.client(LIAR);
        owner.get("interrupted", &[quitter.object.content]).await.unwrap();
    });
}

/// Rule: ABORT-2, section 6 (9) and (11): uploads that end leave their record and nothing else.
#[test]
fn a_hundred_interrupted_uploads_give_their_space_back() {
    scenario([96], async |world, liar| {
        let before = fragment_bytes(world, NodeId(0));
        for round in 0..25 {
            let mut quitters = Vec::new();
            for number in 0..4 {
                let name = format!("interrupted {round} {number}");
                let object = liar.object(&name, &content(round, 30_000), LIFETIME);
                quitters.push(Quitter { object, sealed: nodes([0, 1, 2]), begun: vec![] });
            }
            let plan = quitters.iter().flat_map(|quitter| quitter.plan(liar)).collect();
            liar.perform(plan).await;
            let open = status(world, NodeId(0), "uploads_undecided").await;
            assert!(open <= 64 + 4, "{open} uploads are undecided");
        }
        pass(LIFETIME * 2).await;
        eventually("all uploads are decided", LIFETIME, async || {
            status(world, NodeId(0), "uploads_undecided").await <= 1
        })
        .await;
        // The bystander's objects stay; the liar's hundred uploads of 10 KB a node do not.
        let honest = world.nodes().len() * 60_000;
        let after = fragment_bytes(world, NodeId(0));
        assert!(after < before + u64::try_from(honest).unwrap(), "{before} before, {after} after");
    });
}

/// A client that runs two writers of one name with the same content: it commits, once.
#[test]
fn two_writers_of_one_content_commit_it_once() {
    scenario(97..100, async |world, liar| {
        let object = interrupted(liar, world);
        let upload = object.upload();
        let racer = Racer { objects: vec![object.clone(), object.clone(), object] };
        liar.perform(racer.plan(liar)).await;
        eventually("it commits", LIFETIME, async || {
            world.checker.committed(upload).is_some_and(|(_, nodes)| nodes == 5)
        })
        .await;
        let owner = world.client(LIAR);
        owner.get("interrupted", &[racer.objects[0].content.clone()]).await.unwrap();
    });
}

/// A client that races itself with different contents: at most one commits, all readers agree,
/// and if none does the name is free again after the expiry. Invariants I1 and I3.
#[test]
fn writers_of_different_contents_end_in_one_content_or_none() {
    scenario(900..912, async |world, liar| {
        let object = |number| liar.object("interrupted", &content(number, 20_000), LIFETIME);
        let racer = Racer { objects: (0..2 + world.seed % 3).map(object).collect() };
        let upload = racer.objects[0].upload();
        liar.perform(racer.plan(liar)).await;
        pass(LIFETIME).await;
        let contents: Vec<Vec<u8>> = racer.objects.iter().map(|o| o.content.clone()).collect();
        let owner = world.client(LIAR);
        if world.checker.committed(upload).is_some() {
            owner.get("interrupted", &contents).await.unwrap();
            world.client(2).get_of(&owner.client.own(&name()), &contents).await.unwrap();
        } else {
            assert_freed(world, &racer.objects[0]).await;
        }
    });
}

fn name() -> avid_types::ObjectName {
    avid_types::ObjectName::new("interrupted").unwrap()
}
