//! What the daemon's threads tell the one that decides.

use std::collections::BTreeSet;

use crate::guest::containers::News;
use crate::kernel::ears::Heard;

use super::rules::Intents;
use super::work::{Done, Told};

/// One thing that a thread tells.
pub enum Message {
    /// An engine, by its number, tells something.
    News(usize, News),
    /// The connection to an engine is lost, or there was none; why.
    Lost(usize, String),
    /// An engine is not there, and nobody asked for it.
    Absent(usize),
    /// Something was heard in a guest, or on the host.
    Heard(Heard),
    /// The work knows what the guest is to have: its engine is asked no more.
    Read(u64),
    /// Something came of a want; the work goes on.
    Told(u64, Told),
    /// The work at a guest has ended.
    Done(u64, Box<Done>),
    /// The service manager is to be told that the daemon is alive.
    Alive,
    /// What was said to the whole cluster is this from now on.
    Intents(Box<Intents>),
    /// Guests are to be looked at again: of these namespaces, or all.
    Again(Option<BTreeSet<u64>>),
    /// A signal came.
    Signal(&'static str),
}
