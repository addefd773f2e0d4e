//! `segue quarantine`: what destinations refuse for good.

use std::fmt::Write;

use super::{
    Exit,
    attach::{self, Attached, unconfirmed},
    command::Manner,
    inert::{cut, inert_json},
    quarantine_flags::{QuarantineCommand, QuarantineLsFlags, QuarantineRedriveFlags, QuarantineReleaseFlags, QuarantineShowFlags},
    talk::{Form, Talk},
};
use crate::{
    model::inert,
    wire::{QuarantineDetail, QuarantineEntry, QuarantineMoved, QuarantinePage, QuarantinePick},
};

/// Lists, shows, sends again, gives up.
pub fn quarantine(manner: &Manner, command: QuarantineCommand, talk: &Talk) -> anyhow::Result<Exit> {
    let attached = match Attached::find(manner, talk)? {
        Ok(attached) => attached,
        Err(exit) => return Ok(exit),
    };
    match command {
        QuarantineCommand::Ls(flags) => list(&attached, flags, talk),
        QuarantineCommand::Show(flags) => show(&attached, &flags, talk),
        QuarantineCommand::Redrive(flags) => {
            let QuarantineRedriveFlags { id, source, destination, reason, all, dry_run, yes } = flags;
            let destination = destination.map(|name| name.label().to_owned());
            change(&attached, Verb::Redrive, &QuarantinePick { id, source, destination, reason, all, dry_run }, yes, talk)
        }
        QuarantineCommand::Release(flags) => {
            let QuarantineReleaseFlags { id, source, destination, reason, all, dry_run, yes } = flags;
            let destination = destination.map(|name| name.label().to_owned());
            change(&attached, Verb::Release, &QuarantinePick { id, source, destination, reason, all, dry_run }, yes, talk)
        }
    }
}

/// What is done with events in quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Redrive,
    Release,
}

impl Verb {
    const fn path(self) -> &'static str {
        match self {
            Self::Redrive => "/v1/quarantine/redrive",
            Self::Release => "/v1/quarantine/release",
        }
    }

    fn question(self, moved: &QuarantineMoved) -> String {
        match self {
            Self::Redrive => format!("Send {} again?", counted(moved)),
            Self::Release => format!("Give up {}? They are gone for good.", counted(moved)),
        }
    }

    fn said(self, moved: &QuarantineMoved) -> String {
        match (self, moved.dry_run) {
            (Self::Redrive, false) => {
                format!("{} will be sent again. What is refused again comes back: segue quarantine ls", counted(moved))
            }
            (Self::Redrive, true) => format!("{} would be sent again. Nothing was changed.", counted(moved)),
            (Self::Release, false) => format!("{} given up; counted as purged.", counted(moved)),
            (Self::Release, true) => format!("{} would be given up. Nothing was changed.", counted(moved)),
        }
    }
}

fn counted(moved: &QuarantineMoved) -> String {
    if moved.events == 1 { "1 event".to_owned() } else { format!("{} events", moved.events) }
}

/// Counts first, asks, then does it.
fn change(attached: &Attached, verb: Verb, pick: &QuarantinePick, yes: bool, talk: &Talk) -> anyhow::Result<Exit> {
    if !pick.says_which() {
        talk.error(&anyhow::anyhow!(
            "which events? Name an entry, or narrow it with --source, --destination or --reason, or say --all\n  Nothing was changed.\n  What is there: segue quarantine ls"
        ));
        return Ok(Exit::Usage);
    }
    let counted: QuarantineMoved = match attached.post(verb.path(), &QuarantinePick { dry_run: true, ..pick.clone() }, talk) {
        Ok(counted) => counted,
        Err(exit) => return Ok(exit),
    };
    if counted.entries == 0 {
        match talk.form() {
            Form::Json => attach::json(talk, &counted)?,
            Form::Text => talk.result("Nothing in quarantine fits. What is there: segue quarantine ls")?,
        }
        return Ok(Exit::No);
    }
    let moved = if pick.dry_run {
        counted
    } else {
        if let Some(exit) = unconfirmed(&verb.question(&counted), yes, talk)? {
            return Ok(exit);
        }
        match attached.post(verb.path(), pick, talk) {
            Ok(moved) => moved,
            Err(exit) => return Ok(exit),
        }
    };
    match talk.form() {
        Form::Json => attach::json(talk, &moved)?,
        Form::Text => talk.result(&verb.said(&moved))?,
    }
    Ok(Exit::Done)
}

fn list(attached: &Attached, flags: QuarantineLsFlags, talk: &Talk) -> anyhow::Result<Exit> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    let destination = flags.destination.map(|name| name.label().to_owned());
    for (name, value) in [("source", flags.source), ("destination", destination), ("reason", flags.reason)] {
        if let Some(value) = value {
            query.append_pair(name, &value);
        }
    }
    let query = query.finish();
    let mut whole: Option<QuarantinePage> = None;
    let mut after = 0;
    loop {
        let page: QuarantinePage = match attached.get(&format!("/v1/quarantine?after={after}&{query}"), talk) {
            Ok(page) => page,
            Err(exit) => return Ok(exit),
        };
        let next = page.next;
        match &mut whole {
            None => whole = Some(page),
            Some(whole) => whole.entries.extend(page.entries),
        }
        match next {
            Some(next) if next > after => after = next,
            _ => break,
        }
    }
    let Some(whole) = whole.map(|whole| QuarantinePage { next: None, ..whole }) else { return Ok(Exit::Failed) };
    match talk.form() {
        Form::Json => attach::json(talk, &whole)?,
        Form::Text if whole.entries.is_empty() => talk.result("Nothing is in quarantine.")?,
        Form::Text => talk.result(&table(&whole))?,
    }
    Ok(Exit::Done)
}

fn table(page: &QuarantinePage) -> String {
    let width = page.entries.iter().map(|entry| inert(&entry.source).chars().count()).max().unwrap_or(0).max(6);
    let mut lines =
        vec![format!("{:>6}  {:24}  {:width$}  {:11}  {:>6}  {:28}  REASON", "ID", "SINCE", "SOURCE", "DESTINATION", "STATUS", "EVENT")];
    for entry in &page.entries {
        let line = format!(
            "{:>6}  {:24}  {:width$}  {:11}  {:>6}  {:28}  {}",
            entry.id,
            inert(&entry.at),
            inert(&entry.source),
            inert(&entry.destination),
            status(entry),
            cut(&called(entry), 28),
            cut(&entry.reason, 120),
        );
        lines.push(line.trim_end().to_owned());
    }
    lines.push(format!("{} events in {} entries. One of them: segue quarantine show ID", page.total_events, page.total_entries));
    lines.join("\n")
}

fn status(entry: &QuarantineEntry) -> String {
    if entry.status == 0 { "unsent".to_owned() } else { entry.status.to_string() }
}

/// What the event is, in a few words.
fn called(entry: &QuarantineEntry) -> String {
    match (&entry.kind, &entry.name, entry.events) {
        (Some(kind), Some(name), _) => format!("{kind} {name}"),
        (Some(kind), None, _) => kind.clone(),
        (None, _, 1) => "unreadable".to_owned(),
        (None, _, events) => format!("unreadable, {events} events"),
    }
}

fn show(attached: &Attached, flags: &QuarantineShowFlags, talk: &Talk) -> anyhow::Result<Exit> {
    let detail: QuarantineDetail = match attached.get(&format!("/v1/quarantine/{}?reveal={}", flags.id, flags.reveal), talk) {
        Ok(detail) => detail,
        Err(exit) => return Ok(exit),
    };
    if talk.form() == Form::Json {
        attach::json(talk, &detail)?;
        return Ok(Exit::Done);
    }
    let entry = &detail.entry;
    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(out, "{name:11}  {}", inert(value));
    };
    line("entry", &entry.id.to_string());
    line("lane", &format!("{} to {}", entry.source, entry.destination));
    line("event", &called(entry));
    line("messageId", entry.message_id.as_deref().unwrap_or("-"));
    line("arrived", detail.received_at.as_deref().unwrap_or("-"));
    line("refused", &entry.at);
    line("status", &status(entry));
    line("reason", &entry.reason);
    line("answer", if detail.answer.is_empty() { "-" } else { &detail.answer });
    match &detail.event {
        Some(event) => out.push_str(&inert_json(&serde_json::to_string_pretty(event)?)),
        None => out.push_str("The event cannot be read as JSON; it is kept as it came."),
    }
    if detail.masked {
        out.push_str("\nWhat tells of a person is masked; show it with --reveal.");
    }
    talk.result(&out)?;
    Ok(Exit::Done)
}
