//! initscripts' files (sysconfig.txt): the bridge has the address, and the NIC nothing but the bridge's name. A copy of the bridge's file
//! for the NIC, with TYPE=Bridge and the address in it, is what goes wrong by hand: the address is there twice.

use super::{Change, Facts};
use crate::model::types::Family;

const READABLE: u32 = 0o644;
/// Of the NIC, not of the network.
const OF_NIC: [&str; 10] = ["DEVICE", "NAME", "TYPE", "UUID", "HWADDR", "MACADDR", "BRIDGE", "ONBOOT", "STP", "DELAY"];

pub(super) fn changes(facts: &Facts<'_>, there: &[(String, String)]) -> Vec<(String, Change)> {
    let own = format!("ifcfg-{}", facts.nic);
    let old = there.iter().find(|(name, text)| *name == own && value(text, "BRIDGE").is_none()).map(|(_, text)| text.as_str());
    let uuid = there.iter().find(|(name, _)| *name == own).and_then(|(_, text)| value(text, "UUID"));
    vec![
        (format!("ifcfg-{}", facts.bridge), Change::Write(of_bridge(facts, old), READABLE)),
        (own, Change::Write(of_nic(facts, uuid), READABLE)),
    ]
}

fn of_nic(facts: &Facts<'_>, uuid: Option<String>) -> String {
    let Facts { bridge, nic, lasting } = facts;
    let mut text = format!("DEVICE={nic}\nTYPE=Ethernet\nONBOOT=yes\nBOOTPROTO=none\nBRIDGE={bridge}\n");
    lasting.mac.iter().for_each(|mac| text += &format!("HWADDR={mac}\n"));
    text += &format!("MTU={}\n", lasting.mtu);
    uuid.iter().for_each(|uuid| text += &format!("UUID={uuid}\n"));
    text
}

/// What the NIC's file says of the network, as it is written; else what was seen.
fn of_bridge(facts: &Facts<'_>, old: Option<&str>) -> String {
    let Facts { bridge, lasting, .. } = facts;
    let mut text = format!("DEVICE={bridge}\nTYPE=Bridge\nONBOOT=yes\nSTP=no\nDELAY=0\n");
    lasting.mac.iter().for_each(|mac| text += &format!("MACADDR={mac}\n"));
    if let Some(old) = old {
        let is_networks = |line: &&str| key(line).is_some_and(|key| !OF_NIC.contains(&key));
        old.lines().map(str::trim).filter(is_networks).for_each(|line| text += &format!("{line}\n"));
        return text;
    }
    text += &format!("BOOTPROTO={}\n", if lasting.leased { "dhcp" } else { "none" });
    let of = |family: Family| lasting.addresses.iter().filter(move |addr| addr.family() == family);
    for (n, addr) in of(Family::Inet).enumerate() {
        let n = if n == 0 { String::new() } else { n.to_string() };
        text += &format!("IPADDR{n}={}\nPREFIX{n}={}\n", addr.ip(), addr.prefix());
    }
    let gateway = |family: Family| lasting.gateways.iter().find(|gateway| of(family).any(|addr| addr.contains(**gateway)));
    gateway(Family::Inet).iter().for_each(|gateway| text += &format!("GATEWAY={gateway}\n"));
    let six: Vec<String> = of(Family::Inet6).map(ToString::to_string).collect();
    if !six.is_empty() || lasting.routers {
        text += &format!("IPV6INIT=yes\nIPV6_AUTOCONF={}\n", if lasting.routers { "yes" } else { "no" });
    }
    if let Some((first, others)) = six.split_first() {
        text += &format!("IPV6ADDR={first}\n");
        if !others.is_empty() {
            text += &format!("IPV6ADDR_SECONDARIES=\"{}\"\n", others.join(" "));
        }
    }
    gateway(Family::Inet6).iter().for_each(|gateway| text += &format!("IPV6_DEFAULTGW={gateway}\n"));
    text
}

fn key(line: &str) -> Option<&str> {
    line.split_once('=').map(|(key, _)| key.trim()).filter(|key| !key.starts_with('#'))
}

fn value(text: &str, wanted: &str) -> Option<String> {
    let line = text.lines().map(str::trim).find(|line| key(line) == Some(wanted))?;
    line.split_once('=').map(|(_, value)| value.trim().trim_matches('"').to_owned())
}
