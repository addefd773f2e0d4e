//! What is foretold of events by the vendors' published rules.

use std::cmp::Reverse;

use axum::{extract::State, response::Response};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    answer::{Problems, Refusal, good},
    extract::Query,
    lanes::source_id,
    server::Hub,
};
use crate::{
    census::{Named, Predictions},
    model::WallTime,
    wire::{self, schema},
};

/// What `GET /v1/predictions` can be asked.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// Only events of this source, by id or name.
    source: Option<String>,
}

/// Events that a vendor will not take, by the rules that it has published, and names that end in different columns or tables.
#[utoipa::path(
    get,
    path = "/v1/predictions",
    tag = "state",
    params(Asked),
    responses((status = 200, body = wire::Predictions), Problems)
)]
pub(super) async fn predictions(State(hub): State<Hub>, Query(asked): Query<Asked>) -> Result<Response, Refusal> {
    let source = asked.source.as_deref().map(|source| source_id(&hub, source)).transpose()?;
    let Predictions { mut events, names, has_more_names } = hub.census.predictions(source.as_ref());
    events.sort_by_key(|(_, _, told)| Reverse(told.events));
    Ok(good(&wire::Predictions {
        schema: schema::PREDICTIONS.to_owned(),
        events: events
            .into_iter()
            .map(|(source, reason, told)| wire::Prediction {
                source: source.to_string(),
                vendor: reason.vendor().label().to_owned(),
                reason: reason.code().to_owned(),
                place: reason.place().to_owned(),
                events: told.events,
                first_at: told.first_at.to_string(),
                last_at: told.last_at.to_string(),
                samples: told.samples.iter().map(|(at, named)| sample(&hub, *at, named)).collect(),
            })
            .collect(),
        names: names
            .into_iter()
            .map(|(source, scope, name, parted)| wire::NamePrediction {
                source: source.to_string(),
                reason: scope.code().to_owned(),
                place: hub.without_keys(&parted.place),
                name: hub.without_keys(&name),
                segment: hub.without_keys(&parted.column.segment),
                rudderstack: hub.without_keys(&parted.column.rudderstack),
                sample: sample(&hub, parted.sample.0, &parted.sample.1),
            })
            .collect(),
        more_names: has_more_names,
    }))
}

fn sample(hub: &Hub, at: WallTime, named: &Named) -> wire::PredictionSample {
    wire::PredictionSample {
        at: at.to_string(),
        message_id: hub.without_keys(&named.message_id),
        event: named.event.as_deref().map(|event| hub.without_keys(event)),
    }
}
