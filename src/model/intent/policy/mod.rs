//! What a container's own words may ask for: the administrator's rules, in order, or those that are built in.

mod asked;
mod read;
mod scope;
mod usual;

use thiserror::Error;

use super::glob::Glob;
use super::{Container, visible};
use crate::model::request::AttachRequest;
use crate::model::topology::{How, Located};
use asked::Asked;
use scope::Scope;
use usual::usual;

/// Which containers may use what. The default one is that of a host without a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    rules: Vec<Rule>,
    otherwise: Otherwise,
}

/// What holds where no rule decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Otherwise {
    /// What is built in.
    #[default]
    Usual,
    /// Nothing is allowed.
    Deny,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    name: String,
    line: usize,
    whom: Whom,
    /// Who asks for nothing else is allowed it.
    allow: Option<Scope>,
    /// Who asks for anything of it is refused.
    deny: Option<Scope>,
}

/// Whom a rule is for: who is all that is said. What is not said, anybody is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Whom {
    images: Option<Vec<Glob>>,
    containers: Option<Vec<Glob>>,
    labels: Vec<(String, Glob)>,
    user_namespace: Option<bool>,
}

/// What is refused, and by which rule.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("container {}: {rule} does not allow {}", visible(.container), visible(.what))]
pub struct Refusal {
    /// Who asked.
    pub container: String,
    /// The rule, as it can be found in the file.
    pub rule: String,
    /// What was asked.
    pub what: String,
}

impl Policy {
    /// Reads the file.
    ///
    /// # Errors
    /// Every mistake in it, with its line. Nothing is made of a file that has one.
    pub fn read(text: &str) -> Result<Self, Vec<Located>> {
        read::read(text)
    }

    /// Whether the container may have what its words ask for.
    ///
    /// # Errors
    /// The first rule that does not allow it.
    pub fn check(&self, container: &Container, request: &AttachRequest, how: &How) -> Result<(), Refusal> {
        let asked = Asked::of(request, how);
        let refuse = |rule: String, what: String| {
            let name = if container.name.is_empty() { container.short_id() } else { &container.name };
            Err(Refusal { container: name.to_owned(), rule, what })
        };
        let mut lacking = None;
        for rule in self.rules.iter().filter(|rule| rule.whom.is(container)) {
            if let Some(what) = rule.deny.as_ref().and_then(|scope| scope.has(&asked)) {
                return refuse(rule.to_string(), what);
            }
            match rule.allow.as_ref().map(|scope| scope.lacks(&asked)) {
                None => {}
                Some(None) => return Ok(()),
                Some(Some(what)) => lacking = lacking.or(Some((rule.to_string(), what))),
            }
        }
        match (self.otherwise, lacking) {
            (Otherwise::Usual, _) => match usual().lacks(&asked) {
                None => Ok(()),
                Some(what) => refuse("the usual policy (policy.toml can have another)".into(), what),
            },
            (Otherwise::Deny, Some((rule, what))) => refuse(rule, what),
            (Otherwise::Deny, None) => {
                refuse("policy.toml, which has no rule to allow it anything,".into(), format!("host interface {}", asked.parent))
            }
        }
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "rule {:?} (policy.toml:{})", self.name, self.line)
    }
}

impl Whom {
    fn is(&self, container: &Container) -> bool {
        let any = |globs: &Option<Vec<Glob>>, texts: &[&str]| {
            globs.as_ref().is_none_or(|globs| globs.iter().any(|glob| texts.iter().any(|text| glob.is(text))))
        };
        any(&self.images, &[&container.image, container.image_name()])
            && any(&self.containers, &[&container.name])
            && self.labels.iter().all(|(key, glob)| container.labels.get(key).is_some_and(|value| glob.is(value)))
            && self.user_namespace.is_none_or(|wanted| wanted == container.has_user_namespace)
    }
}

#[cfg(test)]
mod tests;
