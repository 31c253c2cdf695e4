//! The receiving half: headers first, then as much of the body as the caller asks for.
//!
//! The reader counts what is left of the current body. Asking for more than that, or for the next
//! header before the body is used up, is an error and not a misread frame.
//!
//! Invariant: `start <= end <= buffer.len()`; `body_left` bytes of the current frame are unread.
//! Bounds: one buffer, and one control body while [`FrameReader::read_body`] runs.
//! Not here: what a body means.

use avid_types::limits::CONTROL_FRAME_BYTES_MAX;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::OwnedSemaphorePermit;

use crate::error::LinkError;
use crate::frame::{FrameCap, FrameHeader, HEADER_BYTES};

/// Buffer between socket and headers, bytes: votes are read many at a time, while of a chunk of
/// the default length at most a sixteenth passes through it.
pub const READ_BUFFER_BYTES: usize = 16 << 10;

/// Reads frames from one direction of a connection.
#[derive(Debug)]
pub struct FrameReader<R = crate::stream::ReadHalf> {
    inner: R,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    body_left: usize,
    cap: FrameCap,
    is_broken: bool,
    place: Option<OwnedSemaphorePermit>,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Starts between frames, under the cap for unauthenticated peers.
    #[must_use]
    pub fn new(inner: R) -> Self {
        Self {
            inner,
            buffer: vec![0; READ_BUFFER_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
            body_left: 0,
            cap: FrameCap::Handshake,
            is_broken: false,
            place: None,
        }
    }

    /// The next frame's header, or `None` if the peer closed between frames.
    ///
    /// Cancel-safe: bytes received before a cancellation are kept.
    ///
    /// # Errors
    ///
    /// [`LinkError::BodyUnread`] if the current body is not used up; otherwise [`LinkError`] of
    /// the socket or of a malformed header, after which the reader is broken.
    pub async fn next_header(&mut self) -> Result<Option<FrameHeader>, LinkError> {
        self.check_usable()?;
        if self.body_left > 0 {
            return Err(LinkError::BodyUnread { left: self.body_left });
        }
        let result = self.fill_header().await;
        match &result {
            Ok(Some(header)) => self.body_left = header.body_bytes,
            Ok(None) => {}
            Err(_) => self.is_broken = true,
        }
        result
    }

    /// Takes the rest of the body of a control frame.
    ///
    /// # Errors
    ///
    /// [`LinkError::ControlTooLong`] above `CONTROL_FRAME_BYTES_MAX`, before allocating; otherwise
    /// as [`Self::read_exact`].
    pub async fn read_body(&mut self) -> Result<Vec<u8>, LinkError> {
        if self.body_left > CONTROL_FRAME_BYTES_MAX {
            let (body_bytes, max) = (self.body_left, CONTROL_FRAME_BYTES_MAX);
            return Err(LinkError::ControlTooLong { body_bytes, max });
        }
        let mut body = vec![0; self.body_left];
        self.read_exact(&mut body).await?;
        Ok(body)
    }

    /// Fills `target` with the next bytes of the body.
    ///
    /// Bytes already received are copied; the rest goes from the socket into `target` directly.
    /// Not cancel-safe: a cancelled call leaves the reader broken.
    ///
    /// # Errors
    ///
    /// [`LinkError::BodyTooShort`] if the body has fewer bytes left (nothing is read then);
    /// [`LinkError`] of the socket otherwise.
    pub async fn read_exact(&mut self, target: &mut [u8]) -> Result<(), LinkError> {
        self.check_usable()?;
        if target.len() > self.body_left {
            return Err(LinkError::BodyTooShort { asked: target.len(), left: self.body_left });
        }
        self.is_broken = true;
        let total = target.len();
        let buffered = self.take_buffered(target);
        let mut filled = buffered;
        while let Some(rest) = target.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let received = self.inner.read(rest).await.map_err(LinkError::receiving)?;
            if received == 0 {
                return Err(LinkError::ClosedInFrame { missing: self.body_left - filled });
            }
            filled += received;
        }
        self.body_left -= total;
        self.is_broken = false;
        Ok(())
    }

    /// Discards the rest of the body. Not cancel-safe.
    ///
    /// # Errors
    ///
    /// [`LinkError`] of the socket.
    pub async fn skip(&mut self) -> Result<(), LinkError> {
        self.check_usable()?;
        self.is_broken = true;
        while self.body_left > 0 {
            if self.start == self.end && self.fill().await? == 0 {
                return Err(LinkError::ClosedInFrame { missing: self.body_left });
            }
            let taken = self.body_left.min(self.end - self.start);
            self.start += taken;
            self.body_left -= taken;
        }
        self.is_broken = false;
        Ok(())
    }

    /// Bytes of the current body not yet taken.
    #[must_use]
    pub fn body_left(&self) -> usize {
        self.body_left
    }

    /// Accepts frames of full length from now on: the peer is authenticated.
    pub(crate) fn open(&mut self) {
        self.cap = FrameCap::Open;
    }

    /// Reads and discards at most `bytes_max`, until the peer closes.
    pub(crate) async fn drain(&mut self, bytes_max: usize) {
        self.is_broken = true;
        let mut left = bytes_max;
        while left > 0 {
            self.start = 0;
            self.end = 0;
            match self.inner.read(&mut self.buffer).await {
                Ok(received) if received > 0 => left = left.saturating_sub(received),
                Ok(_) | Err(_) => return,
            }
        }
    }

    fn check_usable(&self) -> Result<(), LinkError> {
        if self.is_broken { Err(LinkError::Broken) } else { Ok(()) }
    }

    async fn fill_header(&mut self) -> Result<Option<FrameHeader>, LinkError> {
        loop {
            let received = self.buffer.get(self.start..self.end).unwrap_or_default();
            if let Some(bytes) = received.first_chunk::<HEADER_BYTES>() {
                let header = FrameHeader::decode(*bytes, self.cap)?;
                self.start += HEADER_BYTES;
                return Ok(Some(header));
            }
            let partial = received.len();
            if self.fill().await? == 0 {
                if partial == 0 {
                    return Ok(None);
                }
                return Err(LinkError::ClosedInFrame { missing: HEADER_BYTES - partial });
            }
        }
    }

    /// Receives into the free part of the buffer, after moving a partial header to its front.
    async fn fill(&mut self) -> Result<usize, LinkError> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let free = self.buffer.get_mut(self.end..).unwrap_or_default();
        let received = self.inner.read(free).await.map_err(LinkError::receiving)?;
        self.end += received;
        Ok(received)
    }

    /// Copies what the buffer holds to the front of `target`; returns how much.
    fn take_buffered(&mut self, target: &mut [u8]) -> usize {
        let taken = target.len().min(self.end - self.start);
        let source = self.buffer.get(self.start..self.start + taken).unwrap_or_default();
        if let Some(front) = target.get_mut(..source.len()) {
            front.copy_from_slice(source);
        }
        self.start += taken;
        taken
    }
}

impl<R> FrameReader<R> {
    pub(crate) fn hold(&mut self, place: OwnedSemaphorePermit) {
        self.place = Some(place);
    }
}
