//! Many seeds; the same seed twice.

use std::{
    env,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use super::{
    script::Script,
    world::{Met, Report, run},
};

/// Seeds that a usual run of the tests tries; `SEGUE_SIM_SEEDS` says otherwise.
const SEEDS: u64 = 500;
/// Of which the trace of a failure prints so much.
const FAULTS_SHOWN_MAX: usize = 20;

#[test]
fn what_was_promised_holds_whatever_goes_wrong() {
    if let Some(seed) = number("SEGUE_SEED") {
        let report = run(Script { trace_lines_max: usize::MAX, ..Script::of(seed) });
        show(&report);
        assert!(report.faults.is_empty(), "seed {seed} fails");
        return;
    }
    let count = number("SEGUE_SIM_SEEDS").unwrap_or(SEEDS);
    let known = include_str!("regression_seeds.txt").lines().filter_map(|line| line.split_whitespace().next()?.parse().ok());
    let seeds: Vec<u64> = known.chain(1..=count).collect();
    let begun = Instant::now();
    let (met, failed) = run_all(&seeds);
    println!("{} seeds, 1 to {count} and those that failed once, in {:?}: {met:?}", seeds.len(), begun.elapsed());
    assert!(failed.is_empty(), "seeds {failed:?} fail; SEGUE_SEED={} shows one of them", failed[0]);
    let Met { events, taken, crashes, resent, duplicates, relayed, quarantined, looks, .. } = met;
    for (what, times) in [
        ("an event", events),
        ("an answer that it was taken", taken),
        ("a crash", crashes),
        ("a resend", resent),
        ("a duplicate", duplicates),
        ("a live relay", relayed),
        ("an event in quarantine", quarantined),
        ("a look at the sums", looks),
    ] {
        assert!(times > 0 || count < 50, "no seed has met {what}: they prove nothing about it");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 1..=16 {
        let (first, second) = (run(Script::of(seed)), run(Script::of(seed)));
        assert_eq!(first.trace.hash(), second.trace.hash(), "seed {seed} takes two ways");
        assert_eq!(first.met, second.met, "seed {seed}");
    }
    assert_ne!(run(Script::of(1)).trace.hash(), run(Script::of(2)).trace.hash(), "two seeds take one way");
}

/// Runs them on all processors. Returns what they met together, and which failed.
fn run_all(seeds: &[u64]) -> (Met, Vec<u64>) {
    let next = AtomicU64::new(0);
    let all: Mutex<(Met, Vec<u64>)> = Mutex::default();
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap()) {
                    let report = run(Script::of(*seed));
                    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                    all.0.add(report.met);
                    if !report.faults.is_empty() {
                        all.1.push(*seed);
                        show(&report);
                    }
                }
            });
        }
    });
    let (met, mut failed) = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.sort_unstable();
    (met, failed)
}

fn show(report: &Report) {
    let Report { seed, faults, trace, met } = report;
    println!("{}seed {seed}: {met:?}", trace.tail());
    for fault in faults.iter().take(FAULTS_SHOWN_MAX) {
        println!("seed {seed}: {fault}");
    }
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

impl Met {
    fn add(&mut self, other: Self) {
        self.events += other.events;
        self.taken += other.taken;
        self.crashes += other.crashes;
        self.resent += other.resent;
        self.duplicates += other.duplicates;
        self.relayed += other.relayed;
        self.quarantined += other.quarantined;
        self.looks += other.looks;
        self.virtual_s += other.virtual_s;
        self.late_s_most = [0, 1].map(|vendor| self.late_s_most[vendor].max(other.late_s_most[vendor]));
        self.off_ms_most = self.off_ms_most.max(other.off_ms_most);
        self.refused += other.refused;
    }
}
