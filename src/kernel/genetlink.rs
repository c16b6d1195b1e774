//! Generic netlink (linux/genetlink.h): families by name, messages of a command and attributes.

use super::wire::{Answer, Netlink, attributes, put_attribute};
use crate::model::error::KernelError;

const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
/// `struct genlmsghdr`: command, version, two bytes that mean nothing.
const HEADER: usize = 4;

/// The message type that this kernel has given to a family; `None` when it has none of that name. The kernel is asked for the
/// list of what it has, since asking by name would load a module.
pub(super) fn family(socket: &mut Netlink, name: &str) -> Result<Option<u16>, KernelError> {
    let answers = socket.dump_raw(GENL_ID_CTRL, &message(CTRL_CMD_GETFAMILY, 0, &[]))?;
    let is_it = |answer: &&Answer| find(answer, CTRL_ATTR_FAMILY_NAME).is_some_and(|own| text(own) == name);
    Ok(answers.iter().find(is_it).and_then(|answer| find(answer, CTRL_ATTR_FAMILY_ID)).and_then(half))
}

/// A message: command, version, attributes.
pub(super) fn message(command: u8, version: u8, with: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = vec![command, version, 0, 0];
    for (kind, value) in with {
        put_attribute(&mut bytes, *kind, value);
    }
    bytes
}

/// The value of an attribute of an answer.
pub(super) fn find(answer: &Answer, wanted: u16) -> Option<&[u8]> {
    attributes(answer.raw.get(HEADER..)?).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

pub(super) fn word(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_ne_bytes)
}

pub(super) fn half(bytes: &[u8]) -> Option<u16> {
    bytes.try_into().ok().map(u16::from_ne_bytes)
}

/// Text up to its NUL.
pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.split(|b| *b == 0).next().unwrap_or_default()).into_owned()
}
