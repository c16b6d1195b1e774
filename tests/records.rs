//! Records that are damaged, of a later version, or cannot be written: told, nothing lost, the network untouched or undone.
#![allow(clippy::unwrap_used)]

mod lab;

use std::path::PathBuf;

use lab::{Lab, Ran, Space, assert_same, both, no_root, settled};
use serde_json::Value;

fn number(space: &Space) -> String {
    space.sh("stat -Lc %i /proc/self/ns/net").trim().to_owned()
}

fn record(lab: &Lab, guest: &Space, interface: &str) -> PathBuf {
    lab.dir.path().join("guests").join(number(guest)).join(format!("{interface}.json"))
}

fn attached() -> (Lab, Space, Vec<String>) {
    let (lab, guest) = (Lab::new(), Space::new());
    let before = settled(&[&lab.host, &guest], || both(&lab, &guest));
    lab.ok(&format!("br0 pid:{} 10.1.1.2/24", guest.pid()));
    (lab, guest, before)
}

#[test]
fn a_record_is_what_a_person_can_read() {
    if no_root() {
        return;
    }
    let (lab, guest, _) = attached();
    let text = std::fs::read_to_string(record(&lab, &guest, "eth1")).unwrap();
    let record: Value = serde_json::from_str(&text).unwrap();
    assert!(text.lines().count() > 20, "{text}");
    assert_eq!((&record["version"], &record["interface"], &record["host_interface"]), (&1.into(), &"eth1".into(), &"br0".into()));
    assert_eq!(record["request"]["addr"], "10.1.1.2/24");
    assert_eq!(record["guest"]["pid"], guest.pid());
    assert_eq!(record["done"][0]["op"], "add-bridge");
    assert_eq!(record["link"]["host"]["name"], format!("veth1pl{}", guest.pid()));
}

#[test]
fn a_damaged_record_is_set_aside_and_the_link_is_found_by_its_mark() {
    if no_root() {
        return;
    }
    for damage in [&b""[..], b"{\"version\": 1, \"id\"", b"\xff\xfe\x00", b"[]", b"{\"version\": 1}"] {
        let (lab, guest, before) = attached();
        let path = record(&lab, &guest, "eth1");
        std::fs::write(&path, damage).unwrap();
        let ran = lab.run(&format!("detach pid:{} -i eth1", guest.pid()));
        assert_eq!((ran.code, ran.err.contains("a damaged record is set aside as")), (Some(0), true), "{}", ran.err);
        assert_eq!(std::fs::read(path.with_extension("json.damaged")).unwrap(), damage);
        assert!(guest.link("eth1").is_null());
        assert_eq!(lab.run("gc").code, Some(0));
        assert_same(&before, &both(&lab, &guest), "set aside");
    }
}

#[test]
fn a_record_of_a_later_version_is_left_alone() {
    if no_root() {
        return;
    }
    let (lab, guest, _) = attached();
    let path = record(&lab, &guest, "eth1");
    let later = std::fs::read_to_string(&path).unwrap().replacen("\"version\": 1", "\"version\": 2", 1);
    std::fs::write(&path, &later).unwrap();
    let state = both(&lab, &guest);
    for line in [format!("detach pid:{}", guest.pid()), "gc".into(), "gc --dry-run".into()] {
        let ran = lab.run(&line);
        assert!(ran.err.contains("has version 2, and this pipework knows 1"), "{line}: {}", ran.err);
        assert_same(&state, &both(&lab, &guest), &line);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), later);
    }
    guest.sh("ip link del eth1");
    let ran = lab.run(&format!("br0 pid:{} 10.1.1.2/24", guest.pid()));
    assert_eq!((ran.code, ran.err.contains("has version 2")), (Some(1), true), "{}", ran.err);
    assert!(guest.link("eth1").is_null());
}

/// Runs a shell script with a small file system for a run directory, where `$P` is the program and `$D` the directory.
fn on_disk(lab: &Lab, options: &str, script: &str) -> Ran {
    let dir = lab.dir.path().display().to_string();
    let mut command = lab.host.command("unshare");
    let mount = format!("mount -t tmpfs -o {options} none {dir} && {script}");
    command.args(["-m", "--propagation", "private", "sh", "-c", &mount]).env("PIPEWORK_RUN_DIR", &dir);
    command.env("P", env!("CARGO_BIN_EXE_pipework")).env("D", &dir).env_remove("DOCKER_HOST");
    command.output().unwrap().into()
}

#[test]
fn where_nothing_can_be_written_nothing_is_done() {
    if no_root() {
        return;
    }
    for (options, before, wanted) in [
        ("ro", "true", "Read-only file system"),
        ("size=64k", "mkdir -p $D/guests $D/journal; head -c 1M /dev/zero > $D/filling 2>/dev/null", "No space left on device"),
    ] {
        let (lab, guest) = (Lab::new(), Space::new());
        let state = both(&lab, &guest);
        let ran = on_disk(&lab, options, &format!("{before}; exec $P br0 pid:{} 10.1.1.2/24", guest.pid()));
        assert_eq!((ran.code, ran.err.contains(wanted)), (Some(1), true), "{options}: {}", ran.err);
        assert!(ran.err.contains("cannot be recorded, so nothing is left of it"), "{}", ran.err);
        assert_same(&state, &both(&lab, &guest), options);
    }
}

#[test]
fn a_full_disk_keeps_nobody_from_taking_an_interface_away() {
    if no_root() {
        return;
    }
    let (lab, guest) = (Lab::new(), Space::new());
    let state = both(&lab, &guest);
    let script = format!(
        "$P br0 pid:{0} 10.1.1.2/24 && {{ head -c 1M /dev/zero > $D/filling 2>/dev/null; $P detach pid:{0}; }} && find $D -name '*.json*'",
        guest.pid()
    );
    let ran = on_disk(&lab, "size=128k", &script);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), "", ""));
    assert_same(&state, &both(&lab, &guest), "a full disk");
}

#[test]
fn a_record_that_cannot_be_finished_is_undone() {
    if no_root() {
        return;
    }
    let (lab, guest) = (Lab::new(), Space::new());
    let state = both(&lab, &guest);
    // Room for the note of what is about to be done, and none for what is done.
    let script = format!("mkdir -p $D/guests $D/journal; mount --bind -o ro $D/guests/{0} $D/guests/{0} 2>/dev/null; ", number(&guest));
    let script = format!("mkdir -p $D/guests/{}; {script} exec $P br0 pid:{} 10.1.1.2/24", number(&guest), guest.pid());
    let ran = on_disk(&lab, "size=1m", &script);
    assert_eq!((ran.code, ran.err.contains("cannot be recorded")), (Some(1), true), "{}", ran.err);
    assert_same(&state, &both(&lab, &guest), "undone");
}
