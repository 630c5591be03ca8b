//! A connection that keeps its place, and breaks when its other end takes nothing for too long.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::places::Place;

/// A stream with its place, which is free again when this is dropped.
pub struct Guarded<S> {
    stream: S,
    /// How long it may be stuck.
    stall: Option<Duration>,
    /// Runs while it is stuck.
    stuck: Option<Pin<Box<Sleep>>>,
    place: Place,
}

impl<S> Guarded<S> {
    /// Guards a stream. Without a time it may be stuck for ever.
    pub fn new(stream: S, stall: Option<Duration>, place: Place) -> Guarded<S> {
        Guarded { stream, stall, stuck: None, place }
    }

    /// The stream, which is guarded no longer, and the place that it has for as long as it is this server's.
    pub fn into_parts(self) -> (S, Place) {
        (self.stream, self.place)
    }

    /// What came of an attempt to write: if nothing for too long, an error.
    fn or_stuck<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let (Poll::Pending, Some(stall)) = (&written, self.stall) else {
            self.stuck = None;
            return written;
        };
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(sleep(stall)));
        stuck.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.or_stuck(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.or_stuck(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.or_stuck(flushed, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.or_stuck(shut, cx)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::super::{Places, Share};
    use super::*;

    async fn guarded(stream: DuplexStream, stall: Duration) -> Guarded<DuplexStream> {
        let places = Places::new(Share::alone(1));
        let place = places.admit(places.free().await, None).expect("no address has too many");
        Guarded::new(stream, Some(stall), place)
    }

    #[tokio::test]
    async fn one_who_takes_nothing_is_cut_off() {
        let (stream, _other) = duplex(10);
        let mut ours = guarded(stream, Duration::from_millis(1)).await;
        ours.write_all(&[0; 10]).await.expect("room for ten");
        let error = ours.write_all(&[0; 1]).await.expect_err("no room");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn one_who_takes_something_has_all_the_time_again() {
        let (stream, mut other) = duplex(10);
        let mut ours = guarded(stream, Duration::from_secs(3600)).await;
        for _ in 0..3 {
            assert!(ours.write_all(&[0; 11]).now_or_never().is_none());
            assert!(ours.stuck.is_some());
            other.read_exact(&mut [0; 10]).await.expect("ten bytes");
            ours.write_all(&[0; 1]).await.expect("room");
            assert!(ours.stuck.is_none());
            other.read_exact(&mut [0; 1]).await.expect("a byte");
        }
    }
}
