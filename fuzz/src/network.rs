//! The network: it loses, repeats, delays and reorders, and its links can be cut in one direction.

use fastrand::Rng;
use raft_core::{Body, Message, NodeId, Term, VoteReply};

macro_rules! kinds {
    ($($name:ident($pattern:pat) = $text:literal,)*) => {
        /// What a message is, shortly.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Kind {
            $(#[doc = $text] $name,)*
        }

        impl Kind {
            /// All of them.
            pub const ALL: &[Kind] = &[$(Kind::$name),*];

            /// What this message is.
            pub fn of(body: &Body) -> Kind {
                match body {
                    $($pattern => Kind::$name,)*
                }
            }

            /// As it stands in scripts.
            pub fn text(self) -> &'static str {
                match self {
                    $(Kind::$name => $text,)*
                }
            }
        }
    };
}

kinds! {
    Append(Body::AppendEntries(_)) = "append",
    AppendReply(Body::AppendEntriesReply(_)) = "append-reply",
    Heartbeat(Body::Heartbeat(_)) = "heartbeat",
    HeartbeatReply(Body::HeartbeatReply(_)) = "heartbeat-reply",
    Vote(Body::RequestVote(_)) = "vote",
    VoteReply(Body::RequestVoteReply(_)) = "vote-reply",
    PreVote(Body::PreVote(_)) = "pre-vote",
    PreVoteReply(Body::PreVoteReply(_)) = "pre-vote-reply",
    Snapshot(Body::InstallSnapshot(_)) = "snapshot",
    Propose(Body::Propose(_)) = "propose",
    ReadIndex(Body::ReadIndex(_)) = "read",
    ReadIndexReply(Body::ReadIndexReply(_)) = "read-reply",
    TransferLeader(Body::TransferLeader(_)) = "transfer",
    TimeoutNow(Body::TimeoutNow) = "timeout-now",
}

/// What the checks want to know of a message after the core has taken it.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    /// What it is.
    pub kind: Kind,
    /// Who sent it.
    pub from: NodeId,
    /// Its term.
    pub term: Term,
    /// It grants a vote, or would.
    pub granted: bool,
}

impl Summary {
    /// Of this message.
    pub fn of(message: &Message) -> Summary {
        let granted = matches!(
            message.body,
            Body::RequestVoteReply(VoteReply::Granted) | Body::PreVoteReply(VoteReply::Granted)
        );
        Summary { kind: Kind::of(&message.body), from: message.from, term: message.term, granted }
    }
}

/// How badly the network behaves. Times are in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Chance of a loss, in thousandths.
    pub loss: u32,
    /// Chance of a repetition, in thousandths.
    pub repetition: u32,
    /// The shortest delay.
    pub min_delay: u64,
    /// The longest delay of most messages.
    pub max_delay: u64,
    /// Chance of a delay of up to a hundred times that, in thousandths.
    pub straggler: u32,
}

impl Weather {
    /// A network without fault.
    pub fn fair() -> Weather {
        Weather { loss: 0, repetition: 0, min_delay: 5_000, max_delay: 10_000, straggler: 0 }
    }

    /// Any weather.
    pub fn any(rng: &mut Rng) -> Weather {
        let min_delay = rng.u64(1_000..20_000);
        Weather {
            loss: if rng.bool() { rng.u32(0..200) } else { 0 },
            repetition: if rng.bool() { rng.u32(0..100) } else { 0 },
            min_delay,
            max_delay: min_delay + rng.u64(1_000..200_000),
            straggler: if rng.bool() { rng.u32(0..50) } else { 0 },
        }
    }

    /// How long a message takes, and whether that is out of the ordinary.
    pub fn delay(&self, rng: &mut Rng) -> (u64, bool) {
        let straggles = self.straggler > 0 && rng.u32(0..1000) < self.straggler;
        let scale = if straggles { rng.u64(1..100) } else { 1 };
        (rng.u64(self.min_delay..=self.max_delay) * scale, scale > 20)
    }
}

/// The links that are cut, each in one direction.
#[derive(Clone, Debug, Default)]
pub struct Links(Vec<(usize, usize)>);

impl Links {
    /// Does a message get through?
    pub fn is_cut(&self, from: usize, to: usize) -> bool {
        self.0.contains(&(from, to))
    }

    /// Messages from one node to another are lost from now on.
    pub fn cut(&mut self, from: usize, to: usize) {
        if !self.is_cut(from, to) {
            self.0.push((from, to));
        }
    }

    /// All links work.
    pub fn mend(&mut self) {
        self.0.clear();
    }
}
