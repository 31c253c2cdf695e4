//! One value of every kind that is signed, sent or stored, from fixed keys.

use avid_coding::merkle::{MerklePath, Side};
use avid_protocol::authority::{Grant, Rights, SignedGrant, sign_config};
use avid_protocol::certificate::Predecessor;
use avid_protocol::clock::{Heartbeat, SignedHeartbeat};
use avid_protocol::object::{OrderKind, SealBundle};
use avid_protocol::record::{Phase, UploadRecord};
use avid_protocol::statement::{Statement, StatementKind};
use avid_protocol::vote::{SignedVote, batch_message, sign_statements};
use avid_protocol::wire::{
    AbortedHead, ChunkPrefix, FragPrefix, HeadAnswer, ListEntry, ListPage, Message, News, Opened,
    Pulled, RefusalCode,
};
use avid_types::{
    Digest, Encoder, Generation, NodeId, Nonce, ObjectName, Signature, StripeIndex, Timestamp,
};

use crate::world::{EXPIRY, World, promise};

pub(crate) const KINDS: [StatementKind; 10] = [
    StatementKind::Echo,
    StatementKind::Ready,
    StatementKind::Abort,
    StatementKind::Hold,
    StatementKind::Delivered,
    StatementKind::Deleted,
    StatementKind::HoldNow,
    StatementKind::Seal,
    StatementKind::Cancel,
    StatementKind::Delete,
];

pub(crate) const REFUSALS: [RefusalCode; 15] = [
    RefusalCode::BadRequest,
    RefusalCode::NotAllowed,
    RefusalCode::OtherContent,
    RefusalCode::Aborted,
    RefusalCode::Deleted,
    RefusalCode::Expired,
    RefusalCode::NotFound,
    RefusalCode::Pending,
    RefusalCode::Busy,
    RefusalCode::DiskFull,
    RefusalCode::Unverifiable,
    RefusalCode::Unavailable,
    RefusalCode::Damaged,
    RefusalCode::Predecessor,
    RefusalCode::AlreadyReady,
];

/// Values in use carry a name, so that a golden file and a failure can name them.
pub(crate) type Named<T> = Vec<(String, T)>;

pub(crate) fn statement(world: &World, content: &SealBundle, kind: StatementKind) -> Statement {
    let bare = matches!(kind, StatementKind::Cancel | StatementKind::Delete);
    let owner = bare || kind == StatementKind::Seal;
    let upload = content.open.open.object.upload(&world.config);
    let slot = if owner { 0 } else { 2 };
    let statement = if bare {
        Statement::about_upload(kind, upload, avid_types::Slot(slot))
    } else {
        world.statement(kind, content, slot)
    };
    let nonce = if kind == StatementKind::HoldNow { Nonce([0x5e; 16]) } else { Nonce::ZERO };
    Statement { nonce, ..statement }
}

/// Three statements under one signature, so that paths of both lengths appear.
pub(crate) fn batch(world: &World, content: &SealBundle) -> Vec<SignedVote> {
    let kinds = [StatementKind::Echo, StatementKind::Ready, StatementKind::Delivered];
    let statements = kinds.map(|kind| statement(world, content, kind));
    let key = world.key_at(statements[0].upload, statements[0].slot);
    sign_statements(&world.config, key, &statements)
}

pub(crate) fn records(world: &World) -> Named<UploadRecord> {
    let a = world.bundle(0xa);
    let open = Some(a.open.clone());
    let fragment = Some(promise(&a).commitment);
    let echo_cert = world.cert(StatementKind::Echo, &a, &[0, 1, 2, 3]);
    let ready =
        |echoed| Phase::Ready { echoed, promise: promise(&a), echo_cert: echo_cert.clone() };
    let aborted = |echoed, cert| Phase::Aborted { echoed, cert };
    let echoed = Some(promise(&a));
    let phases = [
        ("open", Phase::Idle),
        ("echoed", Phase::Echoed(promise(&a))),
        ("ready", ready(echoed)),
        ("ready without echo", ready(None)),
        ("aborted", aborted(echoed, None)),
        ("aborted without echo, certified", aborted(None, Some(world.abort_cert(&a)))),
        ("committed", Phase::Committed(Box::new(world.proof(&a)))),
        ("deleted", Phase::Deleted(world.order(OrderKind::Delete, world.object("photo", 0)))),
    ];
    let mut records: Named<UploadRecord> = vec![("empty".into(), UploadRecord::default())];
    for (name, phase) in phases {
        let (open, seal, fragment) = match name {
            "open" => (open.clone(), None, None),
            "committed" => (None, None, fragment),
            "deleted" => (None, None, None),
            _ => (open.clone(), Some(a.clone()), fragment),
        };
        records.push((name.into(), UploadRecord { open, seal, phase, fragment }));
    }
    records
}

fn requests(world: &World) -> Named<Message> {
    let a = world.bundle(0xa);
    let upload = a.open.open.object.upload(&world.config);
    let object = world.object("photo", 0);
    let proof = Box::new(world.proof(&a));
    let next = Box::new(world.signed_open(world.object("photo", 1)));
    let delete = world.order(OrderKind::Delete, object.clone());
    let open = |predecessor| Message::Open { open: next.clone(), predecessor };
    let get = |proof| Message::GetFrag { upload, first: StripeIndex(7), count: 9, proof };
    let list = |prefix: &str, after| Message::List {
        owner: object.owner,
        prefix: prefix.into(),
        after,
        limit: 100,
    };
    named([
        ("head", Message::Head { owner: object.owner, name: object.name.clone() }),
        ("open first", Message::Open { open: Box::new(a.open.clone()), predecessor: None }),
        ("open after abort", open(Some(Predecessor::Aborted(world.abort_cert(&a))))),
        ("open after delete", open(Some(Predecessor::Deleted(delete.clone())))),
        ("open after expiry", open(Some(Predecessor::Expired(proof.clone())))),
        ("seal", Message::Seal { manifest: Box::new(a.manifest.clone()), seal: a.seal }),
        ("getfrag", get(None)),
        ("getfrag with proof", get(Some(proof.clone()))),
        ("commit", Message::Commit(proof.clone())),
        ("fill", Message::Fill(proof)),
        ("order cancel", Message::Order(world.order(OrderKind::Cancel, object.clone()))),
        ("order delete", Message::Order(delete)),
        ("list all", list("", None)),
        ("list after", list("ph\u{f6}", Some(object.name.clone()))),
        ("stat", Message::Stat { upload, nonce: Nonce([0x5e; 16]) }),
        ("status", Message::Status),
    ])
}

fn answers(world: &World) -> Named<Message> {
    let a = world.bundle(0xa);
    let object = world.object("photo", 0);
    let proof = Box::new(world.proof(&a));
    let delete = world.order(OrderKind::Delete, object);
    let cert = a.clone();
    let vote = |kind| Box::new(world.sign(&statement(world, &a, kind)));
    let aborted = |vote, cert| Some(AbortedHead { generation: Generation(3), vote, cert });
    let full = HeadAnswer {
        committed: Some(proof.clone()),
        deleted: Some(delete.clone()),
        pending: Some(a.open.clone()),
        aborted: aborted(Some(*vote(StatementKind::Abort)), None),
    };
    let ended = HeadAnswer {
        aborted: aborted(None, Some(world.abort_cert(&cert))),
        ..HeadAnswer::default()
    };
    let echo_cert = world.cert(StatementKind::Echo, &a, &[0, 1, 2, 3]);
    let entries = vec![ListEntry::Committed(proof), ListEntry::Deleted(delete)];
    let opened = |complete| {
        let prefix_root = Digest([0x77; 32]);
        Message::Opened(Opened { stripes: 5, prefix_root, complete })
    };
    let mut answers = named([
        ("head answer empty", Message::HeadAnswer(Box::default())),
        ("head answer full", Message::HeadAnswer(Box::new(full))),
        ("head answer ended", Message::HeadAnswer(Box::new(ended))),
        ("opened", opened(false)),
        ("opened complete", opened(true)),
        (
            "vote ready",
            Message::Vote { vote: vote(StatementKind::Ready), echo_cert: Some(echo_cert) },
        ),
        ("list answer empty", Message::ListAnswer(ListPage { entries: vec![], complete_to: None })),
        (
            "list answer",
            Message::ListAnswer(ListPage {
                entries,
                complete_to: Some(ObjectName::new("photo").unwrap()),
            }),
        ),
        ("status answer", Message::StatusAnswer("{\"epoch\":0}".into())),
    ]);
    for kind in KINDS.into_iter().filter(|kind| *kind < StatementKind::Seal) {
        let name = format!("vote {kind}");
        answers.push((name, Message::Vote { vote: vote(kind), echo_cert: None }));
    }
    for code in REFUSALS {
        let name = format!("refused {code:?}").to_lowercase();
        answers.push((name, Message::refused(code, "because of the disk")));
    }
    answers
}

fn peers(world: &World) -> Named<Message> {
    let a = world.bundle(0xa);
    let upload = a.open.open.object.upload(&world.config);
    let delete = world.order(OrderKind::Delete, world.object("photo", 0));
    let echo_cert = world.cert(StatementKind::Echo, &a, &[0, 1, 2, 3]);
    let news = |news| Message::News { position: 0x0102_0304_0506_0708, upload, news };
    let pulled = |pulled| Message::Pulled { upload, pulled };
    let votes = batch(world, &a);
    named([
        ("news votes", news(News::Votes { votes: votes[..1].to_vec(), echo_cert: None })),
        ("news ready", news(News::Votes { votes, echo_cert: Some(echo_cert) })),
        ("news committed", news(News::Committed)),
        ("news aborted", news(News::Aborted(world.abort_cert(&a)))),
        ("news deleted", news(News::Deleted(delete))),
        ("heartbeat", Message::Heartbeat(heartbeat(world))),
        ("pull", Message::Pull(upload)),
        ("pulled nothing", pulled(Pulled::Nothing)),
        ("pulled committed", pulled(Pulled::Committed(Box::new(world.proof(&a))))),
        ("pulled sealed", pulled(Pulled::Sealed(Box::new(a)))),
    ])
}

pub(crate) fn messages(world: &World) -> Named<Message> {
    let parts = [requests(world), answers(world), peers(world)];
    parts.into_iter().flatten().collect()
}

fn named<const N: usize>(values: [(&str, Message); N]) -> Named<Message> {
    values.map(|(name, value)| (name.to_owned(), value)).into()
}

pub(crate) fn heartbeat(world: &World) -> SignedHeartbeat {
    let heartbeat = Heartbeat { node: NodeId(2), reading: EXPIRY, boot: 3, position: 0x0102_0304 };
    heartbeat.sign(&world.config, &world.keys[2])
}

pub(crate) fn grant(world: &World) -> SignedGrant {
    let rights = Rights { read: true, write: false };
    let client = world.owner.public();
    Grant { client, rights, not_after: Timestamp(77) }.sign(&world.config, &world.operator)
}

pub(crate) fn chunk_prefix(world: &World) -> Vec<u8> {
    let fpcc: Vec<u8> = (0..=255).cycle().take(world.config.fpcc_bytes()).collect();
    ChunkPrefix { stripe: StripeIndex(9), chunk_bytes: 4096 }.to_bytes(&fpcc)
}

pub(crate) fn frag_prefix(world: &World) -> FragPrefix {
    let mut path = MerklePath::default();
    path.push(Side::Left, Digest([1; 32]));
    path.push(Side::Right, Digest([2; 32]));
    path.push(Side::Left, Digest([3; 32]));
    FragPrefix {
        chunk: ChunkPrefix { stripe: StripeIndex(9), chunk_bytes: 4096 },
        fpcc: (0..=255).cycle().take(world.config.fpcc_bytes()).collect(),
        path,
    }
}

/// Every signed and stored form, by name.
pub(crate) fn forms(world: &World) -> Named<Vec<u8>> {
    let a = world.bundle(0xa);
    let mut forms: Named<Vec<u8>> = Vec::new();
    let mut add = |name: &str, bytes: Vec<u8>| forms.push((name.to_owned(), bytes));
    add("configuration", world.config.to_bytes());
    add("configuration signature", sign_config(&world.config, &world.operator).0.into());
    add("upload id", a.open.open.object.upload(&world.config).0.into());
    add("open signed bytes", a.open.open.signed_bytes(&world.config));
    add("manifest", a.manifest.to_bytes());
    add("commitment", a.manifest.commitment().0.into());
    add("seal signature", a.seal.0.into());
    for kind in KINDS {
        add(&format!("statement {kind}"), statement(world, &a, kind).to_bytes(&world.config));
    }
    add("batch signed bytes", batch_message(&world.config, &Digest([7; 32])));
    for vote in batch(world, &a) {
        let name = format!("vote {} of a batch of three", vote.statement.kind);
        add(&name, encoded(|e| vote.encode(e)));
    }
    add(
        "echo certificate",
        encoded(|e| world.cert(StatementKind::Echo, &a, &[0, 1, 2, 3]).encode(e)),
    );
    add("commit proof", encoded(|e| world.proof(&a).encode(e)));
    add("abort certificate", encoded(|e| world.abort_cert(&a).encode(e)));
    add("heartbeat signed bytes", heartbeat(world).heartbeat.signed_bytes(&world.config));
    add("grant", encoded(|e| grant(world).encode(e)));
    add("chunk prefix", chunk_prefix(world));
    add("frag prefix", frag_prefix(world).to_bytes());
    forms
}

pub(crate) fn encoded(encode: impl FnOnce(&mut Encoder)) -> Vec<u8> {
    let mut e = Encoder::new();
    encode(&mut e);
    e.into_vec()
}

/// Flips one bit of a signature.
pub(crate) fn spoiled(signature: Signature) -> Signature {
    let mut bytes = signature.0;
    bytes[5] ^= 1;
    Signature(bytes)
}
