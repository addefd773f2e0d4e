//! The runtimes that apps are written in, asked by themselves: whether the certificate is trusted is for them to say.

use std::{
    io::Read,
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// One runtime, and how it is asked.
#[derive(Debug)]
pub struct Runtime {
    /// As `certs export --for` has it.
    pub name: &'static str,
    program: &'static str,
    /// What comes before the URL. It ends with 0 when there was an answer, and says why when there was none.
    words: &'static [&'static str],
}

/// What came of asking.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// There was an answer.
    Trusts,
    /// It does not trust the certificate, in its own words.
    Distrusts(String),
    /// Something else, in its own words.
    Otherwise(String),
}

/// Those that can be asked by one line.
pub const RUNTIMES: [Runtime; 3] = [
    Runtime {
        name: "node",
        program: "node",
        words: &[
            "-e",
            "require('https').get(process.argv[1],r=>process.exit(0)).on('error',e=>{console.error(e.code,e.message);process.exit(1)})",
        ],
    },
    Runtime {
        name: "python",
        program: "python3",
        // Segment's SDK speaks by requests, which has roots of its own.
        words: &[
            "-c",
            "import sys\ntry:\n import requests\n get=lambda u:requests.get(u,timeout=5)\nexcept ImportError:\n import urllib.request\n get=lambda u:urllib.request.urlopen(u,timeout=5)\ntry: get(sys.argv[1])\nexcept Exception as e: sys.exit(str(e))",
        ],
    },
    Runtime { name: "curl", program: "curl", words: &["--silent", "--show-error", "--output", "/dev/null"] },
];

/// What a runtime says of a certificate that it does not trust.
const DISTRUST: [&str; 4] = ["certificate", "CERT_", "self-signed", "SELF_SIGNED"];
/// Of what a runtime said.
const SAID_BYTES_MAX: u64 = 4096;

impl Runtime {
    /// Has it fetch the URL. None: it is not on this machine.
    pub fn reach(&self, url: &str, within: Duration) -> Option<Ended> {
        let started = Instant::now();
        let mut child = Command::new(self.program)
            .args(self.words)
            .arg(url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .ok()?;
        loop {
            match child.try_wait() {
                Ok(Some(status)) if status.success() => return Some(Ended::Trusts),
                Ok(Some(_)) => break,
                // A runtime starts in a second, on a slow machine in a few.
                Ok(None) if started.elapsed() < within * 2 => sleep(Duration::from_millis(20)),
                Ok(None) | Err(_) => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Some(Ended::Otherwise("it does not answer".to_owned()));
                }
            }
        }
        let mut said = Vec::new();
        let _ = child.stderr.take().map(|stderr| stderr.take(SAID_BYTES_MAX).read_to_end(&mut said));
        let said = String::from_utf8_lossy(&said);
        let distrusts = |line: &&str| DISTRUST.iter().any(|word| line.contains(word));
        Some(match said.lines().find(distrusts) {
            Some(line) => Ended::Distrusts(line.to_owned()),
            None => Ended::Otherwise(said.lines().next().unwrap_or("it says nothing").to_owned()),
        })
    }
}
