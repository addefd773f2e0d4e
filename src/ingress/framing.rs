//! Whether a request says one thing only.
//!
//! hyper refuses what cannot be parsed. What it parses may still mean one thing to us and another to a proxy in front: that is
//! refused here, and the connection closes behind it, so that nothing which follows is taken for a request.

use http::{
    HeaderMap, HeaderName, Method, Version, header,
    request::Parts,
    uri::{Authority, Uri},
};

/// Why a request is refused (RFC 9112, RFC 9113).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum FramingError {
    /// `CONNECT`, an authority, or `*`: segue is nobody's forward proxy, and what would be sent on is not what was asked.
    #[error("the request's target is no path")]
    Target,
    /// No `Host`, two of them, one that is no host, or one that `:authority` contradicts (RFC 9112 3.2, RFC 9113 8.3.1).
    #[error("the request names no host, or more than one")]
    Host,
    /// A transfer coding other than one `chunked` (RFC 9112 6.1).
    #[error("the body has a transfer coding that is not understood")]
    TransferCoding,
}

/// Refuses a request that two readers could read differently.
pub(super) fn check(parts: &Parts) -> Result<(), FramingError> {
    if !is_target(&parts.method, &parts.uri) {
        return Err(FramingError::Target);
    }
    if !is_host(parts) {
        return Err(FramingError::Host);
    }
    let mut codings = parts.headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(FramingError::TransferCoding),
    }
}

/// Takes out what `Connection` names: it was meant for us alone and must reach nobody behind us (RFC 9110 7.6.1).
/// `X-Forwarded-For` stays, as it ends here anyway: a client could take away the address that a trusted proxy has added.
pub(super) fn strip_nominated(headers: &mut HeaderMap) {
    let mut nominated: Vec<HeaderName> = Vec::new();
    for line in headers.get_all(header::CONNECTION) {
        let options = line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        nominated.extend(options.filter_map(|option| HeaderName::from_bytes(option).ok()));
    }
    for name in nominated.into_iter().filter(|name| name.as_str() != "x-forwarded-for") {
        headers.remove(name);
    }
}

fn is_target(method: &Method, uri: &Uri) -> bool {
    let is_authority_form = uri.authority().is_some() && uri.scheme().is_none();
    let is_asterisk_of_options = method == Method::OPTIONS && uri.path() == "*";
    method != Method::CONNECT && !is_authority_form && (uri.path().starts_with('/') || is_asterisk_of_options)
}

fn is_host(parts: &Parts) -> bool {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return false;
    }
    let Some(host) = host else {
        // HTTP/1.0 knew no Host, HTTP/2 has `:authority` for it.
        return parts.version != Version::HTTP_11;
    };
    let Ok(host) = host.to_str() else { return false };
    let contradicts = parts.version == Version::HTTP_2 && parts.uri.authority().is_some_and(|own| !own.as_str().eq_ignore_ascii_case(host));
    let is_plausible = host.is_empty() || (!host.contains('@') && host.parse::<Authority>().is_ok());
    is_plausible && !contradicts
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(method: &str, target: &str, version: Version, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(target).version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_request_that_could_mean_two_things_is_refused() {
        use FramingError::{Host, Target, TransferCoding};
        const H: (&str, &str) = ("host", "api.segment.io");
        const TE: &str = "transfer-encoding";
        type Case = (&'static str, &'static str, &'static [(&'static str, &'static str)], Result<(), FramingError>);
        let table: [Case; 21] = [
            ("POST", "/v1/t", &[H], Ok(())),
            ("POST", "/v1/t", &[("host", "[::1]:8088")], Ok(())),
            ("POST", "/v1/t", &[("host", "")], Ok(())),
            ("POST", "http://other.example/v1/t", &[H], Ok(())),
            ("OPTIONS", "*", &[H], Ok(())),
            ("POST", "/v1/t", &[H, (TE, "chunked")], Ok(())),
            ("POST", "/v1/t", &[H, (TE, "CHUNKED")], Ok(())),
            ("POST", "/v1/t", &[], Err(Host)),
            ("POST", "/v1/t", &[H, H], Err(Host)),
            ("POST", "/v1/t", &[("host", "a b")], Err(Host)),
            ("POST", "/v1/t", &[("host", "a/v1")], Err(Host)),
            ("POST", "/v1/t", &[("host", "user@api.segment.io")], Err(Host)),
            ("POST", "/v1/t", &[("host", "a,b")], Ok(())),
            ("CONNECT", "api.segment.io:443", &[H], Err(Target)),
            ("GET", "api.segment.io:443", &[H], Err(Target)),
            ("POST", "*", &[H], Err(Target)),
            ("POST", "/v1/t", &[H, (TE, "gzip, chunked")], Err(TransferCoding)),
            ("POST", "/v1/t", &[H, (TE, "chunked"), (TE, "chunked")], Err(TransferCoding)),
            ("POST", "/v1/t", &[H, (TE, "identity"), (TE, "chunked")], Err(TransferCoding)),
            ("POST", "/v1/t", &[H, (TE, "chunked, chunked")], Err(TransferCoding)),
            ("POST", "/v1/t", &[H, (TE, "\"chunked\"")], Err(TransferCoding)),
        ];
        for (method, target, headers, want) in table {
            assert_eq!(check(&parts(method, target, Version::HTTP_11, headers)), want, "{method} {target} {headers:?}");
        }
        assert_eq!(check(&parts("GET", "/", Version::HTTP_10, &[])), Ok(()));
        assert_eq!(check(&parts("GET", "https://a/", Version::HTTP_2, &[])), Ok(()));
        assert_eq!(check(&parts("GET", "https://a/", Version::HTTP_2, &[("host", "A")])), Ok(()));
        assert_eq!(check(&parts("GET", "https://a/", Version::HTTP_2, &[("host", "b")])), Err(Host));
    }

    #[test]
    fn what_the_connection_nominates_ends_here() {
        let mut headers = parts(
            "POST",
            "/",
            Version::HTTP_11,
            &[
                ("connection", "close, Authorization ,x-retry-count"),
                ("connection", "X-Forwarded-For"),
                ("authorization", "Basic d2s6"),
                ("x-retry-count", "1"),
                ("x-forwarded-for", "203.0.113.7"),
                ("user-agent", "a"),
            ],
        )
        .headers;
        strip_nominated(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["connection", "user-agent", "x-forwarded-for"]);
    }
}
