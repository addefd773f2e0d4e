//! `segue config`, and loading the configuration for the other commands.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
};

use anyhow::Context;
use clap::{ArgMatches, parser::ValueSource};
use serde_json::json;

use super::{
    Exit,
    command::Manner,
    talk::{Form, Talk},
};
use crate::{
    config::{self, Environment, Loaded, Origin, Override, Problems},
    model::Span,
};

/// Prints the schema: JSON, whatever form is asked for.
pub fn schema(talk: &Talk) -> anyhow::Result<Exit> {
    talk.result(&serde_json::to_string_pretty(&config::schema())?)?;
    Ok(Exit::Done)
}

/// Loads the configuration; its errors are told, and the error is how the command ends. Warnings are the caller's to tell.
pub fn load(manner: &Manner, matches: &ArgMatches, talk: &Talk) -> Result<Loaded, Exit> {
    let environment = Environment::of_process();
    config::load(manner.config(), &environment, &overrides(manner, matches, &environment)).map_err(|problems| {
        talk.problems(&problems);
        Exit::Config
    })
}

/// As [`load`], any number of times later, with the flags and the environment of now; nothing is told.
pub fn again(manner: &Manner, matches: &ArgMatches) -> impl Fn() -> Result<Loaded, Problems> + Send + Sync + 'static {
    let path = manner.config().map(Path::to_owned);
    let environment = Environment::of_process();
    let overrides = overrides(manner, matches, &environment);
    move || config::load(path.as_deref(), &Environment::of_process(), &overrides)
}

/// The values that flags and variables set, flags first, as the first one wins.
pub fn overrides(manner: &Manner, matches: &ArgMatches, environment: &Environment) -> Vec<Override> {
    let mut given = Vec::new();
    given.extend(drain_timeout(matches, environment));
    given.extend(log_level(manner, environment));
    given
}

/// `run --drain-timeout`, or its twin: `check` and `config show` heed the twin too, as they tell what `run` would do.
fn drain_timeout(matches: &ArgMatches, environment: &Environment) -> Option<Override> {
    let run = matches.subcommand_matches("run");
    let flag = run.filter(|run| run.value_source("drain_timeout") == Some(ValueSource::CommandLine));
    let (value, origin) = if let Some(span) = flag.and_then(|run| run.get_one::<Span>("drain_timeout")) {
        (span.to_string(), Origin::Flag("--drain-timeout".to_owned()))
    } else {
        let value = environment.get("SEGUE_RUN_DRAIN_TIMEOUT")?;
        (value.to_string_lossy().into_owned(), Origin::Variable("SEGUE_RUN_DRAIN_TIMEOUT".to_owned()))
    };
    Some(Override { key: "drain_timeout", value, origin })
}

/// `-v` and `-q`, else `RUST_LOG`.
fn log_level(manner: &Manner, environment: &Environment) -> Option<Override> {
    let flag =
        |value: &str, flag: &str| Some(Override { key: "log.level", value: value.to_owned(), origin: Origin::Flag(flag.to_owned()) });
    match (manner.verbose, manner.quiet) {
        (1, _) => flag("debug", "-v"),
        (2.., _) => flag("trace", "-vv"),
        (0, 1) => flag("warn", "-q"),
        (0, 2..) => flag("error", "-qq"),
        (0, 0) => {
            let value = environment.get("RUST_LOG").filter(|value| !value.is_empty())?;
            Some(Override {
                key: "log.level",
                value: value.to_string_lossy().into_owned(),
                origin: Origin::Variable("RUST_LOG".to_owned()),
            })
        }
    }
}

/// Writes a first configuration; a file that is there stays as it is.
pub fn init(manner: &Manner, talk: &Talk) -> anyhow::Result<Exit> {
    let path = manner.config().unwrap_or(Path::new("sidecar.toml"));
    match write_new(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            anyhow::bail!("{} exists and was left as it is; remove it first, or name another file with --config", path.display());
        }
        Err(error) => return Err(error).with_context(|| format!("cannot write {}", path.display())),
    }
    match talk.form() {
        Form::Json => talk.json(&json!({ "schema": "segue.config-init/v1", "file": path.display().to_string() }))?,
        Form::Text => talk.result(&format!("{}", path.display()))?,
    }
    talk.note("Set the data plane's URL and both keys, then: segue check");
    Ok(Exit::Done)
}

fn write_new(path: &Path) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(FIRST.as_bytes())?;
    file.sync_all()
}

/// Shows every value in force and where it came from.
pub fn show(manner: &Manner, matches: &ArgMatches, talk: &Talk) -> anyhow::Result<Exit> {
    let loaded = match load(manner, matches, talk) {
        Ok(loaded) => loaded,
        Err(exit) => return Ok(exit),
    };
    talk.problems(&loaded.warnings);
    if talk.form() == Form::Json {
        let setting =
            |setting: &config::Setting| json!({ "key": setting.key, "value": setting.value, "origin": setting.origin.to_string() });
        let settings: Vec<_> = loaded.settings.iter().map(setting).collect();
        talk.json(&json!({ "schema": "segue.config/v1", "settings": settings }))?;
        return Ok(Exit::Done);
    }
    let key_width = loaded.settings.iter().map(|setting| setting.key.chars().count()).max().unwrap_or(0);
    let value_width = loaded.settings.iter().map(|setting| setting.value.chars().count()).max().unwrap_or(0).min(VALUE_WIDTH_MAX);
    let line = |setting: &config::Setting| format!("{:key_width$}  {:value_width$}  {}", setting.key, setting.value, setting.origin);
    let lines: Vec<String> = loaded.settings.iter().map(line).collect();
    talk.result(&lines.join("\n"))?;
    Ok(Exit::Done)
}

/// Longer values push their origin to the right instead of everybody's.
const VALUE_WIDTH_MAX: usize = 44;

/// What a first configuration needs.
const FIRST: &str = r#"listen = "127.0.0.1:8088"
[rudderstack]
url = "https://acme.dataplane.rudderstack.com"
[[source]]
name = "web-checkout"
segment_write_key = { env = "SEGMENT_WRITE_KEY" }
rudderstack_write_key = { env = "RUDDER_WRITE_KEY" }
route = "segment-only"          # start safe; then shadow=25%, both, cutover=25%, rudderstack-only
"#;
