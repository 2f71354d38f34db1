//! What is answered when something can't be done.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::{Error, Family};

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Refusal {
    /// In one line: what happened, and what mends it.
    error: String,
}

#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    message: String,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> ApiError {
        ApiError { status, message: message.into() }
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    #[cfg(test)]
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> ApiError {
        let status = match error.family() {
            Family::Usage => StatusCode::BAD_REQUEST,
            Family::Transient | Family::Denied => StatusCode::SERVICE_UNAVAILABLE,
            Family::Restart | Family::Definite => StatusCode::CONFLICT,
        };
        ApiError { status, message: crate::error::one_line(&error.to_string()) }
    }
}

impl From<crate::redis::Error> for ApiError {
    fn from(error: crate::redis::Error) -> ApiError {
        ApiError::from(Error::Redis(error))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(Refusal { error: self.message })).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
