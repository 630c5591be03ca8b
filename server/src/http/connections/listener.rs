//! What connections come from: a TCP socket, or a Unix one.

use std::io;
use std::net::IpAddr;

use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// A listening socket.
pub trait Listener: Send {
    /// What it accepts.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// The next connection, and the address of its other end where it has one. Nothing is lost if this is dropped.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, Option<IpAddr>)>> + Send;

    /// Has the kernel keep so many bytes at most of what each connection sends and receives.
    fn bound_buffers(&self, bytes: usize) -> io::Result<()>;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, Option<IpAddr>)> {
        let (stream, address) = TcpListener::accept(self).await?;
        Ok((stream, Some(address.ip())))
    }

    fn bound_buffers(&self, bytes: usize) -> io::Result<()> {
        // Connections inherit both (tcp(7)).
        setsockopt(self, sockopt::SndBuf, &bytes)?;
        setsockopt(self, sockopt::RcvBuf, &bytes)?;
        Ok(())
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<(UnixStream, Option<IpAddr>)> {
        let (stream, _) = UnixListener::accept(self).await?;
        Ok((stream, None))
    }

    fn bound_buffers(&self, _bytes: usize) -> io::Result<()> {
        // They never grow (unix(7)).
        Ok(())
    }
}
