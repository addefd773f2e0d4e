//! Going no faster than told.

use std::{
    collections::VecDeque,
    num::NonZeroU32,
    time::{Duration, Instant},
};

/// A limit in events per second for requests that cannot be divided.
///
/// Requests are spaced by what they cost, with a burst of at most a fortieth of a second's events; and no second, wherever
/// it begins, has more events than the limit. What is left to 5 % above the limit is for the network, which may push requests
/// together. Only a request that has more events than the limit is above it: it goes alone, and is paid for after.
#[derive(Debug, Clone)]
pub struct Pacer {
    rate: NonZeroU32,
    /// When the next event would go at an even pace.
    even: Option<Instant>,
    /// What was let through in the last second, oldest first.
    recent: VecDeque<(Instant, u32)>,
    recent_events: u64,
}

/// The window in which the limit holds.
const SECOND: Duration = Duration::from_secs(1);

/// Which part of a second's events may go at once.
const BURST_PART: u32 = 40;

impl Pacer {
    /// A pacer that lets `rate` events through in a second.
    #[must_use]
    pub const fn new(rate: NonZeroU32) -> Self {
        Self { rate, even: None, recent: VecDeque::new(), recent_events: 0 }
    }

    /// A pacer that follows on one of which nothing is known but that it kept to the same limit until `now`: that of the process
    /// before, which may have ended a moment ago. Nothing goes for a second.
    #[must_use]
    pub fn behind_another(rate: NonZeroU32, now: Instant) -> Self {
        Self { recent: VecDeque::from([(now, rate.get())]), recent_events: rate.get().into(), ..Self::new(rate) }
    }

    /// Events in a second.
    #[must_use]
    pub const fn rate(&self) -> NonZeroU32 {
        self.rate
    }

    /// The most events that a request should gather under this limit, so that the pace stays even.
    #[must_use]
    pub fn request_events_max(&self) -> usize {
        usize::try_from(self.rate.get() / BURST_PART).unwrap_or(usize::MAX).max(1)
    }

    /// Books a request of `events` events, asked for at `now`, and says when it is to go: `now` or later, and never before
    /// what was booked earlier. It counts from then on, whether it goes or not. Lanes share a limit fairly when each has
    /// one booking that is still to come.
    pub fn book(&mut self, events: u32, now: Instant) -> Instant {
        let burst = self.cost((self.rate.get() / BURST_PART).max(1));
        let even = self.even.map_or(now, |even| even.max(now));
        let last = self.recent.back().map_or(now, |(at, _)| (*at).max(now));
        let mut go = even.checked_sub(burst).unwrap_or(now).max(last);
        self.forget(go);
        while self.recent_events + u64::from(events) > u64::from(self.rate.get()) {
            let Some((oldest, _)) = self.recent.front() else { break };
            go = go.max(*oldest + SECOND);
            self.forget(go);
        }
        self.recent.push_back((go, events));
        self.recent_events += u64::from(events);
        self.even = Some(even.max(go) + self.cost(events));
        go
    }

    /// Drops what is a second or more before `go`.
    fn forget(&mut self, go: Instant) {
        while let Some((at, events)) = self.recent.front()
            && *at + SECOND <= go
        {
            self.recent_events -= u64::from(*events);
            self.recent.pop_front();
        }
    }

    fn cost(&self, events: u32) -> Duration {
        SECOND.mul_f64(f64::from(events) / f64::from(self.rate.get()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pacer(rate: u32) -> Pacer {
        Pacer::new(NonZeroU32::new(rate).unwrap())
    }

    /// The most events in any second, wherever it begins.
    fn busiest_second(sent: &[(Instant, u32)]) -> u32 {
        let from = |start: usize| {
            let end = sent[start].0 + SECOND;
            sent[start..].iter().take_while(|(at, _)| *at < end).map(|(_, events)| events).sum()
        };
        (0..sent.len()).map(from).max().unwrap_or(0)
    }

    #[test]
    fn behind_another_pacer_no_second_has_more_than_the_limit() {
        let start = Instant::now();
        let mut before = pacer(26);
        let mut sent: Vec<(Instant, u32)> = (0..60).map(|_| (before.book(1, start), 1)).collect();
        let killed = start + Duration::from_millis(1_700);
        sent.retain(|(at, _)| *at < killed);
        let mut after = Pacer::behind_another(before.rate(), killed);
        sent.extend((0..60).map(|_| (after.book(1, killed), 1)));
        assert!(busiest_second(&sent) <= 26, "{}", busiest_second(&sent));
        assert_eq!(sent.iter().find(|(at, _)| *at > killed).map(|(at, _)| *at - killed), Some(SECOND));
    }

    #[test]
    fn the_first_request_goes_at_once_and_the_next_ones_evenly() {
        let start = Instant::now();
        let mut pacer = pacer(200);
        let gone: Vec<u64> = (0..400).map(|_| u64::try_from((pacer.book(1, start) - start).as_millis()).unwrap()).collect();
        assert_eq!(gone[..6], [0; 6], "a burst of 5 events beside the first");
        assert!((1_950..2_010).contains(gone.last().unwrap()), "{:?}", gone.last());
        let widest = gone.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(widest <= 31, "a pause of {widest} ms");
    }

    #[test]
    fn a_request_above_the_limit_goes_alone_and_is_paid_for() {
        let start = Instant::now();
        let mut pacer = pacer(10);
        assert_eq!(pacer.book(50, start), start);
        let next = pacer.book(1, start) - start;
        assert!((Duration::from_millis(4_800)..Duration::from_millis(5_100)).contains(&next), "{next:?}");
    }

    #[test]
    fn a_pause_earns_no_more_than_the_burst() {
        let start = Instant::now();
        let mut pacer = pacer(200);
        pacer.book(1, start);
        let later = start + Duration::from_mins(1);
        let at_once = (0..100).filter(|_| pacer.book(1, later) == later).count();
        assert!(at_once <= 6, "{at_once} at once");
    }

    proptest! {
        #[test]
        fn no_second_is_above_the_limit(rate in 10_u32..500, asks in proptest::collection::vec((1_u32..40, 0_u64..300), 1..200)) {
            let mut pacer = pacer(rate);
            let mut now = Instant::now();
            let mut sent = Vec::new();
            for (events, pause_ms) in asks {
                now += Duration::from_millis(pause_ms);
                let events = events.min(rate);
                let go = pacer.book(events, now);
                prop_assert!(go >= now);
                prop_assert!(sent.last().is_none_or(|(last, _)| *last <= go));
                sent.push((go, events));
            }
            prop_assert!(busiest_second(&sent) <= rate, "{} events in a second under {rate}/s", busiest_second(&sent));
        }

        #[test]
        fn a_backlog_goes_at_the_full_rate(rate in 40_u32..2_000, part in 1_u32..40) {
            let events = (rate / 40 / part).max(1);
            let mut pacer = pacer(rate);
            let start = Instant::now();
            let requests = rate * 5 / events;
            let last = (0..requests).map(|_| pacer.book(events, start)).last().unwrap();
            let took = (last - start).as_secs_f64();
            prop_assert!(took < 5.3, "{took} s for 5 s of events");
        }
    }
}
