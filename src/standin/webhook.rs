//! What a vendor passes on: each event that it keeps is posted to a webhook, as both vendors do (protocol.md 4.1, 4.3, 4.5).
//!
//! Segment signs (`X-Signature`, HMAC-SHA1 of the body), RudderStack does not. Both send again what is not answered, or answered 5xx,
//! and RudderStack 408 and 429 too; both drop what is answered otherwise.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderValue, Method, header};
use serde::Serialize;
use sha1::Sha1;
use tokio::{
    sync::{Semaphore, mpsc},
    time::sleep,
};

use super::{
    Vendor,
    alteration::{Alteration, AlterationId, Alterations, Altered, Subject},
    object::Object,
};
use crate::{
    chance,
    model::json::parse,
    upstream::{self, Call, Upstream},
};

/// Where events are passed on to.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// The source whose events these are, by its write key.
    pub write_key: String,
    /// The whole URL, path included.
    pub url: String,
    /// What Segment signs with; None: it does not. RudderStack never does.
    pub secret: Option<String>,
}

/// How webhooks fared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct EmittedCounts {
    /// Events that were to be passed on, before any alteration.
    pub events: u64,
    /// Posts that were answered 2xx.
    pub delivered: u64,
    /// Posts that were given up: answered 4xx, or too often not at all.
    pub refused: u64,
    /// Posts that are on their way.
    pub waiting: u64,
}

/// One event, as it is to be passed on.
#[derive(Debug)]
pub(super) struct Emission {
    pub write_key: Arc<str>,
    pub message_id: String,
    pub kind: String,
    pub name: Option<String>,
    pub body: String,
}

/// Passes events on, in the background. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Emitter {
    shared: Arc<Shared>,
    queue: mpsc::UnboundedSender<Post>,
}

#[derive(Debug)]
struct Shared {
    vendor: Vendor,
    webhooks: Mutex<BTreeMap<String, Target>>,
    alterations: Alterations,
    counts: [AtomicU64; 4],
    retry_first: Duration,
}

#[derive(Debug, Clone)]
struct Target {
    upstream: Upstream,
    path: String,
    secret: Option<String>,
}

#[derive(Debug)]
struct Post {
    target: Target,
    body: Bytes,
    after: Duration,
}

/// Posts at one time.
const AT_ONCE: usize = 16;
/// Attempts: with a first wait of a second, some hours.
const ATTEMPTS_MAX: u32 = 20;
const RETRY_MAX: Duration = Duration::from_mins(5);
/// Segment waits five seconds for an answer (protocol.md 4.1).
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(5);

impl Emitter {
    /// Begins to pass events on. `retry_first` is the first wait before a post is repeated; it doubles.
    pub(super) fn start(vendor: Vendor, retry_first: Duration) -> Self {
        let shared = Arc::new(Shared {
            vendor,
            webhooks: Mutex::default(),
            alterations: Alterations::default(),
            counts: Default::default(),
            retry_first,
        });
        let (queue, posts) = mpsc::unbounded_channel();
        tokio::spawn(dispatch(Arc::clone(&shared), posts));
        Self { shared, queue }
    }

    /// Passes a source's events on to there from now on. A URL that cannot be one is refused.
    pub(super) fn add(&self, webhook: Webhook) -> Result<(), String> {
        let (origin, path) = split(&webhook.url).ok_or_else(|| format!("`{}` is no URL", webhook.url))?;
        let settings = upstream::Settings { url: origin, timeout: ANSWER_WAIT_MAX, ..upstream::Settings::default() };
        let upstream = Upstream::new(&settings).map_err(|error| error.to_string())?;
        let secret = webhook.secret.filter(|_| self.shared.vendor == Vendor::Segment);
        self.webhooks().insert(webhook.write_key, Target { upstream, path, secret });
        Ok(())
    }

    /// Whether anything is passed on at all.
    pub(super) fn is_on(&self) -> bool {
        !self.webhooks().is_empty()
    }

    /// Passes an event on, when its source has a webhook.
    pub(super) fn emit(&self, emission: &Emission) {
        let Some(target) = self.webhooks().get(&*emission.write_key).cloned() else { return };
        self.add_to(Tally::Events, 1);
        let body = match self.shared.vendor {
            Vendor::Segment => segments(&emission.body),
            Vendor::RudderStack => rudderstacks(&emission.body),
        };
        let subject = Subject {
            write_key: &emission.write_key,
            message_id: &emission.message_id,
            kind: &emission.kind,
            name: emission.name.as_deref(),
        };
        let Altered { body, copies, after } = self.shared.alterations.alter(&subject, body);
        for _ in 0..copies {
            self.add_to(Tally::Waiting, 1);
            // The dispatcher lives as long as this.
            let _ = self.queue.send(Post { target: target.clone(), body: Bytes::from(body.clone()), after });
        }
    }

    /// Tells that a user of a source was deleted, as Segment does (protocol.md 4.1).
    pub(super) fn delete(&self, write_key: &str, user_id: &str, at: &str) -> bool {
        let Some(target) = self.webhooks().get(write_key).cloned() else { return false };
        let mut event = Object::default();
        for (name, value) in [("type", "delete"), ("userId", user_id), ("timestamp", at)] {
            event.set_string(name, value);
        }
        self.add_to(Tally::Waiting, 1);
        self.queue.send(Post { target, body: event.text().into(), after: Duration::ZERO }).is_ok()
    }

    /// How they fared.
    pub(super) fn counts(&self) -> EmittedCounts {
        let [events, delivered, refused, waiting] = [0, 1, 2, 3].map(|at: usize| self.shared.counts[at].load(Ordering::Relaxed));
        EmittedCounts { events, delivered, refused, waiting }
    }

    /// What is changed in what is passed on.
    pub(super) fn alterations(&self) -> &Alterations {
        &self.shared.alterations
    }

    fn add_to(&self, tally: Tally, count: u64) {
        self.shared.counts[tally as usize].fetch_add(count, Ordering::Relaxed);
    }

    fn webhooks(&self) -> MutexGuard<'_, BTreeMap<String, Target>> {
        self.shared.webhooks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Clone, Copy)]
enum Tally {
    Events,
    Delivered,
    Refused,
    Waiting,
}

/// What changes what is passed on, for those who hold a stand-in.
#[derive(Debug, Clone, Copy)]
pub struct Emissions<'a> {
    pub(super) emitter: &'a Emitter,
}

impl Emissions<'_> {
    /// Passes a source's events on to a webhook from now on.
    ///
    /// # Errors
    /// When the URL cannot be one, in words.
    pub fn to(&self, webhook: Webhook) -> Result<(), String> {
        self.emitter.add(webhook)
    }

    /// Changes what is passed on from now on.
    #[expect(clippy::must_use_candidate, reason = "who never mends it needs no name for it")]
    pub fn alter(&self, alteration: Alteration) -> AlterationId {
        self.emitter.alterations().add(alteration)
    }

    /// Takes a change back.
    pub fn mend(&self, id: AlterationId) {
        self.emitter.alterations().lift(id);
    }

    /// To how many events a change was made, and to which of them; the first ten thousand.
    #[must_use]
    pub fn altered(&self, id: AlterationId) -> (u64, Vec<String>) {
        self.emitter.alterations().applied(id)
    }

    /// Tells that a user was deleted, as Segment does; false: the source has no webhook.
    #[must_use]
    pub fn delete(&self, write_key: &str, user_id: &str, at: &str) -> bool {
        self.emitter.delete(write_key, user_id, at)
    }

    /// How webhooks fared.
    #[must_use]
    pub fn counts(&self) -> EmittedCounts {
        self.emitter.counts()
    }

    /// Waits until nothing is on its way.
    pub async fn settled(&self) {
        while self.counts().waiting > 0 {
            sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn dispatch(shared: Arc<Shared>, mut posts: mpsc::UnboundedReceiver<Post>) {
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    while let Some(post) = posts.recv().await {
        let shared = Arc::clone(&shared);
        if post.after.is_zero() {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            tokio::spawn(async move {
                deliver(&shared, &post).await;
                drop(slot);
            });
        } else {
            tokio::spawn(async move {
                sleep(post.after).await;
                deliver(&shared, &post).await;
            });
        }
    }
}

async fn deliver(shared: &Shared, post: &Post) {
    let mut end = Tally::Refused;
    for attempt in 0..ATTEMPTS_MAX {
        let answered = post.target.upstream.send(call(shared.vendor, post)).await.map(|answer| answer.status.as_u16());
        let again = match answered {
            Ok(200..=299) => {
                end = Tally::Delivered;
                break;
            }
            Ok(408 | 429) => shared.vendor == Vendor::RudderStack,
            Ok(500..) | Err(_) => true,
            Ok(_) => false,
        };
        if !again {
            break;
        }
        let wait = shared.retry_first.saturating_mul(1 << attempt.min(16)).min(RETRY_MAX);
        let spread = u32::try_from(chance::number() % 100).unwrap_or(0);
        sleep(wait.mul_f64(0.5 + f64::from(spread) / 200.0)).await;
    }
    shared.counts[end as usize].fetch_add(1, Ordering::Relaxed);
    shared.counts[Tally::Waiting as usize].fetch_sub(1, Ordering::Relaxed);
}

fn call(vendor: Vendor, post: &Post) -> Call {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let agent = match vendor {
        Vendor::Segment => "Segment.io/1.0",
        Vendor::RudderStack => "RudderLabs",
    };
    headers.insert(header::USER_AGENT, HeaderValue::from_static(agent));
    if let Some(signature) = post.target.secret.as_deref().and_then(|secret| signature(secret, &post.body))
        && let Ok(value) = HeaderValue::from_str(&signature)
    {
        headers.insert("x-signature", value);
    }
    Call { method: Method::POST, path: post.target.path.clone(), headers, body: post.body.clone() }
}

fn signature(secret: &str, body: &[u8]) -> Option<String> {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).ok()?;
    mac.update(body);
    let digits = |digits: String, byte: &u8| format!("{digits}{byte:02x}");
    Some(mac.finalize().into_bytes().iter().fold(String::new(), digits))
}

/// Origin and path of a URL.
fn split(url: &str) -> Option<(String, String)> {
    let (scheme, rest) = url.split_once("://")?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    (!authority.is_empty()).then(|| (format!("{scheme}://{authority}"), format!("/{path}")))
}

/// Segment's own members, beside those that the event has already (protocol.md 4.3).
fn segments(handed_on: &str) -> String {
    let Ok(event) = parse(handed_on.as_bytes()) else { return handed_on.to_owned() };
    let mut out = Object::of(event);
    out.set("version", "2");
    out.set_string("projectId", "standin");
    if out.get("metadata").is_none() {
        out.set("metadata", r#"{"bundled":[],"unbundled":[]}"#);
    }
    out.text()
}

/// Without what is null, and with an address in the context (protocol.md 4.5).
fn rudderstacks(handed_on: &str) -> String {
    let Ok(event) = parse(handed_on.as_bytes()) else { return handed_on.to_owned() };
    let mut out = Object::of(event);
    for (key, value) in event.members() {
        if value.is_null() {
            out.remove(&key.name());
        }
    }
    let mut context = out.get("context").and_then(|own| parse(own.as_bytes()).ok()).map_or_else(Object::default, Object::of);
    if context.get("ip").is_none_or(|ip| ip == "null")
        && let Some(ip) = out.get("request_ip").map(str::to_owned)
    {
        context.set("ip", ip);
        out.set("context", context.text());
    }
    out.text()
}
