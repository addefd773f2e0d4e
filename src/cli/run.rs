//! The commands that start something: `run`, `demo` and `standin`.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
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
};
use crate::{
    app::{self, Attention, Ending, Urgency},
    config::{Loaded, Problems, exposed_files},
    control::Reread,
    demo::{self, Outcome},
    standin::{self, Key, Options},
    telemetry::{self, flush_log, start_logging},
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

/// Runs the demo; fails when an acknowledged event did not arrive.
pub fn demo(flags: &DemoFlags, talk: &Talk) -> anyhow::Result<Exit> {
    let settings = telemetry::Settings { level: "warn".to_owned(), ..telemetry::Settings::default() };
    start_logging(&settings)?;
    let options = demo::Options {
        duration: flags.seconds.map(Duration::from_secs),
        rate: flags.rate,
        seed: flags.seed.unwrap_or_else(|| u64::from(std::process::id())),
        live: if flags.headless || talk.form() == Form::Json { demo::Live::Silent } else { demo::Live::EachSecond },
    };
    match runtime()?.block_on(demo::run(options, &mut io::stdout()))? {
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
