//! `segue audit`: what was changed, and whether the record of it holds together.

use std::{fs, io};

use anyhow::Context;

use super::{
    Exit,
    attach::{self, Attached},
    command::Manner,
    route,
    route_flags::{AuditCommand, AuditVerifyFlags},
    talk::{Form, Talk},
};
use crate::{
    config::{self, Environment},
    journal,
    routing::History,
    wire::{AuditVerdict, schema},
};

/// Shows or checks the record of changes.
pub fn audit(manner: &Manner, command: AuditCommand, talk: &Talk) -> anyhow::Result<Exit> {
    match command {
        AuditCommand::Ls(flags) => match Attached::find(manner, talk)? {
            Ok(attached) => Ok(route::history(&attached, flags.count, talk)?.unwrap_or_else(|exit| exit)),
            Err(exit) => Ok(exit),
        },
        AuditCommand::Verify(flags) => verify(manner, &flags, talk),
    }
}

fn verify(manner: &Manner, flags: &AuditVerifyFlags, talk: &Talk) -> anyhow::Result<Exit> {
    let path = match &flags.file {
        Some(path) => path.clone(),
        None => match config::load(manner.config(), &Environment::of_process(), &[]) {
            Ok(loaded) => loaded.config.journal.dir.join(journal::CHANGES_FILE),
            Err(problems) => {
                talk.problems(&problems);
                talk.note("Or name the file: segue audit verify FILE");
                return Ok(Exit::Config);
            }
        },
    };
    let lines = match fs::read(&path) {
        Ok(lines) => lines,
        // Nothing was ever changed.
        Err(error) if error.kind() == io::ErrorKind::NotFound && flags.file.is_none() => Vec::new(),
        Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
    };
    let history = History::read(&lines);
    let verdict = AuditVerdict {
        schema: schema::AUDIT.to_owned(),
        lines: history.lines() as u64,
        broken: history.broken().iter().map(|line| *line as u64).collect(),
        seal: history.seal().as_str().to_owned(),
    };
    match talk.form() {
        Form::Json => attach::json(talk, &verdict)?,
        Form::Text => talk.result(&said(&verdict, &path))?,
    }
    Ok(if verdict.broken.is_empty() { Exit::Done } else { Exit::No })
}

fn said(verdict: &AuditVerdict, path: &std::path::Path) -> String {
    let (lines, path) = (verdict.lines, path.display());
    match verdict.broken.as_slice() {
        [] => format!("{path}: {lines} changes, each sealed to the one before it.\nNewest seal: {}", verdict.seal),
        broken => {
            let places = broken.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
            format!("{path}: {lines} changes, and line {places} was changed, or a line before it is gone.")
        }
    }
}
