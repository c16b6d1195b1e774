//! The marks that everything we make bears. What has none of them is somebody else's, and is never changed or removed.
//!
//! A link's is its group (`ip link show group`), because that is the one thing of no consequence that the kernel takes in the
//! very message that makes the link: there is no moment at which it is unmarked. Alternative names come later, and serve to
//! know a NIC or an IPoIB child again ([`super::facts::origin_name`], [`super::facts::child_name`]).

/// IFLA_GROUP of our links (linux/if_link.h): "pipe" in ASCII.
pub const GROUP: u32 = 0x7069_7065;

/// IFA_PROTO of our addresses (linux/if_addr.h, Linux 5.18): "p" in ASCII. Older kernels take it and forget it.
pub const PROTO: u8 = b'p';
