//! The census of a running sidecar: told of accepted requests, asked by the admin API.

use std::{
    io,
    path::PathBuf,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    book::{Book, Counted, Page, Saved},
    foretold::{Foretelling, Foretold, Reason, Told},
    keeper::{self, Snapshot},
    names::{Names, Parted, Scope},
    outlook::Outlook,
    report::{Report, VersionSeen},
};
use crate::model::{EnvelopeId, Head, Reading, SourceId, WallTime};

/// The census. Whoever tells it something waits for a lock that is held for less than a microsecond an event, and for nothing else.
#[derive(Debug, Default)]
pub struct Census {
    counted: Mutex<State>,
    names: Mutex<Names>,
    /// Held while it is saved: two would write one file.
    saving: Mutex<()>,
    /// Where it is kept; None: in memory alone.
    dir: Option<PathBuf>,
    is_changed: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    book: Book,
    foretold: Foretold,
}

/// What was foretold, of all sources or of one.
#[derive(Debug, Clone, Default)]
pub struct Predictions {
    /// Events, by source and reason.
    pub events: Vec<(SourceId, Reason, Told)>,
    /// Names, by source: what each is the name of, the name, and where it ends.
    pub names: Vec<(SourceId, Scope, String, Parted)>,
    /// Whether there are names that were not judged or are not told.
    pub has_more_names: bool,
}

impl Census {
    /// Takes up what an earlier run saved in that directory. Blocks on the disk. What cannot be read is put aside, and counting begins
    /// anew: it never keeps a sidecar from starting.
    #[must_use]
    pub fn open(dir: Option<PathBuf>) -> Self {
        let Snapshot { pages, foretold } = dir.as_deref().map(keeper::load).unwrap_or_default();
        Self {
            names: Mutex::new(Names::load(&foretold)),
            saving: Mutex::default(),
            counted: Mutex::new(State { foretold: Foretold::load(&foretold), book: Book::load(pages) }),
            dir,
            is_changed: AtomicBool::new(false),
        }
    }

    /// Counts accepted events, and what was foretold of them.
    pub fn count(&self, counted: &Counted<'_>, foretold: &[Foretelling]) {
        let mut state = self.counted();
        state.book.count(counted);
        state.foretold.count(counted.source, counted.at, counted.plan, foretold);
        drop(state);
        self.is_changed.store(true, Ordering::Relaxed);
    }

    /// Judges names that are new in a request. While another request's are judged it does nothing: names come again.
    pub fn judge_names(&self, source: &SourceId, reading: &Reading<'_>, heads: &[Head<'_>], of: (EnvelopeId, WallTime)) {
        if let Ok(mut names) = self.names.try_lock() {
            names.judge(source, reading, heads, of);
        }
    }

    /// What is known of all versions, or of one source's, those with the most events first. It takes milliseconds where versions are
    /// many.
    #[must_use]
    pub fn report(&self, source: Option<&SourceId>, now: WallTime) -> Report {
        let mut report = Report::default();
        for (source, page) in self.pages(source) {
            report.versions.extend(page.tallies().map(|(maker, tally)| VersionSeen::of(&source, maker, tally, now)));
            report.outlooks.extend(Outlook::of(&source, &page, now));
        }
        report.versions.sort_by(|a, b| b.events.cmp(&a.events).then_with(|| (&a.source, &a.maker).cmp(&(&b.source, &b.maker))));
        report
    }

    /// Copies of the pages. The lock is held for one after the other, so that counting waits for none but that.
    fn pages(&self, source: Option<&SourceId>) -> impl Iterator<Item = (SourceId, Page)> {
        let sources: Vec<SourceId> = match source {
            Some(source) => vec![source.clone()],
            None => self.counted().book.sources.keys().cloned().collect(),
        };
        sources.into_iter().filter_map(|source| {
            let page = self.counted().book.sources.get(&source)?.clone();
            Some((source, page))
        })
    }

    /// How many versions of each source are told apart.
    #[must_use]
    pub fn versions_seen(&self) -> Vec<(SourceId, usize)> {
        self.counted().book.sources.iter().map(|(source, page)| (source.clone(), page.versions.len())).collect()
    }

    /// What was foretold of a source; None: of all.
    #[must_use]
    pub fn predictions(&self, source: Option<&SourceId>) -> Predictions {
        let is_wanted = |of: &SourceId| source.is_none_or(|source| source == of);
        let state = self.counted();
        let events = state.foretold.0.iter().filter(|((of, _), _)| is_wanted(of));
        let events = events.map(|((source, reason), told)| (source.clone(), *reason, told.clone())).collect();
        drop(state);
        let known = self.names();
        let rows =
            known.parted.iter().filter(|(of, _)| is_wanted(of)).flat_map(|(source, names)| {
                names.iter().map(|((scope, name), parted)| (source.clone(), *scope, name.clone(), parted.clone()))
            });
        Predictions { events, names: rows.collect(), has_more_names: known.is_full() }
    }

    /// Saves what has changed. Blocks on the disk. After a failure everything is saved again with the next one.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn save(&self) -> io::Result<()> {
        let Some(dir) = self.dir.as_deref() else { return Ok(()) };
        if !self.is_changed.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let _turn = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        let pages = self.pages(None).map(|(source, page)| Saved::of(&source, page)).collect();
        let mut foretold = self.counted().foretold.save();
        self.names().save(&mut foretold);
        keeper::save(dir, &Snapshot { pages, foretold }).inspect_err(|_| self.is_changed.store(true, Ordering::Relaxed))
    }

    fn counted(&self) -> MutexGuard<'_, State> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
