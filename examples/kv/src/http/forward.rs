//! Passing a request on to the leader.

use axum::body::{Body, to_bytes};
use axum::http::{HeaderValue, Request, StatusCode, Uri};
use axum::response::Response;
use bytes::Bytes;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use raft_proto::NodeId;
use tokio::time::timeout;

use super::request::{CLIENT_ID, FORWARDED, Head, SERIAL, TIMEOUT};
use super::response::NOT_LEADER;

/// The client for other nodes.
#[derive(Clone)]
pub(super) struct Forwarder {
    own: NodeId,
    client: Client<HttpConnector, Full<Bytes>>,
    /// The largest answer: a value, and what is said beside it.
    limit: usize,
}

/// What came of a request that was passed on.
pub(super) enum Forwarded {
    /// The leader's answer, to be passed back.
    Answered(Response),
    /// The other node did nothing: it can't be reached, or isn't the leader any more.
    NothingDone(String),
    /// The other node may have done it: the answer didn't come, or broke off.
    Unknown(String),
}

impl Forwarder {
    pub(super) fn new(own: NodeId, limit: usize) -> Forwarder {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Forwarder { own, client, limit }
    }

    /// Sends the request to the node that serves clients at this address, and waits for the answer until the deadline.
    pub(super) async fn forward(&self, addr: &str, head: &Head, body: Bytes) -> Forwarded {
        let Some(request) = self.request(addr, head, body) else {
            return Forwarded::NothingDone(format!("the leader's address {addr} makes no sense"));
        };
        // The leader answers at the deadline; its answer needs a moment to come back.
        let answered = timeout(head.left() + GRACE, self.client.request(request)).await;
        let response = match answered {
            Ok(Ok(response)) => response,
            Ok(Err(error)) if error.is_connect() => {
                return Forwarded::NothingDone(format!("the leader at {addr} can't be reached"));
            }
            Ok(Err(error)) => return Forwarded::Unknown(format!("the leader at {addr} broke off: {error}")),
            Err(_) => return Forwarded::Unknown(format!("the leader at {addr} did not answer in time")),
        };
        let (mut parts, body) = response.into_parts();
        if parts.headers.remove(NOT_LEADER).is_some() {
            return Forwarded::NothingDone(format!("the node at {addr} no longer leads"));
        }
        match timeout(head.left() + GRACE, to_bytes(Body::new(body), self.limit)).await {
            Ok(Ok(bytes)) => {
                parts.headers.remove(axum::http::header::TRANSFER_ENCODING);
                parts.headers.remove(axum::http::header::CONNECTION);
                Forwarded::Answered(Response::from_parts(parts, Body::from(bytes)))
            }
            // The status came: what it says is known. Only its body isn't.
            Ok(Err(_)) | Err(_) if parts.status == StatusCode::NO_CONTENT => {
                Forwarded::Answered(Response::from_parts(parts, Body::empty()))
            }
            Ok(Err(_)) | Err(_) => Forwarded::Unknown(format!("the leader's answer at {addr} broke off")),
        }
    }

    fn request(&self, addr: &str, head: &Head, body: Bytes) -> Option<Request<Full<Bytes>>> {
        let target = head.uri.path_and_query()?;
        let uri: Uri = format!("http://{addr}{target}").parse().ok()?;
        let left = u64::try_from(head.left().as_millis()).unwrap_or(u64::MAX).max(1);
        let mut request = Request::builder()
            .method(head.method.clone())
            .uri(uri)
            .header(FORWARDED, HeaderValue::from(self.own.get()))
            .header(TIMEOUT, HeaderValue::from(left));
        if let Some(session) = &head.session {
            let client = HeaderValue::from_bytes(session.client.as_bytes()).ok()?;
            request = request.header(CLIENT_ID, client).header(SERIAL, HeaderValue::from(session.serial));
        }
        request.body(Full::new(body)).ok()
    }
}

/// How much longer than the leader this node waits.
const GRACE: std::time::Duration = std::time::Duration::from_millis(250);
