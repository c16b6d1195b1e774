//! `sfq` (tc-sfq(8)), with its RED.

use super::grammar::{number, read, size};
use super::units::{general, show_size, signed};
use crate::iproute::{Words, WordsError};

/// TC_RED_ECN and TC_RED_HARDDROP, _ADAPTATIVE, _NODROP (linux/pkt_sched.h)
const FLAGS: [(u8, &str); 4] = [(1, "ecn "), (2, "harddrop "), (4, "adaptive "), (8, "nodrop ")];

/// `struct tc_sfq_qopt_v1`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sfq {
    /// Bytes.
    pub quantum: u32,
    /// Seconds.
    pub perturb: i32,
    /// Packets.
    pub limit: u32,
    /// Size of the hash table.
    pub divisor: u32,
    /// Number of flows.
    pub flows: u32,
    /// What kernels since 3.3 have more.
    pub more: Option<More>,
    /// Whether anything was said at all: without a word nothing is sent.
    pub given: bool,
}

/// The second part of the structure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct More {
    /// Packets of a flow.
    pub depth: u32,
    /// Whether packets are dropped from the head.
    pub headdrop: bool,
    /// Bytes of a flow's queue.
    pub limit: u32,
    /// Bytes from which on packets are marked.
    pub min: u32,
    /// Bytes from which on all are.
    pub max: u32,
    /// Logarithms of the average's weight, and of the probability's slope.
    pub logs: (u8, u8),
    /// TC_RED_*
    pub flags: u8,
    /// Probability at `max`, as a part of 2^32.
    pub max_p: u32,
}

/// What RED is computed from.
struct Red {
    burst: u32,
    avpkt: u32,
    probability: f64,
    given: bool,
}

impl Sfq {
    /// The words behind the kind.
    ///
    /// # Errors
    /// A word that is not known, a value that is none, or RED's values contradict each other.
    pub fn parse(words: &mut Words<'_>) -> Result<Self, WordsError> {
        let mut all = Self { given: words.peek().is_some(), ..Self::default() };
        let mut more = More::default();
        let mut red = Red { burst: 0, avpkt: 1000, probability: 0.02, given: false };
        while let Some(word) = words.take() {
            match word {
                "quantum" => all.quantum = size(words, word)?,
                "perturb" => all.perturb = read(words, word, "a number of seconds", signed)?,
                "limit" => {
                    all.limit = read(words, word, "a number of packets from 2", |text| {
                        crate::iproute::number(text).filter(|n| *n >= 2)?.try_into().ok()
                    })?;
                }
                "divisor" => all.divisor = number(words, word)?,
                "flows" => all.flows = number(words, word)?,
                "depth" => more.depth = number(words, word)?,
                "headdrop" => more.headdrop = true,
                _ => red.word(words, word, &mut more)?,
            }
        }
        if red.given {
            red.settle(&mut more)?;
        }
        Ok(Self { more: Some(more), ..all })
    }

    /// As tc prints it.
    pub fn show(&self, details: bool) -> String {
        let mut text = format!("limit {}p quantum {} ", self.limit, show_size(self.quantum));
        let more = self.more.clone().unwrap_or_default();
        if more.depth != 0 {
            text += &format!("depth {} ", more.depth);
        }
        if more.headdrop {
            text += "headdrop ";
        }
        if details {
            text += &format!("flows {} ", self.flows);
        }
        text += &format!("divisor {} ", self.divisor);
        if self.perturb != 0 {
            text += &format!("perturb {}sec ", self.perturb);
        }
        if more.min != 0 {
            let probability = general(f64::from(more.max_p) / 4_294_967_296.0, 6);
            let (min, max) = (show_size(more.min), show_size(more.max));
            text += &format!("ewma {} min {min} max {max} probability {probability} ", more.logs.0);
            text.extend(FLAGS.iter().filter(|(flag, _)| more.flags & flag != 0).map(|(_, name)| *name));
        }
        text
    }
}

impl Red {
    fn word(&mut self, words: &mut Words<'_>, word: &str, more: &mut More) -> Result<(), WordsError> {
        match word {
            "redflowlimit" => more.limit = number(words, word)?,
            "min" => more.min = number(words, word)?,
            "max" => more.max = number(words, word)?,
            "burst" => self.burst = number(words, word)?,
            "avpkt" => self.avpkt = size(words, word)?,
            "probability" => {
                let inside = |p: &f64| (0.0..=1.0).contains(p);
                self.probability = read(words, word, "a probability like 0.02", |text| text.parse().ok().filter(inside))?;
            }
            "ecn" => more.flags |= 1,
            "harddrop" => more.flags |= 2,
            _ => return Err(words.unknown(word)),
        }
        self.given = true;
        Ok(())
    }

    /// Fills in what was not given, by Sally Floyd's recommendations as tc(8) has them.
    fn settle(&self, more: &mut More) -> Result<(), WordsError> {
        let bad = |text: &str| WordsError::Bad(format!("sfq: {text}"));
        if more.limit == 0 {
            return Err(bad("RED needs redflowlimit BYTES"));
        }
        if more.max == 0 {
            more.max = more.limit / 4;
        }
        if more.min == 0 {
            more.min = more.max / 3;
        }
        if more.max > more.limit {
            return Err(bad("max must not be larger than redflowlimit"));
        }
        if more.min >= more.max {
            return Err(bad("min has to be smaller than max"));
        }
        if self.avpkt == 0 {
            return Err(bad("avpkt must not be 0"));
        }
        let usual = (2 * u64::from(more.min) + u64::from(more.max)) / (3 * u64::from(self.avpkt));
        let burst = if self.burst == 0 { usual as u32 } else { self.burst };
        let weight = weight(more.min, burst, self.avpkt)
            .ok_or_else(|| bad(&format!("burst {burst} is too small, try burst {}", 1 + more.min / self.avpkt)))?;
        let slope = slope(more.max - more.min, self.probability).ok_or_else(|| bad("probability is too small"))?;
        more.logs = (weight, slope);
        more.max_p = (self.probability * 4_294_967_296.0) as u32;
        Ok(())
    }
}

/// The smallest w with burst + 1 - min/avpkt <= (1 - (1-W)^burst) / W for W = 2^-w.
fn weight(min: u32, burst: u32, avpkt: u32) -> Option<u8> {
    let wanted = f64::from(burst) + 1.0 - f64::from(min) / f64::from(avpkt);
    if wanted < 1.0 {
        return None;
    }
    // By a whole number: any other power would need a library of its own, which every start of the program then loads.
    let times = i32::try_from(burst).unwrap_or(i32::MAX);
    (1..32u8).find(|log| {
        let part = 0.5f64.powi(i32::from(*log));
        wanted <= (1.0 - (1.0 - part).powi(times)) / part
    })
}

/// The logarithm of how often the probability of one byte goes into 1.
fn slope(span: u32, probability: f64) -> Option<u8> {
    let mut part = probability / f64::from(span);
    for log in 0..32 {
        if part > 1.0 {
            return Some(log);
        }
        part *= 2.0;
    }
    None
}
