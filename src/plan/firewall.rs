//! What a packet filter does with a packet that a bridge forwards: of its rules as `iptables-save` and `nft -j` print them.
//!
//! The packet is one that no rule names: a rule that asks for more than the bridge does not count. So a policy that lets nothing pass
//! is told, and a ban of one port is not.

use ipnetwork::IpNetwork;
use serde_json::Value;

use crate::model::types::IfAddr;

/// So deep chains may lead into each other.
const DEPTH: usize = 16;

/// A table of `iptables-save`.
#[derive(Debug, Default)]
struct Table<'a> {
    policies: Vec<(&'a str, &'a str)>,
    rules: Vec<(&'a str, Vec<&'a str>)>,
}

impl<'a> Table<'a> {
    fn read(text: &'a str, wanted: &str) -> Self {
        let mut table = Self::default();
        let mut is_it = false;
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('*') {
                is_it = name == wanted;
            } else if let (true, Some(chain)) = (is_it, line.strip_prefix(':')) {
                let mut words = chain.split_ascii_whitespace();
                table.policies.extend(words.next().zip(words.next()));
            } else if let (true, Some(rule)) = (is_it, line.strip_prefix("-A ")) {
                let mut words = rule.split_ascii_whitespace();
                if let Some(chain) = words.next() {
                    table.rules.push((chain, words.collect()));
                }
            }
        }
        table
    }

    fn has_chain(&self, name: &str) -> bool {
        self.policies.iter().any(|(chain, _)| *chain == name)
    }

    /// The rule, or policy, that drops the packet; `Ok` when one lets it pass, `Err(None)` when none says anything.
    fn verdict(&self, chain: &str, bridge: &str, depth: usize) -> Result<(), Option<String>> {
        for (_, words) in self.rules.iter().filter(|(name, _)| *name == chain) {
            if !is_sure(words, bridge) {
                continue;
            }
            let target = words.iter().position(|word| matches!(*word, "-j" | "-g")).and_then(|at| words.get(at + 1)).copied();
            match target {
                Some("ACCEPT") => return Ok(()),
                Some("DROP" | "REJECT") => return Err(Some(format!("-A {chain} {}", words.join(" ")))),
                Some("RETURN") => return Err(None),
                Some(other) if depth < DEPTH && self.has_chain(other) => match self.verdict(other, bridge, depth + 1) {
                    Err(None) => {}
                    said => return said,
                },
                _ => {}
            }
        }
        Err(None)
    }
}

/// Whether a rule's conditions are met by every packet from one port of the bridge to another.
fn is_sure(words: &[&str], bridge: &str) -> bool {
    let mut words = words.iter().copied().peekable();
    let mut negated = false;
    while let Some(word) = words.next() {
        match word {
            "!" => {
                negated = true;
                continue;
            }
            "-j" | "-g" => return true,
            "-i" | "-o" => {
                let is_it =
                    words.next().is_some_and(|name| name.strip_suffix('+').map_or(name == bridge, |start| bridge.starts_with(start)));
                if is_it == negated {
                    return false;
                }
            }
            "-m" if matches!(words.peek(), Some(&("physdev" | "comment"))) => {
                words.next();
            }
            "--physdev-is-bridged" if !negated => {}
            "--comment" => skip_quoted(&mut words),
            _ => return false,
        }
        negated = false;
    }
    true
}

fn skip_quoted<'a>(words: &mut impl Iterator<Item = &'a str>) {
    let Some(first) = words.next().filter(|word| word.starts_with('"')) else { return };
    let ends = |word: &str| word.ends_with('"') && !word.ends_with("\\\"");
    if first.len() > 1 && ends(first) {
        return;
    }
    let _ = words.find(|word| ends(word));
}

/// What drops a packet that a bridge forwards, and the chain in which a rule is to let it pass.
pub(super) fn forward_drop(text: &str, bridge: &str) -> Option<(String, &'static str)> {
    let table = Table::read(text, "filter");
    let chain = if table.has_chain("DOCKER-USER") { "DOCKER-USER" } else { "FORWARD" };
    match table.verdict("FORWARD", bridge, 0) {
        Ok(()) => None,
        Err(Some(rule)) => Some((rule, chain)),
        Err(None) => {
            let (_, policy) = table.policies.iter().find(|(name, _)| *name == "FORWARD")?;
            (*policy == "DROP").then(|| ("policy DROP of chain FORWARD".to_owned(), chain))
        }
    }
}

/// Rules of table raw that drop packets of the bridge, or to and from its networks.
pub(super) fn raw_drops(text: &str, bridge: &str, networks: &[IfAddr]) -> Vec<String> {
    let table = Table::read(text, "raw");
    let is_ours = |words: &[&str]| {
        let value = |option: &str| words.iter().position(|word| *word == option).and_then(|at| words.get(at + 1)).copied();
        let negated = |option: &str| words.windows(2).any(|pair| pair == ["!", option]);
        let fits = |network: &str| {
            let Ok(network) = network.parse::<IpNetwork>() else { return false };
            networks.iter().any(|own| network.contains(own.ip()) || own.contains(network.ip()))
        };
        let address = ["-d", "-s"].into_iter().find(|option| value(option).is_some_and(fits) && !negated(option));
        let by_link = value("-i").is_none_or(|name| (name == bridge) != negated("-i"));
        is_sure(words, bridge) || (address.is_some() && by_link)
    };
    let drops = |words: &[&str]| words.windows(2).any(|pair| pair == ["-j", "DROP"]);
    let all = table.rules.iter().filter(|(chain, words)| *chain == "PREROUTING" && drops(words) && is_ours(words));
    all.map(|(chain, words)| format!("-A {chain} {}", words.join(" "))).collect()
}

/// A chain of nftables that lets nothing pass from one port to another, apart from those that iptables has there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NftDrop {
    pub(super) family: String,
    pub(super) table: String,
    pub(super) chain: String,
}

pub(super) fn nft_drops(text: &str, bridge: &str, is_filtered: bool) -> Vec<NftDrop> {
    let Ok(document) = serde_json::from_str::<Value>(text) else { return Vec::new() };
    let objects = || document["nftables"].as_array().into_iter().flatten();
    let mut all = Vec::new();
    for chain in objects().filter_map(|object| object.get("chain")) {
        let field = |name: &str| chain[name].as_str().unwrap_or_default().to_owned();
        let (family, table, name) = (field("family"), field("table"), field("name"));
        let is_iptables = matches!(family.as_str(), "ip" | "ip6") && table == "filter";
        let sees_it = family == "bridge" || (is_filtered && matches!(family.as_str(), "ip" | "ip6" | "inet"));
        if field("hook") != "forward" || field("policy") != "drop" || is_iptables || !sees_it {
            continue;
        }
        let of_chain =
            |rule: &&Value| (&rule["family"], &rule["table"], &rule["chain"]) == (&chain["family"], &chain["table"], &chain["name"]);
        if !objects().filter_map(|object| object.get("rule")).filter(of_chain).any(|rule| lets_pass(rule, bridge)) {
            all.push(NftDrop { family, table, chain: name });
        }
    }
    all
}

/// Whether a rule lets pass whatever comes in by the bridge.
fn lets_pass(rule: &Value, bridge: &str) -> bool {
    let expressions = || rule["expr"].as_array().into_iter().flatten();
    let is_bridges = |expression: &Value| {
        let condition = &expression["match"];
        let key = condition["left"]["meta"]["key"].as_str().unwrap_or_default();
        condition["op"] == "=="
            && matches!(key, "iifname" | "oifname" | "iif" | "oif" | "ibrname" | "obrname")
            && condition["right"] == bridge
    };
    let is_plain = |expression: &Value| expression.get("match").is_none_or(|_| is_bridges(expression));
    expressions().any(|expression| expression.get("accept").is_some()) && expressions().all(is_plain)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const DOCKER: &str = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:DOCKER-USER - [0:0]\n:DOCKER-FORWARD - [0:0]\n\
        -A FORWARD -j DOCKER-USER\n-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n-A FORWARD -i docker0 ! -o docker0 -j ACCEPT\n\
        -A DOCKER-USER -j RETURN\nCOMMIT\n";

    #[test]
    fn what_docker_leaves_drops_what_a_bridge_forwards_and_the_rule_goes_into_its_chain() {
        assert_eq!(forward_drop(DOCKER, "br0"), Some(("policy DROP of chain FORWARD".into(), "DOCKER-USER")));
        let mended = DOCKER.replace("-A DOCKER-USER -j RETURN", "-A DOCKER-USER -i br0 -o br0 -j ACCEPT\n-A DOCKER-USER -j RETURN");
        assert_eq!(forward_drop(&mended, "br0"), None);
        assert!(forward_drop(&mended, "br1").is_some());
    }

    #[test]
    fn rules_count_as_they_are_written() {
        for (rules, drops) in [
            ("", false),
            ("-A FORWARD -j REJECT --reject-with icmp-port-unreachable", true),
            ("-A FORWARD -p tcp --dport 25 -j DROP", false),
            ("-A FORWARD -m physdev --physdev-is-bridged -j ACCEPT\n-A FORWARD -j DROP", false),
            ("-A FORWARD -i br+ -j ACCEPT\n-A FORWARD -j DROP", false),
            ("-A FORWARD -m comment --comment \"no \\\" way\" -i br0 -j DROP", true),
            ("-A FORWARD ! -i br0 -j DROP", false),
            ("-A FORWARD ! -i eth9 -j DROP", true),
            ("-A FORWARD -s 10.0.0.0/8 -j ACCEPT\n-A FORWARD -j DROP", true),
            ("-A FORWARD -j FORWARD", false),
        ] {
            let text = format!("*filter\n:FORWARD ACCEPT [0:0]\n{rules}\nCOMMIT\n");
            assert_eq!(forward_drop(&text, "br0").is_some(), drops, "{rules}");
        }
    }

    #[test]
    fn only_drops_of_table_raw_that_meet_the_bridge_are_told() {
        let networks = ["192.168.1.2/24".parse().unwrap()];
        for (rule, drops) in [
            ("-A PREROUTING -d 172.17.0.2/32 ! -i docker0 -j DROP", false),
            ("-A PREROUTING -d 192.168.1.50/32 ! -i docker0 -j DROP", true),
            ("-A PREROUTING -d 192.168.1.50/32 ! -i br0 -j DROP", false),
            ("-A PREROUTING -i br0 -j DROP", true),
            ("-A PREROUTING -i br0 -p udp -j DROP", false),
            ("-A PREROUTING -j DROP", true),
        ] {
            assert_eq!(
                raw_drops(&format!("*raw\n:PREROUTING ACCEPT [0:0]\n{rule}\nCOMMIT\n"), "br0", &networks).len(),
                usize::from(drops),
                "{rule}"
            );
        }
    }

    #[test]
    fn a_chain_of_nftables_that_drops_is_told_unless_a_rule_lets_the_bridge_pass() {
        let chain = |family: &str| {
            format!(
                r#"{{"chain":{{"family":"{family}","table":"t","name":"fwd","type":"filter","hook":"forward","prio":0,"policy":"drop"}}}}"#
            )
        };
        let rule = r#"{"rule":{"family":"inet","table":"t","chain":"fwd","expr":[{"match":{"op":"==","left":{"meta":{"key":"iifname"}},"right":"br0"}},{"accept":null}]}}"#;
        let text = format!(r#"{{"nftables":[{}]}}"#, chain("inet"));
        assert_eq!(nft_drops(&text, "br0", true).len(), 1);
        assert_eq!(nft_drops(&text, "br0", false), []);
        assert_eq!(nft_drops(&format!(r#"{{"nftables":[{},{rule}]}}"#, chain("inet")), "br0", true), []);
        assert_eq!(nft_drops(&format!(r#"{{"nftables":[{}]}}"#, chain("bridge")), "br0", false).len(), 1);
        for text in ["", "{}", "[]", r#"{"nftables":[{"chain":7},{"rule":[]}]}"#] {
            assert_eq!(nft_drops(text, "br0", true), []);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(\\*(filter|raw)\n)?(:[A-Z]{0,8} [A-Z-]{0,6}\n)?(-A [A-Z]{0,10}( [!-z]{0,8}){0,6}\n){0,6}") {
            let _ = (forward_drop(&text, "br0"), raw_drops(&text, "br0", &[]), nft_drops(&text, "br0", true));
        }
    }
}
