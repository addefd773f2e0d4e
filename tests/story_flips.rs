//! Routes change under load, and every event arrives at exactly the sides that an oracle outside of the sidecar expects.
//!
//! The oracle knows the flips that were confirmed and when, and each event's send and answer: an event sent after a flip was confirmed
//! is under that revision or a later one, an event acknowledged before a flip was asked for under an earlier one.
//! `SEGUE_FLIPS` sets the number of flips (200), `SEGUE_FLIP_PAUSE_MS` the pause between them (20), `SEGUE_PEOPLE` the number of people who
//! log in (100,000), `SEGUE_SEED` repeats a run.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a story that cannot go on fails")]

mod process;
mod stage;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use segue::{
    client::{Client, ClientError},
    routing::{Conditions, Pattern, Rule},
    wire::{KillAsked, KillStatus, ProblemCode, RouteAsked, RouteHistory, Routes, RoutesChanged, UndoAsked},
};
use stage::{RUDDER_KEY, SEGMENT_KEY, Stage, ids, source};

/// Two shares and the verify share, in hundredths of a percent.
#[derive(Debug, Clone, Copy)]
struct Shares {
    segment: u64,
    rudderstack: u64,
    verify: u64,
}

/// The bucket of a person, as design.md section 3 says it is fixed for ever; written anew here, so that a change there is noticed.
fn bucket(anonymous_id: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in anonymous_id.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        hash = (hash ^ (hash >> 33)).wrapping_mul(factor);
    }
    hash ^= hash >> 33;
    ((hash >> 32) ^ (hash & 0xffff_ffff)) % 10_000
}

impl Shares {
    /// (to Segment, to RudderStack)
    fn sides(self, bucket: u64) -> (bool, bool) {
        (bucket >= 10_000 - self.segment || bucket < self.verify, bucket < self.rudderstack)
    }
}

/// What was sent, and between which revisions it must lie.
struct Sent {
    message: String,
    /// Whether a rule of the source sends it to both sides, whatever the route.
    pinned: bool,
    bucket: u64,
    lowest: u64,
    highest: u64,
}

fn client(stage: &Stage) -> Client {
    Client::new(&stage.config.admin_socket().unwrap(), Duration::from_secs(20))
}

fn asked(route: &str, verify: Option<&str>, if_revision: Option<u64>) -> RouteAsked {
    RouteAsked { route: route.to_owned(), verify: verify.map(str::to_owned), if_revision, reason: None, dry_run: false }
}

async fn flip(client: &Client, source: &str, asked: &RouteAsked) -> Result<RoutesChanged, ClientError> {
    client.post(&format!("/v1/sources/{source}/route"), asked).await
}

fn code(error: &ClientError) -> ProblemCode {
    match error {
        ClientError::Problem(problem) => problem.code,
        other => panic!("{other}"),
    }
}

/// A random route: how it is asked for, and what it means.
fn random_route(random: &mut u64) -> (String, String, Shares) {
    let mut below = |n: u64| {
        *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*random >> 33) % n
    };
    let percent = |hundredths: u64| format!("{}.{:02}%", hundredths / 100, hundredths % 100);
    let (share, verify) = (below(10_001), below(3) * 500);
    let (route, segment, rudderstack) = match below(6) {
        0 => ("segment-only".to_owned(), 10_000, 0),
        1 => ("both".to_owned(), 10_000, 10_000),
        2 => ("rudderstack-only".to_owned(), 0, 10_000),
        3 => (format!("shadow={}", percent(share)), 10_000, share),
        4 => (format!("cutover={}", percent(share)), 10_000 - share, share),
        _ => {
            let other = 10_000 - share + below(share + 1);
            (format!("{{ segment = \"{}\", rudderstack = \"{}\" }}", percent(other), percent(share)), other, share)
        }
    };
    (route, percent(verify), Shares { segment, rudderstack, verify })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outside_oracle_finds_each_event_where_its_revision_sends_it() {
    let flips: u64 = std::env::var("SEGUE_FLIPS").map_or(200, |text| text.parse().expect("SEGUE_FLIPS is a number"));
    let pause = std::env::var("SEGUE_FLIP_PAUSE_MS").map_or(20, |text| text.parse().expect("SEGUE_FLIP_PAUSE_MS is a number"));
    let seed = process::seed();
    println!("SEGUE_SEED={seed} SEGUE_FLIPS={flips} SEGUE_FLIP_PAUSE_MS={pause}");
    let mut stage = Stage::with(|config| {
        config.sources = vec![source("web", SEGMENT_KEY, RUDDER_KEY, "segment-only")];
        // A rule stands above every route.
        let pinned = Conditions { event: Pattern::new("Pinned*"), ..Conditions::default() };
        config.sources[0].rules = vec![Rule { when: pinned, route: "both".parse().unwrap() }];
    })
    .await;
    let client = client(&stage);
    // Revisions that were asked for, and those that were confirmed; 0 is the configuration's.
    let (begun, confirmed, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)), AtomicBool::new(false));
    let sent: Mutex<Vec<Sent>> = Mutex::default();
    let stage_ref = &stage;
    let (begun_ref, confirmed_ref, over_ref, sent_ref) = (&begun, &confirmed, &over, &sent);
    let sender = async |number: u64| {
        for n in 0_u64.. {
            if over_ref.load(Ordering::Relaxed) {
                return;
            }
            let person = format!("person-{seed}-{number}-{}", n % 97);
            let message = format!("m-{number}-{n}");
            let pinned = n % 7 == 3;
            let event = if pinned { "Pinned Step" } else { "Step" };
            let body = format!(
                r#"{{"type":"track","event":"{event}","anonymousId":"{person}","messageId":"{message}","writeKey":"{SEGMENT_KEY}"}}"#
            );
            let lowest = confirmed_ref.load(Ordering::SeqCst);
            let answer = stage_ref.post("/v1/track", &body).await;
            let highest = begun_ref.load(Ordering::SeqCst);
            assert_eq!(answer.status, 200);
            sent_ref.lock().unwrap().push(Sent { message, pinned, bucket: bucket(&person), lowest, highest });
        }
    };
    let flipper = async {
        let mut random = seed;
        let mut shares = BTreeMap::from([(0, Shares { segment: 10_000, rudderstack: 0, verify: 0 })]);
        let mut revision = 0;
        for _ in 0..flips {
            let (route, verify, meaning) = random_route(&mut random);
            // Whatever it will be, it is none lower.
            begun.fetch_add(1, Ordering::SeqCst);
            let changed = flip(&client, "web", &asked(&route, Some(&verify), Some(revision))).await.unwrap();
            if changed.changed {
                revision = changed.sources[0].after.revision;
                shares.insert(revision, meaning);
            }
            begun.store(revision, Ordering::SeqCst);
            confirmed.store(revision, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        over.store(true, Ordering::Relaxed);
        shares
    };
    let (shares, ()) = tokio::join!(flipper, async {
        tokio::join!(sender(0), sender(1), sender(2), sender(3));
    });
    stage.drained().await;
    let (segment, rudder) = (ids(&stage.segment_events()), ids(&stage.rudder_events()));
    let sent = std::mem::take(&mut *sent.lock().unwrap());
    let mut sure = 0;
    let (mut to_segment, mut to_rudder) = (0, 0);
    for event in &sent {
        let is = (segment.contains(&event.message), rudder.contains(&event.message));
        let possible: Vec<(bool, bool)> = shares
            .range(event.lowest..=event.highest)
            .map(|(_, shares)| if event.pinned { (true, true) } else { shares.sides(event.bucket) })
            .collect();
        assert!(possible.contains(&is), "{}: at {is:?}, revisions {}..={} say {possible:?}", event.message, event.lowest, event.highest);
        sure += usize::from(event.lowest == event.highest);
        to_segment += usize::from(is.0);
        to_rudder += usize::from(is.1);
    }
    println!(
        "{} events, {sure} of them between two flips; {to_segment} at Segment, {to_rudder} at RudderStack; {} revisions",
        sent.len(),
        shares.len()
    );
    // Without a pause most events have a flip beside them, and may be on either side of it.
    let sure_min = if pause >= 10 { sent.len() / 2 } else { 0 };
    assert!(sure > sure_min && to_segment > sent.len() / 10 && to_rudder > sent.len() / 10);
    assert_eq!(segment.union(&rudder).count(), sent.len(), "nothing else arrived");

    // Whatever the flips did, each person's events came in order, at each side.
    for (side, events) in [("Segment", stage.segment_events()), ("RudderStack", stage.rudder_events())] {
        let mut last: HashMap<String, u64> = HashMap::new();
        for event in events {
            let number: u64 = event.message_id.rsplit_once('-').unwrap().1.parse().unwrap();
            let before = last.insert(event.anonymous_id.unwrap().to_string(), number);
            assert!(before.is_none_or(|before| before < number), "{side}: {} after {before:?}", event.message_id);
        }
    }

    // The history tells the same, and a restart changes nothing of it.
    let newest = *shares.last_key_value().unwrap().0;
    let before: Routes = client.get("/v1/routes").await.unwrap();
    assert_eq!(before.routes[0].revision, newest);
    stage.restart().await;
    let after: Routes = client.get("/v1/routes").await.unwrap();
    assert_eq!(after.routes, before.routes);
    assert!(after.revision >= before.revision);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::cast_precision_loss, reason = "shares of some thousands")]
async fn a_share_is_of_people_whom_no_login_splits_and_no_growth_moves_back() {
    let people: usize = std::env::var("SEGUE_PEOPLE").map_or(100_000, |text| text.parse().expect("SEGUE_PEOPLE is a number"));
    let seed = process::seed();
    println!("SEGUE_SEED={seed} SEGUE_PEOPLE={people}");
    let stage = Stage::with_route("cutover=25%").await;
    let client = client(&stage);
    // Each is anonymous first, then logs in, and goes on under both ids.
    let step = async |name: &str, logged_in: bool| {
        for batch in (0..people).collect::<Vec<_>>().chunks(500) {
            let event = |n: &usize| {
                let user = if logged_in { format!(r#","userId":"user-{seed}-{n}""#) } else { String::new() };
                format!(r#"{{"type":"track","event":"{name}","anonymousId":"anon-{seed}-{n}"{user},"messageId":"{name}-{n}"}}"#)
            };
            let events: Vec<String> = batch.iter().map(event).collect();
            let body = format!(r#"{{"batch":[{}],"writeKey":"{SEGMENT_KEY}"}}"#, events.join(","));
            assert_eq!(stage.post("/v1/batch", &body).await.status, 200);
        }
    };
    step("before", false).await;
    step("login", true).await;
    flip(&client, "web", &asked("cutover=50%", None, None)).await.unwrap();
    step("grown", true).await;
    let deadline = Instant::now() + Duration::from_mins(2);
    while stage.pending() > 0 {
        assert!(Instant::now() < deadline, "still pending: {}", stage.pending());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let moved = |name: &str| -> BTreeSet<u32> {
        let number = |event: &segue::standin::TakenEvent| event.message_id.strip_prefix(name)?.strip_prefix('-')?.parse().ok();
        stage.rudder_events().iter().filter_map(number).collect()
    };
    let kept = |name: &str| -> usize { stage.segment_events().iter().filter(|event| event.message_id.starts_with(name)).count() };
    let (before, login, grown) = (moved("before"), moved("login"), moved("grown"));
    let share = |moved: &BTreeSet<u32>| moved.len() as f64 / people as f64 * 100.0;
    println!("moved: {:.2} % before, {:.2} % at login, {:.2} % grown", share(&before), share(&login), share(&grown));
    // Half a percent is 3.6 standard deviations of a quarter of that many people, 0.6 as much of a half.
    let tolerance = 0.5_f64.max(350.0 * (0.25 / people as f64).sqrt());
    assert!((share(&before) - 25.0).abs() <= tolerance, "{}", share(&before));
    assert!((share(&grown) - 50.0).abs() <= tolerance * 1.2, "{}", share(&grown));
    assert_eq!(before, login, "nobody is split at login");
    assert!(login.is_subset(&grown), "nobody moves back");
    for (name, moved) in [("before", &before), ("login", &login), ("grown", &grown)] {
        assert_eq!(kept(name) + moved.len(), people, "{name}: each event at exactly one side");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_admins_on_one_source_one_is_refused_and_on_two_both_pass() {
    let stage = Stage::with(|config| {
        config.sources = vec![
            source("web", SEGMENT_KEY, RUDDER_KEY, "segment-only"),
            source("ios", "wk_test_ios_aaaa", "wk_test_ios_bbbb", "segment-only"),
        ];
    })
    .await;
    let client = client(&stage);
    let mut revision = 0;
    for round in 1..=50 {
        let (mine, yours) =
            (asked(&format!("shadow={round}%"), None, Some(revision)), asked(&format!("cutover={round}%"), None, Some(revision)));
        let (first, second) = tokio::join!(flip(&client, "web", &mine), flip(&client, "web", &yours));
        let (won, lost) = match (first, second) {
            (Ok(won), Err(lost)) | (Err(lost), Ok(won)) => (won, lost),
            both => panic!("round {round}: {both:?}"),
        };
        assert_eq!(code(&lost), ProblemCode::Conflict, "{lost}");
        assert!(won.changed && won.sources[0].after.revision > revision);
        revision = won.sources[0].after.revision;
    }
    let (web, ios) = (asked("both", None, Some(revision)), asked("both", None, Some(0)));
    let (first, second) = tokio::join!(flip(&client, "web", &web), flip(&client, "ios", &ios));
    assert!(first.unwrap().changed && second.unwrap().changed);
    // What stands so already changes nothing, and makes no revision.
    let before: Routes = client.get("/v1/routes").await.unwrap();
    assert!(!flip(&client, "web", &asked("both", None, None)).await.unwrap().changed);
    let after: Routes = client.get("/v1/routes").await.unwrap();
    assert_eq!(before, after);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undo_is_a_change_of_its_own_and_goes_back_as_far_as_asked() {
    let mut stage = Stage::with(|config| {
        config.sources = vec![
            source("web", SEGMENT_KEY, RUDDER_KEY, "segment-only"),
            source("ios", "wk_test_ios_aaaa", "wk_test_ios_bbbb", "segment-only"),
            source("tv", "wk_test_tv_aaaa", "wk_test_tv_bbbb", "segment-only"),
        ];
        config.sources[2].rudderstack_key = None;
    })
    .await;
    let client = client(&stage);
    let undo = async |asked: UndoAsked| client.post::<RoutesChanged>("/v1/routes/undo", &asked).await;
    assert_eq!(code(&undo(UndoAsked::default()).await.unwrap_err()), ProblemCode::Refused);
    let refused = flip(&client, "tv", &asked("both", None, None)).await.unwrap_err();
    assert_eq!(code(&refused), ProblemCode::Refused, "{refused}");
    for (source, route) in [("web", "both"), ("ios", "both"), ("web", "cutover=25%")] {
        flip(&client, source, &asked(route, None, None)).await.unwrap();
    }
    let route = async |source: &str| {
        let routes: Routes = client.get("/v1/routes").await.unwrap();
        routes.routes.into_iter().find(|route| route.source == source).map(|route| route.route.route).unwrap()
    };
    let planned = undo(UndoAsked { source: Some("ios".to_owned()), dry_run: true, ..UndoAsked::default() }).await.unwrap();
    assert!(!planned.changed && planned.sources[0].after.route.route == "segment-only" && route("ios").await == "both");
    assert!(undo(UndoAsked::default()).await.unwrap().changed);
    assert_eq!((route("web").await, route("ios").await), ("both".to_owned(), "both".to_owned()));
    // An undo can be undone.
    undo(UndoAsked::default()).await.unwrap();
    assert_eq!(route("web").await, "cutover=25%");
    let back = undo(UndoAsked { to_revision: Some(1), ..UndoAsked::default() }).await.unwrap();
    assert_eq!(back.sources.len(), 2);
    assert_eq!((route("web").await, route("ios").await), ("both".to_owned(), "segment-only".to_owned()));
    let error = undo(UndoAsked { to_revision: Some(999), ..UndoAsked::default() }).await.unwrap_err();
    assert_eq!(code(&error), ProblemCode::BadRequest);
    let history: RouteHistory = client.get("/v1/routes/history?count=3").await.unwrap();
    assert_eq!(history.changes.iter().map(|change| change.revision).collect::<Vec<_>>(), [7, 6, 5]);
    stage.restart().await;
    assert_eq!((route("web").await, route("ios").await), ("both".to_owned(), "segment-only".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_kill_switch_sends_everything_to_segment_holds_the_queues_and_gives_the_routes_back() {
    let mut stage = Stage::with_route("cutover=50%").await;
    let client = client(&stage);
    let file = stage.config.kill_file().unwrap();
    let mut number = 0;
    let mut kinds: HashMap<&str, u64> = HashMap::new();
    for way in ["socket", "file", "file before a start"] {
        // Events that wait for RudderStack while it is switched.
        let down = stage.rudder.faults().add(segue::standin::Rule::always(segue::standin::Fault::status(503)));
        let mut all = BTreeSet::new();
        let mut post = async |stage: &Stage| {
            number += 1;
            let message = format!("k-{number}");
            let body = format!(
                r#"{{"type":"track","event":"Step","anonymousId":"p-{number}","messageId":"{message}","writeKey":"{SEGMENT_KEY}"}}"#
            );
            assert_eq!(stage.post("/v1/track", &body).await.status, 200);
            message
        };
        for _ in 0..20 {
            all.insert(post(&stage).await);
        }
        let begun = Instant::now();
        match way {
            "socket" => {
                let status: KillStatus = client.post("/v1/kill/on", &KillAsked::default()).await.unwrap();
                assert!(status.on && status.changed);
            }
            "file" => std::fs::write(&file, "").unwrap(),
            _ => {
                stage.sidecar.take().unwrap().stop().await;
                std::fs::write(&file, "").unwrap();
                stage.start().await;
            }
        }
        let is_on = async || client.get::<KillStatus>("/v1/kill").await.unwrap().on;
        while !is_on().await {
            assert!(begun.elapsed() < Duration::from_secs(1), "{way}: not on within a second");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stage.rudder.faults().lift(down);
        let waiting = stage.pending();
        assert!(waiting > 0, "{way}: nothing waits");
        let at_rudder = stage.rudder_events().len();
        let mut only = BTreeSet::new();
        for _ in 0..20 {
            only.insert(post(&stage).await);
        }
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert!(only.is_subset(&ids(&stage.segment_events())), "{way}: everything goes to Segment");
        assert_eq!((stage.rudder_events().len(), stage.pending()), (at_rudder, waiting), "{way}: the queue is held");
        // A route that is set meanwhile waits for the switch.
        let route = format!("cutover={}%", 40 + kinds.len());
        flip(&client, "web", &asked(&route, None, None)).await.unwrap();
        only.insert(post(&stage).await);
        // It outlives a restart.
        stage.restart().await;
        assert!(is_on().await, "{way}: after a restart");
        only.insert(post(&stage).await);
        if way == "socket" {
            let status: KillStatus = client.post("/v1/kill/off", &KillAsked::default()).await.unwrap();
            assert!(!status.on && status.changed);
        } else {
            std::fs::remove_file(&file).unwrap();
            let removed = Instant::now();
            while is_on().await {
                assert!(removed.elapsed() < Duration::from_secs(2), "{way}: not off");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        stage.drained().await;
        let routes: Routes = client.get("/v1/routes").await.unwrap();
        assert_eq!(routes.routes[0].route.route, route, "{way}");
        let (segment, rudder) = (ids(&stage.segment_events()), ids(&stage.rudder_events()));
        assert!(only.is_disjoint(&rudder) && only.is_subset(&segment), "{way}: what came meanwhile is Segment's alone");
        assert!(all.iter().all(|id| rudder.contains(id) || segment.contains(id)), "{way}: nothing of the queue is lost");
        kinds.insert(way, waiting);
    }
    println!("events that were held: {kinds:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_app_versions_keep_a_route_of_their_own_and_batches_split() {
    let stage = Stage::with(|config| {
        config.sources[0] = source("web", SEGMENT_KEY, RUDDER_KEY, "rudderstack-only");
        let rule = |when: Conditions, route: &str| Rule { when, route: route.parse().unwrap() };
        let app = |text: &str| Conditions { app: Some(text.parse().unwrap()), ..Conditions::default() };
        config.sources[0].rules = vec![
            rule(app("android < 4.12"), "segment-only"),
            rule(Conditions { event: Pattern::new("Order *"), ..Conditions::default() }, "both"),
        ];
    })
    .await;
    let event = |id: &str, name: &str, context: &str| {
        format!(r#"{{"type":"track","event":"{name}","anonymousId":"p-{id}","messageId":"{id}","context":{context}}}"#)
    };
    let (old, new) = (
        r#"{"app":{"name":"Shop","version":"4.11.9"},"device":{"type":"android"}}"#,
        r#"{"app":{"name":"Shop","version":"4.12.0-beta.1"},"os":{"name":"Android"}}"#,
    );
    // A beta of 4.12 is below it; what tells no version is under no such rule, and is counted.
    let batch = [
        event("old", "Step", old),
        event("beta", "Step", new),
        event("new", "Step", &new.replace("-beta.1", "")),
        event("order", "Order Completed", &new.replace("4.12.0-beta.1", "5.0")),
        event("silent", "Step", r#"{"device":{"type":"android"}}"#),
    ];
    let body = format!(r#"{{"batch":[{}],"writeKey":"{SEGMENT_KEY}"}}"#, batch.join(","));
    assert_eq!(stage.post("/v1/batch", &body).await.status, 200);
    // Go tells its library once for all events of a batch (protocol.md T4), here the app.
    let shared = format!(r#"{{"batch":[{}],"context":{old},"writeKey":"{SEGMENT_KEY}"}}"#, event("folded", "Step", "{}"));
    assert_eq!(stage.post("/v1/batch", &shared).await.status, 200);
    stage.drained().await;
    let set = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(ids(&stage.segment_events()), set(&["old", "beta", "order", "folded"]));
    assert_eq!(ids(&stage.rudder_events()), set(&["new", "order", "silent"]));
    let page = stage.metrics().await;
    assert!(page.contains("segue_events_unversioned_total{source=\"web\"} 1"), "{page}");
    // The kill switch stands above rules, too.
    let _: KillStatus = client(&stage).post("/v1/kill/on", &KillAsked::default()).await.unwrap();
    let body = format!(r#"{{"batch":[{}],"writeKey":"{SEGMENT_KEY}"}}"#, event("late", "Order Completed", new));
    assert_eq!(stage.post("/v1/batch", &body).await.status, 200);
    stage.drained().await;
    assert!(ids(&stage.segment_events()).contains("late") && !ids(&stage.rudder_events()).contains("late"));
}
