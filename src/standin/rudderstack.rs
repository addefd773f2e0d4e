//! RudderStack's gateway, as protocol.md 2.1 to 2.4 describes it: who is answered what.
//!
//! It is rudder-server's open gateway that is played, not the hosted service in front of it.

use std::collections::HashMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};

use super::{
    Key, KeyState, Options, SourceKind, encoding,
    exchange::{Answer, Arrived, Detail, Record, Reply},
    rudder_answer::{Refusal, TEXT, error, is_preflight, ok, preflight, with_cors},
    rudder_event::{self, Intake},
    rudder_pixel,
};

/// The gateway.
#[derive(Debug)]
pub(super) struct Gateway {
    keys: HashMap<String, Key>,
    detail: Detail,
}

/// What a path is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    /// One event of that type.
    Single(&'static str),
    Batch,
    Import,
    Webhook,
    Beacon,
    Pixel(&'static str),
    Health,
    Version,
    Docs,
    Robots,
}

impl Route {
    fn of(path: &str) -> Option<Self> {
        Some(match path {
            "/v1/alias" => Self::Single("alias"),
            "/v1/audiencelist" => Self::Single("audiencelist"),
            "/v1/group" => Self::Single("group"),
            "/v1/identify" => Self::Single("identify"),
            "/v1/merge" => Self::Single("merge"),
            "/v1/page" => Self::Single("page"),
            "/v1/screen" => Self::Single("screen"),
            "/v1/track" => Self::Single("track"),
            "/v1/batch" => Self::Batch,
            "/v1/import" => Self::Import,
            "/v1/webhook" => Self::Webhook,
            "/beacon/v1/batch" => Self::Beacon,
            "/pixel/v1/track" => Self::Pixel("track"),
            "/pixel/v1/page" => Self::Pixel("page"),
            "/health" | "/" => Self::Health,
            "/version" => Self::Version,
            "/docs" => Self::Docs,
            "/robots.txt" => Self::Robots,
            _ => return None,
        })
    }

    /// The methods it takes, as the `Allow` header of a 405 lists them.
    const fn methods(self) -> &'static [Method] {
        match self {
            Self::Single(_) | Self::Batch | Self::Import | Self::Beacon => &[Method::POST],
            Self::Webhook => &[Method::GET, Method::POST],
            Self::Pixel(_) | Self::Health | Self::Version | Self::Docs | Self::Robots => &[Method::GET],
        }
    }
}

impl Gateway {
    pub fn new(options: &Options) -> Self {
        Self { keys: options.keys.iter().map(|key| (key.write_key.clone(), key.clone())).collect(), detail: Detail::of(options) }
    }

    /// What the gateway does with a request.
    pub fn reply(&self, arrived: &Arrived) -> Reply {
        if is_preflight(arrived) {
            return Reply { record: Record::Passed, ..Reply::only(preflight(arrived)) };
        }
        let mut reply = match Route::of(&arrived.path) {
            None => Reply::only(error(StatusCode::NOT_FOUND, "404 page not found")),
            Some(route) if !route.methods().contains(&arrived.method) => Reply::only(wrong_method(route)),
            Some(route) => self.serve(route, arrived),
        };
        reply.answer = with_cors(reply.answer, arrived);
        reply
    }

    fn serve(&self, route: Route, arrived: &Arrived) -> Reply {
        match route {
            Route::Single(_) | Route::Batch | Route::Import => self.posted(route, arrived, basic_user(arrived)),
            Route::Beacon => match arrived.parameter("writeKey").filter(|key| !key.is_empty()) {
                Some(key) => self.posted(Route::Batch, arrived, Some(key)),
                None => Reply::only(Refusal::NoKeyInQuery.answer()),
            },
            Route::Webhook => self.webhook(arrived),
            Route::Pixel(kind) => self.pixel(kind, arrived),
            Route::Health => Reply::only(json(HEALTH)),
            Route::Version => Reply::only(json(r#"{"Version":"standin","Major":"","Minor":"","Patch":""}"#)),
            Route::Docs => Reply::only(Answer::typed(StatusCode::OK, "text/html; charset=utf-8", "<!DOCTYPE html>\n")),
            Route::Robots => Reply::only(Answer::typed(StatusCode::OK, TEXT, "User-agent: * \nDisallow: / \n")),
        }
    }

    /// The key first, then the body: a refused key is told before the body is looked at.
    fn posted(&self, route: Route, arrived: &Arrived, write_key: Option<String>) -> Reply {
        let Some(write_key) = write_key.filter(|key| !key.is_empty()) else { return Reply::only(Refusal::NoKeyInHeader.answer()) };
        if let Some(refusal) = self.refusal_of(&write_key) {
            return Reply { write_key: Some(write_key), ..Reply::only(refusal.answer()) };
        }
        let intake = self.intake(&write_key, arrived);
        let (answer, events) = match gunzipped(arrived) {
            Err(refusal) => (refusal.answer(), Vec::new()),
            Ok(body) => match route {
                Route::Import => import(&body, &intake),
                Route::Single(kind) => settled(rudder_event::single(&body, kind, &intake)),
                _ => settled(rudder_event::batch(&body, &intake)),
            },
        };
        Reply { answer, write_key: Some(write_key), events, dropped: None, record: Record::Kept }
    }

    /// A webhook source whose transformer changes nothing, as that of the source "Segment" (protocol.md 4.4).
    fn webhook(&self, arrived: &Arrived) -> Reply {
        let of_query = arrived.parameter("writeKey").filter(|key| !key.is_empty());
        let Some(write_key) = of_query.or_else(|| basic_user(arrived)).filter(|key| !key.is_empty()) else {
            return Reply::only(Refusal::NoKeyInQuery.answer());
        };
        let refusal = match self.keys.get(&write_key) {
            Some(Key { kind: SourceKind::Webhook, state: KeyState::Enabled, .. }) => None,
            Some(Key { kind: SourceKind::Webhook, state: KeyState::Disabled, .. }) => Some(Refusal::SourceDisabled),
            Some(Key { kind: SourceKind::EventStream, .. }) | None => Some(Refusal::InvalidKey),
        };
        if let Some(refusal) = refusal {
            return Reply { write_key: Some(write_key), ..Reply::only(refusal.answer()) };
        }
        let intake = self.intake(&write_key, arrived);
        let taken = gunzipped(arrived).and_then(|body| rudder_event::webhook(&body, &intake));
        let (answer, events) = settled(taken);
        Reply { answer, write_key: Some(write_key), events, dropped: None, record: Record::Kept }
    }

    /// Always the picture, whatever becomes of the event.
    fn pixel(&self, kind: &'static str, arrived: &Arrived) -> Reply {
        let reply = Reply::only(Answer::typed(StatusCode::OK, "image/gif", super::segment::GIF));
        let Some(write_key) = arrived.parameter("writeKey").filter(|key| !key.is_empty()) else { return reply };
        let Some(body) = rudder_pixel::event(kind, arrived) else { return reply };
        if self.refusal_of(&write_key).is_some() {
            return Reply { write_key: Some(write_key), ..reply };
        }
        let mut intake = self.intake(&write_key, arrived);
        if !arrived.headers.contains_key(X_FORWARDED_FOR) {
            // The pixel's inner request has no peer: only X-Forwarded-For could say where it came from (protocol.md 2.6).
            intake.request_ip.clear();
        }
        let events = rudder_event::single(&body, kind, &intake).unwrap_or_default();
        Reply { write_key: Some(write_key), events, ..reply }
    }

    fn refusal_of(&self, write_key: &str) -> Option<Refusal> {
        match self.keys.get(write_key) {
            None => Some(Refusal::InvalidKey),
            Some(Key { state: KeyState::Disabled, .. }) => Some(Refusal::SourceDisabled),
            Some(_) => None,
        }
    }

    fn intake(&self, write_key: &str, arrived: &Arrived) -> Intake {
        Intake { source: write_key.into(), request_ip: request_ip(arrived), received_at: arrived.at, detail: self.detail }
    }
}

/// Each user's events are a batch of their own: some may be stored and others refused. One refusal is told by its own status;
/// several are run together into words that no table knows, hence 500 (protocol.md 2.4).
fn import(body: &[u8], intake: &Intake) -> (Answer, Vec<super::book::Judged>) {
    let groups = match rudder_event::users(body) {
        Ok(groups) => groups,
        Err(refusal) => return (refusal.answer(), Vec::new()),
    };
    let mut events = Vec::new();
    let mut refusals = Vec::new();
    for group in groups {
        match rudder_event::batch(group.as_bytes(), intake) {
            Ok(taken) => events.extend(taken),
            Err(refusal) => refusals.push(refusal),
        }
    }
    let answer = match refusals.as_slice() {
        [] => ok(),
        [only] => only.answer(),
        several => error(StatusCode::INTERNAL_SERVER_ERROR, &several.iter().map(|refusal| refusal.words()).collect::<String>()),
    };
    (answer, events)
}

fn settled(taken: Result<Vec<super::book::Judged>, Refusal>) -> (Answer, Vec<super::book::Judged>) {
    match taken {
        Ok(events) => (ok(), events),
        Err(refusal) => (refusal.answer(), Vec::new()),
    }
}

/// Inflated when the header is exactly `gzip`; a broken stream is a body that cannot be read.
fn gunzipped(arrived: &Arrived) -> Result<Bytes, Refusal> {
    if arrived.header(&header::CONTENT_ENCODING) == Some("gzip") {
        encoding::gunzip(&arrived.body).map_err(|_| Refusal::BodyReadFailed)
    } else {
        Ok(arrived.body.clone())
    }
}

/// The user of Basic auth as Go's `BasicAuth` reads it: strict base64, and a colon there must be.
fn basic_user(arrived: &Arrived) -> Option<String> {
    let (scheme, credentials) = arrived.header(&header::AUTHORIZATION)?.split_at_checked("Basic ".len())?;
    if !scheme.eq_ignore_ascii_case("Basic ") {
        return None;
    }
    let decoded = STANDARD.decode(credentials).ok()?;
    String::from_utf8_lossy(&decoded).split_once(':').map(|(user, _)| user.to_owned())
}

/// The first entry of X-Forwarded-For without its spaces, else the peer.
fn request_ip(arrived: &Arrived) -> String {
    let forwarded = arrived.header(&X_FORWARDED_FOR).and_then(|list| list.split(',').next()).filter(|first| !first.is_empty());
    match (forwarded, arrived.peer) {
        (Some(first), _) => first.replace(' ', ""),
        (None, std::net::IpAddr::V6(peer)) => format!("[{peer}]"),
        (None, peer) => peer.to_string(),
    }
}

fn wrong_method(route: Route) -> Answer {
    let mut answer = Answer::new(StatusCode::METHOD_NOT_ALLOWED, "");
    for method in route.methods() {
        if let Ok(method) = HeaderValue::from_str(method.as_str()) {
            answer.headers.append(header::ALLOW, method);
        }
    }
    answer
}

fn json(body: &'static str) -> Answer {
    Answer::typed(StatusCode::OK, "application/json; charset=utf-8", body)
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// What a healthy gateway says (protocol.md 2.6).
const HEALTH: &str = r#"{"appType":"EMBEDDED","server":"UP","db":"UP","acceptingEvents":"TRUE","routingEvents":"TRUE","mode":"NORMAL","backendConfigMode":"JSON","lastSync":"","lastRegulationSync":""}"#;
