//! The server's HTTP side. Any node takes any request.
//!
//! | request | answer |
//! |---|---|
//! | `PUT /kv/{key}` | 204: the body is the key's value now |
//! | `PUT /kv/{key}?expect=VALUE`, `?expect-absent` | 204 if it was so and is the body now; else 412 with the current value |
//! | `DELETE /kv/{key}`, also with `?expect=VALUE` | 204; 404 if there was none; 412 as above |
//! | `GET /kv/{key}?consistency=linearizable\|lease\|stale` | 200 with the value, or 404 |
//! | `GET /set?key=K&value=V`, `GET /get?key=K` | the same, in plain text, for a browser's address line |
//! | `GET /members` | JSON: the configuration, and where the members are |
//! | `POST /members` with `{"id": 4, "raft_addr": "IP:PORT", "role": "learner"\|"voter"}` | 200 when it's done: a new node becomes a learner first, a voter when it has caught up; 202 if it hasn't in time |
//! | the same with `"replaces": 2` | the new voter takes the place of another in one joint change |
//! | `DELETE /members/{id}` | 200 when the node is removed |
//! | `POST /transfer` with `{"to": 2}` | 200 when that node leads; 409 with the one that leads if another took over |
//! | `GET /status`, `GET /health` | JSON; health is 200 where a leader is known, else 503 |
//!
//! The key is everything behind `/kv/`, percent-decoded: any bytes, slashes too, but not none at all. In queries a plus is
//! a space. An expected value must fit into the request's first line, which has 64 KiB at the most.
//!
//! A write is answered when it is committed and applied, with its place in the log (`X-Raft-Index`, `X-Raft-Term`). With
//! `X-Client-Id` (1 to 64 bytes of the client's own choice) and `X-Serial` (a number that grows with every new request of that
//! client) a retry of the client's latest request is applied once, and answered with the outcome of the first time, as long
//! as the client is remembered: see [`raft_kv::machine::MAX_SESSIONS`].
//!
//! | status | what it means |
//! |---|---|
//! | 400, 405, 408, 413, 414 | the request can't be taken: nothing was done |
//! | 409 | the serial is older than the client's last, or a membership change or a transfer is refused: nothing was done now |
//! | 412 | the compare-and-set found something else: nothing was changed |
//! | 503 | no leader, or too much to do: nothing was done, and won't be |
//! | 504 | nobody knows what becomes of the write: it may take effect, now or later |
//!
//! A node that doesn't lead passes writes and lease reads on to the leader, once (`X-Raft-Forwarded-By`); where there is none
//! it waits for one until the request's deadline (`X-Raft-Timeout-Ms`).

mod budget;
pub(crate) mod connections;
mod forward;
mod members;
mod request;
mod response;
mod text;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, delete, get, post};
use bytes::Bytes;
use raft_core::{ReadError, ReadMode, RoleKind};
use raft_kv::command::Operation;
use raft_proto::NodeId;
use serde::Serialize;
use slog::{Logger, debug};

use crate::node::status::{NodeStatus, role_name};
use crate::node::{Node, View, WriteError};
use crate::transport::{PeerLink, Transport};
use budget::Budget;
use forward::{Forwarded, Forwarder};
use request::{Consistency, Head};
use response::Failure;

/// What the HTTP side works with.
pub(crate) struct App {
    pub(crate) id: NodeId,
    pub(crate) raft_addr: SocketAddr,
    pub(crate) node: Node,
    pub(crate) transport: Arc<Transport>,
    pub(crate) max_body: u64,
    pub(crate) request_timeout: Duration,
    pub(crate) log: Logger,
}

struct Server {
    app: App,
    forwarder: Forwarder,
    budget: Budget,
    /// Counts the writes, to tell them apart in the log.
    writes: AtomicU64,
}

/// How long to wait before another attempt, if nothing changes before.
const AGAIN: Duration = Duration::from_millis(50);

/// The routes of the server.
pub(crate) fn router(app: App) -> Router {
    let limit = usize::try_from(app.max_body).unwrap_or(usize::MAX).saturating_add(64 << 10);
    let forwarder = Forwarder::new(app.id, limit.max(raft_kv::command::MAX_VALUE + (64 << 10)));
    let server = Arc::new(Server { app, forwarder, budget: Budget::default(), writes: AtomicU64::new(0) });
    Router::new()
        .route("/kv/{*key}", get(kv_get).put(kv_put).delete(kv_delete))
        .route("/kv/", any(no_key))
        .route("/kv", any(no_key))
        // A HEAD is answered as a GET elsewhere. Here that would write.
        .route("/set", get(demo_set).head(no_method))
        .route("/get", get(demo_get))
        .route("/status", get(status))
        .route("/health", get(health))
        .route("/members", get(members::list).post(members::add))
        .route("/members/{id}", delete(members::remove))
        .route("/transfer", post(members::transfer))
        .fallback(no_path)
        .method_not_allowed_fallback(no_method)
        .layer(from_fn_with_state(server.clone(), name_node))
        .with_state(server)
}

type Shared = State<Arc<Server>>;

/// Every answer says which node gave it; one that was passed on, which node that was.
async fn name_node(State(server): Shared, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().entry(response::NODE).or_insert_with(|| response::number(server.app.id.get()));
    response
}

async fn no_key() -> Failure {
    Failure::bad_request("the key is empty")
}

async fn no_path() -> Failure {
    Failure::not_found("there is no such path; try /kv/{key}, /status, /health, /members")
}

async fn no_method() -> Failure {
    Failure::method_not_allowed()
}

async fn kv_put(
    State(server): Shared,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let head = server.head(method, uri, &headers)?;
    let key = request::key_of_path(&head.uri)?;
    let body = request::body(&headers, body, server.app.max_body, &server.budget, &head).await?;
    let operation = request::operation(&head.uri, key, Some(body.bytes.clone()))?;
    // The body counts until the answer.
    server.write(&head, operation, body.bytes.clone()).await
}

async fn kv_delete(
    State(server): Shared,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let head = server.head(method, uri, &headers)?;
    let key = request::key_of_path(&head.uri)?;
    let operation = request::operation(&head.uri, key, None)?;
    server.write(&head, operation, Bytes::new()).await
}

async fn kv_get(
    State(server): Shared,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let head = server.head(method, uri, &headers)?;
    let key = request::key_of_path(&head.uri)?;
    let [consistency] = text::query(head.uri.query(), ["consistency"]).map_err(Failure::bad_request)?;
    let consistency = request::consistency(consistency.as_deref())?;
    server.read(&head, &key, consistency).await
}

async fn demo_set(State(server): Shared, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let set = async {
        let head = server.head(method, uri, &headers)?;
        let [key, value] = text::query(head.uri.query(), ["key", "value"]).map_err(Failure::bad_request)?;
        let (Some(key), Some(value)) = (key, value) else {
            return Err(Failure::bad_request("it takes /set?key=KEY&value=VALUE"));
        };
        let (key, value) = (request::some_key(key)?, Bytes::from(value));
        if value.len() as u64 > server.app.max_body {
            return Err(Failure::too_large(server.app.max_body));
        }
        server.write(&head, Operation::Put { key, value }, Bytes::new()).await
    };
    match set.await {
        Ok(done) if done.status() == StatusCode::NO_CONTENT => {
            let (parts, _) = done.into_parts();
            (StatusCode::OK, parts.headers, "ok\n").into_response()
        }
        Ok(other) => other,
        Err(failure) => failure.into_text(),
    }
}

async fn demo_get(State(server): Shared, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let found = async {
        let head = server.head(method, uri, &headers)?;
        let [key, consistency] =
            text::query(head.uri.query(), ["key", "consistency"]).map_err(Failure::bad_request)?;
        let consistency = request::consistency(consistency.as_deref())?;
        let Some(key) = key else { return Err(Failure::bad_request("it takes /get?key=KEY")) };
        server.read(&head, &request::some_key(key)?, consistency).await
    };
    match found.await {
        Ok(found) if found.status() == StatusCode::NOT_FOUND => {
            Failure::not_found("there is no such key").into_text()
        }
        Ok(found) => found,
        Err(failure) => failure.into_text(),
    }
}

/// `GET /status`.
#[derive(Serialize)]
struct Status {
    #[serde(flatten)]
    node: NodeStatus,
    /// Where the leader serves clients.
    leader_http_addr: Option<String>,
    /// The connections to the other nodes.
    peers: Vec<PeerLink>,
}

async fn status(State(server): Shared) -> Result<Response, Failure> {
    let Some(node) = server.app.node.status().await else {
        return Err(Failure::unavailable("the node does not answer"));
    };
    let leader = node.leader.and_then(NodeId::new);
    let status = Status {
        node,
        leader_http_addr: leader.and_then(|leader| server.app.transport.http_addr(leader)),
        peers: server.app.transport.links(),
    };
    Ok(response::json(StatusCode::OK, &status))
}

async fn health(State(server): Shared) -> Result<Response, Failure> {
    // That the core's thread answers is part of being well.
    let Some(node) = server.app.node.status().await else {
        return Err(Failure::unavailable("the node does not answer"));
    };
    match node.leader {
        Some(leader) => {
            let body = serde_json::json!({ "status": "ok", "role": node.role, "leader": leader });
            Ok(response::json(StatusCode::OK, &body))
        }
        None => Err(Failure::unavailable(format!("no leader is known to node {}, a {}", node.id, node.role))),
    }
}

/// Why a request is still not done.
fn no_leader(view: View) -> String {
    match view.leader {
        Some(leader) => format!("node {leader} leads and can't be reached from here"),
        None => format!("no leader is known; this node is a {} in term {}", role_name(view.role), view.term),
    }
}

impl Server {
    fn head(&self, method: Method, uri: Uri, headers: &HeaderMap) -> Result<Head, Failure> {
        Head::read(method, uri, headers, self.app.request_timeout)
    }

    /// Where the leader serves clients, if it is another node and this request may go there.
    fn leader_elsewhere(&self, head: &Head, view: View) -> Option<String> {
        let leader = view.leader.filter(|leader| *leader != self.app.id && !head.forwarded)?;
        self.app.transport.http_addr(leader)
    }

    /// The answer to another node that took this one for the leader.
    fn not_leader(view: View) -> Response {
        let mut response = Failure::write_refused(no_leader(view)).into_response();
        response.headers_mut().insert(response::NOT_LEADER, response::number(1));
        response
    }

    async fn write(&self, head: &Head, operation: Operation, body: Bytes) -> Result<Response, Failure> {
        let number = self.writes.fetch_add(1, Ordering::Relaxed) + 1;
        let log = &self.app.log;
        debug!(log, "write received"; "write" => number, "op" => name(&operation),
            "key" => text::printable(operation.key()), "bytes" => body.len(), "forwarded" => head.forwarded,
            "serial" => head.session.as_ref().map(|session| session.serial));
        let command = request::encode(head, operation)?;
        let result = self.write_command(number, head, command, body).await;
        let status = match &result {
            Ok(response) => response.status(),
            Err(failure) => failure.status(),
        };
        debug!(log, "reply sent"; "write" => number, "status" => status.as_u16());
        result
    }

    async fn write_command(
        &self,
        number: u64,
        head: &Head,
        command: Bytes,
        body: Bytes,
    ) -> Result<Response, Failure> {
        let with_session = head.session.is_some();
        // Once an attempt may have had an effect, no later failure may say that there is none.
        let mut unknown = None;
        let mut reason;
        loop {
            let view = self.app.node.view();
            reason = no_leader(view);
            if view.role == RoleKind::Leader {
                match self.app.node.write(number, command.clone(), head.deadline).await {
                    Ok(applied) => return Ok(response::of_write(&applied)),
                    Err(WriteError::NotProposed(error)) => reason = error.to_string(),
                    Err(error @ WriteError::Unknown(_)) => unknown = Some(error.to_string()),
                    Err(error @ (WriteError::Overloaded | WriteError::Superseded { .. })) => {
                        if unknown.is_none() {
                            return Err(Failure::of_write(&error, with_session));
                        }
                    }
                }
            } else if let Some(addr) = self.leader_elsewhere(head, view) {
                debug!(self.app.log, "write forwarded"; "write" => number, "leader" => view.leader.map(NodeId::get));
                match self.pass_on(&addr, head, body.clone(), view, with_session).await {
                    // What the leader doesn't know, a retry here can find out.
                    Forwarded::Answered(answer)
                        if with_session && answer.status() == StatusCode::GATEWAY_TIMEOUT =>
                    {
                        unknown = Some("the leader did not come to an end with it".to_string());
                    }
                    Forwarded::Answered(answer) if unknown.is_none() || answer.status().is_success() => {
                        return Ok(answer);
                    }
                    Forwarded::Answered(answer) if answer.status() != StatusCode::SERVICE_UNAVAILABLE => {
                        return Ok(answer);
                    }
                    Forwarded::Answered(_) => {}
                    Forwarded::NothingDone(why) => reason = why,
                    Forwarded::Unknown(why) => unknown = Some(why),
                }
            }
            if head.forwarded && self.app.node.view().role != RoleKind::Leader && unknown.is_none() {
                return Ok(Server::not_leader(view));
            }
            // A write that may have been done is tried again only where that is safe.
            let again = unknown.is_none() || with_session;
            if !again || head.left() <= AGAIN {
                return Err(match unknown {
                    Some(why) => Failure::write_unknown(why, with_session),
                    None => Failure::write_refused(reason),
                });
            }
            self.app.node.changed_from(view, AGAIN).await;
        }
    }

    /// Passes a request on to the leader. One that may be repeated is given up when another node leads: the old
    /// leader may hang, and would hold it until its deadline.
    async fn pass_on(&self, addr: &str, head: &Head, body: Bytes, view: View, repeatable: bool) -> Forwarded {
        let changed = async {
            if !repeatable {
                std::future::pending::<()>().await;
            }
            self.app.node.leader_other_than(view.leader).await;
        };
        tokio::select! {
            forwarded = self.forwarder.forward(addr, head, body) => forwarded,
            () = changed => Forwarded::Unknown("the leader changed before it answered".to_string()),
        }
    }

    async fn read(&self, head: &Head, key: &[u8], consistency: Consistency) -> Result<Response, Failure> {
        let mut reason;
        loop {
            let view = self.app.node.view();
            reason = no_leader(view);
            let confirmed = match consistency {
                Consistency::Stale => Ok(()),
                Consistency::Linearizable => {
                    self.app.node.confirm_read(ReadMode::Quorum, head.deadline).await
                }
                Consistency::Lease if view.role == RoleKind::Leader => {
                    self.app.node.confirm_read(ReadMode::Lease, head.deadline).await
                }
                Consistency::Lease => {
                    if head.forwarded {
                        return Ok(Server::not_leader(view));
                    }
                    if let Some(addr) = self.leader_elsewhere(head, view) {
                        match self.pass_on(&addr, head, Bytes::new(), view, true).await {
                            Forwarded::Answered(answer) => return Ok(answer),
                            Forwarded::NothingDone(why) | Forwarded::Unknown(why) => reason = why,
                        }
                    }
                    Err(ReadError::NoLeader)
                }
            };
            match confirmed {
                Ok(()) => {
                    let machine = self.app.node.machine.read();
                    return Ok(response::of_read(machine.get(key).cloned(), machine.applied()));
                }
                Err(ReadError::LeasesAreOff) => {
                    return Err(Failure::read_refused("lease reads need more --election-ticks"));
                }
                Err(ReadError::NoLeader) => {}
                Err(error) => reason = error.to_string(),
            }
            if head.left() <= AGAIN {
                return Err(Failure::read_refused(reason));
            }
            self.app.node.changed_from(view, AGAIN).await;
        }
    }
}

/// The name of an operation, in the log.
fn name(operation: &Operation) -> &'static str {
    match operation {
        Operation::Put { .. } => "put",
        Operation::Delete { .. } => "delete",
        Operation::CompareAndSet { .. } => "compare-and-set",
    }
}
