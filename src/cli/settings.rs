//! The options of an attach that set what an interface is given beyond its addresses.

use std::num::NonZeroU16;

use clap::Args;

use crate::model::topology::{Attachment, Word};

/// The options as typed.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "What the interface is given")]
pub(super) struct SettingArgs {
    /// MTU of the guest's interface, in bytes
    #[arg(long, value_name = "BYTES")]
    mtu: Option<String>,
    /// Metric of the gateways' routes; other default routes then stay
    #[arg(long, value_name = "N")]
    metric: Option<u32>,
    /// A route, in the words of `ip route add`; may be repeated
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
    route: Vec<String>,
    /// A rule, in the words of `ip rule add`; may be repeated
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
    rule: Vec<String>,
    /// Source routing: what comes from the addresses goes by this interface and its gateway, in a table of its own
    #[arg(long, value_name = "auto|N")]
    table: Option<String>,
    /// The most that passes into and out of the guest, like 10mbit/2mbit, 10mbit/2mbit:64kb, 10mbit/
    #[arg(long, value_name = "IN/OUT[:BURST]")]
    rate: Option<String>,
    /// What becomes of packets that leave: delay=100ms,jitter=10ms,loss=0.3%,duplicate=,corrupt=,reorder=,rate=,limit=
    #[arg(long, value_name = "KEY=VALUE,...")]
    netem: Option<String>,
    /// Features as `ethtool -K` names them: tx=off,tso=off
    #[arg(long, value_name = "FEATURE=on|off,...", value_delimiter = ',')]
    offload: Vec<String>,
    /// How many packets may wait at the interface
    #[arg(long, value_name = "PACKETS")]
    txqueuelen: Option<u32>,
    /// How many queues a veth's ends get, for programs that use more than one processor's [default: 1]
    #[arg(long, value_name = "N")]
    queues: Option<NonZeroU16>,
    /// A setting of the guest's interface, like net.ipv4.conf.IF.arp_ignore=1; may be repeated
    #[arg(long, value_name = "net.ipv4.conf.IF.NAME=VALUE")]
    sysctl: Vec<String>,
    /// MAC address of the veth pair's end on the host
    #[arg(long, value_name = "MAC")]
    link_mac: Option<String>,
}

impl SettingArgs {
    /// The same as words, which the model reads.
    pub(super) fn words(&self) -> Attachment {
        Attachment {
            mtu: self.mtu.as_ref().map(Word::from),
            metric: self.metric,
            routes: self.route.clone(),
            rules: self.rule.clone(),
            table: self.table.as_ref().map(Word::from),
            rate: self.rate.clone(),
            netem: self.netem.clone(),
            offloads: self.offload.clone(),
            txqueuelen: self.txqueuelen,
            queues: self.queues,
            sysctls: self.sysctl.clone(),
            link_mac: self.link_mac.clone(),
            ..Attachment::default()
        }
    }
}
