//! A host with two guests, made fresh for each run of a case.

use super::case::{Case, Place};
use super::lab::dhcp::Server;
use super::lab::ovs::Ovs;
use super::lab::{Lab, Ran, Space, has_netns_link};
use super::state::{self, State};

/// The twin worlds differ in nothing but their processes' IDs and random MAC addresses.
pub struct World {
    pub lab: Lab,
    pub guest: Space,
    /// Only where the case names it.
    pub other: Option<Space>,
    /// Only where the case has one.
    pub dhcp: Option<Server>,
    /// Only where the case has one.
    pub ovs: Option<Ovs>,
    _switches: Vec<Space>,
}

impl World {
    /// The world in which the case's command lines run.
    pub fn new(case: &Case) -> Self {
        let lab = Lab::new();
        let guest = lab.guest();
        let other = case.text.contains("{other}").then(|| lab.guest());
        let (mut switches, mut dhcp, mut ovs) = (Vec::new(), None, None);
        for (place, line) in &case.setup {
            let line = line.replace("{pid}", &guest.pid().to_string());
            match place {
                Place::Host => drop(lab.host.sh(&line)),
                Place::Guest => drop(guest.sh(&line)),
                Place::Nic => switches.push(lab.nic(&line)),
                Place::Ovs => drop(ovs.get_or_insert_with(|| Ovs::start(&lab)).vsctl(&line)),
                Place::Dhcp => dhcp = Some(dhcp_server(&lab, &line)),
            }
        }
        Self { lab, guest, other, dhcp, ovs, _switches: switches }
    }

    /// Runs our program; the shell splits and unquotes the words.
    pub fn ours(&self, words: &str) -> Ran {
        let mut words = words.replace("{guest}", &format!("pid:{}", self.guest.pid()));
        if let Some(other) = &self.other {
            words = words.replace("{other}", &format!("pid:{}", other.pid()));
        }
        let mut command = self.lab.host.command("sh");
        command.args(["-c", &format!("exec \"$0\" {words}"), env!("CARGO_BIN_EXE_pipework")]);
        command
            .env("PIPEWORK_RUN_DIR", self.lab.dir.path())
            .env("PIPEWORK_PID_DIR", self.lab.dir.path())
            .env_remove("DOCKER_HOST")
            .env("HOME", self.lab.dir.path());
        command.envs(self.ovs.as_ref().map(|ovs| ("OVS_RUNDIR", &ovs.dir)));
        command.output().unwrap().into()
    }

    /// The host and its guests.
    fn spaces(&self) -> Vec<(&'static str, &Space)> {
        let other = self.other.iter().map(|space| ("other", space));
        [("host", &self.lab.host), ("guest", &self.guest)].into_iter().chain(other).collect()
    }

    /// The normalised state of the host and its guests.
    pub fn state(&self, case: &Case) -> State {
        let mut state = state::read(&self.spaces(), &case.text, self.dhcp.as_ref().map(|server| &server.space));
        if let Some(ovs) = &self.ovs {
            state::read_ovs(&mut state, ovs, &self.spaces());
        }
        state
    }

    /// Everything that the lab knows of a state, indexes and random MAC addresses too: for before and after in one world.
    pub fn everything(&self) -> Vec<String> {
        let rows = self.ovs.iter().flat_map(Ovs::rows);
        self.spaces().iter().flat_map(|(_, space)| space.state()).chain(rows).collect()
    }

    /// A guest whose link in /var/run/netns was left there.
    pub fn netns_link(&self) -> Option<u32> {
        self.spaces().iter().map(|(_, space)| space.pid()).find(|pid| has_netns_link(*pid))
    }
}

/// A server that has one lease to give.
fn dhcp_server(lab: &Lab, bridge: &str) -> Server {
    let options = ["--dhcp-range=10.88.0.50,10.88.0.50,255.255.255.0,1h", "--dhcp-option=3,10.88.0.1"];
    Server::dnsmasq(lab, bridge, "10.88.0.1/24", &options)
}
