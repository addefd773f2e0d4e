//! `segue doctor`: why an app's events do not come here, or not on. It is run where the app runs, in its environment; each line is one
//! fact, and under it the one thing to do.

use std::{fs, time::Duration};

use anyhow::Context;
use serde::Serialize;

use super::{
    Exit,
    attach::Attached,
    command::Manner,
    doctor_flags::DoctorFlags,
    doctor_looks::{Leads, Looks},
    doctor_runtimes::{Ended, RUNTIMES, Runtime},
    hold::in_path,
    inert::inert_json,
    talk::{Form, Talk},
};
use crate::{
    config::{self, Config, Environment},
    model::inert,
    tls::Mode,
    wire::{Retirement, Routes, Status},
};

/// What was found.
#[derive(Debug, Serialize)]
pub struct Report {
    schema: &'static str,
    /// Whether nothing is wrong.
    ok: bool,
    facts: Vec<Fact>,
}

/// One fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// What it is about.
    pub about: String,
    /// How it is.
    pub verdict: Verdict,
    /// What is so.
    pub what: String,
    /// The one thing to do; None: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// How a fact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It may be meant so.
    Note,
    /// Events are lost, late or elsewhere by it.
    Bad,
}

impl Fact {
    pub fn ok(about: impl Into<String>, what: impl Into<String>) -> Self {
        Self { about: about.into(), verdict: Verdict::Ok, what: what.into(), fix: None }
    }

    pub fn note(about: impl Into<String>, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { about: about.into(), verdict: Verdict::Note, what: what.into(), fix: Some(fix.into()) }
    }

    pub fn bad(about: impl Into<String>, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { about: about.into(), verdict: Verdict::Bad, what: what.into(), fix: Some(fix.into()) }
    }
}

/// Looks at everything, and tells it.
pub fn doctor(manner: &Manner, flags: &DoctorFlags, talk: &Talk) -> anyhow::Result<Exit> {
    let mut facts = Vec::new();
    let config = match config::load(manner.config(), &Environment::of_process(), &[]) {
        Ok(loaded) => {
            facts.extend(of_config(&loaded));
            loaded.config
        }
        Err(problems) => {
            let first = problems.list().first().map(|problem| problem.what.clone()).unwrap_or_default();
            facts.push(Fact::bad(
                "config",
                format!("the configuration cannot be used: {first}"),
                "segue check says all of it; --config names the file",
            ));
            Config::default()
        }
    };
    facts.extend(of_sidecar(manner, talk)?);
    facts.extend(of_port(&config));
    let looks = Looks::new(&config, flags.timeout.0)?;
    let names = looks.names();
    facts.extend(names.iter().map(|named| named.fact.clone()));
    if let Some(named) = names.iter().find(|named| named.leads == Leads::Here) {
        facts.extend(of_runtimes(&named.name, flags.timeout.0));
    }
    facts.extend(looks.plain());
    if !flags.offline {
        facts.extend(looks.upstreams());
    }
    let report = Report { schema: "segue.doctor/v1", ok: facts.iter().all(|fact| fact.verdict != Verdict::Bad), facts };
    let json = inert_json(&serde_json::to_string(&report)?);
    if let Some(path) = &flags.report {
        fs::write(path, format!("{json}\n")).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    match talk.form() {
        Form::Json => talk.result(&json)?,
        Form::Text => talk.result(&page(&report))?,
    }
    Ok(if report.ok { Exit::Done } else { Exit::No })
}

fn of_config(loaded: &config::Loaded) -> Vec<Fact> {
    let files: Vec<String> = loaded.files.iter().map(|file| file.display().to_string()).collect();
    let mut facts = vec![Fact::ok("config", format!("{}: {} sources", files.join(", "), loaded.config.sources.len()))];
    facts.extend(loaded.warnings.list().iter().map(|warning| Fact::note("config", warning.what.clone(), warning.fix.clone())));
    facts
}

/// What the running sidecar says of itself: its disk, its queues, its keys, its settings.
fn of_sidecar(manner: &Manner, talk: &Talk) -> anyhow::Result<Vec<Fact>> {
    let about = "sidecar";
    let fix = "Start it: segue run. From another container, share its socket and name it: --attach PATH";
    let Ok(attached) = Attached::find(manner, talk)? else {
        return Ok(vec![Fact::note(about, "there is no way to a running sidecar", fix)]);
    };
    let status: Status = match attached.look("/v1/status") {
        Ok(status) => status,
        Err(error) => return Ok(vec![Fact::bad(about, format!("no sidecar answers: {error}"), fix)]),
    };
    let mut facts = vec![Fact::ok(about, format!("version {} runs since {}", status.version, status.started_at))];
    facts.extend(status.troubles.iter().map(|trouble| Fact::bad(trouble.kind.clone(), trouble.what.clone(), trouble.fix.clone())));
    let journal = &status.journal;
    let hours = journal.hours_left.map_or_else(String::new, |hours| format!(", {hours:.0} hours of an outage at the pace of late"));
    let taken = format!("{} of {} bytes are taken{hours}", journal.bytes, journal.capacity_bytes);
    if journal.state == "writable" {
        facts.push(Fact::ok("disk", taken));
    }
    if let Ok(routes) = attached.look::<Routes>("/v1/routes") {
        for source in &routes.routes {
            let standing: Result<Retirement, _> = attached.look(&format!("/v1/sources/{}/retirement", in_path(&source.source)));
            facts.extend(standing.ok().and_then(|standing| of_settings(&standing)));
        }
    }
    Ok(facts)
}

/// Where the settings of a source send its events, by the copy that is kept.
fn of_settings(standing: &Retirement) -> Option<Fact> {
    let item = |id: &str| standing.checklist.iter().find(|item| item.id == id);
    let (kept, api_host) = (item("settings")?, item("api_host")?);
    let about = format!("settings of {}", standing.name);
    match (&api_host.fix, kept.done) {
        (_, false) => None,
        (Some(fix), true) => Some(Fact::bad(about, api_host.what.clone(), fix.clone())),
        (None, true) => Some(Fact::ok(about, api_host.what.clone())),
    }
}

/// Apps by name come on port 443.
fn of_port(config: &Config) -> Option<Fact> {
    let tls = config.tls.as_ref()?;
    let address = config.ingress.listen_tls?;
    let about = "port";
    let names = tls.names.join(", ");
    if address.port() == 443 {
        return Some(Fact::ok(about, format!("{address} takes TLS for {names}")));
    }
    let what = format!("{address} takes TLS, and apps that come by name ask for port 443");
    let fix = "listen_tls = \"0.0.0.0:443\", as any user after sysctl net.ipv4.ip_unprivileged_port_start=443 or with CAP_NET_BIND_SERVICE; or scripts/front/redirect";
    Some(Fact::note(about, what, fix))
}

/// Whether the runtimes that are here trust segue, as the environment of this process has them.
fn of_runtimes(name: &str, within: Duration) -> Vec<Fact> {
    let url = format!("https://{name}/-/healthz");
    let looked = RUNTIMES.iter().filter_map(|runtime| Some((runtime, runtime.reach(&url, within)?)));
    let fact = |(runtime, ended): (&Runtime, Ended)| {
        let about = format!("trust of {}", runtime.name);
        let fix = format!("Give the app the lines of: segue certs export --for {}", runtime.name);
        match ended {
            Ended::Trusts => Fact::ok(about, format!("it reaches {url} with this environment")),
            Ended::Distrusts(said) => Fact::bad(about, format!("it does not trust the certificate of {name}: {said}"), fix),
            Ended::Otherwise(said) => {
                Fact::note(about, format!("it does not reach {url}: {said}"), "Look at what stands between: a proxy variable, a firewall")
            }
        }
    };
    looked.map(fact).collect()
}

fn page(report: &Report) -> String {
    let mut lines = Vec::new();
    for fact in &report.facts {
        let mark = match fact.verdict {
            Verdict::Ok => "ok  ",
            Verdict::Note => "note",
            Verdict::Bad => "BAD ",
        };
        lines.push(format!("{mark}  {:<18} {}", inert(&fact.about), inert(&fact.what)));
        lines.extend(fact.fix.as_ref().map(|fix| format!("{:24} {}", "", inert(fix))));
    }
    let bad = report.facts.iter().filter(|fact| fact.verdict == Verdict::Bad).count();
    lines.push(match bad {
        0 => "Nothing is wrong, as far as can be seen from here.".to_owned(),
        1 => "One thing is wrong.".to_owned(),
        bad => format!("{bad} things are wrong."),
    });
    lines.join("\n")
}

/// Whether what is served is segue's own CA's.
pub const fn local_ca(mode: &Mode) -> Option<&std::path::PathBuf> {
    match mode {
        Mode::LocalCa { dir } => Some(dir),
        Mode::Files { .. } => None,
    }
}
