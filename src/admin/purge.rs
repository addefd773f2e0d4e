//! Giving up what waits of a source that is gone for good.

use axum::{
    extract::{Extension, State},
    response::Response,
};

use super::{
    answer::{Problems, Refusal, good},
    caller::Caller,
    extract::{Json, Path},
    lanes::{destination_of, source_id},
    routes::{refused, worded},
    server::Hub,
};
use crate::{
    control::{FlipError, PurgeAsked, Purged},
    model::{Role, SourceId},
    routing::Author,
    wire::{self, ProblemCode, schema},
};

/// Gives up what waits, and what is in quarantine, of a source that is not in the configuration any more.
#[utoipa::path(
    post,
    path = "/v1/sources/{source}/purge",
    tag = "lanes",
    params(("source" = String, Path, description = "Its id")),
    request_body = wire::PurgeAsked,
    responses((status = 200, body = wire::PurgeAnswer), Problems)
)]
pub(super) async fn purge(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Path(source): Path<String>,
    Json(asked): Json<wire::PurgeAsked>,
) -> Result<Response, Refusal> {
    let source = source_id(&hub, &source)?;
    let destination = asked.destination.as_deref().map(destination_of).transpose()?;
    if asked.dry_run {
        let planned = hub.switchboard.plan_purge(&source, destination).map_err(refused)?;
        return Ok(answer(&source, planned, false));
    }
    caller.must(Role::Operate)?;
    if asked.i_mean.as_deref() != Some(source.as_str()) {
        let fix = format!("Say it twice: segue purge {source} --yes-i-mean-it {source}");
        return Err(Refusal::new(ProblemCode::BadRequest, "a purge cannot be undone, and has to name its source twice", fix));
    }
    let asked = PurgeAsked { source: source.clone(), destination, by: Author::Uid(caller.uid), reason: worded(asked.reason)? };
    let purged = hub.switchboard.purge(asked).await.map_err(|error| match error {
        FlipError::Journal(_) => {
            refused(error).meaning("What was not given up by then still waits: segue purge --dry-run says how much that is.")
        }
        error => refused(error),
    })?;
    tracing::warn!(event = "purged", %source, waiting = purged.waiting, quarantined = purged.quarantined, uid = caller.uid, "an operator gave up what waited of a source");
    Ok(answer(&source, purged, true))
}

fn answer(source: &SourceId, purged: Purged, done: bool) -> Response {
    let Purged { waiting, quarantined } = purged;
    good(&wire::PurgeAnswer { schema: schema::PURGE.to_owned(), source: source.to_string(), done, waiting, quarantined })
}
