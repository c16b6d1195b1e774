//! What a runtime does: it runs the plugins of a list one after another, and keeps the last result (as cnitool does).

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::lab::{Lab, Space};

/// What a plugin came to.
#[derive(Debug)]
pub struct Answer {
    pub well: bool,
    pub out: String,
    /// For whoever reads why a test failed.
    #[allow(dead_code)]
    pub err: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The result of one that went well.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert!(self.well, "{self:?}");
        if self.out.is_empty() { Value::Null } else { self.json() }
    }

    /// The error of one that did not, in the protocol's form.
    #[track_caller]
    pub fn error(&self) -> (u64, String) {
        assert!(!self.well, "{self:?}");
        let told = self.json();
        let known = ["cniVersion", "code", "msg", "details"];
        assert!(told.as_object().unwrap().keys().all(|key| known.contains(&key.as_str())), "{told}");
        assert!(["0.3.1", "0.4.0", "1.0.0", "1.1.0"].contains(&told["cniVersion"].as_str().unwrap()), "{told}");
        let words = format!("{}: {}", told["msg"].as_str().unwrap(), told["details"].as_str().unwrap_or_default());
        (told["code"].as_u64().unwrap(), words)
    }
}

/// A container by its runtime's word.
#[derive(Clone, Debug)]
pub struct Attachment {
    pub container: String,
    pub netns: String,
    pub interface: String,
}

impl Attachment {
    pub fn new(container: &str, guest: &Space) -> Self {
        Self { container: container.into(), netns: format!("/proc/{}/ns/net", guest.pid()), interface: "eth0".into() }
    }

    pub fn called(&self, interface: &str) -> Self {
        Self { interface: interface.into(), ..self.clone() }
    }

    pub fn variables<'a>(&'a self, verb: &'a str) -> Vec<(&'a str, &'a str)> {
        let all =
            [("CNI_COMMAND", verb), ("CNI_CONTAINERID", &self.container), ("CNI_NETNS", &self.netns), ("CNI_IFNAME", &self.interface)];
        all.to_vec()
    }
}

/// Where Debian has the plugins of the CNI project.
pub const PLUGINS: &str = "/usr/lib/cni";

/// Starts a plugin on the lab's host. Ours is `pipework`, another lies among Debian's.
pub fn start(lab: &Lab, plugin: &str, variables: &[(&str, &str)], input: &[u8]) -> Child {
    let command = match plugin {
        "pipework" => lab.program(),
        other => lab.host.command(&format!("{PLUGINS}/{other}")),
    };
    start_with(command, lab, variables, input)
}

/// Starts a plugin by a command.
pub fn start_with(mut command: Command, lab: &Lab, variables: &[(&str, &str)], input: &[u8]) -> Child {
    command.env("CNI_PATH", format!("{}:{PLUGINS}", lab.dir.path().display()));
    command.envs(variables.iter().copied()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // One that does not read it to its end is no failure of ours.
    let _ = child.stdin.take().unwrap().write_all(input);
    child
}

pub fn ended(mut child: Child) -> Answer {
    let (mut out, mut err) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    Answer { well: child.wait().unwrap().success(), out: out.trim().to_owned(), err }
}

/// Ours, with these variables and this text.
pub fn raw(lab: &Lab, variables: &[(&str, &str)], input: &[u8]) -> Answer {
    ended(start(lab, "pipework", variables, input))
}

/// Ours, for an attachment.
pub fn call(lab: &Lab, verb: &str, attachment: &Attachment, configuration: &Value) -> Answer {
    raw(lab, &attachment.variables(verb), configuration.to_string().as_bytes())
}

/// A network: a list of plugins, and the last results.
pub struct Network<'a> {
    lab: &'a Lab,
    list: Value,
}

impl<'a> Network<'a> {
    pub fn new(lab: &'a Lab, version: &str, plugins: Value) -> Self {
        Self { lab, list: json!({ "cniVersion": version, "name": "lan", "plugins": plugins }) }
    }

    fn each(&self) -> Vec<Value> {
        let named = |plugin: &Value| {
            let mut plugin = plugin.clone();
            (plugin["name"], plugin["cniVersion"]) = (self.list["name"].clone(), self.list["cniVersion"].clone());
            plugin.as_object_mut().unwrap().remove("capabilities");
            plugin
        };
        self.list["plugins"].as_array().unwrap().iter().map(named).collect()
    }

    fn run(&self, verb: &str, at: Option<&Attachment>, plugin: &Value, more: &[(&str, &str)]) -> Answer {
        let mut variables = at.map_or_else(|| vec![("CNI_COMMAND", verb)], |at| at.variables(verb));
        variables.extend(more);
        ended(start(self.lab, plugin["type"].as_str().unwrap(), &variables, plugin.to_string().as_bytes()))
    }

    /// Adds; the result, or the answer of the plugin that failed.
    pub fn add(&self, at: &Attachment) -> Result<Value, Answer> {
        self.add_with(at, &json!({}), &[])
    }

    pub fn add_with(&self, at: &Attachment, runtime: &Value, more: &[(&str, &str)]) -> Result<Value, Answer> {
        let mut last = None;
        for mut plugin in self.each() {
            if let Some(last) = last.take() {
                plugin["prevResult"] = last;
            }
            plugin["runtimeConfig"] = runtime.clone();
            let answer = self.run("ADD", Some(at), &plugin, more);
            if !answer.well {
                return Err(answer);
            }
            last = Some(answer.ok());
        }
        Ok(last.unwrap())
    }

    /// CHECK of all plugins, with the last result.
    pub fn check(&self, at: &Attachment, last: &Value) -> Result<(), Answer> {
        self.each().into_iter().try_for_each(|mut plugin| {
            plugin["prevResult"] = last.clone();
            let answer = self.run("CHECK", Some(at), &plugin, &[]);
            if answer.well { Ok(()) } else { Err(answer) }
        })
    }

    /// CHECK of ours alone: Debian's bridge looks for all addresses on its own interface.
    pub fn check_ours(&self, at: &Attachment, last: &Value) -> Result<(), Answer> {
        self.each().into_iter().filter(|plugin| plugin["type"] == "pipework").try_for_each(|mut plugin| {
            plugin["prevResult"] = last.clone();
            let answer = self.run("CHECK", Some(at), &plugin, &[]);
            if answer.well { Ok(()) } else { Err(answer) }
        })
    }

    #[track_caller]
    pub fn del(&self, at: &Attachment, last: Option<&Value>) {
        for mut plugin in self.each().into_iter().rev() {
            if let Some(last) = last {
                plugin["prevResult"] = last.clone();
            }
            let answer = self.run("DEL", Some(at), &plugin, &[]);
            assert!(answer.well && answer.out.is_empty(), "{plugin}: {answer:?}");
        }
    }

    pub fn status(&self) -> Result<(), Answer> {
        self.each().iter().try_for_each(|plugin| {
            let answer = self.run("STATUS", None, plugin, &[]);
            if answer.well { Ok(()) } else { Err(answer) }
        })
    }

    /// GC of ours, with the attachments that are still there.
    pub fn gc(&self, valid: &[&Attachment]) -> Result<(), Answer> {
        let valid: Vec<Value> = valid.iter().map(|at| json!({ "containerID": at.container, "ifname": at.interface })).collect();
        self.each().into_iter().filter(|plugin| plugin["type"] == "pipework").try_for_each(|mut plugin| {
            plugin["cni.dev/valid-attachments"] = json!(valid);
            let answer = self.run("GC", None, &plugin, &[]);
            if answer.well { Ok(()) } else { Err(answer) }
        })
    }
}

/// Records, journal and claims of a lab: nothing of them is to be left.
pub fn left(lab: &Lab) -> Vec<String> {
    let is_kept = |path: &&str| path.ends_with(".json") && !path.contains("/host-local/") && !path.contains("/etc/");
    lab.files().lines().filter(is_kept).map(str::to_owned).collect()
}

/// Puts a program of ours among the lab's plugins.
pub fn plugin(lab: &Lab, name: &str, text: &str) {
    let source = lab.dir.path().join(format!("{name}.sh"));
    std::fs::write(&source, text).unwrap();
    crate::lab::executable(&source, &lab.dir.path().join(name));
}

pub fn exists(path: &str) -> bool {
    Path::new(path).exists()
}
