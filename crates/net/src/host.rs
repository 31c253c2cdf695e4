//! What a process takes from outside besides its disk: time, randomness, threads, network.
//!
//! Everything a node or a client does that is not a function of its inputs passes through a
//! [`Host`]. In production that is [`SystemHost`]; the simulator brings one whose every answer
//! follows from a seed, and then runs the same code.
//!
//! Delays and deadlines are tokio's, which has a virtual clock of its own.
//!
//! Invariant: nothing above this crate reads a clock, draws randomness, starts a thread or opens a
//! socket by itself.
//! Not here: the disk (`store::Disk`).

mod system;

use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use avid_types::Timestamp;
use tokio::sync::oneshot;

use crate::stream::Stream;

pub use system::SystemHost;

/// A future behind a pointer.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
/// The host of a process, shared by its parts.
pub type Host = Arc<dyn HostParts>;

/// Time, randomness, threads and network of one process.
pub trait HostParts: Send + Sync + Debug + 'static {
    /// The local clock; it may jump. Milliseconds since 1970.
    fn wall_clock(&self) -> Timestamp;

    /// Fills `bytes` with what nobody can guess.
    ///
    /// # Errors
    ///
    /// The operating system's, if it has none to give.
    fn random(&self, bytes: &mut [u8]) -> io::Result<()>;

    /// Runs work that lasts as long as the process, and may block, beside everything else.
    ///
    /// # Errors
    ///
    /// The operating system's, if there is no thread to be had.
    fn start_thread(&self, name: &'static str, work: Boxed<'static, ()>) -> io::Result<()>;

    /// Runs work that may block, beside everything else.
    fn start_work(&self, work: Boxed<'static, ()>);

    /// The addresses of `host:port`.
    fn resolve<'a>(&'a self, name: &'a str) -> Boxed<'a, io::Result<Vec<SocketAddr>>>;

    /// Connects to an address.
    fn connect(&self, address: SocketAddr) -> Boxed<'_, io::Result<Stream>>;

    /// Listens on an address. `[::]` does not include IPv4.
    ///
    /// # Errors
    ///
    /// The operating system's.
    fn listen(&self, address: SocketAddr) -> io::Result<Box<dyn Acceptor>>;
}

/// A socket that is listened on.
pub trait Acceptor: Send + Sync + Debug {
    /// The address in use; a port given as 0 shows the one that was chosen.
    ///
    /// # Errors
    ///
    /// The operating system's.
    fn local_address(&self) -> io::Result<SocketAddr>;

    /// The next connection, with the address it came from. Cancel-safe.
    fn accept(&self) -> Boxed<'_, io::Result<(Stream, SocketAddr)>>;
}

/// The result of work under way; dropping it lets the work end by itself.
#[derive(Debug)]
#[must_use = "the result of the work is lost"]
pub struct Work<T>(oneshot::Receiver<T>);

/// Work that did not end by itself: it panicked, or its process is ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the work was stopped before it ended")]
pub struct WorkStopped;

impl<T> Future for Work<T> {
    type Output = Result<T, WorkStopped>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map_err(|_| WorkStopped)
    }
}

fn with_result<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> (Boxed<'static, ()>, Work<T>) {
    let (result, receiver) = oneshot::channel();
    let work = Box::pin(async move {
        // Whoever dropped the receiver does not want the result.
        drop(result.send(work.await));
    });
    (work, Work(receiver))
}

/// Starts work that may block its thread and has a result.
pub fn work<T: Send + 'static>(
    host: &Host,
    work: impl Future<Output = T> + Send + 'static,
) -> Work<T> {
    let (work, result) = with_result(work);
    host.start_work(work);
    result
}

/// Starts a thread of its own for work that lasts as long as the process.
///
/// # Errors
///
/// The operating system's, if there is no thread to be had.
pub fn thread<T: Send + 'static>(
    host: &Host,
    name: &'static str,
    work: impl Future<Output = T> + Send + 'static,
) -> io::Result<Work<T>> {
    let (work, result) = with_result(work);
    host.start_thread(name, work)?;
    Ok(result)
}
