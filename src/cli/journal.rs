//! `segue journal`: what is in a data directory, whether it is whole, and its records. It reads without the lock, beside a running
//! sidecar or without one, and changes nothing.

use std::{
    io::{self, BufWriter, Write},
    path::PathBuf,
};

use anyhow::Context;
use clap::ArgMatches;
use serde_json::{Value, json};

use super::{
    Exit,
    command::Manner,
    config, export,
    journal_flags::{JournalCommand, JournalFlags, Keys},
    talk::{Form, Talk},
};
use crate::{
    journal::{Archive, LaneSummary, Survey, VolumeSummary, Wanted},
    model::{Destination, PerDestination, SourceId, WallTime},
};

/// Runs one of the commands.
pub fn journal(manner: &Manner, flags: &JournalFlags, matches: &ArgMatches, talk: &Talk) -> anyhow::Result<Exit> {
    let dir = match (&flags.dir, config_dir(manner, flags, matches, talk)) {
        (Some(dir), _) => dir.clone(),
        (None, Ok(dir)) => dir,
        (None, Err(exit)) => {
            talk.note("The data directory can also be named: segue journal --dir DIR");
            return Ok(exit);
        }
    };
    let archive = Archive::open(&dir).map_err(anyhow::Error::from)?;
    let source = flags.source.as_deref().map(SourceId::parse).transpose().context("--source")?;
    let wanted = Wanted { source, from: flags.from, to: flags.to, newest: None };
    match &flags.command {
        JournalCommand::Ls => {
            let survey = archive.read(&wanted, |_| Ok(()))?;
            ls(&survey, &wanted, talk)?;
            Ok(Exit::Done)
        }
        JournalCommand::Verify => verify(&archive.read(&wanted, |_| Ok(()))?, talk),
        JournalCommand::Export { reveal } => {
            let keys = if *reveal { Keys::Shown } else { Keys::Masked };
            let mut out = BufWriter::new(io::stdout().lock());
            let survey = archive.read(&wanted, |archived| export::line(&archived, keys, &mut out))?;
            out.flush()?;
            Ok(told_of_damage(&survey, talk))
        }
    }
}

fn config_dir(manner: &Manner, flags: &JournalFlags, matches: &ArgMatches, talk: &Talk) -> Result<PathBuf, Exit> {
    if flags.dir.is_some() {
        return Err(Exit::Config);
    }
    Ok(config::load(manner, matches, talk)?.config.journal.dir)
}

/// What is missing from an export, and the exit code that says so.
fn told_of_damage(survey: &Survey, talk: &Talk) -> Exit {
    if survey.damage.is_empty() {
        return Exit::Done;
    }
    talk.note(&format!("{} damaged places were passed over; segue journal verify names them", survey.damage.len()));
    Exit::No
}

fn ls(survey: &Survey, wanted: &Wanted, talk: &Talk) -> anyhow::Result<()> {
    let is_wanted = |source: &SourceId| wanted.source.as_ref().is_none_or(|wanted| wanted == source);
    let lanes: Vec<&LaneSummary> = survey.lanes.iter().filter(|lane| is_wanted(&lane.id.source)).collect();
    if talk.form() == Form::Json {
        return talk.json(&json!({
            "schema": "segue.journal-ls/v1",
            "volumes": survey.volumes.iter().map(volume_json).collect::<Vec<_>>(),
            "lanes": lanes.iter().map(|lane| lane_json(lane)).collect::<Vec<_>>(),
            "cursors": if survey.saved_end.is_some() { "read" } else { "none" },
            "damaged": survey.damage.len(),
            "others": survey.others,
        }));
    }
    let mut lines = vec![format!("{:28} {:>12} {:>9} {:24} {:24} held by", "volume", "bytes", "records", "from", "to")];
    lines.extend(survey.volumes.iter().map(volume_line));
    lines.push(String::new());
    lines.push(format!("{:32} {:12} {:>12} {:>12} {:24}", "lane", "destination", "pending", "quarantined", "oldest"));
    lines.extend(lanes.iter().map(|lane| lane_line(lane)));
    if survey.saved_end.is_none() && !survey.volumes.is_empty() {
        lines.push("No cursor can be read: everything counts as pending.".to_owned());
    }
    if !survey.damage.is_empty() {
        lines.push(format!("{} damaged places: segue journal verify names them.", survey.damage.len()));
    }
    if !survey.others.is_empty() {
        lines.push(format!("Not read: {}", survey.others.join(" ")));
    }
    talk.result(&lines.join("\n"))?;
    Ok(())
}

fn volume_json(volume: &VolumeSummary) -> Value {
    json!({
        "file": volume.file,
        "bytes": volume.bytes,
        "records": volume.records,
        "planned": planned_json(volume.planned),
        "from": volume.arrived.map(|(first, _)| first.to_rfc3339()),
        "to": volume.arrived.map(|(_, last)| last.to_rfc3339()),
        "held_by": volume.pinned_by.iter().map(|(lane, events)| {
            json!({ "source": lane.source.as_str(), "destination": lane.destination.label(), "events": events })
        }).collect::<Vec<_>>(),
    })
}

fn planned_json(planned: PerDestination<u64>) -> Value {
    Value::Object(Destination::ALL.into_iter().map(|to| (to.label().to_owned(), (*planned.of(to)).into())).collect())
}

fn lane_json(lane: &LaneSummary) -> Value {
    json!({
        "source": lane.id.source.as_str(),
        "destination": lane.id.destination.label(),
        "cursor": lane.cursor.to_string(),
        "pending": lane.pending,
        "oldest": lane.oldest.map(WallTime::to_rfc3339),
        "quarantined": lane.quarantined,
    })
}

fn volume_line(volume: &VolumeSummary) -> String {
    let time = |time: Option<WallTime>| time.map_or_else(|| "-".to_owned(), WallTime::to_rfc3339);
    let held: Vec<String> = volume.pinned_by.iter().map(|(lane, events)| format!("{lane} ({events})")).collect();
    let held = if held.is_empty() { "-".to_owned() } else { held.join(", ") };
    let (from, to) = (volume.arrived.map(|(first, _)| first), volume.arrived.map(|(_, last)| last));
    format!("{:28} {:>12} {:>9} {:24} {:24} {held}", volume.file, volume.bytes, volume.records, time(from), time(to))
}

fn lane_line(lane: &LaneSummary) -> String {
    let oldest = lane.oldest.map_or_else(|| "-".to_owned(), WallTime::to_rfc3339);
    let (source, destination) = (lane.id.source.as_str(), lane.id.destination.label());
    format!("{source:32} {destination:12} {:>12} {:>12} {oldest:24}", lane.pending, lane.quarantined)
}

fn verify(survey: &Survey, talk: &Talk) -> anyhow::Result<Exit> {
    let records: u64 = survey.volumes.iter().map(|volume| volume.records).sum();
    match talk.form() {
        Form::Json => talk.json(&json!({
            "schema": "segue.journal-verify/v1",
            "ok": survey.damage.is_empty(),
            "volumes": survey.volumes.len(),
            "records": records,
            "damage": survey.damage.iter().map(|damage| {
                json!({ "file": damage.file, "offset": damage.offset, "what": damage.what })
            }).collect::<Vec<_>>(),
            "others": survey.others,
        }))?,
        Form::Text => {
            let mut lines: Vec<String> =
                survey.damage.iter().map(|damage| format!("{}:{}: {}", damage.file, damage.offset, damage.what)).collect();
            lines.push(format!("{} volumes, {records} records, {} damaged places", survey.volumes.len(), survey.damage.len()));
            talk.result(&lines.join("\n"))?;
        }
    }
    Ok(if survey.damage.is_empty() { Exit::Done } else { Exit::No })
}
