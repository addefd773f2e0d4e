//! What was decided for one envelope.

use std::fmt;

use super::PerDestination;

/// The number of a change of routes. It only grows; 0 is the state of the configuration file before any change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Which events of an envelope go to one destination.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Selection {
    /// Every one.
    All,
    /// None.
    #[default]
    None,
    /// Those at these indices: ascending, without repeats, neither empty nor everything.
    Some(Vec<u16>),
}

impl Selection {
    /// The tightest form of "these of `total`". `chosen` ascends without repeats.
    #[must_use]
    pub fn of(chosen: Vec<u16>, total: usize) -> Self {
        if chosen.is_empty() {
            Self::None
        } else if chosen.len() == total {
            Self::All
        } else {
            Self::Some(chosen)
        }
    }

    /// How many of `total` events are chosen.
    #[must_use]
    pub fn count(&self, total: usize) -> usize {
        match self {
            Self::All => total,
            Self::None => 0,
            Self::Some(chosen) => chosen.len(),
        }
    }

    /// Whether the event at `index` is chosen.
    #[must_use]
    pub fn contains(&self, index: usize) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Some(chosen) => u16::try_from(index).is_ok_and(|index| chosen.binary_search(&index).is_ok()),
        }
    }

    /// Whether no event is chosen.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

/// What was decided, once, for one envelope: it travels with the record and no later flip rewrites it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// The revision of the routes under which it was decided.
    pub revision: Revision,
    /// Which events go where.
    pub events: PerDestination<Selection>,
}
