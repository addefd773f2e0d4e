//! A stream that tells its connection's standing what is read and written.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::standing::{Socket, Standing};

/// Which side of a connection has a limit on what is said between requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chatter {
    /// HTTP/1.1 has none: whatever is no body is a head, which has limits of its own.
    None,
    /// HTTP/2 has control frames.
    Counted,
}

/// A stream whose reads and writes are counted.
pub(super) struct Metered<S> {
    pub inner: S,
    pub standing: Arc<Standing>,
    pub chatter: Chatter,
}

impl<S> Metered<S> {
    /// Passes on what came of a write.
    fn note(&self, wrote: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &wrote {
            Poll::Pending => self.standing.found(Socket::Blocked),
            Poll::Ready(Ok(bytes)) => self.standing.wrote(*bytes),
            Poll::Ready(Err(_)) => {}
        }
        wrote
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(context, buffer);
        let bytes = buffer.filled().len() - before;
        if self.chatter == Chatter::Counted && bytes > 0 && !self.standing.heard(bytes) {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::QuotaExceeded, "too much was said that is no request")));
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.note(wrote)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(context);
        // Called when everything has been written. TLS has a buffer of its own and may find out only here that it was not.
        self.standing.found(if flushed.is_pending() { Socket::Blocked } else { Socket::Taking });
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.note(wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
