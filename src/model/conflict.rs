//! An address that somebody else has: how it is looked for, and what was found.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::error::InputError;
use super::record::Record;
use super::request::AttachRequest;
use super::types::MacAddr;

/// What an attach does about an address that another host on the network has (duplicate address detection).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DadMode {
    /// Nobody is asked: no packet, no wait.
    #[default]
    Off,
    /// The network is asked, and the address taken all the same.
    Warn,
    /// The network is asked, and nothing is left of the attach when somebody answers.
    Fail,
}

impl FromStr for DadMode {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        match text {
            "off" => Ok(Self::Off),
            "warn" => Ok(Self::Warn),
            "fail" => Ok(Self::Fail),
            _ => Err(InputError::DadMode { text: text.to_owned() }),
        }
    }
}

impl fmt::Display for DadMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Warn => "warn",
            Self::Fail => "fail",
        })
    }
}

/// How the network is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dad {
    /// What follows from an answer.
    pub mode: DadMode,
    /// `--dad-wait`: with the time that the RFCs give a host to answer.
    pub patient: bool,
}

impl Dad {
    /// Whether it is as when nothing is said.
    pub fn is_off(&self) -> bool {
        *self == Self::default()
    }

    /// Whether anybody is asked.
    pub fn asks(self) -> bool {
        self.mode != DadMode::Off
    }

    /// When the questions are put.
    pub fn timing(self) -> Timing {
        if self.patient { Timing::RFC } else { Timing::QUICK }
    }
}

/// A time in milliseconds that is drawn anew each time, so that hosts which start together do not ask together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The shortest.
    pub min: u32,
    /// The longest.
    pub max: u32,
}

impl Span {
    /// Always the same.
    pub const fn exactly(ms: u32) -> Self {
        Self { min: ms, max: ms }
    }

    /// A time out of the span, from a random number.
    fn draw(self, random: u32) -> u32 {
        let width = u64::from(self.max.saturating_sub(self.min)) + 1;
        self.min.saturating_add(u32::try_from(u64::from(random) % width).unwrap_or_default())
    }
}

/// When questions are put, and when silence means that nobody has the address. All in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How many there are.
    pub probes: u32,
    /// Before the first.
    pub delay: Span,
    /// From one to the next.
    pub spacing: Span,
    /// From the last until silence counts.
    pub wait: u32,
}

/// When each question is put and when silence counts, in milliseconds from the beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// The questions.
    pub probes: Vec<u32>,
    /// The end.
    pub end: u32,
}

impl Timing {
    /// Three questions, and all is over in 300 ms: a host on a wired network answers within a few.
    pub const QUICK: Self = Self { probes: 3, delay: Span::exactly(0), spacing: Span::exactly(100), wait: 100 };
    /// PROBE_WAIT, PROBE_NUM, PROBE_MIN, PROBE_MAX and ANNOUNCE_WAIT of RFC 5227, section 1.1: 4 to 7 seconds in all.
    pub const RFC: Self = Self { probes: 3, delay: Span { min: 0, max: 1000 }, spacing: Span { min: 1000, max: 2000 }, wait: 2000 };

    /// Draws the times, with one random number for each question.
    pub fn schedule(&self, mut random: impl FnMut() -> u32) -> Schedule {
        let (mut now, mut probes) = (0u32, Vec::new());
        for probe in 0..self.probes {
            let span = if probe == 0 { self.delay } else { self.spacing };
            now = now.saturating_add(span.draw(random()));
            probes.push(now);
        }
        Schedule { probes, end: now.saturating_add(self.wait) }
    }
}

/// Somebody else has an address.
#[derive(Clone, Debug, Error, PartialEq, Eq, Serialize)]
pub struct Conflict {
    /// The address.
    pub addr: IpAddr,
    /// The MAC address of whoever has it, or is about to take it; absent when nobody heard it.
    pub mac: Option<MacAddr>,
    /// The guest of this host that it is, when it is one.
    pub guest: Option<String>,
}

impl Conflict {
    /// Somebody on the network answered.
    pub fn heard(addr: IpAddr, mac: Option<MacAddr>) -> Self {
        Self { addr, mac, guest: None }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is in use", self.addr)?;
        match (&self.guest, self.mac) {
            (Some(guest), Some(mac)) => write!(f, " by guest {guest} ({mac})"),
            (Some(guest), None) => write!(f, " by guest {guest}"),
            (None, Some(mac)) => write!(f, ": {mac} has it"),
            (None, None) => f.write_str(" by another host on the network"),
        }
    }
}

/// The network that an attachment through a host interface is in, as a word that can be a file's name: an address that is given
/// twice in one is given to two hosts. Different ones may be joined somewhere; that only the network itself can tell.
pub fn network(request: &AttachRequest, host_interface: &str) -> String {
    match &request.tag {
        None => host_interface.to_owned(),
        // What else passes a switch port tagged is no address of the guest's interface.
        Some(tag) => match tag.port().ok().and_then(|port| port.untagged) {
            Some(vlan) => format!("{host_interface}@{}", vlan.get()),
            None => format!("{host_interface}@{tag}"),
        },
    }
}

impl Record {
    /// The addresses that the attachment has by right: those asked for, and those that somebody gave it.
    pub fn addrs(&self) -> impl Iterator<Item = IpAddr> {
        self.request.addr.addrs.iter().chain(&self.given).map(|addr| addr.ip())
    }

    /// The network that it is in ([`network`]).
    pub fn network(&self) -> String {
        network(&self.request, &self.host_interface)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_usual_questions_are_over_in_300_ms_and_drawn_from_no_random_number() {
        let Schedule { probes, end } = Timing::QUICK.schedule(|| u32::MAX);
        assert_eq!((probes, end), (vec![0, 100, 200], 300));
    }

    #[test]
    fn the_shortest_and_the_longest_of_the_rfc() {
        assert_eq!(Timing::RFC.schedule(|| 0), Schedule { probes: vec![0, 1000, 2000], end: 4000 });
        assert_eq!(Timing::RFC.schedule(|| 1000), Schedule { probes: vec![1000, 3000, 5000], end: 7000 });
    }

    proptest! {
        #[test]
        fn whatever_is_drawn_lies_within_the_rfc_s_limits(randoms in proptest::array::uniform3(any::<u32>())) {
            let mut left = randoms.into_iter();
            let Schedule { probes, end } = Timing::RFC.schedule(|| left.next().unwrap());
            prop_assert!(probes[0] <= 1000);
            prop_assert!(probes.windows(2).all(|two| (1000..=2000).contains(&(two[1] - two[0]))));
            prop_assert_eq!(end, probes[2] + 2000);
        }

        #[test]
        fn no_timing_overflows(probes in 0..9u32, min in any::<u32>(), max in any::<u32>(), wait in any::<u32>(), random in any::<u32>()) {
            let timing = Timing { probes, delay: Span { min, max }, spacing: Span { min, max }, wait };
            let schedule = timing.schedule(|| random);
            prop_assert!(schedule.probes.is_sorted() && schedule.probes.last().is_none_or(|last| *last <= schedule.end));
        }
    }

    #[test]
    fn a_mode_prints_as_what_it_is_typed_and_is_the_same_in_json() {
        for mode in [DadMode::Off, DadMode::Warn, DadMode::Fail] {
            assert_eq!(mode.to_string().parse::<DadMode>().unwrap(), mode);
            assert_eq!(serde_json::to_string(&mode).unwrap(), format!("\"{mode}\""));
        }
        assert!("on".parse::<DadMode>().unwrap_err().to_string().contains("off, warn or fail"));
    }

    #[test]
    fn a_conflict_names_whoever_is_known() {
        let (addr, mac) = ("10.1.1.5".parse().unwrap(), "02:00:00:00:00:07".parse().ok());
        let text = |mac, guest: Option<&str>| Conflict { addr, mac, guest: guest.map(str::to_owned) }.to_string();
        assert_eq!(text(mac, None), "10.1.1.5 is in use: 02:00:00:00:00:07 has it");
        assert_eq!(text(mac, Some("web")), "10.1.1.5 is in use by guest web (02:00:00:00:00:07)");
        assert_eq!(text(None, Some("web")), "10.1.1.5 is in use by guest web");
        assert_eq!(text(None, None), "10.1.1.5 is in use by another host on the network");
    }
}
