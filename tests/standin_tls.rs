//! The stand-ins over TLS, with HTTP/2 and HTTP/1.1, and what faults do to a connection of many streams.

#![expect(clippy::unwrap_used, reason = "a test's helpers may fail as loudly as the test")]

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
};
use segue::standin::{Fault, Key, Options, RudderStandin, Rule, SegmentStandin, Standin, Vendor, serve};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The server's side, and a client that trusts it and offers these protocols.
fn tls(offered: &[&[u8]]) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(vec!["api.segment.io".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = offered.iter().map(|protocol| protocol.to_vec()).collect();
    (Arc::new(server), Arc::new(client))
}

fn event(standin: &Standin, version: Version) -> Request<Full<Bytes>> {
    Request::post(format!("{}/v1/track", standin.url()))
        .version(version)
        .header("authorization", "Basic d2tfdGVzdF9hOg==")
        .body(Full::from(r#"{"userId":"u","event":"E"}"#))
        .unwrap()
}

fn options(tls: Option<Arc<ServerConfig>>) -> Options {
    Options { keys: vec![Key::enabled("wk_test_a")], tls, ..Options::default() }
}

/// Plain HTTP/2 with prior knowledge, one connection for all requests.
fn h2_client() -> Client<HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new()).http2_only(true).build_http()
}

#[tokio::test]
async fn both_protocols_are_spoken_over_tls() {
    for (offered, version) in
        [(&[b"h2".as_slice()][..], Version::HTTP_2), (&[b"http/1.1".as_slice()], Version::HTTP_11), (&[], Version::HTTP_11)]
    {
        let (server, client) = tls(offered);
        let segment = SegmentStandin::start(options(Some(server))).await.unwrap();
        assert!(segment.url().starts_with("https://127.0.0.1:"));
        let stream = TcpStream::connect(segment.addr()).await.unwrap();
        let name = ServerName::try_from("api.segment.io").unwrap();
        let io = TokioIo::new(TlsConnector::from(client).connect(name, stream).await.unwrap());
        let answer = if version == Version::HTTP_2 {
            let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(event(&segment, version)).await.unwrap()
        } else {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(event(&segment, version)).await.unwrap()
        };
        assert_eq!((answer.status(), answer.version()), (StatusCode::OK, version));
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), r#"{"success":true}"#);
        assert_eq!(segment.counts().distinct, 1);
    }
}

#[tokio::test]
async fn requests_of_one_connection_share_its_number() {
    let rudder = RudderStandin::start(options(None)).await.unwrap();
    let client = h2_client();
    for _ in 0..3 {
        let answer = client.request(event(&rudder, Version::HTTP_2)).await.unwrap();
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ok");
    }
    let connections: Vec<u64> = rudder.taken().requests.iter().map(|request| request.connection).collect();
    assert_eq!(connections, [1, 1, 1]);
}

#[tokio::test]
async fn a_closed_connection_takes_all_its_streams_along() {
    let rudder = RudderStandin::start(options(None)).await.unwrap();
    let client = h2_client();
    client.request(event(&rudder, Version::HTTP_2)).await.unwrap();
    rudder.faults().add(Rule::next(1, Fault::Hang));
    let hanging = tokio::spawn(client.request(event(&rudder, Version::HTTP_2)));
    rudder.wait_for(Duration::from_secs(5), |counts| counts.unanswered == 1).await.unwrap();
    rudder.faults().add(Rule::next(1, Fault::TakeThenClose));
    assert!(client.request(event(&rudder, Version::HTTP_2)).await.is_err());
    assert!(tokio::time::timeout(Duration::from_secs(5), hanging).await.unwrap().unwrap().is_err());
    assert_eq!(rudder.counts().events, 2, "the one that could not know was taken");
}

#[tokio::test]
async fn it_can_be_served_until_told_to_end() {
    let (told, addr) = tokio::sync::oneshot::channel();
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let serving =
        tokio::spawn(serve(Vendor::RudderStack, options(None), move |addr| told.send(addr).unwrap(), async move { ended.await.unwrap() }));
    let url = format!("http://{}/health", addr.await.unwrap());
    let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    assert_eq!(client.get(url.parse().unwrap()).await.unwrap().status(), StatusCode::OK);
    end.send(()).unwrap();
    serving.await.unwrap().unwrap();
    assert!(client.get(url.parse().unwrap()).await.is_err());
}
