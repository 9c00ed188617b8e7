//! A client of the servers.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request};
use bytes::Bytes;
use http_body_util::Full;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::time::timeout;

/// The name under which writes with a serial go out.
pub(super) const CLIENT_ID: &str = "scenario";

/// How much longer than the server may take an answer is waited for.
const GRACE: Duration = Duration::from_secs(20);

/// A request.
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) target: String,
    pub(super) body: String,
    /// How long the server may take.
    pub(super) timeout: Duration,
    /// The request's serial, if it is one that must be applied once.
    pub(super) serial: Option<u64>,
}

impl Ask {
    pub(super) fn get(target: impl Into<String>) -> Ask {
        let timeout = Duration::from_secs(20);
        Ask { method: Method::GET, target: target.into(), body: String::new(), timeout, serial: None }
    }

    pub(super) fn put(key: &str, value: &str) -> Ask {
        Ask { method: Method::PUT, body: value.to_string(), ..Ask::get(format!("/kv/{key}")) }
    }

    pub(super) fn within(self, millis: u64) -> Ask {
        Ask { timeout: Duration::from_millis(millis), ..self }
    }

    pub(super) fn serial(self, serial: u64) -> Ask {
        Ask { serial: Some(serial), ..self }
    }

    /// As it is told.
    pub(super) fn describe(&self) -> String {
        let body = if self.body.is_empty() { String::new() } else { format!(" = {}", self.body) };
        let serial = self.serial.map(|serial| format!(" (client `{CLIENT_ID}`, serial {serial})"));
        format!("{} {}{body}{}", self.method, self.target, serial.unwrap_or_default())
    }
}

/// What a server answered.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    headers: HeaderMap,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn number(&self, header: &str) -> Option<u64> {
        self.headers.get(header)?.to_str().ok()?.parse().ok()
    }

    /// The body, where it is JSON.
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    fn said(&self, key: &str) -> String {
        self.json().get(key).and_then(Value::as_str).unwrap_or_default().to_string()
    }

    /// Why not.
    pub(super) fn error(&self) -> String {
        self.said("error")
    }

    /// `none` or `unknown`, of a write that wasn't done.
    pub(super) fn outcome(&self) -> String {
        self.said("outcome")
    }

    /// As it is told.
    pub(super) fn describe(&self) -> String {
        let headers =
            [("x-raft-index", "index"), ("x-raft-term", "term"), ("x-raft-modified", "written at index")];
        let mut parts: Vec<String> = headers
            .iter()
            .filter_map(|(header, name)| Some(format!("{name} {}", self.number(header)?)))
            .collect();
        let (error, outcome) = (self.error(), self.outcome());
        if !error.is_empty() {
            parts.push(format!("\"{error}\""));
        } else if !self.body.is_empty() && self.body.len() < 64 {
            parts.push(format!("`{}`", self.body.escape_debug()));
        }
        if !outcome.is_empty() {
            parts.push(format!("outcome {outcome}"));
        }
        format!("HTTP {}{}{}", self.status, if parts.is_empty() { "" } else { ": " }, parts.join(", "))
    }
}

/// The client itself.
pub(super) struct Client(HttpClient<HttpConnector, Full<Bytes>>);

impl Client {
    pub(super) fn new() -> Client {
        // No connection is kept: the next request may go to a process that was killed and started again.
        Client(HttpClient::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http())
    }

    /// # Errors
    /// There is no answer.
    pub(super) async fn send(&self, addr: SocketAddr, ask: &Ask) -> Result<Answer, String> {
        let mut request = Request::builder()
            .method(ask.method.clone())
            .uri(format!("http://{addr}{}", ask.target))
            .header("x-raft-timeout-ms", ask.timeout.as_millis().to_string());
        if let Some(serial) = ask.serial {
            request = request.header("x-client-id", CLIENT_ID).header("x-serial", serial);
        }
        let request = request.body(Full::from(ask.body.clone())).map_err(|error| error.to_string())?;
        let answered = async {
            let response = self.0.request(request).await.map_err(|error| error.to_string())?;
            let (parts, body) = response.into_parts();
            let body = to_bytes(Body::new(body), 1 << 20).await.map_err(|error| error.to_string())?;
            let body = String::from_utf8_lossy(&body).into_owned();
            Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
        };
        timeout(ask.timeout + GRACE, answered).await.unwrap_or_else(|_| Err("no answer in time".to_string()))
    }
}
