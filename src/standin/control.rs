//! The stand-in's own paths, for tests in other processes. They answer whatever faults stand.
//!
//! | request | answer |
//! |---|---|
//! | `POST /__standin/faults`, a [`Rule`] as JSON | `{"id":1}` |
//! | `GET /__standin/faults` | the rules that stand, with how often each has struck |
//! | `DELETE /__standin/faults`, `DELETE /__standin/faults/1` | lifts all, or one |
//! | `PUT /__standin/rate?events_per_second=100` | limits the rate; without the parameter lifts the limit |
//! | `GET /__standin/counts` | the [`Counts`](super::Counts) |
//! | `GET /__standin/taken?since=N` | the events after sequence N, a JSON object a line |
//! | `GET /__standin/requests?since=N` | the requests after number N, a JSON object a line |
//! | `DELETE /__standin/taken` | starts a new book |
//! | `POST /__standin/alterations`, an [`Alteration`] as JSON | `{"id":1}`: changes what is passed on to webhooks |
//! | `GET /__standin/alterations` | all of them, with the events that each has changed |
//! | `DELETE /__standin/alterations` | lifts all |
//! | `GET /__standin/emitted` | how webhooks fared: the [`EmittedCounts`](super::EmittedCounts) |

use bytes::Bytes;
use http::{Method, StatusCode};
use serde::Serialize;

use super::{
    Alteration, Faults, Rule, RuleId,
    book::Book,
    exchange::{Answer, Arrived},
    webhook::Emitter,
};

/// Where these paths begin; no vendor has such a path.
pub(super) const PREFIX: &str = "/__standin/";

pub(super) fn answer(arrived: &Arrived, book: &Book, faults: &Faults, emitter: &Emitter) -> Answer {
    let since = arrived.parameter("since").and_then(|text| text.parse().ok()).unwrap_or(0);
    match (&arrived.method, arrived.path.strip_prefix(PREFIX).unwrap_or_default()) {
        (&Method::POST, "faults") => match serde_json::from_slice::<Rule>(&arrived.body) {
            Ok(rule) => json(format!("{{\"id\":{}}}", faults.add(rule).0)),
            Err(problem) => text(StatusCode::BAD_REQUEST, problem.to_string()),
        },
        (&Method::GET, "faults") => json(faults.to_json()),
        (&Method::DELETE, "faults") => {
            faults.clear();
            json("{}")
        }
        (&Method::PUT, "rate") => {
            faults.limit_events_per_second(arrived.parameter("events_per_second").and_then(|text| text.parse().ok()));
            json("{}")
        }
        (&Method::GET, "counts") => json(serde_json::to_vec(&book.counts()).unwrap_or_default()),
        (&Method::GET, "taken") => lines(&book.events_since(since)),
        (&Method::GET, "requests") => lines(&book.requests_since(since)),
        (&Method::POST, "alterations") => match serde_json::from_slice::<Alteration>(&arrived.body) {
            Ok(alteration) => json(format!("{{\"id\":{}}}", emitter.alterations().add(alteration).0)),
            Err(problem) => text(StatusCode::BAD_REQUEST, problem.to_string()),
        },
        (&Method::GET, "alterations") => json(emitter.alterations().to_json()),
        (&Method::DELETE, "alterations") => {
            emitter.alterations().lift_all();
            json("{}")
        }
        (&Method::GET, "emitted") => json(serde_json::to_vec(&emitter.counts()).unwrap_or_default()),
        (&Method::DELETE, "taken") => {
            book.forget();
            json("{}")
        }
        (&Method::DELETE, path) => match path.strip_prefix("faults/").and_then(|id| id.parse().ok()) {
            Some(id) => {
                faults.lift(RuleId(id));
                json("{}")
            }
            None => text(StatusCode::NOT_FOUND, "no such path".to_owned()),
        },
        _ => text(StatusCode::NOT_FOUND, "no such path".to_owned()),
    }
}

fn json(body: impl Into<Bytes>) -> Answer {
    Answer::typed(StatusCode::OK, "application/json", body)
}

fn text(status: StatusCode, body: String) -> Answer {
    Answer::typed(status, "text/plain; charset=utf-8", body)
}

fn lines(records: &[impl Serialize]) -> Answer {
    let mut out = Vec::new();
    for record in records {
        // Plain data with text keys: there is nothing in it that JSON cannot hold.
        if serde_json::to_writer(&mut out, record).is_ok() {
            out.push(b'\n');
        }
    }
    Answer::typed(StatusCode::OK, "application/x-ndjson", out)
}
