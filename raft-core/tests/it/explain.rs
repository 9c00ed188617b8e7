//! Why something isn't so.

use raft_core::{ReadMode, RoleKind, WhyNotCommitted, WhyNotLeader, WhyPaused, WhyReadWaits};

use crate::cluster::{Cluster, disk_with, figure_2};
use crate::words::*;

fn led() -> Cluster {
    let mut cluster = Cluster::with(3, figure_2);
    cluster.elect(1);
    cluster.settle();
    cluster
}

#[test]
fn a_node_says_why_it_does_not_lead() {
    let mut cluster = Cluster::of(&[1, 2, 3], &[4], figure_2);
    let status = cluster.status(1);
    let ticks = status.election_timeout - status.election_elapsed;
    assert_eq!(cluster.node(1).why_not_leader(), Some(WhyNotLeader::WillCampaign { ticks }));
    assert_eq!(cluster.node(4).why_not_leader(), Some(WhyNotLeader::NotAVoter));
    cluster.isolate(3);
    cluster.node_mut(1).campaign().unwrap();
    cluster.pump(1);
    let campaigns = WhyNotLeader::Campaigns {
        pre_vote: false,
        granted: ids(&[1]),
        refused: vec![],
        silent: ids(&[2, 3]),
    };
    assert_eq!(cluster.node(1).why_not_leader(), Some(campaigns.clone()));
    assert_eq!(
        campaigns.to_string(),
        "this node asks for votes: granted by [1], refused by [], no answer from [2, 3]"
    );
    cluster.settle();
    assert_eq!(cluster.node(1).why_not_leader(), None);
    assert_eq!(cluster.node(2).why_not_leader(), Some(WhyNotLeader::Follows { leader: id(1) }));
}

#[test]
fn an_index_says_why_it_is_not_committed() {
    let mut cluster = led();
    assert_eq!(cluster.node(1).why_not_committed(index(1)), None);
    assert_eq!(
        cluster.node(1).why_not_committed(index(9)),
        Some(WhyNotCommitted::BeyondLog { last: index(1) })
    );
    cluster.isolate(1);
    cluster.propose(1, "x").unwrap();
    let why = cluster.node(1).why_not_committed(index(2)).unwrap();
    assert_eq!(why, WhyNotCommitted::NotOnQuorum { have: ids(&[1]), lack: ids(&[2, 3]) });
    assert_eq!(why.to_string(), "durable on [1] and not known to be on [2, 3]");
}

#[test]
fn an_entry_that_waits_for_a_second_zone_says_so() {
    let mut cluster = led();
    let zones = [(id(1), 1), (id(2), 1), (id(3), 2)];
    cluster.node_mut(1).set_commit_groups(Some(zones.into()));
    cluster.isolate(3);
    cluster.propose(1, "x").unwrap();
    let why = cluster.node(1).why_not_committed(index(2)).unwrap();
    assert_eq!(why, WhyNotCommitted::NotOnQuorum { have: ids(&[1]), lack: ids(&[2, 3]) });
    cluster.settle();
    let why = cluster.node(1).why_not_committed(index(2)).unwrap();
    assert_eq!(why, WhyNotCommitted::NotInTwoGroups { have: ids(&[1, 2]), lack: ids(&[3]) });
    assert_eq!(
        why.to_string(),
        "durable on [1, 2], but not in two commit groups, and not known to be on [3]"
    );
    cluster.heal();
    cluster.rounds(2);
    assert_eq!(cluster.node(1).why_not_committed(index(2)), None);
}

/// Node 1 leads term 3 by the vote of node 2; its entries 1 and 2 are of earlier terms, and nothing is committed yet.
fn just_elected() -> Cluster {
    let mut cluster = Cluster::from_disks([(1, disk_with(&[1, 2, 3], &[1, 2], 0))], figure_2);
    cluster.node_mut(1).campaign().unwrap();
    cluster.pump(1);
    cluster.step(message(2, 1, 3, granted())).unwrap();
    assert_eq!((cluster.role(1), cluster.last(1)), (RoleKind::Leader, 3));
    cluster
}

#[test]
fn an_entry_of_an_earlier_term_waits_for_one_of_this() {
    let mut cluster = just_elected();
    cluster.step(message(2, 1, 3, accepted(2))).unwrap();
    let why = cluster.node(1).why_not_committed(index(2)).unwrap();
    assert_eq!(why, WhyNotCommitted::OfEarlierTerm { first_of_term: index(3) });
    assert_eq!(why.to_string(), "it is of an earlier term and commits together with index 3");
    cluster.step(message(2, 1, 3, accepted(3))).unwrap();
    assert_eq!(cluster.node(1).why_not_committed(index(2)), None);
}

#[test]
fn a_peer_says_why_it_is_paused() {
    let mut cluster = Cluster::with(3, |config| {
        figure_2(config);
        config.max_inflight_messages = 2;
    });
    cluster.elect(1);
    cluster.settle();
    assert_eq!(cluster.node(1).why_paused(id(2)), None);
    assert_eq!(cluster.node(1).why_paused(id(9)), Some(WhyPaused::UnknownPeer));
    assert_eq!(cluster.node(2).why_paused(id(1)), Some(WhyPaused::NotLeader));
    cluster.isolate(2);
    for command in ["a", "b", "c"] {
        cluster.propose(1, command).unwrap();
    }
    assert!(matches!(cluster.node(1).why_paused(id(2)), Some(WhyPaused::WindowFull { messages: 2, .. })));
    cluster.node_mut(1).report_unreachable(id(2));
    cluster.propose(1, "d").unwrap();
    let why = cluster.node(1).why_paused(id(2)).unwrap();
    assert_eq!(why, WhyPaused::ProbeUnanswered { next: index(2) });
    assert_eq!(why.to_string(), "a probe from index 2 on isn't answered");
}

#[test]
fn a_read_says_why_it_waits() {
    let mut cluster = led();
    cluster.read(1, "r", ReadMode::Quorum).unwrap();
    let round = WhyReadWaits::Round { answered: ids(&[1]), silent: ids(&[2, 3]) };
    assert_eq!(cluster.node(1).why_read_waits(b"r"), Some(round));
    assert_eq!(cluster.node(1).why_read_waits(b"other"), None);
    cluster.settle();
    assert_eq!(cluster.node(1).why_read_waits(b"r"), None);

    cluster.read(2, "f", ReadMode::Quorum).unwrap();
    assert_eq!(cluster.node(2).why_read_waits(b"f"), Some(WhyReadWaits::LeaderAsked { leader: Some(id(1)) }));

    let mut cluster = just_elected();
    cluster.read(1, "early", ReadMode::Quorum).unwrap();
    let why = WhyReadWaits::FirstCommitOfTerm { first_of_term: index(3) };
    assert_eq!(cluster.node(1).why_read_waits(b"early"), Some(why));
}
