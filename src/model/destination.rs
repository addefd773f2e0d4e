//! The two places an event can go.

use std::fmt;

/// Where events are delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Destination {
    /// Segment's tracking API, which gets the client's own bytes.
    Segment,
    /// A RudderStack data plane, which gets the dialect's copy.
    RudderStack,
}

impl Destination {
    /// Both destinations, in the order in which they are stored and shown.
    pub const ALL: [Self; 2] = [Self::Segment, Self::RudderStack];

    /// The one that is not this one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Segment => Self::RudderStack,
            Self::RudderStack => Self::Segment,
        }
    }

    /// The name in metrics, logs and commands: `segment` or `rudderstack`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Segment => "segment",
            Self::RudderStack => "rudderstack",
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// One value for each destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct PerDestination<T> {
    /// Segment's.
    pub segment: T,
    /// RudderStack's.
    pub rudderstack: T,
}

impl<T> PerDestination<T> {
    /// The value of one destination.
    pub const fn of(&self, destination: Destination) -> &T {
        match destination {
            Destination::Segment => &self.segment,
            Destination::RudderStack => &self.rudderstack,
        }
    }

    /// The value of one destination, to be changed.
    pub const fn of_mut(&mut self, destination: Destination) -> &mut T {
        match destination {
            Destination::Segment => &mut self.segment,
            Destination::RudderStack => &mut self.rudderstack,
        }
    }

    /// Makes a value for each destination.
    pub fn from_fn(mut make: impl FnMut(Destination) -> T) -> Self {
        Self { segment: make(Destination::Segment), rudderstack: make(Destination::RudderStack) }
    }
}
