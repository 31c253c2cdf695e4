//! Scenarios 8 and 16: sizes that lie, and honest sizes at every edge.

use avid_protocol::statement::StatementKind;
use avid_protocol::wire::RefusalCode;
use sim::liar_client::adversaries::{SIZE_LIES, SizeLiar};
use sim::world::{Shape, World};

use super::setup::{content, fragments_of, refused, scenario, voted};

/// Spec: docs/protocol.md section 6 (8). Rules: STRIPE-1, COMMITMENT-1, ECHO-1.
#[test]
fn every_lie_about_sizes_counts_and_order_is_refused_by_every_node() {
    scenario([81], async |world, liar| {
        for lie in SIZE_LIES {
            let liar_about = SizeLiar::of(liar, &format!("{lie:?}"), lie);
            let heard = liar.perform(liar_about.plan(liar)).await;
            let codes: Vec<RefusalCode> = refused(&heard).iter().map(|(_, code)| *code).collect();
            assert_eq!(codes.len(), 5, "{lie:?}: {heard:#?}");
            let known = [RefusalCode::BadRequest, RefusalCode::Unverifiable];
            assert!(codes.iter().all(|code| known.contains(code)), "{lie:?}: {codes:?}");
            assert_eq!(voted(&heard, StatementKind::Echo), [], "{lie:?}");
            assert_eq!(world.checker.committed(liar_about.object.upload()), None, "{lie:?}");
        }
    });
}

/// The same stream without a lie is taken: what was refused above was the lie.
#[test]
fn the_stream_that_the_lies_begin_from_is_taken_by_every_node() {
    scenario([82], async |world, liar| {
        use sim::liar_client::adversaries::{SizeLie, VOTES};
        let honest = SizeLiar::of(liar, "no lie", SizeLie::SwappedStripes).object;
        let plan = sim::liar_client::play::dispersal(&world.config, &honest, world.nodes(), VOTES);
        let heard = liar.perform(plan).await;
        assert_eq!(voted(&heard, StatementKind::Hold).len(), 5);
        assert!(fragments_of(world, world.nodes()[0], honest.upload()) > 0);
    });
}

/// Spec: docs/protocol.md section 6 (16) and 1.8 (7): sizes at every edge come back exactly, with
/// their trailing zero bytes, in every profile. (5 GiB is a test of processes.)
#[test]
fn sizes_at_every_edge_come_back_exactly() {
    for (m, n) in [(3, 5), (2, 4), (4, 6), (4, 7), (8, 12), (10, 16)] {
        sim::runtime::run(16, async {
            let shape = Shape { m, n, chunk_bytes: 4096 };
            let world = World::started(16, shape, false).await;
            let client = world.client(1);
            let stripe = usize::from(m) * 4096;
            for len in [0, 1, 2, usize::from(m) - 1, 4096, stripe - 1, stripe, stripe + 1] {
                round_trip(&client, &format!("random {len}"), content(16, len)).await;
                round_trip(&client, &format!("zero {len}"), vec![0; len]).await;
            }
            for (tail, zeros) in [("one", 1), ("a chunk", 4096), ("stripes", 2 * stripe + 5)] {
                let mut bytes = content(17, stripe + 9);
                bytes.resize(bytes.len() + zeros, 0);
                round_trip(&client, &format!("{tail} of zeros"), bytes).await;
            }
            assert_eq!(world.checker.violation(), None);
        });
    }
}

async fn round_trip(client: &sim::world::SimClient, name: &str, bytes: Vec<u8>) {
    let report = client.put(name, &bytes).await.unwrap();
    assert_eq!(report.placed.len(), report.n, "{name}: {:?}", report.faults);
    let (read, _) = client.get(name, std::slice::from_ref(&bytes)).await.unwrap();
    assert_eq!(read, bytes, "{name}");
}
