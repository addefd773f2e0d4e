//! Where what both vendors emitted for one event differs, and which of that counts for nothing (protocol.md 5).
//!
//! Linear in the texts. Numbers are compared by their decimal value and never go through a double, so that what a vendor lost of a
//! large one is found; members by their names, times as moments.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use super::{
    number::{self, Sameness},
    pattern::Pattern,
    print::print_of,
};
use crate::model::{
    WallTime,
    json::{Kind, Raw},
};

/// How two emissions differ at a place. Segment's is the left one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EmittedKind {
    /// Segment has something there, RudderStack nothing.
    MissingInRudderStack,
    /// RudderStack has something there, Segment nothing.
    MissingInSegment,
    /// Both have, of different types.
    Type,
    /// Both have a text, the same but for capitals.
    Case,
    /// Both have a number that a double does not tell apart: one has lost digits, and not as RudderStack always does ([`Noise::Rounded`]).
    Precision,
    /// Both have a moment, too far apart.
    Time,
    /// Both have the same items, in another order.
    Order,
    /// Both have something of one type, and another value.
    Value,
}

/// One place where the two differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmittedDifference<'a> {
    /// The place, alike for all items of an array: `properties.items[*].price`.
    pub path: String,
    /// How.
    pub kind: EmittedKind,
    /// What Segment has there; None: nothing.
    pub segment: Option<Raw<'a>>,
    /// What RudderStack has there; None: nothing.
    pub rudderstack: Option<Raw<'a>>,
}

/// Why a difference counts for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Noise {
    /// A member of one vendor's own, or one that both set for themselves.
    Vendors,
    /// A moment that both compute for themselves, close enough.
    Clock,
    /// Written in another way: the same number, moment or id.
    Form,
    /// Nothing, null and empty mean the same.
    Nothing,
    /// The address of a server, which only RudderStack takes from the connection.
    ServerAddress,
    /// What segue adds for RudderStack on purpose: `previousId` (T20), `context.traits` (T19), a channel (T23).
    Bridged,
    /// A number beyond 2^53, as RudderStack's gateway rounds it (T31). It is what RudderStack does to every event, and no fault of the
    /// copy; but who counts on such a number wants to know, so it is named.
    Rounded,
    /// A rule of the operator's.
    Rule,
}

/// What two emissions come to.
#[derive(Debug, Default)]
pub struct EmittedDiff<'a> {
    /// What counts, sorted by path; items of arrays that differ in one way are told once.
    pub found: Vec<EmittedDifference<'a>>,
    /// How often something did not.
    pub noise: BTreeMap<Noise, u64>,
}

/// How emissions are compared.
#[derive(Clone, Copy)]
pub struct Comparison<'r> {
    /// RudderStack's names of a destination that Segment calls so; empty: it is called the same.
    pub names: &'r dyn Fn(&str) -> Vec<String>,
    /// Places that count for nothing.
    pub ignored: &'r [Pattern],
    /// How far `timestamp` may be apart, in milliseconds.
    pub clock_ms: i64,
}

impl EmittedKind {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::MissingInRudderStack, Self::MissingInSegment, Self::Type, Self::Case, Self::Precision, Self::Time, Self::Order, Self::Value];

    /// One word for it; it stays the same.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::MissingInRudderStack => "missing_in_rudderstack",
            Self::MissingInSegment => "missing_in_segment",
            Self::Type => "type",
            Self::Case => "case",
            Self::Precision => "precision",
            Self::Time => "time",
            Self::Order => "order",
            Self::Value => "value",
        }
    }
}

impl Noise {
    /// One word for it; it stays the same.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Vendors => "vendors_own",
            Self::Clock => "clock",
            Self::Form => "form",
            Self::Nothing => "nothing",
            Self::ServerAddress => "server_address",
            Self::Bridged => "bridged",
            Self::Rounded => "rounded",
            Self::Rule => "rule",
        }
    }
}

impl fmt::Debug for Comparison<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Comparison").field("ignored", &self.ignored).field("clock_ms", &self.clock_ms).finish_non_exhaustive()
    }
}

/// The default of [`Comparison::clock_ms`] (protocol.md 5).
pub const CLOCK_MS: i64 = 2_000;
/// Differences below a place this deep are told as one of that place.
const DEPTH_MAX: usize = 64;
/// Down to here it is looked whether the items of two arrays are the same in another order.
const ORDER_DEPTH_MAX: usize = 8;
/// More places than this are not told of one event.
const FOUND_MAX: usize = 200;

/// Compares what both vendors emitted for one event.
#[must_use]
pub fn compare_emitted<'a>(segment: Raw<'a>, rudderstack: Raw<'a>, comparison: &Comparison<'_>) -> EmittedDiff<'a> {
    let mut walk = Walk { comparison, segment, rudderstack, diff: EmittedDiff::default(), found: BTreeMap::new() };
    walk.values("", segment, rudderstack, 0);
    let found = std::mem::take(&mut walk.found);
    walk.diff.found =
        found.into_iter().map(|((path, kind), (segment, rudderstack))| EmittedDifference { path, kind, segment, rudderstack }).collect();
    walk.diff
}

type Sides<'a> = (Option<Raw<'a>>, Option<Raw<'a>>);

struct Walk<'a, 'r> {
    comparison: &'r Comparison<'r>,
    segment: Raw<'a>,
    rudderstack: Raw<'a>,
    diff: EmittedDiff<'a>,
    found: BTreeMap<(String, EmittedKind), Sides<'a>>,
}

impl<'a> Walk<'a, '_> {
    fn values(&mut self, path: &str, left: Raw<'a>, right: Raw<'a>, depth: usize) {
        if left.text() == right.text() || self.found.len() >= FOUND_MAX {
            return;
        }
        match (left.kind(), right.kind()) {
            (Kind::Object, Kind::Object) if path == "integrations" => self.integrations(left, right),
            (Kind::Object, Kind::Object) if depth < DEPTH_MAX => self.objects(path, left, right, depth),
            (Kind::Array, Kind::Array) if depth < DEPTH_MAX => self.arrays(path, left, right, depth),
            (Kind::Object, Kind::Object) | (Kind::Array, Kind::Array) if print_of(left) == print_of(right) => {}
            _ => self.scalars(path, left, right),
        }
    }

    fn objects(&mut self, path: &str, left: Raw<'a>, right: Raw<'a>, depth: usize) {
        let (left, mut right) = (members(left), members(right));
        for (name, value) in left {
            let at = inside(path, &name);
            match right.remove(&name) {
                Some(other) => self.values(&at, value, other, depth + 1),
                None => self.alone(&at, value, EmittedKind::MissingInRudderStack),
            }
        }
        for (name, value) in right {
            self.alone(&inside(path, &name), value, EmittedKind::MissingInSegment);
        }
    }

    fn arrays(&mut self, path: &str, left: Raw<'a>, right: Raw<'a>, depth: usize) {
        let prints = |array: Raw<'a>| {
            let mut prints: Vec<u64> = array.items().map(print_of).collect();
            prints.sort_unstable();
            prints
        };
        // Each level is looked through as a whole here, which is for the usual ones; deeper ones are compared by place alone.
        if depth < ORDER_DEPTH_MAX {
            if left.items().map(print_of).eq(right.items().map(print_of)) {
                // By value; how it is written differs, and counts for nothing.
                return self.noise(Noise::Form);
            }
            if prints(left) == prints(right) {
                return self.find(path, EmittedKind::Order, Some(left), Some(right));
            }
        }
        let at = format!("{path}[*]");
        let (mut left, mut right) = (left.items(), right.items());
        loop {
            match (left.next(), right.next()) {
                (Some(left), Some(right)) => self.values(&at, left, right, depth + 1),
                (Some(left), None) => self.alone(&at, left, EmittedKind::MissingInRudderStack),
                (None, Some(right)) => self.alone(&at, right, EmittedKind::MissingInSegment),
                (None, None) => return,
            }
        }
    }

    /// What only one of them has.
    fn alone(&mut self, path: &str, value: Raw<'a>, kind: EmittedKind) {
        if value.is_null() || means_nothing(path, value, kind) {
            return self.noise(Noise::Nothing);
        }
        if matches!(path, "context" | "properties" | "traits") && value.kind() == Kind::Object {
            let nothing = Raw::accepted("{}").unwrap_or(value);
            let (left, right) = if kind == EmittedKind::MissingInRudderStack { (value, nothing) } else { (nothing, value) };
            return self.objects(path, left, right, 1);
        }
        let is_bridged = kind == EmittedKind::MissingInSegment && self.is_bridged(path, value);
        if is_bridged {
            return self.noise(Noise::Bridged);
        }
        if path == "integrations" {
            let empty = Raw::accepted("{}").unwrap_or(value);
            return match kind {
                EmittedKind::MissingInRudderStack => self.integrations(value, empty),
                _ => self.integrations(empty, value),
            };
        }
        let (segment, rudderstack) = if kind == EmittedKind::MissingInRudderStack { (Some(value), None) } else { (None, Some(value)) };
        self.find(path, kind, segment, rudderstack);
    }

    /// Whether segue added it for RudderStack.
    fn is_bridged(&self, path: &str, value: Raw<'_>) -> bool {
        let own = |name: &str| self.rudderstack.get(name).is_some_and(|own| print_of(own) == print_of(value));
        match path {
            "previousId" => own("anonymousId"),
            "context.traits" => own("traits"),
            _ => false,
        }
    }

    fn scalars(&mut self, path: &str, left: Raw<'a>, right: Raw<'a>) {
        if matches!(path, "userId" | "anonymousId" | "groupId" | "previousId") && id_text(left) == id_text(right) {
            return self.noise(Noise::Form);
        }
        if let ("timestamp" | "originalTimestamp", Some(left_at), Some(right_at)) = (path, moment(left), moment(right)) {
            return self.moments(path, (left, left_at), (right, right_at));
        }
        let kind = match (left.kind(), right.kind()) {
            (Kind::Number, Kind::Number) => match number::compare(left.text(), right.text()) {
                Sameness::Same => return self.noise(Noise::Form),
                Sameness::ForDoubles if number::is_double_of(right.text(), left.text()) => return self.noise(Noise::Rounded),
                Sameness::ForDoubles => EmittedKind::Precision,
                Sameness::Not => EmittedKind::Value,
            },
            (Kind::String, Kind::String) => match (left.string(), right.string()) {
                (Some(left), Some(right)) if left == right => return,
                (Some(left), Some(right)) if left.eq_ignore_ascii_case(&right) => EmittedKind::Case,
                _ => EmittedKind::Value,
            },
            (Kind::Null, _) => return self.alone(path, right, EmittedKind::MissingInSegment),
            (_, Kind::Null) => return self.alone(path, left, EmittedKind::MissingInRudderStack),
            (left, right) if left == right => EmittedKind::Value,
            _ => EmittedKind::Type,
        };
        self.find(path, kind, Some(left), Some(right));
    }

    /// Two times of the event as a whole.
    fn moments(&mut self, path: &str, (left, left_at): (Raw<'a>, WallTime), (right, right_at): (Raw<'a>, WallTime)) {
        let apart_ms = left_at.millis_since(right_at).saturating_abs();
        // A client that sends no time leaves it to the vendor, and each takes its own.
        let is_vendors = || self.segment.get("receivedAt").and_then(moment) == Some(left_at);
        match path {
            _ if apart_ms == 0 => self.noise(Noise::Form),
            "timestamp" if apart_ms <= self.comparison.clock_ms => self.noise(Noise::Clock),
            "originalTimestamp" if apart_ms <= self.comparison.clock_ms && is_vendors() => self.noise(Noise::Clock),
            _ => self.find(path, EmittedKind::Time, Some(left), Some(right)),
        }
    }

    /// `integrations` says of destinations whether they are on, by names that differ (T15).
    fn integrations(&mut self, left: Raw<'a>, right: Raw<'a>) {
        let named = |name: &str| (self.comparison.names)(name);
        let mut segment: BTreeMap<String, (bool, Raw<'a>)> = BTreeMap::new();
        for (name, value) in members(left) {
            if name == "Segment.io" || !is_switch(value) {
                continue;
            }
            let names = named(&name);
            let names = if names.is_empty() { vec![name.into_owned()] } else { names };
            for name in names {
                let (is_on, first) = segment.get(&name).copied().unwrap_or((true, value));
                segment.insert(name, (is_on && is_enabled(value), first));
            }
        }
        let rudderstack: BTreeMap<String, (bool, Raw<'a>)> = members(right)
            .into_iter()
            .filter(|(_, value)| is_switch(*value))
            .map(|(name, value)| (name.into_owned(), (is_enabled(value), value)))
            .collect();
        let all = |side: &BTreeMap<String, (bool, Raw<'a>)>| side.get("All").is_none_or(|(is_on, _)| *is_on);
        // Segment's own default for Salesforce is off (protocol.md T15).
        let default =
            |name: &str, side: &BTreeMap<String, (bool, Raw<'a>)>, is_segment: bool| all(side) && !(is_segment && name == "Salesforce");
        let names: Vec<&String> = segment.keys().chain(rudderstack.keys()).collect();
        let mut found = Vec::new();
        for name in names {
            let (left, right) = (segment.get(name), rudderstack.get(name));
            let left_on = left.map_or_else(|| default(name, &segment, true), |(is_on, _)| *is_on);
            let right_on = right.map_or_else(|| default(name, &rudderstack, false), |(is_on, _)| *is_on);
            if left_on != right_on {
                found.push((format!("integrations.{name}"), left.map(|(_, raw)| *raw), right.map(|(_, raw)| *raw)));
            }
        }
        if found.is_empty() {
            return self.noise(Noise::Form);
        }
        for (path, segment, rudderstack) in found {
            self.find(&path, EmittedKind::Value, segment, rudderstack);
        }
    }

    fn find(&mut self, path: &str, kind: EmittedKind, segment: Option<Raw<'a>>, rudderstack: Option<Raw<'a>>) {
        if let Some(noise) = self.noise_at(path) {
            return self.noise(noise);
        }
        self.found.entry((path.to_owned(), kind)).or_insert((segment, rudderstack));
    }

    /// Why a place counts for nothing, whatever stands there; None: it counts.
    fn noise_at(&self, path: &str) -> Option<Noise> {
        let first = path.split(['.', '[']).next().unwrap_or(path);
        match first {
            "receivedAt" | "rudderId" | "request_ip" | "version" | "channel" | "projectId" | "_metadata" | "metadata" | "writeKey"
            | "recordId" => return Some(Noise::Vendors),
            // Late deliveries shift it (T2), and it says nothing of the event.
            "sentAt" => return Some(Noise::Clock),
            _ => {}
        }
        let below = |place: &str| path == place || path.strip_prefix(place).is_some_and(|rest| rest.starts_with(['.', '[']));
        let vendors = ["context.direct", "context.sourceId", "context.sourceType", "context.destinationId", "context.destinationType"];
        if vendors.iter().any(|place| below(place)) || below("context.sources") {
            return Some(Noise::Vendors);
        }
        if path == "context.ip" && self.is_from_server() {
            return Some(Noise::ServerAddress);
        }
        self.comparison.ignored.iter().any(|pattern| pattern.matches(path)).then_some(Noise::Rule)
    }

    /// Whether the event came by a path of servers, where Segment takes no address from the connection (T13).
    fn is_from_server(&self) -> bool {
        let channel = self.segment.get("channel").and_then(Raw::string);
        channel.is_none_or(|channel| channel == "server")
    }

    fn noise(&mut self, noise: Noise) {
        *self.diff.noise.entry(noise).or_default() += 1;
    }
}

/// Whether there is no difference between this and nothing (protocol.md 5).
fn means_nothing(path: &str, value: Raw<'_>, kind: EmittedKind) -> bool {
    match path {
        "context" | "properties" | "traits" => value.kind() == Kind::Object && value.members().all(|(_, value)| value.is_null()),
        "anonymousId" | "userId" | "groupId" | "previousId" => value.string().is_some_and(|text| text.is_empty()),
        // A client that sends no time has none at Segment; RudderStack writes down when it came.
        "originalTimestamp" => kind == EmittedKind::MissingInSegment,
        _ => false,
    }
}

/// Of repeated members the last counts (T31).
fn members(object: Raw<'_>) -> BTreeMap<Cow<'_, str>, Raw<'_>> {
    object.members().map(|(key, value)| (key.name(), value)).collect()
}

fn inside(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn moment(value: Raw<'_>) -> Option<WallTime> {
    WallTime::parse(&value.string()?)
}

/// An id as a text: a number and its text are one id; null and nothing are the empty one.
fn id_text(value: Raw<'_>) -> Option<Cow<'_, str>> {
    match value.kind() {
        Kind::String => value.string(),
        Kind::Number => Some(Cow::Borrowed(value.text())),
        Kind::Null => Some(Cow::Borrowed("")),
        _ => None,
    }
}

/// RudderStack passes over what is neither (protocol.md 2.5).
fn is_switch(value: Raw<'_>) -> bool {
    matches!(value.kind(), Kind::Bool | Kind::Object)
}

fn is_enabled(value: Raw<'_>) -> bool {
    value.text() != "false"
}
