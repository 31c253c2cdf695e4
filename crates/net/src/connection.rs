//! A connection whose peer has proved its key: a reader and a writer of frames.
//!
//! ```text
//! socket ──► 16 KiB buffer ──► header, control bodies
//!    └──────────── large reads bypass it ──────────► caller's chunk buffer
//!
//! small frames ──► bounded buffer ──► socket
//! large parts  ──────── vectored, beside the buffer ──────► socket
//! ```
//!
//! Invariant: after an error, and after a cancelled call that had moved bytes, the half is broken
//! for good: frames are never found out of step.
//! Bounds: [`reader::READ_BUFFER_BYTES`] and one control body, [`writer::WRITE_BUFFER_BYTES`].
//! Not here: who the peer may be ([`crate::handshake`]), flow control between streams (`node`).

pub mod reader;
pub mod writer;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use avid_types::PublicKey;
use tokio::sync::OwnedSemaphorePermit;

pub use crate::connection::reader::FrameReader;
pub use crate::connection::writer::FrameWriter;
use crate::error::LinkError;
use crate::handshake::{Hello, Role};
use crate::stream::{ReadHalf, WriteHalf};

/// Both directions of an authenticated connection.
#[derive(Debug)]
pub struct Connection<R = ReadHalf, W = WriteHalf> {
    peer: Peer,
    reader: FrameReader<R>,
    writer: FrameWriter<W>,
}

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// What it said of itself; its key has been proved.
    pub hello: Hello,
    /// What it answered once it had accepted us.
    pub accepted: Vec<u8>,
    /// Version of application frames both sides speak.
    pub frame_version: u8,
    /// Where it is connected from, for diagnostics only: votes are counted by key.
    pub address: Option<SocketAddr>,
}

impl Peer {
    /// The proved key.
    #[must_use]
    pub fn key(&self) -> PublicKey {
        self.hello.key
    }

    /// What it takes part as.
    #[must_use]
    pub fn role(&self) -> Role {
        self.hello.role
    }
}

impl<R, W> Connection<R, W> {
    pub(crate) fn new(peer: Peer, reader: FrameReader<R>, writer: FrameWriter<W>) -> Self {
        Self { peer, reader, writer }
    }

    /// Keeps a place in a bounded set of connections until the reader is dropped.
    pub(crate) fn hold(&mut self, place: OwnedSemaphorePermit) {
        self.reader.hold(place);
    }

    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The receiving half.
    pub fn reader(&mut self) -> &mut FrameReader<R> {
        &mut self.reader
    }

    /// The sending half.
    pub fn writer(&mut self) -> &mut FrameWriter<W> {
        &mut self.writer
    }

    /// Separates the directions, for one task each.
    #[must_use]
    pub fn split(self) -> (Peer, FrameReader<R>, FrameWriter<W>) {
        (self.peer, self.reader, self.writer)
    }
}

/// Runs one operation on a connection under a deadline.
///
/// `doing` names the operation in the error. After [`LinkError::Silent`] the half concerned may
/// be broken; a caller that goes on must have used only [`FrameReader::next_header`].
///
/// # Errors
///
/// [`LinkError::Silent`] after `limit`, otherwise what the operation returned.
pub async fn within<T>(
    limit: Duration,
    doing: &'static str,
    operation: impl Future<Output = Result<T, LinkError>>,
) -> Result<T, LinkError> {
    match tokio::time::timeout(limit, operation).await {
        Ok(result) => result,
        Err(_elapsed) => Err(LinkError::Silent { doing, limit }),
    }
}

#[cfg(test)]
mod tests;
