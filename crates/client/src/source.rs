//! Where an object's bytes come from: a file, or any reader of unknown length.
//!
//! A file that changes while it is read would be stored as a mixture of two states; its length and
//! modification time are compared at the end.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use avid_net::Host;
use avid_net::host::work;
use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Why an object's bytes could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file cannot be opened.
    #[error("cannot open {}: {source}; check the path and its permissions", path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A directory was named.
    #[error("{} is a directory; name a file, or pack it and pipe the result", path.display())]
    Directory {
        /// Which one.
        path: PathBuf,
    },
    /// Reading failed.
    #[error("reading the source failed after {bytes} bytes: {source}")]
    Read {
        /// Bytes that had been read.
        bytes: u64,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file is not what it was at the start.
    #[error("{} changed while it was read; wait until nobody writes to it, then repeat", path.display())]
    Changed {
        /// Which file.
        path: PathBuf,
    },
    /// Longer than objects may be, or than was announced.
    #[error("the source has more than the {max} bytes that were announced")]
    TooLong {
        /// The limit.
        max: u64,
    },
}

/// An object's bytes.
pub struct Source(Kind);

enum Kind {
    File(PathBuf),
    Bytes(Bytes),
    Reader(Box<dyn AsyncRead + Send + Unpin>),
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Kind::File(path) => f.debug_tuple("File").field(path).finish(),
            Kind::Bytes(bytes) => f.debug_tuple("Bytes").field(&bytes.len()).finish(),
            Kind::Reader(_) => f.write_str("Reader"),
        }
    }
}

impl Source {
    /// A file; it can be read again, so an interrupted dispersal of it sends only the rest.
    #[must_use]
    pub fn file(path: &Path) -> Self {
        Self(Kind::File(path.to_owned()))
    }

    /// A reader of unknown length, read once.
    #[must_use]
    pub fn reader(reader: Box<dyn AsyncRead + Send + Unpin>) -> Self {
        Self(Kind::Reader(reader))
    }

    /// Bytes in memory.
    #[must_use]
    pub fn bytes(bytes: Bytes) -> Self {
        Self(Kind::Bytes(bytes))
    }

    /// The same source once more, if it can be read again.
    pub(crate) fn again(&self) -> Option<Self> {
        match &self.0 {
            Kind::File(path) => Some(Self::file(path)),
            Kind::Bytes(bytes) => Some(Self::bytes(bytes.clone())),
            Kind::Reader(_) => None,
        }
    }

    /// Opens it for a blocking thread.
    pub(crate) async fn open(self, host: &Host) -> Result<OpenSource, SourceError> {
        match self.0 {
            Kind::File(path) => {
                let shown = path.clone();
                let opened = work(host, async move { open_file(path) }).await;
                opened.unwrap_or_else(|stopped| {
                    Err(SourceError::Open { path: shown, source: io::Error::other(stopped) })
                })
            }
            Kind::Bytes(bytes) => {
                let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                Ok(OpenSource { input: Input::Bytes { bytes, length }, bytes: 0 })
            }
            Kind::Reader(reader) => Ok(OpenSource { input: Input::Reader(reader), bytes: 0 }),
        }
    }
}

fn open_file(path: PathBuf) -> Result<OpenSource, SourceError> {
    let state = |file: &File| -> io::Result<Option<FileState>> {
        let metadata = file.metadata()?;
        let regular = metadata.is_file();
        Ok(regular.then(|| FileState { bytes: metadata.len(), changed: metadata.modified().ok() }))
    };
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(source) => return Err(SourceError::Open { path, source }),
    };
    if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Err(SourceError::Directory { path });
    }
    match state(&file) {
        Ok(before) => Ok(OpenSource { input: Input::File { file, path, before }, bytes: 0 }),
        Err(source) => Err(SourceError::Open { path, source }),
    }
}

/// Moves the front of `bytes` to the front of `target`; returns how much.
fn take(bytes: &mut Bytes, target: &mut [u8]) -> usize {
    let count = bytes.len().min(target.len());
    if let Some(front) = target.get_mut(..count) {
        bytes.copy_to_slice(front);
    }
    count
}

#[derive(Debug, PartialEq, Eq)]
struct FileState {
    bytes: u64,
    changed: Option<SystemTime>,
}

/// A source being read.
pub(crate) struct OpenSource {
    input: Input,
    bytes: u64,
}

enum Input {
    File { file: File, path: PathBuf, before: Option<FileState> },
    Bytes { bytes: Bytes, length: u64 },
    Reader(Box<dyn AsyncRead + Send + Unpin>),
}

impl OpenSource {
    /// Length, if it is known before reading.
    pub(crate) fn length(&self) -> Option<u64> {
        match &self.input {
            Input::File { before, .. } => before.as_ref().map(|state| state.bytes),
            Input::Bytes { length, .. } => Some(*length),
            Input::Reader(_) => None,
        }
    }

    /// Fills `target` as far as the source reaches; fewer bytes mean that it has ended.
    ///
    /// Reading a file blocks: called from work that may block only.
    pub(crate) async fn fill(&mut self, target: &mut [u8]) -> Result<usize, SourceError> {
        let mut filled = 0;
        while let Some(rest) = target.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let read = match &mut self.input {
                Input::File { file, .. } => file.read(rest),
                Input::Bytes { bytes, .. } => Ok(take(bytes, rest)),
                Input::Reader(reader) => reader.read(rest).await,
            };
            match read {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(SourceError::Read { bytes: self.bytes, source }),
            }
        }
        self.bytes = self.bytes.saturating_add(u64::try_from(filled).unwrap_or(u64::MAX));
        Ok(filled)
    }

    /// Checks at the end that the file is what it was at the start.
    pub(crate) fn finish(&self) -> Result<(), SourceError> {
        let Input::File { file, path, before: Some(before) } = &self.input else {
            return Ok(());
        };
        let metadata =
            file.metadata().map_err(|source| SourceError::Read { bytes: self.bytes, source })?;
        let after = FileState { bytes: metadata.len(), changed: metadata.modified().ok() };
        if after != *before || self.bytes != before.bytes {
            return Err(SourceError::Changed { path: path.clone() });
        }
        Ok(())
    }
}
