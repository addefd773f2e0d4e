//! The client of the admin API: one request over the sidecar's unix socket, within a time; or its live stream.
//!
//! It owns one connection for the length of one request or stream. It never retries, and never takes more than its bound.

mod events;

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::net::UnixStream;

use crate::wire::Problem;

pub use events::{EventStream, ServerEvent};

/// An answer larger than this is refused: a page of large events fits.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// The way to one sidecar.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
    timeout: Duration,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing is at that path.
    #[error("there is no socket at {0}")]
    NoSocket(PathBuf),
    /// Nobody answers there.
    #[error("no sidecar answers at {0}")]
    NotRunning(PathBuf),
    /// The socket may not be used, by the system's word.
    #[error("{path} belongs to another user")]
    Denied {
        /// The socket.
        path: PathBuf,
    },
    /// Time is up.
    #[error("the sidecar did not answer within {} s", .0.as_secs_f32())]
    TimedOut(Duration),
    /// The connection broke.
    #[error("the sidecar did not answer: {0}")]
    Broken(String),
    /// What came is not what the admin API says.
    #[error("the answer cannot be read: {0}")]
    Garbage(String),
    /// The sidecar said no.
    #[error("{0}")]
    Problem(Box<Problem>),
}

impl Client {
    /// A client of the sidecar with that socket, each of whose requests may take so long.
    #[must_use]
    pub fn new(socket: &Path, timeout: Duration) -> Self {
        Self { socket: socket.to_owned(), timeout }
    }

    /// Asks for something.
    ///
    /// # Errors
    /// When there is no answer, or it is a no.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.call(Method::GET, path, Bytes::new()).await
    }

    /// Asks for a change.
    ///
    /// # Errors
    /// When there is no answer, or it is a no.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| ClientError::Garbage(error.to_string()))?;
        self.call(Method::POST, path, body.into()).await
    }

    async fn call<T: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<T, ClientError> {
        let answered = tokio::time::timeout(self.timeout, self.exchange(method, path, body)).await;
        let (status, bytes) = answered.map_err(|_| ClientError::TimedOut(self.timeout))??;
        let unreadable = |error: serde_json::Error| ClientError::Garbage(format!("{status}: {error}"));
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(unreadable);
        }
        let problem: Problem = serde_json::from_slice(&bytes).map_err(unreadable)?;
        Err(ClientError::Problem(Box::new(problem)))
    }

    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> Result<(StatusCode, Bytes), ClientError> {
        let broken = |error: hyper::Error| ClientError::Broken(error.to_string());
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| self.unconnected(&error))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "segue")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| ClientError::Broken(error.to_string()))?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(broken)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| ClientError::Broken(error.to_string()))?;
            Ok((status, body.to_bytes()))
        };
        // The connection is driven beside the request and ends with it.
        tokio::pin!(exchange);
        tokio::pin!(connection);
        tokio::select! {
            biased;
            answered = &mut exchange => answered,
            ended = &mut connection => match ended {
                Ok(()) => exchange.await,
                Err(error) => Err(broken(error)),
            },
        }
    }

    fn unconnected(&self, error: &io::Error) -> ClientError {
        match error.kind() {
            io::ErrorKind::NotFound => ClientError::NoSocket(self.socket.clone()),
            io::ErrorKind::ConnectionRefused => ClientError::NotRunning(self.socket.clone()),
            io::ErrorKind::PermissionDenied => ClientError::Denied { path: self.socket.clone() },
            _ => ClientError::Broken(error.to_string()),
        }
    }
}
