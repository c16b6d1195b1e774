//! What works beside the daemon, on threads of its own, and tells it what to do: a cluster's agent.

use std::collections::BTreeSet;
use std::sync::mpsc::SyncSender;

use super::message::Message;
pub use super::rules::Intents;

/// Begins the work, before the daemon looks at any guest. What it returns is dropped when the daemon has ended its own.
pub type Begin = Box<dyn FnOnce(Bell) -> std::io::Result<Box<dyn Send>>>;

/// The way to the daemon.
#[derive(Clone, Debug)]
pub struct Bell {
    tell: SyncSender<Message>,
}

impl Bell {
    pub(super) fn new(tell: SyncSender<Message>) -> Self {
        Self { tell }
    }

    /// What was said to the whole cluster is this from now on. `false`: the daemon has ended.
    pub fn intents(&self, intents: Intents) -> bool {
        self.tell.send(Message::Intents(Box::new(intents))).is_ok()
    }

    /// All guests are looked at again. `false`: the daemon has ended.
    pub fn all_again(&self) -> bool {
        self.tell.send(Message::Again(None)).is_ok()
    }

    /// The guests of these namespaces are looked at again. `false`: the daemon has ended.
    pub fn again(&self, netns: BTreeSet<u64>) -> bool {
        self.tell.send(Message::Again(Some(netns))).is_ok()
    }
}
