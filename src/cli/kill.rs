//! `segue kill`: the kill switch.

use super::{
    Exit,
    attach::{self, Attached, unconfirmed},
    command::Manner,
    inert::cut,
    route::reasoned,
    route_flags::KillCommand,
    talk::{Form, Talk},
};
use crate::{model::inert, wire::KillStatus};

/// Turns the kill switch, or shows how it stands.
pub fn kill(manner: &Manner, command: KillCommand, talk: &Talk) -> anyhow::Result<Exit> {
    let attached = match Attached::find(manner, talk)? {
        Ok(attached) => attached,
        Err(exit) => {
            if matches!(command, KillCommand::On { .. }) {
                talk.note("Without a socket: touch the kill file, by default `kill` in the journal's directory.");
            }
            return Ok(exit);
        }
    };
    let is_question = matches!(command, KillCommand::Status);
    let answer: attach::Asked<KillStatus> = match command {
        KillCommand::Status => attached.get("/v1/kill", talk),
        // The way to the safe side asks nothing.
        KillCommand::On { reason } => attached.post("/v1/kill/on", &reasoned(reason), talk),
        KillCommand::Off { reason, yes } => {
            let question = "Turn the kill switch off? The routes decide again, and what waits for RudderStack is sent.";
            if let Some(exit) = unconfirmed(question, yes, talk)? {
                return Ok(exit);
            }
            attached.post("/v1/kill/off", &reasoned(reason), talk)
        }
    };
    let status = match answer {
        Ok(status) => status,
        Err(exit) => return Ok(exit),
    };
    match talk.form() {
        Form::Json => attach::json(talk, &status)?,
        Form::Text => talk.result(&said(&status))?,
    }
    Ok(if is_question && status.on { Exit::No } else { Exit::Done })
}

fn said(status: &KillStatus) -> String {
    let waiting = status.waiting;
    match &status.by {
        Some(by) => {
            let why = by.reason.as_deref().map(|reason| format!(", \"{}\"", cut(reason, 120))).unwrap_or_default();
            format!(
                "The kill switch is on since {} ({}{why}): everything goes to Segment.\n{waiting} events wait for RudderStack, held. Back: segue kill off",
                inert(&by.at),
                inert(&by.by)
            )
        }
        None if status.changed => {
            format!("The kill switch is off: the routes decide again. {waiting} events wait for RudderStack and go on.")
        }
        None => "The kill switch is off: the routes decide.".to_owned(),
    }
}
