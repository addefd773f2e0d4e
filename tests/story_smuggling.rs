//! No byte of a client decides where a request ends upstream: eighty and more payloads of request smuggling, then random mutations
//! of them, over plain HTTP and TLS. Legal requests arrive, and nothing else does.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a story that cannot go on fails")]

mod payloads;
mod process;
mod stage;
mod sums;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use payloads::{Fate, OWN, Payload, SMUGGLED, payloads, post};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use segue::{
    standin::{Standin, TakenEvent},
    tls::{self, Existing, Mode},
};
use stage::{Stage, source};
use sums::Sums;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A stage with both listeners and limits that end a payload's wait soon.
struct Scene {
    stage: Stage,
    tls: tokio_rustls::TlsConnector,
}

impl Scene {
    async fn begin() -> Self {
        let certs = tempfile::tempdir().unwrap().keep();
        let names = vec!["api.segment.io".to_owned()];
        let made = tls::init(&certs, &names, Existing::Refuse, segue::clock::Clock::system().now()).unwrap();
        let stage = Stage::with(|config| {
            config.sources = vec![source("web", payloads::KEY, stage::RUDDER_KEY, "both")];
            config.ingress.listen_tls = Some(([127, 0, 0, 1], 0).into());
            config.tls = Some(tls::Settings { mode: Mode::LocalCa { dir: certs }, names });
            config.ingress.limits.header_timeout = Duration::from_millis(700);
            config.ingress.limits.body_timeout = Duration::from_millis(700);
            config.ingress.limits.idle_timeout = Duration::from_millis(1_500);
        })
        .await;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(made.root).unwrap()).unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Self { stage, tls: tokio_rustls::TlsConnector::from(Arc::new(config)) }
    }

    async fn connect(&self, transport: Transport) -> Box<dyn Stream> {
        let sidecar = self.stage.sidecar();
        match transport {
            Transport::Plain => Box::new(TcpStream::connect(sidecar.plain_address().unwrap()).await.unwrap()),
            Transport::Tls => {
                let stream = TcpStream::connect(sidecar.tls_address().unwrap()).await.unwrap();
                Box::new(self.tls.connect(ServerName::try_from("api.segment.io").unwrap(), stream).await.unwrap())
            }
        }
    }

    /// A legal request on a connection of its own; it must be served.
    async fn healthy(&self, transport: Transport, id: &str) {
        let answer = answers(self.connect(transport).await, post(id, "Connection: close\r\n").as_bytes()).await.expect("it closes");
        assert!(answer.starts_with("HTTP/1.1 200"), "a healthy client after it hears {answer:?}");
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Plain,
    Tls,
}

/// Writes bytes and reads until the sidecar closes; None when it has not after five seconds.
async fn answers(mut stream: Box<dyn Stream>, bytes: &[u8]) -> Option<String> {
    // It may close before everything is written.
    let _ = stream.write_all(bytes).await;
    let _ = stream.flush().await;
    let mut said = Vec::new();
    let _ = timeout(Duration::from_secs(5), stream.read_to_end(&mut said)).await.ok()?;
    Some(String::from_utf8_lossy(&said).into_owned())
}

/// The payload with ids of its own, and those ids: its event's and the smuggled one's.
fn with_ids(payload: &Payload, tag: &str) -> (Vec<u8>, String) {
    let (own, smuggled) = (format!("p-{tag}"), format!("s-{tag}"));
    assert_eq!((own.len(), smuggled.len()), (OWN.len(), SMUGGLED.len()), "lengths stay as they are");
    (replaced(&replaced(&payload.bytes, OWN, &own), SMUGGLED, &smuggled), own)
}

fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let mut out = bytes.to_vec();
    while let Some(at) = memchr::memmem::find(&out, from.as_bytes()) {
        out[at..at + from.len()].copy_from_slice(to.as_bytes());
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn eighty_payloads_and_only_what_is_legal_arrives() {
    let scene = Scene::begin().await;
    let sums = Sums::watch(scene.stage.sidecar().metrics_address().unwrap());
    let all = payloads();
    assert!(all.len() >= 80, "{} payloads", all.len());
    let (mut legal, mut asked, mut wrong) = (BTreeSet::new(), Vec::new(), Vec::new());
    for (transport, mark) in [(Transport::Plain, 'a'), (Transport::Tls, 'b')] {
        for (index, payload) in all.iter().enumerate() {
            let tag = format!("{mark}{index:08}");
            let (bytes, own) = with_ids(payload, &tag);
            let follower = post(&format!("f-{tag}"), "Connection: close\r\n");
            let said = answers(scene.connect(transport).await, &[&bytes, follower.as_bytes()].concat()).await;
            if let Err(what) = judge(payload.fate, said.as_deref()) {
                wrong.push(format!("{transport:?} {}: {what}: {said:?} ({})", payload.name, payload.why));
            }
            match payload.fate {
                Fate::Taken | Fate::TakenLast => drop(legal.insert(own)),
                Fate::Passed(path) | Fate::PassedLast(path) => asked.push(path.to_owned()),
                Fate::Answered | Fate::Refused => {}
            }
            if matches!(payload.fate, Fate::Taken | Fate::Passed(_) | Fate::Answered) {
                legal.insert(format!("f-{tag}"));
            }
            let next = format!("l-{tag}");
            scene.healthy(transport, &next).await;
            legal.insert(next);
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), 2 * all.len(), wrong.join("\n"));
    scene.stage.drained().await;
    println!("{} payloads, each over plain HTTP and TLS; {} legal events", all.len(), legal.len());
    let planned: u64 = scene.stage.sidecar().ledger().iter().map(|(_, ledger)| ledger.planned).sum();
    assert_eq!(planned, 2 * legal.len() as u64, "journalled are the legal ones, for both destinations");
    for standin in [&scene.stage.segment, &scene.stage.rudder] {
        let events = standin.taken().events;
        let seen: BTreeSet<String> = events.iter().map(|event| event.message_id.to_string()).collect();
        assert_eq!(seen.difference(&legal).collect::<Vec<_>>(), Vec::<&String>::new(), "smuggled");
        assert_eq!(legal.difference(&seen).collect::<Vec<_>>(), Vec::<&String>::new(), "lost");
        assert_eq!(events.len(), legal.len(), "each once");
    }
    check_requests(&scene.stage.segment, &mut asked);
    check_requests(&scene.stage.rudder, &mut Vec::new());
    sums.held().await;
}

/// What the client heard, against what has to become of its payload. The follower asks for the connection to close, so that
/// every connection ends.
fn judge(fate: Fate, said: Option<&str>) -> Result<(), String> {
    let said = said.ok_or("the connection is still open")?;
    let finals = said.matches("HTTP/1.").count() - said.matches(" 100 Continue").count();
    let accepted = said.matches(r#"{"success":true}"#).count();
    let (answers, accepts) = match fate {
        Fate::Taken => (2, 2),
        Fate::TakenLast => (1, 1),
        Fate::Passed(_) | Fate::Answered => (2, 1),
        // What follows is no request: hyper may say so.
        Fate::PassedLast(_) => return if accepted == 0 { Ok(()) } else { Err("accepted".to_owned()) },
        Fate::Refused => {
            let is_good = accepted == 0 && finals <= 1 && !said.contains(" 200 OK");
            return if is_good { Ok(()) } else { Err("not refused".to_owned()) };
        }
    };
    let at_least = accepted >= accepts && finals == answers;
    if at_least { Ok(()) } else { Err(format!("{finals} answers, {accepted} accepted; {answers} and {accepts} wanted")) }
}

/// Every request that a vendor got is one of ours: its path, its headers, and nothing that was meant for one hop.
fn check_requests(standin: &Standin, passed: &mut Vec<String>) {
    const OURS: [&str; 13] = [
        "accept",
        "accept-encoding",
        "anonymousid",
        "authorization",
        "content-encoding",
        "content-length",
        "content-type",
        "host",
        "if-modified-since",
        "if-none-match",
        "origin",
        "user-agent",
        "x-retry-count",
    ];
    for request in standin.taken().requests {
        let foreign: Vec<&String> = request.header_names.iter().filter(|name| !OURS.contains(&name.as_str())).collect();
        assert!(foreign.is_empty(), "{} {} carries {foreign:?}", request.method, request.path);
        if let Some(authorization) = request.headers.get("authorization") {
            assert!(!authorization.contains("d2tfdGVzdF9ub21pbmF0ZWQ6"), "what the connection named went on");
        }
        assert!(!request.header_names.contains(&"x-retry-count".to_owned()), "what the connection named went on");
        let is_batch = ["/v1/batch", "/v1/track"].contains(&request.path.as_str()) && request.events > 0;
        if !is_batch {
            let position = passed.iter().position(|path| *path == request.path);
            passed.remove(position.unwrap_or_else(|| panic!("nobody asked for {} {}", request.method, request.path)));
        }
    }
    assert!(passed.is_empty(), "these were never passed on: {passed:?}");
}

/// How many mutations CI tries; `SEGUE_MUTATIONS` names another number.
const MUTATIONS: usize = 4_000;
/// Of these the stand-ins are asked at a time.
const ROUND: usize = 2_000;
const AT_ONCE: usize = 16;

#[tokio::test(flavor = "multi_thread")]
async fn no_mutation_of_a_payload_invents_anything() {
    let seed = process::seed();
    let wanted = std::env::var("SEGUE_MUTATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(MUTATIONS);
    println!("SEGUE_SEED={seed} SEGUE_MUTATIONS={wanted}");
    let scene = Arc::new(Scene::begin().await);
    let sums = Sums::watch(scene.stage.sidecar().metrics_address().unwrap());
    let all = Arc::new(payloads());
    let (mut done, mut arrived) = (0, 0);
    while done < wanted {
        let count = ROUND.min(wanted - done);
        let tasks: Vec<_> = (0..AT_ONCE)
            .map(|worker| {
                let (scene, all) = (Arc::clone(&scene), Arc::clone(&all));
                tokio::spawn(async move {
                    let mut sent = Vec::new();
                    for n in (done + worker..done + count).step_by(AT_ONCE) {
                        sent.push(mutate_and_send(&scene, &all, seed, n).await);
                    }
                    sent
                })
            })
            .collect();
        let mut sent = Vec::new();
        for task in tasks {
            sent.extend(task.await.unwrap().into_iter().flatten());
        }
        scene.healthy(Transport::Plain, &format!("l-{done}")).await;
        scene.healthy(Transport::Tls, &format!("t-{done}")).await;
        scene.stage.drained().await;
        arrived += check_round(&scene.stage, &sent, done);
        done += count;
    }
    println!("{done} mutations; {arrived} events of them arrived, each as it was sent");
    assert!(arrived > wanted / 100, "hardly a mutation was legal, so little is proved");
    sums.held().await;
}

/// Nothing arrived that was not sent, and the healthy ones did. Returns how many others arrived.
fn check_round(stage: &Stage, sent: &[u8], round: usize) -> usize {
    let events = stage.segment.taken().events;
    let json = |event: &TakenEvent| event.json.clone().unwrap_or_default();
    let (healthy, others): (Vec<_>, Vec<_>) =
        events.iter().partition(|event| [format!("l-{round}"), format!("t-{round}")].contains(&event.message_id.to_string()));
    assert_eq!(healthy.len(), 2, "healthy requests arrive");
    for event in &others {
        let json = json(event);
        // An event whose messageId was mutated away has one of ours in its place (protocol.md T7).
        let theirs = json.split(r#","messageId":"segue-"#).next().unwrap_or_default();
        assert!(memchr::memmem::find(sent, theirs.as_bytes()).is_some(), "nobody sent {json}");
    }
    let ours = |request: &segue::standin::TakenRequest| {
        !request.header_names.iter().any(|name| ["cookie", "connection", "transfer-encoding", "te", "upgrade"].contains(&name.as_str()))
    };
    assert!(stage.segment.taken().requests.iter().all(ours) && stage.rudder.taken().requests.iter().all(ours));
    stage.segment.forget();
    stage.rudder.forget();
    others.len()
}

async fn mutate_and_send(scene: &Scene, all: &[Payload], seed: u64, n: usize) -> Vec<u8> {
    let mut random = Random(seed ^ (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let payload = &all[random.below(all.len())];
    let (mut bytes, _) = with_ids(payload, &format!("m{:08}", n % 100_000_000));
    for _ in 0..=random.below(3) {
        mutate(&mut bytes, &mut random);
    }
    let transport = if random.below(8) == 0 { Transport::Tls } else { Transport::Plain };
    let mut stream = scene.connect(transport).await;
    let _ = stream.write_all(&bytes).await;
    // Closing our side is what lets the sidecar end a request that waits for more.
    let _ = stream.shutdown().await;
    let mut said = Vec::new();
    let ended = timeout(Duration::from_secs(10), stream.read_to_end(&mut said)).await;
    assert!(ended.is_ok(), "{}, mutation {n}: still open; sent {:?}", payload.name, String::from_utf8_lossy(&bytes));
    bytes
}

/// One small change: what parsers have stumbled over is likelier than any byte.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    const SPECIAL: [&[u8]; 18] = [
        b"\r",
        b"\n",
        b"\r\n",
        b"\r\n\r\n",
        b"\0",
        b"\t",
        b" ",
        b"\x0b",
        b"\xa0",
        b":",
        b";",
        b",",
        b"\"",
        b"0",
        b"Content-Length: 0\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Host: b\r\n",
        b"HTTP/1.1",
    ];
    let at = random.below(bytes.len() + 1);
    match random.below(5) {
        0 if at < bytes.len() => bytes[at] = u8::try_from(random.below(256)).unwrap(),
        1 if at < bytes.len() => drop(bytes.remove(at)),
        2 => {
            let end = (at + random.below(40)).min(bytes.len());
            let copy = bytes[at..end].to_vec();
            let to = random.below(bytes.len() + 1);
            bytes.splice(to..to, copy);
        }
        3 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        _ => {
            let special = SPECIAL[random.below(SPECIAL.len())];
            bytes.splice(at..at, special.iter().copied());
        }
    }
}

/// `SplitMix64`.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % end as u64).unwrap()
    }
}
