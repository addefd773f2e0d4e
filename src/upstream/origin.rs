//! Where an upstream is, and the form of the requests that go there.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Uri, header,
    uri::{Authority, Scheme},
};
use http_body_util::Full;
use rustls::pki_types::ServerName;

use crate::upstream::{Call, UpstreamError};

/// Scheme, host, port and the path before every request's own.
#[derive(Debug)]
pub(super) struct Origin {
    /// `https://api.segment.io`.
    pub(super) text: String,
    /// The name to resolve or the literal address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// The name that the certificate must carry; None: plain HTTP.
    pub(super) server_name: Option<ServerName<'static>>,
    scheme: Scheme,
    authority: Authority,
    /// The authority, as the value of `Host`.
    authority_value: HeaderValue,
    prefix: String,
}

/// How a request is addressed on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Origin form and a `Host` header.
    H1,
    /// Absolute form, from which the pseudo-headers are made.
    H2,
}

impl Origin {
    pub(super) fn parse(url: &str) -> Result<Self, UpstreamError> {
        let refuse = |reason| {
            let shown = if url.contains('@') { "(not shown)" } else { url };
            UpstreamError::Url { url: shown.to_owned(), reason }
        };
        if url.contains('@') {
            return Err(refuse("it must not carry a user or a password"));
        }
        if url.contains(['?', '#']) {
            return Err(refuse("it must not carry a query or a fragment"));
        }
        let uri: Uri = url.parse().map_err(|_| refuse("it is not a URL"))?;
        let authority = uri.authority().cloned().ok_or_else(|| refuse("it must begin with https:// and a host"))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let (scheme, default_port, server_name) = match uri.scheme_str() {
            Some("https") => {
                let name = ServerName::try_from(host.clone()).map_err(|_| refuse("its host is not a name"))?;
                (Scheme::HTTPS, 443, Some(name))
            }
            Some("http") => (Scheme::HTTP, 80, None),
            _ => return Err(refuse("it must begin with https://")),
        };
        let port = port_of(&authority, default_port).ok_or_else(|| refuse("its port is not a port"))?;
        Ok(Self {
            text: format!("{scheme}://{authority}"),
            host,
            port,
            server_name,
            scheme,
            authority_value: HeaderValue::from_str(authority.as_str()).map_err(|_| refuse("its host is not a name"))?,
            authority,
            prefix: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// A request in HTTP/1 form; None when the path of `call` is none.
    pub(super) fn request(&self, call: Call) -> Option<Request<Full<Bytes>>> {
        if !call.path.starts_with('/') {
            return None;
        }
        let path = if self.prefix.is_empty() { call.path } else { format!("{}{}", self.prefix, call.path) };
        let mut request = Request::new(Full::new(call.body));
        *request.uri_mut() = Uri::try_from(path).ok().filter(|uri| uri.authority().is_none())?;
        *request.method_mut() = call.method;
        *request.headers_mut() = call.headers;
        strip_connection_headers(request.headers_mut());
        request.headers_mut().insert(header::HOST, self.authority_value.clone());
        Some(request)
    }

    /// Puts a request made by [`request`](Self::request) into the form that `protocol` wants.
    pub(super) fn address(&self, request: &mut Request<Full<Bytes>>, protocol: Protocol) {
        // The path was parsed when the request was made, and the rest when the origin was: nothing is parsed here.
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        match protocol {
            Protocol::H1 => {
                (parts.scheme, parts.authority) = (None, None);
                request.headers_mut().insert(header::HOST, self.authority_value.clone());
            }
            Protocol::H2 => {
                (parts.scheme, parts.authority) = (Some(self.scheme.clone()), Some(self.authority.clone()));
                request.headers_mut().remove(header::HOST);
            }
        }
        *request.uri_mut() = Uri::from_parts(parts).expect("a path alone, and all three parts, are both a URI");
    }
}

fn port_of(authority: &Authority, default_port: u16) -> Option<u16> {
    let after_host = authority.as_str().strip_prefix(authority.host())?;
    match after_host.strip_prefix(':') {
        None => Some(default_port),
        Some(digits) => digits.parse().ok().filter(|port| *port != 0),
    }
}

/// Framing is made anew for every request, so that no byte of a client decides where a request ends (reliability.md
/// threat 11). Only a relayed request has any such headers: for the others, one look at each name is all.
fn strip_connection_headers(headers: &mut HeaderMap) {
    if !headers.keys().any(is_of_the_connection) {
        return;
    }
    let mut dropped: Vec<HeaderName> = headers.keys().filter(|name| is_of_the_connection(name)).cloned().collect();
    let nominated = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    dropped.extend(nominated.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse::<HeaderName>().ok()));
    for name in dropped {
        headers.remove(name);
    }
}

fn is_of_the_connection(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "content-length"
            | "expect"
            | "host"
            | "http2-settings"
            | "keep-alive"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

#[cfg(test)]
mod tests {
    use http::Method;
    use http_body::Body;

    use super::*;

    fn call(path: &str, headers: &[(&'static str, &'static str)]) -> Call {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect();
        Call { method: Method::POST, path: path.to_owned(), headers, body: Bytes::from_static(b"{}") }
    }

    #[test]
    fn urls_become_a_host_a_port_and_a_prefix() {
        let table = [
            ("https://api.segment.io", "api.segment.io", 443, "https://api.segment.io", ""),
            ("https://api.segment.io/", "api.segment.io", 443, "https://api.segment.io", ""),
            ("https://data.example:8443/plane/", "data.example", 8443, "https://data.example:8443", "/plane"),
            ("https://[::1]:9/", "::1", 9, "https://[::1]:9", ""),
            ("http://10.1.2.3", "10.1.2.3", 80, "http://10.1.2.3", ""),
        ];
        for (url, host, port, text, prefix) in table {
            let origin = Origin::parse(url).unwrap();
            assert_eq!(
                (origin.host.as_str(), origin.port, origin.text.as_str(), origin.prefix.as_str()),
                (host, port, text, prefix),
                "{url}"
            );
        }
    }

    #[test]
    fn urls_that_cannot_be_called_are_refused_and_passwords_not_shown() {
        for url in [
            "",
            "api.segment.io",
            "/v1",
            "ftp://a.example",
            "https://",
            "https://a.example?x=1",
            "https://a.example#x",
            "https://a.example:0",
            "https://a.example:",
            "https://a.example:99999",
        ] {
            assert!(Origin::parse(url).is_err(), "{url}");
        }
        let refusal = Origin::parse("https://user:hunter2@a.example").unwrap_err().to_string();
        assert!(!refusal.contains("hunter2"), "{refusal}");
    }

    #[test]
    fn a_request_has_our_own_framing_whatever_the_caller_says() {
        let origin = Origin::parse("https://a.example:8443/plane").unwrap();
        let headers = [
            ("host", "evil.example"),
            ("content-length", "5000"),
            ("transfer-encoding", "chunked"),
            ("connection", "keep-alive, X-Hop"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic d2tfdGVzdDo="),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABk"),
            ("te", "trailers"),
            ("trailer", "x-sum"),
            ("x-hop", "1"),
            ("expect", "100-continue"),
            ("content-type", "application/json"),
        ];
        let mut request = origin.request(call("/v1/batch?x=1", &headers)).unwrap();
        assert_eq!(request.uri(), "/plane/v1/batch?x=1");
        assert_eq!(request.body().size_hint().exact(), Some(2));
        let left: Vec<_> = request.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(left, [("content-type", "application/json"), ("host", "a.example:8443")]);

        origin.address(&mut request, Protocol::H2);
        assert_eq!(request.uri(), "https://a.example:8443/plane/v1/batch?x=1");
        assert!(!request.headers().contains_key(header::HOST));
        origin.address(&mut request, Protocol::H1);
        assert_eq!(request.uri(), "/plane/v1/batch?x=1");
        assert_eq!(request.headers()[header::HOST], "a.example:8443");
    }

    #[test]
    fn a_path_must_be_a_path() {
        let origin = Origin::parse("https://a.example").unwrap();
        for path in ["", "v1/t", "https://evil.example/", "/a b", "/a\r\nx: y", "*"] {
            assert!(origin.request(call(path, &[])).is_none(), "{path}");
        }
        assert_eq!(origin.request(call("//evil.example/x", &[])).unwrap().uri().path(), "//evil.example/x");
    }
}
