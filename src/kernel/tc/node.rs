//! `struct tcmsg` (linux/rtnetlink.h): 20 bytes in front of the attributes.

use super::attributes::{Fields, Reader, Writer};
use crate::iproute::tc::Node;

/// Bytes of the structure.
const SIZE: usize = 20;

/// A message with the structure, to which attributes are added.
pub(super) fn message(node: Node) -> Writer {
    let mut all = Writer::default();
    // Family AF_UNSPEC and padding.
    all.words(&[0, node.index, node.handle, node.parent, node.info]);
    all
}

/// The structure and the attributes behind it.
pub(super) fn split(raw: &[u8]) -> Option<(Node, Reader<'_>)> {
    let [_, index, handle, parent, info] = Fields(raw).words(0)?;
    Some((Node { index, handle, parent, info }, Reader(raw.get(SIZE..)?)))
}
