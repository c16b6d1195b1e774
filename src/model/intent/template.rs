//! What may stand in the words of a label or a variable, to be filled in with what the container is.

use super::{Container, Host, is_hidden};

/// A value that is longer goes into no word.
const LONGEST: usize = 255;

/// How templates are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    /// `{{.Name}}`: the engines' own.
    Braces,
    /// `@CONTAINER_NAME@`: the dreamcat4 image's.
    Macros,
}

/// What is filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Template {
    Name,
    Id,
    Hostname,
    Project,
    Service,
    Slot,
    Node,
    Instance,
    /// The last number in the name, wherever it stands.
    LastNumber,
    /// The value of a label.
    Label(String),
}

const BRACES: [(&str, Template); 8] = [
    (".Name", Template::Name),
    (".ID", Template::Id),
    (".Hostname", Template::Hostname),
    (".Project", Template::Project),
    (".Service", Template::Service),
    (".Slot", Template::Slot),
    (".Node", Template::Node),
    (".Instance", Template::Instance),
];

const MACROS: [(&str, Template); 5] = [
    ("@CONTAINER_NAME@", Template::Name),
    ("@CONTAINER_ID@", Template::Id),
    ("@HOSTNAME@", Template::Hostname),
    ("@INSTANCE@", Template::LastNumber),
    ("@COMPOSE_PROJECT_NAME@", Template::Project),
];

impl Language {
    /// The template that a text begins with, if it does, and what follows it.
    pub(super) fn template(self, text: &str) -> Result<Option<(Template, &str)>, String> {
        match self {
            Self::Braces => match text.strip_prefix("{{") {
                Some(inside) => braces(inside).map(Some),
                None => Ok(None),
            },
            Self::Macros => macros(text),
        }
    }
}

fn braces(text: &str) -> Result<(Template, &str), String> {
    let there = "there are {{.Name}} {{.ID}} {{.Hostname}} {{.Project}} {{.Service}} {{.Slot}} {{.Node}} {{.Instance}} {{.Label \"NAME\"}}";
    let text = text.trim_start();
    let length = text.find(|c: char| c != '.' && !c.is_ascii_alphanumeric()).unwrap_or(text.len());
    let (name, rest) = text.split_at(length);
    let (template, rest) = match BRACES.iter().find(|(known, _)| *known == name) {
        Some((_, template)) => (template.clone(), rest),
        None if name == ".Label" => {
            let (label, rest) = quoted(rest.trim_start()).ok_or("{{.Label ...}} needs a label's name in quotes, like {{.Label \"ip\"}}")?;
            (Template::Label(label.to_owned()), rest)
        }
        None => {
            let shown: String = name.chars().take(40).collect();
            return Err(format!("{{{{{shown} is no template: {there}"));
        }
    };
    match rest.trim_start().strip_prefix("}}") {
        Some(rest) => Ok((template, rest)),
        None => Err(format!("}}}} is missing behind {{{{{name}: {there}")),
    }
}

/// A string in one of Go's quotes, without escapes, and what follows it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '`'))?;
    let (label, rest) = text.get(1..)?.split_once(quote)?;
    (!label.is_empty() && !label.contains('\\')).then_some((label, rest))
}

fn macros(text: &str) -> Result<Option<(Template, &str)>, String> {
    if let Some((name, template)) = MACROS.iter().find(|(name, _)| text.starts_with(name)) {
        return Ok(Some((template.clone(), text.get(name.len()..).unwrap_or_default())));
    }
    // An address and a MAC address have the sign, too, but no capitals and another one behind it.
    let Some(inside) = text.strip_prefix('@') else { return Ok(None) };
    match inside.split_once('@') {
        Some((name, _)) if !name.is_empty() && name.len() <= 40 && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_') => {
            Err(format!("@{name}@ is no macro: there are @CONTAINER_NAME@ @CONTAINER_ID@ @HOSTNAME@ @INSTANCE@ @COMPOSE_PROJECT_NAME@"))
        }
        _ => Ok(None),
    }
}

/// What a container and its host have to fill in.
pub(super) struct Values<'a> {
    pub(super) container: &'a Container,
    pub(super) host: &'a Host,
}

/// Compose's names for what it makes; podman-compose writes them, too.
const COMPOSE_PROJECT: &str = "com.docker.compose.project";
const COMPOSE_SERVICE: &str = "com.docker.compose.service";
const COMPOSE_NUMBER: &str = "com.docker.compose.container-number";
const COMPOSE_ONEOFF: &str = "com.docker.compose.oneoff";
/// `docker stack deploy`'s for the stack.
const STACK: &str = "com.docker.stack.namespace";
/// Swarm's for what it starts on a node.
const SWARM_SERVICE: &str = "com.docker.swarm.service.name";
const SWARM_TASK: &str = "com.docker.swarm.task.name";
const SWARM_NODE: &str = "com.docker.swarm.node.id";

impl Values<'_> {
    /// The value of a template.
    pub(super) fn of(&self, template: &Template) -> Result<String, String> {
        let (container, label) = (self.container, |name: &str| self.label(name));
        let (value, source) = match template {
            Template::Name => (Some(container.name.clone()), "name".to_owned()),
            Template::Id => (Some(container.short_id().to_owned()), "ID".to_owned()),
            Template::Hostname => (Some(container.hostname.clone()), "host name that is known".to_owned()),
            Template::Project => (label(COMPOSE_PROJECT).or_else(|| label(STACK)), format!("label {COMPOSE_PROJECT} or {STACK}")),
            Template::Service => {
                (label(COMPOSE_SERVICE).or_else(|| label(SWARM_SERVICE)), format!("label {COMPOSE_SERVICE} or {SWARM_SERVICE}"))
            }
            Template::Node => {
                (Some(self.host.node.clone()).filter(|node| !node.is_empty()).or_else(|| label(SWARM_NODE)), "node".to_owned())
            }
            Template::Slot => (self.slot()?, format!("number of its own in label {SWARM_TASK} or {COMPOSE_NUMBER}")),
            Template::Instance => (
                self.slot()?.or_else(|| number_at_end(&container.name)),
                format!("number in label {COMPOSE_NUMBER} or {SWARM_TASK}, nor at the end of its name"),
            ),
            Template::LastNumber => (last_number(&container.name), "number in its name".to_owned()),
            Template::Label(name) => (label(name), format!("label {name:?}")),
        };
        match value.filter(|value| !value.is_empty()) {
            None => Err(format!("{template}: this container has no {source}")),
            Some(value) if value.len() > LONGEST => Err(format!("{template} has {} bytes: {LONGEST} are the most in a word", value.len())),
            Some(value) => match value.chars().find(|c| is_hidden(*c)) {
                Some(bad) => Err(format!("{template} has {bad:?} in it, which is no character of a word")),
                None => Ok(value),
            },
        }
    }

    fn label(&self, name: &str) -> Option<String> {
        self.container.labels.get(name).filter(|value| !value.is_empty()).cloned()
    }

    /// Which of a service's containers it is.
    fn slot(&self) -> Result<Option<String>, String> {
        // SERVICE.SLOT.TASK; a global service, which has one on each node, has the node's identifier for the slot.
        let task = self.label(SWARM_TASK).and_then(|task| task.rsplit('.').nth(1).and_then(number));
        if task.is_some() {
            return Ok(task);
        }
        let number = self.label(COMPOSE_NUMBER).and_then(|label| number(&label));
        if number.is_some() && self.label(COMPOSE_ONEOFF).is_some_and(|label| label.eq_ignore_ascii_case("true")) {
            let why = "a container of `compose run` has the number of its service's first, and would get that one's address";
            return Err(format!("{why}: give it a label of its own"));
        }
        Ok(number)
    }
}

impl std::fmt::Display for Template {
    /// By its meaning, whatever it was written as.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Label(name) => write!(f, "{{{{.Label {name:?}}}}}"),
            Self::LastNumber => f.write_str("@INSTANCE@"),
            other => match BRACES.iter().find(|(_, template)| template == other) {
                Some((name, _)) => write!(f, "{{{{{name}}}}}"),
                None => Ok(()),
            },
        }
    }
}

/// Plain digits as a number is written: an address has no leading zeros.
fn number(digits: &str) -> Option<String> {
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u32>().ok())?.map(|number| number.to_string())
}

fn number_at_end(name: &str) -> Option<String> {
    number(name.get(name.trim_end_matches(|c: char| c.is_ascii_digit()).len()..)?)
}

fn last_number(name: &str) -> Option<String> {
    number_at_end(name.trim_end_matches(|c: char| !c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn of(name: &str, labels: &[(&str, &str)], template: Template) -> Result<String, String> {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let container =
            Container { name: name.into(), id: "0123456789abcdef".into(), hostname: "web".into(), labels, ..Container::default() };
        Values { container: &container, host: &Host { node: "host1".into(), ..Host::default() } }.of(&template)
    }

    #[test]
    fn values_come_from_the_container_compose_and_swarm() {
        use Template::*;
        let compose =
            [("com.docker.compose.project", "shop"), ("com.docker.compose.service", "web"), ("com.docker.compose.container-number", "2")];
        let swarm = [
            ("com.docker.stack.namespace", "stack"),
            ("com.docker.swarm.service.name", "stack_web"),
            ("com.docker.swarm.task.name", "stack_web.3.6qgb0pna6iphr7c4ijzuiihaa"),
            ("com.docker.swarm.node.id", "9opfw0jjrrkehjh5mjo34ov36"),
        ];
        for (name, labels, template, wanted) in [
            ("web", &[][..], Name, "web"),
            ("web", &[], Id, "0123456789ab"),
            ("web", &[], Hostname, "web"),
            ("web", &[], Node, "host1"),
            ("shop-web-7", &compose, Project, "shop"),
            ("shop-web-7", &compose, Service, "web"),
            ("shop-web-7", &compose, Slot, "2"),
            ("shop-web-7", &compose, Instance, "2"),
            ("stack_web.3.6qgb", &swarm, Project, "stack"),
            ("stack_web.3.6qgb", &swarm, Service, "stack_web"),
            ("stack_web.3.6qgb", &swarm, Slot, "3"),
            ("stack_web.3.6qgb", &swarm, Instance, "3"),
            ("web12", &[], Instance, "12"),
            ("web-007", &[], Instance, "7"),
            ("web-0", &[], Instance, "0"),
            ("prod_2_app_1_x", &[], LastNumber, "1"),
            ("web", &[("ip", "10.0.0.7")], Label("ip".into()), "10.0.0.7"),
        ] {
            assert_eq!(of(name, labels, template.clone()), Ok(wanted.to_owned()), "{name} {template}");
        }
    }

    #[test]
    fn a_value_that_is_not_there_is_told_with_where_it_would_be() {
        use Template::*;
        let global = [("com.docker.swarm.task.name", "web.9opfw0jjrrkehjh5mjo34ov36.6qgb0pna6iphr7c4ijzuiihaa")];
        let run = [("com.docker.compose.container-number", "1"), ("com.docker.compose.oneoff", "True")];
        let fake = [("com.docker.compose.container-number", "1/8")];
        for (name, labels, template, wanted) in [
            ("web", &[][..], Project, "com.docker.compose.project"),
            ("web", &[], Instance, "end of its name"),
            ("2web", &[], Instance, "end of its name"),
            ("web", &[], LastNumber, "number in its name"),
            ("web", &[], Label("ip".into()), "no label \"ip\""),
            ("web", &[("ip", "")], Label("ip".into()), "no label \"ip\""),
            ("web", &global, Slot, "com.docker.swarm.task.name"),
            ("web", &run, Instance, "compose run"),
            ("web", &fake, Slot, "container-number"),
            ("web99999999999", &[], Instance, "end of its name"),
            ("", &[], Name, "no name"),
        ] {
            let why = of(name, labels, template.clone()).unwrap_err();
            assert!(why.contains(wanted), "{template}: {why}");
        }
    }

    #[test]
    fn templates_are_read_with_spaces_and_what_is_none_is_told_of() {
        let read = |text| Language::Braces.template(text).map(|found| found.map(|(template, rest)| (template, rest.to_owned())));
        assert_eq!(read("{{ .Name }}x"), Ok(Some((Template::Name, "x".into()))));
        assert_eq!(read("{{.Label `a b`}}"), Ok(Some((Template::Label("a b".into()), String::new()))));
        assert_eq!(read("{.Name}"), Ok(None));
        for text in ["{{.Names}}", "{{Name}}", "{{.Name", "{{.Name | upper}}", "{{.Label}}", "{{.Label \"\"}}", "{{.Label 'x'}}", "{{"] {
            let why = read(text).unwrap_err();
            assert!(why.contains("{{.Name}}") || why.contains("{{.Label"), "{text}: {why}");
        }
        let read = |text| Language::Macros.template(text).map(|found| found.map(|(template, rest)| (template, rest.to_owned())));
        assert_eq!(read("@INSTANCE@/24"), Ok(Some((Template::LastNumber, "/24".into()))));
        assert_eq!(read("@@HOSTNAME@"), Ok(None));
        assert_eq!(read("@192.168.1.1"), Ok(None));
        assert!(read("@INSTANCES@").unwrap_err().contains("@INSTANCE@"));
    }
}
