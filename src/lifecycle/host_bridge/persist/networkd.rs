//! systemd.netdev(5) and systemd.network(5). The first file that fits a link counts, by name: ours begin with 00.

use super::{Change, Facts, says, sections};

const READABLE: u32 = 0o644;
const HEAD: &str = "# made by `pipework host up`, and taken away by `pipework host down`\n";

pub(super) fn changes(facts: &Facts<'_>, there: &[(String, String)]) -> Vec<(String, Change)> {
    let Facts { bridge, nic, .. } = facts;
    vec![
        (format!("00-pipework-{bridge}.netdev"), Change::Write(netdev(facts), READABLE)),
        (
            format!("00-pipework-{bridge}-uplink.network"),
            Change::Write(
                format!("{HEAD}[Match]\nName={nic}\n\n[Network]\nBridge={bridge}\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n"),
                READABLE,
            ),
        ),
        (format!("00-pipework-{bridge}.network"), Change::Write(network(facts, there), READABLE)),
    ]
}

fn netdev(facts: &Facts<'_>) -> String {
    let mac = facts.lasting.mac.map(|mac| format!("MACAddress={mac}\n")).unwrap_or_default();
    let (bridge, mtu) = (facts.bridge, facts.lasting.mtu);
    format!("{HEAD}[NetDev]\nName={bridge}\nKind=bridge\n{mac}MTUBytes={mtu}\n\n[Bridge]\nSTP=no\nForwardDelaySec=0\n")
}

/// What the NIC's own file says of the network, as it is written; else what was seen.
fn network(facts: &Facts<'_>, there: &[(String, String)]) -> String {
    let mut text = format!("{HEAD}[Match]\nName={}\n", facts.bridge);
    let is_nics = |(name, text): &&(String, String)| {
        name.ends_with(".network") && !name.starts_with("00-pipework-") && says(&sections(text), "Match", "Name", facts.nic)
    };
    if let Some((_, old)) = there.iter().find(is_nics) {
        for (name, lines) in sections(old).iter().filter(|(name, _)| !matches!(name.as_str(), "Match" | "Link")) {
            text += &format!("\n[{name}]\n");
            lines.iter().for_each(|line| text += &format!("{line}\n"));
        }
        return text;
    }
    let lasting = facts.lasting;
    text += "\n[Network]\n";
    if lasting.leased {
        text += "DHCP=ipv4\n";
    }
    text += &format!("IPv6AcceptRA={}\n", if lasting.routers { "yes" } else { "no" });
    lasting.addresses.iter().for_each(|addr| text += &format!("Address={addr}\n"));
    // Those of leases and routers come with them.
    let is_static = |gateway: &&std::net::IpAddr| lasting.addresses.iter().any(|addr| addr.contains(**gateway));
    lasting.gateways.iter().filter(is_static).for_each(|gateway| text += &format!("Gateway={gateway}\n"));
    for (to, gateway) in &lasting.routes {
        text += &format!("\n[Route]\nDestination={to}\nGateway={gateway}\n");
    }
    text
}
