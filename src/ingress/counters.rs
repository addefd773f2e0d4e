//! What the ingress counts.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{SettingsFetches, Suspensions};
use crate::{
    model::{EventKind, SourceId, WallTime},
    telemetry::Sheet,
};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds to it.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Its value.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counts of one source.
#[derive(Debug, Default)]
pub struct SourceCounts {
    /// Events accepted, by kind in the order of [`EventKind::ALL`]; the last one: of no known kind.
    pub received: [Count; 7],
    /// Events that came by Segment's webhook, and were journalled for RudderStack.
    pub by_webhook: Count,
    /// Events that a rule asked for a version, and that told none that can be read: no such rule matched them.
    pub unversioned: Count,
    /// Events that were relayed live instead of journalled for Segment: oversize bodies, `OAuth`, a journal that cannot write.
    pub relayed: Count,
    /// RudderStack events that were given up while Segment was served: the journal could not write, or their lane was over its
    /// quota of disk.
    pub unjournalled: Count,
    /// Fetches of its settings.
    pub settings: SettingsFetches,
}

/// All counts of the ingress.
#[derive(Debug, Default)]
pub struct Counters {
    sources: RwLock<HashMap<SourceId, Arc<SourceCounts>>>,
    /// Answers by status class: 2xx, 4xx but 429, 429, anything else.
    pub answers: [Count; 4],
    /// Requests with a write key that is not configured; they were relayed and nothing of them was kept.
    pub unknown_keys: Count,
    /// Requests whose places for a key named different sources.
    pub key_conflicts: Count,
    /// Bodies that could not be read and were left to Segment.
    pub unreadable: Count,
    /// Settings served to SDKs.
    pub settings_fetched: Count,
    /// Settings and scripts that were served from the shelf.
    pub pages_from_shelf: Count,
    /// Relays that Segment did not answer in time.
    pub relay_failures: Count,
    /// Connections refused by a limit.
    pub refused_connections: Count,
    /// Requests that a fault of segue broke off; their clients heard 429.
    pub broken: Count,
    /// Sources whose events went past what waits.
    pub suspensions: Suspensions,
    /// Connections that made way for others.
    pub shed_connections: Count,
    /// Requests that could mean two things, and ended their connection.
    pub refused_requests: Count,
    /// Posts of vendors.
    pub hooks: HookCounts,
}

/// How a vendor's post ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookEnd {
    /// Kept: 200.
    Taken,
    /// Its signature is wrong or missing: 401.
    Unsigned,
    /// It may not come in that form: 503, so that it comes again.
    Refused,
    /// It is not JSON: 400.
    Malformed,
    /// Our trouble: 503.
    Busy,
    /// No such hook, source or secret: 404.
    Unknown,
}

/// Posts of vendors, by how they ended.
#[derive(Debug, Default)]
pub struct HookCounts([Count; 6]);

impl HookEnd {
    const ALL: [Self; 6] = [Self::Taken, Self::Unsigned, Self::Refused, Self::Malformed, Self::Busy, Self::Unknown];

    const fn label(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Unsigned => "unsigned",
            Self::Refused => "refused",
            Self::Malformed => "malformed",
            Self::Busy => "busy",
            Self::Unknown => "unknown",
        }
    }
}

impl HookCounts {
    pub(super) fn add(&self, end: HookEnd) {
        self.0[end as usize].add(1);
    }

    /// How many ended so.
    #[must_use]
    pub fn count(&self, end: HookEnd) -> u64 {
        self.0[end as usize].value()
    }
}

impl Counters {
    /// The counts of a source.
    pub fn source(&self, id: &SourceId) -> Arc<SourceCounts> {
        let known = self.sources.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
        known.unwrap_or_else(|| Arc::clone(self.sources.write().unwrap_or_else(PoisonError::into_inner).entry(id.clone()).or_default()))
    }

    /// How many events of each source were accepted.
    #[must_use]
    pub fn received(&self) -> Vec<(SourceId, u64)> {
        let sources = self.sources.read().unwrap_or_else(PoisonError::into_inner);
        sources.iter().map(|(id, counts)| (id.clone(), counts.received.iter().map(Count::value).sum())).collect()
    }

    /// The sources whose settings are fetched here while their events do not come, and since when.
    #[must_use]
    pub fn leaks(&self, now: WallTime) -> Vec<(SourceId, WallTime)> {
        let sources = self.sources.read().unwrap_or_else(PoisonError::into_inner);
        sources.iter().filter_map(|(id, counts)| Some((id.clone(), counts.settings.leaks_since(now)?))).collect()
    }

    /// Counts an answer.
    pub(super) fn answered(&self, status: u16) {
        let class = match status {
            200..=299 => 0,
            429 => 2,
            400..=499 => 1,
            _ => 3,
        };
        self.answers[class].add(1);
    }

    /// Writes all counts onto a scrape.
    pub fn fill(&self, sheet: &mut Sheet) {
        for (id, counts) in &*self.sources.read().unwrap_or_else(PoisonError::into_inner) {
            let kinds = EventKind::ALL.map(EventKind::label).into_iter().chain(["unknown"]);
            for (kind, count) in kinds.zip(&counts.received).filter(|(_, count)| count.value() > 0) {
                sheet.counter(
                    "segue_events_received",
                    "Events accepted from clients",
                    &[("source", id.as_str()), ("type", kind)],
                    count.value(),
                );
            }
            let source = [("source", id.as_str())];
            sheet.counter("segue_events_relayed", "Events relayed live to Segment, not journalled for it", &source, counts.relayed.value());
            sheet.counter(
                "segue_events_unjournalled",
                "RudderStack events given up: the journal could not write, or their queue was over its quota",
                &source,
                counts.unjournalled.value(),
            );
            if counts.by_webhook.value() > 0 {
                let what = "Events taken from Segment's webhook, for RudderStack";
                sheet.counter("segue_events_by_webhook", what, &source, counts.by_webhook.value());
            }
            if counts.unversioned.value() > 0 {
                let what = "Events that a rule asked for a version and that told none";
                sheet.counter("segue_events_unversioned", what, &source, counts.unversioned.value());
            }
            let suspended = f64::from(u8::from(self.suspensions.has(id)));
            sheet.gauge("segue_order_suspended", "Whether events were relayed past others that still wait", &source, suspended);
        }
        for end in HookEnd::ALL.into_iter().filter(|end| self.hooks.count(*end) > 0) {
            sheet.counter("segue_hook_requests", "Webhooks that vendors posted", &[("result", end.label())], self.hooks.count(end));
        }
        for (code, count) in ["2xx", "4xx", "429", "other"].into_iter().zip(&self.answers) {
            sheet.counter("segue_requests", "Requests answered", &[("code", code)], count.value());
        }
        sheet.counter("segue_unknown_write_keys", "Requests with a write key that is not configured", &[], self.unknown_keys.value());
        sheet.counter("segue_write_key_conflicts", "Requests that named two sources", &[], self.key_conflicts.value());
        sheet.counter("segue_unreadable_bodies", "Bodies that could not be read and were left to Segment", &[], self.unreadable.value());
        sheet.counter("segue_settings_fetched", "Settings served to SDKs", &[], self.settings_fetched.value());
        let kept = "Settings and scripts served as they were last, as Segment's CDN failed or is not asked any more";
        sheet.counter("segue_pages_served_from_shelf", kept, &[], self.pages_from_shelf.value());
        sheet.counter("segue_relay_failures", "Live relays that Segment did not answer in time", &[], self.relay_failures.value());
        sheet.counter("segue_requests_broken", "Requests that a fault of segue broke off, answered 429", &[], self.broken.value());
        sheet.counter("segue_requests_refused", "Requests that could mean two things", &[], self.refused_requests.value());
        sheet.counter("segue_connections_shed", "Connections that made way for others", &[], self.shed_connections.value());
        sheet.counter("segue_connections_refused", "Connections refused by a limit", &[], self.refused_connections.value());
    }
}
