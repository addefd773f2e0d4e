//! One connection: HTTP/1.1 or HTTP/2, with what hyper leaves to us.

use std::{
    convert::Infallible,
    future::Future,
    io,
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{HeaderValue, header};
use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{Notify, watch},
    time::{Instant, Sleep, sleep},
};

use super::{Desk, Limits};

/// Which HTTP a connection speaks; settled by ALPN, never guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speech {
    Http1,
    Http2,
}

/// Serves a connection until the client is gone, a limit cuts it, or `shutdown` asks it to finish.
pub(super) async fn serve<S>(stream: S, speech: Speech, peer: IpAddr, desk: Arc<Desk>, shutdown: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let outcome = match speech {
        // Boxed, so that no connection takes the room of the one that it is not.
        Speech::Http1 => Box::pin(serve_http1(stream, peer, desk, shutdown)).await,
        Speech::Http2 => Box::pin(serve_http2(stream, peer, desk, shutdown)).await,
    };
    if let Err(error) = outcome {
        tracing::trace!(event = "connection_ended", %error);
    }
}

async fn serve_http1<S>(stream: S, peer: IpAddr, desk: Arc<Desk>, mut shutdown: watch::Receiver<bool>) -> Result<(), hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = desk.settings.limits.clone();
    let phase = Arc::new(AtomicU8::new(Phase::Idle as u8));
    let guarded = HeadGuard { inner: stream, phase: Arc::clone(&phase), limit: limits.header_timeout, alarm: None };
    let lifetime = Lifetime::begin();
    let service = service_fn(move |request| {
        phase.store(Phase::Answering as u8, Ordering::Relaxed);
        let (desk, phase, span) = (Arc::clone(&desk), Arc::clone(&phase), lifetime.count());
        // Boxed: hyper keeps room for an answer in the making with every connection, and most connections are idle.
        Box::pin(async move {
            let mut reply = desk.answer(request, peer).await;
            phase.store(Phase::Idle as u8, Ordering::Relaxed);
            if span == Span::Over {
                // The client is told, and hyper closes behind the answer: nobody sends into a closing connection.
                reply.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(reply)
        })
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.idle_timeout)
        .max_headers(limits.headers_max)
        .max_buf_size(buffer_size(&limits));
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(guarded), service));
    tokio::select! {
        // In this order, so that a simulation repeats itself.
        biased;
        outcome = connection.as_mut() => return outcome,
        () = asked(&mut shutdown) => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

async fn serve_http2<S>(stream: S, peer: IpAddr, desk: Arc<Desk>, mut shutdown: watch::Receiver<bool>) -> Result<(), hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = desk.settings.limits.clone();
    let (lifetime, retired) = (Lifetime::begin(), Arc::new(Notify::new()));
    let retire = Arc::clone(&retired);
    let service = service_fn(move |request| {
        if lifetime.count() == Span::Over {
            retire.notify_one();
        }
        let desk = Arc::clone(&desk);
        Box::pin(async move { Ok::<_, Infallible>(desk.answer(request, peer).await) })
    });
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .max_concurrent_streams(100)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(u32::try_from(limits.header_bytes_max.0).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(100)
        .keep_alive_interval(limits.idle_timeout)
        .keep_alive_timeout(Duration::from_secs(20));
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        // In this order, so that a simulation repeats itself.
        biased;
        outcome = connection.as_mut() => return outcome,
        () = asked(&mut shutdown) => connection.as_mut().graceful_shutdown(),
        () = retired.notified() => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

/// How long a connection has lasted, so that a balancer in front gets to spread its clients anew.
struct Lifetime {
    begun: Instant,
    requests: AtomicU32,
}

/// Whether a connection goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Span {
    Running,
    Over,
}

/// Requests of one connection (reliability.md 3b).
const CONNECTION_REQUESTS_MAX: u32 = 10_000;
/// The age at which a connection ends with its next request (reliability.md 3b).
const CONNECTION_AGE_MAX: Duration = Duration::from_hours(1);

impl Lifetime {
    fn begin() -> Self {
        Self { begun: Instant::now(), requests: AtomicU32::new(0) }
    }

    /// Counts a request, and says whether the connection ends with it.
    fn count(&self) -> Span {
        let requests = self.requests.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let is_over = requests >= CONNECTION_REQUESTS_MAX || self.begun.elapsed() >= CONNECTION_AGE_MAX;
        if is_over { Span::Over } else { Span::Running }
    }
}

/// Waits until a stop is asked for; for ever when that can no longer come.
async fn asked(shutdown: &mut watch::Receiver<bool>) {
    if shutdown.wait_for(|asked| *asked).await.is_err() {
        std::future::pending::<()>().await;
    }
}

const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;

/// hyper's least buffer is 8 KiB.
fn buffer_size(limits: &Limits) -> usize {
    usize::try_from(limits.header_bytes_max.0).unwrap_or(usize::MAX).max(8 << 10)
}

/// Where an HTTP/1.1 connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    /// Between requests.
    Idle,
    /// Some of a request's head has come.
    Head,
    /// A request is being answered; its body has a deadline of its own.
    Answering,
}

/// Cuts a connection whose request head does not come to its end. hyper's own timeout runs from the last answer on, so it has
/// to be as long as a connection may be idle: a client that sends one byte of a head each second would have all that time.
struct HeadGuard<S> {
    inner: S,
    phase: Arc<AtomicU8>,
    limit: Duration,
    /// Set while a head is under way; most heads come in one piece and never set it.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + Unpin> AsyncRead for HeadGuard<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut this.inner).poll_read(context, buffer) {
            if buffer.filled().len() > before && this.phase.load(Ordering::Relaxed) == Phase::Idle as u8 {
                this.phase.store(Phase::Head as u8, Ordering::Relaxed);
                this.alarm = None;
            }
            return Poll::Ready(read);
        }
        if this.phase.load(Ordering::Relaxed) != Phase::Head as u8 {
            this.alarm = None;
            return Poll::Pending;
        }
        let limit = this.limit;
        let alarm = this.alarm.get_or_insert_with(|| Box::pin(sleep(limit)));
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
