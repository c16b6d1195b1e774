//! `pipework cluster agent`: the daemon, with a cluster around it.

pub mod clock;
pub mod quorum;
pub mod session;
