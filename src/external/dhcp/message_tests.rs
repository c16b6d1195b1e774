//! Messages: what is written is read, and nothing that comes can do harm.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::external::dhcp::message6::{Message6, Said};
use crate::external::dhcp::{frame, names};

fn mac() -> MacAddr {
    "02:00:00:00:00:01".parse().unwrap()
}

/// A server's answer with these options, as bytes.
fn reply(kind: u8, options: &[(u8, &[u8])]) -> Vec<u8> {
    let mut bytes = Message::new(Kind::Request, 7, mac()).encode();
    bytes.truncate(HEADER);
    bytes[0] = BOOTREPLY;
    bytes[16..20].copy_from_slice(&[10, 0, 0, 9]);
    for (code, value) in [(KIND, &[kind][..]), (SERVER, &[10, 0, 0, 1])].iter().chain(options) {
        bytes.extend([*code, u8::try_from(value.len()).unwrap()]);
        bytes.extend(*value);
    }
    bytes.push(END);
    bytes
}

fn leased(options: &[(u8, &[u8])]) -> Option<Lease> {
    Message::decode(&reply(5, options)).unwrap().lease(&[])
}

fn route(to: &str, via: Option<&str>) -> LeaseRoute {
    LeaseRoute { to: to.parse().unwrap(), via: via.map(|via| via.parse().unwrap()) }
}

#[test]
fn the_examples_of_rfc_3442_are_read() {
    let bytes = [24, 10, 229, 0, 10, 0, 0, 1, 25, 10, 229, 0, 128, 10, 0, 0, 2, 32, 10, 27, 129, 5, 0, 0, 0, 0, 0, 10, 0, 0, 3];
    let all = ["10.229.0.0/24", "10.229.0.128/25", "10.27.129.5/32", "0.0.0.0/0"];
    let via = [Some("10.0.0.1"), Some("10.0.0.2"), None, Some("10.0.0.3")];
    let wanted: Vec<LeaseRoute> = all.iter().zip(via).map(|(to, via)| route(to, via)).collect();
    assert_eq!(classless_routes(&bytes), wanted);
    // Host bits are to be ignored, and what is cut off ends the list.
    assert_eq!(classless_routes(&[8, 10, 0, 0, 0, 1, 23, 10, 1, 3, 0, 0, 0, 0, 24, 1]).last(), Some(&route("10.1.2.0/23", None)));
    assert_eq!(classless_routes(&[33, 1, 2, 3, 4, 5]), []);
}

#[test]
fn option_121_stands_before_option_3_and_an_empty_one_does_not() {
    let router: (u8, &[u8]) = (ROUTERS, &[10, 0, 0, 3, 10, 0, 0, 4]);
    assert_eq!(leased(&[router]).unwrap().routes, [route("0.0.0.0/0", Some("10.0.0.3"))]);
    assert_eq!(leased(&[router, (CLASSLESS, &[8, 11, 10, 0, 0, 5])]).unwrap().routes, [route("11.0.0.0/8", Some("10.0.0.5"))]);
    assert_eq!(leased(&[router, (CLASSLESS, &[])]).unwrap().routes, [route("0.0.0.0/0", Some("10.0.0.3"))]);
}

#[test]
fn times_that_make_no_sense_are_replaced_by_the_usual_ones() {
    let hour: &[u8] = &3600u32.to_be_bytes();
    let times = |t1: u32, t2: u32| {
        let lease = leased(&[(LEASE_TIME, hour), (T1, &t1.to_be_bytes()), (T2, &t2.to_be_bytes())]).unwrap();
        (lease.renew, lease.rebind)
    };
    assert_eq!(times(10, 20), (10, 20));
    assert_eq!(times(0, 0), (1800, 3150));
    assert_eq!(times(5000, 4000), (1800, 3150));
    assert_eq!(times(30, 20), (20, 20));
    let forever = leased(&[(LEASE_TIME, &[255; 4])]).unwrap();
    assert_eq!((forever.lifetime, forever.renew), (Lifetime::PERMANENT, FOREVER));
    assert_eq!(leased(&[]).unwrap().addr.to_string(), "10.0.0.9/8", "without a mask, by class");
    assert_eq!(leased(&[(MASK, &[255, 0, 255, 0])]), None);
    let mut loopback = reply(5, &[]);
    loopback[16] = 127;
    assert_eq!(Message::decode(&loopback).unwrap().lease(&[]), None);
}

#[test]
fn long_options_are_joined_and_those_in_other_fields_are_found() {
    let long = [7; 200];
    let message = Message::decode(&reply(2, &[(43, &long), (43, &long)])).unwrap();
    assert_eq!(message.options[&43].len(), 400);
    let mut bytes = reply(2, &[(OVERLOAD, &[3])]);
    bytes[108..112].copy_from_slice(&[15, 1, b'a', END]);
    bytes[44..48].copy_from_slice(&[12, 1, b'b', END]);
    let message = Message::decode(&bytes).unwrap();
    assert_eq!((message.options[&15].as_slice(), message.options[&12].as_slice()), (&b"a"[..], &b"b"[..]));
}

#[test]
fn a_thousand_dns_servers_make_a_file_that_a_guest_can_have() {
    let many: Vec<u8> = (0..1000u16).flat_map(|n| [10, 1, n.to_be_bytes()[0], n.to_be_bytes()[1]]).collect();
    let parts: Vec<(u8, &[u8])> = many.chunks(252).map(|part| (DNS, part)).collect();
    let lease = leased(&parts).unwrap();
    assert_eq!((lease.dns.len(), lease.dns[0].to_string().as_str()), (MOST_SERVERS, "10.1.0.0"));
}

#[test]
fn names_with_line_ends_never_reach_a_file() {
    let lease = leased(&[(DNS, &[10, 0, 0, 1]), (DOMAIN, b"a\nnameserver 6.6.6.6"), (SEARCH, b"\x03a b\x00\x01c\x00")]).unwrap();
    assert_eq!(lease.resolv_conf().unwrap(), "# by pipework, from DHCP\nsearch c\nnameserver 10.0.0.1\n");
}

proptest! {
    #[test]
    fn a_message_is_read_as_it_was_written(xid: u32, secs: u16, options in proptest::collection::btree_map(1u8..=254, proptest::collection::vec(any::<u8>(), 0..600), 0..6)) {
        let mut message = Message { secs, ..Message::new(Kind::Request, xid, mac()) };
        message.options = options.into_iter().filter(|(code, value)| ![KIND, OVERLOAD].contains(code) && !value.is_empty()).collect();
        let mut bytes = message.encode();
        bytes[0] = BOOTREPLY;
        prop_assert_eq!(Message::decode(&bytes), Some(message));
    }

    #[test]
    fn a_frame_has_what_was_put_into_it(payload in proptest::collection::vec(any::<u8>(), 0..1400)) {
        let mut bytes = frame::broadcast(mac(), Ipv4Addr::UNSPECIFIED, &payload);
        prop_assert_eq!(frame::payload(&bytes), None, "for the server");
        bytes[36..38].copy_from_slice(&frame::CLIENT_PORT.to_be_bytes());
        prop_assert_eq!(frame::payload(&bytes), Some(&payload[..]));
    }

    #[test]
    fn no_bytes_make_a_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
        let _ = frame::payload(&bytes);
        let _ = Message::decode(&bytes);
        let _ = Message6::decode(&bytes).map(|m| m.said(1, "fe80::1".parse().unwrap()));
        for name in names::decode_list(&bytes) {
            prop_assert!(names::is_plain(&name));
        }
        for route in classless_routes(&bytes) {
            prop_assert!(route.to.ip() == route.to.network());
        }
    }

    #[test]
    fn no_options_make_a_lease_that_cannot_be(options in proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..40)), 0..12)) {
        let options: Vec<(u8, &[u8])> = options.iter().map(|(code, value)| (*code, value.as_slice())).collect();
        let Some(lease) = Message::decode(&reply(5, &options)).and_then(|m| m.lease(&[1, 2, 3])) else { return Ok(()) };
        prop_assert!(lease.renew >= 1 && lease.renew <= lease.rebind && lease.rebind <= lease.lifetime.valid);
        let text = lease.resolv_conf().unwrap_or_default();
        prop_assert!(text.lines().all(|l| ["# ", "search ", "nameserver "].iter().any(|word| l.starts_with(word))));
        let dev = "eth1".parse().unwrap();
        let target = crate::plan::LeaseTarget { guest_if: &dev, mtu: 1500, default_routes: &[], settings: &crate::model::settings::Settings::default(), renewed: true };
        let plan = crate::plan::lease(&lease, &target);
        let twice: Vec<_> = plan.ops().iter().enumerate().filter(|(n, op)| plan.ops()[..*n].contains(op)).collect();
        prop_assert!(twice.is_empty(), "{twice:?}");
    }

    #[test]
    fn a_dhcpv6_message_is_read_as_it_was_written(xid in 0u32..0x0100_0000, options in proptest::collection::vec((any::<u16>(), proptest::collection::vec(any::<u8>(), 0..80)), 0..8)) {
        let message = Message6 { kind: crate::external::dhcp::message6::Kind6::Reply, xid, options };
        prop_assert_eq!(Message6::decode(&message.encode()), Some(message));
    }

    #[test]
    fn a_dhcpv6_lease_is_one_that_can_be(bytes in proptest::collection::vec(any::<u8>(), 24..80)) {
        use crate::external::dhcp::message6::{Kind6, encode_option};
        let mut association = [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0].to_vec();
        association.extend(encode_option(5, &bytes));
        let message = Message6 { kind: Kind6::Reply, xid: 1, options: vec![(3, association)] };
        if let Said::Lease(lease) = message.said(1, "fe80::1".parse().unwrap()) {
            prop_assert!(lease.renew <= lease.rebind && lease.lifetime.preferred <= lease.lifetime.valid && lease.lifetime.valid > 0);
            prop_assert_eq!(lease.addr.prefix(), 128);
        }
    }
}
