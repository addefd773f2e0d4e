//! One request: what is asked, whose it is, on disk, answered.

use std::{net::IpAddr, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Request, Response, Version, header, request::Parts};
use http_body_util::Full;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

use super::{
    Counters, OnFull, Relays, Settings,
    bodies::Arriving,
    body::{BodyError, held, read_body, take},
    client_ip::client_ip,
    decided::{Decided, Way},
    enrolled, framing,
    listener::Door,
    page::Rests,
    tapped,
};
use crate::{
    census::{Came, Census, Roll},
    chance,
    clock::Clock,
    evidence::{Arrival, Evidence, Twin},
    forecast::{self, Discard},
    journal::{AppendError, Journal, Record},
    model::{
        BasicAuth, Destination, Encoding, Endpoint, Envelope, EnvelopeId, EventKind, Head, MessagePrint, Naming, Origin, Outline,
        PerDestination, Plan, Reading, Selection, SourcePrint,
    },
    protocol::{self, Answer, BadRequest, InflateError, InflateLimits, Target},
    routing::{Facts, Inquiry, Person, Source, Sources, decide, unversioned},
    shelf::Shelf,
    tap::Tap,
    telemetry::Histogram,
};

/// An answer on its way to a client.
pub(super) type Reply = Response<Full<Bytes>>;

/// Where requests are dealt with: all that a connection needs to answer them.
#[derive(Debug)]
pub struct Desk {
    /// Where envelopes are kept.
    pub journal: Journal,
    /// The sources and routes in force.
    pub sources: Arc<ArcSwap<Sources>>,
    /// Segment, asked live.
    pub relays: Relays,
    /// The wall clock.
    pub clock: Clock,
    /// What Segment's CDN served last.
    pub shelf: Arc<Shelf>,
    /// When its hosts are not asked.
    pub rests: Rests,
    /// What was configured.
    pub settings: Settings,
    /// What happened.
    pub counters: Arc<Counters>,
    /// Who looks at events as they pass.
    pub tap: Arc<Tap>,
    /// What is known of events afterwards.
    pub evidence: Arc<Evidence>,
    /// Who events come from, and what is foretold of them.
    pub census: Arc<Census>,
    /// From the request's arrival to its answer.
    pub durations: Histogram,
    /// The memory that bodies may take together, in bytes.
    pub memory: Arc<Semaphore>,
    /// How many large bodies are read at one time; see [`Desk::heavy`].
    pub heavy: Semaphore,
}

/// A body that takes no turn to be read, inflated.
const LIGHT_BYTES_MAX: usize = 512 << 10;

/// Seconds that a client is asked to wait when the trouble is ours: long enough to matter, short enough for SDKs that give up
/// after three minutes.
pub(super) const RETRY_AFTER_S: u32 = 5;

/// How long a client waits for its event's place on disk: SDKs give up after ten seconds and more (clients.md), and Segment,
/// asked instead, gets five of them.
pub(super) const APPEND_WAIT_MAX: Duration = Duration::from_secs(4);

/// A request whose body has been read.
pub(super) struct Call {
    pub(super) parts: Parts,
    pub(super) endpoint: Endpoint,
    /// The body as the client sent it; of a pixel, the event in its query.
    pub(super) body: Bytes,
    pub(super) encoding: Encoding,
    pub(super) client_ip: Option<IpAddr>,
}

impl Desk {
    /// The turns of large bodies: half of the processors, so that the others are free for everybody else.
    #[must_use]
    pub fn heavy() -> Semaphore {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Semaphore::new((processors / 2).max(1))
    }

    /// Answers one request of a client's, or of a vendor's.
    pub(super) async fn serve(&self, door: Door, request: Request<Arriving>, peer: IpAddr) -> Reply {
        match door {
            Door::Clients => self.answer(request, peer).await,
            // Boxed, as clients' are many and must not have room for it.
            Door::Hooks => Box::pin(self.answer_hook(request, peer)).await,
        }
    }

    /// Answers one request; it never fails. Should it panic, by a fault of ours, then this client alone is asked to come again.
    pub(super) async fn answer(&self, request: Request<Arriving>, peer: IpAddr) -> Reply {
        let started = Instant::now();
        let origin = request.headers().get(header::ORIGIN).cloned();
        let mut reply = AssertUnwindSafe(self.deal_with(request, peer)).catch_unwind().await.unwrap_or_else(|_| {
            self.counters.broken.add(1);
            said(&protocol::busy(RETRY_AFTER_S))
        });
        protocol::cors(origin.as_ref(), reply.headers_mut());
        self.counters.answered(reply.status().as_u16());
        self.durations.observe(started.elapsed().as_secs_f64());
        reply
    }

    /// Lets nothing further that could mean two things, nor any header that ends with this connection.
    async fn deal_with(&self, request: Request<Arriving>, peer: IpAddr) -> Reply {
        let (mut parts, body) = request.into_parts();
        if let Err(error) = framing::check(&parts) {
            tracing::debug!(event = "request_refused", %error);
            self.counters.refused_requests.add(1);
            return refused(parts.version);
        }
        framing::strip_nominated(&mut parts.headers);
        self.direct(parts, body, peer).await
    }

    /// Brings a request to where it is answered.
    async fn direct(&self, parts: Parts, body: Arriving, peer: IpAddr) -> Reply {
        match protocol::classify(&parts.method, parts.uri.path()) {
            Target::Events(endpoint) => self.take(parts, body, endpoint, peer).await,
            Target::Preflight => preflight(&parts.headers),
            Target::Health => said(&protocol::ACCEPTED),
            Target::Metrics => self.pass_metrics(parts, body).await,
            Target::Settings => self.serve_page(parts, true).await,
            Target::Cdn => self.serve_page(parts, false).await,
            Target::Unknown => self.pass_unknown(parts, body).await,
        }
    }

    /// The way of an event. Each step either goes on or answers.
    async fn take(&self, parts: Parts, body: Arriving, endpoint: Endpoint, peer: IpAddr) -> Reply {
        let client_ip = client_ip(peer, &parts.headers, &self.settings.trusted_proxies);
        let read = match read_body(body, &self.settings.limits, &self.memory).await {
            Ok(read) => read,
            Err(error) => return unread(error),
        };
        let Some(call) = Call::new(parts, endpoint, read.bytes.clone(), client_ip) else {
            return said(&protocol::PIXEL);
        };
        let Some(encoding) = content_encoding(&call.parts.headers) else {
            return self.pass_unreadable(call).await;
        };
        let call = Call { encoding, ..call };
        let id = EnvelopeId(chance::id().as_u128());
        let decided = match self.read_and_decide(&call, id).await {
            Decision::Decided(decided) => decided,
            Decision::Unreadable => return self.pass_unreadable(call).await,
            Decision::Crowded => return said(&protocol::busy(RETRY_AFTER_S)),
            Decision::UnknownKey => {
                self.counters.unknown_keys.add(1);
                return self.relay_call(&call, None).await;
            }
        };
        self.keep(call, id, decided).await
    }

    /// Inflates a call's body and decides. Large bodies take turns: reading one takes so long that those who read them all at
    /// once would keep everybody else waiting.
    async fn read_and_decide(&self, call: &Call, id: EnvelopeId) -> Decision {
        let limits = &self.settings.limits;
        let inflate = |bytes_max| {
            let ratio_max = usize::try_from(limits.inflate_ratio_max).unwrap_or(usize::MAX);
            protocol::inflate(&call.body, InflateLimits { bytes_max, ratio_max })
        };
        let bytes_max = usize::try_from(limits.inflated_bytes_max.0).unwrap_or(usize::MAX);
        let light = match call.encoding {
            Encoding::Identity => (call.body.len() <= LIGHT_BYTES_MAX).then(|| call.body.clone()),
            Encoding::Gzip => match inflate(bytes_max.min(LIGHT_BYTES_MAX)) {
                Ok(inflated) => match self.keep_inflated(inflated) {
                    Some(inflated) => Some(inflated),
                    None => return Decision::Crowded,
                },
                Err(InflateError::TooLarge(_)) => None,
                Err(InflateError::Broken(_)) => return Decision::Unreadable,
            },
        };
        if let Some(light) = light {
            return self.decide(call, &light, id);
        }
        let Ok(Ok(_turn)) = timeout(limits.relay_timeout, self.heavy.acquire()).await else { return Decision::Crowded };
        let inflated = match call.encoding {
            Encoding::Identity => Some(call.body.clone()),
            Encoding::Gzip => match inflate(bytes_max) {
                Ok(inflated) => self.keep_inflated(inflated),
                Err(_) => return Decision::Unreadable,
            },
        };
        inflated.map_or(Decision::Crowded, |inflated| self.decide(call, &inflated, id))
    }

    /// What a body has grown to takes its share of the memory of all bodies, as the body itself does: it is kept until the
    /// journal has the event, and many small bodies may wait for that together. None when there is no room.
    fn keep_inflated(&self, inflated: Vec<u8>) -> Option<Bytes> {
        let share = take(&self.memory, inflated.len()).ok()?;
        Some(held(inflated, share))
    }

    /// The events that both sides are to get: what becomes of them is followed.
    fn twins(source: &Source, plan: &Plan, heads: &[Head<'_>], discards: &[Option<Discard>], id: EnvelopeId) -> Vec<Twin> {
        let of_source = SourcePrint::of(&source.id);
        let both = |index: &usize| Destination::ALL.into_iter().all(|to| plan.events.of(to).contains(*index));
        let twin = |index: usize| Twin {
            index: u32::try_from(index).unwrap_or(u32::MAX),
            print: MessagePrint::of(&heads[index].message_id(id, index)).within(of_source),
            predicted: discards[index].map(Discard::code),
        };
        (0..heads.len()).filter(both).map(twin).collect()
    }

    /// Finds the events, the source and the plan. Whatever is borrowed from the body ends here.
    fn decide(&self, call: &Call, inflated: &Bytes, id: EnvelopeId) -> Decision {
        let Ok(reading) = Reading::of(call.endpoint, inflated) else { return Decision::Unreadable };
        if reading.items.is_empty() || reading.items.len() > protocol::EVENTS_MAX {
            return Decision::Unreadable;
        }
        let events = 0..reading.items.len();
        let members = |index| reading.members(index).iter().copied();
        let heads: Vec<Head<'_>> = events.clone().map(|index| Head::of_members(members(index), call.endpoint)).collect();
        let sources = self.sources.load();
        let Some((source, key_print)) = self.find_source(&sources, &reading, &heads, &call.parts) else { return Decision::UnknownKey };
        let inquiries: Vec<Inquiry<'_>> = heads
            .iter()
            .enumerate()
            .map(|(index, head)| {
                let message_id = head.message_id(id, index);
                let person = Person::of(head.anonymous_id.as_deref(), head.user_id.as_deref(), &message_id);
                let facts = if source.rules.is_empty() { Facts::default() } else { Facts::of_event(&reading, index, head) };
                Inquiry { person, facts }
            })
            .collect();
        if !source.rules.is_empty() {
            self.counters.source(&source.id).unversioned.add(unversioned(&source, &inquiries) as u64);
        }
        let plan = decide(&source, sources.revision(), &inquiries);
        let naming = if heads.iter().all(|head| head.message_id.is_some()) { Naming::All } else { Naming::Some };
        let outline = Outline::of(inflated, &reading, inquiries.iter().map(|inquiry| inquiry.person.0), naming);
        let kinds = heads.iter().map(|head| head.kind).collect();
        let discards: Vec<Option<Discard>> = match forecast::discard_request(call.endpoint, reading.items.len(), inflated.len()) {
            Some(discard) => vec![Some(discard); reading.items.len()],
            None => events.map(|index| forecast::discard_of(reading.items[index], members(index), call.endpoint)).collect(),
        };
        let foretold = enrolled::foretell(&reading, &heads, &discards, id);
        let roll = Roll::of(&reading, &heads, inquiries.iter().map(|inquiry| inquiry.person));
        self.census.judge_names(&source.id, &reading, &heads, (id, self.clock.now()));
        let twins = Self::twins(&source, &plan, &heads, &discards, id);
        let oversize = inflated.len() > protocol::REQUEST_BYTES_MAX;
        let only_segment_can = oversize || protocol::is_bearer(call.parts.headers.get(header::AUTHORIZATION));
        let way = if only_segment_can && !plan.events.segment.is_none() { Way::Live } else { Way::Journal };
        Decision::Decided(Box::new(Decided {
            source,
            key_print,
            kinds,
            plan,
            way,
            left_out: 0,
            roll,
            foretold,
            twins,
            outline,
            inflated: inflated.clone(),
        }))
    }

    /// A configured key wins over one that is not, wherever it stands; of two configured ones the body's does.
    fn find_source(&self, sources: &Sources, reading: &Reading<'_>, heads: &[Head<'_>], parts: &Parts) -> Option<(Arc<Source>, [u8; 8])> {
        let claims = protocol::claims(Some(reading), heads, parts.headers.get(header::AUTHORIZATION), parts.uri.query());
        let mut found = claims.keys().filter_map(|key| Some((sources.by_key(key)?, key)));
        let (source, key) = found.next()?;
        if found.any(|(other, _)| other.id != source.id) {
            self.counters.key_conflicts.add(1);
        }
        Some((Arc::clone(source), crate::model::KeyPrint::of(key).short()))
    }

    /// Journals what is decided and says so; asks Segment live where only Segment can answer.
    async fn keep(&self, call: Call, id: EnvelopeId, mut decided: Box<Decided>) -> Reply {
        let watched = self.watched(id, call.endpoint);
        let appended = self.append(&call, id, &mut decided).await;
        let has_segment = !decided.plan.events.segment.is_none();
        let counts = self.counters.source(&decided.source.id);
        let events = decided.kinds.len() as u64;
        match appended {
            Ok(()) => {
                tapped::pass(watched, &decided);
                counts.unjournalled.add(decided.left_out);
                for kind in &decided.kinds {
                    let index = kind.and_then(|kind| EventKind::ALL.iter().position(|known| *known == kind));
                    counts.received[index.unwrap_or(EventKind::ALL.len())].add(1);
                }
                self.enrol(&decided, &decided.plan.events, Came::Directly);
                let reply = match decided.way {
                    Way::Journal => return said(accepted(call.endpoint)),
                    Way::Live => self.relay_decided(call, id, &decided).await,
                    Way::Instead => self.relay_instead(call, id, &decided).await,
                };
                if reply.status().is_success() {
                    counts.relayed.add(events);
                }
                reply
            }
            Err(error) => {
                self.evidence.forget(id);
                tracing::debug!(event = "append_refused", source = %decided.source.id, %error);
                if !has_segment || self.settings.on_full == OnFull::Answer429 {
                    return said(&protocol::busy(RETRY_AFTER_S));
                }
                self.counters.suspensions.begin(&decided.source.id);
                let missing = decided.left_out + decided.plan.events.rudderstack.count(decided.kinds.len()) as u64;
                let reply = match decided.way {
                    Way::Live => self.relay_decided(call, id, &decided).await,
                    Way::Journal | Way::Instead => self.relay_instead(call, id, &decided).await,
                };
                // Whoever was refused comes again, and is counted then.
                if reply.status().is_success() {
                    counts.relayed.add(events);
                    counts.unjournalled.add(missing);
                    tapped::pass_live(watched, &decided);
                    let live = PerDestination { segment: Selection::All, rudderstack: Selection::None };
                    self.enrol(&decided, &live, Came::Directly);
                }
                reply
            }
        }
    }

    /// Appends under the revision that is in force when the record gets its place: a flip in between decides again
    /// (design promise 3).
    async fn append(&self, call: &Call, id: EnvelopeId, decided: &mut Decided) -> Result<(), AppendError> {
        loop {
            let envelope = self.envelope(call, id, decided);
            let events = decided.kinds.len();
            let planned = PerDestination::from_fn(|to| u32::try_from(envelope.plan.events.of(to).count(events)).unwrap_or(u32::MAX));
            if planned == PerDestination::default() {
                return Ok(());
            }
            let (revision, at) = (envelope.plan.revision, envelope.received_at);
            if !decided.twins.is_empty() {
                let arrival = Arrival { envelope: id, source: &decided.source.id, revision, at };
                let twins = if decided.left_out == 0 { std::mem::take(&mut decided.twins) } else { Vec::new() };
                self.evidence.arrive(&arrival, twins);
            }
            let record = Record { source: decided.source.id.clone(), revision, planned, received_at: at, payload: envelope.encode() };
            // A disk that hangs is one that cannot write: nobody waits for it for ever. The record may still be kept, and then
            // Segment gets its events twice, under the same ids.
            let appended = timeout(APPEND_WAIT_MAX, self.journal.append(record)).await;
            match appended.unwrap_or_else(|_| Err(AppendError::Broken { reason: format!("no sync in {APPEND_WAIT_MAX:?}") })) {
                Ok(_) => {
                    let events = PerDestination::from_fn(|to| u64::from(*planned.of(to)));
                    self.evidence.plan(&decided.source.id, (revision, at), events);
                    return Ok(());
                }
                Err(AppendError::Stale { .. }) => match self.decide(call, &decided.inflated.clone(), id) {
                    Decision::Decided(again) => *decided = *again,
                    // Its source has just gone: what was accepted under the old revision stays decided under it.
                    Decision::UnknownKey | Decision::Unreadable | Decision::Crowded => return Err(AppendError::Closed),
                },
                Err(AppendError::OverQuota { destination }) => {
                    self.evidence.forget(id);
                    decided.leave_out(destination, self.settings.on_full).ok_or(AppendError::OverQuota { destination })?;
                    if destination == Destination::Segment {
                        self.counters.suspensions.begin(&decided.source.id);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn envelope(&self, call: &Call, id: EnvelopeId, decided: &Decided) -> Envelope {
        let headers = &call.parts.headers;
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Envelope {
            id,
            source: decided.source.id.clone(),
            received_at: self.clock.now(),
            endpoint: call.endpoint,
            path: call.parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            client_ip: call.client_ip,
            content_type: text("content-type"),
            user_agent: text("user-agent"),
            retry_count: text("x-retry-count"),
            basic_auth: protocol::basic_credentials(headers.get(header::AUTHORIZATION)).map_or(BasicAuth::Absent, |(_, form)| form),
            key_print: decided.key_print,
            encoding: call.encoding,
            events: u32::try_from(decided.kinds.len()).unwrap_or(u32::MAX),
            plan: decided.kept_plan(),
            origin: if decided.way == Way::Journal { Origin::Client } else { Origin::Relayed },
            outline: decided.outline.clone(),
            body: call.body.clone(),
        }
    }
}

/// What became of the attempt to read a call.
enum Decision {
    Decided(Box<Decided>),
    Unreadable,
    UnknownKey,
    /// All bodies in memory together have reached `pending_bytes_max`.
    Crowded,
}

impl Call {
    /// None for a pixel whose query spells no event: it gets its picture and nothing else can be done.
    fn new(parts: Parts, endpoint: Endpoint, body: Bytes, client_ip: Option<IpAddr>) -> Option<Self> {
        let body = match endpoint {
            Endpoint::Pixel(_) => protocol::pixel_event(parts.uri.query().unwrap_or_default())?.into(),
            _ => body,
        };
        Some(Self { parts, endpoint, body, encoding: Encoding::Identity, client_ip })
    }
}

/// None for an encoding that segue does not read: such a body is Segment's to judge (protocol.md T12).
fn content_encoding(headers: &HeaderMap) -> Option<Encoding> {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    let encoding = match encodings.next().map(|value| value.to_str().map(str::trim)) {
        None => Encoding::Identity,
        Some(Ok(text)) if text.is_empty() || text.eq_ignore_ascii_case("identity") => Encoding::Identity,
        Some(Ok(text)) if text.eq_ignore_ascii_case("gzip") => Encoding::Gzip,
        Some(_) => return None,
    };
    encodings.next().is_none().then_some(encoding)
}

const fn accepted(endpoint: Endpoint) -> &'static Answer {
    match endpoint {
        Endpoint::Pixel(_) => &protocol::PIXEL,
        _ => &protocol::ACCEPTED,
    }
}

/// What a client hears whose body was not read.
pub(super) fn unread(error: BodyError) -> Reply {
    said(&match error {
        BodyError::TooLarge => protocol::bad_request(BadRequest::TooLarge),
        BodyError::CutOff => protocol::bad_request(BadRequest::CutOff),
        // A slow link is not the request's fault: a 400 would make the SDK delete what it holds (protocol.md 1.7).
        BodyError::TooSlow | BodyError::Crowded => protocol::busy(RETRY_AFTER_S),
    })
}

/// Puts an answer of ours on the wire.
pub(super) fn said(answer: &Answer) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from_static(answer.body)));
    *reply.status_mut() = answer.status;
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    if let Some(seconds) = answer.retry_after_s {
        reply.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        reply.headers_mut().insert("x-ratelimit-reset", seconds.into());
    }
    reply
}

/// What is said to a request that could mean two things: no byte that follows it is looked at.
fn refused(version: Version) -> Reply {
    let mut reply = said(&protocol::bad_request(BadRequest::Ambiguous));
    if version < Version::HTTP_2 {
        reply.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    reply
}

fn preflight(asked: &HeaderMap) -> Reply {
    let mut reply = Response::new(Full::default());
    *reply.headers_mut() = protocol::preflight(asked);
    reply
}
