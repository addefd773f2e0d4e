//! The show: traffic for a while, figures each second, a summary that adds up.

use std::{
    io::{self, Write},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use http::StatusCode;
use tokio::{
    sync::{Notify, Semaphore},
    time::{Instant, MissedTickBehavior, interval},
};

use super::{
    account::{Account, Line},
    proof,
    random::Random,
    stage::{self, Stage},
    traffic,
};
use crate::{
    app::StartError,
    clock::Clock,
    model::{Destination, SourceIdError},
    routing::RouteError,
    tls::{InitError, TlsError},
    upstream::UpstreamError,
};

/// What a demo can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How long traffic flows; None: until SIGINT or SIGTERM.
    pub duration: Option<Duration>,
    /// Events per second, all apps together.
    pub rate: u32,
    /// What the traffic is made from.
    pub seed: u64,
    /// What is shown while traffic flows.
    pub live: Live,
}

/// What is shown while traffic flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Live {
    /// A line of figures each second.
    EachSecond,
    /// Nothing before the summary: somebody else shows it.
    Silent,
}

/// How a demo ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Every acknowledged event is where its route says.
    Whole,
    /// So many are not.
    Lost(usize),
}

/// Why a demo could not run.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A file, a port or the output.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The local CA.
    #[error(transparent)]
    Ca(#[from] InitError),
    /// The stand-ins' certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The sidecar.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The apps' client.
    #[error(transparent)]
    Client(#[from] UpstreamError),
    /// One of the demo's own sources.
    #[error(transparent)]
    Source(#[from] SourceIdError),
    /// One of the demo's own routes.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// The sidecar started without its TLS listener.
    #[error("the sidecar has no TLS listener")]
    NoTls,
    /// The sidecar started without its listener for webhooks.
    #[error("the sidecar has no listener for webhooks")]
    NoHooks,
}

/// Requests of all apps in flight.
const IN_FLIGHT_MAX: usize = 64;
/// How long the last events may take to arrive.
const DRAIN_MAX: Duration = Duration::from_secs(30);

/// Runs the demo and writes what happens to `out`, in plain lines. Meanwhile `beside` looks at it by its admin socket; traffic ends
/// when that does, or its time is over.
///
/// # Errors
/// When a part does not start or `out` cannot be written.
pub async fn run(options: Options, out: &mut (impl Write + Send), beside: impl AsyncFnOnce(PathBuf)) -> Result<Outcome, DemoError> {
    let dir = TemporaryDir::new()?;
    let stage = Arc::new(stage::build(&dir.0).await?);
    opening(out, &stage, options)?;
    let account = Arc::new(Account::default());
    let enough = Notify::new();
    let looking = async {
        beside(stage.socket.clone()).await;
        enough.notify_one();
        std::future::pending::<()>().await;
    };
    // Whoever still looks when the time is over is gone before anything else is written.
    tokio::select! {
        played = play(options, out, &stage, &account, &enough) => played?,
        () = looking => {}
    }
    writeln!(out, "\ntraffic ended; waiting for the last events to arrive")?;
    stage.drain(DRAIN_MAX).await;
    proof::settle(&stage).await;
    let lines = account.settle(&stage.arrived());
    proof::tell(out, &stage)?;
    let outcome = summary(out, &stage, &lines)?;
    if let Ok(stage) = Arc::try_unwrap(stage) {
        stage.sidecar.stop().await;
    }
    Ok(outcome)
}

fn opening(out: &mut impl Write, stage: &Stage, options: Options) -> io::Result<()> {
    let shown = |address: Option<std::net::SocketAddr>| address.map_or_else(String::new, |address| address.to_string());
    writeln!(out, "segue demo: nothing leaves this machine, nothing is kept (seed {})", options.seed)?;
    writeln!(out, "  apps        {} made-up SDKs, {} events a second", stage.sources.len(), options.rate)?;
    writeln!(
        out,
        "  segue       https://{}  metrics http://{}/metrics",
        shown(stage.sidecar.tls_address()),
        shown(stage.sidecar.metrics_address())
    )?;
    writeln!(out, "  Segment     {} (stand-in)", stage.segment.url())?;
    writeln!(out, "  RudderStack {} (stand-in)", stage.rudderstack.url())?;
    for (app, _) in &stage.sources {
        writeln!(out, "  source      {:<14} {}", app.name, app.route)?;
    }
    writeln!(out)
}

/// Sends at the asked rate and prints a line each second.
async fn play(
    options: Options,
    out: &mut impl Write,
    stage: &Arc<Stage>,
    account: &Arc<Account>,
    enough: &Notify,
) -> Result<(), DemoError> {
    let (mut random, slots) = (Random::seeded(options.seed), Arc::new(Semaphore::new(IN_FLIGHT_MAX)));
    let started = Instant::now();
    let end = options.duration.map(|duration| started + duration);
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mended_at = started + options.duration.map_or(proof::MENDED_AFTER, |duration| proof::MENDED_AFTER.min(duration / 2));
    let mut is_mended = false;
    let (mut sent, mut shown_s, mut last) = (0_u64, 0, (0, 0, 0));
    let mut interrupt = std::pin::pin!(interrupted());
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = &mut interrupt => break,
            () = enough.notified() => break,
        }
        if end.is_some_and(|end| Instant::now() >= end) {
            break;
        }
        if !is_mended && Instant::now() >= mended_at {
            is_mended = true;
            stage.rudderstack.emissions().mend(stage.fault);
        }
        let due = u64::try_from(started.elapsed().as_millis()).unwrap_or(0) * u64::from(options.rate) / 1_000;
        while sent < due {
            let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else { break };
            sent += send(stage, account, &mut random, slot);
        }
        let second = started.elapsed().as_secs();
        if second > shown_s && options.live == Live::EachSecond {
            shown_s = second;
            let now = (account.total(), stage.delivered(Destination::Segment), stage.delivered(Destination::RudderStack));
            writeln!(
                out,
                "{second:>4}s  taken {:>6}/s   Segment {:>6}/s   RudderStack {:>6}/s   waiting {:>6}",
                now.0 - last.0,
                now.1 - last.1,
                now.2 - last.2,
                stage.waiting()
            )?;
            out.flush()?;
            last = now;
        }
    }
    // Requests in flight end by themselves: the client has a deadline of its own.
    let _ = slots.acquire_many(u32::try_from(IN_FLIGHT_MAX).unwrap_or(1)).await;
    Ok(())
}

const TICK: Duration = Duration::from_millis(20);

/// Starts one request; says how many events are in it.
fn send(stage: &Arc<Stage>, account: &Arc<Account>, random: &mut Random, slot: tokio::sync::OwnedSemaphorePermit) -> u64 {
    let index = usize::try_from(random.below(stage.sources.len() as u64)).unwrap_or(0);
    let (app, source) = &stage.sources[index];
    let made = traffic::make(app, random, Clock::system().now());
    let count = made.events.len() as u64;
    let (client, account, source) = (stage.client.clone(), Arc::clone(account), Arc::clone(source));
    tokio::spawn(async move {
        match client.send(made.call).await {
            Ok(answer) if answer.status == StatusCode::OK => account.acknowledged(&source, &made.events),
            _ => account.refused(&source, made.events.len()),
        }
        drop(slot);
    });
    count
}

async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

fn summary(out: &mut impl Write, stage: &Stage, lines: &[Line]) -> io::Result<Outcome> {
    writeln!(
        out,
        "\n{:<14} {:>12} {:>7} {:>16} {:>16} {:>7}",
        "source", "acknowledged", "refused", "Segment has", "RudderStack has", "missing"
    )?;
    let mut lost = 0;
    for line in lines {
        let missing = line.missing.segment + line.missing.rudderstack;
        let has = |due: usize, missing: usize| format!("{} of {due}", due - missing);
        let (segment, rudderstack) = (has(line.due.segment, line.missing.segment), has(line.due.rudderstack, line.missing.rudderstack));
        writeln!(out, "{:<14} {:>12} {:>7} {segment:>16} {rudderstack:>16} {missing:>7}", line.source, line.acknowledged, line.refused)?;
        lost += missing;
    }
    writeln!(out, "\n{:<27} {:>7} = {:>9} + {:>7} + {:>11} + {:>5}", "lane", "planned", "delivered", "waiting", "quarantined", "other")?;
    for (lane, ledger) in stage.sidecar.ledger() {
        let other = ledger.deduplicated + ledger.suppressed + ledger.expired + ledger.purged;
        let (planned, delivered, waiting, quarantined) = (ledger.planned, ledger.delivered, ledger.pending, ledger.quarantined);
        writeln!(out, "{:<27} {planned:>7} = {delivered:>9} + {waiting:>7} + {quarantined:>11} + {other:>5}", lane.to_string())?;
    }
    if lost == 0 {
        writeln!(out, "\nnothing was lost")?;
        return Ok(Outcome::Whole);
    }
    writeln!(out, "\n{lost} acknowledged events are missing")?;
    Ok(Outcome::Lost(lost))
}

/// A directory that goes when the demo goes.
struct TemporaryDir(std::path::PathBuf);

impl TemporaryDir {
    fn new() -> io::Result<Self> {
        let dir = std::env::temp_dir().join(format!("segue-demo-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&dir)?;
        Ok(Self(dir))
    }
}

impl Drop for TemporaryDir {
    fn drop(&mut self) {
        // What cannot be removed lies in the system's temporary directory, which is cleaned by others.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
