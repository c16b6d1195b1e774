//! A host's NIC on a switch, and two machines beyond.
#![allow(dead_code, clippy::unwrap_used)]

use super::lab::{Lab, Space};

/// Addresses of the host's own NIC and of the machines outside.
pub const HOST: &str = "10.1.1.99";
pub const FIRST: &str = "10.1.1.100";
pub const SECOND: &str = "10.1.1.101";

pub struct Network {
    pub lab: Lab,
    switch: Space,
    pub first: Space,
    pub second: Space,
}

impl Network {
    pub fn new() -> Self {
        let lab = Lab::new();
        let switch = lab.nic("nic0");
        switch.sh("ip link add sw up type bridge mcast_snooping 0; ip link set port0 master sw");
        lab.host.sh(&format!("ip link set nic0 up; ip addr add {HOST}/24 dev nic0"));
        let outside = |port: &str, addr: &str| {
            let space = Space::new();
            switch.sh(&format!("ip link add {port} master sw up type veth peer name eth0 netns {}", space.pid()));
            space.sh(&format!("ip link set eth0 up; ip addr add {addr}/24 dev eth0"));
            space
        };
        let (first, second) = (outside("out1", FIRST), outside("out2", SECOND));
        let net = Self { lab, switch, first, second };
        super::lab::eventually("the switch forwards", || reaches(&net.lab.host, FIRST) && reaches(&net.lab.host, SECOND));
        net
    }

    /// The switch sends frames back where they came from.
    pub fn hairpin(&self) {
        self.switch.sh("bridge link set dev port0 hairpin on");
    }

    /// And no longer.
    pub fn no_hairpin(&self) {
        self.switch.sh("bridge link set dev port0 hairpin off");
    }

    pub fn first_mac(&self) -> String {
        self.first.link("eth0")["address"].as_str().unwrap().to_owned()
    }

    pub fn second_mac(&self) -> String {
        self.second.link("eth0")["address"].as_str().unwrap().to_owned()
    }
}

impl Default for Network {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a ping comes back, told at once when it does.
pub fn reaches(from: &Space, to: &str) -> bool {
    from.try_sh(&format!("ping -c1 -W1 {to}"))
}

/// Fails unless it is as expected who reaches whom: what is to be reached may take a moment, what is not gets one chance.
#[track_caller]
pub fn expect(from: &Space, reached: &[(&str, bool)], what: &str) {
    for (to, expected) in reached {
        let is = (0..if *expected { 5 } else { 1 }).any(|_| reaches(from, to));
        assert_eq!(is, *expected, "{what}: reaches {to}");
    }
}
