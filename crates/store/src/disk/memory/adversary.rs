//! Who decides what goes wrong on a disk in memory.
//!
//! The disk asks before it carries an operation out and does as it is told. A simulator draws the
//! answers from its seed and hashes the questions into its trace; a test counts to the moment it
//! wants.
//!
//! Invariant: the adversary sees every operation of every mount, once, in the order they happen.
//! Not here: what a crash does to unsynced changes
//! ([`CrashChoice`](super::CrashChoice)), changes at rest ([`MemoryDisk::flip_bit`](super::MemoryDisk::flip_bit)).

use std::fmt::Debug;
use std::io;
use std::path::Path;

/// Decides the fate of each operation of a [`MemoryDisk`](super::MemoryDisk).
///
/// It is asked under the lock of the disk and must not call the disk.
pub trait DiskAdversary: Send + Debug {
    /// What happens to this operation.
    fn at(&mut self, operation: &Operation<'_>) -> Verdict;
}

/// One call of the disk, before it is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation<'a> {
    /// Changes attempted before this operation, so a change's own number, counted from 0.
    pub number: u64,
    /// Which mount calls; 0 is the [`MemoryDisk`](super::MemoryDisk) itself.
    pub mount: u64,
    /// What it is.
    pub kind: OperationKind,
    /// File or directory; of an open file the name it was opened by, whatever it is called now.
    pub path: &'a Path,
    /// New name in a [`OperationKind::Rename`].
    pub target: Option<&'a Path>,
    /// Where a write or read begins.
    pub offset: u64,
    /// Bytes of a write or read, or the new length in a [`OperationKind::SetLen`].
    pub len: u64,
    /// What a write writes; empty for everything else.
    pub bytes: &'a [u8],
}

/// The operations of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OperationKind {
    /// A new directory; one that exists is no operation.
    CreateDir,
    /// An open that makes the file.
    Create,
    /// Bytes written.
    Write,
    /// A file cut or extended.
    SetLen,
    /// A file made durable.
    Sync,
    /// A file moved.
    Rename,
    /// A file removed.
    Remove,
    /// The names of a directory made durable.
    SyncDir,
    /// An open of a file that exists.
    Open,
    /// Bytes read.
    Read,
    /// The names of a directory read.
    List,
}

impl OperationKind {
    /// Whether it changes stored state; only these are counted.
    #[must_use]
    pub fn is_change(self) -> bool {
        match self {
            Self::CreateDir
            | Self::Create
            | Self::Write
            | Self::SetLen
            | Self::Sync
            | Self::Rename
            | Self::Remove
            | Self::SyncDir => true,
            Self::Open | Self::Read | Self::List => false,
        }
    }
}

/// What happens to one operation. A verdict that means nothing for it is [`Verdict::Go`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is carried out.
    Go,
    /// It fails and nothing happened. A failed sync of a file loses the unsynced changes for ever,
    /// while readers go on seeing them (the kernel marks the pages clean); that of a directory
    /// leaves them unsynced.
    Fail(io::ErrorKind),
    /// It fails, and yet happened: of a write the first half, of a sync the older half of the
    /// unsynced changes, anything else wholly. A read or list only fails.
    FailHalfway(io::ErrorKind),
    /// The power goes: this operation and all later ones fail until
    /// [`MemoryDisk::crash`](super::MemoryDisk::crash).
    Crash,
    /// It reports success, readers see it, and it never reaches the disk: a lost write, a sync that
    /// lies, a name that will be gone. Shown by a crash or
    /// [`MemoryDisk::drop_caches`](super::MemoryDisk::drop_caches). Reads and directories: as
    /// [`Verdict::Go`].
    Lose,
    /// A write reaches the disk at this offset of the file instead of its own, never beyond the
    /// file's end. Readers see it in its place until the cache goes.
    Misdirect {
        /// Where the bytes land.
        offset: u64,
    },
    /// One bit, counted from the first byte and taken modulo the length, is wrong: on the disk for a
    /// write, in what is returned for a read.
    FlipBit {
        /// Which bit.
        bit: u64,
    },
}

/// A verdict on an operation that carries no bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Happens,
    Lost,
    Fails(io::ErrorKind),
    HappensAndFails(io::ErrorKind),
}

impl Verdict {
    pub(super) fn fate(self) -> Fate {
        match self {
            // A crash was dealt with before anybody asks for the fate.
            Self::Go | Self::Misdirect { .. } | Self::FlipBit { .. } | Self::Crash => Fate::Happens,
            Self::Lose => Fate::Lost,
            Self::Fail(kind) => Fate::Fails(kind),
            Self::FailHalfway(kind) => Fate::HappensAndFails(kind),
        }
    }
}

/// Flips one bit of `bytes`, counted modulo their length.
pub(super) fn flip(bytes: &mut [u8], bit: u64) {
    let bits = crate::number::to_u64(bytes.len()).saturating_mul(8);
    let Some(bit) = bit.checked_rem(bits) else {
        return;
    };
    if let Some(byte) = bytes.get_mut(crate::number::to_usize(bit / 8)) {
        *byte ^= 1 << (bit % 8);
    }
}
