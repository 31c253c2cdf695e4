//! The host that is the operating system.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use avid_types::Timestamp;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Handle;

use super::{Acceptor, Boxed, Host, HostParts};
use crate::stream::Stream;

/// Connections the kernel may hold for us between two accepts.
const BACKLOG: u32 = 1024;

/// The operating system. Used within a tokio runtime.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemHost;

impl SystemHost {
    /// The operating system as a [`Host`].
    #[must_use]
    pub fn shared() -> Host {
        Arc::new(Self)
    }
}

impl HostParts for SystemHost {
    fn wall_clock(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::ZERO.plus(since)
    }

    fn random(&self, bytes: &mut [u8]) -> io::Result<()> {
        getrandom::fill(bytes).map_err(io::Error::other)
    }

    fn start_thread(&self, name: &'static str, work: Boxed<'static, ()>) -> io::Result<()> {
        let runtime = Handle::current();
        let thread = std::thread::Builder::new().name(name.into());
        thread.spawn(move || runtime.block_on(work)).map(drop)
    }

    fn start_work(&self, work: Boxed<'static, ()>) {
        let runtime = Handle::current();
        drop(tokio::task::spawn_blocking(move || runtime.block_on(work)));
    }

    fn resolve<'a>(&'a self, name: &'a str) -> Boxed<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { Ok(tokio::net::lookup_host(name).await?.collect()) })
    }

    fn connect(&self, address: SocketAddr) -> Boxed<'_, io::Result<Stream>> {
        Box::pin(async move { Stream::tcp(TcpStream::connect(address).await?) })
    }

    fn listen(&self, address: SocketAddr) -> io::Result<Box<dyn Acceptor>> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => {
                let socket = TcpSocket::new_v6()?;
                rustix::net::sockopt::set_ipv6_v6only(&socket, true)?;
                socket
            }
        };
        // A restarted node may bind although connections of its predecessor are still closing.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Box::new(TcpAcceptor(socket.listen(BACKLOG)?)))
    }
}

#[derive(Debug)]
struct TcpAcceptor(TcpListener);

impl Acceptor for TcpAcceptor {
    fn local_address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    fn accept(&self) -> Boxed<'_, io::Result<(Stream, SocketAddr)>> {
        Box::pin(async move {
            let (socket, address) = self.0.accept().await?;
            Ok((Stream::tcp(socket)?, address))
        })
    }
}
