//! Structured logs through slog, or nothing at all.
//!
//! Fixed strings with the data as key-values, the node's id bound once. `info!` tells changes of role, term, membership
//! and snapshots, `debug!` whatever is dropped, `trace!` each message in one place each way. Without the feature
//! `slog` the macros come to nothing.

use core::fmt;

use raft_proto::NodeId;

/// Where a node's logs go.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    #[cfg(feature = "slog")]
    pub(crate) logger: slog::Logger,
}

impl Trace {
    /// To nowhere.
    pub(crate) fn discard() -> Trace {
        Trace {
            #[cfg(feature = "slog")]
            logger: slog::Logger::root(slog::Discard, slog::o!()),
        }
    }

    /// To this logger, with the node's id.
    #[cfg(feature = "slog")]
    pub(crate) fn to(logger: &slog::Logger, id: NodeId) -> Trace {
        Trace { logger: logger.new(slog::o!("node" => id.get())) }
    }
}

/// Shows an absent node as `none`.
pub(crate) struct OrNone(pub(crate) Option<NodeId>);

impl fmt::Display for OrNone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(id) => id.fmt(f),
            None => f.write_str("none"),
        }
    }
}

macro_rules! emit {
    ($level:ident, $trace:expr, $message:literal, $($key:literal => $value:expr),+) => {{
        #[cfg(feature = "slog")]
        slog::$level!($trace.logger, $message; $($key => %$value),+);
        #[cfg(not(feature = "slog"))]
        {
            let _ = (&$trace, $(&$value),+);
        }
    }};
}

/// A change that an operator wants to see.
macro_rules! info {
    ($($rest:tt)+) => { $crate::trace::emit!(info, $($rest)+) };
}
/// Something that was dropped or refused.
macro_rules! debug {
    ($($rest:tt)+) => { $crate::trace::emit!(debug, $($rest)+) };
}
/// A message.
macro_rules! trace {
    ($($rest:tt)+) => { $crate::trace::emit!(trace, $($rest)+) };
}

pub(crate) use {debug, emit, info, trace};
