//! A wish to stop, shared by everything that should notice it.
//!
//! One [`StopHandle`] and any number of [`Stop`]s. Dropping the handle also stops: nobody is left
//! who could.
//!
//! Not here: what is finished and what abandoned on a stop; each task decides that for itself.

use tokio::sync::watch;

/// Asks for the stop.
#[derive(Debug)]
pub struct StopHandle(watch::Sender<bool>);

/// Learns of the stop.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

impl StopHandle {
    /// A handle and the first of its listeners; more are cloned from it.
    #[must_use]
    pub fn new() -> (Self, Stop) {
        let (sender, receiver) = watch::channel(false);
        (Self(sender), Stop(receiver))
    }

    /// Tells every listener. Telling twice changes nothing.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Whether the stop was asked for.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Returns once the stop was asked for. Cancel-safe.
    pub async fn stopped(&self) {
        // An error means that the handle is gone, which is a stop too.
        drop(self.0.clone().wait_for(|stopped| *stopped).await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_listener_learns_of_a_stop() {
        let (handle, stop) = StopHandle::new();
        let other = stop.clone();
        assert!(!stop.is_stopped());
        handle.stop();
        stop.stopped().await;
        other.stopped().await;
        assert!(other.is_stopped());
    }

    #[tokio::test]
    async fn a_dropped_handle_stops() {
        let (handle, stop) = StopHandle::new();
        drop(handle);
        stop.stopped().await;
        assert!(stop.is_stopped());
    }
}
