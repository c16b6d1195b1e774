//! What came of a topology: what `apply --json` prints.

use serde::Serialize;

use crate::model::difference::Difference;
use crate::model::report::{Outcome, SCHEMA, Step, Undone};

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A guest.
    Guest,
    /// A bridge of the host.
    Bridge,
    /// A guest's interface.
    Attachment,
    /// A link between two guests.
    Link,
}

impl Kind {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::Bridge => "bridge",
            Self::Attachment => "attachment",
            Self::Link => "link",
        }
    }
}

/// What was done with it, or would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Nothing: it is so already.
    None,
    /// It was made.
    Create,
    /// It was made as asked.
    Change,
    /// It was taken away.
    Remove,
    /// Nothing is known, or was done: it failed, or what it depends on did.
    Failed,
}

/// One object of a topology, and what came of it.
#[derive(Clone, Debug, Serialize)]
pub struct ObjectReport {
    /// Version of this document ([`SCHEMA`]).
    pub schema: u32,
    /// What it is.
    pub kind: Kind,
    /// Which: `netns:web`, `br1`, `eth1 of web`, `web:eth1 db:eth1`.
    pub name: String,
    /// What was done, or would be with `planned`.
    pub action: Action,
    /// How it ended.
    pub result: Outcome,
    /// What is, or was, not as described.
    pub differences: Vec<Difference>,
    /// What was done, step by step.
    pub steps: Vec<Step>,
    /// What the user should know although it went well.
    pub warnings: Vec<String>,
    /// Why it failed, outermost first.
    pub error: Vec<String>,
    /// What to do about that.
    pub hint: Option<String>,
    /// How much of it was taken back.
    pub undone: Option<Undone>,
}

impl ObjectReport {
    /// An object of which nothing is known yet but what is done with it.
    pub fn new(kind: Kind, name: String, action: Action, result: Outcome) -> Self {
        let (differences, steps, warnings, error) = Default::default();
        Self { schema: SCHEMA, kind, name, action, result, differences, steps, warnings, error, hint: None, undone: None }
    }

    /// An object that failed.
    pub fn failed(kind: Kind, name: String, error: Vec<String>, hint: Option<String>) -> Self {
        Self { error, hint, ..Self::new(kind, name, Action::Failed, Outcome::Failed) }
    }
}

/// How many objects each came to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// Made, or to be made.
    pub created: usize,
    /// Changed.
    pub changed: usize,
    /// Taken away.
    pub removed: usize,
    /// As they were.
    pub unchanged: usize,
    /// Not done.
    pub failed: usize,
}

impl Count {
    /// One object more.
    pub fn add(&mut self, action: Action) {
        *match action {
            Action::None => &mut self.unchanged,
            Action::Create => &mut self.created,
            Action::Change => &mut self.changed,
            Action::Remove => &mut self.removed,
            Action::Failed => &mut self.failed,
        } += 1;
    }

    /// How many are, or were, not as described.
    pub fn differing(&self) -> usize {
        self.created + self.changed + self.removed
    }
}

/// What came of the whole: the last document.
#[derive(Clone, Debug, Serialize)]
pub struct ApplyReport {
    /// Version of this document ([`SCHEMA`]).
    pub schema: u32,
    /// The topology's name.
    pub topology: String,
    /// `changed`, `unchanged`, `planned` or `failed`.
    pub result: Outcome,
    /// How many objects.
    #[serde(flatten)]
    pub count: Count,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// Time from start to end in microseconds.
    pub elapsed_us: u64,
}
