//! Rate limits: how they stand, and other ones.

use axum::{
    extract::{Extension, State},
    response::Response,
};

use super::{
    answer::{Problems, Refusal, good},
    caller::Caller,
    extract::Json,
    lanes::{destination_of, source_id},
    routes::{refused, unusable, worded},
    server::Hub,
};
use crate::{
    control::{LimitAsked, LimitStanding},
    model::{RateLimit, Role},
    routing::Author,
    wire::{self, schema},
};

/// All limits, in events a second.
#[utoipa::path(get, path = "/v1/limits", tag = "lanes", responses((status = 200, body = wire::Limits), Problems))]
pub(super) async fn list(State(hub): State<Hub>) -> Response {
    let limits = hub.switchboard.limits().iter().map(limit).collect();
    good(&wire::Limits { schema: schema::LIMITS.to_owned(), limits })
}

/// Gives a destination, or one source's lane to it, another limit.
#[utoipa::path(post, path = "/v1/limits", tag = "lanes", request_body = wire::LimitAsked, responses((status = 200, body = wire::LimitChanged), Problems))]
pub(super) async fn set(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Json(asked): Json<wire::LimitAsked>,
) -> Result<Response, Refusal> {
    if !asked.dry_run {
        caller.must(Role::Operate)?;
    }
    let limit_asked: RateLimit = asked.limit.parse().map_err(|error| unusable(&error, "Limits: 200/s, or none"))?;
    let asked = LimitAsked {
        source: asked.source.as_deref().map(|source| source_id(&hub, source)).transpose()?,
        destination: destination_of(&asked.destination)?,
        limit: limit_asked,
        by: Author::Uid(caller.uid),
        reason: worded(asked.reason)?,
        is_plan: asked.dry_run,
    };
    let is_plan = asked.is_plan;
    let (before, after) = hub.switchboard.limit(asked).await.map_err(refused)?;
    let changed = !is_plan && before.limit != after.limit;
    Ok(good(&wire::LimitChanged { schema: schema::LIMIT_CHANGED.to_owned(), changed, before: limit(&before), after: limit(&after) }))
}

fn limit(standing: &LimitStanding) -> wire::Limit {
    wire::Limit {
        source: standing.source.as_ref().map(ToString::to_string),
        destination: standing.destination.label().to_owned(),
        revision: standing.revision.0,
        limit: standing.limit.to_string(),
        configured: standing.configured.to_string(),
    }
}
