//! Gates: what has to be well with a source before more of it is moved.

use std::{collections::VecDeque, fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::model::{Destination, PerDestination, Percent, Span, WallTime};

/// The bounds of the gates (`[gates]`). A gate without a bound is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gates {
    /// The share of events on which both sides have to agree, by the lower end of what is known of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parity_min: Option<Percent>,
    /// Events that have to be compared before the share counts.
    pub pairs_min: u64,
    /// How old the oldest event that waits may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_max: Option<Span>,
    /// The share of requests, of either destination, that may end badly: with anything but 2xx and 429.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors_max: Option<Percent>,
    /// Events that may go into quarantine within the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine_max: Option<u64>,
    /// How long all of them have to be green.
    pub window: Span,
}

/// One gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Gate {
    /// Whether both sides agree.
    Parity,
    /// How old the oldest event that waits is.
    Lag,
    /// The share of requests that end badly.
    Errors,
    /// Events that were refused for good.
    Quarantine,
}

/// What is known of a source at one moment. The counts go up from the start of the process.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct GateReading {
    /// How far both sides agree; None: it is not measured.
    pub parity: Option<ParityReading>,
    /// The age of the oldest event that waits for either destination, zero when none waits; None: it is not known.
    pub lag: Option<Duration>,
    /// How the source's requests to each destination ended.
    pub requests: PerDestination<Requests>,
    /// Events that were ever refused for good, by either destination.
    pub quarantined: u64,
}

/// How far both sides agree.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ParityReading {
    /// The lower end of what the share of events on which they do may be, 0 to 1.
    pub lower: f64,
    /// Its upper end.
    pub upper: f64,
    /// Events that were compared.
    pub pairs: u64,
    /// What it rests on: `tap`, `answers`.
    pub evidence: &'static str,
}

/// How requests ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Requests {
    /// All of them.
    pub ended: u64,
    /// Those that ended badly: with anything but 2xx and 429, or with no answer.
    pub failed: u64,
}

/// How a gate stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateStanding {
    /// Which.
    pub gate: Gate,
    /// Its figure, as it is told; None: it is not known, which is red.
    pub value: Option<String>,
    /// Its bound, with its sign: `>= 99.9%`.
    pub bound: String,
    /// Why it is red; None: it is green.
    pub red: Option<String>,
    /// Whether it is red because too little is known: that lets nothing through, and is no sign that anything is wrong.
    pub is_unknown: bool,
}

/// What a gate makes of its figure.
enum Found {
    Green(String),
    Red(String, String),
    /// Maybe a figure, but nothing to rest on; and why.
    Unknown(Option<String>, String),
}

/// A text that names no bound.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no gate: write parity>=99.9%, pairs>=1000, lag<=5s, errors<=0.5%, quarantine<=0 or window=15m, or parity=off to leave one out"
)]
pub struct GateError(String);

/// The gates of one source, looked at again and again.
#[derive(Debug, Clone)]
pub struct GateWatch {
    gates: Gates,
    /// When it was looked at last; None: never.
    looked: Option<WallTime>,
    /// Counts of the window, oldest first.
    counts: VecDeque<Counts>,
    /// How long every gate has been green, up to the last look. Time in which nobody looked is no such time.
    green: Duration,
    /// How long some gate has been red, up to the last look.
    red: Duration,
    /// How long some gate has been red by a figure, up to the last look.
    wrong: Duration,
    /// As the last look found them.
    standing: Vec<GateStanding>,
}

#[derive(Debug, Clone, Copy)]
struct Counts {
    at: WallTime,
    requests: PerDestination<Requests>,
    quarantined: u64,
}

/// The longest time between two looks that counts whole: what lies beyond it was not looked at.
const LOOK_MAX: Duration = Duration::from_secs(30);
/// Over how much time errors are judged, when there was any request in it; over the window otherwise.
const ERRORS_SPAN: Duration = Duration::from_mins(1);
/// How many counts are kept of a window.
const COUNTS: u32 = 180;

impl Default for Gates {
    fn default() -> Self {
        Self {
            parity_min: Percent::from_hundredths(9_990),
            pairs_min: 1_000,
            lag_max: Some(Span(Duration::from_secs(5))),
            errors_max: Percent::from_hundredths(50),
            quarantine_max: Some(0),
            window: Span(Duration::from_mins(15)),
        }
    }
}

impl Gates {
    /// The same with other bounds: `parity>=99.95%,lag=off`.
    ///
    /// # Errors
    /// With the first part that names no bound.
    pub fn with(mut self, text: &str) -> Result<Self, GateError> {
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            self.set(part).ok_or_else(|| GateError(part.to_owned()))?;
        }
        Ok(self)
    }

    fn set(&mut self, part: &str) -> Option<()> {
        let (name, value) = part.split_once(">=").or_else(|| part.split_once("<=")).or_else(|| part.split_once('='))?;
        let (name, value) = (name.trim(), value.trim());
        let (at_least, at_most) = (part.contains(">="), part.contains("<="));
        match name {
            "parity" if !at_most => self.parity_min = bound(value, share)?,
            "pairs" if !at_most => self.pairs_min = value.parse().ok()?,
            "lag" if !at_least => self.lag_max = bound(value, |text| text.parse().ok())?,
            "errors" if !at_least => self.errors_max = bound(value, share)?,
            "quarantine" if !at_least => self.quarantine_max = bound(value, |text| text.parse().ok())?,
            "window" if !at_least && !at_most => self.window = value.parse().ok()?,
            _ => return None,
        }
        Some(())
    }

    /// The gates that count.
    #[must_use]
    pub fn counting(&self) -> Vec<Gate> {
        let is_in = [
            (Gate::Parity, self.parity_min.is_some()),
            (Gate::Lag, self.lag_max.is_some()),
            (Gate::Errors, self.errors_max.is_some()),
            (Gate::Quarantine, self.quarantine_max.is_some()),
        ];
        is_in.into_iter().filter(|(_, is_in)| *is_in).map(|(gate, _)| gate).collect()
    }
}

/// Every bound, as [`Gates::with`] reads it.
impl fmt::Display for Gates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bound = |sign: &str, bound: Option<String>| bound.map_or_else(|| "=off".to_owned(), |bound| format!("{sign}{bound}"));
        write!(f, "parity{},pairs>={}", bound(">=", self.parity_min.map(|share| share.to_string())), self.pairs_min)?;
        write!(f, ",lag{}", bound("<=", self.lag_max.map(|span| span.to_string())))?;
        write!(f, ",errors{}", bound("<=", self.errors_max.map(|share| share.to_string())))?;
        write!(f, ",quarantine{}", bound("<=", self.quarantine_max.map(|count| count.to_string())))?;
        write!(f, ",window={}", self.window)
    }
}

impl FromStr for Gates {
    type Err = GateError;

    fn from_str(text: &str) -> Result<Self, GateError> {
        Self::default().with(text)
    }
}

/// Some(None): the gate is left out.
#[expect(clippy::option_option, reason = "whether it reads, and whether there is one")]
fn bound<T>(text: &str, read: impl Fn(&str) -> Option<T>) -> Option<Option<T>> {
    if text == "off" { Some(None) } else { read(text).map(Some) }
}

/// A share; its sign may be left out, as these can be nothing else.
fn share(text: &str) -> Option<Percent> {
    let signed = if text.ends_with('%') { text.to_owned() } else { format!("{text}%") };
    signed.parse().ok()
}

impl Gate {
    /// One word.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Parity => "parity",
            Self::Lag => "lag",
            Self::Errors => "errors",
            Self::Quarantine => "quarantine",
        }
    }

    /// Whether what it tells is of the whole window already, so that being green now is having been green.
    const fn is_of_window(self) -> bool {
        matches!(self, Self::Quarantine)
    }
}

impl Requests {
    const fn since(self, then: Self) -> Self {
        Self { ended: self.ended.saturating_sub(then.ended), failed: self.failed.saturating_sub(then.failed) }
    }
}

impl GateWatch {
    /// A watch that has seen nothing yet.
    #[must_use]
    pub const fn new(gates: Gates) -> Self {
        Self {
            gates,
            looked: None,
            counts: VecDeque::new(),
            green: Duration::ZERO,
            red: Duration::ZERO,
            wrong: Duration::ZERO,
            standing: Vec::new(),
        }
    }

    /// Takes in what is known now.
    pub fn look(&mut self, now: WallTime, reading: &GateReading) {
        let passed = self.looked.map_or(Duration::ZERO, |looked| span(looked, now)).min(LOOK_MAX);
        let (was_red, was_wrong, was_green) = (self.is_red(), self.is_wrong(), self.looked.is_some() && self.is_lasting());
        self.count(now, reading);
        self.standing = self.gates.counting().into_iter().map(|gate| self.judge(gate, now, reading)).collect();
        self.looked = Some(now);
        // What two looks agree on was so between them.
        self.red = if self.is_red() && was_red { self.red + passed } else { Duration::ZERO };
        self.wrong = if self.is_wrong() && was_wrong { self.wrong + passed } else { Duration::ZERO };
        self.green = if self.is_lasting() && was_green { self.green + passed } else { Duration::ZERO };
    }

    /// Whether nothing begins the window anew.
    fn is_lasting(&self) -> bool {
        self.standing.iter().all(|standing| standing.red.is_none() || standing.gate.is_of_window())
    }

    /// What was green or red before counts no more.
    pub const fn begin_anew(&mut self) {
        self.green = Duration::ZERO;
        self.red = Duration::ZERO;
        self.wrong = Duration::ZERO;
    }

    /// The bounds.
    #[must_use]
    pub const fn gates(&self) -> &Gates {
        &self.gates
    }

    /// How each gate that counts stood at the last look; empty before the first.
    #[must_use]
    pub fn standing(&self) -> &[GateStanding] {
        &self.standing
    }

    /// Whether some gate is red.
    #[must_use]
    pub fn is_red(&self) -> bool {
        self.standing.iter().any(|standing| standing.red.is_some())
    }

    /// Whether some gate is red by a figure, not for want of one.
    #[must_use]
    pub fn is_wrong(&self) -> bool {
        self.standing.iter().any(|standing| standing.red.is_some() && !standing.is_unknown)
    }

    /// Why gates are red; empty: none is.
    #[must_use]
    pub fn reasons(&self) -> Vec<String> {
        self.standing.iter().filter_map(|standing| standing.red.clone()).collect()
    }

    /// How long no gate has been red.
    #[must_use]
    pub const fn green(&self) -> Duration {
        self.green
    }

    /// How long some gate has been red.
    #[must_use]
    pub const fn red(&self) -> Duration {
        self.red
    }

    /// How long some gate has been red by a figure, not for want of one.
    #[must_use]
    pub const fn wrong(&self) -> Duration {
        self.wrong
    }

    /// Whether every gate was green for the whole window, and is.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.is_red() && self.looked.is_some() && self.green >= self.gates.window.0
    }

    fn count(&mut self, now: WallTime, reading: &GateReading) {
        let window = self.gates.window.0;
        // The last one at or before the window's beginning is what counts are compared with.
        while self.counts.get(1).is_some_and(|second| span(second.at, now) >= window) {
            self.counts.pop_front();
        }
        let is_due = self.counts.back().is_none_or(|last| span(last.at, now) >= window / COUNTS);
        if is_due {
            self.counts.push_back(Counts { at: now, requests: reading.requests, quarantined: reading.quarantined });
        }
    }

    fn judge(&self, gate: Gate, now: WallTime, reading: &GateReading) -> GateStanding {
        let (bound, found) = match gate {
            Gate::Parity => self.judge_parity(reading.parity),
            Gate::Lag => self.judge_lag(reading.lag),
            Gate::Errors => self.judge_errors(self.failing(now, reading)),
            Gate::Quarantine => self.judge_quarantine(reading.quarantined),
        };
        let (value, red, is_unknown) = match found {
            Found::Green(value) => (Some(value), None, false),
            Found::Red(value, why) => (Some(value), Some(why), false),
            Found::Unknown(value, why) => (value, Some(why), true),
        };
        GateStanding { gate, value, bound, red, is_unknown }
    }

    fn judge_parity(&self, parity: Option<ParityReading>) -> (String, Found) {
        let min = self.gates.parity_min.unwrap_or(Percent::FULL);
        let found = match parity {
            None => Found::Unknown(None, "parity is not measured".to_owned()),
            Some(ParityReading { lower, upper, pairs, evidence }) => {
                let value = format!("{:.2}% ({evidence})", lower * 100.0);
                let is_below = |share: f64| share * 10_000.0 < f64::from(min.hundredths());
                if pairs < self.gates.pairs_min {
                    Found::Unknown(Some(value), format!("parity rests on {pairs} events, {} needed", self.gates.pairs_min))
                } else if is_below(upper) {
                    Found::Red(value, format!("parity is {:.2}% at most, < {min}", upper * 100.0))
                } else if is_below(lower) {
                    // Few events show little: that is no sign that anything differs.
                    Found::Unknown(Some(value), format!("parity is {:.2}% at least by {pairs} events, < {min}", lower * 100.0))
                } else {
                    Found::Green(value)
                }
            }
        };
        (format!(">= {min}"), found)
    }

    fn judge_lag(&self, lag: Option<Duration>) -> (String, Found) {
        let max = self.gates.lag_max.unwrap_or(Span(Duration::ZERO)).0;
        let told = |lag: Duration| format!("{:.1} s", lag.as_secs_f64());
        let found = match lag {
            None => Found::Unknown(None, "lag is not known".to_owned()),
            Some(lag) if lag > max => Found::Red(told(lag), format!("lag {} > {}", told(lag), told(max))),
            Some(lag) => Found::Green(told(lag)),
        };
        (format!("<= {}", told(max)), found)
    }

    /// The worse side of the two: the other one's many good answers hide nothing. None: nothing was sent in the window.
    fn failing(&self, now: WallTime, reading: &GateReading) -> Option<(Destination, f64)> {
        let whole = self.counts.front()?;
        let recent = self.counts.iter().rev().find(|counts| span(counts.at, now) >= ERRORS_SPAN).unwrap_or(whole);
        let share = |destination: Destination| {
            let since = |then: &Counts| reading.requests.of(destination).since(*then.requests.of(destination));
            let requests = [recent, whole].into_iter().map(since).find(|requests| requests.ended > 0)?;
            #[expect(clippy::cast_precision_loss, reason = "a share is not exact")]
            Some((destination, requests.failed as f64 / requests.ended as f64))
        };
        Destination::ALL.into_iter().filter_map(share).max_by(|a, b| a.1.total_cmp(&b.1))
    }

    fn judge_errors(&self, failing: Option<(Destination, f64)>) -> (String, Found) {
        let max = self.gates.errors_max.unwrap_or(Percent::ZERO);
        let found = match failing {
            None => Found::Unknown(None, "errors are not known: nothing was sent".to_owned()),
            Some((destination, share)) => {
                let value = format!("{:.1}%", share * 100.0);
                if share * 10_000.0 > f64::from(max.hundredths()) {
                    Found::Red(value, format!("errors of {} {:.2}% > {max}", destination.label(), share * 100.0))
                } else {
                    Found::Green(value)
                }
            }
        };
        (format!("<= {max}"), found)
    }

    fn judge_quarantine(&self, ever: u64) -> (String, Found) {
        let max = self.gates.quarantine_max.unwrap_or(0);
        let new = ever.saturating_sub(self.counts.front().map_or(ever, |counts| counts.quarantined));
        let found =
            if new > max { Found::Red(new.to_string(), format!("{new} new in quarantine > {max}")) } else { Found::Green(new.to_string()) };
        (format!("<= {max}"), found)
    }
}

/// How long it is from then to now; zero when the clock was put back.
fn span(then: WallTime, now: WallTime) -> Duration {
    Duration::from_millis(u64::try_from(now.millis_since(then)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: WallTime = WallTime::from_millis(1_700_000_000_000);

    fn after(seconds: i64) -> WallTime {
        START.plus_millis(seconds * 1_000)
    }

    fn healthy(requests: u64) -> GateReading {
        let parity = Some(ParityReading { lower: 0.9995, upper: 1.0, pairs: 5_000, evidence: "tap" });
        let requests = PerDestination::from_fn(|_| Requests { ended: requests, failed: 0 });
        GateReading { parity, lag: Some(Duration::from_millis(200)), requests, quarantined: 7 }
    }

    #[test]
    fn bounds_are_read_as_they_are_written() {
        let gates = Gates::default();
        assert_eq!(gates.to_string(), "parity>=99.9%,pairs>=1000,lag<=5s,errors<=0.5%,quarantine<=0,window=15m");
        assert_eq!(gates.to_string().parse(), Ok(gates));
        let other: Gates = "parity>=99.95, lag<=2s,errors=off,quarantine<=3,pairs>=10,window=1m".parse().unwrap();
        assert_eq!(other.to_string(), "parity>=99.95%,pairs>=10,lag<=2s,errors=off,quarantine<=3,window=1m");
        assert_eq!(other.to_string().parse(), Ok(other));
        assert_eq!(other.counting(), [Gate::Parity, Gate::Lag, Gate::Quarantine]);
        for wrong in ["parity", "parity<=99%", "lag>=5s", "lag<=5", "errors<=x", "speed>=1", "window>=1m", "quarantine<=-1"] {
            assert_eq!(wrong.parse::<Gates>(), Err(GateError(wrong.to_owned())), "{wrong}");
        }
    }

    #[test]
    fn every_gate_is_red_for_its_own_reason() {
        type Case = (&'static str, fn(&mut GateReading), &'static [&'static str]);
        let table: [Case; 10] = [
            ("all is well", |_| {}, &[]),
            ("parity is not measured", |reading| reading.parity = None, &["parity is not measured"]),
            ("too few pairs", |reading| reading.parity.as_mut().unwrap().pairs = 999, &["parity rests on 999 events, 1000 needed"]),
            (
                "too few to tell",
                |reading| reading.parity.as_mut().unwrap().lower = 0.9971,
                &["parity is 99.71% at least by 5000 events, < 99.9%"],
            ),
            (
                "they differ",
                |reading| reading.parity = Some(ParityReading { lower: 0.9971, upper: 0.9988, pairs: 5_000, evidence: "tap" }),
                &["parity is 99.88% at most, < 99.9%"],
            ),
            ("much waits", |reading| reading.lag = Some(Duration::from_millis(8_100)), &["lag 8.1 s > 5.0 s"]),
            ("nobody knows what waits", |reading| reading.lag = None, &["lag is not known"]),
            (
                "one side fails",
                |reading| reading.requests.of_mut(Destination::RudderStack).failed = 1,
                &["errors of rudderstack 1.00% > 0.5%"],
            ),
            ("nothing is sent", |reading| reading.requests = PerDestination::default(), &["errors are not known: nothing was sent"]),
            ("one was refused", |reading| reading.quarantined += 1, &["1 new in quarantine > 0"]),
        ];
        for (story, worsen, reasons) in table {
            let mut watch = GateWatch::new(Gates::default());
            watch.look(START, &healthy(0));
            let mut reading = healthy(100);
            worsen(&mut reading);
            watch.look(after(5), &reading);
            assert_eq!(watch.reasons(), reasons, "{story}");
        }
    }

    #[test]
    fn a_gate_that_is_left_out_is_never_red() {
        let mut watch = GateWatch::new("parity=off,lag=off,errors=off,quarantine=off,window=10s".parse().unwrap());
        watch.look(START, &GateReading::default());
        watch.look(after(10), &GateReading { quarantined: 9, ..GateReading::default() });
        assert!(watch.is_open());
    }

    #[test]
    fn it_opens_after_a_whole_window_that_was_looked_at() {
        let mut watch = GateWatch::new("window=1m".parse().unwrap());
        watch.look(START, &healthy(0));
        for second in (5..=60).step_by(5) {
            watch.look(after(second), &healthy(u64::try_from(second).unwrap()));
            // The first look, at which nothing had been sent, was red.
            assert!(!watch.is_open(), "after {second} s");
        }
        watch.look(after(65), &healthy(65));
        assert!(watch.is_open());
        watch.look(after(70), &GateReading { parity: None, ..healthy(70) });
        assert!(!watch.is_open());
        assert_eq!(watch.green(), Duration::ZERO);
        // A machine that slept an hour did not look for an hour.
        watch.look(after(75), &healthy(75));
        watch.look(after(3_675), &healthy(80));
        assert!(!watch.is_open());
        assert_eq!(watch.green(), LOOK_MAX);
        // Nor does a clock that is put back take anything away.
        watch.look(after(3_600), &healthy(90));
        assert_eq!(watch.green(), LOOK_MAX);
    }

    #[test]
    fn what_was_refused_counts_for_one_window() {
        let mut watch = GateWatch::new("window=1m".parse().unwrap());
        let refused = |requests| GateReading { quarantined: 8, ..healthy(requests) };
        watch.look(START, &healthy(0));
        watch.look(after(5), &healthy(5));
        let reopened = (10..=200).step_by(5).find(|second| {
            watch.look(after(*second), &refused(u64::try_from(*second).unwrap()));
            watch.is_open()
        });
        assert_eq!(reopened, Some(70));
    }

    #[test]
    fn a_quiet_source_is_judged_by_its_last_requests() {
        let mut watch = GateWatch::new(Gates::default());
        watch.look(START, &healthy(0));
        for second in (5..=600).step_by(5) {
            watch.look(after(second), &healthy(1));
        }
        assert!(!watch.is_red(), "{:?}", watch.reasons());
        for second in (605..=1_000).step_by(5) {
            watch.look(after(second), &healthy(1));
        }
        assert_eq!(watch.reasons(), ["errors are not known: nothing was sent"]);
    }
}
