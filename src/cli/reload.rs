//! `segue reload`: the configuration read again by the running sidecar.

use super::{
    Exit,
    attach::{self, Attached},
    command::Manner,
    talk::{Form, Talk},
};
use crate::{
    model::inert,
    wire::{ReloadAnswer, ReloadAsked},
};

/// Has the sidecar read its configuration again.
pub fn reload(manner: &Manner, dry_run: bool, talk: &Talk) -> anyhow::Result<Exit> {
    let attached = match Attached::find(manner, talk)? {
        Ok(attached) => attached,
        Err(exit) => return Ok(exit),
    };
    let answer: ReloadAnswer = match attached.post("/v1/reload", &ReloadAsked { dry_run }, talk) {
        Ok(answer) => answer,
        Err(exit) => return Ok(exit),
    };
    match talk.form() {
        Form::Json => attach::json(talk, &answer)?,
        Form::Text => talk.result(&said(&answer))?,
    }
    Ok(Exit::Done)
}

fn said(answer: &ReloadAnswer) -> String {
    let names = |names: &[String]| names.iter().map(|name| inert(name).into_owned()).collect::<Vec<_>>().join(", ");
    let mut lines = vec![if answer.changed.is_empty() {
        "The sources are as they were.".to_owned()
    } else {
        let changed = names(&answer.changed);
        if answer.dry_run {
            format!("{changed} would change.\nNothing was changed.")
        } else {
            format!("Revision {}: {changed} changed, from the next event on.", answer.revision)
        }
    }];
    for moved in &answer.moved {
        let (from, to, name) = (inert(&moved.from), inert(&moved.to), inert(&moved.to_name));
        lines.push(format!(
            "{to} has the Segment key that {from} had, and is a new source: {from} keeps its route, its history and the {} events that wait for it. \
             If it is the same source under another name, say so: id = \"{from}\" in [[source]] \"{name}\", and then segue reload.",
            moved.waiting
        ));
    }
    if !answer.needs_restart.is_empty() {
        lines.push(format!("These differ too, and are read at the start only: {}", names(&answer.needs_restart)));
    }
    lines.join("\n")
}
