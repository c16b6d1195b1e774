//! `pipework install cni`: the plugin and a network in place, and the form of a configuration.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::lab::Ran;

fn install(dir: &Path, options: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipework"));
    command.args(["install", "cni", "--bin-dir"]).arg(dir.join("bin")).arg("--dir").arg(dir.join("net.d")).args(options);
    command.output().unwrap().into()
}

fn names(dir: &Path) -> Vec<String> {
    let entries = |name: &str| std::fs::read_dir(dir.join(name)).into_iter().flatten();
    let all = ["bin", "net.d"].into_iter().flat_map(entries);
    let mut names: Vec<String> = all.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_plugin_and_a_network_are_put_in_place_and_what_was_there_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    assert!(install(dir, &["--dry-run"]).out.contains("would be made") && names(dir).is_empty());
    assert_eq!(install(dir, &[]).code, Some(0));
    assert_eq!(names(dir), ["50-pipework.conflist.example", "pipework"]);
    let told = Command::new(dir.join("bin/pipework")).env("CNI_COMMAND", "VERSION").output().unwrap();
    assert!(String::from_utf8(told.stdout).unwrap().contains("supportedVersions"));
    let again = install(dir, &[]);
    assert_eq!(again.out.matches("nothing to do").count(), 2, "{}", again.out);
    assert_eq!(install(dir, &["--network", "lan"]).code, Some(0));
    let list = dir.join("net.d/50-lan.conflist");
    let made: Value = serde_json::from_str(&std::fs::read_to_string(&list).unwrap()).unwrap();
    assert_eq!((&made["name"], &made["plugins"][0]["type"]), (&json!("lan"), &json!("pipework")));
    // A network that somebody has made his own stays, also when all is removed.
    std::fs::write(&list, "{}").unwrap();
    let refused = install(dir, &["--network", "lan"]);
    assert!(refused.code == Some(1) && refused.err.contains("stays as it is"), "{}", refused.err);
    assert_eq!(install(dir, &["--network", "../lan"]).code, Some(1));
    // Another program of that name is kept.
    std::fs::remove_file(dir.join("bin/pipework")).unwrap();
    std::fs::write(dir.join("bin/pipework"), "another").unwrap();
    assert!(install(dir, &[]).out.contains("pipework.bak"));
    assert_eq!(std::fs::read_to_string(dir.join("bin/pipework.bak")).unwrap(), "another");
    assert_eq!(install(dir, &["--network", "lan", "--remove"]).code, Some(0));
    assert_eq!(names(dir), ["50-lan.conflist", "50-pipework.conflist.example", "pipework.bak"]);
    std::fs::write(dir.join("bin/pipework"), "another").unwrap();
    install(dir, &["--remove"]);
    assert_eq!(names(dir), ["50-lan.conflist", "pipework", "pipework.bak"], "another's program is not removed");
}

#[test]
fn the_schema_takes_what_the_plugin_takes() {
    let dir = tempfile::tempdir().unwrap();
    let schema: Value = serde_json::from_str(&install(dir.path(), &["--schema"]).out).unwrap();
    assert!(names(dir.path()).is_empty());
    let validator = jsonschema::validator_for(&schema).unwrap();
    install(dir.path(), &[]);
    let example: Value =
        serde_json::from_str(&std::fs::read_to_string(dir.path().join("net.d/50-pipework.conflist.example")).unwrap()).unwrap();
    for good in [
        example["plugins"][0].clone(),
        json!({ "type": "pipework", "cniVersion": "1.1.0", "name": "lan", "parent": "eth0", "vlan": 10, "mtu": 1400, "macvlan": "bridge",
            "addresses": ["10.1.0.5/24", "fd00::5/64"], "gateways": ["10.1.0.1"], "routes": ["10.9.0.0/16 via 10.1.0.9"], "rate": "10mbit/2mbit",
            "runtimeConfig": { "ips": [] }, "cni.dev/valid-attachments": [] }),
        json!({ "type": "pipework", "bridge": "br0", "ipam": { "type": "host-local", "ranges": [[{ "subnet": "10.1.0.0/24" }]] } }),
        json!({ "type": "pipework", "bridge": "br0", "ipam": { "type": "pipework", "pool": "lan", "routes": [{ "dst": "0.0.0.0/0" }] }, "dns": {} }),
    ] {
        assert!(validator.is_valid(&good), "{good}: {:?}", validator.iter_errors(&good).map(|error| error.to_string()).collect::<Vec<_>>());
    }
    for bad in [
        json!({ "bridge": "br0" }),
        json!({ "type": "pipework", "colour": "red" }),
        json!({ "type": "pipework", "guest": "web" }),
        json!({ "type": "pipework", "addresses": "10.1.0.5/24" }),
        json!({ "type": "pipework", "dns": [] }),
    ] {
        assert!(!validator.is_valid(&bad), "{bad}");
    }
}
