//! One direction of one connection.

use std::collections::VecDeque;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use avid_net::KIND_HANDSHAKE_MIN;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::{GIVE_UP, Network};
use crate::tap::{Cutter, Way};
use crate::trace::Trace;

/// Bytes in flight in one direction: what socket buffers would hold.
pub const WINDOW_BYTES: usize = 256 << 10;

/// Bytes on their way.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    segments: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
    last_arrival: Option<Instant>,
    is_reset: bool,
    sender_gone: bool,
    receiver_gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    pub(super) fn wakers(&mut self) -> impl Iterator<Item = Waker> {
        self.reader.take().into_iter().chain(self.writer.take())
    }

    pub(super) fn reset(&mut self) {
        self.is_reset = true;
        self.segments.clear();
        self.bytes = 0;
    }
}

fn lock(pipe: &Mutex<Pipe>) -> MutexGuard<'_, Pipe> {
    pipe.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The sending end.
#[derive(Debug)]
pub(super) struct Sender {
    network: Network,
    way: Way,
    pipe: Arc<Mutex<Pipe>>,
    cutter: Cutter,
    trace: Trace,
}

impl Sender {
    pub(super) fn new(network: Network, way: Way, pipe: Arc<Mutex<Pipe>>, trace: Trace) -> Self {
        Self { network, way, pipe, cutter: Cutter::default(), trace }
    }

    /// The bytes that go on the wire in place of these.
    fn through_taps(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut frames = self.cutter.push(bytes);
        for tap in self.network.taps(self.way.from) {
            let mut wire = Vec::new();
            for frame in frames {
                if frame.kind >= KIND_HANDSHAKE_MIN {
                    wire.push(frame);
                } else {
                    let mut tap = tap.lock().unwrap_or_else(PoisonError::into_inner);
                    tap.on_frame(self.way, frame, &mut wire);
                }
            }
            frames = wire;
        }
        self.trace.count("frames", frames.len() as u64);
        frames.iter().flat_map(crate::tap::Frame::to_bytes).collect()
    }
}

impl AsyncWrite for Sender {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        {
            let mut pipe = lock(&this.pipe);
            if pipe.is_reset || pipe.receiver_gone {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            if pipe.bytes >= WINDOW_BYTES {
                pipe.writer = Some(context.waker().clone());
                return Poll::Pending;
            }
        }
        let taken = bytes.len().min(WINDOW_BYTES);
        let wire = this.through_taps(bytes.get(..taken).unwrap_or_default());
        if wire.is_empty() {
            return Poll::Ready(Ok(taken));
        }
        this.trace.event("send", u64::from(this.way.from.0), &wire);
        let arrival = this.network.arrival(this.way, wire.len());
        let mut pipe = lock(&this.pipe);
        let arrival = pipe.last_arrival.map_or(arrival, |last| arrival.max(last));
        pipe.last_arrival = Some(arrival);
        pipe.bytes += wire.len();
        pipe.segments.push_back((arrival, wire));
        if let Some(reader) = pipe.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.pipe).close_sender();
        Poll::Ready(Ok(()))
    }
}

impl Pipe {
    fn close_sender(&mut self) {
        self.sender_gone = true;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        lock(&self.pipe).close_sender();
    }
}

/// The receiving end.
#[derive(Debug)]
pub(super) struct Receiver {
    network: Network,
    way: Way,
    pipe: Arc<Mutex<Pipe>>,
    timer: Option<Pin<Box<Sleep>>>,
    cut_since: Option<Instant>,
}

impl Receiver {
    pub(super) fn new(network: Network, way: Way, pipe: Arc<Mutex<Pipe>>) -> Self {
        Self { network, way, pipe, timer: None, cut_since: None }
    }

    /// Waits until an instant; the task is woken then.
    fn wait_until(&mut self, when: Instant, context: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(when)));
        if timer.deadline() != when {
            timer.as_mut().reset(when);
        }
        timer.as_mut().poll(context)
    }

    /// Fills `buffer` from the first segment, which has arrived.
    fn take(&mut self, buffer: &mut ReadBuf<'_>) {
        let mut pipe = lock(&self.pipe);
        let Some((_, segment)) = pipe.segments.front_mut() else { return };
        let taken = segment.len().min(buffer.remaining());
        buffer.put_slice(&segment[..taken]);
        segment.drain(..taken);
        if segment.is_empty() {
            pipe.segments.pop_front();
        }
        pipe.bytes -= taken;
        if let Some(writer) = pipe.writer.take() {
            writer.wake();
        }
    }
}

impl AsyncRead for Receiver {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            let (arrival, is_reset, ended) = {
                let mut pipe = lock(&this.pipe);
                pipe.reader = Some(context.waker().clone());
                let arrival = pipe.segments.front().map(|(arrival, _)| *arrival);
                (arrival, pipe.is_reset, pipe.sender_gone)
            };
            if is_reset {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            if !this.network.passes(this.way.from, this.way.to) {
                let since = *this.cut_since.get_or_insert_with(Instant::now);
                if this.wait_until(since + GIVE_UP, context).is_pending() {
                    return Poll::Pending;
                }
                lock(&this.pipe).reset();
                continue;
            }
            this.cut_since = None;
            match arrival {
                Some(arrival) if arrival <= Instant::now() => {
                    this.take(buffer);
                    return Poll::Ready(Ok(()));
                }
                Some(arrival) => {
                    if this.wait_until(arrival, context).is_pending() {
                        return Poll::Pending;
                    }
                }
                None if ended => return Poll::Ready(Ok(())),
                None => return Poll::Pending,
            }
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut pipe = lock(&self.pipe);
        pipe.receiver_gone = true;
        if let Some(writer) = pipe.writer.take() {
            writer.wake();
        }
    }
}
