//! `segue route`: which destinations each source's events go to.

use serde::Serialize;
use serde_json::json;

use super::{
    Exit,
    attach::{self, Attached, unconfirmed},
    command::Manner,
    hold::in_path,
    inert::cut,
    one_sided, ramp,
    route_flags::{RouteCommand, RouteGetFlags, RouteSetFlags, RouteUndoFlags},
    talk::{Form, Talk},
    unknown::unknown_source,
};
use crate::{
    model::inert,
    wire::{Impact, ReplayPlan, RouteAsked, RouteChanged, RouteEvent, RouteHistory, Routes, RoutesChanged, Shift, SourceRoute, UndoAsked},
};

/// Shows or changes routes.
pub fn route(manner: &Manner, command: RouteCommand, talk: &Talk) -> anyhow::Result<Exit> {
    let attached = match Attached::find(manner, talk)? {
        Ok(attached) => attached,
        Err(exit) => return Ok(exit),
    };
    let done = match command {
        RouteCommand::Get(flags) => get(&attached, &flags, talk)?,
        RouteCommand::Set(flags) => set(&attached, flags, talk)?,
        RouteCommand::Plan(flags) => {
            let (route, verify) = (flags.route, flags.verify);
            let asked = RouteAsked { route, verify, if_revision: None, reason: None, dry_run: true };
            plan(&attached, &flags.source, &asked, talk)?
        }
        RouteCommand::Undo(flags) => undo(&attached, flags, talk)?,
        RouteCommand::Ramp(flags) => ramp::ramp(&attached, *flags, talk)?,
        RouteCommand::History(flags) => history(&attached, flags.count, talk)?,
    };
    Ok(done.unwrap_or_else(|exit| exit))
}

/// How a command ends; the error is told already.
type Ended = Result<Exit, Exit>;

fn get(attached: &Attached, flags: &RouteGetFlags, talk: &Talk) -> anyhow::Result<Ended> {
    let mut routes: Routes = match attached.get("/v1/routes", talk) {
        Ok(routes) => routes,
        Err(exit) => return Ok(Err(exit)),
    };
    if let Some(wanted) = &flags.source {
        if !routes.routes.iter().any(|route| route.name == *wanted || route.source == *wanted) {
            let names: Vec<&str> = routes.routes.iter().map(|route| route.name.as_str()).collect();
            return Ok(Err(unknown_source(wanted, &names, talk)));
        }
        routes.routes.retain(|route| route.name == *wanted || route.source == *wanted);
    }
    match talk.form() {
        Form::Json => attach::json(talk, &routes)?,
        Form::Text if flags.toml => talk.result(&toml(&routes))?,
        Form::Text => talk.result(&table(&routes))?,
    }
    Ok(Ok(Exit::Done))
}

fn table(routes: &Routes) -> String {
    let name = |route: &SourceRoute| inert(&route.name).chars().count();
    let width = routes.routes.iter().map(name).max().unwrap_or(0).max(6);
    let mut lines =
        vec![format!("{:width$}  {:>7}  {:>11}  {:>6}  {:>8}  ROUTE", "SOURCE", "SEGMENT", "RUDDERSTACK", "VERIFY", "REVISION")];
    for source in &routes.routes {
        let drift =
            if source.route == source.configured { String::new() } else { format!("  (configuration: {})", in_words(&source.configured)) };
        let route = &source.route;
        lines.push(format!(
            "{:width$}  {:>7}  {:>11}  {:>6}  {:>8}  {}{drift}",
            inert(&source.name),
            route.segment,
            route.rudderstack,
            route.verify,
            source.revision,
            route.route
        ));
        if let Some(at) = &source.retired_at {
            lines.push(format!("{:width$}  retired since {}: Segment is not contacted for it", "", inert(at)));
        }
        let rules = source.rules.iter().map(|rule| format!("{:width$}  {} -> {}", "", inert(&rule.when), in_words(&rule.route)));
        lines.extend(rules);
    }
    if let Some(kill) = &routes.kill {
        lines.push(format!(
            "The kill switch is on since {} ({}): everything goes to Segment, whatever the routes say. Back: segue kill off",
            inert(&kill.at),
            inert(&kill.by)
        ));
    }
    lines.join("\n")
}

fn in_words(route: &crate::wire::RouteShares) -> String {
    if route.verify == "0%" { route.route.clone() } else { format!("{}, verify {}", route.route, route.verify) }
}

/// What the configuration file would have to say.
fn toml(routes: &Routes) -> String {
    let mut lines = Vec::new();
    for source in &routes.routes {
        let route = &source.route;
        let value = if route.route.starts_with('{') { route.route.clone() } else { format!("\"{}\"", route.route) };
        let drift = if source.route == source.configured { "" } else { "  # differs from the file" };
        lines.push(format!("[[source]]  # {}\nroute = {value}{drift}", inert(&source.name)));
        if route.verify != "0%" {
            lines.push(format!("verify = \"{}\"", route.verify));
        }
    }
    lines.join("\n")
}

fn plan(attached: &Attached, source: &str, asked: &RouteAsked, talk: &Talk) -> anyhow::Result<Ended> {
    let planned: RoutesChanged = match attached.post(&path(source), asked, talk) {
        Ok(planned) => planned,
        Err(exit) => return Ok(Err(exit)),
    };
    show(&planned, talk)?;
    Ok(Ok(if planned.sources.is_empty() { Exit::Done } else { Exit::No }))
}

fn set(attached: &Attached, flags: RouteSetFlags, talk: &Talk) -> anyhow::Result<Ended> {
    let RouteSetFlags { source, route, verify, reason, if_rev, dry_run, yes } = flags;
    let mut asked = RouteAsked { route, verify, if_revision: if_rev, reason, dry_run: true };
    let planned: RoutesChanged = match attached.post(&path(&source), &asked, talk) {
        Ok(planned) => planned,
        Err(exit) => return Ok(Err(exit)),
    };
    let Some(change) = planned.sources.first().filter(|_| !dry_run) else {
        show(&planned, talk)?;
        return Ok(Ok(Exit::Done));
    };
    if !yes {
        talk.note(&change.impact.as_ref().map(impact).unwrap_or_default().join("\n"));
    }
    let question = format!("Change {} from the next event on? {}", inert(&change.before.name), changes(&planned).join("; "));
    if let Some(exit) = unconfirmed(&question, yes, talk)? {
        return Ok(Err(exit));
    }
    // What was shown is what is changed: when it is another by now, it is refused.
    asked = RouteAsked { if_revision: Some(if_rev.unwrap_or(change.before.revision)), dry_run: false, ..asked };
    done(attached.post(&path(&source), &asked, talk), talk)
}

fn undo(attached: &Attached, flags: RouteUndoFlags, talk: &Talk) -> anyhow::Result<Ended> {
    let RouteUndoFlags { source, to_rev, reason, dry_run, backfill, yes } = flags;
    let asked = UndoAsked { source, to_revision: to_rev, reason, dry_run: true };
    let planned: RoutesChanged = match attached.post("/v1/routes/undo", &asked, talk) {
        Ok(planned) => planned,
        Err(exit) => return Ok(Err(exit)),
    };
    if dry_run || planned.sources.is_empty() {
        return undone(attached, planned, to_rev, None, talk).map(|_| Ok(Exit::Done));
    }
    let question = format!("Undo? {}. What was sent stays sent.", changes(&planned).join("; "));
    if let Some(exit) = unconfirmed(&question, yes, talk)? {
        return Ok(Err(exit));
    }
    let changed: RoutesChanged = match attached.post("/v1/routes/undo", &UndoAsked { dry_run: false, ..asked }, talk) {
        Ok(changed) => changed,
        Err(exit) => return Ok(Err(exit)),
    };
    // What was decided under the revisions in between.
    let first_undoing = changed.sources.iter().map(|source| source.after.revision).min();
    let missed = undone(attached, changed, to_rev, first_undoing.map(|revision| revision - 1), talk)?;
    match backfill {
        Some(rate) => Ok(one_sided::backfill(attached, &missed, &rate, talk)?.map(|()| Exit::Done)),
        None => Ok(Ok(Exit::Done)),
    }
}

/// Shows an undo, and what one side alone got between the changes and their undoing.
fn undone(
    attached: &Attached,
    changed: RoutesChanged,
    to_rev: Option<u64>,
    last: Option<u64>,
    talk: &Talk,
) -> anyhow::Result<Vec<ReplayPlan>> {
    let mut missed = Ok(Vec::new());
    for source in &changed.sources {
        let first = to_rev.map_or(source.before.revision, |revision| revision + 1);
        let of_source = one_sided::missed(attached, &source.after, first, last);
        missed = missed.and_then(|mut missed: Vec<ReplayPlan>| {
            missed.extend(of_source?);
            Ok(missed)
        });
    }
    match talk.form() {
        Form::Json => attach::json(talk, &Undone { changed, one_sided: missed.as_ref().map(Clone::clone).unwrap_or_default() })?,
        Form::Text => {
            show(&changed, talk)?;
            for line in one_sided::told(&missed) {
                talk.result(&line)?;
            }
        }
    }
    Ok(missed.unwrap_or_default())
}

/// An undo, and what it leaves.
#[derive(Debug, Serialize)]
struct Undone {
    #[serde(flatten)]
    changed: RoutesChanged,
    /// What a destination missed meanwhile, and can be sent.
    one_sided: Vec<ReplayPlan>,
}

fn done(answer: attach::Asked<RoutesChanged>, talk: &Talk) -> anyhow::Result<Ended> {
    let changed = match answer {
        Ok(changed) => changed,
        Err(exit) => return Ok(Err(exit)),
    };
    show(&changed, talk)?;
    Ok(Ok(Exit::Done))
}

fn show(changed: &RoutesChanged, talk: &Talk) -> anyhow::Result<()> {
    match talk.form() {
        Form::Json => attach::json(talk, changed),
        Form::Text if changed.sources.is_empty() => Ok(talk.result("It stands so already; nothing changes.")?),
        Form::Text if changed.changed => {
            let undo = format!("Revision {}. Back again: segue route undo", changed.revision);
            Ok(talk.result(&[changes(changed).join("\n"), undo].join("\n"))?)
        }
        Form::Text => {
            let impacts = changed.sources.iter().filter_map(|source| source.impact.as_ref()).flat_map(impact);
            let lines: Vec<String> = changes(changed).into_iter().chain(impacts).chain(["Nothing was changed.".to_owned()]).collect();
            Ok(talk.result(&lines.join("\n"))?)
        }
    }
}

fn changes(changed: &RoutesChanged) -> Vec<String> {
    changed.sources.iter().map(change).collect()
}

/// One source before and after, in a line.
pub fn change(source: &RouteChanged) -> String {
    let (before, after) = (&source.before.route, &source.after.route);
    let mut line = format!(
        "{}: {} -> {} (Segment {} -> {}, RudderStack {} -> {})",
        inert(&source.before.name),
        in_words(before),
        in_words(after),
        before.segment,
        after.segment,
        before.rudderstack,
        after.rudderstack
    );
    if before.segment != "0%" && after.segment == "0%" && after.verify == "0%" {
        line += ". Segment gets nothing more of it";
    }
    line
}

/// What a change means, a line each.
pub fn impact(impact: &Impact) -> Vec<String> {
    let moved = |name: &str, shift: Shift| format!("  {name:12}{}/s -> {}/s", shift.before, shift.after);
    let mut lines = vec![
        format!(
            "  {:12}{}/s over the last minute, {:.0} a day",
            "apps send",
            impact.received_per_second,
            impact.received_per_second * 86_400.0
        ),
        moved("Segment", impact.segment),
        format!("{}; {} wait for it", moved("RudderStack", impact.rudderstack), impact.waiting_for_rudderstack),
    ];
    if let Some(recent) = &impact.recent {
        let apps = recent.apps.iter().map(|share| format!("{} ({})", inert(&share.app), share.events)).collect::<Vec<_>>().join(", ");
        lines.push(format!("  {:12}{} in {} events since {}: {apps}", "people", recent.people, recent.events, inert(&recent.since)));
    }
    lines.extend(impact.notes.iter().map(|note| format!("  {}", inert(note))));
    lines
}

/// Shows the newest changes; `segue audit ls` does the same.
pub fn history(attached: &Attached, count: usize, talk: &Talk) -> anyhow::Result<Ended> {
    let history: RouteHistory = match attached.get(&format!("/v1/routes/history?count={count}"), talk) {
        Ok(history) => history,
        Err(exit) => return Ok(Err(exit)),
    };
    match talk.form() {
        Form::Json => attach::json(talk, &history)?,
        Form::Text if history.changes.is_empty() => talk.result("Nothing was changed yet: all routes are the configuration's.")?,
        Form::Text => talk.result(&history.changes.iter().map(told).collect::<Vec<_>>().join("\n"))?,
    }
    Ok(Ok(Exit::Done))
}

fn told(event: &RouteEvent) -> String {
    let change = match (&event.source, &event.from, &event.to) {
        (Some(source), Some(from), Some(to)) => format!("{} {} -> {}", inert(source), in_words(from), in_words(to)),
        (source, ..) => {
            let of = event.replay.or(event.ramp.filter(|_| event.source.is_none()));
            let of_replay = || of.map_or_else(|| "(all)".to_owned(), |started| format!("of {started}"));
            let whose = source.as_deref().map_or_else(of_replay, |source| inert(source).into_owned());
            let to = event.destination.as_deref().map(|destination| format!(" to {}", inert(destination))).unwrap_or_default();
            let limit =
                event.from_limit.as_ref().zip(event.to_limit.as_ref()).map(|(from, to)| format!(" {from} -> {to}")).unwrap_or_default();
            let events = event.events.map(|events| format!(" {events} events")).unwrap_or_default();
            let steps = if event.steps.is_empty() { String::new() } else { format!(" {}", inert(&event.steps.join(" > "))) };
            format!("{whose}{to}{limit}{events}{steps}")
        }
    };
    let undoes = event.undoes.map(|revision| format!(" of {revision}")).unwrap_or_default();
    let why = event.reason.as_deref().map(|reason| format!("  \"{}\"", cut(reason, 120))).unwrap_or_default();
    let what = format!("{}{undoes}", event.what);
    format!("{:>5}  {:24}  {:10}  {:10}  {change}{why}", event.revision, inert(&event.at), inert(&event.by), inert(&what))
}

fn path(source: &str) -> String {
    format!("/v1/sources/{}/route", in_path(source))
}

/// What the kill switch is told.
pub fn reasoned(reason: Option<String>) -> serde_json::Value {
    reason.map_or_else(|| json!({}), |reason| json!({ "reason": reason }))
}
