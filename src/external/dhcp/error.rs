//! Why no lease came, and what was heard meanwhile.

use std::net::IpAddr;

use thiserror::Error;

use crate::model::error::KernelError;

/// Why there is no lease.
#[derive(Debug, Error)]
pub enum DhcpError {
    /// The time is over.
    #[error("no lease within {seconds} s: {heard}")]
    TimeOver {
        /// How long was waited.
        seconds: u64,
        /// What came.
        heard: Heard,
    },
    /// A signal asked to stop.
    #[error("interrupted by {0}")]
    Interrupted(&'static str),
    /// The guest ended while we waited.
    #[error("the guest ended")]
    GuestEnded,
    /// The interface was taken away while we waited.
    #[error("the interface is gone")]
    LinkGone,
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// What servers said, for the message when it came to nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Who offered which address last.
    pub offer: Option<(IpAddr, IpAddr)>,
    /// Who refused last (DHCPNAK, or a status of DHCPv6), with its own words.
    pub refusal: Option<(Option<IpAddr>, Option<String>)>,
    /// Answers that no address could be taken from.
    pub unusable: usize,
}

impl std::fmt::Display for Heard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts = Vec::new();
        if let Some((server, addr)) = &self.offer {
            let end = if self.refusal.is_some() { "" } else { ", and then did not confirm it" };
            parts.push(format!("{server} offered {addr}{end}"));
        }
        if let Some((server, words)) = &self.refusal {
            let server = server.map_or("a server".to_owned(), |s| s.to_string());
            let words = words.as_ref().map(|words| format!(": {words:?}")).unwrap_or_default();
            parts.push(format!("{server} refused{words}"));
        }
        if self.unusable > 0 {
            parts.push(format!("{} answers had no address that can be used", self.unusable));
        }
        if parts.is_empty() { f.write_str("nobody answered") } else { f.write_str(&parts.join("; ")) }
    }
}
