//! What a node is told at its start.

use core::fmt;

use raft_proto::{Index, NodeId};

/// The settings of a node. [`Config::new`] gives the defaults; [`RawNode::new`](crate::RawNode::new) validates.
///
/// Times are in ticks, the caller's unit: it calls [`tick`](crate::RawNode::tick) at a steady pace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// This node. It must never change for a given storage, and never be given to another node.
    pub id: NodeId,

    /// Ticks without word from a leader after which a follower campaigns (§5.2). The actual time-out is drawn
    /// from `election_ticks .. 2 * election_ticks`, anew for each campaign. Once in this time a leader looks whether
    /// it has heard from a quorum (see [`check_quorum`](Config::check_quorum)). Default 10; must be more than
    /// `heartbeat_ticks`, and at most 1,000,000.
    pub election_ticks: u32,

    /// Ticks between two heartbeats of a leader. Default 1; at least 1.
    pub heartbeat_ticks: u32,

    /// Ask before a campaign whether it could be won, and raise the term only then, so that a node that comes back
    /// from isolation doesn't unseat a working leader (thesis §9.6). Default true.
    pub pre_vote: bool,

    /// A leader steps down if it hasn't heard from a quorum for `election_ticks`, and a follower that has heard from its
    /// leader within `election_ticks` ignores campaigns (thesis §6.2, §4.2.3). Default true.
    pub check_quorum: bool,

    /// With `check_quorum`, ask at each tick whether a quorum was heard within an election time-out, so that a leader steps down
    /// as soon as that isn't so. Otherwise ask once in an election time-out, as etcd does; then it can take two until a
    /// leader steps down. Default true.
    pub check_quorum_each_tick: bool,

    /// Allows [`ReadMode::Lease`](crate::ReadMode::Lease) (thesis §6.4.1). Needs `check_quorum`; all nodes of a cluster
    /// must agree. For an election time-out after each such read the heartbeats ask the followers for a promise, and an
    /// election waits for what was promised; a restarted node waits an election time-out before it votes. Lease reads are
    /// linearizable only while no clock runs faster or slower than `lease_drift_ticks` allow. Default false.
    ///
    /// A node without it gives no promise, and a leader with it can't tell. So switch it on by restarting every node with it
    /// before the first such read, and off by restarting them an election time-out after the last.
    pub lease_reads: bool,

    /// Ticks by which a leader's lease ends before the followers' promise does. Default 1; a tenth of
    /// `election_ticks` allows for clocks that differ by 10 %. Must leave a lease:
    /// `lease_drift_ticks + 1 < election_ticks` where leases are on.
    pub lease_drift_ticks: u32,

    /// How much one AppendEntries message carries, in encoded bytes of entries; one entry always goes. Zero sends
    /// one entry a message. Default 1 MiB.
    pub max_message_bytes: u64,

    /// What was appended and committed since the last [`Ready`](crate::Ready) is sent with the next: one message for many
    /// proposals, as far as `max_message_bytes` go; and one round of heartbeats for many reads and ticks. Otherwise each proposal,
    /// each new commit index, each read and each tick at which heartbeats are due is a message to each follower, as in etcd.
    /// Default true.
    pub batch_messages: bool,

    /// How many AppendEntries messages with entries may be on their way to a follower (the window of the pipeline,
    /// thesis §10.2.1). Default 256; at least 1.
    pub max_inflight_messages: u32,

    /// How many bytes of payload may be on their way to a follower; the message that crosses the limit still goes. Also
    /// how many encoded bytes of durable entries stay in memory until they are handed out to be applied; more are read back.
    /// Default 64 MiB; at least 1.
    pub max_inflight_bytes: u64,

    /// How many encoded bytes of committed entries may be handed out for application and not yet acknowledged with
    /// [`on_applied`](crate::RawNode::on_applied); one entry always comes. Default 64 MiB; at least 1.
    pub max_committed_bytes: u64,

    /// How many bytes of payload a leader may have appended and not yet applied, before it refuses proposals. One
    /// proposal of any size, and empty ones, always pass. Default 1 GiB; at least 1.
    pub max_uncommitted_bytes: u64,

    /// Pass proposals at a follower on to its leader. A proposal that is passed on can be lost, or arrive twice, and nothing tells;
    /// so a follower refuses them otherwise, and names the leader. Default false.
    pub forward_proposals: bool,

    /// Append membership changes even if an earlier one may be unapplied, or a joint configuration must be left first.
    /// For a caller that keeps these rules itself. Default false.
    pub disable_conf_change_validation: bool,

    /// A leader that a membership change removes, or makes a learner, steps down when it applies the change. Otherwise it
    /// goes on to lead, without a vote, until another takes over. Default true.
    pub step_down_on_removal: bool,

    /// Entries are handed out for application only when they are durable *on this node*. Needed by a caller
    /// that applies the committed entries of a `Ready` before that `Ready`'s own entries are durable. Default false:
    /// the committed entries of a `Ready` may be among its entries, and are to be applied after those are durable.
    pub async_writes: bool,

    /// With `async_writes`, how many committed entries may be handed out for application before they are durable on this
    /// node: a quorum has them. A state machine that survives a crash which the log's tail doesn't is then ahead of the log,
    /// and [`RawNode::new`](crate::RawNode::new) refuses that; so this is for one that doesn't. Default 0.
    pub max_apply_ahead: u32,

    /// Don't tell followers at once that the commit index moved; the next append or heartbeat does. Saves messages where
    /// followers needn't apply soon. Default false.
    pub skip_commit_broadcast: bool,

    /// The last index that the state machine has applied durably, after a restart. Entries after it are handed
    /// out (again). Zero if the state machine starts empty. Default zero.
    pub applied: Index,

    /// Of two candidates with equal logs a voter prefers the one whose priority is not below its own, so that a node with a
    /// low priority leads only where no other can. A node that can't campaign itself prefers nobody. Default 0.
    pub priority: i64,

    /// Where the random numbers start. The node's id is mixed in. Where the storage outlives the node it must differ at each
    /// start, or a late answer to a read of an earlier life could be taken for one to a read of this life. With equal seeds a
    /// run can be repeated.
    pub seed: u64,
}

impl Config {
    /// The defaults, for this node. The seed should be a random number: see [`seed`](Config::seed).
    pub fn new(id: NodeId, seed: u64) -> Config {
        Config {
            id,
            election_ticks: 10,
            heartbeat_ticks: 1,
            pre_vote: true,
            check_quorum: true,
            check_quorum_each_tick: true,
            lease_reads: false,
            lease_drift_ticks: 1,
            max_message_bytes: 1 << 20,
            batch_messages: true,
            max_inflight_messages: 256,
            max_inflight_bytes: 64 << 20,
            max_committed_bytes: 64 << 20,
            max_uncommitted_bytes: 1 << 30,
            forward_proposals: false,
            disable_conf_change_validation: false,
            step_down_on_removal: true,
            async_writes: false,
            max_apply_ahead: 0,
            skip_commit_broadcast: false,
            applied: Index::ZERO,
            priority: 0,
            seed,
        }
    }

    /// Is it one to run with?
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let rules = [
            (self.heartbeat_ticks == 0, ConfigError::NoHeartbeat),
            (self.election_ticks <= self.heartbeat_ticks, ConfigError::ElectionNotAboveHeartbeat),
            (self.election_ticks > 1_000_000, ConfigError::ElectionTooLong),
            (self.max_inflight_messages == 0, ConfigError::NothingInFlight),
            (self.max_inflight_bytes == 0, ConfigError::NothingInFlight),
            (self.max_committed_bytes == 0, ConfigError::NothingCommitted),
            (self.max_uncommitted_bytes == 0, ConfigError::NothingUncommitted),
            (self.lease_reads && !self.check_quorum, ConfigError::LeaseNeedsCheckQuorum),
            (
                self.lease_reads && self.lease_drift_ticks.saturating_add(1) >= self.election_ticks,
                ConfigError::DriftLeavesNoLease,
            ),
            (self.applied > Index::LIMIT, ConfigError::AppliedOutOfRange),
        ];
        match rules.iter().find(|(broken, _)| *broken) {
            Some((_, error)) => Err(*error),
            None => Ok(()),
        }
    }
}

/// What is wrong with a [`Config`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// `heartbeat_ticks` is zero.
    NoHeartbeat,
    /// `election_ticks` isn't above `heartbeat_ticks`.
    ElectionNotAboveHeartbeat,
    /// `election_ticks` is above 1,000,000.
    ElectionTooLong,
    /// `max_inflight_messages` or `max_inflight_bytes` is zero.
    NothingInFlight,
    /// `max_committed_bytes` is zero.
    NothingCommitted,
    /// `max_uncommitted_bytes` is zero.
    NothingUncommitted,
    /// `lease_reads` without `check_quorum`: nothing would bound a lease.
    LeaseNeedsCheckQuorum,
    /// `lease_drift_ticks` is so large that no lease is left.
    DriftLeavesNoLease,
    /// `applied` is beyond [`Index::LIMIT`].
    AppliedOutOfRange,
    /// A setting that can't change while the node runs: its id, its ticks, `async_writes`, `lease_reads`, `applied`, `seed`.
    FixedAtStart,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ConfigError::NoHeartbeat => "heartbeat_ticks must be at least 1",
            ConfigError::ElectionNotAboveHeartbeat => "election_ticks must be more than heartbeat_ticks",
            ConfigError::ElectionTooLong => "election_ticks must be at most 1,000,000",
            ConfigError::NothingInFlight => "max_inflight_messages and max_inflight_bytes must be at least 1",
            ConfigError::NothingCommitted => "max_committed_bytes must be at least 1",
            ConfigError::NothingUncommitted => "max_uncommitted_bytes must be at least 1",
            ConfigError::LeaseNeedsCheckQuorum => "lease_reads needs check_quorum",
            ConfigError::DriftLeavesNoLease => "lease_drift_ticks must be less than election_ticks - 1",
            ConfigError::FixedAtStart => {
                "id, ticks, async_writes, lease_reads, applied and seed can't change while the node runs"
            }
            ConfigError::AppliedOutOfRange => "applied is beyond the largest index",
        })
    }
}

impl core::error::Error for ConfigError {}
