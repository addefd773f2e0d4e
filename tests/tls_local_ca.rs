//! The local CA against real clients: what it may sign is accepted, what it may not sign is refused by all of them.
//!
//! OpenSSL, Python, Node and curl are asked when they are there; where `CI` is set, OpenSSL must be.

#![expect(clippy::unwrap_used, reason = "what a story takes for granted fails it when it is not so")]

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use rustls::{
    ClientConfig, HandshakeKind, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use segue::{
    clock::Clock,
    model::LOCAL_CA_NAME,
    tls::{
        Certificates, Existing, InitError, Made, Mode, Phase, Reload, Role, RotateError, Settings, Standing, TlsError, cancel, finish,
        init, prepare, switch,
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use x509_parser::{extensions::GeneralName, prelude::FromDer};

const DAY_MS: i64 = 86_400_000;

fn settings(dir: &Path) -> Settings {
    Settings { mode: Mode::LocalCa { dir: dir.to_owned() }, ..Settings::default() }
}

fn made(dir: &Path) -> Made {
    init(dir, &Settings::default().names, Existing::Refuse, Clock::system().now()).unwrap()
}

fn load(dir: &Path) -> Certificates {
    let clock = Clock::system();
    Certificates::load(&settings(dir), move || clock.now()).unwrap()
}

fn client(root: &Path) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(root).unwrap()).unwrap();
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

struct Shaken {
    kind: HandshakeKind,
    alpn: Option<Vec<u8>>,
    chain: Vec<CertificateDer<'static>>,
}

/// A whole handshake in memory, and one byte each way so that tickets arrive.
async fn shake(server: Arc<ServerConfig>, client: Arc<ClientConfig>, name: &str) -> Result<Shaken, std::io::Error> {
    let (near, far) = tokio::io::duplex(1 << 16);
    let far_end = tokio::spawn(async move {
        let mut stream = TlsAcceptor::from(server).accept(far).await?;
        stream.write_all(b"!").await?;
        stream.flush().await?;
        stream.read_u8().await
    });
    let mut stream = TlsConnector::from(client).connect(ServerName::try_from(name.to_owned()).unwrap(), near).await?;
    stream.read_u8().await?;
    stream.write_all(b"?").await?;
    stream.flush().await?;
    far_end.await.unwrap()?;
    let (_, connection) = stream.get_ref();
    Ok(Shaken {
        kind: connection.handshake_kind().unwrap(),
        alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
        chain: connection.peer_certificates().unwrap().iter().map(|certificate| certificate.clone().into_owned()).collect(),
    })
}

/// A certificate signed with the CA's key by whoever has stolen it.
struct Stolen {
    chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
}

fn steal(dir: &Path, params: &CertificateParams) -> Stolen {
    let ca_key = KeyPair::from_pem(&fs::read_to_string(dir.join("intermediate.key")).unwrap()).unwrap();
    let intermediate = CertificateDer::from_pem_file(dir.join("intermediate.pem")).unwrap();
    let issuer = Issuer::from_ca_cert_der(&intermediate, ca_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, &issuer).unwrap();
    Stolen { chain: vec![leaf.der().clone(), intermediate], key }
}

fn named(names: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    // Signed today, as a fresh theft would be.
    params.not_before = rcgen::date_time_ymd(2024, 1, 1);
    params
}

/// Through a CA of the thief's own below the intermediate, whose path length is 0.
fn steal_below(dir: &Path, name: &str) -> Stolen {
    let mut params = named(&[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "below");
    let below = steal(dir, &params);
    let issuer = Issuer::new(params, below.key);
    let key = KeyPair::generate().unwrap();
    let leaf = named(&[name]).signed_by(&key, &issuer).unwrap();
    Stolen { chain: [vec![leaf.der().clone()], below.chain].concat(), key }
}

fn server_of(stolen: &Stolen) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::try_from(stolen.key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(stolen.chain.clone(), key)
        .unwrap();
    Arc::new(config)
}

fn pem(chain: &[CertificateDer<'_>]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};

    let one = |der: &CertificateDer<'_>| format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(der));
    chain.iter().map(one).collect()
}

/// None when the program is not there, which for openssl in CI is a failure.
fn run(program: &str, configure: impl FnOnce(&mut Command)) -> Option<Output> {
    let mut command = Command::new(program);
    configure(&mut command);
    match command.output() {
        Ok(output) => Some(output),
        Err(error) => {
            let is_needed = program == "openssl" && std::env::var_os("CI").is_some();
            assert!(!is_needed, "{program} must be there in CI: {error}");
            eprintln!("{program} is not there: not asked");
            None
        }
    }
}

fn assert_verdict(program: &str, about: &str, output: Option<Output>, accepted: bool) {
    let Some(output) = output else { return };
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.success(), accepted, "{program} about {about}: {said}");
    // A refusal must be one of the certificate, not a script that failed.
    let is_about_trust = ["certif", "permitted", "CERT", "verif", "path length"].iter().any(|word| said.contains(word));
    assert!(accepted || is_about_trust, "{program} about {about}: {said}");
}

fn openssl(dir: &Path, root: &Path, chain: &[CertificateDer<'static>], host: &str) -> Option<Output> {
    let (leaf, rest) = (dir.join("leaf.test.pem"), dir.join("rest.test.pem"));
    fs::write(&leaf, pem(&chain[..1])).unwrap();
    fs::write(&rest, pem(&chain[1..])).unwrap();
    let check = if host.parse::<std::net::IpAddr>().is_ok() { "-verify_ip" } else { "-verify_hostname" };
    run("openssl", |command| {
        command.args(["verify", "-x509_strict", "-purpose", "sslserver", "-no-CApath", "-no-CAstore", check, host, "-CAfile"]);
        command.arg(root).arg("-untrusted").arg(rest).arg(leaf);
    })
}

/// Answers every connection with a small page until dropped.
struct Site {
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn site(config: Arc<ServerConfig>) -> Site {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut config = ServerConfig::clone(&config);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let task = tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut stream = acceptor.accept(socket).await?;
                let mut read = [0; 1024];
                let _ = stream.read(&mut read).await?;
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").await?;
                stream.shutdown().await
            });
        }
    });
    Site { address, task }
}

const PYTHON: &str = "
import socket, ssl, sys
host, port, root = sys.argv[1], int(sys.argv[2]), sys.argv[3]
context = ssl.create_default_context(cafile=root)
with context.wrap_socket(socket.create_connection(('127.0.0.1', port), 10), server_hostname=host) as stream:
    stream.sendall(b'GET / HTTP/1.1\\r\\n\\r\\n')
    assert stream.recv(100).startswith(b'HTTP/1.1 200'), 'no answer'
";

const NODE: &str = "
const [host, port] = process.argv.slice(1);
const servername = /^[0-9.]+$/.test(host) ? '' : host;
const request = require('https').get({host: '127.0.0.1', port, servername, path: '/', agent: false,
  checkServerIdentity: (_, certificate) => require('tls').checkServerIdentity(host, certificate)},
  answer => process.exit(answer.statusCode === 200 ? 0 : 1));
request.on('error', error => { console.error(error.code, error.message); process.exit(1); });
";

async fn ask_programs(site: &Site, root: &Path, host: &str, accepted: bool) {
    let (root, host, port) = (root.to_owned(), host.to_owned(), site.address.port().to_string());
    let ask = move || {
        let python = run("python3", |command| {
            command.args(["-c", PYTHON, &host, &port]).arg(&root);
        });
        assert_verdict("python3", &host, python, accepted);
        let node = run("node", |command| {
            command.env("NODE_EXTRA_CA_CERTS", &root).args(["-e", NODE, &host, &port]);
        });
        assert_verdict("node", &host, node, accepted);
        let curl = run("curl", |command| {
            command.env_remove("https_proxy").env_remove("HTTPS_PROXY").args(["-sS", "-m", "10", "--noproxy", "*", "--cacert"]);
            command.arg(&root).args(["--resolve", &format!("{host}:{port}:127.0.0.1"), &format!("https://{host}:{port}/")]);
        });
        assert_verdict("curl", &host, curl, accepted);
    };
    tokio::task::spawn_blocking(ask).await.unwrap();
}

#[test]
fn a_ca_is_two_files_to_read_and_one_key_that_is_not_the_roots() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("certs");
    let made = made(&home);

    let mut files: Vec<String> = fs::read_dir(&home).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    assert_eq!(files, ["intermediate.key", "intermediate.pem", "root.pem"]);
    let permissions = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((permissions(&home), permissions(&made.key)), (0o700, 0o600));

    let key = KeyPair::from_pem(&fs::read_to_string(&made.key).unwrap()).unwrap();
    let root = CertificateDer::from_pem_file(&made.root).unwrap();
    let (_, root) = x509_parser::parse_x509_certificate(&root).unwrap();
    assert_ne!(root.public_key().subject_public_key.data.as_ref(), key.public_key_raw());
    assert!(made.subject.starts_with(LOCAL_CA_NAME));
}

#[test]
fn both_tiers_are_constrained_and_end_within_397_days() {
    let dir = tempfile::tempdir().unwrap();
    let made = made(dir.path());
    for (path, path_length) in [(&made.root, 1), (&made.intermediate, 0)] {
        let der = CertificateDer::from_pem_file(path).unwrap();
        let (_, certificate) = x509_parser::certificate::X509Certificate::from_der(&der).unwrap();
        let constraints = certificate.name_constraints().unwrap().unwrap();
        assert!(constraints.critical, "{}", path.display());
        assert!(constraints.value.excluded_subtrees.is_none());
        let permitted: Vec<String> = constraints
            .value
            .permitted_subtrees
            .as_ref()
            .unwrap()
            .iter()
            .map(|tree| match &tree.base {
                GeneralName::DNSName(name) => (*name).to_owned(),
                GeneralName::IPAddress(bytes) => format!("{bytes:?}"),
                other => panic!("{other:?}"),
            })
            .collect();
        let v6 = [vec![0u8; 15], vec![1], vec![255; 16]].concat();
        let mut wanted: Vec<String> = Settings::default().names;
        wanted.extend(["localhost".to_owned(), "[127, 0, 0, 1, 255, 255, 255, 255]".to_owned(), format!("{v6:?}")]);
        assert_eq!(permitted, wanted);

        let basic = certificate.basic_constraints().unwrap().unwrap();
        assert_eq!((basic.critical, basic.value.ca, basic.value.path_len_constraint), (true, true, Some(path_length)));
        let usage = certificate.key_usage().unwrap().unwrap();
        assert!(usage.critical && usage.value.key_cert_sign() && usage.value.crl_sign() && !usage.value.digital_signature());
        let life = certificate.validity().not_after.timestamp() - certificate.validity().not_before.timestamp();
        assert!(life <= 397 * 86_400, "{life}");
        let subject = certificate.subject().to_string();
        assert!(subject.contains(LOCAL_CA_NAME) && subject.len() <= 64 + "CN=".len(), "{subject}");
    }
}

#[test]
fn an_existing_ca_is_replaced_only_on_purpose() {
    let dir = tempfile::tempdir().unwrap();
    let first = made(dir.path());
    let names = Settings::default().names;
    let now = Clock::system().now();
    assert!(matches!(init(dir.path(), &names, Existing::Refuse, now), Err(InitError::Exists { .. })));
    let second = init(dir.path(), &names, Existing::Replace, now).unwrap();
    assert_ne!((&first.subject, &first.fingerprint), (&second.subject, &second.fingerprint));
    assert_eq!(fs::metadata(&second.key).unwrap().permissions().mode() & 0o777, 0o600);
    load(dir.path());
}

#[tokio::test]
async fn every_name_is_accepted_with_and_without_a_server_name() {
    let dir = tempfile::tempdir().unwrap();
    let made = made(dir.path());
    let server = load(dir.path()).server_config();
    let names = [Settings::default().names, vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()]].concat();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&made.root).unwrap()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        for name in &names {
            let shaken = shake(Arc::clone(&server), Arc::new(config.clone()), name).await;
            assert_eq!(shaken.unwrap().chain.len(), 2, "{name}");
        }
        config.enable_sni = false;
        shake(Arc::clone(&server), Arc::new(config.clone()), "api.segment.io").await.unwrap();
        let refusal = shake(Arc::clone(&server), Arc::new(config), "api.segment.com").await.err().unwrap();
        assert!(refusal.to_string().contains("certificate"), "{refusal}");
    }
}

#[tokio::test]
async fn protocols_are_agreed_and_sessions_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let made = made(dir.path());
    let certificates = load(dir.path());
    for (offer, agreed) in [("h2 http/1.1", Some("h2")), ("http/1.1", Some("http/1.1")), ("http/1.0", Some("http/1.0")), ("", None)] {
        let mut config = client(&made.root);
        config.alpn_protocols = offer.split_whitespace().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let config = Arc::new(config);
        let first = shake(certificates.server_config(), Arc::clone(&config), "api.segment.io").await.unwrap();
        assert_eq!(first.alpn.as_deref(), agreed.map(str::as_bytes));
        assert_ne!(first.kind, HandshakeKind::Resumed);
        let second = shake(certificates.server_config(), config, "api.segment.io").await.unwrap();
        assert_eq!(second.kind, HandshakeKind::Resumed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_clients_accept_what_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let made = made(dir.path());
    let config = load(dir.path()).server_config();
    let chain = shake(Arc::clone(&config), Arc::new(client(&made.root)), "api.segment.io").await.unwrap().chain;
    for host in ["api.segment.io", "cdn.segment.com", "localhost", "127.0.0.1", "::1"] {
        assert_verdict("openssl", host, openssl(dir.path(), &made.root, &chain, host), true);
    }
    let site = site(config).await;
    for host in ["api.segment.io", "127.0.0.1"] {
        ask_programs(&site, &made.root, host, true).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_client_refuses_what_a_stolen_key_signs_for_others() {
    let dir = tempfile::tempdir().unwrap();
    let made = made(dir.path());
    let address = |text: &str| {
        let mut params = named(&[]);
        params.subject_alt_names = vec![SanType::IpAddress(text.parse().unwrap())];
        params
    };
    let thefts = [
        ("google.com", steal(dir.path(), &named(&["google.com"]))),
        ("segment.io", steal(dir.path(), &named(&["segment.io"]))),
        ("app.segment.io", steal(dir.path(), &named(&["*.segment.io"]))),
        ("google.com", steal(dir.path(), &named(&["api.segment.io", "google.com"]))),
        ("127.0.0.2", steal(dir.path(), &address("127.0.0.2"))),
        ("10.0.0.1", steal(dir.path(), &address("10.0.0.1"))),
        ("api.segment.io", steal_below(dir.path(), "api.segment.io")),
    ];
    // The thief's tools are sound: for a permitted name the same steps are accepted.
    let sound = steal(dir.path(), &named(&["api.segment.io"]));
    shake(server_of(&sound), Arc::new(client(&made.root)), "api.segment.io").await.unwrap();
    assert_verdict("openssl", "a permitted name", openssl(dir.path(), &made.root, &sound.chain, "api.segment.io"), true);

    for (host, theft) in &thefts {
        let refusal = shake(server_of(theft), Arc::new(client(&made.root)), host).await.err().unwrap();
        assert!(refusal.to_string().contains("certificate"), "{host}: {refusal}");
        assert_verdict("openssl", host, openssl(dir.path(), &made.root, &theft.chain, host), false);
        ask_programs(&site(server_of(theft)).await, &made.root, host, false).await;
    }
}

#[tokio::test]
async fn leaves_live_for_days_and_are_renewed_before_two_thirds_are_over() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path());
    let clock = Clock::system();
    let moved = clock.clone();
    let certificates = Certificates::load(&settings(dir.path()), move || moved.now()).unwrap();
    let first = certificates.status();
    let life_ms = first.leaf_expires_at.millis_since(clock.now());
    assert!(life_ms <= 7 * DAY_MS && first.expires_at.millis_since(clock.now()) > 390 * DAY_MS);

    clock.advance_ms(life_ms / 3);
    certificates.refresh();
    assert_eq!(certificates.status(), first);
    clock.advance_ms(life_ms / 4);
    certificates.refresh();
    let second = certificates.status();
    assert!(second.leaf_expires_at > first.leaf_expires_at);

    clock.advance_ms(400 * DAY_MS);
    certificates.refresh();
    let last = certificates.status();
    assert_eq!(last.leaf_expires_at, second.leaf_expires_at);
    assert!(matches!(&last.last_reload, Reload::Kept(why) if why.contains("expired")), "{:?}", last.last_reload);
}

#[tokio::test]
async fn a_ca_that_is_replaced_is_served_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let first = made(dir.path());
    let certificates = load(dir.path());
    shake(certificates.server_config(), Arc::new(client(&first.root)), "api.segment.io").await.unwrap();

    let second = init(dir.path(), &Settings::default().names, Existing::Replace, Clock::system().now()).unwrap();
    let keeper = certificates.keep_fresh();
    let replaced = async {
        while shake(certificates.server_config(), Arc::new(client(&second.root)), "api.segment.io").await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), replaced).await.unwrap();
    drop(keeper);
}

/// Where a crash can cut off a switch: after so many of its effects on the directory.
fn cut_off(dir: &Path, effects: usize) {
    if effects > 0 {
        fs::copy(dir.join("root.pem"), dir.join("previous-root.pem")).unwrap();
    }
    for name in ["intermediate.key", "intermediate.pem", "root.pem"].into_iter().take(effects.saturating_sub(1)) {
        fs::rename(dir.join("next").join(name), dir.join(name)).unwrap();
    }
    if effects > 4 {
        fs::remove_dir(dir.join("next")).unwrap();
    }
}

#[tokio::test]
async fn a_switch_that_is_cut_off_anywhere_leaves_what_can_be_served_and_can_be_ended() {
    for effects in 0..=5 {
        let (dir, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let now = Clock::system().now();
        let first = made(dir.path());
        let running = load(dir.path());
        let second = prepare(dir.path(), None, now).unwrap();
        let (old, new) = (kept.path().join("old.pem"), kept.path().join("new.pem"));
        fs::copy(&first.root, &old).unwrap();
        fs::copy(&second.root, &new).unwrap();

        cut_off(dir.path(), effects);
        running.refresh();
        assert_eq!(running.status().last_reload, Reload::Good, "{effects}");
        let (serving, other) = if effects < 2 { (&old, &new) } else { (&new, &old) };
        for certificates in [&running, &load(dir.path())] {
            shake(certificates.server_config(), Arc::new(client(serving)), "api.segment.io").await.unwrap();
            assert!(shake(certificates.server_config(), Arc::new(client(other)), "api.segment.io").await.is_err(), "{effects}");
        }
        let standing = Standing::read(dir.path(), now).unwrap();
        assert_eq!(standing.roots.len(), 2, "both are handed out: {effects}");
        assert_eq!(standing.serving().pem(), fs::read_to_string(serving).unwrap().replace('\r', ""), "{effects}");

        if effects < 5 {
            switch(dir.path(), now).unwrap();
        }
        let standing = Standing::read(dir.path(), now).unwrap();
        assert_eq!((standing.serving().fingerprint.as_str(), standing.roots.len()), (second.fingerprint.as_str(), 2), "{effects}");
        assert_eq!(standing.root(Role::Previous).unwrap().fingerprint, first.fingerprint);
        assert!(matches!(standing.phase, Phase::Overlap { .. }), "{effects}: {:?}", standing.phase);
        let mut files: Vec<String> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();
        assert_eq!(files, ["intermediate.key", "intermediate.pem", "previous-root.pem", "root.pem"], "{effects}");
        assert!(matches!(finish(dir.path(), Clock::system().now()), Err(RotateError::TooSoon { .. })));
        assert_eq!(finish(dir.path(), now.plus_millis(60_000)).unwrap().unwrap().fingerprint, first.fingerprint);
        assert_eq!(Standing::read(dir.path(), now).unwrap().roots.len(), 1);
    }
}

#[tokio::test]
async fn a_key_that_fits_nothing_leaves_the_last_good_pair_in_service() {
    let dir = tempfile::tempdir().unwrap();
    let made = made(dir.path());
    let certificates = load(dir.path());
    let good = fs::read(&made.key).unwrap();
    fs::write(&made.key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    certificates.refresh();
    assert!(matches!(certificates.status().last_reload, Reload::Kept(_)));
    shake(certificates.server_config(), Arc::new(client(&made.root)), "api.segment.io").await.unwrap();
    fs::write(&made.key, good).unwrap();
    certificates.refresh();
    assert_eq!(certificates.status().last_reload, Reload::Good);
}

#[test]
fn what_could_not_serve_is_not_put_in_service() {
    let dir = tempfile::tempdir().unwrap();
    let now = Clock::system().now();
    let first = made(dir.path());
    let second = prepare(dir.path(), None, now).unwrap();
    let stranger = tempfile::tempdir().unwrap();
    let stranger = self::made(stranger.path());
    let swapped = [
        (&second.root, fs::read(&stranger.root).unwrap()),
        (&second.intermediate, fs::read(&stranger.intermediate).unwrap()),
        (&second.key, fs::read(&stranger.key).unwrap()),
        (&second.root, b"garbage".to_vec()),
    ];
    for (path, content) in swapped {
        let good = fs::read(path).unwrap();
        fs::write(path, content).unwrap();
        assert!(switch(dir.path(), now).is_err(), "{}", path.display());
        fs::write(path, good).unwrap();
        assert_eq!(Standing::read(dir.path(), now).unwrap().serving().fingerprint, first.fingerprint);
    }
    let over = now.plus_millis(400 * DAY_MS);
    assert!(matches!(switch(dir.path(), over), Err(RotateError::Unfit { .. })));
    assert_eq!(cancel(dir.path(), now).unwrap().unwrap().fingerprint, second.fingerprint);
    assert!(matches!(switch(dir.path(), now), Err(RotateError::NothingPrepared { .. })));
}

#[test]
fn a_replacement_ends_a_rotation_and_an_expired_root_is_handed_out_no_longer() {
    let dir = tempfile::tempdir().unwrap();
    let now = Clock::system().now();
    made(dir.path());
    prepare(dir.path(), None, now).unwrap();
    assert_eq!(Standing::read(dir.path(), now.plus_millis(400 * DAY_MS)).unwrap().roots.len(), 1);
    // Cut off where what serves is in `next`: a replacement must not drop it before its own is there.
    cut_off(dir.path(), 2);
    let replaced = init(dir.path(), &Settings::default().names, Existing::Replace, now).unwrap();
    let standing = Standing::read(dir.path(), now).unwrap();
    assert_eq!((standing.phase, standing.roots.len()), (Phase::Settled, 1));
    assert_eq!((&standing.serving().fingerprint, &standing.names), (&replaced.fingerprint, &replaced.names));
    load(dir.path());
}

#[test]
fn what_is_wrong_names_the_file_and_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::system();
    let refusal = |settings: &Settings| {
        let clock = clock.clone();
        Certificates::load(settings, move || clock.now()).unwrap_err()
    };
    let home = dir.path().join("certs");
    let absent = refusal(&settings(&home));
    assert!(absent.to_string().contains(&format!("segue certs init --dir {}", home.display())), "{absent}");

    let made = made(&home);
    let others = Settings { names: vec!["api.segment.io".to_owned(), "other.example".to_owned()], ..settings(&home) };
    assert!(matches!(refusal(&others), TlsError::NotPermitted { name, .. } if name == "other.example"));

    fs::set_permissions(&made.key, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(refusal(&settings(&home)).to_string().contains("chmod 600"));
    fs::set_permissions(&made.key, fs::Permissions::from_mode(0o600)).unwrap();

    fs::write(&made.key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert!(matches!(refusal(&settings(&home)), TlsError::Key { .. }));
    for path in [&made.key, &made.intermediate] {
        fs::write(path, "garbage").unwrap();
        let garbage = refusal(&settings(&home)).to_string();
        assert!(garbage.contains(&path.display().to_string()), "{garbage}");
    }
}

fn write_pair(dir: &Path, name: &str) -> (PathBuf, PathBuf) {
    let key = KeyPair::generate().unwrap();
    let mut params = named(&[name]);
    params.not_after = rcgen::date_time_ymd(2090, 1, 1);
    let certificate = params.self_signed(&key).unwrap();
    let (cert_path, key_path) = (dir.join("tls.crt"), dir.join("tls.key"));
    fs::write(&cert_path, certificate.pem()).unwrap();
    fs::write(&key_path, key.serialize_pem()).unwrap();
    (cert_path, key_path)
}

async fn leaf_of(certificates: &Certificates, trusted: &Path, name: &str) -> Result<CertificateDer<'static>, std::io::Error> {
    Ok(shake(certificates.server_config(), Arc::new(client(trusted)), name).await?.chain.remove(0))
}

#[tokio::test]
async fn files_are_read_again_when_a_config_map_swaps_its_link() {
    let dir = tempfile::tempdir().unwrap();
    let swap = |to: &str| {
        let beside = dir.path().join("..next");
        std::os::unix::fs::symlink(to, &beside).unwrap();
        fs::rename(&beside, dir.path().join("..data")).unwrap();
    };
    for (folder, name) in [("one", "one.example"), ("two", "two.example")] {
        fs::create_dir(dir.path().join(folder)).unwrap();
        write_pair(&dir.path().join(folder), name);
    }
    swap("one");
    for file in ["tls.crt", "tls.key"] {
        std::os::unix::fs::symlink(format!("..data/{file}"), dir.path().join(file)).unwrap();
    }
    let (cert, key) = (dir.path().join("tls.crt"), dir.path().join("tls.key"));
    let files = Settings { mode: Mode::Files { cert: cert.clone(), key }, names: vec![] };
    let clock = Clock::system();
    let certificates = Certificates::load(&files, move || clock.now()).unwrap();
    let first = leaf_of(&certificates, &cert, "one.example").await.unwrap();

    swap("two");
    certificates.refresh();
    let second = leaf_of(&certificates, &cert, "two.example").await.unwrap();
    assert_ne!(first, second);
    assert_eq!(certificates.status().last_reload, Reload::Good);
}

#[tokio::test]
async fn a_bad_new_certificate_leaves_the_last_good_one_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = write_pair(dir.path(), "one.example");
    let trusted = dir.path().join("trusted.pem");
    fs::copy(&cert, &trusted).unwrap();
    let files = Settings { mode: Mode::Files { cert: cert.clone(), key: key.clone() }, names: vec![] };
    let clock = Clock::system();
    let certificates = Certificates::load(&files, move || clock.now()).unwrap();
    let good = certificates.status();

    let other_key = KeyPair::generate().unwrap();
    let mut expired = named(&["one.example"]);
    expired.not_after = rcgen::date_time_ymd(2024, 2, 1);
    let (good_cert, good_key) = (fs::read(&cert).unwrap(), fs::read(&key).unwrap());
    let bad: [(Vec<u8>, Vec<u8>); 4] = [
        (good_cert.clone(), other_key.serialize_pem().into_bytes()),
        (good_cert[..100].to_vec(), good_key.clone()),
        (Vec::new(), good_key.clone()),
        (expired.self_signed(&other_key).unwrap().pem().into_bytes(), other_key.serialize_pem().into_bytes()),
    ];
    for (cert_content, key_content) in bad {
        fs::write(&cert, cert_content).unwrap();
        fs::write(&key, key_content).unwrap();
        certificates.refresh();
        let status = certificates.status();
        assert!(matches!(&status.last_reload, Reload::Kept(why) if why.contains("tls.")), "{status:?}");
        assert_eq!(status.expires_at, good.expires_at);
        leaf_of(&certificates, &trusted, "one.example").await.unwrap();
    }
    fs::remove_file(&cert).unwrap();
    certificates.refresh();
    assert!(matches!(certificates.status().last_reload, Reload::Kept(_)));

    fs::write(&cert, &good_cert).unwrap();
    fs::write(&key, &good_key).unwrap();
    certificates.refresh();
    assert_eq!(certificates.status(), good);
}
