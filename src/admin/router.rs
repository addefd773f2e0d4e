//! Which path is whose, and how long a request may take.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Extension, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use http::Method;
use tokio::{sync::Semaphore, time::timeout};
use utoipa::{OpenApi, openapi::OpenApi as Document};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    answer::{Problems, Refusal, good},
    caller::Caller,
    evidence, lanes, limits, predictions, purge, quarantine, ramps, replays, retirement, routes as flips, sent, series,
    server::Hub,
    status, stream, versions,
};
use crate::wire::{self, ProblemCode, schema};

/// Requests at work at one time; more wait for their turn.
const REQUESTS_MAX: usize = 4;
/// The same of those that read the whole journal, which nobody else waits behind.
const READS_MAX: usize = 2;
/// A larger body is refused.
pub(super) const BODY_BYTES_MAX: usize = 64 << 10;
/// How long a request may take, its body and its turn included: a change may wait for the disk.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(25);

/// What the document says of itself.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "segue's admin API",
        description = "Shows and changes a running segue: lanes, routes, kill switch, quarantine. It is served on a unix socket: \
                       `curl --unix-socket /var/lib/segue/admin.sock http://segue/v1/routes`. Every `no` says what happened, what it \
                       means for the data, and what to do."
    ),
    components(schemas(wire::Problem)),
    tags(
        (name = "state", description = "How the sidecar is"),
        (name = "lanes", description = "The queues to the two destinations"),
        (name = "routes", description = "Who gets whose events; each change has a revision"),
        (name = "replays", description = "Events sent again from the journal"),
        (name = "evidence", description = "Whether RudderStack gets what Segment gets"),
        (name = "quarantine", description = "What a destination refused for good"),
    )
)]
struct Description;

/// The whole API, and its description.
pub(super) fn router(hub: Hub) -> Router {
    let (router, document) = described();
    let turns = Arc::new(Turns { usual: Semaphore::new(REQUESTS_MAX), reads: Semaphore::new(READS_MAX) });
    let document = Arc::new(document);
    router
        .route("/v1/openapi.json", get(move || std::future::ready(good(document.as_ref()))))
        .fallback(unknown)
        .method_not_allowed_fallback(not_allowed)
        .with_state(hub)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(turns, in_turn))
}

fn described() -> (Router<Hub>, Document) {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(health))
        .routes(routes!(me))
        .routes(routes!(status::status))
        .routes(routes!(status::drain_on))
        .routes(routes!(status::drain_off))
        .routes(routes!(stream::stream))
        .routes(routes!(series::series))
        .routes(routes!(versions::versions))
        .routes(routes!(predictions::predictions))
        .routes(routes!(sent::diffs))
        .routes(routes!(sent::event))
        .routes(routes!(evidence::evidence))
        .routes(routes!(evidence::findings))
        .routes(routes!(evidence::finding, evidence::decide))
        .routes(routes!(evidence::ledger))
        .routes(routes!(evidence::trace))
        .routes(routes!(lanes::list))
        .routes(routes!(lanes::hold))
        .routes(routes!(lanes::release))
        .routes(routes!(lanes::unpark))
        .routes(routes!(purge::purge))
        .routes(routes!(limits::list, limits::set))
        .routes(routes!(replays::list, replays::start))
        .routes(routes!(replays::plan))
        .routes(routes!(replays::pause))
        .routes(routes!(replays::resume))
        .routes(routes!(replays::cancel))
        .routes(routes!(ramps::list, ramps::begin))
        .routes(routes!(ramps::pause))
        .routes(routes!(ramps::resume))
        .routes(routes!(ramps::abort))
        .routes(routes!(retirement::show))
        .routes(routes!(retirement::retire))
        .routes(routes!(retirement::unretire))
        .routes(routes!(flips::list))
        .routes(routes!(flips::history))
        .routes(routes!(flips::audit))
        .routes(routes!(flips::undo))
        .routes(routes!(flips::flip))
        .routes(routes!(flips::reload))
        .routes(routes!(flips::kill_status))
        .routes(routes!(flips::kill_on))
        .routes(routes!(flips::kill_off))
        .routes(routes!(quarantine::list))
        .routes(routes!(quarantine::redrive))
        .routes(routes!(quarantine::release))
        .routes(routes!(quarantine::show))
        .split_for_parts()
}

/// Who may work at one time.
#[derive(Debug)]
struct Turns {
    usual: Semaphore,
    reads: Semaphore,
}

impl Turns {
    /// Where a request waits for its turn; None: nowhere, as whoever reaches for the kill switch cannot wait.
    fn of(&self, path: &str) -> Option<&Semaphore> {
        match path {
            path if path.starts_with("/v1/kill") => None,
            "/v1/replays" | "/v1/replays/plan" | "/v1/diffs" => Some(&self.reads),
            path if path.starts_with("/v1/events/") || path.starts_with("/v1/trace/") => Some(&self.reads),
            _ => Some(&self.usual),
        }
    }
}

/// Lets a few requests work at a time, each for a while.
async fn in_turn(State(turns): State<Arc<Turns>>, request: Request, next: Next) -> Response {
    let answered = timeout(REQUEST_TIMEOUT, async {
        let _turn = match turns.of(request.uri().path()) {
            Some(turns) => turns.acquire().await.ok(),
            None => None,
        };
        next.run(request).await
    });
    answered.await.unwrap_or_else(|_| {
        Refusal::new(ProblemCode::TimedOut, "the request took too long", "Look at how things stand now, and ask again.")
            .meaning("A change may have been made.")
            .into_response()
    })
}

/// Whether events are taken.
#[utoipa::path(get, path = "/v1/health", tag = "state", responses((status = 200, body = wire::Health), Problems))]
async fn health(State(hub): State<Hub>) -> Response {
    let journal = status::state(hub.journal.health());
    good(&wire::Health {
        schema: schema::HEALTH.to_owned(),
        ready: journal == "writable",
        journal: journal.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

/// Who asks, and what that one may do.
#[utoipa::path(get, path = "/v1/me", tag = "state", responses((status = 200, body = wire::Me), Problems))]
async fn me(Extension(caller): Extension<Caller>) -> Response {
    let roles = caller.roles.list().into_iter().map(|role| role.label().to_owned()).collect();
    good(&wire::Me { schema: schema::ME.to_owned(), uid: caller.uid, roles })
}

async fn unknown(request: Request) -> Refusal {
    let what = format!("there is no {}", request.uri().path());
    Refusal::new(ProblemCode::NotFound, what, "What there is: /v1/openapi.json. Is this sidecar older than the client?")
}

async fn not_allowed(method: Method, request: Request) -> Refusal {
    let what = format!("{} does not take {method}", request.uri().path());
    Refusal::new(ProblemCode::NotAllowed, what, "What it takes: /v1/openapi.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kill_switch_waits_for_nobody() {
        let turns = Turns { usual: Semaphore::new(0), reads: Semaphore::new(0) };
        assert!(turns.of("/v1/kill/on").is_none());
        assert!(std::ptr::eq(turns.of("/v1/replays/plan").unwrap(), &raw const turns.reads));
        assert!(std::ptr::eq(turns.of("/v1/routes").unwrap(), &raw const turns.usual));
    }

    #[test]
    fn the_description_names_every_answer() {
        let (_, document) = described();
        let json = serde_json::to_value(&document).unwrap();
        let paths = json["paths"].as_object().unwrap();
        assert!(paths.len() > 10, "{paths:?}");
        for (path, operations) in paths {
            for (method, operation) in operations.as_object().unwrap() {
                let answers = operation["responses"].as_object().unwrap();
                assert!(!answers.contains_key("default"), "{method} {path}: a default says nothing");
                for status in ["200", "400", "403", "404", "503", "504"] {
                    assert!(answers.contains_key(status), "{method} {path} may answer {status}, and does not say so");
                }
                let described = operation["summary"].as_str().is_some_and(|summary| !summary.is_empty());
                assert!(described, "{method} {path} does not say what it is");
            }
        }
    }
}
