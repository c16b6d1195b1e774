//! What `-s` adds: counters and times.

use super::units::{show_rate, show_size};

/// The kernel's counters (TCA_STATS2, linux/gen_stats.h).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes and packets that were sent.
    pub sent: Option<(u64, u64)>,
    /// The queue: bytes and packets waiting, drops, requeues, packets over the limit.
    pub queue: Option<Queue>,
    /// The estimator's bytes and packets per second.
    pub rate: Option<(u64, u64)>,
}

/// `struct gnet_stats_queue`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// Packets waiting.
    pub length: u32,
    /// Bytes waiting.
    pub backlog: u32,
    /// Packets dropped.
    pub drops: u32,
    /// Packets put back.
    pub requeues: u32,
    /// Packets held back.
    pub overlimits: u32,
}

impl Stats {
    /// As tc prints them, each line behind `indent`.
    pub fn show(&self, indent: &str) -> String {
        let mut text = String::new();
        if let Some((bytes, packets)) = self.sent {
            text += &format!("{indent}Sent {bytes} bytes {packets} pkt");
        }
        if let Some(q) = self.queue {
            text += &format!(" (dropped {}, overlimits {} requeues {}) ", q.drops, q.overlimits, q.requeues);
        }
        if let Some((bytes, packets)) = self.rate {
            text += &format!("\n{indent}rate {} {packets}pps", show_rate(bytes));
        }
        if let Some(q) = self.queue {
            if self.rate.is_none() {
                text += "\n";
            }
            text += &format!("{indent}backlog {} {}p requeues {}", show_size(q.backlog), q.length, q.requeues);
        }
        text
    }
}

/// Counters as they were before (`struct tc_stats`, linux/pkt_sched.h): the kernel still has them for u32's own police.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OldStats {
    /// Bytes and packets that came.
    pub sent: (u64, u32),
    /// Packets dropped.
    pub drops: u32,
    /// Packets over the limit.
    pub overlimits: u32,
    /// Bytes and packets per second.
    pub rate: (u32, u32),
    /// Bytes and packets waiting.
    pub waiting: (u32, u32),
}

impl OldStats {
    /// As tc prints them.
    pub fn show(self) -> String {
        let some = |n: u32, text: String| if n == 0 { String::new() } else { text };
        let ((bytes, packets), drops, over) = (self.sent, self.drops, self.overlimits);
        let mut text = format!(" Sent {bytes} bytes {packets} pkts (dropped {drops}, overlimits {over}) ");
        let rate = some(self.rate.0, format!("{} ", show_rate(self.rate.0.into()))) + &some(self.rate.1, format!("{}pps ", self.rate.1));
        let waiting =
            some(self.waiting.0, format!("{} ", show_size(self.waiting.0))) + &some(self.waiting.1, format!("{}p ", self.waiting.1));
        if !rate.is_empty() || !waiting.is_empty() {
            text += "\n ";
        }
        for (name, values) in [("rate", rate), ("backlog", waiting)] {
            if !values.is_empty() {
                text += &format!("{name} {values}");
            }
        }
        text
    }
}

/// When an action was made and used (`struct tcf_t`), in hundredths of a second ago.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Made.
    pub installed: u64,
    /// Used for the last time.
    pub used: u64,
    /// To end.
    pub expires: u64,
    /// Used for the first time.
    pub first_used: u64,
}

impl Times {
    /// As tc prints them.
    pub fn show(self) -> String {
        let parts = [("installed", self.installed), ("used", self.used), ("firstused", self.first_used), ("expires", self.expires)];
        let given = parts.iter().filter(|(_, time)| *time != 0);
        given.map(|(name, time)| format!(" {name} {} sec", (time / 100) as u32)).collect()
    }
}
