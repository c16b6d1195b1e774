//! `pipework.<name>=<words of attach without the guest>`.

use super::{Container, Host, Intent, IntentError, Source};

const PREFIX: &str = "pipework.";

/// All that a container asks for, and what of it cannot be read.
pub fn intents(container: &Container, host: &Host) -> Vec<Result<Intent, IntentError>> {
    let _ = host;
    let named = container.labels.iter().filter(|(key, _)| key.strip_prefix(PREFIX).is_some_and(|name| !name.is_empty()));
    named
        .map(|(key, value)| {
            let source = Source::Label(key.clone());
            match shlex::split(value).filter(|words| !words.is_empty()) {
                Some(words) => Ok(Intent { source, words, host_access: false }),
                None => Err(IntentError { source_: source, why: "it has no words, or a quotation mark is missing".into() }),
            }
        })
        .collect()
}
