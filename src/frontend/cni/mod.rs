//! The plugin for the Container Network Interface: a runtime runs it with `CNI_COMMAND` in the environment and a network's
//! configuration on standard input, and reads what came of it on standard output.

mod add;
mod check;
mod del;
mod fault;
mod ipam;

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use crate::external::hooks::HookSettings;
use crate::guest::Sandbox;
use crate::kernel::announce::Announcement;
use crate::lifecycle::Options;
use crate::lifecycle::claims::Claims;
use crate::model::cni::{Call, CniError, Code, Failure, Ipam, Key, NetConf, Source, Verb, Version, Versions};
use crate::model::pool::Owner;
use crate::model::topology::How;
use crate::state;

/// Larger configurations are none: one with 40,000 containers to be kept by GC is smaller.
const LARGEST: u64 = 8 << 20;
/// How long a plugin may take to which a part of the work is delegated: a DHCP server may be slow.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is to be said, and how it went.
pub struct Ended {
    /// The document for standard output; empty when there is nothing to say.
    pub document: String,
    /// Whether it went well.
    pub well: bool,
    /// For standard error.
    pub warnings: Vec<String>,
    /// What is still to be told to the neighbours.
    pub announcement: Option<Announcement>,
}

/// What a verb that went well has to say.
#[derive(Default)]
struct Done {
    document: Option<String>,
    warnings: Vec<String>,
    announcement: Option<Announcement>,
}

/// One call of the plugin. Variables are those of the environment, and pools those that this host goes by.
pub fn run(variable: impl Fn(&str) -> Option<String>, input: impl Read, claims: Arc<dyn Claims>) -> Ended {
    let mut version = None;
    match called(variable, input, claims, &mut version) {
        Ok(Done { document, warnings, announcement }) => {
            Ended { document: document.unwrap_or_default(), well: true, warnings, announcement }
        }
        Err(error) => {
            let document = serde_json::to_string(&Failure::new(version, &error)).unwrap_or_default();
            Ended { document, well: false, warnings: Vec::new(), announcement: None }
        }
    }
}

fn called(
    variable: impl Fn(&str) -> Option<String>,
    input: impl Read,
    claims: Arc<dyn Claims>,
    version: &mut Option<Version>,
) -> Result<Done, CniError> {
    let call = Call::read(variable)?;
    if call.verb == Verb::Version {
        // Its end is not waited for: a runtime need not say anything here.
        let asked = serde_json::Deserializer::from_reader(input.take(LARGEST)).into_iter::<serde_json::Value>().next();
        let answer = Versions::answer(asked.and_then(Result::ok).as_ref());
        return printed(&answer).map(|document| Done { document: Some(document), ..Done::default() });
    }
    let input = read(input)?;
    let conf = NetConf::read(&input, call.verb, &call.arguments).map_err(|(spoken, error)| {
        *version = spoken;
        error
    })?;
    *version = Some(conf.version);
    let plugin = Plugin::new(call, conf, input, claims)?;
    match plugin.call.verb {
        Verb::Add => plugin.add(),
        Verb::Del => plugin.del(),
        Verb::Check => plugin.check(),
        Verb::Gc => plugin.gc(),
        Verb::Status => plugin.status(),
        Verb::Version => Ok(Done::default()),
    }
}

fn read(input: impl Read) -> Result<Vec<u8>, CniError> {
    let mut bytes = Vec::new();
    let read = input.take(LARGEST + 1).read_to_end(&mut bytes);
    read.map_err(|error| CniError::new(Code::Io, format!("reading the network configuration: {error}")))?;
    if bytes.len() as u64 > LARGEST {
        return Err(CniError::new(Code::Decoding, format!("the network configuration is larger than {LARGEST} bytes")));
    }
    Ok(bytes)
}

fn printed(document: &impl serde::Serialize) -> Result<String, CniError> {
    serde_json::to_string(document).map_err(|error| CniError::new(Code::Io, format!("the result: {error}")))
}

/// The plugin at work.
struct Plugin {
    call: Call,
    conf: NetConf,
    /// The configuration as it came: a plugin to which work is delegated gets the same.
    input: Vec<u8>,
    /// The pools of this host, or of its cluster.
    claims: Arc<dyn Claims>,
    /// The attachment; there is none for GC and STATUS.
    attachment: Option<Key>,
}

impl Plugin {
    fn new(call: Call, conf: NetConf, input: Vec<u8>, claims: Arc<dyn Claims>) -> Result<Self, CniError> {
        let mut plugin = Self { call, conf, input, claims, attachment: None };
        if let (Some(container), Some(interface)) = (plugin.call.container.clone(), plugin.call.interface.clone()) {
            plugin.attachment = Some(plugin.conf.key(container, interface, plugin.host())?);
        }
        Ok(plugin)
    }

    fn key(&self) -> Result<&Key, CniError> {
        self.attachment.as_ref().ok_or_else(|| CniError::new(Code::Environment, "CNI_CONTAINERID and CNI_IFNAME are missing"))
    }

    fn owner(&self) -> Result<Owner, CniError> {
        self.key()?.owner()
    }

    /// This host's name, where addresses may come of pools that other hosts have as well.
    fn host(&self) -> Option<String> {
        let is_shared = match &self.conf.ipam {
            Ipam::None => true,
            Ipam::BuiltIn(own) => own.sources.iter().any(|source| matches!(source, Source::Named(_))),
            Ipam::Delegated(_) => false,
        };
        let is_plain = |name: &String| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
        Some(super::node()).filter(|name| is_shared && is_plain(name))
    }

    /// The container's network namespace, as text.
    fn netns(&self) -> String {
        self.call.netns.as_ref().map(|path| path.display().to_string()).unwrap_or_default()
    }

    fn sandbox(&self) -> Result<Sandbox, CniError> {
        let key = self.key()?;
        Ok(Sandbox { container: key.container.to_string(), name: key.to_string(), path: self.call.netns.clone().unwrap_or_default() })
    }

    fn options(how: &How) -> Options {
        let usual = Options {
            run_dir: state::run_dir(),
            pid_dir: state::pid_dir(),
            hooks: HookSettings::from_environment(),
            tell_links: true,
            ..Options::default()
        };
        usual.with(how)
    }
}
