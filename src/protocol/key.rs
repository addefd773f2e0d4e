//! Where a request names its source (protocol.md 1.3).

use std::borrow::Cow;

use base64::{
    Engine,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::HeaderValue;

use crate::model::{BasicAuth, Head, Reading, json::Raw};

/// The write keys that a request claims, in the order in which they count: the body's, its events', Basic's, the query's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Claims(Vec<String>);

impl Claims {
    /// All claimed keys, without repeats, the one that counts most first.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    fn add(&mut self, key: Option<String>) {
        if let Some(key) = key.filter(|key| !key.is_empty() && !self.0.contains(key)) {
            self.0.push(key);
        }
    }
}

/// Collects the keys that a request claims. A pixel's body is its query, so its key is the body's.
#[must_use]
pub fn claims(reading: Option<&Reading<'_>>, heads: &[Head<'_>], authorization: Option<&HeaderValue>, query: Option<&str>) -> Claims {
    let mut claims = Claims::default();
    if let Some(reading) = reading {
        claims.add(reading.frame.write_key.and_then(Raw::string).map(Cow::into_owned));
    }
    for head in heads {
        if let Some(key) = &head.write_key
            && claims.0.last().is_none_or(|last| last != key)
        {
            claims.add(Some(key.to_string()));
        }
    }
    claims.add(basic_credentials(authorization).map(|(key, _)| key));
    let in_query = query.and_then(|query| form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "writeKey"));
    claims.add(in_query.map(|(_, key)| key.into_owned()));
    claims
}

/// The user of a Basic authorization and whether a colon followed it; Segment tolerates its absence. None for any other header.
#[must_use]
pub fn basic_credentials(authorization: Option<&HeaderValue>) -> Option<(String, BasicAuth)> {
    let (scheme, encoded) = authorization?.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(LENIENT.decode(encoded.trim()).ok()?).ok()?;
    Some(match decoded.split_once(':') {
        Some((user, _)) => (user.to_owned(), BasicAuth::Colon),
        None => (decoded, BasicAuth::Bare),
    })
}

/// Whether the request carries an `OAuth` token, which is passed to Segment and never stored.
#[must_use]
pub fn is_bearer(authorization: Option<&HeaderValue>) -> bool {
    authorization.and_then(|value| value.as_bytes().get(..7)).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "))
}

/// Base64 with or without padding: SDKs and people write both.
const LENIENT: GeneralPurpose =
    GeneralPurpose::new(&base64::alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Endpoint;

    fn keys(body: &str, authorization: Option<&str>, query: Option<&str>) -> Vec<String> {
        let reading = Reading::of(Endpoint::ClientBatch, body.as_bytes()).unwrap();
        let heads: Vec<_> = reading.items.iter().map(|item| Head::of(*item, Endpoint::ClientBatch)).collect();
        let header = authorization.map(|text| HeaderValue::from_str(text).unwrap());
        claims(Some(&reading), &heads, header.as_ref(), query).keys().map(str::to_owned).collect()
    }

    #[test]
    fn every_place_is_looked_at_in_order() {
        // "wk_basic:" and "wk_bare"
        assert_eq!(
            keys(r#"{"batch":[],"writeKey":"wk_body"}"#, Some("Basic d2tfYmFzaWM6"), Some("writeKey=wk_query")),
            ["wk_body", "wk_basic", "wk_query"]
        );
        assert_eq!(
            keys(r#"{"batch":[{"writeKey":"wk_item"},{"writeKey":"wk_item"}]}"#, Some("basic d2tfYmFyZQ"), None),
            ["wk_item", "wk_bare"]
        );
        assert_eq!(keys(r#"{"batch":[],"writeKey":""}"#, Some("Bearer x.y.z"), None), Vec::<String>::new());
    }

    #[test]
    fn basic_is_read_with_and_without_its_colon() {
        let read = |text: &str| basic_credentials(Some(&HeaderValue::from_str(text).unwrap()));
        assert_eq!(read("Basic d2tfYmFzaWM6"), Some(("wk_basic".into(), BasicAuth::Colon)));
        assert_eq!(read("Basic d2tfYmFyZQ=="), Some(("wk_bare".into(), BasicAuth::Bare)));
        assert_eq!(read("Basic ???"), None);
        assert!(is_bearer(Some(&HeaderValue::from_static("bearer x"))));
        assert!(!is_bearer(Some(&HeaderValue::from_static("Bear"))));
    }
}
