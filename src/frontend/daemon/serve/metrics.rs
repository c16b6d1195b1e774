//! What Prometheus scrapes: its text format, version 0.0.4.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use super::super::board::{Board, EngineState};

/// The format's name.
pub(super) const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A family of figures under one name.
struct Family<'a> {
    name: &'a str,
    kind: &'a str,
    help: &'a str,
}

/// All figures. `attachments` is absent when the records cannot be read.
pub(super) fn text(board: &Board, attachments: Option<usize>) -> String {
    let mut out = String::with_capacity(8192);
    let (figures, health) = (board.figures(), board.health());
    let one = |value: f64| vec![(String::new(), value)];
    family(&mut out, &Family::gauge("pipework_build_info", "Which pipework this is; always 1."), {
        vec![(format!("{{version={}}}", quoted(env!("CARGO_PKG_VERSION"))), 1.0)]
    });
    let events = figures.events().map(|(kind, count)| (format!("{{kind={}}}", quoted(kind.word())), number(count)));
    family(&mut out, &Family::counter("pipework_events_total", "Events by their kind, as in /v1/events."), events.collect());
    histogram(&mut out, board);
    if let Some(attachments) = attachments {
        let count = one(number(u64::try_from(attachments).unwrap_or(u64::MAX)));
        family(&mut out, &Family::gauge("pipework_attachments", "Attachments that are recorded on this host."), count);
    }
    let up = |state: &EngineState| if *state == EngineState::Connected { 1.0 } else { 0.0 };
    let engines = health.engines().iter().map(|(name, state)| (format!("{{engine={}}}", quoted(name)), up(state)));
    family(&mut out, &Family::gauge("pipework_engine_up", "Whether the engine tells its events."), engines.collect());
    let healthy = if health.complaints().is_empty() { 1.0 } else { 0.0 };
    family(&mut out, &Family::gauge("pipework_healthy", "Whether /healthz says that all is well."), one(healthy));
    if let Some(at) = health.last_check() {
        let help = "When all attachments were last looked at, in seconds since 1970.";
        family(&mut out, &Family::gauge("pipework_last_check_timestamp_seconds", help), one(seconds(at)));
    }
    let followers = one(number(u64::try_from(board.followers()).unwrap_or(u64::MAX)));
    family(&mut out, &Family::gauge("pipework_event_followers", "Who follows /v1/events at this moment."), followers);
    let help = "Events that followers missed, being too slow.";
    family(&mut out, &Family::counter("pipework_event_followers_missed_total", help), one(number(figures.missed)));
    process(&mut out);
    out
}

impl<'a> Family<'a> {
    fn gauge(name: &'a str, help: &'a str) -> Self {
        Self { name, kind: "gauge", help }
    }

    fn counter(name: &'a str, help: &'a str) -> Self {
        Self { name, kind: "counter", help }
    }

    fn head(&self, out: &mut String) {
        let _ = writeln!(out, "# HELP {} {}\n# TYPE {} {}", self.name, self.help, self.name, self.kind);
    }
}

/// One line for each sample. Without any there is no family.
fn family(out: &mut String, family: &Family<'_>, samples: Vec<(String, f64)>) {
    if samples.is_empty() {
        return;
    }
    family.head(out);
    for (labels, value) in samples {
        let _ = writeln!(out, "{}{labels} {value}", family.name);
    }
}

fn histogram(out: &mut String, board: &Board) {
    let figures = board.figures();
    let name = "pipework_attach_duration_seconds";
    Family { name, kind: "histogram", help: "From the engine's word of a container's start until it has its address." }.head(out);
    for (bound, count) in figures.within() {
        let _ = writeln!(out, "{name}_bucket{{le=\"{bound}\"}} {count}");
    }
    let all = figures.attaches();
    let _ = writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {all}");
    let _ = writeln!(out, "{name}_sum {}\n{name}_count {all}", number(figures.attaching_us()) / 1e6);
}

/// The process's own figures, under the names that every Prometheus client uses.
fn process(out: &mut String) {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
    // Behind the program's name, which may hold anything (proc_pid_stat(5)); its field 14 is the twelfth there.
    let stat = read("stat");
    let fields: Vec<u64> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().map(|f| f.parse().unwrap_or(0)).collect();
    let ticks = setting(nix::unistd::SysconfVar::CLK_TCK);
    let page = setting(nix::unistd::SysconfVar::PAGE_SIZE);
    let field = |at: usize| fields.get(at).copied().unwrap_or(0);
    let used = number(field(11) + field(12)) / number(ticks.max(1));
    let files = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let one = |value: f64| vec![(String::new(), value)];
    family(out, &Family::counter("process_cpu_seconds_total", "CPU time, of the user and of the system, in seconds."), one(used));
    family(out, &Family::gauge("process_resident_memory_bytes", "Memory in use, in bytes."), one(number(field(21) * page)));
    family(out, &Family::gauge("process_open_fds", "Open files."), one(number(u64::try_from(files).unwrap_or(u64::MAX))));
    family(out, &Family::gauge("process_threads", "Threads."), one(number(field(17))));
    let boot = read("../stat").lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<u64>().ok());
    if let Some(boot) = boot {
        let started = number(boot) + number(field(19)) / number(ticks.max(1));
        family(out, &Family::gauge("process_start_time_seconds", "When the process started, in seconds since 1970."), one(started));
    }
}

fn setting(name: nix::unistd::SysconfVar) -> u64 {
    nix::unistd::sysconf(name).ok().flatten().and_then(|value| u64::try_from(value).ok()).unwrap_or(0)
}

/// Prometheus has only such numbers; above 2^53 they are rounded.
#[allow(clippy::cast_precision_loss)]
fn number(value: u64) -> f64 {
    value as f64
}

fn seconds(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// A label's value.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::super::super::board::{Event, Kind, Log};
    use super::*;
    use std::collections::BTreeSet;
    use std::time::Duration;

    #[test]
    fn every_sample_follows_the_help_and_the_type_of_its_family_and_no_label_breaks_out() {
        let board = Board::new(Log::Silent);
        board.tell(Event::new(Kind::Attached).took(Duration::from_millis(4)));
        board.engine("do\"ck\\er\n", EngineState::Connected);
        board.checked(Duration::from_secs(60));
        let text = text(&board, Some(3));
        let (mut helped, mut family) = (BTreeSet::new(), String::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                family = rest.split(' ').next().unwrap().to_owned();
                assert!(helped.insert(family.clone()), "{family} twice");
                assert!(rest.len() > family.len() + 5);
                continue;
            }
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                assert_eq!(rest.split(' ').next(), Some(family.as_str()));
                continue;
            }
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(name.starts_with(&family), "{line} under {family}");
        }
        for sample in [
            "pipework_attachments 3",
            "pipework_events_total{kind=\"attached\"} 1",
            "pipework_attach_duration_seconds_bucket{le=\"0.0025\"} 0",
            "pipework_attach_duration_seconds_bucket{le=\"0.005\"} 1",
            "pipework_attach_duration_seconds_bucket{le=\"+Inf\"} 1",
            "pipework_attach_duration_seconds_sum 0.004",
            "pipework_attach_duration_seconds_count 1",
            "pipework_engine_up{engine=\"do\\\"ck\\\\er\\n\"} 1",
        ] {
            assert!(text.lines().any(|line| line == sample), "{sample} is not in:\n{text}");
        }
        let of = |name: &str| text.lines().find_map(|l| l.strip_prefix(&format!("{name} "))?.parse::<f64>().ok()).unwrap();
        assert!(of("process_resident_memory_bytes") > 1e6 && of("process_open_fds") >= 3.0 && of("process_threads") >= 1.0);
        let now = seconds(SystemTime::now());
        assert!((now - of("process_start_time_seconds")).abs() < 3600.0);
    }
}
