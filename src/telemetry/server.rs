//! The metrics listener: `/metrics`, `/healthz`, `/readyz`.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore, task::JoinHandle};

use super::Exposition;

/// What the probes of an orchestrator hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Whether the process turns at all. Upstreams have no say: their outage must not restart us.
    pub live: bool,
    /// Whether it takes events.
    pub ready: Readiness,
    /// What a reader of `/readyz` should know beside it, a line each.
    pub notes: Vec<String>,
}

/// Whether events are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// Listening, and the journal can write.
    Ready,
    /// Not now, for this reason.
    Not(String),
}

/// Asks the running parts how they are.
pub type HealthProbe = Arc<dyn Fn() -> Health + Send + Sync>;

/// The running listener; it ends when dropped.
#[derive(Debug)]
pub struct MetricsServer {
    address: SocketAddr,
    task: JoinHandle<()>,
}

/// Scrapers at one time; more wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 32;

impl MetricsServer {
    /// Binds `address` (port 0: any) and serves.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(address: SocketAddr, exposition: Arc<Exposition>, probe: HealthProbe) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(serve(listener, exposition, probe));
        Ok(Self { address, task })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends the listener; when this returns it holds nothing any more.
    pub async fn stop(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for MetricsServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, exposition: Arc<Exposition>, probe: HealthProbe) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (exposition, probe) = (Arc::clone(&exposition), Arc::clone(&probe));
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let answer = answer(&request, &exposition, &probe);
                async move { Ok::<_, Infallible>(answer) }
            });
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(30));
            // A scraper that goes away in the middle is its own affair.
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
            drop(slot);
        });
    }
}

fn answer(request: &Request<Incoming>, exposition: &Exposition, probe: &HealthProbe) -> Response<Full<Bytes>> {
    let plain = "text/plain; charset=utf-8";
    let (status, content_type, body) = match request.uri().path() {
        "/metrics" => (StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", exposition.text()),
        "/healthz" if probe().live => (StatusCode::OK, plain, "ok\n".to_owned()),
        "/healthz" => (StatusCode::SERVICE_UNAVAILABLE, plain, "stuck\n".to_owned()),
        "/readyz" => {
            let Health { ready, notes, .. } = probe();
            let (status, first) = match ready {
                Readiness::Ready => (StatusCode::OK, "ready".to_owned()),
                Readiness::Not(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}")),
            };
            (status, plain, [vec![first], notes].concat().join("\n") + "\n")
        }
        _ => (StatusCode::NOT_FOUND, plain, "here are /metrics, /healthz and /readyz\n".to_owned()),
    };
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    response
}
