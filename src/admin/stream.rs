//! The live stream: server-sent events for dashboards. A viewer hears everything once, then what is no longer so.
//!
//! Nobody waits for a viewer: it has a bounded queue, is told how much it missed, and then hears everything again. Without viewers
//! nothing is gathered.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    extract::{Extension, State},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, broadcast, broadcast::error::RecvError},
    time::{Instant, MissedTickBehavior, interval},
};
use utoipa::IntoParams;

use super::{
    answer::{Problems, Refusal},
    extract::Query,
    lanes,
    rates::INTERVAL,
    routes::{self, event},
    server::{Hub, Tenure},
    status,
    tapped::{RATE_MAX, RATE_USUAL, Tapped},
};
use crate::{
    model::SourceId,
    wire::{self, ProblemCode, schema},
};

/// Viewers at one time.
pub(super) const VIEWERS_MAX: usize = 8;
/// Events that wait for one viewer.
const QUEUE_MAX: usize = 16;
/// How often figures are sent.
const FIGURES_INTERVAL: Duration = Duration::from_millis(500);
/// How often a viewer hears that the connection lives.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Where viewers listen.
#[derive(Debug, Clone)]
pub(super) struct Stage {
    sender: broadcast::Sender<Told>,
    places: Arc<Semaphore>,
    /// Events that viewers did not get, since the start.
    lost: Arc<AtomicU64>,
}

/// One event for all viewers.
#[derive(Debug, Clone)]
struct Told {
    topic: Topic,
    name: &'static str,
    json: Arc<str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Topic {
    Figures,
    Changes,
    /// Each viewer's own: it is not told to all.
    Tap,
}

/// What a viewer wants to hear.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// `figures`, `changes` and `tap` (events as they pass), with commas. The first two when it is not said.
    topics: Option<String>,
    /// Of the topic `tap`: the source whose events are shown. Those of all sources when it is not said.
    source: Option<String>,
    /// Of the topic `tap`: how many events a second are shown at most, 1 to 500. 200 when it is not said.
    #[param(minimum = 1, maximum = 500)]
    tap_rate: Option<u32>,
}

/// A viewer, from its place to what it heard.
struct Viewer {
    hub: Hub,
    topics: Vec<Topic>,
    receiver: broadcast::Receiver<Told>,
    /// None: it does not look at events.
    tapped: Option<Tapped>,
    tenure: Arc<Tenure>,
    /// Whether everything has to be told first.
    is_new: bool,
    _place: OwnedSemaphorePermit,
}

impl Stage {
    /// Viewers that look now.
    pub(super) fn viewers(&self) -> u64 {
        (VIEWERS_MAX - self.places.available_permits()) as u64
    }

    /// Events that viewers did not get, since the start.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Default for Stage {
    fn default() -> Self {
        let (places, lost) = (Arc::new(Semaphore::new(VIEWERS_MAX)), Arc::default());
        Self { sender: broadcast::Sender::new(QUEUE_MAX), places, lost }
    }
}

/// What goes on, as it goes on: server-sent events `snapshot`, `figures`, `change`, `tap` and `lost`.
///
/// `tap` is a sample of the events as they pass, with what became of them; persons are masked in it. It comes four times a second at
/// most, and not while nothing passes.
#[utoipa::path(
    get,
    path = "/v1/stream",
    tag = "state",
    params(Wanted),
    responses((status = 200, body = String, content_type = "text/event-stream", description = "Events, until the viewer goes"), Problems)
)]
pub(super) async fn stream(
    State(hub): State<Hub>,
    Extension(tenure): Extension<Arc<Tenure>>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Refusal> {
    let topics = topics(wanted.topics.as_deref())?;
    let (source, rate) = (source(&hub, wanted.source.as_deref())?, rate(wanted.tap_rate)?);
    let place = Arc::clone(&hub.live.stage.places).try_acquire_owned().map_err(|_| {
        let what = format!("{VIEWERS_MAX} viewers look already");
        Refusal::new(ProblemCode::Busy, what, "Close one of them, or ask now and then: segue status --watch")
    })?;
    // From here on nothing is missed: what comes during the snapshot is told after it.
    let receiver = hub.live.stage.sender.subscribe();
    let tapped = topics.contains(&Topic::Tap).then(|| Tapped::open(&hub, source, rate));
    let viewer = Viewer { hub, topics, tapped, receiver, tenure, is_new: true, _place: place };
    let events = stream::unfold(viewer, async |mut viewer| Some((Ok::<_, Infallible>(viewer.next().await?), viewer)));
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response())
}

fn topics(text: Option<&str>) -> Result<Vec<Topic>, Refusal> {
    let topic = |name: &str| match name {
        "figures" => Ok(Topic::Figures),
        "changes" => Ok(Topic::Changes),
        "tap" => Ok(Topic::Tap),
        _ => Err(Refusal::new(ProblemCode::BadRequest, format!("there is no topic {name:?}"), "Topics: figures, changes, tap")),
    };
    text.map_or(Ok(vec![Topic::Figures, Topic::Changes]), |text| text.split(',').map(topic).collect())
}

/// The source whose events are shown; None: all.
fn source(hub: &Hub, text: Option<&str>) -> Result<Option<SourceId>, Refusal> {
    let Some(text) = text else { return Ok(None) };
    let refused = |what| Refusal::new(ProblemCode::BadRequest, what, "The sources: segue route get");
    let id = SourceId::parse(text).map_err(|error| refused(format!("{text:?} is no source: {error}")))?;
    let is_known = hub.sources.load().by_id(&id).is_some();
    if is_known { Ok(Some(id)) } else { Err(refused(format!("there is no source {text:?}"))) }
}

fn rate(asked: Option<u32>) -> Result<u32, Refusal> {
    let rate = asked.unwrap_or(RATE_USUAL);
    if (1..=RATE_MAX).contains(&rate) {
        return Ok(rate);
    }
    let what = format!("tap_rate={rate} is no rate that events are shown at");
    Err(Refusal::new(ProblemCode::BadRequest, what, format!("From 1 to {RATE_MAX} events a second")))
}

impl Viewer {
    /// None: the sidecar stops.
    async fn next(&mut self) -> Option<Event> {
        self.tenure.view();
        if std::mem::take(&mut self.is_new) {
            return Some(named("snapshot", &snapshot(&self.hub)));
        }
        loop {
            let heard = tokio::select! {
                heard = self.receiver.recv() => heard,
                tap = passing(&mut self.tapped) => return Some(named("tap", &tap)),
            };
            match heard {
                Ok(told) if self.topics.contains(&told.topic) => return Some(Event::default().event(told.name).data(&*told.json)),
                Ok(_) => {}
                Err(RecvError::Closed) => return None,
                Err(RecvError::Lagged(events)) => {
                    self.hub.live.stage.lost.fetch_add(events, Ordering::Relaxed);
                    self.is_new = true;
                    return Some(named("lost", &wire::Lost { events }));
                }
            }
        }
    }
}

/// What passes; never, for a viewer that does not look at events.
async fn passing(tapped: &mut Option<Tapped>) -> wire::Tap {
    match tapped {
        Some(tapped) => tapped.next().await,
        None => std::future::pending().await,
    }
}

fn named(name: &str, value: &impl Serialize) -> Event {
    Event::default().event(name).data(json(value))
}

/// Plain structs of texts and numbers: writing them cannot fail.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn snapshot(hub: &Hub) -> wire::Snapshot {
    let lanes = lanes::all(hub);
    let status = status::of(hub, &lanes);
    wire::Snapshot { schema: schema::SNAPSHOT.to_owned(), status, routes: routes::all(hub), lanes, sources: status::sources(hub) }
}

/// Looks at figures now and then, and tells viewers what changed, until it is aborted.
pub(super) async fn watch(hub: Hub) {
    let mut ticks = interval(FIGURES_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // What is counted from the start on is told.
    hub.live.series.look(&hub.journal, &hub.counters);
    hub.live.rates.look(&hub.journal, &hub.counters, &hub.lanes);
    let mut look_at = Instant::now() + INTERVAL;
    let mut known: HashMap<(String, String), wire::Lane> = HashMap::new();
    let mut known_sources: HashMap<String, wire::SourceFigures> = HashMap::new();
    let mut revision = hub.switchboard.standing().revision;
    loop {
        let now = ticks.tick().await;
        hub.live.series.look(&hub.journal, &hub.counters);
        if now >= look_at {
            hub.live.rates.look(&hub.journal, &hub.counters, &hub.lanes);
            look_at = now + INTERVAL;
        }
        let newest = hub.switchboard.standing().revision;
        if hub.live.stage.sender.receiver_count() == 0 {
            known.clear();
            known_sources.clear();
            revision = newest;
            continue;
        }
        if newest > revision {
            let changes = hub.switchboard.changes(CHANGES_MAX);
            for change in changes.iter().rev().filter(|change| change.revision > revision) {
                tell(&hub, Topic::Changes, "change", &event(change));
            }
            revision = newest;
        }
        let lanes = lanes::all(&hub);
        let status = status::of(&hub, &lanes);
        let is_new = |lane: &wire::Lane| known.get(&(lane.source.clone(), lane.destination.clone())) != Some(lane);
        let changed: Vec<wire::Lane> = lanes.into_iter().filter(is_new).collect();
        known.extend(changed.iter().map(|lane| ((lane.source.clone(), lane.destination.clone()), lane.clone())));
        let mut sources = status::sources(&hub);
        sources.retain(|source| known_sources.get(&source.source) != Some(source));
        known_sources.extend(sources.iter().map(|source| (source.source.clone(), source.clone())));
        let figures = wire::Figures { schema: schema::FIGURES.to_owned(), status, lanes: changed, sources };
        tell(&hub, Topic::Figures, "figures", &figures);
    }
}

/// More changes than that between two looks are told by the history.
const CHANGES_MAX: usize = 100;

fn tell(hub: &Hub, topic: Topic, name: &'static str, value: &impl Serialize) {
    // Nobody may be left to hear it.
    let _ = hub.live.stage.sender.send(Told { topic, name, json: json(value).into() });
}
