//! The journal without threads, for simulations: the same steps, taken on the runtime, one at a time, each after as long as the
//! disk takes. Only in test builds.

use std::{sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};

use super::{
    Disk, Journal, OpenError, Opened, Sabotage, Settings,
    commit::{Committer, Step},
    handle::Threads,
    keeper,
    recovery::{Recovered, recover},
    saver::Saver,
    shared::{Shared, Tuning},
};

/// Where work that blocks is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beside {
    /// On threads beside the runtime.
    Threads,
    /// In a task of the runtime: such a disk does not block, and threads would take their turns by chance.
    Runtime,
}

/// How long the disk takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tempo {
    /// To write and sync one group.
    pub(crate) commit: Duration,
    /// To save cursors, from the first completion on.
    pub(crate) save: Duration,
}

/// What the journal's threads would do.
#[derive(Debug)]
pub(crate) struct Stepper {
    shared: Arc<Shared>,
    committer: Committer,
    saver: Saver,
}

/// As the saver's own.
const FAILED_PAUSE: Duration = Duration::from_millis(500);
/// As the keeper's own.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

impl Journal {
    /// As [`Journal::open`], with its threads' work left to the stepper.
    pub(crate) fn open_stepped(disk: Arc<dyn Disk>, settings: &Settings, sabotage: Sabotage) -> Result<(Opened, Stepper), OpenError> {
        let tuning = Tuning { room_patience: Duration::ZERO, sabotage, beside: Beside::Runtime, ..Tuning::default() };
        let Recovered { shared, cursor, report } = recover(disk, settings, tuning)?;
        let mut saver = Saver::new(Arc::clone(&shared), cursor);
        let _ = saver.step();
        let committer = Committer::new(Arc::clone(&shared));
        let journal = Self::of(Arc::clone(&shared), Threads::default());
        Ok((Opened { journal, report }, Stepper { shared, committer, saver }))
    }
}

impl Stepper {
    /// Does the threads' work until it is aborted; `after` is called behind every step.
    pub(crate) async fn run(self, tempo: Tempo, after: impl Fn()) {
        let Self { shared, mut committer, mut saver } = self;
        let commits = async {
            loop {
                shared.queue.pushed.notified().await;
                loop {
                    sleep(tempo.commit).await;
                    let step = committer.step();
                    after();
                    if step == Step::Idle {
                        break;
                    }
                }
            }
        };
        let saves = async {
            loop {
                shared.saver.hear().await;
                sleep(tempo.save).await;
                let saved = saver.step();
                after();
                if saved.is_err() {
                    sleep(FAILED_PAUSE).await;
                    shared.saver.ring();
                }
            }
        };
        let keeps = async {
            loop {
                keeper::round(&shared);
                after();
                let _ = timeout(LOOK_INTERVAL, shared.keeper.hear()).await;
            }
        };
        tokio::join!(commits, saves, keeps);
    }
}
