//! The T-numbers of protocol.md section 3, as a set.

use std::fmt;

/// One difference between the vendors: the T-number under which protocol.md section 3 describes it, 1 to 33.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rule(u8);

/// A set of [`Rule`]s: what was done to one event, which is its "sent" diff.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Rules(u64);

/// What each rule is about, T1 first.
const NAMES: [&str; 33] = [
    "success body",
    "times computed at arrival",
    "clock skew corrected",
    "batch-level members folded in",
    "event without ids",
    "dropped by Segment alone",
    "messageId",
    "type from the path",
    "write key removed",
    "event over 32 KB",
    "batch over 2500 events",
    "compression",
    "client IP",
    "IPv6 left out",
    "integration names",
    "import path",
    "SDK metadata removed",
    "pixel",
    "traits copied to context",
    "previousId",
    "null ids removed",
    "numeric ids",
    "channel",
    "reserved keys removed",
    "order per user",
    "deduplication window",
    "retries",
    "invalid key",
    "double path",
    "arrival of old events",
    "repeated keys",
    "client answer",
    "consent and tracking plan",
];

impl Rule {
    /// The rule of a T-number; None outside 1 to 33.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        if number >= 1 && number <= 33 { Some(Self(number)) } else { None }
    }

    /// Its T-number, 1 to 33.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// What it is about, in a few words for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        NAMES[self.0 as usize - 1]
    }

    /// T2: times computed at arrival.
    pub const TIMES: Self = Self(2);
    /// T3: the client's clock was off and has been corrected.
    pub const SKEW: Self = Self(3);
    /// T4: batch-level members folded into the event.
    pub const FOLD: Self = Self(4);
    /// T5: an event without ids.
    pub const IDLESS: Self = Self(5);
    /// T7: the messageId.
    pub const MESSAGE_ID: Self = Self(7);
    /// T8: the type, from the path.
    pub const PATH_TYPE: Self = Self(8);
    /// T9: the write key.
    pub const WRITE_KEY: Self = Self(9);
    /// T10: an event larger than Segment takes.
    pub const SIZE: Self = Self(10);
    /// T13: the client's IP.
    pub const CLIENT_IP: Self = Self(13);
    /// T14: an IPv6 address left out.
    pub const IPV6: Self = Self(14);
    /// T15: integration names and values.
    pub const INTEGRATIONS: Self = Self(15);
    /// T17: what SDKs say about themselves.
    pub const METADATA: Self = Self(17);
    /// T18: an event that came as a pixel.
    pub const PIXEL: Self = Self(18);
    /// T19: traits copied to the context.
    pub const TRAITS: Self = Self(19);
    /// T20: an alias's previousId.
    pub const PREVIOUS_ID: Self = Self(20);
    /// T21: null ids.
    pub const NULL_IDS: Self = Self(21);
    /// T22: ids that are no strings.
    pub const NUMERIC_IDS: Self = Self(22);
    /// T23: the channel.
    pub const CHANNEL: Self = Self(23);
    /// T24: keys that RudderStack keeps for itself.
    pub const RESERVED: Self = Self(24);
    /// T31: repeated keys.
    pub const REPEATS: Self = Self(31);
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "T{}", self.0)
    }
}

impl Rules {
    /// No rule.
    pub const NONE: Self = Self(0);

    /// Puts a rule in.
    pub const fn insert(&mut self, rule: Rule) {
        self.0 |= 1 << rule.0;
    }

    /// Whether a rule is in.
    #[must_use]
    pub const fn contains(self, rule: Rule) -> bool {
        self.0 & (1 << rule.0) != 0
    }

    /// Whether no rule is in.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The rules of both sets.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The rules that are in, by number.
    pub fn iter(self) -> impl Iterator<Item = Rule> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let number = u8::try_from(left.trailing_zeros()).ok().filter(|_| left != 0)?;
            left &= left - 1;
            Some(Rule(number))
        })
    }
}

impl From<Rule> for Rules {
    fn from(rule: Rule) -> Self {
        Self(1 << rule.0)
    }
}

impl FromIterator<Rule> for Rules {
    fn from_iter<I: IntoIterator<Item = Rule>>(rules: I) -> Self {
        let mut set = Self::NONE;
        rules.into_iter().for_each(|rule| set.insert(rule));
        set
    }
}

/// The numbers with commas between them: `T2,T7,T23`.
impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, rule) in self.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(f, "{comma}{rule}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rules({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_prints_its_numbers_in_order() {
        let set: Rules = [Rule::CHANNEL, Rule::TIMES, Rule::TIMES].into_iter().collect();
        assert_eq!(set.to_string(), "T2,T23");
        assert!(set.contains(Rule::CHANNEL) && !set.contains(Rule::FOLD));
        assert_eq!(set.iter().map(Rule::name).collect::<Vec<_>>(), ["times computed at arrival", "channel"]);
        assert_eq!(set.union([Rule::REPEATS].into_iter().collect()).to_string(), "T2,T23,T31");
    }

    #[test]
    fn numbers_run_from_1_to_33() {
        assert_eq!(Rule::from_number(0), None);
        assert_eq!(Rule::from_number(34), None);
        assert_eq!(Rule::from_number(33).map(Rule::name), Some("consent and tracking plan"));
    }
}
