//! Which figures stand on `/metrics` (ui.md 4.1), and who knows them.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    census::{Census, Predictions},
    control::{Ramps, Reloader, ReplayState, Replayer, Switchboard},
    delivery::Delivery,
    evidence::{Agreement, Basis, Evidence, Parity},
    ingress::Desk,
    journal::{Health, Journal, SpillQuota},
    model::Destination,
    routing::{CourseState, Sources},
    telemetry::{Exposition, Sheet},
    tls::{Certificates, Reload},
};

/// Registers everything that is read at scrape time.
pub(super) fn register(exposition: &Exposition, desk: &Arc<Desk>, delivery: &Delivery, certificates: Option<&Certificates>) {
    let (journal, counters) = (&desk.journal, &desk.counters);
    let syncs = exposition.histogram("segue_journal_fsync_duration_seconds", "One fdatasync of the journal", &[]);
    journal.observe_syncs(move |took| syncs.observe(took.as_secs_f64()));
    let counters = Arc::clone(counters);
    exposition.on_scrape(move |sheet| counters.fill(sheet));
    register_pages(exposition, desk);
    let read = journal.clone();
    exposition.on_scrape(move |sheet| {
        ledger(sheet, &read);
        journal_figures(sheet, &read);
        spills(sheet, &read);
    });
    delivery.register(exposition);
    let tap = delivery.tap();
    exposition.on_scrape(move |sheet| {
        sheet.gauge("segue_tap_on", "Whether somebody looks at events as they pass", &[], f64::from(u8::from(tap.is_on())));
    });
    let sources = Arc::clone(&desk.sources);
    exposition.on_scrape(move |sheet| routes(sheet, &sources.load()));
    if let Some(certificates) = certificates.cloned() {
        exposition.on_scrape(move |sheet| certificate(sheet, &certificates));
    }
}

/// Registers what is kept of Segment's CDN, and which apps take their settings here and send elsewhere.
#[expect(clippy::cast_precision_loss, reason = "Prometheus keeps doubles")]
fn register_pages(exposition: &Exposition, desk: &Arc<Desk>) {
    let desk = Arc::clone(desk);
    exposition.on_scrape(move |sheet| {
        let pages = desk.shelf.list();
        sheet.gauge("segue_pages_kept", "Settings and scripts of Segment's CDN that are kept", &[], pages.len() as f64);
        let bytes: u64 = pages.iter().map(|page| page.bytes).sum();
        sheet.gauge("segue_pages_kept_bytes", "What they take on disk", &[], bytes as f64);
        sheet.counter("segue_page_failures", "Settings and scripts that the disk did not take", &[], desk.shelf.failures());
        let leaks = desk.counters.leaks(desk.clock.now());
        for source in desk.sources.load().list() {
            let leaks = f64::from(u8::from(leaks.iter().any(|(id, _)| *id == source.id)));
            let labels = [("source", source.id.as_str())];
            sheet.gauge(
                "segue_settings_leak",
                "Whether settings are fetched here while no events come: apps send past segue",
                &labels,
                leaks,
            );
            let retired = f64::from(u8::from(source.is_retired));
            sheet.gauge("segue_source_retired", "Whether Segment is not contacted for a source any more", &labels, retired);
        }
    });
}

/// Registers what the switchboard tells, and evidence.
pub(super) fn register_routes(exposition: &Exposition, switchboard: &Switchboard, evidence: &Arc<Evidence>) {
    register_evidence(exposition, evidence);
    let switchboard = switchboard.clone();
    exposition.on_scrape(move |sheet| {
        let standing = switchboard.standing();
        let killed = f64::from(u8::from(standing.killed.is_some()));
        sheet.gauge("segue_kill_switch", "Whether everything goes to Segment, whatever the routes say", &[], killed);
        for source in &standing.sources {
            let drifted = f64::from(u8::from(source.route != source.configured));
            let labels = [("source", source.id.as_str())];
            sheet.gauge("segue_route_drift", "Whether a source has another route than its configuration says", &labels, drifted);
        }
    });
}

/// What the census counts, and what is foretold of events.
#[expect(clippy::cast_precision_loss, reason = "Prometheus keeps doubles")]
pub(super) fn register_census(exposition: &Exposition, census: &Arc<Census>) {
    let census = Arc::clone(census);
    exposition.on_scrape(move |sheet| {
        for (source, versions) in census.versions_seen() {
            let labels = [("source", source.as_str())];
            sheet.gauge("segue_versions_seen", "Versions of apps and libraries that are told apart", &labels, versions as f64);
        }
        let Predictions { events, names, .. } = census.predictions(None);
        for (source, reason, told) in &events {
            let labels = [("source", source.as_str()), ("vendor", reason.vendor().label()), ("reason", reason.code())];
            sheet.counter("segue_events_predicted", "Events that a vendor's published rules say it will not take", &labels, told.events);
        }
        let mut parted = BTreeMap::<_, u32>::new();
        for (source, scope, ..) in &names {
            *parted.entry((source.as_str(), scope.code())).or_default() += 1;
        }
        for ((source, reason), names) in parted {
            let labels = [("source", source), ("reason", reason)];
            let help = "Names that end in different columns or tables of the two vendors' warehouses";
            sheet.gauge("segue_names_predicted", help, &labels, f64::from(names));
        }
    });
}

/// Whether another configuration is in force than stands there.
pub(super) fn register_reloader(exposition: &Exposition, reloader: Option<&Reloader>) {
    let Some(refusal) = reloader.map(Reloader::refusal) else { return };
    exposition.on_scrape(move |sheet| {
        let refused = f64::from(u8::from(refusal.is_some()));
        sheet.gauge("segue_config_refused", "Whether the newest reload was refused: the configuration before it is in force", &[], refused);
    });
}

/// How far both sides agree (ui.md 4.1: parity itself is a query, so that instances add up), and what is followed.
fn register_evidence(exposition: &Exposition, evidence: &Arc<Evidence>) {
    let evidence = Arc::clone(evidence);
    exposition.on_scrape(move |sheet| {
        for Parity { source, basis, track } in evidence.parity() {
            let basis = if basis == Basis::Tap { "tap" } else { "answers" };
            let tally = &track.ever;
            let counts = [
                (Agreement::Equal, tally.equal),
                (Agreement::Noise, tally.noise),
                (Agreement::Accepted, tally.accepted),
                (Agreement::Different, tally.different),
                (Agreement::OnlySegment, tally.only_segment),
                (Agreement::OnlyRudderStack, tally.only_rudderstack),
                (Agreement::Predicted, tally.predicted),
                (Agreement::Unjoinable, tally.unjoinable),
            ];
            for (agreement, count) in counts {
                let labels = [("source", source.as_str()), ("evidence", basis), ("result", agreement.label())];
                sheet.counter("segue_parity_pairs", "Events of which both sides were compared", &labels, count);
            }
        }
        let standing = evidence.standing();
        #[expect(clippy::cast_precision_loss, reason = "Prometheus keeps doubles")]
        for (name, what, value) in [
            (
                "segue_evidence_followed_events",
                "Events that are followed until both sides have said what became of them",
                standing.followed,
            ),
            ("segue_evidence_one_in", "One event in how many is followed", standing.one_in),
            ("segue_evidence_waiting_bytes", "Disk for what one vendor emitted and the other not yet", standing.waiting_bytes),
        ] {
            sheet.gauge(name, what, &[], value as f64);
        }
        for tap in &standing.taps {
            let labels = [("source", tap.source.as_str()), ("by", tap.by.label())];
            sheet.counter("segue_tap_events", "Events that a vendor's tap told of", &labels, tap.events);
            sheet.counter("segue_tap_unjoinable", "Those of them without a messageId", &labels, tap.unjoinable);
        }
    });
}

/// What replays have sent, and which there are.
pub(super) fn register_replays(exposition: &Exposition, replayer: &Replayer) {
    let replayer = replayer.downgrade();
    exposition.on_scrape(move |sheet| {
        let Some(replayer) = replayer.upgrade() else { return };
        for standing in replayer.list().iter().filter(|standing| standing.total.is_some()) {
            let name = standing.started.revision.to_string();
            let (source, destination) = (standing.replay.source.as_str(), standing.replay.destination.label());
            let labels = [("replay", name.as_str()), ("source", source), ("destination", destination)];
            sheet.counter("segue_replay_events", "Events that a replay journalled again", &labels, standing.sent);
            let running = f64::from(u8::from(standing.state == ReplayState::Running));
            sheet.gauge("segue_replay_running", "Whether a replay runs", &labels, running);
        }
    });
}

/// How far ramps have come, and whether they hold. A ramp that is over stands there no more.
pub(super) fn register_ramps(exposition: &Exposition, ramps: &Ramps) {
    let ramps = ramps.downgrade();
    exposition.on_scrape(move |sheet| {
        let Some(ramps) = ramps.upgrade() else { return };
        for standing in ramps.list().iter().filter(|standing| standing.course.is_alive()) {
            let labels = [("source", standing.course.ramp.source.as_str())];
            #[expect(clippy::cast_precision_loss, reason = "a ramp has few steps")]
            sheet.gauge("segue_ramp_step", "Steps that a ramp has taken", &labels, standing.course.place as f64);
            #[expect(clippy::cast_precision_loss, reason = "a ramp has few steps")]
            sheet.gauge("segue_ramp_steps", "Steps that a ramp has", &labels, standing.course.ramp.steps.len() as f64);
            let is_held = !standing.held.is_empty() || matches!(standing.course.state, CourseState::Paused(_));
            sheet.gauge("segue_ramp_held", "Whether a ramp waits for a red gate or for a person", &labels, f64::from(u8::from(is_held)));
        }
    });
}

fn ledger(sheet: &mut Sheet, journal: &Journal) {
    for (lane, ledger) in journal.ledger() {
        let labels = [("source", lane.source.as_str()), ("destination", lane.destination.label())];
        sheet.counter("segue_events_planned", "Events journalled for a destination", &labels, ledger.planned);
        sheet.counter("segue_events_delivered", "Events answered with 2xx", &labels, ledger.delivered);
        let ever = journal.quarantined_ever(&lane);
        sheet.counter("segue_events_quarantined", "Events refused for good and kept, those sent again since included", &labels, ever);
        sheet.counter("segue_events_deduplicated", "Events that had been sent before", &labels, ledger.deduplicated);
        sheet.counter("segue_events_suppressed", "Events left out by a rule", &labels, ledger.suppressed);
        sheet.counter("segue_events_expired", "Events that were too old", &labels, ledger.expired);
        sheet.counter("segue_events_purged", "Events removed by an operator", &labels, ledger.purged);
        #[expect(clippy::cast_precision_loss, reason = "Prometheus keeps doubles")]
        sheet.gauge("segue_queue_events", "Events that wait in the journal, or to be sent again", &labels, ledger.pending as f64);
        #[expect(clippy::cast_precision_loss, reason = "Prometheus keeps doubles")]
        sheet.gauge("segue_quarantine_events", "Events in quarantine", &labels, ledger.quarantined as f64);
    }
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus keeps doubles")]
fn spills(sheet: &mut Sheet, journal: &Journal) {
    for (lane, spilled) in journal.spilled() {
        let labels = [("source", lane.source.as_str()), ("destination", lane.destination.label())];
        sheet.gauge("segue_journal_spill_bytes", "Disk that a queue which lags far behind takes for itself", &labels, spilled.bytes as f64);
        let over = f64::from(u8::from(spilled.quota == SpillQuota::Over));
        sheet.gauge("segue_journal_spill_over_quota", "Whether new events are left out of that queue", &labels, over);
    }
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus keeps doubles")]
fn journal_figures(sheet: &mut Sheet, journal: &Journal) {
    let usage = journal.usage();
    sheet.gauge("segue_journal_bytes", "Disk in use", &[], usage.bytes as f64);
    sheet.gauge("segue_journal_capacity_bytes", "Disk that may be used", &[], usage.capacity as f64);
    sheet.gauge("segue_journal_pinned_bytes", "Disk that cannot be given back yet", &[], usage.pinned_bytes as f64);
    sheet.gauge(
        "segue_journal_spills_bytes",
        "Disk that queues which lag far behind take for themselves, together",
        &[],
        usage.spill_bytes as f64,
    );
    if let Some(hours) = journal.hours_left() {
        sheet.gauge(
            "segue_journal_hours_left",
            "Hours until the journal is full if nothing were delivered, at the recent pace",
            &[],
            hours,
        );
    }
    if let Some(oldest) = usage.oldest_pending {
        sheet.gauge(
            "segue_journal_oldest_timestamp_seconds",
            "When the oldest waiting event arrived",
            &[],
            oldest.as_millis() as f64 / 1e3,
        );
    }
    let writable = f64::from(u8::from(journal.health() == Health::Writable));
    sheet.gauge("segue_journal_writable", "Whether the journal takes events", &[], writable);
    for (kind, count) in [
        ("commit", usage.faults.commits),
        ("cursor", usage.faults.cursors),
        ("full", usage.faults.refused_full),
        ("damaged", usage.faults.damaged),
        ("marks", usage.faults.marks),
    ] {
        sheet.counter("segue_journal_errors", "Faults of the journal's disk", &[("kind", kind)], count);
    }
    let lost = usage.faults.marks_lost;
    sheet.counter("segue_dedup_ids_lost", "messageIds that a restart forgets, as the disk did not take them", &[], lost);
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus keeps doubles")]
fn routes(sheet: &mut Sheet, sources: &Sources) {
    sheet.gauge("segue_route_revision", "The revision of the routes in force", &[], sources.revision().0 as f64);
    for source in sources.list() {
        for destination in Destination::ALL {
            let share = match destination {
                Destination::Segment => source.route.segment(),
                Destination::RudderStack => source.route.rudderstack(),
            };
            let labels = [("source", source.id.as_str()), ("destination", destination.label())];
            let ratio = f64::from(share.hundredths()) / 10_000.0;
            sheet.gauge("segue_route_share_ratio", "The share of people whose events go there", &labels, ratio);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus keeps doubles")]
fn certificate(sheet: &mut Sheet, certificates: &Certificates) {
    let status = certificates.status();
    let expires_s = status.expires_at.as_millis() as f64 / 1e3;
    sheet.gauge("segue_certificate_expiry_timestamp_seconds", "When the served certificate ends", &[], expires_s);
    let good = f64::from(u8::from(status.last_reload == Reload::Good));
    sheet.gauge("segue_certificate_last_reload_successful", "Whether the newest certificate is served", &[], good);
}
