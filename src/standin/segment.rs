//! Segment's tracking API, settings and CDN, as protocol.md 1.2 to 1.9 describes them: who is answered what.
//!
//! Where the real answer is not known (protocol.md 9) the choice is said at its place.

use std::{borrow::Cow, collections::HashMap};

use base64::{
    Engine,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use http::{HeaderName, Method, StatusCode, header};
use serde_json::{Map, Value};

use crate::model::json::{Kind, Raw, parse};

use super::{
    DropCode, KeyState, Options, encoding,
    exchange::{Answer, Arrived, Detail, Record, Reply},
    query,
    segment_event::{self, Frame, Side},
    settings_json,
};

/// Segment, one region of it.
#[derive(Debug)]
pub(super) struct Tracking {
    keys: HashMap<String, KeyState>,
    api_host: String,
    detail: Detail,
}

/// What a path is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route<'a> {
    /// `/v1/track`, `/v1/t` and so on: one event of that type.
    Single(&'static str, Side),
    /// `/v1/batch`, `/v1/import` (servers), `/v1/b` (clients).
    Batch(Side),
    /// `/v1/m`: the SDKs' own metrics.
    Metrics,
    /// `/v1/pixel/<type>`.
    Pixel(&'static str),
    /// `/v1/projects/<key>/settings`.
    Settings(&'a str),
    /// `analytics.min.js` of a source.
    Script(&'a str),
    /// A chunk of the SDK or of a destination.
    Chunk,
}

impl Tracking {
    pub fn new(options: &Options) -> Self {
        Self {
            keys: options.keys.iter().map(|key| (key.write_key.clone(), key.state)).collect(),
            detail: Detail::of(options),
            api_host: options.api_host.clone().unwrap_or_else(|| options.region.api_host().to_owned()),
        }
    }

    /// What Segment does with a request.
    pub fn reply(&self, arrived: &Arrived) -> Reply {
        if arrived.method == Method::OPTIONS {
            return Reply { record: Record::Passed, ..Reply::only(preflight(arrived)) };
        }
        let mut reply = match (&arrived.method, route(&arrived.path)) {
            (&Method::POST, Some(Route::Single(kind, side))) => self.single(arrived, kind, side),
            (&Method::POST, Some(Route::Batch(side))) => self.batch(arrived, side),
            (&Method::POST, Some(Route::Metrics)) => Reply::only(success()),
            (&Method::GET, Some(Route::Pixel(kind))) => self.pixel(arrived, kind),
            (&Method::GET, Some(Route::Settings(key))) => self.settings(key),
            (&Method::GET, Some(Route::Script(key))) => self.script(key, &arrived.path),
            (&Method::GET, Some(Route::Chunk)) => Reply::only(javascript(&arrived.path)),
            // Not known of the real one: the status and body for wrong paths and methods.
            (_, Some(_)) => Reply::only(failure(StatusCode::METHOD_NOT_ALLOWED, "method not allowed", "method_not_allowed")),
            (_, None) => Reply::only(failure(StatusCode::NOT_FOUND, "not found", "not_found")),
        };
        reply.answer = with_cors(reply.answer, arrived);
        reply
    }

    fn single(&self, arrived: &Arrived, kind: &'static str, side: Side) -> Reply {
        let Ok(body) = inflate(arrived) else { return Reply::only(malformed()) };
        if body.len() > EVENT_BYTES_MAX {
            return Reply::only(too_large());
        }
        let Some(event) = object(&body) else { return Reply::only(malformed()) };
        let Some(write_key) = write_key(arrived, event) else { return Reply::only(keyless()) };
        let frame = Frame::single(kind, side, arrived, self.source(&write_key), &write_key).detailed(self.detail);
        let events = vec![segment_event::judge(event, &frame)];
        Reply { answer: success(), write_key: Some(write_key), events, dropped: None, record: Record::Kept }
    }

    fn batch(&self, arrived: &Arrived, side: Side) -> Reply {
        let Ok(body) = inflate(arrived) else { return Reply::only(malformed()) };
        if body.len() > BATCH_BYTES_MAX {
            return Reply::only(too_large());
        }
        let Some(batch) = object(&body) else { return Reply::only(malformed()) };
        let Some(write_key) = write_key(arrived, batch) else { return Reply::only(keyless()) };
        let items: Vec<Raw<'_>> = batch.get("batch").into_iter().flat_map(Raw::items).collect();
        let mut frame = Frame::batch(batch, side, arrived, self.source(&write_key), &write_key).detailed(self.detail);
        if items.len() > BATCH_EVENTS_MAX {
            frame.all = Some(DropCode::BatchTooLong);
        }
        let events = items.iter().map(|item| segment_event::judge(*item, &frame)).collect();
        let dropped = items.is_empty().then_some(DropCode::EmptyBatch);
        Reply { answer: success(), write_key: Some(write_key), events, dropped, record: Record::Kept }
    }

    /// Always the picture, whatever becomes of the event.
    fn pixel(&self, arrived: &Arrived, kind: &'static str) -> Reply {
        let reply = Reply::only(Answer::typed(StatusCode::OK, "image/gif", GIF));
        let Some(text) = pixel_event(arrived) else { return reply };
        let Some(event) = object(text.as_bytes()) else { return reply };
        let Some(write_key) = write_key(arrived, event) else { return reply };
        let frame = Frame::single(kind, Side::Client, arrived, self.source(&write_key), &write_key).detailed(self.detail);
        let events = vec![segment_event::judge(event, &frame)];
        Reply { write_key: Some(write_key), events, ..reply }
    }

    fn settings(&self, write_key: &str) -> Reply {
        let answer = if self.keys.contains_key(write_key) {
            let body = settings_json::settings(write_key, &self.api_host).to_string();
            Answer::typed(StatusCode::OK, "application/json", body).with(header::CACHE_CONTROL, "public, max-age=120")
        } else {
            failure(StatusCode::NOT_FOUND, "Cannot GET settings of an unknown source", "not_found")
        };
        Reply { write_key: Some(write_key.to_owned()), ..Reply::only(answer) }
    }

    fn script(&self, write_key: &str, path: &str) -> Reply {
        let answer =
            if self.keys.contains_key(write_key) { javascript(path) } else { failure(StatusCode::NOT_FOUND, "not found", "not_found") };
        Reply { write_key: Some(write_key.to_owned()), ..Reply::only(answer) }
    }

    /// Why every event under that key is dropped, if it is.
    fn source(&self, write_key: &str) -> Option<DropCode> {
        match self.keys.get(write_key) {
            Some(KeyState::Enabled) => None,
            Some(KeyState::Disabled) => Some(DropCode::SourceDisabled),
            None => Some(DropCode::UnknownSource),
        }
    }
}

/// How Segment words that status.
pub(super) fn refusal(status: StatusCode, arrived: &Arrived) -> Answer {
    let answer = if status.is_success() {
        Answer { status, ..success() }
    } else if status == StatusCode::BAD_REQUEST {
        malformed()
    } else {
        let reason = status.canonical_reason().unwrap_or("failed").to_lowercase();
        failure(status, &reason, &reason.replace(' ', "_"))
    };
    let answer =
        if status == StatusCode::TOO_MANY_REQUESTS { answer.with(header::RETRY_AFTER, "1").with(X_RATELIMIT_RESET, "1") } else { answer };
    with_cors(answer, arrived)
}

fn route(path: &str) -> Option<Route<'_>> {
    let path = path.strip_suffix('/').unwrap_or(path);
    if let Some(rest) = path.strip_prefix("/v1/") {
        if let Some((_, kind)) = SHORT.iter().find(|(short, _)| *short == rest) {
            return Some(Route::Single(kind, Side::Client));
        }
        if let Some(kind) = segment_event::kind(rest) {
            return Some(Route::Single(kind, Side::Server));
        }
        if let Some(kind) = rest.strip_prefix("pixel/").and_then(segment_event::kind) {
            return Some(Route::Pixel(kind));
        }
        if let Some(key) = rest.strip_prefix("projects/").and_then(|rest| rest.strip_suffix("/settings")) {
            return Some(Route::Settings(key));
        }
        return match rest {
            "batch" | "import" => Some(Route::Batch(Side::Server)),
            "b" => Some(Route::Batch(Side::Client)),
            "m" => Some(Route::Metrics),
            _ => None,
        };
    }
    if let Some((key, _)) = path.strip_prefix("/analytics.js/v1/").and_then(|rest| rest.split_once('/')) {
        return Some(Route::Script(key));
    }
    (path.starts_with("/analytics-next/bundles/") || path.starts_with("/next-integrations/")).then_some(Route::Chunk)
}

/// The body inflated; anything that is not gzip is taken as it is and will hardly be JSON.
fn inflate(arrived: &Arrived) -> Result<Bytes, encoding::Broken> {
    match arrived.header(&header::CONTENT_ENCODING) {
        Some(coding) if coding.trim().eq_ignore_ascii_case("gzip") => encoding::gunzip(&arrived.body),
        _ => Ok(arrived.body.clone()),
    }
}

fn object(body: &[u8]) -> Option<Raw<'_>> {
    parse(body).ok().filter(|raw| raw.kind() == Kind::Object)
}

/// The write key: of the body, else of Basic auth, else of the batch's first event, else of the query (protocol.md 1.3). None
/// when there is none or it is empty.
fn write_key(arrived: &Arrived, body: Raw<'_>) -> Option<String> {
    let of = |raw: Raw<'_>| raw.get("writeKey").and_then(Raw::string).map(Cow::into_owned);
    let first = body.get("batch").and_then(|batch| batch.items().next());
    let candidates = [of(body), basic_user(arrived), first.and_then(of), arrived.parameter("writeKey")];
    candidates.into_iter().flatten().find(|key| !key.is_empty())
}

/// The user of Basic auth, with a colon behind it or without.
fn basic_user(arrived: &Arrived) -> Option<String> {
    let (scheme, credentials) = arrived.header(&header::AUTHORIZATION)?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = lenient(&STANDARD).decode(credentials.trim()).ok()?;
    let text = String::from_utf8_lossy(&decoded).into_owned();
    Some(text.split_once(':').map_or(text.clone(), |(user, _)| user.to_owned()))
}

/// The event of a pixel: `data` in base64 (either alphabet), or the flat query.
fn pixel_event(arrived: &Arrived) -> Option<String> {
    if let Some(data) = arrived.parameter("data") {
        // A plus sign that was not escaped has become a space.
        let data = data.trim().replace(' ', "+");
        let decoded = lenient(&STANDARD).decode(&data).or_else(|_| lenient(&URL_SAFE).decode(&data)).ok()?;
        return String::from_utf8(decoded).ok();
    }
    let mut event = Map::new();
    for (path, value) in query::pairs(arrived.query.as_deref()?) {
        query::set_path(&mut event, &path, Value::from(value));
    }
    Some(Value::Object(event).to_string())
}

fn lenient(alphabet: &base64::alphabet::Alphabet) -> GeneralPurpose {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(alphabet, config)
}

fn success() -> Answer {
    Answer::typed(StatusCode::OK, JSON, r#"{"success":true}"#)
}

fn failure(status: StatusCode, message: &str, code: &str) -> Answer {
    let body = format!(r#"{{"success":false,"message":{},"code":{}}}"#, Value::from(message), Value::from(code));
    Answer::typed(status, JSON, body)
}

fn malformed() -> Answer {
    failure(StatusCode::BAD_REQUEST, "malformed JSON", "invalid_request")
}

fn too_large() -> Answer {
    failure(StatusCode::BAD_REQUEST, "Exceed payload limit", "invalid_request")
}

/// The status is known (protocol.md 1.3), the words are not.
fn keyless() -> Answer {
    failure(StatusCode::BAD_REQUEST, "missing write key", "invalid_request")
}

fn javascript(path: &str) -> Answer {
    Answer::typed(StatusCode::OK, "application/javascript; charset=utf-8", settings_json::script(path))
}

fn preflight(arrived: &Arrived) -> Answer {
    let asked = arrived.header(&header::ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or(PREFLIGHT_HEADERS);
    let answer = Answer::new(StatusCode::OK, "")
        .with(header::ACCESS_CONTROL_ALLOW_METHODS, "POST, GET, OPTIONS")
        .with(header::ACCESS_CONTROL_ALLOW_HEADERS, asked)
        .with(header::ACCESS_CONTROL_MAX_AGE, "7200");
    with_cors(answer, arrived)
}

fn with_cors(answer: Answer, arrived: &Arrived) -> Answer {
    let Some(origin) = arrived.header(&header::ORIGIN) else { return answer };
    answer
        .with(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin)
        .with(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true")
        .with(header::ACCESS_CONTROL_EXPOSE_HEADERS, "Retry-After, X-RateLimit-Reset")
        .with(header::VARY, "Origin")
}

/// The short paths of analytics.js (protocol.md 1.2).
const SHORT: [(&str, &str); 6] = [("t", "track"), ("i", "identify"), ("p", "page"), ("g", "group"), ("a", "alias"), ("s", "screen")];
const JSON: &str = "application/json";
const X_RATELIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
const PREFLIGHT_HEADERS: &str = "authorization, content-type, x-retry-count, x-requested-with";
/// 32 KB for one event (protocol.md 1.5).
pub(super) const EVENT_BYTES_MAX: usize = 32 * 1024;
/// 500 KB for a batch (protocol.md 1.5).
const BATCH_BYTES_MAX: usize = 500 * 1024;
/// 2500 events a batch (protocol.md 1.5).
const BATCH_EVENTS_MAX: usize = 2500;
/// One transparent pixel.
pub(super) const GIF: &[u8] =
    b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\0\0\0\x21\xf9\x04\x01\0\0\0\0\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0\x3b";

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use http::HeaderMap;
    use proptest::prelude::*;

    use crate::model::WallTime;

    use super::{super::Key, *};

    fn arrived(method: Method, path: &str, query: Option<String>, body: Bytes) -> Arrived {
        let (peer, at) = (Ipv4Addr::LOCALHOST.into(), WallTime::from_millis(0));
        Arrived { method, path: path.to_owned(), query, headers: HeaderMap::new(), body, peer, at }
    }

    proptest! {
        #[test]
        fn any_request_gets_an_answer_and_hands_on_json(text in ".{0,40}", number in any::<f64>(), path in "/v1/[a-z/]{1,12}") {
            let tracking = Tracking::new(&Options { keys: vec![Key::enabled("wk_test_a")], ..Options::default() });
            let quoted = Value::from(text.as_str());
            let item = format!(r#"{{"type":"track","event":"E","userId":{quoted},"timestamp":{quoted},"context":{{"n":{number},{quoted}:{{}}}}}}"#);
            let batch = format!(r#"{{"writeKey":"wk_test_a","context":{{{quoted}:{{"x":1}}}},"batch":[{item},{number}]}}"#);
            for path in [path.as_str(), "/v1/batch", "/v1/b", "/v1/t"] {
                for body in [text.clone(), item.clone(), batch.clone()] {
                    let reply = tracking.reply(&arrived(Method::POST, path, None, body.into()));
                    for event in reply.events.iter().filter_map(|event| event.handed_on.as_ref()) {
                        prop_assert!(parse(event.as_bytes()).is_ok(), "{event}");
                    }
                }
            }
            for query in [text.clone(), format!("data={text}"), format!("writeKey=wk_test_a&{text}")] {
                let reply = tracking.reply(&arrived(Method::GET, "/v1/pixel/track", Some(query), Bytes::new()));
                prop_assert_eq!(reply.answer.status, StatusCode::OK);
            }
        }
    }
}
