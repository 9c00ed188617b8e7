//! What clients are answered.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use raft_kv::machine::{Outcome, Versioned};
use raft_proto::Index;
use serde::Serialize;

use crate::node::{Applied, WriteError};

/// Where in the log a write stands.
pub(super) const INDEX: HeaderName = HeaderName::from_static("x-raft-index");
pub(super) const TERM: HeaderName = HeaderName::from_static("x-raft-term");
/// How much the state had applied that a read saw, and where the value was written.
pub(super) const APPLIED: HeaderName = HeaderName::from_static("x-raft-applied");
pub(super) const MODIFIED: HeaderName = HeaderName::from_static("x-raft-modified");
/// Which node answered.
pub(super) const NODE: HeaderName = HeaderName::from_static("x-raft-node");
/// With a compare-and-set that failed: is the key `present` or `absent` now?
pub(super) const CURRENT: HeaderName = HeaderName::from_static("x-raft-current");
/// To a node that passed a request on: nothing was done, try another leader.
pub(super) const NOT_LEADER: HeaderName = HeaderName::from_static("x-raft-not-leader");

/// A request that didn't get what it wanted.
///
/// The body is `{"error": …, "outcome": …}`; what the outcome is, only writes have to say: `none` (it has no effect and
/// will have none) or `unknown`.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    status: StatusCode,
    error: String,
    outcome: Option<&'static str>,
}

impl Failure {
    /// Its status.
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    fn new(status: StatusCode, error: impl ToString, outcome: Option<&'static str>) -> Failure {
        Failure { status, error: error.to_string(), outcome }
    }

    pub(super) fn bad_request(error: impl ToString) -> Failure {
        Failure::new(StatusCode::BAD_REQUEST, error, Some("none"))
    }

    pub(super) fn not_found(error: impl ToString) -> Failure {
        Failure::new(StatusCode::NOT_FOUND, error, None)
    }

    pub(super) fn method_not_allowed() -> Failure {
        Failure::new(StatusCode::METHOD_NOT_ALLOWED, "this path doesn't take this method", Some("none"))
    }

    pub(super) fn request_timeout() -> Failure {
        Failure::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time", Some("none"))
    }

    pub(super) fn too_large(limit: u64) -> Failure {
        let error = format!("the value is too large: at most {limit} bytes are allowed (--max-body)");
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, error, Some("none"))
    }

    /// The bodies of all requests that are under way take too much memory. It may be tried again.
    pub(super) fn over_budget() -> Failure {
        let error = "nothing was done: the requests that are under way hold too many bytes already";
        Failure::new(StatusCode::SERVICE_UNAVAILABLE, error, Some("none"))
    }

    pub(super) fn value_too_long(error: impl ToString) -> Failure {
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, error, Some("none"))
    }

    pub(super) fn key_too_long(error: impl ToString) -> Failure {
        Failure::new(StatusCode::URI_TOO_LONG, error, Some("none"))
    }

    /// A write that certainly has no effect. It may be tried again.
    pub(super) fn write_refused(reason: impl ToString) -> Failure {
        let error = format!("the write was not done: {}", reason.to_string());
        Failure::new(StatusCode::SERVICE_UNAVAILABLE, error, Some("none"))
    }

    /// A write that may have an effect, now or later.
    pub(super) fn write_unknown(reason: impl ToString, with_session: bool) -> Failure {
        let advice = if with_session {
            "send it again with the same X-Client-Id and X-Serial: it is applied once"
        } else {
            "read before you send it again, or use X-Client-Id and X-Serial, with which a retry is applied once"
        };
        let error = format!("the outcome is unknown: {}; {advice}", reason.to_string());
        Failure::new(StatusCode::GATEWAY_TIMEOUT, error, Some("unknown"))
    }

    /// A change of the membership, or a transfer, that can't be made. Nothing was done.
    pub(super) fn conflict(reason: impl ToString) -> Failure {
        Failure::new(StatusCode::CONFLICT, reason, Some("none"))
    }

    /// A transfer that made another node lead than the one that was asked for.
    pub(super) fn taken(reason: impl ToString) -> Failure {
        Failure::new(StatusCode::CONFLICT, reason, None)
    }

    /// One that may have been made, or may yet be.
    pub(super) fn change_unknown(reason: impl ToString) -> Failure {
        let error = format!("the outcome is unknown: {}; see GET /members", reason.to_string());
        Failure::new(StatusCode::GATEWAY_TIMEOUT, error, Some("unknown"))
    }

    pub(super) fn read_refused(reason: impl ToString) -> Failure {
        let error = format!("the read can't be served: {}", reason.to_string());
        Failure::new(StatusCode::SERVICE_UNAVAILABLE, error, None)
    }

    pub(super) fn unavailable(reason: impl ToString) -> Failure {
        Failure::new(StatusCode::SERVICE_UNAVAILABLE, reason, None)
    }

    pub(super) fn of_write(error: &WriteError, with_session: bool) -> Failure {
        match error {
            WriteError::NotProposed(_) | WriteError::Overloaded | WriteError::Superseded { .. } => {
                Failure::write_refused(error)
            }
            WriteError::Unknown(_) => Failure::write_unknown(error, with_session),
        }
    }

    /// The same, as a line of text.
    pub(super) fn into_text(self) -> Response {
        (self.status, format!("{}\n", self.error)).into_response()
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = match self.outcome {
            Some(outcome) => serde_json::json!({ "error": self.error, "outcome": outcome }),
            None => serde_json::json!({ "error": self.error }),
        };
        json(self.status, &body)
    }
}

/// A JSON body, with a line's end, since people read it in terminals.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    // What is serialized here are our own structs of strings and numbers, which can't fail.
    let mut text = serde_json::to_vec_pretty(body).unwrap_or_default();
    text.push(b'\n');
    (status, [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], text).into_response()
}

/// A number as a header's value.
pub(super) fn number(number: u64) -> HeaderValue {
    HeaderValue::from(number)
}

/// The bytes of a value.
fn value(status: StatusCode, bytes: Bytes) -> Response {
    let kind = HeaderValue::from_static("application/octet-stream");
    (status, [(header::CONTENT_TYPE, kind)], Body::from(bytes)).into_response()
}

/// The answer to a write that was applied.
pub(super) fn of_write(applied: &Applied) -> Response {
    let mut response = match &applied.outcome {
        Outcome::Done | Outcome::Swapped | Outcome::Deleted { existed: true } => {
            StatusCode::NO_CONTENT.into_response()
        }
        Outcome::Deleted { existed: false } => Failure::not_found("there is no such key").into_response(),
        Outcome::NotSwapped { current } => not_swapped(current.clone()),
        Outcome::StaleSerial => Failure::new(
            StatusCode::CONFLICT,
            "this client has used a later serial: nothing was done now, and what became of this serial when it was first used is no longer known",
            Some("none"),
        )
        .into_response(),
        Outcome::Malformed | Outcome::AlreadyApplied => Failure::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the state machine refused the command; this is a fault of the server",
            Some("none"),
        )
        .into_response(),
    };
    response.headers_mut().insert(INDEX, number(applied.index.get()));
    response.headers_mut().insert(TERM, number(applied.term.get()));
    response
}

fn not_swapped(current: Option<Bytes>) -> Response {
    let word = HeaderValue::from_static(if current.is_some() { "present" } else { "absent" });
    let mut response = value(StatusCode::PRECONDITION_FAILED, current.unwrap_or_default());
    response.headers_mut().insert(CURRENT, word);
    response
}

/// The answer to a read.
pub(super) fn of_read(found: Option<Versioned>, applied: Index) -> Response {
    let mut response = match found {
        Some(found) => {
            let mut response = value(StatusCode::OK, found.value);
            response.headers_mut().insert(MODIFIED, number(found.modified.get()));
            response
        }
        None => Failure::not_found("there is no such key").into_response(),
    };
    response.headers_mut().insert(APPLIED, number(applied.get()));
    response
}
