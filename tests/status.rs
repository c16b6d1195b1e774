//! How attachments stand: for people, for programs, and as it changes.
#![allow(clippy::unwrap_used, clippy::panic)]

mod lab;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use lab::{Lab, eventually, no_root};
use serde_json::Value;

fn attach(lab: &Lab, line: &str) {
    let ran = lab.run(line);
    assert_eq!(ran.code, Some(0), "{line}: {}", ran.err);
}

fn json(lab: &Lab, words: &str, code: i32) -> Value {
    let ran = lab.run(&format!("status --json {words}"));
    assert_eq!(ran.code, Some(code), "{} {}", ran.out, ran.err);
    serde_json::from_str(&ran.out).unwrap()
}

#[test]
fn without_attachments_there_is_an_empty_list_and_success() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    assert_eq!(json(&lab, "", 0)["attachments"], serde_json::json!([]));
    let ran = lab.run("status");
    assert_eq!((ran.code, ran.out.lines().count()), (Some(0), 1), "only the head: {}", ran.out);
}

#[test]
fn each_attachment_is_told_as_it_is_now() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let (one, two) = (lab.guest(), lab.guest());
    let _switch = lab.nic("nic0");
    lab.host.sh("ip link set nic0 up");
    attach(&lab, &format!("br1 -i eth2 pid:{} 10.1.1.2/24,fd00::2/64@10.1.1.1 02:00:00:00:00:05", one.pid()));
    attach(&lab, &format!("nic0 pid:{} 10.2.2.2/24", two.pid()));
    let report = json(&lab, "", 0);
    assert_eq!(report["schema"], 1);
    let all = report["attachments"].as_array().unwrap();
    assert_eq!(all.len(), 2);
    let first = all.iter().find(|a| a["guest"]["pid"] == one.pid()).unwrap();
    for (field, wanted) in [
        ("interface", serde_json::json!("eth2")),
        ("standing", serde_json::json!("ok")),
        ("addresses", serde_json::json!(["10.1.1.2/24", "fd00::2/64"])),
        ("gateways", serde_json::json!(["10.1.1.1"])),
        ("host_interface", serde_json::json!("br1")),
        ("on", serde_json::json!("br1")),
        ("host_link", serde_json::json!(format!("veth2pl{}", one.pid()))),
        ("mtu", serde_json::json!(1500)),
        ("mac", serde_json::json!("02:00:00:00:00:05")),
        ("differences", serde_json::json!([])),
    ] {
        assert_eq!(first[field], wanted, "{field}: {first}");
    }
    let second = all.iter().find(|a| a["guest"]["pid"] == two.pid()).unwrap();
    assert_eq!((&second["on"], &second["standing"]), (&serde_json::json!("nic0"), &serde_json::json!("ok")), "{second}");
    let table = lab.run("status").out;
    let row = table.lines().find(|line| line.contains("eth2")).unwrap();
    assert!(row.contains("10.1.1.2/24,fd00::2/64  10.1.1.1  br1") && row.ends_with("  ok"), "{table}");
    assert_eq!(json(&lab, &format!("pid:{}", two.pid()), 0)["attachments"].as_array().unwrap().len(), 1);
}

#[test]
fn drift_guests_that_are_gone_and_cut_off_runs_are_told_with_exit_status_2() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    let word = format!("pid:{}", guest.pid());
    attach(&lab, &format!("br1 {word} 10.1.1.2/24"));
    guest.sh("ip addr del 10.1.1.2/24 dev eth1");
    let report = json(&lab, "", 2);
    let status = &report["attachments"][0];
    assert_eq!((&status["standing"], &status["differences"][0]["field"]), (&"drifted".into(), &"address".into()), "{status}");
    assert!(lab.run("status").out.trim_end().ends_with("drifted: address"));
    attach(&lab, &format!("repair {word}"));
    let netns = status["guest"]["netns"].as_u64().unwrap();
    let record = lab.dir.path().join(format!("guests/{netns}/eth1.json"));
    let journal = lab.dir.path().join("journal");
    std::fs::create_dir_all(&journal).unwrap();
    std::fs::copy(&record, journal.join(format!("{netns}.eth1.replacing.json"))).unwrap();
    assert_eq!(json(&lab, "", 2)["attachments"][0]["standing"], "unfinished");
    assert!(journal.join(format!("{netns}.eth1.replacing.json")).exists(), "a look changes nothing");
    std::fs::remove_file(journal.join(format!("{netns}.eth1.replacing.json"))).unwrap();
    drop(guest);
    eventually("the guest is gone", || json_any(&lab)["attachments"][0]["standing"] == "gone");
    assert!(lab.run("status").out.trim_end().ends_with("  gone"));
    let text = std::fs::read_to_string(&record).unwrap();
    std::fs::write(&record, text.replace("\"version\": 1", "\"version\": 9")).unwrap();
    let ran = lab.run("status");
    assert!(ran.err.contains("version 9"), "{}", ran.err);
}

fn json_any(lab: &Lab) -> Value {
    serde_json::from_str(&lab.run("status --json").out).unwrap()
}

struct Watching(Child);

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn watching_tells_of_each_change_as_it_comes_and_ends_by_a_signal() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    let word = format!("pid:{}", guest.pid());
    attach(&lab, &format!("br1 {word} 10.1.1.2/24"));
    let child = lab.program().args(["status", "--watch"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut watching = Watching(child);
    let mut lines = BufReader::new(watching.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.next().unwrap().starts_with("GUEST"));
    assert!(lines.next().unwrap().ends_with("  ok"));
    guest.sh("ip link set eth1 mtu 1400");
    assert!(lines.next().unwrap().ends_with("drifted: MTU"));
    attach(&lab, &format!("repair {word}"));
    assert!(lines.next().unwrap().ends_with("  ok"));
    let other = lab.guest();
    attach(&lab, &format!("br1 pid:{} 10.1.1.3/24", other.pid()));
    assert!(lines.next().unwrap().contains("10.1.1.3/24"));
    attach(&lab, &format!("detach {word}"));
    let line = lines.next().unwrap();
    assert!(line.contains(&word) && line.ends_with("detached"), "{line}");
    drop(other);
    assert!(lines.next().unwrap().ends_with("  gone"), "a guest's end is told");
    let pid = watching.0.id().to_string();
    // nsenter execs the program: it is the process itself.
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(watching.0.wait().unwrap().code(), Some(0));
}
