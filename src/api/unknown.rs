//! What is asked for where it is not: a service of the other listener, or none at all.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header::CONTENT_TYPE};

use super::status::to_status;
use crate::domain::refusal::{Reason, Refusal};

/// The services of the other listener, and where that is.
#[derive(Clone, Copy, Debug)]
pub struct Elsewhere {
    /// Full names of its services.
    pub services: &'static [&'static str],
    /// What it is called.
    pub listener: &'static str,
}

impl Elsewhere {
    /// The answer to a path that nothing here serves.
    pub fn answer(self, path: &str) -> Response {
        let service = path
            .trim_start_matches('/')
            .split('/')
            .next()
            .unwrap_or_default();
        let message = if self.services.contains(&service) {
            format!("{service} is served on the {} listener", self.listener)
        } else {
            "there is no such method here".to_owned()
        };
        let status = to_status(&Refusal::new(Reason::UnknownMethod, message));
        // A response of trailers only: gRPC's own way to refuse at once.
        let mut response = StatusCode::OK.into_response();
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        if status.add_header(response.headers_mut()).is_err() {
            *response.status_mut() = StatusCode::NOT_FOUND;
        }
        response
    }
}
