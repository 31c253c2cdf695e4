//! One link to one peer: dial, hand over, dial again.
//!
//! The delay between attempts doubles from [`Backoff::FIRST`] to [`Backoff::LONGEST`], with jitter
//! so that a restarted cluster does not dial in step. A connection that did not last as long as
//! the longest delay counts as a failed attempt: a peer that accepts and hangs up is not hammered.
//!
//! Invariant: at most one connection of this link exists at a time.
//! Bounds: one connection; the last error only.
//! Not here: what is sent or resent on it (`node`, LINK-1), who dials whom (`node`).

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::connection::Connection;
use crate::dial::{DialTarget, DialTimeouts, dial};
use crate::handshake::Local;
use crate::host::Host;
use crate::stop::Stop;

/// Delays that double, with jitter. Pure: the caller brings the randomness and does the waiting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    next: Duration,
}

impl Backoff {
    /// The first delay: a restarting process is back in about this time.
    pub const FIRST: Duration = Duration::from_millis(100);
    /// The longest delay: a returning peer waits no longer than this for us.
    pub const LONGEST: Duration = Duration::from_secs(5);

    /// Starts at the first delay.
    #[must_use]
    pub fn new() -> Self {
        Self { next: Self::FIRST }
    }

    /// The next delay: between half and all of the current step, by `jitter`.
    pub fn delay(&mut self, jitter: u32) -> Duration {
        let half = self.next / 2;
        let share = f64::from(jitter) / f64::from(u32::MAX);
        self.next = (self.next * 2).min(Self::LONGEST);
        half + half.mul_f64(share)
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

/// What a link is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// An attempt is under way.
    Connecting,
    /// A connection is in use.
    Connected,
    /// The next attempt waits.
    Waiting,
    /// The link has stopped.
    Stopped,
}

/// What `status` shows of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkStatus {
    /// What it is doing.
    pub state: LinkState,
    /// Why the last attempt or connection ended, if one did and none came after it.
    pub last_error: Option<String>,
    /// Attempts that failed since a connection last lasted.
    pub failures: u64,
}

/// A link to one peer that is kept up until it is told to stop.
#[derive(Debug)]
pub struct PeerLink {
    host: Host,
    target: DialTarget,
    timeouts: DialTimeouts,
    status: watch::Sender<LinkStatus>,
    backoff: Backoff,
}

impl PeerLink {
    /// A link that is not dialling yet.
    #[must_use]
    pub fn new(host: Host, target: DialTarget, timeouts: DialTimeouts) -> Self {
        let status = LinkStatus { state: LinkState::Waiting, last_error: None, failures: 0 };
        let (status, _) = watch::channel(status);
        Self { host, target, timeouts, status, backoff: Backoff::new() }
    }

    /// Follows the state of this link.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<LinkStatus> {
        self.status.subscribe()
    }

    /// Keeps the link up until `stop`.
    ///
    /// `local` says what we are at the time of each attempt; `jitter` returns random numbers;
    /// `serve` uses a connection until it ends and says why. On a stop `serve` is dropped at its
    /// next await: what it had not finished is resent on another connection (LINK-1).
    pub async fn run<F, E>(
        mut self,
        stop: Stop,
        local: impl Fn() -> Local,
        mut jitter: impl FnMut() -> u32,
        mut serve: impl FnMut(Connection) -> F,
    ) where
        F: Future<Output = Result<(), E>>,
        E: std::error::Error,
    {
        loop {
            let round = self.round(&local, &mut serve);
            tokio::select! {
                biased;
                () = stop.stopped() => break,
                () = round => {}
            }
            let delay = self.backoff.delay(jitter());
            tokio::select! {
                biased;
                () = stop.stopped() => break,
                () = tokio::time::sleep(delay) => {}
            }
        }
        self.status.send_modify(|status| status.state = LinkState::Stopped);
    }

    /// One attempt and, if it succeeds, one connection until its end.
    async fn round<F, E>(
        &mut self,
        local: &impl Fn() -> Local,
        serve: &mut impl FnMut(Connection) -> F,
    ) where
        F: Future<Output = Result<(), E>>,
        E: std::error::Error,
    {
        self.status.send_modify(|status| status.state = LinkState::Connecting);
        let connection = match dial(&self.host, &self.target, &local(), self.timeouts).await {
            Ok(connection) => connection,
            Err(error) => return self.failed(error.to_string()),
        };
        self.status.send_modify(|status| {
            status.state = LinkState::Connected;
            status.last_error = None;
        });
        let since = Instant::now();
        let ended = serve(connection).await;
        if since.elapsed() >= Backoff::LONGEST {
            self.backoff = Backoff::new();
            self.status.send_modify(|status| status.failures = 0);
        }
        match ended {
            Ok(()) => self.failed("peer closed the connection".to_owned()),
            Err(error) => self.failed(with_sources(&error)),
        }
    }

    fn failed(&self, error: String) {
        tracing::debug!(peer = %self.target.key, error, "link is down");
        self.status.send_modify(|status| {
            status.state = LinkState::Waiting;
            status.last_error = Some(error);
            status.failures = status.failures.saturating_add(1);
        });
    }
}

fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest() {
        let mut backoff = Backoff::new();
        let delays: Vec<_> = (0..8).map(|_| backoff.delay(u32::MAX).as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    }

    #[test]
    fn jitter_takes_away_at_most_half() {
        assert_eq!(Backoff::new().delay(0), Backoff::FIRST / 2);
    }
}
