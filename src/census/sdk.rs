//! SDKs that are known to be old, by what they were seen to do (clients.md 1, 3 and 4; protocol.md 1.7).

use super::maker::Maker;
use crate::routing::Version;

/// Libraries that have a successor.
const SUCCEEDED: [(&str, &str); 4] = [
    ("analytics-android", "succeeded by analytics-kotlin"),
    ("analytics-ios", "succeeded by analytics-swift"),
    ("analytics-node", "succeeded by @segment/analytics-node; ends its app when an upload is refused"),
    ("analytics.js-core", "succeeded by @segment/analytics-next"),
];

/// Libraries and the version from which on they are not old.
const MENDED: [(&str, &str, &str); 2] = [
    ("analytics-python", "2.4", "sends events again that are answered 201 to 204"),
    ("analytics.js", "1.44", "gives an event up after one 429 or 500"),
];

/// Why an event's SDK counts as old; None: it does not, or nothing is known of it.
#[must_use]
pub fn old_sdk(maker: &Maker<'_>) -> Option<&'static str> {
    let library = maker.library.as_deref()?;
    if let Some((_, why)) = SUCCEEDED.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(library)) {
        return Some(why);
    }
    let (_, mended, why) = MENDED.into_iter().find(|(name, _, _)| *name == library)?;
    let version = maker.library_version.as_deref()?;
    // analytics-next calls itself `next-1.84.3` or `npm:next-1.84.3`; what calls itself by a bare number is its predecessor.
    let version = match (library, version.rsplit_once("next-")) {
        ("analytics.js", None) => return Version::parse(version).map(|_| "succeeded by @segment/analytics-next"),
        (_, Some((_, number))) => number,
        (_, None) => version,
    };
    (Version::parse(version)? < Version::parse(mended)?).then_some(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_sdks_are_known_by_name_or_version() {
        let table = [
            ("analytics-android", Some("4.11"), true),
            ("Analytics-ios", None, true),
            ("analytics-kotlin", Some("1.16.0"), false),
            ("analytics-node", Some("6.2.0"), true),
            ("@segment/analytics-node", Some("1.0.0"), false),
            ("analytics-python", Some("2.3.6"), true),
            ("analytics-python", Some("2.4.0"), false),
            ("analytics-python", None, false),
            ("analytics.js", Some("npm:next-1.84.3"), false),
            ("analytics.js", Some("next-1.43.0"), true),
            ("analytics.js", Some("4.1.11"), true),
            ("analytics.js", Some("?"), false),
        ];
        for (library, version, is_old) in table {
            let maker = Maker { library: Some(library.into()), library_version: version.map(Into::into), ..Maker::default() };
            assert_eq!(old_sdk(&maker).is_some(), is_old, "{library} {version:?}");
        }
        assert_eq!(old_sdk(&Maker::default()), None);
    }
}
