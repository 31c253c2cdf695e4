//! One node's machine, input by input, where the scenarios of clusters see only the outcome.

use avid_protocol::fault::FaultKind;
use avid_protocol::object::{OrderKind, SealBundle};
use avid_protocol::record::{Phase, UploadRecord};
use avid_protocol::server::{Input, Output, Refusal, ServerUpload, Step};
use avid_protocol::statement::{Statement, StatementKind};
use avid_protocol::verify::Verifier;
use avid_types::limits::OBJECT_LIFETIME_MAX;
use avid_types::{Slot, Timestamp};

use crate::world::{EXPIRY, NOW, World, promise};

/// The node at one slot of "photo", generation 0.
struct Node {
    world: World,
    a: SealBundle,
    slot: u8,
    machine: ServerUpload,
    verifier: Verifier,
}

impl Node {
    fn at(slot: u8) -> Self {
        Self::with(slot, UploadRecord::default())
    }

    fn with(slot: u8, record: UploadRecord) -> Self {
        let world = World::new(3, 5);
        let a = world.bundle(0xa);
        let upload = a.open.open.object.upload(&world.config);
        let node = world.config.node_at(upload, Slot(slot)).unwrap();
        let machine = ServerUpload::new(world.config.clone(), node, upload, record).unwrap();
        let verifier = world.verifier();
        Self { world, a, slot, machine, verifier }
    }

    /// A node that echoed content 0xa.
    fn echoed(slot: u8) -> Self {
        let mut node = Self::at(slot);
        let seal = node.world.seal(&node.a);
        assert_eq!(node.step(Input::Stored(seal)).sign.len(), 1);
        node
    }

    fn step(&mut self, input: Input) -> Step {
        self.machine.step(NOW, input)
    }

    fn vote(&mut self, kind: StatementKind, content: &SealBundle, slot: u8) -> Input {
        Input::Vote(self.verifier.vote(self.world.vote(kind, content, slot)).unwrap())
    }

    fn ready(&mut self, content: &SealBundle, slot: u8) -> Input {
        let vote = self.verifier.vote(self.world.vote(StatementKind::Ready, content, slot));
        let cert = self.world.cert(StatementKind::Echo, content, &[0, 1, 2, 3]);
        Input::Ready(vote.unwrap(), self.verifier.echo_cert(cert).unwrap())
    }

    fn said(&self, kind: StatementKind) -> Statement {
        self.world.statement(kind, &self.a, self.slot)
    }
}

fn nothing(step: &Step) -> bool {
    step.persist.is_none()
        && step.sign.is_empty()
        && step.outputs.is_empty()
        && step.faults.is_empty()
}

#[test]
fn a_machine_knows_its_slot_and_exists_only_in_its_group() {
    for slot in 0..5 {
        assert_eq!(Node::at(slot).machine.slot(), Slot(slot));
    }
    let Node { world, a, .. } = Node::at(0);
    let upload = a.open.open.object.upload(&world.config);
    let stranger = avid_types::NodeId(5);
    let none = ServerUpload::new(world.config.clone(), stranger, upload, UploadRecord::default());
    assert!(none.is_none());
}

// Rule: TALLY-1, SIGN-1. Verified, and about something else.
#[test]
fn inputs_about_another_upload_change_nothing() {
    for make in [Node::at as fn(u8) -> Node, Node::echoed] {
        let mut node = make(0);
        let before = node.machine.record().clone();
        let other = node.world.bundle_of(node.world.object("other", 0), 0xb);
        let mut inputs = Vec::new();
        for slot in 0..5 {
            inputs.push(node.vote(StatementKind::Echo, &other, slot));
            inputs.push(node.ready(&other, slot));
            inputs.push(node.vote(StatementKind::Abort, &other, slot));
        }
        let cert = node.world.abort_cert(&other);
        inputs.push(Input::AbortCert(node.verifier.abort_cert(cert).unwrap()));
        let proof = node.world.proof(&other);
        inputs.push(Input::Commit(Box::new(node.verifier.commit(proof).unwrap())));
        for kind in [OrderKind::Cancel, OrderKind::Delete] {
            let order = node.world.order(kind, node.world.object("other", 0));
            inputs.push(Input::Order(order.verify(&node.world.config).unwrap()));
        }
        for input in inputs {
            let what = format!("{input:?}");
            assert!(nothing(&node.step(input)), "{what}");
        }
        assert_eq!(*node.machine.record(), before);
    }
}

// Rule: ABORT-2. A quorum of other statements ends nothing.
#[test]
fn a_certificate_of_echoes_is_no_abort_certificate() {
    let mut node = Node::echoed(0);
    let cert = node.world.cert(StatementKind::Echo, &node.a, &[0, 1, 2, 3]);
    let cert = node.verifier.echo_cert(cert).unwrap();
    assert!(nothing(&node.step(Input::AbortCert(cert))));
    assert_eq!(node.machine.record().phase.name(), "echoed");
}

// Rule: READY-1. READY means nothing without the echoes behind it, except this node's own.
#[test]
fn a_ready_of_another_node_without_a_certificate_is_a_fault_and_counts_for_nothing() {
    let mut node = Node::at(0);
    let a = node.a.clone();
    for slot in 1..5 {
        let bare = node.vote(StatementKind::Ready, &a, slot);
        let step = node.step(bare);
        assert_eq!(step.faults.len(), 1);
        assert_eq!(step.faults[0].kind, FaultKind::ReadyWithoutEchoes);
        assert!(nothing(&Step { faults: Vec::new(), ..step }));
    }
    // Then with certificates: D = 3 of them, of which the node's own is one without.
    let ready = node.ready(&a, 1);
    assert_eq!(node.step(ready).sign, [node.said(StatementKind::Ready)]);
    let own = node.vote(StatementKind::Ready, &a, 0);
    assert!(nothing(&node.step(own)), "two are ready");
    let ready = node.ready(&a, 2);
    assert_eq!(node.step(ready).outputs, [Output::NeedSeal(promise(&a).commitment)]);
}

// Rule: READY-1. A vote that is no READY comes with a certificate: the sender is no correct node.
#[test]
fn an_echo_with_an_echo_certificate_is_a_fault() {
    let mut node = Node::at(0);
    let vote = node.world.vote(StatementKind::Echo, &node.a, 1);
    let vote = node.verifier.vote(vote).unwrap();
    let cert = node.world.cert(StatementKind::Echo, &node.a, &[0, 1, 2, 3]);
    let cert = node.verifier.echo_cert(cert).unwrap();
    let step = node.step(Input::Ready(vote, cert));
    assert_eq!(step.faults[0].kind, FaultKind::ReadyWithoutEchoes);
    assert_eq!(node.machine.record().phase, Phase::Idle);
}

// Rule: TIME-1. Edges of the object's own expiry and of the announcement's.
#[test]
fn a_fragment_is_taken_until_its_object_or_its_announcement_expires() {
    let far = NOW.plus(OBJECT_LIFETIME_MAX);
    let cases = [
        (Timestamp::ZERO, NOW, Ok(())),
        (NOW, NOW, Err(Refusal::Expired)),
        (Timestamp(NOW.0 + 1), NOW, Ok(())),
        (far, NOW, Ok(())),
        (Timestamp(far.0 + 1), NOW, Err(Refusal::TooFarAhead)),
        (Timestamp::ZERO, Timestamp(EXPIRY.0 - 1), Ok(())),
        (Timestamp::ZERO, EXPIRY, Err(Refusal::Expired)),
    ];
    for (expires_at, now, expected) in cases {
        let mut node = Node::at(0);
        let world = &node.world;
        let mut manifest = node.a.manifest.clone();
        manifest.expires_at = expires_at;
        let open = node.a.open.clone();
        let seal = world.seal(&SealBundle::sign(&world.config, open, manifest, &world.owner));
        assert_eq!(node.machine.accepts(now, &seal), expected, "{expires_at} at {now}");
        let step = node.machine.step(now, Input::Stored(seal));
        let refused =
            expected.err().map(|refusal| vec![Output::Refused(refusal), Output::DropFragment]);
        assert_eq!(step.outputs, refused.unwrap_or_default());
        assert_eq!(step.sign.len(), usize::from(expected.is_ok()));
    }
}

// Rule: ECHO-1. The expiry of the announcement binds until the promise is made, not after.
#[test]
fn a_promised_fragment_is_taken_again_after_the_expiry_and_another_never() {
    let mut node = Node::echoed(0);
    let (a, b) = (node.world.seal(&node.a), node.world.seal(&node.world.bundle(0xb)));
    assert_eq!(node.machine.accepts(EXPIRY, &a), Ok(()));
    assert_eq!(node.machine.accepts(NOW, &b), Err(Refusal::OtherContent));
    let _ = node.step(Input::FragmentLost);
    assert_eq!(node.machine.record().fragment, None);
    let again = node.step(Input::Stored(a));
    assert_eq!(again.sign, [node.said(StatementKind::Echo)]);
    assert_eq!(again.persist.unwrap().fragment, Some(promise(&node.a).commitment));
    let other = node.step(Input::Stored(b));
    assert_eq!(other.outputs, [Output::Refused(Refusal::OtherContent)], "the kept one stays");
    assert!(other.persist.is_none());
}

// Rule: ABORT-1. Strictly after the expiry, and once.
#[test]
fn a_node_aborts_by_itself_after_the_expiry_and_not_at_it() {
    let mut node = Node::echoed(0);
    assert!(nothing(&node.machine.step(EXPIRY, Input::Tick)));
    let step = node.machine.step(Timestamp(EXPIRY.0 + 1), Input::Tick);
    assert_eq!(step.sign, [node.said(StatementKind::Abort)]);
    assert_eq!(step.persist.as_ref(), Some(node.machine.record()));
    assert!(nothing(&node.machine.step(Timestamp(EXPIRY.0 + 2), Input::Tick)));
}

// Rule: ABORT-3. f + 1 ABORTs contain an honest one; n - f end the upload.
#[test]
fn the_second_abort_makes_a_node_follow_and_the_fourth_ends_the_upload() {
    let mut node = Node::echoed(0);
    let a = node.a.clone();
    let first = node.vote(StatementKind::Abort, &a, 1);
    assert!(nothing(&node.step(first)), "f of them may lie");
    let second = node.vote(StatementKind::Abort, &a, 2);
    assert_eq!(node.step(second).sign, [node.said(StatementKind::Abort)]);
    let own = node.vote(StatementKind::Abort, &a, 0);
    assert!(nothing(&node.step(own)));
    let fourth = node.vote(StatementKind::Abort, &a, 3);
    let ended = node.step(fourth);
    assert_eq!(ended.outputs, [Output::Aborted, Output::DropFragment]);
    let Phase::Aborted { echoed, cert: Some(cert) } = &node.machine.record().phase else {
        panic!("{:?}", node.machine.record());
    };
    assert_eq!((*echoed, cert.entries.len()), (Some(promise(&a)), 4));
    let fifth = node.vote(StatementKind::Abort, &a, 4);
    assert!(nothing(&node.step(fifth)), "it is over");
}

// Rule: DELETE-1. Again for whoever asks again, since a crash may have come in between.
#[test]
fn a_deletion_is_signed_and_the_fragment_dropped_each_time_it_is_ordered() {
    let mut node = Node::echoed(0);
    let order = node.world.order(OrderKind::Delete, node.world.object("photo", 0));
    let verified = order.clone().verify(&node.world.config).unwrap();
    let said = node.said(StatementKind::Deleted);
    let first = node.step(Input::Order(verified.clone()));
    assert_eq!(first.outputs, [Output::Deleted, Output::DropFragment]);
    assert_eq!(first.sign, [said]);
    let kept = UploadRecord { phase: Phase::Deleted(order), ..UploadRecord::default() };
    assert_eq!(first.persist, Some(kept));
    let again = node.step(Input::Order(verified));
    assert_eq!((again.sign, again.outputs), (vec![said], vec![Output::DropFragment]));
    let cancel = node.world.order(OrderKind::Cancel, node.world.object("photo", 0));
    let cancel = cancel.verify(&node.world.config).unwrap();
    let refused = node.step(Input::Order(cancel));
    assert_eq!(refused.outputs, [Output::Refused(Refusal::Deleted)]);
    let seal = node.world.seal(&node.a);
    let late = node.step(Input::Stored(seal));
    assert_eq!(late.outputs, [Output::Refused(Refusal::Deleted), Output::DropFragment]);
}

// Rule: COMMIT-1, HOLD-1. D READYs and the seal; HOLD only with the fragment.
#[test]
fn the_third_ready_delivers_and_a_holder_says_so() {
    for holds in [true, false] {
        let mut node = if holds { Node::echoed(0) } else { Node::at(0) };
        let a = node.a.clone();
        for slot in [1, 2] {
            let ready = node.ready(&a, slot);
            assert_eq!(node.step(ready).outputs, []);
        }
        let third = node.ready(&a, 3);
        let mut step = node.step(third);
        let commitment = promise(&a).commitment;
        if !holds {
            assert_eq!(step.outputs, [Output::NeedSeal(commitment)]);
            let stale = node.world.seal(&node.world.bundle(0xb));
            assert!(nothing(&node.step(Input::Seal(stale))), "of another content");
            let seal = node.world.seal(&a);
            step = node.step(Input::Seal(seal));
        }
        assert_eq!(step.outputs, [Output::Committed(commitment)]);
        let mut said = vec![node.said(StatementKind::Delivered)];
        said.extend(holds.then(|| node.said(StatementKind::Hold)));
        assert_eq!(step.sign, said);
        assert_eq!(node.machine.promised(), said);
        let record = node.machine.record();
        assert_eq!((record.open.as_ref(), record.seal.as_ref()), (None, None));
        let Phase::Committed(proof) = &record.phase else { panic!("{record:?}") };
        assert_eq!((proof.ready.entries.len(), proof.seal.clone()), (3, a.clone()));
        node.world.verifier().commit((**proof).clone()).unwrap();
    }
}

// Rule: COMMIT-1. A late fragment of the committed content is held; of another it is dropped.
#[test]
fn a_committed_node_takes_the_fragment_of_what_is_committed_and_of_nothing_else() {
    let mut node = Node::at(0);
    let proof = node.world.proof(&node.a);
    let commit = Box::new(node.verifier.commit(proof).unwrap());
    let delivered = node.said(StatementKind::Delivered);
    assert_eq!(node.step(Input::Commit(commit.clone())).sign, [delivered]);
    let other = node.world.seal(&node.world.bundle(0xb));
    let refused = node.step(Input::Stored(other));
    let drop = [Output::Refused(Refusal::OtherContent), Output::DropFragment];
    assert_eq!((refused.outputs.as_slice(), refused.persist), (&drop[..], None));
    let seal = node.world.seal(&node.a);
    let held = node.step(Input::Stored(seal));
    assert_eq!(held.sign, [delivered, node.said(StatementKind::Hold)]);
    assert_eq!(held.persist.unwrap().fragment, Some(promise(&node.a).commitment));
    assert_eq!(node.step(Input::Commit(commit)).sign, held.sign, "asked again, said again");
}

// Rule: READY-1, COMMIT-1. Ready on the word of others, then the fragment comes.
#[test]
fn a_node_that_became_ready_without_a_fragment_says_ready_again_when_it_comes() {
    let mut node = Node::at(0);
    let a = node.a.clone();
    let ready = node.ready(&a, 1);
    let _ = node.step(ready);
    let seal = node.world.seal(&a);
    let stored = node.step(Input::Stored(seal.clone()));
    assert_eq!(stored.sign, [node.said(StatementKind::Ready)], "and never ECHO after it");
    assert_eq!(stored.outputs, []);

    let mut node = Node::at(0);
    for slot in [1, 2, 3] {
        let ready = node.ready(&a, slot);
        let _ = node.step(ready);
    }
    let stored = node.step(Input::Stored(seal));
    assert_eq!(stored.outputs, [Output::Committed(promise(&a).commitment)]);
    let kinds = [StatementKind::Ready, StatementKind::Delivered, StatementKind::Hold];
    assert_eq!(stored.sign, kinds.map(|kind| node.said(kind)));
}

// Rule: READY-1. E echoes of one promise make ready; the node's own counts when it is durable.
#[test]
fn the_fourth_echo_of_five_makes_ready_and_carries_exactly_a_quorum() {
    let mut node = Node::echoed(0);
    let a = node.a.clone();
    for slot in [1, 2, 0] {
        let echo = node.vote(StatementKind::Echo, &a, slot);
        assert!(nothing(&node.step(echo)), "slot {slot}");
    }
    let other = node.world.bundle(0xb);
    let echo = node.vote(StatementKind::Echo, &other, 4);
    assert!(nothing(&node.step(echo)), "of another content");
    let echo = node.vote(StatementKind::Echo, &a, 3);
    assert_eq!(node.step(echo).sign, [node.said(StatementKind::Ready)]);
    let Phase::Ready { echoed, echo_cert, .. } = &node.machine.record().phase else {
        panic!("{:?}", node.machine.record());
    };
    assert_eq!((*echoed, echo_cert.entries.len()), (Some(promise(&a)), 4));
    let both = [node.said(StatementKind::Echo), node.said(StatementKind::Ready)];
    assert_eq!(node.machine.promised(), both);
}

// Rule: COMMIT-1. Committed to A by the proof, a fragment of B is no use to anybody.
#[test]
fn a_commit_drops_the_fragment_of_another_content_and_keeps_its_own() {
    for (content, dropped) in [(0xa, false), (0xb, true)] {
        let mut node = Node::echoed(0);
        let bundle = node.world.bundle(content);
        let commit = node.verifier.commit(node.world.proof(&bundle)).unwrap();
        let step = node.step(Input::Commit(Box::new(commit)));
        let mut expected = vec![Output::Committed(promise(&bundle).commitment)];
        if dropped {
            expected.insert(0, Output::DropFragment);
        }
        assert_eq!(step.outputs, expected);
        let held = node.machine.record().fragment;
        assert_eq!(held, (!dropped).then(|| promise(&bundle).commitment));
    }
}
