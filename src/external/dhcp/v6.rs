//! The DHCPv6 client (RFC 8415): solicit and request one address. It is not given back: it stays with the
//! link, as nobody stays to do it.

use std::net::Ipv6Addr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::identity::Identity;
use super::message6::{self as option, Kind6, Message6, Said};
use super::patience::random;
use super::{DhcpError, Heard, Patience, Wake};
use crate::kernel::netns::Namespace;
use crate::kernel::port::UdpPort;
use crate::model::lease::Lease;
use crate::model::types::IfName;

/// All_DHCP_Relay_Agents_and_Servers (RFC 8415, section 7.1)
const SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
const CLIENT_PORT: u16 = 546;
const SERVER_PORT: u16 = 547;
/// SOL_TIMEOUT and REQ_TIMEOUT (RFC 8415, section 7.6).
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// REQ_MAX_RT is 30 s; nobody waits that long here.
const LONGEST_PAUSE: Duration = Duration::from_secs(16);
/// So often a chosen server is asked before the choice is made anew.
const REQUESTS: u32 = 4;
const AFTER_REFUSAL: Duration = Duration::from_secs(1);
/// Whoever says so wants to be taken at once (RFC 8415, section 18.2.1).
const PREFERRED: u8 = 255;

/// A client on one interface of a guest, which has a link-local address already.
pub struct Client6 {
    identity: Identity,
    port: UdpPort,
    xid: u32,
    began: Instant,
    heard: Heard,
}

/// A server's advertisement that can be taken.
struct Chosen {
    server_id: Vec<u8>,
    lease: Lease,
    preference: u8,
}

impl Client6 {
    /// A client that has not said anything yet.
    ///
    /// # Errors
    /// When the port is taken, or IPv6 is off.
    pub fn new(identity: Identity, namespace: &Namespace, link: &IfName, index: u32) -> Result<Self, DhcpError> {
        let port = UdpPort::ipv6(namespace, link, index, CLIENT_PORT)?;
        Ok(Self { identity, port, xid: 0, began: Instant::now(), heard: Heard::default() })
    }

    /// Asks until there is a lease, or until `deadline`.
    ///
    /// # Errors
    /// When the time is over, or waiting has become pointless.
    pub fn acquire(&mut self, patience: &mut Patience<'_>, deadline: Instant) -> Result<Lease, DhcpError> {
        self.heard = Heard::default();
        while Instant::now() < deadline {
            let Some(chosen) = self.solicit(patience, deadline)? else { break };
            if let Some(lease) = self.request(&chosen, patience, deadline)? {
                return Ok(lease);
            }
            while patience.wait(&[], Some(after(AFTER_REFUSAL, deadline)))? != Wake::Time {}
        }
        Err(DhcpError::TimeOver { seconds: patience.seconds(), heard: self.heard.clone() })
    }

    /// The best advertisement of the first second, or the first later one; none when the time is over.
    fn solicit(&mut self, patience: &mut Patience<'_>, deadline: Instant) -> Result<Option<Chosen>, DhcpError> {
        self.begin();
        let mut pause = FIRST_PAUSE;
        while Instant::now() < deadline {
            let message = self.message(Kind6::Solicit, vec![(option::IA_NA, option::association(self.identity.iaid, None))]);
            self.send(&message);
            let until = after(pause, deadline);
            let mut best: Option<Chosen> = None;
            while let Some((answer, from)) = self.next(Kind6::Advertise, patience, until)? {
                let Some(chosen) = self.chosen(&answer, from) else { continue };
                let at_once = pause > FIRST_PAUSE || chosen.preference == PREFERRED;
                if best.as_ref().is_none_or(|best| chosen.preference > best.preference) {
                    best = Some(chosen);
                }
                if at_once {
                    break;
                }
            }
            if best.is_some() {
                return Ok(best);
            }
            pause = doubled(pause);
        }
        Ok(None)
    }

    fn chosen(&mut self, answer: &Message6, from: Ipv6Addr) -> Option<Chosen> {
        let server_id = answer.option(option::SERVER_ID)?.to_vec();
        let lease = self.lease(answer, from)?;
        self.heard.offer = Some((from.into(), lease.addr.ip()));
        Some(Chosen { server_id, lease, preference: answer.preference() })
    }

    /// The lease in an answer; what else is said is remembered for the message at the end.
    fn lease(&mut self, answer: &Message6, from: Ipv6Addr) -> Option<Lease> {
        match answer.said(self.identity.iaid, from) {
            Said::Lease(lease) => return Some(*lease),
            Said::Refusal(words) => self.heard.refusal = Some((Some(from.into()), words)),
            Said::Nothing => self.heard.unusable += 1,
        }
        None
    }

    /// Takes an advertisement up; none when the server refuses, or says nothing.
    fn request(&mut self, chosen: &Chosen, patience: &mut Patience<'_>, deadline: Instant) -> Result<Option<Lease>, DhcpError> {
        self.begin();
        let mut pause = FIRST_PAUSE;
        for _ in 0..REQUESTS {
            self.send(&self.about(Kind6::Request, &chosen.lease, &chosen.server_id));
            let until = after(pause, deadline);
            while let Some((answer, from)) = self.next(Kind6::Reply, patience, until)? {
                if answer.option(option::SERVER_ID) == Some(&chosen.server_id) {
                    return Ok(self.lease(&answer, from));
                }
            }
            if Instant::now() >= deadline {
                break;
            }
            pause = doubled(pause);
        }
        Ok(None)
    }

    fn begin(&mut self) {
        self.began = Instant::now();
        self.xid = random() & 0x00ff_ffff;
    }

    /// A message about an address, to a server.
    fn about(&self, kind: Kind6, lease: &Lease, server_id: &[u8]) -> Message6 {
        let ip = match lease.addr.ip() {
            std::net::IpAddr::V6(ip) => Some(ip),
            std::net::IpAddr::V4(_) => None,
        };
        let association = option::association(self.identity.iaid, ip);
        self.message(kind, vec![(option::SERVER_ID, server_id.to_vec()), (option::IA_NA, association)])
    }

    fn message(&self, kind: Kind6, more: Vec<(u16, Vec<u8>)>) -> Message6 {
        // In hundredths of a second (RFC 8415, section 21.9).
        let elapsed = u16::try_from(self.began.elapsed().as_millis() / 10).unwrap_or(u16::MAX);
        let ask = [option::DNS, option::SEARCH].into_iter().flat_map(u16::to_be_bytes).collect();
        let mut options = vec![(option::CLIENT_ID, self.identity.duid.clone())];
        options.extend(more);
        options.extend([(option::ELAPSED, elapsed.to_be_bytes().to_vec()), (option::ASK, ask)]);
        Message6 { kind, xid: self.xid, options }
    }

    /// What cannot be sent now is lost, as it may be on the way.
    fn send(&self, message: &Message6) {
        let _ = self.port.send_ipv6(&message.encode(), SERVERS, SERVER_PORT);
    }

    /// The next answer of a kind to our question; none when the time has come.
    fn next(&self, kind: Kind6, patience: &mut Patience<'_>, until: Instant) -> Result<Option<(Message6, Ipv6Addr)>, DhcpError> {
        loop {
            // One at a time: however much comes, the deadline is looked at.
            if let Some((bytes, from)) = self.port.receive_ipv6()? {
                let duid = Some(self.identity.duid.as_slice());
                let ours = |m: &Message6| m.kind == kind && m.xid == self.xid && m.option(option::CLIENT_ID) == duid;
                if let Some(message) = Message6::decode(&bytes).filter(ours) {
                    return Ok(Some((message, from)));
                }
            }
            if patience.wait(&[self.port.as_fd()], Some(until))? == Wake::Time {
                return Ok(None);
            }
        }
    }
}

fn after(pause: Duration, deadline: Instant) -> Instant {
    (Instant::now() + pause).min(deadline)
}

/// Doubled with a random part of up to a tenth (RFC 8415, section 15).
fn doubled(pause: Duration) -> Duration {
    (pause * 2 + pause * (random() % 100) / 1000).min(LONGEST_PAUSE)
}
