//! `segue source`: the day when Segment is gone.

use super::{
    Exit,
    attach::{self, Attached, unconfirmed, unconfirmed_by_name},
    command::Manner,
    hold::in_path,
    source_flags::{RetireFlags, SourceCommand, UnretireFlags},
    talk::{Form, Talk},
};
use crate::{
    model::inert,
    wire::{RetireAsked, RetireItem, Retirement},
};

/// Retires a source, or takes that back.
pub fn source(manner: &Manner, command: SourceCommand, talk: &Talk) -> anyhow::Result<Exit> {
    let attached = match Attached::find(manner, talk)? {
        Ok(attached) => attached,
        Err(exit) => return Ok(exit),
    };
    match command {
        SourceCommand::Retire(flags) => retire(&attached, flags, talk),
        SourceCommand::Unretire(flags) => unretire(&attached, flags, talk),
    }
}

fn retire(attached: &Attached, flags: RetireFlags, talk: &Talk) -> anyhow::Result<Exit> {
    let RetireFlags { source, dry_run, force, reason, yes } = flags;
    let path = format!("/v1/sources/{}/retire", in_path(&source));
    let asked = |dry_run| RetireAsked { reason: reason.clone(), dry_run, force };
    let before: Retirement = match attached.post(&path, &asked(true), talk) {
        Ok(before) => before,
        Err(exit) => return Ok(exit),
    };
    if dry_run {
        told(talk, &before)?;
        let is_open = before.retired_at.is_none() && before.open().next().is_some();
        return Ok(if is_open { Exit::Refused } else { Exit::Done });
    }
    if before.retired_at.is_none() {
        if !yes && talk.form() == Form::Text {
            talk.note(&checklist(&before));
        }
        let question = format!("Retire {}? Segment is not contacted for it any more.", inert(&before.name));
        if let Some(exit) = unconfirmed_by_name(&question, &before.name, yes, talk)? {
            return Ok(exit);
        }
    }
    match attached.post(&path, &asked(false), talk) {
        Ok(after) => {
            told(talk, &after)?;
            Ok(Exit::Done)
        }
        Err(exit) => Ok(exit),
    }
}

fn unretire(attached: &Attached, flags: UnretireFlags, talk: &Talk) -> anyhow::Result<Exit> {
    let UnretireFlags { source, dry_run, reason, yes } = flags;
    let question = format!("Give {} its route back? Segment is contacted for it again.", inert(&source));
    if !dry_run && let Some(exit) = unconfirmed(&question, yes, talk)? {
        return Ok(exit);
    }
    let asked = RetireAsked { reason, dry_run, force: false };
    match attached.post(&format!("/v1/sources/{}/unretire", in_path(&source)), &asked, talk) {
        Ok(after) => {
            told(talk, &after)?;
            Ok(Exit::Done)
        }
        Err(exit) => Ok(exit),
    }
}

fn told(talk: &Talk, standing: &Retirement) -> anyhow::Result<()> {
    match talk.form() {
        Form::Json => attach::json(talk, standing),
        Form::Text => Ok(talk.result(&said(standing))?),
    }
}

fn said(standing: &Retirement) -> String {
    let name = inert(&standing.name);
    let head = match (&standing.retired_at, standing.changed) {
        (Some(at), _) => format!(
            "{name} is retired since {}: its events go to RudderStack alone, its settings and scripts are served from here, and Segment is not contacted for it.\nBack: segue source unretire {name}",
            inert(at)
        ),
        (None, true) => format!("{name} is not retired any more: its route decides again. segue route get {name}"),
        (None, false) => match standing.open().count() {
            0 => format!("{name} can be retired. Do it: segue source retire {name}"),
            open => format!("{name} should not be retired yet: {open} of what it needs is open."),
        },
    };
    format!("{head}\n\n{}", checklist(standing))
}

fn checklist(standing: &Retirement) -> String {
    let mut lines: Vec<String> = standing.checklist.iter().flat_map(line).collect();
    lines.push("\nBy hand, in this order:".to_owned());
    lines.extend(standing.by_hand.iter().enumerate().map(|(place, step)| format!("  {}. {}", place + 1, inert(step))));
    lines.join("\n")
}

fn line(item: &RetireItem) -> Vec<String> {
    let mark = match (item.done, item.required) {
        (true, _) => "ok  ",
        (false, true) => "OPEN",
        (false, false) => "note",
    };
    let mut lines = vec![format!("  {mark}  {:<11} {}", inert(&item.id), inert(&item.what))];
    lines.extend(item.fix.as_ref().map(|fix| format!("                    {}", inert(fix))));
    lines
}
