//! A connection whose client does not take what it asked for: it ends after a while instead of being kept for ever.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// Up to so many bytes in several pieces are joined: the kernel takes one piece for less than two (measured on answers
/// of `/health`).
const SMALL: usize = 512;

/// The bytes of a connection. Costs nothing while they are taken.
#[derive(Debug)]
pub struct Impatient<T> {
    io: T,
    /// What was read of it before.
    begun: Bytes,
    limit: Duration,
    /// Counts what was taken.
    moves: Arc<AtomicUsize>,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<T> Impatient<T> {
    /// Of this connection, of which `begun` was read already and whose client may take nothing for so long.
    pub const fn new(io: T, begun: Bytes, limit: Duration, moves: Arc<AtomicUsize>) -> Self {
        Self { io, begun, limit, moves, waiting: None }
    }
}

impl<T: AsyncWrite + Unpin> Impatient<T> {
    /// The same for bytes, which are counted as they are taken.
    fn sent(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut T>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let sent = self.watched(context, write);
        if matches!(sent, Poll::Ready(Ok(_))) {
            self.moves.fetch_add(1, Ordering::Relaxed);
        }
        sent
    }

    fn watched<R>(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut T>, &mut Context<'_>) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        if let Poll::Ready(result) = write(Pin::new(&mut self.io), context) {
            self.waiting = None;
            return Poll::Ready(result);
        }
        let limit = self.limit;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(waiting.as_mut().poll(context));
        let problem = format!("nothing was taken for {limit:?}");
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, problem)))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Impatient<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.begun.is_empty() {
            let count = self.begun.len().min(buffer.remaining());
            buffer.put_slice(&self.begun[..count]);
            self.begun.advance(count);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Impatient<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.sent(context, |io, context| io.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let size: usize = bytes.iter().map(|part| part.len()).sum();
        if size > SMALL {
            return self.sent(context, |io, context| io.poll_write_vectored(context, bytes));
        }
        let (mut joined, mut end) = ([0; SMALL], 0);
        for part in bytes {
            joined[end..end + part.len()].copy_from_slice(part);
            end += part.len();
        }
        self.sent(context, |io, context| io.poll_write(context, &joined[..end]))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watched(context, AsyncWrite::poll_flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watched(context, AsyncWrite::poll_shutdown)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_left_and_one_that_goes_on_is_not() {
        let (ours, mut theirs) = tokio::io::duplex(10);
        let mut ours =
            Impatient::new(ours, Bytes::new(), Duration::from_millis(50), Arc::default());
        ours.write_all(&[b'x'; 10]).await.unwrap();
        let error = ours.write_all(b"more").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        theirs.read_exact(&mut [0; 10]).await.unwrap();
        ours.write_all(b"more").await.unwrap();
        assert!(ours.waiting.is_none(), "what was taken makes good for what was not");
    }

    #[tokio::test]
    async fn what_was_read_before_comes_first() {
        let (ours, mut theirs) = tokio::io::duplex(10);
        let begun = Bytes::from_static(b"GET /");
        let mut ours = Impatient::new(ours, begun, Duration::from_secs(9), Arc::default());
        theirs.write_all(b"x ").await.unwrap();
        let (mut few, mut rest) = ([0; 3], [0; 4]);
        ours.read_exact(&mut few).await.unwrap();
        ours.read_exact(&mut rest).await.unwrap();
        assert_eq!((&few, &rest), (b"GET", b" /x "));
    }
}
