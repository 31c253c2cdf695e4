//! The attacks that the rules were found by, and the scenarios of peers voting.
//!
//! Each asserts that the rule holds with f liars; where a limit is documented, that the next liar
//! breaks it, so that the documentation stays true.

use std::collections::BTreeSet;

use avid_protocol::fault::FaultKind;
use avid_protocol::object::{OrderKind, SealBundle};
use avid_protocol::record::{Phase, UploadRecord};
use avid_protocol::server::{Input, Refusal, ServerUpload};
use avid_protocol::statement::StatementKind;
use avid_protocol::verify::{VerifiedVote, VerifyError};
use avid_types::limits::OPEN_LIFETIME_MAX;
use avid_types::{ClusterId, Epoch, Nonce, Slot, Timestamp};

use crate::cluster::{Cluster, Letter, Violation};
use crate::world::{EXPIRY, NOW, World, promise};

const LATER: Timestamp = Timestamp(EXPIRY.0 + 1);

fn delivered_answers(cluster: &Cluster) -> usize {
    let answers = cluster.answers.iter().map(VerifiedVote::statement);
    let delivered = answers.filter(|statement| statement.kind == StatementKind::Delivered);
    delivered.map(|statement| statement.slot).collect::<BTreeSet<_>>().len()
}

#[test]
fn without_faults_everybody_commits_holds_and_answers() {
    for (m, n) in [(2, 4), (3, 5), (4, 6), (4, 7), (8, 12), (10, 16)] {
        let mut cluster = Cluster::new(m, n, &[]);
        let a = cluster.world.bundle(0xa);
        cluster.open(&a, cluster.everyone());
        cluster.store(&a, cluster.everyone());
        cluster.deliver_everything();
        assert_eq!(cluster.committed_to(&a), cluster.honest(), "{m}-of-{n}");
        assert_eq!(cluster.holders(promise(&a).commitment), usize::from(n));
        assert_eq!(delivered_answers(&cluster), usize::from(n));
        assert_eq!((cluster.faults.len(), cluster.rejected.len()), (0, 0));
        cluster.assert_sound(&[&a]);
    }
}

// Rule: ECHO-1, ABORT-2. Scenario 1.
#[test]
fn two_contents_at_three_and_two_nodes_commit_neither_and_abort_frees_both() {
    let mut cluster = Cluster::new(3, 5, &[]);
    let (a, b) = (cluster.world.bundle(0xa), cluster.world.bundle(0xb));
    cluster.store(&a, 1..=3);
    cluster.store(&b, 4..=5);
    cluster.deliver_everything();
    assert_eq!(cluster.phases(), ["echoed"; 5]);

    cluster.tick(LATER, 1..=5);
    cluster.deliver_everything();
    assert_eq!(cluster.phases(), ["aborted"; 5]);
    assert_eq!(cluster.holders(promise(&a).commitment), 0);
    assert_eq!(cluster.holders(promise(&b).commitment), 0);
    assert!(cluster.could_abort(&a));
    cluster.assert_sound(&[&a, &b]);
}

// Rule: READY-1. Scenario 1 with a liar, scenario 14 with all the help f liars can give.
#[test]
fn a_liar_that_echoes_both_contents_lets_only_one_of_them_deliver() {
    let mut cluster = Cluster::new(3, 5, &[4]);
    let (a, b) = (cluster.world.bundle(0xa), cluster.world.bundle(0xb));
    cluster.store(&a, 1..=3);
    cluster.store(&b, [5]);
    for content in [&b, &a] {
        let echo = cluster.forge(4, StatementKind::Echo, content);
        let to: &[usize] = if content == &a { &[1, 2] } else { &[3, 5] };
        cluster.send_to(4, to.iter().copied(), &echo);
    }
    cluster.deliver_everything();
    for content in [&a, &b] {
        let echoers = cluster.echoers(content);
        if echoers.len() >= cluster.world.params().echo_quorum() {
            let ready = cluster.forge_ready(4, content, &echoers[..4]).unwrap();
            cluster.send_to(4, [1, 2, 3, 5], &ready);
        }
    }
    cluster.deliver_everything();
    assert_eq!(cluster.committed_to(&a), [1, 2, 3, 5]);
    assert_eq!(cluster.committed_to(&b), [] as [usize; 0]);
    cluster.assert_sound(&[&a, &b]);
}

// Rule: READY-1, COMMIT-1. Scenario 2: amplification reaches the node that echoed something else.
#[test]
fn owner_stores_a_at_four_nodes_and_b_at_the_fifth_and_a_commits_at_all_five() {
    let mut cluster = Cluster::new(3, 5, &[]);
    let (a, b) = (cluster.world.bundle(0xa), cluster.world.bundle(0xb));
    cluster.store(&a, 1..=4);
    cluster.store(&b, [5]);
    cluster.deliver_everything();
    assert_eq!(cluster.committed_to(&a), [1, 2, 3, 4, 5]);
    assert_eq!(cluster.record(5).fragment, None, "b's fragment belongs to nothing any more");
    assert_eq!(cluster.holders(promise(&a).commitment), 4);
    cluster.assert_sound(&[&a, &b]);
}

// Rule: HOLD-1. The bracketed attack: an honest node that echoed B and repaired A is not framed.
#[test]
fn a_node_that_echoed_b_and_was_repaired_to_a_signs_hold_and_contradicts_nothing() {
    let mut cluster = Cluster::new(3, 5, &[]);
    let (a, b) = (cluster.world.bundle(0xa), cluster.world.bundle(0xb));
    cluster.store(&a, 1..=4);
    cluster.store(&b, [5]);
    cluster.deliver_everything();
    cluster.store(&a, [5]);
    cluster.deliver_everything();
    assert!(cluster.has_said(5, StatementKind::Echo, &b));
    assert!(cluster.has_said(5, StatementKind::Hold, &a));
    assert!(!cluster.has_said(5, StatementKind::Echo, &a));
    assert_eq!(cluster.holders(promise(&a).commitment), 5);
    assert_eq!(cluster.faults, []);
    cluster.assert_sound(&[&a, &b]);
}

// Rule: HOLD-1. A HOLD never makes an echo certificate.
#[test]
fn holds_are_never_counted_as_echoes() {
    let mut cluster = Cluster::new(3, 5, &[5]);
    let a = cluster.world.bundle(0xa);
    cluster.store(&a, 1..=3);
    let hold = cluster.forge(5, StatementKind::Hold, &a);
    cluster.send_to(5, 1..=4, &hold);
    cluster.deliver_everything();
    assert_eq!(cluster.phases(), ["echoed", "echoed", "echoed", "open"]);
    let mut cert = cluster.world.cert(StatementKind::Hold, &a, &[0, 1, 2, 3]);
    let mut verifier = cluster.world.verifier();
    assert!(matches!(verifier.echo_cert(cert.clone()), Err(VerifyError::Kind { .. })));
    cert.kind = StatementKind::Echo;
    assert!(matches!(verifier.echo_cert(cert), Err(VerifyError::Signature(_))));
}

// Rule: ECHO-1. Scenario 19: a commit at exactly E leaves E - m losses, and not one more.
#[test]
fn a_commit_at_exactly_e_survives_e_minus_m_losses_and_may_not_survive_the_next() {
    for (m, n) in [(2, 4), (3, 5), (4, 6), (8, 12)] {
        let mut cluster = Cluster::new(m, n, &[]);
        let params = cluster.world.params();
        let a = cluster.world.bundle(0xa);
        cluster.store(&a, 1..=params.echo_quorum());
        cluster.deliver_everything();
        assert_eq!(cluster.committed_to(&a).len(), params.n());
        for lost in 1..=params.losses_at_commit() {
            cluster.lose_fragment(lost);
        }
        assert_eq!(cluster.holders(promise(&a).commitment), params.m());
        cluster.assert_sound(&[&a]);
        cluster.lose_fragment(params.losses_at_commit() + 1);
        assert!(matches!(cluster.violations(&[&a])[..], [Violation::TooFewHolders { .. }]));
        // After repair of every slot n - m losses are survived.
        cluster.store(&a, cluster.everyone());
        for lost in 1..=params.losses_when_placed() {
            cluster.lose_fragment(lost);
        }
        cluster.assert_sound(&[&a]);
    }
}

// Rule: ECHO-1. Scenario 20: echoes without fragments cost nothing up to f, and m holders beyond.
#[test]
fn liars_that_echo_without_storing_are_survived_up_to_f_and_not_one_more() {
    for (liars, sound) in [(vec![5], true), (vec![4, 5], false)] {
        let mut cluster = Cluster::new(3, 5, &liars);
        let a = cluster.world.bundle(0xa);
        cluster.store(&a, 1..=(4 - liars.len()));
        for liar in &liars {
            let echo = cluster.forge(*liar, StatementKind::Echo, &a);
            cluster.send_to(*liar, cluster.honest(), &echo);
        }
        cluster.deliver_everything();
        let echoers = cluster.echoers(&a);
        for liar in &liars {
            let ready = cluster.forge_ready(*liar, &a, &echoers[..4]).unwrap();
            cluster.send_to(*liar, cluster.honest(), &ready);
        }
        cluster.deliver_everything();
        assert_eq!(cluster.committed_to(&a), cluster.honest());
        let too_few = matches!(cluster.violations(&[&a])[..], [Violation::TooFewHolders { .. }]);
        assert_eq!(too_few, !sound, "{liars:?}");
    }
}

// Rule: TALLY-1, EVID-1. Scenario 21.
#[test]
fn a_thousand_votes_of_one_node_count_once_and_a_second_content_is_evidence() {
    let mut cluster = Cluster::new(3, 5, &[5]);
    let (a, b) = (cluster.world.bundle(0xa), cluster.world.bundle(0xb));
    cluster.store(&a, 1..=2);
    let echo = cluster.forge(5, StatementKind::Echo, &a);
    for _ in 0..1000 {
        cluster.send(5, 1, echo.clone());
    }
    cluster.deliver_everything();
    assert_eq!(cluster.phase(1), "echoed", "2 + 1 echoes are not 4");
    assert_eq!(cluster.faults, []);

    let other = cluster.forge(5, StatementKind::Echo, &b);
    cluster.send(5, 1, other);
    cluster.deliver_everything();
    let [(1, fault)] = &cluster.faults[..] else {
        panic!("one fault at node 1, found {:?}", cluster.faults);
    };
    let FaultKind::ConflictingVotes(votes) = &fault.kind else {
        panic!("evidence, found {fault:?}");
    };
    assert_eq!(Some(fault.node), votes.0.signer(&cluster.world.config));
    // Transferable: a stranger verifies both.
    let mut stranger = cluster.world.verifier();
    stranger.vote(votes.0.clone()).unwrap();
    stranger.vote(votes.1.clone()).unwrap();
}

// Rule: TALLY-1, EVID-1. READY and ABORT of one node exclude each other, in either order.
#[test]
fn ready_and_abort_of_one_node_are_evidence_and_the_second_is_not_counted() {
    let mut cluster = Cluster::new(3, 5, &[5]);
    let a = cluster.world.bundle(0xa);
    cluster.store(&a, 1..=4);
    cluster.lose_where(|_| true);
    let ready = cluster.forge_ready(5, &a, &[1, 2, 3, 4]).unwrap();
    let abort = cluster.forge(5, StatementKind::Abort, &a);
    cluster.send(5, 1, ready.clone());
    cluster.send(5, 1, abort.clone());
    cluster.send(5, 2, abort);
    cluster.send(5, 2, ready);
    cluster.deliver_where(|envelope| envelope.from == 5);
    assert_eq!(cluster.faults.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [1, 2]);
    assert_eq!((cluster.phase(1), cluster.phase(2)), ("ready", "echoed"));
}

// Rule: READY-1. Scenario 22: plain READYs of f + 1 liars would deliver an object nobody holds.
#[test]
fn readies_without_echoes_deliver_nothing_whatever_their_number() {
    for liars in [vec![5], vec![4, 5], vec![3, 4, 5]] {
        let mut cluster = Cluster::new(3, 5, &liars);
        let a = cluster.world.bundle(0xa);
        for liar in &liars {
            // Neither bare, nor with what echoes there are, nor with other statements as echoes.
            let bare = cluster.forge(*liar, StatementKind::Ready, &a);
            cluster.send_to(*liar, cluster.honest(), &bare);
            let own: Vec<u8> = liars.iter().map(|liar| u8::try_from(liar - 1).unwrap()).collect();
            let vote = cluster.world.vote(StatementKind::Ready, &a, own[0]);
            let few = cluster.world.cert(StatementKind::Echo, &a, &own);
            let mut readies = cluster.world.cert(StatementKind::Ready, &a, &own);
            readies.kind = StatementKind::Echo;
            for cert in [few, readies] {
                let letter = Letter::Ready(vote.clone(), cert);
                cluster.send_to(*liar, cluster.honest(), &letter);
            }
        }
        cluster.deliver_everything();
        assert!(cluster.honest().iter().all(|node| cluster.phase(*node) == "open"), "{liars:?}");
        assert!(!cluster.faults.is_empty() && !cluster.rejected.is_empty());
        assert_eq!(cluster.holders(promise(&a).commitment), 0);
    }
}

// Rule: READY-1. Scenario 22, the other half: one liar beyond 2E - n - 1 certifies two contents.
#[test]
fn two_contents_can_be_certified_only_by_more_than_2e_minus_n_minus_1_liars() {
    for (m, n) in [(2, 4), (3, 5), (4, 6)] {
        let bound = World::new(m, n).params().liars_for_uniqueness();
        for (count, both) in [(bound, false), (bound + 1, true)] {
            let n = usize::from(n);
            let liars: Vec<usize> = (n - count + 1..=n).collect();
            let mut cluster = Cluster::new(m, u8::try_from(n).unwrap(), &liars);
            let (a, b) = (cluster.world.bundle(0xa), cluster.world.bundle(0xb));
            let needed = cluster.world.params().echo_quorum() - count;
            cluster.store(&a, 1..=needed);
            cluster.store(&b, needed + 1..=n - count);
            let quorum = cluster.world.params().echo_quorum();
            let certified = [&a, &b].map(|content| cluster.echoers(content).len() >= quorum);
            assert_eq!(certified, [true, both], "{m}-of-{n}, {count} liars");
        }
    }
}

// Rule: COMMIT-1. Scenario 31: a minority commits nothing, the majority's outcome wins after.
#[test]
fn a_partition_of_three_and_two_ends_in_one_outcome() {
    let mut cluster = Cluster::new(3, 5, &[]);
    let a = cluster.world.bundle(0xa);
    cluster.store(&a, 1..=5);
    cluster.deliver_within(&[&[1, 2, 3], &[4, 5]]);
    assert_eq!(cluster.phases(), ["echoed"; 5], "3 of the 4 echoes needed");
    cluster.deliver_everything();
    assert_eq!(cluster.committed_to(&a).len(), 5);
    cluster.assert_sound(&[&a]);
}

// Rule: COMMIT-1, ABORT-1. Scenario 31: the part that cannot write aborts; one outcome after.
#[test]
fn a_minority_that_aborts_in_a_partition_follows_the_majority_that_committed() {
    let mut cluster = Cluster::new(3, 5, &[]);
    let a = cluster.world.bundle(0xa);
    cluster.store(&a, 1..=5);
    cluster.deliver_within(&[&[1, 2, 3, 4]]);
    assert_eq!(cluster.committed_to(&a), [1, 2, 3, 4]);
    cluster.tick(LATER, [5]);
    assert_eq!(cluster.phase(5), "aborted");
    cluster.deliver_everything();
    assert_eq!(cluster.committed_to(&a), [1, 2, 3, 4, 5]);
    cluster.assert_sound(&[&a]);
}

// Rule: ABORT-2. Scenario 31: 2|2|1 makes no progress and no damage, then aborts as one.
#[test]
fn a_partition_in_three_decides_nothing_until_it_heals() {
    let mut cluster = Cluster::new(3, 5, &[]);
    let a = cluster.world.bundle(0xa);
    cluster.store(&a, 1..=5);
    let parts: [&[usize]; 3] = [&[1, 2], &[3, 4], &[5]];
    cluster.deliver_within(&parts);
    cluster.tick(LATER, 1..=5);
    cluster.deliver_within(&parts);
    assert_eq!(cluster.phases(), ["aborted"; 5]);
    assert_eq!(cluster.holders(promise(&a).commitment), 5, "nothing is freed without proof");
    cluster.deliver_everything();
    assert_eq!(cluster.holders(promise(&a).commitment), 0);
    assert_eq!(cluster.committed_to(&a), [] as [usize; 0]);
    cluster.assert_sound(&[&a]);
}

// Rule: SIGN-1. Scenario 40: the keys are the same, the cluster, epoch or group is not.
#[test]
fn nothing_said_in_one_cluster_changes_anything_in_another() {
    let home = World::new(3, 5);
    let a = home.bundle(0xa);
    let abroad = [
        World::of(3, 5, ClusterId([0xc2; 16]), Epoch(0), 1),
        World::of(3, 5, ClusterId([0xc1; 16]), Epoch(1), 1),
    ];
    for there in &abroad {
        let mut verifier = there.verifier();
        for kind in [StatementKind::Echo, StatementKind::Ready, StatementKind::Abort] {
            for slot in 0..5 {
                assert!(verifier.vote(home.vote(kind, &a, slot)).is_err());
            }
        }
        assert!(a.open.clone().verify(&there.config).is_err());
        assert!(a.clone().verify(&there.config).is_err());
        assert!(verifier.commit(home.proof(&a)).is_err());
        assert!(verifier.abort_cert(home.abort_cert(&a)).is_err());
        for kind in [OrderKind::Cancel, OrderKind::Delete] {
            assert!(home.order(kind, home.object("photo", 0)).verify(&there.config).is_err());
        }
    }
    let mut grouped = (2..).map(|groups| World::of(3, 5, ClusterId([0xc1; 16]), Epoch(0), groups));
    let grouped = grouped.find(|there| there.group_of(&a) != home.group_of(&a)).unwrap();
    assert!(grouped.verifier().vote(home.vote(StatementKind::Echo, &a, 0)).is_err());
    assert!(a.verify(&grouped.config).is_err());
}

// Rule: READ-1. The bracketed attack: 2-of-4 fully placed, two liars give f + 1 equal replies.
#[test]
fn two_liars_of_four_cannot_make_a_reader_believe_in_another_content() {
    let world = World::new(2, 4);
    let (a, b) = (world.bundle(0xa), world.bundle(0xb));
    let mut reader = world.verifier();
    reader.commit(world.proof(&a)).unwrap();
    // The owner signed both; the liars at slots 2 and 3 sign whatever helps.
    let mut lie = world.proof(&b);
    lie.echo = world.cert(StatementKind::Echo, &b, &[2, 3]);
    lie.ready = world.cert(StatementKind::Ready, &b, &[2, 3]);
    assert!(matches!(reader.commit(lie.clone()), Err(VerifyError::Quorum { needed: 3, found: 2 })));
    // Nor with honest nodes' signatures of the other content among theirs.
    let other = world.proof(&a);
    lie.echo.entries.push(other.echo.entries[0].clone());
    lie.ready.entries.push(other.ready.entries[0].clone());
    assert!(matches!(reader.commit(lie), Err(VerifyError::Signature(_))));
}

// Rule: COMMIT-1. The bracketed attack: two nodes aborted, a liar sends READY to the others only.
#[test]
fn nodes_that_aborted_deliver_by_the_certificate_that_a_liar_kept_from_them() {
    let mut cluster = Cluster::new(3, 5, &[5]);
    let a = cluster.world.bundle(0xa);
    cluster.store(&a, 1..=4);
    let cancel = cluster.world.order(OrderKind::Cancel, cluster.world.object("photo", 0));
    cluster.order(&cancel, [3, 4]);
    let ready = cluster.forge_ready(5, &a, &[1, 2, 3, 4]).unwrap();
    cluster.send_to(5, [1, 2], &ready);
    cluster.deliver_where(|e| !matches!(e.letter, Letter::Commit(_)));
    assert_eq!(cluster.phases(), ["committed", "committed", "aborted", "aborted"]);
    assert!(!cluster.could_abort(&a));
    cluster.deliver_everything();
    assert_eq!(cluster.committed_to(&a), [1, 2, 3, 4]);
    cluster.assert_sound(&[&a]);
    // The certificate replaced all votes: after a restart nobody votes about it again.
    cluster.restart(3);
    assert_eq!(cluster.phase(3), "committed");
    cluster.assert_sound(&[&a]);
}

// Rule: COMMIT-1. As above, but the liar's READY reaches one that aborted and knows no content.
#[test]
fn a_node_that_aborted_before_it_knew_the_content_delivers_once_it_is_told() {
    let mut cluster = Cluster::new(2, 4, &[4]);
    let a = cluster.world.bundle(0xa);
    let cancel = cluster.world.order(OrderKind::Cancel, cluster.world.object("photo", 0));
    cluster.order(&cancel, [3]);
    cluster.store(&a, 1..=2);
    let echo = cluster.forge(4, StatementKind::Echo, &a);
    cluster.send_to(4, [1, 2], &echo);
    let ready = cluster.forge_ready(4, &a, &[1, 2, 4]).unwrap();
    cluster.send(4, 3, ready);
    cluster.deliver_everything();
    assert_eq!(cluster.committed_to(&a), [1, 2, 3]);
    cluster.assert_sound(&[&a]);
}

// Rule: ABORT-1. The bracketed attack: one liar asks for aborts right after OPEN.
#[test]
fn nobody_aborts_before_the_expiry_without_the_owners_word() {
    let mut cluster = Cluster::new(3, 5, &[5]);
    let a = cluster.world.bundle(0xa);
    cluster.open(&a, 1..=4);
    cluster.store(&a, 1..=2);
    let abort = cluster.forge(5, StatementKind::Abort, &a);
    cluster.send_to(5, 1..=4, &abort);
    cluster.deliver_where(|envelope| envelope.from == 5);
    cluster.tick(EXPIRY, 1..=4);
    assert_eq!(cluster.phases(), ["echoed", "echoed", "open", "open"]);
    // A CANCEL that somebody else signed is no word of the owner.
    let mut forged = cluster.world.order(OrderKind::Cancel, cluster.world.object("photo", 0));
    let operator = cluster.world.operator.clone();
    let other = cluster.world.object_of(&operator, "photo", 0);
    let order = avid_protocol::object::OwnerOrder::sign(
        &cluster.world.config,
        OrderKind::Cancel,
        other,
        &operator,
    );
    forged.signature = order.signature;
    cluster.order(&forged, 1..=4);
    cluster.order(&order, 1..=4);
    assert_eq!(cluster.phases(), ["echoed", "echoed", "open", "open"]);
    cluster.now = NOW;
    cluster.store(&a, 3..=4);
    cluster.deliver_everything();
    assert_eq!(cluster.committed_to(&a), [1, 2, 3, 4]);
    // And once ready, not even with it.
    let cancel = cluster.world.order(OrderKind::Cancel, cluster.world.object("photo", 0));
    cluster.order(&cancel, 1..=4);
    assert!(cluster.refusals.contains(&(1, Refusal::AlreadyReady)));
    assert_eq!(cluster.committed_to(&a), [1, 2, 3, 4]);
}

fn abort_a_at_three_and_b_at_one() -> Cluster {
    let mut cluster = Cluster::new(3, 5, &[5]);
    let (a, b) = (cluster.world.bundle(0xa), cluster.world.bundle(0xb));
    cluster.store(&a, 1..=3);
    cluster.store(&b, [4]);
    cluster.tick(LATER, 1..=4);
    cluster.deliver_everything();
    assert_eq!(cluster.phases(), ["aborted"; 4]);
    cluster
}

// Rule: ABORT-2. The bracketed attack at 3-of-5, against nodes that keep their records.
#[test]
fn after_an_abort_old_and_new_echoes_never_meet() {
    let mut cluster = abort_a_at_three_and_b_at_one();
    let (a, b) = (cluster.world.bundle(0xa), cluster.world.bundle(0xb));
    for node in 1..=4 {
        cluster.restart(node);
    }
    cluster.now = NOW; // Not even if cluster time were wrong.
    cluster.store(&b, 1..=3);
    cluster.store(&a, [4]);
    cluster.open(&a, 1..=4);
    assert_eq!(cluster.refusals.len(), 8);
    for content in [&a, &b] {
        assert!(cluster.forge_ready(5, content, &[1, 2, 3, 5]).is_none() || content == &a);
        if let Some(ready) = cluster.forge_ready(5, content, &[1, 2, 3, 5]) {
            cluster.send_to(5, 1..=4, &ready);
        }
    }
    cluster.deliver_everything();
    assert_eq!(cluster.phases(), ["aborted"; 4]);
    assert_eq!([cluster.could_commit(&a), cluster.could_commit(&b)], [false, false]);
    cluster.assert_sound(&[&a, &b]);
}

// Rule: ABORT-2, AMNESIA-1. The same against nodes that forget: both contents are certified.
#[test]
fn nodes_that_abort_and_forget_certify_both_contents() {
    let cluster = abort_a_at_three_and_b_at_one();
    let world = &cluster.world;
    let (a, b) = (world.bundle(0xa), world.bundle(0xb));
    let mut said = 0;
    for node in 1..=3 {
        let id = world.config.node_at(cluster.upload, crate::cluster::slot(node)).unwrap();
        let mut forgetful =
            ServerUpload::new(world.config.clone(), id, cluster.upload, UploadRecord::default())
                .unwrap();
        let step = forgetful.step(NOW, Input::Stored(world.seal(&b)));
        said += step.sign.len();
    }
    assert_eq!(said, 3, "amnesia makes a node Byzantine");
    assert!(cluster.echoers(&a).len() >= world.params().echo_quorum());
    assert!(said + 2 >= world.params().echo_quorum(), "with node 4 and the liar");
}

// Rule: ABORT-3. The bracketed stall: three of five know an expiry, four ABORTs are needed.
#[test]
fn an_announcement_that_two_nodes_forgot_ends_aborted_everywhere() {
    let mut cluster = Cluster::new(3, 5, &[]);
    let a = cluster.world.bundle(0xa);
    cluster.open(&a, 1..=5); // The client dies here.
    for node in 4..=5 {
        cluster.forget(node); // An OPEN promises nothing, so a node may keep it in memory only.
    }
    cluster.tick(LATER, 1..=5);
    assert_eq!(cluster.phases(), ["aborted", "aborted", "aborted", "open", "open"]);
    cluster.deliver_where(|envelope| (envelope.from, envelope.to) == (1, 4));
    assert_eq!(cluster.phase(4), "open", "one member may lie");
    cluster.deliver_where(|envelope| (envelope.from, envelope.to) == (2, 4));
    assert_eq!(cluster.phase(4), "aborted", "one of two is honest");
    cluster.deliver_everything();
    for node in 1..=5 {
        let phase = &cluster.record(node).phase;
        assert!(matches!(phase, Phase::Aborted { cert: Some(_), .. }), "node {node}: {phase:?}");
    }
    assert!(cluster.could_abort(&a) && !cluster.could_commit(&a));
    cluster.assert_sound(&[&a]);
}

// Rule: DELETE-1. Limbo: two READYs against three ABORTs at 3-of-5, without any liar.
#[test]
fn a_limbo_is_stuck_until_the_owner_deletes() {
    let mut cluster = Cluster::new(3, 5, &[]);
    let a = cluster.world.bundle(0xa);
    cluster.store(&a, 1..=4);
    let echoes = |to: usize| {
        move |e: &crate::cluster::Envelope| e.to == to && matches!(e.letter, Letter::Vote(_))
    };
    cluster.deliver_where(echoes(1));
    cluster.deliver_where(echoes(2));
    let object = cluster.world.object("photo", 0);
    let cancel = cluster.world.order(OrderKind::Cancel, object.clone());
    cluster.order(&cancel, 3..=5);
    cluster.deliver_everything();
    cluster.say_again();
    cluster.tick(LATER, 1..=5);
    cluster.deliver_everything();
    assert_eq!(cluster.phases(), ["ready", "ready", "aborted", "aborted", "aborted"]);
    assert!(!cluster.could_commit(&a) && !cluster.could_abort(&a));
    cluster.assert_sound(&[&a]);

    let delete = cluster.world.order(OrderKind::Delete, object);
    cluster.order(&delete, [3]);
    cluster.deliver_everything();
    assert_eq!(cluster.phases(), ["deleted"; 5]);
    let said = |node: &usize| cluster.has_said(*node, StatementKind::Deleted, &a);
    assert_eq!(cluster.everyone().filter(said).count(), 5);
    cluster.assert_sound(&[&a]);
}

// Rule: DELETE-1. Final in every phase; outranks the certificate, also at a node that knew nothing.
#[test]
fn a_tombstone_outranks_everything_and_stays() {
    let world = World::new(3, 5);
    let a = world.bundle(0xa);
    let delete = world.order(OrderKind::Delete, world.object("photo", 0));
    for phase in ["open", "echoed", "ready", "aborted", "committed"] {
        let mut cluster = Cluster::new(3, 5, &[]);
        match phase {
            "open" => {}
            "echoed" => cluster.store(&a, [1]),
            "ready" => {
                cluster.store(&a, 1..=4);
                cluster.deliver_where(|e| e.to == 1 && matches!(e.letter, Letter::Vote(_)));
            }
            "aborted" => {
                let cancel = world.order(OrderKind::Cancel, world.object("photo", 0));
                cluster.order(&cancel, [1]);
            }
            other => {
                assert_eq!(other, "committed");
                cluster.store(&a, 1..=5);
                cluster.deliver_everything();
            }
        }
        assert_eq!(cluster.phase(1), phase);
        cluster.lose_where(|_| true);
        cluster.order(&delete, [1]);
        cluster.lose_where(|_| true);
        cluster.restart(1);
        cluster.send(2, 1, Letter::Commit(Box::new(world.proof(&a))));
        cluster.send(2, 1, Letter::AbortCert(world.abort_cert(&a)));
        cluster.deliver_everything();
        cluster.store(&a, [1]);
        cluster.open(&a, [1]);
        assert_eq!((cluster.phase(1), cluster.record(1).fragment), ("deleted", None));
        assert!(cluster.refusals.contains(&(1, Refusal::Deleted)));
        cluster.assert_sound(&[&a]);
    }
}

// Rule: READY-1, SIGN-1. A field that its kind does not have makes a certificate nobody verifies.
#[test]
fn a_liar_cannot_spoil_a_certificate_with_a_vote_that_only_its_receiver_accepts() {
    let mut cluster = Cluster::new(3, 5, &[5]);
    let a = cluster.world.bundle(0xa);
    let spoil = |cluster: &mut Cluster, kind| {
        let mut statement = cluster.world.statement(kind, &a, 4);
        statement.nonce.0[0] = 1;
        let vote = cluster.world.sign(&statement);
        cluster.send_to(5, 1..=4, &Letter::Vote(vote));
        if kind == StatementKind::Abort {
            let mut statement = cluster.world.statement(kind, &a, 4);
            statement.expiry = EXPIRY;
            let vote = cluster.world.sign(&statement);
            cluster.send_to(5, 1..=4, &Letter::Vote(vote));
        }
        cluster.deliver_where(|envelope| envelope.from == 5);
    };
    spoil(&mut cluster, StatementKind::Echo);
    spoil(&mut cluster, StatementKind::Abort);
    assert!(cluster.rejected.iter().all(|(from, _)| *from == 5));
    assert_eq!(cluster.rejected.len(), 12);
    cluster.store(&a, 1..=4);
    cluster.deliver_everything();
    assert_eq!(cluster.committed_to(&a), [1, 2, 3, 4]);
    assert!(cluster.rejected.iter().all(|(from, _)| *from == 5), "an honest node was framed");
}

// Rule: ABORT-2, LINK-1. A node that has the certificate has no news when it is shown another.
#[test]
fn a_second_abort_certificate_changes_nothing() {
    let mut cluster = Cluster::new(3, 5, &[]);
    let a = cluster.world.bundle(0xa);
    let certs: [&[u8]; 2] = [&[0, 1, 2, 3], &[1, 2, 3, 4]];
    for slots in certs {
        let cert = cluster.world.cert(StatementKind::Abort, &a, slots);
        cluster.send(2, 1, Letter::AbortCert(cert));
        cluster.deliver_where(|envelope| envelope.to == 1);
        let told = cluster.bag.len();
        assert_eq!(told, 4, "the first is told to four peers, the second to nobody");
    }
}

// Rule: READ-2, COMMIT-1. A reader that brings the proof delivers at nodes that only echoed.
#[test]
fn a_commit_proof_delivers_at_a_node_that_only_echoed_or_knew_nothing() {
    let mut cluster = Cluster::new(3, 5, &[]);
    let a = cluster.world.bundle(0xa);
    cluster.store(&a, [1]);
    for node in [1, 2] {
        let proof = Box::new(cluster.world.proof(&a));
        cluster.send(0, node, Letter::Commit(proof));
        cluster.deliver_where(|envelope| envelope.from == 0);
    }
    assert_eq!((cluster.phase(1), cluster.phase(2)), ("committed", "committed"));
    assert!(cluster.has_said(1, StatementKind::Hold, &a));
    assert!(!cluster.has_said(2, StatementKind::Hold, &a), "it holds nothing");
    assert_eq!(cluster.record(2).fragment, None);
}

// Rule: READY-1, COMMIT-1. Above the bound a node says so, keeps the first and goes on.
#[test]
fn two_commit_proofs_of_one_upload_raise_an_alarm_and_change_nothing() {
    let mut cluster = Cluster::new(3, 5, &[]);
    let contents = [0xa, 0xb].map(|root| cluster.world.bundle(root));
    for content in &contents {
        let proof = Box::new(cluster.world.proof(content));
        cluster.send(0, 1, Letter::Commit(proof));
        cluster.deliver_where(|envelope| envelope.from == 0);
    }
    assert_eq!(cluster.alarms, 1);
    assert_eq!(cluster.committed_to(&contents[0]), [1]);
}

// Rule: FRESH-1. A claim to hold names the question and exists only while the fragment does.
#[test]
fn only_a_node_that_holds_the_committed_fragment_claims_so_and_only_to_this_question() {
    let world = World::new(3, 5);
    let a = world.bundle(0xa);
    let upload = world.object("photo", 0).upload(&world.config);
    let id = world.config.node_at(upload, Slot(0)).unwrap();
    let record = UploadRecord::default();
    let mut node = ServerUpload::new(world.config.clone(), id, upload, record).unwrap();
    let nonce = Nonce([7; 16]);
    let _ = node.step(NOW, Input::Stored(world.seal(&a)));
    assert_eq!(node.hold_now(nonce), None, "echoed is not committed");
    let proof = world.verifier().commit(world.proof(&a)).unwrap();
    let _ = node.step(NOW, Input::Commit(Box::new(proof)));
    let claim = node.hold_now(nonce).unwrap();
    assert_eq!((claim.kind, claim.nonce), (StatementKind::HoldNow, nonce));
    let mut asker = world.verifier();
    let old = world.sign(&claim);
    asker.vote(old.clone()).unwrap();
    let mut replayed = old;
    replayed.statement.nonce = Nonce([8; 16]);
    assert!(asker.vote(replayed).is_err(), "an old answer to a new question");
    let _ = node.step(NOW, Input::FragmentLost);
    assert_eq!(node.hold_now(nonce), None);
}

// Rule: TIME-1. Expiries of OPEN and object compare with cluster time.
#[test]
fn an_open_is_refused_without_cluster_time_after_its_expiry_and_too_far_ahead() {
    let far = NOW.plus(OPEN_LIFETIME_MAX * 2);
    let cases = [
        (Timestamp::ZERO, EXPIRY, Some(Refusal::NoClusterTime)),
        (EXPIRY, EXPIRY, Some(Refusal::Expired)),
        (Timestamp(EXPIRY.0 - 1), EXPIRY, None),
        (NOW, far, None),
        (NOW, Timestamp(far.0 + 1), Some(Refusal::TooFarAhead)),
        (NOW, Timestamp(u64::MAX), Some(Refusal::TooFarAhead)),
    ];
    for (now, expiry, refusal) in cases {
        let mut cluster = Cluster::new(3, 5, &[]);
        let world = cluster.world.clone();
        let open = world.open(world.object("photo", 0), expiry).sign(&world.config, &world.owner);
        cluster.now = now;
        cluster.step(1, Input::Open(open.verify(&world.config).unwrap()));
        let expected: Vec<_> = refusal.map(|refusal| (1, refusal)).into_iter().collect();
        assert_eq!(cluster.refusals, expected, "at {now}, expiry {expiry}");
    }
    let mut cluster = Cluster::new(3, 5, &[]);
    let world = cluster.world.clone();
    let mut manifest = world.manifest(world.object("photo", 0), 0xa);
    manifest.expires_at = NOW;
    let open = world.signed_open(world.object("photo", 0));
    let expired = SealBundle::sign(&world.config, open, manifest, &world.owner);
    cluster.store(&expired, [1]);
    assert_eq!((cluster.phase(1), &cluster.refusals[..]), ("open", &[(1, Refusal::Expired)][..]));
}

// Rule: READY-1. A valid certificate is no ticket for another content, upload or expiry.
#[test]
fn a_ready_with_a_certificate_of_something_else_counts_for_nothing() {
    let mut cluster = Cluster::new(3, 5, &[5]);
    let world = cluster.world.clone();
    let (a, b) = (world.bundle(0xa), world.bundle(0xb));
    let other = world.bundle_of(world.object("other", 0), 0xb);
    let later = world.open(world.object("photo", 0), LATER).sign(&world.config, &world.owner);
    let later = SealBundle::sign(&world.config, later, b.manifest.clone(), &world.owner);
    let slots: &[u8] = &[0, 1, 2, 3];
    for content in [&a, &other, &later] {
        let ready = world.vote(StatementKind::Ready, &b, 4);
        let cert = world.cert(StatementKind::Echo, content, slots);
        cluster.send_to(5, 1..=4, &Letter::Ready(ready, cert));
        cluster.deliver_where(|envelope| envelope.from == 5);
    }
    assert_eq!(cluster.phases(), ["open"; 4]);
    assert_eq!(cluster.rejected, [], "each part verifies by itself");
    let without = |fault: &FaultKind| matches!(fault, FaultKind::ReadyWithoutEchoes);
    assert_eq!(cluster.faults.iter().filter(|(_, fault)| without(&fault.kind)).count(), 12);
    // An abort certificate is none of echoes, even where it verifies.
    let mut verifier = world.verifier();
    let ready = verifier.vote(world.vote(StatementKind::Ready, &b, 4)).unwrap();
    let aborts = verifier.abort_cert(world.abort_cert(&b)).unwrap();
    cluster.step(1, Input::Ready(ready, aborts));
    assert_eq!(cluster.phase(1), "open");
}

// Rule: TALLY-1. The first vote of a kind stays: a liar cannot take its echo back.
#[test]
fn an_echo_is_not_taken_back_by_one_with_another_expiry() {
    let mut cluster = Cluster::new(3, 5, &[5]);
    let world = cluster.world.clone();
    let a = world.bundle(0xa);
    cluster.store(&a, 1..=3);
    let first = cluster.forge(5, StatementKind::Echo, &a);
    let mut second = world.statement(StatementKind::Echo, &a, 4);
    second.expiry = LATER;
    cluster.send(5, 1, first);
    cluster.send(5, 1, Letter::Vote(world.sign(&second)));
    cluster.deliver_where(|envelope| envelope.from == 5);
    cluster.deliver_where(|envelope| envelope.to == 1);
    assert_eq!(cluster.phase(1), "ready", "three honest echoes and the liar's first");
}
