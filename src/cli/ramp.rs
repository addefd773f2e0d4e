//! `segue route ramp`: a source moved step by step, each through green gates.

use super::{
    Exit,
    attach::{self, Asked, Attached, unconfirmed, unconfirmed_by_name},
    hold::in_path,
    ramp_flags::{RampCommand, RampFlags},
    route::{change, impact},
    talk::{Form, Talk},
};
use crate::{
    model::inert,
    wire::{GateStatus, RampAnswer, RampAsked, RampBegun, RampStatus, RampStepAsked, Ramps},
};

/// Starts a ramp, or shows and steers those that run.
pub fn ramp(attached: &Attached, flags: RampFlags, talk: &Talk) -> anyhow::Result<Asked<Exit>> {
    match flags.command {
        None => begin(attached, flags, talk),
        Some(RampCommand::Status { source }) => status(attached, source.as_deref(), talk),
        Some(RampCommand::Pause { source, reason, dry_run }) => step(attached, &source, "pause", reason, dry_run, talk),
        Some(RampCommand::Abort { source, reason, dry_run }) => step(attached, &source, "abort", reason, dry_run, talk),
        Some(RampCommand::Resume { source, reason, dry_run, yes }) => {
            let question = format!("Let the ramp of {} go on? Segment may get less by each step that is left.", inert(&source));
            if !dry_run && let Some(exit) = unconfirmed(&question, yes, talk)? {
                return Ok(Err(exit));
            }
            step(attached, &source, "resume", reason, dry_run, talk)
        }
    }
}

fn begin(attached: &Attached, flags: RampFlags, talk: &Talk) -> anyhow::Result<Asked<Exit>> {
    let RampFlags { command: _, source, steps, every, kind, gate, on_red, verify, reason, if_rev, dry_run, yes } = flags;
    let asked = RampAsked {
        source: source.unwrap_or_default(),
        steps: steps.unwrap_or_default(),
        kind: Some(kind.label().to_owned()),
        verify,
        every: Some(every),
        gates: (!gate.is_empty()).then(|| gate.join(",")),
        on_red: Some(on_red.label().to_owned()),
        if_revision: if_rev,
        reason,
        dry_run: true,
    };
    let planned: RampBegun = match attached.post("/v1/ramps", &asked, talk) {
        Ok(planned) => planned,
        Err(exit) => return Ok(Err(exit)),
    };
    if dry_run {
        match talk.form() {
            Form::Json => attach::json(talk, &planned)?,
            Form::Text => talk.result(&[said(&planned), "Nothing was changed.".to_owned()].join("\n"))?,
        }
        return Ok(Ok(Exit::Done));
    }
    if !yes {
        talk.note(&said(&planned));
    }
    // The whole ramp is confirmed here, once: as a change by hand to its last step would be.
    let name = inert(&planned.name);
    let unconfirmed = if planned.takes_from_segment {
        unconfirmed_by_name(
            &format!("Start the ramp of {name}? Segment gets less by it, and nobody is asked again."),
            &planned.name,
            yes,
            talk,
        )?
    } else {
        unconfirmed(&format!("Start the ramp of {name}?"), yes, talk)?
    };
    if let Some(exit) = unconfirmed {
        return Ok(Err(exit));
    }
    // What was shown is what is started: when the source is another by now, it is refused.
    let asked = RampAsked { if_revision: Some(if_rev.unwrap_or(planned.revision)), dry_run: false, ..asked };
    let begun: RampBegun = match attached.post("/v1/ramps", &asked, talk) {
        Ok(begun) => begun,
        Err(exit) => return Ok(Err(exit)),
    };
    match talk.form() {
        Form::Json => attach::json(talk, &begun)?,
        Form::Text => {
            let source = inert(&begun.source);
            let stands = begun.ramp.as_ref().map(line).unwrap_or_default();
            talk.result(&format!("{stands}\nHow it goes: segue route ramp status {source}. Stop it: segue route ramp pause {source}"))?;
        }
    }
    Ok(Ok(Exit::Done))
}

/// What a ramp would do, step by step.
fn said(planned: &RampBegun) -> String {
    let mut lines = Vec::new();
    for (index, step) in planned.steps.iter().enumerate() {
        lines.push(format!("step {} of {}: {}", index + 1, planned.steps.len(), change(step)));
        lines.extend(step.impact.as_ref().map(impact).unwrap_or_default());
    }
    lines.push(format!("Each lasts {} at least, and the next is taken when all gates were green for their window.", inert(&planned.every)));
    lines.push(format!("Gates: {}", inert(&planned.bounds)));
    lines.push(match planned.on_red.as_str() {
        "back" => "While one is red it goes a step back if Segment gets more by that, and waits for somebody.".to_owned(),
        _ => "While one is red it stays where it is.".to_owned(),
    });
    if !planned.gates.is_empty() {
        lines.push(format!("Now, by the configuration's bounds: {}", planned.gates.iter().map(gate).collect::<Vec<_>>().join(", ")));
    }
    lines.extend(planned.notes.iter().map(|note| inert(note).into_owned()));
    lines.join("\n")
}

fn gate(gate: &GateStatus) -> String {
    match &gate.why {
        None => format!("{} {} ok", inert(&gate.gate), inert(gate.value.as_deref().unwrap_or("-"))),
        Some(why) => format!("{} !", inert(why)),
    }
}

fn status(attached: &Attached, source: Option<&str>, talk: &Talk) -> anyhow::Result<Asked<Exit>> {
    let mut ramps: Ramps = match attached.get("/v1/ramps", talk) {
        Ok(ramps) => ramps,
        Err(exit) => return Ok(Err(exit)),
    };
    if let Some(wanted) = source {
        ramps.ramps.retain(|ramp| ramp.source == wanted || ramp.name == wanted);
    }
    match talk.form() {
        Form::Json => attach::json(talk, &ramps)?,
        Form::Text if ramps.ramps.is_empty() => talk.result("There is no ramp, and was none.")?,
        Form::Text => talk.result(&ramps.ramps.iter().map(line).collect::<Vec<_>>().join("\n"))?,
    }
    let waits = ramps.ramps.iter().any(|ramp| ramp.state == "paused" || !ramp.held.is_empty());
    Ok(Ok(if waits { Exit::No } else { Exit::Done }))
}

/// A ramp in a line.
pub fn line(ramp: &RampStatus) -> String {
    let (taken, all) = (ramp.taken, ramp.steps.len());
    let index = usize::try_from(taken).unwrap_or(usize::MAX);
    let now = index.checked_sub(1).and_then(|index| ramp.steps.get(index)).unwrap_or(&ramp.from);
    let next = ramp.steps.get(index).map_or_else(|| "done".to_owned(), |next| format!("next {}", inert(next)));
    let what = match (&ramp.stopped, ramp.held.is_empty(), &ramp.next_at) {
        (Some(why), ..) => format!("{}: {}", inert(&ramp.state), inert(why)),
        (None, false, _) => format!("held: {}", inert(&ramp.held.join("; "))),
        (None, true, Some(at)) => format!("{next} at {} if the gates hold", inert(at)),
        (None, true, None) => format!("{next} when the gates are green"),
    };
    format!(
        "{}: ramp {}, step {taken} of {all} ({}), green for {}; {what}",
        inert(&ramp.name),
        ramp.id,
        inert(now),
        span(ramp.green_seconds)
    )
}

fn span(seconds: u64) -> String {
    if seconds < 120 { format!("{seconds} s") } else { format!("{} min", seconds / 60) }
}

fn step(attached: &Attached, source: &str, verb: &str, reason: Option<String>, dry_run: bool, talk: &Talk) -> anyhow::Result<Asked<Exit>> {
    let path = format!("/v1/ramps/{}/{verb}", in_path(source));
    let answer: RampAnswer = match attached.post(&path, &RampStepAsked { reason, dry_run }, talk) {
        Ok(answer) => answer,
        Err(exit) => return Ok(Err(exit)),
    };
    match talk.form() {
        Form::Json => attach::json(talk, &answer)?,
        Form::Text => {
            let back = match verb {
                "abort" if !dry_run => {
                    format!("\nThe route stays. Back to where it began: segue route set {} {}", inert(source), inert(&answer.ramp.from))
                }
                _ => String::new(),
            };
            talk.result(&format!("{}{back}", line(&answer.ramp)))?;
        }
    }
    Ok(Ok(Exit::Done))
}
