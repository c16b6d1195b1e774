//! One line, and what becomes of it.

use std::path::Path;

use crate::kernel::herald::Heralds;
use crate::lifecycle::attach::{Attached, attach_together};
use crate::lifecycle::converge::replace_together;
use crate::lifecycle::detach::detach_together;
use crate::lifecycle::link::{Linked, link_together};
use crate::lifecycle::together::Together;
use crate::lifecycle::{AttachError, DetachOptions, Edit, LinkOptions, Options, edit, recording};
use crate::model::error::KernelError;
use crate::model::facts;
use crate::model::pair::PairRequest;
use crate::model::record::Record;
use crate::model::report::{DetachReport, Failure, LinkReport, Outcome, Report};
use crate::model::request::{AttachRequest, GuestRef};
use crate::model::types::IfName;

/// A line: what it asks for, and its number, for messages.
#[derive(Clone, Debug)]
pub struct Line {
    /// From 1 on.
    pub number: usize,
    /// What is to be done.
    pub work: Work,
}

/// What a line asks for.
#[derive(Clone, Debug)]
pub enum Work {
    /// `attach`
    Attach {
        /// What is asked.
        request: Box<AttachRequest>,
        /// How to go about it.
        options: Box<Options>,
        /// `--replace`
        replace: bool,
    },
    /// `attach GUEST --add ADDR --del ADDR`
    Edit {
        /// Whose.
        guest: GuestRef,
        /// Which interface; the only one when absent.
        interface: Option<IfName>,
        /// What is to change.
        edit: Edit,
        /// How to go about it.
        options: Box<Options>,
    },
    /// `detach`
    Detach {
        /// Whose.
        guest: GuestRef,
        /// How to go about it.
        options: Box<DetachOptions>,
    },
    /// `link`
    Link {
        /// What is asked.
        request: Box<PairRequest>,
        /// How to go about it.
        options: Box<LinkOptions>,
    },
}

/// What became of a line.
#[derive(Clone, Debug)]
pub enum Ended {
    /// It is attached, or was.
    Attached(Box<Report>),
    /// It is not attached any more, or never was.
    Detached(Box<DetachReport>),
    /// They are linked, or were.
    Linked(Box<LinkReport>),
    /// Nothing is left of it.
    Failed {
        /// Why.
        failure: Box<Failure>,
        /// The signal that ended it.
        interrupted: Option<&'static str>,
    },
}

impl Ended {
    /// In one word.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Attached(report) => report.result,
            Self::Detached(report) => report.result,
            Self::Linked(report) => report.result,
            Self::Failed { .. } => Outcome::Failed,
        }
    }

    /// The signal that ended it.
    pub(super) fn interrupted(&self) -> Option<&'static str> {
        if let Self::Failed { interrupted, .. } = self { *interrupted } else { None }
    }

    fn failed(whom: &str, error: &AttachError) -> Self {
        let interrupted = match error {
            AttachError::Execute(error) => match error.cause {
                KernelError::Interrupted(signal) => Some(signal),
                _ => None,
            },
            _ => None,
        };
        let failure = Box::new(Failure::new(whom, error.chain(), error.hint(), error.undone()));
        Self::Failed { failure, interrupted }
    }
}

impl Work {
    /// The guests that it is about.
    pub fn guests(&self) -> impl Iterator<Item = &GuestRef> {
        let (one, other) = match self {
            Self::Attach { request, .. } => (&request.guest, None),
            Self::Edit { guest, .. } | Self::Detach { guest, .. } => (guest, None),
            Self::Link { request, .. } => {
                let [first, second] = &request.ends;
                (&first.at.guest, Some(&second.at.guest))
            }
        };
        [one].into_iter().chain(other)
    }

    /// Whether it waits for others' answers, and so lets the kernel be idle.
    pub(super) fn waits(&self) -> bool {
        use crate::model::conflict::DadMode;
        matches!(self, Self::Attach { request, .. } if request.dynamic.is_some() || request.dad.mode != DadMode::Off)
    }

    pub(super) fn carry_out(&self, together: Together<'_>, heralds: &Heralds) -> Ended {
        let mut watch = |_: crate::plan::execute::Event<'_>| {};
        let attached = |attached: Result<Attached, AttachError>, guest: &GuestRef| match attached {
            Ok(Attached { report, announcement, .. }) => {
                announcement.into_iter().for_each(|announcement| heralds.add(announcement));
                Ended::Attached(Box::new(report))
            }
            Err(error) => Ended::failed(&guest.to_string(), &error),
        };
        match self {
            Self::Attach { request, options, replace: false } => {
                attached(attach_together(request, options, together, &mut watch), &request.guest)
            }
            Self::Attach { request, options, replace: true } => {
                attached(replace_together(request, options, together, &mut watch), &request.guest)
            }
            Self::Edit { guest, interface, edit: what, options } => {
                attached(edit(guest, interface.as_ref(), what, options, &mut watch), guest)
            }
            Self::Detach { guest, options } => match detach_together(guest, options, together, &mut watch) {
                Ok(report) => Ended::Detached(Box::new(report)),
                Err(error) => Ended::Failed {
                    failure: Box::new(Failure::new(&guest.to_string(), error.chain(), error.hint(), None)),
                    interrupted: None,
                },
            },
            Self::Link { request, options } => match link_together(request, options, together, &mut watch) {
                Ok(Linked { report, .. }) => Ended::Linked(Box::new(report)),
                Err(error) => {
                    let [first, second] = request.ends.each_ref().map(|end| end.at.to_string());
                    Ended::failed(&format!("{first} {second}"), &error)
                }
            },
        }
    }
}

/// What was recorded of a line's guests before it was done, for `--atomic`.
#[derive(Clone, Debug, Default)]
pub(super) struct Before {
    pub(super) records: Vec<Record>,
    /// The other ends of those that are links.
    pub(super) mates: Vec<Record>,
}

impl Before {
    pub(super) fn look(line: &Line, together: Together<'_>, run_dir: &Path) -> Self {
        let Ok(records) = recording::records(run_dir) else { return Self::default() };
        let held = line.work.guests().filter_map(|guest| together.hold(guest).ok());
        let all = held.filter_map(|held| records.of_guest(held.id.netns).ok()).flat_map(|found| found.all);
        let is_about = |record: &Record| match &line.work {
            Work::Attach { request, .. } => record.interface == facts::guest_if(request),
            Work::Edit { .. } | Work::Detach { .. } => true,
            Work::Link { request, .. } => request.ends.iter().any(|end| end.at.interface == record.interface),
        };
        let all: Vec<Record> = all.filter(is_about).collect();
        let mate = |record: &Record| records.get(record.mate.as_ref()?.netns, &record.mate.as_ref()?.interface).ok()?.ok()?;
        Self { mates: all.iter().filter_map(mate).collect(), records: all }
    }
}
