//! `segue limit`: rate limits of the running sidecar.

use super::{
    Exit,
    attach::{self, Attached, unconfirmed},
    command::Manner,
    lane_flags::{LimitCommand, LimitSetFlags},
    talk::{Form, Talk},
};
use crate::{
    model::inert,
    wire::{Limit, LimitAsked, LimitChanged, Limits},
};

/// Shows or sets limits.
pub fn limit(manner: &Manner, command: LimitCommand, talk: &Talk) -> anyhow::Result<Exit> {
    let attached = match Attached::find(manner, talk)? {
        Ok(attached) => attached,
        Err(exit) => return Ok(exit),
    };
    let ended = match command {
        LimitCommand::Ls => list(&attached, talk)?,
        LimitCommand::Set(flags) => set(&attached, flags, talk)?,
    };
    Ok(ended.unwrap_or_else(|exit| exit))
}

fn list(attached: &Attached, talk: &Talk) -> anyhow::Result<attach::Asked<Exit>> {
    let limits: Limits = match attached.get("/v1/limits", talk) {
        Ok(limits) => limits,
        Err(exit) => return Ok(Err(exit)),
    };
    match talk.form() {
        Form::Json => attach::json(talk, &limits)?,
        Form::Text => talk.result(&table(&limits.limits))?,
    }
    Ok(Ok(Exit::Done))
}

fn table(limits: &[Limit]) -> String {
    let name = |limit: &Limit| limit.source.as_deref().map_or_else(|| "(all)".to_owned(), |source| inert(source).into_owned());
    let width = limits.iter().map(|limit| name(limit).chars().count()).max().unwrap_or(0).max(6);
    let mut lines = vec![format!("{:width$}  {:11}  {:>8}  LIMIT", "SOURCE", "DESTINATION", "REVISION")];
    for limit in limits {
        let drift = if limit.limit == limit.configured { String::new() } else { format!("  (configuration: {})", limit.configured) };
        lines.push(format!("{:width$}  {:11}  {:>8}  {}{drift}", name(limit), limit.destination, limit.revision, limit.limit));
    }
    lines.join("\n")
}

fn set(attached: &Attached, flags: LimitSetFlags, talk: &Talk) -> anyhow::Result<attach::Asked<Exit>> {
    let LimitSetFlags { destination, limit, source, reason, dry_run, yes } = flags;
    let asked = LimitAsked { destination: destination.label().to_owned(), source, limit, reason, dry_run: true };
    let planned: LimitChanged = match attached.post("/v1/limits", &asked, talk) {
        Ok(planned) => planned,
        Err(exit) => return Ok(Err(exit)),
    };
    if dry_run || planned.before.limit == planned.after.limit {
        show(&planned, talk)?;
        return Ok(Ok(Exit::Done));
    }
    let question = format!("{}? What is above a limit waits in the journal.", change(&planned));
    if let Some(exit) = unconfirmed(&question, yes, talk)? {
        return Ok(Err(exit));
    }
    let changed: LimitChanged = match attached.post("/v1/limits", &LimitAsked { dry_run: false, ..asked }, talk) {
        Ok(changed) => changed,
        Err(exit) => return Ok(Err(exit)),
    };
    show(&changed, talk)?;
    Ok(Ok(Exit::Done))
}

fn show(changed: &LimitChanged, talk: &Talk) -> anyhow::Result<()> {
    match talk.form() {
        Form::Json => attach::json(talk, changed),
        Form::Text if changed.before.limit == changed.after.limit => Ok(talk.result("It stands so already; nothing changes.")?),
        Form::Text if changed.changed => {
            Ok(talk.result(&format!("{}. Revision {}, in force for what waits too.", change(changed), changed.after.revision))?)
        }
        Form::Text => Ok(talk.result(&format!("{}\nNothing was changed.", change(changed)))?),
    }
}

fn change(changed: &LimitChanged) -> String {
    let whose = changed.after.source.as_deref().map(|source| format!("{} to ", inert(source))).unwrap_or_default();
    format!("{whose}{}: {} -> {}", changed.after.destination, changed.before.limit, changed.after.limit)
}
