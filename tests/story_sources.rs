//! Sources come and go while the sidecar runs: the configuration is watched, a source gets another name, is taken out, comes back, or is
//! given up for good.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a story that cannot go on fails")]

mod operator;
mod process;
mod sums;

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    time::{Duration, Instant},
};

use operator::{RUDDER_KEY, SEGMENT_KEY, Scene};
use process::{Process, get, metric, ready, seed};
use segue::standin::{Fault, Rule};
use serde_json::Value;

/// Writes a file that only its owner reads, over what is there.
fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn route_of(scene: &Scene, source: &str) -> String {
    let (_, said) = scene.segue(&["route", "get", "--json"]).await;
    let routes: Value = serde_json::from_str(&said).unwrap_or_default();
    let found = routes["routes"].as_array().and_then(|all| all.iter().find(|route| route["name"] == source).cloned());
    found.map_or_else(|| "none".to_owned(), |route| route["configured"]["route"].as_str().unwrap().to_owned())
}

async fn gauge(scene: &Scene, name: &str, labels: &[(&str, &str)]) -> u64 {
    metric(&get(scene.metrics_port, "/metrics").await.unwrap_or_default(), name, labels)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watched_configuration_is_in_force_a_moment_after_it_is_written() {
    let scene = Scene::set(seed()).await;
    let sums = scene.watch();
    let text = fs::read_to_string(&scene.config).unwrap();
    let with = |route: &str| text.replace("route = \"both\"", &format!("route = \"{route}\""));
    let mut command = process::command();
    command.env("SEGUE_RUN_WATCH", "true");
    // As Kubernetes lays a ConfigMap out: the file is a link to a link to a directory of a revision.
    let dir = scene.config.parent().unwrap().to_owned();
    let revision = |name: &str, text: &str| {
        fs::create_dir(dir.join(name)).unwrap();
        write(&dir.join(name).join("sidecar.toml"), text);
    };
    revision("..rev-1", &with("both"));
    symlink("..rev-1", dir.join("..data")).unwrap();
    fs::remove_file(&scene.config).unwrap();
    symlink("..data/sidecar.toml", &scene.config).unwrap();
    let mut process = Process::run_by(command, &scene.config, &scene.log);
    ready(&mut process, scene.metrics_port).await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let (_, said) = scene.segue(&["route", "history"]).await;
    assert!(said.contains("Nothing was changed yet"), "what it started with is no change: {said}");

    // The link is swapped, whole.
    revision("..rev-2", &with("shadow=20%"));
    symlink("..rev-2", dir.join("..new")).unwrap();
    fs::rename(dir.join("..new"), dir.join("..data")).unwrap();
    until("the link was swapped", async || route_of(&scene, "web").await == "shadow=20%").await;
    let (_, said) = scene.segue(&["route", "history"]).await;
    assert!(said.contains("file") && said.contains("reload"), "{said}");

    // The file is replaced, as editors do; then it is written in place, slowly: what is half there is not taken.
    write(&dir.join("edited"), &with("shadow=30%"));
    fs::rename(dir.join("edited"), &scene.config).unwrap();
    until("the file was replaced", async || route_of(&scene, "web").await == "shadow=30%").await;
    let whole = with("shadow=40%");
    let half = whole.find("[[source]]").unwrap();
    write(&scene.config, &whole[..half]);
    tokio::time::sleep(Duration::from_millis(300)).await;
    write(&scene.config, &whole);
    until("the file was written", async || route_of(&scene, "web").await == "shadow=40%").await;
    assert!(!process.said().contains("reload_refused"), "{}", process.said());

    // A wrong one changes nothing, is told once, and can be seen until it is mended.
    write(&scene.config, &whole.replace("route =", "rout ="));
    until("it is refused", async || gauge(&scene, "segue_config_refused", &[]).await == 1).await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(process.said().matches("reload_refused").count(), 1, "{}", process.said());
    let (code, said) = scene.segue(&["status", "--attach", scene.socket.to_str().unwrap()]).await;
    assert!(code == 3 && said.contains("did you mean `route`") && !said.contains(SEGMENT_KEY), "{code} {said}");
    scene.post("meanwhile", "Fine").await;
    fs::remove_file(&scene.config).unwrap();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    scene.post("without a file", "Fine").await;
    write(&scene.config, &with("both"));
    until("it is mended", async || gauge(&scene, "segue_config_refused", &[]).await == 0 && route_of(&scene, "web").await == "both").await;
    let (code, said) = scene.segue(&["status"]).await;
    assert_eq!(code, 0, "{said}");

    // A key in a file of its own is exchanged: the new one is known, the old one no longer.
    let key = dir.join("key");
    write(&key, SEGMENT_KEY);
    let by_file = with("both").replace(&format!("segment_write_key = \"{SEGMENT_KEY}\""), "segment_write_key = { file = \"key\" }");
    write(&scene.config, &by_file);
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    write(&key, "wk_test_admin_segment_next");
    until("the key was exchanged", async || {
        scene.post("probe", "Fine").await;
        gauge(&scene, "segue_unknown_write_keys_total", &[]).await > 0
    })
    .await;
    sums.held().await;
    drop(process);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_under_another_name_keeps_everything() {
    let scene = Scene::set(seed()).await;
    let sums = scene.watch();
    let process = scene.start().await;
    scene.rudder.faults().add(Rule::always(Fault::status(400)).for_event("Poison"));
    scene.post("bad", "Poison").await;
    scene.until("it is refused", "segue_quarantine_events", |events| events == 1).await;
    assert_eq!(scene.segue(&["route", "set", "web", "shadow=30%", "--yes"]).await.0, 0);
    assert_eq!(scene.segue(&["hold", "set", "web", "rudderstack", "--yes"]).await.0, 0);
    for n in 0..50 {
        scene.post(&format!("waits-{n}"), "Fine").await;
    }
    let waiting = scene.count("segue_queue_events").await;
    assert!(waiting > 5, "{waiting}");

    // With its id it is the same source.
    let text = fs::read_to_string(&scene.config).unwrap();
    write(&scene.config, &text.replace("name = \"web\"", "name = \"web-checkout\"\nid = \"web\""));
    let (code, said) = scene.segue(&["reload"]).await;
    assert!(code == 0 && !said.contains("new source"), "{code} {said}");
    let (_, said) = scene.segue(&["route", "get", "web-checkout"]).await;
    assert!(said.contains("web-checkout") && said.contains("shadow=30%"), "{said}");
    assert_eq!(scene.count("segue_queue_events").await, waiting);
    let (_, said) = scene.segue(&["quarantine", "ls", "--json"]).await;
    assert!(said.contains("\"source\":\"web\""), "{said}");
    scene.post("after", "Fine").await;
    assert_eq!(scene.segue(&["hold", "release", "web-checkout", "rudderstack", "--yes"]).await.0, 0);
    scene.until("what waited is sent", "segue_queue_events", |pending| pending == 0).await;

    // Without, it is another one, and that is said with the way back.
    write(&scene.config, &text.replace("name = \"web\"", "name = \"shop\""));
    let (code, said) = scene.segue(&["reload"]).await;
    assert!(code == 0 && said.contains("shop has the Segment key that web had, and is a new source"), "{code} {said}");
    assert!(said.contains("id = \"web\" in [[source]] \"shop\""), "{said}");
    sums.held().await;
    drop(process);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_source_that_is_gone_comes_with_it_or_is_given_up_on_the_record() {
    let scene = Scene::set(seed()).await;
    let sums = scene.watch();
    let mut process = scene.start().await;
    let text = fs::read_to_string(&scene.config).unwrap();
    let other = text.replace("name = \"web\"", "name = \"other\"").replace(SEGMENT_KEY, "wk_test_admin_segment_other");
    let other = other.replace(RUDDER_KEY, "wk_test_admin_rudder_other");
    let down = scene.rudder.faults().add(Rule::always(Fault::status(503)));
    for n in 0..20 {
        scene.post(&format!("first-{n}"), "Fine").await;
    }

    // A configured source has nothing to give up.
    let (code, said) = scene.segue(&["purge", "web", "--yes-i-mean-it", "web"]).await;
    assert!(code == 4 && said.contains("web is in the configuration") && said.contains("Nothing was changed"), "{code} {said}");

    // Taken out, its events wait, and that is seen; put back, they are sent.
    write(&scene.config, &other);
    assert_eq!(scene.segue(&["reload"]).await.0, 0);
    scene.rudder.faults().lift(down);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(scene.count("segue_queue_events").await, 20, "nobody delivers them");
    let (code, said) = scene.segue(&["status"]).await;
    assert!(code == 3 && said.contains("web is not configured for RudderStack any more"), "{code} {said}");
    write(&scene.config, &text);
    assert_eq!(scene.segue(&["reload"]).await.0, 0);
    scene.until("they come with it", "segue_queue_events", |pending| pending == 0).await;
    assert_eq!(scene.rudder.taken().events.len(), 20);

    // Given up for good: that has to be said twice, is on the record, and outlives kill -9.
    let down = scene.rudder.faults().add(Rule::always(Fault::status(503)));
    scene.rudder.faults().add(Rule::always(Fault::status(400)).for_event("Poison"));
    for n in 0..30 {
        scene.post(&format!("second-{n}"), "Fine").await;
    }
    write(&scene.config, &other);
    assert_eq!(scene.segue(&["reload"]).await.0, 0);
    let (code, said) = scene.segue(&["purge", "web", "--dry-run"]).await;
    assert!(code == 0 && said.contains("30 events that waited") && said.contains("Nothing was changed"), "{code} {said}");
    for arguments in [&["purge", "web"][..], &["purge", "web", "--yes-i-mean-it", "wbe"]] {
        let (code, said) = scene.segue(arguments).await;
        assert!(code == 2 && said.contains("has to name its source twice"), "{code} {said}");
    }
    let (code, said) = scene.segue(&["purge", "web", "--yes-i-mean-it", "web", "--reason", "moved away"]).await;
    process.kill();
    assert!(code == 0 && said.contains("Given up: 30 events that waited"), "{code} {said}");
    process = scene.start().await;
    assert_eq!((scene.count("segue_queue_events").await, scene.count("segue_events_purged_total").await), (0, 30));
    let (_, said) = scene.segue(&["route", "history"]).await;
    assert!(said.contains("purge       web  \"moved away\""), "{said}");
    assert_eq!(scene.segue(&["audit", "verify"]).await.0, 0);

    // Should it come back all the same, it begins anew.
    scene.rudder.faults().lift(down);
    write(&scene.config, &text);
    assert_eq!(scene.segue(&["reload"]).await.0, 0);
    scene.post("third", "Fine").await;
    scene.until("it is delivered", "segue_events_delivered_total", |delivered| delivered == 21).await;
    assert_eq!(scene.rudder.taken().events.len(), 21);

    // The same without a restart in between: the lane that was given up is opened again.
    let down = scene.rudder.faults().add(Rule::always(Fault::status(503)));
    scene.post("fourth", "Fine").await;
    write(&scene.config, &other);
    assert_eq!(scene.segue(&["reload"]).await.0, 0);
    let (code, said) = scene.segue(&["purge", "web", "--yes-i-mean-it", "web"]).await;
    assert!(code == 0 && said.contains("Given up: 1 events"), "{code} {said}");
    scene.rudder.faults().lift(down);
    write(&scene.config, &text);
    assert_eq!(scene.segue(&["reload"]).await.0, 0);
    scene.post("fifth", "Fine").await;
    scene.until("it is delivered", "segue_events_delivered_total", |delivered| delivered == 22).await;
    sums.held().await;
    drop(process);
}
