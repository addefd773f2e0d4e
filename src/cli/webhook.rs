//! `segue webhook setup`: what to put where, in both vendors' dashboards, from the configuration alone.

use serde_json::json;

use super::{
    Exit, attach,
    command::Manner,
    evidence_flags::WebhookCommand,
    talk::{Form, Talk},
    unknown::unknown_source,
};
use crate::{
    config::{self, Config, Environment},
    model::inert,
};

/// Prints the steps for one source.
pub fn webhook(manner: &Manner, command: &WebhookCommand, talk: &Talk) -> anyhow::Result<Exit> {
    let WebhookCommand::Setup { source, url } = command;
    let config = match config::load(manner.config(), &Environment::of_process(), &[]) {
        Ok(loaded) => loaded.config,
        Err(problems) => {
            talk.problems(&problems);
            return Ok(Exit::Config);
        }
    };
    let Some(known) = config.sources.iter().find(|known| known.id.as_str() == source || known.name == *source) else {
        let names: Vec<&str> = config.sources.iter().map(|source| source.name.as_str()).collect();
        return Ok(unknown_source(source, &names, talk));
    };
    let setup = Setup::of(&config, known.id.as_str(), url.as_deref());
    match talk.form() {
        Form::Json => attach::json(
            talk,
            &json!({
                "schema": "segue.webhook-setup/v1",
                "source": known.id.as_str(),
                "segment_tap": setup.tap_segment,
                "rudderstack_tap": setup.tap_rudderstack,
                "segment_ingress": setup.ingress,
                "missing": setup.missing,
            }),
        )?,
        Form::Text => talk.result(&setup.page(&known.name))?,
    }
    Ok(if setup.missing.is_empty() { Exit::Done } else { Exit::No })
}

/// Where vendors are to post, and what lacks.
struct Setup {
    tap_segment: String,
    tap_rudderstack: String,
    ingress: String,
    missing: Vec<String>,
}

impl Setup {
    /// `url`: where the vendors reach the listener; None: the address that it listens on stands for it.
    fn of(config: &Config, source: &str, url: Option<&str>) -> Self {
        let hooks = &config.ingress.hooks;
        let listens = hooks
            .listen_tls
            .map(|address| format!("https://{address}"))
            .or_else(|| hooks.listen.map(|address| format!("http://{address}")));
        let base = url.map(|url| url.trim_end_matches('/').to_owned()).or(listens).unwrap_or_else(|| "https://<your host>".to_owned());
        let mut missing = Vec::new();
        let mut lacks = |is_missing: bool, what: &str| is_missing.then(|| missing.push(what.to_owned()));
        lacks(
            hooks.listen.is_none() && hooks.listen_tls.is_none(),
            "[hooks] listen_tls = \"0.0.0.0:8444\", or listen behind a proxy with TLS",
        );
        lacks(
            hooks.segment_secrets.is_empty(),
            "[hooks] segment_secret = { env = \"SEGMENT_WEBHOOK_SECRET\" }: any text of your own, 32 characters or more",
        );
        lacks(
            hooks.rudderstack_secrets.is_empty(),
            "[hooks] rudderstack_secret = { env = \"RUDDER_TAP_SECRET\" }: letters and digits, 32 or more",
        );
        Self {
            tap_segment: format!("{base}/tap/segment/{source}"),
            tap_rudderstack: format!("{base}/tap/rudderstack/<hooks.rudderstack_secret>/{source}"),
            ingress: format!("{base}/hooks/segment/{source}"),
            missing,
        }
    }

    fn page(&self, name: &str) -> String {
        let Self { tap_segment, tap_rudderstack, ingress, missing } = self;
        let mut lines = Vec::new();
        if !missing.is_empty() {
            lines.push("Missing in the configuration first:".to_owned());
            lines.extend(missing.iter().map(|what| format!("  {what}")));
            lines.push(String::new());
        }
        lines.push(format!("To compare what both vendors make of {}'s events (segue diff):", inert(name)));
        lines.push(format!(
            "  1. Segment > Connections > Destinations > Add > Webhooks, for this source.\n     \
             Webhook URL    {tap_segment}\n     \
             Shared Secret  the value of hooks.segment_secret\n     \
             Events         all types, batching off; no filters and no mapping of fields\n  \
             2. RudderStack > Destinations > New > Webhook, for this source.\n     \
             Webhook URL    {tap_rudderstack}\n     \
             Method         POST; no transformation\n     \
             The secret stands in the path, as RudderStack does not sign: whoever has the URL can post to it.\n  \
             3. Send an event, and see it come: segue diff {name}"
        ));
        lines.push(String::new());
        lines.push("For apps that cannot be pointed at segue: what Segment gets of them goes on to RudderStack.".to_owned());
        lines.push(format!(
            "  1. Segment > Webhooks, as above, with\n     \
             Webhook URL    {ingress}\n  \
             2. An event that came by segue as well goes to RudderStack once, as long as its messageId is among the newest\n     \
             rudderstack.dedup_window. Whose events go is what the route of {name} says.\n  \
             3. Off again when segue versions shows nobody any more who comes by it: remove that destination in Segment."
        ));
        lines.push(String::new());
        lines.push("Know before: Segment must stay in the path and may charge for it; it tries for four hours and gives up then; what is answered\n4xx it never sends again. Never have RudderStack's own \"Segment\" source beside it: each event would come twice.".to_owned());
        lines.join("\n")
    }
}
