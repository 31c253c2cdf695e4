//! Why a read ended early, and how much of its output is good.

use std::io;
use std::ops::Range;

use avid_types::{Generation, StripeIndex};

use crate::fault::{NodeFailure, NodeFault, joined};

/// A read that did not finish.
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
pub struct RetrieveError {
    /// Why.
    #[source]
    pub kind: RetrieveErrorKind,
    /// Verified bytes the sink received before.
    pub bytes_good: u64,
}

impl RetrieveError {
    pub(crate) fn before(kind: RetrieveErrorKind) -> Self {
        Self { kind, bytes_good: 0 }
    }
}

/// Why a read did not finish.
#[derive(Debug, thiserror::Error)]
pub enum RetrieveErrorKind {
    /// n - f nodes know nothing committed under this id.
    #[error("no such object{}", if *unfinished { "; its dispersal has not finished" } else { "" })]
    NotFound {
        /// A dispersal was begun.
        unfinished: bool,
    },
    /// Its owner deleted it.
    #[error("the object was deleted (generation {generation})")]
    Deleted {
        /// Which life of the name.
        generation: Generation,
    },
    /// Too few nodes answered to say anything.
    #[error(
        "only {answered} nodes answered and none of them proves the object committed; \
         it may exist, try again when more nodes run ({})",
        joined(failures)
    )]
    Unavailable {
        /// Nodes that answered.
        answered: usize,
        /// What the others said.
        failures: Vec<NodeFailure>,
    },
    /// Some stripe has fewer than m good chunks within reach.
    #[error(
        "stripe {stripe} has {good} good chunks within reach, {needed} are needed{}",
        blame(faults, unreachable)
    )]
    TooFewChunks {
        /// Which stripe.
        stripe: StripeIndex,
        /// Good chunks found.
        good: usize,
        /// Chunks needed.
        needed: usize,
        /// Nodes that sent something wrong.
        faults: Vec<NodeFault>,
        /// Nodes that could not be asked.
        unreachable: Vec<NodeFailure>,
    },
    /// The range is not inside the object.
    #[error(
        "bytes {}..{} are not inside the object, which has {object_bytes} bytes",
        range.start, range.end
    )]
    Range {
        /// What was asked for.
        range: Range<u64>,
        /// Length of the object.
        object_bytes: u64,
    },
    /// The output failed.
    #[error("writing the output failed: {0}")]
    Sink(#[source] io::Error),
    /// A bug of ours.
    #[error("decoding failed: {0}")]
    Decoder(String),
}

fn blame(faults: &[NodeFault], unreachable: &[NodeFailure]) -> String {
    let mut text = String::new();
    for fault in faults {
        text += &format!("; {fault}");
    }
    for failure in unreachable {
        text += &format!("; {failure}");
    }
    text
}
