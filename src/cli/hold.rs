//! `segue hold` and `segue unpark`: lanes of the running sidecar.

use super::{
    Exit,
    attach::{self, Attached, unconfirmed},
    command::Manner,
    inert::cut,
    lane_flags::{HoldCommand, LaneName},
    talk::{Form, Talk},
};
use crate::{
    model::inert,
    wire::{HoldAsked, Lane, LaneAnswer, Lanes},
};

/// Sets, releases or lists holds.
pub fn hold(manner: &Manner, command: HoldCommand, talk: &Talk) -> anyhow::Result<Exit> {
    match command {
        HoldCommand::Ls => list(manner, talk),
        HoldCommand::Set(flags) => {
            let question = format!(
                "Hold {} to {}? Nothing more of it is sent; new events wait in the journal.",
                inert(&flags.lane.source),
                flags.lane.destination.label()
            );
            let asked = HoldAsked { reason: flags.reason, dry_run: flags.dry_run };
            match unconfirmed(&question, flags.yes || flags.dry_run, talk)? {
                Some(exit) => Ok(exit),
                None => change(manner, &flags.lane, "hold", &asked, talk),
            }
        }
        HoldCommand::Release(flags) => {
            let question =
                format!("Let {} to {} go on, with everything that waits?", inert(&flags.lane.source), flags.lane.destination.label());
            let asked = HoldAsked { reason: flags.reason, dry_run: flags.dry_run };
            match unconfirmed(&question, flags.yes || flags.dry_run, talk)? {
                Some(exit) => Ok(exit),
                None => change(manner, &flags.lane, "release", &asked, talk),
            }
        }
    }
}

/// Has a parked lane try at once.
pub fn unpark(manner: &Manner, lane: &LaneName, dry_run: bool, talk: &Talk) -> anyhow::Result<Exit> {
    change(manner, lane, "unpark", &HoldAsked { reason: None, dry_run }, talk)
}

fn change(manner: &Manner, name: &LaneName, verb: &str, asked: &HoldAsked, talk: &Talk) -> anyhow::Result<Exit> {
    let attached = match Attached::find(manner, talk)? {
        Ok(attached) => attached,
        Err(exit) => return Ok(exit),
    };
    let path = format!("/v1/lanes/{}/{}/{verb}", in_path(&name.source), name.destination.label());
    let answer: LaneAnswer = match attached.post(&path, asked, talk) {
        Ok(answer) => answer,
        Err(exit) => return Ok(exit),
    };
    match talk.form() {
        Form::Json => attach::json(talk, &answer)?,
        Form::Text if asked.dry_run => {
            let lane = &answer.lane;
            let what = format!(
                "{} to {} is {}; {} events wait",
                inert(&lane.source),
                inert(&lane.destination),
                inert(&lane.state),
                lane.ledger.pending
            );
            talk.result(&format!("{what}.\nNothing was changed."))?;
        }
        Form::Text => talk.result(&said(verb, &answer.lane))?,
    }
    Ok(Exit::Done)
}

fn said(verb: &str, lane: &Lane) -> String {
    let name = format!("{} to {}", inert(&lane.source), inert(&lane.destination));
    let waiting = lane.ledger.pending;
    match (verb, lane.in_flight) {
        ("hold", 0) => format!(
            "{name} is held; {waiting} events wait. Let it go on: segue hold release {} {}",
            inert(&lane.source),
            inert(&lane.destination)
        ),
        ("hold", flights) => format!("{name} is held; {flights} requests are still in flight, {waiting} events wait."),
        ("release", _) => format!("{name} goes on; {waiting} events wait."),
        _ => format!("{name} tries again now; it was {}. How it went: segue hold ls", inert(&lane.state)),
    }
}

fn list(manner: &Manner, talk: &Talk) -> anyhow::Result<Exit> {
    let attached = match Attached::find(manner, talk)? {
        Ok(attached) => attached,
        Err(exit) => return Ok(exit),
    };
    let lanes: Lanes = match attached.get("/v1/lanes", talk) {
        Ok(lanes) => lanes,
        Err(exit) => return Ok(exit),
    };
    match talk.form() {
        Form::Json => attach::json(talk, &lanes)?,
        Form::Text => talk.result(&table(&lanes))?,
    }
    Ok(Exit::Done)
}

fn table(lanes: &Lanes) -> String {
    let width = lanes.lanes.iter().map(|lane| inert(&lane.source).chars().count()).max().unwrap_or(0).max(6);
    let mut lines = vec![format!(
        "{:width$}  {:11}  {:15}  {:>9}  {:>11}  {:24}  WHY",
        "SOURCE", "DESTINATION", "STATE", "WAITING", "QUARANTINED", "SINCE"
    )];
    for lane in &lanes.lanes {
        let since = lane.since.clone().or_else(|| lane.until.as_ref().map(|until| format!("until {until}"))).unwrap_or_default();
        let line = format!(
            "{:width$}  {:11}  {:15}  {:>9}  {:>11}  {:24}  {}",
            inert(&lane.source),
            inert(&lane.destination),
            inert(&lane.state),
            lane.ledger.pending,
            lane.ledger.quarantined,
            inert(&since),
            cut(lane.reason.as_deref().unwrap_or_default(), 120),
        );
        lines.push(line.trim_end().to_owned());
    }
    lines.join("\n")
}

/// A name as a part of a path.
pub fn in_path(name: &str) -> String {
    // Every byte that is not plain is written as %XX: form encoding, but for its plus.
    form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>().replace('+', "%20")
}
