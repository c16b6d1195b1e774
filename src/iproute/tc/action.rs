//! Actions of filters (tc-actions(8)): one behind the other, of the kinds gact, mirred and police.

use super::clock::Clock;
use super::control;
use super::grammar::{Ground, decimal, pick};
use super::police::Police;
use super::stats::{Stats, Times};
use crate::iproute::{Words, WordsError};

/// One action.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Action {
    /// What it does.
    pub act: Act,
    /// The kernel's counters.
    pub stats: Option<Stats>,
}

/// What an action does.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Decides.
    Gact(Gact),
    /// Sends elsewhere.
    Mirred(Mirred),
    /// Holds to a rate.
    Police(Police),
}

impl Default for Act {
    fn default() -> Self {
        Self::Gact(Gact::default())
    }
}

/// `struct tc_gact` and `struct tc_gact_p`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gact {
    /// Number of the action.
    pub index: u32,
    /// What becomes of the packet.
    pub control: i32,
    /// Kind (1 netrand, 2 determ), number and control of what happens to one packet in so many.
    pub random: Option<(u16, u16, i32)>,
    /// How often it is held, and by filters.
    pub counts: (i32, i32),
    /// When it was made and used.
    pub times: Option<Times>,
}

/// `struct tc_mirred`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mirred {
    /// Number of the action.
    pub index: u32,
    /// What becomes of the packet.
    pub control: i32,
    /// TCA_EGRESS_REDIR (1), TCA_EGRESS_MIRROR, TCA_INGRESS_REDIR, TCA_INGRESS_MIRROR; 0: an action that is there
    pub how: i32,
    /// The link that it is sent to.
    pub link: u32,
    /// How often it is held, and by filters.
    pub counts: (i32, i32),
    /// When it was made and used.
    pub times: Option<Times>,
}

/// What is behind `action`.
///
/// # Errors
/// A word that is not known, or a value that is none.
pub fn parse(words: &mut Words<'_>, ground: &dyn Ground) -> Result<Vec<Action>, WordsError> {
    let mut all = Vec::new();
    let mut expected = true;
    while let Some(word) = words.peek() {
        match word {
            "action" => {
                words.take();
                expected = true;
                continue;
            }
            "flowid" | "classid" => break,
            word if pick(word, &["change", "replace", "delete", "get", "add"]).is_some() => break,
            _ => {}
        }
        all.push(Action { act: one(words, word, ground)?, stats: None });
        expected = false;
        modifiers(words)?;
    }
    if expected || all.is_empty() {
        return Err(WordsError::Bad("action needs what to do, like action drop".into()));
    }
    // net/sched/act_api.c, TCA_ACT_MAX_PRIO
    if all.len() > 32 {
        return Err(WordsError::Bad("the kernel takes 32 actions at most".into()));
    }
    Ok(all)
}

fn one(words: &mut Words<'_>, word: &str, ground: &dyn Ground) -> Result<Act, WordsError> {
    if control::is(word) {
        return gact(words).map(Act::Gact);
    }
    match word {
        "gact" => {
            words.take();
            gact(words).map(Act::Gact)
        }
        "police" => {
            words.take();
            Police::parse(words, ground).map(Act::Police)
        }
        "mirred" => {
            words.take();
            mirred(words, ground).map(Act::Mirred)
        }
        _ => Err(words.unknown(word)),
    }
}

/// Words that may stand behind any action, and that are left to the installed tc.
fn modifiers(words: &Words<'_>) -> Result<(), WordsError> {
    let listed = ["=cookie", "hw_stats", "=no_percpu", "=skip_sw", "=skip_hw"];
    // `h` alone may begin another word of the filter.
    let modifier = words.peek().filter(|word| word.len() > 1 && pick(word, &listed).is_some());
    modifier.map_or(Ok(()), |word| Err(words.unknown(word)))
}

/// `CONTROL [random netrand|determ CONTROL N] [index N]`
fn gact(words: &mut Words<'_>) -> Result<Gact, WordsError> {
    let mut all = Gact::default();
    let next = |words: &Words<'_>, name: &'static str| words.peek().is_some_and(|word| pick(word, &[name]).is_some());
    if !next(words, "index") {
        all.control = control::parse(words, false)?;
        if next(words, "random") {
            words.take();
            all.random = Some(random(words)?);
        }
    }
    if next(words, "index") {
        words.take();
        all.index = decimal(words, "index")?;
    }
    Ok(all)
}

fn random(words: &mut Words<'_>) -> Result<(u16, u16, i32), WordsError> {
    let word = words.value("random")?;
    let kind = match pick(word, &["netrand", "determ"]) {
        Some("netrand") => 1,
        Some(_) => 2,
        None => return Err(words.bad("random", word, "netrand or determ")),
    };
    let control = control::parse(words, false)?;
    let value = super::grammar::read(words, "random", "a number from 0 to 10000", |text| {
        super::units::decimal(text).filter(|n| *n <= 10_000)?.try_into().ok()
    })?;
    Ok((kind, value, control))
}

/// `egress|ingress mirror|redirect [index N] dev LINK [CONTROL]`, or `index N`
fn mirred(words: &mut Words<'_>, ground: &dyn Ground) -> Result<Mirred, WordsError> {
    let mut all = Mirred::default();
    let mut direction = None;
    while let Some(word) = words.take() {
        match pick(word, &["egress", "ingress", "index", "mirror", "redirect", "dev"]) {
            Some("index") => {
                all.index = decimal(words, word)?;
                if direction.is_none() {
                    return Ok(all);
                }
            }
            Some(name @ ("egress" | "ingress")) if direction.is_none() => direction = Some(name),
            Some(name @ ("mirror" | "redirect")) if direction.is_some() && all.how == 0 => {
                let inward = if direction == Some("ingress") { 2 } else { 0 };
                (all.how, all.control) = if name == "redirect" { (1 + inward, control::STOLEN) } else { (2 + inward, control::PIPE) };
            }
            Some("dev") if all.how != 0 => {
                let name = words.value(word)?;
                let unknown = || WordsError::Bad(format!("mirred: there is no interface {name:?}"));
                all.link = ground.index(name).ok_or_else(unknown)?;
                break;
            }
            _ => return Err(words.unknown(word)),
        }
    }
    if all.link == 0 {
        return Err(WordsError::Bad("mirred needs where to, like mirred egress redirect dev eth1".into()));
    }
    let mirrors = all.how % 2 == 0;
    if mirrors && words.peek().is_some_and(control::is) {
        all.control = control::parse(words, false)?;
    }
    if words.peek().is_some_and(|word| pick(word, &["index"]).is_some()) {
        words.take();
        all.index = decimal(words, "index")?;
    }
    Ok(all)
}

/// What printing an action needs.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// `-d`
    pub details: bool,
    /// `-s`
    pub statistics: bool,
    /// `-p`
    pub pretty: bool,
    /// The scheduler's clock.
    pub clock: Clock,
    /// The name of a link.
    pub name: &'a dyn Fn(u32) -> String,
}

/// All actions of a filter as tc prints them.
pub fn show(actions: &[(u16, Action)], view: View<'_>) -> String {
    let one = |(order, action): &(u16, Action)| {
        let stats = action.stats.as_ref().filter(|_| view.statistics);
        let stats = stats.map(|stats| format!("\tAction statistics:\n{}\n", stats.show("\t"))).unwrap_or_default();
        format!("\n\taction order {order}: {}{stats}", action.act.show(view))
    };
    actions.iter().map(one).collect()
}

impl Act {
    fn show(&self, view: View<'_>) -> String {
        let end = |counts: (i32, i32), times: Option<Times>| {
            let times = times.filter(|_| view.statistics).map(Times::show).unwrap_or_default();
            format!(" ref {} bind {}{times}\n", counts.0, counts.1)
        };
        match self {
            Self::Police(police) => police.show(view.details, view.statistics, view.clock),
            Self::Gact(gact) => {
                let (kind, value, control) = gact.random.unwrap_or_default();
                let kind = ["none", "netrand", "determ"].get(usize::from(kind)).unwrap_or(&"none");
                let random = format!("\t random type {kind} {} val {value}", control::show(control));
                let end = end(gact.counts, gact.times);
                format!("gact action {}\n{random}\n\t index {}{end}", control::show(gact.control), gact.index)
            }
            Self::Mirred(mirred) => {
                let how = ["Egress Redirect", "Egress Mirror", "Ingress Redirect", "Ingress Mirror"];
                let how = usize::try_from(mirred.how - 1).ok().and_then(|n| how.get(n)).unwrap_or(&"unknown");
                let to = (view.name)(mirred.link);
                let (control, end) = (control::show(mirred.control), end(mirred.counts, mirred.times));
                format!("mirred ({how} to device {to}) {control}\n\tindex {}{end}", mirred.index)
            }
        }
    }
}
