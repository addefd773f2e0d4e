//! The deadline of a request's head.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

/// Where an HTTP/1.1 connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// Nothing has come yet.
    Fresh,
    /// Between requests.
    Idle,
    /// Some of a request's head has come.
    Head,
    /// A request is being answered; its body has a deadline of its own.
    Answering,
}

/// Cuts a connection whose request head does not come to its end. hyper's own timeout runs from the last answer on, so it has
/// to be as long as a connection may be idle: a client that sends one byte of a head each second would have all that time.
pub(super) struct HeadGuard<S> {
    inner: S,
    phase: Arc<AtomicU8>,
    limit: Duration,
    /// When the first request's head began, for as long as it is that one's.
    since: Option<Instant>,
    /// Set while a head is under way; most heads come in one piece and never set it.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl<S> HeadGuard<S> {
    /// Guards a connection of which some may have been read already, from `since` on; `phase` is set to [`Phase::Answering`] and
    /// back by who answers.
    pub(super) const fn new(inner: S, phase: Arc<AtomicU8>, limit: Duration, since: Option<Instant>) -> Self {
        Self { inner, phase, limit, since, alarm: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HeadGuard<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut this.inner).poll_read(context, buffer) {
            let phase = this.phase.load(Ordering::Relaxed);
            if buffer.filled().len() > before && phase <= Phase::Idle as u8 {
                if phase == Phase::Idle as u8 {
                    this.since = None;
                }
                this.phase.store(Phase::Head as u8, Ordering::Relaxed);
                this.alarm = None;
            }
            return Poll::Ready(read);
        }
        if this.phase.load(Ordering::Relaxed) != Phase::Head as u8 {
            this.alarm = None;
            return Poll::Pending;
        }
        let deadline = this.since.unwrap_or_else(Instant::now) + this.limit;
        let alarm = this.alarm.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        ready!(alarm.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the request's head did not come to its end")))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HeadGuard<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
