//! Requests as real SDKs make them: paths, headers, bodies and ids of clients.md 2.

use std::io::Write;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use serde_json::{Value, json};

use super::random::Random;
use crate::{model::WallTime, routing::Person, upstream::Call};

/// A source of the demo, and how its apps send.
#[derive(Debug, Clone, Copy)]
pub(super) struct App {
    /// The source's name and id.
    pub name: &'static str,
    /// Its Segment write key.
    pub segment_key: &'static str,
    /// Its RudderStack write key.
    pub rudderstack_key: &'static str,
    /// Its route.
    pub route: &'static str,
    /// The SDKs that its apps use.
    pub sdks: &'static [Sdk],
}

/// The SDKs that are played.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sdk {
    /// `@segment/analytics-next` 1.84: one event a request, text/plain, Basic and body key.
    Browser,
    /// `@segment/analytics-node` 2.3: batches, the key only in the body.
    Node,
    /// `segment-analytics-python` 2.4: batches with null ids, at times gzip.
    Python,
    /// `analytics-kotlin`: gzip, text/plain, the key only in the body.
    Kotlin,
    /// `analytics-java`: `/v1/import/`, the library only at batch level.
    Java,
    /// An e-mail's pixel.
    Pixel,
}

/// The sources of the demo: one at each stage of a migration.
pub(super) const APPS: [App; 4] = [
    App {
        name: "web-checkout",
        segment_key: "wk_demo_web_segment",
        rudderstack_key: "wk_demo_web_rudder",
        route: "both",
        sdks: &[Sdk::Browser, Sdk::Pixel],
    },
    App {
        name: "android-app",
        segment_key: "wk_demo_app_segment",
        rudderstack_key: "wk_demo_app_rudder",
        route: "shadow=25%",
        sdks: &[Sdk::Kotlin],
    },
    App {
        name: "orders-api",
        segment_key: "wk_demo_orders_segment",
        rudderstack_key: "wk_demo_orders_rudder",
        route: "cutover=50%",
        sdks: &[Sdk::Node, Sdk::Java],
    },
    App {
        name: "billing-jobs",
        segment_key: "wk_demo_jobs_segment",
        rudderstack_key: "wk_demo_jobs_rudder",
        route: "rudderstack-only",
        sdks: &[Sdk::Python],
    },
];

/// One request, and what is in it.
#[derive(Debug)]
pub(super) struct Made {
    pub call: Call,
    /// messageId and person of each event.
    pub events: Vec<(String, Person)>,
}

const EVENTS: [&str; 6] = ["Order Completed", "Product Viewed", "Cart Updated", "Signed Up", "Checkout Started", "Coupon Applied"];

/// Makes one request of an app; `now` is the client's clock.
pub(super) fn make(app: &App, random: &mut Random, now: WallTime) -> Made {
    let sdk = *random.pick(app.sdks);
    let count = match sdk {
        Sdk::Browser | Sdk::Pixel => 1,
        Sdk::Node | Sdk::Java => 1 + random.below(15),
        Sdk::Python | Sdk::Kotlin => 1 + random.below(20),
    };
    let (mut items, mut events) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let (item, id, person) = event(sdk, random, now);
        items.push(item);
        events.push((id, person));
    }
    Made { call: request(sdk, app, items, random, now), events }
}

fn event(sdk: Sdk, random: &mut Random, now: WallTime) -> (Value, String, Person) {
    let user = random.below(400);
    let (anonymous, user_id) = (format!("anon-{user:04}"), format!("user-{user:04}"));
    let id = match sdk {
        Sdk::Browser => format!("ajs-next-{}-{}", now.as_millis(), random.uuid()),
        Sdk::Node => format!("node-next-{}-{}", now.as_millis(), random.uuid()),
        Sdk::Python | Sdk::Kotlin | Sdk::Java | Sdk::Pixel => random.uuid(),
    };
    let name = *random.pick(&EVENTS);
    let mut event = json!({
        "type": "track", "event": name, "messageId": id, "timestamp": now.to_rfc3339(),
        "properties": {"order_id": random.uuid(), "total": random.below(50_000), "big": 9_007_199_254_740_993_u64, "coupon": null},
        "integrations": {},
    });
    let (anonymous_id, user_id) = match sdk {
        Sdk::Browser | Sdk::Kotlin => (Some(anonymous), user.is_multiple_of(3).then_some(user_id)),
        Sdk::Python => {
            event["anonymousId"] = Value::Null;
            (None, Some(user_id))
        }
        Sdk::Node | Sdk::Java | Sdk::Pixel => (None, Some(user_id)),
    };
    if let Some(text) = &anonymous_id {
        event["anonymousId"] = json!(text);
    }
    if let Some(text) = &user_id {
        event["userId"] = json!(text);
    }
    if let Some(context) = context(sdk) {
        event["context"] = context;
    }
    let person = Person::of(anonymous_id.as_deref(), user_id.as_deref(), &id);
    (event, id, person)
}

fn context(sdk: Sdk) -> Option<Value> {
    match sdk {
        Sdk::Browser => Some(json!({"library": {"name": "analytics.js", "version": "npm:next-1.84.3"},
            "page": {"path": "/checkout", "url": "https://shop.example.com/checkout"}, "locale": "en-US"})),
        Sdk::Node => Some(json!({"library": {"name": "@segment/analytics-node", "version": "2.3.0"}})),
        Sdk::Python => Some(json!({"library": {"name": "analytics-python", "version": "2.4.0"}})),
        Sdk::Kotlin => Some(json!({"library": {"name": "analytics-kotlin", "version": "1.16.0"},
            "app": {"name": "Shop", "version": "4.12.0"}, "os": {"name": "Android", "version": "14"}})),
        // Java names its library at batch level only (protocol.md T4); a pixel knows nothing.
        Sdk::Java | Sdk::Pixel => None,
    }
}

fn request(sdk: Sdk, app: &App, mut items: Vec<Value>, random: &mut Random, now: WallTime) -> Call {
    let sent_at = now.to_rfc3339();
    let key = app.segment_key;
    let batch = |items: Vec<Value>| json!({"batch": items, "sentAt": sent_at, "writeKey": key});
    let basic = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(format!("{key}:")))).ok();
    let mut headers = HeaderMap::new();
    let mut set = |name: HeaderName, value: &'static str| headers.insert(name, HeaderValue::from_static(value));
    let (path, body) = match sdk {
        Sdk::Browser => {
            set(header::CONTENT_TYPE, "text/plain");
            set(header::ORIGIN, "https://shop.example.com");
            set(header::USER_AGENT, "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36");
            let mut event = items.remove(0);
            event["writeKey"] = json!(key);
            event["sentAt"] = json!(sent_at);
            ("/v1/t".to_owned(), event.to_string().into_bytes())
        }
        Sdk::Node => {
            set(header::CONTENT_TYPE, "application/json");
            set(header::USER_AGENT, "analytics-node-next/latest");
            ("/v1/batch".to_owned(), batch(items).to_string().into_bytes())
        }
        Sdk::Python => {
            set(header::CONTENT_TYPE, "application/json");
            set(header::USER_AGENT, "analytics-python/2.4.0");
            let body = batch(items).to_string().into_bytes();
            if random.below(2) == 0 {
                set(header::CONTENT_ENCODING, "gzip");
                ("/v1/batch".to_owned(), gzip(&body))
            } else {
                ("/v1/batch".to_owned(), body)
            }
        }
        Sdk::Kotlin => {
            set(header::CONTENT_TYPE, "text/plain");
            set(header::CONTENT_ENCODING, "gzip");
            set(header::USER_AGENT, "analytics-kotlin/1.16.0");
            ("/v1/b".to_owned(), gzip(batch(items).to_string().as_bytes()))
        }
        Sdk::Java => {
            set(header::CONTENT_TYPE, "application/json");
            set(header::USER_AGENT, "analytics-java/3.5.2");
            let mut body = batch(items);
            body["context"] = json!({"library": {"name": "analytics-java", "version": "3.5.2"}});
            ("/v1/import/".to_owned(), body.to_string().into_bytes())
        }
        Sdk::Pixel => {
            let mut event = items.remove(0);
            event["writeKey"] = json!(key);
            let data = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(event.to_string());
            (format!("/v1/pixel/track?data={data}"), Vec::new())
        }
    };
    if matches!(sdk, Sdk::Browser | Sdk::Python | Sdk::Java)
        && let Some(basic) = basic
    {
        headers.insert(header::AUTHORIZATION, basic);
    }
    let method = if matches!(sdk, Sdk::Pixel) { Method::GET } else { Method::POST };
    Call { method, path, headers, body: Bytes::from(body) }
}

/// Writing to a Vec cannot fail; an empty body is what would tell.
fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).and_then(|()| encoder.finish()).unwrap_or_default()
}
