//! `--route` and `--rule`: words of iproute2's. Here they are words only; what they mean is read by [`crate::iproute`].

use std::fmt;
use std::str::FromStr;

use crate::model::error::InputError;
use crate::model::types::serde_as_text;

/// The words behind `ip route add` or `ip rule add`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolWords(Vec<String>);

/// More words than any route has.
const MOST: usize = 128;

impl ToolWords {
    /// Words that have been read and found right.
    pub(crate) fn read(words: Vec<String>) -> Self {
        Self(words)
    }

    /// Each of them.
    pub fn words(&self) -> &[String] {
        &self.0
    }
}

impl FromStr for ToolWords {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        let refuse = |why: String| InputError::Setting { option: "--route, --rule", text: text.to_owned(), why };
        let words: Vec<String> = text.split_ascii_whitespace().map(str::to_owned).collect();
        if let Some(option) = words.iter().take_while(|word| word.starts_with('-')).find(|word| !matches!(word.as_str(), "-4" | "-6")) {
            return Err(refuse(format!("{option} cannot stand here: of `ip`'s options only -4 and -6 can")));
        }
        let first = words.iter().find(|word| !word.starts_with('-'));
        match first.map(String::as_str) {
            None => return Err(refuse("there are no words: give those that follow `ip route add` or `ip rule add`".into())),
            Some(verb @ ("add" | "append" | "prepend" | "replace" | "change" | "del" | "delete" | "show" | "get" | "flush")) => {
                return Err(refuse(format!("the words follow `add`: leave out {verb}")));
            }
            Some(_) => {}
        }
        if words.len() > MOST || !words.iter().all(|word| word.bytes().all(|b| b.is_ascii_graphic())) {
            return Err(refuse("there are too many words, or signs that no word has".into()));
        }
        Ok(Self(words))
    }
}

impl fmt::Display for ToolWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

serde_as_text!(ToolWords);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn words_are_those_behind_add() {
        assert_eq!(" 10.9.0.0/16  via 10.1.1.1 ".parse::<ToolWords>().unwrap().to_string(), "10.9.0.0/16 via 10.1.1.1");
        for text in ["", "  ", "-6", "add default via 10.1.1.1", "-6 del default", "default via \u{1b}"] {
            assert!(text.parse::<ToolWords>().is_err(), "{text:?}");
        }
    }
}
