//! Errors of the libraries as errors of a command: kind, what is safe, what to do next.
//!
//! Every match here is exhaustive: a new error of a library must choose its exit code.

use std::io;
use std::path::Path;

use avid_client::{
    DisperseError, FaultKind, ListError, NodeError as PeerError, NodeFailure, OrderError,
    RetrieveError, RetrieveErrorKind, SourceError, StatError, VerifyObjectError,
};
use avid_net::Retry;
use avid_node::NodeError;
use avid_protocol::wire::RefusalCode;

use crate::error::{CliError, Kind, chain};

/// A node did not start or had to halt.
pub(crate) fn node(error: &NodeError, data_dir: &Path) -> CliError {
    let text = chain(error);
    match error {
        NodeError::WrongKey(_) | NodeError::NoSuchMember(_) => CliError::new(Kind::Denied, text),
        NodeError::Bind(_) | NodeError::Random | NodeError::Resolve { .. } => CliError::local(text),
        NodeError::DataDir { .. } => {
            CliError::local(text).hint("check that the directory is writable, or give --data DIR")
        }
        NodeError::Store(store) => {
            let error = CliError::local(format!("{}: {text}", data_dir.display()));
            if store.is_amnesia() {
                return error.hint(
                    "votes may have been forgotten: do not start this node again under its \
                     identity; the other nodes keep the objects",
                );
            }
            error.hint("see whether another node uses the directory, and whether the disk is full")
        }
        NodeError::Record(_) => CliError::new(Kind::Integrity, text),
        NodeError::Ended(_) => CliError::new(Kind::Other, text),
    }
}

/// An object was not dispersed.
pub(crate) fn disperse(error: &DisperseError) -> CliError {
    let text = chain(error);
    let unacknowledged = "nothing was acknowledged, and nothing stored before was changed";
    match error {
        DisperseError::NotEnoughNodes { failures, .. } => nodes_failed(text, failures)
            .safe(unacknowledged)
            .hint("`avid status` shows every node; repeat the command and it resumes"),
        DisperseError::Refused { failures } => nodes_failed(text, failures).safe(unacknowledged),
        DisperseError::OtherContent { .. } => CliError::new(Kind::Conflict, text)
            .safe("the stored object is unchanged")
            .hint("choose another --id, or `avid rm` this one first"),
        DisperseError::OtherUnfinished => CliError::new(Kind::Conflict, text)
            .safe(unacknowledged)
            .hint("repeat with --cancel-unfinished, or `avid cancel` the id"),
        DisperseError::NotCommitted { failures, .. } => nodes_failed(text, failures)
            .safe("nothing is lost: the votes may still complete it")
            .hint("repeat the command to find out"),
        DisperseError::Source(error) => source(error).safe(unacknowledged),
        DisperseError::Cancel(error) => {
            CliError { message: text, ..order(error) }.safe(unacknowledged)
        }
        DisperseError::Unsettled { .. } => CliError::new(Kind::Conflict, text).safe(unacknowledged),
        DisperseError::Encoder(_) => CliError::new(Kind::Other, text).safe(unacknowledged),
    }
}

fn source(error: &SourceError) -> CliError {
    let text = chain(error);
    match error {
        SourceError::Open { .. } | SourceError::Read { .. } | SourceError::Changed { .. } => {
            CliError::local(text)
        }
        SourceError::Directory { .. } | SourceError::TooLong { .. } => CliError::usage(text),
    }
}

/// Too few nodes did their part: denied if most of those that failed turn us away for good.
pub(crate) fn nodes_failed(text: String, failures: &[NodeFailure]) -> CliError {
    let denying = failures.iter().filter(|failure| is_denial(&failure.error)).count();
    if denying > 0 && 2 * denying >= failures.len() {
        return CliError::new(Kind::Denied, text)
            .hint("check that --cluster, --key and its grant belong to these nodes");
    }
    CliError::new(Kind::Unavailable, text).hint("`avid status` shows every node")
}

fn is_denial(error: &PeerError) -> bool {
    match error {
        PeerError::Unreachable(dial) => dial.retry() == Retry::AfterChange,
        PeerError::Refused { code, .. } => *code == RefusalCode::NotAllowed,
        PeerError::Link(_)
        | PeerError::Closed
        | PeerError::Silent { .. }
        | PeerError::Late
        | PeerError::Malformed(_)
        | PeerError::Unexpected { .. }
        | PeerError::Unverifiable(_)
        | PeerError::OtherPrefix => false,
    }
}

/// Writing an object's bytes failed after `good` of them.
pub(crate) fn writing(path: &Path, good: u64, source: &io::Error) -> CliError {
    if source.kind() == io::ErrorKind::BrokenPipe {
        return CliError::local("the reader of the output closed it before the end");
    }
    CliError::file("write", path, source).safe(format!("{good} bytes were verified before"))
}

/// An object was not read. `out` is where its bytes went.
pub(crate) fn retrieve(error: &RetrieveError, out: &Path) -> CliError {
    if let RetrieveErrorKind::Sink(source) = &error.kind {
        return writing(out, error.bytes_good, source);
    }
    read(&error.kind)
}

/// An object could not be verified.
pub(crate) fn verify(error: &VerifyObjectError) -> CliError {
    read(&error.0)
}

fn read(kind: &RetrieveErrorKind) -> CliError {
    let text = chain(kind);
    match kind {
        RetrieveErrorKind::NotFound { unfinished } => {
            let error = CliError::new(Kind::NotFound, text);
            if *unfinished {
                return error.hint("repeat its `avid disperse` to finish it");
            }
            error.hint("`avid ls` lists your objects; --owner KEY reads another's")
        }
        RetrieveErrorKind::Deleted { .. } => CliError::new(Kind::NotFound, text),
        RetrieveErrorKind::Unavailable { failures, .. } => nodes_failed(text, failures),
        RetrieveErrorKind::TooFewChunks { faults, .. } => {
            // Nodes that come back may help; fragments that do not verify will not.
            let is_unsound = faults.iter().any(|fault| is_unsound(fault.kind));
            let kind = if is_unsound { Kind::Integrity } else { Kind::Unavailable };
            CliError::new(kind, text).hint(
                "nothing is lost while m fragments are good: bring the named nodes back, then \
                 `avid verify` the object",
            )
        }
        RetrieveErrorKind::Range { .. } => CliError::usage(text),
        RetrieveErrorKind::Sink(_) => CliError::local(text),
        RetrieveErrorKind::Decoder(_) => CliError::new(Kind::Other, text),
    }
}

/// Whether a fault says that stored bytes are wrong, rather than away.
fn is_unsound(fault: FaultKind) -> bool {
    match fault {
        FaultKind::Hash
        | FaultKind::Fingerprint
        | FaultKind::Path
        | FaultKind::Length
        | FaultKind::Damaged
        | FaultKind::Malformed
        | FaultKind::OtherContent => true,
        FaultKind::Missing | FaultKind::Refused | FaultKind::Late | FaultKind::Unreachable => false,
    }
}

/// An owner's order does not stand.
pub(crate) fn order(error: &OrderError) -> CliError {
    let text = chain(error);
    match error {
        OrderError::NotFound | OrderError::NothingUnfinished => CliError::new(Kind::NotFound, text),
        OrderError::TooLate => CliError::new(Kind::Conflict, text)
            .hint("repeat its `avid disperse` to finish it, or `avid rm` it"),
        OrderError::NotEnoughNodes { failures, .. } => nodes_failed(text, failures)
            .safe("the order is signed and stays valid: repeating it changes nothing else"),
    }
}

/// There is no listing.
pub(crate) fn list(error: &ListError) -> CliError {
    let text = chain(error);
    match error {
        ListError::Unavailable { failures } => nodes_failed(text, failures),
    }
}

/// Nothing can be said of an object.
pub(crate) fn stat(error: &StatError) -> CliError {
    match error {
        StatError::Random(_) => CliError::local(chain(error)),
    }
}
