//! Where names lead, and who answers there: as an app on this machine sees it, and as segue does.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use anyhow::Context;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use tokio::{net::lookup_host, runtime, time::timeout};

use super::doctor::{Fact, local_ca};
use crate::{
    clock::Clock,
    config::Config,
    model::WallTime,
    protocol,
    routing::Region,
    tls,
    upstream::{self, Addresses, Answer, Call, CallError, Fault, Upstream, is_public},
};

/// The looks at names and upstreams.
pub struct Looks<'a> {
    config: &'a Config,
    runtime: runtime::Runtime,
    within: Duration,
}

/// Where a name leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leads {
    /// To segue.
    Here,
    /// Past it.
    Elsewhere,
}

/// One of the names that segue stands for.
pub struct Named {
    /// The name.
    pub name: String,
    /// Where it leads.
    pub leads: Leads,
    /// What is to be said of that.
    pub fact: Fact,
}

/// The most of an answer.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Clocks that are further apart than this, in milliseconds, shift events.
const APART_MS_MAX: i64 = 5_000;

impl<'a> Looks<'a> {
    pub fn new(config: &'a Config, within: Duration) -> anyhow::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().context("the runtime cannot start")?;
        Ok(Self { config, runtime, within })
    }

    /// The names that apps may come by: those of the certificate, and the public host.
    pub fn names(&self) -> Vec<Named> {
        let usual = tls::Settings::default().names;
        let mut names = self.config.tls.as_ref().map_or(usual, |tls| tls.names.clone());
        names.extend(self.config.ingress.public_host.clone().filter(|host| !names.contains(host)));
        names.into_iter().map(|name| self.name(name)).collect()
    }

    fn name(&self, name: String) -> Named {
        let (leads, fact) = self.look_at(&name);
        Named { name, leads, fact }
    }

    fn look_at(&self, name: &str) -> (Leads, Fact) {
        let about = format!("name {name}");
        let here = "scripts/front/hosts add, or another of scripts/front; apps whose SDK has a host option do not need it";
        let found = self.runtime.block_on(async { timeout(self.within, lookup_host((name, 443))).await });
        let addresses: Vec<IpAddr> = match found {
            Ok(Ok(found)) => found.map(|address| address.ip()).collect(),
            Ok(Err(error)) => return (Leads::Elsewhere, Fact::note(about, format!("it leads nowhere: {error}"), here)),
            Err(_) => return (Leads::Elsewhere, Fact::note(about, "no name server answers", here)),
        };
        let shown = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let is_segments = tls::Settings::default().names.iter().any(|own| own == name);
        if is_segments && addresses.iter().all(|address| is_public(*address)) {
            let what = format!("it leads to {shown}: apps that come by it go to Segment, past segue");
            return (Leads::Elsewhere, Fact::note(about, what, here));
        }
        match self.ask(&self.trusting(format!("https://{name}")), "/-/healthz") {
            Ok(answer) if is_segue(&answer) => (Leads::Here, Fact::ok(about, format!("it leads to segue, at {shown}"))),
            Ok(answer) => {
                let what = format!("it leads to {shown}, and who answers there ({}) is not segue", answer.status);
                (Leads::Elsewhere, Fact::bad(about, what, "Lead it to segue's own address: scripts/front"))
            }
            Err(error) => (Leads::Elsewhere, Fact::bad(about, format!("it leads to {shown}, and {error}"), fix_of(&error))),
        }
    }

    /// The listener of apps whose SDK has a host option.
    pub fn plain(&self) -> Option<Fact> {
        let address = self.config.ingress.listen?;
        let url = format!("http://{address}");
        let fact = match self.ask(&upstream::Settings { url: url.clone(), ..self.client() }, "/-/healthz") {
            Ok(answer) if is_segue(&answer) => Fact::ok("listen", format!("{url} takes events: the SDK's host option")),
            Ok(answer) => {
                Fact::bad("listen", format!("{url} is answered ({}) by something else", answer.status), "Free the port, or set `listen`")
            }
            Err(error) => Fact::bad("listen", error.to_string(), "Start the sidecar, or name the configuration that it runs by: --config"),
        };
        Some(fact)
    }

    /// Whether segue's side reaches the vendors, and what time it is there.
    pub fn upstreams(&self) -> Vec<Fact> {
        let sources = &self.config.sources;
        let of_region = |region| sources.iter().any(|source| source.region == region);
        let mut looked = Vec::new();
        if of_region(Region::Us) || sources.is_empty() {
            looked.push(("Segment", &self.config.segment.us));
        }
        if of_region(Region::Eu) {
            looked.push(("Segment in Europe", &self.config.segment.eu));
        }
        looked.extend(self.config.rudderstack.as_ref().map(|rudderstack| ("RudderStack", rudderstack)));
        let mut facts = Vec::new();
        for (vendor, settings) in looked {
            let url = &settings.url;
            let settings = upstream::Settings { timeout: self.within, connect_timeout: self.within, ..settings.clone() };
            match self.ask(&settings, "/") {
                Ok(answer) => {
                    facts.push(Fact::ok(format!("way to {vendor}"), format!("{url} answers in {} ms", answer.elapsed.as_millis())));
                    // One is enough to tell by.
                    if facts.iter().all(|fact: &Fact| fact.about != "clock") {
                        facts.extend(clock(vendor, &answer));
                    }
                }
                Err(error) => facts.push(Fact::bad(format!("way to {vendor}"), error.to_string(), fix_of(&error))),
            }
        }
        facts
    }

    fn client(&self) -> upstream::Settings {
        upstream::Settings {
            addresses: Addresses::Any,
            timeout: self.within,
            connect_timeout: self.within,
            ..upstream::Settings::default()
        }
    }

    /// As an app that trusts what `certs export` gives it.
    fn trusting(&self, url: String) -> upstream::Settings {
        let root = |dir: &PathBuf| dir.join("root.pem");
        let ca_file = self.config.tls.as_ref().and_then(|tls| local_ca(&tls.mode)).map(root).filter(|root| root.exists());
        upstream::Settings { url, ca_file, ..self.client() }
    }

    fn ask(&self, settings: &upstream::Settings, path: &str) -> Result<Answer, Trouble> {
        let upstream = Upstream::new(settings).map_err(|error| Trouble::Settings(error.to_string()))?;
        let call = Call { method: Method::GET, path: path.to_owned(), headers: HeaderMap::new(), body: Bytes::new() };
        self.runtime.block_on(upstream.relay(call, ANSWER_BYTES_MAX)).map_err(Trouble::Call)
    }
}

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("{0}")]
    Settings(String),
    #[error(transparent)]
    Call(CallError),
}

fn is_segue(answer: &Answer) -> bool {
    answer.status == StatusCode::OK && answer.body == protocol::ACCEPTED.body
}

fn fix_of(trouble: &Trouble) -> &'static str {
    match trouble {
        Trouble::Settings(_) => "Mend the configuration: segue check",
        Trouble::Call(error) => match error.fault {
            Fault::Connect => "Have segue listen there, on port 443 (listen_tls), and see that no firewall stands between",
            Fault::Tls => "Another certificate than segue's is shown, or it has ended: segue certs status; for a private vendor, ca_file",
            Fault::Address => "resolver = [\"1.1.1.1\"] in [segment]: a name server that knows the real address",
            Fault::Resolve => "See that the name server answers for it: /etc/resolv.conf, or `resolver` in the configuration",
            _ => "Try again; if it stays so, look at what stands between",
        },
    }
}

/// None: the vendor does not tell the time.
fn clock(vendor: &str, answer: &Answer) -> Option<Fact> {
    let told = answer.headers.get(header::DATE)?.to_str().ok()?;
    let there = jiff::fmt::rfc2822::parse(told).ok()?.timestamp().as_millisecond();
    let apart = Clock::system().now().millis_since(WallTime::from_millis(there));
    Some(if apart.abs() <= APART_MS_MAX {
        Fact::ok("clock", format!("within {} s of {vendor}'s", (apart.abs() / 1_000).max(1)))
    } else {
        let fix = "Set this machine's clock (chronyc tracking, timedatectl): the times of events that come late are reckoned by it";
        Fact::bad("clock", format!("{} s {} {vendor}'s", apart.abs() / 1_000, if apart > 0 { "ahead of" } else { "behind" }), fix)
    })
}
