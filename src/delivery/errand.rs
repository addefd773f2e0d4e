//! The errand of one request: wait for its turn, be written, be sent, come back.

use std::{
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use arc_swap::ArcSwap;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until},
};

#[cfg(test)]
use super::sabotage::{Sabotage, is_broken};
use super::{
    figures::Figures,
    gate::{Gate, Limit, Pass},
    leg::{Cargo, Opened, Parcel, guarded},
    status::{Board, LaneState, LaneStatus},
    tapped::Watchers,
};
use crate::{
    clock::Clock,
    journal::{LaneId, Quarantined},
    model::{BasicAuth, Destination, Encoding, Endpoint, PerDestination, Secret, WallTime},
    policy::{Outcome, RetryAfter},
    protocol::{self, Edits},
    routing::{Region, Source, Sources},
    upstream::{Call, Fault, Upstream},
};

/// What the requests of one lane share.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) id: LaneId,
    pub(super) sources: Arc<ArcSwap<Sources>>,
    pub(super) gates: Arc<Gates>,
    /// The source's own limit for this destination.
    pub(super) own_limit: Limit,
    /// Only one request of a lane waits for a limit at a time, so that lanes share it fairly.
    pub(super) turnstile: tokio::sync::Mutex<()>,
    /// Until when the destination asked to be left alone.
    pub(super) closed_until: Mutex<Option<Instant>>,
    pub(super) clock: Clock,
    pub(super) figures: Arc<Figures>,
    pub(super) board: Board,
    pub(super) control: watch::Receiver<Control>,
    /// Since when an operator holds the lane; None: nobody does.
    pub(super) hold: watch::Sender<Option<WallTime>>,
    /// Rung when an operator wants the lane to try again at once.
    pub(super) nudge: Notify,
    /// Who wants to know what becomes of events.
    pub(super) watchers: Watchers,
}

/// What all lanes of the process share.
#[derive(Debug)]
pub(super) struct Gates {
    pub(super) segment_us: Gate,
    pub(super) segment_eu: Gate,
    pub(super) rudderstack: Option<Gate>,
    pub(super) limits: PerDestination<Limit>,
}

/// What lanes are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Control {
    /// Deliver. The number changes with the sources.
    Deliver(u64),
    /// Send nothing more; finish what is in flight.
    Stop,
}

/// A request that came back.
#[derive(Debug)]
pub(super) struct Landed {
    pub(super) ticket: usize,
    pub(super) failures: u32,
    pub(super) end: Flight,
}

/// How a request came back.
#[derive(Debug)]
pub(super) enum Flight {
    /// It was sent, or tried to be.
    Ended { outcome: Outcome, answer: Answered },
    /// It was called back before it went.
    CalledBack,
}

/// What there was to read.
#[derive(Debug, Default)]
pub(super) struct Answered {
    /// The status, 0 without an answer.
    pub(super) status: u16,
    /// The start of the answer's body, or what went wrong.
    pub(super) text: String,
    /// From the request to the answer, or to what went wrong; 0: nothing was sent.
    pub(super) took: Duration,
}

impl Gates {
    /// The gate that a source's events leave by; None when there is no such upstream.
    pub(super) fn of(&self, destination: Destination, region: Region) -> Option<&Gate> {
        match (destination, region) {
            (Destination::Segment, Region::Us) => Some(&self.segment_us),
            (Destination::Segment, Region::Eu) => Some(&self.segment_eu),
            (Destination::RudderStack, _) => self.rudderstack.as_ref(),
        }
    }
}

impl Way {
    /// The source, when it is configured for this destination.
    pub(super) fn source(&self) -> Option<Arc<Source>> {
        let sources = self.sources.load();
        let source = sources.by_id(&self.id.source)?;
        let ready = match self.id.destination {
            Destination::Segment => !source.segment_keys.is_empty(),
            Destination::RudderStack => source.rudderstack_key.is_some() && self.gates.rudderstack.is_some(),
        };
        ready.then(|| Arc::clone(source))
    }

    /// How the lane stands. Whether its destination answers is asked now: the lane itself may be asleep waiting for it.
    pub(super) fn status(&self) -> LaneStatus {
        let mut status = self.board.read(&self.id);
        let region = self.sources.load().by_id(&self.id.source).map(|source| source.region).unwrap_or_default();
        let reachable = self.gates.of(self.id.destination, region).is_none_or(Gate::is_passing);
        if status.state == LaneState::Delivering && !reachable {
            status.state = LaneState::Unreachable;
        }
        status
    }

    /// The most events that a request should have under the lane's limits; None: no limit.
    pub(super) fn request_events_max(&self) -> Option<usize> {
        self.limits().filter_map(Limit::request_events_max).min()
    }

    /// Leaves the destination alone until then; None: no longer.
    pub(super) fn close_until(&self, until: Option<Instant>) {
        *self.closed_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// Until when the destination is left alone; None when it is not.
    pub(super) fn closed_until(&self, now: Instant) -> Option<Instant> {
        self.closed_until.lock().unwrap_or_else(PoisonError::into_inner).filter(|until| now < *until)
    }

    fn limits(&self) -> impl Iterator<Item = &Limit> {
        [&self.own_limit, self.gates.limits.of(self.id.destination)].into_iter()
    }

    /// The gate that the lane's requests leave by; None when its source or its upstream is not configured.
    pub(super) fn gate(&self) -> Option<&Gate> {
        self.gates.of(self.id.destination, self.source()?.region)
    }

    /// Waits for everything that a request must wait for: the pause that the destination asked for, its breaker, the rise
    /// after an outage, the limits.
    async fn pass<'a>(&self, gate: &'a Gate, events: u32) -> Pass<'a> {
        let is_paced = self.limits().any(Limit::is_some);
        let _turn = if is_paced || gate.is_rising() { Some(self.turnstile.lock().await) } else { None };
        loop {
            if let Some(until) = self.closed_until(Instant::now()) {
                sleep_until(until).await;
            }
            let pass = gate.admit().await;
            gate.rise(events).await;
            if is_paced {
                let paced = Paced::count(&self.figures, self.id.destination, events);
                for limit in self.limits() {
                    limit.wait(events).await;
                }
                drop(paced);
            }
            if self.closed_until(Instant::now()).is_none() && pass.stands() {
                return pass;
            }
        }
    }
}

/// Counts events as waiting for a limit, as long as it lives.
struct Paced<'a> {
    figures: &'a Figures,
    destination: Destination,
    events: u64,
}

impl<'a> Paced<'a> {
    fn count(figures: &'a Figures, destination: Destination, events: u32) -> Self {
        let events = u64::from(events);
        figures.paced.of(destination).fetch_add(events, Ordering::Relaxed);
        Self { figures, destination, events }
    }
}

impl Drop for Paced<'_> {
    fn drop(&mut self) {
        self.figures.paced.of(self.destination).fetch_sub(self.events, Ordering::Relaxed);
    }
}

/// Runs the errand of one request. It ends early only when delivery stops, or the lane is held, before the request went.
pub(super) async fn run(way: Arc<Way>, parcel: Parcel) -> Landed {
    let Parcel { ticket, events, failures, cargo } = parcel;
    let end = match deliver(&way, events, &cargo).await {
        Some((outcome, answer)) => Flight::Ended { outcome, answer },
        None => Flight::CalledBack,
    };
    Landed { ticket, failures, end }
}

/// Sends one request; None when it did not go.
async fn deliver(way: &Way, events: u32, cargo: &Cargo) -> Option<(Outcome, Answered)> {
    let region = way.source()?.region;
    let gate = way.gates.of(way.id.destination, region)?;
    let (mut control, mut hold) = (way.control.clone(), way.hold.subscribe());
    let pass = tokio::select! {
        biased;
        _ = hold.wait_for(Option::is_some) => return None,
        pass = way.pass(gate, events) => pass,
        _ = control.wait_for(|control| *control == Control::Stop) => return None,
    };
    // The wait may have been long: the key and the copy are those of the moment it goes.
    let source = way.source()?;
    let (call, edits) = match write_call(way, &source, cargo) {
        Ok(written) => written,
        Err(text) => return Some((Outcome::Unsendable, Answered { text, ..Answered::default() })),
    };
    let (outcome, answer) = send(way, &gate.upstream, call).await;
    let answer = Answered { text: without_keys(&source, answer.text), ..answer };
    match outcome {
        // Its words may repeat what a client sent, and this goes to the log.
        Outcome::Answered { status, .. } => pass.report(outcome, events, &format!("answered {status}")),
        Outcome::Unanswered | Outcome::Unsendable => pass.report(outcome, events, &answer.text),
    }
    if let (Outcome::Answered { status: 200..=299, .. }, Some(edits)) = (outcome, edits) {
        way.figures.count_edits(edits);
    }
    Some((outcome, answer))
}

async fn send(way: &Way, upstream: &Upstream, call: Call) -> (Outcome, Answered) {
    let started = Instant::now();
    match upstream.send(call).await {
        Ok(answer) => {
            let status = answer.status.as_u16();
            way.figures.count_answer(way.id.destination, status, answer.elapsed);
            way.board.count_request(Some(status));
            let header = answer.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
            let retry_after = header.and_then(|value| RetryAfter::parse(value, way.clock.now()));
            let text = if answer.status.is_success() { String::new() } else { excerpt(&answer.body) };
            (Outcome::Answered { status, retry_after }, Answered { status, text, took: answer.elapsed })
        }
        Err(error) => {
            way.figures.count_fault(way.id.destination, error.fault);
            way.board.count_request(None);
            let outcome = if error.fault == Fault::Request { Outcome::Unsendable } else { Outcome::Unanswered };
            (outcome, Answered { status: 0, text: error.to_string(), took: started.elapsed() })
        }
    }
}

/// An upstream's words go to the quarantine, to disk, where no key of ours may rest: some of them say which key they refused.
fn without_keys(source: &Source, text: String) -> String {
    source.segment_keys.iter().chain(&source.rudderstack_key).fold(text, |text, key| {
        let credentials = Secret::new(STANDARD.encode(format!("{}:", key.expose())));
        credentials.cut_from(key.cut_from(text))
    })
}

/// The start of an answer, as text.
fn excerpt(body: &[u8]) -> String {
    let cut = &body[..body.len().min(Quarantined::ANSWER_BYTES_MAX)];
    String::from_utf8_lossy(cut).trim().to_owned()
}

fn write_call(way: &Way, source: &Source, cargo: &Cargo) -> Result<(Call, Option<Edits>), String> {
    match cargo {
        Cargo::Envelope(opened) => segment_call(way, source, opened).map(|(call, edits)| (call, Some(edits))),
        Cargo::Batch { slot, body, encoding } => Ok((batch_call(source, *slot, body, *encoding), None)),
    }
}

/// The client's own request again (design promise 4): its path, its body but for the counted edits, of its headers those
/// that say how the body is written and who wrote it, and the key where the client had put it.
fn segment_call(way: &Way, source: &Source, opened: &Opened) -> Result<(Call, Edits), String> {
    let envelope = &opened.envelope;
    if envelope.endpoint == Endpoint::Webhook {
        return Err("it came from Segment, which has it already".to_owned());
    }
    let now = way.clock.now();
    #[cfg(test)]
    let now = if is_broken(Sabotage::SentAtKept) { envelope.received_at } else { now };
    let copy = guarded(|| {
        let copy = protocol::segment_copy(envelope, &opened.inflated, now);
        copy.map_err(|error| format!("the copy for Segment cannot be made: {error}"))
    })?;
    let mut headers = HeaderMap::with_capacity(5);
    let mut keep = |name: HeaderName, value: Option<&str>| {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
            headers.insert(name, value);
        }
    };
    keep(header::USER_AGENT, envelope.user_agent.as_deref());
    keep(X_RETRY_COUNT, envelope.retry_count.as_deref());
    let (method, path, body) = match envelope.endpoint {
        Endpoint::Pixel(_) if copy.edits.is_none() => (Method::GET, envelope.path.clone(), Bytes::new()),
        Endpoint::Pixel(kind) => (Method::GET, protocol::pixel_path(kind, &copy.body), Bytes::new()),
        _ => {
            keep(header::CONTENT_TYPE, envelope.content_type.as_deref());
            keep(header::CONTENT_ENCODING, (copy.encoding == Encoding::Gzip).then_some("gzip"));
            (Method::POST, envelope.path.clone(), copy.body)
        }
    };
    let key = source.segment_key(envelope.key_print).expose();
    match envelope.basic_auth {
        BasicAuth::Absent => {}
        BasicAuth::Colon => authorize(&mut headers, &format!("{key}:")),
        BasicAuth::Bare => authorize(&mut headers, key),
    }
    Ok((Call { method, path, headers, body }, copy.edits))
}

/// A batch in RudderStack's form (protocol.md T8, T9, T12, T25). Without `X-Forwarded-For`, as a batch has many clients:
/// each event carries its own `context.ip` (T13).
fn batch_call(source: &Source, slot: usize, body: &Bytes, encoding: Encoding) -> Call {
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if encoding == Encoding::Gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    headers.insert(ANONYMOUS_ID, HeaderValue::from(slot));
    if let Some(key) = &source.rudderstack_key {
        authorize(&mut headers, &format!("{}:", key.expose()));
    }
    Call { method: Method::POST, path: "/v1/batch".to_owned(), headers, body: body.clone() }
}

const X_RETRY_COUNT: HeaderName = HeaderName::from_static("x-retry-count");
const ANONYMOUS_ID: HeaderName = HeaderName::from_static("anonymousid");

fn authorize(headers: &mut HeaderMap, credentials: &str) {
    if let Ok(mut value) = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(credentials))) {
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
    }
}

/// How long a lane is still to be left alone, by the wall clock: at most what could have been asked for, should the clock have
/// jumped.
pub(super) fn deferral_left(until: WallTime, now: WallTime) -> Duration {
    Duration::from_millis(u64::try_from(until.millis_since(now)).unwrap_or(0)).min(RetryAfter::MAX)
}
