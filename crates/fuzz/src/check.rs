//! What must hold of every value that a decoder accepted: the limits, and what follows from them.

use avid_coding::MerklePath;
use avid_protocol::certificate::{CommitProof, Predecessor, QuorumCert};
use avid_protocol::object::{Manifest, OwnerOrder, SealBundle, SignedOpen};
use avid_protocol::record::{Phase, UploadRecord};
use avid_protocol::statement::StatementKind;
use avid_protocol::vote::SignedVote;
use avid_protocol::wire::{HeadAnswer, ListEntry, Message, News, Pulled};
use avid_types::limits::{
    BATCH_PATH_MAX, CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, CONTROL_FRAME_BYTES_MAX, GROUP_NODES_MAX,
    LABEL_BYTES_MAX, LIST_PAGE_MAX, NAME_BYTES_MAX, OBJECT_BYTES_MAX, STRIPE_PATH_MAX,
};
use avid_types::{DecodeError, Decoder, Encoder, ObjectName, Params, StripeIndex, StripeLayout};

/// Votes of one NEWS: docs/formats.md.
const NEWS_VOTES_MAX: usize = 4;

/// Decodes exactly these bytes, and asserts that the value is written as the same bytes again.
pub(crate) fn canonical<T>(
    bytes: &[u8],
    decode: impl FnOnce(&mut Decoder<'_>) -> Result<T, DecodeError>,
    encode: impl FnOnce(&T, &mut Encoder),
) -> Option<T> {
    let mut decoder = Decoder::new(bytes);
    let value = decode(&mut decoder).ok()?;
    decoder.finish().ok()?;
    let mut encoder = Encoder::new();
    encode(&value, &mut encoder);
    assert!(encoder.as_slice() == bytes, "a decoded value is written as other bytes");
    Some(value)
}

pub(crate) fn params(params: Params) {
    assert!(params.m() >= 1 && params.n() > params.m(), "shape without data or parity");
    assert!(params.n() > 3 * params.f(), "more liars than a third");
    assert!(params.echo_quorum() <= params.answer_quorum(), "quorum beyond n - f");
    assert!(params.deliver_quorum() <= params.answer_quorum(), "quorum beyond n - f");
}

pub(crate) fn name(name: &ObjectName) {
    let text = name.as_str();
    assert!((1..=NAME_BYTES_MAX).contains(&text.len()), "length of a name");
    assert!(!text.chars().any(char::is_control), "control character in a name");
}

pub(crate) fn path(path: &MerklePath, max: usize) {
    assert!(path.siblings.len() <= max, "path of {} siblings, limit {max}", path.siblings.len());
    let len = u32::try_from(path.siblings.len()).unwrap_or(u32::MAX);
    assert!(path.sides.checked_shr(len).unwrap_or(0) == 0, "sides beyond the siblings");
}

pub(crate) fn open(signed: &SignedOpen) {
    let open = &signed.open;
    name(&open.object.name);
    params(open.params);
    if let Ok(stripes) = StripeLayout::new(open.params, open.chunk_bytes, open.object_bytes_max) {
        layout(stripes);
    }
}

pub(crate) fn manifest(manifest: &Manifest) {
    name(&manifest.object.name);
    params(manifest.params);
    if let Ok(stripes) = manifest.layout() {
        assert!(stripes.stripes() == manifest.stripes, "stripes of a manifest");
        layout(stripes);
    }
}

fn layout(layout: StripeLayout) {
    let full = layout.full_chunk_bytes();
    assert!((CHUNK_BYTES_MIN..=CHUNK_BYTES_MAX).contains(&full), "chunk size");
    assert!(layout.object_bytes() <= OBJECT_BYTES_MAX, "object size");
    assert!(layout.stripes() <= 1 << STRIPE_PATH_MAX, "stripes beyond the longest path");
    let Some(last) = layout.stripes().checked_sub(1) else {
        assert!(layout.fragment_bytes() == 0, "fragment of an empty object");
        return;
    };
    let short = layout.chunk_bytes(StripeIndex(last));
    assert!((1..=full).contains(&short), "length of the last chunk");
    let offset = layout.fragment_offset(StripeIndex(last));
    assert!(layout.fragment_bytes() == offset + u64::from(short), "length of a fragment");
    assert!(layout.data_bytes(StripeIndex(last)) > 0, "last stripe without bytes");
    assert!(layout.data_bytes(StripeIndex(last + 1)) == 0, "bytes past the last stripe");
}

pub(crate) fn seal(bundle: &SealBundle) {
    open(&bundle.open);
    manifest(&bundle.manifest);
}

pub(crate) fn order(order: &OwnerOrder) {
    name(&order.object.name);
}

pub(crate) fn vote(vote: &SignedVote) {
    assert!(vote.statement.kind < StatementKind::Seal, "a node's vote of an owner's kind");
    path(&vote.attestation.path, BATCH_PATH_MAX);
}

pub(crate) fn cert(cert: &QuorumCert) {
    assert!(cert.entries.len() <= GROUP_NODES_MAX, "certificate larger than a group");
    assert!(cert.votes().count() == cert.entries.len(), "votes of a certificate");
    for (_, attestation) in &cert.entries {
        path(&attestation.path, BATCH_PATH_MAX);
    }
}

pub(crate) fn proof(proof: &CommitProof) {
    seal(&proof.seal);
    cert(&proof.echo);
    cert(&proof.ready);
}

pub(crate) fn predecessor(predecessor: &Predecessor) {
    match predecessor {
        Predecessor::Aborted(aborted) => cert(aborted),
        Predecessor::Deleted(deleted) => order(deleted),
        Predecessor::Expired(expired) => proof(expired),
    }
}

pub(crate) fn record(record: &UploadRecord) {
    record.open.iter().for_each(open);
    record.seal.iter().for_each(seal);
    match &record.phase {
        Phase::Idle | Phase::Echoed(_) => {}
        Phase::Ready { echo_cert, .. } => cert(echo_cert),
        Phase::Aborted { cert: aborted, .. } => aborted.iter().for_each(cert),
        Phase::Committed(committed) => proof(committed),
        Phase::Deleted(deleted) => order(deleted),
    }
}

pub(crate) fn message(message: &Message) {
    match message {
        Message::Head { name: asked, .. } => name(asked),
        Message::Open { open: opened, predecessor: before } => {
            open(opened);
            before.iter().for_each(predecessor);
        }
        Message::Seal { manifest: sealed, .. } => manifest(sealed),
        Message::GetFrag { proof: shown, .. } => shown.iter().for_each(|shown| proof(shown)),
        Message::Commit(shown) | Message::Fill(shown) => proof(shown),
        Message::Order(given) => order(given),
        Message::List { prefix, after, .. } => {
            assert!(prefix.len() <= NAME_BYTES_MAX, "length of a prefix");
            after.iter().for_each(name);
        }
        Message::HeadAnswer(answer) => head(answer),
        Message::Vote { vote: given, echo_cert } => {
            vote(given);
            echo_cert.iter().for_each(cert);
        }
        Message::ListAnswer(page) => {
            assert!(page.entries.len() <= LIST_PAGE_MAX, "length of a page");
            page.entries.iter().for_each(entry);
            page.complete_to.iter().for_each(name);
        }
        Message::StatusAnswer(text) => {
            assert!(text.len() <= CONTROL_FRAME_BYTES_MAX, "length of a status");
        }
        Message::Refused(refused) => {
            assert!(refused.message.len() <= LABEL_BYTES_MAX, "length of a refusal");
        }
        Message::News { news: told, .. } => news(told),
        Message::Pulled { pulled: found, .. } => pulled(found),
        Message::Stat { .. }
        | Message::Status
        | Message::Opened(_)
        | Message::Heartbeat(_)
        | Message::Pull(_) => {}
    }
}

fn head(answer: &HeadAnswer) {
    answer.committed.iter().for_each(|committed| proof(committed));
    answer.deleted.iter().for_each(order);
    answer.pending.iter().for_each(open);
    if let Some(aborted) = &answer.aborted {
        aborted.vote.iter().for_each(vote);
        aborted.cert.iter().for_each(cert);
    }
}

fn entry(entry: &ListEntry) {
    match entry {
        ListEntry::Committed(committed) => proof(committed),
        ListEntry::Deleted(deleted) => order(deleted),
    }
}

fn news(news: &News) {
    match news {
        News::Votes { votes, echo_cert } => {
            assert!(votes.len() <= NEWS_VOTES_MAX, "votes of one upload");
            votes.iter().for_each(vote);
            echo_cert.iter().for_each(cert);
        }
        News::Committed => {}
        News::Aborted(aborted) => cert(aborted),
        News::Deleted(deleted) => order(deleted),
    }
}

fn pulled(pulled: &Pulled) {
    match pulled {
        Pulled::Nothing => {}
        Pulled::Committed(committed) => proof(committed),
        Pulled::Sealed(sealed) => seal(sealed),
    }
}
