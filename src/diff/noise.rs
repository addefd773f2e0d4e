//! What differs between two vendors for every event, and is no finding.

use std::{fmt, str::FromStr};

use super::{MismatchKind, Pattern};
use crate::model::{SourceId, Span};

/// What counts as noise for the events of one source: the list of protocol.md 5, and the rules of people.
#[derive(Debug, Clone)]
pub struct Noise {
    pub(super) timestamp_tolerance_ms: i64,
    pub(super) origin: Origin,
    pub(super) names: fn(&str) -> Vec<String>,
    pub(super) rules: Vec<Treatment>,
}

/// Where the event came from that RudderStack passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Origin {
    /// From the same call of an SDK as Segment's: segue, a mirror or Segment's own webhook sent both.
    #[default]
    SameEvent,
    /// From RudderStack's own SDK, beside Segment's: what each SDK says of itself and of the page differs.
    RudderStackSdk,
}

/// What somebody said of differences: that they do not count, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoiseRule {
    /// Whose events it is about.
    pub scope: Scope,
    /// What it does.
    pub treatment: Treatment,
    /// Why, in the words of who made it; for people.
    pub reason: String,
}

/// Whose events a rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All sources.
    All,
    /// That source alone.
    Source(SourceId),
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Treatment {
    /// Whatever differs at a place, and below it, is noise.
    Ignore(Pattern),
    /// One group of mismatches is accepted: those of that kind at exactly that place. What is below it, and every other kind, is still found.
    Accept(Pattern, MismatchKind),
}

/// How often one reason for noise was met at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoiseHit {
    /// Why, and where.
    pub at: NoiseAt,
    /// How often, in one event: more than once in arrays.
    pub count: u32,
}

/// A place where something is noise, and why.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NoiseAt {
    /// Why it is noise.
    pub reason: Reason,
    /// The place as [`super::Mismatch::group`] tells it; of a rule of people ([`Reason::Ignored`], [`Reason::Accepted`]) its
    /// pattern. Empty: more than 200 different places; what came after them is counted together.
    pub place: String,
}

impl NoiseAt {
    /// Both in one line: `receivedAt vendor_field`; the reason alone where no place is told.
    #[must_use]
    pub fn label(&self) -> String {
        if self.place.is_empty() { self.reason.label().to_owned() } else { format!("{} {}", self.place, self.reason) }
    }
}

/// Why a difference is noise. Labels are stable: they stand in files and in what the admin API says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// A member that each vendor has for itself, or fills in its own way.
    VendorField,
    /// `channel`: Segment's is client or server, and segue adds RudderStack's web, mobile or server (protocol.md T23).
    Channel,
    /// `_metadata`: segue takes what Segment's SDKs say of themselves out of the RudderStack copy (T17).
    SdkMetadata,
    /// `writeKey`: it is the source's own at each vendor (T9).
    WriteKey,
    /// What RudderStack's webhook destination takes out before it posts (protocol.md 4.5).
    WebhookStripped,
    /// The same moment, written otherwise.
    TimeForm,
    /// Two moments closer than the tolerance: each vendor, or segue for it, computes when the event happened.
    TimeTolerance,
    /// Segment was told a later `sentAt`, as segue delivered late and its computation of the time must come out the same (T2).
    SentAtDelay,
    /// A time that the client did not state: segue states it to RudderStack (T2).
    TimesAdded,
    /// The client did not say when it happened: it is dated at its arrival, at Segment's or at segue's (T2).
    Undated,
    /// The same number, written otherwise (T31).
    NumberForm,
    /// A number of more digits than a double holds, as RudderStack's gateway writes it (T31). It does so to every event, and it is
    /// no fault of the copy; but who counts on such a number wants to know, so it has a name of its own.
    Rounded,
    /// The same id, a number here and a string there (T7, T22).
    IdForm,
    /// null here, nothing there: RudderStack takes nulls out (protocol.md 4.5, T21).
    NullAbsent,
    /// Empty here, nothing there.
    EmptyAbsent,
    /// `context.ip` of an event from a server: RudderStack fills in the address that the request came from (T13).
    ServerIp,
    /// `context.ip` is an IPv6 address, which Segment does not collect (T14).
    Ipv6,
    /// The traits, which segue can be told to copy to `context.traits` (T19).
    TraitsCopied,
    /// An alias's `previousId`, which segue fills in for RudderStack (T20).
    PreviousId,
    /// The `anonymousId` that segue can be told to give to an event of nobody (T5).
    Idless,
    /// Destinations under RudderStack's names, or said in other words; on and off are the same (T15).
    IntegrationNames,
    /// `Salesforce: false`, which is Segment's default and has to be said to RudderStack (T15).
    SalesforceDefault,
    /// What RudderStack's own SDK says otherwise than Segment's (protocol.md 5).
    OtherSdk,
    /// Somebody's rule: ignore what is at this place.
    Ignored,
    /// Somebody's rule: this group is accepted.
    Accepted,
}

/// More rules than this are refused: each costs a look at every member of an event.
const RULES_MAX: usize = 500;
/// `timestamp` may be so far apart unless told otherwise (protocol.md 5).
const TIMESTAMP_TOLERANCE_MS: i64 = 2_000;

impl Noise {
    /// The list of protocol.md 5 and nothing else. `names` gives RudderStack's names for one of Segment's destinations, none for
    /// one that is called the same: the dialect's table (protocol.md T15).
    #[must_use]
    pub const fn new(names: fn(&str) -> Vec<String>) -> Self {
        Self { timestamp_tolerance_ms: TIMESTAMP_TOLERANCE_MS, origin: Origin::SameEvent, names, rules: Vec::new() }
    }

    /// With another tolerance than 2 s for `timestamp` (and for the times of events that clients did not date). 0: equal to the
    /// millisecond.
    #[must_use]
    pub fn with_timestamp_tolerance(self, tolerance: Span) -> Self {
        Self { timestamp_tolerance_ms: i64::try_from(tolerance.0.as_millis()).unwrap_or(i64::MAX), ..self }
    }

    /// For a source whose RudderStack events come from that origin.
    #[must_use]
    pub fn with_origin(self, origin: Origin) -> Self {
        Self { origin, ..self }
    }

    /// With these treatments instead of any before: what the file says of every source.
    #[must_use]
    pub fn with_treatments(self, treatments: impl IntoIterator<Item = Treatment>) -> Self {
        Self { rules: treatments.into_iter().collect(), ..self }
    }

    /// With those of the rules that are about `source`, instead of any before; of several for one place the first is counted.
    ///
    /// # Errors
    /// When more than 500 are about it.
    pub fn with_rules<'r>(self, rules: impl IntoIterator<Item = &'r NoiseRule>, source: &SourceId) -> Result<Self, TooManyRules> {
        let rules: Vec<_> = rules.into_iter().filter(|rule| rule.scope.covers(source)).map(|rule| rule.treatment.clone()).collect();
        if rules.len() > RULES_MAX {
            return Err(TooManyRules { about: source.clone(), count: rules.len() });
        }
        Ok(Self { rules, ..self })
    }
}

impl Scope {
    fn covers(&self, source: &SourceId) -> bool {
        match self {
            Self::All => true,
            Self::Source(own) => own == source,
        }
    }
}

impl Treatment {
    /// The places it is about.
    #[must_use]
    pub const fn pattern(&self) -> &Pattern {
        match self {
            Self::Ignore(pattern) | Self::Accept(pattern, _) => pattern,
        }
    }
}

/// More rules about one source than are taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{count} noise rules are about source {about}, and at most 500 can be; none of them was taken. Write one rule with `*` for several places"
)]
pub struct TooManyRules {
    about: SourceId,
    count: usize,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 25] = [
        Self::VendorField,
        Self::Channel,
        Self::SdkMetadata,
        Self::WriteKey,
        Self::WebhookStripped,
        Self::TimeForm,
        Self::TimeTolerance,
        Self::SentAtDelay,
        Self::TimesAdded,
        Self::Undated,
        Self::NumberForm,
        Self::Rounded,
        Self::IdForm,
        Self::NullAbsent,
        Self::EmptyAbsent,
        Self::ServerIp,
        Self::Ipv6,
        Self::TraitsCopied,
        Self::PreviousId,
        Self::Idless,
        Self::IntegrationNames,
        Self::SalesforceDefault,
        Self::OtherSdk,
        Self::Ignored,
        Self::Accepted,
    ];

    /// Its stable name.
    #[must_use]
    pub const fn label(self) -> &'static str {
        self.words().0
    }

    /// Why it is noise, in a few words for people.
    #[must_use]
    pub const fn about(self) -> &'static str {
        self.words().1
    }

    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::VendorField => ("vendor_field", "each vendor fills it in for itself"),
            Self::Channel => ("channel", "the vendors have different channels; segue adds RudderStack's"),
            Self::SdkMetadata => ("sdk_metadata", "segue keeps what Segment's SDKs say of themselves from RudderStack"),
            Self::WriteKey => ("write_key", "each vendor has its own key"),
            Self::WebhookStripped => ("webhook_stripped", "RudderStack's webhook takes it out"),
            Self::TimeForm => ("time_form", "the same moment, written otherwise"),
            Self::TimeTolerance => ("time_tolerance", "closer than the tolerance"),
            Self::SentAtDelay => ("sent_at_delay", "segue delivered late and moved it for Segment"),
            Self::TimesAdded => ("times_added", "the client did not say; segue tells RudderStack"),
            Self::Undated => ("undated", "the client did not say; dated at arrival"),
            Self::NumberForm => ("number_form", "the same number, written otherwise"),
            Self::Rounded => ("rounded", "digits that a double does not hold, which RudderStack's gateway drops"),
            Self::IdForm => ("id_form", "the same id, as a number and as a string"),
            Self::NullAbsent => ("null_absent", "null and nothing mean the same"),
            Self::EmptyAbsent => ("empty_absent", "empty and nothing mean the same"),
            Self::ServerIp => ("server_ip", "from a server: the address is that of a hop"),
            Self::Ipv6 => ("ipv6", "Segment collects no IPv6"),
            Self::TraitsCopied => ("traits_copied", "segue copies the traits to the context"),
            Self::PreviousId => ("previous_id", "segue fills it in for RudderStack"),
            Self::Idless => ("idless", "segue gives an id to an event of nobody"),
            Self::IntegrationNames => ("integration_names", "the same destinations in other words"),
            Self::SalesforceDefault => ("salesforce_default", "Segment's default, said aloud"),
            Self::OtherSdk => ("other_sdk", "RudderStack's SDK says it otherwise"),
            Self::Ignored => ("ignored", "a rule ignores this place"),
            Self::Accepted => ("accepted", "a rule accepts this group"),
        }
    }
}

/// Its label.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// Reads a label.
impl FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(text: &str) -> Result<Self, UnknownReason> {
        Self::ALL.into_iter().find(|reason| reason.label() == text).ok_or_else(|| UnknownReason(text.to_owned()))
    }
}

/// A text that is no label of a [`Reason`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no reason for noise is called {0:?}: it was written by another version, or by hand")]
pub struct UnknownReason(String);
