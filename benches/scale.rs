//! The figures of many attaches: `pipework batch` and `apply` as processes, beside the floor: the same end state by the fewest raw
//! netlink messages, one guest after another, in the same run. Medians; a quiet machine is the reader's to provide. Needs root.
//!
//! `cargo bench --bench scale` measures all; a word behind `--` chooses: 200, 1000, 4000, apply.
#![allow(clippy::unwrap_used)]

mod crowd;
mod floor;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crowd::{Crowd, Flood};
use nix::sys::resource::{UsageWho, getrusage};

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn mean(all: &[f64]) -> f64 {
    all.iter().sum::<f64>() / all.len() as f64
}

/// One run of ours.
struct Ours {
    total: f64,
    /// Time of each line from its begin to its end, in the order of their ends, in ms.
    each: Vec<f64>,
    /// Time between the ends of lines, in ms: what each adds to the whole.
    lines: usize,
}

/// Runs `pipework WORDS...` on the crowd's host.
fn pipework(crowd: &Crowd, words: &[&str]) -> Ours {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipework"));
    command.args(words).env("PIPEWORK_RUN_DIR", crowd.run_dir()).env("PIPEWORK_STATE_DIR", crowd.run_dir()).stdin(Stdio::null());
    let (total, output) = crowd.on_host(|| {
        let start = Instant::now();
        let output = command.output().unwrap();
        (ms(start.elapsed()), output)
    });
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let documents = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let each: Vec<f64> = documents.filter_map(|document| Some(document["elapsed_us"].as_f64()? / 1000.0)).collect();
    Ours { total, lines: each.len(), each }
}

fn lines(crowd: &Crowd) -> std::path::PathBuf {
    let words = |n: usize| {
        let (bridge, ip, gateway) = crowd.place(n);
        format!("{bridge} netns:{} {ip}/16@{gateway}\n", crowd.guests[n].display())
    };
    write(crowd, "lines", &(0..crowd.guests.len()).map(words).collect::<String>())
}

fn topology(crowd: &Crowd) -> std::path::PathBuf {
    let attachment = |n: usize| {
        let (bridge, ip, gateway) = crowd.place(n);
        let guest = crowd.guests[n].display();
        format!(
            "[[attachments]]\nhost_if = \"{bridge}\"\nguest = \"netns:{guest}\"\naddresses = [\"{ip}/16\"]\ngateways = [\"{gateway}\"]\n"
        )
    };
    write(crowd, "topology.toml", &("name = \"crowd\"\n".to_owned() + &(0..crowd.guests.len()).map(attachment).collect::<String>()))
}

fn write(crowd: &Crowd, name: &str, text: &str) -> std::path::PathBuf {
    let path = crowd.run_dir().with_file_name(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn forget(crowd: &Crowd) {
    crowd.clear();
    let _ = std::fs::remove_dir_all(crowd.run_dir());
}

fn batch(crowd: &Crowd, file: &Path, words: &[&str]) -> Ours {
    let file = file.display().to_string();
    let ours = pipework(crowd, &[&["batch", "--json"], words, &[&file]].concat());
    assert_eq!(ours.lines, crowd.guests.len());
    ours
}

/// 200 on one bridge.
fn two_hundred() {
    let crowd = Crowd::new(200, 1);
    let file = lines(&crowd);
    let (mut naive, mut floor, mut kept, mut ours) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..5 {
        for (flood, totals) in [(Flood::Naive, &mut naive), (Flood::AsItComes, &mut floor), (Flood::KeptOut, &mut kept)] {
            let (start, _) = (Instant::now(), crowd.floor(flood));
            totals.push(ms(start.elapsed()));
            crowd.clear();
        }
        ours.push(batch(&crowd, &file, &[]).total);
        forget(&crowd);
    }
    let [naive, floor, kept, ours] = [naive, floor, kept, ours].map(|all| median(all) / 200.0);
    println!("200 on one bridge, per attach: floor {naive:.3} ms, with one queue {floor:.3}, out of the flood {kept:.3}, ours {ours:.3}");
    println!("  ours / floor {:.2}, with one queue {:.2}, out of the flood {:.2}", ours / naive, ours / floor, ours / kept);
}

/// 1,000 on one bridge.
fn thousand() -> f64 {
    let crowd = Crowd::new(1000, 1);
    let file = lines(&crowd);
    let (mut naive, mut floor, mut kept, mut ours) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut growth, mut floor_growth) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        for (flood, totals) in [(Flood::Naive, &mut naive), (Flood::AsItComes, &mut floor), (Flood::KeptOut, &mut kept)] {
            let start = Instant::now();
            let times: Vec<f64> = crowd.floor(flood).into_iter().map(ms).collect();
            totals.push(ms(start.elapsed()));
            if flood == Flood::KeptOut {
                floor_growth.push(mean(&times[900..]) / mean(&times[..100]));
            }
            crowd.clear();
        }
        let run = batch(&crowd, &file, &[]);
        growth.push(mean(&run.each[900..]) / mean(&run.each[..100]));
        ours.push(run.total);
        forget(&crowd);
    }
    for jobs in ["1", "2", "3", "4"] {
        let run = batch(&crowd, &file, &["--jobs", jobs]);
        println!("  --jobs {jobs}: {:.0} ms", run.total);
        forget(&crowd);
    }
    let [naive, floor, kept, ours] = [naive, floor, kept, ours].map(median);
    println!("1000 on one bridge: floor {naive:.0} ms, with one queue {floor:.0} ms, out of the flood {kept:.0} ms, ours {ours:.0} ms");
    println!("  ours / floor {:.2}, with one queue {:.2}, out of the flood {:.2}", ours / naive, ours / floor, ours / kept);
    println!("  last 100 / first 100: ours {:.2}, floor out of the flood {:.2}", median(growth), median(floor_growth));
    ours
}

/// 4,000 on five bridges.
fn four_thousand(thousand: Option<f64>) {
    let crowd = Crowd::new(4000, 5);
    let run = batch(&crowd, &lines(&crowd), &[]);
    let memory = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss();
    println!(
        "4000 on five bridges: {:.0} ms, at most {:.1} MB in memory (or what another child of this run took)",
        run.total,
        memory as f64 / 1024.0
    );
    thousand.into_iter().for_each(|one| println!("  {:.2} times 1000 on one bridge", run.total / one));
    forget(&crowd);
}

/// `apply` of 1,000, and once more.
fn apply() {
    let crowd = Crowd::new(1000, 1);
    let file = topology(&crowd).display().to_string();
    let first = pipework(&crowd, &["apply", &file]).total;
    // New guests ask for routers and tell their groups for a while, which keeps the machine busy.
    std::thread::sleep(Duration::from_secs(15));
    let again: Vec<f64> = (0..3).map(|_| pipework(&crowd, &["apply", &file]).total).collect();
    let again = median(again);
    println!("apply of 1000: {first:.0} ms, again {again:.0} ms: {:.2}", again / first);
    forget(&crowd);
}

fn main() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("scale: needs root");
        std::process::exit(1);
    }
    floor::in_memory_run();
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let wants = |word: &str| words.is_empty() || words.iter().any(|given| given == word);
    // Memory is that of the largest child so far.
    let one = wants("1000").then(thousand);
    if wants("4000") {
        four_thousand(one);
    }
    if wants("200") {
        two_hundred();
    }
    if wants("apply") {
        apply();
    }
}
