//! Where a random adversary's decisions come from: a seed, or the bytes of a fuzzer.
//!
//! Both make the same moves, so what a fuzzer finds can be replayed from its bytes and what a swarm
//! finds from its seed. Bytes run out; then every choice is the first one and
//! [`Choices::is_exhausted`] says so.

use crate::random::Random;

/// A stream of decisions.
#[derive(Debug)]
pub struct Choices(Kind);

#[derive(Debug)]
enum Kind {
    Seeded(Box<Random>),
    Bytes { bytes: Vec<u8>, used: usize },
}

impl Choices {
    /// Decisions that follow from a seed and never end.
    #[must_use]
    pub fn of_seed(seed: u64, purpose: &str) -> Self {
        Self(Kind::Seeded(Box::new(Random::new(seed, purpose))))
    }

    /// Decisions that a fuzzer makes.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(Kind::Bytes { bytes: bytes.to_vec(), used: 0 })
    }

    /// Whether a fuzzer's bytes are used up; never for a seed.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        match &self.0 {
            Kind::Seeded(_) => false,
            Kind::Bytes { bytes, used } => *used >= bytes.len(),
        }
    }

    /// A number below `end`; 0 if `end` is 0 or nothing is left to decide with.
    pub fn below(&mut self, end: u64) -> u64 {
        match &mut self.0 {
            Kind::Seeded(random) => random.below(end),
            Kind::Bytes { bytes, used } => {
                // As many bytes as the choice needs, so that short inputs reach far.
                let width = (64 - end.saturating_sub(1).leading_zeros()).div_ceil(8);
                let mut value = 0;
                for _ in 0..width {
                    value = value << 8 | u64::from(bytes.get(*used).copied().unwrap_or(0));
                    *used += 1;
                }
                value % end.max(1)
            }
        }
    }

    /// An index of a list of `len` entries; 0 of an empty one.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// One of the entries, if there is any.
    pub fn pick<'a, T>(&mut self, entries: &'a [T]) -> Option<&'a T> {
        let index = self.index(entries.len());
        entries.get(index)
    }

    /// True once in `times` times.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times.max(1)) + 1 == times.max(1)
    }

    /// Some of the entries, in their order; each is taken or left by a coin.
    pub fn some<T: Copy>(&mut self, entries: &[T]) -> Vec<T> {
        entries.iter().copied().filter(|_| self.below(2) == 1).collect()
    }

    /// Bytes of a length that look like no other object's.
    pub fn content(&mut self, len: usize) -> Vec<u8> {
        let seed = self.below(1 << 16);
        Random::new(seed, "content of a liar").bytes(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A replay needs no more than the seed or the bytes.
    #[test]
    fn the_same_seed_or_bytes_decide_the_same() {
        let draw = |mut choices: Choices| -> Vec<u64> {
            (1..40).map(|end| choices.below(end * 7)).collect()
        };
        assert_eq!(draw(Choices::of_seed(3, "a")), draw(Choices::of_seed(3, "a")));
        assert_ne!(draw(Choices::of_seed(3, "a")), draw(Choices::of_seed(4, "a")));
        let bytes: Vec<u8> = (0..=255).rev().collect();
        assert_eq!(draw(Choices::of_bytes(&bytes)), draw(Choices::of_bytes(&bytes)));
    }

    /// Whatever the bytes, a choice is in range, and the end of the bytes is told.
    #[test]
    fn bytes_choose_in_range_and_run_out() {
        let mut choices = Choices::of_bytes(&[0xff; 5]);
        assert!(choices.below(3) < 3);
        assert!(choices.below(1 << 20) < 1 << 20);
        assert!(!choices.is_exhausted());
        assert_eq!(choices.below(1), 0, "no choice needs no byte");
        assert!(choices.below(200) < 200);
        assert!(choices.is_exhausted());
        assert_eq!(choices.below(1000), 0);
        assert_eq!(choices.pick::<u8>(&[]), None);
    }
}
