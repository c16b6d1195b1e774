//! `tc qdisc`, `tc class` and `tc filter` (tc(8)): words to what is asked, and what the kernel has to text.
//!
//! The same structures hold what the words ask for and what the kernel tells: values as the kernel counts them.

pub mod action;
pub mod bucket;
pub mod class;
pub mod clock;
pub mod control;
pub mod fifo;
pub mod filter;
pub mod flower;
pub mod fq;
pub mod fq_codel;
pub mod grammar;
pub mod htb;
pub mod ids;
pub mod matchall;
pub mod netem;
pub mod own;
pub mod police;
pub mod prio;
pub mod qdisc;
pub mod selector;
pub mod sfq;
pub mod stats;
pub mod tbf;
pub mod u32;
pub mod units;

pub use action::View;
pub use class::Class;
pub use clock::Clock;
pub use filter::Filter;
pub use grammar::Ground;
pub use qdisc::Qdisc;

use grammar::pick;

use super::{Words, WordsError};

/// Where something is: `struct tcmsg` (linux/rtnetlink.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Index of the link.
    pub index: u32,
    /// Its own number.
    pub handle: u32,
    /// The number of what it hangs on.
    pub parent: u32,
    /// Of filters priority and protocol, of qdiscs a count, of classes the qdisc below.
    pub info: u32,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Make; it must not be there.
    Add,
    /// Change what is there.
    Change,
    /// Make or change.
    Replace,
    /// Take the place of what is there (qdiscs only).
    Link,
    /// Remove.
    Delete,
}

/// A command.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Change a qdisc.
    Qdisc(Verb, Box<Qdisc>),
    /// Change a class.
    Class(Verb, Box<Class>),
    /// Change a filter.
    Filter(Verb, Box<Filter>),
    /// Print.
    Show(Object, Show),
}

/// What there is a list of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// Queueing disciplines.
    Qdisc,
    /// Classes.
    Class,
    /// Filters.
    Filter,
}

/// What is to be printed; what is 0 does not matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Show {
    /// Of a link.
    pub index: u32,
    /// Below something.
    pub parent: u32,
    /// With a number.
    pub handle: u32,
    /// Classes of a qdisc.
    pub qdisc: u32,
    /// Filters of a priority and a protocol.
    pub info: u32,
    /// Filters of a chain.
    pub chain: Option<u32>,
}

/// The options in front of the object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `-d`
    pub details: bool,
    /// `-s`
    pub statistics: bool,
    /// `-p`
    pub pretty: bool,
}

/// All words of a command.
///
/// # Errors
/// A word that is not known here, or one that is wrong whichever tc reads it.
pub fn parse(words: &[String], ground: &dyn Ground) -> Result<(Options, Command), WordsError> {
    let mut words = Words::new(words, "tc");
    let mut options = Options::default();
    while let Some(word) = words.peek().filter(|word| word.starts_with('-')) {
        words.take();
        match pick(word, &["-stats", "-statistics", "-details", "-raw", "-pretty"]).filter(|_| word.len() > 1) {
            Some("-stats" | "-statistics") => options.statistics = true,
            Some("-details") => options.details = true,
            Some("-pretty") => options.pretty = true,
            _ => return Err(words.unknown(word)),
        }
    }
    let word = words.take().ok_or_else(|| WordsError::Bad("say qdisc, class or filter, like qdisc show".into()))?;
    let object = match pick(word, &["qdisc", "class", "filter", "chain", "actions"]) {
        Some("qdisc") => Object::Qdisc,
        Some("class") => Object::Class,
        Some("filter") => Object::Filter,
        _ => return Err(words.unknown(word)),
    };
    Ok((options, command(object, &mut words, ground)?))
}

fn command(object: Object, words: &mut Words<'_>, ground: &dyn Ground) -> Result<Command, WordsError> {
    let place = ["qdisc", "class", "filter"][object as usize];
    let word = words.take().unwrap_or("show");
    let mut words = words.clone().at(place);
    let verb = match pick(word, &["add", "change", "replace", "link", "delete", "get", "list", "show", "lst", "help"]) {
        Some("add") => Verb::Add,
        Some("change") => Verb::Change,
        Some("replace") => Verb::Replace,
        Some("link") if object == Object::Qdisc => Verb::Link,
        // `l` is `link` only where there is such a verb.
        Some("link") if word != "l" && word != "li" => return Err(words.unknown(word)),
        Some("delete") => Verb::Delete,
        Some("list" | "show" | "lst" | "link") => {
            let show = match object {
                Object::Qdisc => qdisc::parse_show(&mut words, ground)?,
                Object::Class => class::parse_show(&mut words, ground)?,
                Object::Filter => filter::parse_show(&mut words, ground)?,
            };
            return Ok(Command::Show(object, show));
        }
        _ => return Err(words.unknown(word)),
    };
    Ok(match object {
        Object::Qdisc => Command::Qdisc(verb, Box::new(Qdisc::parse(&mut words, ground)?)),
        Object::Class => Command::Class(verb, Box::new(Class::parse(&mut words, ground)?)),
        Object::Filter => Command::Filter(verb, Box::new(Filter::parse(&mut words, verb, ground)?)),
    })
}

/// The index of the link that is named; 0 without one, which the kernel refuses where it needs one.
fn index(dev: Option<&str>, ground: &dyn Ground) -> Result<u32, WordsError> {
    let Some(name) = dev else { return Ok(0) };
    ground.index(name).ok_or_else(|| WordsError::Bad(format!("there is no interface {name:?}")))
}

/// What `-s` adds to a qdisc or a class.
fn show_stats(stats: Option<&stats::Stats>, own: Option<&own::Own>, view: View<'_>) -> String {
    if !view.statistics {
        return String::new();
    }
    let stats = stats.map(|stats| format!("{}\n", stats.show(" "))).unwrap_or_default();
    let own = own.map(|own| format!("{}\n", own.show())).unwrap_or_default();
    stats + &own
}
