//! The DHCPv4 client (RFC 2131): discover and request, renew and rebind, release.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::frame::{self, CLIENT_PORT, SERVER_PORT};
use super::message::{self as option, Kind, Message};
use super::patience::random;
use super::{DhcpError, Heard, Patience, Wake, names};
use crate::kernel::netns::Namespace;
use crate::kernel::port::{FramePort, UdpPort};
use crate::model::dhcp::ClientWords;
use crate::model::lease::Lease;
use crate::model::types::{IfName, MacAddr};

/// What is asked for without being told: mask, routers, DNS, domain, MTU, broadcast, NTP, lease time, server, T1, T2, search
/// list, classless routes.
const ASKED: [u8; 13] = [
    option::MASK,
    option::ROUTERS,
    option::DNS,
    option::DOMAIN,
    option::MTU,
    option::BROADCAST,
    option::NTP,
    option::LEASE_TIME,
    option::SERVER,
    option::T1,
    option::T2,
    option::SEARCH,
    option::CLASSLESS,
];

/// The first wait for an answer. RFC 2131, section 4.1, has 4 s for 10 Mbit/s; ports of bridges that do not forward yet lose
/// the first message more often than slow networks the answer.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(16);
/// udhcpc's own, when the number of tries is told and the time is not.
const UDHCPC_PAUSE: u32 = 3;
const UDHCPC_AGAIN: u32 = 20;
/// So often a chosen server is asked before the choice is made anew.
const REQUESTS: u32 = 3;
/// Restarting after a DHCPNAK, so that two servers that disagree are not driven round.
const AFTER_NAK: Duration = Duration::from_secs(1);
/// An Ethernet MTU without the headers of IPv4 and UDP.
const LARGEST_MESSAGE: u16 = 1472;

/// What the client says of itself.
#[derive(Clone, Debug)]
pub struct Who {
    /// The interface.
    pub link: IfName,
    /// Its index.
    pub index: u32,
    /// Its Ethernet address.
    pub mac: MacAddr,
    /// The client identifier (option 61).
    pub client_id: Vec<u8>,
    /// The Ethernet address that the server's answers come from, once there were some.
    pub server_mac: Option<[u8; 6]>,
    /// The host name (option 12).
    pub host_name: Option<String>,
    /// What the user told.
    pub words: ClientWords,
}

/// Who is asked for more time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// The lease's own server (RENEWING).
    Server,
    /// Any (REBINDING).
    Anybody,
}

/// How a question for an address, or for more time, ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is ours, for a time.
    Granted(Box<Lease>),
    /// It is not, or not any longer.
    Refused,
    /// Nobody answered.
    Silence,
}

/// A client on one interface of a guest.
pub struct Client<'a> {
    who: Who,
    namespace: &'a Namespace,
    port: FramePort,
    xid: u32,
    began: Instant,
    heard: Heard,
    /// Servers that offered, and then did not stand by it.
    doubtful: BTreeSet<IpAddr>,
}

impl<'a> Client<'a> {
    /// A client that has not said anything yet.
    ///
    /// # Errors
    /// When there can be no packet socket on the link.
    pub fn new(who: Who, namespace: &'a Namespace) -> Result<Self, DhcpError> {
        let port = FramePort::open(namespace, who.index, CLIENT_PORT).map_err(|error| match error.errno() {
            Some(Errno::ENODEV) => DhcpError::LinkGone,
            _ => error.into(),
        })?;
        Ok(Self { who, namespace, port, xid: random(), began: Instant::now(), heard: Heard::default(), doubtful: BTreeSet::new() })
    }

    /// What it says of itself, and knows of the server.
    pub fn who(&self) -> &Who {
        &self.who
    }

    /// Asks until there is a lease, or until `deadline`; for ever when that is none.
    ///
    /// # Errors
    /// When the time is over, or waiting has become pointless.
    pub fn acquire(&mut self, patience: &mut Patience<'_>, deadline: Option<Instant>) -> Result<Lease, DhcpError> {
        self.began = Instant::now();
        self.heard = Heard::default();
        self.doubtful.clear();
        let mut after_nak = AFTER_NAK;
        loop {
            self.xid = random();
            let Some(offer) = self.discover(patience, deadline)? else {
                return Err(DhcpError::TimeOver { seconds: patience.seconds(), heard: self.heard.clone() });
            };
            let answer = self.request(&offer, patience, deadline)?;
            self.doubtful.extend(offer.server().map(IpAddr::V4));
            match answer {
                Answer::Granted(lease) => return Ok(*lease),
                Answer::Silence => {}
                Answer::Refused => {
                    self.sleep(patience, earlier(deadline, after_nak))?;
                    after_nak = (after_nak * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// What a server would lend: it is asked, and not taken at its word.
    ///
    /// # Errors
    /// As [`Self::acquire`].
    pub fn ask(&mut self, patience: &mut Patience<'_>, deadline: Option<Instant>) -> Result<Lease, DhcpError> {
        let offer = self.discover(patience, deadline)?;
        let time_over = || DhcpError::TimeOver { seconds: patience.seconds(), heard: self.heard.clone() };
        offer.and_then(|offer| offer.lease(&[])).ok_or_else(time_over)
    }

    /// The first offer that can be used; none when the time is over.
    fn discover(&mut self, patience: &mut Patience<'_>, deadline: Option<Instant>) -> Result<Option<Message>, DhcpError> {
        let mut tries = 0;
        while !is_over(deadline) {
            let mut message = self.message(Kind::Discover);
            message.options.extend(self.who.words.request.map(|ip| (option::REQUESTED, ip.octets().to_vec())));
            self.send(&message, Ipv4Addr::UNSPECIFIED)?;
            if let Some(offer) = self.best_offer(patience, earlier(deadline, self.pause(tries)))? {
                return Ok(Some(offer));
            }
            tries += 1;
            if self.who.words.tries.is_some_and(|most| tries % most.max(1) == 0) {
                if self.who.words.now {
                    break;
                }
                let again = Duration::from_secs(u64::from(self.who.words.again.unwrap_or(UDHCPC_AGAIN)));
                self.sleep(patience, earlier(deadline, again))?;
            }
        }
        Ok(None)
    }

    /// The first offer until `until`. That of a server which took its word back before counts only when there is no other.
    fn best_offer(&mut self, patience: &mut Patience<'_>, until: Option<Instant>) -> Result<Option<Message>, DhcpError> {
        let mut doubtful = None;
        while let Some(answer) = self.next(patience, until)? {
            match (answer.kind, answer.lease(&[])) {
                (Kind::Offer, Some(lease)) if self.doubtful.contains(&lease.server) => doubtful = doubtful.or(Some(answer)),
                (Kind::Offer, Some(lease)) => {
                    self.heard.offer = Some((lease.server, lease.addr.ip()));
                    return Ok(Some(answer));
                }
                (Kind::Offer, None) => self.heard.unusable += 1,
                _ => {}
            }
        }
        Ok(doubtful)
    }

    /// Takes an offer up. Another server's refusal does not count: it was not asked.
    fn request(&mut self, offer: &Message, patience: &mut Patience<'_>, deadline: Option<Instant>) -> Result<Answer, DhcpError> {
        let Some(server) = offer.server() else { return Ok(Answer::Silence) };
        let mut tries = 0;
        while tries < REQUESTS && !is_over(deadline) {
            let mut message = self.message(Kind::Request);
            message.options.insert(option::REQUESTED, offer.yiaddr.octets().to_vec());
            message.options.insert(option::SERVER, server.octets().to_vec());
            self.send(&message, Ipv4Addr::UNSPECIFIED)?;
            let until = earlier(deadline, self.pause(tries));
            while let Some(answer) = self.next(patience, until)? {
                if answer.server().is_some_and(|other| other != server) {
                    continue;
                }
                match self.granted(&answer) {
                    Answer::Silence => {}
                    granted_or_refused => return Ok(granted_or_refused),
                }
            }
            tries += 1;
        }
        Ok(Answer::Silence)
    }

    /// What a server's answer to a request says.
    fn granted(&mut self, answer: &Message) -> Answer {
        match (answer.kind, answer.lease(&self.who.words.ask)) {
            (Kind::Ack, Some(lease)) => Answer::Granted(Box::new(lease)),
            (Kind::Ack, None) => {
                self.heard.unusable += 1;
                Answer::Silence
            }
            (Kind::Nak, _) => {
                self.heard.refusal = Some((answer.server().map(Into::into), answer.words()));
                Answer::Refused
            }
            _ => Answer::Silence,
        }
    }

    /// Asks for more time, until `until` (RFC 2131, section 4.3.2, RENEWING and REBINDING).
    ///
    /// # Errors
    /// When waiting has become pointless. That it could not be sent is silence.
    pub fn extend(&mut self, lease: &Lease, whom: Whom, patience: &mut Patience<'_>, until: Instant) -> Result<Answer, DhcpError> {
        let (IpAddr::V4(addr), IpAddr::V4(server)) = (lease.addr.ip(), lease.server) else { return Ok(Answer::Silence) };
        self.began = Instant::now();
        self.xid = random();
        let mut message = self.message(Kind::Request);
        message.ciaddr = addr;
        // Until there is an answer: the kernel says "port unreachable" unless somebody is there. It is read off the frames.
        let udp = UdpPort::ipv4(self.namespace, &self.who.link, self.who.index, CLIENT_PORT);
        let to_server = |udp: &UdpPort| udp.send_ipv4(&message.encode(), server, SERVER_PORT).is_ok();
        let sent = whom == Whom::Server && udp.as_ref().is_ok_and(to_server);
        if !sent {
            let _ = self.send(&message, addr);
        }
        while let Some(answer) = self.next(patience, Some(until))? {
            match self.granted(&answer) {
                Answer::Granted(new) if new.addr.ip() == lease.addr.ip() => return Ok(Answer::Granted(new)),
                Answer::Refused => return Ok(Answer::Refused),
                _ => {}
            }
        }
        Ok(Answer::Silence)
    }

    /// Asks whether an address that was lent before still is (RFC 2131, section 4.4.2, INIT-REBOOT), until `until`.
    ///
    /// # Errors
    /// When waiting has become pointless. That it could not be sent is silence.
    pub fn confirm(&mut self, lease: &Lease, patience: &mut Patience<'_>, until: Instant) -> Result<Answer, DhcpError> {
        let IpAddr::V4(addr) = lease.addr.ip() else { return Ok(Answer::Silence) };
        self.began = Instant::now();
        self.xid = random();
        // An answer to the address itself is to find somebody there, as in `extend`.
        let _udp = UdpPort::ipv4(self.namespace, &self.who.link, self.who.index, CLIENT_PORT);
        let mut tries = 0;
        while !is_over(Some(until)) {
            let mut message = self.message(Kind::Request);
            // No server is named: each that knows the network may answer.
            message.options.insert(option::REQUESTED, addr.octets().to_vec());
            let _ = self.send(&message, Ipv4Addr::UNSPECIFIED);
            let pause = earlier(Some(until), self.pause(tries));
            while let Some(answer) = self.next(patience, pause)? {
                match self.granted(&answer) {
                    Answer::Granted(new) if new.addr.ip() == lease.addr.ip() => return Ok(Answer::Granted(new)),
                    Answer::Refused => return Ok(Answer::Refused),
                    _ => {}
                }
            }
            tries += 1;
        }
        Ok(Answer::Silence)
    }

    /// Gives the address back. Nobody answers (RFC 2131, section 4.4.6).
    ///
    /// # Errors
    /// When it could not be sent.
    pub fn release(&mut self, lease: &Lease) -> Result<(), DhcpError> {
        let (IpAddr::V4(addr), IpAddr::V4(server)) = (lease.addr.ip(), lease.server) else { return Ok(()) };
        self.xid = random();
        let mut message = Message::new(Kind::Release, self.xid, self.who.mac);
        message.ciaddr = addr;
        message.options.insert(option::SERVER, server.octets().to_vec());
        message.options.extend(self.client_id());
        // As a frame: the kernel would first ask for the server's address, and the answer would find ours gone.
        let to = self.who.server_mac.unwrap_or([0xff; 6]);
        Ok(self.port.send(&frame::unicast(self.who.mac, to, addr, server, &message.encode()))?)
    }

    fn client_id(&self) -> Option<(u8, Vec<u8>)> {
        let words = &self.who.words;
        let told = words.send.iter().rev().find(|(code, _)| *code == option::CLIENT_ID).cloned();
        told.or_else(|| (!words.no_client_id).then(|| (option::CLIENT_ID, self.who.client_id.clone())))
    }

    /// A message with all that the client says of itself.
    fn message(&self, kind: Kind) -> Message {
        let words = &self.who.words;
        let mut message = Message::new(kind, self.xid, self.who.mac);
        message.secs = u16::try_from(self.began.elapsed().as_secs()).unwrap_or(u16::MAX);
        message.broadcast = words.broadcast;
        let mut ask: Vec<u8> = if words.only_asked { Vec::new() } else { ASKED.to_vec() };
        ask.extend(words.ask.iter().copied().filter(|code| words.only_asked || !ASKED.contains(code)));
        ask.dedup();
        if !ask.is_empty() {
            message.options.insert(option::ASK, ask);
        }
        message.options.insert(option::LARGEST, LARGEST_MESSAGE.to_be_bytes().to_vec());
        message.options.extend(self.client_id());
        // With option 81 a host name is not sent (RFC 4702, section 3.1).
        let host_name = words.host_name.as_ref().or(self.who.host_name.as_ref()).filter(|_| words.fqdn.is_none());
        message.options.extend(host_name.map(|name| (option::HOST_NAME, name.clone().into_bytes())));
        message.options.extend(words.fqdn.as_ref().map(|name| (option::FQDN, fqdn(name))));
        message.options.extend(words.vendor_class.as_ref().map(|class| (option::VENDOR_CLASS, class.clone().into_bytes())));
        message.options.extend(words.send.iter().cloned());
        message
    }

    fn send(&self, message: &Message, source: Ipv4Addr) -> Result<(), DhcpError> {
        match self.port.send(&frame::broadcast(self.who.mac, source, &message.encode())) {
            // A link that is down may come up: as good as lost on the way.
            Err(error) if error.errno() == Some(Errno::ENETDOWN) => Ok(()),
            sent => Ok(sent?),
        }
    }

    /// The next answer to our question; none when the time has come.
    fn next(&mut self, patience: &mut Patience<'_>, until: Option<Instant>) -> Result<Option<Message>, DhcpError> {
        loop {
            // One at a time: however much comes, the deadline is looked at.
            let bytes = self.port.receive()?.unwrap_or_default();
            let ours = |m: &Message| m.xid == self.xid && m.mac == self.who.mac;
            if let Some(message) = frame::payload(&bytes).and_then(Message::decode).filter(ours) {
                self.who.server_mac = frame::sender(&bytes);
                return Ok(Some(message));
            }
            if patience.wait(&[self.port.as_fd()], until)? == Wake::Time {
                return Ok(None);
            }
        }
    }

    /// How long the n-th question may go unanswered (RFC 2131, section 4.1: doubled, with a random part).
    fn pause(&self, tries: u32) -> Duration {
        match (self.who.words.pause, self.who.words.tries) {
            (Some(seconds), _) => Duration::from_secs(u64::from(seconds)),
            (None, Some(_)) => Duration::from_secs(u64::from(UDHCPC_PAUSE)),
            (None, None) => {
                let pause = (FIRST_PAUSE * 2u32.pow(tries.min(3))).min(LONGEST_PAUSE);
                pause - Duration::from_millis(u64::from(random() % 500))
            }
        }
    }

    fn sleep(&self, patience: &mut Patience<'_>, until: Option<Instant>) -> Result<(), DhcpError> {
        while patience.wait(&[], until)? != Wake::Time {}
        Ok(())
    }
}

/// Option 81: the server is to do both directions (S), the name is in DNS's own form (E) (RFC 4702, section 2.1).
fn fqdn(name: &str) -> Vec<u8> {
    [0x05, 0, 0].into_iter().chain(names::encode(name)).collect()
}

fn is_over(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| Instant::now() >= deadline)
}

/// So long from now, but no longer than until the deadline.
fn earlier(deadline: Option<Instant>, pause: Duration) -> Option<Instant> {
    let then = Instant::now().checked_add(pause);
    match (deadline, then) {
        (Some(deadline), Some(then)) => Some(deadline.min(then)),
        (deadline, then) => deadline.or(then),
    }
}
