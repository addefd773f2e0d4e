//! `segue check`.

use std::time::Duration;

use clap::ArgMatches;
use serde::Serialize;

use super::{
    Exit,
    command::{CheckFlags, Manner},
    config::overrides,
    talk::{Form, Talk},
};
use crate::{
    config::{self, Code, Environment, Loaded, Problem, Problems, Severity},
    journal::{self, Pace},
    model::ByteSize,
};

/// What `check --json` prints.
#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    ok: bool,
    files: Vec<String>,
    errors: usize,
    warnings: usize,
    problems: &'a [Problem],
    /// How long the journal's quota lasts when nothing is delivered; null when the configuration cannot be loaded.
    journal: Option<Lasting>,
}

/// How long the journal's quota lasts when nothing is delivered.
#[derive(Debug, Serialize)]
struct Lasting {
    /// Bytes that the journal holds before it is full.
    capacity_bytes: u64,
    /// At the pace of the last day of the data directory's past; null when it has none.
    at_recent_pace: Option<AtPace>,
    /// At stated paces.
    at: Vec<AtPace>,
}

/// Hours at one pace.
#[derive(Debug, Serialize)]
struct AtPace {
    /// Bytes a second on disk.
    bytes_per_second: f64,
    /// Events of 1 KB a second: what the bytes are when nothing else is known.
    events_per_second: f64,
    hours: f64,
}

/// What an event of 1 KB takes on disk, as one request: with its headers, its source and its outline.
const EVENT_BYTES: u64 = 1250;
/// Events a second for which hours are stated.
const STATED: [u64; 2] = [100, 1_000];

impl Lasting {
    fn of(loaded: &Loaded, look: Look) -> Self {
        let settings = &loaded.config.journal;
        let capacity_bytes = journal::capacity_bytes(settings);
        let at = |pace: Pace| AtPace::of(pace, capacity_bytes);
        let past = match look {
            Look::Machine => journal::past_pace(&settings.dir),
            Look::Offline => None,
        };
        let stated = STATED.map(|events| at(Pace { bytes: events * EVENT_BYTES, over: Duration::from_secs(1) }));
        Self { capacity_bytes, at_recent_pace: past.map(at), at: stated.into() }
    }
}

impl AtPace {
    #[expect(clippy::cast_precision_loss, reason = "a forecast is not exact")]
    fn of(pace: Pace, capacity_bytes: u64) -> Self {
        let bytes_per_second = pace.bytes as f64 / pace.over.as_secs_f64();
        Self { bytes_per_second, events_per_second: bytes_per_second / EVENT_BYTES as f64, hours: pace.hours_of(capacity_bytes) }
    }
}

/// What a check may look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// This machine, too.
    Machine,
    /// The configuration alone.
    Offline,
}

/// One code, as `check --explain --json` prints it.
#[derive(Serialize)]
struct Explained {
    code: Code,
    title: &'static str,
    explanation: &'static str,
}

/// Checks the configuration, or explains a code.
pub fn check(manner: &Manner, flags: &CheckFlags, matches: &ArgMatches, talk: &Talk) -> anyhow::Result<Exit> {
    if let Some(code) = flags.explain {
        return explain(code, talk);
    }
    let environment = Environment::of_process();
    let look = if flags.offline { Look::Offline } else { Look::Machine };
    let path = flags.file.as_deref().or(manner.config());
    let (problems, loaded) = match config::load(path, &environment, &overrides(manner, matches, &environment)) {
        Ok(loaded) => {
            let here = if flags.offline { Vec::new() } else { config::check_machine(&loaded) };
            (Problems::new([loaded.warnings.list(), &here].concat()), Some(loaded))
        }
        Err(problems) => (problems, None),
    };
    let (errors, warnings) = (problems.count(Severity::Error), problems.count(Severity::Warning));
    match talk.form() {
        Form::Json => talk.json(&Report {
            schema: "segue.check/v1",
            ok: errors == 0,
            files: loaded.iter().flat_map(|loaded| &loaded.files).map(|file| file.display().to_string()).collect(),
            errors,
            warnings,
            problems: problems.list(),
            journal: loaded.as_ref().map(|loaded| Lasting::of(loaded, look)),
        })?,
        Form::Text => {
            if !problems.is_empty() {
                talk.result(&problems.to_string())?;
            }
            if let (0, Some(loaded)) = (errors, &loaded) {
                talk.result(&summary(loaded, look))?;
            }
        }
    }
    Ok(match (errors, warnings) {
        (0, 0) => Exit::Done,
        (0, _) if flags.strict => Exit::No,
        (0, _) => Exit::Done,
        _ => Exit::Config,
    })
}

/// What would be started, in a few lines.
fn summary(loaded: &Loaded, look: Look) -> String {
    let files: Vec<String> = loaded.files.iter().map(|file| file.display().to_string()).collect();
    let mut lines = vec![format!("ok: {}", files.join(", "))];
    for source in &loaded.config.sources {
        let route = source.route;
        lines.push(format!("  {}: Segment {}, RudderStack {}", source.name, route.segment(), route.rudderstack()));
    }
    let lasting = Lasting::of(loaded, look);
    let capacity = ByteSize(lasting.capacity_bytes);
    if let Some(recent) = &lasting.at_recent_pace {
        let (lasts, kilobytes) = (hours(recent.hours), recent.bytes_per_second / 1e3);
        lines.push(format!("  journal: {capacity} hold {lasts} of an outage at the pace of the last day ({kilobytes:.0} KB/s)"));
    } else {
        let each: Vec<String> = lasting.at.iter().map(|at| format!("{} at {:.0}/s", hours(at.hours), at.events_per_second)).collect();
        lines.push(format!("  journal: {capacity} hold {} events of 1 KB, if nothing can be delivered", each.join(", ")));
    }
    lines.join("\n")
}

/// Hours, as exact as a forecast is.
fn hours(hours: f64) -> String {
    if hours < 10.0 { format!("{hours:.1} h") } else { format!("{hours:.0} h") }
}

fn explain(code: Option<Code>, talk: &Talk) -> anyhow::Result<Exit> {
    let explained = |code: Code| Explained { code, title: code.title(), explanation: code.explanation() };
    match (code, talk.form()) {
        (Some(code), Form::Text) => talk.result(&format!("{code}: {}\n\n{}", code.title(), code.explanation()))?,
        (Some(code), Form::Json) => talk.json(&serde_json::json!({ "schema": "segue.codes/v1", "codes": [explained(code)] }))?,
        (None, Form::Text) => {
            let lines: Vec<String> = Code::all().map(|code| format!("{code}  {}", code.title())).collect();
            talk.result(&lines.join("\n"))?;
        }
        (None, Form::Json) => {
            talk.json(&serde_json::json!({ "schema": "segue.codes/v1", "codes": Code::all().map(explained).collect::<Vec<_>>() }))?;
        }
    }
    Ok(Exit::Done)
}
