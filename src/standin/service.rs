//! One request on a stand-in's connection: read, judge, strike with a fault or answer, write down.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;

use crate::clock::Clock;

use super::{
    DropCode, Fault, Faults, RuleId, TakenRequest,
    book::{Book, Judged},
    broken::{AnswerBody, Cut, cut, whole},
    control,
    exchange::{Answer, Arrived, Record, Reply},
    fault::Marks,
    rudder_answer,
    rudderstack::Gateway,
    segment::{self, Tracking},
    webhook::Emitter,
    wire::Fate,
};

/// Who is played.
#[derive(Debug)]
pub(super) enum Role {
    Segment(Tracking),
    RudderStack(Gateway),
}

impl Role {
    fn reply(&self, arrived: &Arrived) -> Reply {
        match self {
            Self::Segment(tracking) => tracking.reply(arrived),
            Self::RudderStack(gateway) => gateway.reply(arrived),
        }
    }

    /// How the vendor words that status; `arrived` for the CORS headers.
    fn refusal(&self, status: StatusCode, arrived: &Arrived) -> Answer {
        match self {
            Self::Segment(_) => segment::refusal(status, arrived),
            Self::RudderStack(_) => rudder_answer::refusal(status, arrived),
        }
    }
}

/// What all connections of a stand-in share.
#[derive(Debug)]
pub(super) struct Stage {
    pub role: Role,
    pub book: Book,
    pub faults: Faults,
    pub emitter: Emitter,
    pub clock: Clock,
    /// Held from the look at the rate to the entry in the book, so that the limit is exact.
    pub admission: Mutex<()>,
}

/// The connection a request came on.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    pub id: u64,
    pub peer: IpAddr,
    pub fate: Fate,
}

/// No answer is given; hyper ends the connection (over h2, the stream).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("left without an answer")]
pub(super) struct Unanswered;

impl Stage {
    /// Answers one request.
    pub async fn serve(&self, connection: Connection, request: Request<Incoming>) -> Result<Response<AnswerBody>, Unanswered> {
        let arrived = self.read(&connection, request).await?;
        if arrived.path.starts_with(control::PREFIX) {
            return Ok(whole(control::answer(&arrived, &self.book, &self.faults, &self.emitter)));
        }
        let reply = self.role.reply(&arrived);
        if reply.record == Record::Passed {
            return Ok(whole(reply.answer));
        }
        let (answer, fault) = self.settle(&connection, &arrived, reply);
        match fault {
            None => Ok(whole(answer)),
            Some((id, fault)) => self.suffer(id, &fault, answer, &connection).await,
        }
    }

    async fn read(&self, connection: &Connection, request: Request<Incoming>) -> Result<Arrived, Unanswered> {
        let (head, body) = request.into_parts();
        let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(|_| Unanswered)?.to_bytes();
        Ok(Arrived {
            method: head.method,
            path: head.uri.path().to_owned(),
            query: head.uri.query().map(ToOwned::to_owned),
            headers: head.headers,
            body,
            peer: connection.peer,
            at: self.clock.now(),
        })
    }

    /// Decides what becomes of the reply and writes it down.
    fn settle(&self, connection: &Connection, arrived: &Arrived, reply: Reply) -> (Answer, Option<(RuleId, Fault)>) {
        let Reply { answer, write_key, events, dropped, .. } = reply;
        let _admission = self.admission.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = self.faults.events_per_second_max();
        let fault = if limit.is_some_and(|max| !events.is_empty() && self.book.would_exceed(events.len(), max)) {
            Some((RuleId(0), Fault::status(StatusCode::TOO_MANY_REQUESTS.as_u16())))
        } else {
            self.faults.strike(&marks(arrived, write_key.as_deref(), &events))
        };
        let Some((id, fault)) = fault else {
            self.enter(connection, arrived, Some(answer.status), dropped, events);
            return (answer, None);
        };
        match fault {
            Fault::Status { status, ref retry_after, ref body } => {
                let answer = self.status(status, retry_after.as_deref(), body.as_deref(), arrived);
                self.enter(connection, arrived, Some(answer.status), None, Vec::new());
                (answer, None)
            }
            Fault::Redirect { status, ref location } => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::FOUND);
                self.enter(connection, arrived, Some(status), None, Vec::new());
                (Answer::new(status, "").with(header::LOCATION, location), None)
            }
            Fault::Hang | Fault::Close | Fault::Reset => {
                self.enter(connection, arrived, None, None, Vec::new());
                (answer, Some((id, fault)))
            }
            Fault::TakeThenHang | Fault::TakeThenClose => {
                self.enter(connection, arrived, None, dropped, events);
                (answer, Some((id, fault)))
            }
            Fault::Slow { .. } | Fault::CloseAfterHeaders | Fault::CutBody | Fault::WrongLength => {
                self.enter(connection, arrived, Some(answer.status), dropped, events);
                (answer, Some((id, fault)))
            }
        }
    }

    fn status(&self, status: u16, retry_after: Option<&str>, body: Option<&str>, arrived: &Arrived) -> Answer {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut answer = self.role.refusal(status, arrived);
        if let Some(body) = body {
            answer.body = Bytes::copy_from_slice(body.as_bytes());
        }
        match retry_after {
            Some(value) => answer.with(header::RETRY_AFTER, value),
            None => answer,
        }
    }

    async fn suffer(&self, id: RuleId, fault: &Fault, answer: Answer, connection: &Connection) -> Result<Response<AnswerBody>, Unanswered> {
        let fate = connection.fate.clone();
        match fault {
            Fault::Slow { delay_ms } => {
                tokio::time::sleep(Duration::from_millis(*delay_ms)).await;
                Ok(whole(answer))
            }
            Fault::CloseAfterHeaders => Ok(cut(answer, Cut::at(0), fate)),
            Fault::CutBody => {
                let half = answer.body.len() / 2;
                Ok(cut(answer, Cut::at(half), fate))
            }
            Fault::WrongLength => Ok(cut(answer, Cut::Stretched, fate)),
            Fault::Hang | Fault::TakeThenHang => {
                tokio::select! {
                    () = fate.ended() => {}
                    () = self.faults.lifted(id) => fate.close(),
                }
                Err(Unanswered)
            }
            Fault::Reset => {
                fate.reset();
                Err(Unanswered)
            }
            Fault::Close | Fault::TakeThenClose | Fault::Status { .. } | Fault::Redirect { .. } => {
                fate.close();
                Err(Unanswered)
            }
        }
    }

    fn enter(
        &self,
        connection: &Connection,
        arrived: &Arrived,
        status: Option<StatusCode>,
        dropped: Option<DropCode>,
        events: Vec<Judged>,
    ) {
        let query = arrived.query.as_ref().map_or_else(String::new, |query| format!("?{query}"));
        let request = TakenRequest {
            id: 0,
            connection: connection.id,
            at: arrived.at,
            method: arrived.method.to_string(),
            path: format!("{}{query}", arrived.path),
            headers: of_interest(&arrived.headers),
            header_names: arrived.headers.iter().map(|(name, _)| name.as_str().to_owned()).collect(),
            body_bytes: arrived.body.len(),
            events: 0,
            status: status.map(|status| status.as_u16()),
            dropped,
        };
        let events = self.book.enter(request, events, self.emitter.is_on());
        for event in events {
            self.emitter.emit(&event);
        }
    }
}

fn marks<'a>(arrived: &'a Arrived, write_key: Option<&'a str>, events: &'a [Judged]) -> Marks<'a> {
    Marks {
        write_key,
        path: &arrived.path,
        names: events.iter().filter_map(|event| event.name.as_deref()).collect(),
        message_ids: events.iter().map(|event| event.message_id.as_str()).collect(),
    }
}

fn of_interest(headers: &HeaderMap) -> BTreeMap<&'static str, String> {
    HEADERS_OF_INTEREST
        .into_iter()
        .filter_map(|name| Some((name, String::from_utf8_lossy(headers.get(name)?.as_bytes()).into_owned())))
        .collect()
}

/// The headers that [`TakenRequest::headers`] keeps.
const HEADERS_OF_INTEREST: [&str; 9] = [
    "authorization",
    "user-agent",
    "content-type",
    "content-encoding",
    "x-retry-count",
    "anonymousid",
    "x-forwarded-for",
    "origin",
    "host",
];
/// Above it the connection is closed without a word.
const BODY_BYTES_MAX: usize = 64 << 20;
