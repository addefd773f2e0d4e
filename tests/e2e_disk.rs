//! The real binary on real disks that fill up, lose what they said they wrote, become read-only, or are taken already.
//!
//! Small file systems are mounted for it, which takes root; without it those stories are skipped with a word, and fail when CI is set.
//! `SEGUE_FULL_ROUNDS` sets how often the disk is filled (100), `SEGUE_SEED` repeats a run.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a story that cannot go on fails, with what the sidecar said")]

mod fault_disk;
mod fault_scene;
mod process;
mod stage;
mod sums;

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use fault_scene::{APP_KEY, APP_RUDDER_KEY, padding};
use http::{HeaderMap, Method};
use process::{Process, free_ports, get, metric};
use segue::{
    standin::{Fault, Key, Options, RudderStandin, Rule, SegmentStandin, Standin, Verdict},
    upstream::{Call, Upstream},
};
use stage::{RUDDER_KEY, SEGMENT_KEY, plain_client};
use sums::Sums;

/// Mounts of this story. They go when it ends, however it ends.
#[derive(Default)]
struct Mounts(Vec<PathBuf>);

impl Mounts {
    fn mount(&mut self, arguments: &[&str], at: &Path) {
        fs::create_dir_all(at).unwrap();
        run("mount", &[arguments, &[at.to_str().unwrap()]].concat());
        self.0.push(at.to_owned());
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        for at in self.0.iter().rev() {
            // Lazily: a sidecar that is about to die must not keep it.
            let _ = Command::new("umount").arg("-l").arg(at).status();
        }
    }
}

fn run(program: &str, arguments: &[&str]) {
    let ended = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(ended.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&ended.stderr));
}

/// Whether file systems can be mounted here. With CI set they must be.
fn can_mount(needs: &[&str]) -> bool {
    let has = |program: &&&str| {
        Command::new(**program).arg("--version").output().or_else(|_| Command::new(**program).arg("-V").output()).is_err()
    };
    let missing: Vec<_> = needs.iter().filter(has).collect();
    let is_root = rustix::process::geteuid().is_root();
    if is_root && missing.is_empty() {
        return true;
    }
    let why = if is_root { format!("{missing:?} missing") } else { "not root".to_owned() };
    assert!(std::env::var_os("CI").is_none(), "no file system can be mounted here: {why}");
    println!("skipped: no file system can be mounted here: {why}");
    false
}

/// Both vendors, an app, and the binary in between.
struct Scene {
    segment: Standin,
    rudder: Standin,
    config: PathBuf,
    log: PathBuf,
    port: u16,
    metrics_port: u16,
    client: Upstream,
    app: Arc<App>,
    dir: tempfile::TempDir,
}

#[derive(Default)]
struct App {
    /// Acknowledged: to both vendors, to RudderStack alone.
    web: Mutex<BTreeSet<String>>,
    alone: Mutex<BTreeSet<String>>,
    sent: AtomicU64,
    refused: AtomicU64,
    unanswered: AtomicU64,
    ending: AtomicBool,
}

impl Scene {
    /// `data`: where the journal is; None: beside the configuration. `size_max` may be more than there is.
    async fn set(data: Option<&Path>, size_max: &str, volume_size: &str) -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let options = |keys: [&str; 2]| Options { keys: keys.map(Key::enabled).to_vec(), ..Options::default() };
        let segment = SegmentStandin::start(options([SEGMENT_KEY, APP_KEY])).await.unwrap();
        let rudder = RudderStandin::start(options([RUDDER_KEY, APP_RUDDER_KEY])).await.unwrap();
        let [port, metrics_port] =
            free_ports(process::seed() ^ u64::from(std::process::id()) ^ dir.path().as_os_str().len() as u64 ^ stamp(dir.path()));
        let data = data.map_or_else(|| dir.path().join("data"), Path::to_owned);
        let text = format!(
            "listen = \"127.0.0.1:{port}\"\nmetrics = \"127.0.0.1:{metrics_port}\"\n\
             [journal]\ndir = \"{data}\"\nsize_max = \"{size_max}\"\nvolume_size = \"{volume_size}\"\nkeep_delivered = \"0s\"\n\
             [limits]\nbody_bytes_max = \"64KiB\"\ninflated_bytes_max = \"64KiB\"\n\
             [segment]\nurl = \"{segment}\"\neu_url = \"{segment}\"\ncdn_url = \"{segment}\"\ncdn_settings_url = \"{segment}\"\n\
             [segment.retry]\nfirst = \"20ms\"\nmax = \"100ms\"\n\
             [rudderstack]\nurl = \"{rudder}\"\n[rudderstack.retry]\nfirst = \"20ms\"\nmax = \"100ms\"\n\
             [[source]]\nname = \"web\"\nsegment_write_key = \"{SEGMENT_KEY}\"\nrudderstack_write_key = \"{RUDDER_KEY}\"\nroute = \"both\"\n\
             [[source]]\nname = \"app\"\nsegment_write_key = \"{APP_KEY}\"\nrudderstack_write_key = \"{APP_RUDDER_KEY}\"\nroute = \"rudderstack-only\"\n",
            data = data.display(),
            segment = segment.url(),
            rudder = rudder.url(),
        );
        let (config, log) = (dir.path().join("sidecar.toml"), dir.path().join("log"));
        fs::write(&config, text).unwrap();
        let client = plain_client(&format!("http://127.0.0.1:{port}"));
        Self { segment, rudder, config, log, port, metrics_port, client, app: Arc::default(), dir }
    }

    async fn start(&self) -> Process {
        let mut process = Process::run(&self.config, &self.log);
        process::ready(&mut process, self.metrics_port).await;
        process
    }

    fn sums(&self) -> Sums {
        Sums::watch(([127, 0, 0, 1], self.metrics_port).into())
    }

    /// Sends one event; true: 200. Whatever is not 200, 429 or silence ends the story.
    async fn send(&self, is_app: bool) -> bool {
        send(&self.client, &self.app, is_app).await
    }

    async fn kept_again(&self, process: &mut Process, patience: Duration) {
        let deadline = Instant::now() + patience;
        while !self.send(true).await {
            process.assert_running();
            assert!(Instant::now() < deadline, "nothing is kept within {patience:?}:\n{}", process.said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn pending(&self) -> u64 {
        get(self.metrics_port, "/metrics").await.map_or(u64::MAX, |text| metric(&text, "segue_queue_events", &[]))
    }

    async fn drained(&self, process: &mut Process) {
        let deadline = Instant::now() + Duration::from_mins(1);
        while self.pending().await > 0 {
            process.assert_running();
            assert!(Instant::now() < deadline, "{} are still pending:\n{}", self.pending().await, process.said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Everything acknowledged arrived as it was sent. A copy for RudderStack that was given up when Segment was asked live is
    /// owned up to.
    fn judge(&self, unjournalled: u64) {
        let (segment, rudder) = (arrived(&self.segment), arrived(&self.rudder));
        let (web, app) = (self.app.web.lock().unwrap(), self.app.alone.lock().unwrap());
        let lost: Vec<_> = app.iter().filter(|id| !rudder.contains(*id)).collect();
        assert!(lost.is_empty(), "{} of {} acknowledged and not at RudderStack: {:?}", lost.len(), app.len(), &lost[..lost.len().min(5)]);
        let lost: Vec<_> = web.iter().filter(|id| !segment.contains(*id)).collect();
        assert!(lost.is_empty(), "{} of {} acknowledged and not at Segment: {:?}", lost.len(), web.len(), &lost[..lost.len().min(5)]);
        let given_up = web.iter().filter(|id| !rudder.contains(*id)).count() as u64;
        assert!(given_up <= unjournalled, "{given_up} lack at RudderStack, {unjournalled} are owned up to");
        println!(
            "{} acknowledged for both, {} for RudderStack, {} refused, {given_up} at Segment alone",
            web.len(),
            app.len(),
            self.app.refused.load(Ordering::Relaxed)
        );
    }

    async fn unjournalled(&self) -> u64 {
        let text = get(self.metrics_port, "/metrics").await.unwrap();
        let name = text
            .lines()
            .find_map(|line| line.split(['{', ' ']).next().filter(|name| name.contains("unjournalled") && !name.starts_with('#')));
        name.map_or(0, |name| metric(&text, name, &[]))
    }
}

fn stamp(path: &Path) -> u64 {
    path.to_string_lossy().bytes().fold(7, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)))
}

async fn send(client: &Upstream, app: &App, is_app: bool) -> bool {
    let id = format!("d-{}", app.sent.fetch_add(1, Ordering::Relaxed));
    let key = if is_app { APP_KEY } else { SEGMENT_KEY };
    let body = format!(
        r#"{{"type":"track","event":"Step","userId":"u-{id}","messageId":"{id}","timestamp":"2026-01-02T03:04:05.678Z","properties":{{"padding":"{}","more":"{}"}},"writeKey":"{key}"}}"#,
        padding(&id),
        "x".repeat(4000)
    );
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/json".parse().unwrap());
    let call = Call { method: Method::POST, path: "/v1/track".into(), headers, body: Bytes::from(body) };
    match client.send(call).await.map(|answer| answer.status.as_u16()) {
        Ok(200) => {
            let acked = if is_app { &app.alone } else { &app.web };
            acked.lock().unwrap().insert(id);
            true
        }
        Ok(429) => {
            app.refused.fetch_add(1, Ordering::Relaxed);
            false
        }
        Ok(other) => panic!("{id} was answered with {other}"),
        Err(_) => {
            app.unanswered.fetch_add(1, Ordering::Relaxed);
            false
        }
    }
}

fn arrived(standin: &Standin) -> BTreeSet<String> {
    let events = standin.taken().events;
    let accepted = events.iter().filter(|event| event.verdict == Verdict::Accepted);
    accepted
        .map(|event| {
            let id = event.message_id.to_string();
            let json = event.json.as_deref().unwrap_or_default();
            assert!(json.is_empty() || json.contains(&padding(&id)), "{id} arrived changed");
            id
        })
        .collect()
}

/// Some connections that send for as long as the story goes on.
fn load(scene: &Scene, connections: usize) -> Vec<tokio::task::JoinHandle<()>> {
    let one = |index: usize| {
        let (client, app) = (scene.client.clone(), Arc::clone(&scene.app));
        tokio::spawn(async move {
            while !app.ending.load(Ordering::Relaxed) {
                if !send(&client, &app, index.is_multiple_of(2)).await {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
    };
    (0..connections).map(one).collect()
}

/// Writes until there is no space at all.
fn fill(path: &Path) {
    let mut file = File::options().append(true).create(true).open(path).unwrap();
    for size in [64 << 10, 4096, 512] {
        let chunk = vec![7; size];
        while file.write_all(&chunk).is_ok() {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_a_hundred_times_loses_nothing_and_everything_resumes_by_itself() {
    if !can_mount(&["mount"]) {
        return;
    }
    let rounds: u64 = std::env::var("SEGUE_FULL_ROUNDS").map_or(100, |text| text.parse().unwrap());
    let mut mounts = Mounts::default();
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let disk = place.path().join("disk");
    mounts.mount(&["-t", "tmpfs", "-o", "size=8m", "tmpfs"], &disk);
    let scene = Scene::set(Some(&disk.join("data")), "64MiB", "256KiB").await;
    let mut process = scene.start().await;
    let sums = scene.sums();
    let workers = load(&scene, 6);
    // The newest volume always stays: there is one to use again only once there are two.
    let volumes = || {
        fs::read_dir(disk.join("data"))
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("volume-"))
            .count()
    };
    wait(&mut process, Duration::from_secs(20), || volumes() >= 2, "a second volume").await;
    let ballast = disk.join("ballast");
    let (mut drained_full, start) = (0, Instant::now());
    for round in 0..rounds {
        let down = scene.rudder.faults().add(Rule::always(Fault::status(503)));
        fill(&ballast);
        let (refused, deadline) = (scene.app.refused.load(Ordering::Relaxed), Instant::now() + Duration::from_secs(20));
        while scene.app.refused.load(Ordering::Relaxed) == refused {
            process.assert_running();
            fill(&ballast);
            assert!(Instant::now() < deadline, "round {round}: a full disk takes everything");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Either the vendor comes back while the disk stays full, or there is space again while the vendor stays away.
        if round % 2 == 0 {
            let before = scene.rudder.counts().distinct;
            scene.rudder.faults().lift(down);
            wait(&mut process, Duration::from_secs(20), || scene.rudder.counts().distinct > before + 20, "draining on a full disk").await;
            drained_full += 1;
        } else {
            fs::remove_file(&ballast).unwrap();
        }
        let kept = scene.app.alone.lock().unwrap().len();
        wait(
            &mut process,
            Duration::from_secs(20),
            || scene.app.alone.lock().unwrap().len() > kept,
            &format!("round {round}: ingest resumes"),
        )
        .await;
        scene.rudder.faults().lift(down);
        let _ = fs::remove_file(&ballast);
    }
    scene.app.ending.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.await.unwrap();
    }
    scene.drained(&mut process).await;
    println!("full {rounds} times in {:?}, drained {drained_full} times while it was full", start.elapsed());
    let unjournalled = scene.unjournalled().await;
    sums.held().await;
    assert!(process.stop(Duration::from_secs(15)).await.success());
    scene.judge(unjournalled);
    assert_eq!(scene.app.unanswered.load(Ordering::Relaxed), 0, "somebody got no answer");
}

async fn wait(process: &mut Process, patience: Duration, mut holds: impl FnMut() -> bool, what: &str) {
    let deadline = Instant::now() + patience;
    while !holds() {
        process.assert_running();
        assert!(Instant::now() < deadline, "{what}: not within {patience:?}\n{}", process.said());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A file system on an image that has less room than it believes: syncs fail, then say yes, and the data is gone (reliability.md
/// section 0). What was acknowledged before is there after the process was killed and the cache dropped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_whose_syncs_fail_and_then_say_yes_never_gets_a_false_ack_out_of_it() {
    if !can_mount(&["mount", "mkfs.ext4", "losetup"]) {
        return;
    }
    let mut mounts = Mounts::default();
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (below, disk) = (place.path().join("below"), place.path().join("disk"));
    mounts.mount(&["-t", "tmpfs", "-o", "size=12m", "tmpfs"], &below);
    let image = below.join("img");
    File::create(&image).unwrap().set_len(64 << 20).unwrap();
    run("mkfs.ext4", &["-q", image.to_str().unwrap()]);
    mounts.mount(&["-o", "loop", image.to_str().unwrap()], &disk);

    let scene = Scene::set(Some(&disk.join("data")), "40MiB", "1MiB").await;
    let mut process = scene.start().await;
    let sums = scene.sums();
    let down = scene.rudder.faults().add(Rule::always(Fault::status(503)));
    let workers = load(&scene, 6);
    let failed = |text: &str| metric(text, "segue_journal_errors_total", &[("kind", "commit")]);
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        process.assert_running();
        let text = get(scene.metrics_port, "/metrics").await.unwrap();
        if failed(&text) > 0 && scene.app.refused.load(Ordering::Relaxed) > 20 {
            println!("{} commits failed, {} refused", failed(&text), scene.app.refused.load(Ordering::Relaxed));
            break;
        }
        assert!(Instant::now() < deadline, "no sync failed:\n{text}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // It goes on for a while on the broken disk, which says yes now and then.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let unjournalled = scene.unjournalled().await;
    scene.app.ending.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.await.unwrap();
    }
    process.assert_running();
    process.kill();
    // What the system remembers is not what the disk has.
    fs::write("/proc/sys/vm/drop_caches", "1").unwrap();
    run("mount", &["-o", "remount,size=80m", below.to_str().unwrap()]);
    // As after a reboot: the file system is mounted anew.
    run("umount", &[disk.to_str().unwrap()]);
    run("mount", &["-o", "loop", image.to_str().unwrap(), disk.to_str().unwrap()]);
    scene.rudder.faults().lift(down);
    let mut process = scene.start().await;
    scene.kept_again(&mut process, Duration::from_secs(10)).await;
    scene.drained(&mut process).await;
    sums.held().await;
    assert!(process.stop(Duration::from_secs(15)).await.success());
    // What was relayed since the last look is given up, too.
    scene.judge(unjournalled + 1000);
}

/// A file system that gives up and becomes read-only under the sidecar: what it holds is delivered, by this process and by the next
/// one, and once it can be written again so does segue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_becomes_read_only_is_drained_from_and_found_well_after_the_repair() {
    if !can_mount(&["mount", "mkfs.ext4", "losetup"]) {
        return;
    }
    let mut mounts = Mounts::default();
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (image, disk) = (place.path().join("img"), place.path().join("disk"));
    File::create(&image).unwrap().set_len(32 << 20).unwrap();
    run("mkfs.ext4", &["-q", image.to_str().unwrap()]);
    mounts.mount(&["-o", "loop", image.to_str().unwrap()], &disk);
    let scene = Scene::set(Some(&disk.join("data")), "16MiB", "256KiB").await;
    let mut process = scene.start().await;
    let sums = scene.sums();
    let down = scene.rudder.faults().add(Rule::always(Fault::status(503)));
    for _ in 0..100 {
        assert!(scene.send(true).await && scene.send(false).await);
    }
    // What ext4 does by itself when it finds an error in its journal.
    run("mount", &["-o", "remount,abort", disk.to_str().unwrap()]);
    let deadline = Instant::now() + Duration::from_secs(20);
    while scene.app.refused.load(Ordering::Relaxed) == 0 {
        process.assert_running();
        assert!(Instant::now() < deadline, "a read-only disk takes everything");
        scene.send(true).await;
    }
    assert!(scene.send(false).await, "Segment would have taken it");
    let unjournalled = scene.unjournalled().await;
    process.kill();

    // The next one finds it so: not ready, but at work.
    let mut process = Process::run(&scene.config, &scene.log);
    let deadline = Instant::now() + Duration::from_secs(20);
    while get(scene.metrics_port, "/healthz").await.is_none() {
        process.assert_running();
        assert!(Instant::now() < deadline, "it does not start on a read-only disk:\n{}", process.said());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!scene.send(true).await && scene.send(false).await, "refused and relayed");
    assert!(get(scene.metrics_port, "/readyz").await.is_none(), "it says that it is ready");
    scene.rudder.faults().lift(down);
    scene.drained(&mut process).await;
    let unjournalled = unjournalled + scene.unjournalled().await;
    process.kill();

    run("umount", &[disk.to_str().unwrap()]);
    run("mount", &["-o", "loop", image.to_str().unwrap(), disk.to_str().unwrap()]);
    let mut process = scene.start().await;
    scene.kept_again(&mut process, Duration::from_secs(10)).await;
    scene.drained(&mut process).await;
    sums.held().await;
    assert!(process.stop(Duration::from_secs(15)).await.success());
    scene.judge(unjournalled);
}

/// A file size limit is an error of the disk and not the end: SIGXFSZ kills nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_size_limit_is_answered_and_survived() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let scene = Scene::set(None, "64MiB", "256KiB").await;
    let mut process = scene.start().await;
    let sums = scene.sums();
    scene.kept_again(&mut process, Duration::from_secs(5)).await;
    let pid = Pid::from_raw(i32::try_from(process.pid()).unwrap()).unwrap();
    prlimit(Some(pid), Resource::Fsize, Rlimit { current: Some(2048), maximum: None }).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while scene.app.refused.load(Ordering::Relaxed) < 5 {
        process.assert_running();
        assert!(Instant::now() < deadline, "files grow beyond their limit");
        scene.send(true).await;
        assert!(scene.send(false).await, "Segment would have taken it");
    }
    prlimit(Some(pid), Resource::Fsize, Rlimit { current: None, maximum: None }).unwrap();
    scene.kept_again(&mut process, Duration::from_secs(10)).await;
    scene.drained(&mut process).await;
    let unjournalled = scene.unjournalled().await;
    sums.held().await;
    assert!(process.stop(Duration::from_secs(15)).await.success());
    scene.judge(unjournalled);
}

/// A second process on one directory is refused, and the first one does not notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_on_one_directory_is_refused_and_a_newer_format_too() {
    let scene = Scene::set(None, "64MiB", "256KiB").await;
    let mut process = scene.start().await;
    scene.kept_again(&mut process, Duration::from_secs(5)).await;
    let text = fs::read_to_string(&scene.config).unwrap();
    let other = scene.dir.path().join("other.toml");
    fs::write(&other, text.replace(&format!(":{}\"", scene.port), ":0\"").replace(&format!(":{}\"", scene.metrics_port), ":0\"")).unwrap();
    let second = |config: &Path| process::command().arg("run").arg("--config").arg(config).output().unwrap();
    for _ in 0..3 {
        let ended = second(&other);
        let said = String::from_utf8_lossy(&ended.stderr).into_owned() + &String::from_utf8_lossy(&ended.stdout);
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(said.contains("in use by another segue") && said.contains("data"), "{said}");
    }
    process.assert_running();
    assert!(scene.send(true).await && scene.send(false).await, "the first one was disturbed");
    scene.drained(&mut process).await;
    assert!(process.stop(Duration::from_secs(15)).await.success());
    scene.judge(0);

    // The next version of the format, in the identity's header.
    let id = scene.dir.path().join("data/journal.id");
    let whole = fs::read(&id).unwrap();
    let mut newer = whole.clone();
    newer[8] = 99;
    let crc = crc32fast::hash(&newer[..60]);
    newer[60..64].copy_from_slice(&crc.to_le_bytes());
    fs::write(&id, &newer).unwrap();
    let ended = second(&other);
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("journal.id has format 99") && said.contains("use the newer segue, or another data directory"), "{said}");
    assert!(fs::read(&id).unwrap() == newer, "a refused directory was changed");
    fs::write(&id, whole).unwrap();
    let mut process = scene.start().await;
    scene.kept_again(&mut process, Duration::from_secs(5)).await;
    assert!(process.stop(Duration::from_secs(15)).await.success());
}
