//! Trust, as `segue certs` hands it out: with exactly the lines that it prints real runtimes reach segue, without them they fail
//! closed; an authority is exchanged for the next one under load, and nobody is cut off.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails")]
#![allow(clippy::panic, reason = "a story that cannot go on fails, with what was said")]

mod process;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use process::{Process, clean, command, free_ports, ready, seed};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::TlsConnector;

/// A running sidecar with a local CA of its own.
struct Scene {
    home: PathBuf,
    certs: PathBuf,
    tls_port: u16,
    _sidecar: Process,
    _dir: tempfile::TempDir,
}

impl Scene {
    async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().canonicalize().unwrap();
        let [plain_port, tls_port, metrics_port] = free_ports(seed());
        let config = home.join("sidecar.toml");
        fs::write(
            &config,
            format!(
                "listen = \"127.0.0.1:{plain_port}\"\nlisten_tls = \"127.0.0.1:{tls_port}\"\nmetrics = \"127.0.0.1:{metrics_port}\"\n\
                 [tls]\ndir = \"certs\"\nnames = [\"api.segment.io\"]\n[journal]\ndir = \"data\"\nsize_max = \"256MiB\"\nvolume_size = \"8MiB\"\n\
                 [segment]\nurl = \"http://127.0.0.1:9\"\ncdn_url = \"http://127.0.0.1:9\"\n\
                 [[source]]\nname = \"web\"\nsegment_write_key = \"wk_test_trust_0000001\"\nroute = \"segment-only\"\n"
            ),
        )
        .unwrap();
        fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
        let scene = |sidecar| Self { certs: home.join("certs"), home: home.clone(), tls_port, _sidecar: sidecar, _dir: dir };
        let made = segue(&home, &["certs", "init"]);
        assert!(made.status.success(), "{}", said(&made));
        let mut sidecar = Process::run(&config, &home.join("log"));
        ready(&mut sidecar, metrics_port).await;
        scene(sidecar)
    }

    fn segue(&self, arguments: &[&str]) -> Output {
        segue(&self.home, arguments)
    }

    /// What the command prints, when it goes well.
    fn told(&self, arguments: &[&str]) -> String {
        let output = self.segue(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, arguments: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.told(&[arguments, &["--json"]].concat())).unwrap()
    }

    /// The lines `NAME=value` that `certs export` prints for the runtime, as an env file or a shell has them.
    fn environment(&self, runtime: &str) -> Vec<(String, String)> {
        let lines = self.told(&["certs", "export", "--for", runtime]);
        let is_variable = |name: &str| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        let pairs = lines.lines().filter_map(|line| line.split_once('=')).filter(|(name, _)| is_variable(name));
        pairs.map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned())).collect()
    }

    fn url(&self) -> String {
        format!("https://localhost:{}/nothing", self.tls_port)
    }
}

fn segue(home: &Path, arguments: &[&str]) -> Output {
    command().args(arguments).current_dir(home).env("HOME", home).stdin(std::process::Stdio::null()).output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The program, which must be there: `scripts/test` installs it.
fn run(program: &str, arguments: &[&str], environment: &[(String, String)]) -> Output {
    let mut command = clean(Command::new(program));
    command.env_remove("JAVA_TOOL_OPTIONS").args(arguments).envs(environment.iter().map(|(name, value)| (name, value)));
    command.output().unwrap_or_else(|error| panic!("{program}, which scripts/test installs: {error}"))
}

/// Whether a program is there that is too large for `scripts/test` to install: Java's.
fn is_there(program: &str) -> bool {
    let is_there = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(|dir| dir.join(program).is_file());
    if !is_there {
        println!("SKIPPED: {program} is not there; Java is not asked");
    }
    is_there
}

/// A refusal must be one of the certificate, not a script that failed.
fn assert_refused(who: &str, output: &Output) {
    let said = said(output);
    assert!(!output.status.success(), "{who} took it: {said}");
    let words = ["certif", "CERT", "verif", "permitted", "path length", "PKIX"];
    assert!(words.iter().any(|word| said.contains(word)), "{who} failed otherwise: {said}");
}

const NODE: &str = "require('https').get(process.argv[1], answer => { answer.resume(); console.log(answer.statusCode); }).on('error', error => { console.error(error.code, error.message); process.exit(1); });";
const URLLIB: &str = "
import sys, urllib.request, urllib.error
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=10).status)
except urllib.error.HTTPError as error:
    print(error.code)
";
const REQUESTS: &str = "import sys, requests; print(requests.get(sys.argv[1], timeout=10).status_code)";
const JAVA: &str = "
import java.net.URI;
import java.net.http.*;
public class Ask {
    public static void main(String[] arguments) throws Exception {
        var request = HttpRequest.newBuilder(URI.create(arguments[0])).build();
        System.out.println(HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString()).statusCode());
    }
}
";

/// Python with requests: the one that `scripts/test` sets up, else the system's.
fn python() -> String {
    let dir = std::env::var_os("SEGUE_TEST_SDKS").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/sdk"), PathBuf::from);
    let own = dir.join("python/bin/python");
    if own.exists() { own.to_str().unwrap().to_owned() } else { "python3".to_owned() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_runtime_trusts_as_the_lines_say_and_fails_closed_without_them() {
    let scene = Scene::open().await;
    let (url, python) = (scene.url(), python());
    let java = scene.home.join("Ask.java");
    fs::write(&java, JAVA).unwrap();
    let java = java.to_str().unwrap().to_owned();
    let mut asks: Vec<(&str, &str, Vec<&str>)> = vec![
        ("node", "node", vec!["-e", NODE, &url]),
        ("python", &python, vec!["-c", URLLIB, &url]),
        ("python", &python, vec!["-c", REQUESTS, &url]),
        ("curl", "curl", vec!["-sS", "-o", "/dev/null", "-w", "%{http_code}", &url]),
    ];
    if is_there("javac") {
        asks.push(("java", "java", vec![&java, &url]));
    }
    for (runtime, program, arguments) in asks {
        let environment = scene.environment(runtime);
        assert!(!environment.is_empty(), "{runtime}");
        let trusting = run(program, &arguments, &environment);
        let answered = String::from_utf8_lossy(&trusting.stdout).trim().parse::<u16>().is_ok();
        assert!(trusting.status.success() && answered, "{runtime} with {environment:?}: {}", said(&trusting));
        assert_refused(runtime, &run(program, &arguments, &[]));
    }
    // php.ini and the like are the same bundle; OpenSSL reads it as Ruby and PHP do.
    let connect = format!("localhost:{}", scene.tls_port);
    let shake = ["s_client", "-connect", &connect, "-verify_hostname", "localhost", "-verify_return_error", "-brief"];
    for runtime in ["ruby", "php", "go"] {
        let trusting = run("openssl", &shake, &scene.environment(runtime));
        assert!(said(&trusting).contains("Verification: OK"), "{runtime}: {}", said(&trusting));
    }
    assert!(!said(&run("openssl", &shake, &[])).contains("Verification: OK"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_adds_to_the_usual_roots_and_nothing_exported_holds_a_key() {
    let scene = Scene::open().await;
    // A key that somebody appended to a file of certificates stays behind.
    let key = fs::read_to_string(scene.certs.join("intermediate.key")).unwrap();
    let root = scene.certs.join("root.pem");
    fs::write(&root, fs::read_to_string(&root).unwrap() + &key).unwrap();
    let usual = scene.home.join("usual.pem");
    let other = CertificateParams::new(Vec::new()).unwrap().self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
    fs::write(&usual, format!("{key}{other}")).unwrap();
    let out = scene.home.join("out");
    for runtime in ["node", "python", "go", "ruby", "php", "java", "curl", "debian", "alpine", "browser", "k8s"] {
        let arguments = ["certs", "export", "--for", runtime, "--out", out.to_str().unwrap(), "--roots", usual.to_str().unwrap()];
        let object = scene.json(&arguments);
        assert_eq!((&object["schema"], &object["for"]), (&"segue.certs-export/v1".into(), &runtime.into()));
        assert!(!object["files"].as_array().unwrap().is_empty() && !object["lines"].as_array().unwrap().is_empty(), "{object}");
    }
    let secret: String = key.lines().filter(|line| !line.starts_with("---")).collect();
    for entry in fs::read_dir(&out).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o644, "{}", path.display());
        let content = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
        assert!(!content.contains("PRIVATE") && !content.contains(&secret[..40]), "{}", path.display());
    }
    let bundle = fs::read(out.join("segue-bundle.pem")).unwrap();
    assert_eq!(CertificateDer::pem_slice_iter(&bundle).filter_map(Result::ok).count(), 2);
    if is_there("keytool") {
        let keystore = out.join("segue-truststore.jks");
        let listed = run("keytool", &["-list", "-keystore", keystore.to_str().unwrap(), "-storepass", "changeit"], &[]);
        assert!(said(&listed).contains("2 entries") && said(&listed).contains("segue-"), "{}", said(&listed));
    }

    let nowhere = scene.segue(&["certs", "export", "--for", "python", "--roots", "absent.pem"]);
    assert!(nowhere.status.code() == Some(1) && said(&nowhere).contains("absent.pem"), "{}", said(&nowhere));
}

/// Whoever has stolen the CA's key: every client that trusts what `certs export` gave refuses what it signs for others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaves_for_other_names_are_refused_by_all_who_trust_the_export() {
    let scene = Scene::open().await;
    let address = |text: &str| {
        let mut params = named(&[]);
        params.subject_alt_names = vec![SanType::IpAddress(text.parse().unwrap())];
        params
    };
    let bundle = PathBuf::from(&scene.environment("python")[0].1);
    let sound = steal(&scene.certs, &named(&["api.segment.io"]), "api.segment.io");
    assert_eq!(takers(&scene, &sound, &bundle).await, ["openssl", "node", "python", "rustls"]);
    let thefts = [
        steal(&scene.certs, &named(&["google.com"]), "google.com"),
        steal(&scene.certs, &named(&["app.segment.io"]), "app.segment.io"),
        steal(&scene.certs, &named(&["api.segment.io", "google.com"]), "google.com"),
        steal(&scene.certs, &address("10.0.0.1"), "10.0.0.1"),
        steal_below(&scene.certs, "api.segment.io"),
    ];
    for theft in &thefts {
        assert_eq!(takers(&scene, theft, &bundle).await, [""; 0], "{}", theft.host);
    }
}

struct Stolen {
    host: String,
    chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
}

fn named(names: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.not_before = rcgen::date_time_ymd(2024, 1, 1);
    params
}

fn steal(certs: &Path, params: &CertificateParams, host: &str) -> Stolen {
    let ca_key = KeyPair::from_pem(&fs::read_to_string(certs.join("intermediate.key")).unwrap()).unwrap();
    let intermediate = CertificateDer::from_pem_file(certs.join("intermediate.pem")).unwrap();
    let issuer = Issuer::from_ca_cert_der(&intermediate, ca_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, &issuer).unwrap();
    Stolen { host: host.to_owned(), chain: vec![leaf.der().clone(), intermediate], key }
}

fn steal_below(certs: &Path, host: &str) -> Stolen {
    let mut params = named(&[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "below");
    let below = steal(certs, &params, host);
    let key = KeyPair::generate().unwrap();
    let leaf = named(&[host]).signed_by(&key, &Issuer::new(params, below.key)).unwrap();
    Stolen { host: host.to_owned(), chain: [vec![leaf.der().clone()], below.chain].concat(), key }
}

const NODE_AS: &str = "
const [host, port] = process.argv.slice(1);
require('tls').connect({host: '127.0.0.1', port, servername: /^[0-9.]+$/.test(host) ? '' : host,
  checkServerIdentity: (_, certificate) => require('tls').checkServerIdentity(host, certificate)}, () => process.exit(0))
  .on('error', error => { console.error(error.code, error.message); process.exit(1); });
";
const PYTHON_AS: &str = "
import socket, ssl, sys
host, port = sys.argv[1], int(sys.argv[2])
ssl.create_default_context().wrap_socket(socket.create_connection(('127.0.0.1', port), 10), server_hostname=host).close()
";

/// Who takes a chain for the name that it claims. A refusal is one of the certificate.
async fn takers(scene: &Scene, stolen: &Stolen, bundle: &Path) -> Vec<&'static str> {
    let site = Site::of(stolen).await;
    let (host, port) = (stolen.host.clone(), site.port.to_string());
    let (leaf, rest) = (scene.home.join("leaf.pem"), scene.home.join("rest.pem"));
    fs::write(&leaf, pem(&stolen.chain[..1])).unwrap();
    fs::write(&rest, pem(&stolen.chain[1..])).unwrap();
    let check = if host.parse::<std::net::IpAddr>().is_ok() { "-verify_ip" } else { "-verify_hostname" };
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (bundle, leaf, rest) = (text(bundle), text(&leaf), text(&rest));
    let verify =
        ["verify", "-purpose", "sslserver", "-no-CApath", "-no-CAstore", check, &host, "-CAfile", &bundle, "-untrusted", &rest, &leaf];
    let asked = [
        ("openssl", run("openssl", &verify, &[])),
        ("node", run("node", &["-e", NODE_AS, &host, &port], &scene.environment("node"))),
        ("python", run("python3", &["-c", PYTHON_AS, &host, &port], &scene.environment("python"))),
    ];
    let mut takers = Vec::new();
    for (who, output) in asked {
        if output.status.success() {
            takers.push(who);
        } else {
            assert_refused(who, &output);
        }
    }
    if shake(&client(&[PathBuf::from(bundle)]), site.port, &host).await.is_ok() {
        takers.push("rustls");
    }
    takers
}

/// Shows a stolen chain to whoever asks, until dropped.
struct Site {
    port: u16,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Site {
    async fn of(stolen: &Stolen) -> Self {
        let key = rustls::pki_types::PrivateKeyDer::try_from(stolen.key.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(stolen.chain.clone(), key)
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let mut stream = acceptor.accept(socket).await?;
                    tokio::io::AsyncReadExt::read_u8(&mut stream).await
                });
            }
        });
        Self { port, task }
    }
}

fn pem(chain: &[CertificateDer<'_>]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};

    let one = |der: &CertificateDer<'_>| format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(der));
    chain.iter().map(one).collect()
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// A client that trusts what these files hold, and resumes nothing: every connection is a whole handshake.
fn client(trusted: &[PathBuf]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for path in trusted {
        let read = fs::read(path).unwrap();
        let (added, _) = roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&read).filter_map(Result::ok));
        assert!(added > 0, "{}", path.display());
    }
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

async fn shake(client: &Arc<ClientConfig>, port: u16, host: &str) -> std::io::Result<()> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let mut stream = TlsConnector::from(Arc::clone(client)).connect(name, stream).await?;
    let _ = stream.shutdown().await;
    Ok(())
}

/// Handshakes at a steady rate, each by a client that trusts what the export gave last.
struct Load {
    trusted: Arc<std::sync::Mutex<Arc<ClientConfig>>>,
    is_over: Arc<AtomicBool>,
    shaken: Arc<AtomicU64>,
    failed: Arc<std::sync::Mutex<Vec<String>>>,
    driver: tokio::task::JoinHandle<()>,
    since: Instant,
}

impl Load {
    fn start(port: u16, per_second: u32, first: Arc<ClientConfig>) -> Self {
        let trusted = Arc::new(std::sync::Mutex::new(first));
        let is_over = Arc::new(AtomicBool::new(false));
        let shaken = Arc::new(AtomicU64::new(0));
        let failed = Arc::new(std::sync::Mutex::new(Vec::new()));
        let driver = {
            let (trusted, is_over, shaken, failed) = (trusted.clone(), is_over.clone(), shaken.clone(), failed.clone());
            tokio::spawn(async move {
                let mut ticks = tokio::time::interval(Duration::from_secs(1) / per_second);
                let mut tasks = tokio::task::JoinSet::new();
                while !is_over.load(Ordering::Relaxed) {
                    ticks.tick().await;
                    let client = trusted.lock().unwrap().clone();
                    let (shaken, failed) = (shaken.clone(), failed.clone());
                    tasks.spawn(async move {
                        match tokio::time::timeout(Duration::from_secs(30), shake(&client, port, "api.segment.io")).await {
                            Ok(Ok(())) => _ = shaken.fetch_add(1, Ordering::Relaxed),
                            other => failed.lock().unwrap().push(format!("{other:?}")),
                        }
                    });
                    while tasks.try_join_next().is_some() {}
                }
                while tasks.join_next().await.is_some() {}
            })
        };
        Self { trusted, is_over, shaken, failed, driver, since: Instant::now() }
    }

    /// Apps are started again with a new export.
    fn trust(&self, client: Arc<ClientConfig>) {
        *self.trusted.lock().unwrap() = client;
    }

    async fn stop(self) -> (u64, Duration) {
        self.is_over.store(true, Ordering::Relaxed);
        self.driver.await.unwrap();
        let failed = self.failed.lock().unwrap();
        assert!(failed.is_empty(), "{} handshakes failed, the first: {}", failed.len(), failed[0]);
        (self.shaken.load(Ordering::Relaxed), self.since.elapsed())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_rotations_under_load_fail_no_handshake() {
    let scene = Scene::open().await;
    let exported = || client(&[PathBuf::from(&scene.environment("node")[0].1)]);
    let first_root = exported();
    let load = Load::start(scene.tls_port, 500, exported());
    for round in 1..=2 {
        let before = scene.json(&["certs", "status"])["fingerprint"].clone();
        let prepared = scene.json(&["certs", "rotate"]);
        assert_eq!((&prepared["phase"], prepared["roots"].as_array().unwrap().len()), (&"prepared".into(), 2), "{prepared}");
        assert_eq!(scene.json(&["certs", "status"])["fingerprint"], before, "the present one serves on");
        load.trust(exported());
        tokio::time::sleep(Duration::from_secs(1)).await;

        let switched = scene.json(&["certs", "rotate", "--switch", "--yes"]);
        assert_eq!(switched["phase"], "overlap", "{switched}");
        assert_ne!(scene.json(&["certs", "status"])["fingerprint"], before);
        load.trust(exported());
        let hasty = scene.segue(&["certs", "rotate", "--finish", "--yes"]);
        assert!(hasty.status.code() == Some(1) && said(&hasty).contains("Again in"), "{}", said(&hasty));
        tokio::time::sleep(Duration::from_secs(12)).await;

        let finished = scene.json(&["certs", "rotate", "--finish", "--yes"]);
        assert_eq!((&finished["phase"], finished["roots"].as_array().unwrap().len()), (&"settled".into(), 1), "{finished}");
        assert_eq!(finished["dropped"]["fingerprint"], before);
        load.trust(exported());
        println!("round {round}: {} handshakes so far", load.shaken.load(Ordering::Relaxed));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (shaken, took) = load.stop().await;
    println!("{shaken} handshakes in {took:?}");
    assert!(shaken > 2_000, "{shaken} handshakes in {took:?} are no load");
    assert!(shake(&first_root, scene.tls_port, "api.segment.io").await.is_err(), "an app that was never told fails closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_in_the_wrong_order_are_refused_and_change_nothing() {
    let scene = Scene::open().await;
    let refused = |step: &[&str], words: &str| {
        let output = scene.segue(&[&["certs", "rotate", "--yes"], step].concat());
        let said = said(&output);
        assert!(output.status.code() == Some(1) && said.contains(words) && said.contains("Nothing was changed"), "{step:?}: {said}");
    };
    for step in [["--switch"], ["--cancel"]] {
        refused(&step, "no next authority is prepared");
    }
    refused(&["--finish"], "no rotation is going on");
    assert!(scene.told(&["certs", "rotate", "--dry-run"]).contains("Nothing was changed"));
    assert!(!scene.certs.join("next").exists());
    scene.told(&["certs", "rotate"]);
    let mode = |path: &str| scene.certs.join(path).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("next"), mode("next/intermediate.key")), (0o700, 0o600));
    refused(&[], "prepared already");
    refused(&["--finish"], "not in service yet");
    scene.told(&["certs", "rotate", "--cancel"]);
    assert!(!scene.certs.join("next").exists());

    scene.told(&["certs", "rotate"]);
    let unasked = scene.segue(&["certs", "rotate", "--switch"]);
    assert_eq!(unasked.status.code(), Some(2), "{}", said(&unasked));
    scene.told(&["certs", "rotate", "--switch", "--yes"]);
    refused(&[], "not finished");
    refused(&["--cancel"], "no next authority is prepared");
    let narrow = scene.segue(&["certs", "rotate", "--name", "cdn.segment.com"]);
    assert!(narrow.status.code() == Some(2) && said(&narrow).contains("api.segment.io"), "{}", said(&narrow));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browsers_store_gets_the_roots_and_loses_exactly_them() {
    let scene = Scene::open().await;
    let database = format!("sql:{}", scene.home.join(".pki/nssdb").display());
    let dry = scene.told(&["certs", "trust", "--store", "nss", "--dry-run"]);
    assert!(dry.contains("would be put in") && dry.contains("Nothing was changed"), "{dry}");
    let unasked = scene.segue(&["certs", "trust", "--store", "nss"]);
    assert_eq!(unasked.status.code(), Some(2), "{}", said(&unasked));

    let added = |object: &serde_json::Value| object["stores"][0]["added"].as_array().unwrap().len();
    let first = scene.json(&["certs", "trust", "--store", "nss", "--yes"]);
    assert_eq!((added(&first), added(&scene.json(&["certs", "trust", "--store", "nss", "--yes"]))), (1, 0));
    let verified = ["-V", "-d", &database, "-u", "L", "-n"];
    let nickname = |prefix: &str| {
        let listed = said(&run("certutil", &["-L", "-d", &database], &[]));
        listed.split_whitespace().find(|word| word.starts_with(prefix)).map(str::to_owned)
    };
    let ours = nickname("segue-").unwrap();
    let valid = run("certutil", &[&verified[..], &[&ours]].concat(), &[]);
    assert!(said(&valid).contains("is valid"), "{}", said(&valid));

    // A root of somebody else, under a name like ours, is nobody's business.
    let other = scene.home.join("other.pem");
    fs::write(&other, CertificateParams::new(Vec::new()).unwrap().self_signed(&KeyPair::generate().unwrap()).unwrap().pem()).unwrap();
    let put = run("certutil", &["-A", "-d", &database, "-t", "C,,", "-n", "segue-other", "-i", other.to_str().unwrap()], &[]);
    assert!(put.status.success(), "{}", said(&put));

    scene.told(&["certs", "rotate"]);
    assert_eq!(added(&scene.json(&["certs", "trust", "--store", "nss", "--yes"])), 1, "the next root, too");
    let removed = |object: &serde_json::Value| object["stores"][0]["removed"].as_array().unwrap().len();
    let one = first["stores"][0]["added"][0].as_str().unwrap();
    assert_eq!(removed(&scene.json(&["certs", "untrust", "--store", "nss", "--yes", "--fingerprint", one])), 1);
    assert_eq!(removed(&scene.json(&["certs", "untrust", "--store", "nss", "--yes"])), 1);
    assert_eq!(removed(&scene.json(&["certs", "untrust", "--store", "nss", "--yes", "--all"])), 0);
    assert_eq!(nickname("segue-").as_deref(), Some("segue-other"));
}

/// The system's store, changed by the real `update-ca-certificates`, in a mount namespace of its own: copies lie over the machine's.
#[test]
fn the_systems_store_gets_the_root_and_loses_it_again() {
    let can = Command::new("unshare").args(["--mount", "true"]).output().is_ok_and(|output| output.status.success());
    if !can || !Path::new("/usr/sbin/update-ca-certificates").exists() {
        assert!(std::env::var_os("CI").is_none(), "CI is set: this needs root, unshare and ca-certificates");
        println!("SKIPPED: no root, no unshare or no ca-certificates");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let made = segue(dir.path(), &["certs", "init", "--name", "api.segment.io"]);
    assert!(made.status.success(), "{}", said(&made));
    let script = dir.path().join("script.sh");
    fs::write(&script, SYSTEM).unwrap();
    let segue = command().get_program().to_owned();
    let told =
        clean(Command::new("unshare")).args(["--mount", "sh", "-eux"]).arg(&script).arg(segue).current_dir(dir.path()).output().unwrap();
    assert!(told.status.success(), "{}", said(&told));
    assert_eq!(String::from_utf8_lossy(&told.stdout).lines().last(), Some("well"));
}

const SYSTEM: &str = r#"
segue="$1"
mount --make-rprivate /
cp -a /etc/ssl/certs bundles
mkdir -p /usr/local/share/ca-certificates
cp -a /usr/local/share/ca-certificates own
mount --bind bundles /etc/ssl/certs
mount --bind own /usr/local/share/ca-certificates
echo "not a root of segue" > own/segue-notes.crt
trusted() { openssl verify -no-CAfile -CApath /etc/ssl/certs -untrusted certs/intermediate.pem certs/root.pem; }
before=$(ls own | wc -l)
if trusted; then exit 1; fi
"$segue" certs trust --store system --dry-run
test "$(ls own | wc -l)" = "$before"
"$segue" certs trust --store system --yes
"$segue" certs trust --store system --yes
test "$(ls own | wc -l)" = "$((before + 1))"
test "$(stat -c %a own/segue-????????.crt)" = 644
trusted
"$segue" certs untrust --store system --yes
"$segue" certs untrust --store system --yes
test "$(ls own | wc -l)" = "$before"
if trusted; then exit 1; fi
test -z "$(ls bundles | grep segue-........\\.pem || true)"
echo well
"#;
