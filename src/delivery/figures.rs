//! What delivery counts, for metrics.

use std::{
    fmt,
    sync::{
        OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::{latency::LatencyCounters, status::Answers};
use crate::{
    dialect::{Rule, Rules},
    model::{Destination, PerDestination},
    protocol::Edits,
    telemetry::{Exposition, Histogram, Sheet},
    upstream::Fault,
};

/// The counters of all lanes. Plain atomics: counting never waits.
pub(super) struct Figures {
    attempts: PerDestination<Attempts>,
    latencies: PerDestination<LatencyCounters>,
    durations: OnceLock<PerDestination<Histogram>>,
    edits: [AtomicU64; EDITS.len()],
    rules: [AtomicU64; RULES],
    /// Bytes that all lanes hold in memory.
    pub(super) held_bytes: AtomicUsize,
    /// Events that wait for a rate limit.
    pub(super) paced: PerDestination<AtomicU64>,
}

/// Requests by how they ended.
struct Attempts {
    statuses: Box<[AtomicU64]>,
    faults: [AtomicU64; FAULTS.len()],
}

const EDITS: [&str; 4] = ["message_id", "client_ip", "late_sent_at", "cut"];
const RULES: usize = 34;
const STATUSES: usize = 1_000;
const FAULTS: [Fault; 9] = [
    Fault::Request,
    Fault::Resolve,
    Fault::Address,
    Fault::Connect,
    Fault::Tls,
    Fault::Timeout,
    Fault::Closed,
    Fault::BadAnswer,
    Fault::TooLarge,
];

impl Default for Figures {
    fn default() -> Self {
        let attempts = |_| Attempts {
            statuses: (0..STATUSES).map(|_| AtomicU64::new(0)).collect(),
            faults: std::array::from_fn(|_| AtomicU64::new(0)),
        };
        Self {
            attempts: PerDestination::from_fn(attempts),
            latencies: PerDestination::default(),
            durations: OnceLock::new(),
            edits: std::array::from_fn(|_| AtomicU64::new(0)),
            rules: std::array::from_fn(|_| AtomicU64::new(0)),
            held_bytes: AtomicUsize::new(0),
            paced: PerDestination::default(),
        }
    }
}

impl Figures {
    /// Counts a request that was answered.
    pub(super) fn count_answer(&self, destination: Destination, status: u16, elapsed: Duration) {
        if let Some(count) = self.attempts.of(destination).statuses.get(usize::from(status)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.latencies.of(destination).count(elapsed);
        if let Some(durations) = self.durations.get() {
            durations.of(destination).observe(elapsed.as_secs_f64());
        }
    }

    /// Counts a request that was not.
    pub(super) fn count_fault(&self, destination: Destination, fault: Fault) {
        if let Some(at) = FAULTS.iter().position(|known| *known == fault) {
            self.attempts.of(destination).faults[at].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How long answers took, since the start.
    pub(super) fn latencies(&self, destination: Destination) -> super::Latencies {
        self.latencies.of(destination).read()
    }

    /// How requests ended, since the start.
    pub(super) fn answers(&self, destination: Destination) -> Answers {
        let attempts = self.attempts.of(destination);
        let mut answers =
            Answers { unanswered: attempts.faults.iter().map(|count| count.load(Ordering::Relaxed)).sum(), ..Answers::default() };
        for (status, count) in attempts.statuses.iter().enumerate() {
            let class = match status {
                200..=299 => &mut answers.ok,
                429 => &mut answers.throttled,
                500..=999 => &mut answers.failed,
                _ => &mut answers.refused,
            };
            *class += count.load(Ordering::Relaxed);
        }
        answers
    }

    /// Counts the edits of a Segment copy that arrived.
    pub(super) fn count_edits(&self, edits: Edits) {
        if edits.is_none() {
            return;
        }
        for (count, events) in self.edits.iter().zip([edits.message_id, edits.client_ip, edits.late_sent_at, edits.cut]) {
            count.fetch_add(u64::from(events), Ordering::Relaxed);
        }
    }

    /// Counts the rules that made a RudderStack copy.
    pub(super) fn count_rules(&self, rules: Rules) {
        for rule in rules.iter() {
            self.rules[usize::from(rule.number())].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Makes the histograms; before it, durations are not kept.
    pub(super) fn register(&self, exposition: &Exposition) {
        self.durations.get_or_init(|| {
            PerDestination::from_fn(|destination| {
                let labels = [("destination", destination.label())];
                exposition.histogram("segue_delivery_duration_seconds", "From a request to its answer", &labels)
            })
        });
    }

    /// Writes down what is counted.
    pub(super) fn fill(&self, sheet: &mut Sheet) {
        for destination in Destination::ALL {
            let attempts = self.attempts.of(destination);
            let mut attempt = |code: &str, count: &AtomicU64| {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    let labels = [("destination", destination.label()), ("code", code)];
                    sheet.counter("segue_delivery_attempts", "Requests to a destination by how they ended", &labels, count);
                }
            };
            attempts.statuses.iter().enumerate().for_each(|(status, count)| attempt(&status.to_string(), count));
            FAULTS.iter().zip(&attempts.faults).for_each(|(fault, count)| attempt(fault.name(), count));
            #[expect(clippy::cast_precision_loss, reason = "Prometheus keeps doubles")]
            let paced = self.paced.of(destination).load(Ordering::Relaxed) as f64;
            let labels = [("destination", destination.label())];
            sheet.gauge("segue_rate_limit_waiting_events", "Events that wait for a rate limit", &labels, paced);
        }
        for (class, count) in EDITS.iter().zip(&self.edits) {
            let count = count.load(Ordering::Relaxed);
            sheet.counter("segue_segment_edits", "Events whose Segment copy is not the client's own bytes", &[("class", class)], count);
        }
        for (number, count) in (0_u8..).zip(&self.rules) {
            let count = count.load(Ordering::Relaxed);
            if count > 0
                && let Some(rule) = Rule::from_number(number)
            {
                let labels = [("rule", format!("T{number}")), ("name", rule.name().to_owned())];
                let labels: Vec<_> = labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
                sheet.counter("segue_dialect_rules", "Events whose RudderStack copy was made by a rule", &labels, count);
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "Prometheus keeps doubles")]
        let held = self.held_bytes.load(Ordering::Relaxed) as f64;
        sheet.gauge("segue_delivery_memory_bytes", "Events of all lanes in memory", &[], held);
    }
}

impl fmt::Debug for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Figures")
    }
}
