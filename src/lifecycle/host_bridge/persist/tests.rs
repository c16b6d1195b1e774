#![allow(clippy::unwrap_used)]
use super::*;
use crate::model::host_bridge::{Below, Phase, VERSION};

fn record() -> HostBridge {
    HostBridge {
        version: VERSION,
        bridge: "br0".parse().unwrap(),
        below: Below::Uplink("ens32".parse().unwrap()),
        made: true,
        uplink_was_up: true,
        addresses: Vec::new(),
        routes: Vec::new(),
        files: Vec::new(),
        keeper: None,
        lasting: Some(Lasting {
            mac: Some("02:00:00:00:00:07".parse().unwrap()),
            mtu: 1500,
            addresses: vec!["192.168.116.112/24".parse().unwrap(), "fd00::112/64".parse().unwrap()],
            gateways: vec!["192.168.116.1".parse().unwrap()],
            routes: vec![("10.0.0.0/8".into(), "192.168.116.2".parse().unwrap())],
            leased: false,
            routers: false,
        }),
        phase: Phase::Kept,
        boot: String::new(),
        home: 1,
        since: String::new(),
    }
}

fn written(keeper: Keeper, there: &[(&str, &str)]) -> (tempfile::TempDir, HostBridge) {
    let etc = tempfile::tempdir().unwrap();
    let directory = directory(keeper, etc.path());
    fs::create_dir_all(&directory).unwrap();
    for (name, text) in there {
        fs::write(directory.join(name), text).unwrap();
    }
    let mut record = record();
    write(keeper, &mut record, "ens32", etc.path(), &mut |_| Ok(())).unwrap();
    (etc, record)
}

fn read(etc: &tempfile::TempDir, keeper: Keeper, name: &str) -> String {
    fs::read_to_string(directory(keeper, etc.path()).join(name)).unwrap()
}

fn tree(etc: &tempfile::TempDir, keeper: Keeper) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = fs::read_dir(directory(keeper, etc.path()))
        .unwrap()
        .map(|entry| (entry.as_ref().unwrap().file_name().into_string().unwrap(), fs::read_to_string(entry.unwrap().path()).unwrap()))
        .collect();
    all.sort();
    all
}

#[test]
fn the_nics_ifcfg_has_the_bridges_name_and_no_address_and_the_bridge_all_that_the_nic_had() {
    let old = "TYPE=Ethernet\nDEVICE=ens32\nUUID=0aac\nONBOOT=yes\nBOOTPROTO=static\nIPADDR=192.168.116.112\nNETMASK=255.255.255.0\nDNS1=9.9.9.9\n";
    let (etc, record) = written(Keeper::Ifcfg, &[("ifcfg-ens32", old)]);
    let nic = read(&etc, Keeper::Ifcfg, "ifcfg-ens32");
    assert!(nic.contains("TYPE=Ethernet\n") && nic.contains("BRIDGE=br0\n") && nic.contains("UUID=0aac\n"), "{nic}");
    assert!(!nic.contains("IPADDR") && !nic.contains("TYPE=Bridge"), "{nic}");
    let bridge = read(&etc, Keeper::Ifcfg, "ifcfg-br0");
    assert!(bridge.contains("TYPE=Bridge\n") && bridge.contains("DELAY=0\n") && bridge.contains("DNS1=9.9.9.9\n"), "{bridge}");
    assert_eq!(bridge.matches("IPADDR=192.168.116.112\n").count(), 1, "{bridge}");
    assert!(!bridge.contains("UUID"), "{bridge}");
    restore(&record.files).unwrap();
    assert_eq!(tree(&etc, Keeper::Ifcfg), [("ifcfg-ens32".to_owned(), old.to_owned())]);
}

#[test]
fn the_profile_that_the_nic_had_is_set_aside_and_what_it_says_of_the_network_goes_over() {
    use std::os::unix::fs::PermissionsExt;
    let old = "[connection]\nid=wired\nuuid=1\ntype=ethernet\ninterface-name=ens32\n\n[ipv4]\nmethod=manual\naddress1=192.168.116.112/24,192.168.116.1\ndns=9.9.9.9;\n\n[ipv6]\nmethod=ignore\n";
    let (etc, record) = written(Keeper::NetworkManager, &[("wired.nmconnection", old)]);
    let bridge = read(&etc, Keeper::NetworkManager, "pipework-br0.nmconnection");
    assert!(bridge.contains("type=bridge\n") && bridge.contains("stp=false\n") && bridge.contains("dns=9.9.9.9;\n"), "{bridge}");
    let port = read(&etc, Keeper::NetworkManager, "pipework-br0-uplink.nmconnection");
    assert!(port.contains("interface-name=ens32\nmaster=br0\nslave-type=bridge\n") && !port.contains("[ipv4]"), "{port}");
    let directory = directory(Keeper::NetworkManager, etc.path());
    assert!(!directory.join("wired.nmconnection").exists());
    assert_eq!(fs::metadata(directory.join("pipework-br0.nmconnection")).unwrap().permissions().mode() & 0o777, 0o600);
    restore(&record.files).unwrap();
    assert_eq!(tree(&etc, Keeper::NetworkManager), [("wired.nmconnection".to_owned(), old.to_owned())]);
}

#[test]
fn without_a_file_of_the_nic_what_was_seen_is_written() {
    let (etc, record) = written(Keeper::Networkd, &[]);
    let bridge = read(&etc, Keeper::Networkd, "00-pipework-br0.network");
    for line in ["Name=br0", "Address=192.168.116.112/24", "Address=fd00::112/64", "Gateway=192.168.116.1", "Destination=10.0.0.0/8"] {
        assert!(bridge.lines().any(|other| other == line), "{line}: {bridge}");
    }
    assert!(read(&etc, Keeper::Networkd, "00-pipework-br0.netdev").contains("STP=no\nForwardDelaySec=0\n"));
    assert!(read(&etc, Keeper::Networkd, "00-pipework-br0-uplink.network").contains("Bridge=br0\n"));
    restore(&record.files).unwrap();
    assert_eq!(tree(&etc, Keeper::Networkd), []);
}

#[test]
fn a_second_time_nothing_changes_and_what_somebody_changed_since_stays() {
    let (etc, mut record) = written(Keeper::Ifcfg, &[("ifcfg-ens32", "DEVICE=ens32\nIPADDR=10.0.0.1\n")]);
    let (before, files) = (tree(&etc, Keeper::Ifcfg), record.files.clone());
    write(Keeper::Ifcfg, &mut record, "ens32", etc.path(), &mut |_| Ok(())).unwrap();
    assert_eq!((tree(&etc, Keeper::Ifcfg), &record.files), (before, &files));
    let own = directory(Keeper::Ifcfg, etc.path()).join("ifcfg-br0");
    fs::write(&own, "DEVICE=br0\n# mine\n").unwrap();
    let (_, warnings) = restore(&record.files).unwrap();
    assert!(warnings[0].contains("ifcfg-br0 was changed since"), "{warnings:?}");
    assert!(read(&etc, Keeper::Ifcfg, "ifcfg-ens32").contains("IPADDR=10.0.0.1"), "what was there before is back");
}

#[test]
fn whose_files_there_are_keeps_the_configuration() {
    for (keeper, name) in
        [(Keeper::Networkd, "10-lan.network"), (Keeper::NetworkManager, "wired.nmconnection"), (Keeper::Ifcfg, "ifcfg-ens32")]
    {
        let etc = tempfile::tempdir().unwrap();
        assert_eq!(keeper_of(etc.path()), None);
        fs::create_dir_all(directory(keeper, etc.path())).unwrap();
        fs::write(directory(keeper, etc.path()).join(name), "").unwrap();
        assert_eq!(keeper_of(etc.path()), Some(keeper));
    }
}
