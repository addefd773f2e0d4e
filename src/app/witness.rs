//! Evidence beside a running sidecar: told of time and routes, and saved.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use crate::{
    clock::Clock,
    config::Config,
    control::{Switchboard, restore_findings},
    evidence::{EndSums, Evidence, Settings, Sums},
    journal::{EVIDENCE_DIR, Journal},
};

/// Keeps evidence up to date; dropping it ends that.
#[derive(Debug)]
pub(super) struct Witness {
    evidence: Arc<Evidence>,
    task: JoinHandle<()>,
}

/// How often time is told.
const TICK: Duration = Duration::from_secs(1);
/// Every so many ticks it is saved: what a kill loses of it.
const TICKS_A_SAVE: u32 = 10;

/// Whether what is known outlives the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// In the data directory.
    OnDisk,
    /// There is no data directory: a test's journal stands on a disk of its own.
    InMemory,
}

/// Takes up what earlier runs knew, and makes the ledger agree with the journal. Blocks.
pub(super) fn open(config: &Config, journal: &Journal, clock: &Clock, kept: Kept) -> Arc<Evidence> {
    let dir = (kept == Kept::OnDisk).then(|| config.journal.dir.join(EVIDENCE_DIR));
    let evidence = Evidence::open(Settings { dir, is_tapped: config.ingress.hooks.has_taps(), ..config.evidence.clone() }, clock.now());
    for (lane, ledger) in journal.ledger() {
        // What waits to be sent again has ended once, in quarantine: the ledger of evidence keeps it there until it ends anew.
        let sums = Sums {
            planned: ledger.planned,
            ends: EndSums {
                delivered: ledger.delivered,
                quarantined: ledger.quarantined,
                deduplicated: ledger.deduplicated,
                suppressed: ledger.suppressed,
                expired: ledger.expired,
                purged: ledger.purged,
            },
        };
        evidence.reconcile(&lane.source, lane.destination, &sums, (journal.revision(), clock.now()));
    }
    Arc::new(evidence)
}

impl Witness {
    /// Goes on until it is dropped or stopped.
    pub(super) fn start(evidence: Arc<Evidence>, switchboard: Switchboard, clock: Clock) -> Self {
        restore_findings(&switchboard, &evidence);
        let (told, mut ticks) = (Arc::clone(&evidence), 0_u32);
        let task = tokio::spawn(async move {
            let mut rounds = interval(TICK);
            rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                rounds.tick().await;
                let now = clock.now();
                for source in switchboard.standing().sources {
                    told.begin(&source.id, source.revision, now);
                }
                told.tick(now);
                ticks = ticks.wrapping_add(1);
                if ticks.is_multiple_of(TICKS_A_SAVE) {
                    save(&told).await;
                }
            }
        });
        Self { evidence, task }
    }

    /// Saves what is known for the next start.
    pub(super) async fn stop(self) {
        self.task.abort();
        save(&self.evidence).await;
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// No event hangs on it, so a failure is told and nothing more.
async fn save(evidence: &Arc<Evidence>) {
    let evidence = Arc::clone(evidence);
    if let Ok(Err(error)) = tokio::task::spawn_blocking(move || evidence.save()).await {
        tracing::warn!(event = "evidence_unsaved", %error, "what is known about events cannot be saved; trying again");
    }
}
