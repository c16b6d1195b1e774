//! What may stand behind `/v1/events?`.

use super::super::board::Since;

/// Which events are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct EventQuery {
    /// Those to come, too.
    pub(super) follow: bool,
    /// What is known already.
    pub(super) since: Since,
}

impl EventQuery {
    /// Reads it strictly: a word that is mistyped would give another answer than is thought.
    pub(super) fn parse(query: Option<&str>) -> Result<Self, String> {
        let mut parsed = Self::default();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode(value)?;
            match (name, value.as_str()) {
                ("follow", "1" | "true" | "") => parsed.follow = true,
                ("follow", "0" | "false") => parsed.follow = false,
                ("since", since) => parsed.since = since.parse()?,
                ("follow", other) => return Err(format!("follow={other:?}: give 1 or 0")),
                (other, _) => return Err(format!("{other:?} is not known: give follow=1, since=NUMBER or since=TIME")),
            }
        }
        Ok(parsed)
    }
}

/// Without `%3A` and the like. A plus is one: times have it.
fn decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16)).and_then(|digit| u8::try_from(digit).ok());
        match (digit(), digit()) {
            (Some(high), Some(low)) => bytes.push(high << 4 | low),
            _ => return Err(format!("{text:?}: two hexadecimal digits are to follow %")),
        }
    }
    String::from_utf8(bytes).map_err(|_| format!("{text:?} is no UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_query_is_understood_or_refused(text in "\\PC{0,200}|(since|follow)=[%0-9a-fA-F&=+:TZ-]{0,60}") {
            if let Err(why) = EventQuery::parse(Some(&text)) {
                prop_assert!(!why.is_empty());
            }
        }

        #[test]
        fn what_was_encoded_is_decoded(text in "\\PC{0,100}") {
            let encoded: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
            prop_assert_eq!(decode(&encoded), Ok(text));
        }
    }

    #[test]
    fn a_query_is_read_strictly() {
        let parse = |text| EventQuery::parse(Some(text));
        assert_eq!(EventQuery::parse(None), Ok(EventQuery::default()));
        assert_eq!(parse("follow=1&since=17"), Ok(EventQuery { follow: true, since: Since::Number(17) }));
        assert_eq!(parse("since=2026-01-31T12%3A00%3A00%2B01:00"), parse("since=2026-01-31T11:00:00Z"));
        for bad in ["folow=1", "follow=yes", "since=", "since=%", "since=%4", "since=%zz", "since=%ff", "x", "since=%00"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
