//! `/metrics`: the figures of every module, written at scrape time.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, PoisonError},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, text},
    metrics::MetricType,
    registry::Registry,
};

pub use prometheus_client::metrics::histogram::Histogram;

/// All metrics of one sidecar.
pub struct Exposition {
    registry: Mutex<Registry>,
}

/// The figures of one scrape, filled in by the modules that know them.
#[derive(Debug, Default)]
pub struct Sheet {
    figures: BTreeMap<&'static str, Figure>,
}

/// One metric: its type, its help, a value for each set of labels.
#[derive(Debug)]
struct Figure {
    kind: MetricType,
    help: &'static str,
    samples: Vec<(Vec<(&'static str, String)>, f64)>,
}

impl Default for Exposition {
    fn default() -> Self {
        Self::new()
    }
}

impl Exposition {
    /// An exposition with what every process shows: build, CPU time, memory, open files.
    #[must_use]
    pub fn new() -> Self {
        let exposition = Self { registry: Mutex::new(Registry::default()) };
        exposition.on_scrape(super::process::fill);
        exposition
    }

    /// Calls `fill` at each scrape.
    pub fn on_scrape(&self, fill: impl Fn(&mut Sheet) + Send + Sync + 'static) {
        self.locked().register_collector(Box::new(Filler(Box::new(fill))));
    }

    /// A histogram of seconds, from 50 microseconds to 26 seconds. `name` ends in `_seconds`.
    pub fn histogram(&self, name: &str, help: &str, labels: &[(&'static str, &'static str)]) -> Histogram {
        let histogram = Histogram::new(prometheus_client::metrics::histogram::exponential_buckets(0.000_05, 2.0, 20));
        let mut registry = self.locked();
        let labels = labels.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        registry.sub_registry_with_labels(labels).register(name, help, histogram.clone());
        histogram
    }

    /// The text that Prometheus reads (`OpenMetrics`).
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        if text::encode(&mut out, &self.locked()).is_err() {
            // Writing to a String fails only where a collector gives up; what was written before it still counts.
            tracing::warn!(event = "metrics_incomplete", "a metric could not be written");
        }
        out
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Exposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exposition")
    }
}

impl Sheet {
    /// Adds a value that only grows. `name` is written with `_total` behind it.
    pub fn counter(&mut self, name: &'static str, help: &'static str, labels: &[(&'static str, &str)], value: u64) {
        #[expect(clippy::cast_precision_loss, reason = "Prometheus keeps doubles; counts stay below 2^53 for centuries")]
        self.seconds_counter(name, help, labels, value as f64);
    }

    /// Adds a sum of seconds, which only grows. `name` is written with `_total` behind it.
    pub fn seconds_counter(&mut self, name: &'static str, help: &'static str, labels: &[(&'static str, &str)], value: f64) {
        self.add(MetricType::Counter, name, help, labels, value);
    }

    /// Adds a value that goes up and down.
    pub fn gauge(&mut self, name: &'static str, help: &'static str, labels: &[(&'static str, &str)], value: f64) {
        self.add(MetricType::Gauge, name, help, labels, value);
    }

    fn add(&mut self, kind: MetricType, name: &'static str, help: &'static str, labels: &[(&'static str, &str)], value: f64) {
        let figure = self.figures.entry(name).or_insert_with(|| Figure { kind, help, samples: Vec::new() });
        figure.samples.push((labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(), value));
    }
}

/// The bridge from a closure to the registry.
struct Filler(Box<dyn Fn(&mut Sheet) + Send + Sync>);

impl fmt::Debug for Filler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Filler")
    }
}

impl Collector for Filler {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut sheet = Sheet::default();
        (self.0)(&mut sheet);
        for (name, figure) in &sheet.figures {
            let mut metric = encoder.encode_descriptor(name, figure.help, None, figure.kind)?;
            for (labels, value) in &figure.samples {
                if labels.is_empty() {
                    write_value(&mut metric, figure.kind, *value)?;
                } else {
                    write_value(&mut metric.encode_family(labels)?, figure.kind, *value)?;
                }
            }
        }
        Ok(())
    }
}

fn write_value(metric: &mut MetricEncoder<'_>, kind: MetricType, value: f64) -> Result<(), fmt::Error> {
    match kind {
        MetricType::Counter => metric.encode_counter::<Vec<(String, String)>, f64, f64>(&value, None),
        _ => metric.encode_gauge(&value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_reads_what_is_true_at_that_moment() {
        let exposition = Exposition::new();
        let count = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
        let read = std::sync::Arc::clone(&count);
        exposition.on_scrape(move |sheet| {
            let value = read.load(std::sync::atomic::Ordering::Relaxed);
            sheet.counter("segue_events_delivered", "Events delivered", &[("source", "web"), ("destination", "segment")], value);
            sheet.counter("segue_events_delivered", "Events delivered", &[("source", "web"), ("destination", "rudderstack")], 1);
            sheet.gauge("segue_up", "Whether it is up", &[], 1.0);
        });
        exposition.histogram("segue_request_duration_seconds", "Requests", &[]).observe(0.001);
        count.store(7, std::sync::atomic::Ordering::Relaxed);
        let text = exposition.text();
        assert!(text.contains("segue_events_delivered_total{source=\"web\",destination=\"segment\"} 7.0"), "{text}");
        assert_eq!(text.matches("# TYPE segue_events_delivered counter").count(), 1, "{text}");
        assert!(text.contains("segue_up 1.0"), "{text}");
        assert!(text.contains("segue_request_duration_seconds_count 1"), "{text}");
        assert!(text.contains("segue_build_info"), "{text}");
    }
}
