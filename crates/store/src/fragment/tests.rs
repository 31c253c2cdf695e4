//! Claims about fragments, each by its test's name.

use proptest::prelude::*;

use super::format::{FOOTER_BYTES, Footer};
use super::*;
use crate::disk::RealDisk;
use crate::disk::memory::{CrashChoice, Fault, MemoryDisk};
use crate::number::to_u64;

const KEY: FragmentKey = FragmentKey { upload: UploadId([0x5a; 32]), slot: Slot(3) };
const SHAPE: FragmentShape = FragmentShape { chunk_bytes: 64, fpcc_bytes: 48 };

fn node_hash(left: &Digest, right: &Digest) -> Digest {
    Digest::of(&[&[1], left.as_bytes(), right.as_bytes()])
}

fn store(disk: &MemoryDisk) -> FragmentStore {
    FragmentStore::open(Arc::new(disk.clone()), Path::new("f"), node_hash).unwrap().0
}

fn leaf(stripe: u64) -> Digest {
    Digest::of(&[&stripe.to_le_bytes()])
}

fn fpcc(stripe: u64) -> Vec<u8> {
    leaf(stripe).0.repeat(2)[..48].to_vec()
}

fn chunk(stripe: u64, len: usize) -> Vec<u8> {
    leaf(stripe + 1).0.repeat(len.div_ceil(32))[..len].to_vec()
}

fn fill(writer: &mut FragmentWriter, stripes: u64, last: usize) {
    for stripe in writer.stripes()..stripes {
        let len = if stripe + 1 == stripes { last } else { 64 };
        writer.append(&chunk(stripe, len), &fpcc(stripe), leaf(stripe)).unwrap();
    }
}

fn write(store: &FragmentStore, stripes: u64, last: usize) -> FragmentInfo {
    let mut writer = store.create(KEY, SHAPE).unwrap();
    fill(&mut writer, stripes, last);
    writer.finish(b"manifest").unwrap()
}

fn path_on_disk() -> PathBuf {
    Path::new("f/5a").join(KEY.to_string())
}

/// The tree by its definition: pairs are hashed, an odd last node is promoted.
fn root_of(stripes: u64) -> Option<Digest> {
    let mut level: Vec<Digest> = (0..stripes).map(leaf).collect();
    while level.len() > 1 {
        let pairs = level.chunks(2);
        level = pairs.map(|p| p.get(1).map_or(p[0], |right| node_hash(&p[0], right))).collect();
    }
    level.first().copied()
}

/// Climbs from a leaf to the root as a reader of the path would.
fn climb(stripe: u64, stripes: u64, path: &[Digest]) -> Digest {
    let (mut index, mut nodes, mut node) = (stripe, stripes, leaf(stripe));
    let mut siblings = path.iter();
    while nodes > 1 {
        if index ^ 1 < nodes {
            let sibling = siblings.next().unwrap();
            let (left, right) = if index % 2 == 0 { (&node, sibling) } else { (sibling, &node) };
            node = node_hash(left, right);
        }
        index /= 2;
        nodes = nodes.div_ceil(2);
    }
    assert!(siblings.next().is_none());
    node
}

fn check(reader: &FragmentReader, stripes: u64, last: usize) {
    assert_eq!(reader.info().stripes, stripes);
    assert_eq!(reader.manifest().unwrap(), b"manifest");
    assert_eq!(reader.root().unwrap(), root_of(stripes));
    reader.check_sidecar().unwrap();
    for stripe in 0..stripes {
        let len = if stripe + 1 == stripes { last } else { 64 };
        check_stripe(reader, stripe, len);
        let path = reader.read_path(stripe).unwrap();
        assert_eq!(climb(stripe, stripes, &path), root_of(stripes).unwrap(), "stripe {stripe}");
    }
    assert_eq!(reader.chunk_len(stripes), 0);
    assert!(matches!(reader.read_path(stripes), Err(FragmentError::NoStripe { .. })));
    assert!(matches!(reader.read_chunk(stripes, &mut []), Err(FragmentError::NoStripe { .. })));
}

fn check_stripe(reader: &FragmentReader, stripe: u64, len: usize) {
    assert_eq!(reader.chunk_len(stripe), len);
    let mut bytes = vec![0; len];
    reader.read_chunk(stripe, &mut bytes).unwrap();
    assert_eq!(bytes, chunk(stripe, len));
    let mut bytes = [0; 48];
    reader.read_fpcc(stripe, &mut bytes).unwrap();
    assert_eq!(bytes[..], fpcc(stripe));
    assert_eq!(reader.read_leaf(stripe).unwrap(), leaf(stripe));
}

#[test]
fn every_shape_of_tree_round_trips_with_its_paths() {
    for stripes in (0..40).chain([127, 128, 129, 257, 1000]) {
        let disk = MemoryDisk::new();
        let store = store(&disk);
        let last = if stripes == 0 { 0 } else { 1 + usize::try_from(stripes % 64).unwrap() };
        let info = write(&store, stripes, last);
        let reader = store.open_fragment(KEY).unwrap();
        assert_eq!(&info, reader.info());
        check(&reader, stripes, last);
    }
}

/// The stored tree and its paths are those of `avid_coding`, which readers verify with.
#[test]
fn stored_trees_are_the_trees_readers_verify() {
    use avid_coding::merkle::{MerkleBuilder, MerklePath, TreeKind, node, path_positions};
    let hash: NodeHash = |left, right| node(TreeKind::Stripes, left, right);
    for stripes in [1, 2, 3, 6, 7, 129, 300] {
        let disk = Arc::new(MemoryDisk::new());
        let (store, _) = FragmentStore::open(disk, Path::new("f"), hash).unwrap();
        write(&store, stripes, 64);
        let reader = store.open_fragment(KEY).unwrap();
        let mut builder = MerkleBuilder::new(TreeKind::Stripes);
        (0..stripes).for_each(|stripe| builder.push(leaf(stripe)));
        assert_eq!(reader.root().unwrap(), Some(builder.root()));
        for stripe in 0..stripes {
            let steps = path_positions(stripes, stripe).unwrap();
            let siblings = reader.read_path(stripe).unwrap();
            assert_eq!(steps.len(), siblings.len());
            let mut path = MerklePath::default();
            for (step, sibling) in steps.iter().zip(siblings) {
                path.push(step.side, sibling);
            }
            assert_eq!(path.root_of(TreeKind::Stripes, leaf(stripe)), builder.root());
        }
    }
}

#[test]
fn a_fragment_whose_sidecar_spills_is_the_same() {
    let disk = MemoryDisk::new();
    let store = store(&disk);
    let stripes = 10_007;
    let mut writer = store.create(KEY, SHAPE).unwrap();
    fill(&mut writer, stripes, 9);
    assert_eq!(disk.list(Path::new("f/tmp")).unwrap().len(), 3, "both side logs must have spilled");
    writer.finish(b"manifest").unwrap();
    assert!(disk.list(Path::new("f/tmp")).unwrap().is_empty());
    let reader = store.open_fragment(KEY).unwrap();
    assert_eq!(reader.root().unwrap(), root_of(stripes));
    for stripe in [0, 1, 127, 128, 5000, 10_005, 10_006] {
        let path = reader.read_path(stripe).unwrap();
        assert_eq!(climb(stripe, stripes, &path), root_of(stripes).unwrap());
        let mut bytes = [0; 48];
        reader.read_fpcc(stripe, &mut bytes).unwrap();
        assert_eq!(bytes[..], fpcc(stripe));
    }
    reader.check_sidecar().unwrap();
}

#[test]
fn a_real_disk_gives_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(RealDisk::open(dir.path()).unwrap());
    let (store, removed) = FragmentStore::open(disk, Path::new("f"), node_hash).unwrap();
    assert_eq!(removed, 0);
    write(&store, 300, 5);
    check(&store.open_fragment(KEY).unwrap(), 300, 5);
    assert_eq!(store.list().unwrap(), [KEY]);
}

#[test]
fn an_unfinished_fragment_is_invisible_and_leaves_nothing() {
    let disk = MemoryDisk::new();
    let store = store(&disk);
    let mut writer = store.create(KEY, SHAPE).unwrap();
    fill(&mut writer, 10_000, 64);
    assert!(matches!(store.open_fragment(KEY), Err(FragmentError::NotFound(KEY))));
    assert!(store.list().unwrap().is_empty());
    drop(writer);
    assert!(disk.list(Path::new("f/tmp")).unwrap().is_empty());
}

#[test]
fn leftovers_are_removed_and_counted_at_open() {
    let disk = MemoryDisk::new();
    let first = store(&disk);
    write(&first, 2, 3);
    for name in ["f/tmp/a", "f/tmp/b.leaves"] {
        disk.open(Path::new(name), OpenMode::CreateNew).unwrap();
    }
    let (again, removed) =
        FragmentStore::open(Arc::new(disk.clone()), Path::new("f"), node_hash).unwrap();
    assert_eq!(removed, 2);
    assert!(disk.list(Path::new("f/tmp")).unwrap().is_empty());
    check(&again.open_fragment(KEY).unwrap(), 2, 3);
}

#[test]
fn two_writers_of_one_fragment_do_not_meet_and_the_last_wins() {
    let disk = MemoryDisk::new();
    let store = store(&disk);
    let mut first = store.create(KEY, SHAPE).unwrap();
    let mut second = store.create(KEY, SHAPE).unwrap();
    fill(&mut first, 5, 1);
    fill(&mut second, 7, 2);
    first.finish(b"manifest").unwrap();
    let old = store.open_fragment(KEY).unwrap();
    second.finish(b"manifest").unwrap();
    check(&old, 5, 1);
    check(&store.open_fragment(KEY).unwrap(), 7, 2);
}

#[test]
fn truncation_forgets_stripes_and_their_leaves() {
    let disk = MemoryDisk::new();
    let store = store(&disk);
    for (first, keep, then) in [(9, 4, 6), (9, 0, 0), (9, 9, 12), (9, 20, 9), (9000, 10, 5000)] {
        let mut writer = store.create(KEY, SHAPE).unwrap();
        fill(&mut writer, first, 64);
        writer.truncate(keep);
        assert_eq!(writer.stripes(), keep.min(first));
        let mut leaves = Vec::new();
        writer.visit_leaves(|leaf| leaves.push(leaf)).unwrap();
        assert_eq!(leaves, (0..keep.min(first)).map(leaf).collect::<Vec<_>>());
        fill(&mut writer, then, 64);
        writer.finish(b"manifest").unwrap();
        check(&store.open_fragment(KEY).unwrap(), then, 64);
    }
}

#[test]
fn a_short_chunk_is_the_last_until_it_is_truncated() {
    let disk = MemoryDisk::new();
    let store = store(&disk);
    let mut writer = store.create(KEY, SHAPE).unwrap();
    fill(&mut writer, 3, 5);
    let refused = writer.append(&[0; 64], &fpcc(3), leaf(3));
    assert!(matches!(refused, Err(FragmentError::ChunkLength { stripe: 3, len: 64, max: 0 })));
    writer.truncate(2);
    fill(&mut writer, 4, 64);
    writer.finish(b"manifest").unwrap();
    check(&store.open_fragment(KEY).unwrap(), 4, 64);
}

#[test]
fn wrong_sizes_are_refused_and_count_nothing() {
    let disk = MemoryDisk::new();
    let store = store(&disk);
    for shape in [
        FragmentShape { chunk_bytes: 0, ..SHAPE },
        FragmentShape { chunk_bytes: CHUNK_BYTES_MAX + 1, ..SHAPE },
        FragmentShape { fpcc_bytes: 0, ..SHAPE },
        FragmentShape { fpcc_bytes: u32::MAX, ..SHAPE },
    ] {
        assert!(matches!(store.create(KEY, shape), Err(FragmentError::Shape(_))));
    }
    let mut writer = store.create(KEY, SHAPE).unwrap();
    assert!(writer.append(&[], &fpcc(0), leaf(0)).is_err());
    assert!(writer.append(&[0; 65], &fpcc(0), leaf(0)).is_err());
    assert!(writer.append(&[0; 64], &[0; 47], leaf(0)).is_err());
    assert_eq!(writer.stripes(), 0);
    let long = vec![0; format::MANIFEST_BYTES_MAX + 1];
    assert!(matches!(writer.finish(&long), Err(FragmentError::Length { .. })));
    assert!(store.list().unwrap().is_empty());
}

#[test]
fn a_full_disk_refuses_a_stripe_that_can_be_appended_again() {
    let disk = MemoryDisk::new();
    let store = store(&disk);
    let mut writer = store.create(KEY, SHAPE).unwrap();
    fill(&mut writer, 2, 64);
    disk.set_free_bytes(0);
    // The block begun by the first stripes was taken already.
    let refused = loop {
        let stripe = writer.stripes();
        match writer.append(&chunk(stripe, 64), &fpcc(stripe), leaf(stripe)) {
            Ok(()) => assert!(stripe < 64, "a block of 4 KiB holds 64 chunks"),
            Err(error) => break error,
        }
    };
    assert!(matches!(&refused, FragmentError::Io { source, .. }
        if source.kind() == io::ErrorKind::StorageFull));
    disk.set_free_bytes(1 << 20);
    fill(&mut writer, 70, 1);
    writer.finish(b"manifest").unwrap();
    check(&store.open_fragment(KEY).unwrap(), 70, 1);
}

#[test]
fn an_error_anywhere_in_finish_shows_nothing_and_leaves_nothing() {
    for at in 0..6 {
        let disk = MemoryDisk::new();
        let store = store(&disk);
        let mut writer = store.create(KEY, SHAPE).unwrap();
        fill(&mut writer, 5, 64);
        disk.fail_at(disk.operations() + at, Fault::Error(io::ErrorKind::StorageFull));
        let finished = writer.finish(b"manifest");
        let listed = store.list().unwrap();
        match finished {
            Ok(_) => assert_eq!(listed, [KEY]),
            // Only the last change, the sync of the directory, comes after the rename.
            Err(FragmentError::Io { action: "sync", path, .. }) if path == Path::new("f/5a") => {}
            Err(_) => assert!(listed.is_empty(), "change {at}"),
        }
        assert!(disk.list(Path::new("f/tmp")).unwrap().is_empty(), "change {at}");
    }
}

#[test]
fn removal_is_idempotent_and_open_readers_go_on() {
    let disk = MemoryDisk::new();
    let store = store(&disk);
    write(&store, 3, 64);
    let reader = store.open_fragment(KEY).unwrap();
    assert!(store.remove(KEY).unwrap());
    assert!(!store.remove(KEY).unwrap());
    assert!(matches!(store.open_fragment(KEY), Err(FragmentError::NotFound(_))));
    check(&reader, 3, 64);
}

/// Fragments in three shards, two of them in one.
const MANY: [FragmentKey; 4] = [
    FragmentKey { upload: UploadId([0; 32]), slot: Slot(0) },
    FragmentKey { upload: UploadId([0x5a; 32]), slot: Slot(3) },
    FragmentKey { upload: UploadId([0x5a; 32]), slot: Slot(4) },
    FragmentKey { upload: UploadId([0xff; 32]), slot: Slot(1) },
];

fn write_many(store: &FragmentStore) {
    for key in MANY {
        let mut writer = store.create(key, SHAPE).unwrap();
        fill(&mut writer, 1, 1);
        writer.finish(b"manifest").unwrap();
    }
}

#[test]
fn keys_are_walked_in_order_shard_by_shard() {
    let disk = MemoryDisk::new();
    let store = store(&disk);
    assert!(store.keys().next().is_none());
    write_many(&store);
    let keys: Result<Vec<FragmentKey>, FragmentError> = store.keys().collect();
    assert_eq!(keys.unwrap(), MANY);
    let mut keys = store.keys();
    assert_eq!(keys.next().unwrap().unwrap(), MANY[0]);
    store.remove(MANY[3]).unwrap();
    assert_eq!(keys.map(Result::unwrap).collect::<Vec<_>>(), MANY[1..3]);
}

#[test]
fn a_sweep_removes_durably_what_nobody_claims() {
    let disk = MemoryDisk::new();
    let store = store(&disk);
    write_many(&store);
    let before = disk.operations();
    let removed = store.sweep(|key| Ok::<_, FragmentError>(key.slot == Slot(4)));
    assert_eq!(removed.unwrap(), 3);
    assert_eq!(disk.operations() - before, 3 + 3, "one sync per directory that lost a file");
    disk.crash(CrashChoice::DropAll);
    assert_eq!(self::store(&disk).list().unwrap(), [MANY[2]]);
}

#[test]
fn a_sweep_ends_when_it_is_not_known_what_to_keep() {
    let disk = MemoryDisk::new();
    let store = store(&disk);
    write_many(&store);
    let failed = store
        .sweep(|key| if key == MANY[0] { Ok(false) } else { Err(FragmentError::NotFound(key)) });
    assert!(matches!(failed, Err(FragmentError::NotFound(key)) if key == MANY[1]));
    assert_eq!(store.list().unwrap(), MANY[1..]);
}

#[test]
fn names_are_hashes_and_foreign_ones_are_left_out_of_lists() {
    assert_eq!(KEY.to_string(), format!("{}.3", "5a".repeat(32)));
    for name in ["", ".", "5a.3", "x", &format!("{}.03", "5a".repeat(32))] {
        assert_eq!(FragmentKey::parse(name), None, "{name}");
    }
    let disk = MemoryDisk::new();
    let store = store(&disk);
    write(&store, 1, 1);
    let misplaced = FragmentKey { upload: UploadId([1; 32]), slot: Slot(0) };
    for name in ["foreign".to_owned(), misplaced.to_string()] {
        disk.open(&Path::new("f/5a").join(name), OpenMode::CreateNew).unwrap();
    }
    assert_eq!(store.list_shard(0x5a).unwrap(), [KEY]);
}

#[test]
fn a_fragment_under_another_name_is_damaged() {
    let disk = MemoryDisk::new();
    let store = store(&disk);
    write(&store, 1, 1);
    let other = FragmentKey { slot: Slot(4), ..KEY };
    disk.rename(&path_on_disk(), &Path::new("f/5a").join(other.to_string())).unwrap();
    assert!(matches!(store.open_fragment(other), Err(FragmentError::Damaged { .. })));
}

#[test]
fn the_footer_is_as_drawn() {
    let footer = Footer {
        key: KEY,
        shape: SHAPE,
        stripes: 3,
        last_chunk_bytes: 5,
        manifest_bytes: 8,
        sidecar_crc: 0x0102_0304,
        manifest_crc: 0x0506_0708,
    };
    let bytes = footer.encode().unwrap();
    let expected = [
        "4156494446524700",
        "01000000",
        "03000000",
        &"5a".repeat(32),
        "0300000000000000",
        "40000000",
        "05000000",
        "30000000",
        "08000000",
        // 2 * 64 + 5, then 3 * 48, then (3 + 2 + 1) * 32, then 8
        "8500000000000000",
        "1501000000000000",
        "d501000000000000",
        "dd01000000000000",
        "04030201",
        "08070605",
        &"00".repeat(12),
    ]
    .concat();
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(text[..248], expected);
    assert_eq!(bytes.len(), FOOTER_BYTES);
}

proptest! {
    /// Whatever happens to a file: the metadata reads as written, or an error says so.
    #[test]
    fn corruption_gives_an_error_or_the_truth(
        flips in prop::collection::vec((0_usize..2000, 1_u8..), 1..4),
        cut in prop::option::of(0_usize..2000),
        stripes in 0_u64..12,
    ) {
        let disk = MemoryDisk::new();
        let store = store(&disk);
        write(&store, stripes, if stripes == 0 { 0 } else { 17 });
        disk.corrupt(&path_on_disk(), |bytes| {
            let len = bytes.len();
            if let Some(cut) = cut {
                bytes.truncate(cut);
            }
            for (at, flip) in &flips {
                // From the end, so that the footer is hit often.
                if let Some(byte) = bytes.get_mut(len.wrapping_sub(*at)) {
                    *byte ^= flip;
                }
            }
        }).unwrap();
        let Ok(reader) = store.open_fragment(KEY) else { return Ok(()) };
        prop_assert_eq!(reader.info().stripes, stripes);
        prop_assert_eq!(reader.info().file_bytes, reader.file().len().unwrap());
        if let Ok(manifest) = reader.manifest() {
            prop_assert_eq!(manifest, b"manifest");
        }
        if reader.check_sidecar().is_ok() {
            prop_assert_eq!(reader.root().unwrap(), root_of(stripes));
        }
        for stripe in 0..stripes {
            reader.read_path(stripe).unwrap();
            reader.read_chunk(stripe, &mut vec![0; reader.chunk_len(stripe)]).unwrap();
        }
    }

    /// A footer of any numbers, with a right checksum, decodes only if the numbers agree with the file.
    #[test]
    fn a_forged_footer_cannot_point_outside_the_file(
        stripes in any::<u64>(),
        last_chunk_bytes in any::<u32>(),
        chunk_bytes in any::<u32>(),
        fpcc_bytes in any::<u32>(),
        manifest_bytes in any::<u32>(),
        file_bytes in any::<u64>(),
    ) {
        let shape = FragmentShape { chunk_bytes, fpcc_bytes };
        let (sidecar_crc, manifest_crc) = (0, 0);
        let footer = Footer {
            key: KEY, shape, stripes, last_chunk_bytes, manifest_bytes, sidecar_crc, manifest_crc,
        };
        let Some(bytes) = footer.encode() else { return Ok(()) };
        let bytes = <[u8; FOOTER_BYTES]>::try_from(bytes).unwrap();
        if let Ok((_, regions)) = Footer::decode(&bytes, file_bytes) {
            prop_assert_eq!(regions.footer + to_u64(FOOTER_BYTES), file_bytes);
        }
    }
}
