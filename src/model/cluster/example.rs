//! The file that `pipework cluster init` writes.

/// A cluster of three hosts, with a word on everything that can be said.
pub const EXAMPLE: &str = r#"# A cluster of pipework: this file is the same on all hosts, as /etc/pipework/cluster.toml.
#
#   pipework cluster check    tells every mistake in it
#   pipework cluster up       makes this host so; a second time it does nothing
#   pipework cluster status   tells how all of it stands

# Its keys in Consul begin with pipework/NAME.
name = "lab"
# Consul's name for the place.
datacenter = "dc1"

# Each host knows itself by its host name (or by --host).
[[hosts]]
name = "consul01"
address = "192.168.116.111"
# The NIC that becomes a port of the bridge.
nic = "ens32"
# What its Consul agent is: "server" (three or five of them), or "client".
role = "server"
# labels = { rack = "a" }         # of its Swarm node, and metadata of its Consul node

[[hosts]]
name = "consul02"
address = "192.168.116.112"
nic = "ens32"

[[hosts]]
name = "consul03"
address = "192.168.116.113"
nic = "ens32"

[consul]
# The program; from PATH, or a whole path.
binary = "consul"
data_dir = "/var/lib/pipework/consul"
# Consul's page, at http://HOST:8500/ui where the API is served.
ui = true
# Consul waits this many times its shortest time before it gives up a leader. 1: quick networks. Its own: 5.
raft_multiplier = 1
# Agents that run already are used as they are, and are not started here:
# address = "http://127.0.0.1:8500"
#
# A secret that all agents share: consul keygen > FILE; chmod 600 FILE
# gossip_key_file = "/etc/pipework/gossip.key"
#
# TLS between agents, and to the API, which is then at https://127.0.0.1:8501 only. The certificate has the names
# server.DATACENTER.consul and localhost, and the address 127.0.0.1.
# ca_file = "/etc/pipework/tls/ca.pem"
# cert_file = "/etc/pipework/tls/host.pem"
# key_file = "/etc/pipework/tls/host.key"
#
# Who may do what: "off": everybody everything. "bootstrap": nobody anything without a token; the first is made by the first
# `cluster up`, into token_file; copy that file to the other hosts. "given": token_file has one that you made.
# acl = "bootstrap"
# token_file = "/etc/pipework/consul.token"
#
# Without TLS, the API is for this host's own processes. "everybody" opens it to whoever reaches the host.
# http = "everybody"

[swarm]
# "engine": the engine's own Swarm mode. "classic": the old one, which finds its engines in Consul. "none".
mode = "engine"
# One, three or five hosts.
managers = ["consul01", "consul02", "consul03"]
# port = 2377
# data_path_port = 4789           # of the engine's own overlay networks
# Of classic Swarm: the engines' port, the manager's port and image, what its keys begin with.
# engine_port = 2375
# manager_port = 2377
# image = "swarm"
# path = "swarm"

# The bridge that containers are attached to, on each host.
[bridge]
name = "br0"
# "nic": each host's NIC becomes a port. "vxlan": for hosts on different networks.
kind = "nic"
# It has to answer when the bridge is there.
gateway = "192.168.116.1"
# mtu = 1500
# Also after the next boot: true: by whoever keeps the host's network; or "networkd", "networkmanager", "ifcfg".
# persist = true
# vxlan_id = 4242
# vxlan_port = 4790

# `pipework cluster agent`, which keeps the addresses of pools: `cluster up` starts it, as the last step.
[agent]
run = true
# A host that is lost has its addresses for so many seconds, or up to twice that.
# ttl = 30
# A status page at http://127.0.0.1:8585, for this host alone.
# page = true

# Addresses that are given out: pipework br0 web pool:lan
[[pools]]
name = "lan"
subnet = "192.168.116.0/24"
range = "192.168.116.114-192.168.116.199"
gateway = "192.168.116.1"
# reserved = ["192.168.116.150"]
"#;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::*;
    use super::EXAMPLE;

    #[test]
    fn the_example_is_right_and_so_is_all_that_stands_in_its_comments() {
        let cluster = read(EXAMPLE).unwrap();
        assert_eq!((cluster.hosts.len(), cluster.prefix().as_str()), (3, "pipework/lab"));
        assert!(cluster.pools[0].reserved.contains(&"192.168.116.111".parse().unwrap()), "hosts' own addresses");
        let secure = [
            "gossip_key_file",
            "ca_file",
            "cert_file",
            "key_file",
            "acl",
            "token_file",
            "labels",
            "mtu",
            "persist",
            "ttl",
            "page",
            "reserved",
        ];
        let said = secure.iter().fold(EXAMPLE.to_owned(), |text, key| text.replace(&format!("# {key} ="), &format!("{key} =")));
        let cluster = read(&said).unwrap();
        assert_eq!(cluster.agent_address(), "https://127.0.0.1:8501");
        assert_eq!((cluster.consul.acl, cluster.hosts[0].labels["rack"].as_str()), (AclPart::Bootstrap, "a"));
        assert_eq!(cluster.advice(), Vec::<String>::new());
    }

    #[test]
    fn every_mistake_is_told_with_its_line() {
        let text = r#"name = "Lab"
color = 1
[[hosts]]
name = "a"
address = "10.0.0.1/24"
[[hosts]]
name = "b"
address = "10.0.0.2"
role = "servant"
[[hosts]]
name = "b"
address = "10.0.0.2"
[consul]
ca_file = "/x"
acl = "bootstrap"
raft_multiplier = 99
[swarm]
mode = "engine"
managers = ["c", "b", "b"]
image = "x"
[bridge]
kind = "vxlan"
vxlan_port = 4789
[[pools]]
name = "lan"
subnet = "10.0.0.1/24"
range = "10.0.0.9-10.0.0.5"
gateway = "10.0.1.1"
[[pools]]
name = "lan2"
subnet = "10.0.0.0/16"
"#;
        let wrong = read(text).unwrap_err();
        let lines: Vec<usize> = wrong.iter().map(|wrong| wrong.line.unwrap()).collect();
        assert_eq!(lines, [1, 2, 5, 9, 11, 12, 14, 15, 16, 19, 19, 20, 21, 23, 26, 27, 28, 29], "{wrong:#?}");
    }

    #[test]
    fn what_is_no_toml_is_said_with_its_line() {
        assert_eq!(read("name = \"x\"\nhosts = [\n").unwrap_err().first().and_then(|wrong| wrong.line), Some(2));
        assert!(read("").unwrap_err().iter().any(|wrong| wrong.text.contains("hosts")));
        assert!(read("hosts = 3\nname = 4\nconsul = 1\nswarm = []\nbridge = \"\"\npools = {}\n").unwrap_err().len() > 5);
    }

    #[test]
    fn what_does_not_go_together_is_told_and_what_makes_a_bridge_last_is_true_or_a_keeper() {
        let host = "name='x'\n[[hosts]]\nname='a'\naddress='10.0.0.1'\nnic='e0'\n";
        let told =
            |more: &str| read(&format!("{host}{more}")).unwrap_err().iter().map(|wrong| wrong.text.clone()).collect::<Vec<_>>().join("; ");
        let classic = "[swarm]\nmode='classic'\nimage='swarm'\n";
        assert!(told(classic).contains("name the hosts on which the image's manager runs"));
        let closed = format!("{classic}managers=['a']\n[consul]\nacl='given'\ntoken_file='/t'\n");
        assert!(told(&closed).contains("without a token"));
        assert!(told("[swarm]\nmode='classic'\nmanagers=['a']\nmanager_port=2375\n").contains("the engines' own"));
        assert!(told("[bridge]\nname='br0'\nkind='vxlan'\npersist=true\n").contains("kind = \"nic\""));
        assert!(told("[bridge]\nname='br0'\npersist='netplan'\n").contains("\"networkd\" or \"networkmanager\" or \"ifcfg\""));
        assert!(told("[agent]\nrun='no'\nttl=0\n").contains("give true or false"));
        let persist = |word: &str| read(&format!("{host}[bridge]\nname='br0'\npersist={word}\n")).unwrap().bridge.unwrap().persist;
        use crate::model::host_bridge::Keeper;
        assert_eq!((persist("true"), persist("false")), (Some(Persist::Whoever), None));
        assert_eq!(persist("'networkmanager'"), Some(Persist::Keeper(Keeper::NetworkManager)));
        assert!(read(host).unwrap().agent.run);
    }

    #[test]
    fn even_numbers_are_advised_against() {
        let text = "name='x'\n[[hosts]]\nname='a'\naddress='10.0.0.1'\n[[hosts]]\nname='b'\naddress='10.0.0.2'\n[swarm]\nmode='engine'\nmanagers=['a','b']\n";
        assert_eq!(read(text).unwrap().advice().len(), 3);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "([a-z_]{1,9} ?= ?(\"[^\"]{0,9}\"|[0-9]{1,9}|\\[\\]|true)\n|\\[\\[?(hosts|consul|swarm|bridge|agent|pools)\\]?\\]\n){0,12}") {
            let _ = read(&text);
        }
    }
}
