//! What the daemon's own environment says, in the variables of the dreamcat4 image.

use std::collections::BTreeMap;

use super::environment::{COMMAND, ROUTE, is_true};
use super::line;
use super::template::{Language, Values};
use super::{Container, Host, IntentError, Source};

/// The daemon's own variables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DaemonEnvironment {
    /// `pipework_run_mode`; none when nothing is said.
    pub run_modes: Option<RunModes>,
    /// `pipework_host_routes`: this host is to reach every guest of a variable.
    pub host_routes: bool,
    /// `pipework_host_route_arping`. Our host access looks for no free address, so that there is nothing to ask.
    pub host_route_arping: bool,
    /// `pipework_host_route_protocols`: `inet`, `inet6`. Our host access is of the first address's family.
    pub host_route_protocols: Vec<String>,
    /// `pipework_up_time`: the daemon ends after so many milliseconds.
    pub up_time: Option<u64>,
    /// `pipework_sleep`: so many milliseconds pass before it begins.
    pub sleep: u64,
    /// `pipework_key`: what a container has to have as its own `pipework_key`.
    pub key: Option<String>,
    /// `*pipework_cmd*`, in alphabetical order of name: what is attached in run mode `manual`.
    pub commands: Vec<ManualCommand>,
    /// `pipework_event_filters`, as pairs of `container`, `image` or `label`, and a value.
    pub event_filters: Vec<(String, String)>,
    /// `pipework_cleanup_wait`: so many milliseconds from a guest's end until it is cleared up.
    pub cleanup_wait: u64,
    /// `pipework_retry_delay`: so many milliseconds until what failed is tried again.
    pub retry_delay: Option<u64>,
    /// `pipework_inter_delay`: so many milliseconds from one attachment to the next.
    pub inter_delay: u64,
    /// `pipework_route_add_delay`, in milliseconds. Our host access has nothing to wait for.
    pub route_add_delay: u64,
    /// `pipework_debug`: more is told.
    pub debug: bool,
}

/// What the daemon does of itself, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunModes {
    /// Its own `*pipework_cmd*`.
    pub manual: bool,
    /// The containers that run.
    pub batch: bool,
    /// Those that start later.
    pub daemon: bool,
}

/// A whole line of the original's, from the daemon's own environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManualCommand {
    /// The variable.
    pub source: Source,
    /// Its guest, as it is written.
    pub guest: String,
    /// The words of `attach` without the guest.
    pub words: Vec<String>,
    /// Whether host and guest are to reach each other.
    pub host_access: bool,
}

/// A container's variable that has to be as the daemon's.
const KEY: &str = "pipework_key";

impl DaemonEnvironment {
    /// Reads the variables. Where a run mode is said, all may stand without `pipework_`, as on the image's own container.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn read(variables: &BTreeMap<String, String>) -> Result<Self, Vec<IntentError>> {
        let mut reader = Reader { variables, wrong: Vec::new() };
        let mut read = Self {
            run_modes: reader.parsed("run_mode", run_modes),
            host_routes: reader.is_set("host_routes"),
            host_route_arping: reader.is_set("host_route_arping"),
            host_route_protocols: reader.parsed("host_route_protocols", protocols).unwrap_or_else(|| vec!["inet".into()]),
            up_time: reader.parsed("up_time", milliseconds),
            sleep: reader.parsed("sleep", milliseconds).unwrap_or_default(),
            key: reader.value("key").map(|(_, key)| key.to_owned()),
            commands: Vec::new(),
            event_filters: reader.parsed("event_filters", filters).unwrap_or_default(),
            cleanup_wait: reader.parsed("cleanup_wait", milliseconds).unwrap_or_default(),
            retry_delay: reader.parsed("retry_delay", milliseconds).filter(|delay| *delay > 0),
            inter_delay: reader.parsed("inter_delay", milliseconds).unwrap_or_default(),
            route_add_delay: reader.parsed("route_add_delay", milliseconds).unwrap_or_default(),
            debug: reader.is_set("debug"),
        };
        read.commands = reader.commands(read.host_routes);
        if reader.wrong.is_empty() { Ok(read) } else { Err(reader.wrong) }
    }

    /// Whether a container is one that it looks at: by the key, and by the filters as the engine takes them for its events.
    pub fn takes(&self, container: &Container) -> bool {
        if self.key.as_ref().is_some_and(|key| container.env.get(KEY) != Some(key)) {
            return false;
        }
        ["container", "image", "label"].iter().all(|kind| {
            let mut values = self.event_filters.iter().filter(|(name, _)| name == kind).map(|(_, value)| value.as_str()).peekable();
            // Of one kind one is enough (`docker events`, Filtering).
            values.peek().is_none() || values.any(|value| passes(kind, value, container))
        })
    }
}

fn passes(kind: &str, value: &str, container: &Container) -> bool {
    match (kind, value.split_once('=')) {
        ("container", _) => value == container.name || value.parse().is_ok_and(|guest| container.is_called(&guest)),
        ("image", _) => container.image == value || container.image_name() == value,
        (_, Some((key, value))) => container.labels.get(key).is_some_and(|label| label == value),
        (_, None) => container.labels.contains_key(value),
    }
}

struct Reader<'a> {
    variables: &'a BTreeMap<String, String>,
    wrong: Vec<IntentError>,
}

impl<'a> Reader<'a> {
    /// A variable by its name with the prefix or, on a container of the image's, without.
    fn value(&self, name: &str) -> Option<(Source, &'a str)> {
        let full = format!("pipework_{name}");
        let bare = self.variables.get(&full).is_none_or(|value| value.is_empty()) && self.is_image_s();
        let variable = if bare { name } else { full.as_str() };
        let value = self.variables.get(variable).map(|value| value.trim()).filter(|value| !value.is_empty())?;
        Some((Source::env(variable), value))
    }

    fn is_image_s(&self) -> bool {
        ["run_mode", "pipework_run_mode"].iter().any(|name| self.variables.get(*name).is_some_and(|value| !value.is_empty()))
    }

    fn is_set(&self, name: &str) -> bool {
        self.value(name).is_some_and(|(_, value)| is_true(value))
    }

    fn parsed<T>(&mut self, name: &str, parse: fn(&str) -> Result<T, String>) -> Option<T> {
        let (source, value) = self.value(name)?;
        parse(value).map_err(|why| self.wrong.push(source.wrong(why))).ok()
    }

    fn commands(&mut self, host_routes: bool) -> Vec<ManualCommand> {
        let mut all = Vec::new();
        let (nobody, host) = (Container::default(), Host::default());
        let bare = self.is_image_s().then_some("cmd");
        for (name, value) in self.variables.iter().filter(|(name, _)| name.contains(COMMAND) || Some(name.as_str()) == bare) {
            let source = Source::env(name);
            match line::read(value, Language::Macros, &Values { container: &nobody, host: &host }) {
                Ok(line) => {
                    let route = if name == "cmd" { "host_route".to_owned() } else { name.replace(COMMAND, ROUTE) };
                    let host_access = host_routes || self.variables.get(&route).is_some_and(|value| is_true(value));
                    all.push(ManualCommand { source, guest: line.guest, words: line.words, host_access });
                }
                Err(why) => self.wrong.push(source.wrong(why)),
            }
        }
        all
    }
}

fn run_modes(text: &str) -> Result<RunModes, String> {
    let mut modes = RunModes::default();
    for word in text.split(',').map(str::trim) {
        match word {
            "manual" => modes.manual = true,
            "batch" => modes.batch = true,
            "daemon" => modes.daemon = true,
            "both" => modes = RunModes { batch: true, daemon: true, ..modes },
            "all" => modes = RunModes { manual: true, batch: true, daemon: true },
            _ => return Err(format!("{word:?} is no run mode: give manual, batch, daemon, both, all, or several with commas between")),
        }
    }
    Ok(modes)
}

fn protocols(text: &str) -> Result<Vec<String>, String> {
    let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    match words.iter().find(|word| !["inet", "inet6"].contains(&word.as_str())) {
        Some(word) => Err(format!("{word:?} is no protocol: give inet, inet6, or both with a space between")),
        None => Ok(words),
    }
}

fn filters(text: &str) -> Result<Vec<(String, String)>, String> {
    let read = |one: &str| match one.trim().split_once('=') {
        Some((name @ ("container" | "image" | "label"), value)) if !value.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("{one:?} is no filter: give container=NAME, image=NAME, label=KEY or label=KEY=VALUE, with commas between")),
    };
    text.split(',').map(read).collect()
}

/// Seconds, with a fraction if need be, as sleep(1) takes them.
fn milliseconds(text: &str) -> Result<u64, String> {
    let refuse = || format!("{text:?} is no time: give seconds up to a year, like 5 or 0.5");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return Err(refuse());
    }
    let year = 366 * 24 * 60 * 60;
    let whole = whole.parse::<u64>().ok().filter(|seconds| *seconds <= year).ok_or_else(refuse)?;
    let thousandths: String = fraction.chars().chain("00".chars()).take(3).collect();
    Ok(whole * 1000 + thousandths.parse::<u64>().map_err(|_| refuse())?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn variables(all: &[(&str, &str)]) -> BTreeMap<String, String> {
        all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn read(all: &[(&str, &str)]) -> DaemonEnvironment {
        DaemonEnvironment::read(&variables(all)).unwrap()
    }

    #[test]
    fn the_image_s_own_example_is_read_as_it_stands() {
        let all = read(&[
            ("key", "APScQYDITSrNt+9YS13INVP6m/3oH/iSlh4Gc7R or any"),
            ("run_mode", "manual,batch,daemon"),
            ("event_filters", "image=busybox,container=a_container"),
            ("host_routes", "true"),
            ("host_route_arping", "true"),
            ("sleep", "60"),
            ("debug", "true"),
            ("cleanup_wait", "30"),
            ("retry_delay", "5"),
            ("inter_delay", "0.25"),
            ("route_add_delay", "1"),
            ("up_time", "60"),
            ("cmd", " eth0 -i eth3 a_container dhcp"),
            ("pipework_cmd_other", "br1 web 10.0.0.2/24"),
        ]);
        assert_eq!(all.run_modes, Some(RunModes { manual: true, batch: true, daemon: true }));
        assert_eq!(all.event_filters, [("image".into(), "busybox".into()), ("container".into(), "a_container".into())]);
        assert!(all.host_routes && all.host_route_arping && all.debug && all.key.is_some());
        let times = (all.sleep, all.cleanup_wait, all.retry_delay, all.inter_delay, all.route_add_delay, all.up_time);
        assert_eq!(times, (60_000, 30_000, Some(5000), 250, 1000, Some(60_000)));
        let commands: Vec<_> = all.commands.iter().map(|one| (one.guest.as_str(), one.words.join(" "), one.host_access)).collect();
        assert_eq!(commands, [("a_container", "eth0 -i eth3 dhcp".into(), true), ("web", "br1 10.0.0.2/24".into(), true)]);
    }

    #[test]
    fn without_a_run_mode_only_names_with_the_prefix_count() {
        let all = read(&[("key", "x"), ("debug", "1"), ("sleep", "9"), ("cmd", "ls"), ("pipework_key", "y"), ("HOME", "/root")]);
        assert_eq!((all.run_modes, all.key.as_deref(), all.debug, all.sleep), (None, Some("y"), false, 0));
        assert!(all.commands.is_empty() && all.host_route_protocols == ["inet"]);
        assert!(!read(&[("pipework_host_routes", "false")]).host_routes);
    }

    #[test]
    fn run_modes_have_short_names_for_several() {
        for (text, wanted) in [("both", (false, true, true)), ("all", (true, true, true)), ("daemon, manual", (true, false, true))] {
            let modes = read(&[("pipework_run_mode", text)]).run_modes.unwrap();
            assert_eq!((modes.manual, modes.batch, modes.daemon), wanted, "{text}");
        }
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let wrong = DaemonEnvironment::read(&variables(&[
            ("pipework_run_mode", "demon"),
            ("pipework_up_time", "1h"),
            ("pipework_inter_delay", "-1"),
            ("pipework_retry_delay", "9999999999"),
            ("pipework_event_filters", "image=a,event=start"),
            ("pipework_host_route_protocols", "ipx"),
            ("pipework_cmd", "eth0 $(reboot) @CONTAINER_NAME@ dhcp"),
        ]))
        .unwrap_err();
        assert_eq!(wrong.len(), 7, "{wrong:?}");
    }

    #[test]
    fn key_and_filters_say_which_containers_are_looked_at() {
        let container = Container {
            name: "web".into(),
            id: "0123456789abcdef".into(),
            image: "registry/busybox:1.36".into(),
            env: variables(&[("pipework_key", "k")]),
            labels: variables(&[("team", "a")]),
            ..Container::default()
        };
        for (name, value, wanted) in [
            ("pipework_key", "k", true),
            ("pipework_key", "K", false),
            ("pipework_event_filters", "container=web", true),
            ("pipework_event_filters", "container=db,container=0123456789ab", true),
            ("pipework_event_filters", "container=db", false),
            ("pipework_event_filters", "image=registry/busybox", true),
            ("pipework_event_filters", "image=registry/busybox:1.36", true),
            ("pipework_event_filters", "image=busybox", false),
            ("pipework_event_filters", "label=team", true),
            ("pipework_event_filters", "label=team=a,container=web", true),
            ("pipework_event_filters", "label=team=b,container=web", false),
        ] {
            assert_eq!(read(&[(name, value)]).takes(&container), wanted, "{name}={value}");
        }
        assert!(!read(&[("pipework_key", "k")]).takes(&Container::default()));
    }
}
