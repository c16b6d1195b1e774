//! What queueing disciplines tell of themselves with `-s`.

use super::units::{show_time, show_time64};

/// The counters of a kind (TCA_STATS_APP).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Own {
    /// Lent, borrowed, too large, tokens of rate and ceiling (`struct tc_htb_xstats`).
    Htb([i32; 5]),
    /// Of a class: credit in bytes (`struct tc_sfq_xstats`).
    Sfq(i32),
    /// Of the qdisc: maxpacket, drop_overlimit, ecn_mark, new_flow_count, new_flows_len, old_flows_len, ce_mark,
    /// memory_usage, drop_overmemory (`struct tc_fq_codel_qd_stats`).
    FqCodel([u32; 9]),
    /// Of a class: deficit, ldelay, count, lastcount, dropping, drop_next (`struct tc_fq_codel_cl_stats`).
    FqCodelFlow([i32; 6]),
    /// `struct tc_fq_qd_stats`
    Fq(Box<FqStats>),
}

/// `struct tc_fq_qd_stats`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FqStats {
    /// gc_flows, highprio_packets, tcp_retrans, throttled, flows_plimit, pkts_too_long, allocation_errors
    pub packets: [u64; 7],
    /// Nanoseconds.
    pub next_delayed: i64,
    /// flows, inactive_flows, throttled_flows, unthrottle_latency_ns
    pub flows: [u32; 4],
    /// ce_mark, horizon_drops, horizon_caps
    pub marks: [u64; 3],
}

impl Own {
    /// As tc prints it.
    pub fn show(&self) -> String {
        match self {
            Self::Htb([lends, borrows, giants, tokens, ctokens]) => {
                let count = |n: &i32| n.cast_unsigned();
                let (lends, borrows, giants) = (count(lends), count(borrows), count(giants));
                format!(" lended: {lends} borrowed: {borrows} giants: {giants}\n tokens: {tokens} ctokens: {ctokens}\n")
            }
            Self::Sfq(allot) => format!("  allot {allot}"),
            Self::FqCodel(all) => show_fq_codel(all),
            Self::FqCodelFlow([deficit, delay, count, last, dropping, next]) => {
                let time =
                    |time: i32| if time < 0 { format!("-{}", show_time(time.unsigned_abs())) } else { show_time(time.unsigned_abs()) };
                let delay = show_time(delay.cast_unsigned());
                let dropping = if *dropping == 0 { String::new() } else { format!(" dropping drop_next {}", time(*next)) };
                let (count, last) = (count.cast_unsigned(), last.cast_unsigned());
                format!("  deficit {deficit} count {count} lastcount {last} ldelay {delay}{dropping}")
            }
            Self::Fq(stats) => stats.show(),
        }
    }
}

fn some(name: &str, n: impl Into<u64>) -> String {
    match n.into() {
        0 => String::new(),
        n => format!(" {name} {n}"),
    }
}

fn show_fq_codel([max, over, ecn, new, new_len, old_len, ce, memory, over_memory]: &[u32; 9]) -> String {
    let more = [some("ce_mark", *ce), some("memory_used", *memory), some("drop_overmemory", *over_memory)].concat();
    format!(
        "  maxpacket {max} drop_overlimit {over} new_flow_count {new} ecn_mark {ecn}{more}\n  new_flows_len {new_len} old_flows_len {old_len}"
    )
}

impl FqStats {
    fn show(&self) -> String {
        let [flows, inactive, throttled_flows, latency] = self.flows;
        let [gc, high, retrans, throttled, plimit, long, errors] = self.packets;
        let [ce, drops, caps] = self.marks;
        let next = if self.next_delayed > 0 { format!(" next_packet_delay {}", show_time64(self.next_delayed)) } else { String::new() };
        let latency = if latency == 0 { String::new() } else { format!(" latency {}", show_time64(latency.into())) };
        let mut text = format!("  flows {flows} (inactive {inactive} throttled {throttled_flows}){next}\n  gc {gc} highprio {high}");
        text += &[some("retrans", retrans), format!(" throttled {throttled}{latency}"), some("ce_mark", ce), some("flows_plimit", plimit)]
            .concat();
        if [long, errors, drops, caps] != [0; 4] {
            let caps = some("horizon_caps", caps);
            let caps = if caps.is_empty() { caps } else { format!(" {caps}") };
            text += "\n";
            text += &[some("pkts_too_long", long), some("alloc_errors", errors), some("horizon_drops", drops), caps].concat();
        }
        text
    }
}
