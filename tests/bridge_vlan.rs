//! VLANs on Linux bridges and 802.1ad on NICs: needs a kernel with VLAN filtering, run under one with `scripts/uml-run` by
//! `scripts/test`. Judges are `bridge -j vlan`, `ip -j` and ping.
#![allow(clippy::unwrap_used)]

mod lab;

use lab::inside::{every_step_of_a_birth_rolls_back, request, there_and_back};
use lab::{Lab, Space, has_kind, no_root, skip};
use pipework::plan::Birth;
use serde_json::Value;

const NIC: &str = "ip link add nic0 mtu 1450 type veth peer name far0; ip link set far0 up";

fn cannot() -> bool {
    no_root() || (!has_kind("vlan filtering") && skip("this kernel's bridges filter no VLANs; scripts/uml-run gives one whose do"))
}

/// A port's VLANs as `bridge` tells them: `10 PVID untagged`, `20-30`.
fn vlans(host: &Space, port: &str) -> Vec<String> {
    let all: Value = serde_json::from_str(&host.sh("bridge -j -compressvlans vlan show")).unwrap();
    let found = all.as_array().unwrap().iter().find(|p| p["ifname"] == port).cloned().unwrap_or_default();
    let text = |vlan: &Value| {
        let end = vlan["vlanEnd"].as_u64().map(|end| format!("-{end}")).unwrap_or_default();
        let flags = vlan["flags"].as_array().into_iter().flatten().map(|f| format!(" {}", f.as_str().unwrap()));
        format!("{}{end}{}", vlan["vlan"], flags.collect::<String>())
    };
    found["vlans"].as_array().into_iter().flatten().map(text).collect()
}

fn port(guest: &Space) -> String {
    format!("veth1pl{}", guest.pid())
}

fn reaches(from: &Space, to: &str) -> bool {
    from.try_sh(&format!("ping -c1 -W1 {to}"))
}

#[test]
fn a_tag_isolates_and_a_trunk_passes() {
    if cannot() {
        return;
    }
    let lab = Lab::new();
    let (a, b, c, trunk) = (lab.guest(), lab.guest(), lab.guest(), lab.guest());
    lab.ok(&format!("br0 pid:{} 10.1.1.1/24 @10", a.pid()));
    lab.ok(&format!("br0 pid:{} 10.1.1.2/24 @10", b.pid()));
    lab.ok(&format!("br0 pid:{} 10.1.1.3/24 @20", c.pid()));
    lab.ok(&format!("br0 pid:{} 0/0 @,10,20-30", trunk.pid()));
    assert_eq!(lab.host.link("br0")["linkinfo"]["info_data"]["vlan_filtering"], 1);
    assert_eq!(vlans(&lab.host, &port(&a)), ["10 PVID Egress Untagged"]);
    assert_eq!(vlans(&lab.host, &port(&c)), ["20 PVID Egress Untagged"]);
    assert_eq!(vlans(&lab.host, &port(&trunk)), ["10", "20-30"]);
    for vlan in [10, 20] {
        trunk.sh(&format!("ip link add link eth1 name v{vlan} type vlan id {vlan}; ip link set v{vlan} up"));
    }
    trunk.sh("ip addr add 10.1.1.4/24 dev v10");
    assert!(reaches(&a, "10.1.1.2"), "10 to 10");
    assert!(reaches(&a, "10.1.1.4"), "10 to the trunk's 10");
    assert!(!reaches(&a, "10.1.1.3"), "10 to 20");
    assert!(!reaches(&c, "10.1.1.4"), "20 to the trunk's 10");
    trunk.sh("ip addr del 10.1.1.4/24 dev v10; ip addr add 10.1.1.4/24 dev v20");
    assert!(reaches(&c, "10.1.1.4"), "20 to the trunk's 20");
    assert!(!reaches(&a, "10.1.1.4"), "10 to the trunk's 20");
}

#[test]
fn a_port_carries_what_was_asked_and_nothing_else() {
    if cannot() {
        return;
    }
    for (setup, tag, wanted) in [
        ("true", "@10,20-30", &["10 PVID Egress Untagged", "20-30"][..]),
        ("true", "@,20-30,40", &["20-30", "40"]),
        ("true", "@10,1", &["1", "10 PVID Egress Untagged"]),
        ("ip link add br0 up type bridge vlan_filtering 1 vlan_default_pvid 0", "@10,20", &["10 PVID Egress Untagged", "20"]),
        ("ip link add br0 up type bridge vlan_filtering 1", "", &["1 PVID Egress Untagged"]),
    ] {
        let lab = Lab::new();
        let guest = lab.guest();
        lab.host.sh(setup);
        lab.ok(&format!("br0 pid:{} 10.1.1.1/24 {tag}", guest.pid()));
        assert_eq!(vlans(&lab.host, &port(&guest)), wanted, "{tag} after {setup}");
        // The same once more: nothing to do.
        lab.ok(&format!("br0 pid:{} 10.1.1.1/24 {tag}", guest.pid()));
    }
}

#[test]
fn another_tag_than_before_is_a_difference() {
    if cannot() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    lab.ok(&format!("br0 pid:{} 10.1.1.1/24 @10", guest.pid()));
    let before = lab::both(&lab, &guest);
    for (tag, difference) in [
        ("@20", "the host end's VLAN is VLAN 10 untagged, wanted VLAN 20 untagged"),
        ("@10,20-21", "the host end's VLAN is VLAN 10 untagged, wanted VLAN 10 untagged, 20-21 tagged"),
        ("", "the host end's VLAN is VLAN 10 untagged, wanted VLAN 1 untagged"),
    ] {
        lab.fails(&format!("br0 pid:{} 10.1.1.1/24 {tag}", guest.pid()), difference);
    }
    lab::assert_same(&before, &lab::both(&lab, &guest), "what differs");
}

#[test]
fn an_old_bridge_is_made_to_filter_only_when_told_to() {
    if cannot() {
        return;
    }
    let lab = Lab::new();
    let (old, guest) = (lab.guest(), lab.guest());
    lab.host.sh("ip link add br0 address 02:00:00:00:00:05 up type bridge; ip addr add 10.1.1.9/24 dev br0; ip link add up0 type dummy; ip link set up0 master br0 up");
    lab.ok(&format!("br0 pid:{} 10.1.1.1/24", old.pid()));
    let before = lab::both(&lab, &guest);
    let line = format!("br0 pid:{} 10.1.1.2/24 @10", guest.pid());
    let refused = lab.fails(&line, "bridge br0 does not filter VLANs; with filtering its ports would have");
    assert!(refused.contains(&format!("VLAN 1 untagged: br0 itself, up0, {}", port(&old))), "{refused}");
    assert!(refused.contains("--vlan-filtering"), "{refused}");
    lab::assert_same(&before, &lab::both(&lab, &guest), "what is refused");

    let ran = lab.run(&format!("--vlan-filtering {line}"));
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    for warning in [
        "bridge br0 filters VLANs from now on; its other ports have VLAN 1 untagged",
        "up0 does not carry VLAN 10: the guest reaches nobody by it until you type: bridge vlan add dev up0 vid 10",
        "this host's own br0 is not in VLAN 10",
    ] {
        assert!(ran.err.contains(warning), "{warning:?} is not in {}", ran.err);
    }
    assert_eq!(lab.host.link("br0")["linkinfo"]["info_data"]["vlan_filtering"], 1);
    assert!(reaches(&lab.host, "10.1.1.1"), "who was there before still is");
    assert!(!reaches(&lab.host, "10.1.1.2"));
}

#[test]
fn filtering_never_cuts_the_host_off() {
    if cannot() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    lab.host.sh("ip link add br0 up type bridge vlan_default_pvid 0; ip addr add 10.1.1.9/24 dev br0; ip link add up0 type dummy; ip link set up0 master br0 up");
    let before = lab::both(&lab, &guest);
    let line = format!("--vlan-filtering br0 pid:{} 0/0 @10", guest.pid());
    lab.fails(&line, "filtering VLANs would cut this host off bridge br0: untagged frames by up0");
    lab.host.sh("ip addr del 10.1.1.9/24 dev br0; ip link add link br0 name br0.7 type vlan id 7");
    lab.fails(&line, "VLAN 7 by up0");
    lab.host.sh("ip link del br0.7; ip addr add 10.1.1.9/24 dev br0");
    lab::assert_same(&before, &lab::both(&lab, &guest), "what is refused");
    let ran = lab.run(&format!("--force {line}"));
    assert_eq!(ran.code, Some(0), "{}", ran.err);
}

#[test]
fn what_carries_the_vlan_is_not_warned_of() {
    if cannot() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    lab.host.sh("ip link add br0 up type bridge vlan_filtering 1; ip addr add 10.1.1.9/24 dev br0; ip link add up0 type dummy; ip link set up0 master br0 up; \
        bridge vlan add dev up0 vid 10-20; bridge vlan add dev br0 vid 10 pvid untagged self");
    lab.ok(&format!("br0 pid:{} 10.1.1.2/24 @10", guest.pid()));
    assert!(reaches(&lab.host, "10.1.1.2"), "the host is in VLAN 10, too");
    let other = lab.guest();
    let ran = lab.run(&format!("br0 pid:{} 10.1.1.3/24 @10,15-25", other.pid()));
    assert!(ran.err.contains("up0 does not carry VLAN 15-25"), "{}", ran.err);
}

#[test]
fn a_bridge_that_another_run_made_meanwhile_without_filtering_is_looked_at_again() {
    if cannot() {
        return;
    }
    // Five at once on a bridge that none finds: whoever makes it, all end in their VLAN.
    let lab = Lab::new();
    let guests: Vec<Space> = (0..5).map(|_| lab.guest()).collect();
    let runs: Vec<_> =
        guests.iter().map(|guest| lab.program().args(["br0", &format!("pid:{}", guest.pid()), "0/0", "@10"]).spawn().unwrap()).collect();
    for mut run in runs {
        assert!(run.wait().unwrap().success());
    }
    for guest in &guests {
        assert_eq!(vlans(&lab.host, &port(guest)), ["10 PVID Egress Untagged"]);
    }
}

#[test]
fn every_step_with_vlans_on_a_bridge_rolls_back() {
    if cannot() {
        return;
    }
    every_step_of_a_birth_rolls_back(Birth::Guest, "br0 0/0 @10,20-30", "true", "true");
    let old = "ip link add br0 address 02:00:00:00:00:05 up type bridge; ip link add p0 type veth peer name p1; ip link set p0 master br0";
    every_step_of_a_birth_rolls_back(Birth::Host, "--vlan-filtering br0 0/0 @,20-30", old, "true");
}

#[test]
fn what_is_taken_back_leaves_the_filtering_that_somebody_came_to_rely_on() {
    if cannot() {
        return;
    }
    for somebody_comes in [true, false] {
        let lab = Lab::new();
        let (first, second) = (lab.guest(), lab.guest());
        lab.host.sh("ip link add br0 up type bridge");
        there_and_back(&lab.host, &request("--vlan-filtering br0 0/0 @10", &first), Birth::Guest, || {
            if somebody_comes {
                lab.ok(&format!("br0 pid:{} 0/0 @20", second.pid()));
            }
        });
        assert_eq!(lab.host.link("br0")["linkinfo"]["info_data"]["vlan_filtering"], u8::from(somebody_comes));
    }
}

#[test]
fn printed_commands_with_a_tag_come_to_the_same_vlans() {
    if cannot() {
        return;
    }
    for (options, setup, tag) in
        [("--via-host", "true", "@,20-30"), ("--vlan-filtering", "ip link add br0 address 02:00:00:00:00:05 up type bridge", "@10")]
    {
        let lab = Lab::new();
        let (printed, attached) = (lab.guest(), lab.guest());
        lab.host.sh(setup);
        let dry = lab.run(&format!("{options} --dry-run br0 pid:{} 10.1.1.2/24 {tag}", printed.pid()));
        assert_eq!(dry.code, Some(0), "{}", dry.err);
        lab.host.sh(&dry.out);
        let run = lab.run(&format!("{options} br0 pid:{} 10.1.1.3/24 {tag}", attached.pid()));
        assert_eq!(run.code, Some(0), "{}", run.err);
        assert_eq!(vlans(&lab.host, &port(&printed)), vlans(&lab.host, &port(&attached)), "{tag}");
        assert!(!vlans(&lab.host, &port(&attached)).is_empty());
        assert_eq!(lab.host.link("br0")["linkinfo"]["info_data"]["vlan_filtering"], 1);
    }
}

#[test]
fn a_service_vlan_is_a_child_of_its_own_beside_the_802_1q_one() {
    if cannot() {
        return;
    }
    let lab = Lab::new();
    let (a, b, c) = (lab.guest(), lab.guest(), lab.guest());
    lab.host.sh(NIC);
    lab.ok(&format!("nic0 pid:{} 10.1.1.1/24 @ad:100", a.pid()));
    lab.ok(&format!("nic0 pid:{} 10.1.1.2/24 @100", b.pid()));
    lab.ok(&format!("nic0 pid:{} 10.1.1.3/24 @ad:100", c.pid()));
    let kind = |name: &str| {
        let data = lab.host.link(name)["linkinfo"]["info_data"].clone();
        (data["protocol"].clone(), data["id"].clone())
    };
    assert_eq!(kind("nic0.ad100"), ("802.1ad".into(), 100.into()));
    assert_eq!(kind("nic0.100"), ("802.1Q".into(), 100.into()));
    assert!(reaches(&a, "10.1.1.3") && !reaches(&a, "10.1.1.2"));
    lab.ok(&format!("nic0 pid:{} 10.1.1.1/24 @ad:100", a.pid()));
    lab.fails(&format!("nic0 pid:{} 10.1.1.1/24 @100", a.pid()), "the parent is interface");
    // What leaves the NIC bears an 802.1ad tag: a twin on the far end hears it.
    lab.host.sh("ip link add link far0 name twin type vlan protocol 802.1ad id 100; ip link set twin up; ip link set far0 up");
    let far = lab.guest();
    lab.host.sh(&format!("ip link set twin netns {}", far.pid()));
    far.sh("ip link set twin up; ip addr add 10.1.1.7/24 dev twin");
    assert!(reaches(&a, "10.1.1.7"));
}

#[test]
fn a_service_vlan_moves_whole_and_a_foreign_one_is_refused() {
    if cannot() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    lab.host.sh(&format!(
        "{NIC}; ip link add link nic0 name nic0.ad7 type vlan id 7; ip link add link nic0 name nic0.8 type vlan protocol 802.1ad id 8"
    ));
    let before = lab.host.state();
    lab.fails(&format!("nic0 pid:{} 0/0 @ad:7", guest.pid()), "nic0.ad7 already exists but is not a VLAN device for 802.1ad tag 7 on nic0");
    lab.fails(&format!("nic0 pid:{} 0/0 @8", guest.pid()), "nic0.8 already exists but is not a VLAN device for tag 8 on nic0");
    lab.fails(&format!("nic0 pid:{} 0/0 @10,20", guest.pid()), "@10,20 is for a bridge: a link on NIC nic0 is in one VLAN");
    lab.fails(&format!("br0 pid:{} 0/0 @ad:10", guest.pid()), "@ad:10 is for a NIC");
    lab::assert_same(&before, &lab.host.state(), "what is refused");
    let line = format!("--direct-phys nic0 pid:{} 10.1.1.2/24 @ad:100", guest.pid());
    lab.ok(&line);
    assert_eq!(guest.link("eth1")["linkinfo"]["info_data"]["protocol"], "802.1ad");
    assert_eq!(lab.host.link("nic0.ad100"), Value::Null);
    lab.ok(&line);
}

#[test]
fn a_service_vlan_that_is_taken_back_leaves_nothing() {
    if cannot() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    lab.host.sh(NIC);
    let before = lab::both(&lab, &guest);
    there_and_back(&lab.host, &request("nic0 0/0 @ad:100", &guest), Birth::Guest, || assert_ne!(lab.host.link("nic0.ad100"), Value::Null));
    lab::assert_same(&before, &lab::both(&lab, &guest), "both sides");
}
