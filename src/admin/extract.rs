//! What a request says, or why it cannot be understood: as axum reads it, with refusals of our own form.

use axum::extract::{
    FromRequest, FromRequestParts, Request,
    rejection::{JsonRejection, PathRejection, QueryRejection},
};
use http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::answer::Refusal;
use crate::wire::ProblemCode;

/// A body: one JSON object.
#[derive(Debug)]
pub(super) struct Json<T>(pub(super) T);

/// The names in a path.
#[derive(Debug, FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Refusal))]
pub(super) struct Path<T>(pub(super) T);

/// What stands behind the question mark.
#[derive(Debug, FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Refusal))]
pub(super) struct Query<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let axum::Json(body) = axum::Json::<Box<RawValue>>::from_request(request, state).await?;
        // A list would be taken for the object's values in turn.
        if !body.get().trim_start().starts_with('{') {
            return Err(Refusal::new(ProblemCode::BadRequest, "the body is no JSON object", ANOTHER_VERSION));
        }
        let read = serde_json::from_str(body.get());
        read.map(Self).map_err(|error| Refusal::new(ProblemCode::BadRequest, format!("the body cannot be read: {error}"), ANOTHER_VERSION))
    }
}

/// What most mistakes come from.
const ANOTHER_VERSION: &str = "Is the sidecar of the client's version? segue version";

impl From<JsonRejection> for Refusal {
    fn from(rejection: JsonRejection) -> Self {
        let is_large = rejection.status() == StatusCode::PAYLOAD_TOO_LARGE;
        let code = if is_large { ProblemCode::TooLarge } else { ProblemCode::BadRequest };
        Self::new(code, rejection.body_text(), ANOTHER_VERSION)
    }
}

impl From<PathRejection> for Refusal {
    fn from(rejection: PathRejection) -> Self {
        Self::new(ProblemCode::BadRequest, rejection.body_text(), ANOTHER_VERSION)
    }
}

impl From<QueryRejection> for Refusal {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(ProblemCode::BadRequest, rejection.body_text(), ANOTHER_VERSION)
    }
}
