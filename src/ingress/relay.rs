//! Segment, asked live: for what only Segment can answer.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Response, header, request::Parts, response};
use http_body_util::Full;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{body::held, request::Reply};
use crate::{
    routing::Region,
    upstream::{Call, CallError, Upstream},
};

/// The hosts of Segment that requests are passed on to.
#[derive(Debug, Clone)]
pub struct Relays {
    /// `api.segment.io`
    pub us: Upstream,
    /// `events.eu1.segmentapis.com`
    pub eu: Upstream,
    /// `cdn.segment.com`
    pub cdn: Upstream,
    /// `cdn-settings.segment.com`
    pub cdn_settings: Upstream,
    /// The memory that answers may take together, until their clients have taken them; see [`Relays::memory`].
    pub memory: Arc<Semaphore>,
}

/// Why Segment's answer did not come.
#[derive(Debug, thiserror::Error)]
pub(super) enum RelayError {
    #[error("no answer in time")]
    Late,
    #[error("too many answers at one time")]
    Crowded,
    #[error(transparent)]
    Call(#[from] CallError),
}

/// The largest answer that is passed on: above every script of the CDN.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Answers in memory at one time, over all clients: so many slow readers of so many scripts take no more than this.
const ANSWERS_BYTES_MAX: usize = 24 << 20;
/// What a script or settings are taken to need before they are there. The answer to anything but a GET is a few words: it waits
/// for no room, so that a flood of scripts cannot keep an event from Segment.
const FETCHED_BYTES: u32 = 256 << 10;

/// What of a request is passed on. Anything else, hop-by-hop headers and cookies above all, ends here.
const PASSED_ON: [HeaderName; 10] = [
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::USER_AGENT,
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::ORIGIN,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    HeaderName::from_static("x-retry-count"),
];

/// What of an answer is not handed on: what speaks of the connection, and what would lead a browser past segue.
const ENDS_HERE: [HeaderName; 8] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::CONTENT_LENGTH,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::ALT_SVC,
    HeaderName::from_static("keep-alive"),
];

/// What one connection has fetched and not taken yet. A flood of requests for scripts that nobody reads fetches these and no more.
/// It travels among the extensions of a request.
#[derive(Debug, Clone)]
pub(super) struct Untaken(Arc<Semaphore>);

/// As many as a browser fetches at one time over HTTP/1.1.
const UNTAKEN_MAX: usize = 6;

impl Untaken {
    pub(super) fn none() -> Self {
        Self(Arc::new(Semaphore::new(UNTAKEN_MAX)))
    }

    /// Waits until the connection may fetch another one.
    pub(super) async fn another(&self) -> Result<OwnedSemaphorePermit, RelayError> {
        Arc::clone(&self.0).acquire_owned().await.map_err(|_| RelayError::Crowded)
    }
}

impl Relays {
    /// The memory for the answers to relayed requests.
    #[must_use]
    pub fn memory() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(ANSWERS_BYTES_MAX))
    }

    /// The tracking API of a region.
    #[must_use]
    pub const fn of_region(&self, region: Region) -> &Upstream {
        match region {
            Region::Us => &self.us,
            Region::Eu => &self.eu,
        }
    }

    /// The host that a request names; `api.segment.io` when it names none of Segment's. The list is fixed: a client cannot
    /// send us anywhere else.
    #[must_use]
    pub fn by_host(&self, host: Option<&str>) -> &Upstream {
        match host {
            Some("events.eu1.segmentapis.com") => &self.eu,
            Some("cdn.segment.com") => &self.cdn,
            Some("cdn-settings.segment.com") => &self.cdn_settings,
            _ => &self.us,
        }
    }

    /// Passes a request on and hands the answer back.
    pub(super) async fn pass(&self, to: &Upstream, parts: &Parts, body: Bytes, within: Duration) -> Result<Reply, RelayError> {
        let (head, body) = self.pass_bytes(to, parts, body, within).await?;
        Ok(Response::from_parts(head, Full::new(body)))
    }

    /// The memory for an answer that is not asked for but at hand; None: there is none within that time.
    pub(super) async fn room_for(&self, bytes: usize, within: Duration) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        timeout(within, Arc::clone(&self.memory).acquire_many_owned(bytes)).await.ok()?.ok()
    }

    /// As [`Relays::pass`], for an answer that is looked into first.
    pub(super) async fn pass_bytes(
        &self,
        to: &Upstream,
        parts: &Parts,
        body: Bytes,
        within: Duration,
    ) -> Result<(response::Parts, Bytes), RelayError> {
        let call = Call {
            method: parts.method.clone(),
            path: parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            headers: passed_on(&parts.headers),
            body,
        };
        let (expected, untaken) = match parts.method {
            Method::GET => (FETCHED_BYTES, parts.extensions.get::<Untaken>()),
            _ => (0, None),
        };
        // Not within the time for the answer: a slow link may be at its first scripts for longer. One that takes nothing is cut.
        let place = match untaken {
            Some(untaken) => Some(untaken.another().await?),
            None => None,
        };
        let asking = async {
            // Those who find no room wait for it; who waits for too long hears that we are busy.
            let share = Arc::clone(&self.memory).acquire_many_owned(expected).await.map_err(|_| RelayError::Crowded)?;
            Ok::<_, RelayError>((to.relay(call, ANSWER_BYTES_MAX).await?, share))
        };
        let (answer, mut share) = timeout(within, asking).await.map_err(|_| RelayError::Late)??;
        let size = u32::try_from(answer.body.len()).unwrap_or(u32::MAX);
        if size > expected {
            share.merge(Arc::clone(&self.memory).try_acquire_many_owned(size - expected).map_err(|_| RelayError::Crowded)?);
        } else {
            drop(share.split((expected - size) as usize));
        }
        let mut head = Response::new(()).into_parts().0;
        head.status = answer.status;
        head.headers = answer.headers;
        for name in ENDS_HERE {
            head.headers.remove(name);
        }
        Ok((head, held(answer.body, (share, place))))
    }
}

fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let mut passed: HeaderMap = PASSED_ON.iter().filter_map(|name| Some((name.clone(), headers.get(name)?.clone()))).collect();
    if let Some(credentials) = passed.get_mut(header::AUTHORIZATION) {
        credentials.set_sensitive(true);
    }
    passed
}

/// The name that a request is meant for, in lower case and without its port: h2's authority, else the Host header.
pub(super) fn requested_host(parts: &Parts) -> Option<String> {
    let authority = parts.uri.host().map(str::to_owned);
    let host = authority.or_else(|| parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).map(str::to_owned))?;
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map_or(host.as_str(), |(name, _)| name);
    Some(name.trim_end_matches('.').to_ascii_lowercase())
}
