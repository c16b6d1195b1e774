//! Whoever holds a lease goes on renewing it on the link that it knows: the user is told which one that is.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::model::host_bridge::AddrNow;
use crate::model::types::{Family, IfName};

/// Programs that hold leases, as the kernel knows them (/proc/PID/comm has 15 bytes), and how each is told.
const CLIENTS: [(&str, &str); 6] = [
    ("dhclient", "end it, and start: dhclient TO"),
    ("dhcpcd", "dhcpcd -x FROM; dhcpcd TO"),
    ("udhcpc", "end it, and start: udhcpc -i TO"),
    ("systemd-network", "write its configuration with --persist=networkd, and: networkctl reload"),
    ("NetworkManager", "write its configuration with --persist=networkmanager, and: nmcli connection reload"),
    ("connmand", "tell it to leave FROM alone, and to configure TO"),
];

/// A warning for each leased address's client that is found, or one that none is.
pub(super) fn to_restart(moved: &[AddrNow], from: &IfName, to: &IfName) -> Vec<String> {
    let leased: Vec<String> =
        moved.iter().filter(|addr| addr.lent && addr.facts.addr.family() == Family::Inet).map(|addr| addr.facts.addr.to_string()).collect();
    if leased.is_empty() {
        return Vec::new();
    }
    let what = format!("{} is leased, and keeps its time on {to}", leased.join(", "));
    let found = found(from);
    if found.is_empty() {
        return vec![format!("{what}: start its DHCP client again for {to} before that is over")];
    }
    found
        .into_iter()
        .map(|(client, pid, words)| {
            let words = words.replace("FROM", from.as_str()).replace("TO", to.as_str());
            format!("{what}, but {client} ({pid}) renews it on {from}: {words}")
        })
        .collect()
}

/// The clients in this network namespace: those of one interface only when that is it.
fn found(link: &IfName) -> Vec<(&'static str, u32, &'static str)> {
    let Ok(home) = fs::metadata("/proc/thread-self/ns/net") else { return Vec::new() };
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let is_here =
        |pid: &u32| fs::metadata(format!("/proc/{pid}/ns/net")).is_ok_and(|other| other.ino() == home.ino() && other.dev() == home.dev());
    let client = |pid: u32| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        let (client, words) = CLIENTS.into_iter().find(|(client, _)| name.trim() == *client)?;
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let mut arguments = line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        let is_for_all = matches!(client, "systemd-network" | "NetworkManager" | "connmand");
        (is_for_all || arguments.any(|word| word == link.as_str())).then_some((client, pid, words))
    };
    pids.filter(is_here).filter_map(client).collect()
}
