//! A step in the words of `ip route`, `ip rule` or `tc`: what those words do, and the words that take it back.

use serde::{Deserialize, Serialize};

use crate::model::command::quoted;
use crate::model::types::Side;

/// Whose words they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tool {
    /// `ip route`
    Route,
    /// `ip rule`
    Rule,
    /// `tc`
    Tc,
}

/// Words that change one thing. The kernel is told by netlink; the installed program is never asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolStep {
    /// On which side.
    pub side: Side,
    /// Whose words.
    pub tool: Tool,
    /// The words behind the program's name, as in `add 10.9.0.0/16 via 10.1.1.1 dev eth1`; `-6` may stand first.
    pub words: Vec<String>,
    /// The words that take it back; none when that is not wanted, or is this step's own purpose.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub back: Vec<String>,
}

impl ToolStep {
    /// A step of lines of words, in the guest.
    pub fn guest(tool: Tool, words: &str, back: &str) -> Self {
        let split = |line: &str| line.split_ascii_whitespace().map(str::to_owned).collect();
        Self { side: Side::Guest, tool, words: split(words), back: split(back) }
    }

    /// What takes it back.
    pub fn undo(&self) -> Option<Self> {
        (!self.back.is_empty()).then(|| Self { words: self.back.clone(), back: Vec::new(), ..self.clone() })
    }

    /// What takes it back, as a step that can be taken back itself.
    #[must_use]
    pub fn reversed(&self) -> Self {
        Self { words: self.back.clone(), back: self.words.clone(), ..self.clone() }
    }

    /// Options of `ip` that stand first, and the other words, each as a word of a shell.
    pub(in crate::model) fn parts(&self) -> (String, String) {
        let is_option = |word: &&String| word.starts_with('-');
        let options: Vec<String> = self.words.iter().take_while(is_option).map(|word| format!(" {}", quoted(word))).collect();
        let rest: Vec<String> = self.words.iter().skip_while(is_option).map(|word| quoted(word)).collect();
        (options.concat(), rest.join(" "))
    }

    /// Whether it takes something away.
    pub(in crate::model) fn is_undo(&self) -> bool {
        self.words.iter().any(|word| word == "del")
    }
}
