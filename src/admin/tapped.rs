//! The live tap of one viewer: what it is shown of the events that pass, and how.
//!
//! Rows are read here, in the viewer's own task: at most a megabyte of events each turn, four turns a second.

use std::{borrow::Cow, time::Duration};

use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::server::Hub;
use crate::{
    chance,
    control::app_of,
    model::{EventKind, Head, SourceId, json::Raw},
    tap::{Catch, Ended, Looking, Row},
    wire::{self, schema},
};

/// How many rows a second a viewer may ask for.
pub(super) const RATE_MAX: u32 = 500;
/// How many it gets when it does not say.
pub(super) const RATE_USUAL: u32 = 200;

/// How often a viewer hears of events.
const TURN: Duration = Duration::from_millis(250);
/// How often it hears of how many there were when none of them is shown.
const COUNT_INTERVAL: Duration = Duration::from_secs(1);
/// Characters of a text.
const TEXT_MAX: usize = 80;
/// Characters of a messageId: as long as Segment takes them, so that it can be looked up.
const MESSAGE_ID_MAX: usize = 100;
/// Characters of a text that are looked through for keys.
const CLEANED_MAX: usize = 4 * TEXT_MAX;
/// Shorter ids are masked whole.
const ID_LENGTH_MIN: usize = 6;

/// A viewer's tap.
#[derive(Debug)]
pub(super) struct Tapped {
    hub: Hub,
    looking: Looking,
    turns: Interval,
    /// When it was told last.
    told_at: Instant,
    /// Whether it was told then that events came.
    told_seen: bool,
    /// What it was not told yet.
    untold: Catch,
}

impl Tapped {
    pub(super) fn open(hub: &Hub, source: Option<SourceId>, rate: u32) -> Self {
        let mut turns = interval(TURN);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let looking = hub.tap.look(source, usize::try_from(rate).unwrap_or(usize::MAX), chance::number);
        Self { hub: hub.clone(), looking, turns, told_at: Instant::now(), told_seen: false, untold: Catch::default() }
    }

    /// Waits until there is something to tell. Nothing is lost when the wait is given up.
    pub(super) async fn next(&mut self) -> wire::Tap {
        loop {
            let now = self.turns.tick().await;
            let Catch { seen, lost, rows, ends } = self.looking.take();
            self.untold.seen += seen;
            self.untold.lost += lost;
            let is_due = now >= self.told_at + COUNT_INTERVAL;
            // After the last events it hears once that there were none, or their rate would stand.
            if !rows.is_empty() || !ends.is_empty() || (is_due && (self.untold.seen > 0 || self.told_seen)) {
                return self.tell(now, &rows, &ends);
            }
        }
    }

    fn tell(&mut self, now: Instant, rows: &[Row], ends: &[Ended]) -> wire::Tap {
        let Catch { seen, lost, .. } = std::mem::take(&mut self.untold);
        let over_ms = u64::try_from((now - self.told_at).as_millis()).unwrap_or(u64::MAX);
        (self.told_at, self.told_seen) = (now, seen > 0);
        wire::Tap {
            schema: schema::TAP.to_owned(),
            seen,
            shown: rows.len() as u64,
            lost,
            over_ms,
            rows: rows.iter().map(|picked| row(picked, |text| self.hub.without_keys(text))).collect(),
            outcomes: ends.iter().map(outcome).collect(),
        }
    }
}

/// The event was read when it came in, so it can be read now; should it not, what is known without it is told. `clean` takes write
/// keys out, which clients put into any text.
fn row(row: &Row, clean: impl Fn(&str) -> String) -> wire::TapRow {
    let text = |text: &str, characters_max| cut(&clean(&cut(text, CLEANED_MAX)), characters_max);
    let event = Raw::accepted(&row.event);
    let head = event.map(|event| Head::of(event, row.endpoint)).unwrap_or_default();
    let beside = row.context.as_deref().and_then(Raw::accepted);
    let app = event.and_then(|event| event.get("context")).and_then(app_of).or_else(|| beside.and_then(app_of));
    wire::TapRow {
        id: row.id,
        at: row.at.to_string(),
        source: row.source.as_str().to_owned(),
        kind: head.kind.map(|kind| kind.label().to_owned()),
        name: event.and_then(|event| name(event, head.kind)).map(|name| text(&name, TEXT_MAX)),
        message_id: text(&head.message_id(row.envelope, row.index), MESSAGE_ID_MAX),
        person: head.user_id.map(|id| mask('u', &id)).or_else(|| head.anonymous_id.map(|id| mask('a', &id))),
        app: app.map(|app| text(&app, TEXT_MAX)),
        segment: row.to.segment,
        rudderstack: row.to.rudderstack,
    }
}

/// What a track call calls its event, and what a page or a screen is called.
fn name(event: Raw<'_>, kind: Option<EventKind>) -> Option<Cow<'_, str>> {
    let member = match kind {
        Some(EventKind::Track) | None => "event",
        Some(EventKind::Page | EventKind::Screen) => "name",
        Some(EventKind::Identify | EventKind::Group | EventKind::Alias) => return None,
    };
    event.get(member)?.string().filter(|text| !text.trim().is_empty())
}

fn cut(text: &str, characters_max: usize) -> String {
    text.chars().take(characters_max).collect()
}

/// The end of an id, from which nobody is known.
fn mask(whose: char, id: &str) -> String {
    let length = id.chars().count();
    let end: String = id.chars().skip(if length < ID_LENGTH_MIN { length } else { length - 2 }).collect();
    format!("{whose}_..{end}")
}

fn outcome(end: &Ended) -> wire::TapOutcome {
    wire::TapOutcome {
        id: end.id,
        destination: end.destination.label().to_owned(),
        outcome: end.outcome.label().to_owned(),
        status: end.status,
        took_ms: u64::try_from(end.took.as_millis()).unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Endpoint, EnvelopeId, PerDestination, WallTime};

    fn told(event: &str, endpoint: Endpoint, context: Option<&str>) -> wire::TapRow {
        let picked = Row {
            id: 7,
            at: WallTime::from_millis(0),
            source: SourceId::parse("web").unwrap(),
            envelope: EnvelopeId(5),
            index: 2,
            endpoint,
            event: event.into(),
            context: context.map(Into::into),
            to: PerDestination { segment: true, rudderstack: false },
        };
        row(&picked, |text| text.replace("wk_canary", "***"))
    }

    #[test]
    fn persons_are_masked() {
        for (id, want) in [
            ("", "u_.."),
            ("short", "u_.."),
            ("sixsix", "u_..ix"),
            ("anna@example.com", "u_..om"),
            ("\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}", "u_..\u{e9}\u{e9}"),
        ] {
            assert_eq!(mask('u', id), want, "{id:?}");
        }
        let whose = |event| told(event, Endpoint::Single(EventKind::Track), None).person;
        assert_eq!(whose(r#"{"userId":"user-0001","anonymousId":"anon-0002"}"#).as_deref(), Some("u_..01"));
        assert_eq!(whose(r#"{"userId":" ","anonymousId":"anon-0002"}"#).as_deref(), Some("a_..02"));
        assert_eq!(whose(r#"{"userId":12345678}"#).as_deref(), Some("u_..78"));
        assert_eq!(whose("{}"), None);
    }

    #[test]
    fn a_row_says_what_the_event_says() {
        let track = told(
            r#"{"event":"Order\n\u001b[31m Completed","messageId":"m-1","context":{"app":{"name":"shop","version":"4.1"}}}"#,
            Endpoint::Single(EventKind::Track),
            None,
        );
        assert_eq!((track.id, track.kind.as_deref(), track.name.as_deref()), (7, Some("track"), Some("Order\n\u{1b}[31m Completed")));
        assert_eq!(
            (track.message_id.as_str(), track.app.as_deref(), track.segment, track.rudderstack),
            ("m-1", Some("shop 4.1"), true, false)
        );
        let page = told(r#"{"type":"page","name":"Home"}"#, Endpoint::Batch, Some(r#"{"library":{"name":"py"}}"#));
        assert_eq!((page.kind.as_deref(), page.name.as_deref(), page.app.as_deref()), (Some("page"), Some("Home"), Some("py")));
        assert_eq!(page.message_id, "segue-00000000000000000000000000000005-2");
        let keyed = told(
            r#"{"type":"page","name":"wk_canary","messageId":"m-wk_canary"}"#,
            Endpoint::Batch,
            Some(r#"{"app":{"name":"wk_canary"}}"#),
        );
        assert_eq!((keyed.name.as_deref(), keyed.message_id.as_str(), keyed.app.as_deref()), (Some("***"), "m-***", Some("***")));
        let none = told(r#"{"type":"identify","name":"Anna","event":7}"#, Endpoint::Batch, None);
        assert_eq!((none.kind.as_deref(), none.name, none.app), (Some("identify"), None, None));
        let long = told(&format!(r#"{{"type":"track","event":"{0}","messageId":"{0}"}}"#, "x".repeat(500)), Endpoint::Batch, None);
        assert_eq!((long.name.map(|name| name.len()), long.message_id.len()), (Some(TEXT_MAX), MESSAGE_ID_MAX));
    }
}
