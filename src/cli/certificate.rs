//! `segue certificate`: what can be said of a cutover, for people and for machines, and held against the history.

use std::{fs, path::Path};

use anyhow::Context;

use super::{
    Exit,
    attach::{self, Asked, Attached},
    command::Manner,
    evidence_flags::{CertificateArguments, CertificateCommand},
    hold::in_path,
    replay,
    talk::{Form, Talk},
};
use crate::{
    clock::Clock,
    config::{self, Environment},
    journal,
    model::inert,
    routing::{Change, History},
    wire::{AuditVerdict, Certificate, Evidence, Findings, HistoryMark, LedgerBook, RouteEvent, RouteHistory, Routes, Status, schema},
};

/// Changes that are asked for: all that the server tells at once.
const CHANGES: usize = 1_000;

/// Writes a certificate, or holds one against the history.
pub fn certificate(manner: &Manner, arguments: &CertificateArguments, talk: &Talk) -> anyhow::Result<Exit> {
    if let Some(CertificateCommand::Verify { file, history }) = &arguments.command {
        return verify(manner, file, history.as_deref(), talk);
    }
    let Some(source) = arguments.source.as_deref() else { return Ok(Exit::Usage) };
    let attached = match Attached::find(manner, talk)? {
        Ok(attached) => attached,
        Err(exit) => return Ok(exit),
    };
    let certificate = match gather(&attached, source, talk) {
        Ok(certificate) => certificate,
        Err(exit) => return Ok(exit),
    };
    match talk.form() {
        Form::Json => attach::json(talk, &certificate)?,
        Form::Text => talk.result(&markdown(&certificate))?,
    }
    Ok(if certificate.open.is_empty() { Exit::Done } else { Exit::No })
}

fn gather(attached: &Attached, source: &str, talk: &Talk) -> Asked<Certificate> {
    let of = in_path(source);
    // The server says what it is when there is no such source.
    let evidence: Evidence = attached.get(&format!("/v1/evidence?source={of}"), talk)?;
    let findings: Findings = attached.get(&format!("/v1/findings?source={of}"), talk)?;
    let ledger: LedgerBook = attached.get(&format!("/v1/ledger?by=revision&source={of}"), talk)?;
    let routes: Routes = attached.get("/v1/routes", talk)?;
    let history: RouteHistory = attached.get(&format!("/v1/routes/history?count={CHANGES}"), talk)?;
    let audit: AuditVerdict = attached.get("/v1/routes/audit", talk)?;
    let status: Status = attached.get("/v1/status", talk)?;
    let Some(route) = routes.routes.iter().find(|route| route.source == source || route.name == source) else {
        talk.error(&anyhow::anyhow!("there is no source `{source}`"));
        return Err(Exit::Usage);
    };
    let id = &route.source;
    let is_about = |change: &RouteEvent| {
        change.source.as_deref().is_none_or(|sources| sources.split(", ").any(|source| source == id)) && change.what != "limit"
    };
    let mut changes: Vec<RouteEvent> = history.changes.into_iter().filter(is_about).collect();
    changes.reverse();
    let quarantined = ledger.rows.iter().map(|row| row.quarantined).sum();
    let mut certificate = Certificate {
        schema: schema::CERTIFICATE.to_owned(),
        source: id.clone(),
        name: route.name.clone(),
        issued_at: Clock::system().now().to_string(),
        version: status.version.clone(),
        route: route.route.clone(),
        changes,
        ledger: ledger.rows,
        parity: evidence.parity,
        findings: findings.findings,
        quarantined,
        open: Vec::new(),
        history: HistoryMark { lines: audit.lines, seal: audit.seal.clone(), holds: audit.broken.is_empty() },
    };
    certificate.open = open(&certificate, evidence.tapped, &status);
    Ok(certificate)
}

/// What speaks against calling it done.
fn open(certificate: &Certificate, tapped: bool, status: &Status) -> Vec<String> {
    let mut open = Vec::new();
    let pending: u64 = certificate.ledger.iter().map(|row| row.pending).sum();
    if pending > 0 {
        open.push(format!("{pending} events wait to be delivered"));
    }
    if certificate.quarantined > 0 {
        open.push(format!("{} events are in quarantine: segue quarantine ls", certificate.quarantined));
    }
    let differences = certificate.findings.iter().filter(|finding| finding.state == "open").count();
    if differences > 0 {
        open.push(format!("{differences} differences are open: segue diff {}", certificate.name));
    }
    match certificate.parity.iter().find(|parity| parity.basis == "tap" && parity.pairs > 0) {
        Some(parity) if parity.drifting => open.push("the share of events that agree changes as one looks".to_owned()),
        Some(parity) if parity.until_999 != Some(0) => {
            open.push(format!("it is not sure that both sides agree on 99.9 % of the events: {} were compared", parity.pairs));
        }
        Some(_) => {}
        None if tapped => open.push("nothing that both vendors emitted was compared under this route".to_owned()),
        None => open.push("the vendors' taps are off, so that nothing of what they emitted was compared: segue webhook setup".to_owned()),
    }
    if !certificate.history.holds {
        open.push("the history of changes does not hold together: segue audit verify".to_owned());
    }
    if status.kill.is_some() {
        open.push("the kill switch is on".to_owned());
    }
    open
}

fn markdown(certificate: &Certificate) -> String {
    let Certificate { name, source, issued_at, version, route, .. } = certificate;
    let mut lines = vec![
        format!("# Cutover of {}", inert(name)),
        String::new(),
        format!("Source `{}`, written {} by segue {}.", inert(source), inert(issued_at), inert(version)),
        format!("Its route is **{}**: Segment {}, RudderStack {}.", route.route, route.segment, route.rudderstack),
        String::new(),
        "## What speaks against calling it done".to_owned(),
        String::new(),
    ];
    match certificate.open.as_slice() {
        [] => lines.push("Nothing that segue knows.".to_owned()),
        open => lines.extend(open.iter().map(|why| format!("- {why}"))),
    }
    lines.extend(
        [
            "",
            "## How far both sides agree",
            "",
            "| by | events | agree | at least | at most | foretold | cannot be said |",
            "|---|---|---|---|---|---|---|",
        ]
        .map(str::to_owned),
    );
    for parity in &certificate.parity {
        let share = |share: f64| format!("{:.3} %", share * 100.0);
        lines.push(format!(
            "| {} | {} | {} | {} | {} | {} | {} |",
            if parity.basis == "tap" { "what both emitted" } else { "answers" },
            parity.pairs,
            parity.share.map_or_else(|| "-".to_owned(), share),
            share(parity.lower),
            share(parity.upper),
            parity.tally.predicted,
            parity.tally.unjoinable
        ));
    }
    lines.extend(["", "The bounds hold with 95 % certainty, whenever they are looked at.", "", "## Differences", ""].map(str::to_owned));
    if certificate.findings.is_empty() {
        lines.push("None were found.".to_owned());
    } else {
        lines.extend(["| where | how | events | state | why |", "|---|---|---|---|---|"].map(str::to_owned));
        lines.extend(certificate.findings.iter().map(|finding| {
            let place = if finding.path.is_empty() { "(whole event)" } else { &finding.path };
            let why = finding.reason.as_deref().unwrap_or_default();
            format!("| {} | {} | {} | {} | {} |", cell(place), cell(&finding.kind), finding.events, cell(&finding.state), cell(why))
        }));
    }
    lines.extend(
        [
            "",
            "## How its events ended",
            "",
            "| to | revision | planned | delivered | waiting | in quarantine | resent | other |",
            "|---|---|---|---|---|---|---|---|",
        ]
        .map(str::to_owned),
    );
    lines.extend(certificate.ledger.iter().map(|row| {
        let other = row.suppressed + row.expired + row.purged;
        let to = replay::name(&row.destination);
        format!(
            "| {to} | {} | {} | {} | {} | {} | {} | {other} |",
            row.revision, row.planned, row.delivered, row.pending, row.quarantined, row.deduplicated
        )
    }));
    lines.extend(
        ["", "## What was done", "", "| revision | when | who | what | from | to | why |", "|---|---|---|---|---|---|---|"]
            .map(str::to_owned),
    );
    lines.extend(certificate.changes.iter().map(|change| {
        let shares = |shares: &Option<crate::wire::RouteShares>| shares.as_ref().map(|shares| shares.route.clone()).unwrap_or_default();
        let what = change.about.as_ref().map_or_else(|| change.what.clone(), |about| format!("{} {about}", change.what));
        let why = change.reason.as_deref().unwrap_or_default();
        format!(
            "| {} | {} | {} | {} | {} | {} | {} |",
            change.revision,
            cell(&change.at),
            cell(&change.by),
            cell(&what),
            shares(&change.from),
            shares(&change.to),
            cell(why)
        )
    }));
    let HistoryMark { lines: count, seal, holds } = &certificate.history;
    let held = if *holds { "holds together" } else { "does NOT hold together" };
    lines.push(String::new());
    lines.push(format!("The history has {count} lines and {held}; the seal of its last line is `{seal}`."));
    lines.push("`segue certificate verify` holds the JSON form of this against it.".to_owned());
    lines.join("\n")
}

/// A text of strangers in a table.
fn cell(text: &str) -> String {
    inert(text).replace('|', "\\|")
}

fn verify(manner: &Manner, file: &Path, history: Option<&Path>, talk: &Talk) -> anyhow::Result<Exit> {
    let text = fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let certificate: Certificate = serde_json::from_str(&text)
        .with_context(|| format!("{} is no certificate as `segue certificate --json` writes it", file.display()))?;
    let history = match history {
        Some(path) => path.to_owned(),
        None => match config::load(manner.config(), &Environment::of_process(), &[]) {
            Ok(loaded) => loaded.config.journal.dir.join(journal::CHANGES_FILE),
            Err(problems) => {
                talk.problems(&problems);
                talk.note("Or name the history: segue certificate verify FILE --history changes.log");
                return Ok(Exit::Config);
            }
        },
    };
    let lines = match fs::read(&history) {
        Ok(lines) => lines,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && certificate.history.lines == 0 => Vec::new(),
        Err(error) => return Err(error).with_context(|| format!("{} cannot be read", history.display())),
    };
    let faults = faults(&certificate, &lines);
    match talk.form() {
        Form::Json => attach::json(
            talk,
            &serde_json::json!({ "schema": "segue.certificate-verdict/v1", "holds": faults.is_empty(), "faults": faults }),
        )?,
        Form::Text if faults.is_empty() => talk.result(&format!(
            "The certificate of {} stands in the history: {} changes, the seal after {} lines.",
            inert(&certificate.name),
            certificate.changes.len(),
            certificate.history.lines
        ))?,
        Form::Text => talk.result(&format!("The certificate does NOT stand in the history:\n{}", faults.join("\n")))?,
    }
    Ok(if faults.is_empty() { Exit::Done } else { Exit::No })
}

/// What of a certificate does not stand in the history.
fn faults(certificate: &Certificate, lines: &[u8]) -> Vec<String> {
    let count = usize::try_from(certificate.history.lines).unwrap_or(usize::MAX);
    let until: Vec<&[u8]> = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).take(count).collect();
    let mut faults = Vec::new();
    if until.len() < count {
        faults.push(format!("- the history has {} lines, and had {count} when it was written", until.len()));
    }
    let history = History::read(&until.join(&b'\n'));
    if history.seal().as_str() != certificate.history.seal {
        faults.push("- the seal of the last line is another: a line before it was changed, or it is another history".to_owned());
    }
    if !history.broken().is_empty() && certificate.history.holds {
        faults.push(format!("- the seals of lines {:?} are not right", history.broken()));
    }
    for told in &certificate.changes {
        let stands = history.changes().iter().any(|change| is_the_same(change, told));
        if !stands {
            faults.push(format!("- revision {} ({} at {}) is not in it", told.revision, inert(&told.what), inert(&told.at)));
        }
    }
    faults
}

fn is_the_same(change: &Change, told: &RouteEvent) -> bool {
    let is_route = |route: crate::routing::Route, told: Option<&crate::wire::RouteShares>| {
        told.is_some_and(|told| told.segment == route.segment().to_string() && told.rudderstack == route.rudderstack().to_string())
    };
    let is_deed = match &change.deed {
        crate::routing::Deed::Route { source, from, to } => {
            told.source.as_deref() == Some(source.as_str()) && is_route(*from, told.from.as_ref()) && is_route(*to, told.to.as_ref())
        }
        _ => told.from.is_none() && told.to.is_none(),
    };
    change.revision.0 == told.revision && change.at.to_string() == told.at && change.reason == told.reason && is_deed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Revision, SourceId, WallTime},
        routing::{Author, Deed, Route, Stage},
        wire::RouteShares,
    };

    fn shares(route: Route) -> RouteShares {
        RouteShares {
            route: route.to_string(),
            segment: route.segment().to_string(),
            rudderstack: route.rudderstack().to_string(),
            verify: route.verify().to_string(),
        }
    }

    /// A history of two flips, and the certificate of the source that they are of.
    fn story() -> (Vec<u8>, Certificate) {
        let (mut history, mut lines, mut changes) = (History::default(), Vec::new(), Vec::new());
        let routes = ["segment-only", "both", "cutover=25%"].map(|route| Route::from(route.parse::<Stage>().unwrap()));
        for (number, pair) in (1_u32..).zip(routes.windows(2)) {
            let deed = Deed::Route { source: SourceId::parse("web").unwrap(), from: pair[0], to: pair[1] };
            let at = WallTime::from_millis(1_800_000_000_000 + i64::from(number));
            let change =
                Change { revision: Revision(number.into()), at, by: Author::Uid(7), deed, reason: Some("step".into()), undoes: None };
            lines.extend_from_slice(history.line(&change).as_bytes());
            lines.push(b'\n');
            history.push(change.clone());
            let told = serde_json::json!({
                "revision": number, "at": at.to_string(), "by": "uid 7", "what": "route", "source": "web",
                "from": shares(pair[0]), "to": shares(pair[1]), "reason": "step",
            });
            changes.push(serde_json::from_value(told).unwrap());
        }
        let history = HistoryMark { lines: 2, seal: history.seal().as_str().to_owned(), holds: true };
        let certificate = Certificate {
            schema: schema::CERTIFICATE.to_owned(),
            source: "web".into(),
            name: "web".into(),
            issued_at: "2026-11-27T00:00:00Z".into(),
            version: "0".into(),
            route: shares(routes[2]),
            changes,
            ledger: Vec::new(),
            parity: Vec::new(),
            findings: Vec::new(),
            quarantined: 0,
            open: Vec::new(),
            history,
        };
        (lines, certificate)
    }

    #[test]
    fn a_certificate_stands_in_its_history_and_in_what_was_added_to_it() {
        let (mut lines, certificate) = story();
        assert_eq!(faults(&certificate, &lines), Vec::<String>::new());
        lines.extend_from_slice(b"something later\n");
        assert_eq!(faults(&certificate, &lines), Vec::<String>::new());
    }

    #[test]
    fn whoever_changes_one_or_the_other_is_found() {
        let (lines, certificate) = story();
        let text = String::from_utf8(lines.clone()).unwrap();
        for forged in [text.replacen("step", "stop", 1), text.lines().skip(1).collect::<Vec<_>>().join("\n"), String::new()] {
            assert!(!faults(&certificate, forged.as_bytes()).is_empty(), "{forged}");
        }
        let mut other = certificate.clone();
        other.changes[1].to = other.changes[0].to.clone();
        assert_eq!(faults(&other, &lines).len(), 1);
        let mut other = certificate.clone();
        other.changes[0].reason = Some("another".into());
        assert_eq!(faults(&other, &lines).len(), 1);
        let mut other = certificate;
        other.history.seal = "0".repeat(64);
        assert_eq!(faults(&other, &lines).len(), 1);
    }
}
