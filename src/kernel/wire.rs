//! One transport: a netlink socket that asks one thing at a time and always waits for the kernel's answer.
//!
//! It is synchronous on purpose. The kernel carries a request out inside the send, so its answer lies there when the
//! receive begins: an event loop would only add to the time of an attach. Messages are rtnetlink's, and generic netlink's as bytes.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use netlink_packet_route::RouteNetlinkMessage;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, NetlinkAddr, SockaddrStorage, recvfrom, sendto, setsockopt, sockopt};
use nix::sys::time::TimeVal;
use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkSerializable};
use rtnetlink::sys::Socket;
use rtnetlink::sys::protocols::{NETLINK_GENERIC, NETLINK_ROUTE};

use crate::model::error::KernelError;

/// How long an answer may take, in milliseconds. The kernel may have to load a module first.
const TIMEOUT_MS: u64 = 10_000;
/// How often an interrupted dump is begun again.
const DUMP_TRIES: usize = 20;
/// Larger than any answer: a dump comes in parts of at most 32 KiB (net/netlink/af_netlink.c, netlink_dump).
const BUFFER: usize = 64 * 1024;

// linux/netlink.h
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_NOOP: u16 = 1;
const NLM_F_MULTI: u16 = 0x02;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;
/// NLA_F_NESTED and NLA_F_NET_BYTEORDER are no part of the kind.
const NLA_TYPE_MASK: u16 = 0x3fff;
// linux/rtnetlink.h
pub(super) const RTM_NEWLINK: u16 = 16;
pub(super) const RTM_NEWADDR: u16 = 20;
pub(super) const RTM_DELADDR: u16 = 21;
pub(super) const RTM_NEWROUTE: u16 = 24;
pub(super) const RTM_NEWNEIGH: u16 = 28;
pub(super) const RTM_DELNEIGH: u16 = 29;
pub(super) const RTM_GETNEIGH: u16 = 30;
pub(super) const RTM_DELROUTE: u16 = 25;
pub(super) const RTM_GETLINK: u16 = 18;
pub(super) const RTM_GETROUTE: u16 = 26;
pub(super) const RTM_NEWRULE: u16 = 32;
pub(super) const RTM_DELRULE: u16 = 33;
pub(super) const RTM_GETRULE: u16 = 34;
pub(super) const RTM_NEWNSID: u16 = 88;
/// `struct nlmsghdr`
const HEADER: usize = 16;

/// A netlink socket of one network namespace: the one that its thread was in when it was opened.
pub struct Netlink {
    socket: Socket,
    sequence: u32,
    /// Empty until there is an answer to read.
    buffer: Vec<u8>,
}

/// One message of the kernel's.
pub struct Answer {
    /// RTM_*, linux/rtnetlink.h.
    pub kind: u16,
    /// The bytes behind the netlink header.
    pub raw: Vec<u8>,
}

/// A request in bytes.
pub(super) struct Raw {
    /// RTM_*, linux/rtnetlink.h.
    pub(super) kind: u16,
    /// NLM_F_*, linux/netlink.h.
    pub(super) flags: u16,
    /// The bytes behind the netlink header.
    pub(super) payload: Vec<u8>,
}

/// What one received message is.
enum Received {
    Answer(Answer),
    /// The request is done.
    End,
    /// The dump is done, but links or addresses changed while it ran.
    Interrupted,
    /// Not for this request.
    Other,
}

impl Netlink {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// When the kernel refuses the socket.
    pub fn open() -> Result<Self, KernelError> {
        Self::open_protocol(NETLINK_ROUTE)
    }

    /// Opens a socket for generic netlink (linux/genetlink.h) in the calling thread's network namespace.
    ///
    /// # Errors
    /// When the kernel refuses the socket.
    pub(super) fn open_generic() -> Result<Self, KernelError> {
        Self::open_protocol(NETLINK_GENERIC)
    }

    fn open_protocol(protocol: isize) -> Result<Self, KernelError> {
        Self::open_socket(protocol).map_err(|error| KernelError::Refused {
            errno: Errno::from_raw(error.raw_os_error().unwrap_or_default()),
            text: Some("netlink socket".into()),
        })
    }

    fn open_socket(protocol: isize) -> std::io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        // Explanations of errors, without the request in them; filters of dumps heeded. Kernels before 4.12 and
        // 4.20 know none of this, and do without.
        let _ = socket.set_ext_ack(true);
        let _ = socket.set_cap_ack(true);
        let _ = socket.set_netlink_get_strict_chk(true);
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new((TIMEOUT_MS / 1000).cast_signed(), 0))?;
        Ok(Self { socket, sequence: 0, buffer: Vec::new() })
    }

    /// Asks for a change, or for one object, and waits until the kernel has acknowledged it. Returns what came before
    /// the acknowledgement.
    ///
    /// # Errors
    /// The kernel's refusal with its explanation, or that no answer came.
    pub fn request(&mut self, message: &RouteNetlinkMessage, flags: u16) -> Result<Vec<Answer>, KernelError> {
        let mut payload = vec![0; message.buffer_len()];
        message.serialize(&mut payload);
        self.request_raw(message.message_type(), flags, &payload)
    }

    /// As [`Self::request`], with the message's bytes.
    ///
    /// # Errors
    /// As there.
    pub fn request_raw(&mut self, kind: u16, flags: u16, payload: &[u8]) -> Result<Vec<Answer>, KernelError> {
        self.send(kind, flags | NLM_F_REQUEST | NLM_F_ACK, payload)?;
        self.collect().map(|(answers, _)| answers)
    }

    /// Asks for all objects of a kind.
    ///
    /// # Errors
    /// The kernel's refusal, that no answer came, or that the answer kept being interrupted by changes.
    pub fn dump(&mut self, message: &RouteNetlinkMessage) -> Result<Vec<Answer>, KernelError> {
        let mut payload = vec![0; message.buffer_len()];
        message.serialize(&mut payload);
        self.dump_raw(message.message_type(), &payload)
    }

    /// As [`Self::dump`], with the message's bytes.
    ///
    /// # Errors
    /// As there.
    pub(super) fn dump_raw(&mut self, kind: u16, payload: &[u8]) -> Result<Vec<Answer>, KernelError> {
        for _ in 0..DUMP_TRIES {
            self.send(kind, NLM_F_REQUEST | NLM_F_DUMP, payload)?;
            let (answers, whole) = self.collect()?;
            if whole {
                return Ok(answers);
            }
        }
        Err(KernelError::Garbled("interfaces kept changing while they were listed".into()))
    }

    /// As several of [`Self::request`], in one datagram: the kernel carries them out one after another, also after one that it
    /// refuses (netlink_rcv_skb, net/netlink/af_netlink.c). What came of each, in their order.
    pub fn request_all(&mut self, messages: &[(RouteNetlinkMessage, u16)]) -> Vec<Result<(), KernelError>> {
        let serialized = |(message, flags): &(RouteNetlinkMessage, u16)| {
            let mut payload = vec![0; message.buffer_len()];
            message.serialize(&mut payload);
            Raw { kind: message.message_type(), flags: *flags, payload }
        };
        self.request_all_raw(&messages.iter().map(serialized).collect::<Vec<_>>())
    }

    /// As [`Self::request_all`], with the messages' bytes.
    pub(super) fn request_all_raw(&mut self, messages: &[Raw]) -> Vec<Result<(), KernelError>> {
        let mut datagram = Vec::new();
        let first = self.sequence.wrapping_add(1);
        for Raw { kind, flags, payload } in messages {
            self.sequence = self.sequence.wrapping_add(1);
            self.put(&mut datagram, *kind, flags | NLM_F_REQUEST | NLM_F_ACK, payload);
        }
        let mut ended: Vec<Option<Result<(), KernelError>>> = vec![None; messages.len()];
        let came = self.send_datagram(&datagram).and_then(|()| self.collect_all(first, &mut ended));
        // Without an answer it is not known whether it was done.
        let lost = came.err().unwrap_or(KernelError::Unanswered(TIMEOUT_MS));
        ended.into_iter().map(|one| one.unwrap_or_else(|| Err(lost.clone()))).collect()
    }

    /// The acknowledgements of several requests, the first of which has that number.
    fn collect_all(&mut self, first: u32, ended: &mut [Option<Result<(), KernelError>>]) -> Result<(), KernelError> {
        while ended.iter().any(Option::is_none) {
            let length = self.receive()?;
            let mut rest = self.buffer.get(..length).unwrap_or_default();
            while let Some((header, payload, after)) = split(rest) {
                rest = after;
                let number = usize::try_from(header.sequence_number.wrapping_sub(first)).unwrap_or(usize::MAX);
                let Some(one) = ended.get_mut(number) else { continue };
                match understand(&header, payload, header.sequence_number) {
                    Ok(Received::End) => *one = Some(Ok(())),
                    Ok(_) => {}
                    Err(refused) => *one = Some(Err(refused)),
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, kind: u16, flags: u16, payload: &[u8]) -> Result<(), KernelError> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut datagram = Vec::with_capacity(HEADER + payload.len());
        self.put(&mut datagram, kind, flags, payload);
        self.send_datagram(&datagram)
    }

    /// Writes a message with the present number behind what is there (struct nlmsghdr, linux/netlink.h).
    fn put(&self, datagram: &mut Vec<u8>, kind: u16, flags: u16, payload: &[u8]) {
        let length = HEADER + payload.len();
        datagram.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
        datagram.extend_from_slice(&kind.to_ne_bytes());
        datagram.extend_from_slice(&flags.to_ne_bytes());
        datagram.extend_from_slice(&self.sequence.to_ne_bytes());
        datagram.extend_from_slice(&0u32.to_ne_bytes());
        datagram.extend_from_slice(payload);
        datagram.resize(datagram.len().next_multiple_of(4), 0);
    }

    fn send_datagram(&self, datagram: &[u8]) -> Result<(), KernelError> {
        let kernel = NetlinkAddr::new(0, 0);
        loop {
            match sendto(self.socket.as_raw_fd(), datagram, &kernel, MsgFlags::empty()) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(KernelError::Refused { errno, text: Some("sending to the kernel".into()) }),
            }
        }
    }

    /// Everything up to the end of the answer, and whether it is whole.
    fn collect(&mut self) -> Result<(Vec<Answer>, bool), KernelError> {
        let mut answers = Vec::new();
        let mut whole = true;
        loop {
            let length = self.receive()?;
            let mut rest = self.buffer.get(..length).unwrap_or_default();
            while let Some((header, payload, after)) = split(rest) {
                rest = after;
                whole &= header.flags & NLM_F_DUMP_INTR == 0;
                match understand(&header, payload, self.sequence)? {
                    Received::Answer(answer) => answers.push(answer),
                    Received::End => return Ok((answers, whole)),
                    Received::Interrupted => whole = false,
                    Received::Other => {}
                }
            }
        }
    }

    /// Needs no memory until the next question: for sockets that wait for hours.
    pub fn rest(&mut self) {
        self.buffer = Vec::new();
    }

    fn receive(&mut self) -> Result<usize, KernelError> {
        if self.buffer.is_empty() {
            self.buffer = vec![0; BUFFER];
        }
        loop {
            match recvfrom::<SockaddrStorage>(self.socket.as_raw_fd(), &mut self.buffer) {
                // Only the kernel is listened to (netlink(7): a message from port 0).
                Ok((length, from)) => match from.as_ref().and_then(|a| a.as_netlink_addr()) {
                    Some(addr) if addr.pid() != 0 => {}
                    _ => return Ok(length),
                },
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Err(KernelError::Unanswered(TIMEOUT_MS)),
                Err(errno) => return Err(KernelError::Refused { errno, text: Some("receiving from the kernel".into()) }),
            }
        }
    }

    /// Joins a multicast group (RTNLGRP_*, linux/rtnetlink.h). Such a socket is for [`Self::drain`] only.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn subscribe(&mut self, group: u32) -> Result<(), KernelError> {
        self.socket.add_membership(group).map_err(|error| KernelError::Refused {
            errno: Errno::from_raw(error.raw_os_error().unwrap_or_default()),
            text: Some("subscribing to changes".into()),
        })
    }

    /// Throws away what has been received: something changed, whatever it was. An overrun (ENOBUFS) says as much.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn drain(&mut self) -> Result<(), KernelError> {
        // What does not fit into it is thrown away, too.
        let mut beginning = [0; 64];
        loop {
            match nix::sys::socket::recv(self.socket.as_raw_fd(), &mut beginning, MsgFlags::MSG_DONTWAIT) {
                Ok(_) | Err(Errno::EINTR | Errno::ENOBUFS) => {}
                Err(Errno::EAGAIN) => return Ok(()),
                Err(errno) => return Err(KernelError::Refused { errno, text: None }),
            }
        }
    }
}

/// A socket that only listens to changes. It has no buffer of its own: there may be thousands.
pub(super) struct Listener {
    socket: Socket,
}

impl Listener {
    /// Opens one in the calling thread's network namespace, for these multicast groups (RTNLGRP_*, linux/rtnetlink.h).
    pub(super) fn open(groups: &[u32]) -> Result<Self, KernelError> {
        let open = || -> std::io::Result<Self> {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            groups.iter().try_for_each(|group| socket.add_membership(*group))?;
            Ok(Self { socket })
        };
        open().map_err(|error| KernelError::Refused {
            errno: Errno::from_raw(error.raw_os_error().unwrap_or_default()),
            text: Some("listening to changes".into()),
        })
    }

    /// Reads all that came: kinds (RTM_*) and payloads. `false`: more came than the kernel could keep (ENOBUFS).
    pub(super) fn read(&self, buffer: &mut [u8], tell: &mut dyn FnMut(u16, &[u8])) -> Result<bool, KernelError> {
        let mut whole = true;
        loop {
            match nix::sys::socket::recv(self.socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => {
                    let mut rest = buffer.get(..length).unwrap_or_default();
                    while let Some((header, payload, after)) = split(rest) {
                        rest = after;
                        tell(header.message_type, payload);
                    }
                }
                Err(Errno::EINTR) => {}
                Err(Errno::ENOBUFS) => whole = false,
                Err(Errno::EAGAIN) => return Ok(whole),
                Err(errno) => return Err(KernelError::Refused { errno, text: Some("listening to changes".into()) }),
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The first message of a datagram, and the rest.
fn split(datagram: &[u8]) -> Option<(NetlinkHeader, &[u8], &[u8])> {
    let word = |at: usize| datagram.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_ne_bytes);
    let half = |at: usize| datagram.get(at..at + 2).and_then(|b| b.try_into().ok()).map(u16::from_ne_bytes);
    let length = word(0)?;
    let mut header = NetlinkHeader::default();
    header.length = length;
    header.message_type = half(4)?;
    header.flags = half(6)?;
    header.sequence_number = word(8)?;
    header.port_number = word(12)?;
    let end = usize::try_from(length).ok()?;
    let payload = datagram.get(HEADER..end)?;
    let after = datagram.get(end.next_multiple_of(4)..).unwrap_or_default();
    Some((header, payload, after))
}

fn understand(header: &NetlinkHeader, payload: &[u8], sequence: u32) -> Result<Received, KernelError> {
    if header.sequence_number != sequence {
        return Ok(Received::Other);
    }
    match header.message_type {
        NLMSG_NOOP => Ok(Received::Other),
        NLMSG_ERROR => match code(payload) {
            Some(0) => Ok(Received::End),
            _ => Err(refusal(header, payload, 4 + HEADER)),
        },
        NLMSG_DONE => match code(payload) {
            Some(0) | None => Ok(Received::End),
            // EINTR: the dump was cut short by a change.
            Some(error) if error == -(Errno::EINTR as i32) => Ok(Received::Interrupted),
            _ => Err(refusal(header, payload, 4)),
        },
        kind => Ok(Received::Answer(Answer { kind, raw: payload.to_vec() })),
    }
}

fn code(payload: &[u8]) -> Option<i32> {
    payload.get(..4).and_then(|b| b.try_into().ok()).map(i32::from_ne_bytes)
}

/// An error with the text of the extended ACK, whose attributes begin at `tlvs` (linux/netlink.h, nlmsgerr_attrs).
fn refusal(header: &NetlinkHeader, payload: &[u8], tlvs: usize) -> KernelError {
    let errno = Errno::from_raw(code(payload).unwrap_or_default().wrapping_neg());
    let has_text = header.flags & (NLM_F_ACK_TLVS | NLM_F_MULTI) != 0;
    let text = payload.get(tlvs..).filter(|_| has_text).and_then(ext_ack_text);
    KernelError::Refused { errno, text }
}

fn ext_ack_text(tlvs: &[u8]) -> Option<String> {
    let (_, value) = attributes(tlvs).find(|(kind, _)| *kind == NLMSGERR_ATTR_MSG)?;
    let text = value.split(|b| *b == 0).next().unwrap_or_default();
    Some(String::from_utf8_lossy(text).trim_end_matches('.').to_owned())
}

/// Writes an attribute behind what is there, padded (struct nlattr, linux/netlink.h). One that is too long for its length
/// field does not fit into a message either, and is refused by the kernel.
pub(super) fn put_attribute(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// Kinds and values of attributes (struct nlattr, linux/netlink.h). The walk ends where they stop making sense.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let half = |at: usize| bytes.get(at..at + 2).and_then(|b| b.try_into().ok()).map(u16::from_ne_bytes);
        let (length, kind) = (usize::from(half(0)?), half(2)? & NLA_TYPE_MASK);
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = u16::try_from(value.len() + 4).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn the_text_of_an_extended_ack_is_found_behind_other_attributes() {
        let mut bytes = attribute(2, &4u32.to_ne_bytes());
        bytes.extend(attribute(NLMSGERR_ATTR_MSG, b"Nexthop has invalid gateway.\0"));
        assert_eq!(ext_ack_text(&bytes).unwrap(), "Nexthop has invalid gateway");
    }

    #[test]
    fn broken_attributes_and_datagrams_end_without_a_text() {
        for bytes in [&[][..], &[1], &[0, 0, 0, 0], &[255, 255, 1, 0], &[4, 0, 9, 0]] {
            assert_eq!(ext_ack_text(bytes), None, "{bytes:?}");
            assert!(split(bytes).is_none(), "{bytes:?}");
        }
    }
}
