//! A value's words: split as a shell splits them, and only then filled in where a template stands. So what is filled in never
//! becomes another word, and never an option.

use super::is_hidden;
use super::template::{Language, Template, Values};

/// The longest value in bytes.
const LONGEST: usize = 4096;

/// A word with what is still to be filled in.
type Word = Vec<Piece>;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Template(Template),
}

/// The words of a value, filled in.
pub(super) fn words(text: &str, language: Language, values: &Values<'_>) -> Result<Vec<String>, String> {
    if text.len() > LONGEST {
        return Err(format!("it has {} bytes: {LONGEST} are the most", text.len()));
    }
    if let Some(bad) = text.chars().find(|c| is_hidden(*c) && !is_space(*c)) {
        return Err(format!("it has {bad:?} in it, which is no character of a word"));
    }
    let words = Splitter { rest: text, language, words: Vec::new(), word: None }.split()?;
    if words.is_empty() {
        return Err("it has no words: give HOSTIF and ADDR, like br0 192.168.1.10/24".into());
    }
    let words: Vec<String> = words.iter().map(|word| filled(word, values)).collect::<Result<_, _>>()?;
    let length: usize = words.iter().map(String::len).sum();
    if length > LONGEST { Err(format!("filled in it has {length} bytes: {LONGEST} are the most")) } else { Ok(words) }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

/// What is not read yet, and what was.
struct Splitter<'a> {
    rest: &'a str,
    language: Language,
    words: Vec<Word>,
    /// The word that is being read; an empty pair of quotes makes one, too.
    word: Option<Word>,
}

impl Splitter<'_> {
    /// Quotes and backslashes are the shell's (POSIX.1-2017, Shell Command Language, 2.2), and nothing else of it.
    fn split(mut self) -> Result<Vec<Word>, String> {
        let mut quote = None;
        while let Some(c) = self.rest.chars().next() {
            if let Some((template, rest)) = self.language.template(self.rest)? {
                self.word.get_or_insert_default().push(Piece::Template(template));
                self.rest = rest;
                continue;
            }
            self.skip(c);
            match (quote, c) {
                (None, '\'' | '"') => {
                    quote = Some(c);
                    self.word.get_or_insert_default();
                }
                (Some(open), _) if c == open => quote = None,
                (None, '\\') => self.escaped(None)?,
                (Some('"'), '\\') => self.escaped(Some("\"\\$`"))?,
                (None, _) if is_space(c) => self.words.extend(self.word.take()),
                _ => self.push(c),
            }
        }
        if let Some(quote) = quote {
            return Err(format!("the quotation mark {quote} is not closed"));
        }
        self.words.extend(self.word.take());
        Ok(self.words)
    }

    fn skip(&mut self, c: char) {
        self.rest = self.rest.get(c.len_utf8()..).unwrap_or_default();
    }

    /// The character behind a backslash; where only some can be escaped, the backslash before another one is itself.
    fn escaped(&mut self, only: Option<&str>) -> Result<(), String> {
        let Some(c) = self.rest.chars().next() else { return Err("what its last \\ is for is missing".into()) };
        if only.is_some_and(|only| !only.contains(c)) {
            self.push('\\');
            return Ok(());
        }
        self.skip(c);
        self.push(c);
        Ok(())
    }

    fn push(&mut self, c: char) {
        let word = self.word.get_or_insert_default();
        match word.last_mut() {
            Some(Piece::Text(text)) => text.push(c),
            _ => word.push(Piece::Text(c.into())),
        }
    }
}

fn filled(word: &Word, values: &Values<'_>) -> Result<String, String> {
    let mut text = String::new();
    for piece in word {
        match piece {
            Piece::Text(literal) => text.push_str(literal),
            Piece::Template(template) => text.push_str(&values.of(template)?),
        }
    }
    let literal = match word.first() {
        Some(Piece::Text(literal)) => literal.as_str(),
        _ => "",
    };
    if word.iter().any(|piece| matches!(piece, Piece::Template(_))) && text.starts_with('-') && !names_option(literal) {
        return Err(format!(
            "{text:?} would be an option by what a template says: write the option itself, like --mtu={{{{.Label \"mtu\"}}}}"
        ));
    }
    Ok(text)
}

/// Whether an option's name is all there before the first template: `--mtu=`, `-i`.
fn names_option(literal: &str) -> bool {
    match literal.strip_prefix("--") {
        Some(long) => long.contains('='),
        None => literal.strip_prefix('-').is_some_and(|short| !short.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::intent::{Container, Host};
    use proptest::prelude::*;

    fn container(label: &str) -> Container {
        let labels = [("x".to_owned(), label.to_owned())].into();
        Container { name: "shop-web-3".into(), id: "0123456789abcdef".into(), hostname: "web".into(), labels, ..Container::default() }
    }

    fn read(text: &str, label: &str) -> Result<Vec<String>, String> {
        let (container, host) = (container(label), Host::default());
        words(text, Language::Braces, &Values { container: &container, host: &host })
    }

    #[test]
    fn words_are_split_as_a_shell_splits_them() {
        for (text, wanted) in [
            ("br0 10.0.0.2/24", vec!["br0", "10.0.0.2/24"]),
            ("  br0\t10.0.0.2/24\n", vec!["br0", "10.0.0.2/24"]),
            ("a 'b c' \"d 'e\" f\\ g", vec!["a", "b c", "d 'e", "f g"]),
            (r#"a"b"'c' "\"\$\x" '\'"#, vec!["abc", r#""$\x"#, "\\"]),
            ("a '' \"\"", vec!["a", "", ""]),
            ("a #b $(id) `id` ;|&", vec!["a", "#b", "$(id)", "`id`", ";|&"]),
            ("{ {.Name } }}", vec!["{", "{.Name", "}", "}}"]),
        ] {
            assert_eq!(read(text, "").unwrap(), wanted, "{text}");
        }
        for text in ["", " \n", "a 'b", "a \"b", "a \\", "a\0", "a \u{1b}[2J", "a\u{202e}", "{{.Name", "{{}}"] {
            assert!(read(text, "").is_err(), "{text:?}");
        }
        assert!(read(&"a ".repeat(3000), "").unwrap_err().contains("6000 bytes"));
        assert!(read(&"{{.Label `x`}} ".repeat(200), &"y".repeat(200)).unwrap_err().contains("40000 bytes"));
    }

    #[test]
    fn what_a_template_says_is_one_word_whatever_it_says() {
        for value in ["10.0.0.2/24 --direct-phys", "'", "a\\ b", "{{.Name}}", "$(id)"] {
            assert_eq!(read("br0 {{ .Label \"x\" }}", value).unwrap(), ["br0", value], "{value}");
            assert_eq!(read("br0 '{{.Label `x`}}'y", value).unwrap(), ["br0".into(), format!("{value}y")], "{value}");
        }
        assert!(read("br0 {{.Label \"x\"}}", "a\nb").is_err() && read("br0 {{.Label \"x\"}}", &"a".repeat(256)).is_err());
    }

    #[test]
    fn a_template_never_makes_an_option() {
        for text in ["{{.Label \"x\"}}", "'{{.Label \"x\"}}'", "''{{.Label \"x\"}}"] {
            assert!(read(text, "--direct-phys").unwrap_err().contains("would be an option"), "{text}");
            assert!(read(text, "-i").is_err(), "{text}");
        }
        for text in ["-{{.Label \"x\"}}", "--{{.Label \"x\"}}", "--direct-{{.Label \"x\"}}", "\\-{{.Label \"x\"}}"] {
            assert!(read(text, "phys").is_err(), "{text}");
        }
        assert_eq!(read("--mtu={{.Label \"x\"}} -i{{.Label \"x\"}} a-{{.Label \"x\"}}", "-5").unwrap(), ["--mtu=-5", "-i-5", "a--5"]);
    }

    proptest! {
        #[test]
        fn words_without_templates_are_read_as_they_were_quoted(all in proptest::collection::vec("[^\\p{C}\\p{Z}{]{0,8}", 1..6)) {
            let text = shlex::try_join(all.iter().map(String::as_str)).unwrap();
            prop_assert_eq!(read(&text, "").unwrap(), all);
        }

        #[test]
        fn a_label_s_value_stays_one_word_and_no_option(value in "(?s).{1,60}", before in "[-a-z=]{0,4}") {
            let text = format!("br0 {before}{{{{.Label \"x\"}}}} end");
            if let Ok(words) = read(&text, &value) {
                let literal = read(&format!("br0 {before}y end"), "").unwrap();
                prop_assert_eq!(words.len(), literal.len());
                prop_assert_eq!(&words[1], &format!("{before}{value}"));
                prop_assert!(!words[1].starts_with('-') || names_option(&before));
            }
        }

        #[test]
        fn any_text_is_words_or_an_error(text in "(?s)([-'\"\\\\ {}.a-zL@]|\\PC|.){0,80}") {
            let _ = read(&text, "y");
        }
    }
}
