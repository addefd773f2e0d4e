//! What the dashboard knows: what the sidecar said last, and since when it says nothing.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use super::{
    feed::{Message, Refusal},
    question::Question,
    tapped::Tapped,
    track::Track,
};
use crate::{
    model::WallTime,
    wire::{
        DestinationStatus, Evidence, Figures, Findings, Lane, Limit, Limits, Me, Parity, QuarantineDetail, QuarantinePage, ReplayJob,
        Replays, RouteEvent, RouteHistory, Routes, SentDiffs, SentEvent, Series, Snapshot, SourceFigures, SourceRoute, Status, Versions,
    },
};

/// Everything that screens show. A frozen screen shows a copy.
#[derive(Debug, Clone, Default)]
pub(super) struct Data {
    pub(super) link: Link,
    /// How the sidecar is; None: it was never heard.
    pub(super) status: Option<Status>,
    pub(super) routes: Option<Routes>,
    lanes: BTreeMap<(String, String), Lane>,
    sources: HashMap<String, SourceFigures>,
    received: HashMap<String, Track>,
    delivered: HashMap<(String, String), Track>,
    /// All sources together.
    all: [Track; 3],
    pub(super) me: Option<Me>,
    pub(super) history: Vec<RouteEvent>,
    pub(super) limits: Vec<Limit>,
    pub(super) replays: Vec<ReplayJob>,
    pub(super) quarantine: Option<QuarantinePage>,
    pub(super) entry: Option<QuarantineDetail>,
    pub(super) series: Option<(Option<String>, Series)>,
    pub(super) versions: Option<Versions>,
    pub(super) diffs: Option<SentDiffs>,
    pub(super) evidence: Option<Evidence>,
    pub(super) findings: Option<Findings>,
    pub(super) event: Option<SentEvent>,
    pub(super) tapped: Tapped,
    /// What could not be looked at, by what it is, and why.
    pub(super) unanswered: HashMap<&'static str, Refusal>,
    /// Events of the stream that this viewer was too slow for.
    pub(super) missed: u64,
}

/// How the line to the sidecar is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Link {
    /// Not heard yet.
    #[default]
    Waiting,
    /// Heard at this moment of the dashboard's own clock.
    Live,
    /// Gone.
    Lost {
        /// Since when, by the dashboard's own clock.
        since: Duration,
        /// When it was heard last, by its own clock; None: never.
        last: Option<WallTime>,
        attempt: u32,
        /// When it is tried next.
        next: Duration,
        why: String,
    },
}

/// Which line of all three: what came, what went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Received,
    Segment,
    Rudder,
}

impl Data {
    /// Takes in what was heard, at that moment of the dashboard's own clock. Some: what has to be asked now.
    pub(super) fn hear(&mut self, message: Message, now: Duration) -> Vec<Question> {
        match message {
            Message::Trying { attempt } => {
                if let Link::Lost { attempt: tried, .. } = &mut self.link {
                    *tried = attempt;
                }
            }
            Message::Lost { why, pause } => self.lost(why, now, pause),
            Message::Missed(events) => self.missed += events,
            Message::Snapshot(snapshot) => {
                self.link = Link::Live;
                self.snapshot(*snapshot);
                return vec![Question::Me, Question::History, Question::Limits, Question::Sparks];
            }
            Message::Figures(figures) => {
                self.link = Link::Live;
                return self.figures(*figures);
            }
            Message::Change(change) => {
                if self.history.first().is_none_or(|newest| newest.revision < change.revision) {
                    self.history.insert(0, *change);
                }
                return vec![Question::Routes, Question::History, Question::Limits];
            }
            Message::NoTap(refusal) => _ = self.unanswered.insert("tap", refusal),
            Message::Tap(tap) => self.tapped.take(*tap),
            Message::Answer(question, answer) => self.answered(question, answer),
        }
        Vec::new()
    }

    fn lost(&mut self, why: String, now: Duration, pause: Duration) {
        let last = self.status.as_ref().and_then(|status| WallTime::parse(&status.at));
        let (since, attempt) = match &self.link {
            Link::Lost { since, attempt, .. } => (*since, *attempt),
            Link::Waiting | Link::Live => (now, 1),
        };
        self.link = Link::Lost { since, last, attempt, next: now + pause, why };
    }

    fn snapshot(&mut self, snapshot: Snapshot) {
        let Snapshot { status, routes, lanes, sources, .. } = snapshot;
        let at_ms = at_ms(&status);
        self.lanes = lanes.into_iter().map(|lane| ((lane.source.clone(), lane.destination.clone()), lane)).collect();
        self.sources = sources.into_iter().map(|source| (source.source.clone(), source)).collect();
        (self.status, self.routes) = (Some(status), Some(routes));
        self.note(at_ms);
    }

    fn figures(&mut self, figures: Figures) -> Vec<Question> {
        let at_ms = at_ms(&figures.status);
        self.lanes.extend(figures.lanes.into_iter().map(|lane| ((lane.source.clone(), lane.destination.clone()), lane)));
        self.sources.extend(figures.sources.into_iter().map(|source| (source.source.clone(), source)));
        let moved = self.routes.as_ref().is_none_or(|routes| routes.revision != figures.status.revision);
        self.status = Some(figures.status);
        self.note(at_ms);
        if moved { vec![Question::Routes, Question::History, Question::Limits] } else { Vec::new() }
    }

    /// Notes all totals.
    fn note(&mut self, at_ms: i64) {
        let mut all = [0; 3];
        for (source, figures) in &self.sources {
            self.received.entry(source.clone()).or_default().note(at_ms, figures.received);
            all[0] += figures.received;
        }
        for (id, lane) in &self.lanes {
            self.delivered.entry(id.clone()).or_default().note(at_ms, lane.ledger.delivered);
            all[if lane.destination == "segment" { 1 } else { 2 }] += lane.ledger.delivered;
        }
        for (track, total) in self.all.iter_mut().zip(all) {
            track.note(at_ms, total);
        }
    }

    fn answered(&mut self, question: Question, answer: Result<serde_json::Value, Refusal>) {
        let name = question.name();
        let kept = answer.and_then(|value| {
            self.keep(question, value).map_err(|error| Refusal {
                what: format!("the answer cannot be read: {error}"),
                fix: "Is the sidecar of this version?".to_owned(),
            })
        });
        match kept {
            Ok(()) => _ = self.unanswered.remove(name),
            Err(refusal) => _ = self.unanswered.insert(name, refusal),
        }
    }

    fn keep(&mut self, question: Question, value: serde_json::Value) -> Result<(), serde_json::Error> {
        use serde_json::from_value as read;
        match question {
            Question::Me => self.me = Some(read(value)?),
            Question::Routes => self.routes = Some(read(value)?),
            Question::History => self.history = read::<RouteHistory>(value)?.changes,
            Question::Limits => self.limits = read::<Limits>(value)?.limits,
            Question::Replays => self.replays = read::<Replays>(value)?.replays,
            Question::Quarantine => self.quarantine = Some(read(value)?),
            Question::Entry(_) => self.entry = Some(read(value)?),
            Question::Series { source, .. } => self.series = Some((source, read(value)?)),
            Question::Sparks => self.seed(&read(value)?),
            Question::Versions => self.versions = Some(read(value)?),
            Question::Diffs => self.diffs = Some(read(value)?),
            Question::Evidence => self.evidence = Some(read(value)?),
            Question::Findings => self.findings = Some(read(value)?),
            Question::Event { .. } => self.event = Some(read(value)?),
            // Dialogs hear those.
            Question::Plan(..) | Question::Make(..) | Question::Missed(..) => {}
        }
        Ok(())
    }

    /// The minute before the dashboard looked.
    fn seed(&mut self, series: &Series) {
        let at_ms = WallTime::parse(&series.at).map_or(0, WallTime::as_millis);
        let lines = [&series.all.received, &series.all.segment, &series.all.rudderstack];
        for (track, line) in self.all.iter_mut().zip(lines) {
            track.seed(at_ms, line);
        }
        for source in &series.sources {
            let id = |destination: &str| (source.source.clone(), destination.to_owned());
            if let Some(track) = self.received.get_mut(&source.source) {
                track.seed(at_ms, &source.lines.received);
            }
            for (destination, line) in [("segment", &source.lines.segment), ("rudderstack", &source.lines.rudderstack)] {
                if let Some(track) = self.delivered.get_mut(&id(destination)) {
                    track.seed(at_ms, line);
                }
            }
        }
    }

    /// All sources, in the configuration's order.
    pub(super) fn sources(&self) -> &[SourceRoute] {
        self.routes.as_ref().map_or(&[], |routes| &routes.routes)
    }

    /// How far both sides agree on a source's events, by the best evidence there is: what both emitted, else their answers. None:
    /// nothing was compared yet.
    pub(super) fn parity_of(&self, source: &str) -> Option<&Parity> {
        let all = &self.evidence.as_ref()?.parity;
        let of = |basis: &str| all.iter().find(|parity| parity.source == source && parity.basis == basis && parity.pairs > 0);
        of("tap").or_else(|| of("answers"))
    }

    /// The source of that id or name.
    pub(super) fn source(&self, name: &str) -> Option<&SourceRoute> {
        self.sources().iter().find(|source| source.source == name || source.name == name)
    }

    /// All lanes, sorted by source.
    pub(super) fn lanes(&self) -> impl Iterator<Item = &Lane> {
        self.lanes.values()
    }

    /// A source's lane.
    pub(super) fn lane(&self, source: &str, destination: &str) -> Option<&Lane> {
        self.lanes.get(&(source.to_owned(), destination.to_owned()))
    }

    /// What came of a source.
    pub(super) fn figures_of(&self, source: &str) -> Option<&SourceFigures> {
        self.sources.get(source)
    }

    /// Both destinations together.
    pub(super) fn destination(&self, name: &str) -> Option<&DestinationStatus> {
        self.status.as_ref()?.destinations.iter().find(|status| status.destination == name)
    }

    /// Events a second that apps send of a source.
    pub(super) fn received_pace(&self, source: &str) -> f64 {
        let now = self.received.get(source).and_then(Track::pace);
        now.or_else(|| self.sources.get(source).map(|figures| figures.received_per_second)).unwrap_or_default()
    }

    /// Events a second that a lane delivers.
    pub(super) fn delivered_pace(&self, source: &str, destination: &str) -> f64 {
        let id = (source.to_owned(), destination.to_owned());
        let now = self.delivered.get(&id).and_then(Track::pace);
        now.or_else(|| self.lanes.get(&id).map(|lane| lane.delivered_per_second)).unwrap_or_default()
    }

    /// Events a second, all sources together.
    pub(super) fn pace(&self, flow: Flow) -> f64 {
        let told = || match flow {
            Flow::Received => self.status.as_ref().map(|status| status.received_per_second),
            Flow::Segment => self.destination("segment").map(|status| status.delivered_per_second),
            Flow::Rudder => self.destination("rudderstack").map(|status| status.delivered_per_second),
        };
        self.all[flow as usize].pace().or_else(told).unwrap_or_default()
    }

    /// The last minute of a source, in so many parts.
    pub(super) fn spark(&self, source: &str, parts: usize) -> Vec<Option<f64>> {
        self.received.get(source).map_or_else(|| vec![None; parts], |track| track.parts(parts))
    }

    /// The last minute of one of a source's lanes.
    pub(super) fn lane_spark(&self, source: &str, destination: &str, parts: usize) -> Vec<Option<f64>> {
        let id = (source.to_owned(), destination.to_owned());
        self.delivered.get(&id).map_or_else(|| vec![None; parts], |track| track.parts(parts))
    }

    /// How long the oldest event of a lane or destination has waited; None: nothing waits.
    pub(super) fn waited(&self, oldest: Option<&String>) -> Option<Duration> {
        let now = WallTime::parse(&self.status.as_ref()?.at)?;
        let oldest = WallTime::parse(oldest?)?;
        Some(Duration::from_millis(u64::try_from(now.millis_since(oldest)).unwrap_or(0)))
    }

    /// The longest wait of all.
    pub(super) fn worst_wait(&self) -> Duration {
        let destinations = self.status.iter().flat_map(|status| &status.destinations);
        destinations.filter_map(|status| self.waited(status.oldest.as_ref())).max().unwrap_or_default()
    }

    /// Whether the caller may do that; before it was told, nothing is refused.
    pub(super) fn may(&self, role: &str) -> bool {
        self.me.as_ref().is_none_or(|me| me.roles.iter().any(|mine| mine == role))
    }

    /// Whether what is shown is as it stands.
    pub(super) fn is_live(&self) -> bool {
        self.link == Link::Live
    }
}

fn at_ms(status: &Status) -> i64 {
    WallTime::parse(&status.at).map_or(0, WallTime::as_millis)
}
