//! What containers ask for themselves: labels, annotations and environment variables with the words of an attach in them.
//! Whoever may start a container wrote them, so they are read by the strict grammar only, and [`Policy`] has the last word.

mod daemon;
mod environment;
mod file;
mod glob;
mod labels;
mod line;
mod policy;
mod swarm;
mod template;
mod words;

use std::collections::BTreeMap;
use std::fmt;

use thiserror::Error;

pub use daemon::{DaemonEnvironment, ManualCommand, RunModes};
pub use file::{WantedFile, read_wanted};
pub use labels::intents;
pub use policy::{Policy, Refusal};
pub use swarm::Task;

use super::request::{AttachRequest, GuestRef, HostIf};
use super::sharing::{MacvlanMode, Sharing};

/// So many labels, and so many variables, of one container are read.
const MOST: usize = 32;
/// So many bytes of a label's or variable's name are told.
const LONGEST_NAME: usize = 128;

/// A container as its engine, or its runtime's bundle, describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// `docker` or `podman`; empty where only a bundle is known.
    pub engine: String,
    /// The whole identifier.
    pub id: String,
    /// Its name, without a slash.
    pub name: String,
    /// Its host name.
    pub hostname: String,
    /// The image as it was named.
    pub image: String,
    /// Its process, 0 while it does not run.
    pub pid: u32,
    /// Labels, or annotations.
    pub labels: BTreeMap<String, String>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// Whether its root is not the host's.
    pub has_user_namespace: bool,
}

impl Container {
    /// The least of an identifier that is taken for it: what `docker ps` shows.
    const SHORT_ID: usize = 12;

    /// The identifier's beginning, as `docker ps` shows it.
    pub fn short_id(&self) -> &str {
        self.id.get(..Self::SHORT_ID).unwrap_or(&self.id)
    }

    /// The image's name without tag and digest. A registry may have a port.
    pub fn image_name(&self) -> &str {
        let name = self.image.split('@').next().unwrap_or_default();
        match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => name,
            _ => name,
        }
    }

    /// Whether a guest's word means this container: its name, its identifier, or at least twelve digits of that.
    pub fn is_called(&self, guest: &GuestRef) -> bool {
        let (engine, word) = match guest {
            GuestRef::Any(word) => (None, word),
            GuestRef::Docker(word) => (Some("docker"), word),
            GuestRef::Podman(word) => (Some("podman"), word),
            GuestRef::Pid(pid) => return *pid != 0 && *pid == self.pid,
            GuestRef::Lxc(_) | GuestRef::NetnsName(_) | GuestRef::NetnsPath(_) => return false,
        };
        let is_id = word.len() >= Self::SHORT_ID && self.id.starts_with(word.as_str());
        engine.is_none_or(|engine| engine == self.engine) && (is_id || *word == self.name && !word.is_empty())
    }
}

/// What the host has to say to its containers' words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// Its name, for `{{.Node}}`.
    pub node: String,
    /// What the daemon's own environment says.
    pub environment: DaemonEnvironment,
}

/// One attachment that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Where it is written.
    pub source: Source,
    /// The words of `attach` without the guest.
    pub words: Vec<String>,
    /// Whether host and guest are to reach each other, where they can. `--host-access` among the words is what has to be.
    pub host_access: bool,
}

impl Intent {
    /// The request that its words are, with what is not among them.
    ///
    /// # Errors
    /// When it cannot be made again and again with the same end, as one that is wanted has to be.
    pub fn complete(&self, request: AttachRequest) -> Result<AttachRequest, IntentError> {
        if request.settings.auto_name {
            let why = "-i auto would make another interface each time: give the name itself, like -i eth1";
            return Err(self.source.wrong(why));
        }
        let host_access = request.host_access || self.host_access && can_be_reached(&request);
        Ok(AttachRequest { host_access, ..request })
    }
}

/// Whether `--host-access` makes sense, as far as the words tell. The image's switch is for all commands of a container at once,
/// also those on a bridge, where host and guest reach each other anyway, and those whose address is leased.
fn can_be_reached(request: &AttachRequest) -> bool {
    let is_macvlan = matches!(request.sharing, None | Some(Sharing::Macvlan(MacvlanMode::Bridge))) && !request.direct_phys;
    let is_nic = match &request.host_if {
        HostIf::Name(name) => name.as_str() != "dummy" && !["br", "ovs", "ib"].iter().any(|prefix| name.as_str().starts_with(prefix)),
        HostIf::Mac(_) => true,
        HostIf::Guest(_) => false,
    };
    is_macvlan && is_nic && !request.addr.addrs.is_empty()
}

/// Where the words of an intent are written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A label or annotation, by its key.
    Label(String),
    /// An environment variable, by its name.
    Env(String),
    /// `pipework cluster attach`, by the service's or container's name.
    Cluster(String),
}

impl Source {
    fn label(key: &str) -> Self {
        Self::Label(shortened(key))
    }

    fn env(name: &str) -> Self {
        Self::Env(shortened(name))
    }

    /// What was said of a service, or container, to the whole cluster.
    pub fn cluster(name: &str) -> Self {
        Self::Cluster(shortened(name))
    }

    fn wrong(&self, why: impl Into<String>) -> IntentError {
        IntentError { source_: self.clone(), why: visible(&why.into()) }
    }
}

fn shortened(name: &str) -> String {
    let end = name.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= LONGEST_NAME).last();
    name.get(..end.unwrap_or_default()).unwrap_or_default().to_owned()
}

impl fmt::Display for Source {
    /// Control characters as Rust writes them: whoever starts a container does not write on the administrator's terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, name) = match self {
            Self::Label(key) => ("label", key),
            Self::Env(name) => ("environment variable", name),
            Self::Cluster(name) => ("cluster attach", name),
        };
        write!(f, "{what} {}", visible(name))
    }
}

/// A text without characters that are not seen.
fn visible(text: &str) -> String {
    text.chars().flat_map(|c| if is_hidden(c) { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

/// Whether it changes how other characters are shown, and is not seen itself: control characters, and Unicode's marks for the
/// direction of writing, for joining and for invisible breaks (general categories Cc, Cf, Zl, Zp).
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Why there is nothing to be made of a container's words.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{source_}: {why}")]
pub struct IntentError {
    /// Where they are written.
    pub source_: Source,
    /// What is wrong with them.
    pub why: String,
}

/// Leaves so many as are read, and an error for the rest of them.
fn at_most(all: &mut Vec<Result<Intent, IntentError>>, what: &str) {
    if all.len() <= MOST {
        return;
    }
    all.truncate(MOST + 1);
    let first = all.pop().map(|one| one.map_or_else(|error| error.source_, |intent| intent.source));
    let why = format!("more than {MOST} such {what}: this one and those after it are not read");
    all.extend(first.map(|source| Err(source.wrong(why))));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::request::AddrWord;

    fn on(host_if: &str, addr: &str) -> AttachRequest {
        AttachRequest::new(host_if.parse().unwrap(), "web".parse().unwrap(), addr.parse::<AddrWord>().unwrap())
    }

    #[test]
    fn a_container_is_called_by_name_identifier_or_process() {
        let id = "0123456789abcdef0123".to_owned();
        let container = Container { engine: "docker".into(), name: "web".into(), id, pid: 4711, ..Container::default() };
        for (word, wanted) in [
            ("web", true),
            ("/web", true),
            ("docker:web", true),
            ("podman:web", false),
            ("0123456789ab", true),
            ("docker:0123456789abcdef0123", true),
            ("0123456789a", false),
            ("123456789abc", false),
            ("pid:4711", true),
            ("pid:1", false),
            ("lxc:web", false),
            ("netns:web", false),
            ("webb", false),
        ] {
            assert_eq!(container.is_called(&word.parse().unwrap()), wanted, "{word}");
        }
        assert_eq!(container.short_id(), "0123456789ab");
    }

    #[test]
    fn an_image_has_a_name_before_its_tag_and_digest() {
        for (image, wanted) in [
            ("nginx", "nginx"),
            ("nginx:1.25", "nginx"),
            ("lan:5000/nginx", "lan:5000/nginx"),
            ("lan:5000/nginx:1@sha256:00", "lan:5000/nginx"),
            ("", ""),
        ] {
            assert_eq!(Container { image: image.into(), ..Container::default() }.image_name(), wanted);
        }
    }

    fn intent() -> Intent {
        Intent { source: Source::Env("pipework_cmd".into()), words: Vec::new(), host_access: true }
    }

    #[test]
    fn an_intent_brings_host_access_where_it_can_be() {
        for (request, wanted) in [
            (on("eth0", "10.0.0.2/24"), true),
            (on("mac:02:00:00:00:00:09", "10.0.0.2/24"), true),
            (on("br1", "10.0.0.2/24"), false),
            (on("ovs1", "10.0.0.2/24"), false),
            (on("dummy", "10.0.0.2/24"), false),
            (on("link:db:eth1", "10.0.0.2/24"), false),
            (on("eth0", "dhcp"), false),
            (on("eth0", "0/0"), false),
            (AttachRequest { direct_phys: true, ..on("eth0", "10.0.0.2/24") }, false),
            (AttachRequest { sharing: Some(Sharing::Macvlan(MacvlanMode::Private)), ..on("eth0", "10.0.0.2/24") }, false),
            (AttachRequest { host_access: true, ..on("br1", "10.0.0.2/24") }, true),
        ] {
            assert_eq!(intent().complete(request.clone()).unwrap().host_access, wanted, "{request:?}");
        }
    }

    #[test]
    fn an_intent_has_no_name_that_changes() {
        let mut auto = on("eth0", "0/0");
        auto.settings.auto_name = true;
        assert!(intent().complete(auto).unwrap_err().to_string().contains("-i eth1"));
    }

    #[test]
    fn what_is_told_of_a_name_is_short_and_visible() {
        let source = Source::label(&format!("pipework.\n\u{1b}{}", "é".repeat(5000)));
        assert!(source.to_string().len() < 200 && !source.to_string().chars().any(char::is_control));
        let told = source.wrong("a\nb\u{202e}c").to_string();
        assert!(told.ends_with(r"a\nb\u{202e}c"), "{told}");
    }
}
