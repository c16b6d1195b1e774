//! A private Docker engine on a lab's host, and a stand-in that speaks just enough of its API.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

use super::{Lab, Ran, eventually, skip};

/// Whether the test has to be skipped for want of an engine.
#[must_use]
pub fn no_engine() -> bool {
    let there = Command::new("sh").args(["-c", "command -v dockerd && command -v docker && test -x /bin/busybox"]).output().unwrap();
    super::no_root() || (!there.status.success() && skip("needs dockerd, docker and busybox-static: scripts/setup"))
}

/// A Docker engine of the test's own, with an image `box` that has a busybox in it.
pub struct Engine {
    pub lab: Lab,
    child: Child,
    pub socket: PathBuf,
}

impl Engine {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts dockerd in the lab host's namespace, with more options.
    pub fn start_with(options: &[&str]) -> Self {
        Self::start_on(Lab::new(), options)
    }

    /// The same on a host that is there.
    pub fn start_on(lab: Lab, options: &[&str]) -> Self {
        let dir = lab.dir.path().to_owned();
        let socket = dir.join("docker.sock");
        let child = dockerd(&lab, options);
        let engine = Self { lab, child, socket };
        eventually("dockerd answers", || engine.docker_try("version"));
        let image = dir.join("image/bin");
        std::fs::create_dir_all(&image).unwrap();
        std::fs::copy("/bin/busybox", image.join("busybox")).unwrap();
        for applet in ["sh", "sleep", "ip", "ping", "cat"] {
            std::os::unix::fs::symlink("busybox", image.join(applet)).unwrap();
        }
        engine.sh(&format!("tar -C {} -c . | docker import - box", dir.join("image").display()));
        engine
    }

    /// Ends dockerd, and with it its containers, and starts it again: those with `--restart always` are started then.
    pub fn restart(&mut self) {
        self.end();
        self.child = dockerd(&self.lab, &[]);
        eventually("dockerd answers again", || self.docker_try("version"));
    }

    /// It ends containerd, which it started, only when it is asked to end itself.
    fn end(&mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
    }

    /// A shell line that has to succeed, with DOCKER_HOST set to this engine.
    pub fn sh(&self, line: &str) -> String {
        let output = self.lab.host.command("sh").args(["-ec", line]).env("DOCKER_HOST", self.host()).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub fn docker(&self, arguments: &str) -> String {
        self.sh(&format!("docker {arguments}"))
    }

    fn docker_try(&self, arguments: &str) -> bool {
        let mut command = Command::new("docker");
        command.args(arguments.split(' ')).env("DOCKER_HOST", self.host());
        command.output().unwrap().status.success()
    }

    /// Runs a container without network that sleeps; returns its ID.
    pub fn container(&self, name: &str) -> String {
        self.docker(&format!("run -d --net none --name {name} box sleep 100000"))
    }

    /// The address of its socket.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// The program on this host, with this engine.
    pub fn program(&self) -> Command {
        let mut command = self.lab.program();
        command.env("DOCKER_HOST", self.host());
        command
    }

    pub fn run(&self, line: &str) -> Ran {
        self.program().args(line.split_whitespace()).output().unwrap().into()
    }

    #[track_caller]
    pub fn ok(&self, line: &str) {
        let ran = self.run(line);
        assert_eq!((ran.code, ran.err.as_str(), ran.out.as_str()), (Some(0), "", ""), "{line}");
    }

    #[track_caller]
    pub fn fails(&self, line: &str, wanted: &str) -> String {
        let ran = self.run(line);
        assert_eq!(ran.code, Some(1), "{line}: {} {}", ran.out, ran.err);
        assert!(ran.err.contains(wanted), "{line}: {wanted:?} is not in {}", ran.err);
        ran.err
    }
}

/// Starts dockerd in the lab host's namespace.
fn dockerd(lab: &Lab, options: &[&str]) -> Child {
    let dir = lab.dir.path();
    let log = std::fs::File::options().create(true).append(true).open(dir.join("dockerd.log")).unwrap();
    let mut command = lab.host.command("dockerd");
    for (option, value) in [("--data-root", "data"), ("--exec-root", "exec"), ("--pidfile", "pid")] {
        command.arg(option).arg(dir.join(value));
    }
    command.arg("-H").arg(format!("unix://{}", dir.join("docker.sock").display()));
    command.args(["--iptables=false", "--ip6tables=false", "--bridge=none"]).args(options);
    command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}

impl Drop for Engine {
    fn drop(&mut self) {
        let ids = Command::new("docker").args(["ps", "-aq"]).env("DOCKER_HOST", self.host()).output();
        for id in ids.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default().lines() {
            self.docker_try(&format!("rm -f {id}"));
        }
        self.end();
        let mounted = self.lab.dir.path().display();
        let _ = Command::new("sh")
            .args(["-c", &format!("grep -o ' {mounted}[^ ]*' /proc/self/mounts | sort -r | xargs -r umount -l")])
            .output();
    }
}

/// Answers GET requests on a socket: what to say is the test's word, a path to a status and a JSON text.
pub struct StandIn {
    pub socket: PathBuf,
}

type Answers = dyn Fn(&str) -> (u16, String) + Send + Sync;

impl StandIn {
    pub fn start(lab: &Lab, answers: impl Fn(&str) -> (u16, String) + Send + Sync + 'static) -> Self {
        let socket = lab.dir.path().join("standin.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let answers: Arc<Answers> = Arc::new(answers);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let answers = Arc::clone(&answers);
                std::thread::spawn(move || answer(stream, &*answers));
            }
        });
        Self { socket }
    }

    pub fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }
}

fn answer(mut stream: UnixStream, answers: &Answers) {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
        request.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&request);
    let path = text.split_whitespace().nth(1).unwrap_or("/").to_owned();
    let (status, body) = answers(&path);
    let head =
        format!("HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let _ = stream.write_all(format!("{head}{body}").as_bytes());
}

/// Asks an engine as the stand-in was asked, and passes its answer on.
pub fn pass_on(socket: &std::path::Path, path: &str) -> (u16, String) {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split_whitespace().nth(1).unwrap().parse().unwrap(), body.to_owned())
}
