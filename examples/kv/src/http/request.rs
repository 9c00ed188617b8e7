//! What a request says, read strictly: what can't be understood is refused instead of being guessed at.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Uri, header};
use bytes::Bytes;
use raft_kv::command::{ClientId, Command, CommandError, MAX_CLIENT_ID, Operation, Session};
use tokio::time::{Instant, timeout_at};

use super::budget::{Budget, Held, Unread};
use super::response::Failure;
use super::text;

/// Who a client is, and which of its requests this is: a retry with both unchanged is applied once.
pub(super) const CLIENT_ID: &str = "x-client-id";
pub(super) const SERIAL: &str = "x-serial";
/// How long the client wants to wait.
pub(super) const TIMEOUT: &str = "x-raft-timeout-ms";
/// Set on a request that one node passes on to another: which one it comes from.
pub(super) const FORWARDED: &str = "x-raft-forwarded-by";

/// The longest that a request may wait.
const MAX_TIMEOUT_MS: u64 = 60_000;

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Consistency {
    /// Confirmed by a round of messages to a majority.
    Linearizable,
    /// Confirmed by the leader's lease: linearizable as long as no clock runs much faster than another.
    Lease,
    /// Whatever this node has.
    Stale,
}

/// What all requests have in common.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) session: Option<Session>,
    pub(super) deadline: Instant,
    /// Another node passed it on: it's not passed on once more.
    pub(super) forwarded: bool,
}

impl Head {
    /// # Errors
    /// A header makes no sense.
    pub(super) fn read(
        method: Method,
        uri: Uri,
        headers: &HeaderMap,
        default_timeout: Duration,
    ) -> Result<Head, Failure> {
        let timeout = match number(headers, TIMEOUT)? {
            None => default_timeout,
            Some(millis @ 1..=MAX_TIMEOUT_MS) => Duration::from_millis(millis),
            Some(_) => {
                return Err(Failure::bad_request(format!("{TIMEOUT} must be from 1 to {MAX_TIMEOUT_MS}")));
            }
        };
        Ok(Head {
            method,
            uri,
            session: session(headers)?,
            deadline: Instant::now() + timeout,
            forwarded: headers.contains_key(FORWARDED),
        })
    }

    /// What is left of its time.
    pub(super) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// A header that may be there once.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a HeaderValue>, Failure> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (first, None) => Ok(first),
        (_, Some(_)) => Err(Failure::bad_request(format!("{name} occurs twice"))),
    }
}

fn number(headers: &HeaderMap, name: &str) -> Result<Option<u64>, Failure> {
    let Some(value) = single(headers, name)? else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| Failure::bad_request(format!("{name} must be a number")))
}

fn session(headers: &HeaderMap) -> Result<Option<Session>, Failure> {
    match (single(headers, CLIENT_ID)?, number(headers, SERIAL)?) {
        (None, None) => Ok(None),
        (Some(client), Some(serial)) => {
            let client = ClientId::new(Bytes::copy_from_slice(client.as_bytes())).map_err(|_| {
                Failure::bad_request(format!("{CLIENT_ID} must have from 1 to {MAX_CLIENT_ID} bytes"))
            })?;
            Ok(Some(Session { client, serial }))
        }
        _ => Err(Failure::bad_request(format!("{CLIENT_ID} and {SERIAL} come together or not at all"))),
    }
}

/// The key of `/kv/{key}`: everything behind the second slash, percent-decoded.
///
/// # Errors
/// It is empty or can't be decoded.
pub(super) fn key_of_path(uri: &Uri) -> Result<Bytes, Failure> {
    let text = uri.path().strip_prefix("/kv/").unwrap_or_default();
    some_key(text::decode(text, false).map_err(Failure::bad_request)?)
}

/// A key that isn't empty.
///
/// # Errors
/// It is.
pub(super) fn some_key(key: Vec<u8>) -> Result<Bytes, Failure> {
    if key.is_empty() { Err(Failure::bad_request("the key is empty")) } else { Ok(Bytes::from(key)) }
}

/// # Errors
/// There is no such consistency.
pub(super) fn consistency(value: Option<&[u8]>) -> Result<Consistency, Failure> {
    match value {
        None | Some(b"linearizable") => Ok(Consistency::Linearizable),
        Some(b"lease") => Ok(Consistency::Lease),
        Some(b"stale") => Ok(Consistency::Stale),
        Some(_) => Err(Failure::bad_request("consistency must be linearizable, lease or stale")),
    }
}

/// What a PUT or a DELETE asks for: with `?expect=VALUE` or `?expect-absent` only where the key has that value now.
///
/// # Errors
/// The parameters make no sense.
pub(super) fn operation(uri: &Uri, key: Bytes, new: Option<Bytes>) -> Result<Operation, Failure> {
    let [expect, absent] =
        text::query(uri.query(), ["expect", "expect-absent"]).map_err(Failure::bad_request)?;
    match (expect, absent, new) {
        (None, None, Some(value)) => Ok(Operation::Put { key, value }),
        (None, None, None) => Ok(Operation::Delete { key }),
        (Some(expected), None, new) => {
            Ok(Operation::CompareAndSet { key, expected: Some(Bytes::from(expected)), new })
        }
        (None, Some(none), Some(new)) if none.is_empty() => {
            Ok(Operation::CompareAndSet { key, expected: None, new: Some(new) })
        }
        (None, Some(_), Some(_)) => Err(Failure::bad_request("expect-absent has no value")),
        (None, Some(_), None) => Err(Failure::bad_request("a key that is absent can't be deleted")),
        (Some(_), Some(_), _) => Err(Failure::bad_request("expect and expect-absent exclude each other")),
    }
}

/// The body, within its limit and in time.
///
/// # Errors
/// It is too large, alone or beside all others; too slow; or broken off.
pub(super) async fn body(
    headers: &HeaderMap,
    body: Body,
    limit: u64,
    budget: &Budget,
    head: &Head,
) -> Result<Held, Failure> {
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(Failure::too_large(limit));
    }
    match timeout_at(head.deadline, budget.read(body, limit)).await {
        Ok(Ok(held)) => Ok(held),
        Ok(Err(Unread::TooLarge)) => Err(Failure::too_large(limit)),
        Ok(Err(Unread::OverBudget)) => Err(Failure::over_budget()),
        Ok(Err(Unread::BrokeOff)) => Err(Failure::bad_request("the body broke off")),
        Err(_) => Err(Failure::request_timeout()),
    }
}

/// The command as it goes into the log.
///
/// # Errors
/// It's beyond a limit.
pub(super) fn encode(head: &Head, operation: Operation) -> Result<Bytes, Failure> {
    Command { session: head.session.clone(), operation }.encode().map_err(|error| match error {
        CommandError::KeyTooLong(_) => Failure::key_too_long(error),
        CommandError::ValueTooLong(_) => Failure::value_too_long(error),
        _ => Failure::bad_request(error),
    })
}
