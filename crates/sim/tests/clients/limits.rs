//! Scenario 11 and invariant I7: floods, giants and nonsense are refused before they cost.

use std::time::Duration;

use avid_protocol::wire::RefusalCode;
use avid_types::NodeId;
use avid_types::limits::{OPEN_UPLOADS_MAX, OPEN_UPLOADS_PER_OWNER_MAX, RESIDENT_UPLOADS_MAX};
use sim::liar_client::adversaries::{OpenLiar, OpenLie, Opener};
use sim::liar_client::play::Heard;
use sim::liar_client::{LiarClient, Surroundings};
use sim::world::{Shape, World, client_key};

use super::setup::{BYSTANDER, nodes, pass, refused, scenario, status};

/// Connections one liar makes at a time, below what a node takes of one client.
const AT_ONCE: u32 = 50;
const LIFETIME: Duration = Duration::from_secs(120);
/// What a node takes of one owner.
const QUOTA: u32 = 64;
const _: () = assert!(QUOTA as usize == OPEN_UPLOADS_PER_OWNER_MAX);

/// Announces dispersals to each of some nodes, names numbered from `first` on, and returns how many
/// node 0 took. What it does not take it refuses as busy.
async fn flood(liar: &LiarClient, at: &[u16], first: u32, opens: u32) -> usize {
    let (mut taken, end) = (0, first + opens);
    for from in (first..end).step_by(usize::try_from(AT_ONCE).unwrap()) {
        let opener = Opener { opens: AT_ONCE.min(end - from), lifetime: LIFETIME };
        for node in nodes(at.iter().copied()) {
            let heard = liar.perform(opener.plan(liar, node, from)).await;
            let codes = refused(&heard);
            assert!(codes.iter().all(|(_, code)| *code == RefusalCode::Busy), "{codes:?}");
            let is_taken = |(node, heard): &&(NodeId, Heard)| node.0 == 0 && heard.opened.is_some();
            taken += heard.iter().filter(is_taken).count();
        }
    }
    taken
}

/// Spec: docs/protocol.md section 6 (11) and 5.3, invariant I7. More announcements than a node
/// keeps machines: it takes the owner's quota, stays within its memory and goes on for others.
#[test]
fn seventeen_thousand_announcements_of_one_owner_take_its_quota_and_nobody_elses() {
    scenario([111], async |world, liar| {
        let files = world.files(NodeId(0)).len();
        let opens = u32::try_from(RESIDENT_UPLOADS_MAX + 600).unwrap();
        assert_eq!(flood(liar, &[0, 1], 0, QUOTA).await, OPEN_UPLOADS_PER_OWNER_MAX);
        assert_eq!(flood(liar, &[0], QUOTA, opens).await, 0);
        let resident = status(world, NodeId(0), "uploads_in_memory").await;
        assert!(resident <= RESIDENT_UPLOADS_MAX as u64, "{resident} resident");
        // Announcements are kept in memory: nothing of them reaches the disk.
        let more = world.files(NodeId(0)).len() - files;
        assert!(more < 200, "{more} files more, of the bystander's objects");

        pass(LIFETIME + Duration::from_secs(10)).await;
        let again = flood(liar, &[0], QUOTA + opens, QUOTA).await;
        assert_eq!(again, OPEN_UPLOADS_PER_OWNER_MAX, "the quota comes back at the expiry");
    });
}

/// Spec: docs/protocol.md section 5.3: reservations are released at their expiry, also those of an
/// upload that f nodes or fewer have ever heard of: nobody else will sign an ABORT of it.
#[test]
fn announcements_that_one_node_heard_give_their_quota_back() {
    scenario([114], async |_, liar| {
        assert_eq!(flood(liar, &[0], 0, QUOTA).await, OPEN_UPLOADS_PER_OWNER_MAX);
        pass(LIFETIME + Duration::from_secs(10)).await;
        assert_eq!(flood(liar, &[0], QUOTA, QUOTA).await, OPEN_UPLOADS_PER_OWNER_MAX);
    });
}

/// Spec: docs/protocol.md section 6 (11), invariant I7: what all owners together may open is
/// bounded as well, reads and writes go on, and everything comes back after the expiry.
#[test]
fn announcements_of_many_owners_stop_at_the_nodes_bound_and_go_at_their_expiry() {
    sim::runtime::run(112, async {
        let world = World::started(112, Shape::default(), false).await;
        let honest = world.client(BYSTANDER);
        honest.put("before", &[5; 9000]).await.unwrap();
        let around = Surroundings::of(&world);
        let owners = OPEN_UPLOADS_MAX / OPEN_UPLOADS_PER_OWNER_MAX + 1;
        let mut taken = 0;
        for owner in 0..owners {
            let liar = LiarClient::new(&around, 100 + u16::try_from(owner).unwrap());
            taken += flood(&liar, &[0, 1], 0, QUOTA).await;
        }
        assert_eq!(taken, OPEN_UPLOADS_MAX);
        honest.get("before", &[vec![5; 9000]]).await.unwrap();

        pass(LIFETIME + Duration::from_secs(10)).await;
        let late = LiarClient::new(&around, 99);
        assert_eq!(flood(&late, &[0], 0, 1).await, 1, "there is room again");
        let report = honest.put("after", &[7; 9000]).await.unwrap();
        assert_eq!(report.placed.len(), 5, "{:?}", report.faults);
        assert_eq!(world.checker.violation(), None);
    });
}

/// Spec: docs/protocol.md section 6 (11) and 5.3: what cannot be right is refused before anything
/// is kept, on disk or in memory.
#[test]
fn announcements_that_lie_are_refused_and_leave_nothing() {
    scenario([113], async |world, liar| {
        let lies = [
            OpenLie::TinyChunks,
            OpenLie::HugeChunks,
            OpenLie::OtherM,
            OpenLie::OtherN,
            OpenLie::OtherSuite,
            OpenLie::HugeObject,
            OpenLie::Past,
            OpenLie::FarFuture,
            OpenLie::BadSignature,
            OpenLie::NoPredecessor,
            OpenLie::OtherOwner(client_key(BYSTANDER).public()),
        ];
        for lie in lies {
            let expected = match lie {
                OpenLie::Past | OpenLie::FarFuture => RefusalCode::Expired,
                OpenLie::NoPredecessor => RefusalCode::Predecessor,
                OpenLie::OtherOwner(_) => RefusalCode::NotAllowed,
                _ => RefusalCode::BadRequest,
            };
            let heard = liar.perform(OpenLiar { lie }.plan(liar, "lie")).await;
            let codes: Vec<RefusalCode> = refused(&heard).iter().map(|(_, code)| *code).collect();
            assert_eq!(codes, [expected; 5], "{lie:?}");
            for node in world.nodes() {
                assert_eq!(status(world, node, "dispersals_open").await, 0, "{lie:?} at {node}");
            }
        }
    });
}
