//! The options of an attach that set what an interface is given beyond its addresses.

use clap::Args;

use crate::model::error::InputError;
use crate::model::settings::{Offloads, Settings};

/// The word of `-i` for the first free name.
pub(super) const AUTO_NAME: &str = "auto";

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
    /// A setting of the guest's interface, like net.ipv4.conf.IF.arp_ignore=1; may be repeated
    #[arg(long, value_name = "net.ipv4.conf.IF.NAME=VALUE")]
    sysctl: Vec<String>,
    /// MAC address of the veth pair's end on the host
    #[arg(long, value_name = "MAC")]
    link_mac: Option<String>,
}

impl SettingArgs {
    /// What they ask for; `guest_if` is `-i` as typed.
    pub(super) fn settings(&self, guest_if: Option<&str>) -> Result<Settings, InputError> {
        fn one<T: std::str::FromStr<Err = InputError>>(text: Option<&String>) -> Result<Option<T>, InputError> {
            text.map(|text| text.parse()).transpose()
        }
        fn all<T: std::str::FromStr<Err = InputError>>(texts: &[String]) -> Result<Vec<T>, InputError> {
            texts.iter().map(|text| text.parse()).collect()
        }
        let offloads = if self.offload.is_empty() { Offloads::default() } else { self.offload.join(",").parse()? };
        Ok(Settings {
            mtu: one(self.mtu.as_ref())?,
            metric: self.metric,
            routes: all(&self.route)?,
            rules: all(&self.rule)?,
            table: one(self.table.as_ref())?,
            rate: one(self.rate.as_ref())?,
            netem: one(self.netem.as_ref())?,
            offloads,
            txqueuelen: self.txqueuelen,
            sysctls: all(&self.sysctl)?,
            link_mac: one(self.link_mac.as_ref())?,
            auto_name: guest_if == Some(AUTO_NAME),
        })
    }
}
