//! The client itself: one call, its deadline, and what became of it.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use rustls::RootCertStore;
use tokio::time::{Instant, timeout, timeout_at};

use crate::upstream::{
    Addresses, Answer, Call, CallError, Extent, Fault, Sent, Settings, UpstreamError,
    connect::{Connector, Failure},
    lease::{History, Lease},
    origin::{Origin, Protocol},
    pool::{Pool, Wanted},
    resolve::Resolver,
    roots,
};

/// How much of an answer's body [`Upstream::send`] reads.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// How often a request of which nothing was written is put on another connection; the last time on a new one.
const CONNECTIONS_TRIED_MAX: usize = 3;

/// A client of one upstream. Clones share its connections; they close when the last clone is gone.
#[derive(Debug, Clone)]
pub struct Upstream {
    origin: Arc<Origin>,
    pool: Arc<Pool>,
    timeout: Duration,
    connect_timeout: Duration,
}

/// How much of an answer's body is read, and what happens to a longer one.
#[derive(Clone, Copy)]
enum Ceiling {
    CutAt(usize),
    RefuseBeyond(usize),
}

/// How far a call has come, for the case that its deadline passes.
struct Progress {
    sent: Sent,
    connection: Option<u64>,
}

impl Upstream {
    /// A client as `settings` say. Reads the roots from disk, so it blocks for a few milliseconds; opens no connection.
    ///
    /// # Errors
    ///
    /// When the URL is unusable or the roots that were asked for cannot be read.
    pub fn new(settings: &Settings) -> Result<Self, UpstreamError> {
        let origin = Arc::new(Origin::parse(&settings.url)?);
        if origin.server_name.is_none() && settings.addresses == Addresses::PublicOnly {
            let reason = "a public upstream must be called over https://";
            return Err(UpstreamError::Url { url: settings.url.clone(), reason });
        }
        // Reading the usual roots takes milliseconds, and plain HTTP has no use for them.
        let is_plain = origin.server_name.is_none() && settings.ca_file.is_none() && settings.extra_roots.is_empty();
        let roots = if is_plain { RootCertStore::empty() } else { roots::load(settings)? };
        let connector = Connector::new(Arc::clone(&origin), settings.addresses, Resolver::new(&settings.resolver), roots)
            .map_err(UpstreamError::Tls)?;
        let pool = Pool::new(connector, settings.idle_connections_max);
        Ok(Self { origin, pool, timeout: settings.timeout, connect_timeout: settings.connect_timeout })
    }

    /// Sends `call` and reads at most 64 KiB of the answer's body; the rest is cut off ([`Extent::Cut`]). Cancel-safe:
    /// dropping the future gives the request up.
    ///
    /// # Errors
    ///
    /// When there is no well-formed answer within the upstream's `timeout`.
    pub async fn send(&self, call: Call) -> Result<Answer, CallError> {
        self.exchange(call, Ceiling::CutAt(ANSWER_BYTES_MAX)).await
    }

    /// As [`send`](Self::send), but an answer is taken whole or not at all: one longer than `body_max` bytes is an error.
    ///
    /// # Errors
    ///
    /// As `send`, and [`Fault::TooLarge`].
    pub async fn relay(&self, call: Call, body_max: usize) -> Result<Answer, CallError> {
        self.exchange(call, Ceiling::RefuseBeyond(body_max)).await
    }

    /// Scheme, host and port, `https://api.segment.io`, without a path: for logs and metrics.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin.text
    }

    /// Lets go of all pooled connections, so that the next call resolves the name anew (protocol.md 1.1: "on 5xx refresh
    /// the IP"). Requests in flight end on the connection they are on.
    pub fn refresh(&self) {
        self.pool.refresh();
    }

    async fn exchange(&self, call: Call, ceiling: Ceiling) -> Result<Answer, CallError> {
        let started = Instant::now();
        let mut progress = Progress { sent: Sent::Nothing, connection: None };
        let ended = timeout_at(started + self.timeout, self.attempt(call, &mut progress, ceiling)).await;
        let failure = match ended {
            Ok(Ok(answer)) => return Ok(Answer { elapsed: started.elapsed(), ..answer }),
            Ok(Err(failure)) => failure,
            Err(_) => {
                if let Some(connection) = progress.connection {
                    self.pool.distrust(connection);
                }
                Failure::new(Fault::Timeout, Waited("answering", self.timeout))
            }
        };
        Err(CallError { fault: failure.fault, sent: progress.sent, origin: self.origin.text.clone(), source: Some(failure.source) })
    }

    async fn attempt(&self, call: Call, progress: &mut Progress, ceiling: Ceiling) -> Result<Answer, Failure> {
        let request = self.origin.request(call).ok_or_else(|| Failure::new(Fault::Request, "a path begins with a slash"))?;
        let (response, lease) = self.deliver(request, progress).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Failure::new(Fault::BadAnswer, "it changes the protocol, which nobody asked for"));
        }
        let (head, body) = response.into_parts();
        let (body, extent) = read(body, ceiling).await?;
        match extent {
            Extent::Whole => self.pool.put_back(lease),
            // Dropping an h1 connection in the middle of an answer closes it; h2 resets the stream.
            Extent::Cut => drop(lease),
        }
        Ok(Answer { status: head.status, headers: head.headers, body, extent, elapsed: Duration::ZERO })
    }

    /// Brings a request to the head of its answer. A connection that was closed before anything was written to it, or
    /// whose peer vouches for not having looked at the request, is replaced by another.
    async fn deliver(&self, mut request: Request<Full<Bytes>>, progress: &mut Progress) -> Result<(Response<Incoming>, Lease), Failure> {
        let mut form = Protocol::H1;
        let mut tried = 1;
        loop {
            let wanted = if tried < CONNECTIONS_TRIED_MAX { Wanted::Any } else { Wanted::Fresh };
            let mut lease = timeout(self.connect_timeout, self.pool.take(wanted))
                .await
                .map_err(|_| Failure::new(Fault::Timeout, Waited("connecting", self.connect_timeout)))??;
            if form != lease.protocol() {
                form = lease.protocol();
                self.origin.address(&mut request, form);
            }
            *progress = Progress { sent: Sent::Maybe, connection: Some(lease.id()) };
            let refused = match lease.send(request, |id| self.pool.distrust(id)).await {
                Ok(response) => return Ok((response, lease)),
                Err(refused) => refused,
            };
            self.pool.distrust(lease.id());
            if refused.untouched.is_some() {
                *progress = Progress { sent: Sent::Nothing, connection: None };
            }
            match refused.untouched {
                Some(untouched) if lease.history() == History::Used && tried < CONNECTIONS_TRIED_MAX => request = untouched,
                _ => return Err(head_failure(refused.error)),
            }
            tried += 1;
        }
    }
}

fn head_failure(error: hyper::Error) -> Failure {
    let fault = if error.is_parse() { Fault::BadAnswer } else { Fault::Closed };
    Failure::new(fault, error)
}

/// Reads a body up to the ceiling. One whose framing is wrong is no answer.
async fn read(mut body: Incoming, ceiling: Ceiling) -> Result<(Bytes, Extent), Failure> {
    let (Ceiling::CutAt(body_max) | Ceiling::RefuseBeyond(body_max)) = ceiling;
    // Room for all of it at once: one that grows by doubling takes thrice as much in passing, and many are read at one time.
    let announced = body.size_hint().exact().map_or(0, |size| usize::try_from(size).unwrap_or(usize::MAX).min(body_max));
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::new(Fault::BadAnswer, error))?;
        let Ok(mut data) = frame.into_data() else { continue };
        let room = body_max - first.len() - rest.len();
        let extent = if data.len() > room { Extent::Cut } else { Extent::Whole };
        if extent == Extent::Cut && matches!(ceiling, Ceiling::RefuseBeyond(_)) {
            return Err(Failure::new(Fault::TooLarge, format!("it is longer than {body_max} bytes")));
        }
        data.truncate(room);
        if first.is_empty() && rest.is_empty() {
            first = data;
        } else {
            if rest.is_empty() {
                rest.reserve(announced.max(first.len() + data.len()));
                rest.extend_from_slice(&std::mem::take(&mut first));
            }
            rest.extend_from_slice(&data);
        }
        if extent == Extent::Cut {
            return Ok((joined(first, rest), extent));
        }
    }
    Ok((joined(first, rest), Extent::Whole))
}

/// A body of one frame is not copied.
fn joined(first: Bytes, rest: BytesMut) -> Bytes {
    if rest.is_empty() { first } else { rest.freeze() }
}

/// For what, and for how long, was waited in vain.
#[derive(Debug)]
struct Waited(&'static str, Duration);

impl fmt::Display for Waited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} took longer than {:?}", self.0, self.1)
    }
}

impl Error for Waited {}
