//! What the command line asks of a cluster that runs: `raft-kv member`, `raft-kv transfer`, `raft-kv status`.
//!
//! It needs the URL of one node that lives; that node passes on what only the leader can do.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode};
use bytes::Bytes;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until, timeout};

use crate::Exit;
use crate::options::{MemberCommand, MemberRole, StatusOptions, TransferOptions};

/// How long the servers may take for a change, in which a new node catches up.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long one may take to say how it is.
const STATUS: Duration = Duration::from_secs(2);

/// `raft-kv member`.
///
/// # Errors
/// The node can't be reached, or refuses.
pub(crate) fn member(command: &MemberCommand) -> Result<(), Exit> {
    run(async {
        match command {
            MemberCommand::Add { url, id, raft_addr, role, replaces } => {
                let role = match role {
                    MemberRole::Learner => "learner",
                    MemberRole::Voter => "voter",
                };
                let mut body = json!({ "id": id.get(), "role": role });
                if let (Some(addr), Some(fields)) = (raft_addr, body.as_object_mut()) {
                    fields.insert("raft_addr".to_string(), json!(addr.to_string()));
                }
                if let (Some(old), Some(fields)) = (replaces, body.as_object_mut()) {
                    fields.insert("replaces".to_string(), json!(old.get()));
                }
                say_what_happened(&ask(url, Method::POST, "/members", Some(&body)).await?)
            }
            MemberCommand::Remove { url, id } => {
                say_what_happened(&ask(url, Method::DELETE, &format!("/members/{id}"), None).await?)
            }
            MemberCommand::List { url } => list(&ask(url, Method::GET, "/members", None).await?),
        }
    })
}

/// `raft-kv transfer`.
///
/// # Errors
/// The node can't be reached, or refuses.
pub(crate) fn transfer(options: &TransferOptions) -> Result<(), Exit> {
    run(async {
        let body = json!({ "to": options.to.get() });
        say_what_happened(&ask(&options.url, Method::POST, "/transfer", Some(&body)).await?)
    })
}

/// `raft-kv status`.
///
/// # Errors
/// No node answers at the start.
pub(crate) fn status(options: &StatusOptions) -> Result<(), Exit> {
    run(async {
        let mut nodes = BTreeMap::new();
        let first = host(&options.url)?.to_string();
        let table = look(&mut nodes, &first).await;
        if nodes.is_empty() {
            return Err(Exit::failed(format!("{first} doesn't answer")));
        }
        print(&table, 0)?;
        if options.watch { watch(options, nodes, &first, table.lines().count()).await } else { Ok(()) }
    })
}

/// Shows it again and again, until Ctrl-C or until nobody reads any more (`| head`).
async fn watch(
    options: &StatusOptions,
    mut nodes: BTreeMap<u64, String>,
    first: &str,
    mut lines: usize,
) -> Result<(), Exit> {
    loop {
        let next = Instant::now() + Duration::from_millis(options.every_ms);
        tokio::select! {
            () = sleep_until(next) => {}
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
        let table = tokio::select! {
            table = look(&mut nodes, first) => table,
            _ = tokio::signal::ctrl_c() => return Ok(()),
        };
        if print(&table, lines).is_err() {
            return Ok(());
        }
        lines = table.lines().count();
    }
}

fn run(what: impl Future<Output = Result<(), Exit>>) -> Result<(), Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Exit::failed(format!("can't start: {error}")))?;
    runtime.block_on(what)
}

/// Host and port in a URL; they will do alone.
///
/// # Errors
/// It has none, or a path.
pub(crate) fn host(url: &str) -> Result<&str, Exit> {
    let host = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
    if host.is_empty() || host.contains('/') {
        return Err(Exit::usage(format!("`{url}` is not of the form http://IP:PORT")));
    }
    Ok(host)
}

/// Asks a node. Gives the answer's status, and the JSON that it consists of.
///
/// # Errors
/// There is no answer within this time, or a second later, or it isn't JSON.
pub(crate) async fn fetch(
    host: &str,
    method: Method,
    path: &str,
    body: Option<&Value>,
    limit: Duration,
) -> Result<(StatusCode, Value), String> {
    let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
    let request = Request::builder()
        .method(method)
        .uri(format!("http://{host}{path}"))
        .header("x-raft-timeout-ms", limit.as_millis().to_string())
        .body(Full::new(body))
        .map_err(|error| error.to_string())?;
    let exchange = async {
        let response = client.request(request).await.map_err(|_| format!("{host} can't be reached"))?;
        let status = response.status();
        let bytes = to_bytes(Body::new(response.into_body()), 1 << 20).await;
        let bytes = bytes.map_err(|_| format!("the answer of {host} broke off"))?;
        let value = serde_json::from_slice(&bytes)
            .map_err(|_| format!("{host} answered with what isn't JSON ({status})"))?;
        Ok((status, value))
    };
    // The server answers at its limit; its answer needs a moment to come back.
    timeout(limit + Duration::from_secs(1), exchange)
        .await
        .unwrap_or_else(|_| Err(format!("{host} did not answer in time")))
}

/// # Errors
/// The node's reason.
async fn ask(url: &str, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Exit> {
    let host = host(url)?;
    let (status, value) = fetch(host, method, path, body, PATIENCE).await.map_err(Exit::Failed)?;
    if status.is_success() {
        return Ok(value);
    }
    Err(Exit::failed(text(&value, "error").unwrap_or("it was refused, without a reason")))
}

pub(crate) fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str()
}

pub(crate) fn number(value: &Value, name: &str) -> Option<u64> {
    value.get(name)?.as_u64()
}

/// A number, or a dash.
fn shown(number: Option<u64>) -> String {
    number.map_or_else(|| "-".to_string(), |number| number.to_string())
}

fn say_what_happened(answer: &Value) -> Result<(), Exit> {
    let mut line = text(answer, "happened").unwrap_or("it is done").to_string();
    if let (Some(voters), Some(learners)) = (answer.get("voters"), answer.get("learners")) {
        // Writing to a string can't fail.
        let _ = write!(line, "; voters {voters}, learners {learners}");
    }
    line.push('\n');
    print(&line, 0)
}

fn list(answer: &Value) -> Result<(), Exit> {
    let leader = number(answer, "leader");
    let mut table = String::new();
    for member in answer.get("members").and_then(Value::as_array).into_iter().flatten() {
        let id = number(member, "id");
        let role = if id.is_some() && id == leader { "leader" } else { text(member, "role").unwrap_or("-") };
        let raft = text(member, "raft_addr").unwrap_or("-");
        let http = text(member, "http_addr").map_or_else(|| "-".to_string(), |http| format!("http://{http}"));
        let _ = writeln!(table, "node {:<3} {role:<14} raft {raft:<22} {http}", shown(id));
    }
    print(&table, 0)
}

/// Prints it, in the place of so many lines before on a terminal.
fn print(table: &str, over: usize) -> Result<(), Exit> {
    let mut out = std::io::stdout();
    let mut text = String::new();
    if out.is_terminal() && over > 0 {
        let _ = write!(text, "\x1b[{over}A\x1b[J");
    }
    text.push_str(table);
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| Exit::failed(format!("can't print: {error}")))
}

/// Asks every node that is known, and learns of others from them. One line for each.
async fn look(nodes: &mut BTreeMap<u64, String>, first: &str) -> String {
    let mut lines: BTreeMap<u64, String> = BTreeMap::new();
    let mut asked: Vec<String> = Vec::new();
    let mut members = None;
    loop {
        let known = [first].into_iter().chain(nodes.values().map(String::as_str));
        let next: Vec<String> =
            known.filter(|addr| asked.iter().all(|asked| asked != addr)).map(str::to_string).collect();
        if next.is_empty() {
            break;
        }
        for addr in next {
            if asked.contains(&addr) {
                continue;
            }
            asked.push(addr.clone());
            let Ok((_, status)) = fetch(&addr, Method::GET, "/status", None, STATUS).await else { continue };
            let Some(id) = number(&status, "id") else { continue };
            nodes.insert(id, addr.clone());
            for peer in status.get("peers").and_then(Value::as_array).into_iter().flatten() {
                if let (Some(id), Some(http)) = (number(peer, "id"), text(peer, "http_addr")) {
                    nodes.entry(id).or_insert_with(|| http.to_string());
                }
            }
            if text(&status, "role") == Some("leader") {
                members = status.get("conf_state").cloned();
            }
            lines.insert(id, line(id, &addr, &status));
        }
    }
    let mut table = String::new();
    for (id, addr) in nodes.iter() {
        let line =
            lines.remove(id).unwrap_or_else(|| format!("node {id:<3} http://{addr:<22} doesn't answer"));
        let _ = writeln!(table, "{line}{}", part(members.as_ref(), *id));
    }
    table
}

/// What the leader's configuration says of a node, where that isn't that it votes.
fn part(members: Option<&Value>, id: u64) -> &'static str {
    let Some(members) = members else { return "" };
    let has = |list: &str| {
        let list = members.get(list).and_then(Value::as_array);
        list.is_some_and(|list| list.iter().any(|other| other.as_u64() == Some(id)))
    };
    if has("voters") {
        ""
    } else if has("learners") {
        "  (learner)"
    } else if has("voters_outgoing") {
        "  (leaving)"
    } else {
        "  (not a member)"
    }
}

fn line(id: u64, addr: &str, status: &Value) -> String {
    let role = text(status, "role").unwrap_or("-");
    let field = |name| shown(number(status, name));
    let mut line = format!(
        "node {id:<3} http://{addr:<22} {role:<13} term {:<5} leader {:<3} commit {:<9} applied {:<9} keys {}",
        field("term"),
        field("leader"),
        field("commit"),
        field("applied"),
        field("keys"),
    );
    if let Some(to) = number(status, "transferee") {
        let _ = write!(line, "  hands over to {to}");
    }
    if let Some(lost) = status.get("lost").filter(|lost| !lost.is_null()) {
        let _ = write!(
            line,
            "  LOST DATA: had acknowledged {}, came back with {}",
            shown(number(lost, "acknowledged")),
            shown(number(lost, "last"))
        );
    }
    line
}
