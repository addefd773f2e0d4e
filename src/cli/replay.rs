//! `segue replay`: events sent again from the journal.

use std::{
    io::{IsTerminal, Write},
    thread::sleep,
    time::Duration,
};

use super::{
    Exit,
    attach::{self, Asked, Attached, unconfirmed},
    command::Manner,
    replay_flags::{ReplayCommand, ReplayPlanFlags, ReplayStartFlags},
    talk::{Form, Talk},
};
use crate::{
    clock::Clock,
    model::{Span, inert},
    wire::{ReplayAnswer, ReplayAsked, ReplayJob, ReplayPlan, ReplayStepAsked, Replays},
};

/// How often a watcher looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// The width of the progress bar.
const BAR_CHARS: u64 = 24;

/// Plans, starts, shows and steers replays.
pub fn replay(manner: &Manner, command: ReplayCommand, talk: &Talk) -> anyhow::Result<Exit> {
    let attached = match Attached::find(manner, talk)? {
        Ok(attached) => attached,
        Err(exit) => return Ok(exit),
    };
    let ended = match command {
        ReplayCommand::Plan(flags) => plan(&attached, &planned(flags), talk)?,
        ReplayCommand::Start(flags) => start(&attached, flags, talk)?,
        ReplayCommand::List(flags) if flags.watch => watch(&attached, talk)?,
        ReplayCommand::List(_) => list(&attached, talk)?,
        ReplayCommand::Pause(flags) => step(&attached, flags.id, "pause", flags.reason, flags.dry_run, talk)?,
        ReplayCommand::Resume(flags) => step(&attached, flags.id, "resume", flags.reason, flags.dry_run, talk)?,
        ReplayCommand::Cancel(flags) => step(&attached, flags.id, "cancel", flags.reason, flags.dry_run, talk)?,
    };
    Ok(ended.unwrap_or_else(|exit| exit))
}

fn planned(flags: ReplayPlanFlags) -> ReplayAsked {
    let ReplayPlanFlags { source, to, first_rev, last_rev, since, from, until, all, by_route, rate } = flags;
    ReplayAsked {
        source,
        destination: to.label().to_owned(),
        first_revision: first_rev,
        last_revision: last_rev,
        from: from.or_else(|| since.map(ago)),
        to: until,
        all,
        by_route,
        rate: Some(rate),
        reason: None,
        dry_run: false,
    }
}

/// The time so long ago.
fn ago(since: Span) -> String {
    let millis = i64::try_from(since.0.as_millis()).unwrap_or(i64::MAX);
    Clock::system().now().plus_millis(-millis).to_string()
}

fn plan(attached: &Attached, asked: &ReplayAsked, talk: &Talk) -> anyhow::Result<Asked<Exit>> {
    let plan: ReplayPlan = match attached.post("/v1/replays/plan", asked, talk) {
        Ok(plan) => plan,
        Err(exit) => return Ok(Err(exit)),
    };
    match talk.form() {
        Form::Json => attach::json(talk, &plan)?,
        Form::Text => talk.result(&format!("{}\nNothing was sent. Start it: {}", said(&plan), inert(&plan.command)))?,
    }
    Ok(Ok(if plan.events == 0 { Exit::Done } else { Exit::No }))
}

fn said(plan: &ReplayPlan) -> String {
    let to = name(&plan.destination);
    let mut lines = vec![match (&plan.first_at, &plan.last_at) {
        (Some(first), Some(last)) => format!(
            "{} events of {} people of {} would go to {to} again; they came from {} to {}.",
            plan.events,
            plan.people,
            inert(&plan.source),
            inert(first),
            inert(last)
        ),
        _ => format!("No event of {} in the journal is to go to {to} again.", inert(&plan.source)),
    }];
    if plan.events > 0 {
        lines.push(format!("At {} that takes {}.", inert(&plan.rate), span(plan.seconds)));
    }
    if let Some(kept_from) = &plan.kept_from {
        lines.push(format!("Of it the journal goes back to {}.", inert(kept_from)));
    }
    lines.extend(plan.warnings.iter().map(|warning| inert(warning).into_owned()));
    lines.join("\n")
}

/// A destination, as people write it.
pub fn name(destination: &str) -> &'static str {
    if destination == "segment" { "Segment" } else { "RudderStack" }
}

fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

fn start(attached: &Attached, flags: ReplayStartFlags, talk: &Talk) -> anyhow::Result<Asked<Exit>> {
    let ReplayStartFlags { source, to, first_rev, last_rev, since, from, until, all, by_route, rate, reason, dry_run, yes } = flags;
    let asked = planned(ReplayPlanFlags { source, to, first_rev, last_rev, since, from, until, all, by_route, rate });
    if dry_run {
        return plan(attached, &asked, talk);
    }
    if !yes {
        let plan: ReplayPlan = match attached.post("/v1/replays/plan", &asked, talk) {
            Ok(plan) => plan,
            Err(exit) => return Ok(Err(exit)),
        };
        talk.note(&said(&plan));
        if let Some(exit) = unconfirmed("Start it?", yes, talk)? {
            return Ok(Err(exit));
        }
    }
    begin(attached, &ReplayAsked { reason, ..asked }, talk)
}

/// Starts a replay, and tells its name.
pub fn begin(attached: &Attached, asked: &ReplayAsked, talk: &Talk) -> anyhow::Result<Asked<Exit>> {
    let answer: ReplayAnswer = match attached.post("/v1/replays", asked, talk) {
        Ok(answer) => answer,
        Err(exit) => return Ok(Err(exit)),
    };
    match talk.form() {
        Form::Json => attach::json(talk, &answer)?,
        Form::Text => {
            let id = answer.replay.id;
            talk.result(&format!("Replay {id} runs. How far it is: segue replay list --watch. Stop it: segue replay pause {id}"))?;
        }
    }
    Ok(Ok(Exit::Done))
}

fn list(attached: &Attached, talk: &Talk) -> anyhow::Result<Asked<Exit>> {
    let replays: Replays = match attached.get("/v1/replays", talk) {
        Ok(replays) => replays,
        Err(exit) => return Ok(Err(exit)),
    };
    match talk.form() {
        Form::Json => attach::json(talk, &replays)?,
        Form::Text if replays.replays.is_empty() => talk.result("There was no replay yet.")?,
        Form::Text => talk.result(&replays.replays.iter().map(line).collect::<Vec<_>>().join("\n"))?,
    }
    Ok(Ok(Exit::Done))
}

fn line(job: &ReplayJob) -> String {
    let way = format!("{} to {}", inert(&job.source), inert(&job.destination));
    let far = match job.total {
        Some(total) => format!("{} of {total}", job.sent),
        None => "-".to_owned(),
    };
    let lost = if job.lost > 0 { format!("; {} were gone: the journal needed their room", job.lost) } else { String::new() };
    let waits = job.waits_for.as_deref().map(|what| format!("; waits: {}", inert(what))).unwrap_or_default();
    format!("{:>5}  {way:28}  {:9}  {far:>17}  {}{lost}{waits}", job.id, inert(&job.state), inert(&job.rate))
}

/// Tells how far they have come, until none runs any more: one line that moves on a terminal, a line for each change elsewhere.
fn watch(attached: &Attached, talk: &Talk) -> anyhow::Result<Asked<Exit>> {
    let moves = talk.form() == Form::Text && std::io::stdout().is_terminal();
    let mut known = Vec::new();
    loop {
        let replays: Replays = match attached.get("/v1/replays", talk) {
            Ok(replays) => replays,
            Err(exit) => return Ok(Err(exit)),
        };
        let alive: Vec<&ReplayJob> = replays.replays.iter().filter(|job| job.state == "running" || job.state == "paused").collect();
        if moves {
            let bars: Vec<String> = alive.iter().map(|job| bar(job)).collect();
            print!("\r\u{1b}[K{}", bars.join("  "));
            std::io::stdout().flush()?;
        } else if replays.replays != known {
            match talk.form() {
                Form::Json => attach::json(talk, &replays)?,
                Form::Text => talk.result(&replays.replays.iter().map(line).collect::<Vec<_>>().join("\n"))?,
            }
        }
        if !alive.iter().any(|job| job.state == "running") {
            if moves {
                println!();
                talk.result(&replays.replays.iter().map(line).collect::<Vec<_>>().join("\n"))?;
            }
            return Ok(Ok(Exit::Done));
        }
        known = replays.replays;
        sleep(LOOK_INTERVAL);
    }
}

fn bar(job: &ReplayJob) -> String {
    let Some(total) = job.total.filter(|total| *total > 0) else { return format!("{} looks what there is", job.id) };
    let filled = (job.sent * BAR_CHARS / total).min(BAR_CHARS);
    let bar: String = (0..BAR_CHARS).map(|at| if at < filled { '#' } else { '.' }).collect();
    let waits = job.waits_for.as_deref().map(|what| format!(" waits: {}", inert(what))).unwrap_or_default();
    format!("{} [{bar}] {} of {total}, {}{waits}", job.id, job.sent, inert(&job.state))
}

fn step(attached: &Attached, id: u64, verb: &str, reason: Option<String>, dry_run: bool, talk: &Talk) -> anyhow::Result<Asked<Exit>> {
    let asked = ReplayStepAsked { reason, dry_run };
    let answer: ReplayAnswer = match attached.post(&format!("/v1/replays/{id}/{verb}"), &asked, talk) {
        Ok(answer) => answer,
        Err(exit) => return Ok(Err(exit)),
    };
    match talk.form() {
        Form::Json => attach::json(talk, &answer)?,
        Form::Text => talk.result(&line(&answer.replay))?,
    }
    Ok(Ok(Exit::Done))
}
