//! The floor: the fewest messages that can make the same attachment, written without any of the product's planning. One
//! on the host's socket; on a socket made in the guest one datagram with the rest.
#![allow(dead_code, clippy::unwrap_used)]

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use pipework::guest;
use pipework::kernel::System;
use pipework::kernel::netns::Namespace;
use pipework::kernel::observe;
use pipework::lifecycle::{self, Options};
use pipework::model::request::{AttachRequest, GuestRef};
use pipework::plan::Birth;
use pipework::plan::execute::{Kernel, execute};
use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::AddressMessage;
use rtnetlink::packet_route::link::{InfoData, InfoVeth, LinkAttribute, MacVlanMode};
use rtnetlink::packet_route::route::{RouteMessage, RouteProtocol};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rtnetlink::{AddressMessageBuilder, LinkMacVlan, LinkUnspec, LinkVeth, RouteMessageBuilder};

#[path = "../../tests/lab/mod.rs"]
pub mod lab;
#[path = "../private/mod.rs"]
mod private;
use lab::Space;

/// What is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    Veth,
    Macvlan,
}

/// A host with a bridge and a NIC, and one guest.
pub struct World {
    pub host: Space,
    pub guest: Space,
    parent: u32,
    directory: tempfile::TempDir,
}

/// The index of the guest's link in the guest.
pub const INDEX: u32 = 900;

/// One queue for each direction: all that is used unless told otherwise.
pub const ONE_QUEUE: [LinkAttribute; 2] = [LinkAttribute::NumTxQueues(1), LinkAttribute::NumRxQueues(1)];

impl World {
    pub fn new(link: Link) -> Self {
        let (host, guest) = (Space::new(), Space::new());
        host.sh("ip link add br0 up type bridge; ip link add nic0 type veth peer name far0; ip link set far0 up; ip link set nic0 up");
        let name = if link == Link::Veth { "br0" } else { "nic0" };
        let parent = u32::try_from(host.link(name)["ifindex"].as_u64().unwrap()).unwrap();
        Self { host, guest, parent, directory: tempfile::tempdir_in("/run").unwrap() }
    }

    /// Runs `work` on a thread in the host's namespace.
    pub fn on_host<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let path = format!("/proc/{}/ns/net", self.host.pid());
        Namespace::open(path.as_ref()).unwrap().inside(|| Ok(work())).unwrap()
    }

    fn request(&self, link: Link) -> AttachRequest {
        let host_if = if link == Link::Veth { "br0" } else { "nic0" }.parse().unwrap();
        AttachRequest::new(host_if, GuestRef::Pid(self.guest.pid()), "10.1.1.2/24@10.1.1.1".parse().unwrap())
    }

    /// Time of one attach of ours, all of it: the guest found, both sides looked at, planned, done, reported.
    pub fn ours(&self, link: Link) -> Duration {
        let options = Options { run_dir: self.directory.path().to_owned(), ..Options::default() };
        let request = self.request(link);
        let start = Instant::now();
        let attached = lifecycle::attach(&request, &options, &mut |_| {});
        let time = start.elapsed();
        drop(attached.unwrap());
        self.clean(link);
        // A record of a link that is gone would be cleared up by the next.
        let run_dir = self.directory.path();
        std::fs::remove_dir_all(run_dir).and_then(|()| std::fs::create_dir(run_dir)).unwrap();
        time
    }

    /// Time of the same by the fewest messages.
    pub fn floor(&self, link: Link) -> Duration {
        let start = Instant::now();
        let socket = open();
        let namespace = std::fs::File::open(format!("/proc/{}/ns/net", self.guest.pid())).unwrap();
        let fd = namespace.as_raw_fd();
        let message = match link {
            Link::Veth => {
                let mut peer = LinkUnspec::new_with_name("eth1").mtu(1500).setns_by_fd(fd).build();
                peer.header.index = INDEX;
                peer.attributes.extend(ONE_QUEUE);
                // The kernel heeds the peer's index only when this one is chosen too.
                let pair = LinkVeth::new("floor0", "eth1").index(INDEX + 1).mtu(1500).controller(self.parent).up();
                let mut pair = pair.set_info_data(InfoData::Veth(InfoVeth::Peer(peer))).build();
                pair.attributes.extend(ONE_QUEUE);
                pair
            }
            Link::Macvlan => LinkMacVlan::new("eth1", self.parent, MacVlanMode::Bridge).index(INDEX).mtu(1500).setns_by_fd(fd).build(),
        };
        send(&socket, &[(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)]);
        let guest = std::thread::scope(|scope| scope.spawn(|| in_guest(&namespace)).join().unwrap());
        send(&guest, &guest_messages(Ipv4Addr::new(10, 1, 1, 2), 24, Ipv4Addr::new(10, 1, 1, 1)));
        // Ours are closed when it returns.
        drop((socket, guest, namespace));
        let time = start.elapsed();
        self.clean(link);
        time
    }

    /// Time of taking the attachment away again: the link's deletion by its step, and by one raw message.
    pub fn detach(&self, link: Link, ours: bool) -> Duration {
        let held = guest::hold(&GuestRef::Pid(self.guest.pid())).unwrap();
        let request = self.request(link);
        let (facts, mut sides) = observe::look(&request, &held.namespace, held.id.clone()).unwrap();
        let plan = pipework::plan::plan(&request, &facts, Birth::Guest).unwrap();
        let mut system = System::new(&mut sides);
        let done = execute(&plan, &mut system, &mut |_| {}).unwrap();
        let born = done.ops().iter().find(|op| op.describe().starts_with("make ")).unwrap().undo().remove(0);
        if ours {
            let start = Instant::now();
            system.apply(&born).unwrap();
            return start.elapsed();
        }
        let (space, name) =
            if link == Link::Veth { (None, format!("veth1pl{}", self.guest.pid())) } else { (Some(&held.namespace), "eth1".to_owned()) };
        let socket = match space {
            Some(namespace) => std::thread::scope(|scope| scope.spawn(|| in_guest(namespace)).join().unwrap()),
            None => open(),
        };
        let message = LinkUnspec::new_with_name(&name).build();
        let start = Instant::now();
        send(&socket, &[(RouteNetlinkMessage::DelLink(message), 0)]);
        start.elapsed()
    }

    fn clean(&self, link: Link) {
        let delete = LinkUnspec::new_with_name("eth1").build();
        let namespace = std::fs::File::open(format!("/proc/{}/ns/net", self.guest.pid())).unwrap();
        let guest = std::thread::scope(|scope| scope.spawn(|| in_guest(&namespace)).join().unwrap());
        send(&guest, &[(RouteNetlinkMessage::DelLink(delete), 0)]);
        let _ = link;
    }
}

/// Address, link up and default route, for a socket in the guest.
pub fn guest_messages(ip: Ipv4Addr, prefix: u8, gateway: Ipv4Addr) -> [(RouteNetlinkMessage, u16); 3] {
    let addr: AddressMessage = AddressMessageBuilder::<Ipv4Addr>::new().index(INDEX).address(ip, prefix).build();
    let up = LinkUnspec::new_with_index(INDEX).up().build();
    let route: RouteMessage =
        RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).output_interface(INDEX).protocol(RouteProtocol::Boot).build();
    let new = NLM_F_CREATE | NLM_F_EXCL;
    [(RouteNetlinkMessage::NewAddress(addr), new), (RouteNetlinkMessage::NewLink(up), 0), (RouteNetlinkMessage::NewRoute(route), new)]
}

/// Runs the benchmark in a mount namespace of its own with /run in memory, where it is on every host that systemd or the like
/// has started, but not in every container: files on disk would be measured instead.
pub fn in_memory_run() {
    private::again_in(&["--mount"], "mount -t tmpfs tmpfs /run");
}

pub fn in_guest(namespace: &(impl AsFd + Sync)) -> Socket {
    #[expect(clippy::disallowed_methods, reason = "the floor does without the product's own")]
    setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
    open()
}

pub fn open() -> Socket {
    let mut socket = Socket::new(NETLINK_ROUTE).unwrap();
    socket.bind_auto().unwrap();
    socket
}

/// All messages in one datagram; every one has to be acknowledged without an error.
pub fn send(socket: &Socket, messages: &[(RouteNetlinkMessage, u16)]) {
    let mut datagram = Vec::new();
    for (message, flags) in messages {
        let mut message = NetlinkMessage::from(message.clone());
        message.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        message.finalize();
        let at = datagram.len();
        datagram.resize(at + message.buffer_len().next_multiple_of(4), 0);
        message.serialize(&mut datagram[at..at + message.buffer_len()]);
    }
    socket.send_to(&datagram, &SocketAddr::new(0, 0), 0).unwrap();
    let mut answers = 0;
    let mut buffer = Vec::with_capacity(4096);
    while answers < messages.len() {
        buffer.clear();
        socket.recv(&mut buffer, 0).unwrap();
        let code = i32::from_ne_bytes(buffer[16..20].try_into().unwrap());
        assert_eq!(code, 0, "the kernel refused a message of the floor");
        answers += 1;
    }
}
