//! Rules: what of a source goes another way than the rest of it.

use std::{borrow::Cow, fmt, str::FromStr};

use super::{Route, Version, VersionRange, version::RangeError};
use crate::model::{EventKind, Head, Reading, json::Raw};

/// One rule: what keeps all its conditions goes by its route. The first rule of a source that matches an event wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The conditions. Never none.
    pub when: Conditions,
    /// The route of what matches.
    pub route: Route,
}

/// Conditions on an event; an absent one holds always.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Conditions {
    /// Its type is one of these; empty: any.
    pub kinds: Vec<EventKind>,
    /// The name of what it tracks, or of its page or screen.
    pub event: Option<Pattern>,
    /// The library that made it.
    pub library: Option<Software>,
    /// The app that it came from.
    pub app: Option<Software>,
    /// The platform that the app runs on.
    pub platform: Option<Pattern>,
}

/// A name with `*` for anything, in which letter case counts for nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

/// A name, a range of versions, or both: `android < 4.12`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Software {
    name: Option<Pattern>,
    versions: Option<VersionRange>,
}

/// How a rule took an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// All conditions hold.
    Yes,
    /// One does not.
    No,
    /// All hold but for a version that is missing or cannot be read: that never matches.
    NoVersion,
}

/// What rules look at, of one event with its batch's context folded in (protocol.md T4).
#[derive(Debug, Clone, Default)]
pub struct Facts<'a> {
    kind: Option<EventKind>,
    event: Option<Cow<'a, str>>,
    library: Option<Cow<'a, str>>,
    library_version: Option<Version>,
    app: [Option<Cow<'a, str>>; 2],
    app_version: Option<Version>,
    platform: Option<Cow<'a, str>>,
}

impl Pattern {
    /// A pattern; None for a blank text.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    /// Whether a name fits.
    #[must_use]
    pub fn fits(&self, name: &str) -> bool {
        let Some((start, rest)) = self.0.split_once('*') else { return same(&self.0, name) };
        let Some(mut name) = name.get(..start.len()).filter(|head| same(head, start)).map(|_| &name[start.len()..]) else { return false };
        let mut parts = rest.split('*').peekable();
        // Each part where it first is found: with only `*` between them, a later place can do no better. The last one is the end.
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                let end = name.len().checked_sub(part.len()).and_then(|at| name.get(at..));
                return end.is_some_and(|end| same(end, part));
            }
            let places = name.char_indices().map(|(at, _)| at);
            let found = places.into_iter().find(|at| name.get(*at..at + part.len()).is_some_and(|there| same(there, part)));
            match found {
                Some(at) => name = &name[at + part.len()..],
                None if part.is_empty() => {}
                None => return false,
            }
        }
        true
    }
}

fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

impl Software {
    /// `names`: what the software is called; any of them may fit.
    fn takes<'n>(&self, mut names: impl Iterator<Item = &'n str>, version: Option<&Version>) -> Match {
        if self.name.as_ref().is_some_and(|pattern| !names.any(|name| pattern.fits(name))) {
            return Match::No;
        }
        match (&self.versions, version) {
            (None, _) => Match::Yes,
            (Some(_), None) => Match::NoVersion,
            (Some(range), Some(version)) => {
                if range.has(version) {
                    Match::Yes
                } else {
                    Match::No
                }
            }
        }
    }
}

impl FromStr for Software {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let (name, range) = text.split_at(text.find(['<', '>', '=']).unwrap_or(text.len()));
        let versions = if range.is_empty() { None } else { Some(range.parse()?) };
        let name = Pattern::new(name);
        // A sign that is none of ours (`!=`, `~=`) must not end up in a name.
        let is_foreign = versions.is_some() && name.as_ref().is_some_and(|name| name.0.ends_with(['!', '~', '^']));
        if is_foreign || name.is_none() && versions.is_none() {
            return Err(RangeError(text.to_owned()));
        }
        Ok(Self { name, versions })
    }
}

impl Conditions {
    /// Whether there is none: it would match everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// How they take an event.
    #[must_use]
    pub fn take(&self, facts: &Facts<'_>) -> Match {
        let fits = |pattern: &Option<Pattern>, name: &Option<Cow<'_, str>>| {
            pattern.as_ref().is_none_or(|pattern| name.as_ref().is_some_and(|name| pattern.fits(name)))
        };
        let of_kind = self.kinds.is_empty() || facts.kind.is_some_and(|kind| self.kinds.contains(&kind));
        if !of_kind || !fits(&self.event, &facts.event) || !fits(&self.platform, &facts.platform) {
            return Match::No;
        }
        let library = self
            .library
            .as_ref()
            .map_or(Match::Yes, |library| library.takes(facts.library.as_deref().into_iter(), facts.library_version.as_ref()));
        let app = self.app.as_ref().map_or(Match::Yes, |app| {
            // A platform's name is a name of its app, too: `android < 4.12`.
            app.takes(facts.app.iter().chain([&facts.platform]).filter_map(|name| name.as_deref()), facts.app_version.as_ref())
        });
        match (library, app) {
            (Match::No, _) | (_, Match::No) => Match::No,
            (Match::NoVersion, _) | (_, Match::NoVersion) => Match::NoVersion,
            (Match::Yes, Match::Yes) => Match::Yes,
        }
    }
}

impl<'a> Facts<'a> {
    /// Of the event at `index` of a body, whose head was read.
    #[must_use]
    pub fn of_event(reading: &Reading<'a>, index: usize, head: &Head<'a>) -> Self {
        let member = |name: &str| reading.members(index).iter().rev().find(|(key, _)| key.is(name)).map(|(_, value)| *value);
        let name = match head.kind {
            Some(EventKind::Page | EventKind::Screen) => member("name"),
            _ => member("event"),
        };
        Self::of(head.kind, name, member("context"), reading.frame.context)
    }

    /// `name`: the event's `event`, else its `name`. `own`: its context; `shared`: its batch's, for what is not in its own.
    #[must_use]
    pub fn of(kind: Option<EventKind>, name: Option<Raw<'a>>, own: Option<Raw<'a>>, shared: Option<Raw<'a>>) -> Self {
        let member = |name: &str| {
            let of = |context: Option<Raw<'a>>| context?.get(name).filter(|value| !value.is_null());
            of(own).or_else(|| of(shared))
        };
        let text = |object: Option<Raw<'a>>, name: &str| object?.get(name)?.string().filter(|text| !text.trim().is_empty());
        // Some apps give their version as a number.
        let version = |object: Option<Raw<'a>>| {
            let version = object?.get("version")?;
            version.string().map_or_else(|| Version::parse(version.text()), |text| Version::parse(&text))
        };
        let (library, app) = (member("library"), member("app"));
        let library_name = text(library, "name");
        let platform = platform(text(member("device"), "type"), text(member("os"), "name"), library_name.as_deref());
        Self {
            kind,
            event: name.and_then(Raw::string),
            platform,
            library: library_name,
            library_version: version(library),
            app: [text(app, "name"), text(app, "namespace")],
            app_version: version(app),
        }
    }
}

/// The platform of an event, by what its context tells of its device's type, of its system and of its library: browsers' libraries
/// name no platform. None: it cannot be told.
#[must_use]
pub fn platform<'a>(device_type: Option<Cow<'a, str>>, system: Option<Cow<'a, str>>, library: Option<&str>) -> Option<Cow<'a, str>> {
    let web = || library.filter(|name| ["analytics.js", "@segment/analytics-next"].contains(name)).map(|_| Cow::Borrowed("web"));
    device_type.or(system).or_else(web)
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Software {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, &self.versions) {
            (Some(name), Some(versions)) => write!(f, "{name} {versions}"),
            (Some(name), None) => name.fmt(f),
            (None, Some(versions)) => versions.fmt(f),
            (None, None) => Ok(()),
        }
    }
}

/// `type track, event Order *, app android < 4.12`
impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = self.kinds.iter().map(|kind| kind.label()).collect::<Vec<_>>().join("|");
        let parts = [
            ("type", (!kinds.is_empty()).then_some(kinds)),
            ("event", self.event.as_ref().map(ToString::to_string)),
            ("library", self.library.as_ref().map(ToString::to_string)),
            ("app", self.app.as_ref().map(ToString::to_string)),
            ("platform", self.platform.as_ref().map(ToString::to_string)),
        ];
        let told: Vec<String> = parts.into_iter().filter_map(|(name, value)| Some(format!("{name} {}", value?))).collect();
        f.write_str(&told.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::json::parse;

    #[test]
    fn patterns_fit_whole_names() {
        for (pattern, name, fits) in [
            ("Order Completed", "order completed", true),
            ("Order*", "Order Completed", true),
            ("Order*", "Reorder", false),
            ("*completed", "Order Completed", true),
            ("*", "", true),
            ("a*b*c", "a--b--b--c", true),
            ("a*b*c", "a--c--b", false),
            ("*order*", "my Order 5", true),
            ("ab*ba", "aba", false),
            ("a**b", "ab", true),
            ("caf\u{e9}*", "caf\u{e9} visited", true),
            ("e*", "\u{e9}t\u{e9}", false),
        ] {
            assert_eq!(Pattern::new(pattern).unwrap().fits(name), fits, "{pattern} {name}");
        }
    }

    fn facts(own: &'static str, shared: Option<&'static str>) -> Facts<'static> {
        let name = Some(parse(br#""Order Completed""#).unwrap());
        Facts::of(Some(EventKind::Track), name, Some(parse(own.as_bytes()).unwrap()), shared.map(|text| parse(text.as_bytes()).unwrap()))
    }

    fn app(text: &str) -> Conditions {
        Conditions { app: Some(text.parse().unwrap()), ..Conditions::default() }
    }

    #[test]
    fn android_below_4_12_is_one_line() {
        let old = facts(r#"{"app":{"name":"Shop","namespace":"com.acme.shop","version":"4.11.3"},"device":{"type":"android"}}"#, None);
        let new = facts(r#"{"app":{"name":"Shop","version":"4.12.0"},"os":{"name":"Android","version":"14"}}"#, None);
        for rule in ["android < 4.12.0", "Shop < 4.12", "com.acme.* < 4.12", "< 4.12", "android"] {
            assert_eq!(app(rule).take(&old), Match::Yes, "{rule}");
        }
        assert_eq!(app("android < 4.12").take(&new), Match::No);
        assert_eq!(app("ios < 4.12").take(&old), Match::No);
        for context in [r#"{"device":{"type":"android"}}"#, r#"{"app":{"version":"unknown"},"device":{"type":"android"}}"#] {
            assert_eq!(app("android < 4.12").take(&facts(context, None)), Match::NoVersion, "{context}");
        }
        assert_eq!(app("android < 4.12").take(&facts("{}", None)), Match::No, "it does not say that it is android");
        assert_eq!(app("< 4.12").take(&facts(r#"{"app":{"version":4}}"#, None)), Match::Yes, "a number is a version");
    }

    #[test]
    fn all_conditions_hold_on_the_event_with_its_batch_folded_in() {
        let batch = r#"{"library":{"name":"analytics-go","version":"3.0.0"},"os":{"name":"linux"}}"#;
        let event = facts(r#"{"os":null}"#, Some(batch));
        let mut conditions = Conditions {
            kinds: vec![EventKind::Track],
            event: Pattern::new("order*"),
            library: Some("analytics-go >= 3, < 4".parse().unwrap()),
            platform: Pattern::new("Linux"),
            ..Conditions::default()
        };
        assert_eq!(conditions.take(&event), Match::Yes);
        assert_eq!(conditions.to_string(), "type track, event order*, library analytics-go >= 3, < 4, platform Linux");
        conditions.kinds = vec![EventKind::Page];
        assert_eq!(conditions.take(&event), Match::No);
        let web = facts(r#"{"library":{"name":"analytics.js","version":"next-1.84"}}"#, None);
        assert_eq!(Conditions { platform: Pattern::new("web"), ..Conditions::default() }.take(&web), Match::Yes);
        for wrong in ["", "android <", "< x", "android != 3"] {
            assert!(wrong.parse::<Software>().is_err(), "{wrong}");
        }
    }
}
