//! Deliberate bugs, for the tests that must catch them. No build that ships has any.
//!
//! A checker that never fails proves nothing. Each canary breaks one rule at the line that keeps
//! it, and the suite must notice. Without the feature `canary`, [`sings`] is the constant `false`
//! and every hook is compiled away; with it, all of them are in one build and a thread releases
//! one at run time. Only the simulator's feature of the same name turns it on, and the command
//! line's crate refuses to build with it.
//!
//! Spec: docs/TESTING.md, "Canaries".
//! Not here: who must catch which, within how many seeds (`sim::canaries`).

/// A rule that is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Canary {
    /// A reader checks the hash of a chunk and not its fingerprint. READ-1, section 1.2.
    HashOnlyReads,
    /// A node takes chunks by their hash alone. FPCC-1.
    HashOnlyWrites,
    /// A reader believes the cross-checksum that comes with a chunk. READ-1.
    TrustOneCrossChecksum,
    /// The evaluation point depends on the first digest only. Section 1.2.
    ClientChosenPoint,
    /// A vote counts each time it arrives. TALLY-1.
    VotesBySocket,
    /// A node echoes what others echoed, without a fragment. ECHO-1.
    EchoWithoutFragment,
    /// READYs of others do not make a node ready. READY-2.
    NoAmplification,
    /// A READY needs no whole echo certificate. READY-1.
    ReadyWithoutCertificate,
    /// The echo quorum is one too small. PARAMS-1, section 1.5.
    EchoQuorumTooSmall,
    /// The delivery quorum is one too small. PARAMS-1, section 1.5.
    CommitBelowQuorum,
    /// A vote leaves before the record that promises it is synced. SIGN-2.
    VoteBeforeSync,
    /// A node that read a promise to abort back from disk does not keep it. ABORT-1.
    ForgetAborts,
    /// A node whose disk forgot its votes goes on voting. AMNESIA-1.
    NoAmnesiaCheck,
    /// Orders need no signature of the owner. DELETE-1.
    OrdersByAnyone,
    /// Cluster time is the fastest clock. TIME-1.
    FastestClock,
    /// A later life of a name needs no proof that the one before ended. ID-1.
    NoPredecessor,
    /// A writer counts a fragment as placed that it sent, without its node's word. HOLD-1.
    SkipHoldCheck,
}

impl Canary {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::HashOnlyReads,
        Self::HashOnlyWrites,
        Self::TrustOneCrossChecksum,
        Self::ClientChosenPoint,
        Self::VotesBySocket,
        Self::EchoWithoutFragment,
        Self::NoAmplification,
        Self::ReadyWithoutCertificate,
        Self::EchoQuorumTooSmall,
        Self::CommitBelowQuorum,
        Self::VoteBeforeSync,
        Self::ForgetAborts,
        Self::NoAmnesiaCheck,
        Self::OrdersByAnyone,
        Self::FastestClock,
        Self::NoPredecessor,
        Self::SkipHoldCheck,
    ];

    /// Its name on command lines.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::HashOnlyReads => "hash-only-reads",
            Self::HashOnlyWrites => "hash-only-writes",
            Self::TrustOneCrossChecksum => "trust-one-cross-checksum",
            Self::ClientChosenPoint => "client-chosen-point",
            Self::VotesBySocket => "votes-by-socket",
            Self::EchoWithoutFragment => "echo-without-fragment",
            Self::NoAmplification => "no-amplification",
            Self::ReadyWithoutCertificate => "ready-without-certificate",
            Self::EchoQuorumTooSmall => "echo-quorum-too-small",
            Self::CommitBelowQuorum => "commit-below-quorum",
            Self::VoteBeforeSync => "vote-before-sync",
            Self::ForgetAborts => "forget-aborts",
            Self::NoAmnesiaCheck => "no-amnesia-check",
            Self::OrdersByAnyone => "orders-by-anyone",
            Self::FastestClock => "fastest-clock",
            Self::NoPredecessor => "no-predecessor",
            Self::SkipHoldCheck => "skip-hold-check",
        }
    }

    /// The canary of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|canary| canary.name() == name)
    }
}

/// Whether the bugs are in this build.
pub const IS_BUILT: bool = cfg!(feature = "canary");

#[cfg(not(feature = "canary"))]
/// Whether this rule is broken now: never.
#[must_use]
#[inline]
pub const fn sings(_: Canary) -> bool {
    false
}

#[cfg(feature = "canary")]
pub use released::{VARIABLE, release, sings};

#[cfg(feature = "canary")]
mod released {
    use std::cell::Cell;

    use super::Canary;

    /// Names the canary that threads begin with: so that any test can be run with any bug.
    pub const VARIABLE: &str = "AVID_CANARY";

    thread_local! {
        static RELEASED: Cell<Option<Canary>> = Cell::new(from_environment());
    }

    #[expect(clippy::disallowed_methods, reason = "in builds for tests only: see the module")]
    fn from_environment() -> Option<Canary> {
        let name = std::env::var(VARIABLE).ok()?;
        let canary = Canary::named(&name);
        assert!(canary.is_some(), "{VARIABLE}={name}: there is no such canary");
        canary
    }

    /// Breaks this rule, and no other, on this thread from now on; none: keeps all of them.
    pub fn release(canary: Option<Canary>) {
        RELEASED.set(canary);
    }

    /// Whether this rule is broken on this thread now.
    #[must_use]
    pub fn sings(canary: Canary) -> bool {
        RELEASED.get() == Some(canary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_canaries() {
        for canary in Canary::ALL {
            assert_eq!(Canary::named(canary.name()), Some(canary));
        }
        assert_eq!(Canary::named("tweety"), None);
    }

    /// Whatever is built, no rule is broken unless somebody asks for it.
    #[test]
    fn nobody_sings_unasked() {
        assert!(Canary::ALL.into_iter().all(|canary| !sings(canary)));
    }

    #[cfg(feature = "canary")]
    #[test]
    fn one_canary_sings_at_a_time() {
        release(Some(Canary::HashOnlyReads));
        assert!(sings(Canary::HashOnlyReads) && !sings(Canary::VotesBySocket));
        release(None);
        assert!(Canary::ALL.into_iter().all(|canary| !sings(canary)));
    }
}
