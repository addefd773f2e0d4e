//! What an event was made by: its app, its library, its platform.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    model::json::{Kind, Raw},
    routing::platform,
};

/// Longer names and versions are cut, in characters.
const TEXT_CHARS_MAX: usize = 80;

/// What an event's context tells of the software that made it. None: it does not tell, or a blank.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Maker<'a> {
    /// `app.name`, else `app.namespace`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<Cow<'a, str>>,
    /// `app.version`; a number's own text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_version: Option<Cow<'a, str>>,
    /// `library.name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub library: Option<Cow<'a, str>>,
    /// `library.version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub library_version: Option<Cow<'a, str>>,
    /// The platform, as rules know it ([`platform`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Cow<'a, str>>,
}

/// The members of a context that tell of software.
#[derive(Debug, Default)]
struct Told<'a> {
    app: Option<Raw<'a>>,
    library: Option<Raw<'a>>,
    device: Option<Raw<'a>>,
    os: Option<Raw<'a>>,
}

impl<'a> Maker<'a> {
    /// Reads an event's own context, and its batch's for what is not in its own (protocol.md T4). Each is walked once.
    #[must_use]
    pub fn of(own: Option<Raw<'a>>, shared: Option<Raw<'a>>) -> Self {
        let (own, shared) = (Told::of(own), Told::of(shared));
        let (app, library) = (own.app.or(shared.app), own.library.or(shared.library));
        let [app, namespace, app_version] = members_of(app, ["\"name\"", "\"namespace\"", "\"version\""]);
        let [library, library_version] = members_of(library, ["\"name\"", "\"version\""]);
        let [device] = members_of(own.device.or(shared.device), ["\"type\""]);
        let [system] = members_of(own.os.or(shared.os), ["\"name\""]);
        let words = |value: Option<Raw<'a>>| value?.string().filter(|text| !text.trim().is_empty()).map(cut);
        let version = |value: Option<Raw<'a>>| {
            let number = value.filter(|value| value.kind() == Kind::Number);
            number.map_or_else(|| words(value), |number| Some(cut(Cow::Borrowed(number.text()))))
        };
        let library = words(library);
        Self {
            app: words(app).or_else(|| words(namespace)),
            app_version: version(app_version),
            library_version: version(library_version),
            platform: platform(words(device), words(system), library.as_deref()),
            library,
        }
    }

    /// The same, on its own.
    #[must_use]
    pub fn into_owned(self) -> Maker<'static> {
        let owned = |text: Option<Cow<'_, str>>| text.map(|text| Cow::Owned(text.into_owned()));
        Maker {
            app: owned(self.app),
            app_version: owned(self.app_version),
            library: owned(self.library),
            library_version: owned(self.library_version),
            platform: owned(self.platform),
        }
    }
}

impl<'a> Told<'a> {
    fn of(context: Option<Raw<'a>>) -> Self {
        let [app, library, device, os] = members_of(context, ["\"app\"", "\"library\"", "\"device\"", "\"os\""]);
        let stated = |value: Option<Raw<'a>>| value.filter(|value| !value.is_null());
        Self { app: stated(app), library: stated(library), device: stated(device), os: stated(os) }
    }
}

/// The members of these names, which are given as they stand in JSON; of repeats the last. The object is walked once, and names that
/// are spelled with escapes are not looked for: nobody's library does that, and every event passes here.
fn members_of<'a, const NAMES: usize>(object: Option<Raw<'a>>, names: [&str; NAMES]) -> [Option<Raw<'a>>; NAMES] {
    let mut found = [None; NAMES];
    for (key, value) in object.iter().flat_map(|object| object.members()) {
        if let Some(place) = names.iter().position(|name| key.text() == *name) {
            found[place] = Some(value);
        }
    }
    found
}

/// The app and its version, else the library and its version, else the platform: what people know it by.
impl fmt::Display for Maker<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pair = [(&self.app, &self.app_version), (&self.library, &self.library_version)].into_iter().find(|(name, _)| name.is_some());
        match pair {
            Some((Some(name), Some(version))) => write!(f, "{name} {version}"),
            Some((Some(name), None)) => f.write_str(name),
            _ => f.write_str(self.platform.as_deref().unwrap_or("(not told)")),
        }
    }
}

fn cut(text: Cow<'_, str>) -> Cow<'_, str> {
    // Nearly all are short, and a character has a byte at least.
    if text.len() <= TEXT_CHARS_MAX {
        return text;
    }
    let end = text.char_indices().nth(TEXT_CHARS_MAX).map_or(text.len(), |(at, _)| at);
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[..end]),
        Cow::Owned(mut text) => {
            text.truncate(end);
            Cow::Owned(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::json::parse;

    fn of(own: &str, shared: &str) -> String {
        let maker = Maker::of(Some(parse(own.as_bytes()).unwrap()), Some(parse(shared.as_bytes()).unwrap()));
        let told = [maker.app, maker.app_version, maker.library, maker.library_version, maker.platform];
        told.map(|text| text.map_or_else(|| "-".to_owned(), Cow::into_owned)).join(" ")
    }

    #[test]
    fn software_is_read_from_the_event_and_what_is_missing_from_its_batch() {
        let kotlin = r#"{"app":{"name":"Shop","version":"5.0.4"},"library":{"name":"analytics-kotlin","version":"1.16"},"device":{"type":"android"}}"#;
        assert_eq!(of(kotlin, "{}"), "Shop 5.0.4 analytics-kotlin 1.16 android");
        let java = r#"{"library":{"name":"analytics-java","version":"3"},"os":{"name":"Linux"}}"#;
        assert_eq!(of(r#"{"app":{"namespace":"com.acme","version":7},"os":null}"#, java), "com.acme 7 analytics-java 3 Linux");
        assert_eq!(of(r#"{"library":{"name":"analytics.js","version":"next-1.84.3"}}"#, java), "- - analytics.js next-1.84.3 Linux");
        assert_eq!(of(r#"{"library":{"name":"analytics.js","version":"next-1.84.3"}}"#, "{}"), "- - analytics.js next-1.84.3 web");
        assert_eq!(of(r#"{"app":"x","library":{"name":" ","version":[1]},"device":{"type":3}}"#, "7"), "- - - - -");
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let long = "\u{e9}".repeat(200);
        let context = format!(r#"{{"app":{{"name":"{long}"}}}}"#);
        let maker = Maker::of(Some(parse(context.as_bytes()).unwrap()), None);
        assert_eq!(maker.app.unwrap().chars().count(), TEXT_CHARS_MAX);
    }
}
