//! `--rate` and `--netem`.

use std::fmt;
use std::str::FromStr;

use super::quantity::{Bandwidth, Bytes, Micros, Percent};
use crate::model::error::InputError;
use crate::model::types::serde_as_text;

/// `IN/OUT[:BURST]`: the most that passes into the guest and out of it; one of the two may be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Into the guest.
    pub into: Option<Bandwidth>,
    /// Out of the guest.
    pub out: Option<Bandwidth>,
    /// What may pass at once; made of the rate when absent.
    pub burst: Option<Bytes>,
}

impl FromStr for Rate {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        let refuse = |why: &str| InputError::Setting { option: "--rate", text: text.to_owned(), why: why.to_owned() };
        let form = "give IN/OUT[:BURST] as seen from the guest, like 10mbit/2mbit, 10mbit/2mbit:64kb, 10mbit/ or /2mbit";
        let (rates, burst) = text.split_once(':').map_or((text, None), |(rates, burst)| (rates, Some(burst)));
        let (into, out) = rates.split_once('/').ok_or_else(|| refuse(form))?;
        let rate = |text: &str| match text {
            "" => Ok(None),
            _ => Bandwidth::parse(text).map(Some).ok_or_else(|| refuse(form)),
        };
        let (into, out) = (rate(into)?, rate(out)?);
        let burst = burst.map(|text| Bytes::parse(text).ok_or_else(|| refuse(form))).transpose()?;
        if into.is_none() && out.is_none() {
            return Err(refuse(form));
        }
        // A bucket that holds no whole frame lets none pass.
        if burst.is_some_and(|burst| burst.get() < LEAST_BURST) {
            return Err(refuse("the burst has to hold a whole frame: 2kb at least"));
        }
        Ok(Self { into, out, burst })
    }
}

/// An Ethernet frame with its header and a VLAN's, and some.
const LEAST_BURST: u32 = 2048;

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = |rate: Option<Bandwidth>| rate.map(|rate| rate.to_string()).unwrap_or_default();
        write!(f, "{}/{}", rate(self.into), rate(self.out))?;
        self.burst.map_or(Ok(()), |burst| write!(f, ":{burst}"))
    }
}

/// What netem does to packets that leave the guest (tc-netem(8)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Netem {
    /// How long each is held back.
    pub delay: Option<Micros>,
    /// By how much that varies.
    pub jitter: Option<Micros>,
    /// How many are lost.
    pub loss: Option<Percent>,
    /// How many are sent twice.
    pub duplicate: Option<Percent>,
    /// How many get a wrong bit.
    pub corrupt: Option<Percent>,
    /// How many are not held back.
    pub reorder: Option<Percent>,
    /// How fast they are sent.
    pub rate: Option<Bandwidth>,
    /// How many may be held back at once; 1000 when absent.
    pub limit: Option<u32>,
}

impl Netem {
    /// The words behind `netem`, as tc has them.
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        let mut say = |word: &str, value: Option<String>| {
            words.extend(value.into_iter().flat_map(|value| [word.to_owned(), value]));
        };
        say("limit", self.limit.map(|n| n.to_string()));
        // tc has the jitter behind the delay, without a word of its own.
        let jitter = self.jitter.map(|jitter| jitter.to_string());
        say("delay", self.delay.map(|delay| delay.to_string()));
        words.extend(jitter);
        let mut say = |word: &str, value: Option<String>| {
            words.extend(value.into_iter().flat_map(|value| [word.to_owned(), value]));
        };
        say("loss", self.loss.map(|part| part.to_string()));
        say("duplicate", self.duplicate.map(|part| part.to_string()));
        say("corrupt", self.corrupt.map(|part| part.to_string()));
        say("reorder", self.reorder.map(|part| part.to_string()));
        say("rate", self.rate.map(|rate| rate.to_string()));
        words
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let part = || Percent::parse(value).ok_or_else(|| format!("{key} is a percentage, like 0.3%"));
        let time = || Micros::parse(value).ok_or_else(|| format!("{key} is a time with its unit, like 100ms"));
        let once = |is_there: bool| if is_there { Err(format!("it has {key} twice")) } else { Ok(()) };
        match key {
            "delay" => once(self.delay.replace(time()?).is_some()),
            "jitter" => once(self.jitter.replace(time()?).is_some()),
            "loss" => once(self.loss.replace(part()?).is_some()),
            "duplicate" => once(self.duplicate.replace(part()?).is_some()),
            "corrupt" => once(self.corrupt.replace(part()?).is_some()),
            "reorder" => once(self.reorder.replace(part()?).is_some()),
            "rate" => once(self.rate.replace(Bandwidth::parse(value).ok_or("rate is one like 10mbit")?).is_some()),
            "limit" => {
                let limit = super::decimal(value).filter(|limit| *limit > 0);
                once(self.limit.replace(limit.ok_or("limit is a number of packets, like 1000")?).is_some())
            }
            _ => Err(format!("{key:?} is none of delay, jitter, loss, duplicate, corrupt, reorder, rate, limit")),
        }
    }
}

impl FromStr for Netem {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        let refuse = |why: String| InputError::Setting { option: "--netem", text: text.to_owned(), why };
        let mut netem = Self::default();
        for field in text.split(',') {
            let (key, value) = field.split_once('=').ok_or_else(|| refuse("give delay=100ms,jitter=10ms,loss=0.3% and the like".into()))?;
            netem.set(key, value).map_err(refuse)?;
        }
        if netem.delay.is_none() && (netem.jitter.is_some() || netem.reorder.is_some()) {
            return Err(refuse("jitter and reorder need a delay".into()));
        }
        Ok(netem)
    }
}

impl fmt::Display for Netem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |time: Option<Micros>| time.map(|time| time.to_string());
        let part = |part: Option<Percent>| part.map(|part| part.to_string());
        let all = [
            ("delay", time(self.delay)),
            ("jitter", time(self.jitter)),
            ("loss", part(self.loss)),
            ("duplicate", part(self.duplicate)),
            ("corrupt", part(self.corrupt)),
            ("reorder", part(self.reorder)),
            ("rate", self.rate.map(|rate| rate.to_string())),
            ("limit", self.limit.map(|limit| limit.to_string())),
        ];
        let all: Vec<String> = all.into_iter().filter_map(|(key, value)| Some(format!("{key}={}", value?))).collect();
        f.write_str(&all.join(","))
    }
}

serde_as_text!(Rate, Netem);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rates_print_as_they_are_typed() {
        for text in ["10mbit/2mbit", "10mbit/2mbit:64kb", "10mbit/", "/2mbit", "/1gbit:1mb"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        for text in ["", "/", "10mbit", "10mbit/2mbit:", "10mbit/2mbit:1kb", "0/0", "fast/slow", "1mbit/2mbit/3mbit", ":64kb", "/:64kb"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    #[test]
    fn netem_prints_as_it_is_typed_and_its_words_are_those_of_tc() {
        let text = "delay=100ms,jitter=10ms,loss=0.3%,duplicate=1%,corrupt=2%,reorder=25%,rate=1mbit,limit=5000";
        let netem: Netem = text.parse().unwrap();
        assert_eq!(netem.to_string(), text);
        assert_eq!(netem.words().join(" "), "limit 5000 delay 100ms 10ms loss 0.3% duplicate 1% corrupt 2% reorder 25% rate 1mbit");
        for text in ["", "delay", "delay=", "delay=100", "loss=101%", "jitter=1ms", "reorder=5%", "delay=1ms,delay=2ms", "gap=5", "limit=0"]
        {
            assert!(text.parse::<Netem>().is_err(), "{text}");
        }
    }
}
