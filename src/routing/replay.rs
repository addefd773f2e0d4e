//! Which events a replay sends again.

use serde::{Deserialize, Serialize};

use super::{Route, change::Shares, decide::Person};
use crate::model::{Destination, Endpoint, Envelope, Origin, Revision, Selection, SourceId, WallTime};

/// A range of a source's events, and where they are to go again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// Whose events.
    pub source: SourceId,
    /// Where to.
    pub destination: Destination,
    /// Only those decided under this revision or a later one; None: from the oldest that is kept.
    pub first: Option<Revision>,
    /// Only those decided under this revision or an earlier one; None: to the end.
    pub last: Option<Revision>,
    /// Only those that arrived at this time or later; None: from the oldest that is kept.
    pub from: Option<WallTime>,
    /// Only those that arrived before this time; None: to the end.
    pub to: Option<WallTime>,
    /// Which of them.
    pub which: Which,
    /// Only those that this route would send there; None: all.
    pub by_route: Option<Route>,
    /// Events a second, at most.
    pub rate: u32,
    /// Where the log ended when it began, volume and offset: what came later is not sent.
    pub end: (u64, u64),
}

/// Which events of a range are sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those that were not planned for the destination.
    Missing,
    /// Those too that were: the destination gets them twice.
    All,
}

/// What is done about a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// It stops for a while.
    Pause,
    /// It goes on.
    Resume,
    /// It stops for good; what it sent stays sent.
    Cancel,
    /// It is through.
    End,
}

impl Replay {
    /// Which events of an envelope it sends again. What a replay repeated itself is not repeated.
    #[must_use]
    pub fn select(&self, envelope: &Envelope) -> Selection {
        let revision = envelope.plan.revision;
        let is_in = envelope.source == self.source
            && !matches!(envelope.origin, Origin::Replay(_))
            // What came from Segment never goes back there.
            && !(envelope.endpoint == Endpoint::Webhook && self.destination == Destination::Segment)
            && self.first.is_none_or(|first| revision >= first)
            && self.last.is_none_or(|last| revision <= last)
            && self.from.is_none_or(|from| envelope.received_at >= from)
            && self.to.is_none_or(|to| envelope.received_at < to);
        if !is_in {
            return Selection::None;
        }
        let total = envelope.events as usize;
        let planned = envelope.plan.events.of(self.destination);
        // What was relayed is in no plan, and Segment has it.
        let has_all = envelope.origin == Origin::Relayed && self.destination == Destination::Segment;
        let is_wanted = |index: &usize| {
            let is_missing = self.which == Which::All || !(has_all || planned.contains(*index));
            is_missing && self.by_route.is_none_or(|route| self.would_go(route, envelope, *index))
        };
        let indices = (0..total).filter(is_wanted).map_while(|index| u16::try_from(index).ok());
        Selection::of(indices.collect(), total)
    }

    /// Whether a route would send an event there. Of an event whose person is not noted nobody knows: it goes.
    fn would_go(&self, route: Route, envelope: &Envelope, index: usize) -> bool {
        let place = envelope.outline.as_ref().and_then(|outline| outline.events.get(index));
        place.is_none_or(|place| route.takes(self.destination, Person(place.person)))
    }
}

/// As the history writes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Written {
    source: String,
    destination: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    all: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by_route: Option<Shares>,
    rate: u32,
    end: (u64, u64),
}

impl Written {
    pub(super) fn of(replay: &Replay) -> Self {
        Self {
            source: replay.source.to_string(),
            destination: replay.destination.label().to_owned(),
            first: replay.first.map(|revision| revision.0),
            last: replay.last.map(|revision| revision.0),
            from: replay.from.map(WallTime::to_rfc3339),
            to: replay.to.map(WallTime::to_rfc3339),
            all: replay.which == Which::All,
            by_route: replay.by_route.map(Shares::from),
            rate: replay.rate,
            end: replay.end,
        }
    }

    /// None: no version of segue wrote it.
    pub(super) fn read(self) -> Option<Replay> {
        let time = |text: Option<String>| text.map(|text| WallTime::parse(&text)).map_or(Some(None), |at| at.map(Some));
        Some(Replay {
            source: SourceId::parse(&self.source).ok()?,
            destination: Destination::ALL.into_iter().find(|known| known.label() == self.destination)?,
            first: self.first.map(Revision),
            last: self.last.map(Revision),
            from: time(self.from)?,
            to: time(self.to)?,
            which: if self.all { Which::All } else { Which::Missing },
            by_route: match self.by_route {
                None => None,
                Some(shares) => Some(shares.route()?),
            },
            rate: self.rate,
            end: self.end,
        })
    }
}
