//! The handle that tells evidence what happens.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    answers::Answers,
    bodies::{Bodies, Kept},
    findings::{Decision, Findings},
    join::{Bounds, Join, Sight},
    judge::{self, Pair},
    keeping,
    ledger::Ledger,
    report::Followed,
    ring::Ring,
    settings::Settings,
    slot::Emitted,
    tallies::Tallies,
    words::{Arrival, Emission, Ends, Sums, Twin},
};
use crate::{
    dialect::integration_names,
    diff::{Noise, NoiseAt, Treatment},
    model::{
        Destination, EnvelopeId, MessagePrint, PerDestination, Revision, Settled, SourceId, SourcePrint, WallTime,
        json::{self, Kind},
    },
};

/// What is known about events after they were sent.
#[derive(Debug)]
pub struct Evidence {
    pub(super) settings: Settings,
    /// What counts for nothing, by the settings.
    pub(super) noise: Noise,
    pub(super) state: Mutex<State>,
    pub(super) ledger: Mutex<Ledger>,
    /// Whether any event is followed: without, there is nothing to settle.
    follows: AtomicBool,
    pub(super) started_at: WallTime,
}

/// Everything but the ledger.
#[derive(Debug)]
pub(super) struct State {
    pub(super) join: Join,
    pub(super) bodies: Bodies,
    pub(super) answers: Answers,
    pub(super) findings: Findings,
    pub(super) tallies: Tallies,
    /// What counted for nothing, by source, since the start.
    pub(super) noise: HashMap<SourceId, BTreeMap<NoiseAt, u64>>,
    pub(super) taps: HashMap<SourceId, PerDestination<TapCount>>,
    /// The newest events that are over, for those who ask for one.
    pub(super) recent: Ring<Followed>,
}

/// What a vendor's tap has told.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TapCount {
    /// When it was heard last; None: never.
    pub(super) heard_at: Option<WallTime>,
    /// Events that it told of.
    pub(super) events: u64,
    /// Those without a messageId, or that were no event at all: they cannot be joined.
    pub(super) unjoinable: u64,
    /// Those that the other vendor did not tell of, and that segue did not send to both: as routed, or sent before a restart.
    pub(super) unexpected: u64,
}

/// Why an emission was not taken; it is to come again.
#[derive(Debug, thiserror::Error)]
#[error("what waits for its twin cannot be kept: {0}")]
pub struct Trouble(#[from] io::Error);

/// Events that are remembered when they are over.
const RECENT_MAX: usize = 16_384;

/// An event's messageId, as [`crate::model::Head`] reads it: a text that is not blank, or a number's own text.
fn message_id_of(id: json::Raw<'_>) -> Option<String> {
    match id.kind() {
        Kind::Number => Some(id.text().to_owned()),
        _ => id.string().filter(|text| !text.trim().is_empty()).map(std::borrow::Cow::into_owned),
    }
}

impl Default for Evidence {
    /// Without taps and without a directory.
    fn default() -> Self {
        Self::open(Settings::default(), WallTime::from_millis(0))
    }
}

impl Evidence {
    /// Takes up what earlier runs knew. Whatever cannot be read is put aside, and told in the log.
    #[must_use]
    pub fn open(settings: Settings, now: WallTime) -> Self {
        let bounds = Bounds { events_max: settings.events_max, wait_ms: i64::try_from(settings.wait.as_millis()).unwrap_or(i64::MAX) };
        let dir = settings.dir.as_deref();
        let kept = keeping::load(dir);
        let (bodies, restored) = Bodies::open(dir).unwrap_or_else(|error| {
            tracing::error!(event = "evidence_window", %error, "what vendors emitted cannot be kept on disk; it is kept in memory");
            Bodies::open(None).unwrap_or_default()
        });
        let mut join = Join::new(bounds);
        for entry in restored {
            join.restore(&entry.source, entry.print, entry.side, Emitted { at: entry.at, place: entry.place });
        }
        let state = State {
            join,
            bodies,
            answers: Answers::default(),
            findings: kept.findings,
            tallies: kept.tallies,
            noise: HashMap::new(),
            taps: HashMap::new(),
            recent: Ring::new(RECENT_MAX),
        };
        let ignored = settings.ignored.iter().cloned().map(Treatment::Ignore);
        let noise = Noise::new(integration_names).with_treatments(ignored);
        Self {
            settings,
            noise,
            state: Mutex::new(state),
            ledger: Mutex::new(kept.ledger),
            follows: AtomicBool::new(false),
            started_at: now,
        }
    }

    /// Says which events of an envelope that is about to be journalled are planned for both sides. Said again, it replaces what was said.
    pub fn arrive(&self, arrival: &Arrival<'_>, twins: impl IntoIterator<Item = Twin>) {
        let mut state = self.state();
        let mut finished = Vec::new();
        state.join.arrive(arrival, twins, &mut finished);
        state.join.thin(false, &mut finished);
        judge::finish(&mut state, finished, arrival.at);
        self.follows.store(true, Ordering::Relaxed);
    }

    /// The print of an event's messageId in its source: what [`Twin::print`] is.
    #[must_use]
    pub fn print(source: &SourceId, message_id: &str) -> u128 {
        MessagePrint::of(message_id).within(SourcePrint::of(source))
    }

    /// Says that an envelope was not journalled after all, or that one side will not get it.
    pub fn forget(&self, envelope: EnvelopeId) {
        if self.follows.load(Ordering::Relaxed) {
            self.state().join.forget(envelope);
        }
    }

    /// Whether anybody wants to know what became of events.
    #[must_use]
    pub fn follows(&self) -> bool {
        self.follows.load(Ordering::Relaxed)
    }

    /// Says what became of events.
    pub fn settle(&self, ends: impl IntoIterator<Item = Settled>, now: WallTime) {
        let mut state = self.state();
        let mut finished = Vec::new();
        let State { join, taps, .. } = &mut *state;
        let waits = |source: &SourceId| self.waits(taps.get(source), now);
        for end in ends {
            join.settle(&end, now, &mut finished, waits);
        }
        judge::finish(&mut state, finished, now);
    }

    /// Counts events that were journalled.
    pub fn plan(&self, source: &SourceId, stamp: (Revision, WallTime), events: PerDestination<u64>) {
        let mut ledger = self.ledger();
        for destination in Destination::ALL {
            ledger.plan(source, destination, stamp, *events.of(destination));
        }
    }

    /// Counts how events of one envelope ended, by the revision and the time that it came with.
    pub fn end(&self, source: &SourceId, destination: Destination, stamp: (Revision, WallTime), ends: &Ends) {
        self.ledger().end(source, destination, stamp, ends);
    }

    /// Takes in what the journal knows of a lane at a start: the ledger is made to agree with it.
    pub fn reconcile(&self, source: &SourceId, destination: Destination, journal: &Sums, at: (Revision, WallTime)) {
        self.ledger().reconcile(source, destination, journal, at);
    }

    /// Says under which revision a source's route is: parity is counted from there.
    pub fn begin(&self, source: &SourceId, revision: Revision, now: WallTime) {
        self.state().tallies.begin(source, revision, now);
    }

    /// Puts a decision about findings in force.
    pub fn decide(&self, decision: Decision) {
        let mut state = self.state();
        let source = decision.source.clone();
        for (key, alone) in state.findings.decide(decision) {
            state.tallies.accept(&source, alone, judge::agreement_of(&key.kind));
        }
    }

    /// Takes in what a vendor emitted.
    ///
    /// # Errors
    /// When it cannot be kept until its twin comes: it is to be sent again.
    pub fn take(&self, emission: &Emission<'_>) -> Result<(), Trouble> {
        let message_id = json::parse(emission.event)
            .ok()
            .filter(|event| event.kind() == Kind::Object)
            .and_then(|event| event.get("messageId"))
            .and_then(message_id_of);
        let print = message_id.as_ref().map(|message_id| Self::print(emission.source, message_id));
        let mut state = self.state();
        let count = state.taps.entry(emission.source.clone()).or_default().of_mut(emission.by);
        (count.heard_at, count.events) = (Some(emission.at), count.events + 1);
        let Some((message_id, print)) = message_id.zip(print) else {
            count.unjoinable += 1;
            return Ok(());
        };
        match state.join.emit(emission.source, print, emission.by, emission.at) {
            Sight::Thinned => {}
            Sight::First => self.keep(&mut state, emission, print)?,
            Sight::Second(slot, first) => {
                let reading = state.bodies.read(first.place);
                state.bodies.free(first.place);
                drop(state);
                // The lock is free while both are read and compared.
                let other = reading.and_then(super::bodies::Reading::finish);
                let pair = Pair { slot: &slot, first, second: emission, message_id: &message_id };
                self.judge_pair(&pair, other.as_deref());
            }
            Sight::Repeated => Self::judge_whole(&mut state, emission, &message_id, print, judge::Whole::Repeated),
            Sight::Late => Self::judge_whole(&mut state, emission, &message_id, print, judge::Whole::Late),
        }
        Ok(())
    }

    fn keep(&self, state: &mut State, emission: &Emission<'_>, print: u128) -> Result<(), Trouble> {
        let kept = Kept { source: emission.source, print, side: emission.by, at: emission.at, body: emission.event };
        let place = state.bodies.put(&kept)?;
        state.join.keep(print, emission.by, Emitted { at: emission.at, place });
        let mut finished = Vec::new();
        if state.bodies.bytes() > self.settings.bodies_max.0 {
            state.join.thin(true, &mut finished);
            if let Some(oldest) = state.bodies.oldest() {
                state.join.drop_volume(oldest, &mut finished);
            }
        } else if state.join.len() > self.settings.events_max {
            state.join.thin(false, &mut finished);
        }
        judge::finish(state, finished, emission.at);
        Ok(())
    }

    /// Gives up what has been waited for long enough. To be called about once a second.
    pub fn tick(&self, now: WallTime) {
        let mut state = self.state();
        let mut finished = Vec::new();
        state.join.tick(now, &mut finished);
        judge::finish(&mut state, finished, now);
        if state.join.len() == 0 {
            self.follows.store(false, Ordering::Relaxed);
        }
        drop(state);
        self.ledger().fold(now);
    }

    /// Whether the vendors' taps are waited for: both are configured, and neither has been silent for long.
    pub(super) fn waits(&self, taps: Option<&PerDestination<TapCount>>, now: WallTime) -> bool {
        let silent_ms = 2 * i64::try_from(self.settings.wait.as_millis()).unwrap_or(i64::MAX / 2);
        let is_alive = |side: Destination| {
            let heard_at = taps.and_then(|taps| taps.of(side).heard_at).unwrap_or(self.started_at);
            now.millis_since(heard_at) <= silent_ms
        };
        self.settings.is_tapped && Destination::ALL.into_iter().all(is_alive)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
