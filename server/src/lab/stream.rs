//! A connected stream socket that the server has handed over: the page's own TCP connection, or one end of a pair whose
//! other end the server bridges to it.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use nix::sys::socket::{AddressFamily, SockaddrLike, SockaddrStorage, getsockname};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A page's connection.
pub enum PageStream {
    /// The page's own.
    Tcp(TcpStream),
    /// A bridge's end.
    Unix(UnixStream),
}

impl PageStream {
    /// Takes a socket into the running event loop. Errors with InvalidData where it is of neither kind.
    pub fn new(socket: OwnedFd) -> io::Result<PageStream> {
        let address: SockaddrStorage = getsockname(socket.as_raw_fd())?;
        match address.family() {
            Some(AddressFamily::Inet | AddressFamily::Inet6) => {
                let stream = std::net::TcpStream::from(socket);
                stream.set_nonblocking(true)?;
                // A key's echo must not wait for more to come.
                stream.set_nodelay(true)?;
                Ok(PageStream::Tcp(TcpStream::from_std(stream)?))
            }
            Some(AddressFamily::Unix) => {
                let stream = std::os::unix::net::UnixStream::from(socket);
                stream.set_nonblocking(true)?;
                Ok(PageStream::Unix(UnixStream::from_std(stream)?))
            }
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

impl AsyncRead for PageStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            PageStream::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            PageStream::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for PageStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            PageStream::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            PageStream::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Sockets keep nothing back.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            PageStream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            PageStream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
