//! What an upstream may do to us, and what becomes of it (reliability.md U6 to U11, N4 to N6, T7, T9).

#![expect(clippy::unwrap_used, reason = "what a story takes for granted fails it when it is not so")]

mod upstream_stage;

use std::{
    collections::HashMap,
    convert::Infallible,
    fmt::Write,
    pin::Pin,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::{Body, Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use segue::upstream::{Addresses, CallError, Extent, Fault, Sent, Settings, Upstream, UpstreamError};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::Barrier,
};
use tokio_rustls::TlsAcceptor;
use upstream_stage::{Authority, Reply, Server, call, ok, server_config, settings, upstream};

async fn ask(reply: Reply) -> (Result<StatusCode, CallError>, Duration) {
    let authority = Authority::new();
    let server = Server::start(authority.server(|_| {}), move |_| reply.clone()).await;
    let patience = Duration::from_millis(1_500);
    let upstream = Upstream::new(&Settings { timeout: patience, ..settings(server.url(), &[&authority]) }).unwrap();
    let started = Instant::now();
    let answer = upstream.send(call("{}")).await.map(|answer| answer.status);
    (answer, started.elapsed())
}

#[tokio::test]
async fn only_a_well_formed_answer_is_an_answer() {
    let say = |text: &str| text.as_bytes().to_vec();
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let many_headers = (0..10_000).fold(say("HTTP/1.1 200 OK\r\n"), |mut head, number| {
        head.extend_from_slice(format!("x-{number}: {number}\r\n").as_bytes());
        head
    });
    let table = [
        ("a short body", Reply::SayAndClose(say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok")), Err(Fault::BadAnswer)),
        ("a short body without farewell", Reply::SayAndDrop(say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok")), Err(Fault::BadAnswer)),
        ("garbage for a chunk", Reply::SayAndHang(say(&format!("{chunked}2\r\nok\r\nzz\r\n"))), Err(Fault::BadAnswer)),
        ("an endless chunk size", Reply::SayAndHang(say(&format!("{chunked}fffffffffffffffff\r\nok"))), Err(Fault::BadAnswer)),
        ("chunks without an end", Reply::SayAndClose(say(&format!("{chunked}2\r\nok\r\n"))), Err(Fault::BadAnswer)),
        ("a cut tail that TLS has not ended", Reply::SayAndDrop(say("HTTP/1.1 200 OK\r\n\r\nok")), Err(Fault::BadAnswer)),
        ("a tail that TLS has ended", Reply::SayAndClose(say("HTTP/1.1 200 OK\r\n\r\nok")), Ok(200)),
        ("two lengths", Reply::Say(say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok")), Err(Fault::BadAnswer)),
        ("a length of minus one", Reply::Say(say("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nok")), Err(Fault::BadAnswer)),
        ("no HTTP", Reply::SayAndHang(say("HELO\r\n\r\n")), Err(Fault::BadAnswer)),
        ("ten thousand headers", Reply::SayAndHang(many_headers), Err(Fault::BadAnswer)),
        (
            "an upgrade",
            Reply::SayAndHang(say("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")),
            Err(Fault::BadAnswer),
        ),
        ("nothing", Reply::SayAndClose(Vec::new()), Err(Fault::Closed)),
        ("half a head", Reply::SayAndClose(say("HTTP/1.1 200 OK\r\nConte")), Err(Fault::Closed)),
        ("no content", Reply::Say(say("HTTP/1.1 204 No Content\r\n\r\n")), Ok(204)),
        ("an error", Reply::Say(say("HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n")), Ok(503)),
        (
            "a hint, then the answer",
            Reply::Say([say("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n"), ok("ok")].concat()),
            Ok(200),
        ),
        ("hints for ever", Reply::SayAndRepeat(Vec::new(), say("HTTP/1.1 103 Early Hints\r\n\r\n")), Err(Fault::Timeout)),
        ("silence", Reply::SayAndHang(Vec::new()), Err(Fault::Timeout)),
        ("a slow head", Reply::Drip(say("HTTP/1.1 200 OK\r\nx: y")), Err(Fault::Timeout)),
        ("a head and silence", Reply::SayAndHang(say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok")), Err(Fault::Timeout)),
    ];
    let asked = table.map(|(what, reply, wanted)| async move { (what, ask(reply).await, wanted) });
    for one in asked.map(tokio::spawn) {
        let (what, (got, took), wanted) = one.await.unwrap();
        assert!(took < Duration::from_secs(15), "{what}: {took:?}");
        match (&got, wanted) {
            (Ok(status), Ok(code)) => assert_eq!(status.as_u16(), code, "{what}"),
            (Err(error), Err(fault)) => assert_eq!((error.fault, error.sent), (fault, Sent::Maybe), "{what}: {error}"),
            _ => panic!("{what}: {got:?}"),
        }
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let authority = Authority::new();
    let other = Server::start(authority.server(|_| {}), |_| Reply::Say(ok("followed"))).await;
    let location = format!("HTTP/1.1 307 Go\r\nLocation: {}/v1/batch\r\nContent-Length: 0\r\n\r\n", other.url());
    let server = Server::start(authority.server(|_| {}), move |_| Reply::Say(location.clone().into_bytes())).await;
    let answer = upstream(&server, &authority).send(call("{}")).await.unwrap();
    assert_eq!(answer.status, StatusCode::TEMPORARY_REDIRECT);
    assert!(answer.headers.contains_key(header::LOCATION));
    assert_eq!(other.accepted(), 0);
}

#[tokio::test]
async fn a_body_is_cut_at_64_kib_and_never_inflated() {
    let authority = Authority::new();
    let ten_gb = b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\nContent-Encoding: gzip\r\n\r\n".to_vec();
    let mut server = Server::start(authority.server(|_| {}), move |_| Reply::SayAndRepeat(ten_gb.clone(), vec![0x1f; 8 << 10])).await;
    let upstream = upstream(&server, &authority);
    let answer = upstream.send(call("{}")).await.unwrap();
    assert_eq!((answer.status, answer.extent, answer.body.len()), (StatusCode::OK, Extent::Cut, 64 << 10));
    assert!(answer.body.iter().all(|byte| *byte == 0x1f));
    // The connection ends, rather than read ten gigabytes.
    server.broken_off.recv().await.unwrap();

    let refused = upstream.relay(call("{}"), 1 << 20).await.unwrap_err();
    assert_eq!(refused.fault, Fault::TooLarge);
    server.broken_off.recv().await.unwrap();
}

#[tokio::test]
async fn a_relay_brings_the_whole_body_up_to_its_limit() {
    let authority = Authority::new();
    let page = "x".repeat(300_000);
    let said = ok(&page);
    let server = Server::start(authority.server(|_| {}), move |_| Reply::Say(said.clone())).await;
    let upstream = upstream(&server, &authority);
    let answer = upstream.relay(call(""), 300_000).await.unwrap();
    assert_eq!((answer.extent, answer.body.len()), (Extent::Whole, 300_000));
    assert_eq!(upstream.relay(call(""), 299_999).await.unwrap_err().fault, Fault::TooLarge);
    let exactly = ok(&"x".repeat(64 << 10));
    let server = Server::start(authority.server(|_| {}), move |_| Reply::Say(exactly.clone())).await;
    let answer = upstream_stage::upstream(&server, &authority).send(call("")).await.unwrap();
    assert_eq!((answer.extent, answer.body.len()), (Extent::Whole, 64 << 10));
}

#[tokio::test]
async fn a_request_goes_out_with_our_framing_over_a_connection_that_is_used_again() {
    let authority = Authority::new();
    let server = Server::start(authority.server(|_| {}), |asked| Reply::Say(ok(&asked))).await;
    let upstream = upstream(&server, &authority);
    for number in 0..20 {
        let mut call = call("{\"n\":1}");
        call.headers.insert(header::HOST, HeaderValue::from_static("evil.example"));
        call.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        call.headers.insert(header::USER_AGENT, HeaderValue::from_static("sdk/1"));
        let answer = upstream.send(call).await.unwrap();
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, "{\"n\":1}", "{number}");
        let mut lines: Vec<&str> = head.lines().collect();
        lines.sort_unstable();
        assert_eq!(
            lines,
            ["POST /v1/batch HTTP/1.1", "content-length: 7", &format!("host: localhost:{}", server.port), "user-agent: sdk/1"]
        );
    }
    assert_eq!(server.accepted(), 1);
    upstream.refresh();
    upstream.send(call("{}")).await.unwrap();
    assert_eq!(server.accepted(), 2);
    assert_eq!(upstream.origin(), server.url());
}

#[tokio::test]
async fn what_follows_an_answer_is_not_the_answer_to_the_next_request() {
    let authority = Authority::new();
    let smuggled = [ok("first"), b"HTTP/1.1 500 Smuggled\r\nContent-Length: 0\r\n\r\n".to_vec()].concat();
    let server = Server::start(authority.server(|_| {}), move |_| Reply::Say(smuggled.clone())).await;
    let upstream = upstream(&server, &authority);
    for round in 1..=50 {
        let answer = upstream.send(call("{}")).await.unwrap();
        assert_eq!((answer.status, &answer.body[..]), (StatusCode::OK, &b"first"[..]), "{round}");
        assert_eq!(server.accepted(), round);
    }
}

/// The server lives in a thread of its own, so that blocking this one keeps the client from noticing anything.
#[tokio::test]
async fn a_connection_that_was_closed_while_idle_costs_no_call() {
    let authority = Authority::new();
    let config = authority.server(|_| {});
    let (started, starting) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = Server::start(config, |_| Reply::SayAndClose(ok("ok"))).await;
            started.send(server).unwrap();
            std::future::pending::<()>().await;
        });
    });
    let server = starting.recv().unwrap();
    let upstream = upstream(&server, &authority);
    for round in 0..100 {
        let answer = upstream.send(call("{}")).await;
        assert!(answer.is_ok(), "{round}: {answer:?}");
        server.closings.recv_timeout(Duration::from_secs(20)).unwrap();
        // Long enough to count as idle; the close has arrived already.
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[tokio::test]
async fn no_request_is_written_twice_when_connections_close_under_it() {
    let authority = Authority::new();
    let seen: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
    let book = Arc::clone(&seen);
    let server = Server::start(authority.server(|_| {}), move |asked| {
        *book.lock().unwrap().entry(asked.rsplit("\r\n").next().unwrap().to_owned()).or_default() += 1;
        Reply::SayAndClose(ok("ok"))
    })
    .await;
    let upstream = upstream(&server, &authority);
    for number in 0..300 {
        if let Err(error) = upstream.send(call(&format!("id-{number}"))).await {
            assert_eq!((error.fault, error.sent), (Fault::Closed, Sent::Maybe), "{error}");
        }
    }
    let seen = seen.lock().unwrap();
    assert!(!seen.is_empty() && seen.values().all(|count| *count == 1), "{seen:?}");
}

#[tokio::test]
async fn connections_kept_idle_are_few() {
    const BURST: usize = 10;
    let authority = Authority::new();
    let together = Arc::new(Barrier::new(BURST));
    let server = Server::start(authority.server(|_| {}), move |_| Reply::SayTogether(Arc::clone(&together), ok("ok"))).await;
    let upstream = Upstream::new(&Settings { idle_connections_max: 2, ..settings(server.url(), &[&authority]) }).unwrap();
    for (burst, connections) in [(1, BURST), (2, 2 * BURST - 2), (3, 3 * BURST - 4)] {
        all_at_once(&upstream, BURST).await;
        assert_eq!(server.accepted(), connections, "after burst {burst}");
    }
}

/// Time is stopped between the calls only, as a stopped clock jumps to the next deadline while a socket is waited for.
async fn let_pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_connection_is_not_used_beyond_its_age_nor_after_a_long_rest() {
    let authority = Authority::new();
    let server = Server::start(authority.server(|_| {}), |_| Reply::Say(ok("ok"))).await;
    let upstream = upstream(&server, &authority);
    for connections in [1, 1, 1, 1, 1, 1, 1, 1, 2, 2] {
        upstream.send(call("{}")).await.unwrap();
        assert_eq!(server.accepted(), connections);
        let_pass(Duration::from_secs(40)).await;
    }
    let_pass(Duration::from_secs(20)).await;
    upstream.send(call("{}")).await.unwrap();
    assert_eq!(server.accepted(), 3);
}

async fn all_at_once(upstream: &Upstream, count: usize) {
    let send = || {
        let upstream = upstream.clone();
        tokio::spawn(async move { upstream.send(call("{}")).await.unwrap() })
    };
    let sends: Vec<_> = std::iter::repeat_with(send).take(count).collect();
    for send in sends {
        send.await.unwrap();
    }
}

async fn verdict(config: ServerConfig, roots: &[&Authority], host: &str) -> (CallError, usize) {
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    let server = Server::start(config, move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        Reply::Say(ok("ok"))
    })
    .await;
    let upstream = Upstream::new(&settings(format!("https://{host}:{}", server.port), roots)).unwrap();
    (upstream.send(call("secret")).await.unwrap_err(), requests.load(Ordering::SeqCst))
}

#[tokio::test]
async fn a_server_that_cannot_prove_itself_gets_nothing() {
    let (known, unknown) = (Authority::new(), Authority::new());
    let expired = known.server(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let early = known.server(|params| params.not_before = rcgen::date_time_ymd(2090, 1, 1));
    let elsewhere = known.server(|params| params.subject_alt_names.clear());
    let for_clients = known.server(|params| params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth]);
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let table = [
        ("expired", expired, "localhost"),
        ("not yet valid", early, "localhost"),
        ("for another name", elsewhere, "localhost"),
        ("for clients", for_clients, "localhost"),
        ("by an unknown CA", unknown.server(|_| {}), "localhost"),
        ("by itself", server_config(own.der().to_vec(), &key), "localhost"),
    ];
    for (what, config, host) in table {
        let (error, requests) = verdict(config, &[&known], host).await;
        assert_eq!((error.fault, error.sent, requests), (Fault::Tls, Sent::Nothing, 0), "{what}: {error}");
        assert!(error.to_string().contains("certificate"), "{what}: {error}");
    }
}

#[tokio::test]
async fn a_public_upstream_is_never_called_at_a_private_address() {
    let authority = Authority::new();
    let server = Server::start(authority.server(|_| {}), |_| Reply::Say(ok("ok"))).await;
    for host in ["localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "169.254.169.254"] {
        let url = format!("https://{host}:{}", server.port);
        let public = Settings { addresses: Addresses::PublicOnly, ..settings(url, &[&authority]) };
        let error = Upstream::new(&public).unwrap().send(call("{}")).await.unwrap_err();
        assert_eq!((error.fault, error.sent), (Fault::Address, Sent::Nothing), "{host}: {error}");
    }
    assert_eq!(server.accepted(), 0);
    let plain = Settings { url: "http://api.segment.io".to_owned(), addresses: Addresses::PublicOnly, ..Settings::default() };
    assert!(matches!(Upstream::new(&plain), Err(UpstreamError::Url { .. })));
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_no_connection() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = Upstream::new(&settings(format!("https://127.0.0.1:{port}"), &[])).unwrap().send(call("{}")).await.unwrap_err();
    assert_eq!((error.fault, error.sent), (Fault::Connect, Sent::Nothing));
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_given_up() {
    let server = Server::accept(|socket, _| async move {
        let _held = socket;
        std::future::pending::<()>().await;
    })
    .await;
    let hasty = Settings { connect_timeout: Duration::from_millis(200), ..settings(server.url(), &[]) };
    let started = Instant::now();
    let error = Upstream::new(&hasty).unwrap().send(call("{}")).await.unwrap_err();
    assert_eq!((error.fault, error.sent), (Fault::Timeout, Sent::Nothing));
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn an_error_says_where_and_why_but_nothing_of_the_request() {
    let authority = Authority::new();
    let server = Server::start(authority.server(|_| {}), |_| Reply::SayAndClose(Vec::new())).await;
    let mut secret = call("wk_test_body");
    secret.path = "/v1/wk_test_path".to_owned();
    secret.headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Basic wk_test_header"));
    let error = upstream(&server, &authority).send(secret).await.unwrap_err();
    let mut shown = format!("{error} {error:?}");
    write!(shown, " {}", server.port).unwrap();
    assert!(shown.contains(&server.url()) && !shown.contains("wk_test"), "{shown}");
}

/// An h2 server that answers with what it saw, or with a flood on `/flood`.
async fn h2_server(authority: &Authority) -> Server {
    let mut config = authority.server(|_| {});
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Server::accept(move |socket, _| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(stream) = acceptor.accept(socket).await else { return };
            let service = hyper::service::service_fn(h2_answer);
            let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        }
    })
    .await
}

async fn h2_answer(request: Request<Incoming>) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    let body = match request.uri().path() {
        "/flood" => BoxBody::new(Endless),
        "/silence" => std::future::pending().await,
        _ => {
            let saw = format!("{:?} {} host {:?}", request.version(), request.uri(), request.headers().get(header::HOST));
            let sent = request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            Full::new(Bytes::from(format!("{saw} {}", sent.len()))).boxed()
        }
    };
    Ok(Response::new(body))
}

struct Endless;

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 8 << 10])))))
    }
}

#[tokio::test]
async fn over_h2_all_calls_share_one_connection() {
    let authority = Authority::new();
    let server = h2_server(&authority).await;
    let upstream = upstream(&server, &authority);
    let answer = upstream.send(call("{}")).await.unwrap();
    assert_eq!(answer.body, format!("HTTP/2.0 {}/v1/batch host None 2", server.url()));
    all_at_once(&upstream, 50).await;
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn over_h2_a_flood_is_cut_and_the_connection_lives() {
    let authority = Authority::new();
    let server = h2_server(&authority).await;
    let upstream = upstream(&server, &authority);
    for _ in 0..20 {
        let mut flood = call("");
        (flood.method, flood.path) = (Method::GET, "/flood".to_owned());
        let answer = upstream.send(flood).await.unwrap();
        assert_eq!((answer.extent, answer.body.len()), (Extent::Cut, 64 << 10));
        upstream.send(call("{}")).await.unwrap();
    }
    assert_eq!(server.accepted(), 1);
    upstream.refresh();
    upstream.send(call("{}")).await.unwrap();
    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn over_h2_a_connection_that_went_silent_is_not_used_for_the_next_call() {
    let authority = Authority::new();
    let server = h2_server(&authority).await;
    let hasty = Settings { timeout: Duration::from_millis(500), ..settings(server.url(), &[&authority]) };
    let upstream = Upstream::new(&hasty).unwrap();
    let mut silent = call("");
    silent.path = "/silence".to_owned();
    assert_eq!(upstream.send(silent).await.unwrap_err().fault, Fault::Timeout);
    upstream.send(call("{}")).await.unwrap();
    assert_eq!(server.accepted(), 2);
}

/// An h2 server that answers the first request of each connection; the second stream it refuses, or takes its leave and
/// names the first as its last, by turns.
async fn moody_h2_server(authority: &Authority, seen: Arc<AtomicUsize>) -> Server {
    let connections = AtomicUsize::new(0);
    raw_h2_server(authority, frame(SETTINGS, 0, 0, &[]), move |request| match request {
        1 => {
            seen.fetch_add(1, Ordering::SeqCst);
            H2Reply::once([frame(HEADERS, END_HEADERS, 1, STATUS_200), frame(DATA, END_STREAM, 1, b"ok")].concat())
        }
        _ if connections.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) => {
            H2Reply::once(frame(RST_STREAM, 0, request, &7u32.to_be_bytes()))
        }
        _ => H2Reply::once(frame(GOAWAY, 0, 0, &[1u32.to_be_bytes(), 0u32.to_be_bytes()].concat())),
    })
    .await
}

/// What a raw h2 server says to one request: this once, and that until the connection breaks.
struct H2Reply {
    once: Vec<u8>,
    again: Vec<u8>,
}

impl H2Reply {
    fn once(once: Vec<u8>) -> Self {
        Self { once, again: Vec::new() }
    }
}

/// An h2 server made of frames; it answers when the request on a stream, named by its number, is complete.
async fn raw_h2_server(authority: &Authority, greeting: Vec<u8>, answer: impl Fn(u32) -> H2Reply + Send + Sync + 'static) -> Server {
    let mut config = authority.server(|_| {});
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let answer = Arc::new(answer);
    Server::accept(move |socket, _| {
        let (acceptor, answer, greeting) = (acceptor.clone(), Arc::clone(&answer), greeting.clone());
        async move {
            if let Ok(stream) = acceptor.accept(socket).await {
                let _ = speak_h2(stream, &greeting, &*answer).await;
            }
        }
    })
    .await
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// `:status: 200`, `:status: 103` and `content-length: 5`, as HPACK writes them.
const STATUS_200: &[u8] = &[0x88];
const STATUS_103: &[u8] = b"\x08\x03103";
const LENGTH_5: &[u8] = b"\x0f\x0d\x015";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

async fn speak_h2(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    greeting: &[u8],
    answer: &(impl Fn(u32) -> H2Reply + Send + Sync),
) -> std::io::Result<()> {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await?;
    stream.write_all(greeting).await?;
    loop {
        stream.flush().await?;
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).await?;
        match (head[3], head[4]) {
            (SETTINGS, 0) => stream.write_all(&frame(SETTINGS, 1, 0, &[])).await?,
            (DATA, END_STREAM) => {
                let reply = answer(u32::from(head[8]));
                stream.write_all(&reply.once).await?;
                while !reply.again.is_empty() {
                    stream.write_all(&reply.again).await?;
                }
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn over_h2_whatever_the_peer_does_ends_by_the_deadline() {
    let setting = |id: u16, value: u32| frame(SETTINGS, 0, 0, &[&id.to_be_bytes()[..], &value.to_be_bytes()].concat());
    let plain = || frame(SETTINGS, 0, 0, &[]);
    let reset = |reason: u32| frame(RST_STREAM, 0, 1, &reason.to_be_bytes());
    let leave = |last: u32, reason: u32| frame(GOAWAY, 0, 0, &[last.to_be_bytes(), reason.to_be_bytes()].concat());
    let of_length_5 = frame(HEADERS, END_HEADERS, 1, &[STATUS_200, LENGTH_5].concat());
    let once = H2Reply::once;
    let again = |once: Vec<u8>, again: Vec<u8>| H2Reply { once, again };
    let table: [(&str, Vec<u8>, H2Reply, &[Fault]); 12] = [
        ("no streams allowed", setting(3, 0), once(Vec::new()), &[Fault::Timeout]),
        ("no window to send in", setting(4, 0), once(Vec::new()), &[Fault::Timeout]),
        ("silence", plain(), once(Vec::new()), &[Fault::Timeout]),
        ("hints for ever", plain(), again(Vec::new(), frame(HEADERS, END_HEADERS, 1, STATUS_103)), &[Fault::Timeout, Fault::Closed]),
        ("pings for ever", plain(), again(Vec::new(), frame(PING, 0, 0, &[0; 8])), &[Fault::Timeout, Fault::Closed]),
        ("settings for ever", plain(), again(Vec::new(), plain()), &[Fault::Timeout, Fault::Closed]),
        ("a head for ever", plain(), again(frame(HEADERS, 0, 1, STATUS_200), frame(CONTINUATION, 0, 1, LENGTH_5)), &[Fault::Closed]),
        ("empty data for ever", plain(), again(of_length_5.clone(), frame(DATA, 0, 1, b"")), &[Fault::Timeout, Fault::BadAnswer]),
        ("a reset", plain(), once(reset(2)), &[Fault::Closed]),
        ("a farewell in anger", plain(), once(leave(0, 11)), &[Fault::Closed]),
        ("a body before its head", plain(), once(frame(DATA, END_STREAM, 1, b"ok")), &[Fault::Closed]),
        ("a short body", plain(), once([of_length_5, frame(DATA, END_STREAM, 1, b"ok")].concat()), &[Fault::BadAnswer]),
    ];
    for (what, greeting, reply, wanted) in table {
        let authority = Authority::new();
        let server = raw_h2_server(&authority, greeting, move |_| H2Reply { once: reply.once.clone(), again: reply.again.clone() }).await;
        let hasty = Settings { timeout: Duration::from_millis(700), ..settings(server.url(), &[&authority]) };
        let started = Instant::now();
        let error = Upstream::new(&hasty).unwrap().send(call("{}")).await.unwrap_err();
        assert!(wanted.contains(&error.fault) && error.sent == Sent::Maybe, "{what}: {error}");
        assert!(started.elapsed() < Duration::from_secs(10), "{what}: {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn over_h2_a_request_that_the_peer_has_not_looked_at_is_sent_again() {
    let authority = Authority::new();
    let seen = Arc::new(AtomicUsize::new(0));
    let server = moody_h2_server(&authority, Arc::clone(&seen)).await;
    let upstream = upstream(&server, &authority);
    for round in 1..=20 {
        let answer = upstream.send(call("{}")).await;
        assert!(answer.is_ok(), "{round}: {answer:?}");
        assert_eq!(seen.load(Ordering::SeqCst), round);
    }
    assert_eq!(server.accepted(), 20);
}

/// Run by the next story, with an environment of its own.
#[tokio::test]
#[ignore = "run by the_environment_is_not_asked, which sets the environment"]
async fn child_calls_a_server_that_only_the_environment_trusts() {
    let url = std::env::var("SEGUE_TEST_URL").unwrap();
    let error = Upstream::new(&settings(url, &[])).unwrap().send(call("{}")).await.unwrap_err();
    assert_eq!(error.fault, Fault::Tls, "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_environment_is_not_asked() {
    let authority = Authority::new();
    let server = Server::start(authority.server(|_| {}), |_| Reply::Say(ok("ok"))).await;
    let dir = tempfile::tempdir().unwrap();
    let (root, key_log) = (dir.path().join("root.pem"), dir.path().join("keys.log"));
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &authority.der);
    std::fs::write(&root, format!("-----BEGIN CERTIFICATE-----\n{encoded}\n-----END CERTIFICATE-----\n")).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "--ignored", "child_calls_a_server_that_only_the_environment_trusts"]);
    child.env("SEGUE_TEST_URL", server.url()).env("SSL_CERT_FILE", &root).env("SSL_CERT_DIR", dir.path()).env("SSLKEYLOGFILE", &key_log);
    for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        child.env(name, "http://127.0.0.1:1");
    }
    let output = tokio::task::spawn_blocking(move || child.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    assert_eq!(server.accepted(), 1, "the proxy of the environment was asked");
    assert!(!key_log.exists());
}
