//! `[segment]` and `[rudderstack]`: where each destination is, and its pace.

use std::net::IpAddr;

use http::{Uri, uri::Scheme};

use super::{
    Code, SegmentConfig,
    read::resolved,
    section::Section,
    session::{Session, Source},
    value::{Count, Fault, File, NameServers, Number, Size, Text, Wait},
};
use crate::{
    delivery::{self, Batch, Pace},
    model::PerDestination,
    upstream::{self, Addresses},
};

/// Both destinations.
pub(super) struct Destinations {
    pub segment: SegmentConfig,
    pub rudderstack: Option<upstream::Settings>,
    pub delivery: delivery::Settings,
}

/// Reads both tables.
pub(super) fn read(session: &mut Session<'_>, root: &mut Section) -> Destinations {
    let (segment, segment_pace) = segment(session, root);
    let (rudderstack, rudderstack_pace, batch, dedup_window) = rudderstack(session, root);
    Destinations {
        segment,
        rudderstack,
        delivery: delivery::Settings {
            pace: PerDestination { segment: segment_pace, rudderstack: rudderstack_pace },
            batch,
            dedup_window,
            ..delivery::Settings::default()
        },
    }
}

fn segment(session: &mut Session<'_>, root: &mut Section) -> (SegmentConfig, Pace) {
    let default = SegmentConfig::default();
    let mut section = root.table(session, "segment");
    let us = url(session, &mut section, "url", default.us.url);
    let eu = url(session, &mut section, "eu_url", default.eu.url);
    let cdn = url(session, &mut section, "cdn_url", default.cdn.url);
    let cdn_settings = url(session, &mut section, "cdn_settings_url", default.cdn_settings.url);
    let client = client(session, &mut section);
    let pace = pace(session, &mut section);
    section.finish(session);
    let host = |url: String| upstream::Settings { addresses: addresses(&url), url, ..client.clone() };
    (SegmentConfig { us: host(us), eu: host(eu), cdn: host(cdn), cdn_settings: host(cdn_settings) }, pace)
}

fn rudderstack(session: &mut Session<'_>, root: &mut Section) -> (Option<upstream::Settings>, Pace, Batch, usize) {
    let mut section = root.table(session, "rudderstack");
    let url = url(session, &mut section, "url", String::new());
    let client = client(session, &mut section);
    let pace = pace(session, &mut section);
    let (Number(dedup_window), at) = section.placed(session, "dedup_window", Number(delivery::Settings::default().dedup_window));
    if dedup_window > delivery::Settings::DEDUP_WINDOW_MAX {
        let most = delivery::Settings::DEDUP_WINDOW_MAX;
        let fault = Fault::value(format!("cannot be {dedup_window}"), format!("write {most} or less; a million ids cost 26 MB of memory"));
        section.refuse(session, "dedup_window", &at, fault);
    }
    let mut batch_section = section.table(session, "batch");
    let default = Batch::default();
    let batch = Batch {
        events_max: batch_section.value(session, "events_max", Count(default.events_max)).0,
        bytes_max: batch_section.value(session, "bytes_max", Size(default.bytes_max)).0,
    };
    batch_section.finish(session);
    if url.is_empty() && matches!(section.place(), Source::File(_)) {
        session.error(
            &section.place(),
            Code::Missing,
            "[rudderstack] needs `url`",
            "add url = \"https://...\", the data plane of your RudderStack workspace",
        );
    }
    section.finish(session);
    let settings = (!url.is_empty()).then_some(upstream::Settings { addresses: Addresses::Any, url, ..client });
    (settings, pace, batch, dedup_window)
}

/// What both tables say about the connection. The URL is the caller's to set.
fn client(session: &mut Session<'_>, section: &mut Section) -> upstream::Settings {
    let default = upstream::Settings::default();
    let (file, at) = section.placed(session, "ca_file", File(None));
    let ca_file = resolved(session, file);
    if let Some(path) = &ca_file
        && let Err(error) = std::fs::File::open(path)
    {
        session.error(
            &at,
            Code::UnreadableFile,
            format!("{} cannot be read: {error}", path.display()),
            "name a PEM file that segue's user may read",
        );
    }
    upstream::Settings {
        ca_file,
        resolver: section.value(session, "resolver", NameServers(Vec::new())).0,
        timeout: section.value(session, "timeout", Wait(default.timeout)).0,
        connect_timeout: section.value(session, "connect_timeout", Wait(default.connect_timeout)).0,
        idle_connections_max: section.value(session, "idle_connections_max", Count(default.idle_connections_max)).0,
        ..default
    }
}

fn pace(session: &mut Session<'_>, section: &mut Section) -> Pace {
    let default = Pace::default();
    let rate_limit = section.value(session, "rate_limit", default.rate_limit);
    let in_flight_max = section.value(session, "in_flight_max", Count(default.in_flight_max)).0;
    let mut retry = section.table(session, "retry");
    let (Wait(retry_first), first_at) = retry.placed(session, "first", Wait(default.retry_first));
    let (Wait(retry_max), max_at) = retry.placed(session, "max", Wait(default.retry_max));
    if retry_max < retry_first {
        let fault = Fault::value("cannot be shorter than `first`", "raise `max` or lower `first`");
        retry.refuse(session, "max", max_at.or(&first_at), fault);
    }
    retry.finish(session);
    Pace { rate_limit, retry_first, retry_max, in_flight_max }
}

/// The URL of an upstream, without a slash at its end, as paths are put behind it.
fn url(session: &mut Session<'_>, section: &mut Section, name: &'static str, default: String) -> String {
    let (Text(given), at) = section.placed(session, name, Text(Some(default.clone()).filter(|url| !url.is_empty())));
    let Some(given) = given else { return default };
    match upstream_url(&given) {
        Ok(uri) => {
            let host = uri.host().unwrap_or_default();
            if uri.scheme() == Some(&Scheme::HTTP) && !is_local(host) {
                session.warn(
                    &at,
                    Code::PlainUrl,
                    format!("`{}` sends events and keys to {host} in the clear", section.key(name)),
                    "use https://",
                );
            }
        }
        Err(what) => {
            let fault = Fault {
                code: Code::BadUrl,
                what: what.to_owned(),
                fix: "write a scheme and a host, like \"https://acme.dataplane.rudderstack.com\"".to_owned(),
            };
            section.refuse(session, name, &at, fault);
        }
    }
    given.trim_end_matches('/').to_owned()
}

/// Scheme, host, maybe a port and a path; the error never repeats the text, as a password may stand in it.
fn upstream_url(text: &str) -> Result<Uri, &'static str> {
    let uri: Uri = text.parse().map_err(|_| "is not a URL")?;
    match uri.scheme_str() {
        Some("https" | "http") => {}
        _ => return Err("starts neither with https:// nor with http://"),
    }
    if uri.authority().is_none_or(|authority| authority.as_str().contains('@')) {
        return Err("must not hold a user name or password");
    }
    if uri.query().is_some() || text.contains('#') {
        return Err("must not have a query or a fragment");
    }
    Ok(uri)
}

/// Segment's own names must never lead into a private network; everything else may be there.
fn addresses(url: &str) -> Addresses {
    let host = url.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_ascii_lowercase)).unwrap_or_default();
    if SEGMENT_DOMAINS.iter().any(|domain| host == domain[1..] || host.ends_with(domain)) { Addresses::PublicOnly } else { Addresses::Any }
}

fn is_local(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.ends_with(".localhost") || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Segment's domains (protocol.md 1.1).
const SEGMENT_DOMAINS: [&str; 3] = [".segment.io", ".segment.com", ".segmentapis.com"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_own_names_stay_public() {
        let table = [
            ("https://api.segment.io", Addresses::PublicOnly),
            ("https://API.SEGMENT.IO", Addresses::PublicOnly),
            ("https://events.eu1.segmentapis.com/v1", Addresses::PublicOnly),
            ("https://notsegment.io", Addresses::Any),
            ("http://127.0.0.1:9000", Addresses::Any),
        ];
        for (url, want) in table {
            assert_eq!(addresses(url), want, "{url}");
        }
    }

    #[test]
    fn an_upstream_is_a_scheme_and_a_host() {
        for good in ["https://a.example", "http://127.0.0.1:80", "https://[::1]:8443/base", "https://a.example/"] {
            assert!(upstream_url(good).is_ok(), "{good}");
        }
        for bad in [
            "a.example",
            "ftp://a.example",
            "https://user:pass@a.example",
            "https://a.example?x=1",
            "https://a.example/#x",
            "https://",
            "/path",
            "",
        ] {
            assert!(upstream_url(bad).is_err(), "{bad}");
        }
    }
}
