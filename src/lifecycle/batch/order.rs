//! What may be done at the same time: lines of one verb that stand together and have no guest in common.

use std::collections::HashMap;

use super::{Guest, Line};
use crate::model::request::GuestRef;

/// Lines of one verb that stand together. A line of another verb begins when all before it have ended: what a detach gives up, an
/// attach behind it may take.
#[derive(Debug, Default)]
pub(super) struct Phase {
    /// Places of lines; those of one chain have guests in common, and are done in their order.
    chains: Vec<Vec<usize>>,
}

impl Phase {
    pub(super) fn chain(&self, n: usize) -> Option<&[usize]> {
        self.chains.get(n).map(Vec::as_slice)
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = usize> + '_ {
        self.chains.iter().flatten().copied()
    }

    pub(super) fn len(&self) -> usize {
        self.chains.len()
    }
}

/// All phases, in order. `netns` tells the number of a guest's namespace.
pub(super) fn phases(lines: &[Line], netns: impl Fn(&GuestRef) -> Option<u64>) -> Vec<Phase> {
    let mut phases = Vec::new();
    let mut first = 0;
    while first < lines.len() {
        let verb = |line: &Line| std::mem::discriminant(&line.work);
        let length = lines[first..].iter().take_while(|line| verb(line) == verb(&lines[first])).count();
        phases.push(phase(lines, first..first + length, &netns));
        first += length;
    }
    phases
}

fn phase(lines: &[Line], range: std::ops::Range<usize>, netns: impl Fn(&GuestRef) -> Option<u64>) -> Phase {
    // Which chain a guest is in. Where a line has guests of two chains, the later becomes part of the earlier.
    let mut chain_of: HashMap<Guest, usize> = HashMap::new();
    let mut chains: Vec<Vec<usize>> = Vec::new();
    let mut joined: Vec<usize> = Vec::new();
    let root = |joined: &[usize], mut chain: usize| {
        while let Some(next) = joined.get(chain).filter(|next| **next != chain) {
            chain = *next;
        }
        chain
    };
    for n in range {
        let Some(line) = lines.get(n) else { continue };
        let keys = line.work.guests().map(|guest| netns(guest).map_or_else(|| Guest::Word(guest.to_string()), Guest::Netns));
        let keys: Vec<Guest> = keys.collect();
        let old: Vec<usize> = keys.iter().filter_map(|key| chain_of.get(key)).map(|chain| root(&joined, *chain)).collect();
        let chain = old.iter().min().copied().unwrap_or_else(|| {
            chains.push(Vec::new());
            joined.push(joined.len());
            chains.len() - 1
        });
        for other in old.into_iter().filter(|other| *other != chain) {
            let moved = chains.get_mut(other).map(std::mem::take).unwrap_or_default();
            if let Some(target) = chains.get_mut(chain) {
                target.extend(moved);
                target.sort_unstable();
            }
            if let Some(place) = joined.get_mut(other) {
                *place = chain;
            }
        }
        if let Some(target) = chains.get_mut(chain) {
            target.push(n);
        }
        keys.into_iter().for_each(|key| {
            chain_of.insert(key, chain);
        });
    }
    chains.retain(|chain| !chain.is_empty());
    Phase { chains }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::Work;
    use super::*;
    use crate::lifecycle::{DetachOptions, LinkOptions, Options};
    use crate::model::pair::PairRequest;
    use crate::model::request::AttachRequest;

    fn attach(guest: &str) -> Work {
        let request = AttachRequest::new("br0".parse().unwrap(), guest.parse().unwrap(), "0/0".parse().unwrap());
        Work::Attach { request: Box::new(request), options: Box::new(Options::default()), replace: false }
    }

    fn detach(guest: &str) -> Work {
        Work::Detach { guest: guest.parse().unwrap(), options: Box::new(DetachOptions::default()) }
    }

    fn link(one: &str, other: &str) -> Work {
        let request = PairRequest { ends: [one.parse().unwrap(), other.parse().unwrap()], mtu: None };
        Work::Link { request: Box::new(request), options: Box::new(LinkOptions::default()) }
    }

    fn ordered(works: Vec<Work>) -> Vec<Vec<Vec<usize>>> {
        let lines: Vec<Line> = works.into_iter().enumerate().map(|(n, work)| Line { number: n + 1, work }).collect();
        // `same` is another word for `a`.
        let netns = |guest: &GuestRef| match guest.to_string().as_str() {
            "a" | "same" => Some(7),
            _ => None,
        };
        phases(&lines, netns).into_iter().map(|phase| phase.chains).collect()
    }

    #[test]
    fn guests_are_done_at_the_same_time_and_lines_of_one_in_their_order() {
        assert_eq!(ordered(vec![attach("a"), attach("b"), attach("same"), attach("b")]), [vec![vec![0, 2], vec![1, 3]]]);
    }

    #[test]
    fn another_verb_waits_for_all_before_it() {
        let all = ordered(vec![attach("a"), attach("b"), detach("a"), attach("c")]);
        assert_eq!(all, [vec![vec![0], vec![1]], vec![vec![2]], vec![vec![3]]]);
    }

    #[test]
    fn links_make_chains_of_all_guests_that_they_join() {
        let all = ordered(vec![link("a", "b"), link("c", "d"), link("e", "f"), link("b", "c"), link("f", "e")]);
        assert_eq!(all, [vec![vec![0, 1, 3], vec![2, 4]]]);
    }

    #[test]
    fn nothing_is_no_phase() {
        assert!(ordered(Vec::new()).is_empty());
    }
}
