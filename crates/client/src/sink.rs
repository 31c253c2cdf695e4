//! Where verified bytes go.

use std::future::Future;
use std::io::{self, Write as _};
use std::pin::Pin;

use bytes::Bytes;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// The future of one write.
pub type SinkFuture<'a> = Pin<Box<dyn Future<Output = io::Result<()>> + Send + 'a>>;

/// Takes the verified bytes of an object, in order.
pub trait Sink: Send {
    /// Takes the next bytes, all of them.
    fn write_all(&mut self, bytes: Bytes) -> SinkFuture<'_>;
}

impl Sink for Vec<u8> {
    fn write_all(&mut self, bytes: Bytes) -> SinkFuture<'_> {
        self.extend_from_slice(&bytes);
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Writes to anything asynchronous.
#[derive(Debug)]
pub struct WriterSink<W>(pub W);

impl<W: AsyncWrite + Send + Unpin> Sink for WriterSink<W> {
    fn write_all(&mut self, bytes: Bytes) -> SinkFuture<'_> {
        Box::pin(async move { self.0.write_all(&bytes).await })
    }
}

/// Pieces between the network and the thread that writes a file.
const FILE_QUEUE: usize = 8;

/// Writes to a file on a thread of its own, without copying.
///
/// [`FileSink::finish`] tells whether everything was written; it does not sync.
#[derive(Debug)]
pub struct FileSink {
    queue: mpsc::Sender<Bytes>,
    writer: JoinHandle<io::Result<std::fs::File>>,
}

impl FileSink {
    /// Starts the thread. Must be called within a tokio runtime.
    #[must_use]
    pub fn new(mut file: std::fs::File) -> Self {
        let (queue, mut pieces) = mpsc::channel::<Bytes>(FILE_QUEUE);
        let writer = tokio::task::spawn_blocking(move || {
            while let Some(bytes) = pieces.blocking_recv() {
                file.write_all(&bytes)?;
            }
            Ok(file)
        });
        Self { queue, writer }
    }

    /// Waits until everything is written and returns the file.
    ///
    /// # Errors
    ///
    /// The first error of a write.
    pub async fn finish(self) -> io::Result<std::fs::File> {
        drop(self.queue);
        self.writer.await.map_err(io::Error::other)?
    }
}

impl Sink for FileSink {
    fn write_all(&mut self, bytes: Bytes) -> SinkFuture<'_> {
        Box::pin(async move {
            if self.queue.send(bytes).await.is_ok() {
                return Ok(());
            }
            // The thread ends early only by an error, which is waiting for us.
            match (&mut self.writer).await {
                Ok(Err(error)) => Err(error),
                Ok(Ok(_)) => Err(io::ErrorKind::BrokenPipe.into()),
                Err(error) => Err(io::Error::other(error)),
            }
        })
    }
}
