//! One run: everything is set up as the script says, happens, heals, drains, and is judged.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use tokio::{
    runtime,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use super::{
    client::{Client, Surroundings},
    facts::{Fact, Facts, Told, name_of},
    network::Network,
    oracle::{self, judge},
    pipe::Path,
    script::{Broken, Place, Script, pick},
    site::{Account, Site},
    trace::Trace,
    weather::Weather,
};
use crate::{
    chance::Seeded,
    clock::Clock,
    delivery,
    journal::{LaneId, Ledger},
    model::{Dice, PerDestination, RateLimit, Secret, SourceId, WallTime},
    routing::{Region, Route, Source, Stage},
    standin::{Key, Options, Standin, TakenEvent, Vendor},
    upstream::Simulated,
};

/// How long clients may take to finish what they have begun, once everything works again.
const FINISH_MAX: Duration = Duration::from_mins(20);
/// How long the journal may take to drain, once everything works again.
const DRAIN_MAX: Duration = Duration::from_mins(40);
/// How long a fresh event may take from end to end, once everything has worked for a while (I7).
const FRESH_MAX: Duration = Duration::from_secs(5);

/// The true time at which every run begins.
const BEGINNING_MS: i64 = 1_900_000_000_000;

/// How a run ended, for the oracle.
pub(super) struct Ending {
    pub(super) script: Script,
    pub(super) facts: BTreeMap<String, Fact>,
    pub(super) taken: [Vec<TakenEvent>; 2],
    pub(super) busiest_second: [u64; 2],
    /// By vendor and source.
    pub(super) keys: [Vec<String>; 2],
    pub(super) account: Account,
    pub(super) ledger: Vec<(LaneId, Ledger)>,
    pub(super) standing: String,
    /// The names of the events in quarantine, and how many there are.
    pub(super) quarantined: BTreeSet<String>,
    pub(super) quarantined_events: u64,
    /// When answers could get lost, and at which vendor.
    pub(super) unclear: Vec<(Place, WallTime, WallTime)>,
    pub(super) times_are_exact: bool,
}

/// What a run came to.
pub(super) struct Report {
    pub(super) seed: u64,
    /// What is wrong; empty when all is well.
    pub(super) faults: Vec<String>,
    pub(super) trace: Trace,
    pub(super) met: Met,
}

/// What a run has met: runs that never met it prove nothing about it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Met {
    pub(super) events: u64,
    pub(super) taken: u64,
    pub(super) crashes: u64,
    pub(super) resent: u64,
    pub(super) duplicates: u64,
    pub(super) relayed: u64,
    pub(super) quarantined: u64,
    pub(super) looks: u64,
    pub(super) virtual_s: u64,
    /// The longest time from when an event happened until a vendor had it, in seconds.
    pub(super) late_s_most: [i64; 2],
    /// The most by which a vendor's idea of when an event happened was off, in milliseconds.
    pub(super) off_ms_most: i64,
    /// Connections that were refused.
    pub(super) refused: u64,
}

/// Runs a script, alone on this thread and in virtual time.
pub(super) fn run(script: Script) -> Report {
    let runtime = runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime can be made");
    let _chance = Seeded::begin(script.seed);
    delivery::sabotage(if let Broken::Delivery(rule) = script.broken { Some(rule) } else { None });
    let report = runtime.block_on(live(script));
    delivery::sabotage(None);
    report
}

/// Everybody on stage.
struct World {
    begun: Instant,
    script: Script,
    sources: Vec<Source>,
    keys: [Vec<String>; 2],
    vendors: [Arc<Standin>; 2],
    weather: Weather,
    around: Surroundings,
    _network: Simulated,
}

async fn live(script: Script) -> Report {
    let world = World::set_up(script);
    let World { script, weather, around, .. } = &world;
    let site = &around.site;
    weather.poison(script.poison);
    site.start().await;
    let (watching, every) = (site.clone(), script.look_every);
    let looks = tokio::spawn(async move {
        loop {
            watching.look();
            sleep(every).await;
        }
    });
    let clients = world.let_clients_begin();
    let incidents: Vec<_> = script.incidents.iter().map(|incident| tokio::spawn(weather.clone().strike(incident.clone()))).collect();
    sleep(script.traffic).await;
    for incident in incidents {
        incident.abort();
        let _ = incident.await;
    }
    weather.clear_up(script.poison).await;
    let cleared = around.clock.now();
    for client in clients {
        if timeout(FINISH_MAX, client).await.is_err() {
            site.blame("a client does not come to its end though everything works".to_owned());
        }
    }
    drain(site).await;
    for (index, source) in world.sources.iter().enumerate() {
        be_fresh(Client::new(900 + index, (index, source), around, Dice::new(script.seed)), site).await;
    }
    looks.abort();
    site.look();
    world.end(cleared).await
}

impl World {
    fn set_up(script: Script) -> Self {
        let (begun, trace) = (Instant::now(), Trace::begin(script.trace_lines_max));
        let truth = Clock::by_timers(WallTime::from_millis(BEGINNING_MS));
        let sources: Vec<Source> = script.routes.iter().enumerate().map(|(index, route)| source(index, route)).collect();
        let keys = [
            sources.iter().map(|source| source.segment_keys[0].expose().to_owned()).collect::<Vec<_>>(),
            sources.iter().filter_map(|source| Some(source.rudderstack_key.as_ref()?.expose().to_owned())).collect(),
        ];
        let vendors = [(Vendor::Segment, &keys[0]), (Vendor::RudderStack, &keys[1])].map(|(vendor, keys)| {
            let options = Options { keys: keys.iter().map(Key::enabled).collect(), clock: truth.clone(), ..Options::default() };
            Arc::new(Standin::silent(vendor, options, SocketAddr::from(([127, 0, 0, 1], 9))))
        });
        let paths = Place::ALL.map(|place| {
            let (latency_ms, jitter_ms) = script.latencies[place as usize];
            Path::new(latency_ms, jitter_ms, script.seed ^ (place as u64 + 1))
        });
        let network = Network::new(paths, vendors.clone(), trace.clone());
        let dialling = network.clone();
        let simulated = Simulated::begin(move |host| dialling.dial(host));
        let site = Site::new(script.clone(), network.clone(), truth.another(), trace.clone(), sources.clone());
        let weather = Weather { site: site.clone(), network, vendors: vendors.clone(), trace: trace.clone() };
        let (think_ms, poison) = (script.think_ms, script.poison);
        trace.note(&format!("{script:?}"));
        let around = Surroundings { site, facts: Facts::default(), clock: truth, trace, think_ms, poison };
        Self { begun, script, sources, keys, vendors, weather, around, _network: simulated }
    }

    fn let_clients_begin(&self) -> Vec<JoinHandle<()>> {
        let mut dice = Dice::new(self.script.seed ^ 0xC11E);
        let begin = |number| {
            let index = pick(&mut dice, self.sources.len());
            let client = Client::new(number, (index, &self.sources[index]), &self.around, Dice::new(dice.next()));
            tokio::spawn(client.run(self.script.traffic))
        };
        (0..self.script.clients).map(begin).collect()
    }

    /// Gathers everything that the oracle looks at, and asks it. `cleared`: since when everything works.
    async fn end(self, cleared: WallTime) -> Report {
        let Self { begun, script, keys, vendors, weather, around, .. } = self;
        let Surroundings { site, facts, trace, .. } = around;
        let (quarantined, quarantined_events) = quarantine(&site).await;
        let when = |from: Duration| WallTime::from_millis(BEGINNING_MS).plus_millis(i64::try_from(from.as_millis()).unwrap_or(i64::MAX));
        let account = site.account();
        let incidents = script.incidents.iter().flat_map(|incident| {
            let (from, to) = (when(incident.at), when(incident.at + incident.length).min(cleared));
            oracle::unclear(&incident.kind).iter().map(move |vendor| (*vendor, from, to))
        });
        let crashes = account.crashes.iter().map(|at| when(*at - begun));
        let unclear = incidents.chain(crashes.flat_map(|at| Place::VENDORS.map(|vendor| (vendor, at, at)))).collect();
        let taken = [0, 1].map(|vendor| vendors[vendor].taken().events);
        for (vendor, events) in Place::VENDORS.iter().zip(&taken) {
            for event in events {
                let name = event.json.as_deref().and_then(name_of).unwrap_or("?");
                trace.note(&format!("{} took {name} at {} on connection {}", vendor.label(), event.at, event.connection));
            }
        }
        let ending = Ending {
            times_are_exact: !script.has(oracle::spoils_times),
            facts: facts.all().clone(),
            busiest_second: [0, 1].map(|vendor| vendors[vendor].counts().events_per_second_max),
            taken,
            keys,
            account,
            ledger: site.ledger(),
            standing: site.standing(),
            quarantined,
            quarantined_events,
            unclear,
            script,
        };
        let met = meet(&ending, begun, &vendors, weather.network.refused());
        Report { seed: ending.script.seed, faults: judge(&ending), trace, met }
    }
}

fn meet(ending: &Ending, begun: Instant, vendors: &[Arc<Standin>; 2], refused: u64) -> Met {
    let facts = ending.facts.values();
    let known =
        |vendor: usize| ending.taken[vendor].iter().filter_map(|event| Some((event, ending.facts.get(name_of(event.json.as_deref()?)?)?)));
    let off_ms = |(event, fact): (&TakenEvent, &Fact)| Some(event.times.as_ref()?.timestamp.millis_since(fact.happened).abs());
    Met {
        events: ending.facts.len() as u64,
        taken: facts.clone().filter(|fact| fact.told == Told::Taken).count() as u64,
        crashes: ending.account.crashes.len() as u64,
        resent: facts.filter(|fact| fact.attempts > 1).count() as u64,
        duplicates: vendors.iter().map(|vendor| vendor.counts().duplicates).sum(),
        relayed: ending.account.relayed.iter().sum(),
        quarantined: ending.quarantined_events,
        looks: ending.account.looks,
        virtual_s: begun.elapsed().as_secs(),
        late_s_most: [0, 1]
            .map(|vendor| known(vendor).map(|(event, fact)| event.at.millis_since(fact.happened) / 1_000).max().unwrap_or(0)),
        off_ms_most: (0..2).flat_map(known).filter_map(off_ms).max().unwrap_or(0),
        refused,
    }
}

/// Waits until nothing is pending.
async fn drain(site: &Site) {
    let begun = Instant::now();
    while site.pending() != Some(0) {
        if begun.elapsed() > DRAIN_MAX {
            site.blame(format!("it does not drain though everything works: {}", site.standing()));
            return;
        }
        sleep(Duration::from_millis(250)).await;
    }
}

/// I7: once everything works, a fresh event is taken at once and goes through in a moment.
async fn be_fresh(mut client: Client, site: &Site) {
    let begun = Instant::now();
    if client.make_and_send().await != Told::Taken {
        site.blame("a fresh event is not taken though everything works".to_owned());
    }
    while site.pending() != Some(0) && begun.elapsed() < DRAIN_MAX {
        sleep(Duration::from_millis(50)).await;
    }
    if begun.elapsed() > FRESH_MAX {
        site.blame(format!("a fresh event takes {:?} though everything works", begun.elapsed()));
    }
}

/// The names of what stands in quarantine, over all lanes, and how many events there are.
async fn quarantine(site: &Site) -> (BTreeSet<String>, u64) {
    let (mut names, mut count) = (BTreeSet::new(), 0);
    let Some(journal) = site.journal() else { return (names, count) };
    for (lane, _) in site.ledger() {
        match journal.quarantined(&lane).await {
            Ok(items) => {
                count += items.len() as u64;
                names.extend(items.iter().map(|item| {
                    let json = String::from_utf8_lossy(&item.event).into_owned();
                    name_of(&json).map_or(json.clone(), str::to_owned)
                }));
            }
            Err(error) => site.blame(format!("the quarantine of {lane} cannot be read: {error}")),
        }
    }
    (names, count)
}

fn source(index: usize, route: &str) -> Source {
    Source {
        id: SourceId::parse(&format!("source-{index}")).expect("it is an id"),
        name: format!("Source {index}"),
        segment_keys: vec![Secret::new(format!("wk_test_segment_{index}"))],
        rudderstack_key: Some(Secret::new(format!("wk_test_rudder_{index}"))),
        region: Region::Us,
        is_retired: false,
        route: Route::from(route.parse::<Stage>().expect("it is a stage")),
        rules: Vec::new(),
        rate_limits: PerDestination { segment: RateLimit::None, rudderstack: RateLimit::None },
    }
}
