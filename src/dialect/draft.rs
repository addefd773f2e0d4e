//! An event on its way: its members, and what shall become of those that a rule knows.

use std::borrow::Cow;

use super::{
    Rule, Rules,
    object::{Object, Writer},
};
use crate::model::json::{Key, Raw};

/// The members of an event that some rule looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Type,
    MessageId,
    UserId,
    AnonymousId,
    PreviousId,
    GroupId,
    Timestamp,
    OriginalTimestamp,
    SentAt,
    Context,
    Integrations,
    Channel,
    Traits,
    WriteKey,
    Metadata,
    RequestIp,
    RudderId,
    ReceivedAt,
    Version,
    ProjectId,
    SegmentMetadata,
}

/// Each field with its name in quotes, as it is written when the event lacks it. The order is that of [`Field`].
const FIELDS: [(Field, &str); 21] = [
    (Field::Type, "\"type\""),
    (Field::MessageId, "\"messageId\""),
    (Field::UserId, "\"userId\""),
    (Field::AnonymousId, "\"anonymousId\""),
    (Field::PreviousId, "\"previousId\""),
    (Field::GroupId, "\"groupId\""),
    (Field::Timestamp, "\"timestamp\""),
    (Field::OriginalTimestamp, "\"originalTimestamp\""),
    (Field::SentAt, "\"sentAt\""),
    (Field::Context, "\"context\""),
    (Field::Integrations, "\"integrations\""),
    (Field::Channel, "\"channel\""),
    (Field::Traits, "\"traits\""),
    (Field::WriteKey, "\"writeKey\""),
    (Field::Metadata, "\"_metadata\""),
    (Field::RequestIp, "\"request_ip\""),
    (Field::RudderId, "\"rudderId\""),
    (Field::ReceivedAt, "\"receivedAt\""),
    (Field::Version, "\"version\""),
    (Field::ProjectId, "\"projectId\""),
    (Field::SegmentMetadata, "\"metadata\""),
];

/// Which fields have a quoted name of that length, a bit for each: of most other names it takes no comparison to see that
/// they are no field's.
const BY_LENGTH: [u32; 20] = {
    let mut lengths = [0; 20];
    let mut place = 0;
    while place < FIELDS.len() {
        lengths[FIELDS[place].1.len()] |= 1 << place;
        place += 1;
    }
    lengths
};

impl Field {
    fn of(key: Key<'_>) -> Option<Self> {
        let spelled = || key.text().as_bytes().contains(&b'\\').then(|| format!("\"{}\"", key.name()));
        Self::named(key.text()).or_else(|| Self::named(&spelled()?))
    }

    fn named(quoted: &str) -> Option<Self> {
        let mut candidates = BY_LENGTH.get(quoted.len()).copied().unwrap_or(0);
        while candidates != 0 {
            let (field, name) = FIELDS[candidates.trailing_zeros() as usize];
            if name == quoted {
                return Some(field);
            }
            candidates &= candidates - 1;
        }
        None
    }
}

/// What shall become of a field.
#[derive(Debug, Clone, Default)]
enum Change<'a> {
    /// It stays as the client wrote it.
    #[default]
    Keep,
    /// It is left out.
    Remove,
    /// It gets this value, a JSON text.
    Set(Cow<'a, str>),
}

/// One event, and the changes that the rules have asked for so far.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    object: Object<'a>,
    /// The field that each member of the object is.
    fields: Vec<Option<Field>>,
    values: [Option<Raw<'a>>; FIELDS.len()],
    changes: [Change<'a>; FIELDS.len()],
    /// The rules that changed something.
    pub(super) rules: Rules,
    /// The rules that found something and left it.
    pub(super) noticed: Rules,
}

impl<'a> Draft<'a> {
    /// Reads the members of an event, once.
    pub(super) fn of(item: Raw<'a>) -> Self {
        let object = Object::of(item);
        let mut rules = Rules::NONE;
        if object.repeats > 0 {
            rules.insert(Rule::REPEATS);
        }
        let mut values = [None; FIELDS.len()];
        let mut fields = Vec::with_capacity(object.members().len());
        for (key, value) in object.members() {
            let field = Field::of(key);
            if let Some(field) = field {
                values[field as usize] = Some(value);
            }
            fields.push(field);
        }
        Self { object, fields, values, changes: Default::default(), rules, noticed: Rules::NONE }
    }

    /// The client's own value of a field; None when it is absent.
    pub(super) const fn get(&self, field: Field) -> Option<Raw<'a>> {
        self.values[field as usize]
    }

    /// The client's own value of a field; None when it is absent or null.
    pub(super) fn some(&self, field: Field) -> Option<Raw<'a>> {
        self.get(field).filter(|value| !value.is_null())
    }

    /// Asks for another value, a JSON text. The causes are not noted when it is the value that stands there.
    pub(super) fn set(&mut self, field: Field, value: impl Into<Cow<'a, str>>, causes: impl Into<Rules>) {
        let value = value.into();
        if self.get(field).is_some_and(|own| own.text() == value) {
            return;
        }
        self.changes[field as usize] = Change::Set(value);
        self.rules = self.rules.union(causes.into());
    }

    /// Asks for a field to be left out; nothing when the event lacks it.
    pub(super) fn remove(&mut self, field: Field, rule: Rule) {
        if self.get(field).is_some() {
            self.changes[field as usize] = Change::Remove;
            self.rules.insert(rule);
        }
    }

    /// Writes the event: its members in their order, changed where asked for; then the fields that it lacked.
    pub(super) fn write(self, capacity: usize) -> Vec<u8> {
        let mut out = Writer::begin(capacity);
        for (field, (key, value)) in self.fields.iter().zip(self.object.members()) {
            match field.map(|field| &self.changes[field as usize]) {
                None | Some(Change::Keep) => out.member(key.text(), value.text()),
                Some(Change::Remove) => {}
                Some(Change::Set(value)) => out.member(key.text(), value),
            }
        }
        for ((_, name), (change, own)) in FIELDS.iter().zip(self.changes.iter().zip(&self.values)) {
            if let (Change::Set(value), None) = (change, own) {
                out.member(name, value);
            }
        }
        out.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_fields_is_in_the_order_of_the_enum() {
        for (place, (field, _)) in FIELDS.iter().enumerate() {
            assert_eq!(*field as usize, place);
        }
    }
}
