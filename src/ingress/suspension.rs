//! When a source's order is not promised: its events were relayed live past what waits in the journal (design promise 2).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::sleep};

use super::Desk;
use crate::{
    journal::{Health, Journal},
    model::{Destination, SourceId},
};

/// The sources whose order is suspended: from the first event that is relayed because the journal cannot write, until it
/// writes again and Segment has everything that was in it by then.
#[derive(Debug, Default)]
pub struct Suspensions {
    marks: Mutex<BTreeMap<SourceId, Mark>>,
    /// Told when there is one.
    begun: Notify,
}

/// What has to be delivered first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// Everything that stands in the journal when it is next looked at.
    Unset,
    /// So many events of the lane, from its beginning.
    At(u64),
}

/// How a lane stands.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    planned: u64,
    ended: u64,
}

/// How often the suspended are looked at.
const INTERVAL: Duration = Duration::from_millis(200);

impl Suspensions {
    /// The sources that are suspended, in the order of their ids.
    #[must_use]
    pub fn sources(&self) -> Vec<SourceId> {
        self.marks().keys().cloned().collect()
    }

    /// Whether a source is suspended.
    #[must_use]
    pub fn has(&self, source: &SourceId) -> bool {
        self.marks().contains_key(source)
    }

    /// An event of `source` is about to be relayed past its backlog.
    pub(super) fn begin(&self, source: &SourceId) {
        if self.marks().insert(source.clone(), Mark::Unset).is_none() {
            tracing::warn!(
                event = "order_suspended",
                %source,
                "the journal cannot write: events go to Segment live, past those that wait"
            );
            self.begun.notify_one();
        }
    }

    /// Looks at the suspended, and takes off the list whoever has caught up. Gives whether any is left.
    fn settle(&self, health: Health, count: impl Fn(&SourceId) -> Count) -> bool {
        let mut marks = self.marks();
        marks.retain(|source, mark| {
            let Count { planned, ended } = count(source);
            let restored = health == Health::Writable && matches!(mark, Mark::At(before) if *before <= ended);
            if restored {
                tracing::info!(event = "order_restored", %source, "Segment has what was waiting");
            }
            if *mark == Mark::Unset {
                *mark = Mark::At(planned);
            }
            !restored
        });
        !marks.is_empty()
    }

    fn marks(&self) -> MutexGuard<'_, BTreeMap<SourceId, Mark>> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Watches over the suspended for as long as the sidecar takes requests.
pub(super) async fn watch(desk: Arc<Desk>) {
    let suspensions = &desk.counters.suspensions;
    loop {
        suspensions.begun.notified().await;
        while suspensions.settle(desk.journal.health(), |source| segment_lane(&desk.journal, source)) {
            sleep(INTERVAL).await;
        }
    }
}

fn segment_lane(journal: &Journal, source: &SourceId) -> Count {
    let lanes = journal.ledger().into_iter();
    let found = lanes.filter(|(lane, _)| lane.destination == Destination::Segment).find(|(lane, _)| lane.source == *source);
    found.map_or_else(Count::default, |(_, ledger)| Count { planned: ledger.planned, ended: ledger.planned - ledger.pending })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_restored_when_segment_has_what_was_in_the_journal_by_the_last_relay() {
        let (suspensions, web) = (Suspensions::default(), SourceId::parse("web").unwrap());
        let settle = |health, planned, ended| suspensions.settle(health, |_| Count { planned, ended });
        assert!(!settle(Health::Full, 9, 0), "nobody was relayed");
        suspensions.begin(&web);
        assert!(suspensions.has(&web) && settle(Health::Full, 10, 3));
        assert!(settle(Health::Writable, 20, 9), "one of the ten waits");
        // Relayed again: now everything up to the twentieth comes first.
        suspensions.begin(&web);
        assert!(settle(Health::Full, 20, 10));
        assert!(settle(Health::Full, 20, 20), "the next may be relayed any moment");
        assert!(settle(Health::Writable, 25, 19));
        assert!(!settle(Health::Writable, 25, 20) && suspensions.sources().is_empty());
    }

    #[test]
    fn a_relay_without_a_backlog_suspends_for_a_moment() {
        let (suspensions, web) = (Suspensions::default(), SourceId::parse("web").unwrap());
        suspensions.begin(&web);
        assert!(suspensions.settle(Health::Writable, |_| Count { planned: 4, ended: 4 }), "it is looked at first");
        assert!(!suspensions.settle(Health::Writable, |_| Count { planned: 4, ended: 4 }));
    }
}
