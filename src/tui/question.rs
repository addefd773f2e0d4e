//! What the dashboard asks of the sidecar, and where.

use serde_json::{Value, json};

use crate::wire::{LimitAsked, QuarantinePick, RampAsked, ReplayAsked, RouteAsked};

/// One question. Its answer comes back with it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Question {
    /// Who am I?
    Me,
    /// All routes.
    Routes,
    /// The newest changes.
    History,
    /// All limits.
    Limits,
    /// All replays.
    Replays,
    /// The oldest entries of the quarantine.
    Quarantine,
    /// One entry of it, with its event.
    Entry(u64),
    /// What came and went over a window, of one source or of all.
    Series { window: &'static str, source: Option<String> },
    /// The last minute of each source.
    Sparks,
    /// Apps and their versions.
    Versions,
    /// Where the two sides differ in what they are sent.
    Diffs,
    /// How far both sides agree, by what that rests on.
    Evidence,
    /// Where what both vendors emitted differs.
    Findings,
    /// What each side got of one event.
    Event { message_id: String, source: Option<String>, reveal: bool },
    /// What a change would do: of the dialog with that number.
    Plan(u64, Change),
    /// A change, to be made.
    Make(u64, Change),
    /// What one side alone got of a source.
    Missed(u64, Box<ReplayAsked>),
}

/// A change, as it is asked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    Route { source: String, asked: RouteAsked },
    Undo { source: Option<String>, to_revision: Option<u64>, reason: Option<String> },
    Kill { on: bool, reason: Option<String> },
    Hold { source: String, destination: String, on: bool, reason: Option<String> },
    Unpark { source: String, destination: String },
    Limit(LimitAsked),
    Replay(Box<ReplayAsked>),
    ReplayStep { id: u64, step: &'static str, reason: Option<String> },
    Redrive(QuarantinePick),
    Ramp(Box<RampAsked>),
    RampStep { source: String, step: &'static str, reason: Option<String> },
}

/// How it is asked.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Request {
    pub(super) path: String,
    pub(super) verb: Verb,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verb {
    Get,
    Post(Value),
}

impl Question {
    /// What it is about, for whoever has no answer.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Me => "me",
            Self::Routes => "routes",
            Self::History => "history",
            Self::Limits => "limits",
            Self::Replays => "replays",
            Self::Quarantine => "quarantine",
            Self::Entry(_) => "entry",
            Self::Series { .. } => "series",
            Self::Sparks => "sparks",
            Self::Versions => "versions",
            Self::Diffs => "diffs",
            Self::Evidence => "evidence",
            Self::Findings => "findings",
            Self::Event { .. } => "event",
            Self::Plan(..) => "plan",
            Self::Make(..) => "change",
            Self::Missed(..) => "missed",
        }
    }

    pub(super) fn request(&self) -> Request {
        let get = |path: &str| Request { path: path.to_owned(), verb: Verb::Get };
        match self {
            Self::Me => get("/v1/me"),
            Self::Routes => get("/v1/routes"),
            Self::History => get("/v1/routes/history?count=200"),
            Self::Limits => get("/v1/limits"),
            Self::Replays => get("/v1/replays"),
            Self::Quarantine => get("/v1/quarantine?limit=100"),
            Self::Entry(id) => get(&format!("/v1/quarantine/{id}")),
            Self::Series { window, source: None } => get(&format!("/v1/series?window={window}")),
            Self::Series { window, source: Some(source) } => get(&format!("/v1/series?window={window}&source={}", in_query(source))),
            Self::Sparks => get("/v1/series?window=1m&each=true"),
            Self::Versions => get("/v1/versions"),
            Self::Diffs => get("/v1/diffs"),
            Self::Evidence => get("/v1/evidence"),
            Self::Findings => get("/v1/findings"),
            Self::Event { message_id, source, reveal } => {
                let source = source.as_deref().map(|source| format!("&source={}", in_query(source))).unwrap_or_default();
                get(&format!("/v1/events/{}?reveal={reveal}{source}", in_path(message_id)))
            }
            Self::Plan(_, change) => change.request(true),
            Self::Make(_, change) => change.request(false),
            Self::Missed(_, asked) => Request { path: "/v1/replays/plan".to_owned(), verb: Verb::Post(json!(asked)) },
        }
    }
}

impl Change {
    /// The same, whatever the reason: its plan does not depend on it.
    pub(super) fn without_reason(mut self) -> Self {
        match &mut self {
            Self::Route { asked, .. } => asked.reason = None,
            Self::Undo { reason, .. }
            | Self::Kill { reason, .. }
            | Self::Hold { reason, .. }
            | Self::ReplayStep { reason, .. }
            | Self::RampStep { reason, .. } => {
                *reason = None;
            }
            Self::Limit(asked) => asked.reason = None,
            Self::Replay(asked) => asked.reason = None,
            Self::Ramp(asked) => asked.reason = None,
            Self::Unpark { .. } | Self::Redrive(_) => {}
        }
        self
    }

    fn request(&self, dry_run: bool) -> Request {
        let post = |path: String, mut body: Value| {
            body["dry_run"] = Value::from(dry_run);
            Request { path, verb: Verb::Post(body) }
        };
        let reasoned = |reason: &Option<String>| reason.as_ref().map_or_else(|| json!({}), |reason| json!({ "reason": reason }));
        match self {
            Self::Route { source, asked } => post(format!("/v1/sources/{}/route", in_path(source)), json!(asked)),
            Self::Undo { source, to_revision, reason } => {
                let mut body = reasoned(reason);
                if let Some(source) = source {
                    body["source"] = json!(source);
                }
                if let Some(revision) = to_revision {
                    body["to_revision"] = json!(revision);
                }
                post("/v1/routes/undo".to_owned(), body)
            }
            Self::Kill { on, reason } => post(format!("/v1/kill/{}", if *on { "on" } else { "off" }), reasoned(reason)),
            Self::Hold { source, destination, on, reason } => {
                let verb = if *on { "hold" } else { "release" };
                post(format!("/v1/lanes/{}/{destination}/{verb}", in_path(source)), reasoned(reason))
            }
            Self::Unpark { source, destination } => post(format!("/v1/lanes/{}/{destination}/unpark", in_path(source)), json!({})),
            Self::Limit(asked) => post("/v1/limits".to_owned(), json!(asked)),
            // A replay has a plan of its own path, which says more.
            Self::Replay(asked) if dry_run => Request { path: "/v1/replays/plan".to_owned(), verb: Verb::Post(json!(asked)) },
            Self::Replay(asked) => post("/v1/replays".to_owned(), json!(asked)),
            Self::ReplayStep { id, step, reason } => post(format!("/v1/replays/{id}/{step}"), reasoned(reason)),
            Self::Ramp(asked) => post("/v1/ramps".to_owned(), json!(asked)),
            Self::RampStep { source, step, reason } => post(format!("/v1/ramps/{}/{step}", in_path(source)), reasoned(reason)),
            Self::Redrive(pick) => post("/v1/quarantine/redrive".to_owned(), json!(pick)),
        }
    }
}

/// The text as one part of a path.
fn in_path(text: &str) -> String {
    in_query(text).replace('+', "%20")
}

fn in_query(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_part_of_the_path_whatever_is_in_them() {
        let change = Change::Hold { source: "a/b c?".to_owned(), destination: "segment".to_owned(), on: true, reason: None };
        assert_eq!(change.request(false).path, "/v1/lanes/a%2Fb%20c%3F/segment/hold");
        let event = Question::Event { message_id: "../x".to_owned(), source: Some("a&b".to_owned()), reveal: false };
        assert_eq!(event.request().path, "/v1/events/..%2Fx?reveal=false&source=a%26b");
    }

    #[test]
    fn a_plan_is_a_dry_run_and_a_change_is_not() {
        let change = Change::Kill { on: true, reason: Some("why".to_owned()) };
        let body = |question: Question| match question.request().verb {
            Verb::Post(body) => body,
            Verb::Get => panic!("a question"),
        };
        assert_eq!(body(Question::Plan(1, change.clone())), json!({ "reason": "why", "dry_run": true }));
        assert_eq!(body(Question::Make(1, change)), json!({ "reason": "why", "dry_run": false }));
    }
}
