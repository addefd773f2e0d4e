//! `segue status` and `segue drain`: how the running sidecar is.

use std::{
    collections::BTreeMap,
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{
    Exit,
    attach::{self, Attached},
    command::Manner,
    inert::cut,
    ramp::line,
    state_flags::{DrainCommand, StatusFlags},
    talk::{Form, Talk},
    unknown::unknown_source,
};
use crate::{
    model::inert,
    wire::{DestinationStatus, Lanes, RampStatus, Ramps, Routes, Status, Trouble},
};

/// How often a watcher looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How often whoever waits for the queues looks.
const DRAIN_INTERVAL: Duration = Duration::from_millis(200);

/// Tells how the sidecar is.
pub fn status(manner: &Manner, flags: &StatusFlags, talk: &Talk) -> anyhow::Result<Exit> {
    let attached = match Attached::find(manner, talk)? {
        Ok(attached) => attached,
        Err(exit) => return Ok(exit),
    };
    let source = match flags.source.as_deref().map(|name| id_of(&attached, name, talk)).transpose() {
        Ok(source) => source,
        Err(exit) => return Ok(exit),
    };
    if flags.watch {
        return watch(&attached, source.as_deref(), talk);
    }
    let status: Status = match attached.get("/v1/status", talk) {
        Ok(status) => about(status, source.as_deref()),
        Err(exit) => return Ok(exit),
    };
    match talk.form() {
        Form::Json => attach::json(talk, &status)?,
        Form::Text => talk.result(&[vec![page(&status)], beside(&attached, source.as_deref())].concat().join("\n"))?,
    }
    Ok(if status.healthy { Exit::Done } else { Exit::No })
}

/// The id of the source of that id or name: the server knows which there are.
fn id_of(attached: &Attached, name: &str, talk: &Talk) -> attach::Asked<String> {
    let routes: Routes = attached.get("/v1/routes", talk)?;
    if let Some(source) = routes.routes.iter().find(|source| source.source == name || source.name == name) {
        return Ok(source.source.clone());
    }
    // It also knows those that are gone, and what to say of those that never were.
    let lanes: Lanes = attached.get("/v1/lanes", talk)?;
    if lanes.lanes.iter().any(|lane| lane.source == name) {
        return Ok(name.to_owned());
    }
    let names: Vec<&str> = routes.routes.iter().map(|source| source.name.as_str()).collect();
    Err(unknown_source(name, &names, talk))
}

/// Only what concerns one source, or no source in particular.
fn about(mut status: Status, source: Option<&str>) -> Status {
    if let Some(source) = source {
        status.troubles.retain(|trouble| trouble.source.as_deref().is_none_or(|of| of == source));
        status.healthy = status.troubles.is_empty();
    }
    status
}

/// What goes on by itself, and what is over for good: running ramps, retired sources.
fn beside(attached: &Attached, source: Option<&str>) -> Vec<String> {
    let is_asked = |id: &str| source.is_none_or(|asked| asked == id);
    let mut lines = Vec::new();
    if let Ok(Ramps { ramps, .. }) = attached.look("/v1/ramps") {
        let runs = |ramp: &&RampStatus| matches!(ramp.state.as_str(), "running" | "paused") && is_asked(&ramp.source);
        lines.extend(ramps.iter().filter(runs).map(|ramp| format!("{:12}{}", "ramp", line(ramp))));
    }
    if let Ok(Routes { routes, .. }) = attached.look("/v1/routes") {
        let retired =
            routes.iter().filter(|route| is_asked(&route.source)).filter_map(|route| Some((&route.name, route.retired_at.as_ref()?)));
        lines.extend(
            retired.map(|(name, at)| format!("{:12}{}, since {}: Segment is not contacted for it", "retired", inert(name), inert(at))),
        );
    }
    lines
}

fn page(status: &Status) -> String {
    let journal = &status.journal;
    let hours = journal.hours_left.map(|hours| format!(", an outage of {hours} h at this pace")).unwrap_or_default();
    let drift = match status.drift.as_slice() {
        [] => "all as the file has them".to_owned(),
        names => format!("not as the file has them: {}", names.iter().map(|name| inert(name).into_owned()).collect::<Vec<_>>().join(", ")),
    };
    let kill = match &status.kill {
        None => "off".to_owned(),
        Some(by) => {
            let why = by.reason.as_deref().map(|reason| format!(" \"{}\"", cut(reason, 80))).unwrap_or_default();
            format!("ON since {} by {}{why}: everything goes to Segment", inert(&by.at), inert(&by.by))
        }
    };
    let mut lines = vec![
        format!(
            "{:12}segue {}, up since {}",
            if status.healthy { "healthy" } else { "NOT healthy" },
            status.version,
            inert(&status.started_at)
        ),
        format!("{:12}{}/s from apps (last minute)", "events", status.received_per_second),
    ];
    lines.extend(status.destinations.iter().map(destination));
    lines.push(format!(
        "{:12}{}; {} of {}, {} still needed{hours}",
        "journal",
        inert(&journal.state),
        size(journal.bytes),
        size(journal.capacity_bytes),
        size(journal.pinned_bytes)
    ));
    lines.push(format!("{:12}{} configured, at revision {}; {drift}", "routes", status.sources, status.revision));
    lines.push(format!("{:12}{kill}", "kill switch"));
    if status.draining {
        lines.push(format!("{:12}yes: a load balancer is told to send elsewhere. Back: segue drain off", "draining"));
    }
    for trouble in &status.troubles {
        lines.push(String::new());
        lines.push(format!("! {}", inert(&trouble.what)));
        lines.push(format!("  {}", inert(&trouble.means)));
        lines.push(format!("  {}", inert(&trouble.fix)));
    }
    lines.join("\n")
}

fn destination(status: &DestinationStatus) -> String {
    let name = if status.destination == "segment" { "Segment" } else { "RudderStack" };
    let mut facts = vec![format!("{}/s delivered", status.delivered_per_second), format!("{} wait", status.pending)];
    facts.extend(status.oldest.as_ref().map(|oldest| format!("since {}", inert(oldest))));
    for (count, what) in [(status.quarantined, "in quarantine"), (status.held, "lanes held"), (status.parked, "lanes parked")] {
        if count > 0 {
            facts.push(format!("{count} {what}"));
        }
    }
    format!("{name:12}{}; {}", if status.reachable { "answers" } else { "DOES NOT ANSWER" }, facts.join(", "))
}

fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} B"),
    }
}

/// Tells each change, until it is interrupted.
fn watch(attached: &Attached, source: Option<&str>, talk: &Talk) -> anyhow::Result<Exit> {
    let mut known: Option<BTreeMap<String, String>> = None;
    loop {
        let now = match attached.look::<Status>("/v1/status") {
            Ok(status) => sentences(&about(status, source)),
            Err(error) => BTreeMap::from([("reach".to_owned(), format!("{}; looking on", inert(&error.to_string())))]),
        };
        for (about, sentence) in changes(known.as_ref(), &now) {
            match talk.form() {
                Form::Json => attach::json(talk, &json!({ "schema": "segue.status-change/v1", "about": about, "says": sentence }))?,
                Form::Text => talk.result(&format!("{}  {sentence}", clock()))?,
            }
        }
        known = Some(now);
        sleep(LOOK_INTERVAL);
    }
}

/// The time on this machine's clock.
fn clock() -> String {
    crate::clock::Clock::system().now().to_string()
}

/// What can change, each thing in one sentence.
fn sentences(status: &Status) -> BTreeMap<String, String> {
    let mut said = BTreeMap::from([
        ("reach".to_owned(), format!("segue {} answers", status.version)),
        ("routes".to_owned(), format!("the routes are at revision {}", status.revision)),
        ("kill".to_owned(), format!("the kill switch is {}", if status.kill.is_some() { "on: everything goes to Segment" } else { "off" })),
        ("journal".to_owned(), format!("the journal is {}", inert(&status.journal.state))),
    ]);
    if status.draining {
        said.insert("drain".to_owned(), "it is draining".to_owned());
    }
    let named = |trouble: &Trouble| format!("{} {:?} {:?}", trouble.kind, trouble.source, trouble.destination);
    said.extend(status.troubles.iter().map(|trouble| (named(trouble), format!("{}. {}", inert(&trouble.what), inert(&trouble.fix)))));
    said
}

/// What is new, and what is over. Counts in a sentence make it no new one.
fn changes(before: Option<&BTreeMap<String, String>>, now: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let mut changes = Vec::new();
    for (about, sentence) in now {
        if before.and_then(|before| before.get(about)) != Some(sentence) {
            changes.push((about.clone(), sentence.clone()));
        }
    }
    let Some(before) = before.filter(|_| now.len() > 1) else { return changes };
    for (about, sentence) in before.iter().filter(|(about, _)| !now.contains_key(*about)) {
        changes.push((about.clone(), format!("over: {}", sentence.split(". ").next().unwrap_or(sentence))));
    }
    changes
}

/// Has the sidecar say that it is not ready, and waits for its queues; or has it say that it is ready again.
pub fn drain(manner: &Manner, command: &DrainCommand, talk: &Talk) -> anyhow::Result<Exit> {
    let attached = match Attached::find(manner, talk)? {
        Ok(attached) => attached,
        Err(exit) => return Ok(exit),
    };
    if matches!(command, DrainCommand::On { dry_run: true, .. } | DrainCommand::Off { dry_run: true }) {
        return status(manner, &StatusFlags { watch: false, source: None }, talk);
    }
    let is_on = matches!(command, DrainCommand::On { .. });
    let path = if is_on { "/v1/drain/on" } else { "/v1/drain/off" };
    let mut status: Status = match attached.post(path, &json!({}), talk) {
        Ok(status) => status,
        Err(exit) => return Ok(exit),
    };
    let waiting = |status: &Status| status.destinations.iter().map(|destination| destination.pending).sum::<u64>();
    if let DrainCommand::On { wait, .. } = command {
        let deadline = Instant::now() + wait.0;
        while waiting(&status) > 0 && Instant::now() < deadline {
            sleep(DRAIN_INTERVAL);
            status = match attached.get("/v1/status", talk) {
                Ok(status) => status,
                Err(exit) => return Ok(exit),
            };
        }
    }
    let left = waiting(&status);
    match talk.form() {
        Form::Json => attach::json(talk, &status)?,
        Form::Text if !is_on => talk.result("It says ready again.")?,
        Form::Text if left == 0 => talk.result("It says not ready, and nothing waits: what is stopped now leaves nothing behind.")?,
        Form::Text => talk.result(&format!(
            "It says not ready; {left} events still wait. They are on disk and go on: with a lasting data directory the next start delivers them."
        ))?,
    }
    Ok(if is_on && left > 0 { Exit::TimedOut } else { Exit::Done })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(about, sentence)| ((*about).to_owned(), (*sentence).to_owned())).collect()
    }

    #[test]
    fn a_watcher_hears_what_is_new_and_what_is_over() {
        let before = said(&[("journal", "the journal is full"), ("reach", "segue answers"), ("lane", "parked: 401. Mend it")]);
        let now = said(&[("journal", "the journal is writable"), ("reach", "segue answers")]);
        let heard: Vec<String> = changes(Some(&before), &now).into_iter().map(|(_, sentence)| sentence).collect();
        assert_eq!(heard, ["the journal is writable", "over: parked: 401"]);
        assert_eq!(changes(None, &now).len(), 2, "the first look tells everything");
        let gone = said(&[("reach", "no sidecar answers")]);
        assert_eq!(changes(Some(&now), &gone).len(), 1, "what is not seen is not over");
    }

    #[test]
    fn sizes_are_told_to_a_tenth() {
        assert_eq!([512, 1536, 5 << 20, (8 << 30) + (1 << 29)].map(size), ["512 B", "1.5 KiB", "5.0 MiB", "8.5 GiB"]);
    }
}
