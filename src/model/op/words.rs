//! A step in words.

use super::pair::describe_at;
use super::{Op, Tool};
use crate::model::types::{IfAddr, Side};

impl Op {
    /// The step in words, for `-v` and for errors: `add address 10.1.1.5/24 to eth1 in the guest`.
    pub fn describe(&self) -> String {
        match self {
            Self::AddBridge { name, vlan_filtering: false, .. } => format!("make bridge {name}"),
            Self::AddBridge { name, vlan_filtering: true, .. } => format!("make bridge {name}, which filters VLANs"),
            Self::DelUnusedBridge { name } => format!("remove bridge {name}"),
            Self::AddOvsBridge { name } => format!("make Open vSwitch bridge {name}"),
            Self::DelUnusedOvsBridge { name } => format!("remove Open vSwitch bridge {name}"),
            Self::AddOvsPort { port } => format!("make {} a port of {}", port.name, port.bridge),
            Self::DelOvsPort { port } => format!("remove port {} from {}", port.name, port.bridge),
            Self::AddVeth { host, bridge: Some(bridge), guest, .. } => format!("make veth pair {host} on {bridge} and {}", guest.at),
            Self::AddVeth { host, bridge: None, guest, .. } => format!("make veth pair {host} and {}", guest.at),
            Self::AddPair { pair } => pair.describe(),
            Self::At { guest, step, .. } => describe_at(guest, step),
            Self::SetVlanFiltering { bridge, on: true, .. } => format!("make {bridge} filter VLANs"),
            Self::SetVlanFiltering { bridge, on: false, .. } => format!("make {bridge} filter no VLANs"),
            Self::AddPortVlan { port, vlan } => format!("let {port} carry VLAN {vlan}"),
            Self::DelPortVlan { port, vlan } => format!("take VLAN {vlan} from {port}"),
            Self::AddVlan { name, parent, vlan, .. } => format!("make {name}, {vlan} of {parent}"),
            Self::DelUnusedVlan { name } => format!("remove {name}"),
            Self::AddShared { parent, sharing, link } => format!("make {} {} on {parent}", sharing.kind(), link.at),
            Self::AddIpoib { parent, link, .. } => format!("make IPoIB child {} of {parent}", link.at),
            Self::AddIfb { name } => format!("make ifb {name} in the guest"),
            Self::AddDummy { link } => format!("make dummy {}", link.at),
            Self::DelOwnLink { link } | Self::DelLink { link } => format!("delete {link}"),
            Self::MoveLink { from, to, .. } => match to.side {
                Side::Guest => format!("move {from} into the guest as {}", to.name),
                Side::Host => format!("move {from} back to the host as {}", to.name),
            },
            Self::MovePhy { phy, from, to, .. } => match to.side {
                Side::Guest => format!("move {from} with its phy {} into the guest as {}", phy.name, to.name),
                Side::Host => format!("move {from} with its phy {} back to the host as {}", phy.name, to.name),
            },
            Self::RenameLink { link, name } => format!("rename {link} to {name}"),
            Self::AddAltName { link, name } => format!("give {link} the other name {name}"),
            Self::DelAltName { link, name } => format!("take the other name {name} from {link}"),
            Self::SetMac { link, mac, .. } => format!("set the address of {link} to {mac}"),
            Self::SetMtu { link, mtu, .. } => format!("set the MTU of {link} to {mtu}"),
            Self::SetQueueLen { link, packets, .. } => format!("let {packets} packets wait at {link}"),
            Self::SetOffload { link, offload, .. } => {
                format!("switch {} {} for {link}", offload.feature, if offload.on { "on" } else { "off" })
            }
            Self::SetSysctl { name, sysctl, .. } => format!("set {} in the guest", sysctl.of(name)),
            Self::Tool { step } => {
                let (options, words) = step.parts();
                let program = match step.tool {
                    Tool::Route => format!("ip{options} route"),
                    Tool::Rule => format!("ip{options} rule"),
                    Tool::Tc => "tc".to_owned(),
                };
                format!("{program} {words} {}", on(step.side))
            }
            Self::SetMaster { link, master } => format!("make {link} a port of interface {master} again"),
            Self::SetBridge { port, bridge: Some(bridge), .. } => format!("make {port} a port of {bridge}"),
            Self::SetBridge { port, bridge: None, .. } => format!("make {port} no bridge's port"),
            Self::SetOvsVlans { port, vlans, .. } => format!("let port {port} carry VLAN {vlans}"),
            Self::TakeBack { steps } => format!("take back: {}", first(steps)),
            Self::Again { steps } => format!("again: {}", first(steps)),
            Self::SetRoute { route, before } => format!("put route {route} in the place of {before} in the guest"),
            Self::SetUp { link } => format!("set {link} up"),
            Self::SetDown { link } => format!("set {link} down"),
            Self::EnableIpv6 { name } => format!("switch IPv6 on for {name} in the guest"),
            Self::AcceptRouter { name } => format!("let {name} in the guest take addresses from routers"),
            Self::Probe { link, addrs, .. } => format!("ask on {link} who has {}", list(addrs)),
            Self::Settle { link, addrs, .. } => format!("wait until {} can be used on {link}", list(addrs)),
            Self::AddAddr { link, addr } => format!("add address {addr} to {link}"),
            Self::LeaseAddr { link, addr, .. } => format!("put the lent address {addr} on {link}"),
            Self::DelAddr { link, addr } => format!("delete address {addr} from {link}"),
            Self::RestoreAddr { link, addr } => format!("put address {} back on {link}", addr.addr),
            Self::AddRoute { route } => format!("add route {route} in the guest"),
            Self::DelNewRoute { route } => format!("delete route {route} in the guest"),
            Self::DelRoute { side, route } => format!("delete route {} {}", route.text, on(*side)),
            Self::RestoreRoute { side, route, .. } => format!("put route {} back {}", route.text, on(*side)),
            Self::AddShim { shim } => format!("make {}, the host's own macvlan on {}", shim.name, shim.parent),
            Self::DelUnusedShim { name, .. } => format!("remove {name}"),
            Self::AddNeigh { neigh } => format!("make {} known as {} on {}", neigh.ip, neigh.mac, neigh.link),
            Self::DelNeigh { neigh } => format!("forget {} on {}", neigh.ip, neigh.link),
            Self::AddShimRoute { route } => format!("add route {route} on the host"),
            Self::DelShimRoute { route } => format!("delete route {route} on the host"),
            Self::Host { step } => step.describe(),
        }
    }
}

fn first(steps: &[Op]) -> String {
    let more = if steps.len() > 1 { " with all that followed" } else { "" };
    steps.first().map_or_else(String::new, |step| format!("{}{more}", step.describe()))
}

fn list(addrs: &[IfAddr]) -> String {
    addrs.iter().map(|addr| addr.ip().to_string()).collect::<Vec<_>>().join(", ")
}

fn on(side: Side) -> &'static str {
    match side {
        Side::Host => "on the host",
        Side::Guest => "in the guest",
    }
}
