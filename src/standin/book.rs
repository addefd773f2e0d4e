//! The book a stand-in keeps: what it took, within limits, and the sums over it.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use crate::model::WallTime;

use super::{Counts, Keep, Sighting, Taken, TakenEvent, TakenRequest, Times, Verdict, identity, webhook::Emission};

/// An event as a vendor judged it, before it has its place in the book.
#[derive(Debug, Clone)]
pub(super) struct Judged {
    pub message_id: String,
    pub kind: String,
    pub name: Option<String>,
    pub source: Arc<str>,
    pub user_id: Option<String>,
    pub anonymous_id: Option<String>,
    pub verdict: Verdict,
    pub times: Times,
    /// Empty in the compact mode.
    pub json: String,
    /// None for a dropped event, and in the compact mode.
    pub handed_on: Option<String>,
}

/// The book; clones share it.
#[derive(Debug, Clone)]
pub(super) struct Book {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    pages: Mutex<Pages>,
    /// Turned after each change, for those who wait.
    turned: watch::Sender<u64>,
    keep: Keep,
    /// How long a messageId is remembered, in milliseconds.
    window_ms: i64,
}

#[derive(Debug, Default)]
struct Pages {
    taken: Taken,
    counts: Counts,
    sequence: u64,
    json_bytes: usize,
    /// When each messageId (its MD5) was last accepted as new.
    seen: HashMap<u128, WallTime>,
    /// The arrivals of the last second, and their sum.
    recent: VecDeque<(Instant, u64)>,
    recent_sum: u64,
}

impl Book {
    pub(super) fn new(keep: Keep, window_ms: i64) -> Self {
        Self { shared: Arc::new(Shared { pages: Mutex::default(), turned: watch::Sender::new(0), keep, window_ms }) }
    }

    pub(super) fn connection(&self) -> u64 {
        self.write(|pages| {
            pages.counts.connections += 1;
            pages.counts.connections
        })
    }

    /// Enters a request with its events; returns those that are to be passed on, when `passes_on`: accepted, and for the first time.
    /// `request.id` is set here.
    pub(super) fn enter(&self, mut request: TakenRequest, events: Vec<Judged>, passes_on: bool) -> Vec<Emission> {
        let keep = self.shared.keep;
        let window_ms = self.shared.window_ms;
        self.write(|pages| {
            pages.counts.requests += 1;
            request.id = pages.counts.requests;
            request.events = events.len();
            match request.status {
                Some(status) => *pages.counts.statuses.entry(status).or_default() += 1,
                None => pages.counts.unanswered += 1,
            }
            if let Some(code) = request.dropped {
                *pages.counts.dropped.entry(code.label()).or_default() += 1;
            }
            pages.note_rate(Instant::now(), events.len() as u64);
            let mut emissions = Vec::new();
            for event in events {
                let emission = passes_on.then(|| Emission::of(&event)).flatten();
                let sighting = pages.take(event, &request, keep, window_ms);
                // RudderStack remembers for ever here, as its own window is another matter (protocol.md T26).
                emissions.extend(emission.filter(|_| sighting == Sighting::First));
            }
            if pages.taken.requests.len() < keep.requests_max {
                pages.taken.requests.push(request);
            }
            emissions
        })
    }

    /// Whether so many more events now would be more than `events_max` within one second.
    pub(super) fn would_exceed(&self, events: usize, events_max: u32) -> bool {
        let mut pages = self.pages();
        pages.forget_before(Instant::now());
        pages.recent_sum + events as u64 > u64::from(events_max)
    }

    pub(super) fn counts(&self) -> Counts {
        self.pages().counts.clone()
    }

    pub(super) fn taken(&self) -> Taken {
        self.pages().taken.clone()
    }

    /// The events after that sequence number.
    pub(super) fn events_since(&self, sequence: u64) -> Vec<TakenEvent> {
        let pages = self.pages();
        let start = pages.taken.events.partition_point(|event| event.sequence <= sequence);
        pages.taken.events[start..].to_vec()
    }

    /// The requests after that number.
    pub(super) fn requests_since(&self, id: u64) -> Vec<TakenRequest> {
        let pages = self.pages();
        let start = pages.taken.requests.partition_point(|request| request.id <= id);
        pages.taken.requests[start..].to_vec()
    }

    /// Starts a new book; connection, request and sequence numbers start anew with it.
    pub(super) fn forget(&self) {
        self.write(|pages| *pages = Pages::default());
    }

    /// Waits until the counts are as wished; gives up with the last counts after `patience`.
    pub(super) async fn wait_for(&self, patience: Duration, wished: impl Fn(&Counts) -> bool) -> Result<Counts, Counts> {
        let mut turned = self.shared.turned.subscribe();
        let waiting = async {
            loop {
                let counts = self.counts();
                if wished(&counts) || turned.changed().await.is_err() {
                    return counts;
                }
            }
        };
        tokio::time::timeout(patience, waiting).await.map_err(|_| self.counts())
    }

    fn write<T>(&self, by: impl FnOnce(&mut Pages) -> T) -> T {
        let result = by(&mut self.pages());
        self.shared.turned.send_modify(|turns| *turns += 1);
        result
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.shared.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Emission {
    /// None of an event that was dropped.
    fn of(event: &Judged) -> Option<Self> {
        Some(Self {
            write_key: Arc::clone(&event.source),
            message_id: event.message_id.clone(),
            kind: event.kind.clone(),
            name: event.name.clone(),
            body: event.handed_on.clone()?,
        })
    }
}

impl Pages {
    fn take(&mut self, event: Judged, request: &TakenRequest, keep: Keep, window_ms: i64) -> Sighting {
        self.sequence += 1;
        self.counts.events += 1;
        let sighting = self.sight(&event, request.at, window_ms);
        if self.taken.events.len() >= keep.events_max {
            return sighting;
        }
        let json_bytes = event.json.len() + event.handed_on.as_ref().map_or(0, String::len);
        let whole = keep.json_bytes_max > 0 && self.json_bytes + json_bytes <= keep.json_bytes_max;
        if whole {
            self.json_bytes += json_bytes;
        }
        self.taken.events.push(TakenEvent {
            sequence: self.sequence,
            request: request.id,
            connection: request.connection,
            at: request.at,
            message_id: event.message_id.into(),
            kind: event.kind.into(),
            name: event.name.map(Into::into),
            source: event.source,
            user_id: event.user_id.map(Into::into),
            anonymous_id: event.anonymous_id.map(Into::into),
            verdict: event.verdict,
            sighting,
            times: whole.then(|| Box::new(event.times)),
            json: whole.then(|| event.json.into()),
            handed_on: event.handed_on.filter(|_| whole).map(Into::into),
        });
        sighting
    }

    fn sight(&mut self, event: &Judged, at: WallTime, window_ms: i64) -> Sighting {
        if let Verdict::Dropped(code) = event.verdict {
            *self.counts.dropped.entry(code.label()).or_default() += 1;
            return Sighting::First;
        }
        let Some(last) = self.seen.insert(identity::digest(&event.message_id), at) else {
            self.counts.distinct += 1;
            return Sighting::First;
        };
        if at.millis_since(last) > window_ms {
            self.counts.seen_late += 1;
            return Sighting::First;
        }
        self.seen.insert(identity::digest(&event.message_id), last);
        self.counts.duplicates += 1;
        Sighting::Again
    }

    fn note_rate(&mut self, now: Instant, events: u64) {
        self.forget_before(now);
        if events > 0 {
            self.recent.push_back((now, events));
            self.recent_sum += events;
        }
        self.counts.events_per_second_max = self.counts.events_per_second_max.max(self.recent_sum);
    }

    fn forget_before(&mut self, now: Instant) {
        while let Some((at, events)) = self.recent.front().copied()
            && now.duration_since(at) >= Duration::from_secs(1)
        {
            self.recent.pop_front();
            self.recent_sum -= events;
        }
    }
}
