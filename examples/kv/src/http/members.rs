//! Changes of the membership, and the transfer of leadership.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use bytes::Bytes;
use raft_core::RoleKind;
use raft_proto::{ConfChangeKind, ConfChangeSingle, NodeId};
use serde::{Deserialize, Serialize};
use serde_json::json;
use slog::info;

use super::forward::Forwarded;
use super::request::{self, Head};
use super::response::{self, Failure};
use super::{AGAIN, Server, Shared, no_leader};
use crate::node::members::{AdminError, Applied, ids};
use crate::node::status::NodeStatus;

/// The largest body.
const MAX_BODY: u64 = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    Learner,
    Voter,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Add {
    id: u64,
    raft_addr: Option<SocketAddr>,
    role: Role,
    /// The member whose place a voter takes.
    replaces: Option<u64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct To {
    to: u64,
}

/// What the leader is to do.
#[derive(Clone, Copy, Debug)]
enum Task {
    Add { id: NodeId, raft_addr: Option<SocketAddr>, role: Role, replaces: Option<NodeId> },
    Remove(NodeId),
    Transfer(NodeId),
}

/// A member, in the list.
#[derive(Serialize)]
struct Member {
    id: u64,
    role: &'static str,
    raft_addr: Option<SocketAddr>,
    http_addr: Option<String>,
}

/// `GET /members`
pub(super) async fn list(State(server): Shared) -> Result<Response, Failure> {
    let Some(node) = server.app.node.status().await else {
        return Err(Failure::unavailable("the node does not answer"));
    };
    let links = server.app.transport.links();
    let conf = &node.conf_state;
    let mut members: Vec<Member> = Vec::new();
    for (role, nodes) in
        [("voter", &conf.voters), ("learner", &conf.learners), ("outgoing voter", &conf.voters_outgoing)]
    {
        for id in nodes {
            if members.iter().all(|member| member.id != *id) {
                let link = links.iter().find(|link| link.id == *id);
                let own = *id == node.id;
                let raft_addr = link.map(|link| link.raft_addr).or(own.then_some(server.app.raft_addr));
                let http_addr = NodeId::new(*id).and_then(|id| server.app.transport.http_addr(id));
                members.push(Member { id: *id, role, raft_addr, http_addr });
            }
        }
    }
    members.sort_by_key(|member| member.id);
    let body = json!({ "leader": node.leader, "applied": node.applied, "members": members });
    Ok(response::json(StatusCode::OK, &body))
}

/// `POST /members`
pub(super) async fn add(
    State(server): Shared,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let head = server.head(method, uri, &headers)?;
    let body = request::body(&headers, body, MAX_BODY, &server.budget, &head).await?;
    let Add { id, raft_addr, role, replaces } =
        serde_json::from_slice(&body.bytes).map_err(Failure::bad_request)?;
    let replaces = replaces.map(node_id).transpose()?;
    if replaces.is_some() && (role != Role::Voter || replaces == NodeId::new(id)) {
        return Err(Failure::bad_request("only a voter can take a place, and only that of another node"));
    }
    server
        .administer(&head, body.bytes.clone(), Task::Add { id: node_id(id)?, raft_addr, role, replaces })
        .await
}

/// `DELETE /members/{id}`
pub(super) async fn remove(
    State(server): Shared,
    Path(id): Path<String>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let head = server.head(method, uri, &headers)?;
    let id = id.parse().map_err(|_| Failure::bad_request(format!("`{id}` is not a node's number")))?;
    server.administer(&head, Bytes::new(), Task::Remove(node_id(id)?)).await
}

/// `POST /transfer`
pub(super) async fn transfer(
    State(server): Shared,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let head = server.head(method, uri, &headers)?;
    let body = request::body(&headers, body, MAX_BODY, &server.budget, &head).await?;
    let To { to } = serde_json::from_slice(&body.bytes).map_err(Failure::bad_request)?;
    server.administer(&head, body.bytes.clone(), Task::Transfer(node_id(to)?)).await
}

fn node_id(id: u64) -> Result<NodeId, Failure> {
    NodeId::new(id).ok_or_else(|| Failure::bad_request("a node's number is at least 1"))
}

/// What was done, and what holds now.
fn done(status: StatusCode, happened: String, applied: Option<&Applied>) -> Response {
    let mut body = json!({ "happened": happened });
    if let (Some(applied), Some(fields)) = (applied, body.as_object_mut()) {
        fields.insert("index".to_string(), json!(applied.index.get()));
        fields.insert("voters".to_string(), json!(ids(&applied.now.voters)));
        fields.insert("learners".to_string(), json!(ids(&applied.now.learners)));
    }
    response::json(status, &body)
}

impl Server {
    /// Does it here if this node leads, otherwise at the leader; waits for one until the deadline.
    async fn administer(&self, head: &Head, body: Bytes, task: Task) -> Result<Response, Failure> {
        loop {
            let view = self.app.node.view();
            let mut reason = Failure::unavailable(format!("nothing was done: {}", no_leader(view)));
            if view.role == RoleKind::Leader {
                match self.lead(head, task).await {
                    Ok(response) => return Ok(response),
                    Err(AdminError::NotLeader) => {}
                    Err(AdminError::NotDone(why)) => reason = Failure::conflict(why),
                    Err(AdminError::Refused(why)) => return Err(Failure::conflict(why)),
                    Err(error @ AdminError::TakenBy(_)) => return Err(Failure::taken(error)),
                    Err(AdminError::Unknown(why)) => return Err(Failure::change_unknown(why)),
                }
            } else if let Some(addr) = self.leader_elsewhere(head, view) {
                match self.pass_on(&addr, head, body.clone(), view, false).await {
                    Forwarded::Answered(answer) => return Ok(answer),
                    Forwarded::NothingDone(why) => reason = Failure::unavailable(why),
                    Forwarded::Unknown(why) => return Err(Failure::change_unknown(why)),
                }
            }
            if head.forwarded && self.app.node.view().role != RoleKind::Leader {
                return Ok(Server::not_leader(view));
            }
            if head.left() <= AGAIN {
                return Err(reason);
            }
            self.app.node.changed_from(view, AGAIN).await;
        }
    }

    async fn lead(&self, head: &Head, task: Task) -> Result<Response, AdminError> {
        info!(self.app.log, "asked to administer"; "what" => format!("{task:?}"));
        match task {
            Task::Add { id, raft_addr, role, replaces } => {
                self.add(head, id, raft_addr, role, replaces).await
            }
            Task::Remove(id) => {
                let conf = self.own_status().await?.conf_state;
                if ![&conf.voters, &conf.learners, &conf.voters_outgoing]
                    .iter()
                    .any(|list| list.contains(&id.get()))
                {
                    return Err(AdminError::Refused(format!("node {id} is not a member")));
                }
                let applied = self.change(head, ConfChangeKind::Remove, id, None).await?;
                Ok(done(StatusCode::OK, format!("node {id} is removed"), Some(&applied)))
            }
            Task::Transfer(to) => {
                self.app.node.transfer(to, head.deadline).await?;
                Ok(done(StatusCode::OK, format!("leadership is handed over to node {to}"), None))
            }
        }
    }

    /// A new node becomes a learner first, and a voter when it has caught up: until then the others would wait for it.
    async fn add(
        &self,
        head: &Head,
        id: NodeId,
        raft_addr: Option<SocketAddr>,
        role: Role,
        replaces: Option<NodeId>,
    ) -> Result<Response, AdminError> {
        let status = self.own_status().await?;
        if let Some(old) = replaces
            && !status.conf_state.voters.contains(&old.get())
        {
            return Err(AdminError::Refused(format!("node {old} is not a voter")));
        }
        let votes = status.conf_state.voters.contains(&id.get());
        let learns = status.conf_state.learners.contains(&id.get());
        if let Some(addr) = raft_addr
            && let Some(other) = self.at(addr)
            && other != id.get()
        {
            return Err(AdminError::Refused(format!("node {other} has the address {addr}")));
        }
        if !votes && !learns && raft_addr.is_none() {
            return Err(AdminError::Refused(format!("node {id} is new, and its raft_addr isn't said")));
        }
        let mut applied = None;
        if votes && role == Role::Voter || learns && role == Role::Learner {
            if raft_addr.is_none() {
                return Ok(done(StatusCode::OK, format!("node {id} is that already"), None));
            }
            let updated = self.change(head, ConfChangeKind::Update, id, raft_addr).await?;
            return Ok(done(
                StatusCode::OK,
                format!("node {id} is that already; its address is noted"),
                Some(&updated),
            ));
        }
        if !learns {
            applied = Some(self.change(head, ConfChangeKind::AddLearner, id, raft_addr).await?);
        }
        if role == Role::Learner {
            let happened =
                if votes { "is a learner now, and votes no more" } else { "is added as a learner" };
            return Ok(done(StatusCode::OK, format!("node {id} {happened}"), applied.as_ref()));
        }
        let goal = self.own_status().await?.commit;
        while !self.own_status().await?.has_reached(id, goal) {
            if head.left() <= AGAIN {
                let happened =
                    format!("node {id} is a learner and hasn't caught up yet; ask again to make it a voter");
                return Ok(done(StatusCode::ACCEPTED, happened, applied.as_ref()));
            }
            self.app.node.changed_from(self.app.node.view(), AGAIN).await;
        }
        let raft_addr = if applied.is_some() { None } else { raft_addr };
        if let Some(old) = replaces {
            return self.replace(head, id, raft_addr, old).await;
        }
        let applied = self.change(head, ConfChangeKind::AddVoter, id, raft_addr).await?;
        Ok(done(StatusCode::OK, format!("node {id} is a voter now"), Some(&applied)))
    }

    /// The learner takes the place of a voter in one joint change, which the core leaves by itself.
    async fn replace(
        &self,
        head: &Head,
        id: NodeId,
        raft_addr: Option<SocketAddr>,
        old: NodeId,
    ) -> Result<Response, AdminError> {
        let single = |kind, node| ConfChangeSingle { kind, node: Some(node) };
        let changes = vec![single(ConfChangeKind::AddVoter, id), single(ConfChangeKind::Remove, old)];
        let applied = self.app.node.change(changes, raft_addr, head.deadline).await?;
        // What is waited for here may also be the end of this node's leadership, or of its membership.
        while let Some(status) = self.app.node.status().await {
            if status.conf_state.voters_outgoing.is_empty() && status.applied > applied.index.get() {
                break;
            }
            if head.left() <= AGAIN {
                return Err(AdminError::Unknown("the joint configuration was not left in time"));
            }
            self.app.node.changed_from(self.app.node.view(), AGAIN).await;
        }
        Ok(done(StatusCode::OK, format!("node {id} votes in the place of node {old}"), Some(&applied)))
    }

    async fn change(
        &self,
        head: &Head,
        kind: ConfChangeKind,
        id: NodeId,
        raft_addr: Option<SocketAddr>,
    ) -> Result<Applied, AdminError> {
        let change = vec![ConfChangeSingle { kind, node: Some(id) }];
        self.app.node.change(change, raft_addr, head.deadline).await
    }

    /// The member that has this address.
    fn at(&self, addr: SocketAddr) -> Option<u64> {
        if addr == self.app.raft_addr {
            return Some(self.app.id.get());
        }
        let links = self.app.transport.links();
        links.iter().find(|link| link.member && link.raft_addr == addr).map(|link| link.id)
    }

    /// # Errors
    /// This node doesn't lead.
    async fn own_status(&self) -> Result<NodeStatus, AdminError> {
        let status = self.app.node.status().await;
        status.filter(|status| status.leader == Some(status.id)).ok_or(AdminError::NotLeader)
    }
}

impl NodeStatus {
    /// Does the leader know that this node's log has this index, and is it sent more as it comes?
    fn has_reached(&self, id: NodeId, index: u64) -> bool {
        let reached = |peer: &crate::node::status::Progress| {
            peer.id == id.get() && peer.state == "replicate" && peer.matched >= index
        };
        self.progress.iter().any(reached)
    }
}
