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
}
