//! A connection, lent for one request.

use std::{error::Error, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::upstream::{connect::Sender, origin::Protocol};

/// A connection to send one request on.
#[derive(Debug)]
pub(super) struct Lease {
    sender: Sender,
    history: History,
    id: u64,
    made_at: Instant,
}

/// What a connection has carried so far. A used one may be about to be closed by its peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum History {
    Fresh,
    Used,
}

/// Whether a connection can carry another request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readiness {
    /// It carries many at a time and belongs to nobody.
    Shared,
    Ready,
    /// Not yet.
    Busy,
    Closed,
}

/// A request that got no answer.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) error: hyper::Error,
    /// The request, when the peer has certainly not acted on any of it.
    pub(super) untouched: Option<Request<Full<Bytes>>>,
}

impl Lease {
    pub(super) fn new(sender: Sender, id: u64) -> Self {
        Self { sender, history: History::Fresh, id, made_at: Instant::now() }
    }

    pub(super) fn protocol(&self) -> Protocol {
        match self.sender {
            Sender::H1(_) => Protocol::H1,
            Sender::H2(_) | Sender::Spent => Protocol::H2,
        }
    }

    /// Which connection this is; they are numbered in the order of their making.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn history(&self) -> History {
        self.history
    }

    /// Sends `request` and waits for the head of its answer. `forget` is called when the connection is found closed, and has
    /// to see to it that nobody keeps another lease of it.
    ///
    /// A request that is handed over while an h2 connection ends can be left behind in the queue to it, where only the end of
    /// the last lease finds it: with one lease kept somewhere, it would wait for its deadline and not be told that it was
    /// never sent. So this lease of such a connection ends here, and `forget` ends the pool's.
    pub(super) async fn send(&mut self, request: Request<Full<Bytes>>, forget: impl FnOnce(u64)) -> Result<Response<Incoming>, Refused> {
        let sent = match &mut self.sender {
            Sender::H1(sender) => sender.try_send_request(request).await.map_err(|mut refused| {
                let untouched = refused.take_message();
                Refused { error: refused.into_error(), untouched }
            }),
            Sender::H2(sender) => {
                let copy = request.clone();
                let answer = sender.try_send_request(request);
                // Looked at behind the handing over: the queue is emptied after it is closed, so that an open one loses nothing.
                if sender.is_closed() {
                    forget(self.id);
                }
                self.sender = Sender::Spent;
                answer.await.map_err(|mut refused| {
                    let unsent = refused.take_message();
                    let vouched = is_vouched_for(refused.error()).then_some(copy);
                    Refused { error: refused.into_error(), untouched: unsent.or(vouched) }
                })
            }
            Sender::Spent => unreachable!("a lease sends one request"),
        };
        if sent.is_ok() {
            self.history = History::Used;
        }
        sent
    }

    /// As far as is known here: a close may be on its way.
    pub(super) fn readiness(&self) -> Readiness {
        match &self.sender {
            Sender::H2(sender) if sender.is_closed() => Readiness::Closed,
            Sender::H1(sender) if sender.is_closed() => Readiness::Closed,
            Sender::Spent => Readiness::Closed,
            Sender::H2(_) => Readiness::Shared,
            Sender::H1(sender) if sender.is_ready() => Readiness::Ready,
            Sender::H1(_) => Readiness::Busy,
        }
    }

    /// Whether at `now` it is younger than `age_max`, and not among those retired.
    pub(super) fn is_current(&self, now: Instant, age_max: Duration, retired_below: u64) -> bool {
        self.id >= retired_below && now.saturating_duration_since(self.made_at) < age_max
    }

    /// Another lease of the same connection, when it can carry more than one request.
    pub(super) fn share(&self) -> Option<Self> {
        match &self.sender {
            Sender::H1(_) | Sender::Spent => None,
            Sender::H2(sender) => {
                Some(Self { sender: Sender::H2(sender.clone()), history: History::Used, id: self.id, made_at: self.made_at })
            }
        }
    }
}

/// Whether an h2 peer says that it has not acted on the request: it refused the stream, or took its leave (as load
/// balancers do every so many requests) and named an earlier one as its last (RFC 9113 8.7 and 6.8).
fn is_vouched_for(error: &hyper::Error) -> bool {
    let Some(error) = error.source().and_then(|source| source.downcast_ref::<h2::Error>()) else { return false };
    let is_leave = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
    error.is_remote() && (error.reason() == Some(h2::Reason::REFUSED_STREAM) || is_leave)
}
