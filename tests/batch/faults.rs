//! What a batch does when lines are wrong, fail, or it is ended half way.

use std::collections::BTreeSet;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::lab::crowd::Crowd;
use super::lab::{assert_same, eventually, no_root};

/// A way to be wrong, for the guest of a number.
fn mistake(crowd: &Crowd, n: usize) -> String {
    let (guest, ip) = (crowd.word(n % crowd.guests.len()), format!("10.100.77.{}", n % 200 + 1));
    match n % 12 {
        0 => format!("br0 {guest} 10.100.0.999/16"),
        1 => format!("br0 {guest}"),
        2 => format!("br0 {guest} {ip}/16 --nonsense"),
        3 => format!("br0 '{guest} {ip}/16"),
        4 => format!("br0 netns:nobody{n} {ip}/16"),
        5 => format!("status {guest}"),
        6 => format!("[\"br0\", {n}]"),
        7 => format!("br0 {guest} dhcp:-f -i gone{n}"),
        8 => format!("br0 {guest} {ip}/16 --json"),
        9 => format!("br0 {guest} {ip}/33"),
        10 => format!("br0 -i a-name-that-is-too-long {guest} {ip}/16"),
        _ => format!("{{\"attach\": {{\"host_if\": \"br0\", \"guest\": \"{guest}\", \"adresses\": []}}}}"),
    }
}

#[test]
fn each_of_five_hundred_mistakes_among_ten_thousand_lines_is_told_and_nothing_is_done() {
    if no_root() {
        return;
    }
    let crowd = Crowd::new(10);
    let before = crowd.lab.host.state();
    let mut wrong = BTreeSet::new();
    let lines: Vec<String> = (0..10_000)
        .map(|n| {
            if n % 20 == 7 {
                wrong.insert(n + 1);
                return mistake(&crowd, n / 20);
            }
            // Each another interface and address.
            format!("br0 -i i{n} {} 10.100.{}.{}/16", crowd.word(n % 10), 100 + n / 200, n % 200 + 1)
        })
        .collect();
    let start = std::time::Instant::now();
    let ran = crowd.batch("", &(lines.join("\n") + "\n"));
    println!("{} ms", start.elapsed().as_millis());
    assert_eq!(ran.code, Some(1));
    let told: BTreeSet<usize> =
        ran.err.lines().filter_map(|line| line.strip_prefix("pipework: line ")?.split(':').next()?.parse().ok()).collect();
    // 1,023 ports: where the bridge is full is told, too.
    let full: BTreeSet<usize> = told.difference(&wrong).copied().collect();
    assert_eq!((wrong.len(), full.len()), (500, 1), "{full:?}");
    assert!(wrong.is_subset(&told), "{:?}", wrong.difference(&told));
    assert!(ran.err.contains("has room for 1023 more ports") && ran.err.contains("nothing was done: 501 of 10000 lines"), "{}", ran.err);
    assert_same(&before, &crowd.lab.host.state(), "host");
    assert_eq!(crowd.lab.files(), "");
}

#[test]
fn what_is_there_twice_is_told_before_anything_is_done() {
    if no_root() {
        return;
    }
    let crowd = Crowd::new(3);
    let [a, b, c] = [0, 1, 2].map(|n| crowd.word(n));
    let text = format!(
        "br0 {a} 10.100.1.1/16\nbr0 {a} 10.100.1.2/16\nbr0 {b} 10.100.1.1/16\nbr0 -l x {b} 10.100.1.4/16 -i eth3\nbr0 -l x {c} 10.100.1.5/16\nlink {c}:eth1 {a}:eth9\n"
    );
    let ran = crowd.batch("--check", &text);
    assert_eq!(ran.code, Some(1));
    for words in ["line 2: eth1 of ", "line 3: 10.100.1.1 on br0 is another guest's in line 1", "line 5: -l x ", "line 6: eth1 of "] {
        assert!(ran.err.contains(words), "{words}: {}", ran.err);
    }
    assert_eq!(crowd.lab.files(), "");
    // The others, when that is asked.
    let ran = crowd.batch("--keep-going --json", &text);
    assert_eq!(ran.code, Some(1));
    let documents: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let summary = &documents.last().unwrap()["summary"];
    assert_eq!((&summary["attached"], &summary["failed"], &summary["lines"]), (&2.into(), &0.into(), &2.into()), "{}", ran.out);
    let done: Vec<&Value> =
        documents.iter().filter(|document| document["result"] == "attached").map(|document| &document["line"]).collect();
    assert_eq!(done.len(), 2, "{}", ran.out);
    assert_eq!(crowd.flooded().len(), 2);
}

#[test]
fn all_or_nothing_takes_attaches_detaches_and_links_back() {
    if no_root() {
        return;
    }
    let crowd = Crowd::new(6);
    let word = |n| crowd.word(n);
    crowd.ok("", &format!("br0 {} 10.100.1.1/16@10.100.0.1\nlink {} {}=10.9.0.1/30\n", word(0), word(1), word(2)));
    // Another interface of the guest has the address: only a look at the guest tells.
    crowd.sh(5, "ip link add own type bridge; ip addr add 10.100.1.9/16 dev own");
    let state = || -> Vec<Value> { (0..6).map(|n| crowd.facts(n)).chain([Value::from(crowd.flooded().len())]).collect() };
    eventually("at rest", || (0..6).all(|n| !crowd.sh(n, "ip addr").contains("tentative")));
    let before = state();
    let text = format!(
        "detach {0}\ndetach {1} --all\nbr0 {3} 10.100.1.1/16\nbr0 {4} 10.100.1.2/16 --mtu 1400\nlink {0} {2}:eth7\nbr0 {5} 10.100.1.9/16\n",
        word(0),
        word(1),
        word(2),
        word(3),
        word(4),
        word(5)
    );
    let ran = crowd.batch("--atomic", &text);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("line 6: ") && ran.err.contains("10.100.1.9"), "{}", ran.err);
    assert!(ran.out.contains("5 undone"), "{} {}", ran.out, ran.err);
    eventually("as before", || state() == before);
    assert_eq!(crowd.files("journal"), Vec::<String>::new());
}

#[test]
fn a_batch_that_is_killed_anywhere_is_ended_by_the_same_once_more() {
    if no_root() {
        return;
    }
    let crowd = Crowd::wanted(100);
    let count = crowd.guests.len();
    crowd
        .lab
        .host
        .sh("ip link add foreign master br0 up type veth peer name other; ip link set dev foreign type bridge_slave mcast_flood off");
    let text = crowd.lines();
    let mut half = 0;
    for delay in [20, 60, 90, 130, 180, 250, 400] {
        let mut child = crowd.start("", &text);
        std::thread::sleep(Duration::from_millis(delay) * u32::try_from(count / 100).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        half += usize::from(crowd.flooded().len() != 1 && crowd.flooded().len() != count + 1);
        // Any run that changes something sees to what this one left.
        if delay % 20 == 0 {
            assert_eq!(crowd.lab.run("gc").code, Some(0));
            assert_eq!(crowd.kept_out(), ["foreign"], "after {delay} ms");
        }
        let ran = crowd.batch("", &text);
        assert_eq!(ran.code, Some(0), "after {delay} ms: {}", ran.err);
        assert_eq!(crowd.kept_out(), ["foreign"], "after {delay} ms");
        assert_eq!((crowd.flooded().len(), crowd.files("journal")), (count + 1, vec![]), "after {delay} ms");
        for n in 0..crowd.guests.len() {
            let said = crowd.sh(n, "ip -o -4 addr show; ip route");
            assert!(said.contains(&Crowd::ip(n)) && said.contains("default via 10.100.0.1"), "guest {n} after {delay} ms: {said}");
        }
        crowd.ok("", &crowd.detaches());
        assert_eq!((crowd.flooded().len(), crowd.lab.files().as_str()), (1, ""), "after {delay} ms");
    }
    assert!(half > 1, "{half} were killed half way");
}

#[test]
fn a_signal_ends_it_between_lines_and_the_same_again_goes_on() {
    if no_root() {
        return;
    }
    // So many that the signal comes before the last of them.
    let crowd = Crowd::new(500);
    let text = crowd.lines();
    let child = crowd.start("--jobs 1", &text);
    eventually("it is at work", || crowd.flooded().len() > 10);
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned());
    assert_eq!(output.status.code(), Some(1), "{out} {err}");
    assert!(out.contains("not begun") && err.contains("ended by SIGINT: the same file again goes on from here"), "{out} {err}");
    assert_eq!((crowd.kept_out(), crowd.files("journal")), (vec![], vec![]));
    let done = crowd.flooded().len();
    let said = crowd.ok("", &text);
    assert!(said.starts_with(&format!("500 lines: {} attached, {done} unchanged", 500 - done)), "{done}: {said}");
}

#[test]
fn more_guests_than_a_bridge_has_ports_are_told_beforehand_with_their_count() {
    if no_root() {
        return;
    }
    let crowd = Crowd::new(5);
    let ports: String = (0..1020).map(|n| format!("link add p{n} master br0 type veth peer name q{n}\n")).collect();
    let file = crowd.lab.dir.path().join("ports");
    std::fs::write(&file, ports).unwrap();
    crowd.lab.host.sh(&format!("ip -batch {}", file.display()));
    std::fs::remove_file(file).unwrap();
    let ran = crowd.batch("", &crowd.lines());
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.err.contains("line 4: bridge br0 has room for 3 more ports of the 1023 that the kernel allows, and 5 lines want one"),
        "{}",
        ran.err
    );
    assert_eq!((crowd.flooded().len(), crowd.lab.files().as_str()), (1020, ""));
}
