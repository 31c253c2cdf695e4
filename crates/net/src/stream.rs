//! The byte stream under a connection: TCP, or whatever a host brings.
//!
//! An enum, so that the data path over TCP is known at compile time; a host that is not the
//! operating system brings two halves behind pointers. Halves are separate types because TCP
//! splits without a lock.
//!
//! Options: no delay, since frames are coalesced above; keepalive, so that a peer that vanished
//! without a word is noticed within [`PEER_LOSS_MAX`] on a link that is idle for hours. Socket
//! buffers are left to the kernel: a fixed size would switch off its tuning to the path's delay.
//!
//! Not here: frames ([`crate::connection`]), deadlines ([`crate::connection::within`]).

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// Silence after which the kernel starts to probe the peer.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
/// Time between probes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// Unanswered probes that end the connection.
const KEEPALIVE_PROBES: u32 = 3;
/// Longest time until the loss of a silent peer is noticed.
pub const PEER_LOSS_MAX: Duration = Duration::from_secs(30);

const _: () = assert!(KEEPALIVE_IDLE.as_secs() == 15 && PEER_LOSS_MAX.as_secs() == 15 + 3 * 5);

/// A receiving half that a host brings.
pub trait Receive: AsyncRead + Send + Sync + Unpin + Debug {}
impl<T: AsyncRead + Send + Sync + Unpin + Debug> Receive for T {}

/// A sending half that a host brings. Dropping it closes that direction.
pub trait Transmit: AsyncWrite + Send + Sync + Unpin + Debug {}
impl<T: AsyncWrite + Send + Sync + Unpin + Debug> Transmit for T {}

/// A connected byte stream.
#[derive(Debug)]
pub enum Stream {
    /// Plain TCP.
    Tcp(TcpStream),
    /// Bytes that a host carries by itself.
    Carried(Box<dyn Receive>, Box<dyn Transmit>),
}

/// The receiving half of a [`Stream`].
#[derive(Debug)]
pub enum ReadHalf {
    /// Plain TCP.
    Tcp(OwnedReadHalf),
    /// Bytes that a host carries by itself.
    Carried(Box<dyn Receive>),
}

/// The sending half of a [`Stream`]. Dropping it closes that direction.
#[derive(Debug)]
pub enum WriteHalf {
    /// Plain TCP.
    Tcp(OwnedWriteHalf),
    /// Bytes that a host carries by itself.
    Carried(Box<dyn Transmit>),
}

impl Stream {
    /// Wraps a connected socket and sets its options.
    ///
    /// # Errors
    ///
    /// The operating system's, if an option cannot be set: the socket is already broken.
    pub fn tcp(socket: TcpStream) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        sockopt::set_socket_keepalive(&socket, true)?;
        sockopt::set_tcp_keepidle(&socket, KEEPALIVE_IDLE)?;
        sockopt::set_tcp_keepintvl(&socket, KEEPALIVE_INTERVAL)?;
        sockopt::set_tcp_keepcnt(&socket, KEEPALIVE_PROBES)?;
        Ok(Self::Tcp(socket))
    }

    /// The address of the other end, if it is still connected.
    #[must_use]
    pub fn peer_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.peer_addr().ok(),
            Self::Carried(..) => None,
        }
    }

    /// Separates the directions.
    #[must_use]
    pub fn split(self) -> (ReadHalf, WriteHalf) {
        match self {
            Self::Tcp(socket) => {
                let (read, write) = socket.into_split();
                (ReadHalf::Tcp(read), WriteHalf::Tcp(write))
            }
            Self::Carried(read, write) => (ReadHalf::Carried(read), WriteHalf::Carried(write)),
        }
    }
}

impl AsyncRead for ReadHalf {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(half) => Pin::new(half).poll_read(context, buffer),
            Self::Carried(half) => Pin::new(half).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(half) => Pin::new(half).poll_write(context, bytes),
            Self::Carried(half) => Pin::new(half).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(half) => Pin::new(half).poll_write_vectored(context, slices),
            Self::Carried(half) => Pin::new(half).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(half) => half.is_write_vectored(),
            Self::Carried(half) => half.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(half) => Pin::new(half).poll_flush(context),
            Self::Carried(half) => Pin::new(half).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(half) => Pin::new(half).poll_shutdown(context),
            Self::Carried(half) => Pin::new(half).poll_shutdown(context),
        }
    }
}
