//! Who the client is: the same for the same guest and interface, whatever MAC address or process it has today.

use md5::{Digest, Md5};

/// An identity as RFC 4361 wants it: which interface of which node. Both halves are made of names, so that a guest that is
/// made anew under its old name is the one it was; and of the machine, so that two hosts' guests of one name are two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The interface (IAID).
    pub iaid: u32,
    /// The node: a DUID of the type UUID (RFC 6355).
    pub duid: Vec<u8>,
}

/// DHCP's type for identifiers that have a DUID in them (RFC 4361, section 6.1).
const RFC_4361: u8 = 255;
const DUID_UUID: u16 = 4;

impl Identity {
    /// The identity of an interface of a guest on a machine; `machine` is machine-id(5), which is not told to anybody.
    pub fn new(machine: &str, guest: &str, interface: &str) -> Self {
        let mut uuid: [u8; 16] = Md5::digest(format!("pipework\n{machine}\n{guest}").as_bytes()).into();
        // Version 3, made of a name; the variant of RFC 9562.
        uuid[6] = uuid[6] & 0x0f | 0x30;
        uuid[8] = uuid[8] & 0x3f | 0x80;
        let duid = DUID_UUID.to_be_bytes().into_iter().chain(uuid).collect();
        let digest: [u8; 16] = Md5::digest(interface.as_bytes()).into();
        Self { iaid: u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]), duid }
    }

    /// The client identifier of DHCPv4 (option 61).
    pub fn client_id(&self) -> Vec<u8> {
        std::iter::once(RFC_4361).chain(self.iaid.to_be_bytes()).chain(self.duid.iter().copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_of_the_machine_the_guest_and_the_interface_and_of_nothing_else() {
        let web = Identity::new("m", "web", "eth1");
        assert_eq!(web, Identity::new("m", "web", "eth1"));
        assert_eq!((web.client_id().len(), web.client_id()[0], web.client_id()[6]), (23, 255, 4));
        for other in [Identity::new("n", "web", "eth1"), Identity::new("m", "db", "eth1"), Identity::new("m", "web", "eth2")] {
            assert_ne!(web.client_id(), other.client_id());
        }
    }
}
