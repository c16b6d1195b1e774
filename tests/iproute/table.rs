//! Tables of command lines: each is carried out by ours in one namespace and by iproute2 in its twin, and whatever can be
//! seen of both afterwards has to be the same. The judge is iproute2.
//!
//! A table is a text file:
//!
//! ```text
//! # a comment
//! judge ip -d route show table all      what is compared after each line: a shell line, run in both by sh
//! last tc -j qdisc show                 what is compared only when a case ends
//! within                                ours is called within the test: under UML a program takes long to start
//! setup ip link add eth0 ...            what each case begins with, in both
//! == a sentence that names the case
//! $ ip addr add 10.1.1.2/24 dev eth0    a shell line in both, which has to succeed
//! route add default via 10.1.1.1        `pipework route pid:N WORDS` against `ip route WORDS`
//! route -6 show                         options in front of the verb: `ip -6 route show`
//! tc -s qdisc show                      likewise for rule and tc
//! ! route add default via 10.9.9.9      a line that has to fail, with both
//! * route add 10.0.0.0/8 encap ...      a line that the installed program does for us: without it, it is not known
//! ```
//!
//! Of each line are compared: whether it succeeds, what it prints, and what the judges say afterwards (of lines that fail or
//! print, with the next that does neither). Ours has nothing in its PATH, so that no installed program can help it but where
//! the line says so.
#![allow(dead_code, clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use pipework::iproute::Tool;
use pipework::lifecycle;
use pipework::model::request::GuestRef;

use super::lab::{Ran, Space};

/// What the kernel says of kinds that it was built without (net/sched).
const NO_SUCH_KIND: [&str; 3] = ["qdisc kind is unknown", "TC classifier not found", "Failed to load TC action module"];

/// A table's cases, and what they have in common.
#[derive(Clone, Debug, Default)]
pub struct Table {
    judges: Vec<String>,
    last: Vec<String>,
    within: bool,
    setup: Vec<String>,
    cases: Vec<Case>,
}

#[derive(Clone, Debug, Default)]
struct Case {
    name: String,
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
enum Step {
    Shell(String),
    Line { words: Vec<String>, wanted: Wanted },
}

/// What is to become of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Done,
    Refused,
    ByProgram,
}

impl Table {
    /// Reads `tests/iproute/NAME.txt`.
    pub fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/iproute/{name}.txt"));
        let mut table = Self::default();
        for line in std::fs::read_to_string(path).unwrap().lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
            } else if let Some(judge) = line.strip_prefix("judge ") {
                table.judges.push(judge.to_owned());
            } else if let Some(judge) = line.strip_prefix("last ") {
                table.last.push(judge.to_owned());
            } else if line == "within" {
                table.within = true;
            } else if let Some(setup) = line.strip_prefix("setup ") {
                table.setup.push(setup.to_owned());
            } else if let Some(name) = line.strip_prefix("== ") {
                table.cases.push(Case { name: name.to_owned(), steps: Vec::new() });
            } else {
                let case = table.cases.last_mut().unwrap_or_else(|| panic!("{line}: before the first case"));
                case.steps.push(step(line));
            }
        }
        table
    }

    /// How many command lines it has that we do ourselves.
    pub fn lines(&self) -> usize {
        let is_line = |step: &&Step| matches!(step, Step::Line { wanted: Wanted::Done | Wanted::Refused, .. });
        self.cases.iter().map(|case| case.steps.iter().filter(is_line).count()).sum()
    }

    /// Carries all cases out and fails with everything that differs. Returns the names of the cases that this kernel is
    /// too small for: iproute2 itself is told that there is no such kind.
    pub fn run(&self) -> Vec<&str> {
        let mut differences = Vec::new();
        let small = self.cases.iter().filter(|case| !self.run_case(case, &mut differences));
        let small = small.map(|case| case.name.as_str()).collect();
        assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
        small
    }

    /// Whether the kernel is large enough for the case.
    fn run_case(&self, case: &Case, differences: &mut Vec<String>) -> bool {
        let judges = self.judges.join("; echo; ");
        let mut twins = Twins { ours: Space::new(), theirs: Space::new(), judges, within: self.within };
        twins.shell(&self.setup.join("; "));
        let mut say = |what: String| differences.push(format!("-- {}: {what}", case.name));
        if let Some(difference) = twins.difference() {
            say(format!("the set-up: {difference}"));
            return true;
        }
        for step in &case.steps {
            match step {
                Step::Shell(line) => twins.shell(line),
                Step::Line { words, wanted } => match twins.line(words, *wanted) {
                    Some(differences) => differences.into_iter().for_each(&mut say),
                    None => return false,
                },
            }
        }
        twins.judges = self.judges.iter().chain(&self.last).cloned().collect::<Vec<_>>().join("; echo; ");
        twins.difference().into_iter().for_each(|difference| say(format!("in the end {difference}")));
        true
    }
}

fn step(line: &str) -> Step {
    if let Some(shell) = line.strip_prefix("$ ") {
        return Step::Shell(shell.to_owned());
    }
    let (line, wanted) = match line.split_at(2) {
        ("! ", line) => (line, Wanted::Refused),
        ("* ", line) => (line, Wanted::ByProgram),
        _ => (line, Wanted::Done),
    };
    Step::Line { words: line.split_whitespace().map(str::to_owned).collect(), wanted }
}

struct Twins {
    ours: Space,
    theirs: Space,
    judges: String,
    within: bool,
}

impl Twins {
    fn shell(&self, line: &str) {
        for space in [&self.ours, &self.theirs] {
            space.sh(line);
        }
    }

    /// What differs after one line; nothing when the kernel has no such kind.
    fn line(&self, words: &[String], wanted: Wanted) -> Option<Vec<String>> {
        let shown = words.join(" ");
        let fails = wanted == Wanted::Refused;
        let theirs = theirs(&self.theirs, words);
        let mut ours = if self.within { within(&self.ours, words) } else { run_ours(&self.ours, words, false) };
        if !fails && NO_SUCH_KIND.iter().any(|text| theirs.err.contains(text)) {
            return None;
        }
        let mut all = Vec::new();
        if wanted == Wanted::ByProgram {
            if ours.code == Some(0) || !ours.err.contains("is not known here") {
                all.push(format!("{shown}: without a program: {ours:?}"));
            }
            ours = run_ours(&self.ours, words, true);
        }
        if (theirs.code == Some(0)) == fails {
            all.push(format!("{shown}: iproute2 itself: {theirs:?}"));
        }
        if (ours.code == Some(0)) == fails {
            all.push(format!("{shown}: exit status {:?}, {}", ours.code, ours.err.trim_end()));
        }
        // tc tells by its status who refused: 2 is the kernel.
        if words[0] == "tc" && (ours.code == Some(2)) != (theirs.code == Some(2)) {
            all.push(format!("{shown}: exit status {:?} instead of {:?}: {} {}", ours.code, theirs.code, ours.err, theirs.err));
        }
        if settled(&ours.out) != settled(&theirs.out) {
            all.push(format!("{shown}: printed\n{}instead of\n{}", ours.out, theirs.out));
        }
        // What prints or fails is judged with the next line that does neither, or in the end.
        if theirs.out.is_empty() && !fails {
            all.extend(self.difference().map(|difference| format!("{shown}: {difference}")));
        }
        Some(all)
    }

    /// What the judges say of one and not of the other. The kernel does some things a moment later: what differs is looked
    /// at again.
    fn difference(&self) -> Option<String> {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let [ours, theirs] = [&self.ours, &self.theirs].map(|space| settled(&space.sh(&self.judges)));
            if ours == theirs {
                return None;
            }
            if Instant::now() > deadline {
                return Some(format!("the state is\n{ours}instead of\n{theirs}"));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Ours, with nothing in its PATH or with all that is installed.
fn run_ours(space: &Space, words: &[String], programs: bool) -> Ran {
    let (tool, rest) = words.split_first().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipework"));
    command.arg(tool).arg(format!("pid:{}", space.pid())).args(rest).stdin(std::process::Stdio::null());
    if !programs {
        command.env("PATH", "/nonexistent");
    }
    command.output().unwrap().into()
}

/// Ours, called within the test.
fn within(space: &Space, words: &[String]) -> Ran {
    let (tool, rest) = words.split_first().unwrap();
    let tool = [Tool::Route, Tool::Rule, Tool::Tc].into_iter().find(|known| known.to_string() == *tool).unwrap();
    let mut helped = false;
    let mut watch = |text: &str| helped |= text.ends_with("does it");
    let ended = lifecycle::inside(tool, &GuestRef::Pid(space.pid()), rest, &mut watch);
    assert!(!helped, "{rest:?}: the installed program was asked");
    match ended {
        Ok(ended) => Ran { code: Some(ended.status.into()), out: ended.output, err: String::new() },
        Err(error) => Ran { code: Some(error.status().into()), out: String::new(), err: error.chain().join(": ") },
    }
}

/// iproute2's own, inside.
fn theirs(space: &Space, words: &[String]) -> Ran {
    let (tool, rest) = words.split_first().unwrap();
    if tool == "tc" {
        return space.command("tc").args(rest).output().unwrap().into();
    }
    let mut options = rest.iter().take_while(|w| w.starts_with('-')).count();
    if options == 1 && rest[0].starts_with("-f") {
        options = 2 + rest[2..].iter().take_while(|w| w.starts_with('-')).count();
    }
    let (options, rest) = rest.split_at(options);
    space.command("ip").args(options).arg(tool).args(rest).output().unwrap().into()
}

/// Text without what runs on by itself: seconds that are left or gone.
fn settled(text: &str) -> String {
    let words = |line: &str| {
        let running = |before: &str, word: &str| match before {
            "expires" => word.ends_with("sec"),
            "installed" | "used" | "firstused" => word.parse::<u32>().is_ok(),
            _ => false,
        };
        let mut before = "";
        let mut all = Vec::new();
        for word in line.split(' ') {
            all.push(if running(before, word) { "(running)" } else { word });
            before = word;
        }
        all.join(" ")
    };
    without_handles(&text.split('\n').map(words).collect::<Vec<_>>().join("\n"))
}

/// Text without the handles that the kernel gives to qdiscs without one, 8001: and so on: it counts all namespaces' together.
fn without_handles(text: &str) -> String {
    let mut parts = text.split(':');
    let mut all = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = all.chars().rev().take_while(char::is_ascii_hexdigit).count();
        if digits == 4 && all[all.len() - 4..].starts_with('8') {
            all.truncate(all.len() - 4);
            all.push_str("(handle)");
        }
        all.push(':');
        all.push_str(part);
    }
    all
}
