//! Durable storage of one node: journal, fragment files and index over the [`Disk`] seam.
//!
//! ```text
//!            Store (store.rs): identity, boot counter, checkpoint, poison
//!          /        |            \
//!   Journal      Index         FragmentStore
//!   votes,       records,      one file per (upload, slot),
//!   synced       lazy, redb    appears atomically
//!          \        |            /
//!            Disk: RealDisk in production, MemoryDisk in tests, virtual disks in a simulator
//! ```
//! The journal is the promise: a vote leaves the node only after [`Store::sync`]. The index may lag
//! behind it and is brought up to date at the next start; fragments are whole or absent.
//!
//! Spec: docs/protocol.md LINK-1, AMNESIA-1.
//! Invariant: after a failed sync nothing of a store succeeds any more; the process restarts.
//! Not here: what a record means (`node`), Merkle and hash rules (`coding`).

pub mod buffer;
pub mod disk;
pub mod fragment;
pub mod index;
pub mod journal;
mod number;
pub mod store;

pub use buffer::{AlignedBuffer, BufferPool, PooledBuffer};
pub use disk::{Disk, DiskFile, OpenMode, RealDisk};
pub use fragment::{
    FragmentError, FragmentInfo, FragmentKey, FragmentKeys, FragmentReader, FragmentShape,
    FragmentStore, FragmentWriter, NodeHash,
};
pub use index::{Durability, Index, IndexError, IndexWrite, Table};
pub use journal::{Journal, JournalError};
pub use store::{Recovery, Store, StoreConfig, StoreError, StoreId};
