//! What a run came across: each situation that is worth meeting has a name and a counter, so that one that is never met is
//! noticed.

use std::cell::Cell;

macro_rules! situations {
    ($($name:ident: $text:literal,)*) => {
        /// A situation in which implementations go wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Situation {
            $(#[doc = $text] $name,)*
        }

        impl Situation {
            /// All of them.
            pub const ALL: &[Situation] = &[$(Situation::$name),*];

            /// In words.
            pub fn text(self) -> &'static str {
                match self {
                    $(Situation::$name => $text,)*
                }
            }
        }
    };
}

situations! {
    // Elections
    CandidateTriesAgain: "a candidate campaigns again, since nobody won",
    PreVoteLost: "a pre-candidate is refused by a quorum",
    CandidateFollows: "a candidate finds that another has won",
    Deposed: "a leader hears of a later term",
    QuorumLost: "a leader steps down, since no quorum is heard",
    LeaderRemoved: "a leader steps down, since a change removed or demoted it",
    LedAgain: "a node leads again, and nobody did in between",
    VoteRefused: "a candidate is refused a vote",
    LateGrant: "a vote arrives when its term is over",
    GrantToLeader: "a vote arrives at one who leads by then",
    CampaignIgnored: "a campaign is ignored, since a leader was heard lately",
    ElectedInJoint: "a leader is elected in a joint configuration",
    ElectedAlone: "the only voter elects itself",
    ElectedWithTail: "a leader is elected with entries that aren't committed",
    ElectedUnapplied: "a leader is elected with a membership change that isn't applied",
    CommitLearned: "a candidate learns from a refusal what is committed",
    TwoLeaders: "two nodes lead at the same time, in different terms",
    LateCommit: "a leader commits when another has a later term",
    // Logs
    TailReplaced: "a follower's entries are replaced by a new leader's",
    WriteVoided: "entries are replaced whose write is still on its way",
    ThreeVersions: "three leaders wrote different entries at one index",
    LateAck: "a write is acknowledged when its entries were replaced",
    Rejected: "an append doesn't fit the follower's log",
    OldAppend: "an append arrives from a leader whose term is over",
    AppendBeforeCommit: "an append arrives that lies before the follower's commit index",
    LateReply: "an acknowledgement arrives when its term is over",
    WindowFull: "the window of a pipeline is full",
    LimitReached: "a proposal is refused, since too much is uncommitted",
    CommitOfEarlierTerm: "entries of earlier terms are committed with one of the leader's own",
    // Snapshots
    SnapshotRestored: "a snapshot replaces a log",
    SnapshotKnown: "a snapshot arrives whose last entry the log holds",
    SnapshotOld: "a snapshot arrives that ends before the commit index",
    SnapshotInJoint: "a snapshot holds a joint configuration",
    SnapshotDemotes: "a snapshot makes a learner of a voter",
    SnapshotLost: "a snapshot doesn't arrive, and that is reported",
    SnapshotWhileApplying: "a snapshot is written while earlier entries are still being applied",
    CrashWithSnapshot: "power is lost while a snapshot is being written",
    SnapshotToNewcomer: "a node joins by a snapshot",
    SnapshotWanted: "a state machine is damaged, and its node asks for a snapshot",
    SnapshotTwice: "a snapshot is wanted while an earlier one is being written",
    SnapshotWithTail: "a snapshot that was asked for comes with the entries behind it",
    // Disks
    WriteLost: "power is lost before a write is done",
    WriteTorn: "power is lost in the middle of a write",
    WriteHalved: "the entries of a write that power interrupts are of a term that isn't durable yet",
    VoteLost: "power is lost before a vote is durable",
    CommitLost: "power is lost after a write that needn't be synced",
    CrashBeforeWrite: "power is lost between sending and writing",
    CrashAfterWrite: "power is lost between writing and answering",
    CrashBeforeApply: "power is lost between answering and applying",
    CrashBeforeAdvance: "power is lost between applying and acknowledging",
    ReadFailed: "the storage can't be read",
    Fetched: "entries were fetched that weren't at hand",
    DiskStuck: "a disk is stuck",
    DiskSpoilt: "a disk is found to be spoilt",
    DiskReplaced: "a node comes back with an empty disk",
    LossNoticed: "a node notices that it lost what it had acknowledged",
    AppliedAhead: "entries are applied before they are durable here",
    RestartedAhead: "a node restarts with more applied than its snapshot holds",
    RestartedUnapplied: "a node restarts with a membership change that isn't applied",
    // Membership
    JointEntered: "a joint configuration is entered",
    LeftByItself: "a joint configuration is left by itself",
    LeftExplicitly: "a joint configuration is left because someone proposes it",
    ChangeRefused: "a membership change is refused, since another isn't applied",
    ChangeImpossible: "a membership change turns out to be none when it is applied",
    Promoted: "a learner becomes a voter",
    Demoted: "a voter becomes a learner",
    Removed: "a node is removed",
    Readmitted: "a node that was removed is added again",
    Renewed: "a change takes a learner out and brings it in again",
    ChangeInJoint: "a membership change is committed in a joint configuration, and doesn't leave it",
    CrashInJoint: "power is lost in a joint configuration",
    StrangerAnswers: "an answer arrives from a node that is no member",
    // Transfers
    TransferDone: "leadership is handed over",
    TransferTimedOut: "a transfer takes too long",
    TransferTargetRemoved: "the target of a transfer is removed",
    TransferSuperseded: "a transfer is replaced by another",
    TransferRefusesProposal: "a proposal is refused during a transfer",
    TransferWaits: "the target of a transfer must catch up first",
    TimeoutNowLate: "the word to campaign comes too late",
    // Reads and clients
    ReadByQuorum: "a leader's read is confirmed by a quorum",
    ReadByLease: "a read is answered by a lease",
    ReadForwarded: "a follower's read is answered",
    ReadEarly: "a read waits for the first commit of a term",
    ReadDropped: "a read is dropped, since the leader changed",
    ReadTimedOut: "a read is dropped, since no answer came",
    ReadWaits: "a confirmed read waits for entries to be applied",
    SentTwice: "a command is committed twice, and takes effect once",
    ProposalForwarded: "a proposal is passed on to the leader",
    ProposalLost: "a proposal that was appended is replaced",
    // The network
    Duplicate: "a message arrives twice",
    Straggler: "a message arrives after many others that were sent later",
    Echo: "messages of long ago arrive",
    Rivals: "nodes campaign at the same time, and again before they can have been answered",
    Stranded: "a leader is cut off and takes on proposals, and its successor throws its log away",
    Paused: "a node doesn't run for a while",
    CallerBusy: "a leader is called again before its caller has looked for a Ready",
    CutOff: "a node is cut off in one direction",
    Reconfigured: "settings are changed while a node runs",
}

/// How often each situation was met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached(Vec<Cell<u64>>);

impl Default for Reached {
    fn default() -> Reached {
        Reached(vec![Cell::new(0); Situation::ALL.len()])
    }
}

impl Reached {
    /// It was met.
    pub fn reach(&self, situation: Situation) {
        if let Some(count) = self.0.get(situation as usize) {
            count.set(count.get() + 1);
        }
    }

    /// It was met if this is so.
    pub fn reach_if(&self, met: bool, situation: Situation) {
        if met {
            self.reach(situation);
        }
    }

    /// Adds what another run met.
    pub fn add(&self, other: &Reached) {
        for (count, more) in self.0.iter().zip(&other.0) {
            count.set(count.get() + more.get());
        }
    }

    /// Every situation, with how often it was met.
    pub fn counts(&self) -> impl Iterator<Item = (Situation, u64)> {
        Situation::ALL.iter().copied().zip(self.0.iter().map(Cell::get))
    }

    /// Those that weren't.
    pub fn missing(&self) -> impl Iterator<Item = Situation> {
        self.counts().filter(|(_, count)| *count == 0).map(|(situation, _)| situation)
    }
}
