//! Over TLS as SDKs speak it: h2 where it is offered, HTTP/1.1 where nothing is, names and addresses alike, and no way past the CA.

#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails")]

mod stage;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use segue::{
    standin::{Fault, Rule},
    tls::{self, Existing, Mode},
    upstream::{self, Call, Sent, Upstream},
};
use stage::{SEGMENT_KEY, Stage, ids};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const NAMES: [&str; 2] = ["api.segment.io", "cdn.segment.com"];

/// A stage whose sidecar terminates TLS with a CA of its own; also the path of the root.
async fn tls_stage() -> (Stage, std::path::PathBuf) {
    let certs = tempfile::tempdir().unwrap().keep();
    let names: Vec<String> = NAMES.map(str::to_owned).to_vec();
    let made = tls::init(&certs, &names, Existing::Refuse, segue::clock::Clock::system().now()).unwrap();
    let stage = Stage::with(|config| {
        config.ingress.listen_tls = Some(([127, 0, 0, 1], 0).into());
        config.tls = Some(tls::Settings { mode: Mode::LocalCa { dir: certs }, names });
    })
    .await;
    (stage, made.root)
}

fn track(id: &str) -> String {
    format!(r#"{{"type":"track","event":"E","userId":"u","messageId":"{id}","writeKey":"{SEGMENT_KEY}"}}"#)
}

fn call(id: &str) -> Call {
    Call { method: Method::POST, path: "/v1/track".into(), headers: HeaderMap::new(), body: Bytes::from(track(id)) }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_trusts_the_root_is_served_and_one_that_does_not_is_not() {
    let (stage, root) = tls_stage().await;
    let port = stage.sidecar().tls_address().unwrap().port();
    for host in ["localhost", "127.0.0.1"] {
        let trusting =
            upstream::Settings { url: format!("https://{host}:{port}"), ca_file: Some(root.clone()), ..upstream::Settings::default() };
        assert_eq!(Upstream::new(&trusting).unwrap().send(call(host)).await.unwrap().status, 200, "{host}");
        let stranger = upstream::Settings { ca_file: None, ..trusting };
        assert_eq!(Upstream::new(&stranger).unwrap().send(call("stranger")).await.unwrap_err().fault, upstream::Fault::Tls, "{host}");
    }
    stage.drained().await;
    assert_eq!(ids(&stage.rudder_events()), ["127.0.0.1", "localhost"].map(str::to_owned).into());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_segment_name_is_served_with_and_without_alpn() {
    let (stage, root) = tls_stage().await;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(root).unwrap()).unwrap();
    let address = stage.sidecar().tls_address().unwrap();
    for (name, alpn, want) in [(NAMES[0], None, None), (NAMES[1], Some("http/1.1"), Some("http/1.1")), (NAMES[0], Some("h2"), Some("h2"))] {
        let mut config = ClientConfig::builder().with_root_certificates(roots.clone()).with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = TcpStream::connect(address).await.unwrap();
        let mut tls = connector.connect(ServerName::try_from(name).unwrap(), stream).await.unwrap();
        assert_eq!(tls.get_ref().1.alpn_protocol(), want.map(str::as_bytes), "{name} {alpn:?}");
        if want == Some("h2") {
            continue;
        }
        // Routing goes by Host, never by SNI: browsers put all hosts of a certificate on one connection.
        let body = track(name);
        let request =
            format!("POST /v1/track HTTP/1.1\r\nHost: api.segment.io\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        tls.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tls.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(r#"{"success":true}"#), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_streams_of_one_connection_arrive() {
    let (stage, root) = tls_stage().await;
    let port = stage.sidecar().tls_address().unwrap().port();
    let settings = upstream::Settings { url: format!("https://localhost:{port}"), ca_file: Some(root), ..upstream::Settings::default() };
    let client = Upstream::new(&settings).unwrap();
    let sends: Vec<_> = (0..100)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(async move { client.send(call(&format!("m-{n}"))).await.unwrap().status })
        })
        .collect();
    for send in sends {
        assert_eq!(send.await.unwrap(), 200);
    }
    stage.drained().await;
    assert_eq!((ids(&stage.segment_events()).len(), ids(&stage.rudder_events()).len()), (100, 100));
}

/// design 4, Shutdown: over h2 a client hears GOAWAY, what it had sent is answered, and what it sends later meets no half-closed door.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_takes_leave_of_h2_clients_and_answers_what_they_had_sent() {
    let (mut stage, root) = tls_stage().await;
    let port = stage.sidecar().tls_address().unwrap().port();
    let settings = upstream::Settings { url: format!("https://localhost:{port}"), ca_file: Some(root), ..upstream::Settings::default() };
    let client = Upstream::new(&settings).unwrap();
    stage.segment.faults().add(Rule::always(Fault::slow(Duration::from_millis(600))).for_key("wk_test_nobody"));
    let slow: Vec<_> = (0..10)
        .map(|n| {
            let client = client.clone();
            let body = Bytes::from(track(&format!("slow-{n}")).replace(SEGMENT_KEY, "wk_test_nobody"));
            tokio::spawn(async move { client.send(Call { body, ..call("") }).await.unwrap().status })
        })
        .collect();
    let busy: Vec<_> = (0..4)
        .map(|worker| {
            let client = client.clone();
            tokio::spawn(async move {
                for n in 0_u64.. {
                    match client.send(call(&format!("busy-{worker}-{n}"))).await {
                        Ok(answer) => assert_eq!(answer.status, 200),
                        Err(error) => return (n, error),
                    }
                }
                unreachable!("the sidecar stops")
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    stage.sidecar.take().unwrap().stop().await;
    for slow in slow {
        assert_eq!(slow.await.unwrap(), 200, "it was in flight");
    }
    let mut acked = 0;
    for busy in busy {
        let (answered, error) = busy.await.unwrap();
        assert_eq!(error.sent, Sent::Nothing, "what was sent was answered: {error}");
        acked += answered;
    }
    assert!(acked > 0);
    stage.sidecar = Some(segue::app::Sidecar::start_with(stage.config.clone(), stage.clock.clone()).await.unwrap());
    stage.drained().await;
    let counts = stage.rudder.counts();
    assert_eq!((counts.distinct, counts.duplicates), (acked, 0));
}
