//! A DHCP server that misbehaves as a test wants it to: real ones do so only when nobody looks.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use pipework::kernel::netns::Namespace;
use socket2::{Domain, Socket, Type};

use super::dhcp::Server;

/// Message types (RFC 2132, section 9.6).
pub const OFFER: u8 = 2;
pub const ACK: u8 = 5;
pub const NAK: u8 = 6;

/// A server in a thread. It ends with this.
pub struct Contrary {
    stop: Arc<AtomicBool>,
    heard: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Contrary {
    /// Answers every question with what `answers` makes of its type (1 discover, 3 request): payloads of UDP, by broadcast.
    pub fn start(at: &Server, answers: impl Fn(&[u8], u8) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Self {
        let namespace = Namespace::open(Path::new(&format!("/proc/{}/ns/net", at.space.pid()))).unwrap();
        let (stop, heard) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (ended, count) = (Arc::clone(&stop), Arc::clone(&heard));
        let socket = namespace
            .inside(|| {
                let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
                socket.set_broadcast(true).unwrap();
                socket.bind_device(Some(b"srv0")).unwrap();
                socket.bind(&"0.0.0.0:67".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
                Ok(UdpSocket::from(socket))
            })
            .unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let thread = std::thread::spawn(move || {
            let mut bytes = [0; 2000];
            while !ended.load(Ordering::Relaxed) {
                let Ok(length) = socket.recv(&mut bytes) else { continue };
                count.fetch_add(1, Ordering::Relaxed);
                let question = &bytes[..length];
                for answer in answers(question, kind(question)) {
                    let _ = socket.send_to(&answer, (Ipv4Addr::BROADCAST, 68));
                }
            }
        });
        Self { stop, heard, thread: Some(thread) }
    }

    /// How many questions came.
    pub fn heard(&self) -> usize {
        self.heard.load(Ordering::Relaxed)
    }
}

impl Drop for Contrary {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn kind(question: &[u8]) -> u8 {
    let mut options = question.get(240..).unwrap_or_default();
    while let [code, length, rest @ ..] = options {
        if *code == 53 {
            return rest[0];
        }
        options = &rest[usize::from(*length)..];
    }
    0
}

/// An answer to a question: its header with the address lent, and these options behind the type and the server.
pub fn answer(question: &[u8], kind: u8, yiaddr: [u8; 4], server: [u8; 4], options: &[u8]) -> Vec<u8> {
    let mut bytes = question[..240].to_vec();
    bytes[0] = 2;
    bytes[16..20].copy_from_slice(&yiaddr);
    bytes.extend([53, 1, kind, 54, 4]);
    bytes.extend(server);
    bytes.extend(options);
    bytes.push(255);
    bytes
}

/// An hour on a /24.
pub const USUAL: [u8; 12] = [51, 4, 0, 0, 14, 16, 1, 4, 255, 255, 255, 0];
