//! The gate of one destination in virtual time: what a herd of lanes does to a destination that fails and comes back.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    gate::{Gate, Limit},
    settings::Pace,
};
use crate::{
    chance,
    model::RateLimit,
    policy::{Backoff, Outcome},
    upstream::{Settings, Upstream},
};

const LANES: usize = 12;
const IN_FLIGHT: usize = 16;
const REQUEST_EVENTS: u32 = 5;

/// A request that the destination saw.
#[derive(Debug, Clone, Copy)]
struct Seen {
    lane: usize,
    at: Duration,
    answered: u16,
}

const DOWN: Outcome = Outcome::Unanswered;
const OK: Outcome = Outcome::Answered { status: 200, retry_after: None };

/// The lanes' way through a gate, as errands go, with a backlog without end: each sends, waits 20 ms for its answer, and after a
/// failure until its backoff and the budget let it.
async fn herd(pace: Pace, up: impl Fn(Duration) -> u16 + Send + Sync + 'static, length: Duration) -> Vec<Seen> {
    let up = Arc::new(up);
    let upstream = Upstream::new(&Settings { url: "http://127.0.0.1:9".to_owned(), ..Settings::default() }).unwrap();
    let gate = Arc::new(Gate::new(upstream, pace));
    let limit = Arc::new(Limit::of(pace.rate_limit));
    let (start, (tell, mut told)) = (Instant::now(), mpsc::unbounded_channel());
    for lane in 0..LANES {
        let turnstile = Arc::new(tokio::sync::Mutex::new(()));
        for _ in 0..IN_FLIGHT {
            let (gate, limit, tell, turnstile, up) =
                (Arc::clone(&gate), Arc::clone(&limit), tell.clone(), Arc::clone(&turnstile), Arc::clone(&up));
            tokio::spawn(async move {
                let backoff = Backoff::new(pace.retry_first, pace.retry_max);
                let mut failures = 0;
                loop {
                    if failures > 0 {
                        sleep(backoff.wait(failures, chance::number())).await;
                        while let Some(at) = gate.retry_wait() {
                            sleep_until(at + Duration::from_millis(chance::number() % 100)).await;
                        }
                        gate.spend_retry();
                    }
                    let turn = if gate.is_rising() || limit.is_some() { Some(turnstile.lock().await) } else { None };
                    let pass = gate.admit().await;
                    gate.rise(REQUEST_EVENTS).await;
                    limit.wait(REQUEST_EVENTS).await;
                    drop(turn);
                    if !pass.stands() {
                        continue;
                    }
                    let at = start.elapsed();
                    sleep(Duration::from_millis(20)).await;
                    let answered = up(at);
                    pass.report(if answered == 200 { OK } else { DOWN }, REQUEST_EVENTS, "");
                    failures = if answered == 200 { 0 } else { failures + 1 };
                    if tell.send(Seen { lane, at, answered }).is_err() {
                        return;
                    }
                }
            });
        }
    }
    drop(tell);
    let mut seen = Vec::new();
    let _ = timeout(length, async {
        while let Some(one) = told.recv().await {
            seen.push(one);
        }
    })
    .await;
    seen
}

fn events_between(seen: &[Seen], from: u64, to: u64) -> u32 {
    let span = Duration::from_secs(from)..Duration::from_secs(to);
    u32::try_from(seen.iter().filter(|one| span.contains(&one.at)).count()).unwrap() * REQUEST_EVENTS
}

/// reliability.md N8: a partition of ten minutes under a limit of 500 events a second.
#[tokio::test(start_paused = true)]
async fn after_ten_minutes_of_outage_a_herd_comes_back_gently() {
    let pace = Pace { rate_limit: RateLimit::PerSecond(NonZeroU32::new(500).unwrap()), ..Pace::default() };
    let up = |at: Duration| if (60..660).contains(&at.as_secs()) { 503 } else { 200 };
    let seen = herd(pace, up, Duration::from_secs(1_100)).await;
    let before = events_between(&seen, 20, 60) / 40;
    assert!((470..=500).contains(&before), "{before} events/s before");
    // What was out when it broke, then one probe at a time, half a second to fifteen apart.
    let during = seen.iter().filter(|one| one.answered != 200).count();
    assert!((50..LANES * IN_FLIGHT + 100).contains(&during), "{during} requests in ten minutes of outage");
    let back = seen.iter().find(|one| one.at.as_secs() >= 660).unwrap().at.as_secs();
    assert!(back <= 660 + 16, "noticed after {} s", back - 660);
    let minutes: Vec<u32> = (0..5).map(|minute| events_between(&seen, back + 1 + 60 * minute, back + 1 + 60 * (minute + 1)) / 60).collect();
    println!("{before} events/s before; {during} requests in the outage; by the minute after it: {minutes:?} events/s");
    for (minute, (got, most)) in minutes.iter().zip([50, 100, 200, 400, 500]).enumerate() {
        assert!(*got <= most + most / 20, "minute {minute}: {minutes:?}");
        assert!(*got >= most - most / 10, "minute {minute}: {minutes:?}");
    }
    let share = |lane| seen.iter().filter(|one| one.lane == lane && one.at.as_secs() > back + 300).count();
    let shares: Vec<usize> = (0..LANES).map(share).collect();
    let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
    assert!(least * 10 >= most * 8, "no lane starves: {shares:?}");
}

/// reliability.md U2: what a fifth more can repair costs no throughput; beyond that the destination is spared, and all lanes
/// get their share of what is left.
#[tokio::test(start_paused = true)]
async fn in_a_storm_retries_are_a_fifth_and_no_lane_waits_for_ever() {
    let pace = Pace { rate_limit: RateLimit::PerSecond(NonZeroU32::new(1_000).unwrap()), ..Pace::default() };
    for (failing_percent, least_per_second) in [(1, 900), (12, 860), (45, 50)] {
        let asked = AtomicU32::new(0);
        let up = move |_| {
            let number = asked.fetch_add(1, Ordering::Relaxed);
            if number.wrapping_mul(2_654_435_761) / 42_949_673 < failing_percent { 500 } else { 200 }
        };
        let seen = herd(pace, up, Duration::from_mins(2)).await;
        let failed = seen.iter().filter(|one| one.answered != 200).count();
        let delivered = seen.len() - failed;
        let share = |lane| seen.iter().filter(|one| one.lane == lane && one.answered == 200).count();
        let shares: Vec<usize> = (0..LANES).map(share).collect();
        println!("{failing_percent} %: {delivered} delivered, {failed} failed; by lane: {shares:?}");
        // Each failure is followed by one retry at most, and some were still waiting at the end.
        let waiting = LANES * IN_FLIGHT;
        assert!(failed <= delivered / 5 + 120 * 10 + 50 + waiting, "{failing_percent} %: {failed} for {delivered} deliveries");
        assert!(delivered * 5 / 120 >= least_per_second, "{failing_percent} %: {} events/s", delivered * 5 / 120);
        assert!(shares.iter().min().unwrap() * 2 >= *shares.iter().max().unwrap(), "{failing_percent} %: {shares:?}");
    }
}
