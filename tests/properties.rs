//! Laws of every parser: what it takes prints as what it takes again, and nothing that it is given makes it panic.
#![allow(clippy::unwrap_used)]

use std::fmt::Display;
use std::net::IpAddr;
use std::str::FromStr;

use pipework::cli::AttachArgs;
use pipework::model::command::quoted;
use pipework::model::request::{AddrSpec, AttachRequest, GuestRef, HostIf, MacAndTag};
use pipework::model::settings::{Mtu, Netem, Offloads, Rate, Sysctl, TableChoice, ToolWords};
use pipework::model::sharing::{IpvlanMode, MacvlanMode};
use pipework::model::types::{Family, IfAddr, IfName, MacAddr, Pkey, Tag, VlanId};
use pipework::model::vlan::PortVlans;
use proptest::prelude::*;

/// Text that is nearly right more often than not.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,40}",
        "[0-9a-f:./@]{0,30}",
        "[a-z]{0,6}[0-9.:@/-]{0,20}",
        "([0-9]{1,3}\\.){3}[0-9]{1,3}(/[0-9]{1,3})?(@([0-9]{1,3}\\.){3}[0-9]{1,3})?",
        "[0-9,-]{0,12}",
        "([0-9]{1,3}\\.[0-9]{1,3}\\.0\\.1|fd00::[0-9a-f]{1,2})/[0-9]{1,2}(,10\\.1\\.1\\.[0-9]/24){0,2}(@(10\\.1\\.1\\.9|fd00::1)(,fe80::1)?)?",
        "[0-9.]{0,5}[kmgt]?i?(bit|bps)?/[0-9.]{0,5}[kmg]?bit(:[0-9.]{1,4}[km]?b?)?",
        "((delay|jitter|loss|duplicate|corrupt|reorder|rate|limit)=[0-9.]{1,4}(ms|s|us|%|mbit)?,?){1,4}",
        "((tx|rx|tso|gro|tx-[a-z-]{1,9})=(on|off),?){1,3}",
        "net\\.ipv[46]\\.(conf|neigh)\\.(IF|all|[a-z0-9.]{1,9})\\.[a-z_]{1,9}=[0-9]{1,3}",
        "source(:|,)(02:00:00:00:00:0[0-9],?){0,3}",
        "l[23]s?(:(private|vepa|bridge))?",
        "([0-9a-f]{0,4}:){2,8}[0-9a-f]{0,4}/[0-9]{1,3}",
        "(docker|podman|lxc|pid|netns|mac|U|dhcp)?:?[a-z0-9/@:._-]{0,20}",
    ]
}

/// Whatever is taken prints as something that is taken again and is the same.
fn round_trip<T: FromStr + Display + PartialEq + std::fmt::Debug>(text: &str)
where
    T::Err: Display,
{
    match text.parse::<T>() {
        Ok(value) => assert_eq!(value.to_string().parse::<T>().ok().as_ref(), Some(&value), "{text:?}"),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_taken_prints_as_what_is_taken_again(text in text()) {
        round_trip::<IfName>(&text);
        round_trip::<MacAddr>(&text);
        round_trip::<VlanId>(&text);
        round_trip::<Pkey>(&text);
        round_trip::<Tag>(&text);
        round_trip::<PortVlans>(&text);
        round_trip::<MacvlanMode>(&text);
        round_trip::<IpvlanMode>(&text);
        round_trip::<IfAddr>(&text);
        round_trip::<HostIf>(&text);
        round_trip::<AddrSpec>(&text);
        round_trip::<GuestRef>(&text);
        round_trip::<Mtu>(&text);
        round_trip::<TableChoice>(&text);
        round_trip::<Rate>(&text);
        round_trip::<Netem>(&text);
        round_trip::<Offloads>(&text);
        round_trip::<Sysctl>(&text);
        round_trip::<ToolWords>(&text);
        let _ = text.parse::<MacAndTag>();
        let _ = text.parse::<Family>();
    }

    #[test]
    fn an_interface_name_is_one_that_the_kernel_takes(text in ".{0,20}") {
        if let Ok(name) = text.parse::<IfName>() {
            let name = name.as_str();
            prop_assert!(!name.is_empty() && name.len() <= 15 && name != "." && name != "..");
            prop_assert!(!name.contains(['/', ':', '\0', ' ', '\n', '%']));
        }
    }

    #[test]
    fn every_unicast_address_with_a_prefix_is_taken_and_kept(bits: u32, prefix in 1u8..=32) {
        let ip = std::net::Ipv4Addr::from(bits);
        let taken = format!("{ip}/{prefix}").parse::<IfAddr>();
        let hosts = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
        let is_broadcast = prefix < 31 && bits & hosts == hosts;
        if ip.is_unspecified() || ip.is_multicast() || bits == u32::MAX || is_broadcast {
            prop_assert!(taken.is_err());
        } else {
            let taken = taken.unwrap();
            prop_assert_eq!((taken.ip(), taken.prefix()), (IpAddr::V4(ip), prefix));
            prop_assert!(taken.contains(IpAddr::V4(ip)));
        }
    }

    #[test]
    fn a_mac_address_made_of_a_string_is_local_unicast_and_always_the_same(text in "[^ \t\n]{1,30}") {
        let mac = MacAddr::from_unique(&text).unwrap();
        prop_assert_eq!(mac.octets()[0], 0x02);
        prop_assert_eq!(mac, MacAddr::from_unique(&text).unwrap());
        prop_assert_eq!(mac, MacAddr::from_unique(&format!("  {text}\t")).unwrap(), "echo folds white space");
    }

    #[test]
    fn no_words_make_the_request_panic(host_if in text(), guest in text(), addr in text(), last in text(), guest_if in proptest::option::of(text())) {
        let _ = AttachRequest::try_from(&AttachArgs::of(&host_if, &guest, &addr, &last, guest_if.as_deref()));
    }

    #[test]
    fn a_quoted_word_is_one_word_of_the_shell(text in "[ -~]{0,30}") {
        let output = std::process::Command::new("sh").args(["-c", &format!("printf %s {}", quoted(&text))]).output().unwrap();
        prop_assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
    }
}

#[test]
fn the_originals_example_gives_the_originals_bytes() {
    assert_eq!(MacAddr::from_unique("myhost.foo.com").unwrap().to_string(), "02:72:6c:cd:9b:8d");
    // The tools that the original pipes it through, as the judge.
    for text in ["web1", "two  words", "ünïcode"] {
        let output = std::process::Command::new("sh").args(["-c", "echo $0 | md5sum", text]).output().unwrap();
        let digest = String::from_utf8(output.stdout).unwrap();
        let pairs: Vec<&str> = (0..5).map(|n| &digest[2 * n..2 * n + 2]).collect();
        assert_eq!(MacAddr::from_unique(text).unwrap().to_string(), format!("02:{}", pairs.join(":")), "{text}");
    }
}
