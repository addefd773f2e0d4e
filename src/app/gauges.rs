//! What gates read: every figure of one source at one moment, from whoever knows it.

use std::{sync::Arc, time::Duration};

use crate::{
    clock::Clock,
    control::ReadGates,
    delivery::{LaneControl, LaneRequests},
    evidence::{Basis, Evidence},
    journal::{Journal, LaneId},
    model::{Destination, PerDestination, SourceId},
    routing::{GateReading, ParityReading, Requests},
};

/// How gates are read.
pub(super) fn reader(journal: Journal, lanes: LaneControl, evidence: Arc<Evidence>, clock: Clock) -> Arc<ReadGates> {
    Arc::new(move |source: &SourceId| {
        let lane = |destination| LaneId { source: source.clone(), destination };
        let requests = |destination| lanes.lane(&lane(destination)).map(|status| status.requests).unwrap_or_default();
        GateReading {
            parity: parity(&evidence, source),
            lag: Some(Destination::ALL.into_iter().map(|destination| lag(&journal, &clock, &lane(destination))).max().unwrap_or_default()),
            requests: PerDestination::from_fn(|destination| {
                let LaneRequests { ended, failed } = requests(destination);
                Requests { ended, failed }
            }),
            quarantined: Destination::ALL.into_iter().map(|destination| journal.quarantined_ever(&lane(destination))).sum(),
        }
    })
}

/// By what both vendors emitted where their taps tell it, else by what they answered. Each counts from the newest change of the route.
fn parity(evidence: &Evidence, source: &SourceId) -> Option<ParityReading> {
    let bases = [(Basis::Tap, "tap"), (Basis::Answers, "answers")];
    let read = |(basis, name)| {
        let interval = evidence.track(source, basis)?.sequence.interval();
        (interval.pairs > 0).then_some(ParityReading {
            lower: interval.lower,
            upper: interval.upper,
            pairs: interval.pairs,
            evidence: name,
        })
    };
    bases.into_iter().find_map(read)
}

fn lag(journal: &Journal, clock: &Clock, lane: &LaneId) -> Duration {
    let since = journal.oldest_pending(lane).map_or(0, |oldest| clock.now().millis_since(oldest));
    Duration::from_millis(u64::try_from(since).unwrap_or(0))
}
