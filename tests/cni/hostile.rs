//! Configurations and environments that nobody means well: generated, huge, cut off, deep, of wrong types. Each is answered in the
//! protocol's form, and nothing is changed.
//!
//! `PIPEWORK_TEST_CASES=100000 cargo test --test cni hostile` runs it long; 2,000 cases when nothing is said, and of processes a
//! fiftieth of that.

use pipework::model::cni::{Arguments, Call, Failure, NetConf, Verb};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::lab::{Lab, assert_same, both, no_root};
use crate::runtime::{Attachment, left, raw};

fn cases() -> u32 {
    std::env::var("PIPEWORK_TEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(2000)
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Any JSON, with our own keys and words more often than not.
fn value() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        ".{0,20}",
        "[0-9.:/]{0,20}",
        Just("pipework".to_owned()),
        Just("10.1.0.0/24".to_owned()),
        Just("10.1.0.5/24".to_owned()),
        Just("br7".to_owned()),
        Just("1.1.0".to_owned()),
        Just("0.0.0.0/0".to_owned()),
        Just("../../bin/sh".to_owned()),
        Just("$(reboot)".to_owned()),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.prop_map(Value::from)
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((key(), inner), 0..6).prop_map(|all| Value::Object(all.into_iter().collect()))
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    let known = [
        "cniVersion",
        "name",
        "type",
        "bridge",
        "parent",
        "host_if",
        "ipam",
        "subnet",
        "ranges",
        "rangeStart",
        "gateway",
        "routes",
        "dst",
        "gw",
        "pool",
        "pools",
        "runtimeConfig",
        "ips",
        "mac",
        "bandwidth",
        "ingressRate",
        "args",
        "cni",
        "prevResult",
        "interfaces",
        "address",
        "interface",
        "dns",
        "nameservers",
        "addresses",
        "mtu",
        "vlan",
        "rate",
        "macvlan",
        "sysctls",
        "guest_if",
        "cni.dev/valid-attachments",
        "containerID",
        "ifname",
        "dad",
    ];
    prop_oneof![4 => prop::sample::select(known.to_vec()).prop_map(str::to_owned), 1 => ".{0,12}"]
}

/// A configuration of which a part is somebody's invention.
fn configuration() -> impl Strategy<Value = Value> {
    let base = json!({ "cniVersion": "1.1.0", "name": "lan", "type": "pipework", "bridge": "br7", "ipam": { "type": "pipework", "subnet": "10.1.0.0/24" },
        "cni.dev/valid-attachments": [], "prevResult": { "interfaces": [] } });
    prop::collection::vec((key(), value(), any::<bool>()), 1..5).prop_map(move |changes| {
        let mut made = base.clone();
        for (key, value, in_ipam) in changes {
            match made.get_mut("ipam").and_then(Value::as_object_mut).filter(|_| in_ipam) {
                Some(ipam) => ipam.insert(key, value),
                None => made.as_object_mut().unwrap().insert(key, value),
            };
        }
        made
    })
}

fn verb() -> impl Strategy<Value = Verb> {
    prop::sample::select(vec![Verb::Add, Verb::Del, Verb::Check, Verb::Gc, Verb::Status])
}

/// What reading comes to: a request that is valid, or an error with one of the specification's codes.
fn is_read(input: &[u8], verb: Verb) -> Result<(), TestCaseError> {
    let conf = match NetConf::read(input, verb, &Arguments::default()) {
        Ok(conf) => conf,
        Err((version, error)) => {
            prop_assert!([1, 2, 6, 7].contains(&error.code()), "{error}");
            let told = serde_json::to_string(&Failure::new(version, &error)).unwrap();
            prop_assert!(told.len() < 30_000, "{} bytes", told.len());
            return Ok(());
        }
    };
    let key = conf.key("web".parse().unwrap(), "eth0".parse().unwrap(), None);
    if let Ok(key) = key {
        prop_assert!(key.to_string().parse::<pipework::model::cni::Key>().is_ok_and(|read| read == key));
        if let Err(error) = conf.request(&key, "/run/netns/web", None) {
            prop_assert_eq!(error.code(), 7);
        }
    }
    Ok(())
}

#[test]
fn hostile_configurations_are_read_or_refused_and_never_a_panic() {
    let mut runner = TestRunner::new(config(cases()));
    runner.run(&(configuration(), verb()), |(conf, verb)| is_read(conf.to_string().as_bytes(), verb)).unwrap();
    let mut runner = TestRunner::new(config(cases() / 2));
    runner.run(&(value(), verb()), |(value, verb)| is_read(value.to_string().as_bytes(), verb)).unwrap();
    let mut runner = TestRunner::new(config(cases() / 2));
    runner.run(&(prop::collection::vec(any::<u8>(), 0..200), verb()), |(bytes, verb)| is_read(&bytes, verb)).unwrap();
    // A good one that is cut off, or of which a byte is another.
    let good = json!({ "cniVersion": "1.0.0", "name": "lan", "bridge": "br7", "ipam": { "type": "pipework", "pool": "lan" } }).to_string();
    let mut runner = TestRunner::new(config(cases() / 2));
    let changed = (0..good.len(), any::<u8>(), any::<bool>());
    runner
        .run(&(changed, verb()), |((at, byte, cut), verb)| {
            let mut bytes = good.clone().into_bytes();
            if cut {
                bytes.truncate(at)
            } else {
                bytes[at] = byte
            }
            is_read(&bytes, verb)
        })
        .unwrap();
}

#[test]
fn hostile_variables_are_read_or_refused_and_never_a_panic() {
    let text = || prop_oneof![".{0,40}", "[a-zA-Z0-9_.;=/:-]{0,60}", "((IP|MAC|K8S_POD_NAME|IgnoreUnknown|X)=[a-z0-9.:,/]{0,20};?){0,5}"];
    let command =
        prop_oneof![prop::sample::select(vec!["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"]).prop_map(str::to_owned), ".{0,6}"];
    let mut runner = TestRunner::new(config(cases()));
    runner
        .run(&(command, text(), text(), text(), text()), |(command, container, netns, interface, arguments)| {
            let given = |name: &str| match name {
                "CNI_COMMAND" => Some(command.clone()),
                "CNI_CONTAINERID" => Some(container.clone()),
                "CNI_NETNS" => Some(netns.clone()),
                "CNI_IFNAME" => Some(interface.clone()),
                "CNI_ARGS" => Some(arguments.clone()),
                _ => Some("/nowhere".to_owned()),
            };
            if let Err(error) = Call::read(given) {
                prop_assert_eq!(error.code(), 4);
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn hostile_input_to_the_program_is_answered_in_the_protocol_s_form_and_changes_nothing() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    let at = Attachment::new("web", &guest);
    let before = both(&lab, &guest);
    let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    let huge = format!("{{\"cniVersion\":\"1.1.0\",\"name\":\"lan\",\"x\":\"{}\"}}", "a".repeat(9 << 20));
    let long = |key: &str| json!({ "cniVersion": "1.1.0", "name": "lan", "bridge": "br7", key: "a".repeat(1 << 20) }).to_string();
    let many = json!({ "cniVersion": "1.1.0", "name": "lan", "bridge": "br7", "addresses": vec!["10.1.0.5/24"; 100_000] }).to_string();
    let nested = format!("{{\"cniVersion\":\"1.1.0\",\"name\":\"lan\",\"bridge\":\"br7\",\"args\":{}}}", deep(100_000));
    let all =
        [deep(100_000), huge, long("bridge"), long("colour"), long("name"), many, nested, "\u{feff}{}".into(), "{}\0".into(), "nul".into()];
    for (input, verb) in all.iter().flat_map(|input| ["ADD", "CHECK", "STATUS", "DEL", "GC"].map(|verb| (input, verb))) {
        let answer = raw(&lab, &at.variables(verb), input.as_bytes());
        // What goes is known by its record: of such as is not there, all is gone already.
        if !(verb == "DEL" && answer.well) {
            let (code, words) = answer.error();
            assert!([2, 6, 7].contains(&code), "{verb} {code} {}", &words[..words.len().min(200)]);
            assert!(answer.out.len() < 30_000, "{verb}: {} bytes", answer.out.len());
        }
    }
    // Generated ones: those that happen to be good are refused for want of a container.
    let mut runner = TestRunner::new(config(cases() / 50));
    let nobody = Attachment { netns: "/nowhere".into(), ..at.clone() };
    runner
        .run(&(configuration(), prop::sample::select(vec!["ADD", "CHECK", "STATUS", "GC", "DEL"])), |(conf, verb)| {
            let answer = raw(&lab, &nobody.variables(verb), conf.to_string().as_bytes());
            if answer.well {
                prop_assert!(answer.out.is_empty() && verb != "ADD", "{:?}", answer);
            } else {
                answer.error();
            }
            Ok(())
        })
        .unwrap();
    assert_same(&before, &both(&lab, &guest), "after all of them");
    assert_eq!(left(&lab), Vec::<String>::new());
}
