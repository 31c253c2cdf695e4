//! The one place with quorum arithmetic.
//!
//! A group of n nodes stores an object as n fragments, any m of which rebuild it, and tolerates f
//! liars. Everything else follows:
//!
//! ```text
//! echo quorum    E = max(m + f, ceil((n + f + 1) / 2))   two of them share an honest node
//! deliver quorum D = 2f + 1                              f + 1 honest nodes are ready
//! live despite f silent nodes  <=>  E <= n - f  <=>  n >= m + 2f  and  n >= 3f + 1
//! ```
//!
//! Spec: docs/protocol.md PARAMS-1 (section 1.1, after PODC'07 section 4).
//! Invariant: a `Params` value satisfies every inequality above.

use crate::canary::{self, Canary};
use crate::encode::{DecodeError, Decoder, Encoder};
use crate::id::Slot;
use crate::limits::GROUP_NODES_MAX;

/// Why (m, n, f) cannot be a cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParamsError {
    /// m = 0.
    #[error("m must be at least 1: an object needs at least one fragment to rebuild it")]
    NoData,
    /// n does not exceed m.
    #[error("n = {n} must exceed m = {m}: without parity fragments no loss is survived")]
    NoParity {
        /// Fragments that rebuild.
        m: u8,
        /// Fragments in all.
        n: u8,
    },
    /// More liars than the availability or agreement bound allows.
    #[error(
        "f = {f} liars are impossible with m = {m}, n = {n}: n >= m + 2f would need n >= {needs_available} \
         (a writer hears n - f nodes of which f may lie), n >= 3f + 1 would need n >= {needs_agreement}; \
         the most is f = {f_max}"
    )]
    TooManyLiars {
        /// Fragments that rebuild.
        m: u8,
        /// Fragments in all.
        n: u8,
        /// Liars asked for.
        f: u8,
        /// The most liars this shape tolerates.
        f_max: u8,
        /// m + 2f.
        needs_available: u32,
        /// 3f + 1.
        needs_agreement: u32,
    },
}

/// Fragments to rebuild (m), nodes (n) and tolerated liars (f) of one placement group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Params {
    m: u8,
    n: u8,
    f: u8,
}

impl Params {
    /// Checks a shape against every bound of PARAMS-1.
    ///
    /// # Errors
    ///
    /// [`ParamsError`] naming the inequality that fails.
    pub fn validate(m: u8, n: u8, f: u8) -> Result<Self, ParamsError> {
        if m == 0 {
            return Err(ParamsError::NoData);
        }
        if n <= m {
            return Err(ParamsError::NoParity { m, n });
        }
        let f_max = Self::liars_max(m, n);
        if f > f_max {
            let needs_available = u32::from(m) + 2 * u32::from(f);
            let needs_agreement = 3 * u32::from(f) + 1;
            return Err(ParamsError::TooManyLiars {
                m,
                n,
                f,
                f_max,
                needs_available,
                needs_agreement,
            });
        }
        Ok(Self { m, n, f })
    }

    /// The shape with as many liars as it tolerates.
    ///
    /// # Errors
    ///
    /// [`ParamsError`] if m = 0 or n <= m.
    pub fn with_most_liars(m: u8, n: u8) -> Result<Self, ParamsError> {
        Self::validate(m, n, if n > m { Self::liars_max(m, n) } else { 0 })
    }

    /// min(floor((n - m) / 2), floor((n - 1) / 3)); needs n > m.
    fn liars_max(m: u8, n: u8) -> u8 {
        ((n - m) / 2).min((n - 1) / 3)
    }

    /// Fragments that rebuild an object.
    #[must_use]
    pub fn m(self) -> usize {
        usize::from(self.m)
    }

    /// Nodes, and fragments, of the group.
    #[must_use]
    pub fn n(self) -> usize {
        usize::from(self.n)
    }

    /// Liars tolerated.
    #[must_use]
    pub fn f(self) -> usize {
        usize::from(self.f)
    }

    /// m as stored in formats.
    #[must_use]
    pub fn m_byte(self) -> u8 {
        self.m
    }

    /// n as stored in formats.
    #[must_use]
    pub fn n_byte(self) -> u8 {
        self.n
    }

    /// f as stored in formats.
    #[must_use]
    pub fn f_byte(self) -> u8 {
        self.f
    }

    /// Fragments beyond m.
    #[must_use]
    pub fn parity(self) -> usize {
        self.n() - self.m()
    }

    /// Echo quorum E: equal ECHOs that make a node ready. Never more than n - f.
    #[must_use]
    pub fn echo_quorum(self) -> usize {
        let overlap = (self.n() + self.f() + 1).div_ceil(2);
        overlap.max(self.m() + self.f()) - usize::from(canary::sings(Canary::EchoQuorumTooSmall))
    }

    /// Delivery quorum D = 2f + 1: equal READYs that commit.
    #[must_use]
    pub fn deliver_quorum(self) -> usize {
        2 * self.f() + 1 - usize::from(canary::sings(Canary::CommitBelowQuorum))
    }

    /// n - f: answers a question may wait for, and ABORTs that end an upload.
    #[must_use]
    pub fn answer_quorum(self) -> usize {
        self.n() - self.f()
    }

    /// 2f + 1: signed tombstones after which a deletion stands.
    #[must_use]
    pub fn delete_quorum(self) -> usize {
        2 * self.f() + 1
    }

    /// f + 1: at least one of them is honest.
    #[must_use]
    pub fn honest_witness(self) -> usize {
        self.f() + 1
    }

    /// n - E: nodes that may be silent while the votes of a write commit it.
    #[must_use]
    pub fn silent_during_write(self) -> usize {
        self.n() - self.echo_quorum()
    }

    /// Nodes that may be down while clients write: the votes need E of n, and a client asks n - f for
    /// the newest generation of the name before (FRESH-1).
    #[must_use]
    pub fn down_during_write(self) -> usize {
        self.silent_during_write().min(self.n() - self.answer_quorum())
    }

    /// 2E - n - 1: liars up to which no two contents of one upload can both be certified.
    #[must_use]
    pub fn liars_for_uniqueness(self) -> usize {
        2 * self.echo_quorum() - self.n() - 1
    }

    /// E - m: holders that may lie or vanish right after the commit and the object stays readable.
    #[must_use]
    pub fn losses_at_commit(self) -> usize {
        self.echo_quorum() - self.m()
    }

    /// n - m: holders that may lie or vanish once every fragment is placed.
    #[must_use]
    pub fn losses_when_placed(self) -> usize {
        self.n() - self.m()
    }

    /// Every slot, data first.
    pub fn slots(self) -> impl Iterator<Item = Slot> {
        (0..self.n).map(Slot)
    }

    /// Whether a slot exists in this group.
    #[must_use]
    pub fn has_slot(self, slot: Slot) -> bool {
        slot.0 < self.n
    }

    /// Whether a slot holds object bytes rather than parity.
    #[must_use]
    pub fn is_data(self, slot: Slot) -> bool {
        slot.0 < self.m
    }

    /// Appends m, n, f.
    pub fn encode(self, encoder: &mut Encoder) {
        encoder.bytes(&[self.m, self.n, self.f]);
    }

    /// Reads and validates m, n, f.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the shape is impossible.
    pub fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let [m, n, f] = decoder.array()?;
        Self::validate(m, n, f).map_err(|_| DecodeError::Invalid {
            what: "params",
            value: u64::from_le_bytes([m, n, f, 0, 0, 0, 0, 0]),
        })
    }
}

impl std::fmt::Display for Params {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-of-{}", self.m, self.n)?;
        match self.f {
            0 => f.write_str(" (no liar tolerated)"),
            1 => f.write_str(" (1 liar tolerated)"),
            liars => write!(f, " ({liars} liars tolerated)"),
        }
    }
}

const _: () = assert!(GROUP_NODES_MAX == u8::MAX as usize);

#[cfg(test)]
mod tests {
    use super::*;

    /// Section 1.5 of the specification, row by row.
    #[test]
    fn thresholds_equal_the_published_table() {
        let mut table = String::new();
        for (m, n) in [(3, 5), (4, 6), (2, 4), (4, 7), (8, 12), (10, 16)] {
            let p = Params::with_most_liars(m, n).unwrap();
            table += &format!(
                "({m},{n}) f={} E={} amplify={} D={} silent={} unique<={} commit={} placed={}\n",
                p.f(),
                p.echo_quorum(),
                p.honest_witness(),
                p.deliver_quorum(),
                p.silent_during_write(),
                p.liars_for_uniqueness(),
                p.losses_at_commit(),
                p.losses_when_placed(),
            );
        }
        assert_eq!(table, include_str!("../testdata/thresholds.txt"));
    }

    #[test]
    fn every_shape_keeps_the_inequalities_the_proofs_use() {
        for n in 2..=u8::MAX {
            for m in 1..n {
                let p = Params::with_most_liars(m, n).unwrap();
                let (echo, f) = (p.echo_quorum(), p.f());
                assert!(echo <= p.n() - f, "{p}: f silent nodes block a write");
                assert!(2 * echo > p.n() + f, "{p}: two echo quorums may share only liars");
                assert!(echo - f >= p.m(), "{p}: too few honest holders");
                assert!(p.deliver_quorum() <= p.n() - f, "{p}: f silent nodes block delivery");
                assert!(
                    p.deliver_quorum() + p.answer_quorum() > p.n() + f,
                    "{p}: a commit and an abort certificate may coexist"
                );
                assert!(Params::validate(m, n, p.f_byte() + 1).is_err(), "{p}: f is not the most");
            }
        }
    }

    #[test]
    fn refusals_name_the_bound() {
        let text = Params::validate(3, 5, 3).unwrap_err().to_string();
        assert!(text.contains("m + 2f would need n >= 9"), "{text}");
        assert!(text.contains("3f + 1 would need n >= 10"), "{text}");
        assert!(text.contains("the most is f = 1"), "{text}");
        assert_eq!(Params::validate(0, 5, 0), Err(ParamsError::NoData));
        assert_eq!(Params::validate(5, 5, 0), Err(ParamsError::NoParity { m: 5, n: 5 }));
        assert_eq!(Params::with_most_liars(0, 0), Err(ParamsError::NoData));
        assert_eq!(Params::with_most_liars(0, 5), Err(ParamsError::NoData));
        assert_eq!(Params::with_most_liars(5, 3), Err(ParamsError::NoParity { m: 5, n: 3 }));
    }

    #[test]
    fn a_shape_without_liars_says_so() {
        let text = Params::with_most_liars(2, 3).unwrap().to_string();
        assert_eq!(text, "2-of-3 (no liar tolerated)");
    }

    #[test]
    fn slots_are_data_first_then_parity_and_end_at_n() {
        let p = Params::validate(3, 5, 1).unwrap();
        assert_eq!(p.slots().collect::<Vec<_>>(), [0, 1, 2, 3, 4].map(Slot));
        assert_eq!(p.slots().filter(|slot| p.is_data(*slot)).count(), 3);
        assert_eq!([p.is_data(Slot(2)), p.is_data(Slot(3))], [true, false]);
        assert_eq!([p.has_slot(Slot(4)), p.has_slot(Slot(5))], [true, false]);
        assert_eq!([p.m(), p.n(), p.f(), p.parity(), p.answer_quorum()], [3, 5, 1, 2, 4]);
        assert_eq!([p.m_byte(), p.n_byte(), p.f_byte()], [3, 5, 1]);
    }

    /// Rule: DELETE-1.
    #[test]
    fn a_deletion_has_f_plus_1_honest_nodes_among_its_quorum() {
        for (n, f) in [(3, 0), (4, 1), (7, 2), (10, 3)] {
            let p = Params::validate(1, n, f).unwrap();
            assert_eq!(p.delete_quorum() - p.f(), p.honest_witness());
            assert!(p.delete_quorum() <= p.answer_quorum(), "f silent nodes block it");
        }
    }

    #[test]
    fn bytes_are_m_n_f_and_an_impossible_shape_is_refused() {
        let p = Params::validate(8, 12, 2).unwrap();
        let mut e = Encoder::new();
        p.encode(&mut e);
        assert_eq!(e.as_slice(), [8, 12, 2]);
        assert_eq!(Params::decode(&mut Decoder::new(e.as_slice())), Ok(p));
        let refused = Params::decode(&mut Decoder::new(&[8, 12, 3]));
        assert_eq!(refused, Err(DecodeError::Invalid { what: "params", value: 0x03_0c08 }));
    }
}
