//! Whether a source can do without Segment: a computed word, with what it rests on.

use std::cmp::Reverse;

use super::{book::Page, sketch::Sketch};
use crate::model::{SourceId, WallTime};

/// Days without an event after which a version counts as silent, and without one for Segment alone after which nothing hangs on it.
pub const SILENT_DAYS: u32 = 7;
const SILENT_MS: i64 = SILENT_DAYS as i64 * 86_400_000;
/// Versions that are named.
const NAMED_MAX: usize = 3;

/// What would be lost if Segment were stopped for a source, its webhook included. People are estimates within about 5 %; those of
/// late were seen in the week that runs or in the one before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlook {
    /// The source.
    pub source: SourceId,
    /// The word.
    pub verdict: Verdict,
    /// Since when its events are counted.
    pub since: WallTime,
    /// People of late.
    pub people: u64,
    /// Of them, those of whom Segment alone got an event.
    pub people_alone: u64,
    /// Versions of which Segment alone got events in the last [`SILENT_DAYS`] days: how many, and the names of the ones with the most
    /// such people.
    pub versions_alone: usize,
    /// See `versions_alone`.
    pub named_alone: Vec<String>,
    /// Versions whose events came by Segment's webhook in the last [`SILENT_DAYS`] days.
    pub versions_by_webhook: usize,
    /// Versions without an event in the last [`SILENT_DAYS`] days.
    pub versions_silent: usize,
    /// People whom nobody has seen of late, with whatever version.
    pub people_gone: u64,
}

/// Whether Segment can be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing that came lately would be missed at RudderStack.
    Safe,
    /// Something would.
    NotSafe,
    /// It has been counted for less than [`SILENT_DAYS`] days.
    TooEarly,
}

impl Outlook {
    pub(super) fn of(source: &SourceId, page: &Page, now: WallTime) -> Option<Self> {
        let since = page.tallies().map(|(_, tally)| tally.first_at).min()?;
        let is_recent = |at: WallTime| now.millis_since(at) <= SILENT_MS;
        let (mut people, mut ever, mut alone) = (Sketch::default(), Sketch::default(), Sketch::default());
        let (mut named, mut versions_by_webhook, mut versions_silent) = (Vec::new(), 0, 0);
        for (maker, tally) in page.tallies() {
            let lately = tally.people_lately(now);
            ever.merge(tally.people());
            people.merge(&lately);
            versions_silent += usize::from(!is_recent(tally.last_at.into()));
            versions_by_webhook += usize::from(tally.webhook_at.is_some_and(|at| is_recent(at.into())));
            if tally.alone_at.is_some_and(|at| is_recent(at.into())) {
                let people_alone = tally.people_alone(now);
                alone.merge(&people_alone);
                named.push((people_alone.count(), maker.map_or_else(|| "others".to_owned(), ToString::to_string)));
            }
        }
        named.sort_by_key(|(people, name)| (Reverse(*people), name.clone()));
        let verdict = match () {
            () if !named.is_empty() || versions_by_webhook > 0 => Verdict::NotSafe,
            () if is_recent(since.into()) => Verdict::TooEarly,
            () => Verdict::Safe,
        };
        Some(Self {
            source: source.clone(),
            verdict,
            since: since.into(),
            people: people.count(),
            people_alone: alone.count(),
            versions_alone: named.len(),
            named_alone: named.into_iter().take(NAMED_MAX).map(|(_, name)| name).collect(),
            versions_by_webhook,
            versions_silent,
            people_gone: ever.count().saturating_sub(people.count()),
        })
    }
}
