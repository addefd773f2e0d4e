//! Promise 6 at every scrape: for each source and destination `planned = delivered + pending + quarantined + deduplicated +
//! suppressed + expired + purged`, whatever is done to the sidecar meanwhile.

#![allow(dead_code, reason = "every story uses a part of it")]
#![allow(clippy::panic, reason = "a sum that does not hold ends the story, with the page that says so")]

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};

/// How often the page is read.
const INTERVAL: Duration = Duration::from_millis(50);
/// The terms that make up what was planned.
const TERMS: [&str; 7] = [
    "segue_events_delivered_total",
    "segue_queue_events",
    "segue_events_quarantined_total",
    "segue_events_deduplicated_total",
    "segue_events_suppressed_total",
    "segue_events_expired_total",
    "segue_events_purged_total",
];

/// Reads `/metrics` over and over and holds every page to the sum. A sidecar that does not answer is not at fault here.
pub struct Sums {
    scrapes: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Sums {
    /// Begins to watch the sidecar whose metrics listener has this address; it may be started later and more than once.
    pub fn watch(metrics: SocketAddr) -> Self {
        let scrapes = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&scrapes);
        let task = tokio::spawn(async move {
            loop {
                if let Some(page) = scrape(metrics).await {
                    check(&page);
                    counted.fetch_add(1, Ordering::Relaxed);
                }
                tokio::time::sleep(INTERVAL).await;
            }
        });
        Self { scrapes, task }
    }

    /// Ends, and fails when a sum did not hold at some scrape or nothing was ever scraped. Returns how many pages were held
    /// to it.
    pub async fn held(self) -> u64 {
        self.task.abort();
        match self.task.await {
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            _ => {}
        }
        let scrapes = self.scrapes.load(Ordering::Relaxed);
        assert!(scrapes > 0, "nothing was scraped, so nothing is proved");
        println!("promise 6 held at each of {scrapes} scrapes");
        scrapes
    }
}

/// Fails when the sum does not hold on this page. Returns how many lanes are on it.
pub fn check(page: &str) -> usize {
    let mut lanes: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
    for line in page.lines() {
        let Some((name, rest)) = line.split_once('{') else { continue };
        let Some((labels, value)) = rest.rsplit_once("} ") else { continue };
        let side = usize::from(name != "segue_events_planned_total");
        if side == 0 || TERMS.contains(&name) {
            let value = value.split_once('.').map_or(value, |(whole, _)| whole);
            lanes.entry(labels).or_default()[side] += value.parse::<u64>().expect("counts are whole numbers");
        }
    }
    for (lane, [planned, ended]) in &lanes {
        assert!(planned == ended, "{lane}: planned {planned}, but the terms add up to {ended}:\n{page}");
    }
    lanes.len()
}

async fn scrape(metrics: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(metrics).await.ok()?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {metrics}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    // A page that was cut off by a kill says nothing.
    (head.starts_with("HTTP/1.1 200") && body.ends_with("# EOF\n")).then(|| body.to_owned())
}
