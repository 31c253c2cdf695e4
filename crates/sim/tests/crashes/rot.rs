//! Scenario 30: bytes at rest that change, in every kind of file of one node.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use avid_client::{FaultKind, Silent};
use avid_node::NodeError;
use avid_store::disk::memory::{CrashChoice, MemoryDisk};
use avid_types::{NodeId, Slot};
use sim::world::World;

use crate::operations::{VICTIM, place};
use crate::setup::{Notary, content, files_of, fragments, name, pass, scenario, shape};

const SEED: u64 = 3000;
/// Bits of each file that are tried.
const FLIPS: usize = 12;

async fn votes(world: &World, node: NodeId) -> bool {
    let statuses = world.client(3).client.status().await;
    let status = statuses.into_iter().find(|status| status.node == node).unwrap();
    let json: serde_json::Value = serde_json::from_str(&status.status.unwrap()).unwrap();
    json["voting"] == true
}

/// A cluster with objects, and the victim at rest: what `rot` does to its disk, and what then
/// happens when it starts: whether it votes, or why it halts. The other nodes go on in any case.
fn after(what: &str, rot: impl Fn(&MemoryDisk)) -> Result<bool, NodeError> {
    scenario(SEED, shape(3, 5), what, async |world| {
        let old = content(world, 1);
        place(world, "old", &old, what).await;
        pass(Duration::from_secs(15)).await;
        world.kill(VICTIM, CrashChoice::KeepAll);
        rot(&world.disk(VICTIM));
        let started = world.start(VICTIM).await;
        pass(Duration::from_secs(5)).await;
        let has_halted = world.has_halted(VICTIM).await;
        let result = match started {
            Ok(()) if has_halted => Err(world.stop(VICTIM).await.unwrap_err()),
            Ok(()) => Ok(votes(world, VICTIM).await),
            Err(error) => Err(error),
        };
        let new = content(world, 2);
        world.client(1).put("new", &new).await.unwrap();
        for (text, bytes) in [("old", old), ("new", new)] {
            world.client(1).get(text, &[bytes]).await.unwrap();
        }
        result
    })
}

/// Whether an error says that votes may be forgotten, so that the node needs a new identity.
fn is_amnesia(error: &NodeError) -> bool {
    match error {
        NodeError::Store(error) => error.is_amnesia(),
        NodeError::Record(_) => true,
        _ => false,
    }
}

fn file(disk: &MemoryDisk, begins: &str) -> PathBuf {
    let files = disk.files().into_iter().map(|(path, _)| path);
    let mut found: Vec<_> =
        files.filter(|path| path.to_string_lossy().starts_with(begins)).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// A read names the node of a rotten fragment and succeeds; the next put mends it.
fn rot_of_fragment(what: &str, place_of_rot: impl Fn(usize) -> usize, kinds: &[FaultKind]) {
    scenario(SEED, shape(3, 5), what, async |world| {
        let bytes = content(world, 1);
        place(world, "old", &bytes, what).await;
        let upload = world.client(1).put("old", &bytes).await.unwrap().upload;
        // The reader asks slot 0 first, whatever it holds.
        let node = world.config.node_at(upload, Slot(0)).unwrap();
        let notary = Notary::watch(world, node);
        let path = files_of(world, node, upload).remove(0);
        let change = |bytes: &mut Vec<u8>| {
            let at = place_of_rot(bytes.len());
            bytes[at] ^= 0x10;
        };
        world.disk(node).corrupt(&path, change).unwrap();
        let (read, report) =
            world.client(1).get("old", std::slice::from_ref(&bytes)).await.unwrap();
        assert!(read == bytes, "{what}");
        let named: Vec<_> = report.faults.iter().map(|fault| (fault.node, fault.kind)).collect();
        assert!(
            named.iter().all(|(named, kind)| *named == node && kinds.contains(kind)),
            "{named:?}"
        );
        assert!(!named.is_empty(), "{what}: nobody is named");
        let audit =
            world.client(1).client.verify(&world.client(1).client.own(&name("old")), &Silent).await;
        assert_eq!(audit.unwrap().good(), 4, "{what}: an audit finds it");
        assert!(notary.lock().unwrap().empty.is_empty());
    });
}

/// Spec: docs/protocol.md section 6 (30), READ-3: a rotten chunk has another hash.
#[test]
fn rot_in_a_chunk_is_an_erasure_that_names_its_node() {
    rot_of_fragment("first chunk", |_| 100, &[FaultKind::Hash]);
    rot_of_fragment("last chunk", |_| 4096 + 100, &[FaultKind::Hash]);
}

/// Spec: docs/protocol.md section 6 (30): cross-checksums, tree and footer are checked. The manifest
/// in the file is not tried: no reader uses it, the commit proof has it signed.
#[test]
fn rot_behind_the_chunks_is_an_erasure_that_names_its_node() {
    // Chunks of 4096 and 259 bytes; the footer is the last 128 bytes.
    let kinds = [FaultKind::Damaged, FaultKind::Missing, FaultKind::Path];
    rot_of_fragment("cross-checksum", |_| 4096 + 259 + 10, &kinds);
    rot_of_fragment("second cross-checksum", |_| 4096 + 259 + 32 * 5 + 16 * 3 + 10, &kinds);
    rot_of_fragment("tree", |_| 4096 + 259 + 2 * (32 * 5 + 16 * 3) + 5, &kinds);
    rot_of_fragment("footer", |len| len - 20, &kinds);
}

/// Spec: docs/protocol.md section 6 (30), AMNESIA-1: a node with a damaged journal halts and says
/// so. Rot of the newest batch looks like a batch that was never synced: it is cut off whole, and
/// only peers that kept a later heartbeat of the node know better. Zeros between batches are
/// nobody's promise and not tried.
#[test]
fn rot_in_the_journal_before_its_newest_batch_halts_its_node() {
    let (mut halted, is_newest) = (0, Cell::new(false));
    for number in 0..FLIPS {
        let flip = |disk: &MemoryDisk| {
            let path = file(disk, "journal/");
            let written = disk.content(&path).unwrap();
            let newest = written.windows(8).rposition(|bytes| bytes == b"AVIDBAT\0").unwrap();
            let used: Vec<_> = (0..written.len()).filter(|at| written[*at] != 0).collect();
            let at = used[(used.len() - 1) * number / (FLIPS - 1)];
            is_newest.set(at >= newest);
            disk.flip_bit(&path, at as u64 * 8 + 3).unwrap();
        };
        match after(&format!("journal, {number}"), flip) {
            Ok(_) => assert!(is_newest.get(), "{number}: goes on with a damaged journal"),
            Err(error) => {
                assert!(is_amnesia(&error), "{number}: {error:?}");
                halted += 1;
            }
        }
    }
    assert!(halted >= FLIPS / 2, "only {halted} of {FLIPS} were noticed at the start");
}

/// Spec: docs/protocol.md section 6 (30), AMNESIA-1.
#[test]
fn a_journal_that_is_missing_or_cut_ends_the_votes_of_its_node() {
    let missing = |disk: &MemoryDisk| remove(disk, &file(disk, "journal/"));
    let error = after("journal missing", missing).unwrap_err();
    assert!(is_amnesia(&error), "{error:?}");
    let cut = |disk: &MemoryDisk| {
        disk.corrupt(&file(disk, "journal/"), |bytes| bytes.truncate(bytes.len() / 3)).unwrap();
    };
    match after("journal cut", cut) {
        Ok(votes) => assert!(!votes, "votes with a journal that was cut"),
        Err(error) => assert!(is_amnesia(&error), "{error:?}"),
    }
}

/// Spec: docs/protocol.md section 6 (30): the index is checked where it is read. A bit that no
/// page in use holds changes nothing.
#[test]
fn rot_in_the_index_halts_its_node_or_touches_nothing() {
    let mut halted = 0;
    for number in 0..FLIPS {
        let flip = |disk: &MemoryDisk| {
            let path = file(disk, "index.redb");
            let bits = disk.content(&path).unwrap().len() as u64 * 8;
            disk.flip_bit(&path, bits * number as u64 / FLIPS as u64 + 17).unwrap();
        };
        if let Err(error) = after(&format!("index, {number}"), flip) {
            assert!(is_amnesia(&error), "{number}: {error:?}");
            halted += 1;
        }
    }
    assert!(halted < FLIPS, "most of the index is not in use");
    let wiped = |disk: &MemoryDisk| {
        disk.corrupt(&file(disk, "index.redb"), |bytes| bytes.fill(0)).unwrap();
    };
    let error = after("index wiped", wiped).unwrap_err();
    assert!(is_amnesia(&error), "{error:?}");
    let missing = |disk: &MemoryDisk| remove(disk, Path::new("index.redb"));
    let error = after("index missing", missing).unwrap_err();
    assert!(is_amnesia(&error), "{error:?}");
}

/// Spec: docs/protocol.md section 6 (30), AMNESIA-1.
#[test]
fn rot_in_the_identity_of_a_store_or_its_loss_halts_its_node() {
    for bit in [3, 16 * 8 + 1, 33 * 8] {
        let flip = |disk: &MemoryDisk| disk.flip_bit(Path::new("store"), bit).unwrap();
        let error = after(&format!("identity, bit {bit}"), flip).unwrap_err();
        assert!(is_amnesia(&error), "{bit}: {error:?}");
    }
    let missing = |disk: &MemoryDisk| remove(disk, Path::new("store"));
    let error = after("identity missing", missing).unwrap_err();
    assert!(is_amnesia(&error), "{error:?}");
}

/// The fragments beside a store that was made anew are not swept: its records know nothing of
/// them. Fills replace them. Rules: AMNESIA-1, HOLD-1.
#[test]
fn fragments_beside_a_store_made_anew_stay_until_they_are_filled() {
    scenario(SEED, shape(3, 5), "store made anew", async |world| {
        let old = content(world, 1);
        place(world, "old", &old, "before").await;
        pass(Duration::from_secs(15)).await;
        world.kill(VICTIM, CrashChoice::KeepAll);
        world.checker.set_dishonest(VICTIM);
        let disk = world.disk(VICTIM);
        for lost in [PathBuf::from("store"), PathBuf::from("index.redb"), file(&disk, "journal/")] {
            remove(&disk, &lost);
        }
        world.start(VICTIM).await.unwrap();
        assert_eq!(fragments(world, VICTIM).len(), 1, "nothing says that it is not needed");
        pass(Duration::from_secs(15)).await;
        assert!(!votes(world, VICTIM).await, "a store made anew votes");
        place(world, "old", &old, "filled").await;
    });
}

fn remove(disk: &MemoryDisk, path: &Path) {
    avid_store::Disk::remove(disk, path).unwrap();
}
