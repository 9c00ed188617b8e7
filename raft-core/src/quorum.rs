//! Quorums (§5.2, §5.4.2; thesis §4.3): pure arithmetic over sets of voters. No message, term or role is known here.

mod joint;
mod majority;
#[cfg(test)]
mod tests;

pub use joint::JointQuorum;
pub use majority::MajorityQuorum;

/// How a vote stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoteResult {
    /// A quorum has granted.
    Won,
    /// A quorum can no longer grant.
    Lost,
    /// Neither yet.
    Pending,
}
