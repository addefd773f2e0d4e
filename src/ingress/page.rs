//! Settings and scripts: asked of Segment's CDN, kept, and served from the shelf when the CDN fails or is no more.
//!
//! They are the gate of browser and mobile SDKs: a failing, slow or made-up answer stops these completely (clients.md 4.8). So a page
//! that was served once is served for ever, newer when Segment has a newer one.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header, request::Parts, response};
use http_body_util::Full;
use tokio::{
    task::JoinHandle,
    time::{Duration, Instant},
};

use super::{
    Desk,
    body::held,
    relay::{RelayError, Untaken, requested_host},
    request::{RETRY_AFTER_S, Reply, said},
};
use crate::{
    model::Encoding,
    protocol::{self, InflateLimits},
    routing::Source,
    shelf::{Address, Listed, Page, Room, Site},
};

/// What of a page goes into its answer besides its body.
const KEPT: [HeaderName; 4] = [header::CONTENT_TYPE, header::CACHE_CONTROL, header::ETAG, header::LAST_MODIFIED];
/// How long a host of the CDN that failed is not asked for what stands on the shelf: pages load without waiting for it.
const REST: Duration = Duration::from_secs(30);
/// The largest page, inflated.
const INFLATED: InflateLimits = InflateLimits { bytes_max: 64 << 20, ratio_max: 200 };

const CDN_HOST: &str = "cdn.segment.com";
const CDN_SETTINGS_HOST: &str = "cdn-settings.segment.com";

/// Until when each host of the CDN is not asked for what stands on the shelf.
#[derive(Debug, Default)]
pub struct Rests([Mutex<Option<Instant>>; 2]);

/// A page that a client wants.
struct Wanted {
    address: Address,
    /// Whether it is a source's settings, which are looked into.
    is_settings: bool,
    /// Whose it is. None: everybody's, or of a key that is not configured.
    source: Option<Arc<Source>>,
    /// Whether its last good copy is kept: pages of strangers' keys are not.
    is_kept: bool,
    /// Whether Segment is not asked for it any more.
    is_retired: bool,
}

impl Rests {
    /// Whether the host rests. When its rest is over this says so once, to whoever asks the host then.
    fn is_on(&self, site: Site) -> bool {
        let mut until = self.0[site as usize].lock().unwrap_or_else(PoisonError::into_inner);
        match *until {
            Some(end) if Instant::now() < end => true,
            Some(_) => {
                *until = Some(Instant::now() + REST);
                false
            }
            None => false,
        }
    }

    fn note(&self, site: Site, has_failed: bool) {
        let mut until = self.0[site as usize].lock().unwrap_or_else(PoisonError::into_inner);
        *until = has_failed.then(|| Instant::now() + REST);
    }
}

impl Desk {
    /// A GET of settings or of a script.
    pub(super) async fn serve_page(&self, parts: Parts, is_settings: bool) -> Reply {
        let wanted = self.wanted(&parts, is_settings);
        if is_settings {
            self.counters.settings_fetched.add(1);
            if let Some(source) = &wanted.source {
                self.counters.source(&source.id).settings.fetched(self.clock.now());
            }
        }
        let is_there = wanted.is_kept && self.shelf.has(&wanted.address);
        if wanted.is_retired || is_there && self.rests.is_on(wanted.address.site) {
            let page = self.last_good(&wanted, &parts).await;
            if page.is_some() || wanted.is_retired {
                return page.unwrap_or_else(|| said(&protocol::ABSENT));
            }
        }
        self.ask_for(&wanted, parts, is_there).await
    }

    fn wanted(&self, parts: &Parts, is_settings: bool) -> Wanted {
        let path = parts.uri.path();
        let sources = self.sources.load();
        let key = protocol::page_key(path);
        let source = key.and_then(|key| sources.by_key(key)).cloned();
        let is_retired = match (&source, key) {
            (Some(source), _) => source.is_retired,
            (None, Some(_)) => false,
            (None, None) => sources.are_all_retired(),
        };
        // Whatever a `Host` header says: it is one of the two, and what is asked of one is kept as its own.
        let site = if requested_host(parts).as_deref() == Some(CDN_SETTINGS_HOST) { Site::CdnSettings } else { Site::Cdn };
        let is_kept = source.is_some() || key.is_none();
        Wanted { address: Address { site, path: path.to_owned() }, is_settings, source, is_kept, is_retired }
    }

    /// Asks the CDN; what is no good answer gives way to the last good one.
    async fn ask_for(&self, wanted: &Wanted, mut parts: Parts, is_there: bool) -> Reply {
        match self.ask(wanted, &mut parts, is_there).await {
            Ok((head, body)) if head.status == StatusCode::NOT_MODIFIED => Response::from_parts(head, Full::new(body)),
            Ok((head, body)) if head.status == StatusCode::OK && (parts.method == Method::HEAD || is_good(wanted, &head, &body)) => {
                if parts.method == Method::GET {
                    drop(self.put_by(wanted, &head, &body));
                }
                self.hand_on(wanted, head, &body)
            }
            other => {
                self.counters.relay_failures.add(u64::from(other.is_err()));
                if wanted.is_kept && self.shelf.size(&wanted.address).is_some() {
                    // Its place and its room are given back first: were six answers of one connection to wait for theirs while they
                    // keep them, none would come.
                    drop(other);
                    return self.last_good(wanted, &parts).await.unwrap_or_else(|| said(&protocol::busy(RETRY_AFTER_S)));
                }
                other.map_or_else(
                    |error| {
                        tracing::debug!(event = "relay_failed", %error);
                        said(&protocol::busy(RETRY_AFTER_S))
                    },
                    |(head, body)| self.hand_on(wanted, head, &body),
                )
            }
        }
    }

    /// Asks the CDN, and notes whether it fails.
    async fn ask(&self, wanted: &Wanted, parts: &mut Parts, is_there: bool) -> Result<(response::Parts, Bytes), RelayError> {
        ask_plainly(wanted, &mut parts.headers, is_there);
        let upstream = match wanted.address.site {
            Site::Cdn => &self.relays.cdn,
            Site::CdnSettings => &self.relays.cdn_settings,
        };
        let answered = self.relays.pass_bytes(upstream, parts, Bytes::new(), self.settings.limits.relay_timeout).await;
        let is_failing = match &answered {
            Ok((head, _)) => head.status.is_server_error(),
            // That is our own trouble.
            Err(RelayError::Crowded) => false,
            Err(_) => true,
        };
        self.rests.note(wanted.address.site, is_failing);
        answered
    }

    /// Keeps a good answer, beside the way to the client. None: it is kept already, or is not worth it.
    fn put_by(&self, wanted: &Wanted, head: &response::Parts, body: &Bytes) -> Option<JoinHandle<()>> {
        let now = self.clock.now();
        let encoding = encoding_of(&head.headers)?;
        let turn = if wanted.is_kept { self.shelf.turn(&wanted.address, now)? } else { return None };
        let text = |name: HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let page = Page {
            fetched_at: now,
            encoding,
            content_type: text(header::CONTENT_TYPE),
            cache_control: text(header::CACHE_CONTROL),
            etag: text(header::ETAG),
            last_modified: text(header::LAST_MODIFIED),
            body: body.clone(),
        };
        let room = if self.sources.load().list().iter().any(|source| source.is_retired) { Room::AsItIs } else { Room::MayBeMade };
        let path = protocol::masked_path(&wanted.address.path);
        Some(tokio::task::spawn_blocking(move || match turn.put(&page, room) {
            Ok(true) => {}
            Ok(false) => tracing::debug!(event = "page_not_kept", path, "there is no room for it"),
            Err(error) => {
                tracing::warn!(event = "page_not_kept", %error, path, "a page of Segment's CDN cannot be kept; the one before it is");
            }
        }))
    }

    /// Fetches what SDKs of a source need first, so that it is kept before Segment goes: its settings from both hosts, and its script.
    /// What Segment does not serve stays as it is.
    pub async fn keep_pages(&self, source: &Source) {
        for key in &source.segment_keys {
            let settings = format!("/v1/projects/{}/settings", key.expose());
            let script = format!("/analytics.js/v1/{}/analytics.min.js", key.expose());
            for (site, path) in [(Site::Cdn, &settings), (Site::CdnSettings, &settings), (Site::Cdn, &script)] {
                self.keep_page(&Address { site, path: path.clone() }).await;
            }
        }
    }

    async fn keep_page(&self, address: &Address) {
        let Ok(request) = Request::get(&address.path).body(()) else { return };
        let mut parts = request.into_parts().0;
        let host = if address.site == Site::CdnSettings { CDN_SETTINGS_HOST } else { CDN_HOST };
        parts.headers.insert(header::HOST, HeaderValue::from_static(host));
        let wanted = self.wanted(&parts, address.path.ends_with("/settings"));
        let answered = self.ask(&wanted, &mut parts, false).await;
        if let Ok((head, body)) = answered
            && head.status == StatusCode::OK
            && is_good(&wanted, &head, &body)
            && let Some(kept) = self.put_by(&wanted, &head, &body)
        {
            // It is on the shelf when this returns.
            let _ = kept.await;
        }
    }

    /// The source's own pages that are kept, and how many of everybody's.
    #[must_use]
    pub fn kept_pages(&self, source: &Source) -> (Vec<Listed>, usize) {
        let is_own = |page: &Listed| {
            protocol::page_key(&page.address.path).is_some_and(|key| source.segment_keys.iter().any(|own| own.expose() == key))
        };
        let (keyed, shared): (Vec<Listed>, Vec<Listed>) =
            self.shelf.list().into_iter().partition(|page| protocol::page_key(&page.address.path).is_some());
        (keyed.into_iter().filter(is_own).collect(), shared.len())
    }

    /// The last good copy. None: there is none, or no memory for it at this moment.
    async fn last_good(&self, wanted: &Wanted, parts: &Parts) -> Option<Reply> {
        if !wanted.is_kept {
            return None;
        }
        // Before it is read: a flood of requests has no more in memory than there is room for.
        let place = match parts.extensions.get::<Untaken>() {
            Some(untaken) => Some(untaken.another().await.ok()?),
            None => None,
        };
        let size = usize::try_from(self.shelf.size(&wanted.address)?).unwrap_or(usize::MAX);
        let share = self.relays.room_for(size, self.settings.limits.relay_timeout).await?;
        let (shelf, address) = (Arc::clone(&self.shelf), wanted.address.clone());
        let page = tokio::task::spawn_blocking(move || shelf.get(&address)).await.ok()??;
        let mut head = Response::new(()).into_parts().0;
        for (name, value) in KEPT.into_iter().zip([&page.content_type, &page.cache_control, &page.etag, &page.last_modified]) {
            if let Some(value) = value.as_deref().and_then(|value| HeaderValue::from_str(value).ok()) {
                head.headers.insert(name, value);
            }
        }
        let known = parts.headers.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok());
        if known.is_some() && known == page.etag.as_deref() && !wanted.is_settings {
            head.status = StatusCode::NOT_MODIFIED;
            self.counters.pages_from_shelf.add(1);
            return Some(Response::from_parts(head, Full::default()));
        }
        let as_it_is = page.encoding == Encoding::Gzip && takes_gzip(&parts.headers) && !wanted.is_settings;
        if as_it_is {
            head.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if page.encoding == Encoding::Gzip {
            head.headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        }
        let body = if as_it_is { page.body } else { page.plain()? };
        let more = self.relays.room_for(body.len().saturating_sub(size), self.settings.limits.relay_timeout).await?;
        self.counters.pages_from_shelf.add(1);
        Some(self.hand_on(wanted, head, &held(body, (share, more, place))))
    }

    /// Settings are handed on with `apiHost` pointing here; anything else, and what cannot be rewritten, as it is.
    fn hand_on(&self, wanted: &Wanted, head: response::Parts, body: &Bytes) -> Reply {
        let public_host = self.settings.public_host.as_ref().filter(|_| wanted.is_settings && head.status == StatusCode::OK);
        let rewritten = public_host.and_then(|host| protocol::rewrite_api_host(body, host));
        // The answer's share of memory stays taken until the client has what was made of it.
        let body = rewritten.map_or_else(|| body.clone(), |rewritten| held(rewritten, body.clone()));
        Response::from_parts(head, Full::new(body))
    }
}

/// Asks for what can be kept: plain or gzip, and whole where there is no copy. Settings are looked into, and come plain and whole.
fn ask_plainly(wanted: &Wanted, headers: &mut HeaderMap, is_there: bool) {
    let gzip = !wanted.is_settings && takes_gzip(headers);
    if gzip {
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    } else {
        headers.remove(header::ACCEPT_ENCODING);
    }
    if wanted.is_settings || wanted.is_kept && !is_there {
        headers.remove(header::IF_NONE_MATCH);
        headers.remove(header::IF_MODIFIED_SINCE);
    }
}

/// Whether a client reads gzip: it names it, and not to refuse it.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let named = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let mut of_gzip = named.map(|coding| coding.split(';').map(str::trim)).filter_map(|mut words| {
        let is_gzip = words.next().is_some_and(|coding| coding.eq_ignore_ascii_case("gzip"));
        is_gzip.then(|| words.next().and_then(|weight| weight.strip_prefix("q=")?.parse().ok()).unwrap_or(1.0_f32))
    });
    of_gzip.any(|weight| weight > 0.0)
}

/// None for an encoding that is not kept.
fn encoding_of(headers: &HeaderMap) -> Option<Encoding> {
    match headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"" | b"identity") => Some(Encoding::Identity),
        Some(b"gzip") => Some(Encoding::Gzip),
        Some(_) => None,
    }
}

/// Whether a 200 is what it should be, and not a word of something that stands in the way (a proxy's page, a login).
fn is_good(wanted: &Wanted, head: &response::Parts, body: &Bytes) -> bool {
    if !wanted.is_settings {
        let kind = head.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        return !body.is_empty() && !kind.trim_start().starts_with("text/html");
    }
    match encoding_of(&head.headers) {
        Some(Encoding::Identity) => protocol::are_settings(body),
        Some(Encoding::Gzip) => protocol::inflate(body, INFLATED).is_ok_and(|plain| protocol::are_settings(&plain)),
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_reads_gzip_says_so() {
        let table =
            [("gzip", true), ("br, GZIP;q=0.5", true), ("gzip;q=0", false), ("deflate, br", false), ("", false), ("gzip; q=0.0", false)];
        for (value, want) in table {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
            assert_eq!(takes_gzip(&headers), want, "{value}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_failed_is_asked_by_one_client_after_its_rest() {
        let rests = Rests::default();
        assert!(!rests.is_on(Site::Cdn));
        rests.note(Site::Cdn, true);
        assert!(rests.is_on(Site::Cdn) && !rests.is_on(Site::CdnSettings));
        tokio::time::advance(REST).await;
        assert_eq!([rests.is_on(Site::Cdn), rests.is_on(Site::Cdn)], [false, true]);
        rests.note(Site::Cdn, false);
        assert!(!rests.is_on(Site::Cdn));
    }
}
