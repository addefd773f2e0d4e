//! `segue purge`: giving up what waits of a source that is gone for good.

use super::{
    Exit,
    attach::{self, Attached},
    command::Manner,
    hold::in_path,
    lane_flags::PurgeFlags,
    talk::{Form, Talk},
};
use crate::{
    model::inert,
    wire::{PurgeAnswer, PurgeAsked},
};

/// Gives it up, or says what there is.
pub fn purge(manner: &Manner, flags: PurgeFlags, talk: &Talk) -> anyhow::Result<Exit> {
    let attached = match Attached::find(manner, talk)? {
        Ok(attached) => attached,
        Err(exit) => return Ok(exit),
    };
    let PurgeFlags { source, destination, yes_i_mean_it, reason, dry_run } = flags;
    let destination = destination.map(|destination| destination.label().to_owned());
    let asked = PurgeAsked { destination, i_mean: yes_i_mean_it, reason, dry_run };
    let answer: PurgeAnswer = match attached.post(&format!("/v1/sources/{}/purge", in_path(&source)), &asked, talk) {
        Ok(answer) => answer,
        Err(exit) => return Ok(exit),
    };
    match talk.form() {
        Form::Json => attach::json(talk, &answer)?,
        Form::Text => talk.result(&said(&answer))?,
    }
    Ok(Exit::Done)
}

fn said(answer: &PurgeAnswer) -> String {
    let source = inert(&answer.source);
    let what = format!("{} events that waited and {} in quarantine of {source}", answer.waiting, answer.quarantined);
    if answer.done {
        format!("Given up: {what}. They are gone for good, and count as purged.")
    } else {
        format!("{what} would be given up, for good.\nNothing was changed. Do it: segue purge {source} --yes-i-mean-it {source}")
    }
}
