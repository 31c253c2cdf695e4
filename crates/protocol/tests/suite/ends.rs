//! Writer, reader and clock: the machines that no peer may mislead and no fault may stop.

use std::collections::{BTreeMap, BTreeSet};

use avid_protocol::clock::{ClusterClock, Heartbeat, SignedHeartbeat};
use avid_protocol::reader::{Reader, ReaderInput, ReaderOutput};
use avid_protocol::statement::StatementKind;
use avid_protocol::verify::{VerifiedVote, Verifier};
use avid_protocol::writer::{Writer, WriterInput, WriterOutput};
use avid_types::{NodeId, Params, Slot, StripeIndex, Timestamp};
use proptest::prelude::{
    Just, ProptestConfig, Strategy, any, prop, prop_assert, prop_assert_eq, proptest,
};

use crate::world::{World, promise};

const SHAPES: [(u8, u8); 5] = [(1, 2), (2, 3), (2, 4), (3, 5), (4, 6)];

/// What the nodes and the disk under one slot do to a reader, per stripe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Serves {
    Good,
    Rotten,
    /// Breaks off at this request: everything it owes is lost.
    Breaks,
    /// Slow: the reader is told so, then it serves well.
    Slow,
}

struct Retrieval {
    reader: Reader,
    params: Params,
    stripes: u64,
    /// Owed chunks, in the order of requests.
    owed: Vec<(Slot, u64)>,
    verified: BTreeMap<u64, BTreeSet<Slot>>,
    decoded: BTreeMap<u64, Vec<Slot>>,
    unavailable: Option<usize>,
    gone: BTreeSet<Slot>,
}

impl Retrieval {
    fn new(params: Params, stripes: u64, run: u64, lost: BTreeSet<Slot>) -> Self {
        let end = StripeIndex(stripes);
        Self {
            reader: Reader::new(params, StripeIndex(0), end, run, lost.clone()),
            params,
            stripes,
            owed: Vec::new(),
            verified: BTreeMap::new(),
            decoded: BTreeMap::new(),
            unavailable: None,
            gone: lost,
        }
    }

    fn step(&mut self, input: ReaderInput) {
        for output in self.reader.step(input) {
            assert_eq!(self.unavailable, None, "news after giving up: {output:?}");
            match output {
                ReaderOutput::Request { slot, run, .. } => {
                    assert!(!self.gone.contains(&slot), "slot {slot} is lost");
                    let stripes = run.first.0..run.first.0 + run.count;
                    assert!(run.count > 0 && stripes.end <= self.stripes);
                    for stripe in stripes {
                        assert!(!self.owed.contains(&(slot, stripe)), "asked twice at once");
                        self.owed.push((slot, stripe));
                    }
                }
                ReaderOutput::Decode { stripe, slots } => {
                    let verified = &self.verified[&stripe.0];
                    let distinct: BTreeSet<Slot> = slots.iter().copied().collect();
                    assert!(distinct.is_subset(verified), "decoded what was not verified");
                    assert_eq!((distinct.len(), slots.len()), (self.params.m(), self.params.m()));
                    assert_eq!(self.decoded.insert(stripe.0, slots), None, "decoded twice");
                }
                ReaderOutput::Unavailable { good, .. } => {
                    assert!(good < self.params.m());
                    self.unavailable = Some(good);
                }
            }
        }
    }

    /// Serves owed chunks, chosen by `pick`, until the reader is done or gives up.
    fn run(&mut self, serves: impl Fn(Slot, u64) -> Serves, mut pick: impl FnMut(usize) -> usize) {
        self.step(ReaderInput::Start);
        let mut slow = BTreeSet::new();
        while self.unavailable.is_none() && !self.reader.is_done() {
            assert!(!self.owed.is_empty(), "nothing is owed and nothing is decided");
            let position = pick(self.owed.len());
            let (slot, stripe) = self.owed[position];
            let index = StripeIndex(stripe);
            if serves(slot, stripe) == Serves::Slow && slow.insert((slot, stripe)) {
                self.step(ReaderInput::Late(slot, index));
                continue;
            }
            self.owed.remove(position);
            match serves(slot, stripe) {
                Serves::Good | Serves::Slow => {
                    self.verified.entry(stripe).or_default().insert(slot);
                    self.step(ReaderInput::Verified(slot, index));
                }
                Serves::Rotten => self.step(ReaderInput::Faulty(slot, index)),
                Serves::Breaks => {
                    self.gone.insert(slot);
                    self.owed.retain(|(owing, _)| *owing != slot);
                    self.step(ReaderInput::Lost(slot));
                }
            }
        }
    }

    fn decoded_all(&self) -> bool {
        self.decoded.keys().copied().eq(0..self.stripes)
    }
}

fn subsets(params: Params) -> impl Iterator<Item = BTreeSet<Slot>> {
    (0_u32..1 << params.n())
        .map(move |mask| params.slots().filter(|slot| mask & (1 << slot.index()) != 0).collect())
}

// Rule: READ-1, READ-3. Scenario 18: every subset of bad slots, lost before, during, or rotten.
#[test]
fn any_m_good_slots_are_enough_and_fewer_give_unavailable() {
    for (m, n) in SHAPES {
        let params = Params::with_most_liars(m, n).unwrap();
        for bad in subsets(params) {
            let readable = params.n() - bad.len() >= params.m();
            for how in [Serves::Rotten, Serves::Breaks] {
                let mut run = Retrieval::new(params, 5, 2, BTreeSet::new());
                run.run(|slot, _| if bad.contains(&slot) { how } else { Serves::Good }, |_| 0);
                assert_eq!(run.decoded_all(), readable, "{params:?} {bad:?} {how:?}");
                assert_eq!(run.unavailable.is_none(), readable);
                if how == Serves::Rotten {
                    let blamed: BTreeSet<Slot> = run.reader.faults().keys().copied().collect();
                    assert!(blamed.is_subset(&bad), "an honest slot was blamed");
                }
            }
            let mut run = Retrieval::new(params, 5, 2, bad.clone());
            run.run(|_, _| Serves::Good, |_| 0);
            assert_eq!(run.decoded_all(), readable, "{params:?} {bad:?} lost before");
        }
    }
}

// Rule: READ-3. A slot with one bad chunk is avoided, not given up.
#[test]
fn one_rotten_stripe_in_every_slot_is_still_readable() {
    for (m, n) in SHAPES {
        let params = Params::with_most_liars(m, n).unwrap();
        for run_stripes in [1, 2, 3, 8, 100] {
            let mut run = Retrieval::new(params, 12, run_stripes, BTreeSet::new());
            let rotten = |slot: Slot, stripe| {
                let here = stripe == u64::from(slot.0);
                if here { Serves::Rotten } else { Serves::Good }
            };
            run.run(rotten, |_| 0);
            assert!(run.decoded_all(), "{params:?} in runs of {run_stripes}");
        }
    }
}

#[test]
fn an_empty_retrieval_is_done_at_once() {
    let params = Params::with_most_liars(3, 5).unwrap();
    let mut reader = Reader::new(params, StripeIndex(4), StripeIndex(4), 0, BTreeSet::new());
    assert_eq!(reader.step(ReaderInput::Start), []);
    assert!(reader.is_done());
}

#[test]
fn answers_nobody_asked_for_change_nothing() {
    let params = Params::with_most_liars(3, 5).unwrap();
    let mut reader = Reader::new(params, StripeIndex(0), StripeIndex(2), 2, BTreeSet::new());
    let before = reader.step(ReaderInput::Start).len();
    assert_eq!(before, 3);
    for stripe in [2, 9, u64::MAX].map(StripeIndex) {
        for slot in [Slot(0), Slot(200)] {
            assert_eq!(reader.step(ReaderInput::Verified(slot, stripe)), []);
            assert_eq!(reader.step(ReaderInput::Faulty(slot, stripe)), []);
            assert_eq!(reader.step(ReaderInput::Late(slot, stripe)), []);
        }
    }
}

/// One of twelve stripes at each of six slots.
fn serving() -> impl Strategy<Value = Vec<Serves>> {
    let one = (0_u8..16).prop_map(|draw| match draw {
        0..=9 => Serves::Good,
        10..=12 => Serves::Rotten,
        13 => Serves::Breaks,
        _ => Serves::Slow,
    });
    prop::collection::vec(one, 6 * 12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    // Rule: READ-3. No request is lost: the run ends, and exactly when too few are good it fails.
    #[test]
    fn every_retrieval_ends_done_or_unavailable(
        (m, n) in prop::sample::select(SHAPES.as_slice()),
        run_stripes in 1_u64..6,
        serves in serving(),
        order in prop::collection::vec(any::<prop::sample::Index>(), 64),
    ) {
        let params = Params::with_most_liars(m, n).unwrap();
        let mut run = Retrieval::new(params, 12, run_stripes, BTreeSet::new());
        let serves = |slot: Slot, stripe: u64| {
            serves[slot.index() * 12 + usize::try_from(stripe).unwrap()]
        };
        let mut picks = order.iter().cycle();
        run.run(serves, |owed| picks.next().unwrap().index(owed));
        prop_assert!(run.decoded_all() != run.unavailable.is_some());
        let ever_bad = |slot: &Slot| {
            (0..12).any(|stripe| matches!(serves(*slot, stripe), Serves::Rotten | Serves::Breaks))
        };
        let always_good = params.slots().filter(|slot| !ever_bad(slot)).count();
        if always_good >= params.m() {
            prop_assert!(run.decoded_all(), "{} slots never fail", always_good);
        }
    }
}

fn vote(
    world: &World,
    verifier: &mut Verifier,
    kind: StatementKind,
    root: u8,
    slot: Slot,
) -> VerifiedVote {
    verifier.vote(world.vote(kind, &world.bundle(root), slot.0)).unwrap()
}

fn writer(world: &World) -> Writer {
    let a = world.bundle(0xa);
    Writer::new(world.params(), a.open.open.object.upload(&world.config), promise(&a).commitment)
}

// Rule: WRITE-1. Every subset of failed and of echoed slots, for every small shape.
#[test]
fn out_of_reach_exactly_when_too_many_failed_without_an_echo() {
    for (m, n) in [(2, 4), (3, 5), (4, 6)] {
        let world = World::new(m, n);
        let mut verifier = world.verifier();
        let echoes: Vec<VerifiedVote> = world
            .params()
            .slots()
            .map(|slot| vote(&world, &mut verifier, StatementKind::Echo, 0xa, slot))
            .collect();
        for echoed in subsets(world.params()) {
            for failed in subsets(world.params()) {
                let mut writer = writer(&world);
                let mut news = Vec::new();
                for slot in &failed {
                    news = writer.step(&WriterInput::Failed(*slot));
                }
                for slot in &echoed {
                    let echo = WriterInput::Vote(echoes[slot.index()].clone());
                    news = writer.step(&echo);
                }
                let lost = failed.difference(&echoed).count();
                let params = world.params();
                let (able, needed) = (params.n() - lost, params.echo_quorum());
                let out = WriterOutput::OutOfReach { able, needed };
                let expected = lost > params.silent_during_write();
                let expected = if expected { vec![out] } else { vec![] };
                assert_eq!(news, expected, "{params:?} {echoed:?} {failed:?}");
                // Everybody comes back: in reach again.
                for slot in &failed {
                    news = writer.step(&WriterInput::Recovered(*slot));
                }
                assert!(failed.is_empty() || news.is_empty());
                assert_eq!(writer.placed(), echoed);
            }
        }
    }
}

// Rule: WRITE-1, COMMIT-1, HOLD-1.
#[test]
fn committed_only_on_d_delivered_of_the_right_content_and_once() {
    for (m, n) in [(2, 4), (3, 5), (4, 6), (8, 12)] {
        let world = World::new(m, n);
        let mut verifier = world.verifier();
        let mut writer = writer(&world);
        let slots: Vec<Slot> = world.params().slots().collect();
        let kinds = [
            StatementKind::Echo,
            StatementKind::Ready,
            StatementKind::Abort,
            StatementKind::Deleted,
            StatementKind::HoldNow,
        ];
        for slot in &slots {
            for kind in kinds {
                let vote = vote(&world, &mut verifier, kind, 0xa, *slot);
                assert_eq!(writer.step(&WriterInput::Vote(vote)), [], "{kind}");
            }
            let other = vote(&world, &mut verifier, StatementKind::Delivered, 0xb, *slot);
            assert_eq!(writer.step(&WriterInput::Vote(other)), []);
        }
        assert!(!writer.is_committed());
        let quorum = world.params().deliver_quorum();
        for (count, slot) in slots.iter().enumerate() {
            let delivered = vote(&world, &mut verifier, StatementKind::Delivered, 0xa, *slot);
            // All echoed above, so that commit and placement come together.
            let expected: &[WriterOutput] = if count + 1 == quorum {
                &[WriterOutput::Committed, WriterOutput::Placed]
            } else {
                &[]
            };
            assert_eq!(writer.step(&WriterInput::Vote(delivered.clone())), expected);
            assert_eq!(writer.step(&WriterInput::Vote(delivered)), [], "the same node again");
        }
        assert!(writer.is_committed());
    }
}

// Rule: HOLD-1. Placement counts echoes and holds of the right content, each slot once.
#[test]
fn placed_is_reported_when_the_last_slot_is_filled_late() {
    let world = World::new(3, 5);
    let mut verifier = world.verifier();
    let mut writer = writer(&world);
    let mut step = |writer: &mut Writer, kind, root, slot| {
        let vote = vote(&world, &mut verifier, kind, root, Slot(slot));
        writer.step(&WriterInput::Vote(vote))
    };
    for slot in 0..4 {
        step(&mut writer, StatementKind::Echo, 0xa, slot);
        step(&mut writer, StatementKind::Delivered, 0xa, slot);
    }
    assert_eq!(step(&mut writer, StatementKind::Echo, 0xb, 4), []);
    assert_eq!(writer.other_contents().keys().copied().collect::<Vec<_>>(), [Slot(4)]);
    assert_eq!(writer.missing().collect::<Vec<_>>(), [Slot(4)]);
    assert_eq!(step(&mut writer, StatementKind::Hold, 0xb, 4), []);
    assert_eq!(step(&mut writer, StatementKind::Hold, 0xa, 4), [WriterOutput::Placed]);
    assert_eq!(step(&mut writer, StatementKind::Hold, 0xa, 4), []);
}

// Rule: WRITE-1. What is committed stays so, whoever fails then; a slot beyond n is nobody.
#[test]
fn failures_after_the_commit_and_of_slots_that_do_not_exist_are_no_news() {
    let world = World::new(3, 5);
    let mut verifier = world.verifier();
    let mut writer = writer(&world);
    for slot in 5..=255 {
        assert_eq!(writer.step(&WriterInput::Failed(Slot(slot))), [], "slot {slot}");
    }
    assert_eq!(writer.step(&WriterInput::Failed(Slot(0))), [], "E = 4 of 5 are left");
    let out = WriterOutput::OutOfReach { able: 3, needed: 4 };
    assert_eq!(writer.step(&WriterInput::Failed(Slot(1))), [out]);
    for slot in 2..4 {
        let delivered = vote(&world, &mut verifier, StatementKind::Delivered, 0xa, Slot(slot));
        assert_eq!(writer.step(&WriterInput::Vote(delivered)), [out]);
    }
    let third = vote(&world, &mut verifier, StatementKind::Delivered, 0xa, Slot(4));
    assert_eq!(writer.step(&WriterInput::Vote(third)), [WriterOutput::Committed]);
    for slot in 0..5 {
        assert_eq!(writer.step(&WriterInput::Failed(Slot(slot))), []);
    }
    assert!(writer.is_committed());
    assert_eq!(writer.missing().count(), 5);
}

#[test]
fn votes_about_another_upload_are_nothing_to_a_writer() {
    let world = World::new(2, 4);
    let mut verifier = world.verifier();
    let mut writer = writer(&world);
    let other = world.bundle_of(world.object("other", 0), 0xa);
    for slot in 0..4 {
        for kind in [StatementKind::Echo, StatementKind::Delivered] {
            let vote = verifier.vote(world.vote(kind, &other, slot)).unwrap();
            assert_eq!(writer.step(&WriterInput::Vote(vote)), []);
        }
    }
    assert!(writer.placed().is_empty() && writer.other_contents().is_empty());
}

fn beat(world: &World, node: u16, reading: u64, position: u64) -> SignedHeartbeat {
    let heartbeat =
        Heartbeat { node: NodeId(node), reading: Timestamp(reading), boot: 1, position };
    let signed = heartbeat.sign(&world.config, &world.keys[usize::from(node)]);
    assert!(signed.verifies(&world.config));
    signed
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    // Rule: TIME-1. Scenario 34 for Mode P.
    #[test]
    fn f_liars_push_cluster_time_neither_beyond_honest_clocks_nor_back(
        (m, n) in Just((4_u8, 7_u8)),
        persisted in 0_u64..2000,
        beats in prop::collection::vec((0_u16..7, 0_u64..2000, any::<bool>()), 1..60),
    ) {
        let world = World::new(m, n);
        let liars: Vec<u16> = (0..u16::try_from(world.params().f()).unwrap()).collect();
        let mut clock = ClusterClock::new(&world.config, Timestamp(persisted));
        let mut honest_max = persisted;
        let mut heard = BTreeSet::new();
        for (position, (node, reading, far)) in (1_u64..).zip(beats) {
            let reading = match (liars.contains(&node), far) {
                (true, true) => u64::MAX - reading,
                (true, false) => 0,
                (false, _) => 1000 + reading,
            };
            if !liars.contains(&node) {
                honest_max = honest_max.max(reading);
            }
            heard.insert(node);
            let before = clock.time();
            let advanced = clock.observe(beat(&world, node, reading, position));
            prop_assert!(clock.time() >= before, "backwards");
            prop_assert!(clock.time() <= Timestamp(honest_max), "beyond every honest clock");
            prop_assert_eq!(advanced, (clock.time() > before).then(|| clock.time()));
            if heard.len() <= world.params().f() {
                prop_assert_eq!(clock.time(), Timestamp(persisted), "too few were heard");
            }
        }
    }
}

// Rule: TIME-1. The limit is tight: one liar more moves time at will.
#[test]
fn f_plus_one_liars_push_cluster_time_anywhere() {
    let world = World::new(3, 5);
    let mut clock = ClusterClock::new(&world.config, Timestamp::ZERO);
    for node in 2..5 {
        clock.observe(beat(&world, node, 1000, 1));
    }
    assert_eq!(clock.time(), Timestamp(1000));
    clock.observe(beat(&world, 0, u64::MAX, 1));
    assert_eq!(clock.time(), Timestamp(1000), "f liars");
    clock.observe(beat(&world, 1, u64::MAX, 1));
    assert_eq!(clock.time(), Timestamp(u64::MAX), "f + 1 liars");
}

// Rule: AMNESIA-1. The highest boot and position of a member are never replaced by older ones.
#[test]
fn an_older_heartbeat_never_replaces_a_newer_one() {
    let world = World::new(3, 5);
    let mut clock = ClusterClock::new(&world.config, Timestamp::ZERO);
    let newest = Heartbeat { node: NodeId(1), reading: Timestamp(5), boot: 3, position: 10 };
    clock.observe(newest.sign(&world.config, &world.keys[1]));
    for (boot, position, reading) in [(3, 9, 9), (2, 99, 99), (3, 10, 4)] {
        let older = Heartbeat { node: NodeId(1), reading: Timestamp(reading), boot, position };
        clock.observe(older.sign(&world.config, &world.keys[1]));
        assert_eq!(clock.remembered(NodeId(1)).unwrap().heartbeat, newest);
    }
    assert_eq!(clock.all().count(), 1);
}

// Rule: TIME-1. A heartbeat is its node's word, in its cluster.
#[test]
fn a_forged_heartbeat_does_not_verify() {
    let world = World::new(3, 5);
    let good = beat(&world, 1, 5, 5);
    for change in [
        |h: &mut Heartbeat| h.node = NodeId(2),
        |h: &mut Heartbeat| h.node = NodeId(5),
        |h: &mut Heartbeat| h.reading = Timestamp(6),
        |h: &mut Heartbeat| h.boot = 2,
        |h: &mut Heartbeat| h.position = 6,
    ] {
        let mut forged = good;
        change(&mut forged.heartbeat);
        assert!(!forged.verifies(&world.config), "{forged:?}");
    }
    let elsewhere = World::of(3, 5, avid_types::ClusterId([0xc2; 16]), avid_types::Epoch(0), 1);
    assert!(!good.verifies(&elsewhere.config));
}
