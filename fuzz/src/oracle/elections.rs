//! Who leads, and who may campaign (1, 4, 17, 18c, 18e, 22, 28).

use raft_core::{Body, HardState, Index, LogPosition, Message, NodeId, RequestVote, RoleKind, Status, Term};

use super::history::History;
use super::votes::Votes;
use super::{Cause, Check, Context, Seen, broken};
use crate::cluster::{Raw, Shadow};
use crate::members::{Members, Set};
use crate::network::{Kind, Summary};
use crate::parts::Parts;
use crate::reached::Situation;

/// What a leader had when it was elected.
#[derive(Clone, Debug)]
struct Office {
    at: usize,
    /// The index of the first entry of its own.
    start: Index,
    /// Where the terms of what wasn't committed by then begin, in ascending order.
    inherited: Vec<LogPosition>,
}

/// What is remembered of a node, in its own ticks.
#[derive(Clone, Debug, Default)]
struct Campaigner {
    ticks: u64,
    /// It heard from its leader, gave its vote, or campaigned.
    quiet_since: u64,
    /// Its election time-out may have been set to so few ticks, and is drawn again at its next term.
    hurried: Option<u32>,
    /// It heard from its leader.
    led_at: Option<u64>,
    /// When each node answered it.
    answered: Vec<u64>,
    /// Who has granted it what it asks for.
    grants: Set,
    pre_grants: Set,
}

/// What a voter was like before it was asked.
#[derive(Debug)]
pub(super) struct BeforeStep {
    hard: HardState,
    last: LogPosition,
    request: RequestVote,
    /// It hears a leader, and so must not listen.
    guarded: bool,
    /// Nothing in its memory keeps it from voting.
    free: bool,
    /// All of it, where that must not change.
    whole: Option<Status>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Elections {
    /// By term.
    offices: Vec<Option<Office>>,
    campaigners: Vec<Campaigner>,
    led: usize,
}

impl Elections {
    pub(super) fn new(nodes: usize) -> Elections {
        let campaigner = Campaigner { answered: vec![0; nodes], ..Campaigner::default() };
        Elections { offices: Vec::new(), campaigners: vec![campaigner; nodes], led: 0 }
    }

    pub(super) fn terms_led(&self) -> usize {
        self.led
    }

    fn office(&self, term: Term) -> Option<&Office> {
        self.offices.get(usize::try_from(term.get()).unwrap_or(usize::MAX))?.as_ref()
    }

    /// Who leads or led this term.
    pub(super) fn leader_of(&self, term: Term) -> Option<usize> {
        self.office(term).map(|office| office.at)
    }

    /// The newest term that had a leader.
    pub(super) fn newest_term(&self) -> Term {
        Term::new(self.offices.len().saturating_sub(1) as u64)
    }

    /// Who led the newest term that had a leader.
    pub(super) fn newest_office(&self) -> Option<usize> {
        self.offices.last()?.as_ref().map(|office| office.at)
    }

    /// The term of the entry at `index` in the log of the leader of `term`, as far as that is known.
    pub(super) fn term_in_log_of(&self, term: Term, index: Index, history: &History) -> Option<Term> {
        let office = self.office(term)?;
        if index >= office.start {
            return Some(term);
        }
        let inherited = office.inherited.iter().rev().find(|first| first.index <= index);
        inherited.map(|first| first.term).or_else(|| Some(history.committed(index)?.line.term))
    }

    pub(super) fn on_start(&mut self, at: usize) {
        let campaigner = &mut self.campaigners[at];
        let answered = std::mem::take(&mut campaigner.answered);
        *campaigner = Campaigner { answered, ..Campaigner::default() };
        campaigner.answered.fill(0);
    }

    pub(super) fn on_tick(&mut self, at: usize) {
        self.campaigners[at].ticks += 1;
    }

    pub(super) fn on_hurried(&mut self, at: usize, ticks: u32) {
        let hurried = &mut self.campaigners[at].hurried;
        *hurried = Some(hurried.unwrap_or(ticks).min(ticks));
    }

    /// The membership has changed: who is new in it couldn't answer yet.
    pub(super) fn on_configured(&mut self, at: usize) {
        let campaigner = &mut self.campaigners[at];
        campaigner.answered.fill(campaigner.ticks);
    }

    /// A transfer begins a new period between two looks at the quorum.
    pub(super) fn on_transfer_asked(&mut self, at: usize) {
        self.on_configured(at);
    }

    pub(super) fn on_pre_vote_sent(&mut self, at: usize) {
        self.campaigners[at].pre_grants = Set::EMPTY;
    }

    /// A message has arrived.
    pub(super) fn on_arrival<P: Parts>(&mut self, cx: &Context<P>, raw: &Raw<P>, summary: &Summary) {
        let campaigner = &mut self.campaigners[cx.at];
        let term = raw.term();
        match summary.kind {
            Kind::VoteReply if summary.granted => {
                cx.reached.reach_if(summary.term < term, Situation::LateGrant);
                cx.reached.reach_if(raw.role() == RoleKind::Leader, Situation::GrantToLeader);
                if summary.term == term {
                    campaigner.grants = campaigner.grants.with(summary.from);
                }
            }
            Kind::VoteReply => cx.reach(Situation::VoteRefused),
            Kind::PreVoteReply if summary.granted && summary.term == term.next() => {
                campaigner.pre_grants = campaigner.pre_grants.with(summary.from);
            }
            Kind::AppendReply | Kind::HeartbeatReply if summary.term == term => {
                if let Some(answered) = campaigner.answered.get_mut(position(summary.from)) {
                    *answered = campaigner.ticks;
                }
            }
            Kind::AppendReply if summary.term < term => cx.reach(Situation::LateReply),
            Kind::Append if summary.term < term => cx.reach(Situation::OldAppend),
            _ => {}
        }
    }

    /// What a request for a vote, or the question for one, finds.
    pub(super) fn before_step<P: Parts>(
        &self,
        cx: &Context<P>,
        raw: &Raw<P>,
        message: &Message,
        last: LogPosition,
    ) -> Option<BeforeStep> {
        let (request, pure) = match &message.body {
            Body::RequestVote(request) => (*request, false),
            Body::PreVote(request) => (*request, true),
            _ => return None,
        };
        let (config, campaigner, hard) = (raw.config(), &self.campaigners[cx.at], raw.hard_state());
        let led_at = campaigner.led_at.filter(|_| raw.leader().is_some());
        let hears = led_at.is_some_and(|at| campaigner.ticks - at < u64::from(config.election_ticks));
        let leads = raw.role() == RoleKind::Leader;
        let guarded =
            config.check_quorum && message.term > hard.term && !request.by_transfer && (hears || leads);
        let free = message.term > hard.term
            && !(config.check_quorum && (raw.leader().is_some() || config.lease_reads))
            && config.priority <= request.priority;
        let whole = pure.then(|| raw.status());
        Some(BeforeStep { hard, last, request, guarded, free, whole })
    }

    /// What became of it (5.4.1, 22, and that a leader's followers don't listen to others).
    pub(super) fn after_step<P: Parts>(
        &mut self,
        cx: &Context<P>,
        raw: &Raw<P>,
        summary: &Summary,
        before: BeforeStep,
    ) -> Check {
        let (id, hard) = (cx.node().id, raw.hard_state());
        if let Some(mut whole) = before.whole {
            let now = raw.status();
            whole.basic.counters = now.basic.counters;
            if now != whole {
                return broken("22", format!("a pre-vote changed node {id}"));
            }
            return Ok(());
        }
        if before.guarded {
            cx.reach(Situation::CampaignIgnored);
            if hard != before.hard {
                return broken(
                    "27",
                    format!("node {id} hears a leader and listens to the candidate {}", summary.from),
                );
            }
            return Ok(());
        }
        let voted = hard.vote == Some(summary.from) && hard.term == summary.term;
        let granted = voted && (hard.term, hard.vote) != (before.hard.term, before.hard.vote);
        let may = before.request.last >= before.last;
        if granted {
            self.campaigners[cx.at].quiet_since = self.campaigners[cx.at].ticks;
        }
        if granted && !may {
            return broken(
                "5.4.1",
                format!(
                    "node {id}, whose log ends at {}, votes for one that ends at {}",
                    before.last, before.request.last
                ),
            );
        }
        let lost = raw.status().lost.is_some();
        if before.free && may && !voted && !lost {
            return broken(
                "5.4.1",
                format!("node {id} refuses its vote to node {} for no reason", summary.from),
            );
        }
        Ok(())
    }

    /// A message was stepped: a word from the leader?
    pub(super) fn on_stepped<P: Parts>(
        &mut self,
        cx: &Context<P>,
        raw: &Raw<P>,
        summary: &Summary,
        taken: bool,
    ) {
        let from_leader = matches!(summary.kind, Kind::Append | Kind::Heartbeat | Kind::Snapshot);
        if from_leader && taken && raw.term() == summary.term && raw.leader() == Some(summary.from) {
            let campaigner = &mut self.campaigners[cx.at];
            campaigner.quiet_since = campaigner.ticks;
            campaigner.led_at = Some(campaigner.ticks);
        }
    }

    /// A node has another role, or another term.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn on_role<P: Parts>(
        &mut self,
        cx: &Context<P>,
        raw: &Raw<P>,
        cause: Cause,
        (before, now): (&Seen, &Seen),
        history: &History,
        votes: &Votes,
        shadow: &Shadow,
    ) -> Check {
        let term = now.hard.term;
        match now.role {
            Some(RoleKind::Leader) => self.on_elected(cx, raw, before, history, votes, shadow),
            Some(RoleKind::PreCandidate) => self.on_campaign(cx, raw, cause, shadow),
            Some(RoleKind::Candidate) => {
                let again = before.role == Some(RoleKind::Candidate);
                cx.reached.reach_if(again, Situation::CandidateTriesAgain);
                if term != before.hard.term.next() {
                    return broken(
                        "5.2",
                        format!("node {} campaigns in {term} after {}", cx.node().id, before.hard.term),
                    );
                }
                self.on_campaign(cx, raw, cause, shadow)?;
                self.check_asked(cx, raw, cause)?;
                let campaigner = &mut self.campaigners[cx.at];
                (campaigner.grants, campaigner.quiet_since) = (Set::EMPTY, campaigner.ticks);
                campaigner.hurried = None;
                Ok(())
            }
            Some(RoleKind::Follower) | None => {
                let removed = cause == Cause::Configured;
                let higher = term > before.hard.term;
                let campaigned = matches!(before.role, Some(RoleKind::Candidate | RoleKind::PreCandidate));
                let by_leader =
                    matches!(cause, Cause::Message(Kind::Append | Kind::Heartbeat | Kind::Snapshot));
                match before.role {
                    Some(RoleKind::Leader) if removed => cx.reach(Situation::LeaderRemoved),
                    Some(RoleKind::Leader) if higher => cx.reach(Situation::Deposed),
                    Some(RoleKind::Leader) => cx.reach(Situation::QuorumLost),
                    Some(RoleKind::PreCandidate) if !higher && !by_leader => cx.reach(Situation::PreVoteLost),
                    _ => cx.reached.reach_if(campaigned && by_leader, Situation::CandidateFollows),
                }
                Ok(())
            }
        }
    }

    /// A campaign begins (5.2, 18c, 18e).
    fn on_campaign<P: Parts>(
        &mut self,
        cx: &Context<P>,
        raw: &Raw<P>,
        cause: Cause,
        shadow: &Shadow,
    ) -> Check {
        let (id, campaigner) = (cx.node().id, &self.campaigners[cx.at]);
        let least = raw.config().election_ticks;
        let least = campaigner.hurried.map_or(least, |hurried| hurried.min(least));
        let members = Members::of(raw.configuration());
        if !members.is_voter(id) {
            return broken("18e", format!("node {id} campaigns, and is no voter: {members}"));
        }
        let (applied, commit) = (raw.applied_index(), raw.commit_index());
        let unapplied = shadow.behind(applied).take_while(|(index, _)| *index <= commit);
        if let Some((index, _)) = unapplied.into_iter().find(|(_, line)| line.is_change) {
            return broken("18c", format!("node {id} campaigns before it has applied the change at {index}"));
        }
        if cx.node().disk.queued_snapshot().is_some() {
            return broken("18c", format!("node {id} campaigns with a snapshot that isn't durable"));
        }
        let waited = campaigner.ticks - campaigner.quiet_since;
        if cause == Cause::Tick && waited < u64::from(least) {
            return broken(
                "5.2",
                format!("node {id} campaigns {waited} ticks after it heard from its leader"),
            );
        }
        Ok(())
    }

    /// With pre-vote a term is begun only if a quorum would vote for this node, or its leader wants it (22).
    fn check_asked<P: Parts>(&self, cx: &Context<P>, raw: &Raw<P>, cause: Cause) -> Check {
        let id = cx.node().id;
        if !raw.config().pre_vote || cause == Cause::Message(Kind::TimeoutNow) {
            return Ok(());
        }
        let would = self.campaigners[cx.at].pre_grants.with(id);
        if !Members::of(raw.configuration()).is_quorum(would) {
            return broken(
                "22",
                format!("node {id} begins term {} without a quorum of pre-votes", raw.term()),
            );
        }
        Ok(())
    }

    /// A node leads (1, 4, 17).
    fn on_elected<P: Parts>(
        &mut self,
        cx: &Context<P>,
        raw: &Raw<P>,
        before: &Seen,
        history: &History,
        votes: &Votes,
        shadow: &Shadow,
    ) -> Check {
        let (id, term) = (cx.node().id, raw.term());
        if before.role != Some(RoleKind::Candidate) || before.hard.term != term {
            return broken("5.2", format!("node {id} leads term {term} without a campaign"));
        }
        if let Some(office) = self.office(term) {
            return broken("1", format!("nodes {} and {id} lead term {term}", cx.nodes[office.at].id));
        }
        let members = Members::of(raw.configuration());
        let heard = self.campaigners[cx.at].grants.with(id);
        let durable = votes.for_candidate(cx, term);
        if !members.is_quorum(heard) || !members.is_quorum(durable) {
            let list = |set: Set| set.iter().map(|id| id.get()).collect::<Vec<_>>();
            return broken(
                "17",
                format!(
                    "node {id} leads term {term}, granted by {:?}, durably {:?}: {members}",
                    list(heard),
                    list(durable)
                ),
            );
        }
        let before = history.last_committed_before(term);
        if let Some((index, committed)) = before
            && index > shadow.before()
            && shadow.line(index) != Some(committed.line)
        {
            return broken(
                "4",
                format!("node {id} leads term {term} without entry {index}, committed in {}", committed.by),
            );
        }
        self.count_election(cx, raw, &members, shadow);
        let mut inherited: Vec<LogPosition> = Vec::new();
        // What later leaders have committed by now may differ from what this one holds.
        for (index, line) in shadow.behind(before.map_or(shadow.before(), |(index, _)| index)) {
            if inherited.last().is_none_or(|last| last.term != line.term) {
                inherited.push(LogPosition::new(line.term, index));
            }
        }
        let office = Office { at: cx.at, start: shadow.last_index().next(), inherited };
        let slot = usize::try_from(term.get()).unwrap_or(usize::MAX);
        if slot >= self.offices.len() {
            self.offices.resize(slot + 1, None);
        }
        self.offices[slot] = Some(office);
        self.led += 1;
        let campaigner = &mut self.campaigners[cx.at];
        campaigner.answered.fill(campaigner.ticks);
        Ok(())
    }

    fn count_election<P: Parts>(&self, cx: &Context<P>, raw: &Raw<P>, members: &Members, shadow: &Shadow) {
        let others = cx.nodes.iter().filter_map(|node| node.raw.as_ref());
        let leaders = others.filter(|other| other.role() == RoleKind::Leader).count();
        let (last, applied) = (shadow.last_index(), raw.applied_index());
        cx.reached.reach_if(leaders > 1, Situation::TwoLeaders);
        cx.reached.reach_if(members.is_joint(), Situation::ElectedInJoint);
        cx.reached.reach_if(members.voters.len() == 1 && !members.is_joint(), Situation::ElectedAlone);
        cx.reached.reach_if(last > raw.commit_index(), Situation::ElectedWithTail);
        cx.reached.reach_if(self.newest_office() == Some(cx.at), Situation::LedAgain);
        let unapplied = shadow.behind(applied).any(|(_, line)| line.is_change);
        cx.reached.reach_if(unapplied, Situation::ElectedUnapplied);
    }

    /// With check-quorum a leader that hears from no quorum steps down (28).
    pub(super) fn check_quorum<P: Parts>(&self, cx: &Context<P>, raw: &Raw<P>) -> Check {
        let config = raw.config();
        if !config.check_quorum {
            return Ok(());
        }
        let election = u64::from(config.election_ticks);
        let limit = if config.check_quorum_each_tick { election + 1 } else { 2 * election + 1 };
        let Campaigner { ticks, answered, .. } = &self.campaigners[cx.at];
        let id = cx.node().id;
        let alive = answered.iter().zip(cx.nodes).filter(|(at, _)| ticks - **at <= limit);
        let alive = alive.fold(Set::EMPTY.with(id), |set, (_, node)| set.with(node.id));
        if !Members::of(raw.configuration()).is_quorum(alive) {
            return broken("28", format!("node {id} leads term {}, and no quorum answers", raw.term()));
        }
        Ok(())
    }
}

/// Where a node stands among all.
fn position(id: NodeId) -> usize {
    usize::try_from(id.get() - 1).unwrap_or(usize::MAX)
}
