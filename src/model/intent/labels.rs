//! `pipework.<name>=<words of attach without the guest>`.

use super::template::{Language, Values};
use super::{Container, Host, Intent, IntentError, MOST, Source, environment, words};

const PREFIX: &str = "pipework.";
/// The longest name in bytes.
const LONGEST: usize = 64;

/// All that a container asks for, and what of it cannot be read: its labels, then its variables, each in alphabetical order.
pub fn intents(container: &Container, host: &Host) -> Vec<Result<Intent, IntentError>> {
    if !host.environment.takes(container) {
        return Vec::new();
    }
    let mut all = labels(container, host);
    all.extend(environment::intents(container, host));
    all
}

fn labels(container: &Container, host: &Host) -> Vec<Result<Intent, IntentError>> {
    let values = Values { container, host };
    let named = container.labels.iter().filter_map(|(key, value)| Some((key, key.strip_prefix(PREFIX)?, value)));
    let mut all: Vec<_> = named.map(|(key, name, value)| intent(key, name, value, &values)).take(MOST + 1).collect();
    super::at_most(&mut all, "labels");
    all
}

fn intent(key: &str, name: &str, value: &str, values: &Values<'_>) -> Result<Intent, IntentError> {
    let source = Source::label(key);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > LONGEST || !name.chars().all(plain) {
        return Err(source.wrong(format!("its name has 1 to {LONGEST} letters, digits, '-', '_', '.' behind {PREFIX}, like {PREFIX}lan")));
    }
    match words::words(value, Language::Braces, values) {
        Ok(words) => Ok(Intent { source, words, host_access: false }),
        Err(why) => Err(source.wrong(why)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn container(labels: &[(&str, &str)]) -> Container {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Container { name: "shop-web-3".into(), labels, ..Container::default() }
    }

    fn read(labels: &[(&str, &str)]) -> Vec<String> {
        let told = |intent: Result<Intent, IntentError>| intent.map_or_else(|error| error.to_string(), |intent| intent.words.join(" "));
        intents(&container(labels), &Host::default()).into_iter().map(told).collect()
    }

    #[test]
    fn labels_are_taken_in_alphabetical_order_and_others_are_not() {
        let labels = [
            ("pipework.wan", "br1 -i eth2 10.1.0.{{.Instance}}/24"),
            ("pipework.lan", "br0 10.0.0.2/24"),
            ("com.x", "br0"),
            ("pipework", "x"),
        ];
        assert_eq!(read(&labels), ["br0 10.0.0.2/24", "br1 -i eth2 10.1.0.3/24"]);
    }

    #[test]
    fn one_label_that_is_wrong_keeps_none_of_the_others_from_being_read() {
        let told =
            read(&[("pipework.a", "br0 {{.Nam}}"), ("pipework.b", "br0 0/0"), ("pipework.\u{1b}[2J", "br0 0/0"), ("pipework.", "br0 0/0")]);
        assert_eq!(told.len(), 4);
        assert!(told.iter().all(|text| !text.chars().any(char::is_control)), "{told:?}");
        assert_eq!(told.iter().filter(|text| *text == "br0 0/0").count(), 1);
    }

    #[test]
    fn there_is_a_limit_to_how_many_there_are() {
        let names: Vec<String> = (0..5000).map(|number| format!("pipework.l{number:04}")).collect();
        let labels: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "br0 0/0")).collect();
        let told = read(&labels);
        assert_eq!(told.len(), MOST + 1);
        assert!(told.last().unwrap().contains("more than 32"), "{told:?}");
    }
}
