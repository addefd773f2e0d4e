//! `segue check`.

use clap::ArgMatches;
use serde::Serialize;

use super::{
    Exit,
    command::{CheckFlags, Manner},
    config::overrides,
    talk::{Form, Talk},
};
use crate::config::{self, Code, Environment, Loaded, Problem, Problems, Severity};

/// What `check --json` prints.
#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    ok: bool,
    files: Vec<String>,
    errors: usize,
    warnings: usize,
    problems: &'a [Problem],
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
        })?,
        Form::Text => {
            if !problems.is_empty() {
                talk.result(&problems.to_string())?;
            }
            if let (0, Some(loaded)) = (errors, &loaded) {
                talk.result(&summary(loaded))?;
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
fn summary(loaded: &Loaded) -> String {
    let files: Vec<String> = loaded.files.iter().map(|file| file.display().to_string()).collect();
    let mut lines = vec![format!("ok: {}", files.join(", "))];
    for source in &loaded.config.sources {
        let route = source.route;
        lines.push(format!("  {}: Segment {}, RudderStack {}", source.name, route.segment(), route.rudderstack()));
    }
    lines.join("\n")
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
