//! What may happen to a node, and which of it a model contains.
//!
//! Peers are numbered from the node's own seat: 0 is the node itself, 1 and 2 the next honest
//! nodes around the table, and the last ones the liars. So the three honest nodes, seen from
//! themselves, are one and the same automaton, which [`crate::automaton`] checks.

/// Nodes of the group.
pub(crate) const NODES: usize = 4;

/// One input of a node, or one thing that befalls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Event {
    /// The owner announces this content.
    Open(usize),
    /// The owner's fragment of this content is verified and durable here.
    Store(usize),
    /// The owner's description of this content, from whoever knows it.
    Seal(usize),
    /// From this peer, about this content.
    Echo(usize, usize),
    /// From this peer, about this content.
    Ready(usize, usize),
    /// From this peer.
    Abort(usize),
    /// A commit proof of this content, from whoever has it.
    Commit(usize),
    /// An abort certificate, from whoever has it.
    AbortCert,
    /// The owner's CANCEL.
    Cancel,
    /// The owner's DELETE, from the owner or from whoever has it.
    Delete,
    /// Cluster time of this node passes the next expiry.
    Later,
    /// The node looks at its cluster time.
    Tick,
    /// The disk lost the fragment, and the node noticed.
    FragmentLost,
    /// The owner opens and stores the next generation, on this proof that the first ended.
    Next(Ended),
    /// The node loses all but its journal, and says again what it promised.
    Restart,
}

/// How a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Ended {
    Aborted,
    Deleted,
    Expired,
    /// Not at all: no proof is shown.
    Unproved,
}

/// The two contents an owner may have sealed under one upload id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contents {
    /// Only one.
    One,
    /// Only one, and the object expires with its OPEN.
    Expiring,
    /// Different bytes under one OPEN.
    Two,
    /// The same bytes under two OPENs of different expiry.
    Reopened,
}

impl Contents {
    pub(crate) fn count(self) -> usize {
        match self {
            Self::One | Self::Expiring => 1,
            Self::Two | Self::Reopened => 2,
        }
    }

    /// Expiries that cluster time may pass, one after the other.
    pub(crate) fn expiries(self) -> u8 {
        match self {
            Self::One | Self::Two | Self::Expiring => 1,
            Self::Reopened => 2,
        }
    }
}

/// What happens in a model; what is false never happens in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope {
    pub(crate) contents: Contents,
    pub(crate) liars: usize,
    /// The owner cancels.
    pub(crate) cancel: bool,
    /// OPENs arrive and expire.
    pub(crate) expiry: bool,
    pub(crate) delete: bool,
    pub(crate) losses: bool,
    pub(crate) next_generation: bool,
    pub(crate) broken: Broken,
}

/// A rule that a canary breaks, so that the checker has something to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    Nothing,
    /// READY-1: a READY of anybody counts without an echo certificate.
    ReadyWithoutEchoes,
    /// READY-1: honest nodes' READYs travel without the certificate they stand on.
    BareReady,
    /// READY-1: one ECHO less than E makes a certificate.
    EchoQuorum,
    /// ABORT-2: one ABORT less than n - f makes a certificate.
    AbortQuorum,
    /// AMNESIA-1: a restarted node votes although it forgot its journal.
    Amnesia,
    /// ID-1: the next generation opens without proof.
    OpenGeneration,
}

impl Scope {
    /// One content, one liar, no rule broken; votes and restarts only.
    pub(crate) const BARE: Self = Self {
        contents: Contents::One,
        liars: 1,
        cancel: false,
        expiry: false,
        delete: false,
        losses: false,
        next_generation: false,
        broken: Broken::Nothing,
    };

    pub(crate) fn honest(&self) -> usize {
        NODES - self.liars
    }

    pub(crate) fn has_aborts(&self) -> bool {
        self.cancel || self.expiry
    }

    fn has_clock(&self) -> bool {
        self.expiry || self.contents == Contents::Expiring
    }

    /// Everything that may happen to a node, in a fixed order.
    pub(crate) fn events(&self) -> Vec<Event> {
        let mut events = vec![Event::Restart];
        for content in 0..self.contents.count() {
            events.extend([Event::Store(content), Event::Seal(content), Event::Commit(content)]);
            for peer in 0..NODES {
                events.extend([Event::Echo(peer, content), Event::Ready(peer, content)]);
            }
            if self.expiry {
                events.push(Event::Open(content));
            }
        }
        if self.has_aborts() {
            events.extend((0..NODES).map(Event::Abort));
            events.push(Event::AbortCert);
        }
        let optional = [
            (self.cancel, Event::Cancel),
            (self.delete, Event::Delete),
            (self.expiry, Event::Tick),
            (self.has_clock(), Event::Later),
            (self.losses, Event::FragmentLost),
            (self.next_generation && self.has_aborts(), Event::Next(Ended::Aborted)),
            (self.next_generation && self.delete, Event::Next(Ended::Deleted)),
            (self.next_generation && self.has_clock(), Event::Next(Ended::Expired)),
            (self.next_generation, Event::Next(Ended::Unproved)),
        ];
        events.extend(optional.into_iter().filter(|(happens, _)| *happens).map(|(_, event)| event));
        events
    }
}
