//! The sending half: small frames share a write, large parts are never copied.
//!
//! A small frame waits in the buffer until [`FrameWriter::flush`], a large frame, or a full
//! buffer pushes it out; order is kept. A large frame goes out at once, in one vectored write
//! with whatever waited before it.
//!
//! Invariant: `pending` holds whole frames, except inside a call that writes a large one.
//! Bounds: [`WRITE_BUFFER_BYTES`]; a slow peer blocks the caller, nothing queues here.
//! Not here: which frames may be dropped for a slow peer (`node`).

use std::io::IoSlice;

use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use crate::error::LinkError;
use crate::frame::{FrameCap, FrameHeader, HEADER_BYTES};

/// Small frames that may wait for one write, bytes.
pub const WRITE_BUFFER_BYTES: usize = 64 << 10;
/// Longest frame that is copied into the buffer, bytes: above it a copy costs more than a call.
pub const SMALL_FRAME_BYTES_MAX: usize = 8 << 10;

const _: () = assert!(SMALL_FRAME_BYTES_MAX + HEADER_BYTES <= WRITE_BUFFER_BYTES);

/// Writes frames to one direction of a connection.
#[derive(Debug)]
pub struct FrameWriter<W = crate::stream::WriteHalf> {
    inner: W,
    pending: Vec<u8>,
    cap: FrameCap,
    is_broken: bool,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    /// Starts between frames, under the cap for unauthenticated peers.
    #[must_use]
    pub fn new(inner: W) -> Self {
        Self { inner, pending: Vec::new(), cap: FrameCap::Handshake, is_broken: false }
    }

    /// Writes one frame whose body is the concatenation of `parts`.
    ///
    /// A frame up to [`SMALL_FRAME_BYTES_MAX`] may stay in the buffer until [`Self::flush`].
    /// A cancelled call leaves the writer broken if bytes may have left.
    ///
    /// # Errors
    ///
    /// [`LinkError::FrameTooLong`] if the peer would refuse the frame (nothing is written then);
    /// [`LinkError`] of the socket otherwise.
    pub async fn write_frame(
        &mut self,
        kind: u8,
        version: u8,
        parts: &[&[u8]],
    ) -> Result<(), LinkError> {
        self.check_usable()?;
        let body_bytes = parts.iter().fold(0usize, |sum, part| sum.saturating_add(part.len()));
        let header = FrameHeader { kind, version, body_bytes }.encode(self.cap)?;
        if body_bytes > SMALL_FRAME_BYTES_MAX {
            self.pending.extend_from_slice(&header);
            return self.write_out(parts).await;
        }
        if self.pending.len() + HEADER_BYTES + body_bytes > WRITE_BUFFER_BYTES {
            self.write_out(&[]).await?;
        }
        self.pending.extend_from_slice(&header);
        for part in parts {
            self.pending.extend_from_slice(part);
        }
        Ok(())
    }

    /// Sends everything that waits.
    ///
    /// # Errors
    ///
    /// [`LinkError`] of the socket.
    pub async fn flush(&mut self) -> Result<(), LinkError> {
        self.check_usable()?;
        if !self.pending.is_empty() {
            self.write_out(&[]).await?;
        }
        self.inner.flush().await.map_err(|source| self.broken_by(source))
    }

    /// Sends everything that waits and closes this direction: the peer sees a clean end.
    ///
    /// # Errors
    ///
    /// [`LinkError`] of the socket.
    pub async fn close(&mut self) -> Result<(), LinkError> {
        self.flush().await?;
        self.is_broken = true;
        self.inner.shutdown().await.map_err(LinkError::sending)
    }

    /// Bytes that wait for a flush.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.pending.len()
    }

    /// Sends frames of full length from now on: the peer is authenticated.
    pub(crate) fn open(&mut self) {
        self.cap = FrameCap::Open;
    }

    fn check_usable(&self) -> Result<(), LinkError> {
        if self.is_broken { Err(LinkError::Broken) } else { Ok(()) }
    }

    fn broken_by(&mut self, source: std::io::Error) -> LinkError {
        self.is_broken = true;
        LinkError::sending(source)
    }

    /// Writes `pending`, then `parts`, and leaves `pending` empty.
    async fn write_out(&mut self, parts: &[&[u8]]) -> Result<(), LinkError> {
        self.is_broken = true;
        let mut slices = Vec::with_capacity(parts.len() + 1);
        slices.push(IoSlice::new(&self.pending));
        slices.extend(parts.iter().map(|part| IoSlice::new(part)));
        let mut rest = slices.as_mut_slice();
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            let sent = self.inner.write_vectored(rest).await.map_err(LinkError::sending)?;
            if sent == 0 {
                return Err(LinkError::sending(std::io::ErrorKind::WriteZero.into()));
            }
            IoSlice::advance_slices(&mut rest, sent);
        }
        self.pending.clear();
        self.is_broken = false;
        Ok(())
    }
}
