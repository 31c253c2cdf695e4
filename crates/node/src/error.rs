//! Why a node does not start or must halt.

use avid_net::BindError;
use avid_store::StoreError;

/// Why a node does not start or must halt.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The keys do not belong to the member they claim to be.
    #[error(
        "the {0} key of this node is not the one in the cluster configuration; use the key file that was made for this member"
    )]
    WrongKey(&'static str),
    /// The member does not exist.
    #[error("the cluster configuration has no node {0}")]
    NoSuchMember(avid_types::NodeId),
    /// A listen address cannot be resolved.
    #[error("cannot resolve listen address {address}")]
    Resolve {
        /// As given.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A listen address cannot be used.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The data directory cannot be opened.
    #[error("cannot open the data directory {path}")]
    DataDir {
        /// Which one.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The store failed; nothing acknowledged is lost, the process must restart.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stored record cannot be read: the disk lied or a newer version wrote it.
    #[error("a stored record is damaged: {0}; this node must not vote again under its identity")]
    Record(String),
    /// The system gave no randomness.
    #[error("the operating system gave no random bytes")]
    Random,
    /// A thread or task ended that should not have.
    #[error("{0} ended unexpectedly; see the log")]
    Ended(&'static str),
}
