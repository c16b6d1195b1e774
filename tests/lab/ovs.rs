//! Open vSwitch of a test's own: ovsdb-server and ovs-vswitchd with a private directory, and what may stand in between.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use super::{Lab, Space, eventually, skip};

const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

/// Whether the test has to be skipped for want of Open vSwitch.
#[must_use]
pub fn no_ovs() -> bool {
    let there = Command::new("sh").args(["-c", "command -v ovsdb-server && command -v ovs-vswitchd && command -v ovs-vsctl"]).output();
    super::no_root() || (!there.unwrap().status.success() && skip("needs ovsdb-server and ovs-vswitchd: scripts/setup"))
}

/// Both sides and the database.
pub fn everything(lab: &Lab, guest: &Space, ovs: &Ovs) -> Vec<String> {
    super::both(lab, guest).into_iter().chain(ovs.rows()).collect()
}

/// A database server, and a switch that acts on it, where the program looks for them in a lab.
pub struct Ovs {
    pub dir: PathBuf,
    socket: PathBuf,
    server: Option<Child>,
    switch: Option<Child>,
}

impl Ovs {
    /// Both, the switch in the lab host's namespace, with a bridge `ovsu` of the userspace datapath.
    pub fn start(lab: &Lab) -> Self {
        let mut ovs = Self::server_only(lab);
        ovs.start_switch(&lab.host, &[]);
        ovs.vsctl("add-br ovsu -- set Bridge ovsu datapath_type=netdev");
        ovs
    }

    /// Both, but the switch makes believe: there are no devices behind its ports, and bridges can be made anywhere.
    pub fn start_dummy(lab: &Lab) -> Self {
        let mut ovs = Self::server_only(lab);
        ovs.start_switch(&lab.host, &["--enable-dummy=override"]);
        ovs
    }

    /// A database that nobody acts on.
    pub fn server_only(lab: &Lab) -> Self {
        let dir = lab.dir.path().to_owned();
        let mut ovs = Self { socket: dir.join("db.sock"), dir, server: None, switch: None };
        ovs.run("ovsdb-tool", &format!("create conf.db {SCHEMA}"));
        ovs.start_server(lab);
        ovs.vsctl("--no-wait init");
        ovs
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        self.privately(&mut command);
        command
    }

    /// Its own directory for everything.
    fn privately(&self, command: &mut Command) {
        for name in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"] {
            command.env(name, &self.dir);
        }
        command.current_dir(&self.dir).stdin(Stdio::null());
    }

    fn run(&self, program: &str, line: &str) -> String {
        let output = self.command(program).args(line.split_whitespace()).output().unwrap();
        assert!(output.status.success(), "{program} {line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts the server, after it was ended as well.
    pub fn start_server(&mut self, lab: &Lab) {
        let mut command = lab.host.command("ovsdb-server");
        self.privately(&mut command);
        command.args([
            "conf.db",
            &format!("--remote=punix:{}", self.socket.display()),
            &format!("--unixctl={}", self.dir.join("db.ctl").display()),
            "-vconsole:off",
        ]);
        self.server = Some(command.args(["--log-file=db.log", "--no-chdir"]).stderr(Stdio::null()).spawn().unwrap());
        eventually("ovsdb-server listens", || UnixStream::connect(&self.socket).is_ok());
    }

    /// Starts the switch in a namespace.
    pub fn start_switch(&mut self, space: &Space, options: &[&str]) {
        let mut command = space.command("ovs-vswitchd");
        self.privately(&mut command);
        command.arg(format!("unix:{}", self.socket.display())).args([
            "--unixctl=vs.ctl",
            "-vconsole:off",
            "--log-file=vs.log",
            "--no-chdir",
        ]);
        self.switch = Some(command.args(options).stderr(Stdio::null()).spawn().unwrap());
        let running =
            || self.command("ovs-appctl").arg("-t").arg(self.dir.join("vs.ctl")).arg("version").output().unwrap().status.success();
        eventually("ovs-vswitchd answers", running);
    }

    /// The server's process, to be stopped and continued.
    pub fn server_pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(i32::try_from(self.server.as_ref().unwrap().id()).unwrap())
    }

    /// Kills the server, as a crash would.
    pub fn kill_server(&mut self) {
        end(&mut self.server);
        let _ = std::fs::remove_file(&self.socket);
    }

    /// Its address.
    pub fn address(&self) -> String {
        format!("unix:{}", self.socket.display())
    }

    /// `ovs-vsctl` with words of a line, which has to succeed.
    pub fn vsctl(&self, line: &str) -> String {
        self.run("ovs-vsctl", &format!("--db={} --timeout=20 {line}", self.address()))
    }

    /// `ovs-appctl` of the switch.
    pub fn appctl(&self, words: &[&str]) -> String {
        let output = self.command("ovs-appctl").arg("-t").arg(self.dir.join("vs.ctl")).args(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// `ovs-appctl` of the server.
    pub fn server_appctl(&self, words: &[&str]) {
        let output = self.command("ovs-appctl").arg("-t").arg(self.dir.join("db.ctl")).args(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// What is configured, a line for each row, without what the switch itself writes.
    pub fn rows(&self) -> Vec<String> {
        const TABLES: [(&str, &str); 3] = [
            ("Port", "_uuid,name,tag,trunks,vlan_mode,fake_bridge,qos,external_ids,other_config"),
            ("Bridge", "ports,name,datapath_type,external_ids,other_config,fail_mode"),
            ("Interface", "name,type,external_ids,options,other_config,mtu_request,ofport_request,ingress_policing_rate"),
        ];
        // One process for all: under another kernel each costs a tenth of a second.
        let lists: Vec<String> = TABLES.iter().map(|(table, columns)| format!("--columns={columns} list {table}")).collect();
        let text = self.vsctl(&format!("--format=json -- {}", lists.join(" -- ")));
        let documents: Vec<Value> = serde_json::Deserializer::from_str(&text).into_iter().map(Result::unwrap).collect();
        let mut lines = Vec::new();
        let mut names = Vec::new();
        for ((table, _), document) in TABLES.iter().zip(&documents) {
            for row in document["data"].as_array().unwrap() {
                let plain = row.as_array().unwrap().iter().skip(usize::from(*table != "Interface"));
                lines.push(format!("{table} {}", plain.map(Value::to_string).collect::<Vec<_>>().join(" ")));
                if *table == "Port" {
                    names.push((row[0].to_string(), row[1].as_str().unwrap()));
                }
                let ports = row[0].to_string();
                let has = names.iter().filter(|(uuid, _)| *table == "Bridge" && ports.contains(uuid.as_str()));
                lines.extend(has.map(|(_, port)| format!("{} has {port}", row[1].as_str().unwrap())));
            }
        }
        lines.sort();
        lines
    }

    /// One row with all its columns but those that the switch writes and that refer to other rows.
    pub fn row(&self, table: &str, name: &str) -> Vec<String> {
        const STATUS: [&str; 12] = [
            "_uuid",
            "interfaces",
            "ifindex",
            "mac_in_use",
            "ofport",
            "statistics",
            "status",
            "admin_state",
            "link_state",
            "link_resets",
            "mtu",
            "error",
        ];
        let text = self.vsctl(&format!("list {table} {name}"));
        let is_config = |line: &&str| {
            !STATUS.contains(&line.split(':').next().unwrap().trim()) && !line.starts_with("link_speed") && !line.starts_with("duplex")
        };
        text.lines().filter(is_config).map(str::to_owned).collect()
    }

    /// The value of a column of a row.
    pub fn get(&self, table: &str, name: &str, column: &str) -> String {
        self.vsctl(&format!("get {table} {name} {column}")).trim().to_owned()
    }
}

fn end(child: &mut Option<Child>) {
    if let Some(mut child) = child.take() {
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Drop for Ovs {
    fn drop(&mut self) {
        end(&mut self.switch);
        end(&mut self.server);
    }
}

/// What becomes of a request that would change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It does not reach the server; the connection is closed.
    Dropped,
    /// The server gets it, its answer is lost and the connection closed.
    AnswerLost,
    /// Something happens before the server gets it.
    Late,
}

/// Stands between the program and a server; the first request that makes a row meets its fate, later ones pass.
pub struct Between {
    socket: PathBuf,
    /// How many requests met it.
    pub met: Arc<AtomicUsize>,
}

impl Between {
    pub fn start(ovs: &Ovs, fate: Fate, then: impl Fn() + Send + Sync + 'static) -> Self {
        let (socket, server) = (ovs.dir.join("between.sock"), ovs.socket.clone());
        let listener = UnixListener::bind(&socket).unwrap();
        let met = Arc::new(AtomicUsize::new(0));
        let (count, then) = (Arc::clone(&met), Arc::new(then));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (server, count, then) = (server.clone(), Arc::clone(&count), Arc::clone(&then));
                std::thread::spawn(move || pass(client, &server, fate, &count, &*then));
            }
        });
        Self { socket, met }
    }

    pub fn address(&self) -> String {
        format!("unix:{}", self.socket.display())
    }
}

/// Passes requests and answers on, by turns: the program asks one thing at a time.
fn pass(mut client: UnixStream, server: &Path, fate: Fate, met: &AtomicUsize, then: &dyn Fn()) {
    let Ok(mut server) = UnixStream::connect(server) else { return };
    let mut bytes = vec![0; 1 << 20];
    loop {
        let Some(request) = read_value(&mut client, &mut bytes) else { return };
        let is_change = String::from_utf8_lossy(&request).contains("\"op\":\"insert\"");
        let is_first = is_change && met.fetch_add(1, Ordering::SeqCst) == 0;
        if is_first && fate == Fate::Dropped {
            return then();
        }
        if is_first && fate == Fate::Late {
            then();
        }
        server.write_all(&request).unwrap();
        let Some(answer) = read_value(&mut server, &mut bytes) else { return };
        if is_first && fate == Fate::AnswerLost {
            return then();
        }
        if client.write_all(&answer).is_err() {
            return;
        }
    }
}

/// Reads until what has come is one JSON value.
fn read_value(stream: &mut UnixStream, buffer: &mut [u8]) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let count = stream.read(buffer).ok().filter(|count| *count > 0)?;
        all.extend_from_slice(&buffer[..count]);
        if serde_json::from_slice::<serde_json::Value>(&all).is_ok() {
            return Some(all);
        }
    }
}

/// A server that answers every connection with the same bytes and keeps it open.
pub fn babbler(socket: &Path, says: &'static [u8]) {
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for mut client in listener.incoming().flatten() {
            let _ = client.write_all(says);
            open.push(client);
        }
    });
}

/// A server for a database of any schema.
pub struct Served {
    pub address: String,
    child: Child,
}

pub fn serve(dir: &Path, name: &str, schema: &str) -> Served {
    let file = |end: &str| dir.join(format!("{name}{end}"));
    std::fs::write(file(".ovsschema"), schema).unwrap();
    let made = Command::new("ovsdb-tool").arg("create").args([file(".db"), file(".ovsschema")]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut command = Command::new("ovsdb-server");
    command
        .arg(file(".db"))
        .arg(format!("--remote=punix:{}", file(".sock").display()))
        .arg(format!("--unixctl={}", file(".ctl").display()));
    let child = command.args(["-vconsole:off", "--no-chdir"]).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("a server listens", || UnixStream::connect(file(".sock")).is_ok());
    Served { address: format!("unix:{}", file(".sock").display()), child }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
