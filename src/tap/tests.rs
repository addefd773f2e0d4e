//! The sample: exact counts, even chances, bounded room, and ends that find their events.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicU64, atomic::Ordering},
    time::Duration,
};

use super::{Catch, Looking, Passed, Tap};
use crate::model::{
    Destination, Dice, Endpoint, EnvelopeId, Naming, Outcome, Outline, PerDestination, Reading, Selection, Settled, SourceId, WallTime,
};

/// Numbers for all tests; chances are wide enough for any order of them.
fn number() -> u64 {
    static DRAWN: AtomicU64 = AtomicU64::new(0);
    Dice::new(DRAWN.fetch_add(1, Ordering::Relaxed)).next()
}

/// Lets a batch of `count` events of a source pass, with an end before it has.
fn pass(tap: &Tap, id: u128, source: &str, count: usize, early: &[Settled]) {
    let events: Vec<String> = (0..count).map(|index| format!(r#"{{"type":"track","event":"E{id}-{index}"}}"#)).collect();
    let body = format!(r#"{{"context":{{"app":1}},"batch":[{}]}}"#, events.join(","));
    let reading = Reading::of(Endpoint::Batch, body.as_bytes()).unwrap();
    let outline = Outline::of(body.as_bytes(), &reading, (0..).take(count), Naming::All).unwrap();
    let expected = tap.expect(EnvelopeId(id)).unwrap();
    tap.settle(early.iter().copied());
    expected.pass(&Passed {
        source: &SourceId::parse(source).unwrap(),
        at: WallTime::from_millis(0),
        endpoint: Endpoint::Batch,
        events: count,
        plan: &PerDestination { segment: Selection::All, rudderstack: Selection::Some(vec![0]) },
        body: body.as_bytes(),
        outline: Some(&outline),
    });
}

fn end(id: u128, events: u32, index: Option<u32>, destination: Destination) -> Settled {
    let (outcome, took) = (Outcome::Delivered, Duration::from_millis(9));
    Settled { envelope: EnvelopeId(id), events, index, destination, outcome, status: 200, took }
}

fn look(tap: &Arc<Tap>, source: Option<&str>, rate: usize) -> Looking {
    tap.look(source.map(|source| SourceId::parse(source).unwrap()), rate, number)
}

fn ids(catch: &Catch) -> Vec<u64> {
    catch.rows.iter().map(|row| row.id).collect()
}

#[tokio::test(start_paused = true)]
async fn it_is_on_while_somebody_looks() {
    let tap = Arc::new(Tap::default());
    assert!(tap.expect(EnvelopeId(1)).is_none());
    let (first, second) = (look(&tap, None, 10), look(&tap, None, 10));
    let expected = tap.expect(EnvelopeId(1));
    drop(first);
    assert!(tap.is_on());
    drop(second);
    assert!(!tap.is_on());
    drop(expected);
    assert!(tap.state().expected.is_empty() && tap.state().viewers.is_empty());
}

#[tokio::test(start_paused = true)]
async fn everything_is_shown_where_there_is_room_and_each_viewer_has_its_own() {
    let tap = Arc::new(Tap::default());
    let (all, one) = (look(&tap, None, 200), look(&tap, Some("app"), 200));
    pass(&tap, 1, "web", 2, &[]);
    pass(&tap, 2, "app", 1, &[]);
    let catch = all.take();
    assert_eq!((catch.seen, catch.lost, ids(&catch)), (3, 0, vec![1, 2, 3]));
    assert_eq!(&*catch.rows[1].event, r#"{"type":"track","event":"E1-1"}"#);
    assert_eq!(catch.rows[1].context.as_deref(), Some(r#"{"app":1}"#));
    let to = |segment, rudderstack| PerDestination { segment, rudderstack };
    assert_eq!((catch.rows[0].to, catch.rows[1].to), (to(true, true), to(true, false)));
    let catch = one.take();
    assert_eq!((catch.seen, ids(&catch), catch.rows[0].source.as_str()), (1, vec![1], "app"));
    assert_eq!(all.take().seen, 0);
}

#[tokio::test(start_paused = true)]
async fn a_sample_has_even_chances_and_exact_counts() {
    let tap = Arc::new(Tap::default());
    let looking = look(&tap, None, 40);
    let (mut seen, mut shown, mut picked) = (0, 0, BTreeMap::<u64, u32>::new());
    let mut id = 0;
    for _ in 0..400 {
        for size in [1, 7, 30, 62] {
            id += 1;
            pass(&tap, id, "web", size, &[]);
        }
        tokio::time::advance(Duration::from_millis(250)).await;
        let catch = looking.take();
        assert_eq!((catch.seen, catch.lost), (100, 0));
        assert!(catch.rows.is_sorted_by_key(|row| row.id) && catch.rows.len() <= 20);
        seen += catch.seen;
        shown += catch.rows.len();
        for row in catch.rows {
            *picked.entry((row.id - 1) % 100 / 10).or_default() += 1;
        }
    }
    assert_eq!(seen, 40_000);
    assert!((3_500..=4_000).contains(&shown), "{shown} in 100 s of 40");
    // A tenth of 4,000 each; five deviations of 19.
    assert!(picked.len() == 10 && picked.values().all(|count| (290..=510).contains(count)), "{picked:?}");
}

#[tokio::test(start_paused = true)]
async fn ends_find_their_events_early_and_late_and_no_others() {
    let tap = Arc::new(Tap::default());
    let looking = look(&tap, None, 200);
    let (segment, rudderstack) = (Destination::Segment, Destination::RudderStack);
    // RudderStack gets the first event alone.
    pass(&tap, 1, "web", 3, &[end(1, 3, None, segment), end(1, 3, Some(0), rudderstack), end(1, 3, Some(1), rudderstack)]);
    let catch = looking.take();
    let told: Vec<_> = catch.ends.iter().map(|end| (end.id, end.destination)).collect();
    assert_eq!(told, [(1, segment), (2, segment), (3, segment), (1, rudderstack)]);
    // Later; of another envelope; alone in an envelope that was made of it.
    tap.settle([end(1, 3, Some(0), rudderstack), end(9, 3, None, segment), end(1, 1, Some(0), rudderstack)]);
    let ends = looking.take().ends;
    assert_eq!((ends.len(), ends[0].id, ends[0].status, ends[0].took), (1, 1, 200, Duration::from_millis(9)));
}

#[tokio::test(start_paused = true)]
async fn events_that_gave_way_are_not_told_of() {
    let tap = Arc::new(Tap::default());
    let looking = look(&tap, None, 1);
    for id in 1..=50 {
        pass(&tap, id, "web", 1, &[end(id, 1, None, Destination::Segment)]);
    }
    let catch = looking.take();
    assert_eq!((catch.seen, catch.rows.len(), catch.ends.len()), (50, 1, 1));
    assert_eq!(catch.ends[0].id, catch.rows[0].id);
}

#[tokio::test(start_paused = true)]
async fn a_viewer_that_never_takes_has_bounded_room() {
    let tap = Arc::new(Tap::default());
    let looking = look(&tap, None, 500);
    for id in 1..=200 {
        pass(&tap, id, "web", 300, &[end(id, 300, None, Destination::Segment)]);
    }
    let catch = looking.take();
    assert_eq!((catch.seen, catch.rows.len()), (60_000, 250));
    assert!(catch.ends.len() <= 2_048);
    // Events too large for its room are counted.
    let body = format!(r#"{{"event":"{}"}}"#, "x".repeat(2 << 20));
    let reading = Reading::of(Endpoint::Single(crate::model::EventKind::Track), body.as_bytes()).unwrap();
    let outline = Outline::of(body.as_bytes(), &reading, [1], Naming::All).unwrap();
    let (source, plan) = (SourceId::parse("web").unwrap(), PerDestination::default());
    let passed = Passed {
        source: &source,
        at: WallTime::from_millis(0),
        endpoint: Endpoint::Single(crate::model::EventKind::Track),
        events: 1,
        plan: &plan,
        body: body.as_bytes(),
        outline: Some(&outline),
    };
    tap.expect(EnvelopeId(999)).unwrap().pass(&passed);
    let catch = looking.take();
    assert_eq!((catch.seen, catch.lost, catch.rows.len()), (1, 1, 0));
}
