//! Retiring a source: the checklist, and the step itself.

use std::sync::Arc;

use axum::{
    extract::{Extension, State},
    response::Response,
};

use super::{
    answer::{Problems, Refusal, good},
    caller::Caller,
    extract::{Json, Path},
    lanes::source_id,
    routes::{refused, worded},
    server::Hub,
};
use crate::{
    census::{Outlook, SILENT_DAYS, Verdict},
    control::{FlipError, Retiring, SourceStanding},
    journal::LaneId,
    model::{Destination, Percent, Role, SourceId},
    protocol,
    routing::{Author, Source},
    shelf::{Listed, Site},
    wire::{self, ProblemCode, RetireItem, schema},
};

/// How a source stands on its way from Segment.
#[utoipa::path(get, path = "/v1/sources/{source}/retirement", tag = "routes", params(("source" = String, Path, description = "Its id or name")), responses((status = 200, body = wire::Retirement), Problems))]
pub(super) async fn show(State(hub): State<Hub>, Path(source): Path<String>) -> Result<Response, Refusal> {
    let source = source_id(&hub, &source)?;
    Ok(good(&stands(&hub, &source, false).await?))
}

/// Retires a source: its events go to RudderStack alone, its settings and scripts are served from here, and Segment is not contacted
/// for it any more.
#[utoipa::path(post, path = "/v1/sources/{source}/retire", tag = "routes", params(("source" = String, Path, description = "Its id or name")), request_body = wire::RetireAsked, responses((status = 200, body = wire::Retirement), Problems))]
pub(super) async fn retire(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Path(source): Path<String>,
    Json(asked): Json<wire::RetireAsked>,
) -> Result<Response, Refusal> {
    let source = source_id(&hub, &source)?;
    if asked.dry_run {
        return Ok(good(&stands(&hub, &source, false).await?));
    }
    caller.must(Role::Operate)?;
    let reason = worded(asked.reason)?;
    let configured = configured(&hub, &source)?;
    if !configured.is_retired {
        // The last time that Segment is asked for them.
        hub.desk.keep_pages(&configured).await;
    }
    let before = stands(&hub, &source, false).await?;
    let open: Vec<&str> = before.open().map(|item| item.what.as_str()).collect();
    if before.retired_at.is_none() && !asked.force && !open.is_empty() {
        let what = format!("{} is not ready to be retired: {}", before.name, open.join("; "));
        let fix = format!("See what to do about it: segue source retire {} --dry-run", before.name);
        return Err(Refusal::new(ProblemCode::Refused, what, fix));
    }
    let changed = hub.switchboard.retire(source.clone(), Retiring::Retire, Author::Uid(caller.uid), reason).await.map_err(refused)?;
    if changed.is_some() {
        tracing::warn!(event = "source_retired", %source, uid = caller.uid, forced = asked.force, "Segment is not contacted for a source any more");
    }
    Ok(good(&stands(&hub, &source, changed.is_some()).await?))
}

/// Gives a retired source its route back.
#[utoipa::path(post, path = "/v1/sources/{source}/unretire", tag = "routes", params(("source" = String, Path, description = "Its id or name")), request_body = wire::RetireAsked, responses((status = 200, body = wire::Retirement), Problems))]
pub(super) async fn unretire(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Path(source): Path<String>,
    Json(asked): Json<wire::RetireAsked>,
) -> Result<Response, Refusal> {
    let source = source_id(&hub, &source)?;
    if asked.dry_run {
        return Ok(good(&stands(&hub, &source, false).await?));
    }
    caller.must(Role::Operate)?;
    let reason = worded(asked.reason)?;
    let changed = hub.switchboard.retire(source.clone(), Retiring::Unretire, Author::Uid(caller.uid), reason).await.map_err(refused)?;
    Ok(good(&stands(&hub, &source, changed.is_some()).await?))
}

fn configured(hub: &Hub, source: &SourceId) -> Result<Arc<Source>, Refusal> {
    hub.sources.load().by_id(source).cloned().ok_or_else(|| refused(FlipError::UnknownSource(source.clone())))
}

async fn stands(hub: &Hub, id: &SourceId, changed: bool) -> Result<wire::Retirement, Refusal> {
    let source = configured(hub, id)?;
    let standing = hub.switchboard.standing();
    let standing =
        standing.sources.iter().find(|standing| standing.id == *id).ok_or_else(|| refused(FlipError::UnknownSource(id.clone())))?;
    let (census, asked, now) = (Arc::clone(&hub.census), id.clone(), hub.clock.now());
    let report = tokio::task::spawn_blocking(move || census.report(Some(&asked), now)).await.ok();
    let outlook = report.as_ref().and_then(|report| report.outlooks.first());
    let (desk, of) = (Arc::clone(&hub.desk), Arc::clone(&source));
    let pages = tokio::task::spawn_blocking(move || Pages::of(&desk, &of)).await.unwrap_or_default();
    let checklist = vec![
        route(standing),
        queue(hub, id, &standing.name),
        quarantine(hub, id, &standing.name),
        webhook(outlook),
        leak(hub, id),
        settings(hub, id, &pages),
        census_item(outlook, &standing.name),
        scripts(&pages),
        api_host(hub, &pages),
    ];
    Ok(wire::Retirement {
        schema: schema::RETIREMENT.to_owned(),
        source: id.to_string(),
        name: standing.name.clone(),
        retired_at: standing.retired_at.map(|at| at.to_string()),
        changed,
        checklist,
        by_hand: by_hand(&pages),
    })
}

/// What is kept of a source's settings and scripts.
#[derive(Debug, Default)]
struct Pages {
    own: Vec<Listed>,
    shared: usize,
    /// What the newest settings say.
    api_host: Option<String>,
    /// Their destinations but Segment itself.
    destinations: Vec<String>,
}

impl Pages {
    fn of(desk: &crate::ingress::Desk, source: &Source) -> Self {
        let (own, shared) = desk.kept_pages(source);
        let newest = own.iter().filter(|page| is_settings(page)).max_by_key(|page| page.fetched_at);
        let body = newest.and_then(|page| desk.shelf.get(&page.address)).and_then(|page| page.plain());
        let body = body.unwrap_or_default();
        Self { api_host: protocol::api_host(&body), destinations: protocol::destinations(&body), own, shared }
    }

    fn settings(&self) -> impl Iterator<Item = &Listed> {
        self.own.iter().filter(|page| is_settings(page))
    }
}

fn is_settings(page: &Listed) -> bool {
    page.address.path.ends_with("/settings")
}

fn item(id: &str, required: bool, done: bool, what: String, fix: Option<String>) -> RetireItem {
    RetireItem { id: id.to_owned(), done, required, what, fix: fix.filter(|_| !done) }
}

fn route(standing: &SourceStanding) -> RetireItem {
    let of_segment = |route: &crate::routing::Route| route.segment() != Percent::ZERO || route.verify() != Percent::ZERO;
    let rules = standing.rules.iter().filter(|rule| of_segment(&rule.route)).count();
    let done = !of_segment(&standing.route) && rules == 0;
    let what = match rules {
        0 => format!("its route is {}", standing.route),
        rules => format!("its route is {}, and {rules} of its rules have a share for Segment", standing.route),
    };
    let fix = format!("segue route set {} rudderstack-only, with rules that say the same", standing.name);
    item("route", true, done, what, Some(fix))
}

fn queue(hub: &Hub, id: &SourceId, name: &str) -> RetireItem {
    let pending = of_segment(hub, id).map_or(0, |ledger| ledger.pending);
    let what = format!("{pending} events wait for Segment");
    item(
        "queue",
        true,
        pending == 0,
        what,
        Some(format!("Wait until they are delivered: segue hold ls; or why not: segue status --for {name}")),
    )
}

fn quarantine(hub: &Hub, id: &SourceId, name: &str) -> RetireItem {
    let refused = of_segment(hub, id).map_or(0, |ledger| ledger.quarantined);
    let what = format!("{refused} events that Segment refused are in quarantine");
    let fix = format!("segue quarantine ls --source {name} --destination segment; then redrive or release them");
    item("quarantine", true, refused == 0, what, Some(fix))
}

fn of_segment(hub: &Hub, id: &SourceId) -> Option<crate::journal::Ledger> {
    let lane = LaneId { source: id.clone(), destination: Destination::Segment };
    hub.journal.ledger().into_iter().find(|(other, _)| *other == lane).map(|(_, ledger)| ledger)
}

fn webhook(outlook: Option<&Outlook>) -> RetireItem {
    let versions = outlook.map_or(0, |outlook| outlook.versions_by_webhook);
    let what = format!("{versions} versions sent by Segment's webhook in the last {SILENT_DAYS} days");
    let fix = "These apps do not come here but to Segment: lead their names here (scripts/front), then turn the webhook off in Segment";
    item("webhook", true, versions == 0, what, Some(fix.to_owned()))
}

fn leak(hub: &Hub, id: &SourceId) -> RetireItem {
    let since = hub.counters.leaks(hub.clock.now()).into_iter().find(|(source, _)| source == id).map(|(_, since)| since);
    let what = since.map_or_else(
        || "no app fetches its settings here and sends its events elsewhere, as far as is known since the start".to_owned(),
        |since| format!("settings are fetched here since {since} and no events come: its apps send them past segue"),
    );
    let fix = "Set public_host in [ingress], and lead api.segment.io here for apps whose SDK does not heed it: segue doctor";
    item("leak", true, since.is_none(), what, Some(fix.to_owned()))
}

fn settings(hub: &Hub, id: &SourceId, pages: &Pages) -> RetireItem {
    let is_wanted = hub.counters.source(id).settings.all.value() > 0;
    let of = |site| pages.settings().filter(|page| page.address.site == site).map(|page| page.fetched_at).max();
    let newest = [of(Site::Cdn), of(Site::CdnSettings)].into_iter().flatten().max();
    let what = match newest {
        Some(at) => format!("its settings of {at} are kept, and served for ever"),
        None if is_wanted => "its settings are asked for here, and none are kept".to_owned(),
        None => "no settings are kept: browsers and phones could not start, servers need none".to_owned(),
    };
    let fix = "Retiring fetches them once more while Segment serves them; see that cdn.segment.com can be reached from here";
    item("settings", is_wanted, newest.is_some(), what, Some(fix.to_owned()))
}

fn census_item(outlook: Option<&Outlook>, name: &str) -> RetireItem {
    let (done, what) = match outlook.map(|outlook| (outlook.verdict, outlook)) {
        Some((Verdict::Safe, _)) => (true, "nothing that came lately went to Segment alone".to_owned()),
        Some((Verdict::TooEarly, outlook)) => (false, format!("its events are counted since {} only", outlook.since)),
        Some((Verdict::NotSafe, outlook)) => {
            (false, format!("events of about {} people went to Segment alone in the last two weeks", outlook.people_alone))
        }
        None => (false, "no event of it was counted yet".to_owned()),
    };
    item("census", false, done, what, Some(format!("Give it {SILENT_DAYS} days, and look again: segue versions {name}")))
}

fn scripts(pages: &Pages) -> RetireItem {
    let own = pages.own.iter().filter(|page| !is_settings(page)).count();
    let what = format!("{own} scripts of its own and {} of everybody's are kept", pages.shared);
    let fix = "Only pages that load Segment's script need them: open each such page once with its script led here";
    item("scripts", false, own > 0 && pages.shared > 0, what, Some(fix.to_owned()))
}

fn api_host(hub: &Hub, pages: &Pages) -> RetireItem {
    let public_host = hub.desk.settings.public_host.as_deref();
    let (done, what) = match (&pages.api_host, public_host) {
        (Some(_), Some(host)) => (true, format!("its settings send events to {host}")),
        (Some(host), None) => (false, format!("its settings send events to {}, and there is no public_host", hub.without_keys(host))),
        (None, _) => (true, "its settings leave the host to the SDK".to_owned()),
    };
    item("api_host", false, done, what, Some("Set public_host in [ingress] to the name under which apps reach segue".to_owned()))
}

/// The order of protocol.md 7: the warehouse is whole before Segment is off.
fn by_hand(pages: &Pages) -> Vec<String> {
    let mut steps = Vec::new();
    if !pages.destinations.is_empty() {
        let names = pages.destinations.join(", ");
        steps.push(format!("Browsers and phones go on loading these by its settings; have RudderStack feed them first: {names}"));
    }
    steps.extend(
        [
            "RudderStack's warehouse destination has Segment's namespace, and has synced since Segment's last load",
            "In Segment, disconnect the source from its warehouse",
            "In Segment, turn off the webhook of this source, if there is one",
            "Where names were led here (hosts file, DNS, redirect), leave them: old apps ask for them for years",
            "In Segment, disable the source, and look for a day whether anything is missed",
        ]
        .map(str::to_owned),
    );
    steps
}
