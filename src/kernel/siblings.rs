//! Who shares a NIC. The links are in guests, and the host's own dump shows none of them: every namespace that has a process
//! or a name is looked into. So much is done only when it is asked how a NIC is to be shared: ipvlan's mode is the NIC's, and a
//! new link would change its siblings' without a word (ipvlan_link_new, drivers/net/ipvlan/ipvlan_main.c); when a NIC is to
//! leave the host whole; and before what an attach made of a NIC is taken back.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};

use super::decode;
use super::netns::Namespace;
use super::wire::Netlink;
use crate::model::error::KernelError;
use crate::model::facts::{LinkFacts, LinkKind, Sibling};

/// Where ip-netns(8) and engines keep namespaces by name.
const NAMED: [&str; 3] = ["/run/netns", "/run/docker/netns", "/run/podman/netns"];

/// A link that lies on another.
pub(super) struct Above {
    pub(super) link: LinkFacts,
    /// Whether it is in the same namespace.
    pub(super) here: bool,
}

/// The links that share the link of that index in the namespace `home`, wherever they are.
pub(super) fn of(host: &mut Netlink, home: &Namespace, index: u32) -> Result<Vec<Sibling>, KernelError> {
    Ok(on(host, home, index)?.into_iter().filter_map(|above| sibling(above.link)).collect())
}

/// Whether a link that is up needs the link of that index. A VLAN child alone does not: the kernel sets it up and down with
/// its NIC (vlan_device_event, net/8021q/vlan.c).
pub(super) fn is_relied_on(host: &mut Netlink, home: &Namespace, index: u32) -> Result<bool, KernelError> {
    for Above { link, here } in on(host, home, index)?.into_iter().filter(|above| above.link.up) {
        let is_child = here && matches!(link.kind, LinkKind::Vlan { .. });
        if !is_child || is_relied_on(host, home, link.index)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// All links that lie on the link of that index in the namespace `home`, wherever they are.
pub(super) fn on(host: &mut Netlink, home: &Namespace, index: u32) -> Result<Vec<Above>, KernelError> {
    // A veth's IFLA_LINK is its other end, which is no parent.
    let is_on = |link: &LinkFacts| link.link == Some(index) && link.kind != LinkKind::Veth;
    let here = links(host)?.into_iter().filter(|(link, elsewhere)| elsewhere.is_none() && is_on(link) && link.index != index);
    let mut all: Vec<Above> = here.map(|(link, _)| Above { link, here: true }).collect();
    let mut seen = BTreeSet::from([home.inode()]);
    for file in files() {
        // It may have gone, or be none of ours to enter.
        let Ok(namespace) = Namespace::open(&file) else { continue };
        if seen.insert(namespace.inode()) {
            let found = namespace.inside(|| inside(home, is_on)).unwrap_or_default();
            all.extend(found.into_iter().map(|link| Above { link, here: false }));
        }
    }
    Ok(all)
}

/// Those in the calling thread's namespace. An index means something only together with the namespace that it is of.
fn inside(home: &Namespace, is_on: impl Fn(&LinkFacts) -> bool) -> Result<Vec<LinkFacts>, KernelError> {
    let mut socket = Netlink::open()?;
    let found: Vec<(LinkFacts, i32)> = links(&mut socket)?
        .into_iter()
        .filter_map(|(link, namespace)| namespace.filter(|_| is_on(&link)).map(|namespace| (link, namespace)))
        .collect();
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let home = number_of(&mut socket, home)?;
    Ok(found.into_iter().filter(|(_, namespace)| *namespace == home).map(|(link, _)| link).collect())
}

fn sibling(link: LinkFacts) -> Option<Sibling> {
    match link.kind {
        LinkKind::Shared(sharing) => Some(Sibling { name: link.name, sharing }),
        _ => None,
    }
}

/// All links, with the number of the namespace that the parent is in if that is another.
fn links(socket: &mut Netlink) -> Result<Vec<(LinkFacts, Option<i32>)>, KernelError> {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    let answers = socket.dump(&RouteNetlinkMessage::GetLink(message))?;
    Ok(answers.iter().filter_map(|answer| Some((decode::link(answer)?, decode::parent_namespace(answer)))).collect())
}

/// What the socket's namespace calls another (RTM_GETNSID, linux/net_namespace.h); -1 when it has no number for it.
pub(super) fn number_of(socket: &mut Netlink, other: &Namespace) -> Result<i32, KernelError> {
    let mut message = NsidMessage::default();
    message.attributes.push(NsidAttribute::Fd(u32::try_from(other.raw_fd()).unwrap_or(u32::MAX)));
    let answers = socket.request(&RouteNetlinkMessage::GetNsId(message), 0)?;
    Ok(answers.iter().find_map(decode::namespace_number).unwrap_or(-1))
}

/// Where every network namespace of this machine that can be seen is found, most of them more than once.
fn files() -> impl Iterator<Item = PathBuf> {
    let names = |directory: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(directory).map(|entries| entries.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
    };
    let is_process = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().bytes().all(|b| b.is_ascii_digit()));
    let processes = names(Path::new("/proc")).into_iter().filter(is_process);
    processes.map(|process| process.join("ns/net")).chain(NAMED.iter().flat_map(move |directory| names(Path::new(directory))))
}
