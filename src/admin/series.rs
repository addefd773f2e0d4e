//! What came and went over the last minute, ten minutes, hour, six hours and day: kept in memory, from the start on.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{extract::State, response::Response};
use serde::Deserialize;
use tokio::time::Instant;
use utoipa::IntoParams;

use super::{
    answer::{Problems, Refusal, good},
    extract::Query,
    lanes::source_id,
    server::Hub,
};
use crate::{
    ingress::Counters,
    journal::Journal,
    model::{Destination, SourceId, WallTime},
    wire::{self, ProblemCode, schema},
};

/// The windows: their names, how long a step is in seconds, and how many there are.
const WINDOWS: [(&str, u32, usize); 5] = [("1m", 1, 60), ("10m", 5, 120), ("1h", 30, 120), ("6h", 180, 120), ("24h", 720, 120)];
/// Sources that have lines of their own: about seven kilobytes each. More are in the sum of all alone.
const SOURCES_MAX: usize = 200;
/// How often totals are looked at.
const STEP: Duration = Duration::from_secs(1);

/// What was counted since the start, in five windows.
#[derive(Debug, Default)]
pub(super) struct Series(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// When totals were looked at last; None: not yet.
    looked: Option<Instant>,
    all: Strand,
    sources: BTreeMap<SourceId, Strand>,
}

/// What came and went of one source, or of all.
#[derive(Debug, Default)]
struct Strand {
    received: Line,
    segment: Line,
    rudderstack: Line,
}

/// One figure over all windows.
#[derive(Debug, Default)]
struct Line {
    /// The total when it was looked at last.
    total: u64,
    rings: [Ring; WINDOWS.len()],
}

/// One figure over one window: events a second in each step, oldest first.
#[derive(Debug, Default)]
struct Ring {
    steps: VecDeque<f32>,
    /// Events and seconds of the step that is not over.
    events: f64,
    seconds: u32,
}

/// Totals at one moment.
#[derive(Debug, Default, Clone, Copy)]
struct Totals {
    received: u64,
    segment: u64,
    rudderstack: u64,
}

impl Series {
    /// Looks at the totals, once a second: whoever calls more often is not heard.
    pub(super) fn look(&self, journal: &Journal, counters: &Counters) {
        let now = Instant::now();
        let mut kept = self.kept();
        let seconds = match kept.looked {
            None => 0,
            // A look may be some milliseconds early.
            Some(looked) => u32::try_from((now - looked + STEP / 10).as_secs()).unwrap_or(u32::MAX),
        };
        if kept.looked.is_some() && seconds == 0 {
            return;
        }
        kept.looked = Some(now);
        let (mut all, mut sources) = (Totals::default(), BTreeMap::<SourceId, Totals>::new());
        for (source, received) in counters.received() {
            all.received += received;
            sources.entry(source).or_default().received = received;
        }
        for (lane, ledger) in journal.ledger() {
            let of_source = sources.entry(lane.source).or_default();
            match lane.destination {
                Destination::Segment => (all.segment, of_source.segment) = (all.segment + ledger.delivered, ledger.delivered),
                Destination::RudderStack => {
                    (all.rudderstack, of_source.rudderstack) = (all.rudderstack + ledger.delivered, ledger.delivered);
                }
            }
        }
        kept.all.add(all, seconds);
        for (source, totals) in sources {
            if kept.sources.contains_key(&source) || kept.sources.len() < SOURCES_MAX {
                // One that came meanwhile had nothing before.
                kept.sources.entry(source).or_default().add(totals, seconds);
            }
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Strand {
    fn add(&mut self, totals: Totals, seconds: u32) {
        self.received.add(totals.received, seconds);
        self.segment.add(totals.segment, seconds);
        self.rudderstack.add(totals.rudderstack, seconds);
    }

    fn told(&self, window: usize) -> wire::Lines {
        // To a thousandth: one event in a step of twelve minutes is not nothing.
        let line = |line: &Line| line.rings[window].steps.iter().map(|pace| (f64::from(*pace) * 1e3).round() / 1e3).collect();
        wire::Lines { received: line(&self.received), segment: line(&self.segment), rudderstack: line(&self.rudderstack) }
    }
}

impl Line {
    /// Takes in the total after so many seconds; the events of a look that was late are spread over them. 0 seconds: it is the first.
    #[expect(clippy::cast_precision_loss, reason = "a pace is not exact")]
    fn add(&mut self, total: u64, seconds: u32) {
        let events = total.saturating_sub(std::mem::replace(&mut self.total, total)) as f64;
        for _ in 0..seconds.min(60) {
            for (ring, (_, step, steps_max)) in self.rings.iter_mut().zip(WINDOWS) {
                ring.add(events / f64::from(seconds), step, steps_max);
            }
        }
    }
}

impl Ring {
    #[expect(clippy::cast_possible_truncation, reason = "a pace is not exact")]
    fn add(&mut self, events: f64, step: u32, steps_max: usize) {
        self.events += events;
        self.seconds += 1;
        if self.seconds < step {
            return;
        }
        if self.steps.len() == steps_max {
            self.steps.pop_front();
        }
        self.steps.push_back((self.events / f64::from(step)) as f32);
        (self.events, self.seconds) = (0.0, 0);
    }
}

/// What `GET /v1/series` can be asked.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// `1m`, `10m`, `1h`, `6h` or `24h`; 10m when it is not said.
    window: Option<String>,
    /// Only this source, by id or name; of the first 200 that were seen.
    source: Option<String>,
    /// Whether each source is told by itself besides.
    each: Option<bool>,
}

/// What came and went over a window, in steps.
#[utoipa::path(get, path = "/v1/series", tag = "state", params(Asked), responses((status = 200, body = wire::Series), Problems))]
pub(super) async fn series(State(hub): State<Hub>, Query(asked): Query<Asked>) -> Result<Response, Refusal> {
    let name = asked.window.as_deref().unwrap_or("10m");
    let window = WINDOWS.iter().position(|(known, ..)| *known == name).ok_or_else(|| {
        let windows = WINDOWS.map(|(known, ..)| known).join(", ");
        Refusal::new(ProblemCode::BadRequest, format!("there is no window {name:?}"), format!("Windows: {windows}"))
    })?;
    let source = asked.source.as_deref().map(|source| source_id(&hub, source)).transpose()?;
    Ok(good(&told_of(&hub, window, source.as_ref(), asked.each == Some(true))))
}

fn told_of(hub: &Hub, window: usize, source: Option<&SourceId>, each: bool) -> wire::Series {
    let kept = hub.live.series.kept();
    let (name, step, _) = WINDOWS[window];
    let all = match source {
        None => kept.all.told(window),
        Some(source) => kept.sources.get(source).map(|strand| strand.told(window)).unwrap_or_default(),
    };
    let sources = kept.sources.iter().filter(|_| each);
    let sources = sources.map(|(source, strand)| wire::SourceLines { source: source.to_string(), lines: strand.told(window) }).collect();
    wire::Series {
        schema: schema::SERIES.to_owned(),
        window: name.to_owned(),
        step_seconds: u64::from(step),
        at: ended(&kept, hub.clock.now()).to_string(),
        all,
        sources,
    }
}

/// When the newest step ended.
fn ended(kept: &Kept, now: WallTime) -> WallTime {
    let ago = kept.looked.map_or(Duration::ZERO, |looked| looked.elapsed());
    now.plus_millis(-i64::try_from(ago.as_millis()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_window_has_its_steps_and_no_more() {
        let mut line = Line::default();
        line.add(1_000, 0);
        for second in 1..=2_000 {
            line.add(1_000 + second * 30, 1);
        }
        let steps = |window: usize| line.rings[window].steps.iter().copied().collect::<Vec<_>>();
        assert_eq!(steps(0), [30.0; 60]);
        assert_eq!(steps(1), [30.0; 120]);
        assert_eq!(steps(2), [30.0; 66], "2,000 s are 66 whole steps of 30 s");
        assert_eq!((steps(3).len(), steps(4).len()), (11, 2));
    }

    #[test]
    fn what_was_there_before_the_first_look_is_no_pace_and_a_late_look_is_spread() {
        let mut line = Line::default();
        line.add(5_000_000, 0);
        line.add(5_000_040, 4);
        assert_eq!(line.rings[0].steps.iter().copied().collect::<Vec<_>>(), [10.0; 4]);
    }
}
