//! `--atomic`: taking back what was done, last first.

use super::BatchOptions;
use super::work::{Before, Ended, Line, Work};
use crate::lifecycle::converge::replace_together;
use crate::lifecycle::detach::detach_together;
use crate::lifecycle::link::link_together;
use crate::lifecycle::together::Together;
use crate::lifecycle::{DetachOptions, LinkOptions, Options, Which};
use crate::model::pair::{EndWord, GuestIf, PairRequest};
use crate::model::record::Record;
use crate::model::report::Outcome;
use crate::model::request::GuestRef;
use crate::model::types::IfName;

/// What was done, in order.
#[derive(Default)]
pub(super) struct Done {
    steps: Vec<Back>,
}

/// How one line is taken back.
struct Back {
    number: usize,
    /// Interfaces that were made.
    made: Option<(GuestRef, IfName)>,
    /// Attachments that were there before.
    before: Before,
    options: Options,
}

impl Done {
    /// Notes what a line did.
    pub(super) fn note(&mut self, line: &Line, ended: &Ended, before: Before) {
        let options = match &line.work {
            Work::Attach { options, .. } | Work::Edit { options, .. } => (**options).clone(),
            Work::Detach { options, .. } => Options {
                run_dir: options.run_dir.clone(),
                state_dir: options.state_dir.clone(),
                ovsdb: options.ovsdb.clone(),
                ..Options::default()
            },
            Work::Link { options, .. } => Options { run_dir: options.run_dir.clone(), ..Options::default() },
        };
        let made = match (ended, ended.outcome(), &line.work) {
            (Ended::Attached(report), Outcome::Attached, Work::Attach { request, .. }) => {
                Some((request.guest.clone(), report.interface.clone()))
            }
            (Ended::Linked(_), Outcome::Attached, Work::Link { request, .. }) => {
                let [first, _] = &request.ends;
                Some((first.at.guest.clone(), first.at.interface.clone()))
            }
            (_, Outcome::Detached | Outcome::Changed, _) => None,
            _ => return,
        };
        self.steps.push(Back { number: line.number, made, before, options });
    }

    /// Takes all of it back. What could not be, in words.
    pub(super) fn undo(self, together: Together<'_>, batch: &BatchOptions) -> Vec<Result<(), String>> {
        self.steps.into_iter().rev().map(|step| step.undo(together, batch)).collect()
    }
}

impl Back {
    fn undo(self, together: Together<'_>, batch: &BatchOptions) -> Result<(), String> {
        let number = self.number;
        let failed = |chain: Vec<String>| format!("line {number}: not undone: {}", chain.join(": "));
        if let Some((guest, interface)) = self.made {
            let options = DetachOptions {
                which: Which::Interface(interface),
                run_dir: batch.run_dir.clone(),
                state_dir: self.options.state_dir.clone(),
                ovsdb: self.options.ovsdb.clone(),
                ..DetachOptions::default()
            };
            detach_together(&guest, &options, together, &mut |_| {}).map_err(|error| failed(error.chain()))?;
        }
        for record in &self.before.records {
            again(record, &self.before.mates, &self.options, together).map_err(failed)?;
        }
        Ok(())
    }
}

/// Makes an attachment again that was there before, or as it was.
fn again(record: &Record, mates: &[Record], options: &Options, together: Together<'_>) -> Result<(), Vec<String>> {
    let watch = &mut |_: crate::plan::execute::Event<'_>| {};
    let Some(mate) = &record.mate else {
        return replace_together(&record.request, options, together, watch).map(|_| ()).map_err(|error| error.chain());
    };
    let is_it = |other: &&Record| (other.guest.netns, &other.interface) == (mate.netns, &mate.interface);
    let Some(other) = mates.iter().find(is_it) else { return Err(vec!["its other end was not recorded".into()]) };
    let ends = [record, other].map(|record| EndWord {
        at: GuestIf { guest: record.guest.word.clone(), interface: record.interface.clone() },
        addr: record.request.addr.clone(),
    });
    let options = LinkOptions { run_dir: options.run_dir.clone(), ..LinkOptions::default() };
    let request = PairRequest { ends, mtu: record.request.settings.mtu };
    link_together(&request, &options, together, watch).map(|_| ()).map_err(|error| error.chain())
}
