//! One connection: HTTP/1.1 or HTTP/2, with what hyper leaves to us.

use std::{
    convert::Infallible,
    future::Future,
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, Ordering},
    },
    time::Duration,
};

use http::{HeaderValue, header};
use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{Notify, watch},
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{
    Desk, Limits,
    bodies::{Arriving, Departing},
    head_guard::{HeadGuard, Phase},
    listener::{Course, Door},
    metered::{Chatter, Metered},
    opening::{Opened, Whole, listen},
    relay::Untaken,
    standing::{Afterwards, Overstay, Standing},
};

/// Which HTTP a connection speaks; settled by ALPN, never guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speech {
    Http1,
    Http2,
}

/// One connection, and all that is needed to serve it.
pub(super) struct Guest {
    pub peer: IpAddr,
    pub desk: Arc<Desk>,
    pub standing: Arc<Standing>,
    pub shutdown: watch::Receiver<Course>,
    /// When the first byte of its first request came.
    pub since: Option<Instant>,
    /// Who it is.
    pub door: Door,
}

/// Waits for the head of a connection's first request, or takes what there is of it when the way in closes; None when nobody
/// asks anything.
pub(super) async fn opened<S>(mut stream: S, guest: &mut Guest) -> Option<Opened<S>>
where
    S: AsyncRead + Unpin,
{
    let Guest { desk, standing, shutdown, since, .. } = guest;
    let limits = &desk.settings.limits;
    let (mut said, fresh) = (Vec::new(), AtomicU8::new(Phase::Fresh as u8));
    let listening = async {
        listen(&mut stream, &mut said, Whole::Word).await?;
        let begun = *since.insert(Instant::now());
        timeout_at(begun + limits.header_timeout, listen(&mut stream, &mut said, Whole::Head)).await?
    };
    tokio::select! {
        // In this order, so that a simulation repeats itself.
        biased;
        heard = listening => heard.ok()?,
        () = lingered(shutdown, Speech::Http1, &fresh) => {}
        _ = standing.overstay(limits) => return None,
    }
    (!said.is_empty()).then(|| Opened::new(said, stream))
}

/// Serves a connection until the client is gone, a limit cuts it, or `shutdown` asks it to finish.
pub(super) async fn serve<S>(stream: S, speech: Speech, guest: Guest)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let outcome = match speech {
        // Boxed, so that no connection takes the room of the one that it is not.
        Speech::Http1 => Box::pin(serve_http1(stream, guest)).await,
        Speech::Http2 => Box::pin(serve_http2(stream, guest)).await,
    };
    if let Err(error) = outcome {
        tracing::trace!(event = "connection_ended", %error);
    }
}

async fn serve_http1<S>(stream: S, guest: Guest) -> Result<(), hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Guest { peer, desk, standing, shutdown, since, door } = guest;
    let limits = desk.settings.limits.clone();
    let phase = Arc::new(AtomicU8::new(Phase::Fresh as u8));
    let metered = Metered { inner: stream, standing: Arc::clone(&standing), chatter: Chatter::None };
    let guarded = HeadGuard::new(metered, Arc::clone(&phase), limits.header_timeout, since);
    let (lifetime, asker) = (Lifetime::begin(), Arc::clone(&standing));
    let (now_in, leaving) = (Arc::clone(&phase), shutdown.clone());
    let service = service_fn(move |request: http::Request<_>| {
        phase.store(Phase::Answering as u8, Ordering::Relaxed);
        let (desk, phase, span, turn) = (Arc::clone(&desk), Arc::clone(&phase), lifetime.count(), asker.begin());
        let leaving = leaving.clone();
        // Boxed: hyper keeps room for an answer in the making with every connection, and most connections are idle.
        Box::pin(async move {
            let mut reply = desk.serve(door, request.map(|body| Arriving::new(body, Arc::clone(&turn))), peer).await;
            phase.store(Phase::Idle as u8, Ordering::Relaxed);
            let is_last = span == Span::Over || turn.afterwards() == Afterwards::Closes || *leaving.borrow() != Course::Open;
            if is_last {
                // The client is told, and hyper closes behind the answer: nobody sends into a closing connection.
                reply.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(reply.map(|body| Departing::new(body, turn)))
        })
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.idle_timeout)
        // A client that closes its side behind a request may still wait for the answer, and its event is kept in any case.
        .half_close(true)
        .max_headers(limits.headers_max)
        .max_buf_size(buffer_size(&limits));
    let connection = http.serve_connection(TokioIo::new(guarded), service);
    let ending = Ending { standing, limits, shutdown, speech: Speech::Http1, phase: now_in, retired: Arc::default() };
    attend(connection, http1::Connection::graceful_shutdown, ending).await
}

async fn serve_http2<S>(stream: S, guest: Guest) -> Result<(), hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Guest { peer, desk, standing, shutdown, door, .. } = guest;
    let limits = desk.settings.limits.clone();
    let metered = Metered { inner: stream, standing: Arc::clone(&standing), chatter: Chatter::Counted };
    let (lifetime, retired, asker) = (Lifetime::begin(), Arc::new(Notify::new()), Arc::clone(&standing));
    let phase = Arc::new(AtomicU8::new(Phase::Fresh as u8));
    let (retire, now_in, leaving) = (Arc::clone(&retired), Arc::clone(&phase), shutdown.clone());
    let untaken = Untaken::none();
    let service = service_fn(move |mut request: http::Request<_>| {
        now_in.store(Phase::Answering as u8, Ordering::Relaxed);
        if lifetime.count() == Span::Over || *leaving.borrow() != Course::Open {
            retire.notify_one();
        }
        request.extensions_mut().insert(untaken.clone());
        let (desk, turn) = (Arc::clone(&desk), asker.begin());
        Box::pin(async move {
            let reply = desk.serve(door, request.map(|body| Arriving::new(body, Arc::clone(&turn))), peer).await;
            Ok::<_, Infallible>(reply.map(|body| Departing::new(body, turn)))
        })
    });
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_header_list_size(u32::try_from(limits.header_bytes_max.0).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_local_error_reset_streams(LOCAL_RESETS_MAX)
        .keep_alive_interval(limits.idle_timeout)
        .keep_alive_timeout(Duration::from_secs(20));
    let connection = http.serve_connection(TokioIo::new(metered), service);
    // GOAWAY tells the client at once, and takes what is on its way.
    let ending = Ending { standing, limits, shutdown, speech: Speech::Http2, phase, retired };
    attend(connection, http2::Connection::graceful_shutdown, ending).await
}

/// What may end a connection from our side.
struct Ending {
    standing: Arc<Standing>,
    limits: Limits,
    shutdown: watch::Receiver<Course>,
    speech: Speech,
    /// Where it stands. With h2 it is fresh until its first request, and no more is told apart.
    phase: Arc<AtomicU8>,
    retired: Arc<Notify>,
}

/// Drives a connection to its end. Asked to finish, or idle for too long, it is told to (h2: GOAWAY) and may end what it is at;
/// one that has to go for any other reason goes at once.
async fn attend<C>(connection: C, finish: impl FnOnce(Pin<&mut C>), mut ending: Ending) -> Result<(), hyper::Error>
where
    C: Future<Output = Result<(), hyper::Error>>,
{
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // In this order, so that a simulation repeats itself.
        biased;
        outcome = connection.as_mut() => return outcome,
        () = lingered(&mut ending.shutdown, ending.speech, &ending.phase) => {}
        () = ending.retired.notified() => {}
        overstay = ending.standing.overstay(&ending.limits) => match overstay {
            Overstay::Stalled | Overstay::Cut => return Ok(()),
            Overstay::Idle => {
                finish(connection.as_mut());
                return timeout(FAREWELL, connection).await.unwrap_or(Ok(()));
            }
        },
    }
    if ending.speech == Speech::Http1 && is_fresh(&ending.phase) {
        return Ok(());
    }
    finish(connection.as_mut());
    tokio::select! {
        outcome = connection.as_mut() => outcome,
        _ = ending.standing.overstay(&ending.limits) => Ok(()),
    }
}

/// How long an idle connection may take to hear that it is closed.
const FAREWELL: Duration = Duration::from_secs(2);
/// Requests at one time on an h2 connection (reliability.md 3b).
const STREAMS_MAX: u32 = 100;
/// Bytes of answers that hyper buffers for one stream.
const SEND_BUFFER_BYTES: usize = 64 << 10;
/// Streams that the client resets before we have looked at them; then the connection ends (rapid reset).
const PENDING_RESETS_MAX: usize = 20;
/// Streams that we reset for a client's error; then the connection ends (made you reset).
const LOCAL_RESETS_MAX: usize = 100;

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

/// Waits until the way in stands there, or further on; for ever when that can no longer come.
pub(super) async fn reached(shutdown: &mut watch::Receiver<Course>, course: Course) {
    if shutdown.wait_for(|now| *now >= course).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Waits for a stop, and a little longer: a client's next request may be on its way, and would meet a connection that is
/// gone. Answered, it tells the client to go. An h2 client can be told at any time, but for the handshake, in which hyper
/// would close the door in its face; its first request ends the waiting.
async fn lingered(shutdown: &mut watch::Receiver<Course>, speech: Speech, phase: &AtomicU8) {
    reached(shutdown, Course::Leaving).await;
    if speech == Speech::Http1 || is_fresh(phase) {
        sleep(LINGER).await;
    }
}

fn is_fresh(phase: &AtomicU8) -> bool {
    phase.load(Ordering::Relaxed) == Phase::Fresh as u8
}

const LINGER: Duration = Duration::from_millis(250);
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;

/// hyper's least buffer is 8 KiB.
fn buffer_size(limits: &Limits) -> usize {
    usize::try_from(limits.header_bytes_max.0).unwrap_or(usize::MAX).max(8 << 10)
}
