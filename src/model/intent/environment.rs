//! A container's own variables, as the dreamcat4 image knows them. That one lets a shell evaluate them as root; here they are
//! words, and nothing else.

use super::line::{self, Line};
use super::template::{Language, Values};
use super::{Container, Host, Intent, IntentError, MOST, Source};
use crate::model::request::GuestRef;

pub(super) const COMMAND: &str = "pipework_cmd";
pub(super) const ROUTE: &str = "pipework_host_route";
pub(super) const ROUTES: &str = "pipework_host_routes";
pub(super) const RUN_MODE: &str = "pipework_run_mode";
/// The image whose containers are no guests but daemons.
const IMAGE: &str = "dreamcat4/pipework";

/// What a container's `*pipework_cmd*` ask for, in alphabetical order of their names.
pub(super) fn intents(container: &Container, host: &Host) -> Vec<Result<Intent, IntentError>> {
    if is_daemon(container) {
        return Vec::new();
    }
    let commands = container.env.iter().filter(|(name, _)| name.contains(COMMAND));
    let mut all: Vec<_> = commands.map(|(name, value)| intent(name, value, container, host)).take(MOST + 1).collect();
    super::at_most(&mut all, "variables");
    all
}

/// A container that is such a daemon has its commands for itself.
fn is_daemon(container: &Container) -> bool {
    let name = container.image_name();
    name == IMAGE || name.ends_with(&format!("/{IMAGE}")) || container.env.contains_key(RUN_MODE)
}

fn intent(name: &str, value: &str, container: &Container, host: &Host) -> Result<Intent, IntentError> {
    let source = Source::env(name);
    if name.len() > super::LONGEST_NAME {
        return Err(source.wrong(format!("its name has {} bytes: {} are the most", name.len(), super::LONGEST_NAME)));
    }
    let read = line::read(value, Language::Macros, &Values { container, host }).and_then(|line| own(line, container));
    let is_set = |name: &str| container.env.get(name).is_some_and(|value| is_true(value));
    match read {
        Ok(words) => {
            let host_access = host.environment.host_routes || is_set(ROUTES) || is_set(&name.replace(COMMAND, ROUTE));
            Ok(Intent { source, words, host_access })
        }
        Err(why) => Err(source.wrong(why)),
    }
}

/// The words of a line whose guest is the container that has it.
fn own(line: Line, container: &Container) -> Result<Vec<String>, String> {
    match line.guest.parse::<GuestRef>() {
        Ok(guest) if container.is_called(&guest) => Ok(line.words),
        Ok(guest) => Err(format!("its guest is {guest}, but a container asks for itself only: write @CONTAINER_NAME@")),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether a switch is on. Any word is for the original image; who writes `false` means it.
pub(super) fn is_true(value: &str) -> bool {
    !["", "0", "no", "off", "false"].iter().any(|off| value.trim().eq_ignore_ascii_case(off))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::intent::DaemonEnvironment;

    fn container(env: &[(&str, &str)]) -> Container {
        let env = env.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let id = "0123456789abcdef0123456789abcdef".to_owned();
        let labels = [("com.docker.compose.project".to_owned(), "shop".to_owned())].into();
        Container { engine: "docker".into(), name: "prod_web_4".into(), id, hostname: "web".into(), env, labels, ..Container::default() }
    }

    fn read(env: &[(&str, &str)], host: &Host) -> Vec<(String, bool)> {
        let told = |intent: Result<Intent, IntentError>| {
            intent.map_or_else(|error| (error.to_string(), false), |intent| (intent.words.join(" "), intent.host_access))
        };
        super::super::intents(&container(env), host).into_iter().map(told).collect()
    }

    #[test]
    fn variables_are_lines_of_the_original_in_alphabetical_order() {
        let env = [
            ("pipework_cmd_dhcp1", "        eth0 -i eth0 @CONTAINER_NAME@ dhcp"),
            ("pipework_cmd_ip", "           eth0 -i eth1 @CONTAINER_ID@ 192.168.101.@INSTANCE@/24"),
            ("pipework_host_route_ip", "    true"),
            ("another_pipework_cmd", "br@COMPOSE_PROJECT_NAME@ -i eth2 docker:@CONTAINER_NAME@ 10.0.0.2/24 U:@HOSTNAME@@10"),
            ("another_pipework_host_route", "false"),
            ("PATH", "/bin"),
        ];
        let wanted =
            [("brshop -i eth2 10.0.0.2/24 U:web@10", false), ("eth0 -i eth0 dhcp", false), ("eth0 -i eth1 192.168.101.4/24", true)];
        assert_eq!(read(&env, &Host::default()), wanted.map(|(words, access)| (words.to_owned(), access)));
    }

    #[test]
    fn another_guest_is_refused_and_nothing_is_evaluated() {
        for (value, wanted) in [
            ("eth0 db 10.0.0.2/24", "its guest is db"),
            ("eth0 podman:@CONTAINER_NAME@ 10.0.0.2/24", "its guest is podman:prod_web_4"),
            ("eth0 0123456789a 10.0.0.2/24", "its guest is 0123456789a"),
            ("eth0 netns:/proc/1/ns/net 0/0", "its guest is netns:"),
            ("eth0 pid:1 0/0", "its guest is pid:1"),
            ("eth0 $(id) 0/0", "letters, digits"),
            ("eth0 `id` 0/0", "letters, digits"),
            ("route @CONTAINER_NAME@ add default via 10.0.0.1", "route is not for a variable"),
            ("eth0 @CONTAINER@ 0/0", "no macro"),
            ("eth0", "GUEST is missing"),
        ] {
            let told = read(&[("pipework_cmd", value)], &Host::default());
            assert!(told[0].0.contains(wanted), "{value}: {told:?}");
        }
    }

    #[test]
    fn host_routes_are_asked_for_by_the_daemon_the_container_or_the_command() {
        let command = ("pipework_cmd", "eth0 @CONTAINER_NAME@ 10.0.0.2/24");
        let all = Host { environment: DaemonEnvironment { host_routes: true, ..DaemonEnvironment::default() }, ..Host::default() };
        assert!(read(&[command], &all)[0].1 && !read(&[command], &Host::default())[0].1);
        for (name, value, wanted) in [
            ("pipework_host_route", "true", true),
            ("pipework_host_routes", "1", true),
            ("pipework_host_route_x", "true", false),
            ("pipework_host_route", "No", false),
        ] {
            assert_eq!(read(&[command, (name, value)], &Host::default())[0].1, wanted, "{name}={value}");
        }
    }

    #[test]
    fn a_daemon_s_own_variables_are_no_guest_s() {
        let mut daemon = container(&[("pipework_cmd", "eth0 db 10.0.0.2/24")]);
        for image in ["dreamcat4/pipework", "dreamcat4/pipework:latest", "docker.io/dreamcat4/pipework@sha256:0"] {
            daemon.image = image.into();
            assert!(super::super::intents(&daemon, &Host::default()).is_empty(), "{image}");
        }
        assert!(read(&[("pipework_cmd", "eth0 db 10.0.0.2/24"), ("pipework_run_mode", "batch")], &Host::default()).is_empty());
    }
}
