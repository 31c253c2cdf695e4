//! Which failures may pass by themselves, and how long a write waits for that.
//!
//! A node that was just started first refuses connections, and then refuses to vote until it knows
//! cluster time. Writes ask such nodes again; reads take whoever answers and fail fast.
//!
//! Invariant: a failure that no waiting can mend is never waited for.
//! Bounds: [`Timeouts::not_ready`] and [`Timeouts::not_listening`] from the first question.
//! Not here: how many nodes are needed (`client`, `disperse::stream`).

use std::time::Duration;

use avid_net::AttemptError;
use avid_protocol::wire::RefusalCode;
use tokio::time::Instant;

use crate::config::Timeouts;
use crate::session::NodeError;

/// First pause: a node on the same machine needs about as long to listen.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// Longest pause: what a user does not notice.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// The time one question may take in all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    started: Instant,
    not_ready: Duration,
    not_listening: Duration,
}

impl Patience {
    /// Starts to wait.
    pub(crate) fn start(timeouts: &Timeouts) -> Self {
        Self {
            started: Instant::now(),
            not_ready: timeouts.not_ready,
            not_listening: timeouts.not_listening,
        }
    }

    /// How long to pause before asking again; `None` if waiting does not help any more.
    pub(crate) fn pause(&self, error: &NodeError) -> Option<Duration> {
        self.pause_after(self.started.elapsed(), error)
    }

    fn pause_after(&self, waited: Duration, error: &NodeError) -> Option<Duration> {
        let limit = if is_not_ready(error) {
            self.not_ready
        } else if is_not_listening(error) {
            self.not_listening
        } else {
            return None;
        };
        let left = limit.checked_sub(waited).filter(|left| !left.is_zero())?;
        // Half of what was waited: pauses grow without anything to remember.
        Some((waited / 2).clamp(PAUSE_MIN, PAUSE_MAX).min(left))
    }
}

/// Whether the node answers, but cannot take part yet.
pub(crate) fn is_not_ready(error: &NodeError) -> bool {
    error.refusal().is_some_and(|code| match code {
        RefusalCode::Busy | RefusalCode::Unavailable => true,
        RefusalCode::BadRequest
        | RefusalCode::NotAllowed
        | RefusalCode::OtherContent
        | RefusalCode::Aborted
        | RefusalCode::Deleted
        | RefusalCode::Expired
        | RefusalCode::NotFound
        | RefusalCode::Pending
        | RefusalCode::DiskFull
        | RefusalCode::Unverifiable
        | RefusalCode::Damaged
        | RefusalCode::Predecessor
        | RefusalCode::AlreadyReady => false,
    })
}

/// Whether the host answers, but no node listens there.
pub(crate) fn is_not_listening(error: &NodeError) -> bool {
    let NodeError::Unreachable(dialled) = error else {
        return false;
    };
    dialled.attempts.iter().any(|attempt| {
        matches!(&attempt.error, AttemptError::Connect(cause)
            if cause.kind() == std::io::ErrorKind::ConnectionRefused)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use avid_net::{Attempt, DialError};

    use super::*;

    fn refused(code: RefusalCode) -> NodeError {
        NodeError::Refused { code, message: String::new() }
    }

    fn undialled(kind: std::io::ErrorKind) -> NodeError {
        let error = AttemptError::Connect(kind.into());
        let attempts = vec![Attempt { address: "a:1".into(), error }];
        NodeError::Unreachable(Arc::new(DialError { attempts }))
    }

    /// Pauses until patience ends, if every question fails at once with this error.
    fn pauses(error: &NodeError) -> (Duration, u32) {
        let patience = Patience::start(&Timeouts::default());
        let (mut waited, mut count) = (Duration::ZERO, 0);
        while let Some(pause) = patience.pause_after(waited, error) {
            waited += pause;
            count += 1;
        }
        (waited, count)
    }

    #[test]
    fn pauses_grow_and_end_exactly_at_the_limit() {
        for code in [RefusalCode::Unavailable, RefusalCode::Busy] {
            let (waited, count) = pauses(&refused(code));
            assert_eq!(waited, Timeouts::default().not_ready);
            assert!((20..30).contains(&count), "{count}");
        }
        let (waited, count) = pauses(&undialled(std::io::ErrorKind::ConnectionRefused));
        assert_eq!(waited, Timeouts::default().not_listening);
        assert!((7..12).contains(&count), "{count}");
    }

    #[test]
    fn what_waiting_cannot_mend_is_not_waited_for() {
        let elsewhere = undialled(std::io::ErrorKind::HostUnreachable);
        let nowhere = NodeError::Unreachable(Arc::new(DialError { attempts: Vec::new() }));
        let denied = refused(RefusalCode::NotAllowed);
        for error in [elsewhere, nowhere, denied, NodeError::Closed, NodeError::OtherPrefix] {
            assert_eq!(pauses(&error), (Duration::ZERO, 0), "{error}");
        }
    }
}
