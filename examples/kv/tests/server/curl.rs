//! The `curl` commands that people are told to type, understood as far as they use it.

use std::net::SocketAddr;

use crate::harness::{Response, request, wait_for};

/// What such a command asks for.
#[derive(Debug)]
pub(crate) struct Curl {
    method: String,
    pub(crate) addr: SocketAddr,
    pub(crate) target: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Curl {
    /// None if the line isn't such a command.
    pub(crate) fn parse(line: &str) -> Option<Curl> {
        if !line.starts_with("curl ") {
            return None;
        }
        let mut words = words(line).into_iter().skip(1);
        let (mut method, mut url, mut headers, mut body) = (None, None, Vec::new(), String::new());
        while let Some(word) = words.next() {
            let mut value = || words.next().unwrap_or_else(|| panic!("{word} wants a value: {line}"));
            match word.as_str() {
                "-i" => {}
                "-X" => method = Some(value()),
                "-d" | "--data-binary" => body = value(),
                "-H" => {
                    let header = value();
                    let (name, value) = header.split_once(": ").unwrap();
                    headers.push((name.to_string(), value.to_string()));
                }
                option if option.starts_with('-') => panic!("this test doesn't know {option}: {line}"),
                _ => assert!(url.replace(word).is_none(), "two addresses: {line}"),
            }
        }
        let url = url.unwrap_or_else(|| panic!("no address: {line}"));
        let (addr, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).unwrap();
        Some(Curl {
            method: method.unwrap_or_else(|| "GET".to_string()),
            addr: addr.parse().unwrap(),
            target: format!("/{path}"),
            headers,
            body,
        })
    }

    /// Sends it to this node and gives the answer, which must be that it's done. A person types a stale read some time
    /// after the write that it's to see; here it is repeated until it does.
    pub(crate) fn succeeds(&self, addr: SocketAddr) -> Response {
        let headers: Vec<(&str, &str)> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let send = || request(addr, &self.method, &self.target, &headers, self.body.as_bytes()).unwrap();
        let response = if self.target.contains("consistency=stale") {
            wait_for("the value comes to this node", || Some(send()).filter(|told| told.status == 200))
        } else {
            send()
        };
        assert!(matches!(response.status, 200 | 204), "{self:?}: {response:?}");
        response
    }
}

/// The words of a command, as a shell takes them. It knows single quotes alone.
fn words(line: &str) -> Vec<String> {
    assert!(!line.contains(['"', '\\', '$', '`']), "too much for this test: {line}");
    let (mut words, mut word, mut quoted) = (Vec::new(), None, false);
    for character in line.chars() {
        match character {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_with(String::new);
            }
            ' ' if !quoted => words.extend(word.take()),
            '&' | '?' | '#' | ';' | '*' if !quoted => {
                panic!("a shell takes {character} for something else: {line}")
            }
            character => word.get_or_insert_with(String::new).push(character),
        }
    }
    assert!(!quoted, "a quote isn't closed: {line}");
    words.extend(word);
    words
}
