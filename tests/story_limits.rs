//! Clients that stall, swell or lie: each is cut or refused by its own limit, and a healthy client beside it is served.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a story that cannot go on fails")]

mod stage;

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use stage::{SEGMENT_KEY, Stage};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};

fn track(id: &str) -> String {
    format!(r#"{{"type":"track","event":"E","userId":"u","messageId":"{id}","writeKey":"{SEGMENT_KEY}"}}"#)
}

async fn short_stage() -> Stage {
    Stage::with(|config| {
        let limits = &mut config.ingress.limits;
        limits.header_timeout = Duration::from_millis(400);
        limits.idle_timeout = Duration::from_millis(1_200);
        limits.body_timeout = Duration::from_millis(600);
    })
    .await
}

/// Writes `bytes`, then reads until the sidecar closes; fails when it does not close within five seconds.
async fn until_closed(stage: &Stage, bytes: &[u8]) -> (String, Duration) {
    let mut stream = TcpStream::connect(stage.sidecar().plain_address().unwrap()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let started = Instant::now();
    let mut answer = Vec::new();
    let closed = timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
    assert!(closed.is_ok(), "still open after 5 s; answered so far: {}", String::from_utf8_lossy(&answer));
    (String::from_utf8_lossy(&answer).into_owned(), started.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_does_not_end_is_cut_long_before_an_idle_connection() {
    let stage = short_stage().await;
    let (_, cut_after) = until_closed(&stage, b"POST /v1/track HTTP/1.1\r\nHost: a").await;
    assert!(cut_after < Duration::from_millis(900), "{cut_after:?}");
    let (_, idle) = until_closed(&stage, b"").await;
    assert!(idle > Duration::from_millis(900), "an idle connection may stay: {idle:?}");
    // Time runs from its first byte, however much comes later.
    let mut stream = TcpStream::connect(stage.sidecar().plain_address().unwrap()).await.unwrap();
    let started = Instant::now();
    for _ in 0..3 {
        let _ = stream.write_all(format!("GET / HTTP/1.1\r\nX-Large: {}", "x".repeat(1_500)).as_bytes()).await;
        tokio::time::sleep(Duration::from_millis(120)).await;
    }
    let ended = timeout(Duration::from_secs(5), stream.read_to_end(&mut Vec::new())).await;
    assert!(ended.is_ok() && started.elapsed() < Duration::from_millis(700), "{:?}", started.elapsed());
    // The same on a connection that has carried a request already.
    let (answer, second) = until_closed(&stage, b"GET /-/healthz HTTP/1.1\r\nHost: a\r\n\r\nPOST /v1/tr").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(second < Duration::from_millis(1_400), "{second:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_is_answered_and_cut() {
    let stage = short_stage().await;
    let (answer, after) = until_closed(&stage, b"POST /v1/track HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{").await;
    // A slow link is no fault of the request: after a 400 the SDK would delete what it holds.
    assert!(answer.starts_with("HTTP/1.1 429") && answer.contains("retry-after"), "{answer}");
    assert!(after >= Duration::from_millis(500), "{after:?}");
    assert_eq!(stage.post("/v1/track", &track("healthy")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_too_large_is_refused() {
    let stage = short_stage().await;
    let line = format!("POST /v1/track HTTP/1.1\r\nHost: a\r\nX-Large: {}\r\n\r\n", "x".repeat(64 << 10));
    let mut stream = TcpStream::connect(stage.sidecar().plain_address().unwrap()).await.unwrap();
    // The sidecar may close before all of it is written.
    let _ = stream.write_all(line.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    let many = "X-Many: y\r\n".repeat(200);
    let (answer, _) = until_closed(&stage, format!("POST /v1/track HTTP/1.1\r\nHost: a\r\n{many}\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_is_left_to_segment_and_nothing_of_it_is_kept() {
    use std::io::Write;
    let stage = Stage::with_route("both").await;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&vec![b' '; 256 << 20]).unwrap();
    let bomb = encoder.finish().unwrap();
    assert!(bomb.len() < 512 << 10);
    let answer = stage.send(Method::POST, "/v1/batch", &[("content-encoding", "gzip")], Bytes::from(bomb)).await;
    assert_ne!(answer.status, 200);
    assert_eq!(stage.sidecar().ledger().iter().map(|(_, ledger)| ledger.planned).sum::<u64>(), 0);
    assert_eq!(stage.post("/v1/track", &track("healthy")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_take_the_place_of_those_that_never_asked() {
    let stage = Stage::with(|config| config.ingress.limits.connections_max = 10).await;
    assert_eq!(stage.post("/v1/track", &track("first")).await.status, 200);
    let address = stage.sidecar().plain_address().unwrap();
    let mut held = Vec::new();
    for _ in 0..9 {
        held.push(TcpStream::connect(address).await.unwrap());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut beyond = TcpStream::connect(address).await.unwrap();
    beyond.write_all(b"GET /-/healthz HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    timeout(Duration::from_secs(5), beyond.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200", "the eleventh is served");
    let read = timeout(Duration::from_secs(5), held[0].read(&mut [0; 1])).await.unwrap();
    assert!(matches!(read, Ok(0) | Err(_)), "the oldest that never asked is closed: {read:?}");
    let still = timeout(Duration::from_millis(200), held[1].read(&mut [0; 1])).await;
    assert!(still.is_err(), "and only that one: {still:?}");
    assert_eq!(stage.post("/v1/track", &track("second")).await.status, 200, "on its kept connection");
    assert_eq!(stage.sidecar().counters().shed_connections.value(), 1);
    assert_eq!(stage.sidecar().counters().refused_connections.value(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_and_expectations_are_normal() {
    let stage = Stage::with_route("both").await;
    let body = track("chunked");
    let (head, tail) = body.split_at(20);
    let chunked = format!(
        "POST /v1/track HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n{:x}\r\n{head}\r\n{:x}\r\n{tail}\r\n0\r\n\r\n",
        head.len(),
        tail.len()
    );
    let (answer, _) = until_closed(&stage, chunked.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let body = track("expect");
    let expecting = format!(
        "POST /v1/track HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let (answer, _) = until_closed(&stage, expecting.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 100") && answer.contains("HTTP/1.1 200"), "{answer}");
    let body = track("old");
    let old = format!("POST /v1/track HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let (answer, _) = until_closed(&stage, old.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    stage.drained().await;
    assert_eq!(stage::ids(&stage.rudder_events()), ["chunked", "expect", "old"].map(str::to_owned).into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_ends_after_ten_thousand_requests_and_says_so() {
    let stage = Stage::with_route("both").await;
    let mut stream = TcpStream::connect(stage.sidecar().plain_address().unwrap()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut buffer = [0; 4_096];
    for n in 1..=10_000 {
        stream.write_all(b"GET /-/healthz HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let read = stream.read(&mut buffer).await.unwrap();
        let answer = String::from_utf8_lossy(&buffer[..read]).to_lowercase();
        assert!(answer.starts_with("http/1.1 200"), "request {n}: {answer}");
        assert_eq!(answer.contains("connection: close"), n == 10_000, "request {n}: {answer}");
    }
    assert_eq!(stream.read(&mut buffer).await.unwrap(), 0, "closed behind the last answer");
}
