//! Command lines of the DHCP clients that a user can name: the original's, corrected where they left the wrong thing
//! behind.
//!
//! All of them end when the lease is there and applied: those that stay have gone into the background by then. So the exit
//! status of what was started tells, for each of them, whether there is a lease.

use super::command::quoted;
use super::dynamic::ClientProgram;
use super::types::IfName;

/// What a client is started for.
#[derive(Clone, Debug)]
pub struct Purpose<'a> {
    /// Which client.
    pub program: ClientProgram,
    /// It stays and renews.
    pub stay: bool,
    /// The user's own options, split at white space: no shell sees them.
    pub options: &'a str,
    /// The guest's interface.
    pub interface: &'a IfName,
    /// The guest, as a part of a file's name.
    pub file_name: String,
    /// The guest's name, for the server.
    pub host_name: Option<String>,
    /// How long it may take, in seconds.
    pub deadline_s: u64,
}

/// A client's command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCommand {
    /// The program's name.
    pub program: &'static str,
    /// Its arguments.
    pub args: Vec<String>,
}

impl ClientCommand {
    /// The command line for a purpose. The user's options come last.
    pub fn new(purpose: &Purpose<'_>) -> Self {
        let mut args = match purpose.program {
            ClientProgram::Udhcpc => {
                let pid_file = format!("/var/run/{}", pid_file(purpose.program, &purpose.file_name));
                udhcpc(purpose).into_iter().chain(["-p".into(), pid_file]).collect()
            }
            ClientProgram::Dhclient => dhclient(purpose),
            ClientProgram::Dhcpcd => dhcpcd(purpose),
        };
        args.extend(purpose.options.split_whitespace().map(str::to_owned));
        Self { program: purpose.program.name(), args }
    }

    /// What makes this client, while it runs, give its lease back.
    pub fn release(&self) -> Release {
        match self.program {
            "udhcpc" => Release::Signal(ReleaseSignal::User2),
            "dhcpcd" => Release::Signal(ReleaseSignal::Alarm),
            // It knows no signal for it: another of it, with the same files, tells the server and ends the first.
            _ => {
                let kept = self.args.iter().filter(|arg| *arg != "-1").cloned();
                Release::Command(Self { program: self.program, args: std::iter::once("-r".to_owned()).chain(kept).collect() })
            }
        }
    }

    /// As a line for a POSIX shell.
    pub fn print(&self) -> String {
        std::iter::once(self.program.to_owned()).chain(self.args.iter().map(|arg| quoted(arg))).collect::<Vec<_>>().join(" ")
    }
}

/// How a client is made to give its lease back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Release {
    /// By a signal.
    Signal(ReleaseSignal),
    /// By another run of it.
    Command(ClientCommand),
}

/// The signals that clients know for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseSignal {
    /// SIGUSR2: busybox's udhcpc.
    User2,
    /// SIGALRM: dhcpcd(8).
    Alarm,
}

/// The command of a container with busybox's client. `-f` among the options keeps it running.
pub fn container_command(purpose: &Purpose<'_>) -> Vec<String> {
    let options = purpose.options.split_whitespace().map(str::to_owned);
    std::iter::once("udhcpc".to_owned()).chain(udhcpc(purpose)).chain(options).collect()
}

/// Whether a client's options ask for an IPv6 address instead.
pub fn asks_for_ipv6(options: &str) -> bool {
    options.split_whitespace().any(|word| word == "-6" || word == "--ipv6only")
}

/// The name of the original's file with the client's process ID, in /var/run.
pub fn pid_file(program: ClientProgram, guest: &str) -> String {
    format!("{}.{guest}.pid", program.name())
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Busybox's. The original lacks `-n`: without it no lease means waiting in the background, with exit status 0. And it
/// passes `-q` even where it is to stay.
fn udhcpc(purpose: &Purpose<'_>) -> Vec<String> {
    // -t discovers, -T seconds apart: it says itself that there is no lease, just before its time is over.
    let seconds = purpose.deadline_s.max(1);
    let apart = if seconds > 6 { 3 } else { 1 };
    let mut args = words(&format!("-i {} -n -t {} -T {apart}", purpose.interface, (seconds.saturating_sub(1) / apart).max(1)));
    if !purpose.stay {
        args.push("-q".into());
    }
    let tells_name = purpose.options.split_whitespace().any(|word| word.starts_with("hostname:") || word.starts_with("-xhostname:"));
    if let Some(name) = purpose.host_name.as_ref().filter(|_| !tells_name) {
        args.extend(["-x".into(), format!("hostname:{name}")]);
    }
    args
}

/// The ISC's. `-1`: without a lease it ends, instead of trying for ever in the background. One that stays is to do just
/// that when it loses its lease.
fn dhclient(purpose: &Purpose<'_>) -> Vec<String> {
    let pid_file = format!("/var/run/{}", pid_file(purpose.program, &purpose.file_name));
    let leases = format!("/var/lib/dhcp/dhclient.{}.leases", purpose.file_name);
    let once = if purpose.stay { "" } else { "-1" };
    let args = [purpose.interface.as_str(), once, "-v", "-pf", &pid_file, "-lf", &leases];
    args.into_iter().filter(|arg| !arg.is_empty()).map(str::to_owned).collect()
}

/// Roy Marples's. It goes into the background, or ends with `-1`, only with an IPv4 address (`-w4`); one that it makes up
/// when nobody answers (`-L` forbids it) is none. `-p`: what is configured stays when it ends.
fn dhcpcd(purpose: &Purpose<'_>) -> Vec<String> {
    let mut args = words(if purpose.stay { "-L" } else { "-1 -B -p -L" });
    args.push(if asks_for_ipv6(purpose.options) { "-w6" } else { "-w4" }.into());
    args.push(purpose.interface.to_string());
    if let Some(name) = &purpose.host_name {
        args.extend(["-h".into(), name.clone()]);
    }
    args
}

/// Options of a client that would take it out of our hands.
struct Forbidden {
    /// Letters that may stand together behind one dash.
    letters: &'static str,
    /// Letters whose value follows, in the same word or the next.
    valued: &'static str,
    /// Whole words.
    words: &'static [&'static str],
}

fn forbidden(program: ClientProgram) -> Forbidden {
    match program {
        ClientProgram::Udhcpc => Forbidden {
            letters: "fbqip",
            valued: "tTAisprVFxOaP",
            words: &["--foreground", "--background", "--quit", "--interface", "--pidfile"],
        },
        // Its options are words, whatever their length.
        ClientProgram::Dhclient => Forbidden { letters: "", valued: "", words: &["-d", "-n", "-nw", "-r", "-x", "-w", "-pf", "--no-pid"] },
        ClientProgram::Dhcpcd => Forbidden {
            letters: "bB1kxnNgUTPM",
            valued: "cefhijlmorstuvwyzCDFIOQSWXZ",
            words: &[
                "--background",
                "--nobackground",
                "--oneshot",
                "--release",
                "--exit",
                "--rebind",
                "--renew",
                "--reconfigure",
                "--dumplease",
                "--test",
                "--printpidfile",
                "--master",
                "--manager",
            ],
        },
    }
}

/// The first of the options, if any, that would take the client out of our hands: what is to become of it is told by its
/// name, with or without `-f`.
pub fn forbidden_option(program: ClientProgram, options: &str) -> Option<&str> {
    let forbidden = forbidden(program);
    options.split_whitespace().find(|word| is_refused(word, &forbidden))
}

fn is_refused(word: &str, forbidden: &Forbidden) -> bool {
    let long = word.split('=').next().unwrap_or(word);
    if word.contains('\0') || forbidden.words.contains(&long) {
        return true;
    }
    let Some(cluster) = word.strip_prefix('-').filter(|rest| !rest.starts_with('-')) else { return false };
    // What follows a letter with a value is that value.
    let end = cluster.find(|c| forbidden.valued.contains(c)).map_or(cluster.len(), |at| at + 1);
    cluster.get(..end).unwrap_or(cluster).contains(|c| forbidden.letters.contains(c))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn line(program: ClientProgram, stay: bool, options: &str, deadline_s: u64) -> String {
        let interface: IfName = "eth1".parse().unwrap();
        let purpose =
            Purpose { program, stay, options, interface: &interface, file_name: "web".into(), host_name: Some("web".into()), deadline_s };
        ClientCommand::new(&purpose).print()
    }

    #[test]
    fn command_lines_are_the_originals_with_an_end_when_nobody_answers() {
        let udhcpc = |stay, deadline| line(ClientProgram::Udhcpc, stay, "", deadline);
        assert_eq!(udhcpc(false, 30), "udhcpc -i eth1 -n -t 9 -T 3 -q -x hostname:web -p /var/run/udhcpc.web.pid");
        assert_eq!(udhcpc(true, 3), "udhcpc -i eth1 -n -t 2 -T 1 -x hostname:web -p /var/run/udhcpc.web.pid");
        assert_eq!(udhcpc(true, 0), "udhcpc -i eth1 -n -t 1 -T 1 -x hostname:web -p /var/run/udhcpc.web.pid");
        assert_eq!(
            line(ClientProgram::Dhclient, false, "-v", 30),
            "dhclient eth1 -1 -v -pf /var/run/dhclient.web.pid -lf /var/lib/dhcp/dhclient.web.leases -v"
        );
        assert_eq!(line(ClientProgram::Dhcpcd, false, "", 30), "dhcpcd -1 -B -p -L -w4 eth1 -h web");
        assert_eq!(line(ClientProgram::Dhcpcd, true, "-6", 30), "dhcpcd -L -w6 eth1 -h web -6");
    }

    #[test]
    fn a_host_name_that_the_user_gives_is_the_only_one() {
        assert!(!line(ClientProgram::Udhcpc, false, "-x hostname:other", 30).contains("hostname:web"));
    }

    #[test]
    fn options_never_reach_a_shell_as_more_than_words() {
        let printed = line(ClientProgram::Udhcpc, false, "-V $(reboot);x  -O\t'y'", 30);
        assert!(printed.ends_with(r"-V '$(reboot);x' -O ''\''y'\'''"), "{printed}");
    }

    #[test]
    fn options_that_take_the_client_out_of_our_hands_are_refused() {
        use ClientProgram::{Dhclient, Dhcpcd, Udhcpc};
        for (program, options) in [
            (Udhcpc, "-f"),
            (Udhcpc, "-R -Bq"),
            (Udhcpc, "-ieth0"),
            (Udhcpc, "--pidfile=/x"),
            (Dhclient, "-nw"),
            (Dhclient, "-v -r"),
            (Dhcpcd, "-qb"),
            (Dhcpcd, "--release"),
        ] {
            assert!(forbidden_option(program, options).is_some(), "{options}");
        }
        for (program, options) in [
            (Udhcpc, "-R -t 2 -x hostname:fb -Vbip -s /etc/script"),
            (Dhclient, "-cf /etc/x.conf -sf /s"),
            (Dhcpcd, "-q -t 10 --noarp -A -Cbin"),
            (Dhcpcd, "-o ntp_servers"),
        ] {
            assert_eq!(forbidden_option(program, options), None, "{options}");
        }
    }
}
