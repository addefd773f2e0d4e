//! A connection that can be made to end badly.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::watch,
};

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It goes on.
    Open,
    /// It is, or shall be, closed.
    Closed,
    /// It is, or shall be, reset.
    Reset,
}

/// The fate of one connection, shared by its wire, its server task and its requests.
#[derive(Debug, Clone)]
pub(super) struct Fate {
    end: Arc<watch::Sender<End>>,
}

impl Fate {
    pub(super) fn new() -> Self {
        Self { end: Arc::new(watch::Sender::new(End::Open)) }
    }

    /// Ends the connection with a FIN. The first end counts.
    pub(super) fn close(&self) {
        self.seal(End::Closed);
    }

    /// Ends the connection with a RST.
    pub(super) fn reset(&self) {
        self.seal(End::Reset);
    }

    /// Returns once the connection has ended or shall end.
    pub(super) async fn ended(&self) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.end.subscribe().wait_for(|end| *end != End::Open).await;
    }

    fn seal(&self, by: End) {
        self.end.send_if_modified(|end| {
            let open = *end == End::Open;
            if open {
                *end = by;
            }
            open
        });
    }
}

/// A TCP stream that resets when it is dropped, if its fate says so.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    fate: Fate,
}

impl Wire {
    pub(super) const fn new(stream: TcpStream, fate: Fate) -> Self {
        Self { stream, fate }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if *self.fate.end.borrow() == End::Reset {
            // Closing with unsent data thrown away is what sends a RST. If it cannot be set the peer sees a FIN.
            let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        }
        self.fate.close();
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
