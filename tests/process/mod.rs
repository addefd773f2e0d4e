//! The `segue` binary as a child process, for stories that cannot be told inside one process: real SDKs, real kills.

#![allow(dead_code, reason = "every story uses a part of it")]
#![allow(clippy::panic, reason = "a story that cannot go on fails, with what the sidecar said")]

use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A running sidecar. Dropping it kills it.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `segue run`; what it says is added to `log`.
    pub fn run(config: &Path, log: &Path) -> Self {
        Self::run_by(command(), config, log)
    }

    /// As [`Process::run`], by a command that ends in the binary.
    pub fn run_by(mut command: Command, config: &Path, log: &Path) -> Self {
        let out = File::options().create(true).append(true).open(log).expect("the log can be written");
        let child = command
            .arg("run")
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(out.try_clone().expect("a second handle on the log"))
            .stderr(out)
            .spawn()
            .expect("segue starts");
        Self { child, log: log.to_owned() }
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, and nothing else: it has no chance to tidy up.
    pub fn kill(mut self) {
        assert!(self.child.try_wait().expect("its state").is_none(), "segue ended by itself:\n{}", self.said());
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it is gone");
    }

    /// SIGTERM, and how it ended.
    pub async fn stop(self, patience: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended(patience).await
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).expect("it can be signalled");
    }

    /// How it ended.
    pub async fn ended(mut self, patience: Duration) -> ExitStatus {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().expect("its state") {
                return status;
            }
            assert!(Instant::now() < deadline, "segue did not stop within {patience:?}:\n{}", self.said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Fails when it is no longer running.
    pub fn assert_running(&mut self) {
        if let Some(status) = self.child.try_wait().expect("its state") {
            panic!("segue ended by itself with {status}:\n{}", self.said());
        }
    }

    /// The end of what it said.
    pub fn said(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary under test, without the environment's own settings and proxies. `SEGUE_TEST_BINARY` names another one: a release
/// build, or one that is broken on purpose.
pub fn command() -> Command {
    let built = env!("CARGO_BIN_EXE_segue");
    clean(Command::new(std::env::var_os("SEGUE_TEST_BINARY").unwrap_or_else(|| built.into())))
}

/// A command that no proxy or certificate setting of this machine reaches.
pub fn clean(mut command: Command) -> Command {
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_ascii_lowercase());
    }
    for name in ["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "NODE_OPTIONS"] {
        command.env_remove(name);
    }
    command.env_remove("SEGUE_CONFIG").env_remove("RUST_LOG");
    command
}

/// Ports that are free now and that no outgoing connection takes meanwhile, as they are below the ephemeral range: a sidecar
/// can be started again on them.
pub fn free_ports<const N: usize>(seed: u64) -> [u16; N] {
    let mut next = seed;
    let mut held = Vec::new();
    while held.len() < N {
        next = next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let port = 12_000 + u16::try_from((next >> 33) % 18_000).expect("below 18,000");
        held.extend(TcpListener::bind(("127.0.0.1", port)));
    }
    std::array::from_fn(|index| held[index].local_addr().expect("it is bound").port())
}

/// A seed from the environment, else from the clock. Stories print it.
pub fn seed() -> u64 {
    std::env::var("SEGUE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        u64::try_from(since.as_nanos() & 0xffff_ffff).expect("32 bits")
    })
}

/// `GET` on loopback, the body of a 200; None while nobody answers so.
pub async fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
}

/// Waits until the sidecar says that it is ready.
pub async fn ready(process: &mut Process, metrics_port: u16) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while get(metrics_port, "/readyz").await.is_none() {
        process.assert_running();
        assert!(Instant::now() < deadline, "segue is not ready after 30 s:\n{}", process.said());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The value of a count: the sum over the series that have all these labels.
pub fn metric(text: &str, name: &str, labels: &[(&str, &str)]) -> u64 {
    let wanted: Vec<String> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
    let series = text.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let (found, rest) = series.split_once('{').unwrap_or((series, ""));
        let whole = value.split_once('.').map_or(value, |(whole, _)| whole);
        (found == name && wanted.iter().all(|label| rest.contains(label))).then(|| whole.parse::<u64>().ok())?
    });
    series.sum()
}
