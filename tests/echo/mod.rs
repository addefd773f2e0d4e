//! A vendor that repeats in its answer whatever it was sent: headers, the key that it decodes from them, the body.

use std::sync::{
    Arc,
    atomic::{AtomicU16, Ordering},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// In place of an answer: bytes that are none.
pub const GARBAGE: u16 = 1;
/// In place of an answer: the end of the connection.
pub const CUT: u16 = 2;
/// More of a request is not read.
const REQUEST_BYTES_MAX: usize = 16 << 20;

/// The running vendor. It ends with the test's runtime.
pub struct Echo {
    port: u16,
    status: Arc<AtomicU16>,
}

impl Echo {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let status = Arc::new(AtomicU16::new(200));
        let shared = Arc::clone(&status);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { port, status }
    }

    pub const fn port(&self) -> u16 {
        self.port
    }

    /// What it answers from now on: a status, [`GARBAGE`] or [`CUT`].
    pub fn answer(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }
}

async fn serve(mut stream: TcpStream, status: Arc<AtomicU16>) {
    let mut taken = Vec::new();
    while let Some((head, body)) = request(&mut stream, &mut taken).await {
        let status = status.load(Ordering::Relaxed);
        if status == CUT {
            return;
        }
        let echo = format!("{head}\n{}\n{}", decoded(&head), String::from_utf8_lossy(&body[..body.len().min(2_000)]));
        let answer = match status {
            GARBAGE => format!("canary {echo}"),
            200 => "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{\"success\":true}".to_owned(),
            _ => format!("HTTP/1.1 {status} Canary\r\nX-Canary: canary\r\nContent-Length: {}\r\n\r\n{echo}", echo.len()),
        };
        if stream.write_all(answer.as_bytes()).await.is_err() || status == GARBAGE {
            return;
        }
    }
}

/// The next request's head and body; None when the connection ends.
async fn request(stream: &mut TcpStream, taken: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    loop {
        if let Some(end) = taken.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&taken[..end]).into_owned();
            let length = header(&head, "content-length").and_then(|text| text.parse::<usize>().ok()).unwrap_or(0);
            if taken.len() >= end + 4 + length {
                let body = taken[end + 4..end + 4 + length].to_vec();
                taken.drain(..end + 4 + length);
                return Some((head, body));
            }
        }
        let mut chunk = vec![0; 64 << 10];
        match stream.read(&mut chunk).await {
            Ok(count) if count > 0 && taken.len() < REQUEST_BYTES_MAX => taken.extend_from_slice(&chunk[..count]),
            _ => return None,
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().filter_map(|line| line.split_once(':')).find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// The credentials of Basic authorization, in plain.
fn decoded(head: &str) -> String {
    let encoded = header(head, "authorization").and_then(|value| value.strip_prefix("Basic ")).unwrap_or_default();
    STANDARD.decode(encoded).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
