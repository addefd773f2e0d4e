//! What the census knows of each version.

use super::{
    maker::Maker,
    outlook::Outlook,
    tally::Tally,
    trend::{DAYS, HOURS},
};
use crate::model::{PerDestination, SourceId, WallTime};

/// What is known of all versions.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The versions, those with the most events first.
    pub versions: Vec<VersionSeen>,
    /// Whether each source can do without Segment.
    pub outlooks: Vec<Outlook>,
}

/// One version of an app, under one source, library and platform. Events that an SDK sent twice count twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionSeen {
    /// The source.
    pub source: SourceId,
    /// Who made its events; None: those of versions that are not told apart, as there are too many.
    pub maker: Option<Maker<'static>>,
    /// Events.
    pub events: u64,
    /// Whose they are: exactly up to 128, then within about 5 %.
    pub people: u64,
    /// The people of the week that runs and of the one before it.
    pub people_lately: u64,
    /// When the first of them arrived.
    pub first_at: WallTime,
    /// When the last of them arrived.
    pub last_at: WallTime,
    /// Events by the hour, the newest first.
    pub hours: [u32; HOURS],
    /// Events by the day, the newest first.
    pub days: [u32; DAYS],
    /// Of all events, those that each destination was to get.
    pub goes: PerDestination<u64>,
    /// Of all events, those that came by Segment's webhook.
    pub by_webhook: u64,
    /// When the last one came from the app that Segment alone was to get; None: none did.
    pub alone_at: Option<WallTime>,
    /// When the last one came by Segment's webhook; None: none did.
    pub webhook_at: Option<WallTime>,
}

impl VersionSeen {
    pub(super) fn of(source: &SourceId, maker: Option<&Maker<'static>>, tally: &Tally, now: WallTime) -> Self {
        Self {
            source: source.clone(),
            maker: maker.cloned(),
            events: tally.events,
            people: tally.people().count(),
            people_lately: tally.people_lately(now).count(),
            first_at: tally.first_at.into(),
            last_at: tally.last_at.into(),
            hours: tally.trend.hours(now),
            days: tally.trend.days(now),
            goes: tally.goes(),
            by_webhook: tally.by_webhook,
            alone_at: tally.alone_at.map(Into::into),
            webhook_at: tally.webhook_at.map(Into::into),
        }
    }
}
