//! The hash over everything that happened, and counts by kind.
//!
//! Two runs of one seed must end with the same hash: whatever differs is a defect of the
//! simulator, and without it no violation could be replayed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

/// Shared by all parts of one run.
#[derive(Clone, Debug)]
pub struct Trace(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    start: Instant,
    hash: Sha256,
    events: u64,
    counts: BTreeMap<&'static str, u64>,
    lines: Option<Vec<String>>,
}

impl Trace {
    /// An empty trace. Must be made within the runtime of the run.
    #[must_use]
    pub fn new(keep_lines: bool) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            start: Instant::now(),
            hash: Sha256::new(),
            events: 0,
            counts: BTreeMap::new(),
            lines: keep_lines.then(Vec::new),
        })))
    }

    fn with<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes an event: what, by whom, and the bytes concerned.
    pub fn event(&self, what: &'static str, who: u64, bytes: &[u8]) {
        self.with(|inner| {
            let micros = inner.start.elapsed().as_micros();
            inner.hash.update(u64::try_from(micros).unwrap_or(u64::MAX).to_le_bytes());
            inner.hash.update(what.as_bytes());
            inner.hash.update(who.to_le_bytes());
            inner.hash.update((bytes.len() as u64).to_le_bytes());
            inner.hash.update(bytes);
            inner.events += 1;
            *inner.counts.entry(what).or_default() += 1;
        });
    }

    /// Notes an event for people as well; `line` is made only if lines are kept.
    pub fn say(&self, what: &'static str, who: u64, line: impl FnOnce() -> String) {
        self.event(what, who, &[]);
        self.with(|inner| {
            let millis = inner.start.elapsed().as_millis();
            if let Some(lines) = &mut inner.lines {
                lines.push(format!("{millis:>9} ms  {what}: {}", line()));
            }
        });
    }

    /// Adds to a count without an event.
    pub fn count(&self, what: &'static str, by: u64) {
        self.with(|inner| *inner.counts.entry(what).or_default() += by);
    }

    /// Virtual time since the start, milliseconds.
    #[must_use]
    pub fn millis(&self) -> u64 {
        self.with(|inner| u64::try_from(inner.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// The hash over all events so far.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        self.with(|inner| inner.hash.clone().finalize().into())
    }

    /// Events so far, by kind.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.with(|inner| inner.counts.clone())
    }

    /// The lines kept so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.with(|inner| inner.lines.clone().unwrap_or_default())
    }
}
