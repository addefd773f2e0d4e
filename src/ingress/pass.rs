//! Requests that are passed on to Segment live: what only Segment can answer, and what is not an event.

use bytes::Bytes;
use http::{StatusCode, header, request::Parts};
use tokio::time::Instant;

use super::{
    Desk,
    bodies::Arriving,
    body::read_body,
    decided::Decided,
    relay::requested_host,
    request::{Call, RETRY_AFTER_S, Reply, said, unread},
    tapped,
};
use crate::{
    model::{Destination, Encoding, Endpoint, EnvelopeId, Selection},
    policy::{Outcome, Verdict, judge},
    protocol::{self, BadRequest},
    routing::Source,
    upstream::Upstream,
};

impl Desk {
    /// Relays a call whole, with the same edits as Segment's copy from the journal: the ids that RudderStack's copy has, and
    /// the client's address.
    pub(super) async fn relay_decided(&self, mut call: Call, id: EnvelopeId, decided: &Decided) -> Reply {
        let mut envelope = self.envelope(&call, id, decided);
        envelope.plan.events.segment = Selection::All;
        if let Ok(copy) = protocol::segment_copy(&envelope, &decided.inflated, self.clock.now())
            && !matches!(call.endpoint, Endpoint::Pixel(_))
        {
            call.body = copy.body;
            if copy.encoding == Encoding::Identity {
                call.parts.headers.remove(header::CONTENT_ENCODING);
            }
        }
        let started = Instant::now();
        let reply = self.relay_call(&call, Some(&decided.source)).await;
        if !matches!(call.endpoint, Endpoint::Pixel(_)) && reply.status().is_success() {
            let relayed = tapped::relayed(id, decided, reply.status(), started.elapsed());
            if self.tap.is_on() {
                self.tap.settle([relayed]);
            }
            if self.evidence.follows() {
                self.evidence.settle([relayed], self.clock.now());
            }
        }
        reply
    }

    /// Relays a call that the journal would have kept, had it been able to. It would have borne an answer that speaks of the moment
    /// or of the configuration rather than of the events; most SDKs throw away what they hold on any 4xx but 429 (protocol.md 1.7).
    pub(super) async fn relay_instead(&self, call: Call, id: EnvelopeId, decided: &Decided) -> Reply {
        let reply = self.relay_decided(call, id, decided).await;
        let status = reply.status();
        let answered = Outcome::Answered { status: status.as_u16(), retry_after: None };
        let is_of_the_events = judge(Destination::Segment, answered) == Verdict::Quarantine;
        if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS && !is_of_the_events {
            self.counters.relay_failures.add(1);
            return said(&protocol::busy(RETRY_AFTER_S));
        }
        reply
    }

    /// Its source, when a header or the query names one, still says which region it belongs to; a retired one's is answered as Segment
    /// would have answered.
    pub(super) async fn pass_unreadable(&self, call: Call) -> Reply {
        self.counters.unreadable.add(1);
        let claims = protocol::claims(None, &[], call.parts.headers.get(header::AUTHORIZATION), call.parts.uri.query());
        let source = claims.keys().find_map(|key| self.sources.load().by_key(key).cloned());
        if source.as_ref().is_some_and(|source| source.is_retired) {
            return said(&protocol::bad_request(BadRequest::Unreadable));
        }
        self.relay_call(&call, source.as_deref()).await
    }

    /// Sends a call to Segment as it came and hands its answer on; a pixel gets its picture whatever happens.
    pub(super) async fn relay_call(&self, call: &Call, source: Option<&Source>) -> Reply {
        let host = requested_host(&call.parts);
        let upstream = source.map_or_else(|| self.relays.by_host(host.as_deref()), |source| self.relays.of_region(source.region));
        let body = if matches!(call.endpoint, Endpoint::Pixel(_)) { Bytes::new() } else { call.body.clone() };
        let answered = self.relays.pass(upstream, &call.parts, body, self.settings.limits.relay_timeout).await;
        match (answered, call.endpoint) {
            (Ok(answer), Endpoint::Pixel(_)) if answer.status() == StatusCode::OK => answer,
            (_, Endpoint::Pixel(_)) => said(&protocol::PIXEL),
            // A redirect of a POST loses it in most SDKs (clients.md 4.2): better to be asked again.
            (Ok(answer), _) if !answer.status().is_redirection() => answer,
            (Ok(_) | Err(_), _) => {
                self.counters.relay_failures.add(1);
                said(&protocol::busy(RETRY_AFTER_S))
            }
        }
    }

    /// `/v1/m` is Segment's alone; when no source has a share of Segment it is answered here.
    pub(super) async fn pass_metrics(&self, parts: Parts, body: Arriving) -> Reply {
        let wanted = self.sources.load().list().iter().any(|source| source.routes().any(|route| route.segment().hundredths() > 0));
        if !wanted && !self.sources.load().list().is_empty() {
            return said(&protocol::ACCEPTED);
        }
        self.pass_unknown(parts, body).await
    }

    pub(super) async fn pass_unknown(&self, parts: Parts, body: Arriving) -> Reply {
        if self.sources.load().are_all_retired() {
            return said(&protocol::ABSENT);
        }
        let read = match read_body(body, &self.settings.limits, &self.memory).await {
            Ok(read) => read,
            Err(error) => return unread(error),
        };
        let upstream = self.relays.by_host(requested_host(&parts).as_deref());
        self.fetched(upstream, &parts, read.bytes.clone()).await
    }

    async fn fetched(&self, upstream: &Upstream, parts: &Parts, body: Bytes) -> Reply {
        self.relays.pass(upstream, parts, body, self.settings.limits.relay_timeout).await.unwrap_or_else(|error| {
            tracing::debug!(event = "relay_failed", %error);
            self.counters.relay_failures.add(1);
            said(&protocol::busy(RETRY_AFTER_S))
        })
    }
}
