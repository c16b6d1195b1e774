//! `--direct-phys` on Wi-Fi interfaces (mac80211_hwsim): the judge is `iw`.

use pipework::plan::Birth;

use super::lab::inside::{Fault, request, rolls_back_on, there_and_back};
use super::lab::{Lab, Space, assert_same, both};
use super::original::{like_ours, original};
use super::{in_time, not_ours, sh};

/// Two radios, wlan0 and wlan1, fresh; they go with this.
struct Radios;

impl Radios {
    fn new() -> Self {
        // What it is built on stays loaded, which saves a second each time.
        sh("rmmod mac80211_hwsim 2>/dev/null || true; modprobe mac80211_hwsim radios=2");
        in_time("wlan0 and wlan1", || sh("iw dev").matches("Interface wlan").count() == 2);
        Self
    }
}

impl Drop for Radios {
    fn drop(&mut self) {
        sh("rmmod mac80211_hwsim");
    }
}

/// The name of a Wi-Fi interface's phy.
fn phy(space: &Space, name: &str) -> String {
    let info = space.sh(&format!("iw dev {name} info"));
    format!("phy{}", info.split("wiphy ").nth(1).unwrap().split_whitespace().next().unwrap())
}

/// The names of the Wi-Fi interfaces of a namespace.
fn wifi(space: &Space) -> Vec<String> {
    let mut names: Vec<String> =
        space.sh("iw dev").lines().filter_map(|l| l.trim().strip_prefix("Interface ")).map(str::to_owned).collect();
    names.sort();
    names
}

/// A NIC in use, with all that a move takes away.
const IN_USE: &str = "ip link set wlan0 up; ip addr replace 10.9.9.1/24 dev wlan0; ip -6 addr replace fd09::1/64 dev wlan0 nodad; \
    ip route replace 10.8.0.0/16 via 10.9.9.9";

/// The same, and a second interface of its phy, in use as well.
const BOTH_IN_USE: &str = "ip link set wlan0 up; ip addr replace 10.9.9.1/24 dev wlan0; ip -6 addr replace fd09::1/64 dev wlan0 nodad; \
    ip route replace 10.8.0.0/16 via 10.9.9.9; iw dev wlan0 interface add sta2 type managed; ip link set sta2 address 02:00:00:00:77:01; \
    ip addr add 10.7.7.1/24 dev sta2; ip link set sta2 up; ip route add 10.6.0.0/16 via 10.7.7.9";

#[test]
fn an_interface_moves_with_its_phy_and_a_second_run_changes_nothing() {
    if not_ours() {
        return;
    }
    let _radios = Radios::new();
    let (lab, guest) = (Lab::here(), Space::new());
    let moved = phy(&lab.host, "wlan0");
    let line = format!("--direct-phys wlan0 pid:{} 10.1.1.2/24@10.1.1.1", guest.pid());
    lab.ok(&line);
    assert_eq!((wifi(&lab.host), wifi(&guest)), (vec!["wlan1".to_owned()], vec!["eth1".to_owned()]));
    assert_eq!(phy(&guest, "eth1"), moved);
    assert_eq!(guest.addrs("eth1"), ["10.1.1.2/24"]);
    assert!(guest.link("eth1")["flags"].as_array().unwrap().contains(&"UP".into()));
    assert!(guest.sh("ip route").contains("default via 10.1.1.1 dev eth1"));
    let after = both(&lab, &guest);
    lab.ok(&line);
    assert_same(&after, &both(&lab, &guest), "the second run");
    lab.fails(&format!("--direct-phys wlan1 pid:{} 0/0", guest.pid()), "eth1 exists in the guest");
}

#[test]
fn undone_it_is_back_under_its_old_name_with_what_it_had() {
    if not_ours() {
        return;
    }
    let _radios = Radios::new();
    let lab = Lab::here();
    lab.host.sh(IN_USE);
    let guest = Space::new();
    let before = both(&lab, &guest);
    there_and_back(&lab.host, &request("--direct-phys wlan0 10.1.1.2/24 U:x", &guest), Birth::Host, || {
        assert_eq!(wifi(&guest), ["eth1"]);
    });
    assert_same(&before, &both(&lab, &guest), "undone");
}

#[test]
fn detached_the_phy_is_back_with_all_its_interfaces_and_what_they_had() {
    if not_ours() {
        return;
    }
    for (in_use, option, moved) in [(IN_USE, "", vec!["eth1"]), (BOTH_IN_USE, "--force ", vec!["eth1", "sta2"])] {
        let _radios = Radios::new();
        let (lab, guest) = (Lab::here(), Space::new());
        lab.host.sh(in_use);
        let (before, number) = (both(&lab, &guest), phy(&lab.host, "wlan0"));
        lab.ok(&format!("{option}--direct-phys wlan0 pid:{} 10.1.1.2/24@10.1.1.1 U:x", guest.pid()));
        assert_eq!(wifi(&guest), moved);
        lab.ok(&format!("detach pid:{}", guest.pid()));
        assert_same(&before, &both(&lab, &guest), in_use);
        assert_eq!(phy(&lab.host, "wlan0"), number);
        assert_eq!(lab.files(), "");
    }
}

#[test]
fn a_phy_whose_guest_died_is_as_before_after_a_detach_or_gc() {
    if not_ours() {
        return;
    }
    for by_gc in [false, true] {
        let _radios = Radios::new();
        let (lab, guest) = (Lab::here(), Space::new());
        lab.host.sh(BOTH_IN_USE);
        let (before, number, pid) = (lab.host.state(), phy(&lab.host, "wlan0"), guest.pid());
        lab.ok(&format!("--force --direct-phys wlan0 pid:{pid} 10.1.1.2/24 U:x"));
        drop(guest);
        in_time("the phy is back", || wifi(&lab.host) == ["eth1", "sta2", "wlan1"]);
        if by_gc {
            let ran = lab.run("gc");
            assert!(ran.code == Some(0) && ran.out.contains("eth1"), "{ran:?}");
        } else {
            lab.ok(&format!("detach pid:{pid}"));
        }
        assert_same(&before, &lab.host.state(), "a dead guest");
        assert_eq!((phy(&lab.host, "wlan0"), phy(&lab.host, "sta2")), (number.clone(), number));
        assert_eq!(lab.files(), "");
    }
}

#[test]
fn a_phy_without_a_record_comes_back_by_its_mark_or_by_force() {
    if not_ours() {
        return;
    }
    let _radios = Radios::new();
    let (lab, guest) = (Lab::here(), Space::new());
    lab.host.sh("iw dev wlan0 interface add sta2 type managed");
    let (before, number) = (both(&lab, &guest), phy(&lab.host, "wlan0"));
    lab.ok(&format!("--force --direct-phys wlan0 pid:{} 10.1.1.2/24", guest.pid()));
    std::fs::remove_dir_all(lab.dir.path().join("guests")).unwrap();
    lab.ok(&format!("detach pid:{} -i eth1", guest.pid()));
    assert_eq!(
        (wifi(&lab.host), phy(&lab.host, "wlan0")),
        (vec!["sta2".to_owned(), "wlan0".to_owned(), "wlan1".to_owned()], number.clone())
    );
    lab.host.sh("ip link property del dev wlan0 altname pipework.from.wlan0");
    assert_same(&before, &both(&lab, &guest), "by its mark");
    // As the original does it.
    lab.host.sh(&format!("iw phy {number} set netns {}", guest.pid()));
    lab.fails(&format!("detach pid:{} -i wlan0", guest.pid()), "bears no mark or name of pipework's");
    lab.ok(&format!("detach pid:{} -i wlan0 --force", guest.pid()));
    assert_same(&before, &both(&lab, &guest), "by force");
}

#[test]
fn interfaces_whose_names_are_taken_meanwhile_are_known_again_whether_the_guest_lives_or_not() {
    if not_ours() {
        return;
    }
    for dies in [false, true] {
        let _radios = Radios::new();
        let (lab, guest) = (Lab::here(), Space::new());
        lab.host.sh(BOTH_IN_USE);
        let (before, pid) = (lab.host.state(), guest.pid());
        lab.ok(&format!("--force --direct-phys wlan0 pid:{pid} 10.1.1.2/24"));
        // Both come back under names of the kernel's choice.
        lab.host.sh("ip link add eth1 type bridge; ip link add sta2 type bridge");
        let mut guest = Some(guest);
        if dies {
            guest = None;
            in_time("the phy is back", || wifi(&lab.host).len() == 3);
            assert!(!wifi(&lab.host).iter().any(|name| name == "eth1" || name == "sta2"));
        }
        let foreign = (lab.host.link("sta2"), lab.host.addrs("sta2"));
        lab.fails(&format!("detach pid:{pid}"), "File exists");
        assert_eq!(foreign, (lab.host.link("sta2"), lab.host.addrs("sta2")), "the other of that name is left alone");
        assert_eq!(wifi(&lab.host).len(), 3, "the phy is here, and one of its interfaces wants its name");
        lab.host.sh("ip link del eth1; ip link del sta2");
        assert_eq!(lab.run("gc").code, Some(0));
        assert_same(&before, &lab.host.state(), &format!("once the name is free, guest dead: {dies}"));
        assert_eq!(lab.files(), "");
        drop(guest);
    }
}

#[test]
fn every_step_with_a_phy_rolls_back() {
    if not_ours() {
        return;
    }
    let _radios = Radios::new();
    let lab = Lab::here();
    lab.host.sh(IN_USE);
    let guest = lab.guest();
    rolls_back_on(&lab, &guest, None, "--direct-phys wlan0 10.1.1.2/24 U:x", Birth::Guest, &[Fault::AnswerLost], &|| both(&lab, &guest));
}

#[test]
fn a_guest_with_an_interface_of_the_same_name_is_no_hindrance() {
    if not_ours() {
        return;
    }
    let _radios = Radios::new();
    let (lab, guest) = (Lab::here(), Space::new());
    guest.sh("ip link add wlan0 type bridge; ip link add eth0 type bridge");
    let before = both(&lab, &guest);
    there_and_back(&lab.host, &request("--direct-phys wlan0 10.1.1.2/24", &guest), Birth::Guest, || {
        assert_eq!(wifi(&guest), ["eth1"]);
        assert_eq!(guest.link("wlan0")["linkinfo"]["info_kind"], "bridge");
    });
    // Its old index is the guest's own wlan0's: the kernel gave it another, as it does to every link.
    let nameless = |state: Vec<String>| -> Vec<String> { state.iter().map(|l| l.split(" index ").next().unwrap().to_owned()).collect() };
    assert_same(&nameless(before), &nameless(both(&lab, &guest)), "undone");
}

#[test]
fn a_phy_with_two_interfaces_moves_only_by_force_and_comes_back_whole() {
    if not_ours() {
        return;
    }
    let _radios = Radios::new();
    let (lab, guest) = (Lab::here(), Space::new());
    lab.host.sh(&format!(
        "{IN_USE}; iw dev wlan0 interface add sta2 type managed; ip link set sta2 address 02:00:00:00:77:01; ip addr add 10.7.7.1/24 dev sta2; \
         ip link set sta2 up"
    ));
    let before = both(&lab, &guest);
    let line = format!("--direct-phys wlan0 pid:{} 10.1.1.2/24", guest.pid());
    let error = lab.fails(&line, "sta2 would move along");
    assert!(error.contains("iw dev sta2 del") && error.contains("--force"), "{error}");
    assert_same(&before, &both(&lab, &guest), "refused");
    there_and_back(&lab.host, &request("--direct-phys --force wlan0 10.1.1.2/24", &guest), Birth::Guest, || {
        assert_eq!(wifi(&guest), ["eth1", "sta2"]);
    });
    assert_same(&before, &both(&lab, &guest), "undone");
    lab.ok(&format!("--force {line}"));
    assert_eq!((wifi(&lab.host), wifi(&guest)), (vec!["wlan1".to_owned()], vec!["eth1".to_owned(), "sta2".to_owned()]));
}

#[test]
fn a_name_that_another_interface_of_the_phy_brings_along_leaves_all_as_it_was() {
    if not_ours() {
        return;
    }
    let _radios = Radios::new();
    let (lab, guest) = (Lab::here(), Space::new());
    lab.host.sh(&format!("{IN_USE}; iw dev wlan0 interface add eth1 type monitor"));
    let before = both(&lab, &guest);
    let error = lab.fails(&format!("--direct-phys --force wlan0 pid:{} 10.1.1.2/24", guest.pid()), "move wlan0 with its phy");
    assert!(error.contains("File exists") && error.contains("choose another with -i"), "{error}");
    assert_same(&before, &both(&lab, &guest), "refused half way");
}

#[test]
fn a_phy_that_its_driver_keeps_is_refused_before_anything_changes() {
    if not_ours() {
        return;
    }
    let _radios = Radios::new();
    let (lab, guest) = (Lab::here(), Space::new());
    lab.host.sh(IN_USE);
    let before = both(&lab, &guest);
    sh("modprobe phy_stays interface=wlan0");
    let line = format!("--direct-phys wlan0 pid:{} 10.1.1.2/24", guest.pid());
    let error = lab.fails(&line, "the driver of wlan0 does not let its phy");
    assert!(!error.contains("undone"), "{error}");
    lab.fails(&format!("--dry-run {line}"), "the driver of wlan0 does not let its phy");
    sh("modprobe -r phy_stays");
    assert_same(&before, &both(&lab, &guest), "refused");
    lab.ok(&line);
}

#[test]
fn a_radio_that_is_switched_off_is_told_and_all_is_as_before() {
    if not_ours() {
        return;
    }
    let _radios = Radios::new();
    let (lab, guest) = (Lab::here(), Space::new());
    lab.host.sh("for f in /sys/class/net/wlan0/phy80211/rfkill*/soft; do echo 1 > $f; done");
    let before = both(&lab, &guest);
    lab.fails(&format!("--direct-phys wlan0 pid:{} 10.1.1.2/24", guest.pid()), "rfkill unblock wifi");
    assert_same(&before, &both(&lab, &guest), "undone");
}

#[test]
fn two_guests_hear_each_other_over_the_air() {
    if not_ours() {
        return;
    }
    let _radios = Radios::new();
    let (lab, a, b) = (Lab::here(), Space::new(), Space::new());
    for (nic, guest, addr) in [("wlan0", &a, "10.1.1.1/24"), ("wlan1", &b, "10.1.1.2/24")] {
        lab.host.sh(&format!("iw dev {nic} set type ibss"));
        lab.ok(&format!("--direct-phys {nic} -i air0 pid:{} {addr}", guest.pid()));
        guest.sh("iw dev air0 ibss join lab 2412 fixed-freq 02:11:22:33:44:55");
    }
    in_time("a carrier", || a.link("air0")["operstate"] == "UP" && b.link("air0")["operstate"] == "UP");
    a.sh("ping -c1 -w30 10.1.1.2");
}

#[test]
fn a_phy_whose_guest_died_comes_back_and_is_known_again() {
    if not_ours() {
        return;
    }
    let _radios = Radios::new();
    let lab = Lab::here();
    let line = |guest: &Space| format!("--direct-phys wlan0 pid:{} 10.1.1.2/24", guest.pid());
    let first = Space::new();
    let moved = phy(&lab.host, "wlan0");
    lab.ok(&line(&first));
    drop(first);
    in_time("the phy is back", || wifi(&lab.host).len() == 2);
    assert_eq!(wifi(&lab.host), ["eth1", "wlan1"], "under the guest's name: the kernel knows no other");
    let second = Space::new();
    lab.ok(&line(&second));
    assert_eq!((phy(&second, "eth1"), wifi(&lab.host)), (moved, vec!["wlan1".to_owned()]));
    lab.ok(&line(&second));
}

#[test]
fn the_end_state_is_the_originals_and_that_of_the_printed_commands() {
    if not_ours() {
        return;
    }
    let words = |guest: &Space| format!("--direct-phys wlan0 pid:{} 10.1.1.2/24@10.1.1.1", guest.pid());
    let run = |commands: &dyn Fn(&Lab, &Space)| {
        let _radios = Radios::new();
        let (lab, guest) = (Lab::here(), Space::new());
        commands(&lab, &guest);
        let state = like_ours(&guest);
        assert_eq!(wifi(&lab.host), ["wlan1"]);
        state
    };
    let ours = run(&|lab, guest| lab.ok(&words(guest)));
    let printed = run(&|lab, guest| {
        let script = lab.run(&format!("--dry-run {}", words(guest))).out;
        assert!(script.contains("iw phy phy"), "{script}");
        assert_eq!(wifi(&lab.host), ["wlan0", "wlan1"], "nothing done");
        sh(&script);
    });
    assert_same(&ours, &printed, "the printed commands");
    assert_same(&ours, &run(&|_, guest| original("--direct-phys wlan0", guest, "10.1.1.2/24@10.1.1.1")), "the original");
}
