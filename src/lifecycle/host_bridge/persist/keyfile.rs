//! NetworkManager's keyfiles (nm-settings-keyfile(5)): a profile of the bridge, and one of its port. Files that others can read
//! NetworkManager does not.

use md5::{Digest, Md5};

use super::{Change, Facts, says, sections};
use crate::model::types::Family;

const PRIVATE: u32 = 0o600;

pub(super) fn changes(facts: &Facts<'_>, there: &[(String, String)]) -> Vec<(String, Change)> {
    let Facts { bridge, nic, .. } = facts;
    let (own, port) = (format!("pipework-{bridge}.nmconnection"), format!("pipework-{bridge}-uplink.nmconnection"));
    let is_nics = |(name, text): &&(String, String)| {
        name.ends_with(".nmconnection") && *name != own && *name != port && says(&sections(text), "connection", "interface-name", nic)
    };
    let olds: Vec<&(String, String)> = there.iter().filter(is_nics).collect();
    let mut changes = vec![
        (own.clone(), Change::Write(of_bridge(facts, olds.first().map(|(_, text)| text.as_str())), PRIVATE)),
        (port.clone(), Change::Write(of_port(facts), PRIVATE)),
    ];
    // Two profiles for one NIC, and it is chance which is taken.
    changes.extend(olds.iter().map(|(name, _)| (name.clone(), Change::Aside)));
    changes
}

/// The same each time: NetworkManager knows a profile by it.
fn uuid(name: &str) -> String {
    let hex: String = Md5::digest(format!("pipework {name}").as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    // Version 3, by a name (RFC 9562, section 5.3).
    format!("{}-{}-3{}-8{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
}

fn of_bridge(facts: &Facts<'_>, old: Option<&str>) -> String {
    let Facts { bridge, lasting, .. } = facts;
    let mut text = format!("[connection]\nid={bridge}\nuuid={}\ntype=bridge\ninterface-name={bridge}\n", uuid(bridge.as_str()));
    text += &format!("\n[ethernet]\nmtu={}\n", lasting.mtu);
    lasting.mac.iter().for_each(|mac| text += &format!("cloned-mac-address={mac}\n"));
    text += "\n[bridge]\nstp=false\n";
    let old = old.map(sections).unwrap_or_default();
    for (family, name) in [(Family::Inet, "ipv4"), (Family::Inet6, "ipv6")] {
        text += &format!("\n[{name}]\n");
        match old.iter().find(|(section, _)| section == name) {
            Some((_, lines)) => lines.iter().for_each(|line| text += &format!("{line}\n")),
            None => text += &seen(facts, family),
        }
    }
    text
}

/// What was seen of a family.
fn seen(facts: &Facts<'_>, family: Family) -> String {
    let lasting = facts.lasting;
    let addrs: Vec<_> = lasting.addresses.iter().filter(|addr| addr.family() == family).collect();
    let by_itself = match family {
        Family::Inet => lasting.leased,
        Family::Inet6 => lasting.routers,
    };
    let method = match (by_itself, addrs.is_empty()) {
        (true, _) => "auto",
        (false, false) => "manual",
        (false, true) if family == Family::Inet => "disabled",
        (false, true) => "ignore",
    };
    let mut text = format!("method={method}\n");
    for (n, addr) in (1..).zip(&addrs) {
        text += &format!("address{n}={addr}\n");
    }
    let gateway = lasting.gateways.iter().find(|gateway| addrs.iter().any(|addr| addr.contains(**gateway)));
    gateway.iter().for_each(|gateway| text += &format!("gateway={gateway}\n"));
    let routes = lasting.routes.iter().filter(|(_, gateway)| Family::of(*gateway) == family);
    for (n, (to, gateway)) in (1..).zip(routes) {
        text += &format!("route{n}={to},{gateway}\n");
    }
    text
}

fn of_port(facts: &Facts<'_>) -> String {
    let Facts { bridge, nic, .. } = facts;
    let id = format!("{bridge}-uplink");
    format!(
        "[connection]\nid={id}\nuuid={}\ntype=ethernet\ninterface-name={nic}\nmaster={bridge}\nslave-type=bridge\n\n[ethernet]\n\n[bridge-port]\n",
        uuid(&id)
    )
}
