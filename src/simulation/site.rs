//! The place where the sidecar runs: its machine, its disk, and its lives, one after the other.

use std::{
    io,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::{
    network::Network,
    pipe::End,
    script::{Broken, Crash, Place, Script},
    trace::Trace,
};
use crate::{
    app::{Handle, Kept, Sidecar, StartError},
    clock::Clock,
    config::{Config, ControlPlace, SegmentConfig},
    delivery,
    ingress::{self, Limits},
    journal::{self, Journal, LaneId, Ledger, Lie, ModelDisk, Sabotage, Tempo, Trouble},
    model::{ByteSize, PerDestination},
    routing::Source,
    telemetry, upstream,
};

/// The site; clones share it.
#[derive(Clone)]
pub(super) struct Site(Arc<Inner>);

struct Inner {
    script: Script,
    network: Network,
    /// The machine's wall clock.
    clock: Clock,
    trace: Trace,
    sources: Vec<Source>,
    state: Mutex<State>,
}

struct State {
    disk: Arc<ModelDisk>,
    life: u64,
    running: Option<Running>,
    /// When the sidecar went down.
    crashes: Vec<Instant>,
    /// By source, over all lives: RudderStack events given up as the journal could not write; events relayed live.
    unjournalled: Vec<u64>,
    relayed: Vec<u64>,
    /// Live relays, over all lives, of which no answer came: Segment may have taken what they carried.
    relay_failures: u64,
    faults: Vec<String>,
    looks: u64,
}

struct Running {
    handle: Handle,
    stepper: JoinHandle<()>,
}

/// What the site counted over all lives.
pub(super) struct Account {
    pub(super) crashes: Vec<Instant>,
    pub(super) unjournalled: Vec<u64>,
    pub(super) relayed: Vec<u64>,
    pub(super) relay_failures: u64,
    pub(super) faults: Vec<String>,
    pub(super) looks: u64,
}

impl Account {
    /// Whether anything may have reached Segment live, past what waits.
    pub(super) fn has_relayed(&self) -> bool {
        self.relay_failures > 0 || self.relayed.iter().any(|count| *count > 0)
    }
}

impl Site {
    pub(super) fn new(script: Script, network: Network, clock: Clock, trace: Trace, sources: Vec<Source>) -> Self {
        let lie = if let Broken::Disk(lie) = script.broken { lie } else { Lie::None };
        let state = State {
            disk: ModelDisk::new(script.seed, lie),
            life: 0,
            running: None,
            crashes: Vec::new(),
            unjournalled: vec![0; sources.len()],
            relayed: vec![0; sources.len()],
            relay_failures: 0,
            faults: Vec::new(),
            looks: 0,
        };
        Self(Arc::new(Inner { script, network, clock, trace, sources, state: Mutex::new(state) }))
    }

    /// Starts the sidecar on what the disk has. Nothing happens when it runs.
    pub(super) async fn start(&self) {
        let (life, disk) = {
            let mut state = self.state();
            if state.running.is_some() {
                return;
            }
            state.life += 1;
            state.disk.trouble(Trouble::default());
            (state.life, Arc::clone(&state.disk))
        };
        let mut stepper = None;
        let open = async |config: &Config| {
            let opened = Journal::open_stepped(disk, &config.journal, Sabotage::None);
            let (opened, steps) = opened.map_err(|source| StartError::Journal { dir: "the model disk".to_owned(), source })?;
            stepper = Some(steps);
            Ok(opened)
        };
        let started = Sidecar::start_parts(self.config(life), self.0.clock.clone(), None, Kept::InMemory, open).await;
        let (handle, steps) = match (started, stepper) {
            (Ok(handle), Some(steps)) => (handle, steps),
            (started, _) => {
                self.0.trace.note(&format!("life {life} did not start: {:?}", started.err().map(|error| error.to_string())));
                let site = self.clone();
                tokio::spawn(async move { site.start_after(Duration::from_secs(1)).await });
                return;
            }
        };
        let report = handle.recovery();
        self.0.trace.note(&format!("life {life} begins with {} pending", report.pending));
        if !report.damaged.is_empty() || !report.missing.is_empty() {
            self.blame(format!("a crash is reported as damage: {report:?}"));
        }
        let site = self.clone();
        let tempo = Tempo { commit: Duration::from_millis(self.0.script.commit_ms), save: Duration::from_millis(20) };
        let stepper = tokio::spawn(steps.run(tempo, move || site.heed_power()));
        self.state().running = Some(Running { handle, stepper });
        self.0.network.set_alive(Some(life));
    }

    /// Boxed, as a start that fails starts again.
    pub(super) fn start_after(&self, pause: Duration) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        let site = self.clone();
        Box::pin(async move {
            sleep(pause).await;
            site.start().await;
        })
    }

    fn config(&self, life: u64) -> Config {
        let to = |place| upstream::Settings { url: Network::origin(place, life), ..upstream::Settings::default() };
        let segment = to(Place::Segment);
        let script = &self.0.script;
        let pace = |place: Place| delivery::Pace { rate_limit: script.rate_limits[place as usize], ..delivery::Pace::default() };
        Config {
            ingress: ingress::Settings { listen: None, on_full: script.on_full, limits: Limits::default(), ..ingress::Settings::default() },
            journal: journal::Settings {
                dir: "/model".into(),
                size_max: script.size_max,
                volume_size: script.volume_size,
                keep_delivered: script.keep_delivered,
                memory_max: script.memory_max,
                ..journal::Settings::default()
            },
            segment: SegmentConfig { us: segment.clone(), eu: segment.clone(), cdn: segment.clone(), cdn_settings: segment },
            rudderstack: Some(to(Place::RudderStack)),
            delivery: delivery::Settings {
                pace: PerDestination { segment: pace(Place::Segment), rudderstack: pace(Place::RudderStack) },
                memory_max: ByteSize(LANES_BYTES_MAX),
                ..delivery::Settings::default()
            },
            telemetry: telemetry::Settings { metrics: None, ..telemetry::Settings::default() },
            // Its socket is a file of the real world.
            admin: ControlPlace::Off,
            kill_file: ControlPlace::Off,
            sources: self.0.sources.clone(),
            ..Config::default()
        }
    }

    /// Takes the sidecar down in the middle of whatever it does. False when it is down already.
    pub(super) fn crash(&self, how: Crash) -> bool {
        let mut state = self.state();
        if let (Crash::PowerCutAfter(changes), Some(_)) = (how, &state.running) {
            // The stepper notices when it has come to that.
            state.disk.cut_after(changes + 1);
            return false;
        }
        let Some(running) = state.running.take() else { return false };
        // Nothing that the dead process still does in this program may be seen by anybody.
        state.disk = if how == Crash::Kill { state.disk.after_kill() } else { state.disk.after_power_cut() };
        state.crashes.push(Instant::now());
        running.stepper.abort();
        for (index, source) in self.0.sources.iter().enumerate() {
            let counts = running.handle.counters().source(&source.id);
            state.unjournalled[index] += counts.unjournalled.value();
            state.relayed[index] += counts.relayed.value();
        }
        state.relay_failures += running.handle.counters().relay_failures.value();
        let life = state.life;
        drop(state);
        self.0.network.set_alive(None);
        self.0.trace.note(&format!("life {life} ends: {how:?}"));
        drop(running);
        true
    }

    /// Whether the disk has lost its power by itself: then so has everything else.
    fn heed_power(&self) {
        let is_cut = self.state().disk.is_cut();
        if is_cut && self.crash(Crash::PowerCut) {
            let site = self.clone();
            tokio::spawn(async move { site.start_after(Duration::from_secs(2)).await });
        }
    }

    /// A client's connection to the sidecar.
    pub(super) async fn connect(&self, peer: IpAddr) -> io::Result<End> {
        let (near, far) = self.0.network.call_sidecar().await?;
        let state = self.state();
        let running = state.running.as_ref().ok_or(io::ErrorKind::ConnectionRefused)?;
        running.handle.ingress().welcome(far, peer);
        Ok(near)
    }

    /// Looks at the sums (promise 6) and at the memory.
    pub(super) fn look(&self) {
        let mut state = self.state();
        let Some(running) = &state.running else { return };
        let rows = running.handle.ledger();
        let held: usize = running.handle.lanes().iter().map(|lane| lane.memory_bytes).sum();
        let usage = running.handle.journal().usage();
        state.looks += 1;
        let mut wrong: Vec<String> = rows.iter().filter_map(|(id, row)| unsound(id, row)).collect();
        if usage.memory_bytes > self.0.script.memory_max.0 + JOURNAL_BYTES_SPARE {
            wrong.push(format!("the journal holds {} bytes in memory", usage.memory_bytes));
        }
        if held as u64 > LANES_BYTES_MAX + LANES_BYTES_SPARE {
            wrong.push(format!("lanes hold {held} bytes in memory"));
        }
        state.faults.extend(wrong);
    }

    /// Events that wait; None while the sidecar is down.
    pub(super) fn pending(&self) -> Option<u64> {
        let state = self.state();
        Some(state.running.as_ref()?.handle.ledger().iter().map(|(_, row)| row.pending).sum())
    }

    /// The ledger and how lanes stand; empty while the sidecar is down.
    pub(super) fn ledger(&self) -> Vec<(LaneId, Ledger)> {
        self.state().running.as_ref().map(|running| running.handle.ledger()).unwrap_or_default()
    }

    /// How lanes stand, in words.
    pub(super) fn standing(&self) -> String {
        let state = self.state();
        let Some(running) = &state.running else { return "down".to_owned() };
        format!("{:?} {:?} {:?}", running.handle.journal().health(), running.handle.ledger(), running.handle.lanes())
    }

    /// The journal of the present life.
    pub(super) fn journal(&self) -> Option<Journal> {
        self.state().running.as_ref().map(|running| running.handle.journal().clone())
    }

    pub(super) fn disk(&self) -> Arc<ModelDisk> {
        Arc::clone(&self.state().disk)
    }

    /// Moves the machine's wall clock.
    pub(super) fn jump(&self, by_ms: i64) {
        self.0.clock.advance_ms(by_ms);
    }

    pub(super) fn blame(&self, fault: String) {
        self.0.trace.note(&fault);
        self.state().faults.push(fault);
    }

    /// Everything that was counted.
    pub(super) fn account(&self) -> Account {
        let mut state = self.state();
        let (mut unjournalled, mut relayed, mut relay_failures) = (state.unjournalled.clone(), state.relayed.clone(), state.relay_failures);
        if let Some(running) = &state.running {
            for (index, source) in self.0.sources.iter().enumerate() {
                let counts = running.handle.counters().source(&source.id);
                unjournalled[index] += counts.unjournalled.value();
                relayed[index] += counts.relayed.value();
            }
            relay_failures += running.handle.counters().relay_failures.value();
        }
        let faults = std::mem::take(&mut state.faults);
        Account { crashes: state.crashes.clone(), unjournalled, relayed, relay_failures, faults, looks: state.looks }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What all lanes together may hold in memory here.
const LANES_BYTES_MAX: u64 = 1 << 20;
/// Each lane may hold 256 KiB whatever the others do, and one intake more.
const LANES_BYTES_SPARE: u64 = 8 * (256 << 10);
/// The newest record stays however small the limit is.
const JOURNAL_BYTES_SPARE: u64 = 64 << 10;

/// What is wrong with a lane's sums.
fn unsound(id: &LaneId, row: &Ledger) -> Option<String> {
    let ends = row.delivered + row.pending + row.quarantined + row.deduplicated + row.suppressed + row.expired + row.purged;
    let lost = row.expired + row.purged + row.suppressed;
    (row.planned != ends || lost > 0).then(|| format!("{id}: {row:?}"))
}
