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
};
use crate::wire::{self, ProblemCode, schema};

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
}

/// What a viewer wants to hear.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// `figures`, `changes`, or both with a comma. Both when it is not said.
    topics: Option<String>,
}

/// A viewer, from its place to what it heard.
struct Viewer {
    hub: Hub,
    topics: Vec<Topic>,
    receiver: broadcast::Receiver<Told>,
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

/// What goes on, as it goes on: server-sent events `snapshot`, `figures`, `change` and `lost`.
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
    let place = Arc::clone(&hub.live.stage.places).try_acquire_owned().map_err(|_| {
        let what = format!("{VIEWERS_MAX} viewers look already");
        Refusal::new(ProblemCode::Busy, what, "Close one of them, or ask now and then: segue status --watch")
    })?;
    // From here on nothing is missed: what comes during the snapshot is told after it.
    let receiver = hub.live.stage.sender.subscribe();
    let viewer = Viewer { hub, topics, receiver, tenure, is_new: true, _place: place };
    let events = stream::unfold(viewer, async |mut viewer| Some((Ok::<_, Infallible>(viewer.next().await?), viewer)));
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response())
}

fn topics(text: Option<&str>) -> Result<Vec<Topic>, Refusal> {
    let topic = |name: &str| match name {
        "figures" => Ok(Topic::Figures),
        "changes" => Ok(Topic::Changes),
        _ => Err(Refusal::new(ProblemCode::BadRequest, format!("there is no topic {name:?}"), "Topics: figures, changes")),
    };
    text.map_or(Ok(vec![Topic::Figures, Topic::Changes]), |text| text.split(',').map(topic).collect())
}

impl Viewer {
    /// None: the sidecar stops.
    async fn next(&mut self) -> Option<Event> {
        self.tenure.view();
        if std::mem::take(&mut self.is_new) {
            return Some(named("snapshot", &snapshot(&self.hub)));
        }
        loop {
            match self.receiver.recv().await {
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

fn named(name: &str, value: &impl Serialize) -> Event {
    Event::default().event(name).data(json(value))
}

/// Plain structs of texts and numbers: writing them cannot fail.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn snapshot(hub: &Hub) -> wire::Snapshot {
    let lanes = lanes::all(hub);
    wire::Snapshot { schema: schema::SNAPSHOT.to_owned(), status: status::of(hub, &lanes), routes: routes::all(hub), lanes }
}

/// Looks at figures now and then, and tells viewers what changed, until it is aborted.
pub(super) async fn watch(hub: Hub) {
    let mut ticks = interval(FIGURES_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // What is counted from the start on is told.
    hub.live.rates.look(&hub.journal, &hub.counters);
    let mut look_at = Instant::now() + INTERVAL;
    let mut known: HashMap<(String, String), wire::Lane> = HashMap::new();
    let mut revision = hub.switchboard.standing().revision;
    loop {
        let now = ticks.tick().await;
        if now >= look_at {
            hub.live.rates.look(&hub.journal, &hub.counters);
            look_at = now + INTERVAL;
        }
        let newest = hub.switchboard.standing().revision;
        if hub.live.stage.sender.receiver_count() == 0 {
            known.clear();
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
        tell(&hub, Topic::Figures, "figures", &wire::Figures { schema: schema::FIGURES.to_owned(), status, lanes: changed });
    }
}

/// More changes than that between two looks are told by the history.
const CHANGES_MAX: usize = 100;

fn tell(hub: &Hub, topic: Topic, name: &'static str, value: &impl Serialize) {
    // Nobody may be left to hear it.
    let _ = hub.live.stage.sender.send(Told { topic, name, json: json(value).into() });
}
