//! The state of a world, as `ip -j -d` tells it, without what differs between two worlds by itself.
//!
//! Left out, as not the command's doing or not repeatable: lo, interface indexes, random MAC addresses (that they are
//! random is not), operational state, counters, link-local addresses and their routes, table local.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

use super::lab::Space;
use super::lab::ovs::Ovs;

/// `guest addr eth1 10.1.1.2/24` to `brd 10.1.1.255 scope global`, and so on.
pub type State = BTreeMap<String, String>;

/// Reads all namespaces, the host first. `case` is the text in which MAC addresses known beforehand stand. A server's own
/// namespace is not read, but the host's end of its cable bears its number.
pub fn read(spaces: &[(&str, &Space)], case: &str, server: Option<&Space>) -> State {
    let all = spaces.iter().map(|(name, space)| (*name, space.pid()));
    let pids: Vec<(&str, u32)> = all.chain(server.map(|space| ("server", space.pid()))).collect();
    let mut state = State::new();
    let mut host_links = Value::Null;
    for (side, space) in spaces {
        let seen = Seen::look(space);
        for link in seen.links.as_array().unwrap().iter().filter(|l| l["ifname"] != "lo") {
            let name = link["ifname"].as_str().unwrap();
            let mac = mac(link, seen.mac_kinds.get(name).map_or("", String::as_str), case);
            state.insert(format!("{side} link {}", unpid(name, &pids)), unpid(&describe(link, &host_links, &mac), &pids));
            for addr in link["addr_info"].as_array().unwrap().iter().filter(|a| a["scope"] != "link") {
                let key = format!("{side} addr {} {}/{}", unpid(name, &pids), text(&addr["local"]), addr["prefixlen"]);
                let broadcast = addr["broadcast"].as_str().map(|b| format!("brd {b} ")).unwrap_or_default();
                state.insert(key, format!("{broadcast}scope {}", text(&addr["scope"])));
            }
        }
        for (word, routes) in [("route", &seen.routes), ("route6", &seen.routes6)] {
            let own = |route: &&Value| route["protocol"] == "kernel" && route["dst"] == "fe80::/64";
            for route in routes.as_array().unwrap().iter().filter(|route| !own(route)) {
                let (key, value) = describe_route(route);
                state.insert(format!("{side} {word} {key}"), value);
            }
        }
        state.extend(seen.others.iter().map(|(what, line)| (format!("{side} {what} {line}"), String::new())));
        if *side == "host" {
            host_links = seen.links;
        }
    }
    state
}

/// Adds the database's rows of bridges and ports. Our guests are named by process: they have no container's name.
pub fn read_ovs(state: &mut State, ovs: &Ovs, spaces: &[(&str, &Space)]) {
    for bridge in ovs.vsctl("list-br").lines() {
        state.insert(format!("ovs bridge {bridge}"), String::new());
        for port in ovs.vsctl(&format!("list-ports {bridge}")).lines() {
            let columns = ["tag", "trunks", "vlan_mode"].map(|column| format!("{column} {}", ovs.get("Port", port, column)));
            let ids = ovs.get("Interface", port, "external_ids");
            let mut line = format!("on {bridge} {} {}", columns.join(" "), ids);
            let mut port = port.to_owned();
            for (side, space) in spaces {
                let pid = space.pid();
                line = line.replace(&format!("\"{pid}\""), &format!("<{side}>")).replace(&format!("pl{pid}"), &format!("pl<{side}>"));
                port = port.replace(&format!("pl{pid}"), &format!("pl<{side}>"));
            }
            let container = |word: &&str| !word.contains("pipework.containe");
            let line: Vec<&str> = line.split(' ').filter(container).collect();
            state.insert(format!("ovs port {port}"), line.join(" ").replace(['{', '}', '"'], ""));
        }
    }
}

/// A guest's PID at the end of a name, as its placeholder.
fn unpid(line: &str, pids: &[(&str, u32)]) -> String {
    let word = |word: &str| {
        let ends = ["pl", "srv"].iter().flat_map(|end| pids.iter().map(move |(side, pid)| (end, side, pid)));
        let mut found = ends.map(|(end, side, pid)| (word.strip_suffix(&format!("{end}{pid}")), end, side));
        let found = found.find_map(|(rest, end, side)| Some(format!("{}{end}<{side}>", rest?)));
        found.unwrap_or_else(|| word.to_owned())
    };
    line.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

fn describe(link: &Value, host: &Value, mac: &str) -> String {
    let info = &link["linkinfo"];
    let mut line = text(&info["info_kind"]);
    for (field, label) in [("mode", "mode"), ("protocol", "protocol"), ("id", "id")] {
        if matches!(line.split(' ').next(), Some("vlan" | "macvlan")) && !info["info_data"][field].is_null() {
            let _ = write!(line, " {label} {}", text(&info["info_data"][field]));
        }
    }
    if let Some(below) = below(link, host) {
        let _ = write!(line, " over {below}");
    }
    let up = link["flags"].as_array().unwrap().iter().any(|flag| flag == "UP");
    let _ = write!(line, " mtu {} {} mac {mac}", link["mtu"], if up { "up" } else { "down" });
    if let Some(master) = link["master"].as_str() {
        let _ = write!(line, " master {master}");
    }
    for name in link["altnames"].as_array().into_iter().flatten() {
        let _ = write!(line, " altname {}", text(name));
    }
    line
}

/// The other end or the link below: by name when it is here, else the host's of that index.
fn below(link: &Value, host: &Value) -> Option<String> {
    if let Some(name) = link["link"].as_str() {
        return Some(name.to_owned());
    }
    let index = link["link_index"].as_u64()?;
    let found = host.as_array()?.iter().find(|l| l["ifindex"] == index)?;
    Some(format!("the host's {}", text(&found["ifname"])))
}

/// The MAC address, when it is known beforehand; else where it comes from (addr_assign_type in sysfs-class-net).
fn mac(link: &Value, kind: &str, case: &str) -> String {
    let address = text(&link["address"]);
    match kind {
        _ if case.to_lowercase().contains(&address) => address,
        // Of a bridge: it does not follow the ports, but nobody can say beforehand what it is.
        "3" if ["bridge", "openvswitch", "tun"].iter().any(|kind| link["linkinfo"]["info_kind"] == *kind) => "pinned".into(),
        "3" => address,
        "2" => "inherited".into(),
        "1" => "random".into(),
        "0" => "permanent".into(),
        other => panic!("addr_assign_type {other:?} of {}", link["ifname"]),
    }
}

/// What a namespace's tools print.
struct Seen {
    links: Value,
    routes: Value,
    routes6: Value,
    /// Each link's addr_assign_type, for which there is nothing in netlink.
    mac_kinds: BTreeMap<String, String>,
    /// Rules, routes of other tables and traffic control, where somebody made some: what they are, and the tool's line.
    others: Vec<(&'static str, String)>,
}

impl Seen {
    /// A sysfs shows the namespace that it was mounted in.
    fn look(space: &Space) -> Self {
        let script = "mount -t sysfs sysfs /sys; ip -j -d addr show; echo @; ip -j -d -4 route show table main; echo @; \
            ip -j -d -6 route show table main; echo @; cd /sys/class/net; grep -H . */addr_assign_type; echo @; \
            for v in 4 6; do ip -$v rule show 2> /dev/null || :; done; echo @; ip -4 -d route show table all; ip -6 -d route show table all; echo @; \
            tc qdisc show; for dev in *; do tc class show dev $dev; tc filter show dev $dev; tc filter show dev $dev ingress 2> /dev/null || :; done";
        let output = space.command("unshare").args(["--mount", "--", "sh", "-ec", script]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let parts: Vec<&str> = text.split("@\n").collect();
        let json = |part: &str| if part.trim().is_empty() { Value::Array(Vec::new()) } else { serde_json::from_str(part).unwrap() };
        let kinds = parts[3].lines().filter_map(|line| line.split_once("/addr_assign_type:"));
        let mac_kinds = kinds.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect();
        let mut others = Vec::new();
        for (what, part, usual) in [
            ("rule", parts[4], &["from all lookup local", "from all lookup main", "from all lookup default"][..]),
            ("route", parts[5], &["table local", "table main"]),
            ("tc", parts[6], &["qdisc noqueue 0:", "qdisc pfifo_fast 0:", "qdisc mq 0:"]),
        ] {
            // A route of table main has no table in it.
            let is_usual = |line: &&str| usual.iter().any(|u| line.contains(u)) || (what == "route" && !line.contains(" table "));
            let lines = part.lines().map(str::trim_end).filter(|line| !line.is_empty() && !is_usual(line));
            others.extend(lines.map(|line| (what, tool_line(line))));
        }
        Self { links: json(parts[0]), routes: json(parts[1]), routes6: json(parts[2]), mac_kinds, others }
    }
}

/// A tool's line without what hangs on the machine and the moment: how often the kernel refers to a queue, a count of packets.
fn tool_line(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let is_count = |word: &str| ["refcnt", "direct_packets_stat"].contains(&word);
    let counts = |at: usize| is_count(words[at]) || (at > 0 && is_count(words[at - 1]));
    (0..words.len()).filter(|at| !counts(*at)).map(|at| words[at]).collect::<Vec<_>>().join(" ")
}

fn describe_route(route: &Value) -> (String, String) {
    let metric = route["metric"].as_u64().map(|m| format!(" metric {m}")).unwrap_or_default();
    let dev = route["dev"].as_str().map(|d| format!(" dev {d}")).unwrap_or_default();
    let key = format!("{}{metric}{dev}", text(&route["dst"]));
    let mut value = text(&route["type"]);
    for (field, label) in [("gateway", "via"), ("protocol", "proto"), ("scope", "scope"), ("prefsrc", "src")] {
        if let Some(word) = route[field].as_str() {
            let _ = write!(value, " {label} {word}");
        }
    }
    for (field, label) in [("nexthops", "nexthops"), ("metrics", "metrics")] {
        if let Some(all) = route[field].as_array() {
            let _ = write!(value, " {label} {}", Value::from(all.clone()).to_string().replace('"', ""));
        }
    }
    // linkdown comes and goes with the carrier; onlink is asked for.
    if route["flags"].as_array().is_some_and(|flags| flags.iter().any(|f| f == "onlink")) {
        value += " onlink";
    }
    (key, value)
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What is missing, too much, or not the same.
pub fn difference(wanted: &State, is: &State) -> Result<(), String> {
    let mut lines = Vec::new();
    for (key, value) in wanted.iter().filter(|(key, value)| is.get(*key) != Some(value)) {
        lines.push(format!("- {key}: {value}"));
    }
    for (key, value) in is.iter().filter(|(key, value)| wanted.get(*key) != Some(value)) {
        lines.push(format!("+ {key}: {value}"));
    }
    if lines.is_empty() { Ok(()) } else { Err(lines.join("\n")) }
}
