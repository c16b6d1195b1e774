//! Rules as a file has them, and what is asked by requests as they are.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::model::topology::Attachment;
use proptest::prelude::*;

/// A request as JSON has it, with what stands around it.
fn words(json: &str) -> (AttachRequest, How) {
    let mut value: serde_json::Value = serde_json::from_str(json).unwrap();
    value["guest"] = "web".into();
    if value.get("host_if").is_none() {
        value["host_if"] = "br0".into();
    }
    let attachment: Attachment = serde_json::from_value(value).unwrap();
    (attachment.request().unwrap(), attachment.how())
}

fn container(image: &str, name: &str) -> Container {
    let labels = [("team".to_owned(), "web".to_owned())].into();
    Container { image: image.into(), name: name.into(), labels, ..Container::default() }
}

fn check(policy: &Policy, container: &Container, json: &str) -> Result<(), String> {
    let (request, how) = words(json);
    policy.check(container, &request, &how).map_err(|refusal| refusal.to_string())
}

fn policy(text: &str) -> Policy {
    Policy::read(text).unwrap_or_else(|wrong| panic!("{wrong:?}"))
}

#[test]
fn without_a_file_nothing_reaches_beyond_the_guest_s_own_interface() {
    let (usual, web) = (Policy::default(), container("nginx", "web"));
    for json in [
        r#"{"addresses":["192.168.1.10/24"],"gateways":["192.168.1.1"],"mac":"02:00:00:00:00:01","vlan":10}"#,
        r#"{"host_if":"eth0","dynamic":"dhcp:-f","guest_if":"lan"}"#,
        r#"{"host_if":"mac:02:00:00:00:00:09","dynamic":"slaac"}"#,
        r#"{"host_if":"dummy"}"#,
        r#"{"host_if":"eth0","macvlan":"private","mtu":1400,"metric":5,"table":"auto","rate":"1mbit/","offloads":["tx=off"],"dad":"fail","dad_wait":true}"#,
        r#"{"host_if":"eth0","addresses":["192.168.1.10/24"],"host_access":true,"dhcp_timeout":60}"#,
    ] {
        assert_eq!(check(&usual, &web, json), Ok(()), "{json}");
    }
    for (json, what) in [
        (r#"{"host_if":"eth0","direct_phys":true}"#, "--direct-phys"),
        (r#"{"host_if":"eth0","macvlan":"passthru"}"#, "passthru"),
        (r#"{"host_if":"eth0","macvtap":"passthru"}"#, "--macvtap"),
        (r#"{"host_if":"eth0","macvtap":"bridge"}"#, "--macvtap"),
        (r#"{"host_if":"eth0","ipvlan":"l2"}"#, "--ipvlan"),
        (r#"{"host_if":"link:db:eth5"}"#, "a link to another guest"),
        (r#"{"rate":"1mbit/1mbit:1gb"}"#, "--rate with a burst of more than 1 MB"),
        (r#"{"host_if":"lo"}"#, "host interface lo"),
        (r#"{"host_if":"veth12ab34"}"#, "host interface veth12ab34"),
        (r#"{"host_if":"pws-eth0"}"#, "host interface pws-eth0"),
        (r#"{"vlan":10,"vlan_filtering":true}"#, "--vlan-filtering"),
        (r#"{"force":true}"#, "--force"),
        (r#"{"local_if":"docker0"}"#, "-l"),
        (r#"{"link_mac":"02:00:00:00:00:01"}"#, "--link-mac"),
        (r#"{"routes":["10.0.0.0/8 via 192.168.1.1"]}"#, "--route"),
        (r#"{"rules":["from 10.0.0.1 lookup 5"]}"#, "--rule"),
        (r#"{"sysctls":["net.ipv4.conf.IF.arp_ignore=1"]}"#, "--sysctl"),
        (r#"{"netem":"delay=1s,limit=100000000"}"#, "--netem"),
        (r#"{"txqueuelen":100000000}"#, "--txqueuelen"),
        (r#"{"queues":4096}"#, "--queues"),
        (r#"{"guest_if":"auto"}"#, "-i auto"),
        (r#"{"dynamic":"dhclient:-sf /tmp/x"}"#, "an address by dhclient"),
        (r#"{"dynamic":"udhcpc"}"#, "an address by udhcpc"),
        (r#"{"dynamic":"dhcpcd-f"}"#, "an address by dhcpcd"),
        (r#"{"dynamic":"dhcp-container"}"#, "an address by dhcp-container"),
        (r#"{"dynamic":"dhcp","dhcp_dns":true}"#, "--dhcp-dns"),
        (r#"{"dhcp_image":"evil"}"#, "--dhcp-image"),
        (r#"{"ovsdb":"tcp:10.0.0.1:6640"}"#, "--ovsdb"),
        (r#"{"keep_netns":true}"#, "--keep-netns"),
        (r#"{"persist":true}"#, "--persist"),
        (r#"{"host_if":"eth0","addresses":["8.8.8.8/24"],"host_access":true}"#, "--host-access for an address of no private network"),
        (
            r#"{"host_if":"eth0","addresses":["169.254.169.254/32"],"host_access":true}"#,
            "--host-access for an address of no private network",
        ),
        (
            r#"{"host_if":"eth0","addresses":["192.168.1.2/24","2001:db8::1/64"],"host_access":true}"#,
            "--host-access for an address of no private network",
        ),
    ] {
        let told = check(&usual, &web, json).unwrap_err();
        assert_eq!(told, format!("container web: the usual policy (policy.toml can have another) does not allow {what}"), "{json}");
    }
}

#[test]
fn no_name_that_a_script_could_trip_over_comes_to_the_host() {
    let (web, all) = (container("nginx", "web"), policy("[[rules]]\nname = \"a\"\nallow = { parents = \"*\", options = \"all\" }"));
    for json in [
        r#"{"host_if":"br$(id)"}"#,
        r#"{"guest_if":"`id`"}"#,
        r#"{"guest_if":"-rf"}"#,
        r#"{"guest_if":"a;b"}"#,
        r#"{"local_if":"a&b"}"#,
        r#"{"host_if":"brücke"}"#,
    ] {
        for policy in [&Policy::default(), &all] {
            assert!(check(policy, &web, json).unwrap_err().contains("interface name"), "{json}");
        }
    }
    assert_eq!(check(&all, &web, r#"{"host_if":"br-shop_1.5","guest_if":"eth1","local_if":"web0"}"#), Ok(()));
}

const SHOP: &str = r#"
[[rules]]
name = "no database on the LAN"
images = ["postgres", "*/mysql"]
deny = { parents = ["eth*"], addresses = "192.168.1.0/25" }

[[rules]]
name = "shop"
containers = "shop-*"
labels = { team = "w?b" }
user_namespace = false
allow = { parents = ["br0", "eth0"], vlans = ["none", 10, "20-30"], addresses = ["192.168.1.0/24", "fd00::/64", "dhcp"] }

[[rules]]
name = "router"
containers = ["router"]
allow = { kinds = ["usual", "direct-phys"], options = ["usual", "--route"] }

[[rules]]
name = "trusted"
images = "lan:5000/trusted/*"
allow = "everything"
"#;

#[test]
fn rules_are_asked_in_their_order() {
    let policy = policy(SHOP);
    let (shop, pg) = (container("nginx:1", "shop-web-1"), container("postgres:16", "shop-db-1"));
    let (router, trusted) = (container("x", "router"), container("lan:5000/trusted/a:1", "t"));
    for (who, json) in [
        (&shop, r#"{"addresses":["192.168.1.10/24","fd00::1/64"],"vlan":"10,20-30"}"#),
        (&shop, r#"{"host_if":"eth0","dynamic":"dhcp"}"#),
        (&pg, r#"{"addresses":["192.168.1.200/24"]}"#),
        (&router, r#"{"host_if":"eth1","direct_phys":true,"routes":["10.0.0.0/8 via 192.168.1.1"],"mtu":1400}"#),
        (&trusted, r#"{"host_if":"eth1","direct_phys":true,"force":true,"sysctls":["net.ipv4.conf.IF.arp_ignore=1"]}"#),
    ] {
        assert_eq!(check(&policy, who, json), Ok(()), "{json}");
    }
    let rule = |name: &str, line: usize| format!("rule {name:?} (policy.toml:{line})");
    let lacks = "policy.toml, which has no rule to allow it anything,".to_owned();
    for (who, json, by, what) in [
        (&shop, r#"{"host_if":"br1"}"#, rule("shop", 7), "host interface br1"),
        (&shop, r#"{"addresses":["192.168.2.10/24"]}"#, rule("shop", 7), "address 192.168.2.10"),
        (&shop, r#"{"addresses":["192.168.1.10/24","10.0.0.1/8"]}"#, rule("shop", 7), "address 10.0.0.1"),
        (&shop, r#"{}"#, rule("shop", 7), "an interface without an address"),
        (&shop, r#"{"dynamic":"slaac"}"#, rule("shop", 7), "an address by slaac"),
        (&shop, r#"{"addresses":["192.168.1.10/24"],"vlan":11}"#, rule("shop", 7), "VLAN 11"),
        (&shop, r#"{"addresses":["192.168.1.10/24"],"vlan":"10,20-31"}"#, rule("shop", 7), "VLAN 31"),
        (&shop, r#"{"addresses":["192.168.1.10/24"],"vlan":"ad:12"}"#, rule("shop", 7), "VLAN 12"),
        (&shop, r#"{"addresses":["192.168.1.10/24"],"vlan":"8001"}"#, rule("shop", 7), "partition key 8001"),
        (&shop, r#"{"host_if":"eth0","direct_phys":true}"#, rule("shop", 7), "--direct-phys"),
        (&shop, r#"{"addresses":["192.168.1.10/24"],"routes":["default via 192.168.1.1"]}"#, rule("shop", 7), "--route"),
        (&pg, r#"{"host_if":"eth0","dynamic":"dhcp"}"#, rule("no database on the LAN", 2), "host interface eth0"),
        (
            &pg,
            r#"{"host_if":"mac:02:00:00:00:00:09","dynamic":"dhcp"}"#,
            rule("no database on the LAN", 2),
            "host interface mac:02:00:00:00:00:09",
        ),
        (&pg, r#"{"addresses":["192.168.1.20/24"]}"#, rule("no database on the LAN", 2), "address 192.168.1.20"),
        (&router, r#"{"host_if":"eth1","macvlan":"passthru"}"#, rule("router", 14), "passthru"),
        (&router, r#"{"rules":["from 10.0.0.1 lookup 5"]}"#, rule("router", 14), "--rule"),
        (&container("nginx", "other"), r#"{"host_if":"br0"}"#, lacks.clone(), "host interface br0"),
        (&container("evil/trusted/a", "t"), r#"{"host_if":"br0"}"#, lacks.clone(), "host interface br0"),
    ] {
        assert_eq!(check(&policy, who, json), Err(format!("container {}: {by} does not allow {what}", who.name)), "{json}");
    }
}

#[test]
fn whom_a_rule_is_for_has_to_be_all_that_it_says() {
    let policy = policy(SHOP);
    let json = r#"{"addresses":["192.168.1.10/24"]}"#;
    let shop = container("nginx", "shop-web-1");
    assert_eq!(check(&policy, &shop, json), Ok(()));
    for other in [
        Container { has_user_namespace: true, ..shop.clone() },
        Container { labels: [("team".to_owned(), "wb".to_owned())].into(), ..shop.clone() },
        Container { labels: Default::default(), ..shop.clone() },
        Container { name: "ashop-web".into(), ..shop.clone() },
    ] {
        assert!(check(&policy, &other, json).unwrap_err().contains("no rule"), "{other:?}");
    }
}

#[test]
fn what_no_rule_decides_is_denied_unless_the_file_says_usual() {
    let web = container("nginx", "web");
    assert!(check(&policy(""), &web, "{}").is_err());
    assert_eq!(check(&policy("otherwise = \"usual\""), &web, "{}"), Ok(()));
    let told = check(&policy("otherwise = \"usual\""), &web, r#"{"force":true}"#).unwrap_err();
    assert!(told.contains("the usual policy") && told.ends_with("--force"), "{told}");
    let closed = policy("otherwise = \"usual\"\n[[rules]]\nname = \"a\"\ncontainers = \"web\"\ndeny = \"everything\"\n");
    assert!(check(&closed, &web, "{}").is_err() && check(&closed, &container("nginx", "other"), "{}").is_ok());
    let partly = policy(
        "[[rules]]\nname = \"a\"\ndeny = { kinds = \"dummy\", options = \"mtu\", vlans = [\"none\"] }\n[[rules]]\nname = \"b\"\nallow = \"usual\"\n",
    );
    for (json, wanted) in
        [(r#"{"vlan":5}"#, true), ("{}", false), (r#"{"vlan":5,"mtu":1400}"#, false), (r#"{"host_if":"dummy","vlan":5}"#, false)]
    {
        assert_eq!(check(&partly, &web, json).is_ok(), wanted, "{json}");
    }
}

#[test]
fn every_mistake_in_a_file_is_told_with_its_line() {
    let text = r#"otherwise = "allow"
default = "deny"

[[rules]]
image = "nginx"
allow = {}

[[rules]]
name = "a"
containers = []
labels = { team = 5, com.x = "y" }
user_namespace = "yes"
allow = { parents = "", vlans = [0, "30-20", 0x10, true], addresses = ["192.168.1.5/24", "lan"], kinds = "veth", options = ["rout", 7], parent = "br0" }

[[rules]]
name = "b"
deny = "usual"

[[rules]]
name = "b"
deny = "everything"

[[rules]]
name = "b"
allow = "usual"

[[rules]]
name = "c"
"#;
    let wrong = Policy::read(text).unwrap_err();
    let lines: Vec<usize> = wrong.iter().map(|wrong| wrong.line.unwrap()).collect();
    let wanted = [1, 2, 4, 5, 6, 10, 11, 11, 12, 13, 13, 13, 13, 13, 13, 13, 13, 13, 13, 13, 17, 23, 27];
    assert_eq!(lines, wanted, "{}", wrong.iter().map(|wrong| format!("{wrong}\n")).collect::<String>());
    let broken = Policy::read("otherwise = \nrules = \n").unwrap_err();
    assert!(broken.len() > 1 && broken.iter().all(|wrong| wrong.line.is_some()), "{broken:?}");
    for text in ["rules = 5", "rules = [5]", "[rules]\nname = \"a\"", "rules = \"everything\"", "\u{0}"] {
        assert!(Policy::read(text).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn any_text_is_a_policy_or_mistakes(text in "(?s)(\\[\\[rules\\]\\]\n|name = |allow = |deny = |\"everything\"|\\{|\\}|.){0,40}") {
        match Policy::read(&text) {
            Ok(policy) => prop_assert!(policy.otherwise == Otherwise::Deny || text.contains("usual")),
            Err(wrong) => prop_assert!(!wrong.is_empty() && wrong.iter().all(|wrong| wrong.line.is_some())),
        }
    }
}
