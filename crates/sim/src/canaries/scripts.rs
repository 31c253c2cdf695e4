//! Scripts for bugs that chance meets too rarely: each ends in a violation if its bug is there.
//!
//! All are 3-of-5 with f = 1, E = 4 and D = 3. Without the bug every one of them holds.
//!
//! Not here: when a script is run ([`super::hunt`]).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use avid_client::DisperseOptions;
use avid_protocol::statement::{Statement, StatementKind};
use avid_protocol::wire::{Message, News, kind};
use avid_types::UploadId;

use crate::liar_client::adversaries::VOTES;
use crate::liar_client::play::dispersal;
use crate::liar_client::{LiarClient, Surroundings};
use crate::liar_node::service::Selective;
use crate::liar_node::{Identity, frame_of, shared, turn};
use crate::network::HostId;
use crate::tap::{Frame, Tap, Way};
use crate::world::{Shape, World, host_of};

const WRITER: u16 = 7;
const WRITER_HOST: HostId = HostId(5000 + WRITER);
const CONTENT: [u8; 5000] = [7; 5000];

/// Long enough for votes to be announced again, and for short lives to end.
const LONG: Duration = Duration::from_secs(60);

fn scene(play: impl AsyncFnOnce(World, LiarClient) -> Option<String>) -> Option<String> {
    crate::runtime::run(1, async {
        let world = World::started(1, Shape::default(), false).await;
        let writer = LiarClient::new(&Surroundings::of(&world), WRITER);
        play(world, writer).await
    })
}

/// A node aborts an expired dispersal, restarts, and is offered the same life of the name again.
pub(super) fn abort_restart_ask_again() -> Option<String> {
    scene(async |mut world, writer| {
        let config = Arc::clone(&world.config);
        let node = world.nodes().first().copied()?;
        let first = writer.object("a", &CONTENT, Duration::from_secs(5));
        drop(writer.perform(dispersal(&config, &first, [node], VOTES)).await);
        tokio::time::sleep(LONG).await;
        world.start(node).await.ok()?;
        let again = writer.object("a", &CONTENT, Duration::from_secs(3600));
        drop(writer.perform(dispersal(&config, &again, world.nodes(), VOTES)).await);
        world.checker.violation()
    })
}

/// Four nodes have fragments; the fourth echo, a liar's, reaches one honest node only. Its READY
/// must carry the others along.
pub(super) fn echo_for_one_node_only() -> Option<String> {
    scene(async |world, writer| {
        let [first, second, third, _, liar] = *world.nodes() else { return None };
        let served = Selective::new([host_of(first), host_of(liar), WRITER_HOST]);
        turn(&world, liar, shared(served));
        let object = writer.object("a", &CONTENT, Duration::from_secs(3600));
        let nodes = [first, second, third, liar];
        drop(writer.perform(dispersal(&world.config, &object, nodes, VOTES)).await);
        tokio::time::sleep(LONG).await;
        let committed = world.checker.committed(object.upload()).map_or(0, |(_, nodes)| nodes);
        let honest = world.honest().len();
        let stuck = format!("liveness: committed at {committed} of {honest} honest nodes");
        world.checker.violation().or((committed < honest).then_some(stuck))
    })
}

/// One honest node is ready, and the liar tells it so too and the others that it aborted.
pub(super) fn ready_here_abort_there() -> Option<String> {
    scene(async |world, writer| {
        let [first, second, third, fourth, liar] = *world.nodes() else { return None };
        let object = writer.object("a", &CONTENT, Duration::from_secs(10));
        let me = Identity::of(&world, liar);
        let confidants = [host_of(first), host_of(liar), WRITER_HOST].into_iter().collect();
        turn(&world, liar, shared(Turncoat { me, upload: object.upload(), confidants }));
        for other in [second, third, fourth] {
            world.network.cut(host_of(first), host_of(other));
        }
        let nodes = [first, second, third, liar];
        drop(writer.perform(dispersal(&world.config, &object, nodes, VOTES)).await);
        tokio::time::sleep(LONG).await;
        world.checker.violation()
    })
}

/// A node stands still while an object is written: it does not hold its fragment.
pub(super) fn paused_while_written() -> Option<String> {
    scene(async |mut world, _| {
        let node = world.nodes().first().copied()?;
        world.pause(node, true);
        let placement_timeout = Duration::from_secs(2);
        let options = DisperseOptions { placement_timeout, ..DisperseOptions::default() };
        let report = world.client(1).put_with("a", &CONTENT, &options).await.ok()?;
        world.checker.on_placed(report.upload, &report.placed);
        world.checker.violation()
    })
}

/// Votes like an honest node towards some, and tells all others nothing but that it aborted.
///
/// May: sign with its own key. May not: keep what it heard from the honest.
#[derive(Debug)]
struct Turncoat {
    me: Identity,
    upload: UploadId,
    confidants: BTreeSet<HostId>,
}

impl Tap for Turncoat {
    fn on_frame(&mut self, way: Way, frame: Frame, wire: &mut Vec<Frame>) {
        if self.confidants.contains(&way.to) {
            return wire.push(frame);
        }
        if frame.kind != kind::HEARTBEAT || !way.opened_by_sender {
            return;
        }
        wire.push(frame);
        let Some(slot) = self.me.slot(self.upload) else { return };
        let abort = Statement::about_upload(StatementKind::Abort, self.upload, slot);
        let news = News::Votes { votes: vec![self.me.sign(abort)], echo_cert: None };
        wire.push(frame_of(&Message::News { position: 0, upload: self.upload, news }));
    }
}
