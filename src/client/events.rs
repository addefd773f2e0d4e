//! The live stream of a sidecar: server-sent events, as they come.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::{Method, Request, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{net::UnixStream, task::JoinHandle, time::timeout};

use super::{ANSWER_BYTES_MAX, Client, ClientError};

/// One event larger than this is refused: a snapshot of a thousand sources fits.
const EVENT_BYTES_MAX: usize = 8 << 20;
/// The sidecar says something at least each ten seconds: after so long it is gone.
const SILENCE_MAX: Duration = Duration::from_secs(25);

/// An event of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerEvent {
    /// Its name: `snapshot`, `figures`, `change`, `lost`, `tap`.
    pub name: String,
    /// What it says, as JSON.
    pub data: String,
}

/// A live stream. Dropping it closes it.
#[derive(Debug)]
pub struct EventStream {
    body: Incoming,
    unread: BytesMut,
    connection: JoinHandle<()>,
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Client {
    /// Opens the live stream at `path`, like `/v1/stream?topics=figures`.
    ///
    /// # Errors
    /// When there is no answer, or it is a no.
    pub async fn stream(&self, path: &str) -> Result<EventStream, ClientError> {
        timeout(self.timeout, self.open(path)).await.map_err(|_| ClientError::TimedOut(self.timeout))?
    }

    async fn open(&self, path: &str) -> Result<EventStream, ClientError> {
        let broken = |error: hyper::Error| ClientError::Broken(error.to_string());
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| self.unconnected(&error))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let connection = tokio::spawn(async move {
            // How it ends is heard where the body is read.
            let _ = connection.await;
        });
        let request = Request::builder()
            .method(Method::GET)
            .uri(path)
            .header(header::HOST, "segue")
            .header(header::ACCEPT, "text/event-stream")
            .body(Empty::<Bytes>::new())
            .map_err(|error| ClientError::Broken(error.to_string()))?;
        let response = sender.send_request(request).await.map_err(broken)?;
        if response.status().is_success() {
            return Ok(EventStream { body: response.into_body(), unread: BytesMut::new(), connection });
        }
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let bytes = body.map_err(|error| ClientError::Broken(error.to_string()))?.to_bytes();
        connection.abort();
        let problem = serde_json::from_slice(&bytes).map_err(|error| ClientError::Garbage(format!("{status}: {error}")))?;
        Err(ClientError::Problem(Box::new(problem)))
    }
}

impl EventStream {
    /// Waits for the next event. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the stream broke or ended, or nothing came for too long.
    pub async fn next(&mut self) -> Result<ServerEvent, ClientError> {
        loop {
            if let Some(event) = self.take() {
                return Ok(event);
            }
            if self.unread.len() > EVENT_BYTES_MAX {
                return Err(ClientError::Garbage(format!("an event of more than {EVENT_BYTES_MAX} bytes")));
            }
            let frame = timeout(SILENCE_MAX, self.body.frame()).await.map_err(|_| ClientError::TimedOut(SILENCE_MAX))?;
            let frame = frame.ok_or_else(|| ClientError::Broken("the sidecar ended the stream".to_owned()))?;
            let frame = frame.map_err(|error| ClientError::Broken(error.to_string()))?;
            if let Ok(data) = frame.into_data() {
                self.unread.extend_from_slice(&data);
            }
        }
    }

    /// Takes the next whole event out of what was read; comments, which only say that the stream lives, are passed over.
    fn take(&mut self) -> Option<ServerEvent> {
        loop {
            let end = memchr::memmem::find(&self.unread, b"\n\n")?;
            let event = parse(&self.unread[..end]);
            self.unread.advance(end + 2);
            if event.is_some() {
                return event;
            }
        }
    }
}

fn parse(block: &[u8]) -> Option<ServerEvent> {
    let text = String::from_utf8_lossy(block);
    let (mut name, mut data) = (String::new(), None::<String>);
    for line in text.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut name),
            "data" => match &mut data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => data = Some(value.to_owned()),
            },
            _ => {}
        }
    }
    data.map(|data| ServerEvent { name, data })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_as_the_standard_says() {
        assert_eq!(parse(b": still here"), None);
        let event = |name: &str, data: &str| Some(ServerEvent { name: name.to_owned(), data: data.to_owned() });
        assert_eq!(parse(b"event: figures\ndata: {\"a\":1}"), event("figures", "{\"a\":1}"));
        assert_eq!(parse(b"data:one\ndata: two\nid: 7"), event("", "one\ntwo"));
    }
}
