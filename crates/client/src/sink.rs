//! Where verified bytes go.

use std::future::Future;
use std::io::{self, Write as _};
use std::pin::Pin;

use avid_net::Host;
use avid_net::host::{Work, work};
use bytes::Bytes;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;

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
    /// Absent once a write has reported how it ended: a handle may be awaited only once.
    writer: Option<Work<io::Result<std::fs::File>>>,
}

impl FileSink {
    /// Starts the thread. Must be called within a tokio runtime.
    #[must_use]
    pub fn new(host: &Host, mut file: std::fs::File) -> Self {
        let (queue, mut pieces) = mpsc::channel::<Bytes>(FILE_QUEUE);
        let writer = work(host, async move {
            while let Some(bytes) = pieces.recv().await {
                file.write_all(&bytes)?;
            }
            Ok(file)
        });
        Self { queue, writer: Some(writer) }
    }

    /// Waits until everything is written and returns the file.
    ///
    /// # Errors
    ///
    /// The first error of a write; a broken pipe if [`Sink::write_all`] has returned it already.
    pub async fn finish(self) -> io::Result<std::fs::File> {
        drop(self.queue);
        ended(self.writer).await
    }
}

/// How the thread ended, the first time this is asked.
async fn ended(writer: Option<Work<io::Result<std::fs::File>>>) -> io::Result<std::fs::File> {
    match writer {
        Some(writer) => writer.await.map_err(io::Error::other)?,
        None => Err(io::ErrorKind::BrokenPipe.into()),
    }
}

impl Sink for FileSink {
    fn write_all(&mut self, bytes: Bytes) -> SinkFuture<'_> {
        Box::pin(async move {
            if self.queue.send(bytes).await.is_ok() {
                return Ok(());
            }
            // The thread ends early only by an error, which is waiting for us.
            match ended(self.writer.take()).await {
                Ok(_) => Err(io::ErrorKind::BrokenPipe.into()),
                Err(error) => Err(error),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_write_that_failed_is_told_and_can_be_finished() {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut sink = FileSink::new(&avid_net::SystemHost::shared(), full);
        let error = loop {
            // The first few pieces only enter the queue.
            if let Err(error) = sink.write_all(Bytes::from_static(b"piece")).await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        let again = sink.write_all(Bytes::from_static(b"piece")).await.unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(sink.finish().await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
