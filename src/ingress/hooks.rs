//! The vendors' webhooks: what Segment passes on of events that never came by here, and what both vendors emitted.
//!
//! | path | what | who proves who it is |
//! |---|---|---|
//! | `/hooks/segment/<source>` | an event that is to go to RudderStack (protocol.md 4.1, 4.2) | Segment signs it |
//! | `/tap/segment/<source>` | what Segment made of an event | Segment signs it |
//! | `/tap/rudderstack/<secret>/<source>` | what RudderStack made of it (4.5) | nobody signs: the secret stands in the path |
//!
//! Answers are for the vendors: 200 when it is kept; 503 for our own trouble, as both send again what is answered 5xx and drop what is
//! answered 4xx. So 4xx is only for what would never be right: a wrong signature, a source that is not there.

use std::net::IpAddr;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use http_body_util::Full;
use sha1::Sha1;
use subtle::ConstantTimeEq;
use tokio::time::timeout;

use super::{
    bodies::Arriving,
    body::read_body,
    counters::HookEnd,
    decided::{Decided, Way},
    request::{APPEND_WAIT_MAX, Call, Desk, Reply},
};
use crate::{
    census::{Came, Roll},
    chance,
    evidence::Emission,
    journal::{AppendError, Record},
    model::{
        Destination, Encoding, Endpoint, EnvelopeId, Head, Naming, Outline, PerDestination, Plan, Reading, Secret, Selection,
        json::{self, Kind},
    },
    routing::{Facts, Inquiry, Person, Source, decide},
};

/// What a post is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hook {
    /// An event from Segment, for RudderStack.
    Ingest,
    /// What a vendor emitted.
    Tap(Destination),
}

/// Events of one post at most: Segment's own limit for a batch of webhooks (protocol.md 4.2).
const EVENTS_MAX: usize = 4_000;

impl Desk {
    /// Answers one post of a vendor.
    pub(super) async fn answer_hook(&self, request: Request<Arriving>, _peer: IpAddr) -> Reply {
        let (parts, body) = request.into_parts();
        if parts.uri.path() == "/-/healthz" {
            return said(StatusCode::OK, "ok");
        }
        let Some((hook, source)) = self.find_hook(parts.uri.path()) else {
            self.counters.hooks.add(HookEnd::Unknown);
            return said(StatusCode::NOT_FOUND, "no such hook, source or secret: see `segue webhook setup`");
        };
        if !matches!(parts.method, Method::POST | Method::PUT | Method::PATCH) {
            return said(StatusCode::METHOD_NOT_ALLOWED, "webhooks are posted");
        }
        let read = match read_body(body, &self.settings.limits, &self.memory).await {
            Ok(read) => read.bytes,
            Err(error) => {
                self.counters.hooks.add(HookEnd::Busy);
                return busy(&error.to_string());
            }
        };
        let (end, reply) = self.take_hook(hook, &source, &parts, read).await;
        self.counters.hooks.add(end);
        reply
    }

    /// What a path asks for, and of which source; None: nothing that is here, or the secret in it is wrong.
    fn find_hook(&self, path: &str) -> Option<(Hook, std::sync::Arc<Source>)> {
        let path = path.strip_suffix('/').unwrap_or(path);
        let hooks = &self.settings.hooks;
        let (hook, name) = match path.trim_start_matches('/').split('/').collect::<Vec<_>>()[..] {
            ["hooks", "segment", name] if !hooks.segment_secrets.is_empty() => (Hook::Ingest, name),
            ["tap", "segment", name] if !hooks.segment_secrets.is_empty() => (Hook::Tap(Destination::Segment), name),
            ["tap", "rudderstack", secret, name] if is_one_of(&hooks.rudderstack_secrets, secret) => {
                (Hook::Tap(Destination::RudderStack), name)
            }
            _ => return None,
        };
        let sources = self.sources.load();
        let source = sources.list().iter().find(|source| source.id.as_str() == name || source.name == name)?;
        Some((hook, std::sync::Arc::clone(source)))
    }

    async fn take_hook(&self, hook: Hook, source: &Source, parts: &Parts, body: Bytes) -> (HookEnd, Reply) {
        let events = match events_of(&body) {
            Ok(events) => events,
            // Nothing that Segment sends reads so; with the right signature it is kept all the same, for somebody to look at.
            Err(()) => Posted::Unreadable,
        };
        let signed = match &events {
            Posted::Many(events) => events.first().cloned().unwrap_or_default(),
            Posted::One | Posted::Unreadable => body.clone(),
        };
        if hook != Hook::Tap(Destination::RudderStack) && !self.is_signed(&parts.headers, &signed) {
            tracing::debug!(event = "hook_unsigned", source = %source.id, "a post whose signature is not right was refused");
            return (HookEnd::Unsigned, said(StatusCode::UNAUTHORIZED, "the signature is not right"));
        }
        let events = match events {
            Posted::Many(_) if hook == Hook::Ingest && !self.settings.hooks.allow_arrays => {
                let text = "arrays are off, as only their first event is signed: switch batching off in Segment, or set hooks.allow_arrays";
                tracing::warn!(event = "hook_array", source = %source.id, "{text}");
                return (HookEnd::Refused, busy(text));
            }
            Posted::Many(events) => events,
            Posted::One => vec![body],
            Posted::Unreadable if hook == Hook::Ingest => vec![body],
            Posted::Unreadable => return (HookEnd::Malformed, said(StatusCode::BAD_REQUEST, "the body is not JSON")),
        };
        for event in events {
            let kept = match hook {
                Hook::Ingest => self.ingest(source, parts, event).await,
                Hook::Tap(by) => self.tap_emission(source, by, &event),
            };
            if let Err(why) = kept {
                return (HookEnd::Busy, busy(&why));
            }
        }
        (HookEnd::Taken, said(StatusCode::OK, "{\"success\":true}"))
    }

    fn tap_emission(&self, source: &Source, by: Destination, event: &[u8]) -> Result<(), String> {
        let emission = Emission { source: &source.id, by, at: self.clock.now(), event };
        self.evidence.take(&emission).map_err(|trouble| trouble.to_string())
    }

    /// `X-Signature` is the HMAC-SHA1 of the body, in hexadecimal digits; of an array, of its first event (protocol.md 4.1, 4.2).
    fn is_signed(&self, headers: &HeaderMap, signed: &[u8]) -> bool {
        let Some(given) = headers.get("x-signature").and_then(|value| value.to_str().ok()) else { return false };
        let Some(given) = from_hex(given.trim()) else { return false };
        let is_right = |secret: &Secret| {
            let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(secret.expose().as_bytes()) else { return false };
            mac.update(signed);
            bool::from(mac.finalize().into_bytes().as_slice().ct_eq(&given))
        };
        self.settings.hooks.segment_secrets.iter().any(is_right)
    }

    /// Journals an event of Segment's for RudderStack, when its route has that get it. The answer waits for the disk.
    async fn ingest(&self, source: &Source, parts: &Parts, event: Bytes) -> Result<(), String> {
        let id = EnvelopeId(chance::id().as_u128());
        loop {
            let decided = self.decide_hook(source, &event, id);
            if decided.plan.events.rudderstack.is_none() {
                return Ok(());
            }
            let call = Call::of_hook(parts.clone(), event.clone());
            let watched = self.watched(id, Endpoint::Webhook);
            let envelope = self.envelope(&call, id, &decided);
            let (revision, at) = (envelope.plan.revision, envelope.received_at);
            let record = Record {
                source: source.id.clone(),
                revision,
                planned: PerDestination { segment: 0, rudderstack: 1 },
                received_at: at,
                payload: envelope.encode(),
            };
            return match timeout(APPEND_WAIT_MAX, self.journal.append(record)).await {
                Ok(Ok(_)) => {
                    self.evidence.plan(&source.id, (revision, at), PerDestination { segment: 0, rudderstack: 1 });
                    super::tapped::pass(watched, &decided);
                    self.counters.source(&source.id).by_webhook.add(1);
                    self.enrol(&decided, &decided.plan.events, Came::ByWebhook);
                    Ok(())
                }
                Ok(Err(AppendError::Stale { .. })) => continue,
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("the disk takes too long".to_owned()),
            };
        }
    }

    /// Where an event of Segment's goes: RudderStack alone, when the route of its person has it there. Segment has it already.
    fn decide_hook(&self, source: &Source, event: &Bytes, id: EnvelopeId) -> Decided {
        let sources = self.sources.load();
        let source = sources.by_id(&source.id).cloned().unwrap_or_else(|| std::sync::Arc::new(source.clone()));
        let revision = sources.revision();
        let (mut plan, kind, outline, roll) = if let Ok(reading) = Reading::of(Endpoint::Webhook, event) {
            let head = Head::of(reading.whole, Endpoint::Webhook);
            let person = Person::of(head.anonymous_id.as_deref(), head.user_id.as_deref(), &head.message_id(id, 0));
            let facts = if source.rules.is_empty() { Facts::default() } else { Facts::of_event(&reading, 0, &head) };
            let plan = decide(&source, revision, &[Inquiry { person, facts }]);
            let naming = if head.message_id.is_some() { Naming::All } else { Naming::Some };
            let roll = Roll::of(&reading, std::slice::from_ref(&head), [person]);
            (plan, head.kind, Outline::of(event, &reading, [person.0], naming), roll)
        } else {
            // It goes to quarantine, where somebody can look at it.
            let events = PerDestination { segment: Selection::None, rudderstack: Selection::All };
            (Plan { revision, events }, None, None, Roll::default())
        };
        plan.events.segment = Selection::None;
        Decided {
            source,
            key_print: [0; 8],
            kinds: vec![kind],
            plan,
            way: Way::Journal,
            left_out: 0,
            roll,
            foretold: Vec::new(),
            twins: Vec::new(),
            outline,
            inflated: event.clone(),
        }
    }
}

/// What a post holds.
enum Posted {
    One,
    Many(Vec<Bytes>),
    Unreadable,
}

/// The events of a body, each its own slice of it.
fn events_of(body: &Bytes) -> Result<Posted, ()> {
    let whole = json::parse(body).map_err(|_| ())?;
    match whole.kind() {
        Kind::Object => Ok(Posted::One),
        Kind::Array => {
            let events: Vec<Bytes> = whole.items().take(EVENTS_MAX + 1).map(|item| body.slice_ref(item.text().as_bytes())).collect();
            if events.len() > EVENTS_MAX { Err(()) } else { Ok(Posted::Many(events)) }
        }
        _ => Err(()),
    }
}

/// The bytes that hexadecimal digits stand for; None: they are none.
fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, []) = digits.as_bytes().as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect()
}

fn is_one_of(secrets: &[Secret], given: &str) -> bool {
    secrets.iter().any(|secret| bool::from(secret.expose().as_bytes().ct_eq(given.as_bytes())))
}

fn said(status: StatusCode, text: &str) -> Reply {
    let (content_type, body) =
        if text.starts_with('{') { ("application/json", text.to_owned()) } else { ("text/plain", format!("{text}\n")) };
    let mut reply = Response::new(Full::new(Bytes::from(body)));
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

/// Our trouble: it is to come again.
fn busy(why: &str) -> Reply {
    let mut reply = said(StatusCode::SERVICE_UNAVAILABLE, why);
    reply.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    reply
}

impl Call {
    fn of_hook(parts: Parts, body: Bytes) -> Self {
        Self { parts, endpoint: Endpoint::Webhook, body, encoding: Encoding::Identity, client_ip: None }
    }
}
