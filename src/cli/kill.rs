//! `segue kill`: the kill switch.

use serde::Serialize;

use super::{
    Exit,
    attach::{self, Attached, unconfirmed},
    command::Manner,
    inert::cut,
    one_sided,
    route::reasoned,
    route_flags::KillCommand,
    talk::{Form, Talk},
};
use crate::{
    client::ClientError,
    model::inert,
    wire::{KillStatus, ReplayPlan, Routes},
};

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
    // What turned it on says since when.
    let before = attached.look::<KillStatus>("/v1/kill").ok().and_then(|status| status.by);
    let is_question =
        matches!(command, KillCommand::Status | KillCommand::On { dry_run: true, .. } | KillCommand::Off { dry_run: true, .. });
    let answer: attach::Asked<KillStatus> = match command {
        _ if is_question => attached.get("/v1/kill", talk),
        KillCommand::Status => attached.get("/v1/kill", talk),
        // The way to the safe side asks nothing.
        KillCommand::On { reason, .. } => attached.post("/v1/kill/on", &reasoned(reason), talk),
        KillCommand::Off { reason, yes, .. } => {
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
    let missed = match (&status.by, &before) {
        // On, and looked at; or off just now.
        (Some(by), _) if is_question => missed(&attached, by.revision, None),
        (None, Some(by)) if status.changed => missed(&attached, by.revision, Some(status.revision - 1)),
        _ => Ok(Vec::new()),
    };
    match talk.form() {
        Form::Json => attach::json(talk, &Killed { status: status.clone(), one_sided: missed.unwrap_or_default() })?,
        Form::Text => talk.result(&[vec![said(&status)], one_sided::told(&missed)].concat().join("\n"))?,
    }
    Ok(if is_question && status.on { Exit::No } else { Exit::Done })
}

/// The kill switch, and what RudderStack missed while it was on.
#[derive(Debug, Serialize)]
struct Killed {
    #[serde(flatten)]
    status: KillStatus,
    /// What it can be sent.
    one_sided: Vec<ReplayPlan>,
}

/// What the routes would have sent under these revisions.
fn missed(attached: &Attached, first: u64, last: Option<u64>) -> Result<Vec<ReplayPlan>, ClientError> {
    let routes: Routes = attached.look("/v1/routes")?;
    let mut all = Vec::new();
    for source in &routes.routes {
        all.extend(one_sided::missed(attached, source, first, last)?);
    }
    Ok(all)
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
