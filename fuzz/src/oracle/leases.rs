//! Leases (21): at any moment of simulated time at most one node holds one, and no other leader commits meanwhile. The clocks
//! drift no further than the settings allow.

use super::{Check, Context, broken};
use crate::parts::Parts;

/// Who holds a lease is alone.
pub(super) fn check<P: Parts>(cx: &Context<P>) -> Check {
    if !cx.node().options.config.lease_reads {
        return Ok(());
    }
    let up = cx.nodes.iter().filter_map(|node| node.raw.as_ref());
    let mut holders =
        up.filter(|raw| raw.holds_lease()).map(|raw| format!("{} of term {}", raw.id(), raw.term()));
    match (holders.next(), holders.next()) {
        (Some(one), Some(other)) => broken("21", format!("nodes {one} and {other} hold a lease")),
        _ => Ok(()),
    }
}

/// A node commits something new: nobody else holds a lease.
pub(super) fn check_commit<P: Parts>(cx: &Context<P>) -> Check {
    if !cx.node().options.config.lease_reads {
        return Ok(());
    }
    let others = cx.nodes.iter().filter(|node| node.id != cx.node().id);
    match others.filter_map(|node| node.raw.as_ref()).find(|raw| raw.holds_lease()) {
        Some(holder) => broken(
            "21",
            format!(
                "node {} commits while node {} of term {} holds a lease",
                cx.node().id,
                holder.id(),
                holder.term()
            ),
        ),
        None => Ok(()),
    }
}
