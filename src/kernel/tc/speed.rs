//! The speed of a link, as `/sys/class/net/LINK/speed` has it: by ethtool's netlink (linux/ethtool_netlink.h), since sysfs
//! shows the links of the namespace that it was mounted in.

use super::super::netns::Namespace;
use super::super::wire::{Answer, Netlink};
use super::attributes::{Reader, Writer};
use crate::model::error::KernelError;

// linux/genetlink.h
const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
/// Bytes of `struct genlmsghdr`.
const HEADER: usize = 4;

// linux/ethtool_netlink.h
const LINKMODES_GET: u8 = 4;
const LINKMODES_HEADER: u16 = 1;
const LINKMODES_SPEED: u16 = 5;
const HEADER_DEV_INDEX: u16 = 1;
/// SPEED_UNKNOWN (linux/ethtool.h)
const UNKNOWN: u32 = u32::MAX;

/// The speed of a link in Mbit/s. Nothing when it has none or says none, or the kernel is older than 5.6.
pub(super) fn of(index: u32, namespace: &Namespace) -> Option<u64> {
    let mut socket = namespace.inside(Netlink::open_generic).ok()?;
    speed(&mut socket, index).ok().flatten().map(u64::from).filter(|speed| *speed != 0)
}

fn speed(socket: &mut Netlink, index: u32) -> Result<Option<u32>, KernelError> {
    let ask = message(CTRL_CMD_GETFAMILY, |all| _ = all.text(CTRL_ATTR_FAMILY_NAME, "ethtool"));
    let answers = socket.request_raw(GENL_ID_CTRL, 0, ask.bytes())?;
    let Some(family) = answers.iter().find_map(|answer| attributes(answer)?.u16(CTRL_ATTR_FAMILY_ID)) else { return Ok(None) };
    let ask = message(LINKMODES_GET, |all| _ = all.nest_flagged(LINKMODES_HEADER, |inner| _ = inner.u32(HEADER_DEV_INDEX, index)));
    let answers = socket.request_raw(family, 0, ask.bytes())?;
    Ok(answers.iter().find_map(|answer| attributes(answer)?.u32(LINKMODES_SPEED)).filter(|speed| *speed != UNKNOWN))
}

fn message(command: u8, fill: impl FnOnce(&mut Writer)) -> Writer {
    let mut all = Writer::default();
    // Version 1, and two bytes that mean nothing.
    all.raw(&[command, 1, 0, 0]);
    fill(&mut all);
    all
}

fn attributes(answer: &Answer) -> Option<Reader<'_>> {
    answer.raw.get(HEADER..).map(Reader)
}
