//! The dashboard as a person uses it: the whole program in a real terminal, keys pressed, screens read, both vendors' counts looked at.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a story that cannot go on fails")]

mod operator;
mod process;
mod sums;
mod terminal;

use std::time::{Duration, Instant};

use operator::Scene;
use portable_pty::CommandBuilder;
use process::seed;
use terminal::Terminal;

/// For so long after a dialog opened, keys that confirm do nothing.
const DEAD: Duration = Duration::from_millis(450);

#[test]
fn the_demo_opens_the_dashboard_and_loses_nothing() {
    let mut terminal = Terminal::segue(&["demo", "--rate", "100", "--seed", "7"], 120, 36);
    let screen = terminal.until(&["web-checkout", "android-app", "orders-api", "billing-jobs", "Needs attention"]);
    assert!(screen.lines().next().is_some_and(|line| line.contains("segue") && line.contains("VIEW")), "{screen}");
    terminal.until_so("traffic", |screen| screen.lines().next().is_some_and(|line| line.contains("in 1") || line.contains("in 9")));
    for (key, title) in
        [("2", "Sources [4]"), ("5", "Destinations [2]"), ("7", "Lanes ["), ("8", "Audit"), ("?", "Help: the keys"), ("1", "Throughput")]
    {
        terminal.press(key);
        let _ = terminal.until(&[title]);
        if key == "?" {
            terminal.write(b"\x1b");
            terminal.until_so("screen without help", |screen| !screen.contains("Help: the keys"));
        }
    }
    terminal.press("q");
    let status = terminal.ended();
    terminal.is_given_back();
    terminal.until(&["nothing was lost"]);
    assert_eq!(status.exit_code(), 0, "{}", terminal.text());
}

/// Sends so many events from different people.
async fn send(scene: &Scene, name: &str, events: usize) {
    for n in 0..events {
        scene.post(&format!("{name}-{n}"), name).await;
    }
}

/// What both vendors have of events by that name, once nothing waits.
async fn counts(scene: &Scene, name: &str, want: (usize, usize)) {
    let of = |taken: segue::standin::Taken| {
        taken
            .events
            .iter()
            .filter(|event| event.message_id.starts_with(&format!("{name}-")) && event.verdict == segue::standin::Verdict::Accepted)
            .count()
    };
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        let have = (of(scene.segment.taken()), of(scene.rudder.taken()));
        if have == want {
            return;
        }
        assert!(Instant::now() < deadline, "{name}: Segment and RudderStack have {have:?}, not {want:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_is_flipped_and_taken_back_and_both_vendors_see_it() {
    let seed = seed();
    println!("SEGUE_SEED={seed}");
    let scene = Scene::set(seed).await;
    let sums = scene.watch();
    let process = scene.start().await;
    send(&scene, "before", 20).await;
    counts(&scene, "before", (20, 20)).await;

    let socket = scene.socket.to_str().unwrap().to_owned();
    let mut terminal = Terminal::segue(&["top", "--attach", &socket], 80, 24);
    terminal.until(&["web", "both", "VIEW"]);

    // In view mode a route can be planned, and not changed.
    terminal.press("2m");
    terminal.until(&["Change route: web", "j k pick"]);
    terminal.press("jj\r");
    terminal.until(&["Type web", "danger"]);
    // What is pasted is not typed: the name has to be written by hand.
    terminal.write(b"\x1b[200~web\x1b[201~");
    terminal.press("\r");
    terminal.until(&["view mode: W arms changes"]);
    terminal.press("W");
    terminal.until(&["ARMED 15m", "type web first"]);
    terminal.press("y");
    terminal.until(&["type web first"]);
    send(&scene, "not yet", 10).await;
    counts(&scene, "not yet", (10, 10)).await;

    // Typed out and confirmed, the next event goes the new way; a key that comes with the dialog would confirm nothing.
    tokio::time::sleep(DEAD).await;
    terminal.write(b"\x1b[Z");
    terminal.press("web\r");
    terminal.until(&["y confirms"]);
    terminal.press("y");
    terminal.until(&["rev 1: web both -> rudderstack-only"]);
    send(&scene, "flipped", 15).await;
    counts(&scene, "flipped", (0, 15)).await;

    // Undo says what Segment missed, and can send it.
    terminal.press("u");
    terminal.until(&["Undo the newest change", "RudderStack alone got 15 events"]);
    tokio::time::sleep(DEAD).await;
    terminal.press("b");
    terminal.until(&["Undo and backfill"]);
    terminal.press("y");
    terminal.until(&["rev 2: web rudderstack-only -> both"]);
    counts(&scene, "flipped", (15, 15)).await;

    // Two keys send everything to Segment, and need no arming.
    terminal.press("W");
    terminal.until(&["VIEW"]);
    terminal.press("K");
    terminal.until(&["KILL SWITCH: send everything to Segment"]);
    tokio::time::sleep(DEAD).await;
    terminal.press("A");
    terminal.until(&["KILL SWITCH since"]);
    send(&scene, "killed", 10).await;
    counts(&scene, "killed", (10, 0)).await;
    terminal.press("K");
    terminal.until(&["Lift the kill switch"]);
    tokio::time::sleep(DEAD).await;
    terminal.press("y");
    terminal.until(&["kill switch off"]);
    send(&scene, "lifted", 10).await;
    counts(&scene, "lifted", (10, 10)).await;

    // All of it is in the audit.
    terminal.press("8");
    terminal.until(&["kill on", "kill off", "undo", "route", "Audit"]);
    terminal.resize(120, 36);
    terminal.until(&["8 Audit", "3 Diffs", "RudderStack "]);
    terminal.press("q");
    assert_eq!(terminal.ended().exit_code(), 0);
    terminal.is_given_back();
    sums.held().await;
    drop(process);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_that_goes_and_comes_back_is_found_again() {
    let scene = Scene::set(seed()).await;
    let process = scene.start().await;
    send(&scene, "before", 5).await;
    let socket = scene.socket.to_str().unwrap().to_owned();
    let mut terminal = Terminal::segue(&["top", "--operate", "--attach", &socket], 120, 36);
    terminal.until(&["web", "both", "ARMED"]);
    process.kill();
    // Values stay and are dated; nothing can be changed.
    terminal.until(&["DISCONNECTED", "values are from", "STALE", "web", "both"]);
    terminal.press("2m");
    terminal.until(&["not connected: nothing can be changed"]);
    let process = scene.start().await;
    terminal.write(&[0x12]);
    terminal.until_so("live header", |screen| !screen.contains("DISCONNECTED") && screen.contains("live"));
    send(&scene, "after", 5).await;
    terminal.press("m");
    terminal.until(&["Change route: web"]);
    terminal.write(b"\x1b");
    terminal.until_so("screen without the dialog", |screen| !screen.contains("Change route"));
    terminal.press("q");
    assert_eq!(terminal.ended().exit_code(), 0);
    terminal.is_given_back();
    drop(process);
}

#[test]
fn nothing_is_drawn_while_frozen_and_a_small_window_says_what_it_needs() {
    let mut terminal = Terminal::segue(&["demo", "--rate", "100", "--seed", "8"], 100, 30);
    terminal.until(&["web-checkout"]);
    terminal.press("f");
    terminal.until(&["FROZEN"]);
    std::thread::sleep(Duration::from_millis(300));
    let before = terminal.written();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(terminal.written() - before, 0, "bytes while frozen");
    terminal.press("2");
    terminal.until(&["FROZEN", "[2 Src]"]);
    terminal.press("f");
    terminal.until_so("thawed screen", |screen| !screen.contains("FROZEN"));
    // Drawn anew, on a terminal that answers no questions.
    terminal.write(&[0x0c]);
    terminal.until(&["web-checkout", "VIEW"]);
    terminal.resize(50, 10);
    terminal.until(&["is too small"]);
    terminal.resize(80, 24);
    terminal.until(&["web-checkout", "VIEW"]);
    terminal.write(&[0x03]);
    assert_eq!(terminal.ended().exit_code(), 0);
    terminal.is_given_back();
}

#[test]
fn without_a_terminal_or_a_sidecar_it_says_what_to_do() {
    let mut command = process::command();
    let output = command.args(["top", "--attach", "/nowhere/admin.sock"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("segue status --watch --json") && !said.contains('\u{1b}'), "{said}");
    assert!(output.stdout.is_empty());

    let mut terminal = Terminal::segue(&["top", "--attach", "/nowhere/admin.sock"], 80, 24);
    terminal.until(&["no sidecar yet", "segue demo", "there is no socket at"]);
    terminal.press("q");
    assert_eq!(terminal.ended().exit_code(), 0);
    terminal.is_given_back();

    let mut terminal = Terminal::segue(&["top", "--screen", "dance", "--attach", "/nowhere/admin.sock"], 80, 24);
    terminal.until(&["there is no screen", "overview, sources, diffs"]);
    assert_eq!(terminal.ended().exit_code(), 2);
}

/// Run by the test below, in a terminal of its own: a fault in the middle of the dashboard.
#[tokio::test]
#[ignore = "played by the_terminal_is_given_back_after_a_panic"]
async fn a_panic_in_the_dashboard() {
    use segue::tui::{Look, Options, Palette, Signs};
    if std::env::var_os("SEGUE_TEST_PANIC").is_none() {
        return;
    }
    segue::telemetry::guard_panics();
    tokio::spawn(async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        panic!("a fault that was made");
    });
    let look = Look { palette: Palette::Terminal, signs: Signs::Unicode, zone: jiff::tz::TimeZone::UTC };
    let options = Options { socket: "/nowhere/admin.sock".into(), name: "test".to_owned(), look, operate: false, screen: None };
    let error = segue::tui::run(options).await.unwrap_err();
    println!("ended with: {error}");
}

#[test]
fn the_terminal_is_given_back_after_a_panic() {
    let mut command = CommandBuilder::new(std::env::current_exe().unwrap());
    command.args(["--exact", "a_panic_in_the_dashboard", "--ignored", "--nocapture", "--test-threads", "1"]);
    command.env("SEGUE_TEST_PANIC", "1");
    let mut terminal = Terminal::run(command, 100, 30);
    terminal.until(&["no sidecar yet"]);
    terminal.until(&["a fault that was made", "ended with:"]);
    terminal.ended();
    terminal.is_given_back();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_that_never_reads_does_not_slow_the_sidecar() {
    let scene = Scene::set(seed()).await;
    let sums = scene.watch();
    let process = scene.start().await;
    let socket = scene.socket.to_str().unwrap().to_owned();
    let mut viewers: Vec<Terminal> = (0..3).map(|_| Terminal::segue(&["top", "--screen", "tap", "--attach", &socket], 80, 24)).collect();
    for viewer in &viewers {
        viewer.until(&["Live tap"]);
        rustix::process::kill_process(rustix::process::Pid::from_raw(viewer.pid().cast_signed()).unwrap(), rustix::process::Signal::STOP)
            .unwrap();
    }
    let begun = Instant::now();
    send(&scene, "stopped", 300).await;
    counts(&scene, "stopped", (300, 300)).await;
    println!("300 events past three viewers that stand still: {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(20));
    for viewer in &viewers {
        rustix::process::kill_process(rustix::process::Pid::from_raw(viewer.pid().cast_signed()).unwrap(), rustix::process::Signal::CONT)
            .unwrap();
    }
    let mut one = viewers.pop().unwrap();
    one.press("q");
    assert_eq!(one.ended().exit_code(), 0);
    sums.held().await;
    drop(process);
}
