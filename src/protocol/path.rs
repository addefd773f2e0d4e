//! What a request is, by its method and path.

use http::Method;

use crate::model::{Endpoint, EventKind};

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Events, to be journalled.
    Events(Endpoint),
    /// `/v1/m`: the SDK's own metrics, which are not events and never go to RudderStack (protocol.md T17).
    Metrics,
    /// A CORS preflight of any path.
    Preflight,
    /// `/-/healthz`, segue's own.
    Health,
    /// `/v1/projects/<write key>/settings`, the gate of browser and mobile SDKs (protocol.md 1.9).
    Settings,
    /// The scripts and bundles of Segment's CDN.
    Cdn,
    /// Anything else: Segment knows what it means.
    Unknown,
}

/// Says what a request asks for (protocol.md 1.2). Names are matched exactly, one slash at their end is tolerated: nothing is
/// decoded, joined or normalised, so that no spelling can mean two things.
#[must_use]
pub fn classify(method: &Method, path: &str) -> Target {
    if method == Method::OPTIONS {
        return Target::Preflight;
    }
    if path == "/-/healthz" {
        return Target::Health;
    }
    if method == Method::POST {
        return posted(path);
    }
    if method == Method::GET || method == Method::HEAD {
        return fetched(method, path);
    }
    Target::Unknown
}

fn posted(path: &str) -> Target {
    let Some(name) = path.strip_prefix("/v1/") else { return Target::Unknown };
    let endpoint = match name.strip_suffix('/').unwrap_or(name) {
        "batch" => Endpoint::Batch,
        "import" => Endpoint::Import,
        "b" => Endpoint::ClientBatch,
        "m" => return Target::Metrics,
        "t" => Endpoint::ClientSingle(EventKind::Track),
        "i" => Endpoint::ClientSingle(EventKind::Identify),
        "p" => Endpoint::ClientSingle(EventKind::Page),
        "s" => Endpoint::ClientSingle(EventKind::Screen),
        "g" => Endpoint::ClientSingle(EventKind::Group),
        "a" => Endpoint::ClientSingle(EventKind::Alias),
        name => match EventKind::parse(name) {
            Some(kind) => Endpoint::Single(kind),
            None => return Target::Unknown,
        },
    };
    Target::Events(endpoint)
}

fn fetched(method: &Method, path: &str) -> Target {
    if let Some(name) = path.strip_prefix("/v1/pixel/") {
        return match EventKind::parse(name.strip_suffix('/').unwrap_or(name)) {
            Some(kind) if method == Method::GET => Target::Events(Endpoint::Pixel(kind)),
            _ => Target::Unknown,
        };
    }
    if path.starts_with("/v1/projects/") && path.ends_with("/settings") {
        return Target::Settings;
    }
    if CDN.iter().any(|prefix| path.starts_with(prefix)) { Target::Cdn } else { Target::Unknown }
}

/// What Segment's own reference proxy sends to the CDN (protocol.md 1.9).
const CDN: [&str; 4] = ["/v1/projects/", "/analytics.js/", "/analytics-next/", "/next-integrations/"];

/// The write key that a path of the CDN names; None: the page is everybody's, or the path is none of the CDN's (protocol.md 1.9).
#[must_use]
pub fn page_key(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("/v1/projects/").or_else(|| path.strip_prefix("/analytics.js/v1/"))?;
    let key = rest.split('/').next().unwrap_or_default();
    (!key.is_empty()).then_some(key)
}

/// A path of the CDN as it may be told: without the write key in it.
#[must_use]
pub fn masked_path(path: &str) -> String {
    page_key(path).map_or_else(|| path.to_owned(), |key| path.replacen(key, "***", 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_of_the_api_is_known() {
        use EventKind::{Alias, Group, Identify, Page, Screen, Track};
        let table = [
            ("POST", "/v1/batch", Target::Events(Endpoint::Batch)),
            ("POST", "/v1/batch/", Target::Events(Endpoint::Batch)),
            ("POST", "/v1/import", Target::Events(Endpoint::Import)),
            ("POST", "/v1/import/", Target::Events(Endpoint::Import)),
            ("POST", "/v1/b", Target::Events(Endpoint::ClientBatch)),
            ("POST", "/v1/t", Target::Events(Endpoint::ClientSingle(Track))),
            ("POST", "/v1/i", Target::Events(Endpoint::ClientSingle(Identify))),
            ("POST", "/v1/p", Target::Events(Endpoint::ClientSingle(Page))),
            ("POST", "/v1/s", Target::Events(Endpoint::ClientSingle(Screen))),
            ("POST", "/v1/g", Target::Events(Endpoint::ClientSingle(Group))),
            ("POST", "/v1/a", Target::Events(Endpoint::ClientSingle(Alias))),
            ("POST", "/v1/track", Target::Events(Endpoint::Single(Track))),
            ("POST", "/v1/alias/", Target::Events(Endpoint::Single(Alias))),
            ("GET", "/v1/pixel/page", Target::Events(Endpoint::Pixel(Page))),
            ("GET", "/v1/pixel/nothing", Target::Unknown),
            ("POST", "/v1/m", Target::Metrics),
            ("OPTIONS", "/v1/t", Target::Preflight),
            ("GET", "/-/healthz", Target::Health),
            ("GET", "/v1/projects/wk_test_a/settings", Target::Settings),
            ("GET", "/analytics.js/v1/wk_test_a/analytics.min.js", Target::Cdn),
            ("GET", "/analytics-next/bundles/x.js", Target::Cdn),
            ("GET", "/v1/track", Target::Unknown),
            ("PUT", "/v1/track", Target::Unknown),
            ("POST", "/v2/track", Target::Unknown),
        ];
        for (method, path, want) in table {
            assert_eq!(classify(&method.parse().unwrap(), path), want, "{method} {path}");
        }
    }

    #[test]
    fn no_other_spelling_is_an_event_path() {
        for path in ["//v1/track", "/v1/track/../batch", "/v1/%74rack", "/v1/track;x", "/V1/track", "/v1/track//", "/v1/", "/v1"] {
            assert_eq!(classify(&Method::POST, path), Target::Unknown, "{path}");
        }
    }

    #[test]
    fn a_page_names_its_key_and_is_told_without_it() {
        let table = [
            ("/v1/projects/wk_test_a/settings", Some("wk_test_a"), "/v1/projects/***/settings"),
            ("/analytics.js/v1/wk_test_a/analytics.min.js", Some("wk_test_a"), "/analytics.js/v1/***/analytics.min.js"),
            ("/analytics-next/bundles/x.js", None, "/analytics-next/bundles/x.js"),
            ("/v1/projects//settings", None, "/v1/projects//settings"),
        ];
        for (path, key, masked) in table {
            assert_eq!((page_key(path), masked_path(path).as_str()), (key, masked));
        }
    }
}
