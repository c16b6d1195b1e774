//! Whoever speaks to the plug-in says anything, of any length: an error in the protocol's own form, and nothing changed.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use pipework::model::network_driver::{Call, CallError, MOST_BYTES};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use serde_json::{Value, json};

use crate::lab::{Lab, eventually, no_root};

const PATHS: [&str; 17] = [
    "/Plugin.Activate",
    "/NetworkDriver.GetCapabilities",
    "/NetworkDriver.CreateNetwork",
    "/NetworkDriver.DeleteNetwork",
    "/NetworkDriver.CreateEndpoint",
    "/NetworkDriver.DeleteEndpoint",
    "/NetworkDriver.EndpointOperInfo",
    "/NetworkDriver.Join",
    "/NetworkDriver.Leave",
    "/NetworkDriver.DiscoverNew",
    "/NetworkDriver.ProgramExternalConnectivity",
    "/IpamDriver.GetCapabilities",
    "/IpamDriver.GetDefaultAddressSpaces",
    "/IpamDriver.RequestPool",
    "/IpamDriver.ReleasePool",
    "/IpamDriver.RequestAddress",
    "/IpamDriver.ReleaseAddress",
];

/// Whatever may stand in the place of a word.
fn odd() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
        Just(json!("../../../etc/passwd")),
        Just(json!("a".repeat(5000))),
        Just(json!("192.168.1.1/24")),
        Just(json!("claims:lan:10.0.0.0/8")),
        Just(json!("dhcp:lo:10.0.0.0/8")),
        Just(json!("/run/docker/netns/x")),
        Just(json!("\u{0}\u{1b}[31m")),
        proptest::collection::vec(".{0,8}".prop_map(Value::from), 0..4).prop_map(Value::from),
        proptest::collection::btree_map(".{0,8}", ".{0,8}".prop_map(Value::from), 0..4).prop_map(|map| json!(map)),
    ]
}

const KEYS: [&str; 12] =
    ["NetworkID", "EndpointID", "SandboxKey", "Options", "Interface", "IPv4Data", "IPv6Data", "PoolID", "Address", "Pool", "SubPool", "V6"];

/// A body that looks like one.
fn body() -> impl Strategy<Value = Value> {
    let id = prop_oneof![3 => Just(json!("0123456789abcdef")), 1 => odd()];
    let generic = proptest::collection::btree_map(prop_oneof![Just("parent".to_owned()), Just("mode".to_owned()), ".{0,8}"], odd(), 0..4);
    let options = prop_oneof![odd(), generic.prop_map(|words| json!({ "com.docker.network.generic": words }))];
    let data = odd().prop_map(|pool| json!([{ "AddressSpace": "x", "Pool": pool, "Gateway": "10.0.0.1/8" }]));
    let interface = (odd(), odd()).prop_map(|(address, mac)| json!({ "Address": address, "MacAddress": mac }));
    let value = prop_oneof![3 => id, 2 => options, 1 => data, 1 => interface, 1 => odd()];
    proptest::collection::vec((proptest::sample::select(&KEYS[..]), value), 0..8)
        .prop_map(|all| Value::Object(all.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_a_call_or_an_error_of_one_short_line(path in proptest::sample::select(&PATHS[..]), bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        judge(path, &bytes)?;
    }

    #[test]
    fn any_json_is_a_call_or_an_error_of_one_short_line(path in proptest::sample::select(&PATHS[..]), body in body(), cut in any::<prop::sample::Index>(), is_cut in any::<bool>()) {
        let mut bytes = body.to_string().into_bytes();
        if is_cut {
            bytes.truncate(cut.index(bytes.len() + 1));
        }
        judge(path, &bytes)?;
    }

    #[test]
    fn no_path_but_those_known_is_a_call(path in "/?[A-Za-z.]{0,40}") {
        prop_assume!(!PATHS.iter().any(|known| known.trim_start_matches('/') == path.trim_start_matches('/')));
        prop_assume!(!path.contains("Discover") && !path.contains("Connectivity"));
        let is_unknown = matches!(Call::read(&path, b"{}"), Err(CallError::Unknown(_)));
        prop_assert!(is_unknown);
    }
}

/// So many cases: `PIPEWORK_HOSTILE_CASES`, else 256.
fn cases() -> u32 {
    std::env::var("PIPEWORK_HOSTILE_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(256)
}

fn judge(path: &str, bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Err(error) = Call::read(path, bytes) {
        let text = error.to_string();
        prop_assert!(text.chars().count() < 700 && !text.chars().any(char::is_control), "{text:?}");
    }
    Ok(())
}

/// The plug-in alone, without an engine, in a world of its own.
pub struct Alone {
    pub lab: Lab,
    child: Child,
    socket: PathBuf,
}

impl Alone {
    pub fn start() -> Self {
        Self::start_on(Lab::new())
    }

    pub fn start_on(lab: Lab) -> Self {
        Self::start_with(lab, &[])
    }

    pub fn start_with(lab: Lab, words: &[&str]) -> Self {
        let socket = lab.dir.path().join("plugin.sock");
        let mut command = lab.program();
        command
            .args(["docker-plugin", "--socket"])
            .arg(&socket)
            .args(words)
            .env("DOCKER_HOST", "unix:///nowhere/docker.sock")
            .stderr(Stdio::null());
        let child = command.spawn().unwrap();
        eventually("it listens", || UnixStream::connect(&socket).is_ok());
        Self { lab, child, socket }
    }

    /// Status and body of an answer; none when there is none.
    pub fn post(&self, path: &str, body: &[u8]) -> Option<(u16, Value)> {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        // It may end the connection before it has read all of it.
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer);
        let (head, body) = text.split_once("\r\n\r\n")?;
        Some((head.split_whitespace().nth(1)?.parse().ok()?, serde_json::from_str(body).unwrap_or(Value::Null)))
    }

    fn memory_kb(&self) -> u64 {
        let inner = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.child.id())).unwrap();
        let pid = inner.split_whitespace().next().map_or(self.child.id().to_string(), str::to_owned);
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => all.extend(files(&path)),
            path if path.extension().is_some_and(|end| end == "json") => all.push(path),
            _ => {}
        }
    }
    all
}

#[test]
fn a_plug_in_that_is_asked_nonsense_says_so_and_changes_nothing_and_stays_small() {
    if no_root() {
        return;
    }
    let alone = Alone::start();
    let before = alone.lab.host.state();
    let strategy = body();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    // A network that cannot be: what else is asked for is about nothing.
    for turn in 0..cases().min(2000) {
        let value = strategy.new_tree(&mut runner).unwrap().current();
        let path = PATHS[turn as usize % PATHS.len()];
        if path.ends_with("RequestAddress") || path.ends_with("RequestPool") {
            // A server would be waited for.
            if value.to_string().contains("dhcp") {
                continue;
            }
        }
        let (status, answer) = alone.post(path, value.to_string().as_bytes()).unwrap();
        assert!([200, 400].contains(&status), "{path} {value}: {status} {answer}");
        assert!(
            answer.is_object() && (status == 200 || answer["Err"].as_str().is_some_and(|why| !why.is_empty())),
            "{path} {value}: {answer}"
        );
    }
    let huge = vec![b'['; 64 * 1024 * 1024];
    for path in PATHS {
        let deep = [b"{\"Options\":".as_slice(), &vec![b'['; 100_000]].concat();
        for bytes in [&huge[..], &deep, &vec![b'x'; MOST_BYTES + 1], b"", b"{", b"null", b"[]", b"\xff\xfe"] {
            if let Some((status, answer)) = alone.post(path, bytes) {
                assert!(status == 200 || (status == 400 && answer["Err"].is_string()), "{path}: {status} {answer}");
            }
        }
    }
    assert_eq!(alone.post("/NetworkDriver.Nothing", b"{}").unwrap().0, 404);
    assert_eq!(files(alone.lab.dir.path()), Vec::<PathBuf>::new());
    assert_eq!(alone.lab.host.state(), before);
    let memory = alone.memory_kb();
    assert!(memory < 200_000, "{memory} kB");
    // Those who say nothing, or stop half way, hold nobody up.
    let silent: Vec<UnixStream> = (0..60).map(|_| UnixStream::connect(&alone.socket).unwrap()).collect();
    let mut half = UnixStream::connect(&alone.socket).unwrap();
    half.write_all(b"POST /NetworkDriver.Join HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{").unwrap();
    assert_eq!(alone.post("/Plugin.Activate", b"").unwrap().0, 200);
    drop(silent);
}
