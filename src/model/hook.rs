//! The administrator's own programs, run around an attach or a detach: when, which, and what they are told.

use std::fmt;
use std::net::IpAddr;

use serde::{Serialize, Serializer};

use super::report::GuestReport;
use super::types::{IfAddr, IfName};

/// Version of the document on a hook's standard input. Fields are only ever added within one version.
pub const SCHEMA: u32 = 1;

/// When hooks are run. The name is also that of their folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookEvent {
    /// It is known what is to be done, and nothing is done yet.
    PreAttach,
    /// All was done.
    PostAttach,
    /// It is known what is to be taken away, and nothing is taken away yet.
    PreDetach,
    /// All was taken away.
    PostDetach,
}

impl HookEvent {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::PreAttach, Self::PostAttach, Self::PreDetach, Self::PostDetach];

    /// Its name: `pre-attach` and the like.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PreAttach => "pre-attach",
            Self::PostAttach => "post-attach",
            Self::PreDetach => "pre-detach",
            Self::PostDetach => "post-detach",
        }
    }
}

impl fmt::Display for HookEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for HookEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What a hook reads on its standard input.
#[derive(Clone, Debug, Serialize)]
pub struct HookDocument<'a, Q, R> {
    /// Version of this document ([`SCHEMA`]).
    pub schema: u32,
    /// When it is run.
    pub event: HookEvent,
    /// The guest.
    pub guest: GuestReport,
    /// The interface in the guest.
    pub interface: &'a IfName,
    /// The addresses that are told, or that it has. Before an attach by DHCP there are none yet.
    pub addresses: Vec<IfAddr>,
    /// The guest's default gateways that are asked for.
    pub gateways: Vec<IpAddr>,
    /// What was asked.
    pub request: &'a Q,
    /// What came of it: the document that `--json` prints. Only after the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<&'a R>,
}

/// Whether a file of that name in a hook folder is a hook: letters, digits, `_` and `-` only, as run-parts(8) has it. So an
/// editor's copy (`10-check~`), what a package manager leaves (`10-check.dpkg-old`) and a README.txt are none.
pub fn is_hook_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_editors_and_package_managers_leave_is_no_hook() {
        for name in ["10-check", "a", "A_b-9", "00", "-"] {
            assert!(is_hook_name(name), "{name}");
        }
        for name in
            ["", ".", "..", "10-check~", "#10-check#", ".10-check.swp", "10-check.dpkg-old", "10-check.rpmsave", "x.sh", "a b", "ä", "a/b"]
        {
            assert!(!is_hook_name(name), "{name}");
        }
    }

    #[test]
    fn the_document_names_the_event_and_has_a_report_only_afterwards() {
        let guest = GuestReport { name: "web".into(), engine: "pid", id: None, pid: Some(7), netns: 1 };
        let interface: IfName = IfName::made("eth1");
        let before = HookDocument::<_, bool> {
            schema: SCHEMA,
            event: HookEvent::PreAttach,
            guest,
            interface: &interface,
            addresses: vec!["10.1.1.2/24".parse().unwrap()],
            gateways: vec!["10.1.1.1".parse().unwrap()],
            request: &"words",
            report: None,
        };
        let text = serde_json::to_string(&before).unwrap();
        assert_eq!(
            text,
            r#"{"schema":1,"event":"pre-attach","guest":{"name":"web","engine":"pid","id":null,"pid":7,"netns":1},"interface":"eth1","addresses":["10.1.1.2/24"],"gateways":["10.1.1.1"],"request":"words"}"#
        );
        let after = HookDocument { event: HookEvent::PostDetach, report: Some(&true), ..before };
        assert!(serde_json::to_string(&after).unwrap().ends_with(r#""report":true}"#));
    }
}
