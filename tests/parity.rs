//! Parity: each static command line of the original pipework, and the state it leaves, ours against the original's.
//!
//! The table is parity/cases.txt and cases-nic.txt. Without more, ours is compared with parity/recorded.json, which was recorded from the
//! original (commit 9ba97f1). With the script's path in PIPEWORK_ORIGINAL both run, each in a world of its own, and are
//! compared live; with PIPEWORK_RECORD=FILE besides, the original's states are written there. The judge is `ip -j -d`.
//! VLANs and dummies need a kernel that has them; otherwise the states do not depend on the kernel.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "parity/case.rs"]
mod case;
mod lab;
#[path = "parity/original.rs"]
mod original;
#[path = "parity/rules.rs"]
mod rules;
#[path = "parity/state.rs"]
mod state;
#[path = "parity/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

use case::{Case, End, cases};
use lab::ovs::no_ovs;
use lab::{has_kind, no_root, skip};
use original::Original;
use serde::{Deserialize, Serialize};
use state::{State, difference};
use world::World;

/// What the original's commands of a case came to, and the state they left.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Record {
    exit: Vec<i32>,
    state: State,
}

type Records = BTreeMap<String, Record>;

#[test]
fn a_guest_on_a_linux_bridge_ends_as_with_the_original() {
    group("bridge", None);
}

#[test]
fn every_netmask_ends_as_with_the_original() {
    group("netmask", None);
}

#[test]
fn gateways_and_default_routes_end_as_with_the_original() {
    group("gateway", None);
}

#[test]
fn mac_addresses_written_out_or_made_of_a_string_end_as_with_the_original() {
    group("mac", None);
}

#[test]
fn a_guest_with_ipv6_ends_as_with_the_original() {
    group("ipv6", None);
}

#[test]
fn a_guest_on_a_nic_ends_as_with_the_original() {
    group("nic", None);
}

#[test]
fn a_nic_moved_into_a_guest_ends_as_with_the_original() {
    group("direct", None);
}

#[test]
fn a_guest_on_a_vlan_of_a_nic_ends_as_with_the_original() {
    group("vlan", Some("vlan"));
}

#[test]
fn a_guest_with_a_dummy_ends_as_with_the_original() {
    group("dummy", Some("dummy"));
}

#[test]
fn an_address_from_a_dhcp_server_ends_as_with_the_original() {
    group("dhcp", None);
}

#[test]
fn a_guest_on_an_open_vswitch_ends_as_with_the_original() {
    if !no_ovs() {
        group("ovs", None);
    }
}

#[test]
fn a_new_open_vswitch_bridge_ends_as_with_the_original() {
    if !no_ovs() {
        group("new-ovs", Some("ovs"));
    }
}

#[test]
fn routes_rules_and_traffic_control_in_a_guest_end_as_with_the_original() {
    group("inside", None);
}

#[test]
fn netem_in_a_guest_ends_as_with_the_original() {
    group("netem", Some("netem"));
}

#[test]
fn what_the_original_refuses_is_refused_and_leaves_nothing() {
    group("error", None);
}

#[test]
fn what_the_original_gets_wrong_on_a_vlan_is_refused() {
    group("vlan-error", Some("vlan"));
}

#[test]
fn every_case_has_a_group_that_runs_it_and_a_record() {
    const GROUPS: [&str; 16] = [
        "bridge",
        "netmask",
        "gateway",
        "mac",
        "ipv6",
        "nic",
        "direct",
        "vlan",
        "dummy",
        "error",
        "vlan-error",
        "inside",
        "netem",
        "dhcp",
        "ovs",
        "new-ovs",
    ];
    let cases = cases();
    let records = recorded();
    assert!(cases.len() >= 44, "{} cases", cases.len());
    for case in &cases {
        assert!(GROUPS.contains(&case.group.as_str()), "no test runs the group of: {}", case.title);
        assert_eq!(cases.iter().filter(|c| c.title == case.title).count(), 1, "two cases: {}", case.title);
        assert!(recording().is_some() || records.contains_key(&case.title), "not recorded: {}", case.title);
    }
    let stale: Vec<&String> = records.keys().filter(|title| cases.iter().all(|c| c.title != **title)).collect();
    assert!(stale.is_empty(), "recorded, but no case: {stale:?}");
}

/// Runs the cases of a group, all of them, and fails with everything that differs.
fn group(name: &str, needs: Option<&str>) {
    if no_root() {
        return;
    }
    if let Some(kind) = needs.filter(|kind| !has_kind(kind)) {
        let _ = skip(&format!("{name}: this kernel has no {kind}"));
        return;
    }
    let original = std::env::var_os("PIPEWORK_ORIGINAL").map(|script| Original::new(PathBuf::from(script)));
    let all = cases();
    let mine: Vec<&Case> = all.iter().filter(|c| c.group == name).collect();
    assert!(!mine.is_empty(), "no case in group {name}");
    let mut theirs = Records::new();
    for case in &mine {
        eprintln!("{}", case.title);
        let record = match &original {
            Some(original) => run_original(original, case),
            None => recorded().get(&case.title).unwrap_or_else(|| panic!("not recorded: {}", case.title)).clone(),
        };
        theirs.insert(case.title.clone(), record);
    }
    if let Some(file) = recording() {
        assert!(original.is_some(), "PIPEWORK_RECORD needs PIPEWORK_ORIGINAL");
        record(&file, &theirs, &all);
    }
    let mut failures = Vec::new();
    // A link made in the guest, and one made on the host and then moved as the original does, end the same.
    let attaches = !["inside", "netem", "dhcp"].contains(&name);
    let ways: &[&str] = if original.is_some() || !attaches { &[""] } else { &["", "--via-host "] };
    for (case, way) in mine.iter().flat_map(|case| ways.iter().map(move |way| (case, way))) {
        if let Err(why) = compare(case, &theirs[&case.title], way) {
            failures.push(format!("{way}{}\n{why}", case.title));
        }
    }
    assert!(failures.is_empty(), "{} of {} differ\n\n{}", failures.len(), ways.len() * mine.len(), failures.join("\n\n"));
}

fn run_original(original: &Original, case: &Case) -> Record {
    let world = World::new(case);
    let exit = case.runs.iter().map(|words| original.run(&world, words, case.busybox).code.unwrap_or(-1)).collect();
    Record { exit, state: world.state(case) }
}

/// Runs ours and says what is not as it should be.
fn compare(case: &Case, theirs: &Record, option: &str) -> Result<(), String> {
    let world = World::new(case);
    let untouched = if matches!(case.end, End::Error | End::Refused(_)) { world.everything() } else { Vec::new() };
    let mut exit = Vec::new();
    let mut said = String::new();
    for words in &case.runs {
        let ran = world.ours(&format!("{option}{words}"));
        exit.push(ran.code.unwrap_or(-1));
        said += &ran.err;
    }
    if let Some(pid) = world.netns_link() {
        return Err(format!("/var/run/netns/{pid} is left"));
    }
    let fails = |codes: &[i32]| codes.iter().any(|code| *code != 0);
    match &case.end {
        End::Same => {
            let mut theirs = theirs.clone();
            for rule in &case.differs {
                rules::named(rule).apply(case, &mut theirs.exit, &mut theirs.state)?;
            }
            if theirs.exit != exit {
                return Err(format!("exit status {exit:?}, wanted {:?}: {said}", theirs.exit));
            }
            difference(&theirs.state, &world.state(case))
        }
        End::Error | End::Refused(_) => {
            if fails(&theirs.exit) != (case.end == End::Error) {
                return Err(format!("the original exits with {:?}", theirs.exit));
            }
            if !fails(&exit) {
                return Err(format!("exit status {exit:?}, and an error was wanted"));
            }
            let after = world.everything();
            if after == untouched {
                Ok(())
            } else {
                Err(format!("an error that changed the state\nbefore {untouched:#?}\nafter {after:#?}"))
            }
        }
        End::Works(addr) => {
            if !fails(&theirs.exit) {
                return Err(format!("the original exits with {:?}: it is no difference", theirs.exit));
            }
            if fails(&exit) {
                return Err(format!("exit status {exit:?}: {said}"));
            }
            let ours = world.state(case);
            match ours.contains_key(&format!("guest addr eth1 {addr}")) {
                true => Ok(()),
                false => Err(format!("the guest does not have {addr}: {ours:#?}")),
            }
        }
    }
}

fn recorded() -> Records {
    serde_json::from_str(include_str!("parity/recorded.json")).unwrap()
}

fn recording() -> Option<PathBuf> {
    std::env::var_os("PIPEWORK_RECORD").map(PathBuf::from)
}

/// Puts a group's records into the file; what is no case any more goes.
fn record(file: &PathBuf, new: &Records, all: &[Case]) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap();
    let mut records: Records = std::fs::read_to_string(file).map(|text| serde_json::from_str(&text).unwrap()).unwrap_or_default();
    records.extend(new.iter().map(|(title, record)| (title.clone(), record.clone())));
    records.retain(|title, _| all.iter().any(|c| c.title == *title));
    std::fs::write(file, serde_json::to_string_pretty(&records).unwrap() + "\n").unwrap();
}
