//! What a seed decides before anything happens: the set-up, and which things go wrong when.

use std::{num::NonZeroU32, time::Duration};

use crate::{
    ingress::OnFull,
    journal::{Lie, Trouble},
    model::{ByteSize, Dice, RateLimit},
    standin::Fault,
};

/// One end of a path to or from the sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Segment,
    RudderStack,
    Clients,
}

impl Place {
    pub(super) const ALL: [Self; 3] = [Self::Segment, Self::RudderStack, Self::Clients];
    pub(super) const VENDORS: [Self; 2] = [Self::Segment, Self::RudderStack];

    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Segment => "segment",
            Self::RudderStack => "rudderstack",
            Self::Clients => "clients",
        }
    }
}

/// How the sidecar goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Crash {
    /// The process is killed; the system keeps its files.
    Kill,
    /// The power is cut.
    PowerCut,
    /// The power is cut so many changes of the disk later: in the middle of something.
    PowerCutAfter(u64),
}

/// One thing that goes wrong.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    Crash(Crash),
    /// A vendor misbehaves; Some: for so many requests.
    Vendor(Place, Fault, Option<u64>),
    /// Every connection is reset, and new ones are refused meanwhile.
    Cut(Place),
    /// Nothing gets through meanwhile.
    Stall(Place),
    Disk(Trouble),
    /// The disk has so many bytes and no more.
    DiskFull(u64),
    /// The sidecar's wall clock jumps by so many milliseconds.
    ClockJump(i64),
}

/// Something that goes wrong, and when.
#[derive(Debug, Clone)]
pub(super) struct Incident {
    pub(super) at: Duration,
    pub(super) length: Duration,
    pub(super) kind: Kind,
}

/// Everything that a seed decides.
#[derive(Debug, Clone)]
pub(super) struct Script {
    pub(super) seed: u64,
    /// One for each source, as `sidecar.toml` says it.
    pub(super) routes: Vec<&'static str>,
    pub(super) clients: usize,
    /// How long clients make new events.
    pub(super) traffic: Duration,
    /// Between two batches of a client, on average.
    pub(super) think_ms: u64,
    pub(super) incidents: Vec<Incident>,
    pub(super) on_full: OnFull,
    pub(super) volume_size: ByteSize,
    pub(super) size_max: ByteSize,
    pub(super) memory_max: ByteSize,
    pub(super) keep_delivered: Duration,
    /// By vendor.
    pub(super) rate_limits: [RateLimit; 2],
    /// Latency and jitter of each path, in milliseconds.
    pub(super) latencies: [(u64, u64); 3],
    pub(super) commit_ms: u64,
    /// Whether RudderStack refuses some events for good.
    pub(super) poison: Poison,
    pub(super) broken: Broken,
    /// How often the sums are looked at.
    pub(super) look_every: Duration,
    /// How much of the trace is kept in words.
    pub(super) trace_lines_max: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Poison {
    Some,
    None,
}

/// What is broken in segue on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Broken {
    #[default]
    Nothing,
    /// A promise of the disk.
    Disk(Lie),
    /// A rule of delivery.
    Delivery(crate::delivery::Sabotage),
}

const ROUTES: [&str; 6] = ["both", "both", "segment-only", "rudderstack-only", "shadow 40%", "cutover 50%"];

impl Script {
    /// The script of that seed.
    pub(super) fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let traffic = Duration::from_secs(dice.between(20, 90));
        let sources = dice.between(1, 4);
        let rate_limits = [0, 1].map(|_| limit(&mut dice));
        let mut script = Self {
            seed,
            routes: (0..sources).map(|_| ROUTES[pick(&mut dice, ROUTES.len())]).collect(),
            clients: pick(&mut dice, 4) + 2,
            traffic,
            think_ms: [150, 400, 1_500, 5_000][pick(&mut dice, 4)],
            incidents: Vec::new(),
            on_full: if dice.once_in(2) { OnFull::Relay } else { OnFull::Answer429 },
            volume_size: ByteSize([32 << 10, 64 << 10, 256 << 10][pick(&mut dice, 3)]),
            size_max: ByteSize([1 << 20, 16 << 20][pick(&mut dice, 2)]),
            memory_max: ByteSize([0, 4 << 10, 1 << 20][pick(&mut dice, 3)]),
            keep_delivered: if dice.once_in(2) { Duration::ZERO } else { Duration::from_mins(1) },
            rate_limits,
            latencies: [0, 1, 2].map(|_| [(1, 0), (5, 3), (40, 30)][pick(&mut dice, 3)]),
            commit_ms: [1, 4, 30][pick(&mut dice, 3)],
            poison: if dice.once_in(3) { Poison::Some } else { Poison::None },
            broken: Broken::Nothing,
            look_every: Duration::from_millis(250),
            trace_lines_max: 80,
        };
        if script.poison == Poison::Some {
            // The quarantine has a share of the quota, and a lane stands still when that is used up.
            script.size_max = ByteSize(64 << 20);
        }
        // What limits a rate cannot be held to it by a network that pushes requests together.
        for (vendor, limit) in rate_limits.iter().enumerate() {
            if *limit != RateLimit::None {
                script.latencies[vendor] = (2, 0);
            }
        }
        let incidents = pick(&mut dice, 9);
        script.incidents = (0..incidents).map(|_| script.incident(&mut dice)).collect();
        script
    }

    /// Steady traffic while a vendor is away for 72 hours, with two crashes on the way, and limits for the time after.
    pub(super) fn outage(seed: u64, away: Place) -> Self {
        let begins = Duration::from_mins(10);
        let lasts = Duration::from_hours(72);
        let crash = |hours, crash| Incident { at: Duration::from_hours(hours), length: Duration::from_secs(5), kind: Kind::Crash(crash) };
        Self {
            routes: vec!["both", "both", "cutover 50%"],
            clients: 8,
            traffic: begins + lasts,
            think_ms: 240_000,
            incidents: vec![
                Incident { at: begins, length: lasts, kind: Kind::Cut(away) },
                crash(20, Crash::PowerCut),
                crash(40, Crash::Kill),
            ],
            on_full: OnFull::Answer429,
            volume_size: ByteSize(1 << 20),
            size_max: ByteSize(256 << 20),
            memory_max: ByteSize(64 << 10),
            keep_delivered: Duration::ZERO,
            rate_limits: [RateLimit::PerSecond(NonZeroU32::new(200).unwrap()); 2],
            latencies: [(1, 0); 3],
            commit_ms: 1,
            poison: Poison::None,
            look_every: Duration::from_secs(5),
            ..Self::of(seed)
        }
    }

    fn incident(&self, dice: &mut Dice) -> Incident {
        let at = Duration::from_millis(dice.below(self.traffic.as_millis().try_into().unwrap()));
        let length_ms_max = [500, 5_000, 40_000][pick(dice, 3)];
        let length = Duration::from_millis(dice.between(20, length_ms_max));
        let vendor = Place::VENDORS[pick(dice, 2)];
        let place = Place::ALL[pick(dice, 3)];
        let kind = match dice.below(16) {
            0 => Kind::Crash(Crash::Kill),
            1 | 2 => Kind::Crash(Crash::PowerCut),
            3 | 4 => Kind::Crash(Crash::PowerCutAfter(dice.below(30))),
            5..=8 => {
                let times = dice.once_in(2).then(|| dice.between(1, 6));
                Kind::Vendor(vendor, fault(dice), times)
            }
            9 | 10 => Kind::Cut(place),
            11 if self.may_stall(place) => Kind::Stall(place),
            12 => Kind::Disk(Trouble { syncs: dice.between(1, 6), ..Trouble::default() }),
            13 => Kind::Disk(Trouble { writes: dice.between(2, 8), no_space: dice.between(2, 8), ..Trouble::default() }),
            14 => Kind::DiskFull(dice.between(1, 12) * self.volume_size.0 / 2),
            15 => Kind::ClockJump([30 * DAY_MS, -7_200_000, -3_650 * DAY_MS, 1_500][pick(dice, 4)]),
            _ => Kind::Cut(vendor),
        };
        Incident { at, length, kind }
    }

    fn may_stall(&self, place: Place) -> bool {
        self.rate_limits.get(place as usize).is_none_or(|limit| *limit == RateLimit::None)
    }

    /// Whether any incident is of that kind.
    pub(super) fn has(&self, is: impl Fn(&Kind) -> bool) -> bool {
        self.incidents.iter().any(|incident| is(&incident.kind))
    }
}

const DAY_MS: i64 = 86_400_000;

pub(super) fn pick(dice: &mut Dice, count: usize) -> usize {
    usize::try_from(dice.below(count as u64)).unwrap()
}

fn limit(dice: &mut Dice) -> RateLimit {
    if dice.once_in(4) { RateLimit::PerSecond(u32::try_from(dice.between(20, 100)).unwrap().try_into().unwrap()) } else { RateLimit::None }
}

fn fault(dice: &mut Dice) -> Fault {
    match dice.below(15) {
        0 | 1 => Fault::status(500),
        2 => Fault::status(503),
        3 => Fault::status(408),
        4 => Fault::status(429),
        5 => Fault::status_retry_after(429, dice.between(1, 20).to_string()),
        6 => Fault::status_retry_after(503, "7"),
        7 => Fault::Hang,
        8 => Fault::Close,
        9 => Fault::slow(Duration::from_millis(dice.between(100, 15_000))),
        10 => Fault::TakeThenHang,
        11 => Fault::TakeThenClose,
        12 => [Fault::CloseAfterHeaders, Fault::CutBody, Fault::WrongLength][pick(dice, 3)].clone(),
        13 => Fault::Reset,
        _ => [Fault::status(401), Fault::status(404)][pick(dice, 2)].clone(),
    }
}
