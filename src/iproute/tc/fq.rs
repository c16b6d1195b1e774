//! `fq` (tc-fq(8)).

use super::grammar::{Ground, number, rate32, time, time64};
use super::units::{show_rate, show_size, show_time, show_time64};
use crate::iproute::{Words, WordsError};

/// The kernel's attributes (TCA_FQ_*); what is not given it leaves as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fq {
    /// Packets.
    pub limit: Option<u32>,
    /// Packets of a flow.
    pub flow_limit: Option<u32>,
    /// Logarithm of the number of buckets.
    pub buckets_log: Option<u32>,
    /// For packets without a socket.
    pub orphan_mask: Option<u32>,
    /// Whether flows are paced.
    pub pacing: Option<bool>,
    /// Bytes.
    pub quantum: Option<u32>,
    /// Bytes.
    pub initial_quantum: Option<u32>,
    /// Bytes per second.
    pub maxrate: Option<u32>,
    /// Bytes per second.
    pub defrate: Option<u32>,
    /// Bytes per second.
    pub low_rate_threshold: Option<u32>,
    /// Microseconds.
    pub refill_delay: Option<u32>,
    /// Microseconds.
    pub ce_threshold: Option<u32>,
    /// Nanoseconds.
    pub timer_slack: Option<u32>,
    /// Microseconds.
    pub horizon: Option<u32>,
    /// Whether packets beyond the horizon are dropped rather than sent at it.
    pub horizon_drop: Option<bool>,
}

impl Fq {
    /// The words behind the kind.
    ///
    /// # Errors
    /// A word that is not known, or a value that is none.
    pub fn parse(words: &mut Words<'_>, dev: &str, ground: &dyn Ground) -> Result<Self, WordsError> {
        let mut all = Self::default();
        while let Some(word) = words.take() {
            match word {
                "limit" => all.limit = Some(number(words, word)?),
                "flow_limit" => all.flow_limit = Some(number(words, word)?),
                "buckets" => all.buckets_log = buckets(number(words, word)?),
                "maxrate" => all.maxrate = Some(rate32(words, word, dev, ground)?),
                "low_rate_threshold" => all.low_rate_threshold = Some(rate32(words, word, dev, ground)?),
                "defrate" => all.defrate = Some(rate32(words, word, dev, ground)?),
                "ce_threshold" => all.ce_threshold = Some(time(words, word)?),
                "timer_slack" => all.timer_slack = Some(slack(words, word)?),
                "horizon" => all.horizon = Some(time(words, word)?),
                "horizon_drop" => all.horizon_drop = Some(true),
                "horizon_cap" => all.horizon_drop = Some(false),
                "quantum" => all.quantum = Some(number(words, word)?),
                "initial_quantum" => all.initial_quantum = Some(number(words, word)?),
                "orphan_mask" => all.orphan_mask = Some(number(words, word)?),
                "refill_delay" => all.refill_delay = Some(time(words, word)?),
                "pacing" => all.pacing = Some(true),
                "nopacing" => all.pacing = Some(false),
                _ => return Err(words.unknown(word)),
            }
        }
        Ok(all)
    }

    /// As tc prints it.
    pub fn show(&self) -> String {
        let text = |name: &str, value: Option<u32>, show: &dyn Fn(u32) -> String| {
            value.map(|value| format!("{name} {} ", show(value))).unwrap_or_default()
        };
        let rate = |rate: u32| show_rate(u64::from(rate));
        let packets = |n: u32| format!("{n}p");
        [
            text("limit", self.limit, &packets),
            text("flow_limit", self.flow_limit, &packets),
            text("buckets", self.buckets_log, &|log| 1u32.checked_shl(log).unwrap_or(0).to_string()),
            text("orphan_mask", self.orphan_mask, &|mask| mask.to_string()),
            if self.pacing == Some(false) { "nopacing ".into() } else { String::new() },
            text("quantum", self.quantum, &show_size),
            text("initial_quantum", self.initial_quantum, &show_size),
            text("maxrate", self.maxrate.filter(|rate| *rate != u32::MAX), &rate),
            text("defrate", self.defrate.filter(|rate| *rate != 0), &rate),
            text("low_rate_threshold", self.low_rate_threshold.filter(|rate| *rate != 0), &rate),
            text("refill_delay", self.refill_delay, &show_time),
            text("ce_threshold", self.ce_threshold.filter(|time| *time != u32::MAX), &show_time),
            text("timer_slack", self.timer_slack, &|slack| show_time64(i64::from(slack))),
            text("horizon", self.horizon, &show_time),
            self.horizon_drop.map(|drop| if drop { "horizon_drop " } else { "horizon_cap " }).unwrap_or_default().into(),
        ]
        .concat()
    }
}

/// The logarithm of a number of buckets, rounded up; 0 leaves the kernel's.
fn buckets(number: u32) -> Option<u32> {
    (number != 0).then(|| u32::BITS - (number - 1).leading_zeros())
}

fn slack(words: &mut Words<'_>, word: &str) -> Result<u32, WordsError> {
    let time = time64(words, word)?;
    u32::try_from(time).map_err(|_| WordsError::Bad(format!("{word} has to be less than 4.29s")))
}
