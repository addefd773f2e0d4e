//! The census over a restart, and what it says of doing without Segment.

use std::fs;

use super::{Came, Census, Counted, Roll, Verdict};
use crate::model::{Endpoint, EnvelopeId, Head, PerDestination, Reading, Selection, SourceId, WallTime};
use crate::routing::Person;

const DAY_MS: i64 = 86_400_000;

struct Story {
    census: Census,
    now: WallTime,
}

impl Story {
    fn new(census: Census) -> Self {
        Self { census, now: WallTime::from_millis(21_000 * DAY_MS) }
    }

    fn at_day(&mut self, day: i64) {
        self.now = WallTime::from_millis((21_000 + day) * DAY_MS);
    }

    /// Events of people with a version of `shop`.
    fn event(&self, version: &str, people: std::ops::Range<u32>, goes: (bool, bool), came: Came) {
        let source = SourceId::parse("android").unwrap();
        let chosen = |goes| if goes { Selection::All } else { Selection::None };
        let plan = PerDestination { segment: chosen(goes.0), rudderstack: chosen(goes.1) };
        for person in people {
            let body = format!(
                r#"{{"anonymousId":"p-{person}","type":"track","event":"HTTPError","context":{{"app":{{"name":"shop","version":"{version}"}}}}}}"#
            );
            let endpoint = Endpoint::Webhook;
            let reading = Reading::of(endpoint, body.as_bytes()).unwrap();
            let heads = [Head::of(reading.whole, endpoint)];
            let roll = Roll::of(&reading, &heads, [Person::of(heads[0].anonymous_id.as_deref(), None, "m")]);
            self.census.judge_names(&source, &reading, &heads, (EnvelopeId(1), self.now));
            self.census.count(&Counted { source: &source, at: self.now, roll: &roll, plan: &plan, came }, &[]);
        }
    }

    fn outlook(&self) -> super::Outlook {
        let [outlook] = self.census.report(None, self.now).outlooks.try_into().unwrap();
        outlook
    }
}

#[test]
fn counts_outlive_a_restart_and_a_damaged_file_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    let place = Some(dir.path().join("census"));
    let story = Story::new(Census::open(place.clone()));
    story.event("5.0", 0..300, (true, true), Came::Directly);
    story.event("4.9", 0..3, (true, false), Came::Directly);
    story.census.save().unwrap();
    let before = story.census.report(None, story.now);
    let again = Story::new(Census::open(place.clone()));
    assert_eq!(again.census.report(None, again.now).versions, before.versions);
    assert_eq!(again.census.predictions(None).names, story.census.predictions(None).names);
    assert_eq!(again.census.predictions(None).names.len(), 1, "HTTPError parts");
    again.event("5.0", 0..1, (true, true), Came::Directly);
    assert_eq!(again.census.report(None, again.now).versions[0].events, 301, "counting goes on");

    let file = dir.path().join("census/census.snapshot");
    let whole = fs::read(&file).unwrap();
    for damage in 0..6 {
        let mut bytes = whole.clone();
        match damage {
            0 => bytes.truncate(bytes.len() / 2),
            1 => bytes[40] ^= 1,
            2 => bytes.clear(),
            3 => bytes.splice(13..14, *b"9").for_each(drop),
            4 => bytes = b"\xff\xfe\n".to_vec(),
            _ => bytes = b"segue-census 1 00000000\n".to_vec(),
        }
        fs::write(&file, &bytes).unwrap();
        let census = Census::open(place.clone());
        let is_anew = census.report(None, story.now).versions.is_empty();
        assert_eq!((is_anew, dir.path().join("census/census.damaged").exists()), (true, true), "damage {damage}");
        let _ = fs::remove_file(dir.path().join("census/census.damaged"));
    }
}

#[test]
fn nothing_is_written_when_nothing_was_counted() {
    let dir = tempfile::tempdir().unwrap();
    let census = Census::open(Some(dir.path().join("census")));
    census.save().unwrap();
    assert!(!dir.path().join("census/census.snapshot").exists());
    Census::open(None).save().unwrap();
}

#[test]
fn segment_can_be_stopped_once_a_week_has_shown_that_nothing_hangs_on_it() {
    let mut story = Story::new(Census::default());
    story.event("5.0", 0..40, (true, true), Came::Directly);
    assert_eq!(story.outlook().verdict, Verdict::TooEarly);
    story.event("4.9", 40..50, (true, false), Came::Directly);
    let outlook = story.outlook();
    assert_eq!((outlook.verdict, outlook.people, outlook.people_alone), (Verdict::NotSafe, 50, 10));
    assert_eq!((outlook.versions_alone, outlook.named_alone), (1, vec!["shop 4.9".to_owned()]));
    // The old version moves, but some of it comes by the webhook still.
    story.at_day(3);
    story.event("4.9", 40..45, (true, true), Came::Directly);
    story.event("4.2", 60..62, (false, true), Came::ByWebhook);
    story.at_day(9);
    story.event("5.0", 0..40, (true, true), Came::Directly);
    let outlook = story.outlook();
    assert_eq!((outlook.verdict, outlook.versions_alone, outlook.versions_by_webhook), (Verdict::NotSafe, 0, 1));
    story.at_day(25);
    story.event("5.0", 0..40, (false, true), Came::Directly);
    let outlook = story.outlook();
    assert_eq!((outlook.verdict, outlook.versions_silent, outlook.people), (Verdict::Safe, 2, 40));
    assert_eq!(outlook.people_gone, 12, "ten of 4.9 and two of 4.2 were not seen again");
}
