//! Valid encodings from the frozen files of the crates: what mutation starts from.
//!
//! The files hold one value of every kind, made from fixed keys that no target knows. So whatever a
//! target finds validly signed must be one of these values.

use avid_protocol::certificate::{CommitProof, Predecessor, QuorumCert};
use avid_protocol::clock::SignedHeartbeat;
use avid_protocol::object::{Manifest, OwnerOrder, SealBundle, SignedOpen};
use avid_protocol::vote::SignedVote;
use avid_protocol::wire::{ListEntry, Message, News, Pulled};
use avid_types::{ClusterConfig, Encoder};

const FORMS: &str = include_str!("../../protocol/testdata/forms.hex");
const MESSAGES: &str = include_str!("../../protocol/testdata/messages.hex");
const RECORDS: &str = include_str!("../../protocol/testdata/records.hex");
const HANDSHAKE: &str = include_str!("../../net/testdata/handshake.txt");
/// The files of the command line, several JSON texts after each other.
pub(crate) const FILES: &str = include_str!("../../cli/testdata/files-v1.txt");

/// The values of a file of named hexadecimal blocks.
fn blocks(text: &str) -> Vec<(&str, Vec<u8>)> {
    let mut values: Vec<(&str, Vec<u8>)> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match (line.strip_prefix("  "), values.last_mut()) {
            (Some(digits), Some((_, bytes))) => bytes.extend(unhex(digits)),
            (Some(_) | None, _) => values.push((line.split(" (").next().unwrap_or(line), vec![])),
        }
    }
    values
}

fn unhex(digits: &str) -> Vec<u8> {
    let bytes = hex::decode(digits).unwrap_or_default();
    assert!(!bytes.is_empty(), "a golden file holds \"{digits}\" instead of hexadecimal digits");
    bytes
}

/// Every form whose name starts like this.
pub(crate) fn forms(prefix: &str) -> Vec<Vec<u8>> {
    let named = blocks(FORMS).into_iter().filter(|(name, _)| name.starts_with(prefix));
    named.map(|(_, bytes)| bytes).collect()
}

/// Lines of the handshake's file whose name starts like this.
pub(crate) fn handshake(prefix: &str) -> Vec<Vec<u8>> {
    let lines = HANDSHAKE.lines().filter(|line| line.starts_with(prefix));
    lines.filter_map(|line| line.rsplit(' ').next()).map(unhex).collect()
}

/// Every upload record.
pub(crate) fn records() -> Vec<Vec<u8>> {
    blocks(RECORDS).into_iter().map(|(_, bytes)| bytes).collect()
}

/// Every message: type, version, body.
pub(crate) fn message_bytes() -> Vec<Vec<u8>> {
    blocks(MESSAGES).into_iter().map(|(_, bytes)| bytes).collect()
}

/// Type, version and body as a message.
pub(crate) fn message_of(bytes: &[u8]) -> Option<Message> {
    let (&[kind, version], body) = bytes.split_first_chunk()?;
    Message::from_body(kind, version, body).ok()
}

/// The cluster in which all golden values were signed.
///
/// An impossible configuration would leave nothing to test, so that is a failure.
#[expect(clippy::expect_used, reason = "the frozen file is read by a test of its own crate")]
pub(crate) fn config() -> ClusterConfig {
    let bytes = forms("configuration").into_iter().next().unwrap_or_default();
    ClusterConfig::from_bytes(&bytes).expect("the golden configuration is readable")
}

/// Parts of the golden messages, by type.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    pub(crate) opens: Vec<SignedOpen>,
    pub(crate) manifests: Vec<Manifest>,
    pub(crate) seals: Vec<SealBundle>,
    pub(crate) orders: Vec<OwnerOrder>,
    pub(crate) votes: Vec<SignedVote>,
    pub(crate) certs: Vec<QuorumCert>,
    pub(crate) proofs: Vec<CommitProof>,
    pub(crate) heartbeats: Vec<SignedHeartbeat>,
    pub(crate) predecessors: Vec<Predecessor>,
}

/// Takes every golden message apart.
pub(crate) fn parts() -> Parts {
    let mut parts = Parts::default();
    for message in message_bytes().iter().filter_map(|bytes| message_of(bytes)) {
        parts.add(message);
    }
    parts
}

impl Parts {
    fn add(&mut self, message: Message) {
        match message {
            Message::Open { open, predecessor } => {
                self.opens.push(*open);
                if let Some(predecessor) = predecessor {
                    self.predecessor(predecessor);
                }
            }
            Message::Seal { manifest, .. } => self.manifests.push(*manifest),
            Message::Commit(proof) | Message::Fill(proof) => self.proof(*proof),
            Message::GetFrag { proof, .. } => {
                proof.into_iter().for_each(|proof| self.proof(*proof));
            }
            Message::Order(order) => self.orders.push(order),
            Message::HeadAnswer(answer) => {
                self.orders.extend(answer.deleted);
                self.opens.extend(answer.pending);
                if let Some(aborted) = answer.aborted {
                    aborted.vote.into_iter().for_each(|vote| self.vote(vote));
                    aborted.cert.into_iter().for_each(|cert| self.cert(cert));
                }
            }
            Message::Vote { vote, echo_cert } => {
                self.vote(*vote);
                echo_cert.into_iter().for_each(|cert| self.cert(cert));
            }
            Message::ListAnswer(page) => page.entries.into_iter().for_each(|entry| match entry {
                ListEntry::Committed(proof) => self.proof(*proof),
                ListEntry::Deleted(order) => self.orders.push(order),
            }),
            Message::News { news, .. } => self.news(news),
            Message::Heartbeat(heartbeat) => self.heartbeats.push(heartbeat),
            Message::Pulled { pulled, .. } => match pulled {
                Pulled::Committed(proof) => self.proof(*proof),
                Pulled::Sealed(seal) => self.seal(*seal),
                Pulled::Nothing => {}
            },
            Message::Head { .. }
            | Message::List { .. }
            | Message::Stat { .. }
            | Message::Status
            | Message::Opened(_)
            | Message::StatusAnswer(_)
            | Message::Refused(_)
            | Message::Pull(_) => {}
        }
    }

    fn news(&mut self, news: News) {
        match news {
            News::Votes { votes, echo_cert } => {
                votes.into_iter().for_each(|vote| self.vote(vote));
                echo_cert.into_iter().for_each(|cert| self.cert(cert));
            }
            News::Committed => {}
            News::Aborted(cert) => self.cert(cert),
            News::Deleted(order) => self.orders.push(order),
        }
    }

    fn predecessor(&mut self, predecessor: Predecessor) {
        match predecessor.clone() {
            Predecessor::Aborted(cert) => self.cert(cert),
            Predecessor::Deleted(order) => self.orders.push(order),
            Predecessor::Expired(proof) => self.proof(*proof),
        }
        self.predecessors.push(predecessor);
    }

    fn vote(&mut self, vote: SignedVote) {
        self.votes.push(vote);
    }

    fn cert(&mut self, cert: QuorumCert) {
        self.votes.extend(cert.votes());
        self.certs.push(cert);
    }

    fn seal(&mut self, seal: SealBundle) {
        self.opens.push(seal.open.clone());
        self.manifests.push(seal.manifest.clone());
        self.seals.push(seal);
    }

    fn proof(&mut self, proof: CommitProof) {
        self.seal(proof.seal.clone());
        self.cert(proof.echo.clone());
        self.cert(proof.ready.clone());
        self.proofs.push(proof);
    }
}

/// The bytes of each value, once.
pub(crate) fn encoded<T>(values: &[T], encode: impl Fn(&T, &mut Encoder)) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = values
        .iter()
        .map(|value| {
            let mut encoder = Encoder::new();
            encode(value, &mut encoder);
            encoder.into_vec()
        })
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}
