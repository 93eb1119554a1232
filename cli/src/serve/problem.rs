//! What can go wrong with a request, and how each API says so.

use std::time::Duration;

use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Whose shapes an answer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Api {
    OpenAi,
    Tei,
    AkiDb,
}

impl Api {
    /// The API that a path belongs to; what belongs to none is answered in OpenAI's shape.
    pub(super) fn of(path: &str) -> Self {
        match path {
            "/embed" => Self::Tei,
            _ if path.starts_with("/api/") => Self::AkiDb,
            _ => Self::OpenAi,
        }
    }
}

/// A request that gets no vectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) kind: Kind,
    /// For the client: no paths, no addresses, nothing of the native library.
    pub(super) message: String,
    /// The field at fault.
    pub(super) param: Option<&'static str>,
    /// When it is worth trying again, for what passes by itself.
    pub(super) retry_after: Duration,
}

/// Kinds of problem; each has a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Not JSON.
    Malformed,
    /// JSON, but not a request that can be answered.
    Invalid,
    /// An input has more tokens than the model takes.
    TooManyTokens,
    Unauthorized,
    UnknownModel,
    UnknownPath,
    WrongMethod,
    /// The body did not arrive in time.
    Timeout,
    /// More bytes, inputs or tokens than one request may hold.
    TooLarge,
    NotJsonType,
    /// Too much waits already.
    Overloaded,
    /// Loading, failed, draining, or out of time.
    Unavailable,
    Internal,
}

impl Problem {
    pub(super) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            param: None,
            retry_after: Duration::from_secs(1),
        }
    }

    /// A value that cannot be served, in the field `param`.
    pub(super) fn invalid(param: &'static str, message: impl Into<String>) -> Self {
        Self {
            param: Some(param),
            ..Self::new(Kind::Invalid, message)
        }
    }

    /// The same, worth trying again after `wait`.
    pub(super) fn retry_after(self, wait: Duration) -> Self {
        Self {
            retry_after: wait,
            ..self
        }
    }

    /// The answer in the shape of `api`.
    pub(super) fn answer(&self, api: Api) -> Response {
        let body = self.body(api).to_string();
        let mut response = (self.status(api), body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        match self.kind {
            Kind::Overloaded | Kind::Unavailable => {
                // Whole seconds, and never 0, which would invite at once.
                let seconds = self.retry_after.as_secs_f64().ceil().max(1.0) as u64;
                headers.insert(RETRY_AFTER, seconds.into());
            }
            Kind::Unauthorized => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        response
    }

    /// Its status in `api`: text-embeddings-inference has 422 and 413 for what others call 400.
    pub(super) fn status(&self, api: Api) -> StatusCode {
        match (self.kind, api) {
            (Kind::Invalid, Api::Tei) => StatusCode::UNPROCESSABLE_ENTITY,
            (Kind::TooManyTokens, Api::Tei) => StatusCode::PAYLOAD_TOO_LARGE,
            (Kind::Malformed | Kind::Invalid | Kind::TooManyTokens, _) => StatusCode::BAD_REQUEST,
            (Kind::Unauthorized, _) => StatusCode::UNAUTHORIZED,
            (Kind::UnknownModel | Kind::UnknownPath, _) => StatusCode::NOT_FOUND,
            (Kind::WrongMethod, _) => StatusCode::METHOD_NOT_ALLOWED,
            (Kind::Timeout, _) => StatusCode::REQUEST_TIMEOUT,
            (Kind::TooLarge, _) => StatusCode::PAYLOAD_TOO_LARGE,
            (Kind::NotJsonType, _) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            (Kind::Overloaded, _) => StatusCode::TOO_MANY_REQUESTS,
            (Kind::Unavailable, _) => StatusCode::SERVICE_UNAVAILABLE,
            (Kind::Internal, _) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub(super) fn body(&self, api: Api) -> Value {
        let message = &self.message;
        match api {
            Api::OpenAi => json!({"error": {
                "message": message,
                "type": self.openai_type(),
                "param": self.param,
                "code": self.openai_code(),
            }}),
            Api::Tei => json!({"error": message, "error_type": self.tei_type()}),
            Api::AkiDb => json!({"error": message, "kind": self.akidb_kind()}),
        }
    }

    fn openai_type(&self) -> &'static str {
        match self.kind {
            Kind::Overloaded => "rate_limit_error",
            Kind::Unavailable | Kind::Internal => "server_error",
            _ => "invalid_request_error",
        }
    }

    fn openai_code(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Unauthorized => Some("invalid_api_key"),
            Kind::UnknownModel => Some("model_not_found"),
            Kind::UnknownPath => Some("unknown_url"),
            Kind::WrongMethod => Some("method_not_supported"),
            Kind::TooManyTokens => Some("context_length_exceeded"),
            Kind::TooLarge => Some("request_too_large"),
            Kind::Overloaded => Some("rate_limit_exceeded"),
            Kind::Unavailable => Some("service_unavailable"),
            Kind::Malformed | Kind::Invalid | Kind::Timeout => None,
            Kind::NotJsonType | Kind::Internal => None,
        }
    }

    fn tei_type(&self) -> &'static str {
        match self.kind {
            Kind::Overloaded => "Overloaded",
            Kind::Unavailable => "Unhealthy",
            Kind::Internal => "Backend",
            _ => "Validation",
        }
    }

    fn akidb_kind(&self) -> &'static str {
        match self.kind {
            Kind::UnknownModel => "ModelNotFound",
            Kind::Overloaded | Kind::Unavailable => "ServiceUnavailable",
            Kind::Internal => "Internal",
            _ => "InvalidInput",
        }
    }
}

/// The answer to a method that the path does not have; `allowed` are those that it has.
pub(super) fn wrong_method(api: Api, allowed: &'static str) -> Response {
    let problem = Problem::new(Kind::WrongMethod, format!("expected {allowed}"));
    let mut response = problem.answer(api);
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_api_has_its_own_shape() {
        let problem = Problem::invalid("dimensions", "too many");
        assert_eq!(
            problem.body(Api::OpenAi).to_string(),
            r#"{"error":{"code":null,"message":"too many","param":"dimensions","type":"invalid_request_error"}}"#
        );
        assert_eq!(
            problem.body(Api::Tei).to_string(),
            r#"{"error":"too many","error_type":"Validation"}"#
        );
        assert_eq!(
            problem.body(Api::AkiDb).to_string(),
            r#"{"error":"too many","kind":"InvalidInput"}"#
        );
    }

    #[test]
    fn what_passes_says_when_to_come_back() {
        for kind in [Kind::Overloaded, Kind::Unavailable] {
            let problem = Problem::new(kind, "later");
            assert_eq!(problem.answer(Api::Tei).headers()[RETRY_AFTER], "1");
            let problem = problem.retry_after(Duration::from_millis(2300));
            assert_eq!(problem.answer(Api::Tei).headers()[RETRY_AFTER], "3");
        }
        let answer = Problem::new(Kind::Internal, "no").answer(Api::Tei);
        assert!(!answer.headers().contains_key(RETRY_AFTER));
    }

    #[test]
    fn the_api_is_read_from_the_path() {
        assert_eq!(Api::of("/embed"), Api::Tei);
        assert_eq!(Api::of("/api/v1/embed"), Api::AkiDb);
        for other in ["/v1/embeddings", "/", "/embedding", "/metrics"] {
            assert_eq!(Api::of(other), Api::OpenAi);
        }
    }
}
