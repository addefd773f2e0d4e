//! Evidence, as a whole: what it is told, and what follows.

use std::time::Duration;

use super::*;
use crate::model::{ByteSize, Destination, EnvelopeId, Outcome, PerDestination, Revision, Settled, SourceId, WallTime};

const WAIT: Duration = Duration::from_mins(10);
const BOTH: [Destination; 2] = [Destination::Segment, Destination::RudderStack];

/// Evidence about one source, and a clock.
struct Story {
    evidence: Evidence,
    now: i64,
    envelopes: u128,
}

impl Story {
    fn new() -> Self {
        Self::of(Settings { is_tapped: true, wait: WAIT, ..Settings::default() })
    }

    fn of(settings: Settings) -> Self {
        Self { evidence: Evidence::open(settings, WallTime::from_millis(0)), now: 0, envelopes: 0 }
    }

    fn now(&self) -> WallTime {
        WallTime::from_millis(self.now)
    }

    /// Lets time pass, second by second, with both taps alive all the while.
    fn pass(&mut self, seconds: i64) {
        self.pass_with(seconds, &BOTH);
    }

    fn pass_with(&mut self, seconds: i64, alive: &[Destination]) {
        for second in 0..seconds {
            self.now += 1_000;
            for by in alive.iter().filter(|_| second % 30 == 0) {
                // An event without an id says that the tap is alive, and nothing else.
                self.evidence.take(&Emission { source: &web(), by: *by, at: self.now(), event: b"{}" }).unwrap();
            }
            self.evidence.tick(self.now());
        }
    }

    fn arrive(&mut self, ids: &[&str]) -> EnvelopeId {
        self.arrive_predicted(ids, None)
    }

    fn arrive_predicted(&mut self, ids: &[&str], predicted: Option<&'static str>) -> EnvelopeId {
        self.envelopes += 1;
        let envelope = EnvelopeId(self.envelopes);
        let twin =
            |(index, id): (usize, &&str)| Twin { index: u32::try_from(index).unwrap(), print: Evidence::print(&web(), id), predicted };
        let arrival = Arrival { envelope, source: &web(), revision: Revision(3), at: self.now() };
        self.evidence.arrive(&arrival, ids.iter().enumerate().map(twin).collect::<Vec<_>>());
        envelope
    }

    fn answer(&self, envelope: EnvelopeId, index: Option<u32>, destination: Destination, outcome: Outcome, status: u16) {
        let settled = Settled { envelope, events: 1, index, destination, outcome, status, took: Duration::from_millis(20) };
        self.evidence.settle([settled], self.now());
    }

    /// Both take all of it.
    fn deliver(&self, envelope: EnvelopeId) {
        for to in BOTH {
            self.answer(envelope, None, to, Outcome::Delivered, 200);
        }
    }

    fn emit(&self, by: Destination, id: &str, rest: &str) {
        let event = format!(r#"{{"messageId":"{id}","context":{{"app":{{"name":"shop","version":"1.2"}}}}{rest}}}"#);
        self.evidence.take(&Emission { source: &web(), by, at: self.now(), event: event.as_bytes() }).unwrap();
    }

    fn emit_both(&self, id: &str) {
        for by in BOTH {
            self.emit(by, id, "");
        }
    }

    fn tally(&self, basis: Basis) -> Tally {
        self.evidence.track(&web(), basis).unwrap_or_default().now
    }

    /// Each class: where, how, in how many events.
    fn findings(&self) -> Vec<(String, String, u64)> {
        let told = |finding: Finding| (finding.key.path, finding.key.kind, finding.group.count);
        self.evidence.findings(None).into_iter().map(told).collect()
    }
}

fn web() -> SourceId {
    SourceId::parse("web").unwrap()
}

fn found(path: &str, kind: &str, count: u64) -> (String, String, u64) {
    (path.to_owned(), kind.to_owned(), count)
}

#[test]
fn both_take_and_emit_the_same() {
    let mut story = Story::new();
    let envelope = story.arrive(&["a", "b"]);
    story.deliver(envelope);
    story.emit(Destination::Segment, "a", "");
    story.emit(Destination::RudderStack, "b", "");
    story.pass(5);
    story.emit(Destination::RudderStack, "a", "");
    story.emit(Destination::Segment, "b", "");
    assert_eq!((story.tally(Basis::Answers).equal, story.tally(Basis::Tap).equal), (2, 2));
    assert_eq!((story.findings(), story.evidence.standing().followed), (vec![], 0));
    let followed = story.evidence.followed(&web(), "a").unwrap();
    assert_eq!((followed.agreement, followed.answers.segment.unwrap().status), (Some(Agreement::Equal), 200));
    story.pass(2_000);
    assert_eq!(story.tally(Basis::Tap).pairs(), 2, "nothing comes of it later");
    assert_eq!(story.evidence.track(&web(), Basis::Tap).unwrap().versions["shop 1.2"].equal, 2);
}

#[test]
fn emissions_may_be_quicker_than_answers() {
    let mut story = Story::new();
    let envelope = story.arrive(&["a"]);
    story.answer(envelope, None, Destination::Segment, Outcome::Delivered, 200);
    story.emit_both("a");
    assert_eq!((story.tally(Basis::Tap).equal, story.tally(Basis::Answers).pairs()), (1, 0));
    story.answer(envelope, Some(0), Destination::RudderStack, Outcome::Delivered, 200);
    assert_eq!((story.tally(Basis::Answers).equal, story.evidence.standing().followed), (1, 0));
}

#[test]
fn what_one_side_has_alone_is_a_finding_once_the_other_has_had_its_time() {
    let mut story = Story::new();
    let envelope = story.arrive(&["a", "b"]);
    story.answer(envelope, None, Destination::Segment, Outcome::Delivered, 200);
    story.answer(envelope, Some(0), Destination::RudderStack, Outcome::Delivered, 200);
    story.answer(envelope, Some(1), Destination::RudderStack, Outcome::Quarantined, 400);
    story.emit(Destination::Segment, "a", "");
    story.emit(Destination::Segment, "b", "");
    story.pass(590);
    assert_eq!(story.findings(), []);
    story.pass(20);
    assert_eq!(story.findings(), [found("", whole::MISSING_IN_RUDDERSTACK, 2)]);
    let finding = story.evidence.findings(None).remove(0);
    let mut whys: Vec<_> = finding.group.samples.iter().map(|sample| (sample.message_id.as_str(), sample.why.as_str())).collect();
    whys.sort_unstable();
    assert_eq!(whys, [("a", "rudderstack took it with 200"), ("b", "rudderstack had quarantined it: answered 400")]);
    assert_eq!((story.tally(Basis::Tap).only_segment, story.tally(Basis::Answers).only_segment), (2, 1));
    // The first comes after all.
    story.emit(Destination::RudderStack, "a", "");
    assert_eq!(story.findings(), [found("", whole::LATE_FROM_RUDDERSTACK, 1), found("", whole::MISSING_IN_RUDDERSTACK, 1)]);
}

#[test]
fn a_silent_tap_proves_nothing() {
    let mut story = Story::new();
    let envelope = story.arrive(&["a"]);
    story.deliver(envelope);
    story.emit(Destination::Segment, "a", "");
    story.pass_with(700, &BOTH[..1]);
    assert_eq!((story.findings(), story.tally(Basis::Tap).unjoinable), (vec![], 1));
    // After twice the time nothing waits for it any more.
    story.pass_with(700, &BOTH[..1]);
    let envelope = story.arrive(&["b"]);
    story.deliver(envelope);
    assert_eq!((story.tally(Basis::Answers).equal, story.evidence.standing().followed), (2, 0));
    // It is heard again.
    story.pass(31);
    let envelope = story.arrive(&["c"]);
    story.deliver(envelope);
    story.emit_both("c");
    assert_eq!(story.tally(Basis::Tap).equal, 1);
}

#[test]
fn what_the_rules_foretell_counts_neither_way() {
    let mut story = Story::new();
    let envelope = story.arrive_predicted(&["a"], Some("id_not_string"));
    story.deliver(envelope);
    story.emit(Destination::RudderStack, "a", "");
    story.pass(700);
    assert_eq!((story.tally(Basis::Answers).predicted, story.tally(Basis::Tap).predicted), (1, 1));
    assert_eq!((story.findings(), story.tally(Basis::Tap).pairs()), (vec![], 0));
}

#[test]
fn repeats_and_latecomers_are_findings() {
    let mut story = Story::new();
    let envelope = story.arrive(&["a", "b"]);
    story.deliver(envelope);
    story.emit_both("a");
    story.emit(Destination::Segment, "a", "");
    story.emit(Destination::Segment, "b", "");
    story.pass(90);
    story.emit(Destination::RudderStack, "b", "");
    let mut told = story.findings();
    told.sort();
    assert_eq!(told, [found("", whole::LATE_FROM_RUDDERSTACK, 1), found("", whole::REPEATED_BY_SEGMENT, 1)]);
    assert_eq!((story.tally(Basis::Tap).equal, story.tally(Basis::Tap).different), (1, 1));
}

#[test]
fn a_resend_of_a_client_changes_nothing() {
    let mut story = Story::new();
    let first = story.arrive(&["a"]);
    let second = story.arrive(&["a"]);
    story.deliver(first);
    story.answer(second, None, Destination::Segment, Outcome::Delivered, 200);
    story.answer(second, Some(0), Destination::RudderStack, Outcome::Deduplicated, 0);
    story.emit_both("a");
    let third = story.arrive(&["a"]);
    story.deliver(third);
    story.pass(700);
    assert_eq!((story.tally(Basis::Answers).pairs(), story.tally(Basis::Tap).pairs()), (1, 1));
    assert_eq!((story.findings(), story.evidence.standing().followed), (vec![], 0));
}

#[test]
fn an_envelope_that_was_not_journalled_is_not_waited_for() {
    let mut story = Story::new();
    let envelope = story.arrive(&["a"]);
    story.evidence.forget(envelope);
    story.pass(700);
    assert_eq!((story.tally(Basis::Answers), story.evidence.standing().followed), (Tally::default(), 0));
}

#[test]
fn what_is_accepted_counts_as_agreement_and_reopened_as_difference() {
    let mut story = Story::new();
    let mut differ = |id: &str| {
        let envelope = story.arrive(&[id]);
        story.deliver(envelope);
        story.emit(Destination::Segment, id, r#","properties":{"total":1}"#);
        story.emit(Destination::RudderStack, id, r#","properties":{"total":2}"#);
        (story.tally(Basis::Tap).agree(), story.tally(Basis::Tap).differ())
    };
    assert_eq!((differ("a"), differ("b")), ((0, 1), (0, 2)));
    let finding = story.evidence.findings(None).remove(0);
    let decision = Decision {
        source: web(),
        path: finding.key.path.clone(),
        kind: Some(finding.key.kind.clone()),
        verb: DecisionVerb::Accept,
        reason: "rounded".into(),
        revision: Revision(9),
    };
    story.evidence.decide(decision.clone());
    assert_eq!((story.tally(Basis::Tap).agree(), story.tally(Basis::Tap).differ()), (2, 0));
    let told = story.evidence.finding(&finding.key.id()).unwrap();
    assert_eq!((told.state, told.decision.unwrap().reason), (FindingState::Accepted, "rounded".to_owned()));
    story.evidence.decide(Decision { verb: DecisionVerb::Reopen, ..decision });
    assert_eq!(story.evidence.finding(&finding.key.id()).unwrap().state, FindingState::Open);
}

#[test]
fn too_many_events_are_followed_as_a_fair_sample() {
    let mut story = Story::of(Settings { is_tapped: true, events_max: 1_000, ..Settings::default() });
    for number in 0..20_000 {
        story.arrive(&[&number.to_string()]);
    }
    let standing = story.evidence.standing();
    println!("{} of 20,000 are followed, 1 in {}", standing.followed, standing.one_in);
    assert!(standing.followed <= 1_000 && standing.one_in == 32, "{standing:?}");
    assert!(standing.followed.abs_diff(20_000 / 32) < 100, "{standing:?}");
    for envelope in 1..=20_000 {
        story.deliver(EnvelopeId(envelope));
    }
    let answered = story.tally(Basis::Answers).equal;
    assert_eq!(answered, standing.followed);
    // Emissions of the others are passed over.
    for number in 0..20_000 {
        story.emit_both(&number.to_string());
    }
    assert_eq!((story.tally(Basis::Tap).equal, story.findings()), (standing.followed, vec![]));
    story.pass(7_000);
    assert_eq!(story.evidence.standing().one_in, 1, "with room for long enough all are followed again");
}

#[test]
fn one_tap_that_is_silent_for_a_day_takes_what_is_allowed_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let bodies_max = ByteSize(16 << 20);
    let dir_of = |dir: &tempfile::TempDir| Some(dir.path().to_owned());
    let mut story = Story::of(Settings { is_tapped: true, dir: dir_of(&dir), bodies_max, events_max: 20_000, ..Settings::default() });
    let rest = format!(r#","properties":{{"text":"{}"}}"#, "x".repeat(1_000));
    let (mut most_bytes, mut most_followed) = (0, 0);
    for second in 0..86_400_i64 / 60 {
        story.now = second * 60_000;
        for number in 0..60 {
            let id = format!("{second}-{number}");
            let envelope = story.arrive(&[&id]);
            story.deliver(envelope);
            story.emit(Destination::Segment, &id, &rest);
        }
        story.evidence.tick(story.now());
        let standing = story.evidence.standing();
        (most_bytes, most_followed) = (most_bytes.max(standing.waiting_bytes), most_followed.max(standing.followed));
    }
    println!("at most {most_followed} events followed, {most_bytes} bytes waiting");
    assert!(most_bytes <= bodies_max.0 + (5 << 20) && most_followed <= 20_000);
    assert_eq!(story.findings(), [], "of a silent tap nothing follows");
}

#[test]
fn a_restart_remembers_and_pairs_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { is_tapped: true, dir: Some(dir.path().join("evidence")), ..Settings::default() };
    let mut story = Story::of(settings.clone());
    story.evidence.plan(&web(), (Revision(3), story.now()), PerDestination { segment: 4, rudderstack: 2 });
    let envelope = story.arrive(&["a", "b"]);
    story.deliver(envelope);
    story.emit(Destination::Segment, "a", r#","type":"track""#);
    story.emit(Destination::RudderStack, "a", "");
    story.emit(Destination::Segment, "b", "");
    story.evidence.save().unwrap();
    let (tally, findings) = (story.tally(Basis::Tap), story.findings());
    let again = Story { evidence: Evidence::open(settings.clone(), story.now()), now: story.now, envelopes: 9 };
    assert_eq!((again.tally(Basis::Tap), again.findings()), (tally, findings));
    assert_eq!(again.evidence.ledger_rows(None, WallTime::from_millis(0)), story.evidence.ledger_rows(None, WallTime::from_millis(0)));
    again.emit(Destination::RudderStack, "b", "");
    assert_eq!(again.tally(Basis::Tap).equal, 1, "what waited for its twin still does");
    // A damaged file is put aside, and keeps nobody from starting.
    std::fs::write(dir.path().join("evidence/tallies.json"), "{\"version\":1,\"rows\":[{}").unwrap();
    let third = Story { evidence: Evidence::open(settings, story.now()), now: story.now, envelopes: 9 };
    assert_eq!((third.tally(Basis::Tap), third.findings().len()), (Tally::default(), 1));
    assert!(dir.path().join("evidence/tallies.json.damaged").exists());
}
