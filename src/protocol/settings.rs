//! Segment's settings, on their way to an SDK (protocol.md 1.9).

use crate::model::json::{self, Raw};

/// Points `integrations["Segment.io"].apiHost` at the host under which apps reach segue, keeping the rest byte for byte.
///
/// Mobile SDKs take that field over their own configuration and keep it: left alone, it sends them past segue. It is changed
/// only where it stands; None when there is nothing to change. `host` comes from the configuration, never from a request,
/// since phones remember it. A path behind the host (`/v1`) is kept as it was.
#[must_use]
pub fn rewrite_api_host(settings: &[u8], host: &str) -> Option<Vec<u8>> {
    let whole = json::parse(settings).ok()?;
    let named: Raw<'_> = whole.get("integrations")?.get("Segment.io")?.get("apiHost")?;
    let current = named.string()?;
    let path = current.find('/').map_or("", |slash| &current[slash..]);
    let range = named.range_in(whole.text());
    let mut out = Vec::with_capacity(settings.len() + host.len());
    out.extend_from_slice(&whole.text().as_bytes()[..range.start]);
    json::push_string(&mut out, &format!("{host}{path}"));
    out.extend_from_slice(&whole.text().as_bytes()[range.end..]);
    Some(out)
}

/// Whether a body is settings at all: an object with the destinations of a source in it.
#[must_use]
pub fn are_settings(body: &[u8]) -> bool {
    json::parse(body).ok().and_then(|whole| whole.get("integrations")).is_some_and(|integrations| integrations.text().starts_with('{'))
}

/// The host that settings send events to, with the path behind it (`api.segment.io/v1`); None: they leave it to the SDK.
#[must_use]
pub fn api_host(settings: &[u8]) -> Option<String> {
    let whole = json::parse(settings).ok()?;
    let named: Raw<'_> = whole.get("integrations")?.get("Segment.io")?.get("apiHost")?;
    named.string().map(|host| host.to_string())
}

/// The destinations in a source's settings, besides Segment itself: those that SDKs load and feed on their own.
#[must_use]
pub fn destinations(settings: &[u8]) -> Vec<String> {
    let Ok(whole) = json::parse(settings) else { return Vec::new() };
    let members = whole.get("integrations").map(|integrations| integrations.members().collect::<Vec<_>>()).unwrap_or_default();
    members.into_iter().map(|(name, _)| name.name().into_owned()).filter(|name| name != "Segment.io").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_host_changes() {
        let settings = br#"{"integrations":{"Segment.io":{"apiKey":"k","apiHost":"api.segment.io/v1","n":1e2}},"plan":{}}"#;
        let want = br#"{"integrations":{"Segment.io":{"apiKey":"k","apiHost":"t.example.com/v1","n":1e2}},"plan":{}}"#;
        assert_eq!(rewrite_api_host(settings, "t.example.com").unwrap(), want);
    }

    #[test]
    fn settings_without_the_field_are_left_alone() {
        for settings in
            [&br#"{"integrations":{"Segment.io":{}}}"#[..], b"{}", b"not json", br#"{"integrations":{"Segment.io":{"apiHost":3}}}"#]
        {
            assert_eq!(rewrite_api_host(settings, "t.example.com"), None);
        }
    }

    #[test]
    fn settings_are_an_object_with_integrations_and_may_name_a_host() {
        let named = br#"{"integrations":{"Segment.io":{"apiHost":"api.segment.io/v1"}}}"#;
        assert!(are_settings(named) && are_settings(b"{\"plan\":{},\"integrations\":{}}"));
        for other in [&b"<html>"[..], b"", b"[]", b"{}", br#"{"integrations":[]}"#, br#"{"integrations":null}"#] {
            assert!(!are_settings(other), "{}", String::from_utf8_lossy(other));
        }
        assert_eq!((api_host(named).as_deref(), api_host(b"{}")), (Some("api.segment.io/v1"), None));
    }
}
