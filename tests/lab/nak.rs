//! A DHCP server that offers and then refuses (RFC 2131, section 3.1, DHCPNAK): no server does so twice on purpose.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::UdpSocket;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use pipework::kernel::netns::Namespace;

use super::Space;

const OFFERED: [u8; 4] = [10, 88, 0, 77];
const SERVER: [u8; 4] = [10, 88, 0, 1];
const COOKIE: [u8; 4] = [99, 130, 83, 99];

/// It runs until it is dropped, on `srv0` of a namespace with the address 10.88.0.1.
pub struct Naker {
    /// How often it has refused.
    pub refused: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Naker {
    /// Refuses the first requests, so many of them.
    pub fn start(space: &Space, refusals: usize) -> Self {
        space.sh("ip route add 255.255.255.255 dev srv0");
        let namespace = Namespace::open(&PathBuf::from(format!("/proc/{}/ns/net", space.pid()))).unwrap();
        let socket = namespace.inside(|| Ok(UdpSocket::bind("0.0.0.0:67").unwrap())).unwrap();
        socket.set_broadcast(true).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let (refused, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (counter, end) = (refused.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let mut packet = [0; 1500];
            while !end.load(Ordering::SeqCst) {
                let Ok((length, _)) = socket.recv_from(&mut packet) else { continue };
                if let Some(reply) = answer(&packet[..length], &counter, refusals) {
                    let _ = socket.send_to(&reply, "255.255.255.255:68");
                }
            }
        });
        Self { refused, stop, thread: Some(thread) }
    }
}

impl Drop for Naker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// DHCPDISCOVER: an offer. DHCPREQUEST: a refusal, or the lease.
fn answer(packet: &[u8], refused: &AtomicUsize, refusals: usize) -> Option<Vec<u8>> {
    if packet.len() < 240 || packet[236..240] != COOKIE {
        return None;
    }
    let kind = match kind(&packet[240..])? {
        1 => 2,
        3 if refused.load(Ordering::SeqCst) < refusals => {
            refused.fetch_add(1, Ordering::SeqCst);
            6
        }
        3 => 5,
        _ => return None,
    };
    let mut reply = packet[..240].to_vec();
    reply[0] = 2;
    reply[12..28].fill(0);
    if kind != 6 {
        reply[16..20].copy_from_slice(&OFFERED);
    }
    reply.extend([53, 1, kind, 54, 4]);
    reply.extend(SERVER);
    if kind != 6 {
        reply.extend([51, 4, 0, 0, 14, 16, 1, 4, 255, 255, 255, 0]);
    }
    reply.push(255);
    reply.resize(300, 0);
    Some(reply)
}

/// Option 53.
fn kind(mut options: &[u8]) -> Option<u8> {
    loop {
        match options {
            [53, 1, kind, ..] => return Some(*kind),
            [0, rest @ ..] => options = rest,
            [_, length, rest @ ..] => options = rest.get(usize::from(*length)..)?,
            _ => return None,
        }
    }
}
