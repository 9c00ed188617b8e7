//! The scripts about quorums and about changes of a configuration, which need no node.

use std::collections::BTreeMap;

use raft_core::quorum::{JointQuorum, MajorityQuorum, VoteResult};
use raft_core::{ConfChangeError, Configuration, Index, NodeId, PeerState, PeerStatus};

use super::commands::parse_changes;
use super::print;
use super::script::Directive;

/// The configuration that the scripts change.
#[derive(Default)]
pub(super) struct Arithmetic {
    configuration: Configuration,
    last: u64,
    /// The next index of each member.
    next: BTreeMap<NodeId, Index>,
}

impl Arithmetic {
    /// Runs a directive of these scripts; `None` for any other.
    pub(super) fn run(&mut self, directive: &Directive) -> Option<String> {
        match directive.command.as_str() {
            "vote" => Some(vote(directive)),
            "committed" => Some(committed(directive)),
            "group_committed" => Some(group_committed(directive)),
            "simple" | "enter-joint" | "leave-joint" => Some(self.change(directive)),
            _ => None,
        }
    }

    fn change(&mut self, directive: &Directive) -> String {
        let result = self.changed(directive);
        let output = match result {
            Ok(configuration) => {
                self.configuration = configuration;
                self.show()
            }
            Err(error) => error,
        };
        self.last += 1;
        output
    }

    fn changed(&self, directive: &Directive) -> Result<Configuration, String> {
        let changes = parse_changes(&directive.input)?;
        let result = match directive.command.as_str() {
            "simple" => self.configuration.simple(&changes),
            "enter-joint" => {
                self.configuration.enter_joint(directive.value("autoleave") == Some("true"), &changes)
            }
            _ if !changes.is_empty() => return Err("this command takes no input".to_owned()),
            _ => self.configuration.leave_joint(),
        };
        result.map_err(|error| text(error).to_owned())
    }

    fn show(&mut self) -> String {
        let state = self.configuration.to_conf_state();
        let mut members = self.configuration.members();
        members.extend(state.learners_next.iter().copied());
        let next = Index::new(self.last.max(1));
        self.next.retain(|id, _| members.contains(id));
        for id in &members {
            self.next.entry(*id).or_insert(next);
        }
        let list = |ids: &[NodeId]| {
            let ids: Vec<String> = ids.iter().map(NodeId::to_string).collect();
            format!("({})", ids.join(" "))
        };
        let mut out = format!("voters={}", list(&state.voters));
        if !state.voters_outgoing.is_empty() {
            out.push_str(&format!("&&{}", list(&state.voters_outgoing)));
        }
        if !state.learners.is_empty() {
            out.push_str(&format!(" learners={}", list(&state.learners)));
        }
        if !state.learners_next.is_empty() {
            out.push_str(&format!(" learners_next={}", list(&state.learners_next)));
        }
        if state.auto_leave {
            out.push_str(" autoleave");
        }
        out.push('\n');
        for (id, next) in &self.next {
            let peer = PeerStatus {
                id: *id,
                state: PeerState::Probe,
                match_index: Index::ZERO,
                next_index: *next,
                is_learner: self.configuration.is_learner(*id),
                recently_active: true,
                paused: false,
                inflight_messages: 0,
                inflight_bytes: 0,
                window_full: false,
            };
            out.push_str(&print::progress(&peer));
            out.push('\n');
        }
        out
    }
}

fn text(error: ConfChangeError) -> &'static str {
    match error {
        ConfChangeError::NoVotersLeft => "removed all voters",
        ConfChangeError::AlreadyJoint => "config is already joint",
        ConfChangeError::NoVotersToLeave => "can't make a zero-voter config joint",
        ConfChangeError::NotJoint => "can't leave a non-joint config",
        ConfChangeError::JointPending => "can't apply simple config change in joint config",
        ConfChangeError::MoreThanOneVoter => "more than one voter changed without entering joint config",
        _ => "unknown error",
    }
}

/// The voters in the order in which the values are given, and the quorum of them.
fn voters(directive: &Directive) -> (Vec<NodeId>, JointQuorum, bool) {
    let ids = |key| -> Vec<NodeId> {
        let values = directive.values(key).unwrap_or_default();
        values.iter().filter_map(|id| NodeId::new(id.parse().ok()?)).collect()
    };
    let (incoming, outgoing) = (ids("cfg"), ids("cfgj"));
    let mut order: Vec<NodeId> = Vec::new();
    for id in incoming.iter().chain(&outgoing) {
        if !order.contains(id) {
            order.push(*id);
        }
    }
    let quorum =
        JointQuorum { incoming: MajorityQuorum::new(incoming), outgoing: MajorityQuorum::new(outgoing) };
    let joint = directive.values("cfgj").is_some();
    (order, quorum, joint)
}

fn vote(directive: &Directive) -> String {
    let (order, quorum, _) = voters(directive);
    let votes = directive.values("votes").unwrap_or_default();
    let given: BTreeMap<NodeId, bool> = order
        .iter()
        .zip(votes)
        .filter(|(_, vote)| *vote != "_")
        .map(|(id, vote)| (*id, vote == "y"))
        .collect();
    let result = match quorum.vote_result(|id| given.get(&id).copied()) {
        VoteResult::Won => "VoteWon",
        VoteResult::Lost => "VoteLost",
        VoteResult::Pending => "VotePending",
    };
    format!("{result}\n")
}

fn committed(directive: &Directive) -> String {
    let (order, quorum, _) = voters(directive);
    let indexes = directive.values("idx").unwrap_or_default();
    let known: BTreeMap<NodeId, u64> =
        order.iter().zip(indexes).filter_map(|(id, index)| Some((*id, index.parse().ok()?))).collect();
    let mut out = String::new();
    let count = order.len();
    if order.is_empty() {
        out.push_str("<empty majority quorum>");
    } else {
        out.push_str(&format!("{:count$}    idx\n", ""));
        let mut sorted = order.clone();
        sorted.sort_unstable();
        for id in sorted {
            let index = known.get(&id).copied();
            let below = order
                .iter()
                .filter(|other| known.get(other).copied().unwrap_or(0) < index.unwrap_or(0))
                .count();
            let bar = match index {
                Some(_) => format!("{}>{}", "x".repeat(below), " ".repeat(count - below)),
                None => format!("?{}", " ".repeat(count)),
            };
            out.push_str(&format!("{bar} {:>5}    (id={:x})\n", index.unwrap_or(0), id.get()));
        }
    }
    match quorum.committed_index(|id| Index::new(known.get(&id).copied().unwrap_or(0))) {
        Some(index) => out.push_str(&format!("{index}\n")),
        None => out.push_str("∞\n"),
    }
    out
}

fn group_committed(directive: &Directive) -> String {
    let (order, quorum, _) = voters(directive);
    let numbers = |key| -> BTreeMap<NodeId, u64> {
        let values = directive.values(key).unwrap_or_default();
        order.iter().zip(values).filter_map(|(id, value)| Some((*id, value.parse().ok()?))).collect()
    };
    let (indexes, groups) = (numbers("idx"), numbers("gid"));
    let of = |numbers: &BTreeMap<NodeId, u64>, id: NodeId| numbers.get(&id).copied().unwrap_or(0);
    match quorum.group_committed_index(|id| (Index::new(of(&indexes, id)), of(&groups, id))) {
        Some(index) => format!("{index}\n"),
        None => "∞\n".to_owned(),
    }
}
