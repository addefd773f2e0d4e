//! An app with an SDK: it makes events, sends them in one of the forms that SDKs have, and sends them again as SDKs do.

use std::{fmt::Write as _, net::IpAddr, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::time::{sleep, timeout};

use super::{
    facts::{Fact, Facts, Told},
    script::{Poison, pick},
    site::Site,
    trace::Trace,
};
use crate::{
    clock::Clock,
    model::{Destination, Dice, Revision, WallTime},
    routing::{self, Inquiry, Person, Source, decide},
};

/// An SDK gives a batch up after so many attempts.
const ATTEMPTS_MAX: u32 = 12;
/// As analytics-node waits for an answer.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(10);
/// The most events of a request.
pub(super) const BATCH_EVENTS_MAX: u64 = 8;

/// In which form it sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A server's: `/v1/batch` with Basic auth.
    Server,
    /// A phone's: `/v1/b`, gzip, the key in the body.
    Phone,
    /// A browser's: one event a request, the key in the body.
    Browser,
}

pub(super) struct Client {
    number: usize,
    source_index: usize,
    source: Source,
    form: Form,
    /// How far its clock is off.
    skew_ms: i64,
    persons: u64,
    made: u64,
    peer: IpAddr,
    think_ms: u64,
    poison: Poison,
    dice: Dice,
    site: Site,
    facts: Facts,
    /// The true time.
    clock: Clock,
    trace: Trace,
    sender: Option<SendRequest<Full<Bytes>>>,
}

/// What clients share.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) site: Site,
    pub(super) facts: Facts,
    pub(super) clock: Clock,
    pub(super) trace: Trace,
    pub(super) think_ms: u64,
    pub(super) poison: Poison,
}

/// An answer as a client reads it.
enum Heard {
    Status(StatusCode, Option<u64>),
    Nothing(String),
}

impl Client {
    pub(super) fn new(number: usize, (source_index, source): (usize, &Source), around: &Surroundings, mut dice: Dice) -> Self {
        let Surroundings { site, facts, clock, trace, think_ms, poison } = around.clone();
        Self {
            number,
            source_index,
            source: source.clone(),
            form: [Form::Server, Form::Phone, Form::Browser][pick(&mut dice, 3)],
            skew_ms: [0, 0, 40_000, -3_600_000, 259_200_000, -259_200_000][pick(&mut dice, 6)],
            persons: dice.between(1, 4),
            made: 0,
            peer: IpAddr::from([198, 51, 100, u8::try_from(number % 250).unwrap_or(0)]),
            think_ms,
            poison,
            dice,
            site,
            facts,
            clock,
            trace,
            sender: None,
        }
    }

    /// Makes and sends events for so long, and finishes what it has begun.
    pub(super) async fn run(mut self, length: Duration) {
        let until = self.clock.now().plus_millis(i64::try_from(length.as_millis()).unwrap_or(i64::MAX));
        loop {
            sleep(Duration::from_millis(1 + self.dice.below(2 * self.think_ms))).await;
            if self.clock.now() >= until {
                return;
            }
            self.make_and_send().await;
        }
    }

    /// Makes some events and sends them until they are taken or it gives up. Says whether they were taken.
    pub(super) async fn make_and_send(&mut self) -> Told {
        let count = if self.form == Form::Browser { 1 } else { self.dice.between(1, BATCH_EVENTS_MAX + 1) };
        let names: Vec<String> = (0..count).map(|_| self.make()).collect();
        for attempt in 0..ATTEMPTS_MAX {
            for name in &names {
                self.facts.all().get_mut(name).expect("it was made").attempts += 1;
            }
            let heard = self.send(&names, attempt).await;
            let pause = match &heard {
                Heard::Status(StatusCode::OK, _) => {
                    self.trace.note(&format!("client {} is told that {} to {} are taken", self.number, names[0], names[names.len() - 1]));
                    for name in &names {
                        self.facts.all().get_mut(name).expect("it was made").told = Told::Taken;
                    }
                    return Told::Taken;
                }
                Heard::Status(StatusCode::TOO_MANY_REQUESTS, wait_s) => Duration::from_secs(wait_s.unwrap_or(1).min(300)),
                Heard::Status(status, _) if status.is_client_error() => {
                    self.site.blame(format!("client {} hears {status} for {names:?}: an SDK would throw them away", self.number));
                    return Told::Nothing;
                }
                Heard::Status(..) | Heard::Nothing(_) => Duration::from_millis((500 << attempt.min(5)) + self.dice.below(500)),
            };
            match heard {
                Heard::Status(status, _) => self.trace.note(&format!("client {} hears {status} for {}", self.number, names[0])),
                Heard::Nothing(why) => self.trace.note(&format!("client {} hears nothing for {}: {why}", self.number, names[0])),
            }
            sleep(pause).await;
        }
        Told::Nothing
    }

    /// Makes one event and returns its name.
    fn make(&mut self) -> String {
        self.made += 1;
        let name = format!("c{}-{}", self.number, self.made);
        let person = format!("c{}-p{}", self.number, self.dice.below(self.persons));
        let is_poison = self.poison == Poison::Some && self.dice.once_in(12);
        // An id that another client could have: persons of several sources stay apart by their source alone.
        let message_id = (!self.dice.once_in(10)).then(|| format!("m-{name}"));
        let happened = self.clock.now().plus_millis(-i64::try_from(self.dice.below(60_000)).unwrap_or(0));
        let mut json = String::from("{");
        let ids = if self.number.is_multiple_of(3) {
            format!("\"userId\":\"{person}\"")
        } else {
            format!("\"anonymousId\":\"{person}\",\"userId\":\"someone\"")
        };
        let what = match (is_poison, self.dice.below(4)) {
            (true, _) => "\"type\":\"track\",\"event\":\"Poison\",\"properties\"",
            (_, 0) => "\"type\":\"identify\",\"traits\"",
            (_, 1) => "\"type\":\"page\",\"name\":\"Home\",\"properties\"",
            _ => "\"type\":\"track\",\"event\":\"Bought\",\"properties\"",
        };
        let filler = "\u{e9}\\u00e9 \\\"x".repeat(pick(&mut self.dice, 20));
        let _ = write!(json, "{what}:{{\"n\":\"{name}\",\"big\":12345678901234567890,\"text\":\"{filler}\"}},{ids}");
        if let Some(id) = &message_id {
            let _ = write!(json, ",\"messageId\":\"{id}\"");
        }
        let _ = write!(json, ",\"timestamp\":\"{}\"}}", happened.plus_millis(self.skew_ms).to_rfc3339());
        let (anonymous, user) = if self.number.is_multiple_of(3) { (None, Some(person.as_str())) } else { (Some(person.as_str()), None) };
        let inquiry = Inquiry { person: Person::of(anonymous, user, ""), facts: routing::Facts::default() };
        let plan = decide(&self.source, Revision::default(), &[inquiry]);
        let planned = [Destination::Segment, Destination::RudderStack].map(|to| plan.events.of(to).contains(0));
        let fact = Fact {
            source: self.source_index,
            person,
            order: self.made,
            message_id,
            is_poison,
            json,
            happened,
            attempts: 0,
            told: Told::Nothing,
            planned,
        };
        self.facts.all().insert(name.clone(), fact);
        name
    }

    fn request(&self, names: &[String], attempt: u32) -> Request<Full<Bytes>> {
        let facts = self.facts.all();
        let events: Vec<&str> = names.iter().map(|name| facts[name].json.as_str()).collect();
        let sent_at: WallTime = self.clock.now().plus_millis(self.skew_ms);
        let key = self.source.segment_keys[0].expose();
        let request = Request::builder().method(Method::POST).header(header::HOST, "api.segment.io").header("x-retry-count", attempt);
        let built = match self.form {
            Form::Server => {
                let body = format!("{{\"batch\":[{}],\"sentAt\":\"{sent_at}\"}}", events.join(","));
                let basic = format!("Basic {}", STANDARD.encode(format!("{key}:")));
                request.uri("/v1/batch").header(header::AUTHORIZATION, basic).body(body.into())
            }
            Form::Phone => {
                let body = format!("{{\"writeKey\":\"{key}\",\"batch\":[{}],\"sentAt\":\"{sent_at}\"}}", events.join(","));
                request.uri("/v1/b").header(header::CONTENT_ENCODING, "gzip").body(gzip(body.as_bytes()).into())
            }
            Form::Browser => {
                let path = if events[0].contains("identify") {
                    "/v1/i"
                } else if events[0].contains("\"page\"") {
                    "/v1/p"
                } else {
                    "/v1/t"
                };
                let open = events[0].strip_suffix('}').unwrap_or(events[0]);
                let body = format!("{open},\"sentAt\":\"{sent_at}\",\"writeKey\":\"{key}\"}}");
                request.uri(path).header(header::CONTENT_TYPE, "text/plain").body(body.into())
            }
        };
        built.expect("such a request can be made")
    }

    async fn send(&mut self, names: &[String], attempt: u32) -> Heard {
        let request = self.request(names, attempt);
        match timeout(ANSWER_WAIT_MAX, self.exchange(request)).await {
            Ok(Ok((status, wait_s))) => Heard::Status(status, wait_s),
            Ok(Err(why)) => {
                self.sender = None;
                Heard::Nothing(why)
            }
            Err(_) => {
                self.sender = None;
                Heard::Nothing("no answer in time".to_owned())
            }
        }
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Option<u64>), String> {
        if self.sender.as_ref().is_none_or(SendRequest::is_closed) {
            let stream = self.site.connect(self.peer).await.map_err(|error| error.to_string())?;
            let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
            tokio::spawn(async move {
                let _ = connection.await;
            });
            self.sender = Some(sender);
        }
        let sender = self.sender.as_mut().ok_or("no connection")?;
        sender.ready().await.map_err(|error| error.to_string())?;
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let wait_s = answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        answer.into_body().collect().await.map_err(|error| error.to_string())?;
        Ok((status, wait_s))
    }
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}
