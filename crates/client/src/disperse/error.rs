//! Why an object is not known to be committed, what is safe, and what to do next.

use crate::fault::{NodeFailure, joined};
use crate::order::OrderError;
use crate::source::SourceError;

/// An object was not committed as far as this client knows.
#[derive(Debug, thiserror::Error)]
pub enum DisperseError {
    /// Too few nodes take part.
    #[error(
        "{able} nodes took part, {needed} are needed; nothing was acknowledged, \
         repeat the command once more nodes run and it resumes ({})",
        joined(failures)
    )]
    NotEnoughNodes {
        /// Nodes that took part.
        able: usize,
        /// Nodes needed.
        needed: usize,
        /// What the others said.
        failures: Vec<NodeFailure>,
    },
    /// The id is committed with other content.
    #[error(
        "this id holds other content ({stored} bytes) and ids are written once; \
         the stored object is unchanged, choose another id or remove this one first"
    )]
    OtherContent {
        /// Length of what is stored.
        stored: u64,
    },
    /// An unfinished dispersal of other content holds the id.
    #[error(
        "an unfinished dispersal of other content holds this id; \
         finish that one, or repeat with its cancellation"
    )]
    OtherUnfinished,
    /// The nodes refuse this client or this dispersal.
    #[error("the nodes refused; nothing was acknowledged ({})", joined(failures))]
    Refused {
        /// What each said.
        failures: Vec<NodeFailure>,
    },
    /// No commit in time; votes may still complete it.
    #[error(
        "no commit within {waited_s} s of the last vote; it may still complete by itself, \
         repeat the command to find out ({})",
        joined(failures)
    )]
    NotCommitted {
        /// Seconds without news.
        waited_s: u64,
        /// Nodes that failed.
        failures: Vec<NodeFailure>,
    },
    /// The object's bytes could not be read.
    #[error("{0}; nothing was acknowledged")]
    Source(#[from] SourceError),
    /// The unfinished dispersal before could not be ended.
    #[error("an unfinished dispersal of this id could not be ended: {0}")]
    Cancel(#[from] OrderError),
    /// Others kept changing the id.
    #[error("the id changed {attempts} times meanwhile; repeat when no other writer uses it")]
    Unsettled {
        /// Generations tried.
        attempts: usize,
    },
    /// A bug of ours.
    #[error("encoding stopped: {0}; nothing was acknowledged")]
    Encoder(String),
}
