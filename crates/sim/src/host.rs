//! The host of one simulated process: its clock, its randomness, its tasks, its network.
//!
//! A killed process runs no further: its tasks are dropped, its connections end, and its handles
//! to the disk fail.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use avid_net::host::{Acceptor, Boxed};
use avid_net::{HostParts, Stream};
use avid_types::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::network::{HostId, Network};
use crate::random::Random;

/// The date on which every simulation begins: 2026-01-01.
pub const BEGIN: Timestamp = Timestamp(1_767_225_600_000);

/// The host of one life of one process.
#[derive(Debug)]
pub struct SimHost {
    id: HostId,
    network: Network,
    start: Instant,
    clock_offset_ms: Arc<AtomicI64>,
    random: Mutex<Random>,
    tasks: Mutex<JoinSet<()>>,
    pause: Arc<Pause>,
}

/// Whether a process is stopped, and who waits for it to continue.
#[derive(Debug, Default)]
struct Pause {
    is_paused: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SimHost {
    /// The host of a new process.
    ///
    /// `clock_offset_ms` belongs to the machine and outlives the process.
    #[must_use]
    pub fn new(
        id: HostId,
        network: Network,
        start: Instant,
        clock_offset_ms: Arc<AtomicI64>,
        random: Random,
    ) -> Self {
        Self {
            id,
            network,
            start,
            clock_offset_ms,
            random: Mutex::new(random),
            tasks: Mutex::default(),
            pause: Arc::default(),
        }
    }

    /// Ends every task of the process and all its connections.
    pub fn kill(&self) {
        lock(&self.tasks).abort_all();
        self.network.reset_host(self.id);
        self.network.freeze(self.id, false);
    }

    /// Stops the process, or lets it go on.
    pub fn pause(&self, paused: bool) {
        self.pause.is_paused.store(paused, Ordering::SeqCst);
        self.network.freeze(self.id, paused);
        if !paused {
            for waker in lock(&self.pause.waiting).drain(..) {
                waker.wake();
            }
        }
    }

    fn start_task(&self, work: Boxed<'static, ()>) {
        let mut tasks = lock(&self.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(Pausable { work, pause: Arc::clone(&self.pause) });
    }
}

/// Work that stands still while its process is stopped.
struct Pausable {
    work: Boxed<'static, ()>,
    pause: Arc<Pause>,
}

impl Future for Pausable {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.pause.is_paused.load(Ordering::SeqCst) {
            lock(&self.pause.waiting).push(context.waker().clone());
            return Poll::Pending;
        }
        self.work.as_mut().poll(context)
    }
}

impl HostParts for SimHost {
    fn wall_clock(&self) -> Timestamp {
        let true_time = BEGIN.plus(self.start.elapsed());
        let offset = self.clock_offset_ms.load(Ordering::SeqCst);
        Timestamp(true_time.0.saturating_add_signed(offset))
    }

    fn random(&self, bytes: &mut [u8]) -> io::Result<()> {
        lock(&self.random).fill(bytes);
        Ok(())
    }

    fn start_thread(&self, _: &'static str, work: Boxed<'static, ()>) -> io::Result<()> {
        self.start_task(work);
        Ok(())
    }

    fn start_work(&self, work: Boxed<'static, ()>) {
        self.start_task(work);
    }

    fn resolve<'a>(&'a self, name: &'a str) -> Boxed<'a, io::Result<Vec<SocketAddr>>> {
        let parsed = name.parse().map_err(|_| io::ErrorKind::NotFound.into());
        Box::pin(std::future::ready(parsed.map(|address| vec![address])))
    }

    fn connect(&self, address: SocketAddr) -> Boxed<'_, io::Result<Stream>> {
        Box::pin(self.network.connect(self.id, address))
    }

    fn listen(&self, address: SocketAddr) -> io::Result<Box<dyn Acceptor>> {
        if address != self.id.address() {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        let incoming = tokio::sync::Mutex::new(self.network.listen(self.id)?);
        Ok(Box::new(SimAcceptor { address, incoming }))
    }
}

#[derive(Debug)]
struct SimAcceptor {
    address: SocketAddr,
    incoming: tokio::sync::Mutex<mpsc::UnboundedReceiver<(Stream, SocketAddr)>>,
}

impl Acceptor for SimAcceptor {
    fn local_address(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    fn accept(&self) -> Boxed<'_, io::Result<(Stream, SocketAddr)>> {
        Box::pin(async move {
            let mut incoming = self.incoming.lock().await;
            match incoming.recv().await {
                Some(connection) => Ok(connection),
                // The process has been killed; this task is about to be dropped.
                None => std::future::pending().await,
            }
        })
    }
}
