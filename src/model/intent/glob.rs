//! Patterns of names: `*` is any text, `?` any one character, and all else itself.

/// A pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob(Vec<char>);

impl Glob {
    pub(super) fn new(pattern: &str) -> Self {
        Self(pattern.chars().collect())
    }

    /// Whether it is the text. The last `*` alone is tried again, so that no pattern takes longer than its length times the text's.
    pub(super) fn is(&self, text: &str) -> bool {
        let (pattern, text): (&[char], Vec<char>) = (&self.0, text.chars().collect());
        let (mut p, mut t, mut again) = (0, 0, None);
        while let Some(c) = text.get(t) {
            match (pattern.get(p), again) {
                (Some('*'), _) => {
                    again = Some((p, t));
                    p += 1;
                }
                (Some(one), _) if *one == '?' || one == c => (p, t) = (p + 1, t + 1),
                (_, Some((star, from))) => {
                    again = Some((star, from + 1));
                    (p, t) = (star + 1, from + 1);
                }
                (_, None) => return false,
            }
        }
        pattern.iter().skip(p).all(|rest| *rest == '*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stars_and_question_marks_are_what_they_are_in_a_shell() {
        for (pattern, text, wanted) in [
            ("web", "web", true),
            ("web", "web1", false),
            ("web*", "web", true),
            ("*web", "a-web", true),
            ("a*b*c", "axxbyybzc", true),
            ("a*b*c", "axxbyybz", false),
            ("w?b", "web", true),
            ("w?b", "wb", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a**", "a", true),
            ("[ab]", "a", false),
            ("shop/*", "shop/a/b:1", true),
        ] {
            assert_eq!(Glob::new(pattern).is(text), wanted, "{pattern} {text}");
        }
        assert!(!Glob::new(&"a*".repeat(500)).is(&"a".repeat(5000).replace('a', "b")));
    }

    /// The same by its definition.
    fn plain(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, _) => text.is_empty(),
            (Some(('*', rest)), _) => (0..=text.len()).any(|skip| plain(rest, &text[skip..])),
            (Some((one, rest)), Some((c, others))) => (*one == '?' || one == c) && plain(rest, others),
            (Some(_), None) => false,
        }
    }

    proptest! {
        #[test]
        fn it_is_what_its_definition_says(pattern in "[ab*?]{0,8}", text in "[ab]{0,8}") {
            let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
            prop_assert_eq!(Glob::new(&pattern).is(&text), plain(&p, &t));
        }
    }
}
