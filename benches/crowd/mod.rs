//! Many guests on bridges, by the floor: for each the fewest messages that make the same end state, one guest after another on
//! sockets that are used again. With flooding as it comes, and with the ports that the run makes kept out of the flood.
#![allow(dead_code, clippy::unwrap_used)]

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{InfoBridgePort, InfoData, InfoPortData, InfoPortKind, InfoVeth, LinkAttribute, LinkInfo};
use rtnetlink::sys::Socket;
use rtnetlink::{LinkUnspec, LinkVeth};

use pipework::model::mark::GROUP;

use super::floor::{self, lab::Space};

/// A host with bridges, and guests that are nothing but network namespaces.
pub struct Crowd {
    pub host: Space,
    pub guests: Vec<PathBuf>,
    pub bridges: usize,
    directory: tempfile::TempDir,
}

/// What the floor does about flooding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flood {
    /// With as many queues as the kernel makes by itself.
    Naive,
    /// With one queue, as ours have.
    AsItComes,
    KeptOut,
}

impl Crowd {
    pub fn new(guests: usize, bridges: usize) -> Self {
        let host = Space::new();
        for bridge in 0..bridges {
            let (high, low) = (bridge / 256, bridge % 256);
            host.sh(&format!("ip link add br{bridge} up type bridge; ip addr add 10.{}.{low}.1/16 dev br{bridge}", 100 + bridge + high));
        }
        let directory = tempfile::tempdir_in("/run").unwrap();
        let guests = (0..guests).map(|n| namespace(directory.path().join(format!("g{n}")))).collect();
        Self { host, guests, bridges, directory }
    }

    pub fn run_dir(&self) -> PathBuf {
        self.directory.path().join("pipework")
    }

    /// Bridge, address and gateway of a guest.
    pub fn place(&self, n: usize) -> (String, Ipv4Addr, Ipv4Addr) {
        let bridge = n % self.bridges;
        let net = u8::try_from(100 + bridge).unwrap();
        let at = u16::try_from(n / self.bridges + 2).unwrap().to_be_bytes();
        (format!("br{bridge}"), Ipv4Addr::new(10, net, at[0], at[1]), Ipv4Addr::new(10, net, 0, 1))
    }

    pub fn on_host<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let path = format!("/proc/{}/ns/net", self.host.pid());
        pipework::kernel::netns::Namespace::open(path.as_ref()).unwrap().inside(|| Ok(work())).unwrap()
    }

    /// Time of each attach, by the fewest messages.
    pub fn floor(&self, flood: Flood) -> Vec<Duration> {
        let parents: Vec<u32> =
            (0..self.bridges).map(|n| u32::try_from(self.host.link(&format!("br{n}"))["ifindex"].as_u64().unwrap()).unwrap()).collect();
        self.on_host(|| {
            let socket = floor::open();
            let all = self.guests.iter().enumerate();
            let times = all.map(|(n, path)| self.floor_one(&socket, n, path, &parents, flood)).collect();
            if flood == Flood::KeptOut {
                let index = |n: usize| FIRST + u32::try_from(n).unwrap();
                let on: Vec<_> = (0..self.guests.len()).map(|n| (port(index(n), true), 0)).collect();
                for some in on.chunks(100) {
                    floor::send(&socket, some);
                }
            }
            times
        })
    }

    fn floor_one(&self, socket: &Socket, n: usize, path: &PathBuf, parents: &[u32], flood: Flood) -> Duration {
        let start = Instant::now();
        let namespace = File::open(path).unwrap();
        let (_, ip, gateway) = self.place(n);
        let mut peer = LinkUnspec::new_with_name("eth1").mtu(1500).setns_by_fd(namespace.as_raw_fd()).build();
        let queues = floor::ONE_QUEUE.into_iter().filter(|_| flood != Flood::Naive);
        peer.attributes.extend(queues.clone());
        peer.header.index = floor::INDEX;
        let index = FIRST + u32::try_from(n).unwrap();
        let name = format!("fl{n}");
        let pair = LinkVeth::new(&name, "eth1").index(index).mtu(1500).controller(parents[n % self.bridges]);
        let pair = pair.append_extra_attribute(LinkAttribute::Group(GROUP));
        let pair = if flood == Flood::KeptOut { pair } else { pair.up() };
        let mut make = pair.set_info_data(InfoData::Veth(InfoVeth::Peer(peer))).build();
        make.attributes.extend(queues);
        let mut messages = vec![(RouteNetlinkMessage::NewLink(make), NLM_F_CREATE | NLM_F_EXCL)];
        if flood == Flood::KeptOut {
            messages.push((port(index, false), 0));
        }
        floor::send(socket, &messages);
        let guest = std::thread::scope(|scope| scope.spawn(|| floor::in_guest(&namespace)).join().unwrap());
        floor::send(&guest, &floor::guest_messages(ip, 16, gateway));
        drop((guest, namespace));
        start.elapsed()
    }

    /// Takes all links away again, in one go: ours and the floor's bear the same group.
    pub fn clear(&self) {
        self.host.sh(&format!("ip link del group {GROUP} 2>/dev/null || true"));
    }
}

/// The index of the first guest's link.
const FIRST: u32 = 100_000;

/// A port up, and in the flood or out of it.
fn port(index: u32, flood: bool) -> RouteNetlinkMessage {
    let data = LinkInfo::PortData(InfoPortData::BridgePort(vec![InfoBridgePort::MulticastFlood(flood)]));
    let info = LinkAttribute::LinkInfo(vec![LinkInfo::PortKind(InfoPortKind::Bridge), data]);
    RouteNetlinkMessage::NewLink(LinkUnspec::new_with_index(index).up().append_extra_attribute(info).build())
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for guest in &self.guests {
            let _ = umount2(guest, MntFlags::MNT_DETACH);
        }
    }
}

/// A new network namespace, held by a file.
fn namespace(path: PathBuf) -> PathBuf {
    File::create(&path).unwrap();
    #[expect(clippy::disallowed_methods, reason = "a thread that ends")]
    let make = || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        mount(Some("/proc/thread-self/ns/net"), &path, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
    };
    std::thread::scope(|scope| scope.spawn(make).join().unwrap());
    path
}
