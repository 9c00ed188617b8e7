//! The commands of the language.

use std::collections::VecDeque;

use bytes::Bytes;
use raft_core::{
    Body, ConfChange, ConfChangeKind, ConfChangeSingle, ConfChangeTransition, ConfChangeV2, ConfState,
    Config, Index, InstallSnapshot, Message, NodeId, RawNode, ReadMode, Snapshot, SnapshotMetadata,
    SnapshotStatus, Storage, Term,
};

use super::environment::{CommandError, Environment, ScriptNode};
use super::message::Wire;
use super::print;
use super::script::Directive;
use super::store::Store;

/// How a node was set up.
#[derive(Clone, Debug)]
pub(super) struct NodeOptions {
    pub(super) config: Config,
}

const DROPPED: &str = "raft proposal dropped";
/// More rounds than any script needs.
const MAX_ROUNDS: usize = 10_000;

impl Environment {
    pub(super) fn dispatch(&mut self, directive: &Directive) -> Result<(), CommandError> {
        let ids: Vec<u64> = directive.positional().filter_map(|id| id.parse().ok()).collect();
        let first = || ids.first().copied().ok_or_else(|| "a node id is missing".to_owned());
        match directive.command.as_str() {
            "_breakpoint" => Ok(()),
            "add-nodes" => self.add_nodes(directive),
            "campaign" => {
                // Whether it declines isn't shown.
                let _ = self.node(first()?)?.call(RawNode::campaign);
                Ok(())
            }
            "compact" => self.compact(directive, first()?),
            "deliver-msgs" => self.deliver_msgs(directive),
            "forget-leader" => {
                let _ = self.node(first()?)?.call(RawNode::forget_leader);
                Ok(())
            }
            "log-level" => self.log_level(directive.positional().next().unwrap_or_default()),
            "process-append-thread" => {
                self.for_each(&ids, "processing append thread", Environment::process_append)
            }
            "process-apply-thread" => {
                self.for_each(&ids, "processing apply thread", Environment::process_apply)
            }
            "process-ready" => self.for_each(&ids, "handling Ready", |environment, id| {
                environment.process_ready(id).map(|_| ())
            }),
            "propose" => {
                let data = directive.positional().nth(1).unwrap_or_default().to_owned();
                self.node(first()?)?
                    .call(|raw| raw.propose(Bytes::from(data)))
                    .map_err(|_| DROPPED.to_owned())
                    .map(|_| ())
            }
            "propose-conf-change" => self.propose_conf_change(directive, first()?),
            "raft-log" => self.raft_log(first()?),
            "raft-state" => self.raft_state(),
            "read-index" => {
                let context = directive.positional().nth(1).unwrap_or_default().to_owned();
                let node = self.node(first()?)?;
                let mode = if node.options.config.lease_reads { ReadMode::Lease } else { ReadMode::Quorum };
                let _ = node.call(|raw| raw.read_index(Bytes::from(context), mode));
                Ok(())
            }
            "report-snapshot" => {
                let status = match directive.value("status") {
                    Some("finish") => SnapshotStatus::Finished,
                    _ => SnapshotStatus::Failed,
                };
                let peer = ids.get(1).copied().and_then(NodeId::new).ok_or("a node id is missing")?;
                self.node(first()?)?.raw.report_snapshot(peer, status);
                Ok(())
            }
            "report-unreachable" => match ids.as_slice() {
                [on, peer] => {
                    let peer = NodeId::new(*peer).ok_or("node 0")?;
                    self.node(*on)?.raw.report_unreachable(peer);
                    Ok(())
                }
                _ => Err("must specify exactly two node indexes: node on which to report, and reported node"
                    .to_owned()),
            },
            "restart" => self.restart(first()?),
            "send-snapshot" => self.send_snapshot(&ids),
            "set-randomized-election-timeout" => {
                let ticks = directive.value("timeout").and_then(|ticks| ticks.parse().ok()).unwrap_or(0);
                self.node(first()?)?.raw.set_election_timeout(ticks);
                Ok(())
            }
            "stabilize" => self.stabilize(directive, &ids),
            "status" => {
                let status = self.node(first()?)?.raw.status();
                for peer in &status.progress {
                    self.out.push_str(&print::progress(peer));
                    self.out.push('\n');
                }
                Ok(())
            }
            "tick-election" => self.tick(first()?, 3),
            "tick-heartbeat" => self.tick(first()?, 1),
            "transfer-leadership" => {
                let id = |key| directive.value(key).and_then(|id| id.parse::<u64>().ok()).unwrap_or(0);
                let to = NodeId::new(id("to")).ok_or("node 0")?;
                let _ = self.node(id("from"))?.call(|raw| raw.transfer_leader(to));
                Ok(())
            }
            _ => Err("unknown command".to_owned()),
        }
    }

    fn for_each(
        &mut self,
        ids: &[u64],
        what: &str,
        action: impl Fn(&mut Environment, u64) -> Result<(), CommandError>,
    ) -> Result<(), CommandError> {
        if let [only] = ids {
            return action(self, *only);
        }
        for id in ids {
            self.out.push_str(&format!("> {id} {what}\n"));
            self.indented(|environment| action(environment, *id))?;
        }
        Ok(())
    }

    fn tick(&mut self, id: u64, count: u32) -> Result<(), CommandError> {
        let node = self.node(id)?;
        for _ in 0..count {
            node.raw.tick();
        }
        Ok(())
    }

    fn log_level(&mut self, level: &str) -> Result<(), CommandError> {
        let level = level.to_uppercase();
        if !["DEBUG", "INFO", "WARN", "ERROR", "FATAL", "NONE"].contains(&level.as_str()) {
            return Err("log levels must be either of [DEBUG INFO WARN ERROR FATAL NONE]".to_owned());
        }
        self.quiet = level == "NONE";
        Ok(())
    }

    fn add_nodes(&mut self, directive: &Directive) -> Result<(), CommandError> {
        let count: u64 = directive.positional().next().and_then(|count| count.parse().ok()).unwrap_or(0);
        let ids = |key| -> Vec<NodeId> {
            let values = directive.values(key).unwrap_or_default();
            values.iter().filter_map(|id| NodeId::new(id.parse().ok()?)).collect()
        };
        let mut snapshot = None;
        let given = ["voters", "learners", "index"].iter().any(|key| directive.values(key).is_some());
        if given {
            let index = directive.value("index").and_then(|index| index.parse().ok()).unwrap_or(0);
            if index < 2 {
                return Err("index must be specified as > 1 due to bootstrap".to_owned());
            }
            let conf_state =
                ConfState { voters: ids("voters"), learners: ids("learners"), ..ConfState::default() };
            let metadata = SnapshotMetadata { conf_state, index: Index::new(index), term: Term::new(1) };
            snapshot = Some(Snapshot { metadata, data: Bytes::new() });
        }
        let config = node_config(directive)?;
        for _ in 0..count {
            let id = NodeId::new(self.nodes.len() as u64 + 1).ok_or("node 0")?;
            let mut config = config.clone();
            config.id = id;
            config.applied = snapshot.as_ref().map_or(Index::ZERO, |snapshot| snapshot.metadata.index);
            let store = Store::new(snapshot.clone());
            let raw = RawNode::new(config.clone(), store.clone()).map_err(|error| error.to_string())?;
            self.nodes.push(ScriptNode::new(raw, store, NodeOptions { config }));
        }
        Ok(())
    }

    fn propose_conf_change(&mut self, directive: &Directive, id: u64) -> Result<(), CommandError> {
        let mut v1 = false;
        let mut transition = ConfChangeTransition::Auto;
        for argument in directive.arguments.iter().filter(|argument| !argument.values.is_empty()) {
            let value = argument.values.first().map_or("", String::as_str);
            match argument.key.as_str() {
                "v1" => v1 = parse_bool(value)?,
                "transition" => {
                    transition = match value {
                        "auto" => ConfChangeTransition::Auto,
                        "implicit" => ConfChangeTransition::JointImplicit,
                        "explicit" => ConfChangeTransition::JointExplicit,
                        other => return Err(format!("unknown transition {other}")),
                    }
                }
                other => return Err(format!("unknown command {other}")),
            }
        }
        let changes = parse_changes(&directive.input)?;
        let node = self.node(id)?;
        let result = if v1 {
            let ([single], ConfChangeTransition::Auto) = (changes.as_slice(), transition) else {
                return Err("v1 conf change can only have one operation and no transition".to_owned());
            };
            let change = ConfChange { kind: single.kind, node: single.node, ..ConfChange::default() };
            node.call(|raw| raw.propose_conf_change_v1(change))
        } else {
            let change = ConfChangeV2 { transition, changes, context: Bytes::new() };
            node.call(|raw| raw.propose_conf_change(change))
        };
        result.map_err(|_| DROPPED.to_owned()).map(|_| ())
    }

    fn deliver_msgs(&mut self, directive: &Directive) -> Result<(), CommandError> {
        let only = directive.value("type").map(ToOwned::to_owned);
        let mut count = 0;
        for argument in &directive.arguments {
            match argument.key.as_str() {
                "type" => {}
                "drop" => {
                    for id in argument.values.iter().filter_map(|id| id.parse().ok()) {
                        count += self.deliver(id, true, only.as_deref());
                    }
                }
                id => {
                    let id = id.parse().map_err(|_| format!("no node {id}"))?;
                    count += self.deliver(id, false, only.as_deref());
                }
            }
        }
        if count == 0 {
            self.out.push_str("no messages\n");
        }
        Ok(())
    }

    fn stabilize(&mut self, directive: &Directive, ids: &[u64]) -> Result<(), CommandError> {
        let before = self.quiet;
        if let Some(level) = directive.value("log-level") {
            self.log_level(level)?;
        }
        let all: Vec<u64> = self.nodes.iter().map(|node| node.id.get()).collect();
        let ids = if ids.is_empty() { &all } else { ids };
        let result = self.stabilize_nodes(ids);
        if self.quiet {
            self.out.clear();
        }
        self.quiet = before;
        result
    }

    pub(super) fn stabilize_nodes(&mut self, ids: &[u64]) -> Result<(), CommandError> {
        for _ in 0..MAX_ROUNDS {
            let mut idle = true;
            for id in ids {
                if self.node(*id)?.raw.has_ready() {
                    let before = self.out.len();
                    self.out.push_str(&format!("> {id} handling Ready\n"));
                    let mut known_to_etcd = true;
                    self.indented(|environment| {
                        known_to_etcd = environment.process_ready(*id)?;
                        Ok(())
                    })?;
                    if known_to_etcd {
                        idle = false;
                    } else {
                        self.out.truncate(before);
                    }
                }
            }
            for id in ids {
                if self.messages.iter().any(|wire| wire.to().get() == *id) {
                    idle = false;
                    self.out.push_str(&format!("> {id} receiving messages\n"));
                    self.indented(|environment| {
                        environment.deliver(*id, false, None);
                        Ok(())
                    })?;
                }
            }
            for id in ids {
                if !self.node(*id)?.append_queue.is_empty() {
                    idle = false;
                    self.out.push_str(&format!("> {id} processing append thread\n"));
                    while !self.node(*id)?.append_queue.is_empty() {
                        self.indented(|environment| environment.process_append(*id))?;
                    }
                }
            }
            for id in ids {
                if !self.node(*id)?.apply_queue.is_empty() {
                    idle = false;
                    self.out.push_str(&format!("> {id} processing apply thread\n"));
                    while !self.node(*id)?.apply_queue.is_empty() {
                        self.indented(|environment| environment.process_apply(*id))?;
                    }
                }
            }
            if idle {
                return Ok(());
            }
        }
        Err(format!("not stable after {MAX_ROUNDS} rounds"))
    }

    fn compact(&mut self, directive: &Directive, id: u64) -> Result<(), CommandError> {
        let text = directive.positional().nth(1).unwrap_or_default().to_owned();
        let index: u64 =
            text.parse().map_err(|_| format!("strconv.ParseUint: parsing \"{text}\": invalid syntax"))?;
        let node = self.node(id)?;
        let mut inner = node.store.0.borrow_mut();
        inner
            .log
            .compact(Index::new(index))
            .map_err(|_| "requested index is unavailable due to compaction".to_owned())?;
        drop(inner);
        self.raft_log(id)
    }

    fn raft_log(&mut self, id: u64) -> Result<(), CommandError> {
        let node = self.node(id)?;
        let inner = node.store.0.borrow();
        let mut text = String::new();
        for entry in inner.log.all_entries() {
            text.push_str(&print::entry(entry));
            text.push('\n');
        }
        if text.is_empty() {
            let (first, last) = (inner.log.first_index(), inner.log.last_index());
            let (first, last) = (first.unwrap_or_default(), last.unwrap_or_default());
            text = format!("log is empty: first index={first}, last index={last}");
        }
        drop(inner);
        self.out.push_str(&text);
        Ok(())
    }

    fn raft_state(&mut self) -> Result<(), CommandError> {
        for node in &self.nodes {
            let status = node.raw.status();
            let conf = &status.conf_state;
            let voter = conf.voters.contains(&node.id) || conf.voters_outgoing.contains(&node.id);
            let line = format!(
                "{}: {} ({}) Term:{} Lead:{}\n",
                node.id,
                print::role(status.role),
                if voter { "Voter" } else { "Non-Voter" },
                status.term,
                status.leader.map_or(0, NodeId::get)
            );
            self.out.push_str(&line);
        }
        Ok(())
    }

    fn send_snapshot(&mut self, ids: &[u64]) -> Result<(), CommandError> {
        let [from, to] = ids else { return Err("two node ids are needed".to_owned()) };
        let to = NodeId::new(*to).ok_or("node 0")?;
        let node = self.node(*from)?;
        let snapshot = node.store.last_of_history();
        let body = Body::InstallSnapshot(InstallSnapshot { snapshot }.into());
        let message = Message { from: node.id, to, term: node.raw.term(), body };
        let text = print::message(&message, "");
        self.messages.push(Wire::Peer(message));
        self.out.push_str(&text);
        Ok(())
    }

    fn restart(&mut self, id: u64) -> Result<(), CommandError> {
        self.messages.retain(|wire| !(wire.is_local() && wire.to().get() == id));
        let node = self.node(id)?;
        node.append_queue.clear();
        node.apply_queue.clear();
        let last = node.store.last_of_history();
        {
            let mut inner = node.store.0.borrow_mut();
            let mut hard_state = inner.log.hard_state();
            if inner.has_hard_state && hard_state.commit < last.metadata.index {
                hard_state.commit = last.metadata.index;
                inner.log.set_hard_state(hard_state);
            }
            inner.initial = last.metadata.conf_state.clone();
        }
        let mut config = node.options.config.clone();
        config.applied = last.metadata.index;
        let raw = RawNode::new(config, node.store.clone()).map_err(|error| error.to_string())?;
        let (store, options) = (node.store.clone(), node.options.clone());
        *node = ScriptNode::new(raw, store, options);
        Ok(())
    }
}

impl ScriptNode {
    fn new(raw: RawNode<Store>, store: Store, options: NodeOptions) -> ScriptNode {
        let status = raw.status();
        let shown = raft_core::HardState { term: status.term, vote: status.vote, commit: status.commit };
        ScriptNode {
            id: raw.id(),
            raw,
            store,
            options,
            append_queue: VecDeque::new(),
            apply_queue: VecDeque::new(),
            shown,
            pending_snapshot: None,
            half_done: None,
        }
    }
}

fn node_config(directive: &Directive) -> Result<Config, CommandError> {
    let id = NodeId::new(1).ok_or("node 0")?;
    let flag = |key: &str| match directive.value(key) {
        Some(value) => parse_bool(value),
        None => Ok(false),
    };
    let number = |key: &str| directive.value(key).and_then(|value| value.parse::<u64>().ok());
    let mut config = Config::new(id, 0);
    config.election_ticks = 3;
    config.heartbeat_ticks = 1;
    config.lease_drift_ticks = 0;
    config.check_quorum_each_tick = false;
    config.batch_messages = false;
    config.max_message_bytes = number("max-size-per-msg").unwrap_or(u64::MAX);
    let committed = number("max-committed-size-per-ready").filter(|bytes| *bytes > 0);
    config.max_committed_bytes = committed.unwrap_or(config.max_message_bytes);
    config.max_uncommitted_bytes =
        number("max-uncommitted-size").filter(|bytes| *bytes > 0).unwrap_or(u64::MAX);
    let messages = number("inflight").unwrap_or(2_147_483_647);
    config.max_inflight_messages = u32::try_from(messages).unwrap_or(u32::MAX);
    config.max_inflight_bytes = number("max-inflight-bytes").filter(|bytes| *bytes > 0).unwrap_or(u64::MAX);
    config.async_writes = flag("async-storage-writes")?;
    config.pre_vote = flag("prevote")?;
    config.check_quorum = flag("checkquorum")?;
    config.disable_conf_change_validation = flag("disable-conf-change-validation")?;
    config.step_down_on_removal = flag("step-down-on-removal")?;
    config.forward_proposals = !flag("disable-proposal-forwarding")?;
    config.lease_reads = match directive.value("read-only") {
        None | Some("safe") => false,
        Some("lease-based") => true,
        Some(other) => return Err(format!("invalid read-only option \"{other}\"")),
    };
    Ok(config)
}

fn parse_bool(text: &str) -> Result<bool, CommandError> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!("strconv.ParseBool: parsing \"{text}\": invalid syntax")),
    }
}

/// `v1 l2 r3 u4`.
pub(super) fn parse_changes(input: &str) -> Result<Vec<ConfChangeSingle>, CommandError> {
    let mut changes = Vec::new();
    for token in input.split_whitespace() {
        let (Some(letter), true) = (token.chars().next(), token.len() >= 2) else {
            return Err(format!("unknown token {token}"));
        };
        let kind = match letter {
            'v' => ConfChangeKind::AddVoter,
            'l' => ConfChangeKind::AddLearner,
            'r' => ConfChangeKind::Remove,
            'u' => ConfChangeKind::Update,
            _ => return Err(format!("unknown input: {token}")),
        };
        let number = token.get(1..).unwrap_or_default();
        let id: u64 =
            number.parse().map_err(|_| format!("strconv.ParseUint: parsing \"{number}\": invalid syntax"))?;
        changes.push(ConfChangeSingle { kind, node: NodeId::new(id) });
    }
    Ok(changes)
}
