//! Attachments, links and what is taken away, one after another.

use crate::lifecycle::{AttachError, Attached, DetachError, DetachOptions, LinkOptions, Linked, Options, detach, link, replace};
use crate::model::error::KernelError;
use crate::model::pair::PairRequest;
use crate::model::report::DetachReport;
use crate::model::request::{AttachRequest, GuestRef};
use crate::plan::execute::Event;

/// Something that is to be done.
#[derive(Clone, Debug)]
pub enum Item {
    /// An interface is made as asked.
    Attach(Box<(AttachRequest, Options)>),
    /// Two guests are linked.
    Link(Box<(PairRequest, LinkOptions)>),
    /// An interface is taken away.
    Detach(Box<(GuestRef, DetachOptions)>),
}

/// What came of it.
pub enum Came {
    /// Of an attachment.
    Attached(Box<Result<Attached, AttachError>>),
    /// Of a link.
    Linked(Box<Result<Linked, AttachError>>),
    /// Of what was to be taken away.
    Detached(Box<Result<DetachReport, DetachError>>),
}

impl Came {
    /// The signal that ended it before it was done.
    fn interrupted(&self) -> Option<&'static str> {
        match self {
            Self::Attached(ended) => ended.as_ref().as_ref().err().and_then(interrupted),
            Self::Linked(ended) => ended.as_ref().as_ref().err().and_then(interrupted),
            Self::Detached(_) => None,
        }
    }
}

/// The signal that asked to stop, when that is why.
pub(super) fn interrupted(error: &AttachError) -> Option<&'static str> {
    match error {
        AttachError::Execute(error) => match error.cause {
            KernelError::Interrupted(signal) => Some(signal),
            _ => None,
        },
        _ => None,
    }
}

/// Does all of it; one that fails keeps none of the others from being done, but a signal that asks to stop does. `tell` hears of
/// each as it ends, by its place in the list.
pub fn carry_out(items: Vec<Item>, tell: &mut dyn FnMut(usize, Came), watch: &mut dyn FnMut(Event<'_>)) {
    for (index, item) in items.into_iter().enumerate() {
        let came = match item {
            Item::Attach(job) => Came::Attached(Box::new(replace(&job.0, &job.1, watch))),
            Item::Link(job) => Came::Linked(Box::new(link(&job.0, &job.1, watch))),
            Item::Detach(job) => Came::Detached(Box::new(detach(&job.0, &job.1, watch))),
        };
        let stop = came.interrupted().is_some();
        tell(index, came);
        if stop {
            return;
        }
    }
}
