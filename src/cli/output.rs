//! Writing to people and programs. A reader that has gone away (EPIPE) is no failure of what was done.

use std::io::Write;

use crate::lifecycle::AttachError;
use crate::model::report::{Failure, Undone};
use crate::plan::execute::Event;

/// A line on standard output.
pub(super) fn say(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// A line on standard error.
pub(super) fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Text that has its line ends in it, on standard output.
pub(super) fn say_text(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// One JSON document on standard output.
pub(super) fn print_json(document: &impl serde::Serialize) {
    match serde_json::to_string(document) {
        Ok(text) => say(&text),
        Err(error) => complain(&format!("pipework: JSON: {error}")),
    }
}

/// Says each step on standard error, if that is wanted.
pub(super) fn watch(verbose: bool) -> impl FnMut(Event<'_>) {
    move |event: Event<'_>| {
        if verbose {
            complain(&match event {
                Event::Doing(op) => format!("pipework: {}", op.describe()),
                Event::Undoing(op) => format!("pipework: undo: {}", op.describe()),
                Event::Running(hook) => format!("pipework: run hook {}", hook.display()),
            });
        }
    }
}

/// Says why `verb` failed for `whom`, how much was taken back, and what to do about it.
pub(super) fn explain(verb: &str, whom: &str, error: &AttachError, json: bool) {
    let (chain, hint, undone) = (error.chain(), error.hint(), error.undone());
    tell_failure(&format!("{verb} {whom}"), &chain, hint.as_deref(), undone.as_ref());
    if json {
        print_json(&Failure::new(whom, chain, hint, undone));
    }
}

/// Says why something failed, how much was taken back, and what to do about it.
pub(super) fn tell_failure(what: &str, chain: &[String], hint: Option<&str>, undone: Option<&Undone>) {
    complain(&format!("pipework: {what}: {}", chain.join(": ")));
    if let Some(undone) = undone.filter(|u| u.of > 0) {
        complain(&format!("pipework: undone: {} of {} steps", undone.undone, undone.of));
        undone.left.iter().for_each(|left| complain(&format!("pipework: could not {left}")));
    }
    hint.iter().for_each(|hint| complain(&format!("pipework: hint: {hint}")));
}
