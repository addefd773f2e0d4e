//! Replays the kept corpus of a fuzz target, and random changes of it: what `cargo test` can do without libFuzzer.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::{Duration, Instant},
};

/// Random changes of each target's corpus.
const CHANGES: usize = 4_000;
/// No target takes longer, however slow the machine is.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// What inputs are made of.
const TOKENS: [&[u8]; 24] = [
    b"\"",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"null",
    b"1e999",
    b"-0",
    b"\xef\xbb\xbf",
    b"\xff",
    b"\0",
    b"\"messageId\":",
    b"\"userId\":",
    b"\"batch\":[",
    b"\"writeKey\":\"",
    b"\n",
    b"= ",
    b"/v1/",
    b"[[source]]\n",
];

/// Runs the target on its corpus and on random changes of it. A seed repeats them.
pub fn replay(name: &str, target: fn(&[u8]), seed: u64) {
    let corpus = corpus(name);
    assert!(corpus.len() >= 3, "{name}: only {} files in its corpus", corpus.len());
    for (file, data) in &corpus {
        run(name, target, data, file);
    }
    let started = Instant::now();
    let mut random = Random(seed ^ 0x9e37_79b9_7f4a_7c15);
    let mut changed = 0;
    while changed < CHANGES && started.elapsed() < PATIENCE {
        let (file, data) = &corpus[random.below(corpus.len())];
        let other = &corpus[random.below(corpus.len())].1;
        run(name, target, &change(data, other, &mut random), file);
        changed += 1;
    }
    println!("{name}: {} files and {changed} changes of them, SEGUE_SEED={seed}", corpus.len());
}

/// A seed from the environment, else from the clock.
pub fn seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    std::env::var("SEGUE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(now)
}

fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
    let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("it can be listed").path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.display().to_string(), fs::read(&path).expect("it can be read"))).collect()
}

fn run(name: &str, target: fn(&[u8]), data: &[u8], origin: &str) {
    let ended = catch_unwind(AssertUnwindSafe(|| target(data)));
    assert!(ended.is_ok(), "{name} fails on a change of {origin}, {} bytes: b\"{}\"", data.len(), data.escape_ascii());
}

fn change(data: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut data = data.to_vec();
    for _ in 0..=random.below(5) {
        let at = random.below(data.len() + 1);
        let end = at + random.below(data.len() - at + 1).min(64);
        match random.below(7) {
            0 if at < data.len() => data[at] ^= 1 << random.below(8),
            1 if at < data.len() => data[at] = u8::try_from(random.below(256)).expect("a byte"),
            2 => data.truncate(at),
            3 => drop(data.drain(at..end)),
            4 => {
                let copied = data[at..end].to_vec();
                data.splice(at..at, copied);
            }
            5 => {
                let from = random.below(other.len() + 1);
                let until = from + random.below(other.len() - from + 1).min(256);
                data.splice(at..end, other[from..until].iter().copied());
            }
            _ => drop(data.splice(at..at, TOKENS[random.below(TOKENS.len())].iter().copied())),
        }
    }
    data
}

/// Xorshift: fast, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit.max(1)).expect("64 bits")).expect("below a usize")
    }
}
