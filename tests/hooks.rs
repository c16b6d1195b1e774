//! The administrator's own programs around an attach: which are run, with what, and what becomes of one that does not behave.
#![allow(clippy::unwrap_used)]

mod lab;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use lab::{Lab, Ran, Space, assert_same, both, eventually, executable, has_netns_link, no_root, skip};
use serde_json::Value;

/// A lab with a hook folder.
struct Hooked {
    lab: Lab,
    guest: Space,
}

impl Hooked {
    fn new() -> Self {
        let lab = Lab::new();
        let guest = lab.guest();
        Self { lab, guest }
    }

    /// A file of this test.
    fn file(&self, name: &str) -> PathBuf {
        self.lab.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(name)).unwrap_or_default()
    }

    fn hook_path(&self, event: &str, name: &str) -> PathBuf {
        self.file(&format!("hooks.d/{event}/{name}"))
    }

    /// Puts a shell script into an event's folder; `DIR` in it is the test's directory.
    fn hook(&self, event: &str, name: &str, script: &str) -> PathBuf {
        let script = format!("#!/bin/sh\n{}\n", script.replace("DIR", &self.lab.dir.path().display().to_string()));
        self.program(event, name, script.as_bytes())
    }

    fn program(&self, event: &str, name: &str, content: &[u8]) -> PathBuf {
        let path = self.hook_path(event, name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let draft = self.file("draft");
        std::fs::write(&draft, content).unwrap();
        executable(&draft, &path);
        std::fs::remove_file(draft).unwrap();
        path
    }

    fn line(&self) -> String {
        format!("br0 pid:{} 10.1.1.2/24", self.guest.pid())
    }

    /// An attach that a hook stops: told with these words, and nothing is left of it. Returns what was told.
    #[track_caller]
    fn is_stopped(&self, environment: &[(&str, &str)], wanted: &[&str]) -> String {
        let before = both(&self.lab, &self.guest);
        let ran: Ran = self.lab.program().args(self.line().split(' ')).envs(environment.iter().copied()).output().unwrap().into();
        assert_eq!(ran.code, Some(1), "{} {}", ran.out, ran.err);
        for words in wanted {
            assert!(ran.err.contains(words), "{words:?} is not in {}", ran.err);
        }
        assert_same(&before, &both(&self.lab, &self.guest), &ran.err);
        assert!(!has_netns_link(self.guest.pid()));
        let files = std::fs::read_dir(self.lab.dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert_eq!(files.filter(|name| name.ends_with(".lock")).count(), 0);
        ran.err
    }
}

/// Whether the process of that number is there still, and is no zombie.
fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.starts_with(" Z"))
}

#[test]
fn hooks_run_in_the_order_of_their_names_before_and_after_and_read_what_is_done() {
    if no_root() {
        return;
    }
    let hooked = Hooked::new();
    let has_link = format!("nsenter --net=/proc/{}/ns/net ip link show eth1 >/dev/null 2>&1", hooked.guest.pid());
    hooked.hook("pre-attach", "20-b", "echo 20-b >> DIR/log");
    hooked.hook("pre-attach", "10-a", &format!("echo 10-a >> DIR/log; cat > DIR/pre.json; {has_link} && exit 1; exit 0"));
    hooked.hook("post-attach", "a", &format!("echo a >> DIR/log; cat > DIR/post.json; {has_link}"));
    for no_hook in ["10-a~", "10-a.dpkg-old", ".hidden", "README.txt"] {
        hooked.hook("pre-attach", no_hook, "echo wrong >> DIR/log; exit 1");
    }
    hooked.hook("pre-detach", "a", "echo wrong >> DIR/log");
    let ran = hooked.lab.run(&format!("{}@10.1.1.1", hooked.line()));
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(hooked.text("log"), "10-a\n20-b\na\n");
    let read = |name: &str| serde_json::from_str::<Value>(&hooked.text(name)).unwrap();
    let (pre, post) = (read("pre.json"), read("post.json"));
    for (document, event) in [(&pre, "pre-attach"), (&post, "post-attach")] {
        assert_eq!((&document["schema"], &document["event"]), (&1.into(), &event.into()));
        assert_eq!(document["guest"]["pid"], hooked.guest.pid());
        assert_eq!((&document["interface"], &document["addresses"][0]), (&"eth1".into(), &"10.1.1.2/24".into()));
        assert_eq!(document["gateways"][0], "10.1.1.1");
        assert!(document["request"].is_object());
    }
    assert_eq!(pre["report"], Value::Null);
    assert_eq!((&post["report"]["result"], &post["report"]["address"]), (&"attached".into(), &"10.1.1.2/24".into()));
}

#[test]
fn a_dry_run_and_an_attach_that_has_nothing_to_do_run_none_and_verbose_names_each() {
    if no_root() {
        return;
    }
    let hooked = Hooked::new();
    hooked.hook("pre-attach", "a", "echo pre >> DIR/log");
    let post = hooked.hook("post-attach", "a", "echo post >> DIR/log");
    assert_eq!(hooked.lab.run(&format!("--dry-run {}", hooked.line())).code, Some(0));
    assert_eq!(hooked.text("log"), "");
    let ran = hooked.lab.run(&format!("-v {}", hooked.line()));
    assert!(ran.err.contains(&format!("pipework: run hook {}\n", post.display())), "{}", ran.err);
    assert_eq!(hooked.text("log"), "pre\npost\n");
    hooked.lab.ok(&hooked.line());
    assert_eq!(hooked.text("log"), "pre\npost\n");
    // One that cannot be planned asks nobody, either.
    hooked.lab.fails(&hooked.line().replace("10.1.1.2", "10.1.1.3"), "eth1");
    assert_eq!(hooked.text("log"), "pre\npost\n");
}

#[test]
fn a_failing_hook_stops_all_before_anything_is_done_and_is_quoted() {
    if no_root() {
        return;
    }
    let hooked = Hooked::new();
    hooked.hook("pre-attach", "10-a", "echo ran >> DIR/log");
    let path = hooked.hook("pre-attach", "20-b", "echo 'no more than two' >&2; echo 'ask Bob'; exit 3");
    hooked.hook("pre-attach", "30-c", "echo wrong >> DIR/log");
    hooked.hook("post-attach", "a", "echo wrong >> DIR/log");
    let wanted = format!("hook {} ended with exit status 3; it said: no more than two; ask Bob", path.display());
    hooked.is_stopped(&[], &[&wanted]);
    assert_eq!(hooked.text("log"), "ran\n");
    hooked.hook("pre-attach", "20-b", "kill -9 $$");
    hooked.is_stopped(&[], &["ended by SIGKILL, without a word"]);
    hooked.program("pre-attach", "20-b", b"#!/no/such/interpreter\n");
    hooked.is_stopped(&[], &["ended with exit status 126; it said: it cannot be run: No such file or directory"]);
    // The same for programs.
    let ran = hooked.lab.run(&format!("--json {}", hooked.line()));
    let failed: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(failed["result"], "failed");
    assert!(failed["error"].to_string().contains("it cannot be run"), "{failed}");
}

#[test]
fn what_others_could_have_written_is_refused_and_then_no_hook_is_run() {
    if no_root() {
        return;
    }
    let hooked = Hooked::new();
    hooked.hook("pre-attach", "10-a", "echo wrong >> DIR/log");
    let path = hooked.hook("pre-attach", "20-b", "echo wrong >> DIR/log");
    let folder = path.parent().unwrap();
    let chmod = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    let owner = |uid| nix::unistd::chown(&path, Some(nix::unistd::Uid::from_raw(uid)), None).unwrap();
    for (mode, why) in [(0o775, "writable by others"), (0o757, "writable by others"), (0o644, "it is not executable")] {
        chmod(&path, mode);
        hooked.is_stopped(&[], &[&format!("hook {} is refused", path.display()), why, "hint: chmod"]);
    }
    chmod(&path, 0o755);
    owner(65534);
    hooked.is_stopped(&[], &["it belongs to user 65534", &format!("hint: chown root {}", path.display())]);
    owner(0);
    for place in [folder, folder.parent().unwrap()] {
        chmod(place, 0o777);
        hooked.is_stopped(&[], &[&format!("{} is writable by others", place.display()), "hint: chmod go-w"]);
        chmod(place, 0o755);
    }
    symlink("/nowhere", folder.join("30-c")).unwrap();
    hooked.is_stopped(&[], &["30-c is refused", "No such file"]);
    assert_eq!(hooked.text("log"), "");
    // After an attach that is told, and the others are run.
    std::fs::remove_dir_all(folder).unwrap();
    hooked.hook("post-attach", "10-a", "exit 0");
    chmod(&hooked.hook_path("post-attach", "10-a"), 0o666);
    hooked.hook("post-attach", "20-b", "echo ran >> DIR/log");
    let ran = hooked.lab.run(&hooked.line());
    assert_eq!(ran.code, Some(0));
    assert!(ran.err.contains("warning: hook") && ran.err.contains("is refused"), "{}", ran.err);
    assert_eq!(hooked.text("log"), "ran\n");
}

#[test]
fn a_hook_has_nothing_of_the_caller() {
    if no_root() {
        return;
    }
    let hooked = Hooked::new();
    hooked.hook(
        "pre-attach",
        "a",
        "/usr/bin/env | sort > DIR/env; pwd > DIR/pwd; umask > DIR/umask; ls -l /proc/$$/fd | grep -v total > DIR/fds; \
         cut -d' ' -f5,6 /proc/$$/stat > DIR/session; echo $$ > DIR/pid; grep SigBlk /proc/self/status > DIR/blocked; \
         grep SigIgn /proc/self/status > DIR/ignored; (: < /dev/tty) 2>/dev/null && echo tty > DIR/tty; exit 0",
    );
    let line = format!("umask 077; exec 7</etc/passwd; exec \"$0\" {}", hooked.line());
    let mut program = hooked.lab.host.command("sh");
    program.args(["-c", &line, env!("CARGO_BIN_EXE_pipework")]);
    program.env("PIPEWORK_HOOKS_DIR", hooked.file("hooks.d")).env("PIPEWORK_RUN_DIR", hooked.lab.dir.path());
    program.env("SECRET", "1").env("LD_LIBRARY_PATH", "/tmp").current_dir("/tmp");
    let ran: Ran = program.output().unwrap().into();
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    let environment = hooked.text("env");
    // What dash itself puts there.
    let names: Vec<&str> =
        environment.lines().filter_map(|l| l.split('=').next()).filter(|n| !["PWD", "OLDPWD", "SHLVL", "_"].contains(n)).collect();
    assert_eq!(names, ["LANG", "PATH", "PIPEWORK_EVENT", "PIPEWORK_GUEST", "PIPEWORK_INTERFACE"]);
    assert!(environment.contains("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"));
    assert!(
        environment.contains(&format!("PIPEWORK_EVENT=pre-attach\nPIPEWORK_GUEST=pid:{}\nPIPEWORK_INTERFACE=eth1\n", hooked.guest.pid()))
    );
    assert_eq!((hooked.text("pwd").trim(), hooked.text("umask").trim()), ("/", "0022"));
    let files = hooked.text("fds");
    // From 10 on they are the shell's own.
    let numbers: Vec<&str> = files.lines().filter_map(|line| line.split(" -> ").next()?.rsplit(' ').next()).collect();
    assert_eq!(numbers.into_iter().filter(|number| number.len() == 1).collect::<Vec<_>>(), ["0", "1", "2"], "{files}");
    assert!(["passwd", "socket:", "signalfd", "net:"].iter().all(|file| !files.contains(file)), "{files}");
    let pid = hooked.text("pid");
    assert_eq!(hooked.text("session").trim(), format!("{0} {0}", pid.trim()));
    assert_eq!(hooked.text("blocked"), "SigBlk:\t0000000000000000\n");
    // SIGPIPE is signal 13: a hook that writes to nobody ends.
    let ignored = u64::from_str_radix(hooked.text("ignored").trim().rsplit('\t').next().unwrap(), 16).unwrap();
    assert_eq!(ignored & 1 << 12, 0, "{ignored:x}");
    assert_eq!(hooked.text("tty"), "");
}

#[test]
fn a_hook_that_takes_too_long_is_ended_with_all_that_it_started() {
    if no_root() {
        return;
    }
    let hooked = Hooked::new();
    for (name, script) in [
        ("one that waits", "sleep 1000 & echo $! > DIR/grandchild; echo started; wait"),
        ("one that ends, with a child in the way of its output", "sleep 1000 & echo $! > DIR/grandchild; echo started; exec sleep 1001"),
        ("one that does not want to end", "trap '' TERM; sh -c 'while :; do sleep 1; done' & echo $! > DIR/grandchild; echo started; wait"),
    ] {
        hooked.hook("pre-attach", "a", &format!("echo $$ > DIR/hook; {script}"));
        hooked.is_stopped(&[("PIPEWORK_HOOK_TIMEOUT", "1")], &["was not done after 1 s; it said: started", "hint: PIPEWORK_HOOK_TIMEOUT"]);
        for process in ["hook", "grandchild"] {
            eventually(&format!("{name}: {process} has ended"), || !lives(&hooked.text(process)));
        }
    }
}

#[test]
fn a_process_that_leaves_the_group_with_the_pipe_in_its_hands_keeps_nobody_waiting() {
    if no_root() {
        return;
    }
    let hooked = Hooked::new();
    let escape = "setsid sh -c 'echo $$ > DIR/escaped; while echo x; do sleep 0.1; done; exec sleep 1000' & \
         while ! test -s DIR/escaped; do sleep 0.01; done; echo away";
    for end in ["sleep 1000", "exit 1", "exit 0"] {
        let _ = std::fs::remove_file(hooked.file("escaped"));
        hooked.hook("pre-attach", "a", &format!("{escape}; {end}"));
        if end == "exit 0" {
            hooked.lab.ok(&hooked.line());
        } else {
            let words = if end == "exit 1" { "ended with exit status 1" } else { "was not done after 2 s" };
            hooked.is_stopped(&[("PIPEWORK_HOOK_TIMEOUT", "2")], &[words]);
        }
        let escaped: i32 = hooked.text("escaped").trim().parse().unwrap();
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(escaped), nix::sys::signal::Signal::SIGKILL);
    }
}

#[test]
fn however_much_a_hook_writes_and_whether_it_reads_or_not() {
    if no_root() {
        return;
    }
    let hooked = Hooked::new();
    hooked.hook("pre-attach", "a", "exec <&-; head -c 20000000 /dev/zero | tr '\\0' x; echo; echo the end; exit 1");
    let told = hooked.is_stopped(&[], &["; the end\n"]);
    assert!(told.len() < 2000, "{}", told.len());
    hooked.hook("pre-attach", "a", "yes 'I go on'");
    hooked.is_stopped(&[("PIPEWORK_HOOK_TIMEOUT", "1")], &["was not done after 1 s; it said: I go on; I go on"]);
    hooked.hook("pre-attach", "a", "exec <&- >&- 2>&-; exit 0");
    hooked.lab.ok(&hooked.line());
}

#[test]
fn a_hook_that_fails_afterwards_is_a_warning_and_the_next_is_run() {
    if no_root() {
        return;
    }
    let hooked = Hooked::new();
    hooked.hook("post-attach", "10-a", "echo 'no DNS today'; exit 1");
    hooked.hook("post-attach", "20-b", "sleep 1000");
    hooked.hook("post-attach", "30-c", "echo ran >> DIR/log");
    let output = hooked.lab.program().env("PIPEWORK_HOOK_TIMEOUT", "1").arg("--json").args(hooked.line().split(' ')).output();
    let ran = Ran::from(output.unwrap());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(hooked.guest.addrs("eth1"), ["10.1.1.2/24"]);
    assert_eq!(hooked.text("log"), "ran\n");
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(report["result"], "attached");
    let warnings: Vec<&str> = report["warnings"].as_array().unwrap().iter().map(|w| w.as_str().unwrap()).collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("10-a ended with exit status 1; it said: no DNS today"), "{warnings:?}");
    assert!(warnings[1].contains("20-b was not done after 1 s"), "{warnings:?}");
    assert!(ran.err.contains("pipework: warning: hook"), "{}", ran.err);
}

#[test]
fn a_signal_while_a_hook_runs_ends_the_hook() {
    if no_root() {
        return;
    }
    let hooked = Hooked::new();
    let script = "sleep 1000 & echo $! > DIR/grandchild; mv DIR/grandchild DIR/started; wait";
    let interrupted = || {
        let _ = std::fs::remove_file(hooked.file("started"));
        let child = hooked.lab.program().args(hooked.line().split(' ')).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        eventually("the hook has started", || hooked.file("started").exists());
        // nsenter has become the program: it has its number.
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id().try_into().unwrap()), nix::sys::signal::Signal::SIGTERM).unwrap();
        let ran = Ran::from(child.wait_with_output().unwrap());
        eventually("what the hook started has ended", || !lives(&hooked.text("started")));
        ran
    };
    let before = both(&hooked.lab, &hooked.guest);
    let hook = hooked.hook("pre-attach", "a", script);
    let ran = interrupted();
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("was interrupted by SIGTERM"), "{}", ran.err);
    assert_same(&before, &both(&hooked.lab, &hooked.guest), "interrupted before");
    // Afterwards the interface is there and stays; the next hook is not run.
    std::fs::remove_file(hook).unwrap();
    hooked.hook("post-attach", "a", script);
    hooked.hook("post-attach", "b", "echo wrong > DIR/log");
    let ran = interrupted();
    assert_eq!(ran.code, Some(0));
    assert!(ran.err.contains("warning: hook") && ran.err.contains("was interrupted by SIGTERM"), "{}", ran.err);
    assert_eq!((hooked.guest.addrs("eth1"), hooked.text("log")), (vec!["10.1.1.2/24".to_owned()], String::new()));
}

#[test]
fn what_a_hook_changes_is_looked_at_again() {
    if no_root() {
        return;
    }
    let hooked = Hooked::new();
    hooked.hook("pre-attach", "a", "echo ran >> DIR/log; ip link add br0 mtu 1400 up type bridge");
    hooked.lab.ok(&hooked.line());
    assert_eq!(hooked.guest.link("eth1")["mtu"], 1400);
    assert_eq!(hooked.text("log"), "ran\n");
    // Or nothing can be done any more.
    hooked.hook("pre-attach", "a", &format!("nsenter --net=/proc/{}/ns/net ip link add eth2 type bridge", hooked.guest.pid()));
    hooked.lab.fails(&format!("br0 -i eth2 pid:{} 10.1.2.2/24", hooked.guest.pid()), "eth2");
}

#[test]
fn a_time_that_is_none_is_told_and_the_folder_may_be_named_from_here() {
    if no_root() {
        return;
    }
    let hooked = Hooked::new();
    hooked.hook("pre-attach", "a", "echo ran >> DIR/log");
    hooked.is_stopped(&[("PIPEWORK_HOOK_TIMEOUT", "soon")], &["PIPEWORK_HOOK_TIMEOUT=soon: give seconds, from 1 to 3600"]);
    let mut program = hooked.lab.program();
    program.current_dir(hooked.lab.dir.path()).env("PIPEWORK_HOOKS_DIR", "hooks.d").args(hooked.line().split(' '));
    assert_eq!(Ran::from(program.output().unwrap()).code, Some(0));
    assert_eq!(hooked.text("log"), "ran\n");
}

#[test]
fn where_there_are_no_hooks_one_look_is_all_that_they_cost() {
    if no_root() || (!Path::new("/usr/bin/strace").exists() && skip("needs strace: scripts/setup")) {
        return;
    }
    let hooked = Hooked::new();
    let mut program = hooked.lab.host.command("strace");
    program
        .args(["-f", "-e", "trace=file,fork,clone,clone3,vfork", env!("CARGO_BIN_EXE_pipework"), "--keep-netns"])
        .args(hooked.line().split(' '));
    program.env("PIPEWORK_HOOKS_DIR", hooked.file("hooks.d")).env("PIPEWORK_RUN_DIR", hooked.lab.dir.path());
    let ran: Ran = program.output().unwrap().into();
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let looks: Vec<&str> = ran.err.lines().filter(|line| line.contains("hooks.d")).collect();
    assert_eq!(looks.len(), 1, "{looks:?}");
    assert!(looks[0].contains("ENOENT"), "{looks:?}");
}
