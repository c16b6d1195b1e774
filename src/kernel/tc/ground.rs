//! What tc's words need to know of the system.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};

use super::super::decode;
use super::super::netns::{Namespace, file_error};
use super::super::wire::Netlink;
use super::speed;
use crate::iproute::tc::{Clock, Ground};
use crate::model::error::KernelError;

/// The packet scheduler's clock; it is the same in every namespace.
const PSCHED: &str = "/proc/net/psched";
/// The most values of a distribution that netem takes (net/sched/sch_netem.c, NETEM_DIST_MAX).
const DISTRIBUTION: usize = 16 * 1024;

/// A namespace's links, and the host's clock.
pub(super) struct System<'a> {
    clock: Clock,
    links: BTreeMap<u32, String>,
    namespace: &'a Namespace,
}

impl<'a> System<'a> {
    /// Asks for both.
    pub(super) fn look(socket: &mut Netlink, namespace: &'a Namespace) -> Result<Self, KernelError> {
        let path = Path::new(PSCHED);
        let text = std::fs::read_to_string(path).map_err(|error| file_error(path, &error))?;
        let clock = Clock::parse(&text).ok_or_else(|| KernelError::Garbled(format!("{PSCHED}: {text:?}")))?;
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        let answers = socket.dump(&RouteNetlinkMessage::GetLink(message))?;
        let links = answers.iter().filter_map(decode::link).map(|link| (link.index, link.name)).collect();
        Ok(Self { clock, links, namespace })
    }

    /// The name of a link, or what tc prints for one that is gone.
    pub(super) fn name(&self, index: u32) -> String {
        self.links.get(&index).cloned().unwrap_or_else(|| format!("if{index}"))
    }
}

impl Ground for System<'_> {
    fn clock(&self) -> Clock {
        self.clock
    }

    fn index(&self, link: &str) -> Option<u32> {
        self.links.iter().find(|(_, name)| *name == link).map(|(index, _)| *index)
    }

    fn speed(&self, link: &str) -> Option<u64> {
        speed::of(self.index(link)?, self.namespace)
    }

    fn distribution(&self, name: &str) -> Option<Vec<i16>> {
        if name.is_empty() || name.contains(['/', '\0']) {
            return None;
        }
        let texts = directories().into_iter().map(|dir| std::fs::read_to_string(dir.join(format!("{name}.dist"))));
        let text = texts.into_iter().find_map(Result::ok)?;
        values(&text)
    }
}

/// Where iproute2 keeps its tables: distributions differ about it.
fn directories() -> Vec<PathBuf> {
    let set = std::env::var_os("TC_LIB_DIR").map(PathBuf::from);
    let fixed = ["/usr/lib/tc", "/usr/lib64/tc", "/usr/share/tc"].map(PathBuf::from);
    let multiarch = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let multiarch = multiarch.filter(|entry| entry.file_name().to_string_lossy().contains("-linux-"));
    set.into_iter().chain(fixed).chain(multiarch.map(|entry| entry.path().join("tc"))).collect()
}

/// The numbers of a table; what begins with # is a comment, and of a line all behind the last number.
fn values(text: &str) -> Option<Vec<i16>> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let numbers = lines.flat_map(|line| line.split_whitespace().map_while(|word| word.parse::<i64>().ok()));
    // C keeps the low 16 bits
    let all: Vec<i16> = numbers.map(|number| number as i16).collect();
    (!all.is_empty() && all.len() <= DISTRIBUTION).then_some(all)
}
