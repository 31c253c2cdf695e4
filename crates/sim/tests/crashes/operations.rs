//! The operations whose every change of stored state is a crash point, and how each must end.

use std::cell::Cell;
use std::task::Poll;
use std::time::Duration;

use avid_client::RetrieveErrorKind;
use avid_store::disk::memory::CrashChoice;
use avid_store::{Disk, OpenMode};
use avid_types::NodeId;
use sim::liar_client::adversaries::Quitter;
use sim::liar_client::forged::Forged;
use sim::liar_client::{LiarClient, Surroundings};
use sim::world::World;

use crate::setup::{Cut, RECOVERY, content, files_of, fragments, name, pass, with_power_cuts};

/// The node whose disk is cut off.
pub(crate) const VICTIM: NodeId = NodeId(1);
/// Client that leaves its dispersal unfinished.
const OWNER: u16 = 7;
/// How long that dispersal may take before nodes may abort it.
const LIFETIME: Duration = Duration::from_secs(20);
/// How long nodes still write after an operation.
const AFTERMATH: Duration = Duration::from_secs(3);

/// What is under way when the disk stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// A client writes an object.
    Disperse,
    /// A client fills a node that was away.
    Fill,
    /// The owner deletes an object.
    Delete,
    /// The owner cancels an unfinished dispersal.
    Cancel,
    /// Cluster time passes the expiry of an unfinished dispersal.
    Expiry,
    /// A node starts after a power cut, with records to replay and leftovers to remove.
    Recovery,
    /// A node is told to stop.
    Shutdown,
}

impl Operation {
    /// Asserts that what the user was told to be done is done, before anything is repeated.
    pub(crate) async fn check_told(self, world: &World, prepared: &Prepared, what: &str) {
        let stranger = world.client(2);
        let object = world.client(1).client.own(&name("new"));
        let read = stranger.get_of(&object, std::slice::from_ref(&prepared.new)).await;
        match self {
            Self::Disperse | Self::Fill => {
                let (bytes, _) = read.unwrap_or_else(|error| panic!("{what}: {error}"));
                assert!(bytes == prepared.new, "{what}");
            }
            Self::Delete => {
                let error = read.map(drop).unwrap_err();
                assert!(matches!(error.kind, RetrieveErrorKind::Deleted { .. }), "{what}: {error}");
            }
            Self::Cancel | Self::Expiry | Self::Recovery | Self::Shutdown => {}
        }
    }

    /// Brings the world to where the operation begins.
    pub(crate) async fn prepare(self, world: &mut World) -> Prepared {
        let client = world.client(1);
        let old = content(world, 1);
        client.put("old", &old).await.unwrap();
        let mut prepared = Prepared { old, new: content(world, 2), unfinished: None };
        match self {
            Self::Disperse | Self::Shutdown => {}
            Self::Fill => {
                world.kill(VICTIM, CrashChoice::KeepAll);
                let report = client.put("new", &prepared.new).await.unwrap();
                assert_eq!(report.placed.len(), world.config.params.n() - 1);
                world.start(VICTIM).await.unwrap();
                assert!(world.all_vote(RECOVERY).await, "all vote");
            }
            Self::Delete => place(world, "new", &prepared.new, "before").await,
            Self::Cancel | Self::Expiry => prepared.unfinished = Some(begin(world).await),
            Self::Recovery => {
                client.put("new", &prepared.new).await.unwrap();
                client.put("gone", &prepared.new).await.unwrap();
                client.client.remove(&name("gone")).await.unwrap();
                prepared.unfinished = Some(begin(world).await);
                world.kill(VICTIM, CrashChoice::DropAll);
                leave_orphan(world);
            }
        }
        prepared
    }

    /// Does it; meanwhile disks may stop. An error is what the user is told.
    pub(crate) async fn run(self, world: &mut World, cut: Cut) -> Result<(), String> {
        let bytes = content(world, 2);
        let (client, owner, named) = (world.client(1), world.client(OWNER), name("new"));
        let work = async {
            match self {
                Self::Disperse | Self::Fill => {
                    client.put("new", &bytes).await.map(drop).map_err(|error| error.to_string())
                }
                Self::Delete => {
                    let removed = client.client.remove(&named).await;
                    removed.map(drop).map_err(|error| error.to_string())
                }
                Self::Cancel => {
                    let ended = owner.client.cancel(&named).await;
                    ended.map(drop).map_err(|error| error.to_string())
                }
                Self::Expiry => {
                    pass(LIFETIME * 2).await;
                    Ok(())
                }
                Self::Recovery | Self::Shutdown => Ok(()),
            }
        };
        let result = with_power_cuts(world, cut, work).await;
        match self {
            Self::Recovery | Self::Shutdown => self.run_process(world, cut).await,
            Self::Disperse | Self::Fill | Self::Delete | Self::Cancel | Self::Expiry => {}
        }
        with_power_cuts(world, cut, pass(AFTERMATH)).await;
        result
    }

    /// Starts or stops the victim's process; its disk may stop meanwhile.
    async fn run_process(self, world: &mut World, cut: Cut) {
        let (disk, is_cut) = (world.disk(VICTIM), Cell::new(false));
        // Asked whenever the process makes a step, so before anybody else touches the disk.
        let power = std::future::poll_fn(|_| {
            if disk.is_down() {
                disk.crash(cut.choice());
                is_cut.set(true);
            }
            Poll::<()>::Pending
        });
        let process = async {
            match self {
                Self::Recovery => drop(world.start(VICTIM).await),
                _ => drop(world.stop(VICTIM).await),
            }
        };
        tokio::select! {
            biased;
            () = power => {}
            () = process => {}
        }
        if is_cut.get() {
            world.kill(VICTIM, cut.choice());
        }
    }

    /// With all nodes back: the operation is repeated as its user would, and everything is as
    /// documented.
    pub(crate) async fn check(self, world: &mut World, prepared: &Prepared, what: &str) {
        let client = world.client(1);
        match self {
            Self::Disperse | Self::Fill | Self::Recovery => {
                place(world, "new", &prepared.new, what).await;
            }
            Self::Delete => self.check_deleted(world, prepared, what).await,
            Self::Cancel => {
                // What the first call left undone the second one does; it may find nothing to do.
                drop(world.client(OWNER).client.cancel(&name("new")).await);
            }
            Self::Expiry | Self::Shutdown => {}
        }
        if let Some(unfinished) = &prepared.unfinished {
            check_freed(world, unfinished, what).await;
        }
        place(world, "old", &prepared.old, what).await;
        for node in world.nodes() {
            let kept = fragments(world, node).len();
            assert_eq!(kept, self.objects(), "{what}: fragments at node {node}");
        }
        self.read_with_few(world, prepared, &client, what).await;
    }

    /// Committed objects in the end.
    fn objects(self) -> usize {
        match self {
            Self::Delete | Self::Shutdown => 1,
            Self::Disperse | Self::Fill | Self::Cancel | Self::Expiry => 2,
            Self::Recovery => 3,
        }
    }

    async fn check_deleted(self, world: &World, prepared: &Prepared, what: &str) {
        let client = world.client(1);
        drop(client.client.remove(&name("new")).await);
        let report = client.client.remove(&name("new")).await.unwrap();
        assert!(report.already_deleted, "{what}");
        assert_eq!(report.acknowledged, report.n, "{what}: the victim keeps the tombstone");
        let error = client.get("new", std::slice::from_ref(&prepared.new)).await.unwrap_err();
        assert!(matches!(error.kind, RetrieveErrorKind::Deleted { .. }), "{what}: {error:?}");
    }

    /// What is fully placed is readable from the victim and any m - 1 others.
    async fn read_with_few(
        self,
        world: &mut World,
        prepared: &Prepared,
        client: &sim::world::SimClient,
        what: &str,
    ) {
        let params = world.config.params;
        let others: Vec<_> = world.nodes().into_iter().filter(|node| *node != VICTIM).collect();
        for node in others.iter().take(params.n() - params.m()) {
            world.kill(*node, CrashChoice::DropAll);
        }
        let (old, _) = client.get("old", std::slice::from_ref(&prepared.old)).await.unwrap();
        assert!(old == prepared.old, "{what}");
        if matches!(self, Self::Disperse | Self::Fill | Self::Recovery) {
            let (new, _) = client.get("new", std::slice::from_ref(&prepared.new)).await.unwrap();
            assert!(new == prepared.new, "{what}");
        }
    }
}

/// What was there before.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// Content of the object "old", placed at all nodes.
    pub(crate) old: Vec<u8>,
    /// Content of the object "new".
    pub(crate) new: Vec<u8>,
    /// A dispersal that its owner left.
    pub(crate) unfinished: Option<Forged>,
}

/// Writes an object, or confirms and fills it, until every node holds its fragment.
pub(crate) async fn place(world: &World, text: &str, bytes: &[u8], what: &str) {
    let report = world.client(1).put(text, bytes).await;
    let report = report.unwrap_or_else(|error| panic!("{what}: {text}: {error}"));
    assert_eq!(report.placed.len(), report.n, "{what}: {text}: {:?}", report.faults);
}

/// Leaves a dispersal sealed at the victim and one other node, and begun at a third.
async fn begin(world: &World) -> Forged {
    let owner = LiarClient::new(&Surroundings::of(world), OWNER);
    let object = owner.object("new", &content(world, 3), LIFETIME);
    let quitter = Quitter { object, sealed: vec![VICTIM, NodeId(2)], begun: vec![(NodeId(0), 1)] };
    owner.perform(quitter.plan(&owner)).await;
    assert!(!files_of(world, VICTIM, quitter.object.upload()).is_empty());
    quitter.object
}

/// Nothing is left of a dispersal that was ended, and its name can be written again.
async fn check_freed(world: &World, unfinished: &Forged, what: &str) {
    let (upload, deadline) = (unfinished.upload(), tokio::time::Instant::now() + LIFETIME * 3);
    let is_left = || world.nodes().iter().any(|node| !files_of(world, *node, upload).is_empty());
    while is_left() {
        assert!(tokio::time::Instant::now() < deadline, "{what}: the space is never freed");
        pass(Duration::from_millis(500)).await;
    }
    assert_eq!(world.checker.committed(upload), None, "{what}");
    let bytes = content(world, 4);
    let report = world.client(OWNER).put("new", &bytes).await;
    let report = report.unwrap_or_else(|error| panic!("{what}: the name is not free: {error}"));
    assert_eq!(report.placed.len(), report.n, "{what}: {:?}", report.faults);
}

/// A whole fragment of which no record tells, as a crash before the record leaves it.
fn leave_orphan(world: &World) {
    let disk = world.disk(VICTIM);
    let template = fragments(world, VICTIM).into_iter().next().unwrap();
    let bytes = disk.content(&template).unwrap();
    let file_name = template.file_name().unwrap().to_string_lossy().into_owned();
    let orphan =
        template.with_file_name(format!("{}{}", &file_name[..2], swapped(&file_name[2..])));
    let file = disk.open(&orphan, OpenMode::CreateNew).unwrap();
    file.write_at(0, &bytes).unwrap();
    file.sync().unwrap();
    disk.sync_dir(orphan.parent().unwrap()).unwrap();
}

/// The same hexadecimal digits in another order, the slot behind them as it was.
fn swapped(text: &str) -> String {
    let (digits, slot) = text.split_once('.').unwrap();
    let reversed: String = digits.chars().rev().collect();
    format!("{reversed}.{slot}")
}
