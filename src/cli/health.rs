//! `segue health`: one request to the metrics listener of a running sidecar.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use serde_json::json;

use super::{
    Exit,
    command::{HealthFlags, Manner, Probe},
    talk::{Form, Talk},
};
use crate::config::{self, Environment};

/// Asks, and tells the answer: 200 is yes.
pub fn health(manner: &Manner, flags: &HealthFlags, talk: &Talk) -> anyhow::Result<Exit> {
    let Some(address) = flags.metrics.or_else(|| configured(manner)) else {
        anyhow::bail!("the configuration has metrics = \"\", so nobody answers probes; name the listener with --metrics");
    };
    let path = match flags.probe {
        Probe::Live => "/healthz",
        Probe::Ready => "/readyz",
    };
    let asked = ask(reachable(address), path, flags.timeout.0);
    let healthy = matches!(asked, Ok(200));
    let told = match &asked {
        Ok(200) => "ok".to_owned(),
        Ok(status) => format!("answered {status}"),
        Err(error) => format!("no answer from {address}: {error}"),
    };
    match talk.form() {
        Form::Json => talk.json(&json!({ "schema": "segue.health/v1", "healthy": healthy, "answer": told }))?,
        Form::Text => talk.result(&told)?,
    }
    Ok(if healthy { Exit::Done } else { Exit::Failed })
}

/// The configured listener; the default one when the configuration cannot be read, as a probe must not depend on the keys.
fn configured(manner: &Manner) -> Option<SocketAddr> {
    match config::load(manner.config(), &Environment::of_process(), &[]) {
        Ok(loaded) => loaded.config.telemetry.metrics,
        Err(_) => config::Config::default().telemetry.metrics,
    }
}

/// An address to connect to: what listens everywhere listens on loopback too.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The status of `GET path`, within the time.
fn ask(address: SocketAddr, path: &str, timeout: Duration) -> io::Result<u16> {
    let deadline = Instant::now() + timeout;
    let left = || {
        deadline
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())
            .ok_or_else(|| io::Error::from(io::ErrorKind::TimedOut))
    };
    let mut connection = TcpStream::connect_timeout(&address, left()?)?;
    connection.set_write_timeout(Some(left()?))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: segue-health\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes())?;
    let mut head = Vec::new();
    let mut chunk = [0; 64];
    while head.len() < STATUS_LINE_BYTES {
        connection.set_read_timeout(Some(left()?))?;
        match connection.read(&mut chunk)? {
            0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            count => head.extend_from_slice(&chunk[..count]),
        }
    }
    let status = std::str::from_utf8(&head[..STATUS_LINE_BYTES]).ok().and_then(|line| line.strip_prefix("HTTP/1.1 "));
    status.and_then(|status| status.parse().ok()).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "this is not HTTP"))
}

/// `HTTP/1.1 200`.
const STATUS_LINE_BYTES: usize = 12;
