//! IPoIB children on a soft-RoCE port that passes for InfiniBand. No subnet manager runs there, so nothing is sent.

use std::sync::Once;

use pipework::model::request::AttachRequest;
use pipework::plan::Birth;

use super::lab::inside::{Fault, request, rolls_back_on, there_and_back};
use super::lab::{Lab, Space, assert_same, both};
use super::original::{like_ours, original};
use super::{in_time, not_ours, sh};

static PORT: Once = Once::new();

/// A host with the InfiniBand interface ib0, up. It is made once: it cannot be taken away again.
fn host() -> Lab {
    PORT.call_once(|| {
        sh("modprobe rdma_rxe; ip link add below0 type dummy; ip link set below0 up; ip addr add 10.77.0.1/24 dev below0; \
            rdma link add rxe0 type rxe netdev below0; modprobe rxe_as_ib; modprobe ib_ipoib");
    });
    let lab = Lab::here();
    in_time("ib0", || lab.host.try_sh("ip link show ib0"));
    lab.host.sh("ip link set ib0 up");
    lab
}

/// The partition keys of a namespace's IPoIB interfaces, by name.
fn keys(space: &Space) -> Vec<(String, String)> {
    let links = space.ip("link show type ipoib");
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    links.as_array().unwrap().iter().map(|l| (text(&l["ifname"]), text(&l["linkinfo"]["info_data"]["key"]))).collect()
}

fn key(name: &str, key: &str) -> (String, String) {
    (name.to_owned(), key.to_owned())
}

#[test]
fn children_have_the_parents_key_or_their_own_and_a_second_run_changes_nothing() {
    if not_ours() {
        return;
    }
    let lab = host();
    let (a, b) = (lab.guest(), lab.guest());
    let before = lab.host.state();
    let lines = [
        format!("ib0 pid:{} 10.3.3.1/24@10.3.3.254", a.pid()),
        format!("ib0 -i eth7 pid:{} 10.3.3.2/24 @8001", b.pid()),
        format!("ib0 -i eth8 pid:{} 0/0 @8002", b.pid()),
    ];
    lines.iter().for_each(|line| lab.ok(line));
    assert_eq!(keys(&a), [key("ib0", "0xffff")]);
    assert_eq!(keys(&b), [key("eth7", "0x8001"), key("eth8", "0x8002")]);
    assert_eq!((a.addrs("ib0"), b.addrs("eth7")), (vec!["10.3.3.1/24".to_owned()], vec!["10.3.3.2/24".to_owned()]));
    assert!(a.sh("ip route").contains("default via 10.3.3.254 dev ib0"));
    assert_eq!(a.link("ib0")["link_type"], "infiniband");
    assert_same(&before, &lab.host.state(), "the host has none of them");
    let after = both(&lab, &b);
    lines.iter().for_each(|line| lab.ok(line));
    assert_same(&after, &both(&lab, &b), "the second run");
    lab.fails(&format!("ib0 -i eth7 pid:{} 10.3.3.2/24 @8003", b.pid()), "partition key is 8001, wanted 8003");
    lab.fails(&format!("ib0 -i eth9 pid:{} 0/0 02:00:00:00:00:01", b.pid()), "MACADDR configuration unsupported for IPoIB interfaces.");
    for (guest, name) in [(&a, "ib0"), (&b, "eth7"), (&b, "eth8")] {
        guest.sh(&format!("ip link del {name}"));
    }
}

#[test]
fn undone_no_child_is_left_on_either_side() {
    if not_ours() {
        return;
    }
    let lab = host();
    let guest = lab.guest();
    let before = both(&lab, &guest);
    for (birth, words, name) in [
        (Birth::Guest, "ib0 10.3.3.3/24", "eth1"),
        (Birth::Guest, "ib0 10.3.3.3/24 @8001", "ib0"),
        (Birth::Host, "ib0 10.3.3.3/24 @8001", "eth1"),
    ] {
        let request = AttachRequest { guest_if: Some(name.parse().unwrap()), ..request(words, &guest) };
        there_and_back(&lab.host, &request, birth, || assert_eq!(keys(&guest)[0].0, name));
        assert_same(&before, &both(&lab, &guest), &format!("{words}, {birth:?}"));
    }
}

#[test]
fn detached_the_children_are_deleted_one_by_one_or_all_at_once() {
    if not_ours() {
        return;
    }
    let lab = host();
    let guest = lab.guest();
    guest.sh("ip link add eth0 up type bridge; ip addr add 172.17.0.2/16 dev eth0; ip route add default via 172.17.0.1 metric 5");
    let before = both(&lab, &guest);
    let attach = |name: &str, words: &str| lab.ok(&format!("ib0 -i {name} pid:{} {words}", guest.pid()));
    attach("eth1", "10.3.3.1/24@10.3.3.254");
    lab.ok(&format!("detach pid:{}", guest.pid()));
    assert_same(&before, &both(&lab, &guest), "the parent's key");
    attach("eth7", "10.3.3.2/24 @8001");
    attach("ib0", "fd03::2/64 @8002");
    for name in ["eth7", "ib0"] {
        lab.ok(&format!("detach pid:{} -i {name}", guest.pid()));
    }
    assert_same(&before, &both(&lab, &guest), "one by one");
    attach("eth7", "10.3.3.2/24@10.3.3.254 @8001");
    attach("eth8", "10.3.4.2/24@10.3.4.254 @8001");
    // One that somebody renamed is known again.
    guest.sh("ip link set eth8 down; ip link set eth8 name lan0; ip link set lan0 up");
    lab.ok(&format!("detach pid:{} --all", guest.pid()));
    assert_same(&before, &both(&lab, &guest), "all at once");
    assert_eq!(lab.files(), "");
}

#[test]
fn a_child_whose_guest_died_goes_with_a_detach_or_gc() {
    if not_ours() {
        return;
    }
    let lab = host();
    lab.host.sh("ip link add link ib0 name mine type ipoib pkey 0x8001");
    let before = lab.host.state();
    // Without its record it is known by its mark, and so is one whose name is taken: by another, or by its parent.
    for (by_gc, with_record, taken, name) in [
        (false, true, false, "eth1"),
        (true, true, false, "eth1"),
        (true, false, false, "eth1"),
        (false, true, true, "eth1"),
        (false, true, false, "ib0"),
    ] {
        let what = format!("{name}, gc {by_gc}, record {with_record}, name taken {taken}");
        let guest = lab.guest();
        let pid = guest.pid();
        lab.ok(&format!("ib0 -i {name} pid:{pid} 10.3.3.3/24 @8001"));
        if taken {
            lab.host.sh("ip link add eth1 type bridge");
        }
        drop(guest);
        in_time("the child is back", || keys(&lab.host).len() == 3);
        if !with_record {
            std::fs::remove_dir_all(lab.dir.path().join("guests")).unwrap();
        }
        if by_gc {
            let ran = lab.run("gc");
            assert!(ran.code == Some(0) && ran.out.contains(name), "{ran:?}");
        } else {
            lab.ok(&format!("detach pid:{pid}"));
        }
        if taken {
            lab.host.sh("ip link del eth1");
        }
        assert_same(&before, &lab.host.state(), &what);
        assert_eq!(lab.files(), "", "{what}");
    }
    lab.host.sh("ip link del mine");
}

#[test]
fn every_step_with_an_infiniband_child_rolls_back() {
    if not_ours() {
        return;
    }
    let lab = host();
    lab.host.sh("ip link set ib0 down");
    let guest = lab.guest();
    rolls_back_on(&lab, &guest, None, "ib0 10.3.3.3/24 @8001", Birth::Guest, &[Fault::AnswerLost], &|| both(&lab, &guest));
}

#[test]
fn a_child_whose_guest_died_comes_back_and_goes_with_the_next_attach() {
    if not_ours() {
        return;
    }
    let lab = host();
    lab.host.sh("ip link add link ib0 name mine type ipoib pkey 0x8001");
    let before = lab.host.state();
    let line = |guest: &Space, pkey: &str| format!("ib0 -i eth1 pid:{} 10.3.3.3/24 @{pkey}", guest.pid());
    let first = lab.guest();
    lab.ok(&line(&first, "8001"));
    drop(first);
    in_time("the child is back", || lab.host.state().len() > before.len());
    let mut came_back = keys(&lab.host);
    came_back.retain(|(name, _)| !["ib0", "mine"].contains(&name.as_str()));
    assert_eq!(came_back, [key("eth1", "0x8001")]);
    let second = lab.guest();
    lab.ok(&line(&second, "8003").replace("eth1", "eth2"));
    assert!(lab.host.try_sh("ip link show eth1"), "another partition's is not touched");
    second.sh("ip link del eth2");
    lab.ok(&line(&second, "8001"));
    assert_same(&before, &lab.host.state(), "the host");
    lab.ok(&line(&second, "8001"));
    second.sh("ip link del eth1");
    lab.host.sh("ip link del mine");
}

#[test]
fn the_end_state_is_the_originals_and_that_of_the_printed_commands() {
    if not_ours() {
        return;
    }
    let lab = host();
    let words = |guest: &Space| format!("ib0 pid:{} 10.3.3.3/24@10.3.3.1 @8001", guest.pid());
    let run = |commands: &dyn Fn(&Space)| {
        let guest = lab.guest();
        commands(&guest);
        let state = like_ours(&guest);
        guest.sh("ip link del ib0");
        state
    };
    let ours = run(&|guest| lab.ok(&words(guest)));
    let printed = run(&|guest| drop(sh(&lab.run(&format!("--dry-run {}", words(guest))).out)));
    assert_same(&ours, &printed, "the printed commands");
    assert_same(&ours, &run(&|guest| original("ib0@8001", guest, "10.3.3.3/24@10.3.3.1")), "the original");
}
