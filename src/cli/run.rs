//! The commands that start something: `run`, `demo` and `standin`.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, IsTerminal, Write},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{SignalKind, signal},
};

use super::{
    Exit,
    command::{DemoFlags, StandinFlags, Vendor},
    talk::{Form, Talk},
    top,
};
use crate::{
    app::{self, Attention, Ending, Urgency},
    config::{Loaded, Problems, exposed_files},
    control::Reread,
    demo::{self, Outcome},
    standin::{self, Key, Options},
    telemetry::{self, flush_log, start_logging},
    tui,
};

/// Runs the sidecar until it is asked to stop.
pub fn sidecar(
    loaded: Loaded,
    read: impl Fn() -> Result<Loaded, Problems> + Send + Sync + 'static,
    attention: Attention,
    talk: &Talk,
) -> anyhow::Result<Exit> {
    talk.problems(&Problems::new([loaded.warnings.list(), &exposed_files(&loaded)].concat()));
    start_logging(&loaded.config.telemetry)?;
    let runtime = runtime()?;
    let started_with = settings(&loaded);
    let read = move || {
        let loaded = read().map_err(|problems| problems.to_string())?;
        let now = settings(&loaded);
        let differs = |key: &&String| now.get(*key) != started_with.get(*key);
        let keys: BTreeSet<&String> = now.keys().chain(started_with.keys()).filter(differs).collect();
        Ok(Reread { sources: loaded.config.sources, needs_restart: keys.into_iter().cloned().collect(), files: loaded.files })
    };
    let ended = runtime.block_on(app::run_until_signal(loaded.config, Arc::new(read), attention, |_| {}));
    tracing::debug!(?ended);
    flush_log();
    // A name that is being looked up holds a thread for as long as the resolver likes: nobody waits for it.
    runtime.shutdown_background();
    Ok(match ended? {
        // The drain had a time, and it was not enough.
        Ending::InOrder(report) if report.events_lost() > 0 => Exit::TimedOut,
        Ending::InOrder(_) => Exit::Done,
        Ending::AtOnce(Urgency::Terminate) => Exit::Terminated,
        Ending::AtOnce(Urgency::Interrupt) => Exit::Interrupted,
        Ending::AtOnce(Urgency::Quit) => Exit::Quit,
    })
}

/// The settings that are read at the start only.
fn settings(loaded: &Loaded) -> BTreeMap<String, String> {
    let fixed = loaded.settings.iter().filter(|setting| !setting.key.starts_with("source."));
    fixed.map(|setting| (setting.key.clone(), setting.value.clone())).collect()
}

/// Runs the demo, with the dashboard where there is a terminal; fails when an acknowledged event did not arrive.
pub fn demo(flags: &DemoFlags, talk: &Talk) -> anyhow::Result<Exit> {
    let is_seen = io::stdout().is_terminal() && io::stdin().is_terminal();
    let has_dashboard = is_seen && !flags.headless && !flags.plain && talk.form() == Form::Text;
    // A line of the log in the middle of the dashboard would be read by nobody.
    let level = if has_dashboard { "off" } else { "warn" };
    start_logging(&telemetry::Settings { level: level.to_owned(), ..telemetry::Settings::default() })?;
    let is_silent = has_dashboard || flags.headless || talk.form() == Form::Json;
    let options = demo::Options {
        duration: flags.seconds.map(Duration::from_secs),
        rate: flags.rate,
        seed: flags.seed.unwrap_or_else(|| u64::from(std::process::id())),
        live: if is_silent { demo::Live::Silent } else { demo::Live::EachSecond },
    };
    let look = top::look(flags.ascii, flags.theme, talk);
    let mut failed = None;
    let beside = async |socket: PathBuf| {
        if !has_dashboard {
            return std::future::pending().await;
        }
        let options = tui::Options { socket, name: "demo".to_owned(), look, operate: false, screen: None };
        failed = tui::run(options).await.err();
    };
    let outcome = runtime()?.block_on(demo::run(options, &mut io::stdout(), beside))?;
    if let Some(error) = failed {
        talk.error(&error.into());
    }
    match outcome {
        Outcome::Whole => Ok(Exit::Done),
        Outcome::Lost(_) => Ok(Exit::Failed),
    }
}

/// Runs a stand-in until it is asked to stop; its address is the first line on stdout.
pub fn standin(vendor: Vendor, flags: &StandinFlags, _talk: &Talk) -> anyhow::Result<Exit> {
    let vendor = match vendor {
        Vendor::Segment => standin::Vendor::Segment,
        Vendor::Rudderstack => standin::Vendor::RudderStack,
    };
    let options = Options { listen: flags.listen, keys: flags.keys.iter().map(Key::enabled).collect(), ..Options::default() };
    runtime()?.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stop = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        let ready = |address| {
            // Whoever reads the address may be gone; the stand-in serves on.
            let _ = writeln!(io::stdout(), "http://{address}");
        };
        standin::serve(vendor, options, ready, stop).await
    })?;
    Ok(Exit::Done)
}

/// One core needs no workers that steal from each other: a single-threaded runtime saves their hand-overs.
fn runtime() -> anyhow::Result<Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut builder = if cores == 1 { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    builder.enable_all().build().context("the runtime cannot start")
}
