//! The loop of one lane: takes records in, sends requests, judges what comes back.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

#[cfg(test)]
use super::sabotage::{Sabotage, is_broken};
use super::{
    chunks::Cut,
    errand::{self, Answered, Control, Flight, Landed, Way, deferral_left},
    gate::Gate,
    leg::{Fate, Leg, Refused, Retries},
    park::{Parked, Standing},
    records::Ends,
    status::{LaneState, ParkReason},
};
use crate::{
    chance,
    journal::{Entry, Lane, QuarantineError, Quarantined},
    model::{Settled, WallTime},
    policy::{Backoff, Outcome, RetryAfter, Streak, StreakState, Verdict, judge},
};

/// The bounds of one lane.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) in_flight_max: usize,
    pub(super) backoff: Backoff,
    pub(super) park_probe: Duration,
    /// Bytes that all lanes together may hold.
    pub(super) memory_bytes_max: usize,
}

/// Bytes that one lane may hold.
const LANE_BYTES_MAX: usize = 8 << 20;
/// Bytes that a lane may hold whatever the others do, so that none waits for another's destination.
const LANE_BYTES_MIN: usize = 256 << 10;
/// Records that one lane may hold: how far it looks ahead past persons who wait.
const LANE_RECORDS_MAX: usize = 8_192;
/// Refused events that are written before requests are looked at again.
const QUARANTINE_AT_ONCE: usize = 16;
/// Refused events that may wait to be written before the lane takes nothing more in.
const QUARANTINE_WAITING_MAX: usize = 1_024;
/// Records taken in before requests are looked at again.
const INTAKE_MAX: usize = 256;

/// Why the last write to the quarantine failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// It did not.
    None,
    /// There is no room but for what was sent again.
    Full,
    /// The disk refused, or there is no room at all.
    Disk,
}

/// One lane at work.
pub(super) struct Runner<L> {
    lane: Lane,
    leg: L,
    way: Arc<Way>,
    bounds: Bounds,
    control: watch::Receiver<Control>,
    flights: FuturesUnordered<Pin<Box<dyn Future<Output = Landed> + Send>>>,
    standing: Standing,
    streak: Streak,
    ends: Ends,
    /// Since when an operator holds the lane.
    hold: watch::Receiver<Option<WallTime>>,
    /// Until when the destination asked to be left alone, by the wall clock; what the journal remembers.
    deferred: Option<WallTime>,
    /// Answers 429 in a row.
    pushbacks: u32,
    /// When the lane may ask again whether a failed request may go; None: at once.
    retries_at: Option<Instant>,
    /// Attempts in a row to write to the quarantine that failed, and when the next one is due.
    quarantine_failures: u32,
    quarantine_due: Option<Instant>,
    quarantine_trouble: Trouble,
    /// Whether the source is configured for this destination; looked up once a round.
    configured: bool,
    /// What this lane told the process it holds.
    told_bytes: usize,
}

impl<L: Leg> Runner<L> {
    pub(super) fn new(lane: Lane, leg: L, way: Arc<Way>, bounds: Bounds) -> Self {
        let (control, hold) = (way.control.clone(), way.hold.subscribe());
        Self {
            lane,
            leg,
            way,
            bounds,
            control,
            flights: FuturesUnordered::new(),
            standing: Standing::Good,
            streak: Streak::default(),
            ends: Ends::default(),
            hold,
            deferred: None,
            pushbacks: 0,
            retries_at: None,
            quarantine_failures: 0,
            quarantine_due: None,
            quarantine_trouble: Trouble::None,
            configured: false,
            told_bytes: 0,
        }
    }

    /// Runs until delivery stops and nothing is in flight.
    pub(super) async fn run(mut self) {
        self.restore_deferral();
        loop {
            self.close_ends().await;
            let now = Instant::now();
            self.configured = self.way.source().is_some();
            let stopping = *self.control.borrow() == Control::Stop;
            if stopping && self.flights.is_empty() && !self.quarantines() {
                return;
            }
            if !stopping {
                self.send_what_may_go(now);
            }
            self.tell(now);
            let (takes_in, wake) = (!stopping && self.takes_in(), self.wake_at(now));
            let takes_redriven = !stopping && !takes_in && self.takes_redriven();
            tokio::select! {
                biased;
                changed = self.control.changed() => match changed {
                    Ok(()) => self.standing.hurry(Instant::now()),
                    // Nobody is left who could stop this lane in order.
                    Err(_) => return,
                },
                // The lane has the sender too, so it is there.
                _ = self.hold.changed() => {}
                () = self.way.nudge.notified() => self.try_now(),
                Some(landed) = self.flights.next() => self.land_all(landed),
                entry = next_of(&mut self.lane, if takes_in { Wanted::Anything } else { Wanted::Redriven }), if takes_in || takes_redriven => {
                    if takes_in { self.take_in_all(&entry) } else { self.take_in_one(&entry) }
                }
                () = sleep_until(wake.unwrap_or(now)), if wake.is_some() => {}
            }
        }
    }

    /// Tries at once what waits for a while: a parked lane's next request, a write to the quarantine.
    fn try_now(&mut self) {
        let now = Instant::now();
        self.standing.hurry(now);
        self.quarantine_due = self.quarantine_due.map(|_| now);
    }

    /// Takes in a record, and those that are there already.
    fn take_in_all(&mut self, first: &Entry) {
        let now = self.way.clock.now();
        self.leg.take_in(first, now, &mut self.ends);
        for _ in 1..INTAKE_MAX {
            if !self.takes_in() {
                break;
            }
            let Some(entry) = self.lane.next().now_or_never() else { break };
            self.leg.take_in(&entry, now, &mut self.ends);
        }
    }

    /// Whether the lane delivers at all: its source is configured for this destination, and nobody holds it.
    fn delivers(&self) -> bool {
        self.configured && self.hold.borrow().is_none()
    }

    /// Takes in a record that is sent again.
    fn take_in_one(&mut self, entry: &Entry) {
        self.leg.take_in(entry, self.way.clock.now(), &mut self.ends);
    }

    /// Whether what is sent again is taken in though nothing else is: only that can make room in a full quarantine.
    fn takes_redriven(&self) -> bool {
        self.delivers()
            && self.quarantine_trouble == Trouble::Full
            && self.ends.quarantined.len() < QUARANTINE_WAITING_MAX
            && self.leg.records() < LANE_RECORDS_MAX
            && self.leg.held_bytes() < LANE_BYTES_MAX
    }

    /// Whether there is room for more.
    fn takes_in(&self) -> bool {
        let held = self.leg.held_bytes();
        // What this lane told the process last is not what it holds now.
        let all = self.way.figures.held_bytes.load(Ordering::Relaxed).saturating_sub(self.told_bytes) + held;
        self.delivers()
            && self.quarantine_due.is_none()
            && self.ends.quarantined.len() < QUARANTINE_WAITING_MAX
            && self.leg.records() < LANE_RECORDS_MAX
            && (held < LANE_BYTES_MIN || (held < LANE_BYTES_MAX && all < self.bounds.memory_bytes_max))
    }

    fn send_what_may_go(&mut self, now: Instant) {
        if self.deferred.is_some() && self.way.closed_until(now).is_none() {
            self.deferred = None;
            self.lane.defer_until(None);
        }
        if self.way.closed_until(now).is_some() || !self.delivers() {
            return;
        }
        self.leg.bound(self.way.request_events_max());
        while self.flights.len() < self.standing.in_flight_max(self.bounds.in_flight_max, now) {
            let retries = self.retries(now);
            let Some(parcel) = self.leg.next_parcel(now, retries) else { break };
            if let (1.., Some(gate)) = (parcel.failures, self.way.gate()) {
                gate.spend_retry();
            }
            self.flights.push(Box::pin(errand::run(Arc::clone(&self.way), parcel)));
            self.standing.tried(now, self.bounds.park_probe);
        }
    }

    /// Whether requests that failed before may go. A lane that was told to wait asks again a little later, and not earlier,
    /// whatever else it does meanwhile: so all lanes of a destination have the same chance, and what is new goes on.
    fn retries(&mut self, now: Instant) -> Retries {
        if self.retries_at.is_some_and(|at| now < at) {
            return Retries::Wait;
        }
        self.retries_at = None;
        if !self.leg.owes_retry(now) {
            return Retries::Go;
        }
        let Some(wait_until) = self.way.gate().and_then(Gate::retry_wait) else { return Retries::Go };
        self.retries_at = Some(wait_until + Duration::from_millis(chance::number() % RETRY_SPREAD_MS));
        Retries::Wait
    }

    /// When there may be something to send though nothing else happens; None: never.
    fn wake_at(&self, now: Instant) -> Option<Instant> {
        if self.quarantines() {
            return Some(now);
        }
        let retries_at = self.retries_at.filter(|at| now < *at);
        let retries = if retries_at.is_some() { Retries::Wait } else { Retries::Go };
        let request = self.leg.due(now, retries).filter(|_| self.delivers() && self.flights.len() < self.bounds.in_flight_max);
        let gates = [self.way.closed_until(now), self.standing.probe_at()];
        let request = request.map(|due| gates.into_iter().flatten().fold(due, Instant::max));
        [request.filter(|at| now < *at), retries_at, self.quarantine_due].into_iter().flatten().min()
    }

    /// Judges a request that came back, and those that came back with it.
    fn land_all(&mut self, first: Landed) {
        self.land(first);
        while let Some(Some(landed)) = self.flights.next().now_or_never() {
            self.land(landed);
        }
    }

    fn land(&mut self, landed: Landed) {
        let Landed { ticket, failures, end } = landed;
        let now = Instant::now();
        let Flight::Ended { outcome, answer } = end else {
            return self.leg.settle(ticket, Fate::Unsent, &mut self.ends);
        };
        let verdict = judge(self.way.id.destination, outcome);
        #[cfg(test)]
        let verdict = match outcome {
            Outcome::Unanswered if is_broken(Sabotage::RetryDropped) => Verdict::Delivered,
            _ => verdict,
        };
        if self.way.watchers.listen() {
            let (carried, to) = (self.leg.carried(ticket), self.way.id.destination);
            let ends: Vec<Settled> = carried.iter().map(|part| part.answered(to, verdict, &answer, carried.len())).collect();
            self.way.watchers.settle(&ends, self.way.clock.now());
        }
        let fate = match verdict {
            Verdict::Delivered => {
                self.delivered();
                Fate::Delivered
            }
            Verdict::Retry(asked) => Fate::Again(self.retry_at(outcome, asked, failures, now)),
            Verdict::Split => Fate::Divide(Cut::TooLarge, self.refused(answer)),
            Verdict::Bisect => Fate::Divide(Cut::BadEvent, self.refused(answer)),
            Verdict::Quarantine => Fate::Refused(self.refused(answer)),
            Verdict::Park => {
                self.park(ParkReason::Answer { status: answer.status, answer: answer.text }, now);
                Fate::Unsent
            }
        };
        let quarantined = self.ends.quarantined.len();
        if matches!(fate, Fate::Divide(..)) {
            // The halves of a probe are part of it: waiting between them would keep the good events behind a bad one for long.
            self.standing.hurry_on_division(now);
        }
        self.leg.settle(ticket, fate, &mut self.ends);
        self.weigh_refusals(quarantined, now);
    }

    fn delivered(&mut self) {
        self.streak.deliver();
        self.pushbacks = 0;
        if let Standing::Parked(parked) = std::mem::replace(&mut self.standing, Standing::Good) {
            tracing::info!(event = "lane_resumed", lane = %self.way.id, reason = parked.reason.without_words(), "the destination takes events again");
        }
    }

    /// When a failed request is sent again; on the way the lane is deferred, when the destination asked for that.
    fn retry_at(&mut self, outcome: Outcome, asked: Option<RetryAfter>, failures: u32, now: Instant) -> Instant {
        self.way.board.retries.fetch_add(1, Ordering::Relaxed);
        let wait = self.bounds.backoff.wait(failures.saturating_add(1), chance::number());
        if let Some(asked) = asked {
            self.defer(asked.wait(), now);
            return now + wait.max(asked.wait());
        }
        if let Outcome::Answered { status: 429, .. } = outcome {
            // RudderStack never says for how long (protocol.md 2.3): the whole lane backs off, not this request alone.
            self.pushbacks = self.pushbacks.saturating_add(1);
            let pause = now + self.bounds.backoff.wait_half(self.pushbacks, chance::number());
            self.way.close_until(Some(self.way.closed_until(now).map_or(pause, |until| until.max(pause))));
        }
        now + wait
    }

    /// Leaves the destination alone for so long, across restarts. An earlier, longer wish stands.
    fn defer(&mut self, wait: Duration, now: Instant) {
        let until = self.way.clock.now().plus_millis(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
        let until = self.deferred.map_or(until, |deferred| deferred.max(until));
        if self.deferred != Some(until) {
            self.deferred = Some(until);
            self.lane.defer_until(Some(until));
        }
        let by_timer = now + wait;
        self.way.close_until(Some(self.way.closed_until(now).map_or(by_timer, |closed| closed.max(by_timer))));
    }

    /// Leaves the destination alone as the last run was asked to.
    fn restore_deferral(&mut self) {
        let left = self.lane.deferred_until().map(|until| (until, deferral_left(until, self.way.clock.now())));
        if let Some((until, left)) = left.filter(|(_, left)| !left.is_zero()) {
            self.deferred = Some(until);
            self.way.close_until(Some(Instant::now() + left));
        }
    }

    /// A refusal for good. Its reason is the first line of the answer, in the vendor's words.
    fn refused(&self, answer: Answered) -> Refused {
        let Answered { status, text, .. } = answer;
        let line = text.lines().next().unwrap_or_default();
        let reason = if line.is_empty() || line.len() > REASON_BYTES_MAX { format!("answered {status}") } else { line.to_owned() };
        Refused { reason, status, answer: text, at: self.way.clock.now() }
    }

    /// Parks the lane when what was just refused is the tenth in a row for one reason: then it is not about the events. What was sent
    /// again and refused again says nothing new.
    fn weigh_refusals(&mut self, known: usize, now: Instant) {
        let first_time = self.ends.quarantined.get(known).filter(|item| item.position.quarantine_id().is_none());
        let Some(reason) = first_time.map(|item| item.reason.clone()) else { return };
        if self.streak.refuse(&reason) == StreakState::Suspicious {
            self.park(ParkReason::Refusals(reason), now);
        }
    }

    fn park(&mut self, reason: ParkReason, now: Instant) {
        let probe_at = now + self.bounds.park_probe;
        match &mut self.standing {
            Standing::Parked(parked) => *parked = Parked { reason, since: parked.since, probe_at },
            Standing::Good => {
                tracing::error!(
                    event = "lane_parked",
                    lane = %self.way.id,
                    reason = reason.without_words(),
                    "delivery is stopped, everything is kept: put the key, the URL or the source right"
                );
                self.standing = Standing::Parked(Parked { reason, since: self.way.clock.now(), probe_at });
            }
        }
    }

    /// Tells the journal what has ended: quarantine first, completion after. Each event in quarantine takes a sync, so only
    /// a few are written before requests are looked at again.
    async fn close_ends(&mut self) {
        if !self.ends.unsent.is_empty() {
            self.way.watchers.settle(&std::mem::take(&mut self.ends.unsent), self.way.clock.now());
        }
        for _ in 0..QUARANTINE_AT_ONCE {
            let Some((at, item)) = self.next_quarantined() else { break };
            if let Err(why) = self.lane.quarantine(item.clone()).await {
                self.quarantine_failed(&why, &item);
                break;
            }
            self.ends.quarantined.remove(at);
            if item.position.quarantine_id().is_none() {
                self.quarantine_failures = 0;
                self.quarantine_due = None;
                self.quarantine_trouble = Trouble::None;
            }
        }
        // Resends that waited for a record end with it, and may end records of their own.
        while !self.ends.complete.is_empty() {
            let ends = &mut self.ends;
            let waits = |position| ends.quarantined.iter().any(|item| item.position == position);
            let (later, complete): (Vec<_>, Vec<_>) = std::mem::take(&mut ends.complete).into_iter().partition(|done| waits(done.position));
            if complete.is_empty() {
                ends.complete = later;
                break;
            }
            for done in complete {
                let marks = self.leg.leave(done.position, ends);
                self.lane.complete_leaving(done.position, done.tally, &marks);
                self.way.watchers.count(&self.way.id, &done);
            }
            ends.complete.extend(later);
        }
    }

    /// The next refused event that can be written: when there is no room for others, one that was sent again still takes the place
    /// that it had.
    fn next_quarantined(&self) -> Option<(usize, Quarantined)> {
        let is_due = self.quarantine_due.is_none_or(|due| due <= Instant::now());
        let waiting = &self.ends.quarantined;
        let at = match self.quarantine_trouble {
            Trouble::Full => waiting.iter().position(|item| item.position.quarantine_id().is_some()).or(is_due.then_some(0)),
            Trouble::None | Trouble::Disk => is_due.then_some(0),
        };
        at.and_then(|at| Some((at, waiting.get(at)?.clone())))
    }

    fn quarantine_failed(&mut self, why: &QuarantineError, item: &Quarantined) {
        if self.quarantine_failures == 0 {
            tracing::error!(
                event = "quarantine_failed",
                lane = %self.way.id,
                error = why as &dyn std::error::Error,
                "refused events cannot be put aside; the lane takes nothing more in until they can"
            );
        }
        let can_be_relieved = matches!(why, QuarantineError::Full) && item.position.quarantine_id().is_none();
        self.quarantine_trouble = if can_be_relieved { Trouble::Full } else { Trouble::Disk };
        self.quarantine_failures = self.quarantine_failures.saturating_add(1);
        self.quarantine_due = Some(Instant::now() + self.bounds.backoff.wait_half(self.quarantine_failures, chance::number()));
    }

    /// Whether refused events wait that can be written now.
    fn quarantines(&self) -> bool {
        match self.quarantine_trouble {
            Trouble::None => !self.ends.quarantined.is_empty(),
            Trouble::Full => self.ends.quarantined.iter().any(|item| item.position.quarantine_id().is_some()),
            Trouble::Disk => false,
        }
    }

    /// Writes down how the lane stands.
    fn tell(&mut self, now: Instant) {
        let (held, board) = (self.leg.held_bytes(), &self.way.board);
        if held >= self.told_bytes {
            self.way.figures.held_bytes.fetch_add(held - self.told_bytes, Ordering::Relaxed);
        } else {
            self.way.figures.held_bytes.fetch_sub(self.told_bytes - held, Ordering::Relaxed);
        }
        self.told_bytes = held;
        board.records.store(self.leg.records(), Ordering::Relaxed);
        board.memory_bytes.store(held, Ordering::Relaxed);
        board.in_flight.store(self.flights.len(), Ordering::Relaxed);
        board.set(self.state(now));
    }

    fn state(&self, now: Instant) -> LaneState {
        if self.quarantine_due.is_some() {
            return LaneState::QuarantineFull;
        }
        if !self.configured {
            return LaneState::Unconfigured;
        }
        if let Some(since) = *self.hold.borrow() {
            return LaneState::Held { since };
        }
        if let Standing::Parked(parked) = &self.standing {
            return LaneState::Parked { since: parked.since, reason: parked.reason.clone() };
        }
        if let Some(until) = self.deferred.filter(|_| self.way.closed_until(now).is_some()) {
            return LaneState::Deferred { until };
        }
        if self.leg.records() == 0 { LaneState::Idle } else { LaneState::Delivering }
    }
}

/// The lane's next record; when there is room for nothing else, the next one that is sent again.
async fn next_of(lane: &mut Lane, wanted: Wanted) -> Entry {
    match wanted {
        Wanted::Redriven => lane.next_redriven().await,
        Wanted::Anything => lane.next().await,
    }
}

/// What a lane has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Anything,
    Redriven,
}

impl<L> Drop for Runner<L> {
    fn drop(&mut self) {
        self.way.figures.held_bytes.fetch_sub(self.told_bytes, Ordering::Relaxed);
    }
}

/// Lanes that wait to send something again ask spread over this, so that none is always the first.
const RETRY_SPREAD_MS: u64 = 100;
/// Longer first lines are no reasons but pages.
const REASON_BYTES_MAX: usize = 200;
