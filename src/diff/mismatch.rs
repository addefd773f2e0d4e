//! One place where the two vendors say different things of one event.

use std::{fmt, str::FromStr};

use crate::model::json::Raw;

/// One place where what the vendors passed on differs, and it is no noise.
///
/// Mismatches are grouped by ([`group`](Self::group), [`kind`](Self::kind)) over events: that pair is what a finding is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch<'a> {
    /// The exact place: `properties.items[3].price`; `$` is the whole event. A name that would be read otherwise stands in brackets and
    /// quotes: `traits["home.town"]`. A name of more than 128 bytes is told as `*`. At most some 2 KB.
    pub path: String,
    /// The same with every index as `*`: `properties.items[*].price`. A [`super::Pattern`] that matches this place.
    pub group: String,
    /// What the difference is.
    pub kind: MismatchKind,
    /// What Segment has there; None: nothing, or null.
    pub segment: Option<Raw<'a>>,
    /// What RudderStack has there; None: nothing, or null.
    pub rudderstack: Option<Raw<'a>>,
}

/// What a mismatch is. Labels are stable: they stand in files and in what the admin API says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MismatchKind {
    /// Segment has something there, RudderStack nothing.
    MissingInRudderStack,
    /// RudderStack has something there, Segment nothing.
    MissingInSegment,
    /// Both have, and of different types: a string here, a number there.
    Type,
    /// Both have the same type, and another value.
    Value,
    /// Both have numbers that only digits tell apart which a double does not hold, and RudderStack's is not what its gateway makes of
    /// Segment's (which is noise, [`super::Reason::Rounded`]).
    Precision,
    /// Both have texts that differ only in capital letters.
    Case,
    /// Both have a time of the event, too far apart.
    Time,
    /// Both have an array of the same items, in another order.
    Order,
}

impl MismatchKind {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::MissingInRudderStack, Self::MissingInSegment, Self::Type, Self::Value, Self::Precision, Self::Case, Self::Time, Self::Order];

    /// Its stable name.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::MissingInRudderStack => "missing_in_rudderstack",
            Self::MissingInSegment => "missing_in_segment",
            Self::Type => "type",
            Self::Value => "value",
            Self::Precision => "precision",
            Self::Case => "case",
            Self::Time => "time",
            Self::Order => "order",
        }
    }

    /// The same seen from the other side.
    #[must_use]
    pub const fn mirrored(self) -> Self {
        match self {
            Self::MissingInRudderStack => Self::MissingInSegment,
            Self::MissingInSegment => Self::MissingInRudderStack,
            Self::Type | Self::Value | Self::Precision | Self::Case | Self::Time | Self::Order => self,
        }
    }
}

/// Its label.
impl fmt::Display for MismatchKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// Reads a label.
impl FromStr for MismatchKind {
    type Err = UnknownMismatchKind;

    fn from_str(text: &str) -> Result<Self, UnknownMismatchKind> {
        Self::ALL.into_iter().find(|kind| kind.label() == text).ok_or_else(|| UnknownMismatchKind(text.to_owned()))
    }
}

/// A text that is no label of a [`MismatchKind`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no kind of difference is called {0:?}: name one of missing_in_rudderstack, missing_in_segment, type, value, precision, case, time, order"
)]
pub struct UnknownMismatchKind(String);
