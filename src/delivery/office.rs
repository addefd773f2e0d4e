//! All lanes: started, watched, stopped.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64, atomic::Ordering},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, timeout_at},
};

use super::{
    control::LaneControl,
    errand::{Control, Gates, Way},
    figures::Figures,
    gate::{Gate, Limit},
    packer::{Packers, Packing},
    resends::{Resends, Seen},
    rudderstack::RudderStackLeg,
    runner::{Bounds, Runner},
    segment::SegmentLeg,
    settings::Settings,
    status::{Board, DestinationStanding, LaneState, LaneStatus},
    tapped::Watchers,
};
use crate::{
    clock::Clock,
    evidence::Evidence,
    journal::{Journal, LaneId},
    model::{Destination, PerDestination, RateLimit, SourceId, WallTime},
    policy::Backoff,
    routing::{Region, Source, Sources},
    tap::Tap,
    telemetry::{Exposition, Sheet},
    upstream::Upstream,
};

/// Where events can go.
#[derive(Debug, Clone)]
pub struct Upstreams {
    /// Segment in the United States.
    pub segment_us: Upstream,
    /// Segment in Europe.
    pub segment_eu: Upstream,
    /// The RudderStack data plane; None: there is none, and what is planned for it waits in the journal.
    pub rudderstack: Option<Upstream>,
}

/// All lanes at work. Dropping it without [`Delivery::stop`] ends them at once: what was in flight is sent again by the next
/// start.
#[derive(Debug)]
pub struct Delivery {
    office: Arc<Office>,
    /// None until it begins.
    supervisor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
pub(super) struct Office {
    pub(super) journal: Journal,
    sources: Arc<ArcSwap<Sources>>,
    settings: Settings,
    pub(super) clock: Clock,
    gates: Arc<Gates>,
    packers: Arc<Packers>,
    /// What RudderStack was sent; None: that is not remembered.
    seen: Option<Arc<Seen>>,
    figures: Arc<Figures>,
    watchers: Watchers,
    control: watch::Sender<Control>,
    lanes: Mutex<BTreeMap<LaneId, Desk>>,
    /// Since when the kill switch is on; None: it is off.
    killed: Mutex<Option<WallTime>>,
    /// Limits of single lanes that are not, or no longer, as the configuration had them at the start.
    own_limits: Mutex<HashMap<LaneId, RateLimit>>,
    /// Lanes that ended by a fault of ours and were started again.
    restarts: AtomicU64,
}

#[derive(Debug)]
struct Desk {
    way: Arc<Way>,
    task: JoinHandle<()>,
}

/// How often the sources are looked at for changes, and the lanes for faults.
const ROUND: Duration = Duration::from_secs(1);

impl Delivery {
    /// Everything but the lanes: nothing is sent before [`Delivery::begin`], so that limits, holds and the kill switch can be put
    /// in force first. Settings that cannot be met are none: a limit of no events, say, has no type.
    #[must_use]
    pub fn prepare(
        journal: Journal,
        sources: Arc<ArcSwap<Sources>>,
        upstreams: Upstreams,
        settings: Settings,
        clock: Clock,
        evidence: Arc<Evidence>,
    ) -> Self {
        let gate = |upstream, destination| Gate::new(upstream, *settings.pace.of(destination));
        let gates = Arc::new(Gates {
            segment_us: gate(upstreams.segment_us, Destination::Segment),
            segment_eu: gate(upstreams.segment_eu, Destination::Segment),
            rudderstack: upstreams.rudderstack.map(|upstream| gate(upstream, Destination::RudderStack)),
            limits: PerDestination::from_fn(|destination| Limit::of(settings.pace.of(destination).rate_limit)),
        });
        journal.keep_marks(settings.dedup_window as u64);
        let office = Arc::new(Office {
            seen: Seen::of(settings.dedup_window),
            journal,
            sources,
            settings,
            clock,
            gates,
            packers: Arc::default(),
            figures: Arc::default(),
            watchers: Watchers { tap: Arc::default(), evidence },
            control: watch::Sender::new(Control::Deliver(0)),
            lanes: Mutex::default(),
            killed: Mutex::default(),
            own_limits: Mutex::default(),
            restarts: AtomicU64::new(0),
        });
        Self { office, supervisor: None }
    }

    /// Starts a lane for each configured source and destination, on the running tokio runtime, and goes on doing so as the
    /// sources change.
    pub fn begin(&mut self) {
        self.office.open_lanes();
        self.supervisor.get_or_insert_with(|| tokio::spawn(Arc::clone(&self.office).supervise()));
    }

    /// How each lane stands, sorted by source.
    #[must_use]
    pub fn lanes(&self) -> Vec<LaneStatus> {
        self.office.statuses()
    }

    /// The way to change lanes while they run.
    #[must_use]
    pub fn control(&self) -> LaneControl {
        LaneControl::new(Arc::clone(&self.office))
    }

    /// The tap that hears what becomes of events.
    #[must_use]
    pub fn tap(&self) -> Arc<Tap> {
        Arc::clone(&self.office.watchers.tap)
    }

    /// Puts delivery's figures on the exposition.
    pub fn register(&self, exposition: &Exposition) {
        self.office.figures.register(exposition);
        // Weak, so that figures do not keep a stopped journal's directory locked.
        let office = Arc::downgrade(&self.office);
        exposition.on_scrape(move |sheet| {
            if let Some(office) = office.upgrade() {
                office.fill(sheet);
            }
        });
    }

    /// Sends nothing more, waits up to `deadline` for what is in flight, and ends. What was not answered is sent again by the
    /// next start.
    pub async fn stop(mut self, deadline: Duration) {
        let deadline = Instant::now() + deadline;
        if let Some(supervisor) = self.supervisor.take() {
            supervisor.abort();
            // An aborted task is over once it is awaited; then nothing of it touches the journal any more.
            let _ = supervisor.await;
        }
        self.office.control.send_replace(Control::Stop);
        let desks: Vec<Desk> = std::mem::take(&mut *self.office.lanes()).into_values().collect();
        for mut desk in desks {
            if timeout_at(deadline, &mut desk.task).await.is_err() {
                desk.task.abort();
                let _ = desk.task.await;
            }
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.supervisor.iter().for_each(JoinHandle::abort);
        self.office.lanes().values().for_each(|desk| desk.task.abort());
    }
}

impl Office {
    /// Opens lanes for new sources, tells parked lanes of changes, and starts lanes again that a fault of ours has ended.
    async fn supervise(self: Arc<Self>) {
        let mut rounds = interval(ROUND);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut known = self.sources.load_full();
        let mut changes = 0;
        loop {
            rounds.tick().await;
            let current = self.sources.load_full();
            if !Arc::ptr_eq(&known, &current) {
                known = current;
                changes += 1;
                self.control.send_replace(Control::Deliver(changes));
            }
            self.bury_broken_lanes();
            self.open_lanes();
        }
    }

    /// Since when a lane is held, by an operator or by the kill switch; None: it is not.
    pub(super) fn held_since(&self, id: &LaneId) -> Option<WallTime> {
        let killed = || (id.destination == Destination::RudderStack).then(|| *self.killed()).flatten();
        self.journal.held_since(id).or_else(killed)
    }

    /// Holds all lanes to `RudderStack`, besides those that an operator holds, or lets them go on.
    pub(super) fn kill(&self, since: Option<WallTime>) {
        // Under the lanes' lock: a lane that opens just now sees it or is told.
        let lanes = self.lanes();
        *self.killed() = since;
        for (id, desk) in lanes.iter() {
            desk.way.hold.send_replace(self.held_since(id));
        }
    }

    /// The limit of all lanes to a destination, or of one of them.
    pub(super) fn limit(&self, source: Option<&SourceId>, destination: Destination, limit: RateLimit) {
        let Some(source) = source else {
            self.gates.limits.of(destination).set(limit);
            let gates = [Region::Us, Region::Eu].map(|region| self.gates.of(destination, region));
            return gates.into_iter().flatten().for_each(|gate| gate.limit(limit));
        };
        let id = LaneId { source: source.clone(), destination };
        // Under the lanes' lock: a lane that opens just now has it or is told.
        let lanes = self.lanes();
        self.own_limits.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), limit);
        if let Some(desk) = lanes.get(&id).filter(|desk| desk.way.own_limit.rate() != limit) {
            desk.way.own_limit.set(limit);
        }
    }

    pub(super) fn limit_of(&self, destination: Destination) -> RateLimit {
        self.gates.limits.of(destination).rate()
    }

    fn own_limit(&self, id: &LaneId, source: &Source) -> RateLimit {
        let own_limits = self.own_limits.lock().unwrap_or_else(PoisonError::into_inner);
        own_limits.get(id).copied().unwrap_or(*source.rate_limits.of(id.destination))
    }

    fn open_lanes(&self) {
        let mut lanes = self.lanes();
        for source in self.sources.load().list() {
            for destination in Destination::ALL {
                let id = LaneId { source: source.id.clone(), destination };
                lanes.entry(id).or_insert_with_key(|id| self.open(id, source));
            }
        }
    }

    fn open(&self, id: &LaneId, source: &Source) -> Desk {
        let destination = id.destination;
        let pace = *self.settings.pace.of(destination);
        let way = Arc::new(Way {
            id: id.clone(),
            sources: Arc::clone(&self.sources),
            gates: Arc::clone(&self.gates),
            own_limit: Limit::of(self.own_limit(id, source)),
            turnstile: tokio::sync::Mutex::default(),
            closed_until: Mutex::default(),
            clock: self.clock.clone(),
            figures: Arc::clone(&self.figures),
            board: Board::default(),
            control: self.control.subscribe(),
            hold: watch::Sender::new(self.held_since(id)),
            nudge: tokio::sync::Notify::new(),
            watchers: self.watchers.clone(),
        });
        let bounds = Bounds {
            in_flight_max: pace.in_flight_max.max(1),
            backoff: Backoff::new(pace.retry_first, pace.retry_max),
            park_probe: self.settings.park_probe,
            memory_bytes_max: usize::try_from(self.settings.memory_max.0).unwrap_or(usize::MAX),
        };
        let lane = self.journal.lane(id);
        let task = match destination {
            Destination::Segment => tokio::spawn(Runner::new(lane, SegmentLeg::default(), Arc::clone(&way), bounds).run()),
            Destination::RudderStack => {
                // Without an upstream nothing is sent, and the origin matters to nothing.
                let origin = self.gates.rudderstack.as_ref().map_or("", |gate| gate.upstream.origin());
                let (packing, figures) = (Packing::toward(origin, &self.packers), Arc::clone(&self.figures));
                let leg = RudderStackLeg::new(bounds.in_flight_max, self.settings.batch, self.settings.dialect, packing, figures);
                let resends = self.seen.clone().map(|seen| Resends::new(seen, &id.source));
                let runner = Runner::new(lane, leg.once(resends), Arc::clone(&way), bounds);
                let (seen, journal) = (self.seen.clone(), self.journal.clone());
                tokio::spawn(async move {
                    if let Some(seen) = seen {
                        seen.restore(journal).await;
                    }
                    runner.run().await;
                })
            }
        };
        Desk { way, task }
    }

    /// A lane ends by itself only by a panic; what it had taken is handed out again to the one that follows it.
    fn bury_broken_lanes(&self) {
        self.lanes().retain(|id, desk| {
            let broken = desk.task.is_finished();
            if broken {
                self.restarts.fetch_add(1, Ordering::Relaxed);
                tracing::error!(event = "lane_broken", lane = %id, "a fault of segue ended this lane; it is started again");
            }
            !broken
        });
    }

    pub(super) async fn close(&self, id: &LaneId) {
        let closed = self.lanes().remove(id);
        if let Some(Desk { task, .. }) = closed {
            task.abort();
            // Once it is awaited nothing of it touches the journal any more.
            let _ = task.await;
        }
    }

    pub(super) fn way(&self, id: &LaneId) -> Option<Arc<Way>> {
        self.lanes().get(id).map(|desk| Arc::clone(&desk.way))
    }

    pub(super) fn statuses(&self) -> Vec<LaneStatus> {
        let mut statuses: Vec<LaneStatus> = self.lanes().values().map(|desk| desk.way.status()).collect();
        statuses.sort_by(|a, b| a.id.cmp(&b.id));
        statuses
    }

    pub(super) fn destination(&self, destination: Destination) -> DestinationStanding {
        let gates = [Region::Us, Region::Eu].map(|region| self.gates.of(destination, region));
        DestinationStanding {
            breaker: gates.into_iter().flatten().map(Gate::breaker).max(),
            answers: self.figures.answers(destination),
            latencies: self.figures.latencies(destination),
            paced: self.figures.paced.of(destination).load(Ordering::Relaxed),
        }
    }

    fn fill(&self, sheet: &mut Sheet) {
        self.figures.fill(sheet);
        let gates = [
            (Destination::Segment, "us", Some(&self.gates.segment_us)),
            (Destination::Segment, "eu", Some(&self.gates.segment_eu)),
            (Destination::RudderStack, "", self.gates.rudderstack.as_ref()),
        ];
        for (destination, region, gate) in gates {
            let Some(gate) = gate else { continue };
            let labels = [("destination", destination.label()), ("region", region)];
            let open = f64::from(u8::from(!gate.is_passing()));
            sheet.gauge("segue_circuit_open", "Whether a destination gets no more than a probe", &labels, open);
            sheet.gauge("segue_upstream_up", "Whether a destination answers", &labels, 1.0 - open);
            let credit = f64::from(gate.retry_credit());
            sheet.gauge("segue_retry_credit", "Failed requests that may be sent again at once", &labels, credit);
            if let Some(rate) = gate.rising_rate() {
                sheet.gauge("segue_ramp_events_per_second", "The pace after an outage", &labels, rate);
            }
        }
        let (prints, prints_max) = self.seen.as_ref().map_or((0, 0), |seen| (seen.len(), seen.prints_max));
        #[expect(clippy::cast_precision_loss, reason = "Prometheus keeps doubles")]
        for (name, help, count) in [
            ("segue_dedup_window_ids", "messageIds that RudderStack does not get again", prints as f64),
            ("segue_dedup_window_ids_max", "How many messageIds are remembered", prints_max as f64),
        ] {
            sheet.gauge(name, help, &[], count);
        }
        for status in self.statuses() {
            let labels = [("source", status.id.source.as_str()), ("destination", status.id.destination.label())];
            let parked = f64::from(u8::from(matches!(status.state, LaneState::Parked { .. })));
            let held = f64::from(u8::from(matches!(status.state, LaneState::Held { .. })));
            let deferred = f64::from(u8::from(matches!(status.state, LaneState::Deferred { .. })));
            let full = f64::from(u8::from(status.state == LaneState::QuarantineFull));
            sheet.gauge("segue_lane_parked", "Whether a lane is stopped by a fault of configuration", &labels, parked);
            sheet.gauge("segue_lane_held", "Whether an operator holds a lane", &labels, held);
            sheet.gauge("segue_lane_deferred", "Whether a lane waits because its destination asked for it", &labels, deferred);
            sheet.gauge("segue_lane_quarantine_full", "Whether a lane waits because the quarantine takes no more", &labels, full);
            sheet.counter("segue_delivery_retries", "Requests that were to be sent again", &labels, status.retries);
        }
        sheet.counter("segue_lane_restarts", "Lanes started again after a fault of segue", &[], self.restarts.load(Ordering::Relaxed));
    }

    fn killed(&self) -> MutexGuard<'_, Option<WallTime>> {
        self.killed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lanes(&self) -> MutexGuard<'_, BTreeMap<LaneId, Desk>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
