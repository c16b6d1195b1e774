//! What containers ask for by their own words, however hostile: labels, variables, templates in them. Everything here is text and
//! data; what comes through is looked at as the request that it is, not by what the policy says of it.
#![allow(clippy::unwrap_used)]

#[path = "intent/hostile.rs"]
mod hostile;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::LazyLock;

use pipework::cli::words_without_guest;
use pipework::model::intent::{Container, DaemonEnvironment, Host, Intent, Policy, Source, intents};
use pipework::model::request::{AttachRequest, GuestRef};
use pipework::model::topology::{self, Format, How};
use serde_json::Value;

use hostile::{Chance, container, marker};

/// What ten thousand containers ask for, as far as it can be read.
#[derive(Default)]
struct Asked {
    requests: Vec<(Intent, Container, AttachRequest, How)>,
    unreadable: usize,
    ungrammatical: usize,
}

static ASKED: LazyLock<Asked> = LazyLock::new(|| {
    let mut chance = Chance::new();
    let mut asked = Asked::default();
    let host = Host { node: "host1".into(), environment: DaemonEnvironment::default() };
    for _ in 0..10_000 {
        let container = container(&mut chance);
        let all = intents(&container, &host);
        assert!(all.len() <= 66, "{} of {container:?}", all.len());
        for intent in all {
            match intent {
                Ok(intent) => parse(intent, &container, &mut asked),
                Err(error) => {
                    assert!(error.to_string().len() < 20_000 && !error.to_string().chars().any(char::is_control), "{error}");
                    asked.unreadable += 1;
                }
            }
        }
    }
    assert!(!std::path::Path::new(&marker()).exists(), "a shell has read a container's words");
    asked
});

fn guest(container: &Container) -> GuestRef {
    GuestRef::Docker(container.id.clone())
}

/// The name of the option that a word is, with what it begins with; nothing of other words.
fn option_of(word: &str) -> &str {
    match (word.strip_prefix("--"), word.strip_prefix('-')) {
        (Some(_), _) => word.split_inclusive('=').next().unwrap(),
        (None, Some(short)) => &word[..1 + short.chars().next().map_or(0, char::len_utf8)],
        _ => "",
    }
}

fn parse(intent: Intent, container: &Container, asked: &mut Asked) {
    assert!(intent.words.iter().map(String::len).sum::<usize>() <= 4096, "{intent:?}");
    let written = match &intent.source {
        Source::Label(key) => &container.labels[key],
        Source::Env(name) => &container.env[name],
        Source::Cluster(name) => unreachable!("no container says what the cluster does: {name}"),
    };
    let smuggled = intent.words.iter().find(|word| !written.contains(option_of(word)));
    assert_eq!(smuggled, None, "an option that only a template says: {intent:?} of {container:?}");
    let read = words_without_guest(guest(container), &intent.words);
    let read = read.and_then(|(request, options)| Ok((intent.complete(request).map_err(|error| error.to_string())?, options)));
    match read {
        Ok((request, options)) => {
            assert!(!options.dry_run && options.birth == pipework::plan::Birth::Guest);
            asked.requests.push((intent, container.clone(), request, options.how()));
        }
        Err(_) => asked.ungrammatical += 1,
    }
}

/// What a container may have, read off the JSON of its request: the words as the records and reports have them.
type Bounds = fn(&Value) -> Result<(), String>;

/// How many requests the policy lets pass, all of which have to be within the bounds; and how often it refuses each thing.
fn judge(policy: &Policy, bounds: Bounds) -> (usize, BTreeMap<String, usize>) {
    let (mut taken, mut refused) = (0, BTreeMap::new());
    for (intent, container, request, how) in &ASKED.requests {
        match policy.check(container, request, how) {
            Ok(()) => {
                let found = within(request, &guest(container), how, bounds);
                assert_eq!(found, Ok(()), "{intent:?} of {container:?}");
                taken += 1;
            }
            Err(refusal) => *refused.entry(refusal.what).or_default() += 1,
        }
    }
    (taken, refused)
}

fn within(request: &AttachRequest, guest: &GuestRef, how: &How, bounds: Bounds) -> Result<(), String> {
    let json = serde_json::to_value(request).unwrap();
    if json["guest"] != guest.to_string() {
        return Err(format!("another guest: {}", json["guest"]));
    }
    let timeout = how.dhcp_timeout;
    if *how != (How { dhcp_timeout: timeout, ..How::default() }) {
        return Err(format!("beyond the guest: {how:?}"));
    }
    plain(&json)?;
    bounds(&json)
}

/// Names reach the host's own scripts.
fn plain(request: &Value) -> Result<(), String> {
    let names = ["host_if", "guest_if"].into_iter().filter_map(|key| request[key].as_str());
    match names.into_iter().find(|name| !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))) {
        Some(name) => Err(format!("a strange name: {name}")),
        None => Ok(()),
    }
}

/// The keys of an object, all of which have to be among these.
fn only(value: &Value, keys: &[&str]) -> Result<(), String> {
    match value.as_object().into_iter().flatten().find(|(key, _)| !keys.contains(&key.as_str())) {
        Some((key, value)) => Err(format!("{key}: {value}")),
        None => Ok(()),
    }
}

fn addresses(request: &Value) -> Vec<IpAddr> {
    let word = request["addr"].as_str().unwrap_or_default();
    let addresses = word.split('@').next().unwrap().split(',').filter(|one| !one.is_empty() && *one != "0/0");
    addresses.map(|one| one.split('/').next().unwrap().parse().unwrap()).collect()
}

fn usual(request: &Value) -> Result<(), String> {
    only(request, &["host_if", "guest", "guest_if", "addr", "dynamic", "mac", "tag", "sharing", "dad", "host_access", "settings"])?;
    only(&request["settings"], &["mtu", "metric", "table", "rate", "offloads"])?;
    only(&request["sharing"], &["macvlan"])?;
    let host_if = request["host_if"].as_str().unwrap();
    if request["sharing"]["macvlan"] == "passthru" || host_if == "lo" || ["veth", "link:", "pws-"].iter().any(|no| host_if.starts_with(no))
    {
        return Err(format!("a link that is not a guest's to take: {host_if}"));
    }
    let giver = request["dynamic"].as_str().map(|word| word.split(':').next().unwrap());
    if giver.is_some_and(|giver| !["dhcp", "dhcp6", "slaac"].contains(&giver)) {
        return Err(format!("a program of the host's: {giver:?}"));
    }
    let private = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => matches!(ip.octets(), [10, ..] | [192, 168, ..] | [172, 16..=31, ..]),
        IpAddr::V6(ip) => ip.octets()[0] & 0xfe == 0xfc,
    };
    let burst = request["settings"]["rate"].as_str().and_then(|rate| rate.split_once(':'));
    if burst.is_some() {
        return Err(format!("memory of the host's: {burst:?}"));
    }
    if request["host_access"] == true && !addresses(request).iter().all(private) {
        return Err("this host's own traffic".into());
    }
    Ok(())
}

#[test]
fn of_ten_thousand_hostile_containers_none_gets_more_than_the_usual_policy_allows() {
    let (taken, refused) = judge(&Policy::default(), usual);
    // Neither all nor nothing: each danger has come as far as the policy, and much that is harmless past it.
    assert!(taken > 1000 && ASKED.unreadable > 1000 && ASKED.ungrammatical > 1000, "{taken} {refused:?}");
    for what in [
        "--direct-phys",
        "passthru",
        "--macvtap",
        "--ipvlan",
        "--force",
        "--vlan-filtering",
        "-l",
        "--link-mac",
        "--route",
        "--rule",
        "--netem",
        "--sysctl",
        "--txqueuelen",
        "--queues",
        "--dhcp-dns",
        "--dhcp-image",
        "--ovsdb",
        "--keep-netns",
        "a link to another guest",
        "host interface lo",
        "host interface veth12ab34",
        "an address by dhclient",
        "an address by dhcp-container",
        "--host-access for an address of no private network",
    ] {
        assert!(refused.contains_key(what), "{what} was never asked for: {refused:?}");
    }
}

const FILE: &str = r#"
[[rules]]
name = "guests"
allow = { parents = "br0", vlans = ["none", "10-20"], addresses = "192.168.7.0/24", options = ["mtu"] }
"#;

fn file(request: &Value) -> Result<(), String> {
    only(request, &["host_if", "guest", "guest_if", "addr", "mac", "tag", "settings", "sharing"])?;
    only(&request["settings"], &["mtu"])?;
    only(&request["sharing"], &["macvlan"])?;
    if request["host_if"] != "br0" || request["sharing"]["macvlan"] == "passthru" {
        return Err(format!("another parent: {}", request["host_if"]));
    }
    let all = addresses(request);
    let inside = |ip: &IpAddr| matches!(ip, IpAddr::V4(ip) if ip.octets()[..3] == [192, 168, 7]);
    if all.is_empty() || !all.iter().all(inside) {
        return Err(format!("another address: {all:?}"));
    }
    let tag = request["tag"].as_str().unwrap_or("10");
    let vlans: Result<Vec<u16>, _> = tag.trim_start_matches("ad:").split([',', '-']).filter(|id| !id.is_empty()).map(str::parse).collect();
    match vlans {
        Ok(ids) if ids.iter().all(|id| (10..=20).contains(id)) => Ok(()),
        _ => Err(format!("another VLAN: {tag}")),
    }
}

#[test]
fn of_ten_thousand_hostile_containers_none_gets_more_than_a_file_allows() {
    let (taken, refused) = judge(&Policy::read(FILE).unwrap(), file);
    assert!(taken > 100, "{taken} {refused:?}");
    for what in ["host interface eth0", "VLAN 4000", "VLAN 21", "partition key 8001", "address 8.8.8.8", "an address by dhcp", "--metric"] {
        assert!(refused.contains_key(what), "{what} was never asked for: {refused:?}");
    }
}

/// The blocks of a kind in docs/labels.md.
fn blocks(kind: &str) -> Vec<String> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/labels.md")).unwrap();
    let begin = format!("```{kind}\n");
    text.split(&begin).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn the_examples_of_the_documentation_are_so() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/labels.md")).unwrap();
    let [policy, wanted] = blocks("toml").try_into().unwrap();
    let policy = Policy::read(&policy).unwrap();
    assert_eq!(topology::read(&wanted, Format::Toml).unwrap().0.check().unwrap().attachments.len(), 1);
    let quoted = |line: &str, option: &str| {
        line.split(&format!("{option} '")).skip(1).map(|rest| rest.split('\'').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let (mut container, mut read) = (Container { name: "web1".into(), id: "0123456789ab".into(), ..Container::default() }, 0);
    for line in text.lines().filter(|line| line.starts_with("    docker run") || line.starts_with("    podman run")) {
        let pairs = |all: Vec<String>| all.iter().map(|pair| pair.split_once('=').map(|(k, v)| (k.into(), v.into())).unwrap()).collect();
        container.labels = pairs([quoted(line, "--label"), quoted(line, "--annotation")].concat());
        container.env = pairs(quoted(line, "-e"));
        for intent in intents(&container, &Host::default()) {
            let (request, options) = words_without_guest(guest(&container), &intent.unwrap().words).unwrap();
            Policy::default().check(&container, &request, &options.how()).unwrap();
            read += 1;
        }
    }
    assert_eq!(read, 5);
    container.has_user_namespace = true;
    container.labels = [("com.docker.compose.project".to_owned(), "shop".to_owned())].into();
    let (request, options) = words_without_guest(guest(&container), &["br0".into(), "10.0.0.1/24".into()]).unwrap();
    container.name = "shop-web".into();
    let told = policy.check(&container, &request, &options.how()).unwrap_err().to_string();
    assert!(text.contains(&told), "{told}");
}
