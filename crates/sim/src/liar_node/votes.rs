//! Nodes that lie with votes and certificates.

use std::collections::{BTreeMap, BTreeSet};

use avid_protocol::certificate::QuorumCert;
use avid_protocol::statement::StatementKind;
use avid_protocol::wire::{Message, News, kind};
use avid_types::{Commitment, Epoch, Slot};

use super::collusion::{Content, Gang};
use super::{Identity, each_cert, each_vote, frame_of, message_of};
use crate::network::HostId;
use crate::tap::{Frame, Tap, Way};

/// Who hears what from an equivocator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// The victims hear the lie, all others the truth.
    Split,
    /// The victims hear the truth and then the lie: proof against the liar in their hands.
    Both,
}

/// Votes for one content to some hosts and for another to the others.
///
/// May: sign any statement with its own key. May not: sign for others, so that no certificate
/// stands behind its other content unless honest nodes voted for it.
#[derive(Debug)]
pub struct Equivocator {
    me: Identity,
    victims: BTreeSet<HostId>,
    audience: Audience,
    other: Option<Commitment>,
    /// Votes changed.
    pub lies: u64,
}

impl Equivocator {
    /// Lies to these hosts; `other` is what it votes for there, or an invention if there is none.
    pub fn new(
        me: Identity,
        victims: impl IntoIterator<Item = HostId>,
        audience: Audience,
        other: Option<Commitment>,
    ) -> Self {
        Self { me, victims: victims.into_iter().collect(), audience, other, lies: 0 }
    }
}

impl Tap for Equivocator {
    fn on_frame(&mut self, way: Way, frame: Frame, wire: &mut Vec<Frame>) {
        let is_victim = self.victims.contains(&way.to);
        let Some(mut message) = message_of(&frame).filter(|_| is_victim) else {
            return wire.push(frame);
        };
        let lies = equivocate(&self.me, &mut message, self.other);
        self.lies += lies;
        if lies == 0 || self.audience == Audience::Both {
            wire.push(frame);
        }
        if lies > 0 {
            wire.push(frame_of(&message));
        }
    }
}

/// Signs the votes of a message again, about other content. Returns how many.
pub(super) fn equivocate(me: &Identity, message: &mut Message, other: Option<Commitment>) -> u64 {
    let mut lies = 0;
    each_vote(message, |vote| {
        let mut statement = vote.statement;
        let is_mine = me.slot(statement.upload) == Some(statement.slot);
        if !is_mine || statement.commitment == Commitment::ZERO {
            return;
        }
        let invented = Commitment(statement.commitment.0.map(|byte| !byte));
        statement.commitment = other.unwrap_or(invented);
        if statement != vote.statement {
            *vote = me.sign(statement);
            lies += 1;
        }
    });
    lies
}

/// How far a parrot goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boldness {
    /// ECHO for every content its gang hears of; READY wherever an echo certificate can be made.
    Certified,
    /// READY for every content, without a certificate.
    ReadyWithoutEchoes,
    /// READY for every content, with a certificate that lacks what the gang could not get.
    ReadyWithFewEchoes,
    /// ABORT for every upload, at once.
    Abort,
}

/// Votes for whatever its gang hears of, to everybody, without holding a fragment.
///
/// May: sign with its own key and use every honest vote that was sent to a member of its gang.
/// May not: forge an honest vote, or know of one that was sent to honest hosts only.
#[derive(Debug)]
pub struct Parrot {
    me: Identity,
    gang: Gang,
    boldness: Boldness,
    /// Which hosts hear of which content only; empty: everybody hears of all.
    audiences: BTreeMap<HostId, Commitment>,
    /// Votes added.
    pub lies: u64,
}

impl Parrot {
    /// A member of a gang that talks.
    #[must_use]
    pub fn new(me: Identity, gang: Gang, boldness: Boldness) -> Self {
        Self { me, gang, boldness, audiences: BTreeMap::new(), lies: 0 }
    }

    /// Tells these hosts of this content and of no other, and nothing that its own process would
    /// say to them.
    #[must_use]
    pub fn only(mut self, content: Commitment, hosts: impl IntoIterator<Item = HostId>) -> Self {
        self.audiences.extend(hosts.into_iter().map(|host| (host, content)));
        self
    }

    fn news(&self, to: HostId) -> Vec<Message> {
        let mut messages = Vec::new();
        let told = self.audiences.get(&to);
        let is_told = |content: &Content| told.is_none_or(|told| *told == content.commitment);
        for promise in self.gang.promises().into_iter().filter(is_told) {
            let Some(slot) = self.me.slot(promise.upload) else { continue };
            let vote = |kind| {
                let mut statement = promise.statement(kind, slot);
                if kind == StatementKind::Abort {
                    statement.commitment = Commitment::ZERO;
                    statement.expiry = avid_types::Timestamp::ZERO;
                }
                self.me.sign(statement)
            };
            let mut say = |vote, echo_cert| {
                let news = News::Votes { votes: vec![vote], echo_cert };
                messages.push(Message::News { position: 0, upload: promise.upload, news });
            };
            match self.boldness {
                Boldness::Certified => {
                    say(vote(StatementKind::Echo), None);
                    if let Some(cert) = self.gang.echo_cert(&promise) {
                        say(vote(StatementKind::Ready), Some(cert));
                    }
                }
                Boldness::ReadyWithoutEchoes => say(vote(StatementKind::Ready), None),
                Boldness::ReadyWithFewEchoes => {
                    let cert = self.gang.echoes(&promise);
                    say(vote(StatementKind::Ready), Some(cert));
                }
                Boldness::Abort => say(vote(StatementKind::Abort), None),
            }
        }
        messages
    }
}

impl Tap for Parrot {
    fn on_frame(&mut self, way: Way, frame: Frame, wire: &mut Vec<Frame>) {
        self.gang.hear(&frame);
        let is_beat = frame.kind == kind::HEARTBEAT && way.opened_by_sender;
        if is_beat || !self.audiences.contains_key(&way.to) {
            wire.push(frame);
        }
        if is_beat {
            let news = self.news(way.to);
            self.lies += news.len() as u64;
            wire.extend(news.iter().map(frame_of));
        }
    }
}

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgery {
    /// One signature has a flipped bit.
    Signature,
    /// One signer stands there twice and another not at all.
    Duplicate,
    /// One signer has a slot that no group has.
    Stranger,
    /// It is of another epoch.
    OtherEpoch,
    /// It is about another commitment.
    OtherContent,
    /// Its statements are of another kind.
    OtherKind,
    /// One signature is missing.
    TooFew,
    /// It is empty.
    Empty,
}

impl Forgery {
    /// Every forgery.
    pub const ALL: [Self; 8] = [
        Self::Signature,
        Self::Duplicate,
        Self::Stranger,
        Self::OtherEpoch,
        Self::OtherContent,
        Self::OtherKind,
        Self::TooFew,
        Self::Empty,
    ];

    /// Spoils a certificate.
    pub fn spoil(self, cert: &mut QuorumCert) {
        match self {
            Self::Signature => {
                if let Some((_, attestation)) = cert.entries.first_mut() {
                    attestation.signature.0[0] ^= 1;
                }
            }
            Self::Duplicate => {
                if let [first, .., last] = cert.entries.as_mut_slice() {
                    last.clone_from(first);
                }
            }
            Self::Stranger => {
                if let Some((slot, _)) = cert.entries.last_mut() {
                    *slot = Slot(u8::MAX);
                }
            }
            Self::OtherEpoch => cert.epoch = Epoch(cert.epoch.0.wrapping_add(1)),
            Self::OtherContent => cert.commitment = Commitment(cert.commitment.0.map(|byte| !byte)),
            Self::OtherKind if cert.kind == StatementKind::Echo => cert.kind = StatementKind::Hold,
            Self::OtherKind => cert.kind = StatementKind::Echo,
            Self::TooFew => drop(cert.entries.pop()),
            Self::Empty => cert.entries.clear(),
        }
    }
}

/// Spoils every certificate that it passes on.
///
/// May: change any certificate in any message. May not: change votes of its own, or chunks.
#[derive(Debug)]
pub struct Forger {
    forgery: Forgery,
    /// Certificates spoilt.
    pub lies: u64,
}

impl Forger {
    /// Spoils certificates in this way.
    #[must_use]
    pub fn new(forgery: Forgery) -> Self {
        Self { forgery, lies: 0 }
    }
}

impl Tap for Forger {
    fn on_frame(&mut self, _: Way, frame: Frame, wire: &mut Vec<Frame>) {
        let Some(mut message) = message_of(&frame) else { return wire.push(frame) };
        let before = self.lies;
        each_cert(&mut message, |cert| {
            self.forgery.spoil(cert);
            self.lies += 1;
        });
        wire.push(if self.lies > before { frame_of(&message) } else { frame });
    }
}

/// Says everything it says to peers many times over.
///
/// May: repeat. May not: say anything that it would not say once.
#[derive(Debug)]
pub struct Flood {
    times: u64,
    /// Frames added.
    pub lies: u64,
}

impl Flood {
    /// Repeats every frame on its links this often.
    #[must_use]
    pub fn new(times: u64) -> Self {
        Self { times, lies: 0 }
    }
}

impl Tap for Flood {
    fn on_frame(&mut self, way: Way, frame: Frame, wire: &mut Vec<Frame>) {
        if way.opened_by_sender && frame.kind == kind::NEWS {
            for _ in 1..self.times {
                wire.push(frame.clone());
                self.lies += 1;
            }
        }
        wire.push(frame);
    }
}
