//! `segue diff`, `segue trace`, `segue ledger`: does RudderStack get what Segment gets, and where does it not.

use super::{
    Exit,
    attach::{self, Asked, Attached},
    command::Manner,
    evidence_flags::{DiffArguments, DiffCommand, DiffFlags, LedgerBy, LedgerFlags, TraceFlags},
    hold::in_path,
    inert::{cut, inert_json},
    replay,
    talk::{Form, Talk},
};
use crate::{
    model::inert,
    wire::{Evidence, Finding, FindingAsked, FindingDetail, Findings, LedgerBook, Parity, Trace},
};

/// How wide a place is told.
const PATH_CHARS: usize = 36;

/// Shows what differs, or decides about it.
pub fn diff(manner: &Manner, arguments: DiffArguments, talk: &Talk) -> anyhow::Result<Exit> {
    let attached = match Attached::find(manner, talk)? {
        Ok(attached) => attached,
        Err(exit) => return Ok(exit),
    };
    let ended = match arguments.command {
        None => list(&attached, &arguments.flags, talk)?,
        Some(DiffCommand::Show { id, reveal }) => show(&attached, &id, reveal, talk)?,
        Some(DiffCommand::Accept { id, reason }) => decide(&attached, &id, "accept", Some(reason), talk)?,
        Some(DiffCommand::Ignore { id, reason }) => decide(&attached, &id, "ignore", Some(reason), talk)?,
        Some(DiffCommand::Reopen { id, reason }) => decide(&attached, &id, "reopen", reason, talk)?,
    };
    Ok(ended.unwrap_or_else(|exit| exit))
}

fn list(attached: &Attached, flags: &DiffFlags, talk: &Talk) -> anyhow::Result<Asked<Exit>> {
    let of = flags.source.as_deref().map(|source| format!("?source={}", in_path(source))).unwrap_or_default();
    let asked = attached.get::<Evidence>(&format!("/v1/evidence{of}"), talk);
    let found = asked.and_then(|evidence| Ok((evidence, attached.get::<Findings>(&format!("/v1/findings{of}"), talk)?)));
    let (evidence, mut findings) = match found {
        Ok(found) => found,
        Err(exit) => return Ok(Err(exit)),
    };
    findings.findings.retain(|finding| (flags.all || finding.state == "open") && (!flags.new || finding.new));
    match talk.form() {
        Form::Json => attach::json(talk, &serde_json::json!({ "schema": "segue.diff/v1", "evidence": evidence, "findings": findings }))?,
        Form::Text => talk.result(&page(&evidence, &findings, flags.all))?,
    }
    if let Some(below) = flags.fail_below
        && !is_above(&evidence, below / 100.0)
    {
        talk.note(&format!("Both sides are not sure to agree on {below} % of the events."));
        return Ok(Ok(Exit::Refused));
    }
    let is_open = findings.findings.iter().any(|finding| finding.state == "open");
    Ok(Ok(if is_open { Exit::No } else { Exit::Done }))
}

/// Whether the best evidence of every source that has any is above a share. Without any nothing is sure.
fn is_above(evidence: &Evidence, share: f64) -> bool {
    let has_tap = |source: &str| evidence.parity.iter().any(|parity| parity.source == source && parity.basis == "tap" && parity.pairs > 0);
    let best = |parity: &&Parity| parity.basis == "tap" || !has_tap(&parity.source);
    let mut judged = evidence.parity.iter().filter(best).peekable();
    judged.peek().is_some() && judged.all(|parity| !parity.drifting && parity.lower >= share)
}

fn page(evidence: &Evidence, findings: &Findings, all: bool) -> String {
    let mut lines: Vec<String> = evidence.parity.iter().map(parity).collect();
    if evidence.parity.is_empty() {
        lines.push("Nothing was compared yet: only events of sources that go to both sides are.".to_owned());
    }
    if !evidence.tapped {
        lines.push("The vendors' taps are off, so this rests on their answers alone, and Segment says 200 to what it drops.".to_owned());
        lines.push("Have both post what they emit: segue webhook setup SOURCE".to_owned());
    }
    if evidence.one_in > 1 {
        lines.push(format!("There are too many events at one time: 1 in {} is followed, a fair sample.", evidence.one_in));
    }
    lines.push(String::new());
    if findings.findings.is_empty() {
        lines.push("No differences.".to_owned());
    } else {
        lines.push(format!("{:<12} {:<36} {:<22} {:>8}  {}", "ID", "WHERE", "HOW", "EVENTS", "SOURCE"));
        lines.extend(findings.findings.iter().map(row));
        lines.push(String::new());
        lines.push("One of them: segue diff show ID. As it should be: segue diff accept ID --reason ...".to_owned());
    }
    if findings.untold > 0 {
        lines.push(format!("{} more differences are in no class, as there are too many classes.", findings.untold));
    }
    if all {
        if !evidence.noise.is_empty() {
            lines.push(String::new());
            lines.push("Counts for nothing:".to_owned());
        }
        lines.extend(evidence.noise.iter().map(|noise| format!("  {:>8}  {}  {}", noise.events, inert(&noise.what), inert(&noise.source))));
    }
    lines.join("\n")
}

fn parity(parity: &Parity) -> String {
    let basis = if parity.basis == "tap" { "what both emitted" } else { "their answers" };
    let since = format!("since revision {}", parity.since_revision);
    let Some(share) = parity.share else {
        return format!("{}: nothing compared by {basis} yet, {since}", inert(&parity.source));
    };
    if parity.drifting {
        return format!(
            "{}: {} agree by {basis}, and the share changes as one looks: {} events, {since}",
            inert(&parity.source),
            percent(share),
            parity.pairs
        );
    }
    let until = match parity.until_999 {
        Some(0) => "99.9 % is sure".to_owned(),
        Some(more) => format!("{more} more events until 99.9 % is sure"),
        None => "99.9 % is out of reach like this".to_owned(),
    };
    let interval = format!("{} to {}", percent(parity.lower), percent(parity.upper));
    let beside = match (parity.tally.predicted, parity.tally.unjoinable) {
        (0, 0) => String::new(),
        (predicted, 0) => format!("; {predicted} as foretold"),
        (predicted, unjoinable) => format!("; {predicted} as foretold, {unjoinable} cannot be said"),
    };
    format!(
        "{}: {} agree by {basis} ({interval} with 95 % certainty; {} events, {since}{beside}); {until}",
        inert(&parity.source),
        percent(share),
        parity.pairs
    )
}

fn percent(share: f64) -> String {
    // Never 100 % while there is one that does not agree.
    let hundredths = (share * 10_000.0).floor() / 100.0;
    format!("{hundredths:.2} %")
}

fn row(finding: &Finding) -> String {
    let place = if finding.path.is_empty() { "(whole event)".to_owned() } else { cut(&finding.path, PATH_CHARS) };
    let mark = match finding.state.as_str() {
        "open" if finding.new => " new",
        "open" => "",
        state => state,
    };
    let line =
        format!("{:<12} {place:<36} {:<22} {:>8}  {}", inert(&finding.id), inert(&finding.kind), finding.events, inert(&finding.source));
    if mark.is_empty() { line } else { format!("{line} {}", mark.trim()) }
}

fn show(attached: &Attached, id: &str, reveal: bool, talk: &Talk) -> anyhow::Result<Asked<Exit>> {
    let path = format!("/v1/findings/{}{}", in_path(id), if reveal { "?reveal=true" } else { "" });
    let detail: FindingDetail = match attached.get(&path, talk) {
        Ok(detail) => detail,
        Err(exit) => return Ok(Err(exit)),
    };
    match talk.form() {
        Form::Json => attach::json(talk, &detail)?,
        Form::Text => talk.result(&told(&detail))?,
    }
    Ok(Ok(Exit::Done))
}

fn told(detail: &FindingDetail) -> String {
    let Finding { path, kind, state, events, first_at, last_at, versions, reason, source, since_revision, .. } = &detail.finding;
    let place = if path.is_empty() { "the whole event".to_owned() } else { inert(path).into_owned() };
    let mut lines = vec![
        format!("{}: {place}, {}", inert(source), inert(kind)),
        format!("{events} events, from {} to {}, since revision {since_revision}", inert(first_at), inert(last_at)),
    ];
    if !versions.is_empty() {
        let versions: Vec<String> = versions.iter().map(|version| inert(version).into_owned()).collect();
        lines.push(format!("of {}", versions.join(", ")));
    }
    if let Some(reason) = reason.as_deref().filter(|_| state != "open") {
        lines.push(format!("{}: {}", inert(state), inert(reason)));
    }
    for sample in &detail.samples {
        let value =
            |value: &Option<serde_json::Value>| value.as_ref().map_or_else(|| "-".to_owned(), |value| inert_json(&value.to_string()));
        lines.push(String::new());
        lines.push(format!("{}  {}", inert(&sample.message_id), inert(&sample.at)));
        if path.is_empty() {
            lines.extend((!sample.why.is_empty()).then(|| format!("  {}", inert(&sample.why))));
        } else {
            lines.push(format!("  Segment      {}", value(&sample.left)));
            lines.push(format!("  RudderStack  {}", value(&sample.right)));
        }
    }
    if detail.masked {
        lines.push(String::new());
        lines.push("What tells of a person is masked; --reveal shows it to those who may see it. Whole events: --json".to_owned());
    }
    lines.join("\n")
}

fn decide(attached: &Attached, id: &str, verb: &str, reason: Option<String>, talk: &Talk) -> anyhow::Result<Asked<Exit>> {
    let asked = FindingAsked { verb: verb.to_owned(), reason };
    let detail: FindingDetail = match attached.post(&format!("/v1/findings/{}", in_path(id)), &asked, talk) {
        Ok(detail) => detail,
        Err(exit) => return Ok(Err(exit)),
    };
    match talk.form() {
        Form::Json => attach::json(talk, &detail)?,
        Form::Text => {
            let finding = &detail.finding;
            let place = if finding.path.is_empty() { "(whole event)" } else { &finding.path };
            talk.result(&format!(
                "{} {} of {} is {} now.",
                inert(place),
                inert(&finding.kind),
                inert(&finding.source),
                inert(&finding.state)
            ))?;
        }
    }
    Ok(Ok(Exit::Done))
}

/// Shows one event through every hop.
pub fn trace(manner: &Manner, flags: &TraceFlags, talk: &Talk) -> anyhow::Result<Exit> {
    let attached = match Attached::find(manner, talk)? {
        Ok(attached) => attached,
        Err(exit) => return Ok(exit),
    };
    let of = flags.source.as_deref().map(|source| format!("?source={}", in_path(source))).unwrap_or_default();
    let trace: Trace = match attached.get(&format!("/v1/trace/{}{of}", in_path(&flags.message_id)), talk) {
        Ok(trace) => trace,
        Err(exit) => return Ok(exit),
    };
    match talk.form() {
        Form::Json => attach::json(talk, &trace)?,
        Form::Text => {
            let mut lines = vec![format!("{} of {}", inert(&trace.message_id), inert(&trace.source))];
            lines.extend(trace.hops.iter().map(|hop| {
                let side = hop.side.as_deref().map_or("", replay::name);
                let at = hop.at.as_deref().unwrap_or("-");
                format!("{:<24} {:<11} {:<11} {}", inert(at), inert(&hop.what), side, inert(&hop.says))
            }));
            talk.result(&lines.join("\n"))?;
        }
    }
    Ok(Exit::Done)
}

/// Shows how events ended.
pub fn ledger(manner: &Manner, flags: &LedgerFlags, talk: &Talk) -> anyhow::Result<Exit> {
    let attached = match Attached::find(manner, talk)? {
        Ok(attached) => attached,
        Err(exit) => return Ok(exit),
    };
    let by = if flags.by == LedgerBy::Minute { "minute" } else { "revision" };
    let source = flags.source.as_deref().map(|source| format!("&source={}", in_path(source))).unwrap_or_default();
    let since = flags.since.map(|since| format!("&since={}", in_path(&since.to_string()))).unwrap_or_default();
    let book: LedgerBook = match attached.get(&format!("/v1/ledger?by={by}{source}{since}"), talk) {
        Ok(book) => book,
        Err(exit) => return Ok(exit),
    };
    match talk.form() {
        Form::Json => attach::json(talk, &book)?,
        Form::Text => talk.result(&book_page(&book))?,
    }
    Ok(Exit::Done)
}

fn book_page(book: &LedgerBook) -> String {
    if book.rows.is_empty() {
        return "Nothing was journalled.".to_owned();
    }
    let head = ["SOURCE", "TO", "REV", "FROM", "PLANNED", "DELIVERED", "PENDING", "REFUSED", "RESENT", "OTHER"];
    let line = |cells: [String; 10]| {
        let [source, to, rev, from, planned, delivered, pending, refused, resent, other] = cells;
        format!("{source:<14} {to:<11} {rev:>4} {from:<20} {planned:>9} {delivered:>9} {pending:>8} {refused:>7} {resent:>6} {other:>5}")
    };
    let row = |row: &crate::wire::LedgerRow| {
        let other = row.suppressed + row.expired + row.purged;
        line([
            cut(&row.source, 14),
            replay::name(&row.destination).to_owned(),
            row.revision.to_string(),
            cut(&row.from, 20),
            row.planned.to_string(),
            row.delivered.to_string(),
            row.pending.to_string(),
            row.quarantined.to_string(),
            row.deduplicated.to_string(),
            other.to_string(),
        ])
    };
    let mut lines = vec![line(head.map(str::to_owned))];
    lines.extend(book.rows.iter().map(row));
    if book.estimated > 0 {
        lines.push(format!(
            "Of {} events a restart after a kill knows that they ended, and not in which minute: the oldest open ones.",
            book.estimated
        ));
    }
    lines.join("\n")
}
