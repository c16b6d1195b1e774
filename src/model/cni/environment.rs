//! What a runtime says in the environment.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::error::{CniError, Code};
use crate::model::types::IfName;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Make the attachment.
    Add,
    /// Take it away.
    Del,
    /// Tell whether it is as it was made.
    Check,
    /// Take away what the runtime no longer lists.
    Gc,
    /// Tell whether an ADD can be served.
    Status,
    /// Tell the versions.
    Version,
}

impl Verb {
    /// Whether it is about one attachment.
    pub fn is_about_one(self) -> bool {
        matches!(self, Self::Add | Self::Del | Self::Check)
    }

    fn parse(text: &str) -> Result<Self, CniError> {
        Ok(match text {
            "ADD" => Self::Add,
            "DEL" => Self::Del,
            "CHECK" => Self::Check,
            "GC" => Self::Gc,
            "STATUS" => Self::Status,
            "VERSION" => Self::Version,
            other => {
                let why = format!("CNI_COMMAND is {other:?}: ADD, DEL, CHECK, GC, STATUS and VERSION are known");
                return Err(CniError::new(Code::Environment, why));
            }
        })
    }
}

/// A container by its runtime's word: a letter or digit, then letters, digits, `_`, `.`, `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(String);

impl ContainerId {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ContainerId {
    type Err = CniError;

    fn from_str(text: &str) -> Result<Self, CniError> {
        if is_name(text) {
            return Ok(Self(text.to_owned()));
        }
        let why = "it is a letter or a digit, then letters, digits, '_', '.' and '-'";
        Err(CniError::new(Code::Environment, format!("CNI_CONTAINERID is {text:?}: {why}")))
    }
}

/// What the specification takes for the name of a container or of a network.
pub(super) fn is_name(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric()) && text.bytes().all(good)
}

/// `CNI_ARGS`: what of it is known here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    /// `MAC`
    pub mac: Option<String>,
    /// `IP`: addresses, separated by commas.
    pub ips: Vec<String>,
}

impl Arguments {
    /// Kubernetes' and everybody's, of which nothing is made here.
    const PASSED_OVER: [&str; 5] = ["IgnoreUnknown", "K8S_POD_NAMESPACE", "K8S_POD_NAME", "K8S_POD_INFRA_CONTAINER_ID", "K8S_POD_UID"];

    fn parse(text: &str) -> Result<Self, CniError> {
        let wrong = |why: String| CniError::new(Code::Environment, format!("CNI_ARGS: {why}"));
        let mut arguments = Self::default();
        let mut pairs = Vec::new();
        for pair in text.split(';').filter(|pair| !pair.is_empty()) {
            pairs.push(pair.split_once('=').ok_or_else(|| wrong(format!("{pair:?} is no KEY=VALUE; pairs are separated by ';'")))?);
        }
        let takes_all =
            pairs.iter().any(|(key, value)| *key == "IgnoreUnknown" && matches!(*value, "1" | "t" | "T" | "true" | "True" | "TRUE"));
        for (key, value) in pairs {
            match key {
                "MAC" => arguments.mac = Some(value.to_owned()),
                "IP" => arguments.ips = value.split(',').filter(|ip| !ip.is_empty()).map(str::to_owned).collect(),
                key if takes_all || Self::PASSED_OVER.contains(&key) => {}
                key => return Err(wrong(format!("{key} is not known; with IgnoreUnknown=1 it is passed over"))),
            }
        }
        Ok(arguments)
    }
}

/// A call of the plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What is to be done.
    pub verb: Verb,
    /// The container; of ADD, DEL and CHECK.
    pub container: Option<ContainerId>,
    /// The interface's name; of ADD, DEL and CHECK.
    pub interface: Option<IfName>,
    /// The network namespace's file; of ADD and CHECK, and of DEL where it is there still.
    pub netns: Option<PathBuf>,
    /// What else is said of the attachment.
    pub arguments: Arguments,
    /// Where plugins are.
    pub path: Vec<PathBuf>,
}

impl Call {
    /// Reads the variables by a function that knows them. All that are missing are told at once.
    ///
    /// # Errors
    /// [`Code::Environment`], with their names.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, CniError> {
        let given = |name: &str| variable(name).filter(|value| !value.is_empty());
        let verb = Verb::parse(&given("CNI_COMMAND").unwrap_or_default())?;
        let needed: &[&str] = match verb {
            Verb::Add | Verb::Check => &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"],
            Verb::Del => &["CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"],
            Verb::Gc | Verb::Status => &["CNI_PATH"],
            Verb::Version => &[],
        };
        let missing: Vec<&str> = needed.iter().copied().filter(|name| given(name).is_none()).collect();
        if !missing.is_empty() {
            return Err(CniError::new(Code::Environment, format!("required variables are missing: {}", missing.join(", "))));
        }
        let mut call = Self { verb, container: None, interface: None, netns: None, arguments: Arguments::default(), path: Vec::new() };
        call.path = given("CNI_PATH").unwrap_or_default().split(':').filter(|part| !part.is_empty()).map(PathBuf::from).collect();
        if verb.is_about_one() {
            let interface = given("CNI_IFNAME").map(|name| name.parse::<IfName>());
            call.interface = interface.transpose().map_err(|why| CniError::new(Code::Environment, format!("CNI_IFNAME: {why}")))?;
            call.container = given("CNI_CONTAINERID").map(|id| id.parse()).transpose()?;
            call.netns = given("CNI_NETNS").map(|path| netns(&path)).transpose()?;
            call.arguments = Arguments::parse(&given("CNI_ARGS").unwrap_or_default())?;
        }
        Ok(call)
    }
}

fn netns(text: &str) -> Result<PathBuf, CniError> {
    if !text.starts_with('/') || text.contains(['\0', '\n']) {
        let why = format!("CNI_NETNS is {text:?}: give a network namespace by its whole path, like /run/netns/lab");
        return Err(CniError::new(Code::Environment, why));
    }
    Ok(PathBuf::from(text))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ALL: [(&str, &str); 6] = [
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "some-container-id"),
        ("CNI_NETNS", "/some/netns/path"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_ARGS", "K8S_POD_NAME=web-0;MAC=02:00:00:00:00:01;IP=10.1.1.5,fd00::5"),
        ("CNI_PATH", "/some/cni/path:/other"),
    ];

    fn read(changes: &[(&str, &str)]) -> Result<Call, CniError> {
        Call::read(|name| {
            let of = |all: &[(&str, &str)]| all.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            of(changes).or_else(|| of(&ALL))
        })
    }

    #[test]
    fn a_call_is_read_whole() {
        let call = read(&[]).unwrap();
        assert_eq!((call.verb, call.container.unwrap().as_str()), (Verb::Add, "some-container-id"));
        assert_eq!((call.interface.unwrap().as_str(), call.netns.unwrap()), ("eth0", PathBuf::from("/some/netns/path")));
        assert_eq!(call.arguments.ips, ["10.1.1.5", "fd00::5"]);
        assert_eq!(call.path.len(), 2);
        assert_eq!(read(&[("CNI_COMMAND", "DEL"), ("CNI_NETNS", "")]).unwrap().netns, None);
    }

    #[test]
    fn all_that_is_missing_is_told_with_its_name() {
        let error = read(&[("CNI_NETNS", ""), ("CNI_IFNAME", ""), ("CNI_PATH", "")]).unwrap_err();
        assert_eq!(error.code(), 4);
        assert!(error.to_string().contains("CNI_NETNS, CNI_IFNAME, CNI_PATH"), "{error}");
        for (name, value) in [
            ("CNI_COMMAND", ""),
            ("CNI_COMMAND", "NOPE"),
            ("CNI_CONTAINERID", "some-%%container-id"),
            ("CNI_CONTAINERID", "-x"),
            ("CNI_CONTAINERID", "../x"),
            ("CNI_IFNAME", "1234567890123456"),
            ("CNI_IFNAME", "."),
            ("CNI_IFNAME", ".."),
            ("CNI_IFNAME", "test/test"),
            ("CNI_IFNAME", "test:test"),
            ("CNI_IFNAME", "test test1"),
            ("CNI_NETNS", "relative"),
            ("CNI_NETNS", "/a\nb"),
            ("CNI_ARGS", "x"),
            ("CNI_ARGS", "Colour=red"),
        ] {
            let error = read(&[(name, value)]).unwrap_err();
            assert_eq!(error.code(), 4, "{name}={value}");
            assert!(error.to_string().contains(name), "{error}");
        }
        assert!(read(&[("CNI_ARGS", "Colour=red;IgnoreUnknown=1")]).is_ok());
    }

    #[test]
    fn gc_status_and_version_need_no_container() {
        for verb in ["GC", "STATUS", "VERSION"] {
            let call = Call::read(|name| match name {
                "CNI_COMMAND" => Some(verb.to_owned()),
                "CNI_PATH" => Some("/x".to_owned()),
                _ => None,
            });
            assert!(call.is_ok(), "{verb}");
        }
    }
}
