//! What the daemon answers to those who ask, and what it does not let them do.
#![allow(clippy::unwrap_used, clippy::panic)]

mod lab;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lab::{Lab, eventually, no_root};
use pipework::frontend::daemon::board::{Board, EngineState, Event, KEPT, Kind, Log};
use pipework::frontend::daemon::serve::{ServeError, ServeOptions, Server, serve};
use pipework::kernel::netns::Namespace;
use serde_json::Value;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A daemon that has nothing to do but to answer.
struct Daemon {
    board: Board,
    options: ServeOptions,
    server: Option<Server>,
    _dir: tempfile::TempDir,
}

impl Daemon {
    fn start() -> Self {
        Self::start_with(|_| {})
    }

    fn start_with(change: impl FnOnce(&mut ServeOptions)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut options =
            ServeOptions { socket: dir.path().join("run/daemon.sock"), run_dir: dir.path().join("run"), ..Default::default() };
        change(&mut options);
        let board = Board::new(Log::Silent);
        let server = Some(serve(&board, &options).unwrap());
        Self { board, options, server, _dir: dir }
    }

    /// One with TCP, too.
    fn start_with_tcp() -> (Self, SocketAddr) {
        let token = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(token.path(), format!("{TOKEN}\n")).unwrap();
        let daemon = Self::start_with(|options| {
            options.listen = Some("127.0.0.1:0".parse().unwrap());
            options.token_file = Some(token.path().to_owned());
        });
        let address = daemon.server.as_ref().unwrap().address().unwrap();
        (daemon, address)
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.options.socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(45))).unwrap();
        stream
    }

    fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"))
    }

    fn ask(&self, question: &str) -> Answer {
        let mut stream = self.connect();
        // For whom there is no room it is closed at once.
        let _ = stream.write_all(question.as_bytes());
        Answer::read(&mut stream)
    }

    fn tell(&self, guest: &str) {
        self.board.tell(Event { guest: Some(guest.to_owned()), ..Event::new(Kind::Attached) });
    }

    fn events(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pipework"));
        command.arg("events").args(words).arg("--socket").arg(&self.options.socket).stdin(Stdio::null());
        command
    }
}

#[derive(Debug)]
struct Answer {
    code: u16,
    head: String,
    body: String,
}

impl Answer {
    fn read(from: &mut impl Read) -> Self {
        let mut bytes = Vec::new();
        // Who is thrown out may find the connection reset.
        let _ = from.read_to_end(&mut bytes);
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        Self { code, head: head.to_lowercase(), body: body.to_owned() }
    }
}

/// A program that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn each_question_has_its_answer_and_others_a_reason() {
    let daemon = Daemon::start();
    let mode = std::fs::metadata(&daemon.options.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let health = daemon.get("/healthz");
    assert_eq!(health.code, 503);
    assert!(health.body.contains("starting"), "{health:?}");
    daemon.board.ready();
    assert_eq!((daemon.get("/healthz").code, daemon.get("/healthz").body), (200, "ok\n".to_owned()));
    daemon.board.engine("docker", EngineState::Lost("connection refused".into()));
    let health = daemon.get("/healthz");
    assert_eq!((health.code, health.body.as_str()), (503, "engine docker: connection refused\n"));
    daemon.board.engine("docker", EngineState::Connected);

    let metrics = daemon.get("/metrics");
    assert!(metrics.head.contains("content-type: text/plain; version=0.0.4"), "{metrics:?}");
    for line in ["pipework_healthy 1", "pipework_attachments 0", "pipework_engine_up{engine=\"docker\"} 1"] {
        assert!(metrics.body.lines().any(|l| l == line), "{line}: {}", metrics.body);
    }
    let events = daemon.get("/v1/events");
    let kinds: Vec<Value> = events.body.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()["kind"].clone()).collect();
    assert_eq!(kinds, ["engine-lost", "engine-connected"]);
    assert_eq!(daemon.get("/v1/events?since=1").body.lines().count(), 1);

    for (path, code, reason) in [
        ("/", 404, "/metrics"),
        ("/v1/events?folow=1", 400, "follow=1"),
        ("/v1/events?since=yesterday", 400, "2026-01-31T12:00:00Z"),
        ("/../etc/passwd", 404, "/metrics"),
    ] {
        let answer = daemon.get(path);
        assert_eq!(answer.code, code, "{path} {answer:?}");
        assert!(answer.body.contains(reason), "{answer:?}");
    }
    let posted = daemon.ask("POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    assert_eq!(posted.code, 405);
    assert!(posted.head.contains("allow: get, head"));
}

#[test]
fn attachments_are_told_as_they_are_recorded() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    lab.host.sh("ip link add br0 type bridge; ip link set br0 up; ip addr add 10.1.1.1/24 dev br0");
    lab.ok(&format!("br0 -i eth2 pid:{} 10.1.1.2/24,fd00::2/64@10.1.1.1", guest.pid()));
    let host = Namespace::open(format!("/proc/{}/ns/net", lab.host.pid()).as_ref()).unwrap();
    let options = ServeOptions { socket: lab.dir.path().join("daemon.sock"), run_dir: lab.dir.path().to_owned(), ..Default::default() };
    let board = Board::new(Log::Silent);
    let server = host.inside(|| Ok(serve(&board, &options).unwrap())).unwrap();
    let daemon = Daemon { board, options, server: Some(server), _dir: tempfile::tempdir().unwrap() };
    let told: Value = serde_json::from_str(&daemon.get("/v1/attachments").body).unwrap();
    let status: Value = serde_json::from_str(&lab.run("status --json").out).unwrap();
    assert_eq!((&told["schema"], told["attachments"].as_array().unwrap().len()), (&status["schema"], 1));
    let (told, status) = (&told["attachments"][0], &status["attachments"][0]);
    for field in ["guest", "interface", "addresses", "gateways", "host_interface", "host_link", "since", "vlan", "lease"] {
        assert_eq!(told[field], status[field], "{field}");
    }
    assert_eq!((&told["standing"], &told["differences"]), (&"recorded".into(), &serde_json::json!([])));
    let metrics = daemon.get("/metrics").body;
    assert!(metrics.lines().any(|line| line == "pipework_attachments 1"), "{metrics}");
}

#[test]
fn by_tcp_only_who_knows_the_token_is_answered() {
    let (daemon, address) = Daemon::start_with_tcp();
    let ask = |header: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(format!("GET /metrics HTTP/1.1\r\nhost: x\r\n{header}connection: close\r\n\r\n").as_bytes()).unwrap();
        Answer::read(&mut stream)
    };
    for header in ["", "authorization: Bearer x\r\n", "authorization: Basic 0123456789abcdef0123456789abcdef\r\n"] {
        let answer = ask(header);
        assert_eq!((answer.code, answer.body.contains("pipework_")), (401, false), "{header}");
        assert!(answer.head.contains("www-authenticate: bearer"));
    }
    let answer = ask(&format!("authorization: Bearer {TOKEN}\r\n"));
    assert_eq!(answer.code, 200);
    assert!(answer.body.contains("pipework_build_info"));
    assert_eq!(daemon.get("/metrics").code, 200, "by the socket file no token is wanted");
}

#[test]
fn tcp_without_a_token_that_is_kept_does_not_begin() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    let start = |listen: Option<&str>, token_file: Option<PathBuf>| {
        let options = ServeOptions {
            socket: dir.path().join("sock"),
            listen: listen.map(|address| address.parse().unwrap()),
            token_file,
            run_dir: dir.path().to_owned(),
            page: None,
        };
        let refused = serve(&Board::new(Log::Silent), &options).map(drop).err();
        assert!(!options.socket.exists(), "nothing is left of it");
        refused
    };
    let any = Some("127.0.0.1:0");
    assert!(matches!(start(any, None), Some(ServeError::NoToken(_))));
    assert!(matches!(start(None, Some(token.clone())), Some(ServeError::TokenWithoutListen)));
    assert!(matches!(start(any, Some(token.clone())), Some(ServeError::TokenFile { .. })));
    std::fs::write(&token, TOKEN).unwrap();
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(start(any, Some(token.clone())).unwrap().to_string().contains("chmod o="));
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(start(any, Some(token)).is_none());
}

#[test]
fn a_socket_file_that_a_killed_daemon_left_is_taken_over_and_a_living_ones_is_not() {
    let mut daemon = Daemon::start();
    let refused = serve(&Board::new(Log::Silent), &daemon.options).map(drop).unwrap_err();
    assert!(matches!(refused, ServeError::InUse(_)), "{refused}");
    assert_eq!(daemon.get("/metrics").code, 200);
    let path = daemon.options.socket.clone();
    daemon.server = None;
    assert!(!path.exists(), "it goes with its daemon");
    drop(UnixListener::bind(&path).unwrap());
    daemon.server = Some(serve(&daemon.board, &daemon.options).unwrap());
    assert_eq!(daemon.get("/metrics").code, 200);
    daemon.server = None;
    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(serve(&daemon.board, &daemon.options).map(drop), Err(ServeError::NoSocket(_))));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn events_are_printed_as_they_come_and_the_last_one_before_the_end() {
    let mut daemon = Daemon::start();
    daemon.tell("before");
    let mut child = Running(daemon.events(&["--follow", "--json"]).stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines().map(|line| {
        let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
        event["guest"].as_str().unwrap_or_default().to_owned()
    });
    assert_eq!(lines.next().as_deref(), Some("before"));
    daemon.tell("while\nit runs");
    assert_eq!(lines.next().as_deref(), Some("while\nit runs"));
    daemon.tell("last");
    daemon.server = None;
    assert_eq!((lines.next().as_deref(), lines.next()), (Some("last"), None));
    assert_eq!(child.0.wait().unwrap().code(), Some(0));
}

#[test]
fn events_are_printed_for_people_and_only_those_that_are_not_known() {
    let daemon = Daemon::start();
    ["one", "two\u{1b}[2J", "three"].into_iter().for_each(|guest| daemon.tell(guest));
    let output = daemon.events(&["--since", "1"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let ends: Vec<&str> = text.lines().map(|line| line.split_once("Z ").unwrap().1).collect();
    assert_eq!(ends, ["attached two\\u{1b}[2J", "attached three"]);
    let output = daemon.events(&["--since", "yesterday"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--since \"yesterday\": give"));
}

#[test]
fn without_a_daemon_events_say_so() {
    let mut daemon = Daemon::start();
    daemon.server = None;
    for there in [false, true] {
        if there {
            drop(UnixListener::bind(&daemon.options.socket).unwrap());
        }
        let output = daemon.events(&[]).output().unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("no daemon answers") && said.contains("pipework daemon"), "{said}");
    }
}

#[test]
fn a_reader_that_does_not_read_holds_nobody_up_and_is_told_what_it_missed() {
    let daemon = Daemon::start();
    let mut slow = daemon.connect();
    slow.write_all(b"GET /v1/events?follow=1 HTTP/1.0\r\n\r\n").unwrap();
    eventually("it follows", || daemon.board.followers() == 1);
    let long = "x".repeat(1000);
    // Far more than the socket's buffer and the ring hold.
    for _ in 0..KEPT * 20 {
        daemon.tell(&long);
    }
    assert_eq!(daemon.get("/v1/events").body.lines().count(), KEPT);
    daemon.tell("the end");
    let mut missed = 0;
    for line in BufReader::new(slow).lines() {
        let line = line.unwrap();
        let Ok(event) = serde_json::from_str::<Event>(&line) else { continue };
        missed += event.missed.unwrap_or(0);
        if event.guest.as_deref() == Some("the end") {
            break;
        }
    }
    assert!(missed > 0);
    eventually("its place is free", || {
        daemon.tell("somebody must notice");
        daemon.board.followers() == 0
    });
}

#[test]
fn those_who_only_hold_connections_are_thrown_out_and_others_are_answered() {
    let daemon = Daemon::start();
    let idle: Vec<UnixStream> = (0..64)
        .map(|n| {
            let mut stream = daemon.connect();
            // Some say nothing, some begin and never end.
            if n % 2 == 0 {
                stream.write_all(b"GET /metrics HT").unwrap();
            }
            stream
        })
        .collect();
    let asked = Instant::now();
    let answer = daemon.get("/healthz");
    assert!(answer.code == 503 && answer.head.contains("retry-after"), "{answer:?}");
    assert!(asked.elapsed() < Duration::from_secs(9), "it is told at once");
    daemon.board.ready();
    eventually("they are gone", || daemon.get("/healthz").code == 200);
    drop(idle);
}

#[test]
fn garbage_and_endless_questions_end_the_connection_and_nothing_else() {
    let daemon = Daemon::start();
    let long = "x".repeat(100_000);
    let many = "a: b\r\n".repeat(1000);
    for question in [
        "\0\u{1}\u{2}\r\n\r\n".to_owned(),
        "GET\r\n\r\n".to_owned(),
        format!("GET /{long} HTTP/1.1\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{long}: x\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{many}\r\n"),
        "GET /metrics HTTP/1.1\r\nhost: x\r\ntransfer-encoding: nonsense\r\n\r\n".to_owned(),
        "GET /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
    ] {
        let mut stream = daemon.connect();
        // It may be closed before all is written.
        let _ = stream.write_all(question.as_bytes());
        let answer = Answer::read(&mut stream);
        assert!((400..500).contains(&answer.code) || answer.code == 0, "{} {answer:?}", &question[..question.len().min(40)]);
    }
    assert_eq!(daemon.get("/metrics").code, 200);
}

#[test]
fn more_followers_than_there_is_room_for_are_told_so() {
    let daemon = Daemon::start();
    let follow = || {
        let mut stream = daemon.connect();
        stream.write_all(b"GET /v1/events?follow=1 HTTP/1.0\r\n\r\n").unwrap();
        stream
    };
    let all: Vec<UnixStream> = (0..32).map(|_| follow()).collect();
    eventually("all follow", || daemon.board.followers() == 32);
    let answer = Answer::read(&mut follow());
    assert_eq!(answer.code, 503);
    assert!(answer.body.contains("32 follow already"));
    assert_eq!(daemon.get("/metrics").code, 200);
    drop(all);
}
